"""What a client's own calls cost it, in CPU seconds: what the real one's code around them does."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from labray import messages as m
from labray.backends.sim.network.fabric import LEAST_WEIGHED_BYTES, grains, size_of

if TYPE_CHECKING:
    from labray.ids import ObjectID
    from labray.profiles import Profile


class PagesTouched:
    """Counts the bytes that one writer has in use in its part of a store, and those that it has ever touched."""

    __slots__ = ("touched", "used")

    def __init__(self) -> None:
        self.used = self.touched = 0

    def take_pages(self, size: int) -> int:
        """Returns how much of it goes where nothing has been written before: freed blocks are taken first."""
        self.used += size
        fresh = max(0, self.used - self.touched)
        self.touched += fresh
        return fresh

    def free(self, size: int, keep: bool) -> None:
        """keep: the writer keeps the memory, and writes there again."""
        self.used -= size
        if not keep:
            self.touched -= size


class ClientCosts:
    """What one client is charged. Its thread that sends what was posted needs the interpreter like the body."""

    __slots__ = ("_imported", "_polls", "_profile", "_up_until", "pages")

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._polls = 0
        self._up_until = 0.0
        self._imported: dict[ObjectID, None] = {}
        self.pages = PagesTouched()

    def works(self) -> None:
        """The client does something else than to poll."""
        self._polls = 0

    def posts(self, now: float) -> None:
        """From now on the flushing thread is up for a while."""
        self._polls = 0
        self._up_until = now + self._profile.linger * self._profile.flush_s

    def handovers(self, now: float, seconds: float) -> float:
        """What a body that computes so long loses by letting the flushing thread have the interpreter.

        That gets it when it has asked for so long, and at the latest when the body has computed.
        """
        profile = self._profile
        if not profile.handover_s or self._up_until <= now:
            return 0.0
        turn_s = profile.flush_s + profile.interpreter_s
        forced = int(seconds / turn_s)
        turns = forced + min(1.0, (seconds - forced * turn_s) / profile.flush_s)
        turns = min(turns, ceil((self._up_until - now) / profile.flush_s - 1e-6))
        self._up_until += min(turns, forced) * profile.interpreter_s
        return turns * profile.handover_s

    def writing(self, size: int) -> float:
        """What it costs to write so many bytes into the store."""
        profile, fresh = self._profile, self.pages.take_pages(size)
        return (size - fresh) / profile.codec_Bps + fresh / profile.fresh_Bps

    def run(self, run: m.RunTask) -> float:
        """What a worker does around a body. With the first code comes all that a new process has to copy."""
        profile = self._profile
        cost = profile.task_s
        if len(run.spec.args.data) >= LEAST_WEIGHED_BYTES:
            cost += grains(len(run.spec.args.data)) / profile.codec_Bps
        if run.args:
            cost += len(run.args) * profile.task_dep_s + size_of(run.args) / profile.codec_Bps
        if run.function is not None and run.spec.function is not None:
            if not self._imported:
                cost += profile.first_s
            if run.spec.function.id not in self._imported:
                self._imported[run.spec.function.id] = None
                cost += profile.import_s
        return cost

    def call(self, message: m.ClientRequest) -> float:
        """What it costs to make a request of the node."""
        profile = self._profile
        if isinstance(message, m.SubmitTask):
            refs, size = len(message.spec.deps), grains(len(message.spec.args.data))
            return profile.submit_s + refs * profile.submit_dep_s + size / profile.codec_Bps
        if isinstance(message, m.DropRefs | m.Unpin):
            return 0.0
        cost = profile.call_s
        if isinstance(message, m.PutObject):
            if message.function:
                return cost + profile.export_s
            return cost + size_of((message.value,)) / profile.codec_Bps
        if isinstance(message, m.Get | m.Wait) and message.poll:
            self._polls += 1
            return max(cost, profile.poll_s * (1.0 + min(self._polls, 5000) / 50.0))
        self._polls = 0
        return cost
