"""Who is there, and who could ever run a task: what every policy must know before it can choose."""

from __future__ import annotations

from collections.abc import Sequence

from labray.ids import Place
from labray.messages import Demand
from labray.schedulers.interface import Cluster, NodeInfo, Task


class Roster:
    """The living nodes, in the cluster's order. Answers are remembered per shape of request."""

    def __init__(self, cluster: Cluster) -> None:
        self.nodes: Sequence[NodeInfo] = cluster.nodes
        self._feasible: dict[tuple[Demand, str], tuple[Place, ...]] = {}

    def feasible(self, task: Task) -> tuple[Place, ...]:
        """The nodes that could run the task if they were idle.

        The strategy `node:<place>` leaves at most that one; `soft:<place>` that one if it can, else all.
        """
        shape = (task.demand, task.strategy)
        known = self._feasible.get(shape)
        if known is None:
            fitting = tuple(node.place for node in self.nodes if node.fits(task.demand))
            how, _, wanted = task.strategy.partition(":")
            chosen = tuple(place for place in fitting if place == wanted)
            known = self._feasible[shape] = chosen if chosen or how == "node" else fitting
        return known

    def join(self, node: NodeInfo) -> None:
        """One more, or one that was known already."""
        if all(known.place != node.place for known in self.nodes):
            self.nodes = (*self.nodes, node)
            self._feasible.clear()

    def lose(self, place: Place) -> None:
        self.nodes = tuple(node for node in self.nodes if node.place != place)
        self._feasible.clear()
