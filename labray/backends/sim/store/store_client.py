"""A simulated client's part of its node's store: what it has been granted, and what it stores.

Without a capacity (`object_store_memory`) nobody asks and nothing is spilled. What a modelled task makes is a
placeholder: a value of the right size in which there is nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from labray import messages as m
from labray.ids import ObjectID, TaskID, result_id
from labray.node.store.node_store import left_behind
from labray.serialization.buffers import in_place
from labray.serialization.remote_errors import restore

if TYPE_CHECKING:
    from labray.backends.sim.clients.client_costs import PagesTouched
    from labray.backends.sim.store.stored_copies import StoredCopies

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


class SimStoreClient:
    """A client's part of its node's store. idle: bytes it was granted and does not use.

    untold: what it stored and the node has not heard of. ask: puts a question to the node; None: there is no limit.
    """

    __slots__ = ("_ask_node", "_copies", "_pages", "_questions", "_writer", "idle", "untold")

    def __init__(
        self, writer: str, copies: StoredCopies, pages: PagesTouched,
        ask: Callable[[m.Allocate, int, None], m.ClientReply | None] | None,
    ) -> None:  # fmt: skip
        self._writer = writer
        self._copies = copies
        self._pages = pages
        self._ask_node = ask
        self._questions = 0
        self.idle = 0
        self.untold: list[ObjectID] = []

    def store(self, id: ObjectID, payload: m.Payload | None, sizes: tuple[int, ...], refs: Any) -> m.Stored:
        """Put it there; no payload: a modelled one. Raises what the node says if there is no room."""
        size = sum(sizes)
        if self._ask_node is not None:
            if size > self.idle:
                self.idle += self._allocate(self._ask_node, id, size)
            self.idle = max(0, self.idle - size)
        self._copies.add_block(id, None if payload is None else _frozen(payload))
        self.untold.append(id)
        return m.Stored(size, m.Block(self._writer, 0, 0, sizes), refs)

    def store_modelled(self, task: TaskID, sizes: tuple[int, ...]) -> tuple[m.Value, ...]:
        """The values of a modelled task, of these sizes. Raises what the node says if there is no room."""
        values: list[m.Value] = []
        for index, size in enumerate(sizes):
            if size <= m.INLINE_LIMIT_BYTES:
                values.append(m.Inline(placeholder(size)))
            else:
                self._pages.take_pages(size)
                values.append(self.store(result_id(task, index), None, (size,), ()))
        return tuple(values)

    def take_back(self, id: ObjectID, size: int) -> None:
        """It was stored, and the node will not hear of it."""
        self._copies.remove_block(id)
        self.freed(size, keep=True)
        self.untold = [other for other in self.untold if other != id]

    def freed(self, size: int, keep: bool) -> None:
        """A block that this client wrote is not needed any more. keep: it may write there again."""
        self._pages.free(size, keep)
        if keep:
            self.idle += size

    def told(self, messages: Iterable[Any]) -> None:
        """The node hears of what is in these."""
        said = {
            effect.id
            for message in messages
            for effect in left_behind(message)
            if type(effect) is m.FreeBlock
        }
        self.untold = [id for id in self.untold if id not in said]

    def drop_untold(self) -> None:
        """The client died: what it had stored and not told goes with it."""
        for id in self.untold:
            self._copies.remove_block(id)

    def _allocate(
        self, ask: Callable[[m.Allocate, int, None], m.ClientReply | None], id: ObjectID, size: int
    ) -> int:
        self._questions -= 1  # below zero: the questions of the process module count upwards
        more = size - self.idle
        answer = ask(m.Allocate(self._questions, id, size, more, more), self._questions, None)
        assert isinstance(answer, m.Granted)
        if answer.error is not None:
            raise restore(answer.error)
        return answer.room


def _frozen(payload: m.Payload) -> m.Payload:
    """A copy nobody can write to: what other processes will see."""
    return in_place(m.Payload(bytes(payload.data), payload.buffers, payload.refs))
