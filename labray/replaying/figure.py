"""The figure of `labray whatif`: makespan and throughput against nodes, one line a scheduler. Simulated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.ticker

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLOURS = ("#0b6e99", "#c8553d", "#588157", "#7b5ea7", "#c99700")


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the PNG. rows: as in whatif.csv."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    asked = [row for row in rows if row["what"] == "what if" and not row["why"]]
    for colour, name in zip(COLOURS * 9, dict.fromkeys(row["scheduler"] for row in asked), strict=False):
        line = [row for row in asked if row["scheduler"] == name]
        nodes = [row["nodes"] for row in line]
        left.plot(nodes, [row["makespan_s"] for row in line], "o-", color=colour, label=f"{name} (simulated)")
        right.plot(
            nodes, [row["throughput"] for row in line], "o-", color=colour, label=f"{name} (simulated)"
        )
    known = [row for row in rows if row["what"] != "what if" and not row["why"]]
    for row, marker in ((row, {"predicted": "x"}.get(row["what"], "*")) for row in known):
        where = f"the recorded cluster, {row['nodes']} x {row['num_cpus']:g} CPU"
        label = f"measured, {where}" if row["what"] == "measured" else f"simulated ({row['what']}), {where}"
        left.plot(row["nodes"], row["makespan_s"], marker, color="black", markersize=10, label=label)
    cpus = asked[0]["num_cpus"] if asked else 0
    for axis, label in ((left, "makespan [s]"), (right, "throughput [tasks/s]")):
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xticks(sorted({row["nodes"] for row in asked}), minor=False)
        axis.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%d"))
        axis.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
        low, high = axis.get_ylim()
        if high < 5 * low:  # a log axis of less than a decade reads as drama
            axis.set_yscale("linear")
            axis.set_ylim(0, high * 1.05)
        plain = matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:g}")
        axis.yaxis.set_major_formatter(plain)
        axis.yaxis.set_minor_formatter(plain)
        axis.set_xlabel(f"nodes of {cpus:g} CPUs")
        axis.set_ylabel(label)
        axis.grid(alpha=0.3, which="both")
        axis.spines[["top", "right"]].set_visible(False)
    left.legend(frameon=False, fontsize=8)
    figure.suptitle(
        "The recorded program on other clusters" if known else "The graph on clusters of many sizes"
    )
    figure.savefig(path, dpi=130)
    plt.close(figure)
