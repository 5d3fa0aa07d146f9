"""What queued tasks have in common is kept once.

Decoding makes every task of a flood a copy of its function's name, of its request, of its submitter: 500 of 740 bytes.
Comparing costs 1 us, so it is done only where many wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import force_setattr

if TYPE_CHECKING:
    from labray.messages import Spec

MANY = 2000
"""Tasks at a node from which on memory matters more than the microsecond."""

COMMON = ("name", "parent", "owner", "function", "args", "demand", "lifetime", "actor", "method", "retry_on")


class Sharing:
    """Of one node."""

    def __init__(self) -> None:
        self._last: Spec | None = None

    def slim(self, spec: Spec) -> None:
        """Give it the fields of the last one, where they are equal. (Nobody has seen it yet.)"""
        last, self._last = self._last, spec
        if last is not None:
            for name in COMMON:
                known = getattr(last, name)
                if getattr(spec, name) == known:
                    force_setattr(spec, name, known)
