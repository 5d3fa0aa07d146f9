"""max_pending_calls: how many calls of one process may wait at an actor or run."""

from __future__ import annotations

from typing import Any

import pytest

import labray
from labray.errors import PendingCallsLimitExceeded

BACKENDS = ["cluster", "sim", "inline"]
PATIENCE_S = 20.0


@labray.remote(max_pending_calls=3)
class Slow:
    def __init__(self) -> None:
        self.calls = 0

    def call(self) -> int:
        labray.sleep(0.05)
        self.calls += 1
        return self.calls

    def quick(self) -> int:
        return self.calls


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_call_too_many_is_refused_at_the_call_and_the_others_are_made(backend: str) -> None:
    labray.init(backend, num_cpus=2)
    slow = Slow.remote()
    refs = [slow.call.remote() for _ in range(3)]
    with pytest.raises(PendingCallsLimitExceeded, match="max_pending_calls=3"):
        slow.call.remote()
    assert labray.get(refs) == [1, 2, 3]
    assert labray.get([slow.call.remote() for _ in range(3)]) == [4, 5, 6]


@pytest.mark.processes
def test_ten_thousand_calls_in_a_row_never_have_more_than_the_limit_on_the_way() -> None:
    labray.init("cluster", num_cpus=1)
    slow = Slow.options(max_pending_calls=100).remote()
    made, refs = 0, list[Any]()
    for _ in range(10_000):
        try:
            refs.append(slow.quick.remote())
            made += 1
        except PendingCallsLimitExceeded:
            refs = refs[-100:]
            labray.get(refs[len(refs) // 2])
        calls = labray.client.runtime.current().requests._calls  # type: ignore[attr-defined]
        assert all(len(waiting) <= 100 for waiting in calls.values())
    assert labray.get(refs[-1], timeout=PATIENCE_S) == 0
    assert made > 1000


@pytest.mark.parametrize("limit", [-1, 0])
def test_without_a_limit_there_is_none(limit: int) -> None:
    labray.init("sim", num_cpus=2)
    slow = Slow.options(max_pending_calls=limit).remote()
    assert labray.get([slow.quick.remote() for _ in range(1000)])[-1] == 0


def test_every_process_has_the_limit_to_itself_whoever_made_the_actor() -> None:
    labray.init("sim", num_cpus=2)
    slow = Slow.remote()

    @labray.remote
    def crowd(actor: Any) -> int:
        return len(labray.get([actor.call.remote() for _ in range(3)]))

    refs = [slow.call.remote() for _ in range(3)]
    assert labray.get([crowd.remote(slow), crowd.remote(slow)]) == [3, 3]
    assert len(labray.get(refs)) == 3


def test_calls_whose_refs_were_dropped_count_until_they_are_over() -> None:
    labray.init("sim", num_cpus=2)
    slow = Slow.remote()
    for _ in range(3):
        slow.call.remote()
    with pytest.raises(PendingCallsLimitExceeded):
        slow.call.remote()
    labray.sleep(1.0)
    assert labray.get(slow.call.remote()) == 4


@pytest.mark.parametrize("bad", [-2, 1.5, "many"])
def test_a_limit_that_is_none_is_refused(bad: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="max_pending_calls"):
        labray.remote(max_pending_calls=bad)(type("A", (), {}))
