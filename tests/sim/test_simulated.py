"""What a simulated process sees of clocks, chance, identity and waits: virtual and its own, or refused in words."""

from __future__ import annotations

import asyncio
import concurrent.futures
import datetime
import multiprocessing
import os
import queue
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from datetime import datetime as moment
from random import random as draw
from time import monotonic as tick
from time import time as now

import numpy as np
import pytest

import labray as ray
from labray.backends.sim.clock.process_identity import FIRST_PID
from labray.backends.sim.clock.virtual_clock import EPOCH_S
from tests.kit.paths import ROOT

EPOCH = datetime.datetime.fromtimestamp(EPOCH_S, datetime.UTC)


@pytest.fixture
def sim():
    ray.init("sim", num_cpus=2)


@ray.remote
def run(function, *args):
    return function(*args)


def in_a_task(function, *args):
    """What it gives there; the words of what it raises."""
    try:
        return ray.get(run.remote(function, *args))
    except ray.exceptions.RayTaskError as error:
        return str(error).splitlines()[-1]


# ---------------------------------------------------------------- clocks


def clocks():
    return (
        time.time() - EPOCH_S, now() - EPOCH_S, time.time_ns() / 1e9 - EPOCH_S, tick(), time.perf_counter_ns() / 1e9,
        time.clock_gettime(time.CLOCK_MONOTONIC), time.clock_gettime_ns(time.CLOCK_REALTIME) / 1e9 - EPOCH_S,
        (moment.now(datetime.UTC) - EPOCH).total_seconds(), moment.now().timestamp() - EPOCH_S,
        (datetime.datetime.utcnow().replace(tzinfo=datetime.UTC) - EPOCH).total_seconds(),
        moment.today().timestamp() - EPOCH_S, time.mktime(time.localtime()) - EPOCH_S,
        time.mktime(time.strptime(time.ctime())) - EPOCH_S, time.mktime(time.strptime(time.asctime())) - EPOCH_S,
        int(time.strftime("%s")) - EPOCH_S,
    )  # fmt: skip


def test_all_clocks_tell_one_virtual_time_in_tasks_and_in_the_driver(sim):
    time.sleep(3600)
    for seen in (clocks(), in_a_task(clocks)):
        assert seen == pytest.approx([3600] * len(seen), abs=1.01)
        assert seen[:11] == pytest.approx([seen[0]] * 11, abs=1e-4)
    assert in_a_task(datetime.date.today) == EPOCH.astimezone().date()


def test_what_a_clock_gives_is_what_it_always_was(sim):
    class Stamp(moment):
        pass

    assert type(moment.now()) is datetime.datetime is moment
    assert type(Stamp.now()) is Stamp
    assert in_a_task(lambda: type(moment.utcnow()) is moment)
    assert moment.now(tz=datetime.UTC).tzinfo is datetime.UTC


def test_cpu_time_of_a_task_is_what_it_spends_and_not_what_it_sleeps(sim):
    def spend():
        before = time.process_time()
        ray.sleep(100.0)
        ray.spend(2.0)
        return time.process_time() - before, time.thread_time_ns() / 1e9 - before

    assert in_a_task(spend) == pytest.approx((2.0, 2.0), abs=1e-3)
    assert 0 < time.process_time() < 3600  # the driver's is what the simulation really takes


def test_after_the_session_all_is_real_again_also_in_modules_that_came_meanwhile():
    real = time.time, time.monotonic, draw, moment.__dict__["now"], os.getpid, random.getstate()
    sys.modules.pop("sched", None)
    with ray.init("sim"):
        import sched

        assert sched._time is time.monotonic
        assert time.monotonic is not real[1]
        random.random()
        kept = time.time
        assert kept() < 1_750_000_000
    assert sched._time is time.monotonic is tick
    assert (now, tick, draw, moment.__dict__["now"], os.getpid, random.getstate()) == real
    assert kept() > 1_750_000_000 < moment.now().timestamp()
    with ray.init("sim"):
        assert kept() < 1_750_000_000


def test_a_loop_that_watches_a_clock_ends_soon_and_a_look_is_cheap(sim):
    def spin(seconds):
        end, looks = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            looks += 1
        return time.monotonic() - end, looks

    late, looks = in_a_task(spin, 60.0)
    assert late < 0.01
    assert looks < 2_000_000
    assert in_a_task(lambda: -time.monotonic() + time.monotonic()) == pytest.approx(50e-9, rel=1e-3)


# ---------------------------------------------------------------- chance


def draws():
    return (
        random.random(), draw(), random.gauss(0, 1), random.randint(0, 10**9), np.random.rand(), np.random.sample(),
        random.Random().random(), random.SystemRandom().random(), np.random.default_rng().random(), uuid.uuid4().hex,
        secrets.token_hex(8), os.urandom(8), os.getrandom(8),
    )  # fmt: skip


def of_four_tasks(**cluster):
    with ray.init("sim", **cluster):
        return ray.get([run.remote(draws) for _ in range(4)])


def test_what_a_task_draws_hangs_on_the_seed_and_the_task_alone():
    first = of_four_tasks(num_cpus=1)
    assert len({str(drawn) for row in first for drawn in row}) == 4 * len(first[0])
    assert first == of_four_tasks(nodes=3, scheduler="random", num_cpus=1)
    assert not set(map(str, first[0])) & set(map(str, of_four_tasks(seed=1)[0]))


def test_nobodys_draws_disturb_another():
    def interleaved(seconds):
        values = []
        for _ in range(4):
            with tempfile.NamedTemporaryFile():
                values.append((random.random(), np.random.rand(), os.urandom(4)))
            ray.sleep(seconds)
        return values

    def both(seconds):
        with ray.init("sim", num_cpus=2):
            before = random.random(), np.random.rand()
            refs = [run.remote(interleaved, by) for by in seconds]
            return ray.get(refs), before, (random.random(), np.random.rand(), uuid.uuid4())

    assert both((0.1, 0.1)) == both((0.3, 0.01))


def test_an_actor_draws_on_from_its_constructor_and_a_retry_draws_anew(sim):
    @ray.remote
    class Dice:
        def __init__(self, seed):
            if seed is not None:
                random.seed(seed)
                np.random.seed(seed)

        def roll(self):
            return random.random(), np.random.rand()

    def row(seed):
        dice = Dice.remote(seed)
        return ray.get([dice.roll.remote() for _ in range(3)])

    own, state = random.Random(5), np.random.RandomState(5)
    assert row(5) == [(own.random(), state.rand()) for _ in range(3)]
    assert len({*row(None), *row(None)}) == 6

    @ray.remote(max_retries=-1, retry_exceptions=True)
    def lucky():
        if random.random() < 0.9:
            raise ValueError("no luck")
        return True

    assert all(ray.get([lucky.remote() for _ in range(3)]))


def test_the_programs_own_generators_are_as_before_when_the_session_is_over():
    random.seed(7)
    np.random.seed(7)
    with ray.init("sim"):
        inside = random.random(), np.random.rand()
        random.seed(7)
        assert random.random() == random.Random(7).random()
    with ray.init("sim"):
        assert inside == (random.random(), np.random.rand())
    assert (random.random(), np.random.rand()) == (random.Random(7).random(), np.random.RandomState(7).rand())


@pytest.mark.processes
def test_numpy_is_not_imported_for_its_generators_and_is_seeded_when_it_comes():
    program = """
import sys, labray as ray
def body():
    from numpy.random import rand
    import numpy
    return rand(), numpy.random.rand()
with ray.init("sim"):
    assert "numpy" not in sys.modules
    print(ray.get([ray.remote(body).remote() for _ in range(2)]), sys.modules["numpy"].random.rand())
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program]
    first, again = (
        subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout for _ in range(2)
    )
    assert first == again != ""


# ---------------------------------------------------------------- identity


@ray.remote
class Who:
    def pids(self):
        return os.getpid(), os.getppid()


def test_every_simulated_process_has_a_number_of_its_own(sim):
    one, other = Who.remote(), Who.remote()
    (a, parent), (b, same) = ray.get([one.pids.remote(), other.pids.remote()])
    assert ray.get(one.pids.remote()) == (a, parent)
    assert len({a, b, parent, os.getpid()}) == 4
    assert parent == same
    assert min(a, b, parent) >= FIRST_PID


def test_a_signal_to_a_number_ends_that_process_and_no_real_one(sim):
    who = Who.remote()
    pid, parent = ray.get(who.pids.remote())
    os.kill(pid, 0)
    assert in_a_task(os.kill, pid, signal.SIGCONT) is None
    assert "cannot be stopped" in in_a_task(os.kill, pid, signal.SIGSTOP)
    in_a_task(os.kill, pid, signal.SIGTERM)
    with pytest.raises(ray.exceptions.ActorDiedError, match="signal 15"):
        ray.get(who.pids.remote())
    for gone in (pid, parent, FIRST_PID + 1000):
        with pytest.raises(ProcessLookupError):
            os.kill(gone, signal.SIGKILL)


def test_a_signal_to_oneself_is_handled_if_it_is_and_ctrl_c_is_not_heeded(sim):
    def signals_itself():
        caught = []
        before = signal.signal(signal.SIGUSR1, lambda number, frame: caught.append(number))
        try:
            os.kill(os.getpid(), signal.SIGUSR1)
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            signal.signal(signal.SIGUSR1, before)
        return caught

    assert in_a_task(signals_itself) == [signal.SIGUSR1]


def test_os_abort_ends_the_worker_alone(sim):
    with pytest.raises(ray.exceptions.WorkerCrashedError, match="abort"):
        ray.get(run.options(max_retries=0).remote(os.abort))


def spawn_a_process(how):
    process = multiprocessing.get_context(how).Process(target=print)
    process.start()


def map_in_a_pool(kind):
    with kind(2) as pool:
        return list(pool.map(abs, [-1, 2]))


async def in_a_thread():
    return await asyncio.to_thread(os.getpid)


REFUSED = {
    "fork": (lambda: os.fork(), "cannot fork"),
    "multiprocessing": (lambda: spawn_a_process("fork"), "cannot fork"),
    "spawn": (lambda: spawn_a_process("spawn"), "cannot fork"),
    "a process pool": (lambda: map_in_a_pool(concurrent.futures.ProcessPoolExecutor), "cannot fork"),
    "exec": (lambda: os.execvp("true", ["true"]), "cannot become another program"),
    "a thread": (lambda: threading.Thread(target=print).start(), "cannot start a thread"),
    "a timer": (lambda: threading.Timer(1.0, print).start(), "cannot start a thread"),
    "a thread pool": (lambda: map_in_a_pool(concurrent.futures.ThreadPoolExecutor), "cannot start a thread"),
    "to_thread": (lambda: asyncio.run(in_a_thread()), "cannot start a thread"),
    "a queue": (lambda: queue.Queue().get(), "waits for another thread"),
    "an event": (lambda: threading.Event().wait(), "waits for another thread"),
    "a future": (lambda: concurrent.futures.Future().result(), "waits for another thread"),
    "an empty loop": (lambda: asyncio.run(asyncio.Event().wait()), "nothing will ever do"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_a_task_cannot_do_in_virtual_time_it_is_told_at_once(sim, what):
    body, words = REFUSED[what]
    assert words in in_a_task(body)
    assert in_a_task(abs, -3) == 3


@pytest.mark.processes
@pytest.mark.parametrize("backend", ["sim", "inline", "cluster"])
def test_a_forked_child_of_the_driver_is_real_and_may_start_a_session_of_its_own(backend):
    program = """
import os, sys, time, multiprocessing as mp, labray as ray
def child():
    try:
        print(ray.put(1), flush=True)
    except ray.exceptions.LabrayError as error:
        print(str(error)[:23], time.time() > 1_750_000_000, os.getpid() != parent, flush=True)
    with ray.init("inline"):
        print(ray.get(ray.put("own")), flush=True)
parent = os.getpid()
with ray.init(sys.argv[1], num_cpus=1):
    process = mp.get_context("fork").Process(target=child)
    process.start()
    process.join()
    print(process.exitcode, ray.get(ray.put("the driver's")))
    if os.fork() == 0:
        os._exit(3)
    print(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program, backend]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=50)
    told = [] if backend == "inline" else ["this process was forked True True"]
    lines = [line for line in done.stdout.splitlines() if "ObjectRef" not in line]
    assert lines == [*told, "own", "0 the driver's", "3"], done.stderr


# ---------------------------------------------------------------- waits


def took(function, *args):
    before = time.monotonic()
    result = function(*args)
    return result, time.monotonic() - before


def empty_queue(seconds):
    try:
        return queue.Queue().get(timeout=seconds)
    except queue.Empty:
        return "empty"


async def naps(seconds):
    return await asyncio.gather(*(asyncio.sleep(seconds / n, n) for n in (1, 2, 3)))


async def give_up(seconds):
    try:
        return await asyncio.wait_for(asyncio.Event().wait(), seconds)
    except TimeoutError:
        return "gave up"


WAITS = {
    "a queue": (lambda: empty_queue(3600), "empty"),
    "an event": (lambda: threading.Event().wait(3600), False),
    "a condition": (lambda: threading.Semaphore(0).acquire(timeout=3600), False),
    "an event loop": (lambda: asyncio.run(naps(3600)), [1, 2, 3]),
    "wait_for": (lambda: asyncio.run(give_up(3600)), "gave up"),
    "a future": (lambda: concurrent.futures.wait([concurrent.futures.Future()], 3600)[0], set()),
}


@pytest.mark.parametrize("what", WAITS)
def test_a_wait_with_a_timeout_takes_virtual_time_in_tasks_and_in_the_driver(sim, what):
    body, result = WAITS[what]
    assert in_a_task(took, body) == (result, pytest.approx(3600, abs=1e-3))
    others = [thread for thread in threading.enumerate() if "watchdog" not in thread.name]
    if len(others) == 1 or "loop" in what:
        assert took(body) == (result, pytest.approx(3600, abs=1e-3))


def test_the_driver_waits_for_its_own_threads_in_real_time(sim):
    event = threading.Event()
    threading.Timer(0.05, event.set).start()
    assert took(event.wait, 3600) == (True, pytest.approx(0, abs=1e-3))
    assert map_in_a_pool(concurrent.futures.ThreadPoolExecutor) == [1, 2]


def test_each_process_has_an_event_loop_of_its_own(sim):
    @ray.remote
    def looped(number):
        async def main():
            loop = asyncio.get_running_loop()
            ray.sleep(0.1 * number)  # others run meanwhile
            await asyncio.sleep(0.1)
            assert loop is asyncio.get_running_loop()
            return number

        return asyncio.run(main())

    async def main():
        results = ray.get([looped.remote(number) for number in range(5)])
        await asyncio.sleep(1.0)
        return results

    assert took(asyncio.run, main())[0] == list(range(5))


@pytest.mark.processes
def test_a_subprocess_is_real_and_takes_no_virtual_time(sim):
    def child():
        process = subprocess.Popen(["sleep", "0.1"])
        return process.wait(timeout=30), subprocess.run(["sleep", "0.1"], timeout=30, check=True).returncode

    assert in_a_task(took, child) == ((0, 0), pytest.approx(0, abs=1e-3))
