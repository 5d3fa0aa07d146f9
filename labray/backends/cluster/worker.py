"""A worker process: takes tasks from its pipe one by one, and answers each.

It is forked from the template, single-threaded and without sockets of its own. When its daemon is gone the pipe ends
and so does the worker (end_of_worker.py).
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING

from labray.backends.cluster.channel import WireChannel
from labray.backends.cluster.end_of_worker import Ending
from labray.backends.cluster.frames import Hello, decode_notice, encode
from labray.backends.cluster.intake import Intake
from labray.backends.cluster.pipe import Closed, Pipe
from labray.backends.cluster.worker_output import WorkerOutput
from labray.ids import Place
from labray.messages import Finished
from labray.port import switch

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from labray.backends.cluster.frames import Segment, Withdrawn
    from labray.executor import Executor
    from labray.messages import Call, Notice
    from labray.process import Process


class PipeWire:
    """From a worker to its daemon. Sending and receiving are independent; each has one thread at a time."""

    def __init__(self, end: socket.socket, permits: int) -> None:
        self.intake = Intake(end.fileno(), permits)
        self._pipe = Pipe(end)
        self._readable = select.poll()
        self._readable.register(end, select.POLLIN)
        self._writable = select.poll()
        self._writable.register(end, select.POLLOUT)
        self._sending = threading.Lock()

    def send(self, messages: Sequence[Call | Segment | Hello], fd: int = -1) -> None:
        with self._sending:
            try:
                self._pipe.deliver(encode(messages), self._writable.poll, fd)
            except Closed:  # nobody hears it; who waits for an answer learns that
                return

    def receive(self, timeout: float | None) -> list[Notice | Withdrawn]:
        try:
            if timeout != 0:  # waiting first: to try in vain costs as much, and it mostly would be
                self.wait(timeout)
            with self.intake.lock:
                frame = self._pipe.receive()
                if frame is None:
                    return []
                notice = decode_notice(frame)
                self.intake.add(notice)
        except Closed:
            raise SystemExit(0) from None  # out of whatever runs
        return [notice]

    def wait(self, timeout: float | None) -> None:
        """Until there is something to read, or the time is up."""
        self._readable.poll(None if timeout is None else timeout * 1000)

    def interrupt(self, reason: BaseException) -> None:
        os._exit(0)

    def close(self) -> None:
        self._pipe.close()


def serve(
    end: socket.socket, permits: int, place: str, client: str, session: str, directory: str, speech: int
) -> None:
    """Run tasks until the pipe ends."""
    wire = PipeWire(end, permits)
    try:
        from labray.backends.cluster.interrupts import InterruptibleExecutor
        from labray.backends.cluster.wishes import wishes
        from labray.process import Process
    except BaseException:
        wire.send([Hello(os.getpid(), traceback.format_exc())])
        raise

    outputs = WorkerOutput(speech, False), WorkerOutput(speech, True)
    sys.stdout, sys.stderr = outputs
    os.set_inheritable(speech, False)
    channel = WireChannel(wire, Place(place), client, directory, wire.intake)
    process = Process(channel, session)
    channel.on_late(process.discard)
    switch(process)
    executor = InterruptibleExecutor(process, wishes(directory, client))
    ending = Ending()
    wire.send([Hello(os.getpid())])
    try:
        run_tasks(channel, process, executor, outputs, ending)
    finally:
        ending.finish(executor.forget_all, outputs)


def run_tasks(
    channel: WireChannel,
    process: Process,
    executor: Executor,
    outputs: Sequence[WorkerOutput],
    ending: Ending,
) -> None:
    """One after the other, until SystemExit: the pipe has ended, the body of one says so, or a signal."""
    pid = os.getpid()
    while not ending.begun:
        run = channel.take()
        WorkerOutput.running = run.spec
        cpu, begun = time.thread_time(), time.monotonic()
        outcome = executor.run(run)
        if os.getpid() != pid:  # the body has forked, and this is the child
            os._exit(0)
        ended = time.monotonic()
        used = time.thread_time() - cpu
        for output in outputs:
            output.end_line()
        channel.answer(
            Finished(
                run.spec.id, run.attempt, outcome.values, begun, ended, used, outcome.kept, outcome.retry
            ),
            outcome.given,
        )
        del run, outcome
        process.flush()  # a handle that ended with the task must not wait for the next one
