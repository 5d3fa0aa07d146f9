"""What the world tells a node (with the sender ""): who came, who is lost, and what an effect came to."""

from __future__ import annotations

from labray.ids import ClientID, NodeID, ObjectID, TaskID
from labray.messages.values import Demand, Stored, TaggedValue


class Booted(TaggedValue, frozen=True, array_like=True, gc=False):
    """The first input of a node: all places exist and can be written to."""


class ClientJoined(TaggedValue, frozen=True, array_like=True, gc=False):
    """A driver attached itself."""

    client: ClientID


class ClientLost(TaggedValue, frozen=True, array_like=True, gc=False):
    client: ClientID


class WorkerStarted(TaggedValue, frozen=True, array_like=True, gc=False):
    worker: ClientID


class WorkerLost(TaggedValue, frozen=True, array_like=True, gc=False):
    """A worker process died. begun: which tasks it had begun and not told the end of; None: all that it was sent.

    There may be more than it has slots: some had ended, and what came of them died with it.
    """

    worker: ClientID
    reason: str
    begun: tuple[TaskID, ...] | None = None


class PeerLost(TaggedValue, frozen=True, array_like=True, gc=False):
    place: NodeID


class PeerJoined(TaggedValue, frozen=True, array_like=True, gc=False):
    """A node came up, perhaps one that was lost, in a new incarnation.

    The head is called the same in every life: who hears this of it has heard of its loss before. It hears it as well.
    """

    place: NodeID
    totals: Demand


class MemoryShort(TaggedValue, frozen=True, array_like=True, gc=False):
    """There is too little memory left (text: how little): end one process. sizes: client, process id, bytes."""

    sizes: tuple[tuple[ClientID, int, int], ...]
    text: str


class ObjectArrived(TaggedValue, frozen=True, array_like=True, gc=False):
    """A pulled object is in this node's store now. source: the place that pushed it."""

    id: ObjectID
    value: Stored
    source: NodeID


class ObjectSpilled(TaggedValue, frozen=True, array_like=True, gc=False):
    """The answer to SpillObject. No value: it could not be written, and why; the copy in memory is as it was."""

    id: ObjectID
    value: Stored | None
    error: str = ""


class ObjectRestored(TaggedValue, frozen=True, array_like=True, gc=False):
    """The answer to RestoreObject. No value: why, and whether the copy on disk is lost."""

    id: ObjectID
    value: Stored | None
    error: str = ""
    lost: bool = False


class AlarmRang(TaggedValue, frozen=True, array_like=True, gc=False):
    """The time asked for by SetAlarm has come."""

    token: int


WorldEvent = (
    Booted
    | ClientJoined
    | ClientLost
    | WorkerStarted
    | WorkerLost
    | PeerLost
    | PeerJoined
    | MemoryShort
    | ObjectArrived
    | ObjectSpilled
    | ObjectRestored
    | AlarmRang
)
