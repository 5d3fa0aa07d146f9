"""What carries words between the driver and its daemon: a socket pair. (Workers have theirs: worker_process.py.)"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from labray.backends.cluster.wire.client_pipe import ClientPipe, ReadyPoll, WakeupBell
from labray.backends.cluster.wire.file_descriptors import described
from labray.backends.cluster.wire.frames import decode_notices
from labray.backends.cluster.wire.pipe import PipeClosed
from labray.client.uninterrupted import at_once
from labray.errors import SessionError

if TYPE_CHECKING:
    from labray.client.uninterrupted import Step

LAST_WORDS_S = 5.0
"""To say why a session has ended; what says nothing so long hangs."""
SILENT = "the process that starts all others was killed, or hangs"


def _last_words(fork_server: socket.socket) -> str:
    """Why a session has ended. The fork server says so, ends everything, and then itself: not for ever, if it hangs."""
    deadline = time.monotonic() + LAST_WORDS_S
    ready = select.poll()
    ready.register(fork_server, select.POLLIN)
    told = b""
    try:
        while ready.poll(max(0.0, 1000 * (deadline - time.monotonic()))):
            part = fork_server.recv(1 << 16)
            if not part:
                break
            told += part
    except ConnectionError:  # it had not read all that we said
        return told.decode(errors="replace") or SILENT
    except OSError as error:
        return f"{told.decode(errors='replace')}({described(error)})"
    return told.decode(errors="replace") or SILENT


class QueueFrame(Protocol):
    def __call__(self, frame: bytes, fd: int = -1) -> Step:
        """The step that puts a frame behind those that are to be sent. fd: a descriptor that goes with it."""


class ClientWire(Protocol):
    """Carries frames of messages. `push` and `receive` are called by one thread at a time each."""

    queue: QueueFrame

    def push(self) -> None:
        """Send them all."""

    def receive(self, timeout: float | None, inbox: deque[Any]) -> bool:
        """Put what is there into the inbox, waiting up to `timeout` seconds (None: for ever); whether there was any.

        Raises if the session is over.
        """

    def nudge(self) -> None:
        """Make a `receive` that waits return."""

    def interrupt(self, reason: BaseException) -> None:
        """Make this and every later `receive` raise."""

    def close(self) -> None: ...


class DriverWire:
    """From the driver to its daemon, over a socket pair. Each direction has one thread at a time.

    Not zmq: its two I/O threads cost four more wakeups for a question and its answer, each up to 50 us across cores.
    """

    def __init__(self, end: socket.socket, fork_server: socket.socket) -> None:
        self._end = ClientPipe(end)
        self.queue = self._end.queue
        self._fork_server = fork_server
        self._bell = WakeupBell()
        self._over: BaseException | None = None
        self._failing = threading.RLock()
        self._writable = ReadyPoll((end.fileno(), select.POLLOUT))
        fds = end.fileno(), self._bell.fd, fork_server.fileno()
        self._readable = ReadyPoll(*[(fd, select.POLLIN) for fd in fds])

    def greet(self, timeout: float) -> None:
        """Wait for the daemon's first word."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            if self.receive(left, deque()):
                return
        raise SessionError(f"the first node did not answer within {timeout:g} s")

    def push(self) -> None:
        if self._over:
            raise self._over
        try:
            self._end.send(self._writable.wait)
        except PipeClosed:
            self._fail()

    def receive(self, timeout: float | None, inbox: deque[Any]) -> bool:
        if timeout != 0 and not self._end.has_frame:  # to try in vain costs as much, and it mostly would be
            self._wait(timeout)
        if self._over:
            raise self._over
        try:
            got = self._end.receive()
        except PipeClosed:
            self._fail()
        if got is None:
            return False
        frame, taken = got
        with contextlib.suppress(LookupError):  # a signal handler called labray, and has taken it
            at_once(*taken, partial(inbox.extend, decode_notices(frame)))
        return True

    def _wait(self, timeout: float | None) -> None:
        for fd, _ in self._readable.wait(timeout):
            if fd == self._bell.fd:
                self._bell.hush()
            elif fd == self._fork_server.fileno():
                self._fail()

    def _fail(self) -> NoReturn:
        """The fork server has something to say, which it does only when the session is over."""
        with self._failing:
            if self._over is None:
                self._over = SessionError(f"the session has ended: {_last_words(self._fork_server)}")
        raise self._over

    def interrupt(self, reason: BaseException) -> None:
        self._over = self._over or reason
        self._bell.ring()

    def nudge(self) -> None:
        self._bell.ring()

    def close(self) -> None:
        self._end.close()
        self._bell.release()
