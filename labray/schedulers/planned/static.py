"""Static list scheduling: everything is planned before the first task runs, and then carried out.

A task is known by its id, which is derived and so the same in every run of a program (workloads.py), or else by its
name. Where it is submitted it is forwarded straight to its planned place, and kept there with its planned start as
its priority. A place never waits for the planned task while another is ready: where the world is slower or faster
than the plan, the order gives way and the placement holds. What no plan knows goes round robin. When a node joins, all
is planned anew for the cluster as it then is, and what has not begun goes where it should be by that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

from labray.ids import NodeID
from labray.messages import UNIT
from labray.schedulers.parts.push_placement import PushPlacement, Rotation
from labray.schedulers.planned.foresight import dls, lookahead, peft
from labray.schedulers.planned.planners import cpop, heft, hlfet
from labray.schedulers.planned.plans import Machine, Plan, Workload
from labray.scheduling import (
    MEMBERSHIP,
    Agent,
    ClusterInfo,
    Decision,
    Event,
    Fact,
    Forward,
    Policy,
    Task,
    TimerFired,
    View,
)

if TYPE_CHECKING:
    from random import Random

NOTHING = Workload((), ())
Planner = Callable[[Workload, Machine], Plan]
Orders = dict[str, tuple[NodeID, float]]
"""By label: the place, and the start in seconds."""


class Static(Policy, frozen=True):
    """What all static policies are told. kinds: of the cluster's nodes, in order; () if they are all alike."""

    work: Workload = NOTHING
    kinds: tuple[int, ...] = ()
    latency_s: float = 0.0
    bandwidth_Bps: float = 1.25e9

    interest: ClassVar[tuple[type[Fact], ...]] = MEMBERSHIP

    def machine(self, cluster: ClusterInfo) -> Machine:
        """A processor for each whole CPU of each node, and one for a node that has none."""
        kinds: list[int] = []
        places: list[str] = []
        for at, node in enumerate(cluster.nodes):
            cores = max(dict(node.totals).get("CPU", 0) // UNIT, 1)
            kinds += [self.kinds[at] if at < len(self.kinds) else 0] * cores
            places += [node.place] * cores
        totals = {str(node.place): dict(node.totals) for node in cluster.nodes}
        return Machine(tuple(kinds), tuple(places), self.latency_s, self.bandwidth_Bps, totals)

    def plan(self, cluster: ClusterInfo) -> Plan:
        """The plan that will be carried out. An empty one if there is nothing known, or no CPU."""
        machine = self.machine(cluster)
        return self.planner()(self.work, machine) if self.work.tasks and machine.kinds else Plan((), ())

    def planner(self) -> Planner:
        """What works out the plan."""
        raise NotImplementedError(f"{type(self).__name__} has no planner: use Heft, Cpop, Peft ...")

    def agent(self, place: NodeID, cluster: ClusterInfo, view: View, rng: Random) -> Agent:
        return PlannedNode(self, cluster, view)


class Hlfet(Static, frozen=True, repr_omit_defaults=True):
    """Highest level first: the longest chain decides the order, the earliest start the place."""

    def planner(self) -> Planner:
        return hlfet


class Heft(Static, frozen=True, repr_omit_defaults=True):
    """Heterogeneous earliest finish time (TPDS 2002)."""

    def planner(self) -> Planner:
        return heft


class Cpop(Static, frozen=True, repr_omit_defaults=True):
    """The critical path on one processor (TPDS 2002)."""

    def planner(self) -> Planner:
        return cpop


class Peft(Static, frozen=True, repr_omit_defaults=True):
    """Predict earliest finish time, by what must follow at the best (TPDS 2014)."""

    def planner(self) -> Planner:
        return peft


class Lookahead(Static, frozen=True, repr_omit_defaults=True):
    """HEFT that tries a task's takers before it gives the task its place (PDP 2010)."""

    def planner(self) -> Planner:
        return lookahead


class Dls(Static, frozen=True, repr_omit_defaults=True):
    """Dynamic level scheduling (Sih and Lee, TPDS 1993)."""

    def planner(self) -> Planner:
        return dls


@lru_cache(maxsize=4)  # each node of a simulated cluster asks, and they all share one process
def orders(policy: Static, cluster: ClusterInfo) -> Orders:
    """What the plan says of each task."""
    plan, machine = policy.plan(cluster), policy.machine(cluster)
    return {
        policy.work.tasks[slot.task]: (NodeID(machine.places[slot.processor]), slot.begin)
        for slot in plan.slots
    }


class PlannedNode:
    """Carries out its part of the plan."""

    def __init__(self, policy: Static, cluster: ClusterInfo, view: View) -> None:
        self._policy = policy
        self._view = view
        self._plan = orders(policy, cluster)
        self._turn = Rotation(view.place, cluster)
        self._dealer = PushPlacement(cluster, view, self._choose, self._priority)

    def handle(self, event: Event, now: float) -> Sequence[Decision]:
        return self._plan_anew() if isinstance(event, TimerFired) else self._dealer.handle(event, now)

    def _plan_anew(self) -> Sequence[Decision]:
        """What waits goes by the new plan, and of what that does not know newcomers get their share."""
        self._plan = orders(self._policy, self._dealer.members.cluster)
        waiting = list(self._view.queued)
        decisions = self._dealer.share_of([task for task in waiting if self._order(task) is None])
        for task in waiting:
            order = self._order(task)
            if order is not None and order[0] != self._view.place and self._dealer.may_go(task, order[0]):
                decisions.append(Forward(task.id, order[0]))
        return decisions

    def _order(self, task: Task) -> tuple[NodeID, float] | None:
        return self._plan.get(task.id) or self._plan.get(task.name)

    def _choose(self, task: Task, places: Sequence[NodeID]) -> NodeID:
        planned = self._order(task)
        return planned[0] if planned is not None and planned[0] in places else self._turn.next(task, places)

    def _priority(self, task: Task) -> float:
        planned = self._order(task)
        return planned[1] if planned is not None else 0.0
