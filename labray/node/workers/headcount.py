"""How many processes a node keeps: when one more is started, and when one with nothing to do is ended.

A task that waits keeps its process, so parents could take them all: a hundred for a hundred parents on one CPU. So a
process is started at once only while fewer workers than there are CPUs wait for other things. (For a task that they
wait for that is so: nobody has come to wait since. Ray: a cap for each class and depth.) What is held back gets its
process when PATIENCE_S is over, and twice as many each time after that: they may wait for it after all.
"""

from __future__ import annotations

from labray.messages import UNIT, Demand, WarnUser
from labray.node.context.task_record import TaskRecord
from labray.node.workers.processes import Processes
from labray.node.workers.worker_record import WorkerRecord

PATIENCE_S = 0.05
"""A process costs about 20 ms of CPU (experiments.micro); most gets of a running task are over by then."""
KEEP_S = 1.0
"""At least so long a process is kept that has nothing to do, at most twice. Ray: the same."""
MAX_WORKERS = 512
"""Unless told; or two for each CPU, if that is more."""
RESERVE = 64
"""Processes beyond the limit, one at a time, for what all the others wait for: how much deeper a chain may be."""


class Headcount:
    """Of one node. limit: of processes. spare: so many are kept however long they have nothing to do."""

    def __init__(self, pool: Processes, limit: int | None, prestart: int) -> None:
        self.pool = pool
        self.context = pool.context
        self.limit = limit = max(MAX_WORKERS, 2 * prestart) if limit is None else limit
        self.prestart = min(prestart, limit)
        self.spare = min(max(2 * prestart, 4), limit)
        self.cpus = max(1, pool.resources.totals.get("CPU", 0) // UNIT)
        self.blocked = pool.blocked
        self.ahead = pool.ahead
        self.holding = False  # something is held back, and the alarm is set
        self.granted, self.wave = 0, 1  # starts that are due to patience, and how many will be next time
        self.retiring = False
        self.warned: set[str] = set()  # only asked for membership

    def calm(self) -> None:
        """Nothing waits for a process."""
        self.granted, self.wave = 0, 1

    def first(self, shape: Demand) -> TaskRecord | None:
        """What blocked tasks wait for goes first on as many CPUs as they lend here, and one for those elsewhere.

        On the others all go in their order: a parent that has children without end holds up nobody for ever.
        """
        return self.pool.queue.first_urgent(shape) if len(self.ahead) <= len(self.blocked) else None

    # ------------------------------------------------------------ starting

    def want(self, shape: Demand, task: TaskRecord) -> None:
        """Resources are free and no process is, for this and what is behind it: start as many as could be used."""
        pool = self.pool
        wanted = pool.resources.how_many(shape, len(pool.queue.shapes[shape])) - pool.starting
        if self.blocked and wanted > 0:
            wanted = min(wanted, self._at_once(task) or self._by_patience(wanted))
        for _ in range(wanted):
            if len(pool.workers) >= self.limit and not self._in_reserve(task):
                return
            pool.start_worker()

    def _at_once(self, task: TaskRecord) -> int:
        """How many may be started: as there are CPUs, less the workers that came to wait after it was waited for."""
        later = 0
        for order in reversed(self.blocked.values()):
            if order <= task.wanted or later == self.cpus:
                break
            later += 1
        return self.cpus - later

    def _by_patience(self, wanted: int) -> int:
        """How many of those that were held back: none before the alarm."""
        if self.granted == 0 and not self.holding:
            self.holding = True
            self.context.after(PATIENCE_S, self._grant)
        granted = min(wanted, self.granted)
        self.granted -= granted
        return granted

    def _grant(self) -> None:
        self.holding = False
        self.granted, self.wave = self.wave, 2 * self.wave
        self.pool.queue.dirty = True

    # ------------------------------------------------------------ the limit

    def closed_to(self, task: TaskRecord) -> bool:
        """Whether there is a process too many for this task to begin in one that idles. (Asked only then.)"""
        pool = self.pool
        taken = len(pool.workers) - len(pool.idle) - pool.starting
        return taken >= self.limit and not self._in_reserve(task)

    def _in_reserve(self, task: TaskRecord) -> bool:
        """At the limit: whether this may go on where no other can. All others wait, for it, or are actors."""
        pool = self.pool
        if pool.starting:
            return False
        if any(pool.busy.values()):
            self._warn("tasks wait for one.")
            return False
        if len(pool.workers) - len(pool.idle) >= self.limit + RESERVE:
            self._warn(
                f"and {RESERVE} beyond it, all of which wait or are actors. No more are started: raise max_workers."
            )
            return False
        if self.blocked and not task.wanted and not self._by_patience(1):
            return False
        self._warn(
            f"all of which wait or are actors. Up to {RESERVE} more are started, one at a time, for what they wait "
            "for: a higher max_workers lets more go on side by side."
        )
        return True

    def full(self) -> bool:
        """Whether no task could get a process, whatever it is."""
        pool = self.pool
        return not pool.idle and not pool.starting and len(pool.workers) >= self.limit + RESERVE

    def _warn(self, what: str) -> None:
        if what not in self.warned:
            self.warned.add(what)
            self.context.do(
                WarnUser(f"{self.context.place} has {self.limit} workers, its limit (max_workers): {what}")
            )

    # ------------------------------------------------------------ ending

    def retire_later(self) -> None:
        """More idle than are always kept: look again when they may have found work."""
        if not self.retiring:
            self.retiring = True
            self.context.after(KEEP_S, self._retire)

    def _retire(self) -> None:
        self.retiring = False
        pool, long_ago = self.pool, self.context.now - KEEP_S
        while len(pool.idle) > self.spare and self._longest().since <= long_ago:
            pool.stop(self._longest())

    def _longest(self) -> WorkerRecord:
        """The last that came free is the first to be used, so the first in the list has been idle the longest."""
        return self.pool.idle[0]
