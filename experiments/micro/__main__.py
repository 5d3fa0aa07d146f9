"""How fast are the small things? `python -m experiments.micro [--peers ray,futures,pool,loky,dask] [--large]`.

All systems are up at the same time and take turns, round by round, after a warm-up: a noisy machine is noisy for all,
and the ratio of two medians means something. Rows, a figure and a page that sets what was reached beside each goal go
to results/micro/. Peers: `pip install .[peers]`. --large: the cases without a peer as well (large.py).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import click
from msgspec import Struct
from rich.console import Console
from rich.progress import track
from rich.table import Table

import labray
from experiments.harness.study import Study, begun
from experiments.micro.contestants import FIRST_TASK, PEERS, READY, UNITS, WORKERS, Case, nothing, ours
from experiments.micro.goals import page
from experiments.micro.large import Figure, figures
from labray import TaskGraph
from labray.comparison.scaling import CORES, ScalingJob, at, simulate

ROUNDS = 4
ROUND_S = 2.0
WARM_UP_S = 0.5


class Row(Struct, frozen=True):
    """least, most: over the rounds. world: measured, or simulated (then per second of wall time)."""

    system: str
    name: str
    unit: str
    median: float
    least: float
    most: float
    rounds: int
    world: str


def row(system: str, name: str, unit: str, seen: list[float], world: str = "measured") -> Row:
    return Row(system, name, unit, median(seen), min(seen), max(seen), len(seen), world)


def rate(case: Case, seconds: float) -> float:
    """So many a second, over at least so many seconds."""
    begun = time.perf_counter()
    done = 0.0
    while (spent := time.perf_counter() - begun) < seconds or not done:
        done += case()
    return done / spent


# ---------------------------------------------------------------- cases that take turns


def contest(systems: Mapping[str, Mapping[str, Case]], count: int, seconds: float) -> Iterator[Row]:
    """Every case, on all systems that have it."""
    for name, unit in track(UNITS.items(), "microbenchmarks", transient=True):
        running = {system: cases[name] for system, cases in systems.items() if name in cases}
        for case in running.values():
            rate(case, min(WARM_UP_S, seconds))
        seen: dict[str, list[float]] = {system: [] for system in running}
        for _ in range(count):
            for system, case in running.items():
                seen[system].append(rate(case, seconds))
        for system, rates in seen.items():
            yield row(system, name, unit, rates)


# ---------------------------------------------------------------- cases of labray alone


def starts(count: int) -> Iterator[Row]:
    """From init to ready, and from there to the first result, in milliseconds."""
    empty = labray.remote(nothing)
    ready, first = [], []
    for _ in range(count):
        begun = time.perf_counter()
        with labray.init("cluster", num_cpus=WORKERS):
            up = time.perf_counter()
            labray.get(empty.remote())
            ready.append((up - begun) * 1e3)
            first.append((time.perf_counter() - up) * 1e3)
    yield row("labray", READY, "ms", ready)
    yield row("labray", FIRST_TASK, "ms", first)


@labray.remote(num_cpus=0)
def submit_modelled(graph: TaskGraph) -> int:
    return int(labray.execute(graph).tasks)


def modelled_per_s(nodes: int = 100, tasks: int = 500) -> float:
    """Modelled tasks a second of wall time: 500 of 1 ms from each node."""
    graph = TaskGraph()
    for _ in range(tasks):
        graph.task(cost=1e-3)
    with labray.init("sim", nodes=nodes, num_cpus=CORES, trace=False):
        begun = time.thread_time()  # the clocks of `time` read virtual time here, but for this one
        given = labray.put(graph)
        done = sum(labray.get([submit_modelled.options(resources=at(n)).remote(given) for n in range(nodes)]))
        return float(done / (time.thread_time() - begun))


def executed_per_s(scheduler: str) -> float:
    point = simulate(ScalingJob("flood", scheduler, 100, 200))
    return point.tasks / point.wall_s


def simulated(count: int) -> Iterator[Row]:
    for scheduler in ("bottom_up", "centralized"):
        seen = [executed_per_s(scheduler) for _ in range(count)]
        yield row("labray", f"executed, 100 nodes, {scheduler}", "tasks/s of wall time", seen, "simulated")
    seen = [modelled_per_s() for _ in range(count)]
    yield row("labray", "modelled, 100 nodes", "tasks/s of CPU time", seen, "simulated")


# ---------------------------------------------------------------- the page


def table(rows: list[Row]) -> Table:
    own = {each.name: each.median for each in rows if each.system == "labray"}
    page = Table(title=f"{WORKERS} workers; median of the rounds, least to most", title_justify="left")
    for heading in ("what", "system", "median", "least to most", "unit", "labray / it"):
        page.add_column(heading)
    for each in rows:
        ratio = "" if each.system == "labray" else f"{own[each.name] / each.median:.2f}"
        spread = f"{each.least:,.4g} to {each.most:,.4g}"
        page.add_row(each.name, each.system, f"{each.median:,.4g}", spread, each.unit, ratio)
    return page


def save(study: Study, rows: list[Row], without_peer: list[Figure]) -> str:
    """Write the rows, and the page that docs/speed.md has, which is also returned."""
    study.rows("micro.csv", rows)
    if without_peer:
        study.rows("large.csv", without_peer)
    medians = [(each.name, each.system, each.median) for each in rows]
    load = "/".join(f"{each:.1f}" for each in os.getloadavg())
    of = study.source
    text = page(medians, without_peer, f"Commit {of.commit}, {of.at}, {of.machine}; load {load} at the end.")
    study.text("speed.md", text)
    return text


@click.command()
@click.option("--peers", default="futures,pool", show_default=True, help=f"Of {', '.join(PEERS)}; or none.")
@click.option("--count", default=ROUNDS, show_default=True, help="Rounds of each case.")
@click.option("--seconds", default=ROUND_S, show_default=True, help="Of each round, at least.")
@click.option("--large", is_flag=True, help="The cases without a peer as well: 5 minutes, 3 GB.")
@click.option("--queued", default=1_000_000, show_default=True, help="Of --large: tasks that wait at once.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("results/micro"), show_default=True)
def main(peers: str, count: int, seconds: float, large: bool, queued: int, out: Path) -> None:
    """Measure, print, save."""
    names = [name for name in peers.split(",") if name]
    if unknown := [name for name in names if name not in PEERS]:
        raise click.BadParameter(
            f"{unknown[0]!r} is not a peer that can be measured: give some of {', '.join(PEERS)}."
        )
    with ExitStack() as stack:
        systems = {name: stack.enter_context(PEERS[name]()) for name in names}
        systems = {"labray": stack.enter_context(ours()), **systems}
        rows = list(contest(systems, count, seconds))
    rows += [*starts(count), *simulated(min(count, 3))]
    console = Console()
    console.width = max(console.width, 120)  # a narrower table is hard to read
    console.print(table(rows))
    without_peer = list(figures(queued, count)) if large else []
    study = begun("experiments.micro", out)
    console.print(save(study, rows, without_peer), markup=False)
    if names:
        from experiments.micro.figure import ratios  # matplotlib, for the picture only

        ratios(study.file("micro.png"), [(each.name, each.system, each.median) for each in rows])


if __name__ == "__main__":
    main()
