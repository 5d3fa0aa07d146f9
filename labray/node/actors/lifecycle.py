"""The actors that are owned here: made, found, restarted, killed, and gone with their last handle.

The owner of an actor (the place where it was created) keeps the task that creates it, whose one result is the actor
and whose arguments may be needed again. It knows where the actor is and tells every place that asked.
"""

from __future__ import annotations

from collections.abc import Callable

from labray.ids import HEAD, ClientID, NodeID, ObjectID, result_id
from labray.messages import (
    ActorLocated,
    ActorLost,
    ErrorInfo,
    Failed,
    Inline,
    Kill,
    KillActor,
    KnownValue,
    NameReleased,
    Payload,
    Ref,
    StopActor,
    WatchActor,
)
from labray.node.actors.calling import ActorCalls
from labray.node.actors.hosting import ActorHosting
from labray.node.context.agent_feed import AgentFeed
from labray.node.context.node_context import NodeContext
from labray.node.context.task_record import FORWARDABLE, State, TaskRecord, pinned
from labray.node.context.task_table import TaskTable
from labray.node.objects.directory import ObjectTable

DONE_CONSTRUCTING = Inline(Payload(b""))


class OwnedActor:
    """state: starting, alive, restarting, dead. creation: the record that is submitted again at a restart."""

    __slots__ = ("at", "creation", "error", "id", "state", "watchers")

    def __init__(self, id: ObjectID, creation: TaskRecord) -> None:
        self.id = id
        self.creation = creation
        self.state = "starting"
        self.at: NodeID | None = None
        self.error: ErrorInfo | None = None
        self.watchers: dict[NodeID, None] = {}


class ActorLifecycle:
    """named: those of them that have a name, with their handles. expected: not submitted yet, with who asks for them.

    submit_again: has a creation run once more.
    """

    def __init__(
        self, context: NodeContext, feed: AgentFeed, objects: ObjectTable, task_table: TaskTable, calls: ActorCalls,
        hosting: ActorHosting, submit_again: Callable[[TaskRecord], None],
    ) -> None:  # fmt: skip
        self.context = context
        self.feed = feed
        self.objects = objects
        self.tasks = task_table.tasks
        self.calls = calls
        self.hosting = hosting
        self.submit_again = submit_again
        self.owned: dict[ObjectID, OwnedActor] = {}
        self.expected: dict[ObjectID, dict[NodeID, None]] = {}
        self.named: dict[str, tuple[Ref, bytes]] = {}

    # ------------------------------------------------------------ made

    def expect(self, id: ObjectID) -> None:
        """An actor has a name already, by which others may find it, and is not here yet."""
        self.expected[id] = {}

    def disappoint(self, id: ObjectID, error: ErrorInfo) -> None:
        """It will not come."""
        for place in self.expected.pop(id):
            self._tell_location(place, ActorLocated(id, None, error))

    def created(self, creation: TaskRecord) -> None:
        id = ObjectID(f"{creation.id}.0")
        self.owned[id] = OwnedActor(id, creation)
        self.owned[id].watchers = self.expected.pop(id, {})

    def made(self, task: TaskRecord, values: tuple[KnownValue, ...], at: NodeID) -> None:
        """A constructor ended. The arguments stay pinned while it may have to run again."""
        id = result_id(task.id, 0)
        task.at, task.via = at, None
        value = values[0]
        if type(value) is Failed:
            self.died(id, task.attempt, value.error, may_restart=False)
            return
        self.context.note("finished", task.id, task.attempt)
        self._alive(id, at, task.attempt)
        if task.spec.retries == 0:
            self._let_go(task)
        record = self.objects.records.get(id)
        if record is not None and record.value is None:
            self.objects.settle(record, DONE_CONSTRUCTING)

    def _alive(self, id: ObjectID, at: NodeID, attempt: int) -> None:
        actor = self.owned.get(id)
        if actor is None or actor.state == "dead":  # given up while its constructor ran
            self._stop(id, at, attempt, actor.error if actor else None)
            return
        actor.at = at
        self._change(actor, "alive")

    def unwanted(self, id: ObjectID, at: NodeID, attempt: int) -> None:
        """A constructor that its owner had given up has made an actor: that is ended too."""
        actor = self.owned.get(id)
        if actor is None or actor.state == "dead" or actor.creation.attempt != attempt:
            self._stop(id, at, attempt, actor.error if actor is not None else None)

    # ------------------------------------------------------------ found

    def seek(self, sender: NodeID, x: WatchActor) -> None:
        self.sought(x.actor, sender)

    def sought(self, id: ObjectID, by: NodeID) -> None:
        actor = self.owned.get(id)
        if id in self.expected:
            self.expected[id][by] = None
            return
        if actor is None:
            self._tell_location(by, ActorLocated(id, None, self._gone(id)))
            return
        actor.watchers[by] = None
        self._tell_location(by, ActorLocated(id, actor.at, actor.error))

    def _gone(self, id: ObjectID) -> ErrorInfo:
        return ErrorInfo("actor_died", f"the actor {id} is gone: no handle to it was left.")

    def _change(self, actor: OwnedActor, state: str) -> None:
        actor.state = state
        self.context.note("actor", actor.id, (state, actor.at))
        for place in actor.watchers:
            self._tell_location(place, ActorLocated(actor.id, actor.at, actor.error))

    def _tell_location(self, to: NodeID, message: ActorLocated) -> None:
        if to == self.context.place:
            self.calls.located(to, message)
        elif to not in self.context.dead:
            self.context.send(to, message)

    # ------------------------------------------------------------ dead or restarted

    def actor_lost(self, sender: NodeID, x: ActorLost) -> None:
        self.died(x.actor, x.attempt, x.error)

    def died(self, id: ObjectID, attempt: int, error: ErrorInfo, may_restart: bool = True) -> None:
        """Its process is gone. It is restarted if it may be; else its calls end in this error."""
        actor = self.owned.get(id)
        if actor is None or actor.state == "dead" or actor.creation.attempt != attempt:
            return
        actor.at = None
        if may_restart and actor.creation.may_retry():
            self._change(actor, "restarting")
            self.submit_again(actor.creation)
            return
        actor.error = ErrorInfo("actor_died", error.message, error.type_name, error.traceback, error.pickled)
        self._bury(actor)
        self._fail(actor, Failed(actor.error))

    def _fail(self, actor: OwnedActor, failed: Failed) -> None:
        """It is dead for good: so is what its creation promised, if it had not come."""
        if self.owned.get(actor.id) is not actor:  # with the last of its calls went the last handle
            return
        self.context.note("failed", actor.creation.id, failed.error.kind)
        self._let_go(actor.creation)
        record = self.objects.records.get(actor.id)
        if record is not None and record.value is None:
            self.objects.settle(record, failed)

    def kill_asked(self, sender: ClientID, x: Kill) -> None:
        """By a client here."""
        if x.actor.owner == self.context.place:
            self._kill(x.actor.id, x.no_restart)
        else:
            self.context.send(x.actor.owner, KillActor(x.actor.id, x.no_restart))

    def kill_actor(self, sender: NodeID, x: KillActor) -> None:
        self._kill(x.actor, x.no_restart)

    def _kill(self, id: ObjectID, no_restart: bool) -> None:
        """For good; or it starts anew, which one that is not up yet is about to do anyway."""
        actor = self.owned.get(id)
        if actor is None or actor.state == "dead" or not (no_restart or actor.state == "alive"):
            return
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
        self.died(id, attempt, error, may_restart=not no_restart)

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
        self.calls.forget_actor(id)
        self._let_go(actor.creation)

    def _stop(self, id: ObjectID, at: NodeID, attempt: int, error: ErrorInfo | None) -> None:
        if at == self.context.place:
            self.hosting.stop(id, attempt, error)
        elif at not in self.context.dead:
            self.context.send(at, StopActor(id, attempt, error))

    def _bury(self, actor: OwnedActor) -> None:
        name = actor.creation.spec.actor_name
        if name:
            self.unname(name, Ref(actor.id, self.context.place))
        self._change(actor, "dead")

    def unname(self, name: str, actor: Ref) -> None:
        """An actor owned here is dead, or will never be."""
        if self.named.get(name, (None,))[0] == actor:
            del self.named[name]
        if HEAD not in self.context.dead:
            self.context.send(HEAD, NameReleased(name, actor))

    def _let_go(self, creation: TaskRecord) -> None:
        """It will not run again."""
        if self.tasks.pop(creation.id, None) is None:
            return
        before = creation.state
        creation.step(State.OVER)
        if before in FORWARDABLE:
            self.feed.withdraw(creation)
        for ref in pinned(creation.spec):
            self.objects.release(ref.id)

    # ------------------------------------------------------------ a place is gone

    def forget_watcher(self, lost: NodeID) -> None:
        """It asks no more."""
        for actor in self.owned.values():
            actor.watchers.pop(lost, None)

    def died_with(self, lost: NodeID) -> None:
        """So did the actors that lived there, or were on their way."""
        for actor in list(self.owned.values()):
            if lost in (actor.at, actor.creation.at, actor.creation.via):
                error = ErrorInfo("actor_died", f"the actor {actor.id} died with its node {lost}.")
                self.died(actor.id, actor.creation.attempt, error)
