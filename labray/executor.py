"""Executor: runs what a node sends to a worker, and says what came of it. The same in every world.

The world hands it each Run, measures when it began and ended, and posts Finished with the outcome. It must keep
the outcome until then: the handles of refs inside the results live in it.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from labray import codec
from labray.errors import describe
from labray.ids import ObjectID, creator, result_id
from labray.messages import ErrorInfo, Failed, Inline, Payload, Ref, Run, Spec, Stored, Value
from labray.process import Process
from labray.refs import ObjectRef
from labray.unpicklable import UnpicklableError


class Outcome(Struct, frozen=True):
    """For Finished: its values, kept and retry. held: keeps the refs inside the values alive until it is posted."""

    values: tuple[Value, ...]
    kept: tuple[Ref, ...] = ()
    retry: bool = False
    held: Sequence[Sequence[ObjectRef[Any]]] = ()


class Interrupted(BaseException):
    """A cancelled task's interrupt, where KeyboardInterrupt itself must stay Ctrl-C."""


class Executor:
    """One worker's. escapes: what a body may raise that is the world's business and not the task's."""

    def __init__(
        self,
        process: Process,
        escapes: tuple[type[BaseException], ...] = (SystemExit, KeyboardInterrupt, GeneratorExit),
    ) -> None:
        self.process = process
        self.escapes = escapes
        self._functions: dict[ObjectID, Any] = {}
        self._actors: dict[ObjectID, Any] = {}

    def run(self, run: Run) -> Outcome:
        """Run a task, a constructor or a method. What it raises becomes the value of each of its results."""
        spec = run.spec
        self.process.flush()
        self.process.enter(spec.id, run.attempt)
        if spec.model is not None:
            return self._pretend(spec, spec.model)
        retry = False
        held: list[Sequence[ObjectRef[Any]]] = []
        try:
            values = self._results(spec, self._perform(run), held)
        except self.escapes:
            raise
        except BaseException as error:  # noqa: BLE001  (what a body raises is a value)
            info = self._told(spec, error)
            values = (Failed(info),) * spec.returns
            retry = not isinstance(error, KeyboardInterrupt | Interrupted) and self._retries(
                spec.retry_on, error
            )
        return Outcome(values, self._kept(run), retry, held)

    def call(self, target: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """The body, and nothing else: what may be interrupted from outside."""
        return target(*args, **kwargs)

    def forget(self, actor: ObjectID) -> None:
        """The actor has ended, and this process lives on."""
        self._actors.pop(actor, None)

    def forget_all(self) -> None:
        """The process is about to end."""
        self._actors.clear()
        self._functions.clear()

    # ------------------------------------------------------------ the call

    def _perform(self, run: Run) -> Any:
        spec = run.spec
        if spec.kind == "method":
            assert spec.actor is not None
            target = getattr(self._actors[spec.actor.id], spec.method)
        else:
            assert spec.function is not None
            target = self._function(spec.function.id, run.function)
        args, kwargs = self._arguments(run)
        result = self.call(target, args, kwargs)
        if spec.kind == "actor":
            self._actors[result_id(spec.id, 0)] = result
        return result

    def _function(self, id: ObjectID, code: Payload | None) -> Any:
        function = self._functions.get(id)
        if function is None:
            if code is None:
                raise RuntimeError(f"the code of {creator(id) or id} never reached this worker")
            function = codec.decode(code, self.process.handles.adopt)
            self._functions[id] = function
        return function

    def _arguments(self, run: Run) -> tuple[Sequence[Any], dict[str, Any]]:
        adopt = self.process.handles.adopt
        if not run.spec.deps:
            return codec.decode_call(run.spec.args, (), adopt)
        values = [
            codec.decode(self.process.open(dep.id, value), adopt)
            for dep, value in zip(run.spec.deps, run.args, strict=True)
        ]
        return codec.decode_call(run.spec.args, values, adopt)

    def _kept(self, run: Run) -> tuple[Ref, ...]:
        if not run.args and not run.spec.args.refs:
            return ()
        refs = list(run.spec.args.refs)
        for value in run.args:
            refs.extend(value.payload.refs if isinstance(value, Inline) else value.refs)
        return self.process.keep(refs) if refs else ()

    # ------------------------------------------------------------ what came of it

    def _results(self, spec: Spec, result: Any, held: list[Sequence[ObjectRef[Any]]]) -> tuple[Value, ...]:
        if spec.kind == "actor":
            return (_ALIVE,)
        if spec.returns == 1:
            return (self._pack(result_id(spec.id, 0), result, held),)
        if spec.returns == 0:
            return ()
        several = _first(result, spec.returns) if isinstance(result, Iterator) else result
        if not isinstance(several, list | tuple) and not _is_array(several):
            raise ValueError(
                f"Task returned one object of type {type(result).__name__}, but num_returns={spec.returns}."
            )
        if len(several) != spec.returns:
            raise ValueError(f"Task returned {len(several)} objects, but num_returns={spec.returns}.")
        packed: list[Value] = []
        try:
            for at, one in enumerate(several):
                packed.append(self._pack(result_id(spec.id, at), one, held))
        except BaseException:
            for at, value in enumerate(packed):
                if isinstance(value, Stored):
                    self.process.channel.unstore(result_id(spec.id, at), value)
            raise
        return tuple(packed)

    def _pack(self, id: ObjectID, result: Any, held: list[Sequence[ObjectRef[Any]]]) -> Value:
        if result is None:
            return _NONE
        try:
            encoded = codec.encode(result)
        except UnpicklableError as error:
            raise error.named("the result") from error.__cause__
        if encoded.refs:
            held.append(encoded.refs)
        return self.process.pack(id, encoded)

    def _told(self, spec: Spec, error: BaseException) -> ErrorInfo:
        if isinstance(error, KeyboardInterrupt | Interrupted):
            return ErrorInfo("cancelled", f"task {spec.id} ({spec.name}) was cancelled while it ran.")
        info = describe(error, spec.name, skip=3)
        if spec.kind != "actor":
            return info
        message = f"The actor died in its constructor: {info.type_name}: {info.message}"
        return ErrorInfo("actor_died", message, info.type_name, info.traceback)

    def _retries(self, retry_on: Payload | None, error: BaseException) -> bool:
        if retry_on is None:
            return False
        return isinstance(error, codec.decode(retry_on, self.process.handles.adopt))

    def _pretend(self, spec: Spec, sizes: Sequence[int]) -> Outcome:
        """A modelled task: the time and the bytes, without the body."""
        if spec.cost:
            self.process.spend(spec.cost)
        values = [
            self.process.pack(result_id(spec.id, at), codec.Encoded(Payload(_BUFFER, (bytes(size),))))
            for at, size in enumerate(sizes)
        ]
        return Outcome(tuple(values))


_ALIVE = Inline(Payload(b""))
_NONE = Inline(Payload(pickle.dumps(None, 5)))
_BUFFER = pickle.dumps(
    pickle.PickleBuffer(b""), 5, buffer_callback=lambda buffer: None
)  # decodes to its buffer


def _first(results: Iterator[Any], wanted: int) -> list[Any]:
    """What a generator yields, as far as it is wanted."""
    return [result for _, result in zip(range(wanted), results, strict=False)]


def _is_array(value: Any) -> bool:
    return type(value).__name__ == "ndarray" and value.ndim > 0
