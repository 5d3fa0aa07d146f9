"""The contract of worlds: each obeys every effect of a node, or says why no node there can ask for it."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import numpy as np
import psutil
import pytest

import labray as ray
from labray import backends, session
from labray import messages as m
from labray.backends import BACKENDS, contract
from labray.backends.cluster.daemon.daemon import Daemon as ClusterDaemon
from labray.backends.contract import Backend, Elastic, Probed, Validated
from labray.backends.inline import InlineSession
from labray.backends.sim.control.daemon import SimDaemon as SimulatedDaemon
from labray.client import runtime
from labray.errors import ActorDiedError, OutOfMemoryError
from labray.ids import HEAD, NodeID, ObjectID
from labray.node import Node
from labray.schedulers import BottomUp
from labray.scheduling import (
    ClusterInfo,
    Decision,
    Event,
    Keep,
    TaskArrived,
    TaskRecalled,
    TimerFired,
    Wake,
)
from tests import programs

EFFECTS: tuple[type, ...] = get_args(m.Effect)
HANDLERS = {"inline": InlineSession, "sim": SimulatedDaemon, "cluster": ClusterDaemon}
STORE_BYTES = 4_000_000
"""Four arrays of a megabyte do not fit: with each comes a pickle."""
TEXT = "no memory is left"


# ---------------------------------------------------------------- the table


class Recording:
    """Has every method of an EffectHandler, and remembers which was called."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda place, effect: self.called.append(name)


def test_every_effect_has_a_method_of_its_own_in_the_contract():
    handler: Any = Recording()
    table = contract.effect_table(handler)
    assert set(table) == set(EFFECTS)
    for effect in EFFECTS:
        table[effect](NodeID("n0"), None)
    stated = [name for name in vars(contract.EffectHandler) if not name.startswith("_")]
    assert sorted(handler.called) == sorted(stated)


@pytest.mark.parametrize("world", BACKENDS)
def test_every_world_has_every_method_of_the_contract(world):
    for name in vars(contract.EffectHandler):
        if not name.startswith("_"):
            assert callable(getattr(HANDLERS[world], name))


# ---------------------------------------------------------------- programs, each of which needs one effect


def start(world: str, **options: Any) -> None:
    ray.init(world, num_cpus=2, **options)


def client() -> str:
    """The process that runs this, by its name in the session."""
    at: Any = runtime.current()
    return str(at.channel.client)


def array(number: int) -> Any:
    return np.full(1_000_000, number, np.uint8)


@ray.remote
def one():
    return 1


@ray.remote
def parent():
    return client(), ray.get(child.remote())


@ray.remote
def child():
    return client()


@ray.remote
class Living:
    def who(self):
        return client(), os.getpid()


@ray.remote(max_retries=0)
def takes_all_memory(world):
    if world != "cluster":
        short = m.MemoryShort((), TEXT)
        if world == "inline":
            running().deliver(NodeID("n0"), "", short)
        else:
            running().driver.daemon.receive([(NodeID("n0"), "", short)])
    else:
        kept = b"x" * 300_000_000
    ray.sleep(5.0 if world != "inline" else 0.0)
    return len(kept)


@ray.remote(resources={"node:n1": 0.1})
def far():
    return array(7)


def running() -> Any:
    return session.running()


def until(true: Callable[[], bool]) -> None:
    """A call tells the node what is gone, and takes time in every world."""
    deadline = time.monotonic() + 10.0
    while not true():
        assert time.monotonic() < deadline
        ray.wait([ray.put(0)])
        ray.sleep(0.01)


def sends(world: str) -> None:
    start(world)
    assert ray.get(one.remote()) == 1


def starts(world: str) -> None:
    start(world, max_workers=8)
    here, there = ray.get(parent.remote())
    assert here != there


def stops(world: str) -> None:
    start(world)
    actor = Living.remote()
    who, pid = ray.get(actor.who.remote())
    assert lives(world, who, pid)
    ray.kill(actor)
    with pytest.raises(ActorDiedError):
        ray.get(actor.who.remote())
    until(lambda: not lives(world, who, pid))


def lives(world: str, who: str, pid: int) -> bool:
    if world == "cluster":
        return psutil.pid_exists(pid)
    return who in (running().workers if world == "inline" else running().clients)


def ends(world: str) -> None:
    watched = {"worker_memory_limit": 200_000_000.0, "memory_monitor_refresh_ms": 20.0}
    start(world, **(watched if world == "cluster" else {}))
    with pytest.raises(OutOfMemoryError, match="worker_memory_limit" if world == "cluster" else TEXT):
        ray.get(takes_all_memory.remote(world))
    assert ray.get(one.remote()) == 1


def pushes(world: str) -> None:
    start(world, nodes=2)
    assert np.array_equal(ray.get(far.remote()), array(7))


def frees(world: str) -> None:
    start(world)
    ref = ray.put(array(1))
    until(lambda: stored_bytes(world) >= 1_000_000)
    del ref
    until(lambda: stored_bytes(world) < 1_000_000)


def stored_bytes(world: str) -> int:
    if world == "cluster":
        running().channel._put_cache.settle()  # what is given back is written over by the next that is stored
        running().channel._store_client.writer.see_to_trimming()
        writer = running().channel._store_client.writer
        return int(writer._allocator.used) - sum(sum(block.sizes) for block in writer._freed)
    payloads = (
        running().store if world == "inline" else running().daemons[NodeID("n0")].copies.memory
    ).values()
    return sum(len(payload.data) + sum(map(len, payload.buffers)) for payload in payloads)


def spills(world: str) -> None:
    start(world, object_store_memory=STORE_BYTES)
    refs = [ray.put(array(number)) for number in range(6)]
    until(lambda: bool(on_disk(world)))
    assert len(refs) == 6


def on_disk(world: str) -> Sequence[Any]:
    if world == "cluster":
        return os.listdir(running()._boot.spill_directory)
    return list(running().daemons[NodeID("n0")].copies.files)


def restores(world: str) -> None:
    start(world, object_store_memory=STORE_BYTES)
    refs = [ray.put(array(number)) for number in range(6)]
    for number, ref in enumerate(refs):
        assert np.array_equal(ray.get(ref), array(number))


class Slow:
    """A policy that keeps a task when its alarm rings, and not before."""

    words = ()
    interest = (TaskRecalled, TimerFired)

    def agent(self, place: NodeID, cluster: ClusterInfo, view: Any, rng: Any) -> Slow.Agent:
        return Slow.Agent()

    class Agent:
        def __init__(self) -> None:
            self.held: list[Any] = []

        def handle(self, event: Event, now: float) -> Sequence[Decision]:
            if isinstance(event, TaskArrived | TaskRecalled):
                self.held.append(event.task.id)
                return [Wake(0.05)]
            return [Keep(self.held.pop(0))] if isinstance(event, TimerFired) else []


def alarms(world: str) -> None:
    start(world, scheduler=Slow())
    before = ray.now()
    assert ray.get(one.remote()) == 1
    assert ray.now() - before >= 0.05


def warns(world: str) -> None:
    start(world, **backends.load(world).growing)
    with pytest.warns((UserWarning, RuntimeWarning), match="no node of the cluster can ever run"):
        ray.wait([one.options(resources={"moon": 1}).remote()], timeout=0.5)


PROGRAMS: dict[type, Callable[[str], None]] = {
    m.Send: sends,
    m.StartWorker: starts,
    m.StopWorker: stops,
    m.KillWorker: ends,
    m.PushObject: pushes,
    m.FreeBlock: frees,
    m.SpillObject: spills,
    m.RestoreObject: restores,
    m.SetAlarm: alarms,
    m.WarnUser: warns,
}
STORED = m.Stored(8, m.Block("n0", 0, 0, (8,)))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[type]:
    """What the nodes of this process have asked for."""
    found: Counter[type] = Counter()
    handle = Node.handle

    def counted(self: Node, sender: str, message: Any, now: float) -> list[m.Effect]:
        effects = handle(self, sender, message, now)
        found.update(map(type, effects))
        return effects

    if not ray.compiled:
        monkeypatch.setattr(Node, "handle", counted)
    return found


@pytest.mark.parametrize("effect", EFFECTS, ids=lambda effect: effect.__name__)
@pytest.mark.parametrize("world", BACKENDS)
def test_a_world_obeys_an_effect_or_says_why_nobody_asks_for_it(world, effect, asked):
    why = backends.load(world).impossible.get(effect)
    if why is None:
        PROGRAMS[effect](world)
        assert asked[effect] or world == "cluster" or ray.compiled
    else:
        start(world)
        given: dict[type, Any] = {
            m.PushObject: m.PushObject(ObjectID("d-0"), STORED, HEAD),
            m.SpillObject: m.SpillObject(ObjectID("d-0"), STORED),
            m.RestoreObject: m.RestoreObject(ObjectID("d-0"), STORED),
        }
        with pytest.raises(AssertionError, match=why):
            contract.effect_table(running())[effect](NodeID("n0"), given[effect])


# ---------------------------------------------------------------- what it supplies, and in what it differs


@pytest.mark.parametrize("world", BACKENDS)
def test_what_a_backend_says_of_its_world_is_true(world):
    backend = backends.load(world)
    before = time.monotonic()
    start(world, **backend.growing)
    assert isinstance(running(), Elastic) is backend.elastic
    assert isinstance(running(), Probed | Validated) is (world != "inline")
    ray.sleep(0.2)
    assert (time.monotonic() - before < 0.2) is backend.virtual_time
    ray.shutdown()
    ray.init(world)
    cpus = ray.cluster_resources()["CPU"]
    assert cpus == (len(os.sched_getaffinity(0)) if backend.num_cpus is None else backend.num_cpus)


@ray.remote
class Suicidal:
    def run(self, path):
        ray.kill(ray.get_actor("suicidal"))
        ray.sleep(0.5)
        Path(path).touch()


@pytest.mark.parametrize("world", BACKENDS)
def test_what_runs_is_ended_by_force_where_the_backend_says_so(world, tmp_path):
    start(world)
    actor = Suicidal.options(name="suicidal").remote()
    with pytest.raises(ActorDiedError):
        ray.get(actor.run.remote(str(tmp_path / "it_ran_on")))
    ray.sleep(1.0)
    assert (tmp_path / "it_ran_on").exists() is not backends.load(world).kills_running


# ---------------------------------------------------------------- one more


class CountingSession(InlineSession):
    """A world of its own: inline, and it counts what is said."""

    def __init__(self, config: Any) -> None:
        self.said: Counter[str] = Counter()
        super().__init__(config)

    def send(self, place: NodeID, effect: m.Send) -> None:
        self.said[type(effect.message).__name__] += 1
        super().send(place, effect)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> str:
    """A backend that is a module with a BACKEND, and one line in the registry."""
    module: Any = ModuleType("a_world_of_ones_own")
    module.BACKEND = Backend(CountingSession, options=("max_workers",), most_nodes=1, num_cpus=3)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(BACKENDS, "counting", module.__name__)
    return "counting"


@pytest.mark.parametrize("name", ["fib", "actors_call_actors", "kill", "large_arrays", "named_actors"])
def test_a_new_backend_is_a_module_and_one_line(counting, name):
    ray.init(counting, scheduler=BottomUp())
    assert ray.cluster_resources()["CPU"] == 3
    assert programs.run(name, ray, 0.005) == programs.load(name).EXPECTED
    assert running().said["RunTask"] > 0


def test_the_registry_checks_what_a_new_backend_takes(counting):
    with pytest.raises(ValueError, match=r"no option 'max_worker' with backend='counting'.*max_workers"):
        ray.init(counting, max_worker=3)
    with pytest.raises(ValueError, match='backend="counting" has one node; nodes=2 needs "cluster" or "sim"'):
        ray.init(counting, nodes=2)
    with pytest.raises(ValueError, match=r"no backend 'countin'.*counting"):
        ray.init("countin")
