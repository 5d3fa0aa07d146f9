"""Which copies are in the store of a simulated node, and what travels from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labray import messages as m

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labray.backends.sim.clients.simulated_client import SimClient
    from labray.backends.sim.control.daemon import Daemon
    from labray.ids import ClientID, ObjectID


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


def freed(daemon: Daemon, clients: Mapping[ClientID, SimClient], effect: m.FreeBlock) -> None:
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


def shipped(daemon: Daemon, effect: m.PushObject) -> tuple[m.Payload | None, m.Stored]:
    """What travels to another place, from memory or disk; and what it is there."""
    value = effect.value
    stored = daemon.disk.content(effect.id) if value.block.writer == m.DISK else daemon.stores[effect.id]
    return stored, m.Stored(value.size, m.Block(effect.to, 0, 0, value.block.sizes), value.refs)
