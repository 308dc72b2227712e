"""Ways to the same numbers: per-sample SGD by operation and in blocks, batches by matrix products, at every level."""

from __future__ import annotations

import numpy as np
import pytest

import cmlp
from cmlp import _core, reference
from cmlp._engine.passes import Buffers
from cmlp.data.samples import Samples
from cmlp.layers import dense_layers

SHAPES = [
    [1, 1],
    [3, 5, 2],
    [7, 16, 3],
    [17, 33, 2],
    [64, 40, 10],
    [130, 5, 5, 1],  # by columns: many inputs into few units
    [257, 3, 2],
    [801, 7, 1],
]


def samples(sizes, n_samples, dtype, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, sizes[0])) / np.sqrt(sizes[0])
    y = rng.standard_normal((n_samples, sizes[-1]))
    return X.astype(dtype), y.astype(dtype)


def largest_difference(network, other):
    """Over all arrays, relative to the largest entry of each."""
    pairs = zip((*network.weights, *network.biases), (*other.weights, *other.biases), strict=True)
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs if a is not None)


def fitted(sizes, dtype, way, *, bias=True, n_samples=1000, activation="tanh", **settings):
    X, y = samples(sizes, n_samples, dtype)
    network = cmlp.MLP(sizes, activation=activation, bias=bias, dtype=dtype, seed=1)
    network._model.program.per_sample = way
    history = network.fit(X, y, **settings)
    return network, history


@pytest.mark.parametrize("sizes", SHAPES, ids=str)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("order", ["given", "shuffle", "replacement"])
def test_blocks_equal_the_plain_loop_over_an_epoch_of_1000_samples(simd_level, sizes, bias, order):
    settings = {
        "epochs": 1,
        "order": order,
        "bias": bias,
        "clip_delta": 0.5,
        "optimizer": cmlp.SGD(cmlp.schedules.InverseScaling(0.05, 0.25)),
        "sample_weight": np.linspace(0.1, 2, 1000),
    }
    plain, plain_history = fitted(sizes, "float64", "by_operation", **settings)
    blocks, blocks_history = fitted(sizes, "float64", "in_blocks", **settings)
    assert largest_difference(blocks, plain) < 1e-10
    assert blocks_history.loss == pytest.approx(plain_history.loss, rel=1e-12)
    assert blocks_history.clipped == plain_history.clipped
    assert plain_history.clipped[0] > 0


@pytest.mark.parametrize("sizes", SHAPES, ids=str)
@pytest.mark.parametrize("n_samples", [1, 2, 3, 4, 5, 9])
def test_blocks_take_any_number_of_samples(simd_level, sizes, n_samples):
    settings = {"epochs": 2, "order": "given", "optimizer": cmlp.SGD(0.05), "n_samples": n_samples}
    plain, _ = fitted(sizes, "float64", "by_operation", **settings)
    blocks, _ = fitted(sizes, "float64", "in_blocks", **settings)
    assert largest_difference(blocks, plain) < 1e-11


@pytest.mark.parametrize("sizes", SHAPES, ids=str)
def test_blocks_in_float32_agree_within_rounding(simd_level, sizes):
    settings = {"epochs": 1, "order": "given", "optimizer": cmlp.SGD(0.02), "n_samples": 200}
    plain, _ = fitted(sizes, "float32", "by_operation", **settings)
    blocks, _ = fitted(sizes, "float32", "in_blocks", **settings)
    assert largest_difference(blocks, plain) < 1e-4


def test_a_sample_without_finite_loss_in_a_block_is_named_and_the_last_good_epoch_restored():
    X, y = samples([784, 128, 10], 50, "float32")
    network = cmlp.MLP([784, 128, 10], seed=0)
    network.fit(X, y, epochs=1, optimizer=cmlp.SGD(0.01))
    before = [W.copy() for W in network.weights]
    y[30] = 1e30
    with pytest.raises(cmlp.DivergenceError) as error:
        network.fit(X, y, epochs=3, order="given")
    assert error.value.epoch == 0
    assert error.value.sample >= 30
    assert all(np.array_equal(W, b) for W, b in zip(network.weights, before, strict=True))


def learnt_until_bad(sizes, dtype, way, X, y, order):
    """Parameters after one pass of the core over rows that nobody has looked through, and its result."""
    network = cmlp.MLP(sizes, activation="sigmoid", dtype=dtype, seed=1)
    model = network._model
    model.program.per_sample = way
    update = _core.record(_core.UPDATE)
    workspace = np.zeros(model.program.workspace_size(1), dtype)
    buffers = Buffers(workspace, None, None, {}, np.zeros(1))
    samples = Samples(X, y, None, None, checked=False)
    return model.parameters, model.program.train(model.parameters, buffers, samples, order, update, np.array([0.1]), 0)


@pytest.mark.parametrize("sizes", SHAPES, ids=str)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_blocks_learn_from_all_samples_before_one_that_is_not_finite(simd_level, sizes, value, dtype):
    order = np.random.default_rng(5).permutation(11)
    for bad in range(11):
        X, y = samples(sizes, 11, dtype)
        X[order[bad], bad % sizes[0]] = value
        X[order[bad + 2 :], 0] = np.nan  # more of them behind it
        plain, (plain_loss, *_, plain_bad) = learnt_until_bad(sizes, dtype, "by_operation", X, y, order)
        blocks, (loss, *_, found) = learnt_until_bad(sizes, dtype, "in_blocks", X, y, order)
        assert found == plain_bad == bad
        assert loss == pytest.approx(plain_loss, rel=1e-5)
        np.testing.assert_allclose(blocks, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("first", [0, 3, 4])
def test_a_loss_that_is_not_finite_comes_before_an_input_that_is_not(simd_level, first):
    X, y = samples([257, 3, 2], 11, "float32")
    y[first] = np.inf
    X[first + 1, 7] = np.nan
    for way in ("by_operation", "in_blocks"):
        assert learnt_until_bad([257, 3, 2], "float32", way, X, y, None)[1][-1] == first


def test_an_infinite_z_of_finite_inputs_is_no_infinite_input(simd_level):
    sizes = [257, 1, 2]
    X, y = samples(sizes, 9, "float32")
    signs = np.sign(cmlp.MLP(sizes, activation="sigmoid", seed=1).weights[0][:, 0])
    X[8] = signs * np.finfo(np.float32).max  # z is infinite; σ(z) = 1, the loss and ∂ℓ/∂z = 0 are not
    for way in ("by_operation", "in_blocks"):
        parameters, (loss, *_, bad) = learnt_until_bad(sizes, "float32", way, X, y, None)
        assert bad == -1
        assert np.isfinite(loss)
        assert np.isfinite(parameters).all()


def layers_that_read_relus():
    """Compositions with wide layers behind relus: alone, shared, in a sum, and next to what is not a relu."""
    relu = cmlp.Dense(70, "relu")
    return {
        "chain": cmlp.chain(relu, cmlp.Dense(50, "relu"), cmlp.Dense(3)),
        "wider than the registers": cmlp.chain(cmlp.Dense(200, "relu"), cmlp.Dense(300, "relu"), cmlp.Dense(2)),
        "skip": cmlp.chain(cmlp.Dense(60, "relu"), cmlp.add(cmlp.Identity(), cmlp.Dense(60)), cmlp.Dense(2)),
        "two readers": cmlp.chain(relu, cmlp.concatenate(cmlp.Dense(40, "tanh"), cmlp.Dense(40)), cmlp.Dense(2)),
        "an activation layer": cmlp.chain(cmlp.Dense(70), cmlp.Activation("relu"), cmlp.Dense(40), cmlp.Dense(2)),
        "after a relu and x": cmlp.chain(cmlp.concatenate(relu, cmlp.Identity()), cmlp.Dense(40), cmlp.Dense(2)),
    }


@pytest.mark.parametrize("composition", layers_that_read_relus())
@pytest.mark.parametrize("batch_size", [1, 5])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-11), ("float32", 2e-4)])
def test_dead_relu_units_are_skipped_without_a_trace(
    simd_level, composition, batch_size, dtype, tolerance, monkeypatch
):
    X, y = samples([9, 2], 60, dtype)
    y = np.resize(y, (60, 3 if composition == "chain" else 2))
    fitted = []
    for least in (1, 10**9):  # skip always, never
        monkeypatch.setattr("cmlp._engine.program._LEAST_TO_SKIP_ZEROS", least)
        network = cmlp.Network(layers_that_read_relus()[composition], n_inputs=9, dtype=dtype, seed=3)
        for optimizer in (cmlp.SGD(0.02), cmlp.SGD(0.002, momentum=0.9)):
            network.fit(X, y, epochs=2, batch_size=batch_size, order="given", optimizer=optimizer, clip_delta=0.5)
        fitted.append(network)
    assert largest_difference(*fitted) < tolerance


OPTIMIZERS = {
    "sgd": (cmlp.SGD(0.05), {"learning_rate": 0.05}),
    "momentum": (cmlp.SGD(0.02, momentum=0.9), {"learning_rate": 0.02, "momentum": 0.9}),
    "nesterov": (
        cmlp.SGD(0.02, momentum=0.9, nesterov=True, weight_decay=0.01),
        {"learning_rate": 0.02, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    ),
    "adam": (cmlp.Adam(0.01), {"learning_rate": 0.01, "adam": (0.9, 0.999, 1e-8)}),
    "adam_decay": (
        cmlp.Adam(0.01, beta1=0.8, beta2=0.99, eps=1e-6, weight_decay=0.02),
        {"learning_rate": 0.01, "adam": (0.8, 0.99, 1e-6), "weight_decay": 0.02},
    ),
}


@pytest.mark.parametrize("sizes", SHAPES[2:6], ids=str)
@pytest.mark.parametrize("batch_size", [1, 2, 7, 65, 200])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_batches_equal_the_reference(simd_level, sizes, batch_size, optimizer):
    chosen, same = OPTIMIZERS[optimizer]
    X, y = samples(sizes, 200, "float64")
    clipping = {"clip_delta": 0.7, "clip_value": 0.4, "clip_norm": 1.0} if batch_size % 2 else {}
    network = cmlp.MLP(sizes, activation="leaky_relu", dtype="float64", seed=2)
    weights, biases = [W.copy() for W in network.weights], [b.copy() for b in network.biases]
    names = [layer.activation for layer in dense_layers(network.layers)]
    network.fit(X, y, epochs=2, batch_size=batch_size, order="given", optimizer=chosen, **clipping)
    reference.train(weights, biases, names, "squared_error", X, y, epochs=2, batch_size=batch_size, **same, **clipping)
    for mine, theirs in zip((*network.weights, *network.biases), (*weights, *biases), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-9 * np.abs(theirs).max())


def test_adam_goes_on_where_it_was_after_copying_and_saving(tmp_path):
    X, y = samples([5, 8, 2], 40, "float64")
    network = cmlp.MLP([5, 8, 2], dtype="float64", seed=0, optimizer=cmlp.Adam(0.01))
    network.partial_fit(X, y, batch_size=8)
    network.save(tmp_path / "net.cmlp")
    loaded = cmlp.load(tmp_path / "net.cmlp")
    assert loaded.optimizer == network.optimizer
    for other in (network, loaded):
        other.partial_fit(X, y, batch_size=8)
    assert largest_difference(loaded, network) == 0


@pytest.mark.parametrize("settings", [{"beta1": 1}, {"beta2": -0.1}, {"eps": 0}, {"weight_decay": -1}], ids=str)
def test_adam_rejects_settings_out_of_range(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        cmlp.Adam(**settings)


@pytest.mark.parametrize("sizes", SHAPES, ids=str)
@pytest.mark.parametrize("n_samples", [2, 3, 64, 65, 130])
def test_prediction_of_many_rows_equals_prediction_of_each(simd_level, sizes, n_samples):
    X, y = samples(sizes, n_samples, "float64")
    network = cmlp.MLP(sizes, activation="tanh", dtype="float64", seed=0)
    each = np.array([network.predict_one(x) for x in X])
    np.testing.assert_allclose(network.predict(X), each, rtol=1e-12, atol=1e-13)
    loss = 0.5 * ((each - y) ** 2).sum() / n_samples
    assert network.evaluate(X, y).loss == pytest.approx(loss, rel=1e-12)


# ------------------------------------------------------------------------------------------------------ threads

COMPOSED = cmlp.chain(
    cmlp.concatenate(cmlp.Dense(30, "relu"), cmlp.Identity()), cmlp.add(cmlp.Identity(), cmlp.Dense(70)), cmlp.Dense(3)
)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("batch_size", [2, 5, 64, 65, 150, None])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_are_the_same_bits_for_every_number_of_threads(optimizer, batch_size, dtype):
    X, y = samples([40, 3], 300, dtype)
    fits = []
    for n_threads in (1, 1, 2, 3, 4, "auto"):
        network = cmlp.Network(COMPOSED, n_inputs=40, dtype=dtype, seed=0)
        settings = {"clip_delta": 0.5, "clip_norm": 2.0, "sample_weight": np.linspace(0.5, 1.5, 300)}
        history = network.fit(
            X, y, epochs=2, batch_size=batch_size, optimizer=OPTIMIZERS[optimizer][0], n_threads=n_threads, **settings
        )
        fits.append((network, history))
    first, its_history = fits[0]
    for network, history in fits[1:]:
        assert np.array_equal(network._model.parameters, first._model.parameters)
        assert history.loss == its_history.loss
        assert history.clipped == its_history.clipped


@pytest.mark.parametrize("n_samples", [1, 2, 63, 64, 65, 129, 500])
def test_predictions_are_the_same_bits_for_every_number_of_threads(n_samples):
    X, _ = samples([40, 3], n_samples, "float32")
    network = cmlp.Network(COMPOSED, n_inputs=40, seed=0)
    expected = network.predict(X)
    for n_threads in (2, 3, 4, 64, "auto"):
        assert np.array_equal(network.predict(X, n_threads=n_threads), expected)


def test_a_large_prediction_takes_all_processors_on_auto(monkeypatch):
    X, _ = samples([40, 3], 500, "float32")
    network = cmlp.Network(COMPOSED, n_inputs=40, seed=0)
    expected = network.predict(X)
    monkeypatch.setattr("cmlp._engine.model._LEAST_FOR_THREADS", 0)
    monkeypatch.setattr("cmlp._engine.model.available_processors", lambda: 3)
    assert np.array_equal(network.predict(X, n_threads="auto"), expected)


@pytest.mark.filterwarnings("ignore::cmlp.InputScaleWarning")
def test_a_diverging_batch_is_found_by_every_number_of_threads():
    X, y = samples([40, 3], 100, "float32")
    X[70] = 3e38
    for n_threads in (1, 2, 3):
        network = cmlp.Network(COMPOSED, n_inputs=40, seed=0)
        with pytest.raises(cmlp.DivergenceError) as error:
            network.fit(X, y, epochs=1, batch_size=50, order="given", n_threads=n_threads)
        assert error.value.sample == 70


def test_nothing_is_clipped_in_a_batch_that_is_not_learnt_from():
    X, y = samples([40, 3], 400, "float32")
    for bad, expected in ((3, 0), (350, None)):
        labels = y.copy()
        labels[bad] = np.inf
        counts = []
        for n_threads in (1, 2, 3):
            model = cmlp.Network(COMPOSED, n_inputs=40, seed=0)._model
            update = _core.record(_core.UPDATE, batch_size=200, clip_delta=1e-3)
            workspace = model.workspace(200, n_threads)
            buffers = Buffers(workspace, model.new_vector(), None, {}, np.zeros(1))
            *_, n_clipped, found = model.program.train(
                model.parameters, buffers, Samples(X, labels), None, update, np.array([0.1]), 0, n_threads
            )
            assert found == bad
            counts.append(n_clipped)
        assert len(set(counts)) == 1
        assert counts[0] == expected or (expected is None and counts[0] > 0)


@pytest.mark.parametrize("n_threads", [0, -1, 1.5, "all", None, True])
def test_a_wrong_number_of_threads_is_named(n_threads):
    X, y = samples([40, 3], 10, "float32")
    network = cmlp.Network(COMPOSED, n_inputs=40, seed=0)
    with pytest.raises((TypeError, ValueError), match="n_threads"):
        network.fit(X, y, n_threads=n_threads)
    with pytest.raises((TypeError, ValueError), match="n_threads"):
        network.predict(X, n_threads=n_threads)
