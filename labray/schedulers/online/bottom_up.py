"""BottomUp: a node keeps what it can, and asks the head only for the rest.

Ray's scheduler as its paper describes it (Moritz et al., OSDI'18, section 4.2.2); the code shipped then left out
where the data is, and counted tasks instead of seconds. Two details are ours. A heartbeat says how many tasks
from the head had arrived, so the head counts exactly those still on their way. And heartbeats stop when
nothing changes, so that an idle cluster is idle, and a node that never had work says nothing; the first task that a
node passes on is preceded by one, lest the head judge a burst by news from before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct

from labray.ids import NodeID, ObjectID
from labray.messages import UNIT, Demand
from labray.schedulers.parts.least_wait import Average, BottomUpHead, Load
from labray.scheduling import (
    Agent,
    ClusterInfo,
    Decision,
    Fact,
    Forward,
    HeadBack,
    HeadLost,
    Keep,
    MessageReceived,
    NodeInfo,
    NodeJoined,
    NodeLost,
    ObjectStored,
    Policy,
    PolicyAgent,
    Task,
    TaskBlocked,
    TaskFinished,
    TaskUnblocked,
    TaskWithdrawn,
    Tell,
    TimerFired,
    View,
    Wake,
)
from labray.scheduling.sharing import share
from labray.strategies import NodeAffinity, Spread

if TYPE_CHECKING:
    from random import Random

WORTH_A_TRIP_S = 0.01
"""The default spill, as time: a backlog that its cores work off sooner is not worth a trip over the head.

About ten such trips on one machine. A fixed number of tasks would be far too many for tasks of a second, and
far too few for empty ones.
"""


class BottomUp(Policy, frozen=True, repr_omit_defaults=True):
    """Keep unless the backlog exceeds `spill` or the request is infeasible here; the head places the rest.

    spill: waiting tasks; None: as many as the node's cores work off in 10 ms. heartbeat: seconds.
    alpha: weight of a new sample in the averages of task time and bandwidth.
    """

    spill: int | None = None
    heartbeat: float = 0.1
    alpha: float = 0.2

    words: ClassVar[tuple[type[Struct], ...]] = (Load,)
    interest: ClassVar[tuple[type[Fact], ...]] = (
        TaskFinished,
        TaskBlocked,
        TaskUnblocked,
        TaskWithdrawn,
        ObjectStored,
        MessageReceived,
        TimerFired,
        NodeJoined,
        NodeLost,
        HeadLost,
        HeadBack,
    )

    def __post_init__(self) -> None:
        if self.spill is not None and self.spill < 0:
            raise ValueError(
                f"spill={self.spill}: a backlog is at least 0 tasks; None fits it to their length."
            )
        if not self.heartbeat > 0:
            raise ValueError(f"heartbeat={self.heartbeat}: it must be more than 0 seconds.")
        if not 0 < self.alpha <= 1:
            raise ValueError(f"alpha={self.alpha}: a weight is above 0 and at most 1.")

    def agent(self, place: NodeID, cluster: ClusterInfo, view: View, rng: Random) -> Agent:
        if place == cluster.head:
            return BottomUpHead(self.alpha, cluster, view)
        return BottomUpNode(self, cluster, view)


# ---------------------------------------------------------------- at a node


class BottomUpNode(PolicyAgent):
    """Keeps what fits while the backlog is short, and always what the head sent: no task goes in circles."""

    def __init__(self, policy: BottomUp, cluster: ClusterInfo, view: View) -> None:
        super().__init__(cluster, view)
        self._policy = policy
        self._info = cluster.places[view.place]
        self._cores = dict(self._info.totals).get("CPU", 0) / UNIT
        self._alone = len(cluster.nodes) == 1  # no one else could take a task, and no one wants the news
        self._headless = False
        self._fits: dict[Demand, bool] = {}
        self._seconds = Average(policy.alpha)
        self._bandwidth = Average(policy.alpha)
        self._pulling: dict[ObjectID, float] = {}  # since when
        self._received = 0
        self._told = self._as_new()
        self._spoke = False  # since the last heartbeat was due
        self._armed = self._alone

    # ------------------------------------------------------------ tasks

    def task_arrived(self, task: Task) -> Sequence[Decision]:
        if task.cost is not None:
            self._seconds.update(task.cost)
        if not self._keeps(task):
            return self._pass_on(task)
        for dep in task.deps:
            if dep.places and self.view.holds(dep.id) is None:
                self._pulling.setdefault(dep.id, self.now)
        return (Keep(task.id),) if self._armed else (Keep(task.id), self._arm())

    def task_finished(self, task: Task, seconds: float) -> Sequence[Decision]:
        if task.cost is None:
            self._seconds.update(seconds)
        if self._pulling:
            self._forget(task)
        return () if self._armed else (self._arm(),)

    def task_withdrawn(self, task: Task) -> Sequence[Decision]:
        self._forget(task)
        return self._soon()

    def _forget(self, task: Task) -> None:
        """Inputs that never came must not count for ever as on their way."""
        for dep in task.deps:
            self._pulling.pop(dep.id, None)

    def task_blocked(self, task: Task) -> Sequence[Decision]:
        return self._soon()

    def task_unblocked(self, task: Task) -> Sequence[Decision]:
        return self._soon()

    def object_stored(self, id: ObjectID, size: int) -> Sequence[Decision]:
        since = self._pulling.pop(id, self.now)
        if self.now > since:
            self._bandwidth.update(size / (self.now - since))
        return self._soon()

    # ------------------------------------------------------------ a cluster that changes

    def node_joined(self, node: NodeInfo) -> Sequence[Decision]:
        """From now on other nodes can take tasks and the head needs heartbeats; what waits here may run there."""
        if node.place == self.place:
            return ()
        wakes = super().node_joined(node)
        if not self._alone:
            return wakes
        self._alone = False
        return (*wakes, self._arm())

    def share_out(self) -> Sequence[Decision]:
        moved = share(self.view.queued, self.newcomers.take_all(), self.members.nodes)
        return [decision for task, _ in moved for decision in self._pass_on(task)]

    def head_lost(self) -> Sequence[Decision]:
        self._headless = True
        return self._soon()

    def head_back(self) -> Sequence[Decision]:
        self._headless, self._spoke, self._received = False, False, 0
        self._told = self._as_new()
        return self._soon()

    # ------------------------------------------------------------ what stays

    def _keeps(self, task: Task) -> bool:
        if task.hops:
            self._received += 1
            return True
        fits = self._fits.get(task.demand)
        if fits is None:
            fits = self._fits[task.demand] = self._info.fits(task.demand)
        strategy = task.strategy
        if not fits or type(strategy) is NodeAffinity:
            return fits and isinstance(strategy, NodeAffinity) and self._wanted_here(strategy)
        if self._alone or self._headless:
            return True
        if task.kind == "actor" or type(strategy) is Spread:
            return False  # an actor stays for long: the head spreads them, or all would live where the program began
        waiting = len(self.view.queued)
        return not waiting or waiting <= self._spill(task)

    def _wanted_here(self, strategy: NodeAffinity) -> bool:
        return strategy.node == self.view.place or (self._alone and strategy.soft)

    def _spill(self, task: Task) -> float:
        if self._policy.spill is not None:
            return self._policy.spill
        seconds = self._seconds.value
        if seconds is None:
            return 0.0  # a guess that is too low costs one trip, one too high leaves other nodes idle
        return WORTH_A_TRIP_S * self._cores / max(seconds, 1e-9)

    def _pass_on(self, task: Task) -> Sequence[Decision]:
        decisions: list[Decision] = []
        if not self._spoke and (load := self._load()) != self._told:
            self._told, self._spoke = load, True
            decisions.append(Tell(self.head, load))
        decisions.append(Forward(task.id, self.head))
        if not self._armed:
            decisions.append(self._arm())
        return decisions

    # ------------------------------------------------------------ heartbeats

    def _soon(self) -> Sequence[Decision]:
        """Something may have changed: the next heartbeat will tell the head."""
        return () if self._armed else (self._arm(),)

    def _arm(self) -> Wake:
        self._armed = True
        return Wake(self._policy.heartbeat)

    def timer_fired(self, token: int) -> Sequence[Decision]:
        load = self._load()
        self._spoke = False
        if load == self._told:
            self._armed = False
            return ()
        self._told = load
        return (Tell(self.head, load), self._arm())

    def _as_new(self) -> Load:
        """What the head assumes of a node that has sent no heartbeat yet."""
        return Load(0, self._info.totals, 0, 0.0, 0.0)

    def _load(self) -> Load:
        free = tuple(self.view.free.items())
        waiting = len(self.view.queued) + len(self._pulling)  # tasks whose inputs are on the way wait too
        return Load(waiting, free, self._received, self._seconds.value or 0.0, self._bandwidth.value or 0.0)
