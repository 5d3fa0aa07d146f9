"""Nodes that come and go while a program runs, and what is lost and found when one is killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import psutil
import pytest

import labray
from labray.cluster_utils import Cluster
from labray.errors import ActorDiedError, GetTimeoutError, ObjectLostError, OwnerDiedError

PATIENCE_S = 20.0


WORLDS = ["cluster", "sim"]
POLICIES = ["centralized", "bottom_up"]


@pytest.fixture(params=POLICIES)
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Real processes: a head with one CPU, under each of the two policies."""
    cluster = Cluster(head_node_args={"num_cpus": 1}, scheduler=request.param)
    yield cluster
    cluster.shutdown()


@pytest.fixture(params=[(world, policy) for world in WORLDS for policy in POLICIES], ids="-".join)
def either(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """The same in each world: what one of them does, the other must."""
    world, policy = request.param
    cluster = Cluster(head_node_args={"num_cpus": 1}, scheduler=policy, backend=world)
    yield cluster
    cluster.shutdown()


@labray.remote
def where() -> str:
    return str(labray.port.current().channel.place)  # type: ignore[attr-defined]


@labray.remote
def daemon() -> int:
    """The process id of the daemon of the node that runs this: the other end of the worker's pipe."""
    name = str(labray.port.current().channel.place)  # type: ignore[attr-defined]
    directory = labray.port.current().channel._reader._directory  # type: ignore[attr-defined]
    path = os.path.join(directory, name)
    own = {os.getpid(), os.getppid()}
    for process in psutil.Process(os.getppid()).children():
        if process.pid not in own and any(path == c.laddr for c in process.net_connections("unix")):
            return process.pid
    raise LookupError(f"no daemon listens at {path}")


@labray.remote
def full(value: int) -> np.ndarray:
    return np.full(200_000, value)


@labray.remote
def total(array: np.ndarray) -> int:
    return int(array.sum())


def at(node: Any, function: Any) -> Any:
    return function.options(resources={f"node:{node.name}": 0.01})


def test_a_node_that_joins_runs_what_waited_for_it(either: Cluster, recwarn: pytest.WarningsRecorder) -> None:
    waiting = where.options(resources={"disk": 1}).remote()
    with pytest.raises(GetTimeoutError):
        labray.get(waiting, timeout=0.2)
    node = either.add_node(num_cpus=1, resources={"disk": 2})
    assert labray.get(waiting, timeout=PATIENCE_S) == node.name
    assert any("waits until such a node joins" in str(warning.message) for warning in recwarn)


def test_nodes_that_join_are_used_listed_and_counted(either: Cluster) -> None:
    nodes = [either.add_node(num_cpus=1), either.add_node(num_cpus=1, resources={"disk": 1})]
    either.wait_for_nodes(PATIENCE_S)
    spread = [where.options(scheduling_strategy="SPREAD").remote() for _ in range(9)]
    assert set(labray.get(spread, timeout=PATIENCE_S)) == {"n0", "n1", "n2"}
    assert labray.cluster_resources()["CPU"] == 3 and labray.cluster_resources()["disk"] == 1
    either.remove_node(nodes[0])
    assert [node.name for node in either.list_all_nodes()] == ["n0", "n2"]
    assert {n["NodeID"]: n["Alive"] for n in labray.nodes()} == {"n0": True, "n1": False, "n2": True}
    assert labray.cluster_resources()["CPU"] == 2
    assert "ran" in {event[1] for event in labray.session.running().trace()}
    third = either.add_node(num_cpus=1)
    assert labray.get(at(third, where).remote(), timeout=PATIENCE_S) == "n3"


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize(
    "scheduler", ["random", "round_robin", "least_loaded", "power_of_d", "work_stealing"]
)
def test_every_policy_takes_up_a_node_that_joins_and_lets_go_of_one_that_leaves(
    scheduler: str, world: str
) -> None:
    cluster = Cluster(head_node_args={"num_cpus": 1}, scheduler=scheduler, backend=world)
    first = cluster.add_node(num_cpus=1)
    waiting = where.options(resources={"node:n2": 0.1}).remote()
    second = cluster.add_node(num_cpus=1)
    assert labray.get(waiting, timeout=PATIENCE_S) == second.name
    cluster.remove_node(first)
    spread = [where.options(scheduling_strategy="SPREAD", max_retries=5).remote() for _ in range(8)]
    assert set(labray.get(spread, timeout=PATIENCE_S)) <= {"n0", "n2"}
    cluster.shutdown()


def test_what_a_removed_node_alone_held_is_made_again_elsewhere(either: Cluster) -> None:
    node = either.add_node(num_cpus=1, resources={"disk": 1})
    array = full.options(resources={"disk": 1}).remote(3)
    doubled = total.options(resources={"disk": 1}).remote(array)
    assert labray.get(doubled, timeout=PATIENCE_S) == 600_000
    either.add_node(num_cpus=1, resources={"disk": 1})
    either.remove_node(node)
    assert (labray.get(array, timeout=PATIENCE_S) == 3).all()
    assert labray.get(total.remote(array), timeout=PATIENCE_S) == 600_000


def test_a_put_value_that_went_with_its_node_says_so(either: Cluster) -> None:
    node = either.add_node(num_cpus=1)

    @labray.remote
    class Holder:
        def put(self) -> list[Any]:
            self.kept = labray.put(np.ones(200_000))
            return [self.kept]

    holder = at(node, Holder).remote()
    (ref,) = labray.get(holder.put.remote(), timeout=PATIENCE_S)
    either.remove_node(node)
    with pytest.raises(OwnerDiedError, match=f"{node.name}, is lost"):
        labray.get(ref, timeout=PATIENCE_S)
    with pytest.raises(ActorDiedError, match=node.name):
        labray.get(holder.put.remote(), timeout=PATIENCE_S)


def test_a_result_that_may_not_be_made_again_says_why(either: Cluster) -> None:
    node = either.add_node(num_cpus=1)
    array = at(node, full).options(max_retries=0).remote(1)
    labray.wait([array], timeout=PATIENCE_S)
    either.remove_node(node)
    with pytest.raises(ObjectLostError, match="only copy"):
        labray.get(array, timeout=PATIENCE_S)


@pytest.mark.parametrize("retries", [0, 1])
def test_an_actors_lost_result_comes_back_if_its_calls_may_be_made_again(
    cluster: Cluster, retries: int
) -> None:
    node = cluster.add_node(num_cpus=1, resources={"disk": 1})

    @labray.remote(resources={"disk": 1}, max_restarts=1, max_task_retries=retries)
    class Maker:
        def full(self, value: int) -> np.ndarray:
            return np.full(200_000, value)

    maker = Maker.remote()
    array = maker.full.remote(4)
    labray.wait([array], timeout=PATIENCE_S)
    cluster.add_node(num_cpus=1, resources={"disk": 1})
    cluster.remove_node(node)
    if retries:
        assert (labray.get(array, timeout=PATIENCE_S) == 4).all()
    else:
        with pytest.raises(ObjectLostError, match="max_task_retries=0"):
            labray.get(array, timeout=PATIENCE_S)
    assert labray.get(total.remote(maker.full.remote(5)), timeout=PATIENCE_S) == 1_000_000


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV])
def test_a_killed_daemon_loses_its_node_and_nothing_else(cluster: Cluster, how: signal.Signals) -> None:
    node = cluster.add_node(num_cpus=1)
    cluster.add_node(num_cpus=1)
    pid = labray.get(at(node, daemon).remote(), timeout=PATIENCE_S)
    refs = [full.options(max_retries=-1).remote(n) for n in range(30)]
    labray.wait(refs, num_returns=10, timeout=PATIENCE_S)
    os.kill(pid, how)
    sums = labray.get([total.options(max_retries=-1).remote(ref) for ref in refs], timeout=PATIENCE_S)
    assert sums == [200_000 * n for n in range(30)]


def test_the_first_node_and_strangers_cannot_be_removed(either: Cluster) -> None:
    node = either.add_node()
    head = either.list_all_nodes()[0]
    with pytest.raises(ValueError, match="head"):
        either.remove_node(head)
    either.remove_node(node)
    with pytest.raises(ValueError, match="not a living node"):
        either.remove_node(node)


def test_only_a_world_that_can_grow_does() -> None:
    cluster = Cluster(backend="inline")
    with pytest.raises(NotImplementedError, match="cluster"):
        cluster.add_node()
    with pytest.raises(TypeError, match="initialize_head"):
        Cluster(initialize_head=False, head_node_args={"num_cpus": 1})
    cluster.shutdown()


def test_in_the_simulator_the_same_seed_gives_the_same_trace_whatever_joins_and_leaves() -> None:
    def program() -> str:
        cluster = Cluster(head_node_args={"num_cpus": 1}, backend="sim", seed=7)
        first = cluster.add_node(num_cpus=2)
        refs = [full.options(max_retries=-1, cost=0.05).remote(n) for n in range(12)]
        labray.wait(refs, num_returns=4)
        cluster.add_node(num_cpus=1)
        cluster.remove_node(first)
        labray.get([total.options(max_retries=-1).remote(ref) for ref in refs])
        digest = labray.trace.digest(labray.session.running().trace())
        cluster.shutdown()
        return digest

    assert program() == program()


def test_in_the_simulator_a_removed_node_is_noticed_as_late_as_a_dead_one() -> None:
    cluster = Cluster(head_node_args={"num_cpus": 1}, backend="sim", faults=labray.Faults(notice=3.0))
    node = cluster.add_node(num_cpus=1)
    start = labray.now()
    cluster.remove_node(node)
    assert labray.now() - start == pytest.approx(3.0, abs=0.01)
    with pytest.raises(ValueError, match="no living node"):
        labray.session.running().remove_node(node.name)  # type: ignore[attr-defined]
    cluster.shutdown()
