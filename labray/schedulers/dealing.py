"""Dealing out: where a task is submitted its place is chosen at once, without a word between the nodes.

The agent that `Random`, `RoundRobin` and the static plans share; they differ in how they choose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from labray.ids import Place
from labray.scheduling import (
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
    TimerFired,
    View,
)
from labray.scheduling.membership import Membership
from labray.scheduling.sharing import Newcomers, movable, share

Choose = Callable[[Task, Sequence[Place]], Place]
"""One of the places that could run a task, of which there is at least one."""

INTEREST: tuple[type[Fact], ...] = (NodeJoined, NodeLost, TimerFired)
"""What a dealer must hear besides the tasks that arrive."""


def as_they_came(task: Task) -> float:
    return 0.0


class Dealer:
    """A task that no node could run stays held; one that was sent here stays here until a node joins.

    A node that joins gets its share of what waits: as if it had been there when the tasks were dealt out.
    """

    def __init__(
        self,
        cluster: Cluster,
        view: View,
        choose: Choose,
        priority: Callable[[Task], float] = as_they_came,
    ) -> None:
        self._place = view.place
        self._view = view
        self._members = Membership(cluster)
        self._newcomers = Newcomers(view)
        self._choose = choose
        self._priority = priority

    def handle(self, event: Event, now: float) -> Sequence[Decision]:
        if isinstance(event, TaskArrived):
            return self._arrived(event.task)
        if isinstance(event, NodeLost):
            self._members.lose(event.place)
            self._newcomers.lose(event.place)
        elif isinstance(event, NodeJoined):
            self._members.join(event.node)
            return self._newcomers.join(event.node)
        elif isinstance(event, TimerFired):
            return self.share(self._view.queued)
        return ()

    def share(self, waiting: Sequence[Task]) -> list[Decision]:
        """Those who have joined get their parts of these."""
        moved = share(waiting, self._newcomers.take(), self._members.nodes, self._place)
        return [Forward(task.id, to) for task, to in moved]

    def may_go(self, task: Task, to: Place) -> bool:
        """Whether what waits here may be sent on to that place."""
        return movable(task) and self._members.could_run(task, to)

    def _arrived(self, task: Task) -> Sequence[Decision]:
        places = () if task.hops else self._members.feasible(task)
        if not task.hops and not places:
            return ()
        to = self._choose(task, places) if places else self._place
        return (Keep(task.id, self._priority(task)),) if to == self._place else (Forward(task.id, to),)


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
