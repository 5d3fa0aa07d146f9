"""The whole world in one process and thread: the oracle of the tests, and the place for a debugger.

The same node as everywhere, with workers that are nothing but stack frames. A task runs when its turn comes
while the caller waits in get or wait; a poll (timeout=0) lets one task run. One node, real time, no copies.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections import deque
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any

from labray import codec, port
from labray import messages as m
from labray.backends.ctrl_c import Interrupts
from labray.config import Config, processes
from labray.errors import DeadlockError
from labray.executor import Executor, leaves
from labray.identities import Known
from labray.ids import HEAD, ClientID, ObjectID, Place, TaskID, creator
from labray.node import Node
from labray.node.resources import boundless
from labray.node.waits import story
from labray.process import Process
from labray.trace import Event

DEEPEST = 1_000
"""Tasks that wait inside one another."""
FRAMES_A_TASK = 30
PATIENCE = 32
"""After so many calls a task is taken to be polling for what others must do first: the oldest of them runs."""

OPTIONS = ("max_workers", "object_store_memory")  # the store is Python's memory: it is not limited


def start(config: Config) -> InlineSession:
    """A session in this process. ValueError for more than one node."""
    if config.nodes != 1:
        raise ValueError(f'backend="inline" is one node; nodes={config.nodes} needs "sim" or "cluster".')
    return InlineSession(config)


class InlineChannel:
    """The wire of one client: a function call."""

    def __init__(self, world: InlineSession, client: ClientID) -> None:
        self.world = world
        self.place = Place("n0")
        self.client = client
        self.replies: dict[int, m.Notice] = {}
        self.asked = 0  # by the task that runs

    def post(self, message: m.Call) -> None:
        self.world.deliver(self.place, self.client, message)

    def ask(self, message: m.Call, request: int, timeout: float | None) -> m.Notice | None:
        world = self.world
        until = None if timeout is None else time.monotonic() + timeout
        wanted = tuple(creator(ref.id) for ref in getattr(message, "refs", ()))
        self.asked += 1
        if self.asked % PATIENCE == 0:
            world.step(fair=True)
        if getattr(message, "poll", False):
            world.step(wanted)
        self.post(message)
        while request not in self.replies:
            if until is not None and time.monotonic() >= until:
                return None
            if not world.step(wanted) and request not in self.replies:
                world.idle(until)
        return self.replies.pop(request)

    def store(self, object_id: ObjectID, payload: m.Payload) -> m.Stored:
        payload = self.world.store[object_id] = codec.in_place(payload)
        return m.Stored(size := codec.size_of(payload), m.Block(self.client, 0, 0, (size,)), ())

    def unstore(self, object_id: ObjectID, stored: m.Stored) -> None:
        del self.world.store[object_id]

    def load(self, object_id: ObjectID, stored: m.Stored) -> m.Payload:
        """The bytes cannot change and are counted by Python itself: the pin is not needed."""
        payload = self.world.store[object_id]
        self.post(m.Unpin(((object_id, 1),)))
        return payload

    def reread(self, object_id: ObjectID) -> m.Payload | None:
        return None  # asking costs nothing here

    def now(self) -> float:
        return self.world.now()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def spend(self, seconds: float) -> None:
        until = time.thread_time() + seconds
        while time.thread_time() < until:
            pass


class InlineWorker:
    """A worker: what it was sent, and whether it is somewhere on the stack."""

    def __init__(self, world: InlineSession, id: ClientID) -> None:
        self.channel = InlineChannel(world, id)
        self.process = Process(self.channel, world.name)
        self.process.known = Known()
        self.executor = Executor(self.process, lambda error: leaves(error) or world.interrupts.caught(error))
        self.inbox: deque[m.Run] = deque()
        self.since = 0  # when the first in the inbox got there, in turns
        self.running = False

    def put(self, run: m.Run, turn: int) -> None:
        if not self.inbox:
            self.since = turn
        self.inbox.append(run)

    def take(self, turn: int) -> m.Run:
        """The next; the one behind it must wait for those that came before now."""
        self.since = turn
        self.channel.asked = 0
        return self.inbox.popleft()


class InlineSession:
    """One node and the head, a queue of messages between them, and workers on the caller's stack."""

    def __init__(self, config: Config) -> None:
        self.name = f"inline-{time.monotonic_ns()}"
        self.resources: Mapping[str, float] = config.total_resources()
        self.nodes: Sequence[Mapping[str, Any]] = config.describe_nodes()
        self.began = time.monotonic()
        self.store: dict[ObjectID, m.Payload] = {}
        self.mail: deque[tuple[Place, str, Any]] = deque()
        self.alarms: list[tuple[float, int, Place, int]] = []
        self.delivering, self.depth = False, 0
        self.python_limit = sys.getrecursionlimit()
        sys.setrecursionlimit(max(self.python_limit, DEEPEST * FRAMES_A_TASK))
        self.workers: dict[str, InlineWorker] = {}
        self.turns = count(1)
        self.warnings: list[str] = []
        self.log: list[Event] = []
        cluster = config.cluster()
        node = cluster.nodes[0]
        most = processes(config.extra, "max_workers", 1) or 4 * DEEPEST
        self.places = {
            place: Node(
                place, cluster, totals, config.scheduler, Random(f"{config.seed}/{place}"),
                strict=config.strict, max_workers=most, prestart=prestart,
            )
            for place, totals, prestart in ((HEAD, (), 0), (node.place, boundless(node.totals), 1))
        }  # fmt: skip
        self.interrupts = Interrupts(lambda: self.delivering)
        self.channel = InlineChannel(self, ClientID("n0/driver"))
        self.port = Process(self.channel, self.name)
        self.mail.extend((place, "", m.Booted()) for place in self.places)
        self.deliver(node.place, "", m.ClientJoined(self.channel.client))
        self.closed = False

    def now(self) -> float:
        return time.monotonic() - self.began

    # ------------------------------------------------------------ messages

    def deliver(self, to: Place, sender: str, message: Any) -> None:
        """Hand a message over, and all that follows from it; in order, never one inside another."""
        self.mail.append((to, sender, message))
        if self.delivering:
            return
        self.delivering = True
        try:
            while self.mail:
                place, source, word = self.mail.popleft()
                for effect in self.places[place].handle(source, word, self.now()):
                    self._obey(place, effect)
        finally:
            self.delivering = False
        self.interrupts.check(self.depth > 0)

    def _obey(self, place: Place, effect: m.Effect) -> None:
        match effect:
            case m.Send(to, message) if to in self.places:
                self.mail.append((Place(to), place, message))
            case m.Send(to, message):
                self._notify(to, message)
            case m.Start(worker):
                self.workers[worker] = InlineWorker(self, worker)
                self.mail.append((place, "", m.WorkerStarted(worker)))
            case m.Stop(worker):
                del self.workers[worker]
            case m.Free(id):
                self.store.pop(id, None)
            case m.Alarm(after, token):
                heappush(self.alarms, (self.now() + after, next(self.turns), place, token))
            case m.Warn(text):
                self.warnings.append(text)
                warnings.warn(text, stacklevel=2)
            case m.Push(id):
                raise AssertionError(f"a copy of {id} was asked for, and there is one node")

    def _notify(self, to: str, message: m.Notice) -> None:
        """A notice for a client. Recalls take back what has not begun, at once."""
        worker = self.workers.get(to)
        if isinstance(message, m.Run):
            if worker is not None:
                worker.put(message, next(self.turns))
        elif worker is not None and isinstance(message, m.Recall | m.Interrupt):
            at = worker.channel.place
            wanted = message.tasks if isinstance(message, m.Recall) else (message.task,)
            back = tuple(run.spec.id for run in worker.inbox if run.spec.id in wanted)
            worker.inbox = deque(run for run in worker.inbox if run.spec.id not in back)
            self.mail.append((at, to, m.Recalled(back)))
            if isinstance(message, m.Interrupt) and message.force and worker.running and not back:
                del self.workers[to]  # what runs, on the caller's own stack, goes on, and nobody hears of it
                self.mail.append((at, "", m.WorkerLost(ClientID(to), "it was ended", (message.task,))))
        elif isinstance(message, m.Values | m.Ready | m.Registered | m.Found):
            channel = worker.channel if worker is not None else self.channel
            channel.replies[message.request] = message

    # ------------------------------------------------------------ running

    def step(self, wanted: Sequence[TaskID] = (), fair: bool = False) -> bool:
        """Run one task whose turn has come; whether there was one.

        The main program's tasks run in order. Inside a task, what it waits for comes first and then the newest, so
        that the stack is no deeper than the program's own recursion; unless it is fair: then the oldest.
        """
        self._ring()
        ready = [worker for worker in self.workers.values() if worker.inbox and not worker.running]
        if not ready:
            return False
        chosen = (max if self.depth and not fair else min)(ready, key=lambda worker: worker.since)
        if self.depth and not fair:
            chosen = next((worker for worker in ready if worker.inbox[0].spec.id in wanted), chosen)
        self._execute(chosen, chosen.take(next(self.turns)))
        return True

    def _execute(self, worker: InlineWorker, run: m.Run) -> None:
        if self.depth >= DEEPEST:
            raise RecursionError(f'{self.depth} tasks inside one another: too deep for backend="inline".')
        self.interrupts.rang = self.interrupts.rang and self.depth > 0
        before, worker.running = port.switch(worker.process), True
        self.depth += 1
        begun, cpu = self.now(), time.thread_time()
        channel = worker.channel
        try:
            outcome = worker.executor.run(run)
        except BaseException as error:
            self.workers.pop(channel.client, None)
            lost = m.WorkerLost(channel.client, f"it raised {type(error).__name__}", begun=(run.spec.id,))
            self.deliver(channel.place, "", lost)
            if not isinstance(error, SystemExit):
                raise
        else:
            done = (run.spec.id, run.attempt, outcome.values, begun, self.now(), time.thread_time() - cpu)
            channel.post(m.Finished(*done, outcome.kept, outcome.retry))
            del outcome  # it keeps the refs inside the results alive
            worker.process.flush()
        finally:
            self.depth -= 1
            worker.running = False
            port.switch(before)

    def _ring(self) -> None:
        while self.alarms and self.alarms[0][0] <= self.now():
            _, _, place, token = heappop(self.alarms)
            self.deliver(place, "", m.Woke(token))

    def idle(self, until: float | None) -> None:
        """Nothing can run now: wait for the next alarm or the caller's time, or say who waits for whom."""
        if self.alarms:
            due = self.alarms[0][0] + self.began
            time.sleep(max(0.0, min(due, until if until is not None else due) - time.monotonic()))
        elif until is not None:
            time.sleep(max(0.0, until - time.monotonic()))
        else:
            waiting = story(self.places.values())
            raise DeadlockError(f"nothing can happen any more, and the caller waits:\n{waiting}")

    # ------------------------------------------------------------ the session

    def trace(self) -> Sequence[Event]:
        for node in self.places.values():
            self.log.extend(node.take_log())
        self.log.sort(key=lambda event: event[0])
        return self.log

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.interrupts.take_off()
            sys.setrecursionlimit(self.python_limit)
            self.workers.clear()
            self.store.clear()
