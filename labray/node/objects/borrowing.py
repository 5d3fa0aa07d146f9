"""Refs on their way between places: who has borrowed what, and from whom it came.

Loans are counted at both ends, by borrower and by who passed the ref on. If that place is lost, the owner may have
heard of a loan that never came, or not of one that did. So the owner forgets what a lost place has passed on; whoever
has such a loan takes it as one of its own; and what a lost place may have had is not let go of before every living
place knows of the loss, and with that has said what it has from there. (docs/protocol.md, References.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from labray.ids import HEAD, NodeID, ObjectID
from labray.messages import BorrowAdded, BorrowReturned, LossAckAsked, Ref
from labray.node.context.node_context import NodeContext
from labray.node.objects.records import ObjectRecord


class LossRound:
    """One lost place: who has not said yet that it knows, and what is kept until all have."""

    __slots__ = ("ids", "waiting")

    def __init__(self, waiting: Iterable[NodeID]) -> None:
        self.waiting = dict.fromkeys(waiting)
        self.ids: dict[ObjectID, None] = {}


class Borrowing:
    """What this place has borrowed and lent. settled: the lost places that all know of.

    records: of the objects here. hold makes the record of a ref that came in; collect lets one go that nobody needs.
    """

    def __init__(
        self, context: NodeContext, records: dict[ObjectID, ObjectRecord], hold: Callable[[Ref], ObjectRecord],
        collect: Callable[[ObjectRecord], None],
    ) -> None:  # fmt: skip
        self.context = context
        self.place = context.place
        self.records = records
        self.hold = hold
        self.collect = collect
        self.rounds: dict[NodeID, LossRound] = {}
        self.settled: dict[NodeID, None] = {}

    # ------------------------------------------------------------ refs come and go

    def lend(self, refs: Iterable[Ref], to: NodeID) -> None:
        """Refs that go to another place inside something."""
        for ref in refs:
            if ref.owner == self.place:
                self._count(ref.id, to, to, 1)
            elif ref.owner != to:
                self.context.send(ref.owner, BorrowAdded(ref.id, to, self.context.heads))

    def receive(self, refs: Iterable[Ref], sender: NodeID) -> None:
        """Refs that came from another place inside something: each was lent to us on the way."""
        for ref in refs:
            record = self.hold(ref)
            if ref.owner == self.place:
                continue
            if ref.owner == sender:
                record.given += 1
            elif sender in self.context.dead:  # what it had sent was slower than the news of its loss
                self._claim(record, 1)
            else:
                _add(record, (self.place, self.context.incarnation(sender)), 1)

    def give_back(self, record: ObjectRecord) -> None:
        """Nobody here needs it any more."""
        if record.given or record.passed:
            passed = tuple([(lender, count) for (_, lender), count in (record.passed or {}).items()])
            record.given, given, record.passed = 0, record.given, None
            self.context.send(record.owner, BorrowReturned(record.id, given, passed))

    # ------------------------------------------------------------ at the owner

    def lent(self, sender: NodeID, x: BorrowAdded) -> None:
        """A ref was passed on. A head that is lost gives nothing back: who did so may not know that it is."""
        if x.to == sender:
            self._count(x.id, x.to, x.to, x.count)
        elif x.to != HEAD or x.heads >= self.context.heads:
            self._count(x.id, x.to, self.context.incarnation(sender), x.count)
        elif (record := self.records.get(x.id)) is not None:
            self._keep(record)

    def returned(self, sender: NodeID, x: BorrowReturned) -> None:
        if x.count:
            self._count(x.id, sender, sender, -x.count)
        for lender, count in x.passed:
            if lender not in self.context.dead:  # else it was forgotten with the lender
                self._count(x.id, sender, lender, -count)

    def _count(self, id: ObjectID, to: NodeID, lender: NodeID, count: int) -> None:
        """`to` has more (or fewer) loans. By way of others there may be fewer than none for a moment."""
        record = self.records.get(id)
        if record is None:
            return
        if to in self.context.dead:
            if lender != to:  # it may have passed it on before it was lost
                self._keep(record)
            return
        if lender == to:
            loans = record.loans = {} if record.loans is None else record.loans
            left = loans[to] = loans.get(to, 0) + count
            if not left:
                del loans[to]
        else:
            _add(record, (to, lender), count)
        if count < 0 or not (record.loans or record.passed):
            self.collect(record)

    # ------------------------------------------------------------ a place is gone

    def settle_loans_of(self, lost: NodeID) -> None:
        """Settle what it had borrowed, and what it had passed on."""
        incarnation = self.context.incarnation(lost)
        for record in list(self.records.values()):
            if not (record.loans or record.passed):
                continue
            if record.owner == self.place:
                self._forget(record, lost, incarnation)
            elif record.passed and (count := record.passed.pop((self.place, incarnation), 0)):
                self._claim(record, count)
        for other, round in list(self.rounds.items()):
            if lost in round.waiting:  # it has not said what it had from there
                for record in self._kept(round):
                    self._keep(record)
                self.known(lost, other)

    def _claim(self, record: ObjectRecord, count: int) -> None:
        """A loan whose lender is lost becomes one of ours."""
        record.given += count
        if record.owner not in self.context.dead:
            self.context.send(record.owner, BorrowAdded(record.id, self.place, self.context.heads, count))

    def _forget(self, record: ObjectRecord, lost: NodeID, incarnation: NodeID) -> None:
        had = (record.loans or {}).pop(lost, 0)
        passed = [key for key in record.passed or () if key[0] == lost or key[1] == incarnation]
        for key in passed:
            assert record.passed is not None
            del record.passed[key]
        if had or passed:
            self._keep(record)

    def _keep(self, record: ObjectRecord) -> None:
        """A lost place may have passed it on; or one that was lost before, from which that one had it."""
        loans = record.loans = {} if record.loans is None else record.loans
        for incarnation in self.context.dead:
            if incarnation == HEAD or incarnation in self.settled or incarnation in loans:
                continue
            if incarnation not in self.rounds:
                self._begin_round(incarnation)
            self.rounds[incarnation].ids[record.id] = None
            loans[incarnation] = 1

    def _begin_round(self, incarnation: NodeID) -> None:
        """A later head has heard nothing from an earlier one."""
        waiting = [
            place for place in self.context.living() if place != HEAD or not incarnation.startswith(HEAD)
        ]
        self.rounds[incarnation] = LossRound(waiting)
        for place in waiting:
            self.context.send(place, LossAckAsked(incarnation))
        if not waiting:
            self.context.defer(self.known, self.place, incarnation)

    def known(self, sender: NodeID, incarnation: NodeID) -> None:
        """One place more knows of a loss, and what it has from there has been counted."""
        round = self.rounds.get(incarnation)
        if round is None:
            return
        round.waiting.pop(sender, None)
        if round.waiting:
            return
        del self.rounds[incarnation]
        self.settled[incarnation] = None
        for record in self._kept(round):
            if (record.loans or {}).pop(incarnation, 0):
                self.collect(record)

    def _kept(self, round: LossRound) -> list[ObjectRecord]:
        records = self.records
        return [records[id] for id in round.ids if id in records]


def _add(record: ObjectRecord, key: tuple[NodeID, NodeID], count: int) -> None:
    passed = record.passed = {} if record.passed is None else record.passed
    left = passed[key] = passed.get(key, 0) + count
    if not left:
        del passed[key]
