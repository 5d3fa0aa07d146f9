"""Simulated stores with a capacity: what a client has been granted, and a disk that takes its time.

What a modelled task makes is a placeholder: a value of the right size in which there is nothing.

Without a capacity (`object_store_memory`) nobody asks and nothing is spilled.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from labray import messages as m
from labray.buffers import in_place
from labray.ids import ObjectID, Place
from labray.node.storage import left_behind
from labray.serialization.remote_errors import restore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labray.backends.sim.agenda import Agenda
    from labray.backends.sim.clients import Client
    from labray.backends.sim.daemon import Daemon
    from labray.ids import ClientID


class Shelf:
    """A client's part of its node's store. idle: bytes it was granted and does not use."""

    __slots__ = ("_client", "_limited", "_questions", "idle")

    def __init__(self, client: Client, limited: bool) -> None:
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
            effect.id for message in messages for effect in left_behind(message) if type(effect) is m.Free
        }
        self._client.unsaid = [id for id in self._client.unsaid if id not in said]

    def lost(self) -> None:
        """The client died: what it had stored and not told goes with it."""
        for id in self._client.unsaid:
            removed(self._client.daemon, id)

    def _ask(self, id: ObjectID, size: int, more: int) -> int:
        self._questions -= 1  # below zero: the questions of the process module count upwards
        answer = self._client.ask(m.Room(self._questions, id, size, more, more), self._questions, None)
        assert isinstance(answer, m.Granted)
        if answer.error is not None:
            raise restore(answer.error)
        return answer.room


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


def _frozen(payload: m.Payload) -> m.Payload:
    """A copy nobody can write to: what other processes will see."""
    return in_place(m.Payload(bytes(payload.data), payload.buffers, payload.refs))


class Disk:
    """Of one node: files are written and read one after the other, at so many bytes per second."""

    def __init__(self, agenda: Agenda, daemon: Daemon, speed_Bps: float) -> None:
        self._agenda = agenda
        self._daemon = daemon
        self._speed_Bps = speed_Bps
        self._free_at = 0.0
        self.files: dict[ObjectID, m.Payload | None] = {}

    def spill(self, place: Place, effect: m.Spill) -> None:
        value = effect.value

        def written() -> m.Spilled:
            self.files[effect.id] = self._daemon.stores[effect.id]
            block = m.Block(m.DISK, 0, 0, value.block.sizes)
            return m.Spilled(effect.id, m.Stored(value.size, block, value.refs))

        self._do(place, value.size, written)

    def restore(self, place: Place, effect: m.Restore) -> None:
        value = effect.value

        def read() -> m.Restored:
            placed(self._daemon, effect.id, self.files[effect.id])
            return m.Restored(
                effect.id, m.Stored(value.size, m.Block(place, 0, 0, value.block.sizes), value.refs)
            )

        self._do(place, value.size, read)

    def _do(self, place: Place, size: int, done: Any) -> None:
        agenda = self._agenda
        self._free_at = max(self._free_at, agenda.now) + size / self._speed_Bps
        agenda.live += 1

        def end(moment: Any) -> None:
            agenda.live -= 1
            if not self._daemon.dead:
                self._daemon.receive([(place, "", done())])

        agenda.after(self._free_at - agenda.now, end)

    def content(self, id: ObjectID) -> m.Payload | None:
        """What is in an object's file."""
        return self.files[id]

    def delete(self, id: ObjectID) -> None:
        del self.files[id]


def placed(daemon: Daemon, id: ObjectID, payload: m.Payload | None) -> None:
    """One more block of an object is in the store: of attempts that were given up there may be others."""
    if id in daemon.stores:
        daemon.twice[id] = daemon.twice.get(id, 0) + 1
    daemon.stores[id] = payload


def removed(daemon: Daemon, id: ObjectID) -> None:
    """One block of an object leaves the store; what it holds stays while there is another."""
    left = daemon.twice.pop(id, 0)
    if left > 1:
        daemon.twice[id] = left - 1
    elif not left:
        daemon.stores.pop(id, None)


def freed(daemon: Daemon, clients: Mapping[ClientID, Client], effect: m.Free) -> None:
    """A copy is not needed any more; who wrote it may keep its memory."""
    writer = effect.value.block.writer
    if writer == m.DISK:
        daemon.disk.delete(effect.id)
        return
    removed(daemon, effect.id)
    client = clients.get(writer)  # type: ignore[call-overload]
    if client is not None:
        client.charges.pages.free(effect.value.size, effect.keep)
        if effect.keep:
            client.shelf.idle += effect.value.size


def shipped(daemon: Daemon, effect: m.Push) -> tuple[m.Payload | None, m.Stored]:
    """What travels to another place, from memory or disk; and what it is there."""
    value = effect.value
    stored = daemon.disk.content(effect.id) if value.block.writer == m.DISK else daemon.stores[effect.id]
    return stored, m.Stored(value.size, m.Block(effect.to, 0, 0, value.block.sizes), value.refs)
