"""All tasks on record at one node: those that were submitted here, and those of other places that it was assigned."""

from __future__ import annotations

from collections.abc import Callable

from labray.ids import ClientID, ObjectID, TaskID
from labray.messages import AskFinished, Inline, ReadyPositions, TaskSpec
from labray.node.context.node_context import NodeContext
from labray.node.context.task_record import TaskRecord


class TaskTable:
    """By id. release: lets go of an object that a task held.

    watch is called with the next task that comes, unless somebody looks out already (watched).
    """

    def __init__(
        self,
        context: NodeContext,
        release: Callable[[ObjectID], None],
        watch: Callable[[], None],
        watched: bool,
    ) -> None:
        self.context = context
        self.release = release
        self.watch = watch
        self.watched = watched
        self.tasks: dict[TaskID, TaskRecord] = {}
        self.seq = 0

    def record(self, spec: TaskSpec, mine: bool, attempt: int = 0, hops: int = 0) -> TaskRecord:
        self.seq += 1
        if not self.watched:
            self.watch()
        task = self.tasks[spec.id] = TaskRecord(spec, self.seq, mine, attempt, hops)
        return task

    def drop(self, task: TaskRecord) -> None:
        """Let go of all that a task of another place held here."""
        if self.tasks.get(task.id) is task:
            del self.tasks[task.id]
        for ref, value in zip(task.spec.deps, task.known or (None,) * len(task.spec.deps), strict=True):
            if type(value) is Inline:
                for inner in value.payload.refs:
                    self.release(inner.id)
            else:
                self.release(ref.id)
        for ref in task.spec.args.refs:
            self.release(ref.id)

    def outstanding(self, sender: ClientID, x: AskFinished) -> None:
        """A client asks which of these, submitted here, have ended."""
        ended = tuple(at for at, task in enumerate(x.tasks) if task not in self.tasks)
        self.context.send(sender, ReadyPositions(x.request, ended))
