"""Bodies of simulated tasks that can be cancelled while they wait."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from greenlet import GreenletExit

from labray.errors import LabrayError
from labray.executor import Executor, Outcome, leaves
from labray.identities import Known
from labray.messages import Failed, Run, Spec

if TYPE_CHECKING:
    from labray.backends.ctrl_c import Interrupts
    from labray.backends.sim.workers import Worker
    from labray.ids import ObjectID
    from labray.process import Process


class Body(Executor):
    """An Executor whose bodies can be interrupted while they wait."""

    def __init__(self, process: Process, worker: Worker, interrupts: Interrupts) -> None:
        super().__init__(process, self._is_the_worlds)
        self._worker = worker
        process.known = Known()
        self._interrupts = interrupts

    def run(self, run: Run) -> Outcome:
        self._interrupts.rang = False  # an earlier body may have gone on all the same
        return super().run(run)

    def _is_the_worlds(self, error: BaseException) -> bool:
        """An exit, the end of a killed worker's fiber, or the user's Ctrl-C, which ends the simulation's step."""
        return leaves(error) or issubclass(type(error), GreenletExit) or self._interrupts.caught(error)

    def _pretend(self, spec: Spec, sizes: Sequence[int]) -> Outcome:
        """Its cost is the world's business."""
        run = self._worker.running
        assert run is not None
        try:
            return Outcome(self._worker.model_values(run))
        except LabrayError as error:
            return Outcome((Failed(self._told(spec, error)),) * spec.returns)

    def _perform(self, run: Run) -> Any:
        """The last views on the arguments die with the call that took them, before its result is stored.

        Not so in limited stores, which forget at once what is viewed: the real ones refuse a little more often.
        """
        if run.spec.kind == "actor":
            self._worker.creation = run
            if run.spec.slots > 1:
                self._worker.widen(run.spec.slots)
        arguments: list[ObjectID] = []
        if not self._worker.limited:
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
