"""The command line: it parses, calls and prints."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

from click.testing import CliRunner

from labray.cli import main


def test_compare_calls_the_experiment_with_what_was_asked(monkeypatch):
    calls = []
    experiment = SimpleNamespace(main=lambda **given: calls.append(given))
    monkeypatch.setitem(sys.modules, "experiments.compare", experiment)
    assert CliRunner().invoke(main, ["compare"]).exit_code == 0
    assert CliRunner().invoke(main, ["compare", "--quick", "--out", "elsewhere"]).exit_code == 0
    assert calls == [
        {"quick": False, "out": Path("results/compare")},
        {"quick": True, "out": Path("elsewhere")},
    ]


def test_compare_without_the_experiments_says_where_they_are(monkeypatch):
    monkeypatch.setitem(sys.modules, "experiments.compare", None)
    result = CliRunner().invoke(main, ["compare"])
    assert result.exit_code == 1
    assert "in a checkout of labray" in result.output


def test_the_version_is_told():
    result = CliRunner().invoke(main, ["--version"])
    assert result.exit_code == 0
    assert result.output.startswith("labray, version ")
