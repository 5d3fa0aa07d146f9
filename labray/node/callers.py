"""Actors as seen from elsewhere: where they live, the calls that wait to learn it, and the owner's part.

The owner of an actor (the place where it was created) knows where it is and whether it is restarted, and tells
every place that asked. A call goes straight from its submitter's place to the actor's place.
"""

from __future__ import annotations

from bisect import insort
from typing import Protocol

from labray.ids import ObjectID, Place
from labray.messages import ErrorInfo, Failed, Located, Ref, Seek, StopActor
from labray.node.desk import Desk
from labray.node.tasks import State, TaskRecord


class Acquaintance:
    """What a place knows of an actor that it calls. Neither place nor error: it is being (re)started."""

    __slots__ = ("actor", "at", "error", "pending")

    def __init__(self, actor: Ref) -> None:
        self.actor = actor
        self.at: Place | None = None
        self.error: ErrorInfo | None = None
        self.pending: list[TaskRecord] = []


class OwnedActor:
    """state: starting, alive, restarting, dead. creation: the record that is submitted again at a restart."""

    __slots__ = ("at", "creation", "error", "id", "state", "watchers")

    def __init__(self, id: ObjectID, creation: TaskRecord) -> None:
        self.id = id
        self.creation = creation
        self.state = "starting"
        self.at: Place | None = None
        self.error: ErrorInfo | None = None
        self.watchers: dict[Place, None] = {}


class Carrier(Protocol):
    """What the rest of the node does for calls and actors."""

    def carry(self, task: TaskRecord, to: Place) -> None:
        """Take a call to the actor's place, which may be this one."""

    def fail(self, task: TaskRecord, error: ErrorInfo) -> None: ...

    def recreate(self, actor: OwnedActor) -> None: ...

    def unname(self, name: str, actor: ObjectID) -> None: ...

    def stop_here(self, id: ObjectID, attempt: int, error: ErrorInfo | None) -> None: ...


class Callers:
    def __init__(self, desk: Desk, carrier: Carrier) -> None:
        self.desk = desk
        self.carrier = carrier
        self.known: dict[ObjectID, Acquaintance] = {}
        self.owned: dict[ObjectID, OwnedActor] = {}
        self.expected: dict[ObjectID, dict[Place, None]] = {}  # not submitted yet: their watchers

    # ------------------------------------------------------------ the caller's part

    def call(self, task: TaskRecord) -> None:
        actor = task.spec.actor
        assert actor is not None
        view = self.known.get(actor.id)
        if view is None:
            view = self.known[actor.id] = Acquaintance(actor)
            self._seek(actor)
        if view.error is not None:
            self.carrier.fail(task, view.error)
        elif view.at is not None and not view.pending:
            self.carrier.carry(task, view.at)
        else:
            insort(view.pending, task, key=lambda t: t.seq)

    def bounced(self, task: TaskRecord) -> None:
        """The actor was not where we thought: wait until the owner has told where it is now."""
        actor = task.spec.actor
        assert actor is not None
        if task.state is not State.CALLING:
            task.step(State.CALLING)
        task.fetches += 1  # what was sent for there is nothing to wait for now
        view = self.known.setdefault(actor.id, Acquaintance(actor))
        insort(view.pending, task, key=lambda t: t.seq)
        view.at = None
        self._seek(actor)

    def withdraw(self, task: TaskRecord) -> None:
        """A call is cancelled: it waits no more to learn where its actor is."""
        assert task.spec.actor is not None
        view = self.known.get(task.spec.actor.id)
        if view is not None and task in view.pending:
            view.pending.remove(task)

    def located(self, message: Located) -> None:
        view = self.known.get(message.actor)
        if view is None:
            return
        view.error = message.error
        view.at = None if message.at in self.desk.dead else message.at  # the owner is about to hear of it too
        if view.error is not None:
            del self.known[message.actor]  # who calls it once more asks once more
        if view.at is not None or message.at is None:
            self._end_uncertain(view)
        while view.pending and (view.at is not None or view.error is not None):  # a call may bounce at once
            task = view.pending.pop(0)
            if view.error is not None:
                self.carrier.fail(task, view.error)
            elif view.at is not None:
                self.carrier.carry(task, view.at)

    def uncertain(self, task: TaskRecord, error: ErrorInfo) -> None:
        """A call was lost with its actor's place. It ends in this, or in how the actor died: the owner will tell."""
        task.uncertain = error
        self.bounced(task)

    def _end_uncertain(self, view: Acquaintance) -> None:
        for task in [task for task in view.pending if task.uncertain is not None]:
            if task in view.pending:  # the end of another may have been the end of this
                view.pending.remove(task)
                assert task.uncertain is not None
                self.carrier.fail(task, view.error or task.uncertain)

    def _seek(self, actor: Ref) -> None:
        if actor.owner == self.desk.place:
            self.sought(actor.id, self.desk.place)
        elif actor.owner in self.desk.dead:
            self.located(Located(actor.id, None, self._owner_lost(actor)))
        else:
            self.desk.send(actor.owner, Seek(actor.id))

    def place_lost(self, lost: Place) -> None:
        """Calls to actors of a lost owner fail; who lived there is the owner's business."""
        for actor in self.owned.values():
            actor.watchers.pop(lost, None)
        for view in list(self.known.values()):
            if view.actor.owner == lost:
                self.located(Located(view.actor.id, None, self._owner_lost(view.actor)))
            elif view.at == lost:
                view.at = None  # until the owner tells where it is now

    def _owner_lost(self, actor: Ref) -> ErrorInfo:
        return ErrorInfo("actor_died", f"the actor {actor.id} is gone with its owner, {actor.owner}.")

    def forget(self, id: ObjectID) -> None:
        """Nobody here holds the actor any more. (A call on its way holds it.)"""
        view = self.known.pop(id, None)
        assert view is None or not view.pending, f"{id} was let go of while calls wait for it"

    # ------------------------------------------------------------ the owner's part

    def expect(self, id: ObjectID) -> None:
        """An actor has a name already, by which others may find it, and is not here yet."""
        self.expected[id] = {}

    def disappoint(self, id: ObjectID, error: ErrorInfo) -> None:
        """It will not come."""
        for place in self.expected.pop(id):
            self._tell(place, Located(id, None, error))

    def created(self, creation: TaskRecord) -> None:
        id = ObjectID(f"{creation.id}.0")
        self.owned[id] = OwnedActor(id, creation)
        self.owned[id].watchers = self.expected.pop(id, {})

    def sought(self, id: ObjectID, by: Place) -> None:
        actor = self.owned.get(id)
        if id in self.expected:
            self.expected[id][by] = None
            return
        if actor is None:
            self._tell(by, Located(id, None, self._gone(id)))
            return
        actor.watchers[by] = None
        self._tell(by, Located(id, actor.at, actor.error))

    def _gone(self, id: ObjectID) -> ErrorInfo:
        return ErrorInfo("actor_died", f"the actor {id} is gone: no handle to it was left.")

    def alive(self, id: ObjectID, at: Place, attempt: int) -> None:
        actor = self.owned.get(id)
        if actor is None or actor.state == "dead":  # given up while its constructor ran
            self._stop(id, at, attempt, actor.error if actor else None)
            return
        actor.at = at
        self._change(actor, "alive")

    def unwanted(self, id: ObjectID, at: Place, attempt: int) -> None:
        """A constructor that its owner had given up has made an actor: that is ended too."""
        actor = self.owned.get(id)
        if actor is None or actor.state == "dead" or actor.creation.attempt != attempt:
            self._stop(id, at, attempt, actor.error if actor is not None else None)

    def died(self, id: ObjectID, attempt: int, error: ErrorInfo, may_restart: bool = True) -> Failed | None:
        """At the owner: its process is gone. Restarted if it may be; else the error that its calls end in."""
        actor = self.owned.get(id)
        if actor is None or actor.state == "dead" or actor.creation.attempt != attempt:
            return None
        actor.at = None
        if may_restart and actor.creation.may_retry():
            self._change(actor, "restarting")
            self.carrier.recreate(actor)
            return None
        actor.error = ErrorInfo("actor_died", error.message, error.type_name, error.traceback, error.pickled)
        self._bury(actor)
        return Failed(actor.error)

    def kill(self, id: ObjectID, no_restart: bool) -> Failed | None:
        """For good; or it starts anew, which one that is not up yet is about to do anyway."""
        actor = self.owned.get(id)
        if actor is None or actor.state == "dead" or not (no_restart or actor.state == "alive"):
            return None
        spec, attempt = actor.creation.spec, actor.creation.attempt
        again = not no_restart and actor.creation.may_retry()
        error = ErrorInfo(
            "actor_unavailable" if again else "actor_died",
            f"the actor {spec.name} ({id}) was killed by labray.kill."
            + (" It is being restarted; the call may or may not have run." if again else ""),
        )
        at, actor.at = actor.at or actor.creation.at, None
        if at is not None:
            self._stop(id, at, attempt, error)
        if not no_restart:
            return self.died(id, attempt, error)
        return self.died(id, attempt, error, may_restart=False)

    def retire(self, id: ObjectID) -> None:
        """No handle is left anywhere: the process may go. Nothing can be waiting for it."""
        actor = self.owned[id]
        if actor.state != "dead":
            at, actor.at = actor.at or actor.creation.at, None
            if at is not None:  # if its constructor is still on the way there: see `unwanted`
                self._stop(id, at, actor.creation.attempt, None)
            actor.error = self._gone(id)
            self._bury(actor)
        del self.owned[id]

    def _stop(self, id: ObjectID, at: Place, attempt: int, error: ErrorInfo | None) -> None:
        if at == self.desk.place:
            self.carrier.stop_here(id, attempt, error)
        elif at not in self.desk.dead:
            self.desk.send(at, StopActor(id, attempt, error))

    def _bury(self, actor: OwnedActor) -> None:
        name = actor.creation.spec.actor_name
        if name:
            self.carrier.unname(name, actor.id)
        self._change(actor, "dead")

    def _change(self, actor: OwnedActor, state: str) -> None:
        actor.state = state
        self.desk.note("actor", actor.id, (state, actor.at))
        for place in actor.watchers:
            self._tell(place, Located(actor.id, actor.at, actor.error))

    def _tell(self, to: Place, message: Located) -> None:
        if to == self.desk.place:
            self.located(message)
        elif to not in self.desk.dead:
            self.desk.send(to, message)
