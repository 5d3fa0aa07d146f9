"""What a call or task ends in that was lost with its worker or node: found by `python -m experiments.soak`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import labray
from labray.cluster_utils import Cluster, ClusterNode
from labray.errors import ActorDiedError, ActorUnavailableError, WorkerCrashedError
from labray.testing import released

PATIENCE_S = 20.0


@pytest.fixture
def nodes() -> Iterator[tuple[Cluster, list[ClusterNode]]]:
    """Three nodes of one CPU; `disk` is where an actor may live: on either of the last two."""
    cluster = Cluster(head_node_args={"num_cpus": 1})
    yield cluster, [cluster.add_node(num_cpus=1, resources={"disk": 1}) for _ in range(2)]
    cluster.shutdown()


@labray.remote(num_cpus=0, resources={"disk": 1})
class Sleeper:
    def place(self) -> str:
        return str(labray.client.runtime.current().channel.place)  # type: ignore[attr-defined]

    def sleep(self, started: str) -> None:
        Path(started).touch()
        labray.sleep(600)


@labray.remote
def call(sleeper: Any, started: str) -> list[Any]:
    """Owned by the node that this runs at: not by the actor's owner."""
    return [sleeper.sleep.remote(started)]


@pytest.mark.processes
@pytest.mark.parametrize(
    ("restarts", "error", "words"),
    [(0, ActorDiedError, "died with its node"), (-1, ActorUnavailableError, "may or may not have run")],
)
def test_a_call_that_is_lost_with_its_actors_node_ends_as_its_actor_does(
    nodes: tuple[Cluster, list[ClusterNode]], tmp_path: Path, restarts: int, error: type, words: str
) -> None:
    cluster, others = nodes
    sleeper = Sleeper.options(max_restarts=restarts).remote()
    place = labray.get(sleeper.place.remote(), timeout=PATIENCE_S)
    (dying,) = [node for node in others if node.name == place]
    (living,) = [node for node in others if node.name != place]
    far = call.options(resources={f"node:{living.name}": 0.01}).remote(sleeper, str(tmp_path / "far"))
    (far,) = labray.get(far, timeout=PATIENCE_S)
    while not (tmp_path / "far").exists():
        labray.sleep(0.005)
    near = sleeper.sleep.remote(str(tmp_path / "near"))
    cluster.remove_node(dying)
    for ref in (near, far):
        with pytest.raises(error, match=words):
            labray.get(ref, timeout=PATIENCE_S)
    if restarts:
        assert labray.get(sleeper.place.remote(), timeout=PATIENCE_S) == living.name


@pytest.fixture
def lonely() -> Iterator[None]:
    labray.init("cluster", num_cpus=1)
    yield
    labray.shutdown()


def count(path: Path) -> int:
    return len(path.read_bytes())


@pytest.mark.processes
def test_a_crash_that_takes_the_result_before_it_along_counts_as_a_crash(
    lonely: None, tmp_path: Path
) -> None:
    @labray.remote(max_restarts=-1, max_task_retries=-1)
    class Phoenix:
        def note(self, name: str) -> str:
            with (tmp_path / name).open("ab") as file:
                file.write(b".")
            return name

        def crash(self) -> None:
            self.note("crashes")
            os._exit(1)

    phoenix = Phoenix.remote()
    assert labray.get(phoenix.note.remote("first"), timeout=PATIENCE_S) == "first"
    results = [phoenix.note.remote("again"), phoenix.crash.options(max_task_retries=0).remote()]
    assert labray.get(results[0], timeout=PATIENCE_S) == "again"
    with pytest.raises(ActorUnavailableError):
        labray.get(results[1], timeout=PATIENCE_S)
    assert count(tmp_path / "crashes") == 1


@pytest.mark.processes
def test_a_task_that_crashes_behind_short_ones_runs_as_often_as_it_may(lonely: None, tmp_path: Path) -> None:
    @labray.remote
    def either(crash: bool) -> int:
        if crash:
            with (tmp_path / "crashes").open("ab") as file:
                file.write(b".")
            os._exit(1)
        return 1

    assert labray.get([either.remote(False) for _ in range(50)], timeout=PATIENCE_S) == [1] * 50
    refs = [
        (either.options(max_retries=-1).remote(False), either.options(max_retries=1).remote(True))
        for _ in range(20)
    ]
    for fine, crash in refs:
        assert labray.get(fine, timeout=PATIENCE_S) == 1
        with pytest.raises(WorkerCrashedError):
            labray.get(crash, timeout=PATIENCE_S)
    assert count(tmp_path / "crashes") <= 40


@pytest.mark.parametrize("backend", ["sim", "cluster"])
def test_an_actor_that_is_killed_to_restart_before_it_is_up_is_made_once(backend: str) -> None:
    labray.init(backend, nodes=2, num_cpus=1)

    @labray.remote(num_cpus=0, max_restarts=-1)
    class Newborn:
        def calls(self) -> int:
            return 1

    for place in ("n0", "n1"):
        newborns = [Newborn.options(resources={f"node:{place}": 0.001}).remote() for _ in range(8)]
        for newborn in newborns:
            labray.kill(newborn, no_restart=False)
        calls = [newborn.calls.remote() for newborn in newborns]
        assert labray.get(calls, timeout=PATIENCE_S) == [1] * 8
    del newborns, newborn, calls
    released()
