"""What is particular to the backend `inline`: one thread, and no price for what is pending."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import structs

import labray as ray
from labray import session
from labray.client import runtime
from labray.errors import DeadlockError, GetTimeoutError, LabraySystemError, SessionError


@pytest.fixture
def inline() -> Iterator[None]:
    ray.init("inline", num_cpus=2)
    yield
    ray.shutdown()


@ray.remote
def same(x: Any) -> Any:
    return x


def one_by_one(n: int) -> float:
    """CPU seconds."""
    began = time.process_time()
    rest = [same.remote(i) for i in range(n)]
    while rest:
        _, rest = ray.wait(rest)
    return time.process_time() - began


def test_what_is_pending_costs_nothing(inline: None) -> None:
    """A square took 90 times as long; what is left is the list that wait() is given and reads."""
    one_by_one(50)
    few = min(one_by_one(200) for _ in range(3))
    assert min(one_by_one(1600) for _ in range(3)) < 40 * few


def all_together(count: int) -> float:
    """CPU seconds."""
    refs = [same.remote(i) for i in range(count)]
    began = time.process_time()
    assert len(ray.wait(refs, num_returns=count)[0]) == count
    return time.process_time() - began


def test_what_exists_is_looked_at_once_by_who_waits_for_all(inline: None) -> None:
    """A square would be 64 times as long."""
    all_together(50)
    few = min(all_together(200) for _ in range(3))
    assert all_together(1600) < 40 * few


order: list[int] = []


@ray.remote
def note(i: int) -> int:
    from tests.worlds import test_inline  # the function is a copy, and the module is not

    test_inline.order.append(i)
    return i


@ray.remote
def parent() -> list[int]:
    refs = [note.remote(i) for i in range(5)]
    assert ray.get(refs[3]) == 3
    assert ray.wait(refs, num_returns=1)[0] == [refs[3]]
    return ray.get(refs)


def test_tasks_inside_tasks_take_what_they_wait_for_first(inline: None) -> None:
    order.clear()
    assert ray.get(parent.remote()) == [0, 1, 2, 3, 4]
    assert order[0] == 3 and sorted(order) == [0, 1, 2, 3, 4]


def test_wait_tells_what_exists_and_no_more_than_asked_for(inline: None) -> None:
    refs = [same.remote(i) for i in range(6)]
    ray.get(refs[4])  # in their order: so 0 to 4 have run
    assert ray.wait(refs, num_returns=2) == (refs[:2], refs[2:])
    assert ray.wait(refs[4:], num_returns=2) == (refs[4:], [])


def test_another_thread_is_told_at_once(inline: None) -> None:
    ref = same.remote(1)
    told: list[str] = []

    def other() -> None:
        for call in (
            lambda: ray.get(ref),
            lambda: same.remote(2),
            lambda: ray.put(3),
            lambda: ray.wait([ref]),
        ):
            try:
                call()
            except LabraySystemError as error:
                told.append(str(error))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join(10)
    assert len(told) == 4 and all("is one thread" in text for text in told)
    assert ray.get(ref) == 1


def test_a_node_that_was_interrupted_at_work_is_not_gone_on_with(inline: None) -> None:
    class Stop(BaseException):
        pass

    node = session.running().places["n0"]  # type: ignore[attr-defined]
    handle, node.handle = node.handle, lambda *_: (_ for _ in ()).throw(Stop())
    with pytest.raises(Stop):
        same.remote(1)
    node.handle = handle
    with pytest.raises(SessionError, match="Stop was raised while its node was at work"):
        ray.put(1)


def test_queued_tasks_do_not_run_because_others_are_cancelled(inline: None) -> None:
    """Each 32nd call let the oldest run, as if who cancels were polling: all of its time, and then it counted."""
    order.clear()
    refs = [note.remote(i) for i in range(100)]
    for ref in refs:
        ray.cancel(ref)
    with pytest.raises(ray.errors.TaskCancelledError):
        ray.get(refs[0])
    assert order == []


@ray.remote
class Pair:
    """Has two slots below: no option asks for them yet."""

    def ask(self, me: Any) -> tuple[Any, str, str]:
        before = runtime.current().task
        answer = ray.get(me.answer.remote())
        return answer, before, runtime.current().task

    def answer(self) -> str:
        return ray.get(same.remote(str(runtime.current().task)))  # type: ignore[no-any-return]


def test_a_call_may_wait_for_another_of_its_actor_that_has_a_second_slot(inline: None) -> None:
    changed = Pair.options()
    changed._options = structs.replace(changed._options, slots=2)
    pair = changed.remote()
    for _ in range(2):
        ref = pair.ask.remote(pair)
        answer, before, after = ray.get(ref)
        assert before == after == ref.task_id() != answer


@ray.remote
class Caller:
    def wait_for_own_call(self, own: Any) -> Any:
        return ray.get(own.answer.remote())

    def wait_a_little(self, own: Any) -> str:
        try:
            return str(ray.get(own.answer.remote(), timeout=0.05))
        except GetTimeoutError:
            return "too late"

    def answer(self) -> int:
        return 2


def test_an_actor_that_waits_for_a_call_queued_behind_its_own_is_told_of_the_deadlock(inline: None) -> None:
    """The node set the alarm of its pipes again for ever, and so there was always one more to wait for."""
    caller = Caller.remote()
    with pytest.raises(DeadlockError, match=r"(?s)Caller.answer.*waits for its turn behind Caller.wait"):
        ray.get(caller.wait_for_own_call.remote(caller))
    assert ray.get(caller.answer.remote()) == 2
    assert ray.get(caller.wait_a_little.remote(caller)) == "too late"
