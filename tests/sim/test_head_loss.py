"""The head on a machine of its own dies, and perhaps comes back; the main program's node dies."""

from __future__ import annotations

import pytest

import labray as ray
from labray import session
from labray.errors import ActorDiedError, DeadlockError, SessionError, WorkerCrashedError
from labray.faults import Death, Faults
from labray.fuzz.case import run
from labray.fuzz.generation import case_of
from tests.kit.faulty import end, simulate, work

POLICIES = (
    "centralized", "bottom_up", "random", "round_robin", "least_loaded", "power_of_d", "work_stealing",
)  # fmt: skip


def without_head(at, back=None, notice=0.1, **options):
    simulate(Faults(deaths=[Death("head", at, back)], notice=notice), head="own", **options)


@ray.remote(cost=0.2, max_retries=5)
def slowly(value):
    return value


@ray.remote(cost=0.2)
def slowly_large(value):
    return bytes([value]) * 200_000


@ray.remote
class Counter:
    def __init__(self):
        self.count = 0

    def add(self):
        self.count += 1
        return self.count


@pytest.mark.parametrize("notice", [0.0, 0.1, 2.0])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_program_comes_to_its_result_all_the_same_when_the_head_comes_back(policy, notice):
    digests = []
    for _ in range(2):
        without_head(0.3, back=0.5, notice=notice, scheduler=policy)
        work()
        ray.sleep(5.0)
        work()
        digests.append(end())
    assert digests[0] == digests[1]


@pytest.mark.parametrize("policy", POLICIES)
def test_the_head_may_be_lost_again_and_again_and_nodes_with_it(policy):
    deaths = [Death("head", at, 0.2) for at in (0.1, 0.5, 0.9)] + [
        Death("n1", 0.45, 0.3),
        Death("n2", 0.95, 0.1),
    ]
    simulate(Faults(deaths=deaths, notice=0.05, spread=0.1), head="own", scheduler=policy)
    work()
    ray.sleep(3.0)
    work()
    end()


def test_bottom_up_goes_on_locally_without_a_head():
    without_head(0.5, scheduler="bottom_up", num_cpus=2)
    ray.sleep(1.0)
    begun = ray.now()
    assert ray.get([slowly.remote(n) for n in range(20)]) == list(range(20))
    assert ray.now() - begun == pytest.approx(20 * 0.2 / 2, rel=0.05)
    ran = {event[2] for event in session.running().trace() if event[1] == "ran" and event[0] > 1.0}
    assert ran == {"n0"}


def test_centralized_waits_for_the_head_to_come_back():
    without_head(0.5, back=9.5, scheduler="centralized")
    ray.sleep(1.0)
    assert ray.get([slowly.remote(n) for n in range(6)]) == list(range(6))
    assert ray.now() >= 10.0


def test_what_waits_for_a_head_that_never_comes_back_is_named():
    without_head(0.5, scheduler="centralized")
    ray.sleep(1.0)
    with pytest.raises(DeadlockError, match="slowly"):
        ray.get(slowly.remote(1))


def test_what_the_head_held_is_submitted_anew_and_loses_no_retry():
    without_head(0.1, back=0.4, scheduler="centralized", nodes=2, num_cpus=1)
    refs = [slowly.options(max_retries=1).remote(n) for n in range(8)]
    assert ray.get(refs) == list(range(8))


def test_an_attempt_that_was_lost_with_the_head_is_no_retry_when_the_result_is_lost_later():
    deaths = [Death("head", 0.1, 0.4), Death("n1", 4.0)]
    simulate(Faults(deaths=deaths, notice=0.1), head="own", scheduler="centralized", nodes=2, num_cpus=1)
    there = ray.NodeAffinitySchedulingStrategy("n1", soft=True)
    refs = [
        slowly_large.options(max_retries=1, scheduling_strategy=there).remote(value) for value in range(4)
    ]
    ray.wait(refs, num_returns=4)
    retried = [subject for _, kind, _, subject, _ in session.running().trace() if kind == "retried"]
    assert retried  # with the head
    ray.sleep(5.0 - ray.now())
    assert [value[0] for value in ray.get(refs)] == [0, 1, 2, 3]
    again = [subject for _, kind, _, subject, _ in session.running().trace() if kind == "retried"]
    assert set(retried) & set(again[len(retried) :])
    end()


def test_what_may_run_once_only_and_was_at_the_head_is_told_as_lost():
    without_head(0.1, back=0.4, scheduler="centralized", nodes=2, num_cpus=1)
    refs = [slowly.options(max_retries=0).remote(n) for n in range(8)]
    with pytest.raises(WorkerCrashedError, match="its node head is lost"):
        ray.get(refs)


def test_an_actor_that_waited_at_the_head_is_made_all_the_same():
    without_head(0.1, back=0.4, scheduler="centralized", nodes=1, num_cpus=1)
    busy = slowly.remote(1)
    counter = Counter.options(num_cpus=1).remote()
    assert ray.get([counter.add.remote() for _ in range(3)]) == [1, 2, 3]
    assert ray.get(busy) == 1


def test_all_know_how_many_heads_were_lost_even_who_joins_later():
    deaths = [Death("head", 0.1, 0.1), Death("n1", 0.3, 0.1), Death("head", 0.6, 0.1)]
    simulate(Faults(deaths=deaths, notice=0.01), head="own")
    ray.sleep(1.0)
    work()
    heads = {node.place: node.context.heads for node in session.running().every_node()}
    assert heads.pop("head") == 0
    assert set(heads.values()) == {2}
    assert "n1~1" in heads
    end()


# ---------------------------------------------------------------- names


@pytest.mark.parametrize("notice", [0.0, 0.1, 2.0])
def test_named_actors_are_found_again_when_the_head_is_back(notice):
    without_head(0.5, back=0.5, notice=notice)
    counter = Counter.options(name="counter").remote()
    assert ray.get(counter.add.remote()) == 1
    ray.sleep(0.7)  # there is no head now
    assert ray.get(ray.get_actor("counter").add.remote()) == 2
    assert ray.now() > 1.0
    with pytest.raises(ValueError, match="is alive"):
        Counter.options(name="counter").remote()


def test_a_name_asked_for_on_the_way_to_a_dying_head_is_answered_by_the_next():
    without_head(0.5, back=0.5, notice=0.3)
    counter = Counter.options(name="counter").remote()
    ray.get(counter.add.remote())
    ray.sleep(0.6 - ray.now())  # it is dead, and nobody knows
    assert ray.get(ray.get_actor("counter").add.remote()) == 2
    with pytest.raises(ValueError, match="no living actor"):
        ray.get_actor("nobody")


def test_the_name_of_an_actor_that_died_without_a_head_is_free_afterwards():
    without_head(0.5, back=0.5, notice=0.0)
    counter = Counter.options(name="counter").remote()
    assert ray.get(counter.add.remote()) == 1
    ray.sleep(0.2)
    ray.kill(counter)
    with pytest.raises(ActorDiedError):
        ray.get(counter.add.remote())
    ray.sleep(1.0)
    assert ray.get(Counter.options(name="counter").remote().add.remote()) == 1


def test_a_name_asked_of_a_head_that_never_comes_back_is_named():
    without_head(0.5)
    ray.sleep(1.0)
    with pytest.raises(DeadlockError, match="n0/driver asks the head, which is lost, for the name 'counter'"):
        ray.get_actor("counter")


# ---------------------------------------------------------------- the main program's node


@pytest.mark.parametrize("head", ["n0", "own"])
def test_losing_the_main_programs_node_ends_the_session_with_one_clear_error(head):
    simulate(Faults(deaths=[Death("n0", 0.3)]), head=head)
    with pytest.raises(SessionError, match=r"(?s)n0.*died at t=0\.3"):
        work()
    with pytest.raises(SessionError, match=r"died at t=0\.3"):
        ray.put(1)


@pytest.mark.parametrize("seed", [8, 12, 13, 14, 16, 35])
def test_random_programs_come_to_what_was_promised_when_the_head_dies(seed):
    case = case_of(seed)
    assert "head" in case.faults.named() and not case.fatal()
    run(case)
