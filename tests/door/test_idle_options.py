"""Every option has an effect, or is refused: of init("sim"), and of every command."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

import labray
from labray import session, trace
from labray.backends.sim.settings import OPTIONS
from labray.cli import main
from labray.costs import Declared, Jittered
from labray.errors import DeadlockError, LabrayError
from labray.faults import Death, Faults

# ---------------------------------------------------------------- of the simulator


@labray.remote(cost=1.0)
def work(*inputs):
    return bytes(10_000_000)


@labray.remote(resources={"nowhere": 1})
def infeasible():
    return None


def on(node: str) -> Any:
    return work.options(resources={f"node:{node}": 0.01})


def program() -> None:
    """Uses all that an option of the simulator is about: nodes, bodies, large objects on the move, a full store."""
    first = [on("n0").remote() for _ in range(4)]
    labray.get([on("n1").remote(*first), on("n2").remote(*first), on("n1").remote(first[0])])
    labray.wait([infeasible.remote()], timeout=1.0)


def left(**options: Any) -> tuple[str, object]:
    """What there is to tell one run from another: how it ended, its trace, and whether it is watched."""
    how = "well"
    given = {"nodes": 3, "num_cpus": 2, "scheduler": "centralized", **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is infeasible and waits
        with labray.init("sim", **given) as run:
            try:
                program()
            except (LabrayError, DeadlockError) as error:
                how = type(error).__name__
            world: Any = session.running()
            watched = type(next(iter(world.topology.nodes()))), world._watchdog is None
            return how, (trace.digest(run.trace()), watched)


EFFECTS: dict[str, tuple[dict[str, Any], Any]] = {
    # option: what else is set, and a value of it that must change something
    "profile": ({}, "free"),
    "costs": ({}, Jittered(Declared(), 0.1, 1)),
    "latency_s": ({}, 0.01),
    "bandwidth_Bps": ({}, 1e8),
    "host_cores": ({}, 1),
    "speeds": ({}, {"n1": 0.5}),
    "max_events": ({}, 50),
    "max_workers": ({}, 1),
    "network": ({}, "simple"),
    "core_Bps": ({}, 1e8),
    "fair_to": ({"core_Bps": 1e8}, "pairs"),
    "pulls": ({}, 1),
    "pulls_from": ({}, 1),
    "head": ({}, "own"),
    "blocked_s": ({}, None),
    "infeasible": ({}, "waits"),
    "faults": ({}, Faults(deaths=(Death("n2", at=0.5),))),
    "validate": ({}, True),
    "object_store_memory": ({}, 45_000_000),
    "disk_Bps": ({"object_store_memory": 45_000_000}, 1e6),
}


def test_every_option_of_the_simulator_is_in_the_table():
    assert set(EFFECTS) == set(OPTIONS)


@pytest.mark.parametrize("option", EFFECTS)
def test_an_option_of_the_simulator_changes_something(option):
    others, value = EFFECTS[option]
    assert left(**others) != left(**others, **{option: value})


def test_a_head_of_its_own_has_a_speed_of_its_own():
    assert left(head="own") != left(head="own", speeds={"head": 0.01})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"speeds": {"n3": 0.5}}, "'n3', but the nodes are n0, n1, n2"),
        ({"speeds": {"head": 0.5}}, "'head', but the nodes are n0, n1, n2"),
        ({"speeds": {"n1": 0.5}, "host_cores": 2}, "share one machine"),
        ({"speeds": {"n1": "fast"}}, "positive number"),
        ({"speeds": [1.0]}, "dict"),
        ({"core_Bps": 1e6, "network": "simple"}, "maxmin"),
        ({"core_Bps": 1e6, "network": "instant"}, "maxmin"),
        ({"fair_to": "pairs", "network": "simple"}, "maxmin"),
        ({"bandwidth_Bps": 1e6, "network": "instant"}, "instant"),
        ({"pulls": 2, "network": "instant"}, "instant"),
        ({"pulls_from": 2, "network": "instant"}, "instant"),
        ({"disk_Bps": 1e6}, "nothing spills"),
        ({"infeasible": "waits", "strict": True}, "leave one of them out"),
        ({"validate": "no"}, "True or False"),
        ({"host_cores": 10**9}, "1,000,000 at most"),
        ({"num_cpus": 1e12}, "1,000,000 at most"),
    ],
)
def test_an_option_that_would_change_nothing_or_exhaust_the_machine_is_refused(options, said):
    with pytest.raises((ValueError, TypeError), match=said):
        labray.init("sim", **{"nodes": 3, **options})
    assert not labray.is_initialized()


# ---------------------------------------------------------------- of the commands


STG = "2\n0 0 0\n1 8 1 0\n2 8 1 1\n3 0 1 2\n"
HANDLED: dict[tuple[str, str], str] = {
    # where a test shows its effect: here (see below), or in another file
    ("compare", "quick"): "test_cli", ("compare", "out"): "test_cli", ("calibrate", "out"): "test_cli",
    ("calibrate", "figures"): "test_fidelity", ("fuzz", "scheduler"): "test_cli",
    ("whatif", "nodes"): "here", ("whatif", "cpus"): "here", ("whatif", "schedulers"): "here",
    ("whatif", "bandwidth"): "here", ("whatif", "latency"): "here", ("whatif", "durations"): "here",
    ("whatif", "seed"): "here", ("whatif", "graph"): "test_imports", ("whatif", "out"): "test_whatif",
    ("fuzz", "seeds"): "test_cli", ("fuzz", "case_text"): "test_cli", ("fuzz", "minutes"): "test_cli",
    ("fuzz", "most"): "test_cli", ("fuzz", "shrink"): "test_fuzz",
    ("export", "form"): "test_imports", ("export", "name"): "test_imports",
}  # fmt: skip


def test_every_option_of_every_command_is_in_the_table():
    options = {
        (name, option.name)
        for name, command in main.commands.items()
        for option in command.params
        if isinstance(option, click.Option)
    }
    assert options == set(HANDLED)


def table(*words: object) -> str:
    result = CliRunner().invoke(main, ["whatif", *map(str, words)])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("recording") / "run.lab"
    with labray.init("sim", nodes=2, num_cpus=1, scheduler="random", trace=path):
        labray.get([work.remote(work.remote()) for _ in range(4)])
        labray.get(napping.remote())
    return path


@labray.remote
def napping():
    labray.sleep(0.5)


@pytest.mark.parametrize(
    "words",
    [
        ("--nodes", "3"), ("--cpus", "2"), ("--scheduler", "centralized"), ("--bandwidth", "10Mbit"),
        ("--latency", "50ms"), ("--durations", "cpu"), ("--seed", "5"),
    ],
)  # fmt: skip
def test_an_option_of_whatif_changes_the_table(recording, words):
    usual = {"--nodes": "2", words[0]: words[1]}
    given = [word for pair in usual.items() for word in pair]
    assert table(recording, *given) != table(recording, "--nodes", "2")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["whatif", "g.stg", "--durations", "cpu"], "--durations has no effect on a graph"),
        (["whatif", "g.stg", "--graph", "nosuch"], "there is no graph 'nosuch'"),
        (["whatif", "run.lab", "--graph", "nosuch"], "there is no graph 'nosuch'"),
        (["export", "g.stg", "o.stg", "--to", "stg", "--graph", "nosuch"], "there is no graph 'nosuch'"),
        (["export", "run.lab", "o.json", "--to", "perfetto", "--graph", "nosuch"], "there is no graph 'nosuch'"),
        (["fuzz", "--case", "{}", "--seeds", "3"], "--seeds has no effect with --case"),
        (["fuzz", "--case", "{}", "--minutes", "3"], "--minutes has no effect with --case"),
        (["fuzz", "--case", "{}", "--most", "3"], "--most has no effect with --case"),
        (["fuzz", "--case", "{}", "--no-shrink"], "--shrink has no effect with --case"),
    ],
)  # fmt: skip
def test_an_option_of_a_command_that_would_change_nothing_is_refused(
    recording, tmp_path, monkeypatch, words, said
):
    monkeypatch.chdir(tmp_path)
    Path("g.stg").write_text(STG)
    Path("run.lab").write_bytes(recording.read_bytes())
    result = CliRunner().invoke(main, words)
    assert result.exit_code in (1, 2)
    assert said in result.output
    assert not Path("o.stg").exists() and not Path("o.json").exists()
