"""Who holds which object, how big it is, who still needs it; and when it may go.

An object is owned by the place where the task that makes it was submitted. The owner counts its own holds
(clients' handles, tasks that wait for it, values that contain it) and its loans to other places; at zero the
object is freed everywhere. Another place keeps a record only while something there holds the object or a copy
of it lies in its store. The rules for passing refs on are in docs/protocol.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labray.ids import NodeID, ObjectID
from labray.messages import (
    ErrorInfo,
    Failed,
    FreeBlock,
    FreeCopy,
    KnownValue,
    ObjectExists,
    Ref,
    Remote,
    Stored,
    WatchObject,
)
from labray.node.context.node_context import NodeContext
from labray.node.objects.borrowing import Borrowing
from labray.node.objects.records import ObjectRecord, Then, refs_in
from labray.node.store.node_store import NodeStore


class ObjectTable:
    """All objects that this place owns, holds or stores.

    on_freed: an object owned here is freed. on_returned: nobody here holds one of another place any more. pull: have
    what exists elsewhere come into memory here.
    """

    def __init__(
        self, context: NodeContext, store: NodeStore, on_freed: Callable[[ObjectID], None],
        on_returned: Callable[[ObjectID], None], pull: Callable[[ObjectRecord], None],
    ) -> None:  # fmt: skip
        self.context = context
        self.store = store
        self.place = context.place
        self.records: dict[ObjectID, ObjectRecord] = {}
        self.freed: dict[
            ObjectID, None
        ] = {}  # what its owner has let go of while somebody here still held it
        self.on_freed = on_freed
        self.on_returned = on_returned
        self.pull = pull
        self.borrowing = Borrowing(context, self.records, self.hold, self.collect)

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

    def _revive(self, record: ObjectRecord, owner: NodeID) -> None:
        """It was freed, and a view keeps the block: a re-run that needs it again finds it here."""
        kept, record.owner = record.kept, owner
        if kept is None:  # a process views what it put itself, and it has left our memory
            return
        record.value = Remote(kept.size, (self.place,), kept.refs)
        for ref in kept.refs:
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

    def collect(self, record: ObjectRecord) -> None:
        """Let go of what nobody needs."""
        if record.holds or (record.value is None and record.owner == self.place):
            return
        if record.owner == self.place:
            if not (record.loans or record.passed):
                self._free(record)
            return
        self.borrowing.give_back(record)
        if record.kept is not None and self.is_orphaned(record):
            self.drop_record(record)
        elif record.kept is None and record.pulling is None:
            del self.records[record.id]
            self.store.cancel_fetch(record.id)
            self._release_contents(record)
            self.on_returned(record.id)

    def _free(self, record: ObjectRecord) -> None:
        self.context.note("freed", record.id)
        if type(record.value) is Remote:
            for place in record.value.places:
                if place != self.place and place not in self.context.dead:
                    self.context.send(place, FreeCopy(record.id))
        self.drop_record(record)
        self.on_freed(record.id)

    def drop_record(self, record: ObjectRecord) -> None:
        """Drop the record, or keep it as a mere block while views are on it."""
        refs = refs_in(record.value)
        self.store.cancel_fetch(record.id)
        self.freed.pop(record.id, None)
        if record.pins:
            record.value = None
            record.owner = NodeID("")
        else:
            del self.records[record.id]
            if record.local is not None:
                keep = self.store.removed(record, True)
                self.context.do(FreeBlock(record.id, record.local, keep))
            if record.spilled is not None:
                self.context.do(FreeBlock(record.id, record.spilled))
        for ref in refs:
            self.context.defer(self.release, ref.id)

    def copy_freed(self, sender: NodeID, x: FreeCopy) -> None:
        """Its owner has freed it."""
        record = self.records.get(x.id)
        if record is None or record.kept is None:
            return
        if record.holds:  # by an attempt that was given up, which has not heard of it
            self.freed[x.id] = None
        else:
            self.drop_record(record)

    def is_orphaned(self, record: ObjectRecord) -> bool:
        """Whether no FreeCopy will come any more for the copy here."""
        return record.owner in self.context.dead or record.id in self.freed

    def _release_contents(self, record: ObjectRecord) -> None:
        for ref in record.refs():
            self.context.defer(self.release, ref.id)

    def unpin(self, id: ObjectID, count: int) -> None:
        record = self.records[id]
        record.pins -= count
        assert record.pins >= 0, f"{id} unpinned more often than pinned"
        if record.pins == 0:
            self.store.mark_dirty()
            if record.owner == "":
                self.drop_record(record)

    # ------------------------------------------------------------ existence

    def settle(self, record: ObjectRecord, value: KnownValue, local: Stored | None = None) -> None:
        """The object exists (or has failed for good). The refs inside are held by it from now on."""
        record.value = value
        if local is not None:
            record.local = local
            self.store.stored(record)
            self.context.note("stored", record.id, local.size)
            self.context.stored(record.id, local.size)
        if record.on_exist:
            waiting, record.on_exist = record.on_exist, None
            for then, argument in waiting:
                then(argument, record)
        if record.on_local:
            if record.here is not None:
                self.now_local(record)
            else:
                self.pull(record)
        if record.holds == 0 and self.records.get(record.id) is record:  # those who waited may have let it go
            self.collect(record)

    def when_exists(self, record: ObjectRecord, then: Then, argument: Any) -> bool:
        """True if it does already; else then(argument, record) is called when it does."""
        if record.value is not None:
            return True
        self.watch(record)
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
        self.send_for(record)
        return False

    def send_for(self, record: ObjectRecord) -> None:
        """Have it come here, for whoever asks again."""
        if record.value is None:
            self.watch(record)
        elif record.here is None:
            self.pull(record)

    def watched(self, by: NodeID, x: WatchObject) -> None:
        """Another place wants to know of an object we own."""
        record = self.ensure(Ref(x.id, self.place))
        if self.when_exists(record, self._tell_exists, by):
            self._tell_exists(by, record)
            self.collect(record)

    def exists(self, sender: NodeID, x: ObjectExists) -> None:
        """The owner's answer."""
        record, known = self.records.get(x.id), x.known
        refs = refs_in(known)
        self.borrowing.receive(refs, sender)
        if record is None or (record.value is not None and type(record.value) is not Remote):
            for ref in refs:
                self.release(ref.id)
            return
        for ref in record.refs():  # a second answer replaces the first: so do the refs in it
            self.release(ref.id)
        self.settle(record, known)

    def watch(self, record: ObjectRecord) -> None:
        if record.owner != self.place and not record.watched:
            record.watched = True
            if record.owner in self.context.dead:  # a ref of it has come from somebody who does not know yet
                self.context.defer(self._orphaned, record)
            else:
                self.context.send(record.owner, WatchObject(record.id))

    def _orphaned(self, record: ObjectRecord) -> None:
        if record.value is None:
            error = ErrorInfo("owner_died", f"the owner of object {record.id}, {record.owner}, is lost.")
            self.settle(record, Failed(error))

    def _tell_exists(self, to: NodeID, record: ObjectRecord) -> None:
        assert record.value is not None
        self.borrowing.lend(record.refs(), to)
        self.context.send(to, ObjectExists(record.id, record.value))

    def now_local(self, record: ObjectRecord) -> None:
        waiting, record.on_local = record.on_local, None
        for then, argument in waiting or ():
            then(argument, record)

    def deny(self, id: ObjectID, error: ErrorInfo) -> None:
        """It exists, and cannot be read here: an error for those who wait, and for nobody else."""
        record = self.records.get(id)
        if record is not None and record.on_local:
            value, record.value = record.value, Failed(error)
            self.now_local(record)
            record.value = value

    # ------------------------------------------------------------ a place is gone

    def owner_lost(self, record: ObjectRecord) -> None:
        """Its owner is lost: it stays as far as it can be read here."""
        if record.value is None or (type(record.value) is Remote and record.kept is None):
            self._release_contents(record)
            record.pulling = record.value = None
            self.store.cancel_fetch(record.id)
            self._orphaned(record)
        else:
            self.collect(record)
