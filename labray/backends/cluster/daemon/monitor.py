"""What a daemon does every so often, and not because anybody said something: it looks whether all is well.

Every daemon lets the first one know that it lives, and that one notices who does not. While its workers have something
to do each keeps an eye on their memory and on who has not begun, and the first one on the template, which nobody else
can declare dead. An idle session of one node does nothing at all.
"""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from labray.backends.cluster.boot.stopped_processes import StoppedProcesses
from labray.backends.cluster.daemon.memory_monitor import MemoryMonitor
from labray.backends.cluster.wire.control_messages import ControlMessage, ControlSender
from labray.backends.cluster.wire.frames import BEAT
from labray.messages import MemoryShort, ShowWarning
from labray.node.failures.heartbeats import Heartbeats

if TYPE_CHECKING:
    from labray.backends.cluster.boot.process_start import Boot
    from labray.backends.cluster.daemon.driver_link import DriverLink
    from labray.backends.cluster.daemon.peer_sockets import PeerSockets
    from labray.backends.cluster.daemon.worker_links import WorkerLinks
    from labray.ids import NodeID
    from labray.node.workers.pool import WorkerPool

FIRST_WORD_S = 5.0
"""Beyond the timeout, for a daemon to begin: many may be starting, on few cores."""
BIRTH_S = 30.0
"""For a worker to begin. It runs nothing of the user's before its first word, so a long silence is no long task."""
RELIEF_S = 1.0
"""After a process was ended for its memory: so long until what it had is surely free, and counted as such."""


class Monitor:
    """place, pool: of its node. due: when the next round is. hear(news): what was found, for the node."""

    def __init__(
        self,
        boot: Boot,
        place: NodeID,
        pool: WorkerPool,
        post: PeerSockets,
        crew: WorkerLinks,
        template: ControlSender,
        line: DriverLink,
        hear: Callable[[MemoryShort], None],
    ) -> None:
        self._first = boot.nodes[0].place
        self._place = place
        self._pool = pool
        self._post = post
        self._crew = crew
        self._template = template
        self._line = line
        self._hear = hear
        timeout_s = boot.watches.heartbeat_timeout_s
        self._beats = None if timeout_s is None else Heartbeats(timeout_s)
        self._memory = MemoryMonitor(boot.watches, place, crew.pids)
        self._stopped = None if timeout_s is None else StoppedProcesses(timeout_s)
        self._blamed = False  # whether the template has been told to end
        self._next_beat = monotonic() if self._beats is not None and post.has_peers else math.inf
        self._next_look = self._next_watch = math.inf
        self.due = self._next_beat
        for other in boot.nodes[1:]:
            self.expect(other.place)

    def heard(self, sender: str) -> None:
        """Another process has said something."""
        if self._beats is not None and self._place == self._first and "/" not in sender:
            now = monotonic()
            self._beats.heard(sender, now)
            if self._next_beat == math.inf:  # the first that has joined
                self._next_beat = self.due = now + self._beats.period_s

    def expect(self, place: str) -> None:
        """It is about to begin: from its first word on it speaks every period, but that may take a moment longer."""
        if self._beats is not None and self._place == self._first:
            self._beats.expect(place, monotonic() + FIRST_WORD_S)
            self._next_beat = min(self._next_beat, monotonic() + self._beats.period_s)
            self.due = min(self.due, self._next_beat)

    def forget(self, place: str) -> None:
        """It is lost."""
        if self._beats is not None:
            self._beats.stop_expecting(place)

    def go(self) -> None:
        """Do what is due."""
        if self._next_look == math.inf and self._memory.period_s < math.inf and self._busy:
            self._next_look = monotonic() + self._memory.period_s
            self.due = min(self.due, self._next_look)
        if self._next_watch == math.inf and self._stopped is not None and self._busy:
            self._next_watch = monotonic() + self._stopped.period_s
            self.due = min(self.due, self._next_watch)
        if self.due == math.inf or self.due > (now := monotonic()):
            return
        if self._next_beat <= now:
            self._beat(now)
        if self._next_look <= now:
            self._look(now)
        if self._next_watch <= now:
            self._watch(now)
        self.due = min(self._next_beat, self._next_look, self._next_watch)

    @property
    def _busy(self) -> bool:
        return len(self._pool.idle) < len(self._pool.workers)

    def _beat(self, now: float) -> None:
        assert self._beats is not None
        self._next_beat = now + self._beats.period_s
        if self._place != self._first:
            self._post.send(self._first, [BEAT])
        elif self._post.waiting():  # they may have spoken, and we not listened
            self._next_beat = now
        else:
            for place in self._beats.late(now):
                self._beats.stop_expecting(place)
                why = f"has not been heard of for {self._beats.timeout_s:g} s"
                self._line.notify(ShowWarning(f"{place} {why}: it is declared dead."))
                self._template.send(ControlMessage("late", place, why))

    def _look(self, now: float) -> None:
        """While somebody has something to do: whoever has not takes no more memory."""
        self._next_look = math.inf
        if self._busy:
            short = self._memory.look()
            self._next_look = now + (self._memory.period_s if short is None else RELIEF_S)
            if short is not None:
                self._hear(short)

    def _watch(self, now: float) -> None:
        """While somebody has something to do: whether all can start, and end, who are needed for it."""
        assert self._stopped is not None
        self._next_watch = now + self._stopped.period_s if self._busy else math.inf
        for client in self._crew.unheard(now - BIRTH_S):
            self._template.send(ControlMessage("late", client, f"has not begun within {BIRTH_S:g} s"))
        if self._place == self._first:
            for template in self._stopped.late([os.getppid()]):
                self._declare_dead(template)

    def _declare_dead(self, template: int) -> None:
        """It is woken, to end the session in good order. If it has no ears for that it is killed, and all with it."""
        assert self._stopped is not None
        if not self._blamed:
            why = f"the process that starts all others {self._stopped.why}"
            self._template.send(ControlMessage("fatal", self._first, why))
        os.kill(template, signal.SIGKILL if self._blamed else signal.SIGCONT)
        self._blamed = True
