"""Actors stay for long, so that where they go matters more than who is idle now: the head spreads them evenly.

A part of policies that place tasks without the head. `SPREAD` is the same wish, spoken by the user.
"""

from __future__ import annotations

from collections.abc import Sequence

from labray.ids import Place
from labray.scheduling import (
    Cluster,
    Decision,
    Event,
    Forward,
    NodeJoined,
    NodeLost,
    Task,
    TaskArrived,
)
from labray.scheduling.membership import Membership
from labray.strategies import Spread


def wants_spreading(task: Task) -> bool:
    return task.kind == "actor" or type(task.strategy) is Spread


class Spreader:
    """At the head: each task to the feasible node that it sent the fewest, the earlier one if equal."""

    def __init__(self, cluster: Cluster) -> None:
        self._members = Membership(cluster)
        self._sent: dict[Place, int] = {node.place: 0 for node in cluster.nodes}

    def handle(self, event: Event, now: float) -> Sequence[Decision]:
        if isinstance(event, TaskArrived):
            places = self._members.feasible(event.task)
            if places:
                to = min(places, key=self._sent.__getitem__)
                self._sent[to] += 1
                return (Forward(event.task.id, to),)
        elif isinstance(event, NodeLost):
            self._members.lose(event.place)
        elif isinstance(event, NodeJoined):
            self._members.join(event.node)
            self._sent.setdefault(event.node.place, 0)
        return ()
