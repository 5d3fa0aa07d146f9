"""Workers that cannot be started: told once, tried again after ever longer pauses, and given up in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labray.messages import ErrorInfo, Warn

if TYPE_CHECKING:
    from labray.node.node import Node

PAUSE_S = 0.1
"""After the first; twice as long after each that follows."""
LONGEST_S = 10.0
PATIENCE = 5
"""One after the other, before tasks are told instead of waiting on: about three seconds."""


class Births:
    """At one node. A start that has failed counts as under way until the pause is over, so nobody tries meanwhile."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.desk = node.desk
        self.failed = 0

    def succeeded(self) -> None:
        self.failed = 0

    def failure(self, reason: str) -> None:
        """A worker died before its first word."""
        self.failed += 1
        if self.failed == 1:
            self.desk.do(Warn(f"{self.desk.place} cannot start a worker: {reason}"))
        if self.failed >= PATIENCE and not any(w.started for w in self.node.pool.workers.values()):
            text = f"{self.desk.place} cannot start a worker, {self.failed} times in a row: {reason}"
            queue = self.node.pool.queue
            for task in queue.in_order():
                self.node.endings.end_with(task, ErrorInfo("system", text))
                queue.withdraw(task)
        self.node.pool.starting += 1
        self.desk.after(min(PAUSE_S * 2.0 ** (self.failed - 1), LONGEST_S), self._may_try)

    def _may_try(self) -> None:
        self.node.pool.starting -= 1
        self.node.pool.queue.stirred = True
