"""What a world is to the rest of labray: what it obeys, what it supplies, and in what it differs from the others.

`inline`, `sim` and `cluster` are worlds. One more is a folder beside them and one line in the registry (`BACKENDS`).
A world starts nodes and carries what they say. It supplies
* to the program a `Session`, which may also be `Elastic`, `Probed` and `Validated`;
* to each process that runs users' code a `Channel` (labray/client/runtime.py), with the world's clock;
* to each node the inputs that answer its effects (labray/messages says which), and calls with the world's time.
It obeys every effect of a node by one method, which it finds by the effect's type: `effect_table`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from msgspec import Struct

from labray import messages as m

if TYPE_CHECKING:
    from labray.client.runtime import Runtime
    from labray.config import Config
    from labray.ids import NodeID
    from labray.messages.audit_reports import Held
    from labray.trace import Event

# ---------------------------------------------------------------- what it obeys


class EffectHandler(Protocol):
    """Obeys the effects of the nodes in one process. place: which of them asks. Nothing here may call a node."""

    def send(self, place: NodeID, effect: m.Send) -> None:
        """Deliver to another place or to a client of this one; between two ends, once and in order."""

    def start_worker(self, place: NodeID, effect: m.StartWorker) -> None:
        """Start a worker process. WorkerStarted answers, or WorkerLost if it cannot be started."""

    def stop_worker(self, place: NodeID, effect: m.StopWorker) -> None:
        """End a worker process that its node has forgotten. Nothing answers."""

    def kill_worker(self, place: NodeID, effect: m.KillWorker) -> None:
        """Kill a worker process. WorkerLost answers, and says what it had begun."""

    def push_copy(self, place: NodeID, effect: m.PushObject) -> None:
        """Copy a stored object to another place's store. Arrived answers, at that place."""

    def free_copy(self, place: NodeID, effect: m.FreeBlock) -> None:
        """Let go of a stored copy, in memory or on disk. Nothing answers."""

    def spill_copy(self, place: NodeID, effect: m.SpillObject) -> None:
        """Write a stored object to disk. Spilled answers."""

    def restore_copy(self, place: NodeID, effect: m.RestoreObject) -> None:
        """Read a spilled object back into memory. Restored answers."""

    def set_alarm(self, place: NodeID, effect: m.SetAlarm) -> None:
        """After so many seconds of the world's time, AlarmRang answers."""

    def warn_user(self, place: NodeID, effect: m.WarnUser) -> None:
        """Show a text to the user. Nothing answers."""


Obey = Callable[["NodeID", Any], None]


def effect_table(world: EffectHandler) -> dict[type, Obey]:
    """The method of this world that obeys each type of effect."""
    return {
        m.Send: world.send,
        m.StartWorker: world.start_worker,
        m.StopWorker: world.stop_worker,
        m.KillWorker: world.kill_worker,
        m.PushObject: world.push_copy,
        m.FreeBlock: world.free_copy,
        m.SpillObject: world.spill_copy,
        m.RestoreObject: world.restore_copy,
        m.SetAlarm: world.set_alarm,
        m.WarnUser: world.warn_user,
    }


# ---------------------------------------------------------------- what it supplies


class Session(Protocol):
    """A running world, as init() got it from a backend."""

    @property
    def runtime(self) -> Runtime: ...

    @property
    def resources(self) -> Mapping[str, float]:
        """Of the whole cluster."""

    @property
    def nodes(self) -> Sequence[Mapping[str, Any]]: ...

    def trace(self) -> Sequence[Event]:
        """All that happened so far, ordered by time."""

    def close(self) -> None:
        """Idempotent. Nothing is left behind: no process, thread, file, socket or shared memory."""


@runtime_checkable
class Elastic(Protocol):
    """A session whose world can gain and lose nodes while it runs."""

    def add_node(self, num_cpus: float, resources: Mapping[str, float]) -> str:
        """Its name, once tasks can be sent there."""

    def remove_node(self, name: str) -> None:
        """As if it had been killed; the others have been told when this returns."""


@runtime_checkable
class Probed(Protocol):
    """A session that can be asked what is held, for tests."""

    def held(self) -> Sequence[Held]:
        """What each living place holds, the head's too."""


@runtime_checkable
class Validated(Protocol):
    """A session that can check its nodes, for tests."""

    def validate(self) -> None:
        """AssertionError if an invariant of a node does not hold."""


# ---------------------------------------------------------------- in what it differs


class Backend(Struct, frozen=True):
    """A world by its name in init(): how it is started, and what others must know of it. A world's module has one.

    options: of init(), beyond what every world takes. virtual_time: time passes only as the world says, so runs are
    alike on all machines. num_cpus: of a node, unless told; None: this machine's, shared among the nodes. most_nodes:
    None: as many as anybody likes. elastic: its session is Elastic; then `growing` has the options under which a
    request may wait for a node that joins. kills_running: whether a task that runs can be ended by force; else it runs
    on and nobody hears of it. impossible: effects that no node in this world can ask for, and why.
    """

    start: Callable[[Config], Session]
    options: tuple[str, ...] = ()
    virtual_time: bool = False
    num_cpus: int | None = None
    most_nodes: int | None = None
    elastic: bool = False
    growing: Mapping[str, Any] = {}
    kills_running: bool = True
    impossible: Mapping[type, str] = {}
