"""When a daemon's nodes want to be woken."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from time import monotonic


class Alarms:
    """In order of time; of two at the same time the one that was set first comes first."""

    def __init__(self) -> None:
        self._alarms: list[tuple[float, int, str, int]] = []
        self._count = 0

    def set(self, after: float, place: str, token: int) -> None:
        self._count += 1
        heapq.heappush(self._alarms, (monotonic() + after, self._count, place, token))

    @property
    def due(self) -> float:
        """When the next one rings; infinite if there is none."""
        return self._alarms[0][0] if self._alarms else math.inf

    def rung(self) -> Iterator[tuple[str, int]]:
        """Place and token of each that is due."""
        while self._alarms and self._alarms[0][0] <= monotonic():
            yield heapq.heappop(self._alarms)[2:]
