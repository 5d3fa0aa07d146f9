"""What a formula answers: chains, waves, and the bounds that hold for every run."""

from __future__ import annotations

import math
from collections.abc import Iterator

from msgspec.structs import replace

from experiments.validate.case import Case, Scale, at_least, at_most, close, same, simulate
from labray.costs import FREE
from labray.graphs.generators import chain, layered, wave
from labray.graphs.taskgraph import TaskGraph
from labray.schedulers import (
    BLevel,
    BottomUp,
    Centralized,
    Cpop,
    Heft,
    Hlfet,
    LeastLoaded,
    PowerOfD,
    Random,
    RoundRobin,
    Scheduler,
    Single,
    WorkStealing,
)
from labray.schedulers.planned.planners import list_schedule
from labray.schedulers.planned.plans import Workload, processors
from labray.schedulers.planned.workloads import executed

EXACT = "closed forms"
BOUNDS = "bounds"
CLOCK = 1e-4
"""Reading a clock and polling cost the simulated driver some virtual nanoseconds, even where all else is free."""


def cases(scale: Scale) -> Iterator[Case]:
    yield from _chains()
    yield from _waves(scale)
    yield from _bounds(scale)
    yield from _anomalies()


def _chains() -> Iterator[Case]:
    for scheduler in (Centralized(), BottomUp(), WorkStealing()):
        for n, d, o in ((100, 1.0, 0.0), (100, 0.5, 0.125)):
            ours = simulate(
                chain(n, cost=d), scheduler, nodes=3, cpus=2, profile=replace(FREE, task_s=o)
            ).makespan_s
            name = f"chain of {n} tasks of {d} s, overhead {o} s: n (d + o); {scheduler!r}"
            yield close(EXACT, name, n * (d + o), ours, CLOCK)


def _waves(scale: Scale) -> Iterator[Case]:
    for scheduler in (Centralized(), RoundRobin(), LeastLoaded(), WorkStealing(), BLevel()):
        ours = simulate(wave(1000, cost=1.0), scheduler, nodes=16, cpus=8).makespan_s
        name = f"wave of 1000 tasks of 1 s on 16 x 8 cores: ceil(n / P) d; {scheduler!r}"
        yield close(EXACT, name, float(math.ceil(1000 / 128)), ours, CLOCK)
    for tasks, published in ((100_000, 60.2), (10_000, 39.5)):
        if tasks > scale.wave_tasks:
            continue
        graph = wave(tasks, cost=1.0)
        few = simulate(graph, RoundRobin(), nodes=1, cpus=128).makespan_s
        many = simulate(graph, RoundRobin(), nodes=64, cpus=128).makespan_s
        name = f"HyperQueue's strong scaling, {tasks} tasks of 1 s, 128 to 8192 cores: speed-up (measured there: "
        name += f"{59 if tasks > 10_000 else 38.8})"
        yield close(EXACT, name, published, few / many, 1e-3, "as they predict, to their three digits")


def _policies(graph: TaskGraph) -> list[Scheduler]:
    work = executed(graph)
    return [
        Centralized(),
        BottomUp(),
        Random(),
        RoundRobin(),
        LeastLoaded(),
        PowerOfD(2),
        WorkStealing(),
        Single(work),
        BLevel(work),
        Hlfet(work),
        Heft(work),
        Cpop(work),
    ]


def _bounds(scale: Scale) -> Iterator[Case]:
    """Over all policies, the least makespan over its lower bound; and the greedy ones against Graham's bound."""
    least: dict[str, float] = {}
    most: dict[str, float] = {}
    for index in range(scale.random_graphs):
        graph = layered(12, 12, 1000 * scale.seed + index, cost=1.0, size=0)
        work, (path, _) = graph.work(), graph.critical_path()
        for policy in _policies(graph):
            ours = simulate(graph, policy, nodes=4, cpus=2, seed=scale.seed).makespan_s
            name = repr(policy).replace(f"work={executed(graph)!r}", "work")
            least[name] = min(least.get(name, math.inf), ours / graph.lower_bound(8))
            if isinstance(policy, Centralized | BLevel | WorkStealing):
                most[name] = max(most.get(name, 0.0), ours / (work / 8 + (1 - 1 / 8) * path))
    runs = f"{scale.random_graphs} random graphs on 4 x 2 cores"
    for name, ratio in least.items():
        rule = "least makespan over max(critical path, work / cores)"
        yield at_least(BOUNDS, f"{name}, {runs}", 1.0, ratio, rule)
    for name, ratio in most.items():
        rule = "Graham: largest makespan over work / P + (1 - 1/P) critical path, no task moving data"
        yield at_most(BOUNDS, f"{name}, {runs}", 1.0 + CLOCK, ratio, rule)


GRAHAM = (3, 2, 2, 2, 4, 4, 4, 4, 9)
"""Graham's nine tasks (SIAM J. Applied Mathematics 1969): the 9th follows the 1st, the 5th to 8th the 4th."""
FOLLOWS = ((0, 8), (3, 4), (3, 5), (3, 6), (3, 7))


def graham(times: tuple[int, ...] = GRAHAM, follows: tuple[tuple[int, int], ...] = FOLLOWS) -> Workload:
    names = tuple(f"T{i + 1}" for i in range(len(times)))
    return Workload(names, tuple((float(t),) for t in times), tuple((a, b, 0.0) for a, b in follows))


def _anomalies() -> Iterator[Case]:
    shorter = tuple(t - 1 for t in GRAHAM)
    looser = tuple(edge for edge in FOLLOWS if edge not in ((3, 4), (3, 5)))
    for what, work, cores, known in (
        ("the list on 3 processors", graham(), 3, 12.0),
        ("a 4th processor lengthens it", graham(), 4, 15.0),
        ("each task shorter by 1 lengthens it", graham(shorter), 3, 13.0),
        ("two constraints fewer lengthen it", graham(follows=looser), 3, 16.0),
    ):
        plan = list_schedule(work, processors(cores), range(9))
        yield same(BOUNDS, f"Graham's anomalies: {what}", known, plan.makespan)
