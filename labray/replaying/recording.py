"""A recording: a session's trace in a .lab file, with what is needed to ask what another cluster would have done."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from msgspec.structs import fields

from labray import backends
from labray.config import MOST_CPUS, Config
from labray.errors import LabrayError
from labray.files import traces
from labray.schedulers import NAMES, resolve

if TYPE_CHECKING:
    from labray.backends.contract import Session
    from labray.trace import Event


class Recorded(Struct, frozen=True):
    """The cluster that a program was recorded on. host_cores: of the machine that all nodes shared; None: simulated.

    scheduler: its repr; policy: the name to make it again by, or "". recorded_at: ISO 8601; "" of a simulation, which
    is the same whenever it runs.
    """

    backend: str
    nodes: int
    num_cpus: float
    resources: Mapping[str, float]
    scheduler: str
    policy: str
    seed: int
    host_cores: int | None
    recorded_at: str = ""

    @property
    def simulated(self) -> bool:
        """Whether it was simulated: then nothing of it was measured, as it ran on no machine."""
        return self.host_cores is None

    def __post_init__(self) -> None:
        resolved = resolve(self.policy or "bottom_up")
        Config(self.backend, self.nodes, self.num_cpus, self.resources, resolved, self.seed)
        if self.host_cores is not None and not 1 <= self.host_cores <= MOST_CPUS:
            raise ValueError(f"host_cores is between 1 and {MOST_CPUS}, not {self.host_cores}.")


def writable(path: Path) -> None:
    """Raise OSError now, and not after the session, if no file can be written at this path."""
    there = path.exists()
    if not there or path.is_file():  # a pipe is not opened twice
        with path.open("ab"):
            pass
    if not there:
        path.unlink()


class Recorder:
    """Writes the trace of a session when it ends."""

    def __init__(self, path: str | os.PathLike[str], config: Config) -> None:
        self.path = Path(path)
        if self.path.is_dir() or not self.path.absolute().parent.is_dir():
            raise ValueError(f"trace={str(path)!r}: give True, False, or a file in a directory that exists.")
        try:
            writable(self.path)
        except OSError as error:
            raise ValueError(f"trace={str(path)!r} cannot be written: {error.strerror}.") from None
        self._config = config
        self._began = datetime.now(UTC).isoformat(timespec="seconds")

    def save(self, session: Session) -> None:
        """Write the file. A session that broke has no trace to give: this warns, as the session must still be ended."""
        try:
            timeless = backends.load(self._config.backend).virtual_time
            dated = {} if timeless else {"recorded_at": self._began}
            traces.save(self.path, session.trace(), about(self._config) | dated)
        except (LabrayError, OSError) as error:
            warnings.warn(
                f"the trace could not be written to {self.path}: {error}", RuntimeWarning, stacklevel=4
            )


def about(config: Config) -> dict[str, Any]:
    """Where a trace comes from, in plain values. There is no date in it: equal simulations give equal files."""
    label = repr(config.scheduler)
    policy = next((name for name, make in NAMES.items() if repr(make()) == label), "")
    cores = None if backends.load(config.backend).virtual_time else os.cpu_count() or 1
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
    """The events, and the cluster they were recorded on. TraceError, naming what is missing, for anything else.

    Warns of a place that stopped tracing: what it did after that is not here.
    """
    events, said = traces.load(path)
    for _, kind, place, _, detail in events:
        if kind == "cut":
            text = (
                f"{path} is not whole: {place} kept no more of its trace from some time on, as {detail[1]}."
            )
            warnings.warn(text, RuntimeWarning, stacklevel=2)
    missing = [field.name for field in fields(Recorded) if field.required and field.name not in said]
    if missing:
        raise traces.TraceError(
            f"{path} does not say on what it was recorded ({', '.join(missing)} missing): record with "
            f'init(..., trace="run.lab").'
        )
    try:
        return events, msgspec.convert(said, Recorded)
    except ValueError as error:
        raise traces.TraceError(f"{path} does not say on what it was recorded: {error}") from None
