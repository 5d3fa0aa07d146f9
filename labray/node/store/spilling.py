"""How an object leaves memory and comes back: dropped where others have it, written to disk, read from there.

The world does the writing and reading and says when it is done; meanwhile the block is pinned. A copy on disk stays
until the object is freed, so that what was read back can leave memory again for nothing. Disks fail: what cannot be
written stays where it is, and what cannot be read is lost as a copy on a dead node is.
"""

from __future__ import annotations

from collections.abc import Iterator

from labray.ids import NodeID, ObjectID, is_put
from labray.messages import (
    ErrorInfo,
    EvictAnswered,
    EvictAsked,
    FreeBlock,
    LocationAdded,
    LocationLost,
    ObjectRestored,
    ObjectSpilled,
    Remote,
    SpillObject,
)
from labray.node.context.node_context import NodeContext
from labray.node.objects.directory import ObjectTable
from labray.node.objects.locations import Locations
from labray.node.objects.records import ObjectRecord
from labray.node.store.claims import Order
from labray.node.store.node_store import NodeStore

AGAIN_S = 1.0  # after so long a disk that has failed is tried again


class Spilling:
    """trouble: what the disk said when it last failed, until it works again."""

    def __init__(
        self, context: NodeContext, store: NodeStore, objects: ObjectTable, locations: Locations
    ) -> None:
        self.context = context
        self.store = store
        self.objects = objects
        self.locations = locations
        self.place = context.place
        self.trouble: str | None = None
        self._tried = 0.0

    # ------------------------------------------------------------ out

    def victims(self, mine: Order, order: dict[ObjectID, Order]) -> Iterator[ObjectRecord]:
        """What may go for a claim: nobody's first, then what others behind it wait for, the last of them first."""
        records = self.objects.records
        later = []
        for id in list(self.store.account.held):
            record = records[id]
            if (
                record.pins
                or id in self.store.asked
                or (record.spilled is None and not self._may_leave(record))
            ):
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
        return self.context.now - self._tried >= AGAIN_S

    def _others(self, record: ObjectRecord) -> bool:
        """Whether another place has a copy, as its owner knows, or as we should ask."""
        if record.owner != self.place:
            return record.source is not None and record.owner not in self.context.dead
        if is_put(record.id):  # nothing makes it again: it is not left to a copy that may die
            return False
        return type(record.value) is Remote and any(
            place != self.place and place not in self.context.dead for place in record.value.places
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
            self.store.asked[record.id] = size
            self.context.send(record.owner, EvictAsked(record.id))
            return 0
        record.pins += 1
        self._tried = self.context.now
        self.store.spilling[record.id] = size
        self.context.do(SpillObject(record.id, record.local))
        return 0

    def drop(self, record: ObjectRecord, how: str) -> None:
        """Nobody here uses it, and it is elsewhere, or on disk."""
        assert record.local is not None and not record.pins
        self.store.any_left = True
        local = record.local
        keep = self.store.removed(record, False)
        record.local = None
        self.context.note(how, record.id, local.size)
        self.context.do(FreeBlock(record.id, local, keep))

    def spilled(self, sender: str, x: ObjectSpilled) -> None:
        """It is on disk, or it is not. It may have come into use meanwhile, or have been freed."""
        record = self.objects.records[x.id]
        del self.store.spilling[x.id]
        if x.value is None:
            self.trouble = x.error
        else:
            self.trouble = None
            record.spilled = x.value
            self.store.progress = self.context.now
            if record.pins == 1 and record.owner != "":
                record.pins = 0
                self.drop(record, "spilled")
                record.pins = 1
        self.objects.unpin(x.id, 1)
        self.store.mark_dirty()

    # ------------------------------------------------------------ and back

    def restored(self, sender: str, x: ObjectRestored) -> None:
        record = self.objects.records.get(x.id)
        if (
            x.id not in self.store.restoring or record is None
        ):  # a pulled copy that found no memory, or one sent from disk
            if x.lost and record is not None and record.spilled is not None and record.owner != "":
                self._spilled_copy_lost(record, x.error)
            else:
                self._no_memory(x)
            return
        del self.store.restoring[x.id]
        if x.value is not None:
            record.local = x.value
            self.store.stored(record)
            self.store.progress = self.context.now
            self.context.note("restored", x.id, x.value.size)
            self.context.stored(x.id, x.value.size)
            self.objects.now_local(record)
        else:
            self.store.account.withdraw(self.place, x.id)
            if not x.lost:
                self.objects.deny(x.id, ErrorInfo("store_full", x.error))
            elif record.owner != "":
                self._spilled_copy_lost(record, x.error)
        if self.objects.records.get(x.id) is record:
            self.objects.unpin(x.id, 1)
        self.store.mark_dirty()

    def _no_memory(self, x: ObjectRestored) -> None:
        record = self.objects.records.get(x.id)
        self.store.account.withdraw(self.place, x.id)
        if record is not None and record.pulling is not None:
            record.pulling = None
            self.objects.deny(x.id, ErrorInfo("store_full", x.error))
            self.objects.collect(record)

    def _spilled_copy_lost(self, record: ObjectRecord, why: str) -> None:
        """The copy on disk cannot be read: other copies serve, or it is made again, or it is lost."""
        assert record.spilled is not None
        error = ErrorInfo("out_of_disk", f"object {record.id} was spilled to disk at {self.place}, and {why}")
        self.context.do(FreeBlock(record.id, record.spilled))
        record.spilled = None
        if record.local is not None:
            return
        if record.owner == self.place:
            self.locations.lost_copy(record, self.place, error)
        else:
            self.context.send(record.owner, LocationLost(record.id, error))
            self.locations.ask_anew(record)

    # ------------------------------------------------------------ may a copy go?

    def evict_answered(self, owner: NodeID, x: EvictAnswered) -> None:
        """The owner's answer. It may be in use again by now."""
        asked = self.store.asked.pop(x.id, None)
        record = self.objects.records.get(x.id)
        if record is None or record.local is None:
            return
        if not x.granted:
            record.source = None  # ours is the only one: it goes to disk
        elif record.pins or asked is None:
            self.context.send(owner, LocationAdded(x.id))
        else:
            self.drop(record, "evicted")
            self.store.progress = self.context.now
            self.objects.collect(record)
        self.store.mark_dirty()

    def expect_no_answer(self, lost: NodeID) -> None:
        """It will not answer."""
        for id in [id for id in self.store.asked if self.objects.records[id].owner == lost]:
            del self.store.asked[id]
        self.store.mark_dirty()
