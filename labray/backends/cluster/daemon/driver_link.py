"""The daemon's end of its driver's wire: a socket pair. Only the first daemon of a session has one."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from labray.backends.cluster.daemon.peer_sockets import complain
from labray.backends.cluster.wire.frames import decode_calls, encode
from labray.backends.cluster.wire.pipe import Pipe, PipeClosed

if TYPE_CHECKING:
    from labray.backends.cluster.daemon.event_loop import EventLoop


class DriverLink:
    """What the driver says is given to hear(driver, message), frame by frame; what it is told leaves at `flush`."""

    def __init__(
        self, loop: EventLoop, end: socket.socket | None, driver: str, hear: Callable[[str, Any], None]
    ) -> None:
        self._loop = loop
        self._pipe = None if end is None else Pipe(end)
        self._driver = driver
        self._hear = hear
        self._notices: list[Any] = []
        if self._pipe is not None:
            loop.watch(self._pipe.fileno(), self._listen)

    def take(self) -> int:
        """The descriptor that came with what is heard now; -1 if none did."""
        return -1 if self._pipe is None else self._pipe.take()

    def greet(self) -> None:
        """Say that this daemon is up."""
        self._send([])

    def notify(self, notice: Any) -> None:
        """To the driver, at the next flush."""
        self._notices.append(notice)

    def flush(self) -> None:
        if self._notices:
            notices, self._notices = self._notices, []
            self._send(notices)

    def _send(self, notices: list[Any]) -> None:
        pipe = self._pipe
        if pipe is None:
            return
        waiting = pipe.waits
        try:
            pipe.send(encode(notices))
        except PipeClosed:  # the driver is dead, and the template is about to end us
            self._end()
            return
        if pipe.waits and not waiting:
            self._loop.when_writable(pipe.fileno(), self._catch_up)

    def _catch_up(self) -> bool:
        try:
            return self._pipe is None or self._pipe.flush()
        except PipeClosed:
            return True  # `_listen` is told too

    def _listen(self) -> None:
        """One frame a turn: it holds up to 64 words, and workers wait as well."""
        assert self._pipe is not None
        try:
            frame = self._pipe.receive()
            for message in decode_calls(frame) if frame is not None else ():
                self._hear(self._driver, message)
        except msgspec.MsgspecError as error:
            complain(f"dropped a frame from {self._driver} that cannot be decoded: {error}")
        except PipeClosed:
            self._end()

    def _end(self) -> None:
        if self._pipe is not None:
            self._loop.forget(self._pipe.fileno())
            self._pipe.close()
            self._pipe = None
