"""Compositions of every shape and size against the reference; `tools/random_programs.py` is the long version."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from helpers.hostile_models import state
from helpers.programs import SHAPES, check_program


@pytest.mark.parametrize("size", [2, 17, 60])
@pytest.mark.parametrize("shape", SHAPES)
def test_random_programs(shape, size):
    for seed in range(3):
        check_program(shape, seed, size)


@pytest.mark.parametrize("seed", range(30))
def test_random_trees(seed):
    check_program("tree", seed, 20 + 10 * (seed % 10))


@pytest.mark.parametrize(
    ("shape", "size"),
    [("tall", 5000), ("residual", 5000), ("wide", 10_000), ("many_branches", 1000), ("many_terms", 1000),
     ("flat_output", 10_000)],
)  # fmt: skip
def test_large_programs(shape, size):
    net = check_program(shape, 1, size)
    for again in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert state(again) == state(net)
    assert len(repr(net)) < 100 * size


def test_a_hundred_thousand_classes():
    net = check_program("classes", 1, 100_000)
    assert net.predict_class(np.zeros((1, net.n_inputs))).shape == (1,)
