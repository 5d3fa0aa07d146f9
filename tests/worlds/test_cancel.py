"""Cancelling: what has not begun never runs, what runs is interrupted, and every ref ends."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import labray as ray
from labray.errors import TaskCancelledError

Start = Callable[..., Any]
PATIENCE_S = 20.0
LONG_S = 1000.0


@pytest.fixture(params=["sim", "cluster"])
def concurrent(request: pytest.FixtureRequest) -> Start:
    return lambda **options: ray.init(request.param, **{"num_cpus": 1, **options})


@ray.remote
def sleep(seconds: float, after: Any = None) -> float:
    ray.sleep(seconds)
    return seconds


@ray.remote
def plain_sleep(path: str | None = None) -> None:
    try:
        if path is not None:
            Path(path).write_text(str(os.getpid()))
        time.sleep(LONG_S)
    finally:
        if path is not None:
            Path(path).write_text("ended")


def begun(ref: Any) -> None:
    """Give it the time to begin: in both worlds it takes far less."""
    ray.wait([ref], timeout=0.3)


def await_file(path: Path) -> None:
    """Until it is there, however slow the machine is."""
    until = ray.now() + PATIENCE_S
    while not path.exists():
        assert ray.now() < until, f"nobody has made {path}"
        ray.sleep(0.01)


def assert_cancelled(*refs: Any) -> None:
    for ref in refs:
        with pytest.raises(TaskCancelledError):
            ray.get(ref, timeout=PATIENCE_S)


# ---------------------------------------------------------------- tasks


@pytest.mark.parametrize("backend", ["inline", "sim", "cluster"])
def test_a_pending_task_that_is_cancelled_never_runs_and_what_needs_it_fails(
    backend: str, tmp_path: Path
) -> None:
    ray.init(backend, num_cpus=1)
    mark = tmp_path / "ran"

    @ray.remote
    def touch() -> None:
        mark.touch()

    ahead = sleep.remote(0.2)
    pending = touch.remote()
    behind = sleep.remote(0, pending)
    ray.cancel(pending)
    assert_cancelled(pending, behind)
    assert ray.get(ahead, timeout=PATIENCE_S) == 0.2
    assert ray.get(sleep.remote(0), timeout=PATIENCE_S) == 0
    assert not mark.exists()


def test_a_task_that_waits_for_its_arguments_is_cancelled_and_they_go_on(concurrent: Start) -> None:
    concurrent()
    first = sleep.remote(0.2)
    second = sleep.remote(0, first)
    ray.cancel(second)
    assert_cancelled(second)
    assert ray.get(first, timeout=PATIENCE_S) == 0.2


@pytest.mark.parametrize("how", ["labray", "time"])
def test_a_running_task_is_interrupted_and_its_cpu_is_free(concurrent: Start, how: str) -> None:
    concurrent()
    running = sleep.remote(LONG_S) if how == "labray" else plain_sleep.remote()
    begun(running)
    ray.cancel(running)
    assert_cancelled(running)
    assert ray.get(sleep.remote(0), timeout=PATIENCE_S) == 0


def test_a_task_that_catches_the_interrupt_and_returns_has_a_value(concurrent: Start) -> None:
    concurrent()

    @ray.remote
    def stubborn() -> str:
        try:
            time.sleep(LONG_S)
        except KeyboardInterrupt:
            return "caught"
        return "slept"

    ref = stubborn.remote()
    begun(ref)
    ray.cancel(ref)
    assert ray.get(ref, timeout=PATIENCE_S) == "caught"


@pytest.mark.processes
def test_a_forced_cancel_kills_the_worker_and_runs_no_finally_block(tmp_path: Path) -> None:
    ray.init("cluster", num_cpus=1)
    mark = tmp_path / "pid"
    ref = plain_sleep.options(max_retries=5).remote(str(mark))
    begun(ref)
    ray.cancel(ref, force=True)
    assert_cancelled(ref)
    assert int(mark.read_text())
    assert ray.get(sleep.remote(0), timeout=PATIENCE_S) == 0


def test_a_cancelled_task_is_never_retried(concurrent: Start) -> None:
    concurrent()

    @ray.remote(max_retries=10, retry_exceptions=True)
    def fail_when_interrupted() -> None:
        try:
            time.sleep(LONG_S)
        except KeyboardInterrupt:
            raise ValueError("interrupted") from None

    ref = fail_when_interrupted.remote()
    begun(ref)
    ray.cancel(ref)
    with pytest.raises(ValueError, match="interrupted"):
        ray.get(ref, timeout=PATIENCE_S)


def test_a_finished_task_a_put_value_and_a_second_cancel_change_nothing(concurrent: Start) -> None:
    concurrent()
    ref, put = sleep.remote(0), ray.put(7)
    assert ray.get(ref, timeout=PATIENCE_S) == 0
    for _ in range(2):
        ray.cancel(ref)
        ray.cancel(put, force=True)
    assert ray.get([ref, put]) == [0, 7]


@pytest.mark.parametrize("recursive", [True, False])
def test_what_a_task_has_submitted_is_cancelled_with_it_if_that_is_asked(
    concurrent: Start, recursive: bool
) -> None:
    concurrent(num_cpus=2)

    @ray.remote
    class Board:
        def __init__(self) -> None:
            self.refs: list[Any] = []

        def write(self, refs: list[Any]) -> None:
            self.refs = refs

        def read(self) -> list[Any]:
            return self.refs

    @ray.remote
    def parent(board: Any) -> None:
        refs = [sleep.remote(0.5) for _ in range(3)]
        ray.get(board.write.remote(refs))
        ray.get(refs)

    board = Board.remote()
    ref = parent.remote(board)
    while not (children := ray.get(board.read.remote(), timeout=PATIENCE_S)):
        ray.sleep(0.01)
    ray.cancel(ref, recursive=recursive)
    assert_cancelled(ref)
    if recursive:
        assert_cancelled(*children)
    else:
        assert ray.get(children, timeout=PATIENCE_S) == [0.5] * 3


@pytest.mark.parametrize("scheduler", ["centralized", "bottom_up"])
def test_tasks_at_other_nodes_are_cancelled_too(concurrent: Start, scheduler: str) -> None:
    concurrent(nodes=3, scheduler=scheduler)
    refs = [sleep.options(resources={f"node:n{n % 3}": 0.01}).remote(LONG_S) for n in range(9)]
    begun(refs[0])
    for ref in refs:
        ray.cancel(ref)
    assert_cancelled(*refs)
    ends = [sleep.options(resources={f"node:n{n}": 1}).remote(0) for n in range(3)]
    assert ray.get(ends, timeout=PATIENCE_S) == [0, 0, 0]


def test_a_task_cancelled_by_another_that_holds_its_ref(concurrent: Start) -> None:
    concurrent(nodes=2)

    @ray.remote(num_cpus=0)
    def cancel_it(refs: list[Any]) -> None:
        ray.cancel(refs[0])

    running = sleep.remote(LONG_S)
    begun(running)
    ray.get(cancel_it.options(resources={"node:n1": 0.1}).remote([running]), timeout=PATIENCE_S)
    assert_cancelled(running)


@pytest.mark.processes
def test_an_interrupt_meant_for_one_task_never_hits_another() -> None:
    """Cancels race with ends: whatever is hit, every other task has its value."""
    ray.init("cluster", num_cpus=2)
    for _ in range(20):
        refs = [sleep.remote(0.001) for _ in range(20)]
        for ref in refs[::2]:
            ray.cancel(ref)
        assert ray.get(refs[1::2], timeout=PATIENCE_S) == [0.001] * 10
        for ref in refs[::2]:
            try:
                assert ray.get(ref, timeout=PATIENCE_S) == 0.001
            except TaskCancelledError:
                continue


@pytest.mark.processes
def test_a_task_interrupted_again_and_again_in_its_calls_loses_no_message() -> None:
    """The interrupt comes at every point of a busy conversation with the node."""
    ray.init("cluster", num_cpus=2)

    @ray.remote
    def chatter() -> int:
        count = 0
        while True:
            count += len(ray.get([sleep.remote(0), ray.put(b"x" * 200_000)]))

    for number in range(15):
        ref = chatter.remote()
        ray.wait([ref], timeout=0.02 + 0.0007 * number)
        ray.cancel(ref)
        assert_cancelled(ref)
    assert ray.get([sleep.remote(0) for _ in range(50)], timeout=PATIENCE_S) == [0] * 50


# ---------------------------------------------------------------- actors


def test_queued_calls_are_dropped_and_of_a_running_one_only_the_value(
    concurrent: Start, tmp_path: Path
) -> None:
    concurrent()
    has_begun, may_end = tmp_path / "begun", tmp_path / "end"

    @ray.remote
    class Log:
        def __init__(self) -> None:
            self.lines: list[str] = []

        def write(self, line: str) -> str:
            if line == "a":
                has_begun.touch()
                await_file(may_end)
            self.lines.append(line)
            return line

        def read(self) -> list[str]:
            return self.lines

    log = Log.remote()
    running, queued, last = (log.write.remote(line) for line in "abc")
    await_file(has_begun)
    ray.cancel(queued)
    ray.cancel(running)
    may_end.touch()
    assert_cancelled(queued, running)
    assert ray.get(last, timeout=PATIENCE_S) == "c"
    assert ray.get(log.read.remote(), timeout=PATIENCE_S) == ["a", "c"]


def test_a_call_is_not_cancelled_by_killing_its_actor(concurrent: Start) -> None:
    concurrent()

    @ray.remote
    class Sleeper:
        def sleep(self) -> str:
            ray.sleep(0.2)
            return "slept"

    sleeper = Sleeper.remote()
    ref = sleeper.sleep.remote()
    with pytest.raises(ValueError, match="kill"):
        ray.cancel(ref, force=True)
    assert ray.get(ref, timeout=PATIENCE_S) == "slept"


def test_only_refs_can_be_cancelled() -> None:
    ray.init("inline")
    with pytest.raises(TypeError, match="ObjectRef"):
        ray.cancel("d-0.0")
    with pytest.raises(TypeError, match="ObjectRef"):
        ray.cancel([ray.put(1)])


@pytest.mark.processes
def test_a_cancel_from_another_thread_ends_a_get() -> None:
    ray.init("cluster", num_cpus=1)
    ref = plain_sleep.remote()
    timer = threading.Timer(0.2, ray.cancel, [ref])
    timer.start()
    assert_cancelled(ref)
    timer.join()
