"""What it means for a node that a worker or a place is lost, or a place joins: who is told, and in which order."""

from __future__ import annotations

from labray.ids import HEAD, NodeID, TaskID
from labray.messages import ErrorInfo, PeerJoined, PeerLost, WorkerLost
from labray.node.actors.calling import ActorCalls
from labray.node.actors.hosting import ActorHosting
from labray.node.actors.lifecycle import ActorLifecycle
from labray.node.actors.name_client import NameClient
from labray.node.actors.registry import ActorRegistry
from labray.node.context.node_context import NodeContext
from labray.node.context.task_record import UNDECIDED
from labray.node.context.task_table import TaskTable
from labray.node.failures.acknowledgements import LossAcknowledgements
from labray.node.failures.deadlocks import DeadlockInquiry
from labray.node.objects.client_table import ClientTable
from labray.node.objects.locations import Locations
from labray.node.store.spilling import Spilling
from labray.node.tasks.cancellation import TaskCancellation
from labray.node.tasks.completion import OUT_OF_MEMORY, TaskCompletion
from labray.node.tasks.infeasible import Infeasible
from labray.node.tasks.policy_host import PolicyHost
from labray.node.tasks.reporting import TaskReports
from labray.node.workers.pool import WorkerPool
from labray.node.workers.starting import WorkerStarts
from labray.node.workers.worker_record import WorkerRecord
from labray.scheduling import NodeInfo, TaskFinished


class WorkerLosses:
    """Of the workers here."""

    def __init__(
        self,
        desk: NodeContext,
        clients: ClientTable,
        pool: WorkerPool,
        births: WorkerStarts,
        residents: ActorHosting,
        reports: TaskReports,
        cancels: TaskCancellation,
    ) -> None:
        self.desk = desk
        self.clients = clients
        self.pool = pool
        self.births = births
        self.residents = residents
        self.reports = reports
        self.cancels = cancels

    def worker_lost(self, sender: str, x: WorkerLost) -> None:
        """The world says that its process is gone."""
        worker = self.pool.workers.get(x.worker)
        if worker is None:
            return
        if worker.verdict is None:
            self.desk.note("lost", x.worker, x.reason)
            self.lose(worker, x.reason, x.begun)
            return
        self.desk.note("lost", x.worker, OUT_OF_MEMORY)
        ran, _ = worker.parted(x.begun)
        name = f"task {ran[-1].id} ({ran[-1].spec.name})" if ran else f"the actor {worker.actor}"
        error = ErrorInfo(OUT_OF_MEMORY, f"{name} {worker.verdict.why}")
        self.lose(worker, error.message, x.begun, error, final=not worker.verdict.again)

    def lose(
        self,
        worker: WorkerRecord,
        reason: str,
        begun: tuple[TaskID, ...] | None,
        error: ErrorInfo | None = None,
        final: bool = False,
    ) -> None:
        """The tasks that it had begun (None: all it was sent) are lost, those that only waited there are not.

        error: what the tasks end in, if not in their worker's crash. final: whatever retries they have.
        """
        lost, unbegun = worker.parted(begun)
        if any(
            task.spec.kind == "actor" for task in unbegun
        ):  # a constructor: then that is a task like any other
            self.residents.give_back(worker, unbegun)
        for task in lost if worker.actor is None else ():
            if task.fact is not None:  # before word of the room that it leaves
                self.desk.tell_agent(TaskFinished(task.fact, 0.0))
        self.pool.lost(worker)
        if not worker.started:
            self.births.failure(reason)
        self.clients.leave(worker.id)
        if worker.actor is not None:
            self.residents.crashed(worker, reason, begun)
            return
        worker.clear()
        for task in unbegun:
            task.worker = None
            self.pool.ready(task)
        self.cancels.given_back(unbegun)
        for task in lost:
            text = f"task {task.id} ({task.spec.name}) failed: its worker died: {reason}."
            told = error or ErrorInfo("worker_crashed", text)
            if final:
                self.reports.end_with(task, told)
            else:
                self.reports.lost(task, told)


class PlaceLosses:
    """Of other places; and those that join."""

    def __init__(
        self,
        desk: NodeContext,
        copies: Locations,
        spills: Spilling,
        table: TaskTable,
        callers: ActorCalls,
        residents: ActorHosting,
        creations: ActorLifecycle,
        names: ActorRegistry,
        naming: NameClient,
        endings: TaskCompletion,
        reports: TaskReports,
        impossible: Infeasible,
        mind: PolicyHost,
        tidings: LossAcknowledgements,
        inquiry: DeadlockInquiry,
    ) -> None:
        self.desk = desk
        self.copies = copies
        self.spills = spills
        self.table = table
        self.callers = callers
        self.residents = residents
        self.creations = creations
        self.names = names
        self.naming = naming
        self.endings = endings
        self.reports = reports
        self.impossible = impossible
        self.mind = mind
        self.tidings = tidings
        self.inquiry = inquiry

    def place_lost(self, sender: str, x: PeerLost) -> None:
        """Own tasks there start anew or fail; tasks of its own that are here are let go."""
        lost = x.place
        self.desk.dead[lost] = None
        self.desk.heads += lost == HEAD
        self.desk.dead[self.desk.life(lost)] = None
        self.desk.note("lost", lost, "")
        self.names.place_lost(lost)
        self.inquiry.place_lost(lost)
        self.mind.lost(lost)  # before it is asked where to now
        self.spills.place_lost(lost)
        self.copies.place_lost(lost)  # first: what starts anew must know what is gone
        self.creations.place_lost(lost)
        self.callers.place_lost(lost)
        self.endings.tasks_lost_with(lost)
        self.creations.died_with(lost)
        self.endings.calls_lost_with(lost)
        self.residents.owner_lost(lost)
        self.impossible.place_lost()
        self.tidings.place_lost(lost)
        self._owner_lost(lost)

    def _owner_lost(self, lost: NodeID) -> None:
        """What has not begun of its tasks ends. What runs runs to its end."""
        for task in list(self.table.tasks.values()):
            if task.spec.owner == lost and task.state in UNDECIDED:
                self.reports.end_with(task, ErrorInfo("owner_died", f"its owner {lost} is lost."))

    def place_joined(self, sender: str, x: PeerJoined) -> None:
        if x.place != HEAD:
            self.mind.joined(NodeInfo(x.place, x.totals))
        elif self.desk.place != HEAD:
            self.desk.dead.pop(HEAD, None)
            self.naming.head_back()
            self.mind.head_back()
        else:  # this is the new head, which asks who lives for what it must know
            self.names.expect([n.place for n in self.desk.cluster.nodes if n.place not in self.desk.dead])
