"""What a worker has read of its pipe and not begun: to begin it takes a permit, and all read that was said before.

The other half, and why this is enough, is in worker_link.py and docs/protocol.md.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from functools import partial
from operator import call
from typing import TYPE_CHECKING

from labray.backends.cluster.wire.frames import TasksWithdrawn
from labray.client.uninterrupted import at_once, each
from labray.messages import RunTask

if TYPE_CHECKING:
    from labray.backends.cluster.client.waiter import Waiter
    from labray.client.uninterrupted import Step
    from labray.messages import ClientReply


class TaskIntake:
    """Of one worker. end: the socket it reads; permits: an eventfd with one for each task that it may still begin.

    Whoever reads the socket holds `lock` from before it receives a frame until it has added it here: so when the
    socket is seen empty under the lock, all that was sent is here.
    """

    def __init__(self, end: int, permits: int) -> None:
        self.lock = threading.RLock()
        self._unread = select.poll()
        self._unread.register(end, select.POLLIN)
        self._runs: deque[RunTask] = deque()
        self._permitted: list[None] = []  # one, if it may begin one more
        self._permit = partial(os.eventfd_read, permits), partial(self._permitted.append, None)

    def adding(self, notice: ClientReply | TasksWithdrawn) -> Step | None:
        """Under the lock: the step that adds what was read; None if it is nothing that is taken in."""
        runs = self._runs
        if type(notice) is RunTask:
            return partial(runs.append, notice)
        if type(notice) is TasksWithdrawn:
            return each(runs.remove, [run for run in runs if run.spec.id in notice.tasks])
        return None

    def offer(self, taker: Waiter) -> None:
        """Hand the main thread what it may begin, if there is anything and it has not got it yet."""
        if taker.answer is not None or not self._runs:
            return
        with self.lock:
            while taker.answer is None and self._may_begin():
                hand = each(setattr, (taker,), ("answer",), map(call, (self._runs.popleft,)))
                try:
                    at_once(self._permitted.pop, hand)
                except LookupError:  # a signal handler called labray, and has done it
                    continue
                taker.wake()

    def _may_begin(self) -> bool:
        """If not, something is on its way, and whoever reads that offers again."""
        if not self._permitted:
            if not self._runs:
                return False
            try:
                at_once(*self._permit)
            except BlockingIOError:  # taken back
                return False
        return bool(self._runs) and not self._unread.poll(0)  # what is unread may withdraw the first
