"""The nodes of a cluster, as everybody knows them: what they have, and which of them could run what."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from msgspec import Struct

from labray.ids import NodeID
from labray.messages import ONE_CPU, Demand


class NodeInfo(Struct, frozen=True, gc=False):
    """A node as everybody knows it from the start. totals: resource -> amount in 1e-4."""

    place: NodeID
    totals: tuple[tuple[str, int], ...]

    def fits(self, demand: Demand) -> bool:
        """Whether the node could ever run this, were it idle."""
        totals = dict(self.totals)
        return all(totals.get(name, 0) >= amount for name, amount in demand)

    def slots(self, demand: Demand) -> int:
        """How many such tasks it could run at once; of those that ask for nothing, one for each CPU."""
        return how_many(dict(self.totals), demand)


def how_many(amounts: Mapping[str, int], demand: Demand) -> int:
    """How often a request fits into these amounts (both in 1e-4): below 0 where more is in use than there is.

    What asks for nothing counts as one that asks for a CPU.
    """
    asked = [item for item in demand if item[1]] or ONE_CPU
    return min(amounts.get(name, 0) // amount for name, amount in asked)


class ClusterInfo(Struct, frozen=True, gc=True, dict=True):
    """The nodes that live, in order, and the head. One value serves all who live in one process: ten thousand nodes
    that each kept a table of ten thousand would fill its memory.
    """

    nodes: tuple[NodeInfo, ...]
    head: NodeID

    @cached_property
    def places(self) -> Mapping[NodeID, NodeInfo]:
        """The nodes by their place."""
        return {node.place: node for node in self.nodes}

    def fitting(self, demand: Demand) -> Mapping[NodeID, None]:
        """The nodes that could run this if they were idle, in order. Only those that offer its rarest resource are
        looked at, and the answer is kept: all who live in one process share it.
        """
        known = self._fitting.get(demand)
        if known is None:
            offers = [self._offering.get(name, ()) for name, _ in demand]
            nodes = min(offers, key=len) if offers else self.nodes
            known = self._fitting[demand] = {node.place: None for node in nodes if node.fits(demand)}
        return known

    @cached_property
    def _fitting(self) -> dict[Demand, dict[NodeID, None]]:
        return {}

    @cached_property
    def _offering(self) -> dict[str, list[NodeInfo]]:
        """By resource: the nodes that have any of it."""
        offering: dict[str, list[NodeInfo]] = {}
        for node in self.nodes:
            for name, _ in node.totals:
                offering.setdefault(name, []).append(node)
        return offering

    def joined(self, node: NodeInfo) -> ClusterInfo:
        """With one node more, if it is one: the same value for all who hear of it."""
        if node.place in self.places:
            return self
        larger = self._larger.get(node.place)
        if larger is None:
            larger = self._larger[node.place] = ClusterInfo((*self.nodes, node), self.head)
        return larger

    @cached_property
    def _larger(self) -> dict[NodeID, ClusterInfo]:
        return {}
