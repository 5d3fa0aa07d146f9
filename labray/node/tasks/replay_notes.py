"""What a replay needs to know beyond the events that every run has: odd requests, and what small values weigh.

Written only where it differs from the usual, so that the usual task pays nothing for it.
"""

from __future__ import annotations

from labray.ids import result_id
from labray.messages import ONE_CPU, Inline, TaskSpec, Value
from labray.node.context.node_context import NodeContext
from labray.node.objects.records import size_of

NOTED_BYTES = 1024
"""Smaller values weigh less than the messages that carry them."""


def note_needs(context: NodeContext, spec: TaskSpec) -> None:
    """What a task or actor asks for, if that is not one CPU to run on and nothing to live on."""
    if spec.lifetime or (spec.demand != ONE_CPU and spec.kind != "method"):
        context.note("needs", spec.id, (spec.demand, spec.lifetime))


def note_sizes(context: NodeContext, spec: TaskSpec, values: tuple[Value, ...]) -> None:
    """Of results that travel inside messages and are not negligible; stored ones have an event of their own."""
    for index, value in enumerate(values):
        if type(value) is Inline and (size := size_of(value)) >= NOTED_BYTES:
            context.note("made", result_id(spec.id, index), size)
