"""Faults in the simulated world: the plan as a value, and what becomes of programs under one."""

from __future__ import annotations

import pytest

import labray as ray
from labray import session
from labray.backends.sim.clock.event_queue import EventQueue
from labray.backends.sim.hosts.cpu_hosts import VaryingHost
from labray.costs import FREE, Declared
from labray.errors import ActorDiedError, RayActorError, WorkerCrashedError
from labray.faults import Crash, Cut, Death, Delay, Faults, Mtbf, Slow, Stragglers
from tests.kit.faulty import end, simulate, slowly, work

POLICIES = ("random", "centralized", "bottom_up")


def losses():
    return sorted({(event[0], event[3]) for event in session.running().trace() if event[1] == "lost"})


# ---------------------------------------------------------------- the plan as a value


def test_a_plan_reads_from_toml_as_it_is_written_in_python():
    text = """
        notice = 0.1
        [[deaths]]
        node = "n1"
        at = 3.0
        back = 2.0
        [[crashes]]
        where = "n2/w0"
        task = 5
        [[cuts]]
        a = "n0"
        b = "n1"
        starts = 4.0
        ends = 6.0
        [stragglers]
        share = 0.1
    """
    assert Faults.from_toml(text) == Faults(
        deaths=(Death("n1", 3.0, 2.0),),
        crashes=(Crash("n2/w0", 5),),
        cuts=(Cut("n0", "n1", 4.0, 6.0),),
        stragglers=Stragglers(0.1),
        notice=0.1,
    )


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ('[[deaths]]\nnod = "n1"\nat = 1', "nod"),
        ('[[deaths]]\nnode = "n1"\nat = -1.0', "at is between 0"),
        ('[[cuts]]\na = "n0"\nb = "n1"\nstarts = 2\nends = 1', "ends before it starts"),
        ('[[cuts]]\na = "n0"\nb = "n1"\nstarts = 2\nends = inf', "heals at some time"),
        ("[stragglers]\nshare = 2.0", "share is between 0 and 1"),
        ("deaths = 3", "deaths"),
        ("this is no toml", "fault plan"),
    ],
)
def test_a_bad_plan_is_refused_by_what_is_wrong_with_it(bad, said):
    with pytest.raises(ValueError, match=said):
        Faults.from_toml(bad)


def test_a_plan_for_nodes_that_are_not_there_is_refused():
    with pytest.raises(ValueError, match=r"names 'n7', but the nodes are n0, n1, n2"):
        simulate(Faults(deaths=[Death("n7", 1.0)]))
    with pytest.raises(TypeError, match="Faults or its TOML"):
        simulate({"deaths": []})


def test_random_deaths_are_a_function_of_the_seed_and_spare_the_drivers_node():
    plan = Faults(mtbf=Mtbf(mean=10.0, repair=1.0, until=1000.0), seed=1)
    names = ["n0", "n1", "n2"]
    deaths = plan.all_deaths(names)
    assert deaths == plan.all_deaths(names)
    assert {death.node for death in deaths} == {"n1", "n2"}
    assert pytest.approx(len(deaths), rel=0.2) == 2 * 1000 / 11


# ---------------------------------------------------------------- what becomes of programs


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    "faults",
    [
        Faults(deaths=[Death("n1", 0.3)], notice=0.1),
        Faults(deaths=[Death("n1", 0.3), Death("n2", 0.5)], notice=0.1, spread=0.1),
        Faults(deaths=[Death("n1", 0.3, back=0.5)], notice=0.1),
        Faults(deaths=[Death("n1", 0.3, back=0.0)], notice=0.1),
        Faults(crashes=[Crash("n1", 2, 0.1), Crash("n0/w0", 1)]),
        Faults(cuts=[Cut("n0", "n1", 0.1, 3.0)], delays=[Delay("n0", "n2", 0.1, share=0.5)]),
        Faults(slow=[Slow("n1", 0.25, 0.0, 1.0)], stragglers=Stragglers(0.2)),
        Faults(mtbf=Mtbf(mean=2.0, repair=0.3, until=5.0), seed=3),
    ],
    ids=["a node dies", "two die", "one returns", "one returns at once", "workers crash", "links", "slow", "mtbf"],
)  # fmt: skip
def test_a_program_comes_to_its_result_all_the_same(policy, faults):
    digests = set()
    for _ in range(2):
        simulate(faults, scheduler=policy)
        work()
        digests.add(end())
    assert len(digests) == 1, "the same plan and seed left two traces"


def test_the_others_are_told_of_a_death_after_a_while():
    simulate(Faults(deaths=[Death("n1", 1.0)], notice=0.25))
    ray.sleep(2.0)
    assert [name for _, name in losses()] == ["n1"]
    assert losses()[0][0] == pytest.approx(1.25, abs=1e-3)


def test_a_node_that_comes_back_is_a_new_place():
    simulate(Faults(deaths=[Death("n1", 1.0, back=1.0), Death("n1", 3.0)], notice=0.1))
    ray.sleep(5.0)
    assert [name for _, name in losses()] == ["n1", "n1", "n1~1"]  # n1~1 was told of n1 when it came up


def test_a_worker_killed_more_often_than_it_may_be_is_an_error():
    simulate(Faults(crashes=[Crash("n0", k, 0.1) for k in (1, 2)]), nodes=1, num_cpus=1)
    with pytest.raises(WorkerCrashedError, match="the fault plan killed it"):
        ray.get(slowly.options(max_retries=1).remote(0))
    assert ray.get(slowly.remote(1)) == 1


def test_an_actor_whose_node_dies_restarts_elsewhere_if_it_may():
    simulate(Faults(deaths=[Death("n1", 1.0)], notice=0.1), scheduler="centralized", num_cpus=1)

    @ray.remote(num_cpus=0.6, max_restarts=1)
    class Where:
        def hello(self):
            return ray.now()

    there = [Where.remote() for _ in range(3)]
    assert len(ray.get([actor.hello.remote() for actor in there])) == 3
    ray.sleep(2.0)
    restarted = [
        event for event in session.running().trace() if event[1] == "actor" and event[4][0] == "restarting"
    ]
    assert len(restarted) == 1


def test_calls_to_an_actor_that_died_with_its_node_fail():
    simulate(Faults(deaths=[Death("n1", 1.0)], notice=0.1), scheduler="centralized")

    @ray.remote(resources={"node:n1": 0.1})
    class Pinned:
        def hello(self):
            return "hello"

    actor = Pinned.remote()
    assert ray.get(actor.hello.remote()) == "hello"
    ray.sleep(2.0)
    with pytest.raises((ActorDiedError, RayActorError), match="n1"):
        ray.get(actor.hello.remote())


# ---------------------------------------------------------------- how long things take


def test_a_cut_link_holds_messages_up_until_it_heals():
    simulate(Faults(cuts=[Cut("n0", "n1", 0.0, 2.0)]), nodes=2, profile="free")
    ray.get(slowly.options(resources={"node:n1": 0.1}).remote(0))
    assert ray.now() == pytest.approx(2.2, abs=0.01)


def test_a_node_at_half_speed_takes_twice_as_long_while_it_is_slow():
    simulate(Faults(slow=[Slow("n0", 0.5, 0.0, 0.2)]), nodes=1, profile="free")
    ray.get(slowly.remote(0))  # 0.1 s of work done by then, and 0.1 to go
    assert ray.now() == pytest.approx(0.3, abs=1e-3)


def test_a_speed_that_changes_is_integrated_over():
    events, ends = EventQueue(None), []
    host = VaryingHost(events, FREE, 2.0, [(1.0, 0.5), (3.0, 0.0625), (11.0, 1.0)])
    for cpu in (2.0, 4.0, 5.0, 7.0):
        host.work(0.0, cpu, lambda moment: ends.append(events.now))
    events.run()
    assert ends == [1.0, 3.0, 11.0, 12.0]


def test_stragglers_are_the_same_tasks_under_every_policy():
    straggling = Faults(stragglers=Stragglers(share=0.3, factor=10.0), seed=5)
    slow = set()
    for policy in POLICIES:
        simulate(straggling, scheduler=policy, costs=Declared())
        ray.get([slowly.remote(at) for at in range(20)])
        ran = [(task, detail) for _, kind, _, task, detail in session.running().trace() if kind == "ran"]
        slow.add(tuple(sorted(task for task, detail in ran if detail[3] - detail[2] > 1.0)))
        ray.shutdown()
    (tasks,) = slow
    assert 2 <= len(tasks) <= 12


@pytest.mark.parametrize("policy", POLICIES)
def test_a_node_that_came_back_is_given_work_again(policy):
    simulate(Faults(deaths=[Death("n1", 0.3, back=0.5)], notice=0.1), nodes=2, scheduler=policy)
    ray.sleep(2.0)
    ray.get([slowly.remote(at) for at in range(24)])
    assert "n1~1" in {event[2] for event in session.running().trace() if event[1] == "ran"}
