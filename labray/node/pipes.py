"""How deep the pipe to a worker may be, and behind which busy worker a task may wait."""

from __future__ import annotations

from collections.abc import Mapping

from labray.ids import ClientID
from labray.node.durations import Durations
from labray.node.tasks import TaskRecord
from labray.node.worker import Worker

PIPE_S = 0.002  # depth 1, 4, 32 gave 8,600, 30,000, 70,000 tasks/s on a stripped prototype
PIPE_LIMIT = 64
WORTH_MOVING_S = 200e-6  # less is done before it has moved
LONG_S = 0.005  # a task that has run this long holds up those behind it


def room_behind(
    busy: Mapping[ClientID, Worker], task: TaskRecord, durations: Durations, now: float
) -> Worker | None:
    """The busy worker that gets to it soonest, if that is soon enough: never one stuck in a long task."""
    estimate = durations.estimate(task)
    if estimate is None or estimate + estimate > PIPE_S:  # too long for any pipe
        return None
    long_ago = now - LONG_S
    depth, worker = PIPE_LIMIT, None
    for each in busy.values():
        if len(each.pipe) < depth and each.since > long_ago and each.verdict is None:
            depth, worker = len(each.pipe), each
            if depth == 1:
                break
    if worker is None or worker.recalling:
        return None
    ahead = durations.estimate(worker.pipe[-1])
    if ahead is None or depth * max(ahead, estimate) + estimate > PIPE_S:
        return None
    return worker


def worth_relieving(busy: Mapping[ClientID, Worker], durations: Durations) -> Worker | None:
    """The one with the most in its pipe, if half of that is worth calling back for somebody who idles."""
    worker = max(busy.values(), key=lambda w: len(w.pipe), default=None)
    if worker is None or len(worker.pipe) < 3 or worker.recalling or worker.unwilling:
        return None
    behind = len(worker.pipe) // 2 * (durations.estimate(worker.pipe[-1]) or 0.0)
    return worker if behind > WORTH_MOVING_S else None
