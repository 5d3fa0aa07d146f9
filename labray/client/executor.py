"""Executor: runs what a node sends to a worker, and says what came of it. The same in every world.

The world hands it each RunTask, measures when it began and ended, and posts Finished with the outcome. It must keep
the outcome until then: the handles of refs inside the results live in it.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from msgspec import Struct

from labray.client.process import Process
from labray.client.refs import ObjectRef
from labray.client.uninterrupted import Step
from labray.exception_parts import name_of
from labray.ids import ObjectID, creator, result_id
from labray.messages import ErrorInfo, Failed, Inline, Payload, Ref, RunTask, Stored, TaskSpec, Value
from labray.serialization import codec
from labray.serialization.remote_errors import describe
from labray.serialization.unpicklable import UnpicklableError


class TaskOutcome(Struct, frozen=True):
    """For Finished: its values, kept and retry. held: keeps the refs inside the values alive until it is posted.

    given: the step that counts what is kept, to be taken with posting it.
    """

    values: tuple[Value, ...]
    kept: tuple[Ref, ...] = ()
    retry: bool = False
    held: Sequence[Sequence[ObjectRef[Any]]] = ()
    given: Step | None = None


def leaves(error: BaseException) -> bool:
    """Whether a body that raises this ends its process, as sys.exit() ends a program."""
    return issubclass(type(error), SystemExit)


class Executor:
    """One worker's. escapes: which of what comes out of a body is the world's business and not the task's."""

    def __init__(self, process: Process, escapes: Callable[[BaseException], bool] = leaves) -> None:
        self.process = process
        self.escapes = escapes
        self._actors: dict[ObjectID, Any] = {}

    def run(self, run: RunTask) -> TaskOutcome:
        """Run a task, a constructor or a method. What it raises becomes the value of each of its results."""
        spec = run.spec
        self.process.flush()
        execution = self.process.enter(spec.id, run.attempt)
        if spec.model is not None:
            return self._pretend(spec, spec.model)
        retry = False
        held: list[Sequence[ObjectRef[Any]]] = []
        try:
            values = self._results(spec, self._perform(run), held)
        except BaseException as error:
            if self.escapes(error):
                raise
            values, retry = self._failed(spec, error, held, execution.interrupted)
        kept = self._kept(run)
        if not kept:
            return TaskOutcome(values, (), retry, held)
        refs = tuple([handle.ref for handle in kept])
        return TaskOutcome(values, refs, retry, (*held, kept), self.process.handles.given(kept))

    def call(self, target: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """The body, and nothing else: what may be interrupted from outside."""
        return target(*args, **kwargs)

    def failed(self, run: RunTask, error: BaseException) -> tuple[Value, ...]:
        """The results of a run that was broken off outside of its body."""
        return (Failed(self._told(run.spec, error)),) * run.spec.returns

    def forget_all(self) -> None:
        """The process is about to end."""
        self._actors.clear()
        self.process.code.clear()

    # ------------------------------------------------------------ the call

    def _perform(self, run: RunTask) -> Any:
        spec = run.spec
        if spec.kind == "method":
            assert spec.actor is not None
            target = _method(self._actors[spec.actor.id], spec.method)
        else:
            assert spec.function is not None
            target = self._function(spec.function.id, run.function)
        args, kwargs = self._arguments(run)
        result = self.call(target, args, kwargs)
        if spec.kind == "actor":
            self._actors[result_id(spec.id, 0)] = result
            if spec.slots > 1:
                self.process.widen()
        return result

    def _function(self, id: ObjectID, code: Payload | None) -> Any:
        function = self.process.code.get(id)
        if function is None:
            if code is None:
                raise RuntimeError(f"the code of {creator(id) or id} never reached this worker")
            function = codec.decode(code, self.process.handles.adopt)
            self.process.code[id] = function
        return function

    def _arguments(self, run: RunTask) -> tuple[Sequence[Any], dict[str, Any]]:
        adopt = self.process.handles.adopt
        if not run.spec.deps:
            return codec.decode_call(run.spec.args, (), adopt)
        values = [
            codec.decode(self.process.deliveries.open(dep.id, value), adopt)
            for dep, value in zip(run.spec.deps, run.args, strict=True)
        ]
        return codec.decode_call(run.spec.args, values, adopt)

    def _kept(self, run: RunTask) -> list[ObjectRef[Any]]:
        if not run.args and not run.spec.args.refs:
            return []
        refs = list(run.spec.args.refs)
        for value in run.args:
            refs.extend(value.payload.refs if isinstance(value, Inline) else value.refs)
        return self.process.handles.living(refs) if refs else []

    # ------------------------------------------------------------ what came of it

    def _results(
        self, spec: TaskSpec, result: Any, held: list[Sequence[ObjectRef[Any]]]
    ) -> tuple[Value, ...]:
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

    def _failed(
        self, spec: TaskSpec, error: BaseException, held: list[Sequence[ObjectRef[Any]]], interrupted: bool
    ) -> tuple[tuple[Value, ...], bool]:
        """What each result is, and whether this uses up a retry. Whatever a user's class objects to."""
        if interrupted and issubclass(type(error), KeyboardInterrupt):
            why = ErrorInfo("cancelled", f"task {spec.id} ({spec.name}) was cancelled while it ran.")
            return (Failed(why),) * spec.returns, False
        try:
            info = self._told(spec, error, held)
            retry = self._retries(spec.retry_on, error)
        except BaseException as worse:
            if self.escapes(worse) and not leaves(worse):
                raise
            name = name_of(error)
            text = f"{spec.name}() raised:\n{name}: and telling of it raised {name_of(worse)}"
            info, retry = ErrorInfo("task", f"telling of it raised {name_of(worse)}", name, text), False
        return (Failed(info),) * spec.returns, retry

    def _told(
        self, spec: TaskSpec, error: BaseException, held: list[Sequence[ObjectRef[Any]]] | None = None
    ) -> ErrorInfo:
        if spec.kind != "actor":
            return describe(error, spec.name, "task", 3, held, spec.returns)
        info = describe(error, spec.name, skip=3)
        message = f"The actor died in its constructor: {info.type_name}: {info.message}"
        return ErrorInfo("actor_died", message, info.type_name, info.traceback)

    def _retries(self, retry_on: Payload | None, error: BaseException) -> bool:
        """As an except clause would find it: no metaclass is asked."""
        if retry_on is None:
            return False
        kinds = codec.decode(retry_on, self.process.handles.adopt)
        return any(type.__subclasscheck__(kind, type(error)) for kind in kinds)

    def _pretend(self, spec: TaskSpec, sizes: Sequence[int]) -> TaskOutcome:
        """A modelled task: the time and the bytes, without the body."""
        if spec.cost:
            self.process.spend(spec.cost)
        values = [
            self.process.pack(result_id(spec.id, at), codec.Encoded(Payload(_BUFFER, (bytes(size),))))
            for at, size in enumerate(sizes)
        ]
        return TaskOutcome(tuple(values))


_ALIVE = Inline(Payload(b""))
_NONE = Inline(Payload(pickle.dumps(None, 5)))
_BUFFER = pickle.dumps(
    pickle.PickleBuffer(b""), 5, buffer_callback=lambda buffer: None
)  # decodes to its buffer


def _method(instance: Any, name: str) -> Any:
    """As Python looks up what it calls itself: on the class, whatever the instance has under that name."""
    kind = type(instance)
    for each in kind.__mro__:
        found = vars(each).get(name)
        if found is not None:
            bind = getattr(type(found), "__get__", None)
            return found if bind is None else bind(found, instance, kind)
    return getattr(instance, name)


def _first(results: Iterator[Any], wanted: int) -> list[Any]:
    """What a generator yields, as far as it is wanted."""
    return [result for _, result in zip(range(wanted), results, strict=False)]


def _is_array(value: Any) -> bool:
    return type(value).__name__ == "ndarray" and value.ndim > 0
