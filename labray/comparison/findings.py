"""How much of the job is done, all that it found, and what tables and page both say of that in words."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct

from labray.calibration import fitting
from labray.comparison.measured import NODES, WIDER, MeasuredRun, measured_range
from labray.comparison.prediction import Predicted
from labray.comparison.scaling import Point


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


SIZES = (1, 2, 5, 10, 20, 50, 100)
FULL = Extent(files=None, runs=5, real=(NODES, WIDER), nodes=SIZES, share=1_000, copies=50)
QUICK = Extent(files=200, runs=3, real=(NODES,), nodes=(1, 5, 20, 100), share=200, copies=10)


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
    points: list[Point]


def point(found: Findings, workload: str, scheduler: str, nodes: int) -> Point:
    wanted = (workload, scheduler, nodes)
    return next(p for p in found.points if (p.workload, p.scheduler, p.nodes) == wanted)


def others_line(found: Findings) -> str:
    """What may have disturbed the real runs."""
    cores = max(row.others_cores for row in found.runs)
    if cores < 0.1:
        return "Nothing else to speak of ran on this machine meanwhile."
    return (
        f"Other programs used up to {cores:.1f} cores during the real runs; the simulator assumes that none do, so "
        "a part of the error is theirs."
    )


def measured_line(found: Findings, scheduler: str, nodes: int) -> str:
    """`2.11 s (2.05 to 2.30)`."""
    seen = measured_range(
        [row.seconds for row in found.runs if (row.scheduler, row.nodes) == (scheduler, nodes)]
    )
    return f"{seen.median_s:.2f} s ({seen.least_s:.2f} to {seen.most_s:.2f})"
