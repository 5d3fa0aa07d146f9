"""One end of the wire between a daemon and a client: a Unix socket pair that keeps message boundaries.

Each end has one reader: frames arrive in the order in which they were sent. Frames too large for the socket travel as
an anonymous file whose descriptor is passed along.
"""

from __future__ import annotations

import mmap
import os
import socket
from collections import deque

LARGEST_FRAME_BYTES = 128 * 1024
"""Above a frame goes by file: a socket buffer (212,992 bytes by default) should hold more than one."""

_FD_BYTES = socket.CMSG_SPACE(4)


class Closed(Exception):
    """The other end is gone."""


def pair() -> tuple[socket.socket, socket.socket]:
    """The daemon's end and the client's end, both non-blocking, with the widest buffers the kernel allows."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        end.setblocking(False)
    return ends


class Pipe:
    """Whole frames over one non-blocking socket. What does not fit at once waits in `backlog`, in order."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self.backlog: deque[bytes] = deque()
        self._room = bytearray(LARGEST_FRAME_BYTES)
        self._view = memoryview(self._room)

    def fileno(self) -> int:
        return self.socket.fileno()

    def send(self, frame: bytes) -> None:
        """Send now or queue; `flush` when the socket is writable again."""
        if self.backlog or not self.offer(frame):
            self.backlog.append(frame)

    def flush(self) -> bool:
        """Send what waits; True when nothing does any more."""
        while self.backlog and self.offer(self.backlog[0]):
            self.backlog.popleft()
        return not self.backlog

    def offer(self, frame: bytes) -> bool:
        """Send now or not at all; whether it was sent. Raises Closed."""
        try:
            if len(frame) <= LARGEST_FRAME_BYTES:
                self.socket.send(frame)
            else:
                self._send_file(frame)
        except BlockingIOError:
            return False
        except OSError as error:  # broken pipe, reset: the reader is gone
            raise Closed(str(error)) from error
        return True

    def _send_file(self, frame: bytes) -> None:
        fd = os.memfd_create("labray-frame", os.MFD_CLOEXEC)
        try:
            os.truncate(fd, len(frame))
            with mmap.mmap(fd, len(frame)) as room:
                room[:] = frame
            socket.send_fds(self.socket, [len(frame).to_bytes(8, "little")], [fd])
        finally:
            os.close(fd)

    def receive(self) -> memoryview | bytes | None:
        """The next frame, valid until the next call; None if there is none yet. Raises Closed at the end."""
        try:
            count, extra, _, _ = self.socket.recvmsg_into([self._room], _FD_BYTES)
        except BlockingIOError:
            return None
        except (
            ConnectionResetError
        ):  # told once, if the other end went and left something unread: what it said is here
            return self.receive()
        except OSError as error:
            raise Closed(str(error)) from error
        if extra:
            return self._read_file(extra[0][2], int.from_bytes(self._view[:8], "little"))
        if count == 0:
            raise Closed("end of file")
        return self._view[:count]

    def _read_file(self, ancillary: bytes, size: int) -> bytes:
        fd = int.from_bytes(ancillary[:4], "little")
        try:
            with mmap.mmap(fd, size, access=mmap.ACCESS_READ) as room:
                return room[:]
        finally:
            os.close(fd)

    def close(self) -> None:
        self.socket.close()
