"""Exceptions raised at any instruction inside labray: nothing is lost, nobody hangs, and nothing is held afterwards.

The longer ones: `python -m experiments.soak --interrupts`.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import labray as ray
from experiments.soak import interrupting
from experiments.soak.interrupting import PROGRAMS, Interrupted, Interruption, nothing_is_held, same, sweep
from labray.backends.cluster.client.outbox import LOOK_S
from labray.client import runtime
from labray.client.uninterrupted import Owed, at_once, count, each, first
from tests.kit.paths import ROOT


@pytest.fixture
def cluster() -> Iterator[None]:
    faulthandler.dump_traceback_later(50)
    ray.init("cluster", num_cpus=2)
    yield
    ray.shutdown()
    faulthandler.cancel_dump_traceback_later()


# ---------------------------------------------------------------- steps


def test_a_step_is_done_whole_or_not_at_all_wherever_it_is_broken_off() -> None:
    """At every place of it: the sum of both is always the same."""

    def step() -> None:
        at_once(left.popleft, partial(right.append, 1))

    at = 0
    while True:
        left, right = deque([1, 2, 3]), deque([4])
        with Interruption(at) as interruption:
            with contextlib.suppress(Interrupted):
                step()
        assert (len(left), len(right)) in ((3, 1), (2, 2))
        if not interruption.raised:
            assert at > 0
            return
        at += 1


def test_what_comes_after_a_step_that_fails_is_not_done() -> None:
    queue: deque[Any] = deque([[1], [2]])
    equal, same_one = [1], queue[0]
    with pytest.raises(LookupError):
        at_once(first(queue, equal), queue.popleft)
    with pytest.raises(LookupError):
        at_once(first(deque(), equal), queue.popleft)
    at_once(first(queue, same_one), queue.popleft)
    assert list(queue) == [[2]]


def test_each_and_count() -> None:
    counts: dict[str, int] = {"a": 1}
    at_once(count(counts, ["a", "b"]), each(counts.pop, ["c"], [None]))
    assert counts == {"a": 2, "b": 1}


def test_what_is_owed_is_done_at_the_end_once_it_is_armed() -> None:
    told: list[int] = []
    owed = Owed()
    del owed
    owed = Owed()
    at_once(owed.arm(partial(told.append, 1), partial(told.append, 2)))
    assert told == []
    del owed
    assert told == [1, 2]


# ---------------------------------------------------------------- every place


@pytest.mark.parametrize("names", [tuple(PROGRAMS)[:5], tuple(PROGRAMS)[5:]], ids=["values", "the rest"])
def test_programs_may_be_broken_off_at_any_place(cluster: None, names: tuple[str, ...]) -> None:
    """A nineteenth of all places, which ones differs from program to program; the whole is for the long run."""
    for name in names:
        assert sweep(PROGRAMS[name], first=len(name), stride=19) > 10
        nothing_is_held()


@ray.remote
def swept(name: str) -> int:
    return sweep(PROGRAMS[name], stride=29)


def test_so_it_is_in_workers(cluster: None) -> None:
    for name in ("getting", "putting_much", "opening"):
        assert ray.get(swept.remote(name), timeout=40) > 3
    nothing_is_held()


# ---------------------------------------------------------------- real ones


def test_alarms_at_any_moment(cluster: None) -> None:
    assert interrupting.storm(1.5, seed=1) > 5
    nothing_is_held()


@ray.remote
def stormed(seed: int) -> int:
    return interrupting.storm(1.5, seed)


def test_alarms_in_a_worker(cluster: None) -> None:
    assert ray.get(stormed.remote(2), timeout=40) > 5
    assert ray.get(same.remote(1), timeout=20) == 1
    nothing_is_held()


def test_exceptions_from_another_thread_in_several_at_once(cluster: None) -> None:
    assert interrupting.pelt(3, 1.5, seed=1) > 5
    nothing_is_held()


def test_a_signal_handler_may_call_labray_wherever_it_comes(cluster: None) -> None:
    assert interrupting.handle(1.5, seed=1) > 5
    nothing_is_held()


# ---------------------------------------------------------------- shutdown in a handler


SHUT_DOWN = """
import faulthandler, os, signal, sys, threading
faulthandler.dump_traceback_later(20, exit=True)
import labray
def shut_down(*_):
    labray.shutdown()
    sys.exit(7)
signal.signal(signal.SIGTERM, shut_down)
@labray.remote
def same(x): return x
labray.init("cluster", num_cpus=2)
labray.get(same.remote(1))
threading.Timer(float(sys.argv[1]), lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
refs = []
while True: refs.append(same.remote(labray.put(1)))
"""


@pytest.mark.processes
@pytest.mark.timeout(20)
def test_a_shutdown_does_not_wait_for_what_the_thread_that_ends_is_at() -> None:
    """A signal handler may end the session while this thread holds the handles; the one that sends wants them, too."""
    ray.init("cluster", num_cpus=1)
    process: Any = runtime.current()
    ref = ray.put(1)
    with process.handles._lock:
        del ref
        time.sleep(2 * LOOK_S)  # by then the other has seen that a handle died
        ray.shutdown()


@pytest.mark.processes
@pytest.mark.parametrize("after_s", ["0.05", "0.0702"])
def test_shutdown_in_a_signal_handler_ends_the_session(after_s: str, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", SHUT_DOWN, after_s],
        capture_output=True,
        text=True,
        timeout=40,
        env={**os.environ, "TMPDIR": str(tmp_path), "XDG_RUNTIME_DIR": ""},
        cwd=ROOT,
    )
    assert run.returncode == 7, run.stderr
    assert [path for path in tmp_path.iterdir() if path.name.startswith("labray-")] == []


@pytest.mark.parametrize("backend", ["inline", "sim"])
def test_wherever_a_shutdown_is_broken_off_the_next_one_ends_it(backend: str) -> None:
    """At every place on inline. On sim at some: it gives back names of all modules that this process has loaded."""
    handler, clock, limit = signal.getsignal(signal.SIGINT), time.time, sys.getrecursionlimit()
    ray.init(backend)
    with Interruption(sys.maxsize) as undisturbed:
        ray.shutdown()
    assert undisturbed.seen > 5
    for at in range(0, undisturbed.seen, 1 if backend == "inline" else 1 + undisturbed.seen // 25):
        ray.init(backend)
        with Interruption(at) as interruption, contextlib.suppress(Interrupted):
            ray.shutdown()
        ray.shutdown()
        assert not ray.is_initialized(), interruption.raised
        assert signal.getsignal(signal.SIGINT) is handler, interruption.raised
        assert time.time is clock, interruption.raised
        assert sys.getrecursionlimit() == limit, interruption.raised


@pytest.mark.processes
def test_a_shutdown_that_is_broken_off_is_ended_by_the_next() -> None:
    ray.init("cluster", num_cpus=1)
    assert ray.get(same.remote(1)) == 1
    at, broken = 0, 0
    while ray.is_initialized():
        with Interruption(at):
            try:
                ray.shutdown()
            except Interrupted:
                broken += 1
        at += 1
        assert broken < 5_000
    assert broken > 20  # the last perhaps behind the last call: then all is done
    ray.shutdown()
    gc.collect()
    assert not [thread for thread in threading.enumerate() if thread.name == "labray-flush"]
