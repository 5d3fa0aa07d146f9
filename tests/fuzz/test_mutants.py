"""The mutants: each can be put in place and taken away again, and the fuzzer finds what is broken."""

from __future__ import annotations

import pytest

import labray
from experiments.mutants.catalogue import MUTANTS
from experiments.mutants.search import found
from labray.backends.sim.clock import randomness
from labray.node.node import Node

pytestmark = pytest.mark.skipif(labray.compiled, reason="native code cannot be broken")

EASY = (
    "an Unpin is forgotten",
    "a result is sent twice",
    "one retry fewer than allowed",
    "a large value stays when it is freed",
    "simulated processes share the generators of random",
)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_labray_with_one_function_replaced_for_a_while(name):
    before = [dict(vars(owner)) for owner in (Node, randomness)]
    with MUTANTS[name].applied():
        assert [dict(vars(owner)) for owner in (Node, randomness)] != before
    assert [dict(vars(owner)) for owner in (Node, randomness)] == before


@pytest.mark.parametrize("name", EASY)
def test_a_mutant_is_found_within_a_few_seeds(name):
    assert found(name, range(10)).seed
