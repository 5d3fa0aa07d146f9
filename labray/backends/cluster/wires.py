"""What leads to a daemon: zmq from other daemons, a socket pair from the driver. (Workers have theirs: worker.py.)"""

from __future__ import annotations

import math
import os
import select
import socket
import threading
import time
from typing import TYPE_CHECKING, NoReturn

import zmq

from labray.backends.cluster.descriptors import described
from labray.backends.cluster.frames import decode_notices, encode
from labray.backends.cluster.pipe import Closed, Pipe
from labray.errors import SessionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labray.backends.cluster.frames import Segment
    from labray.messages import Call, Notice


LAST_WORDS_S = 5.0
"""To say why a session has ended; what says nothing so long hangs."""
SILENT = "the process that starts all others was killed, or hangs"
POLLIN = int(zmq.POLLIN)  # of an enum, `&` takes 1 us


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
    return bool(events & POLLIN)


def _last_words(template: socket.socket) -> str:
    """Why a session has ended. The template says so, ends everything, and then itself: not for ever, if it hangs."""
    deadline = time.monotonic() + LAST_WORDS_S
    ready = select.poll()
    ready.register(template, select.POLLIN)
    told = b""
    try:
        while ready.poll(max(0.0, 1000 * (deadline - time.monotonic()))):
            part = template.recv(1 << 16)
            if not part:
                break
            told += part
    except ConnectionError:  # it had not read all that we said
        return told.decode(errors="replace") or SILENT
    except OSError as error:
        return f"{told.decode(errors='replace')}({described(error)})"
    return told.decode(errors="replace") or SILENT


class LineWire:
    """From the driver to its daemon, over a socket pair. Each direction has one thread at a time.

    Not zmq: its two I/O threads cost four more wakeups for a question and its answer, each up to 50 us across cores.
    """

    def __init__(self, end: socket.socket, template: socket.socket) -> None:
        self._pipe = Pipe(end)
        self._sending = threading.Lock()
        self._template = template
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._over: BaseException | None = None
        self._failing = threading.Lock()
        self._readable = select.poll()
        self._writable = select.poll()
        self._writable.register(end, select.POLLOUT)
        for fd in (end.fileno(), self._bell, template.fileno()):
            self._readable.register(fd, select.POLLIN)

    def greet(self, timeout: float) -> None:
        """Wait for the daemon's first word."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            self._wait(left)
            try:
                if self._pipe.receive() is not None:
                    return
            except Closed:
                self._fail()
        raise SessionError(f"the first node did not answer within {timeout:g} s")

    def send(self, messages: Sequence[Call | Segment], fd: int = -1) -> None:
        with self._sending:
            if self._over:
                raise self._over
            try:
                self._pipe.deliver(encode(messages), self._writable.poll, fd)
            except Closed:
                self._fail()

    def receive(self, timeout: float | None) -> list[Notice]:
        if timeout != 0:  # waiting first: to try in vain costs as much, and it mostly would be
            self._wait(timeout)
        if self._over:
            raise self._over
        try:
            frame = self._pipe.receive()
        except Closed:
            self._fail()
        return [] if frame is None else decode_notices(frame)

    def _wait(self, timeout: float | None) -> None:
        for fd, _ in self._readable.poll(None if timeout is None else math.ceil(timeout * 1000)):
            if fd == self._bell:
                os.eventfd_read(self._bell)
            elif fd == self._template.fileno():
                self._fail()

    def _fail(self) -> NoReturn:
        """The template has something to say, which it does only when the session is over."""
        with self._failing:
            if self._over is None:
                self._over = SessionError(f"the session has ended: {_last_words(self._template)}")
        raise self._over

    def interrupt(self, reason: BaseException) -> None:
        self._over = self._over or reason
        os.eventfd_write(self._bell, 1)

    def close(self) -> None:
        self._pipe.close()
        os.close(self._bell)
