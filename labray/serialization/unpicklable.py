"""Finds what cannot be pickled: an error says not `cannot pickle lock` alone, but where in the value the lock is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import FunctionType
from typing import Any

from labray.exception_parts import message_of, name_of

_NOTHING: dict[str, Any] = {}


class UnpicklableError(TypeError):
    """A value that cannot travel. what: `the value`; path: where in it the culprit is, `[2].lock`.

    argument: its position among the arguments of a call, until somebody who knows the signature names it.
    """

    def __init__(self, path: str, reason: str, what: str = "the value", argument: int | None = None) -> None:
        self.path, self.reason, self.what, self.argument = path, reason, what, argument
        super().__init__(
            f"{what}{path} cannot be pickled: {reason}. Values travel between processes as copies; "
            "pass what it is made of instead, and make it where it is used."
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return UnpicklableError, (self.path, self.reason, self.what, self.argument)

    def named(self, what: str) -> UnpicklableError:
        """The same error, about something that has a name."""
        return UnpicklableError(self.path, self.reason, what)


def about_argument(at: int | str, path: str, reason: str) -> UnpicklableError:
    """The error about an argument, which is named by position or keyword."""
    return UnpicklableError(path, reason, f"argument {at!r}", at if isinstance(at, int) else None)


def culprit(value: Any, error: Exception, pickle: Callable[[Any], object]) -> tuple[str, str]:
    """The path to the innermost part of a value that `pickle` cannot do, and why it cannot."""
    path = ""
    for _ in range(20):  # deep enough to be of use, and it ends for cyclic values
        found = _culprit_in(value, pickle)
        if found is None:
            break
        step, value, error = found
        path += step
    return path, f"{message_of(error)} (a {name_of(value)})"


def _culprit_in(value: Any, pickle: Callable[[Any], object]) -> tuple[str, Any, Exception] | None:
    """The part that cannot be pickled; none where the value objects to being looked into."""
    parts = _parts(value)
    while True:
        try:
            step, part = next(parts)
        except Exception:  # noqa: BLE001  (the end, or whatever a user's class raises)
            return None
        try:
            pickle(part)
        except Exception as error:  # noqa: BLE001  (likewise)
            return step, part, error


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield f"[{key!r}]", part
    elif isinstance(value, list | tuple):
        for at, part in enumerate(value):
            yield f"[{at}]", part
    elif isinstance(value, set | frozenset):
        for part in value:
            yield f"{{{part!r}}}", part
    elif isinstance(value, FunctionType):
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=False):
            yield f" (its variable {name!r})", cell.cell_contents
        for name in value.__code__.co_names:
            if name in value.__globals__:
                yield f" (its global {name!r})", value.__globals__[name]
    elif isinstance(value, type):
        for name, part in vars(value).items():
            if isinstance(part, FunctionType) or not name.startswith("__"):
                yield f".{name}", part
    else:
        for name, part in getattr(value, "__dict__", _NOTHING).items():
            yield f".{name}", part
