"""Steps 2 and 3: every simulation of the job, as many at once as there are cores.

Each is one process's work for seconds. What step 2 predicts it compares with the runs of step 1, which it did not see.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from itertools import product
from pathlib import Path
from typing import Any

from rich.progress import Progress

from labray.calibration.machine import cores
from labray.comparison import measured, prediction, scaling
from labray.comparison.findings import Extent
from labray.comparison.measured import SCHEDULERS, MeasuredRun, measured_range, trace_of, typical
from labray.comparison.prediction import Predicted
from labray.files import traces as trace_files

OTHER = {"centralized": "bottom_up", "bottom_up": "centralized"}


def simulate(
    plan: Extent,
    files: Sequence[Path],
    profile: Any,
    runs: Sequence[MeasuredRun],
    traces: Path,
    progress: Progress,
) -> tuple[list[Predicted], list[scaling.Point]]:
    """The predictions, and what 1 to 100 nodes would make of it."""
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
    return prediction.recorded_costs(
        trace_files.load(trace_of(traces, scheduler, run))[0] for run in range(runs)
    )


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
        trace_files.save(traces / f"simulated-{scheduler}.lab", said.events, about)
    own = [row for row in runs if (row.scheduler, row.nodes) == (scheduler, nodes)]
    return prediction.compare(
        scheduler, nodes, OTHER[scheduler], said, measured_range([row.seconds for row in own]), own, plan.seed
    )
