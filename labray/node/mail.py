"""Who opens which message: every word of messages.py that a node can be sent, and the part that takes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labray import messages as m
from labray.node.recalls import recalled
from labray.node.waits import over
from labray.node.wanted import wanted

if TYPE_CHECKING:
    from labray.node.node import Node

Mailboxes = dict[type, Callable[[Any, Any], None]]
"""Type of message -> what takes (sender, message)."""


def mailboxes(node: Node) -> Mailboxes:
    return {**from_clients(node), **from_places(node), **from_world(node)}


def from_clients(node: Node) -> Mailboxes:
    custody, endings, clients = node.custody, node.endings, node.clients
    return {
        m.Submit: lambda s, x: custody.submit(s, x.spec),
        m.Finished: endings.finished,
        m.Get: clients.get,
        m.Wait: clients.wait,
        m.Put: node.put,
        m.Drop: lambda s, x: clients.drop(s, x.ids),
        m.Pin: lambda s, x: clients.pinned(s, x.ids),
        m.Unpin: lambda s, x: clients.unpin(s, x.ids),
        m.Abandon: node.abandon,
        m.Room: node.storage.asked,
        m.Unused: lambda s, x: node.storage.unused(s, x.id),
        m.Recalled: lambda s, x: recalled(node, s, x),
        m.Kill: node.kill,
        m.Cancel: node.cancels.asked,
        m.Register: node.naming.register,
        m.Lookup: node.naming.lookup,
        m.Outstanding: lambda s, x: node.desk.send(s, m.Ready(x.request, over(node, x.tasks))),
    }


def from_places(node: Node) -> Mailboxes:
    custody, endings, objects, callers = node.custody, node.endings, node.objects, node.callers
    return {
        m.Assign: custody.assigned,
        m.Moved: custody.moved,
        m.Done: endings.done,
        m.Bounced: lambda s, x: endings.bounced(x),
        m.LossAsked: node.tidings.ask,
        m.LossKnown: node.tidings.known,
        m.Watch: lambda s, x: objects.watched(m.Ref(x.id, node.place), s),
        m.Exists: lambda s, x: objects.exists(s, x.id, x.known),
        m.Pull: lambda s, x: objects.copies.pulled(x.id, s),
        m.Missing: lambda s, x: objects.copies.missing(x.id, s),
        m.Copied: lambda s, x: objects.copies.copied(x.id, s),
        m.Evict: lambda s, x: objects.copies.evict(x.id),
        m.Spare: lambda s, x: node.storage.spills.spare(x.id, s),
        m.Spared: lambda s, x: node.storage.spills.spared(x, s),
        m.Dropped: lambda s, x: node.storage.spills.dropped(x, s),
        m.Lent: objects.loans.lent,
        m.Returned: objects.loans.returned,
        m.Seek: lambda s, x: callers.sought(x.actor, s),
        m.Located: lambda s, x: callers.located(x),
        m.ActorLost: lambda s, x: node.creations.settle(x.actor, callers.died(x.actor, x.attempt, x.error)),
        m.StopActor: lambda s, x: node.residents.stop(x.actor, x.attempt, x.error),
        m.KillActor: lambda s, x: node.creations.settle(x.actor, callers.kill(x.actor, x.no_restart)),
        m.CancelTask: node.cancels.passed_on,
        m.Wanted: lambda s, x: wanted(node, x),
        m.Withdraw: node.cancels.withdrawn,
        m.NameWanted: lambda s, x: node.names.wanted(s, x),
        m.NameGiven: lambda s, x: node.naming.given(x),
        m.NameSought: lambda s, x: node.names.sought(s, x),
        m.NameFound: node.naming.found,
        m.NamesHere: node.names.told,
        m.NameFree: lambda s, x: node.names.free(x),
        m.Suspected: lambda s, x: node.inquiry.suspected(),
        m.WhoWaits: lambda s, x: node.desk.send(s, node.suspicion.asked(x)),
        m.WaitsHere: node.inquiry.heard,
        m.Told: lambda s, x: node.mind.hear(s, x),
    }


def from_world(node: Node) -> Mailboxes:
    return {
        m.Booted: node.booted,
        m.ClientJoined: lambda s, x: node.clients.join(x.client),
        m.ClientLost: lambda s, x: node.clients.leave(x.client),
        m.WorkerStarted: node.worker_started,
        m.WorkerLost: node.worker_lost,
        m.PlaceLost: node.place_lost,
        m.PlaceJoined: node.place_joined,
        m.MemoryShort: lambda s, x: node.shortage.relieve(x),
        m.Arrived: lambda s, x: node.objects.copies.arrived(x.id, x.value, x.source),
        m.Spilled: lambda s, x: node.storage.spills.spilled(x),
        m.Restored: lambda s, x: node.storage.spills.restored(x),
        m.Woke: node.woke,
    }
