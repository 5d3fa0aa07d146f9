"""The client half of the wire: what a driver or worker posts and asks, over whichever wire leads to its daemon.

Threads share it. What is posted waits in an Outbox; whoever waits for an answer reads the wire itself (WireReader).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sized
from functools import partial
from operator import call
from typing import TYPE_CHECKING, Any

from labray.backends.cluster.client.inbox import Inbox, Received
from labray.backends.cluster.client.log_forwarding import warn
from labray.backends.cluster.client.outbox import Outbox
from labray.backends.cluster.client.waiter import Waiter
from labray.backends.cluster.client.wire_reader import WireReader
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
        self._outbox = Outbox(wire.queue, wire.push, self._session_ended, lambda: self._put_cache.settle())
        self._closed: BaseException | None = None
        self._store_client = StoreClient(client, directory, self.ask, self.post)
        self._reader = self._store_client.reader
        self._put_cache = PutCache(self._reader, self._store_client.writer, self._outbox)
        on: dict[type, Callable[..., None]] = {
            ReclaimBlock: lambda notice: self._put_cache.reclaim(notice, self._inbox.off(notice)),
            TrimMemory: self._trim,
            ShowWarning: self._warn,
        }
        self._inbox = Inbox(self._outbox, on)
        self._wire_reader = WireReader(wire, self._inbox, intake, self._session_ended, self._check)
        self._taking = self._wire_reader.taking
        self._over: Step = partial(setattr, self._taking, "answer", None)

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
        self._outbox.post(message, step)

    def answer(self, message: ClientRequest, step: Step | None = None) -> None:
        """Queue the result of the task that was taken. `take_task` sends it: at once, if no other task is there."""
        over = self._over
        self._outbox.put(message, over if step is None else each(call, (step, over)))

    def _session_ended(self, error: BaseException) -> None:
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
            self._wire_reader.wait(waiter, timeout)
        except BaseException:
            leave()
            self._wire_reader.wake_next()
            raise
        if waiter.answer is None:
            inbox.late.append(request)
        self._wire_reader.wake_next()
        answer: Reply | None = waiter.answer
        return answer

    def take_task(self) -> RunTask:
        """The next task for this worker's main thread, until it is answered. A worker ends with its wire, unasked."""
        taker = self._taking
        if taker.answer is None:
            self._inbox.see_to_those_who_left()
            self._wire_reader.offer_task()
            if taker.answer is None and self._outbox:
                self._wire_reader.read_what_is_there(taker)
            if taker.answer is not None:
                self._outbox.arm()  # results wait for company while the next task runs, but not for long
            else:
                self._outbox.flush()
                self._wire_reader.wait(taker, None)
            self._wire_reader.wake_next()
        run = taker.answer
        assert isinstance(run, RunTask)
        return run

    def is_owed(self, run: RunTask) -> bool:
        """Whether it was taken, and has not been answered."""
        return self._taking.answer is run

    def _trim(self, notice: TrimMemory) -> None:
        self._store_client.writer.trim()
        self._inbox.off(notice)()

    def _warn(self, notice: ShowWarning) -> None:
        self._inbox.off(notice)()
        warn(notice.text)

    # ------------------------------------------------------------ the store

    def store(self, object_id: ObjectID, payload: Payload) -> Stored:
        """Write a large payload into this node's store."""
        self._check()
        size = payload_bytes(payload)
        self._put_cache.settle()
        if not self._store_client.writer.has_room(size):
            # blocks given back may be waiting on the wire: warm pages are ten times faster than fresh
            self._wire_reader.read_what_is_there()
        stored = self._store_client.store(object_id, payload)
        if is_put(object_id):
            self._put_cache.wrote(object_id, stored)
        return stored

    def unstore(self, object_id: ObjectID, stored: Stored) -> None:
        """Take back what was stored and the node has not been told of."""
        self._store_client.writer.free(stored.block)
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
        return self._put_cache.read(object_id)

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

    def end(self, reason: BaseException) -> None:
        """Whoever waits or calls from now on gets this error."""
        if self._closed is None:
            self._closed = reason
        self._wire.interrupt(reason)
        self._outbox.stop()
        for waiter in list(self._inbox.waiters.values()):
            waiter.wake()
        self._store_client.writer.let_go()
        self._reader.let_go()

    def _check(self) -> None:
        self._inbox.see_to_those_who_left()
        if self._closed is not None:
            raise self._closed
        if os.getpid() != self._pid:
            raise LabrayError(
                "this process was forked from one that uses labray; the session belongs to its parent. "
                "Call labray.init() in the child before anything else, or use tasks instead of fork."
            )
