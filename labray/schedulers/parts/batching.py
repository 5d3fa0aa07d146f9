"""A head that decides at the end of an instant on all that has come in it, and not on the first of it alone."""

from __future__ import annotations

from collections.abc import Sequence

from labray.scheduling import ClusterInfo, Decision, Event, PolicyAgent, TimerFired, View, Wake


class BatchingHead(PolicyAgent):
    """What it hears only changes its books; it decides when the instant is over, if there is anything to decide on."""

    def __init__(self, cluster: ClusterInfo, view: View) -> None:
        super().__init__(cluster, view)
        self._armed = False

    def handle(self, event: Event, now: float) -> Sequence[Decision]:
        if isinstance(event, TimerFired):
            self._armed = False
            return self.decide()
        decisions = super().handle(event, now)
        if self._armed or decisions or not self.undecided():
            return decisions
        self._armed = True
        return (Wake(0.0),)

    def undecided(self) -> bool:
        """Whether there is anything to decide on."""
        raise NotImplementedError

    def decide(self) -> Sequence[Decision]:
        """On all that has come in this instant."""
        raise NotImplementedError
