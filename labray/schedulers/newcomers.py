"""What a node that joins takes over of the tasks that wait at the others: its share, by what each can run at once.

A part of policies that decide for good where a task waits, and so must look again when there is one node more. It is
asked once for each node that joins, never for a task. What waits for its inputs, or was asked to be where it is, stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil

from labray.ids import Place
from labray.messages import Demand
from labray.schedulers.interface import NodeInfo, Task

MOST_HOPS = 14
"""A task that has moved so often is left where it is: the node refuses one that is passed round."""


def share(
    waiting: Iterable[Task], newcomer: NodeInfo, nodes: Sequence[NodeInfo], here: Place | None = None
) -> list[Task]:
    """The newcomer's part of what waits at one node: of each shape of request, those that would wait longest.

    nodes: all, with the newcomer. here: where they wait, so that the parts of all are a whole number together; None:
    the part is rounded up, for who lets a head decide where it goes.
    """
    at = next((at for at, node in enumerate(nodes) if node.place == here), 0)
    shapes: dict[Demand, list[Task]] = {}
    for task in waiting:
        if movable(task):
            shapes.setdefault(task.demand, []).append(task)
    moved: list[Task] = []
    for demand, tasks in shapes.items():
        slots = newcomer.slots(demand)
        if slots:
            part = slots * len(tasks) / sum(max(node.slots(demand), 0) for node in nodes)
            moved += tasks[len(tasks) - (ceil((at + 1) * part) - ceil(at * part)) :]
    return moved


def movable(task: Task) -> bool:
    return task.kind == "task" and task.strategy in ("", "SPREAD") and task.hops < MOST_HOPS
