"""Ctrl-C while the world runs: it waits for the end of the event in hand, or stops the body that is running.

Raised in the middle of a node's work it would leave that node half done, and the session worthless.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from labray.errors import LabraySystemError


class Interrupts:
    """Takes SIGINT from Python's own handler for as long as a session lasts. deferring: whether it must wait now."""

    def __init__(self, deferring: Callable[[], bool]) -> None:
        self.pending = False
        self.rang = False  # it was raised just here; for worlds to forget when a body begins that is no part of another
        self.blocked = ""  # what the watchdog has to say to the body that runs
        self._deferring = deferring
        self._before: Any = None
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before = signal.default_int_handler  # first: here it may be broken off
            signal.signal(signal.SIGINT, self._caught)

    @property
    def ours(self) -> bool:
        """Whether this session gets the signal: not if the program has a handler of its own."""
        return self._before is not None

    def _caught(self, number: int, frame: FrameType | None) -> None:
        blocked, self.blocked = self.blocked, ""
        if blocked:
            raise LabraySystemError(blocked)
        if not self._deferring():
            self.rang = True
            raise KeyboardInterrupt
        self.pending = True

    def caught(self, error: BaseException) -> bool:
        """Whether it is by Ctrl-C that a body ended, and not by a KeyboardInterrupt of its own."""
        return self.rang and issubclass(type(error), KeyboardInterrupt)

    def check(self, in_body: bool = False) -> None:
        """Called between two events: raise the Ctrl-C that waited, in a body's call or in the main program's."""
        if self.pending:
            self.pending, self.rang = False, in_body
            raise KeyboardInterrupt

    def take_off(self) -> None:
        """Put the former handler back. Idempotent."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None
