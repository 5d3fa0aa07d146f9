"""How a worker process ends: what users left for the end is done, as at the end of any Python program.

A worker was forked from the fork server and must not return into it, so it ends by os._exit. Before that it does by
hand what Python does: it waits for threads, calls what atexit knows, deletes actors (their `__del__`) and writes the
buffers of open files. Whoever wants the process gone bounds all that: the fork server kills it when its time is up.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import os
import signal
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType


ASK = signal.SIGPWR
"""Asks a worker to end. SIGTERM is left to users: what a body forks would inherit our handler, and must die of it."""


class WorkerExit:
    """Of this process. The signal asks for it: what runs is left by SystemExit; a second time does nothing.

    A handler of the user's for SIGTERM, by which other systems ask, is called first.

    begun: for who comes after a body, or an exception's method, that has taken the SystemExit for an error.
    """

    def __init__(self) -> None:
        self.begun = False
        self._pid = os.getpid()
        signal.signal(ASK, self._asked)

    def _asked(self, number: int, frame: FrameType | None) -> None:
        if not self.begun:
            self.begun = True
            if callable(signal.getsignal(signal.SIGTERM)):
                signal.raise_signal(signal.SIGTERM)
            raise SystemExit(0)

    def finish(self, forget: Callable[[], None], outputs: Iterable[io.TextIOBase]) -> None:
        """Do what is left to do. forget: lets go of all actors and functions."""
        if os.getpid() != self._pid:  # a child that has come out of a body
            return
        self.begun = True
        for step in (threading._shutdown, atexit._run_exitfuncs, forget, gc.collect, _write_buffers):  # type: ignore[attr-defined]
            try:
                step()
            except BaseException:  # noqa: BLE001  (a user's function may raise anything; the others are called all the same)
                with contextlib.suppress(Exception):
                    traceback.print_exc(file=sys.stderr)
        for output in outputs:
            with contextlib.suppress(Exception):
                output.flush()


def _write_buffers() -> None:
    """Of files that nobody has closed. Python's end would find them; ours does not come to that."""
    for thing in gc.get_objects():
        if _is_file(type(thing)):
            with contextlib.suppress(Exception):  # it is closed, its disk is full, or it is nobody's file
                thing.flush()


def _is_file(kind: Any) -> bool:
    return issubclass(kind, io.IOBase)
