"""What daemons and the template say to each other, over a socket pair that keeps message boundaries.

Daemon to template: fork (with the worker's end of its pipe, and its permits), kill, interrupt, fatal. Template to
daemon: gone (a worker), lost or joined (another place). Driver to template, over a stream: join or remove (a place).
"""

from __future__ import annotations

import array
import socket

import msgspec
from msgspec import Struct


class Errand(Struct, frozen=True, array_like=True):
    verb: str
    subject: str
    detail: str = ""


_HEAD_BYTES = 8
LARGEST_BYTES = 150_000
_FD_BYTES = socket.CMSG_SPACE(8)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Errand).decode


def send(end: socket.socket, errand: Errand, fds: tuple[int, ...] = ()) -> None:
    """Say it; if the other end is gone there is nobody to hear it, which it learns otherwise."""
    try:
        socket.send_fds(end, [_encode(errand)], fds)
    except (BrokenPipeError, ConnectionResetError):
        return


def receive(end: socket.socket) -> tuple[Errand, list[int]] | None:
    """The next one and the descriptors with it, without waiting; None if there is none now or ever."""
    try:  # not socket.recv_fds: that ignores its flags
        data, extra, _, _ = end.recvmsg(LARGEST_BYTES, _FD_BYTES, socket.MSG_DONTWAIT)
    except (BlockingIOError, ConnectionResetError):
        return None
    fds = [fd for _, _, data_of_fds in extra for fd in array.array("i", data_of_fds)]
    return (_decode(data), fds) if data else None


def send_stream(end: socket.socket, errand: Errand) -> None:
    """Over a stream socket. Raises OSError if nobody listens any more."""
    data = _encode(errand)
    end.sendall(len(data).to_bytes(_HEAD_BYTES, "little") + data)


def receive_stream(end: socket.socket) -> Errand | None:
    """The next one, which has begun to arrive; None at the end of the stream."""
    head = _exactly(end, _HEAD_BYTES)
    data = _exactly(end, int.from_bytes(head, "little")) if head else b""
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
