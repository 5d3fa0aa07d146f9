"""The main job: one program, for real and simulated, under two schedulers. `labray compare [--quick]`.

Step 1 runs it on worker processes. Step 2 predicts each scheduler's makespan from what was recorded under the
other. Step 3 asks what 1 to 100 nodes would make of it. All that is shown comes from the rows and traces saved.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from labray.calibration import fitting, measuring
from labray.calibration.provenance import here_and_now, save_rows
from labray.comparison import identifiers, page
from labray.comparison.findings import FULL, QUICK, Findings, others_line
from labray.comparison.measured import run_for_real
from labray.comparison.simulations import simulate
from labray.comparison.tables import tables
from labray.costs import Profile


def main(quick: bool = False, out: Path = Path("results/compare")) -> None:
    """Do it all; rows, traces, figures and report.html go to `out`. Safe to run twice."""
    console, began = Console(), time.perf_counter()
    plan = QUICK if quick else FULL
    traces = clean(out)
    with shown(console) as progress:
        files = identifiers.source_files(at_most=plan.files)
        expected, plain_s = plainly(files, progress)
        figures, profile, checks = calibrated(progress)
        runs = run_for_real(plan.real, plan.runs, files, expected, plan.seed, traces, progress)
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


def calibrated(progress: Progress) -> tuple[fitting.Figures, Profile, list[fitting.Check]]:
    """This machine's profile, before anything that is predicted has run."""
    bar = progress.add_task("calibrate: this machine's service times", total=1)
    figures = measuring.measured()
    profile = fitting.fit(figures)
    checks = fitting.check(figures, profile)
    progress.advance(bar)
    return figures, profile, checks
