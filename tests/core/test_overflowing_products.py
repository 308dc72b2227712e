"""Inputs whose products overflow, though no sum does that plain per-sample SGD makes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers.cases import relative_error, use_layout

import cmlp

pytestmark = pytest.mark.filterwarnings("ignore::cmlp.InputScaleWarning")


def overflowing_network(sizes, dtype, way):
    """W so small that W x is of ordinary size, and steps so small that they change W by a part of it."""
    scale = 2e18 if dtype == "float32" else 3e153
    net = cmlp.MLP(sizes, activation=["tanh", "identity"], dtype=dtype, seed=0)
    net.weights[0][...] /= scale
    net._model.program.per_sample = way
    net.optimizer = cmlp.SGD(scale**-2)
    return net, scale


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", ["rows", "columns"])
@pytest.mark.parametrize("n_samples", [1, 4, 23])
def test_inputs_whose_gram_matrix_overflows_train_as_one_by_one(monkeypatch, simd_level, dtype, layout, n_samples):
    """x·x is infinite, and infinity times an update of 0 is NaN; by operation nothing of that size is ever computed."""
    use_layout(monkeypatch, layout)
    sizes = [40, 12, 1]
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_samples, 40))
    X[:: 3 if n_samples < 20 else 1] *= 4 * overflowing_network(sizes, dtype, "by_operation")[1]
    X[8:13] /= 1e30 if dtype == "float32" else 1e200  # blocks of ordinary inputs between
    y = rng.normal(size=(n_samples, 1))
    with np.errstate(over="ignore"):
        assert np.isinf((X[:1].astype(dtype) ** 2).sum(dtype=dtype))
    start, results = overflowing_network(sizes, dtype, "by_operation")[0], {}
    for way in ("by_operation", "in_blocks", "as_chain", "ahead"):
        if way in start._model.program.per_sample_ways:
            net, scale = overflowing_network(sizes, dtype, way)
            history = net.fit(X, y, epochs=3, order="given")
            results[way] = net.weights[0] * scale, net.weights[1].copy(), np.array(history.loss)
    assert set(results) >= {"in_blocks", "as_chain"}
    assert ("ahead" in results) == (layout == "rows")
    assert relative_error(start.weights[0] * scale, results["by_operation"][0]) > 1e-3  # it did learn
    for way, result in results.items():
        for got, expected in zip(result, results["by_operation"], strict=True):
            assert relative_error(got, expected) < 2e-2, way  # u is subnormal, and has few digits


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_x_that_is_not_finite_is_found_among_those_whose_products_overflow(simd_level, dtype):
    for bad, value in itertools.product(range(9), (np.nan, np.inf)):
        net, scale = overflowing_network([300, 12, 1], dtype, "in_blocks")
        X = np.ones((9, 300), dtype) * scale
        X[bad, 7] = value
        before = net._model.parameters.copy()
        with pytest.raises(ValueError, match=f"X is (nan|inf) at row {bad}, column 7"):
            net.fit(X, np.ones((9, 1)), epochs=1, order="given")
        assert np.array_equal(before, net._model.parameters)
