"""The parts of a node, from the bottom up: each owns its state and is given what is below it, by name.

What is below tells what is above by a function that it was given, or leaves it to be done before the input is done with
(`NodeContext.defer`). Here is the one place where that is wired.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labray import messages as m
from labray.ids import NodeID, ObjectID
from labray.node.actors.calling import ActorCalls
from labray.node.actors.hosting import ActorHosting
from labray.node.actors.lifecycle import ActorLifecycle
from labray.node.actors.name_client import NameClient
from labray.node.actors.registry import ActorRegistry
from labray.node.context.agent_feed import AgentFeed
from labray.node.context.node_context import NodeContext
from labray.node.context.task_table import TaskTable
from labray.node.failures.acknowledgements import LossAcknowledgements
from labray.node.failures.conduct import ClientConduct
from labray.node.failures.deadlocks import DeadlockInquiry, DeadlockSuspicion
from labray.node.failures.losses import NodeLosses, WorkerLosses
from labray.node.failures.out_of_memory import OutOfMemoryKiller
from labray.node.failures.wait_graph import NodeWaits
from labray.node.objects.client_table import ClientTable
from labray.node.objects.directory import ObjectTable
from labray.node.objects.locations import Locations
from labray.node.objects.records import ObjectRecord
from labray.node.store.admission import Admission
from labray.node.store.node_store import NodeStore
from labray.node.store.spilling import Spilling
from labray.node.tasks.blocking import Blocking
from labray.node.tasks.cancellation import TaskCancellation
from labray.node.tasks.completion import TaskCompletion
from labray.node.tasks.dependencies import Dependencies
from labray.node.tasks.infeasible import Infeasible
from labray.node.tasks.lineage import Lineage
from labray.node.tasks.policy_host import LocalView, PolicyHost
from labray.node.tasks.reporting import TaskReports
from labray.node.tasks.submission import TaskSubmission
from labray.node.workers.arguments import RunMessages, Staging
from labray.node.workers.pool import WorkerPool
from labray.node.workers.resources import Resources
from labray.node.workers.starting import WorkerStarts
from labray.scheduling import ClusterInfo, Fact, Scheduler, TaskArrived, TaskWithdrawn

if TYPE_CHECKING:
    from random import Random


class Wings:
    """All of one node. See Node for what the arguments are."""

    def __init__(
        self, place: NodeID, cluster: ClusterInfo, totals: m.Demand, scheduler: Scheduler, rng: Random, strict: bool,
        max_workers: int | None, prestart: int | None, suspect_s: float | None, traced: bool, store_bytes: int | None,
    ) -> None:  # fmt: skip
        interest: frozenset[type[Fact]] = frozenset((TaskArrived, TaskWithdrawn, *scheduler.interest))
        self.place = place
        self.context = NodeContext(place, cluster, interest, traced)
        self.feed = AgentFeed(self.context, repr(scheduler))
        self._objects_and_store(store_bytes)
        self.task_table = TaskTable(
            self.context, self.objects.release, lambda: self.suspicion.watch(), suspect_s is None
        )
        if prestart is None:
            prestart = -(-dict(totals).get("CPU", 0) // m.UNIT)
        self._workers(Resources(totals), max_workers, prestart)
        self._actors()
        self._tasks(strict)
        view = LocalView(place, self.pool.resources, self.pool.queue, self.objects)
        self.policy_host = PolicyHost(self.context, self.feed, scheduler, view, rng, self.submission)
        self._failures(suspect_s)

    def _objects_and_store(self, store_bytes: int | None) -> None:
        context = self.context
        store = self.store = NodeStore(context, store_bytes)
        objects = self.objects = ObjectTable(
            context, store, self._freed, lambda id: self.calls.forget_actor(id),
            lambda record: self.locations.pull(record),
        )  # fmt: skip
        self.locations = Locations(context, store, objects, self._unknown)
        self.clients = ClientTable(
            context, store, objects, lambda request: self.blocking.block(request),
            lambda client, task: self.blocking.unblock(client, task),
            lambda client: self.name_client.client_left(client),
        )  # fmt: skip
        self.spilling = Spilling(context, store, objects, self.locations)
        self.admission = Admission(
            context, store, self.spilling, objects, self.locations, self.clients,
            lambda: self.task_table.tasks.values(), lambda id: self.dependencies.who_waits_for(id),
            lambda: self.hosting.call_back(), lambda: self.pool.is_running(),
        )  # fmt: skip

    def _workers(self, resources: Resources, max_workers: int | None, prestart: int) -> None:
        context = self.context
        self.staging = Staging(self.store, self.objects, resources)
        runs = RunMessages(
            self.objects, self.clients, lambda task, worker: self.hosting.moves_in(task, worker)
        )
        self.pool = WorkerPool(
            context, resources, max_workers, prestart, runs.make, self.clients.leave, self.staging.stage
        )
        self.worker_starts = WorkerStarts(
            context, self.clients, self.pool, lambda task, error: self.reporting.end_with(task, error)
        )

    def _actors(self) -> None:
        context = self.context
        self.hosting = ActorHosting(
            context, self.task_table, self.pool, self.store.is_short, lambda task: self.reporting.bounce(task),
            lambda task, error: self.reporting.attempt_lost(task, error), lambda task: self.dependencies.call_in(task),
            lambda id, attempt, error: self.lifecycle.died(id, attempt, error),
        )  # fmt: skip
        self.calls = ActorCalls(
            context, lambda id, by: self.lifecycle.sought(id, by), lambda task, to: self.submission.carry(task, to),
            lambda task, error: self.completion.fail(task, error),
        )  # fmt: skip
        self.lifecycle = ActorLifecycle(
            context, self.feed, self.objects, self.task_table, self.calls, self.hosting,
            lambda creation: self.completion.again(creation),
        )  # fmt: skip
        self.registry = ActorRegistry(context)
        self.name_client = NameClient(context, self.objects, self.clients, self.lifecycle)

    def _tasks(self, strict: bool) -> None:
        context, feed, objects, task_table, pool = (
            self.context,
            self.feed,
            self.objects,
            self.task_table,
            self.pool,
        )
        calls, hosting, lifecycle, clients = self.calls, self.hosting, self.lifecycle, self.clients
        self.lineage = Lineage(
            context, objects, task_table, calls, lifecycle, lambda task: self.submission.await_deps(task),
            lambda task, error: self.completion.fail(task, error),
        )  # fmt: skip
        completion = self.completion = TaskCompletion(
            context, objects, self.locations, task_table, calls, lifecycle, self.lineage,
            lambda task: self.submission.await_deps(task),
        )  # fmt: skip
        reporting = self.reporting = TaskReports(
            context, feed, self.store, objects, clients, task_table, pool, calls, hosting, completion
        )
        self.dependencies = Dependencies(
            context, feed, self.store, objects, task_table, self.staging, pool, hosting, reporting,
            lambda task: self.submission.await_deps(task),
        )  # fmt: skip
        self.infeasible = Infeasible(context, feed, task_table, reporting, strict)
        self.cancellation = TaskCancellation(
            context, objects, clients, task_table, pool, calls, hosting, completion, reporting
        )
        self.submission = TaskSubmission(
            context, feed, objects, clients, task_table, calls, hosting, lifecycle, self.name_client, completion,
            reporting, self.dependencies, self.cancellation, self.infeasible,
        )  # fmt: skip
        self.blocking = Blocking(context, task_table, pool)

    def _failures(self, suspect_s: float | None) -> None:
        context, task_table, pool, hosting = self.context, self.task_table, self.pool, self.hosting
        self.waits = NodeWaits(
            context,
            self.objects,
            self.clients,
            task_table,
            pool,
            self.calls,
            hosting,
            self.lifecycle,
            self.name_client,
        )
        self.suspicion = DeadlockSuspicion(context, task_table, pool, self.waits, suspect_s)
        self.inquiry = DeadlockInquiry(context, self.suspicion)
        self.out_of_memory = OutOfMemoryKiller(context, pool, hosting)
        self.acknowledgements = LossAcknowledgements(
            context, self.objects.borrowing, self.locations, self.submission
        )
        self.worker_losses = WorkerLosses(
            context, self.clients, pool, self.worker_starts, hosting, self.reporting, self.cancellation
        )
        self.node_losses = NodeLosses(
            context, self.locations, self.spilling, task_table, self.calls, hosting, self.lifecycle, self.registry,
            self.name_client, self.completion, self.reporting, self.infeasible, self.policy_host,
            self.acknowledgements, self.inquiry,
        )  # fmt: skip
        self.conduct = ClientConduct(context, self.store, self.objects, task_table, pool, self.worker_losses)

    def _freed(self, id: ObjectID) -> None:
        """An object was freed. If it stands for an actor, no handle to it is left."""
        if id in self.lifecycle.owned:
            self.lifecycle.retire(id)
        if self.lineage.origins:
            self.lineage.freed(id)

    def _unknown(self, record: ObjectRecord, error: m.ErrorInfo | None) -> None:
        """No copy of an object is left, as far as this place knows. What is owned here is made again."""
        self.dependencies.became_unknown(record.id)
        if record.owner == self.place:
            self.lineage.rebuild(record, error)
