"""The figures of `labray compare`, from its rows and traces, and the looks that all figures of labray share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")  # files, no window

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from labray import trace
from labray.comparison.measured import MeasuredRun
from labray.comparison.prediction import Predicted
from labray.comparison.scaling import Point

LOOKS = {"centralized": ("#c8553d", "s", "centralized"), "bottom_up": ("#2f6690", "o", "bottom-up")}
TASKS = {"count": "#7fb069", "merge": "#e6aa68", "Progress.add": "#8d6b94"}
GREY = "#777777"
STYLE: Any = {
    "figure.dpi": 130, "font.size": 10, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.color": "#dddddd", "grid.linewidth": 0.6, "axes.axisbelow": True,
    "legend.frameon": False, "axes.titlesize": 11, "axes.titlelocation": "left",
}  # fmt: skip


def throughput(path: Path, points: Sequence[Point]) -> None:
    """Empty tasks per second against nodes, with the line that doubles with them; beside it the head's queue."""
    flood = [point for point in points if point.workload == "flood"]
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.4), constrained_layout=True)
        single = next(p for p in flood if p.nodes == 1 and p.scheduler == "bottom_up").throughput
        nodes = sorted({point.nodes for point in flood})
        left.plot(
            nodes,
            [single * count for count in nodes],
            "--",
            color=GREY,
            lw=1.2,
            label="ideal: one node's x nodes",
        )
        for name, (color, marker, label) in LOOKS.items():
            own = sorted((p for p in flood if p.scheduler == name), key=lambda p: p.nodes)
            left.plot(
                [p.nodes for p in own], [p.throughput for p in own], color=color, marker=marker, label=label
            )
            right.plot([p.nodes for p in own], [p.head_peak for p in own], color=color, marker=marker)
        per_node = flood[0].tasks // flood[0].nodes
        left.set(title=f"Empty tasks, {per_node:,} submitted on every node", ylabel="tasks per second")
        right.set(title="Why: the head's queue", ylabel="tasks at the head or on their way, at most")
        for axes in (left, right):
            log_log(axes, nodes)
        right.set_yscale("symlog", linthresh=1)  # on one node bottom-up leaves the head alone: that is a 0
        right.yaxis.set_major_formatter(FuncFormatter(short))
        left.legend(loc="upper left")
        stamp(figure, "SIMULATED, nodes of 16 cores")
        save(figure, path)


def makespan(path: Path, points: Sequence[Point]) -> None:
    """How long the recorded program, many times over, takes on so many nodes; the bound; and latency."""
    replay = [point for point in points if point.workload == "replay"]
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.4), constrained_layout=True)
        bound = sorted({(p.nodes, p.bound_s) for p in replay})
        left.plot(
            *zip(*bound, strict=True), "--", color=GREY, lw=1.2, label="bound: work / cores, longest chain"
        )
        for name, (color, marker, label) in LOOKS.items():
            own = sorted((p for p in replay if p.scheduler == name), key=lambda p: p.nodes)
            left.plot(
                [p.nodes for p in own], [p.makespan_s for p in own], color=color, marker=marker, label=label
            )
            right.plot([p.nodes for p in own], [p.latency_p50_s for p in own], color=color, marker=marker)
            right.plot(
                [p.nodes for p in own],
                [p.latency_p99_s for p in own],
                color=color,
                marker=marker,
                ls=":",
                mfc="w",
            )
        left.set(
            title=f"The recorded program many times over: {replay[0].tasks:,} tasks", ylabel="makespan (s)"
        )
        right.set(title="From submitted to begun", ylabel="scheduling latency (s)")
        kinds = [
            Line2D([], [], color=GREY, label="median"),
            Line2D([], [], color=GREY, ls=":", label="99th percentile"),
        ]
        right.legend(handles=kinds, loc="lower left")
        for axes in (left, right):
            log_log(axes, [nodes for nodes, _ in bound])
        left.legend(loc="upper right")
        stamp(figure, "SIMULATED, nodes of 16 cores; costs recorded on this machine")
        save(figure, path)


def prediction(path: Path, rows: Sequence[Predicted], runs: Sequence[MeasuredRun]) -> None:
    """Each real run as a dot, their median as a line, the prediction as a diamond."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(7, 1.2 + len(rows)), constrained_layout=True)
        for at, row in enumerate(rows):
            color, _, _ = LOOKS[row.scheduler]
            seconds = [
                run.seconds for run in runs if (run.scheduler, run.nodes) == (row.scheduler, row.nodes)
            ]
            axes.plot(seconds, [at] * len(seconds), "o", color=color, alpha=0.45, ms=7)
            axes.plot([row.measured_s] * 2, [at - 0.2, at + 0.2], color=color, lw=2.5)
            axes.plot([row.predicted_s], [at], "D", color="black", ms=8, mfc="w", mew=1.6)
            text = f"{row.error:+.1%}\nnoise ±{row.noise:.1%}"
            rightmost = max(row.predicted_s, row.most_s)
            axes.annotate(text, (rightmost, at), (10, 0), textcoords="offset points", va="center", fontsize=9)
        labels = [
            f"{LOOKS[row.scheduler][2]}, {row.nodes} nodes\n(costs from {LOOKS[row.costs_from][2]})"
            for row in rows
        ]
        axes.set_yticks(range(len(rows)), labels)
        axes.set(
            ylim=(-0.6, len(rows) - 0.3),
            xlabel="makespan (s)",
            title="The same program, predicted and measured",
        )
        axes.set_xlim(0, 1.25 * max(max(row.predicted_s, row.most_s) for row in rows))
        axes.legend(handles=[
            Line2D([], [], marker="o", ls="", color=GREY, label="measured, each run"),
            Line2D([], [], color=GREY, lw=2.5, label="measured, median"),
            Line2D([], [], marker="D", ls="", color="black", mfc="w", mew=1.6, label="simulated"),
        ], loc="upper left", fontsize=9)  # fmt: skip
        save(figure, path)


def gantt(path: Path, real: Sequence[trace.Event], said: Sequence[trace.Event], scheduler: str) -> None:
    """What each worker ran when: a real run above, the simulated one below, on the same axis."""
    with plt.rc_context(STYLE):
        figure, both = plt.subplots(2, 1, figsize=(10.5, 4.6), sharex=True, constrained_layout=True)
        name = LOOKS[scheduler][2]
        for axes, events, title in zip(
            both, (real, said), (f"MEASURED: one real run, {name}", f"SIMULATED: {name}"), strict=True
        ):
            lanes(axes, events)
            axes.set_title(title)
            axes.grid(False, axis="y")
        both[1].set_xlabel("seconds since the first file was submitted")
        both[0].legend(handles=[Patch(color=c, label=n) for n, c in TASKS.items()], loc="upper right", ncols=3,
                       bbox_to_anchor=(1, 1.22))  # fmt: skip
        save(figure, path)


def lanes(axes: Axes, events: Sequence[trace.Event]) -> None:
    """A lane a worker, in the order of their names; empty ones are left out."""
    names = {s.task: s.name for s in trace.submissions(events)}
    start = min(s.time for s in trace.submissions(events) if s.name == "count")
    shown = [run for run in trace.runs(events) if names.get(run.task) in TASKS]
    workers = sorted({run.worker for run in shown}, reverse=True)
    for at, worker in enumerate(workers):
        for name, color in TASKS.items():
            own = [run for run in shown if run.worker == worker and names[run.task] == name]
            # 0.5 ms at least: an actor's calls would be thinner than a line of the picture
            bars = [(run.begun - start, max(run.ended - run.begun, 5e-4)) for run in own]
            axes.broken_barh(bars, (at - 0.38, 0.76), color=color, edgecolor="white", linewidth=0.15)
    axes.set_yticks(range(len(workers)), workers)


def log_log(axes: Axes, nodes: Sequence[int]) -> None:
    axes.set(xscale="log", yscale="log", xlabel="nodes")
    axes.set_xticks(nodes, [str(count) for count in nodes])
    axes.xaxis.set_minor_locator(NullLocator())
    low, high = axes.get_ylim()
    if high / low < 300:  # few powers of ten: then their fractions need numbers too
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(short))
    axes.yaxis.set_minor_formatter(NullFormatter())


def short(value: float, _: object = None) -> str:
    """1200000 as 1.2M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def stamp(figure: Figure, text: str) -> None:
    """So that the picture alone says what it is."""
    figure.text(0.995, 0.005, text, ha="right", va="bottom", fontsize=8, color=GREY)
    figure.get_layout_engine().set(rect=(0, 0.035, 1, 0.965))  # type: ignore[union-attr, call-arg]


def save(figure: Figure, path: Path) -> None:
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)
