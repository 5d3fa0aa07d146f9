"""Backlogs: what waits, in order, and how much it asks for of each resource.

Pure bookkeeping, in the resources' own units (1e-4).
"""

from __future__ import annotations

from labray.ids import TaskID
from labray.messages import Demand
from labray.scheduling import NodeInfo, Task


class Backlog:
    """Tasks that wait, in order of arrival, and the sum of what they ask for."""

    __slots__ = ("asked", "tasks")

    def __init__(self) -> None:
        self.tasks: dict[TaskID, Task] = {}
        self.asked: dict[str, int] = {}

    def hold(self, task: Task) -> None:
        """One more, or one that was in it already."""
        if task.id in self.tasks:
            return
        self.tasks[task.id] = task
        for name, amount in task.demand:
            self.asked[name] = self.asked.get(name, 0) + amount

    def remove(self, id: TaskID) -> None:
        """One less, if it was in it."""
        task = self.tasks.pop(id, None)
        if task is not None:
            for name, amount in task.demand:
                self.asked[name] -= amount


class NodeBacklog:
    """A node as its head knows it: what it last said is free, and what waits there or is on its way.

    A part of Rebalancing, which evens them out.
    """

    __slots__ = ("backlog", "place", "room")

    def __init__(self, node: NodeInfo) -> None:
        self.place = node.place
        self.room: dict[str, int] = dict(node.totals)
        self.backlog = Backlog()

    def spare(self, name: str) -> int:
        """What would be left if all that waits had begun; below 0 there is more than can run at once."""
        return self.room.get(name, 0) - self.backlog.asked.get(name, 0)

    def overloaded(self) -> bool:
        return any(self.spare(name) < 0 for name in self.backlog.asked)


def levels_out(demand: Demand, source: NodeBacklog, to: NodeBacklog) -> bool:
    """Whether this waits for something of which its place has too little to go round, and the other has some idle.

    Where what is left over is too little for it alone, there must be enough to begin at once. Of all else it asks for
    there must be enough at its new place, or it would wander back.
    """
    for name, amount in demand:
        behind, ahead = source.spare(name), to.spare(name)
        short = behind + amount <= 0 and ahead > max(behind - amount, 0)
        if short or (behind < 0 and ahead >= amount):
            return all(to.spare(other) >= much for other, much in demand if other != name)
    return False
