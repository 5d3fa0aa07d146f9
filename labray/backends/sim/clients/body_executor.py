"""Bodies of simulated tasks that can be cancelled while they wait."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from greenlet import GreenletExit

from labray.client.executor import Executor, TaskOutcome, leaves
from labray.errors import LabrayError
from labray.messages import Failed, RunTask, TaskSpec
from labray.serialization.identities import IdentityTable

if TYPE_CHECKING:
    from labray.backends.ctrl_c import Interrupts
    from labray.backends.sim.clients.simulated_worker import SimWorker
    from labray.client.process import Process
    from labray.ids import ObjectID


class BodyExecutor(Executor):
    """An Executor whose bodies can be interrupted while they wait."""

    def __init__(self, process: Process, worker: SimWorker, interrupts: Interrupts) -> None:
        super().__init__(process, self._is_the_worlds)
        self._worker = worker
        process.known = IdentityTable()
        self._interrupts = interrupts

    def run(self, run: RunTask) -> TaskOutcome:
        self._interrupts.rang = False  # an earlier body may have gone on all the same
        return super().run(run)

    def _is_the_worlds(self, error: BaseException) -> bool:
        """An exit, the end of a killed worker's fiber, or the user's Ctrl-C, which ends the simulation's step."""
        return leaves(error) or issubclass(type(error), GreenletExit) or self._interrupts.caught(error)

    def _pretend(self, spec: TaskSpec, sizes: Sequence[int]) -> TaskOutcome:
        """Its cost is the world's business."""
        run = self._worker.running
        assert run is not None
        try:
            return TaskOutcome(self._worker.model_values(run))
        except LabrayError as error:
            return TaskOutcome((Failed(self._told(spec, error)),) * spec.returns)

    def _perform(self, run: RunTask) -> Any:
        """The last views on the arguments die with the call that took them, before its result is stored.

        Not so in limited stores, which forget at once what is viewed: the real ones refuse a little more often.
        """
        if run.spec.kind == "actor":
            self._worker.creation = run
            if run.spec.slots > 1:
                self._worker.widen(run.spec.slots)
        arguments: list[ObjectID] = []
        if not self._worker.context.limited:
            self._worker.viewed = arguments
        try:
            return super()._perform(run)
        finally:
            self._worker.viewed = None
            self._worker.looks_away(arguments)

    def call(self, target: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        worker = self._worker
        if worker.interrupted:
            worker.interrupted, self.process.execution.interrupted = False, True
            raise KeyboardInterrupt
        worker.in_body, worker.viewed, worker.looks = True, None, 0
        try:
            return target(*args, **kwargs)
        finally:
            worker.in_body = worker.interrupted = False
