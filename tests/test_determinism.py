"""One program, one cluster, one scheduler, one seed: one trace, bit by bit. The simulator's law."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import labray as ray
from labray.schedulers import BottomUp, Centralized, Random, Scheduler
from labray.trace import digest
from tests import programs
from tests.test_conformance import TAPE

POLICIES: list[Scheduler] = [Centralized(), BottomUp(spill=1), Random()]
ROOT = Path(__file__).parent.parent

RUN = """
import sys
import labray as ray
from labray import trace
from tests import programs
name, scheduler, seed = sys.argv[1:]
with ray.init("sim", nodes=3, num_cpus=1, scheduler=scheduler, seed=int(seed), resources={"tape": 2}) as session:
    assert programs.run(name, ray) == programs.load(name).EXPECTED
    print(trace.digest(session.trace()))
"""


def digest_of(name: str, scheduler: Scheduler, seed: int = 0, nodes: int = 3) -> str:
    """What came of a run in this process, whose hash seed, memory and history are what they are."""
    with ray.init("sim", nodes=nodes, num_cpus=1, scheduler=scheduler, seed=seed, **TAPE) as session:
        assert programs.run(name, ray) == programs.load(name).EXPECTED
        return digest(session.trace())


def digest_elsewhere(name: str, scheduler: str, hash_seed: int, seed: int = 0, **env_too: str) -> str:
    """In a fresh interpreter, under a hash seed of its own."""
    env = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT), **env_too}
    command = [sys.executable, "-c", RUN, name, scheduler, str(seed)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
@pytest.mark.parametrize("name", programs.NAMES)
def test_a_program_that_runs_twice_leaves_the_same_trace(name: str, policy: Scheduler) -> None:
    assert digest_of(name, policy, seed=5) == digest_of(name, policy, seed=5)


@pytest.mark.parametrize(
    ("name", "scheduler"),
    [
        ("map_reduce", "random"),
        ("retries", "bottom_up"),
        ("refs_in_containers", "centralized"),
        ("fib", "random"),
    ],
)
def test_the_hash_seed_of_the_interpreter_leaves_no_trace(name: str, scheduler: str) -> None:
    assert digest_elsewhere(name, scheduler, hash_seed=1) == digest_elsewhere(name, scheduler, hash_seed=99)


def test_another_interpreter_leaves_the_trace_that_this_one_leaves() -> None:
    assert digest_elsewhere("tree_reduce", "random", hash_seed=3, seed=7) == digest_of(
        "tree_reduce", Random(), seed=7
    )


def test_code_compiled_now_and_code_read_from_a_cache_leave_the_same_trace(tmp_path: Path) -> None:
    """Their pickles differ by a few bytes."""
    cold, warm = (
        digest_elsewhere("tree_reduce", "random", 3, 7, PYTHONPYCACHEPREFIX=str(tmp_path)) for _ in range(2)
    )
    assert cold == warm == digest_of("tree_reduce", Random(), seed=7)


def test_another_seed_is_another_run_where_chance_decides() -> None:
    assert len({digest_of("tree_reduce", Random(), seed) for seed in range(4)}) == 4


def test_the_seed_does_not_matter_where_nothing_is_left_to_chance() -> None:
    assert len({digest_of("tree_reduce", Centralized(), seed) for seed in range(3)}) == 1


def test_another_cluster_or_scheduler_is_another_run() -> None:
    runs = {digest_of("tree_reduce", policy, nodes=nodes) for policy in POLICIES for nodes in (2, 3)}
    assert len(runs) == 6
