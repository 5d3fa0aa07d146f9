"""RoundRobin: every node deals out what is submitted to it, one feasible node after the other (Ray's SPREAD)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct

from labray.ids import Place
from labray.schedulers.dealing import INTEREST, Dealer, Turn
from labray.scheduling import Agent, Cluster, Fact, View

if TYPE_CHECKING:
    from random import Random


class RoundRobin(Struct, frozen=True):
    """The next feasible node, each submitting node counting for itself and beginning with itself."""

    words: ClassVar[tuple[type[Struct], ...]] = ()
    interest: ClassVar[tuple[type[Fact], ...]] = INTEREST

    def agent(self, place: Place, cluster: Cluster, view: View, rng: Random) -> Agent:
        return Dealer(cluster, view, Turn(place, cluster).next)
