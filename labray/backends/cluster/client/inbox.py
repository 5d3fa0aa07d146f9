"""What a client has read and not seen to, and who waits for what: every answer reaches its asker, or goes back.

Each notice is seen to in the step that takes it off, so it is seen to once, whoever is interrupted meanwhile.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from functools import partial
from operator import call
from typing import TYPE_CHECKING, Any

from labray.client.requests import LATE, given_back
from labray.client.runtime import Reply
from labray.client.uninterrupted import Owed, at_once, each, first
from labray.messages import Abandon, Get, Granted, Stored, Unpin, Values

if TYPE_CHECKING:
    from labray.backends.cluster.client.outbox import Outbox
    from labray.backends.cluster.client.waiter import Waiter
    from labray.client.refs import ObjectRef
    from labray.client.uninterrupted import Step
    from labray.ids import ObjectID
    from labray.messages import ClientReply

Received = Callable[["ClientReply"], "tuple[list[ObjectRef[Any]], Step | None]"]
"""Makes handles of what an answer gives, and the step that counts them."""


class Inbox:
    """on: handlers, by type, of notices that are no answers; each takes its notice off the inbox."""

    def __init__(self, outbox: Outbox, on: dict[type, Callable[..., None]]) -> None:
        self.notices: deque[Any] = deque()
        self.waiters: dict[int, Waiter] = {}  # by request, until it is answered
        self.left: deque[int] = deque()  # requests whose askers were interrupted, and have not been seen to
        self.late: deque[int] = deque()  # those that were given up; their answers may still come
        self.received: Received = lambda notice: ([], None)
        self._outbox = outbox
        self._on = on

    def see_to_all(self) -> None:
        """Handle all notices that were read. The caller has the baton."""
        notices = self.notices
        while notices:
            try:
                notice = notices[0]
                self._on.get(type(notice), self._answer)(notice)
            except LookupError:  # a signal handler called labray, and has seen to it
                continue

    def off(self, notice: ClientReply) -> Step:
        """The step that takes a notice out of the inbox, when it has been seen to."""
        return each(call, (first(self.notices, notice), self.notices.popleft))

    def _answer(self, notice: ClientReply) -> None:
        """Give an answer to its asker; if nobody asks any more, what it gave goes back when its handles die."""
        request: int = notice.request  # type: ignore[union-attr]
        waiter = self.waiters.get(request)
        handles, counted = self.received(notice)
        if waiter is None:  # given up so long ago that it is forgotten
            at_once(first(self.notices, notice), self.notices.popleft, *((counted,) if counted else ()))
            return
        steps: tuple[Step, ...] = (counted,) if counted is not None else ()
        answer = Reply(notice, handles)
        if type(notice) is Values and type(waiter.asked) is Get:
            owed = self._pins(waiter.asked, notice)
            if owed:
                answer.pins = [pin for pin, _ in owed]
                steps += tuple([step for _, step in owed if step is not None])
        elif type(notice) is Granted and (request in self.left or request in self.late):
            steps += self._returned(waiter.asked, notice)
        off = (
            partial(self.waiters.pop, request),
            self.notices.popleft,
        )  # the first fails if it is done already
        with contextlib.suppress(RuntimeError):
            at_once(*off, *steps, partial(setattr, waiter, "answer", answer), waiter.woken)

    def _pins(self, asked: Get, notice: Values) -> list[tuple[Owed | None, Step | None]]:
        """For each value in the store, the Unpin that is owed when nobody looks at it any more."""
        if Stored not in [type(value) for value in notice.values]:
            return []
        owed: list[tuple[Owed | None, Step | None]] = []
        for ref, value in zip(asked.refs, notice.values, strict=False):
            pin = Owed() if type(value) is Stored else None
            owed.append((pin, None if pin is None else pin.arm(*self.unpinning(ref.id))))
        return owed

    def unpinning(self, id: ObjectID) -> tuple[Step, ...]:
        """The steps that tell the node that one view on an object is gone."""
        return partial(self._outbox.messages.append, Unpin(((id, 1),))), self._outbox.ring

    def _returned(self, asked: Any, late: ClientReply) -> tuple[Step, ...]:
        """The steps that give back room which nobody will use. (A late pin is given back by what holds it.)"""
        word = given_back(asked, late)
        return () if word is None else (partial(self._outbox.messages.append, word), self._outbox.ring)

    def see_to_those_who_left(self) -> None:
        """Abandon the requests of askers that were interrupted, so that the node does not go on serving them."""
        if not self.left and len(self.late) <= LATE:
            return
        while self.left:
            try:
                request = self.left[0]
                step = first(self.left, request)
                if request in self.waiters:
                    gone = partial(self._outbox.messages.append, Abandon(request))
                    at_once(step, gone, partial(self.late.append, request), self.left.popleft)
                else:
                    at_once(step, self.left.popleft)
            except LookupError:  # a signal handler called labray, and has seen to it
                continue
        while len(self.late) > LATE:
            with contextlib.suppress(LookupError):
                self.waiters.pop(self.late.popleft(), None)
