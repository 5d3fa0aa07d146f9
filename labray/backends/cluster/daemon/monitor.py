"""What a daemon does periodically, and not because a message came: it looks whether all is well.

Every daemon sends heartbeats to the first one, which declares dead who sends none. While its workers have something to
do, each daemon watches their memory and looks for workers that do not begin; the first one also watches the fork
server, which nobody else can declare dead. An idle session of one node does nothing at all.
"""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING

from labray.backends.cluster.boot.stopped_processes import StoppedProcesses
from labray.backends.cluster.daemon.memory_monitor import MemoryMonitor
from labray.backends.cluster.wire.control_messages import ControlMessage, ControlSender
from labray.backends.cluster.wire.frames import BEAT
from labray.messages import MemoryShort, ShowWarning
from labray.node.failures.heartbeats import Heartbeats

if TYPE_CHECKING:
    from labray.backends.cluster.boot.monitor_options import MonitorOptions
    from labray.backends.cluster.daemon.driver_link import DriverLink
    from labray.backends.cluster.daemon.peer_sockets import PeerSockets
    from labray.backends.cluster.daemon.worker_links import WorkerLinks
    from labray.ids import NodeID
    from labray.node.workers.pool import WorkerPool

FIRST_WORD_S = 5.0
"""How much longer than the timeout a daemon may take to begin: many may be starting, on few cores."""
BIRTH_S = 30.0
"""How long a worker may take to begin. It runs none of the user's code before it has said Hello."""
RELIEF_S = 1.0
"""How long to wait after a process was ended for its memory, until that is surely free and counted as such."""


class Monitor:
    """places: of all nodes, the first one first. place, pool: of the daemon's own node.

    due: when there is something to do next. tell(event): tells the node what was found.
    """

    def __init__(
        self,
        options: MonitorOptions,
        places: Sequence[str],
        place: NodeID,
        pool: WorkerPool,
        peers: PeerSockets,
        workers: WorkerLinks,
        fork_server: ControlSender,
        driver: DriverLink,
        tell: Callable[[MemoryShort], None],
    ) -> None:
        self._first = places[0]
        self._place = place
        self._pool = pool
        self._peers = peers
        self._workers = workers
        self._fork_server = fork_server
        self._driver = driver
        self._tell_node = tell
        timeout_s = options.heartbeat_timeout_s
        self._heartbeats = None if timeout_s is None else Heartbeats(timeout_s)
        self._memory = MemoryMonitor(options, place, workers.pids)
        self._stopped = None if timeout_s is None else StoppedProcesses(timeout_s)
        self._blamed = False  # whether the fork server has been told to end
        self._next_beat = monotonic() if self._heartbeats is not None and peers.has_peers else math.inf
        self._next_memory = self._next_processes = math.inf
        self.due = self._next_beat
        for other in places[1:]:
            self.expect(other)

    def heard(self, sender: str) -> None:
        """Another process has said something, so it lives."""
        if self._heartbeats is not None and self._place == self._first and "/" not in sender:
            now = monotonic()
            self._heartbeats.heard(sender, now)
            if self._next_beat == math.inf:  # the first that has joined
                self._next_beat = self.due = now + self._heartbeats.period_s

    def expect(self, place: str) -> None:
        """It is about to begin: from then on it sends heartbeats, but the first may take a moment longer."""
        if self._heartbeats is not None and self._place == self._first:
            self._heartbeats.expect(place, monotonic() + FIRST_WORD_S)
            self._next_beat = min(self._next_beat, monotonic() + self._heartbeats.period_s)
            self.due = min(self.due, self._next_beat)

    def stop_expecting(self, place: str) -> None:
        """It is lost: nothing more is expected of it."""
        if self._heartbeats is not None:
            self._heartbeats.stop_expecting(place)

    def go(self) -> None:
        """Do what is due."""
        if self._next_memory == math.inf and self._memory.period_s < math.inf and self._busy:
            self._next_memory = monotonic() + self._memory.period_s
            self.due = min(self.due, self._next_memory)
        if self._next_processes == math.inf and self._stopped is not None and self._busy:
            self._next_processes = monotonic() + self._stopped.period_s
            self.due = min(self.due, self._next_processes)
        if self.due == math.inf or self.due > (now := monotonic()):
            return
        if self._next_beat <= now:
            self._beat(now)
        if self._next_memory <= now:
            self._look_at_memory(now)
        if self._next_processes <= now:
            self._look_at_processes(now)
        self.due = min(self._next_beat, self._next_memory, self._next_processes)

    @property
    def _busy(self) -> bool:
        return len(self._pool.idle) < len(self._pool.workers)

    def _beat(self, now: float) -> None:
        assert self._heartbeats is not None
        self._next_beat = now + self._heartbeats.period_s
        if self._place != self._first:
            self._peers.send_now(self._first, [BEAT])
        elif self._peers.waiting():  # they may have said something that was not read yet
            self._next_beat = now
        else:
            for place in self._heartbeats.late(now):
                self._heartbeats.stop_expecting(place)
                why = f"has not been heard of for {self._heartbeats.timeout_s:g} s"
                self._driver.notify(ShowWarning(f"{place} {why}: it is declared dead."))
                self._fork_server.send(ControlMessage("late", place, why))

    def _look_at_memory(self, now: float) -> None:
        """Look at memory while some worker has something to do: idle ones take no more of it."""
        self._next_memory = math.inf
        if self._busy:
            short = self._memory.look()
            self._next_memory = now + (self._memory.period_s if short is None else RELIEF_S)
            if short is not None:
                self._tell_node(short)

    def _look_at_processes(self, now: float) -> None:
        """Look, while a worker has something to do, whether others could begin and the fork server is not stopped."""
        assert self._stopped is not None
        self._next_processes = now + self._stopped.period_s if self._busy else math.inf
        for client in self._workers.silent_since(now - BIRTH_S):
            self._fork_server.send(ControlMessage("late", client, f"has not begun within {BIRTH_S:g} s"))
        if self._place == self._first:
            for fork_server in self._stopped.late([os.getppid()]):
                self._declare_dead(fork_server)

    def _declare_dead(self, fork_server: int) -> None:
        """Wake the fork server to end the session in good order. If it does not, kill it, and everything with it."""
        assert self._stopped is not None
        if not self._blamed:
            why = f"the process that starts all others {self._stopped.why}"
            self._fork_server.send(ControlMessage("fatal", self._first, why))
        os.kill(fork_server, signal.SIGKILL if self._blamed else signal.SIGCONT)
        self._blamed = True
