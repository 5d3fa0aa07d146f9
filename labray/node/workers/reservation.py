"""Room that is kept for a task which later ones of other shapes have overtaken too often.

A task that does not fit lets others pass, or it would idle what it cannot use. So that nobody passes for ever, after
OVERTAKEN times nothing begins any more that would take what it lacks. That idles cores, and could be in vain: what it
lacks may be held for good by an actor, or by a task that waits for one of those that are held up. So room is only kept
while running tasks hold enough of it, and for no longer than it has waited already; then others pass again, OVERTAKEN
times. As each time is twice the last at least, it begins as soon as that is longer than the longest of those that run.
"""

from __future__ import annotations

from collections.abc import Callable

from labray.messages import Demand
from labray.node.workers.processes import Processes
from labray.node.workers.ready_queue import Stuck
from labray.scheduling import OVERTAKEN


class Reservation:
    """The one of a node. kept: for which shape there is one at this moment."""

    def __init__(self, pool: Processes) -> None:
        self.pool = pool
        self.kept: Demand | None = None
        self._for: Stuck | None = None  # whose alarm is set

    def serve(self, begin: Callable[[Demand], None]) -> None:
        """Before a dispatch, while a shape has been overtaken too often: that one first."""
        self._choose_shape()
        if self.kept is not None:
            begin(self.kept)
            self._choose_shape()

    def _choose_shape(self) -> None:
        """Whether, and for which shape, room is to be kept."""
        queue = self.pool.queue
        overdue = [shape for shape, stuck in queue.stuck.items() if stuck.overtaken >= OVERTAKEN]
        waiting = [shape for shape in overdue if queue.first(shape) is not None]
        queue.overdue = bool(waiting)
        self.kept = next((shape for shape in waiting if self._will_be_free(shape)), None)
        if self.kept is not None and queue.stuck[self.kept] is not self._for:
            stuck = self._for = queue.stuck[self.kept]
            self.pool.context.after(self.pool.context.now - stuck.since, lambda: self._too_long(stuck))

    def lets(self, shape: Demand) -> bool:
        """Whether one of this shape can begin beside what is kept."""
        assert self.kept is not None
        kept, free = dict(self.kept), self.pool.resources.free
        return shape == self.kept or all(
            name not in kept or free[name] - amount >= kept[name] for name, amount in shape
        )

    def _will_be_free(self, shape: Demand) -> bool:
        """Once what runs now has ended: what an actor holds, or a blocked task has not lent, may never be."""
        free = dict(self.pool.resources.free)
        for worker in self.pool.workers.values():
            if worker.actor is None and not worker.blocked:
                for name, amount in worker.held or ():
                    free[name] += amount
        return all(free.get(name, 0) >= amount for name, amount in shape)

    def _too_long(self, stuck: Stuck) -> None:
        """Others pass again for a while."""
        stuck.overtaken = 0
        if self._for is stuck:
            self._for = None
            self.pool.queue.dirty = True
