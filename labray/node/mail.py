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
        m.Put: clients.put,
        m.Drop: clients.drop,
        m.Pin: clients.pinned,
        m.Unpin: clients.unpinned,
        m.Abandon: node.abandon,
        m.Room: node.storage.room,
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
        m.Watch: objects.watched,
        m.Exists: objects.exists,
        m.Pull: node.copies.pulled,
        m.Missing: node.copies.missing,
        m.Copied: node.copies.copied,
        m.Evict: objects.evict,
        m.Spare: node.copies.spare,
        m.Spared: node.spills.spared,
        m.Dropped: node.copies.dropped,
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
        m.ClientJoined: node.clients.joined,
        m.ClientLost: node.clients.lost,
        m.WorkerStarted: node.worker_started,
        m.WorkerLost: node.worker_lost,
        m.PlaceLost: node.place_lost,
        m.PlaceJoined: node.place_joined,
        m.MemoryShort: lambda s, x: node.shortage.relieve(x),
        m.Arrived: node.copies.arrived,
        m.Spilled: node.spills.spilled,
        m.Restored: node.spills.restored,
        m.Woke: node.woke,
    }
