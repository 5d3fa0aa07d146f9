"""What a task is sent to a worker with: the values of its arguments, which must be in memory when its turn comes."""

from __future__ import annotations

from collections.abc import Callable

from labray.ids import TaskID
from labray.messages import Demand, Inline, RunTask, Stored
from labray.node.context.task_record import State, TaskRecord, borrowed
from labray.node.objects.client_table import ClientTable
from labray.node.objects.directory import ObjectTable
from labray.node.store.node_store import NodeStore
from labray.node.workers.resources import Resources
from labray.node.workers.worker_record import WorkerRecord


class Staging:
    """Ready tasks whose turn has come when their arguments had left memory: they step aside until they are back.

    parked: those that were not sent for yet.
    """

    def __init__(self, store: NodeStore, objects: ObjectTable, resources: Resources) -> None:
        self.store = store
        self.objects = objects
        self.resources = resources
        self.parked: dict[TaskID, TaskRecord] = {}

    def complete(self, task: TaskRecord) -> bool:
        """Whether all arguments of a task that is about to be sent are in memory still, and none was lost."""
        if not self.store.any_left:
            return True
        records = self.objects.records
        return all(type(records[ref.id].here) in (Inline, Stored) for ref in borrowed(task))

    def stage(self, task: TaskRecord, shape: Demand) -> bool:
        """Whether the arguments of a ready task whose turn it is are in memory.

        If not, and there are resources to run it, it steps aside until they have been sent for and are here.
        """
        if self.complete(task):
            return True
        if self.resources.fits(shape):
            task.step(State.FETCHING)
            self.parked[task.id] = task
        return False


class RunMessages:
    """What a worker is told of a task. moves_in: a worker becomes an actor's process with this, its constructor."""

    def __init__(
        self, objects: ObjectTable, clients: ClientTable, moves_in: Callable[[TaskRecord, WorkerRecord], None]
    ) -> None:
        self.objects = objects
        self.clients = clients
        self.moves_in = moves_in

    def make(self, task: TaskRecord, worker: WorkerRecord) -> RunTask:
        spec = task.spec
        args: list[Inline | Stored] = []
        for index, ref in enumerate(spec.deps):
            known = task.known[index] if task.known else None
            if type(known) is Inline:
                args.append(known)
                continue
            value = self.objects.records[ref.id].here
            assert isinstance(value, (Inline, Stored)), f"{ref.id} is not here for {task!r}"
            if type(value) is Stored:
                self.clients.pin(self.clients.clients[worker.id], ref.id)
            args.append(value)
        code = None
        if spec.function is not None and spec.function.id not in worker.known:
            record = self.objects.records[spec.function.id]
            assert type(record.value) is Inline, f"the code of {spec.name} is not here"
            code = record.value.payload
        if spec.kind == "actor":
            self.moves_in(task, worker)
        return RunTask(spec, task.attempt, tuple(args), code)
