"""What each of several executions in one simulated process has of its own.

A client's fields are those of the slot that goes on, as a processor's registers are of the thread that runs; those of
the others wait here. So a client of one slot, as nearly all are, has no such thing and does nothing for it. What the
bodies of one process compute at the same time takes a CPU each, as if no lock of the interpreter's kept them apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labray import messages as m
    from labray.backends.sim.clients.body_fiber import BodyFiber
    from labray.backends.sim.clock.event_queue import ScheduledEvent
    from labray.ids import ObjectID


class ExecutionSlot:
    """One of a worker's. The fields mean what they do there (simulated_client.py, simulated_worker.py)."""

    __slots__ = (
        "answer", "around_s", "awaiting", "begun", "debt_s", "fiber", "in_body", "interrupted", "looks", "running",
        "sleeping", "viewed",
    )  # fmt: skip

    def __init__(self, fiber: BodyFiber) -> None:
        self.running: m.RunTask | None = None
        self.awaiting: int | None = None
        self.answer: m.ClientReply | None = None
        self.sleeping: ScheduledEvent | None = None
        self.viewed: list[ObjectID] | None = None
        self.looks = 0
        self.debt_s = 0.0
        self.fiber = fiber
        self.begun = self.around_s = 0.0
        self.in_body = self.interrupted = False
