"""Hosts: the machines whose cores processes share.

A dedicated host has a core for every process that lives there, so work takes as long as it takes. A shared
one has a few, and all runnable processes advance at the same rate (processor sharing): a 2-core machine that
runs four workers is not a 4-core one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Any, Protocol

from labray.backends.sim.agenda import Agenda, Moment

Call = Callable[[Any], None]


class Host(Protocol):
    """Where processes spend CPU time."""

    speed: float

    def busy(self) -> bool:
        """Whether every core has work, so that who wakes must push another aside."""

    def work(self, delay_s: float, cpu_s: float, call: Call) -> None:
        """After an elapsed delay, spend this much CPU time (at speed 1), then call. At least one event later."""


class Dedicated:
    """A core for each of its processes."""

    def __init__(self, agenda: Agenda, speed: float = 1.0) -> None:
        self.speed = speed
        self._agenda = agenda

    def busy(self) -> bool:
        return False

    def work(self, delay_s: float, cpu_s: float, call: Call) -> None:
        self._agenda.after(delay_s + cpu_s / self.speed, call)


class Varying:
    """A core for each of its processes, at a speed that changes: from each time on, so much of it."""

    def __init__(self, agenda: Agenda, speed: float, changes: Sequence[tuple[float, float]]) -> None:
        self.speed = speed
        self._agenda = agenda
        self._changes = tuple(changes)

    def busy(self) -> bool:
        return False

    def work(self, delay_s: float, cpu_s: float, call: Call) -> None:
        start = self._agenda.now + delay_s
        end, left, factor = start, cpu_s / self.speed, 1.0
        for at, after in (*self._changes, (float("inf"), 1.0)):
            if end + left / factor <= at:
                end += left / factor
                break
            if at > end:
                left -= (at - end) * factor
                end = at
            factor = after
        self._agenda.after(end - self._agenda.now, call)


class Shared:
    """`cores` cores, shared equally by all processes that have work: one outstanding event per host.

    Each piece of work ends when the virtual service time, which advances at min(1, cores / runnable) times
    the speed, has grown by its length since it came (Nagle's and Parekh's trick: ends keep their order).
    """

    def __init__(self, agenda: Agenda, cores: int, speed: float = 1.0) -> None:
        self.speed = speed
        self.cores = cores
        self._agenda = agenda
        self._served = 0.0  # seconds of service each runnable process has had since the beginning
        self._asof = 0.0
        self._ends: list[tuple[float, int, Call]] = []
        self._count = 0
        self._next: Moment | None = None
        self._next_at = float("inf")

    def busy(self) -> bool:
        return len(self._ends) >= self.cores

    def work(self, delay_s: float, cpu_s: float, call: Call) -> None:
        if delay_s > 0.0:
            self._agenda.after(delay_s, lambda moment: self._join(cpu_s, call))
        else:
            self._join(cpu_s, call)

    def _join(self, cpu_s: float, call: Call) -> None:
        self._advance()
        self._count += 1
        heappush(self._ends, (self._served + cpu_s, self._count, call))
        self._arm()

    def _rate(self) -> float:
        runnable = len(self._ends)
        return self.speed if runnable <= self.cores else self.speed * self.cores / runnable

    def _advance(self) -> None:
        now = self._agenda.now
        if self._ends:
            self._served += (now - self._asof) * self._rate()
        self._asof = now

    def _arm(self) -> None:
        """See to it that an event comes no later than the earliest end; one that comes too early re-arms."""
        at = self._agenda.now + max(0.0, self._ends[0][0] - self._served) / self._rate()
        if at >= self._next_at:
            return
        if self._next is not None:
            self._next.cancel()
        self._next_at = at
        self._next = self._agenda.after(at - self._agenda.now, self._due)

    def _due(self, moment: Moment) -> None:
        self._next, self._next_at = None, float("inf")
        self._advance()
        done: list[Call] = []
        slack = 1e-12 + 1e-15 * self._asof * self.speed  # a remainder too small for the clock to express
        while self._ends and self._ends[0][0] - self._served <= slack:
            done.append(heappop(self._ends)[2])
        if self._ends:
            self._arm()
        for call in done:
            call(moment)
