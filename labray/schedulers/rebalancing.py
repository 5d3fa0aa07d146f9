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

from labray.ids import Place, TaskID
from labray.schedulers.benches import Bench, levels_out
from labray.schedulers.centralized import Porter
from labray.schedulers.desks import Room
from labray.schedulers.lists import ROOM_EVENTS, levels
from labray.schedulers.plans import Workload
from labray.schedulers.spread import wants_spreading
from labray.schedulers.static import NOTHING
from labray.schedulers.transfers import Transfers
from labray.scheduling import (
    MOST_HOPS,
    Agent,
    Cluster,
    Decision,
    Event,
    Fact,
    Forward,
    HeadBack,
    Keep,
    MessageReceived,
    NodeInfo,
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
    Wake,
)
from labray.scheduling.membership import Membership

if TYPE_CHECKING:
    from random import Random


class GiveBack(Struct, frozen=True, array_like=True, tag=True, gc=False):
    """From the head to a node: give it back, unless it has begun."""

    task: TaskID


class Rebalancing(Struct, frozen=True, repr_omit_defaults=True):
    """Least transfer first, balance later. work: what is known of the graph: levels, which order each node's line, and
    seconds. A task that it does not know has its declared cost as both.
    """

    work: Workload = NOTHING

    words: ClassVar[tuple[type[Struct], ...]] = (Room, GiveBack)
    interest: ClassVar[tuple[type[Fact], ...]] = (*ROOM_EVENTS, TaskRecalled, TimerFired, HeadBack)

    def agent(self, place: Place, cluster: Cluster, view: View, rng: Random) -> Agent:
        return Leveller(self, cluster, rng) if place == cluster.head else Carrier(self, cluster, view)


@lru_cache(maxsize=4)
def seconds(work: Workload) -> dict[str, float]:
    """The mean cost of each task, by label."""
    return {label: sum(costs) / len(costs) for label, costs in zip(work.tasks, work.costs, strict=True)}


def known(table: dict[str, float], task: Task) -> float:
    """What a table says of a task by its id, or else its name; or what the task says itself."""
    value = table.get(task.id)
    return value if value is not None else table.get(task.name, task.cost or 0.0)


# ---------------------------------------------------------------- at a node


class Carrier:
    """A porter that gives back what has not begun."""

    def __init__(self, policy: Rebalancing, cluster: Cluster, view: View) -> None:
        self._head = cluster.head
        self._levels = levels(policy.work)
        self._porter = Porter(cluster, view)
        self._waiting: dict[TaskID, None] = {}

    def handle(self, event: Event, now: float) -> Sequence[Decision]:
        if isinstance(event, MessageReceived):
            return self._give_back(event.body.task)
        if isinstance(event, TaskStarted | TaskFinished | TaskWithdrawn):
            self._waiting.pop(event.task.id, None)
        decisions = self._porter.handle(event, now)
        if isinstance(event, TaskRecalled) and event.task.hops < MOST_HOPS:
            return (*decisions, Forward(event.task.id, self._head))  # who took it for begun
        if isinstance(event, TaskArrived) and event.task.hops:
            self._waiting[event.task.id] = None
            return (Keep(event.task.id, -known(self._levels, event.task)),)
        if isinstance(event, HeadBack):  # it knows nothing of what waits here
            decisions = (*decisions, *(Forward(task, self._head) for task in self._waiting))
            self._waiting.clear()
        return decisions

    def _give_back(self, task: TaskID) -> Sequence[Decision]:
        if task not in self._waiting:
            return (self._porter.word(),)  # which says that it has begun
        del self._waiting[task]
        return (Forward(task, self._head),)


# ---------------------------------------------------------------- at the head


class Leveller:
    """At the head: places what has become ready at one instant all together, then evens the lines."""

    def __init__(self, policy: Rebalancing, cluster: Cluster, rng: Random) -> None:
        self._seconds = seconds(policy.work)
        self._rng = rng
        self._members = Membership(cluster)
        self._transfers = Transfers()
        self._benches = {node.place: Bench(node) for node in cluster.nodes}
        self._settlers = {node.place: 0 for node in cluster.nodes}  # actors, and what asked to be spread
        self._at: dict[TaskID, Bench] = {}
        self._recalled: dict[TaskID, Place] = {}  # from where; _at says where to
        self._fresh: dict[TaskID, Task] = {}
        self._armed = False

    def handle(self, event: Event, now: float) -> Sequence[Decision]:
        if isinstance(event, TimerFired):
            self._armed = False
            return self._decide()
        if isinstance(event, TaskArrived):
            if self._recalled.pop(event.task.id, None) is not None:
                return (self._pass_on(event.task),)
            self._forget(event.task.id)
            self._fresh[event.task.id] = event.task
        elif isinstance(event, MessageReceived):
            self._update(event.sender, event.body)
        elif isinstance(event, TaskWithdrawn):
            self._fresh.pop(event.task.id, None)
        elif isinstance(event, NodeLost):
            self._lost(event.place)
        elif isinstance(event, NodeJoined):
            self._joined(event.node)
        if self._armed or not (self._fresh or self._at):
            return ()
        self._armed = True
        return (Wake(0.0),)

    # ------------------------------------------------------------ news

    def _pass_on(self, task: Task) -> Decision:
        """It came back. Where it is to go now was decided when it was called."""
        bench = self._at[task.id]
        bench.waiting[task.id] = task
        return Forward(task.id, bench.place)

    def _update(self, place: Place, word: Room) -> None:
        for task in word.settled:
            self._forget(task)
        if place in self._benches:
            self._benches[place].room = dict(word.free)

    def _forget(self, id: TaskID) -> None:
        self._recalled.pop(id, None)
        bench = self._at.pop(id, None)
        if bench is not None:
            bench.remove(bench.waiting[id])

    def _lost(self, place: Place) -> None:
        self._members.lose(place)
        bench = self._benches.pop(place, None)
        gone = list(bench.waiting) if bench is not None else []
        for task in gone + [task for task, source in self._recalled.items() if source == place]:
            self._forget(task)

    def _joined(self, node: NodeInfo) -> None:
        self._members.join(node)
        self._benches.setdefault(node.place, Bench(node))
        self._settlers.setdefault(node.place, 0)

    # ------------------------------------------------------------ decisions

    def _decide(self) -> Sequence[Decision]:
        fresh, self._fresh = self._fresh, {}
        placed: dict[TaskID, None] = {}
        for task in fresh.values():
            places = self._members.feasible(task)
            if places:  # else it stays held
                self._put(task, self._benches[self._choose(task, places)])
                placed[task.id] = None
        calls: list[Decision] = []
        for bench in self._benches.values():
            if any(bench.spare(name) > 0 for name in bench.room):
                calls += self._fill(bench, placed)
        return [*(Forward(task, self._at[task].place) for task in placed), *calls]

    def _put(self, task: Task, bench: Bench) -> None:
        bench.add(task)
        self._at[task.id] = bench
        self._transfers.remember(task, bench.place)

    def _choose(self, task: Task, places: Sequence[Place]) -> Place:
        if wants_spreading(task):
            to = min(places, key=self._settlers.__getitem__)
            self._settlers[to] += 1
            return to
        costs = [self._transfers.needed(task, place) for place in places]
        least = min(costs)
        best = [place for place, cost in zip(places, costs, strict=True) if cost == least]
        return best[int(self._rng.random() * len(best))]

    def _fill(self, bench: Bench, placed: dict[TaskID, None]) -> list[Decision]:
        """Give it what waits elsewhere, until nothing idles there that anybody waits for."""
        calls: list[Decision] = []
        for task in self._offers(bench):
            source = self._at[task.id]
            if not levels_out(task.demand, source, bench):
                continue
            source.remove(task)
            self._put(task, bench)
            if task.id not in placed:
                self._recalled[task.id] = source.place
                calls.append(Tell(source.place, GiveBack(task.id)))
        return calls

    def _offers(self, bench: Bench) -> list[Task]:
        """What waits where there is more than can run; first what moves least for each second it takes."""
        offers = [
            task
            for other in self._benches.values()
            if other is not bench and other.overloaded()
            for task in other.waiting.values()
            if task.id not in self._recalled and self._may_go(task, bench.place)
        ]

        def price(task: Task) -> tuple[float, float]:  # of equal ones any: the first would all be of one kind
            moved = self._transfers.needed(task, bench.place)
            return moved / max(known(self._seconds, task), 1e-9), self._rng.random()

        return sorted(offers, key=price)

    def _may_go(self, task: Task, to: Place) -> bool:
        return task.hops < MOST_HOPS and self._members.could_run(task, to)
