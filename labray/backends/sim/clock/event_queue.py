"""The clock and the event queue of a simulated world: SimPy's Environment, which counts what happens.

Nothing here knows of tasks. One event is one Moment: a callback at a time. Events are the currency of the
simulator's speed, so there is one per *batch* of work and never one per message.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from simpy import Environment, Event
from simpy.core import EmptySchedule
from simpy.events import NORMAL, EventPriority

from labray.errors import DeadlockError

YOUNG_EVERY = 1 << 16
"""Events between two collections of the young generations."""
FULL_EVERY = 1 << 21
"""Events between two full collections."""
LAST = EventPriority(2)
"""SimPy's priorities are 0 (urgent) and 1 (normal)."""


class ScheduledEvent(Event):
    """An event that calls one function when its time comes, unless it was cancelled."""

    __slots__ = ("callbacks", "env")
    _ok = True
    _value = None

    def __init__(self, env: Environment, call: Callable[[Any], object]) -> None:
        self.env = env
        self.callbacks = [call]  # type: ignore[list-item]  # what it returns is dropped

    def cancel(self) -> None:
        """It will still pass, without effect."""
        if self.callbacks is not None:
            self.callbacks = []


class EventQueue(Environment):
    """SimPy's event queue, with a limit of events and the garbage collector in its hand.

    Every event is a ScheduledEvent, which calls one function and cannot fail: `step` does of SimPy's what that needs.
    Automatic collection is off while a simulation is on, and runs here at fixed counts of events: its timing
    decides when handles die, and so would be seen in the trace.
    """

    now: float = 0.0  # SimPy's is a property, and is asked seven times a task

    def __init__(self, max_events: int | None) -> None:
        super().__init__()
        self.passed = 0
        self.quiet_alarms = 0  # fired since anything but alarms and agents' talk last happened
        self.awaited_alarms = 0  # still to be fired; not such as are set again for ever
        self.live = 0  # bodies, sleepers and transfers under way: something will happen
        self._max_events = max_events
        self._check_at = YOUNG_EVERY if max_events is None else min(YOUNG_EVERY, max_events)

    def after(self, delay: float, call: Callable[[Any], object]) -> ScheduledEvent:
        """Call (with the moment) after so many virtual seconds; what is set first comes first."""
        moment = ScheduledEvent(self, call)
        heappush(self._queue, (self.now + delay, NORMAL, next(self._eid), moment))
        return moment

    def last(self, call: Callable[[Any], object]) -> None:
        """Call when all else that happens at this instant has happened."""
        self.schedule(ScheduledEvent(self, call), priority=LAST)

    def step(self) -> None:
        try:
            self._now, _, _, moment = heappop(self._queue)
        except IndexError:
            raise EmptySchedule from None
        self.now = self._now
        callbacks, moment.callbacks = moment.callbacks, None  # type: ignore[assignment]
        for call in callbacks:
            call(moment)
        self.passed += 1
        if self.passed >= self._check_at:
            self._check()

    def _check(self) -> None:
        if self._max_events is not None and self.passed >= self._max_events:
            raise DeadlockError(
                f"the simulation passed max_events={self._max_events} at t={self.now:.6f} s: "
                "a loop in virtual time, or a cap too low"
            )
        self._check_at = self.passed + YOUNG_EVERY
        if self._max_events is not None:
            self._check_at = min(self._check_at, self._max_events)
        gc.collect(2 if self.passed % FULL_EVERY < YOUNG_EVERY else 1)
