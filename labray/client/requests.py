"""What a process asks its node, how it reads the replies, and what becomes of replies that come too late.

It is the same in every world. It remembers what earlier replies told of, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import count, zip_longest
from typing import Any

from msgspec.structs import replace

from labray import messages as m
from labray.client.refs import KEPT_BYTES, HandleTable, ObjectRef
from labray.client.runtime import Channel, Reply
from labray.client.uninterrupted import Step
from labray.errors import LabrayError, LabraySystemError, PendingCallsLimitExceeded
from labray.exception_parts import message_of, name_of
from labray.ids import ObjectID, TaskID, is_put
from labray.messages import Payload, Ref
from labray.serialization import codec
from labray.serialization.remote_errors import restore

AnsweredRequest = m.Get | m.Wait | m.RegisterName | m.LookUpName | m.Cancel | m.AskFinished


class Requests:
    """The requests of one process, whose threads share them. lock: the one of the process."""

    def __init__(self, channel: Channel, handles: HandleTable, lock: AbstractContextManager[object]) -> None:
        self.channel = channel
        self.handles = handles
        self._lock = lock
        self._numbers = count(1)
        # By actor that has a limit: the calls of which it is not known yet that they are over.
        self._calls: dict[ObjectID, dict[TaskID, None]] = {}

    def number(self) -> int:
        """The number of the next request."""
        return next(self._numbers)

    def ask(self, message: AnsweredRequest, timeout: float | None) -> Reply | None:
        """Send a request and wait for the reply; None if the time is up. With timeout 0 the node answers at once."""
        try:
            reply = self.channel.ask(message, message.request, None if timeout == 0 else timeout)
        except BaseException:  # interrupted: nobody waits for the reply any more
            self.abandon(message)
            raise
        if reply is None:
            self.abandon(message)
        elif not isinstance(reply, Reply):
            return Reply(reply, self.handles.give(refs_in(reply)))
        return reply

    def received(self, notice: m.ClientReply) -> tuple[list[ObjectRef[Any]], Step | None]:
        """The handles of the refs that a reply gives, made as it comes in, and the step that counts them."""
        if not isinstance(notice, m.Values | m.ActorFound):
            return [], None
        handles = [self.handles.adopt(ref) for ref in refs_in(notice)]
        return handles, self.handles.given(handles) if handles else None

    def abandon(self, message: AnsweredRequest) -> None:
        """Tell the node that nobody waits for the reply any more."""
        self.channel.post(m.Abandon(message.request))

    # ------------------------------------------------------------ what exists

    def remember(self, id: ObjectID, value: m.Value) -> None:
        """Keep a small value that holds no refs: it need not be asked for again while there is a handle."""
        if isinstance(value, m.Inline) and not value.payload.refs:
            if codec.size_of(value.payload) <= KEPT_BYTES:
                with self._lock:
                    self.handles.remember(id, value.payload)

    def kept(self, id: ObjectID) -> Payload | None:
        """A value that can be read without a request: a small one that came lately, a large one put here, or None."""
        kept = self.handles.values.get(id)
        return self.channel.reread(id) if kept is None and is_put(id) else kept

    def known_to_exist(self, refs: Sequence[ObjectRef[Any]], count: int) -> list[int]:
        """The positions of the first `count` of these that an earlier wait told of, or fewer.

        A program that takes a thousand refs one by one would otherwise ask about half a million. What exists goes on
        existing: if it is lost, it is made again. The node is told all the same, for the trace.
        """
        existing = self.handles.existing
        found: list[int] = []
        if len(existing) < count:
            return found
        for at, ref in enumerate(refs):
            if ref.id in existing:
                found.append(at)
                if len(found) == count:
                    wanted = tuple([refs[at].ref for at in found])
                    self.channel.post(m.Wait(m.NO_ANSWER, wanted, count, True))
                    break
        return found

    def what_exists(
        self, refs: Sequence[ObjectRef[Any]], count: int, timeout: float | None, task: TaskID | None
    ) -> Sequence[int]:
        """The positions of the refs that exist, at least `count` of them unless the time is up."""
        wanted = tuple([ref.ref for ref in refs])
        reply = self.ask(m.Wait(self.number(), wanted, count, timeout == 0, task), timeout)
        if reply is None:  # the time is up: ask what exists by now
            reply = self.ask(m.Wait(self.number(), wanted, count, True), None)
        assert reply is not None and isinstance(reply.notice, m.ReadyPositions), reply
        return reply.notice.positions

    # ------------------------------------------------------------ how many calls wait at an actor

    def make_room(self, actor: ObjectID, limit: int) -> None:
        """Raise PendingCallsLimitExceeded if so many calls of this process at this actor are not over yet."""
        with self._lock:
            calls = tuple(self._calls.get(actor, ()))
        if len(calls) < limit:
            return
        reply = self.ask(m.AskFinished(self.number(), calls), None)
        assert reply is not None and isinstance(reply.notice, m.ReadyPositions), reply
        with self._lock:
            for at in reply.notice.positions:
                self._calls[actor].pop(calls[at], None)
            pending = len(self._calls[actor])
        if pending >= limit:
            raise PendingCallsLimitExceeded(
                f"{pending} calls of this process wait at actor {actor} or run, and max_pending_calls={limit}: "
                "wait for some of them first."
            )

    def called(self, actor: ObjectID, task: TaskID) -> None:
        """Count a call of an actor that has a limit."""
        with self._lock:
            self._calls.setdefault(actor, {})[task] = None


class Deliveries:
    """Reads the values and errors that one process is given; its threads share it.

    A delivery gives refs and pins blocks: the reply that it comes with holds them, and has counted them.
    """

    def __init__(self, channel: Channel, handles: HandleTable) -> None:
        self.channel = channel
        self.handles = handles

    def open(self, id: ObjectID, value: m.Inline | m.Stored, pin: object | None = None) -> Payload:
        """The pickled value of a delivery: out of the message, or out of the store."""
        if isinstance(value, m.Inline):
            return value.payload
        return replace(self.channel.load(id, value, pin), refs=value.refs)

    def decode(self, id: ObjectID, payload: Payload) -> Any:
        """The value. An error that its class raises becomes a LabraySystemError: it could be a StopIteration, say."""
        try:
            return codec.decode(payload, self.handles.adopt)
        except Exception as error:
            if not codec.raises_again(codec.decode, payload, self.handles.adopt):
                raise
            what = f"{name_of(error)}: {message_of(error)}"
            raise LabraySystemError(
                f"The value of {id} exists, and cannot be unpickled here: {what}"
            ) from error

    def values(
        self, wanted: Sequence[Ref], values: Sequence[m.Value], pins: Sequence[object | None]
    ) -> list[Any]:
        """All values of a delivery, in order. If one of them cannot be read, this raises after all have been tried."""
        found: list[Any] = []
        failure: LabrayError | None = None
        for ref, value, pin in zip_longest(wanted, values, pins):
            if isinstance(value, m.Failed):
                raise self.error(value.error)
            try:
                found.append(self.decode(ref.id, self.open(ref.id, value, pin)))
            except LabraySystemError as error:
                failure = error
        if failure is not None:
            raise failure
        return found

    def error(self, error: m.ErrorInfo) -> LabrayError:
        """The exception that a delivery holds, ready to be raised."""
        return restore(error, self.handles.adopt)


LATE = 256
"""How many abandoned requests a channel remembers, as their replies may still come; each takes a few hundred bytes."""


def given_back(asked: m.ClientRequest | None, late: m.ClientReply) -> m.Unpin | m.Deallocate | None:
    """The message by which a channel returns the pins or the memory that a late reply gave, as nobody needs them.

    The refs that it gave take another way: they are counted, and dropped when the reply dies.
    """
    if isinstance(asked, m.Get) and isinstance(late, m.Values):
        pairs = zip(asked.refs, late.values, strict=False)
        pins = tuple([(ref.id, 1) for ref, value in pairs if isinstance(value, m.Stored)])
        return m.Unpin(pins) if pins else None
    if isinstance(asked, m.Allocate) and isinstance(late, m.Granted):
        return m.Deallocate(asked.id)
    return None


def refs_in(notice: m.ClientReply) -> list[Ref]:
    """The refs that a reply gives to this process."""
    if isinstance(notice, m.ActorFound):
        return [] if notice.actor is None else [notice.actor]
    found: list[Ref] = []
    for value in notice.values if isinstance(notice, m.Values) else ():
        if isinstance(value, m.Inline):
            found += value.payload.refs
        else:
            found += value.error.refs if isinstance(value, m.Failed) else value.refs
    return found
