"""How tasks end at one node: with values, with an error, or with a loss that starts them anew.

A worker that ended a task reports here; so does the world when it lost one. What is another place's task is
reported to its owner. The owner accepts the values of the current attempt only, and retries what was lost while
it may. An actor's creation ends here too, and what becomes of its calls when its process is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from labray.ids import ClientID, ObjectID, Place, result_id
from labray.messages import Bounced, Done, ErrorInfo, Failed, Finished, Known, Ref, Remote, Stored, Value
from labray.node.cancels import cancelled
from labray.node.creations import DONE_CONSTRUCTING
from labray.node.mind import UNDECIDED
from labray.node.notes import note_sizes
from labray.node.records import refs_in
from labray.node.residents import Resident
from labray.node.shortage import OUT_OF_MEMORY
from labray.node.tasks import State, TaskRecord, pinned
from labray.scheduling import TaskFinished
from labray.telling import in_words

if TYPE_CHECKING:
    from labray.node.callers import OwnedActor
    from labray.node.node import Node


class Endings:
    """The other half of Custody: the same tasks, on their way out."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.desk = node.desk
        self.objects = node.objects
        self.custody = node.custody
        self.tasks = node.custody.tasks
        self.place = node.desk.place

    def finished(self, sender: ClientID, message: Finished) -> None:
        """A worker ended a task: its values go to the owner."""
        pool = self.node.pool
        worker = pool.workers.get(sender)
        task = worker.find(message.task) if worker is not None else None
        if worker is None or task is None:
            return  # it was stopped, or the task taken from it, while the message was under way
        seconds = message.ended - message.begun
        self.desk.note("ran", task.id, (sender, task.attempt, message.begun, message.ended, message.cpu))
        if self.desk.traced:
            note_sizes(self.desk, task.spec, message.values)
        for ref in message.kept:
            self.node.clients.give(self.node.clients.clients[sender], ref)
        if task.state is State.BLOCKED:  # it asks no more: an interrupt came between its question and its end
            self.node.clients.ended(sender, task.id)
        code = task.spec.function
        if code is not None and message.values and type(message.values[0]) is not Failed:
            worker.known[code.id] = None
        if task.fact is not None and TaskFinished in self.desk.interest:
            self.desk.events.append(TaskFinished(task.fact, seconds))
        pool.ended(worker, task, seconds)  # of its room the agent hears after its end
        if task.spec.kind == "actor":
            failed = type(message.values[0]) is Failed
            self.node.residents.constructed(worker, task.spec.lifetime, failed)
        values = message.values if task.cancelled is None else self.node.cancels.values(task, message.values)
        self._report(task, values, seconds, message.retry)
        if worker.actor is not None:
            self.node.residents.pump(worker.actor)

    def _report(
        self, task: TaskRecord, values: tuple[Value, ...], seconds: float, retry: bool = False
    ) -> None:
        if task.mine:
            for ref in [ref for value in values for ref in refs_in(value)]:
                self.objects.hold(ref)
            known = tuple([self._as_known(value) for value in values])
            locals_ = [value if type(value) is Stored else None for value in values]
            self._ended(task, known, retry, self.place, locals_)
            return
        owner = task.spec.owner
        values = tuple([self._stored(task, at, v) if type(v) is Stored else v for at, v in enumerate(values)])
        for value in values:
            self.objects.loans.lend(refs_in(value), owner)
        known = tuple([self._as_known(value) for value in values])
        if owner not in self.desk.dead:
            self.desk.send(owner, Done(task.id, task.attempt, known, retry, False, seconds))
        task.step(State.OVER)
        self.custody.forget(task)

    def _stored(self, task: TaskRecord, index: int, value: Stored) -> Stored:
        """A large result for another place lies here: this one, or what an attempt that was given up has left."""
        record = self.objects.ensure(Ref(result_id(task.id, index), task.spec.owner))
        if record.kept is not None:
            self.node.storage.unwanted(record.id, value)
            return record.kept
        for ref in value.refs:
            self.objects.hold(ref)
        self.objects.settle(record, self._as_known(value), value)
        return value

    def _as_known(self, value: Value) -> Known:
        return Remote(value.size, (self.place,), value.refs) if type(value) is Stored else value  # type: ignore[return-value]

    # ------------------------------------------------------------ the owner learns of an end

    def done(self, sender: Place, message: Done) -> None:
        task = self.tasks.get(message.task)
        for value in message.values:
            self.objects.loans.receive(refs_in(value), sender)
        if task is None or not task.mine or task.attempt != message.attempt:
            if message.values == (DONE_CONSTRUCTING,):
                self.node.callers.unwanted(result_id(message.task, 0), sender, message.attempt)
            # An attempt that was given up: its values are not wanted.
            for index, value in enumerate(message.values):
                for ref in refs_in(value):
                    self.objects.release(ref.id)
                if type(value) is Remote:
                    self.objects.copies.stray(result_id(message.task, index), sender)
            return
        if message.lost:
            error = message.values[0].error  # type: ignore[union-attr]
            self.lost(task, error.message, error)
        else:
            self._ended(task, message.values, message.retry, sender, (None,) * len(message.values))

    def _ended(
        self,
        task: TaskRecord,
        values: tuple[Known, ...],
        retry: bool,
        at: Place,
        locals_: Sequence[Stored | None],
    ) -> None:
        """The refs inside the values are already held."""
        if retry and self._may_retry(task):
            for ref in [ref for value in values for ref in refs_in(value)]:
                self.objects.release(ref.id)
            self.again(task)
            return
        spec = task.spec
        if spec.kind == "actor":
            self.node.creations.made(task, values, at)
            return
        ids = [result_id(spec.id, index) for index in range(spec.returns)]
        failed: Failed | None = None
        large = []
        for id, value in zip(ids, values, strict=False):
            if type(value) is Remote:
                large.append(id)
            elif type(value) is Failed:
                failed = failed or value
        if failed is None:
            self.desk.note("finished", task.id, task.attempt)
        else:
            self.desk.note("failed", task.id, failed.error.kind)
        task.step(State.OVER)
        del self.tasks[task.id]
        if large:
            self.node.lineage.remember(task, large)
        for id, value, local in zip(ids, values, locals_, strict=False):
            self._settle(id, value, local)
            self.objects.copies.settled(id)
        for ref in pinned(spec):
            self.objects.release(ref.id)

    def _settle(self, id: ObjectID, value: Known, local: Stored | None) -> None:
        """A result is there. Of a task that was run again for another result's sake, it may not be wanted."""
        record = self.objects.records.get(id)
        if record is not None and record.value is None:
            self.objects.settle(record, value, local)
            return
        for ref in refs_in(value):
            self.objects.release(ref.id)
        if type(value) is Remote:
            self.objects.copies.surplus(id, value.places[0], local)

    # ------------------------------------------------------------ losses and errors

    def lost(self, task: TaskRecord, why: str, error: ErrorInfo | None = None) -> None:
        """At the owner: the process or place that ran this attempt is gone."""
        if error is not None and error.kind == OUT_OF_MEMORY and task.cancelled is None:
            self.node.shortage.again_later(task)
            return
        if self._may_retry(task):
            self.again(task)
            return
        if task.cancelled is not None:
            error = cancelled(task)
        if error is None and task.spec.kind == "method":
            what = f"the call {task.id} ({task.spec.name})"
            text = f"{why[:1].upper()}{why[1:]}: {what} may or may not have run."
            self.node.callers.uncertain(task, ErrorInfo("actor_unavailable", text))
            return
        self.fail(
            task, error or ErrorInfo("worker_crashed", f"task {task.id} ({task.spec.name}) failed: {why}.")
        )

    def _may_retry(self, task: TaskRecord) -> bool:
        if task.cancelled is not None:
            return False
        return task.spec.retries < 0 or task.attempt - task.excused < task.spec.retries

    def again(self, task: TaskRecord) -> None:
        task.attempt += 1
        task.hops = 0
        task.at = task.via = None
        task.known = ()
        self.desk.note("retried", task.id, task.attempt)
        if task.spec.kind == "method":
            if task.state is not State.CALLING:
                task.step(State.CALLING)
            self.node.callers.call(task)
            return
        if task.state is not State.WAITING:
            task.step(State.WAITING)
        self.custody.await_deps(task)

    def fail(self, task: TaskRecord, error: ErrorInfo) -> None:
        """At the owner: the task ends in an error, for every one of its results."""
        values = _failures(task, error)
        if task.spec.kind == "actor":
            self.node.creations.made(task, values, self.place)
            return
        for ref in error.refs * task.spec.returns:
            self.objects.hold(ref)
        self._ended(task, values, False, self.place, (None,) * len(values))

    def end_with(self, task: TaskRecord, error: ErrorInfo) -> None:
        """Wherever the task is now, it ends in an error before it began."""
        if task.state in UNDECIDED:
            self.node.mind.withdraw(task)
        if task.spec.kind == "method":
            self.node.residents.withdraw(task)
        self._report(task, _failures(task, error), 0.0)

    def lost_call(self, task: TaskRecord, error: ErrorInfo) -> None:
        if task.mine:
            self.lost(task, error.message, error)
            return
        self.desk.send(task.spec.owner, Done(task.id, task.attempt, (Failed(error),), False, True))
        task.step(State.OVER)
        self.custody.forget(task)

    # ------------------------------------------------------------ what actors need of us

    def bounce(self, task: TaskRecord) -> None:
        """The actor is not here, and the call had not begun: back to whoever submitted it."""
        if task.cancelled is not None:
            self.end_with(task, cancelled(task))
            return
        if task.mine:
            self.node.callers.bounced(task)
            return
        self.desk.send(task.spec.owner, Bounced(task.id, task.attempt, task.hops))
        task.step(State.OVER)
        self.custody.forget(task)

    def carry(self, task: TaskRecord, to: Place) -> None:
        self.custody.carry(task, to)

    def recreate(self, actor: OwnedActor) -> None:
        self.again(actor.creation)

    def actor_gone(self, resident: Resident, error: ErrorInfo) -> None:
        self.node.creations.process_gone(resident, error)

    def constructor_gone(self, creation: TaskRecord) -> None:
        self.node.creations.constructor_gone(creation)

    def unname(self, name: str, actor: ObjectID) -> None:
        self.node.naming.buried(name, Ref(actor, self.place))

    def call_in(self, task: TaskRecord) -> bool:
        return self.node.fetching.call_in(task)

    def stop_here(self, id: ObjectID, attempt: int, error: ErrorInfo | None) -> None:
        self.node.residents.stop(id, attempt, error)

    def bounced(self, message: Bounced) -> None:
        task = self.tasks.get(message.task)
        if task is not None and task.mine and task.attempt == message.attempt and task.state is State.AWAY:
            task.at = None
            if task.cancelled is not None:
                self.fail(task, cancelled(task))
                return
            if task.spec.kind == "method":
                self.node.callers.bounced(task)
                return
            # never fewer: what was said of it before is then out of date
            task.hops = max(task.hops, message.hops)
            task.step(State.WAITING)
            self.custody.await_deps(task)


def _failures(task: TaskRecord, error: ErrorInfo) -> tuple[Failed, ...]:
    """The results. An actor's end is told in words, and so is one of a task without a result that could hold refs."""
    if task.spec.kind == "actor" or task.spec.returns == 0:
        error = in_words(error)
    return (Failed(error),) * max(task.spec.returns, 1)
