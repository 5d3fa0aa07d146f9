"""Which method of which wing takes a message: a table of every message that a node can be sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labray import messages as m
from labray.node.wings import Wings

Handlers = dict[type, Callable[[Any, Any], None]]
"""Type of message -> what takes (sender, message)."""


def handlers(wings: Wings) -> Handlers:
    return {**from_clients(wings), **from_peers(wings), **from_world(wings)}


def from_clients(wings: Wings) -> Handlers:
    clients = wings.clients
    return {
        m.SubmitTask: wings.submission.submit,
        m.Finished: wings.reporting.finished,
        m.Get: clients.get,
        m.Wait: clients.wait,
        m.PutObject: clients.put,
        m.DropRefs: clients.drop,
        m.Pin: clients.pinned,
        m.Unpin: clients.unpinned,
        m.Abandon: wings.name_client.abandon,
        m.Allocate: wings.store.room,
        m.Deallocate: wings.store.unused,
        m.Recalled: wings.cancellation.recalled,
        m.Kill: wings.lifecycle.kill_asked,
        m.Cancel: wings.cancellation.asked,
        m.RegisterName: wings.name_client.register,
        m.LookUpName: wings.name_client.lookup,
        m.AskFinished: wings.task_table.outstanding,
    }


def from_peers(wings: Wings) -> Handlers:
    submission, locations = wings.submission, wings.locations
    objects, lifecycle = wings.objects, wings.lifecycle
    return {
        m.AssignTask: submission.assigned,
        m.TaskMoved: submission.moved,
        m.TaskDone: wings.completion.done,
        m.TaskBounced: submission.bounced,
        m.LossAckAsked: wings.acknowledgements.ask,
        m.LossAcknowledged: wings.acknowledgements.known,
        m.WatchObject: objects.watched,
        m.ObjectExists: objects.exists,
        m.PullObject: locations.pulled,
        m.ObjectMissing: locations.missing,
        m.LocationAdded: locations.location_added,
        m.FreeCopy: objects.copy_freed,
        m.EvictAsked: locations.evict_asked,
        m.EvictAnswered: wings.spilling.evict_answered,
        m.LocationLost: locations.location_lost,
        m.BorrowAdded: objects.borrowing.lent,
        m.BorrowReturned: objects.borrowing.returned,
        m.WatchActor: lifecycle.seek,
        m.ActorLocated: wings.calls.located,
        m.ActorLost: lifecycle.actor_lost,
        m.StopActor: wings.hosting.stop_actor,
        m.KillActor: lifecycle.kill_actor,
        m.CancelTask: wings.cancellation.passed_on,
        m.TasksWanted: wings.blocking.wanted,
        m.WithdrawTask: wings.cancellation.withdrawn,
        m.ReserveName: wings.registry.wanted,
        m.NameReserved: wings.name_client.given,
        m.ResolveName: wings.registry.sought,
        m.NameResolved: wings.name_client.found,
        m.NamesReported: wings.registry.told,
        m.NameReleased: wings.registry.free,
        m.DeadlockSuspected: wings.inquiry.suspected,
        m.WaitsAsked: wings.suspicion.who_waits,
        m.WaitsReported: wings.inquiry.heard,
        m.AgentMessage: wings.policy_host.hear,
    }


def from_world(wings: Wings) -> Handlers:
    return {
        m.Booted: wings.worker_starts.booted,
        m.ClientJoined: lambda s, x: wings.clients.join(x.client),
        m.ClientLost: lambda s, x: wings.clients.leave(x.client),
        m.WorkerStarted: wings.worker_starts.worker_started,
        m.WorkerLost: wings.worker_losses.worker_lost,
        m.PeerLost: wings.node_losses.node_lost,
        m.PeerJoined: wings.node_losses.node_joined,
        m.MemoryShort: wings.out_of_memory.relieve,
        m.ObjectArrived: wings.locations.arrived,
        m.ObjectSpilled: wings.spilling.spilled,
        m.ObjectRestored: wings.spilling.restored,
    }
