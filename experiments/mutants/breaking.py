"""Ways to break labray for a while: a function is replaced by one that is made of it, and put back at the end.

Most mutants break a node at its door, where it hears messages and says what the world must do. What passes there is
the protocol, so a mutant outlives a change of the code behind the door. Only Python can be broken so: native code
(docs/compiled.md) is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from msgspec import Struct

import labray
from labray.messages import Send
from labray.node.node import Node

Break = Callable[["Workshop"], None]


class Workshop:
    """What has been replaced, so that it can be put back."""

    def __init__(self) -> None:
        self._originals: list[tuple[Any, str, Any]] = []

    def replaces(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """The function of that name becomes what `make` makes of it."""
        original = vars(owner)[name]
        self._originals.append((owner, name, original))
        setattr(owner, name, make(original))

    def hears(self, kind: type, change: Callable[[Node, Any], Any]) -> None:
        """A node hears what `change` makes of each message of this kind: another one, or None for none at all."""

        def make(handle: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
            def broken(node: Node, sender: str, message: Any, now: float) -> list[Any]:
                heard = change(node, message) if type(message) is kind else message
                return [] if heard is None else handle(node, sender, heard, now)

            return broken

        self.replaces(Node, "handle", make)

    def does(self, change: Callable[[list[Any]], Iterable[Any]]) -> None:
        """A node has the world do what `change` makes of the effects of each input."""

        def make(handle: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
            def broken(node: Node, sender: str, message: Any, now: float) -> list[Any]:
                return list(change(handle(node, sender, message, now)))

            return broken

        self.replaces(Node, "handle", make)

    def says(self, kind: type, change: Callable[[Any], Iterable[Any]]) -> None:
        """A node sends what `change` makes of each message of this kind: several, another or none."""

        def changed(effects: list[Any]) -> Iterator[Any]:
            for effect in effects:
                if type(effect) is Send and type(effect.message) is kind:
                    yield from (Send(effect.to, message) for message in change(effect.message))
                else:
                    yield effect

        self.does(changed)

    def mend(self) -> None:
        while self._originals:
            owner, name, original = self._originals.pop()
            setattr(owner, name, original)


class Mutant(Struct, frozen=True):
    """What is broken, in words, and how."""

    name: str
    breaks: Break

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Labray is broken within the block."""
        if labray.compiled:
            raise RuntimeError("native code cannot be broken: set LABRAY_PURE=1, or `make pure`.")
        workshop = Workshop()
        try:
            self.breaks(workshop)
            yield
        finally:
            workshop.mend()
