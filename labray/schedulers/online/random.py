"""Random: the baseline. Uniform over the nodes that could run a task, decided where it is submitted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from labray.ids import NodeID
from labray.schedulers.parts.push_placement import PushPlacement
from labray.scheduling import MEMBERSHIP, Agent, ClusterInfo, Fact, Policy, Task, View

if TYPE_CHECKING:
    from random import Random as Generator


class Random(Policy, frozen=True):
    """Uniform over feasible nodes, without a word between them."""

    interest: ClassVar[tuple[type[Fact], ...]] = MEMBERSHIP

    def agent(self, place: NodeID, cluster: ClusterInfo, view: View, rng: Generator) -> Agent:
        def throw(task: Task, places: Sequence[NodeID]) -> NodeID:
            return places[int(rng.random() * len(places))]  # choice() costs three times as much

        return PushPlacement(cluster, view, throw)
