"""The client half of the wire: what a driver or worker posts and asks, over whichever wire leads to its daemon.

Threads share it. A thread that waits for an answer takes the baton and reads the wire itself, for all; the others
sleep until their answer is in or the baton is free. There is no reading thread: waking one cost a third of
the rate. What is posted waits in an Outbox.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from labray.backends.cluster.frames import Segment, Withdrawn
from labray.backends.cluster.outbox import Outbox
from labray.backends.cluster.own import Own
from labray.backends.cluster.shelf import Shelf, payload_bytes
from labray.backends.cluster.speech import warn
from labray.backends.cluster.waiter import Waiter
from labray.errors import LabrayError
from labray.ids import ObjectID, Place, is_put
from labray.messages import (
    Get,
    Granted,
    Reclaim,
    Room,
    Run,
    Stored,
    Trim,
    Unpin,
    Unused,
    Values,
    Warned,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from labray.backends.cluster.intake import Intake
    from labray.messages import Call, Notice, Payload
    from labray.steps import Step

LATE = 256
"""Questions given up whose answers may still come; each is a few hundred bytes."""


class Wire(Protocol):
    """Carries batches of words. `send` from any thread; `receive` from one thread at a time."""

    def send(self, messages: Sequence[Call | Segment], fd: int = -1) -> None: ...

    def receive(self, timeout: float | None) -> Sequence[Notice | Withdrawn]:
        """What is there, waiting up to `timeout` seconds (None: for ever). Raises if the session is over."""

    def interrupt(self, reason: BaseException) -> None:
        """Make this and every later `receive` raise."""

    def close(self) -> None: ...


class WireChannel:
    """A labray.port.Channel."""

    def __init__(
        self, wire: Wire, place: Place, client: str, directory: str, intake: Intake | None = None
    ) -> None:
        self.place = place
        self.client = client
        self._wire = wire
        self._pid = os.getpid()
        self._outbox = Outbox(wire.send, self._end)
        self._baton = threading.Lock()
        self._waiters: dict[int, Waiter] = {}
        self._taking = Waiter()
        self._taker: Waiter | None = None  # the same, while it waits
        self._intake = intake  # of a worker: what it has read and not begun
        self._late: dict[int, Call | Segment] = {}
        self._discard_refs: Callable[[Notice], None] | None = None
        self._closed: BaseException | None = None
        self._shelf = Shelf(self, directory)
        self._reader = self._shelf.reader
        self._own = Own(self._reader, self._shelf.writer, self._outbox.add, self._unpin)
        self._on: dict[type, Callable[..., None]] = {
            Run: lambda notice: None,  # the intake has it
            Withdrawn: lambda notice: None,
            Reclaim: self._own.reclaim,
            Trim: lambda notice: self._shelf.writer.trim(),
            Warned: lambda notice: warn(notice.text),
        }

    # ------------------------------------------------------------ out

    def post(self, message: Call, step: Step | None = None) -> None:
        """Queue a message; it leaves within about a millisecond."""
        self._check()
        self._outbox.add(message, step)

    def answer(self, message: Call, step: Step | None = None) -> None:
        """Queue a result that `take`, called next, sends: at once if no other task is there."""
        self._outbox.put(message, step)

    def _end(self, error: BaseException) -> None:
        """The wire has said that the session is over: from now on every call says so."""
        self._closed = self._closed or error

    # ------------------------------------------------------------ in

    def ask(self, message: Any, request: int, timeout: float | None, fd: int = -1) -> Notice | None:
        """Send and wait for the answer to this request. None: the time is up. fd: goes with it."""
        self._check()
        waiter = self._waiters[request] = Waiter()
        try:
            self._outbox.hand(message, fd)
            answer = self._wait(waiter, timeout)
        finally:
            self._waiters.pop(request, None)
            self._wake_next()
            if waiter.notice is None:
                self._late[request] = message
                if len(self._late) > LATE:
                    del self._late[next(iter(self._late))]
        return answer

    def take(self) -> Run:
        """The next task for this worker's main thread. A worker ends with its wire, not by word."""
        taker = self._taking
        taker.notice = None
        self._taker = taker
        try:
            self._offer()
            if taker.notice is None and self._outbox and self._baton.acquire(blocking=False):
                try:
                    while taker.notice is None and self._read(0):
                        pass
                finally:
                    self._pass_baton()
            if taker.notice is not None:
                self._outbox.arm()  # results wait for company while the next task runs, but not for long
            else:
                self._outbox.flush()
                self._wait(taker, None)
        finally:
            self._taker = None
            self._wake_next()
        run = taker.notice
        assert isinstance(run, Run)
        return run

    def _wait(self, waiter: Waiter, timeout: float | None) -> Notice | None:
        deadline = None if timeout is None else time.monotonic() + timeout
        while waiter.notice is None:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return None
            if self._baton.acquire(blocking=False):
                try:
                    while waiter.notice is None:
                        self._read(left)
                        if deadline is not None:
                            left = deadline - time.monotonic()
                            if left <= 0:
                                break
                finally:
                    self._pass_baton()
            else:
                waiter.pause(left)
                self._check()
        return waiter.notice

    def _pass_baton(self) -> None:
        self._baton.release()
        self._wake_next()

    def _wake_next(self) -> None:
        """Somebody who still waits must read. Whoever stops waiting calls this: it may have been the one chosen."""
        if self._waiters and not self._baton.locked():
            for waiter in list(self._waiters.values()):
                if waiter.notice is None:
                    waiter.wake()
                    return
        taker = self._taker
        if taker is not None and taker.notice is None and not self._baton.locked():
            taker.wake()

    def _read(self, timeout: float | None) -> bool:
        try:
            notices = self._wire.receive(timeout)
        except LabrayError as error:
            self._end(error)
            raise
        for notice in notices:
            handle = self._on.get(type(notice))
            if handle is None:
                self._answer(notice)  # type: ignore[arg-type]  # a Withdrawn has its handler
            else:
                handle(notice)
        self._offer()  # whatever was read: nothing begins while anything is unread
        return bool(notices)

    def _answer(self, notice: Notice) -> None:
        request: int = notice.request  # type: ignore[union-attr]
        waiter = self._waiters.get(request)
        if waiter is None:
            self._discard(notice, self._late.pop(request, None))
        else:
            waiter.notice = notice
            waiter.wake()

    def _offer(self) -> None:
        """There may be something to begin, if the main thread waits for that."""
        taker = self._taker
        if taker is not None and self._intake is not None:
            self._intake.offer(taker)

    # ------------------------------------------------------------ answers that came too late

    def on_late(self, discard: Callable[[Notice], None]) -> None:
        """Who gives back the refs inside an answer that nobody waits for any more."""
        self._discard_refs = discard

    def _discard(self, notice: Notice, asked: Call | Segment | None) -> None:
        """Give back what an answer that nobody waits for has pinned, lent or granted."""
        if type(notice) is Granted and type(asked) is Room:
            self.post(Unused(asked.id))
        if type(notice) is Values and type(asked) is Get:
            pinned = [(r.id, 1) for r, v in zip(asked.refs, notice.values, strict=False) if type(v) is Stored]
            if pinned:
                self.post(Unpin(tuple(pinned)))
        if self._discard_refs is not None:
            self._discard_refs(notice)

    # ------------------------------------------------------------ the store

    def store(self, object_id: ObjectID, payload: Payload) -> Stored:
        """Write a large payload into this node's store."""
        self._check()
        size = payload_bytes(payload)
        if not self._shelf.writer.has_room(size) and self._baton.acquire(blocking=False):
            try:  # blocks given back may be waiting on the wire: warm pages are ten times faster than fresh
                self._read(0)
            finally:
                self._pass_baton()
        stored = self._shelf.store(object_id, payload)
        if is_put(object_id):
            self._own.wrote(object_id, stored)
        return stored

    def unstore(self, object_id: ObjectID, stored: Stored) -> None:
        """Take back what was stored and the node has not been told of."""
        self._shelf.writer.free(stored.block)
        self.post(Unused(object_id))

    def load(self, object_id: ObjectID, stored: Stored, pin: object | None = None) -> Payload:
        """The stored payload as read-only views; Unpin is posted when the last one dies."""
        return self._reader.load(object_id, stored, self._unpin)

    def reread(self, object_id: ObjectID) -> Payload | None:
        """What this process put itself, if it still lies where it was written."""
        self._check()
        return self._own.read(object_id)

    def _unpin(self, object_id: ObjectID) -> None:
        if self._closed is None and os.getpid() == self._pid:
            self._outbox.add(Unpin(((object_id, 1),)))

    # ------------------------------------------------------------ the rest

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def spend(self, seconds: float) -> None:
        """Use this much CPU time of the calling thread."""
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass

    def close(self, reason: BaseException) -> None:
        """Whoever waits or calls from now on gets this error."""
        if self._closed is None:
            self._closed = reason
        self._wire.interrupt(reason)
        self._outbox.close()
        for waiter in list(self._waiters.values()):
            waiter.wake()
        self._shelf.writer.close()
        self._reader.close()

    def _check(self) -> None:
        if self._closed is not None:
            raise self._closed
        if os.getpid() != self._pid:
            raise LabrayError(
                "this process was forked from one that uses labray; the session belongs to its parent. "
                "Call labray.init() in the child before anything else, or use tasks instead of fork."
            )
