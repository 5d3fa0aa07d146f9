"""An agent to build on: a method for each event, and the duties that every policy has.

A policy overrides the methods of the events that it is interested in, and the duties that it can do better. An agent
with no more than `task_arrived` is complete: it knows who joins and who is lost, and gives nodes that join their share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec import Struct

from labray.ids import NodeID, ObjectID
from labray.scheduling.cluster_info import ClusterInfo, NodeInfo
from labray.scheduling.interface import (
    Agent,
    Decision,
    Event,
    Fact,
    Forward,
    HeadBack,
    HeadLost,
    MessageReceived,
    NodeJoined,
    NodeLost,
    ObjectStored,
    RoomChanged,
    Task,
    TaskArrived,
    TaskBlocked,
    TaskFinished,
    TaskRecalled,
    TaskStarted,
    TaskUnblocked,
    TaskWanted,
    TaskWithdrawn,
    TimerFired,
    View,
)
from labray.scheduling.membership import Membership
from labray.scheduling.sharing import SHARING, Newcomers, share

if TYPE_CHECKING:
    from random import Random

EVERYTHING: tuple[type[Fact], ...] = (
    TaskArrived,
    TaskStarted,
    TaskRecalled,
    TaskFinished,
    TaskBlocked,
    TaskUnblocked,
    TaskWanted,
    TaskWithdrawn,
    ObjectStored,
    RoomChanged,
    MessageReceived,
    TimerFired,
    NodeJoined,
    NodeLost,
    HeadLost,
    HeadBack,
)
"""All events. To be interested in fewer is only faster."""
MEMBERSHIP: tuple[type[Fact], ...] = (NodeJoined, NodeLost, TimerFired)
"""What an agent must hear, besides the tasks that arrive, to do its duties."""


class Policy(Struct, frozen=True):
    """A policy as a value: its fields are its parameters, and its repr is its label."""

    words: ClassVar[tuple[type[Struct], ...]] = ()
    interest: ClassVar[tuple[type[Fact], ...]] = EVERYTHING

    def agent(self, place: NodeID, cluster: ClusterInfo, view: View, rng: Random) -> Agent:
        """The agent at one place: at a node, or at the head (cluster.head)."""
        raise NotImplementedError(f"{type(self).__name__} has no agent(place, cluster, view, rng).")


class PolicyMessage(Struct, frozen=True, array_like=True, tag=True, gc=False):
    """What agents of a policy tell each other: one of its `words`.

    It travels under its name. How long that is counts in a simulation, so a class that gets another name keeps its tag.
    """


class PolicyAgent:
    """A method for each event; each returns decisions, () where there are none.

    members: the nodes that live, and which could run a task. now: the time of the event, in seconds.
    """

    def __init__(self, cluster: ClusterInfo, view: View) -> None:
        self.place = view.place
        self.head = cluster.head
        self.view = view
        self.members = Membership(cluster)
        self.newcomers = Newcomers(view)
        self.now = 0.0

    def handle(self, event: Event, now: float) -> Sequence[Decision]:
        """Hear what happened, the most frequent first. It costs about as much as a policy's own chain of questions."""
        self.now = now
        if isinstance(event, TaskArrived):
            return self.task_arrived(event.task)
        if isinstance(event, MessageReceived):
            return self.message_received(event.sender, event.body)
        if isinstance(event, TaskStarted):
            return self.task_started(event.task)
        if isinstance(event, TaskFinished):
            return self.task_finished(event.task, event.seconds)
        if isinstance(event, TimerFired):
            return self.share_out() if event.token == SHARING else self.timer_fired(event.token)
        if isinstance(event, RoomChanged):
            return self.room_changed()
        if isinstance(event, ObjectStored):
            return self.object_stored(event.id, event.size)
        if isinstance(event, TaskWithdrawn):
            return self.task_withdrawn(event.task)
        if isinstance(event, TaskBlocked):
            return self.task_blocked(event.task)
        if isinstance(event, TaskUnblocked):
            return self.task_unblocked(event.task)
        if isinstance(event, TaskWanted):
            return self.task_wanted(event.task)
        if isinstance(event, TaskRecalled):
            return self.task_recalled(event.task)
        return self._changed(event)

    def _changed(self, event: NodeJoined | NodeLost | HeadLost | HeadBack) -> Sequence[Decision]:
        """The cluster is another."""
        if isinstance(event, NodeJoined):
            return self.node_joined(event.node)
        if isinstance(event, NodeLost):
            return self.node_lost(event.place)
        return self.head_lost() if isinstance(event, HeadLost) else self.head_back()

    # ------------------------------------------------------------ tasks

    def task_arrived(self, task: Task) -> Sequence[Decision]:
        """Keep it, forward it, or hold it until a later event. The one method that every policy must have."""
        raise NotImplementedError(
            f"{type(self).__name__} does not decide where a task goes: no task_arrived()."
        )

    def task_started(self, task: Task) -> Sequence[Decision]:
        return ()

    def task_recalled(self, task: Task) -> Sequence[Decision]:
        """It waits here again, where its node lets it begin in its turn."""
        return ()

    def task_finished(self, task: Task, seconds: float) -> Sequence[Decision]:
        return self.task_gone(task)

    def task_withdrawn(self, task: Task) -> Sequence[Decision]:
        return self.task_gone(task)

    def task_gone(self, task: Task) -> Sequence[Decision]:
        """It has ended here, or was withdrawn before it began."""
        return ()

    def task_blocked(self, task: Task) -> Sequence[Decision]:
        return ()

    def task_unblocked(self, task: Task) -> Sequence[Decision]:
        return ()

    def task_wanted(self, task: Task) -> Sequence[Decision]:
        return ()

    # ------------------------------------------------------------ news

    def object_stored(self, id: ObjectID, size: int) -> Sequence[Decision]:
        return ()

    def room_changed(self) -> Sequence[Decision]:
        return ()

    def message_received(self, sender: NodeID, body: Any) -> Sequence[Decision]:
        return ()

    def timer_fired(self, token: int) -> Sequence[Decision]:
        return ()

    # ------------------------------------------------------------ a cluster that changes

    def node_joined(self, node: NodeInfo) -> Sequence[Decision]:
        """It can run tasks from now on. If some wait here, it gets its share of them in a moment."""
        self.members.join(node)
        return self.newcomers.join(node)

    def node_lost(self, place: NodeID) -> Sequence[Decision]:
        """Nothing is sent there any more. What it had is submitted again by its owners."""
        self.members.lose(place)
        self.newcomers.lose(place)
        return ()

    def head_lost(self) -> Sequence[Decision]:
        return ()

    def head_back(self) -> Sequence[Decision]:
        """It knows nothing. What is held here arrives anew by itself."""
        return ()

    def share_out(self) -> Sequence[Decision]:
        """Those who have joined get their share of what waits here."""
        return self.share_of(self.view.queued)

    def share_of(self, waiting: Sequence[Task]) -> list[Decision]:
        """Those who have joined get their share of these."""
        moved = share(waiting, self.newcomers.take_all(), self.members.nodes, self.place)
        return [decision for task, to in moved for decision in self.hand_over(task, to)]

    def hand_over(self, task: Task, to: NodeID) -> Sequence[Decision]:
        """A task that waits here goes to a node that has joined."""
        return (Forward(task.id, to),)
