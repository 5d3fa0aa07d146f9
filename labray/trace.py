"""One event schema for every world, and what is computed from events: metrics, the digest, the timeline.

An event is a plain tuple (time, kind, place, subject, detail): a node appends one in 0.1 us. The kinds, with
their subject and detail (attempts count from 0; times are the world's seconds):

    submitted   task     (name, kind, parent, deps, actor, cost)   at the owner; deps: ids;
                                                actor: its creation's result, or ""
    needs       task     (demand, lifetime)     at the owner, where it is not one CPU and nothing
    waited      client   (since, count, objects)    its get (of all) or wait was answered; since: asked
    gave_up     client   (since, count, objects)    its time was up first
    made        object   size                   where it was: a result of 1 KiB or more that travels in messages
    kept        task     attempt                at the place that will run it
    forwarded   task     to                     at the place that hands it on
    dispatched  task     worker                 sent down a worker's pipe
    recalled    task     worker                 given back unbegun
    ran         task     (worker, attempt, begun, ended, cpu)      where it ran, when the node hears of it
    finished    task     attempt                at the owner: this attempt's values are the task's
    failed      task     error kind             at the owner: its values are an error
    retried     task     attempt                at the owner: the number of the new attempt
    blocked, unblocked   task     None          where it runs: it gave back its CPU, took it again
    put         object   (parent, size)         at its owner
    stored      object   size                   in this place's store (large values only)
    moved       object   (from, size)           a copy arrived here
    spilled     object   size                   left memory for this place's disk
    evicted     object   size                   left memory, and is elsewhere or on disk already
    restored    object   size                   came back from disk
    refused     object   (client, size)         found no room here
    freed       object   None                   at its owner
    lost        worker or place   reason        what the world declared dead
    actor       actor    (state, place)         at its owner; state: alive, restarting, dead
    cut         place    (events, why)          so many events of this place are missing, from this time on
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from labray.messages import UNIT

if TYPE_CHECKING:
    from os import PathLike

    import numpy as np
    from numpy.typing import NDArray

Event = tuple[float, str, str, str, Any]


# ---------------------------------------------------------------- where events come from


_load: Callable[[str | PathLike[str]], Sequence[Event]] | None = None


def read_files_with(load: Callable[[str | PathLike[str]], Sequence[Event]]) -> None:
    """Say what reads a .lab file: this floor opens none, and labray/__init__.py knows what does."""
    global _load
    _load = load


def events_of(source: Sequence[Event] | str | PathLike[str]) -> Sequence[Event]:
    """The events themselves, or those of the .lab file at this path."""
    if isinstance(source, Sequence) and not isinstance(source, str):
        return source
    assert _load is not None, "labray/__init__.py says what reads files"
    return _load(source)


# ---------------------------------------------------------------- what happened to each task


class Run(Struct, frozen=True, gc=False):
    """One attempt that ran. Times in the world's seconds; cpu: seconds of CPU."""

    task: str
    place: str
    worker: str
    attempt: int
    begun: float
    ended: float
    cpu: float


class Submission(Struct, frozen=True):
    """A task, actor creation or call as its owner took it in."""

    task: str
    time: float
    place: str
    name: str
    kind: str
    parent: str
    deps: tuple[str, ...]
    actor: str
    cost: float | None


def runs(events: Sequence[Event]) -> Iterator[Run]:
    """Every attempt that ran, in the order in which nodes heard of their ends."""
    for _, kind, place, task, detail in events:
        if kind == "ran":
            worker, attempt, begun, ended, cpu = detail
            yield Run(task, place, worker, attempt, begun, ended, cpu)


def submissions(events: Sequence[Event]) -> Iterator[Submission]:
    """Every submission, in order."""
    for time, kind, place, task, detail in events:
        if kind == "submitted":
            name, what, parent, deps, actor, cost = detail
            yield Submission(task, time, place, name, what, parent, tuple(deps), actor, cost)


def blocked(events: Sequence[Event]) -> Iterator[tuple[str, str, float, float]]:
    """(task, place, from, to) of each time a task had given back its CPU; what never ended is left out."""
    since: dict[tuple[str, str], float] = {}
    for time, kind, place, task, _ in events:
        if kind == "blocked":
            since[task, place] = time
        elif kind == "unblocked" and (start := since.pop((task, place), None)) is not None:
            yield task, place, start, time


# ---------------------------------------------------------------- metrics


class Metrics(Struct, frozen=True):
    """What one run comes to. Seconds, bytes, tasks/s; shares are 0 to 1.

    makespan: from the first submission to the last end. Latency: from submitted to *begun* of the first attempt;
    it, the throughput and the forwarded share are of tasks and actor creations, not of actor calls, which no
    scheduler places. utilisation: of the CPUs, by all that ran less the time it was blocked, each for as many as it
    held, and for one where it held none (it ran somewhere: so this may be above 1); None if not told how many CPUs
    there are.
    """

    tasks: Mapping[str, int]
    makespan_s: float
    throughput: float
    latency_p50_s: float
    latency_p99_s: float
    utilisation: float | None
    moved_bytes: int
    forwarded_share: float


def measure(events: Sequence[Event], cpus: float | None = None) -> Metrics:
    """The metrics of a run. cpus: how many the cluster had, for the utilisation."""
    held = _cpus(events)
    placed = {s.task: s.time for s in submissions(events) if s.kind != "method"}
    ran = list(runs(events))
    first = min((s.time for s in submissions(events)), default=0.0)
    makespan = max((run.ended for run in ran), default=first) - first
    done = len({run.task for run in ran if run.task in placed})
    p50, p99 = _percentiles(latencies(events), 50, 99)
    busy = sum(held.get(run.task, 1.0) * (run.ended - run.begun) for run in ran)
    busy -= sum(held.get(task, 1.0) * (to - start) for task, _, start, to in blocked(events))
    forwarded = {subject for _, kind, _, subject, _ in events if kind == "forwarded" and subject in placed}
    return Metrics(
        tasks=states(events),
        makespan_s=makespan,
        throughput=done / makespan if makespan > 0 else 0.0,
        latency_p50_s=p50,
        latency_p99_s=p99,
        utilisation=busy / (cpus * makespan) if cpus and makespan > 0 else None,
        moved_bytes=sum(detail[1] for _, kind, _, _, detail in events if kind == "moved"),
        forwarded_share=len(forwarded) / len(placed) if placed else 0.0,
    )


def _cpus(events: Sequence[Event]) -> dict[str, float]:
    """How many CPUs a task holds while it runs, where that is neither one nor none. A call has its actor's."""
    asked: dict[str, tuple[float, float]] = {}
    for _, kind, _, task, detail in events:
        if kind == "needs":
            demand, lifetime = (dict(amounts).get("CPU", 0) / UNIT for amounts in detail)
            asked[task] = demand or 1.0, lifetime or 1.0
    if not asked:
        return {}
    calls = {s.task: s.actor.rpartition(".")[0] for s in submissions(events) if s.kind == "method"}
    held = {task: demand for task, (demand, _) in asked.items()}
    return held | {call: asked[actor][1] for call, actor in calls.items() if actor in asked}


def states(events: Sequence[Event]) -> dict[str, int]:
    """How many tasks of all kinds are finished, failed, or still pending (submitted and not yet either)."""
    last: dict[str, str] = {}
    for _, kind, _, subject, _ in events:
        if kind in ("submitted", "retried"):
            last[subject] = "pending"
        elif kind in ("finished", "failed"):
            last[subject] = kind
    count = Counter(last.values())
    return {state: count[state] for state in ("finished", "failed", "pending")}


def latencies(events: Sequence[Event]) -> list[float]:
    """Seconds from submitted to begun, of each task and actor creation that ran, in order of submission."""
    begun: dict[str, float] = {}
    for run in runs(events):
        begun[run.task] = min(run.begun, begun.get(run.task, run.begun))
    return [begun[s.task] - s.time for s in submissions(events) if s.kind != "method" and s.task in begun]


def _percentiles(samples: Sequence[float], *wanted: float) -> list[float]:
    if not samples:
        return [0.0 for _ in wanted]
    import numpy as np  # 80 ms that only those who measure pay

    values: NDArray[np.float64] = np.percentile(samples, wanted)
    return [float(value) for value in values]


# ---------------------------------------------------------------- identity


def digest(events: Sequence[Event]) -> str:
    """32 hex digits that two traces share only if every event is the same, bit by bit, in the same order."""
    encode = msgspec.msgpack.Encoder().encode  # floats as their eight bytes
    state = blake2b(digest_size=16)
    for event in events:
        state.update(encode(event))
    return state.hexdigest()


# ---------------------------------------------------------------- export


def chrome(events: Sequence[Event]) -> dict[str, Any]:
    """The timeline for chrome://tracing and ui.perfetto.dev: a process a node, a thread a worker. Times in us."""
    names = {s.task: s.name for s in submissions(events)}
    processes: dict[str, int] = {}
    threads: dict[str, tuple[int, int]] = {}  # of a worker: its process and itself
    where: dict[tuple[str, str], int] = {}
    slices: list[dict[str, Any]] = []
    for run in runs(events):
        pid = processes.setdefault(run.place, len(processes) + 1)
        _, tid = threads.setdefault(run.worker, (pid, len(threads) + 1))
        where[run.task, run.place] = tid
        args = {"task": run.task, "attempt": run.attempt, "cpu_s": run.cpu}
        slices.append(_slice(names.get(run.task, run.task), pid, tid, run.begun, run.ended, args))
    for task, place, start, end in blocked(events):
        if (task, place) in where:
            slices.append(_slice("blocked", processes[place], where[task, place], start, end, {"task": task}))
    mark = {"ph": "i", "s": "g", "tid": 0}
    marks = [
        {"name": f"{kind} {subject}", "pid": processes.get(place, 0), "ts": time * 1e6} | mark
        for time, kind, place, subject, _ in events
        if kind in ("lost", "retried", "failed")
    ]
    labels = [_label("process_name", place, pid, 0) for place, pid in processes.items()]
    labels += [_label("thread_name", worker, pid, tid) for worker, (pid, tid) in threads.items()]
    return {"traceEvents": labels + slices + marks, "displayTimeUnit": "ms"}


def _slice(name: str, pid: int, tid: int, begun: float, ended: float, args: Any) -> dict[str, Any]:
    times = {"ts": begun * 1e6, "dur": (ended - begun) * 1e6}
    return {"name": name, "ph": "X", "pid": pid, "tid": tid, **times, "args": args}


def _label(what: str, name: str, pid: int, tid: int) -> dict[str, Any]:
    return {"name": what, "ph": "M", "pid": pid, "tid": tid, "args": {"name": name}}
