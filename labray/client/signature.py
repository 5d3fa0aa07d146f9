"""Signature: which arguments a function takes, checked in the caller, before anything is sent.

Not inspect.Signature, which drags defaults and annotations along: this travels with handles, and checks
the usual call by counting.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct


class Signature(Struct, frozen=True):
    """parameters: name, kind (of inspect.Parameter), and whether it must be given. None: anything goes."""

    name: str
    parameters: tuple[tuple[str, int, bool], ...] | None
    least: int = 0  # so many positional arguments will do ...
    most: int = -1  # ... up to so many; -1: has to be looked at closer
    own: str = ""  # the first parameter of a method, which nobody else may give

    @classmethod
    def of(cls, function: Callable[..., Any], name: str, skip: int = 0) -> Signature:
        """The signature of a function, without its first `skip` parameters (self)."""
        try:
            every = list(inspect.signature(function).parameters.values())
        except (ValueError, TypeError):  # some builtins do not tell
            return cls(name, None)
        found = every[skip:]
        own = "".join([p.name for p in every[:skip] if p.kind == p.POSITIONAL_OR_KEYWORD])
        parameters = tuple((p.name, int(p.kind), _required(p)) for p in found)
        positional = [p for p in found if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        if any(p.kind == p.KEYWORD_ONLY and _required(p) for p in found):
            return cls(name, parameters, own=own)
        unbounded = any(p.kind == p.VAR_POSITIONAL for p in found)
        least = sum(_required(p) for p in positional)
        return cls(name, parameters, least, 1 << 30 if unbounded else len(positional), own)

    def check(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raise TypeError, in Python's words, if the function cannot be called with these."""
        if (not kwargs and self.least <= len(args) <= self.most) or self.parameters is None:
            return
        if self.own in kwargs:
            raise TypeError(f"{self.name}() got multiple values for argument {self.own!r}")
        try:
            self._inspected().bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}() {error}") from None

    def name_of(self, at: int) -> str | int:
        """The name of the parameter at this position."""
        if self.parameters is None or at >= len(self.parameters):
            return at
        name, kind, _ = self.parameters[at]
        return at if kind == inspect.Parameter.VAR_POSITIONAL else name

    def _inspected(self) -> inspect.Signature:
        return inspect.Signature([_parameter(*told) for told in self.parameters or ()])


def _parameter(name: str, kind: int, required: bool) -> inspect.Parameter:
    several = kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    default = inspect.Parameter.empty if required or several else None
    return inspect.Parameter(name, inspect._ParameterKind(kind), default=default)


def _required(parameter: inspect.Parameter) -> bool:
    several = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return parameter.default is parameter.empty and not several
