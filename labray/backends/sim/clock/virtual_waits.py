"""Waits of a simulated process for something else than labray: for a condition, for input, in an event loop.

All that it waits for with a timeout takes virtual time, if nothing but time can end the wait: conditions (and with
them Event, Semaphore, Queue, Future), and the selector of an event loop that watches nothing but itself. Where
something real may come (input; another thread of the driver's), it is waited for in real time, and if nothing came the
timeout passes in virtual time as well. A task that waits for a thread which it cannot have is told so at once.
"""

from __future__ import annotations

import queue
import selectors
import subprocess
import threading
import time
from _thread import allocate_lock
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from labray.backends.sim.clients.simulated_worker import SimWorker
from labray.backends.sim.clock import asyncio_loops
from labray.backends.sim.clock.watchdog import Watchdog
from labray.errors import LabraySystemError

if TYPE_CHECKING:
    from labray.backends.sim.clients.simulated_client import SimClient
    from labray.backends.sim.clock.patches import Patches

NOBODY = (
    "this task waits for another thread (at a Condition, Event, Queue or Future) without a timeout, and there is none: "
    "a simulated task has no other threads. Wait for refs, or use backend='cluster'."
)
NOTHING = (
    "this task's event loop waits for something that nothing will ever do: no timer is set, no input awaited, and a "
    "simulated task has no other threads."
)


def install(patches: Patches) -> None:
    """Waits in virtual time. Before the clocks are: a subprocess is real, and is waited for in real time."""
    patches.put(subprocess, "time", SimpleNamespace(**vars(time)))
    for module, name in ((threading, "_time"), (queue, "time")):
        patches.replace(module, name, lambda client: client.now())
    wait = threading.Condition.wait

    def waits(client: SimClient, condition: Any, timeout: float | None = None) -> bool:
        if isinstance(client, SimWorker):
            if timeout is None:
                raise LabraySystemError(NOBODY)
        elif timeout is None or _other_threads():
            return wait(condition, timeout) or _passes(client, timeout)
        return _waits_virtually(client, condition, timeout)

    patches.replace(threading.Condition, "wait", waits)
    for kind in ("EpollSelector", "PollSelector", "SelectSelector"):
        _selector(patches, getattr(selectors, kind))
    asyncio_loops.used = asyncio_loops.running()  # the driver may, in a notebook


def _passes(client: SimClient, timeout: float | None) -> bool:
    if timeout is not None and timeout > 0:
        client.sleep(timeout)
    return False


def _other_threads() -> bool:
    me = threading.current_thread()
    return any(thread is not me and not isinstance(thread, Watchdog) for thread in threading.enumerate())


def _waits_virtually(client: SimClient, condition: Any, timeout: float) -> bool:
    """As Condition.wait does, with a sleep where that blocks."""
    if not condition._is_owned():
        raise RuntimeError("cannot wait on un-acquired lock")
    waiter = allocate_lock()
    waiter.acquire()
    condition._waiters.append(waiter)
    held = condition._release_save()
    try:
        _passes(client, timeout)
        notified = waiter.acquire(False)
    finally:
        condition._acquire_restore(held)
        if waiter in condition._waiters:
            condition._waiters.remove(waiter)
    return notified


def _selector(patches: Patches, kind: Any) -> None:
    real = kind.select

    def select(client: SimClient, selector: Any, timeout: float | None = None) -> Any:
        asyncio_loops.used = True
        poll = timeout
        if _watches_only_itself(selector) and (isinstance(client, SimWorker) or not _other_threads()):
            if timeout is None and isinstance(client, SimWorker):
                raise LabraySystemError(NOTHING)
            poll = timeout and 0
        found = real(selector, poll)
        if found or not timeout or timeout < 0:
            return found
        client.sleep(timeout)
        return real(selector, 0)

    patches.replace(kind, "select", select)


def _watches_only_itself(selector: Any) -> bool:
    """Whether it is an event loop's, and only the pipe by which threads wake it is registered."""
    keys = list(selector.get_map().values())
    if len(keys) != 1 or not isinstance(keys[0].data, tuple):
        return False
    callback = getattr(keys[0].data[0], "_callback", None)
    return getattr(callback, "__name__", "") == "_read_from_self"
