"""Batches row by row and unit by unit: each way against the reference, at every level, for any number of rows."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.cases import (
    BOUNDED_GROWTH,
    COMPOSITIONS,
    FLOATS,
    OUTPUTS,
    needs_one_hot,
    random_mlp,
    reference_train,
    relative_error,
    samples_for,
)

import cmlp
from cmlp import _core
from cmlp.activations import ACTIVATIONS
from cmlp.losses import LOSSES, CrossEntropy

WAYS = list(_core.BATCH_WAYS)


def force(net, way):
    """Make a network compute batches of any size in one way."""
    net._model.program.batches = way
    return net


def against_the_reference(net, way, X, y, tolerance, **settings):
    """Train and compare weights, biases and losses."""
    force(net, way)
    weights, biases, losses = reference_train(net, X, y, epochs=2, learning_rate=0.01, **settings)
    history = net.fit(X, y, epochs=2, order="given", optimizer=cmlp.SGD(0.01), **settings)
    assert relative_error(net.weights, weights) < tolerance
    assert relative_error(net.biases, biases) < tolerance
    np.testing.assert_allclose(history.loss, losses, rtol=tolerance * 10)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("batch_size", [2, 17, 64, 67, None])
def test_every_activation_equals_the_reference(simd_level, way, dtype, batch_size):
    rng = np.random.default_rng(0)
    for activation in ACTIVATIONS:
        sizes = [5, 9, 20, 2]
        net = cmlp.MLP(sizes, activation=activation, output_activation="tanh", dtype=dtype, seed=1)
        X, y = samples_for("squared_error", rng, 131, 5, 2, dtype)
        if activation == "exp":
            X, y = X / 8, y / 8
            for W in net.weights:
                W /= 4
        tolerance = 1e-10 if dtype == "float64" else 2e-3
        settings = {"clip_delta": 0.05, "sample_weight": np.linspace(0, 2, 131)}
        against_the_reference(net, way, X, y, tolerance, batch_size=batch_size, **settings)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("loss", [*LOSSES, CrossEntropy(label_smoothing=0.1)], ids=str)
@pytest.mark.parametrize("batch_size", [3, 32, 80])
def test_every_loss_equals_the_reference(simd_level, way, loss, batch_size):
    name = loss if isinstance(loss, str) else "cross_entropy"
    rng = np.random.default_rng(1)
    for output in OUTPUTS[name]:
        for n_outputs, one_hot in ((2, False), (5, True)):
            net = cmlp.MLP([7, 11, n_outputs], activation=["tanh", output], loss=loss, dtype="float64", seed=2)
            one_hot = one_hot or needs_one_hot(net)
            X, y = samples_for(name, rng, 80, 7, n_outputs, "float64", one_hot=one_hot)
            against_the_reference(net, way, X, y, 1e-9, batch_size=batch_size, clip_delta=0.1)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", range(12))
def test_random_networks_equal_the_reference(simd_level, way, seed):
    rng = np.random.default_rng(seed)
    net = random_mlp(rng, "float64", loss="squared_error", hidden=tuple(BOUNDED_GROWTH), bias=seed % 3 > 0)
    X, y = samples_for("squared_error", rng, 70, net.n_inputs, net.n_outputs, "float64")
    against_the_reference(net, way, X, y, 1e-8, batch_size=int(rng.integers(2, 71)), clip_norm=1.0)


@pytest.mark.parametrize("composition", COMPOSITIONS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_every_composition_learns_the_same_in_both_ways(simd_level, composition, dtype):
    rng = np.random.default_rng(3)
    layers = cmlp.chain(cmlp.Dropout(0.2), COMPOSITIONS[composition]("gelu"))
    X, y = samples_for("squared_error", rng, 90, 5, 3, dtype)
    nets = [force(cmlp.Network(layers, 5, dtype=dtype, seed=0), way) for way in WAYS]
    optimizer = cmlp.SGD(0.005, momentum=0.9)
    histories = [net.fit(X, y, epochs=2, batch_size=37, clip_delta=0.3, optimizer=optimizer) for net in nets]
    tolerance = 1e-11 if dtype == "float64" else 1e-3
    assert relative_error(nets[1].weights, nets[0].weights) < tolerance
    assert relative_error(nets[1].biases, nets[0].biases) < tolerance
    np.testing.assert_allclose(histories[1].loss, histories[0].loss, rtol=tolerance)
    np.testing.assert_allclose(nets[1].predict(X), nets[0].predict(X), rtol=0, atol=tolerance)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n_samples", [1, 2, 15, 16, 17, 63, 64, 65, 200])
def test_rows_predicted_and_scored_together_are_those_of_each(simd_level, way, dtype, n_samples):
    rng = np.random.default_rng(4)
    net = force(cmlp.MLP([21, 18, 3], loss="cross_entropy", activation="tanh", dtype=dtype, seed=0), way)
    X, y = samples_for("cross_entropy", rng, n_samples, 21, 3, dtype)
    each = np.array([net.predict_one(x) for x in X])
    tolerance = 1e-13 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(net.predict(X), each, rtol=0, atol=tolerance)
    scores = net.evaluate(X, y)
    assert scores.loss == pytest.approx(-np.log(each[range(n_samples), y].astype(float)).mean(), rel=tolerance * 10)
    assert scores.accuracy == (each.argmax(1) == y).mean()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("batch_size", [3, 16, 33, 64, 65, 150, None])
def test_the_same_bits_for_every_number_of_threads(way, dtype, batch_size):
    rng = np.random.default_rng(5)
    X, y = samples_for("squared_error", rng, 300, 40, 3, dtype)
    layers = cmlp.chain(cmlp.Dense(50, "relu"), cmlp.Dropout(0.3), cmlp.Dense(6, "tanh"), cmlp.Dense(3))
    fits = []
    for n_threads in (1, 1, 2, 3, 5):
        net = force(cmlp.Network(layers, 40, dtype=dtype, seed=0), way)
        settings = {"clip_delta": 0.2, "optimizer": cmlp.Adam(0.01), "sample_weight": np.linspace(0.5, 1.5, 300)}
        history = net.fit(X, y, epochs=2, batch_size=batch_size, n_threads=n_threads, **settings)
        fits.append((net._model.parameters, net.predict(X, n_threads=n_threads), history.loss, history.clipped))
    for parameters, predicted, loss, clipped in fits[1:]:
        np.testing.assert_array_equal(parameters, fits[0][0])
        np.testing.assert_array_equal(predicted, fits[0][1])
        assert (loss, clipped) == fits[0][2:]


@pytest.mark.parametrize("order", ["given", "shuffle", "replacement"])
@pytest.mark.parametrize("n_inputs", [1, 3, 33, 300])
def test_orders_and_the_last_rows_of_X_are_read_alike(simd_level, order, n_inputs):
    rng = np.random.default_rng(6)
    X, y = samples_for("squared_error", rng, 75, n_inputs, 2, "float64")
    nets = [force(cmlp.MLP([n_inputs, 6, 2], dtype="float64", seed=0), way) for way in WAYS]
    for net in nets:
        net.fit(X, y, epochs=2, batch_size=20, order=order, optimizer=cmlp.Adam(0.01))
    assert relative_error(nets[1].weights, nets[0].weights) < 1e-9


@pytest.mark.filterwarnings("ignore::cmlp.InputScaleWarning")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("row", [0, 5, 16, 40, 49])
def test_a_loss_that_is_not_finite_is_found_at_its_row_and_its_batch_not_learnt(simd_level, way, row):
    rng = np.random.default_rng(7)
    X, y = samples_for("squared_error", rng, 50, 6, 2, "float32")
    X[row] = 3e38
    for n_threads in (1, 2):
        net = force(cmlp.MLP([6, 20, 2], seed=0), way)
        before = net._model.parameters.copy()
        with pytest.raises(cmlp.DivergenceError) as error:
            net.fit(X, y, epochs=1, batch_size=50, order="given", n_threads=n_threads)
        assert error.value.sample == row
        np.testing.assert_array_equal(net._model.parameters, before)


@pytest.mark.parametrize("dtype", FLOATS)
def test_what_stands_behind_the_last_row_has_no_influence(simd_level, dtype):
    """There x = 0, where this network overflows, though it does not for its samples."""
    net = force(cmlp.MLP([1, 3, 1], activation=["exp", "identity"], dtype=dtype, seed=0), "units_first")
    net.weights[0][...], net.biases[0][...] = -1, 900
    X = np.full((17, 1), 900, dtype)
    net.fit(X, np.zeros((17, 1), dtype), epochs=2, batch_size=17, optimizer=cmlp.SGD(1e-9))
    assert np.isfinite(net._model.parameters).all()


def test_the_way_is_chosen_by_the_shape_and_the_number_of_rows():
    narrow, wide = cmlp.MLP([10, 32, 32, 1])._model.program, cmlp.MLP([784, 128, 10])._model.program
    assert (narrow.batches, wide.batches) == ("units_first", "rows_first")
    assert narrow.workspace_size(15) < narrow.workspace_size(16)
    for way in narrow.batch_ways:
        narrow.batches = wide.batches = way
        assert (narrow.batches, wide.batches) == (way, way)
    assert narrow.workspace_size(15) == narrow.workspace_size(16)
    with pytest.raises(ValueError, match=r"batches='columns_first': this program can go rows_first, units_first"):
        narrow.batches = "columns_first"
    assert narrow.batches == way
