"""The node: a state machine without I/O, the same one in every world.

`handle(sender, message, now)` takes what a client, another place or the world says, and returns what the world
must now do. It owns its tasks, resources, objects and actors, and nobody else does. It sees no clock, socket,
process or random source. The parts each have a file; this one opens the mail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labray import messages as m
from labray.ids import HEAD, ClientID, ObjectID, Place, TaskID
from labray.node.births import Births
from labray.node.callers import Callers
from labray.node.cancels import Cancels
from labray.node.checks import check
from labray.node.conduct import Conduct
from labray.node.creations import Creations
from labray.node.custody import Custody
from labray.node.deadlocks import Inquiry, Suspicion
from labray.node.desk import Desk
from labray.node.endings import Endings
from labray.node.fetching import Fetching
from labray.node.impossible import Impossible
from labray.node.lineage import Lineage
from labray.node.losses import place_lost, worker_lost
from labray.node.mail import mailboxes
from labray.node.mind import LocalView, Mind
from labray.node.names import Directory
from labray.node.naming import Naming
from labray.node.objects import ObjectTable
from labray.node.pipes import LONG_S
from labray.node.records import ObjectRecord, size_of
from labray.node.requests import Desks, Request
from labray.node.residents import Residents
from labray.node.shortage import OUT_OF_MEMORY, Shortage
from labray.node.storage import Storage, left_behind
from labray.node.tasks import State
from labray.node.tidings import Tidings
from labray.node.waits import pending
from labray.node.wanted import want
from labray.node.workers import Pool
from labray.scheduling import (
    Cluster,
    Fact,
    NodeInfo,
    NodeJoined,
    Scheduler,
    TaskArrived,
    TaskBlocked,
    TaskUnblocked,
    TaskWithdrawn,
    TimerFired,
)
from labray.trace import Event

if TYPE_CHECKING:
    from random import Random

PIPE_ALARM = 0  # agents' tokens are odd


class Node:
    """One place of the cluster. The head is a node that has nothing and so keeps nothing.

    totals: its resources in 1e-4. strict: what no node could ever run is an error instead of waiting. max_workers: of
    its processes (staff.py). prestart: how many it starts at boot (its CPUs, by default). suspect_s: after how long a
    task that waits makes it ask for a cycle; None: never. traced: whether it writes down what happens. store_bytes: its
    capacity.
    """

    def __init__(
        self, place: Place, cluster: Cluster, totals: m.Demand, scheduler: Scheduler, rng: Random, *,
        strict: bool = False, max_workers: int | None = None, prestart: int | None = None,
        suspect_s: float | None = None, traced: bool = True, store_bytes: int | None = None,
    ) -> None:  # fmt: skip
        interest: frozenset[type[Fact]] = frozenset((TaskArrived, TaskWithdrawn, *scheduler.interest))
        self.place = place
        self.cluster = cluster
        self.desk = Desk(place, interest, traced)
        self.prestart = -(-dict(totals).get("CPU", 0) // m.UNIT) if prestart is None else prestart
        self.hop_limit = 2 * len(cluster.nodes) + 16
        self.storage = Storage(self, store_bytes)
        self.objects = ObjectTable(
            self.desk, self.storage, self._freed, lambda id: self.callers.forget(id), self._unknown,
            lambda: self.tidings.living())  # fmt: skip
        self.clients = Desks(self.desk, self.objects, self._block, self._unblock, self._left)
        self.custody = Custody(self)
        self.impossible = Impossible(self, strict)
        self.fetching = Fetching(self)
        self.lineage = Lineage(self)
        self.creations = Creations(self)
        self.endings = Endings(self)
        self.cancels = Cancels(self)
        self.callers = Callers(self.desk, self.endings)
        make_run = self.custody.make_run
        self.pool = Pool(
            self.desk, totals, max_workers, self.prestart, make_run, self.clients.leave, self.fetching.stage
        )
        self.residents = Residents(self.desk, self.pool, make_run, self.endings, self.storage.is_short)
        view = LocalView(place, self.pool.resources, self.pool.queue, self.objects)
        self.mind = Mind(self.desk, scheduler, cluster, view, rng, self.custody)
        self.names = Directory(self.desk)
        self.naming = Naming(self)
        self.suspicion = Suspicion(self, suspect_s)
        self.inquiry = Inquiry(self)
        self.shortage = Shortage(self)
        self.births, self.conduct = Births(self), Conduct(self)
        self.tidings = Tidings(self)
        self.alarmed = False
        self._handlers = mailboxes(self)

    # ------------------------------------------------------------ the door

    def handle(self, sender: str, message: Any, now: float) -> list[m.Effect]:
        """Take one input; give what the world must do, in order.

        Raises SchedulerError if the policy breaks a rule, AssertionError if this node is wrong.
        """
        desk = self.desk
        desk.now = now
        if "/" not in sender:
            self._handlers[type(message)](sender, message)
        elif (client := self.clients.clients.get(ClientID(sender))) is None:
            return left_behind(message)  # it was stopped while this was under way
        elif not self.conduct.refuses(client, message):
            self._handlers[type(message)](sender, message)
        pool = self.pool
        while True:  # what follows from any input: decisions, then work, until nothing more does
            while desk.later:
                act, arguments = desk.later.popleft()
                act(*arguments)
            if desk.events:
                self.mind.decide()
            if pool.queue.stirred:
                pool.dispatch()
            if self.fetching.parked:
                self.fetching.send_for_the_next()
            if self.storage.stirred:  # last: what has just begun may not be pushed out
                self.storage.serve()
            if not (desk.events or desk.later or self.storage.stirred or pool.queue.stirred):
                break
        if pool.idle and (pool.deep or len(pool.idle) > pool.staff.spare):
            pool.rest()
        if pool.deep and not self.alarmed:
            self.alarmed = True
            desk.do(m.Alarm(LONG_S, PIPE_ALARM))
        effects, desk.effects = desk.effects, []
        return effects

    def take_log(self) -> list[Event]:
        """The trace events since the last call."""
        log, self.desk.log = self.desk.log, []
        return log

    @property
    def log(self) -> list[Event]:
        return self.desk.log

    def validate(self) -> None:
        """Check every invariant; AssertionError names the one that is broken."""
        check(self)

    def pending(self) -> list[str]:
        """What still waits here and for what, in words."""
        return pending(self)

    # ------------------------------------------------------------ clients

    def put(self, sender: ClientID, message: m.Put) -> None:
        """A function is held once more, for ever."""
        value = message.value
        record = self.objects.own(message.id, holds=2 if message.function else 1)
        self.clients.clients[sender].given[message.id] = 1
        refs = value.payload.refs if type(value) is m.Inline else value.refs  # type: ignore[union-attr]
        for ref in refs:
            self.objects.hold(ref)
        if type(value) is m.Stored:
            self.desk.note("put", message.id, (message.parent, value.size))
            self.objects.settle(record, m.Remote(value.size, (self.place,), refs), value)
        else:
            # How large pickled code is depends on whether it was compiled now or read from a cache: not the trace's.
            size = 0 if message.function else size_of(value)
            self.desk.note("put", message.id, (message.parent, size))
            self.objects.settle(record, value)  # type: ignore[arg-type]

    def _block(self, request: Request) -> bool:
        """Its task waits in a get or wait: whether that lends its CPU."""
        want(self, request)
        worker, id = self.pool.workers.get(request.client.id), request.message.task
        task = worker.find(id) if worker is not None and id is not None else None
        if worker is None or task is None or worker.actor is not None:
            return False
        self.pool.block(worker, task, request.order)
        if worker.blocked > 1:  # a signal handler asks, while its body does
            return True
        task.step(State.BLOCKED)
        self.desk.note("blocked", task.id)
        if task.fact is not None:
            self.desk.tell_agent(TaskBlocked(task.fact))
        return True

    def _unblock(self, client: ClientID, id: TaskID) -> None:
        worker = self.pool.workers[client]
        task = worker.find(id)
        assert task is not None, f"{id} was blocked at {client}, and is not there"
        self.pool.unblock(worker)
        if worker.blocked:
            return
        task.step(State.PIPED)
        self.desk.note("unblocked", task.id)
        if task.fact is not None:
            self.desk.tell_agent(TaskUnblocked(task.fact))

    def abandon(self, sender: ClientID, message: m.Abandon) -> None:
        self.clients.abandon(sender, message.request)
        self.naming.abandoned(sender, message.request)

    def _left(self, client: ClientID) -> None:
        self.naming.left(client)

    def kill(self, sender: ClientID, message: m.Kill) -> None:
        actor = message.actor
        if actor.owner == self.place:
            self.creations.settle(actor.id, self.callers.kill(actor.id, message.no_restart))
        else:
            self.desk.send(actor.owner, m.KillActor(actor.id, message.no_restart))

    # ------------------------------------------------------------ the world

    def booted(self, sender: str, message: m.Booted) -> None:
        for _ in range(self.pool.staff.prestart):
            self.pool.start_worker()
        if (own := self.cluster.places.get(self.place)) is not None:
            self.desk.tell_agent(NodeJoined(own))

    def worker_started(self, sender: str, message: m.WorkerStarted) -> None:
        if message.worker in self.pool.workers:
            self.clients.join(message.worker)
            self.pool.started(message.worker)
            self.births.succeeded()

    def worker_lost(self, sender: str, message: m.WorkerLost) -> None:
        worker = self.pool.workers.get(message.worker)
        if worker is None:
            return
        if worker.verdict is not None:
            self.desk.note("lost", message.worker, OUT_OF_MEMORY)
            self.shortage.carried_out(worker, worker.verdict, message.begun)
            return
        self.desk.note("lost", message.worker, message.reason)
        worker_lost(self, worker, message.reason, message.begun)

    def place_lost(self, sender: str, message: m.PlaceLost) -> None:
        self.desk.dead[message.place] = None
        self.desk.heads += message.place == HEAD
        self.desk.dead[self.desk.life(message.place)] = None
        self.desk.note("lost", message.place, "")
        self.names.place_lost(message.place)
        self.inquiry.place_lost(message.place)
        self.mind.lost(message.place)  # before it is asked where to now
        self.storage.spills.place_lost(message.place)
        self.objects.place_lost(message.place)  # first: what starts anew must know what is gone
        self.callers.place_lost(message.place)
        place_lost(self, message.place)

    def place_joined(self, sender: str, message: m.PlaceJoined) -> None:
        if message.place == HEAD:
            self.head_back()
            return
        info = NodeInfo(message.place, message.totals)
        self.cluster = self.cluster.joined(info)
        self.mind.joined(info)

    def head_back(self) -> None:
        """There is a head again. It hears so itself as well, and then asks who lives for what it must know."""
        if self.place == HEAD:
            self.names.expect([n.place for n in self.cluster.nodes if n.place not in self.desk.dead])
            return
        self.desk.dead.pop(HEAD, None)
        self.naming.head_back()
        self.mind.head_back()

    def woke(self, sender: str, message: m.Woke) -> None:
        if message.token == PIPE_ALARM:
            self.alarmed = False
            self.pool.call_back_the_held_up()
        elif (act := self.desk.timers.pop(message.token, None)) is not None:
            act()
        else:
            self.desk.tell_agent(TimerFired(message.token // 2))

    def _freed(self, id: ObjectID) -> None:
        """An object was freed. If it stands for an actor, no handle to it is left."""
        if id in self.callers.owned:
            self.creations.retire(id)
        if self.lineage.origins:
            self.lineage.freed(id)

    def _unknown(self, record: ObjectRecord, error: m.ErrorInfo | None) -> None:
        """No copy of an object is left, as far as this place knows. What is owned here is made again."""
        self.fetching.became_unknown(record.id)
        if record.owner == self.place:
            self.lineage.rebuild(record, error)
