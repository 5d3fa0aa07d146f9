"""PowerOfD: ask d nodes at random how long their queues are, and join the shortest.

Mitzenmacher (TPDS 2001); join-the-shortest-of-d. Where a task is submitted, its node asks and waits for the answers,
one round trip: no head is in the way, and what it learns is as old as the answer. d=1 asks nobody. What it has sent
since it asked counts too, and of equals it draws one: else all that is asked for at once would go to the same place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct

from labray.ids import Place, TaskID
from labray.messages import ONE_CPU, Demand
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
    NodeJoined,
    NodeLost,
    Task,
    TaskArrived,
    TaskFinished,
    TaskRecalled,
    TaskStarted,
    TaskWithdrawn,
    Tell,
    TimerFired,
    View,
)
from labray.scheduling.membership import Membership
from labray.scheduling.sharing import Newcomers, share

if TYPE_CHECKING:
    from random import Random


class Probe(Struct, frozen=True, array_like=True, tag=True, gc=False):
    """How long is your queue, for what asks for this?"""

    number: int
    demand: Demand


class Length(Struct, frozen=True, array_like=True, tag=True, gc=False):
    """How much is wanted here, of what there is: 1.0 if all is in use and nobody waits."""

    number: int
    length: float


class PowerOfD(Struct, frozen=True):
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

    def agent(self, place: Place, cluster: Cluster, view: View, rng: Random) -> Agent:
        return Spreader(cluster) if place == cluster.head else Asker(self.d, cluster, view, rng)


class Inquiry:
    """A task, and what is known so far of the nodes it may go to. sent: to each of them when it was asked."""

    __slots__ = ("lengths", "missing", "sent", "task")

    def __init__(self, task: TaskID, places: Sequence[Place], sent: Mapping[Place, float]) -> None:
        self.task = task
        self.lengths: dict[Place, float | None] = dict.fromkeys(places)
        self.sent = {place: sent.get(place, 0.0) for place in places}
        self.missing = len(places)

    def answer(self, place: Place, length: float) -> bool:
        """Whether that was the last answer missing."""
        if place in self.lengths and self.lengths[place] is None:
            self.lengths[place] = length
            self.missing -= 1
        return self.missing == 0

    def lose(self, place: Place) -> bool:
        if place not in self.lengths:
            return False
        if self.lengths.pop(place) is None:
            self.missing -= 1
        return self.missing == 0

    def shortest(self, sent: Mapping[Place, float]) -> list[Place]:
        """The nodes, of equal length, that nobody is shorter than. sent: to each of them until now."""
        now = {
            place: round((length or 0.0) + sent.get(place, 0.0) - self.sent[place], 9)
            for place, length in self.lengths.items()
        }
        least = min(now.values())
        return [place for place, length in now.items() if length == least]


class Asker:
    """At a node: asks for what is submitted here, keeps what was sent here, and answers others."""

    def __init__(self, d: int, cluster: Cluster, view: View, rng: Random) -> None:
        self._d = d
        self._head = cluster.head
        self._place = view.place
        self._view = view
        self._rng = rng
        self._members = Membership(cluster)
        self._cluster = cluster
        self._totals = dict(cluster.places[view.place].totals)
        self._unbegun: dict[TaskID, None] = {}
        self._wanted: dict[str, int] = {}  # by what is kept and has not begun
        self._sent: dict[Place, float] = {}  # ever, by node, in parts of the whole node
        self._newcomers = Newcomers(view)
        self._inquiries: dict[int, Inquiry] = {}
        self._waiting: dict[TaskID, Task] = {}
        self._number = 0

    def handle(self, event: Event, now: float) -> Sequence[Decision]:
        if isinstance(event, TaskArrived):
            return self._arrived(event.task)
        if isinstance(event, MessageReceived):
            return self._heard(event.sender, event.body)
        if isinstance(event, TaskStarted):
            self._begun(event.task)
        elif isinstance(event, TaskRecalled):
            self._keep(event.task)
        elif isinstance(event, TaskFinished | TaskWithdrawn):
            self._begun(event.task)
            self._waiting.pop(event.task.id, None)
        elif isinstance(event, NodeJoined):
            self._members.join(event.node)
            self._cluster = self._cluster.joined(event.node)
            return self._newcomers.join(event.node)
        elif isinstance(event, TimerFired):
            return self._share()
        elif isinstance(event, NodeLost):
            return self._lost(event.place)
        return ()

    # ------------------------------------------------------------ how long the line is

    def _count(self, task: Task, sign: int) -> None:
        for name, amount in task.demand:
            self._wanted[name] = self._wanted.get(name, 0) + sign * amount

    def _begun(self, task: Task) -> None:
        if task.id in self._unbegun:
            del self._unbegun[task.id]
            self._count(task, -1)

    def _length(self, demand: Demand) -> float:
        """What is in use here or waited for, in parts of what there is."""
        free, wanted = self._view.free, self._wanted
        parts = [
            (total - free.get(name, 0) + wanted.get(name, 0)) / total
            for name, _ in demand or ONE_CPU
            if (total := self._totals.get(name, 0))
        ]
        return max(parts, default=0.0)

    # ------------------------------------------------------------ as one who asks

    def _arrived(self, task: Task) -> Sequence[Decision]:
        if task.hops:
            return (self._keep(task),)
        places = self._members.feasible(task)
        if not places:
            return ()
        if wants_spreading(task) and len(places) > 1:
            return (Forward(task.id, self._head),)
        if len(places) > self._d:
            places = tuple(self._rng.sample(places, self._d))
        return (self._go(task, places[0]),) if len(places) == 1 else self._ask(task, places)

    def _ask(self, task: Task, places: Sequence[Place]) -> Sequence[Decision]:
        self._number += 1
        self._inquiries[self._number] = Inquiry(task.id, places, self._sent)
        self._waiting[task.id] = task
        probe = Probe(self._number, task.demand)
        asked = [Tell(place, probe) for place in places if place != self._place]
        if len(asked) < len(places):
            self._inquiries[self._number].answer(self._place, 0.0)
        return asked

    def _heard(self, sender: Place, word: Probe | Length) -> Sequence[Decision]:
        if isinstance(word, Probe):
            return (Tell(sender, Length(word.number, self._length(word.demand))),)
        inquiry = self._inquiries.get(word.number)
        if inquiry is None or not inquiry.answer(sender, word.length):
            return ()
        return self._settle(word.number)

    def _settle(self, number: int) -> Sequence[Decision]:
        """All answers are there. Nobody left to go to: ask others."""
        inquiry = self._inquiries.pop(number)
        task = self._waiting.pop(inquiry.task, None)
        if task is None:  # withdrawn meanwhile
            return ()
        if not inquiry.lengths:
            return self._arrived(task)
        if self._place in inquiry.lengths:  # of itself it knows how it is now
            inquiry.lengths[self._place] = self._length(task.demand)
        best = inquiry.shortest(self._sent)
        return (self._go(task, best[int(self._rng.random() * len(best))] if len(best) > 1 else best[0]),)

    def _go(self, task: Task, to: Place) -> Decision:
        if to == self._place:
            return self._keep(task)
        part = 1 / max(self._cluster.places[to].slots(task.demand), 1)
        self._sent[to] = self._sent.get(to, 0.0) + part
        return Forward(task.id, to)

    def _keep(self, task: Task) -> Keep:
        if task.id not in self._unbegun:
            self._unbegun[task.id] = None
            self._count(task, 1)
        return Keep(task.id)

    # ------------------------------------------------------------ who is there

    def _share(self) -> Sequence[Decision]:
        moved = share(self._view.queued, self._newcomers.take(), self._members.nodes, self._place)
        for task, _ in moved:
            self._begun(task)
        return [self._go(task, to) for task, to in moved]

    def _lost(self, place: Place) -> Sequence[Decision]:
        self._members.lose(place)
        self._newcomers.lose(place)
        settled = [number for number, inquiry in self._inquiries.items() if inquiry.lose(place)]
        return [decision for number in settled for decision in self._settle(number)]
