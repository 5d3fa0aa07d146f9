"""Who has been stopped (SIGSTOP) for so long that it counts as dead."""

from __future__ import annotations

import time
from collections.abc import Iterable

from labray.node.failures.heartbeats import Heartbeats


class StoppedProcesses:
    """Of processes, by their state: a long call into C is not taken for one, nor who is under a debugger."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._beats = Heartbeats(timeout_s)
        self.period_s = self._beats.period_s

    @property
    def why(self) -> str:
        return f"was stopped (SIGSTOP) for {self.timeout_s:g} s and declared dead"

    def late(self, pids: Iterable[int]) -> list[int]:
        """Those of these that were stopped at every look for the whole time. To be asked once a period."""
        now = time.monotonic()
        for pid in pids:
            self._beats.expect(str(pid), now)
            if not _is_stopped(pid):
                self._beats.heard(str(pid), now)
        return [int(pid) for pid in self._beats.late(now)]

    def drop(self, pid: int) -> None:
        """It is dead, or does not matter now."""
        self._beats.stop_expecting(str(pid))


def _is_stopped(pid: int) -> bool:
    """By a signal. One that a debugger has stopped is not; nor one that cannot be looked at just now."""
    import psutil  # first needed seconds after the start, which it would delay

    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except (psutil.Error, OSError):  # it is gone; or there is no descriptor for its file in /proc
        return False
