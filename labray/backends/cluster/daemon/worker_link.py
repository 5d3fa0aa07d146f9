"""One worker, as its daemon sees it: the pipe to it, and what of that it can still take back.

A worker begins a task only with a permit: an eventfd, shared by both, counts them. The daemon adds one for each RunTask
that it sends, and takes back what has not begun by taking permits. Each can be had once, by one side: so this needs no
answer, no signal and no thread of a worker that is deep in a C call, stopped or dead. See docs/protocol.md.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Container
from time import monotonic
from typing import TYPE_CHECKING

from labray.backends.cluster.wire.frames import TasksWithdrawn, encode
from labray.backends.cluster.wire.pipe import Pipe, PipeClosed, pair
from labray.messages import RunTask

if TYPE_CHECKING:
    from labray.ids import ClientID, TaskID
    from labray.messages import ClientReply


class WorkerLink:
    """theirs, permits: the worker's, until the fork server has them; the daemon keeps the permits and not the end.

    backlog: what has not left. `_sent`, in order: the tasks that were given a permit and of whose end nothing was
    heard; the last of them have not begun: as many as there are permits, out or withheld.
    """

    def __init__(self, client: ClientID) -> None:
        ours, self.theirs = pair()
        self.client = client
        self.pipe = Pipe(ours)
        self.permits = os.eventfd(0, os.EFD_SEMAPHORE | os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.backlog: deque[ClientReply] = deque()
        self.owes_recalled = False  # whether an empty Recalled is due after its next words
        self.full = False  # its pipe is, and the loop waits for room
        self.silent = False  # its end is closed: nothing more will be heard
        self.pid = 0
        self.born = monotonic()
        self.last_words = ""
        self._sent: deque[TaskID] = deque()
        self._fresh: deque[TaskID] = deque()  # of the Runs in the backlog, the last: they have had no permit
        self._ahead = 0  # and the first have
        self._withdrawn: list[TaskID] = []  # to be told before there are permits again
        self._withheld = 0  # permits until then
        self._call = False  # and that there are must be told too: it may have looked in vain

    def release(self) -> None:
        self.pipe.close()
        self.theirs.close()
        os.close(self.permits)

    # ------------------------------------------------------------ out

    def queue(self, notice: ClientReply) -> None:
        """Let a reply wait for the next `send_queued`."""
        self.backlog.append(notice)
        if type(notice) is RunTask:
            self._fresh.append(notice.spec.id)

    def send_queued(self) -> bool:
        """Send what waits; whether nothing waits any more."""
        try:
            self.full = not self._flush()
        except PipeClosed:  # it is dead; the fork server is about to say so
            self.full = False
        return not self.full

    def _flush(self) -> bool:
        if (self._withdrawn or self._withheld or self._call) and not self._resume():
            return False
        if fresh := len(self._fresh):  # before the Runs: who has read one may look for its permit at once
            self._sent += self._fresh
            self._ahead += fresh
            self._fresh.clear()
            os.eventfd_write(self.permits, fresh)
        backlog, offer = self.backlog, self.pipe.offer
        while backlog:
            notice = backlog[0]
            if not offer(encode(notice)):
                return False
            self._ahead -= type(notice) is RunTask
            backlog.popleft()
        return self.pipe.flush()

    def _resume(self) -> bool:
        """First what is withdrawn, then the permits of what is not: who has one of these has heard of those."""
        if self._withdrawn:
            if not self.pipe.offer(encode(TasksWithdrawn(tuple(self._withdrawn)))):
                return False
            self._withdrawn.clear()
        if self._withheld:
            os.eventfd_write(self.permits, self._withheld)
            self._withheld, self._call = 0, True
        if self._call:
            self._call = not self.pipe.offer(encode(TasksWithdrawn(())))
        return not self._call

    # ------------------------------------------------------------ back

    def ended(self, task: TaskID) -> None:
        """It has said that a task ended; nearly always it is the first."""
        if self._sent and self._sent[0] == task:
            self._sent.popleft()
        elif task in self._sent:
            self._sent.remove(task)

    def has(self, task: TaskID) -> bool:
        """Whether it was sent, and nothing was heard of its end."""
        return task in self._sent

    def take_back(self, wanted: Container[TaskID]) -> tuple[TaskID, ...]:
        """Those of these that have not begun, in order: they never will."""
        back: list[TaskID] = []
        if any(task in wanted for task in self._sent):
            for task in self._unbegun():
                if task in wanted:
                    back.append(task)
                else:
                    self._sent.append(task)
                    self._withheld += 1
            self._withdrawn += back
        if gone := {task for task in self._fresh if task in wanted}:
            back += [task for task in self._fresh if task in gone]
            self._fresh = deque(task for task in self._fresh if task not in gone)
            self.backlog = deque(
                each for each in self.backlog if type(each) is not RunTask or each.spec.id not in gone
            )
        return tuple(back)

    def begun_tasks(self) -> tuple[TaskID, ...]:
        """It is dead: the tasks that it had begun, without saying that they ended."""
        self._unbegun()
        return tuple(self._sent)

    def _unbegun(self) -> list[TaskID]:
        """Take every permit there is, and the tasks that cannot begin for that out of `_sent`."""
        held, self._withheld = self._withheld, 0
        try:
            while True:
                held += os.eventfd_read(self.permits)
        except BlockingIOError:
            pass
        stay = min(held, self._ahead)  # the last had not left, and have not begun: they are as if never tried
        self._fresh.extendleft([self._sent.pop() for _ in range(stay)])
        self._ahead -= stay
        held -= stay
        return [self._sent.pop() for _ in range(held)][::-1]
