"""A world for tests: nodes, wires and workers without time, where any wire may deliver next.

It drives the real Node. Bodies are generators that yield calls to their node and get the replies. Whatever a
real world could do to a node in some order, this one does in an order drawn from a seed, and checks after every
input: the node's own invariants, that bodies run only with all their inputs and within capacity, and in the end
that everything came back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from functools import partial
from random import Random
from typing import Any

from labray import messages as m
from labray.ids import (
    DRIVER,
    HEAD,
    ClientID,
    NodeID,
    ObjectID,
    TaskID,
    lineage_prefix,
    node_id,
    put_id,
    result_id,
    task_id,
)
from labray.node import Node
from labray.scheduling import ClusterInfo, NodeInfo, Scheduler

Body = Generator[Any, Any, list[m.Value]]
EMPTY = m.Payload(b"")
LARGE = 1_000_000


def small() -> m.Value:
    return m.Inline(EMPTY)


def spec(task: TaskID, parent: TaskID, owner: NodeID, **fields: Any) -> m.TaskSpec:
    fields.setdefault("name", "f")
    fields.setdefault("kind", "task")
    fields.setdefault("args", EMPTY)
    fields.setdefault("function", None)
    return m.TaskSpec(id=task, parent=parent, owner=owner, **fields)


class LoopWorker:
    def __init__(self, id: ClientID, at: NodeID) -> None:
        self.id = id
        self.at = at
        self.inbox: deque[m.RunTask] = deque()
        self.run: m.RunTask | None = None
        self.body: Body | None = None
        self.waiting: m.Get | m.Wait | None = None
        self.reply: Any = None
        self.resumed = False
        self.interrupted = False


class LoopWorld:
    """places and clients by name; `make_body(run, world, worker)` says what a task does."""

    def __init__(
        self, nodes: int, cpus: int, scheduler: Scheduler, seed: int, make_body: Callable[..., Body],
        store_bytes: int | None = None, bad_disk: float = 0.0, max_workers: int = 10_000,
    ) -> None:  # fmt: skip
        self.rng = Random(seed)
        self.store_bytes = store_bytes
        self.max_workers = max_workers
        self.bad_disk = bad_disk  # how often the disk does not do as it is told
        self.validated_every = 1  # inputs; a node walks all that it has
        self.inputs = 0
        self.twice: dict[tuple[NodeID, ObjectID], int] = {}
        self.disk: dict[tuple[NodeID, ObjectID], int] = {}
        self.puts = self.spills = self.restores = 0
        self.cpus = cpus
        self.scheduler = scheduler
        self.joined = 0
        infos = tuple(
            NodeInfo(node_id(f"n{i}"), (("CPU", cpus * m.UNIT), (f"node:n{i}", m.UNIT))) for i in range(nodes)
        )
        self.cluster = ClusterInfo(infos, HEAD)
        self.nodes = {
            p: Node(
                p, self.cluster, totals, scheduler, Random(f"{seed}/{p}"), max_workers=max_workers,
                store_bytes=store_bytes,
            )
            for p, totals in [(HEAD, ()), *((i.place, i.totals) for i in infos)]
        }  # fmt: skip
        self.now = 0.0
        self.wires: dict[tuple[str, str], deque[Any]] = {}
        self.alarms: list[tuple[float, NodeID, int]] = []
        self.store: dict[tuple[NodeID, ObjectID], int] = {}
        self.workers: dict[str, LoopWorker] = {}
        self.make_body = make_body
        self.driver = ClientID("n0/driver")
        self.replies: dict[int, Any] = {}
        self.completed: dict[str, int] = {}
        self.begun: dict[str, int] = {}
        self.values: dict[ObjectID, bool] = {}
        self.started_calls: list[str] = []
        self.counters: dict[str, int] = {}
        self.requests = 0
        self.asked: dict[int, m.Get | m.Wait] = {}  # given up; an answer may be under way
        self.warned: list[str] = []
        self.doomed: list[str] = []  # workers to be killed
        news = [(p, m.Booted()) for p in self.nodes] + [(NodeID("n0"), m.ClientJoined(self.driver))]
        for p, message in news:
            for effect in self.nodes[p].handle("", message, self.now):
                self._obey(p, effect)

    # ------------------------------------------------------------ what a client can say

    def next_id(self, parent: TaskID, attempt: int) -> TaskID:
        prefix = lineage_prefix(parent, attempt)
        self.counters[prefix] = self.counters.get(prefix, -1) + 1
        return task_id(prefix, self.counters[prefix])

    def submit(self, client: str, parent: TaskID = DRIVER, attempt: int = 0, **fields: Any) -> m.Ref:
        at = NodeID(client.partition("/")[0])
        id = self.next_id(parent, attempt)
        self.wire(client, at, m.SubmitTask(spec(id, parent, at, **fields)))
        return m.Ref(result_id(id, 0), at)

    def request(self) -> int:
        self.requests += 1
        return self.requests

    def ask(self, message: m.Get | m.Wait | m.Allocate) -> Any:
        """The driver asks, and the world runs until it is answered."""
        self.wire(self.driver, "n0", message)
        self.run_until(lambda: message.request in self.replies)
        return self.replies.pop(message.request)

    def get(self, *refs: m.Ref) -> tuple[m.Value, ...]:
        return self.ask(m.Get(self.request(), tuple(refs))).values

    def put(self, size: int) -> m.Ref | m.ErrorInfo:
        """The driver stores a value, or is told why it cannot."""
        self.puts += 1
        id = put_id(lineage_prefix(DRIVER, 0), self.puts)
        granted = self.ask(m.Allocate(self.request(), id, size, size, size))
        if granted.error is not None:
            return granted.error
        self.store[(NodeID("n0"), id)] = size
        self.wire(self.driver, "n0", m.PutObject(id, stored(size, self.driver), DRIVER))
        return m.Ref(id, NodeID("n0"))

    def read(self, ref: m.Ref) -> m.Value:
        """Get one value, look at it, and let go of the view."""
        (value,) = self.get(ref)
        if isinstance(value, m.Stored):
            self.wire(self.driver, "n0", m.Unpin(((ref.id, 1),)))
        return value

    def cancel(self, ref: m.Ref, force: bool = False, recursive: bool = True) -> None:
        self.wire(self.driver, "n0", m.Cancel(self.request(), ref, force, recursive))

    def drop(self, *refs: m.Ref) -> None:
        self.wire(self.driver, "n0", m.DropRefs(tuple((ref.id, 1) for ref in refs)))

    # ------------------------------------------------------------ turning the crank

    def wire(self, source: str, to: str, message: Any) -> None:
        self.wires.setdefault((source, to), deque()).append(message)

    def run_until(self, done: Callable[[], bool], steps: int = 200_000) -> None:
        for _ in range(steps):
            if done():
                return
            if not self.step():
                pending = [line for node in self.nodes.values() for line in node.pending()]
                raise AssertionError("stuck: " + "\n".join(pending))
        raise AssertionError("the world runs on and on")

    def settle(self) -> None:
        """Run until nothing is left to do but alarms that are not due yet."""
        while self.step(alarms=False):
            pass

    def step(self, alarms: bool = True) -> bool:
        """One thing that can happen, happens."""
        choices = [partial(self._deliver, ends) for ends in self.wires]
        choices += [
            partial(self._go_on, worker) for worker in self.workers.values() if self._can_go_on(worker)
        ]
        choices += [partial(self.kill, id) for id in self.doomed]
        if not choices and not (self.alarms and (alarms or min(self.alarms)[0] <= self.now)):
            return False
        self.now += 0.0001
        if not choices:
            self._ring()
        else:
            self.rng.choice(choices)()
        return True

    def _deliver(self, ends: tuple[str, str]) -> None:
        source, to = ends
        queue = self.wires[ends]
        message = queue.popleft()
        if not queue:
            del self.wires[ends]
        node = self.nodes.get(NodeID(to))
        if node is None:
            self._notify(to, message)
            return
        if "/" in source and source != self.driver and source not in self.workers:
            return  # it is dead, and what it said is dropped
        for effect in node.handle(source, message, self.now):
            self._obey(node.place, effect)
        self.inputs += 1
        if self.inputs % self.validated_every == 0:
            node.validate()

    def _obey(self, at: NodeID, effect: m.Effect) -> None:
        match effect:
            case m.Send(to, message):
                if isinstance(message, m.Recall):
                    self._recall(at, to, message)
                elif "/" in to or to in self.nodes:
                    self.wire(at, to, message)
            case m.StartWorker(worker):
                self.workers[worker] = LoopWorker(worker, at)
                self.wire("", at, m.WorkerStarted(worker))
            case m.KillWorker(worker):
                self.doomed.append(worker)
            case m.StopWorker(worker):
                self._remove(worker)
            case m.PushObject(id, value, to):
                assert (at, id) in (self._where(value)), f"{id} is pushed from {at}, where it is not"
                if to in self.nodes:
                    self.wire("push" + at, to, m.ObjectArrived(id, stored(value.size, to), at))
                    self.store[(to, id)] = value.size
            case m.FreeBlock(id, value):
                if self.twice.get((at, id)) and value.block.writer != m.DISK:
                    self.twice[(at, id)] -= 1
                else:
                    del self._where(value)[(at, id)]
            case m.SpillObject(id, value):
                assert (at, id) in self.store
                self.wire(f"disk{at}", at, self._spill(at, id, value))
            case m.RestoreObject(id, value):
                assert (at, id) in self.disk
                self.wire(f"disk{at}", at, self._restore(at, id, value))
            case m.SetAlarm(after, token):
                self.alarms.append((self.now + after, at, token))
            case m.WarnUser(text):
                self.warned.append(text)

    def _where(self, value: m.Stored) -> dict[tuple[NodeID, ObjectID], int]:
        return self.disk if value.block.writer == m.DISK else self.store

    def _spill(self, at: NodeID, id: ObjectID, value: m.Stored) -> m.ObjectSpilled:
        if self.rng.random() < self.bad_disk:
            return m.ObjectSpilled(id, None, "it is full.")
        self.disk[(at, id)] = value.size
        self.spills += 1
        return m.ObjectSpilled(id, stored(value.size, m.DISK))

    def _restore(self, at: NodeID, id: ObjectID, value: m.Stored) -> m.ObjectRestored:
        if self.rng.random() < self.bad_disk:
            return m.ObjectRestored(id, None, "it cannot be read.", self.rng.random() < 0.5)
        self.store[(at, id)] = value.size
        self.restores += 1
        return m.ObjectRestored(id, stored(value.size, at))

    def _readable(self, at: str, ref: m.Ref, value: Any) -> None:
        """What a client is told to read is there."""
        place = NodeID(at.partition("/")[0])
        assert not isinstance(value, m.Stored) or (place, ref.id) in self.store, (
            f"{at} is to read {ref.id}, freed"
        )

    def _ring(self) -> None:
        alarm = min(self.alarms)
        self.alarms.remove(alarm)
        self.now = max(self.now, alarm[0])
        self.wire("", alarm[1], m.AlarmRang(alarm[2]))

    def _remove(self, id: str) -> None:
        self.workers.pop(id, None)
        self.doomed = [other for other in self.doomed if other != id]
        self.wires = {ends: queue for ends, queue in self.wires.items() if id not in ends}

    def kill(self, id: str) -> None:
        """A worker process dies; what it had said before still arrives first."""
        self.doomed = [other for other in self.doomed if other != id]
        worker = self.workers.pop(id)
        said = self.wires.pop((id, worker.at), deque())
        begun = () if worker.run is None else (worker.run.spec.id,)
        node = self.nodes[worker.at]
        for message in said:
            for effect in node.handle(id, message, self.now):
                self._obey(worker.at, effect)
        for effect in node.handle("", m.WorkerLost(ClientID(id), "killed by the test", begun), self.now):
            self._obey(worker.at, effect)
        self.wires.pop((worker.at, id), None)
        node.validate()

    def add_place(self) -> None:
        """A node joins: it knows who lives, and hears who does not; the others hear of it at once."""
        self.joined += 1
        name = f"n{100 + self.joined}"
        info = NodeInfo(node_id(name), (("CPU", self.cpus * m.UNIT), (f"node:{name}", m.UNIT)))
        living = tuple(node for node in self.cluster.nodes if node.place in self.nodes)
        lost = [node.place for node in self.cluster.nodes if node.place not in self.nodes]
        others = list(self.nodes.values())
        self.cluster = ClusterInfo((*self.cluster.nodes, info), HEAD)
        seen = ClusterInfo((*living, info), HEAD)
        rng = Random(f"{self.rng.random()}")
        self.nodes[info.place] = Node(
            info.place,
            seen,
            info.totals,
            self.scheduler,
            rng,
            max_workers=self.max_workers,
            store_bytes=self.store_bytes,
        )
        for news in (m.Booted(), *(m.PeerLost(other) for other in lost)):
            for effect in self.nodes[info.place].handle("", news, self.now):
                self._obey(info.place, effect)
        for other in others:
            for effect in other.handle("", m.PeerJoined(info.place, info.totals), self.now):
                self._obey(other.place, effect)

    def kill_place(self, lost: NodeID) -> None:
        """A node dies with its workers and its store; everybody is told. What it had sent may still arrive or not."""
        del self.nodes[lost]
        mine = [id for id, worker in self.workers.items() if worker.at == lost]
        for id in mine:
            self._remove(id)
        self.wires = {
            ends: queue
            for ends, queue in self.wires.items()
            if lost not in (ends[0].removeprefix("push").removeprefix("disk"), ends[1])
            and not {*ends} & {*mine}
        }
        self.store = {key: size for key, size in self.store.items() if key[0] != lost}
        self.disk = {key: size for key, size in self.disk.items() if key[0] != lost}
        self.alarms = [alarm for alarm in self.alarms if alarm[1] != lost]
        for node in self.nodes:
            self.wire("", node, m.PeerLost(lost))

    # ------------------------------------------------------------ clients

    def _notify(self, to: str, message: Any) -> None:
        if to == self.driver:
            if hasattr(message, "request"):
                self.replies[message.request] = message
            return
        worker = self.workers.get(to)
        if worker is None:
            return
        if isinstance(message, m.Interrupt):
            self._interrupt(worker, message)
        elif isinstance(message, m.Values | m.Granted) and (
            worker.waiting is None or worker.waiting.request != message.request
        ):
            self._unread(worker, message)
        elif isinstance(message, m.RunTask):
            for ref, value in zip(message.spec.deps, message.args, strict=True):
                self._readable(to, ref, value)
            worker.inbox.append(message)
        elif worker.waiting is not None and getattr(message, "request", None) == worker.waiting.request:
            worker.reply, worker.waiting, worker.resumed = message, None, True

    def _interrupt(self, worker: LoopWorker, message: m.Interrupt) -> None:
        """Given back if it has not begun, else thrown into it at its next step."""
        back = [run for run in worker.inbox if run.spec.id == message.task]
        for run in back:
            worker.inbox.remove(run)
            self.wire(worker.id, worker.at, m.Recalled((run.spec.id,)))
        run = worker.run
        if run is not None and (run.spec.id, run.attempt) == (message.task, message.attempt):
            if message.force:
                self.kill(worker.id)
                return
            if worker.waiting is not None:
                self.wire(worker.id, worker.at, m.Abandon(worker.waiting.request))
            worker.waiting, worker.interrupted, worker.resumed = None, True, True

    def _unread(self, worker: LoopWorker, late: m.Values | m.Granted) -> None:
        asked = self.asked.pop(late.request)
        if isinstance(late, m.Granted):
            self.wire(worker.id, worker.at, m.Deallocate(asked.id))
            return
        pairs = zip(asked.refs, late.values, strict=False)
        if pinned := tuple((ref.id, 1) for ref, value in pairs if isinstance(value, m.Stored)):
            self.wire(worker.id, worker.at, m.Unpin(pinned))

    def _recall(self, at: NodeID, to: str, message: m.Recall) -> None:
        """As the cluster does it: what the worker has not read is taken out of its wire."""
        worker = self.workers.get(to)
        if worker is None:
            return
        unread = self.wires.get((at, to), deque())
        back = [
            x for x in (*worker.inbox, *unread) if isinstance(x, m.RunTask) and x.spec.id in message.tasks
        ]
        for run in back:
            (worker.inbox if run in worker.inbox else unread).remove(run)
        if (at, to) in self.wires and not unread:
            del self.wires[(at, to)]
        self.wire(to, at, m.Recalled(tuple(run.spec.id for run in back)))

    def _can_go_on(self, worker: LoopWorker) -> bool:
        return worker.waiting is None and (worker.run is not None or bool(worker.inbox))

    def _go_on(self, worker: LoopWorker) -> None:
        if worker.run is None:
            self._begin(worker, worker.inbox.popleft())
        assert worker.body is not None
        try:
            if worker.interrupted:
                worker.interrupted = False
                if isinstance(worker.reply, m.Values | m.Granted):
                    self._unread(worker, worker.reply)
                worker.reply = None
                message = worker.body.throw(KeyboardInterrupt)
            else:
                message = worker.body.send(worker.reply)
        except StopIteration as stop:
            self._end(worker, stop.value)
            return
        except KeyboardInterrupt:
            run = worker.run
            assert run is not None
            self._end(worker, [m.Failed(m.ErrorInfo("cancelled", "interrupted"))] * run.spec.returns)
            return
        worker.reply = None
        if isinstance(message, m.Get | m.Wait | m.Allocate):
            worker.waiting = self.asked[message.request] = message
        self.wire(worker.id, worker.at, message)

    def _begin(self, worker: LoopWorker, run: m.RunTask) -> None:
        assert len(run.args) == len(run.spec.deps), f"{run.spec.id} began without its inputs"
        for ref in run.spec.deps:
            assert self.values.get(ref.id), f"{run.spec.id} began before {ref.id} existed"
        busy = [
            w for w in self.workers.values() if w.at == worker.at and w.run is not None and w.waiting is None
        ]
        resumed = [w for w in busy if w.resumed]  # they took their CPU back at once: an overdraft
        used = sum(
            dict(w.run.spec.demand).get("CPU", 0) for w in busy if w.run and w.run.spec.kind != "method"
        )
        mine = dict(run.spec.demand).get("CPU", 0) if run.spec.kind == "task" else 0
        assert used + mine <= self.cpus * m.UNIT or resumed, (
            f"{worker.at} runs more than it can: {run.spec.id} begins beside {[(w.id, w.run) for w in busy]}\n"
            + "\n".join(map(str, self.nodes[worker.at].log[-40:]))
        )
        worker.run, worker.reply, worker.resumed = run, None, False
        self.begun[run.spec.id] = self.begun.get(run.spec.id, 0) + 1
        worker.body = self.make_body(run, self, worker)
        if run.spec.kind == "method":
            self.started_calls.append(run.spec.id)

    def _end(self, worker: LoopWorker, values: list[m.Value]) -> None:
        run = worker.run
        assert run is not None
        for index, value in enumerate(values):
            id = result_id(run.spec.id, index)
            if isinstance(value, m.Stored):
                if (
                    worker.at,
                    id,
                ) in self.store:  # by an attempt that was given up: two blocks, one will be freed
                    self.twice[(worker.at, id)] = self.twice.get((worker.at, id), 0) + 1
                self.store[(worker.at, id)] = value.size
                values[index] = stored(value.size, worker.id)
            self.values[id] = True
        unpinned = tuple(
            (ref.id, 1) for ref, arg in zip(run.spec.deps, run.args, strict=True) if type(arg) is m.Stored
        )
        begun = self.now
        self.wire(
            worker.id, worker.at, m.Finished(run.spec.id, run.attempt, tuple(values), begun, begun + 1e-5)
        )
        if unpinned:
            self.wire(worker.id, worker.at, m.Unpin(unpinned))
        self.completed[run.spec.id] = self.completed.get(run.spec.id, 0) + 1
        worker.run = worker.body = worker.reply = None
        worker.interrupted = False

    # ------------------------------------------------------------ the end

    def come_to_rest(self) -> None:
        """Settle; a worker that died before its first word is started anew after a pause."""
        self.settle()
        while self.alarms and any(node.pool.starting for node in self.nodes.values()):
            self._ring()
            self.settle()

    def assert_all_is_back(self) -> None:
        """Resources, objects, tasks: nothing is in use any more."""
        self.come_to_rest()
        for node in self.nodes.values():
            assert node.pool.resources.free == node.pool.resources.totals, (
                f"{node.place}: {node.pool.resources.free}"
            )
            assert not node.submission.tasks, f"{node.place} still has {list(node.submission.tasks.values())}"
            left = {id: (r.holds, r.loans, r.given, r.pins) for id, r in node.objects.records.items()}
            assert not left, f"{node.place} still has objects: {left}"
            account = node.store.account
            assert not account.used and not account.promised, (
                f"{node.place}: {account.used}, {account.promised}"
            )
        assert not self.store, f"still stored: {self.store}"
        assert not self.disk, f"still on disk: {self.disk}"


def stored(size: int = LARGE, writer: str = "") -> m.Stored:
    return m.Stored(size, m.Block(writer, 0, 0, (size,)))
