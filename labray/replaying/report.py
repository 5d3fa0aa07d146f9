"""`labray whatif`: run the sweep, print the table, save rows and figure.

What it prints fits 80 columns or is folded, never cut; what users named is printed as they wrote it.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from labray import schedulers as policies
from labray.files import task_graphs
from labray.graphs.skeleton import Skeleton, skeleton
from labray.graphs.taskgraph import TaskGraph
from labray.replaying import recording as recordings
from labray.replaying import whatif
from labray.replaying.acting import Durations
from labray.replaying.recording import Recorded
from labray.replaying.whatif import AskedCluster, PredictedRun

Rows = list[tuple[str, PredictedRun]]
"""What each outcome is (measured, or recorded in the simulator; predicted, of the recorded cluster; what if), and the
outcome."""

DEFAULT = "bottom_up"
GRAPH_CPUS = 4
"""Of each node, where a graph says nothing of the cluster that it ran on; as `init("sim")` has it."""
MEASURED, RECORDED, AGAIN, WHATIF = "measured", "recorded", "predicted", "what if"


def main(
    recording: Path, *, nodes: str, cpus: float | None, schedulers: Sequence[str], bandwidth: str, latency: str,
    durations: str, seed: int, out: Path | None, graph: str,
) -> None:  # fmt: skip
    """Print, and save if told where. graph: which of several. ValueError for what is not understood or cannot run."""
    counts = whatif.node_counts(nodes)
    sim = {"bandwidth_Bps": whatif.rate(bandwidth), "latency_s": whatif.duration(latency)}
    names = list(dict.fromkeys(schedulers))
    for name in names:
        policies.resolve(name)

    def like(on: Recorded | None) -> AskedCluster:
        each = cpus if cpus is not None else on.num_cpus if on is not None else GRAPH_CPUS
        found = AskedCluster(
            1, each, "", on.resources if on is not None else {}, cast(Durations, durations), seed, sim
        )
        whatif.check(found, counts)
        return found

    if recording.suffix == ".lab":
        if graph:
            raise ValueError(f"{recording}: there is no graph {graph!r} in a recording.")
        events, on = recordings.load(recording)
        acted = skeleton(events)
        _refuse_empty(recording, len(acted.parts))
        rows = _recorded(acted, counts, names, like(on), whatif.measured(events, on), on)
    else:
        made = task_graphs.read(recording, graph)
        _refuse_empty(recording, len(made.tasks()))
        rows = _imported(made, counts, names, like(None))
    if out is not None:
        _save(out, rows)
    if all(one.why for what, one in rows if what == WHATIF):
        raise ValueError("nothing of what was asked could run.")


def _progress() -> Progress:
    """Seen by people only: not in what is piped."""
    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)


def _refuse_empty(path: Path, tasks: int) -> None:
    if not tasks:
        raise ValueError(f"{path} has no tasks in it.")


def _recorded(
    acted: Skeleton,
    counts: Sequence[int],
    names: Sequence[str],
    like: AskedCluster,
    before: PredictedRun,
    on: Recorded,
) -> Rows:
    """What was measured, what is predicted of the same cluster, and then what was asked."""
    names = names or [on.policy or DEFAULT]
    was = RECORDED if on.simulated else MEASURED
    rows: Rows = [(was, before)]
    with _progress() as progress:
        bar = progress.add_task("simulating", total=1 + len(counts) * len(names))
        rows.append((AGAIN, whatif.predict(acted, whatif.recorded_cluster(on, like))))
        progress.advance(bar)
        for outcome in whatif.sweep(acted, counts, names, like):
            rows.append((WHATIF, outcome))
            progress.advance(bar)
    where = "simulation" if on.simulated else f"{on.backend} backend"
    simulated = "All rows" if on.simulated else "All rows but the first"
    click.echo(
        f"{len(acted.parts)} tasks and calls, recorded on the {where}: {on.nodes} x {on.num_cpus:g} CPUs, "
        f"{on.scheduler}. {simulated} are simulated."
    )
    _print(rows)
    if not rows[1][1].why and before.makespan_s > 0:
        again = rows[1][1].makespan_s
        click.echo(
            f"The recorded cluster itself: predicted {again:.4g} s, {was} {before.makespan_s:.4g} s "
            f"({again / before.makespan_s - 1:+.1%})."
        )
    for line in [*_findings(rows), *_left_out(rows, acted)]:
        click.echo(line)
    return rows


def _imported(graph: TaskGraph, counts: Sequence[int], names: Sequence[str], like: AskedCluster) -> Rows:
    """Anyone's graph: nothing of it was measured here."""
    names = names or [DEFAULT]
    rows: Rows = []
    with _progress() as progress:
        bar = progress.add_task("simulating", total=len(counts) * len(names))
        for outcome in whatif.sweep(graph, counts, names, like):
            rows.append((WHATIF, outcome))
            progress.advance(bar)
    click.echo(
        f"{len(graph.tasks())} tasks, {graph.work():.4g} s of work, critical path {graph.critical_path()[0]:.4g} s; "
        "costs as they stand in the file, submitted by one driver. All rows are simulated."
    )
    _print(rows)
    for line in [*_findings(rows), *_timeless(graph)]:
        click.echo(line)
    return rows


def _print(rows: Rows) -> None:
    """The table, and below it why what cannot run cannot."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for title in ("", "scheduler", "nodes", "CPUs", "makespan", "tasks/s", "busy", "moved MB", "passed"):
        table.add_column(title, justify="left" if title in ("", "scheduler") else "right", overflow="fold")
    for what, one in rows:
        table.add_row(*map(Text, _cells(what, one)), end_section=what == AGAIN)
    Console().print(table)
    for what, one in rows:
        if one.why:
            click.echo(f"{what}, {one.scheduler}, {_nodes(one.nodes)}: cannot run: {one.why}")


def _cells(what: str, one: PredictedRun) -> list[str]:
    head = [what, one.scheduler, str(one.nodes), f"{one.num_cpus:g}"]
    if one.why:
        return [*head, "cannot run", "", "", "", ""]
    figures = (f"{one.makespan_s:.4g} s", f"{one.throughput:.4g}", f"{one.utilisation:.1%}")
    moved = one.moved_bytes / 1e6
    return [*head, *figures, f"{moved:.4g}" if moved < 1e4 else f"{moved:,.0f}", f"{one.forwarded_share:.0%}"]


def _findings(rows: Rows) -> list[str]:
    """Where more nodes stop helping: of two numbers of nodes at least, for one has nothing to be compared with."""
    lines = []
    for name in dict.fromkeys(one.scheduler for what, one in rows if what == WHATIF):
        line = [one for what, one in rows if what == WHATIF and one.scheduler == name and not one.why]
        knee = whatif.stops_helping(line) if len(line) > 1 else None
        if knee is not None and knee < line[-1].nodes:
            share = f"{whatif.STOPS_HELPING:.0%}"
            lines.append(f"{name}: more than {_nodes(knee)} help no more (within {share} of the best).")
        elif knee is not None:
            lines.append(f"{name}: of what was asked, no fewer than {_nodes(knee)} do as well.")
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


def _timeless(graph: TaskGraph) -> list[str]:
    """A file may describe a workflow that never ran."""
    tasks = graph.tasks()
    idle = sum(not graph.nx.nodes[task]["cost"] for task in tasks)
    return [f"{idle} of the {len(tasks)} tasks take no time in the file."] if idle else []


def _nodes(count: int) -> str:
    return f"{count} node{'s' * (count != 1)}"


def _save(out: Path, rows: Rows) -> None:
    out.mkdir(parents=True, exist_ok=True)
    table = [{"what": what, **one.row()} for what, one in rows]
    with (out / "whatif.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    from labray.replaying.figure import draw  # matplotlib, for the picture only

    draw(table, out / "whatif.png")
    click.echo(f"Rows and figure are in {out}.")
