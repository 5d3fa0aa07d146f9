"""Process: the client half of the protocol, a Port over a Channel. The same in every world.

It gives out ids, pickles before anything is sent (so that nothing is ever half submitted), counts handles and
tells the node what it holds no more. It decides nothing; docs/protocol.md has the rules.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from labray import messages as m
from labray.client.deliveries import Deliveries
from labray.client.execution import Execution, current
from labray.client.options import Options, seconds
from labray.client.refs import HandleTable, ObjectRef, outlive
from labray.client.requests import Requests, refs_in
from labray.client.runtime import Channel
from labray.client.uninterrupted import Step
from labray.errors import ActorAlreadyExistsError, GetTimeoutError
from labray.ids import DRIVER, ObjectID, TaskID, function_id, put_id, result_id, task_id
from labray.messages import Ref
from labray.serialization import codec, identities
from labray.serialization.unpicklable import UnpicklableError
from labray.strategies import DEFAULT


class Process:
    """A driver's or worker's port. session: the same for all processes of a session, and for no other.

    What belongs to a task is in its Execution; all else is shared by all that runs here.
    """

    def __init__(self, channel: Channel, session: str) -> None:
        self.channel = channel
        self.session = session
        self.known = identities.here  # or a world's choice, if several of its processes live in this one
        self._one: Execution | None = Execution(DRIVER, 0, None)  # what runs, while there is one slot
        self._latest = self._one  # with more: of those that run, and of a thread that belongs to none
        # User code may call from several threads. Never held while something is stored or awaited: a channel may have
        # to read answers for other threads meanwhile, and they are counted under it.
        self._lock = threading.RLock()
        self.handles = HandleTable(session, self._lock)
        self.questions = Requests(channel, self.handles, self._lock)
        self.deliveries = Deliveries(channel, self.handles)
        self.code: dict[ObjectID, Any] = {}  # functions and classes that were unpickled here
        self._exporting: dict[tuple[int, int], Ref] = {}  # by thread and thing

    # ------------------------------------------------------------ what runs

    def enter(self, task: TaskID, attempt: int) -> Execution:
        """From now on it is this attempt that submits, in this context or (of one slot) in all of the process."""
        execution = Execution(task, attempt, threading.get_ident())
        with self._lock:
            if self._one is not None:
                self._one = execution
            else:
                self._latest = execution
                current.set(execution)
            self.handles.values.clear()  # what this task waits for is for the trace to know
        return execution

    def back_to(self, outer: Execution) -> None:
        """What ran in this context has ended, and it had begun inside another: that goes on."""
        if self._one is None:
            current.set(outer)

    def widen(self) -> None:
        """From now on it has several slots: which of what runs here is meant goes by the context that calls."""
        if self._one is not None:
            self._latest, self._one = self._one, None

    @property
    def execution(self) -> Execution:
        """What runs, and is calling. A thread of a user's that has no context of ours counts as the latest."""
        return self._one or current.get() or self._latest

    @property
    def task(self) -> TaskID:
        """The task that is calling; ids.DRIVER in the main program."""
        return self.execution.task

    # ------------------------------------------------------------ submitting

    def export(self, thing: Any, name: str, inside: bool = False) -> Ref:
        """Pickle a function or class by its code and store it. It may refer to itself: its id exists first.

        inside: while something is pickled, which may be this. (A signal handler that calls it is not.)
        """
        key = (threading.get_ident(), id(thing))
        running = self._exporting.get(key)
        if inside and running is not None:
            return running
        execution = self.execution
        with self._lock:
            at, execution.functions = execution.functions, execution.functions + 1
            ref = Ref(function_id(execution.named_under(), at), self.channel.place)
        self._exporting[key] = ref
        try:
            encoded = codec.encode(thing, by_value=True)
        except UnpicklableError as error:
            raise error.named(name) from error.__cause__
        finally:
            self._exporting.pop(key, None)
        self._check(encoded.refs)
        # code goes to every worker once, and its node keeps it: it travels inside messages, however large
        self.channel.post(m.PutObject(ref.id, m.Inline(codec.settle(encoded.payload)), execution.task, True))
        return ref

    def load(self, code: Ref) -> Any:
        """The function or class that was exported as this; asked for unless a task has brought it."""
        if code.id not in self.code:
            with self._lock:
                ref = self.handles.adopt(code)  # never given: the node keeps all code
            (self.code[code.id],) = self.get([ref], None)
        return self.code[code.id]

    def submit(
        self, kind: Any, name: str, function: Ref | None, options: Options,
        args: Sequence[Any], kwargs: Mapping[str, Any], *, actor: Ref | None = None, method: str = "",
    ) -> list[ObjectRef[Any]]:  # fmt: skip
        """Submit a task, an actor's creation or a call; the refs of its results, of which an actor has one."""
        if actor is not None and options.most_pending > 0:
            self.questions.make_room(actor.id, options.most_pending)
        cost = seconds("the cost", options.cost(*args, **kwargs)) if callable(options.cost) else options.cost
        call = codec.encode_call(args, kwargs)
        if call.deps or call.encoded.refs:
            self._check((*call.deps, *call.encoded.refs))
        self.flush()
        if codec.size_of(call.encoded.payload) > m.INLINE_LIMIT_BYTES:
            call = codec.slim(args, kwargs, m.INLINE_LIMIT_BYTES, self._put)
        execution = self._one or self.execution
        with self._lock:
            at, execution.tasks = execution.tasks, execution.tasks + 1
            task = task_id(execution.prefix or execution.named_under(), at)
        place, own = self.channel.place, self.handles.own
        made = [own(Ref(result_id(task, index), place)) for index in range(options.returns)]
        if actor is not None and options.most_pending > 0:
            self.questions.called(actor.id, task)
        spec = m.TaskSpec(
            task, kind, options.name or name, execution.task, place, function,
            codec.settle(call.encoded.payload), tuple([dep.ref for dep in call.deps]), options.returns,
            options.demand, options.lifetime, actor, method, options.retries, options.retry_on,
            options.actor_name, options.strategy or DEFAULT, cost, options.model, options.slots,
        )  # fmt: skip
        if options.actor_name:
            self._submit_named(m.SubmitTask(spec), made[0], options)
        else:
            self.channel.post(m.SubmitTask(spec), self.handles.given(made))
        if call.encoded.refs:
            outlive(call)
        return made

    def _submit_named(self, message: m.SubmitTask, actor: ObjectRef[Any], options: Options) -> None:
        """Its name is reserved first. The client has the handle from then on, and gives it up unless it submits."""
        question = m.RegisterName(self.questions.number(), options.actor_name, actor.ref, options.card)
        try:
            if not self._granted(question):
                name = options.actor_name
                text = f"An actor named {name!r} is alive. Use get_actor({name!r}), or get_if_exists=True."
                raise ActorAlreadyExistsError(text)
            self.channel.post(message, self.handles.given([actor]))
        except ActorAlreadyExistsError:
            raise
        except BaseException:
            self.questions.abandon(question)
            raise

    def put(self, value: Any) -> ObjectRef[Any]:
        """Store a copy of a value."""
        if isinstance(value, ObjectRef):
            raise TypeError("put() of a ref: it is an object already. To nest it, put a list that holds it.")
        encoded = codec.encode(value)
        self._check(encoded.refs)
        self.flush()
        return self._put(encoded)

    def _put(self, encoded: codec.Encoded) -> ObjectRef[Any]:
        execution = self._one or self.execution
        with self._lock:
            at, execution.puts = execution.puts, execution.puts + 1
            ref = self.handles.own(Ref(put_id(execution.named_under(), at), self.channel.place))
        value = self.pack(ref.id, encoded)
        try:
            self.channel.post(m.PutObject(ref.id, value, execution.task, False), self.handles.given([ref]))
        except BaseException:
            if isinstance(value, m.Stored) and not self.handles.is_given(ref):
                self.channel.unstore(ref.id, value)
            raise
        return ref

    def pack(self, id: ObjectID, encoded: codec.Encoded) -> m.Inline | m.Stored:
        """A value as it travels: inside the message if small, else in the node's store."""
        if encoded.size <= m.INLINE_LIMIT_BYTES:
            return m.Inline(codec.settle(encoded.payload))
        stored = self.channel.store(id, encoded.payload)
        return m.Stored(stored.size, stored.block, encoded.payload.refs)

    def _check(self, refs: Sequence[ObjectRef[Any]]) -> None:
        handles = self.handles
        for ref in [ref for ref in refs if ref.table is not handles]:
            if ref.table.session != self.session:
                raise ref.__labray_ended__()
            raise ValueError(f"{ref!r} belongs to another process. Pass it as an argument, not as a global.")

    # ------------------------------------------------------------ waiting

    def get(self, refs: Sequence[ObjectRef[Any]], timeout: float | None) -> list[Any]:
        """The values, in order; raises as soon as one has failed. timeout in seconds; 0 polls."""
        if not refs:
            return []
        if len(refs) == 1 and (kept := self.questions.kept(refs[0].id)) is not None:
            self._check(refs)
            return [self.deliveries.decode(refs[0].id, kept)]
        places: dict[ObjectRef[Any], int] = {}
        for ref in refs:
            places.setdefault(ref, len(places))
        asked = list(places)
        self._check(refs)  # all: one of a session that has ended may have the id of another
        self.flush()
        wanted = tuple([ref.ref for ref in asked])
        message = m.Get(self.questions.number(), wanted, timeout == 0, (self._one or self.execution).waits())
        answer = self.questions.ask(message, timeout)
        values = answer.notice.values if answer is not None and isinstance(answer.notice, m.Values) else ()
        if len(values) == 1 and isinstance(values[0], m.Failed):
            try:
                raise self.deliveries.error(values[0].error)
            finally:
                outlive(answer)
        if not values:
            raise GetTimeoutError(f"get() of {_some(asked)} was not ready within {timeout} s.")
        if len(values) == 1:
            self.questions.remember(wanted[0].id, values[0])
        pins = answer.pins if answer is not None else ()
        found = self.deliveries.values(wanted, values, pins)
        outlive(answer)
        return found if len(found) == len(refs) else [found[places[ref]] for ref in refs]

    def wait(
        self, refs: Sequence[ObjectRef[Any]], num_returns: int, timeout: float | None
    ) -> tuple[list[ObjectRef[Any]], list[ObjectRef[Any]]]:
        """The first `num_returns` refs that exist, and the others, both in the given order."""
        self._check(refs)
        self.flush()
        positions: Sequence[int] = self.questions.known_to_exist(refs, num_returns)
        if len(positions) < num_returns:
            positions = self.questions.what_exists(refs, num_returns, timeout, self.execution.waits())
            if len(positions) > num_returns:
                self.handles.existing.update([(refs[at].id, None) for at in positions])
                positions = positions[:num_returns]
        if len(positions) == 1:
            at = positions[0]
            return [refs[at]], [*refs[:at], *refs[at + 1 :]]
        chosen = set(positions)
        return [refs[at] for at in positions], [ref for at, ref in enumerate(refs) if at not in chosen]

    def received(self, notice: m.ClientReply) -> tuple[list[ObjectRef[Any]], Step | None]:
        """Of an answer as it comes in: handles of what it gives, and the step that counts these."""
        if not isinstance(notice, m.Values | m.ActorFound):
            return [], None
        handles = [self.handles.adopt(ref) for ref in refs_in(notice)]
        return handles, self.handles.given(handles) if handles else None

    def keep(self, refs: Sequence[Ref]) -> list[ObjectRef[Any]]:
        """At the end of a task: which of the refs among its arguments live on here. Finished gives them."""
        return self.handles.living(refs)

    # ------------------------------------------------------------ actors

    def kill(self, actor: Ref, no_restart: bool) -> None:
        self.flush()
        self.channel.post(m.Kill(actor, no_restart))

    def cancel(self, ref: ObjectRef[Any], force: bool, recursive: bool) -> None:
        self._check([ref])
        if not self._granted(m.Cancel(self.questions.number(), ref.ref, force, recursive)):
            raise ValueError("force=True would kill the actor: use labray.kill(), or force=False.")

    def _granted(self, message: m.RegisterName | m.Cancel) -> bool:
        reply = self.questions.ask(message, None)
        assert reply is not None and isinstance(reply.notice, m.RequestAnswered), reply
        return reply.notice.accepted

    def lookup(self, name: str) -> tuple[ObjectRef[Any], bytes] | None:
        """The actor of this name, and what was registered with it."""
        self.flush()
        reply = self.questions.ask(m.LookUpName(self.questions.number(), name), None)
        assert reply is not None and isinstance(reply.notice, m.ActorFound), reply
        return (reply.handles[0], reply.notice.handle) if reply.handles else None

    # ------------------------------------------------------------ time, and the end of things

    def now(self) -> float:
        return self.channel.now()

    def sleep(self, seconds: float) -> None:
        self.flush()
        self.channel.sleep(seconds)

    def spend(self, seconds: float) -> None:
        self.channel.spend(seconds)

    def flush(self) -> None:
        """Tell the node which handles are gone. Every call does; a world does when a worker has ended a task."""
        if self.handles.dying:
            self.handles.drop(self.channel.post)


def _some(refs: Sequence[ObjectRef[Any]]) -> str:
    shown = ", ".join(ref.ref.id for ref in refs[:3])
    return f"{shown} and {len(refs) - 3} more" if len(refs) > 3 else shown
