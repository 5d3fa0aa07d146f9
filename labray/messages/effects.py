"""What a node asks of the world. Each world obeys every one of them (labray/backends/contract.py)."""

from __future__ import annotations

from typing import Any

from labray.ids import ClientID, NodeID, ObjectID
from labray.messages.values import Stored, TaggedValue


class Send(TaggedValue, frozen=True, array_like=True, gc=False):
    """Deliver to a place or a client of this node; between two ends, once and in order."""

    to: NodeID | ClientID
    message: Any


class StartWorker(TaggedValue, frozen=True, array_like=True, gc=False):
    """Start a worker process. The world answers WorkerStarted, or WorkerLost with the reason."""

    worker: ClientID


class StopWorker(TaggedValue, frozen=True, array_like=True, gc=False):
    """End a worker process; with force, at once, else when what it has left for its end is done.

    The node has already forgotten it: no WorkerLost is wanted.
    """

    worker: ClientID
    force: bool = False


class KillWorker(TaggedValue, frozen=True, array_like=True, gc=False):
    """Kill a worker process. It stays in the node's books until WorkerLost says what it had begun."""

    worker: ClientID


class PushObject(TaggedValue, frozen=True, array_like=True, gc=False):
    """Copy a stored object to another place's store; the world there says ObjectArrived."""

    id: ObjectID
    value: Stored
    to: NodeID


class FreeBlock(TaggedValue, frozen=True, array_like=True, gc=False):
    """Nobody needs this copy, in memory or on disk (block.writer is DISK), and no view is on it.

    keep: whoever wrote it may use its memory again; else that goes back to the system.
    """

    id: ObjectID
    value: Stored
    keep: bool = True


class SpillObject(TaggedValue, frozen=True, array_like=True, gc=False):
    """Write a copy of this stored object to disk; the world answers ObjectSpilled."""

    id: ObjectID
    value: Stored


class RestoreObject(TaggedValue, frozen=True, array_like=True, gc=False):
    """Read a spilled object back into memory; the world answers ObjectRestored. The copy on disk stays."""

    id: ObjectID
    value: Stored


class SetAlarm(TaggedValue, frozen=True, array_like=True, gc=False):
    """Say AlarmRang(token) after so many seconds."""

    after: float
    token: int


class WarnUser(TaggedValue, frozen=True, array_like=True, gc=False):
    """Show this to the user, once."""

    text: str


Effect = (
    Send
    | StartWorker
    | StopWorker
    | KillWorker
    | PushObject
    | FreeBlock
    | SpillObject
    | RestoreObject
    | SetAlarm
    | WarnUser
)
