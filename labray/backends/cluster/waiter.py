"""A thread that waits on a channel that several threads share."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labray.messages import Notice


class Waiter:
    """A thread that waits: for an answer, or (a worker's main thread) for something to run."""

    __slots__ = ("notice", "nudge")

    def __init__(self) -> None:
        self.nudge = threading.Lock()
        self.nudge.acquire()
        self.notice: Notice | None = None

    def pause(self, seconds: float | None) -> None:
        self.nudge.acquire(timeout=-1 if seconds is None else seconds)

    def wake(self) -> None:
        if self.nudge.locked():
            try:
                self.nudge.release()
            except RuntimeError:  # another thread was faster: it is awake
                return
