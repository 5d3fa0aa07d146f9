"""What a client process has to say and has not sent yet, and the thread that sees that it leaves.

`add` never waits, since finalizers call it, in whatever thread and state. What is there leaves with the next `flush`,
at 64 messages, or within about a millisecond by a thread that sleeps while there is nothing for long.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from labray.backends.cluster.frames import Segment
from labray.errors import LabrayError
from labray.messages import Call

BATCH = 64
FLUSH_S = 0.001
LINGER = 20
"""Turns without work before the thread sleeps: waking it for every message was a quarter of a round trip."""


class Outbox:
    """send(messages) raises a LabrayError once the session is over; ended(error) is told of that."""

    def __init__(
        self, send: Callable[[list[Call | Segment]], None], ended: Callable[[LabrayError], None]
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

    def put(self, message: Call | Segment) -> None:
        """To leave with the next flush, which the caller sees to."""
        self._messages.append(message)

    def add(self, message: Call | Segment) -> None:
        """To leave soon."""
        self._messages.append(message)
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

    def _send_all(self) -> None:
        messages = self._messages
        batch = []
        while messages:
            batch.append(messages.popleft())
        if batch:
            try:
                self._send(batch)
            except LabrayError as error:
                self._ended(error)
                raise

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
            self._armed = False
            if self._messages:  # said while we were about to lie down
                self.arm()

    def close(self) -> None:
        self._closed = True
        self.arm()
        self._flusher.join()
