"""Taking a task back: what `cancel` does wherever the task is by now.

The owner is asked, marks the task (it is never retried from then on) and, if another place has custody, passes the
wish on; a task that moves on meanwhile is followed when the owner hears where it went. What has not begun ends in
an error at once. What runs is interrupted, or its worker killed (force), and ends as it ends: a task that catches the
interrupt and returns has a value. A call that an actor is running cannot be stopped; its value is not given out.
"""

from __future__ import annotations

from labray.ids import ClientID, NodeID, TaskID, creator
from labray.messages import (
    Cancel,
    CancelTask,
    Interrupt,
    Recall,
    Recalled,
    RequestAnswered,
    Stored,
    WithdrawTask,
)
from labray.node.actors.calling import ActorCalls
from labray.node.actors.hosting import ActorHosting
from labray.node.context.node_context import NodeContext
from labray.node.context.task_record import FORWARDABLE, State, TaskRecord
from labray.node.context.task_table import TaskTable
from labray.node.objects.client_table import ClientTable
from labray.node.objects.directory import ObjectTable
from labray.node.tasks.completion import TaskCompletion, cancelled
from labray.node.tasks.reporting import TaskReports
from labray.node.workers.pool import WorkerPool
from labray.scheduling import TaskRecalled


class TaskCancellation:
    """At the owner of a task and where it is; and what becomes of tasks that a worker gives back unbegun."""

    def __init__(
        self,
        context: NodeContext,
        objects: ObjectTable,
        clients: ClientTable,
        task_table: TaskTable,
        pool: WorkerPool,
        calls: ActorCalls,
        hosting: ActorHosting,
        completion: TaskCompletion,
        reporting: TaskReports,
    ) -> None:
        self.context = context
        self.objects = objects
        self.clients = clients
        self.tasks = task_table.tasks
        self.pool = pool
        self.calls = calls
        self.hosting = hosting
        self.completion = completion
        self.reporting = reporting

    # ------------------------------------------------------------ asked

    def asked(self, sender: ClientID, message: Cancel) -> None:
        """By a client. Refused (only) if it would kill an actor for the sake of one call."""
        ref, accepted = message.ref, True
        if ref.owner == self.context.place:
            accepted = self.cancel(creator(ref.id), message.force, message.recursive)
        elif ref.owner not in self.context.dead:
            self.context.send(ref.owner, CancelTask(creator(ref.id), message.force, message.recursive))
        self.context.send(sender, RequestAnswered(message.request, accepted))

    def passed_on(self, sender: NodeID, message: CancelTask) -> None:
        self.cancel(message.task, message.force, message.recursive)

    def cancel(self, id: TaskID, force: bool, recursive: bool) -> bool:
        """At the owner. What is over, was put, or is an actor's creation is left alone."""
        task = self.tasks.get(id)
        if task is None or not task.mine or task.spec.kind == "actor":
            return True
        if force and task.spec.kind == "method":
            return False
        if task.cancelled != (force, recursive):
            task.cancelled = (force, recursive)
            if task.state is State.FORWARDED:
                self.follow(task)
            else:
                self.act(task)
        return True

    def follow(self, task: TaskRecord) -> None:
        """At the owner: its custodian must hear that it is not wanted any more."""
        if task.cancelled is not None and task.at is not None and task.at not in self.context.dead:
            self.context.send(task.at, WithdrawTask(task.id, task.attempt, *task.cancelled))

    def withdrawn(self, sender: NodeID, message: WithdrawTask) -> None:
        """At its custodian. If it has gone on, the owner is about to hear where, and asks there."""
        task = self.tasks.get(message.task)
        wish = (message.force, message.recursive)
        if task is None or task.mine or task.attempt != message.attempt or task.cancelled == wish:
            return
        task.cancelled = wish
        self.act(task)

    # ------------------------------------------------------------ done

    def act(self, task: TaskRecord) -> None:
        """It is here, in whatever state."""
        state = task.state
        if state in (State.DISPATCHED, State.BLOCKED):
            assert task.cancelled is not None
            if task.cancelled[1]:
                self._cancel_children(task, task.cancelled[0])
            self._stop(task)
        elif state is State.WAITING:
            self.completion.fail(task, cancelled(task))
        elif state in FORWARDABLE or state is State.CALLING:
            if state is State.CALLING:
                self.calls.withdraw(task)
            self.reporting.end_with(task, cancelled(task))

    def _cancel_children(self, task: TaskRecord, force: bool) -> None:
        """What a running task has submitted is owned where it runs."""
        children = [child for child in self.tasks.values() if child.mine and child.spec.parent == task.id]
        for child in children:
            self.cancel(child.id, force and child.spec.kind == "task", True)

    def _stop(self, task: TaskRecord) -> None:
        """It was sent to a worker. If it has not begun there it is given back, and `given_back` follows.

        Only the world can tell: what has the slot by this node's books may have ended, and this one run.
        """
        assert task.worker is not None and task.cancelled is not None
        worker = self.pool.workers[task.worker]
        if task.spec.kind == "method":
            self.context.send(worker.id, Recall((task.id,)))
        else:
            self.context.send(worker.id, Interrupt(task.id, task.attempt, task.cancelled[0]))

    # ------------------------------------------------------------ given back

    def recalled(self, sender: ClientID, message: Recalled) -> None:
        """A worker gives these back: they are ready again; what came with them did not arrive."""
        worker = self.pool.workers.get(sender)
        if worker is None:
            return
        back = self.pool.recalled(worker, message.tasks)
        if worker.actor is not None and back:
            self.hosting.give_back(worker, back)
        for task in back:
            for ref in task.spec.deps:
                record = self.objects.records.get(ref.id)
                if record is not None and type(record.here) is Stored:
                    self.clients.unpin(worker.id, ((ref.id, 1),))
            if task.spec.kind != "method":
                self.pool.ready(task)
        self.given_back(back)
        if worker.actor is not None and back and not worker.running:  # the call that ran has ended since
            self.hosting.pump(worker.actor)

    def given_back(self, tasks: list[TaskRecord]) -> None:
        """These wait here again, unbegun: those that are not wanted end, and of the others the agent hears."""
        for task in tasks:
            if task.cancelled is not None:
                self.act(task)
            elif task.state is State.READY and task.fact is not None:
                self.context.tell_agent(TaskRecalled(task.fact))
