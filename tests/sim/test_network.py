"""The simulated network: SimGrid's cases exactly, max-min fairness by its definition, gates, modes and cuts."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import labray as ray
from labray import session
from labray.backends.sim.clock.event_queue import EventQueue
from labray.backends.sim.network.fabric import Network, NetworkSpec, PullGate
from labray.backends.sim.network.flows import Flows, Link, Stream, share

MB = 1_000_000
SIMGRID = NetworkSpec(bandwidth_Bps=125 * MB, latency_s=100e-6)
"""Four hosts, one up and one down link each of 125 MB/s and 50 us."""


def arrivals(flows, wires=SIMGRID):
    """When objects pushed at time 0 arrive; flows: (from, to, bytes)."""
    events, at = EventQueue(None), {}
    network = Network(events, wires)
    for index, (source, to, size) in enumerate(flows):
        network.push((source, to), size, lambda moment, i=index: at.setdefault(i, events.now))
    events.run()
    return [at[index] for index in range(len(flows))]


def approx(*values):
    return pytest.approx(list(values), rel=1e-6)


# ---------------------------------------------------------------- SimGrid's cases


def test_one_flow_has_its_links_to_itself():
    assert arrivals([("0", "1", 125 * MB)]) == approx(1.0001)
    assert arrivals([("0", "1", 1000)]) == approx(0.000108)


def test_two_flows_from_one_source_share_its_uplink():
    assert arrivals([("0", "1", 125 * MB), ("0", "2", 125 * MB)]) == approx(2.0001, 2.0001)


def test_three_into_one_sink_and_one_beside_them():
    flows = [(source, "3", 125 * MB) for source in "012"]
    # the flow to the neighbour shares host 0's uplink with a third of it, and has the rest
    assert arrivals([*flows, ("0", "1", 125 * MB)]) == approx(3.0001, 3.0001, 3.0001, 1.5001)


def test_fairness_is_to_flows_or_to_pairs():
    flows = [("0", "2", 125 * MB), ("0", "2", 125 * MB), ("1", "2", 125 * MB)]
    assert arrivals(flows) == approx(3.0001, 3.0001, 3.0001)
    pairs = NetworkSpec(bandwidth_Bps=125 * MB, latency_s=0.0, per_pair=True)
    assert arrivals(flows, pairs) == approx(3.0, 3.0, 2.0)


# ---------------------------------------------------------------- other cases with a known answer


def test_who_leaves_gives_room_to_who_stays():
    assert arrivals([("0", "2", 125 * MB), ("1", "2", 250 * MB)]) == approx(2.0001, 3.0001)


def test_a_full_exchange_uses_every_link():
    flows = [(a, b, 125 * MB) for a in "0123" for b in "0123" if a != b]
    assert arrivals(flows) == approx(*[3.0001] * 12)


def test_an_oversubscribed_core_limits_all_together():
    core = NetworkSpec(bandwidth_Bps=125 * MB, latency_s=0.0, core_Bps=125 * MB)
    assert arrivals([("0", "1", 125 * MB), ("2", "3", 125 * MB)], core) == approx(2.0, 2.0)


def test_in_the_simple_mode_flows_do_not_meet():
    simple = NetworkSpec(mode="simple", bandwidth_Bps=125 * MB, latency_s=100e-6)
    assert arrivals([("0", "1", 125 * MB)] * 3, simple) == approx(*[1.0001] * 3)


def test_in_the_instant_mode_all_is_there_at_once():
    assert arrivals([("0", "1", 125 * MB)], NetworkSpec(mode="instant", latency_s=0.0)) == [0.0]


def test_a_node_pulls_so_many_objects_at_once():
    wires = NetworkSpec(bandwidth_Bps=125 * MB, latency_s=0.0, pulls=2)
    flows = [(source, "9", 125 * MB) for source in "0123"]
    assert arrivals(flows, wires) == approx(2.0, 2.0, 4.0, 4.0)


def test_a_node_pulls_so_many_objects_at_once_from_one_other():
    wires = NetworkSpec(bandwidth_Bps=125 * MB, latency_s=0.0, pulls=3, pulls_from=1)
    # the second from host 0 waits for the first, and the one from host 1 does not wait for it
    flows = [("0", "9", 125 * MB), ("0", "9", 125 * MB), ("1", "9", 125 * MB)]
    assert arrivals(flows, wires) == approx(2.0, 3.0, 2.0)


@given(
    st.lists(st.one_of(st.sampled_from("abc"), st.none()), max_size=40),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_a_gate_lets_in_whoever_came_first_of_those_that_may_come(steps, limit, limit_from):
    """A letter: an object of that node comes; None: the one that has been inside longest leaves."""
    begun: list[tuple[str, int]] = []
    inside: deque[str] = deque()

    def begin(route, number, through):
        begun.append((route[0], number))
        inside.append(route[0])

    gate = PullGate(limit, limit_from, begin)
    waiting: list[tuple[str, int]] = []
    known: list[tuple[str, int]] = []
    present: list[str] = []
    for number, source in enumerate(steps):
        if source is not None:
            waiting.append((source, number))
            gate.enter((source, "z"), number, None)
        elif inside:
            gate.transfer_ended(inside.popleft())
            present.pop(0)
        while len(present) < limit:
            may = [one for one in waiting if present.count(one[0]) < limit_from]
            if not may:
                break
            waiting.remove(may[0])
            known.append(may[0])
            present.append(may[0][0])
        assert begun == known


def test_a_cut_link_holds_a_flow_up_and_a_narrow_one_slows_it():
    events, at = EventQueue(None), []
    network = Network(events, NetworkSpec(bandwidth_Bps=125 * MB, latency_s=0.0))
    network.push(("0", "1"), 125 * MB, lambda moment: at.append(events.now))
    events.after(0.5, lambda moment: network.narrow(("0", "1"), 0.0))
    events.after(2.5, lambda moment: network.narrow(("0", "1"), 0.5))
    events.after(3.0, lambda moment: network.narrow(("0", "1"), 1.0))
    events.run()
    assert at == approx(3.25)


def test_flows_of_a_dead_node_give_their_room_to_the_others():
    events, at = EventQueue(None), {}
    network = Network(events, NetworkSpec(bandwidth_Bps=125 * MB, latency_s=0.0))
    for source in "01":
        network.push((source, "2"), 125 * MB, lambda moment, s=source: at.setdefault(s, events.now))
    events.after(1.0, lambda moment: network.drop_flows("0"))
    events.run()
    assert at == {
        "0": 1.0,
        "1": pytest.approx(1.5),
    }  # who hears of the end of a dead node's flow is the world's to say


def test_an_endless_bandwidth_is_no_trouble():
    assert arrivals([("0", "1", MB)] * 3, NetworkSpec(bandwidth_Bps=float("inf"), latency_s=1.0)) == approx(
        1, 1, 1
    )


def test_a_program_pulls_each_object_once_per_node():
    ray.init(backend="sim", nodes=3, num_cpus=4, profile="free", latency_s=0.0, bandwidth_Bps=1e6)

    @ray.remote
    def length(array):
        return len(array)

    array = ray.put(np.zeros(10**6, np.uint8))
    there = [length.options(resources={f"node:n{n}": 0.1}).remote(array) for n in (1, 2) for _ in range(5)]
    assert ray.get(there) == [10**6] * 10
    moved = [event for event in session.running().trace() if event[1] == "moved"]
    assert sorted(place for _, _, place, *_ in moved) == ["n1", "n2"]
    assert ray.now() == pytest.approx(2.0, rel=0.02)  # two copies through one uplink


# ---------------------------------------------------------------- the definition


@st.composite
def traffic(draw):
    links = [
        Link(n, draw(st.sampled_from([0.0, 1.0, 2.0, 5.0, 10.0, 100.0])))
        for n in range(draw(st.integers(1, 6)))
    ]
    paths = draw(
        st.lists(st.lists(st.integers(0, len(links) - 1), min_size=1, max_size=4, unique=True), max_size=12)
    )
    streams = []
    for number, path in enumerate(paths):
        stream = Stream(number, tuple(links[at] for at in path), weight=draw(st.integers(1, 5)))
        for link in stream.links:
            link.streams[number] = stream
        streams.append(stream)
    return links, streams


@given(traffic())
@settings(max_examples=300, deadline=None)
def test_no_flow_can_grow_without_shrinking_one_that_is_no_larger(case):
    links, streams = case
    share(streams, links)
    used = {link.number: sum(s.level * s.weight for s in link.streams.values()) for link in links}
    for link in links:
        assert used[link.number] <= link.capacity * (1 + 1e-9) + 1e-12, "a link over its capacity"
    for stream in streams:
        # sufficient and necessary: on some full link of its path, it has as much as anybody
        assert any(
            used[link.number] >= link.capacity * (1 - 1e-9)
            and stream.level >= max(other.level for other in link.streams.values()) * (1 - 1e-9)
            for link in stream.links
        )


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 3), st.floats(0, 5), st.integers(0, 10**6)), max_size=25
    )
)
@settings(max_examples=100, deadline=None)
def test_every_flow_ends_and_carries_all_its_bytes(flows):
    """Against a plain simulation that recomputes all rates of all flows at every change."""
    flows = [(f"{a}", f"{b}", round(at, 2), size) for a, b, at, size in flows if a != b]
    events, ours = EventQueue(None), {}
    network = Network(events, NetworkSpec(bandwidth_Bps=MB, latency_s=0.0))
    for index, (a, b, at, size) in enumerate(flows):

        def push(moment, index=index, route=(a, b), size=size):
            network.push(route, size, lambda moment: ours.setdefault(index, events.now))

        events.after(at, push)
    events.run()
    assert ours == pytest.approx(plainly(flows), rel=1e-6, abs=1e-6)


def plainly(flows):
    now, left, ends = 0.0, {}, {}
    coming = sorted(range(len(flows)), key=lambda i: flows[i][2])
    while left or coming:
        rates = plain_rates({i: flows[i][:2] for i in left})
        ending = min((now + left[i] / rates[i] for i in left), default=float("inf"))
        starting = flows[coming[0]][2] if coming else float("inf")
        then = min(ending, starting)
        left = {i: left[i] - rates[i] * (then - now) for i in left}
        now = then
        for i in [i for i in left if left[i] <= 1e-6]:
            ends[i] = now
            del left[i]
        while coming and flows[coming[0]][2] <= now:
            i = coming.pop(0)
            left[i] = float(flows[i][3])
    return ends


def plain_rates(paths):
    rates, free = {}, {}
    for a, b in paths.values():
        free["up", a] = free["down", b] = float(MB)
    while len(rates) < len(paths):
        users = {link: [i for i in paths if i not in rates and link in (("up", paths[i][0]), ("down", paths[i][1]))]
                 for link in free}  # fmt: skip
        link = min((at for at in free if users[at]), key=lambda at: free[at] / len(users[at]))
        level = free[link] / len(users[link])
        for i in users[link]:
            rates[i] = level
            free["up", paths[i][0]] -= level
            free["down", paths[i][1]] -= level
    return rates


def test_a_change_in_one_component_leaves_the_others_alone():
    flows = Flows()
    links = [Link(n, 10.0) for n in range(4)]
    flows.begin(("a", "b"), (links[0], links[1]), 100.0, print, 0.0)
    flows.settle(0.0)
    flows.begin(("c", "d"), (links[2], links[3]), 50.0, print, 1.0)
    flows.settle(1.0)
    assert flows.rates() == {("a", "b"): 10.0, ("c", "d"): 10.0}
    assert (flows.next_end(), flows.ended(6.0), flows.next_end()) == (6.0, [print], 10.0)
