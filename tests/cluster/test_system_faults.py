"""What the operating system refuses, and what users' own objects raise: one call fails, the session goes on.

Descriptors that run out, disks that are full, streams that break, processes that stop before their first word. Limits
are set in a child, which runs a driver of its own and is given a bound.
"""

from __future__ import annotations

import contextlib
import errno
import io
import marshal
import os
import resource
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import labray
from labray.backends.cluster.boot.process_start import end_with
from labray.backends.cluster.client import driver_wire
from labray.backends.cluster.client.outbox import Outbox
from labray.backends.cluster.daemon.worker_link import WorkerLink
from labray.backends.cluster.store import trace_spool
from labray.backends.cluster.store.disk import Disk
from labray.backends.cluster.store.store_server import _is_lost
from labray.backends.cluster.store.trace_spool import TraceSpool, read_chunk
from labray.backends.cluster.wire import file_descriptors, pipe
from labray.backends.cluster.wire.client_pipe import ClientPipe as ClientEnd
from labray.backends.cluster.wire.complaints import complain
from labray.backends.cluster.wire.control_messages import ControlMessage, ControlSender, receive
from labray.backends.cluster.wire.event_loop import EventLoop
from labray.backends.cluster.wire.frames import (
    HoldSegment,
    TasksWithdrawn,
    decode_calls,
    decode_notice,
    encode,
)
from labray.backends.cluster.wire.pipe import LARGEST_FRAME_BYTES, Pipe, PipeClosed, pair
from labray.client.uninterrupted import at_once
from labray.errors import GetTimeoutError, ObjectStoreFullError, RayTaskError, SessionError
from labray.files import traces
from labray.ids import DRIVER, ClientID, NodeID, ObjectID, task_id
from labray.messages import Payload, RunTask, TaskSpec, Unpin
from labray.replaying import recording

PATIENCE_S = 20.0


def get(ref: Any) -> Any:
    return labray.get(ref, timeout=PATIENCE_S)


def driver(program: str, *words: str, redirect: str = "") -> str:
    """Run a program that uses labray, with a bound; what it printed last is the test's."""
    command = [sys.executable, "-c", textwrap.dedent(program), *words]
    if redirect:
        command = ["sh", "-c", f'exec "$0" "$@" {redirect}', *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip().rpartition("\n")[2]


@labray.remote
def same(value: Any) -> Any:
    return value


@labray.remote
def shout(number: int) -> int:
    for line in range(100):
        print(f"{number} {line} " + 2000 * "x")
    return number


# ---------------------------------------------------------------- what the driver prints on


class Broken:
    """A stream as users write them: it has no `closed`, no `encoding`, and raises."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.calls = 0

    def write(self, text: str) -> int:
        self.calls += 1
        raise self.error

    def flush(self) -> None:
        raise self.error


@pytest.mark.processes
@pytest.mark.parametrize(
    "error", [BrokenPipeError(errno.EPIPE, "closed"), ValueError("no"), SystemExit(1), KeyboardInterrupt()]
)
def test_a_stream_that_fails_stops_nobody_who_prints(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, capfd: pytest.CaptureFixture[str]
) -> None:
    stream = Broken(error)
    monkeypatch.setattr(sys, "stdout", stream)
    labray.init("cluster", num_cpus=2)
    assert get([shout.remote(n) for n in range(2)]) == [0, 1]  # more than the pipe to the driver holds
    labray.shutdown()
    assert stream.calls > 1
    assert f"cannot be shown: {type(error).__name__}" in capfd.readouterr().err


@pytest.mark.processes
def test_a_stream_that_fails_once_shows_what_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    class Once(io.StringIO):
        failed = False

        def write(self, text: str) -> int:
            if not self.failed:
                self.failed = True
                raise OSError(errno.ENOSPC, "the disk is full")
            return super().write(text)

    stream = Once()
    monkeypatch.setattr(sys, "stdout", stream)
    labray.init("cluster", num_cpus=1)
    get(shout.remote(7))
    labray.shutdown()
    assert "7 99 xxx" in stream.getvalue()


@pytest.mark.processes
def test_what_a_stream_cannot_encode_is_shown_with_backslashes(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    labray.init("cluster", num_cpus=1)
    get(labray.remote(lambda: print("gr\u00fcn", "\udcff")).remote())
    labray.shutdown()
    assert b"gr\\xfcn" in raw.getvalue()


def test_a_log_that_cannot_be_written_stops_no_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Broken(BrokenPipeError(errno.EPIPE, "closed"))
    monkeypatch.setattr(sys, "stderr", stream)
    complain("nobody hears this")
    assert stream.calls


@pytest.mark.processes
def test_a_child_of_the_template_ends_though_its_streams_are_broken() -> None:
    pid = os.fork()
    if pid == 0:
        sys.stdout, sys.stderr = None, Broken(OSError(errno.EIO, "input/output error"))  # type: ignore[assignment]
        end_with(lambda: 1 / 0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1


@pytest.mark.processes
def test_with_descriptors_0_to_2_closed_everything_works(tmp_path: Path) -> None:
    program = """
        import os, sys, labray, numpy as np
        labray.init("cluster", num_cpus=2)
        @labray.remote
        def speak(x):
            print("hello")
            return x
        total = sum(labray.get([speak.remote(n) for n in range(10)], timeout=20))
        total += labray.get(labray.put(np.ones(200_000)), timeout=20).sum()
        standard = [os.readlink(f"/proc/self/fd/{fd}") for fd in range(3)]
        open(sys.argv[1], "w").write(f"{total} {standard}")
    """
    path = tmp_path / "told"
    driver(program, str(path), redirect="<&- >&- 2>&-")
    assert path.read_text() == f"200045.0 {['/dev/null'] * 3}"


@pytest.mark.processes
def test_warnings_that_are_errors_lose_no_answer(capfd: pytest.CaptureFixture[str]) -> None:
    labray.init("cluster", num_cpus=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        never = same.options(num_cpus=5).remote(1)
        with pytest.raises(GetTimeoutError):
            labray.get(never, timeout=0.2)
        assert get([same.remote(n) for n in range(5)]) == list(range(5))
    assert "labray: UserWarning" in capfd.readouterr().err


@pytest.mark.processes
def test_text_that_is_no_unicode_travels_with_backslashes() -> None:
    labray.init("cluster", num_cpus=1)

    @labray.remote
    def fail() -> None:
        raise FileNotFoundError("\udcff.txt")

    with pytest.raises(RayTaskError, match=r"\\udcff.txt"):
        get(fail.remote())
    assert get(same.options(name="a\udcffb").remote(3)) == 3


# ---------------------------------------------------------------- what is said to the node


def test_one_message_that_cannot_be_told_does_not_take_others_with_it() -> None:
    sent: list[bytes] = []
    outbox = Outbox(lambda frame, fd: partial(sent.append, frame), int, int, int)
    words = [Unpin(((ObjectID(id), count),)) for id, count in (("a", 1), ("b", 2**70), ("c", 1))]
    for word in words:
        outbox.put(word)
    with pytest.raises(OverflowError):
        outbox.flush()
    outbox.stop()
    assert [word for frame in sent for word in decode_calls(frame)] == [words[0], words[2]]


@pytest.mark.filterwarnings("ignore:a message to the node")
def test_the_thread_that_sends_survives_what_sending_raises() -> None:
    sent = threading.Event()
    errors: list[BaseException] = [OSError(errno.EIO, "odd"), MemoryError()]

    def push() -> None:
        if errors:
            raise errors.pop()
        sent.set()

    outbox = Outbox(lambda frame, fd: int, push, int, int)
    while not sent.is_set():
        outbox.post(Unpin(()))
        sent.wait(0.005)
    assert not errors
    outbox.stop()


@pytest.mark.parametrize(
    "option", [{"num_cpus": 10**20}, {"max_retries": 10**30}, {"resources": {"x": 1e300}}]
)
def test_numbers_that_no_message_holds_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\(?at most 1e\+15"):
        same.options(**option)


# ---------------------------------------------------------------- frames


class End:
    """A socket whose every send raises the next of these errors, and then takes all."""

    def __init__(self, *numbers: int) -> None:
        self.errors = list(numbers)
        self.sent: list[bytes] = []

    def send(self, data: Any) -> int:
        if self.errors:
            number = self.errors.pop(0)
            raise OSError(number, os.strerror(number))
        self.sent.append(bytes(data))
        return len(data)


@pytest.mark.parametrize("number", [errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN])
def test_a_frame_for_which_there_is_no_room_now_waits(number: int) -> None:
    end = End(number)
    wire = Pipe(end)  # type: ignore[arg-type]
    wire.send(b"frame")
    assert wire.backlog
    assert wire.flush()
    assert end.sent == [b"frame"]


def test_a_large_frame_goes_on_where_it_was_interrupted() -> None:
    end = End()
    wire = Pipe(end)  # type: ignore[arg-type]
    frame = os.urandom(5 * LARGEST_FRAME_BYTES + 1)
    takes = iter([None, None, errno.EAGAIN, None, None, errno.ENOBUFS])
    take = end.send

    def send(data: Any) -> int:
        number = next(takes, None)
        if number is not None:
            raise OSError(number, os.strerror(number))
        return take(data)

    end.send = send  # type: ignore[method-assign]
    assert wire.offer(frame)  # it has begun
    assert not wire.offer(b"another")  # the rest of it comes first
    assert wire.flush()
    assert wire.offer(b"another")
    assert b"".join(end.sent[1:-1]) == frame
    assert end.sent[-1] == b"another"


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN])
def test_only_an_end_counts_as_an_end(number: int) -> None:
    with pytest.raises(PipeClosed):
        Pipe(End(number)).send(b"frame")  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EMSGSIZE, errno.EIO])
def test_what_is_not_an_end_is_raised_as_it_is(number: int) -> None:
    with pytest.raises(OSError, match=os.strerror(number)):
        Pipe(End(number)).send(b"frame")  # type: ignore[arg-type]


def test_a_frame_of_impossible_size_is_an_end_and_takes_no_memory() -> None:
    ours, theirs = pair()
    with ours, theirs:
        ours.send(bytes([pipe.BEGINS]) + (1 << 50).to_bytes(8, "little"))
        with pytest.raises(PipeClosed, match="announces"):
            Pipe(theirs).receive()


def test_a_descriptor_travels_with_its_frame_and_one_that_nobody_takes_is_closed() -> None:
    end, other = pair()
    ours, theirs = ClientEnd(end), Pipe(other)
    before = len(os.listdir("/proc/self/fd"))
    fd = os.memfd_create("a segment", os.MFD_CLOEXEC)
    for number in range(2):
        at_once(ours.queue(encode([HoldSegment(1, number)]), fd))
    ours.send(lambda: None)
    os.write(fd, b"abc")
    os.close(fd)
    assert theirs.receive() is not None
    frame = theirs.receive()  # the first one's is closed by that
    assert frame is not None
    assert decode_calls(frame) == [HoldSegment(1, 1)]
    taken = theirs.take_descriptor()
    assert os.pread(taken, 3, 0) == b"abc"
    assert not os.get_inheritable(taken)
    assert theirs.take_descriptor() == -1
    os.close(taken)
    ours.close()
    theirs.close()
    assert len(os.listdir("/proc/self/fd")) == before - 2


@contextlib.contextmanager
def no_more_descriptors() -> Iterator[None]:
    """Nobody in this process may open anything. (What is open already may have higher numbers.)"""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_descriptor_that_finds_no_room_is_missed_and_the_frame_is_not() -> None:
    end, other = pair()
    ours, theirs = ClientEnd(end), Pipe(other)
    at_once(ours.queue(b"frame", end.fileno()))
    ours.send(lambda: None)
    daemon = Pipe(end)
    large = os.urandom(3 * LARGEST_FRAME_BYTES)
    with no_more_descriptors():
        frame = theirs.receive()
        assert frame is not None
        assert bytes(frame) == b"frame"
        assert theirs.take_descriptor() == -1
        daemon.send(large)
        whole = None
        while whole is None:
            daemon.flush()
            whole = theirs.receive()
    assert bytes(whole) == large
    ours.close()
    theirs.close()


# ---------------------------------------------------------------- descriptors run out


@pytest.mark.processes
def test_a_driver_that_runs_out_of_descriptors_is_told_and_goes_on() -> None:
    program = """
        import os, resource, labray, numpy as np
        from labray.errors import ObjectStoreFullError
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
        @labray.remote
        def size(*texts): return sum(map(len, texts))
        @labray.remote
        def ones(n): return np.ones(n)
        labray.init("cluster", num_cpus=1)
        labray.get(size.remote())
        large = ones.remote(200_000)
        labray.wait([large], timeout=20)
        hog, told = [], []
        try:
            while True: hog.append(os.open("/dev/null", 0))
        except OSError: pass
        told.append(labray.get(size.remote(*["x" * 90_000] * 3), timeout=20))
        for attempt in (lambda: labray.put(np.ones(200_000)), lambda: labray.get(large, timeout=20), labray.nodes):
            try: attempt()
            except (ObjectStoreFullError, OSError) as error: told.append("EMFILE: RLIMIT_NOFILE is 100" in str(error))
        for fd in hog: os.close(fd)
        told.append(int(labray.get(labray.put(np.ones(200_000)), timeout=20).sum()))
        told.append(int(labray.get(large, timeout=20).sum()))
        told.append(len(labray.nodes()))
        print(told)
    """
    assert driver(program) == "[270000, True, True, True, 200000, 200000, 1]"


@pytest.mark.processes
def test_without_descriptors_init_says_so_and_leaves_nothing() -> None:
    program = """
        import os, resource, labray
        labray.init("cluster", num_cpus=1); labray.shutdown()
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
        hog = []
        try:
            while True: hog.append(os.open("/dev/null", 0))
        except OSError: os.close(hog.pop())
        try: labray.init("cluster", num_cpus=1)
        except OSError as error: told = "EMFILE" in str(error)
        for fd in hog: os.close(fd)
        import tempfile
        left = [name for name in os.listdir(tempfile.gettempdir()) if name.startswith(f"labray-{os.getpid()}-")]
        labray.init("cluster", num_cpus=1)
        print(told, left, labray.get(labray.put(5)))
    """
    assert driver(program) == "True [] 5"


@labray.remote
class Hog:
    """An actor that uses up its process's descriptors."""

    def __init__(self) -> None:
        self.fds: list[int] = []

    def take_all(self) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        with contextlib.suppress(OSError):
            while True:
                self.fds.append(os.open(os.devnull, os.O_RDONLY))

    def give_back(self) -> None:
        while self.fds:
            os.close(self.fds.pop())

    def size(self, *texts: Any) -> int:
        return sum(map(len, texts))

    def ones(self, count: int) -> Any:
        return np.ones(count)


@pytest.mark.processes
def test_a_worker_that_runs_out_of_descriptors_is_told_and_goes_on() -> None:
    labray.init("cluster", num_cpus=1)
    hog = Hog.remote()
    array = labray.put(np.ones(200_000))
    get(hog.take_all.remote())
    assert get(hog.size.remote(*["x" * 90_000] * 3)) == 270_000
    with pytest.raises(OSError, match=r"cannot be read: .* is out of file descriptors"):
        get(hog.size.remote(array))
    with pytest.raises(ObjectStoreFullError, match="is out of file descriptors"):
        get(hog.ones.remote(200_000))
    get(hog.give_back.remote())
    assert get(hog.size.remote(array)) == 200_000
    assert get(hog.ones.remote(200_000)).sum() == 200_000


@pytest.mark.processes
def test_at_the_hard_limit_workers_wait_and_the_session_goes_on() -> None:
    program = """
        import resource, warnings, labray
        resource.setrlimit(resource.RLIMIT_NOFILE, (60, 100))
        @labray.remote(num_cpus=0)
        class Actor:
            def limits(self): return resource.getrlimit(resource.RLIMIT_NOFILE)
        labray.init("cluster", num_cpus=1)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            actors = [Actor.remote() for _ in range(100)]
            calls = [actor.limits.remote() for actor in actors]
            ready, waiting = labray.wait(calls, num_returns=100, timeout=3)
        told = [str(w.message) for w in caught]
        assert len(told) == 1 and "cannot start a worker" in told[0] and "EMFILE" in told[0], told
        assert 20 < len(ready) < 100, len(ready)  # more than the soft limit allows, and not all
        limits = labray.get(ready)
        del actors, calls, ready  # and with the last handle their processes
        print(set(limits), len(labray.get(waiting, timeout=30)) + len(limits))
    """
    assert driver(program) == "{(60, 100)} 100"


@pytest.mark.processes
def test_a_daemon_raises_its_soft_limit_and_users_code_keeps_the_drivers() -> None:
    program = """
        import resource, labray
        from labray import session
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        labray.init("cluster", num_cpus=1)
        processes = session.running().processes()
        theirs = {resource.prlimit(pid, resource.RLIMIT_NOFILE)[0] for pid in processes.values()}
        mine = labray.get(labray.remote(lambda: resource.getrlimit(resource.RLIMIT_NOFILE)).remote(), timeout=20)
        print(theirs == {min(hard, 1 << 16)}, mine == (256, hard) == resource.getrlimit(resource.RLIMIT_NOFILE))
    """
    assert driver(program) == "True True"


def test_the_reserve_is_a_share_of_a_small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (160, 160))
    file_descriptors.refuse_the_last(139)
    with pytest.raises(OSError, match="Too many open files"):
        file_descriptors.refuse_the_last(140)
    file_descriptors.refuse_the_last(149, 0.5)
    monkeypatch.setattr(resource, "getrlimit", lambda which: (resource.RLIM_INFINITY, 160))
    file_descriptors.refuse_the_last(10**6)


@pytest.mark.processes
def test_a_driver_that_may_not_be_looked_into_stores_what_it_likes() -> None:
    """As one that has given up root: its files in /proc are root's, and (so here) daemons may not look there."""
    program = """
        import ctypes, labray, numpy as np
        libc = ctypes.CDLL(None)
        libc.prctl(24, 19, 0, 0, 0)  # PR_CAPBSET_DROP of CAP_SYS_PTRACE, before what is started inherits it
        assert libc.prctl(4, 0, 0, 0, 0) == 0  # PR_SET_DUMPABLE
        labray.init("cluster", num_cpus=1)
        ref = labray.put(np.ones(200_000))
        print(labray.get(ref, timeout=20).sum(), labray.get(labray.remote(lambda x: x.sum()).remote(ref), timeout=20))
    """
    assert driver(program) == "200000.0 200000.0"


@pytest.mark.processes
def test_who_gives_up_rights_after_init_is_told_why_nothing_can_be_read() -> None:
    if os.getuid() != 0:
        pytest.skip("only root has rights to give up")
    program = """
        import os, labray, numpy as np
        labray.init("cluster", num_cpus=1)
        ref = labray.remote(lambda: np.ones(200_000)).remote()
        labray.wait([ref], timeout=20)
        os.setegid(65534); os.seteuid(65534)
        try: labray.get(ref, timeout=20)
        except PermissionError as error: told = str(error)
        os.seteuid(0)
        print(told.partition("cannot be read: ")[2])
    """
    assert "has given up rights since labray.init()" in driver(program)


# ---------------------------------------------------------------- the trace, and the disk


@pytest.mark.processes
def test_a_trace_that_finds_no_room_stops_with_one_warning_and_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = """
        import resource, warnings, labray
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))  # a disk that is full soon
        context = labray.init("cluster", num_cpus=2)
        same = labray.remote(lambda x: x)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(4):
                assert sum(labray.get([same.remote(n) for n in range(1000)], timeout=30)) == 499_500
            events = context.trace()
            assert sum(labray.get([same.remote(n) for n in range(1000)], timeout=30)) == 499_500
        told = [str(w.message) for w in caught]
        cut = [event for event in events if event[1] == "cut"]
        ((_, _, place, subject, (missing, why)),) = cut
        print(len(told), "n0 traces no more" in told[0], place, subject, missing > 4000, why)
    """
    assert driver(program) == f"1 True n0 n0 True [Errno 27] {os.strerror(errno.EFBIG)}"


def test_a_trace_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_spool, "LIMIT_BYTES", 100)
    kept = TraceSpool("n0")
    first = [(1.0, "put", "n0", "a", 1)]
    assert kept.append(first) == ""
    assert "at most" in kept.append([(2.0 + n, "put", "n0", "b", 1) for n in range(10)])
    assert kept.append([(20.0, "put", "n0", "c", 1)]) == ""
    chunks = [event for chunk in kept.chunks() for event in read_chunk(chunk)]
    assert chunks[:-1] == first
    assert chunks[-1][:4] == (2.0, "cut", "n0", "n0")
    assert chunks[-1][4][0] == 11


def test_a_recording_that_was_cut_says_so_when_it_is_read(tmp_path: Path) -> None:
    with labray.init("sim", trace=tmp_path / "whole.lab"):
        get(same.remote(1))
    events, about = traces.load(tmp_path / "whole.lab")
    assert recording.load(tmp_path / "whole.lab")[0] == events
    traces.save(tmp_path / "cut.lab", [*events, (9.0, "cut", "n1", "n1", (7, "the disk is full"))], about)
    with pytest.warns(RuntimeWarning, match="is not whole: n1 .* the disk is full"):
        recording.load(tmp_path / "cut.lab")


def test_a_trace_that_cannot_be_read_back_gives_what_can(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = TraceSpool("n0")
    events = [(1.0, "put", "n0", "a", 1)]
    kept.append(events)
    kept.append(events)
    assert kept._file is not None
    os.truncate(kept._file.fileno(), len(marshal.dumps(events)) + 3)
    told = [event for chunk in kept.chunks() for event in read_chunk(chunk)]
    assert told[0] == events[0]
    assert [event[1] for event in told] == ["put", "cut"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_disk_whose_thread_meets_anything_goes_on(tmp_path: Path) -> None:
    loop = EventLoop()
    disk = Disk(loop, str(tmp_path), "n0")
    told: list[OSError | None] = []

    def no_room() -> memoryview:
        raise MemoryError

    number = disk.write_file(memoryview(b"abc"), told.append)
    disk.read_file(number, no_room, told.append)
    room = bytearray(3)
    disk.read_file(number, lambda: memoryview(room), told.append)
    while len(told) < 3:
        loop.turn(PATIENCE_S)
    assert room == b"abc"
    assert told[0] is None
    assert told[1] is not None
    assert told[1].errno == errno.ENOMEM
    assert told[2] is None
    disk._jobs.put((sys.exit, told.append))  # the one thing that ends the thread
    assert disk._thread is not None
    disk._thread.join(PATIENCE_S)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_disk_whose_thread_cannot_start_tries_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = EventLoop()
    disk = Disk(loop, str(tmp_path), "n0")
    told: list[OSError | None] = []

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        disk.write_file(memoryview(b"abc"), told.append)
    loop.turn(PATIENCE_S)
    assert told[0] is not None
    assert told[0].errno == errno.EAGAIN
    assert not _is_lost(told[0])
    disk.write_file(memoryview(b"abc"), told.append)
    loop.turn(PATIENCE_S)
    assert told[1] is None
    disk._jobs.put((sys.exit, told.append))
    assert disk._thread is not None
    disk._thread.join(PATIENCE_S)


# ---------------------------------------------------------------- everything that is waited for can be declared dead


@pytest.mark.processes
def test_a_daemon_that_says_no_first_word_is_declared_dead_and_its_tasks_run_elsewhere() -> None:
    strike = threading.Thread(target=stop_second_daemon, daemon=True)
    strike.start()
    labray.init("cluster", nodes=2, num_cpus=1, heartbeat_timeout_s=1)
    strike.join(PATIENCE_S)
    with pytest.warns(UserWarning, match="n1 has not been heard of"):
        assert get([same.remote(n) for n in range(60)]) == list(range(60))


def stop_second_daemon() -> None:
    """As soon as it has been forked, which is before it can say anything."""
    me = psutil.Process()
    while not (first := me.children()):
        time.sleep(0.001)
    children = f"/proc/{first[0].pid}/task/{first[0].pid}/children"
    while len(pids := Path(children).read_text().split()) < 2:
        time.sleep(0.0005)
    os.kill(int(pids[1]), signal.SIGSTOP)


@pytest.mark.processes
def test_a_stopped_template_is_declared_dead_and_the_session_ends_with_the_reason() -> None:
    labray.init("cluster", num_cpus=1, heartbeat_timeout_s=0.5)

    @labray.remote
    class Actor:
        def pid(self) -> int:
            return os.getpid()

    get(Actor.remote().pid.remote())
    template = psutil.Process().children()[0]
    template.suspend()
    with pytest.raises(SessionError, match=r"starts all others was stopped \(SIGSTOP\) for 0.5 s"):
        get([Actor.remote().pid.remote() for _ in range(3)])


def test_a_daemon_that_does_not_listen_holds_up_nobody_who_speaks_to_it() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        out = ControlSender(ours)
        count = 0
        while not out.waiting:
            out.send(ControlMessage("gone", str(count)), (ours.fileno(),))
            count += 1
        out.send(ControlMessage("gone", "last"))
        heard = []
        while len(heard) <= count:
            got = receive(theirs)
            if got is None:
                out.flush()
                continue
            heard.append(got[0].subject)
            for fd in got[1]:
                os.close(fd)
        assert heard == [*map(str, range(count)), "last"]
        assert not out.waiting


def test_a_template_without_room_for_a_pipe_hears_the_errand_all_the_same() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ControlSender(ours).send(ControlMessage("fork", "n0/w0"), (ours.fileno(),))
        with no_more_descriptors():
            assert receive(theirs) == (ControlMessage("fork", "n0/w0"), [])


def test_last_words_that_do_not_come_are_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_wire, "LAST_WORDS_S", 0.05)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert driver_wire._last_words(ours) == driver_wire.SILENT
        theirs.send(b"the disk is full")
        assert driver_wire._last_words(ours) == "the disk is full"


def test_a_worker_that_hangs_before_its_first_word_is_declared_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labray.backends.cluster.daemon.worker_link.monotonic", lambda: 5.0, raising=False)
    from labray.backends.cluster.daemon.worker_links import WorkerLinks

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        crew = WorkerLinks(EventLoop(), ControlSender(ours), lambda client, message: None)
        crew.start("n0/w0")  # type: ignore[arg-type]
        crew.start("n0/w1")  # type: ignore[arg-type]
        crew.greeted("n0/w1", 17, "")
        assert crew.silent_since(5.0) == []
        assert crew.silent_since(5.1) == ["n0/w0"]
        for client in ("n0/w0", "n0/w1"):
            crew.stop(client, False)  # type: ignore[arg-type]


def test_a_large_run_is_sent_to_its_end_and_what_withdraws_it_comes_after_it() -> None:
    member = WorkerLink(ClientID("n0/w0"))
    theirs = Pipe(member.theirs)
    task = task_id("d", 0)
    run = RunTask(TaskSpec(task, "task", "f", DRIVER, NodeID("n0"), None, Payload(bytes(5_000_000))), 0)
    member.queue(run)
    assert not member.send_queued()  # it has begun to leave
    assert member.take_back({task}) == (task,)
    heard: list[Any] = []
    while len(heard) < 2:
        member.send_queued()
        frame = theirs.receive()
        if frame is not None:
            heard.append(decode_notice(frame))
    assert heard == [run, TasksWithdrawn((task,))]
    assert member.send_queued()
    member.release()
