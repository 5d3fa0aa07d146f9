"""What is watched on real processes: who is stopped, who says nothing, what cannot start, how much memory is used."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import labray
from labray import messages as m
from labray.backends.cluster.daemon.memory_monitor import machine_memory
from labray.cluster_utils import Cluster
from labray.errors import ActorDiedError, OutOfMemoryError, SessionError, WorkerCrashedError
from labray.ids import ClientID, TaskID
from labray.node.failures.heartbeats import Heartbeats
from labray.node.failures.out_of_memory import IDLE_BYTES, Candidate, choose
from labray.node.tasks.completion import AGAIN_S
from tests.kit.bench import CPU, SHORT_S, VALUE, W0, W1, Bench, D, error, known, ref, run, task
from tests.kit.nodes import at, daemon, where

PATIENCE_S = 20.0
MB = 1_000_000


def get(ref: Any) -> Any:
    return labray.get(ref, timeout=PATIENCE_S)


@labray.remote
def pid() -> int:
    return os.getpid()


# ---------------------------------------------------------------- when somebody is late


def test_who_is_not_heard_of_for_the_timeout_is_late_and_nobody_sooner() -> None:
    beats = Heartbeats(10.0)
    beats.heard("a", 0.0)
    beats.heard("b", 0.0)
    for now in (2.0, 4.0, 6.0, 8.0):
        beats.heard("b", now)
        assert beats.late(now) == []
    assert beats.late(10.0) == ["a"]
    beats.stop_expecting("a")
    assert beats.late(12.0) == []


def test_who_was_never_heard_is_not_expected() -> None:
    assert Heartbeats(1.0).late(100.0) == []


def test_a_watcher_that_was_held_up_itself_blames_nobody_for_it() -> None:
    beats = Heartbeats(10.0)
    beats.heard("a", 0.0)
    assert beats.late(1.0) == []
    assert beats.late(50.0) == []  # it was stopped for 49 s: so were all on this machine, perhaps
    beats.heard("a", 50.1)
    assert beats.late(52.0) == []
    for now in (54.0, 56.0, 58.0):
        assert beats.late(now) == []
    assert beats.late(60.2) == ["a"]


# ---------------------------------------------------------------- stopped processes


@pytest.mark.processes
def test_a_stopped_worker_is_declared_dead_and_its_task_runs_elsewhere(tmp_path: Path) -> None:
    labray.init("cluster", num_cpus=2, heartbeat_timeout_s=0.5)
    begun = tmp_path / "begun"

    @labray.remote(max_retries=1)
    def stop_once() -> int:
        if not begun.exists():
            begun.touch()
            os.kill(os.getpid(), signal.SIGSTOP)
            begun.rename(tmp_path / "went on")
        return os.getpid()

    assert get(stop_once.remote()) > 0
    assert begun.exists()


@pytest.mark.processes
def test_an_actor_that_is_stopped_died_of_it_and_the_message_says_so() -> None:
    labray.init("cluster", num_cpus=2, heartbeat_timeout_s=0.5)

    @labray.remote
    class Stopped:
        def pid(self) -> int:
            return os.getpid()

    actor = Stopped.remote()
    os.kill(get(actor.pid.remote()), signal.SIGSTOP)
    with pytest.raises(ActorDiedError, match=r"stopped \(SIGSTOP\) for 0.5 s"):
        get(actor.pid.remote())


@pytest.mark.processes
def test_a_worker_that_computes_without_a_word_is_not_dead() -> None:
    labray.init("cluster", num_cpus=1, heartbeat_timeout_s=0.2)

    @labray.remote(max_retries=0)
    def compute() -> int:
        return sum(range(30_000_000)) and os.getpid()  # one call into C, which lets no other thread run

    before = get(pid.remote())
    assert get(compute.remote()) == before


@pytest.mark.processes
@pytest.mark.filterwarnings("ignore:.*declared dead")
def test_a_stopped_daemon_is_declared_dead_and_its_tasks_run_elsewhere() -> None:
    cluster = Cluster(head_node_args={"num_cpus": 1}, heartbeat_timeout_s=1.0)
    node = cluster.add_node(num_cpus=1)
    other = cluster.add_node(num_cpus=1)
    number = get(at(node, daemon).remote())
    get(at(other, where).remote())
    os.kill(number, signal.SIGSTOP)
    late = where.options(scheduling_strategy="SPREAD", max_retries=-1)
    assert set(get([late.remote() for _ in range(9)])) <= {"n0", "n2"}
    assert {n["NodeID"]: n["Alive"] for n in labray.nodes()} == {"n0": True, "n1": False, "n2": True}
    assert not psutil.pid_exists(number)
    cluster.shutdown()


@pytest.mark.processes
def test_when_the_first_daemon_is_stopped_the_session_ends_with_the_reason() -> None:
    labray.init("cluster", num_cpus=1, heartbeat_timeout_s=0.5)
    number = get(daemon.remote())
    os.kill(number, signal.SIGSTOP)
    with pytest.raises(SessionError, match=r"the daemon of n0.* was stopped"):
        get(pid.remote())


# ---------------------------------------------------------------- what cannot start


@pytest.mark.processes
def test_a_first_process_that_cannot_start_is_told_with_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "msgspec.py").write_text("def broken():\n    raise RuntimeError('no luck today')\nbroken()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SessionError, match=r"(?s)could not start.*in broken.*no luck today"):
        labray.init("cluster", num_cpus=1)


@pytest.mark.processes
def test_a_broken_module_that_only_tasks_need_breaks_only_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise RuntimeError('not today')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    labray.init("cluster", num_cpus=1)
    assert get(pid.remote()) > 0


def test_a_worker_that_cannot_start_is_told_once_and_tried_again_after_ever_longer_pauses() -> None:
    bench = Bench(workers=0)
    assert bench.submit(task("d-0")) == [m.StartWorker(W0)]
    warn, alarm = bench.hear("", m.WorkerLost(W0, "no luck"))
    assert isinstance(warn, m.WarnUser) and "no luck" in warn.text
    assert isinstance(alarm, m.SetAlarm)
    assert bench.submit(task("d-1")) == []  # it is not tried for every task
    pauses = [alarm.after]
    for number in range(1, 4):
        [start] = bench.hear("", m.AlarmRang(alarm.token))
        assert start == m.StartWorker(ClientID(f"n0/w{number}"))
        [alarm] = bench.hear("", m.WorkerLost(start.worker, "no luck"))
        pauses.append(alarm.after)
    assert pauses == sorted(set(pauses))


def test_tasks_are_told_why_no_worker_starts_when_that_goes_on() -> None:
    bench = Bench(workers=0)
    effects = bench.submit(task("d-0"))
    bench.hear(D, m.Get(1, (ref(task("d-0")),)))
    for _ in range(5):
        [start] = [effect for effect in effects if isinstance(effect, m.StartWorker)]
        effects = bench.hear("", m.WorkerLost(start.worker, "Traceback: no luck"))
        [alarm] = [effect for effect in effects if isinstance(effect, m.SetAlarm)]
        told = [effect for effect in effects if isinstance(effect, m.Send)]
        effects = bench.hear("", m.AlarmRang(alarm.token))
    assert "5 times in a row: Traceback: no luck" in error(told).message
    assert not [effect for effect in effects if isinstance(effect, m.StartWorker)]


def test_workers_that_cannot_start_at_one_moment_have_failed_once() -> None:
    bench = Bench(cpus=6, workers=0)
    for number in range(6):
        bench.submit(task(f"d-{number}"))
    warn, alarm, *starts = bench.hear("", m.WorkerLost(W0, "no luck"))
    assert isinstance(warn, m.WarnUser)
    assert [type(start) for start in starts] == [m.StartWorker] * 5
    *lost, last = [start.worker for start in starts]
    effects = [effect for worker in lost for effect in bench.hear("", m.WorkerLost(worker, "no luck"))]
    assert [type(effect) for effect in effects] == [m.SetAlarm] * 4  # no task is given up
    assert {effect.after for effect in effects} == {alarm.after}
    bench.hear("", m.WorkerStarted(last))
    for each in (alarm, *effects):
        for start in bench.hear("", m.AlarmRang(each.token)):
            again = bench.hear("", m.WorkerLost(start.worker, "no luck"))
            assert not [effect for effect in again if isinstance(effect, m.WarnUser)]  # it was told


def test_a_worker_that_starts_after_all_runs_what_waited() -> None:
    bench = Bench(workers=0)
    made = task("d-0")
    bench.submit(made)
    _, alarm = bench.hear("", m.WorkerLost(W0, "no luck"))
    bench.hear("", m.AlarmRang(alarm.token))
    assert bench.hear("", m.WorkerStarted(W1)) == [run(W1, made)]


# ---------------------------------------------------------------- how processes end


@pytest.mark.processes
def test_a_task_gets_a_moment_to_put_things_right_when_the_session_ends(tmp_path: Path) -> None:
    labray.init("cluster", num_cpus=1)

    @labray.remote
    def tidy() -> None:
        def leave(*_: Any) -> None:
            (tmp_path / "tidied").touch()
            os._exit(0)

        signal.signal(signal.SIGTERM, leave)
        (tmp_path / "ready").touch()
        time.sleep(600)

    ref = tidy.remote()
    while not (tmp_path / "ready").exists():
        labray.wait([ref], timeout=0.01)
    labray.shutdown()
    assert (tmp_path / "tidied").exists()


@pytest.mark.processes
@pytest.mark.parametrize("how", ["kill", "crash"])
def test_what_a_worker_has_started_goes_with_it_however_stubborn(how: str) -> None:
    labray.init("cluster", num_cpus=1)

    @labray.remote
    class Parent:
        def bear(self) -> list[int]:
            stubborn = (
                "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); "
            )
            program = [sys.executable, "-c", stubborn + "time.sleep(600)"]
            children = [subprocess.Popen(program, stdout=subprocess.PIPE) for _ in range(2)]
            for child in children:
                assert child.stdout is not None and child.stdout.readline()
            return [child.pid for child in children]

        def crash(self) -> None:
            os._exit(1)

    parent = Parent.remote()
    children = [psutil.Process(number) for number in get(parent.bear.remote())]
    if how == "kill":
        labray.kill(parent)
    else:
        parent.crash.remote()
    gone, alive = psutil.wait_procs(children, timeout=PATIENCE_S)
    assert len(gone) == 2 and alive == []
    assert get(pid.remote()) > 0


# ---------------------------------------------------------------- memory


def candidate(worker: int, caller: str = "d", retriable: bool = True) -> Candidate:
    return Candidate(ClientID(f"n0/w{worker}"), TaskID(caller), retriable, float(worker))


def test_the_newest_that_may_run_again_is_ended_first() -> None:
    chosen = choose([candidate(1), candidate(2), candidate(3, retriable=False)])
    assert chosen == (candidate(2), True)


def test_the_caller_with_most_tasks_loses_one_before_anybody_loses_its_last() -> None:
    assert choose([candidate(1, "a"), candidate(2, "a"), candidate(3, "b")]) == (candidate(2, "a"), True)


def test_the_last_task_of_a_caller_is_not_tried_again() -> None:
    assert choose([candidate(1)]) == (candidate(1), False)
    assert choose([candidate(1, retriable=False)]) == (candidate(1, retriable=False), False)
    assert choose([]) is None


def short(*sizes: int) -> m.MemoryShort:
    return m.MemoryShort(
        tuple((ClientID(f"n0/w{n}"), 100 + n, size) for n, size in enumerate(sizes)), "too much"
    )


def test_a_task_ended_for_its_memory_is_tried_again_later_and_loses_no_retry() -> None:
    bench = Bench(cpus=2)
    first, second = task("d-0", retries=1), task("d-1", retries=1)
    bench.submit(first)
    bench.submit(second)
    for attempt in range(3):
        effects = bench.hear("", short(5 * MB, 7 * MB), after=1.0)
        [end] = [effect for effect in effects if isinstance(effect, m.KillWorker)]
        effects = bench.hear("", m.WorkerLost(end.worker, "killed"))
        [alarm] = [effect for effect in effects if isinstance(effect, m.SetAlarm)]
        assert alarm.after == AGAIN_S * 2**attempt
        effects = bench.hear("", m.AlarmRang(alarm.token), after=alarm.after)
        starts = [effect.worker for effect in effects if isinstance(effect, m.StartWorker)]
        if starts:
            effects = bench.hear("", m.WorkerStarted(starts[0]))
        assert any(isinstance(e, m.Send) and isinstance(e.message, m.RunTask) for e in effects), end


def test_the_error_of_a_task_that_needs_too_much_has_a_table_of_all_processes() -> None:
    bench = Bench(cpus=2)
    made = task("d-0", retries=3, name="hog")
    bench.submit(made)
    bench.hear(D, m.Get(1, (ref(made),)))
    assert bench.hear("", short(3 * MB, 5 * MB)) == [m.KillWorker(W0)]
    told = error([e for e in bench.hear("", m.WorkerLost(W0, "killed")) if isinstance(e, m.Send)])
    assert told.kind == "out_of_memory" and "too much" in told.message
    assert (
        "5.0 MB  process 101  n0/w1  idle\n" in told.message
        and "3.0 MB  process 100  n0/w0  hog" in told.message
    )


def test_what_an_idle_process_has_kept_is_had_back_first() -> None:
    bench = Bench(cpus=2)
    bench.submit(task("d-0", demand=CPU))
    assert bench.hear("", short(1 * MB, IDLE_BYTES)) == [m.StopWorker(W1)]


def test_a_process_ended_for_its_memory_loses_what_it_had_begun_and_is_sent_nothing_more() -> None:
    bench, made, _ = known(SHORT_S, more=3)
    for number in range(3):
        bench.hear(D, m.Get(1 + number, (ref(made[number]),)))
    assert bench.hear("", short(9 * MB)) == [m.KillWorker(W0)]
    assert bench.hear("", short(9 * MB)) == []  # it is under way
    assert bench.finish(W0, made[0])[0] == m.Send(
        D, m.Values(1, (VALUE,))
    )  # it had ended: nothing is lost of it
    assert bench.submit(task("d-9")) == []
    effects = bench.hear("", m.WorkerLost(W0, "killed", begun=(made[1].id,)))
    assert error([e for e in effects if e.to == D]).kind == "out_of_memory"
    assert run(W1, made[2]) in effects


@pytest.mark.processes
def test_a_task_that_needs_more_than_the_limit_is_ended_and_the_session_goes_on() -> None:
    labray.init("cluster", num_cpus=2, worker_memory_limit=500 * MB, memory_monitor_refresh_ms=20)

    @labray.remote
    def hog(megabytes: int) -> int:
        held = []
        for _ in range(megabytes // 10):
            held.append(np.ones(10 * MB, np.uint8))
            time.sleep(0.002)
        time.sleep(0.3)
        return len(held)

    with pytest.raises(OutOfMemoryError, match=r"(?s)worker_memory_limit.*MB  process \d+  n0/w\d+  \S*hog"):
        get(hog.remote(800))
    assert get(hog.remote(100)) == 10


@pytest.mark.processes
def test_two_tasks_that_do_not_fit_together_run_one_after_the_other() -> None:
    labray.init("cluster", num_cpus=2, worker_memory_limit=500 * MB, memory_monitor_refresh_ms=20)

    @labray.remote(max_retries=1)
    def hold() -> int:
        held = np.ones(300 * MB, np.uint8)
        time.sleep(0.5)
        return int(held[-1])

    assert get([hold.remote(), hold.remote()]) == [1, 1]


@pytest.mark.processes
def test_what_workers_share_is_not_counted_for_each_of_them() -> None:
    labray.init("cluster", num_cpus=2, worker_memory_limit=300 * MB, memory_monitor_refresh_ms=20)
    array = labray.put(np.ones(250 * MB, np.uint8))

    @labray.remote(max_retries=0)
    def total(shared: Any) -> int:
        result = int(shared[:: 1 << 12].sum())
        time.sleep(0.2)
        return result

    assert len(set(get([total.remote(array) for _ in range(4)]))) == 1


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"memory.max": "max", "memory.current": "5"}, None),
        (
            {
                "memory.max": "1000000",
                "memory.current": "990000",
                "memory.stat": "anon 1\ninactive_file 40000",
            },
            950_000,
        ),
    ],
)
def test_the_limit_of_a_container_counts_where_it_is_closer(
    tmp_path: Path, files: dict[str, str], expected: int | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    used, there_is = machine_memory(tmp_path)
    if expected is None:
        assert there_is == psutil.virtual_memory().total
    else:
        assert (used, there_is) == (expected, 1_000_000)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("heartbeat_timeout_s", 0), ("heartbeat_timeout_s", "soon"), ("deadlock_warning_s", -1),
        ("memory_usage_threshold", 1.5), ("memory_usage_threshold", None), ("memory_monitor_refresh_ms", -5),
        ("worker_memory_limit", float("nan")),
    ],
)  # fmt: skip
def test_a_watch_that_makes_no_sense_is_refused(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=option):
        labray.init("cluster", **{option: value})


@pytest.mark.processes
def test_a_worker_that_crashes_says_so_as_before() -> None:
    labray.init("cluster", num_cpus=1)
    die = labray.remote(max_retries=0)(lambda: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(WorkerCrashedError, match="SIGKILL"):
        get(die.remote())
