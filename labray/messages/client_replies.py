"""What a node answers its client, tells it unasked, or gives it to run."""

from __future__ import annotations

from labray.ids import TaskID
from labray.messages.values import (
    Block,
    ErrorInfo,
    Inline,
    Payload,
    Ref,
    Stored,
    TaggedValue,
    TaskSpec,
    Value,
)


class RunTask(TaggedValue, frozen=True, array_like=True, gc=False):
    """Begin this when every RunTask sent before has begun, ended or been taken back, and a slot is free.

    args: the values of spec.deps, in order. function: the code, when this worker has not had it yet.
    """

    spec: TaskSpec
    attempt: int
    args: tuple[Inline | Stored, ...] = ()
    function: Payload | None = None


class Recall(TaggedValue, frozen=True, array_like=True, gc=False):
    """Give back those of these that have not begun. Answered by Recalled."""

    tasks: tuple[TaskID, ...]


class Interrupt(TaggedValue, frozen=True, array_like=True, gc=False):
    """A cancelled task: give it back (Recalled) if it has not begun; raise KeyboardInterrupt in it if it runs.

    force: kill its process instead, if it has begun and not ended; WorkerLost follows.
    """

    task: TaskID
    attempt: int
    force: bool = False


class Values(TaggedValue, frozen=True, array_like=True, gc=False):
    """The values of a Get in order; the one Failed alone if any failed; empty if polled too early."""

    request: int
    values: tuple[Value, ...]


class ReadyPositions(TaggedValue, frozen=True, array_like=True, gc=False):
    """The positions (in the Wait's refs) of those that exist, ascending."""

    request: int
    positions: tuple[int, ...]


class RequestAnswered(TaggedValue, frozen=True, array_like=True, gc=False):
    request: int
    accepted: bool


class ActorFound(TaggedValue, frozen=True, array_like=True, gc=False):
    request: int
    actor: Ref | None
    handle: bytes = b""


class Granted(TaggedValue, frozen=True, array_like=True, gc=False):
    """The client may use so much more memory; or not, and why."""

    request: int
    room: int
    error: ErrorInfo | None = None


class ReclaimBlock(TaggedValue, frozen=True, array_like=True, gc=False):
    """This block, which the client wrote, may be written again; or, if not keep, its memory goes back."""

    block: Block
    keep: bool = True


class TrimMemory(TaggedValue, frozen=True, array_like=True, gc=False):
    """Memory is short: give back what you have been granted and do not use."""


class ShowWarning(TaggedValue, frozen=True, array_like=True, gc=False):
    text: str


ClientReply = (
    RunTask
    | Recall
    | Interrupt
    | Values
    | ReadyPositions
    | RequestAnswered
    | ActorFound
    | Granted
    | ReclaimBlock
    | TrimMemory
    | ShowWarning
)
