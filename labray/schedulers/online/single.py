"""Single: everything on one node, the highest b-level first (ready_list.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from labray.ids import NodeID, TaskID
from labray.messages import Demand
from labray.schedulers.parts.node_accounts import ROOM_EVENTS
from labray.schedulers.parts.ready_list import Waiting
from labray.schedulers.planned.plans import Workload
from labray.schedulers.planned.static import NOTHING
from labray.scheduling import (
    Agent,
    ClusterInfo,
    Decision,
    Event,
    Fact,
    Forward,
    Keep,
    NodeInfo,
    Policy,
    PolicyAgent,
    Task,
    TaskArrived,
    TimerFired,
    View,
    Wake,
)

if TYPE_CHECKING:
    from random import Random


class Single(Policy, frozen=True, repr_omit_defaults=True):
    """All on the node with the most CPUs, the earlier one if equal: what a cluster must beat. (Estee's `single`.)

    It keeps what can start at once. Room that comes free goes to the highest level of those that waited; only then
    come those that have become ready at this instant, all together.
    """

    work: Workload = NOTHING

    interest: ClassVar[tuple[type[Fact], ...]] = (*ROOM_EVENTS, TimerFired)

    def agent(self, place: NodeID, cluster: ClusterInfo, view: View, rng: Random) -> Agent:
        return SingleNode(self.work, cluster, view)


class SingleNode(PolicyAgent):
    """At every node: passes on to the one, which lets one task after the other begin."""

    def __init__(self, work: Workload, cluster: ClusterInfo, view: View) -> None:
        super().__init__(cluster, view)
        self._sizes = {node.place: dict(node.totals).get("CPU", 0) for node in cluster.nodes}
        self._waiting = Waiting(work)
        self._fresh: dict[TaskID, Task] = {}  # arrived at this instant
        self._claimed: dict[TaskID, Demand] = {}  # kept, and not yet started

    def handle(self, event: Event, now: float) -> Sequence[Decision]:
        decisions = super().handle(event, now)
        if isinstance(event, TaskArrived) or not self._waiting:
            return decisions
        return self._keep()

    def timer_fired(self, token: int) -> Sequence[Decision]:
        self._ripen()
        return ()

    def task_wanted(self, task: Task) -> Sequence[Decision]:
        self._ripen()
        self._waiting.want(task)
        return ()

    def task_started(self, task: Task) -> Sequence[Decision]:
        return self.task_gone(task)

    def task_gone(self, task: Task) -> Sequence[Decision]:
        self._claimed.pop(task.id, None)
        self._waiting.discard(task.id)
        self._fresh.pop(task.id, None)
        return ()

    def node_joined(self, node: NodeInfo) -> Sequence[Decision]:
        """What is submitted from now on goes there, if it is the largest."""
        self.members.join(node)
        self._sizes[node.place] = dict(node.totals).get("CPU", 0)
        return ()

    def _ripen(self) -> None:
        for task in self._fresh.values():
            self._waiting.insert(task)
        self._fresh.clear()

    def task_arrived(self, task: Task) -> Sequence[Decision]:
        if not task.hops:
            places = self.members.feasible(task)
            if not places:
                return ()
            to = max(places, key=lambda place: self._sizes[place])
            if to != self.view.place:
                return (Forward(task.id, to),)
        self._fresh[task.id] = task
        return (Wake(0.0),) if len(self._fresh) == 1 else ()

    def _keep(self) -> Sequence[Decision]:
        free = dict(self.view.free)
        for claim in self._claimed.values():
            for name, amount in claim:
                free[name] -= amount
        kept: list[Decision] = []

        def keep(task: Task) -> bool:
            if any(free.get(name, 0) < amount for name, amount in task.demand):
                return False
            for name, amount in task.demand:
                free[name] -= amount
            self._claimed[task.id] = task.demand
            kept.append(Keep(task.id))
            return True

        self._waiting.place_ready(keep)
        return kept
