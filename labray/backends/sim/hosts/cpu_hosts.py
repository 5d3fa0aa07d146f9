"""Hosts: the machines whose cores processes share.

A dedicated host has a core for every process that lives there, so work takes as long as it takes. A shared
one has a few, and whoever has none waits: a 2-core machine that runs four workers is not a 4-core one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from labray.backends.sim.clock.event_queue import EventQueue, ScheduledEvent
from labray.profiles import Profile

Callback = Callable[[Any], None]


class CpuHost(Protocol):
    """Where processes spend CPU time."""

    speed: float

    def waking_s(self, asleep_s: float) -> float:
        """Elapsed, until a process that is woken after so long a sleep runs."""

    def work(self, delay_s: float, cpu_s: float, call: Callback, after_s: float = 0.0) -> None:
        """After an elapsed delay, spend this much CPU time (at speed 1), then call. At least one event later.

        after_s: how much more it spends then, before it sleeps, if it does.
        """


class DedicatedHost:
    """A core for each of its processes."""

    def __init__(self, events: EventQueue, profile: Profile, speed: float = 1.0) -> None:
        self.speed = speed
        self._events = events
        self._profile = profile

    def waking_s(self, asleep_s: float) -> float:
        return self._profile.waking_s(asleep_s)

    def work(self, delay_s: float, cpu_s: float, call: Callback, after_s: float = 0.0) -> None:
        self._events.after(delay_s + cpu_s / self.speed, call)


class VaryingHost:
    """A core for each of its processes, at a speed that changes: from each time on, so much of it."""

    def __init__(
        self, events: EventQueue, profile: Profile, speed: float, changes: Sequence[tuple[float, float]]
    ) -> None:
        self.speed = speed
        self._events = events
        self._profile = profile
        self._changes = tuple(changes)

    def waking_s(self, asleep_s: float) -> float:
        return self._profile.waking_s(asleep_s)

    def work(self, delay_s: float, cpu_s: float, call: Callback, after_s: float = 0.0) -> None:
        start = self._events.now + delay_s
        end, left, factor = start, cpu_s / self.speed, 1.0
        for at, after in (*self._changes, (float("inf"), 1.0)):
            if end + left / factor <= at:
                end += left / factor
                break
            if at > end:
                left -= (at - end) * factor
                end = at
            factor = after
        self._events.after(end - self._events.now, call)


class SharedHost:
    """`cores` cores for all processes, given out as an operating system does: one event a piece of work.

    Who wakes gets the idle core that rests least long, or else that of the process that has kept one longest. Whoever
    is driven out goes on when a core comes free, or when another has had its turn of `slice_s`. (Linux does so too,
    with queues for each core: EEVDF. Measured here: turns of 3.9 ms, ended by the clock's tick; in processor sharing
    a body would run slower while the daemon is at work, and the daemon too.)
    """

    def __init__(self, events: EventQueue, cores: int, profile: Profile, speed: float = 1.0) -> None:
        self.speed = speed
        self.events = events
        self._profile = profile
        self._cores = [Core(self) for _ in range(cores)]
        self._idle = self._cores[::-1]  # the last rests least long
        self._woken: deque[Piece] = deque()
        self._driven_out: deque[Piece] = deque()
        self._left: Core | None = None  # its process may go on at this very moment, or not
        self._alarmed = False

    def waking_s(self, asleep_s: float) -> float:
        cold_s = self._profile.cold_start_s(asleep_s)
        if not self._idle:
            return cold_s + self._profile.busy_wake_s
        now = self.events.now
        if self._idle[-1].since > now:  # somebody is still about to fall asleep there
            self._idle.sort(key=lambda core: (core.since <= now, core.since))
        return cold_s + self._idle[-1].wakes_s(self._profile)

    def work(self, delay_s: float, cpu_s: float, call: Callback, after_s: float = 0.0) -> None:
        piece = Piece(cpu_s / self.speed, call, after_s / self.speed)
        if not delay_s and self._left is not None:
            core, self._left = self._left, None
            core.run(piece, 0.0)
        elif self._idle:
            core = self._idle.pop()
            core.since = self.events.now
            core.run(piece, delay_s)
        elif delay_s:
            piece.left_s += delay_s
            self._woken.append(piece)
            self._drive_out(min(self._cores, key=lambda core: core.since))
        else:
            self._driven_out.append(piece)
            self._await_turn()

    def leave(self, core: Core) -> None:
        """A process has done a piece of work. It goes on at once, or the core is another's."""
        before, self._left = self._left, core
        if before is not None:
            self._give(before)

    def settle(self, core: Core) -> None:
        """It has said what it does next, unless it is the driver, which says so right after this event."""
        if self._left is not core:
            return
        if self._woken or self._driven_out:
            self.events.after(0.0, lambda moment: self._give(core) if self._left is core else None)
        else:
            self._give(core)

    def _give(self, core: Core) -> None:
        """To who waits."""
        if self._left is core:
            self._left = None
        after_s, core.after_s = core.after_s, 0.0
        core.since = self.events.now + after_s
        if self._woken or self._driven_out:
            core.run((self._woken or self._driven_out).popleft(), after_s)
        else:
            self._idle.append(core)

    def _drive_out(self, core: Core) -> None:
        if core.piece is not None:  # else somebody is about to leave it
            self._driven_out.append(core.stop())
            self._give(core)
        self._await_turn()

    def _await_turn(self) -> None:
        """Somebody waits: in a while, see who has had a turn. Most who wake are asleep again before."""
        if self._driven_out and not self._alarmed:
            self._alarmed = True
            self.events.after(self._profile.slice_s, self._turn)

    def _turn(self, moment: ScheduledEvent) -> None:
        self._alarmed = False
        for core in self._cores:
            if self._driven_out and core.piece is not None and core.had(self._profile.slice_s):
                self._driven_out.append(core.stop())
                self._give(core)
        self._await_turn()


class Piece:
    """Work that is left to do, in seconds of a core, and whom to call then."""

    __slots__ = ("after_s", "call", "left_s")

    def __init__(self, left_s: float, call: Callback, after_s: float) -> None:
        self.left_s = left_s
        self.call = call
        self.after_s = after_s


class Core:
    """One of a shared host. since: it was given to the process that has it, or left idle, or will be when that sleeps.

    A hypervisor polls a core that halts for a while, since waking it is expensive once it is another's: for how long
    varies, up to `deep_after_s` (KVM's documentation, halt polling). What is charged is the mean: a model that
    learned as the hypervisor does would go on as it began, where chance soon has the real one change.
    """

    __slots__ = ("_ends", "_ends_at", "_host", "after_s", "piece", "since")

    def __init__(self, host: SharedHost) -> None:
        self._host = host
        self.since = -1e9
        self.piece: Piece | None = None
        self.after_s = 0.0  # its last process needs so long to fall asleep
        self._ends: ScheduledEvent | None = None
        self._ends_at = 0.0

    def wakes_s(self, profile: Profile) -> float:
        """How long it would take to wake it now."""
        rested_s = self._host.events.now - self.since
        if rested_s < 0.0:
            return profile.busy_wake_s - rested_s
        return profile.core_wakes_s(rested_s)

    def run(self, piece: Piece, delay_s: float) -> None:
        events = self._host.events
        self.piece = piece
        self._ends_at = events.now + delay_s + piece.left_s
        self._ends = events.after(delay_s + piece.left_s, self._done)

    def stop(self) -> Piece:
        """Take from it what it was at."""
        piece, self.piece = self.piece, None
        assert piece is not None and self._ends is not None
        self._ends.cancel()
        piece.left_s = self._ends_at - self._host.events.now
        return piece

    def had(self, turn_s: float) -> bool:
        """Whether its process has had a whole turn."""
        return self._host.events.now >= self.since + turn_s * (1.0 - 1e-9)

    def _done(self, moment: Any) -> None:
        piece, self.piece = self.piece, None
        assert piece is not None
        self.after_s = piece.after_s
        self._host.leave(self)
        piece.call(moment)
        self._host.settle(self)


class SimForkServer:
    """The process from which a host's workers are forked, one after the other: a single server.

    Each worker then starts by itself, on a core of its own if there is one.
    """

    __slots__ = ("_born", "_fork_s", "_host", "_start_s")

    def __init__(self, host: CpuHost, profile: Profile) -> None:
        self._host = host
        self._fork_s, self._start_s = profile.fork_s, profile.worker_start_s
        self._born: list[Callback] = []

    def fork(self, born: Callback) -> None:
        """Call when the worker has joined."""
        self._born.append(born)
        if len(self._born) == 1:
            self._next(self._host.waking_s(0.0))

    def _next(self, delay_s: float) -> None:
        self._host.work(delay_s, self._fork_s, self._forked)

    def _forked(self, moment: Any) -> None:
        born = self._born.pop(0)
        if self._born:
            self._next(0.0)
        self._host.work(self._host.waking_s(0.0), self._start_s, born)
