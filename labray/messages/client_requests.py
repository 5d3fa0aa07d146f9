"""What a client (a driver or a worker) asks of its node, or tells it."""

from __future__ import annotations

from labray.ids import ObjectID, TaskID
from labray.messages.values import Inline, Ref, Stored, TaggedValue, TaskSpec, Value


class SubmitTask(TaggedValue, frozen=True, array_like=True, gc=False):
    spec: TaskSpec


class PutObject(TaggedValue, frozen=True, array_like=True, gc=False):
    """Store a value under a new id. A function is never freed."""

    id: ObjectID
    value: Inline | Stored
    parent: TaskID
    function: bool = False


class Get(TaggedValue, frozen=True, array_like=True, gc=False):
    """Answered by Values when all exist or one has failed; at once, perhaps with nothing, if poll.

    task: what runs there and cannot go on, as its main thread asks; a normal task's CPU is free meanwhile.
    """

    request: int
    refs: tuple[Ref, ...]
    poll: bool = False
    task: TaskID | None = None


NO_ANSWER = 0
"""The request number of a question whose answer is known: it is said for the trace."""


class Wait(TaggedValue, frozen=True, array_like=True, gc=False):
    """Answered by ReadyPositions when at least `count` exist (failed ones count); at once if poll; not if NO_ANSWER."""

    request: int
    refs: tuple[Ref, ...]
    count: int
    poll: bool = False
    task: TaskID | None = None


class Abandon(TaggedValue, frozen=True, array_like=True, gc=False):
    """The client no longer waits for this request; an answer under way is ignored."""

    request: int


class DropRefs(TaggedValue, frozen=True, array_like=True, gc=False):
    """The client holds no handle of these any more, and had been given each of them n times."""

    ids: tuple[tuple[ObjectID, int], ...]


class Pin(TaggedValue, frozen=True, array_like=True, gc=False):
    """The client views these stored objects, which it put itself, without having been given them by Values."""

    ids: tuple[ObjectID, ...]


class Unpin(TaggedValue, frozen=True, array_like=True, gc=False):
    """No view on these stored objects is left in the client (each was delivered n times)."""

    ids: tuple[tuple[ObjectID, int], ...]


class Allocate(TaggedValue, frozen=True, array_like=True, gc=False):
    """May I write an object of this size into the store? Answered by Granted, perhaps after others have made way.

    more: by how many bytes the memory that this client has been granted must grow; most: what it would like.
    """

    request: int
    id: ObjectID
    size: int
    more: int
    most: int


class Deallocate(TaggedValue, frozen=True, array_like=True, gc=False):
    """The room granted for this object will not be used after all."""

    id: ObjectID


class Kill(TaggedValue, frozen=True, array_like=True, gc=False):
    actor: Ref
    no_restart: bool = True


class Cancel(TaggedValue, frozen=True, array_like=True, gc=False):
    """Take a task back. Answered by RequestAnswered; refused is only force on an actor's call."""

    request: int
    ref: Ref
    force: bool
    recursive: bool


class RegisterName(TaggedValue, frozen=True, array_like=True, gc=False):
    """Reserve a name for an actor about to be created. Answered by RequestAnswered."""

    request: int
    name: str
    actor: Ref
    handle: bytes


class LookUpName(TaggedValue, frozen=True, array_like=True, gc=False):
    """Answered by ActorFound."""

    request: int
    name: str


class AskFinished(TaggedValue, frozen=True, array_like=True, gc=False):
    """Which of these tasks, submitted here, are over? Answered by ReadyPositions, with their positions."""

    request: int
    tasks: tuple[TaskID, ...]


class Finished(TaggedValue, frozen=True, array_like=True, gc=False):
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


class Recalled(TaggedValue, frozen=True, array_like=True, gc=False):
    """The answer to Recall: these had not begun and never will here."""

    tasks: tuple[TaskID, ...]


ClientRequest = (
    SubmitTask
    | PutObject
    | Get
    | Wait
    | Abandon
    | DropRefs
    | Pin
    | Unpin
    | Allocate
    | Deallocate
    | Kill
    | Cancel
    | RegisterName
    | LookUpName
    | AskFinished
    | Finished
    | Recalled
)
