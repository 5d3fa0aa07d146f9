"""Workers that are started; and those that cannot be, which is told once and tried again after ever longer pauses."""

from __future__ import annotations

from collections.abc import Callable

from labray.messages import Booted, ErrorInfo, WarnUser, WorkerStarted
from labray.node.context.node_context import NodeContext
from labray.node.context.task_record import TaskRecord
from labray.node.objects.client_table import ClientTable
from labray.node.workers.pool import WorkerPool
from labray.scheduling import NodeJoined

PAUSE_S = 0.1
"""After the first; twice as long after each that follows."""
LONGEST_S = 10.0
PATIENCE = 5
"""One after the other, before tasks are told instead of waiting on: about three seconds."""


class WorkerStarts:
    """At one node. A start that has failed counts as under way until the pause is over, so nobody tries meanwhile.

    end_with: ends a task in an error.
    """

    def __init__(
        self,
        context: NodeContext,
        clients: ClientTable,
        pool: WorkerPool,
        end_with: Callable[[TaskRecord, ErrorInfo], None],
    ) -> None:
        self.context = context
        self.clients = clients
        self.pool = pool
        self.end_with = end_with
        self.failed = 0
        self._pauses = 0  # under way
        self._told = ""

    def booted(self, sender: str, x: Booted) -> None:
        """This place is up."""
        for _ in range(self.pool.headcount.prestart):
            self.pool.start_worker()
        if (own := self.context.cluster.places.get(self.context.place)) is not None:
            self.context.tell_agent(NodeJoined(own))

    def worker_started(self, sender: str, x: WorkerStarted) -> None:
        if x.worker in self.pool.workers:
            self.clients.join(x.worker)
            self.pool.started(x.worker)
            self.failed = 0

    def failure(self, reason: str) -> None:
        """A worker died before its first word."""
        if not self._pauses:  # what fails together has failed once
            self.failed += 1
        if (
            self.failed == 1 and reason != self._told
        ):  # others may start in between: what they cannot have is the same
            self._told = reason
            self.context.do(WarnUser(f"{self.context.place} cannot start a worker: {reason}"))
        if self.failed >= PATIENCE and not self.pool.workers:  # nor one that is about to begin
            text = f"{self.context.place} cannot start a worker, {self.failed} times in a row: {reason}"
            for task in self.pool.queue.in_order():
                self.end_with(task, ErrorInfo("system", text))
        self.pool.starting += 1
        self._pauses += 1
        self.context.after(min(PAUSE_S * 2.0 ** max(0, self.failed - 1), LONGEST_S), self._may_try)

    def _may_try(self) -> None:
        self._pauses -= 1
        self.pool.starting -= 1
        self.pool.queue.dirty = True
