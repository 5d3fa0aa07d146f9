"""The two wires a client can have: zmq to the daemon (a driver), a socket pair (a worker)."""

from __future__ import annotations

import math
import os
import select
import socket
import threading
from typing import TYPE_CHECKING

import zmq

from labray.backends.cluster.frames import CALLS, HELLO, decode_notices, encode
from labray.errors import SessionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labray.backends.cluster.frames import Segment
    from labray.messages import Call, Notice


def identity(name: str, token: str) -> bytes:
    """What a zmq socket calls itself: only who can read the session's directory knows the token."""
    return f"{name}:{token}".encode()


def dealer(context: zmq.Context[zmq.Socket[bytes]], name: str, token: str, path: str) -> zmq.Socket[bytes]:
    """A socket towards a daemon, which may not be up yet."""
    end = context.socket(zmq.DEALER)
    end.identity = identity(name, token)
    end.sndhwm = end.rcvhwm = 0  # a full queue would block or drop; what is queued is bounded by the program
    end.linger = 0
    end.reconnect_ivl = 1  # ms; the default of 100 would be felt in every init()
    end.connect(f"ipc://{path}")
    return end


def has_mail(end: zmq.Socket[bytes]) -> bool:
    """Whether there is something to read. Ask before every sleep: the descriptor tells of changes only."""
    events: int = end.getsockopt(zmq.EVENTS)  # type: ignore[assignment]
    return bool(events & zmq.POLLIN)


class ZmqWire:
    """From the driver to its daemon. The socket is touched under a lock; waiting is done beside it, on descriptors.

    A zmq socket's descriptor tells of changes only, so whoever has sent looks whether something came in.
    """

    def __init__(self, name: str, token: str, path: str, template: socket.socket) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = dealer(self._context, name, token, path)
        self._lock = threading.Lock()
        self._early: list[Notice] = []
        self._template = template
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._over: BaseException | None = None
        self._failing = threading.Lock()
        self._news = select.poll()
        self._news.register(template, select.POLLIN)
        self._poll = select.poll()
        self._fd: int = self._socket.getsockopt(zmq.FD)  # type: ignore[assignment]
        for fd in (self._fd, self._bell, template.fileno()):
            self._poll.register(fd, select.POLLIN)

    def greet(self, timeout: float) -> None:
        """Wait until the daemon answers."""
        with self._lock:
            self._socket.send(HELLO)
        end = zmq.POLLIN
        poller = zmq.Poller()
        poller.register(self._socket, end)
        poller.register(self._template.fileno(), end)
        events = dict(poller.poll(math.ceil(timeout * 1000)))
        if self._template.fileno() in events:
            self._fail()
        if not events:
            raise SessionError(f"the first node did not answer within {timeout:g} s")
        with self._lock:
            frame = self._socket.recv()
        assert frame == HELLO, frame

    def send(self, messages: Sequence[Call | Segment]) -> None:
        if self._over:
            raise self._over
        if self._news.poll(0):  # 1 us, so that nobody goes on submitting to the dead
            self._fail()
        frame = CALLS + encode(messages)
        with self._lock:
            self._socket.send(frame, zmq.NOBLOCK)  # copied: without, pyzmq starts a thread
            if has_mail(self._socket):
                self._drain()
                os.eventfd_write(self._bell, 1)

    def receive(self, timeout: float | None) -> list[Notice]:
        if self._over:
            raise self._over
        with self._lock:
            self._drain()
            notices, self._early = self._early, []
        if notices or timeout == 0:
            return notices
        for fd, _ in self._poll.poll(None if timeout is None else math.ceil(timeout * 1000)):
            if fd == self._bell:
                os.eventfd_read(self._bell)
            elif fd == self._template.fileno():
                self._fail()
        return self.receive(0)

    def _drain(self) -> None:
        while has_mail(self._socket):  # asking costs 1 us; trying to receive in vain, 8
            frame = self._socket.recv(zmq.NOBLOCK)
            self._early += decode_notices(memoryview(frame)[1:])

    def _fail(self) -> None:
        """The template has something to say, which it does only when the session is over."""
        with self._failing:
            if self._over is None:
                told = b""
                while part := self._template.recv(1 << 16):  # it ends everything, and then itself
                    told += part
                text = told.decode() or "the process that starts all others was killed"
                self._over = SessionError(f"the session has ended: {text}")
        raise self._over

    def interrupt(self, reason: BaseException) -> None:
        self._over = self._over or reason
        os.eventfd_write(self._bell, 1)

    def close(self) -> None:
        with self._lock:
            self._socket.close(0)
            self._context.term()
            os.close(self._bell)
