"""The pipe between daemon and worker, both halves real: whatever comes first, nothing is lost, swapped or run twice.

Each side is a greenlet that stops at every call of the system, and a drawn sequence says who goes on.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import pytest
from greenlet import getcurrent, greenlet
from hypothesis import given, settings
from hypothesis import strategies as st

from labray.backends.cluster.client.waiter import Waiter
from labray.backends.cluster.daemon import worker_link
from labray.backends.cluster.daemon.worker_link import WorkerLink
from labray.backends.cluster.wire import client_pipe, pipe
from labray.backends.cluster.wire.pipe import Pipe, pair
from labray.backends.cluster.worker import task_intake
from labray.backends.cluster.worker.worker_process import WorkerWire
from labray.ids import DRIVER, ClientID, NodeID, TaskID, task_id
from labray.messages import Payload, RunTask, TaskSpec, TrimMemory


def run_of(task: TaskID, size: int = 0) -> RunTask:
    return RunTask(TaskSpec(task, "task", "f", DRIVER, NodeID("n0"), None, Payload(bytes(size))), 0)


class Stopping:
    """The module `os`, for one side: it lets the other side go on before and after each call."""

    def __init__(self, pause: Callable[[], None]) -> None:
        self.pause = pause

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any) -> Any:
            self.pause()
            try:
                return getattr(os, name)(*args)
            finally:
                self.pause()

        return getattr(os, name) if name.isupper() else call


class Turns:
    """A lock whose holder may be stopped: whoever wants it meanwhile lets others go on."""

    def __init__(self, pause: Callable[[], None]) -> None:
        self.pause = pause
        self.held = False

    def acquire(self) -> bool:
        if self.held:
            return False
        self.held = True
        return True

    def release(self) -> None:
        self.held = False

    def __enter__(self) -> None:
        while not self.acquire():
            self.pause()

    def __exit__(self, *_: object) -> None:
        self.release()


class Wired:
    """A daemon that says and takes back at random, a worker that begins what it may, and a thread of its that reads."""

    def __init__(self, rng: Random, runs: int, sizes: tuple[int, ...]) -> None:
        self.rng = rng
        self.unsaid = [run_of(task_id("d", number), rng.choice(sizes)) for number in range(runs)]
        self.said: list[TaskID] = []  # in the order of the last time
        self.back: list[TaskID] = []
        self.gone: set[TaskID] = set()
        self.begun: list[TaskID] = []
        self.ended: list[TaskID] = []
        self.heard = 0
        self.working = True
        self.hub = getcurrent()
        self.member = WorkerLink(ClientID("n0/w0"))
        self.member.pipe.socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDBUF, 1
        )  # a few frames are all there is room for
        self.permits = os.dup(self.member.permits)
        self.wire = WorkerWire(self.member.theirs, self.permits)
        self.wire.intake.lock = Turns(self.pause)  # type: ignore[assignment]
        self.baton = Turns(self.pause)
        self.taker = Waiter()
        self.inbox: deque[Any] = deque()
        self.taker.answer = TrimMemory()  # anything: it does not wait yet

    def close(self) -> None:
        os.close(self.permits)
        self.member.release()

    def pause(self) -> None:
        if getcurrent() is not self.hub:
            self.hub.switch()

    # ------------------------------------------------------------ the daemon

    def daemon(self, steps: int) -> None:
        deeds = [self.say, self.tell, self.take_back, self.hear, self.flush]
        odds = [self.rng.random() for _ in deeds]
        for _ in range(steps):
            self.rng.choices(deeds, odds)[0]()
        self.settle()

    def settle(self) -> None:
        """All is said, and what the worker had no room for follows."""
        while self.unsaid:
            self.say()
        while not self.member.send_queued() or len(self.begun) < len(self.said):
            self.pause()
            if not self.working:
                return

    def say(self) -> None:
        if self.unsaid:
            run = self.unsaid.pop(0)
            self.said.append(run.spec.id)
            self.member.queue(run)

    def tell(self) -> None:
        self.member.queue(TrimMemory())

    def flush(self) -> None:
        self.member.send_queued()

    def hear(self) -> None:
        for task in self.ended[self.heard :]:
            self.member.ended(task)
            self.heard += 1

    def take_back(self) -> None:
        wanted = self.rng.sample(self.said, self.rng.randint(0, len(self.said)))
        back = self.member.take_back(frozenset(wanted))
        assert set(back) <= set(wanted)
        assert not set(back) & set(self.begun), "what was taken back had begun"
        assert [task for task in self.said if task in back] == list(back), "given back in another order"
        self.said = [task for task in self.said if task not in back]
        self.back += back
        if self.rng.random() < 0.5:
            self.unsaid += [run_of(task) for task in back]  # the same again, behind the others
        else:
            self.gone |= {*back}

    # ------------------------------------------------------------ the worker

    def main(self) -> None:
        """It does what ClusterChannel.take_task does."""
        while True:
            self.taker.answer = None
            self.wire.intake.offer(self.taker)
            while self.taker.answer is None:
                self.read()
            self.begun.append(self.taker.answer.spec.id)  # type: ignore[union-attr]
            for _ in range(self.rng.randint(0, 3)):
                self.pause()
            self.ended.append(self.begun[-1])

    def thread(self) -> None:
        """Another thread that waits for an answer, and reads for all."""
        while True:
            self.read()

    def read(self) -> None:
        self.pause()
        if self.baton.acquire():
            try:
                if self.wire.receive(0, self.inbox):
                    self.wire.intake.offer(self.taker)
            finally:
                self.baton.release()


@contextmanager
def wired_up(seed: int, runs: int, sizes: tuple[int, ...]) -> Iterator[Wired]:
    """Both sides, with the module `os` and the pipe that stop them."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (pipe, client_pipe):  # a larger one goes in pieces, and there is room for few
            patch.setattr(module, "LARGEST_FRAME_BYTES", 1500)
        made: list[Wired] = []
        for module in (worker_link, task_intake):
            patch.setattr(module, "os", Stopping(lambda: made[0].pause() if made else None))
        wired = Wired(Random(seed), runs, sizes)
        made.append(wired)
        for kind, name in ((Pipe, "offer"), (Pipe, "receive"), (client_pipe.ClientPipe, "receive")):
            patch.setattr(kind, name, stopped_before(getattr(kind, name), wired.pause))
        yield wired
    wired.close()


def stopped_before(function: Callable[..., Any], pause: Callable[[], None]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        pause()
        return function(*args)

    return call


def turn(wired: Wired, steps: int, lifetime: int, patience: int = 200_000) -> None:
    """Let them go on in an order drawn, until the daemon has done; the worker is killed after `lifetime` turns."""
    daemon = greenlet(lambda: wired.daemon(steps))
    sides = [daemon, greenlet(wired.main), greenlet(wired.thread)]
    odds = [wired.rng.uniform(0.1, 1.0) for _ in sides]
    for turns in range(patience):
        wired.working = turns < lifetime
        (wired.rng.choices(sides, odds)[0] if wired.working else daemon).switch()
        if daemon.dead:
            return
    raise AssertionError(f"stuck: said {wired.said}, begun {wired.begun}")


RUNS, STEPS = st.integers(1, 24), st.integers(1, 80)
SIZES = st.sampled_from([(0,), (0, 1000), (0, 2000, 20_000)])


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**40), runs=RUNS, steps=STEPS, sizes=SIZES)
def test_all_that_is_not_taken_back_begins_once_in_the_order_in_which_it_was_said(
    seed: int, runs: int, steps: int, sizes: tuple[int, ...]
) -> None:
    with wired_up(seed, runs, sizes) as wired:
        turn(wired, steps, lifetime=10**9)
        assert wired.begun == wired.said
        assert {*wired.begun, *wired.gone} == {task_id("d", number) for number in range(runs)}
        assert not {*wired.begun} & wired.gone


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 2**40),
    runs=RUNS,
    steps=STEPS,
    lifetime=st.integers(0, 600),
    sizes=SIZES,
)
def test_of_a_worker_that_dies_at_any_moment_what_had_begun_is_known_and_all_else_is_back(
    seed: int,
    runs: int,
    steps: int,
    lifetime: int,
    sizes: tuple[int, ...],
) -> None:
    with wired_up(seed, runs, sizes) as wired:
        turn(wired, steps, lifetime)
        wired.hear()
        left = list(wired.member.begun_tasks())
        unheard = [task for task in wired.begun if task not in wired.ended]
        at = len(wired.ended)
        assert left in (unheard, wired.said[at : at + 1]), "and at most one for which it had the permit"
        assert wired.begun == wired.said[: len(wired.begun)]


def test_what_is_taken_back_of_a_worker_that_does_nothing_is_all_it_has_not_begun() -> None:
    """It may be stopped, or in a C call: nothing is asked of it."""
    stopped = WorkerLink(ClientID("n0/w0"))
    runs = [run_of(task_id("d", number)) for number in range(5)]
    for run in runs:
        stopped.queue(run)
    assert stopped.send_queued()
    assert os.eventfd_read(stopped.permits) == 1  # its first act was to begin the first; then it was stopped
    assert stopped.take_back({runs[3].spec.id, runs[0].spec.id}) == (runs[3].spec.id,)
    assert stopped.send_queued()
    assert stopped.take_back({run.spec.id for run in runs}) == tuple(runs[at].spec.id for at in (1, 2, 4))
    assert stopped.begun_tasks() == (runs[0].spec.id,)
    stopped.release()


def test_who_looked_for_a_permit_in_vain_is_told_when_there_are_some_again() -> None:
    asked = WorkerLink(ClientID("n0/w0"))
    wire, taker = WorkerWire(asked.theirs, asked.permits), Waiter()
    runs = [run_of(task_id("d", number)) for number in range(3)]
    for run in runs:
        asked.queue(run)
    asked.send_queued()
    inbox: deque[Any] = deque()
    while wire.receive(0, inbox):
        pass
    wire.intake.offer(taker)
    assert taker.answer == runs[0]
    assert asked.take_back({runs[0].spec.id}) == ()  # too late; and until it is known, nothing else begins
    taker.answer = None
    wire.intake.offer(taker)
    assert taker.answer is None
    asked.send_queued()
    assert wire.receive(0, inbox)
    wire.intake.offer(taker)
    assert taker.answer == runs[1]
    asked.release()


def test_what_a_worker_said_before_it_died_is_heard_though_it_left_something_unread() -> None:
    ours, theirs = pair()
    daemon, worker = Pipe(ours), Pipe(theirs)
    daemon.send(b"unread")
    worker.send(b"last words")
    worker.close()
    assert bytes(daemon.receive() or b"") == b"last words"
    daemon.close()
