"""Runtime: the system calls of a user program, and the only thing that the public API knows.

A backend hands over a Session with the driver's runtime. The current runtime belongs to the process (in the
simulator to the fiber that runs), so threads that user code starts see it too. Nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from labray.errors import NotInitializedError
from labray.ids import NodeID, ObjectID, TaskID
from labray.messages import ClientReply, ClientRequest, Payload, Ref, Stored
from labray.serialization import identities

if TYPE_CHECKING:
    from labray.client.options import Options
    from labray.client.refs import ObjectRef
    from labray.client.uninterrupted import Step


class Runtime(Protocol):
    """What a user program, driver and tasks alike, can ask of the world. Calls block the caller only."""

    session: str  # names the session: what was exported under another one must be exported anew
    known: identities.IdentityTable  # what has an identity and came here by value

    @property
    def task(self) -> TaskID:
        """The task that is calling; ids.DRIVER in the main program."""

    def export(self, thing: Any, name: str, inside: bool = False) -> Ref:
        """Pickle a function or class once and store it."""

    def load(self, code: Ref) -> Any:
        """The function or class that was exported as this."""

    def submit(
        self, kind: str, name: str, function: Ref | None, options: Options,
        args: Sequence[Any], kwargs: Mapping[str, Any], *, actor: Ref | None = None, method: str = "",
    ) -> list[ObjectRef[Any]]:  # fmt: skip
        """Submit a task, an actor's creation or a call. An actor's creation returns one ref: the actor."""

    def put(self, value: Any) -> ObjectRef[Any]: ...

    def get(self, refs: Sequence[ObjectRef[Any]], timeout: float | None) -> list[Any]: ...

    def wait(
        self, refs: Sequence[ObjectRef[Any]], num_returns: int, timeout: float | None
    ) -> tuple[list[ObjectRef[Any]], list[ObjectRef[Any]]]: ...

    def kill(self, actor: Ref, no_restart: bool) -> None: ...

    def cancel(self, ref: ObjectRef[Any], force: bool, recursive: bool) -> None:
        """Take back the task that makes it. ValueError if that would kill an actor."""

    def lookup(self, name: str) -> tuple[ObjectRef[Any], bytes] | None: ...

    def now(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...

    def spend(self, seconds: float) -> None: ...


class Reply:
    """A notice with all that it gave, counted already. Its death gives back what nobody has taken.

    handles: of the refs in it. pins: of its values, in order, as far as they lie in the store; for `Channel.load`.
    """

    __slots__ = ("handles", "notice", "pins")

    def __init__(
        self, notice: ClientReply, handles: Sequence[ObjectRef[Any]], pins: Sequence[object | None] = ()
    ) -> None:
        self.notice = notice
        self.handles = handles
        self.pins = pins


class Channel(Protocol):
    """What a backend supplies to a client process: a wire to its node, a clock, and its node's store.

    The client half of the protocol (labray/client/process.py) is the same in every world and is built on this.
    Thread-safe where the world has threads.
    """

    @property
    def place(self) -> NodeID: ...

    @property
    def client(self) -> str: ...

    def post(self, message: ClientRequest, step: Step | None = None) -> None:
        """Send without waiting. Leaves within a millisecond, in order. step: is taken with it, or neither is done."""

    def ask(self, message: ClientRequest, request: int, timeout: float | None) -> Reply | ClientReply | None:
        """Send, and wait for the notice with this request number. None: the time is up.

        While it waits, other notices are handled as the world sees fit (a worker gives back tasks, say). An Answer if
        the channel counts what comes, a ClientReply if that is left to the caller.
        """

    def store(self, object_id: ObjectID, payload: Payload) -> Stored:
        """Write a large payload into this node's store."""

    def unstore(self, object_id: ObjectID, stored: Stored) -> None:
        """Take back what was stored and the node has not been told of."""

    def load(self, object_id: ObjectID, stored: Stored, pin: object | None = None) -> Payload:
        """The stored payload; its buffers are read-only views, and Unpin is posted when the last one dies.

        pin: what came with it in an Answer.
        """

    def reread(self, object_id: ObjectID) -> Payload | None:
        """A stored payload that this process put itself, if it can be read unasked; with Pin and Unpin."""

    def now(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...

    def spend(self, seconds: float) -> None:
        """Use this much CPU time."""


_current: Runtime | None = None


def _known() -> identities.IdentityTable:
    return identities.here if _current is None else _current.known


identities.ask(_known)  # what travelled by value is known to the process that runs


def current() -> Runtime:
    """The runtime of this process (of the running fiber, in the simulator)."""
    if _current is None:
        raise NotInitializedError("labray is not initialised: call labray.init() first.")
    return _current


def exists() -> bool:
    return _current is not None


def switch(runtime: Runtime | None) -> Runtime | None:
    """Make this runtime the current one; gives the one that was."""
    global _current
    before, _current = _current, runtime
    return before
