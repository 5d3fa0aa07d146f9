"""How processes are ended: first asked (a worker by ASK, others by TERM), and killed when their time is up.

Used by the fork server alone. A worker leads a process group of its own, so what it has started is ended with it, also
when it died by itself. Most processes end at the word; nobody waits for the grace that the others are given.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Collection, Iterable

from labray.backends.cluster.boot.process_start import describe_end
from labray.backends.cluster.boot.stopped_processes import StoppedProcesses
from labray.backends.cluster.worker.worker_exit import ASK

GRACE_S = 0.5
"""From TERM to KILL. A session is to be gone within 2 s of its driver's death."""
HOOKS_S = 5.0
"""The same for a worker that is not needed any more: what it has left for its end (atexit, files) takes its time."""
ORDERLY_S = 2.0
"""The same for all, when the driver ends the session by shutdown()."""
SWEEP_S = 1.5
"""How long after the last KILL all are waited for."""


class Reaper:
    """timeout_s: how long a process may be stopped (SIGSTOP) before it counts as dead; None: for ever."""

    def __init__(self, timeout_s: float | None) -> None:
        self._due: dict[int, float] = {}  # by group
        self._causes: dict[int, str] = {}  # of deaths that we are the cause of
        self._stopped = None if timeout_s is None else StoppedProcesses(timeout_s)
        self._next_look = 0.0 if self._stopped is None else time.monotonic() + self._stopped.period_s

    def until(self) -> int | None:
        """How many milliseconds until something is due; None: nothing is."""
        times = [*self._due.values(), *([self._next_look] if self._stopped is not None else [])]
        return max(0, round(1000 * (min(times) - time.monotonic())) + 1) if times else None

    def ask(self, worker: int, grace_s: float) -> None:
        """Have a worker end by itself, and what it has started with it; 0: it is killed. It is our child."""
        if grace_s == 0:
            _signal_group(worker, signal.SIGKILL)
        elif _signal(worker, ASK):
            self._due.setdefault(worker, time.monotonic() + grace_s)

    def terminate(self, group: int) -> None:
        """Ask all of a group to end. Its leader is our child and not yet reaped: the number cannot be another's."""
        if _signal_group(group, signal.SIGTERM):
            self._due.setdefault(group, time.monotonic() + GRACE_S)

    def leader_reaped(self, group: int) -> None:
        """If nobody else is in its group there is nobody left to kill, and soon the number may be another's."""
        if not _signal_group(group, 0):
            self._due.pop(group, None)

    def kill_due(self) -> None:
        """Kill those who were asked and did not go."""
        now = time.monotonic()
        for group in [group for group, due in self._due.items() if due <= now]:
            del self._due[group]
            _signal_group(group, signal.SIGKILL)

    # ------------------------------------------------------------ stopped

    def declare_dead(self, pids: Iterable[int]) -> None:
        """Kill those of these that have been stopped all the time. Looks once a period."""
        now = time.monotonic()
        if self._stopped is not None and now >= self._next_look:
            self._next_look = now + self._stopped.period_s
            for pid in self._stopped.late(pids):
                self.kill(pid, self._stopped.why)

    def kill(self, pid: int, why: str) -> None:
        """A child of ours, at once."""
        self._causes[pid] = why
        _signal(pid, signal.SIGKILL)

    def cause(self, pid: int, status: int) -> str:
        """It is dead and reaped: why, in words."""
        if self._stopped is not None:
            self._stopped.drop(pid)
        return f"process {pid} {self._causes.pop(pid, None) or describe_end(status)}"

    # ------------------------------------------------------------ the end

    def end_all(self, at_once: Iterable[int], workers: Collection[int], bell: int, grace_s: float) -> None:
        """End and reap every child, and every orphan that thereby becomes ours. bell: readable when one has died."""
        for pid in at_once:
            _signal(pid, signal.SIGKILL)
        asked: set[int] = set(at_once)
        began = time.monotonic()
        poll = select.poll()
        poll.register(bell, select.POLLIN)
        while (children := _children()) and (spent := time.monotonic() - began) < grace_s + SWEEP_S:
            for pid in children:
                if spent >= grace_s:
                    _signal(pid, signal.SIGKILL)
                elif pid not in asked:
                    asked.add(pid)
                    _signal(pid, ASK if pid in workers else signal.SIGTERM)
            if not _reap():
                poll.poll(20)
                _drain(bell)


def _signal(pid: int, number: int) -> bool:
    try:
        with contextlib.suppress(PermissionError):  # it is there, and another user's (sudo, in a task)
            os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _signal_group(group: int, number: int) -> bool:
    """Whether there is anybody in it."""
    try:
        with contextlib.suppress(PermissionError):
            os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def _reap() -> bool:
    """Whether some child had died."""
    reaped = False
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            reaped = True
    except ChildProcessError:
        return True
    return reaped


def _drain(bell: int) -> None:
    try:
        os.read(bell, 4096)
    except BlockingIOError:
        return


def _children() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [int(pid) for pid in file.read().split()]
