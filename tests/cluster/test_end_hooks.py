"""What a process of a user's leaves for its end is done, however it ends; but not when it is killed."""

from __future__ import annotations

import atexit
import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import labray as ray

pytestmark = pytest.mark.processes


class Rows:
    """A file that is never closed: what is in its buffer is written at the end of a process."""

    def __init__(self, path: str) -> None:
        self.file = open(path, "w")  # noqa: SIM115

    def work(self) -> None:
        self.file.write("row\n")

    def leave(self) -> None:
        sys.exit(0)


class Dies(Rows):
    """Its __del__ writes."""

    def __init__(self, path: str) -> None:
        self.path = path

    def work(self) -> None:
        pass

    def __del__(self) -> None:
        Path(self.path).write_text("row\n")


class Hook(Dies):
    """Its function for the end writes, after one that fails, and as long as others are still at work."""

    def work(self) -> None:
        path = self.path
        atexit.register(lambda: Path(path).write_text("row\n"))
        atexit.register(lambda: 1 / 0)

    def __del__(self) -> None:
        pass


class Threads(Dies):
    """Python waits for its threads."""

    def work(self) -> None:
        def later(path: str) -> None:
            time.sleep(0.2)
            Path(path).write_text("row\n")

        threading.Thread(target=later, args=(self.path,)).start()

    def __del__(self) -> None:
        pass


def scope(actor: list[Any]) -> None:
    actor.clear()
    gc.collect()


def leave(actor: list[Any]) -> None:
    ray.wait([actor[0].leave.remote()])


def shutdown(actor: list[Any]) -> None:
    ray.shutdown()


def kill(actor: list[Any]) -> None:
    ray.kill(actor[0])
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(actor[0].work.remote())


def written(path: Path) -> Callable[[], bool]:
    return lambda: path.exists() and path.stat().st_size > 0


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    return holds()


@pytest.mark.parametrize("end", [scope, leave, shutdown])
@pytest.mark.parametrize("kind", [Rows, Dies, Hook, Threads])
def test_an_actor_that_ends_does_what_it_has_left_for_its_end(
    tmp_path: Path, kind: type, end: Callable[[list[Any]], None]
) -> None:
    path = tmp_path / "rows"
    ray.init("cluster", num_cpus=1)
    actor = [ray.remote(kind).remote(str(path))]
    ray.get(actor[0].work.remote())
    end(actor)
    assert within(10, written(path))


def test_an_actor_that_is_killed_does_not(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    ray.init("cluster", num_cpus=1)
    actor = [ray.remote(Hook).remote(str(path))]
    ray.get(actor[0].work.remote())
    kill(actor)
    ray.shutdown()
    assert not path.exists()


def test_a_task_may_leave_something_for_the_end_of_its_process(tmp_path: Path) -> None:
    path = tmp_path / "rows"

    @ray.remote
    def task() -> None:
        atexit.register(lambda: path.write_text("row\n"))

    ray.init("cluster", num_cpus=1)
    ray.get(task.remote())
    ray.shutdown()
    assert written(path)()


def test_what_runs_at_shutdown_is_left_and_its_files_are_written(tmp_path: Path) -> None:
    path = tmp_path / "rows"

    @ray.remote
    def task() -> None:
        file = open(path, "w")  # noqa: SIM115
        file.write("row\n")
        (tmp_path / "begun").touch()
        time.sleep(600)

    ray.init("cluster", num_cpus=1)
    ref = task.remote()
    assert within(10, (tmp_path / "begun").exists)
    ray.shutdown()
    assert written(path)()
    del ref


def test_an_end_that_does_not_come_is_not_waited_for() -> None:
    @ray.remote
    class Stuck:
        def work(self) -> int:
            atexit.register(time.sleep, 600)
            return os.getpid()

    ray.init("cluster", num_cpus=1)
    pid = ray.get(Stuck.remote().work.remote())
    ray.shutdown()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_function_for_the_end_that_calls_labray_gets_an_error_and_the_others_are_called(
    tmp_path: Path,
) -> None:
    path = tmp_path / "rows"

    @ray.remote
    def task() -> None:
        atexit.register(lambda: path.write_text("row\n"))
        atexit.register(lambda: ray.get(ray.put(bytes(10)), timeout=5))

    ray.init("cluster", num_cpus=1)
    ray.get(task.remote())
    ray.shutdown()
    assert written(path)()


def test_a_process_that_a_body_forks_is_ended_by_the_signal_itself() -> None:
    @ray.remote
    def task() -> int | None:
        process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
        process.start()
        process.terminate()
        process.join()
        return process.exitcode

    ray.init("cluster", num_cpus=1)
    assert ray.get(task.remote()) == -signal.SIGTERM


def test_a_body_that_forks_and_returns_twice_answers_once() -> None:
    @ray.remote
    def task() -> int:
        child = os.fork()
        if child:
            os.waitpid(child, 0)
        return 3

    ray.init("cluster", num_cpus=1)
    assert ray.get([task.remote() for _ in range(10)]) == [3] * 10


def test_a_body_that_takes_the_end_for_an_error_holds_it_up_and_no_more() -> None:
    from types import SimpleNamespace

    from labray.backends.cluster.worker.worker_process import run_tasks

    ending = SimpleNamespace(begun=False)
    done: list[Any] = []

    class Swallows:
        def run(self, run: Any) -> Any:
            ending.begun = True  # the signal came, and its SystemExit was caught
            return SimpleNamespace(values=(), kept=(), retry=False, given=())

    run = SimpleNamespace(spec=SimpleNamespace(id="d-0"), attempt=0)
    channel: Any = SimpleNamespace(
        take_task=lambda: run, answer=lambda finished, given: done.append(finished)
    )
    process: Any = SimpleNamespace(flush=lambda: None)
    try:
        run_tasks(channel, process, Swallows(), (), ending)  # type: ignore[arg-type]
    finally:
        from labray.backends.cluster.worker.worker_output import WorkerOutput

        WorkerOutput.running = None
    assert len(done) == 1
