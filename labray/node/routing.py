"""Which method of which wing takes a message: a table of every message that a node can be sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labray import messages as m
from labray.node.wings import Wings

Handlers = dict[type, Callable[[Any, Any], None]]
"""Type of message -> what takes (sender, message)."""


def handlers(wings: Wings) -> Handlers:
    return {**from_clients(wings), **from_places(wings), **from_world(wings)}


def from_clients(wings: Wings) -> Handlers:
    clients = wings.clients
    return {
        m.SubmitTask: wings.custody.submit,
        m.Finished: wings.reports.finished,
        m.Get: clients.get,
        m.Wait: clients.wait,
        m.PutObject: clients.put,
        m.DropRefs: clients.drop,
        m.Pin: clients.pinned,
        m.Unpin: clients.unpinned,
        m.Abandon: wings.naming.abandon,
        m.Allocate: wings.storage.room,
        m.Deallocate: wings.storage.unused,
        m.Recalled: wings.cancels.recalled,
        m.Kill: wings.creations.kill_asked,
        m.Cancel: wings.cancels.asked,
        m.RegisterName: wings.naming.register,
        m.LookUpName: wings.naming.lookup,
        m.AskFinished: wings.table.outstanding,
    }


def from_places(wings: Wings) -> Handlers:
    custody, copies, objects, creations = wings.custody, wings.copies, wings.objects, wings.creations
    return {
        m.AssignTask: custody.assigned,
        m.TaskMoved: custody.moved,
        m.TaskDone: wings.endings.done,
        m.TaskBounced: custody.bounced,
        m.LossAckAsked: wings.tidings.ask,
        m.LossAcknowledged: wings.tidings.known,
        m.WatchObject: objects.watched,
        m.ObjectExists: objects.exists,
        m.PullObject: copies.pulled,
        m.ObjectMissing: copies.missing,
        m.LocationAdded: copies.copied,
        m.FreeCopy: objects.evict,
        m.EvictAsked: copies.spare,
        m.EvictAnswered: wings.spills.spared,
        m.LocationLost: copies.dropped,
        m.BorrowAdded: objects.loans.lent,
        m.BorrowReturned: objects.loans.returned,
        m.WatchActor: creations.seek,
        m.ActorLocated: wings.callers.located,
        m.ActorLost: creations.actor_lost,
        m.StopActor: wings.residents.stop_actor,
        m.KillActor: creations.kill_actor,
        m.CancelTask: wings.cancels.passed_on,
        m.TasksWanted: wings.blocking.wanted,
        m.WithdrawTask: wings.cancels.withdrawn,
        m.ReserveName: wings.names.wanted,
        m.NameReserved: wings.naming.given,
        m.ResolveName: wings.names.sought,
        m.NameResolved: wings.naming.found,
        m.NamesReported: wings.names.told,
        m.NameReleased: wings.names.free,
        m.DeadlockSuspected: wings.inquiry.suspected,
        m.WaitsAsked: wings.suspicion.who_waits,
        m.WaitsReported: wings.inquiry.heard,
        m.AgentMessage: wings.mind.hear,
    }


def from_world(wings: Wings) -> Handlers:
    return {
        m.Booted: wings.births.booted,
        m.ClientJoined: lambda s, x: wings.clients.join(x.client),
        m.ClientLost: lambda s, x: wings.clients.leave(x.client),
        m.WorkerStarted: wings.births.worker_started,
        m.WorkerLost: wings.worker_losses.worker_lost,
        m.PeerLost: wings.place_losses.place_lost,
        m.PeerJoined: wings.place_losses.place_joined,
        m.MemoryShort: wings.shortage.relieve,
        m.ObjectArrived: wings.copies.arrived,
        m.ObjectSpilled: wings.spills.spilled,
        m.ObjectRestored: wings.spills.restored,
    }
