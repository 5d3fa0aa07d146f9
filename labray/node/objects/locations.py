"""Copies of large objects: which place has one, how one is fetched, and what to do when it is gone.

A place asks one holder for a copy, once however many wait for it. The owner knows all holders; when the last one
is lost the object is unknown, and what is owned here is made again.
"""

from __future__ import annotations

from collections.abc import Callable

from labray.ids import ClientID, NodeID, ObjectID
from labray.messages import (
    Block,
    ErrorInfo,
    EvictAnswered,
    EvictAsked,
    FreeCopy,
    LocationAdded,
    LocationLost,
    LossAckAsked,
    ObjectArrived,
    ObjectMissing,
    PullObject,
    PushObject,
    Remote,
    Stored,
)
from labray.node.context.node_context import NodeContext
from labray.node.objects.directory import ObjectTable
from labray.node.objects.records import ObjectRecord
from labray.node.store.node_store import NodeStore

OnUnknown = Callable[[ObjectRecord, ErrorInfo | None], None]
"""No copy is left, as far as this place knows; and why, if not because its place was lost."""


class Locations:
    """Where the objects on record lie, in this place's store and others."""

    def __init__(
        self, context: NodeContext, store: NodeStore, objects: ObjectTable, on_unknown: OnUnknown
    ) -> None:
        self.context = context
        self.store = store
        self.objects = objects
        self.place = context.place
        self.on_unknown = on_unknown
        # By owner, and a loss it may not know of:
        self.unheard: dict[tuple[NodeID, NodeID], list[ObjectID]] = {}
        # What attempts that were given up have left elsewhere, of objects that another attempt is making:
        self.strays: dict[ObjectID, dict[NodeID, None]] = {}

    def pull(self, record: ObjectRecord) -> None:
        """Have it in memory here: from our disk, or from one holder, once however many wait for it."""
        if record.pulling is not None or record.id in self.store.restoring:
            return
        kept = record.spilled or record.value
        assert isinstance(kept, Stored | Remote)
        if self.store.admit(record, kept.size):
            self.admitted(record)

    def admitted(self, record: ObjectRecord) -> bool:
        """There is room for it; whether anything comes."""
        if record.here is not None or record.pulling is not None:
            return False
        if record.spilled is not None:
            self.store.restore(record)
            return True
        if type(record.value) is not Remote:
            return False
        place = next((place for place in record.value.places if place not in self.context.dead), None)
        if place is not None:
            record.pulling = place
            self.context.send(place, PullObject(record.id))
        elif record.owner == self.place:
            self.context.defer(self.lost_copy, record, record.value.places[0])
        else:
            self.context.defer(self.ask_anew, record)
        return place is not None

    def ask_anew(self, record: ObjectRecord) -> None:
        """All we know of it is out of date: the owner knows better, or says that it is lost."""
        if type(record.value) is not Remote or record.kept is not None or record.pulling is not None:
            return
        refs, places, record.value, record.watched = record.refs(), record.value.places, None, False
        for ref in refs:
            self.objects.release(ref.id)
        if (
            places
            and record.owner not in self.context.dead
            and all(place in self.context.dead for place in places)
        ):
            record.watched = True  # in a moment: asked at once it would tell us the same, until it hears
            self.unheard.setdefault((record.owner, places[0]), []).append(record.id)
            self.context.send(record.owner, LossAckAsked(places[0]))
        else:
            self.objects.watch(record)
        self.on_unknown(record, None)

    def known(self, owner: NodeID, lost: NodeID) -> None:
        """The owner has heard of a loss too: now it knows what became of its objects."""
        for id in self.unheard.pop((owner, lost), ()):
            record = self.objects.records.get(id)
            if record is not None and record.value is None:
                record.watched = False
                self.objects.watch(record)

    def owner_lost(self, owner: NodeID) -> None:
        """It will tell no more."""
        for key in [key for key in self.unheard if key[0] == owner]:
            del self.unheard[key]

    def surplus(self, id: ObjectID, at: NodeID, local: Stored | None) -> None:
        """At the owner: a copy was made that nobody had asked for."""
        record = self.objects.records.get(id)
        if record is not None and local is None:
            self.one_more(id, at)
        elif record is not None and record.kept is None and local is not None:
            record.local = local
            self.store.stored(record)
            self.one_more(id, at)
            self.objects.now_local(record)
        elif local is not None:
            self.store.unwanted(id, local)
        else:
            self.context.send(at, FreeCopy(id))

    def stray(self, id: ObjectID, at: NodeID) -> None:
        """At the owner: an attempt that was given up has left a copy. It stays if the next makes one as well."""
        record = self.objects.records.get(id)
        if record is not None and record.value is None:
            self.strays.setdefault(id, {})[at] = None
        elif record is None or type(record.value) is Remote:
            self.one_more(id, at)
        elif at not in self.context.dead:
            self.context.send(at, FreeCopy(id))

    def settled(self, id: ObjectID) -> None:
        """At the owner: now it is known whether there is a use for them."""
        for at in self.strays.pop(id, ()):
            self.stray(id, at)

    def written_by(self, writer: ClientID) -> list[Block]:
        """The blocks in memory that a client has written."""
        values = [self.objects.records[id].local for id in self.store.account.held]
        return [value.block for value in values if value is not None and value.block.writer == writer]

    def pulled(self, by: NodeID, x: PullObject) -> None:
        """Another place asks for a copy."""
        record = self.objects.records.get(x.id)
        kept = record.kept if record is not None else None
        if kept is None:
            self.context.send(by, ObjectMissing(x.id))
        else:
            self.objects.borrowing.lend(kept.refs, by)
            self.context.do(PushObject(x.id, kept, by))

    def missing(self, at: NodeID, x: ObjectMissing) -> None:
        """The holder that we asked has it no more."""
        self._pull_elsewhere(x.id, at)

    def _pull_elsewhere(self, id: ObjectID, at: NodeID) -> None:
        """Nothing comes from there: ask the owner anew, who knows better or says that it is lost."""
        record = self.objects.records.get(id)
        if record is None or record.pulling != at:
            return
        record.pulling = None
        self.store.cancel_fetch(id)
        if record.owner == self.place:
            self.lost_copy(record, at)
        else:
            self.ask_anew(record)

    def arrived(self, sender: str, x: ObjectArrived) -> None:
        """A copy is in our store, with the loans of what it contains."""
        id, stored = x.id, x.value
        record = self.objects.records.get(id)
        self.objects.borrowing.receive(stored.refs, x.source)
        if record is None or type(record.value) is not Remote or record.kept is not None:
            for ref in stored.refs:  # freed on the way, or not wanted any more
                self.context.defer(self.objects.release, ref.id)
            self.store.unwanted(id, stored)
            return
        for ref in record.refs():
            self.context.defer(self.objects.release, ref.id)
        source, record.pulling, record.local = record.pulling, None, stored
        record.source = source
        self.store.stored(record)
        record.value = Remote(stored.size, record.value.places, stored.refs)
        self.context.note("moved", id, (source or "", stored.size))
        self.context.stored(id, stored.size)
        if record.owner == self.place:
            self.one_more(id, self.place)
        else:
            self.context.send(record.owner, LocationAdded(id))
        self.objects.now_local(record)
        self.objects.collect(record)

    def location_added(self, at: NodeID, x: LocationAdded) -> None:
        self.one_more(x.id, at)

    def one_more(self, id: ObjectID, at: NodeID) -> None:
        """At the owner: one more place has it."""
        record = self.objects.records.get(id)
        if at in self.context.dead:
            return
        if record is None:
            self.context.send(at, FreeCopy(id))
        elif type(record.value) is not Remote:  # the last copy that we knew of was lost meanwhile
            self.stray(id, at)
        elif at not in record.value.places:
            record.value = Remote(record.value.size, (*record.value.places, at), record.value.refs)

    def lost_copy(self, record: ObjectRecord, at: NodeID, error: ErrorInfo | None = None) -> None:
        """At the owner: a place no longer has its copy, for a reason other than that it is lost itself."""
        if type(record.value) is not Remote:
            return
        places = tuple(p for p in record.value.places if p != at)
        if places:
            record.value = Remote(record.value.size, places, record.value.refs)
            if record.on_local:
                self.pull(record)
            return
        refs, record.value = record.value.refs, None
        for ref in refs:
            self.objects.release(ref.id)
        self.on_unknown(record, error)

    # ------------------------------------------------------------ at the owner: may a copy go?

    def evict_asked(self, at: NodeID, x: EvictAsked) -> None:
        """A place would like to drop its copy."""
        record = self.objects.records.get(x.id)
        granted = False
        if record is not None and type(record.value) is Remote:
            left = tuple(place for place in record.value.places if place != at)
            if any(place not in self.context.dead for place in left):
                granted = True
                record.value = Remote(record.value.size, left, record.value.refs)
        self.context.send(at, EvictAnswered(x.id, granted))

    def location_lost(self, at: NodeID, x: LocationLost) -> None:
        """A place has lost its copy."""
        record = self.objects.records.get(x.id)
        if record is not None:
            self.lost_copy(record, at, x.error)

    # ------------------------------------------------------------ a place is gone

    def lose_copies_of(self, lost: NodeID) -> None:
        """All that it owned, or was to send here, or had a copy of."""
        self.objects.borrowing.settle_loans_of(lost)
        records = self.objects.records
        for record in list(records.values()):
            if records.get(record.id) is not record:  # it was let go of, here or by what ended before
                continue
            if record.owner == lost:
                self.objects.owner_lost(record)
            elif record.pulling == lost:
                self._pull_elsewhere(record.id, lost)
            elif record.owner == self.place:
                self.lost_copy(record, lost)
