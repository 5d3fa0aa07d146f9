"""What clients hold, and what they wait for: the other side of get, wait, DropRefs and Unpin."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from labray.ids import ClientID, ObjectID, TaskID
from labray.messages import (
    NO_ANSWER,
    DropRefs,
    Failed,
    Get,
    Inline,
    Pin,
    PutObject,
    ReadyPositions,
    Ref,
    Remote,
    Stored,
    Unpin,
    Value,
    Values,
    Wait,
)
from labray.node.context.node_context import NodeContext
from labray.node.context.task_record import BY_GUESS
from labray.node.objects.directory import ObjectTable
from labray.node.objects.records import ObjectRecord, size_of
from labray.node.store.node_store import NodeStore


class OpenRequest:
    """One get or wait that could not be answered at once. blocks: a task is BLOCKED meanwhile. order: of all, here."""

    __slots__ = ("blocks", "client", "message", "missing", "order", "since")

    def __init__(self, client: ClientRecord, message: Get | Wait, since: float, order: int) -> None:
        self.client = client
        self.message = message
        self.order = order
        self.since = since
        self.missing = 0
        self.blocks = False


class ClientRecord:
    """A driver or worker. given: how often each object was given to it; pins: views it may have on stored ones."""

    __slots__ = ("given", "id", "pins", "requests")

    def __init__(self, id: ClientID) -> None:
        self.id = id
        self.given: dict[ObjectID, int] = {}
        self.pins: dict[ObjectID, int] = {}
        self.requests: dict[int, OpenRequest] = {}


class ClientTable:
    """All clients of a node and their open requests.

    block is called with a request when it makes its client's task wait, unblock with both when that is over; left when
    the client is gone, and has let go of all that it held.
    """

    def __init__(
        self,
        context: NodeContext,
        store: NodeStore,
        objects: ObjectTable,
        block: Callable[[OpenRequest], bool],
        unblock: Callable[[ClientID, TaskID], None],
        client_left: Callable[[ClientID], None],
    ) -> None:
        self.context = context
        self.store = store
        self.objects = objects
        self.clients: dict[ClientID, ClientRecord] = {}
        self.block = block
        self.unblock = unblock
        self.client_left = client_left
        self.opened = BY_GUESS

    def join(self, id: ClientID) -> None:
        self.clients[id] = ClientRecord(id)
        self.store.joined(id)

    def leave(self, id: ClientID) -> None:
        """A client is gone, and with it its requests, views and handles."""
        client = self.clients.pop(id, None)
        if client is None:
            return
        requests = list(client.requests.values())
        client.requests.clear()
        for request in requests:
            self._wait_no_more(request)
        self.store.drop_client(id)
        for object_id, count in client.pins.items():
            self.objects.unpin(object_id, count)
        for object_id, count in client.given.items():
            self.objects.release(object_id, count)
        self.client_left(id)

    # ------------------------------------------------------------ what it holds

    def give(self, client: ClientRecord, ref: Ref) -> None:
        self.objects.hold(ref)
        client.given[ref.id] = client.given.get(ref.id, 0) + 1

    def put(self, id: ClientID, message: PutObject) -> None:
        """A function is held once more, for ever."""
        value = message.value
        record = self.objects.own(message.id, holds=2 if message.function else 1)
        self.clients[id].given[message.id] = 1
        refs = value.payload.refs if type(value) is Inline else value.refs  # type: ignore[union-attr]
        for ref in refs:
            self.objects.hold(ref)
        if type(value) is Stored:
            self.context.note("put", message.id, (message.parent, value.size))
            self.objects.settle(record, Remote(value.size, (self.context.place,), refs), value)
        else:
            # How large pickled code is depends on whether it was compiled now or read from a cache: not the trace's.
            size = 0 if message.function else size_of(value)
            self.context.note("put", message.id, (message.parent, size))
            self.objects.settle(record, value)  # type: ignore[arg-type]

    def drop(self, id: ClientID, message: DropRefs) -> None:
        client = self.clients[id]
        for object_id, count in message.ids:
            left = client.given.pop(object_id, 0) - count
            assert left >= 0, f"{id} drops {object_id} more often than it was given"
            if left:
                client.given[object_id] = left
            self.objects.release(object_id, count)

    def pin(self, client: ClientRecord, id: ObjectID) -> None:
        self.objects.records[id].pins += 1
        client.pins[id] = client.pins.get(id, 0) + 1
        self.store.account.touched(id)

    def pinned(self, id: ClientID, message: Pin) -> None:
        """It views these unasked. It has a handle of each, so there is a record; the block may have moved meanwhile."""
        for object_id in message.ids:
            self.pin(self.clients[id], object_id)

    def unpinned(self, id: ClientID, message: Unpin) -> None:
        self.unpin(id, message.ids)

    def unpin(self, id: ClientID, ids: Iterable[tuple[ObjectID, int]]) -> None:
        client = self.clients[id]
        for object_id, count in ids:
            left = client.pins.pop(object_id, 0) - count
            assert left >= 0, f"{id} unpins {object_id} more often than it was pinned"
            if left:
                client.pins[object_id] = left
            self.objects.unpin(object_id, count)

    # ------------------------------------------------------------ get

    def get(self, id: ClientID, message: Get) -> None:
        client = self.clients[id]
        objects = self.objects
        records = [objects.ensure(ref) for ref in message.refs]
        values = [record.here for record in records]
        if None not in values or any(type(value) is Failed for value in values):
            self._note(client, message, self.context.now)
            self._answer(client, message.request, records)
            return
        if message.poll:
            for record in records:
                objects.send_for(record)
            self.context.send(id, Values(message.request, ()))
            return
        self._fetch(self._open(client, message), records)

    def _fetch(self, request: OpenRequest, records: list[ObjectRecord]) -> None:
        if (error := self.store.too_much(request.client.id, records)) is not None:
            self._close(request)
            self.context.send(request.client.id, Values(request.message.request, (Failed(error),)))
            return
        for record in dict.fromkeys(records):
            if not self.objects.when_local(record, self._came, request):
                request.missing += 1

    def _came(self, request: OpenRequest, record: ObjectRecord) -> None:
        """One of the objects of a get can be read here now."""
        request.missing -= 1
        message = request.message
        if request.client.requests.get(message.request) is not request:
            return
        if request.missing and type(record.value) is not Failed:
            return
        records = [self.objects.records[ref.id] for ref in message.refs]
        if request.missing == 0 and any(record.here is None for record in records):
            self._fetch(request, records)  # one has had to make way meanwhile
            return
        self._close(request)
        self._note(request.client, message, request.since)
        self._answer(request.client, message.request, records)

    def _answer(self, client: ClientRecord, request: int, records: list[ObjectRecord]) -> None:
        values: list[Value] = []
        for record in records:
            value = record.here
            if type(value) is Failed:
                for ref in value.error.refs:
                    self.give(client, ref)
                self.context.send(client.id, Values(request, (value,)))
                return
            if value is not None:
                values.append(value)
        for record, value in zip(records, values, strict=True):
            if type(value) is Inline:
                refs = value.payload.refs
            else:
                self.pin(client, record.id)
                refs = record.refs()
            for ref in refs:
                self.give(client, ref)
        self.context.send(client.id, Values(request, tuple(values)))

    # ------------------------------------------------------------ wait

    def wait(self, id: ClientID, message: Wait) -> None:
        client = self.clients[id]
        if message.request == NO_ANSWER:
            self._note(client, message, self.context.now)
            return
        records = [self.objects.ensure(ref) for ref in message.refs]
        there = sum(record.value is not None for record in records)
        if there >= message.count or message.poll:
            if message.poll:
                for record in records:
                    if record.value is None:
                        self.objects.watch(record)
            if there >= message.count:
                self._note(client, message, self.context.now)
            self._tell_ready(client, message, records)
            return
        self._await(self._open(client, message), records, there)

    def _await(self, request: OpenRequest, records: list[ObjectRecord], there: int) -> None:
        message = request.message
        assert isinstance(message, Wait)
        request.missing = message.count - there
        for record in records:
            self.objects.when_exists(record, self._appeared, request)

    def _appeared(self, request: OpenRequest, record: ObjectRecord) -> None:
        request.missing -= 1
        message = request.message
        if request.missing or request.client.requests.get(message.request) is not request:
            return
        assert isinstance(message, Wait)
        records = [self.objects.records[ref.id] for ref in message.refs]
        there = sum(record.value is not None for record in records)
        if there < message.count:  # one was lost again while the others came
            self._wait_no_more(request)
            self._await(request, records, there)
            return
        self._close(request)
        self._note(request.client, message, request.since)
        self._tell_ready(request.client, message, records)

    def _tell_ready(self, client: ClientRecord, message: Wait, records: list[ObjectRecord]) -> None:
        positions = tuple(i for i, record in enumerate(records) if record.value is not None)
        self.context.send(client.id, ReadyPositions(message.request, positions))

    # ------------------------------------------------------------ both

    def _note(self, client: ClientRecord, message: Get | Wait, since: float, what: str = "waited") -> None:
        """What a program waited for is what a replay must wait for."""
        count = message.count if type(message) is Wait else len(message.refs)
        self.context.note(what, client.id, (since, count, tuple([ref.id for ref in message.refs])))

    def abandon(self, id: ClientID, number: int) -> None:
        self.store.abandoned(id, number)
        request = self.clients[id].requests.get(number)
        if request is not None:
            self._close(request)
            self._note(request.client, request.message, request.since, "gave_up")

    def ended(self, id: ClientID, task: TaskID) -> None:
        """What this task still asks for, it does not wait for any more."""
        for request in list(self.clients[id].requests.values()):
            if request.message.task == task:
                self.abandon(id, request.message.request)

    def _open(self, client: ClientRecord, message: Get | Wait) -> OpenRequest:
        self.opened += 1
        request = OpenRequest(client, message, self.context.now, self.opened)
        client.requests[message.request] = request
        request.blocks = message.task is not None and self.block(request)
        return request

    def _close(self, request: OpenRequest) -> None:
        del request.client.requests[request.message.request]
        if request.blocks and request.message.task is not None:
            self.unblock(request.client.id, request.message.task)
        if request.missing or type(request.message) is Wait:
            self._wait_no_more(request)

    def _wait_no_more(self, request: OpenRequest) -> None:
        """For what has not come: a program that polls would otherwise pile up its questions there."""
        for ref in request.message.refs:
            record = self.objects.records.get(ref.id)
            if record is not None and (record.on_exist or record.on_local):
                record.wait_no_more(request)
