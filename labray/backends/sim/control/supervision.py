"""What is said of a whole simulation: its trace, its warnings, what broke it, and that nothing can happen any more."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from labray.errors import DeadlockError
from labray.node.inspect.story import story

if TYPE_CHECKING:
    from labray.backends.sim.clock.event_queue import EventQueue
    from labray.node import Node
    from labray.trace import Event


class Supervision:
    """nodes: those that live, and the head. quiet_limit: after so many alarms in a row nothing else will happen.

    booting: the cluster is being built, at time 0 and for nothing. traced: whether events are kept.
    """

    def __init__(
        self, events: EventQueue, nodes: Callable[[], list[Node]], quiet_limit: int, traced: bool
    ) -> None:
        self.booting = True
        self.log: list[Event] = []
        self._events = events
        self._nodes = nodes
        self._quiet_limit = quiet_limit
        self._traced = traced
        self._warned: dict[str, None] = {}
        self._broken: BaseException | None = None

    def record(self, log: list[Event]) -> None:
        """Put events into the trace, if one is kept."""
        if self._traced:
            self.log += log

    def warn(self, text: str) -> None:
        """Tell the user, once."""
        if text not in self._warned:
            self._warned[text] = None
            warnings.warn(text, RuntimeWarning, stacklevel=2)

    def broke(self, error: BaseException) -> None:
        """The control plane itself failed; what the session would say from now on is worthless."""
        self._broken = error

    def check_whole(self) -> None:
        """Raise what broke the control plane, if something did."""
        if self._broken is not None:
            raise self._broken

    def alarm_fired(self, awaited: bool) -> None:
        """Some alarms go on for ever: if nothing else does, it is a deadlock. They count once no other is awaited."""
        events = self._events
        events.quiet_alarms += awaited or not events.awaited_alarms
        if events.quiet_alarms > self._quiet_limit and events.live == 0:
            events.quiet_alarms = 0
            raise self.deadlock()

    def deadlock(self) -> DeadlockError:
        """The error that says who waits for what."""
        since = f"nothing can happen any more at t={self._events.now:.6f} s and the driver still waits:"
        return DeadlockError(f"{since}\n{story(self._nodes())}")
