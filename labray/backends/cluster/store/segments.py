"""The object store of a node: segments of anonymous shared memory, each written by one process only.

A writer maps its segment, then seals it: nobody can map it writable any more, not even through its descriptor. Its
pages are had before they are written to, so that a lack of memory is an error and never SIGBUS; they go back by the
end of a segment, as a sealed one cannot have holes punched. Before its pages grow a writer asks its node. The node's
daemon is given a descriptor when the segment is made, so blocks outlive their writer, and puts a symbolic link to it
into the session's directory; every reader of the node, the driver included, opens that link read-only. (It does not
open the writer's: a driver that has given up root may not be looked into.) A kill -9 leaves no memory behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pickle import PickleBuffer
from typing import TYPE_CHECKING, Protocol

from labray.backends.cluster.store.allocator import Allocator, aligned, extent
from labray.backends.cluster.store.shared_memory import NoMemory, Segment
from labray.backends.cluster.wire.file_descriptors import OUT, described
from labray.client.uninterrupted import Step, at_once
from labray.errors import LabraySystemError
from labray.ids import ObjectID
from labray.messages import Block

if TYPE_CHECKING:
    from typing_extensions import Buffer

SEGMENT_BYTES = 64 * 1024 * 1024
F_SEAL_FUTURE_WRITE = 0x10  # not in fcntl before Python 3.13
SEALS = F_SEAL_FUTURE_WRITE | fcntl.F_SEAL_SEAL  # not against shrinking: so does its writer give pages back
STEP_BYTES = 8 * 1024 * 1024
"""A writer asks for so much at once, so that small values seldom ask."""


def link(directory: str, writer: str, segment: int) -> str:
    """The path under which the readers of a node find a segment."""
    return os.path.join(directory, f"{writer.replace('/', '.')}.{segment}")


class AskForRoom(Protocol):
    def __call__(self, id: ObjectID, size: int, more: int, most: int) -> int:
        """How many bytes the memory for this object's sake may grow: from `more` to `most`. Raises if it may not."""


class SegmentWriter:
    """The segments that one process writes. publish(number, fd) returns once the node's daemon holds the segment."""

    def __init__(self, name: str, publish: Callable[[int, int], None], ask: AskForRoom) -> None:
        self._name = name
        self._publish = publish
        self._ask = ask
        self._allocator = Allocator()
        self._segments: dict[int, Segment] = {}
        self._made = 0  # some of them for nobody: who waits for an answer may be interrupted
        self._freed: deque[Block] = deque()
        self._trimming = False
        self._lock = threading.RLock()  # a signal handler may call while its thread writes: that is refused

    def has_room(self, size: int) -> bool:
        """Whether it can be written without asking, and mostly into warm pages."""
        if self._is_writing():
            return True
        with self._lock:
            self._settle()
            place = self._allocator.find(size)
            return place is not None and place[1] + size <= self._segments[place[0]].granted

    def write(self, id: ObjectID, parts: tuple[Buffer, ...]) -> Block:
        """Copy contiguous buffers, each to an aligned address. Raises if there is no room."""
        views = [PickleBuffer(part).raw() for part in parts]  # raw: flat bytes, whatever the shape and order
        sizes = tuple(view.nbytes for view in views)
        claimed: deque[Block] = deque()
        try:
            block, room = self._claim(id, sizes, claimed)
            offset = 0
            for view in views:
                room[offset : offset + view.nbytes] = view
                offset += aligned(view.nbytes)
            return block
        except BaseException:
            self._freed.extend(claimed)
            raise

    def write_whole(self, id: ObjectID, data: bytes, sizes: tuple[int, ...]) -> Block:
        """Copy a block as it lies in another node's store."""
        block, room = self.room(id, sizes)
        room[:] = data
        return block

    def room(self, id: ObjectID, sizes: tuple[int, ...]) -> tuple[Block, memoryview]:
        """A new block, which the caller fills."""
        return self._claim(id, sizes, deque())

    def free(self, block: Block, keep: bool = True) -> None:
        """The block may be written again, or its pages are wanted. Never waits: whoever reads the wire calls this."""
        at_once(*self.freeing(block, keep))
        self.see_to_trimming()

    def freeing(self, block: Block, keep: bool) -> tuple[Step, ...]:
        """The steps of `free`."""
        freed = partial(self._freed.append, block)
        return (freed,) if keep else (freed, partial(setattr, self, "_trimming", True))

    def trim(self) -> None:
        """Give back the pages at the ends of segments; if somebody is about to write, after that. Never waits."""
        self._trimming = True
        self.see_to_trimming()

    def see_to_trimming(self) -> None:
        """Trim if that is wanted, and nobody is writing."""
        if not self._trimming or self._is_writing():
            return
        try:
            if self._lock.acquire(blocking=False):
                self._settle()
        finally:
            try:  # noqa: SIM105  (the first call in here: what was acquired is released, whatever is raised)
                self._lock.release()
            except RuntimeError:  # another thread has it
                pass

    def _is_writing(self) -> bool:
        """Whether this very thread is in the middle of something here."""
        mine: bool = self._lock._is_owned()  # type: ignore[attr-defined]
        return mine

    def let_go(self) -> None:
        """Let go of all memory; nothing is written any more."""
        while self._segments:
            os.close(self._segments.popitem()[1].fd)

    def _settle(self) -> None:
        freed = self._freed
        while freed:
            block = freed[0]
            self._allocator.free(block.segment, block.offset, freed.popleft)
        if self._trimming:
            for number, segment in self._segments.items():
                segment.trim(self._allocator.used_up_to(number))
            self._trimming = False

    def _claim(self, id: ObjectID, sizes: tuple[int, ...], claimed: deque[Block]) -> tuple[Block, memoryview]:
        """A block; it is in `claimed` from the step on in which it is taken."""
        if self._is_writing():
            raise LabraySystemError(
                "a signal handler cannot store a large value while its thread is storing one."
            )
        size = extent(sizes)
        with self._lock:
            self._settle()
            place = self._take(sizes, claimed)
            if place is None:
                self._grow(max(SEGMENT_BYTES, size), self._ask(id, size, size, max(size, STEP_BYTES)))
                place = self._take(sizes, claimed)
                assert place is not None
            segment, end = self._segments[place[0]], place[1] + size
            if end > segment.granted:
                most = min(end + STEP_BYTES, segment.size) - segment.granted
                segment.granted += self._ask(id, size, end - segment.granted, most)
            segment.back(end)
        return claimed[0], memoryview(segment.room)[place[1] : end]

    def _take(self, sizes: tuple[int, ...], claimed: deque[Block]) -> tuple[int, int] | None:
        size = extent(sizes)
        place = self._allocator.find(size)
        if place is None:
            return None
        return self._allocator.allocate(size, partial(claimed.append, Block(self._name, *place, sizes)))

    def _grow(self, size: int, granted: int) -> None:
        size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        number, self._made = self._made, self._made + 1
        fd = -1
        try:
            fd = os.memfd_create("labray-store", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.truncate(fd, size)
            room = mmap.mmap(fd, size)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
            self._publish(number, fd)
        except BaseException as error:
            if fd >= 0:
                os.close(fd)
            if isinstance(error, OSError) and error.errno in OUT:
                raise NoMemory(described(error)) from error
            if isinstance(error, OSError):
                raise NoMemory(f"the system has no memory for {size} bytes ({error})") from error
            raise
        self._segments[number] = Segment(fd, size, room, granted)
        self._allocator.add_segment(number, size)


class SegmentHolder:
    """The daemon's hold on every segment of its node."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._held: dict[tuple[str, int], int] = {}
        self._orphans: dict[tuple[str, int], int] = {}  # of writers that are gone -> blocks in use

    def hold(self, writer: str, number: int, fd: int) -> None:
        """Keep a segment by a descriptor of our own, and let the node's readers find it. Raises OSError."""
        try:
            os.symlink(f"/proc/{os.getpid()}/fd/{fd}", link(self._directory, writer, number))
        except OSError:
            os.close(fd)
            raise
        self._held[writer, number] = fd

    def orphaned(self, writer: str, blocks: Sequence[Block]) -> None:
        """A writer is gone; these blocks of it are in use."""
        for key in [key for key in self._held if key[0] == writer]:
            self._orphans[key] = sum(block.segment == key[1] for block in blocks)
            if not self._orphans[key]:
                self._release(key)

    def freed(self, block: Block) -> bool:
        """Whether its writer is gone, so that there is nobody to tell."""
        key = (block.writer, block.segment)
        if key not in self._orphans:
            return False
        self._orphans[key] -= 1
        if not self._orphans[key]:
            self._release(key)
        return True

    def _release(self, key: tuple[str, int]) -> None:
        """No view is on it, but readers keep mappings: emptied, it costs them nothing."""
        del self._orphans[key]
        fd = self._held.pop(key)
        os.truncate(fd, 0)
        os.close(fd)
        with contextlib.suppress(FileNotFoundError):  # the session's directory was removed
            os.unlink(link(self._directory, *key))
