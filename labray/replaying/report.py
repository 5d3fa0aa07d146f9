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
from labray.graphs.skeleton import Skeleton, skeleton
from labray.replaying import recording as recordings
from labray.replaying import whatif
from labray.replaying.acting import Durations
from labray.replaying.whatif import Cluster, Outcome

Rows = list[tuple[str, Outcome]]
"""What each outcome is (measured; predicted, of the recorded cluster; what if), and the outcome."""

MEASURED, AGAIN, WHATIF = "measured", "predicted", "what if"


def main(
    recording: Path, *, nodes: str, cpus: float | None, schedulers: Sequence[str], bandwidth: str, latency: str,
    durations: str, seed: int, out: Path | None,
) -> None:  # fmt: skip
    """Print, and save if told where. ValueError for what is not understood."""
    counts = whatif.node_counts(nodes)
    sim = {"bandwidth_Bps": whatif.rate(bandwidth), "latency_s": whatif.duration(latency)}
    events, on = recordings.load(recording)
    names = list(schedulers) or [on.policy or "bottom_up"]
    for name in names:
        policies.resolve(name)
    acted = skeleton(events)
    if not acted.parts:
        raise ValueError(f"{recording} has no tasks in it.")
    each = on.num_cpus if cpus is None else cpus
    like = Cluster(on.nodes, each, names[0], on.resources, cast(Durations, durations), seed, sim)
    console = Console()
    rows = _run(console, acted, counts, names, like, whatif.measured(events, on), on)
    _print(console, rows, acted, on)
    if out is not None:
        _save(console, out, rows)


def _run(
    console: Console, acted: Skeleton, counts: Sequence[int], names: Sequence[str], like: Cluster,
    measured: Outcome, on: recordings.Recorded,
) -> Rows:  # fmt: skip
    rows: Rows = [(MEASURED, measured)]
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("simulating", total=1 + len(counts) * len(names))
        rows.append((AGAIN, whatif.predict(acted, whatif.recorded_cluster(on, like))))
        progress.advance(bar)
        for outcome in whatif.sweep(acted, counts, names, like):
            rows.append((WHATIF, outcome))
            progress.advance(bar)
    return rows


def _print(console: Console, rows: Rows, acted: Skeleton, on: recordings.Recorded) -> None:
    where = "simulation" if on.backend == "sim" else f"{on.backend} backend"
    console.print(
        f"{len(acted.parts)} tasks and calls, recorded on the {where}: {on.nodes} x {on.num_cpus:g} CPUs, "
        f"{on.scheduler}. All rows but the first are simulated."
    )
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for title in (
        "",
        "scheduler",
        "nodes",
        "CPUs",
        "makespan",
        "tasks/s",
        "busy",
        "moved",
        "passed on",
    ):
        table.add_column(title, justify="left" if title in ("", "scheduler") else "right", no_wrap=True)
    for what, one in rows:
        table.add_row(*_cells(what, one), end_section=what == AGAIN)
    console.print(table)
    first, again = rows[0][1], rows[1][1]
    if not again.why and first.makespan_s > 0:
        error = again.makespan_s / first.makespan_s - 1
        console.print(
            f"The recorded cluster itself: predicted {again.makespan_s:.4g} s, measured {first.makespan_s:.4g} s "
            f"({error:+.1%})."
        )
    for line in _findings(rows, acted):
        console.print(line)


def _cells(what: str, one: Outcome) -> list[str]:
    head = [what, one.scheduler, str(one.nodes), f"{one.num_cpus:g}"]
    if one.why:
        return [*head, f"cannot run: {one.why[:60]}", "", "", "", ""]
    figures = (f"{one.makespan_s:.4g} s", f"{one.throughput:.4g}", f"{one.utilisation:.1%}")
    return [*head, *figures, f"{one.moved_bytes / 1e6:.4g} MB", f"{one.forwarded_share:.0%}"]


def _findings(rows: Rows, acted: Skeleton) -> list[str]:
    lines = []
    for name in dict.fromkeys(one.scheduler for what, one in rows if what == WHATIF):
        line = [one for what, one in rows if what == WHATIF and one.scheduler == name and not one.why]
        knee = whatif.stops_helping(line)
        if knee is not None and knee < line[-1].nodes:
            share = f"{whatif.STOPS_HELPING:.0%}"
            lines.append(f"{name}: more than {_nodes(knee)} help no more (within {share} of the best).")
        elif knee is not None:
            lines.append(f"{name}: no fewer than {_nodes(knee)} do as well.")
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
