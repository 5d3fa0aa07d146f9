"""Recordings that are not what was written: each is read, or refused with a sentence that names file and fault."""

from __future__ import annotations

import base64
import copy
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import labray
from labray.cli import main
from labray.files import traces
from labray.graphs import TaskGraph
from labray.replaying import recording as recordings
from labray.replaying.recording import Recorded
from labray.trace import digest, measure


@labray.remote
def work(number, *inputs):
    labray.spend(0.01)
    return labray.get(work.remote(number - 1)) if number else bytes(2000)


@labray.remote
class Keeper:
    def __init__(self, kept):
        self.kept = kept

    def go(self):
        return bytes(200_000)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> dict[str, Any]:
    """A recording with tasks of tasks, actors, puts, waits that were given up, and odd requests."""
    path = tmp_path_factory.mktemp("written") / "run.lab"
    with labray.init("sim", nodes=2, num_cpus=2, resources={"R": 1}, trace=path):
        put = labray.put(bytes(3000))
        keepers = [Keeper.remote(put), Keeper.options(num_cpus=0.5).remote(put)]
        asks = work.options(resources={"R": 0.5}).remote(0, work.remote(0), put)
        labray.get([work.remote(1), asks, *(keeper.go.remote() for keeper in keepers)])
        labray.wait([work.options(cost=5.0).remote(0)], timeout=0.5)
    return content(path)


def content(path: Path) -> dict[str, Any]:
    return msgspec.msgpack.decode(path.read_bytes().partition(b"\n")[2])


def save(path: Path, document: Any) -> Path:
    """As a file that is whole: what is wrong with it is what it says."""
    packed = msgspec.msgpack.encode(document)
    path.write_bytes(b"%s%d %s\n%s" % (traces.MAGIC, traces.VERSION, traces._sum(packed), packed))
    return path


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [*map(str, words)])


def judge(path: Path) -> list[int]:
    """Every command that reads a recording ends well, or with one sentence that names it. The exit codes."""
    out = path.with_suffix(".out")
    asked = [("whatif", path, "--nodes", "1,2")]
    asked += [("export", path, out, "--to", form) for form in ("perfetto", "wfformat", "stg")]
    codes = []
    for words in asked:
        result = run(*words)
        assert not labray.is_initialized()
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        if result.exit_code:
            said = result.output.strip().splitlines()[-1]
            assert said.startswith("Error: ")
            assert str(path) in said or "nothing of what was asked could run" in said
        codes.append(result.exit_code)
    return codes


def test_the_recording_that_is_changed_here_is_read_as_it_is(written, tmp_path):
    assert judge(save(tmp_path / "m.lab", written)) == [0, 0, 0, 0]


def nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


def set_in(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    document = copy.deepcopy(document)
    at = document
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    return document


def first(document: Any, kind: str) -> int:
    return next(at for at, event in enumerate(document["events"]) if event[1] == kind)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("num_cpus", 1e12, "1,000,000 at most"), ("num_cpus", "2", "num_cpus"), ("num_cpus", -1, "num_cpus"),
        ("num_cpus", 1e308, "num_cpus"), ("resources", {"R": 1e308}, "R"), ("nodes", 2**63 - 1, "nodes"),
        ("nodes", 10**12, "nodes"), ("nodes", 0, "nodes"), ("nodes", [2], "nodes"),
        ("resources", {"R": "x"}, "resources"),
        ("resources", None, "resources"), ("resources", {"node:n0": 1}, "node:n0"), ("policy", "no such", "no such"),
        ("policy", ["bottom_up"], "policy"), ("scheduler", None, "scheduler"), ("seed", -1, "seed"),
        ("host_cores", 10**12, "host_cores"), ("host_cores", 0, "host_cores"), ("backend", 3, "backend"),
    ],
)  # fmt: skip
def test_what_it_says_of_its_cluster_is_held_to_what_a_cluster_can_be(written, tmp_path, key, value, said):
    path = save(tmp_path / "m.lab", set_in(written, ("about", key), value))
    with pytest.raises(traces.TraceError, match=said) as caught:
        recordings.load(path)
    assert str(path) in str(caught.value)
    assert judge(path)[0] == 1


@pytest.mark.parametrize(
    ("kind", "place", "value"),
    [
        ("submitted", (4,), 5), ("submitted", (4, 3), "d-0.0"), ("submitted", (4, 1), "thing"), ("submitted", (4,), []),
        ("submitted", (4, 3), ["d-1.99999999999"]), ("submitted", (4, 3), ["d-1.x"]), ("submitted", (4, 5), "long"),
        ("submitted", (0,), 1e300), ("submitted", (0,), float("nan")), ("submitted", (4,), nested(900)),
        ("submitted", (4,), nested(400)), ("ran", (4, 3), float("inf")), ("ran", (4, 3), -5.0), ("ran", (4, 1), 0.5),
        ("ran", (4,), {"worker": 1}), ("stored", (4,), -1), ("stored", (4,), 10**17), ("stored", (3,), "d-0.12345678"),
        ("needs", (4, 0), [["CPU", -1]]), ("needs", (4, 0), [["CPU"]]), ("needs", (4, 0), 3),
        ("needs", (4, 0), [["CPU", 0]]), ("waited", (4, 2), 7),
        ("waited", (4, 0), 1e9), ("put", (4,), None), ("put", (4, 1), 2**64 - 1), ("moved", (4,), "n1"),
        ("submitted", (3,), ""), ("put", (3,), ""), ("needs", (4, 1), [["Q", 1]]),
    ],
)  # fmt: skip
def test_an_event_that_cannot_have_been_noted_is_refused_with_its_number(
    written, tmp_path, kind, place, value
):
    number = first(written, kind)
    path = save(tmp_path / "m.lab", set_in(written, ("events", number, *place), value))
    assert judge(path) == [1, 1, 1, 1]
    said = run("export", path, tmp_path / "o", "--to", "stg").output
    assert "damaged" in said and (f"event {number} (" in said or "deep" in said)


def test_one_result_more_than_all_that_can_be_is_refused_and_not_laid_out(written, tmp_path):
    document = copy.deepcopy(written)
    submitted = document["events"][first(document, "submitted")]
    submitted[4][3] = [f"d-{task}.9999999" for task in range(100)]
    assert judge(save(tmp_path / "m.lab", document)) == [1, 1, 1, 1]


def test_a_recording_in_which_somebody_waits_for_an_actor_is_refused(written, tmp_path):
    document = copy.deepcopy(written)
    waited = document["events"][first(document, "waited")][4][2][-1].rpartition(".")[0]
    (task,) = [event for event in document["events"] if event[1] == "submitted" and event[3] == waited]
    task[4][1] = "actor"
    path = save(tmp_path / "m.lab", document)
    assert judge(path) == [1, 1, 1, 1]
    assert "nobody waits for an actor" in run("whatif", path).output


@pytest.mark.parametrize("detail", [None, [], ["many", "why"], [3]])
def test_a_place_that_does_not_say_what_it_cut_is_refused(written, tmp_path, detail):
    document = copy.deepcopy(written)
    document["events"].append([9.0, "cut", "n0", "n0", detail])
    path = save(tmp_path / "m.lab", document)
    assert judge(path) == [1, 1, 1, 1]
    assert "'cut'" in run("whatif", path).output


def test_a_task_that_is_an_object_too_is_refused(written, tmp_path):
    document = copy.deepcopy(written)
    taker = next(event for event in document["events"] if event[1] == "submitted" and event[4][3])
    taker[4][3] = ["d-0"]
    path = save(tmp_path / "m.lab", document)
    judge(path)
    assert "is a task and an object" in run("export", path, tmp_path / "o", "--to", "stg").output
    with pytest.raises(ValueError, match="task and an object"):
        TaskGraph.from_trace(path)


def test_a_scheduler_may_be_called_as_it_likes(written, tmp_path):
    document = set_in(written, ("about", "scheduler"), "x[/bold] [red]")
    document["about"]["policy"] = ""
    result = run("whatif", save(tmp_path / "m.lab", document), "--nodes", "1", "--out", tmp_path / "o[bold]x")
    assert result.exit_code == 0, result.exception
    assert "x[/bold] [red]" in result.output and "o[bold]x" in result.output


def test_a_real_recording_says_when_and_a_simulated_one_is_the_same_whenever(tmp_path):
    for backend in ("inline", "sim"):
        with labray.init(backend, trace=tmp_path / f"{backend}.lab"):
            labray.get(work.remote(0))
    _, real = recordings.load(tmp_path / "inline.lab")
    _, simulated = recordings.load(tmp_path / "sim.lab")
    assert real.recorded_at.startswith("20") and simulated.recorded_at == ""
    assert isinstance(real, Recorded)


# ---------------------------------------------------------------- whatever else

ODD: list[Any] = [
    None, True, -1, 0, 1, 3, 2**63 - 1, -(2**63), 1e18, 1e308, float("nan"), float("inf"), 0.5, "", "a", "d", "d-0",
    "d-0.0", "d-1.2", "d-p0", "n0", "n0/driver", "task", "actor", "method", "x[/bold]", [], {}, [1], ["d-0.0"],
    [["CPU", 1]], [["CPU", 2**62]], {"CPU": 1}, b"x", nested(300),
]  # fmt: skip


def spots(value: Any) -> list[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [spot for key in keys for spot in ((value, key), *spots(value[key]))]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_recording_with_anything_in_place_of_anything_is_read_or_refused(written, tmp_path, data):
    document = copy.deepcopy(written)
    for _ in range(data.draw(st.integers(1, 2))):
        parts = [document, *(document[name] for name in ("about", "events") if name in document)]
        found = spots(data.draw(st.sampled_from(parts)))
        if not found:
            break
        where, key = data.draw(st.sampled_from(found))
        how = data.draw(st.sampled_from(["like", "odd", "drop", "double", "swap"]))
        if how == "drop":
            del where[key]
        elif how == "double" and isinstance(where, list):
            where.insert(key, copy.deepcopy(where[key]))
        elif how == "swap":
            other, place = data.draw(st.sampled_from(found))
            where[key] = copy.deepcopy(other[place]) if place in other or isinstance(other, list) else None
        else:
            like = [one for one in ODD if type(one) is type(where[key])]
            where[key] = data.draw(st.sampled_from(like if how == "like" and like else ODD))
    judge(save(tmp_path / "m.lab", document))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_recording_without_its_sum_cut_or_overwritten_anywhere_is_read_or_refused(written, tmp_path, data):
    packed = msgspec.msgpack.encode(written)
    at = data.draw(st.integers(0, len(packed) - 1))
    cut = data.draw(st.integers(0, 3) | st.just(len(packed)))
    put = data.draw(st.binary(max_size=3))
    path = tmp_path / "m.lab"
    path.write_bytes(b"%s%d\n%s" % (traces.MAGIC, traces.VERSION, packed[:at] + put + packed[at + cut :]))
    judge(path)


OF_COMMIT_5929CAA = (
    "eNqVU79v00AYtVomJCQmxITSMvCziWO7RJGQIhEWpnYpjNHZd1GsJLbxnRu1UwEhIbHQQCMGhCix3Trlxz8AIhJjBAojUgeLiRnB"
    "UhbOP+ozSRqEB8v63vu+9+595waQTbCWISZQUCafQUVZKkiLcFEqFKFcLBy/6wBZt8iDHRkodaTBLlabjqZDhGd2NatZUQwLz3gm"
    "wrplKghveFipIWg1kNm7phOiN1eM8xdcQ2+oyponh5WKZdgYITjbq+mYVBSddvddtIo0gve5+a1B6frX3MXy6atdwyIvNd6GCwbf"
    "3oafudkTNxjqYkI74SFhBGW91aCXY4iHLbmpEhK2duEC39kp65ZGkOkAhY7cho9e9Bnd0ahVHFPbm+1ueXnl07mTyUdqcFU3W8CE"
    "yWC7hgCcaCk/3VK+4+LbFjCRTQCuB4YGJZ8LH9Zk15FBYn6q3IMqNgAJthCDjsbnWvmj1YT/VBOmqQmhGn+0mtjZi+POAgjdJiI1"
    "HVJRhwaW5fsT4xKmxyV1bKyuH9rfDK8DPcNwyhmkyWWem7TOcI8BSkkU9099zA5fveuaQIsT3ooi5galm++LB8tLzxJSOsm4tFtV"
    "NRWz9aSgsTT5ZHf+mVuvl8pvmKgQifL/Eo36RkSFFDQmKiUr9OekD+tfnjNRnp3Uzzy9v3dHTEgDjmOiUWlElE9B0a9G69Ha2w5o"
    "qKsozjeijPkSWRhnL+/fM34xX2LK1/zvt8MfuYT0l6+oNOJLDKDvVy598w+GbKTE8vXnvI3ew58JKX214tLISCkFuS2gRlfVowOh"
    "Sc9pPk5u2bEnNIF8NshBCN9i+Jay/B+BjlJ8"
)
"""Two tasks, an actor's call, and a task that takes a put, as a session of that commit recorded them (zlib, base64)."""


def test_a_recording_made_before_the_rooms_had_their_names_is_read_as_it_was(tmp_path):
    path = tmp_path / "old.lab"
    path.write_bytes(zlib.decompress(base64.b64decode(OF_COMMIT_5929CAA)))
    events, _ = traces.load(path)
    assert digest(events) == "0863c75b12ebb1ddbf627ee2bb289a4a"
    assert measure(events).makespan_s == pytest.approx(0.756, abs=0.001)
    assert len(TaskGraph.from_trace(path).tasks()) == 5
    _, recorded = recordings.load(path)
    assert (recorded.policy, recorded.nodes, recorded.num_cpus) == ("bottom_up", 2, 2)


def test_a_recording_of_another_version_is_refused_with_both_versions(tmp_path):
    path = tmp_path / "later.lab"
    path.write_bytes(
        zlib.decompress(base64.b64decode(OF_COMMIT_5929CAA)).replace(b"trace 1 ", b"trace 9 ", 1)
    )
    with pytest.raises(traces.TraceError, match="is a trace of version 9; this labray reads version 1"):
        traces.load(path)
