"""The store of real processes at its limits: what does not fit, what goes to disk, and a disk that fails."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import pytest

import labray
from labray.backends.cluster import cluster_session
from labray.backends.cluster.store import shared_memory
from labray.backends.cluster.store.segments import SegmentWriter
from labray.backends.cluster.store.shared_memory import NoMemory
from labray.errors import GetTimeoutError, ObjectStoreFullError, OutOfDiskError, RayTaskError
from labray.ids import ObjectID

MB = 1024 * 1024
PATIENCE_S = 60.0


@pytest.fixture
def small_store() -> Iterator[None]:
    labray.init(backend="cluster", num_cpus=2, object_store_memory=32 * MB)
    yield
    labray.shutdown()


def session() -> cluster_session.ClusterSession:
    running = labray.session._session
    assert isinstance(running, cluster_session.ClusterSession)
    return running


def files() -> list[Path]:
    return sorted(Path(session()._boot.spill_directory).iterdir())


def until(true: object, what: str) -> None:
    """Wait for a condition in another process, which has no event to wait for."""
    end = time.monotonic() + PATIENCE_S
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.005)


def happened() -> Counter[str]:
    return Counter(event[1] for event in labray.session.running().trace())


def block(number: int, megabytes: int = 4) -> np.ndarray:
    return np.full(megabytes * MB, number, np.uint8)


def intact(ref: labray.ObjectRef, number: int) -> bool:
    array = labray.get(ref, timeout=PATIENCE_S)
    return bool(array[0] == array[-1] == number) and not array.flags.writeable and not array.ctypes.data % 64


@labray.remote
def make(number: int, megabytes: int = 4) -> np.ndarray:
    return block(number, megabytes)


@labray.remote
def total(*arrays: np.ndarray) -> int:
    assert all(not array.flags.writeable and not array.ctypes.data % 64 for array in arrays)
    return sum(int(array[0]) for array in arrays)


# ---------------------------------------------------------------- row 18: the store is full


@pytest.mark.processes
def test_what_a_full_store_cannot_hold_is_spilled_and_comes_back_when_it_is_read(small_store: None) -> None:
    puts = [labray.put(block(number)) for number in range(12)]
    made = [make.remote(number) for number in range(12)]
    assert all(intact(ref, number) for number, ref in enumerate(puts))
    assert all(intact(ref, number) for number, ref in enumerate(made))
    assert happened()["spilled"] >= 16


@pytest.mark.processes
def test_arguments_that_were_spilled_come_back_for_the_task_that_needs_them(small_store: None) -> None:
    refs = [labray.put(block(number)) for number in range(12)]
    sums = [total.remote(first, second) for first, second in pairwise(refs)]
    assert labray.get(sums, timeout=PATIENCE_S) == [2 * number + 1 for number in range(11)]


@pytest.mark.processes
def test_calls_of_an_actor_get_spilled_arguments_in_order(small_store: None) -> None:
    @labray.remote
    class Log:
        def __init__(self) -> None:
            self.seen: list[int] = []

        def add(self, array: np.ndarray) -> None:
            self.seen.append(int(array[0]))

        def all(self) -> list[int]:
            return self.seen

    refs = [labray.put(block(number)) for number in range(12)]
    log = Log.remote()
    for ref in refs:
        log.add.remote(ref)
    assert labray.get(log.all.remote(), timeout=PATIENCE_S) == list(range(12))


@pytest.mark.processes
def test_a_put_that_finds_no_room_says_how_much_there_is_and_who_has_it(small_store: None) -> None:
    refs = [labray.put(block(number, 8)) for number in range(3)]
    views = labray.get(refs)
    with pytest.raises(ObjectStoreFullError) as caught:
        labray.put(block(3, 12))
    text = str(caught.value)
    assert str(32 * MB) in text and "read by n0/driver" in text and refs[0].ref.id in text
    del views
    assert intact(labray.put(block(3, 12)), 3)


@pytest.mark.processes
def test_a_result_that_finds_no_room_is_its_tasks_error(small_store: None) -> None:
    views = labray.get([labray.put(block(number, 8)) for number in range(3)])
    with pytest.raises(ObjectStoreFullError) as caught:
        labray.get(make.remote(1, 12), timeout=PATIENCE_S)
    assert isinstance(caught.value, RayTaskError)
    del views
    assert intact(make.remote(1, 12), 1)


@pytest.mark.processes
def test_a_task_that_fails_at_its_second_result_gives_the_memory_of_the_first_back(small_store: None) -> None:
    @labray.remote(num_returns=2)
    def half(number: int) -> tuple[np.ndarray, object]:
        return block(number, 12), threading.Lock()

    for number in range(6):
        with pytest.raises(TypeError, match="result"):
            labray.get(half.remote(number)[0], timeout=PATIENCE_S)
    assert intact(make.remote(1, 24), 1) and intact(labray.put(block(2, 12)), 2)


@pytest.mark.processes
def test_a_get_of_more_than_the_store_holds_at_once_is_an_error_and_one_by_one_it_works(
    small_store: None,
) -> None:
    refs = [labray.put(block(number)) for number in range(12)]
    with pytest.raises(ObjectStoreFullError, match="12 objects"):
        labray.get(refs, timeout=PATIENCE_S)
    with pytest.raises(ObjectStoreFullError, match="12 objects"):
        labray.get(total.remote(*refs), timeout=PATIENCE_S)
    assert all(intact(ref, number) for number, ref in enumerate(refs))


@pytest.mark.processes
def test_a_store_that_is_used_again_and_again_spills_nothing(small_store: None) -> None:
    for number in range(30):
        assert intact(labray.put(block(number, 12)), number)
    for number in range(10):
        assert intact(make.remote(number, 12), number)
    assert not happened()["spilled"]


@pytest.mark.processes
def test_two_processes_that_take_turns_with_all_the_memory_give_it_to_each_other(small_store: None) -> None:
    for number in range(5):
        assert intact(labray.put(block(number, 24)), number)
        assert intact(make.remote(number, 24), number)
    assert not happened()["spilled"]


@pytest.mark.processes
def test_memory_that_the_system_denies_is_an_error_and_no_signal(small_store: None) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8 * MB, hard))
    try:
        with pytest.raises(ObjectStoreFullError, match="the system has no memory"):
            labray.put(block(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert intact(labray.put(block(1)), 1)


def test_pages_are_had_beforehand_on_older_kernels_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_memory, "MADV_POPULATE_WRITE", 12345)
    held: list[int] = []
    writer = SegmentWriter("w", lambda number, fd: held.append(os.dup(fd)), lambda id, size, more, most: more)
    writer.write(ObjectID("a"), (bytes(3 * MB),))
    assert os.fstat(held[0]).st_blocks * 512 >= 3 * MB
    os.close(held[0])


def test_freed_memory_goes_back_to_the_system_when_it_is_asked_for() -> None:
    held: list[int] = []
    writer = SegmentWriter("w", lambda number, fd: held.append(os.dup(fd)), lambda id, size, more, most: more)
    first, second = (writer.write(ObjectID(name), (bytes(3 * MB),)) for name in "ab")
    writer.free(second, keep=False)
    assert 3 * MB <= os.fstat(held[0]).st_blocks * 512 < 4 * MB
    writer.free(first)
    assert os.fstat(held[0]).st_blocks * 512 >= 3 * MB
    writer.trim()
    assert os.fstat(held[0]).st_blocks == 0
    assert writer.write(ObjectID("c"), (b"x" * MB,)).offset == 0
    os.close(held[0])


def test_a_writer_that_was_interrupted_while_it_published_a_segment_makes_another() -> None:
    held: list[int] = []

    def publish(number: int, fd: int) -> None:
        held.append(number)
        if len(held) == 1:
            raise KeyboardInterrupt

    writer = SegmentWriter("w", publish, lambda id, size, more, most: more)
    with pytest.raises(KeyboardInterrupt):
        writer.write(ObjectID("a"), (bytes(MB),))
    assert writer.write(ObjectID("a"), (bytes(MB),)).segment == held[1] != held[0]


def test_a_writer_that_may_not_grow_has_taken_nothing() -> None:
    def refuse(id: ObjectID, size: int, more: int, most: int) -> int:
        raise ObjectStoreFullError("no")

    writer = SegmentWriter("w", lambda number, fd: None, refuse)
    with pytest.raises(ObjectStoreFullError):
        writer.write(ObjectID("a"), (bytes(MB),))
    assert writer._allocator.used == 0
    assert issubclass(NoMemory, OSError)


@pytest.mark.processes
def test_the_memory_of_a_worker_that_died_is_given_back(small_store: None) -> None:
    @labray.remote(max_retries=0)
    def die_after_putting() -> None:
        labray.put(block(1, 24))
        os.kill(os.getpid(), signal.SIGKILL)

    for _ in range(3):
        with pytest.raises(labray.exceptions.WorkerCrashedError):
            labray.get(die_after_putting.remote(), timeout=PATIENCE_S)
    assert intact(labray.put(block(2, 24)), 2)
    directory = Path(session()._boot.directory)
    until(
        lambda: sum(held(link) for link in directory.iterdir() if link.is_symlink()) < 36 * MB, "given back"
    )


def held(link: Path) -> int:
    """Bytes of memory in a segment."""
    try:
        return link.stat().st_blocks * 512
    except FileNotFoundError:  # given back at this very moment
        return 0


# ---------------------------------------------------------------- row 19: too large for any store


@pytest.mark.processes
def test_an_object_larger_than_the_store_fails_at_once_and_states_both_sizes(small_store: None) -> None:
    with pytest.raises(ObjectStoreFullError, match=rf"{40 * MB + 128} bytes|{32 * MB}"):
        labray.put(block(1, 40))
    with pytest.raises(ObjectStoreFullError, match=str(32 * MB)):
        labray.get(make.remote(1, 40), timeout=PATIENCE_S)
    with pytest.raises(ObjectStoreFullError, match=str(32 * MB)):
        total.remote(block(1, 40))
    assert intact(labray.put(block(1, 24)), 1)


# ---------------------------------------------------------------- row 20: the disk


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """For the daemon: what a full disk is to whoever writes."""
    template = psutil.Process(session()._fork_server.pid)
    daemons = [child for child in template.children() if child.num_threads() > 2]
    before = [daemon.rlimit(psutil.RLIMIT_FSIZE) for daemon in daemons]
    for daemon in daemons:
        daemon.rlimit(psutil.RLIMIT_FSIZE, (size, before[0][1]))
    try:
        yield
    finally:
        for daemon, limit in zip(daemons, before, strict=True):
            daemon.rlimit(psutil.RLIMIT_FSIZE, limit)


@pytest.mark.processes
def test_a_full_disk_is_an_error_for_what_needed_it_and_the_rest_goes_on(small_store: None) -> None:
    refs = [labray.put(block(number, 8)) for number in range(3)]
    with no_file_larger_than(MB):
        with pytest.raises(OutOfDiskError, match="File too large"):
            labray.put(block(3, 12))
        assert all(intact(ref, number) for number, ref in enumerate(refs))
        assert intact(make.remote(5, 1), 5)
        assert labray.get(total.remote(*refs), timeout=PATIENCE_S) == 3
    assert not files()
    assert intact(labray.put(block(3, 12)), 3)


@pytest.mark.processes
def test_spilled_files_that_vanish_lose_put_values_and_make_results_again(small_store: None) -> None:
    puts = [labray.put(block(number, 8)) for number in range(4)]
    made = [make.remote(number, 8) for number in range(4)]
    labray.wait(made, num_returns=4, timeout=PATIENCE_S)
    until(lambda: happened()["spilled"] >= 4, "spilled")
    last = labray.put(block(9, 8))
    until(lambda: len(files()) >= 5, "files")
    for path in files():
        path.unlink()
    for ref in puts:
        with pytest.raises(OutOfDiskError, match=f"{ref.ref.id} was spilled .*No such file"):
            labray.get(ref, timeout=PATIENCE_S)
    assert all(intact(ref, number) for number, ref in enumerate(made))
    assert intact(last, 9)


@pytest.mark.processes
def test_a_spill_directory_that_vanishes_is_an_error_for_what_needs_it(tmp_path: Path) -> None:
    labray.init(
        backend="cluster", num_cpus=1, object_store_memory=32 * MB, object_spilling_directory=tmp_path
    )
    [directory] = tmp_path.iterdir()
    directory.rmdir()
    refs = [labray.put(block(number, 8)) for number in range(3)]
    with pytest.raises(OutOfDiskError, match="No such file"):
        labray.put(block(3, 12))
    assert all(intact(ref, number) for number, ref in enumerate(refs))
    directory.mkdir()
    assert intact(labray.put(block(3, 12)), 3)
    labray.shutdown()
    assert not list(tmp_path.iterdir())


@pytest.mark.processes
def test_a_get_does_not_wait_for_a_disk_that_hangs(small_store: None) -> None:
    refs = [labray.put(block(number, 8)) for number in range(6)]
    until(lambda: len(files()) >= 3, "files")
    path = files()[0]
    path.unlink()
    os.mkfifo(path)  # whoever opens it waits for a writer
    with pytest.raises(GetTimeoutError):
        labray.get(refs[0], timeout=0.5)
    assert labray.get(total.remote(block(2, 1)), timeout=PATIENCE_S) == 2


@pytest.mark.processes
def test_spilled_files_are_private_and_gone_at_the_end(small_store: None) -> None:
    refs = [labray.put(block(number, 8)) for number in range(8)]
    until(lambda: len(files()) >= 4, "files")
    directory = files()[0].parent
    assert {stat.S_IMODE(path.stat().st_mode) for path in files()} == {0o600}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    del refs
    labray.put(1)
    until(lambda: not files(), "files are removed with their objects")
    labray.shutdown()
    assert not directory.exists()


@pytest.mark.processes
def test_what_a_killed_session_has_spilled_is_swept_by_the_next(tmp_path: Path) -> None:
    program = (
        "import labray, numpy, os, signal, sys, time\n"
        "labray.init(backend='cluster', num_cpus=1, object_store_memory=16 << 20,\n"
        "            object_spilling_directory=sys.argv[1])\n"
        "refs = [labray.put(numpy.zeros(4 << 20, numpy.uint8)) for _ in range(8)]\n"
        "os.kill(labray.session._session._fork_server.pid, signal.SIGKILL)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], timeout=PATIENCE_S, check=False)
    [left] = tmp_path.iterdir()
    (tmp_path / "labray-notes").write_text("not ours")
    labray.init(backend="cluster", num_cpus=1, object_spilling_directory=tmp_path)
    labray.shutdown()
    assert [path.name for path in tmp_path.iterdir()] == ["labray-notes"], left


# ---------------------------------------------------------------- several nodes


@pytest.mark.processes
def test_copies_on_several_nodes_make_way_and_come_back() -> None:
    labray.init(backend="cluster", nodes=3, num_cpus=1, object_store_memory=32 * MB, scheduler="random")
    refs = [make.remote(number) for number in range(10)]
    sums = [total.remote(*refs[number : number + 3]) for number in range(8)]
    assert labray.get(sums, timeout=PATIENCE_S) == [3 * number + 3 for number in range(8)]
    assert all(intact(ref, number) for number, ref in enumerate(refs))


# ---------------------------------------------------------------- arrays, small ones too


@pytest.mark.parametrize("backend", ["inline", "sim", "cluster"])
@pytest.mark.parametrize("length", [1, 100, 5_000, 200_000])
def test_arrays_are_read_only_and_aligned_wherever_they_come_from(backend: str, length: int) -> None:
    @labray.remote
    def look(array: np.ndarray, nested: list[np.ndarray]) -> list[tuple[bool, int]]:
        return [(a.flags.writeable, a.ctypes.data % 64) for a in (array, *nested)]

    @labray.remote
    def give() -> list[np.ndarray]:
        return [np.zeros(length), np.zeros(length, np.float32)]

    labray.init(backend=backend, num_cpus=1)
    array = np.zeros(length)
    seen = labray.get(look.remote(array, [array, np.ones(3)]))
    seen += labray.get(look.remote(labray.put(array), labray.get(give.remote())))
    seen += [(a.flags.writeable, a.ctypes.data % 64) for a in labray.get(give.remote())]
    assert seen == [(False, 0)] * 8


# ---------------------------------------------------------------- options


@pytest.mark.parametrize("given", [0, -1, 1000, float("nan"), float("inf")])
def test_a_store_of_no_size_is_refused(given: float) -> None:
    with pytest.raises(ValueError, match="object_store_memory"):
        labray.init(backend="cluster", object_store_memory=given)


def test_options_of_the_store_of_another_kind_are_refused() -> None:
    with pytest.raises(TypeError, match="object_store_memory"):
        labray.init(backend="cluster", object_store_memory="2GB")
    with pytest.raises(ValueError, match="object_spilling_directory"):
        labray.init(
            backend="cluster", object_spilling_directory=os.path.join(tempfile.gettempdir(), "is", "not")
        )
