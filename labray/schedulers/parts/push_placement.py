"""Dealing out: where a task is submitted its place is chosen at once, without a word between the nodes.

The agent that `Random`, `RoundRobin` and the static plans share; they differ in how they choose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from labray.ids import NodeID
from labray.scheduling import (
    ClusterInfo,
    Decision,
    Event,
    Forward,
    Keep,
    PolicyAgent,
    Task,
    TaskArrived,
    View,
    movable,
)

Choose = Callable[[Task, Sequence[NodeID]], NodeID]
"""One of the places that could run a task, of which there is at least one."""


def as_they_came(task: Task) -> float:
    return 0.0


class PushPlacement(PolicyAgent):
    """A task that no node could run stays held; one that was sent here stays here until a node joins.

    A node that joins gets its share of what waits: as if it had been there when the tasks were dealt out.
    """

    def __init__(
        self,
        cluster: ClusterInfo,
        view: View,
        choose: Choose,
        priority: Callable[[Task], float] = as_they_came,
    ) -> None:
        super().__init__(cluster, view)
        self._choose = choose
        self._priority = priority

    def handle(self, event: Event, now: float) -> Sequence[Decision]:
        if isinstance(event, TaskArrived):  # here at once: a task costs little else under these policies
            return self.task_arrived(event.task)
        return super().handle(event, now)

    def task_arrived(self, task: Task) -> Sequence[Decision]:
        places = () if task.hops else self.members.feasible(task)
        if not task.hops and not places:
            return ()
        to = self._choose(task, places) if places else self.place
        return (Keep(task.id, self._priority(task)),) if to == self.place else (Forward(task.id, to),)

    def may_go(self, task: Task, to: NodeID) -> bool:
        """Whether what waits here may be sent on to that place."""
        return movable(task) and self.members.could_run(task, to)


class Rotation:
    """Whose turn it is, at one place. A task that asks for nothing costs nothing: it stays where it is."""

    def __init__(self, place: NodeID, cluster: ClusterInfo) -> None:
        self._place = place
        self._count = next((at for at, node in enumerate(cluster.nodes) if node.place == place), 0)

    def next(self, task: Task, places: Sequence[NodeID]) -> NodeID:
        if not task.demand and self._place in places:
            return self._place
        self._count += 1
        return places[(self._count - 1) % len(places)]
