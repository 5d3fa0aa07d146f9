"""RoundRobin: every node deals out what is submitted to it, one feasible node after the other (Ray's SPREAD)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct

from labray.ids import Place
from labray.schedulers.interface import (
    Agent,
    Cluster,
    Decision,
    Event,
    Fact,
    Forward,
    Keep,
    NodeJoined,
    NodeLost,
    Task,
    TaskArrived,
    View,
)
from labray.schedulers.roster import Roster

if TYPE_CHECKING:
    from random import Random


class RoundRobin(Struct, frozen=True):
    """The next feasible node, each submitting node counting for itself and beginning with itself."""

    words: ClassVar[tuple[type[Struct], ...]] = ()
    interest: ClassVar[tuple[type[Fact], ...]] = (NodeJoined, NodeLost)

    def agent(self, place: Place, cluster: Cluster, view: View, rng: Random) -> Agent:
        return Dealer(place, cluster)


class Turn:
    """Whose turn it is, at one place. A task that asks for nothing costs nothing: it stays where it is."""

    def __init__(self, place: Place, cluster: Cluster) -> None:
        self._place = place
        self._count = next((at for at, node in enumerate(cluster.nodes) if node.place == place), 0)

    def next(self, task: Task, places: Sequence[Place]) -> Place:
        if not task.demand and self._place in places:
            return self._place
        self._count += 1
        return places[(self._count - 1) % len(places)]


class Dealer:
    """A task that no node could run stays held; one that was sent here stays here."""

    def __init__(self, place: Place, cluster: Cluster) -> None:
        self._place = place
        self._roster = Roster(cluster)
        self._turn = Turn(place, cluster)

    def handle(self, event: Event, now: float) -> Sequence[Decision]:
        if isinstance(event, TaskArrived):
            return self._arrived(event.task)
        if isinstance(event, NodeLost):
            self._roster.lose(event.place)
        elif isinstance(event, NodeJoined):
            self._roster.join(event.node)
        return ()

    def _arrived(self, task: Task) -> Sequence[Decision]:
        if task.hops:
            return (Keep(task.id),)
        places = self._roster.feasible(task)
        if not places:
            return ()
        to = self._turn.next(task, places)
        return (Keep(task.id),) if to == self._place else (Forward(task.id, to),)
