"""The worlds by name. Each is a module with `start(config) -> Session` and OPTIONS, the names of its own options.

They are imported when first asked for, so that `import labray` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from labray.config import INIT_OPTIONS, Config
from labray.options import nearest
from labray.port import Session

BACKENDS = {
    "cluster": "labray.backends.cluster",
    "inline": "labray.backends.inline",
    "sim": "labray.backends.sim",
}


def load(name: str) -> Any:
    """The module of a backend. ValueError, with the nearest known name, if there is none."""
    if not isinstance(name, str):
        raise TypeError(f"backend is a name, not {name!r}. Known: {', '.join(BACKENDS)}.")
    if name not in BACKENDS:
        raise ValueError(f"There is no backend {name!r}. {nearest(name, list(BACKENDS))}")
    return import_module(BACKENDS[name])


def start(config: Config) -> Session:
    """Start the world that a config describes."""
    module = load(config.backend)
    known = getattr(module, "OPTIONS", None)  # one that has none checks them itself
    for name in config.extra:
        if known is not None and name not in known:
            raise ValueError(
                f"init() has no option {name!r} with backend={config.backend!r}. "
                f"{nearest(name, (*INIT_OPTIONS, *known))}"
            )
    session: Session = module.start(config)
    return session
