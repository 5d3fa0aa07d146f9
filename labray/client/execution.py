"""Which task runs: a value for each thread, greenlet or asyncio task that runs one, not a field of the process.

A process of one slot has one execution, and whatever thread calls is part of it: one that outlives its task submits as
the next. With several slots an execution goes by its context, which each thread, greenlet and asyncio task has of its
own. (To ask a context variable takes 40 ns, and to read a field 10: so only such a process does.)
"""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import Final

from labray.ids import TaskID, lineage_prefix


class Execution:
    """One attempt at a task, where it runs. It names what it submits by itself, so that nobody else has these ids.

    thread: the one without which the task cannot go on; None: the main program, which no task waits for.
    interruptible: its body runs, and may be interrupted. interrupted: it is cancelled, and was told so.
    """

    __slots__ = (
        "attempt", "functions", "interrupted", "interruptible", "prefix", "puts", "task", "tasks", "thread",
    )  # fmt: skip

    def __init__(self, task: TaskID, attempt: int, thread: int | None) -> None:
        self.task = task
        self.attempt = attempt
        self.thread = thread
        self.prefix = ""  # the ids of all that it submits begin with it; made when first needed
        self.tasks = 0
        self.puts = 0
        self.functions = 0
        self.interruptible = False
        self.interrupted = False

    def named_under(self) -> str:
        """The prefix of all ids that this execution gives."""
        if not self.prefix:
            self.prefix = lineage_prefix(self.task, self.attempt)
        return self.prefix

    def waits(self) -> TaskID | None:
        """The task, if it cannot go on while the calling thread waits; else None."""
        return self.task if self.thread == threading.get_ident() else None

    def __str__(self) -> str:
        """The task, and which attempt at it."""
        return f"{self.task} {self.attempt}"


current: Final[ContextVar[Execution | None]] = ContextVar("labray_execution", default=None)
"""What runs in this context, in a process of several slots."""
