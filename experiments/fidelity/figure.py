"""Simulated against measured makespans, on the line or beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments.fidelity.judging import Row
from experiments.harness.drawing import GREY, LOOKS, drawn

SHAPES = {1: "o", 2: "s", 4: "^"}


def y_equals_x(path: Path, rows: Sequence[Row]) -> None:
    """Left the makespans with the spread of the real runs; right the error against the task's length."""
    with drawn(path, 2, (11, 4.8)) as (_, (left, right)):
        ends = [min(r.least_s for r in rows) * 0.8e3, max(r.most_s for r in rows) * 1.25e3]
        left.plot(ends, ends, color=GREY, lw=1, label="y = x")
        lengths = sorted({row.length_s for row in rows})
        for name, (color, _, label) in LOOKS.items():
            for nodes, shape in SHAPES.items():
                own = [r for r in rows if r.scheduler == name and r.nodes == nodes]
                if not own:
                    continue
                x = [r.measured_s * 1e3 for r in own]
                y = [r.simulated_s * 1e3 for r in own]
                sides = [
                    [(r.measured_s - r.least_s) * 1e3 for r in own],
                    [(r.most_s - r.measured_s) * 1e3 for r in own],
                ]
                left.errorbar(x, y, xerr=sides, fmt="none", ecolor=color, alpha=0.3, lw=1)
                left.plot(
                    x, y, shape, color=color, mfc="w", ms=5, label=f"{label}, {nodes} node{'s' * (nodes > 1)}"
                )
                shift = 0.08 * (list(SHAPES).index(nodes) - 1) + (0.25 if name == "bottom_up" else -0.25)
                at = [lengths.index(r.length_s) + shift for r in own]
                right.plot(at, [r.error * 100 for r in own], shape, color=color, mfc="w", ms=5)
        left.set(xscale="log", yscale="log", xlabel="MEASURED makespan (ms), median; bars: least to most",
                 ylabel="SIMULATED makespan (ms)", title="Every program, cluster and scheduler")  # fmt: skip
        left.legend(fontsize=8, loc="upper left")
        right.axhline(0, color=GREY, lw=1)
        right.axhspan(-5, 5, color=GREY, alpha=0.12)
        right.set_xticks(range(len(lengths)), [f"{length_s * 1e3:g} ms" for length_s in lengths])
        right.set(xlabel="length of a task", ylabel="error of the makespan (%)", title="Band: 5 %")
