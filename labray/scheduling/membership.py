"""Which nodes live, and which of them could ever run a task: what every policy must know before it can choose."""

from __future__ import annotations

from labray.ids import NodeID
from labray.messages import Demand
from labray.scheduling.cluster_info import ClusterInfo, NodeInfo
from labray.scheduling.interface import Task
from labray.strategies import NodeAffinity, Strategy


class Membership:
    """As one agent has heard of it.

    cluster: all nodes that it has ever heard of. The agents of one process share that value and what has been asked of
    it, so that none of ten thousand needs a table of its own.
    """

    def __init__(self, cluster: ClusterInfo) -> None:
        self.cluster = cluster
        self._lost: dict[NodeID, None] = {}
        self._living: tuple[NodeInfo, ...] | None = cluster.nodes
        self._feasible: dict[tuple[Demand, Strategy], tuple[NodeID, ...]] = {}

    @property
    def nodes(self) -> tuple[NodeInfo, ...]:
        """Those that live, in the cluster's order."""
        living = self._living
        if living is None:
            living = tuple([node for node in self.cluster.nodes if node.place not in self._lost])
            self._living = living
        return living

    def knows(self, place: NodeID) -> bool:
        """Whether a node of this name has ever joined."""
        return place in self.cluster.places

    def lives(self, place: NodeID) -> bool:
        """Whether it is a node that has joined and is not lost."""
        return place not in self._lost and place in self.cluster.places

    def feasible(self, task: Task) -> tuple[NodeID, ...]:
        """The living nodes that could run the task if they were idle, and where its strategy allows it to run."""
        shape = (task.demand, task.strategy)
        known = self._feasible.get(shape)
        if known is None:
            fitting = tuple([place for place in self.cluster.fitting(task.demand) if place not in self._lost])
            known = self._feasible[shape] = task.strategy.allowed(fitting)
        return known

    def could_run(self, task: Task, place: NodeID) -> bool:
        """Whether that is one of them, in a time that does not grow with the cluster."""
        if type(task.strategy) is NodeAffinity:
            return place in self.feasible(task)
        return place in self.cluster.fitting(task.demand) and place not in self._lost

    def join(self, node: NodeInfo) -> None:
        """One more, or one that was known already."""
        if node.place not in self.cluster.places:
            self.cluster = self.cluster.joined(node)
            self._changed()

    def lose(self, place: NodeID) -> None:
        """One less. A node that comes back has another name."""
        self._lost[place] = None
        self._changed()

    def _changed(self) -> None:
        self._living = None
        self._feasible.clear()
