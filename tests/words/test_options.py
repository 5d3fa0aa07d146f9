import pytest

from labray.client.options import TABLE, NodeAffinitySchedulingStrategy, build
from labray.config import Config
from labray.ids import NodeID
from labray.schedulers import resolve
from labray.strategies import SPREAD, NodeAffinity


def test_a_task_needs_one_cpu_and_is_retried_three_times_unless_told():
    options = build("task", {})
    assert options.demand == (("CPU", 10_000),)
    assert options.retries == 3 and options.returns == 1


def test_an_actor_needs_one_cpu_to_be_placed_and_none_to_live():
    options = build("actor", {})
    assert options.demand == (("CPU", 10_000),) and options.lifetime == ()


def test_an_actor_that_names_a_resource_holds_it_and_a_cpu_for_life():
    options = build("actor", {"resources": {"x": 1}})
    assert options.demand == options.lifetime == (("CPU", 10_000), ("x", 10_000))
    assert build("actor", {"num_cpus": 2}).lifetime == (("CPU", 20_000),)
    assert build("actor", {"num_cpus": 0}).demand == build("actor", {"num_cpus": 0}).lifetime == ()


def test_fractions_add_up():
    demand = dict(build("task", {"num_cpus": 0.1, "num_gpus": 0.5, "resources": {"a": 0.0001}}).demand)
    assert demand == {"CPU": 1000, "GPU": 5000, "a": 1}


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), 0.00001, 1e308, 10**400, -(10**400)])
@pytest.mark.parametrize("name", ["num_cpus", "num_gpus"])
def test_amounts_that_are_none_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        build("task", {name: value})


@pytest.mark.parametrize(
    ("kind", "given", "error", "words"),
    [
        ("task", {"num_cpu": 1}, ValueError, "'num_cpus'"),
        ("task", {"max_restarts": 1}, ValueError, "not an option of a task"),
        ("actor", {"num_returns": 1}, ValueError, "not an option of an actor"),
        ("task", {"num_cpus": "1"}, TypeError, "a number"),
        ("task", {"num_cpus": True}, TypeError, "a number"),
        ("task", {"resources": {"CPU": 1}}, ValueError, "num_cpus=1"),
        ("task", {"resources": {"a": -1}}, ValueError, "resources"),
        ("task", {"resources": [1]}, TypeError, "a dict"),
        ("task", {"num_returns": -1}, ValueError, "num_returns"),
        ("task", {"num_returns": 1.5}, TypeError, "whole"),
        ("task", {"max_retries": -2}, ValueError, "max_retries"),
        ("task", {"retry_exceptions": [1]}, TypeError, "exception types"),
        ("actor", {"name": ""}, ValueError, "empty"),
        ("actor", {"name": 3}, TypeError, "a string"),
        ("actor", {"get_if_exists": True}, ValueError, "needs a name"),
        ("actor", {"lifetime": "detached"}, ValueError, "not supported yet"),
        ("actor", {"max_concurrency": 3}, ValueError, "not supported by labray yet"),
        ("task", {"scheduling_strategy": "RANDOM"}, ValueError, "SPREAD"),
        ("task", {"cost": float("nan")}, ValueError, "cost"),
        ("task", {"cost": "1"}, TypeError, "cost"),
        ("task", {"cost": 10**400}, ValueError, "cost"),
        ("task", {"resources": {"a": 1e308}}, ValueError, "resources"),
    ],
)
def test_bad_options_are_refused_with_a_sentence(kind, given, error, words):
    with pytest.raises(error) as caught:
        build(kind, given)
    assert words in str(caught.value)


def test_every_option_is_known_to_some_kind():
    assert all(set(option.kinds.split()) <= {"task", "actor", "method"} for option in TABLE.values())


def test_affinity_becomes_a_word_of_the_spec():
    strategy = NodeAffinitySchedulingStrategy("n1", soft=False)
    assert build("task", {"scheduling_strategy": strategy}).strategy == NodeAffinity(NodeID("n1"))
    assert build("task", {"scheduling_strategy": "SPREAD"}).strategy == SPREAD
    assert build("task", {"scheduling_strategy": "DEFAULT"}).strategy is None


def config(**given):
    return Config(
        **{"backend": "sim", "nodes": 1, "num_cpus": 2, "resources": {}} | given, scheduler=resolve("random")
    )


def test_each_node_offers_its_cpus_its_resources_and_its_name():
    cluster = config(nodes=2, resources={"a": 0.5}).cluster()
    assert [node.place for node in cluster.nodes] == ["n0", "n1"]
    assert cluster.nodes[1].totals == (("CPU", 20_000), ("a", 5000), ("node:n1", 10_000))
    assert config(nodes=2).total_resources() == {"CPU": 4.0, "node:n0": 1.0, "node:n1": 1.0}


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"nodes": 0}, ValueError),
        ({"nodes": 1.5}, TypeError),
        ({"nodes": 10**9}, ValueError),
        ({"num_cpus": -1}, ValueError),
        ({"num_cpus": float("nan")}, ValueError),
        ({"seed": -1}, ValueError),
        ({"seed": "a"}, TypeError),
        ({"strict": 1}, TypeError),
        ({"resources": {"node:n0": 1}}, ValueError),
        ({"resources": {"CPU": 1}}, ValueError),
    ],
)
def test_a_cluster_that_makes_no_sense_is_refused(given, error):
    with pytest.raises(error):
        config(**given)
