"""LeastLoaded: the head joins the shortest queue, by its own count of what it sent and what has ended since.

JSQ(n). Its view is stale by one message: of two tasks that end together on two nodes it may hear late of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct

from labray.ids import NodeID, TaskID
from labray.messages import UNIT
from labray.schedulers.parts.spreading import EvenSpread, wants_spreading
from labray.scheduling import (
    Agent,
    ClusterInfo,
    Decision,
    Fact,
    Forward,
    Keep,
    MessageReceived,
    NodeInfo,
    NodeJoined,
    NodeLost,
    Policy,
    PolicyAgent,
    PolicyMessage,
    Task,
    TaskFinished,
    TaskWithdrawn,
    Tell,
    TimerFired,
    View,
)
from labray.scheduling.sharing import share

if TYPE_CHECKING:
    from random import Random


class Ended(PolicyMessage, frozen=True):
    """A task that the head sent is no longer here."""


class LeastLoaded(Policy, frozen=True):
    """The head sends every task to the node with the fewest tasks for each of its CPUs; the earlier one if equal."""

    words: ClassVar[tuple[type[Struct], ...]] = (Ended,)
    interest: ClassVar[tuple[type[Fact], ...]] = (
        TaskFinished,
        TaskWithdrawn,
        MessageReceived,
        NodeJoined,
        NodeLost,
        TimerFired,
    )

    def agent(self, place: NodeID, cluster: ClusterInfo, view: View, rng: Random) -> Agent:
        return LeastLoadedHead(cluster, view) if place == cluster.head else LeastLoadedNode(cluster, view)


class LeastLoadedNode(PolicyAgent):
    """The agent at a node: it forwards what is submitted, keeps what the head sends, and tells the head when that ends.

    The share of a node that joins goes back to the head.
    """

    def __init__(self, cluster: ClusterInfo, view: View) -> None:
        super().__init__(cluster, view)
        self._counted: dict[TaskID, None] = {}  # by the head, as being here

    def task_arrived(self, task: Task) -> Sequence[Decision]:
        if not task.hops:
            return (Forward(task.id, self.head),)
        if not wants_spreading(task):
            self._counted[task.id] = None
        return (Keep(task.id),)

    def task_gone(self, task: Task) -> Sequence[Decision]:
        if task.id not in self._counted:
            return ()
        del self._counted[task.id]
        return (Tell(self.head, Ended()),)

    def node_joined(self, node: NodeInfo) -> Sequence[Decision]:
        return () if self.members.knows(node.place) else super().node_joined(node)

    def share_out(self) -> Sequence[Decision]:
        moved = share(self.view.queued, self.newcomers.take_all(), self.members.nodes)
        return [
            decision for task, _ in moved for decision in (*self.task_gone(task), Forward(task.id, self.head))
        ]


class LeastLoadedHead(PolicyAgent):
    """The agent at the head. It keeps a heap of (load, node); an entry with another load than the node has is old."""

    def __init__(self, cluster: ClusterInfo, view: View) -> None:
        super().__init__(cluster, view)
        self._spread = EvenSpread()
        self._index = {node.place: at for at, node in enumerate(cluster.nodes)}
        self._places = [node.place for node in cluster.nodes]
        self._cores = [max(dict(node.totals).get("CPU", 0) / UNIT, 1.0) for node in cluster.nodes]
        self._tasks = [0] * len(self._places)
        self._heap = [(0.0, at) for at in range(len(self._places))]

    def message_received(self, sender: NodeID, body: Ended) -> Sequence[Decision]:
        self._count(self._index.get(sender), -1)
        return ()

    def node_lost(self, place: NodeID) -> Sequence[Decision]:
        self._index.pop(place, None)
        self._rebuild()
        return super().node_lost(place)

    def node_joined(self, node: NodeInfo) -> Sequence[Decision]:
        if node.place not in self._index:
            self._open(node)
        return super().node_joined(node)

    def _open(self, node: NodeInfo) -> None:
        """Begin to count the tasks of a node."""
        at = self._index[node.place] = len(self._places)
        self._places.append(node.place)
        self._cores.append(max(dict(node.totals).get("CPU", 0) / UNIT, 1.0))
        self._tasks.append(0)
        self._count(at, 0)

    def task_arrived(self, task: Task) -> Sequence[Decision]:
        places = self.members.feasible(task)
        if not places:
            return ()
        if wants_spreading(task):
            return (Forward(task.id, self._spread.next(places)),)
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

    def _least(self, places: Sequence[NodeID]) -> int:
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
