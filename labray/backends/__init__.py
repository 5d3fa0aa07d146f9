"""The worlds by name. Each is a module with one value, BACKEND: labray/backends/contract.py says what is in it.

They are imported when first asked for, so that `import labray` stays light.
"""

from __future__ import annotations

from importlib import import_module

from labray.backends.contract import Backend, Session
from labray.client.options import nearest
from labray.config import INIT_OPTIONS, Config

BACKENDS = {
    "cluster": "labray.backends.cluster",
    "inline": "labray.backends.inline",
    "sim": "labray.backends.sim",
}


def load(name: str) -> Backend:
    """The backend of this name. ValueError, with the nearest known name, if there is none."""
    if not isinstance(name, str):
        raise TypeError(f"backend is a name, not {name!r}. Known: {', '.join(BACKENDS)}.")
    if name not in BACKENDS:
        raise ValueError(f"There is no backend {name!r}. {nearest(name, list(BACKENDS))}")
    backend: Backend = import_module(BACKENDS[name]).BACKEND
    return backend


def elastic() -> str:
    """The backends whose nodes can come and go, as init() is told."""
    return " and ".join(f'backend="{name}"' for name in BACKENDS if load(name).elastic)


def start(config: Config) -> Session:
    """Start the world that a config describes. ValueError for options and numbers of nodes that it does not take."""
    backend = load(config.backend)
    for name in config.extra:
        if name not in backend.options:
            raise ValueError(
                f"init() has no option {name!r} with backend={config.backend!r}. "
                f"{nearest(name, (*INIT_OPTIONS, *backend.options))}"
            )
    if backend.most_nodes is not None and config.nodes > backend.most_nodes:
        raise ValueError(_too_many(config.backend, config.nodes, backend.most_nodes))
    return backend.start(config)


def _too_many(name: str, nodes: int, most: int) -> str:
    wider = " or ".join(f'"{other}"' for other in BACKENDS if load(other).most_nodes is None)
    limit = "one node" if most == 1 else f"at most {most} nodes"
    return f'backend="{name}" has {limit}; nodes={nodes} needs {wider}.'
