"""Where blocks lie in segments of shared memory: pure logic, no memory touched.

First fit over a list of holes sorted by address; neighbours merge when a block is freed, so a freed block is the
first to be used again. That matters more than tightness: pages already faulted in are ten times faster to
write (measured here: 14.9 against 1.4 GB/s for 100 MB).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from functools import partial

from labray.client.uninterrupted import Step, at_once

ALIGNMENT_BYTES = 64
"""What SIMD loads like best, and a cache line."""


def aligned(size: int) -> int:
    """The size rounded up to a whole number of alignment units; at least one."""
    return max(ALIGNMENT_BYTES, -(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES)


def extent(sizes: tuple[int, ...]) -> int:
    """Bytes that buffers of these sizes take when each begins aligned."""
    return sum(map(aligned, sizes))


class Allocator:
    """Blocks in segments, each named by its number. Sizes in bytes."""

    def __init__(self) -> None:
        self._holes: list[tuple[int, int, int]] = []  # (segment, offset, size), sorted, never adjacent
        self._blocks: dict[tuple[int, int], int] = {}  # (segment, offset) -> size
        self._segments: dict[int, int] = {}

    @property
    def used(self) -> int:
        return sum(self._blocks.values())

    def add_segment(self, segment: int, size: int) -> None:
        """A new piece of memory to hand out; its size is a multiple of the alignment."""
        assert segment not in self._segments and size % ALIGNMENT_BYTES == 0
        self._segments[segment] = size
        insort(self._holes, (segment, 0, size))

    def allocate(self, size: int, *steps: Step) -> tuple[int, int] | None:
        """Segment and offset of a new block, or None if no hole is large enough. steps: are taken with it."""
        wanted = aligned(size)
        for position, (segment, offset, room) in enumerate(self._holes):
            if room >= wanted:
                rest = [(segment, offset + wanted, room - wanted)] if room > wanted else []
                fill = partial(self._holes.__setitem__, slice(position, position + 1), rest)
                at_once(fill, partial(self._blocks.__setitem__, (segment, offset), wanted), *steps)
                return segment, offset
        return None

    def find(self, size: int) -> tuple[int, int] | None:
        """Where a block of this size would be allocated now."""
        wanted = aligned(size)
        for segment, offset, room in self._holes:
            if room >= wanted:
                return segment, offset
        return None

    def fits(self, size: int) -> bool:
        """Whether a block of this size could be allocated now."""
        return self.find(size) is not None

    def used_up_to(self, segment: int) -> int:
        """The offset behind the last block of a segment; its size if it is full."""
        size = self._segments[segment]
        at = bisect_left(self._holes, (segment + 1, 0, 0)) - 1
        if at >= 0 and self._holes[at][0] == segment and sum(self._holes[at][1:]) == size:
            return self._holes[at][1]
        return size

    def free(self, segment: int, offset: int, *steps: Step) -> None:
        """Give a block back. A block that is not allocated is a KeyError. steps: are taken with it."""
        size, start = self._blocks[segment, offset], offset
        first = last = bisect_left(self._holes, (segment, offset, 0))
        if last < len(self._holes) and self._holes[last][:2] == (segment, offset + size):
            size += self._holes[last][2]
            last += 1
        if first and self._holes[first - 1][0] == segment:
            _, before, room = self._holes[first - 1]
            if before + room == offset:
                first -= 1
                start, size = before, size + room
        merge = partial(self._holes.__setitem__, slice(first, last), [(segment, start, size)])
        at_once(partial(self._blocks.pop, (segment, offset)), merge, *steps)

    def validate(self) -> None:
        """Holes and blocks tile every segment, and no two holes touch."""
        pieces = [(s, o, n, 0) for s, o, n in self._holes]
        pieces += [(s, o, n, 1) for (s, o), n in self._blocks.items()]
        ends = dict.fromkeys(self._segments, 0)
        before = (-1, 1)
        for segment, offset, size, block in sorted(pieces):
            assert ends[segment] == offset, (segment, offset)
            assert (segment, 0) != before or block, "two holes touch"
            ends[segment] = offset + size
            before = (segment, block)
        assert ends == self._segments
