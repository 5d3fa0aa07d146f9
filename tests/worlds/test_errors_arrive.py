"""Whatever a body raises is its task's error, in every world: not its caller's end, its actor's, nor its worker's."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import labray as ray
from labray import errors
from labray.testing import released

PATIENCE_S = 20.0


@pytest.fixture(params=["inline", "sim", "cluster"])
def world(request: pytest.FixtureRequest) -> str:
    ray.init(request.param, num_cpus=2)
    return str(request.param)


@pytest.fixture(params=["sim", "cluster"])
def two_nodes(request: pytest.FixtureRequest) -> Iterator[str]:
    """At the end nothing may be held that the test has let go of."""
    ray.init(request.param, nodes=2, num_cpus=2)
    yield request.param
    ray.shutdown()


def get(ref: Any) -> Any:
    return ray.get(ref, timeout=PATIENCE_S)


def raised(ref: Any) -> Any:
    """What get raises for it."""
    with pytest.raises(errors.LabrayError) as caught:
        get(ref)
    return caught.value


class Own(BaseException):
    pass


class Two(Exception):
    def __init__(self, code: int, where: str) -> None:
        super().__init__(f"{code} at {where}")
        self.code = code


@ray.remote(max_retries=0)
def throw(error: BaseException) -> None:
    raise error


@ray.remote
class Thrower:
    def __init__(self, error: BaseException | None = None) -> None:
        if error is not None:
            raise error

    def throw(self, error: BaseException) -> None:
        raise error

    def ping(self) -> str:
        return "pong"


# ---------------------------------------------------------------- what is no Exception


@pytest.mark.parametrize("kind", [KeyboardInterrupt, GeneratorExit, StopIteration, StopAsyncIteration, Own])
def test_a_body_that_raises_no_exception_fails_its_task_alone(world: str, kind: type[BaseException]) -> None:
    error = raised(throw.remote(kind("by its own library")))
    assert isinstance(error, errors.RayTaskError) and type(error.cause) is kind
    assert error.cause.args == ("by its own library",) and "cancelled" not in str(error)
    actor = Thrower.remote()
    assert type(raised(actor.throw.remote(kind("x"))).cause) is kind
    assert get(actor.ping.remote()) == "pong"
    died = raised(Thrower.remote(kind("in the constructor")).ping.remote())
    assert isinstance(died, errors.ActorDiedError) and "in the constructor" in str(died)
    assert isinstance(raised(throw.remote(Own())), Own)


def test_a_body_that_exits_ends_its_process(world: str) -> None:
    assert isinstance(raised(throw.remote(SystemExit(3))), errors.WorkerCrashedError)
    assert isinstance(raised(Thrower.remote().throw.remote(SystemExit(3))), errors.ActorDiedError)
    assert isinstance(raised(throw.remote(ValueError())), ValueError)


def test_who_takes_results_by_an_iterator_notices_a_stop_iteration(world: str) -> None:
    @ray.remote
    def first_over(rows: list[int], least: int) -> int:
        return next(row for row in rows if row > least)

    refs = [first_over.remote([10, 20], least) for least in (5, 99, 5)]
    with pytest.raises(errors.RayTaskError) as caught:
        list(map(ray.get, refs))
    assert isinstance(caught.value.cause, StopIteration)


@pytest.mark.parametrize("backend", ["sim", "cluster"])
def test_only_the_interrupt_of_a_cancel_is_a_cancellation(backend: str) -> None:
    ray.init(backend, num_cpus=2)

    @ray.remote
    def again() -> None:
        try:
            ray.sleep(1000.0)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("a library's own") from None

    ref = again.remote()
    ray.wait([ref], timeout=0.3)
    ray.cancel(ref)
    assert isinstance(raised(ref), errors.TaskCancelledError)
    assert type(raised(throw.remote(KeyboardInterrupt())).cause) is KeyboardInterrupt


@pytest.mark.parametrize("backend", ["inline", "sim"])
def test_ctrl_c_in_a_body_is_the_main_programs_and_the_session_goes_on(backend: str) -> None:
    before = signal.getsignal(signal.SIGINT)
    ray.init(backend, num_cpus=2)

    @ray.remote(max_retries=0)
    def interrupted(deep: int) -> None:
        if deep:
            ray.get(interrupted.remote(deep - 1))
        signal.raise_signal(signal.SIGINT)

    for deep in (0, 2):
        ref = interrupted.remote(deep)
        with pytest.raises(KeyboardInterrupt):
            ray.get(ref)
    assert type(raised(throw.remote(KeyboardInterrupt())).cause) is KeyboardInterrupt
    ray.shutdown()
    assert signal.getsignal(signal.SIGINT) is before


# ---------------------------------------------------------------- classes that object


class ReadOnlyArgs(Exception):
    args = property(lambda self: ("mine",))  # type: ignore[assignment]


class Guarded(Exception):
    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{name} is fixed")


class Final(Exception):
    def __init_subclass__(cls) -> None:
        raise RuntimeError("it is final")


class OwnCause(Exception):
    cause = property(lambda self: "disk")


class Mute(Exception):
    def __str__(self) -> str:
        raise SystemExit("its str")

    __repr__ = __str__


class Meta(type):
    def __call__(cls, *args: Any) -> Any:
        if args[0] != "made":
            raise SystemExit("its metaclass")
        return super().__call__(*args)

    def __instancecheck__(cls, instance: object) -> bool:
        raise RuntimeError("its metaclass")


class Metered(Exception, metaclass=Meta):
    pass


class Unpicklable(Exception):
    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.lock = threading.Lock()


class Exiting(Exception):
    def __reduce__(self) -> Any:
        return exit_there, (1,)


def exit_there(code: int) -> None:
    raise SystemExit(code)


OBJECTING = [ReadOnlyArgs, Guarded, Final, OwnCause, Mute, Metered, Unpicklable, Exiting]


@pytest.mark.parametrize("kind", OBJECTING)
def test_an_error_of_a_class_that_objects_arrives_and_nothing_dies_of_it(
    world: str, kind: type[Exception]
) -> None:
    @ray.remote(retry_exceptions=[ValueError], max_retries=2)
    def fail() -> None:
        raise kind("made")

    error = raised(fail.remote())
    assert isinstance(error, errors.RayTaskError) and kind.__name__ in str(error)
    assert type(error).cause.fget(error) is error.cause  # type: ignore[attr-defined]
    if kind is Unpicklable:
        assert isinstance(error.cause, errors.RayError) and "isn't serializable" in str(error.cause)
    else:
        assert type(error.cause) is kind
    assert type(raised(throw.remote(ValueError("next"))).cause) is ValueError


def test_an_error_with_two_arguments_is_caught_by_its_class_at_any_distance(world: str) -> None:
    @ray.remote
    def fail() -> None:
        raise Two(7, "home")

    @ray.remote
    def relay() -> None:
        try:
            ray.get(fail.remote())
        except Two as error:
            error.add_note(f"code {error.code}")
            raise

    with pytest.raises(Two) as caught:
        get(relay.remote())
    assert caught.value.code == 7 and caught.value.__notes__ == ["code 7"]


# ---------------------------------------------------------------- errors that carry refs


class Carrier(Exception):
    def __init__(self, word: str, *carried: Any) -> None:
        super().__init__(word)
        self.carried = carried


@ray.remote
class Counter:
    def __init__(self) -> None:
        self.count = 0

    def up(self) -> int:
        self.count += 1
        return self.count


@ray.remote
def fail_with_all(large: bool, times: int = 0) -> None:
    counter = Counter.remote()
    raise Carrier("take these", ray.put(b"x" * (200_000 if large else 2)), counter)


@ray.remote
def use(value: Any) -> None:
    raise AssertionError("its argument failed")


@pytest.mark.parametrize("large", [False, True])
def test_refs_and_handles_in_an_error_live_as_long_as_it_does(two_nodes: str, large: bool) -> None:
    def check() -> None:
        first = fail_with_all.remote(large)
        far = use.options(resources={"node:n1": 0.1}).remote(first)
        last = use.remote(far)
        retried = fail_with_all.options(retry_exceptions=True, max_retries=2).remote(large)
        none = fail_with_all.options(num_returns=0).remote(large)
        two = fail_with_all.options(num_returns=2).remote(large)
        dead = Thrower.remote(first)
        assert none is None and isinstance(raised(dead.ping.remote()), errors.ActorDiedError)
        for ref in (first, far, last, retried, *two):
            error = raised(ref)
            assert isinstance(error, Carrier)
            value, counter = error.carried
            del error, ref
            assert len(get(value)) in (2, 200_000)
            assert get(counter.up.remote()) >= 1

    check()
    released()


def test_an_error_with_refs_that_nobody_takes_lets_go_of_them(two_nodes: str) -> None:
    refs = [fail_with_all.remote(True) for _ in range(3)]
    ray.wait(refs, num_returns=3, timeout=PATIENCE_S)
    del refs
    released()


# ---------------------------------------------------------------- unpickling


class Sprung:
    """A value that objects to being unpickled by everybody but its maker."""

    def __init__(self, kind: type[Exception]) -> None:
        self.kind = kind

    def __setstate__(self, state: Any) -> None:
        raise state["kind"]("sprung")


@pytest.mark.parametrize("kind", [StopIteration, RuntimeError])
def test_what_a_result_raises_as_it_is_unpickled_is_a_system_error(
    two_nodes: str, kind: type[Exception]
) -> None:
    @ray.remote
    def make(size: int) -> Any:
        return [Sprung(kind), ray.put(1), b"x" * size] if size != 1 else b"x" * 200_000

    def check() -> None:
        for size in (2, 200_000):
            refs = [make.remote(size), make.remote(1)]
            with pytest.raises(errors.LabraySystemError, match=r"cannot be unpickled here.*sprung") as caught:
                list(map(get, refs))
            assert isinstance(caught.value.__cause__, kind)
            with pytest.raises(errors.LabraySystemError):
                get(refs)
            error = raised(use.remote(refs[0]))  # as an argument it is the task's
            assert type(error.cause) is kind
            del caught, error, refs

    check()
    released()


# ---------------------------------------------------------------- a lost argument


def test_a_task_whose_argument_is_lost_fails_with_a_task_error_of_that_kind(world: str) -> None:
    crash = ray.remote(max_retries=0)(exit_there)
    lost = crash.remote(3)
    assert type(raised(lost)) is errors.WorkerCrashedError
    for _ in range(2):
        lost = use.remote(lost)
        error = raised(lost)
        assert isinstance(error, errors.RayTaskError) and isinstance(error, errors.WorkerCrashedError)
        assert type(error.cause) is errors.WorkerCrashedError and "use() never ran" in str(error)
