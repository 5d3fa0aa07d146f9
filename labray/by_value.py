"""How things of the main program travel by value that pickle would name, or cloudpickle would impoverish.

A worker has no `__main__` of the user's. cloudpickle sends its functions and classes by value. It leaves out:

* code keeps the name of its file, and the text of a file that is not on disk (a notebook's cell), so that tracebacks,
  `inspect.getsource`, debuggers and coverage tell where it is, whatever cloudpickle's version makes of the name;
* objects whose `__reduce__` says "I am the global of that name": cached functions, a `NewType`, sentinels;
* Struct classes, which cannot be filled after they were made.

What has an identity (a sentinel, a Struct class) carries a token: a process that knows it already gives its own.
"""

from __future__ import annotations

import functools
import inspect
import linecache
import secrets
import sys
import typing
import weakref
from collections.abc import Callable, Mapping
from types import CodeType
from typing import Any

import cloudpickle
import msgspec

StructMeta: Any = type(msgspec.Struct)


def importable(thing: Any, module: str | None, name: str) -> bool:
    """Whether another process finds this very thing under that name, because it can import the module."""
    if module is None or module == "__main__" or module in cloudpickle.list_registry_pickle_by_value():
        return False
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is thing


found_by_name: set[Any] = set()
"""Functions and classes that were found by their module's name: 1 us saved each."""


def can_import(thing: Any) -> bool:
    """Whether a function or class travels by name."""
    if not importable(thing, thing.__module__, thing.__qualname__):
        return False
    found_by_name.add(thing)
    return True


def names_main(data: bytes) -> bool:
    """Whether a pickle may name something of a module that others cannot import. (A string may look like it.)"""
    if b"\x8c\x08__main__" in data:
        return True
    registered = cloudpickle.list_registry_pickle_by_value()
    return bool(registered) and any(module.encode() in data for module in registered)


# ---------------------------------------------------------------- code and its source


def reduce_code(code: CodeType, reduce: Callable[[CodeType], tuple[Any, ...]]) -> tuple[Any, ...]:
    """What `reduce` makes of it, and where it stands."""
    make, args = reduce(code)[:2]
    return _located, (make, args, code.co_filename, _source(code.co_filename))


def _source(filename: str) -> str | None:
    """The text of a file that only this process knows. What is on disk (it has a time) is read there."""
    entry = linecache.cache.get(filename)
    if entry is None or len(entry) != 4 or entry[1] is not None:
        return None
    return "".join(entry[2])


def _located(make: Any, args: Any, filename: str, source: str | None) -> CodeType:
    if source is not None and filename not in linecache.cache:
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    code: CodeType = make(*args)
    return code if code.co_filename == filename else code.replace(co_filename=filename)


# ---------------------------------------------------------------- what calls itself a global


def reduce_named(thing: Any) -> Any:
    """How an instance is pickled; by value where its name would mean nothing elsewhere."""
    reduced = thing.__reduce_ex__(5)
    if type(reduced) is not str or importable(thing, getattr(thing, "__module__", None), reduced):
        return reduced
    if isinstance(thing, functools._lru_cache_wrapper):
        state = {name: value for name, value in vars(thing).items() if name != "cache_parameters"}
        return _cached, (thing.__wrapped__, thing.cache_parameters()), state
    if isinstance(thing, typing.NewType):
        return typing.NewType, (thing.__name__, thing.__supertype__), vars(thing)
    if getattr(thing, "__module__", None) in {None, "builtins", "typing"}:
        return reduced  # pickle knows it, or says what is wrong with it
    return _instance, (_token(thing), type(thing)), thing.__getstate__() or {}, None, None, _fill


def _cached(function: Any, parameters: Mapping[str, Any]) -> Any:
    return functools.lru_cache(**parameters)(function)


def _instance(token: str, kind: Any) -> Any:
    known = _known.get(token)
    return known if known is not None else _remember(kind.__new__(kind), token)


def _fill(thing: Any, state: Any) -> Any:
    """Give an instance its attributes, unless it was here before."""
    if id(thing) in _unfilled:
        _unfilled.discard(id(thing))
        if hasattr(thing, "__setstate__"):
            thing.__setstate__(state)
            return thing
        attributes, slots = state if isinstance(state, tuple) else (state, None)
        vars(thing).update(attributes or {})
        for name, value in (slots or {}).items():
            object.__setattr__(thing, name, value)
    return thing


# ---------------------------------------------------------------- Struct classes

_CONFIG = (
    "frozen", "eq", "order", "array_like", "gc", "repr_omit_defaults", "omit_defaults", "forbid_unknown_fields",
    "weakref", "dict", "cache_hash", "tag", "tag_field",
)  # fmt: skip
_MADE_BY_PYTHON = frozenset({"__slots__", "__dict__", "__weakref__", "__annotate__", "__annotate_func__"})


def reduce_struct(kind: Any) -> tuple[Any, ...]:
    """A Struct class by its fields, options and methods."""
    own = _annotations(kind)
    fields = {field.name: field for field in msgspec.structs.fields(kind) if field.name in own}
    namespace = {
        name: value
        for name, value in vars(kind).items()
        if name not in fields and name not in _MADE_BY_PYTHON and not name.startswith("__annotations")
    }
    options = {name: getattr(kind.__struct_config__, name) for name in _CONFIG}
    options["kw_only"] = bool(fields) and not any(name in kind.__match_args__ for name in fields)
    described = [
        (field.name, own[field.name], field.encode_name, field.required, field.default, field.default_factory)
        for field in fields.values()
    ]
    bases = getattr(kind, "__orig_bases__", kind.__bases__)
    meta = None if type(kind) is StructMeta else type(kind)  # some versions cannot be found by its name
    return _struct, (_token(kind), meta, kind.__name__, bases, namespace, own, described, options)


def _annotations(kind: Any) -> dict[str, Any]:
    """Its own, with the names in them looked up here, where they mean something; but its own name is left a name."""
    own = inspect.get_annotations(kind)
    try:
        hints = typing.get_type_hints(kind, include_extras=True)
    except Exception:  # noqa: BLE001  (a name that exists for type checkers only: msgspec says so if it needs it)
        return own
    return {
        name: given if isinstance(given, str) and kind.__name__ in given else hints.get(name, given)
        for name, given in own.items()
    }


def _struct(
    token: str, meta: Any, name: str, bases: Any, namespace: Any, own: Any, fields: Any, options: Any
) -> Any:
    known = _known.get(token)
    if known is not None:
        return known
    given = dict(namespace)
    for field, _, encoded, required, default, factory in fields:
        values = (
            {} if required else {"default_factory": factory} if _is_given(factory) else {"default": default}
        )
        given[field] = msgspec.field(name=encoded, **values)
    given["__annotations__"] = own
    made = (meta or StructMeta)(name, bases, given, **options)
    return _remember(made, token, filled=True)


def _is_given(factory: Any) -> bool:
    return factory is not msgspec.NODEFAULT


# ---------------------------------------------------------------- identity

_known: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
_tokens: dict[int, str] = {}  # by id, as a user's object need not be hashable
_unfilled: set[int] = set()


def _token(thing: Any) -> str:
    token = _tokens.get(id(thing))
    if token is None:
        token = secrets.token_hex(8)
        _remember(thing, token, filled=True)
    return token


def _remember(thing: Any, token: str, filled: bool = False) -> Any:
    """Know it by this token, as long as it is there. What cannot be referred to weakly is a new one each time."""
    try:
        weakref.finalize(thing, _tokens.pop, id(thing), None).atexit = False
        _known[token] = thing
        _tokens[id(thing)] = token
    except TypeError:
        pass
    if not filled:
        _unfilled.add(id(thing))
    return thing
