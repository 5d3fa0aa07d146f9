"""What this process put into its node's store itself: it is read again without asking.

The node is told (Pin), so that it does not count on the memory; but it may have given the block back before it hears
(it was freed, or went to disk). The block is in our own segment, where nobody but us can write: so it is ours to keep
it as it is until the last view is gone.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from labray.client.uninterrupted import Owed, at_once
from labray.messages import Pin, Unpin

if TYPE_CHECKING:
    from labray.backends.cluster.client.outbox import Outbox
    from labray.backends.cluster.store.segments import SegmentWriter
    from labray.backends.cluster.store.store_reader import StoreReader
    from labray.client.uninterrupted import Step
    from labray.ids import ObjectID
    from labray.messages import Payload, ReclaimBlock, Stored

Key = tuple[int, int]
"""Segment and offset of a block."""


class PutCache:
    """There is no lock: views die in the middle of anything, and exceptions are raised there; so every step is one."""

    def __init__(self, reader: StoreReader, writer: SegmentWriter, outbox: Outbox) -> None:
        self._reader = reader
        self._writer = writer
        self._outbox = outbox
        self._known: dict[ObjectID, Stored] = {}
        self._ids: dict[Key, ObjectID] = {}
        self._views: dict[Key, list[None]] = {}
        self._owed: dict[Key, ReclaimBlock] = {}  # given back by the node while we still read it

    def wrote(self, id: ObjectID, stored: Stored) -> None:
        """Remember it. (What holds refs is asked for: they are given with the answer.)"""
        if not stored.refs:
            key = (stored.block.segment, stored.block.offset)
            self._known[id] = stored
            self._ids[key] = id

    def read(self, id: ObjectID) -> Payload | None:
        """Its payload as read-only views; None if the node must be asked."""
        stored = self._known.get(id)
        if stored is None:
            return None
        key = (stored.block.segment, stored.block.offset)
        views, pin = self._views.setdefault(key, []), Owed()
        say, ring = self._outbox.messages.append, self._outbox.ring
        begin = partial(views.append, None), partial(say, Pin((id,)))
        end = views.pop, partial(say, Unpin(((id, 1),))), ring
        try:  # what has been given back in this very moment is known no more
            at_once(partial(self._known.__getitem__, id), *begin, pin.arm(*end))
        except KeyError:
            return None
        self._outbox.arm()
        return self._reader.load(id, stored, pin)

    def reclaim(self, notice: ReclaimBlock, taken: Step) -> None:
        """The node needs the block no more: it may be written again once no view of ours is left."""
        key = (notice.block.segment, notice.block.offset)
        id = self._ids.get(key)
        known = (
            (partial(self._known.pop, id, None), partial(self._ids.pop, key, None)) if id is not None else ()
        )
        at_once(taken, partial(self._owed.__setitem__, key, notice), *known)
        self.settle()

    def settle(self) -> None:
        """See which blocks that are wanted back are looked at no more."""
        for key, notice in list(self._owed.items()):
            if not self._views.get(key):
                try:
                    at_once(partial(self._owed.pop, key), *self._writer.freeing(notice.block, notice.keep))
                except KeyError:  # another thread was faster
                    continue
                self._views.pop(key, None)
        self._writer.see_to_trimming()
