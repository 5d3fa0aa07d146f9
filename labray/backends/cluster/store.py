"""The object store of a node: segments of anonymous shared memory, each written by one process only.

A writer maps its segment, then seals it: nobody can map it writable any more, not even through its descriptor. The
node's daemon opens the segment when it is made, so blocks outlive their writer, and puts a symbolic link to
its own descriptor into the session's directory; every reader of the node, the driver included, opens that
link read-only. One way for all readers, no descriptors to pass round, and a kill -9 leaves no memory behind.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from pickle import PickleBuffer
from typing import TYPE_CHECKING, Any

from labray.backends.cluster.allocator import Allocator, aligned, extent
from labray.ids import ObjectID
from labray.messages import Block, Payload, Stored

if TYPE_CHECKING:
    from typing_extensions import Buffer

SEGMENT_BYTES = 64 * 1024 * 1024
F_SEAL_FUTURE_WRITE = 0x10  # not in fcntl before Python 3.13
SEALS = fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE | fcntl.F_SEAL_SEAL


def link(directory: str, writer: str, segment: int) -> str:
    """The path under which the readers of a node find a segment."""
    return os.path.join(directory, f"{writer.replace('/', '.')}.{segment}")


class Writer:
    """What one process writes. publish(number, fd) returns once the node's daemon holds the segment."""

    def __init__(self, name: str, publish: Callable[[int, int], None]) -> None:
        self._name = name
        self._publish = publish
        self._allocator = Allocator()
        self._maps: list[mmap.mmap] = []
        self._freed: deque[Block] = deque()
        self._lock = threading.Lock()

    def has_room(self, size: int) -> bool:
        with self._lock:
            self._settle()
            return self._allocator.fits(size)

    def write(self, parts: tuple[Buffer, ...]) -> Block:
        """Copy contiguous buffers, each to an aligned address."""
        views = [PickleBuffer(part).raw() for part in parts]  # raw: flat bytes, whatever the shape and order
        sizes = tuple(view.nbytes for view in views)
        segment, start = self._claim(extent(sizes))
        room = memoryview(self._maps[segment])
        offset = start
        for view in views:
            room[offset : offset + view.nbytes] = view
            offset += aligned(view.nbytes)
        return Block(self._name, segment, start, sizes)

    def write_whole(self, data: bytes, sizes: tuple[int, ...]) -> Block:
        """Copy a block as it lies in another node's store."""
        segment, start = self._claim(extent(sizes))
        self._maps[segment][start : start + len(data)] = data
        return Block(self._name, segment, start, sizes)

    def free(self, block: Block) -> None:
        """The block may be written again. Never waits: whoever reads the wire calls this."""
        self._freed.append(block)

    def close(self) -> None:
        """Let go of all memory; nothing is written any more."""
        self._maps.clear()

    def _settle(self) -> None:
        while self._freed:
            block = self._freed.popleft()
            self._allocator.free(block.segment, block.offset)

    def _claim(self, size: int) -> tuple[int, int]:
        with self._lock:
            self._settle()
            place = self._allocator.allocate(size)
            while place is None:
                self._grow(max(SEGMENT_BYTES, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE))
                place = self._allocator.allocate(size)
        return place

    def _grow(self, size: int) -> None:
        fd = os.memfd_create("labray-store", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.truncate(fd, size)
            room = mmap.mmap(fd, size)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
            number = len(self._maps)
            self._publish(number, fd)
        finally:
            os.close(fd)
        self._maps.append(room)
        self._allocator.add_segment(number, size)


class Segments:
    """The daemon's hold on every segment of its node."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._held: list[int] = []

    def hold(self, writer: str, number: int, path: str) -> None:
        """Open a segment (a path into /proc) and let the node's readers find it."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._held.append(fd)
        os.symlink(f"/proc/{os.getpid()}/fd/{fd}", link(self._directory, writer, number))


class _Watch(weakref.ref[Any]):
    """On the array behind an object's views. (weakref.finalize does as much, at four times the cost.)"""

    __slots__ = ("object_id", "unpin")
    object_id: ObjectID
    unpin: Callable[[ObjectID], None]

    __hash__ = object.__hash__  # of itself: an array has no hash, and a dead one is equal to nothing
    __eq__ = object.__eq__


class Reader:
    """Read-only views on the blocks of a node. Mappings are kept: mapping again costs a fault for every page."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._maps: dict[tuple[str, int], mmap.mmap] = {}
        self._watches: set[_Watch] = set()

    def view(self, block: Block) -> memoryview:
        """The bytes of a block as it lies in the store, padding included."""
        room = self._map(block)
        return memoryview(room)[block.offset : block.offset + extent(block.sizes)]

    def load(self, object_id: ObjectID, stored: Stored, unpin: Callable[[ObjectID], None]) -> Payload:
        """The payload without a copy; unpin(object_id) is called when the last view on it has died."""
        import numpy as np  # here: a program that stores nothing large should not pay for the import

        block = stored.block
        whole = np.frombuffer(self._map(block), np.uint8, extent(block.sizes), block.offset)
        # A memoryview of a memoryview hangs on the first exporter, not on the view between: only an array that
        # is itself the exporter lives exactly as long as the last view.
        watch = _Watch(whole, self._died)
        watch.object_id, watch.unpin = object_id, unpin
        self._watches.add(watch)
        view = memoryview(whole)  # type: ignore[arg-type]
        parts, offset = [], 0
        for size in block.sizes:
            parts.append(view[offset : offset + size])
            offset += aligned(size)
        return Payload(parts[0], tuple(parts[1:]), stored.refs)  # type: ignore[arg-type]

    def close(self) -> None:
        """Let go of all memory that no view is on."""
        self._maps.clear()

    def _died(self, watch: _Watch) -> None:
        self._watches.discard(watch)
        watch.unpin(watch.object_id)

    def _map(self, block: Block) -> mmap.mmap:
        key = (block.writer, block.segment)
        room = self._maps.get(key)
        if room is None:
            self._let_go()
            fd = os.open(link(self._directory, *key), os.O_RDONLY | os.O_CLOEXEC)
            try:
                room = self._maps[key] = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
            finally:
                os.close(fd)
        return room

    def _let_go(self) -> None:
        """Of segments that are gone with their writer: a mapping holds a descriptor, and what pages it has touched."""
        for key in [key for key in self._maps if not os.path.lexists(link(self._directory, *key))]:
            try:
                self._maps[key].close()
            except BufferError:  # there is a view on it
                continue
            del self._maps[key]
