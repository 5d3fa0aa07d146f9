"""A client that miscounts is ended alone: whatever it says, its node goes on, and so does everybody else."""

from __future__ import annotations

import typing

import pytest

from labray import messages as m
from labray.ids import ClientID, NodeID, ObjectID, TaskID
from tests.kit.bench import N0, VALUE, W0, W1, Bench, D, ref, run, stored, task

MINE = task("d-0")
OTHER = task("d-9")
NESTED = task("w-0", parent=TaskID("d-0"))

WRONG: dict[str, tuple[m.ClientRequest, str]] = {
    "a drop too many": (m.DropRefs(((ref(NESTED).id, 2),)), "drops w-0.0 more often than it was given"),
    "two drops of one": (m.DropRefs(((ref(NESTED).id, 1),) * 2), "drops w-0.0 more often than it was given"),
    "a drop of nothing": (m.DropRefs(((ref(NESTED).id, 0),)), "drops w-0.0"),
    "a drop of less than nothing": (m.DropRefs(((ref(NESTED).id, -1),)), "drops w-0.0"),
    "a drop of another's": (m.DropRefs(((ref(OTHER).id, 1),)), "drops d-9.0"),
    "a drop of what is unknown": (m.DropRefs(((ObjectID("x.0"), 1),)), "drops x.0"),
    "an unpin too many": (m.Unpin(((ref(OTHER).id, 1),)), "unpins d-9.0 more often than it was pinned"),
    "a pin of what is unknown": (m.Pin((ObjectID("x-p0"),)), "views x-p0, which does not exist"),
    "a submission twice": (m.SubmitTask(NESTED), "submits w-0 twice"),
    "another's submission": (m.SubmitTask(task("w-7", owner=NodeID("n1"))), "as a task of n1"),
    "a call of nobody": (m.SubmitTask(task("w-7", kind="method")), "which is no method"),
    "less than no result": (m.SubmitTask(task("w-7", returns=-1)), "which is no task"),
    "less than nothing": (m.SubmitTask(task("w-7", demand=(("CPU", -1),))), "takes less than nothing"),
    "a result too many": (m.Finished(MINE.id, 0, (VALUE, VALUE), 0.0, 0.0), "2 results instead of 1"),
    "no result": (m.Finished(MINE.id, 0, (), 0.0, 0.0), "0 results instead of 1"),
    "a put of what exists": (m.PutObject(ref(NESTED).id, VALUE, MINE.id, False), "puts w-0.0, which exists"),
    "a question twice": (m.Get(1, (ref(NESTED),)), "asks twice under 1"),
    "another question": (m.Wait(1, (ref(NESTED),), 1), "asks twice under 1"),
    "a wait for more than there is": (m.Wait(2, (ref(NESTED),), 2), "waits for 2 of 1"),
    "a wait for nothing": (m.Wait(2, (ref(NESTED),), 0), "waits for 0 of 1"),
    "less than no room": (m.Allocate(3, ObjectID("w-p0"), 1, -1, -1), "asks for -1 to -1 bytes"),
    "a name of what exists": (m.RegisterName(3, "x", ref(NESTED), b""), "names w-0.0, which exists"),
    "a name of another's": (
        m.RegisterName(3, "x", m.Ref(ObjectID("w-8.0"), NodeID("n1")), b""),
        "an actor of n1",
    ),
}


def at_work() -> Bench:
    """Two workers at work; the first has submitted a task and waits for it."""
    bench = Bench(cpus=2)
    assert bench.submit(MINE) == [run(W0, MINE)]
    assert bench.submit(OTHER) == [run(W1, OTHER)]
    bench.submit(NESTED, by=W0)
    bench.hear(W0, m.Get(1, (ref(NESTED),)))
    return bench


@pytest.mark.parametrize("wrong", WRONG)
def test_a_worker_that_miscounts_is_ended_and_nobody_else(wrong: str) -> None:
    said, told = WRONG[wrong]
    bench = at_work()
    effects = bench.hear(W0, said)
    assert m.StopWorker(W0) in effects and m.StopWorker(W1) not in effects
    assert W0 not in bench.node.clients.clients
    lost = [detail for _, kind, _, subject, detail in bench.node.log if (kind, subject) == ("lost", W0)]
    assert len(lost) == 1 and told in lost[0]
    assert bench.finish(W1, OTHER) is not None  # the other goes on
    assert m.Send(D, m.Values(7, (VALUE,))) in bench.hear(D, m.Get(7, (ref(OTHER),)))


def test_the_task_of_a_worker_that_miscounts_hears_why() -> None:
    bench = Bench()
    made = task("d-0", retries=0)
    bench.submit(made)
    bench.hear(D, m.Get(1, (ref(made),)))
    effects = bench.hear(W0, m.DropRefs(((ref(made).id, 1),)))
    (answer,) = [e.message for e in effects if isinstance(e, m.Send) and isinstance(e.message, m.Values)]
    (value,) = answer.values
    assert isinstance(value, m.Failed) and value.error.kind == "worker_crashed"
    assert (
        "ended because it miscounted: n0/w0 drops d-0.0 more often than it was given" in value.error.message
    )


def test_what_a_driver_says_wrongly_is_refused_with_a_warning() -> None:
    bench = Bench()
    made = task("d-0")
    bench.submit(made)
    [effect] = bench.hear(D, m.DropRefs(((ref(made).id, 2),)))
    assert isinstance(effect, m.WarnUser) and "drops d-0.0 more often than it was given" in effect.text
    assert bench.hear(D, m.Get(1, (ref(made),))) == []
    assert bench.finish(W0, made) == [m.Send(D, m.Values(1, (VALUE,)))]
    assert bench.hear(D, m.DropRefs(((ref(made).id, 1),))) == []
    assert bench.node.objects.records == {}


def test_a_block_is_unpinned_once() -> None:
    bench = Bench()
    put = m.PutObject(ObjectID("d-p0"), stored("n0/driver"), TaskID("d"), False)
    bench.hear(D, put)
    bench.hear(D, m.Get(1, (m.Ref(put.id, N0),)))
    assert bench.hear(D, m.Unpin(((put.id, 1),))) == []
    [effect] = bench.hear(D, m.Unpin(((put.id, 1),)))
    assert isinstance(effect, m.WarnUser) and "unpins d-p0 more often than it was pinned" in effect.text


def test_every_word_of_a_client_has_been_thought_of() -> None:
    """Those without a judge are harmless: they name what is theirs alone, or are ignored if it is unknown."""
    bench = Bench()
    harmless = {m.Abandon, m.Deallocate, m.Recalled, m.Kill, m.Cancel, m.LookUpName, m.AskFinished}
    said = set(typing.get_args(m.ClientRequest))
    assert said == harmless | set(bench.node.conduct._judges)
    for word in (
        m.Abandon(99),
        m.Deallocate(ObjectID("x")),
        m.Recalled((TaskID("x"),)),
        m.Kill(m.Ref(ObjectID("x.0"), N0), True),
        m.Cancel(98, m.Ref(ObjectID("x.0"), N0), True, True),
        m.LookUpName(97, "x"),
        m.AskFinished(96, (TaskID("x"),)),
    ):
        bench.hear(W0, word)
    assert ClientID("n0/w0") in bench.node.clients.clients
