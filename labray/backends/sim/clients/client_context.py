"""What a simulated process that runs users' code needs of its world: costs, the event queue, and who may call.

All of them live on the thread and the greenlet (the hub) that made the simulation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from threading import get_ident
from typing import TYPE_CHECKING

from greenlet import getcurrent

from labray.client.process import Process
from labray.errors import LabraySystemError, NotInitializedError

if TYPE_CHECKING:
    from labray.backends.ctrl_c import Interrupts
    from labray.backends.sim.clock.event_queue import EventQueue
    from labray.backends.sim.faults.disturbances import TaskCrashes
    from labray.client.runtime import Channel
    from labray.costs import Costs
    from labray.ids import ClientID
    from labray.profiles import Profile


class ClientContext(ABC):
    """Below the clients: they know it, and it knows none of them. limited: whether stores have a capacity.

    crashes: what the fault plan does to workers. name: of the session. seed: of what bodies draw. active: whose code
    runs, or ran last. driver_waits: the main program waits, so that what runs on its stack is the world.
    """

    interrupts: Interrupts

    def __init__(
        self, events: EventQueue, profile: Profile, costs: Costs, *, name: str, seed: int, limited: bool,
        crashes: TaskCrashes,
    ) -> None:  # fmt: skip
        self.events = events
        self.profile = profile
        self.costs = costs
        self.seed = seed
        self.limited = limited
        self.crashes = crashes
        self.hub = getcurrent()
        self.closed = False
        self.active: object = None
        self.driver_waits = False
        self._home = get_ident()
        self._name = name

    def make_process(self, channel: Channel) -> Process:
        """The client half of the protocol, over this client's channel."""
        return Process(channel, self._name)

    def is_home(self) -> bool:
        """Whether it is the simulation's thread that asks."""
        return get_ident() == self._home

    def check(self, own: bool) -> None:
        """Raise unless the session is open and the caller is on its thread and stack (`own`)."""
        if self.closed:
            raise NotInitializedError("this simulation was shut down: call labray.init() again.")
        if get_ident() != self._home:
            raise LabraySystemError(
                "the simulator runs on one thread, and this call came from another: call labray only from the "
                "thread that called init(), or use backend='cluster'."
            )
        if not own:
            raise LabraySystemError(
                "this call came from a greenlet that is not a simulated process: call labray from the main program "
                "or from a task."
            )

    @abstractmethod
    def worker_lost(self, worker: ClientID, reason: str) -> None:
        """A worker process ended by itself: unwind it, and tell its node."""
