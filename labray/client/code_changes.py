"""When code that was sent must be sent again: a function or class that it refers to is another one by now.

In a notebook a helper's cell is run again, and the next call is to find the new helper. What counts is code that
travels by value: global names and closures that hold functions or classes, remote ones too, and the methods of such
classes. Data that code refers to is taken along when it is sent, and not looked at again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import _lru_cache_wrapper, partial
from types import CodeType, FunctionType
from typing import Any

from labray.serialization import by_value

FoundCode = tuple[Callable[..., Any], tuple[Any, ...], Any]
"""How to look there, and what was found."""


def code_used_by(thing: Any) -> Sequence[FoundCode]:
    """Where a function or class that goes by value holds other code, at any depth."""
    found: list[FoundCode] = []
    seen, left = {id(thing)}, [thing]
    while left:
        for look, args in _holding(left.pop()):
            value = look(*args)
            code = _code_of(value)
            if code is None:
                continue
            found.append((look, args, value))
            if id(code) not in seen:
                seen.add(id(code))
                left.append(code)
    return found


def has_changed(found: Sequence[FoundCode]) -> bool:
    """Whether there is something else now, in one of these places."""
    for look, args, value in found:  # each call of a task comes here: it is to cost nothing
        if look(*args) is not value:
            return True
    return False


def _code_of(value: Any) -> Any:
    """The function or class that a value is or wraps, unless others can import it."""
    if isinstance(value, partial):
        value = value.func
    if isinstance(value, staticmethod | classmethod):
        value = value.__func__
    elif isinstance(value, _lru_cache_wrapper):
        value = value.__wrapped__
    elif isinstance(value, property):
        value = value.fget
    elif type(value).__module__ in {"labray.client.functions", "labray.client.actors"} and hasattr(
        value, "_code"
    ):
        value = value._code.thing  # of a remote function or actor class
    if not isinstance(value, FunctionType | type) or by_value.can_import(value):
        return None
    return value


def _holding(thing: Any) -> Iterator[tuple[Callable[..., Any], tuple[Any, ...]]]:
    if isinstance(thing, type):
        if by_value.can_import(thing):
            return
        yield from ((vars(thing).get, (name,)) for name in vars(thing))
        yield from ((_base, (thing, at)) for at in range(len(thing.__bases__)))
    elif isinstance(thing, FunctionType) and not by_value.can_import(thing):
        yield from ((thing.__globals__.get, (name,)) for name in _names(thing.__code__))
        yield from ((_content, (cell,)) for cell in thing.__closure__ or ())


def _base(kind: type, at: int) -> Any:
    return kind.__bases__[at]


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is empty yet
        return None


def _names(code: CodeType) -> Iterator[str]:
    """Of globals, and of attributes, which do no harm."""
    yield from code.co_names
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _names(const)
