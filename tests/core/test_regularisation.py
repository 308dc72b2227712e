"""Dropout, L1, max-norm and averages of the weights, against the reference and NumPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers.cases import FLOATS, flat, relative_error, samples_for

import cmlp
from cmlp import EMA, SGD, SWA, Adam, Dense, Dropout, Identity, add, chain, concatenate, reference
from cmlp._engine import passes

TOLERANCE = {"float32": 1e-4, "float64": 1e-11}


def everything(net):
    return flat((*net.weights, *net.biases))


def seeded(net, seed=7):
    """Make every training call of a network use one seed for its masks."""
    net._model.draw_dropout_seed = lambda: seed
    return net


# --------------------------------------------------------------------------------------------- dropout: masks


def masks_of(n, rate, n_samples, dtype="float64", **settings):
    """Return the masks (M, n) that an input layer used in one epoch, read off the weights.

    One output per sample: sample c has the target -1 in output c, so that δ_c = e_c but for products of x, and column c
    of W goes from 0 to -γ x times its mask.
    """
    net = cmlp.Network(
        chain(Dropout(rate), Dense(n_samples, bias=False, init="zeros")), n, optimizer=SGD(1.0), dtype=dtype
    )
    x = 1e-8
    X = np.full((n_samples, n), x)
    seeded(net).fit(X, -np.eye(n_samples), epochs=1, order="given", reduction="sum", **settings)
    return net.weights[0].T / -x


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("batch_size", [1, 3, None])
@pytest.mark.parametrize("n", [1, 2, 7, 33])
def test_masks_are_those_of_the_reference(simd_level, dtype, batch_size, n):
    got = masks_of(n, 0.3, 7, dtype, batch_size=batch_size)
    size = batch_size or 7
    expected = [reference.dropout_mask(7, c // size, c % size, 0, n, 0.3) for c in range(7)]
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


def test_the_share_of_what_is_dropped_is_the_rate_and_the_mean_stays():
    for rate in (0.1, 0.5, 0.9):
        masks = masks_of(1000, rate, 300, batch_size=None).round(10)
        assert set(np.unique(masks)) == {0, round(1 / (1 - rate), 10)}
        n, deviation = masks.size, np.sqrt(rate * (1 - rate))
        assert abs((masks == 0).mean() - rate) < 4 * deviation / np.sqrt(n)
        assert abs(masks.mean() - 1) < 4 * deviation / (1 - rate) / np.sqrt(n)
        # every sample by itself, every element by itself
        assert abs((masks == 0).mean(axis=1) - rate).max() < 5 * deviation / np.sqrt(1000)
        assert abs((masks == 0).mean(axis=0) - rate).max() < 5 * deviation / np.sqrt(300)


def test_masks_of_different_steps_positions_layers_and_seeds_are_independent():
    n, rate = 20_000, 0.5
    places = [(1, 0, 0, 0), (2, 0, 0, 0), (1, 1, 0, 0), (1, 0, 1, 0), (1, 0, 0, 1), (1, 1, 1, 0)]
    masks = [reference.dropout_mask(*place, n, rate) > 0 for place in places]
    for a, b in itertools.combinations([*masks, np.roll(masks[0], 1)], 2):
        assert abs((a == b).mean() - 0.5) < 4 * 0.5 / np.sqrt(n)


# ------------------------------------------------------------------------------------------ dropout: training

DROPPING = {
    "mlp": lambda: cmlp.MLP([5, 9, 17, 3], dropout=0.4, activation="tanh", dtype="float64").layers,
    "inputs": lambda: chain(Dropout(0.2), Dense(3)),
    "of an activation": lambda: chain(
        Dense(6, "sigmoid"), Dropout(0.5), cmlp.Activation("tanh"), Dropout(0.1), Dense(3)
    ),
    "in concatenations": lambda: chain(
        concatenate(Dropout(0.5), Identity(), chain(Dense(4, "tanh"), Dropout(0.3))), Dropout(0.2), Dense(3)
    ),
    "in a sum": lambda: chain(
        Dense(5, "tanh"), add(Dropout(0.5), Identity(), chain(Dense(5), Dropout(0.3)), Dropout(0.2)), Dense(3)
    ),
    "before a concatenation": lambda: chain(
        Dense(4), Dropout(0.5), concatenate(Identity(), Dense(2, "tanh")), Dense(3)
    ),
    "a sum of concatenations": lambda: chain(
        add(concatenate(Dropout(0.5), Dense(2)), concatenate(Dense(3), chain(Dropout(0.2), Dense(4)))), Dense(3)
    ),
    "outputs": lambda: chain(Dense(3, "tanh"), Dropout(0.3)),
}


def train_reference(net, X, y, seed, epochs, batch_size, rate):
    """Plain SGD with the masks of the reference; returns weights + biases."""
    weights, biases = [W.astype(float) for W in net.weights], [b.astype(float) for b in net.biases]
    dropping = [(i, op) for i, op in enumerate(net._model.operations) if op["dropout"]]
    step = 0
    for _ in range(epochs):
        for start in range(0, len(X), batch_size):
            rows = slice(start, start + batch_size)
            masks = [
                np.array(
                    [reference.dropout_mask(seed, step, r, i, op["n_out"], op["dropout"]) for r in range(len(X[rows]))]
                )
                for i, op in dropping
            ]
            x, targets = X[rows].astype(float), y[rows].astype(float)
            _, dW, db = reference.network_gradients(net.layers, weights, biases, net.loss, x, targets, masks=masks)
            for w, g in zip(weights + biases, dW + db, strict=True):
                w -= rate * g / len(x)
            step += 1
    return weights + biases


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("batch_size", [1, 4, 100])
@pytest.mark.parametrize("name", DROPPING)
def test_training_equals_the_reference_with_the_same_masks(simd_level, name, batch_size, dtype):
    net = seeded(cmlp.Network(DROPPING[name](), 5, dtype=dtype, seed=0, optimizer=SGD(0.01)))
    X, y = samples_for("squared_error", np.random.default_rng(1), 100, 5, 3, dtype)
    expected = train_reference(net, X, y, 7, 2, batch_size, 0.01)
    before = everything(net)
    net.fit(X, y, epochs=2, batch_size=batch_size, order="given")
    assert not np.array_equal(everything(net), before)
    assert relative_error(net.weights + net.biases, expected) < TOLERANCE[dtype]


def trained(n_threads=1, **settings):
    optimizer = settings.pop("optimizer", SGD(0.01, momentum=0.9))
    net = cmlp.MLP([20, 70, 33, 3], dropout=[0.2, 0.5], loss="cross_entropy", seed=3, optimizer=optimizer)
    X, y = samples_for("cross_entropy", np.random.default_rng(0), 301, 20, 3, "float32")
    net.fit(X, y, epochs=2, batch_size=100, n_threads=n_threads, **settings)
    return everything(net)


REGULARISERS = {
    "dropout": {},
    "l1": {"l1": 0.001},
    "max_norm": {"max_norm": 0.7},
    "ema": {"averaging": EMA(0.9)},
    "all": {"l1": 0.001, "max_norm": 0.7, "averaging": EMA(0.9), "weight_decay": 0.01},
}


@pytest.mark.parametrize("name", REGULARISERS)
@pytest.mark.parametrize("kind", [SGD, Adam])
def test_the_number_of_threads_changes_no_bit(simd_level, kind, name):
    optimizer = kind(0.01, **REGULARISERS[name])
    one = trained(1, optimizer=optimizer)
    for n_threads in (2, 3):
        np.testing.assert_array_equal(trained(n_threads, optimizer=optimizer), one)


def test_the_length_of_the_chunks_changes_no_bit(monkeypatch):
    optimizer = SGD(0.01, **REGULARISERS["all"])
    one = trained(optimizer=optimizer)
    monkeypatch.setattr(passes, "CHUNK_NANOSECONDS", 1)
    np.testing.assert_array_equal(trained(optimizer=optimizer), one)


def test_one_seed_gives_one_result_and_every_call_has_masks_of_its_own():
    np.testing.assert_array_equal(trained(), trained())
    net = cmlp.MLP([2, 50, 1], dropout=0.5, seed=0, optimizer=SGD(1e-3))
    X, y = np.ones((1, 2)), np.ones((1, 1))
    steps = []
    for _ in range(2):  # a new optimiser starts at step 0 again
        before = net.weights[1].copy()
        net.fit(X, y, epochs=1, optimizer=SGD(1e-3))
        steps.append(net.weights[1] != before)
    assert not np.array_equal(*steps)


def test_learn_one_and_partial_fit_drop_out():
    X, y = samples_for("squared_error", np.random.default_rng(1), 5, 4, 2, "float64")
    nets = [cmlp.MLP([4, 30, 2], dropout=0.5, dtype="float64", seed=0) for _ in range(3)]
    bits = nets[0]._model.rng.bit_generator
    start = bits.state
    for x, target in zip(X, y, strict=True):
        bits.state = start  # so that every call draws the seed that the others draw once
        nets[0].learn_one(x, target)
    nets[1].partial_fit(X, y)
    nets[2].fit(X, y, epochs=1, order="given")
    without = cmlp.MLP([4, 30, 2], dtype="float64", seed=0).partial_fit(X, y)
    np.testing.assert_array_equal(everything(nets[0]), everything(nets[1]))
    np.testing.assert_array_equal(everything(nets[0]), everything(nets[2]))
    assert not np.array_equal(everything(nets[0]), everything(without))


def test_everything_but_training_goes_without_dropout():
    X, y = samples_for("squared_error", np.random.default_rng(1), 70, 4, 2, "float64")
    with_dropout, without = (
        cmlp.MLP([4, 30, 20, 2], dropout=rate, dtype="float64", seed=0) for rate in ([0.5, 0.2], 0.0)
    )
    np.testing.assert_array_equal(with_dropout.predict(X), without.predict(X))
    np.testing.assert_array_equal(with_dropout.predict_one(X[0]), without.predict_one(X[0]))
    assert with_dropout.evaluate(X, y) == without.evaluate(X, y)
    for a, b in zip(with_dropout.forward(X), without.forward(X), strict=True):
        np.testing.assert_array_equal(a, b)
    a, b = with_dropout.gradients(X, y), without.gradients(X, y)
    assert a.loss == b.loss
    np.testing.assert_array_equal(flat(a.weights + a.deltas), flat(b.weights + b.deltas))


@pytest.mark.filterwarnings("ignore::cmlp.InputScaleWarning")
def test_a_loss_that_only_dropout_makes_infinite_is_explained():
    net = cmlp.Network(chain(Dropout(0.9), Dense(1, bias=False, init=[[1]])), 1, seed=0)  # what is kept becomes 1e39
    with pytest.raises(cmlp.DivergenceError, match=r"the loss is not finite at row \d+ of X, with dropout"):
        net.fit(np.full((200, 1), 1e38), np.zeros(200), epochs=1)
    assert net.weights[0].item() == 1


def test_rates_are_saved_and_shown(tmp_path):
    net = cmlp.MLP([4, 30, 20, 2], dropout=[0.5, 0], seed=0)
    net.save(tmp_path / "net")
    loaded = cmlp.load(tmp_path / "net")
    assert loaded.layers == net.layers == chain(Dense(30, "relu"), Dropout(0.5), Dense(20, "relu"), Dense(2))
    assert type(loaded) is cmlp.MLP
    assert repr(loaded) == "MLP([4, 30, 20, 2], activation='relu', dropout=[0.5], loss='squared_error')"
    assert "dropout=0.25," in repr(cmlp.MLP([4, 30, 20, 2], dropout=0.25))


@pytest.mark.parametrize(
    ("dropout", "error", "message"),
    [
        (1.0, ValueError, "dropout must be a finite number with 0 <= dropout < 1"),
        (-0.1, ValueError, "0 <= dropout"),
        (True, TypeError, "dropout must be a finite number"),
        ("0.5", TypeError, "dropout must be a finite number"),
        ([0.5], ValueError, r"one rate, or one per hidden layer \(2\)"),
        ([0.5, None], TypeError, "dropout must be"),
    ],
)
def test_impossible_rates_are_errors(dropout, error, message):
    with pytest.raises(error, match=message):
        cmlp.MLP([2, 3, 3, 1], dropout=dropout)


# ------------------------------------------------------------------------------------------- L1 and max-norm


@pytest.mark.parametrize("dtype", FLOATS)
def test_no_unit_is_longer_than_max_norm(simd_level, dtype):
    for n_in, n_out in [(1, 1), (3, 40), (40, 3), (1000, 2), (17, 33), (7, 129)]:
        net = cmlp.MLP([n_in, n_out], dtype=dtype, seed=0, init="uniform")
        W, b = net.weights[0].astype(float), net.biases[0].copy()
        c = np.median(np.linalg.norm(W, axis=0)).item()
        net.fit(np.zeros((1, n_in)), net.predict(np.zeros((1, n_in))), epochs=1, optimizer=SGD(0.1, max_norm=c))
        expected = W * np.minimum(1, c / np.linalg.norm(W, axis=0))  # nothing was learnt
        np.testing.assert_allclose(net.weights[0], expected, rtol=1e-6 if dtype == "float32" else 1e-14)
        np.testing.assert_array_equal(net.biases[0], b)


def test_l1_draws_weights_to_zero_and_leaves_biases_alone():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 20))
    y = X[:, 0] * 2 + 3
    net = cmlp.MLP([20, 1], dtype="float64", seed=0)
    net.fit(X, y, epochs=300, batch_size=None, optimizer=SGD(0.1, l1=0.1))
    W = net.weights[0].ravel()
    assert abs(W[0] - 1.9) < 0.05  # the soft threshold: λ₁ off the least squares
    assert np.abs(W[1:]).max() <= 0.011  # within a step's γ λ₁ of 0
    assert abs(net.biases[0].item() - 3) < 0.05


def test_learn_one_knows_the_regularisers():
    X, y = samples_for("squared_error", np.random.default_rng(1), 5, 4, 2, "float64")
    nets = [cmlp.MLP([4, 30, 2], dtype="float64", seed=0, optimizer=SGD(0.01, l1=0.1, max_norm=1)) for _ in range(2)]
    for x, target in zip(X, y, strict=True):
        nets[0].learn_one(x, target)
    np.testing.assert_array_equal(everything(nets[0]), everything(nets[1].partial_fit(X, y)))
    assert np.linalg.norm(nets[0].weights[1], axis=0).max() < 1 + 1e-12


def test_grad_tol_counts_l1():
    X, y = np.ones((1, 1)), np.ones((1, 1))  # ∂/∂w ½ (w - 1)² + ½ |w| = 0 at w = ½
    net = cmlp.MLP([1, 1], bias=False, init=[[[0.5]]], dtype="float64", optimizer=SGD(0.1, l1=0.5))
    assert net.fit(X, y, grad_tol=1e-12).stopped == "grad_tol"
    net = cmlp.MLP([1, 1], bias=False, init=[[[0.5]]], dtype="float64", optimizer=SGD(1e-9))
    assert net.fit(X, y, grad_tol=0.4, epochs=2).stopped == "epochs"


# ---------------------------------------------------------------------------------------------------- averages


def problem(dtype="float64", optimizer=None, **settings):
    net = cmlp.MLP([4, 9, 2], activation="tanh", dtype=dtype, seed=0, optimizer=optimizer, **settings)
    return net, *samples_for("squared_error", np.random.default_rng(1), 12, 4, 2, dtype)


def trajectory(epochs, dtype="float64", optimizer=None, batch_size=3):
    """Return all parameters after every step of training in the given order."""
    net, X, y = problem(dtype, optimizer or SGD(0.05, momentum=0.5))
    points = []
    for _, start in itertools.product(range(epochs), range(0, 12, batch_size)):
        rows = slice(start, start + batch_size)
        points.append(everything(net.partial_fit(X[rows], y[rows], batch_size=batch_size)).astype(float))
    return points


def ema(points, decay):
    mean = points[0]
    for point in points[1:]:
        mean = decay * mean + (1 - decay) * point
    return mean


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("decay", [0, 0.6, 0.99])
def test_ema_is_the_average_over_the_steps(simd_level, decay, dtype):
    net, X, y = problem(dtype, SGD(0.05, momentum=0.5, averaging=EMA(decay)))
    net.fit(X, y, epochs=2, batch_size=3, order="given")
    net.partial_fit(X, y, batch_size=3)
    for x, target in zip(X, y, strict=True):
        net.learn_one(x, target)
    plain, *_ = problem(dtype, SGD(0.05, momentum=0.5))
    points = trajectory(3, dtype)
    plain.partial_fit(np.tile(X, (3, 1)), np.tile(y, (3, 1)), batch_size=3)
    for x, target in zip(X, y, strict=True):
        plain.learn_one(x, target)
        points.append(everything(plain).astype(float))
    assert relative_error([everything(net)], [ema(points, decay)]) < TOLERANCE[dtype]


@pytest.mark.parametrize("start", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_swa_is_the_mean_over_the_epochs_from_start_on(batch_size, start):
    net, X, y = problem(optimizer=SGD(0.05, averaging=SWA(start)))
    ends = trajectory(5, optimizer=SGD(0.05), batch_size=batch_size)[12 // batch_size - 1 :: 12 // batch_size]
    seen = []
    settings = {"batch_size": batch_size, "order": "given", "callbacks": [lambda net, _: seen.append(everything(net))]}
    net.fit(X, y, epochs=2, **settings)
    net.fit(X, y, epochs=3, **settings)
    for epoch, got in enumerate(seen):
        expected = ends[epoch] if epoch < start else np.mean(ends[start : epoch + 1], axis=0)
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("averaging", [EMA(0.9), SWA(1)])
def test_averages_go_on_after_saving_and_copying(averaging, tmp_path):
    import copy

    net, X, y = problem(optimizer=Adam(0.01, averaging=averaging, l1=1e-3, max_norm=2))
    net.fit(X, y, epochs=3, batch_size=5, order="given")
    net.save(tmp_path / "net")
    others = [cmlp.load(tmp_path / "net"), copy.deepcopy(net)]
    net.fit(X, y, epochs=2, batch_size=5, order="given")
    for other in others:
        assert other.optimizer == net.optimizer
        other.fit(X, y, epochs=2, batch_size=5, order="given")
        np.testing.assert_array_equal(everything(other), everything(net))


@pytest.mark.parametrize("averaging", [EMA(0.9), SWA(0), SWA(1), SWA(9)])
def test_an_interrupt_keeps_the_average(averaging):
    def interrupt(net, history):
        if len(history.loss) == 3:
            raise KeyboardInterrupt

    nets = [problem(optimizer=SGD(0.05, averaging=averaging)) for _ in range(2)]
    (net, X, y), (twin, *_) = nets
    with pytest.raises(cmlp.TrainingInterrupted):
        net.fit(X, y, epochs=9, order="given", callbacks=[interrupt])
    twin.fit(X, y, epochs=3, order="given")
    np.testing.assert_array_equal(everything(nets[0][0]), everything(nets[1][0]))


@pytest.mark.parametrize("averaging", [EMA(0.9), SWA(0), SWA(9)])
def test_divergence_restores_the_average_and_what_it_is_of(averaging):
    net, X, y = problem(optimizer=SGD([0.05, 0.05, 1e300], averaging=averaging))
    with pytest.raises(cmlp.DivergenceError, match="epoch 3"):
        net.fit(X, y, epochs=3, order="given")
    same, *_ = problem(optimizer=SGD(0.05, averaging=averaging))
    same.fit(X, y, epochs=2, order="given")
    np.testing.assert_array_equal(everything(net), everything(same))
    np.testing.assert_array_equal(net._model.slots["iterate"], same._model.slots["iterate"])


def test_a_learn_one_that_fails_changes_nothing():
    net, X, y = problem(optimizer=SGD(0.05, averaging=EMA(0.9)))
    net.learn_one(X[0], y[0])
    before, iterate = everything(net), net._model.slots["iterate"].copy()
    with pytest.raises(cmlp.DivergenceError, match="has the parameters from before"):
        net.learn_one(X[0], [1e300, 1e300])
    np.testing.assert_array_equal(everything(net), before)
    np.testing.assert_array_equal(net._model.slots["iterate"], iterate)
    assert net.n_steps == 1


def test_validation_and_the_best_epoch_are_those_of_the_average():
    net, X, y = problem(optimizer=SGD(0.3, averaging=EMA(0.5)))
    losses = []
    history = net.fit(
        X[:8],
        y[:8],
        epochs=30,
        validation=(X[8:], y[8:]),
        patience=3,
        callbacks=[lambda net, _: losses.append(net.evaluate(X[8:], y[8:]).loss)],
    )
    assert history.stopped == "patience"
    assert history.validation_loss == losses
    assert net.evaluate(X[8:], y[8:]).loss == min(losses)
    np.testing.assert_array_equal(net._model.slots["iterate"], net._model.parameters)


def test_a_stream_refuses_the_mean_over_epochs():
    net, X, y = problem(optimizer=SGD(0.05, averaging=SWA()))
    before = everything(net)
    for learn in (lambda: net.partial_fit(X, y), lambda: net.learn_one(X[0], y[0])):
        with pytest.raises(ValueError, match=r"a stream has none: use cmlp.EMA"):
            learn()
    np.testing.assert_array_equal(everything(net), before)


# -------------------------------------------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: SGD(l1=-1), ValueError, "0 <= l1"),
        (lambda: Adam(max_norm=0), ValueError, "0 < max_norm"),
        (lambda: SGD(max_norm="3"), TypeError, "max_norm must be a finite number"),
        (lambda: SGD(averaging=0.9), TypeError, r"averaging must be cmlp.EMA\(...\) or cmlp.SWA\(...\), not 0.9"),
        (lambda: EMA(1), ValueError, "0 <= decay < 1"),
        (lambda: SWA(-1), ValueError, "start must be an integer >= 0"),
        (lambda: SWA(0.5), TypeError, "start must be an integer"),
        (lambda: Dropout(1), ValueError, "0 <= rate < 1"),
    ],
)
def test_impossible_parameters_are_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_regularisers_are_shown_where_they_are_used():
    assert repr(SGD(0.1)) == "SGD(learning_rate=0.1, momentum=0.0, nesterov=False, weight_decay=0.0)"
    assert "l1=0.1, max_norm=3.0, averaging=EMA(decay=0.9)" in repr(SGD(l1=0.1, max_norm=3, averaging=EMA(0.9)))


@pytest.mark.parametrize("config", [3, {}, {"name": "mean"}, {"name": "ema", "start": 3}, {"name": "swa", "start": -1}])
def test_malformed_averages_in_a_file_are_errors(config):
    from cmlp.optimizers import optimizer_from_config

    with pytest.raises(ValueError, match=r"averaging|saved optimiser|start"):
        optimizer_from_config({**SGD(0.1).to_config(), "averaging": config})
