"""A worker process: takes tasks from its pipe one by one, and answers each.

It is forked from the template, single-threaded and without sockets of its own. When its daemon is gone the pipe ends
and so does the worker (worker_exit.py).
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
import traceback
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from labray.backends.cluster.client.cluster_channel import ClusterChannel
from labray.backends.cluster.wire.client_pipe import ClientPipe, ReadyPoll, WakeupBell
from labray.backends.cluster.wire.frames import WorkerHello, decode_notice, encode
from labray.backends.cluster.wire.pipe import PipeClosed
from labray.backends.cluster.worker.task_intake import TaskIntake
from labray.backends.cluster.worker.worker_exit import WorkerExit
from labray.backends.cluster.worker.worker_output import WorkerOutput
from labray.client.runtime import switch
from labray.client.uninterrupted import at_once
from labray.ids import NodeID
from labray.messages import Finished

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from labray.client.executor import Executor
    from labray.client.process import Process
    from labray.messages import RunTask


class WorkerWire:
    """From a worker to its daemon. Sending and receiving are independent; each has one thread at a time."""

    def __init__(self, end: socket.socket, permits: int) -> None:
        self.intake = TaskIntake(end.fileno(), permits)
        self._end = ClientPipe(end)
        self.queue = self._end.queue
        self._bell = WakeupBell()
        self._readable = ReadyPoll((end.fileno(), select.POLLIN), (self._bell.fd, select.POLLIN))
        self._writable = ReadyPoll((end.fileno(), select.POLLOUT))

    def push(self) -> None:
        try:
            self._end.send(self._writable.wait)
        except PipeClosed:  # nobody hears it; who waits for an answer learns that
            return

    def receive(self, timeout: float | None, inbox: deque[Any]) -> bool:
        try:
            if timeout != 0 and not self._end.has_frame:  # trying in vain costs as much, and mostly would be
                self._wait(timeout)
            with self.intake.lock:
                got = self._end.receive()
                if got is None:
                    return False
                frame, taken = got
                notice = decode_notice(frame)
                add = self.intake.adding(notice)
                try:
                    at_once(*taken, partial(inbox.append, notice) if add is None else add)
                except LookupError:  # a signal handler called labray, and has taken it
                    return True
        except PipeClosed:
            raise SystemExit(0) from None  # out of whatever runs
        return True

    def _wait(self, timeout: float | None) -> None:
        for fd, _ in self._readable.wait(timeout):
            if fd == self._bell.fd:
                self._bell.hush()

    def nudge(self) -> None:
        self._bell.ring()

    def interrupt(self, reason: BaseException) -> None:
        os._exit(0)

    def close(self) -> None:
        self._end.close()


def serve(
    end: socket.socket, permits: int, place: str, client: str, session: str, directory: str, speech: int
) -> None:
    """Run tasks until the pipe ends."""
    wire = WorkerWire(end, permits)
    try:
        from labray.backends.cluster.worker.interrupt_requests import interrupt_file
        from labray.backends.cluster.worker.task_interrupts import InterruptibleExecutor
        from labray.client.process import Process
    except BaseException:
        wire.queue(encode([WorkerHello(os.getpid(), traceback.format_exc())]))()
        wire.push()
        raise

    outputs = WorkerOutput(speech, False), WorkerOutput(speech, True)
    sys.stdout, sys.stderr = outputs
    os.set_inheritable(speech, False)
    channel = ClusterChannel(wire, NodeID(place), client, directory, wire.intake)
    process = Process(channel, session)
    channel.on_answer(process.requests.received)
    switch(process)
    executor = InterruptibleExecutor(process, interrupt_file(directory, client))
    ending = WorkerExit()
    wire.queue(encode([WorkerHello(os.getpid())]))()
    wire.push()
    try:
        run_tasks(channel, process, executor, outputs, ending)
    finally:
        ending.finish(executor.forget_all, outputs)


def run_tasks(
    channel: ClusterChannel,
    process: Process,
    executor: Executor,
    outputs: Sequence[WorkerOutput],
    ending: WorkerExit,
) -> None:
    """One after the other, until SystemExit: the pipe has ended, the body of one says so, or a signal."""
    pid = os.getpid()
    begun: list[RunTask] = []
    while not ending.begun:
        try:
            run_one(channel, executor, outputs, begun, pid)
            process.flush()  # a handle that ended with the task must not wait for the next one
        except SystemExit:
            raise
        except BaseException:  # noqa: BLE001  (of a signal that came when no task ran: it is nobody's)
            _tell_of_stray()


def run_one(
    channel: ClusterChannel,
    executor: Executor,
    outputs: Sequence[WorkerOutput],
    begun: list[RunTask],
    pid: int,
) -> None:
    """Take a task, run it and answer. Whatever is raised in between: what is taken is run once, and answered once."""
    run = channel.take()
    start = time.monotonic()
    if begun and begun[0] is run:
        _fail(channel, executor, run, start, RuntimeError("it was interrupted at its end, and then again"))
        return
    try:
        begun[:] = [run]
        WorkerOutput.running = run.spec
        cpu = time.thread_time()
        outcome = executor.run(run)
        if os.getpid() != pid:  # the body has forked, and this is the child
            os._exit(0)
        ended, used = time.monotonic(), time.thread_time() - cpu
        for output in outputs:
            output.end_line()
        values, kept, retry, given = outcome.values, outcome.kept, outcome.retry, outcome.given
        channel.answer(Finished(run.spec.id, run.attempt, values, start, ended, used, kept, retry), given)
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001  (the task's alarm, after its body and before its end was told)
        _fail(channel, executor, run, start, error)
    begun.clear()


def _fail(
    channel: ClusterChannel, executor: Executor, run: RunTask, start: float, error: BaseException
) -> None:
    while channel.is_owed(run):
        try:
            values = executor.failed(run, error)
            channel.answer(Finished(run.spec.id, run.attempt, values, start, time.monotonic(), 0.0))
        except SystemExit:
            raise
        except BaseException as another:  # noqa: BLE001  (another of them)
            error = another


def _tell_of_stray() -> None:
    with contextlib.suppress(BaseException):
        traceback.print_exc()
