"""Who holds which object, how big it is, who still needs it; and when it may go.

An object is owned by the place where the task that makes it was submitted. The owner counts its own holds
(clients' handles, tasks that wait for it, values that contain it) and its loans to other places; at zero the
object is freed everywhere. Another place keeps a record only while something there holds the object or a copy
of it lies in its store. The rules for passing refs on are in docs/protocol.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from labray.ids import ObjectID, Place
from labray.messages import (
    Copied,
    ErrorInfo,
    Evict,
    Exists,
    Failed,
    Free,
    Known,
    Lent,
    Missing,
    Pull,
    Push,
    Ref,
    Remote,
    Returned,
    Stored,
    Watch,
)
from labray.node.desk import Desk
from labray.node.records import ObjectRecord, Then, refs_in


class ObjectTable:
    """All objects that this place owns, holds or stores."""

    def __init__(
        self, desk: Desk, on_freed: Callable[[ObjectID], None], on_unknown: Callable[[ObjectRecord], None]
    ) -> None:
        self.desk = desk
        self.place = desk.place
        self.records: dict[ObjectID, ObjectRecord] = {}
        self.on_freed = on_freed
        self.on_unknown = on_unknown

    # ------------------------------------------------------------ records and counts

    def own(self, id: ObjectID, holds: int) -> ObjectRecord:
        record = self.records[id] = ObjectRecord(Ref(id, self.place))
        record.holds = holds
        return record

    def ensure(self, ref: Ref) -> ObjectRecord:
        record = self.records.get(ref.id)
        if record is None:
            record = self.records[ref.id] = ObjectRecord(ref)
            if ref.owner == self.place:  # freed long ago: whoever asks must hear so, not wait
                text = f"object {ref.id} was freed: no ref to it was left."
                record.value = Failed(ErrorInfo("object_lost", text))
        elif record.owner == "":
            self._revive(record, ref.owner)
        return record

    def _revive(self, record: ObjectRecord, owner: Place) -> None:
        """It was freed, and a view keeps the block: a re-run that needs it again finds it here."""
        assert record.local is not None
        record.owner = owner
        record.value = Remote(record.local.size, (self.place,), record.local.refs)
        for ref in record.local.refs:
            self.hold(ref)

    def hold(self, ref: Ref, count: int = 1) -> ObjectRecord:
        record = self.ensure(ref)
        record.holds += count
        return record

    def release(self, id: ObjectID, count: int = 1) -> None:
        record = self.records[id]
        record.holds -= count
        assert record.holds >= 0, f"{id} released more often than held"
        if record.holds == 0:
            self.collect(record)

    def receive(self, refs: Iterable[Ref]) -> None:
        """Refs that came from another place inside something: each was lent to us on the way."""
        for ref in refs:
            record = self.hold(ref)
            if ref.owner != self.place:
                record.given += 1

    def lend(self, refs: Iterable[Ref], to: Place) -> None:
        """Refs that go to another place inside something."""
        for ref in refs:
            if ref.owner == self.place:
                self.lent(ref.id, to)
            elif ref.owner != to:
                self.desk.send(ref.owner, Lent(ref.id, to))

    def lent(self, id: ObjectID, to: Place, count: int = 1) -> None:
        """At the owner: `to` holds count more (or fewer) loans."""
        record = self.records.get(id)
        if record is None or to in self.desk.dead:
            return
        loans = record.loans = {} if record.loans is None else record.loans
        left = loans.get(to, 0) + count
        if left:
            loans[to] = left
        else:
            loans.pop(to, None)
            self.collect(record)

    def collect(self, record: ObjectRecord) -> None:
        """Let go of what nobody needs."""
        if record.holds or record.loans or (record.value is None and record.owner == self.place):
            return
        if record.owner == self.place:
            self._free(record)
            return
        if record.given:
            self.desk.send(record.owner, Returned(record.id, record.given))
            record.given = 0
        if record.local is None and record.pulling is None:
            del self.records[record.id]
            self._release_contents(record)

    def _free(self, record: ObjectRecord) -> None:
        self.desk.note("freed", record.id)
        if type(record.value) is Remote:
            for place in record.value.places:
                if place != self.place and place not in self.desk.dead:
                    self.desk.send(place, Evict(record.id))
        self._forget(record)
        self.on_freed(record.id)

    def _forget(self, record: ObjectRecord) -> None:
        """Drop the record, or keep it as a mere block while views are on it."""
        refs = record.refs()
        if record.pins:
            record.value = None
            record.owner = Place("")
        else:
            del self.records[record.id]
            if record.local is not None:
                self.desk.do(Free(record.id, record.local))
        for ref in refs:
            self.desk.defer(self.release, ref.id)

    def _release_contents(self, record: ObjectRecord) -> None:
        for ref in record.refs():
            self.desk.defer(self.release, ref.id)

    def unpin(self, id: ObjectID, count: int) -> None:
        record = self.records[id]
        record.pins -= count
        assert record.pins >= 0, f"{id} unpinned more often than pinned"
        if record.pins == 0 and record.owner == "":
            self._forget(record)

    # ------------------------------------------------------------ existence

    def settle(self, record: ObjectRecord, value: Known, local: Stored | None = None) -> None:
        """The object exists (or has failed for good). The refs inside are held by it from now on."""
        record.value = value
        if local is not None:
            record.local = local
            self.desk.note("stored", record.id, local.size)
            self.desk.stored(record.id, local.size)
        waiting, record.on_exist = record.on_exist, None
        for then, argument in waiting or ():
            then(argument, record)
        if record.here is not None:
            self._now_local(record)
        elif record.on_local:
            self._pull(record)
        if record.holds == 0 and self.records.get(record.id) is record:  # those who waited may have let it go
            self.collect(record)

    def when_exists(self, record: ObjectRecord, then: Then, argument: Any) -> bool:
        """True if it does already; else then(argument, record) is called when it does."""
        if record.value is not None:
            return True
        self._watch(record)
        if record.on_exist is None:
            record.on_exist = []
        record.on_exist.append((then, argument))
        return False

    def when_local(self, record: ObjectRecord, then: Then, argument: Any) -> bool:
        """True if it can be read here; else it is fetched, and then(argument, record) called once it can be."""
        if record.here is not None:
            return True
        if record.on_local is None:
            record.on_local = []
        record.on_local.append((then, argument))
        if record.value is None:
            self._watch(record)
        else:
            self._pull(record)
        return False

    def watched(self, ref: Ref, by: Place) -> None:
        """Another place wants to know of an object we own."""
        record = self.ensure(ref)
        if self.when_exists(record, self._tell, by):
            self._tell(by, record)
            self.collect(record)

    def exists(self, id: ObjectID, known: Known) -> None:
        """The owner's answer."""
        record = self.records.get(id)
        refs = refs_in(known)
        self.receive(refs)
        if record is None or (record.value is not None and type(record.value) is not Remote):
            for ref in refs:
                self.release(ref.id)
            return
        for ref in record.refs():  # a second answer replaces the first: so do the refs in it
            self.release(ref.id)
        self.settle(record, known)

    def _watch(self, record: ObjectRecord) -> None:
        if record.owner != self.place and not record.watched:
            record.watched = True
            self.desk.send(record.owner, Watch(record.id))

    def _tell(self, to: Place, record: ObjectRecord) -> None:
        known = self.known(record)
        self.lend(record.refs(), to)
        self.desk.send(to, Exists(record.id, known))

    def known(self, record: ObjectRecord) -> Known:
        assert record.value is not None
        return record.value

    # ------------------------------------------------------------ copies

    def _pull(self, record: ObjectRecord) -> None:
        """Ask one holder for a copy, once however many wait for it."""
        assert type(record.value) is Remote
        if record.pulling is not None:
            return
        place = next((place for place in record.value.places if place not in self.desk.dead), None)
        if place is not None:
            record.pulling = place
            self.desk.send(place, Pull(record.id))
        elif record.owner == self.place:
            self.desk.defer(self.lost_copy, record, record.value.places[0])
        else:
            self.desk.defer(self._ask_anew, record)

    def _ask_anew(self, record: ObjectRecord) -> None:
        """All we know of it is out of date: the owner knows better, or says that it is lost."""
        if type(record.value) is not Remote or record.local is not None or record.pulling is not None:
            return
        refs, record.value, record.watched = record.refs(), None, False
        for ref in refs:
            self.release(ref.id)
        self._watch(record)
        self.on_unknown(record)

    def surplus(self, id: ObjectID, at: Place, local: Stored | None) -> None:
        """At the owner: a copy was made that nobody had asked for."""
        record = self.records.get(id)
        if record is not None and local is None:
            self.copied(id, at)
        elif record is not None and record.local is None and local is not None:
            record.local = local
            self.copied(id, at)
            self._now_local(record)
        elif local is not None:
            self.desk.do(Free(id, local))
        else:
            self.desk.send(at, Evict(id))

    def pulled(self, id: ObjectID, by: Place) -> None:
        """Another place asks for a copy."""
        record = self.records.get(id)
        if record is None or record.local is None:
            self.desk.send(by, Missing(id))
        else:
            self.lend(record.local.refs, by)
            self.desk.do(Push(id, record.local, by))

    def missing(self, id: ObjectID, at: Place) -> None:
        """The holder we asked has it no more: ask the owner anew, who knows better or says that it is lost."""
        record = self.records.get(id)
        if record is None or record.pulling != at:
            return
        record.pulling = None
        if record.owner == self.place:
            self.lost_copy(record, at)
        else:
            self._ask_anew(record)

    def arrived(self, id: ObjectID, stored: Stored) -> None:
        """A copy is in our store, with the loans of what it contains."""
        record = self.records.get(id)
        self.receive(stored.refs)
        if record is None or type(record.value) is not Remote or record.local is not None:
            for ref in stored.refs:  # freed on the way, or not wanted any more
                self.desk.defer(self.release, ref.id)
            self.desk.do(Free(id, stored))
            return
        for ref in record.refs():
            self.desk.defer(self.release, ref.id)
        source, record.pulling, record.local = record.pulling, None, stored
        record.value = Remote(stored.size, record.value.places, stored.refs)
        self.desk.note("moved", id, (source or "", stored.size))
        self.desk.stored(id, stored.size)
        if record.owner == self.place:
            self.copied(id, self.place)
        else:
            self.desk.send(record.owner, Copied(id))
        self._now_local(record)
        self.collect(record)

    def copied(self, id: ObjectID, at: Place) -> None:
        """At the owner: one more place has it."""
        record = self.records.get(id)
        if record is None:
            self.desk.send(at, Evict(id))
        elif type(record.value) is Remote and at not in record.value.places:
            record.value = Remote(record.value.size, (*record.value.places, at), record.value.refs)

    def evict(self, id: ObjectID) -> None:
        record = self.records.get(id)
        if record is not None and record.local is not None:
            self._forget(record)

    def lost_copy(self, record: ObjectRecord, at: Place) -> None:
        """At the owner: a place no longer has its copy."""
        if type(record.value) is not Remote:
            return
        places = tuple(p for p in record.value.places if p != at)
        if places:
            record.value = Remote(record.value.size, places, record.value.refs)
            if record.on_local:
                self._pull(record)
            return
        refs, record.value = record.value.refs, None
        for ref in refs:
            self.release(ref.id)
        self.on_unknown(record)

    def _now_local(self, record: ObjectRecord) -> None:
        waiting, record.on_local = record.on_local, None
        for then, argument in waiting or ():
            then(argument, record)

    # ------------------------------------------------------------ a place is gone

    def place_lost(self, lost: Place) -> None:
        for record in list(self.records.values()):
            if record.loans and record.loans.pop(lost, None):
                self.collect(record)
                if record.id not in self.records:
                    continue
            if record.owner == lost:
                if record.value is None or (type(record.value) is Remote and record.local is None):
                    record.pulling = None
                    error = ErrorInfo("owner_died", f"the owner of object {record.id}, {lost}, is lost.")
                    self.settle(record, Failed(error))
            elif record.pulling == lost:
                self.missing(record.id, lost)
            elif record.owner == self.place:
                self.lost_copy(record, lost)
