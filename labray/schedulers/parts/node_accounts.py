"""Nodes and waiting tasks, as a head keeps exact account of them: for policies in which the head alone decides."""

from __future__ import annotations

from collections import OrderedDict

from labray.ids import NodeID, TaskID
from labray.messages import Demand
from labray.scheduling import (
    Fact,
    Forward,
    MessageReceived,
    NodeInfo,
    NodeJoined,
    NodeLost,
    PolicyMessage,
    RoomChanged,
    Task,
    TaskBlocked,
    TaskFinished,
    TaskStarted,
    TaskUnblocked,
    TaskWanted,
    TaskWithdrawn,
)

ROOM_EVENTS: tuple[type[Fact], ...] = (
    TaskStarted,
    TaskFinished,
    TaskBlocked,
    TaskUnblocked,
    TaskWanted,
    TaskWithdrawn,
    RoomChanged,
    MessageReceived,
    NodeJoined,
    NodeLost,
)
"""The events that change what is free, or who waits for it."""


class RoomReport(PolicyMessage, frozen=True, tag="Room"):
    """From a node to the head: what is free here, once the tasks in `settled` no longer count as under way."""

    free: tuple[tuple[str, int], ...]
    settled: tuple[TaskID, ...]


class NodeAccount:
    """A node as the head knows it: what it last said is free, less what is on the way to it."""

    __slots__ = ("free", "place", "sent")

    def __init__(self, node: NodeInfo) -> None:
        self.place = node.place
        self.free: dict[str, int] = dict(node.totals)
        self.sent: dict[TaskID, Demand] = {}

    def has(self, demand: Demand) -> bool:
        free = self.free
        for name, amount in demand:
            if free.get(name, 0) < amount:
                return False
        return True

    def charge(self, task: Task) -> None:
        if task.demand:
            self.sent[task.id] = task.demand
            for name, amount in task.demand:
                self.free[name] -= amount

    def update(self, word: RoomReport) -> None:
        for task in word.settled:
            self.sent.pop(task, None)
        self.free = dict(word.free)
        for demand in self.sent.values():
            for name, amount in demand:
                self.free[name] -= amount


class ShapeQueue:
    """The tasks of one shape, in order of arrival, and the nodes that could run them.

    Invariant: no node before `first` has room for this shape, so a burst does not search them again.
    """

    __slots__ = ("accounts", "first", "overtaken", "position", "spread", "waiting")

    def __init__(self, accounts: list[NodeAccount], spread: bool) -> None:
        self.accounts = accounts
        self.position = {account.place: position for position, account in enumerate(accounts)}
        self.first = 0
        self.spread = spread
        self.overtaken = 0  # its oldest, by younger ones of other shapes
        self.waiting: OrderedDict[TaskID, tuple[int, Task]] = OrderedDict()

    def find(self, demand: Demand) -> NodeAccount | None:
        accounts, count = self.accounts, len(self.accounts)
        start = self.first
        for step in range(count if self.spread else count - start):
            position = (start + step) % count
            if accounts[position].has(demand):
                self.first = position + 1 if self.spread else position
                return accounts[position]
        if not self.spread:
            self.first = count
        return None

    def oldest(self) -> int:
        return next(iter(self.waiting.values()))[0]

    def want(self, task: Task, rank: int) -> None:
        """It goes before all others here, and before those of other lines with a higher rank."""
        if task.id in self.waiting:
            self.waiting[task.id] = (rank, task)
            self.waiting.move_to_end(task.id, last=False)

    def came_free(self, place: NodeID) -> None:
        if not self.spread:
            self.first = min(self.first, self.position.get(place, self.first))


def send(task: Task, account: NodeAccount) -> Forward:
    account.charge(task)
    return Forward(task.id, account.place)
