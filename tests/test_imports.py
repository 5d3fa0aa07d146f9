"""Others' recordings: read as they are, refused where they are wrong, and written so that they are read back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from labray import trace
from labray.cli import main
from labray.graphs import GraphError, TaskGraph
from labray.graphs.formats import estee, stg, timeline, wfformat
from labray.graphs.formats.files import read
from labray.graphs.formats.reading import FormatError
from labray.messages import UNIT

DATA = Path(__file__).parent.parent.parent / "shared" / "data"


def shared(path: str) -> Path:
    if not (DATA / path).exists():
        pytest.skip(f"{DATA / path} is not on this machine")
    return DATA / path


# ---------------------------------------------------------------- Standard Task Graphs

STG = """\
  3
  0 0 0
  1 4 1 0
  2 5 1 0
  3 6 2 1 2
  4 0 1 3
# a comment
"""


def test_an_stg_loses_its_dummies_and_keeps_its_order():
    graph = stg.parse(STG)
    assert graph.tasks() == ["1", "2", "3"]
    assert graph.inputs("3") == ["1.0", "2.0"]
    assert graph.critical_path() == (11.0, ["2", "3"])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  3\n", "  x\n", r"line 1: .*'x'"),
        ("  3\n", "  9\n", r"line 1: 9 tasks make 11 lines"),
        ("  1 4 1 0", "  1 4 2 0", r"line 3: task 1 has 2 predecessors; 1 are named"),
        ("  1 4 1 0", "  1 4", r"line 3: should be `id"),
        ("  1 4 1 0", "  1 -4 1 0", r"line 3: .*'-4'"),
        ("  1 4 1 0", "  7 4 1 0", r"line 3: should be task 1, not 7"),
        ("  1 4 1 0", "  1 4 1 8", r"line 3: task 1 has predecessor 8"),
        ("  1 4 1 0", "  1 4 1 3", r"cycle: .*3.* -> .*1"),
        (STG, "", r"line 1: .*empty"),
    ],
)
def test_a_malformed_stg_is_refused_with_its_line(old, new, said):
    with pytest.raises(FormatError, match=said):
        stg.parse(STG.replace(old, new))


def test_the_published_stg_files_are_read():
    folder = shared("stg/50")
    for path in sorted(folder.glob("*.stg"))[:20]:
        graph = read(path)
        assert len(graph.tasks()) == 50
        promised = next(line for line in path.read_text().splitlines() if "CP Length" in line)
        assert graph.critical_path()[0] == float(promised.rpartition(":")[2])


# ---------------------------------------------------------------- WfFormat


def workflow() -> dict:
    specification = {
        "tasks": [
            {"name": "join", "id": "j", "parents": ["a", "b"], "children": [], "inputFiles": ["x"]},
            {
                "name": "make",
                "id": "a",
                "parents": [],
                "children": ["j"],
                "inputFiles": ["in"],
                "outputFiles": ["x"],
            },
            {"name": "make", "id": "b", "parents": [], "children": ["j"], "outputFiles": ["x"]},
            {"name": "wait", "id": "w", "parents": ["j"], "children": []},
        ],
        "files": [{"id": "in", "sizeInBytes": 5}, {"id": "x", "sizeInBytes": 7}],
    }
    ran = [{"id": "a", "runtimeInSeconds": 2.5, "coreCount": 2}, {"id": "j", "runtimeInSeconds": 1}]
    execution = {"makespanInSeconds": 4, "executedAt": "2020-01-01T00:00:00Z", "tasks": ran}
    return {
        "name": "w",
        "schemaVersion": "1.5",
        "workflow": {"specification": specification, "execution": execution},
    }


def test_a_workflow_has_a_file_of_each_writer_and_a_token_where_no_file_says_who_comes_first():
    graph = wfformat.parse(json.dumps(workflow()))
    assert graph.tasks() == ["j", "a", "b", "w"]
    assert graph.inputs("a") == ["in"]
    assert graph.inputs("j") == ["a.0", "b.0"]
    assert graph.inputs("w") == ["j.0"]
    assert (graph.nx.nodes["a.0"]["size"], graph.nx.nodes["j.0"]["size"]) == (7, 0)
    assert graph.nx.nodes["a"]["demand"] == (("CPU", 2 * UNIT),)
    assert graph.critical_path() == (3.5, ["a", "j"])


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("schemaVersion",), "0.9", "schemaVersion: .*'0.9'"),
        (("workflow", "specification", "tasks"), 3, "workflow.specification.tasks: should be a list, not 3"),
        (("workflow", "specification", "tasks", 1, "id"), "j", r"tasks\[1\].id: should be a new id"),
        (("workflow", "specification", "tasks", 1, "outputFiles"), ["no"], r"tasks\[1\].outputFiles\[0\]"),
        (("workflow", "specification", "tasks", 0, "parents"), ["no"], r"tasks\[0\].parents\[0\]: .*'no'"),
        (("workflow", "specification", "files", 0, "sizeInBytes"), -1, r"files\[0\].sizeInBytes: .*-1"),
        (("workflow", "specification", "files", 0, "sizeInBytes"), "5", r"files\[0\].sizeInBytes: .*'5'"),
        (("workflow", "execution", "tasks", 0, "runtimeInSeconds"), None, r"tasks\[0\].runtimeInSeconds: "),
        (("workflow", "specification", "tasks", 1, "parents"), ["w"], "cycle: .*->"),
    ],
)
def test_a_malformed_workflow_is_refused_with_its_key(place, value, said):
    document = workflow()
    at = document
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    with pytest.raises(FormatError, match=said):
        wfformat.parse(json.dumps(document))


def test_what_is_no_json_is_refused_with_its_line():
    with pytest.raises(FormatError, match="line 2, column 1"):
        wfformat.parse("{\n")
    with pytest.raises(FormatError, match="NaN"):
        wfformat.parse("[NaN]")
    with pytest.raises(FormatError, match="nested too deeply"):
        wfformat.parse("[" * 100_000)
    with pytest.raises(FormatError, match=r"workflow\.specification: is missing"):
        wfformat.parse('{"schemaVersion": "1.5", "workflow": {}}')


def test_the_recorded_workflows_are_read_and_written_back():
    for path in sorted(shared("wfinstances").glob("*.json")):
        graph = read(path)
        again = wfformat.parse(wfformat.dump(graph))
        assert set(again.nx.nodes) == set(graph.nx.nodes)
        assert set(again.nx.edges) == set(graph.nx.edges)
        assert again.critical_path() == graph.critical_path()


@st.composite
def graphs(draw) -> TaskGraph:
    """Tasks with inputs among what is there before them, costs, sizes and requests."""
    graph = TaskGraph()
    if draw(st.booleans()):
        graph.object("outside", draw(st.integers(0, 10**12)))
    for _ in range(draw(st.integers(0, 8))):
        inputs = draw(st.lists(st.sampled_from(graph.objects()), unique=True)) if graph.objects() else []
        units = draw(st.integers(0, 4 * UNIT))
        graph.task(
            cost=draw(st.floats(0, 1e6)),
            inputs=inputs,
            outputs=draw(st.lists(st.integers(0, 10**12), max_size=3)),
            name=draw(st.text('ab"\\ é\n', min_size=1)),
            demand=(("CPU", units),) if units else (),
        )
    return graph


def facts(graph: TaskGraph) -> object:
    tasks = {
        t: (graph.nx.nodes[t]["name"], graph.nx.nodes[t]["cost"], graph.nx.nodes[t]["demand"])
        for t in graph.tasks()
    }
    used = {o: graph.nx.nodes[o]["size"] for o in graph.objects() if graph.nx.degree(o)}
    return tasks, used, set(graph.nx.edges)


@given(graphs())
def test_a_graph_written_as_a_workflow_is_read_back_as_it_was(graph):
    assert facts(wfformat.parse(wfformat.dump(graph))) == facts(graph)


@given(graphs())
def test_a_graph_written_as_an_stg_keeps_its_shape(graph):
    again = stg.parse(stg.dump(graph))
    assert len(again.tasks()) == len(graph.tasks())
    rounded = TaskGraph()
    rounded.nx = graph.nx.copy()
    for task in graph.tasks():
        rounded.nx.nodes[task]["cost"] = float(round(graph.nx.nodes[task]["cost"]))
    assert again.critical_path()[0] == pytest.approx(rounded.critical_path()[0])
    assert stg.dump(stg.parse(stg.dump(again))) == stg.dump(again)


# ---------------------------------------------------------------- Estee


def table(*tasks: dict) -> str:
    return json.dumps({"graph_name": {"0": "one"}, "graph_id": {"0": "x"}, "graph": {"0": json.dumps(tasks)}})


FIRST = {"d": 2.0, "e_d": None, "cpus": 1, "outputs": [{"s": 0.5, "e_s": 1}], "inputs": []}


def test_an_estee_graph_has_durations_megabytes_and_cores():
    second = {"d": 3, "e_d": 4, "cpus": 2, "outputs": [], "inputs": [[0, 0]]}
    graph = estee.parse(table(FIRST, second))["one"]
    assert graph.inputs("1") == ["0.0"]
    assert graph.nx.nodes["0.0"]["size"] == 500_000
    assert graph.nx.nodes["1"]["demand"] == (("CPU", 2 * UNIT),)
    assert graph.nx.nodes["1"]["expected"] == 4
    assert graph.work() == 5.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"d": -1}, r"graph.0 \(one\): \[0\].d: .*-1"),
        ({"cpus": 1.5}, r"\[0\].cpus: should be a whole number, not 1.5"),
        ({"inputs": [[3, 0]]}, r"\[0\].inputs\[0\]: should name a task"),
        ({"inputs": [[0]]}, r"\[0\].inputs\[0\]: should be \[task, output\]"),
        ({"inputs": [[0, 0]]}, r"cycle: 0 -> 0.0 -> 0"),
        ({"outputs": None}, r"\[0\].outputs: should be a list"),
    ],
)
def test_a_malformed_estee_graph_is_refused_with_its_key(change, said):
    with pytest.raises(FormatError, match=said):
        estee.parse(table({**FIRST, **change}))


def test_estees_own_graphs_are_read_from_their_archives():
    graph = read(shared("estee/irw.zip"), "mapreduce")
    assert (len(graph.tasks()), len(graph.objects())) == (321, 25_760)
    with pytest.raises(FormatError, match="no graph 'nothing'"):
        read(shared("estee/pegasus.zip"), "nothing")


# ---------------------------------------------------------------- a Ray timeline


def event(category: str, began: float, lasted: float, **arguments: str) -> dict:
    return {
        "cat": category, "name": category, "ph": "X", "pid": "node1", "tid": "worker1",
        "ts": began, "dur": lasted, "cname": "generic_work", "args": arguments,
    }  # fmt: skip


TIMELINE = [
    {"name": "process_name", "ph": "M", "pid": "node1", "args": {"name": "Node 10.0.0.1"}},
    event("task::A.add", 9e6, 1e6, task_id="t3", actor_id="a1"),
    event("task::A.__init__", 1e6, 2e6, task_id="t1", actor_id="a1"),
    event("task::f", 2e6, 1e6, task_id="t2"),
    event("task::f", 4e6, 3e6, task_id="t2"),  # its second attempt
    event("task:execute", 4e6, 3e6, task_id="t2"),
    event("task::A.add", 7e6, 1e6, task_id="t4", actor_id="a1"),
]


def test_a_timeline_gives_durations_and_the_order_of_calls_on_an_actor():
    graph = timeline.parse(json.dumps(TIMELINE))
    assert graph.tasks() == ["t1", "t2", "t4", "t3"]
    assert [graph.nx.nodes[task]["kind"] for task in graph.tasks()] == ["actor", "task", "method", "method"]
    assert graph.critical_path() == (4.0, ["t1", "t4", "t3"])
    assert graph.nx.nodes["t2"]["cost"] == 3.0
    assert graph.nx.nodes["t2"]["place"] == "node1"


def test_a_malformed_timeline_is_refused_with_its_event():
    with pytest.raises(FormatError, match=r"\[3\].dur: should be a number, not 'long'"):
        timeline.parse(json.dumps([*TIMELINE[:3], {**TIMELINE[3], "dur": "long"}]))
    with pytest.raises(FormatError, match=r"\[0\].ts: is missing"):
        timeline.parse('[{"cat": "task::f", "ph": "X"}]')
    with pytest.raises(FormatError, match=r"\[0\]: should be an object, not 1"):
        timeline.parse("[1]")


# ---------------------------------------------------------------- files


def test_a_file_is_read_by_what_it_is_and_named_where_it_is_none(tmp_path):
    (tmp_path / "w.json").write_text(json.dumps(workflow()))
    (tmp_path / "t.json").write_text(json.dumps({"traceEvents": TIMELINE}))
    (tmp_path / "g.stg").write_text(STG)
    (tmp_path / "bad.json").write_text('{"some": "thing"}')
    (tmp_path / "bad.zip").write_text("not zipped")
    trace.save(tmp_path / "run.lab", [(0.0, "submitted", "n0", "d-0", ("f", "task", "d", (), "", None))])
    sizes = {name: len(read(tmp_path / name).tasks()) for name in ("w.json", "t.json", "g.stg", "run.lab")}
    assert sizes == {"w.json": 4, "t.json": 4, "g.stg": 3, "run.lab": 1}
    for bad in ("bad.json", "bad.zip"):
        with pytest.raises(FormatError, match=bad):
            read(tmp_path / bad)


@settings(max_examples=200)
@given(st.binary() | st.text())
def test_no_text_breaks_a_reader_in_any_other_way(text):
    for parse in (wfformat.parse, estee.parse, timeline.parse):
        with pytest.raises(GraphError):
            parse(text)
    if isinstance(text, str):
        try:
            stg.parse(text)
        except FormatError:
            return


def test_a_trace_goes_to_perfetto_with_a_slice_for_each_run(tmp_path):
    ran = (3.0, "ran", "n0", "d-0", ("n0/w0", 0, 1.0, 3.0, 2.0))
    trace.export(
        tmp_path / "run.json", [(0.0, "submitted", "n0", "d-0", ("f", "task", "d", (), "", None)), ran]
    )
    (slice,) = [e for e in json.loads((tmp_path / "run.json").read_text())["traceEvents"] if e["ph"] == "X"]
    assert (slice["name"], slice["ts"], slice["dur"]) == ("f", 1e6, 2e6)


def test_the_command_exports_recordings_and_graphs(tmp_path):
    (tmp_path / "g.stg").write_text(STG)
    out = tmp_path / "out.json"
    result = CliRunner().invoke(main, ["export", str(tmp_path / "g.stg"), str(out), "--to", "wfformat"])
    assert result.exit_code == 0, result.output
    assert facts(read(out)) == facts(stg.parse(STG))
    result = CliRunner().invoke(main, ["export", str(tmp_path / "g.stg"), str(out), "--to", "perfetto"])
    assert result.exit_code == 1
    assert "only a recording" in result.output
