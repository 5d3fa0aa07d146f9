"""What is sent to a worker and taken back, on real processes: no call overtakes another, no session ends by itself."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

import labray
from labray.errors import TaskCancelledError

pytestmark = pytest.mark.processes

PATIENCE_S = 30.0


@labray.remote
def part(number: int) -> int:
    return number


@labray.remote
def total(refs: list[Any]) -> int:
    return sum(labray.get(refs))


@labray.remote
def tree(depth: int) -> int:
    return 1 if depth == 0 else 1 + sum(labray.get([tree.remote(depth - 1) for _ in range(2)]))


@labray.remote
class Diary:
    def __init__(self) -> None:
        self.seen: list[int] = []

    def note(self, number: int) -> int:
        self.seen.append(number)
        return number

    def read(self) -> list[int]:
        return self.seen


@pytest.mark.parametrize(("cpus", "rounds"), [(1, 300), (2, 1500)])
def test_nested_tasks_sent_and_recalled_at_every_moment_do_not_end_the_session(
    cpus: int, rounds: int
) -> None:
    """It ended after 15 to 10,000 rounds: frames overtook each other, and the first in the pipe was blamed."""
    labray.init("cluster", num_cpus=cpus)
    for _ in range(rounds):
        refs = [part.remote(number) for number in range(5)]
        assert labray.get(total.remote(refs), timeout=PATIENCE_S) == 10
    assert labray.get([tree.remote(3) for _ in range(4)], timeout=PATIENCE_S) == [15] * 4


def test_an_actors_calls_begin_in_order_while_queued_ones_are_cancelled() -> None:
    """Those behind a cancelled one were sent again, and could be overtaken by what the actor had not read."""
    labray.init("cluster", num_cpus=2)
    for _ in range(30):
        diary = Diary.remote()
        calls = [diary.note.remote(number) for number in range(200)]
        for number in range(3, 200, 7):
            labray.cancel(calls[number])
        gone = set()
        for number, call in enumerate(calls):
            try:
                assert labray.get(call, timeout=PATIENCE_S) == number
            except TaskCancelledError:
                gone.add(number)
        assert gone <= set(range(3, 200, 7))
        seen = labray.get(diary.read.remote(), timeout=PATIENCE_S)
        assert seen == sorted(seen) and {*range(200)} - gone <= {*seen}
        assert len(seen) == len({*seen})


@labray.remote(max_retries=0)
def stubborn(runs_on: bool) -> bool:
    while runs_on:
        try:
            time.sleep(600)
        except KeyboardInterrupt:
            continue
    return runs_on


def test_a_forced_cancel_ends_what_runs_wherever_it_is_in_its_pipe_and_nothing_that_waits() -> None:
    """What was first in the pipe was taken to run: behind one whose end was under way nobody was killed."""
    labray.init("cluster", num_cpus=1)
    for at in (0, 1, 5, 20, 40):
        assert labray.get([stubborn.remote(False) for _ in range(100)], timeout=PATIENCE_S) == [False] * 100
        refs = [stubborn.remote(number == at) for number in range(60)]
        assert labray.get(refs[:at], timeout=PATIENCE_S) == [False] * at
        labray.cancel(refs[at], force=True)
        with pytest.raises(TaskCancelledError):
            labray.get(refs[at], timeout=PATIENCE_S)
        assert labray.get(refs[at + 1 :], timeout=PATIENCE_S) == [False] * (59 - at)


def test_what_a_thread_of_a_worker_asks_and_what_its_main_thread_is_to_run_do_not_wait_for_each_other() -> (
    None
):
    """A thread that waits for an answer reads the pipe for all: also what the main thread may begin."""

    @labray.remote
    class Busy:
        def __init__(self) -> None:
            self.got: list[int] = []
            self.stop = False
            self.thread = threading.Thread(target=self.ask)
            self.thread.start()

        def ask(self) -> None:
            while not self.stop:
                self.got.append(labray.get(part.remote(len(self.got))))

        def note(self, number: int) -> int:
            return number

        def end(self) -> bool:
            self.stop = True
            self.thread.join()
            return self.got == list(range(len(self.got)))

    labray.init("cluster", num_cpus=2)
    busy = Busy.remote()
    for _ in range(20):
        calls = [busy.note.remote(number) for number in range(50)]
        assert labray.get(calls, timeout=PATIENCE_S) == list(range(50))
        assert labray.get(busy.note.remote(1), timeout=PATIENCE_S) == 1
    assert labray.get(busy.end.remote(), timeout=PATIENCE_S)


@labray.remote
def shout(size: int) -> None:
    raise ValueError("a" * size)


@labray.remote
def lot(number: int) -> bytes:
    return bytes([number]) * 90_000


def test_the_rest_of_a_frame_that_is_larger_than_the_wire_holds_follows_though_nothing_else_is_said() -> None:
    """The daemon took a large frame of which some had gone for sent: the driver waited for the rest for ever."""
    labray.init("cluster", num_cpus=2)
    refs = [lot.remote(number) for number in range(100)]  # values that go inside messages: one frame of 9 MB
    labray.wait(refs, num_returns=100)
    assert labray.get(refs, timeout=PATIENCE_S) == [bytes([number]) * 90_000 for number in range(100)]
    with pytest.raises(ValueError, match="aaa"):
        labray.get(shout.remote(10_000_000), timeout=PATIENCE_S)
