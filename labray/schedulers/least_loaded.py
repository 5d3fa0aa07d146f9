"""LeastLoaded: the head joins the shortest queue, by its own count of what it sent and what has ended since.

JSQ(n). Its view is stale by one message: of two tasks that end together on two nodes it may hear late of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct

from labray.ids import Place, TaskID
from labray.messages import UNIT
from labray.schedulers.spread import Spreader, wants_spreading
from labray.scheduling import (
    Agent,
    Cluster,
    Decision,
    Event,
    Fact,
    Forward,
    Keep,
    MessageReceived,
    NodeInfo,
    NodeJoined,
    NodeLost,
    TaskArrived,
    TaskFinished,
    TaskWithdrawn,
    Tell,
    TimerFired,
    View,
)
from labray.scheduling.membership import Membership
from labray.scheduling.sharing import Newcomers, share

if TYPE_CHECKING:
    from random import Random


class Ended(Struct, frozen=True, array_like=True, tag=True, gc=False):
    """A task that the head sent is no longer here."""


class LeastLoaded(Struct, frozen=True):
    """Every task by the head, to the node with the fewest tasks for each of its CPUs; the earlier one if equal."""

    words: ClassVar[tuple[type[Struct], ...]] = (Ended,)
    interest: ClassVar[tuple[type[Fact], ...]] = (
        TaskFinished,
        TaskWithdrawn,
        MessageReceived,
        NodeJoined,
        NodeLost,
        TimerFired,
    )

    def agent(self, place: Place, cluster: Cluster, view: View, rng: Random) -> Agent:
        return Ledger(cluster) if place == cluster.head else Teller(cluster, view)


class Teller:
    """At a node: passes on, keeps what comes back, and tells of each end. A new node's share goes back to the head."""

    def __init__(self, cluster: Cluster, view: View) -> None:
        self._cluster = cluster
        self._head = cluster.head
        self._view = view
        self._newcomers = Newcomers(view)
        self._here: dict[TaskID, None] = {}

    def handle(self, event: Event, now: float) -> Sequence[Decision]:
        if isinstance(event, TaskArrived):
            if not event.task.hops:
                return (Forward(event.task.id, self._head),)
            if not wants_spreading(event.task):  # those the head does not count
                self._here[event.task.id] = None
            return (Keep(event.task.id),)
        if isinstance(event, TaskFinished | TaskWithdrawn) and event.task.id in self._here:
            del self._here[event.task.id]
            return (Tell(self._head, Ended()),)
        if isinstance(event, NodeJoined) and event.node.place not in self._cluster.places:
            self._cluster = self._cluster.joined(event.node)
            return self._newcomers.join(event.node)
        if isinstance(event, NodeLost):
            self._newcomers.lose(event.place)
        elif isinstance(event, TimerFired):
            return self._give_back()
        return ()

    def _give_back(self) -> Sequence[Decision]:
        decisions: list[Decision] = []
        for task, _ in share(self._view.queued, self._newcomers.take(), self._cluster.nodes):
            if task.id in self._here:
                del self._here[task.id]
                decisions.append(Tell(self._head, Ended()))
            decisions.append(Forward(task.id, self._head))
        return decisions


class Ledger:
    """At the head. A heap of (load, node): an entry whose load is not the node's any more is old."""

    def __init__(self, cluster: Cluster) -> None:
        self._members = Membership(cluster)
        self._spreader = Spreader(cluster)
        self._index = {node.place: at for at, node in enumerate(cluster.nodes)}
        self._places = [node.place for node in cluster.nodes]
        self._cores = [max(dict(node.totals).get("CPU", 0) / UNIT, 1.0) for node in cluster.nodes]
        self._tasks = [0] * len(self._places)
        self._heap = [(0.0, at) for at in range(len(self._places))]

    def handle(self, event: Event, now: float) -> Sequence[Decision]:
        if isinstance(event, TaskArrived):
            return self._arrived(event)
        if isinstance(event, MessageReceived):
            self._count(self._index.get(event.sender), -1)
        elif isinstance(event, NodeLost):
            self._spreader.handle(event, now)
            self._members.lose(event.place)
            self._index.pop(event.place, None)
            self._rebuild()
        elif isinstance(event, NodeJoined):
            self._spreader.handle(event, now)
            self._joined(event.node)
        return ()

    def _joined(self, node: NodeInfo) -> None:
        if node.place in self._index:
            return
        self._members.join(node)
        at = self._index[node.place] = len(self._places)
        self._places.append(node.place)
        self._cores.append(max(dict(node.totals).get("CPU", 0) / UNIT, 1.0))
        self._tasks.append(0)
        self._count(at, 0)

    def _arrived(self, event: TaskArrived) -> Sequence[Decision]:
        task = event.task
        if wants_spreading(task):
            return self._spreader.handle(event, 0.0)
        places = self._members.feasible(task)
        if not places:
            return ()
        at = self._shortest() if len(places) == len(self._index) else self._least(places)
        self._count(at, 1)
        return (Forward(task.id, self._places[at]),)

    def _load(self, at: int) -> float:
        return self._tasks[at] / self._cores[at]

    def _shortest(self) -> int:
        while True:
            load, at = self._heap[0]
            if load == self._load(at) and self._places[at] in self._index:
                return at
            heappop(self._heap)

    def _least(self, places: Sequence[Place]) -> int:
        return min((self._index[place] for place in places), key=lambda at: (self._load(at), at))

    def _count(self, at: int | None, change: int) -> None:
        if at is None:
            return
        self._tasks[at] += change
        heappush(self._heap, (self._load(at), at))
        if len(self._heap) > 4 * len(self._places) + 64:
            self._rebuild()

    def _rebuild(self) -> None:
        self._heap = [(self._load(at), at) for at in self._index.values()]
        heapify(self._heap)
