"""The public functions on every backend that runs here: what they give, and what they refuse."""

import subprocess
import sys
import threading

import numpy as np
import pytest

import labray as ray
from labray import errors

BACKENDS = ["inline", "sim", "cluster"]


@pytest.fixture(params=BACKENDS)
def session(request):
    with ray.init(request.param, num_cpus=2) as context:
        yield context


@ray.remote
def add(x, y=1):
    return x + y


@ray.remote
class Counter:
    def __init__(self, start=0):
        self.n = start

    def add(self, k=1):
        self.n += k
        return self.n

    @ray.method(num_returns=2)
    def both(self):
        return self.n, -self.n

    @staticmethod
    def name():
        return "counter"


@ray.remote
def use(counter):
    return ray.get(counter.add.remote(10))


# ---------------------------------------------------------------- what works


def test_a_task_gives_its_result(session):
    assert ray.get(add.remote(1)) == 2
    assert ray.get([add.remote(1, 2), add.remote(y=5, x=5)]) == [3, 10]
    assert ray.get([]) == []


def test_refs_as_arguments_are_values_and_nested_ones_stay_refs(session):
    first = add.remote(1)
    assert ray.get(add.remote(first, y=first)) == 4

    @ray.remote
    def nested(box):
        return type(box[0]).__name__, ray.get(box[0])

    assert ray.get(nested.remote([first])) == ("ObjectRef", 2)


def test_a_returned_ref_is_nested(session):
    @ray.remote
    def outer():
        return add.remote(1)

    assert ray.get(ray.get(outer.remote())) == 2


def test_options_change_one_call_and_not_the_function(session):
    @ray.remote
    def pair():
        return 1, 2

    first, second = pair.options(num_returns=2).remote()
    assert ray.get([first, second]) == [1, 2]
    assert ray.get(pair.remote()) == (1, 2)
    assert pair.options(num_returns=0).remote() is None
    assert ray.get(pair._remote(num_returns=2)) == [1, 2]


def test_a_function_may_call_itself(session):
    @ray.remote
    def count(n):
        return 0 if n == 0 else 1 + ray.get(count.remote(n - 1))

    assert ray.get(count.remote(3)) == 3


def test_put_stores_a_copy_that_is_read_only(session):
    array = np.zeros(5)
    ref = ray.put(array)
    array += 1
    back = ray.get(ref)
    assert back.sum() == 0 and not back.flags.writeable
    large = ray.put(np.ones(100_000))
    assert ray.get(add.remote(large)).sum() == 200_000


def test_wait_gives_those_that_are_ready_and_the_others(session):
    refs = [add.remote(at) for at in range(4)]
    ready, rest = ray.wait(refs, num_returns=2)
    assert len(ready) == 2 and sorted([*ready, *rest], key=refs.index) == refs
    assert ray.wait([]) == ([], [])
    assert ray.wait(refs, num_returns=4) == (refs, [])


def test_an_actor_keeps_its_state_and_its_order(session):
    counter = Counter.remote(5)
    assert ray.get([counter.add.remote() for _ in range(5)]) == [6, 7, 8, 9, 10]
    assert ray.get(counter.both.remote()) == [10, -10]
    assert ray.get(use.remote(counter)) == 20
    assert ray.get(counter.name.remote()) == "counter"


def test_an_actor_whose_handle_is_gone_at_once_still_answers(session):
    assert ray.get(Counter.remote(1).add.remote()) == 2


def test_handles_are_equal_by_actor_and_travel(session):
    @ray.remote
    def same(box):
        return box

    counter = Counter.remote()
    (back,) = ray.get(same.remote([counter]))
    assert back == counter and hash(back) == hash(counter)
    assert ray.get(back.add.remote()) == 1


def test_named_actors_are_found_and_names_are_unique(session):
    boss = Counter.options(name="boss").remote(5)
    assert ray.get(ray.get_actor("boss").add.remote()) == 6
    with pytest.raises(errors.ActorAlreadyExistsError, match="boss"):
        Counter.options(name="boss").remote()
    assert Counter.options(name="boss", get_if_exists=True).remote() == boss
    fresh = Counter.options(name="other", get_if_exists=True).remote(1)
    assert ray.get(fresh.add.remote()) == 2
    with pytest.raises(ValueError, match="nobody"):
        ray.get_actor("nobody")


def test_a_killed_actor_says_so(session):
    counter = Counter.remote()
    ray.get(counter.add.remote())
    ray.kill(counter)
    with pytest.raises(errors.ActorDiedError):
        ray.get(counter.add.remote())


def test_a_users_error_is_both_kinds_and_travels_down_a_chain(session):
    @ray.remote
    def bad():
        raise KeyError("lost")

    for kind in (KeyError, errors.RayTaskError):
        with pytest.raises(kind, match="lost"):
            ray.get(add.remote(add.remote(bad.remote())))
    with pytest.raises(KeyError):
        ray.get([add.remote(1), bad.remote()])
    ready, rest = ray.wait([bad.remote()])
    assert len(ready) == 1 and rest == []


def test_a_constructor_that_raises_shows_at_the_first_call(session):
    @ray.remote
    class Bad:
        def __init__(self):
            raise ValueError("no such luck")

        def hello(self):
            return 1

    with pytest.raises(errors.ActorDiedError, match="no such luck"):
        ray.get(Bad.remote().hello.remote())


def test_a_get_that_takes_too_long_is_a_timeout(session):
    @ray.remote
    def slow(*before):
        ray.sleep(0.02)
        return 1

    ref = slow.remote(slow.remote(slow.remote()))  # inline, a poll lets one task run
    with pytest.raises(ray.errors.GetTimeoutError):
        ray.get(ref, timeout=0)
    assert ray.get(ref) == 1


def test_time_passes(session):
    before = ray.now()
    ray.sleep(0.01)
    ray.spend(0.01)
    assert ray.now() - before >= 0.019


def test_the_cluster_tells_what_it_has(session):
    assert ray.cluster_resources() == {"CPU": 2.0, "node:n0": 1.0}
    assert [node["NodeID"] for node in ray.nodes()] == ["n0"]


def test_functions_defined_before_a_session_work_in_the_next(session):
    assert ray.get(add.remote(1)) == 2
    backend = session.config.backend
    ray.shutdown()
    ray.init(backend)
    assert ray.get(add.remote(1)) == 2
    assert ray.get(Counter.remote(1).add.remote()) == 2


def test_things_tell_what_they_are(session):
    counter = Counter.remote()
    assert repr(add) == "<remote function add>"
    assert repr(Counter) == "<actor class Counter>"
    assert "Counter" in repr(counter) and "add" in repr(counter.add)
    assert repr(add.remote(1)) == "ObjectRef(d-1.0 of n0)"
    assert session.config.backend in repr(session)


def test_labray_itself_may_be_referred_to_by_what_travels(session):
    @ray.remote
    def started():
        return ray.is_initialized()

    assert ray.get(started.remote())


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: add(1), TypeError, "add.remote"),
        (lambda: Counter(), TypeError, "Counter.remote"),
        (lambda: Counter.remote().add(), TypeError, ".add.remote"),
        (lambda: add.remote(), TypeError, "missing a required argument: 'x'"),
        (lambda: add.remote(1, 2, 3), TypeError, "too many positional"),
        (lambda: add.remote(1, z=3), TypeError, "'z'"),
        (lambda: Counter.remote(1, 2), TypeError, "too many positional"),
        (lambda: Counter.remote().add.remote(1, 2), TypeError, "Counter.add()"),
        (lambda: Counter.remote().nothing, AttributeError, "nothing"),
        (lambda: add.remote([threading.Lock()]), TypeError, "argument 'x'[0]"),
        (lambda: Counter.remote().add.remote(k=threading.Lock()), TypeError, "argument 'k'"),
        (lambda: ray.put(threading.Lock()), TypeError, "the value cannot"),
        (lambda: ray.put(add.remote(1)), TypeError, "put()"),
        (lambda: ray.get(3), ValueError, "ObjectRef"),
        (lambda: ray.get((add.remote(1),)), ValueError, "list"),
        (lambda: ray.get([1]), ValueError, "ObjectRef"),
        (lambda: ray.get(add.remote(1), timeout=-1), ValueError, "timeout"),
        (lambda: ray.get(add.remote(1), timeout="1"), TypeError, "timeout"),
        (lambda: ray.wait(add.remote(1)), TypeError, "list"),
        (lambda: ray.wait([1]), TypeError, "ObjectRef"),
        (lambda: ray.wait([add.remote(1)], num_returns=0), ValueError, "num_returns"),
        (lambda: ray.wait([add.remote(1)], num_returns=2), ValueError, "num_returns"),
        (lambda: ray.wait([add.remote(1)] * 2), ValueError, "twice"),
        (lambda: ray.wait([add.remote(1)], timeout=-1), ValueError, "timeout"),
        (lambda: ray.kill(3), ValueError, "handle"),
        (lambda: ray.get_actor(""), ValueError, "name"),
        (lambda: ray.get_actor(3), ValueError, "name"),
        (lambda: ray.sleep(-1), ValueError, "seconds"),
        (lambda: ray.sleep(float("nan")), ValueError, "seconds"),
        (lambda: ray.spend("x"), TypeError, "seconds"),
        (lambda: add.options(num_cpus=-1), ValueError, "num_cpus"),
        (lambda: add.options(num_cpu=1), ValueError, "'num_cpus'"),
        (lambda: ray.init("inline"), RuntimeError, "already"),
    ],
)
def test_misuse_is_refused_at_the_call(session, call, error, words):
    with pytest.raises(error) as caught:
        call()
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: ray.remote(3), TypeError, "functions and classes"),
        (lambda: ray.remote(), TypeError, "without parentheses"),
        (lambda: ray.remote(num_cpus=1)(3), TypeError, "functions and classes"),
        (lambda: ray.remote(num_cpu=1), ValueError, "'num_cpus'"),
        (lambda: ray.remote(num_cpus=float("nan")), ValueError, "num_cpus"),
        (lambda: ray.remote(max_restarts=1)(len), ValueError, "not an option of a task"),
        (lambda: ray.method(num_return=1), ValueError, "'num_returns'"),
        (lambda: ray.init("clutser"), ValueError, "'cluster'"),
        (lambda: ray.init(3), TypeError, "backend"),
        (lambda: ray.init("inline", scheduler="bottomup"), ValueError, "'bottom_up'"),
        (lambda: ray.init("inline", scheduler=3), TypeError, "scheduler"),
        (lambda: ray.init("inline", num_cpus=-1), ValueError, "num_cpus"),
        (lambda: ray.init("inline", resources={"a": float("nan")}), ValueError, "resources"),
        (lambda: ray.init("inline", resources=3), TypeError, "resources"),
        (lambda: ray.init("sim", nodes=0), ValueError, "nodes"),
        (lambda: ray.init("sim", num_cpu=3), ValueError, "num_cpu"),
        (lambda: ray.nodes(), errors.NotInitializedError, "init"),
        (lambda: ray.cluster_resources(), errors.NotInitializedError, "init"),
        (lambda: ray.graph(), errors.NotInitializedError, "init"),
    ],
)
def test_what_makes_no_sense_is_refused_and_starts_nothing(make, error, words):
    with pytest.raises(error) as caught:
        make()
    assert words in str(caught.value)
    assert not ray.is_initialized()


def test_functions_that_are_not_supported_yet_say_so():
    async def coroutine():
        return 1

    def stream():
        yield 1

    class Async:
        async def m(self):
            return 1

    for thing, words in ((coroutine, "async"), (stream, "generator"), (Async, "Async.m")):
        with pytest.raises(ValueError, match=words):
            ray.remote(thing)


def test_an_actor_class_cannot_be_derived_from():
    with pytest.raises(TypeError, match="decorate the result"):

        class Derived(Counter):
            pass


def test_what_is_of_a_session_that_is_over_is_refused(session):
    backend = session.config.backend
    ref, counter = add.remote(1), Counter.remote()
    ray.shutdown()
    ray.shutdown()
    with pytest.raises(ValueError, match="shut down"):
        ray.get(ref)
    assert not ray.is_initialized()
    ray.init(backend)
    for use in (
        lambda: ray.get(ref),
        lambda: add.remote(ref),
        lambda: ray.wait([ref]),
        lambda: ray.put([ref]),
    ):
        with pytest.raises(ValueError, match="shut down"):
            use()
    for use in (lambda: counter.add.remote(), lambda: ray.kill(counter)):
        with pytest.raises(errors.ActorHandleNotFoundError):
            use()


def test_a_second_init_may_be_ignored(session):
    assert ray.init("inline", ignore_reinit_error=True).config is session.config


def test_a_task_cannot_end_the_session(session):
    @ray.remote
    def end():
        ray.shutdown()

    with pytest.raises(RuntimeError, match="inside a task"):
        ray.get(end.remote())


@pytest.mark.processes
def test_import_stays_light():
    heavy = ("numpy", "matplotlib", "networkx", "zmq", "simpy", "rich", "click", "scipy", "psutil")
    program = f"import sys, labray; print([name for name in {heavy} if name in sys.modules])"
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
