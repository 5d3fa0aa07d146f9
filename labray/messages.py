"""Every value that crosses a seam between processes, places or floors.

They are the vocabulary, the wire format and the input check at once: a daemon decodes with validation and
never unpickles. Functions, arguments and results travel as opaque bytes that only drivers and workers open.

    Call     client -> its node      Notice   node -> its client
    Letter   place  -> place         News     the world -> a node
    Effect   node   -> the world     (what the world must now do)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from labray.ids import ClientID, ObjectID, Place, TaskID
from labray.strategies import DEFAULT, Strategy

INLINE_LIMIT_BYTES = 100 * 1024
"""Values up to this size travel inside messages; larger ones live in a node's store and move by pull."""

UNIT = 10_000
"""Resources are counted in integers of 1e-4, so that 0.1 + 0.2 is 0.3."""

Demand = tuple[tuple[str, int], ...]
ONE_CPU: Demand = (("CPU", UNIT),)
"""What a task asks for unless it says otherwise."""
"""Resource name and amount in 1e-4, sorted by name, no zeros. Hashable: it is the shape of a request."""


class Word(Struct, frozen=True, array_like=True, gc=False):
    """A value. Compared by content, immutable, cheap (0.1 us to build)."""


class Tagged(Word, frozen=True, array_like=True, tag=True, gc=False):
    """A value that is one of several kinds on a wire."""


# ---------------------------------------------------------------- values


class Ref(Word, frozen=True, array_like=True, gc=False):
    """An object and the place that owns it (knows where it is, and when it may go)."""

    id: ObjectID
    owner: Place


if TYPE_CHECKING:
    Octets = bytes | memoryview  # in a process that pickled them, or reads them where they lie
else:
    Octets = bytes  # on a wire


class Payload(Word, frozen=True, array_like=True, gc=False):
    """A pickled value: the pickle, its out-of-band buffers, and the refs inside it.

    The refs are listed so that a node which never opens the bytes still knows what they hold.
    """

    data: Octets
    buffers: tuple[Octets, ...] = ()
    refs: tuple[Ref, ...] = ()


DISK = "disk"
"""The writer of a block that lies on disk."""


class Block(Word, frozen=True, array_like=True, gc=False):
    """Where a stored payload lies in its node's store: the client or place that wrote it, or DISK.

    Only the world reads the rest.
    """

    writer: str
    segment: int
    offset: int
    sizes: tuple[int, ...]


class ErrorInfo(Word, frozen=True, array_like=True, gc=False):
    """An error that can be told even where it cannot be unpickled.

    kind: task (the user's code raised), worker_crashed, actor_died, actor_unavailable, object_lost,
    owner_died, cancelled, unschedulable, out_of_memory, store_full, out_of_disk, system.
    pickled, refs: the exception, and the refs inside; of a task only. through: the first task that it was an argument
    of and that therefore never ran; of the other kinds only.
    """

    kind: str
    message: str
    type_name: str = ""
    traceback: str = ""
    pickled: bytes = b""
    refs: tuple[Ref, ...] = ()
    through: str = ""


class Inline(Tagged, frozen=True, array_like=True, gc=False):
    payload: Payload


class Stored(Tagged, frozen=True, array_like=True, gc=False):
    """A value in the store of the node that says so."""

    size: int
    block: Block
    refs: tuple[Ref, ...] = ()


class Failed(Tagged, frozen=True, array_like=True, gc=False):
    error: ErrorInfo


class Remote(Tagged, frozen=True, array_like=True, gc=False):
    """A value that exists in the stores of other places. The first is the one to ask."""

    size: int
    places: tuple[Place, ...]
    refs: tuple[Ref, ...] = ()


Value = Inline | Stored | Failed
Known = Inline | Failed | Remote
"""What a place can tell another of an object."""


class Spec(Word, frozen=True, array_like=True, gc=False):
    """A submitted task, actor creation or actor call; the same from submission to its last attempt."""

    id: TaskID
    kind: Literal["task", "actor", "method"]
    name: str  # for people: the qualified name of the function, class or method
    parent: TaskID
    owner: Place
    function: Ref | None  # the exported function or class; None for a method
    args: Payload
    deps: tuple[Ref, ...] = ()  # top-level refs among the arguments: resolved before it starts
    returns: int = 1
    demand: Demand = ONE_CPU
    lifetime: Demand = ()  # what an actor holds once its constructor is done
    actor: Ref | None = None  # for a method: the actor, named by its creation's result
    method: str = ""
    retries: int = 0  # after a lost worker or node; -1 for ever. For an actor: restarts
    retry_on: Payload | None = None  # the exception types that use up a retry; opened by the worker
    actor_name: str = ""
    strategy: Strategy = DEFAULT
    cost: float | None = None  # declared CPU seconds at speed 1
    model: tuple[int, ...] | None = None  # a modelled task: sizes of its results; the body does not run
    slots: int = 1  # of an actor: how many of its calls run at once


# ---------------------------------------------------------------- Call: client -> its node


class Submit(Tagged, frozen=True, array_like=True, gc=False):
    spec: Spec


class Put(Tagged, frozen=True, array_like=True, gc=False):
    """Store a value under a new id. A function is never freed."""

    id: ObjectID
    value: Inline | Stored
    parent: TaskID
    function: bool = False


class Get(Tagged, frozen=True, array_like=True, gc=False):
    """Answered by Values when all exist or one has failed; at once, perhaps with nothing, if poll.

    task: what runs there and cannot go on, as its main thread asks; a normal task's CPU is free meanwhile.
    """

    request: int
    refs: tuple[Ref, ...]
    poll: bool = False
    task: TaskID | None = None


NO_ANSWER = 0
"""The request number of a question whose answer is known: it is said for the trace."""


class Wait(Tagged, frozen=True, array_like=True, gc=False):
    """Answered by Ready when at least `count` exist (failed ones count); at once if poll; not if NO_ANSWER."""

    request: int
    refs: tuple[Ref, ...]
    count: int
    poll: bool = False
    task: TaskID | None = None


class Abandon(Tagged, frozen=True, array_like=True, gc=False):
    """The client no longer waits for this request; an answer under way is ignored."""

    request: int


class Drop(Tagged, frozen=True, array_like=True, gc=False):
    """The client holds no handle of these any more, and had been given each of them n times."""

    ids: tuple[tuple[ObjectID, int], ...]


class Pin(Tagged, frozen=True, array_like=True, gc=False):
    """The client views these stored objects, which it put itself, without having been given them by Values."""

    ids: tuple[ObjectID, ...]


class Unpin(Tagged, frozen=True, array_like=True, gc=False):
    """No view on these stored objects is left in the client (each was delivered n times)."""

    ids: tuple[tuple[ObjectID, int], ...]


class Room(Tagged, frozen=True, array_like=True, gc=False):
    """May I write an object of this size into the store? Answered by Granted, perhaps after others have made way.

    more: by how many bytes the memory that this client has been granted must grow; most: what it would like.
    """

    request: int
    id: ObjectID
    size: int
    more: int
    most: int


class Unused(Tagged, frozen=True, array_like=True, gc=False):
    """The room granted for this object will not be used after all."""

    id: ObjectID


class Kill(Tagged, frozen=True, array_like=True, gc=False):
    actor: Ref
    no_restart: bool = True


class Cancel(Tagged, frozen=True, array_like=True, gc=False):
    """Take a task back. Answered by Registered; refused is only force on an actor's call."""

    request: int
    ref: Ref
    force: bool
    recursive: bool


class Register(Tagged, frozen=True, array_like=True, gc=False):
    """Reserve a name for an actor about to be created. Answered by Registered."""

    request: int
    name: str
    actor: Ref
    handle: bytes


class Lookup(Tagged, frozen=True, array_like=True, gc=False):
    """Answered by Found."""

    request: int
    name: str


class Outstanding(Tagged, frozen=True, array_like=True, gc=False):
    """Which of these tasks, submitted here, are over? Answered by Ready, with their positions."""

    request: int
    tasks: tuple[TaskID, ...]


class Finished(Tagged, frozen=True, array_like=True, gc=False):
    """A worker ended a task. kept: the refs among its arguments that outlive it in the worker.

    begun, ended: in the world's seconds; cpu: seconds of CPU. retry: it raised one of the types to retry on.
    """

    task: TaskID
    attempt: int
    values: tuple[Value, ...]
    begun: float
    ended: float
    cpu: float = 0.0
    kept: tuple[Ref, ...] = ()
    retry: bool = False


class Recalled(Tagged, frozen=True, array_like=True, gc=False):
    """The answer to Recall: these had not begun and never will here."""

    tasks: tuple[TaskID, ...]


Call = (
    Submit
    | Put
    | Get
    | Wait
    | Abandon
    | Drop
    | Pin
    | Unpin
    | Room
    | Unused
    | Kill
    | Cancel
    | Register
    | Lookup
    | Outstanding
    | Finished
    | Recalled
)


# ---------------------------------------------------------------- Notice: node -> its client


class Run(Tagged, frozen=True, array_like=True, gc=False):
    """Begin this when every Run sent before has begun, ended or been taken back, and a slot is free.

    args: the values of spec.deps, in order. function: the code, when this worker has not had it yet.
    """

    spec: Spec
    attempt: int
    args: tuple[Inline | Stored, ...] = ()
    function: Payload | None = None


class Recall(Tagged, frozen=True, array_like=True, gc=False):
    """Give back those of these that have not begun. Answered by Recalled."""

    tasks: tuple[TaskID, ...]


class Interrupt(Tagged, frozen=True, array_like=True, gc=False):
    """A cancelled task: give it back (Recalled) if it has not begun; raise KeyboardInterrupt in it if it runs.

    force: kill its process instead, if it has begun and not ended; WorkerLost follows.
    """

    task: TaskID
    attempt: int
    force: bool = False


class Values(Tagged, frozen=True, array_like=True, gc=False):
    """The values of a Get in order; the one Failed alone if any failed; empty if polled too early."""

    request: int
    values: tuple[Value, ...]


class Ready(Tagged, frozen=True, array_like=True, gc=False):
    """The positions (in the Wait's refs) of those that exist, ascending."""

    request: int
    positions: tuple[int, ...]


class Registered(Tagged, frozen=True, array_like=True, gc=False):
    request: int
    accepted: bool


class Found(Tagged, frozen=True, array_like=True, gc=False):
    request: int
    actor: Ref | None
    handle: bytes = b""


class Granted(Tagged, frozen=True, array_like=True, gc=False):
    """The client may use so much more memory; or not, and why."""

    request: int
    room: int
    error: ErrorInfo | None = None


class Reclaim(Tagged, frozen=True, array_like=True, gc=False):
    """This block, which the client wrote, may be written again; or, if not keep, its memory goes back."""

    block: Block
    keep: bool = True


class Trim(Tagged, frozen=True, array_like=True, gc=False):
    """Memory is short: give back what you have been granted and do not use."""


class Warned(Tagged, frozen=True, array_like=True, gc=False):
    text: str


Notice = Run | Recall | Interrupt | Values | Ready | Registered | Found | Granted | Reclaim | Trim | Warned


# ---------------------------------------------------------------- Letter: place -> place


class Assign(Tagged, frozen=True, array_like=True, gc=False):
    """Custody of a task passes to the receiver. known: of spec.deps, in order (empty for a method).

    excused: how many of its attempts have used up no retry.
    """

    spec: Spec
    attempt: int
    known: tuple[Known, ...]
    hops: int
    excused: int = 0


class Moved(Tagged, frozen=True, array_like=True, gc=False):
    """To a task's owner: it is now with `to`, after so many hops. Of two that cross, the one with more is right.

    heads: how many heads the sender knows to be lost, so which one it means by the head.
    """

    task: TaskID
    attempt: int
    to: Place
    hops: int
    heads: int = 0


class Done(Tagged, frozen=True, array_like=True, gc=False):
    """To a task's owner: the attempt ended with these values (Remote: kept in the sender's store)."""

    task: TaskID
    attempt: int
    values: tuple[Known, ...]
    retry: bool = False
    lost: bool = False  # the worker died under it
    seconds: float = 0.0


class Bounced(Tagged, frozen=True, array_like=True, gc=False):
    """To its owner, a task that had not begun: an actor's call whose actor is gone, or one whose argument is lost."""

    task: TaskID
    attempt: int
    hops: int


class LossAsked(Tagged, frozen=True, array_like=True, gc=False):
    """Answer LossKnown once you know of this loss too. place: as `Desk.life` calls it."""

    place: Place


class LossKnown(Tagged, frozen=True, array_like=True, gc=False):
    """The sender knows that this place is lost: it passes nothing on to it, and counts on nothing there."""

    place: Place


class Watch(Tagged, frozen=True, array_like=True, gc=False):
    """To an object's owner: answer Exists once it does."""

    id: ObjectID


class Exists(Tagged, frozen=True, array_like=True, gc=False):
    id: ObjectID
    known: Known


class Pull(Tagged, frozen=True, array_like=True, gc=False):
    """To a holder: send a copy of this stored object."""

    id: ObjectID


class Missing(Tagged, frozen=True, array_like=True, gc=False):
    """The answer to a Pull for what is not here."""

    id: ObjectID


class Copied(Tagged, frozen=True, array_like=True, gc=False):
    """To an object's owner: the sender now holds a copy too."""

    id: ObjectID


class Evict(Tagged, frozen=True, array_like=True, gc=False):
    """From an object's owner: nobody needs it any more."""

    id: ObjectID


class Spare(Tagged, frozen=True, array_like=True, gc=False):
    """To an object's owner: memory is short here; may I drop my copy? Answered by Spared."""

    id: ObjectID


class Spared(Tagged, frozen=True, array_like=True, gc=False):
    """granted: another place has a copy, and the owner no longer counts on the receiver's."""

    id: ObjectID
    granted: bool


class Dropped(Tagged, frozen=True, array_like=True, gc=False):
    """To an object's owner: the sender has lost its copy; why."""

    id: ObjectID
    error: ErrorInfo


class Lent(Tagged, frozen=True, array_like=True, gc=False):
    """To an object's owner, from a place that passes its ref on: `to` will hold it (count times) as well.

    heads: how many heads the sender knows to be lost. They all have one name. From `to` itself: it is its own loan.
    """

    id: ObjectID
    to: Place
    heads: int = 0
    count: int = 1


class Returned(Tagged, frozen=True, array_like=True, gc=False):
    """To an object's owner: the sender gives back the loans it had: so many from the owner or by its own word.

    passed: those that others have passed on to it: who (`Desk.life`), and how many.
    """

    id: ObjectID
    count: int
    passed: tuple[tuple[Place, int], ...] = ()


class Seek(Tagged, frozen=True, array_like=True, gc=False):
    """To an actor's owner: answer Located now and at every change."""

    actor: ObjectID


class Located(Tagged, frozen=True, array_like=True, gc=False):
    """Where an actor lives. No place and no error: it is being (re)started."""

    actor: ObjectID
    at: Place | None
    error: ErrorInfo | None = None


class ActorLost(Tagged, frozen=True, array_like=True, gc=False):
    """To an actor's owner: its process died, or its constructor failed for good."""

    actor: ObjectID
    attempt: int
    error: ErrorInfo


class StopActor(Tagged, frozen=True, array_like=True, gc=False):
    """From an actor's owner to its host. error: why its callers are told it died; None: out of scope."""

    actor: ObjectID
    attempt: int
    error: ErrorInfo | None


class KillActor(Tagged, frozen=True, array_like=True, gc=False):
    """To an actor's owner."""

    actor: ObjectID
    no_restart: bool


class CancelTask(Tagged, frozen=True, array_like=True, gc=False):
    """To a task's owner."""

    task: TaskID
    force: bool
    recursive: bool


class Wanted(Tagged, frozen=True, array_like=True, gc=False):
    """From a task's owner to its custodian: blocked tasks have come to wait for these."""

    tasks: tuple[TaskID, ...]


class Withdraw(Tagged, frozen=True, array_like=True, gc=False):
    """From a task's owner to its custodian: it is cancelled."""

    task: TaskID
    attempt: int
    force: bool
    recursive: bool


class NameWanted(Tagged, frozen=True, array_like=True, gc=False):
    """To the head: reserve a name. Answered by NameGiven."""

    client: ClientID
    request: int
    name: str
    actor: Ref
    handle: bytes


class NameGiven(Tagged, frozen=True, array_like=True, gc=False):
    client: ClientID
    request: int
    accepted: bool


class NameSought(Tagged, frozen=True, array_like=True, gc=False):
    """To the head. Answered by NameFound."""

    client: ClientID
    request: int
    name: str


class NameFound(Tagged, frozen=True, array_like=True, gc=False):
    client: ClientID
    request: int
    actor: Ref | None
    handle: bytes


class NamesHere(Tagged, frozen=True, array_like=True, gc=False):
    """To a head that has come back and knows nothing: the named actors that the sender owns."""

    names: tuple[tuple[str, Ref, bytes], ...]


class NameFree(Tagged, frozen=True, array_like=True, gc=False):
    """To the head, from an actor's owner: it is dead."""

    name: str
    actor: Ref


class Waits(Word, frozen=True, array_like=True, gc=False):
    """A task that cannot go on before `count` of the tasks in `of` have. demand: it waits for room for this.

    how: in words. mark: two looks that see the same mark have seen the same wait.
    """

    task: TaskID
    name: str
    place: Place
    how: str
    of: tuple[str, ...]
    count: int
    mark: str
    demand: Demand = ()


class Holders(Word, frozen=True, array_like=True, gc=False):
    """Of a request that a place could meet: who has what it lacks there. free: it lacks nothing.

    keepers: actors that keep it from being met there even when all tasks have ended, in words.
    """

    demand: Demand
    free: bool
    of: tuple[str, ...]
    keepers: tuple[str, ...] = ()


class Suspected(Tagged, frozen=True, array_like=True, gc=False):
    """To the head: a task here has been waiting for others for long."""


class WhoWaits(Tagged, frozen=True, array_like=True, gc=False):
    """From the head to every place. Answered by WaitsHere: of the named tasks, or (none named) of those in a get."""

    number: int
    tasks: tuple[TaskID, ...]
    demands: tuple[Demand, ...]


class WaitsHere(Tagged, frozen=True, array_like=True, gc=False):
    number: int
    waits: tuple[Waits, ...]
    holders: tuple[Holders, ...]


class Told(Tagged, frozen=True, array_like=True, gc=False):
    """From one scheduler agent to another. The body is the policy's own typed word, encoded."""

    body: bytes


Letter = (
    Assign
    | Moved
    | Done
    | Bounced
    | LossAsked
    | LossKnown
    | Watch
    | Exists
    | Pull
    | Missing
    | Copied
    | Evict
    | Spare
    | Spared
    | Dropped
    | Lent
    | Returned
    | Seek
    | Located
    | ActorLost
    | StopActor
    | KillActor
    | CancelTask
    | Wanted
    | Withdraw
    | NameWanted
    | NameGiven
    | NameSought
    | NameFound
    | NamesHere
    | NameFree
    | Suspected
    | WhoWaits
    | WaitsHere
    | Told
)


# ---------------------------------------------------------------- News: the world -> a node (sender "")


class Booted(Tagged, frozen=True, array_like=True, gc=False):
    """The first input of a node: all places exist and can be written to."""


class ClientJoined(Tagged, frozen=True, array_like=True, gc=False):
    """A driver attached itself."""

    client: ClientID


class ClientLost(Tagged, frozen=True, array_like=True, gc=False):
    client: ClientID


class WorkerStarted(Tagged, frozen=True, array_like=True, gc=False):
    worker: ClientID


class WorkerLost(Tagged, frozen=True, array_like=True, gc=False):
    """A worker process died. begun: which tasks it had begun and not told the end of; None: all that it was sent.

    There may be more than it has slots: some had ended, and what came of them died with it.
    """

    worker: ClientID
    reason: str
    begun: tuple[TaskID, ...] | None = None


class PlaceLost(Tagged, frozen=True, array_like=True, gc=False):
    place: Place


class PlaceJoined(Tagged, frozen=True, array_like=True, gc=False):
    """A node came up, perhaps one that was lost, in a new incarnation.

    The head is called the same in every life: who hears this of it has heard of its loss before. It hears it as well.
    """

    place: Place
    totals: Demand


class MemoryShort(Tagged, frozen=True, array_like=True, gc=False):
    """There is too little memory left (text: how little): end one process. sizes: client, process id, bytes."""

    sizes: tuple[tuple[ClientID, int, int], ...]
    text: str


class Arrived(Tagged, frozen=True, array_like=True, gc=False):
    """A pulled object is in this node's store now. source: the place that pushed it."""

    id: ObjectID
    value: Stored
    source: Place


class Spilled(Tagged, frozen=True, array_like=True, gc=False):
    """The answer to Spill. No value: it could not be written, and why; the copy in memory is as it was."""

    id: ObjectID
    value: Stored | None
    error: str = ""


class Restored(Tagged, frozen=True, array_like=True, gc=False):
    """The answer to Restore. No value: why, and whether the copy on disk is lost."""

    id: ObjectID
    value: Stored | None
    error: str = ""
    lost: bool = False


class Woke(Tagged, frozen=True, array_like=True, gc=False):
    """The time asked for by Alarm has come."""

    token: int


News = (
    Booted
    | ClientJoined
    | ClientLost
    | WorkerStarted
    | WorkerLost
    | PlaceLost
    | PlaceJoined
    | MemoryShort
    | Arrived
    | Spilled
    | Restored
    | Woke
)


# ---------------------------------------------------------------- Effect: node -> the world


class Send(Tagged, frozen=True, array_like=True, gc=False):
    """Deliver to a place or a client of this node; between two ends, once and in order."""

    to: Place | ClientID
    message: Any


class Start(Tagged, frozen=True, array_like=True, gc=False):
    """Start a worker process. The world answers WorkerStarted, or WorkerLost with the reason."""

    worker: ClientID


class Stop(Tagged, frozen=True, array_like=True, gc=False):
    """End a worker process; with force, at once, else when what it has left for its end is done.

    The node has already forgotten it: no WorkerLost is wanted.
    """

    worker: ClientID
    force: bool = False


class End(Tagged, frozen=True, array_like=True, gc=False):
    """Kill a worker process. It stays in the node's books until WorkerLost says what it had begun."""

    worker: ClientID


class Push(Tagged, frozen=True, array_like=True, gc=False):
    """Copy a stored object to another place's store; the world there says Arrived."""

    id: ObjectID
    value: Stored
    to: Place


class Free(Tagged, frozen=True, array_like=True, gc=False):
    """Nobody needs this copy, in memory or on disk (block.writer is DISK), and no view is on it.

    keep: whoever wrote it may use its memory again; else that goes back to the system.
    """

    id: ObjectID
    value: Stored
    keep: bool = True


class Spill(Tagged, frozen=True, array_like=True, gc=False):
    """Write a copy of this stored object to disk; the world answers Spilled."""

    id: ObjectID
    value: Stored


class Restore(Tagged, frozen=True, array_like=True, gc=False):
    """Read a spilled object back into memory; the world answers Restored. The copy on disk stays."""

    id: ObjectID
    value: Stored


class Alarm(Tagged, frozen=True, array_like=True, gc=False):
    """Say Woke(token) after so many seconds."""

    after: float
    token: int


class Warn(Tagged, frozen=True, array_like=True, gc=False):
    """Show this to the user, once."""

    text: str


Effect = Send | Start | Stop | End | Push | Free | Spill | Restore | Alarm | Warn
