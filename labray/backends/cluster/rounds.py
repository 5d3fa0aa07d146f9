"""What a daemon does every so often, and not because anybody said something: it looks whether all is well.

Every daemon lets the first one know that it lives, and that one notices who does not; each keeps an eye on the memory
of its workers while they have something to do. An idle session of one node does nothing at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from labray.backends.cluster import errands
from labray.backends.cluster.errands import Errand
from labray.backends.cluster.frames import BEAT
from labray.backends.cluster.memory_watch import MemoryWatch
from labray.messages import MemoryShort, Warned
from labray.node.heartbeats import Heartbeats

if TYPE_CHECKING:
    import socket

    from labray.backends.cluster.boot import Boot
    from labray.backends.cluster.crew import Crew
    from labray.backends.cluster.line import Line
    from labray.backends.cluster.post import Post
    from labray.node import Node

RELIEF_S = 1.0
"""After a process was ended for its memory: so long until what it had is surely free, and counted as such."""


class Rounds:
    """due: when the next round is. hear(news): what was found, for the node."""

    def __init__(
        self, boot: Boot, node: Node, post: Post, crew: Crew, template: socket.socket, line: Line,
        hear: Callable[[MemoryShort], None],
    ) -> None:  # fmt: skip
        self._first = boot.nodes[0].place
        self._node = node
        self._post = post
        self._template = template
        self._line = line
        self._hear = hear
        timeout_s = boot.watches.heartbeat_timeout_s
        self._beats = None if timeout_s is None else Heartbeats(timeout_s)
        self._memory = MemoryWatch(boot.watches, node.place, crew.pids)
        self._next_beat = monotonic() if self._beats is not None and post.has_peers else math.inf
        self._next_look = math.inf
        self.due = self._next_beat

    def heard(self, sender: str) -> None:
        """Another process has said something."""
        if self._beats is not None and self._node.place == self._first and "/" not in sender:
            now = monotonic()
            self._beats.heard(sender, now)
            if self._next_beat == math.inf:  # the first that has joined
                self._next_beat = self.due = now + self._beats.period_s

    def forget(self, place: str) -> None:
        """It is lost."""
        if self._beats is not None:
            self._beats.forget(place)

    def go(self) -> None:
        """Do what is due."""
        pool = self._node.pool
        if (
            self._next_look == math.inf
            and self._memory.period_s < math.inf
            and len(pool.idle) < len(pool.workers)
        ):
            self._next_look = monotonic() + self._memory.period_s
            self.due = min(self.due, self._next_look)
        if self.due == math.inf or self.due > (now := monotonic()):
            return
        if self._next_beat <= now:
            self._beat(now)
        if self._next_look <= now:
            self._look(now)
        self.due = min(self._next_beat, self._next_look)

    def _beat(self, now: float) -> None:
        assert self._beats is not None
        self._next_beat = now + self._beats.period_s
        if self._node.place != self._first:
            self._post.send(self._first, [BEAT])
        elif self._post.waiting():  # they may have spoken, and we not listened
            self._next_beat = now
        else:
            for place in self._beats.late(now):
                self._beats.forget(place)
                why = f"has not been heard of for {self._beats.timeout_s:g} s"
                self._line.notify(Warned(f"{place} {why}: it is declared dead."))
                errands.send(self._template, Errand("late", place, why))

    def _look(self, now: float) -> None:
        """While somebody has something to do: whoever has not takes no more memory."""
        pool = self._node.pool
        self._next_look = math.inf
        if len(pool.idle) < len(pool.workers):
            short = self._memory.look()
            self._next_look = now + (self._memory.period_s if short is None else RELIEF_S)
            if short is not None:
                self._hear(short)
