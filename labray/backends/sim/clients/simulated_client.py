"""The processes that run user code: what drivers (main_program.py) and workers (simulated_worker.py) have in common.

A client's code runs in zero virtual time and owes for it: every call adds to a debt, paid on its host before
the client blocks and at least once a (virtual) millisecond. What it posts leaves when the debt is paid, as the
real client's outbox does. Both kinds of client are a Channel (labray/client/runtime.py) under the same process.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from labray import messages as m
from labray.backends.sim.clients.client_costs import ClientCosts
from labray.backends.sim.clients.client_cpu import ClientCpu
from labray.backends.sim.clients.late_replies import LateReplies
from labray.backends.sim.store.store_client import NOTHING, SimStoreClient
from labray.ids import NodeID, ObjectID, is_put

if TYPE_CHECKING:
    from labray.backends.sim.clients.client_context import ClientContext
    from labray.backends.sim.clients.execution_slots import ExecutionSlot
    from labray.backends.sim.clock.event_queue import ScheduledEvent
    from labray.backends.sim.hosts.endpoint import Endpoint
    from labray.client.process import Process
    from labray.client.uninterrupted import Step

PATIENT_LOOKS = 1_000
"""So many looks at clocks in a row cost what one costs each, the next thousand twice as much, and so on."""


class SimClient(ABC):
    """One simulated process attached to a node. There are many: with slots, one takes a kilobyte less."""

    __slots__ = (
        "_answer",
        "_events",
        "_late",
        "_own",
        "_patience_s",
        "_process",
        "_profile",
        "_sleeping",
        "awaiting",
        "chance",
        "client",
        "context",
        "costs",
        "cpu",
        "creation",
        "daemon",
        "debt_s",
        "host",
        "looks",
        "outbox",
        "place",
        "running",
        "slot",
        "store_client",
        "viewed",
    )  # fmt: skip

    def __init__(
        self, context: ClientContext, client: str, place: NodeID, daemon: Endpoint, spent_s: float
    ) -> None:
        self.client = client
        self.place = place
        self.daemon = daemon
        self.host = daemon.host
        self.debt_s = 0.0
        self.running: m.RunTask | None = None
        self.creation: m.RunTask | None = None  # of the actor that lives here
        self.chance: Any = None  # its generators (randomness.py), once it has drawn
        self.looks = 0  # at clocks, with nothing between them
        self.outbox: list[tuple[NodeID, str, Any]] = []
        self._own: dict[ObjectID, None] = {}  # put by this process
        self.awaiting: int | None = None
        self._answer: m.ClientReply | None = None
        self.context = context
        self._events = context.events
        self._profile = profile = context.profile
        self._patience_s = profile.flush_s + profile.interpreter_s
        self.cpu = ClientCpu(context.events, daemon.host, profile, spent_s * profile.after_share)
        self.costs = ClientCosts(profile)
        self._sleeping: ScheduledEvent | None = None
        self._late = LateReplies(place, client)
        self._process: Process | None = None
        self.store_client = SimStoreClient(
            client, daemon.copies, self.costs.pages, self.ask if context.limited else None
        )
        self.slot: ExecutionSlot | None = None  # that which goes on, if there are several
        self.viewed: list[ObjectID] | None = None  # a task's arguments, while they are decoded for it

    @abstractmethod
    def receive(self, letters: Sequence[Any]) -> None:
        """Replies of the node arrive."""

    @abstractmethod
    def _suspend(self) -> None:
        """Let the world go on until `_resume`."""

    @abstractmethod
    def _resume(self, moment: Any) -> None:
        """As an event: the client's code goes on."""

    @abstractmethod
    def check(self) -> None:
        """Raise unless it is this client's code that calls."""

    # ------------------------------------------------------------ Channel

    def post(self, message: m.ClientRequest, step: Step | None = None) -> None:
        self.check()
        self.looks = 0
        if step is not None:
            step()
        self.outbox.append((self.place, self.client, message))
        self.costs.posts(self._events.now + self.debt_s)
        self.charge(self.costs.call(message))

    def ask(self, message: m.ClientRequest, request: int, timeout: float | None) -> m.ClientReply | None:
        self.check()
        if self._late.replies:
            self._late.post_returns(self._process, self.outbox)
        self.outbox.append((self.place, self.client, message))
        self.debt_s += self.costs.call(message)
        self.looks = 0
        self.awaiting = request
        debt_s, self.debt_s = self.debt_s, 0.0
        self.cpu.work(0.0, debt_s, self._flush)
        timer = None
        if timeout is not None:
            self.cpu.begin_wait()
            timer = self._events.after(
                debt_s + timeout, self._here(lambda moment: self._expire(moment, request))
            )
        try:
            self._suspend()
        except BaseException:
            self._late.expect(request, message)
            if self._answer is not None:
                self._late.replies.append(self._answer)
                self._answer = None
            raise
        if timer is not None and self._answer is not None:
            timer.cancel()
            self.cpu.end_wait()
        answer, self._answer = self._answer, None
        if answer is None:
            self._late.expect(request, message)
        return answer

    def store(self, object_id: ObjectID, payload: m.Payload) -> m.Stored:
        sizes = (len(payload.data), *(len(buffer) for buffer in payload.buffers))
        stored = self.store_client.store(object_id, payload, sizes, payload.refs)
        if is_put(object_id) and not payload.refs:
            self._own[object_id] = None
        self.charge(self.costs.writing(stored.size))
        return stored

    def unstore(self, object_id: ObjectID, stored: m.Stored) -> None:
        self.store_client.take_back(object_id, stored.size)
        self.post(m.Deallocate(object_id))

    def load(self, object_id: ObjectID, stored: m.Stored, pin: object | None = None) -> m.Payload:
        payload = self.daemon.copies.memory[object_id]
        if self.viewed is None:
            self.looks_away((object_id,))
        else:
            self.viewed.append(object_id)
        return NOTHING if payload is None else payload

    def looks_away(self, ids: Sequence[ObjectID]) -> None:
        """What a body asked for counts as seen at once: Python keeps the bytes as long as a view on them lives."""
        for object_id in ids:
            self.outbox.append((self.place, self.client, m.Unpin(((object_id, 1),))))
            self.costs.posts(self._events.now + self.debt_s)

    def reread(self, object_id: ObjectID) -> m.Payload | None:
        return self.daemon.copies.memory.get(object_id) if object_id in self._own else None

    def now(self) -> float:
        """A look at the clock moves it; the more, the longer nothing but such looks comes: a loop that waits ends."""
        self.looks += 1
        self.debt_s += self._profile.clock_s * (self.looks // PATIENT_LOOKS or 1)
        if self.debt_s >= self._profile.flush_s:
            self.settle()
        return self._events.now + self.debt_s

    def sleep(self, seconds: float) -> None:
        self.check()
        self.costs.works()
        if seconds > 0.0:
            self.looks = 0
        if self.debt_s or self.outbox:
            self.settle()
        self.cpu.begin_wait()
        self._sleeping = self._events.after(seconds, self._here(self._resume))
        try:
            self._suspend()
        finally:
            self._sleeping = None

    def spend(self, seconds: float) -> None:
        self.check()
        self.costs.works()
        self.looks = 0
        seconds += self.costs.handovers(self._events.now + self.debt_s, seconds)
        if self.outbox and (later_s := self.debt_s + seconds - self._patience_s) > 0.0:
            self.debt_s += seconds - later_s  # what was posted leaves in the middle
            self.settle()
            seconds = later_s
        self.charge(seconds)

    # ------------------------------------------------------------ debt

    def charge(self, seconds: float) -> None:
        """Owe this much CPU time; pay when a flush is due."""
        self.debt_s += seconds
        if self.debt_s >= self._profile.flush_s or len(self.outbox) >= self._profile.flush_posts:
            self.settle()

    def settle(self) -> None:
        """Pay, send what was posted, and go on."""
        debt_s, self.debt_s = self.debt_s, 0.0
        self.cpu.work(0.0, debt_s, self._settled)
        self._suspend()

    def _settled(self, moment: Any) -> None:
        self._flush(moment)
        self.cpu.begin_wait()
        self._resume(moment)

    # Each wait, of work or of an answer, ends in _resume, _flush or _expire.

    def _flush(self, moment: Any) -> None:
        self.cpu.end_wait()
        self.cpu.asleep_since = self._events.now
        self.send_posts()

    def send_posts(self) -> None:
        """What was posted arrives at the daemon."""
        if self.outbox:
            mail, self.outbox = self.outbox, []
            if self.store_client.untold:
                self.store_client.told(message for _, _, message in mail)
            self.daemon.receive(mail)

    # ------------------------------------------------------------ slots

    def _here(self, call: Callable[[Any], None]) -> Callable[[Any], None]:
        """An event of the slot that goes on."""
        return call if self.slot is None else partial(self._in_turn, self.slot, call)

    def _in_turn(self, slot: ExecutionSlot, call: Callable[[Any], None], moment: Any) -> None:
        self.turn_to(slot)
        call(moment)

    def turn_to(self, slot: ExecutionSlot) -> None:
        """From now on this one's fields are the client's."""
        before = self.slot
        assert before is not None
        before.running, before.awaiting, before.answer = self.running, self.awaiting, self._answer
        before.sleeping, before.viewed, before.looks = self._sleeping, self.viewed, self.looks
        before.debt_s = self.debt_s
        self.running, self.awaiting, self._answer = slot.running, slot.awaiting, slot.answer
        self._sleeping, self.viewed, self.looks = slot.sleeping, slot.viewed, slot.looks
        self.debt_s = slot.debt_s
        self.slot = slot

    # ------------------------------------------------------------ answers

    def _answered(self, notice: Any) -> None:
        """A reply has come. A late one waits for the next call, or until the client waits or is idle."""
        if notice.request != self.awaiting:
            self._late.replies.append(notice)
            # what it waits for may need the room that this gives back
            if self.awaiting is not None and self._late.post_returns(self._process, self.outbox):
                self.cpu.work(self.cpu.waking_s(), self.cpu.woken_s(self._profile.answered_s), self._flush)
            return
        self.awaiting, self._answer = None, notice
        values = len(notice.values) if type(notice) is m.Values else 1
        cpu_s = self.cpu.woken_s(self._profile.answered_s) + values * self._profile.answer_s
        self.cpu.work(self.cpu.waking_s(), cpu_s, self._resume)

    def _expire(self, moment: Any, request: int) -> None:
        if self.awaiting != request:  # the answer is on its way
            self.cpu.end_wait()
            return
        self.awaiting = None
        self._resume(moment)
