"""The invariants of a node, checked after every input in tests."""

from __future__ import annotations

from labray.ids import ObjectID
from labray.node.context.task_record import State
from labray.node.wings import Wings
from labray.node.workers.headcount import RESERVE
from labray.node.workers.ready_queue import alive
from labray.node.workers.resources import lendable


def check(node: Wings) -> None:
    _resources(node)
    _queue(node)
    _staff(node)
    _pipes(node)
    _counts(node)
    _storage(node)


def _resources(node: Wings) -> None:
    """What is free and what is held is what there is."""
    pool = node.pool
    held: dict[str, int] = {}
    for worker in pool.workers.values():
        lent = dict(lendable(worker.held or ())) if worker.blocked and worker.actor is None else {}
        for name, amount in worker.held or ():
            held[name] = held.get(name, 0) + (0 if name in lent else amount)
    for name, total in pool.resources.totals.items():
        free = pool.resources.free[name]
        assert free + held.get(name, 0) == total, (
            f"{node.place}: {name}: {free} free + {held} held is not {total}"
        )


def _queue(node: Wings) -> None:
    ready = [t for t in node.task_table.tasks.values() if t.state is State.READY]
    queued = node.pool.queue.in_order()
    assert len(ready) == len(queued) == node.pool.queue.size, f"{node.place}: {ready} ready, {queued} queued"
    wanted = {t.id for t in ready if t.wanted}
    urgent = {e[3].id for heap in node.pool.queue.urgent.values() for e in heap if alive(e)}
    assert wanted == urgent, f"{node.place}: {wanted} are waited for, {urgent} go first"


def _staff(node: Wings) -> None:
    """Who waits is known, in order; there are no more processes than there may be."""
    pool, headcount = node.pool, node.pool.headcount
    blocked = {worker.id for worker in pool.workers.values() if worker.blocked and worker.actor is None}
    assert blocked == set(pool.blocked), f"{node.place}: {blocked} are blocked, not {list(pool.blocked)}"
    busy = {id for workers in pool.busy.values() for id in workers}
    assert busy >= pool.ahead.keys(), f"{node.place}: {list(pool.ahead)} go first, {busy} are busy"
    orders = list(pool.blocked.values())
    assert orders == sorted(orders), f"{node.place}: {pool.blocked} are out of order"
    assert len(pool.workers) <= headcount.limit + RESERVE, f"{node.place} has {len(pool.workers)} processes"


def _pipes(node: Wings) -> None:
    """Every attempt at a worker is there once and knows it; what is queued waits for a slot; one at most is blocked."""
    seen: dict[tuple[str, int], str] = {}
    pipelined = 0
    for worker in node.pool.workers.values():
        pipelined += bool(worker.queued)
        assert worker.actor is not None or bool(worker.running) == (worker.held is not None), (
            f"{worker.id} holds wrongly"
        )
        assert len(worker.running) <= worker.slots, (
            f"{worker.id} runs {list(worker.running)} in {worker.slots} slots"
        )
        if worker.queued and worker.queued[0].id not in worker.running:
            assert len(worker.running) == worker.slots, f"{worker.id} has a free slot and a queue"
        assert worker.slots == 1 or worker.actor is not None, (
            f"{worker.id} is no actor's and has {worker.slots} slots"
        )
        blocked = sum(task.state is State.BLOCKED for task in worker.sent())
        assert blocked == (worker.blocked > 0 and worker.actor is None), f"{worker.id}: {blocked} blocked"
        for task in worker.sent():
            attempt = (task.id, task.attempt)
            assert attempt not in seen, f"{task!r} is at two workers: {seen.get(attempt)}, {worker.id}"
            seen[attempt] = worker.id
            assert task.worker == worker.id
            assert task.state in (State.DISPATCHED, State.BLOCKED), f"{task!r} at a worker"
    assert pipelined == node.pool.pipelined, (
        f"{node.place}: {pipelined} workers have a queue, {node.pool.pipelined} counted"
    )
    for worker in node.pool.idle:
        assert not worker.running and worker.held is None, f"{worker.id} is idle and has work"


def _counts(node: Wings) -> None:
    """No object is needed by fewer than say so."""
    given: dict[ObjectID, int] = {}
    pins: dict[ObjectID, int] = {}
    for client in node.clients.clients.values():
        for id, count in client.given.items():
            given[id] = given.get(id, 0) + count
        for id, count in client.pins.items():
            pins[id] = pins.get(id, 0) + count
    for id in (*node.store.spilling, *node.store.restoring):
        pins[id] = pins.get(id, 0) + 1
    for id, count in given.items():
        record = node.objects.records.get(id)
        assert record is not None and record.holds >= count, f"{id} is held by clients and was let go"
    stored = used = 0
    for record in node.objects.records.values():
        if record.local is not None:
            stored += 1
            used += record.local.size
        assert record.holds >= 0 and record.given >= 0
        assert record.pins == (pins.get(record.id, 0) if pins else 0), (
            f"{record.id}: {record.pins} pins, clients have {pins.get(record.id)}"
        )
    account = node.store.account
    assert (stored, used) == (len(account.held), account.used), (
        f"{node.place}: the account of its store is wrong"
    )


def _storage(node: Wings) -> None:
    """The account is that of what is here; nothing waits for room that could be had, or for nothing."""
    store = node.store
    store.account.validate()
    for id in store.fetches:
        record = node.objects.records.get(id)
        assert record is not None and record.local is None, f"{id} waits for room and needs none"
    waiting = store.rooms or store.fetches
    on_its_way = store.leaving() or store.restoring or node.admission.alarmed
    assert not waiting or on_its_way, f"{node.place}: a claim on its store is forgotten"
