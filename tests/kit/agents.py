"""What tests of agents by themselves share: places, a demand, and a view that says what a test wants."""

from __future__ import annotations

from labray.ids import NodeID
from labray.messages import UNIT
from labray.scheduling import Task

CPU = (("CPU", UNIT),)
N0, N1, N2 = NodeID("n0"), NodeID("n1"), NodeID("n2")


class FakeView:
    """What is true at a place, as the test says."""

    def __init__(self, place: NodeID, free: dict[str, int]) -> None:
        self.place = place
        self.free = free
        self.queued: list[Task] = []

    def holds(self, object_id: str) -> int | None:
        return None
