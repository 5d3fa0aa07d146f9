"""Replies that come when nobody waits for them any more: what they give has to go back to the node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labray import messages as m
from labray.client.requests import LATE, given_back, refs_in

if TYPE_CHECKING:
    from labray.client.process import Process
    from labray.client.uninterrupted import Step
    from labray.ids import NodeID


class LateReplies:
    """Of one client. replies: those that came and have not been given back."""

    __slots__ = ("_asked", "_client", "_place", "replies")

    def __init__(self, place: NodeID, client: str) -> None:
        self._place = place
        self._client = client
        self._asked: dict[int, m.ClientRequest] | None = None  # requests whose replies may still come
        self.replies: list[Any] = []

    def expect(self, request: int, asked: m.ClientRequest) -> None:
        """Nobody waits for this reply any more. If it comes all the same, what it gives goes back."""
        if type(asked) is m.Get or type(asked) is m.Allocate:
            expected = self._asked = self._asked or {}
            expected[request] = asked
            if len(expected) > LATE:
                del expected[next(iter(expected))]

    def post_returns(self, process: Process | None, outbox: list[tuple[NodeID, str, Any]]) -> bool:
        """Post what is to be said to the node for the replies that came; whether there was anything."""
        late, self.replies = self.replies, []
        said = len(outbox)
        if process is None:
            return False
        for reply in late:
            word = given_back((self._asked or {}).pop(reply.request, None), reply)
            if word is not None:
                outbox.append((self._place, self._client, word))
            process.handles.give(refs_in(reply))

        def drop(message: m.DropRefs, step: Step) -> None:
            step()
            outbox.append((self._place, self._client, message))

        process.handles.drop(drop)
        return len(outbox) > said
