"""The memory of one node's store: what is in it, who has been promised some of it, and who waits for some.

Objects that come, go or find no use here change the account, and whatever may let a claim through marks the store
dirty. What is done about the claims that wait stands above (admission.py), and so does how objects leave memory
(spilling.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from labray.ids import ClientID, NodeID, ObjectID, result_id
from labray.messages import (
    INLINE_LIMIT_BYTES,
    Allocate,
    Effect,
    ErrorInfo,
    Finished,
    FreeBlock,
    Granted,
    PutObject,
    RestoreObject,
    Stored,
)
from labray.node.context.node_context import NodeContext
from labray.node.objects.records import ObjectRecord, size_of
from labray.node.store.accounting import StoreAccount
from labray.node.store.claims import Claim, larger_than_the_store


class NodeStore:
    """The state of a store. dirty: since all claims were looked at, something has changed for them.

    rooms: the claims of clients that want to write; fetches: those of the node for what it pulls or restores.
    spilling, restoring: what the world is at, with sizes; asked: copies whose owner was asked whether they may go.
    """

    def __init__(self, context: NodeContext, capacity: int | None) -> None:
        self.context = context
        self.place: NodeID = context.place
        self.account = StoreAccount(self.place, capacity)
        self.writers: dict[ClientID, None] = {}  # the clients that are there
        self.rooms: dict[tuple[ClientID, int], Claim] = {}
        self.fetches: dict[ObjectID, Claim] = {}
        self.spilling: dict[ObjectID, int] = {}
        self.asked: dict[ObjectID, int] = {}
        self.restoring: dict[ObjectID, int] = {}
        self.any_left = False  # has anything ever been sent out of memory
        self.dirty = False
        self.progress = 0.0  # when room last came free

    # ------------------------------------------------------------ objects come and go

    def stored(self, record: ObjectRecord) -> None:
        """A copy is in memory here."""
        assert record.local is not None
        self.account.stored(record.id, record.local)
        self.fetches.pop(record.id, None)
        self.mark_dirty()

    def removed(self, record: ObjectRecord, keep: bool) -> bool:
        """Its copy in memory goes; whether who wrote it may keep the pages for the next."""
        assert record.local is not None
        self.account.removed(record.id)
        if self.account.capacity is None:
            return True
        writer, size = record.local.block.writer, record.local.size
        if writer == self.place:
            keep = keep and self.account.free > self.account.capacity // 4
        else:
            keep = keep and not self.rooms and not self.fetches and writer in self.writers
            if keep:
                self.account.rest(writer, size)
        self.progress = self.context.now
        self.mark_dirty()
        return keep

    def unwanted(self, id: ObjectID, value: Stored) -> None:
        """A copy was made that has no use here."""
        self.account.withdraw(value.block.writer, id)
        self.context.do(FreeBlock(id, value, self.account.capacity is None))
        self.mark_dirty()

    def cancel_fetch(self, id: ObjectID) -> None:
        """Nobody here waits for it any more."""
        self.fetches.pop(id, None)
        self.asked.pop(id, None)
        self.account.withdraw(self.place, id)
        self.mark_dirty()

    def restore(self, record: ObjectRecord) -> None:
        """There is room for what lies on disk: the world reads it back."""
        assert record.spilled is not None
        record.pins += 1
        self.restoring[record.id] = record.spilled.size
        self.context.do(RestoreObject(record.id, record.spilled))

    def leaving(self) -> int:
        """Bytes on their way out."""
        return sum(self.spilling.values()) + sum(self.asked.values())

    def mark_dirty(self) -> None:
        if self.rooms or self.fetches or (self.account.capacity is not None and self.account.free < 0):
            self.dirty = True

    # ------------------------------------------------------------ claims

    def room(self, client: ClientID, x: Allocate) -> None:
        """A client wants to write."""
        account = self.account
        if account.capacity is None:
            self.context.send(client, Granted(x.request, x.most))
            return
        claim = Claim(x.id, x.size, x.more, x.most, self.context.now, client, x.request)
        if x.size > account.capacity:
            self.refuse_room(claim, larger_than_the_store(claim, self.place, account.capacity))
            return
        self.rooms[client, x.request] = claim
        self.dirty = True

    def refuse_room(self, claim: Claim, error: ErrorInfo) -> None:
        self.context.note("refused", claim.id, (claim.client, claim.size))
        self.context.send(claim.client, Granted(claim.request, 0, error))

    def unused(self, client: ClientID, id: ObjectID) -> None:
        self.account.rest(client, self.account.withdraw(client, id))
        self.mark_dirty()

    def abandoned(self, client: ClientID, request: int) -> None:
        self.rooms.pop((client, request), None)

    def joined(self, client: ClientID) -> None:
        self.writers[client] = None

    def drop_client(self, client: ClientID) -> None:
        """A client is gone."""
        self.writers.pop(client, None)
        self.account.drop_writer(client)
        for key in [key for key in self.rooms if key[0] == client]:
            del self.rooms[key]
        self.mark_dirty()

    def admit(self, record: ObjectRecord, size: int) -> bool:
        """Whether a copy of this size may come now. If not, `Locations.admitted` is called when it may."""
        if self.account.capacity is None:
            return True
        if record.id not in self.fetches:
            self.fetches[record.id] = Claim(record.id, size, size, size, self.context.now)
            self.dirty = True
        return False

    def is_short(self) -> bool:
        """Whether somebody waits for room."""
        return bool(self.rooms or self.fetches)

    def too_much(self, who: str, records: Iterable[ObjectRecord]) -> ErrorInfo | None:
        """Why these can never be in memory here together, if so: waiting for that would be in vain."""
        capacity = self.account.capacity
        if capacity is None:
            return None
        sizes = {
            record.id: size_of(record.kept or record.value) for record in records if record.value is not None
        }
        large = {id: size for id, size in sizes.items() if size > INLINE_LIMIT_BYTES}
        total = sum(large.values())
        if total <= capacity:
            return None
        text = (
            f"{self.place} cannot fetch what {who} needs at once: {len(large)} objects of {total} bytes together, and "
            f"its whole store has {capacity}. Use fewer at a time, or give the nodes more with "
            "init(object_store_memory=...)."
        )
        return ErrorInfo("store_full", text)


def left_behind(message: Any) -> list[Effect]:
    """What a client that is gone had put into the store."""
    match message:
        case Finished():
            ids = [result_id(message.task, index) for index in range(len(message.values))]
            return [FreeBlock(i, v) for i, v in zip(ids, message.values, strict=True) if type(v) is Stored]
        case PutObject(value=Stored() as stored):
            return [FreeBlock(message.id, stored)]
    return []
