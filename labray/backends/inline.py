"""The whole world in one process and thread: the oracle of the tests, and the place for a debugger.

The same node as everywhere, with workers that are nothing but stack frames. A task runs when its turn comes
while the caller waits in get or wait; a poll (timeout=0) lets one task run. One node, real time, no copies. It is one
thread's, the one that called init(): tasks run on its stack, and there is only one program that is running.
"""

from __future__ import annotations

import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any

from labray import messages as m
from labray.backends.alarms import is_awaited, quiet_limit
from labray.backends.contract import Backend, effect_table
from labray.backends.ctrl_c import Interrupts
from labray.backends.inline_channel import InlineChannel, InlineWorld
from labray.backends.turns import Turns, WantedResults, WorkerInbox
from labray.client import runtime
from labray.client.executor import Executor, leaves
from labray.client.process import Process
from labray.config import Config, processes
from labray.errors import DeadlockError, LabraySystemError, SessionError
from labray.ids import HEAD, ClientID, NodeID, ObjectID, TaskID
from labray.node import Node
from labray.node.inspect.story import story
from labray.node.objects.records import ObjectRecord
from labray.node.workers.resources import boundless
from labray.serialization.identities import IdentityTable
from labray.trace import Event

DEEPEST = 1_000
"""How many tasks may wait inside one another, each on the stack of the one that waits for it."""
FRAMES_A_TASK = 30

ONE_NODE = "there is one node, and so no other to copy a stored object to"
NO_LIMIT = "the store is Python's memory, which is not limited: nothing has to leave it"


class InlineWorker:
    """A worker, which is nothing but stack frames."""

    def __init__(self, channel: InlineChannel, session: str, interrupts: Interrupts, turns: Turns) -> None:
        self.channel = channel
        self.process = Process(channel, session)
        self.process.known = IdentityTable()
        self.executor = Executor(self.process, lambda error: leaves(error) or interrupts.caught(error))
        self.inbox = WorkerInbox(channel.client, turns)


class InlineSession(InlineWorld):
    """One node and the head, a queue of messages between them, and workers on the caller's stack."""

    def __init__(self, config: Config) -> None:
        self.name = f"inline-{time.monotonic_ns()}"
        self.resources: Mapping[str, float] = config.total_resources()
        self.nodes: Sequence[Mapping[str, Any]] = config.describe_nodes()
        self.began = time.monotonic()
        self.store: dict[ObjectID, m.Payload] = {}
        self.mail: deque[tuple[NodeID, str, Any]] = deque()
        self.alarms: list[tuple[float, int, NodeID, m.SetAlarm]] = []
        self.awaited_alarms = 0  # of those that wait, the ones that are not set again for ever
        self.quiet_alarms = 0  # that rang in a row, with nothing between them
        self.delivering, self.depth, self.broken = False, 0, ""
        self.python_limit = sys.getrecursionlimit()
        sys.setrecursionlimit(max(self.python_limit, DEEPEST * FRAMES_A_TASK))
        self.workers: dict[str, InlineWorker] = {}
        self.turns = Turns()
        self.numbers = count()
        self.thread = threading.get_ident()
        self.log: list[Event] = []
        cluster = config.cluster()
        node = cluster.nodes[0]
        most = processes("max_workers", config.extra.get("max_workers"), 1) or 4 * DEEPEST
        self.places = {
            place: Node(
                place, cluster, totals, config.scheduler, Random(f"{config.seed}/{place}"),
                strict=config.strict, max_workers=most, prestart=prestart,
            )
            for place, totals, prestart in ((HEAD, (), 0), (node.place, boundless(node.totals), 1))
        }  # fmt: skip
        self._quiet_limit = quiet_limit(config.nodes)
        self._obey = effect_table(self)
        self.interrupts = Interrupts(lambda: self.delivering)
        self.channel = InlineChannel(self, ClientID("n0/driver"))
        self.runtime = Process(self.channel, self.name)
        self.mail.extend((place, "", m.Booted()) for place in self.places)
        self.deliver(node.place, "", m.ClientJoined(self.channel.client))
        self.closed = False

    def now(self) -> float:
        return time.monotonic() - self.began

    # ------------------------------------------------------------ messages

    def deliver(self, to: NodeID, sender: str, message: Any) -> None:
        """Hand a message over, and all that follows from it; in order, never one inside another."""
        self.mail.append((to, sender, message))
        self.quiet_alarms = 0
        if self.delivering:
            return
        self.delivering = True
        try:
            while self.mail:
                place, source, word = self.mail.popleft()
                for effect in self.places[place].handle(source, word, self.now()):
                    self._obey[type(effect)](place, effect)
        except BaseException as error:  # a signal's, or a policy's: the node is in the middle of something
            self.broken = (
                f"the session has ended: {type(error).__name__} was raised while its node was at work."
            )
            raise
        finally:
            self.delivering = False
        self.interrupts.check(self.depth > 0)

    # ------------------------------------------------------------ effects

    def send(self, place: NodeID, effect: m.Send) -> None:
        """Clients are told at once, without the queue: what they say to it is handled later all the same."""
        to, message = effect.to, effect.message
        if to in self.places:
            self.mail.append((NodeID(to), place, message))
            return
        worker = self.workers.get(to)
        if isinstance(message, m.RunTask):
            if worker is not None:
                worker.inbox.append(message)
        elif isinstance(message, m.Recall | m.Interrupt):
            if worker is not None:
                self._take_back(to, worker, message)
        elif isinstance(message, m.Values | m.ReadyPositions | m.RequestAnswered | m.ActorFound):
            channel = worker.channel if worker is not None else self.channel
            channel.replies[message.request] = message

    def _take_back(self, client: str, worker: InlineWorker, message: m.Recall | m.Interrupt) -> None:
        """Take back what has not begun. A task that runs cannot be stopped: by force the node only hears of its end."""
        at = worker.channel.place
        back = worker.inbox.give_back(message.tasks if isinstance(message, m.Recall) else (message.task,))
        self.mail.append((at, client, m.Recalled(back)))
        if isinstance(message, m.Interrupt) and message.force and worker.inbox.running and not back:
            self._lose(at, ClientID(client), (message.task,))

    def _lose(self, place: NodeID, client: ClientID, begun: tuple[TaskID, ...] | None = None) -> None:
        """A task that runs there, on the caller's own stack, goes on unheard. begun: as in WorkerLost."""
        self.workers.pop(client).inbox.gone = True
        self.mail.append((place, "", m.WorkerLost(client, "it was ended", begun)))

    def start_worker(self, place: NodeID, effect: m.StartWorker) -> None:
        channel = InlineChannel(self, effect.worker)
        self.workers[effect.worker] = InlineWorker(channel, self.name, self.interrupts, self.turns)
        self.mail.append((place, "", m.WorkerStarted(effect.worker)))

    def stop_worker(self, place: NodeID, effect: m.StopWorker) -> None:
        self.workers.pop(effect.worker).inbox.gone = True

    def kill_worker(self, place: NodeID, effect: m.KillWorker) -> None:
        self._lose(place, effect.worker)

    def push_copy(self, place: NodeID, effect: m.PushObject) -> None:
        raise AssertionError(f"{effect.id} cannot be copied: {ONE_NODE}")

    def free_copy(self, place: NodeID, effect: m.FreeBlock) -> None:
        self.store.pop(effect.id, None)

    def spill_copy(self, place: NodeID, effect: m.SpillObject) -> None:
        raise AssertionError(f"{effect.id} cannot be spilled: {NO_LIMIT}")

    def restore_copy(self, place: NodeID, effect: m.RestoreObject) -> None:
        raise AssertionError(f"{effect.id} cannot be restored: {NO_LIMIT}")

    def set_alarm(self, place: NodeID, effect: m.SetAlarm) -> None:
        self.awaited_alarms += is_awaited(effect)
        heappush(self.alarms, (self.now() + effect.after, next(self.numbers), place, effect))

    def warn_user(self, place: NodeID, effect: m.WarnUser) -> None:
        warnings.warn(effect.text, stacklevel=2)

    # ------------------------------------------------------------ running

    def check(self) -> None:
        """Tasks run on the stack of whoever waits: in two threads they would take each other's place."""
        if self.broken:
            raise SessionError(self.broken)
        if threading.get_ident() != self.thread:
            raise LabraySystemError(
                'backend="inline" is one thread: labray was called in another than the one that called init(). '
                'Use backend="cluster" for programs with threads.'
            )

    def is_open(self, task: TaskID) -> bool:
        return task in self.places[self.channel.place].submission.tasks

    def records(self) -> Mapping[ObjectID, ObjectRecord]:
        return self.places[self.channel.place].objects.records

    def step(self, wanted: WantedResults | None = None, fair: bool = False) -> bool:
        """Run one task whose turn has come; whether there was one.

        The main program's tasks run in order. Inside a task, what it waits for comes first and then the newest, so
        that the stack is no deeper than the program's own recursion; unless it is fair: then the oldest.
        """
        self._ring()
        if self.depth and not fair:
            chosen = (wanted.inbox() if wanted is not None else None) or self.turns.newest()
        else:
            chosen = self.turns.oldest()
        if chosen is None:
            return False
        if self.depth >= DEEPEST:
            raise RecursionError(f'{self.depth} tasks inside one another: too deep for backend="inline".')
        worker = self.workers[chosen.client]
        worker.channel.asked = 0
        self._execute(worker, chosen.begin())
        return True

    def _execute(self, worker: InlineWorker, run: m.RunTask) -> None:
        self.interrupts.rang = self.interrupts.rang and self.depth > 0
        before, outer = runtime.switch(worker.process), worker.process.execution
        self.depth += 1
        begun, cpu = self.now(), time.thread_time()
        channel = worker.channel
        try:
            outcome = worker.executor.run(run)
            if run.spec.kind == "actor":
                worker.inbox.slots = run.spec.slots
        except BaseException as error:
            self.workers.pop(channel.client, None)
            worker.inbox.gone = True
            lost = m.WorkerLost(channel.client, f"it raised {type(error).__name__}", begun=(run.spec.id,))
            self.deliver(channel.place, "", lost)
            if not isinstance(error, SystemExit):
                raise
        else:
            done = (run.spec.id, run.attempt, outcome.values, begun, self.now(), time.thread_time() - cpu)
            channel.post(m.Finished(*done, outcome.kept, outcome.retry), outcome.given)
            del outcome  # it keeps the refs inside the results alive
            worker.process.drop_dead_handles()
        finally:
            self.depth -= 1
            worker.process.back_to(outer)
            worker.inbox.end()
            runtime.switch(before)

    def _ring(self) -> None:
        while self.alarms and self.alarms[0][0] <= self.now():
            _, _, place, alarm = heappop(self.alarms)
            awaited = is_awaited(alarm)
            self.awaited_alarms -= awaited
            quiet = self.quiet_alarms + (awaited or not self.awaited_alarms)
            self.deliver(place, "", m.AlarmRang(alarm.token))
            self.quiet_alarms = quiet

    def idle(self, until: float | None) -> None:
        """Nothing can run now: wait for the next alarm or the caller's time, or say who waits for whom.

        Alarms may be set again for ever. When many have rung and nothing came of it, it is a deadlock all the same.
        """
        if self.alarms and (until is not None or self.quiet_alarms <= self._quiet_limit):
            due = self.alarms[0][0] + self.began
            time.sleep(max(0.0, min(due, until if until is not None else due) - time.monotonic()))
        elif until is not None:
            time.sleep(max(0.0, until - time.monotonic()))
        else:
            self.quiet_alarms = 0
            waiting = story(self.places.values())
            raise DeadlockError(f"nothing can happen any more, and the caller waits:\n{waiting}")

    # ------------------------------------------------------------ the session

    def trace(self) -> Sequence[Event]:
        for node in self.places.values():
            self.log.extend(node.take_log())
        self.log.sort(key=lambda event: event[0])
        return self.log

    def close(self) -> None:
        """Idempotent; broken off by an exception it is to be called again."""
        if not self.closed:
            self.interrupts.take_off()
            sys.setrecursionlimit(self.python_limit)
            self.workers.clear()
            self.store.clear()
            self.closed = True


BACKEND = Backend(
    InlineSession,
    options=("max_workers", "object_store_memory"),
    most_nodes=1,
    kills_running=False,
    impossible={m.PushObject: ONE_NODE, m.SpillObject: NO_LIMIT, m.RestoreObject: NO_LIMIT},
)
