"""Copies of large objects: which place has one, how one is fetched, and what to do when it is gone.

A place asks one holder for a copy, once however many wait for it. The owner knows all holders; when the last one
is lost the object is unknown, and what is owned here is made again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from labray.ids import ObjectID, Place
from labray.messages import Copied, ErrorInfo, Evict, LossAsked, Missing, Pull, Push, Remote, Stored
from labray.node.records import ObjectRecord

if TYPE_CHECKING:
    from labray.node.objects import ObjectTable

OnUnknown = Callable[[ObjectRecord, ErrorInfo | None], None]
"""No copy is left, as far as this place knows; and why, if not because its place was lost."""


class Copies:
    """The other half of ObjectTable: the same records, as far as they lie in stores."""

    def __init__(self, table: ObjectTable, on_unknown: OnUnknown) -> None:
        self.table = table
        self.desk = table.desk
        self.place = table.place
        self.on_unknown = on_unknown
        # By owner, and a loss it may not know of:
        self.unheard: dict[tuple[Place, Place], list[ObjectID]] = {}
        # What attempts that were given up have left elsewhere, of objects that another attempt is making:
        self.strays: dict[ObjectID, dict[Place, None]] = {}
        # What its owner has let go of while somebody here still held it:
        self.freed: dict[ObjectID, None] = {}

    def pull(self, record: ObjectRecord) -> None:
        """Have it in memory here: from our disk, or from one holder, once however many wait for it."""
        if record.pulling is not None or record.id in self.table.storage.spills.restoring:
            return
        kept = record.spilled or record.value
        assert isinstance(kept, Stored | Remote)
        if self.table.storage.admit(record, kept.size):
            self.admitted(record)

    def admitted(self, record: ObjectRecord) -> bool:
        """There is room for it; whether anything comes."""
        if record.here is not None or record.pulling is not None:
            return False
        if record.spilled is not None:
            self.table.storage.spills.restore(record)
            return True
        if type(record.value) is not Remote:
            return False
        place = next((place for place in record.value.places if place not in self.desk.dead), None)
        if place is not None:
            record.pulling = place
            self.desk.send(place, Pull(record.id))
        elif record.owner == self.place:
            self.desk.defer(self.lost_copy, record, record.value.places[0])
        else:
            self.desk.defer(self.ask_anew, record)
        return place is not None

    def ask_anew(self, record: ObjectRecord) -> None:
        """All we know of it is out of date: the owner knows better, or says that it is lost."""
        if type(record.value) is not Remote or record.kept is not None or record.pulling is not None:
            return
        refs, places, record.value, record.watched = record.refs(), record.value.places, None, False
        for ref in refs:
            self.table.release(ref.id)
        if places and record.owner not in self.desk.dead and all(place in self.desk.dead for place in places):
            record.watched = True  # in a moment: asked at once it would tell us the same, until it hears
            self.unheard.setdefault((record.owner, places[0]), []).append(record.id)
            self.desk.send(record.owner, LossAsked(places[0]))
        else:
            self.table.watch(record)
        self.on_unknown(record, None)

    def known(self, owner: Place, lost: Place) -> None:
        """The owner has heard of a loss too: now it knows what became of its objects."""
        for id in self.unheard.pop((owner, lost), ()):
            record = self.table.records.get(id)
            if record is not None and record.value is None:
                record.watched = False
                self.table.watch(record)

    def owner_lost(self, owner: Place) -> None:
        """It will tell no more."""
        for key in [key for key in self.unheard if key[0] == owner]:
            del self.unheard[key]

    def surplus(self, id: ObjectID, at: Place, local: Stored | None) -> None:
        """At the owner: a copy was made that nobody had asked for."""
        record = self.table.records.get(id)
        if record is not None and local is None:
            self.copied(id, at)
        elif record is not None and record.kept is None and local is not None:
            record.local = local
            self.table.storage.stored(record)
            self.copied(id, at)
            self.table.now_local(record)
        elif local is not None:
            self.table.storage.unwanted(id, local)
        else:
            self.desk.send(at, Evict(id))

    def stray(self, id: ObjectID, at: Place) -> None:
        """At the owner: an attempt that was given up has left a copy. It stays if the next makes one as well."""
        record = self.table.records.get(id)
        if record is not None and record.value is None:
            self.strays.setdefault(id, {})[at] = None
        elif record is None or type(record.value) is Remote:
            self.copied(id, at)
        elif at not in self.desk.dead:
            self.desk.send(at, Evict(id))

    def settled(self, id: ObjectID) -> None:
        """At the owner: now it is known whether there is a use for them."""
        for at in self.strays.pop(id, ()):
            self.stray(id, at)

    def pulled(self, id: ObjectID, by: Place) -> None:
        """Another place asks for a copy."""
        record = self.table.records.get(id)
        kept = record.kept if record is not None else None
        if kept is None:
            self.desk.send(by, Missing(id))
        else:
            self.table.loans.lend(kept.refs, by)
            self.desk.do(Push(id, kept, by))

    def missing(self, id: ObjectID, at: Place) -> None:
        """The holder we asked has it no more: ask the owner anew, who knows better or says that it is lost."""
        record = self.table.records.get(id)
        if record is None or record.pulling != at:
            return
        record.pulling = None
        self.table.storage.forget(id)
        if record.owner == self.place:
            self.lost_copy(record, at)
        else:
            self.ask_anew(record)

    def arrived(self, id: ObjectID, stored: Stored, sender: Place) -> None:
        """A copy is in our store, with the loans of what it contains."""
        record = self.table.records.get(id)
        self.table.loans.receive(stored.refs, sender)
        if record is None or type(record.value) is not Remote or record.kept is not None:
            for ref in stored.refs:  # freed on the way, or not wanted any more
                self.desk.defer(self.table.release, ref.id)
            self.table.storage.unwanted(id, stored)
            return
        for ref in record.refs():
            self.desk.defer(self.table.release, ref.id)
        source, record.pulling, record.local = record.pulling, None, stored
        record.source = source
        self.table.storage.stored(record)
        record.value = Remote(stored.size, record.value.places, stored.refs)
        self.desk.note("moved", id, (source or "", stored.size))
        self.desk.stored(id, stored.size)
        if record.owner == self.place:
            self.copied(id, self.place)
        else:
            self.desk.send(record.owner, Copied(id))
        self.table.now_local(record)
        self.table.collect(record)

    def copied(self, id: ObjectID, at: Place) -> None:
        """At the owner: one more place has it."""
        record = self.table.records.get(id)
        if at in self.desk.dead:
            return
        if record is None:
            self.desk.send(at, Evict(id))
        elif type(record.value) is not Remote:  # the last copy that we knew of was lost meanwhile
            self.stray(id, at)
        elif at not in record.value.places:
            record.value = Remote(record.value.size, (*record.value.places, at), record.value.refs)

    def evict(self, id: ObjectID) -> None:
        record = self.table.records.get(id)
        if record is None or record.kept is None:
            return
        if record.holds:  # by an attempt that was given up, which has not heard of it
            self.freed[id] = None
        else:
            self.table.forget(record)

    def orphaned(self, record: ObjectRecord) -> bool:
        """Whether no Evict will come any more for the copy here."""
        return record.owner in self.desk.dead or record.id in self.freed

    def lost_copy(self, record: ObjectRecord, at: Place, error: ErrorInfo | None = None) -> None:
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
            self.table.release(ref.id)
        self.on_unknown(record, error)
