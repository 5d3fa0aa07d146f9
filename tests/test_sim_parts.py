"""The simulated world's parts by themselves: agenda, hosts, network, costs."""

from __future__ import annotations

import pytest

from labray.backends.sim.agenda import Agenda
from labray.backends.sim.hosts import Dedicated, Shared
from labray.backends.sim.network import Network, Wires
from labray.backends.sim.settings import read
from labray.costs import Sampled, Traced, luck
from labray.errors import DeadlockError
from labray.ids import DRIVER, Place, TaskID
from labray.messages import Payload, Spec


def ends_of(host_of, pieces):
    """When pieces of work (start, cpu) end."""
    agenda = Agenda(None)
    host, ends = host_of(agenda), {}
    for index, (start, cpu) in enumerate(pieces):
        agenda.after(
            start, lambda m, i=index, c=cpu: host.work(0.0, c, lambda m: ends.setdefault(i, agenda.now))
        )
    agenda.run()
    return [ends[i] for i in range(len(pieces))]


def test_a_dedicated_host_has_a_core_for_everyone():
    assert ends_of(Dedicated, [(0, 1), (0, 2), (0.5, 1)]) == [1, 2, 1.5]


def test_two_runnable_processes_share_one_core():
    assert ends_of(lambda a: Shared(a, 1), [(0, 1), (0, 1)]) == pytest.approx([2, 2])


def test_four_runnable_processes_share_two_cores():
    assert ends_of(lambda a: Shared(a, 2), [(0, 1)] * 4) == pytest.approx([2] * 4)


def test_two_processes_on_two_cores_do_not_slow_each_other():
    assert ends_of(lambda a: Shared(a, 2), [(0, 1), (0, 3)]) == pytest.approx([1, 3])


def test_who_comes_later_slows_those_that_run():
    # alone for 1 s, then shared: the first has 1 s left and takes 2 s more, the second then runs alone
    assert ends_of(lambda a: Shared(a, 1), [(0, 2), (1, 3)]) == pytest.approx([3, 5])


def test_a_shared_host_does_not_stall_on_rounding_late_in_time():
    ends = ends_of(lambda a: Shared(a, 3), [(1e6 + i * 0.1, 0.7 / 3) for i in range(50)])
    assert len(ends) == 50


def test_a_faster_host_takes_less_time():
    assert ends_of(lambda a: Shared(a, 1, speed=2.0), [(0, 1), (0, 1)]) == pytest.approx([1, 1])
    assert ends_of(lambda a: Dedicated(a, 2.0), [(0, 1)]) == [0.5]


def test_messages_between_two_places_stay_in_order():
    agenda, arrived = Agenda(None), []
    network = Network(agenda, Wires(latency_s=1e-3, bandwidth_Bps=1e6))
    network.send(("a", "b"), ("a", "b"), 10_000, lambda m: arrived.append(("large", agenda.now)))
    network.send(("a", "b"), ("a", "b"), 10, lambda m: arrived.append(("small", agenda.now)))
    agenda.run()
    assert arrived == [("large", pytest.approx(0.011)), ("small", pytest.approx(0.011))]


def test_an_endless_loop_in_virtual_time_meets_the_event_cap():
    agenda = Agenda(1000)

    def again(moment):
        agenda.after(1.0, again)

    again(None)
    with pytest.raises(DeadlockError, match="max_events=1000"):
        agenda.run()


def test_a_cancelled_moment_passes_without_effect():
    agenda, called = Agenda(None), []
    agenda.after(1.0, called.append).cancel()
    agenda.run()
    assert (called, agenda.now) == ([], 1.0)


def spec(task: str, cost: float | None = None, name: str = "f") -> Spec:
    return Spec(TaskID(task), "task", name, DRIVER, Place("n0"), None, Payload(b""), cost=cost)


def test_traced_durations_go_by_task_then_by_function_then_by_what_is_declared():
    costs = Traced({"d-1": 3.0}, {"f": (1.0, 2.0)})
    assert costs.seconds(spec("d-1"), 0, 0.0) == 3.0
    assert {costs.seconds(spec(f"d-{n}"), 0, 0.0) for n in range(2, 40)} == {1.0, 2.0}
    assert costs.seconds(spec("d-2", 5.0, "g"), 0, 0.0) == 5.0


def test_luck_depends_on_its_arguments_alone():
    assert luck(1, "f", "d-1", 0) == luck(1, "f", "d-1", 0) != luck(1, "f", "d-2", 0)
    mean = sum(Sampled(0.5).seconds(spec(f"d-{n}", 1.0), 0, 0.0) for n in range(4000)) / 4000
    assert mean == pytest.approx(1.0, abs=0.05)


def test_a_bad_option_is_refused_by_name():
    with pytest.raises(ValueError, match="unknown profile 'fre'"):
        read({"profile": "fre"})
    with pytest.raises(ValueError, match="bandwidth_Bps"):
        read({"bandwidth_Bps": float("nan")})
