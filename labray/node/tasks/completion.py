"""How tasks end at their owner: with values, with an error, or with a loss that starts them anew.

The owner accepts the values of the current attempt only, and submits a lost task again while its retry budget lasts.
What the node that had custody reports is in reporting.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from labray.ids import HEAD, NodeID, ObjectID, result_id
from labray.messages import ErrorInfo, Failed, KnownValue, Remote, Stored, TaskDone
from labray.messages.error_info import without_exception
from labray.node.actors.calling import ActorCalls
from labray.node.actors.lifecycle import DONE_CONSTRUCTING, ActorLifecycle
from labray.node.context.node_context import NodeContext
from labray.node.context.task_record import State, TaskRecord, pinned
from labray.node.context.task_table import TaskTable
from labray.node.objects.directory import ObjectTable
from labray.node.objects.locations import Locations
from labray.node.objects.records import refs_in
from labray.node.tasks.lineage import Lineage

OUT_OF_MEMORY = "out_of_memory"
AGAIN_S = 1.0
"""Until the first retry of a task whose process was ended for its memory; twice as long each time, since what was too
much is so for a while. Ray: the same."""
LONGEST_S = 60.0


class TaskCompletion:
    """Of the tasks that were submitted here. submit_again: has a task wait for its arguments, or go to its actor."""

    def __init__(
        self, context: NodeContext, objects: ObjectTable, locations: Locations, task_table: TaskTable,
        calls: ActorCalls, lifecycle: ActorLifecycle, lineage: Lineage, submit_again: Callable[[TaskRecord], None],
    ) -> None:  # fmt: skip
        self.context = context
        self.objects = objects
        self.locations = locations
        self.tasks = task_table.tasks
        self.calls = calls
        self.lifecycle = lifecycle
        self.lineage = lineage
        self.submit_again = submit_again
        self.place = context.place

    # ------------------------------------------------------------ it is told

    def done(self, sender: NodeID, message: TaskDone) -> None:
        """The place that had custody reports."""
        task = self.tasks.get(message.task)
        for value in message.values:
            self.objects.borrowing.receive(refs_in(value), sender)
        if task is None or not task.mine or task.attempt != message.attempt:
            self._unwanted(sender, message)
        elif message.lost:
            error = message.values[0].error  # type: ignore[union-attr]
            self.attempt_lost(task, error.message, error)
        else:
            self.ended(task, message.values, message.retry, sender, (None,) * len(message.values))

    def _unwanted(self, sender: NodeID, message: TaskDone) -> None:
        """An attempt that was given up has ended."""
        if message.values == (DONE_CONSTRUCTING,):
            self.lifecycle.unwanted(result_id(message.task, 0), sender, message.attempt)
        for index, value in enumerate(message.values):
            for ref in refs_in(value):
                self.objects.release(ref.id)
            if type(value) is Remote:
                self.locations.stray(result_id(message.task, index), sender)

    # ------------------------------------------------------------ it ends

    def ended(
        self,
        task: TaskRecord,
        values: tuple[KnownValue, ...],
        retry: bool,
        at: NodeID,
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
            self.lifecycle.made(task, values, at)
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
            self.context.note("finished", task.id, task.attempt)
        else:
            self.context.note("failed", task.id, failed.error.kind)
        task.step(State.OVER)
        del self.tasks[task.id]
        if large:
            self.lineage.remember(task, large)
        for id, value, local in zip(ids, values, locals_, strict=False):
            self._settle(id, value, local)
            self.locations.settled(id)
        for ref in pinned(spec):
            self.objects.release(ref.id)

    def _settle(self, id: ObjectID, value: KnownValue, local: Stored | None) -> None:
        """A result is there. Of a task that was run again for another result's sake, it may not be wanted."""
        record = self.objects.records.get(id)
        if record is not None and record.value is None:
            self.objects.settle(record, value, local)
            return
        for ref in refs_in(value):
            self.objects.release(ref.id)
        if type(value) is Remote:
            self.locations.surplus(id, value.places[0], local)

    def fail(self, task: TaskRecord, error: ErrorInfo) -> None:
        """The task ends in an error, for every one of its results."""
        values = failures(task, error)
        if task.spec.kind == "actor":
            self.lifecycle.made(task, values, self.place)
            return
        for ref in error.refs * task.spec.returns:
            self.objects.hold(ref)
        self.ended(task, values, False, self.place, (None,) * len(values))

    # ------------------------------------------------------------ it is lost, and starts anew

    def attempt_lost(self, task: TaskRecord, why: str, error: ErrorInfo | None = None) -> None:
        """The process or place that ran this attempt is gone."""
        if error is not None and error.kind == OUT_OF_MEMORY and task.cancelled is None:
            self._again_later(task)
            return
        if self._may_retry(task):
            self.again(task)
            return
        if task.cancelled is not None:
            error = cancelled(task)
        if error is None and task.spec.kind == "method":
            what = f"the call {task.id} ({task.spec.name})"
            text = f"{why[:1].upper()}{why[1:]}: {what} may or may not have run."
            self.calls.uncertain(task, ErrorInfo("actor_unavailable", text))
            return
        self.fail(
            task, error or ErrorInfo("worker_crashed", f"task {task.id} ({task.spec.name}) failed: {why}.")
        )

    def _may_retry(self, task: TaskRecord) -> bool:
        return task.cancelled is None and task.may_retry()

    def again(self, task: TaskRecord) -> None:
        task.attempt += 1
        task.hops = 0
        task.at = task.via = None
        task.known = ()
        self.context.note("retried", task.id, task.attempt)
        if task.spec.kind == "method":
            if task.state is not State.CALLING:
                task.step(State.CALLING)
            self.calls.call(task)
            return
        if task.state is not State.WAITING:
            task.step(State.WAITING)
        self.submit_again(task)

    def _again_later(self, task: TaskRecord) -> None:
        """Its process was ended for its memory: this uses up no retry, and is tried again in a while."""
        task.excused += 1
        task.at = task.via = None
        task.step(State.WAITING)
        delay = min(AGAIN_S * 2.0 ** (task.excused - 1), LONGEST_S)
        self.context.after(delay, partial(self._again_now, task, task.attempt))

    def _again_now(self, task: TaskRecord, attempt: int) -> None:
        if self.tasks.get(task.id) is task and task.attempt == attempt:
            self.again(task)

    # ------------------------------------------------------------ a place is gone

    def tasks_lost_with(self, lost: NodeID) -> None:
        """Those that were there or on their way start anew or fail; what was lost with a head uses up no retry."""
        for task in list(self.tasks.values()):
            if lost == HEAD and task.mine and HEAD in (task.at, task.via):  # where nothing runs
                task.excuse()
            if task.spec.kind == "task" and _was_there(task, lost):
                self.attempt_lost(task, f"its node {lost} is lost")

    def calls_lost_with(self, lost: NodeID) -> None:
        for task in list(self.tasks.values()):
            if task.spec.kind == "method" and _was_there(task, lost):
                self.attempt_lost(task, f"its node {lost} is lost")


def _was_there(task: TaskRecord, lost: NodeID) -> bool:
    return task.mine and task.state is State.FORWARDED and lost in (task.at, task.via)


def cancelled(task: TaskRecord) -> ErrorInfo:
    """What the results of a task that is cancelled end in."""
    return ErrorInfo("cancelled", f"task {task.id} ({task.spec.name}) was cancelled.")


def failures(task: TaskRecord, error: ErrorInfo) -> tuple[Failed, ...]:
    """The results. An actor's end is told in words, and so is one of a task without a result that could hold refs."""
    if task.spec.kind == "actor" or task.spec.returns == 0:
        error = without_exception(error)
    return (Failed(error),) * max(task.spec.returns, 1)
