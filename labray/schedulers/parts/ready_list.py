"""A list of ready tasks: of those, the one with the longest way still to go begins first.

What the b-level of a task is only the graph can say, so a policy is given the workload (workloads.py); a task that it
does not know has its declared cost as its level. A part of Single, BLevel and Rebalancing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from heapq import heappop, heappush
from math import inf

from labray.ids import TaskID
from labray.messages import Demand
from labray.schedulers.planned.plans import Workload, static_levels
from labray.scheduling import (
    Task,
)
from labray.strategies import Strategy


@lru_cache(maxsize=4)
def levels(work: Workload) -> dict[str, float]:
    """The b-level of each task in seconds, by label."""
    return dict(zip(work.tasks, static_levels(work), strict=True))


class Waiting:
    """Ready tasks, the highest level first, then in order of arrival; those of one shape share a heap. Before all of
    them goes what a blocked task waits for, the last that somebody came to wait for first.

    A request that does not fit lets others pass: it might wait for what an actor holds for good.
    """

    def __init__(self, work: Workload) -> None:
        self._levels = levels(work)
        self._lines: dict[tuple[Demand, Strategy], list[tuple[float, int, TaskID]]] = {}
        self._tasks: dict[TaskID, Task] = {}
        self._arrivals = self._wants = 0

    def __len__(self) -> int:
        return len(self._tasks)

    def insert(self, task: Task) -> None:
        level = self._levels.get(task.id)
        if level is None:
            level = self._levels.get(task.name, task.cost or 0.0)
        self._arrivals += 1
        self._tasks[task.id] = task
        heappush(self._lines.setdefault((task.demand, task.strategy), []), (-level, self._arrivals, task.id))

    def want(self, task: Task) -> None:
        """A blocked task waits for it. (Its old entry is skipped when its turn comes.)"""
        if task.id in self._tasks:
            self._wants += 1
            heappush(self._lines[task.demand, task.strategy], (-inf, -self._wants, task.id))

    def discard(self, task: TaskID) -> None:
        self._tasks.pop(task, None)  # its entry is skipped when its turn comes

    def place_ready(self, place: Callable[[Task], bool]) -> None:
        """Place what can be placed, in order; a shape that cannot be is not tried again."""
        lines = {shape: line for shape, line in self._lines.items() if self._first(line) is not None}
        while lines:
            shape = min(lines, key=lambda shape: lines[shape][0])
            line = lines[shape]
            task = self._tasks[line[0][2]]
            if place(task):
                heappop(line)
                del self._tasks[task.id]
                if self._first(line) is not None:
                    continue
            del lines[shape]

    def _first(self, line: list[tuple[float, int, TaskID]]) -> TaskID | None:
        while line and line[0][2] not in self._tasks:
            heappop(line)
        return line[0][2] if line else None
