"""What modelled tasks make: values of the right size in which there is nothing."""

from __future__ import annotations

from functools import lru_cache

from labray import messages as m

NOTHING = m.Payload(b"\x80\x05N.")
"""None, pickled: what a modelled value is when somebody looks."""


@lru_cache(maxsize=1024)
def small_values(sizes: tuple[int, ...]) -> tuple[m.Value, ...] | None:
    """What a modelled task makes, if all of it travels inside messages: the same for all that make the like."""
    if any(size > m.INLINE_LIMIT_BYTES for size in sizes):
        return None
    return tuple(m.Inline(placeholder(size)) for size in sizes)


@lru_cache(maxsize=1024)
def placeholder(size: int) -> m.Payload:
    """A value of this size in which there is nothing."""
    return m.Payload(NOTHING.data, (bytes(max(0, size - len(NOTHING.data))),)) if size > 64 else NOTHING
