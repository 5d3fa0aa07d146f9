"""What a driver asks daemons beside its program: which nodes there are, what has happened, and what is held.

It asks each daemon over a zmq socket of its own, so that a long answer holds up nothing. While it waits for a daemon
it asks the first node whether that one is lost, so it never waits for a lost one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import zmq

from labray.backends.cluster.store.trace_spool import read_chunk
from labray.backends.cluster.wire.file_descriptors import need
from labray.backends.cluster.wire.frames import (
    HELD,
    ROSTER,
    TRACE,
    HeldReply,
    RosterEntry,
    decode_account,
    decode_roster,
)
from labray.backends.cluster.wire.zmq_sockets import dealer
from labray.errors import SessionError

if TYPE_CHECKING:
    import socket

    from labray.backends.cluster.boot.session_parameters import Boot
    from labray.trace import Event

LOOK_MS = 500
"""How often to look whether the daemon that should answer is still there."""
PAUSE_S = 0.002
SOCKET_FDS = 16
"""How many descriptors a zmq context and a socket need, with some to spare: without them zmq aborts the process."""
ACCOUNT_S = 15.0
"""How long a node may take to say what it holds: one asks when something hangs, and must not hang as well."""


class DaemonLost(Exception):
    """The daemon that was asked is gone."""


class StateClient:
    """It asks one question at a time. control: is readable when the session is over."""

    def __init__(self, boot: Boot, control: socket.socket) -> None:
        self._address = boot.path
        self._token = boot.token
        self._name = boot.state_client
        self._first = boot.first
        self._control = control
        self._one = threading.RLock()

    def roster(self, place: str = "", timeout: float | None = None) -> list[RosterEntry]:
        """The nodes that a daemon (the first one unless told) knows, lost ones included."""
        with self._one:
            (answer,) = self._request(place or self._first, ROSTER, 1, timeout)
            return decode_roster(answer)

    def events(self) -> list[Event]:
        """What the living nodes have written into the trace, ordered by time."""
        events: list[Event] = []
        with self._one:
            for entry in self.roster():
                if entry.alive:
                    events += self._events_of(entry.place)
        events.sort(key=lambda event: event[0])
        return events

    def _events_of(self, place: str) -> list[Event]:
        events: list[Event] = []
        try:
            for chunk in self._request(place, TRACE, None):
                events += read_chunk(chunk)
        except DaemonLost:  # it was lost while it answered: what it had said is true
            return events
        return events

    def accounts(self) -> dict[str, HeldReply]:
        """What the living nodes hold, by node; one that goes meanwhile is left out; TimeoutError if one is stuck."""
        found: dict[str, HeldReply] = {}
        with self._one:
            for entry in self.roster(timeout=ACCOUNT_S):
                try:
                    if entry.alive:
                        (answer,) = self._request(entry.place, HELD, 1, ACCOUNT_S)
                        found[entry.place] = decode_account(answer)
                except DaemonLost:
                    continue
        return found

    def await_places(self, places: set[str], alive: bool, timeout: float) -> None:
        """Wait until the first node knows that these are alive (and they are up), or lost. Raises TimeoutError."""
        deadline = time.monotonic() + timeout
        while True:
            roster = self.roster()
            known = {entry.place for entry in roster if entry.alive is alive}
            if places <= known:
                break
            if alive and (
                lost := [entry.place for entry in roster if entry.place in places and not entry.alive]
            ):
                raise SessionError(
                    f"these nodes could not be started, or were lost at once: {', '.join(lost)}."
                )
            if time.monotonic() > deadline:
                missing = ", ".join(sorted(places - known))
                raise TimeoutError(
                    f"after {timeout:g} s these nodes are not {'up' if alive else 'gone'}: {missing}."
                )
            time.sleep(PAUSE_S)
        if alive:
            for place in places:
                self.roster(place)

    def _request(
        self, place: str, question: bytes, frames: int | None, timeout: float | None = None
    ) -> Iterator[bytes]:
        """Yield the frames of the answer: so many, or (None) all before an empty one."""
        deadline = None if timeout is None else time.monotonic() + timeout
        need(SOCKET_FDS)
        with zmq.Context() as context, dealer(context, self._name, self._token, self._address(place)) as end:
            poller = zmq.Poller()
            poller.register(end, zmq.POLLIN)
            poller.register(self._control.fileno(), zmq.POLLIN)
            end.send(question)
            got = 0
            while frames is None or got < frames:
                ready = dict(poller.poll(LOOK_MS))
                if self._control.fileno() in ready:
                    raise SessionError("the session has ended: nobody is left to ask")
                if not ready:
                    if deadline is not None and time.monotonic() > deadline:
                        raise TimeoutError(f"the daemon of {place} has not answered within {timeout:g} s.")
                    self._raise_if_lost(place)
                    continue
                _, frame = end.recv_multipart()
                if frames is None and not frame:
                    return
                got += 1
                yield frame

    def _raise_if_lost(self, place: str) -> None:
        if place != self._first and any(e.place == place and not e.alive for e in self.roster()):
            raise DaemonLost(place)
