"""The simulated world as a program sees it: virtual time, its closed forms, determinism, deadlocks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from msgspec import structs

import labray as ray
from labray import session
from labray.costs import Declared, Measured, Profile, Traced
from labray.errors import (
    ActorUnavailableError,
    DeadlockError,
    GetTimeoutError,
    LabraySystemError,
    TaskCancelledError,
    TaskUnschedulableError,
    WorkerCrashedError,
)
from labray.trace import digest

FREE = {"backend": "sim", "profile": "free", "latency_s": 0.0}


@pytest.fixture
def simulate():
    """init() of a simulation; at the end every invariant is checked, and nothing is left."""
    real = time.sleep, time.time, time.monotonic, os._exit

    def start(**options):
        return ray.init(**{"backend": "sim", **options})

    yield start
    if ray.is_initialized():
        session.running().validate()
        ray.shutdown()
    assert (time.sleep, time.time, time.monotonic, os._exit) == real
    assert not ray.is_initialized()


@ray.remote
def nap(seconds=0.0, *after):
    ray.sleep(seconds)
    return ray.now()


@ray.remote(cost=1.0)
def costly(*after):
    return ray.now()


# ---------------------------------------------------------------- closed forms


def test_a_chain_takes_the_sum_of_its_parts(simulate):
    simulate(**FREE)
    ref = nap.remote(0.5)
    for _ in range(9):
        ref = nap.remote(0.5, ref)
    assert ray.get(ref) == pytest.approx(5.0)


@pytest.mark.parametrize(("tasks", "cpus"), [(1, 4), (4, 4), (5, 4), (17, 4), (12, 3)])
def test_a_wave_takes_as_many_rounds_as_it_must(simulate, tasks, cpus):
    simulate(num_cpus=cpus, **FREE)
    ray.get([costly.remote() for _ in range(tasks)])
    assert ray.now() == pytest.approx(-(-tasks // cpus) * 1.0, abs=1e-3)


def test_a_wave_on_several_nodes_uses_them_all(simulate):
    simulate(nodes=4, num_cpus=2, scheduler="centralized", **FREE)
    ray.get([costly.remote() for _ in range(16)])
    assert ray.now() == pytest.approx(2.0, abs=1e-3)


def test_a_declared_cost_passes_after_the_body(simulate):
    simulate(**FREE)
    begun = ray.get(costly.remote())
    assert (begun, ray.now()) == (pytest.approx(0.0, abs=1e-6), pytest.approx(1.0, abs=1e-6))


def test_a_node_at_half_speed_takes_twice_as_long(simulate):
    simulate(speeds={"n0": 0.5}, **FREE)
    ray.get(costly.remote())
    assert ray.now() == pytest.approx(2.0, abs=1e-3)


def test_spend_takes_virtual_time(simulate):
    simulate(**FREE)

    @ray.remote
    def burn():
        ray.spend(3.0)

    ray.get(burn.remote())
    ray.spend(2.0)
    assert ray.now() == pytest.approx(5.0, abs=1e-3)


def test_processes_of_a_shared_host_share_its_cores(simulate):
    simulate(num_cpus=4, host_cores=2, **FREE)
    ray.get([costly.remote() for _ in range(4)])
    assert ray.now() == pytest.approx(2.0, abs=1e-3)


def test_sleeping_takes_no_core(simulate):
    simulate(num_cpus=4, host_cores=1, **FREE)
    ray.get([nap.remote(1.0) for _ in range(4)])
    assert ray.now() == pytest.approx(1.0, abs=1e-3)


def test_a_large_value_takes_its_time_on_the_link(simulate):
    simulate(nodes=2, bandwidth_Bps=1e6, **FREE)

    @ray.remote(resources={"node:n1": 1})
    def size(array):
        return len(array), ray.now()

    length, at = ray.get(size.remote(ray.put(np.zeros(1_000_000, np.uint8))))
    assert length == 1_000_000
    assert at == pytest.approx(1.0, rel=0.02)


def test_measured_costs_are_the_bodys_own_cpu_time(simulate):
    simulate(costs=Measured(speed=0.001), **FREE)

    @ray.remote
    def count():
        return sum(range(200_000))

    ray.get(count.remote())
    (cpu,) = [detail[4] for _, kind, _, _, detail in session.running().trace() if kind == "ran"]
    assert cpu > 0.1
    assert ray.now() == pytest.approx(cpu, rel=0.01)


def test_a_recorded_run_is_replayed_under_another_scheduler(simulate):
    def run(costs, scheduler):
        simulate(nodes=2, num_cpus=1, costs=costs, scheduler=scheduler, **FREE)

        @ray.remote
        def count(n):
            return sum(range(n))

        ray.get([count.remote(10_000 * n) for n in range(8)])
        end, trace = ray.now(), session.running().trace()
        ray.shutdown()
        return end, sum(detail[4] for _, kind, _, _, detail in trace if kind == "ran"), trace

    _, work, trace = run(Measured(), "bottom_up")
    ends = [run(Traced.recorded(trace), "centralized") for _ in range(2)]
    assert ends[0] == ends[1]
    assert ends[0][1] == pytest.approx(work)
    assert work / 2 <= ends[0][0] <= work


# ---------------------------------------------------------------- the driver in virtual time


def test_the_drivers_clocks_and_sleeps_are_virtual(simulate):
    simulate()
    before = time.time(), time.monotonic(), time.perf_counter(), ray.now()
    time.sleep(3600)
    after = time.time(), time.monotonic(), time.perf_counter(), ray.now()
    assert [b - a for a, b in zip(before, after, strict=True)] == pytest.approx([3600] * 4, abs=1e-3)


def test_a_loop_that_only_reads_the_clock_ends(simulate):
    simulate()
    end = time.time() + 0.001
    while time.time() < end:
        pass


def test_a_loop_that_polls_ends(simulate):
    simulate(**FREE)
    ref = nap.remote(1.0)
    polls = 0
    while not ray.wait([ref], timeout=0)[0]:
        polls += 1
    assert 10 < polls < 10_000


def test_a_get_that_times_out_takes_its_timeout(simulate):
    simulate(**FREE)
    ref = nap.remote(10.0)
    with pytest.raises(GetTimeoutError):
        ray.get(ref, timeout=2.5)
    assert ray.now() == pytest.approx(2.5, abs=1e-3)
    assert ray.get(ref) == pytest.approx(10.0, abs=1e-3)


def test_a_stream_of_submissions_leaves_while_the_driver_goes_on(simulate):
    simulate(profile=Profile(submit_s=1e-3))
    refs = [nap.remote() for _ in range(100)]
    assert ray.get(refs[0]) < 0.02
    assert ray.now() > 0.1


def test_another_thread_gets_a_clear_error_and_real_clocks(simulate):
    simulate()
    caught = []

    def call():
        caught.append(time.time())
        try:
            ray.put(1)
        except LabraySystemError as error:
            caught.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert caught[0] > 1_750_000_000
    assert "came from another" in str(caught[1])


# ---------------------------------------------------------------- programs


@ray.remote
class ParameterServer:
    def __init__(self, dim):
        self.params = np.zeros(dim)

    def get_params(self):
        return self.params

    def update_params(self, grad):
        self.params = self.params + grad


@ray.remote
def train(*servers):
    for _ in range(100):
        ray.get([server.get_params.remote() for server in servers])
        time.sleep(0.2)
        for server in servers:
            server.update_params.remote(np.ones(10 // len(servers)))


@pytest.mark.parametrize("servers", [1, 2])
@pytest.mark.parametrize("scheduler", ["centralized", "bottom_up"])
def test_the_parameter_server_runs_unchanged(simulate, servers, scheduler):
    simulate(nodes=2, scheduler=scheduler)
    places = [ParameterServer.remote(10 // servers) for _ in range(servers)]
    workers = [train.remote(*places) for _ in range(2)]
    while not all((ray.get(place.get_params.remote()) == 200).all() for place in places):
        time.sleep(1)
    assert 20 < ray.now() < 23
    ray.get(workers)


def test_nested_tasks_lend_their_cpu(simulate):
    simulate(num_cpus=1, **FREE)

    @ray.remote
    def fib(n):
        return n if n < 2 else sum(ray.get([fib.remote(n - 1), fib.remote(n - 2)]))

    assert ray.get(fib.remote(8)) == 21


def test_nodes_share_no_state_by_accident(simulate):
    simulate()
    numbers = [1, 2, 3]

    @ray.remote
    def grow(them):
        them.append(4)
        return them

    assert ray.get(grow.remote(numbers)) == [1, 2, 3, 4]
    assert numbers == [1, 2, 3]


@pytest.mark.parametrize("end", ["os._exit(1)", "os.kill(os.getpid(), 9)", "sys.exit(3)"])
def test_a_body_that_ends_its_process_crashes_its_worker_only(simulate, end):
    simulate()

    @ray.remote(max_retries=0)
    def crash():
        eval(end, {"os": os, "sys": sys})

    with pytest.raises(WorkerCrashedError):
        ray.get(crash.remote())
    assert ray.get(nap.remote(0.1)) > 0


def test_close_unwinds_what_still_runs(monkeypatch):
    monkeypatch.setenv("UNWOUND", "")  # seen by the body whichever way its function travelled

    @ray.remote
    def forever():
        try:
            ray.sleep(1e9)
        finally:
            os.environ["UNWOUND"] += "once"

    ray.init(backend="sim")
    ref = forever.remote()
    ray.wait([ref], timeout=1.0)
    world = session.running()
    ray.shutdown()
    world.close()
    assert os.environ["UNWOUND"] == "once"
    assert not world.clients


def test_an_interrupt_ends_the_wait_and_not_the_session(simulate):
    simulate()

    @ray.remote
    def for_ever():
        while True:
            ray.sleep(1.0)

    @ray.remote(max_retries=0)
    def interrupted():
        signal.raise_signal(signal.SIGINT)

    endless = for_ever.remote()
    with pytest.raises(KeyboardInterrupt):
        ray.get([endless, interrupted.remote()])
    alarm = threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT))
    alarm.start()
    with pytest.raises(KeyboardInterrupt):
        ray.get(endless)
    alarm.join()
    assert ray.get(nap.remote(0.5)) > 0


# ---------------------------------------------------------------- ends of the world


def test_what_nothing_can_end_is_a_deadlock_that_names_who_waits(simulate):
    simulate(num_cpus=1)

    @ray.remote(num_cpus=1)
    class Holder:
        def hello(self):
            return 1

    holders = [Holder.remote() for _ in range(2)]
    with pytest.raises(DeadlockError, match="Holder"):
        ray.get([holder.hello.remote() for holder in holders])
    assert ray.get(holders[0].hello.remote()) == 1


@pytest.mark.parametrize("scheduler", ["centralized", "bottom_up", "random"])
def test_alarms_do_not_hide_a_deadlock(simulate, scheduler):
    simulate(nodes=3, num_cpus=1, scheduler=scheduler)

    @ray.remote(num_cpus=1)
    class Holder:
        def hello(self):
            return 1

    holders = [Holder.remote() for _ in range(4)]
    with pytest.raises(DeadlockError):
        ray.get([holder.hello.remote() for holder in holders])


def test_a_long_sleep_is_no_deadlock(simulate):
    simulate(nodes=2)
    assert ray.get(nap.remote(1000.0)) > 1000


def test_what_no_node_can_run_raises(simulate):
    simulate(nodes=2)
    with pytest.raises(TaskUnschedulableError, match="CPU: 64"):
        ray.get(nap.options(num_cpus=64).remote())


def test_an_endless_virtual_loop_meets_the_cap(simulate):
    simulate(max_events=20_000)
    ref = nap.remote(1e9)

    def poll_for_ever():
        while not ray.wait([ref], timeout=1e-6)[0]:
            pass

    with pytest.raises(DeadlockError, match="max_events"):
        poll_for_ever()


# ---------------------------------------------------------------- determinism and queues

PROGRAM = """
import hashlib, labray as ray
from labray import session
ray.init(backend="sim", nodes=5, num_cpus=2, scheduler={scheduler!r}, seed={seed})
@ray.remote
def leaf(n):
    ray.sleep(0.001 * (n % 7))
    return {{str(n), "x"}}
@ray.remote
def tree(n):
    return len(set().union(*ray.get([leaf.remote(i) for i in range(n)])))
@ray.remote
class Sum:
    def __init__(self): self.n = 0
    def add(self, n): self.n += n; return self.n
total = Sum.remote()
print(ray.get([total.add.remote(tree.remote(n)) for n in range(12)])[-1])
print(hashlib.sha256(repr(session.running().trace()).encode()).hexdigest())
"""


def digest_of(scheduler, seed, hash_seed):
    program = PROGRAM.format(scheduler=scheduler, seed=seed)
    env = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": os.getcwd()}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


@pytest.mark.processes
@pytest.mark.parametrize("scheduler", ["centralized", "bottom_up", "random"])
def test_one_seed_is_one_trace_under_any_hash_seed(scheduler):
    first = digest_of(scheduler, 3, 1)
    assert first == digest_of(scheduler, 3, 2)
    assert first[0] == str(sum(range(12)) + 11)


def test_a_head_saturates_because_its_queue_grows(simulate):
    def makespan(nodes):
        simulate(nodes=nodes, num_cpus=1, scheduler="centralized", profile=Profile(submit_s=1e-6))
        ray.get([nap.remote(0.01) for _ in range(20 * nodes)])
        end = ray.now()
        ray.shutdown()
        return end

    few, many = makespan(4), makespan(200)
    assert few < 0.25
    assert many > 1.2 * few  # per node the same work; the head's queue is what has grown


def test_the_costs_default_to_what_is_declared():
    assert Declared().clocked is False


def test_a_body_that_waits_for_a_lock_that_another_holds_is_named_with_its_line(simulate):
    simulate(blocked_s=0.2, num_cpus=2)
    shared = {"lock": threading.Lock()}
    threading.shared = shared  # a module is one for all bodies, unlike what they are given
    try:

        @ray.remote
        def hold():
            with threading.shared["lock"]:
                ray.sleep(1.0)

        @ray.remote
        def block():
            with threading.shared["lock"]:  # the line
                return "mine"

        held = hold.remote()
        ray.sleep(0.1)
        with pytest.raises(LabraySystemError, match=r"test_sim\.py:\d+ in block: with .*# the line"):
            ray.get(block.remote())
        ray.get(held)
        assert ray.get(block.remote()) == "mine"
    finally:
        del threading.shared


@pytest.mark.processes
def test_real_input_may_take_longer_than_a_lock_may(simulate):
    simulate(blocked_s=0.05)

    @ray.remote
    def wait_for_a_process():
        return subprocess.run(["sleep", "0.3"], check=True).returncode

    assert ray.get(wait_for_a_process.remote()) == 0


# ---------------------------------------------------------------- actors of several slots


@ray.remote
class Desk:
    """Has two slots in the tests below: no option asks for them yet."""

    def __init__(self):
        self.seen = []

    def work(self, name, seconds, size=10):
        self.seen.append(f"{name} in")
        ray.sleep(seconds)
        refs = [nap.remote(0.1), ray.put(bytes(size))]
        ready, _ = ray.wait([nap.remote(5.0), refs[0]], num_returns=1)
        assert ready == refs[:1]
        with pytest.raises(GetTimeoutError):
            ray.get(nap.remote(9.0), timeout=0.3)
        kept = ray.get(refs)[1]
        self.seen.append(f"{name} out")
        return len(kept), bytes(size)

    def log(self):
        return self.seen

    def leave(self, seconds):
        ray.sleep(seconds)
        os._exit(3)


@ray.remote
class Behind:
    def waits(self, me):
        ray.sleep(1.0)
        return ray.get(me.ends.remote())

    def ends(self):
        return 1


def with_slots(actor, slots):
    changed = actor.options()
    changed._options = structs.replace(changed._options, slots=slots)
    return changed


def run_side_by_side(simulate, slots, size, **options):
    """Three calls of an actor on a node of its own; how long they took, what they logged, and the trace."""
    simulate(nodes=2, num_cpus=8, scheduler="centralized", **options)
    desk = with_slots(Desk, slots).remote()
    began = ray.now()
    sizes = ray.get([desk.work.remote(*what, size) for what in (("a", 1.0), ("b", 0.5), ("c", 0.2))])
    assert sizes == [(size, bytes(size))] * 3
    took, log = ray.now() - began, ray.get(desk.log.remote())
    session.running().validate()
    trace = session.running().trace()
    ray.shutdown()
    return took, log, trace


@pytest.mark.parametrize("size", [10, 300_000])
def test_two_calls_of_an_actor_of_two_slots_overlap_in_virtual_time(simulate, size):
    one, log, _ = run_side_by_side(simulate, 1, size)
    assert log == ["a in", "a out", "b in", "b out", "c in", "c out"]
    assert one == pytest.approx(1.7 + 3 * 0.4, rel=0.05)
    two, log, _ = run_side_by_side(simulate, 2, size)
    assert log == ["a in", "b in", "b out", "c in", "a out", "c out"]
    assert two == pytest.approx(0.5 + 0.4 + 0.2 + 0.4, rel=0.05)


def test_what_executions_side_by_side_submit_and_put_is_named_under_each_as_if_it_ran_alone(simulate):
    named = []
    for slots in (1, 2):
        _, _, trace = run_side_by_side(simulate, slots, 300_000)
        kinds = ("submitted", "put")  # but for code, which whoever needs it first exports
        named.append({event[1:5] for event in trace if event[1] in kinds and "-f" not in event[3]})
    assert named[0] == named[1]


@pytest.mark.parametrize("options", [{}, {"object_store_memory": 2_000_000}], ids=["free", "limited"])
def test_executions_side_by_side_leave_the_same_trace_again(simulate, options):
    first = run_side_by_side(simulate, 2, 300_000, **options)
    assert digest(first[2]) == digest(run_side_by_side(simulate, 2, 300_000, **options)[2])


def test_a_process_of_two_slots_that_ends_takes_both_its_calls_with_it(simulate):
    simulate(num_cpus=8)
    desk = with_slots(Desk.options(max_restarts=1), 2).remote()
    calls = [desk.work.remote("a", 1.0), desk.leave.remote(0.5), desk.log.remote()]
    for call in calls[:2]:
        with pytest.raises(ActorUnavailableError):
            ray.get(call)
    assert ray.get(calls[2]) == []  # it had not begun: it runs in the next process, which has seen nothing
    assert ray.get([desk.work.remote("b", 0.1), desk.work.remote("c", 0.1)])[0][0] == 10
    assert ray.get(desk.log.remote()) == ["b in", "c in", "b out", "c out"]


def test_a_cancelled_call_leaves_the_one_beside_it_alone(simulate):
    simulate(num_cpus=8)
    desk = with_slots(Desk, 2).remote()
    first, second = desk.work.remote("a", 1.0), desk.work.remote("b", 1.0)
    ray.sleep(0.5)
    ray.cancel(first)
    assert ray.get(second)[0] == 10
    with pytest.raises(TaskCancelledError):
        ray.get(first)
    assert ray.get(desk.log.remote()) == ["a in", "b in", "a out", "b out"]


def test_calls_that_fill_all_slots_and_wait_for_the_one_behind_them_are_a_deadlock(simulate):
    simulate(num_cpus=8)
    last = with_slots(Behind, 2).remote()
    calls = [last.waits.remote(last) for _ in range(2)]
    with pytest.raises(DeadlockError, match="waits for its turn behind"):
        ray.get(calls)
