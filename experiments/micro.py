"""How fast are the small things? `python -m experiments.micro [--peers futures,pool]`.

Each figure is the median of several rounds after a warm-up, on two workers; peers run the same in the same
process, one after the other, so that ratios mean something on a noisy machine. Rows go to results/micro/micro.csv.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
from msgspec import Struct
from rich.console import Console
from rich.table import Table

import labray
from experiments.provenance import origin, save_rows
from experiments.scaling import CORES, Job, at, simulate
from labray import TaskGraph

ROUNDS = 5
WORKERS = 2
LARGE_BYTES = 100_000_000
Bench = tuple[str, str, Callable[[], float]]
"""What is measured, in which unit, and one round of it."""


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


def nothing() -> None:
    """The empty task."""


empty = labray.remote(nothing)


@labray.remote(num_cpus=0)
class Counter:
    def __init__(self) -> None:
        self.calls = 0

    def add(self) -> int:
        self.calls += 1
        return self.calls


def rate(what: Callable[[], object], count: int) -> float:
    """So many a second."""
    begun = time.perf_counter()
    what()
    return count / (time.perf_counter() - begun)


def rounds(system: str, benches: list[Bench], world: str = "measured", count: int = ROUNDS) -> Iterator[Row]:
    for name, unit, run in benches:
        if count > 1:
            run()
        seen = [run() for _ in range(count)]
        yield Row(system, name, unit, median(seen), min(seen), max(seen), count, world)


def cluster_benches() -> list[Bench]:
    counter = Counter.remote()
    small, large = [1, 2, 3], np.ones(LARGE_BYTES // 8)

    def singles() -> None:
        for _ in range(500):
            labray.get(empty.remote())

    def round_trips(value: Any, times: int) -> Callable[[], None]:
        def run() -> None:
            for _ in range(times):
                labray.get(labray.put(value))

        return run

    def batch(call: Any) -> Callable[[], float]:
        return lambda: rate(lambda: labray.get([call.remote() for _ in range(1000)]), 1000)

    return [
        ("round trips, one at a time", "tasks/s", lambda: rate(singles, 500)),
        ("1,000 submitted, then got", "tasks/s", batch(empty)),
        ("1,000 actor calls", "calls/s", batch(counter.add)),
        ("put and get, a small list", "times/s", lambda: rate(round_trips(small, 500), 500)),
        ("put and get, 100 MB array", "GB/s", lambda: rate(round_trips(large, 1), 1) * LARGE_BYTES / 1e9),
    ]  # fmt: skip


def start_once() -> float:
    """Milliseconds from init to the first result."""
    begun = time.perf_counter()
    with labray.init("cluster", num_cpus=WORKERS):
        labray.get(empty.remote())
        return (time.perf_counter() - begun) * 1e3


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


def executed_per_s() -> float:
    point = simulate(Job("flood", "bottom_up", 100, 200))
    return point.tasks / point.wall_s


SIM_BENCHES: list[Bench] = [
    ("executed empty tasks, 100 nodes", "tasks/s of wall time", executed_per_s),
    ("modelled tasks, 100 nodes", "tasks/s of CPU time", modelled_per_s),
]


# ---------------------------------------------------------------- peers


@contextmanager
def futures() -> Iterator[list[Bench]]:
    with ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context("forkserver")) as pool:
        yield [
            ("round trips, one at a time", "tasks/s",
             lambda: rate(lambda: [pool.submit(nothing).result() for _ in range(500)], 500)),
            ("1,000 submitted, then got", "tasks/s",
             lambda: rate(lambda: [f.result() for f in [pool.submit(nothing) for _ in range(1000)]], 1000)),
        ]  # fmt: skip


@contextmanager
def pool() -> Iterator[list[Bench]]:
    with multiprocessing.get_context("forkserver").Pool(WORKERS) as workers:
        yield [
            ("round trips, one at a time", "tasks/s",
             lambda: rate(lambda: [workers.apply(nothing) for _ in range(500)], 500)),
            ("1,000 submitted, then got", "tasks/s",
             lambda: rate(lambda: [r.get() for r in [workers.apply_async(nothing) for _ in range(1000)]], 1000)),
        ]  # fmt: skip


PEERS = {"futures": futures, "pool": pool}


def measure(peers: list[str]) -> list[Row]:
    with labray.init("cluster", num_cpus=WORKERS):
        rows = list(rounds("labray", cluster_benches()))
    rows += rounds("labray", [("init to first result", "ms", start_once)])
    rows += rounds("labray", SIM_BENCHES, "simulated", 3)
    for name in peers:
        with PEERS[name]() as benches:
            rows += rounds(name, benches)
    return rows


@click.command()
@click.option("--peers", default="futures,pool", show_default=True, help="Of futures, pool; empty for none.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("results/micro"), show_default=True)
def main(peers: str, out: Path) -> None:
    """Measure, print, save."""
    names = [name for name in peers.split(",") if name]
    if unknown := [name for name in names if name not in PEERS]:
        raise click.BadParameter(f"{unknown[0]!r} is no peer: give some of {', '.join(PEERS)}.")
    rows = measure(names)
    own = {row.name: row.median for row in rows if row.system == "labray"}
    table = Table(title=f"{WORKERS} workers; median of the rounds, least to most", title_justify="left")
    console = Console()
    console.width = max(console.width, 110)  # a narrower table is hard to read
    for heading in ("system", "what", "median", "least to most", "unit", "labray / it"):
        table.add_column(heading)
    for row in rows:
        ratio = "" if row.system == "labray" else f"{own[row.name] / row.median:.2f}"
        spread = f"{row.least:,.4g} to {row.most:,.4g}"
        table.add_row(row.system, row.name, f"{row.median:,.4g}", spread, row.unit, ratio)
    console.print(table)
    out.mkdir(parents=True, exist_ok=True)
    save_rows(out / "micro.csv", rows, origin())


if __name__ == "__main__":
    main()
