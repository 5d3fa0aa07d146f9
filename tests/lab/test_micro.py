"""The page of goals and what was reached; the cases that need no second system."""

from __future__ import annotations

from experiments.micro import contestants as c
from experiments.micro.goals import MOST_MS, TIMES, page
from experiments.micro.large import Figure


def test_the_page_sets_a_ratio_beside_its_goal():
    text = page([(c.CHAIN, "labray", 900.0), (c.CHAIN, "ray", 100.0)], [], "Commit abc.")
    assert text.startswith("Commit abc.\n")
    assert "| links of a chain of 100 | 8x ray | 9.00x (900 links/s) | yes |" in text


def test_the_page_says_what_was_missed_and_leaves_out_what_was_not_measured():
    text = page([(c.BATCH, "labray", 50.0), (c.BATCH, "pool", 100.0)], [], "")
    assert "| 1,000 tasks, then all got | 1x pool | 0.50x (50 tasks/s) | no |" in text
    assert "ray" not in text.replace("labray", "")


def test_limits_of_time_and_memory_are_on_the_page():
    figures = [Figure("queued, each", 1500.0, "bytes", 2048.0), Figure("actors", 2.0, "s", None)]
    text = page([(c.READY, "labray", 700.0)], figures, "")
    assert "| init to ready | 500 ms | 700 ms | no |" in text
    assert "| queued, each | 2048 bytes | 1,500 bytes | yes |" in text
    assert "| actors |  | 2 s |  |" in text


def test_every_case_that_has_a_goal_exists():
    assert set(TIMES) == set(c.UNITS)
    assert set(MOST_MS) == {c.READY, c.FIRST_TASK}
    assert {peer for goals in TIMES.values() for peer in goals} <= set(c.PEERS)
