"""PowerOfD: ask d nodes at random how long their queues are, and join the shortest.

Mitzenmacher (TPDS 2001); join-the-shortest-of-d. Where a task is submitted, its node asks and waits for the answers,
one round trip: no head is in the way, and what it learns is as old as the answer. d=1 asks nobody. What it has sent
since it asked counts too, and of equals it draws one: else all that is asked for at once would go to the same place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct

from labray.ids import NodeID, TaskID
from labray.messages import ONE_CPU, Demand
from labray.schedulers.parts.backlog import Backlog
from labray.schedulers.parts.spreading import SpreadingHead, wants_spreading
from labray.scheduling import (
    Agent,
    ClusterInfo,
    Decision,
    Fact,
    Forward,
    Keep,
    MessageReceived,
    NodeJoined,
    NodeLost,
    Policy,
    PolicyAgent,
    PolicyMessage,
    Task,
    TaskFinished,
    TaskRecalled,
    TaskStarted,
    TaskWithdrawn,
    Tell,
    TimerFired,
    View,
)

if TYPE_CHECKING:
    from random import Random


class Probe(PolicyMessage, frozen=True):
    """How long is your queue, for what asks for this?"""

    number: int
    demand: Demand


class Length(PolicyMessage, frozen=True):
    """How much is wanted here, of what there is: 1.0 if all is in use and nobody waits."""

    number: int
    length: float


class PowerOfD(Policy, frozen=True):
    """d feasible nodes, drawn without replacement; the shortest queue wins, of equals one drawn at random.

    A queue is what runs and waits there, tasks and actors, in parts of the whole node: of the resource that the task
    asks for, and if it asks for several, of the one that is scarcest there.
    """

    d: int = 2

    words: ClassVar[tuple[type[Struct], ...]] = (Probe, Length)
    interest: ClassVar[tuple[type[Fact], ...]] = (
        TaskStarted,
        TaskRecalled,
        TaskFinished,
        TaskWithdrawn,
        MessageReceived,
        NodeJoined,
        NodeLost,
        TimerFired,
    )

    def __post_init__(self) -> None:
        if isinstance(self.d, bool) or not isinstance(self.d, int) or self.d < 1:
            raise ValueError(f"d={self.d!r}: the number of nodes to ask is at least 1.")

    def agent(self, place: NodeID, cluster: ClusterInfo, view: View, rng: Random) -> Agent:
        if place == cluster.head:
            return SpreadingHead(cluster, view)
        return PowerOfDNode(self.d, cluster, view, rng)


class QueueInquiry:
    """A task, and what is known so far of the nodes it may go to. sent: to each of them when it was asked."""

    __slots__ = ("lengths", "missing", "sent", "task")

    def __init__(self, task: TaskID, places: Sequence[NodeID], sent: Mapping[NodeID, float]) -> None:
        self.task = task
        self.lengths: dict[NodeID, float | None] = dict.fromkeys(places)
        self.sent = {place: sent.get(place, 0.0) for place in places}
        self.missing = len(places)

    def answer(self, place: NodeID, length: float) -> bool:
        """Whether that was the last answer missing."""
        if place in self.lengths and self.lengths[place] is None:
            self.lengths[place] = length
            self.missing -= 1
        return self.missing == 0

    def lose(self, place: NodeID) -> bool:
        if place not in self.lengths:
            return False
        if self.lengths.pop(place) is None:
            self.missing -= 1
        return self.missing == 0

    def shortest(self, sent: Mapping[NodeID, float]) -> list[NodeID]:
        """The nodes, of equal length, that nobody is shorter than. sent: to each of them until now."""
        now = {
            place: round((length or 0.0) + sent.get(place, 0.0) - self.sent[place], 9)
            for place, length in self.lengths.items()
        }
        least = min(now.values())
        return [place for place, length in now.items() if length == least]


class PowerOfDNode(PolicyAgent):
    """At a node: asks for what is submitted here, keeps what was sent here, and answers others."""

    def __init__(self, d: int, cluster: ClusterInfo, view: View, rng: Random) -> None:
        super().__init__(cluster, view)
        self._d = d
        self._rng = rng
        self._totals = dict(cluster.places[view.place].totals)
        self._unbegun = Backlog()
        self._sent: dict[NodeID, float] = {}  # ever, by node, in parts of the whole node
        self._inquiries: dict[int, QueueInquiry] = {}
        self._waiting: dict[TaskID, Task] = {}
        self._number = 0

    def task_started(self, task: Task) -> Sequence[Decision]:
        self._unbegun.remove(task.id)
        return ()

    def task_recalled(self, task: Task) -> Sequence[Decision]:
        self._unbegun.hold(task)
        return ()

    def task_gone(self, task: Task) -> Sequence[Decision]:
        self._unbegun.remove(task.id)
        self._waiting.pop(task.id, None)
        return ()

    # ------------------------------------------------------------ how long the line is

    def _length(self, demand: Demand) -> float:
        """What is in use here or waited for, in parts of what there is."""
        free, wanted = self.view.free, self._unbegun.asked
        parts = [
            (total - free.get(name, 0) + wanted.get(name, 0)) / total
            for name, _ in demand or ONE_CPU
            if (total := self._totals.get(name, 0))
        ]
        return max(parts, default=0.0)

    # ------------------------------------------------------------ as one who asks

    def task_arrived(self, task: Task) -> Sequence[Decision]:
        if task.hops:
            return (self._keep(task),)
        places = self.members.feasible(task)
        if not places:
            return ()
        if wants_spreading(task) and len(places) > 1:
            return (Forward(task.id, self.head),)
        if len(places) > self._d:
            places = tuple(self._rng.sample(places, self._d))
        return (self._go(task, places[0]),) if len(places) == 1 else self._probe(task, places)

    def _probe(self, task: Task, places: Sequence[NodeID]) -> Sequence[Decision]:
        self._number += 1
        self._inquiries[self._number] = QueueInquiry(task.id, places, self._sent)
        self._waiting[task.id] = task
        probe = Probe(self._number, task.demand)
        asked = [Tell(place, probe) for place in places if place != self.place]
        if len(asked) < len(places):
            self._inquiries[self._number].answer(self.place, 0.0)
        return asked

    def message_received(self, sender: NodeID, body: Probe | Length) -> Sequence[Decision]:
        if isinstance(body, Probe):
            return (Tell(sender, Length(body.number, self._length(body.demand))),)
        inquiry = self._inquiries.get(body.number)
        if inquiry is None or not inquiry.answer(sender, body.length):
            return ()
        return self._settle(body.number)

    def _settle(self, number: int) -> Sequence[Decision]:
        """All answers are there. Nobody left to go to: ask others."""
        inquiry = self._inquiries.pop(number)
        task = self._waiting.pop(inquiry.task, None)
        if task is None:  # withdrawn meanwhile
            return ()
        if not inquiry.lengths:
            return self.task_arrived(task)
        if self.place in inquiry.lengths:  # of itself it knows how it is now
            inquiry.lengths[self.place] = self._length(task.demand)
        best = inquiry.shortest(self._sent)
        return (self._go(task, best[int(self._rng.random() * len(best))] if len(best) > 1 else best[0]),)

    def _go(self, task: Task, to: NodeID) -> Decision:
        if to == self.place:
            return self._keep(task)
        part = 1 / max(self.members.cluster.places[to].slots(task.demand), 1)
        self._sent[to] = self._sent.get(to, 0.0) + part
        return Forward(task.id, to)

    def _keep(self, task: Task) -> Keep:
        self._unbegun.hold(task)
        return Keep(task.id)

    # ------------------------------------------------------------ who is there

    def hand_over(self, task: Task, to: NodeID) -> Sequence[Decision]:
        self._unbegun.remove(task.id)
        return (self._go(task, to),)

    def node_lost(self, place: NodeID) -> Sequence[Decision]:
        super().node_lost(place)
        settled = [number for number, inquiry in self._inquiries.items() if inquiry.lose(place)]
        return [decision for number in settled for decision in self._settle(number)]
