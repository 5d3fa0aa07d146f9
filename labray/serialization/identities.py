"""What has an identity and travels by value (classes, sentinels): each process knows its own by a token.

A process makes a thing once, when it first hears of the token, and gives the same thing ever after. The one that
defined it gives the original. Where several processes of a world live in one real process each has a table of its own,
and so copies of its own: nothing that travelled by value is shared.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from secrets import token_hex
from typing import Any


class IdentityTable:
    """What one process knows, as long as it is there. foreign: tokens of what came from another one."""

    __slots__ = ("foreign", "things")

    def __init__(self) -> None:
        self.things: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
        self.foreign: set[str] = set()


here = IdentityTable()
"""Of this real process: in a driver, and in the workers of a cluster."""

_tokens: dict[
    int, str
] = {}  # by id, as a user's object need not be hashable; copies have the token of the original


def _always_here() -> IdentityTable:
    return here


_whose: Callable[[], IdentityTable] = _always_here


def ask(whose: Callable[[], IdentityTable]) -> None:
    """Set the function that tells which process runs."""
    global _whose
    _whose = whose


def token_of(thing: Any) -> str:
    """The token by which other processes know this thing. A thing without one was defined here, and gets one."""
    token = _tokens.get(id(thing))
    if token is None:
        token = token_hex(8)
        _remember(thing, token)
    return token


def known(token: str) -> Any:
    """The thing that this process knows by the token, or None."""
    return _whose().things.get(token)


def at_home() -> bool:
    """Whether it is the real process itself that runs."""
    return _whose() is here


def learn(thing: Any, token: str, copy: bool = True) -> Any:
    """Know a thing from now on, unless it cannot be referred to weakly. copy: it is of another process's thing."""
    if copy:
        _whose().foreign.add(token)
    return _remember(thing, token)


def is_foreign(thing: Any) -> bool:
    """Whether it is a copy of what another process defined."""
    return _tokens.get(id(thing)) in _whose().foreign


def _remember(thing: Any, token: str) -> Any:
    try:
        weakref.finalize(thing, _tokens.pop, id(thing), None).atexit = False
    except TypeError:
        return thing
    _whose().things[token] = thing
    _tokens[id(thing)] = token
    return thing
