"""What a client process has to say and has not sent yet, and the thread that sees that it leaves.

`add` never waits, since finalizers call it, in whatever thread and state. What is there leaves with the next `flush`,
at 64 messages, or within about a millisecond by a thread that sleeps while there is nothing for long.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from labray.backends.cluster.frames import Segment
from labray.backends.cluster.speech import warn
from labray.errors import LabrayError
from labray.messages import Call
from labray.steps import Step, at_once

BATCH = 64
FLUSH_S = 0.001
LINGER = 20
"""Turns without work before the thread sleeps: waking it for every message was a quarter of a round trip."""


class Outbox:
    """send(messages) raises a LabrayError once the session is over; ended(error) is told of that."""

    def __init__(
        self, send: Callable[[list[Call | Segment], int], None], ended: Callable[[LabrayError], None]
    ) -> None:
        self._send = send
        self._ended = ended
        self._messages: deque[Call | Segment] = deque()
        self._sending = threading.Lock()
        self._armed = False
        self._closed = False
        self._alarm = threading.Lock()
        self._alarm.acquire()
        self._flusher = threading.Thread(target=self._flush_soon, name="labray-flush", daemon=True)
        self._flusher.start()

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: Call | Segment, step: Step | None = None) -> None:
        """To leave with the next flush, which the caller sees to. step: is taken with it, or neither is done."""
        if step is None:
            self._messages.append(message)
        else:
            at_once(step, partial(self._messages.append, message))

    def add(self, message: Call | Segment, step: Step | None = None) -> None:
        """To leave soon."""
        self.put(message, step)
        if len(self._messages) >= BATCH and self._sending.acquire(blocking=False):
            try:
                self._send_all()
            finally:
                self._sending.release()
        else:
            self.arm()

    def flush(self) -> None:
        with self._sending:
            self._send_all()

    def hand(self, message: Call | Segment, fd: int) -> None:
        """Now, with all that is there. fd: a descriptor goes with it (-1: none), and then it goes alone."""
        if fd < 0:
            self._messages.append(message)
        with self._sending:
            self._send_all()
            if fd >= 0:
                self._say([message], fd)

    def _send_all(self) -> None:
        messages = self._messages
        batch = []
        while messages:
            batch.append(messages.popleft())
        if batch:
            self._say(batch, -1)

    def _say(self, batch: list[Call | Segment], fd: int) -> None:
        try:
            self._send(batch, fd)
        except LabrayError as error:
            self._ended(error)
            raise
        except (OverflowError, TypeError, ValueError, MemoryError):  # of one: the others leave
            if len(batch) == 1:
                raise
            self._say_each(batch)

    def _say_each(self, batch: list[Call | Segment]) -> None:
        failed: list[Exception] = []
        for message in batch:
            try:
                self._say([message], -1)
            except LabrayError:
                raise
            except Exception as error:  # noqa: BLE001  (it is raised below: the first of them)
                failed.append(error)
        if failed:
            raise failed[0]

    def arm(self) -> None:
        """Have the thread flush in a millisecond."""
        if self._armed and not self._closed:
            return
        self._armed = True
        try:
            self._alarm.release()
        except RuntimeError:  # armed by two threads at once: it is awake already
            return

    def _flush_soon(self) -> None:
        while True:
            self._alarm.acquire()
            idle = 0
            while idle < LINGER:
                if self._closed:
                    return
                time.sleep(FLUSH_S)
                idle = 0 if self._messages else idle + 1
                try:
                    self.flush()
                except LabrayError:  # the session is over; whoever calls next is told
                    return
                except Exception as error:  # noqa: BLE001  (who stops to send stops all who wait for an answer)
                    warn(f"a message to the node could not be sent: {type(error).__name__}: {error}")
            self._armed = False
            if self._messages:  # said while we were about to lie down
                self.arm()

    def close(self) -> None:
        self._closed = True
        self.arm()
        self._flusher.join()
