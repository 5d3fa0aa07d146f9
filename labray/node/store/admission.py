"""Who may write into this node's store, and who must wait: claims on its memory, and the room that is made for them.

A client asks before its memory grows (`Room`); the node itself claims room for what it pulls or restores. A claim
that does not fit makes others give way: first memory that lies idle, then objects that nobody here uses, the least
recently used first (spilling.py). What is in use is never touched. A claim for which nothing more happens is refused
after a while, with the sizes: it is never a hang.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from labray.ids import ObjectID
from labray.messages import Get, Granted, TrimMemory
from labray.node.context.node_context import NodeContext
from labray.node.context.task_record import State, TaskRecord
from labray.node.objects.client_table import ClientTable
from labray.node.objects.directory import ObjectTable
from labray.node.objects.locations import Locations
from labray.node.store.claims import FETCH, Claim, Order, larger_than_the_store, no_room
from labray.node.store.node_store import NodeStore
from labray.node.store.spilling import Spilling

PATIENCE_S = 2.0  # as Ray's oom_grace_period_s: uses end, and what they pinned can go
DISK_PATIENCE_S = 30.0  # for a disk that has been given something to do


class Admission:
    """Serves the claims of a store whenever the store is dirty.

    tasks: all on record here. who_waits_for: the tasks that go on when an object is here. recall_calls: has calls that
    have not begun let go of their arguments. is_running: whether any task here will end without more being done.
    """

    def __init__(
        self,
        context: NodeContext,
        store: NodeStore,
        spilling: Spilling,
        objects: ObjectTable,
        locations: Locations,
        clients: ClientTable,
        tasks: Callable[[], Iterable[TaskRecord]],
        who_waits_for: Callable[[ObjectID], list[TaskRecord]],
        recall_calls: Callable[[], None],
        is_running: Callable[[], bool],
    ) -> None:
        self.context = context
        self.store = store
        self.account = store.account
        self.spilling = spilling
        self.objects = objects
        self.locations = locations
        self.clients = clients
        self.tasks = tasks
        self.who_waits_for = who_waits_for
        self.recall_calls = recall_calls
        self.is_running = is_running
        self.alarmed = False

    # ------------------------------------------------------------ granting

    def serve(self) -> None:
        """Grant what fits, make room for what does not, refuse what has waited in vain."""
        store, account = self.store, self.account
        store.dirty = False
        if account.capacity is None:
            return
        order = self._needed() if store.rooms or store.fetches or account.free < 0 else {}
        claim = self._grant_what_fits(order)
        if claim is None:
            if account.free < 0:
                self._make_room(0, FETCH, order, "")
        elif self._make_room(claim.more, claim.order(order), order, claim.client):
            store.dirty = True
        else:
            self._refuse_if_hopeless(claim)

    def _needed(self) -> dict[ObjectID, Order]:
        """What open gets and the arguments of tasks that are being fetched need here together, and in which order."""
        order: dict[ObjectID, Order] = {}
        records, store = self.objects.records, self.store
        for client in self.clients.clients.values():
            for request in client.requests.values():
                if type(request.message) is Get:
                    ids = [ref.id for ref in request.message.refs]
                    waits = any(id in records and records[id].value is None for id in ids)
                    # what does not exist yet may need this memory to be made
                    _need(order, ids, (3 if waits else 1, request.order))
        coming = (*store.fetches, *store.restoring, *self.account.promised.get(store.place, ()))
        for id in coming:
            for task in self.who_waits_for(id):
                _need(order, [ref.id for ref in task.spec.deps], (2, task.seq))
        return order

    def _grant_what_fits(self, order: dict[ObjectID, Order]) -> Claim | None:
        """In order: what running tasks write, then what is fetched. The first that does not fit, if any."""
        first: Claim | None = None
        for claim in list(self.store.rooms.values()):
            if self.account.free >= claim.more:
                self._grant_room(claim)
                continue
            first = first or claim
            if self.context.now - claim.since > PATIENCE_S / 2:  # it has been passed by for long enough
                return first
        for claim in sorted(self.store.fetches.values(), key=lambda claim: claim.order(order)):
            if self.account.free < claim.more:
                return first or claim
            self._grant_fetch(claim)
        return first

    def _grant_room(self, claim: Claim) -> None:
        del self.store.rooms[claim.client, claim.request]
        room = claim.most if self.account.free >= claim.most else claim.more
        self.account.promise(claim.client, claim.id, room)
        self.context.send(claim.client, Granted(claim.request, room))

    def _grant_fetch(self, claim: Claim) -> None:
        del self.store.fetches[claim.id]
        record = self.objects.records.get(claim.id)
        if record is not None and self.locations.admitted(record):
            self.account.promise(self.store.place, claim.id, claim.size)

    # ------------------------------------------------------------ making room

    def _make_room(self, size: int, mine: Order, order: dict[ObjectID, Order], client: str) -> bool:
        """Have others give way until so much is free, or will be; whether it is already."""
        account = self.account
        if self._trim(size, client):
            return True
        for record in self.spilling.victims(mine, order):
            if account.free + self.store.leaving() >= size:
                break
            self.spilling.evict(record)
        return account.free >= size

    def _trim(self, size: int, client: str) -> bool:
        """Take idle memory back until so much is free; last from who asks, whose holes were too small for it."""
        account = self.account
        for writer in sorted(account.idle, key=lambda writer: (writer == client, writer)):
            if account.free >= size:
                break
            account.rest(writer, -account.idle[writer])
            self.context.send(writer, TrimMemory())
        return account.free >= size

    # ------------------------------------------------------------ refusing

    def _refuse_if_hopeless(self, claim: Claim) -> None:
        """The first in line. If it goes, the next is looked at."""
        store = self.store
        waited = self.context.now - max(claim.since, store.progress)
        capacity = self.account.capacity
        assert capacity is not None
        if claim.size <= capacity and self._may_hope(claim, waited):
            self.recall_calls()
            if not self.alarmed:
                self.alarmed = True
                self.context.after(max(PATIENCE_S / 2, waited), self._look_again)
            return
        store.dirty = True
        if claim.size > capacity:
            error = larger_than_the_store(claim, store.place, capacity)
        else:
            error = no_room(claim, store.place, self.describe(), self.spilling.trouble)
        if claim.client:
            del store.rooms[claim.client, claim.request]
            store.refuse_room(claim, error)
        else:
            del store.fetches[claim.id]
            self.objects.deny(claim.id, error)

    def _may_hope(self, claim: Claim, waited: float) -> bool:
        if self.store.leaving() or self.store.restoring:
            return waited < DISK_PATIENCE_S
        if waited < PATIENCE_S:
            return True
        # what runs will end and let go; but who runs and wants to write is not put off for ever
        return not claim.client and self.is_running()

    def _look_again(self) -> None:
        self.alarmed = False
        self.store.dirty = True

    # ------------------------------------------------------------ in words

    def describe(self) -> str:
        """The store in a sentence or two: capacity, used, pinned, and the largest objects with who holds them."""
        account, records = self.account, self.objects.records
        pinned = sum(size for id, size in account.held.items() if records[id].pins)
        about = f"{account.promised_total} promised"
        largest = [f"{id} ({size} bytes, {self._holders(id)})" for id, size in account.largest(3)]
        return (
            f"the store of {account.place} has a capacity of {account.capacity} bytes, of which {account.used} are "
            f"used, {pinned} of them in use by processes, and {about}. Largest: {', '.join(largest) or 'none'}."
        )

    def _holders(self, id: ObjectID) -> str:
        clients = self.clients.clients.values()
        readers = [client.id for client in clients if id in client.pins]
        if readers:
            return f"read by {', '.join(readers[:3])}"
        holders: list[str] = [client.id for client in clients if id in client.given]
        waiting = any(
            task.state is not State.OVER and any(ref.id == id for ref in task.spec.deps)
            for task in self.tasks()
        )
        return f"held by {', '.join([*holders[:3], *(['tasks'] if waiting else [])]) or 'other objects'}"


def _need(order: dict[ObjectID, Order], ids: list[ObjectID], mine: Order) -> None:
    for id in ids:
        order[id] = min(mine, order.get(id, mine))
