"""The buffers of a payload: whose memory they are, and that arrays are aligned and read-only, small ones too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from labray.messages import Payload

ALIGNMENT_BYTES = 64
"""What a store gives to large arrays, so that a program cannot tell how large its arrays are."""


def settle(payload: Payload) -> Payload:
    """The payload with buffers of its own: what happens to the caller's memory no longer matters."""
    if not payload.buffers:
        return payload
    return Payload(payload.data, tuple(bytes(buffer) for buffer in payload.buffers), payload.refs)


def in_place(payload: Payload) -> Payload:
    """For a store in this process: settled so that `to_read` will leave the buffers where they are."""
    if payload.buffers and _has_arrays(payload):
        return Payload(payload.data, tuple(aligned(payload.buffers)), payload.refs)
    return settle(payload)


def to_read(payload: Payload) -> Sequence[Any]:
    """The buffers of a payload, to unpickle from. Those of small arrays came in a message and are copied, aligned."""
    buffers = payload.buffers
    return aligned(buffers) if buffers and type(buffers[0]) is bytes and _has_arrays(payload) else buffers


def _has_arrays(payload: Payload) -> bool:
    return b"numpy" in payload.data


def aligned(buffers: Sequence[Any]) -> list[Any]:
    """Read-only copies of flat buffers, each at an aligned address."""
    import numpy as np  # it is needed now: there are arrays to make

    views = []
    for buffer in buffers:
        room = np.empty(len(buffer) + ALIGNMENT_BYTES - 1, np.uint8)
        start = -room.__array_interface__["data"][0] % ALIGNMENT_BYTES
        view = memoryview(room)[start : start + len(buffer)]  # type: ignore[arg-type]
        view[:] = buffer
        views.append(view.toreadonly())
    return views
