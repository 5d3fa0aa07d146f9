"""What an exception consists of, past whatever its class has put before it.

A user's class may object to anything: a property named `args`, a `__setattr__` that raises, a `__new__` that wants two
arguments, a metaclass. Here its parts are read and set by the slots that C gave BaseException, and no code of it runs;
but for str(), of which nothing is expected.
"""

from __future__ import annotations

import copyreg
from collections.abc import Iterator, Sequence
from types import BuiltinFunctionType, GetSetDescriptorType, MemberDescriptorType, TracebackType
from typing import Any

MOST_WORDS = 10_000
"""Characters of a message; the middle of a longer one is left out."""

_own: Any = vars(BaseException)
_HEAP_TYPE = 1 << 9  # a type's flag: it was made by a class statement, not by C
_HOOKS = frozenset(
    ("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__getnewargs__", "__getnewargs_ex__")
)
_SMALL = frozenset({int, float, bool, complex, type(None), str, bytes})


def message_of(error: BaseException) -> str:
    """The str() of an exception; if that raises, a sentence that says so."""
    try:
        return shortened(str.__str__(str(error)), MOST_WORDS)
    except KeyboardInterrupt:
        raise
    except BaseException as worse:  # noqa: BLE001  (a user's __str__ may raise; its name must still arrive)
        return f"<its __str__ raised {name_of(worse)}>"


def name_of(thing: object) -> str:
    """The name of a thing's class, whatever its metaclass makes of that."""
    return shortened(vars(type)["__qualname__"].__get__(type(thing)), MOST_WORDS)


def shortened(text: str, most: int) -> str:
    """A text's beginning and end, if it is longer than this; what UTF-8 cannot carry is replaced."""
    if len(text) > most:
        left_out = f"\n... {len(text) - most} characters are left out ...\n"
        text = text[: most // 2] + left_out + text[-(most // 2) :]
    return text.encode(errors="backslashreplace").decode()


def is_exception(thing: Any) -> bool:
    """Whether a thing is an exception, without asking the thing itself."""
    return issubclass(type(thing), BaseException)


# ---------------------------------------------------------------- its parts


def namespace(error: BaseException) -> dict[str, Any]:
    """The __dict__ of an exception, past any __getattribute__."""
    found: dict[str, Any] = _own["__dict__"].__get__(error)
    return found


def set_args(error: BaseException, args: Any) -> None:
    """Set an exception's args, past any property and __setattr__."""
    _own["args"].__set__(error, args)


def args_of(error: BaseException) -> tuple[Any, ...]:
    """The arguments that an exception is made of: its args; of a group, its message and members."""
    if issubclass(type(error), BaseExceptionGroup):
        group: Any = vars(BaseExceptionGroup)
        return group["message"].__get__(error), list(group["exceptions"].__get__(error))
    args: tuple[Any, ...] = _own["args"].__get__(error)
    return args


def _slots(kind: type) -> Iterator[tuple[str, Any]]:
    """The fields that do not lie in __dict__: those of C (errno, name, lineno ...) and those of __slots__."""
    for each in kind.__mro__:
        if each is BaseException or each is BaseExceptionGroup:
            continue
        for name, slot in vars(each).items():
            if type(slot) in (MemberDescriptorType, GetSetDescriptorType) and not name.startswith("__"):
                yield name, slot


def fields_of(error: BaseException) -> dict[str, Any]:
    """The fields of an exception that are set, by name."""
    found: dict[str, Any] = {}
    for name, slot in _slots(type(error)):
        try:
            value = slot.__get__(error)
        except AttributeError:
            continue
        if value is not None:
            found.setdefault(name, value)
    return found


def fill(error: BaseException, fields: dict[str, Any], attributes: dict[str, Any]) -> None:
    """Set fields and attributes, past any __setattr__."""
    slots = dict(reversed(list(_slots(type(error))))) if fields else {}
    for name, value in fields.items():
        slots[name].__set__(error, value)
    namespace(error).update(attributes)


def bare(kind: type[BaseException], args: Sequence[Any]) -> BaseException:
    """An instance of a class by the __new__ that C gave it: no code of the class runs."""
    makers = (vars(each).get("__new__") for each in kind.__mro__)
    new = next(maker for maker in makers if type(maker) is BuiltinFunctionType)
    error: BaseException = new(kind, *args)
    if not issubclass(kind, BaseExceptionGroup):
        set_args(error, tuple(args))
    return error


def link(
    error: BaseException, cause: BaseException | None, context: BaseException | None, suppress: bool
) -> None:
    """Set what Python says was its cause."""
    _own["__context__"].__set__(error, context)
    _own["__cause__"].__set__(error, cause)
    _own["__suppress_context__"].__set__(error, suppress)


def traceback_of(error: BaseException) -> TracebackType | None:
    """The traceback of an exception: where it was raised."""
    found: TracebackType | None = _own["__traceback__"].__get__(error)
    return found


def links(error: BaseException) -> tuple[BaseException | None, BaseException | None, bool]:
    """The cause and the context of an exception, and whether the latter is suppressed."""
    cause, context = _own["__cause__"].__get__(error), _own["__context__"].__get__(error)
    return cause, context, bool(_own["__suppress_context__"].__get__(error))


# ---------------------------------------------------------------- pickled as a value


def hook_of(kind: type[BaseException]) -> Any:
    """How a class says itself that it wants to be pickled, if it does."""
    if kind in copyreg.dispatch_table:
        return copyreg.dispatch_table[kind]
    for each in kind.__mro__:
        if each.__flags__ & _HEAP_TYPE:
            for name, value in vars(each).items():
                if name in _HOOKS:
                    return value
    return None


def state_of(error: BaseException) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields and attributes of an exception, as far as they may travel."""
    fields = fields_of(error)
    if issubclass(type(error), AttributeError) and type(fields.get("obj")) not in _SMALL:
        fields.pop("obj", None)  # it may be anything: all that an actor has, or what cannot be pickled
    return fields, dict(namespace(error))


def reduced(error: BaseException) -> Any:
    """How a pickler takes an exception whose class has no say in it; without causes, as pickle does."""
    kind = type(error)
    if hook_of(kind) is not None:
        return NotImplemented
    return bare, (kind, args_of(error)), state_of(error), None, None, _refill


def _refill(error: BaseException, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    fill(error, *state)
