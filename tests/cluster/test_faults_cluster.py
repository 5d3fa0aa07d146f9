"""Faults and abuse on real processes: each ends in a value or a clear error, and the session goes on.

docs/faults.md has the table that these rows are of; what tests/cluster/test_cluster.py has already is not here again.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import labray
from labray.backends.cluster import cluster_session
from labray.backends.cluster.client.log_forwarding import WINDOW_S, LogDeduplicator
from labray.backends.cluster.worker.worker_output import OutputLine, short_name
from labray.errors import (
    ActorDiedError,
    GetTimeoutError,
    LabrayError,
    RayTaskError,
    TaskUnschedulableError,
    WorkerCrashedError,
)

pytestmark = pytest.mark.processes

PATIENCE_S = 20.0


@pytest.fixture
def cluster() -> Iterator[None]:
    labray.init(backend="cluster", num_cpus=2)
    yield
    labray.shutdown()


@labray.remote
def same(value: Any) -> Any:
    return value


@labray.remote
def pid() -> int:
    return os.getpid()


def get(ref: Any) -> Any:
    return labray.get(ref, timeout=PATIENCE_S)


def assert_well() -> None:
    """Both CPUs take tasks and give values."""
    assert get([same.remote(n) for n in range(20)]) == list(range(20))


# ---------------------------------------------------------------- workers and tasks that die


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (lambda: os._exit(0), "exited with code 0"),
        (lambda: sys.exit(), "exited with code 0"),
        (lambda: sys.exit(3), "exited with code 3"),
        (lambda: sys.exit("no more"), "exited with code 1"),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "SIGSEGV"),
        (lambda: os.abort(), "SIGABRT"),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), "SIGTERM"),
    ],
)
def test_each_way_to_die_in_a_task_is_told_apart(cluster: None, how: Callable[[], None], said: str) -> None:
    die = labray.remote(max_retries=0)(lambda: how())
    with pytest.raises(WorkerCrashedError, match=said):
        get(die.remote())
    assert_well()


def test_a_poison_task_is_blamed_after_its_retries_and_the_others_end(cluster: None, tmp_path: Path) -> None:
    deaths = tmp_path / "deaths"

    @labray.remote(max_retries=3)
    def poison() -> None:
        with deaths.open("a") as file:
            file.write("x")
        os._exit(1)

    others = [same.remote(n) for n in range(100)]
    with pytest.raises(WorkerCrashedError, match="poison"):
        get(poison.remote())
    assert get(others) == list(range(100))
    assert deaths.read_text() == "xxxx"


def test_many_workers_die_one_after_the_other_and_nothing_hangs(cluster: None) -> None:
    die = labray.remote(max_retries=0)(lambda: os._exit(1))
    for _ in range(5):
        refs = [die.remote() for _ in range(20)]
        for ref in refs:
            with pytest.raises(WorkerCrashedError):
                get(ref)
    assert_well()


def test_a_stopped_worker_holds_up_nobody_else_and_goes_on_when_it_may(cluster: None) -> None:
    @labray.remote
    class Stopped:
        def pid(self) -> int:
            return os.getpid()

    actor = Stopped.remote()
    number = get(actor.pid.remote())
    os.kill(number, signal.SIGSTOP)
    late = actor.pid.remote()
    assert_well()
    with pytest.raises(GetTimeoutError):
        labray.get(late, timeout=0.1)
    os.kill(number, signal.SIGCONT)
    assert get(late) == number


def test_a_task_that_ignores_sigterm_and_its_children_are_gone_with_the_session() -> None:
    labray.init(backend="cluster", num_cpus=1)

    @labray.remote
    class Stubborn:
        def settle_in(self) -> list[int]:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            program = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
            self.child = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
            return [os.getpid(), self.child.pid]

    stubborn = Stubborn.remote()
    processes = [psutil.Process(number) for number in get(stubborn.settle_in.remote())]
    labray.shutdown()
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE_S)
    assert alive == []


def test_an_actor_restarts_as_often_as_it_may_and_then_says_that_it_died(cluster: None) -> None:
    @labray.remote(max_restarts=1, max_task_retries=1)
    class Phoenix:
        def __init__(self) -> None:
            self.calls = 0

        def call(self) -> int:
            self.calls += 1
            return self.calls

        def pid(self) -> int:
            return os.getpid()

    phoenix = Phoenix.remote()
    assert get([phoenix.call.remote(), phoenix.call.remote()]) == [1, 2]
    os.kill(get(phoenix.pid.remote()), signal.SIGKILL)
    assert get(phoenix.call.remote()) == 1
    os.kill(get(phoenix.pid.remote()), signal.SIGKILL)
    with pytest.raises(ActorDiedError, match="SIGKILL"):
        get(phoenix.call.remote())


# ---------------------------------------------------------------- what cannot be pickled, and odd exceptions


class Odd(Exception):
    def __init__(self, first: int, second: str) -> None:
        super().__init__(f"{first} and {second}")


class Holding(Exception):
    def __init__(self) -> None:
        super().__init__("it holds a lock")
        self.lock = threading.Lock()


@pytest.mark.parametrize(
    ("error", "words"), [(lambda: Odd(1, "two"), "1 and two"), (Holding, "holds a lock")]
)
def test_an_exception_of_any_kind_is_told_by_type_words_and_place(
    cluster: None, error: Callable[[], Exception], words: str
) -> None:
    @labray.remote
    def fail() -> None:
        raise error()

    with pytest.raises(RayTaskError) as caught:
        get(fail.remote())
    text = str(caught.value)
    assert words in text and type(error()).__name__ in text and "in fail" in text
    assert_well()


@pytest.mark.parametrize("thing", [threading.Lock(), (n for n in "abc"), sys._getframe()])
def test_an_argument_that_cannot_be_pickled_is_refused_where_it_is_given(cluster: None, thing: Any) -> None:
    for value in (thing, {"inside": [thing]}):
        with pytest.raises(TypeError):
            same.remote(value)
    with pytest.raises(TypeError):
        labray.put(thing)
    holds = labray.remote(lambda: thing)
    with pytest.raises(TypeError):
        holds.remote()
    assert_well()


class Trap:
    """Does something bad when it is pickled or unpickled."""

    def __init__(self, when: str, what: str) -> None:
        self.when, self.what = when, what

    def __getstate__(self) -> dict[str, str]:
        if self.when == "pickled":
            spring(self.what)
        return self.__dict__

    def __setstate__(self, state: dict[str, str]) -> None:
        self.__dict__ = state
        if self.when == "unpickled":
            spring(self.what)


def spring(what: str) -> None:
    if what == "raises":
        raise ZeroDivisionError("the trap is sprung")
    if what == "exits":
        sys.exit(5)
    os.kill(os.getpid(), signal.SIGSEGV)


@pytest.mark.parametrize("what", ["raises", "exits", "crashes"])
def test_an_argument_that_dies_while_it_is_unpickled_is_its_tasks_error(cluster: None, what: str) -> None:
    expected = RayTaskError if what == "raises" else WorkerCrashedError
    with pytest.raises(expected):
        get(same.options(max_retries=0).remote(Trap("unpickled", what)))
    assert_well()


@pytest.mark.parametrize("what", ["raises", "exits", "crashes"])
def test_a_result_that_dies_while_it_is_pickled_is_its_tasks_error(cluster: None, what: str) -> None:
    make = labray.remote(max_retries=0)(lambda: Trap("pickled", what))
    with pytest.raises(RayTaskError if what == "raises" else WorkerCrashedError):
        get(make.remote())
    assert_well()


def test_a_result_that_cannot_be_pickled_names_its_type_and_the_worker_lives(cluster: None) -> None:
    @labray.remote
    class Maker:
        def lock(self) -> Any:
            return threading.Lock()

        def pid(self) -> int:
            return os.getpid()

    maker = Maker.remote()
    number = get(maker.pid.remote())
    with pytest.raises(TypeError, match="lock"):
        get(maker.lock.remote())
    assert get(maker.pid.remote()) == number


# ---------------------------------------------------------------- requests, recursion, waiting for oneself


def test_an_invalid_request_is_refused_and_one_that_no_node_meets_is_an_error_where_that_is_strict() -> None:
    labray.init(backend="cluster", num_cpus=1, strict=True)
    for bad in (float("nan"), -1, 0.00005):
        with pytest.raises(ValueError, match="num_cpus"):
            same.options(num_cpus=bad)
    with pytest.raises(TaskUnschedulableError, match="64"):
        get(same.options(num_cpus=64).remote(1))


def test_recursion_deeper_than_there_are_cores_ends(cluster: None) -> None:
    @labray.remote
    def down(depth: int) -> int:
        return 0 if depth == 0 else 1 + labray.get(down.remote(depth - 1))

    assert get(down.remote(12)) == 12


def test_actors_that_wait_for_each_other_can_be_given_up(cluster: None) -> None:
    @labray.remote
    class Waiting:
        def ask(self, other: Any, me: Any) -> Any:
            return labray.get(other.answer.remote(me))

        def answer(self, back: Any) -> Any:
            return labray.get(back.nothing.remote())

        def nothing(self) -> None:
            return None

    one, two = Waiting.remote(), Waiting.remote()
    ref = one.ask.remote(two, one)
    with pytest.raises(GetTimeoutError):
        labray.get(ref, timeout=0.3)
    labray.kill(one)
    with pytest.raises(ActorDiedError):
        get(ref)
    assert_well()


# ---------------------------------------------------------------- threads, forks, signals


def test_a_session_started_in_a_thread_that_ends_lives_on() -> None:
    thread = threading.Thread(target=labray.init, kwargs={"num_cpus": 1})
    thread.start()
    thread.join()
    assert get(same.remote(1)) == 1
    assert_well()


def test_a_task_may_fork_and_use_multiprocessing(cluster: None) -> None:
    @labray.remote
    def fork() -> tuple[int, str, list[int]]:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                labray.put(1)
            except LabrayError as error:
                os.write(write, str(error).encode())
            os._exit(7)
        os.close(write)
        with os.fdopen(read) as file:
            said = file.read()
        with multiprocessing.get_context("fork").Pool(2) as pool:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said, pool.map(abs, [-1, -2])

    code, said, values = get(fork.remote())
    assert code == 7 and "forked" in said and values == [1, 2]
    assert_well()


CTRL_C = """
import sys, time, labray
labray.init(backend="cluster", num_cpus=1)
@labray.remote
def stay():
    time.sleep(600)
ref = stay.remote()
labray.wait([ref], timeout=0.2)
print("ready", flush=True)
labray.get(ref)
"""


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_ends_a_program_and_leaves_nothing_however_often_it_comes(times: int) -> None:
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
    program = [sys.executable, "-c", CTRL_C]
    with subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as driver:
        assert driver.stdout is not None and driver.stdout.readline() == "ready\n"
        family = psutil.Process(driver.pid).children(recursive=True)
        for _ in range(times):
            driver.send_signal(signal.SIGINT)
        _, told = driver.communicate(timeout=PATIENCE_S)
        assert driver.returncode in (130, -signal.SIGINT) and "KeyboardInterrupt" in told
        _, alive = psutil.wait_procs(family, timeout=PATIENCE_S)
        assert alive == []


# ---------------------------------------------------------------- abuse


def test_a_large_closure_is_sent_once_and_many_calls_wait_at_one_actor(cluster: None) -> None:
    large = np.ones(10_000_000, np.uint8)
    use = labray.remote(lambda at: int(large[at]))

    @labray.remote
    class Counter:
        def __init__(self) -> None:
            self.count = 0

        def add(self) -> int:
            self.count += 1
            return self.count

    counter = Counter.remote()
    calls = [counter.add.remote() for _ in range(10_000)]
    assert get([use.remote(n) for n in range(20)]) == [1] * 20
    assert get(calls)[-1] == 10_000


@pytest.fixture(scope="module")
def stranger() -> Iterator[Callable[[bytes], None]]:
    """Sends a frame to the first daemon, by somebody who knows the token."""
    with zmq.Context() as context:

        def send(frame: bytes) -> None:
            session = labray.session._session
            assert isinstance(session, cluster_session.ClusterSession)
            boot = session._boot
            with context.socket(zmq.DEALER) as end:
                end.identity = f"{boot.driver}+trace:{boot.token}".encode()
                end.connect(f"ipc://{boot.path('n0')}")
                end.setsockopt(zmq.LINGER, 1000)
                end.send(frame)

        yield send


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from([b"L", b"P", b"W", b"Z", b"", b"GET / HTTP/1.1\r\n"]), body=st.binary(max_size=200)
)
def test_no_frame_stops_the_daemon(
    cluster: None, stranger: Callable[[bytes], None], kind: bytes, body: bytes
) -> None:
    stranger(kind + body)
    assert get(same.remote(1)) == 1


# ---------------------------------------------------------------- what tasks print


def test_what_tasks_print_reaches_the_driver_with_their_name_and_process(
    capsys: pytest.CaptureFixture[str],
) -> None:
    labray.init(backend="cluster", num_cpus=1)

    @labray.remote
    def speak() -> int:
        print("one\ntwo")
        sys.stderr.write("no end of line")
        return os.getpid()

    @labray.remote
    class Speaker:
        def speak(self) -> int:
            print("from an actor " + "".join(map(str, range(2000))))
            return os.getpid()

    number = get(speak.remote())
    speaker = Speaker.remote()
    actor = get(speaker.speak.remote())
    labray.shutdown()
    said = capsys.readouterr()
    assert f"(speak pid={number}) one\n(speak pid={number}) two\n" in said.out
    assert f"(speak pid={number}) no end of line\n" in said.err
    assert f"(Speaker pid={actor}) from an actor 0123" in said.out and "19981999\n" in said.out


def test_equal_lines_are_folded_and_counted() -> None:
    folder = LogDeduplicator()
    line = OutputLine(False, "f", 1, "again")
    assert folder.hear(line, 0.0) == "(f pid=1) again"
    assert [folder.hear(line, 0.1) for _ in range(3)] == [None] * 3
    assert folder.hear(OutputLine(True, "f", 1, "again"), 0.2) == "(f pid=1) again"
    assert folder.due(0.5) == []
    assert folder.due(WINDOW_S) == [(False, "(f pid=1) again [repeated 3x]")]
    assert folder.due(2 * WINDOW_S + 1) == [] and not folder.waiting
    assert folder.hear(line, 10.0) == "(f pid=1) again"


def test_a_flood_of_prints_is_a_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    labray.init(backend="cluster", num_cpus=1)

    @labray.remote
    def flood() -> None:
        for _ in range(20_000):
            print("water")

    begun = time.monotonic()
    get(flood.remote())
    labray.shutdown()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 2 + 2 * (time.monotonic() - begun) / WINDOW_S
    assert all("water" in line for line in lines)


@pytest.mark.parametrize(
    ("name", "kind", "short"),
    [
        ("f", "task", "f"),
        ("g.<locals>.f", "task", "f"),
        ("A.m", "method", "A"),
        ("g.<locals>.A", "actor", "A"),
    ],
)
def test_a_line_is_named_after_the_function_or_the_class(name: str, kind: str, short: str) -> None:
    assert short_name(name, kind) == short
