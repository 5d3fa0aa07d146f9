"""A task that later ones overtake: how often at most, and that room is never kept in vain."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

import labray
from labray.scheduling import OVERTAKEN
from labray.trace import Event


@labray.remote
def narrow(seconds: float) -> None:
    labray.sleep(seconds)


@labray.remote
def wide() -> None:
    labray.sleep(0.5)


def begun_before(events: list[Event], name: str) -> int:
    """How many tasks that were submitted after the one of this name began before it."""
    (big,) = [e[3] for e in events if e[1] == "submitted" and e[4][0] == name]
    order = [e[3] for e in events if e[1] == "submitted"]
    began = [e[3] for e in events if e[1] == "dispatched"]
    later = set(order[order.index(big) + 1 :])
    return len([task for task in began[: began.index(big)] if task in later])


def stream(durations: list[float], cpus: int, asks: int, ahead: int) -> list[Event]:
    """A task of so many CPUs, and before and after it narrow ones, all at once."""
    with labray.init("sim", nodes=1, num_cpus=cpus, profile="free") as session:
        refs = [narrow.remote(seconds) for seconds in durations[:ahead]]
        labray.sleep(0.01)
        refs.append(wide.options(num_cpus=asks).remote())
        refs += [narrow.remote(seconds) for seconds in durations[ahead:]]
        labray.get(refs)
        return list(session.trace())


@settings(max_examples=40, deadline=None)
@given(
    durations=st.lists(st.floats(0.5, 2.0), min_size=100, max_size=300),
    cpus=st.integers(2, 8),
    asks=st.integers(2, 8),
)
def test_a_wide_task_is_overtaken_a_bounded_number_of_times(durations, cpus, asks):
    """64 tasks of 0.5 s take 4 s on 8 CPUs: room is kept for that long, and all that runs has ended by then."""
    events = stream(durations, cpus, min(asks, cpus), ahead=cpus)
    assert begun_before(events, "wide") <= OVERTAKEN


def test_tasks_much_longer_than_it_has_waited_are_outlasted_by_doubling():
    durations = [1000.0] + [0.01] * 2000
    events = stream(durations, 4, 4, ahead=1)
    assert [e for e in events if e[1] == "submitted" and e[4][0] == "wide"]
    waited = OVERTAKEN / 3 * 0.01  # until room is first kept; then for twice as long each time
    times = next(n for n in range(40) if waited * 2**n > 1000.0)
    assert begun_before(events, "wide") <= OVERTAKEN * (times + 1)


def test_no_room_is_kept_of_what_an_actor_holds_for_good():
    @labray.remote(num_cpus=1)
    class Holder:
        def ping(self) -> None:
            pass

    with labray.init("sim", nodes=1, num_cpus=4, profile="free"):
        holder = Holder.remote()
        labray.get(holder.ping.remote())
        big = wide.options(num_cpus=4).remote()
        labray.get([narrow.remote(1.0) for _ in range(300)])
        assert labray.now() < 101  # nobody else waited for it
        del holder
        labray.get(big)


def test_what_a_task_waits_for_is_not_held_up_for_ever_by_what_waits_for_that_task():
    """The parent holds the GPU that the other wants, whose room holds up the child that the parent waits for."""

    @labray.remote(num_cpus=1, resources={"gpu": 1})
    def parent() -> int:
        for _ in range(150):
            labray.get(narrow.remote(0.01))
        child = narrow.remote(0.01)
        while not labray.wait([child], timeout=0)[0]:  # it does not block: who keeps room cannot know
            labray.sleep(0.01)
        return 1

    with labray.init("sim", nodes=1, num_cpus=2, resources={"gpu": 1}, profile="free"):
        first = parent.remote()
        labray.sleep(0.001)
        second = wide.options(num_cpus=2, resources={"gpu": 1}).remote()
        assert labray.get([first, second]) == [1, None]


def test_of_two_shapes_that_are_overdue_both_begin():
    with labray.init("sim", nodes=1, num_cpus=4, profile="free") as session:
        refs = [narrow.remote(1.0) for _ in range(4)]
        labray.sleep(0.01)
        refs += [wide.options(num_cpus=asks).remote() for asks in (3, 4)]
        refs += [narrow.remote(1.0 + at % 3) for at in range(400)]
        labray.get(refs)
        began = [e[3] for e in session.trace() if e[1] == "dispatched"]
        order = [e[3] for e in session.trace() if e[1] == "submitted"]
    assert max(began.index(order[4]), began.index(order[5])) < 4 + 2 * (OVERTAKEN + 4)
