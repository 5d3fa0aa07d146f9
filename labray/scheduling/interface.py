"""What a scheduler is: events in, decisions out.

A policy is a frozen value (its repr is its label in plots, tests and traces) that makes one agent per place.
An agent is plain single-threaded Python without I/O, clock or random source of its own. It knows its own place
truthfully through its View, and other places only by the messages that agents tell each other, whose delay the
world decides: no policy can cheat by reading remote state for free. The same agents run for real and simulated.

The agent proposes, the node disposes: every decision is checked (see labray/node), and a breach raises
SchedulerError naming the policy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from msgspec import Struct

from labray.ids import NodeID, ObjectID, TaskID
from labray.messages import Demand
from labray.scheduling.cluster_info import ClusterInfo, NodeInfo
from labray.strategies import DEFAULT, Strategy

if TYPE_CHECKING:
    from random import Random


MOST_HOPS = 14
"""A policy leaves a task where it is that has moved so often: its node refuses one that is passed round."""
OVERTAKEN = 64
"""So often what has no room is overtaken before room is kept for it at its node. Fewer, and more cores idle."""


class Fact(Struct, frozen=True, gc=False):
    """A value of this interface."""


class Dep(Fact, frozen=True, gc=False):
    """A dependency as its owner last knew it: size in bytes, and the places that hold it.

    places is empty for a small value, which travels inside the task.
    """

    id: ObjectID
    size: int
    places: tuple[NodeID, ...]


class Task(Fact, frozen=True, gc=False):
    """What an agent is told about a task. cost is a hint in seconds, of the quality the run has chosen."""

    id: TaskID
    name: str
    kind: str
    demand: Demand
    deps: tuple[Dep, ...]
    submitter: NodeID
    hops: int
    strategy: Strategy = DEFAULT
    cost: float | None = None


# ---------------------------------------------------------------- events


class TaskArrived(Fact, frozen=True, gc=False):
    """A task is held here until the agent keeps or forwards it, now or at a later event."""

    task: Task


class TaskStarted(Fact, frozen=True, gc=False):
    task: Task


class TaskRecalled(Fact, frozen=True, gc=False):
    """It was started, as the next in a worker's pipe, and is taken back before it began: it waits here again."""

    task: Task


class TaskFinished(Fact, frozen=True, gc=False):
    """seconds: from begun to ended; 0.0 if the attempt was lost."""

    task: Task
    seconds: float


class TaskBlocked(Fact, frozen=True, gc=False):
    task: Task


class TaskUnblocked(Fact, frozen=True, gc=False):
    task: Task


class TaskWanted(Fact, frozen=True, gc=False):
    """It is held here, and a blocked task has come to wait for it: what keeps a queue of its own lets it go first."""

    task: Task


class TaskWithdrawn(Fact, frozen=True, gc=False):
    """Cancelled, or failed elsewhere, before it started here."""

    task: Task


class ObjectStored(Fact, frozen=True, gc=False):
    id: ObjectID
    size: int


class RoomChanged(Fact, frozen=True, gc=False):
    """Capacity of this place came free, or went."""


class MessageReceived(Fact, frozen=True, gc=False):
    """body is the word that the other agent told, decoded by its policy's `words`."""

    sender: NodeID
    body: Any


class TimerFired(Fact, frozen=True, gc=False):
    token: int


class NodeJoined(Fact, frozen=True, gc=False):
    """At boot an agent hears this of its own place (the others it was given with the cluster), and later of each
    node that joins. The tasks it holds are then withdrawn and arrive anew: the new node may be the one for them.
    """

    node: NodeInfo


class NodeLost(Fact, frozen=True, gc=False):
    place: NodeID


class HeadLost(Fact, frozen=True, gc=False):
    """What is forwarded to the head waits here until there is one again; what it is told is not heard."""


class HeadBack(Fact, frozen=True, gc=False):
    """There is a head again, which knows nothing. The tasks that an agent holds are withdrawn and arrive anew."""


Event = (
    TaskArrived
    | TaskStarted
    | TaskRecalled
    | TaskFinished
    | TaskBlocked
    | TaskWanted
    | TaskUnblocked
    | TaskWithdrawn
    | ObjectStored
    | RoomChanged
    | MessageReceived
    | TimerFired
    | NodeJoined
    | NodeLost
    | HeadLost
    | HeadBack
)

# ---------------------------------------------------------------- decisions


class Keep(Fact, frozen=True, gc=False):
    """Run it here; lower priorities first, then in order of arrival."""

    task: TaskID
    priority: float = 0.0


class Forward(Fact, frozen=True, gc=False):
    """Hand it to another place: a held task, or a kept one that has not started."""

    task: TaskID
    to: NodeID


class Tell(Fact, frozen=True, gc=False):
    """Say something to the agent at another place: one of the policy's `words`."""

    to: NodeID
    body: Any


class Wake(Fact, frozen=True, gc=False):
    """Hear TimerFired(token) after so many seconds."""

    after: float
    token: int = 0


Decision = Keep | Forward | Tell | Wake

# ---------------------------------------------------------------- the three nouns


class View(Protocol):
    """What is true at this place, now."""

    place: NodeID

    @property
    def free(self) -> Mapping[str, int]:
        """Resources not in use, in 1e-4; negative while unblocked tasks overdraw."""

    @property
    def queued(self) -> Sequence[Task]:
        """Kept here and not yet started, in the order they will start; len() is cheap."""

    def holds(self, object_id: ObjectID) -> int | None:
        """The size in bytes of an object that is in this place's store."""


class Agent(Protocol):
    """The scheduler at one place: a node, or the head."""

    def handle(self, event: Event, now: float) -> Sequence[Decision]: ...


@runtime_checkable
class Scheduler(Protocol):
    """A policy.

    words: the types its agents tell each other (`Told`), or () if they never do.
    interest: the event types its agents want; others are not sent (TaskArrived always is). A simulated node
    then pays nothing for what its policy ignores.
    """

    @property
    def words(self) -> tuple[type[Struct], ...]: ...

    @property
    def interest(self) -> tuple[type[Fact], ...]: ...

    def agent(self, place: NodeID, cluster: ClusterInfo, view: View, rng: Random) -> Agent: ...
