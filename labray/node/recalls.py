"""What becomes of tasks that a worker gives back unbegun."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labray.ids import ClientID
from labray.messages import Recalled, Stored

if TYPE_CHECKING:
    from labray.node.node import Node


def recalled(node: Node, sender: ClientID, message: Recalled) -> None:
    """They are ready again; what came with them did not arrive."""
    worker = node.pool.workers.get(sender)
    if worker is None:
        return
    back = node.pool.recalled(worker, message.tasks)
    if worker.actor is not None and back:
        node.residents.give_back(worker, back)
    for task in back:
        for ref in task.spec.deps:
            record = node.objects.records.get(ref.id)
            if record is not None and type(record.here) is Stored:
                node.clients.unpin(worker.id, ((ref.id, 1),))
        if task.spec.kind != "method":
            node.pool.ready(task)
    node.cancels.given_back(back)
    if worker.actor is not None and back and not worker.running:  # the call that ran has ended since
        node.residents.pump(worker.actor)
