"""Random programs in the simulator: every invariant after every input, and nothing left at the end.

A failure is its seed. What the programs do: tasks, nested and with large results, puts, waits that time out,
actors that keep refs, kills, crashes, errors; on 1 to 4 nodes, under each policy, with and without latency.
"""

from __future__ import annotations

import gc
import os
import random

import numpy as np
import pytest

import labray as ray
from labray import session
from labray.errors import RayActorError, RayTaskError, WorkerCrashedError

LARGE = 200_000


def first(value):
    return int(np.asarray(value).ravel()[0])


@ray.remote
def leaf(n, size=0):
    return np.full(size, n, np.uint8) if size else n


@ray.remote
def add(*values):
    return sum(map(first, values))


@ray.remote
def nest(seed, depth):
    rng = random.Random(seed)
    refs = [leaf.remote(rng.randrange(9), rng.choice([0, 0, LARGE])) for _ in range(rng.randrange(1, 4))]
    if depth:
        refs.append(nest.remote(rng.random(), depth - 1))
    if rng.random() < 0.5:
        refs = ray.wait(refs, num_returns=len(refs))[0]
    return ray.get(add.remote(*refs)) if rng.random() < 0.3 else add.remote(*refs)


@ray.remote
def unwrap(value):
    while isinstance(value, ray.ObjectRef):
        value = ray.get(value)
    return value


@ray.remote(max_retries=1)
def crash():
    os._exit(1)


@ray.remote
def fail():
    raise ValueError("as asked")


@ray.remote(num_cpus=0)
class Keeper:
    def __init__(self):
        self.total, self.kept = 0, []

    def add(self, value):
        self.total += first(value)
        return self.total

    def keep(self, refs):
        self.kept += refs

    def large(self):
        return np.zeros(150_000)

    def crash(self):
        os._exit(1)


@ray.remote
def use(keeper, value):
    return ray.get(keeper.add.remote(value))


def step(rng, refs, keepers):
    """One random statement of the driver."""
    some = [rng.choice(refs) for _ in range(rng.randrange(3))] if refs else []
    keeper = rng.choice(keepers) if keepers else None
    kind = rng.randrange(16)
    if kind < 3:
        refs.append(leaf.remote(rng.randrange(9), rng.choice([0, 0, LARGE])))
    elif kind < 5:
        refs.append(add.remote(*some))
    elif kind == 5:
        refs.append(unwrap.remote(nest.remote(rng.random(), rng.randrange(3))))
    elif kind == 6:
        refs.append(ray.put(np.full(rng.choice([10, LARGE]), 3, np.uint8)))
    elif kind == 7 and refs:
        del refs[rng.randrange(len(refs))]
    elif kind == 8 and refs:
        ray.wait(refs[:1], timeout=rng.choice([0, 0.001]))
    elif kind == 9 and rng.random() < 0.5:
        refs.append(rng.choice([crash, fail]).remote())
    elif keeper is not None:
        ask(rng, keeper, refs, some)


def ask(rng, keeper, refs, some):
    kind = rng.randrange(6)
    if kind == 0:
        refs.append(keeper.add.remote(*(some[:1] or [1])))
    elif kind == 1:
        refs.append(use.remote(keeper, *(some[:1] or [1])))
    elif kind == 2:
        keeper.keep.remote(some)
    elif kind == 3:
        refs.append(add.remote(keeper.large.remote()))
    elif kind == 4 and rng.random() < 0.3:
        ray.kill(keeper)
    elif kind == 5 and rng.random() < 0.3:
        keeper.crash.remote()


def run(rng):
    refs, keepers = [], [Keeper.remote() for _ in range(rng.randrange(3))]
    for _ in range(rng.randrange(5, 40)):
        step(rng, refs, keepers)
    for ref in refs:
        try:
            first(ray.get(ref))
        except (RayTaskError, RayActorError, WorkerCrashedError) as expected:
            del expected


def cluster_of(rng, seed):
    options = {
        "nodes": rng.randrange(1, 5),
        "num_cpus": rng.randrange(1, 4),
        "scheduler": rng.choice(["bottom_up", "centralized", "random"]),
        "profile": rng.choice(["free", "default"]),
        "host_cores": rng.choice([None, 2]),
        "latency_s": rng.choice([0.0, 50e-6, 1e-3]),
    }
    return {"backend": "sim", "seed": seed, "max_events": 500_000, "validate": True, **options}


@pytest.fixture
def ended():
    yield
    ray.shutdown()


@pytest.mark.parametrize("seed", range(60))
def test_a_random_program_ends_and_leaves_nothing(ended, seed):
    rng = random.Random(seed)
    ray.init(**cluster_of(rng, seed))
    run(rng)
    gc.collect()
    for _ in range(2):
        ray.sleep(3.0)
        ray.wait([ray.put(0)])  # any call tells the node which handles are gone
    for node in session.running().every_node():
        left = {id: record for id, record in node.objects.records.items() if "-f" not in id}
        assert len(left) <= 1, f"{node.place} still has {sorted(left)}"
        assert node.pool.resources.free == node.pool.resources.totals
