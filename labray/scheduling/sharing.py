"""What nodes that join take over of the tasks that wait at the others: their share, by what each can run at once.

A part of policies that decide for good where a task waits, and so must look again when there are more nodes. It is
asked when nodes join, never for a task. Those that join within a moment are served together: what is on its way to the
first could not be shared with the next. What waits for its inputs, or was asked to be where it is, stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil

from labray.ids import NodeID
from labray.messages import Demand
from labray.scheduling.cluster_info import NodeInfo
from labray.scheduling.interface import MOST_HOPS, Task, View, Wake
from labray.strategies import NodeAffinity

MOMENT_S = 0.1
"""A heartbeat: far longer than a task is on its way, and nothing beside the time in which a node starts."""
SHARING = -1
"""The token of the alarm: a policy's own are 0 and more."""


class Newcomers:
    """At one place: those that have joined and got nothing yet."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._nodes: dict[NodeID, NodeInfo] = {}

    def join(self, node: NodeInfo) -> list[Wake]:
        """Where nothing waits there is nothing to share: what comes later is decided on with the node in mind."""
        if node.place == self._view.place or not len(self._view.queued):
            return []
        self._nodes[node.place] = node
        return [Wake(MOMENT_S, SHARING)] if len(self._nodes) == 1 else []

    def lose(self, place: NodeID) -> None:
        self._nodes.pop(place, None)

    def take_all(self) -> list[NodeInfo]:
        """All of them, when the moment is over."""
        nodes, self._nodes = list(self._nodes.values()), {}
        return nodes


def share(
    waiting: Iterable[Task],
    newcomers: Sequence[NodeInfo],
    nodes: Sequence[NodeInfo],
    here: NodeID | None = None,
) -> list[tuple[Task, NodeID]]:
    """The newcomers' parts of what waits at one node: of each shape of request, those that would wait longest.

    nodes: all that live, with the newcomers. here: where the tasks wait, so that the parts of all nodes are a whole
    number together; None: a part is rounded up, for a policy that lets its head decide where the tasks go.
    """
    if not newcomers:
        return []
    at = next((at for at, node in enumerate(nodes) if node.place == here), 0)
    shapes: dict[Demand, list[Task]] = {}
    for task in waiting:
        if movable(task):
            shapes.setdefault(task.demand, []).append(task)
    moved: list[tuple[Task, NodeID]] = []
    for demand, tasks in shapes.items():
        total, count = sum(max(node.slots(demand), 0) for node in nodes), len(tasks)
        for node in newcomers:
            part = count * node.slots(demand) / total if total else 0.0
            mine = min(ceil((at + 1) * part) - ceil(at * part), len(tasks))
            moved += [(tasks.pop(), node.place) for _ in range(mine)]
    return moved[::-1]


def movable(task: Task) -> bool:
    """Whether what waits may wait elsewhere: a task that nobody asked to be here, and that has not moved too often.

    An actor stays for long: where it goes is decided once.
    """
    return task.kind == "task" and task.hops < MOST_HOPS and type(task.strategy) is not NodeAffinity
