"""Programs as hypothesis draws them, and tasks that have children, for nodes in the loop."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from labray import messages as m
from labray.ids import ObjectID
from tests.kit.loop import Body, LoopWorld, spec


def have_children(count: int, run: m.RunTask, world: LoopWorld, worker: Any) -> Body:
    """Submit so many and get them; their refs are dropped however that ends."""
    refs: list[m.Ref] = []
    try:
        yield from submit_and_get(count, refs, run, world, worker)
    except KeyboardInterrupt:
        if refs:
            yield m.DropRefs(tuple((ref.id, 1) for ref in refs))
        raise
    if refs:
        yield m.DropRefs(tuple((ref.id, 1) for ref in refs))


def submit_and_get(count: int, refs: list[m.Ref], run: m.RunTask, world: LoopWorld, worker: Any) -> Body:
    for index in range(count):
        id = world.next_id(run.spec.id, run.attempt)
        refs.append(m.Ref(ObjectID(f"{id}.0"), worker.at))
        fields = {"name": f"0,{index % 2}", "demand": run.spec.demand}
        yield m.SubmitTask(child_spec(world, id, run, worker, **fields))
    if refs:
        reply = yield m.Get(world.request(), tuple(refs), task=run.spec.id)
        assert len(reply.values) == len(refs) or isinstance(reply.values[0], m.Failed)
        pinned = [(r.id, 1) for r, v in zip(refs, reply.values, strict=False) if isinstance(v, m.Stored)]
        if pinned:
            yield m.Unpin(tuple(pinned))
    return []


def child_spec(world: LoopWorld, id: Any, run: m.RunTask, worker: Any, **fields: Any) -> m.TaskSpec:

    return spec(id, run.spec.id, worker.at, **fields)


programs = st.lists(
    st.tuples(
        st.integers(0, 3),  # children
        st.integers(0, 1),  # large result
        st.integers(1, 2),  # cpus
        st.lists(st.integers(0, 30), max_size=3),  # which earlier results it needs
    ),
    min_size=1,
    max_size=12,
)


def run_program(world: LoopWorld, program: list[Any], retries: int = 0) -> list[m.Ref]:
    refs: list[m.Ref] = []
    for children, large, cpus, needs in program:
        deps = tuple(dict.fromkeys(refs[n % len(refs)] for n in needs)) if refs else ()
        demand = (("CPU", min(cpus, world.cpus) * m.UNIT),)
        refs.append(
            world.submit(world.driver, name=f"{children},{large}", deps=deps, demand=demand, retries=retries)
        )
    return refs
