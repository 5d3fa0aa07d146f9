"""Too little memory: which process is ended for it, and when its task is tried again.

The newest of those that may run again goes first: least is lost with it. It is chosen from the caller that has most
tasks running, and if it is that caller's only one it is not tried again: it needs more than there is, and would be
ended for ever. (Ray's policy: grouped by owner, last in first out.)
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from labray.ids import ClientID, TaskID
from labray.messages import End, ErrorInfo, MemoryShort
from labray.node.losses import worker_lost
from labray.node.tasks import State, TaskRecord
from labray.node.worker import Verdict, Worker

if TYPE_CHECKING:
    from labray.node.node import Node

OUT_OF_MEMORY = "out_of_memory"
IDLE_BYTES = 100_000_000
"""What a process that does nothing may keep of what its tasks have left behind."""
AGAIN_S = 1.0
"""Until the first retry; twice as long each time, since what was too much is so for a while. Ray: the same."""
LONGEST_S = 60.0


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


class Shortage:
    """What a node does about it."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.desk = node.desk

    def relieve(self, message: MemoryShort) -> None:
        """End one process."""
        pool = self.node.pool
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
        self.desk.do(End(chosen.worker))

    def carried_out(self, worker: Worker, verdict: Verdict, begun: tuple[TaskID, ...] | None) -> None:
        """It is dead: what it had begun ends in that, or is tried again; what only waited there is not touched."""
        ran, _ = worker.parted(begun)
        name = f"task {ran[-1].id} ({ran[-1].spec.name})" if ran else f"the actor {worker.actor}"
        error = ErrorInfo(OUT_OF_MEMORY, f"{name} {verdict.why}")
        worker_lost(self.node, worker, error.message, begun, error, final=not verdict.again)

    def _candidate(self, worker: Worker) -> Candidate:
        if worker.actor is not None:
            creation = self.node.residents.here[worker.actor].creation
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
            worker = self.node.pool.workers.get(client)
            runs = () if worker is None else worker.running.values()
            does = ", ".join([task.spec.name for task in runs]) or "idle"
            lines.append(f"  {size / 1e6:10.1f} MB  process {pid}  {client}  {does}")
        return "\n".join(lines)

    # ------------------------------------------------------------ at the owner

    def again_later(self, task: TaskRecord) -> None:
        """Its process was ended for its memory: this uses up no retry, and is tried again in a while."""
        task.excused += 1
        task.at = task.via = None
        task.step(State.WAITING)
        delay = min(AGAIN_S * 2.0 ** (task.excused - 1), LONGEST_S)
        self.desk.after(delay, partial(self._again, task, task.attempt))

    def _again(self, task: TaskRecord, attempt: int) -> None:
        if self.node.custody.tasks.get(task.id) is task and task.attempt == attempt:
            self.node.endings.again(task)
