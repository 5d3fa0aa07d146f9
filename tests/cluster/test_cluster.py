"""The real world: processes, shared memory, wires, and what is left when something is killed."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import labray
from labray.backends.cluster import cluster_session
from labray.backends.cluster.store.allocator import Allocator, aligned, extent
from labray.backends.cluster.wire.pipe import LARGEST_FRAME_BYTES, Pipe, PipeClosed, pair
from labray.errors import GetTimeoutError, LabrayError, SessionError, WorkerCrashedError

pytestmark = pytest.mark.processes

PATIENCE_S = 20.0


@pytest.fixture
def cluster() -> Iterator[None]:
    labray.init(backend="cluster", num_cpus=2)
    yield
    labray.shutdown()


def _until(true: object, what: str) -> None:
    """Wait for a condition in another process, which has no event to wait for."""
    end = time.monotonic() + PATIENCE_S
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.005)


def _session() -> cluster_session.ClusterSession:
    session = labray.session._session
    assert isinstance(session, cluster_session.ClusterSession)
    return session


def _processes() -> dict[str, list[psutil.Process]]:
    """The session's processes: the template, the daemons (they have threads, zmq's), the workers."""
    [template] = psutil.Process().children()
    children = template.children()
    daemons = [child for child in children if child.num_threads() > 2]
    return {"template": [template], "daemon": daemons, "worker": [c for c in children if c not in daemons]}


# ---------------------------------------------------------------- the allocator


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5000)), max_size=60))
@settings(deadline=None)
def test_blocks_never_overlap_and_freed_space_is_whole_again(steps: list[tuple[bool, int]]) -> None:
    allocator = Allocator()
    segments = 0
    blocks: list[tuple[int, int]] = []
    for take, number in steps:
        if take or not blocks:
            block = allocator.allocate(number)
            if block is None:
                assert not allocator.fits(number)
                allocator.add_segment(segments, 8192)
                segments += 1
                block = allocator.allocate(number)
            assert block is not None and block[1] % 64 == 0
            blocks.append(block)
        else:
            allocator.free(*blocks.pop(number % len(blocks)))
        allocator.validate()
    for block in blocks:
        allocator.free(*block)
    allocator.validate()
    assert allocator.used == 0
    assert all(allocator.allocate(8192) is not None for _ in range(segments))


def test_freed_block_is_the_first_to_be_used_again() -> None:
    allocator = Allocator()
    allocator.add_segment(0, 1 << 20)
    first = allocator.allocate(1000)
    allocator.allocate(1000)
    assert first is not None
    allocator.free(*first)
    assert allocator.allocate(900) == first


def test_every_buffer_of_a_block_begins_aligned() -> None:
    assert aligned(0) == aligned(1) == aligned(64) == 64
    assert extent((1, 65, 0)) == 64 + 128 + 64


# ---------------------------------------------------------------- the pipe


def test_frames_of_any_size_arrive_whole_and_in_order() -> None:
    ours, theirs = (Pipe(end) for end in pair())
    sent = [
        bytes([n]) * size for n, size in enumerate([1, 300, LARGEST_FRAME_BYTES, 5_000_000, 2, 400_000] * 5)
    ]
    for frame in sent:
        ours.send(frame)
    got = []
    while len(got) < len(sent):
        frame = theirs.receive()
        if frame is None:
            ours.flush()
        else:
            got.append(bytes(frame))
    assert got == sent
    ours.close()
    with pytest.raises(PipeClosed):
        theirs.receive()
    theirs.close()


def test_full_pipe_keeps_what_does_not_fit_and_never_blocks() -> None:
    ours, theirs = (Pipe(end) for end in pair())
    for number in range(2000):
        ours.send(number.to_bytes(500, "little"))
    assert ours.backlog
    got: list[int] = []
    while len(got) < 2000:
        frame = theirs.receive()
        if frame is None:
            ours.flush()
        else:
            got.append(int.from_bytes(frame, "little"))
    assert got == list(range(2000))
    ours.close()
    theirs.close()


# ---------------------------------------------------------------- tasks, recall, nodes


@labray.remote
def double(x: int) -> int:
    return 2 * x


@labray.remote
def sleep_then(seconds: float, value: int) -> int:
    time.sleep(seconds)
    return value


def test_short_tasks_do_not_wait_behind_a_long_one(cluster: None) -> None:
    labray.get([sleep_then.remote(0, 1) for _ in range(200)], timeout=PATIENCE_S)
    long = sleep_then.remote(600, 0)
    short = [sleep_then.remote(0, number) for number in range(100)]
    assert labray.get(short, timeout=PATIENCE_S) == list(range(100))
    ready, _ = labray.wait([long], timeout=0)
    assert ready == []


@pytest.mark.parametrize("scheduler", ["centralized", "bottom_up"])
def test_several_nodes_run_tasks_and_pull_objects(scheduler: str) -> None:
    labray.init(backend="cluster", nodes=3, num_cpus=1, scheduler=scheduler)
    array = labray.put(np.arange(1_000_000))

    @labray.remote
    def add_on(x: np.ndarray, n: int) -> np.ndarray:
        return x + n

    there = [add_on.options(resources={f"node:n{n}": 0.1}).remote(array, n) for n in range(3)]
    for n, result in enumerate(labray.get(there, timeout=PATIENCE_S)):
        assert (result == np.arange(1_000_000) + n).all()
    assert labray.get([double.remote(n) for n in range(300)], timeout=PATIENCE_S) == list(range(0, 600, 2))
    kinds = {event[1] for event in _session().trace()}
    assert {"submitted", "ran", "finished", "moved", "forwarded"} <= kinds


def test_several_threads_may_wait_at_once(cluster: None) -> None:
    results: dict[int, list[int]] = {}

    def ask(who: int) -> None:
        results[who] = [labray.get(double.remote(n), timeout=PATIENCE_S) for n in range(100)]

    threads = [threading.Thread(target=ask, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {who: list(range(0, 200, 2)) for who in range(4)}


def test_submitted_task_begins_while_the_driver_computes_on(cluster: None, tmp_path: Path) -> None:
    mark = tmp_path / "begun"

    @labray.remote
    def touch() -> None:
        mark.touch()

    ref = touch.remote()
    _until(mark.exists, "the task never began")
    labray.get(ref)


def test_timed_out_get_leaves_the_session_usable(cluster: None) -> None:
    slow = sleep_then.remote(0.3, 7)
    with pytest.raises(GetTimeoutError):
        labray.get(slow, timeout=0.01)
    assert labray.get(slow, timeout=PATIENCE_S) == 7


def test_warning_of_a_node_reaches_the_user(cluster: None) -> None:
    ref = double.options(num_cpus=64).remote(1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        labray.wait([ref], timeout=0.5)
    assert any("64" in str(warning.message) for warning in caught)


def test_failure_of_a_policy_is_raised_in_every_call() -> None:
    class Broken:
        words = ()
        interest = ()

        def agent(self, place: object, cluster: object, view: object, rng: object) -> object:
            class Agent:
                def handle(self, event: object, now: float) -> list[object]:
                    if type(event).__name__ == "TaskArrived":
                        raise ZeroDivisionError("this policy divides by zero")
                    return []

            return Agent()

    labray.init(backend="cluster", num_cpus=1, scheduler=Broken())
    ref = double.remote(1)
    for _ in range(2):
        with pytest.raises(SessionError, match="divides by zero"):
            labray.get(ref, timeout=PATIENCE_S)


# ---------------------------------------------------------------- shared memory


def test_large_arrays_are_shared_without_a_copy_and_cannot_be_written(cluster: None) -> None:
    array = np.arange(2_000_000, dtype=np.float64)
    ref = labray.put(array)
    one, two = labray.get(ref), labray.get(ref)
    assert np.shares_memory(one, two) and not np.shares_memory(one, array)
    assert one.ctypes.data % 64 == 0 and (one == array).all()
    with pytest.raises(ValueError, match="read-only"):
        one[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        one.flags.writeable = True

    @labray.remote
    def look(x: np.ndarray) -> tuple[float, bool, int]:
        return float(x.sum()), bool(x.flags.writeable), x.ctypes.data % 64

    assert labray.get(look.remote(ref), timeout=PATIENCE_S) == (array.sum(), False, 0)


def test_reader_cannot_map_a_segment_for_writing(cluster: None) -> None:
    import mmap

    ref = labray.put(np.zeros(1_000_000))
    labray.get(ref)
    [segment] = Path(_session()._boot.directory).glob("n0.driver.*")
    fd = os.open(segment, os.O_RDWR)
    try:
        with pytest.raises(PermissionError):
            mmap.mmap(fd, 0)
    finally:
        os.close(fd)


def test_block_is_not_reused_while_a_view_lives_and_is_afterwards(cluster: None) -> None:
    def put_ones(value: int) -> int:
        ref = labray.put(np.full(1_000_000, value))
        return int(labray.get(ref).ctypes.data)

    first = labray.get(labray.put(np.full(1_000_000, 7)))
    view = first[10:20]
    address = first.ctypes.data
    gone = weakref.ref(first)
    del first
    assert gone() is None
    assert all(put_ones(n) != address for n in range(5))
    assert (view == 7).all()
    del view
    _until(lambda: put_ones(1) == address, "the block never came back")


def test_any_buffer_survives_the_store(cluster: None) -> None:
    values = [
        np.asfortranarray(np.arange(90_000.0).reshape(300, 300)),
        [np.zeros((0, 5)), np.ones(200_000)],
        "x" * 300_000,
        bytes(200_000),
        {"a": np.arange(100_000), "b": [bytearray(b"z" * 200_000)]},
    ]
    for value in values:
        np.testing.assert_equal(labray.get(labray.put(value)), value)


def test_many_small_arrays_in_one_get_pass_the_largest_frame(cluster: None) -> None:
    @labray.remote
    def total(*arrays: np.ndarray) -> int:
        return sum(len(array) for array in arrays)

    refs = [labray.put(np.zeros(60_000, np.uint8)) for _ in range(40)]
    assert len(labray.get(refs)) == 40
    assert labray.get(total.remote(*refs), timeout=PATIENCE_S) == 40 * 60_000


# ---------------------------------------------------------------- death


@labray.remote
class Victim:
    def pid(self) -> int:
        return os.getpid()


def test_task_of_a_killed_worker_runs_again(cluster: None, tmp_path: Path) -> None:
    mark = tmp_path / "died"

    @labray.remote
    def die_once() -> str:
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return "alive"

    assert labray.get(die_once.remote(), timeout=PATIENCE_S) == "alive"


def test_death_of_a_worker_is_told_with_its_cause(cluster: None) -> None:
    @labray.remote(max_retries=0)
    def die(how: int) -> None:
        if how:
            os.kill(os.getpid(), how)
        os._exit(3)

    with pytest.raises(WorkerCrashedError, match="SIGSEGV"):
        labray.get(die.remote(int(signal.SIGSEGV)), timeout=PATIENCE_S)
    with pytest.raises(WorkerCrashedError, match="code 3"):
        labray.get(die.remote(0), timeout=PATIENCE_S)


def test_values_outlive_the_worker_that_wrote_them(cluster: None) -> None:
    @labray.remote
    class Maker:
        def make(self) -> np.ndarray:
            return np.arange(500_000)

        def pid(self) -> int:
            return os.getpid()

    maker = Maker.remote()
    ref = maker.make.remote()
    pid = labray.get(maker.pid.remote(), timeout=PATIENCE_S)
    labray.wait([ref], timeout=PATIENCE_S)
    os.kill(pid, signal.SIGKILL)
    _until(lambda: not psutil.pid_exists(pid), "the worker lives on")
    assert (labray.get(ref, timeout=PATIENCE_S) == np.arange(500_000)).all()


@pytest.mark.parametrize("who", ["daemon", "template"])
def test_killed_daemon_or_template_ends_the_session_with_an_error(cluster: None, who: str) -> None:
    labray.get(double.remote(1), timeout=PATIENCE_S)
    processes = [process for group in _processes().values() for process in group]
    ref = sleep_then.remote(600, 1)
    _processes()[who][0].kill()
    for _ in range(2):
        with pytest.raises(SessionError):
            labray.get(ref, timeout=PATIENCE_S)
    with pytest.raises(SessionError):
        double.remote(1)
    labray.shutdown()
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE_S)
    assert alive == []


DRIVER_PROGRAM = """
import os, subprocess, sys, time, labray, psutil
labray.init(backend="cluster", num_cpus=2, nodes=2)
@labray.remote
def stay():
    subprocess.Popen(["sleep", "600"])
    time.sleep(600)
@labray.remote
def family():
    return [p.pid for p in psutil.Process(os.getppid()).children(recursive=True)] + [os.getppid()]
refs = [stay.remote() for _ in range(2)]
pids = labray.get(family.remote())
if os.fork() == 0:
    time.sleep(3)  # a child that holds what the driver held
    os._exit(0)
print(pids, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_when_the_driver_dies_everything_it_started_is_gone(how: signal.Signals) -> None:
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
    program = [sys.executable, "-c", DRIVER_PROGRAM]
    with subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as driver:
        assert driver.stdout is not None
        pids = eval(driver.stdout.readline())
        processes = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
        assert len(processes) > 3
        driver.send_signal(how)
        driver.wait(PATIENCE_S)
        _, alive = psutil.wait_procs(processes, timeout=PATIENCE_S)
        assert alive == []
    directories = Path(os.environ.get("XDG_RUNTIME_DIR") or "/tmp")
    _until(lambda: not list(directories.glob(f"labray-{driver.pid}-*")), "the session's directory stays")


def test_forked_child_of_the_driver_gets_an_error(cluster: None) -> None:
    ref = double.remote(4)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            labray.get(ref)
        except LabrayError as error:
            os.write(write, str(error).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        assert "forked" in file.read()
    os.waitpid(pid, 0)
    assert labray.get(ref, timeout=PATIENCE_S) == 8


def test_interrupted_get_leaves_a_session_that_works_and_closes(cluster: None) -> None:
    slow = sleep_then.remote(600, 1)
    labray.get(double.remote(1), timeout=PATIENCE_S)
    timer = threading.Timer(0.2, signal.pthread_kill, [threading.get_ident(), signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        labray.get(slow, timeout=PATIENCE_S)
    timer.join()
    assert labray.get(double.remote(4), timeout=PATIENCE_S) == 8


def test_session_directory_is_private(cluster: None) -> None:
    found = os.stat(_session()._boot.directory)
    assert stat.S_IMODE(found.st_mode) == 0o700 and found.st_uid == os.getuid()


def test_garbage_on_the_socket_is_dropped(capfd: pytest.CaptureFixture[str]) -> None:
    import zmq

    labray.init(backend="cluster", num_cpus=1)
    boot = _session()._boot
    with zmq.Context() as context:
        for name in (b"stranger", f"{boot.driver}+trace:{boot.token}".encode()):
            with context.socket(zmq.DEALER) as end:
                end.identity = name
                end.connect(f"ipc://{boot.path('n0')}")
                for frame in (b"", b"C\xc1\xc1", b"Z", b"L\x93\x01"):
                    end.send(frame)
                end.setsockopt(zmq.LINGER, 1000)
    assert labray.get(double.remote(2), timeout=PATIENCE_S) == 4
    labray.shutdown()
    assert "dropped a frame from a stranger" in capfd.readouterr().err


def test_sessions_follow_each_other() -> None:
    for number in range(3):
        labray.init(backend="cluster", num_cpus=1)
        assert labray.get(double.remote(number), timeout=PATIENCE_S) == 2 * number
        labray.shutdown()
        labray.shutdown()


def test_tasks_of_a_killed_node_run_elsewhere() -> None:
    labray.init(backend="cluster", nodes=3, num_cpus=1)
    refs = [sleep_then.options(max_retries=-1).remote(0.02, n) for n in range(60)]
    labray.wait(refs, num_returns=20, timeout=PATIENCE_S)
    _processes()["daemon"][1].kill()
    assert labray.get(refs, timeout=PATIENCE_S) == list(range(60))


# ---------------------------------------------------------------- what a process put itself


def test_a_large_value_is_read_again_unasked_by_who_put_it(cluster: None) -> None:
    channel = labray.client.runtime.current().channel  # type: ignore[attr-defined]
    ref = labray.put(np.arange(100_000))
    labray.wait([ref])
    questions: list[object] = []
    ask = channel.ask
    channel.ask = lambda message, *rest: (questions.append(message), ask(message, *rest))[1]
    first, second = labray.get(ref), labray.get(ref)
    assert np.array_equal(first, second) and not first.flags.writeable
    assert first.ctypes.data == second.ctypes.data, "both are views of the store"
    assert not questions


def test_a_block_that_is_given_back_is_not_written_again_under_a_view(cluster: None) -> None:
    view = labray.get(
        labray.put(np.full(100_000, 1))
    )  # the ref is gone, and with it what the node knows of it
    for number in range(2, 30):
        labray.get(labray.put(np.full(100_000, number)))
        assert view[0] == view[-1] == 1


def test_a_block_without_views_is_used_again(cluster: None) -> None:
    seen = set()
    for number in range(40):
        array = labray.get(labray.put(np.full(100_000, number)))
        seen.add(array.ctypes.data)
        del array
        labray.get(labray.put(None))  # the node has heard of what was dropped
    assert len(seen) < 10


def test_what_holds_refs_is_asked_for(cluster: None) -> None:
    inner = labray.put(7)
    outer = labray.put([inner, np.zeros(100_000)])
    del inner
    again, _ = labray.get(outer)
    assert labray.get(again) == 7
