"""What one node writes to another: mostly to the owner of a task, an object or an actor, or from it."""

from __future__ import annotations

from labray.ids import ClientID, NodeID, ObjectID, TaskID
from labray.messages.values import Demand, ErrorInfo, KnownValue, Ref, TaggedValue, TaskSpec, WireValue


class AssignTask(TaggedValue, frozen=True, array_like=True, gc=False):
    """Custody of a task passes to the receiver. known: of spec.deps, in order (empty for a method).

    excused: how many of its attempts have used up no retry.
    """

    spec: TaskSpec
    attempt: int
    known: tuple[KnownValue, ...]
    hops: int
    excused: int = 0


class TaskMoved(TaggedValue, frozen=True, array_like=True, gc=False):
    """To a task's owner: it is now with `to`, after so many hops. Of two that cross, the one with more is right.

    heads: how many heads the sender knows to be lost, so which one it means by the head.
    """

    task: TaskID
    attempt: int
    to: NodeID
    hops: int
    heads: int = 0


class TaskDone(TaggedValue, frozen=True, array_like=True, gc=False):
    """To a task's owner: the attempt ended with these values (Remote: kept in the sender's store)."""

    task: TaskID
    attempt: int
    values: tuple[KnownValue, ...]
    retry: bool = False
    lost: bool = False  # the worker died under it
    seconds: float = 0.0


class TaskBounced(TaggedValue, frozen=True, array_like=True, gc=False):
    """To its owner, a task that had not begun: an actor's call whose actor is gone, or one whose argument is lost."""

    task: TaskID
    attempt: int
    hops: int


class LossAckAsked(TaggedValue, frozen=True, array_like=True, gc=False):
    """Answer LossAcknowledged once you know of this loss too. place: as `Desk.life` calls it."""

    place: NodeID


class LossAcknowledged(TaggedValue, frozen=True, array_like=True, gc=False):
    """The sender knows that this place is lost: it passes nothing on to it, and counts on nothing there."""

    place: NodeID


class WatchObject(TaggedValue, frozen=True, array_like=True, gc=False):
    """To an object's owner: answer ObjectExists once it does."""

    id: ObjectID


class ObjectExists(TaggedValue, frozen=True, array_like=True, gc=False):
    id: ObjectID
    known: KnownValue


class PullObject(TaggedValue, frozen=True, array_like=True, gc=False):
    """To a holder: send a copy of this stored object."""

    id: ObjectID


class ObjectMissing(TaggedValue, frozen=True, array_like=True, gc=False):
    """The answer to a PullObject for what is not here."""

    id: ObjectID


class LocationAdded(TaggedValue, frozen=True, array_like=True, gc=False):
    """To an object's owner: the sender now holds a copy too."""

    id: ObjectID


class FreeCopy(TaggedValue, frozen=True, array_like=True, gc=False):
    """From an object's owner: nobody needs it any more."""

    id: ObjectID


class EvictAsked(TaggedValue, frozen=True, array_like=True, gc=False):
    """To an object's owner: memory is short here; may I drop my copy? Answered by EvictAnswered."""

    id: ObjectID


class EvictAnswered(TaggedValue, frozen=True, array_like=True, gc=False):
    """granted: another place has a copy, and the owner no longer counts on the receiver's."""

    id: ObjectID
    granted: bool


class LocationLost(TaggedValue, frozen=True, array_like=True, gc=False):
    """To an object's owner: the sender has lost its copy; why."""

    id: ObjectID
    error: ErrorInfo


class BorrowAdded(TaggedValue, frozen=True, array_like=True, gc=False):
    """To an object's owner, from a place that passes its ref on: `to` will hold it (count times) as well.

    heads: how many heads the sender knows to be lost. They all have one name. From `to` itself: it is its own loan.
    """

    id: ObjectID
    to: NodeID
    heads: int = 0
    count: int = 1


class BorrowReturned(TaggedValue, frozen=True, array_like=True, gc=False):
    """To an object's owner: the sender gives back the loans it had: so many from the owner or by its own word.

    passed: those that others have passed on to it: who (`Desk.life`), and how many.
    """

    id: ObjectID
    count: int
    passed: tuple[tuple[NodeID, int], ...] = ()


class WatchActor(TaggedValue, frozen=True, array_like=True, gc=False):
    """To an actor's owner: answer ActorLocated now and at every change."""

    actor: ObjectID


class ActorLocated(TaggedValue, frozen=True, array_like=True, gc=False):
    """Where an actor lives. No place and no error: it is being (re)started."""

    actor: ObjectID
    at: NodeID | None
    error: ErrorInfo | None = None


class ActorLost(TaggedValue, frozen=True, array_like=True, gc=False):
    """To an actor's owner: its process died, or its constructor failed for good."""

    actor: ObjectID
    attempt: int
    error: ErrorInfo


class StopActor(TaggedValue, frozen=True, array_like=True, gc=False):
    """From an actor's owner to its host. error: why its callers are told it died; None: out of scope."""

    actor: ObjectID
    attempt: int
    error: ErrorInfo | None


class KillActor(TaggedValue, frozen=True, array_like=True, gc=False):
    """To an actor's owner."""

    actor: ObjectID
    no_restart: bool


class CancelTask(TaggedValue, frozen=True, array_like=True, gc=False):
    """To a task's owner."""

    task: TaskID
    force: bool
    recursive: bool


class TasksWanted(TaggedValue, frozen=True, array_like=True, gc=False):
    """From a task's owner to its custodian: blocked tasks have come to wait for these."""

    tasks: tuple[TaskID, ...]


class WithdrawTask(TaggedValue, frozen=True, array_like=True, gc=False):
    """From a task's owner to its custodian: it is cancelled."""

    task: TaskID
    attempt: int
    force: bool
    recursive: bool


class ReserveName(TaggedValue, frozen=True, array_like=True, gc=False):
    """To the head: reserve a name. Answered by NameReserved."""

    client: ClientID
    request: int
    name: str
    actor: Ref
    handle: bytes


class NameReserved(TaggedValue, frozen=True, array_like=True, gc=False):
    client: ClientID
    request: int
    accepted: bool


class ResolveName(TaggedValue, frozen=True, array_like=True, gc=False):
    """To the head. Answered by NameResolved."""

    client: ClientID
    request: int
    name: str


class NameResolved(TaggedValue, frozen=True, array_like=True, gc=False):
    client: ClientID
    request: int
    actor: Ref | None
    handle: bytes


class NamesReported(TaggedValue, frozen=True, array_like=True, gc=False):
    """To a head that has come back and knows nothing: the named actors that the sender owns."""

    names: tuple[tuple[str, Ref, bytes], ...]


class NameReleased(TaggedValue, frozen=True, array_like=True, gc=False):
    """To the head, from an actor's owner: it is dead."""

    name: str
    actor: Ref


class WaitReport(WireValue, frozen=True, array_like=True, gc=False):
    """A task that cannot go on before `count` of the tasks in `of` have. demand: it waits for room for this.

    how: in words. mark: two looks that see the same mark have seen the same wait.
    """

    task: TaskID
    name: str
    place: NodeID
    how: str
    of: tuple[str, ...]
    count: int
    mark: str
    demand: Demand = ()


class HolderReport(WireValue, frozen=True, array_like=True, gc=False):
    """Of a request that a place could meet: who has what it lacks there. free: it lacks nothing.

    keepers: actors that keep it from being met there even when all tasks have ended, in words.
    """

    demand: Demand
    free: bool
    of: tuple[str, ...]
    keepers: tuple[str, ...] = ()


class DeadlockSuspected(TaggedValue, frozen=True, array_like=True, gc=False):
    """To the head: a task here has been waiting for others for long."""


class WaitsAsked(TaggedValue, frozen=True, array_like=True, gc=False):
    """From the head to every place. Answered by WaitsReported: of the named tasks, or (if none) of those in a get."""

    number: int
    tasks: tuple[TaskID, ...]
    demands: tuple[Demand, ...]


class WaitsReported(TaggedValue, frozen=True, array_like=True, gc=False):
    number: int
    waits: tuple[WaitReport, ...]
    holders: tuple[HolderReport, ...]


class AgentMessage(TaggedValue, frozen=True, array_like=True, gc=False):
    """From one scheduler agent to another. The body is the policy's own typed word, encoded."""

    body: bytes


PeerMessage = (
    AssignTask
    | TaskMoved
    | TaskDone
    | TaskBounced
    | LossAckAsked
    | LossAcknowledged
    | WatchObject
    | ObjectExists
    | PullObject
    | ObjectMissing
    | LocationAdded
    | FreeCopy
    | EvictAsked
    | EvictAnswered
    | LocationLost
    | BorrowAdded
    | BorrowReturned
    | WatchActor
    | ActorLocated
    | ActorLost
    | StopActor
    | KillActor
    | CancelTask
    | TasksWanted
    | WithdrawTask
    | ReserveName
    | NameReserved
    | ResolveName
    | NameResolved
    | NamesReported
    | NameReleased
    | DeadlockSuspected
    | WaitsAsked
    | WaitsReported
    | AgentMessage
)
