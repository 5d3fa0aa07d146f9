"""Schedules that papers print, and the Standard Task Graphs with their proven optima."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

from experiments.validate.case import Case, Scale, at_least, close, same, simulate, skipped
from labray.graphs.taskgraph import TaskGraph
from labray.schedulers import BLevel
from labray.schedulers.planned.foresight import dls_moving, lookahead, peft
from labray.schedulers.planned.planners import cpop, heft, hlfet, list_schedule
from labray.schedulers.planned.plans import Machine, Plan, Workload, processors
from labray.schedulers.planned.workloads import executed

TOPCUOGLU = "Topcuoglu's graph"
STG = "Standard Task Graphs"

COSTS = (
    (14, 16, 9), (13, 19, 18), (11, 13, 19), (13, 8, 17), (12, 13, 10),
    (13, 16, 9), (7, 15, 11), (5, 11, 14), (18, 12, 20), (21, 7, 16),
)  # fmt: skip
EDGES = (
    (1, 2, 18), (1, 3, 12), (1, 4, 9), (1, 5, 11), (1, 6, 14), (2, 8, 19), (2, 9, 16), (3, 7, 23), (4, 8, 27),
    (4, 9, 23), (5, 9, 13), (6, 8, 15), (7, 10, 17), (8, 10, 11), (9, 10, 13),
)  # fmt: skip
FLOPS = (64, 76, 52, 32, 56, 64, 60, 44, 48, 28)
SPEEDS = (1, 2, 4, 4)
RELATED: tuple[tuple[str, Callable[[Workload, Machine], Plan], float], ...] = (
    ("HEFT", heft, 98.0),
    ("Lookahead", lookahead, 94.0),
    ("DLS, its levels with data moving", dls_moving, 96.0),
    ("PEFT", peft, 95.0),
)
"""As DSLab's simulator of workflows has them (github.com/osukhoroslov/dslab, crates/dslab-dag/tests/tests.rs). Its DLS
counts the moving of data in a task's level, which Sih and Lee do not. For theirs (`dls`) we have no printed schedule.
"""
RANKS = (108.0, 77.0, 80.0, 80.0, 69.0, 63.33, 42.67, 35.67, 44.33, 14.67)
HEFT_SCHEDULE = (
    "1 P3 0-9, 2 P1 27-40, 3 P3 9-28, 4 P2 18-26, 5 P3 28-38, 6 P2 26-42, 7 P3 38-49, 8 P1 57-62, 9 P2 56-68, "
    "10 P2 73-80"
)


def cases(scale: Scale) -> Iterator[Case]:
    yield from _topcuoglu()
    yield from _standard(scale)


def topcuoglu() -> Workload:
    """The 10 tasks of TPDS 2002, figure 2, on three kinds of processor."""
    costs = tuple(tuple(float(c) for c in row) for row in COSTS)
    return Workload(tuple(str(i + 1) for i in range(10)), costs, _edges())


def related() -> Workload:
    """The same graph on processors of the speeds 1, 2, 4, 4: a kind for each."""
    costs = tuple(tuple(flops / speed for speed in SPEEDS) for flops in FLOPS)
    return Workload(tuple(str(i + 1) for i in range(10)), costs, _edges())


def _edges() -> tuple[tuple[int, int, float], ...]:
    return tuple((a - 1, b - 1, float(size)) for a, b, size in EDGES)


def written(plan: Plan) -> str:
    """A schedule as papers write it: task, processor, from - to."""
    return ", ".join(f"{s.task + 1} P{s.processor + 1} {s.begin:g}-{s.end:g}" for s in plan.slots)


def _topcuoglu() -> Iterator[Case]:
    work, machine = topcuoglu(), processors(3, (0, 1, 2), 1.0)
    plan = heft(work, machine)
    plan.check(work, machine)
    yield same(TOPCUOGLU, "HEFT: makespan", 80.0, plan.makespan)
    yield same(TOPCUOGLU, "HEFT: upward ranks", RANKS, tuple(round(rank, 2) for rank in plan.ranks))
    yield same(TOPCUOGLU, "HEFT: schedule", HEFT_SCHEDULE, written(plan))
    plan = cpop(work, machine)
    plan.check(work, machine)
    yield same(TOPCUOGLU, "CPOP: makespan", 86.0, plan.makespan)
    path = [(task + 1, plan.slots[task].processor + 1) for task in plan.critical]
    yield same(TOPCUOGLU, "CPOP: critical path, (task, processor)", [(1, 2), (2, 2), (9, 2), (10, 2)], path)
    work, machine = related(), processors(4, (0, 1, 2, 3), 1.0)
    for name, planner, known in RELATED:
        plan = planner(work, machine)
        plan.check(work, machine)
        yield same(TOPCUOGLU, f"related speeds 1, 2, 4, 4: {name}", known, plan.makespan)


# ---------------------------------------------------------------- Standard Task Graphs

KNOWN = {  # processors: HLFET over optimum, mean and worst; FIFO by id, mean
    2: (1.0073, 1.179, 1.0237),
    4: (1.0115, 1.096, 1.0625),
    8: (1.0125, 1.229, 1.0487),
    16: (1.0000, 1.000, 1.0009),
}


class Problem(Struct, frozen=True):
    name: str
    work: Workload
    optimum: dict[int, float]  # by number of processors; the proven lower end where only an interval is known


def read_stg(path: Path) -> Workload:
    """A .stg file: the number of tasks; then of each: id, seconds, number of predecessors, predecessors."""
    rows = [line.split() for line in path.read_text().splitlines() if line.strip() and line[0] != "#"]
    count = int(rows[0][0]) + 2  # a dummy entry and exit
    tasks = [[int(word) for word in row] for row in rows[1 : count + 1]]
    edges = tuple((before, id, 0.0) for id, _, number, *rest in tasks for before in rest[:number])
    return Workload(tuple(f"t{row[0]}" for row in tasks), tuple((float(row[1]),) for row in tasks), edges)


def problems(folder: Path) -> list[Problem]:
    optima: dict[str, dict[int, float]] = {}
    for processors_ in KNOWN:
        for line in (folder / "Optimal_values" / f"Case50_{processors_}_OPT.csv").read_text().splitlines():
            name, _, optimum, *_ = line.split(",")
            optima.setdefault(name, {})[processors_] = float(optimum)
    return [Problem(name, read_stg(folder / name), optimum) for name, optimum in optima.items()]


def _standard(scale: Scale) -> Iterator[Case]:
    folder = scale.folder("stg")
    if folder is None:
        yield skipped(STG, "180 graphs of 50 tasks against proven optima")
        return
    found = problems(folder)
    for count, (mean, worst, fifo) in KNOWN.items():
        machine = processors(count)
        plans = [hlfet(problem.work, machine) for problem in found]
        for problem, plan in zip(found, plans, strict=True):
            plan.check(problem.work, machine)
        optima = [problem.optimum[count] for problem in found]
        ratios = [plan.makespan / optimum for plan, optimum in zip(plans, optima, strict=True)]
        in_order = [
            list_schedule(problem.work, machine, range(len(problem.work.tasks))).makespan for problem in found
        ]
        fifos = [makespan / optimum for makespan, optimum in zip(in_order, optima, strict=True)]
        name = f"{len(found)} graphs, P={count}"
        yield same(STG, f"{name}: HLFET over optimum, mean", mean, round(statistics.fmean(ratios), 4))
        yield same(STG, f"{name}: HLFET over optimum, worst", worst, round(max(ratios), 3))
        yield same(STG, f"{name}: FIFO by id over optimum, mean", fifo, round(statistics.fmean(fifos), 4))
        yield at_least(STG, f"{name}: no schedule beats an optimum", 1.0, min(*ratios, *fifos), "least ratio")
    yield _simulated(found)


def _simulated(found: list[Problem]) -> Case:
    """The dynamic b-level in the simulator against HLFET's plan: the same rule, so the same makespans."""
    ratios = []
    for problem in found[::6]:
        graph = _graph(problem.work)
        ours = simulate(graph, BLevel(executed(graph), worker_choice="first"), nodes=1, cpus=4).makespan_s
        ratios.append(ours / hlfet(problem.work, processors(4)).makespan)
    name = f"{len(ratios)} graphs, P=4, run in the simulator under BLevel over HLFET's plan: mean"
    return close(
        STG, name, 1.0, statistics.fmean(ratios), 0.005, "ties among equal levels fall otherwise: 0.5 %"
    )


def _graph(work: Workload) -> TaskGraph:
    graph = TaskGraph()
    before = work.before()
    for at in work.order():
        inputs = [work.tasks[maker] for maker, _ in before[at]]
        graph.task(work.tasks[at], cost=work.costs[at][0], inputs=inputs)
    return graph
