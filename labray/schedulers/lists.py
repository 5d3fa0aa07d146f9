"""Dynamic lists: of the tasks that are ready, the one with the longest way still to go begins first.

What the b-level of a task is only the graph can say, so the policy is given the workload (workloads.py); a task
that it does not know has its declared cost as its level. BLevel decides at the head, Single at one node.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING, ClassVar, Literal

from msgspec import Struct

from labray.ids import Place, TaskID
from labray.messages import Demand
from labray.schedulers.centralized import Porter
from labray.schedulers.desks import Desk, Room, send
from labray.schedulers.plans import Workload, static_levels
from labray.schedulers.static import NOTHING
from labray.schedulers.transfers import Transfers
from labray.scheduling import (
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
    RoomChanged,
    Task,
    TaskArrived,
    TaskBlocked,
    TaskFinished,
    TaskStarted,
    TaskUnblocked,
    TaskWanted,
    TaskWithdrawn,
    TimerFired,
    View,
    Wake,
)
from labray.scheduling.membership import Membership
from labray.strategies import Strategy

if TYPE_CHECKING:
    from random import Random

ROOM_EVENTS: tuple[type[Fact], ...] = (
    TaskStarted,
    TaskFinished,
    TaskBlocked,
    TaskUnblocked,
    TaskWanted,
    TaskWithdrawn,
    RoomChanged,
    MessageReceived,
    NodeJoined,
    NodeLost,
)


@lru_cache(maxsize=4)
def levels(work: Workload) -> dict[str, float]:
    """The b-level of each task in seconds, by label."""
    return dict(zip(work.tasks, static_levels(work), strict=True))


class Waiting:
    """Ready tasks, the highest level first, then in order of arrival; those of one shape share a heap. Before all of
    them goes what a blocked task waits for, the last that somebody came to wait for first.

    A request that does not fit lets others pass: it might wait for what an actor holds for good.
    """

    def __init__(self, work: Workload) -> None:
        self._levels = levels(work)
        self._lines: dict[tuple[Demand, Strategy], list[tuple[float, int, TaskID]]] = {}
        self._tasks: dict[TaskID, Task] = {}
        self._arrivals = self._wants = 0

    def __len__(self) -> int:
        return len(self._tasks)

    def add(self, task: Task) -> None:
        level = self._levels.get(task.id)
        if level is None:
            level = self._levels.get(task.name, task.cost or 0.0)
        self._arrivals += 1
        self._tasks[task.id] = task
        heappush(self._lines.setdefault((task.demand, task.strategy), []), (-level, self._arrivals, task.id))

    def want(self, task: Task) -> None:
        """A blocked task waits for it. (Its old entry is skipped when its turn comes.)"""
        if task.id in self._tasks:
            self._wants += 1
            heappush(self._lines[task.demand, task.strategy], (-inf, -self._wants, task.id))

    def discard(self, task: TaskID) -> None:
        self._tasks.pop(task, None)  # its entry is skipped when its turn comes

    def take(self, place: Callable[[Task], bool]) -> None:
        """Place what can be placed, in order; a shape that cannot be is not tried again."""
        lines = {shape: line for shape, line in self._lines.items() if self._first(line) is not None}
        while lines:
            shape = min(lines, key=lambda shape: lines[shape][0])
            line = lines[shape]
            task = self._tasks[line[0][2]]
            if place(task):
                heappop(line)
                del self._tasks[task.id]
                if self._first(line) is not None:
                    continue
            del lines[shape]

    def _first(self, line: list[tuple[float, int, TaskID]]) -> TaskID | None:
        while line and line[0][2] not in self._tasks:
            heappop(line)
        return line[0][2] if line else None


# ---------------------------------------------------------------- everything on one node


class Single(Struct, frozen=True, repr_omit_defaults=True):
    """All on the node with the most CPUs, the earlier one if equal: what a cluster must beat. (Estee's `single`.)

    It keeps what can start at once. Room that comes free goes to the highest level of those that waited; only then
    come those that have become ready at this instant, all together.
    """

    work: Workload = NOTHING

    words: ClassVar[tuple[type[Struct], ...]] = ()
    interest: ClassVar[tuple[type[Fact], ...]] = (*ROOM_EVENTS, TimerFired)

    def agent(self, place: Place, cluster: Cluster, view: View, rng: Random) -> Agent:
        return Hermit(self.work, cluster, view)


class Hermit:
    """At every node: passes on to the one, which lets one task after the other begin."""

    def __init__(self, work: Workload, cluster: Cluster, view: View) -> None:
        self._view = view
        self._members = Membership(cluster)
        self._sizes = {node.place: dict(node.totals).get("CPU", 0) for node in cluster.nodes}
        self._waiting = Waiting(work)
        self._fresh: dict[TaskID, Task] = {}  # arrived at this instant
        self._claimed: dict[TaskID, Demand] = {}  # kept, and not yet started

    def handle(self, event: Event, now: float) -> Sequence[Decision]:
        if isinstance(event, TaskArrived):
            return self._arrived(event.task)
        if isinstance(event, TimerFired):
            self._ripen()
        elif isinstance(event, TaskWanted):
            self._ripen()
            self._waiting.want(event.task)
        elif isinstance(event, TaskStarted | TaskFinished | TaskWithdrawn):
            self._claimed.pop(event.task.id, None)
            self._waiting.discard(event.task.id)
            self._fresh.pop(event.task.id, None)
        elif isinstance(event, NodeLost):
            self._members.lose(event.place)
        elif isinstance(event, NodeJoined):
            self._members.join(event.node)
            self._sizes[event.node.place] = dict(event.node.totals).get("CPU", 0)
        return self._keep() if self._waiting else ()

    def _ripen(self) -> None:
        for task in self._fresh.values():
            self._waiting.add(task)
        self._fresh.clear()

    def _arrived(self, task: Task) -> Sequence[Decision]:
        if not task.hops:
            places = self._members.feasible(task)
            if not places:
                return ()
            to = max(places, key=lambda place: self._sizes[place])
            if to != self._view.place:
                return (Forward(task.id, to),)
        self._fresh[task.id] = task
        return (Wake(0.0),) if len(self._fresh) == 1 else ()

    def _keep(self) -> Sequence[Decision]:
        free = dict(self._view.free)
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

        self._waiting.take(keep)
        return kept


# ---------------------------------------------------------------- by the head


class BLevel(Struct, frozen=True, repr_omit_defaults=True):
    """The head sends the ready task of highest b-level to a node with room, until none has room.

    worker_choice: which of them. `greedy_transfer`: the one to which the fewest bytes must be moved; `first`: the
    first (HLFET as a dynamic policy). What becomes ready at one instant is decided on together.
    """

    work: Workload = NOTHING
    worker_choice: Literal["greedy_transfer", "first"] = "greedy_transfer"

    words: ClassVar[tuple[type[Struct], ...]] = (Room,)
    interest: ClassVar[tuple[type[Fact], ...]] = (*ROOM_EVENTS, TimerFired)

    def __post_init__(self) -> None:
        if self.worker_choice not in ("greedy_transfer", "first"):
            raise ValueError(f"worker_choice={self.worker_choice!r}: it is 'greedy_transfer' or 'first'.")

    def agent(self, place: Place, cluster: Cluster, view: View, rng: Random) -> Agent:
        return Clerk(self, cluster) if place == cluster.head else Porter(cluster, view)


class Clerk:
    """At the head: who has room, what waits, and where inputs have been sent for."""

    def __init__(self, policy: BLevel, cluster: Cluster) -> None:
        self._choose = self._least_moved if policy.worker_choice == "greedy_transfer" else self._first
        self._members = Membership(cluster)
        self._desks = {node.place: Desk(node) for node in cluster.nodes}
        self._waiting = Waiting(policy.work)
        self._transfers = Transfers()
        self._armed = False

    def handle(self, event: Event, now: float) -> Sequence[Decision]:
        if isinstance(event, TimerFired):
            self._armed = False
            return self._decide()
        if isinstance(event, TaskArrived):
            self._waiting.add(event.task)
        elif isinstance(event, MessageReceived):
            desk = self._desks.get(event.sender)
            if desk is not None:
                desk.update(event.body)
        elif isinstance(event, TaskWanted):
            self._waiting.want(event.task)
        elif isinstance(event, TaskWithdrawn):
            self._waiting.discard(event.task.id)
        elif isinstance(event, NodeLost):
            self._members.lose(event.place)
            self._desks.pop(event.place, None)
        elif isinstance(event, NodeJoined):
            self._members.join(event.node)
            self._desks.setdefault(event.node.place, Desk(event.node))
        if self._armed or not self._waiting:
            return ()
        self._armed = True
        return (Wake(0.0),)

    def _decide(self) -> Sequence[Decision]:
        decisions: list[Decision] = []

        def place(task: Task) -> bool:
            desks = [self._desks[place] for place in self._members.feasible(task)]
            desks = [desk for desk in desks if desk.has(task.demand)]
            if not desks:
                return False
            desk = self._choose(task, desks)
            self._transfers.remember(task, desk.place)
            decisions.append(send(task, desk))
            return True

        self._waiting.take(place)
        return decisions

    def _first(self, task: Task, desks: list[Desk]) -> Desk:
        return desks[0]

    def _least_moved(self, task: Task, desks: list[Desk]) -> Desk:
        if not any(dep.places for dep in task.deps):
            return desks[0]
        return min(desks, key=lambda desk: self._transfers.needed(task, desk.place))
