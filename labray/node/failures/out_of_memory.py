"""Too little memory: which process is ended for it, and when its task is tried again.

The newest of those that may run again goes first: least is lost with it. It is chosen from the caller that has most
tasks running, and if it is that caller's only one it is not tried again: it needs more than there is, and would be
ended for ever. (Ray's policy: grouped by owner, last in first out.)
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from labray.ids import ClientID, TaskID
from labray.messages import KillWorker, MemoryShort
from labray.node.actors.hosting import ActorHosting
from labray.node.context.node_context import NodeContext
from labray.node.workers.pool import WorkerPool
from labray.node.workers.worker_record import Verdict, WorkerRecord

IDLE_BYTES = 100_000_000
"""What a process that does nothing may keep of what its tasks have left behind."""


class Candidate(Struct, frozen=True):
    """A process that could be ended. since: when it began what it does. retriable: that may be done again."""

    worker: ClientID
    caller: TaskID
    retriable: bool
    since: float


def choose(candidates: Sequence[Candidate]) -> tuple[Candidate, bool] | None:
    """Whom to end, and whether what it does is to be tried again; None if there is nobody."""
    groups: dict[tuple[bool, str], list[Candidate]] = {}
    for each in candidates:
        key = (each.retriable, each.caller if each.retriable else each.worker)
        groups.setdefault(key, []).append(each)
    if not groups:
        return None
    group = max(groups.values(), key=lambda g: (g[0].retriable, len(g), max(each.since for each in g)))
    chosen = max(group, key=lambda each: (each.since, each.worker))
    return chosen, chosen.retriable and len(group) > 1


class OutOfMemoryKiller:
    """What a node does about it."""

    def __init__(self, context: NodeContext, pool: WorkerPool, hosting: ActorHosting) -> None:
        self.context = context
        self.pool = pool
        self.hosting = hosting

    def relieve(self, sender: str, message: MemoryShort) -> None:
        """End one process. Its loss is seen to when the world tells of it (losses.py)."""
        pool = self.pool
        size = {client: had for client, _, had in message.sizes}
        idle = max(pool.idle, key=lambda worker: size.get(worker.id, 0), default=None)
        if idle is not None and size.get(idle.id, 0) >= IDLE_BYTES:
            pool.stop(idle)
            return
        busy = [w for w in pool.workers.values() if (w.running or w.actor) and w.verdict is None]
        found = choose([self._candidate(worker) for worker in busy])
        if found is None:
            return
        chosen, again = found
        why = f"was ended for its memory: {message.text}.\n{self._table(message)}"
        pool.workers[chosen.worker].verdict = Verdict(why, again)
        self.context.do(KillWorker(chosen.worker))

    def _candidate(self, worker: WorkerRecord) -> Candidate:
        if worker.actor is not None:
            creation = self.hosting.here[worker.actor].creation
            return Candidate(worker.id, creation.spec.parent, creation.may_retry(), worker.since)
        sent = worker.sent()
        wanted = all(
            task.spec.retries != 0 and task.cancelled is None for task in sent
        )  # any of them may run
        (runs,) = worker.running.values()
        return Candidate(worker.id, runs.spec.parent, wanted, worker.since)

    def _table(self, message: MemoryShort) -> str:
        """Who had how much, the largest first."""
        lines = []
        for client, pid, size in sorted(message.sizes, key=lambda each: (-each[2], each[0])):
            worker = self.pool.workers.get(client)
            runs = () if worker is None else worker.running.values()
            does = ", ".join([task.spec.name for task in runs]) or "idle"
            lines.append(f"  {size / 1e6:10.1f} MB  process {pid}  {client}  {does}")
        return "\n".join(lines)
