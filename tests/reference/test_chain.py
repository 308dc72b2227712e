"""Plain chains of the NumPy twin, checked against central differences and the definitions themselves."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers.differences import central_differences, close, copies, random_chain, random_targets

from cmlp import reference
from cmlp.activations import ACTIVATIONS
from cmlp.losses import LOSSES

# Pairs whose loss is defined also where z may be positive.
POSITIVE_PAIRS = [
    pair
    for pair in itertools.product(LOSSES, ACTIVATIONS)
    if pair[0] != "binary_cross_entropy" or pair[1] not in ("exp", "softplus")
]
ALPHA = 0.3


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("loss", "activation"), POSITIVE_PAIRS)
def test_gradients_of_chains_are_central_differences(loss, activation, bias):
    rng = np.random.default_rng(4)
    weights, biases = random_chain(rng, [3, 4, 5, 3], bias, low=0.05, high=0.2)  # keeps outputs in (0, 1)
    activations = ["sigmoid", "leaky_relu", activation]
    x, y = rng.uniform(0.1, 1, 3), random_targets(rng, loss, 3)

    def ell():
        zs, as_ = reference.forward(weights, biases, activations, x, ALPHA)
        return reference.loss_and_delta(loss, activation, zs[-1], as_[-1], y, ALPHA)[0]

    zs, as_ = reference.forward(weights, biases, activations, x, ALPHA)
    deltas = reference.backward(weights, zs, as_, activations, loss, y, ALPHA)
    for W, b, a, delta in zip(weights, biases, as_, deltas, strict=False):
        close(np.outer(a, delta), central_differences(ell, W))
        if b is not None:
            close(delta, central_differences(ell, b))


@pytest.mark.parametrize("hidden", ACTIVATIONS)
def test_gradients_through_every_hidden_activation(hidden):
    rng = np.random.default_rng(5)
    weights, biases = random_chain(rng, [4, 6, 5, 2], low=-0.4, high=0.4)
    activations = [hidden, hidden, "identity"]
    x, y = rng.normal(size=4), rng.normal(size=2)

    def ell():
        return 0.5 * ((reference.predict(weights, biases, activations, x, ALPHA) - y) ** 2).sum()

    zs, as_ = reference.forward(weights, biases, activations, x, ALPHA)
    deltas = reference.backward(weights, zs, as_, activations, "squared_error", y, ALPHA)
    assert [z.shape for z in zs] == [delta.shape for delta in deltas] == [(6,), (5,), (2,)]
    for W, a, delta in zip(weights, as_, deltas, strict=False):
        close(np.outer(a, delta), central_differences(ell, W))


def test_blocks_class_indices_and_flat_targets_mean_the_same_as_rows():
    rng = np.random.default_rng(6)
    weights, biases = random_chain(rng, [4, 5, 3])
    X, labels = rng.normal(size=(7, 4)), rng.integers(0, 3, 7)
    names = ["tanh", "softmax"]
    zs, as_ = reference.forward(weights, biases, names, X)
    deltas = reference.backward(weights, zs, as_, names, "cross_entropy", labels)
    for c in range(7):
        zs, as_ = reference.forward(weights, biases, names, X[c])
        for y in (labels[c], np.eye(3)[labels[c]]):
            for one, block in zip(reference.backward(weights, zs, as_, names, "cross_entropy", y), deltas, strict=True):
                np.testing.assert_allclose(one, block[c], rtol=1e-12)

    results = []
    for y in (labels, labels[:, None], np.eye(3)[labels], labels.astype(float)):
        W, b = copies(weights), copies(biases)
        results.append((reference.train(W, b, names, "cross_entropy", X, y, learning_rate=0.1), W[0].tolist()))
    assert all(result == results[0] for result in results)

    weights, biases = random_chain(rng, [4, 1])
    flat, column = copies(weights), copies(weights)
    for W, y in ((flat, X[:, 0]), (column, X[:, :1])):
        reference.train(W, [None], ["identity"], "squared_error", X, y, learning_rate=0.1)
    assert flat[0].tolist() == column[0].tolist()


def test_training_keeps_the_dtype_and_updates_in_place():
    rng = np.random.default_rng(7)
    for dtype, settings in itertools.product(
        [np.float32, np.float64],
        [
            {},
            {"batch_size": 4, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1, "clip_norm": np.float64(1)},
            {"clip_delta": np.float64(0.1), "sample_weight": np.arange(9.0), "clip_value": 0.1},
        ],
    ):
        weights, biases = random_chain(rng, [3, 4, 2], dtype=dtype)
        before = copies([*weights, *biases])
        X, y = rng.normal(size=(9, 3)), rng.normal(size=(9, 2))
        names = ["leaky_relu", "sigmoid"]
        losses = reference.train(weights, biases, names, "squared_error", X, y, learning_rate=0.1, epochs=3, **settings)
        assert len(losses) == 3
        for array, old in zip([*weights, *biases], before, strict=True):
            assert array.dtype == dtype
            assert (array != old).any()
        assert reference.predict(weights, biases, names, X).dtype == dtype


def test_any_memory_layout_of_the_weights_trains_alike():
    rng = np.random.default_rng(8)
    weights, biases = random_chain(rng, [5, 4, 1])
    padded = [np.zeros((W.shape[0], 8)) for W in weights]
    views = [p[:, : W.shape[1]] for p, W in zip(padded, weights, strict=True)]
    for view, W in zip(views, weights, strict=True):
        view[...] = W
    layouts = [copies(weights), [np.asfortranarray(W) for W in weights], views]
    X, y = rng.normal(size=(6, 5)), rng.normal(size=6)
    for Ws in layouts:
        reference.train(Ws, copies(biases), ["relu", "identity"], "squared_error", X, y, learning_rate=0.1)
        for W, expected in zip(Ws, layouts[0], strict=True):
            np.testing.assert_array_equal(W, expected)


def sgd_by_definition(weights, biases, names, loss, X, y, gammas, psi, s):
    """The per-sample loop of the specification, with nothing shared or reused."""
    total = 0.0
    for c in range(len(X)):
        zs, as_ = reference.forward(weights, biases, names, X[c])
        total += s[c] * reference.loss_and_delta(loss, names[-1], zs[-1], as_[-1], y[c])[0]
        deltas = [s[c] * delta for delta in reference.backward(weights, zs, as_, names, loss, y[c])]
        for W, b, a, delta in zip(weights, biases, as_, deltas, strict=False):
            W -= gammas[c] * np.outer(a, np.clip(delta, -psi, psi))
            b -= gammas[c] * np.clip(delta, -psi, psi)
    return total / s.sum()


@pytest.mark.parametrize("batch_size", [1, 2])
def test_delta_clipping_weights_rates_and_order(batch_size):
    rng = np.random.default_rng(9)
    names = ["tanh", "relu", "sigmoid"]
    weights, biases = random_chain(rng, [4, 5, 4, 2])
    X, y = rng.normal(size=(8, 4)), rng.integers(0, 2, (8, 2)).astype(float)
    order, s = rng.permutation(8), rng.uniform(0.5, 2, 8)
    gammas = 0.5 / np.arange(1, 9)
    W, b = copies(weights), copies(biases)
    expected = sgd_by_definition(W, b, names, "binary_cross_entropy", X[order], y[order], gammas, 0.05, s[order])
    if batch_size == 2:  # a pair of equal samples, averaged, is that sample
        X, y, s, order = X.repeat(2, 0), y.repeat(2, 0), s.repeat(2), np.stack([2 * order, 2 * order + 1], 1).ravel()
    losses = reference.train(
        weights, biases, names, "binary_cross_entropy", X, y, learning_rate=gammas, clip_delta=0.05,
        order=order, sample_weight=s, batch_size=batch_size,
    )  # fmt: skip
    assert losses == [pytest.approx(expected, rel=1e-12)]
    for actual, by_hand in zip(weights + biases, W + b, strict=True):
        np.testing.assert_allclose(actual, by_hand, rtol=1e-12)


def test_what_is_propagated_is_not_clipped():
    # f(x) = ½ · 12 x = 6: δ_2 = 6 − 1 = 5, clipped to 4 for its own update, but δ_1 = ½ · 5, not ½ · 4.
    weights = [np.array([[12.0]]), np.array([[0.5]])]
    arguments = (["identity", "identity"], "squared_error", [[1.0]], [1.0])
    reference.train(weights, [None, None], *arguments, learning_rate=1, clip_delta=4)
    assert [W.item() for W in weights] == [12 - 2.5, 0.5 - 12 * 4]


def test_orders_blocks_and_rates_that_do_not_fit():
    rng = np.random.default_rng(10)
    X, y = rng.normal(size=(7, 2)), rng.normal(size=7)
    arguments = (["identity"], "squared_error", X, y)
    start = np.zeros((2, 1))

    def trained(**settings):
        W = start.copy()
        reference.train([W], [None], *arguments, **{"learning_rate": 0.1, "epochs": 2, **settings})
        return W.tolist()

    visits = np.array([[3, 1, 1, 0], [6, 5, 4, 2]])
    W = start.copy()
    for row in visits:
        reference.train([W], [None], ["identity"], "squared_error", X[row], y[row], learning_rate=0.1)
    assert trained(order=visits) == W.tolist()
    assert trained(batch_size=3) == trained(batch_size=3, order=np.arange(7))
    assert trained(batch_size=None) == trained(batch_size=7) == trained(batch_size=100)
    assert trained(batch_size=3, learning_rate=[0.1] * 6) == trained(batch_size=3)
    # the last block has one sample: its mean is not divided by 3
    W = start.copy()
    for block in (slice(0, 3), slice(3, 6), slice(6, 7)):
        W -= 0.1 * X[block].T @ (X[block] @ W - y[block, None]) / len(X[block])
    np.testing.assert_allclose(trained(batch_size=3, epochs=1), W, rtol=1e-13)
    with pytest.raises(ValueError, match="broadcast"):
        trained(batch_size=3, learning_rate=[0.1] * 5)
