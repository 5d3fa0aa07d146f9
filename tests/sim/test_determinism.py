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
from tests.kit.paths import ROOT
from tests.programs import TAPE

POLICIES: list[Scheduler] = [Centralized(), BottomUp(spill=1), Random()]

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


@pytest.mark.processes
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


@pytest.mark.processes
def test_another_interpreter_leaves_the_trace_that_this_one_leaves() -> None:
    assert digest_elsewhere("tree_reduce", "random", hash_seed=3, seed=7) == digest_of(
        "tree_reduce", Random(), seed=7
    )


@pytest.mark.processes
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


DRAWN = """
import asyncio, datetime, os, queue, random, sys, threading, time, uuid
import labray as ray
from labray import trace
seed, scheduler = int(sys.argv[1]), sys.argv[2]

@ray.remote(max_retries=-1, retry_exceptions=True)
def leaf(n):
    from numpy.random import default_rng, exponential  # the first to do so imports it
    if random.random() < 0.3:
        raise ValueError("no luck")
    ray.spend(random.expovariate(100) + exponential(0.01))
    asyncio.run(asyncio.sleep(random.random() / 100))
    threading.Event().wait(random.random() / 100)
    time.sleep(int(uuid.uuid4()) % 100 / 1e4 + default_rng().random() / 100)
    return str(uuid.uuid4()), datetime.datetime.now(datetime.UTC), os.getpid(), {str(n), "x", str(uuid.uuid4())}

@ray.remote
def tree(n):
    refs = [leaf.remote(i) for i in range(n)]
    random.shuffle(refs)
    return len(ray.get(refs)) + random.randrange(2)

with ray.init("sim", nodes=4, num_cpus=2, scheduler=scheduler, seed=seed) as session:
    time.sleep(random.random())
    print(sum(ray.get([tree.remote(n) for n in range(8)])), uuid.uuid4(), datetime.datetime.now(), random.random())
    print(trace.digest(session.trace()))
"""


def drawn(seed: int, scheduler: str, hash_seed: int) -> str:
    env = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", DRAWN, str(seed), scheduler]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout


@pytest.mark.processes
@pytest.mark.parametrize("scheduler", ["bottom_up", "centralized", "random"])
def test_what_bodies_draw_and_read_off_clocks_is_one_trace_a_seed(scheduler: str) -> None:
    first = drawn(3, scheduler, hash_seed=1)
    assert first == drawn(3, scheduler, hash_seed=99)
    assert first == drawn(3, scheduler, hash_seed=7)
    assert first.splitlines()[1] != drawn(4, scheduler, hash_seed=1).splitlines()[1]
