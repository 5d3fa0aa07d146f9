"""Every program of tests/programs gives the same result in every world and under every scheduler."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from typing import Any

import pytest

import labray as ray
from labray import session
from labray.node import Node
from labray.schedulers import BottomUp, Centralized, Checked, Random
from tests import programs
from tests.kit.traces import GRACE_S, Traces, end_session, end_strays
from tests.programs import TAPE

SHORT_SECOND = 0.005
"""The length of a second on real backends."""

INSIDE: dict[str, dict[str, Any]] = {
    "inline": {"backend": "inline", "num_cpus": 2, **TAPE},
    "sim-1": {"backend": "sim", "num_cpus": 2, **TAPE},
    "sim-4-centralized": {
        "backend": "sim",
        "nodes": 4,
        "num_cpus": 1,
        "scheduler": Checked(Centralized()),
        **TAPE,
    },
    "sim-4-bottom_up": {
        "backend": "sim",
        "nodes": 4,
        "num_cpus": 1,
        "scheduler": Checked(BottomUp(spill=1)),
        **TAPE,
    },
    "sim-2-tiny": {"backend": "sim", "nodes": 2, "num_cpus": 1, **TAPE, "object_store_memory": 4_000_000},
    "sim-4-random": {"backend": "sim", "nodes": 4, "num_cpus": 1, "scheduler": Checked(Random()), **TAPE},
}
REAL: dict[str, dict[str, Any]] = {
    "cluster-2-tiny": {"nodes": 2, "num_cpus": 1, **TAPE, "object_store_memory": 4_000_000},
    "cluster-1": {"nodes": 1, "num_cpus": 2, **TAPE},
    "cluster-2-centralized": {"nodes": 2, "num_cpus": 1, "scheduler": Centralized(), **TAPE},
    "cluster-2-bottom_up": {"nodes": 2, "num_cpus": 1, "scheduler": BottomUp(spill=1), **TAPE},
}


def result_of(name: str, backend: str, second: float) -> None:
    program = programs.load(name)
    if backend in getattr(program, "WITHOUT", ()):
        pytest.skip(f"{name} is not for {backend}")
    assert programs.run(name, ray, second) == program.EXPECTED


# ---------------------------------------------------------------- in this process


@pytest.fixture
def validated(monkeypatch: pytest.MonkeyPatch, world: str) -> None:
    """Every node's invariants hold after every input. A simulation is told to see to that."""
    if world != "inline":
        return
    handle = Node.handle

    def handle_and_validate(self: Node, sender: str, message: Any, now: float) -> Any:
        effects = handle(self, sender, message, now)
        self.validate()
        return effects

    monkeypatch.setattr(Node, "handle", handle_and_validate)


@pytest.mark.parametrize("world", INSIDE)
@pytest.mark.parametrize("name", programs.NAMES)
def test_a_program_gives_its_result_and_leaves_nothing(name: str, world: str, validated: None) -> None:
    backend = INSIDE[world]["backend"]
    ray.init(**INSIDE[world], **({"validate": True} if backend == "sim" else {}))
    result_of(name, backend, 1.0 if backend == "sim" else SHORT_SECOND)
    gc.collect()
    for node in settled_nodes():
        pinned = getattr(programs.load(name), "PINNED", ())
        left = {id for id in node.objects.records if "-f" not in id and id not in pinned}
        assert len(left) <= 1, f"{node.place} still has {sorted(left)}"  # the put that settled it
        assert node.pool.resources.free == node.pool.resources.totals
        assert not node.submission.tasks


def settled_nodes() -> list[Node]:
    """The nodes, when all that was under way is over."""
    world: Any = session.running()
    for _ in range(2):
        if hasattr(world, "step"):
            while world.step():
                continue
        else:
            ray.sleep(3.0)
        ray.wait([ray.put(0)])  # any call tells the node which handles are gone
    return list(world.places.values() if hasattr(world, "places") else world.every_node())


# ---------------------------------------------------------------- in processes


@pytest.fixture(scope="module", params=REAL)
def real_world(request: pytest.FixtureRequest) -> Iterator[str]:
    before = Traces.seen()
    ray.init("cluster", **REAL[request.param])
    yield request.param
    end_session()
    deadline = time.monotonic() + GRACE_S
    while (left := before.left_since()) and time.monotonic() < deadline:
        time.sleep(0.01)
    end_strays(before)
    assert not left, f"left behind: {'; '.join(left)}"


class TestOnRealProcesses:
    """One session a world, for all programs: they also show that none disturbs the next."""

    @pytest.fixture(autouse=True)
    def nothing_is_left_behind(self) -> None:
        """As in conftest.py, but looked for when the session ends."""

    @pytest.mark.parametrize("name", programs.NAMES)
    def test_a_program_gives_its_result(self, name: str, real_world: str) -> None:
        result_of(name, "cluster", SHORT_SECOND)
