"""The driver of a simulation: the main program, on whose stack the world runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent
from simpy.core import EmptySchedule

from labray import messages as m
from labray.backends.sim.clients.simulated_client import SimClient
from labray.errors import DeadlockError
from labray.ids import NodeID

if TYPE_CHECKING:
    from labray.backends.sim.clients.client_context import ClientContext
    from labray.backends.sim.control.supervision import Supervision
    from labray.backends.sim.hosts.endpoint import Endpoint


class SimDriver(SimClient):
    """The main program. It turns the crank: while it waits, the world runs on its stack."""

    __slots__ = ("_awake", "_stale", "_supervision", "process")

    def __init__(
        self, context: ClientContext, client: str, place: NodeID, daemon: Endpoint, supervision: Supervision
    ) -> None:
        super().__init__(context, client, place, daemon, context.profile.answered_s)
        self._supervision = supervision
        self.process = self._process = context.make_process(self)
        self._awake = False
        self._stale = 0  # wakings still to come for waits that an exception ended

    def receive(self, letters: Sequence[Any]) -> None:
        for letter in letters:
            if type(letter) is m.ShowWarning:
                self._supervision.warn(letter.text)
            elif type(letter) is m.TrimMemory:
                self.store_client.idle = 0
            elif hasattr(letter, "request"):
                self._answered(letter)

    def check(self) -> None:
        self.context.check(getcurrent() is self.context.hub)
        self._supervision.check_whole()

    def _suspend(self) -> None:
        step, interrupts = self._events.step, self.context.interrupts
        self.context.driver_waits = True
        try:
            while not self._awake:
                step()
                if interrupts.pending:
                    interrupts.check()
        except BaseException as error:
            if self.awaiting is not None:
                self.awaiting = None
            elif not isinstance(error, EmptySchedule | DeadlockError):
                self._stale += 1
            if isinstance(error, EmptySchedule):
                raise self._supervision.deadlock() from None
            if isinstance(error, Exception) and not isinstance(error, DeadlockError):
                self._supervision.broke(error)
            raise
        finally:
            self.context.driver_waits = False
        self._awake = False

    def _resume(self, moment: Any) -> None:
        self.cpu.end_wait()
        if self._stale:
            self._stale -= 1
        else:
            self._awake = True
