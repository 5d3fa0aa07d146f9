"""The simulated processes that run users' code, by name: whose code runs, and who has died."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greenlet import getcurrent

from labray import messages as m
from labray.backends.ctrl_c import Interrupts
from labray.backends.sim.clients.body_executor import BodyExecutor
from labray.backends.sim.clients.client_context import ClientContext
from labray.backends.sim.clients.main_program import SimDriver
from labray.backends.sim.clients.simulated_worker import SimWorker
from labray.ids import ClientID

if TYPE_CHECKING:
    from labray.backends.sim.clients.simulated_client import SimClient
    from labray.backends.sim.hosts.endpoint import Endpoint
    from labray.ids import NodeID


class ClientWorld(ClientContext):
    """The driver and the workers that live."""

    driver: SimDriver
    clients: dict[ClientID, SimClient]

    def begin(self, driver: SimDriver) -> None:
        """The main program is the first to run."""
        self.clients = {ClientID(driver.client): driver}
        self.driver = driver
        self.active = driver

    def take_interrupts(self) -> None:
        """From now on Ctrl-C waits for the end of an event, or stops the body that runs."""
        self.interrupts = Interrupts(self._between_bodies)

    def add_worker(self, worker: ClientID, place: NodeID, daemon: Endpoint) -> None:
        """A worker process has started."""
        self.clients[worker] = SimWorker(self, worker, place, daemon, BodyExecutor)

    # ------------------------------------------------------------ whose code runs

    def _between_bodies(self) -> bool:
        """Whether it is the world itself that runs, on the stack of a main program that waits."""
        return self.driver_waits and self.active is self.driver

    def current(self) -> SimClient | None:
        """The simulated process whose code runs on the calling thread."""
        if not self.is_home() or self.closed or self._between_bodies():
            return None
        active = self.active
        if isinstance(active, SimWorker):
            return active if getcurrent() is active.fiber.greenlet else None
        return self.driver if getcurrent() is self.hub else None

    def in_body(self) -> bool:
        """Whether it is a task's code that runs. May be asked from any thread."""
        return isinstance(self.active, SimWorker)

    # ------------------------------------------------------------ who has died

    def stop_worker(self, worker: ClientID) -> None:
        """Kill a worker process; its node has forgotten it already."""
        client = self.clients.pop(worker, None)
        if isinstance(client, SimWorker):
            client.die()

    def worker_lost(self, worker: ClientID, reason: str) -> None:
        client = self.clients.pop(worker, None)
        if isinstance(client, SimWorker):
            begun = client.begun()
            client.die()
            client.daemon.receive([(client.place, "", m.WorkerLost(worker, reason, begun))])

    def bury(self, daemon: Endpoint) -> None:
        """A node is dead, and all its processes: they end in the middle of whatever they do."""
        for client in [client for client in self.clients.values() if client.daemon is daemon]:
            del self.clients[ClientID(client.client)]
            if isinstance(client, SimWorker):
                client.die()
        daemon.die()

    def end_all(self) -> None:
        """End every process. Broken off by an exception it is to be called again."""
        for client in list(self.clients.values()):
            if isinstance(client, SimWorker):
                client.die()
        self.clients.clear()
