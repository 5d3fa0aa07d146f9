"""What a process asks its node, what it stops waiting for, and the answers that come too late.

The same in every world. It remembers what earlier answers told of, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import count
from typing import Any

from labray import messages as m
from labray.client.refs import KEPT_BYTES, HandleTable, ObjectRef
from labray.client.runtime import Channel, Reply
from labray.errors import PendingCallsLimitExceeded
from labray.ids import ObjectID, TaskID, is_put
from labray.messages import Payload, Ref
from labray.serialization import codec

AnsweredRequest = m.Get | m.Wait | m.RegisterName | m.LookUpName | m.Cancel | m.AskFinished


class Requests:
    """Of one process; its threads share them. lock: the process's."""

    def __init__(self, channel: Channel, handles: HandleTable, lock: AbstractContextManager[object]) -> None:
        self.channel = channel
        self.handles = handles
        self._lock = lock
        self._numbers = count(1)
        self._calls: dict[
            ObjectID, dict[TaskID, None]
        ] = {}  # by actor with a limit: those not known to be over

    def number(self) -> int:
        """For the next question."""
        return next(self._numbers)

    def ask(self, message: AnsweredRequest, timeout: float | None) -> Reply | None:
        """The answer; None if the time is up, or with timeout 0 whatever there is."""
        try:
            reply = self.channel.ask(message, message.request, None if timeout == 0 else timeout)
        except BaseException:  # interrupted: the answer will find nobody
            self.abandon(message)
            raise
        if reply is None:
            self.abandon(message)
        elif not isinstance(reply, Reply):
            return Reply(reply, self.handles.give(refs_in(reply)))
        return reply

    def abandon(self, message: AnsweredRequest) -> None:
        """Whoever asked has gone on."""
        self.channel.post(m.Abandon(message.request))

    # ------------------------------------------------------------ what exists

    def remember(self, id: ObjectID, value: m.Value) -> None:
        """Small ones that contain nothing: they need not be asked for again while there is a handle."""
        if isinstance(value, m.Inline) and not value.payload.refs:
            if codec.size_of(value.payload) <= KEPT_BYTES:
                with self._lock:
                    self.handles.remember(id, value.payload)

    def kept(self, id: ObjectID) -> Payload | None:
        """What can be read unasked: small values that came lately, and large ones that this process put itself."""
        kept = self.handles.values.get(id)
        return self.channel.reread(id) if kept is None and is_put(id) else kept

    def known_to_exist(self, refs: Sequence[ObjectRef[Any]], count: int) -> list[int]:
        """The positions of the first `count` of these that an earlier wait told of, or fewer.

        Who takes a thousand refs one by one would otherwise ask of half a million. What exists goes on existing: if
        it is lost, it is made again. The node is told all the same, for the trace.
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
        """The positions of those that exist, at least `count` unless the time is up."""
        wanted = tuple([ref.ref for ref in refs])
        reply = self.ask(m.Wait(self.number(), wanted, count, timeout == 0, task), timeout)
        if reply is None:  # what is there by now
            reply = self.ask(m.Wait(self.number(), wanted, count, True), None)
        assert reply is not None and isinstance(reply.notice, m.ReadyPositions), reply
        return reply.notice.positions

    # ------------------------------------------------------------ how much waits at an actor

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
            left = len(self._calls[actor])
        if left >= limit:
            raise PendingCallsLimitExceeded(
                f"{left} calls of this process wait at actor {actor} or run, and max_pending_calls={limit}: "
                "wait for some of them first."
            )

    def called(self, actor: ObjectID, task: TaskID) -> None:
        """A call was made at an actor with a limit."""
        with self._lock:
            self._calls.setdefault(actor, {})[task] = None


LATE = 256
"""Questions given up whose answers may still come; each is a few hundred bytes. A channel remembers so many."""


def given_back(asked: m.ClientRequest | None, late: m.ClientReply) -> m.Unpin | m.Deallocate | None:
    """What a channel says of an answer that nobody waits for any more: the pins or the room it gave are not needed.

    The refs that it gave go another way: they are counted, and dropped when the answer dies.
    """
    if isinstance(asked, m.Get) and isinstance(late, m.Values):
        pairs = zip(asked.refs, late.values, strict=False)
        pins = tuple([(ref.id, 1) for ref, value in pairs if isinstance(value, m.Stored)])
        return m.Unpin(pins) if pins else None
    if isinstance(asked, m.Allocate) and isinstance(late, m.Granted):
        return m.Deallocate(asked.id)
    return None


def refs_in(notice: m.ClientReply) -> list[Ref]:
    """What an answer gives."""
    if isinstance(notice, m.ActorFound):
        return [] if notice.actor is None else [notice.actor]
    found: list[Ref] = []
    for value in notice.values if isinstance(notice, m.Values) else ():
        if isinstance(value, m.Inline):
            found += value.payload.refs
        else:
            found += value.error.refs if isinstance(value, m.Failed) else value.refs
    return found
