"""When somebody who says nothing counts as dead. Without a clock: whoever watches says what time it is."""

from __future__ import annotations

LOOKS = 5
"""In a timeout: Ray too gives up after five checks that failed."""


class Heartbeats:
    """Of those that were heard once, or are expected. A watcher that was itself held up gives everybody that time."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.period_s = timeout_s / LOOKS
        self._heard: dict[str, float] = {}
        self._looked: float | None = None

    def heard(self, who: str, now: float) -> None:
        """It lives."""
        self._heard[who] = now

    def expect(self, who: str, now: float) -> None:
        """From now on, unless it was before."""
        self._heard.setdefault(who, now)

    def stop_expecting(self, who: str) -> None:
        """It is not expected to be heard of any more."""
        self._heard.pop(who, None)

    def late(self, now: float) -> list[str]:
        """Who has not been heard of for too long, in the order of their first word. To be asked once a period."""
        if self._looked is not None and (held_up := now - self._looked - 2 * self.period_s) > 0:
            self._heard = {who: at + held_up for who, at in self._heard.items()}
        self._looked = now
        return [who for who, at in self._heard.items() if now - at >= self.timeout_s]
