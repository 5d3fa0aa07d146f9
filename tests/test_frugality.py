"""What things cost in bytes, messages and copies: figures that do not depend on how busy the machine is."""

from __future__ import annotations

import random
import tracemalloc

import labray  # noqa: F401  (what it imports must not count)
from labray import messages as m
from labray import schedulers
from labray.backends.cluster.frames import decode_calls, encode
from labray.backends.cluster.sharing import Sharing
from labray.codec import encode_call
from labray.ids import DRIVER, ClientID, ObjectID, Place, task_id
from labray.messages import Inline, Payload, Put, Ref, Spec, Submit
from labray.node import Node
from labray.options import build
from labray.process import Process
from labray.schedulers.interface import Cluster, NodeInfo

N0 = Place("n0")
CODE = Ref(ObjectID("d-f0"), N0)
CLIENT = ClientID("n0/driver")


def spec(number: int) -> Spec:
    arguments = encode_call((), {}).encoded.payload
    return Spec(task_id("d", number), "task", "a_function_of_mine", DRIVER, N0, CODE, arguments)


def full_node() -> Node:
    """One with a driver and no worker, so that all that is submitted waits."""
    info = NodeInfo(N0, (("CPU", m.UNIT),))
    node = Node(
        N0,
        Cluster((info,), Place("head")),
        info.totals,
        schedulers.resolve("bottom_up"),
        random.Random(0),
        prestart=0,
    )
    node.handle("", m.Booted(), 0.0)
    node.handle("", m.ClientJoined(CLIENT), 0.0)
    node.handle(CLIENT, Put(CODE.id, Inline(Payload(b"code")), DRIVER, True), 0.0)
    return node


def test_a_queued_empty_task_costs_less_than_2_kB_at_its_node_and_its_driver():
    node, sharing, count = full_node(), Sharing(), 20_000
    frames = [encode([Submit(spec(first + at)) for at in range(64)]) for first in range(0, count, 64)]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for frame in frames:
            for message in decode_calls(frame):
                sharing.slim(message.spec)
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

    def post(self, message):
        pass


def test_tasks_that_share_what_they_have_in_common_are_still_themselves():
    sharing = Sharing()
    [first, second, other] = [
        message.spec for message in decode_calls(encode([Submit(spec(n)) for n in (1, 2, 3)]))
    ]
    for each in (first, second):
        sharing.slim(each)
    assert second == spec(2) and second.name is first.name and second.demand is first.demand
    different = Spec(other.id, "task", "another", DRIVER, N0, CODE, Payload(b"else"))
    sharing.slim(different)
    assert different == Spec(other.id, "task", "another", DRIVER, N0, CODE, Payload(b"else"))
