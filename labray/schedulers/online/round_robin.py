"""RoundRobin: every node deals out what is submitted to it, one feasible node after the other (Ray's SPREAD)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from labray.ids import NodeID
from labray.schedulers.parts.push_placement import PushPlacement, Rotation
from labray.scheduling import MEMBERSHIP, Agent, ClusterInfo, Fact, Policy, View

if TYPE_CHECKING:
    from random import Random


class RoundRobin(Policy, frozen=True):
    """The next feasible node, each submitting node counting for itself and beginning with itself."""

    interest: ClassVar[tuple[type[Fact], ...]] = MEMBERSHIP

    def agent(self, place: NodeID, cluster: ClusterInfo, view: View, rng: Random) -> Agent:
        return PushPlacement(cluster, view, Rotation(place, cluster).next)
