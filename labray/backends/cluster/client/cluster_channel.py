"""The client half of the wire: what a driver or worker posts and asks, over whichever wire leads to its daemon.

Threads share it. A thread that waits for an answer takes the baton and reads the wire itself, for all; the others
sleep until their answer is in or the baton is free. There is no reading thread: waking one cost a third of
the rate. What is posted waits in an Outbox.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sized
from functools import partial
from operator import call
from typing import TYPE_CHECKING, Any

from labray.backends.cluster.client.inbox import Inbox, Received
from labray.backends.cluster.client.log_forwarding import warn
from labray.backends.cluster.client.outbox import Outbox
from labray.backends.cluster.client.waiter import Waiter
from labray.backends.cluster.store.put_cache import PutCache
from labray.backends.cluster.store.store_client import StoreClient, payload_bytes
from labray.client.runtime import Reply
from labray.client.uninterrupted import Owed, at_once, each
from labray.errors import LabrayError
from labray.ids import NodeID, ObjectID, is_put
from labray.messages import (
    Deallocate,
    ReclaimBlock,
    RunTask,
    ShowWarning,
    Stored,
    TrimMemory,
)

if TYPE_CHECKING:
    from labray.backends.cluster.client.driver_wire import ClientWire
    from labray.backends.cluster.worker.task_intake import TaskIntake
    from labray.client.uninterrupted import Step
    from labray.messages import ClientRequest, Payload


class ClusterChannel:
    """A labray.client.runtime.Channel."""

    def __init__(
        self, wire: ClientWire, place: NodeID, client: str, directory: str, intake: TaskIntake | None = None
    ) -> None:
        self.place = place
        self.client = client
        self._wire = wire
        self._pid = os.getpid()
        self._outbox = Outbox(wire.queue, wire.push, self._end, lambda: self._own.settle())
        self._baton = threading.RLock()  # a signal handler may call while its thread reads
        self._reading = False  # whether somebody has it
        self._taking = Waiter()
        self._over: Step = partial(setattr, self._taking, "answer", None)
        self._intake = intake  # of a worker: what it has read and not begun
        self._closed: BaseException | None = None
        self._shelf = StoreClient(self, directory)
        self._reader = self._shelf.reader
        self._own = PutCache(self._reader, self._shelf.writer, self._outbox)
        on: dict[type, Callable[..., None]] = {
            ReclaimBlock: lambda notice: self._own.reclaim(notice, self._inbox.off(notice)),
            TrimMemory: self._trim,
            ShowWarning: self._warn,
        }
        self._inbox = Inbox(self._outbox, on)

    def on_answer(self, received: Received) -> None:
        """Who makes handles of what an answer gives, and says how they are counted."""
        self._inbox.received = received

    def watch_handles(self, dying: Sized, tell: Callable[[], None]) -> None:
        """tell the node of dead handles also while the program makes no call."""
        self._outbox.watch(dying, tell)

    # ------------------------------------------------------------ out

    def post(self, message: ClientRequest, step: Step | None = None) -> None:
        """Queue a message; it leaves within about a millisecond."""
        self._check()
        self._outbox.add(message, step)

    def answer(self, message: ClientRequest, step: Step | None = None) -> None:
        """Queue the result of what `take` gave; the next `take` sends it: at once if no other task is there."""
        over = self._over
        self._outbox.put(message, over if step is None else each(call, (step, over)))

    def _end(self, error: BaseException) -> None:
        """The wire has said that the session is over: from now on every call says so."""
        self._closed = self._closed or error

    # ------------------------------------------------------------ in

    def ask(self, message: Any, request: int, timeout: float | None, fd: int = -1) -> Reply | None:
        """Send and wait for the answer to this request. None: the time is up. fd: goes with it."""
        self._check()
        waiter = Waiter(message)
        inbox = self._inbox
        leave = partial(inbox.left.append, request)
        try:
            self._outbox.hand(message, partial(inbox.waiters.__setitem__, request, waiter), fd)
            self._wait(waiter, timeout)
        except BaseException:
            leave()
            self._wake_next()
            raise
        if waiter.answer is None:
            inbox.late.append(request)
        self._wake_next()
        answer: Reply | None = waiter.answer
        return answer

    def take(self) -> RunTask:
        """The next task for this worker's main thread, until it is answered. A worker ends with its wire, unasked."""
        taker = self._taking
        if taker.answer is None:
            self._inbox.see_to_those_who_left()
            self._offer()
            if taker.answer is None and self._outbox:
                self._read_what_is_there(taker)
            if taker.answer is not None:
                self._outbox.arm()  # results wait for company while the next task runs, but not for long
            else:
                self._outbox.flush()
                self._wait(taker, None)
            self._wake_next()
        run = taker.answer
        assert isinstance(run, RunTask)
        return run

    def is_owed(self, run: RunTask) -> bool:
        """Whether it was taken, and has not been answered."""
        return self._taking.answer is run

    def _wait(self, waiter: Waiter, timeout: float | None) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        while waiter.answer is None:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return
            if not self._read_until(waiter, deadline, left):
                waiter.pause(left)
                self._check()

    def _read_until(self, waiter: Waiter, deadline: float | None, left: float | None) -> bool:
        """Read for all until this one is served; whether it was for this thread to read."""
        mine, below = False, self._baton._is_owned()  # type: ignore[attr-defined]
        try:
            mine = self._baton.acquire(blocking=False)
            if mine:
                self._reading = True
            while mine and waiter.answer is None:
                self._read(left)
                if deadline is not None:
                    left = deadline - time.monotonic()
                    if left <= 0:
                        break
        finally:
            try:  # the first call in here: what was acquired is released, whatever is raised
                self._baton.release()
                self._reading = False
            except RuntimeError:
                mine = False
        if below:  # this is a signal handler; what it interrupted waits on the wire, and may have been served meanwhile
            self._wire.nudge()
        self._wake_next()
        return mine

    def _read_what_is_there(self, taker: Waiter | None = None) -> None:
        """Without waiting, if nobody else reads; no more than makes this taker go on."""
        try:
            if self._baton.acquire(blocking=False):
                while (taker is None or taker.answer is None) and self._read(0) and taker is not None:
                    pass
        finally:
            try:  # noqa: SIM105  (the first call in here, see `_read_until`)
                self._baton.release()
            except RuntimeError:  # another thread has it
                pass
        self._wake_next()

    def _wake_next(self) -> None:
        """Somebody who still waits must read. Whoever stops waiting calls this: it may have been the one chosen."""
        if self._reading:  # a guess: if it is wrong, they look up by themselves after a while
            return
        if self._inbox.waiters:
            for waiter in list(self._inbox.waiters.values()):
                if waiter.answer is None:
                    waiter.wake()
                    return
        elif self._intake is not None and self._taking.answer is None:
            self._taking.wake()

    def _read(self, timeout: float | None) -> bool:
        """Under the baton: read a frame, and see to all that is in it. What an interrupted one has left comes first."""
        inbox = self._inbox
        try:
            if not inbox.notices and not self._wire.receive(timeout, inbox.notices):
                self._offer()
                return False
        except LabrayError as error:
            self._end(error)
            raise
        inbox.see_to_all()
        self._offer()  # whatever was read: nothing begins while anything is unread
        return True

    def _trim(self, notice: TrimMemory) -> None:
        self._shelf.writer.trim()
        self._inbox.off(notice)()

    def _warn(self, notice: ShowWarning) -> None:
        self._inbox.off(notice)()
        warn(notice.text)

    def _offer(self) -> None:
        """There may be something to begin, if the main thread waits for that."""
        if self._intake is not None and self._taking.answer is None:
            self._intake.offer(self._taking)

    # ------------------------------------------------------------ the store

    def store(self, object_id: ObjectID, payload: Payload) -> Stored:
        """Write a large payload into this node's store."""
        self._check()
        size = payload_bytes(payload)
        self._own.settle()
        if not self._shelf.writer.has_room(size):
            # blocks given back may be waiting on the wire: warm pages are ten times faster than fresh
            self._read_what_is_there()
        stored = self._shelf.store(object_id, payload)
        if is_put(object_id):
            self._own.wrote(object_id, stored)
        return stored

    def unstore(self, object_id: ObjectID, stored: Stored) -> None:
        """Take back what was stored and the node has not been told of."""
        self._shelf.writer.free(stored.block)
        self.post(Deallocate(object_id))

    def load(self, object_id: ObjectID, stored: Stored, pin: object | None = None) -> Payload:
        """The stored payload as read-only views; Unpin is posted when the last one dies."""
        if pin is None:
            pin = Owed()
            at_once(pin.arm(*self._inbox.unpinning(object_id)))
        return self._reader.load(object_id, stored, pin)

    def reread(self, object_id: ObjectID) -> Payload | None:
        """What this process put itself, if it still lies where it was written."""
        self._check()
        return self._own.read(object_id)

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
        for waiter in list(self._inbox.waiters.values()):
            waiter.wake()
        self._shelf.writer.close()
        self._reader.close()

    def _check(self) -> None:
        self._inbox.see_to_those_who_left()
        if self._closed is not None:
            raise self._closed
        if os.getpid() != self._pid:
            raise LabrayError(
                "this process was forked from one that uses labray; the session belongs to its parent. "
                "Call labray.init() in the child before anything else, or use tasks instead of fork."
            )
