"""A recording: a session's trace in a .lab file, with what is needed to ask what another cluster would have done."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from labray import trace
from labray.config import Config
from labray.errors import LabrayError
from labray.schedulers import NAMES

if TYPE_CHECKING:
    from labray.port import Session
    from labray.trace import Event


class Recorded(Struct, frozen=True):
    """The cluster that a program was recorded on. host_cores: of the machine that all nodes shared; None: simulated.

    scheduler: its repr; policy: the name to make it again by, or "".
    """

    backend: str
    nodes: int
    num_cpus: float
    resources: Mapping[str, float]
    scheduler: str
    policy: str
    seed: int
    host_cores: int | None


class Recorder:
    """Writes the trace of a session when it ends."""

    def __init__(self, path: str | os.PathLike[str], config: Config) -> None:
        self.path = Path(path)
        if self.path.is_dir() or not self.path.absolute().parent.is_dir():
            raise ValueError(f"trace={str(path)!r}: give True, False, or a file in a directory that exists.")
        self._config = config

    def write(self, session: Session) -> None:
        """A session that broke has no trace to give: that is a warning, for it must still be ended."""
        try:
            trace.save(self.path, session.trace(), about(self._config))
        except (LabrayError, OSError) as error:
            warnings.warn(
                f"the trace could not be written to {self.path}: {error}", RuntimeWarning, stacklevel=4
            )


def about(config: Config) -> dict[str, Any]:
    """Where a trace comes from, in plain values. Holds no time: equal simulations give equal files."""
    label = repr(config.scheduler)
    policy = next((name for name, make in NAMES.items() if repr(make()) == label), "")
    cores = None if config.backend == "sim" else os.cpu_count()
    return {
        "backend": config.backend,
        "nodes": config.nodes,
        "num_cpus": config.num_cpus,
        "resources": dict(config.resources),
        "scheduler": label,
        "policy": policy,
        "seed": config.seed,
        "host_cores": cores,
    }


def load(path: str | os.PathLike[str]) -> tuple[Sequence[Event], Recorded]:
    """The events, and the cluster they were recorded on. TraceError, naming what is missing, for anything else."""
    events, said = trace.load(path)
    missing = [field for field in Recorded.__struct_fields__ if field not in said]
    if missing:
        raise trace.TraceError(
            f"{path} does not say on what it was recorded ({', '.join(missing)} missing): record with "
            f'init(..., trace="run.lab").'
        )
    return events, Recorded(**{field: said[field] for field in Recorded.__struct_fields__})
