"""The main job: one program, for real and simulated, under two schedulers. `labray compare [--quick]`.

Step 1 runs it on worker processes. Step 2 predicts each scheduler's makespan from what was recorded under the
other. Step 3 asks what 1 to 100 nodes would make of it. All that is shown comes from the rows and traces saved.
"""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

from msgspec import Struct
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from labray.calibration import fitting, measuring
from labray.calibration.machine import cores
from labray.calibration.provenance import here_and_now, save_rows
from labray.comparison import identifiers, measured, page, prediction, scaling
from labray.comparison.measured import MeasuredRun, spread
from labray.comparison.prediction import Predicted
from labray.comparison.tables import others_line, tables
from labray.files.traces import load, save

SCHEDULERS = ("centralized", "bottom_up")
OTHER = {"centralized": "bottom_up", "bottom_up": "centralized"}


class Extent(Struct, frozen=True):
    """How much of it. files: None is all. real: how many nodes for real. share: empty tasks of each node.

    copies: of the recorded graph.
    """

    files: int | None
    runs: int
    real: tuple[int, ...]
    nodes: tuple[int, ...]
    share: int
    copies: int
    seed: int = 0


NODES = (1, 2, 5, 10, 20, 50, 100)
FULL = Extent(files=None, runs=5, real=(measured.NODES, measured.WIDER), nodes=NODES, share=1_000, copies=50)
QUICK = Extent(files=200, runs=3, real=(measured.NODES,), nodes=(1, 5, 20, 100), share=200, copies=10)


class Findings(Struct, frozen=True):
    """All that the job found; the report is made from it."""

    plan: Extent
    files: int
    identifiers: Counter[str]
    plain_s: float
    figures: fitting.Figures
    checks: list[fitting.Check]
    runs: list[MeasuredRun]
    predictions: list[Predicted]
    points: list[scaling.Point]


def main(quick: bool = False, out: Path = Path("results/compare")) -> None:
    """Do it all; rows, traces, figures and report.html go to `out`. Safe to run twice."""
    console, began = Console(), time.perf_counter()
    plan = QUICK if quick else FULL
    traces = clean(out)
    with shown(console) as progress:
        files = identifiers.source_files(at_most=plan.files)
        expected, plain_s = plainly(files, progress)
        figures, profile, checks = calibrated(progress)
        runs = run_for_real(plan, files, expected, traces, progress)
        predictions, points = simulate(plan, files, profile, runs, traces, progress)
    found = Findings(plan, len(files), expected, plain_s, figures, checks, runs, predictions, points)
    where = here_and_now()
    for name, rows in (
        ("runs", runs),
        ("predictions", predictions),
        ("scaling", points),
        ("calibration", checks),
    ):
        save_rows(out / f"{name}.csv", rows, where)
    page.write(out, found, where, time.perf_counter() - began)
    for table in tables(found):
        console.print(table)
    console.print(others_line(found))
    said = f"{time.perf_counter() - began:.0f} s. Report: {out / 'report.html'}"
    console.print(said, markup=False, soft_wrap=True)


def clean(out: Path) -> Path:
    """The directories; what an earlier run left there that this one might not write again is removed."""
    traces = out / "traces"
    traces.mkdir(parents=True, exist_ok=True)
    for old in (*traces.glob("*.lab"), *out.glob("*.png"), *out.glob("*.csv")):
        old.unlink()
    return traces


@contextmanager
def shown(console: Console) -> Iterator[Progress]:
    columns = (TextColumn("{task.description:42}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, refresh_per_second=4) as progress:
        yield progress


def plainly(files: Sequence[Path], progress: Progress) -> tuple[Counter[str], float]:
    bar = progress.add_task("plain count, one process", total=1)
    began = time.perf_counter()
    counts = identifiers.counted_plainly(files)
    progress.advance(bar)
    return counts, time.perf_counter() - began


def calibrated(progress: Progress) -> tuple[fitting.Figures, Any, list[fitting.Check]]:
    """This machine's profile, before anything that is predicted has run."""
    bar = progress.add_task("calibrate: this machine's service times", total=1)
    figures = measuring.measured()
    profile = fitting.fit(figures)
    checks = fitting.check(figures, profile)
    progress.advance(bar)
    return figures, profile, checks


# ---------------------------------------------------------------- step 1


def run_for_real(
    plan: Extent, files: Sequence[Path], expected: Counter[str], traces: Path, progress: Progress
) -> list[MeasuredRun]:
    """The schedulers in turn, so that what else this machine does meets both alike."""
    rows = []
    turns = list(product(plan.real, range(plan.runs), SCHEDULERS))
    total = progress.add_task("1 real runs", total=len(turns))
    bar = progress.add_task("", total=len(files))
    for nodes, run, scheduler in turns:
        progress.reset(bar, description=f"  {nodes} nodes, run {run + 1} {scheduler}")
        recording = trace_of(traces, scheduler, run, nodes)
        row, _ = measured.measure(
            scheduler, nodes, run, files, expected, plan.seed, recording, follow(progress, bar)
        )
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


def trace_of(traces: Path, scheduler: str, run: int, nodes: int = measured.NODES) -> Path:
    wider = "" if nodes == measured.NODES else f"-{nodes}-nodes"
    return traces / f"measured-{scheduler}{wider}-{run}.lab"


def typical(rows: Sequence[MeasuredRun], scheduler: str) -> MeasuredRun:
    """The run in the middle, on two nodes."""
    own = sorted(
        (row for row in rows if (row.scheduler, row.nodes) == (scheduler, measured.NODES)),
        key=lambda row: row.seconds,
    )
    return own[len(own) // 2]


# ---------------------------------------------------------------- steps 2 and 3


def simulate(
    plan: Extent,
    files: Sequence[Path],
    profile: Any,
    runs: Sequence[MeasuredRun],
    traces: Path,
    progress: Progress,
) -> tuple[list[Predicted], list[scaling.Point]]:
    """Every simulation is one process's work for seconds, so as many at once as there are cores."""
    recording = trace_of(traces, "bottom_up", typical(runs, "bottom_up").run)
    jobs = scaling.jobs(plan.nodes, SCHEDULERS, plan.share, plan.copies, recording, plan.seed)
    bars = {
        "predict": progress.add_task("2 predictions (simulated)", total=len(plan.real) * len(SCHEDULERS)),
        "scale": progress.add_task("3 1 to 100 nodes (simulated)", total=len(jobs)),
    }
    pool = ProcessPoolExecutor(min(4, cores()), mp_context=multiprocessing.get_context("spawn"))
    try:
        asked: dict[Future[Any], str] = {}
        said: dict[tuple[int, str], Future[prediction.Simulated]] = {}
        for nodes, scheduler in product(plan.real, SCHEDULERS):
            costs = costs_of(OTHER[scheduler], plan.runs, traces)
            said[nodes, scheduler] = pool.submit(
                prediction.simulate, scheduler, nodes, files, costs, profile, cores(), plan.seed
            )
            asked[said[nodes, scheduler]] = "predict"
        points = [pool.submit(scaling.simulate, job) for job in jobs]
        asked.update(dict.fromkeys(points, "scale"))
        for done in as_completed(asked):
            done.result()  # the first that failed ends the job
            progress.advance(bars[asked[done]])
    finally:
        pool.shutdown(cancel_futures=True)
    predictions = [
        predicted(scheduler, nodes, future.result(), runs, traces, plan)
        for (nodes, scheduler), future in said.items()
    ]
    order = {"flood": 0, "replay": 1}
    found = sorted((p.result() for p in points), key=lambda p: (order[p.workload], p.scheduler, p.nodes))
    return predictions, found


def costs_of(scheduler: str, runs: int, traces: Path) -> dict[str, float]:
    return prediction.recorded_costs(load(trace_of(traces, scheduler, run))[0] for run in range(runs))


def predicted(
    scheduler: str,
    nodes: int,
    said: prediction.Simulated,
    runs: Sequence[MeasuredRun],
    traces: Path,
    plan: Extent,
) -> Predicted:
    if not said.correct:
        raise RuntimeError(
            f"the simulated run under {scheduler} counted other identifiers than one process does."
        )
    about = {"world": "sim", "scheduler": scheduler, "costs_from": OTHER[scheduler], "seed": plan.seed}
    if nodes == measured.NODES:
        save(traces / f"simulated-{scheduler}.lab", said.events, about)
    own = [row for row in runs if (row.scheduler, row.nodes) == (scheduler, nodes)]
    return prediction.compare(
        scheduler, nodes, OTHER[scheduler], said, spread([row.seconds for row in own]), own, plan.seed
    )
