"""Lines at nodes, as a head keeps account of them: what it has given each node, less what has begun.

A part of Rebalancing, which evens them out. Pure bookkeeping, in the resources' own units (1e-4).
"""

from __future__ import annotations

from labray.ids import TaskID
from labray.messages import Demand
from labray.scheduling import NodeInfo, Task


class Bench:
    """A node as the head knows it: what it last said is free, and what waits there or is on its way."""

    __slots__ = ("due", "place", "room", "waiting")

    def __init__(self, node: NodeInfo) -> None:
        self.place = node.place
        self.room: dict[str, int] = dict(node.totals)
        self.waiting: dict[TaskID, Task] = {}
        self.due: dict[str, int] = {}

    def spare(self, name: str) -> int:
        """What would be left if all that waits had begun; below 0 there is more than can run at once."""
        return self.room.get(name, 0) - self.due.get(name, 0)

    def overloaded(self) -> bool:
        return any(self.spare(name) < 0 for name in self.due)

    def add(self, task: Task) -> None:
        self.waiting[task.id] = task
        for name, amount in task.demand:
            self.due[name] = self.due.get(name, 0) + amount

    def remove(self, task: Task) -> None:
        del self.waiting[task.id]
        for name, amount in task.demand:
            self.due[name] -= amount


def levels_out(demand: Demand, source: Bench, to: Bench) -> bool:
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
