"""Actors as their callers see them: where each one lives, and the calls that wait to learn it.

The owner of an actor tells every node that has asked where the actor is (lifecycle.py). A call goes straight from its
submitter's place to the actor's place.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable

from labray.ids import NodeID, ObjectID
from labray.messages import ActorLocated, ErrorInfo, Ref, WatchActor
from labray.node.context.node_context import NodeContext
from labray.node.context.task_record import State, TaskRecord


class KnownActor:
    """What a node knows of an actor that it calls. Without a place and an error, the actor is being (re)started."""

    __slots__ = ("actor", "at", "error", "pending")

    def __init__(self, actor: Ref) -> None:
        self.actor = actor
        self.at: NodeID | None = None
        self.error: ErrorInfo | None = None
        self.pending: list[TaskRecord] = []


class ActorCalls:
    """The actors that are called from here, and their calls until it is known where they go.

    seek_here: asks this place, as the owner, where an actor is. carry: takes a call to the actor's place, which may be
    this one. fail: ends a call in an error.
    """

    def __init__(
        self, context: NodeContext, seek_here: Callable[[ObjectID, NodeID], None],
        carry: Callable[[TaskRecord, NodeID], None], fail: Callable[[TaskRecord, ErrorInfo], None],
    ) -> None:  # fmt: skip
        self.context = context
        self.seek_here = seek_here
        self.carry = carry
        self.fail = fail
        self.known: dict[ObjectID, KnownActor] = {}

    def call(self, task: TaskRecord) -> None:
        actor = task.spec.actor
        assert actor is not None
        view = self.known.get(actor.id)
        if view is None:
            view = self.known[actor.id] = KnownActor(actor)
            self._seek(actor)
        if view.error is not None:
            self.fail(task, view.error)
        elif view.at is not None and not view.pending:
            self.carry(task, view.at)
        else:
            insort(view.pending, task, key=lambda t: t.seq)

    def bounced(self, task: TaskRecord) -> None:
        """The actor was not where we thought: wait until the owner has told where it is now."""
        actor = task.spec.actor
        assert actor is not None
        if task.state is not State.CALLING:
            task.step(State.CALLING)
        task.fetches += 1  # what was sent for there is nothing to wait for now
        view = self.known.setdefault(actor.id, KnownActor(actor))
        insort(view.pending, task, key=lambda t: t.seq)
        view.at = None
        self._seek(actor)

    def withdraw(self, task: TaskRecord) -> None:
        """A call is cancelled: it waits no more to learn where its actor is."""
        assert task.spec.actor is not None
        view = self.known.get(task.spec.actor.id)
        if view is not None and task in view.pending:
            view.pending.remove(task)

    def located(self, sender: NodeID, message: ActorLocated) -> None:
        """The owner says where an actor is, or how it died."""
        view = self.known.get(message.actor)
        if view is None:
            return
        view.error = message.error
        view.at = (
            None if message.at in self.context.dead else message.at
        )  # the owner is about to hear of it too
        if view.error is not None:
            del self.known[message.actor]  # who calls it once more asks once more
        if view.at is not None or message.at is None:
            self._end_uncertain(view)
        while view.pending and (view.at is not None or view.error is not None):  # a call may bounce at once
            task = view.pending.pop(0)
            if view.error is not None:
                self.fail(task, view.error)
            elif view.at is not None:
                self.carry(task, view.at)

    def uncertain(self, task: TaskRecord, error: ErrorInfo) -> None:
        """A call was lost with its actor's place. It ends in this, or in how the actor died: the owner will tell."""
        task.uncertain = error
        self.bounced(task)

    def _end_uncertain(self, view: KnownActor) -> None:
        for task in [task for task in view.pending if task.uncertain is not None]:
            if task in view.pending:  # the end of another may have been the end of this
                view.pending.remove(task)
                assert task.uncertain is not None
                self.fail(task, view.error or task.uncertain)

    def _seek(self, actor: Ref) -> None:
        if actor.owner == self.context.place:
            self.seek_here(actor.id, self.context.place)
        elif actor.owner in self.context.dead:
            self._owner_lost(actor)
        else:
            self.context.send(actor.owner, WatchActor(actor.id))

    def lose_actors_with(self, lost: NodeID) -> None:
        """Calls to actors of a lost owner fail; who lived there is the owner's business."""
        for view in list(self.known.values()):
            if view.actor.owner == lost:
                self._owner_lost(view.actor)
            elif view.at == lost:
                view.at = None  # until the owner tells where it is now

    def _owner_lost(self, actor: Ref) -> None:
        error = ErrorInfo("actor_died", f"the actor {actor.id} is gone with its owner, {actor.owner}.")
        self.located(actor.owner, ActorLocated(actor.id, None, error))

    def forget_actor(self, id: ObjectID) -> None:
        """Nobody here holds the actor any more. (A call on its way holds it.)"""
        view = self.known.pop(id, None)
        assert view is None or not view.pending, f"{id} was let go of while calls wait for it"
