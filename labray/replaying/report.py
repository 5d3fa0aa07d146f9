"""`labray whatif`: run the sweep, print the table, save rows and figure."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import cast

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from labray import schedulers as policies
from labray.graphs.formats import files
from labray.graphs.skeleton import Skeleton, skeleton
from labray.graphs.taskgraph import TaskGraph
from labray.replaying import recording as recordings
from labray.replaying import whatif
from labray.replaying.acting import Durations
from labray.replaying.recording import Recorded
from labray.replaying.whatif import Cluster, Outcome

Rows = list[tuple[str, Outcome]]
"""What each outcome is (measured; predicted, of the recorded cluster; what if), and the outcome."""

DEFAULT = "bottom_up"
GRAPH_CPUS = 4
"""Of each node, where a graph says nothing of the cluster that it ran on; as `init("sim")` has it."""
MEASURED, AGAIN, WHATIF = "measured", "predicted", "what if"


def main(
    recording: Path, *, nodes: str, cpus: float | None, schedulers: Sequence[str], bandwidth: str, latency: str,
    durations: str, seed: int, out: Path | None, graph: str,
) -> None:  # fmt: skip
    """Print, and save if told where. graph: which of several. ValueError for what is not understood."""
    counts = whatif.node_counts(nodes)
    sim = {"bandwidth_Bps": whatif.rate(bandwidth), "latency_s": whatif.duration(latency)}
    names = list(schedulers)
    for name in names:
        policies.resolve(name)
    console = Console()

    def like(on: Recorded | None) -> Cluster:
        each = cpus or (on.num_cpus if on is not None else GRAPH_CPUS)
        return Cluster(
            1, each, "", on.resources if on is not None else {}, cast(Durations, durations), seed, sim
        )

    if recording.suffix == ".lab":
        events, on = recordings.load(recording)
        acted = skeleton(events)
        _refuse_empty(recording, len(acted.parts))
        rows = _recorded(console, acted, counts, names, like(on), whatif.measured(events, on), on)
    else:
        made = files.read(recording, graph)
        _refuse_empty(recording, len(made.tasks()))
        rows = _imported(console, made, counts, names, like(None))
    if out is not None:
        _save(console, out, rows)


def _refuse_empty(path: Path, tasks: int) -> None:
    if not tasks:
        raise ValueError(f"{path} has no tasks in it.")


def _recorded(
    console: Console, acted: Skeleton, counts: Sequence[int], names: Sequence[str], like: Cluster,
    measured: Outcome, on: Recorded,
) -> Rows:  # fmt: skip
    """What was measured, what is predicted of the same cluster, and then what was asked."""
    names = names or [on.policy or DEFAULT]
    rows: Rows = [(MEASURED, measured)]
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("simulating", total=1 + len(counts) * len(names))
        rows.append((AGAIN, whatif.predict(acted, whatif.recorded_cluster(on, like))))
        progress.advance(bar)
        for outcome in whatif.sweep(acted, counts, names, like):
            rows.append((WHATIF, outcome))
            progress.advance(bar)
    where = "simulation" if on.backend == "sim" else f"{on.backend} backend"
    console.print(
        f"{len(acted.parts)} tasks and calls, recorded on the {where}: {on.nodes} x {on.num_cpus:g} CPUs, "
        f"{on.scheduler}. All rows but the first are simulated."
    )
    _print(console, rows)
    if not rows[1][1].why and measured.makespan_s > 0:
        again = rows[1][1].makespan_s
        console.print(
            f"The recorded cluster itself: predicted {again:.4g} s, measured {measured.makespan_s:.4g} s "
            f"({again / measured.makespan_s - 1:+.1%})."
        )
    for line in [*_findings(rows), *_left_out(rows, acted)]:
        console.print(line)
    return rows


def _imported(
    console: Console, graph: TaskGraph, counts: Sequence[int], names: Sequence[str], like: Cluster
) -> Rows:
    """Anyone's graph: nothing of it was measured here."""
    names = names or [DEFAULT]
    rows: Rows = []
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("simulating", total=len(counts) * len(names))
        for outcome in whatif.sweep(graph, counts, names, like):
            rows.append((WHATIF, outcome))
            progress.advance(bar)
    console.print(
        f"{len(graph.tasks())} tasks, {graph.work():.4g} s of work, critical path {graph.critical_path()[0]:.4g} s; "
        "costs as they stand in the file, submitted by one driver. All rows are simulated."
    )
    _print(console, rows)
    for line in _findings(rows):
        console.print(line)
    return rows


def _print(console: Console, rows: Rows) -> None:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for title in ("", "scheduler", "nodes", "CPUs", "makespan", "tasks/s", "busy", "moved", "passed on"):
        table.add_column(title, justify="left" if title in ("", "scheduler") else "right", no_wrap=True)
    for what, one in rows:
        table.add_row(*_cells(what, one), end_section=what == AGAIN)
    console.print(table)


def _cells(what: str, one: Outcome) -> list[str]:
    head = [what, one.scheduler, str(one.nodes), f"{one.num_cpus:g}"]
    if one.why:
        return [*head, f"cannot run: {one.why[:60]}", "", "", "", ""]
    figures = (f"{one.makespan_s:.4g} s", f"{one.throughput:.4g}", f"{one.utilisation:.1%}")
    return [*head, *figures, f"{one.moved_bytes / 1e6:.4g} MB", f"{one.forwarded_share:.0%}"]


def _findings(rows: Rows) -> list[str]:
    lines = []
    for name in dict.fromkeys(one.scheduler for what, one in rows if what == WHATIF):
        line = [one for what, one in rows if what == WHATIF and one.scheduler == name and not one.why]
        knee = whatif.stops_helping(line)
        if knee is not None and knee < line[-1].nodes:
            share = f"{whatif.STOPS_HELPING:.0%}"
            lines.append(f"{name}: more than {_nodes(knee)} help no more (within {share} of the best).")
        elif knee is not None:
            lines.append(f"{name}: no fewer than {_nodes(knee)} do as well.")
    return lines


def _left_out(rows: Rows, acted: Skeleton) -> list[str]:
    lines = []
    if lost := max(one.lost for _, one in rows):
        lines.append(
            f"{lost} references went ways that the trace does not show; the replay does without them."
        )
    if acted.unfinished:
        lines.append(
            f"{acted.unfinished} tasks had not ended when the recording did; they cost what they declared."
        )
    return lines


def _nodes(count: int) -> str:
    return f"{count} node{'s' * (count != 1)}"


def _save(console: Console, out: Path, rows: Rows) -> None:
    out.mkdir(parents=True, exist_ok=True)
    table = [{"what": what, **one.row()} for what, one in rows]
    with (out / "whatif.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    try:
        figure = import_module("experiments.whatif_figure")
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("experiments"):
            raise
        console.print(f"Rows are in {out}; no figure, because the experiments are not installed here.")
        return
    figure.draw(table, out / "whatif.png")
    console.print(f"Rows and figure are in {out}.")
