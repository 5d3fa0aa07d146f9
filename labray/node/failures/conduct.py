"""What a client may say: looked at before anything is done, so that a client that miscounts harms nobody else.

Clients run anybody's code, with exceptions raised in it at any instruction. What one says is believed as far as the
node's own books bear it out. A worker that is wrong is ended alone, and its task hears why; of a driver, what is wrong
is refused, with a warning. (Whatever else raises in a node is a bug of ours.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from labray.ids import ClientID, ObjectID, result_id
from labray.messages import (
    NO_ANSWER,
    Allocate,
    DropRefs,
    Finished,
    Get,
    Pin,
    PutObject,
    RegisterName,
    StopWorker,
    SubmitTask,
    Unpin,
    Wait,
    WarnUser,
)
from labray.node.context.node_context import NodeContext
from labray.node.context.task_table import TaskTable
from labray.node.failures.losses import WorkerLosses
from labray.node.objects.client_table import ClientRecord
from labray.node.objects.directory import ObjectTable
from labray.node.store.node_store import NodeStore
from labray.node.workers.pool import WorkerPool


class ClientConduct:
    """complaint(client, message): what is wrong with it, in words; empty if nothing is."""

    def __init__(
        self,
        context: NodeContext,
        store: NodeStore,
        objects: ObjectTable,
        task_table: TaskTable,
        pool: WorkerPool,
        losses: WorkerLosses,
    ) -> None:
        self.context = context
        self.store = store
        self.objects = objects
        self.tasks = task_table.tasks
        self.pool = pool
        self.losses = losses
        self._judges: dict[type, Callable[[ClientRecord, Any], str]] = {
            SubmitTask: self._submit,
            Finished: self._finished,
            Get: self._get,
            Wait: self._wait,
            PutObject: self._put,
            DropRefs: lambda client, x: _more("drops", x.ids, client.given, "given"),
            Unpin: lambda client, x: _more("unpins", x.ids, client.pins, "pinned"),
            Pin: self._pin,
            Allocate: self._room,
            RegisterName: self._register,
        }

    def refuses(self, client: ClientRecord, message: Any) -> bool:
        """Whether this must not be done. Then whoever says such things has been seen to."""
        judge = self._judges.get(type(message))
        told = judge(client, message) if judge is not None else ""
        if told:
            self._see_to(client.id, f"{client.id} {told}")
        return bool(told)

    def _see_to(self, client: ClientID, told: str) -> None:
        worker = self.pool.workers.get(client)
        if worker is None:
            self.context.do(
                WarnUser(f"what the main program said was refused, and it may not be served well: {told}.")
            )
            return
        self.context.note("lost", client, told)
        self.context.do(StopWorker(client))
        self.losses.lose(worker, f"it was ended because it miscounted: {told}", None)

    # ------------------------------------------------------------ one by one

    def _submit(self, client: ClientRecord, x: SubmitTask) -> str:
        spec = x.spec
        if spec.owner != self.context.place:
            return f"submits {spec.id} as a task of {spec.owner}"
        if spec.id in self.tasks:
            return f"submits {spec.id} twice"
        if (spec.kind == "method") != (spec.actor is not None) or spec.returns < 0:
            return f"submits {spec.id}, which is no {spec.kind}"
        if any(amount < 0 for _, amount in (*spec.demand, *spec.lifetime)):
            return f"submits {spec.id}, which takes less than nothing"
        records = self.objects.records
        if records.keys().isdisjoint([result_id(spec.id, at) for at in range(spec.returns)]):
            return ""
        return "" if spec.actor_name else f"submits {spec.id}, whose results exist"

    def _finished(self, client: ClientRecord, x: Finished) -> str:
        worker = self.pool.workers.get(client.id)
        task = worker.find(x.task) if worker is not None else None
        if task is None:  # it was taken from it while this was under way
            return ""
        if len(x.values) != task.spec.returns:
            return f"finishes {x.task} with {len(x.values)} results instead of {task.spec.returns}"
        return ""

    def _get(self, client: ClientRecord, x: Get) -> str:
        return f"asks twice under {x.request}" if x.request in client.requests else ""

    def _wait(self, client: ClientRecord, x: Wait) -> str:
        if x.request in client.requests:
            return f"asks twice under {x.request}"
        if x.request != NO_ANSWER and not 0 < x.count <= len(x.refs):
            return f"waits for {x.count} of {len(x.refs)}"
        return ""

    def _put(self, client: ClientRecord, x: PutObject) -> str:
        return f"puts {x.id}, which exists" if x.id in self.objects.records else ""

    def _pin(self, client: ClientRecord, x: Pin) -> str:
        records = self.objects.records
        strange = [id for id in x.ids if id not in records]
        return f"views {strange[0]}, which does not exist" if strange else ""

    def _room(self, client: ClientRecord, x: Allocate) -> str:
        if (client.id, x.request) in self.store.rooms:
            return f"asks twice under {x.request}"
        return "" if 0 <= x.more <= x.most and x.size >= 0 else f"asks for {x.more} to {x.most} bytes"

    def _register(self, client: ClientRecord, x: RegisterName) -> str:
        if x.actor.owner != self.context.place:
            return f"names an actor of {x.actor.owner}"
        return f"names {x.actor.id}, which exists" if x.actor.id in self.objects.records else ""


def _more(does: str, ids: Iterable[tuple[ObjectID, int]], has: dict[ObjectID, int], was: str) -> str:
    said: dict[ObjectID, int] = {}
    for id, count in ids:
        said[id] = said.get(id, 0) + count
        if count < 1 or said[id] > has.get(id, 0):
            return f"{does} {id} more often than it was {was}"
    return ""
