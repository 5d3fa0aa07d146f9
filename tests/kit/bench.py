"""A node by itself on a bench: told one input at a time, with all invariants checked after each."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from msgspec import Struct

from labray import messages as m
from labray.ids import DRIVER, HEAD, ClientID, NodeID, ObjectID, TaskID
from labray.node import Node
from labray.scheduling import ClusterInfo, Decision, Event, Fact, Keep, NodeInfo, TaskArrived
from tests.kit.loop import spec

N0, N1 = NodeID("n0"), NodeID("n1")
D, W0, W1 = ClientID("n0/driver"), ClientID("n0/w0"), ClientID("n0/w1")
CPU = (("CPU", m.UNIT),)
SHORT_S, TOO_LONG_S = 1e-4, 0.05
VALUE = m.Inline(m.Payload(b"v"))


class Always(Struct, frozen=True):
    """A policy that does the same with every task: what `decide` gives for its id."""

    decide: Callable[[TaskID], Sequence[Decision]]
    words: ClassVar[tuple[type[Struct], ...]] = ()
    interest: ClassVar[tuple[type[Fact], ...]] = ()

    def __repr__(self) -> str:
        return "Always()"

    def agent(self, *known: Any) -> Any:
        return self

    def handle(self, event: Event, now: float) -> Sequence[Decision]:
        return self.decide(event.task.id) if isinstance(event, TaskArrived) else ()


KEEP = Always(lambda task: (Keep(task),))


class Bench:
    """A node with its first workers and a driver. Every input is followed by a check of all invariants."""

    def __init__(
        self,
        cpus: int = 1,
        policy: Always = KEEP,
        place: NodeID = N0,
        workers: int | None = None,
        **options: Any,
    ) -> None:
        totals = (("CPU", cpus * m.UNIT),)
        cluster = ClusterInfo((NodeInfo(N0, totals), NodeInfo(N1, totals)), HEAD)
        workers = cpus if workers is None else workers
        self.node = Node(place, cluster, totals, policy, random.Random(0), prestart=workers, **options)
        self.now = 0.0
        names = [ClientID(f"{place}/w{n}") for n in range(workers)]
        assert self.hear("", m.Booted()) == [m.StartWorker(name) for name in names]
        for name in reversed(names):  # w0 is the last to be idle, and so the first to be used
            assert self.hear("", m.WorkerStarted(name)) == []
        if place == N0:
            assert self.hear("", m.ClientJoined(D)) == []

    def hear(self, sender: str, message: Any, after: float = 0.0) -> list[m.Effect]:
        self.now += after
        effects = self.node.handle(sender, message, self.now)
        self.node.validate()
        return effects

    def submit(self, made: m.TaskSpec, by: ClientID = D) -> list[m.Effect]:
        return self.hear(by, m.SubmitTask(made))

    def finish(
        self, worker: ClientID, task: m.TaskSpec, seconds: float = SHORT_S, **fields: Any
    ) -> list[m.Effect]:
        values = fields.pop("values", (VALUE,) * task.returns)
        done = m.Finished(task.id, fields.pop("attempt", 0), values, self.now, self.now + seconds, **fields)
        return self.hear(worker, done, after=seconds)

    def free(self) -> int:
        return self.node.pool.resources.free["CPU"] // m.UNIT


def task(id: str, owner: NodeID = N0, **fields: Any) -> m.TaskSpec:
    return spec(TaskID(id), fields.pop("parent", DRIVER), owner, **fields)


def ref(made: m.TaskSpec) -> m.Ref:
    return m.Ref(ObjectID(f"{made.id}.0"), made.owner)


def run(worker: ClientID, made: m.TaskSpec, attempt: int = 0, args: tuple[Any, ...] = ()) -> m.Send:
    return m.Send(worker, m.RunTask(made, attempt, args))


def stored(place: str = "n0", size: int = 1_000_000) -> m.Stored:
    return m.Stored(size, m.Block(place, 0, 0, (size,)))


def error(effects: list[m.Effect]) -> m.ErrorInfo:
    """The error that the one effect, an answered get, tells."""
    [effect] = effects
    assert isinstance(effect, m.Send) and isinstance(effect.message, m.Values)
    [value] = effect.message.values
    assert isinstance(value, m.Failed)
    return value.error


def known(seconds: float, more: int = 3) -> tuple[Bench, list[m.TaskSpec], list[m.Effect]]:
    """A bench that knows how long `f` takes, some more tasks of it, and what came of their submission."""
    bench = Bench(workers=2)
    bench.submit(task("d-0"))
    bench.finish(W0, task("d-0"), seconds)
    made = [task(f"d-{n}") for n in range(1, more + 1)]
    return bench, made, [effect for one in made for effect in bench.submit(one)]
