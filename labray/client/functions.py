"""RemoteFunction, and Code: a function or class that is pickled once a session and named by a ref ever after."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from labray import session
from labray.client import code_changes, runtime
from labray.client.options import build
from labray.client.runtime import Runtime
from labray.client.signature import Signature
from labray.messages import Ref
from labray.serialization.unpicklable import UnpicklableError


class ExportedCode:
    """A function or class, and where it was exported to. In other processes only the latter is known.

    It is exported at the first use in a session, so a helper defined after the decorator is still seen; and again when
    code that it refers to is another by then.
    """

    def __init__(self, thing: Any, name: str, session: str = "", ref: Ref | None = None) -> None:
        self.thing = thing
        self.name = name
        self._session = session
        self._ref = ref
        self._places: Sequence[code_changes.FoundCode] = ()

    def ref(self, at: Runtime, inside: bool = False) -> Ref:
        """What to call it by in this session. inside: of what is being pickled."""
        if self._ref is None or self._session != at.session or code_changes.has_changed(self._places):
            if self.thing is None:
                raise ValueError(f"{self.name} is of a session that was shut down. Define it anew.")
            places = code_changes.code_used_by(self.thing)
            self._ref, self._session = at.export(self.thing, self.name, inside), at.session
            self._places = places  # not before: it may refer to itself
        return self._ref

    def load(self) -> Any:
        """The function or class itself, fetched if it came here by its ref alone."""
        if self.thing is None:
            at = runtime.current()
            self.thing = at.load(self.ref(at))
        return self.thing

    def __reduce__(self) -> tuple[Any, ...]:
        if not runtime.exists():
            return ExportedCode, (self.thing, self.name)
        current = runtime.current()
        return ExportedCode, (None, self.name, current.session, self.ref(current, inside=True))


def submit(
    at: Runtime, kind: str, name: str, function: Ref | None, options: Any, signature: Signature,
    args: Sequence[Any], kwargs: Mapping[str, Any], actor: Ref | None = None, method: str = "",
) -> list[Any]:  # fmt: skip
    """Check the arguments against the signature, and submit."""
    signature.check(args, kwargs)
    try:
        return list(at.submit(kind, name, function, options, args, kwargs, actor=actor, method=method))
    except UnpicklableError as error:
        if error.argument is None:
            raise
        raise error.named(f"argument {signature.name_of(error.argument)!r}") from error.__cause__


def as_asked(refs: list[Any]) -> Any:
    """One ref, a list of several, or None, as num_returns was."""
    return refs[0] if len(refs) == 1 else refs or None


class RemoteFunction:
    """A function whose calls are tasks: `f.remote(...)` returns at once with the ref of the result."""

    def __init__(self, code: ExportedCode, signature: Signature, given: Mapping[str, Any]) -> None:
        self._code = code
        self._signature = signature
        self._given = dict(given)
        self._options = build("task", given)
        self.__name__ = self.__qualname__ = signature.name
        self.__doc__ = getattr(code.thing, "__doc__", None)

    @classmethod
    def of(cls, function: Any, given: Mapping[str, Any]) -> RemoteFunction:
        """Of a plain function."""
        name = getattr(function, "__qualname__", repr(function)).replace("<locals>.", "")
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise ValueError(
                f"{name} is `async def`: only methods of actors may be. Make it a plain function."
            )
        if inspect.isgeneratorfunction(function) and "num_returns" not in given:
            raise ValueError(
                f"{name} is a generator. Streaming results are not supported yet: "
                "give num_returns=n, or return a list."
            )
        return cls(ExportedCode(function, name), Signature.of(function, name), given)

    def remote(self, /, *args: Any, **kwargs: Any) -> Any:
        """Submit a call: a ref, or as many as num_returns says."""
        at = session.ensure(*args, *kwargs.values())
        code, options = self._code, self._options
        return as_asked(submit(at, "task", code.name, code.ref(at), options, self._signature, args, kwargs))

    def options(self, /, **given: Any) -> RemoteFunction:
        """The same function under other options."""
        return RemoteFunction(self._code, self._signature, {**self._given, **given})

    def _remote(
        self, /, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **given: Any
    ) -> Any:
        return self.options(**given).remote(*args, **(kwargs or {}))

    def __call__(self, /, *args: Any, **kwargs: Any) -> NoReturn:
        name = self.__name__
        raise TypeError(f"{name} is a remote function and cannot be called directly. Use {name}.remote(...).")

    def __repr__(self) -> str:
        return f"<remote function {self.__name__}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteFunction, (self._code, self._signature, self._given)
