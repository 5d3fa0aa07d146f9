"""What the main job prints: three tables for a terminal."""

from __future__ import annotations

from rich.table import Table

from labray.comparison.findings import Findings
from labray.comparison.scaling import CORES, Point


def tables(found: Findings) -> list[Table]:
    return [prediction_table(found), scaling_table(found, "flood"), scaling_table(found, "replay")]


def prediction_table(found: Findings) -> Table:
    """Measured beside simulated, at this machine's size."""
    table = Table(
        title=f"{found.files} files on nodes of 1 CPU: makespan in s, medians", title_justify="left"
    )
    headings = ("scheduler", "nodes", "MEASURED", "min to max", "SIMULATED", "error", "noise")
    for at, heading in enumerate(headings):
        table.add_column(heading, justify="right" if at else "left")
    for row in found.predictions:
        table.add_row(
            row.scheduler, str(row.nodes), f"{row.measured_s:.3f}", f"{row.least_s:.3f} to {row.most_s:.3f}",
            f"{row.predicted_s:.3f}", f"{row.error:+.1%}", f"±{row.noise:.1%}",
        )  # fmt: skip
    return table


def scaling_table(found: Findings, workload: str) -> Table:
    """One line a number of nodes, both schedulers beside each other."""
    what = {
        "flood": f"SIMULATED, {CORES} cores a node: {found.plan.share:,} empty tasks from every node, tasks/s",
        "replay": f"SIMULATED, {CORES} cores a node: the recorded graph {found.plan.copies} times, makespan in seconds",
    }
    table = Table(title=what[workload], title_justify="left")
    for heading in ("nodes", "centralized", "bottom_up", "ratio", "head's queue"):
        table.add_column(heading, justify="right")
    points = {(p.scheduler, p.nodes): p for p in found.points if p.workload == workload}
    for nodes in found.plan.nodes:
        central, bottom = points["centralized", nodes], points["bottom_up", nodes]
        ratio = value(bottom) / value(central)
        table.add_row(
            str(nodes), shown(central), shown(bottom), f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}",
            f"{central.head_peak:,}",
        )  # fmt: skip
    return table


def value(point: Point) -> float:
    return point.throughput if point.workload == "flood" else point.makespan_s


def shown(point: Point) -> str:
    return f"{point.throughput:,.0f}" if point.workload == "flood" else f"{point.makespan_s:.3f}"
