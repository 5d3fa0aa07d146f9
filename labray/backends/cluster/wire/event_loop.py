"""What a daemon waits for: descriptors that can be read or written, and alarms. It knows no node and no message."""

from __future__ import annotations

import heapq
import math
import select
from collections.abc import Callable, Iterator
from time import monotonic


class EventLoop:
    """Calls whoever watches a descriptor when there is something to read, or room to write."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._readers: dict[int, Callable[[], None]] = {}
        self._writers: dict[int, Callable[[], bool]] = {}

    def watch(self, fd: int, read: Callable[[], None]) -> None:
        self._readers[fd] = read
        self._epoll.register(fd, select.EPOLLIN)

    def when_writable(self, fd: int, write: Callable[[], bool]) -> None:
        """Call `write` at every chance until it says that it is done."""
        self._writers[fd] = write
        self._epoll.modify(fd, select.EPOLLIN | select.EPOLLOUT)

    def unwatch(self, fd: int) -> None:
        del self._readers[fd]
        self._writers.pop(fd, None)
        self._epoll.unregister(fd)

    def turn(self, timeout: float) -> None:
        """Wait up to so many seconds (-1: for ever) and call whoever is ready."""
        for fd, events in self._epoll.poll(timeout):
            write = self._writers.get(fd)
            if write is not None and events & select.EPOLLOUT and write():
                del self._writers[fd]
                self._epoll.modify(fd, select.EPOLLIN)
            read = self._readers.get(fd)
            if read is not None and events & ~select.EPOLLOUT:
                read()


class AlarmQueue:
    """When a daemon's nodes want to be woken. Of two at the same time the one that was set first comes first."""

    def __init__(self) -> None:
        self._alarms: list[tuple[float, int, str, int]] = []
        self._count = 0

    def set(self, after: float, place: str, token: int) -> None:
        self._count += 1
        heapq.heappush(self._alarms, (monotonic() + after, self._count, place, token))

    @property
    def due(self) -> float:
        """When the next one rings; infinite if there is none."""
        return self._alarms[0][0] if self._alarms else math.inf

    def rung(self) -> Iterator[tuple[str, int]]:
        """Place and token of each that is due."""
        while self._alarms and self._alarms[0][0] <= monotonic():
            yield heapq.heappop(self._alarms)[2:]
