"""The figure, from saved rows: their points, our curve, and which points were fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")  # files, no window

import matplotlib.pyplot as plt

from experiments.harness.drawing import STYLE
from papers.ownership.theirs import SECOND

LOOKS = {
    "ownership": ("#2f6690", "o"),
    "leases": ("#588157", "^"),
    "centralized": ("#c8553d", "s"),
}


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the PNG. rows: as in rows.csv, with numbers."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(7.6, 4.6), constrained_layout=True)
        for system, (colour, marker) in LOOKS.items():
            own = [row for row in rows if row["system"] == system]
            nodes = [row["nodes"] for row in own]
            axes.plot(
                nodes, [row["theirs"] for row in own], marker, color=colour, ms=7, label=f"{system}: theirs"
            )
            ours = [row["ours_simulated"] for row in own]
            axes.plot(nodes, ours, "-", color=colour, lw=1.4, label=f"{system}: ours, simulated")
            for how, fill in (("fitted", colour), ("predicted", "white")):
                chosen = [row for row in own if row["how"] == how]
                axes.plot(
                    [row["nodes"] for row in chosen], [row["ours_simulated"] for row in chosen], "D",
                    color=colour, mfc=fill, ms=4, zorder=3,
                )  # fmt: skip
        again = SECOND["ownership"]
        axes.plot(list(again), list(again.values()), "x", color=LOOKS["ownership"][0],
                  label="ownership: theirs, another day")  # fmt: skip
        axes.plot([], [], "D", color="black", ms=4, label="ours: fitted to theirs (two ends)")
        axes.plot([], [], "D", color="black", mfc="white", ms=4, label="ours: predicted")
        axes.set(
            title="Ownership (NSDI'21): empty tasks, one driver for 5 nodes", xlabel="worker nodes of 32 CPUs",
            ylabel="tasks per second", xticks=sorted({row["nodes"] for row in rows}), ylim=(0, None),
        )  # fmt: skip
        axes.yaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k")
        axes.legend(fontsize=8, loc="upper left")
        figure.savefig(path)
        plt.close(figure)
