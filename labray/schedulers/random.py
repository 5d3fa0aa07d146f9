"""Random: the baseline. Uniform over the nodes that could run a task, decided where it is submitted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from labray.ids import Place
from labray.schedulers.dealing import Dealer
from labray.scheduling import MEMBERSHIP, Agent, Cluster, Fact, Policy, Task, View

if TYPE_CHECKING:
    from random import Random as Generator


class Random(Policy, frozen=True):
    """Uniform over feasible nodes, without a word between them."""

    interest: ClassVar[tuple[type[Fact], ...]] = MEMBERSHIP

    def agent(self, place: Place, cluster: Cluster, view: View, rng: Generator) -> Agent:
        def throw(task: Task, places: Sequence[Place]) -> Place:
            return places[int(rng.random() * len(places))]  # choice() costs three times as much

        return Dealer(cluster, view, throw)
