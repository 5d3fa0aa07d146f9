"""The client half of the protocol, against a channel that records what is said and answers as told."""

import asyncio
import gc
import threading
from importlib.util import find_spec

import numpy as np
import pytest

from labray import errors
from labray import messages as m
from labray.client import runtime
from labray.client.executor import Executor
from labray.client.options import Options, build
from labray.client.process import Process
from labray.client.requests import given_back
from labray.client.uninterrupted import DELICATE
from labray.ids import lineage_prefix
from labray.serialization import codec

TASK = build("task", {})


class FakeChannel:
    """answer: what to say to a question, None for a timeout."""

    place = "n0"
    client = "n0/driver"

    def __init__(self):
        self.posted = []
        self.asked = []
        self.stored = {}
        self.own = {}
        self.spent = []
        self.answer = lambda message: None

    def post(self, message, step=None):
        if step is not None:
            step()
        self.posted.append(message)

    def ask(self, message, request, timeout):
        assert message.request == request
        self.asked.append((message, timeout))
        return self.answer(message)

    def store(self, object_id, payload):
        payload = codec.settle(payload)
        self.stored[object_id] = payload
        return m.Stored(codec.size_of(payload), m.Block("w", 0, 0, ()))

    def load(self, object_id, stored, pin=None):
        return self.stored[object_id]

    def reread(self, object_id):
        return self.own.get(object_id)

    def now(self):
        return 1.5

    def sleep(self, seconds):
        pass

    def spend(self, seconds):
        self.spent.append(seconds)


@pytest.fixture
def channel():
    return FakeChannel()


@pytest.fixture
def process(channel):
    return Process(channel, "s")


def submit(process, *args, options=TASK, **kwargs):
    return process.submit("task", "f", m.Ref("d-f0", "n0"), options, args, kwargs)


def values(*those):
    inlined = tuple(m.Inline(codec.encode(value).payload) for value in those)
    return lambda message: m.Values(message.request, inlined)


# ---------------------------------------------------------------- submitting


def test_ids_count_up_under_the_running_task(process, channel):
    first = submit(process)[0]
    second = submit(process, options=Options(returns=2))
    assert [ref.ref.id for ref in (first, *second)] == ["d-0.0", "d-1.0", "d-1.1"]
    process.enter("d-0", 1)
    prefix = lineage_prefix("d-0", 1)
    assert submit(process)[0].ref.id == f"{prefix}-0.0"
    assert process.put(3).ref.id == f"{prefix}-p0"


def in_turns(*bodies):
    """Threads that go on one at a time, in this order, each from one `yield` to its next."""
    turns = [threading.Semaphore(0) for _ in bodies]
    over = threading.Semaphore(0)

    def play(at):
        turns[at].acquire()
        for _ in bodies[at]():
            over.release()
            turns[at].acquire()
        over.release()

    threads = [threading.Thread(target=play, args=(at,)) for at in range(len(bodies))]
    for thread in threads:
        thread.start()
    for _ in range(3):
        for turn in turns:
            turn.release()
            over.acquire()
    for thread in threads:
        thread.join()


def test_two_executions_in_two_threads_submit_and_wait_each_as_its_own_task(process, channel):
    channel.answer = values(1)
    process.widen()
    seen = {}

    def body(task):
        def run():
            process.enter(task, 0)
            yield
            made = [submit(process)[0], process.put(2)]
            yield
            process.get([submit(process)[0]], None)
            seen[task] = [ref.ref.id for ref in made]

        return run

    in_turns(body("d-0"), body("d-1"))
    assert seen == {
        task: [f"{lineage_prefix(task, 0)}-0.0", f"{lineage_prefix(task, 0)}-p0"] for task in ("d-0", "d-1")
    }
    assert [message.task for message, _ in channel.asked] == ["d-0", "d-1"]
    parents = [(said.spec.parent, said.spec.id) for said in channel.posted if isinstance(said, m.SubmitTask)]
    assert parents == [(task, f"{lineage_prefix(task, 0)}-{at}") for at in (0, 1) for task in ("d-0", "d-1")]


def test_two_executions_in_two_asyncio_tasks_submit_each_as_its_own_task(process, channel):
    process.widen()

    async def body(task):
        process.enter(task, 0)
        await asyncio.sleep(0)
        return submit(process)[0].ref.id, process.task

    async def both():
        return await asyncio.gather(body("d-0"), body("d-1"))

    assert asyncio.run(both()) == [(f"{lineage_prefix(task, 0)}-0.0", task) for task in ("d-0", "d-1")]
    assert process.task == "d-1"  # who runs in no context of an execution counts as the latest


def test_a_users_thread_submits_as_the_task_that_runs_now_and_not_as_the_one_that_started_it(
    process, channel
):
    def submits():
        yield submit(process)
        yield submit(process)

    process.enter("d-0", 0)
    steps = submits()
    thread = threading.Thread(target=next, args=(steps,))
    thread.start()
    thread.join()
    process.enter("d-1", 0)
    thread = threading.Thread(target=next, args=(steps,))
    thread.start()
    thread.join()
    parents = [said.spec.parent for said in channel.posted if isinstance(said, m.SubmitTask)]
    assert parents == ["d-0", "d-1"]


def test_a_submission_says_all_there_is_to_know(process, channel):
    dep = submit(process)[0]
    channel.posted.clear()
    submit(process, dep, 2, k=dep)
    (said,) = channel.posted
    spec = said.spec
    assert (spec.id, spec.kind, spec.name, spec.parent, spec.owner) == ("d-1", "task", "f", "d", "n0")
    assert spec.deps == (dep.ref,) and spec.args.refs == ()
    assert (spec.demand, spec.retries, spec.returns) == ((("CPU", 10_000),), 3, 1)


def test_nothing_is_sent_if_an_argument_cannot_be_pickled(process, channel):
    with pytest.raises(TypeError, match="lock"):
        submit(process, np.zeros(100_000), threading.Lock())
    assert channel.posted == [] and channel.stored == {}


def test_a_cost_may_be_a_function_of_the_arguments(process, channel):
    submit(process, 3, options=build("task", {"cost": lambda n: n / 10}))
    assert channel.posted[0].spec.cost == 0.3


def test_large_arguments_go_out_as_puts_that_live_as_long_as_the_task_needs_them(process, channel):
    submit(process, 1, np.zeros(100_000), k="x")
    put, sub = channel.posted
    assert isinstance(put, m.PutObject) and isinstance(put.value, m.Stored)
    assert sub.spec.deps == (m.Ref("d-p0", "n0"),)
    process.flush()
    assert channel.posted[2] == m.DropRefs((("d-p0", 1), ("d-0.0", 1))) or len(channel.posted) == 3


def test_many_middling_arguments_are_put_until_the_rest_is_small(process, channel):
    submit(process, *[b"x" * 40_000 for _ in range(4)])
    assert [type(said).__name__ for said in channel.posted] == ["PutObject", "PutObject", "SubmitTask"]
    assert codec.size_of(channel.posted[-1].spec.args) <= m.INLINE_LIMIT_BYTES


def test_a_function_is_exported_before_it_can_refer_to_itself(process, channel):
    def f():
        return f

    ref = process.export(f, "f")
    assert ref == m.Ref("d-f0", "n0")
    assert channel.posted[0].function and channel.posted[0].id == "d-f0"


def test_a_ref_of_another_session_is_refused(process, channel):
    old = submit(Process(channel, "older"))[0]
    channel.posted.clear()
    for use in (lambda: submit(process, old), lambda: submit(process, [old]), lambda: process.get([old], None),
                lambda: process.put([old]), lambda: process.wait([old], 1, None)):  # fmt: skip
        with pytest.raises(ValueError, match="owner is unknown"):
            use()
    assert channel.posted == []


def test_a_taken_name_creates_nothing(process, channel):
    channel.answer = lambda message: m.RequestAnswered(message.request, False)
    with pytest.raises(errors.ActorAlreadyExistsError, match="'boss'"):
        process.submit("actor", "A", m.Ref("d-f0", "n0"), build("actor", {"name": "boss"}), (), {})
    assert channel.posted == []
    assert channel.asked[0][0].actor == m.Ref("d-0.0", "n0")


# ---------------------------------------------------------------- waiting


def test_get_asks_for_each_object_once_and_answers_for_each_place(process, channel):
    a, b = submit(process)[0], submit(process)[0]
    channel.answer = values("a", "b")
    assert process.get([a, b, a], None) == ["a", "b", "a"]
    assert channel.asked[0][0].refs == (a.ref, b.ref)


def test_get_raises_what_failed(process, channel):
    ref = submit(process)[0]
    failed = m.Failed(m.ErrorInfo("actor_died", "why"))
    channel.answer = lambda message: m.Values(message.request, (failed,))
    with pytest.raises(errors.ActorDiedError, match="why"):
        process.get([ref], None)


def test_a_timeout_is_told_to_the_node(process, channel):
    ref = submit(process)[0]
    with pytest.raises(errors.GetTimeoutError):
        process.get([ref], 0.5)
    assert channel.posted[-1] == m.Abandon(channel.asked[0][0].request)


def test_a_poll_says_so_and_nothing_is_a_timeout(process, channel):
    ref = submit(process)[0]
    channel.answer = lambda message: m.Values(message.request, ())
    with pytest.raises(TimeoutError):
        process.get([ref], 0)
    assert channel.asked[0][0].poll and channel.asked[0][1] is None


def test_an_interrupted_wait_is_abandoned(process, channel):
    ref = submit(process)[0]

    def interrupt(message):
        raise KeyboardInterrupt

    channel.answer = interrupt
    with pytest.raises(KeyboardInterrupt):
        process.get([ref], None)
    assert isinstance(channel.posted[-1], m.Abandon)


def test_an_answer_that_comes_too_late_gives_back_what_it_gave(process, channel):
    ref = submit(process)[0]
    with pytest.raises(TimeoutError):
        process.get([ref], 0.1)
    channel.posted.clear()
    inner = m.Ref("x-0.0", "n1")
    late = m.Values(1, (m.Stored(5, m.Block("w", 0, 0, ()), (inner,)),))
    handles, counted = process.requests.received(late)
    counted()
    process.flush()
    assert channel.posted == []  # as long as the answer lives
    del handles
    process.flush()
    assert channel.posted == [m.DropRefs((("x-0.0", 1),))]
    asked = channel.asked[-1][0]
    assert given_back(asked, late) == m.Unpin(((ref.ref.id, 1),))
    assert given_back(None, late) is None
    assert given_back(m.Allocate(1, "d-7", 5, 5, 5), m.Granted(1, 5)) == m.Deallocate("d-7")


def test_only_while_the_main_thread_waits_a_task_cannot_go_on(process, channel):
    channel.answer = values(1)
    ref = submit(process)[0]
    process.get([ref], None)
    process.enter("d-0", 0)
    process.get([ref], None)
    thread = threading.Thread(target=process.get, args=(submit(process), None))
    thread.start()
    thread.join()
    process.enter("d-1", 0)
    process.get([ref], None)
    assert [message.task for message, _ in channel.asked] == [None, "d-0", None, "d-1"]


def test_wait_keeps_the_order_and_never_gives_more_than_asked(process, channel):
    refs = [submit(process)[0] for _ in range(4)]
    channel.answer = lambda message: m.ReadyPositions(message.request, (1, 2, 3))
    ready, rest = process.wait(refs, 2, None)
    assert ready == [refs[1], refs[2]] and rest == [refs[0], refs[3]]


def test_wait_tells_what_is_there_when_the_time_is_up(process, channel):
    refs = [submit(process)[0] for _ in range(2)]
    channel.answer = lambda message: m.ReadyPositions(message.request, (1,)) if message.poll else None
    assert process.wait(refs, 2, 0.1) == ([refs[1]], [refs[0]])


# ---------------------------------------------------------------- references


def test_a_dead_handle_is_dropped_at_the_next_call(process, channel):
    ref = submit(process)[0]
    del ref
    gc.collect()
    process.put(1)
    assert [type(said).__name__ for said in channel.posted] == ["SubmitTask", "DropRefs", "PutObject"]
    assert channel.posted[1].ids == (("d-0.0", 1),)


def test_refs_inside_a_value_are_given_and_dropped_when_their_handles_are_gone(process, channel):
    inner = submit(process)[0]
    channel.answer = values([inner])
    (back,) = process.get([inner], None)
    assert back == [inner]
    del inner, back
    process.flush()
    assert channel.posted[-1] == m.DropRefs((("d-0.0", 2),))


# ---------------------------------------------------------------- running


def spec(**fields):
    given = {"kind": "task", "args": codec.encode_call((), {}).encoded.payload} | fields
    return m.TaskSpec(
        **{"id": "d-0", "name": "f", "parent": "d", "owner": "n0", "function": m.Ref("d-f0", "n0")} | given
    )


def run_of(function, *args, **fields):
    args_payload = codec.encode_call(args, {}).encoded.payload
    code = codec.encode(function, by_value=True).payload
    return m.RunTask(spec(args=args_payload, **fields), 0, (), code)


@pytest.fixture
def executor(process):
    return Executor(process)


def value_of(process, value):
    return codec.decode(value.payload, process.handles.adopt)


def test_a_task_runs_and_its_function_is_kept(executor, process):
    outcome = executor.run(run_of(lambda x: x + 1, 4))
    assert value_of(process, outcome.values[0]) == 5
    again = m.RunTask(spec(args=codec.encode_call((7,), {}).encoded.payload), 0)
    assert value_of(process, executor.run(again).values[0]) == 8


def test_several_results_are_one_value_each(executor, process):
    def pair():
        yield 1
        yield 2
        yield 3

    for function in (lambda: (1, 2), lambda: [1, 2], pair, lambda: np.array([1, 2])):
        outcome = Executor(process).run(run_of(function, returns=2))
        assert [value_of(process, value) for value in outcome.values] == [1, 2]


@pytest.mark.parametrize("result", [(1, 2, 3), [1], 5, iter([1])], ids=["more", "fewer", "one", "generator"])
def test_the_wrong_number_of_results_fails_them_all(result, executor):
    outcome = executor.run(
        run_of(lambda box: box[0], [list(result) if hasattr(result, "__next__") else result], returns=2)
    )
    first, second = outcome.values
    assert first == second and "num_returns=2" in first.error.message


def test_no_results_are_wanted(executor):
    assert executor.run(run_of(lambda: 5, returns=0)).values == ()


def test_a_large_result_goes_to_the_store_under_its_id(executor, channel):
    outcome = executor.run(run_of(lambda: bytes(200_000)))
    assert isinstance(outcome.values[0], m.Stored) and list(channel.stored) == ["d-0.0"]


def test_what_a_body_raises_is_the_value_of_all_its_results(executor):
    def bad():
        raise ValueError("no")

    outcome = executor.run(run_of(bad, returns=2))
    assert [value.error.kind for value in outcome.values] == ["task", "task"]
    assert (
        "in bad" in outcome.values[0].error.traceback
        and "executor.py" not in outcome.values[0].error.traceback
    )
    assert not outcome.retry


def test_an_exception_type_to_retry_on_is_recognised(executor):
    def bad():
        raise KeyError("no")

    on_value = build("task", {"retry_exceptions": [ValueError]}).retry_on
    on_lookup = build("task", {"retry_exceptions": [LookupError]}).retry_on
    assert not executor.run(run_of(bad, retry_on=on_value)).retry
    assert executor.run(run_of(bad, retry_on=on_lookup)).retry


def test_a_result_that_cannot_be_pickled_fails_the_task(executor):
    outcome = executor.run(run_of(lambda: [__import__("threading").Lock()]))
    assert "the result[0] cannot be pickled" in outcome.values[0].error.message


def test_leaving_the_worker_is_the_worlds_business(executor):
    def leave():
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        executor.run(run_of(leave))


def test_refs_among_the_arguments_that_live_on_are_kept(executor, process):
    kept = []
    __import__("builtins").keep_here = kept
    try:
        inner = submit(process)[0]
        foreign = process.handles.adopt(m.Ref("x-0.0", "n1"))
        run = run_of(lambda refs: __import__("builtins").keep_here.append(refs[1]), [foreign, foreign])
        other = run_of(lambda refs: None, [foreign])
        del foreign
        assert executor.run(other).kept == ()
        assert executor.run(run).kept == ()  # the function of the first is the one that was kept
        process.code.clear()
        assert executor.run(run).kept == (m.Ref("x-0.0", "n1"),)
        assert inner.ref not in executor.run(run).kept
    finally:
        del __import__("builtins").keep_here


def test_refs_inside_a_result_live_until_it_has_been_told(executor, process, channel):
    before = runtime.switch(process)
    try:
        outcome = executor.run(run_of(lambda: [runtime.current().put(1)]))
    finally:
        runtime.switch(before)
    process.flush()
    (inner,) = outcome.values[0].payload.refs
    assert [type(said).__name__ for said in channel.posted] == ["PutObject"]
    del outcome
    process.flush()
    assert channel.posted[-1] == m.DropRefs(((inner.id, 1),))


def test_an_actor_lives_from_its_constructor_on(executor, process):
    class Counter:
        def __init__(self, start):
            self.n = start

        def add(self, k):
            self.n += k
            return self.n

    made = executor.run(run_of(Counter, 10, kind="actor"))
    assert made.values == (m.Inline(m.Payload(b"")),)
    call = spec(
        id="d-1", kind="method", function=None, method="add", actor=m.Ref("d-0.0", "n0"),
        args=codec.encode_call((5,), {}).encoded.payload,
    )  # fmt: skip
    assert value_of(process, executor.run(m.RunTask(call, 0)).values[0]) == 15


def test_a_constructor_that_raises_is_an_actor_that_died_with_its_traceback(executor):
    class Bad:
        def __init__(self):
            raise ValueError("no such luck")

    (value,) = executor.run(run_of(Bad, kind="actor")).values
    assert value.error.kind == "actor_died"
    assert "no such luck" in value.error.message and "__init__" in value.error.traceback


def test_a_modelled_task_spends_its_cost_and_makes_its_bytes(executor, process, channel):
    outcome = executor.run(m.RunTask(spec(model=(10, 0, 200_000), returns=3, cost=0.5, function=None), 0))
    assert channel.spent == [0.5]
    small, none, large = outcome.values
    assert bytes(value_of(process, small)) == bytes(10) and bytes(value_of(process, none)) == b""
    assert isinstance(large, m.Stored) and large.size >= 200_000


def test_every_delicate_module_is_there():
    """They are named by text: one that was moved would be interrupted in the middle."""
    for name in DELICATE:
        assert find_spec(name.rstrip(".")) is not None, name
