"""A thread that waits on a channel that several threads share."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labray.client.uninterrupted import Step

LOOK_S = 0.2
"""After so long a waiting thread looks by itself: the thread that should have woken it may have been interrupted."""


class Waiter:
    """A thread that waits: for the answer to what it asked, or (a worker's main thread) for something to run.

    answer: what came, and stays until it is done with.
    """

    __slots__ = ("answer", "asked", "nudge")

    def __init__(self, asked: Any = None) -> None:
        self.nudge = threading.Lock()
        self.nudge.acquire()
        self.asked = asked
        self.answer: Any = None

    def pause(self, seconds: float | None) -> None:
        self.nudge.acquire(timeout=LOOK_S if seconds is None else min(seconds, LOOK_S))

    @property
    def woken(self) -> Step:
        """The step that wakes it. RuntimeError, harmless, if it is awake: so it is the last."""
        return self.nudge.release

    def wake(self) -> None:
        if self.nudge.locked():
            try:
                self.nudge.release()
            except RuntimeError:  # another thread was faster: it is awake
                return
