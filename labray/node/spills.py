"""How an object leaves memory and comes back: dropped where others have it, written to disk, read from there.

The world does the writing and reading and says when it is done; meanwhile the block is pinned. A copy on disk stays
until the object is freed, so that what was read back can leave memory again for nothing. Disks fail: what cannot be
written stays where it is, and what cannot be read is lost as a copy on a dead node is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from labray.ids import ObjectID, Place, is_put
from labray.messages import (
    Copied,
    Dropped,
    ErrorInfo,
    Free,
    Remote,
    Restore,
    Restored,
    Spare,
    Spared,
    Spill,
    Spilled,
)
from labray.node.claims import Order
from labray.node.records import ObjectRecord

if TYPE_CHECKING:
    from labray.node.storage import Storage

AGAIN_S = 1.0  # after so long a disk that has failed is tried again


class Spills:
    """spilling, restoring: what the world is at. asked: copies whose owner has been asked whether they may go.

    trouble: what the disk said when it last failed, until it works again.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.node = storage.node
        self.desk = storage.desk
        self.place = storage.place
        self.spilling: dict[ObjectID, int] = {}
        self.asked: dict[ObjectID, int] = {}
        self.restoring: dict[ObjectID, int] = {}
        self.any_left = False  # has anything ever been sent out of memory
        self.trouble: str | None = None
        self._tried = 0.0

    def leaving(self) -> int:
        """Bytes on their way out."""
        return sum(self.spilling.values()) + sum(self.asked.values())

    # ------------------------------------------------------------ out

    def victims(self, mine: Order, order: dict[ObjectID, Order]) -> Iterator[ObjectRecord]:
        """What may go for a claim: nobody's first, then what others behind it wait for, the last of them first."""
        records = self.node.objects.records
        later = []
        for id in list(self.storage.account.held):
            record = records[id]
            if record.pins or id in self.asked or (record.spilled is None and not self._may_leave(record)):
                continue
            needed = order.get(id)
            if needed is None:
                yield record
            elif needed > mine:
                later.append((needed, id))
        for _, id in sorted(later, reverse=True):
            yield records[id]

    def _may_leave(self, record: ObjectRecord) -> bool:
        """Whether there is a way: another copy, or a disk that works."""
        if self.trouble is None or self._others(record):
            return True
        return self.desk.now - self._tried >= AGAIN_S

    def _others(self, record: ObjectRecord) -> bool:
        """Whether another place has a copy, as its owner knows, or as we should ask."""
        if record.owner != self.place:
            return record.source is not None and record.owner not in self.desk.dead
        if is_put(record.id):  # nothing makes it again: it is not left to a copy that may die
            return False
        return type(record.value) is Remote and any(
            place != self.place and place not in self.desk.dead for place in record.value.places
        )

    def evict(self, record: ObjectRecord) -> int:
        """Send an object out of memory by the cheapest way; how many bytes are free at once."""
        assert record.local is not None
        size = record.local.size
        if record.spilled is not None:
            self.drop(record, "evicted")
            return size
        if self._others(record):
            if record.owner == self.place:
                assert type(record.value) is Remote
                places = tuple(place for place in record.value.places if place != self.place)
                record.value = Remote(size, places, record.value.refs)
                self.drop(record, "evicted")
                return size
            self.asked[record.id] = size
            self.desk.send(record.owner, Spare(record.id))
            return 0
        record.pins += 1
        self._tried = self.desk.now
        self.spilling[record.id] = size
        self.desk.do(Spill(record.id, record.local))
        return 0

    def drop(self, record: ObjectRecord, how: str) -> None:
        """Nobody here uses it, and it is elsewhere, or on disk."""
        assert record.local is not None and not record.pins
        self.any_left = True
        local = record.local
        keep = self.storage.removed(record, False)
        record.local = None
        self.desk.note(how, record.id, local.size)
        self.desk.do(Free(record.id, local, keep))

    def spilled(self, x: Spilled) -> None:
        """It is on disk, or it is not. It may have come into use meanwhile, or have been freed."""
        record = self.node.objects.records[x.id]
        del self.spilling[x.id]
        if x.value is None:
            self.trouble = x.error
        else:
            self.trouble = None
            record.spilled = x.value
            self.storage.progress = self.desk.now
            if record.pins == 1 and record.owner != "":
                record.pins = 0
                self.drop(record, "spilled")
                record.pins = 1
        self.node.objects.unpin(x.id, 1)
        self.storage.stir()

    # ------------------------------------------------------------ and back

    def restore(self, record: ObjectRecord) -> None:
        """There is room for it now."""
        assert record.spilled is not None
        record.pins += 1
        self.restoring[record.id] = record.spilled.size
        self.desk.do(Restore(record.id, record.spilled))

    def restored(self, x: Restored) -> None:
        record = self.node.objects.records.get(x.id)
        if (
            x.id not in self.restoring or record is None
        ):  # a pulled copy that found no memory, or one sent from disk
            if x.lost and record is not None and record.spilled is not None and record.owner != "":
                self._lost(record, x.error)
            else:
                self._no_memory(x)
            return
        del self.restoring[x.id]
        if x.value is not None:
            record.local = x.value
            self.storage.stored(record)
            self.storage.progress = self.desk.now
            self.desk.note("restored", x.id, x.value.size)
            self.desk.stored(x.id, x.value.size)
            self.node.objects.now_local(record)
        else:
            self.storage.account.withdraw(self.place, x.id)
            if not x.lost:
                self.node.objects.deny(x.id, ErrorInfo("store_full", x.error))
            elif record.owner != "":
                self._lost(record, x.error)
        if self.node.objects.records.get(x.id) is record:
            self.node.objects.unpin(x.id, 1)
        self.storage.stir()

    def _no_memory(self, x: Restored) -> None:
        record = self.node.objects.records.get(x.id)
        self.storage.account.withdraw(self.place, x.id)
        if record is not None and record.pulling is not None:
            record.pulling = None
            self.node.objects.deny(x.id, ErrorInfo("store_full", x.error))
            self.node.objects.collect(record)

    def _lost(self, record: ObjectRecord, why: str) -> None:
        """The copy on disk cannot be read: other copies serve, or it is made again, or it is lost."""
        assert record.spilled is not None
        error = ErrorInfo("out_of_disk", f"object {record.id} was spilled to disk at {self.place}, and {why}")
        self.desk.do(Free(record.id, record.spilled))
        record.spilled = None
        if record.local is not None:
            return
        copies = self.node.objects.copies
        if record.owner == self.place:
            copies.lost_copy(record, self.place, error)
        else:
            self.desk.send(record.owner, Dropped(record.id, error))
            copies.ask_anew(record)

    # ------------------------------------------------------------ may a copy go?

    def spare(self, id: ObjectID, at: Place) -> None:
        """At the owner: a place would like to drop its copy."""
        record = self.node.objects.records.get(id)
        granted = False
        if record is not None and type(record.value) is Remote:
            left = tuple(place for place in record.value.places if place != at)
            if any(place not in self.desk.dead for place in left):
                granted = True
                record.value = Remote(record.value.size, left, record.value.refs)
        self.desk.send(at, Spared(id, granted))

    def spared(self, x: Spared, owner: Place) -> None:
        """The owner's answer. It may be in use again by now."""
        asked = self.asked.pop(x.id, None)
        record = self.node.objects.records.get(x.id)
        if record is None or record.local is None:
            return
        if not x.granted:
            record.source = None  # ours is the only one: it goes to disk
        elif record.pins or asked is None:
            self.desk.send(owner, Copied(x.id))
        else:
            self.drop(record, "evicted")
            self.storage.progress = self.desk.now
            self.node.objects.collect(record)
        self.storage.stir()

    def dropped(self, x: Dropped, at: Place) -> None:
        """At the owner: a copy is lost."""
        record = self.node.objects.records.get(x.id)
        if record is not None:
            self.node.objects.copies.lost_copy(record, at, x.error)

    def place_lost(self, lost: Place) -> None:
        """It will not answer."""
        for id in [id for id in self.asked if self.node.objects.records[id].owner == lost]:
            del self.asked[id]
        self.storage.stir()
