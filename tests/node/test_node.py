"""The node's main rules, a sentence each: one input, and the whole list of effects that follows."""

from __future__ import annotations

import random
from typing import Any

import pytest

from labray import messages as m
from labray.errors import SchedulerError
from labray.ids import DRIVER, HEAD, ClientID, NodeID, ObjectID, TaskID
from labray.node import Node
from labray.node.context.task_record import State, TaskRecord
from labray.node.node import PIPE_ALARM
from labray.node.workers.pipelining import LONG_S
from labray.scheduling import ClusterInfo, Forward, Keep, NodeInfo
from tests.kit.bench import (
    CPU,
    KEEP,
    N0,
    N1,
    SHORT_S,
    TOO_LONG_S,
    VALUE,
    W0,
    W1,
    Always,
    Bench,
    D,
    error,
    known,
    ref,
    run,
    stored,
    task,
)
from tests.kit.loop import EMPTY

# ---------------------------------------------------------------- submit, keep, run, finish


def test_submitted_task_is_kept_and_sent_to_an_idle_worker() -> None:
    bench = Bench()
    assert bench.submit(task("d-0")) == [run(W0, task("d-0"))]
    assert bench.free() == 0


def test_task_without_room_waits_until_another_ends() -> None:
    bench = Bench()
    bench.submit(task("d-0"))
    assert bench.submit(task("d-1", name="g")) == []
    assert bench.finish(W0, task("d-0")) == [run(W0, task("d-1", name="g"))]
    assert bench.finish(W0, task("d-1", name="g")) == []
    assert bench.free() == 1


def test_get_is_answered_when_all_values_exist_and_not_before() -> None:
    bench = Bench(cpus=2)
    first, second = task("d-0"), task("d-1")
    bench.submit(first)
    bench.submit(second)
    assert bench.hear(D, m.Get(1, (ref(first), ref(second)))) == []
    assert bench.finish(W0, first) == []
    assert bench.finish(W1, second) == [m.Send(D, m.Values(1, (VALUE, VALUE)))]


def test_get_fails_as_soon_as_one_has_failed() -> None:
    bench = Bench(cpus=2)
    first, second = task("d-0"), task("d-1")
    bench.submit(first)
    bench.submit(second)
    bench.hear(D, m.Get(1, (ref(first), ref(second))))
    failed = m.Failed(m.ErrorInfo("task", "no"))
    assert bench.finish(W1, second, values=(failed,)) == [m.Send(D, m.Values(1, (failed,)))]


def test_wait_is_answered_when_enough_exist_and_a_poll_at_once() -> None:
    bench = Bench(cpus=2)
    made = [task(f"d-{n}") for n in range(2)]
    refs = tuple(ref(one) for one in made)
    for one in made:
        bench.submit(one)
    assert bench.hear(D, m.Wait(1, refs, 1)) == []
    assert bench.hear(D, m.Wait(2, refs, 2, poll=True)) == [m.Send(D, m.ReadyPositions(2, ()))]
    assert bench.finish(W1, made[1]) == [m.Send(D, m.ReadyPositions(1, (1,)))]


def test_a_wait_whose_answer_is_known_is_noted_and_not_answered() -> None:
    bench = Bench()
    made = task("d-0")
    bench.submit(made)
    bench.finish(W0, made)
    assert bench.hear(D, m.Wait(m.NO_ANSWER, (ref(made),), 1, poll=True)) == []
    assert bench.node.take_log()[-1][1:] == ("waited", N0, D, (bench.now, 1, (ref(made).id,)))


def test_task_is_handed_to_the_agent_when_its_dependencies_exist() -> None:
    asked: list[TaskID] = []
    bench = Bench(cpus=2, policy=Always(lambda id: asked.append(id) or (Keep(id),)))
    first = task("d-0")
    second = task("d-1", deps=(ref(first),))
    bench.submit(first)
    assert bench.submit(second) == [] and asked == ["d-0"]
    assert bench.finish(W0, first) == [run(W0, second, args=(VALUE,))]
    assert asked == ["d-0", "d-1"]


def test_failed_dependency_ends_what_needs_it_at_any_depth_and_the_agent_never_hears() -> None:
    asked: list[TaskID] = []
    bench = Bench(policy=Always(lambda id: asked.append(id) or (Keep(id),)))
    chain = [task("d-0")]
    bench.submit(chain[0])
    for n in range(1, 100):
        chain.append(task(f"d-{n}", deps=(ref(chain[-1]),)))
        assert bench.submit(chain[-1]) == []
    bench.hear(D, m.Get(1, (ref(chain[-1]),)))
    failed = m.Failed(m.ErrorInfo("task", "no"))
    assert bench.finish(W0, chain[0], values=(failed,)) == [m.Send(D, m.Values(1, (failed,)))]
    assert asked == ["d-0"]


def test_what_no_node_can_run_waits_with_one_warning_and_raises_where_that_is_strict() -> None:
    bench = Bench(policy=Always(lambda id: ()))
    [warning] = bench.submit(task("d-0", demand=(("GPU", m.UNIT),)))
    assert isinstance(warning, m.WarnUser) and "{GPU: 1}" in warning.text
    assert bench.submit(task("d-1", demand=(("GPU", m.UNIT),))) == []
    bench = Bench(strict=True)
    bench.submit(task("d-0", demand=(("GPU", m.UNIT),)))
    assert error(bench.hear(D, m.Get(1, (ref(task("d-0")),)))).kind == "unschedulable"


# ---------------------------------------------------------------- blocking


def test_blocked_task_returns_its_cpu_and_resumes_at_once() -> None:
    bench = Bench(workers=2)
    outer, inner = task("d-0"), task("c-0", name="g", parent=TaskID("d-0"))
    bench.submit(outer)
    assert bench.submit(inner, by=W0) == []
    assert bench.hear(W0, m.Get(1, (ref(inner),), task=outer.id)) == [run(W1, inner)]
    assert bench.finish(W1, inner) == [m.Send(W0, m.Values(1, (VALUE,)))]
    assert bench.free() == 0
    bench.finish(W0, outer)
    assert bench.free() == 1


def test_nothing_starts_while_there_is_an_overdraft() -> None:
    bench = Bench(workers=2)
    outer, other = task("d-0"), task("d-1", name="g")
    bench.submit(outer)
    bench.submit(other)
    bench.hear(D, m.SubmitTask(task("d-2", name="h")))
    assert bench.hear(W0, m.Wait(1, (ref(other),), 1, task=outer.id)) == [run(W1, other)]
    assert bench.free() == 0
    assert bench.hear(W0, m.Abandon(1)) == [] and bench.free() == -1
    assert bench.finish(W1, other) == [] and bench.free() == 0
    assert bench.finish(W0, outer) == [run(W0, task("d-2", name="h"))]


def test_actor_that_waits_lends_nothing() -> None:
    bench = Bench(workers=2)
    actor = task("d-0", kind="actor", demand=CPU, lifetime=CPU)
    call = task("d-1", kind="method", name="A.m", demand=(), actor=ref(actor))
    inner = task("c-0", parent=TaskID("d-1"))
    bench.submit(actor)
    bench.finish(W0, actor)
    assert bench.submit(call) == [run(W0, call)]
    assert bench.submit(inner, by=W0) == []
    assert bench.hear(W0, m.Get(1, (ref(inner),))) == []
    assert bench.free() == 0


# ---------------------------------------------------------------- the pipe to a worker


def test_pipe_holds_one_task_of_a_function_not_yet_seen() -> None:
    bench = Bench()
    assert bench.submit(task("d-0")) == [run(W0, task("d-0"))]
    assert bench.submit(task("d-1")) == []


def test_pipe_holds_several_tasks_that_are_known_to_be_short() -> None:
    _, made, effects = known(SHORT_S)
    assert effects == [run(W0, made[0]), run(W0, made[1]), m.SetAlarm(LONG_S, PIPE_ALARM), run(W0, made[2])]


def test_pipe_holds_no_more_than_2_ms_of_known_work() -> None:
    _, _, effects = known(0.0005, more=10)
    assert len([effect for effect in effects if isinstance(effect, m.Send)]) == 4


def test_pipe_holds_one_task_that_is_known_to_be_long() -> None:
    _, made, effects = known(TOO_LONG_S)
    assert effects == [run(W0, made[0])]


def test_tasks_behind_one_that_blocks_are_recalled_and_run_elsewhere() -> None:
    bench, made, _ = known(SHORT_S)
    wanted = task("c-0", name="g", parent=made[0].id)
    bench.submit(wanted, by=W0)
    first, *behind = bench.hear(W0, m.Get(1, (ref(wanted),), task=made[0].id))
    assert first == m.Send(W0, m.Recall((made[1].id, made[2].id)))
    assert behind == [run(W1, wanted)]
    assert bench.hear(W0, m.Recalled((made[1].id, made[2].id))) == []
    assert bench.finish(W1, wanted, TOO_LONG_S) == [
        m.Send(W0, m.Values(1, (VALUE,)))
    ]  # not behind a long one
    assert bench.free() == 0 and bench.finish(W0, made[0])[0] == run(W0, made[1])


def test_tasks_behind_one_that_turns_out_long_are_recalled_by_an_alarm() -> None:
    bench, made, _ = known(SHORT_S)
    behind = (made[1].id, made[2].id)
    assert bench.hear("", m.AlarmRang(PIPE_ALARM), after=LONG_S) == [
        m.Send(W0, m.Recall(behind)),
        m.SetAlarm(LONG_S, PIPE_ALARM),
    ]
    assert bench.hear(W0, m.Recalled(behind)) == []  # and not sent back behind it
    assert bench.submit(task("d-9")) == []
    assert bench.finish(W0, made[0])[0] == run(W0, made[1])


def test_alarm_that_comes_in_time_recalls_nothing() -> None:
    bench, _, _ = known(SHORT_S)
    assert bench.hear("", m.AlarmRang(PIPE_ALARM), after=LONG_S / 2) == [m.SetAlarm(LONG_S, PIPE_ALARM)]


# ---------------------------------------------------------------- several places


def away(to: NodeID = N1) -> Always:
    return Always(lambda task: (Forward(task, to),))


def test_forwarded_task_is_assigned_with_what_is_known_of_its_inputs() -> None:
    bench = Bench(policy=away())
    put = m.Ref(ObjectID("d-p0"), N0)
    bench.hear(D, m.PutObject(put.id, VALUE, DRIVER))
    made = task("d-0", deps=(put,))
    assert bench.submit(made) == [m.Send(N1, m.AssignTask(made, 0, (VALUE,), 1))]


def test_forwarding_anothers_task_tells_its_owner_where_it_went() -> None:
    bench = Bench(policy=away(HEAD), place=N1)
    made = task("d-0")
    assert bench.hear("head", m.AssignTask(made, 0, (), 1)) == [
        m.Send(HEAD, m.AssignTask(made, 0, (), 2)),
        m.Send(N0, m.TaskMoved(made.id, 0, HEAD, 2)),
    ]
    assert not bench.node.submission.tasks


def test_keeping_anothers_task_tells_its_owner_and_its_result_goes_there() -> None:
    bench = Bench(place=N1)
    made = task("d-0")
    worker = ClientID("n1/w0")
    assert bench.hear(N0, m.AssignTask(made, 0, (), 1)) == [
        m.Send(N0, m.TaskMoved(made.id, 0, N1, 1)),
        run(worker, made),
    ]
    assert bench.finish(worker, made) == [
        m.Send(N0, m.TaskDone(made.id, 0, (VALUE,), seconds=pytest.approx(SHORT_S)))
    ]
    assert not bench.node.submission.tasks and not bench.node.objects.records


def test_submitter_owns_the_result_wherever_it_was_made() -> None:
    bench = Bench(policy=away())
    made = task("d-0")
    bench.submit(made)
    bench.hear(D, m.Get(1, (ref(made),)))
    assert bench.hear(N1, m.TaskMoved(made.id, 0, N1, 1)) == []
    assert bench.hear(N1, m.TaskDone(made.id, 0, (VALUE,))) == [m.Send(D, m.Values(1, (VALUE,)))]


def test_values_of_an_attempt_that_was_given_up_are_not_accepted() -> None:
    bench = Bench(policy=away())
    made = task("d-0", retries=1)
    bench.submit(made)
    lost = m.TaskDone(made.id, 0, (m.Failed(m.ErrorInfo("worker_crashed", "gone")),), lost=True)
    assert bench.hear(N1, lost) == [m.Send(N1, m.AssignTask(made, 1, (), 1))]
    bench.hear(D, m.Get(1, (ref(made),)))
    assert bench.hear(N1, m.TaskDone(made.id, 0, (VALUE,))) == []
    assert bench.hear(N1, m.TaskDone(made.id, 1, (VALUE,))) == [m.Send(D, m.Values(1, (VALUE,)))]


def test_own_task_at_a_lost_place_starts_anew_wherever_the_policy_now_says() -> None:
    places = [N1, N0]
    bench = Bench(policy=Always(lambda id: (Forward(id, N1) if places.pop(0) == N1 else Keep(id),)))
    made = task("d-0", retries=1)
    bench.submit(made)
    assert bench.hear("", m.PeerLost(N1)) == [run(W0, made, attempt=1)]


def test_stored_argument_is_pulled_once_however_many_tasks_wait_for_it() -> None:
    bench = Bench(cpus=2, place=N1)
    put = m.Ref(ObjectID("d-p0"), N0)
    there = m.Remote(1_000_000, (N0,))
    made = [task(f"d-{n}", deps=(put,)) for n in range(2)]
    moved = [m.Send(N0, m.TaskMoved(one.id, 0, N1, 1)) for one in made]
    assert bench.hear(N0, m.AssignTask(made[0], 0, (there,), 1)) == [
        moved[0],
        m.Send(N0, m.PullObject(put.id)),
    ]
    assert bench.hear(N0, m.AssignTask(made[1], 0, (there,), 1)) == [moved[1]]
    here = stored("n1")
    assert bench.hear("", m.ObjectArrived(put.id, here, N1)) == [
        m.Send(N0, m.LocationAdded(put.id)),
        run(ClientID("n1/w0"), made[0], args=(here,)),
        run(ClientID("n1/w1"), made[1], args=(here,)),
    ]


def test_pull_is_answered_by_a_push_or_by_missing() -> None:
    bench = Bench()
    bench.hear(D, m.PutObject(ObjectID("d-p0"), stored(), DRIVER))
    assert bench.hear(N1, m.PullObject(ObjectID("d-p0"))) == [m.PushObject(ObjectID("d-p0"), stored(), N1)]
    assert bench.hear(N1, m.PullObject(ObjectID("d-p1"))) == [m.Send(N1, m.ObjectMissing(ObjectID("d-p1")))]


# ---------------------------------------------------------------- losses


def test_task_of_a_lost_worker_runs_again_until_its_retries_are_used_up() -> None:
    bench = Bench(workers=3)
    made = task("d-0", retries=1)
    bench.submit(made)
    bench.hear(D, m.Get(1, (ref(made),)))
    assert bench.hear("", m.WorkerLost(W0, "gone")) == [run(W1, made, attempt=1)]
    info = error(bench.hear("", m.WorkerLost(W1, "gone too")))
    assert info.kind == "worker_crashed" and "gone too" in info.message
    assert bench.free() == 1


def test_task_that_only_waited_in_a_lost_workers_pipe_loses_no_attempt() -> None:
    bench, made, _ = known(SHORT_S, more=2)
    bench.hear(D, m.Get(1, (ref(made[0]),)))
    first, second = bench.hear("", m.WorkerLost(W0, "gone", begun=(made[0].id,)))
    assert error([first]).kind == "worker_crashed"
    assert second == run(W1, made[1], attempt=0)


def test_by_force_a_task_is_cancelled_where_its_world_says_that_it_runs_whatever_is_first_in_the_pipe() -> (
    None
):
    bench, made, _ = known(SHORT_S, more=3)
    for at in range(3):
        bench.hear(D, m.Get(1 + at, (ref(made[at]),)))
    cancel = m.Cancel(9, ref(made[1]), force=True, recursive=False)
    assert bench.hear(D, cancel)[0] == m.Send(W0, m.Interrupt(made[1].id, 0, force=True))
    effects = bench.hear("", m.WorkerLost(W0, "killed", begun=(made[0].id, made[1].id)))
    kinds = [error([effect]).kind for effect in effects if effect.to == D]
    assert kinds == ["worker_crashed", "cancelled"]
    assert [effect for effect in effects if effect.to == W1] == [run(W1, made[2])]


def test_by_force_a_task_that_has_not_begun_costs_no_process() -> None:
    bench, made, _ = known(SHORT_S, more=2)
    bench.hear(D, m.Get(1, (ref(made[1]),)))
    bench.hear(D, m.Cancel(9, ref(made[1]), force=True, recursive=False))
    (answer,) = bench.hear(W0, m.Recalled((made[1].id,)))
    assert error([answer]).kind == "cancelled" and W0 in bench.node.pool.workers


def test_what_a_lost_worker_had_ended_and_not_told_was_begun_as_well() -> None:
    bench, made, _ = known(SHORT_S, more=2)
    bench.hear(D, m.Get(1, (ref(made[0]),)))
    bench.hear(D, m.Get(2, (ref(made[1]),)))
    effects = bench.hear("", m.WorkerLost(W0, "gone"))
    assert [error([effect]).kind for effect in effects[:2]] == ["worker_crashed"] * 2
    assert not any(isinstance(effect, m.Send) and isinstance(effect.message, m.RunTask) for effect in effects)


def test_late_word_of_a_stopped_worker_is_not_heard() -> None:
    bench = Bench(workers=2)
    bench.submit(task("d-0"))
    bench.hear("", m.WorkerLost(W0, "gone"))
    assert bench.finish(W0, task("d-0")) == []


# ---------------------------------------------------------------- workers of several slots


def two_slots(
    retries: int = 0, restarts: int = 0, calls: int = 3
) -> tuple[Bench, m.TaskSpec, list[m.TaskSpec]]:
    """An actor that runs two calls at once, was called so often, and lives at w0; there is one CPU, and w1 idles."""
    bench = Bench(workers=2)
    actor = task("d-0", kind="actor", lifetime=(), retries=restarts, slots=2)
    bench.submit(actor)
    bench.finish(W0, actor, values=(m.Inline(m.Payload(b"")),))
    made = [
        task(f"d-{1 + at}", kind="method", actor=ref(actor), demand=(), retries=retries)
        for at in range(calls)
    ]
    for call in made:
        assert bench.submit(call)[0] == run(W0, call)  # what has no slot yet is sent ahead
    return bench, actor, made


def at_w0(bench: Bench) -> tuple[list[str], list[str]]:
    worker = bench.node.pool.workers[W0]
    return list(worker.running), [each.id for each in worker.queued]


def test_an_actor_of_two_slots_runs_two_calls_at_once_and_the_third_when_either_ends() -> None:
    bench, _, (first, second, third) = two_slots()
    assert at_w0(bench) == ([first.id, second.id], [third.id])
    bench.finish(W0, second)
    assert at_w0(bench) == ([first.id, third.id], [])
    bench.finish(W0, first)
    bench.finish(W0, third)
    assert at_w0(bench) == ([], []) and bench.free() == 1


def test_a_call_that_has_no_slot_waits_for_one_of_those_that_run_and_a_running_one_for_none() -> None:
    bench, _, (first, second, third) = two_slots()
    tasks = bench.node.submission.tasks
    wait = bench.node.waits.waiting(tasks[third.id])
    assert wait is not None and (wait.of, wait.count) == ((first.id, second.id), 1)
    assert bench.node.waits.waiting(tasks[second.id]) is None


def test_of_a_lost_worker_of_two_slots_both_that_ran_are_lost_and_what_was_queued_is_not() -> None:
    bench, actor, (first, second, third) = two_slots(restarts=1)
    for at, call in enumerate((first, second)):
        bench.hear(D, m.Get(1 + at, (ref(call),)))
    effects = bench.hear("", m.WorkerLost(W0, "gone", begun=(first.id, second.id)))
    assert [error([each]).kind for each in effects if each.to == D] == ["actor_unavailable"] * 2
    assert run(W1, actor, attempt=1) in effects
    assert run(W1, third) in bench.finish(W1, actor, attempt=1, values=(m.Inline(m.Payload(b"")),))


def test_a_retry_budget_is_its_tasks_own_and_not_its_workers() -> None:
    bench, actor, (first, second, third) = two_slots(retries=1, restarts=-1)
    bench.hear("", m.WorkerLost(W0, "gone", begun=(first.id,)))  # the others had not begun
    effects = bench.finish(W1, actor, attempt=1, values=(m.Inline(m.Payload(b"")),))
    runs = [(each.message.spec.id, each.message.attempt) for each in effects]
    assert sorted(runs) == [(first.id, 1), (second.id, 0), (third.id, 0)]
    for at, call in enumerate((first, second)):
        bench.hear(D, m.Get(1 + at, (ref(call),)))
    effects = bench.hear("", m.WorkerLost(W1, "gone too", begun=(first.id, second.id)))
    told = [each for each in effects if isinstance(each, m.Send) and each.to == D]
    assert [error([each]).kind for each in told] == ["actor_unavailable"]
    tasks = bench.node.submission.tasks
    assert first.id not in tasks and tasks[second.id].attempt == 1 and tasks[third.id].attempt == 0


def test_a_cancelled_call_does_not_touch_the_one_that_runs_beside_it() -> None:
    bench, _, (first, second, third) = two_slots()
    for at, call in enumerate((first, second)):
        bench.hear(D, m.Get(1 + at, (ref(call),)))
    cancel = m.Cancel(9, ref(first), force=False, recursive=False)
    assert bench.hear(D, cancel) == [m.Send(W0, m.Recall((first.id,))), m.Send(D, m.RequestAnswered(9, True))]
    bench.hear(W0, m.Recalled(()))  # it has begun: its value is not given out
    assert at_w0(bench) == ([first.id, second.id], [third.id])
    assert bench.finish(W0, second) == [m.Send(D, m.Values(2, (VALUE,)))]
    assert error(bench.finish(W0, first)).kind == "cancelled"


def test_the_next_attempt_at_a_call_waits_where_the_one_before_still_runs() -> None:
    bench, _, (first, second, _) = two_slots()
    bench.finish(W0, second)
    worker = bench.node.pool.workers[W0]
    again = TaskRecord(first, 9, False, attempt=1)
    again.state = State.CALLING
    bench.node.pool.send_task(again, worker)
    assert [each.attempt for each in worker.running.values()] == [0, 0] and worker.queued == [again]
    bench.node.pool.ended(worker, worker.running[first.id], SHORT_S)
    assert worker.running[first.id] is again


# ---------------------------------------------------------------- who needs what


def test_stored_object_is_freed_when_its_last_handle_is_dropped() -> None:
    bench = Bench()
    id = ObjectID("d-p0")
    assert bench.hear(D, m.PutObject(id, stored(), DRIVER)) == []
    assert bench.hear(D, m.DropRefs(((id, 1),))) == [m.FreeBlock(id, stored())]
    assert not bench.node.objects.records


def test_object_is_freed_everywhere_but_not_under_a_view() -> None:
    bench = Bench()
    id = ObjectID("d-p0")
    bench.hear(D, m.PutObject(id, stored(), DRIVER))
    bench.hear(N1, m.LocationAdded(id))
    bench.hear(D, m.Get(1, (m.Ref(id, N0),)))
    assert bench.hear(D, m.DropRefs(((id, 1),))) == [m.Send(N1, m.FreeCopy(id))]
    assert bench.hear(D, m.Unpin(((id, 1),))) == [m.FreeBlock(id, stored())]


def test_argument_is_held_until_the_task_that_needs_it_is_over() -> None:
    bench = Bench()
    id = ObjectID("d-p0")
    made = task("d-0", args=m.Payload(b"", (), (m.Ref(id, N0),)))
    bench.hear(D, m.PutObject(id, stored(), DRIVER))
    bench.submit(made)
    assert bench.hear(D, m.DropRefs(((id, 1),))) == []
    assert bench.finish(W0, made) == [m.FreeBlock(id, stored())]


def test_ref_that_a_task_keeps_is_held_by_its_worker() -> None:
    bench = Bench()
    held = m.Ref(ObjectID("d-p0"), N0)
    made = task("d-0", args=m.Payload(b"", (), (held,)))
    bench.hear(D, m.PutObject(held.id, stored(), DRIVER))
    bench.submit(made)
    bench.hear(D, m.DropRefs(((held.id, 1),)))
    assert bench.finish(W0, made, kept=(held,)) == []
    assert bench.hear(W0, m.DropRefs(((held.id, 1),))) == [m.FreeBlock(held.id, stored())]


def test_loan_to_another_place_keeps_an_object_until_it_is_returned() -> None:
    bench = Bench()
    id = ObjectID("d-p0")
    bench.hear(D, m.PutObject(id, stored(), DRIVER))
    bench.hear(N1, m.BorrowAdded(id, N1))
    assert bench.hear(D, m.DropRefs(((id, 1),))) == []
    assert bench.hear(N1, m.BorrowReturned(id, 1)) == [m.FreeBlock(id, stored())]


# ---------------------------------------------------------------- actors


def actor_bench(calls: int, **fields: Any) -> tuple[Bench, m.TaskSpec, list[m.TaskSpec]]:
    bench = Bench(workers=2)
    actor = task("d-0", kind="actor", name="A", demand=CPU, **fields)
    assert bench.submit(actor) == [run(W0, actor)]
    made = [
        task(f"d-{n}", kind="method", name="A.m", demand=(), actor=ref(actor)) for n in range(1, calls + 1)
    ]
    return bench, actor, made


def test_calls_wait_for_the_constructor_and_go_in_order() -> None:
    bench, actor, calls = actor_bench(3)
    for call in calls:
        assert bench.submit(call) == []
    assert bench.finish(W0, actor) == [
        *(run(W0, call) for call in calls),
        m.SetAlarm(LONG_S, PIPE_ALARM),
    ]
    assert bench.free() == 1


def test_call_with_a_late_argument_holds_up_its_own_submitter_and_no_other() -> None:
    bench, actor, (first, second) = actor_bench(2)
    bench.finish(W0, actor)
    late = task("d-9", name="late")
    bench.submit(late)
    first = task("d-1", kind="method", name="A.m", demand=(), actor=ref(actor), deps=(ref(late),))
    assert bench.submit(first) == [] and bench.submit(second) == []
    other = task("c-0", kind="method", name="A.m", demand=(), actor=ref(actor), parent=TaskID("d-9"))
    assert bench.submit(other, by=W1) == [run(W0, other)]
    assert bench.finish(W1, late)[:2] == [run(W0, first, args=(VALUE,)), run(W0, second)]


def test_calls_that_a_worker_gives_back_one_by_one_stay_in_order() -> None:
    bench, actor, calls = actor_bench(5)
    bench.finish(W0, actor)
    for call in calls[:4]:
        bench.submit(call)
    for call in calls[1:4]:
        assert bench.hear(W0, m.Recalled((call.id,))) == []
    effects = [*bench.finish(W0, calls[0]), *bench.submit(calls[4])]
    assert [effect for effect in effects if isinstance(effect, m.Send)] == [
        run(W0, call) for call in calls[1:]
    ]


def test_call_of_a_killed_actor_fails_and_its_process_is_stopped() -> None:
    bench, actor, (call, later) = actor_bench(2)
    bench.finish(W0, actor)
    bench.submit(call)
    bench.hear(D, m.Get(1, (ref(call),)))
    stop, answer = bench.hear(D, m.Kill(ref(actor)))
    assert stop == m.StopWorker(W0, force=True)
    assert error([answer]).kind == "actor_died" and "killed" in error([answer]).message
    assert bench.submit(later) == []
    assert error(bench.hear(D, m.Get(2, (ref(later),)))).kind == "actor_died"


def test_actor_is_stopped_when_its_last_handle_is_gone_and_its_calls_have_ended() -> None:
    bench, actor, (call,) = actor_bench(1)
    bench.finish(W0, actor)
    bench.submit(call)
    assert bench.hear(D, m.DropRefs(((ref(actor).id, 1),))) == []
    assert bench.finish(W0, call) == [m.StopWorker(W0)]


def test_call_under_way_when_its_actor_dies_is_not_made_twice_and_those_behind_it_are_made_once() -> None:
    bench, actor, (first, second) = actor_bench(2, retries=1)
    bench.finish(W0, actor)
    bench.submit(first)
    bench.submit(second)
    bench.hear(D, m.Get(1, (ref(first),)))
    effects = bench.hear("", m.WorkerLost(W0, "gone", begun=(first.id,)))
    assert [e for e in effects if isinstance(e.message, m.RunTask)] == [run(W1, actor, attempt=1)]
    assert error([e for e in effects if e.to == D]).kind == "actor_unavailable"
    assert bench.finish(W1, actor, attempt=1) == [run(W1, second)]


def test_constructor_that_never_began_in_a_lost_process_loses_no_attempt() -> None:
    bench, actor, (call,) = actor_bench(1)
    bench.submit(call)
    assert bench.hear("", m.WorkerLost(W0, "gone", begun=())) == [run(W1, actor, attempt=0)]
    assert bench.finish(W1, actor) == [run(W1, call)]


def test_constructor_that_fails_is_told_at_every_call() -> None:
    bench, actor, calls = actor_bench(2)
    failed = m.Failed(m.ErrorInfo("actor_died", "no"))
    assert bench.finish(W0, actor, values=(failed,)) == [m.StopWorker(W0)]
    for number, call in enumerate(calls):
        bench.submit(call)
        assert error(bench.hear(D, m.Get(number, (ref(call),)))) == failed.error


# ---------------------------------------------------------------- the agent proposes, the node disposes


@pytest.mark.parametrize(
    ("decisions", "why"),
    [
        (lambda id: (Keep(id), Keep(id)), "only a held task can be kept"),
        (lambda id: (Keep(TaskID("d-7")),), "that task is not here"),
        (lambda id: (Keep(id), Forward(TaskID("d-0"), N1)), "only what has not started can be forwarded"),
        (lambda id: (Forward(id, N0),), "is not another place"),
        (lambda id: (Forward(id, NodeID("n9")),), "is not another place"),
        (lambda id: (Forward(id, N1), Keep(id)), "only a held task can be kept"),
        (lambda id: ("keep",), "is no decision"),
        (lambda id: None, "() where there are none"),
    ],
)
def test_breach_of_the_rules_raises_and_names_the_policy(decisions: Any, why: str) -> None:
    later: list[Any] = [lambda id: (Keep(id),), decisions]
    bench = Bench(policy=Always(lambda id: later.pop(0)(id)))
    bench.submit(task("d-0"))  # was sent to its worker: there is no deciding on it any more
    with pytest.raises(SchedulerError, match=r"^Always\(\) at n0 decided") as caught:
        bench.submit(task("d-1"))
    assert why in str(caught.value)


def test_policy_that_keeps_what_its_node_can_never_run_is_refused() -> None:
    totals = (CPU, (("CPU", 4 * m.UNIT),))
    cluster = ClusterInfo((NodeInfo(N0, totals[0]), NodeInfo(N1, totals[1])), HEAD)
    node = Node(N0, cluster, totals[0], KEEP, random.Random(0), prestart=0)
    node.handle("", m.Booted(), 0.0)
    node.handle("", m.ClientJoined(D), 0.0)
    with pytest.raises(SchedulerError, match="could never run"):
        node.handle(D, m.SubmitTask(task("d-0", demand=(("CPU", 2 * m.UNIT),))), 0.0)


def test_task_passed_round_in_circles_ends_in_an_error_that_names_the_policy() -> None:
    bench = Bench(policy=away())
    made = task("d-0")
    bench.submit(made)
    bench.hear(D, m.Get(1, (ref(made),)))
    info = error(bench.hear(N1, m.AssignTask(made, 0, (), 1000)))
    assert info.kind == "system" and "Always()" in info.message


def test_held_task_is_named_among_what_is_pending() -> None:
    bench = Bench(policy=Always(lambda id: ()))
    assert bench.submit(task("d-0", args=EMPTY)) == []
    assert bench.node.pending() == ["<f d-0 #0 UNDECIDED> at n0"]


# ---------------------------------------------------------------- code, and what is given back


def test_code_comes_with_every_run_until_one_that_needs_it_has_ended_well() -> None:
    """Fuzz seed 511140: the run that brought the code was given back, and the next one was not."""
    bench, code = Bench(), m.Ref(ObjectID("d-f0"), N0)
    bench.hear(D, m.PutObject(code.id, VALUE, DRIVER, True))
    brought = []
    for at, values in enumerate([(m.Failed(m.ErrorInfo("task", "raised")),), (VALUE,), (VALUE,)]):
        made = task(f"d-{at}", function=code)
        [sent] = bench.submit(made)
        assert isinstance(sent, m.Send) and isinstance(sent.message, m.RunTask)
        brought.append(sent.message.function is not None)
        bench.finish(W0, made, values=values)
    assert brought == [True, True, False]


# ---------------------------------------------------------------- a loss of which not all have heard


def test_a_task_passed_on_to_a_lost_place_starts_anew_when_who_did_so_knows_of_the_loss() -> None:
    """Fuzz seed 107103: it went by the head to the lost place again and again, and lost an attempt each time."""
    bench, made = Bench(policy=Always(lambda task: (Forward(task, HEAD),))), task("d-0", retries=1)
    bench.submit(made)
    bench.hear("", m.PeerLost(N1))
    assert bench.hear(HEAD, m.TaskMoved(made.id, 0, N1, 2)) == [m.Send(HEAD, m.LossAckAsked(N1))]
    [again] = bench.hear(HEAD, m.LossAcknowledged(N1))
    assert isinstance(again, m.Send) and again.to == HEAD
    assert isinstance(again.message, m.AssignTask) and again.message.attempt == 1


def test_a_task_passed_on_to_a_head_that_is_lost_starts_anew_though_there_is_a_head_again() -> None:
    """Fuzz seed 9002662: word of it came when the next head was there, and its owner took it to be with that one."""
    bench, made = Bench(policy=Always(lambda task: (Forward(task, N1),))), task("d-0", retries=1)
    bench.submit(made)
    bench.hear("", m.PeerLost(HEAD))
    bench.hear("", m.PeerJoined(HEAD, ()))
    head = NodeID(f"{HEAD}~0")
    assert bench.hear(N1, m.TaskMoved(made.id, 0, HEAD, 2, heads=0)) == [m.Send(N1, m.LossAckAsked(head))]
    [again] = bench.hear(N1, m.LossAcknowledged(head))
    assert isinstance(again, m.Send) and isinstance(again.message, m.AssignTask)
    assert again.message.attempt == 1
    assert bench.hear(N1, m.TaskMoved(made.id, 1, HEAD, 2, heads=1)) == []  # to the head that is there


def test_who_is_asked_of_a_loss_answers_when_it_has_heard_of_it_too() -> None:
    bench, late = Bench(), NodeID("n2")
    assert bench.hear(HEAD, m.LossAckAsked(N1)) == []
    assert bench.hear("", m.PeerLost(N1)) == [m.Send(HEAD, m.LossAcknowledged(N1))]
    assert bench.hear(late, m.LossAckAsked(N1)) == [m.Send(late, m.LossAcknowledged(N1))]


def test_who_is_told_of_an_object_at_a_lost_place_asks_again_when_its_owner_has_heard_of_the_loss() -> None:
    """Fuzz seed 921: it asked again at once, was told the same, and so on until the owner heard."""
    bench, lost, far = Bench(), NodeID("n2"), m.Ref(ObjectID("c-0.0"), N1)
    bench.hear("", m.PeerLost(lost))
    bench.node.objects.hold(far)
    assert bench.hear(D, m.Get(1, (far,))) == [m.Send(N1, m.WatchObject(far.id))]
    assert bench.hear(N1, m.ObjectExists(far.id, m.Remote(1_000_000, (lost,)))) == [
        m.Send(N1, m.LossAckAsked(lost))
    ]
    assert bench.hear(N1, m.LossAcknowledged(lost)) == [m.Send(N1, m.WatchObject(far.id))]


def test_a_task_that_comes_when_its_owner_is_lost_never_runs() -> None:
    """Fuzz seed 201653: an actor that was made for a lost place lived on. The head had passed it on before it heard."""
    bench, made = Bench(), task("c-0", N1, kind="actor", demand=CPU)
    bench.hear("", m.PeerLost(N1))
    assert bench.hear(HEAD, m.AssignTask(made, 0, (), 2)) == []
    assert bench.node.submission.tasks == {}


def test_an_attempt_that_comes_after_the_next_one_is_left_alone() -> None:
    bench, made = Bench(), task("c-0", N1)
    assert bench.hear(N1, m.AssignTask(made, 1, (), 1))[-1] == run(W0, made, attempt=1)
    assert bench.hear(HEAD, m.AssignTask(made, 0, (), 2)) == []


def test_an_attempt_runs_beside_the_one_that_its_owner_has_given_up() -> None:
    bench, made = Bench(2), task("c-0", N1)
    assert bench.hear(N1, m.AssignTask(made, 0, (), 1))[-1] == run(W0, made)
    assert bench.hear(N1, m.AssignTask(made, 1, (), 1))[-1] == run(W1, made, attempt=1)
    for worker, attempt in ((W0, 0), (W1, 1)):
        [done] = bench.finish(worker, made, attempt=attempt)
        assert isinstance(done, m.Send) and isinstance(done.message, m.TaskDone)
        assert done.message.attempt == attempt
    assert bench.node.submission.tasks == {}


def test_an_actor_made_anew_beside_an_attempt_that_was_given_up_is_the_only_one() -> None:
    bench, made = Bench(2), task("c-0", N1, kind="actor", demand=CPU)
    assert bench.hear(N1, m.AssignTask(made, 0, (), 1))[-1] == run(W0, made)
    assert bench.hear(N1, m.AssignTask(made, 1, (), 1))[-2:] == [
        run(W1, made, attempt=1),
        m.StopWorker(W0, force=True),
    ]
    bench.finish(W1, made, attempt=1)
    assert bench.hear(N1, m.StopActor(ref(made).id, 1, None)) == [m.StopWorker(W1)]
    assert bench.node.hosting.here == {}


def test_what_is_lent_to_a_head_by_who_does_not_know_that_it_is_lost_is_not_owed_by_the_next() -> None:
    bench, made = Bench(), task("d-0")
    bench.submit(made)
    bench.finish(W0, made)
    bench.hear("", m.PeerLost(HEAD))
    bench.hear("", m.PeerJoined(HEAD, ()))
    asked = m.LossAckAsked(NodeID("head~0"))
    assert bench.hear(N1, m.BorrowAdded(ref(made).id, HEAD)) == [
        m.Send(N1, asked)
    ]  # it may have passed it on
    assert bench.hear(D, m.DropRefs(((ref(made).id, 1),))) == []
    assert bench.hear(N1, m.LossAcknowledged(asked.place)) == []
    assert ref(made).id not in bench.node.objects.records


def large(effects: list[m.Effect]) -> m.KnownValue:
    """The one value that a task's end tells its owner."""
    [done] = [e.message for e in effects if isinstance(e, m.Send) and isinstance(e.message, m.TaskDone)]
    [value] = done.values
    return value


def test_a_second_attempt_at_one_place_leaves_the_copy_that_the_first_has_stored() -> None:
    """Fuzz seed 301309: it was stored twice. Its owner had given the first up when the head was lost."""
    bench, made = Bench(), task("c-0", N1)
    bench.hear(N1, m.AssignTask(made, 0, (), 1))
    first = large(bench.finish(W0, made, values=(stored("n0/w0"),)))
    bench.hear(N1, m.AssignTask(made, 1, (), 1))
    effects = bench.finish(W0, made, attempt=1, values=(stored("n0/w0", 999),))
    assert large(effects) == first == m.Remote(1_000_000, (N0,))
    assert [effect.value.size for effect in effects if isinstance(effect, m.FreeBlock)] == [999]


@pytest.mark.parametrize("at", [N1, NodeID("n2")])
def test_what_an_attempt_that_was_given_up_has_stored_goes_with_the_object(at: NodeID) -> None:
    """Fuzz seed 304954: nobody told the place where it lay."""
    bench, made = Bench(policy=Always(lambda task: (Forward(task, HEAD),))), task("d-0", retries=1)
    bench.submit(made)
    bench.hear("", m.PeerLost(HEAD))
    bench.hear("", m.PeerJoined(HEAD, ()))
    assert bench.hear(N1, m.TaskDone(made.id, 0, (m.Remote(1_000_000, (N1,)),), False, False, 0.0)) == []
    bench.hear(at, m.TaskDone(made.id, 1, (m.Remote(1_000_000, (at,)),), False, False, 0.0))
    assert bench.hear(D, m.DropRefs(((ref(made).id, 1),))) == [
        m.Send(place, m.FreeCopy(ref(made).id)) for place in dict.fromkeys((at, N1))
    ]


def test_what_an_attempt_that_was_given_up_has_stored_goes_at_once_if_nobody_wants_the_object() -> None:
    bench = Bench()
    late = m.TaskDone(TaskID("d-0"), 0, (m.Remote(1_000_000, (N1,)),), False, False, 0.0)
    assert bench.hear(N1, late) == [m.Send(N1, m.FreeCopy(ObjectID("d-0.0")))]


# ---------------------------------------------------------------- retries: an attempt that is excused uses up none


def excused_actor(workers: int = 2) -> tuple[Bench, m.TaskSpec, m.TaskSpec]:
    """An actor with one restart, in its second attempt: the first was lost with the head, which uses up no restart."""
    there = [Forward(TaskID("d-0"), HEAD)]
    bench = Bench(workers=workers, policy=Always(lambda task: (there.pop(),) if there else (Keep(task),)))
    actor = task("d-0", kind="actor", name="A", demand=CPU, retries=1)
    bench.submit(actor)
    assert bench.hear("", m.PeerLost(HEAD))[-1] == run(W0, actor, attempt=1)
    bench.finish(W0, actor, attempt=1)
    call = task("d-1", kind="method", name="A.m", demand=(), actor=ref(actor))
    bench.submit(call)
    bench.hear(D, m.Get(1, (ref(call),)))
    return bench, actor, call


def told(effects: list[m.Effect]) -> list[str]:
    """The kinds of error that clients are told."""
    replies = [e.message for e in effects if isinstance(e, m.Send) and isinstance(e.message, m.Values)]
    return [value.error.kind for reply in replies for value in reply.values if isinstance(value, m.Failed)]


def test_a_call_of_an_actor_that_crashed_and_restarts_is_not_told_that_it_died() -> None:
    bench, actor, _ = excused_actor()
    effects = bench.hear("", m.WorkerLost(W0, "gone"))
    assert run(W1, actor, attempt=2) in effects and told(effects) == ["actor_unavailable"]


def test_a_call_of_an_actor_that_was_killed_and_restarts_is_not_told_that_it_died() -> None:
    bench, actor, _ = excused_actor()
    effects = bench.hear(D, m.Kill(ref(actor), no_restart=False))
    assert run(W1, actor, attempt=2) in effects and told(effects) == ["actor_unavailable"]


def test_a_call_is_told_the_same_where_the_actor_of_another_place_lives() -> None:
    bench, actor = Bench(), task("c-0", N1, kind="actor", name="A", demand=CPU, retries=1)
    bench.hear(N1, m.AssignTask(actor, 1, (), 1, excused=1))
    bench.finish(W0, actor, attempt=1)
    call = task("c-1", N1, kind="method", name="A.m", demand=(), actor=ref(actor))
    bench.hear(N1, m.AssignTask(call, 0, (), 1))
    effects = bench.hear("", m.WorkerLost(W0, "gone"))
    done = [e.message for e in effects if isinstance(e, m.Send) and isinstance(e.message, m.TaskDone)]
    assert [value.error.kind for each in done for value in each.values if isinstance(value, m.Failed)] == [
        "actor_unavailable"
    ]


def test_memory_is_taken_from_an_actor_that_can_be_restarted_before_a_task_that_cannot() -> None:
    bench, _, _ = excused_actor(workers=3)
    bench.hear(D, m.SubmitTask(task("d-2", demand=(), retries=0)), after=1.0)
    assert bench.hear("", m.MemoryShort((), "too much")) == [m.KillWorker(W0)]


def test_an_actor_that_is_ready_when_no_worker_can_be_started_leaves_the_queue_once() -> None:
    bench = Bench(workers=1)
    bench.hear("", m.WorkerLost(W0, "gone"))
    actor = task("d-0", kind="actor", name="A", demand=CPU)
    effects = bench.submit(actor)
    while starts := [effect.worker for effect in effects if isinstance(effect, m.StartWorker)]:
        assert bench.node.pool.queue.size == 1
        [alarm] = [e for e in bench.hear("", m.WorkerLost(starts[0], "no")) if isinstance(e, m.SetAlarm)]
        effects = bench.hear("", m.AlarmRang(alarm.token), after=alarm.after)
    assert bench.node.pool.queue.size == 0
    assert error(bench.hear(D, m.Get(1, (ref(actor),)))).kind == "actor_died"
