"""What a fault plan (labray/faults.py) does to messages under way and to workers that begin a task.

What it does to nodes is in fault_injector.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labray.faults import Crash, Faults, name_of

if TYPE_CHECKING:
    from labray.backends.sim.clock.event_queue import EventQueue
    from labray.ids import NodeID


class LinkFaults:
    """Holds messages up. planned: whether it may; else there is no need to ask."""

    def __init__(self, events: EventQueue, faults: Faults) -> None:
        self.planned = False
        self._events = events
        self._faults = faults
        self._sent = 0

    def begin(self) -> None:
        """The cluster stands: what was said while it was built is not disturbed."""
        self.planned = bool(self._faults.delays or self._faults.cuts)

    def leaves(self, source: NodeID, to: NodeID) -> float:
        """When a message sent now can leave at the earliest."""
        faults, now = self._faults, self._events.now
        a, b = name_of(source), name_of(to)
        if faults.delays:
            self._sent += 1
            now += faults.delayed(a, b, now, self._sent)
        return faults.open_at(a, b, now) if faults.cuts else now


class TaskCrashes:
    """Kills workers in the middle of a task. planned: whether it ever does."""

    def __init__(self, faults: Faults) -> None:
        self.planned = bool(faults.crashes)
        self._begun: dict[str, int] = {}
        self._crashes: dict[str, dict[int, Crash]] = {}
        for crash in faults.crashes:
            self._crashes.setdefault(crash.where, {})[crash.task] = crash

    def task_begins(self, worker: str) -> list[float]:
        """After how many seconds the worker of this name is killed if it still runs the task that it begins now."""
        node, _, own = worker.partition("/")
        after = []
        for where in (name_of(node), f"{name_of(node)}/{own}"):
            count = self._begun[where] = self._begun.get(where, 0) + 1
            crash = self._crashes.get(where, {}).get(count)
            if crash is not None:
                after.append(crash.after)
        return after
