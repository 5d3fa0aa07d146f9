"""Rebalancing: a task goes at once to where it moves the least, however long the line there; the head evens the lines.

Estee's `ws` (J. Supercomputing 2022), as Dask and RSDS (WORKS 2020) do it: the head knows what every node has been
given. When one has room, tasks that wait where there is none are called back, those first that move the least for
each second they run. They return to the head, so that no word about a task overtakes it. Two things are ours. Nodes
say what has begun, where Estee finds out by trying. And a node gets what it can run, not half of what others have: the
inputs of a task that is called back come none the less, and Estee's map-reduce took twice as long by that.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct

from labray.ids import NodeID, TaskID
from labray.schedulers.online.centralized import CentralizedNode
from labray.schedulers.parts.backlog import NodeBacklog, levels_out
from labray.schedulers.parts.batching import BatchingHead
from labray.schedulers.parts.node_accounts import ROOM_EVENTS, RoomReport
from labray.schedulers.parts.ready_list import levels
from labray.schedulers.parts.spreading import EvenSpread, wants_spreading
from labray.schedulers.parts.transfers import Transfers
from labray.schedulers.planned.plans import Workload
from labray.schedulers.planned.static import NOTHING
from labray.scheduling import (
    MOST_HOPS,
    Agent,
    ClusterInfo,
    Decision,
    Fact,
    Forward,
    HeadBack,
    Keep,
    NodeInfo,
    Policy,
    PolicyMessage,
    Task,
    TaskRecalled,
    Tell,
    TimerFired,
    View,
)

if TYPE_CHECKING:
    from random import Random


class GiveBack(PolicyMessage, frozen=True):
    """From the head to a node: give it back, unless it has begun."""

    task: TaskID


class Rebalancing(Policy, frozen=True, repr_omit_defaults=True):
    """Least transfer first, balance later. work: what is known of the graph: levels, which order each node's line, and
    seconds. A task that it does not know has its declared cost as both.
    """

    work: Workload = NOTHING

    words: ClassVar[tuple[type[Struct], ...]] = (RoomReport, GiveBack)
    interest: ClassVar[tuple[type[Fact], ...]] = (*ROOM_EVENTS, TaskRecalled, TimerFired, HeadBack)

    def agent(self, place: NodeID, cluster: ClusterInfo, view: View, rng: Random) -> Agent:
        if place == cluster.head:
            return RebalancingHead(self, cluster, view, rng)
        return RebalancingNode(self, cluster, view)


@lru_cache(maxsize=4)
def seconds(work: Workload) -> dict[str, float]:
    """The mean cost of each task, by label."""
    return {label: sum(costs) / len(costs) for label, costs in zip(work.tasks, work.costs, strict=True)}


def known(table: dict[str, float], task: Task) -> float:
    """What a table says of a task by its id, or else its name; or what the task says itself."""
    value = table.get(task.id)
    return value if value is not None else table.get(task.name, task.cost or 0.0)


# ---------------------------------------------------------------- at a node


class RebalancingNode(CentralizedNode):
    """A porter that gives back what has not begun."""

    def __init__(self, policy: Rebalancing, cluster: ClusterInfo, view: View) -> None:
        super().__init__(cluster, view)
        self._levels = levels(policy.work)
        self._waiting: dict[TaskID, None] = {}

    def task_arrived(self, task: Task) -> Sequence[Decision]:
        if not task.hops:
            return super().task_arrived(task)
        self._waiting[task.id] = None
        return (Keep(task.id, -known(self._levels, task)),)

    def task_started(self, task: Task) -> Sequence[Decision]:
        self._waiting.pop(task.id, None)
        return super().task_started(task)

    def task_finished(self, task: Task, seconds: float) -> Sequence[Decision]:
        self._waiting.pop(task.id, None)
        return super().task_finished(task, seconds)

    def task_withdrawn(self, task: Task) -> Sequence[Decision]:
        self._waiting.pop(task.id, None)
        return super().task_withdrawn(task)

    def task_recalled(self, task: Task) -> Sequence[Decision]:
        """The head took it for begun."""
        back = (Forward(task.id, self.head),) if task.hops < MOST_HOPS else ()
        return (*self.news(), *back)

    def head_back(self) -> Sequence[Decision]:
        """It knows nothing of what waits here."""
        back = [Forward(task, self.head) for task in self._waiting]
        self._waiting.clear()
        return (*super().head_back(), *back)

    def message_received(self, sender: NodeID, body: GiveBack) -> Sequence[Decision]:
        return self._give_back(body.task)

    def _give_back(self, task: TaskID) -> Sequence[Decision]:
        if task not in self._waiting:
            return (self.word(),)  # which says that it has begun
        del self._waiting[task]
        return (Forward(task, self.head),)


# ---------------------------------------------------------------- at the head


class RebalancingHead(BatchingHead):
    """At the head: places what has become ready at one instant all together, then evens the lines."""

    def __init__(self, policy: Rebalancing, cluster: ClusterInfo, view: View, rng: Random) -> None:
        super().__init__(cluster, view)
        self._seconds = seconds(policy.work)
        self._rng = rng
        self._transfers = Transfers()
        self._node_backlogs = {node.place: NodeBacklog(node) for node in cluster.nodes}
        self._settlers = EvenSpread()  # actors, and what asked to be spread
        self._at: dict[TaskID, NodeBacklog] = {}
        self._recalled: dict[TaskID, NodeID] = {}  # from where; _at says where to
        self._fresh: dict[TaskID, Task] = {}

    # ------------------------------------------------------------ news

    def task_arrived(self, task: Task) -> Sequence[Decision]:
        """If it came back, where it is to go now was decided when it was called."""
        if self._recalled.pop(task.id, None) is None:
            self._forget(task.id)
            self._fresh[task.id] = task
            return ()
        node_backlog = self._at[task.id]
        node_backlog.backlog.tasks[task.id] = task
        return (Forward(task.id, node_backlog.place),)

    def task_withdrawn(self, task: Task) -> Sequence[Decision]:
        self._fresh.pop(task.id, None)
        return ()

    def message_received(self, sender: NodeID, body: RoomReport) -> Sequence[Decision]:
        for task in body.settled:
            self._forget(task)
        if sender in self._node_backlogs:
            self._node_backlogs[sender].room = dict(body.free)
        return ()

    def _forget(self, id: TaskID) -> None:
        self._recalled.pop(id, None)
        node_backlog = self._at.pop(id, None)
        if node_backlog is not None:
            node_backlog.backlog.remove(id)

    def node_lost(self, place: NodeID) -> Sequence[Decision]:
        node_backlog = self._node_backlogs.pop(place, None)
        gone = list(node_backlog.backlog.tasks) if node_backlog is not None else []
        for task in gone + [task for task, source in self._recalled.items() if source == place]:
            self._forget(task)
        return super().node_lost(place)

    def node_joined(self, node: NodeInfo) -> Sequence[Decision]:
        self._node_backlogs.setdefault(node.place, NodeBacklog(node))
        return super().node_joined(node)

    def undecided(self) -> bool:
        return bool(self._fresh or self._at)

    # ------------------------------------------------------------ decisions

    def decide(self) -> Sequence[Decision]:
        fresh, self._fresh = self._fresh, {}
        placed: dict[TaskID, None] = {}
        for task in fresh.values():
            places = self.members.feasible(task)
            if places:  # else it stays held
                self._put(task, self._node_backlogs[self._choose(task, places)])
                placed[task.id] = None
        calls: list[Decision] = []
        for node_backlog in self._node_backlogs.values():
            if any(node_backlog.spare(name) > 0 for name in node_backlog.room):
                calls += self._fill(node_backlog, placed)
        return [*(Forward(task, self._at[task].place) for task in placed), *calls]

    def _put(self, task: Task, node_backlog: NodeBacklog) -> None:
        node_backlog.backlog.hold(task)
        self._at[task.id] = node_backlog
        self._transfers.remember(task, node_backlog.place)

    def _choose(self, task: Task, places: Sequence[NodeID]) -> NodeID:
        if wants_spreading(task):
            return self._settlers.next(places)
        costs = [self._transfers.needed(task, place) for place in places]
        least = min(costs)
        best = [place for place, cost in zip(places, costs, strict=True) if cost == least]
        return best[int(self._rng.random() * len(best))]

    def _fill(self, node_backlog: NodeBacklog, placed: dict[TaskID, None]) -> list[Decision]:
        """Give it what waits elsewhere, until nothing idles there that anybody waits for."""
        calls: list[Decision] = []
        for task in self._offers(node_backlog):
            source = self._at[task.id]
            if not levels_out(task.demand, source, node_backlog):
                continue
            source.backlog.remove(task.id)
            self._put(task, node_backlog)
            if task.id not in placed:
                self._recalled[task.id] = source.place
                calls.append(Tell(source.place, GiveBack(task.id)))
        return calls

    def _offers(self, node_backlog: NodeBacklog) -> list[Task]:
        """What waits where there is more than can run; first what moves least for each second it takes."""
        offers = [
            task
            for other in self._node_backlogs.values()
            if other is not node_backlog and other.overloaded()
            for task in other.backlog.tasks.values()
            if task.id not in self._recalled and self._may_go(task, node_backlog.place)
        ]

        def price(task: Task) -> tuple[float, float]:  # of equal ones any: the first would all be of one kind
            moved = self._transfers.needed(task, node_backlog.place)
            return moved / max(known(self._seconds, task), 1e-9), self._rng.random()

        return sorted(offers, key=price)

    def _may_go(self, task: Task, to: NodeID) -> bool:
        return task.hops < MOST_HOPS and self.members.could_run(task, to)
