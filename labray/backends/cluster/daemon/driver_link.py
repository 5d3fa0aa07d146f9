"""The daemon's end of the socket pair to its driver. Only the first daemon of a session has one."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from labray.backends.cluster.wire.complaints import complain
from labray.backends.cluster.wire.frames import decode_calls, encode
from labray.backends.cluster.wire.pipe import Pipe, PipeClosed

if TYPE_CHECKING:
    from labray.backends.cluster.wire.event_loop import EventLoop


class DriverLink:
    """What the driver says is given to on_request(driver, message); what it is told leaves at `send_notices`."""

    def __init__(
        self, loop: EventLoop, end: socket.socket | None, driver: str, on_request: Callable[[str, Any], None]
    ) -> None:
        self._loop = loop
        self._pipe = None if end is None else Pipe(end)
        self._driver = driver
        self._on_request = on_request
        self._notices: list[Any] = []
        if self._pipe is not None:
            loop.watch(self._pipe.fileno(), self._listen)

    def take_descriptor(self) -> int:
        """The descriptor that came with the request that is being handled; -1 if none did."""
        return -1 if self._pipe is None else self._pipe.take_descriptor()

    def greet(self) -> None:
        """Say that this daemon is up."""
        self._send([])

    def notify(self, notice: Any) -> None:
        """Let a reply wait for the next `send_notices`."""
        self._notices.append(notice)

    def send_notices(self) -> None:
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
        except PipeClosed:  # the driver is dead, and the fork server is about to end us
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
        """Read one frame a turn: it holds up to 64 requests, and workers wait as well."""
        assert self._pipe is not None
        try:
            frame = self._pipe.receive()
            for message in decode_calls(frame) if frame is not None else ():
                self._on_request(self._driver, message)
        except msgspec.MsgspecError as error:
            complain(f"dropped a frame from {self._driver} that cannot be decoded: {error}")
        except PipeClosed:
            self._end()

    def _end(self) -> None:
        if self._pipe is not None:
            self._loop.unwatch(self._pipe.fileno())
            self._pipe.close()
            self._pipe = None
