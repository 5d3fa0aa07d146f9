"""How a cycle of waits is noticed while the program runs: a node suspects, the head asks round and looks twice.

Where nothing happens any more a world sees it by itself (waits.everything). Where time passes a node that has had a
task waiting for long says so to the head, which follows the waits from place to place. What waits in the same request
at two looks has waited all the time between them, so a cycle of such waits is no trick of the light.
(A false alarm is worse than none: ray PR 5555 came with issue 5790.)
"""

from __future__ import annotations

from itertools import islice

from labray.ids import HEAD, NodeID, TaskID
from labray.messages import (
    DeadlockSuspected,
    Demand,
    HolderReport,
    WaitReport,
    WaitsAsked,
    WaitsReported,
    WarnUser,
)
from labray.node.context.node_context import NodeContext
from labray.node.context.task_record import State
from labray.node.context.task_table import TaskTable
from labray.node.failures.held_for_life import KEPT, lasting
from labray.node.failures.held_for_life import told as kept_for_life
from labray.node.failures.wait_graph import NodeWaits, cycle, placed, stuck, told
from labray.node.workers.pool import WorkerPool

SECOND_LOOK_S = 1.0
OLDEST = 1000
"""Looked at of the tasks of a place, for such as its agent holds without an end."""
DEEPEST = 100
"""Times round all places in one look: a longer chain of waits is not followed to its end."""


class DeadlockSuspicion:
    """At every node. after: seconds that a task waits before the head is told; None: never."""

    def __init__(
        self,
        context: NodeContext,
        task_table: TaskTable,
        pool: WorkerPool,
        waits: NodeWaits,
        after: float | None,
    ) -> None:
        self.context = context
        self.task_table = task_table
        self.pool = pool
        self.waits = waits
        self.after = after
        self.starved: dict[TaskID, str] = {}  # what waited for room at the last look, and its mark
        self.long: dict[TaskID, str] = {}  # and at the one before as well

    def watch(self) -> None:
        """There is a task here, which may come to wait."""
        assert self.after is not None
        self.task_table.watched = True
        self.context.after(self.after, self._check_waits)

    def _check_waits(self) -> None:
        self.task_table.watched = False
        ages = [self.context.now - request.since for request in self.waits.requests()]
        starved = {wait.task: wait.mark for wait in self._starved()}
        self.long = {task: mark for task, mark in starved.items() if self.starved.get(task) == mark}
        self.starved = starved
        if self.long or (ages and self.after is not None and max(ages) >= self.after):
            self.context.send(HEAD, DeadlockSuspected())
        if ages or self.task_table.tasks:
            self.watch()

    def _starved(self) -> list[WaitReport]:
        """The first of each shape that waits for room here, and of each that the agent holds: of the oldest tasks."""
        queue, tasks = self.pool.queue, self.task_table.tasks
        held = (task for task in islice(tasks.values(), OLDEST) if task.state is State.UNDECIDED)
        found: dict[Demand, WaitReport] = {}
        for task in (*map(queue.first, queue.shapes), *held):
            if task is not None and (wait := self.waits.waiting(task)) is not None:
                found.setdefault(wait.demand, wait)
        return list(found.values())

    def who_waits(self, sender: NodeID, message: WaitsAsked) -> None:
        self.context.send(sender, self.asked(message))

    def asked(self, message: WaitsAsked) -> WaitsReported:
        """What this node knows."""
        tasks = (self.task_table.tasks.get(task) for task in message.tasks)
        known = self.waits
        found = [wait for task in tasks if task is not None and (wait := known.waiting(task)) is not None]
        if not message.tasks and not message.demands:
            found = known.asking()
            found += [wait for wait in self._starved() if self.long.get(wait.task) == wait.mark]
        held = [one for demand in message.demands if (one := known.holders(demand)) is not None]
        return WaitsReported(message.number, tuple(found), tuple(held))


class DeadlockInquiry:
    """At the head. One at a time; what a first look found is looked at once more."""

    def __init__(self, context: NodeContext, suspicion: DeadlockSuspicion) -> None:
        self.context = context
        self.suspicion = suspicion
        self.number = 0
        self.awaited: dict[NodeID, None] = {}
        self.waits: dict[TaskID, WaitReport] = {}
        self.held: list[HolderReport] = []
        self.sought: dict[TaskID | Demand, None] = {}
        self.round = 0
        self.before: dict[TaskID, WaitReport] | None = None  # what the first look found
        self.told: set[frozenset[TaskID]] = set()  # only asked for membership
        self.told_kept: set[Demand] = set()  # only asked for membership

    def suspected(self, sender: NodeID, message: DeadlockSuspected) -> None:
        """A node has reason to think that a task of its waits in vain."""
        if not self.awaited and self.before is None:
            self._begin_inquiry()

    def _begin_inquiry(self) -> None:
        self.waits, self.held, self.sought, self.round = {}, [], {}, 0
        self._ask_all_nodes((), ())

    def _ask_all_nodes(self, tasks: tuple[TaskID, ...], demands: tuple[Demand, ...]) -> None:
        self.number += 1
        places = [node.place for node in self.context.cluster.nodes if node.place not in self.context.dead]
        self.awaited = dict.fromkeys([*places, self.context.place])
        for place in places:
            self.context.send(place, WaitsAsked(self.number, tasks, demands))
        self.heard(self.context.place, self.suspicion.asked(WaitsAsked(self.number, tasks, demands)))

    def heard(self, sender: NodeID, message: WaitsReported) -> None:
        """One place's answer."""
        if message.number == self.number and sender in self.awaited:
            for wait in message.waits:
                self.waits[wait.task] = wait
            self.held += message.holders
            self.expect_no_report(sender)

    def expect_no_report(self, place: NodeID) -> None:
        """Nothing more is to be heard from it."""
        if place in self.awaited:
            del self.awaited[place]
            if not self.awaited:
                self._go_on()

    def _go_on(self) -> None:
        """All have answered: ask on, or see what it comes to."""
        waits = placed(self.waits.values(), self.held)
        targets = dict.fromkeys(TaskID(task) for wait in waits.values() for task in wait.of)
        tasks = tuple(task for task in targets if task not in self.waits and task not in self.sought)
        wanted = dict.fromkeys(wait.demand for wait in self.waits.values() if wait.demand)
        demands = tuple(demand for demand in wanted if demand not in self.sought)
        self.round += 1
        if (tasks or demands) and self.round < DEEPEST:
            self.sought |= dict.fromkeys([*tasks, *demands])
            self._ask_all_nodes(tasks, demands)
        elif self.before is None:
            if cycle(stuck(waits)) or lasting(self.waits.values(), self.held):
                self.before = self.waits | waits
                self.context.after(SECOND_LOOK_S, self._begin_inquiry)
        else:
            before, self.before = self.before, None
            self._warn_of_cycle(cycle(stuck({task: w for task, w in waits.items() if before.get(task) == w})))
            still = [w for task, w in self.waits.items() if task in before and before[task].mark == w.mark]
            self._warn_of_kept(lasting(still, self.held))

    def _warn_of_cycle(self, found: list[WaitReport]) -> None:
        who = frozenset(wait.task for wait in found)
        if found and who not in self.told:
            self.told.add(who)
            text = f"these wait for each other, and none of them can go on:\n{told(found)}"
            self.context.do(WarnUser(text + "\nA get with a timeout, cancel or kill would end it."))

    def _warn_of_kept(self, found: dict[TaskID, tuple[str, ...]]) -> None:
        found = {task: who for task, who in found.items() if self.waits[task].demand not in self.told_kept}
        if found:
            self.told_kept.update(self.waits[task].demand for task in found)
            text = f"{KEPT}\n{kept_for_life(self.waits, found)}"
            self.context.do(
                WarnUser(text + "\nA kill would end it, fewer actors, actors that hold less, or more nodes.")
            )
