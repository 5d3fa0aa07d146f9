"""Exceptions as they travel: taken apart there and put together here, without asking their classes.

pickle makes an exception by calling its class with its `args`. Every class whose constructor takes something else then
fails, and what CPython keeps outside `__dict__` is lost: causes, and the fields of C. Here an exception is its class,
its args, its fields, its `__dict__` and the numbers of its cause and context; a class with a `__reduce__` of its own is
first pickled as it says. Exceptions inside it (causes, members, attributes) travel beside it, each in a pickle of its
own: what cannot be pickled is told in words, it alone, and a long chain takes no recursion.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from io import BytesIO
from typing import Any

import msgspec
from msgspec import Struct

from labray.client.refs import ObjectRef
from labray.exception_parts import (
    args_of,
    bare,
    fill,
    hook_of,
    is_exception,
    link,
    links,
    message_of,
    name_of,
    namespace,
    shortened,
    state_of,
)
from labray.serialization import codec

MOST_PARTS = 1_000
"""Exceptions of one chain or tree that travel as what they are; those beyond, in words."""
MOST_BYTES = 16 << 20
"""What is larger is told in words: an error travels inside messages."""


class ExceptionPart(Struct, frozen=True, array_like=True):
    """One exception. itself: by its own __reduce__; made and state: by what it consists of. Empty: it cannot be."""

    words: str
    why: str = ""
    itself: bytes = b""
    made: bytes = b""
    state: bytes = b""
    cause: int = -1
    context: int = -1
    suppress: bool = False


# ---------------------------------------------------------------- apart


class _Pickler(codec.CloudPickler):
    """Leaves out every exception but the one it is about."""

    about: BaseException | None
    number: Callable[[BaseException], int]

    def persistent_id(self, thing: Any) -> int | None:
        return self.number(thing) if is_exception(thing) and thing is not self.about else None


class ExceptionEncoder:
    """An exception in parts, and the refs inside. like: whose cause and notes count, if somebody passed it on."""

    def __init__(self, error: BaseException, like: BaseException | None = None) -> None:
        self.refs: dict[str, ObjectRef[Any]] = {}
        self._found = [error]
        self._numbers = {id(error): 0}
        self._parts: list[ExceptionPart] = []
        for each in self._found:  # it grows
            self._parts.append(self._part(each, like if each is error and like is not None else each))

    def packed(self, copies: int) -> bytes:
        """Words alone, and no refs, if that is too much to travel so many times."""
        data = msgspec.msgpack.encode(self._parts)
        if len(data) * copies <= MOST_BYTES:
            return data
        self.refs = {}
        first = self._parts[0]
        why = f"its {len(data)} bytes, for each of {copies} results, are more than the {MOST_BYTES} that may travel"
        return msgspec.msgpack.encode([ExceptionPart(first.words, why)])

    def _number(self, error: BaseException) -> int:
        at = self._numbers.get(id(error))
        if at is None:
            at = self._numbers[id(error)] = len(self._found)
            self._found.append(error)
        return at

    def _part(self, error: BaseException, like: BaseException) -> ExceptionPart:
        words = f"{name_of(error)}: {message_of(error)}"
        if len(self._parts) >= MOST_PARTS:
            return ExceptionPart(shortened(words, 100), "it is one of too many")
        found = len(self._found)
        try:
            itself, made, state = self._pickles(error, like)
            why = ""
        except KeyboardInterrupt:
            raise
        except BaseException as worse:  # noqa: BLE001  (whatever a user's class raises: the words remain)
            itself, made, state = b"", b"", b""
            why = shortened(f"{name_of(worse)}: {message_of(worse)}", 1_000)
            self._forget(found)
        cause, context, suppress = links(like)
        at = [-1 if each is None or each is error else self._number(each) for each in (cause, context)]
        return ExceptionPart(words, why, itself, made, state, at[0], at[1], suppress)

    def _pickles(self, error: BaseException, like: BaseException) -> tuple[bytes, bytes, bytes]:
        """Pickle an exception by itself and by its parts, as far as either works; raise if neither does."""
        kind, refs = type(error), dict(self.refs)
        hook = hook_of(kind)
        ours = getattr(hook, "__module__", "").startswith("labray.")
        itself = made = state = b""
        if hook is not None:
            try:
                itself = self._dump(error, error, refs)
            except Exception:
                if ours:
                    raise
        if not ours:
            try:
                made = self._dump((kind, args_of(error)), None, refs)
                state = self._state(error, like, refs)
            except Exception:
                if not itself:
                    raise
                made = b""
        self.refs = refs
        return itself, made, state

    def _state(self, error: BaseException, like: BaseException, refs: dict[str, ObjectRef[Any]]) -> bytes:
        fields, attributes = state_of(error)
        if "__notes__" in namespace(like):
            attributes["__notes__"] = namespace(like)["__notes__"]
        return self._dump((fields, attributes), None, refs) if fields or attributes else b""

    def _dump(self, value: Any, about: BaseException | None, refs: dict[str, ObjectRef[Any]]) -> bytes:
        file = BytesIO()
        pickler = _Pickler(file, 5)
        pickler.refs, pickler.about, pickler.number = refs, about, self._number
        pickler.dump(value)
        return file.getvalue()

    def _forget(self, found: int) -> None:
        """Forget the exceptions that only a failed pickle has found."""
        for late in self._found[found:]:
            del self._numbers[id(late)]
        del self._found[found:]


# ---------------------------------------------------------------- together


class _Unpickler(pickle.Unpickler):
    number: Callable[[int], BaseException]

    def persistent_load(self, at: int) -> BaseException:
        return self.number(at)


class _Circle(Exception):  # a signal
    """Attributes lead back to what is not made yet: they are set when all are."""


class ExceptionDecoder:
    """Puts an exception together again. stand_in: makes the exception that tells of one that is not to be had."""

    def __init__(self, data: bytes, stand_in: Callable[[str], BaseException]) -> None:
        self._parts = msgspec.msgpack.decode(data, type=list[ExceptionPart])
        self._made: dict[int, BaseException] = {}
        self._making: set[int] = set()
        self._unfilled: list[int] = []
        self._stand_in = stand_in

    def error(self) -> BaseException:
        """The exception, whatever its class objects to. The codec has been told who receives refs."""
        for at in range(len(self._parts)):
            self._error(at)
        for at in self._unfilled:
            try:
                self._fill(at)
            except KeyboardInterrupt:
                raise
            except BaseException as worse:  # noqa: BLE001  (an attribute's class is not importable here, or objects)
                self._make_stand_in(at, worse)
        for at, part in enumerate(self._parts):
            cause, context = [None if to < 0 else self._made[to] for to in (part.cause, part.context)]
            link(self._made[at], cause, context, part.suppress)
        return self._made[0]

    def _error(self, at: int) -> BaseException:
        if at not in self._made:
            if at in self._making:
                raise _Circle("it contains itself")
            self._making.add(at)
            self._make(at, self._parts[at])
        return self._made[at]

    def _make(self, at: int, part: ExceptionPart) -> None:
        failure: BaseException | None = None
        for make in (self._by_itself, self._of_parts):
            try:
                if make(at, part):
                    return
            except KeyboardInterrupt:
                raise
            except BaseException as worse:  # noqa: BLE001  (not importable here, or its class objects)
                failure = worse
        self._make_stand_in(at, failure)

    def _make_stand_in(self, at: int, failure: BaseException | None) -> None:
        part = self._parts[at]
        why = f"isn't serializable: {part.why}"
        if failure is not None:
            why = f"cannot be unpickled here: {name_of(failure)}: {message_of(failure)}"
        self._made[at] = self._stand_in(f"{part.words} (this exception {shortened(why, 1_000)})")

    def _by_itself(self, at: int, part: ExceptionPart) -> bool:
        if not part.itself:
            return False
        error = self._load(part.itself)
        if not is_exception(error):
            raise TypeError(f"its __reduce__ made a {type(error).__name__}")
        self._made[at] = error
        return True

    def _of_parts(self, at: int, part: ExceptionPart) -> bool:
        if not part.made:
            return False
        kind, args = self._load(part.made)
        self._made[at] = bare(kind, args)
        try:
            self._fill(at)
        except _Circle:
            self._unfilled.append(at)
        return True

    def _fill(self, at: int) -> None:
        if state := self._parts[at].state:
            fill(self._made[at], *self._load(state))

    def _load(self, data: bytes) -> Any:
        unpickler = _Unpickler(BytesIO(data))
        unpickler.number = self._error
        return unpickler.load()
