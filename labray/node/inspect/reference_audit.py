"""Everything that a node holds and why, read off its tables. It changes nothing."""

from __future__ import annotations

from collections import Counter

from labray.ids import NodeID, ObjectID, is_code
from labray.messages import Demand, Failed, Inline, Ref, Remote
from labray.messages.audit_reports import Held, HeldActor, HeldClient, HeldObject, HeldPipe, HeldTask
from labray.node.context.task_record import TaskRecord, pinned
from labray.node.objects.records import ObjectRecord, size_of
from labray.node.wings import Wings

Count = Counter[ObjectID]


def held(node: Wings) -> Held:
    """All that this place holds at this moment."""
    return Held(
        node.place,
        _objects(node),
        tuple(
            HeldClient(c.id, tuple(c.given.items()), tuple(c.pins.items()), len(c.requests))
            for c in node.clients.clients.values()
        ),
        tuple(
            HeldTask(t.id, t.spec.name, t.state.name, t.attempt, t.mine, t.at)
            for t in node.task_table.tasks.values()
        ),
        _actors(node),
        tuple(
            HeldPipe(w.id, tuple(t.id for t in w.sent()), w.actor, w.held or ())
            for w in node.pool.workers.values()
        ),
        _in_use(node),
        tuple(node.waits.pending()),
        _tables(node),
    )


def _objects(node: Wings) -> tuple[HeldObject, ...]:
    handles: Count = Counter()
    for client in node.clients.clients.values():
        handles.update(client.given)
    arguments: Count = Counter(ref.id for task in node.task_table.tasks.values() for ref in needs(task))
    records = node.objects.records.values()
    nested: Count = Counter(ref.id for record in records for ref in record.refs())
    lineage: Count = Counter(id for origin in node.lineage.origins.values() for id in origin.held)
    return tuple(
        HeldObject(
            r.id, r.owner, *_known(r), r.holds, handles[r.id], arguments[r.id], nested[r.id], lineage[r.id],
            int(is_code(r.id) and r.holds > 0), r.pins, *_loans(r, node.place),
        )
        for r in records
    )  # fmt: skip


def _loans(record: ObjectRecord, here: NodeID) -> tuple[int, tuple[tuple[NodeID, int], ...]]:
    """What this place has borrowed, and what it has lent to whom; by way of others too."""
    lent = Counter(record.loans or {})
    for (borrower, _), count in (record.passed or {}).items():
        lent[borrower] += count
    if record.owner == here:
        return record.given, tuple(lent.items())
    return record.given + lent[here], ()


def needs(task: TaskRecord) -> list[Ref]:
    """What a task on record holds at this place: see Custody.submit, assigned and forget."""
    if task.mine:
        return list(pinned(task.spec))
    refs = list(task.spec.args.refs)
    for ref, value in zip(task.spec.deps, task.known or (None,) * len(task.spec.deps), strict=True):
        refs += value.payload.refs if type(value) is Inline else (ref,)
    return refs


def _known(record: ObjectRecord) -> tuple[str, int, tuple[NodeID, ...]]:
    """State, size and the stores that have it."""
    value = record.value
    if record.local is not None:
        where = value.places if type(value) is Remote else ()
        return ("stored" if record.owner else "block"), record.local.size, where
    if value is None:
        return "pending", 0, ()
    if type(value) is Remote:
        return "remote", value.size, value.places
    return ("failed" if type(value) is Failed else "inline"), size_of(value), ()


def _actors(node: Wings) -> tuple[HeldActor, ...]:
    calls = node.calls
    return (
        *(HeldActor(a.id, "owned", a.state, a.at) for a in node.lifecycle.owned.values()),
        *(
            HeldActor(r.id, "resident", "alive" if r.born else "starting", node.place)
            for r in node.hosting.here.values()
        ),
        *(
            HeldActor(id, "known", "dead" if k.error is not None else "alive" if k.at else "sought", k.at)
            for id, k in calls.known.items()
        ),
    )


def _in_use(node: Wings) -> Demand:
    resources = node.pool.resources
    in_use = ((name, total - resources.free[name]) for name, total in resources.totals.items())
    return tuple((name, amount) for name, amount in in_use if amount)


def _tables(node: Wings) -> tuple[tuple[str, int], ...]:
    pool, policy_host = node.pool, node.policy_host
    records = node.objects.records.values()
    tables: dict[str, int] = {
        "objects": len(node.objects.records),
        "code": sum(is_code(record.id) for record in records),
        "waiting for an object": sum(len(r.on_exist or ()) + len(r.on_local or ()) for r in records),
        "tasks": len(node.task_table.tasks),
        "shapes warned of": len(node.infeasible.warned),
        "origins": len(node.lineage.origins),
        "actors owned": len(node.lifecycle.owned),
        "actors known": len(node.calls.known),
        "actors expected": len(node.lifecycle.expected),
        "residents": len(node.hosting.here),
        "clients": len(node.clients.clients),
        "workers": len(pool.workers),
        "code known to workers": sum(len(worker.known) for worker in pool.workers.values()),
        "busy shapes": len(pool.busy),
        "queued shapes": len(pool.queue.shapes),
        "durations": len(pool.durations.recent),
        "names": len(node.registry.names),
        "lost places": len(node.context.dead),
        "withdrawn": len(node.feed.withdrawn),
        "demands": len(node.feed.shapes) + len(policy_host.shapes_here),
        "log": len(node.context.log),
    }
    return tuple(tables.items())
