"""A simulated client's part of its node's store: what it has been granted, and what it stores.

Without a capacity (`object_store_memory`) nobody asks and nothing is spilled. What a modelled task makes is a
placeholder: a value of the right size in which there is nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from labray import messages as m
from labray.backends.sim.store.stored_copies import placed, removed
from labray.ids import ObjectID
from labray.node.store.node_store import left_behind
from labray.serialization.buffers import in_place
from labray.serialization.remote_errors import restore

if TYPE_CHECKING:
    from labray.backends.sim.clients.simulated_client import SimClient

NOTHING = m.Payload(b"\x80\x05N.")
"""None, pickled: what a modelled value is when somebody looks."""


@lru_cache(maxsize=1024)
def small_values(sizes: tuple[int, ...]) -> tuple[m.Value, ...] | None:
    """What a modelled task makes, if all of it travels inside messages: the same for all that make the like."""
    if any(size > m.INLINE_LIMIT_BYTES for size in sizes):
        return None
    return tuple(m.Inline(placeholder(size)) for size in sizes)


@lru_cache(maxsize=1024)
def placeholder(size: int) -> m.Payload:
    """A value of this size in which there is nothing."""
    return m.Payload(NOTHING.data, (bytes(max(0, size - len(NOTHING.data))),)) if size > 64 else NOTHING


class StoreClient:
    """A client's part of its node's store. idle: bytes it was granted and does not use."""

    __slots__ = ("_client", "_limited", "_questions", "idle")

    def __init__(self, client: SimClient, limited: bool) -> None:
        self._client = client
        self._limited = limited
        self._questions = 0
        self.idle = 0

    def store(self, id: ObjectID, payload: m.Payload | None, sizes: tuple[int, ...], refs: Any) -> m.Stored:
        """Put it there; no payload: a modelled one. Raises what the node says if there is no room."""
        client, size = self._client, sum(sizes)
        if self._limited:
            if size > self.idle:
                self.idle += self._ask(id, size, size - self.idle)
            self.idle = max(0, self.idle - size)
        placed(client.daemon, id, None if payload is None else _frozen(payload))
        client.unsaid.append(id)
        return m.Stored(size, m.Block(client.client, 0, 0, sizes), refs)

    def take_back(self, id: ObjectID, size: int) -> None:
        """Stored, and not told."""
        client = self._client
        removed(client.daemon, id)
        client.charges.pages.free(size, keep=True)
        client.unsaid = [other for other in client.unsaid if other != id]
        self.idle += size

    def told(self, messages: Iterable[Any]) -> None:
        """The node hears of what is in these."""
        said = {
            effect.id
            for message in messages
            for effect in left_behind(message)
            if type(effect) is m.FreeBlock
        }
        self._client.unsaid = [id for id in self._client.unsaid if id not in said]

    def lost(self) -> None:
        """The client died: what it had stored and not told goes with it."""
        for id in self._client.unsaid:
            removed(self._client.daemon, id)

    def _ask(self, id: ObjectID, size: int, more: int) -> int:
        self._questions -= 1  # below zero: the questions of the process module count upwards
        answer = self._client.ask(m.Allocate(self._questions, id, size, more, more), self._questions, None)
        assert isinstance(answer, m.Granted)
        if answer.error is not None:
            raise restore(answer.error)
        return answer.room


def _frozen(payload: m.Payload) -> m.Payload:
    """A copy nobody can write to: what other processes will see."""
    return in_place(m.Payload(bytes(payload.data), payload.buffers, payload.refs))
