"""A client's end of its pipe: frames come and go in single steps, so that an exception at any instruction loses none.

(A daemon has a thread of its own and runs nobody's code: pipe.py.) The socket does not block: so no signal handler runs
within a step, and whoever waits, waits outside of them.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import socket
from array import array
from collections.abc import Callable
from functools import partial
from io import FileIO
from itertools import count
from typing import Any

from labray.backends.cluster.wire.pipe import (
    BEGINS,
    FD_BYTES,
    HEAD_BYTES,
    LARGEST_BYTES,
    LARGEST_FRAME_BYTES,
    PipeClosed,
    again,
)
from labray.client.uninterrupted import Step, at_once, each


class ReadyPoll:
    """A poll with which a signal handler may wait too, while what it interrupted waits."""

    def __init__(self, *watched: tuple[int, int]) -> None:
        self._watched = watched
        self._poll = self._made()

    def _made(self) -> select.poll:
        poll = select.poll()
        for fd, events in self._watched:
            poll.register(fd, events)
        return poll

    def wait(self, seconds: float | None = None) -> list[tuple[int, int]]:
        """Until one of them is ready, or the time is up; those that are."""
        ms = None if seconds is None else math.ceil(seconds * 1000)
        with contextlib.suppress(RuntimeError):  # it is in use, further down on this thread's stack
            return self._poll.poll(ms)
        return self._made().poll(ms)


class WakeupBell:
    """Wakes whoever waits with it in hand."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def ring(self) -> None:
        if self.fd >= 0:
            os.eventfd_write(self.fd, 1)

    def hush(self) -> None:
        """It was heard."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.fd)

    def release(self) -> None:
        """Give its descriptor back. Idempotent."""
        if self.fd >= 0:
            at_once(partial(os.close, self.fd), partial(setattr, self, "fd", -1))


class ClientPipe:
    """frames: what is to be sent, in order, each under a number of its own: so it shows whether it is still there.

    A large one goes in pieces, as pipe.py has it. With a descriptor goes a copy of it, until it is sent.
    """

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self.frames: dict[int, tuple[bytes, FileIO | None]] = {}
        # Of the frame in the room: (size, descriptors, ...), as the socket gave it.
        self._arrived: dict[int, Any] = {}
        self._room = bytearray(LARGEST_FRAME_BYTES)
        self._view = memoryview(self._room)
        self._large: dict[int, int] = {}  # the size of the one that comes in pieces
        self._pieces: list[bytes] = []
        self._numbers = count()

    def queue(self, frame: bytes, fd: int = -1) -> Step:
        """The step that puts a frame behind the others."""
        (file,) = list(map(FileIO, map(os.dup, (fd,)), ("r+",))) if fd >= 0 else (None,)
        if len(frame) <= LARGEST_FRAME_BYTES:
            return partial(self.frames.__setitem__, next(self._numbers), (frame, file))
        assert len(frame) < LARGEST_BYTES, f"a message of {len(frame)} bytes: more than {LARGEST_BYTES}"
        parts = [bytes([BEGINS]) + len(frame).to_bytes(HEAD_BYTES - 1, "little")]
        parts += [frame[at : at + LARGEST_FRAME_BYTES] for at in range(0, len(frame), LARGEST_FRAME_BYTES)]
        numbers = [next(self._numbers) for _ in parts]
        return each(self.frames.__setitem__, numbers, [(part, None) for part in parts])

    def send(self, wait: Callable[[], object]) -> None:
        """Send all frames, waiting as often as there is no room. Raises Closed."""
        frames, end = self.frames, self.socket
        while frames:
            try:
                number, (frame, file) = next(iter(frames.items()))
                there, gone = partial(frames.__getitem__, number), partial(frames.pop, number)
                if file is None:
                    at_once(there, partial(end.send, frame), gone)
                else:
                    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [file.fileno()]))]
                    at_once(there, partial(end.sendmsg, [frame], rights), gone, file.close)
            except (LookupError, StopIteration, RuntimeError):  # a signal handler has sent it meanwhile
                continue
            except BlockingIOError:
                wait()
            except OSError as error:
                again(error)

    @property
    def has_frame(self) -> bool:
        """Whether one was read off the socket before, and was not taken."""
        return bool(self._arrived) or self._is_whole()

    def _is_whole(self) -> bool:
        return bool(self._large) and sum(map(len, self._pieces)) >= sum(self._large.values())

    def receive(self) -> tuple[bytes, tuple[Step, ...]] | None:
        """The first frame, and the steps that take it off; None if there is none yet. Raises Closed at the end."""
        while not self._is_whole():
            if not self._arrived and not self._fetch():
                return None
            try:
                number, (size, extra, _, _) = next(iter(self._arrived.items()))
            except (StopIteration, RuntimeError):  # a signal handler called labray, and has taken it
                return None
            if not size:
                raise PipeClosed("end of file")
            data = bytes(self._view[:size])
            if number not in self._arrived:  # the same, before it was copied: what is in the room came later
                return None
            taken: tuple[Step, ...] = (partial(self._arrived.pop, number),)
            if extra:  # nobody sends us any
                taken = (*taken, each(os.close, [fd for _, _, fds in extra for fd in array("i", fds)]))
            with contextlib.suppress(LookupError):  # the same
                if self._large:
                    at_once(*taken, partial(self._pieces.append, data))
                elif size != HEAD_BYTES or data[0] != BEGINS:
                    return data, taken
                else:
                    large = partial(self._large.__setitem__, number, _announced(data))
                    at_once(*taken, self._pieces.clear, large)
        number = next(iter(self._large), -1)
        whole = b"".join(self._pieces)
        if number not in self._large:  # the same
            return None
        return whole, (partial(self._large.pop, number), self._pieces.clear)

    def _fetch(self) -> bool:
        """Read a datagram off the socket, in the step in which it is kept."""
        got = map(self.socket.recvmsg_into, ((self._room,),), (FD_BYTES,), (socket.MSG_CMSG_CLOEXEC,))
        try:
            self._arrived.update(zip((next(self._numbers),), got, strict=False))
        except BlockingIOError:
            return False
        except ConnectionResetError:  # told once, if the other end left something unread
            return self._fetch()
        except OSError as error:
            return again(error)
        return True

    def close(self) -> None:
        self.socket.close()


def _announced(head: bytes) -> int:
    size = int.from_bytes(head[1:], "little")
    if not LARGEST_FRAME_BYTES < size < LARGEST_BYTES:
        raise PipeClosed(f"what is at the other end announces a frame of {size} bytes")
    return size
