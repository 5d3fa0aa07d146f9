"""Actors stay for long, so that where they go matters more than who is idle now: the head spreads them evenly.

A part of policies that place tasks without the head. `SPREAD` is the same wish, spoken by the user.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from labray.ids import NodeID
from labray.scheduling import ClusterInfo, Decision, Forward, PolicyAgent, Task, View
from labray.strategies import Spread


def wants_spreading(task: Task) -> bool:
    return task.kind == "actor" or type(task.strategy) is Spread


class EvenSpread:
    """Each to the place that got the fewest, the earlier one if equal."""

    def __init__(self) -> None:
        self._sent: defaultdict[NodeID, int] = defaultdict(int)

    def next(self, places: Sequence[NodeID]) -> NodeID:
        """One of these, of which there is at least one."""
        to = min(places, key=self._sent.__getitem__)
        self._sent[to] += 1
        return to


class SpreadingHead(PolicyAgent):
    """At the head: what nodes pass on, spread evenly over those that could run it."""

    def __init__(self, cluster: ClusterInfo, view: View) -> None:
        super().__init__(cluster, view)
        self._spread = EvenSpread()

    def task_arrived(self, task: Task) -> Sequence[Decision]:
        places = self.members.feasible(task)
        return (Forward(task.id, self._spread.next(places)),) if places else ()
