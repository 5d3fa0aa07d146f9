"""The wire of a client on the backend `inline`: a function call. While the caller waits, tasks run on its stack."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labray import messages as m
from labray.backends.turns import Turns, WantedResults, enough, existing
from labray.ids import ClientID, NodeID, ObjectID, TaskID
from labray.serialization import codec

if TYPE_CHECKING:
    from labray.client.uninterrupted import Step
    from labray.node.objects.records import ObjectRecord

PATIENCE = 32
"""After so many calls a task is taken to be polling for what others must do first: the oldest of them runs."""


class InlineWorld(ABC):
    """What a client's wire calls. turns: of all workers. store: the values that are too large to travel."""

    turns: Turns
    store: dict[ObjectID, m.Payload]

    @abstractmethod
    def now(self) -> float:
        """Seconds since the session began."""

    @abstractmethod
    def check(self) -> None:
        """Raise if the session has ended, or another thread than its own calls."""

    @abstractmethod
    def deliver(self, to: NodeID, sender: str, message: Any) -> None:
        """Hand a message over, and all that follows from it; in order, never one inside another."""

    @abstractmethod
    def step(self, wanted: WantedResults | None = None, fair: bool = False) -> bool:
        """Run one task whose turn has come; whether there was one."""

    @abstractmethod
    def idle(self, until: float | None) -> None:
        """Nothing can run now: wait for the next alarm or the caller's time, or say who waits for whom."""

    @abstractmethod
    def is_open(self, task: TaskID) -> bool:
        """Whether the end of a task is still to come."""

    @abstractmethod
    def records(self) -> Mapping[ObjectID, ObjectRecord]:
        """What the node knows of objects."""


class InlineChannel:
    """The wire of one client: a function call."""

    def __init__(self, world: InlineWorld, client: ClientID) -> None:
        self.world = world
        self.place = NodeID("n0")
        self.client = client
        self.replies: dict[int, m.ClientReply] = {}
        self.asked = 0  # questions that the task that runs has put

    def post(self, message: m.ClientRequest, step: Step | None = None) -> None:
        self.world.check()
        if step is not None:
            step()
        self.world.deliver(self.place, self.client, message)

    def ask(self, message: m.ClientRequest, request: int, timeout: float | None) -> m.ClientReply | None:
        world = self.world
        world.check()
        until = None if timeout is None else time.monotonic() + timeout
        wanted = WantedResults(world.turns, getattr(message, "refs", ()), world.is_open)
        if not isinstance(message, m.Cancel):  # who takes tasks back does not poll for them
            self.asked += 1
            if self.asked % PATIENCE == 0:
                world.step(fair=True)
        if getattr(message, "poll", False):
            world.step(wanted)
        elif isinstance(message, m.Wait) and (found := self._await(message, wanted, until)):
            return found
        self.post(message)
        while request not in self.replies:
            if until is not None and time.monotonic() >= until:
                return None
            if not world.step(wanted) and request not in self.replies:
                world.idle(until)
        return self.replies.pop(request)

    def _await(self, message: m.Wait, wanted: WantedResults, until: float | None) -> m.ReadyPositions | None:
        """Run tasks before the question is put, and do not put it if that answers it.

        A question that stands is put down at each of its objects, and taken off again: for who takes a thousand
        results one by one, that is half a million times. The node is told all the same, for the trace.
        """
        world = self.world
        records = world.records()
        left, spare = list(message.refs[::-1]), len(message.refs) - message.count
        while not enough(records, left, spare):
            if (until is not None and time.monotonic() >= until) or not world.step(wanted):
                return None
        there = existing(records, message.refs, message.count)
        found = tuple([message.refs[at] for at in there])
        self.post(m.Wait(m.NO_ANSWER, found, message.count, True))
        return m.ReadyPositions(message.request, there)

    def store(self, object_id: ObjectID, payload: m.Payload) -> m.Stored:
        payload = self.world.store[object_id] = codec.in_place(payload)
        return m.Stored(size := codec.size_of(payload), m.Block(self.client, 0, 0, (size,)), ())

    def unstore(self, object_id: ObjectID, stored: m.Stored) -> None:
        del self.world.store[object_id]

    def load(self, object_id: ObjectID, stored: m.Stored, pin: object | None = None) -> m.Payload:
        """The bytes cannot change and are counted by Python itself: the pin is not needed."""
        payload = self.world.store[object_id]
        self.post(m.Unpin(((object_id, 1),)))
        return payload

    def reread(self, object_id: ObjectID) -> m.Payload | None:
        return None  # asking costs nothing here

    def now(self) -> float:
        return self.world.now()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def spend(self, seconds: float) -> None:
        until = time.thread_time() + seconds
        while time.thread_time() < until:
            pass
