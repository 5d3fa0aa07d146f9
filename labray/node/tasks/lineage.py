"""How lost results come back: the tasks that made them are run again, from what their owner remembers.

A small value lives at its owner and is never lost alone. A large one lives in stores, so the owner remembers the
task that made it while the value, or the lineage of something made from it, is needed. Put values have no lineage.
(Wang et al., NSDI'21, section 4.3; there as here a re-run counts as a retry.)
"""

from __future__ import annotations

from collections.abc import Callable

from labray.ids import ObjectID, TaskID, creator
from labray.messages import ErrorInfo, Failed, Inline
from labray.node.actors.calling import ActorCalls
from labray.node.actors.lifecycle import ActorLifecycle
from labray.node.context.node_context import NodeContext
from labray.node.context.task_record import TaskRecord, pinned, retries_left
from labray.node.context.task_table import TaskTable
from labray.node.objects.directory import ObjectTable
from labray.node.objects.records import ObjectRecord


class Origin:
    """A task that ended. results: the large ones. users: those that live, and remembered tasks that were given one.

    held: its small arguments, kept so that it can run again. excused: how many of its attempts used up no retry.
    """

    __slots__ = ("attempt", "excused", "held", "results", "spec", "users")

    def __init__(self, task: TaskRecord, results: list[ObjectID]) -> None:
        self.spec = task.spec
        self.attempt = task.attempt
        self.excused = task.excused
        self.results = results
        self.users = len(results)
        self.held: list[ObjectID] = []


class Lineage:
    """The origins of large results owned here.

    run_again: has a task wait for its arguments, and then run. fail: ends one in an error.
    """

    def __init__(
        self, context: NodeContext, objects: ObjectTable, task_table: TaskTable,
        calls: ActorCalls, lifecycle: ActorLifecycle, run_again: Callable[[TaskRecord], None],
        fail: Callable[[TaskRecord, ErrorInfo], None],
    ) -> None:  # fmt: skip
        self.context = context
        self.objects = objects
        self.task_table = task_table
        self.calls = calls
        self.lifecycle = lifecycle
        self.run_again = run_again
        self.fail = fail
        self.origins: dict[TaskID, Origin] = {}

    def remember(self, task: TaskRecord, results: list[ObjectID]) -> None:
        """A task ended with large results, and its arguments have not been let go of yet."""
        spec = task.spec
        if spec.retries == 0:
            return
        known = self.origins.get(task.id)
        if known is not None:
            known.attempt, known.excused = task.attempt, task.excused
            return
        origin = self.origins[task.id] = Origin(task, results)
        for ref in dict.fromkeys(spec.deps):
            record = self.objects.records[ref.id]
            if type(record.value) is Inline:
                self.objects.hold(ref)
                origin.held.append(ref.id)
            elif (before := self._origin(ref.id)) is not None:
                before.users += 1

    def freed(self, id: ObjectID) -> None:
        """An object owned here is gone: so is the need to know where it came from."""
        if not self.origins:
            return
        made = self._origin(id)
        todo = [id] if made is not None and id in made.results else []
        while todo:
            task = creator(todo.pop())
            origin = self.origins.get(task)
            if origin is None:
                continue
            origin.users -= 1
            if origin.users == 0:
                del self.origins[task]
                for held in origin.held:
                    self.context.defer(self.objects.release, held)
                todo.extend(ref.id for ref in dict.fromkeys(origin.spec.deps) if ref.id not in origin.held)

    def rebuild(self, lost: ObjectRecord, error: ErrorInfo | None = None) -> None:
        """The only copy of an object owned here is gone: run its task again, and those before it that it needs.

        error: why it is gone, if that can be said better than that its place is lost.
        """
        started: list[TaskRecord] = []
        todo = [lost]
        while todo:
            record = todo.pop()
            task = self.task_table.tasks.get(creator(record.id))
            if task is not None:  # it is on its way already
                continue
            origin = self._origin(record.id)
            if origin is None or not retries_left(origin.spec, origin.attempt, origin.excused):
                why = ErrorInfo("object_lost", self._why(record.id, origin))
                self.objects.settle(record, Failed(error if error is not None and record is lost else why))
                continue
            started.append(self._again(origin, todo))
        for task in reversed(started):
            if task.spec.kind == "method":
                self.context.defer(
                    self._call_again, task
                )  # the actor may be lost too, which is seen to after this
            else:
                self.run_again(task)

    def _again(self, origin: Origin, todo: list[ObjectRecord]) -> TaskRecord:
        """Its arguments are held again; those that were let go of come back first."""
        spec = origin.spec
        origin.attempt += 1
        task = self.task_table.record(spec, mine=True, attempt=origin.attempt)
        task.excused = origin.excused
        self.context.note("retried", task.id, task.attempt)
        for ref in pinned(spec):
            if ref.id not in self.objects.records and ref.owner == self.context.place:
                record = self.objects.own(ref.id, holds=0)
                before = self._origin(ref.id)
                if before is None:
                    record.value = Failed(ErrorInfo("object_lost", self._unmakeable(ref.id, task)))
                else:
                    before.users += 1
                    todo.append(record)
            self.objects.hold(ref)
        return task

    def _origin(self, id: ObjectID) -> Origin | None:
        return self.origins.get(creator(id))

    def _call_again(self, task: TaskRecord) -> None:
        """A method, unless its actor is known to be dead. (If that is not known here, the call finds out.)"""
        actor = task.spec.actor
        assert actor is not None
        owned, seen = self.lifecycle.owned.get(actor.id), self.calls.known.get(actor.id)
        if actor.owner == self.context.place:
            gone = owned is None or owned.state == "dead"
        else:
            gone = actor.owner in self.context.dead or (seen is not None and seen.error is not None)
        if gone:
            text = f"a result of {task.spec.name} ({task.id}) is lost, and the actor that made it is gone."
            self.fail(task, ErrorInfo("object_lost", text))
        else:
            self.run_again(task)

    def _unmakeable(self, id: ObjectID, task: TaskRecord) -> str:
        return (
            f"a result of {task.spec.name} ({task.id}) is lost, and to make it again needs {id}, which was let go of "
            "and cannot be made again: it was put, or an actor made it that may not be called again."
        )

    def _why(self, id: ObjectID, origin: Origin | None) -> str:
        if origin is not None:
            return f"object {id} is lost, and its task has used up its {origin.spec.retries} retries."
        if creator(id) == "":
            return f"object {id} is lost with its only copy: put values cannot be recomputed."
        return (
            f"object {id} is lost with its only copy, and what made it may not run again "
            "(max_retries=0; of an actor's call: max_task_retries=0)."
        )
