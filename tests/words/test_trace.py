"""Traces: what is read off a list of events, and whether it survives a file."""

from __future__ import annotations

import json
import re

import pytest

from labray import fuzz, trace
from labray.files import traces
from labray.files.trace_schema import DETAILS
from labray.trace import Event


def submitted(
    time: float, task: str, kind: str = "task", deps=(), actor: str = "", place: str = "n0"
) -> Event:
    return (time, "submitted", place, task, ("f", kind, "d", deps, actor, None))


def ran(task: str, begun: float, ended: float, worker: str = "n0/w0", attempt: int = 0) -> Event:
    return (ended, "ran", worker.partition("/")[0], task, (worker, attempt, begun, ended, ended - begun))


TWO_NODES: list[Event] = [
    submitted(1.0, "d-0"),
    submitted(1.0, "d-1", deps=("d-0.0",)),
    (1.0, "forwarded", "n0", "d-1", "head"),
    (1.5, "forwarded", "head", "d-1", "n1"),
    ran("d-0", 2.0, 4.0),
    (4.0, "finished", "n0", "d-0", 0),
    (4.5, "moved", "n1", "d-0.0", ("n0", 200_000)),
    ran("d-1", 5.0, 9.0, "n1/w0"),
    (6.0, "blocked", "n1", "d-1", None),
    (8.0, "unblocked", "n1", "d-1", None),
    (9.0, "failed", "n0", "d-1", "task"),
    submitted(9.0, "d-2", kind="method", actor="d-9.0"),
]


def test_metrics_of_a_small_run_are_what_a_pencil_says():
    assert trace.measure(TWO_NODES, cpus=2) == trace.Metrics(
        tasks={"finished": 1, "failed": 1, "pending": 1},
        makespan_s=8.0,
        throughput=0.25,
        latency_p50_s=2.5,
        latency_p99_s=pytest.approx(3.97),
        utilisation=0.25,  # 2 s and 4 s less 2 s blocked, of 16
        moved_bytes=200_000,
        forwarded_share=0.5,
    )


def test_metrics_of_nothing_are_zero():
    nothing = trace.measure([])
    assert (nothing.makespan_s, nothing.throughput, nothing.utilisation) == (0.0, 0.0, None)


def test_latency_counts_the_first_attempt_and_a_retried_task_is_pending_again():
    events = [submitted(0.0, "a"), ran("a", 1.0, 2.0), (2.0, "failed", "n0", "a", "worker_crashed")]
    events += [(2.0, "retried", "n0", "a", 1), ran("a", 5.0, 6.0, attempt=1)]
    assert trace.latencies(events) == [1.0]
    assert trace.states(events) == {"finished": 0, "failed": 0, "pending": 1}


def test_digest_sees_every_bit_and_the_order():
    other = [*TWO_NODES[:-1], submitted(9.000000000000002, "d-2", kind="method", actor="d-9.0")]
    swapped = [TWO_NODES[1], TWO_NODES[0], *TWO_NODES[2:]]
    digests = {trace.digest(events) for events in (TWO_NODES, other, swapped, [])}
    assert len(digests) == 4
    assert trace.digest(TWO_NODES) == trace.digest(list(TWO_NODES))


def test_a_saved_trace_comes_back_equal(tmp_path):
    traces.save(tmp_path / "run.lab", TWO_NODES, {"scheduler": "BottomUp()"})
    events, about = traces.load(tmp_path / "run.lab")
    assert events == TWO_NODES
    assert trace.digest(events) == trace.digest(TWO_NODES)
    assert about == {"scheduler": "BottomUp()"}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is not a trace"),
        (b"PK\x03\x04 something else", "is not a trace"),
        (b"labray trace 99\n\x90", "version 99; this labray reads version 1"),
        (b"labray trace 1\n", "damaged"),
        (b"labray trace 1\n\x82\xa5about\x80\xa6events\x91\x01", "damaged"),
    ],
)
def test_a_file_that_is_no_trace_is_refused_with_the_reason(tmp_path, content, why):
    path = tmp_path / "bad.lab"
    path.write_bytes(content)
    with pytest.raises(traces.TraceError, match=why):
        traces.load(path)


def test_a_truncated_trace_is_refused(tmp_path):
    path = tmp_path / "cut.lab"
    traces.save(path, TWO_NODES)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(traces.TraceError, match="damaged"):
        traces.load(path)


def test_the_timeline_has_a_process_a_node_and_a_thread_a_worker(tmp_path):
    traces.export(tmp_path / "t.json", TWO_NODES)
    entries = json.loads((tmp_path / "t.json").read_bytes())["traceEvents"]
    names = {e["args"]["name"] for e in entries if e["ph"] == "M"}
    slices = [(e["name"], e["ts"], e["dur"]) for e in entries if e["ph"] == "X"]
    assert names == {"n0", "n1", "n0/w0", "n1/w0"}
    assert slices == [("f", 2e6, 2e6), ("f", 5e6, 4e6), ("blocked", 6e6, 2e6)]


@pytest.mark.parametrize("seed", range(24))
def test_whatever_a_session_notes_is_read_back_as_it_was(tmp_path, seed):
    """The types that a file is held to hold for all that fuzzing makes happen: faults, cancels, actors, full stores."""
    events = fuzz.run(fuzz.case_of(seed))
    traces.save(tmp_path / "run.lab", events)
    again, _ = traces.load(tmp_path / "run.lab")
    assert again == list(events)
    assert trace.digest(again) == trace.digest(events)


def test_every_kind_that_is_told_of_has_its_type():
    told = re.findall(r"^    ([a-z_]+(?:, [a-z_]+)*)  +\S", trace.__doc__ or "", re.MULTILINE)
    assert {kind for kinds in told for kind in kinds.split(", ")} == set(DETAILS)
