"""OwnershipLeases: where a task is submitted asks nodes for workers, and uses one as long as it has work for it.

Ray since 2020, below the Ownership paper (Wang et al., NSDI'21): the owner queues its tasks by the shape of their
request, asks the node with most of the oldest task's input bytes for a worker, else its own, else the next, and sends
the oldest task to whoever lends one. A node that has no room says so and remembers who asked, so that the owner asks
others too. What a worker is lent for is its shape, not a task: that saves the question for every task but the first.
Ours: a worker without work is given back at once, and what a node knows of others it has only from such answers.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from msgspec import Struct

from labray.ids import NodeID, TaskID
from labray.schedulers.parts.spreading import SpreadingHead, wants_spreading
from labray.schedulers.parts.worker_leases import Shape, WorkerLender, shape_of
from labray.scheduling import (
    Agent,
    ClusterInfo,
    Decision,
    Event,
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
    RoomChanged,
    Task,
    TaskBlocked,
    TaskFinished,
    TaskRecalled,
    TaskStarted,
    TaskWanted,
    TaskWithdrawn,
    Tell,
    View,
)

if TYPE_CHECKING:
    from random import Random

MOST_QUESTIONS = 10
"""Of one owner and shape without an answer yet, or one for each node if there are more (as Ray's limiter of rates)."""


class WorkerAsked(PolicyMessage, frozen=True, tag="Ask"):
    """From an owner: lend me a worker."""

    shape: Shape


class Busy(PolicyMessage, frozen=True):
    """The answer, if there is no room: you are in line."""

    shape: Shape


class WorkerLent(PolicyMessage, frozen=True, tag="Lent"):
    """A worker is yours: the answer, or when your turn has come, or since it has ended what you gave it."""

    shape: Shape
    why: Literal["asked", "waited", "done"]


class WorkerReturned(PolicyMessage, frozen=True, tag="Returned"):
    """From an owner: I have nothing for it."""

    shape: Shape


LeaseMessage = WorkerAsked | Busy | WorkerLent | WorkerReturned


class OwnershipLeases(Policy, frozen=True):
    """The owner of a task finds it a worker, and keeps the worker while it has more of the same shape."""

    words: ClassVar[tuple[type[Struct], ...]] = (WorkerAsked, Busy, WorkerLent, WorkerReturned)
    interest: ClassVar[tuple[type[Fact], ...]] = (
        TaskStarted,
        TaskRecalled,
        TaskFinished,
        TaskBlocked,
        TaskWanted,
        TaskWithdrawn,
        RoomChanged,
        MessageReceived,
        NodeJoined,
        NodeLost,
    )

    def agent(self, place: NodeID, cluster: ClusterInfo, view: View, rng: Random) -> Agent:
        return SpreadingHead(cluster, view) if place == cluster.head else OwnershipLeasesNode(cluster, view)


class ShapeBacklog:
    """One shape at its owner: the tasks, and whom it asked. busy: those with whom it is in line."""

    __slots__ = ("asked", "busy", "tasks")

    def __init__(self) -> None:
        self.tasks: OrderedDict[TaskID, Task] = OrderedDict()
        self.asked: dict[NodeID, int] = {}
        self.busy: dict[NodeID, None] = {}

    def answered(self, place: NodeID) -> None:
        if self.asked.get(place, 0) > 1:
            self.asked[place] -= 1
        else:
            self.asked.pop(place, None)

    def forget_node(self, place: NodeID) -> None:
        self.asked.pop(place, None)
        self.busy.pop(place, None)


class OwnershipLeasesNode(PolicyAgent):
    """A node: owner of what is submitted there, and lender of its own workers, to itself too.

    What it does for an event it decides bit by bit, as word from itself may follow from it: `handle` gathers that.
    """

    def __init__(self, cluster: ClusterInfo, view: View) -> None:
        super().__init__(cluster, view)
        self._lender = WorkerLender(view)
        at = [node.place for node in cluster.nodes].index(view.place)
        ring = (*cluster.nodes[at:], *cluster.nodes[:at])
        self._distance = {node.place: steps for steps, node in enumerate(ring)}
        self._wanted: dict[Shape, ShapeBacklog] = {}
        self._decided: list[Decision] = []
        self._to_self: deque[LeaseMessage] = deque()

    def handle(self, event: Event, now: float) -> Sequence[Decision]:
        self._decided = []
        super().handle(event, now)
        self._serve()
        while self._to_self:
            self._heard(self.place, self._to_self.popleft())
            self._serve()
        return self._decided

    def _say(self, to: NodeID, word: LeaseMessage) -> None:
        if to == self.place:
            self._to_self.append(word)
        else:
            self._decided.append(Tell(to, word))

    # ------------------------------------------------------------ as an owner

    def task_arrived(self, task: Task) -> Sequence[Decision]:
        if task.hops:
            self._keep(task)
            return ()
        places = self.members.feasible(task)
        if wants_spreading(task) and len(places) > 1:
            self._decided.append(Forward(task.id, self.head))
        elif task.kind == "actor" and self.place in places:
            self._keep(task)  # it never gives its worker back
        elif task.kind == "actor" and places:
            self._decided.append(Forward(task.id, places[0]))
        elif places:
            shape = shape_of(task)
            self._wanted.setdefault(shape, ShapeBacklog()).tasks[task.id] = task
            self._seek(shape)
        return ()

    def task_wanted(self, task: Task) -> Sequence[Decision]:
        """A blocked task waits for it: it gets the next worker."""
        wanted = self._wanted.get(shape_of(task))
        if wanted is not None and task.id in wanted.tasks:
            wanted.tasks.move_to_end(task.id, last=False)
        return ()

    def _keep(self, task: Task) -> None:
        self._lender.arrived(task)
        self._decided.append(Keep(task.id))

    def _seek(self, shape: Shape) -> None:
        """Ask for as many workers as there are tasks, but not whoever has said that there is no room."""
        wanted = self._wanted[shape]
        if not wanted.tasks:
            return
        oldest = next(iter(wanted.tasks.values()))
        places = [place for place in self.members.feasible(oldest) if place not in wanted.busy]
        missing = min(len(wanted.tasks), max(MOST_QUESTIONS, len(self.members.nodes)))
        missing -= sum(wanted.asked.values())
        for _ in range(missing if places else 0):
            to = min(places, key=lambda place: self._preference(wanted, oldest, place))
            wanted.asked[to] = wanted.asked.get(to, 0) + 1
            self._say(to, WorkerAsked(shape))

    def _preference(self, wanted: ShapeBacklog, task: Task, place: NodeID) -> tuple[int, int, int]:
        here = sum(dep.size for dep in task.deps if place in dep.places)
        return (wanted.asked.get(place, 0), -here, self._distance[place])

    def _lent(self, place: NodeID, shape: Shape, why: str) -> None:
        wanted = self._wanted.setdefault(shape, ShapeBacklog())
        if why == "asked":
            wanted.answered(place)
        elif why == "waited":
            wanted.busy.pop(place, None)
        if not wanted.tasks:
            self._say(place, WorkerReturned(shape))
            return
        _, task = wanted.tasks.popitem(last=False)
        if place == self.place:
            self._keep(task)
        else:
            self._decided.append(Forward(task.id, place))
        self._seek(shape)

    def _heard(self, sender: NodeID, word: LeaseMessage) -> None:
        if sender not in self._distance:
            return
        if isinstance(word, WorkerLent):
            self._lent(sender, word.shape, word.why)
        elif isinstance(word, Busy):
            wanted = self._wanted[word.shape]
            wanted.answered(sender)
            wanted.busy[sender] = None
            self._seek(word.shape)
        elif isinstance(word, WorkerReturned):
            self._lender.returned(sender, word.shape)
        elif self._lender.lend(sender, word.shape):
            self._say(sender, WorkerLent(word.shape, "asked"))
        else:
            self._say(sender, Busy(word.shape))

    # ------------------------------------------------------------ as a lender, and news

    def _serve(self) -> None:
        for owner, shape in self._lender.turns():
            self._say(owner, WorkerLent(shape, "waited"))

    def task_started(self, task: Task) -> Sequence[Decision]:
        self._lender.started(task)
        return ()

    def task_recalled(self, task: Task) -> Sequence[Decision]:
        self._lender.recalled(task)
        return ()

    def task_gone(self, task: Task) -> Sequence[Decision]:
        wanted = self._wanted.get(shape_of(task))
        if wanted is not None and wanted.tasks.pop(task.id, None) is not None:
            return ()
        lease = self._lender.over(task)
        if lease is not None:
            self._say(lease[0], WorkerLent(lease[1], "done"))
        return ()

    def message_received(self, sender: NodeID, body: LeaseMessage) -> Sequence[Decision]:
        self._heard(sender, body)
        return ()

    def node_joined(self, node: NodeInfo) -> Sequence[Decision]:
        """It can lend workers too."""
        self.members.join(node)
        self._distance.setdefault(node.place, len(self._distance))
        for shape in self._wanted:
            self._seek(shape)
        return ()

    def node_lost(self, place: NodeID) -> Sequence[Decision]:
        self.members.lose(place)
        self._distance.pop(place, None)
        self._lender.end_leases_of(place)
        for shape, wanted in self._wanted.items():
            wanted.forget_node(place)
            self._seek(shape)
        return ()
