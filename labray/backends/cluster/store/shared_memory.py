"""A segment of shared memory as its writer has it: pages are had before they are written to, and given back."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os

MADV_POPULATE_WRITE = 23  # Linux 5.14; not in mmap before Python 3.13


class NoMemory(OSError):
    """The system has no memory for it, whatever the node's account says."""


class Segment:
    """granted: bytes from its start that the node knows of; backed: that have pages."""

    __slots__ = ("backed", "fd", "granted", "room", "size")

    def __init__(self, fd: int, size: int, room: mmap.mmap, granted: int) -> None:
        self.fd = fd
        self.size = size
        self.room = room
        self.granted = granted
        self.backed = 0

    def back(self, end: int) -> None:
        """Have pages up to here."""
        end = min(-(-end // mmap.PAGESIZE) * mmap.PAGESIZE, self.size)
        if end <= self.backed:
            return
        try:
            self.room.madvise(MADV_POPULATE_WRITE, self.backed, end - self.backed)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise NoMemory(f"the system has no memory for {end - self.backed} bytes ({error})") from error
            self._allocate(end)
        self.backed = end

    def _allocate(self, end: int) -> None:
        """As kernels before 5.14 can."""
        try:
            os.posix_fallocate(self.fd, self.backed, end - self.backed)
        except OSError as error:
            raise NoMemory(f"the system has no memory for {end - self.backed} bytes ({error})") from error

    def trim(self, end: int) -> None:
        """Give back what lies behind this."""
        end = -(-end // mmap.PAGESIZE) * mmap.PAGESIZE
        self.granted = min(self.granted, end)
        if end < self.backed:
            with contextlib.suppress(OSError):  # what cannot grow again has no pages, which `back` then says
                os.truncate(self.fd, end)
                self.backed = end
                os.truncate(self.fd, self.size)
