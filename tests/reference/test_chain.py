"""The readable NumPy twin, checked against central differences, PyTorch and the definitions themselves."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from cmlp import reference
from cmlp.activations import ACTIVATIONS
from cmlp.layers import Activation, Dense, Identity, add, chain, concatenate, dense_layers
from cmlp.losses import LOSSES, NATURAL_OUTPUT, CrossEntropy, Huber, Quantile

PAIRS = list(itertools.product(LOSSES, ACTIVATIONS))
# Pairs whose loss is defined also where z may be positive.
POSITIVE_PAIRS = [pair for pair in PAIRS if pair[0] != "binary_cross_entropy" or pair[1] not in ("exp", "softplus")]
ALPHA = 0.3


def central_differences(function, array, step=1e-6):
    """∂ function / ∂ array, one element at a time: (E(w + h) − E(w − h)) / 2h, with an error of O(h²)."""
    gradient = np.empty_like(array)
    for index in np.ndindex(array.shape):
        value = array[index]
        array[index] = value + step
        above = function()
        array[index] = value - step
        below = function()
        array[index] = value
        gradient[index] = (above - below) / (2 * step)
    return gradient


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-8)


def random_chain(rng, sizes, bias=True, low=-1.0, high=1.0, dtype=np.float64):
    weights = [rng.uniform(low, high, shape).astype(dtype) for shape in itertools.pairwise(sizes)]
    biases = [rng.uniform(low, high, n).astype(dtype) if bias else None for n in sizes[1:]]
    return weights, biases


def copies(arrays):
    return [None if array is None else array.copy() for array in arrays]


def random_targets(rng, loss, shape):
    y = rng.uniform(0.05, 0.95, shape)
    if loss == "hinge":
        return np.sign(y - 0.5)
    return y / y.sum(-1, keepdims=True) if loss == "cross_entropy" else y


# ------------------------------------------------------------------------------------- activations and losses


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations_are_free_of_overflow_and_keep_the_dtype(dtype):
    z = np.array([-np.inf, -1e4, -30, 0, 30, 1e4, np.inf], dtype)
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_allclose(
            reference.activate("sigmoid", z), [0, 0, 9.357622968840175e-14, 0.5, 1, 1, 1], rtol=1e-6
        )
        assert reference.activate("tanh", z)[[0, 3, 6]].tolist() == [-1, 0, 1]
        assert reference.activate("softmax", z[1:6]).tolist() == [0, 0, 0, 0, 1]
        assert reference.activate("softmax", z[1:6] * 0 + 1e4).tolist() == pytest.approx([0.2] * 5)
    assert reference.activate("leaky_relu", np.array([-2, 0, 3], dtype), 0.5).tolist() == [-1, 0, 3]
    assert reference.activate("leaky_relu", np.array([-1, 2], dtype), 3.0).tolist() == [-3, 2]
    for name in ACTIVATIONS:
        finite = z[1:5] if name == "exp" else z[1:6]
        with np.errstate(all="raise", under="ignore"):
            a = reference.activate(name, finite, np.float64(ALPHA))
            assert a.dtype == dtype
            assert reference.activation_vjp(name, finite, a, a, np.float64(ALPHA)).dtype == dtype
        assert np.isnan(reference.activate(name, np.array([np.nan, 1], dtype))[0])


@pytest.mark.parametrize(("name", "at_zero"), [("relu", 0.0), ("leaky_relu", ALPHA), ("elu", ALPHA)])
def test_the_derivative_at_the_kink_is_the_one_from_below(name, at_zero):
    z = np.zeros(1)
    assert reference.activation_vjp(name, z, reference.activate(name, z, ALPHA), np.ones(1), ALPHA) == at_zero


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_vjp_is_the_derivative(name):
    rng = np.random.default_rng(1)
    z, da = rng.normal(size=(2, 3, 5))
    dz = reference.activation_vjp(name, z, reference.activate(name, z, ALPHA), da, ALPHA)
    close(dz, central_differences(lambda: (da * reference.activate(name, z, ALPHA)).sum(), z))


def test_unknown_names_are_errors():
    z = np.ones(2)
    with pytest.raises(ValueError, match="'swish'"):
        reference.activate("swish", z)
    with pytest.raises(ValueError, match="'swish'"):
        reference.activation_vjp("swish", z, z, z)
    with pytest.raises(ValueError, match="'log_cosh'"):
        reference.loss_and_delta("log_cosh", "relu", z, z, z)
    with pytest.raises(TypeError, match="unknown layer"):
        reference.network_forward("dense", [np.ones((1, 1))], [None], [1.0])


@pytest.mark.parametrize(("loss", "activation"), PAIRS)
def test_delta_is_the_derivative_of_the_loss(loss, activation):
    rng = np.random.default_rng(2)
    z = rng.uniform(0.1, 0.9, (4, 3))  # where every output is in (0, 1), so that every loss is defined
    if activation in ("exp", "softplus"):
        z -= 1.5
    y = random_targets(rng, loss, z.shape)

    def both():
        return reference.loss_and_delta(loss, activation, z, reference.activate(activation, z, ALPHA), y, ALPHA)

    ell, delta = both()
    assert ell.shape == (4,)
    close(delta, central_differences(lambda: both()[0].sum(), z))
    for c in range(4):  # a block of samples is nothing but its samples
        a = reference.activate(activation, z[c], ALPHA)
        one, delta_one = reference.loss_and_delta(loss, activation, z[c], a, y[c], ALPHA)
        close(one, ell[c])
        close(delta_one, delta[c])


def test_losses_are_their_definitions():
    y, a = np.array([1.0, 0.0, 0.25]), np.array([0.5, 0.7, 0.1])
    expected = {
        "squared_error": (0.25 + 0.49 + 0.0225) / 2,
        "cross_entropy": -(np.log(0.5) + 0.25 * np.log(0.1)),
        "binary_cross_entropy": -(np.log(0.5) + np.log(0.3) + 0.25 * np.log(0.1) + 0.75 * np.log(0.9)),
        "absolute_error": 0.5 + 0.7 + 0.15,
        "huber": (0.25 + 0.49 + 0.0225) / 2,
        Huber(0.5): 0.125 + 0.5 * (0.7 - 0.25) + 0.0225 / 2,
        "quantile": (0.5 + 0.7 + 0.15) / 2,
        Quantile(0.9): 0.9 * 0.5 + 0.1 * 0.7 + 0.9 * 0.15,
        "poisson": 0.5 - np.log(0.5) + 0.7 + 0.1 - 0.25 * np.log(0.1),
        CrossEntropy(0.3): -(0.8 * np.log(0.5) + 0.1 * np.log(0.7) + 0.275 * np.log(0.1)),
        "hinge": 0.5 + 1.7 + 0.9,
    }
    for loss, value in expected.items():
        assert reference.loss_and_delta(loss, "identity", a, a, y)[0] == pytest.approx(value)


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy"])
def test_the_fused_pairs_are_the_general_form_and_stay_exact_far_out(loss):
    rng = np.random.default_rng(3)
    name = NATURAL_OUTPUT[loss]
    z = rng.normal(size=(6, 4))
    a, y = reference.activate(name, z), random_targets(rng, loss, z.shape)
    ell, delta = reference.loss_and_delta(loss, name, z, a, y)
    general, da = reference.loss_and_delta(loss, "identity", a, a, y)
    np.testing.assert_allclose(ell, general, rtol=1e-13)
    np.testing.assert_allclose(delta, reference.activation_vjp(name, z, a, da), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(delta, a - y, rtol=1e-12, atol=1e-15)
    for dtype in (np.float32, np.float64):
        z = np.array([1e4, 0], dtype)
        with np.errstate(all="raise", under="ignore"):
            ell, delta = reference.loss_and_delta(loss, name, z, reference.activate(name, z), np.array([0, 1], dtype))
        assert ell == pytest.approx(1e4 + np.log(2) * (loss == "binary_cross_entropy"), rel=1e-6)
        assert delta.tolist() == [1, -0.5 if loss == "binary_cross_entropy" else -1]


def test_delta_of_cross_entropy_for_targets_that_do_not_sum_to_one():
    rng = np.random.default_rng(15)
    z, y = rng.normal(size=4), rng.uniform(size=4)

    def both():
        return reference.loss_and_delta("cross_entropy", "softmax", z, reference.activate("softmax", z), y)

    close(both()[1], central_differences(lambda: both()[0], z))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_outputs_at_and_beyond_the_edge_of_the_domain(dtype):
    eps = np.finfo(dtype).eps

    def both(loss, a, y):
        a, y = np.array([a], dtype), np.array([y], dtype)
        ell, delta = reference.loss_and_delta(loss, "identity", a, a, y)
        assert ell.dtype == delta.dtype == dtype
        return ell, delta[0]

    assert both("cross_entropy", 0, 1) == pytest.approx((-np.log(eps), -1 / eps))
    assert both("binary_cross_entropy", 0, 1) == pytest.approx((-np.log(eps), -1 / eps), rel=1e-5)
    assert both("binary_cross_entropy", 1, 0) == pytest.approx((-np.log(eps), 1 / eps), rel=1e-5)
    assert both("cross_entropy", 2, 1) == pytest.approx((-np.log(2), -0.5))
    assert both("cross_entropy", -1, 0) == (0, 0)
    assert both("cross_entropy", 0, 0) == (0, 0)
    for loss, a in [("cross_entropy", -0.1), ("binary_cross_entropy", -0.1), ("binary_cross_entropy", 1.1)]:
        assert np.isnan(both(loss, a, 1)[0])


# ---------------------------------------------------------------------------------------------- plain chains


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


# -------------------------------------------------------------------------------------------- any composition

COMPOSITIONS = {
    "dense": (Dense(3, "tanh"), 3),
    "chain": (chain(Dense(4, "relu"), Dense(3, "leaky_relu", bias=False, alpha=ALPHA), Dense(2)), 3),
    "skip": (chain(add(Identity(), chain(Dense(5, "sigmoid"), Dense(3))), Activation("tanh"), Dense(2)), 3),
    "concatenation": (chain(concatenate(Dense(2, "relu"), Identity(), Dense(4, "softmax")), Dense(3)), 3),
    "nested": (
        chain(
            concatenate(add(Dense(2), Dense(2, "tanh", bias=False)), chain(Dense(3, "sigmoid"), Identity())),
            add(Identity(), chain(concatenate(Dense(3, "tanh"), Dense(2)), Activation("leaky_relu", ALPHA))),
            Dense(2),
        ),
        3,
    ),
    "open end": (concatenate(Dense(2, "sigmoid"), add(Dense(1), Dense(1, "tanh"))), 2),
}


def parameters_of(rng, layer, n_inputs, low=-1.0, high=1.0):
    """Random weights and biases: each W needs the width of its input, found by running the layers."""
    weights, biases = [], []

    def width(layer, n):
        if isinstance(layer, Dense):
            weights.append(rng.uniform(low, high, (n, layer.n_outputs)))
            biases.append(rng.uniform(low, high, layer.n_outputs) if layer.bias else None)
        if not hasattr(layer, "layers"):
            return layer.output_size(n)
        widths = [n]
        for part in layer.layers:
            widths.append(width(part, widths[-1] if type(layer) is type(chain(part)) else n))
        return layer.output_size(n)

    width(layer, n_inputs)
    assert len(weights) == len(list(dense_layers(layer)))
    return weights, biases


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("output", [None, *ACTIVATIONS])
@pytest.mark.parametrize("name", COMPOSITIONS)
def test_gradients_of_compositions_are_central_differences(name, output, loss):
    layer, n_inputs = COMPOSITIONS[name]
    if output is not None:
        layer = chain(layer, Dense(3, output, alpha=ALPHA), Identity())
    rng = np.random.default_rng(11)
    weights, biases = parameters_of(rng, layer, n_inputs, 0.02, 0.12)  # keeps outputs in (0, 1)
    x = rng.uniform(0.1, 0.5, (2, n_inputs))
    y = random_targets(rng, loss, (2, layer.output_size(n_inputs)))

    def total():
        out = reference.network_forward(layer, weights, biases, x)
        return reference.loss_and_delta(loss, "identity", out, out, y)[0].sum()

    ell, dW, db = reference.network_gradients(layer, weights, biases, loss, x, y)
    close(ell.sum(), total())
    for array, gradient in zip(weights + biases, dW + db, strict=True):
        if array is None:
            assert gradient is None
        else:
            close(gradient, central_differences(total, array))


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_compositions_with_weights_of_both_signs(name):
    layer, n_inputs = COMPOSITIONS[name]
    rng = np.random.default_rng(12)
    weights, biases = parameters_of(rng, layer, n_inputs)
    x = rng.normal(size=n_inputs)
    y = rng.normal(size=layer.output_size(n_inputs))
    ell, dW, _ = reference.network_gradients(layer, weights, biases, "squared_error", x, y)
    assert ell.shape == ()

    def total():
        return 0.5 * ((reference.network_forward(layer, weights, biases, x) - y) ** 2).sum()

    for W, gradient in zip(weights, dW, strict=True):
        close(gradient, central_differences(total, W))


@pytest.mark.parametrize(
    ("name", "loss"), [("softmax", "cross_entropy"), ("sigmoid", "binary_cross_entropy")], ids=["softmax", "sigmoid"]
)
def test_compositions_end_in_the_fused_pair_too(name, loss):
    dense, activation = Dense(2, name, bias=False), Activation(name)
    ends = [
        dense,
        chain(dense),
        chain(dense, Identity()),
        chain(Dense(2, bias=False), activation),
        chain(Identity(), chain(chain(Dense(2, bias=False), activation), Identity())),
    ]
    for layer in ends:  # z = (1000, −1000), where the general form would have to stop at −log eps ≈ 36
        ell, (dW,), _ = reference.network_gradients(layer, [np.array([[1e3, -1e3]])], [None], loss, [1.0], [0.0, 1.0])
        assert ell == 2000
        assert dW.tolist() == [[1, -1]]


def test_a_chain_of_dense_layers_is_the_plain_chain():
    rng = np.random.default_rng(13)
    names = ["relu", "tanh", "softmax"]
    weights, biases = random_chain(rng, [4, 5, 6, 3])
    layer = chain(*(Dense(W.shape[1], name) for W, name in zip(weights, names, strict=True)))
    X, y = rng.normal(size=(5, 4)), rng.integers(0, 3, 5)
    np.testing.assert_array_equal(
        reference.network_forward(layer, weights, biases, X), reference.predict(weights, biases, names, X)
    )
    zs, as_ = reference.forward(weights, biases, names, X)
    deltas = reference.backward(weights, zs, as_, names, "cross_entropy", y)
    for psi in (None, 0.01):
        _, dW, db = reference.network_gradients(layer, weights, biases, "cross_entropy", X, y, psi)
        for a, delta, gW, gb in zip(as_, deltas, dW, db, strict=False):
            clipped = delta if psi is None else np.clip(delta, -psi, psi)
            np.testing.assert_allclose(gW, a.T @ clipped, rtol=1e-13, atol=1e-16)
            np.testing.assert_allclose(gb, clipped.sum(0), rtol=1e-13, atol=1e-16)


# --------------------------------------------------------------------------------------------------- PyTorch

TORCH_ACTIVATIONS = {
    "identity": lambda z: z,
    "relu": torch.relu,
    "leaky_relu": lambda z: torch.nn.functional.leaky_relu(z, ALPHA),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softmax": lambda z: torch.softmax(z, -1),
}


def torch_loss(loss, name, z, y):
    """ℓ of every sample, as PyTorch would compute it: from the logits for the natural pairs."""
    functional = torch.nn.functional
    if (loss, name) == ("cross_entropy", "softmax"):
        return functional.cross_entropy(z, y, reduction="none")
    if (loss, name) == ("binary_cross_entropy", "sigmoid"):
        return functional.binary_cross_entropy_with_logits(z, y, reduction="none").sum(-1)
    a = TORCH_ACTIVATIONS[name](z)
    if loss == "squared_error":
        return 0.5 * ((a - y) ** 2).sum(-1)
    if loss == "cross_entropy":
        return -(y * torch.log(a)).sum(-1)
    return functional.binary_cross_entropy(a, y, reduction="none").sum(-1)


def torch_train(weights, biases, names, loss, X, y, *, gammas, batch_size, reduction, clip_value, clip_norm, **sgd):
    Ws = [torch.tensor(W, requires_grad=True) for W in weights]
    bs = [torch.tensor(b, requires_grad=True) for b in biases]
    decay = sgd.pop("weight_decay")
    groups = [{"params": Ws, "weight_decay": decay}, {"params": bs, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=1.0, **sgd)
    X, y = torch.tensor(X), torch.tensor(y)
    for step, start in enumerate(range(0, len(X), batch_size)):
        a = X[start : start + batch_size]
        for W, b, name in zip(Ws, bs, names, strict=True):
            z = a @ W + b
            a = TORCH_ACTIVATIONS[name](z)
        ell = torch_loss(loss, names[-1], z, y[start : start + batch_size])
        optimizer.zero_grad()
        (ell.mean() if reduction == "mean" else ell.sum()).backward()
        if clip_value is not None:
            torch.nn.utils.clip_grad_value_(Ws + bs, clip_value)
        if clip_norm is not None:
            # PyTorch multiplies by clip / (‖g‖ + 1e-6) where that is below 1, which is exactly ours for the threshold
            # clip (1 + 1e-6 / ‖g‖): ours has no 1e-6 in it.
            norm = torch.linalg.vector_norm(torch.cat([p.grad.ravel() for p in Ws + bs])).item()
            torch.nn.utils.clip_grad_norm_(Ws + bs, clip_norm * (1 + 1e-6 / norm) if norm > clip_norm else torch.inf)
        for group in optimizer.param_groups:
            group["lr"] = gammas[step]
        optimizer.step()
    return [p.detach().numpy() for p in Ws + bs]


@pytest.mark.parametrize("batch_size", [1, 7])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"momentum": 0.9},
        {"momentum": 0.8, "nesterov": True},
        {"weight_decay": 0.1},
        {"momentum": 0.5, "nesterov": True, "weight_decay": 0.01, "clip_value": 0.2, "reduction": "sum"},
        {"clip_value": 0.05},
        {"clip_norm": 0.5},
        {"clip_norm": 0.1, "clip_value": 0.3, "momentum": 0.9, "reduction": "sum"},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("names", "loss"),
    [
        (["relu", "tanh", "identity"], "squared_error"),
        (["sigmoid", "leaky_relu", "softmax"], "cross_entropy"),
        (["tanh", "relu", "sigmoid"], "binary_cross_entropy"),
        (["leaky_relu", "softmax"], "squared_error"),
        (["tanh", "sigmoid"], "cross_entropy"),
        (["relu", "softmax"], "binary_cross_entropy"),
    ],
)
def test_steps_are_those_of_pytorch(names, loss, settings, batch_size):
    rng = np.random.default_rng(14)
    sizes = [5, *[6] * (len(names) - 1), 3]
    weights, biases = random_chain(rng, sizes)
    X, y = rng.normal(size=(40, 5)), random_targets(rng, loss, (40, 3))
    gammas = 0.1 / np.sqrt(np.arange(1, 1 + -(-40 // batch_size)))
    options = {"reduction": "mean", "clip_value": None, "clip_norm": None, "weight_decay": 0.0, **settings}
    expected = torch_train(weights, biases, names, loss, X, y, gammas=gammas, batch_size=batch_size, **options)
    before = copies(weights)
    reference.train(
        weights, biases, names, loss, X, y, learning_rate=gammas, batch_size=batch_size, alpha=ALPHA, **options
    )
    for actual, theirs, old in zip(weights + biases, expected, before + biases, strict=True):
        np.testing.assert_allclose(actual, theirs, rtol=1e-10, atol=1e-13)
        assert old is actual or np.abs(actual - old).max() > 1e-3  # there was something to compare
