"""Ray's semantics that re-implementations most often break, on every backend that can show them.

The numbers are those of the list in Ray's own words: exceptions, get, wait, CPUs, actors, order, refs, arrays.
"""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import labray as ray
from labray import errors

Start = Callable[..., Any]
PATIENCE_S = 20.0


@pytest.fixture(params=["inline", "sim", "cluster"])
def start(request: pytest.FixtureRequest) -> Start:
    """init() of each backend; two CPUs unless told otherwise."""
    return lambda **options: ray.init(request.param, **{"num_cpus": 2, **options})


@pytest.fixture(params=["sim", "cluster"])
def concurrent(request: pytest.FixtureRequest) -> Start:
    """Where tasks really run side by side."""
    return lambda **options: ray.init(request.param, **{"num_cpus": 2, **options})


@ray.remote
def same(value: Any) -> Any:
    return value


@ray.remote
def wait_for(gate: Any, value: Any = None) -> Any:
    """Ends when the gate is open."""
    while not ray.get(gate.is_open.remote()):
        ray.sleep(0.002)
    return value


@ray.remote(num_cpus=0)
class Gate:
    def __init__(self) -> None:
        self.open_now = False

    def open(self) -> None:
        self.open_now = True

    def is_open(self) -> bool:
        return self.open_now


@ray.remote(num_cpus=0)
class Log:
    def __init__(self) -> None:
        self.lines: list[Any] = []

    def note(self, line: Any) -> Any:
        self.lines.append(line)
        return line

    def read(self, *after: Any) -> list[Any]:
        return self.lines


# ---------------------------------------------------------------- 1, 2, 3: exceptions, get, wait


def test_a_users_exception_is_caught_as_its_own_class_with_its_attributes_and_as_a_task_error(
    start: Start,
) -> None:
    start()

    class Odd(Exception):
        def __init__(self, code: int) -> None:
            super().__init__(code)
            self.code = code

    @ray.remote
    def fail(kind: int) -> None:
        raise Odd(7) if kind else FileNotFoundError(2, "no such thing", "f.txt")

    with pytest.raises(Odd) as own:
        ray.get(fail.remote(1))
    assert own.value.code == 7 and isinstance(own.value, errors.RayTaskError)
    assert "in fail" in str(own.value) and "raise Odd(7)" in str(own.value)
    with pytest.raises(errors.RayTaskError) as told:
        ray.get(fail.remote(0))
    assert isinstance(told.value, OSError) and told.value.errno == 2 and told.value.filename == "f.txt"
    assert type(told.value.cause) is FileNotFoundError


def test_get_of_a_list_fails_as_soon_as_one_has_failed(concurrent: Start) -> None:
    concurrent()
    gate = Gate.remote()

    @ray.remote
    def bad() -> None:
        raise ValueError("at once")

    slow = wait_for.remote(gate, 1)
    with pytest.raises(ValueError, match="at once"):
        ray.get([slow, bad.remote()], timeout=PATIENCE_S)
    ray.get(gate.open.remote())
    assert ray.get(slow) == 1


def test_get_keeps_the_order_and_gives_duplicates_twice(start: Start) -> None:
    start()
    refs = [same.remote(n) for n in range(3)]
    assert ray.get([refs[2], refs[0], refs[2]]) == [2, 0, 2]


def test_wait_gives_never_more_than_num_returns_and_both_lists_in_order(start: Start) -> None:
    start()
    refs = [same.remote(n) for n in range(6)]
    ray.get(refs)
    assert ray.wait(refs) == (refs[:1], refs[1:])
    assert ray.wait(refs, num_returns=4, timeout=0) == (refs[:4], refs[4:])
    assert ray.wait(refs[::-1], num_returns=6) == (refs[::-1], [])


def test_wait_gives_what_is_there_when_the_time_is_up(concurrent: Start) -> None:
    concurrent()
    gate = Gate.remote()
    never, done = wait_for.remote(gate), same.remote(1)
    ray.get(done)
    assert ray.wait([never, done], num_returns=2, timeout=0.05) == ([done], [never])
    assert ray.wait([never], timeout=0) == ([], [never])


# ---------------------------------------------------------------- 4, 5: who holds what


def test_a_task_that_waits_lends_its_cpu(start: Start) -> None:
    start(num_cpus=1)

    @ray.remote
    def outer(depth: int) -> int:
        if depth == 0:
            return 0
        ref = outer.remote(depth - 1)
        ray.wait([ref])
        return 1 + ray.get(ref)

    assert ray.get(outer.remote(5)) == 5


def test_a_task_that_waits_keeps_its_other_resources() -> None:
    ray.init("sim", num_cpus=2, resources={"tape": 1})

    @ray.remote(resources={"tape": 1})
    def outer() -> Any:
        return ray.get(outer.remote())

    with pytest.raises(errors.DeadlockError, match="outer"):
        ray.get(outer.remote())


def test_an_actor_that_waits_lends_nothing() -> None:
    ray.init("sim", num_cpus=1)

    @ray.remote(num_cpus=1)
    class Holder:
        def ask(self) -> Any:
            return ray.get(same.remote(1))

    with pytest.raises(errors.DeadlockError, match="same"):
        ray.get(Holder.remote().ask.remote())


def test_an_actor_without_resources_needs_a_cpu_to_be_placed_and_none_to_live(concurrent: Start) -> None:
    concurrent(num_cpus=1)
    logs = [ray.remote(Plain).remote() for _ in range(5)]
    assert ray.get([log.hello.remote() for log in logs], timeout=PATIENCE_S) == [1] * 5
    assert ray.get(same.remote(2), timeout=PATIENCE_S) == 2
    ray.shutdown()
    concurrent(num_cpus=0, strict=True)
    with pytest.raises(errors.ActorDiedError, match="CPU: 1"):
        ray.get(ray.remote(Plain).remote().hello.remote(), timeout=PATIENCE_S)


class Plain:
    def hello(self) -> int:
        return 1


def test_an_actor_with_resources_holds_them_until_it_is_gone(concurrent: Start) -> None:
    concurrent(num_cpus=1)
    holder = ray.remote(num_cpus=1)(Plain).remote()
    ray.get(holder.hello.remote())
    ref = same.remote(1)
    assert ray.wait([ref], timeout=0.1) == ([], [ref])
    del holder
    assert ray.get(ref, timeout=PATIENCE_S) == 1


# ---------------------------------------------------------------- 6: order


def test_calls_of_one_submitter_run_in_order_though_an_argument_of_the_first_comes_late(
    concurrent: Start,
) -> None:
    concurrent()
    gate, log = Gate.remote(), Log.remote()
    first = log.note.remote(wait_for.remote(gate, "first"))
    others = [log.note.remote(n) for n in range(5)]
    assert ray.wait(others, num_returns=5, timeout=0.05)[0] == []
    ray.get(gate.open.remote())
    ray.get([first, *others], timeout=PATIENCE_S)
    assert ray.get(log.read.remote()) == ["first", 0, 1, 2, 3, 4]


def test_one_submitters_late_argument_holds_up_no_other_submitter(concurrent: Start) -> None:
    concurrent()
    gate, log = Gate.remote(), Log.remote()
    first = log.note.remote(wait_for.remote(gate, "first"))

    @ray.remote
    def other(log: Any) -> Any:
        return ray.get([log.note.remote("a"), log.note.remote("b")])

    assert ray.get(other.remote(log), timeout=PATIENCE_S) == ["a", "b"]
    ray.get(gate.open.remote())
    ray.get(first, timeout=PATIENCE_S)
    assert ray.get(log.read.remote()) == ["a", "b", "first"]


def test_a_failed_argument_ends_its_call_and_the_later_ones_go_on(start: Start) -> None:
    start()
    log = Log.remote()
    bad = log.note.remote(boom.remote())
    good = log.note.remote("good")
    assert ray.get(good) == "good"
    with pytest.raises(ValueError, match="boom"):
        ray.get(bad)
    assert ray.get(log.read.remote()) == ["good"]


@ray.remote
def boom(*after: Any) -> None:
    raise ValueError("boom")


# ---------------------------------------------------------------- 7, 8: refs and failed dependencies


def test_refs_inside_a_container_are_not_resolved_and_top_level_ones_are(start: Start) -> None:
    start()

    @ray.remote
    class Seen:
        def __init__(self, top: Any, box: Any, *, named: Any) -> None:
            self.kinds = [type(top).__name__, type(box["k"][0]).__name__, type(named).__name__]

        def look(self, top: Any, box: Any) -> list[str]:
            return [*self.kinds, type(top).__name__, type(box[0]).__name__]

    one = same.remote(1)
    seen = Seen.remote(one, {"k": [one]}, named=one)
    assert ray.get(seen.look.remote(one, [one])) == ["int", "ObjectRef", "int", "int", "ObjectRef"]


@pytest.mark.parametrize("depth", [1, 2, 10])
def test_a_failed_dependency_never_runs_what_needs_it_at_any_depth(start: Start, depth: int) -> None:
    start()
    log = Log.remote()

    @ray.remote
    def use(value: Any, log: Any, box: Any = None) -> None:
        ray.get(log.note.remote("ran"))

    ref = boom.remote()
    for _ in range(depth):
        ref = use.remote(ref, log)
    made = ray.remote(lambda value: log.note.remote("made")).remote(ref)
    for failed in (ref, made, log.note.remote(made)):
        with pytest.raises(ValueError, match="boom"):
            ray.get(failed)
    assert ray.get(log.read.remote()) == []


def test_an_actor_whose_constructors_argument_failed_is_dead_and_never_made(start: Start) -> None:
    start()
    log = Log.remote()

    @ray.remote
    class Needy:
        def __init__(self, value: Any, log: Any) -> None:
            ray.get(log.note.remote("made"))

        def hello(self) -> int:
            return 1

    with pytest.raises(errors.ActorDiedError, match="boom"):
        ray.get(Needy.remote(boom.remote(), log).hello.remote())
    assert ray.get(log.read.remote()) == []


# ---------------------------------------------------------------- 9: arrays


@pytest.mark.parametrize("size", [10, 100_000])
def test_arrays_are_read_only_from_get_and_as_arguments(start: Start, size: int) -> None:
    start()

    @ray.remote
    def write(array: Any) -> None:
        array[0] = 1

    @ray.remote
    def make() -> Any:
        return np.zeros(size)

    for ref in (ray.put(np.zeros(size)), make.remote()):
        array = ray.get(ref)
        assert len(array) == size and not array.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
        with pytest.raises(ValueError, match="read-only"):
            ray.get(write.remote(ref))
    with pytest.raises(ValueError, match="read-only"):
        ray.get(write.remote(np.zeros(size)))


def test_identity_within_one_object_is_kept(start: Start) -> None:
    start()
    part = [1]
    back = ray.get(same.remote([part] * 3))
    assert back[0] is back[1] is back[2]


# ---------------------------------------------------------------- 12, 13, 14, 15: actors


def test_an_actor_used_in_one_line_answers(start: Start) -> None:
    start()
    assert ray.get([ray.remote(Plain).remote().hello.remote() for _ in range(5)]) == [1] * 5


def test_queued_calls_end_before_an_actor_out_of_scope_exits(start: Start) -> None:
    start()
    outer = Log.remote()

    @ray.remote
    class Worker:
        def __init__(self, log: Any) -> None:
            self.log = log

        def work(self, n: int) -> int:
            ray.sleep(0.001)
            ray.get(self.log.note.remote(n))
            return n

    worker = Worker.remote(outer)
    refs = [worker.work.remote(n) for n in range(10)]
    del worker
    assert ray.get(refs, timeout=PATIENCE_S) == list(range(10))
    assert ray.get(outer.read.remote()) == list(range(10))


def test_a_constructors_error_shows_at_every_call_with_its_traceback(start: Start) -> None:
    start()

    @ray.remote
    class Bad:
        def __init__(self) -> None:
            raise KeyError("not today")

        def hello(self) -> int:
            return 1

    bad = Bad.remote()
    for _ in range(2):
        with pytest.raises(errors.ActorDiedError, match="not today") as caught:
            ray.get(bad.hello.remote())
    assert "in __init__" in str(caught.value)


@pytest.mark.parametrize(
    ("restarts", "retries", "runs"), [(0, 0, 1), (1, 0, 1), (1, 1, 2)], ids=["dies", "restarts", "retries"]
)
def test_actor_calls_are_made_at_most_once_unless_retries_are_asked_for(
    concurrent: Start, restarts: int, retries: int, runs: int
) -> None:
    concurrent()
    log = Log.remote()

    @ray.remote(max_restarts=restarts, max_task_retries=retries)
    class Fragile:
        def die_once(self, log: Any) -> str:
            if len(ray.get(log.read.remote(ray.get(log.note.remote("ran"))))) == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            return "alive"

        def hello(self) -> int:
            return 1

    fragile = Fragile.remote()
    if retries:
        assert ray.get(fragile.die_once.remote(log), timeout=PATIENCE_S) == "alive"
    else:
        with pytest.raises(errors.RayActorError):
            ray.get(fragile.die_once.remote(log), timeout=PATIENCE_S)
    assert len(ray.get(log.read.remote())) == runs
    if restarts:
        assert ray.get(fragile.hello.remote(), timeout=PATIENCE_S) == 1
    else:
        with pytest.raises(errors.ActorDiedError):
            ray.get(fragile.hello.remote(), timeout=PATIENCE_S)


@pytest.mark.parametrize(
    ("given", "runs"), [({}, 2), ({"max_task_retries": 0}, 1)], ids=["as declared", "overridden"]
)
def test_options_of_an_actor_override_the_retries_that_its_class_declares(
    concurrent: Start, given: dict[str, int], runs: int
) -> None:
    """What was declared won, in silence; what a method declares for itself still does."""
    concurrent()
    log = Log.remote()

    @ray.remote(max_restarts=-1, max_task_retries=1)
    class Fragile:
        def die(self, log: Any) -> None:
            ray.get(log.note.remote("ran"))
            os.kill(os.getpid(), signal.SIGKILL)

        @ray.method(max_task_retries=2)
        def die_thrice(self, log: Any) -> None:
            self.die(log)

    fragile = Fragile.options(**given).remote()
    with pytest.raises(errors.RayActorError):
        ray.get(fragile.die.remote(log), timeout=PATIENCE_S)
    assert len(ray.get(log.read.remote())) == runs
    with pytest.raises(errors.RayActorError):
        ray.get(fragile.die_thrice.remote(log), timeout=PATIENCE_S)
    assert len(ray.get(log.read.remote())) == runs + 3


# ---------------------------------------------------------------- 16, 17, 19


def test_wrong_arguments_are_refused_in_the_caller_and_nothing_is_submitted(start: Start) -> None:
    context = start()

    @ray.remote
    class Both:
        def __init__(self, a: int) -> None: ...

        def m(self, a: int, *, b: int) -> int:
            return a + b

    both = Both.remote(1)
    assert ray.get(both.m.remote(1, b=2)) == 3
    before = len([event for event in context.trace() if event[1] == "submitted"])
    for call in (
        lambda: same.remote(),
        lambda: same.remote(1, 2),
        lambda: same.remote(1, value=2),
        lambda: Both.remote(),
        lambda: Both.remote(a=1, c=2),
        lambda: both.m.remote(1),
        lambda: both.m.remote(1, 2),
    ):
        with pytest.raises(TypeError):
            call()
    assert len([event for event in context.trace() if event[1] == "submitted"]) == before


def test_a_function_defined_anew_under_the_same_name_is_the_new_one(start: Start) -> None:
    start()
    answers = []
    for version in range(3):

        @ray.remote
        def f() -> int:
            return version  # noqa: B023  (a snapshot at the first call)

        answers.append(ray.get(f.remote()))
    assert answers == [0, 1, 2]


def test_functions_and_classes_work_again_in_a_new_session(start: Start) -> None:
    for n in range(2):
        start()
        assert ray.get(same.remote(n)) == n
        assert ray.get(ray.get(same.remote(Log.remote())).note.remote(n)) == n
        ray.shutdown()


@pytest.mark.processes
def test_what_no_node_can_run_waits_with_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    ray.init("cluster", num_cpus=1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        refs = [same.options(num_cpus=64).remote(1) for _ in range(2)]
        assert ray.wait(refs, timeout=0.2) == ([], refs)
        ray.get(same.remote(1))
    assert len([w for w in caught if "same" in str(w.message) and "CPU: 64" in str(w.message)]) == 1


def test_what_no_node_can_run_raises_where_that_is_strict(start: Start) -> None:
    start(strict=True)
    with pytest.raises(errors.TaskUnschedulableError, match="GPU: 1"):
        ray.get(same.options(num_gpus=1).remote(1), timeout=PATIENCE_S)
    with pytest.raises(errors.TaskUnschedulableError, match="tape"):
        ray.get(same.remote(same.options(resources={"tape": 1}).remote(1)), timeout=PATIENCE_S)


def test_what_no_node_can_run_raises_in_a_simulation_where_nothing_can_change() -> None:
    ray.init("sim", nodes=2)
    with pytest.raises(errors.TaskUnschedulableError, match="CPU: 64"):
        ray.get(same.options(num_cpus=64).remote(1))


# ---------------------------------------------------------------- and what people lean on without knowing


def test_an_object_lives_as_long_as_a_ref_to_it_is_anywhere(concurrent: Start) -> None:
    concurrent(nodes=2, num_cpus=1)

    @ray.remote(num_cpus=0)
    class Holder:
        def keep(self, box: Any) -> None:
            self.box = box

        def read(self) -> Any:
            return float(ray.get(self.box[0]).sum())

    holder = Holder.options(resources={"node:n1": 0.1}).remote()
    ref = ray.put(np.ones(100_000))
    ray.get(holder.keep.remote([ref]))
    del ref
    for _ in range(5):
        ray.get(same.remote(ray.put(np.zeros(100_000))))
    assert ray.get(holder.read.remote(), timeout=PATIENCE_S) == 100_000


def test_refs_and_handles_are_equal_by_what_they_stand_for(start: Start) -> None:
    start()
    ref, log = same.remote(1), Log.remote()
    (other,), (handle,) = ray.get(same.remote([ref])), ray.get(same.remote([log]))
    assert other == ref and hash(other) == hash(ref) and {ref: 1}[other] == 1
    assert handle == log and ray.get(handle.note.remote(1)) == 1


def test_a_get_that_timed_out_may_be_asked_again(concurrent: Start) -> None:
    concurrent()
    gate = Gate.remote()
    ref = wait_for.remote(gate, 5)
    with pytest.raises(errors.GetTimeoutError) as caught:
        ray.get(ref, timeout=0.02)
    assert isinstance(caught.value, TimeoutError)
    ray.get(gate.open.remote())
    assert ray.get(ref, timeout=PATIENCE_S) == 5


def test_a_kill_is_heard_by_running_and_queued_calls(concurrent: Start) -> None:
    concurrent()

    @ray.remote
    class Slow:
        def sleep(self) -> None:
            time.sleep(600)

    slow = Slow.remote()
    refs = [slow.sleep.remote() for _ in range(3)]
    assert ray.wait(refs, timeout=0.1)[0] == []
    ray.kill(slow)
    for ref in refs:
        with pytest.raises(errors.ActorDiedError, match="killed"):
            ray.get(ref, timeout=PATIENCE_S)
