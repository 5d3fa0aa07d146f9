"""Actors stay for long, so that where they go matters more than who is idle now: the head spreads them evenly.

A part of policies that place tasks without the head. `SPREAD` is the same wish, spoken by the user.
"""

from __future__ import annotations

from collections.abc import Sequence

from labray.ids import Place
from labray.schedulers.interface import (
    Cluster,
    Decision,
    Event,
    Forward,
    NodeJoined,
    NodeLost,
    Task,
    TaskArrived,
)
from labray.schedulers.roster import Roster


def wants_spreading(task: Task) -> bool:
    return task.kind == "actor" or task.strategy == "SPREAD"


class Spreader:
    """At the head: each task to the feasible node that it sent the fewest, the earlier one if equal."""

    def __init__(self, cluster: Cluster) -> None:
        self._roster = Roster(cluster)
        self._sent: dict[Place, int] = {node.place: 0 for node in cluster.nodes}

    def handle(self, event: Event, now: float) -> Sequence[Decision]:
        if isinstance(event, TaskArrived):
            places = self._roster.feasible(event.task)
            if places:
                to = min(places, key=self._sent.__getitem__)
                self._sent[to] += 1
                return (Forward(event.task.id, to),)
        elif isinstance(event, NodeLost):
            self._roster.lose(event.place)
        elif isinstance(event, NodeJoined):
            self._roster.join(event.node)
            self._sent.setdefault(event.node.place, 0)
        return ()
