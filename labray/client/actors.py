"""Actors as the user sees them: a class whose instances live in a process of their own, and handles to them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NoReturn, TypeVar

from msgspec import Struct, structs

from labray import session
from labray.client.functions import ExportedCode, as_asked, submit
from labray.client.options import Options, build, check
from labray.client.refs import ObjectRef
from labray.client.runtime import Runtime
from labray.client.signature import Signature
from labray.errors import ActorAlreadyExistsError, ActorClassInheritanceException, ActorHandleNotFoundError
from labray.messages import Payload
from labray.serialization import codec

F = TypeVar("F", bound=Callable[..., Any])

_MARK = "__labray_method_options__"


def method(**given: Any) -> Callable[[F], F]:
    """Options of one method: num_returns, max_task_retries, retry_exceptions, name, cost."""
    check("method", given)

    def mark(function: F) -> F:
        setattr(function, _MARK, given)
        return function

    return mark


class MethodDescription(Struct, frozen=True):
    """What a caller must know of a method. streams: a generator, which needs num_returns."""

    signature: Signature
    given: dict[str, Any]
    options: Options
    streams: bool = False


class ActorDescription(Struct, frozen=True):
    """What every handle of a class's actors knows."""

    class_name: str
    methods: dict[str, MethodDescription]
    most_pending: int = -1


def _card(cls: type, given: Mapping[str, Any]) -> ActorDescription:
    inherited = {"max_task_retries": given["max_task_retries"]} if "max_task_retries" in given else {}
    methods = {}
    for name, function in inspect.getmembers(cls, callable):
        if (name.startswith("__") and name != "__call__") or isinstance(function, type):
            continue
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise ValueError(f"{cls.__name__}.{name} is `async def`. Async actors are not supported yet.")
        bound = isinstance(inspect.getattr_static(cls, name), staticmethod | classmethod)
        own = {**inherited, **getattr(function, _MARK, {})}
        signature = Signature.of(function, f"{cls.__name__}.{name}", skip=0 if bound else 1)
        methods[name] = MethodDescription(
            signature, own, build("method", own), inspect.isgeneratorfunction(function)
        )
    return ActorDescription(cls.__name__, methods, given.get("max_pending_calls", -1))


def _constructor(cls: type) -> Signature:
    constructor: Any = inspect.getattr_static(cls, "__init__")
    if constructor is not object.__init__:
        return Signature.of(constructor, cls.__name__, skip=1)
    plain = inspect.getattr_static(cls, "__new__") is inspect.getattr_static(object, "__new__")
    return Signature(cls.__name__, () if plain else None, 0, 0)


class ActorClass:
    """A class whose instances are actors: `C.remote(...)` returns a handle at once."""

    def __init__(
        self, code: ExportedCode, card: bytes, signature: Signature, given: Mapping[str, Any]
    ) -> None:
        self._code = code
        self._card = card
        self._signature = signature
        self._given = dict(given)
        checked = build("actor", given)
        self._options = Options(**{**_fields(checked), "card": card})
        self.__name__ = self.__qualname__ = signature.name
        self.__doc__ = getattr(code.thing, "__doc__", None)

    @classmethod
    def of(cls, thing: type, given: Mapping[str, Any]) -> ActorClass:
        """Of a plain class."""
        build("actor", given)  # a bad option is told before anything else
        card = bytes(codec.encode(_card(thing, given)).payload.data)
        return cls(ExportedCode(thing, thing.__name__), card, _constructor(thing), given)

    def remote(self, /, *args: Any, **kwargs: Any) -> ActorHandle:
        """Create an actor. What its constructor raises shows at the first call."""
        at, options = session.ensure(*args, *kwargs.values()), self._options
        if options.get_if_exists:
            return self._found(at) or self._created_or_found(at, args, kwargs)
        return self._create(at, args, kwargs)

    def _create(self, at: Runtime, args: Sequence[Any], kwargs: Mapping[str, Any]) -> ActorHandle:
        code, options = self._code, self._options
        (ref,) = submit(at, "actor", code.name, code.ref(at), options, self._signature, args, kwargs)
        return ActorHandle(ref, self._card)

    def _created_or_found(self, at: Runtime, args: Sequence[Any], kwargs: Mapping[str, Any]) -> ActorHandle:
        for _ in range(10):  # somebody else may create it, or it may die, in between
            try:
                return self._create(at, args, kwargs)
            except ActorAlreadyExistsError:
                found = self._found(at)
                if found is not None:
                    return found
        raise ActorAlreadyExistsError(f"The actor {self._options.actor_name!r} comes and goes.")

    def _found(self, at: Runtime) -> ActorHandle | None:
        found = at.lookup(self._options.actor_name)
        return None if found is None else ActorHandle(*found)

    def options(self, /, **given: Any) -> ActorClass:
        """The same class under other options."""
        return ActorClass(self._code, self._recarded(given), self._signature, {**self._given, **given})

    def _recarded(self, given: Mapping[str, Any]) -> bytes:
        if "max_task_retries" not in given and "max_pending_calls" not in given:
            return self._card
        check("actor", given)
        return bytes(codec.encode(_card(self._code.load(), {**self._given, **given})).payload.data)

    def _remote(
        self, /, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **given: Any
    ) -> ActorHandle:
        return self.options(**given).remote(*args, **(kwargs or {}))

    def __getattr__(self, name: str) -> Any:
        """Constants, class methods and static methods of the class, here and inside its actors."""
        if name.startswith("__") or "_code" not in vars(self):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}.")
        return getattr(self._code.load(), name)

    def __mro_entries__(self, bases: object) -> NoReturn:
        raise ActorClassInheritanceException(
            f"{self.__name__} is an actor class. Derive from the plain class, and decorate the result."
        )

    def __call__(self, /, *args: Any, **kwargs: Any) -> NoReturn:
        name = self.__name__
        raise TypeError(f"{name} is an actor class and cannot be called directly. Use {name}.remote(...).")

    def __repr__(self) -> str:
        return f"<actor class {self.__name__}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return ActorClass, (self._code, self._card, self._signature, self._given)


def _fields(options: Options) -> dict[str, Any]:
    return {name: getattr(options, name) for name in options.__struct_fields__}


@lru_cache(maxsize=1000)
def _read(card: bytes) -> ActorDescription:
    def none(ref: object) -> ObjectRef[Any]:
        raise TypeError("there are no refs in what describes a class")

    read: ActorDescription = codec.decode(Payload(card), none)
    return read


class ActorHandle:
    """A running actor, seen from outside. It lives as long as a handle of it does, anywhere."""

    __slots__ = ("_actor", "_card", "_known")

    def __init__(self, actor: ObjectRef[Any], card: bytes) -> None:
        self._actor = actor
        self._card = card
        self._known = _read(card)

    def __getattr__(self, name: str) -> ActorMethod:
        known = self._known.methods.get(name)
        if known is None:
            raise AttributeError(f"The actor class {self._known.class_name} has no method {name!r}.")
        return ActorMethod(self, name, known, known.options)

    def __dir__(self) -> list[str]:
        return sorted(self._known.methods)

    def __hash__(self) -> int:
        return hash(self._actor)

    def __eq__(self, other: object) -> bool:
        return self._actor == other._actor if isinstance(other, ActorHandle) else NotImplemented

    def __repr__(self) -> str:
        return f"<actor {self._known.class_name} {self._actor.task_id()} of {self._actor.ref.owner}>"

    def __labray_ended__(self) -> Exception:
        return ActorHandleNotFoundError(f"{self!r} is of a session that was shut down.")

    def __reduce__(self) -> tuple[Any, ...]:
        return ActorHandle, (self._actor, self._card)


def actor_ref(handle: ActorHandle, at: Runtime) -> Any:
    """The ref of a handle; ActorHandleNotFoundError if it is of an earlier session."""
    if handle._actor.table.session != at.session:
        raise handle.__labray_ended__()
    return handle._actor.ref


class ActorMethod:
    """A method of a running actor: `handle.m.remote(...)`."""

    __slots__ = ("_handle", "_known", "_name", "_options")

    def __init__(self, handle: ActorHandle, name: str, known: MethodDescription, options: Options) -> None:
        self._handle = handle
        self._name = name
        self._known = known
        self._options = options

    def remote(self, /, *args: Any, **kwargs: Any) -> Any:
        """Submit a call: a ref, or as many as num_returns says.

        PendingCallsLimitExceeded if as many of this process as `max_pending_calls` allows are not over yet.
        """
        at, known = session.of(self._handle), self._known
        if known.streams and "num_returns" not in known.given and self._options.returns == 1:
            raise ValueError(
                f"{known.signature.name} is a generator. Streaming results are not supported yet: "
                "give num_returns=n, or return a list."
            )
        actor = actor_ref(self._handle, at)
        name, options, most = known.signature.name, self._options, self._handle._known.most_pending
        if most > 0:
            options = structs.replace(options, most_pending=most)
        return as_asked(
            submit(at, "method", name, None, options, known.signature, args, kwargs, actor, self._name)
        )

    def options(self, /, **given: Any) -> ActorMethod:
        """The same method under other options."""
        return ActorMethod(
            self._handle, self._name, self._known, build("method", {**self._known.given, **given})
        )

    def _remote(
        self, /, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **given: Any
    ) -> Any:
        return self.options(**given).remote(*args, **(kwargs or {}))

    def __call__(self, /, *args: Any, **kwargs: Any) -> NoReturn:
        name = self._name
        raise TypeError(f"A method of an actor cannot be called directly. Use .{name}.remote(...).")

    def __repr__(self) -> str:
        return f"<method {self._name} of {self._handle!r}>"
