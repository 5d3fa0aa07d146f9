"""Every block of the README runs, and prints what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.kit.paths import ROOT

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```\s+```text\n(.*?)```", README, re.DOTALL)


def test_each_program_is_followed_by_its_output():
    assert len(BLOCKS) == README.count("```python") >= 2


@pytest.mark.processes
@pytest.mark.parametrize(("program", "output"), BLOCKS)
def test_a_program_prints_what_the_readme_says(program, output, tmp_path):
    script = tmp_path / "program.py"
    script.write_text(program)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=50,
        env=environment,
        check=False,
    )
    assert (ran.stdout, ran.stderr) == (output, "")


def test_it_is_short_and_its_pictures_and_pages_exist():
    assert len(README.splitlines()) <= 120
    for target in re.findall(r"\]\(([\w/.]+)\)", README):
        assert (ROOT / target).is_file(), target
