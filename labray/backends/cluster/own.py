"""What this process put into its node's store itself: it is read again without asking.

The node is told (Pin), so that it does not count on the memory; but it may have given the block back before it hears
(it was freed, or went to disk). The block is in our own segment, where nobody but us can write: so it is ours to keep
it as it is until the last view is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labray.messages import Pin

if TYPE_CHECKING:
    from collections.abc import Callable

    from labray.backends.cluster.reader import Reader
    from labray.backends.cluster.store import Writer
    from labray.ids import ObjectID
    from labray.messages import Payload, Reclaim, Stored

Key = tuple[int, int]
"""Segment and offset of a block."""


class Own:
    """say: to the node, soon. unpin: tell it that the last view of an object is gone.

    There is no lock: views die in the middle of anything, so every step is atomic.
    """

    def __init__(
        self,
        reader: Reader,
        writer: Writer,
        say: Callable[[Pin], None],
        unpin: Callable[[ObjectID], None],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._say = say
        self._unpin = unpin
        self._known: dict[ObjectID, Stored] = {}
        self._ids: dict[Key, ObjectID] = {}
        self._views: dict[Key, list[None]] = {}
        self._owed: dict[Key, Reclaim] = {}  # given back by the node while we still read it

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
        self._views.setdefault(key, []).append(None)
        if self._known.get(id) is not stored:  # given back in this very moment
            self._let_go(key)
            return None
        self._say(Pin((id,)))
        return self._reader.load(id, stored, lambda _: self._died(id, key))

    def reclaim(self, notice: Reclaim) -> None:
        """The node needs the block no more: it may be written again once no view of ours is left."""
        key = (notice.block.segment, notice.block.offset)
        id = self._ids.pop(key, None)
        if id is not None:
            self._known.pop(id, None)
        self._owed[key] = notice
        if not self._views.get(key):
            self._settle(key)

    def _died(self, id: ObjectID, key: Key) -> None:
        self._unpin(id)
        self._let_go(key)

    def _let_go(self, key: Key) -> None:
        views = self._views[key]
        views.pop()
        if not views:
            self._settle(key)

    def _settle(self, key: Key) -> None:
        notice = self._owed.pop(key, None)
        if notice is not None:
            self._writer.free(notice.block, notice.keep)
