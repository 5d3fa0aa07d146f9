"""The CPU time that a simulated client takes on its host, and its waits, which keep the world alive."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labray.backends.sim.clock.event_queue import EventQueue
    from labray.backends.sim.hosts.cpu_hosts import CpuHost
    from labray.profiles import Profile

Callback = Callable[[Any], None]


class ClientCpu:
    """Of one client. What it waits for will happen, so that the world goes on as long as it waits.

    used_s: CPU time, but for what the client owes. asleep_since: when it last had nothing to do. after_s: what it
    still spends after a piece of work, if it sleeps then. in_slot: makes an event that of the slot which goes on;
    None: there is one slot alone.
    """

    __slots__ = ("_after_s", "_events", "_host", "_profile", "asleep_since", "in_slot", "used_s", "waits")

    def __init__(self, events: EventQueue, host: CpuHost, profile: Profile, after_s: float) -> None:
        self._events = events
        self._host = host
        self._profile = profile
        self._after_s = after_s
        self.used_s = 0.0
        self.asleep_since = 0.0
        self.waits = 0
        self.in_slot: Callable[[Callback], Callback] | None = None

    def begin_wait(self) -> None:
        """The client waits for one thing more."""
        self.waits += 1
        self._events.live += 1

    def end_wait(self) -> None:
        """One wait is over. Those of a dead process no longer count."""
        if self.waits:
            self.waits -= 1
            self._events.live -= 1

    def work(self, delay_s: float, cpu_s: float, call: Callback) -> None:
        """After an elapsed delay, spend this much CPU time, then call; until then the client waits."""
        self.used_s += cpu_s
        self.waits += 1
        self._events.live += 1
        self._host.work(delay_s, cpu_s, call if self.in_slot is None else self.in_slot(call), self._after_s)

    def waking_s(self) -> float:
        """Elapsed, until the client runs if it is woken now."""
        return self._host.waking_s(self._events.now - self.asleep_since)

    def woken_s(self, cpu_s: float) -> float:
        """The CPU time that so much work takes when it is the first after this sleep."""
        return self._profile.woken_s(cpu_s, self._events.now - self.asleep_since)
