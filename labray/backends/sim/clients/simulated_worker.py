"""A simulated worker: a queue of runs, one after the other in each slot, bodies on a fiber.

A body is ordinary blocking Python and really runs, in zero virtual time; what it costs (labray/costs.py) is
spent when it has run. A modelled task never enters the fiber, and is one event.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from greenlet import GreenletExit, getcurrent

from labray import messages as m
from labray.backends.sim.clients.body_fiber import BodyFiber
from labray.backends.sim.clients.execution_slots import ExecutionSlot
from labray.backends.sim.clients.simulated_client import SimClient
from labray.backends.sim.store.store_client import small_values
from labray.client import runtime
from labray.ids import ClientID, NodeID, TaskID

if TYPE_CHECKING:
    from labray.backends.ctrl_c import Interrupts
    from labray.backends.sim.clients.client_context import ClientContext
    from labray.backends.sim.hosts.endpoint import Endpoint
    from labray.client.executor import Executor
    from labray.client.process import Process


class SimWorker(SimClient):
    """One worker process. Its fiber is made with its first body and reused for all of them.

    make_executor: of what runs its bodies, over its process.
    """

    __slots__ = (
        "_around_s", "_begun", "_executor", "_make_executor", "_queue", "_since", "_slots", "alive", "fiber",
        "in_body", "interrupted",
    )  # fmt: skip

    def __init__(
        self, context: ClientContext, client: str, place: NodeID, daemon: Endpoint,
        make_executor: Callable[[Process, SimWorker, Interrupts], Executor],
    ) -> None:  # fmt: skip
        super().__init__(context, client, place, daemon, context.profile.taken_s)
        self.alive = True
        self._queue: list[m.RunTask] = []
        self._begun = self._around_s = 0.0  # what decodes and encodes is measured as part of the body
        self._since = 0.0  # when the oldest waiting post was posted
        self.fiber = BodyFiber(context, self)
        self._executor: Executor  # on the fiber
        self._make_executor = make_executor
        self.interrupted = False  # the running task is cancelled, and has not heard yet
        self.in_body = False
        self._slots: list[ExecutionSlot] = []  # of an actor that runs several calls at once

    # ------------------------------------------------------------ notices

    def receive(self, letters: Sequence[Any]) -> None:
        back: list[m.Recalled] = []
        for letter in letters:
            kind = type(letter)
            if kind is m.RunTask:
                self._queue.append(letter)
            elif kind is m.Recall:
                back.append(self._give_back(letter.tasks))
            elif kind is m.Interrupt:
                if any(run.spec.id == letter.task for run in self._queue):
                    back.append(self._give_back((letter.task,)))
                elif self._interrupt(letter):
                    return
            elif kind is m.TrimMemory:
                self.store_client.idle = 0
            elif hasattr(letter, "request"):
                if self._slots:
                    self._turn_to_who_asked(letter.request)
                self._answered(letter)
        if back:
            self.outbox.extend((self.place, self.client, recalled) for recalled in back)
            self.send_posts()
        if self._slots:
            self._fill()
        elif self.running is None:
            self._wake()

    def _wake(self) -> None:
        asleep_s = self._events.now - self.cpu.asleep_since
        self._next(self.host.waking_s(asleep_s), self._profile.woken_s(self._profile.taken_s, asleep_s))

    def _give_back(self, tasks: Sequence[TaskID]) -> m.Recalled:
        back = tuple(run.spec.id for run in self._queue if run.spec.id in tasks)
        self._queue = [run for run in self._queue if run.spec.id not in back]
        return m.Recalled(back)

    def _interrupt(self, notice: m.Interrupt) -> bool:
        """Of a cancelled task: it wakes at once from a wait or a sleep; what it computes, it computes to its end.

        By force the process is ended with it, and this returns True.
        """
        run = self.running
        if run is None or (run.spec.id, run.attempt) != (notice.task, notice.attempt):
            return False
        if notice.force:
            self.report_lost("what it ran was cancelled by force")
            return True
        if run.spec.model is not None:
            return False
        self.interrupted = True
        if self.awaiting is not None and self.in_body:  # not when it asks for room for its result
            self.awaiting = None
            self.cpu.begin_wait()
        elif self._sleeping is not None:
            self._sleeping.cancel()  # its waking is this one, and the only one
            self._sleeping = None
        else:
            return False
        self._events.after(0.0, self._here(self._resume))
        return False

    # ------------------------------------------------------------ one run after the other

    def _next(self, wake_s: float, taken_s: float = 0.0) -> None:
        """Nothing runs: begin what waits, or send what is left to say. For waking: elapsed, and CPU."""
        if self._late.replies:
            self._late.post_returns(self._process, self.outbox)
        now = self._events.now
        if not self._queue:
            self.cpu.asleep_since = now
            self.send_posts()
            return
        if self.outbox:
            self.costs.posts(now)  # they wait for company, and the thread that flushes is up
            if now - self._since >= self._profile.flush_s:
                self.send_posts()
        run = self.running = self._queue.pop(0)
        self.interrupted = False  # it was meant for one whose body had ended
        if self.context.crashes.planned:
            for after_s in self.context.crashes.task_begins(self.client):
                self._events.after(after_s, partial(self._crash, run))
        self._around_s = self.costs.run(run)
        cpu_s, self.debt_s = self.debt_s + taken_s + self._around_s, 0.0
        may_wait = self.context.limited and max(run.spec.model or (0,)) > m.INLINE_LIMIT_BYTES
        if run.spec.model is None or may_wait:
            self.cpu.work(wake_s, cpu_s, self._resume)
            return
        body_s = self.context.costs.seconds(run.spec, run.attempt, 0.0)
        if self.outbox and body_s >= self._patience_s:
            self.send_posts()  # it would wait behind a long task
        self.fiber.cpu_s = body_s
        self._begun = now + wake_s + cpu_s - self._around_s
        self.cpu.work(wake_s, cpu_s + body_s, self._modelled)

    def _modelled(self, moment: Any) -> None:
        self.cpu.end_wait()
        if not self.alive:
            return
        run = self.running
        assert run is not None
        values, spec = self.model_values(run), run.spec
        self._hand_in(
            m.Finished(spec.id, run.attempt, values, self._begun, self._events.now, self.fiber.cpu_s)
        )
        self._next(0.0)

    def model_values(self, run: m.RunTask) -> tuple[m.Value, ...]:
        """What a modelled task gives out. In a limited store, large values may have to wait: then on the fiber."""
        sizes = run.spec.model or ()
        try:
            return small_values(sizes) or self.store_client.store_modelled(run.spec.id, sizes)
        finally:
            for ref, value in zip(run.spec.deps, run.args, strict=False):
                if type(value) is m.Stored:
                    self.outbox.append((self.place, self.client, m.Unpin(((ref.id, 1),))))

    def _hand_in(self, finished: m.Finished) -> None:
        if not self.outbox:
            self._since = self._events.now
        self.outbox.append((self.place, self.client, finished))
        self.running = None

    # ------------------------------------------------------------ the fiber

    def _resume(self, moment: Any) -> None:
        """As an event: the fiber goes on, until it blocks or its body has ended."""
        self.cpu.end_wait()
        if not self.alive:
            return
        try:
            ended = self.fiber.enter(self._live, self._process)
        except KeyboardInterrupt:
            self.cpu.begin_wait()
            self._events.after(0.0, lambda moment: self._exited("it was interrupted"))
            raise
        if ended and self.alive:
            self._next(0.0)

    def _live(self) -> None:
        """The worker's main function, on its fiber."""
        if self._process is None:
            self._process = self.context.make_process(self)
            self._executor = self._make_executor(self._process, self, self.context.interrupts)
        process, executor, hub = self._process, self._executor, self.context.hub
        runtime.switch(process)
        while True:
            run = self.running
            assert run is not None
            self.fiber.cpu_s, self._begun = 0.0, self._events.now - self._around_s / self.host.speed
            try:
                outcome = executor.run(run)
                self._spend_body(run)
            except SystemExit as error:
                self.exit(f"its task raised SystemExit({error.code!r})")
                return
            finished = m.Finished(
                run.spec.id, run.attempt, outcome.values, self._begun, self._events.now, self.fiber.cpu_s,
                outcome.kept, outcome.retry,
            )  # fmt: skip
            if outcome.given is not None:
                outcome.given()
            self._hand_in(finished)
            del finished, outcome, run  # what the results refer to lived until they were posted
            if not self._queue:
                process.drop_dead_handles()
            hub.switch(True)

    def _spend_body(self, run: m.RunTask) -> None:
        """When a body has run, its cost passes, and all that it owes."""
        self.fiber.measure()
        body_s = self.fiber.cpu_s = self.context.costs.seconds(run.spec, run.attempt, self.fiber.cpu_s)
        if body_s > 0.0:
            self.spend(body_s)
        if self.debt_s > 0.0:
            self.settle()

    def _suspend(self) -> None:
        self.fiber.suspend()
        if not self.alive:
            raise GreenletExit
        if self.interrupted and self.in_body:
            self.interrupted, self._executor.process.execution.interrupted = False, True
            raise KeyboardInterrupt

    def check(self) -> None:
        if self.alive and not self.context.closed and getcurrent() is self.fiber.greenlet:
            return  # a fiber runs on no other thread than its own
        if not self.alive:
            raise GreenletExit  # a killed process makes no calls, not even from its finally blocks
        self.context.check(getcurrent() is self.fiber.greenlet)

    # ------------------------------------------------------------ several slots

    def widen(self, slots: int) -> None:
        """Its actor, which is being made on the first, has so many."""
        self._slots = [ExecutionSlot(BodyFiber(self.context, self)) for _ in range(slots)]
        self.slot = self._slots[0]
        self.cpu.in_slot = self._here

    def turn_to(self, slot: ExecutionSlot) -> None:
        before = self.slot
        if slot is before:
            return
        super().turn_to(slot)
        assert before is not None
        before.fiber, before.in_body, before.interrupted = self.fiber, self.in_body, self.interrupted
        before.begun, before.around_s = self._begun, self._around_s
        self.fiber, self.in_body, self.interrupted = slot.fiber, slot.in_body, slot.interrupted
        self._begun, self._around_s = slot.begun, slot.around_s

    def _fill(self) -> None:
        """Each free slot begins what waits, in order."""
        for slot in self._slots:
            self.turn_to(slot)
            if self.running is None:
                self._wake()
                if not self._queue:
                    return

    def _turn_to_who_asked(self, request: int) -> None:
        for slot in self._slots:
            if slot is not self.slot and slot.awaiting == request:
                self.turn_to(slot)
                return

    def runs(self) -> list[m.RunTask]:
        """What runs here."""
        runs = [self.running, *[slot.running for slot in self._slots if slot is not self.slot]]
        return [run for run in runs if run is not None]

    # ------------------------------------------------------------ death

    def exit(self, reason: str) -> None:
        """This process ends here and now, by its own code."""
        if self.outbox:
            self.settle()  # what it said before it died was said
        self.alive = False
        self.cpu.begin_wait()
        self._events.after(0.0, lambda moment: self._exited(reason))
        self._suspend()

    def _exited(self, reason: str) -> None:
        self.cpu.end_wait()
        self.report_lost(reason)

    def report_lost(self, reason: str) -> None:
        """It has been killed, or has ended: its node hears of it."""
        self.context.worker_lost(ClientID(self.client), reason)

    def _crash(self, run: m.RunTask, moment: Any) -> None:
        if self.alive and any(each is run for each in self.runs()):
            self.report_lost("the fault plan killed it")

    def begun(self) -> tuple[TaskID, ...]:
        """Those that ended and are not told of yet, and the one that runs."""
        unsaid = [message.task for _, _, message in self.outbox if type(message) is m.Finished]
        return (*unsaid, *(run.spec.id for run in self.runs()))

    def die(self) -> None:
        """Unwind the fiber; nothing it does is heard any more. From the hub."""
        self.alive = False
        self._queue.clear()
        self.outbox = []
        self.store_client.drop_untold()
        while self.cpu.waits:
            self.cpu.end_wait()
        for slot in self._slots:
            self.turn_to(slot)
            self.fiber.unwind(self._process)
        if not self._slots:
            self.fiber.unwind(self._process)
