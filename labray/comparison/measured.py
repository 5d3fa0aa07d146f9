"""Step 1: the program for real, on worker processes, under each scheduler in turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from msgspec import Struct
from rich.progress import Progress, TaskID

import labray
from labray import trace
from labray.calibration.machine import machine_cpu_s, own_cpu_s
from labray.comparison import identifiers

SCHEDULERS = ("centralized", "bottom_up")
NODES = 2
WIDER = 4  # nodes, as well: more of them than this machine may have cores
CPUS = 1


class Terms(Struct, frozen=True):
    """Where the CPUs' time went in a run: CPUs x makespan is the sum. Seconds.

    cpu: task bodies on a core. waited: bodies that had begun and did not have a core (or waited for data).
    idle: between bodies, when a worker had nothing to run.
    """

    cpu_s: float
    waited_s: float
    idle_s: float


class MeasuredRun(Struct, frozen=True):
    """One real run. seconds: from first submission to the result in the driver's hand.

    others_cores: how many cores other programs on this machine used meanwhile; predictions assume none.
    """

    scheduler: str
    nodes: int
    run: int
    seconds: float
    tasks: int
    correct: bool
    throughput: float
    latency_p50_s: float
    latency_p99_s: float
    cpu_s: float
    waited_s: float
    idle_s: float
    others_cores: float
    moved_bytes: int
    forwarded_share: float
    seed: int
    digest: str


class MeasuredRange(Struct, frozen=True):
    """The seconds that several runs of one program took, and how far apart they lie as a share of the median."""

    median_s: float
    least_s: float
    most_s: float

    @property
    def noise(self) -> float:
        """Half the distance between the extremes, relative to the median: the floor of any prediction's error."""
        return (self.most_s - self.least_s) / 2 / self.median_s


def measured_range(seconds: Sequence[float]) -> MeasuredRange:
    """The median and the extremes of several runs."""
    return MeasuredRange(median(seconds), min(seconds), max(seconds))


def terms(events: Sequence[trace.Event], seconds: float, cpus: int = NODES * CPUS) -> Terms:
    """Where the CPUs' time went, from the trace of a run that took so many seconds. Actor calls hold no CPU."""
    placed = {s.task for s in trace.submissions(events) if s.kind == "task"}
    bodies = [run for run in trace.runs(events) if run.task in placed]
    cpu_s = sum(run.cpu for run in bodies)
    held_s = sum(run.ended - run.begun for run in bodies)
    return Terms(cpu_s, held_s - cpu_s, cpus * seconds - held_s)


def measure(
    scheduler: str, nodes: int, run: int, files: Sequence[Path], expected: Counter[str], seed: int, recording: Path,
    tell: Callable[[int], None] = lambda files: None,
) -> tuple[MeasuredRun, list[trace.Event]]:  # fmt: skip
    """Run once on the cluster backend; the row and the trace, which is also written for `labray whatif`."""
    with labray.init(
        "cluster", nodes=nodes, num_cpus=CPUS, scheduler=scheduler, seed=seed, trace=recording
    ) as session:
        busy_s, own_s = machine_cpu_s(), own_cpu_s()
        outcome = identifiers.run(files, tell)
        others_s = (machine_cpu_s() - busy_s) - (own_cpu_s() - own_s)
        events = list(session.trace())
    metrics, spent = trace.measure(events), terms(events, outcome.seconds, nodes * CPUS)
    row = MeasuredRun(
        scheduler, nodes, run, outcome.seconds, outcome.tasks, outcome.counts == expected,
        outcome.tasks / outcome.seconds, metrics.latency_p50_s, metrics.latency_p99_s,
        spent.cpu_s, spent.waited_s, spent.idle_s, max(0.0, others_s) / outcome.seconds,
        metrics.moved_bytes, metrics.forwarded_share, seed, trace.digest(events),
    )  # fmt: skip
    return row, events


def run_for_real(
    sizes: Sequence[int], runs: int, files: Sequence[Path], expected: Counter[str], seed: int, traces: Path,
    progress: Progress,
) -> list[MeasuredRun]:  # fmt: skip
    """The schedulers in turn, so that what else this machine does meets both alike."""
    rows = []
    turns = list(product(sizes, range(runs), SCHEDULERS))
    total = progress.add_task("1 real runs", total=len(turns))
    bar = progress.add_task("", total=len(files))
    for nodes, run, scheduler in turns:
        progress.reset(bar, description=f"  {nodes} nodes, run {run + 1} {scheduler}")
        recording = trace_of(traces, scheduler, run, nodes)
        row, _ = measure(scheduler, nodes, run, files, expected, seed, recording, follow(progress, bar))
        progress.update(bar, completed=len(files))
        if not row.correct:
            raise RuntimeError(
                f"run {run} under {scheduler} counted other identifiers than one process does."
            )
        rows.append(row)
        progress.advance(total)
    return rows


def follow(progress: Progress, bar: TaskID) -> Any:
    return lambda files: progress.update(bar, completed=files)


def trace_of(traces: Path, scheduler: str, run: int, nodes: int = NODES) -> Path:
    wider = "" if nodes == NODES else f"-{nodes}-nodes"
    return traces / f"measured-{scheduler}{wider}-{run}.lab"


def typical(rows: Sequence[MeasuredRun], scheduler: str) -> MeasuredRun:
    """The run in the middle, on two nodes."""
    own = sorted(
        (row for row in rows if (row.scheduler, row.nodes) == (scheduler, NODES)),
        key=lambda row: row.seconds,
    )
    return own[len(own) // 2]
