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
from labray.node.failures.losses import PlaceLosses, WorkerLosses
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
        self.desk = NodeContext(place, cluster, interest, traced)
        self.feed = AgentFeed(self.desk, repr(scheduler))
        self._objects_and_store(store_bytes)
        self.table = TaskTable(
            self.desk, self.objects.release, lambda: self.suspicion.watch(), suspect_s is None
        )
        if prestart is None:
            prestart = -(-dict(totals).get("CPU", 0) // m.UNIT)
        self._workers(Resources(totals), max_workers, prestart)
        self._actors()
        self._tasks(strict)
        view = LocalView(place, self.pool.resources, self.pool.queue, self.objects)
        self.mind = PolicyHost(self.desk, self.feed, scheduler, view, rng, self.custody)
        self._failures(suspect_s)

    def _objects_and_store(self, store_bytes: int | None) -> None:
        desk = self.desk
        storage = self.storage = NodeStore(desk, store_bytes)
        objects = self.objects = ObjectTable(
            desk, storage, self._freed, lambda id: self.callers.forget(id), lambda record: self.copies.pull(record)
        )  # fmt: skip
        self.copies = Locations(desk, storage, objects, self._unknown)
        self.clients = ClientTable(
            desk, storage, objects, lambda request: self.blocking.block(request),
            lambda client, task: self.blocking.unblock(client, task), lambda client: self.naming.left(client),
        )  # fmt: skip
        self.spills = Spilling(desk, storage, objects, self.copies)
        self.admission = Admission(
            desk, storage, self.spills, objects, self.copies, self.clients,
            lambda: self.table.tasks.values(), lambda id: self.fetching.who_waits_for(id),
            lambda: self.residents.call_back(), lambda: self.pool.is_running(),
        )  # fmt: skip

    def _workers(self, resources: Resources, max_workers: int | None, prestart: int) -> None:
        desk = self.desk
        self.staging = Staging(self.storage, self.objects, resources)
        runs = RunMessages(
            self.objects, self.clients, lambda task, worker: self.residents.moves_in(task, worker)
        )
        self.pool = WorkerPool(
            desk, resources, max_workers, prestart, runs.make, self.clients.leave, self.staging.stage
        )
        self.births = WorkerStarts(
            desk, self.clients, self.pool, lambda task, error: self.reports.end_with(task, error)
        )

    def _actors(self) -> None:
        desk = self.desk
        self.residents = ActorHosting(
            desk, self.table, self.pool, self.storage.is_short, lambda task: self.reports.bounce(task),
            lambda task, error: self.reports.lost(task, error), lambda task: self.fetching.call_in(task),
            lambda id, attempt, error: self.creations.died(id, attempt, error),
        )  # fmt: skip
        self.callers = ActorCalls(
            desk, lambda id, by: self.creations.sought(id, by), lambda task, to: self.custody.carry(task, to),
            lambda task, error: self.endings.fail(task, error),
        )  # fmt: skip
        self.creations = ActorLifecycle(
            desk, self.feed, self.objects, self.table, self.callers, self.residents,
            lambda creation: self.endings.again(creation),
        )  # fmt: skip
        self.names = ActorRegistry(desk)
        self.naming = NameClient(desk, self.objects, self.clients, self.creations)

    def _tasks(self, strict: bool) -> None:
        desk, feed, objects, table, pool = self.desk, self.feed, self.objects, self.table, self.pool
        callers, residents, creations, clients = self.callers, self.residents, self.creations, self.clients
        self.lineage = Lineage(
            desk, objects, table, callers, creations, lambda task: self.custody.await_deps(task),
            lambda task, error: self.endings.fail(task, error),
        )  # fmt: skip
        endings = self.endings = TaskCompletion(
            desk, objects, self.copies, table, callers, creations, self.lineage,
            lambda task: self.custody.await_deps(task),
        )  # fmt: skip
        reports = self.reports = TaskReports(
            desk, feed, self.storage, objects, clients, table, pool, callers, residents, endings
        )
        self.fetching = Dependencies(
            desk, feed, self.storage, objects, table, self.staging, pool, residents, reports,
            lambda task: self.custody.await_deps(task),
        )  # fmt: skip
        self.impossible = Infeasible(desk, feed, table, reports, strict)
        self.cancels = TaskCancellation(
            desk, objects, clients, table, pool, callers, residents, endings, reports
        )
        self.custody = TaskSubmission(
            desk, feed, objects, clients, table, callers, residents, creations, self.naming, endings, reports,
            self.fetching, self.cancels, self.impossible,
        )  # fmt: skip
        self.blocking = Blocking(desk, table, pool)

    def _failures(self, suspect_s: float | None) -> None:
        desk, table, pool, residents = self.desk, self.table, self.pool, self.residents
        self.waits = NodeWaits(
            desk,
            self.objects,
            self.clients,
            table,
            pool,
            self.callers,
            residents,
            self.creations,
            self.naming,
        )
        self.suspicion = DeadlockSuspicion(desk, table, pool, self.waits, suspect_s)
        self.inquiry = DeadlockInquiry(desk, self.suspicion)
        self.shortage = OutOfMemoryKiller(desk, pool, residents)
        self.tidings = LossAcknowledgements(desk, self.objects.loans, self.copies, self.custody)
        self.worker_losses = WorkerLosses(
            desk, self.clients, pool, self.births, residents, self.reports, self.cancels
        )
        self.place_losses = PlaceLosses(
            desk, self.copies, self.spills, table, self.callers, residents, self.creations, self.names, self.naming,
            self.endings, self.reports, self.impossible, self.mind, self.tidings, self.inquiry,
        )  # fmt: skip
        self.conduct = ClientConduct(desk, self.storage, self.objects, table, pool, self.worker_losses)

    def _freed(self, id: ObjectID) -> None:
        """An object was freed. If it stands for an actor, no handle to it is left."""
        if id in self.creations.owned:
            self.creations.retire(id)
        if self.lineage.origins:
            self.lineage.freed(id)

    def _unknown(self, record: ObjectRecord, error: m.ErrorInfo | None) -> None:
        """No copy of an object is left, as far as this place knows. What is owned here is made again."""
        self.fetching.became_unknown(record.id)
        if record.owner == self.place:
            self.lineage.rebuild(record, error)
