"""What this process put into its node's store itself: it is read again without asking.

The node need not pin it for us: the block is in our own segment, and nobody but us can write there. So we keep it as
long as a view of ours is on it, even if the node has given it back (it was freed, or went to disk).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from labray.backends.cluster.store import Reader
    from labray.ids import ObjectID
    from labray.messages import Block, Payload, Stored

Key = tuple[int, int]
"""Segment and offset of a block."""


class Own:
    """free(block): it may be written again. No lock: views die in the middle of anything, so every step is atomic."""

    def __init__(self, reader: Reader, free: Callable[[Block], None]) -> None:
        self._reader = reader
        self._free = free
        self._known: dict[ObjectID, Stored] = {}
        self._ids: dict[Key, ObjectID] = {}
        self._views: dict[Key, list[None]] = {}
        self._owed: dict[Key, Block] = {}  # given back by the node while we still read it

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
        return self._reader.load(id, stored, lambda _: self._let_go(key))

    def reclaim(self, block: Block) -> None:
        """The node needs it no more: it may be written again once no view of ours is left."""
        key = (block.segment, block.offset)
        id = self._ids.pop(key, None)
        if id is not None:
            self._known.pop(id, None)
        self._owed[key] = block
        if not self._views.get(key):
            self._settle(key)

    def _let_go(self, key: Key) -> None:
        views = self._views[key]
        views.pop()
        if not views:
            self._settle(key)

    def _settle(self, key: Key) -> None:
        block = self._owed.pop(key, None)
        if block is not None:
            self._free(block)
