"""Who opens which message: every word of messages.py that a node can be sent, and the method that takes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labray import messages as m
from labray.node.wings import Wings

Mailboxes = dict[type, Callable[[Any, Any], None]]
"""Type of message -> what takes (sender, message)."""


def mailboxes(wings: Wings) -> Mailboxes:
    return {**from_clients(wings), **from_places(wings), **from_world(wings)}


def from_clients(wings: Wings) -> Mailboxes:
    clients = wings.clients
    return {
        m.Submit: wings.custody.submit,
        m.Finished: wings.reports.finished,
        m.Get: clients.get,
        m.Wait: clients.wait,
        m.Put: clients.put,
        m.Drop: clients.drop,
        m.Pin: clients.pinned,
        m.Unpin: clients.unpinned,
        m.Abandon: wings.naming.abandon,
        m.Room: wings.storage.room,
        m.Unused: wings.storage.unused,
        m.Recalled: wings.cancels.recalled,
        m.Kill: wings.creations.kill_asked,
        m.Cancel: wings.cancels.asked,
        m.Register: wings.naming.register,
        m.Lookup: wings.naming.lookup,
        m.Outstanding: wings.table.outstanding,
    }


def from_places(wings: Wings) -> Mailboxes:
    custody, copies, objects, creations = wings.custody, wings.copies, wings.objects, wings.creations
    return {
        m.Assign: custody.assigned,
        m.Moved: custody.moved,
        m.Done: wings.endings.done,
        m.Bounced: custody.bounced,
        m.LossAsked: wings.tidings.ask,
        m.LossKnown: wings.tidings.known,
        m.Watch: objects.watched,
        m.Exists: objects.exists,
        m.Pull: copies.pulled,
        m.Missing: copies.missing,
        m.Copied: copies.copied,
        m.Evict: objects.evict,
        m.Spare: copies.spare,
        m.Spared: wings.spills.spared,
        m.Dropped: copies.dropped,
        m.Lent: objects.loans.lent,
        m.Returned: objects.loans.returned,
        m.Seek: creations.seek,
        m.Located: wings.callers.located,
        m.ActorLost: creations.actor_lost,
        m.StopActor: wings.residents.stop_actor,
        m.KillActor: creations.kill_actor,
        m.CancelTask: wings.cancels.passed_on,
        m.Wanted: wings.blocking.wanted,
        m.Withdraw: wings.cancels.withdrawn,
        m.NameWanted: wings.names.wanted,
        m.NameGiven: wings.naming.given,
        m.NameSought: wings.names.sought,
        m.NameFound: wings.naming.found,
        m.NamesHere: wings.names.told,
        m.NameFree: wings.names.free,
        m.Suspected: wings.inquiry.suspected,
        m.WhoWaits: wings.suspicion.who_waits,
        m.WaitsHere: wings.inquiry.heard,
        m.Told: wings.mind.hear,
    }


def from_world(wings: Wings) -> Mailboxes:
    return {
        m.Booted: wings.births.booted,
        m.ClientJoined: lambda s, x: wings.clients.join(x.client),
        m.ClientLost: lambda s, x: wings.clients.leave(x.client),
        m.WorkerStarted: wings.births.worker_started,
        m.WorkerLost: wings.worker_losses.worker_lost,
        m.PlaceLost: wings.place_losses.place_lost,
        m.PlaceJoined: wings.place_losses.place_joined,
        m.MemoryShort: wings.shortage.relieve,
        m.Arrived: wings.copies.arrived,
        m.Spilled: wings.spills.spilled,
        m.Restored: wings.spills.restored,
    }
