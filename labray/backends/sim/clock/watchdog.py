"""Notices a body that blocks outside labray, and ends it with an error that names the line.

All bodies run on one thread. One that waits for a real lock which another body holds would wait for ever, and
with it the whole simulation. This thread looks now and then whether a body runs, gets no CPU time and stands in a
lock; after `patience_s` real seconds of that it interrupts it. Real input and output may take as long as it takes.
"""

from __future__ import annotations

import linecache
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labray.backends.sim.clients.client_world import ClientWorld

LOOKS = 4
"""In how many parts its patience comes: a body must stand still at all these looks."""
_WAITING_ROOMS = ("threading.py", "queue.py")  # where a lock is waited for on somebody's behalf


class Watchdog(threading.Thread):
    """Watches the thread that makes it, if its signals can be used to interrupt a lock."""

    def __init__(self, world: ClientWorld, patience_s: float) -> None:
        super().__init__(name="labray-sim-watchdog", daemon=True)
        self._world = world
        self._every_s = patience_s / LOOKS
        self._patience_s = patience_s
        self._watched = threading.get_ident()
        self._native = threading.get_native_id()
        self._clock = time.pthread_getcpuclockid(self._watched)
        self._over = threading.Event()

    def run(self) -> None:
        still, before = 0, (0, 0.0)
        while not self._over.wait(self._every_s):
            seen = (self._world.events.passed, round(time.clock_gettime(self._clock), 2))
            blocked = seen == before and self._world.in_body() and self._stands_in_a_lock()
            still, before = still + 1 if blocked else 0, seen
            if still >= LOOKS:
                still = 0
                self._world.interrupts.blocked = self._words()
                signal.pthread_kill(self._watched, signal.SIGINT)

    def stop(self) -> None:
        """Ends the thread. Idempotent."""
        self._over.set()
        if self.is_alive():
            self.join()

    def _stands_in_a_lock(self) -> bool:
        try:
            return "futex" in Path(f"/proc/self/task/{self._native}/wchan").read_text()
        except OSError:  # this kernel does not say: standing still has to do
            return True

    def _words(self) -> str:
        frame = _innermost(sys._current_frames().get(self._watched))
        where = "a place that Python cannot tell"
        if frame is not None:
            file, line = frame.f_code.co_filename, frame.f_lineno
            where = f"{file}:{line} in {frame.f_code.co_name}: {linecache.getline(file, line).strip()}"
        return (
            f"this task blocks outside labray, and the simulation with it: for {self._patience_s:g} s it has waited "
            f"for a lock at {where}. Tasks share nothing but refs and actors: use an actor instead of a lock."
        )


def _innermost(frame: FrameType | None) -> FrameType | None:
    while (
        frame is not None
        and frame.f_back is not None
        and Path(frame.f_code.co_filename).name in _WAITING_ROOMS
    ):
        frame = frame.f_back
    return frame
