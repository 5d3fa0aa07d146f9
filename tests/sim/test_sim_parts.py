"""The simulated world's parts by themselves: event queue, hosts, network, costs."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from labray.backends.sim.clients.client_costs import ClientCosts, PagesTouched
from labray.backends.sim.clock.event_queue import EventQueue
from labray.backends.sim.hosts.cpu_hosts import DedicatedHost, SharedHost, SimForkServer
from labray.backends.sim.network.fabric import Network, NetworkSpec
from labray.backends.sim.settings import read
from labray.costs import FREE, Profile, Sampled, Traced, seeded_uniform
from labray.errors import DeadlockError
from labray.ids import DRIVER, NodeID, TaskID
from labray.messages import Payload, TaskSpec


def ends_of(host_of, pieces):
    """When pieces of work (start, cpu) end."""
    events = EventQueue(None)
    host, ends = host_of(events), {}
    for index, (start, cpu) in enumerate(pieces):
        events.after(
            start, lambda m, i=index, c=cpu: host.work(0.0, c, lambda m: ends.setdefault(i, events.now))
        )
    events.run()
    return [ends[i] for i in range(len(pieces))]


def test_a_dedicated_host_has_a_core_for_everyone():
    assert ends_of(lambda a: DedicatedHost(a, FREE), [(0, 1), (0, 2), (0.5, 1)]) == [1, 2, 1.5]


TURNS = replace(FREE, slice_s=0.25)


def test_two_runnable_processes_take_turns_on_one_core():
    assert ends_of(lambda a: SharedHost(a, 1, TURNS), [(0, 1), (0, 1)]) == pytest.approx([1.75, 2.0])


def test_four_runnable_processes_share_two_cores():
    assert ends_of(lambda a: SharedHost(a, 2, TURNS), [(0, 1)] * 4) == pytest.approx([1.75, 1.75, 2.0, 2.0])


def test_two_processes_on_two_cores_do_not_slow_each_other():
    assert ends_of(lambda a: SharedHost(a, 2, TURNS), [(0, 1), (0, 3)]) == pytest.approx([1, 3])


def test_who_comes_later_takes_turns_with_those_that_run():
    # alone for 1 s; the other comes in when the first one's turn is over, which it is already
    ends = ends_of(lambda a: SharedHost(a, 1, TURNS), [(0, 2), (1, 3)])
    assert ends == pytest.approx([3, 5], abs=0.25)


def test_who_wakes_drives_out_whoever_has_run_longest_and_that_one_goes_on_afterwards():
    events, ends = EventQueue(None), {}
    host = SharedHost(events, 2, Profile(busy_wake_s=0.001, slice_s=10.0))
    for name, at, cpu in (("long", 0.0, 1.0), ("later", 0.1, 1.0)):
        events.after(at, lambda m, n=name, c=cpu: host.work(0.0, c, lambda m: ends.setdefault(n, events.now)))
    events.after(
        0.5,
        lambda m: host.work(host.waking_s(0.0), 0.01, lambda m: ends.setdefault("woken", events.now)),
    )
    events.run()
    assert ends == pytest.approx({"woken": 0.511, "long": 1.011, "later": 1.1})


def test_who_goes_on_at_once_keeps_its_core_though_others_wait():
    events, ends = EventQueue(None), {}
    host = SharedHost(events, 1, replace(FREE, slice_s=10.0))

    def first(moment):
        host.work(0.0, 1.0, lambda m: ends.setdefault("first", events.now))

    host.work(0.0, 1.0, first)
    host.work(0.0, 1.0, lambda m: ends.setdefault("waits", events.now))
    events.run()
    assert ends == pytest.approx({"first": 2.0, "waits": 3.0})


def test_a_process_that_falls_asleep_takes_its_core_a_little_longer():
    events, ends = EventQueue(None), []
    host = SharedHost(events, 1, replace(FREE, slice_s=10.0))
    host.work(0.0, 1.0, lambda m: ends.append(events.now), after_s=0.5)
    host.work(0.0, 1.0, lambda m: ends.append(events.now))
    events.run()
    assert ends == pytest.approx([1.0, 2.5])


def test_a_core_wakes_the_slower_the_longer_it_has_rested():
    events, took = EventQueue(None), []
    host = SharedHost(events, 1, replace(FREE, wake_s=0.0, deep_wake_s=100e-6, deep_after_s=200e-6))

    def wake(moment=None):
        took.append(host.waking_s(0.0))
        host.work(took[-1], 0.0, lambda m: None)

    for at in (0.0, 1.0, 1.0 + 180e-6, 1.0 + 330e-6, 2.0):
        events.after(at, wake)
    events.run()
    assert took == pytest.approx([100e-6, 100e-6, 0.0, 50e-6, 100e-6])


def test_workers_are_forked_one_after_the_other_and_start_side_by_side():
    events, born = EventQueue(None), []
    profile = replace(FREE, fork_s=1.0, worker_start_s=3.0)
    template = SimForkServer(DedicatedHost(events, profile), profile)
    for _ in range(3):
        template.fork(lambda moment: born.append(events.now))
    events.run()
    assert born == [4.0, 5.0, 6.0]


def test_pages_are_fresh_where_nothing_was_written_and_freed_ones_are_taken_first():
    pages = PagesTouched()
    assert [pages.take_pages(10), pages.take_pages(10)] == [10, 10]
    pages.free(10, keep=True)
    assert [pages.take_pages(5), pages.take_pages(10)] == [0, 5]


def test_a_body_loses_time_to_the_flushing_thread_while_that_is_up():
    costs = ClientCosts(replace(FREE, flush_s=1e-3, interpreter_s=5e-3, handover_s=1e-3, linger=3))
    assert costs.handovers(0.0, 1.0) == 0.0
    costs.posts(0.0)
    assert costs.handovers(0.0, 13e-3) == pytest.approx(3e-3)  # twice meanwhile, and then at once
    assert costs.handovers(14e-3, 1.0) == 0.0
    costs.posts(2.0)
    assert costs.handovers(2.0, 1.0) == pytest.approx(3e-3)
    costs.posts(4.0)
    assert costs.handovers(4.0, 0.5e-3) == pytest.approx(0.5e-3)  # as likely as not it wants it by then


def test_a_shared_host_does_not_stall_on_rounding_late_in_time():
    ends = ends_of(lambda a: SharedHost(a, 3, TURNS), [(1e6 + i * 0.1, 0.7 / 3) for i in range(50)])
    assert len(ends) == 50


def test_a_faster_host_takes_less_time():
    assert ends_of(lambda a: SharedHost(a, 1, TURNS, speed=2.0), [(0, 1), (0, 1)]) == pytest.approx([0.75, 1])
    assert ends_of(lambda a: DedicatedHost(a, FREE, 2.0), [(0, 1)]) == [0.5]


def test_messages_between_two_places_stay_in_order():
    events, arrived = EventQueue(None), []
    network = Network(events, NetworkSpec(latency_s=1e-3, bandwidth_Bps=1e6))
    network.send_letters(("a", "b"), ("a", "b"), 10_000, lambda m: arrived.append(("large", events.now)))
    network.send_letters(("a", "b"), ("a", "b"), 10, lambda m: arrived.append(("small", events.now)))
    events.run()
    assert arrived == [("large", pytest.approx(0.011)), ("small", pytest.approx(0.011))]


def test_an_endless_loop_in_virtual_time_meets_the_event_cap():
    events = EventQueue(1000)

    def again(moment):
        events.after(1.0, again)

    again(None)
    with pytest.raises(DeadlockError, match="max_events=1000"):
        events.run()


def test_a_cancelled_moment_passes_without_effect():
    events, called = EventQueue(None), []
    events.after(1.0, called.append).cancel()
    events.run()
    assert (called, events.now) == ([], 1.0)


def spec(task: str, cost: float | None = None, name: str = "f") -> TaskSpec:
    return TaskSpec(TaskID(task), "task", name, DRIVER, NodeID("n0"), None, Payload(b""), cost=cost)


def test_traced_durations_go_by_task_then_by_function_then_by_what_is_declared():
    costs = Traced({"d-1": 3.0}, {"f": (1.0, 2.0)})
    assert costs.seconds(spec("d-1"), 0, 0.0) == 3.0
    assert {costs.seconds(spec(f"d-{n}"), 0, 0.0) for n in range(2, 40)} == {1.0, 2.0}
    assert costs.seconds(spec("d-2", 5.0, "g"), 0, 0.0) == 5.0


def test_luck_depends_on_its_arguments_alone():
    assert (
        seeded_uniform(1, "f", "d-1", 0)
        == seeded_uniform(1, "f", "d-1", 0)
        != seeded_uniform(1, "f", "d-2", 0)
    )
    mean = sum(Sampled(0.5).seconds(spec(f"d-{n}", 1.0), 0, 0.0) for n in range(4000)) / 4000
    assert mean == pytest.approx(1.0, abs=0.05)


def test_a_bad_option_is_refused_by_name():
    with pytest.raises(ValueError, match="unknown profile 'fre'"):
        read({"profile": "fre"})
    with pytest.raises(ValueError, match="bandwidth_Bps"):
        read({"bandwidth_Bps": float("nan")})
