"""The messages that a client process has not sent yet, and the thread that sends what nobody else does.

`post` never waits, since finalizers call it, in whatever thread and state. What is there leaves with the next `flush`,
at 64 messages, or within about a millisecond by a thread that sleeps while there is nothing for long. A message is in
`messages`, then in a frame, then gone, each in one step: whatever is raised in between, it is said, and once.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sized
from functools import partial
from itertools import repeat
from operator import call
from queue import Empty, SimpleQueue

from labray.backends.cluster.client.log_forwarding import warn
from labray.backends.cluster.wire.frames import HoldSegment, encode
from labray.client.uninterrupted import Step, at_once, each
from labray.errors import LabrayError
from labray.messages import ClientRequest

BATCH = 64
FLUSH_S = 0.001
LINGER = 20
"""Turns without work before the thread sleeps: waking it for every message was a quarter of a round trip."""
LOOK_S = 0.25
"""How often a thread that sleeps looks for handles that have died."""


class Outbox:
    """queue(frame): the step that gives the wire a frame; push: sends all. ended(error): the session is over.

    turn: is called in each turn of the thread. ring: a step that wakes it.
    """

    def __init__(
        self,
        queue: Callable[[bytes, int], Step],
        push: Callable[[], None],
        ended: Callable[[LabrayError], None],
        turn: Callable[[], None],
    ) -> None:
        self.messages: deque[ClientRequest | HoldSegment] = deque()
        self._queue = queue
        self._batch: dict[int, None] = {0: None}  # the number of the next
        self._push = push
        self._ended = ended
        self._turn = turn
        self._sending = threading.RLock()  # a signal handler may call while its thread is sending
        self._armed = False
        self._closed = False
        self._dying: Sized | None = None
        self._tell: Callable[[], None] = lambda: None
        self._alarm: SimpleQueue[None] = SimpleQueue()
        self.ring: Step = partial(self._alarm.put, None)
        self._flusher = threading.Thread(target=self._flush_soon, name="labray-flush", daemon=True)
        self._flusher.start()

    def __len__(self) -> int:
        return len(self.messages)

    def put(self, message: ClientRequest | HoldSegment, step: Step | None = None) -> None:
        """Queue a message; the caller flushes. step: is taken with it, or neither is done."""
        if step is None:
            self.messages.append(message)
        else:
            at_once(step, partial(self.messages.append, message))

    def post(self, message: ClientRequest | HoldSegment, step: Step | None = None) -> None:
        """Queue a message; it is sent within about a millisecond."""
        self.put(message, step)
        if len(self.messages) < BATCH or not self._try_to_flush():
            self.arm()

    def watch(self, dying: Sized, tell: Callable[[], None]) -> None:
        """Let the thread tell the node of dead handles: nobody else does while the program makes no call."""
        self._tell, self._dying = tell, dying
        self.ring()

    def flush(self) -> None:
        with self._sending:
            self._send_all()

    def hand(self, message: ClientRequest | HoldSegment, step: Step, fd: int) -> None:
        """Send it now, with all that is queued. fd: a descriptor that goes with it (-1: none); then it goes alone."""
        if fd < 0:
            self.put(message, step)
        with self._sending:
            if fd >= 0:
                self._pack()
                at_once(step, self._queue(encode([message]), fd))
            self._send_all()

    def _try_to_flush(self) -> bool:
        """Send all, unless another thread is sending; whether this one did."""
        mine = False
        try:
            mine = self._sending.acquire(blocking=False)
            if mine:
                self._send_all()
        finally:
            try:  # the first call in here: what was acquired is released, whatever is raised
                self._sending.release()
            except RuntimeError:
                mine = False
        return mine

    def _send_all(self) -> None:
        self._pack()
        try:
            self._push()
        except LabrayError as error:
            self._ended(error)
            raise

    def _pack(self) -> None:
        """Put all messages into a frame; what cannot be encoded is dropped, and its error raised."""
        messages = self.messages
        while messages:
            (number,) = self._batch
            batch = list(messages)
            frames, failed = _frames(batch)
            said, next_one = each(call, repeat(messages.popleft, len(batch))), number + 1
            steps = [self._queue(frame, -1) for frame in frames]
            try:  # if it is not the next any more, a signal handler called labray, and has said it
                at_once(
                    partial(self._batch.pop, number), partial(self._batch.setdefault, next_one), said, *steps
                )
            except KeyError:
                continue
            if failed is not None:
                raise failed

    def arm(self) -> None:
        """Have the thread flush in a millisecond."""
        if not self._armed or self._closed:
            self.ring()
            self._armed = True

    def _flush_soon(self) -> None:
        while True:
            if self._is_over():  # looked at again: the alarm that told of it may have been taken for another
                return
            self._sleep()
            idle = 0
            while idle < LINGER:
                if self._is_over():
                    return
                time.sleep(FLUSH_S)
                idle = 0 if self.messages else idle + 1
                while not self._alarm.empty():
                    self._alarm.get()
                self._turn()
                try:
                    if self._dying:
                        self._tell()
                    self._try_to_flush()  # whoever is sending may be a thread that waits for this one to end
                except LabrayError:  # the session is over; whoever calls next is told
                    return
                except Exception as error:  # noqa: BLE001  (who stops to send stops all who wait for an answer)
                    warn(f"a message to the node could not be sent: {type(error).__name__}: {error}")
            self._armed = False
            if self.messages:  # a message came while the thread went to sleep
                self.arm()

    def _sleep(self) -> None:
        """Wait until there is something to do."""
        while True:
            with contextlib.suppress(Empty):
                self._alarm.get(timeout=None if self._dying is None else LOOK_S)
                return
            if self._dying:
                return

    def _is_over(self) -> bool:
        return self._closed

    def stop(self) -> None:
        self._closed = True
        self.ring()
        if threading.current_thread() is not self._flusher:
            self._flusher.join()


def _frames(batch: list[ClientRequest | HoldSegment]) -> tuple[list[bytes], Exception | None]:
    """One frame with all; if some cannot be encoded, one for each of the others, and the first error."""
    try:
        return [encode(batch)], None
    except (OverflowError, TypeError, ValueError, MemoryError) as error:
        frames, failed = [], error
        for message in batch:
            try:
                frames.append(encode([message]))
            except (OverflowError, TypeError, ValueError, MemoryError):
                continue
        return frames, failed
