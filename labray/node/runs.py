"""What a worker is told of a task that it is to run: the values of its arguments, and code that it has not had yet."""

from __future__ import annotations

from collections.abc import Callable

from labray.messages import Inline, Run, Stored
from labray.node.objects import ObjectTable
from labray.node.requests import Desks
from labray.node.tasks import TaskRecord
from labray.node.worker import Worker


class Runs:
    """moves_in: a worker becomes an actor's process with this, its constructor."""

    def __init__(
        self, objects: ObjectTable, clients: Desks, moves_in: Callable[[TaskRecord, Worker], None]
    ) -> None:
        self.objects = objects
        self.clients = clients
        self.moves_in = moves_in

    def make(self, task: TaskRecord, worker: Worker) -> Run:
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
        return Run(spec, task.attempt, tuple(args), code)
