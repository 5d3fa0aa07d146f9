"""The node: a state machine without I/O, the same one in every world.

`handle(sender, message, now)` takes what a client, another place or the world says, and returns what the world
must now do. It owns its tasks, resources, objects and actors, and nobody else does. It sees no clock, socket,
process or random source. Its parts are in wings.py; this is the door.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labray import messages as m
from labray.ids import ClientID, NodeID
from labray.node.inspect.invariants import check
from labray.node.routing import handlers
from labray.node.store.node_store import left_behind
from labray.node.wings import Wings
from labray.node.workers.pipelining import LONG_S
from labray.scheduling import ClusterInfo, Scheduler, TimerFired
from labray.trace import Event

if TYPE_CHECKING:
    from random import Random

PIPE_ALARM = 0  # agents' tokens are odd


class Node(Wings):
    """One node of the cluster. The head is a node without resources, and so it runs nothing.

    totals: its resources in units of 1/10,000. strict: a task that no node could ever run is an error; else it waits.
    max_workers: how many processes it may have (headcount.py). prestart: how many it starts at boot (as many as it has
    CPUs, by default). suspect_s: after so many seconds of waiting, a task makes its node suspect a deadlock; None:
    never. traced: whether the node writes a trace. store_bytes: the capacity of its store.
    """

    def __init__(
        self, place: NodeID, cluster: ClusterInfo, totals: m.Demand, scheduler: Scheduler, rng: Random, *,
        strict: bool = False, max_workers: int | None = None, prestart: int | None = None,
        suspect_s: float | None = None, traced: bool = True, store_bytes: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            place,
            cluster,
            totals,
            scheduler,
            rng,
            strict,
            max_workers,
            prestart,
            suspect_s,
            traced,
            store_bytes,
        )
        self.alarmed = False
        self._handlers = {**handlers(self), m.AlarmRang: self.woke}

    def handle(self, sender: str, message: Any, now: float) -> list[m.Effect]:
        """Take one input; give what the world must do, in order.

        Raises SchedulerError if the policy breaks a rule, AssertionError if this node is wrong.
        """
        context = self.context
        context.now = now
        if "/" not in sender:
            self._handlers[type(message)](sender, message)
        elif (client := self.clients.clients.get(ClientID(sender))) is None:
            return left_behind(message)  # it was stopped while this was under way
        elif not self.conduct.refuses(client, message):
            self._handlers[type(message)](sender, message)
        pool = self.pool
        while True:  # what follows from any input: decisions, then work, until nothing more does
            while context.later:
                act, arguments = context.later.popleft()
                act(*arguments)
            if context.events:
                self.policy_host.decide()
            if pool.queue.dirty:
                pool.dispatch()
            if self.staging.parked:
                self.dependencies.send_for_the_next()
            if self.store.dirty:  # last: what has just begun may not be pushed out
                self.admission.serve()
            if not (context.events or context.later or self.store.dirty or pool.queue.dirty):
                break
        if pool.idle and (pool.pipelined or len(pool.idle) > pool.headcount.spare):
            pool.rest()
        if pool.pipelined and not self.alarmed:
            self.alarmed = True
            context.do(m.SetAlarm(LONG_S, PIPE_ALARM))
        effects, context.effects = context.effects, []
        return effects

    def take_log(self) -> list[Event]:
        """The trace events since the last call."""
        log, self.context.log = self.context.log, []
        return log

    @property
    def log(self) -> list[Event]:
        return self.context.log

    def validate(self) -> None:
        """Check every invariant; AssertionError names the one that is broken."""
        check(self)

    def pending(self) -> list[str]:
        """What still waits here and for what, in words."""
        return self.waits.pending()

    def woke(self, sender: str, message: m.AlarmRang) -> None:
        """A time has come: the door's own, one that a part has asked for, or one of the agent's."""
        if message.token == PIPE_ALARM:
            self.alarmed = False
            self.pool.call_back_the_held_up()
        elif (act := self.context.timers.pop(message.token, None)) is not None:
            act()
        else:
            self.context.tell_agent(TimerFired(message.token // 2))
