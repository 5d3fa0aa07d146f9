"""Loans of refs when a place is lost that had some, or had passed some on: none is owed, none is forgotten."""

from __future__ import annotations

from labray import messages as m
from labray.ids import HEAD, ClientID, NodeID, ObjectID
from tests.kit.bench import N0, N1, W0, Bench, D, ref, task

N2 = NodeID("n2")


def owner_that_lent_to_n1() -> tuple[Bench, ObjectID]:
    """A value that n1 alone has a ref of; n2 and the head live too."""
    bench, made = Bench(), task("d-0")
    bench.hear("", m.PeerJoined(N2, (("CPU", m.UNIT),)))
    bench.submit(made)
    bench.finish(W0, made)
    bench.hear(N1, m.BorrowAdded(ref(made).id, N1))
    bench.hear(D, m.DropRefs(((ref(made).id, 1),)))
    return bench, ref(made).id


def test_what_a_lost_place_had_is_kept_until_all_know_and_belongs_to_whom_it_was_passed_on() -> None:
    bench, id = owner_that_lent_to_n1()
    asked = m.LossAckAsked(N1)
    assert bench.hear("", m.PeerLost(N1)) == [m.Send(HEAD, asked), m.Send(N2, asked)]
    bench.hear(HEAD, m.LossAcknowledged(N1))
    bench.hear(N2, m.BorrowAdded(id, N2))  # n1 had passed it on, and could not tell
    bench.hear(N2, m.LossAcknowledged(N1))
    assert id in bench.node.objects.records
    bench.hear(N2, m.BorrowReturned(id, 1))
    assert id not in bench.node.objects.records


def test_a_loan_that_was_lost_on_its_way_with_who_passed_it_on_is_not_owed() -> None:
    bench, id = owner_that_lent_to_n1()
    bench.hear(N1, m.BorrowAdded(id, N2))
    bench.hear("", m.PeerLost(N1))
    bench.hear(N2, m.LossAcknowledged(N1))
    assert id in bench.node.objects.records
    bench.hear(HEAD, m.LossAcknowledged(N1))
    assert id not in bench.node.objects.records


def test_what_was_given_back_before_its_loss_is_known_is_not_given_back_twice() -> None:
    bench, id = owner_that_lent_to_n1()
    bench.hear(N1, m.BorrowAdded(id, N2))
    bench.hear("", m.PeerLost(N1))
    bench.hear(N2, m.BorrowReturned(id, 0, ((N1, 1),)))
    bench.hear(N2, m.LossAcknowledged(N1))
    bench.hear(HEAD, m.LossAcknowledged(N1))
    assert id not in bench.node.objects.records


def test_who_dies_before_it_has_said_what_it_had_may_have_passed_it_on_too() -> None:
    bench, id = owner_that_lent_to_n1()
    bench.hear("", m.PeerLost(N1))
    bench.hear(HEAD, m.LossAcknowledged(N1))
    assert m.Send(HEAD, m.LossAckAsked(N2)) in bench.hear("", m.PeerLost(N2))
    assert id in bench.node.objects.records
    bench.hear(HEAD, m.LossAcknowledged(N2))
    assert id not in bench.node.objects.records


def test_a_loan_by_way_of_a_place_that_is_lost_becomes_ones_own() -> None:
    bench, far = Bench(place=N1), m.Ref(ObjectID("d-9.0"), N0)
    bench.hear("", m.PeerJoined(N2, (("CPU", m.UNIT),)))
    given = task("d-1", N0, args=m.Payload(b"", (), (far,)))
    bench.hear(N2, m.AssignTask(given, 0, (), 1))
    assert m.Send(N0, m.BorrowAdded(far.id, N1)) in bench.hear("", m.PeerLost(N2))
    assert m.Send(N0, m.BorrowReturned(far.id, 1)) in bench.finish(ClientID("n1/w0"), given)
