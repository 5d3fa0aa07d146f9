"""The clocks, as code of a simulated process sees them: `time` and `datetime` in virtual time.

`datetime.now` and `utcnow` are replaced in the type itself: a class in its place would not be the type of the
objects there are, and pickle, `type(x) is datetime` and libraries in C would say so. `today` asks `time.time`.
"""

from __future__ import annotations

import ctypes
import gc
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from labray.backends.sim.clients.simulated_worker import SimWorker
from labray.backends.sim.clock.patches import Patches, standing_for

if TYPE_CHECKING:
    from labray.backends.sim.clients.simulated_client import SimClient

EPOCH_S = 1_700_000_000.0
"""What time.time() says at virtual time 0: fixed, so that runs are alike."""

Clock = Callable[["SimClient"], float]


def _epoch(client: SimClient) -> float:
    return client.now() + EPOCH_S


def _elapsed(client: SimClient) -> float:
    return client.now()


def _cpu(client: SimClient) -> float:
    """Of a task. The driver's CPU time is what the simulation really takes."""
    client.now()  # a look at this clock costs as much, so that a loop that waits for it ends
    return client.cpu.used_s + client.debt_s


CLOCKS: dict[str, Clock] = {
    "time": _epoch, "monotonic": _elapsed, "perf_counter": _elapsed,
}  # fmt: skip
BY_ID: dict[int, Clock] = {
    time.CLOCK_REALTIME: _epoch, time.CLOCK_TAI: _epoch, time.CLOCK_MONOTONIC: _elapsed,
    time.CLOCK_MONOTONIC_RAW: _elapsed, time.CLOCK_BOOTTIME: _elapsed, time.CLOCK_PROCESS_CPUTIME_ID: _cpu,
    time.CLOCK_THREAD_CPUTIME_ID: _cpu,
}  # fmt: skip


def install(patches: Patches) -> None:
    """Virtual clocks."""
    for name, clock in CLOCKS.items():
        patches.replace(time, name, clock)
        patches.replace(time, f"{name}_ns", _in_ns(clock))
    for name in ("process_time", "thread_time"):
        patches.replace_in_tasks(time, name, _cpu)
        patches.replace_in_tasks(time, f"{name}_ns", _in_ns(_cpu))
    for name in ("clock_gettime", "clock_gettime_ns"):
        patches.replace(time, name, _by_id(getattr(time, name), name.endswith("_ns")))
    for name in ("localtime", "gmtime", "ctime"):
        patches.replace(time, name, _of_now(getattr(time, name)))
    asctime, strftime, localtime = time.asctime, time.strftime, time.localtime
    patches.replace(time, "asctime", lambda client, *at: asctime(*at or (localtime(),)))
    patches.replace(time, "strftime", lambda client, form, *at: strftime(form, *at or (localtime(),)))
    patches.replace(time, "sleep", _sleep)
    _of_type(patches, datetime, "now", lambda client, cls, tz=None: cls.fromtimestamp(_epoch(client), tz))
    _of_type(patches, datetime, "utcnow", _utcnow)


def _utcnow(client: SimClient, cls: type[datetime]) -> datetime:
    return cls.fromtimestamp(_epoch(client), UTC).replace(tzinfo=None)


def _of_type(patches: Patches, kind: type, name: str, simulated: Callable[..., Any]) -> None:
    """A class method of a type in C."""
    names = gc.get_referents(kind.__dict__)[0]  # what its mappingproxy shows
    real = names[name]

    def put(value: Any) -> None:
        names[name] = value
        ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))

    def unpatched(cls: type, *args: Any, **kwargs: Any) -> Any:
        return real.__get__(None, cls)(*args, **kwargs)

    patches.undo_later(lambda: put(real))
    put(classmethod(standing_for(unpatched, kind.__module__, f"{kind.__qualname__}.{name}", simulated)))


def _in_ns(clock: Clock) -> Callable[[SimClient], int]:
    def in_ns(client: SimClient) -> int:
        whole, part = divmod(clock(client), 1.0)  # a float of seconds since 1970 has not the digits
        return int(whole) * 10**9 + round(part * 1e9)

    return in_ns


def _by_id(real: Callable[[int], Any], ns: bool) -> Callable[[SimClient, int], Any]:
    def gettime(client: SimClient, which: int) -> Any:
        clock = BY_ID.get(which)
        if clock is None or (clock is _cpu and not isinstance(client, SimWorker)):
            return real(which)
        return _in_ns(clock)(client) if ns else clock(client)

    return gettime


def _of_now(real: Callable[..., Any]) -> Callable[..., Any]:
    def of(client: SimClient, seconds: float | None = None) -> Any:
        return real(_epoch(client) if seconds is None else seconds)

    return of


def _sleep(client: SimClient, seconds: float) -> None:
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    if not math.isfinite(seconds):
        raise OverflowError(f"a sleep of {seconds} s has no end")
    client.sleep(seconds)
