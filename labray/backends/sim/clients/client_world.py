"""What simulated processes that run users' code need of their world: whose code runs, who may call, and who has died.

All of them live on the thread and the greenlet (the hub) that made the simulation.
"""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING

from greenlet import getcurrent

from labray import messages as m
from labray.backends.ctrl_c import Interrupts
from labray.backends.sim.clients.simulated_worker import SimWorker
from labray.client.process import Process
from labray.errors import LabraySystemError, NotInitializedError
from labray.ids import ClientID

if TYPE_CHECKING:
    from labray.backends.sim.clients.main_program import SimDriver
    from labray.backends.sim.clients.simulated_client import SimClient
    from labray.backends.sim.clock.event_queue import EventQueue
    from labray.backends.sim.control.daemon import Daemon
    from labray.backends.sim.faults.disturbances import TaskCrashes
    from labray.costs import Costs
    from labray.profiles import Profile


class ClientWorld:
    """The driver and the workers, by name. limited: whether stores have a capacity. seed: of what bodies draw.

    crashes: what the fault plan does to workers. name: of the session.
    """

    driver: SimDriver
    active: SimClient
    """Whose code runs, or ran last."""
    interrupts: Interrupts

    def __init__(
        self, agenda: EventQueue, profile: Profile, costs: Costs, *, name: str, seed: int, limited: bool,
        crashes: TaskCrashes,
    ) -> None:  # fmt: skip
        self.agenda = agenda
        self.profile = profile
        self.costs = costs
        self.seed = seed
        self.limited = limited
        self.crashes = crashes
        self.clients: dict[ClientID, SimClient] = {}
        self.hub = getcurrent()
        self.closed = False
        self._home = get_ident()
        self._name = name

    def begin(self, driver: SimDriver) -> None:
        """The main program is the first to run."""
        self.clients[ClientID(driver.client)] = driver
        self.driver = self.active = driver

    def take_interrupts(self) -> None:
        """From now on Ctrl-C waits for the end of an event, or stops the body that runs."""
        self.interrupts = Interrupts(self._between_bodies)

    def make_process(self, client: SimClient) -> Process:
        """The client half of the protocol, over this client's channel."""
        return Process(client, self._name)

    # ------------------------------------------------------------ who may call

    def _between_bodies(self) -> bool:
        """Whether it is the world itself that runs, on the stack of a main program that waits."""
        return self.driver.waiting and self.active is self.driver

    def current(self) -> SimClient | None:
        """The simulated process whose code runs on the calling thread."""
        if get_ident() != self._home or self.closed or self._between_bodies():
            return None
        if isinstance(self.active, SimWorker):
            return self.active if self.active.on_fiber() else None
        return self.active if getcurrent() is self.hub else None

    def in_body(self) -> bool:
        """Whether it is a task's code that runs. May be asked from any thread."""
        return isinstance(self.active, SimWorker)

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

    # ------------------------------------------------------------ who has died

    def stop_worker(self, worker: ClientID) -> None:
        """Kill a worker process; its node has forgotten it already."""
        client = self.clients.pop(worker, None)
        if isinstance(client, SimWorker):
            client.die()

    def worker_lost(self, client: SimWorker, reason: str) -> None:
        """A worker process ended by itself: unwind it, and tell its node."""
        if self.clients.pop(ClientID(client.client), None) is not None:
            begun = client.begun()
            client.die()
            client.daemon.receive([(client.place, "", m.WorkerLost(ClientID(client.client), reason, begun))])

    def bury(self, daemon: Daemon) -> None:
        """A node is dead, and all its processes: they end in the middle of whatever they do."""
        for client in [client for client in self.clients.values() if client.daemon is daemon]:
            del self.clients[ClientID(client.client)]
            if isinstance(client, SimWorker):
                client.die()
        daemon.die()

    def close(self) -> None:
        """End every process. Broken off by an exception it is to be called again."""
        for client in list(self.clients.values()):
            if isinstance(client, SimWorker):
                client.die()
        self.clients.clear()
