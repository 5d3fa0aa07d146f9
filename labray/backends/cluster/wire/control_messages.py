"""What daemons and the fork server say to each other, over a socket pair that keeps message boundaries.

A daemon says: fork (with the worker's end of its pipe, and its permits), end, kill, interrupt, late (who is declared
dead) and fatal. The fork server says: gone (of a worker), lost or joined (of another place). The driver says to the
fork server, over a stream: join or remove (a place), and end. Nobody waits for another, who may be stopped: what finds
no room is kept.
"""

from __future__ import annotations

import errno
import os
import socket
from array import array
from collections import deque

import msgspec
from msgspec import Struct

from labray.backends.cluster.wire.pipe import GONE, SHORT


class ControlMessage(Struct, frozen=True, array_like=True):
    verb: str
    subject: str
    detail: str = ""


_HEAD_BYTES = 8
LARGEST_BYTES = 150_000
_FD_BYTES = socket.CMSG_SPACE(8)

encoded = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(ControlMessage).decode


class ControlSender:
    """One end, as who speaks has it."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self.waiting: deque[tuple[bytes, tuple[int, ...]]] = deque()

    def send(self, message: ControlMessage, fds: tuple[int, ...] = ()) -> None:
        """Say it, now or at a later `flush`. Descriptors stay the caller's: they are copied. Raises OSError."""
        data = encoded(message)
        if not (self.flush() and self._try(data, fds)):
            self.waiting.append((data, tuple([os.dup(fd) for fd in fds])))

    def flush(self) -> bool:
        """Say what waits; whether nothing does any more."""
        while self.waiting and self._try(*self.waiting[0]):
            for fd in self.waiting.popleft()[1]:
                os.close(fd)
        return not self.waiting

    def _try(self, data: bytes, fds: tuple[int, ...]) -> bool:
        """If the other end is gone there is nobody to hear it, which we learn otherwise."""
        try:
            passed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", fds))] if fds else []
            self.end.sendmsg(
                [data], passed, socket.MSG_DONTWAIT
            )  # not socket.send_fds: that ignores its flags
        except OSError as error:
            if error.errno in (errno.EAGAIN, *SHORT):
                return False
            if error.errno not in GONE:  # more descriptors are on their way than there may be, say
                raise
        return True


def receive(end: socket.socket) -> tuple[ControlMessage, list[int]] | None:
    """The next one and the descriptors with it, without waiting; None if there is none now or ever.

    There are none where we had no room for them.
    """
    try:  # not socket.recv_fds: that ignores its flags
        data, extra, _, _ = end.recvmsg(
            LARGEST_BYTES, _FD_BYTES, socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
        )
    except OSError as error:
        if error.errno not in (errno.EAGAIN, *SHORT, *GONE):
            raise
        return None
    fds = [fd for _, _, passed in extra for fd in array("i", passed)]
    return (_decode(data), fds) if data else None


def send_stream(end: socket.socket, message: ControlMessage) -> None:
    """Over a stream socket. Raises OSError if nobody listens any more."""
    data = encoded(message)
    end.sendall(len(data).to_bytes(_HEAD_BYTES, "little") + data)


def receive_stream(end: socket.socket) -> ControlMessage | None:
    """The next one, which has begun to arrive; None at the end of the stream."""
    head = _exactly(end, _HEAD_BYTES)
    size = int.from_bytes(head, "little")
    data = _exactly(end, size) if 0 < size <= LARGEST_BYTES else b""
    return _decode(data) if data else None


def _exactly(end: socket.socket, count: int) -> bytes:
    """So many bytes, or none at the end of the stream."""
    parts = b""
    while len(parts) < count:
        part = end.recv(count - len(parts))
        if not part:
            return b""
        parts += part
    return parts
