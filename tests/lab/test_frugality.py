"""What things cost in bytes, messages and copies: figures that do not depend on how busy the machine is."""

from __future__ import annotations

import random
import time
import tracemalloc
from collections.abc import Iterator

import numpy as np
import psutil
import pytest

import labray
from experiments.micro import large
from experiments.micro.large import Processes
from labray import messages as m
from labray import schedulers
from labray.backends.cluster.daemon import interning as cluster_sharing
from labray.backends.cluster.daemon.interning import MessageInterner
from labray.backends.cluster.wire.frames import decode_calls, encode
from labray.client.options import build
from labray.client.process import Process
from labray.ids import DRIVER, ClientID, NodeID, ObjectID, task_id
from labray.messages import Inline, Payload, PutObject, Ref, SubmitTask, TaskSpec
from labray.node import Node
from labray.scheduling import ClusterInfo, NodeInfo
from labray.serialization.codec import encode_call

N0 = NodeID("n0")
CODE = Ref(ObjectID("d-f0"), N0)
CLIENT = ClientID("n0/driver")


def spec(number: int) -> TaskSpec:
    arguments = encode_call((), {}).encoded.payload
    return TaskSpec(task_id("d", number), "task", "a_function_of_mine", DRIVER, N0, CODE, arguments)


def full_node() -> Node:
    """One with a driver and no worker, so that all that is submitted waits."""
    info = NodeInfo(N0, (("CPU", m.UNIT),))
    node = Node(
        N0,
        ClusterInfo((info,), NodeID("head")),
        info.totals,
        schedulers.resolve("bottom_up"),
        random.Random(0),
        prestart=0,
    )
    node.handle("", m.Booted(), 0.0)
    node.handle("", m.ClientJoined(CLIENT), 0.0)
    node.handle(CLIENT, PutObject(CODE.id, Inline(Payload(b"code")), DRIVER, True), 0.0)
    return node


def sharing_of(node: Node) -> MessageInterner:
    return MessageInterner(node.submission.tasks, node.objects.records)


@pytest.mark.slow
def test_a_queued_empty_task_costs_less_than_2_kB_at_its_node_and_its_driver():
    node, count = full_node(), 20_000
    sharing = sharing_of(node)
    frames = [encode([SubmitTask(spec(first + at)) for at in range(64)]) for first in range(0, count, 64)]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for frame in frames:
            for message in decode_calls(frame):
                sharing.slim(message)
                node.handle(CLIENT, message, 1.0)
            node.take_log()
        at_node = (tracemalloc.get_traced_memory()[0] - before) / (64 * len(frames))
        assert node.pool.queue.size == 64 * len(frames)
        process = Process(Silent(), "session")
        before = tracemalloc.get_traced_memory()[0]
        refs = [process.submit("task", "f", CODE, build("task", {}), (), {}) for _ in range(count)]
        at_driver = (tracemalloc.get_traced_memory()[0] - before) / len(refs)
    finally:
        tracemalloc.stop()
    assert at_node < 1300
    assert at_driver < 600
    node.validate()


class Silent:
    """A channel on which things are said to nobody."""

    place = N0
    client = CLIENT

    def post(self, message, step=None):
        if step is not None:
            step()


def test_tasks_that_share_what_they_have_in_common_are_still_themselves(monkeypatch):
    monkeypatch.setattr(cluster_sharing, "MANY", 0)
    sharing = sharing_of(full_node())
    first, second, other = decode_calls(encode([SubmitTask(spec(n)) for n in (1, 2, 3)]))
    for each in (first, second):
        sharing.slim(each)
    one, two = first.spec, second.spec
    assert two == spec(2) and two.name is one.name and two.demand is one.demand
    different = TaskSpec(other.spec.id, "task", "another", DRIVER, N0, CODE, Payload(b"else"))
    sharing.slim(SubmitTask(different))
    assert different == TaskSpec(other.spec.id, "task", "another", DRIVER, N0, CODE, Payload(b"else"))


def test_a_question_shares_the_ids_that_its_node_has(monkeypatch):
    monkeypatch.setattr(cluster_sharing, "MANY", 0)
    node = full_node()
    node.handle(CLIENT, SubmitTask(spec(1)), 0.0)
    sharing, ref = sharing_of(node), Ref(ObjectID("d-1.0"), N0)
    [question] = decode_calls(encode([m.Get(1, (ref, Ref(ObjectID("d-2.0"), N0)))]))
    sharing.slim(question)
    assert question == m.Get(1, (ref, Ref(ObjectID("d-2.0"), N0)))
    assert question.refs[0].id is node.objects.records[ref.id].id


# ---------------------------------------------------------------- real processes


@pytest.fixture
def processes() -> Iterator[Processes]:
    labray.init("cluster", num_cpus=2)
    yield Processes()
    labray.shutdown()


@pytest.mark.processes
def test_ten_thousand_arguments_three_thousand_results_and_ten_thousand_gets(processes):
    given = [labray.put(number) for number in range(10_000)]
    assert labray.get(large.add_up.remote(*given)) == sum(range(10_000))
    assert labray.get(labray.remote(num_returns=3000)(large.range_of).remote(3000)) == list(range(3000))
    assert labray.get(given) == list(range(10_000))


@pytest.mark.processes
def test_an_array_goes_through_three_tasks_without_a_copy_in_a_worker(processes):
    [figure] = large.through_three_tasks(100_000_000)
    assert figure.value < 10, "MB of its own"


@pytest.mark.processes
def test_a_hundred_actors_live_side_by_side(processes):
    large.hundred_actors()


@pytest.mark.processes
def test_an_idle_daemon_and_two_workers_are_small(processes):
    [figure] = large.idle()
    assert 5 < figure.value < figure.limit


@pytest.mark.processes
def test_short_calls_do_not_wait_behind_a_long_one_of_the_same_function(processes):
    nap = labray.remote(time.sleep)
    labray.get(
        [nap.remote(0.001) for _ in range(20)]
    )  # it is known as short: several wait in a worker's pipe
    refs = [nap.remote(0.001) for _ in range(50)]
    long = nap.remote(1.0)
    refs += [nap.remote(0.001) for _ in range(50)]
    ready, _ = labray.wait([long, *refs], num_returns=100)
    assert long not in ready
    labray.get(long)


@pytest.mark.processes
def test_what_a_session_had_stored_is_given_back_with_it():
    for _ in range(2):
        with labray.init("cluster", num_cpus=1):
            ref = labray.put(np.ones(5_000_000))
            assert labray.get(ref)[0] == 1
        del ref
        assert not [each for each in psutil.Process().memory_maps() if "memfd:labray-store" in each.path]
