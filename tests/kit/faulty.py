"""A program whose answer is known, to be run in a simulated world in which things fail."""

from __future__ import annotations

import numpy as np

import labray as ray
from labray import session, trace


def simulate(faults, **options):
    ray.init(**{"backend": "sim", "nodes": 3, "num_cpus": 2, "validate": True, "faults": faults, **options})


def end():
    """The digest of what happened; every invariant holds."""
    running = session.running()
    running.validate()
    digest = trace.digest(running.trace())
    ray.shutdown()
    return digest


@ray.remote(cost=0.2, max_retries=5)
def slowly(value):
    return value


@ray.remote(max_retries=5)
def large(value):
    return np.full(50_000, value, np.int32)


@ray.remote(cost=0.1, max_retries=5)
def first(array):
    return int(array[0])


def work(n=24):
    """Small values, large values and those who need them; the answer is known."""
    small = [slowly.remote(at) for at in range(n)]
    arrays = [large.remote(at) for at in range(n)]
    firsts = [first.remote(array) for array in arrays]
    del arrays
    assert ray.get(small) == list(range(n))
    assert ray.get(firsts) == list(range(n))
