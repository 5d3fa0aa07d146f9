"""The skeleton of a recorded program: what every task did besides computing, read off a trace.

A task that submitted or awaited nothing is a *leaf*: a duration and the sizes of its results. Any other, and the
main program, has *steps*: compute for so long, submit this, put that, wait for those. Steps are what a replay can
act out on another cluster, where the same waits end at other times. A task graph has no such order of events.

A program hands refs around in ways a trace does not show (inside values, through actors). routes.py finds a way
for each that some step needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from labray.ids import DRIVER
from labray.messages import ONE_CPU, Demand
from labray.trace import Event, Run, Submission, runs, submissions


class ComputeStep(Struct, frozen=True):
    """The task computes for so many seconds; `busy` is the share of them that it is on the CPU."""

    seconds: float
    busy: float


class SubmitStep(Struct, frozen=True):
    """at: when it was recorded, in the world's seconds."""

    task: str
    at: float


class PutStep(Struct, frozen=True):
    object: str
    size: int


class AwaitStep(Struct, frozen=True):
    """Go on when `count` of these exist, or `within` so many seconds. at: when it was asked."""

    objects: tuple[str, ...]
    count: int
    at: float
    within: float | None = None


Step = ComputeStep | SubmitStep | PutStep | AwaitStep


class TaskSteps(Struct, frozen=True):
    """A task, actor creation or call. seconds: begun to ended, less its waits; cpu: of these, on the CPU.

    sizes: of its results, in bytes. parent: what submitted it. ended: in the world's seconds, infinite if it never did.
    """

    task: str
    name: str
    kind: str
    parent: str
    deps: tuple[str, ...]
    actor: str
    demand: Demand
    lifetime: Demand
    sizes: tuple[int, ...]
    seconds: float
    cpu: float
    ended: float
    steps: tuple[Step, ...] = ()


class Skeleton(Struct, frozen=True):
    """parts: by task id, in the order of submission. steps: of the main program. unfinished: tasks that never ran."""

    parts: Mapping[str, TaskSteps]
    steps: tuple[Step, ...]
    unfinished: int

    def steps_of(self, task: str) -> tuple[Step, ...]:
        return self.steps if task == DRIVER else self.parts[task].steps


def skeleton(events: Sequence[Event]) -> Skeleton:
    """The skeleton of a recorded run."""
    return _Reading(events).skeleton()


_Moment = tuple[float, float, float, Step]  # asked, order at that time, answered


class _Reading:
    """Collects the events in one pass, and cuts each task's life into steps in another."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.ran: dict[str, Run] = {run.task: run for run in runs(events)}  # the last attempt
        self.submitted: dict[str, Submission] = {one.task: one for one in submissions(events)}
        self.sizes = sizes(events)
        self.needs: dict[str, Any] = {task: detail for _, kind, _, task, detail in events if kind == "needs"}
        self._by_client = self._lives()
        self._moments: dict[str, list[_Moment]] = {}
        for position, event in enumerate(events):
            self._take(position, event)

    def _lives(self) -> dict[str, list[Run]]:
        lives: dict[str, list[Run]] = {}
        for run in self.ran.values():
            lives.setdefault(run.worker, []).append(run)
        return lives

    def _take(self, position: int, event: Event) -> None:
        time, kind, _, subject, detail = event
        if kind == "submitted":
            self._note(detail[2], time, position, time, SubmitStep(subject, time))
        elif kind == "put" and not _is_function(subject):
            self._note(detail[0], time, position, time, PutStep(subject, detail[1]))
        elif kind in ("waited", "gave_up"):
            since, count, objects = detail
            within = time - since if kind == "gave_up" else None
            # what the same client said at that very time, it said before it began to wait
            order = position if since == time else float("inf")
            self._note(
                self._who(subject, since), since, order, time, AwaitStep(tuple(objects), count, since, within)
            )

    def _who(self, client: str, time: float) -> str:
        if client.endswith("/driver"):
            return DRIVER
        lives = self._by_client.get(client, ())
        return next((run.task for run in lives if run.begun <= time <= run.ended), "")

    def _note(self, task: str, asked: float, order: float, answered: float, step: Step) -> None:
        run = self.ran.get(task)
        if task == DRIVER or (run is not None and asked >= run.begun):  # else: of an earlier attempt
            self._moments.setdefault(task, []).append((asked, order, answered, step))

    # ------------------------------------------------------------ cutting

    def skeleton(self) -> Skeleton:
        parts = {task: self._part(one) for task, one in self.submitted.items()}
        moments = sorted(self._moments.get(DRIVER, ()), key=_order)
        start = moments[0][0] if moments else 0.0
        steps, _ = _cut(moments, start, 0.0, start)
        unfinished = sum(task not in self.ran for task in self.submitted)
        return Skeleton(parts, steps, unfinished)

    def _part(self, one: Submission) -> TaskSteps:
        run = self.ran.get(one.task)
        cpu = run.cpu if run else one.cost or 0.0
        seconds = run.ended - run.begun if run else cpu
        steps: tuple[Step, ...] = ()
        moments = sorted(self._moments.get(one.task, ()), key=_order)
        if run is not None and moments:
            _, seconds = _cut(moments, run.begun, 1.0, run.ended)
            steps, _ = _cut(moments, run.begun, min(1.0, cpu / seconds) if seconds > 0 else 1.0, run.ended)
        usual = () if one.kind == "method" else ONE_CPU
        demand, lifetime = self.needs.get(one.task, (usual, ()))
        count = len(self.sizes.get(one.task, {0: 0}))
        return TaskSteps(
            one.task, one.name, one.kind, one.parent, one.deps, one.actor, demand, lifetime,
            tuple(self.sizes.get(one.task, {}).get(index, 0) for index in range(count)), seconds, cpu,
            run.ended if run else float("inf"), steps,
        )  # fmt: skip


def _order(moment: _Moment) -> tuple[float, float]:
    return moment[:2]


def _is_function(object: str) -> bool:
    return object.rpartition("-")[2].startswith("f")


def _cut(
    moments: Sequence[_Moment], begun: float, busy: float, ended: float
) -> tuple[tuple[Step, ...], float]:
    """The steps with the computing between them, and the seconds of the latter."""
    steps: list[Step] = []
    clock, total = begun, 0.0
    for asked, _, answered, step in moments:
        if asked > clock:
            steps.append(ComputeStep(asked - clock, busy))
            total += asked - clock
        steps.append(step)
        clock = max(clock, answered)
    if ended > clock:
        steps.append(ComputeStep(ended - clock, busy))
        total += ended - clock
    return tuple(steps), total


def sizes(events: Sequence[Event]) -> dict[str, dict[int, int]]:
    """The bytes of each task's results, by index, as far as the trace has them: each result that was taken counts."""
    found: dict[str, dict[int, int]] = {}

    def result(object: str, size: int) -> None:
        maker, _, index = object.rpartition(".")
        if maker:
            of = found.setdefault(maker, {0: 0})
            for missing in range(len(of), int(index) + 1):
                of[missing] = 0
            of[int(index)] = max(of[int(index)], size)

    for _, kind, _, subject, detail in events:
        if kind in ("stored", "made"):
            result(subject, detail)
        elif kind == "submitted":
            for dep in detail[3]:
                result(dep, 0)
        elif kind == "waited":
            for object in detail[2]:
                result(object, 0)
    return found
