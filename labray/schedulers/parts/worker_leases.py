"""A node's own workers, as it lends them: who has one, and who is in line for one. A part of OwnershipLeases.

A worker that is lent and has no task yet counts as if it ran one. Amounts are in the resources' own units (1e-4).
"""

from __future__ import annotations

from collections.abc import Iterator

from labray.ids import NodeID, TaskID
from labray.messages import Demand
from labray.scheduling import Task, View

Shape = tuple[Demand, str]
"""What a task asks for, and the label of its strategy. Agents name it to each other; nobody looks into the label."""
Lease = tuple[NodeID, Shape]


def shape_of(task: Task) -> Shape:
    return task.demand, task.strategy.label


class WorkerLender:
    """Keeps what is spoken for apart from what is free."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._idle: dict[Lease, int] = {}  # lent, and no task has come for them yet
        self._leased: dict[TaskID, Lease] = {}
        self._unbegun: dict[TaskID, Demand] = {}
        self._spoken_for: dict[str, int] = {}
        self._line: dict[Lease, None] = {}

    def lend(self, owner: NodeID, shape: Shape) -> bool:
        """Whether there is room; if not, the owner is in line."""
        if not self._has_room(shape[0]):
            self._line[owner, shape] = None
            return False
        self._set_aside((owner, shape))
        return True

    def returned(self, owner: NodeID, shape: Shape) -> None:
        self._take_idle((owner, shape))

    def turns(self) -> Iterator[Lease]:
        """Those in line for whom there is room now, each of whom has a worker then."""
        for lease in list(self._line):
            if self._has_room(lease[1][0]):
                del self._line[lease]
                self._set_aside(lease)
                yield lease

    def arrived(self, task: Task) -> None:
        """It comes for a worker that its owner was lent, or else without one: then it waits for its turn here."""
        lease = (task.submitter, shape_of(task))
        if task.kind == "task" and self._take_idle(lease):
            self._leased[task.id] = lease
        self._wait(task)

    def started(self, task: Task) -> None:
        demand = self._unbegun.pop(task.id, None)
        if demand is not None:
            self._speak_for(demand, -1)

    def recalled(self, task: Task) -> None:
        if task.id not in self._unbegun:
            self._wait(task)

    def over(self, task: Task) -> Lease | None:
        """What it ran on, if that was lent: it is idle again, and its owner's."""
        self.started(task)
        lease = self._leased.pop(task.id, None)
        if lease is not None:
            self._set_aside(lease)
        return lease

    def end_leases_of(self, owner: NodeID) -> None:
        for lease in [lease for lease in self._idle if lease[0] == owner]:
            while self._take_idle(lease):
                pass
        self._line = {lease: None for lease in self._line if lease[0] != owner}
        self._leased = {task: lease for task, lease in self._leased.items() if lease[0] != owner}

    def _wait(self, task: Task) -> None:
        self._unbegun[task.id] = task.demand
        self._speak_for(task.demand, 1)

    def _set_aside(self, lease: Lease) -> None:
        self._idle[lease] = self._idle.get(lease, 0) + 1
        self._speak_for(lease[1][0], 1)

    def _take_idle(self, lease: Lease) -> bool:
        count = self._idle.pop(lease, 0)
        if count > 1:
            self._idle[lease] = count - 1
        if count:
            self._speak_for(lease[1][0], -1)
        return count > 0

    def _speak_for(self, demand: Demand, sign: int) -> None:
        for name, amount in demand:
            self._spoken_for[name] = self._spoken_for.get(name, 0) + sign * amount

    def _has_room(self, demand: Demand) -> bool:
        free, taken = self._view.free, self._spoken_for
        return all(free.get(name, 0) - taken.get(name, 0) >= amount for name, amount in demand)
