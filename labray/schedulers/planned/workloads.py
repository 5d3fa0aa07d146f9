"""From a TaskGraph to a Workload, whose labels are the ids that its tasks will have when they run.

Ids are derived, so the same program gives the same ids in every world: what was recorded once can be planned for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from labray.ids import DRIVER, TaskID, lineage_prefix, order_of, task_id
from labray.messages import ONE_CPU
from labray.schedulers.planned.plans import Workload

if TYPE_CHECKING:
    from labray.graphs.skeleton import Skeleton
    from labray.graphs.taskgraph import TaskGraph


def recorded(graph: TaskGraph, speeds: Sequence[float] = (1.0,)) -> Workload:
    """The graph of a program that ran (TaskGraph.from_trace), for when the same program runs again.

    speeds: of each kind of node, relative to where the costs were measured.
    """
    return labelled(graph, {task: task for task in graph.tasks()}, speeds)


def executed(graph: TaskGraph, speeds: Sequence[float] = (1.0,), first: int = 0) -> Workload:
    """A graph that the driver will run by `labray.execute`, after it has submitted `first` other tasks."""
    labels: dict[str, str] = {}
    made: set[str] = set()
    for task in graph.order():
        for input in graph.inputs(task):
            if input not in made and not graph.nx.in_degree(input):  # data from outside is a task of its own
                made.add(input)
                first += 1
        labels[task] = task_id(DRIVER, first)
        first += 1
    return labelled(graph, labels, speeds)


def acted(skeleton: Skeleton, cpu: bool = False) -> Workload:
    """A recorded program as a replay acts it out, where every task runs once. cpu: by CPU seconds, not elapsed ones.

    What a task waits for besides its inputs (its parent, say, or what the main program took first) no plan knows.
    """
    parts = list(skeleton.parts.values())
    position = {part.task: at for at, part in enumerate(parts)}
    labels: dict[str, TaskID] = {DRIVER: DRIVER}
    sizes: dict[tuple[int, int], float] = {}
    last: dict[str, int] = {}  # the call before, by actor
    for at, part in enumerate(parts):
        prefix = lineage_prefix(labels.get(part.parent, DRIVER), 0)
        labels[part.task] = task_id(prefix, order_of(TaskID(part.task)))
        for dep in part.deps:
            maker, _, index = dep.rpartition(".")
            made = position.get(maker, at)
            if made < at and int(index) < len(parts[made].sizes):
                sizes[made, at] = sizes.get((made, at), 0.0) + parts[made].sizes[int(index)]
        if part.kind == "method":
            before = last.get(part.actor, position.get(part.actor.rpartition(".")[0], at))
            last[part.actor] = at
            if before < at:
                sizes.setdefault((before, at), 0.0)
    return Workload(
        tuple(labels[part.task] for part in parts),
        tuple((part.cpu if cpu else part.seconds,) for part in parts),
        tuple((a, b, size) for (a, b), size in sizes.items()),
        tuple(part.demand for part in parts),
    )


def labelled(graph: TaskGraph, labels: Mapping[str, str], speeds: Sequence[float] = (1.0,)) -> Workload:
    """The tasks of a graph under these labels (ids or names), in the order in which they are submitted."""
    order = graph.order()
    position = {task: at for at, task in enumerate(order)}
    sizes: dict[tuple[int, int], float] = {}
    for task in order:
        for a, b, size in _taken(graph, task):
            pair = position[a], position[b]
            sizes[pair] = sizes.get(pair, 0.0) + size
    costs = [graph.nx.nodes[task]["cost"] for task in order]
    demands = tuple(graph.nx.nodes[task]["demand"] for task in order)
    return Workload(
        tuple(labels[task] for task in order),
        tuple(tuple(cost / speed for speed in speeds) for cost in costs),
        tuple((a, b, size) for (a, b), size in sizes.items()),
        () if all(demand == ONE_CPU for demand in demands) else demands,
    )


def _taken(graph: TaskGraph, task: str) -> list[tuple[str, str, float]]:
    """(maker, taker, size in bytes) of what a task makes, and of the calls that follow it."""
    edges = []
    for _, node, kind in graph.nx.out_edges(task, data="kind"):
        if kind == "stateful":
            edges.append((task, node, 0.0))
        elif kind == "data":
            size = float(graph.nx.nodes[node]["size"])
            takers = graph.nx.out_edges(node, data="kind")
            edges += [(task, taker, size) for _, taker, what in takers if what == "data"]
    return edges
