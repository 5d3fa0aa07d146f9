"""The session of this process: init, shutdown, and the runtime, whose first use starts a session."""

from __future__ import annotations

import atexit
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from labray import backends
from labray.backends.contract import Session
from labray.client import runtime
from labray.client.runtime import Runtime
from labray.config import Config
from labray.errors import NotInitializedError
from labray.ids import DRIVER

if TYPE_CHECKING:
    from types import FrameType

    from labray.replaying.recording import Recorder
    from labray.trace import Event

_session: Session | None = None
_recorder: Recorder | None = None
_pid = 0  # of the process that called init: a forked child must not end its parent's session

_inherited: tuple[Session | None, Runtime | None] = None, None
"""In a forked child: its parent's session and runtime. They are of no use, but their end would run code."""


def _forked() -> None:
    global _inherited
    _inherited = _session, runtime.current() if runtime.exists() else None


os.register_at_fork(after_in_child=_forked)

_exiting = False
"""Whether the program has begun to end: nothing would end a session that starts now."""

BACKEND = "cluster"
"""The backend that init() starts by default."""

TWICE = "labray is initialised already. Call shutdown() first, or give ignore_reinit_error=True."


class Context:
    """What init() returns: describes the session, and ends it at the end of a `with` block."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def __enter__(self) -> Context:
        return self

    def __exit__(self, *exception: object) -> None:
        shutdown()

    def trace(self) -> Sequence[Event]:
        """The events so far, ordered by time; labray/trace.py says what they mean."""
        return running().trace()

    def __repr__(self) -> str:
        config = self.config
        return (
            f"<labray session: {config.backend}, {config.nodes} node{'s' * (config.nodes != 1)} "
            f"of {config.num_cpus:g} CPUs, {config.scheduler!r}>"
        )


def init(
    backend: str = BACKEND,
    *,
    nodes: int = 1,
    num_cpus: float | None = None,
    resources: Mapping[str, float] | None = None,
    scheduler: Any = "bottom_up",
    seed: int = 0,
    strict: bool = False,
    trace: bool | str | PathLike[str] = True,
    ignore_reinit_error: bool = False,
    **extra: Any,
) -> Context:
    """Start a session.

    num_cpus, resources: what each node offers. CPUs default to those of this machine, shared among the nodes, and
    to 4 a node in a simulation. scheduler: a name, a policy, or a policy's class. seed: decides all that is random.
    strict: whether a request that no node can ever meet raises; otherwise it waits, with a warning. trace: whether
    events are kept; a path also writes them there at the end, for `labray whatif`. extra: the backend's own options.
    """
    global _session, _pid, _recorder
    if runtime.exists() and (_session, runtime.current()) != _inherited:
        if ignore_reinit_error and _session is not None:
            return Context(_config)
        raise RuntimeError(TWICE)
    _check_time()
    world = backends.load(backend)
    if num_cpus is None:
        num_cpus = _own_share(nodes) if world.num_cpus is None else world.num_cpus
    config = Config(
        backend, nodes, num_cpus, dict(_mapping(resources)), _policy(scheduler),
        seed, strict, True if isinstance(trace, str | PathLike) else trace, extra,
    )  # fmt: skip
    _recorder = _to_record(trace, config)
    _session = backends.start(config)
    _pid = os.getpid()
    runtime.switch(_session.runtime)
    _remember(config)
    return Context(config)


def _check_time() -> None:
    if _exiting or sys.is_finalizing():
        raise NotInitializedError("The program is ending, and no session can be started any more.")


def _policy(scheduler: Any) -> Any:
    from labray import schedulers  # policies are only needed once a session starts

    policy = schedulers.resolve(scheduler)
    if schedulers.plans_nothing(policy):
        name = type(policy).__name__
        warnings.warn(
            f"{name} plans ahead and was told no graph: it deals tasks out in turn. Give it what it plans for: "
            f"scheduler={name}(work=labray.schedulers.executed(graph)); `labray whatif` does so by itself.",
            RuntimeWarning, stacklevel=3,
        )  # fmt: skip
    return policy


def _to_record(trace: Any, config: Config) -> Recorder | None:
    if not isinstance(trace, str | PathLike):
        return None
    from labray.replaying.recording import Recorder  # and with it what writes files

    return Recorder(trace, config)


_config: Config


def _remember(config: Config) -> None:
    global _config
    _config = config
    atexit.unregister(_at_exit)
    atexit.register(_at_exit)  # the last to be registered is the first to be called


def _mapping(resources: Any) -> Mapping[str, float]:
    if resources is None:
        return {}
    if not isinstance(resources, Mapping):
        raise TypeError(f"resources is a dict from names to amounts, not {resources!r}.")
    return resources


def _own_share(nodes: int) -> int:
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cpus // nodes) if isinstance(nodes, int) and nodes > 0 else cpus


def shutdown() -> None:
    """End the session and all that belongs to it; does nothing if there is none. Runs by itself at exit."""
    if runtime.exists() and runtime.current().task != DRIVER:
        raise RuntimeError("shutdown() was called inside a task. Only the main program ends the session.")
    _end()


def _at_exit() -> None:
    """End the session when the program ends, wherever it stands."""
    global _exiting
    _exiting = True
    _end()


def _at_last() -> None:
    """Run after the program's own exit functions: one of them may have called init()."""
    _at_exit()


atexit.register(_at_last)


def _end() -> None:
    """End the session. If interrupted it may be called again: the session is there until all of it is closed."""
    global _session
    session = _session
    if session is None or _pid != os.getpid():
        return
    try:
        if _recorder is not None:
            _recorder.write(session)
    finally:
        session.close()
        if _session is session:  # otherwise a signal handler has ended it and begun another
            runtime.switch(None)  # first: while there is a runtime there is a session to end
            _session = None


def is_initialized() -> bool:
    """Whether there is a session; true in every task."""
    return runtime.exists()


def ensure(*things: Any) -> Runtime:
    """The current runtime. Without one a session is started, unless one of the things is a handle of one that ended."""
    if not runtime.exists():
        for thing in things:
            refuse(thing)
        if _is_finalizer(sys._getframe()):
            raise NotInitializedError("There is no session, and none is started in a finalizer (__del__).")
        init()
    return runtime.current()


def of(handle: Any) -> Runtime:
    """The current runtime, for the handle of an object or actor. No session is started: it could not be of it."""
    if not runtime.exists():
        refuse(handle)
    return runtime.current()


def refuse(thing: Any) -> None:
    """Raise if this is the handle of an object or an actor: there is no session, so its own has ended."""
    ended = getattr(type(thing), "__labray_ended__", None)
    if ended is not None:
        raise ended(thing)


def _is_finalizer(frame: FrameType | None) -> bool:
    """Whether this runs because an object died: that may be anywhere, and at any time."""
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


def running() -> Session:
    """The session that this program started; NotInitializedError if there is none."""
    if _session is None:
        where = "only the main program can ask for that" if runtime.exists() else "call labray.init() first"
        raise NotInitializedError(f"There is no session here: {where}.")
    return _session
