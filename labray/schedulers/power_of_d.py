"""PowerOfD: ask d nodes at random how long their queues are, and join the shortest.

Mitzenmacher (TPDS 2001); join-the-shortest-of-d. Where a task is submitted, its node asks and waits for the answers,
one round trip: no head is in the way, and what it learns is as old as the answer. d=1 asks nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct

from labray.ids import Place, TaskID
from labray.messages import UNIT
from labray.schedulers.interface import (
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
    TaskWithdrawn,
    Tell,
    View,
)
from labray.schedulers.roster import Roster
from labray.schedulers.spread import Spreader, wants_spreading

if TYPE_CHECKING:
    from random import Random


class Probe(Struct, frozen=True, array_like=True, tag=True, gc=False):
    """How long is your queue?"""

    number: int


class Length(Struct, frozen=True, array_like=True, tag=True, gc=False):
    """Tasks here, waiting or running, for each CPU of the node."""

    number: int
    length: float


class PowerOfD(Struct, frozen=True):
    """d feasible nodes, drawn without replacement; the shortest queue wins, of equals the one drawn first."""

    d: int = 2

    words: ClassVar[tuple[type[Struct], ...]] = (Probe, Length)
    interest: ClassVar[tuple[type[Fact], ...]] = (
        TaskFinished,
        TaskWithdrawn,
        MessageReceived,
        NodeJoined,
        NodeLost,
    )

    def __post_init__(self) -> None:
        if isinstance(self.d, bool) or not isinstance(self.d, int) or self.d < 1:
            raise ValueError(f"d={self.d!r}: the number of nodes to ask is at least 1.")

    def agent(self, place: Place, cluster: Cluster, view: View, rng: Random) -> Agent:
        return Spreader(cluster) if place == cluster.head else Asker(self.d, cluster, view, rng)


class Inquiry:
    """A task, and what is known so far of the nodes it may go to. lengths: in the order drawn."""

    __slots__ = ("lengths", "missing", "task")

    def __init__(self, task: TaskID, places: Sequence[Place]) -> None:
        self.task = task
        self.lengths: dict[Place, float | None] = dict.fromkeys(places)
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

    def shortest(self) -> Place:
        return min(self.lengths, key=lambda place: self.lengths[place] or 0.0)


class Asker:
    """At a node: asks for what is submitted here, keeps what was sent here, and answers others."""

    def __init__(self, d: int, cluster: Cluster, view: View, rng: Random) -> None:
        self._d = d
        self._head = cluster.head
        self._place = view.place
        self._rng = rng
        self._roster = Roster(cluster)
        own = cluster.places[view.place]
        self._cores = max(dict(own.totals).get("CPU", 0) / UNIT, 1.0)
        self._here: dict[TaskID, None] = {}  # kept, and not yet ended
        self._inquiries: dict[int, Inquiry] = {}
        self._waiting: dict[TaskID, Task] = {}
        self._number = 0

    def handle(self, event: Event, now: float) -> Sequence[Decision]:
        if isinstance(event, TaskArrived):
            return self._arrived(event.task)
        if isinstance(event, MessageReceived):
            return self._heard(event.sender, event.body)
        if isinstance(event, TaskFinished | TaskWithdrawn):
            self._here.pop(event.task.id, None)
            self._waiting.pop(event.task.id, None)
        elif isinstance(event, NodeJoined):
            self._roster.join(event.node)
        elif isinstance(event, NodeLost):
            return self._lost(event.place)
        return ()

    def _arrived(self, task: Task) -> Sequence[Decision]:
        if task.hops:
            return (self._keep(task.id),)
        places = self._roster.feasible(task)
        if not places:
            return ()
        if wants_spreading(task) and len(places) > 1:
            return (Forward(task.id, self._head),)
        if len(places) > self._d:
            places = tuple(self._rng.sample(places, self._d))
        return (self._go(task.id, places[0]),) if len(places) == 1 else self._ask(task, places)

    def _ask(self, task: Task, places: Sequence[Place]) -> Sequence[Decision]:
        self._number += 1
        inquiry = self._inquiries[self._number] = Inquiry(task.id, places)
        self._waiting[task.id] = task
        inquiry.answer(self._place, len(self._here) / self._cores)
        probe = Probe(self._number)
        return [Tell(place, probe) for place in places if place != self._place]

    def _heard(self, sender: Place, word: Probe | Length) -> Sequence[Decision]:
        if isinstance(word, Probe):
            return (Tell(sender, Length(word.number, len(self._here) / self._cores)),)
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
        return (self._go(task.id, inquiry.shortest()),) if inquiry.lengths else self._arrived(task)

    def _go(self, task: TaskID, to: Place) -> Decision:
        return self._keep(task) if to == self._place else Forward(task, to)

    def _keep(self, task: TaskID) -> Keep:
        self._here[task] = None
        return Keep(task)

    def _lost(self, place: Place) -> Sequence[Decision]:
        self._roster.lose(place)
        settled = [number for number, inquiry in self._inquiries.items() if inquiry.lose(place)]
        return [decision for number in settled for decision in self._settle(number)]
