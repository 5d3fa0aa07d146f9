"""Who reads the wire of a client process: its threads do, by turns.

A thread that waits for an answer takes the baton and reads for all; the others sleep until their answer is in or the
baton is free. There is no reading thread: waking one cost a third of the rate.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from labray.backends.cluster.client.waiter import Waiter
from labray.errors import LabrayError

if TYPE_CHECKING:
    from labray.backends.cluster.client.driver_wire import ClientWire
    from labray.backends.cluster.client.inbox import Inbox
    from labray.backends.cluster.worker.task_intake import TaskIntake


class WireReader:
    """inbox: takes what is read. intake: of a worker, what it has read and not begun. taking: its main thread.

    ended(error): is told when the wire says that the session is over. check(): raises if it is.
    """

    def __init__(
        self,
        wire: ClientWire,
        inbox: Inbox,
        intake: TaskIntake | None,
        ended: Callable[[BaseException], None],
        check: Callable[[], None],
    ) -> None:
        self.taking = Waiter()
        self._wire = wire
        self._inbox = inbox
        self._intake = intake
        self._ended = ended
        self._check = check
        self._baton = threading.RLock()  # a signal handler may call while its thread reads
        self._reading = False  # whether somebody has it

    def wait(self, waiter: Waiter, timeout: float | None) -> None:
        """Until it has its answer, or the time is up. Raises what `check` does, if the session is over."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while waiter.answer is None:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return
            if not self._read_until(waiter, deadline, left):
                waiter.pause(left)
                self._check()

    def _read_until(self, waiter: Waiter, deadline: float | None, left: float | None) -> bool:
        """Read for all until this one is served; whether it was for this thread to read."""
        mine, below = False, self._baton._is_owned()  # type: ignore[attr-defined]
        try:
            mine = self._baton.acquire(blocking=False)
            if mine:
                self._reading = True
            while mine and waiter.answer is None:
                self._read(left)
                if deadline is not None:
                    left = deadline - time.monotonic()
                    if left <= 0:
                        break
        finally:
            try:  # the first call in here: what was acquired is released, whatever is raised
                self._baton.release()
                self._reading = False
            except RuntimeError:
                mine = False
        if below:  # this is a signal handler; what it interrupted waits on the wire, and may have been served meanwhile
            self._wire.nudge()
        self.wake_next()
        return mine

    def read_what_is_there(self, taker: Waiter | None = None) -> None:
        """Without waiting, if nobody else reads; no more than makes this taker go on."""
        try:
            if self._baton.acquire(blocking=False):
                while (taker is None or taker.answer is None) and self._read(0) and taker is not None:
                    pass
        finally:
            try:  # noqa: SIM105  (the first call in here, see `_read_until`)
                self._baton.release()
            except RuntimeError:  # another thread has it
                pass
        self.wake_next()

    def wake_next(self) -> None:
        """Somebody who still waits must read. Whoever stops waiting calls this: it may have been the one chosen."""
        if self._reading:  # a guess: if it is wrong, they look up by themselves after a while
            return
        if self._inbox.waiters:
            for waiter in list(self._inbox.waiters.values()):
                if waiter.answer is None:
                    waiter.wake()
                    return
        elif self._intake is not None and self.taking.answer is None:
            self.taking.wake()

    def _read(self, timeout: float | None) -> bool:
        """Under the baton: read a frame, and see to all that is in it. What an interrupted one has left comes first."""
        inbox = self._inbox
        try:
            if not inbox.notices and not self._wire.receive(timeout, inbox.notices):
                self.offer_task()
                return False
        except LabrayError as error:
            self._ended(error)
            raise
        inbox.see_to_all()
        self.offer_task()  # whatever was read: nothing begins while anything is unread
        return True

    def offer_task(self) -> None:
        """There may be something to begin, if the main thread waits for that."""
        if self._intake is not None and self.taking.answer is None:
            self._intake.offer(self.taking)
