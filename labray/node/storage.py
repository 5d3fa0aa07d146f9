"""Who may write into this node's store, and who must wait: claims on its memory, and the room that is made for them.

A client asks before its memory grows (`Room`); the node itself claims room for what it pulls or restores. A claim
that does not fit makes others give way: first memory that lies idle, then objects that nobody here uses, the least
recently used first (spills.py). What is in use is never touched. A claim for which nothing more happens is refused
after a while, with the sizes: it is never a hang.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from labray.ids import ClientID, ObjectID, result_id
from labray.messages import Block, Effect, ErrorInfo, Finished, Free, Granted, Put, Room, Stored, Trim
from labray.node.account import Account
from labray.node.claims import FETCH, Claim, Order, describe, needed, refusal, too_much
from labray.node.records import ObjectRecord
from labray.node.spills import Spills

if TYPE_CHECKING:
    from labray.node.node import Node

PATIENCE_S = 2.0  # as Ray's oom_grace_period_s: uses end, and what they pinned can go
DISK_PATIENCE_S = 30.0  # for a disk that has been given something to do


class Storage:
    """The memory of one node's store. stirred: since all claims were looked at, something has changed for them."""

    def __init__(self, node: Node, capacity: int | None) -> None:
        self.node = node
        self.desk = node.desk
        self.place = node.desk.place
        self.account = Account(self.place, capacity)
        self.spills = Spills(self)
        self.rooms: dict[tuple[ClientID, int], Claim] = {}
        self.fetches: dict[ObjectID, Claim] = {}
        self.stirred = False
        self.progress = 0.0  # when room last came free
        self.alarmed = False

    # ------------------------------------------------------------ what changes the account

    def stored(self, record: ObjectRecord) -> None:
        """A copy is in memory here."""
        assert record.local is not None
        self.account.stored(record.id, record.local)
        self.fetches.pop(record.id, None)
        self.stir()

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
            keep = keep and not self.rooms and not self.fetches and writer in self.node.clients.clients
            if keep:
                self.account.rest(writer, size)
        self.progress = self.desk.now
        self.stir()
        return keep

    def written_by(self, writer: ClientID) -> list[Block]:
        """The blocks in memory that a client has written."""
        values = [self.node.objects.records[id].local for id in self.account.held]
        return [value.block for value in values if value is not None and value.block.writer == writer]

    def unwanted(self, id: ObjectID, value: Stored) -> None:
        """A copy was made that has no use here."""
        self.account.withdraw(value.block.writer, id)
        self.desk.do(Free(id, value, self.account.capacity is None))
        self.stir()

    def forget(self, id: ObjectID) -> None:
        """Nobody here waits for it any more."""
        self.fetches.pop(id, None)
        self.spills.asked.pop(id, None)
        self.account.withdraw(self.place, id)
        self.stir()

    def stir(self) -> None:
        if self.rooms or self.fetches or (self.account.capacity is not None and self.account.free < 0):
            self.stirred = True

    # ------------------------------------------------------------ claims

    def asked(self, client: ClientID, x: Room) -> None:
        """A client wants to write."""
        account = self.account
        if account.capacity is None:
            self.desk.send(client, Granted(x.request, x.most))
            return
        claim = Claim(x.id, x.size, x.more, x.most, self.desk.now, client, x.request)
        if x.size > account.capacity:
            self._refuse_room(claim, refusal(self.node, claim, None))
            return
        self.rooms[client, x.request] = claim
        self.stirred = True

    def unused(self, client: ClientID, id: ObjectID) -> None:
        self.account.rest(client, self.account.withdraw(client, id))
        self.stir()

    def abandoned(self, client: ClientID, request: int) -> None:
        self.rooms.pop((client, request), None)

    def left(self, client: ClientID) -> None:
        """A client is gone."""
        self.account.left(client)
        for key in [key for key in self.rooms if key[0] == client]:
            del self.rooms[key]
        self.stir()

    def admit(self, record: ObjectRecord, size: int) -> bool:
        """Whether a copy of this size may come now. If not, `Copies.admitted` is called when it may."""
        if self.account.capacity is None:
            return True
        if record.id not in self.fetches:
            self.fetches[record.id] = Claim(record.id, size, size, size, self.desk.now)
            self.stirred = True
        return False

    # ------------------------------------------------------------ serving them

    def serve(self) -> None:
        """Grant what fits, make room for what does not, refuse what has waited in vain."""
        self.stirred = False
        account = self.account
        if account.capacity is None:
            return
        order = needed(self.node) if self.rooms or self.fetches or account.free < 0 else {}
        claim = self._grant_what_fits(order)
        if claim is None:
            if account.free < 0:
                self._make_room(0, FETCH, order, "")
        elif self._make_room(claim.more, claim.order(order), order, claim.client):
            self.stirred = True
        else:
            self._refuse_if_hopeless(claim)

    def _grant_what_fits(self, order: dict[ObjectID, Order]) -> Claim | None:
        """In order: what running tasks write, then what is fetched. The first that does not fit, if any."""
        first: Claim | None = None
        for claim in list(self.rooms.values()):
            if self.account.free >= claim.more:
                self._grant_room(claim)
                continue
            first = first or claim
            if self.desk.now - claim.since > PATIENCE_S / 2:  # it has been passed by for long enough
                return first
        for claim in sorted(self.fetches.values(), key=lambda claim: claim.order(order)):
            if self.account.free < claim.more:
                return first or claim
            self._grant_fetch(claim)
        return first

    def _grant_room(self, claim: Claim) -> None:
        del self.rooms[claim.client, claim.request]
        room = claim.most if self.account.free >= claim.most else claim.more
        self.account.promise(claim.client, claim.id, room)
        self.desk.send(claim.client, Granted(claim.request, room))

    def _grant_fetch(self, claim: Claim) -> None:
        del self.fetches[claim.id]
        record = self.node.objects.records.get(claim.id)
        if record is not None and self.node.objects.copies.admitted(record):
            self.account.promise(self.place, claim.id, claim.size)

    def _make_room(self, size: int, mine: Order, order: dict[ObjectID, Order], client: str) -> bool:
        """Have others give way until so much is free, or will be; whether it is already."""
        account, spills = self.account, self.spills
        if self._trim(size, client):
            return True
        for record in spills.victims(mine, order):
            if account.free + spills.leaving() >= size:
                break
            spills.evict(record)
        return account.free >= size

    def _trim(self, size: int, client: str) -> bool:
        """Take idle memory back until so much is free; last from who asks, whose holes were too small for it."""
        account = self.account
        for writer in sorted(account.idle, key=lambda writer: (writer == client, writer)):
            if account.free >= size:
                break
            account.rest(writer, -account.idle[writer])
            self.desk.send(writer, Trim())
        return account.free >= size

    def _refuse_if_hopeless(self, claim: Claim) -> None:
        """The first in line. If it goes, the next is looked at."""
        waited = self.desk.now - max(claim.since, self.progress)
        assert self.account.capacity is not None
        if claim.size <= self.account.capacity and self._may_hope(claim, waited):
            self.node.residents.call_back()
            if not self.alarmed:
                self.alarmed = True
                self.desk.after(max(PATIENCE_S / 2, waited), self._look_again)
            return
        self.stirred = True
        error = refusal(self.node, claim, self.spills.trouble)
        if claim.client:
            del self.rooms[claim.client, claim.request]
            self._refuse_room(claim, error)
        else:
            del self.fetches[claim.id]
            self.node.objects.deny(claim.id, error)

    def _may_hope(self, claim: Claim, waited: float) -> bool:
        if self.spills.leaving() or self.spills.restoring:
            return waited < DISK_PATIENCE_S
        if waited < PATIENCE_S:
            return True
        workers = self.node.pool.workers.values()
        # what runs will end and let go; but who runs and wants to write is not put off for ever
        return not claim.client and any(worker.running and not worker.blocked for worker in workers)

    def is_short(self) -> bool:
        """Whether somebody waits for room."""
        return bool(self.rooms or self.fetches)

    def _refuse_room(self, claim: Claim, error: ErrorInfo) -> None:
        self.desk.note("refused", claim.id, (claim.client, claim.size))
        self.desk.send(claim.client, Granted(claim.request, 0, error))

    def _look_again(self) -> None:
        self.alarmed = False
        self.stirred = True

    def too_much(self, who: str, records: Iterable[ObjectRecord]) -> ErrorInfo | None:
        """Why these can never be in memory here together, if so."""
        return too_much(self.node, who, records)

    def describe(self) -> str:
        """What is in the store, in words."""
        return describe(self.node)


def left_behind(message: Any) -> list[Effect]:
    """What a client that is gone had put into the store."""
    match message:
        case Finished():
            ids = [result_id(message.task, index) for index in range(len(message.values))]
            return [Free(i, v) for i, v in zip(ids, message.values, strict=True) if type(v) is Stored]
        case Put(value=Stored() as stored):
            return [Free(message.id, stored)]
    return []
