"""Random: the baseline. Uniform over the nodes that could run a task, decided where it is submitted."""

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
    from random import Random as Generator


class Random(Struct, frozen=True):
    """Uniform over feasible nodes, without a word between them."""

    words: ClassVar[tuple[type[Struct], ...]] = ()
    interest: ClassVar[tuple[type[Fact], ...]] = (NodeJoined, NodeLost)

    def agent(self, place: Place, cluster: Cluster, view: View, rng: Generator) -> Agent:
        return Dice(place, Roster(cluster), rng)


class Dice:
    """A task that no node could run stays held; one that was sent here stays here."""

    def __init__(self, place: Place, roster: Roster, rng: Generator) -> None:
        self._place = place
        self._roster = roster
        self._rng = rng

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
        to = places[int(self._rng.random() * len(places))]  # choice() costs three times as much
        return (Keep(task.id),) if to == self._place else (Forward(task.id, to),)
