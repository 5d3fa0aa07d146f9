"""How a cancelled task is interrupted in its worker: a SIGINT that counts only while that very task's body runs.

A signal carries no name, and may come when the task has just ended. So the daemon first writes which attempt is
meant into a file of the worker's, and the handler looks there. A name that comes before its task has begun is kept.
"""

from __future__ import annotations

import _thread
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

from labray.backends.cluster.client.cluster_channel import ClusterChannel
from labray.backends.cluster.client.waiter import Waiter
from labray.backends.cluster.wire.client_pipe import ReadyPoll
from labray.client.executor import Executor
from labray.client.uninterrupted import DELICATE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from labray.client.process import Process

AGAIN_S = 0.0005
"""After that it is tried again."""

LATER_S = 0.05
"""The same, where the system lacked what it takes."""

PAUSES = frozenset(
    (
        ReadyPoll.wait.__code__,
        ClusterChannel.sleep.__code__,
        ClusterChannel.spend.__code__,
        Waiter.pause.__code__,
    )
)
"""Where they do nothing but wait."""


class InterruptibleExecutor(Executor):
    """An Executor whose bodies a SIGINT may end."""

    def __init__(self, process: Process, path: str) -> None:
        super().__init__(process)
        self._path = path
        self._seen = 0  # lines read
        self._early: set[str] = set()  # for attempts that had not begun
        signal.signal(signal.SIGINT, self._caught)

    def call(self, target: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        execution = self.process.execution
        try:
            execution.interruptible = True
            if self._early and str(execution) in self._early:
                execution.interrupted = True
                raise KeyboardInterrupt
            return target(*args, **kwargs)
        finally:
            execution.interruptible = False

    def _caught(self, number: int, frame: FrameType | None) -> None:
        execution = self.process.execution  # of the main thread, where all signals are handled
        if execution.interruptible and delicate(frame):
            _thread.start_new_thread(_again, (threading.get_ident(),))
            return
        try:
            with open(self._path) as file:
                lines = file.read().splitlines()
        except FileNotFoundError:  # a signal from somebody else
            return
        except OSError:  # the task has used up the descriptors, say: in a moment it may have given some back
            _thread.start_new_thread(_again, (threading.get_ident(), LATER_S))
            return
        new, self._seen = lines[self._seen :], len(lines)
        self._early.update(new)
        if execution.interruptible and str(execution) in new:
            execution.interruptible = False
            execution.interrupted = True
            raise KeyboardInterrupt


def _again(thread: int, pause_s: float = AGAIN_S) -> None:
    """In a thread of its own: a signal that a handler sends itself is handled inside that handler."""
    time.sleep(pause_s)
    signal.pthread_kill(thread, signal.SIGINT)


def delicate(frame: FrameType | None) -> bool:
    """Whether an exception must not be raised just here."""
    if frame is not None and frame.f_code in PAUSES:
        return False
    while frame is not None and frame.f_code is not InterruptibleExecutor.call.__code__:
        name = frame.f_globals.get("__name__", "")
        if name.startswith(DELICATE) or frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False
