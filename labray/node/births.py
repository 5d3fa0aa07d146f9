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
        self._pauses = 0  # under way
        self._told = ""

    def succeeded(self) -> None:
        self.failed = 0

    def failure(self, reason: str) -> None:
        """A worker died before its first word."""
        if not self._pauses:  # what fails together has failed once
            self.failed += 1
        if (
            self.failed == 1 and reason != self._told
        ):  # others may start in between: what they cannot have is the same
            self._told = reason
            self.desk.do(Warn(f"{self.desk.place} cannot start a worker: {reason}"))
        if self.failed >= PATIENCE and not self.node.pool.workers:  # nor one that is about to begin
            text = f"{self.desk.place} cannot start a worker, {self.failed} times in a row: {reason}"
            for task in self.node.pool.queue.in_order():
                self.node.endings.end_with(task, ErrorInfo("system", text))
        self.node.pool.starting += 1
        self._pauses += 1
        self.desk.after(min(PAUSE_S * 2.0 ** max(0, self.failed - 1), LONGEST_S), self._may_try)

    def _may_try(self) -> None:
        self._pauses -= 1
        self.node.pool.starting -= 1
        self.node.pool.queue.stirred = True
