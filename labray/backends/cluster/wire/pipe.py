"""The daemon's end of the wire to a client (its own: client_pipe.py), a Unix socket pair that keeps message boundaries.

Each end has one reader: frames arrive in the order in which they were sent. Frames too large for the socket travel in
pieces, not as files: whoever is out of descriptors can neither make nor receive one, and what is lost so is lost
without a word. A client's descriptor travels with the one frame that is about it (a Segment).
"""

from __future__ import annotations

import errno
import os
import socket
import time
from array import array
from collections import deque
from collections.abc import Callable

LARGEST_FRAME_BYTES = 128 * 1024
"""Above a frame goes in pieces of this size: a socket buffer (212,992 bytes by default) should hold more than one."""
LARGEST_BYTES = 1 << 32
"""Of a frame in pieces: more than one bytes object may have in msgpack. Who announces more is not one of us."""
GONE = frozenset((errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.ESHUTDOWN, errno.EBADF))
SHORT = frozenset((errno.ENOBUFS, errno.ENOMEM))
PAUSE_S = 0.001
"""When the kernel has no memory for a message: the socket says that it is writable all the same."""

BEGINS = 0xC1  # no msgpack begins so: the length of a frame follows, and then the frame in pieces
HEAD_BYTES = 9
FD_BYTES = socket.CMSG_SPACE(4)


class PipeClosed(Exception):
    """The other end is gone."""


def pair() -> tuple[socket.socket, socket.socket]:
    """The daemon's end and the client's end, both non-blocking, with the widest buffers the kernel allows."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        end.setblocking(False)
    return ends


class Pipe:
    """Whole frames over one non-blocking socket. What does not fit at once waits in `backlog`, in order.

    passed: the descriptor that came with the frame that was received last, for who wants it to take; -1: none.
    """

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self.backlog: deque[bytes] = deque()
        self.passed = -1
        self._unsent: memoryview | None = None  # of a large frame, of which some has gone
        self._room = bytearray(LARGEST_FRAME_BYTES)
        self._view = memoryview(self._room)
        self._large: memoryview | None = None  # a frame in pieces, and how much of it is there
        self._filled = 0

    def fileno(self) -> int:
        return self.socket.fileno()

    @property
    def waits(self) -> bool:
        """Whether something has not left: also the rest of a large frame does."""
        return bool(self.backlog) or self._unsent is not None

    def send(self, frame: bytes) -> None:
        """Send now or queue; `flush` when the socket is writable again."""
        if self.backlog or not self.offer(frame):
            self.backlog.append(frame)

    def flush(self) -> bool:
        """Send what waits; True when nothing does any more."""
        while self.backlog and self.offer(self.backlog[0]):
            self.backlog.popleft()
        return not self.backlog and (self._unsent is None or self._attempt(self._send_pieces))

    def offer(self, frame: bytes) -> bool:
        """Send now, or not at all; whether it was sent. Of a large one the rest leaves before anything else does."""
        if self._unsent is not None and not self._attempt(self._send_pieces):
            return False
        if len(frame) > LARGEST_FRAME_BYTES:
            return self._offer_large(frame)
        try:
            self.socket.send(frame)
        except BlockingIOError:
            return False
        except OSError as error:
            return again(error)
        return True

    def _offer_large(self, frame: bytes) -> bool:
        assert len(frame) < LARGEST_BYTES, f"a message of {len(frame)} bytes: more than {LARGEST_BYTES}"
        head = bytes([BEGINS]) + len(frame).to_bytes(HEAD_BYTES - 1, "little")
        if not self._attempt(lambda: self.socket.send(head)):
            return False
        self._unsent = memoryview(frame)
        self._attempt(self._send_pieces)
        return True

    def _send_pieces(self) -> None:
        """On from where the last attempt ended."""
        while self._unsent:
            self.socket.send(self._unsent[:LARGEST_FRAME_BYTES])
            self._unsent = self._unsent[LARGEST_FRAME_BYTES:]
        self._unsent = None

    def _attempt(self, send: Callable[[], object]) -> bool:
        try:
            send()
        except OSError as error:
            return again(error)
        return True

    def receive(self) -> memoryview | None:
        """The next frame, valid until the next call; None if there is none yet. Raises Closed at the end."""
        while True:
            room = self._view if self._large is None else self._large[self._filled :]
            try:
                count, extra, _, _ = self.socket.recvmsg_into([room], FD_BYTES, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return None
            except ConnectionResetError:  # told once; what it said before it left is still here
                continue
            except OSError as error:
                again(error)
                return None
            if extra or self.passed >= 0:
                self._keep(extra)
            if count == 0:
                raise PipeClosed("end of file")
            if self._large is not None:
                self._filled += count
                if self._filled == len(self._large):
                    whole, self._large = self._large, None
                    return whole
            elif count != HEAD_BYTES or self._room[0] != BEGINS:
                return self._view[:count]
            else:
                self._begin(int.from_bytes(self._view[1:count], "little"))

    def _begin(self, size: int) -> None:
        if not LARGEST_FRAME_BYTES < size < LARGEST_BYTES:
            raise PipeClosed(f"what is at the other end announces a frame of {size} bytes")
        self._large, self._filled = memoryview(bytearray(size)), 0

    def _keep(self, extra: list[tuple[int, int, bytes]]) -> None:
        """What came with the last frame and nobody took is nobody's; what comes with this one may be wanted."""
        if self.passed >= 0:
            os.close(self.passed)
        fds = [fd for _, _, data in extra for fd in array("i", data)]
        self.passed = fds.pop(0) if fds else -1
        for fd in fds:
            os.close(fd)

    def take_descriptor(self) -> int:
        """The descriptor that came with the last frame, from now on the caller's; -1 if there was no room for it."""
        fd, self.passed = self.passed, -1
        return fd

    def close(self) -> None:
        self._keep([])
        self.socket.close()


def again(error: OSError) -> bool:
    """False, perhaps after a moment, if to try again may help. Raises Closed at the end, and what is unheard of."""
    if error.errno in GONE:
        raise PipeClosed(str(error)) from error
    if error.errno in SHORT:
        time.sleep(PAUSE_S)
    elif error.errno != errno.EAGAIN:
        raise error
    return False
