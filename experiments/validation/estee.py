"""Against another simulator: Estee's graphs on 8 workers of 4 cores at 100 MB/s (J. Supercomputing 2022).

`single` has no choices left and must agree to the last printed digit. Estee breaks the ties of b-level with greedy
transfer at random, and lets no small task pass a large one that does not fit: these lie in bands.
"""

from __future__ import annotations

import json
import math
import statistics
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.validation.case import Case, Scale, Verdict, close, later, simulate, skipped
from labray.graphs.taskgraph import TaskGraph
from labray.messages import UNIT
from labray.schedulers import BLevel, Scheduler, Single
from labray.schedulers.workloads import executed

ESTEE = "Estee's graphs"
SETS = ("elementary", "irw")
MB = 1_000_000
MOST_SECONDS = 3.0
NETWORKS: dict[str, dict[str, Any]] = {
    "simple": {"network": "simple"},
    "maxmin": {"network": "maxmin", "fair_to": "pairs"},
}
PULLS: dict[str, Any] = {"pulls": 4, "pulls_from": 2}
BANDS = {"simple": (0.93, 1.07), "maxmin": (0.93, 1.35)}
"""Ours over Estee's one run. Wide above for `gridcat`, whose makespan varies as much from run to run there."""


def cases(scale: Scale) -> Iterator[Case]:
    graphs, golden = scale.folder("estee"), scale.folder("golden")
    if graphs is None or golden is None:
        yield skipped(ESTEE, "22 graphs under `single` and b-level with greedy transfer")
        return
    known = read_golden(golden / "estee_golden_8x4_100MBs.txt")
    ratios: dict[str, list[float]] = {network: [] for network in NETWORKS}
    for name in SETS:
        for graph_name, graph in read_graphs(graphs / f"{name}.zip"):
            golden_of = known[graph_name]
            work = executed(graph)
            ours = _run(graph, Single(work), "simple")
            rule = "equal to the printed digits (sizes are rounded to bytes)"
            yield close(ESTEE, f"{graph_name}: single, s", golden_of["single/simple"], ours, 5e-6, rule)
            for network in NETWORKS:
                theirs = golden_of[f"blevel-gt/{network}"]
                ours = _run(graph, BLevel(work), network)
                ratios[network].append(ours / theirs)
                yield _band(f"{graph_name}: b-level, greedy transfer, {network}, s", theirs, ours, network)
    yield _speed(dict(read_graphs(graphs / "irw.zip"))["mapreduce"])
    for network, found in ratios.items():
        mean = math.exp(statistics.fmean(math.log(ratio) for ratio in found))
        name = f"{len(found)} graphs: b-level, greedy transfer, {network}: geometric mean of ours over theirs"
        yield close(ESTEE, name, 1.0, mean, 0.0347, "0.0347 is Estee's own difference from Dask")
    yield later(
        ESTEE,
        "work stealing",
        "1.01 to 1.2 x b-level",
        "Estee's is placement by least transfer with rebalancing; ours is Blumofe's and Leiserson's",
    )


def _run(graph: TaskGraph, scheduler: Scheduler, network: str) -> float:
    return simulate(
        graph, scheduler, nodes=8, cpus=4, bandwidth_Bps=100.0 * MB, **PULLS, **NETWORKS[network]
    ).makespan_s


def _speed(graph: TaskGraph) -> Case:
    """How long it takes to simulate the graph that takes Estee longest: CPU seconds of this process, here and now."""
    work = executed(graph)
    began = time.process_time()
    _run(graph, BLevel(work), "maxmin")
    spent_s = time.process_time() - began
    verdict: Verdict = "pass" if spent_s < MOST_SECONDS else "FAIL"
    name = f"mapreduce ({len(graph.objects()):,} objects), b-level, maxmin: CPU seconds to simulate"
    return Case(
        ESTEE,
        name,
        f"< {MOST_SECONDS:g}",
        f"{spent_s:.2f}",
        verdict,
        "measured on this machine; Estee 6 to 13",
    )


def _band(name: str, theirs: float, ours: float, network: str) -> Case:
    low, high = BANDS[network]
    ok = low <= ours / theirs <= high
    rule = f"{low} to {high} x theirs"
    return Case(ESTEE, name, f"{theirs:.6g}", f"{ours:.6g}", "pass" if ok else "FAIL", rule)


def read_golden(path: Path) -> dict[str, dict[str, float]]:
    """By graph and `scheduler/network`: seconds. What stands in brackets is how long Estee took."""
    known = {}
    for line in path.read_text().splitlines():
        _, graph, _, *results = line.split()
        pairs = (result.partition("(")[0].split("=") for result in results)
        known[graph] = {what: float(seconds) for what, seconds in pairs}
    return known


def read_graphs(path: Path) -> Iterator[tuple[str, TaskGraph]]:
    """The graphs of one set, by name: JSON of a pandas frame, whose cells are JSON again."""
    with zipfile.ZipFile(path) as archive:
        frame = json.loads(archive.read(archive.namelist()[0]))
    for key, name in frame["graph_name"].items():
        yield name, _graph(json.loads(frame["graph"][key]))


def _graph(tasks: list[dict[str, Any]]) -> TaskGraph:
    """d: seconds; s: MB; inputs: (task, which of its outputs). Tasks come in any order."""
    graph = TaskGraph()
    waiting = dict(enumerate(tasks))
    while waiting:
        ready = [
            at for at, task in waiting.items() if not any(maker in waiting for maker, _ in task["inputs"])
        ]
        for at in ready:
            task = waiting[at]
            graph.task(
                f"t{at}",
                cost=task["d"],
                inputs=[f"t{maker}.{which}" for maker, which in task["inputs"]],
                outputs=[max(1, round(output["s"] * MB)) for output in task["outputs"]],
                demand=(("CPU", task["cpus"] * UNIT),),
            )
        for at in ready:
            del waiting[at]
    return graph
