"""The figure of the microbenchmarks: how many times as fast as each peer labray is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.ticker import FuncFormatter

from experiments.harness.drawing import GREY, drawn, short


def ratios(path: Path, rates: Sequence[tuple[str, str, float]]) -> None:
    """How many times as fast labray is. rates: case, system, so many a second."""
    own = {case: rate for case, system, rate in rates if system == "labray"}
    others = list(dict.fromkeys(system for _, system, _ in rates if system != "labray"))
    cases = [case for case in own if any(c == case and s != "labray" for c, s, _ in rates)]
    with drawn(path, size=(8, 0.9 + 0.45 * len(cases))) as (_, axes):
        for at, other in enumerate(others):
            theirs = {case: rate for case, system, rate in rates if system == other}
            points = [(own[case] / theirs[case], -row) for row, case in enumerate(cases) if case in theirs]
            axes.plot(*zip(*points, strict=True), "os^Dv"[at % 5], label=other, markersize=7)
        axes.axvline(1, color=GREY, linewidth=1)
        axes.set_yticks([-row for row in range(len(cases))], cases)
        axes.set(
            xscale="log",
            xlabel="times as fast as it",
            title="labray beside other systems, same machine, same run",
        )
        axes.xaxis.set_major_formatter(FuncFormatter(short))
        axes.legend(loc="upper right")
