"""Values inside messages: references, payloads, stored blocks, errors, and the specification of a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from labray.ids import NodeID, ObjectID, TaskID
from labray.strategies import DEFAULT, Strategy

INLINE_LIMIT_BYTES = 100 * 1024
"""Values up to this size travel inside messages; larger ones live in a node's store and move by pull."""

UNIT = 10_000
"""Resources are counted in integers of 1e-4, so that 0.1 + 0.2 is 0.3."""

Demand = tuple[tuple[str, int], ...]
"""Resource name and amount in 1e-4, sorted by name, no zeros. Hashable: it is the shape of a request."""

ONE_CPU: Demand = (("CPU", UNIT),)
"""What a task asks for unless it says otherwise."""

LARGEST_AMOUNT = 10**15
"""No number that a user or a file gives is larger, be it of bytes, seconds, tasks or a resource.

It is a petabyte, or thirty million years: more is a mistake, and floats would no longer be exact.
"""


class WireValue(Struct, frozen=True, array_like=True, gc=False):
    """A value. Compared by content, immutable, cheap (0.1 us to build)."""


class TaggedValue(WireValue, frozen=True, array_like=True, tag=True, gc=False):
    """A value that is one of several kinds on a wire."""


class Ref(WireValue, frozen=True, array_like=True, gc=False):
    """An object and the place that owns it (knows where it is, and when it may go)."""

    id: ObjectID
    owner: NodeID


if TYPE_CHECKING:
    Octets = bytes | memoryview  # in a process that pickled them, or reads them where they lie
else:
    Octets = bytes  # on a wire


class Payload(WireValue, frozen=True, array_like=True, gc=False):
    """A pickled value: the pickle, its out-of-band buffers, and the refs inside it.

    The refs are listed so that a node which never opens the bytes still knows what they hold.
    """

    data: Octets
    buffers: tuple[Octets, ...] = ()
    refs: tuple[Ref, ...] = ()


DISK = "disk"
"""The writer of a block that lies on disk."""


class Block(WireValue, frozen=True, array_like=True, gc=False):
    """Where a stored payload lies in its node's store: the client or place that wrote it, or DISK.

    Only the world reads the rest.
    """

    writer: str
    segment: int
    offset: int
    sizes: tuple[int, ...]


class ErrorInfo(WireValue, frozen=True, array_like=True, gc=False):
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


class Inline(TaggedValue, frozen=True, array_like=True, gc=False):
    payload: Payload


class Stored(TaggedValue, frozen=True, array_like=True, gc=False):
    """A value in the store of the node that says so."""

    size: int
    block: Block
    refs: tuple[Ref, ...] = ()


class Failed(TaggedValue, frozen=True, array_like=True, gc=False):
    error: ErrorInfo


class Remote(TaggedValue, frozen=True, array_like=True, gc=False):
    """A value that exists in the stores of other places. The first is the one to ask."""

    size: int
    places: tuple[NodeID, ...]
    refs: tuple[Ref, ...] = ()


Value = Inline | Stored | Failed
KnownValue = Inline | Failed | Remote
"""What a place can tell another of an object."""


class TaskSpec(WireValue, frozen=True, array_like=True, gc=False):
    """A submitted task, actor creation or actor call; the same from submission to its last attempt."""

    id: TaskID
    kind: Literal["task", "actor", "method"]
    name: str  # for people: the qualified name of the function, class or method
    parent: TaskID
    owner: NodeID
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
