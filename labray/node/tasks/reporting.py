"""How a task ends at the node that has custody of it: what its worker reports, or its loss, is passed on to the owner.

The record of a task that another node owns is dropped here with that report.
"""

from __future__ import annotations

from labray.ids import ClientID, result_id
from labray.messages import (
    ErrorInfo,
    Failed,
    Finished,
    KnownValue,
    Ref,
    Remote,
    Stored,
    TaskBounced,
    TaskDone,
    Value,
)
from labray.node.actors.calling import ActorCalls
from labray.node.actors.hosting import ActorHosting
from labray.node.context.agent_feed import AgentFeed
from labray.node.context.node_context import NodeContext
from labray.node.context.task_record import FORWARDABLE, State, TaskRecord
from labray.node.context.task_table import TaskTable
from labray.node.objects.client_table import ClientTable
from labray.node.objects.directory import ObjectTable
from labray.node.objects.records import refs_in
from labray.node.store.node_store import NodeStore
from labray.node.tasks.completion import TaskCompletion, cancelled, failures
from labray.node.tasks.replay_notes import note_sizes
from labray.node.workers.pool import WorkerPool
from labray.scheduling import TaskFinished


class TaskReports:
    """Reports the ends of all tasks that this node has custody of, its own included."""

    def __init__(
        self,
        context: NodeContext,
        feed: AgentFeed,
        store: NodeStore,
        objects: ObjectTable,
        clients: ClientTable,
        task_table: TaskTable,
        pool: WorkerPool,
        calls: ActorCalls,
        hosting: ActorHosting,
        completion: TaskCompletion,
    ) -> None:
        self.context = context
        self.feed = feed
        self.store = store
        self.objects = objects
        self.clients = clients
        self.task_table = task_table
        self.pool = pool
        self.calls = calls
        self.hosting = hosting
        self.completion = completion
        self.place = context.place

    # ------------------------------------------------------------ it ran

    def finished(self, sender: ClientID, message: Finished) -> None:
        """A worker ended a task: its values go to the owner."""
        worker = self.pool.workers.get(sender)
        task = worker.find(message.task) if worker is not None else None
        if worker is None or task is None:
            return  # it was stopped, or the task taken from it, while the message was under way
        seconds = message.ended - message.begun
        self.context.note("ran", task.id, (sender, task.attempt, message.begun, message.ended, message.cpu))
        if self.context.traced:
            note_sizes(self.context, task.spec, message.values)
        for ref in message.kept:
            self.clients.give(self.clients.clients[sender], ref)
        if task.state is State.BLOCKED:  # it asks no more: an interrupt came between its question and its end
            self.clients.ended(sender, task.id)
        code = task.spec.function
        if code is not None and message.values and type(message.values[0]) is not Failed:
            worker.known[code.id] = None
        if task.fact is not None and TaskFinished in self.context.interest:
            self.context.events.append(TaskFinished(task.fact, seconds))
        self.pool.ended(worker, task, seconds)  # of its room the agent hears after its end
        if task.spec.kind == "actor":
            failed = type(message.values[0]) is Failed
            self.hosting.constructed(worker, task.spec.lifetime, failed)
        values = message.values if task.cancelled is None else self._given_out(task, message.values)
        self._report(task, values, seconds, message.retry)
        if worker.actor is not None:
            self.hosting.pump(worker.actor)

    def _given_out(self, task: TaskRecord, values: tuple[Value, ...]) -> tuple[Value, ...]:
        """Of a cancelled call nothing, whatever it returned."""
        if task.spec.kind != "method":
            return values
        for index, value in enumerate(values):
            if type(value) is Stored:
                self.store.unwanted(result_id(task.id, index), value)
        return (Failed(cancelled(task)),) * len(values)

    def _report(
        self, task: TaskRecord, values: tuple[Value, ...], seconds: float, retry: bool = False
    ) -> None:
        if task.mine:
            for ref in [ref for value in values for ref in refs_in(value)]:
                self.objects.hold(ref)
            known = tuple([self._as_known(value) for value in values])
            locals_ = [value if type(value) is Stored else None for value in values]
            self.completion.ended(task, known, retry, self.place, locals_)
            return
        owner = task.spec.owner
        values = tuple([self._stored(task, at, v) if type(v) is Stored else v for at, v in enumerate(values)])
        for value in values:
            self.objects.borrowing.lend(refs_in(value), owner)
        known = tuple([self._as_known(value) for value in values])
        if owner not in self.context.dead:
            self.context.send(owner, TaskDone(task.id, task.attempt, known, retry, False, seconds))
        task.step(State.OVER)
        self.task_table.drop(task)

    def _stored(self, task: TaskRecord, index: int, value: Stored) -> Stored:
        """A large result for another place lies here: this one, or what an attempt that was given up has left."""
        record = self.objects.ensure(Ref(result_id(task.id, index), task.spec.owner))
        if record.kept is not None:
            self.store.unwanted(record.id, value)
            return record.kept
        for ref in value.refs:
            self.objects.hold(ref)
        self.objects.settle(record, self._as_known(value), value)
        return value

    def _as_known(self, value: Value) -> KnownValue:
        return Remote(value.size, (self.place,), value.refs) if type(value) is Stored else value  # type: ignore[return-value]

    # ------------------------------------------------------------ it did not

    def end_with(self, task: TaskRecord, error: ErrorInfo) -> None:
        """Wherever the task is now, it ends in an error before it began."""
        if task.state in FORWARDABLE:
            self.feed.withdraw(task)
        if task.spec.kind == "method":
            self.hosting.withdraw(task)
        self._report(task, failures(task, error), 0.0)

    def attempt_lost(self, task: TaskRecord, error: ErrorInfo) -> None:
        """The process that ran it is gone."""
        if task.mine:
            self.completion.attempt_lost(task, error.message, error)
            return
        self.context.send(task.spec.owner, TaskDone(task.id, task.attempt, (Failed(error),), False, True))
        task.step(State.OVER)
        self.task_table.drop(task)

    def bounce(self, task: TaskRecord) -> None:
        """Its actor is not here, and the call had not begun: back to whoever submitted it."""
        if task.cancelled is not None:
            self.end_with(task, cancelled(task))
        elif task.mine:
            self.calls.bounced(task)
        else:
            self.send_back(task)

    def send_back(self, task: TaskRecord) -> None:
        """To its owner, another place, who sees to it."""
        self.context.send(task.spec.owner, TaskBounced(task.id, task.attempt, task.hops))
        task.step(State.OVER)
        self.task_table.drop(task)
