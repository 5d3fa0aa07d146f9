"""Recorded programs acted out on other clusters."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import labray
from labray import trace
from labray.cli import main
from labray.files import task_graphs, traces
from labray.graphs.routes import routes
from labray.graphs.skeleton import AwaitStep, ComputeStep, PutStep, SubmitStep, skeleton
from labray.graphs.taskgraph import TaskGraph
from labray.messages import UNIT
from labray.replaying import acting, recording, whatif
from labray.schedulers.planned.workloads import acted
from tests.kit.paths import ROOT


@labray.remote
def leaf(number, *inputs):
    labray.spend(0.01 + number * 0.001)
    return bytes(300_000)


@labray.remote
def half(refs):
    """Submits, waits, and hands back a ref that its caller goes on with."""
    ends = [leaf.remote(at, ref) for at, ref in enumerate(refs)]
    labray.wait(ends, num_returns=2)
    labray.spend(0.005)
    labray.get(ends)
    return [ends[0]]


@labray.remote(num_cpus=0.5)
def small():
    labray.sleep(0.02)


@labray.remote
class Tally:
    def __init__(self):
        self.made = leaf.remote(0)

    def count(self):
        labray.spend(0.002)

    def again(self):
        return labray.get(leaf.remote(1, self.made))


def program() -> None:
    tally = Tally.remote()
    shared = labray.put(bytes(500_000))
    firsts = [leaf.remote(at, shared) for at in range(6)]
    halves = [half.remote(firsts[:3]), half.remote(firsts[3:])]
    inner = [ref for refs in labray.get(halves) for ref in refs]
    labray.get([leaf.remote(2, *inner), small.remote(), *(tally.count.remote() for _ in range(3))])
    labray.get(tally.again.remote())


def record(path: Path, **options) -> list[trace.Event]:
    with labray.init("sim", **{"nodes": 2, "num_cpus": 2, "trace": path} | options):
        program()
    return traces.load(path)[0]


# ---------------------------------------------------------------- recording


def test_a_path_records_what_happened_and_on_what(tmp_path):
    with labray.init("sim", nodes=2, num_cpus=3, seed=4, trace=str(tmp_path / "run.lab")) as session:
        labray.get(leaf.remote(1))
        events = list(session.trace())
    read, on = recording.load(tmp_path / "run.lab")
    assert trace.digest(read) == trace.digest(events)
    assert (on.backend, on.nodes, on.num_cpus, on.seed, on.policy) == ("sim", 2, 3, 4, "bottom_up")


def test_equal_simulations_write_equal_files(tmp_path):
    record(tmp_path / "a.lab")
    record(tmp_path / "b.lab")
    assert (tmp_path / "a.lab").read_bytes() == (tmp_path / "b.lab").read_bytes()


def test_a_place_that_cannot_be_written_to_is_refused_before_anything_starts(tmp_path):
    for bad in (tmp_path, tmp_path / "no" / "run.lab"):
        with pytest.raises(ValueError, match="directory that exists"):
            labray.init("inline", trace=bad)
        assert not labray.is_initialized()
    with pytest.raises(ValueError, match="cannot be written: "):
        labray.init("inline", trace="/proc/run.lab")
    assert not labray.is_initialized()
    with pytest.raises(TypeError, match="True or False or a file's path"):
        labray.init("inline", trace=3)


@pytest.mark.processes
def test_a_real_run_is_recorded_and_predicted(tmp_path):
    with labray.init("cluster", nodes=2, num_cpus=1, trace=tmp_path / "run.lab"):
        program()
    events, on = recording.load(tmp_path / "run.lab")
    assert on.host_cores
    acted = skeleton(events)
    again = whatif.predict(acted, whatif.recorded_cluster(on, whatif.AskedCluster(1, 1, "bottom_up")))
    assert not again.why
    assert again.lost == 0
    assert again.tasks == whatif.measured(events, on).tasks
    graph = labray.TaskGraph.from_trace(tmp_path / "run.lab")
    assert len(graph.tasks()) == again.tasks
    assert 0 < graph.critical_path()[0] < graph.work()


# ---------------------------------------------------------------- skeletons


def test_a_tasks_life_is_cut_into_computing_submitting_and_waiting():
    events: list[trace.Event] = [
        (0.0, "submitted", "n0", "d-0", ("f", "task", "d", (), "", None)),
        (0.0, "needs", "n0", "d-0", ((("CPU", 5000),), ())),
        (2.0, "put", "n0", "x-p0", ("d-0", 70)),
        (3.0, "submitted", "n0", "x-0", ("g", "task", "d-0", ("x-p0",), "", None)),
        (8.0, "ran", "n0", "x-0", ("n0/w1", 0, 4.0, 7.0, 1.0)),
        (8.0, "made", "n0", "x-0.0", 2000),
        (9.0, "waited", "n0", "n0/w0", (3.0, 1, ("x-0.0",))),
        (11.0, "ran", "n0", "d-0", ("n0/w0", 0, 1.0, 10.0, 2.0)),
        (11.0, "waited", "n0", "n0/driver", (0.5, 1, ("d-0.0",))),
    ]
    read = skeleton(events)
    part = read.parts["d-0"]
    assert part.demand == (("CPU", 5000),)
    assert part.seconds == 3.0  # of the nine, six were spent waiting
    assert part.steps == (
        ComputeStep(1.0, 2 / 3),
        PutStep("x-p0", 70),
        ComputeStep(1.0, 2 / 3),
        SubmitStep("x-0", 3.0),
        AwaitStep(("x-0.0",), 1, 3.0),
        ComputeStep(1.0, 2 / 3),
    )
    assert read.parts["x-0"].sizes == (2000,)
    assert read.parts["x-0"].steps == ()
    assert [type(step) for step in read.steps] == [SubmitStep, ComputeStep, AwaitStep]


def test_a_wait_whose_time_was_up_is_one_in_the_replay_too(tmp_path):
    with labray.init("sim", nodes=1, num_cpus=1, trace=tmp_path / "run.lab"):
        slow = [leaf.options(cost=1.0).remote(0) for _ in range(2)]
        while not labray.wait(slow, num_returns=2, timeout=0.25)[0][1:]:
            labray.get(small.remote())
    read = skeleton(traces.load(tmp_path / "run.lab")[0])
    times = [step.within for step in read.steps if isinstance(step, AwaitStep)]
    assert times[0] == pytest.approx(0.25, rel=0.01)
    assert times[-1] is None
    faster = whatif.predict(read, whatif.AskedCluster(2, 1, "centralized"))
    assert faster.makespan_s < 1.5  # it waited for the tasks, and not for the clock


def test_refs_go_down_with_tasks_and_up_with_results(tmp_path):
    read = skeleton(record(tmp_path / "run.lab"))
    ways = routes(read)
    first, second = (task for task, part in read.parts.items() if part.name == "half")
    assert not ways.lost
    assert set(ways.given[first]) == {f"d-{at}.0" for at in (1, 2, 3)}
    assert len(ways.handed[first]) == len(ways.handed[second]) == 1
    assert set(ways.asked.values()) == {first, second}


# ---------------------------------------------------------------- replays


def acted_out(events: list[trace.Event], **options) -> list[trace.Event]:
    with labray.init("sim", **{"nodes": 2, "num_cpus": 2} | options) as session:
        acting.perform(skeleton(events))
        return list(session.trace())


def structure(events: list[trace.Event]) -> list[tuple[str, str, int]]:
    """Name, kind and number of data dependencies of each task, and sizes, whatever the order."""
    graph = TaskGraph.from_trace(events)
    return sorted(
        (node["name"], node["kind"], len(graph.inputs(task)))
        for task, node in ((task, graph.nx.nodes[task]) for task in graph.tasks())
    )


def test_a_replay_on_the_recorded_cluster_is_close_to_what_was_recorded(tmp_path):
    recorded = record(tmp_path / "run.lab")
    replayed = acted_out(recorded)
    was, now = trace.measure(recorded, 4), trace.measure(replayed, 4)
    assert now.makespan_s == pytest.approx(was.makespan_s, rel=0.1)
    assert now.tasks == was.tasks


def test_a_replay_has_the_tasks_dependencies_sizes_and_requests_of_the_program(tmp_path):
    recorded = record(tmp_path / "run.lab")
    replayed = acted_out(recorded)
    names = lambda rows: [(name, kind) for name, kind, _ in rows]  # noqa: E731
    assert names(structure(replayed)) == names(structure(recorded))
    assert [row for row in structure(replayed) if row[0] == "leaf"] == [
        row for row in structure(recorded) if row[0] == "leaf"
    ]
    for kind in ("stored", "needs"):
        was, now = (
            sorted(str(detail) for _, k, _, _, detail in events if k == kind)
            for events in (recorded, replayed)
        )
        assert len(was) == len(now)
    parents = lambda events: sum(s.parent != "d" for s in trace.submissions(events))  # noqa: E731
    assert parents(replayed) == parents(recorded)  # who submitted what


def test_replays_are_deterministic(tmp_path):
    recorded = record(tmp_path / "run.lab")
    assert trace.digest(acted_out(recorded)) == trace.digest(acted_out(recorded))


def test_a_replay_of_independent_work_scales_with_the_cpus(tmp_path):
    with labray.init("sim", nodes=1, num_cpus=1, profile="free", trace=tmp_path / "run.lab"):
        labray.get([leaf.remote(0) for _ in range(32)])
    read = skeleton(traces.load(tmp_path / "run.lab")[0])
    like = whatif.AskedCluster(1, 1, "centralized", sim={"profile": "free", "latency_s": 0.0})
    line = list(whatif.sweep(read, [1, 2, 4, 32, 64], ["centralized"], like))
    spans = [one.makespan_s for one in line]
    assert spans[:3] == pytest.approx([spans[0], spans[0] / 2, spans[0] / 4], rel=0.01)
    assert spans[4] == pytest.approx(spans[3], rel=0.01)
    assert whatif.stops_helping(line) == 32


def test_pins_to_nodes_that_are_not_there_go_to_others(tmp_path):
    with labray.init("sim", nodes=3, num_cpus=1, trace=tmp_path / "run.lab"):
        labray.get([leaf.options(resources={f"node:n{at}": 0.1}).remote(0) for at in range(3)])
    read = skeleton(traces.load(tmp_path / "run.lab")[0])
    for nodes in (1, 2, 5):
        assert not whatif.predict(read, whatif.AskedCluster(nodes, 1, "bottom_up")).why


def test_a_request_that_no_node_can_meet_is_an_outcome_with_a_reason(tmp_path):
    with labray.init("sim", num_cpus=4, trace=tmp_path / "run.lab"):
        labray.get(leaf.options(num_cpus=3).remote(0))
    read = skeleton(traces.load(tmp_path / "run.lab")[0])
    one = whatif.predict(read, whatif.AskedCluster(2, 2, "bottom_up"))
    assert "CPU" in one.why
    assert whatif.stops_helping([one]) is None


# ---------------------------------------------------------------- the command


def test_numbers_of_nodes_bandwidths_and_times_are_read_as_people_write_them():
    assert whatif.node_counts("1:100") == [1, 2, 5, 10, 20, 50, 100]
    assert whatif.node_counts("3:30") == [3, 5, 10, 20, 30]
    assert whatif.node_counts("1,2,4") == [1, 2, 4]
    assert whatif.rate("10Gbit") == 1.25e9
    assert whatif.rate("100 MB/s") == 1e8
    assert whatif.rate("1.25e9") == 1.25e9
    assert whatif.duration("50us") == pytest.approx(5e-5)
    assert whatif.duration("0") == 0.0


@pytest.mark.parametrize("text", ["", "0", "a", "4:1", "2,1", "1:2:3", "-1"])
def test_what_is_no_number_of_nodes_is_refused(text):
    with pytest.raises(ValueError, match="1:100"):
        whatif.node_counts(text)


@pytest.mark.parametrize(
    ("text", "bytes_per_second"),
    [
        ("8Gbit", 1e9), ("8gbit/s", 1e9), ("8Gb", 1e9), ("8Gbps", 1e9), ("8Gb/s", 1e9), ("8kb", 1e3), ("8 Mbits", 1e6),
        ("8b", 1.0), ("1GB", 1e9), ("1GBps", 1e9), ("1GB/s", 1e9), ("1kB", 1e3), ("1KB", 1e3), ("2Mbyte", 2e6),
        ("3B", 3.0), ("1.5e3MB", 1.5e9), ("7", 7.0), ("1TB", 1e12),
    ],
)  # fmt: skip
def test_a_small_b_is_bits_and_a_large_one_bytes(text, bytes_per_second):
    assert whatif.rate(text) == pytest.approx(bytes_per_second)


@pytest.mark.parametrize("text", ["10gb", "100mb", "1mB", "1gBps"])
def test_a_rate_that_may_be_of_bits_or_of_bytes_is_refused(text):
    with pytest.raises(ValueError, match="b is bits, B bytes"):
        whatif.rate(text)


@pytest.mark.parametrize(("units", "count"), [(4 * UNIT, 8), (UNIT, 16), (UNIT // 4, 32)])
def test_busy_counts_a_task_for_the_cpus_that_it_holds(units, count):
    graph = TaskGraph()
    for at in range(count):
        graph.task(f"t{at}", cost=10.0, demand=(("CPU", units),))
    assert whatif.predict(graph, whatif.AskedCluster(1, 4, "bottom_up")).utilisation == pytest.approx(
        1.0, abs=0.01
    )


def test_busy_counts_a_call_for_the_cpus_of_its_actor():
    with labray.init("sim", num_cpus=4, profile="free", latency_s=0.0) as session:
        tally = Tally.options(num_cpus=4).remote()
        labray.get([tally.count.options(cost=10.0).remote() for _ in range(3)])
        assert trace.measure(session.trace(), 4).utilisation == pytest.approx(1.0, abs=0.01)


def test_what_stands_for_data_from_outside_is_no_task_of_the_figures():
    graph = TaskGraph()
    for at in range(3):
        graph.task(f"t{at}", cost=1.0, inputs=[graph.object(f"in{at}", 1000)])
    done = whatif.predict(graph, whatif.AskedCluster(1, 1, "bottom_up"))
    assert done.tasks == 3
    assert done.throughput == pytest.approx(1.0, rel=0.01)


@pytest.mark.parametrize("text", ["", "fast", "10Gfoo", "-1", "0", "inf", "nan"])
def test_what_is_no_bandwidth_is_refused(text):
    with pytest.raises(ValueError, match="10Gbit"):
        whatif.rate(text)


def test_the_command_prints_a_table_with_the_recorded_cluster_beside_what_was_measured(tmp_path):
    record(tmp_path / "run.lab")
    arguments = [
        "whatif",
        str(tmp_path / "run.lab"),
        "--nodes",
        "1,2",
        "--cpus",
        "4",
        "--out",
        str(tmp_path / "out"),
    ]
    result = CliRunner().invoke(main, [*arguments, "--scheduler", "centralized", "--scheduler", "bottom_up"])
    assert result.exit_code == 0, result.output
    assert "The recorded cluster itself: predicted" in result.output
    assert "measured" not in result.output and "All rows are simulated" in result.output
    with (tmp_path / "out" / "whatif.csv").open() as file:
        rows = [(row["what"], row["scheduler"], row["nodes"]) for row in csv.DictReader(file)]
    assert rows == [
        ("recorded", "bottom_up", "2"),  # in the simulator: nothing of it was measured
        ("predicted", "bottom_up", "2"),
        *(
            ("what if", scheduler, nodes)
            for scheduler in ("centralized", "bottom_up")
            for nodes in ("1", "2")
        ),
    ]
    assert (tmp_path / "out" / "whatif.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [("--nodes", "x", "1:100"), ("--scheduler", "botom_up", "bottom_up"), ("--bandwidth", "x", "10Gbit")],
)
def test_the_command_says_what_it_does_not_understand(tmp_path, option, value, said):
    record(tmp_path / "run.lab")
    result = CliRunner().invoke(main, ["whatif", str(tmp_path / "run.lab"), option, value])
    assert result.exit_code == 1
    assert said in result.output


STG = """4
0 0 0
1 8 1 0
2 8 1 0
3 8 1 0
4 8 3 1 2 3
5 0 1 4
"""


def asked(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["whatif", *map(str, words)], terminal_width=200)
    return result.exit_code, " ".join(result.output.split())


def test_anyones_graph_is_asked_the_same_and_nothing_of_it_is_called_measured(tmp_path):
    (tmp_path / "graph.stg").write_text(STG)
    code, said = asked(
        tmp_path / "graph.stg", "--nodes", "1,3", "--cpus", 1, "--scheduler", "b_level", "--out", tmp_path
    )
    assert code == 0
    assert "4 tasks, 32 s of work, critical path 16 s" in said
    assert "measured" not in said and "All rows are simulated" in said
    with (tmp_path / "whatif.csv").open() as file:
        rows = [(row["what"], row["nodes"], float(row["makespan_s"])) for row in csv.DictReader(file)]
    assert [row[:2] for row in rows] == [("what if", "1"), ("what if", "3")]
    assert [row[2] for row in rows] == pytest.approx([32.0, 16.0], rel=0.01)
    assert (tmp_path / "whatif.png").stat().st_size > 10_000


def test_a_policy_that_plans_is_told_the_graph_and_the_network(tmp_path):
    (tmp_path / "graph.stg").write_text(STG)
    graph = task_graphs.read(tmp_path / "graph.stg")
    on = whatif.AskedCluster(3, 1, "heft", sim={"bandwidth_Bps": 1e6, "latency_s": 0.5})
    heft = whatif.policy(graph, on)
    assert (len(heft.work.tasks), heft.bandwidth_Bps, heft.latency_s) == (4, 1e6, 0.5)
    assert repr(whatif.policy(graph, whatif.AskedCluster(3, 1, "random"))) == "Random()"
    # two waves of 8 s, what is moved between them, and what the nodes have to say to each other
    assert 16.5 <= whatif.predict(graph, on).makespan_s <= 17.5


def unbalanced(path: Path) -> None:
    """Two long tasks that a deal in turn puts on one node of four."""

    @labray.remote
    def busy(seconds):
        labray.spend(seconds)

    with labray.init("sim", nodes=1, num_cpus=1, trace=path):
        labray.get([busy.remote(seconds) for seconds in (8.0, 1.0, 1.0, 1.0, 8.0, 1.0, 1.0, 1.0)])


@pytest.mark.parametrize("name", ["heft", "cpop", "hlfet", "peft", "lookahead", "dls", "b_level", "single"])
def test_a_policy_that_plans_is_told_the_graph_of_a_recording(tmp_path, name):
    unbalanced(tmp_path / "run.lab")
    events, _ = recording.load(tmp_path / "run.lab")
    on = whatif.AskedCluster(4, 1, name, sim={"latency_s": 0.001})
    told = whatif.policy(skeleton(events), on)
    assert len(told.work.tasks) == 8 and getattr(told, "latency_s", 0.001) == 0.001
    took = whatif.predict(skeleton(events), on).makespan_s
    assert took == pytest.approx(22.0 if name == "single" else 8.0, abs=1.1)


def test_a_plan_of_a_recording_knows_its_tasks_by_the_ids_that_they_have_in_the_replay(tmp_path):
    events = record(tmp_path / "run.lab", nodes=2, num_cpus=2)
    work = acted(skeleton(events))
    again = {event[3] for event in acted_out(events, nodes=2, num_cpus=2) if event[1] == "submitted"}
    assert again <= set(work.tasks)
    assert len(work.tasks) == len(skeleton(events).parts) and work.edges


def test_a_planner_without_a_graph_says_that_it_plans_nothing():
    with pytest.warns(RuntimeWarning, match="Heft plans ahead and was told no graph"):
        labray.init("sim", scheduler="heft")


def test_a_malformed_graph_is_refused_with_its_line_and_an_empty_one_as_empty(tmp_path):
    (tmp_path / "graph.stg").write_text(STG.replace("2 8 1 0", "2 x 1 0"))
    code, said = asked(tmp_path / "graph.stg")
    assert code == 1 and "line 4" in said and "'x'" in said
    (tmp_path / "graph.json").write_text("[]")
    code, said = asked(tmp_path / "graph.json")
    assert code == 1 and "has no tasks" in said


def test_a_workflow_that_never_ran_is_said_to_take_no_time(tmp_path):
    task = {"name": "a", "id": "a", "parents": [], "children": []}
    workflow = {"specification": {"tasks": [task]}}
    path = tmp_path / "w.json"
    path.write_text(json.dumps({"name": "w", "schemaVersion": "1.6", "workflow": workflow}))
    assert "1 of the 1 tasks take no time in the file." in asked(path, "--nodes", 1)[1]


def test_a_trace_that_does_not_say_where_it_was_recorded_is_refused(tmp_path):
    traces.save(tmp_path / "old.lab", [])
    result = CliRunner().invoke(main, ["whatif", str(tmp_path / "old.lab")])
    assert result.exit_code == 1
    assert "record with" in result.output


@pytest.mark.processes
def test_the_pages_program_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "whatif.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(block, "whatif.md", "exec"), {"__name__": "whatif_page"})
    assert (tmp_path / "run.lab").exists()


@pytest.mark.processes
def test_import_labray_stays_light_and_has_the_graph_when_asked():
    code = (
        "import sys, labray; heavy = {'networkx', 'numpy', 'rich', 'click', 'matplotlib'} & set(sys.modules); "
        "assert not heavy, heavy; labray.TaskGraph; assert 'networkx' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
