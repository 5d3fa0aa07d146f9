"""Bad input: a clear error of the documented type at the call, nothing half submitted, and never a hang."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import labray as ray
from labray import errors
from tests.kit.traces import GRACE_S, Traces, end_session, end_strays


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> None:
    """As in conftest.py, but looked for when the session that these tests share ends."""


@pytest.fixture(scope="module", params=["inline", "cluster"])
def session(request: pytest.FixtureRequest) -> Iterator[Any]:
    """One session for all: none of what follows may harm it."""
    before = Traces.seen()
    yield ray.init(request.param, num_cpus=2)
    end_session()
    deadline = time.monotonic() + GRACE_S
    while (left := before.left_since()) and time.monotonic() < deadline:
        time.sleep(0.01)
    end_strays(before)
    assert not left, f"left behind: {'; '.join(left)}"


@ray.remote
def add(x: Any, y: Any = 1) -> Any:
    return x + y


@ray.remote
class Counter:
    def __init__(self, start: int = 0) -> None:
        self.n = start

    def add(self, k: Any = 1) -> Any:
        self.n += k
        return self.n

    def take(self, **named: Any) -> Any:
        return named


class Locked:
    """Cannot be pickled, three levels down."""

    def __init__(self) -> None:
        self.inner = {"deep": [threading.Lock()]}


def locking() -> Any:
    lock = threading.Lock()

    @ray.remote
    def use() -> bool:
        return lock.locked()

    return use


Case = tuple[str, Callable[[], Any], type[BaseException], str]

NAN = float("nan")
CASES: list[Case] = [
    ("unknown option of a task", lambda: add.options(num_cpu=1), ValueError, "'num_cpus'"),
    ("unknown option of an actor", lambda: Counter.options(max_restart=1), ValueError, "'max_restarts'"),
    (
        "unknown option of a method",
        lambda: Counter.remote().add.options(num_return=2),
        ValueError,
        "'num_returns'",
    ),
    (
        "a task's option given to an actor",
        lambda: Counter.options(num_returns=2),
        ValueError,
        "not an option of an actor",
    ),
    ("no callable", lambda: ray.remote(7), TypeError, "functions and classes"),
    ("empty parentheses", lambda: ray.remote(), TypeError, "without parentheses"),
    ("too few arguments", lambda: add.remote(), TypeError, "'x'"),
    ("too many arguments", lambda: add.remote(1, 2, 3), TypeError, "too many"),
    ("unknown keyword", lambda: add.remote(1, z=2), TypeError, "'z'"),
    ("a keyword twice", lambda: add.remote(1, x=2), TypeError, "'x'"),
    ("constructor's arguments", lambda: Counter.remote(1, 2), TypeError, "Counter()"),
    ("method's arguments", lambda: Counter.remote().add.remote(1, 2), TypeError, "Counter.add()"),
    ("what is not the caller's to give", lambda: Counter.remote().take.remote(self=1), TypeError, "'self'"),
    ("unpicklable argument", lambda: add.remote(Locked()), TypeError, "argument 'x'"),
    ("unpicklable keyword", lambda: add.remote(1, y=[Locked()]), TypeError, "argument 'y'"),
    (
        "unpicklable argument of a constructor",
        lambda: Counter.remote(Locked()),
        TypeError,
        "argument 'start'",
    ),
    (
        "unpicklable argument of a method",
        lambda: Counter.remote().add.remote(Locked()),
        TypeError,
        "argument 'k'",
    ),
    ("unpicklable value", lambda: ray.put(Locked()), TypeError, "lock"),
    ("unpicklable function", lambda: locking().remote(), TypeError, "use"),
    ("negative resources", lambda: add.options(num_cpus=-1), ValueError, "num_cpus"),
    ("NaN resources", lambda: add.options(num_cpus=NAN), ValueError, "num_cpus"),
    ("infinite resources", lambda: add.options(num_gpus=float("inf")), ValueError, "num_gpus"),
    ("resources that are no number", lambda: add.options(num_cpus="2"), TypeError, "num_cpus"),
    ("resources too fine", lambda: add.options(num_cpus=0.00001), ValueError, "0.0001"),
    ("negative custom resource", lambda: add.options(resources={"tape": -1}), ValueError, "tape"),
    ("NaN custom resource", lambda: Counter.options(resources={"tape": NAN}), ValueError, "tape"),
    ("CPU as custom resource", lambda: add.options(resources={"CPU": 1}), ValueError, "num_cpus"),
    ("resources that are no dict", lambda: add.options(resources=["tape"]), TypeError, "dict"),
    ("negative num_returns", lambda: add.options(num_returns=-1), ValueError, "num_returns"),
    ("fractional num_returns", lambda: add.options(num_returns=1.5), TypeError, "num_returns"),
    ("negative retries", lambda: add.options(max_retries=-2), ValueError, "max_retries"),
    ("no exception types", lambda: add.options(retry_exceptions=[1]), TypeError, "retry_exceptions"),
    ("unknown strategy", lambda: add.options(scheduling_strategy="SPRAED"), ValueError, "SPREAD"),
    ("empty name", lambda: Counter.options(name=" "), ValueError, "name"),
    ("name that is no string", lambda: Counter.options(name=3), TypeError, "name"),
    ("second init", lambda: ray.init("inline"), RuntimeError, "already"),
    ("get of no ref", lambda: ray.get(3), ValueError, "ObjectRef"),
    ("get of a handle", lambda: ray.get(Counter.remote()), ValueError, "ObjectRef"),
    ("get of None", lambda: ray.get(None), ValueError, "ObjectRef"),
    ("get of a tuple", lambda: ray.get((add.remote(1),)), ValueError, "list"),
    ("get of a list with a value in it", lambda: ray.get([add.remote(1), 2]), ValueError, "ObjectRef"),
    ("get with a negative timeout", lambda: ray.get(add.remote(1), timeout=-1), ValueError, "timeout"),
    ("get with a NaN timeout", lambda: ray.get(add.remote(1), timeout=NAN), ValueError, "timeout"),
    ("put of a ref", lambda: ray.put(add.remote(1)), TypeError, "put()"),
    ("wait for a ref alone", lambda: ray.wait(add.remote(1)), TypeError, "list"),
    ("wait for values", lambda: ray.wait([1]), TypeError, "ObjectRef"),
    ("wait for one twice", lambda: ray.wait([add.remote(1)] * 2), ValueError, "twice"),
    ("wait for none of some", lambda: ray.wait([add.remote(1)], num_returns=0), ValueError, "num_returns"),
    (
        "wait for more than there are",
        lambda: ray.wait([add.remote(1)], num_returns=2),
        ValueError,
        "num_returns",
    ),
    ("wait with a negative timeout", lambda: ray.wait([add.remote(1)], timeout=-1), ValueError, "timeout"),
    ("Actor() called directly", lambda: Counter(), TypeError, "Counter.remote"),
    ("f() called directly", lambda: add(1), TypeError, "add.remote"),
    ("a method called directly", lambda: Counter.remote().add(), TypeError, ".add.remote"),
    ("an unknown method", lambda: Counter.remote().sub, AttributeError, "sub"),
    ("kill of no actor", lambda: ray.kill(add.remote(1)), ValueError, "handle"),
    ("an unknown actor", lambda: ray.get_actor("nobody"), ValueError, "nobody"),
    ("sleep backwards", lambda: ray.sleep(-1), ValueError, "seconds"),
    ("spend NaN", lambda: ray.spend(NAN), ValueError, "seconds"),
    ("a ref iterated over", lambda: list(add.remote(1)), TypeError, "get"),
]


@pytest.mark.parametrize(
    ("call", "kind", "words"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_it_is_refused_at_the_call_and_the_session_goes_on(
    session: Any, call: Callable[[], Any], kind: type[BaseException], words: str
) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert words in str(caught.value)
    assert ray.get(add.remote(1), timeout=20) == 2


def test_a_refused_call_submits_nothing(session: Any) -> None:
    """Not the task, nor a large argument that came before the one that is wrong, nor the name of an actor."""

    def told() -> list[Any]:
        return [event[3] for event in session.trace() if event[1] in ("submitted", "put")]

    counter = Counter.remote()
    ray.get([counter.add.remote(), add.remote(1)])
    before = told()
    for call in (
        lambda: add.remote(b"x" * 300_000, threading.Lock()),
        lambda: counter.add.remote([b"x" * 300_000, threading.Lock()]),
        lambda: Counter.options(name="never").remote(threading.Lock()),
    ):
        with pytest.raises(TypeError, match="lock"):
            call()
    assert told() == before
    with pytest.raises(ValueError, match="never"):
        ray.get_actor("never")
    assert ray.get(counter.add.remote()) == 2


def test_a_result_that_cannot_be_pickled_is_the_tasks_error(session: Any) -> None:
    @ray.remote
    def lock() -> Any:
        return [threading.Lock()]

    with pytest.raises(TypeError, match="the result") as caught:
        ray.get(lock.remote(), timeout=20)
    assert isinstance(caught.value, errors.RayTaskError)


def test_an_error_that_cannot_be_pickled_is_still_told(session: Any) -> None:
    class Locking(Exception):
        def __init__(self) -> None:
            super().__init__("in here")
            self.lock = threading.Lock()

    @ray.remote
    def fail() -> None:
        raise Locking()

    with pytest.raises(errors.RayTaskError, match="in here") as caught:
        ray.get(fail.remote(), timeout=20)
    assert "Locking" in str(caught.value) and "raise Locking()" in str(caught.value)


class TestWithoutSession:
    """What is refused before anything starts, and after all has ended."""

    @pytest.fixture(autouse=True)
    def no_session(self) -> Iterator[None]:
        end_session()
        before = Traces.seen()
        yield
        end_session()
        deadline = time.monotonic() + GRACE_S
        while (left := before.left_since()) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not left, f"left behind: {'; '.join(left)}"

    @pytest.mark.parametrize(
        ("options", "kind", "words"),
        [
            ({"backend": "clutser"}, ValueError, "'cluster'"),
            ({"backend": None}, TypeError, "backend"),
            ({"scheduler": "centralised"}, ValueError, "'centralized'"),
            ({"scheduler": ...}, TypeError, "scheduler"),
            ({"nodes": 0}, ValueError, "nodes"),
            ({"nodes": 1.5}, TypeError, "nodes"),
            ({"num_cpus": -1}, ValueError, "num_cpus"),
            ({"num_cpus": NAN}, ValueError, "num_cpus"),
            ({"resources": {"tape": NAN}}, ValueError, "tape"),
            ({"resources": {"node:n0": 1}}, ValueError, "reserved"),
            ({"seed": -1}, ValueError, "seed"),
            ({"strict": 1}, TypeError, "strict"),
            ({"num_cpu": 1}, ValueError, "num_cpus"),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("backend", ["inline", "cluster", "sim"])
    def test_a_bad_init_starts_nothing(
        self, backend: str, options: dict[str, Any], kind: type[BaseException], words: str
    ) -> None:
        with pytest.raises(kind) as caught:
            ray.init(**{"backend": backend, **options})
        assert words in str(caught.value)
        assert not ray.is_initialized()

    @pytest.mark.parametrize("backend", ["inline", "cluster"])
    def test_after_shutdown_old_refs_and_handles_are_refused(self, backend: str) -> None:
        ray.init(backend, num_cpus=1)
        ref, counter = add.remote(1), Counter.remote()
        ray.shutdown()
        for use in (lambda: ray.get(ref), lambda: ray.nodes(), lambda: ray.cluster_resources()):
            with pytest.raises((ValueError, errors.NotInitializedError)):
                use()
        assert not ray.is_initialized()
        ray.init(backend, num_cpus=1)
        uses = [
            lambda: ray.get(ref),
            lambda: ray.get([ref]),
            lambda: ray.wait([ref]),
            lambda: add.remote(ref),
            lambda: add.remote([counter]),
            lambda: ray.put({"r": ref}),
            lambda: counter.add.remote(),
            lambda: ray.kill(counter),
        ]
        for use in uses:
            with pytest.raises(ValueError, match="shut down"):
                use()
        assert ray.get(add.remote(1), timeout=20) == 2
