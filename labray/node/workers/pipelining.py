"""How many tasks a worker may be sent ahead of time, and behind which busy worker a task may wait."""

from __future__ import annotations

from collections.abc import Mapping

from labray.ids import ClientID, ObjectID
from labray.node.context.task_record import TaskRecord
from labray.node.workers.worker_record import WorkerRecord

PIPE_S = 0.002  # depth 1, 4, 32 gave 8,600, 30,000, 70,000 tasks/s on a stripped prototype
PIPE_LIMIT = 64
"""Of tasks that were sent to a worker, with the one that runs."""
WORTH_MOVING_S = 200e-6  # less is done before it has moved
LONG_S = 0.005  # a task that has run this long holds up those behind it
MEMORY = 0.25  # weight of the newest duration in a function's estimate


class Durations:
    """How many seconds tasks took of late, by their function (or name, without one): so many are expected next."""

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


def room_behind(
    busy: Mapping[ClientID, WorkerRecord], task: TaskRecord, durations: Durations, now: float
) -> WorkerRecord | None:
    """The busy worker that gets to it soonest, if that is soon enough: never one stuck in a long task.

    These are tasks' workers, of one slot: what is queued there waits for one that runs.
    """
    estimate = durations.estimate(task)
    if estimate is None or estimate + estimate > PIPE_S:  # too long to be sent ahead of time
        return None
    long_ago = now - LONG_S
    waiting, worker = PIPE_LIMIT - 1, None
    for each in busy.values():
        if len(each.queued) < waiting and each.since > long_ago and each.verdict is None:
            waiting, worker = len(each.queued), each
            if not waiting:
                break
    if worker is None or worker.recalling:
        return None
    ahead = durations.estimate(_last(worker))
    if ahead is None or (waiting + 1) * max(ahead, estimate) + estimate > PIPE_S:
        return None
    return worker


def worth_relieving(busy: Mapping[ClientID, WorkerRecord], durations: Durations) -> WorkerRecord | None:
    """The one with the longest queue, if half of that is worth calling back for somebody who idles."""
    worker = max(busy.values(), key=lambda w: len(w.queued), default=None)
    if worker is None or len(worker.queued) < 2 or worker.recalling or worker.recall_failed:
        return None
    behind = half(worker) * (durations.estimate(_last(worker)) or 0.0)
    return worker if behind > WORTH_MOVING_S else None


def half(worker: WorkerRecord) -> int:
    """How many of a worker's tasks, the last, another takes over: half of all."""
    return (len(worker.queued) + 1) // 2


def _last(worker: WorkerRecord) -> TaskRecord:
    """What was sent to it last."""
    if worker.queued:
        return worker.queued[-1]
    (task,) = worker.running.values()
    return task
