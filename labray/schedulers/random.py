"""Random: the baseline. Uniform over the nodes that could run a task, decided where it is submitted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct

from labray.ids import Place
from labray.schedulers.dealing import INTEREST, Dealer
from labray.scheduling import Agent, Cluster, Fact, Task, View

if TYPE_CHECKING:
    from random import Random as Generator


class Random(Struct, frozen=True):
    """Uniform over feasible nodes, without a word between them."""

    words: ClassVar[tuple[type[Struct], ...]] = ()
    interest: ClassVar[tuple[type[Fact], ...]] = INTEREST

    def agent(self, place: Place, cluster: Cluster, view: View, rng: Generator) -> Agent:
        def throw(task: Task, places: Sequence[Place]) -> Place:
            return places[int(rng.random() * len(places))]  # choice() costs three times as much

        return Dealer(cluster, view, throw)
