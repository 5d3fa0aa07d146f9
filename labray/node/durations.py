"""How long tasks took here of late, by function: what is expected of the next."""

from __future__ import annotations

from labray.ids import ObjectID
from labray.node.tasks import TaskRecord

MEMORY = 0.25  # weight of the newest duration in a function's estimate


class Durations:
    """In seconds. Tasks without an exported function go by their name."""

    def __init__(self) -> None:
        self.recent: dict[ObjectID, float] = {}

    def estimate(self, task: TaskRecord) -> float | None:
        """By the recent durations of its function; None if there are none."""
        function = task.spec.function
        return self.recent.get(function.id if function is not None else ObjectID(task.spec.name))

    def learn(self, task: TaskRecord, seconds: float) -> None:
        """It took so long."""
        function = task.spec.function
        key = function.id if function is not None else ObjectID(task.spec.name)
        before = self.recent.get(key)
        self.recent[key] = seconds if before is None else before + MEMORY * (seconds - before)
