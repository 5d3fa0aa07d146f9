"""What placing a task would move, as a head can know it: the bytes that are not there, and not under way already.

A part of policies that go where the data is. Pure bookkeeping; what is forgotten only makes an estimate worse.
"""

from __future__ import annotations

from collections import OrderedDict

from labray.ids import NodeID, ObjectID
from labray.scheduling import Task

UNDER_WAY = 0.1
"""What an input counts that another task has sent for already (as in Estee: J. Supercomputing 2022)."""
REMEMBERED = 100_000
"""Inputs of which the head knows where they were sent for."""


class Transfers:
    """Where inputs were sent for, with the tasks that were placed."""

    def __init__(self) -> None:
        self._coming: OrderedDict[ObjectID, dict[NodeID, None]] = OrderedDict()

    def needed(self, task: Task, place: NodeID) -> float:
        """Bytes; small values travel inside the task and have no place."""
        total, coming = 0.0, self._coming
        for dep in task.deps:
            if dep.places and place not in dep.places:
                total += dep.size * (UNDER_WAY if place in coming.get(dep.id, ()) else 1.0)
        return total

    def remember(self, task: Task, place: NodeID) -> None:
        """The task was sent there, and its inputs follow."""
        for dep in task.deps:
            if dep.places:
                self._coming.setdefault(dep.id, {})[place] = None
        while len(self._coming) > REMEMBERED:
            self._coming.popitem(last=False)
