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
from labray.node.context.task_record import FORWARDABLE
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
    """What is done when a worker of this node is lost."""

    def __init__(
        self,
        context: NodeContext,
        clients: ClientTable,
        pool: WorkerPool,
        worker_starts: WorkerStarts,
        hosting: ActorHosting,
        reporting: TaskReports,
        cancellation: TaskCancellation,
    ) -> None:
        self.context = context
        self.clients = clients
        self.pool = pool
        self.worker_starts = worker_starts
        self.hosting = hosting
        self.reporting = reporting
        self.cancellation = cancellation

    def worker_lost(self, sender: str, x: WorkerLost) -> None:
        """The world says that its process is gone."""
        worker = self.pool.workers.get(x.worker)
        if worker is None:
            return
        if worker.verdict is None:
            self.context.note("lost", x.worker, x.reason)
            self.lose(worker, x.reason, x.begun)
            return
        self.context.note("lost", x.worker, OUT_OF_MEMORY)
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
            self.hosting.give_back(worker, unbegun)
        for task in lost if worker.actor is None else ():
            if task.fact is not None:  # before word of the room that it leaves
                self.context.tell_agent(TaskFinished(task.fact, 0.0))
        self.pool.remove(worker)
        if not worker.started:
            self.worker_starts.failure(reason)
        self.clients.leave(worker.id)
        if worker.actor is not None:
            self.hosting.crashed(worker, reason, begun)
            return
        worker.clear()
        for task in unbegun:
            task.worker = None
            self.pool.ready(task)
        self.cancellation.given_back(unbegun)
        for task in lost:
            text = f"task {task.id} ({task.spec.name}) failed: its worker died: {reason}."
            told = error or ErrorInfo("worker_crashed", text)
            if final:
                self.reporting.end_with(task, told)
            else:
                self.reporting.attempt_lost(task, told)


class NodeLosses:
    """What is done when another node is lost, or joins."""

    def __init__(
        self,
        context: NodeContext,
        locations: Locations,
        spilling: Spilling,
        task_table: TaskTable,
        calls: ActorCalls,
        hosting: ActorHosting,
        lifecycle: ActorLifecycle,
        registry: ActorRegistry,
        name_client: NameClient,
        completion: TaskCompletion,
        reporting: TaskReports,
        infeasible: Infeasible,
        policy_host: PolicyHost,
        acknowledgements: LossAcknowledgements,
        inquiry: DeadlockInquiry,
    ) -> None:
        self.context = context
        self.locations = locations
        self.spilling = spilling
        self.task_table = task_table
        self.calls = calls
        self.hosting = hosting
        self.lifecycle = lifecycle
        self.registry = registry
        self.name_client = name_client
        self.completion = completion
        self.reporting = reporting
        self.infeasible = infeasible
        self.policy_host = policy_host
        self.acknowledgements = acknowledgements
        self.inquiry = inquiry

    def node_lost(self, sender: str, x: PeerLost) -> None:
        """Own tasks there start anew or fail; tasks of its own that are here are let go."""
        lost = x.place
        self.context.dead[lost] = None
        self.context.heads += lost == HEAD
        self.context.dead[self.context.incarnation(lost)] = None
        self.context.note("lost", lost, "")
        self.registry.forget_names_of(lost)
        self.inquiry.expect_no_report(lost)
        self.policy_host.tell_node_lost(lost)  # before it is asked where to now
        self.spilling.expect_no_answer(lost)
        self.locations.lose_copies_of(lost)  # first: what starts anew must know what is gone
        self.lifecycle.forget_watcher(lost)
        self.calls.lose_actors_with(lost)
        self.completion.tasks_lost_with(lost)
        self.lifecycle.died_with(lost)
        self.completion.calls_lost_with(lost)
        self.hosting.owner_lost(lost)
        self.infeasible.check_undecided()
        self.acknowledgements.acknowledge(lost)
        self._owner_lost(lost)

    def _owner_lost(self, lost: NodeID) -> None:
        """What has not begun of its tasks ends. What runs runs to its end."""
        for task in list(self.task_table.tasks.values()):
            if task.spec.owner == lost and task.state in FORWARDABLE:
                self.reporting.end_with(task, ErrorInfo("owner_died", f"its owner {lost} is lost."))

    def node_joined(self, sender: str, x: PeerJoined) -> None:
        if x.place != HEAD:
            self.policy_host.tell_node_joined(NodeInfo(x.place, x.totals))
        elif self.context.place != HEAD:
            self.context.dead.pop(HEAD, None)
            self.name_client.head_back()
            self.policy_host.head_back()
        else:  # this is the new head, which asks who lives for what it must know
            self.registry.expect(
                [n.place for n in self.context.cluster.nodes if n.place not in self.context.dead]
            )
