"""Process: the client half of the protocol, a Runtime over a Channel. It is the same in every world.

It gives out ids, pickles before anything is sent (so that nothing is ever half submitted), counts handles and
tells the node what it no longer holds. It decides nothing; docs/protocol.md has the rules.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from labray import messages as m
from labray.client.execution import Execution, current
from labray.client.options import Options, seconds
from labray.client.refs import HandleTable, ObjectRef, outlive
from labray.client.requests import Deliveries, Requests
from labray.client.runtime import Channel
from labray.errors import ActorAlreadyExistsError, GetTimeoutError
from labray.ids import DRIVER, ObjectID, TaskID, function_id, put_id, result_id, task_id
from labray.messages import Ref
from labray.serialization import codec, identities
from labray.serialization.unpicklable import UnpicklableError
from labray.strategies import DEFAULT


class Process:
    """The runtime of a driver or worker. session: a name that all processes of one session share, and no others.

    What belongs to one task is in its Execution; everything else is shared by all executions of the process.
    """

    def __init__(self, channel: Channel, session: str) -> None:
        self.channel = channel
        self.session = session
        self.known = identities.here  # a world chooses another if several of its processes live in this one
        self._one: Execution | None = Execution(DRIVER, 0, None)  # what runs, while the process has one slot
        self._latest = self._one  # with several slots: the execution of a thread that belongs to none
        # User code may call from several threads. The lock is never held while something is stored or awaited: a
        # channel may have to read replies for other threads meanwhile, and their refs are counted under the lock.
        self._lock = threading.RLock()
        self.handles = HandleTable(session, self._lock)
        self.requests = Requests(channel, self.handles, self._lock)
        self.deliveries = Deliveries(channel, self.handles)
        self.code: dict[ObjectID, Any] = {}  # functions and classes that were unpickled here
        self._exporting: dict[tuple[int, int], Ref] = {}  # what is being pickled, by thread and thing

    # ------------------------------------------------------------ what runs

    def enter(self, task: TaskID, attempt: int) -> Execution:
        """From now on this attempt submits: in this context or, with one slot, in the whole process."""
        execution = Execution(task, attempt, threading.get_ident())
        with self._lock:
            if self._one is not None:
                self._one = execution
            else:
                self._latest = execution
                current.set(execution)
            self.handles.values.clear()  # so that the trace shows what this task waits for
        return execution

    def back_to(self, outer: Execution) -> None:
        """The execution of this context has ended; it had begun inside another one, which goes on."""
        if self._one is None:
            current.set(outer)

    def widen(self) -> None:
        """From now on the process has several slots: the context that calls tells which execution is meant."""
        if self._one is not None:
            self._latest, self._one = self._one, None

    @property
    def execution(self) -> Execution:
        """The execution that is calling. A user's thread that has no execution of its own counts as the latest one."""
        return self._one or current.get() or self._latest

    @property
    def task(self) -> TaskID:
        """The task that is calling; ids.DRIVER in the main program."""
        return self.execution.task

    # ------------------------------------------------------------ submitting

    def export(self, thing: Any, name: str, inside: bool = False) -> Ref:
        """Pickle a function or class by its code and store it. It may refer to itself: its id exists first.

        inside: whether a pickler calls, which may be pickling this very thing. (A signal handler's call is not such.)
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
        # Code goes to each worker once, and its node keeps it: it travels inside messages, however large it is.
        self.channel.post(m.PutObject(ref.id, m.Inline(codec.settle(encoded.payload)), execution.task, True))
        return ref

    def load(self, code: Ref) -> Any:
        """The function or class that was exported under this ref. The node is asked unless a task has brought it."""
        if code.id not in self.code:
            with self._lock:
                ref = self.handles.adopt(code)  # it need not be given: the node keeps all code
            (self.code[code.id],) = self.get([ref], None)
        return self.code[code.id]

    def submit(
        self, kind: Any, name: str, function: Ref | None, options: Options,
        args: Sequence[Any], kwargs: Mapping[str, Any], *, actor: Ref | None = None, method: str = "",
    ) -> list[ObjectRef[Any]]:  # fmt: skip
        """Submit a task, an actor's creation or a call. Returns the refs of the results; an actor has one."""
        if actor is not None and options.most_pending > 0:
            self.requests.make_room(actor.id, options.most_pending)
        cost = seconds("the cost", options.cost(*args, **kwargs)) if callable(options.cost) else options.cost
        call = codec.encode_call(args, kwargs)
        if call.deps or call.encoded.refs:
            self._check((*call.deps, *call.encoded.refs))
        self.drop_dead_handles()
        if codec.size_of(call.encoded.payload) > m.INLINE_LIMIT_BYTES:
            call = codec.slim(args, kwargs, m.INLINE_LIMIT_BYTES, self._put)
        execution = self._one or self.execution
        with self._lock:
            at, execution.tasks = execution.tasks, execution.tasks + 1
            task = task_id(execution.prefix or execution.named_under(), at)
        place, own = self.channel.place, self.handles.own
        made = [own(Ref(result_id(task, index), place)) for index in range(options.returns)]
        if actor is not None and options.most_pending > 0:
            self.requests.called(actor.id, task)
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
        """Submit an actor once its name is reserved. The client then holds the handle, and returns it on failure."""
        request = m.RegisterName(self.requests.number(), options.actor_name, actor.ref, options.card)
        try:
            if not self._granted(request):
                name = options.actor_name
                text = f"An actor named {name!r} is alive. Use get_actor({name!r}), or get_if_exists=True."
                raise ActorAlreadyExistsError(text)
            self.channel.post(message, self.handles.given([actor]))
        except ActorAlreadyExistsError:
            raise
        except BaseException:
            self.requests.abandon(request)
            raise

    def put(self, value: Any) -> ObjectRef[Any]:
        """Store a copy of a value."""
        if isinstance(value, ObjectRef):
            raise TypeError("put() of a ref: it is an object already. To nest it, put a list that holds it.")
        encoded = codec.encode(value)
        self._check(encoded.refs)
        self.drop_dead_handles()
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
        """A value as it travels: inside the message if it is small, else in the node's store."""
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
        """The values in order; raises as soon as one of them has failed. timeout is in seconds; 0 polls."""
        if not refs:
            return []
        if len(refs) == 1 and (kept := self.requests.kept(refs[0].id)) is not None:
            self._check(refs)
            return [self.deliveries.decode(refs[0].id, kept)]
        places: dict[ObjectRef[Any], int] = {}
        for ref in refs:
            places.setdefault(ref, len(places))
        asked = list(places)
        self._check(
            refs
        )  # all of them: a ref of a session that has ended may have the same id as one of this
        self.drop_dead_handles()
        wanted = tuple([ref.ref for ref in asked])
        message = m.Get(self.requests.number(), wanted, timeout == 0, (self._one or self.execution).waits())
        answer = self.requests.ask(message, timeout)
        values = answer.notice.values if answer is not None and isinstance(answer.notice, m.Values) else ()
        if len(values) == 1 and isinstance(values[0], m.Failed):
            try:
                raise self.deliveries.error(values[0].error)
            finally:
                outlive(answer)
        if not values:
            raise GetTimeoutError(f"get() of {_some(asked)} was not ready within {timeout} s.")
        if len(values) == 1:
            self.requests.remember(wanted[0].id, values[0])
        pins = answer.pins if answer is not None else ()
        found = self.deliveries.values(wanted, values, pins)
        outlive(answer)
        return found if len(found) == len(refs) else [found[places[ref]] for ref in refs]

    def wait(
        self, refs: Sequence[ObjectRef[Any]], num_returns: int, timeout: float | None
    ) -> tuple[list[ObjectRef[Any]], list[ObjectRef[Any]]]:
        """The first `num_returns` refs that exist, and the others, both in the given order."""
        self._check(refs)
        self.drop_dead_handles()
        positions: Sequence[int] = self.requests.known_to_exist(refs, num_returns)
        if len(positions) < num_returns:
            positions = self.requests.what_exists(refs, num_returns, timeout, self.execution.waits())
            if len(positions) > num_returns:
                self.handles.existing.update([(refs[at].id, None) for at in positions])
                positions = positions[:num_returns]
        if len(positions) == 1:
            at = positions[0]
            return [refs[at]], [*refs[:at], *refs[at + 1 :]]
        chosen = set(positions)
        return [refs[at] for at in positions], [ref for at, ref in enumerate(refs) if at not in chosen]

    # ------------------------------------------------------------ actors

    def kill(self, actor: Ref, no_restart: bool) -> None:
        self.drop_dead_handles()
        self.channel.post(m.Kill(actor, no_restart))

    def cancel(self, ref: ObjectRef[Any], force: bool, recursive: bool) -> None:
        self._check([ref])
        if not self._granted(m.Cancel(self.requests.number(), ref.ref, force, recursive)):
            raise ValueError("force=True would kill the actor: use labray.kill(), or force=False.")

    def _granted(self, message: m.RegisterName | m.Cancel) -> bool:
        reply = self.requests.ask(message, None)
        assert reply is not None and isinstance(reply.notice, m.RequestAnswered), reply
        return reply.notice.accepted

    def lookup(self, name: str) -> tuple[ObjectRef[Any], bytes] | None:
        """The actor of this name and the card that was registered with it; None if no living actor has the name."""
        self.drop_dead_handles()
        reply = self.requests.ask(m.LookUpName(self.requests.number(), name), None)
        assert reply is not None and isinstance(reply.notice, m.ActorFound), reply
        return (reply.handles[0], reply.notice.handle) if reply.handles else None

    # ------------------------------------------------------------ time, and the end of things

    def now(self) -> float:
        return self.channel.now()

    def sleep(self, seconds: float) -> None:
        self.drop_dead_handles()
        self.channel.sleep(seconds)

    def spend(self, seconds: float) -> None:
        self.channel.spend(seconds)

    def drop_dead_handles(self) -> None:
        """Tell the node which handles are gone. Every call does this; a world does, when a worker has ended a task."""
        if self.handles.dying:
            self.handles.drop(self.channel.post)

    def drop_dead_handles_unless_busy(self) -> None:
        """The same for the thread that sends: it never waits for a thread that may be about to end it."""
        self.handles.drop_unless_busy(self.channel.post)


def _some(refs: Sequence[ObjectRef[Any]]) -> str:
    shown = ", ".join(ref.ref.id for ref in refs[:3])
    return f"{shown} and {len(refs) - 3} more" if len(refs) > 3 else shown
