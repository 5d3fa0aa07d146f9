"""What a worker has read of its pipe and not begun: to begin it takes a permit, and all read that was said before.

The other half, and why this is enough, is in member.py and docs/protocol.md.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from typing import TYPE_CHECKING

from labray.backends.cluster.frames import Withdrawn
from labray.messages import Run

if TYPE_CHECKING:
    from labray.backends.cluster.waiter import Waiter
    from labray.messages import Notice


class Intake:
    """Of one worker. end: the socket it reads; permits: an eventfd with one for each task that it may still begin.

    Whoever reads the socket holds `lock` from before it receives a frame until it has added it here: so when the
    socket is seen empty under the lock, all that was sent is here.
    """

    def __init__(self, end: int, permits: int) -> None:
        self.lock = threading.Lock()
        self._permits = permits
        self._unread = select.poll()
        self._unread.register(end, select.POLLIN)
        self._runs: deque[Run] = deque()
        self._permitted = False  # to begin one more

    def add(self, notice: Notice | Withdrawn) -> None:
        """Under the lock: what was read."""
        if type(notice) is Run:
            self._runs.append(notice)
        elif type(notice) is Withdrawn and notice.tasks:
            self._runs = deque(run for run in self._runs if run.spec.id not in notice.tasks)

    def offer(self, taker: Waiter) -> None:
        """Hand the main thread what it may begin, if there is anything and it has not got it yet."""
        with self.lock:
            if taker.notice is None and self._may_begin():
                self._permitted = False
                taker.notice = self._runs.popleft()
                taker.wake()

    def _may_begin(self) -> bool:
        """If not, something is on its way, and whoever reads that offers again."""
        if not self._permitted:
            if not self._runs:
                return False
            try:
                os.eventfd_read(self._permits)
            except BlockingIOError:  # taken back
                return False
            self._permitted = True
        return bool(self._runs) and not self._unread.poll(0)  # what is unread may withdraw the first
