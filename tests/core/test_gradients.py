"""Compiled gradients against central differences and against the reference; the semantics of clipping δ."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.cases import (
    BOUNDED_GROWTH,
    COMPOSITIONS,
    FLOATS,
    LAYOUTS,
    OUTPUTS,
    flat,
    parameters_of,
    relative_error,
    samples_for,
    use_layout,
)

import cmlp
from cmlp import reference
from cmlp.activations import ACTIVATIONS
from cmlp.layers import Activation, Dense, chain
from cmlp.losses import LOSSES, CrossEntropy, Huber, Quantile, loss_name

PAIRS = [(loss, f) for loss in LOSSES for f in OUTPUTS[loss]]


def central_differences(net, X, y, step=1e-6, **options):
    """Return ∂E/∂w ≈ (E(w + h) - E(w - h)) / 2h for all weights, then all biases."""
    derivatives = []
    for array in (*net.weights, *net.biases):
        if array is None:
            continue
        for index in np.ndindex(array.shape):
            w = array[index]
            array[index] = w + step
            above = net.gradients(X, y, **options).loss
            array[index] = w - step
            below = net.gradients(X, y, **options).loss
            array[index] = w
            derivatives.append((above - below) / (2 * step))
    return np.array(derivatives)


def assert_gradients_are_derivatives(net, X, y, **options):
    gradients = net.gradients(X, y, **options)
    numbers = central_differences(net, X, y, **options)
    analytic = flat(gradients.weights + gradients.biases)
    assert np.abs(analytic).max() > 1e-4, "a gradient of zeros would show nothing"
    np.testing.assert_allclose(analytic, numbers, rtol=2e-6, atol=2e-7 * max(1, np.abs(numbers).max()))


# --------------------------------------------------------------------------------------- central differences


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("hidden", ACTIVATIONS)
@pytest.mark.parametrize(("loss", "output"), PAIRS)
def test_gradient_is_the_derivative_for_every_activation_and_loss(loss, output, hidden, bias):
    rng = np.random.default_rng(7)
    net = cmlp.MLP([4, 5, 3], activation=[hidden, output], loss=loss, bias=bias, alpha=0.2, dtype="float64", seed=6)
    X, y = samples_for(loss, rng, 3, 4, 3, "float64")
    assert_gradients_are_derivatives(net, X, y)


# Net inputs at which every activation is in (0, 1), where every loss is defined, and smooth.
INSIDE = {"exp": (-1.5, -0.5), "softplus": (-1.5, -0.5), "hard_sigmoid": (-2.5, 2.5)}
TARGETS = {
    "cross_entropy": [[0.0, 0.0, 1.0], [0.7, 0.1, 0.2]],
    "binary_cross_entropy": [[0.0, 1.0, 1.0], [0.7, 0.1, 0.2]],
    "poisson": [[0.0, 3.0, 1.0], [2.0, 0.0, 7.0]],
    "hinge": [[-1.0, 1.0, 1.0], [1.0, -1.0, 1.0]],
}


@pytest.mark.parametrize("output", ACTIVATIONS)
@pytest.mark.parametrize(
    "loss", [*LOSSES, Huber(0.3), Quantile(0.1), Quantile(0.8), CrossEntropy(0.2), CrossEntropy(0.9)], ids=str
)
def test_gradient_is_the_derivative_for_every_output_activation_and_loss(loss, output):
    z_min, z_max = INSIDE.get(output, (0.2, 0.9))
    W = np.linspace(z_min, z_max, 6).reshape(2, 3)  # one row for each sample: z = W, but for rounding
    net = cmlp.MLP([2, 3], activation=[output], loss=loss, init=[W], bias_init="zeros", alpha=0.4, dtype="float64")
    y = np.array(TARGETS.get(loss_name(loss), [[-1.0, 0.05, 3.0], [0.05, 7.0, -2.0]]))
    assert_gradients_are_derivatives(net, np.eye(2), y, sample_weight=[0.5, 2.0])
    ell, delta = reference.loss_and_delta(loss, output, W, reference.activate(output, W, 0.4), y, 0.4)
    got = net.gradients(np.eye(2), y, reduction="sum")
    assert got.loss == pytest.approx(ell.sum(), rel=1e-13)
    np.testing.assert_allclose(np.array(got.deltas[0]), delta, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("f", BOUNDED_GROWTH)
def test_gradient_is_the_derivative_with_activations_of_their_own(f):
    layers = chain(Activation(f, 0.4), Dense(4), Activation(f, 0.4), Dense(2, f, alpha=0.4))  # the first reads x itself
    net = cmlp.Network(layers, 3, dtype="float64", seed=2)
    assert_gradients_are_derivatives(net, *samples_for("squared_error", np.random.default_rng(1), 3, 3, 2, "float64"))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("f", [f for f in ACTIVATIONS if f != "softmax"])
def test_derivatives_of_activations_equal_the_reference_far_out(simd_level, f, dtype):
    z = np.concatenate([np.linspace(-12, 12, 481), np.geomspace(1e-30, 60, 100), -np.geomspace(1e-30, 1e4, 100)])
    z = z[np.abs(np.abs(z) - 3) > 1e-4].astype(dtype)  # hard_sigmoid has kinks there
    net = cmlp.MLP([1, len(z)], activation=[f], loss="absolute_error", init=[z[None]], bias=False, dtype=dtype)
    a = net.predict([[1.0]])
    got = net.gradients([[1.0]], np.nextafter(a, -np.inf, dtype=dtype)).deltas[0][0]  # ŷ > y: ∂ℓ/∂ŷ = 1
    wide = z.astype(float)
    exact = reference.activation_vjp(f, wide, reference.activate(f, wide), np.ones(len(z)))
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(got, exact, rtol=20 * eps, atol=4 * eps)


@pytest.mark.parametrize(("loss", "output"), [("cross_entropy", "relu"), ("binary_cross_entropy", "identity")])
def test_gradient_is_the_derivative_where_an_unbounded_output_is_in_the_domain(loss, output):
    X, y = np.array([[0.5], [0.8]]), np.array([[0.0, 1.0], [1.0, 0.0]])
    net = cmlp.MLP([1, 2], activation=[output], loss=loss, init=[[[0.3, 0.6]]], bias_init=[[0.1, 0.2]], dtype="float64")
    assert_gradients_are_derivatives(net, X, y)


@pytest.mark.parametrize("activation", ["leaky_relu", "tanh"])
@pytest.mark.parametrize("composition", COMPOSITIONS)
def test_gradient_is_the_derivative_for_every_composition(composition, activation):
    net = cmlp.Network(COMPOSITIONS[composition](activation), 5, dtype="float64", seed=3)
    X, y = samples_for("squared_error", np.random.default_rng(1), 2, 5, net.n_outputs, "float64")
    assert_gradients_are_derivatives(net, X, y)


@pytest.mark.parametrize(
    ("loss", "output"), [("cross_entropy", "softmax"), ("binary_cross_entropy", "sigmoid"), ("poisson", "exp")]
)
@pytest.mark.parametrize("composition", ["concatenate_output", "add_output", "chain", "concatenate_of_adds"])
def test_gradient_is_the_derivative_of_fused_losses_behind_any_composition(composition, loss, output):
    layers = chain(COMPOSITIONS[composition]("tanh"), Activation(output))
    net = cmlp.Network(layers, 5, loss=loss, dtype="float64", seed=3)
    X, y = samples_for(loss, np.random.default_rng(1), 2, 5, net.n_outputs, "float64")
    assert_gradients_are_derivatives(net, X, y)


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy", CrossEntropy(0.3)], ids=str)
def test_gradient_is_the_derivative_for_soft_targets(loss):
    net = cmlp.MLP([4, 5, 3], activation="tanh", loss=loss, dtype="float64", seed=5)
    X = np.random.default_rng(0).normal(size=(2, 4))
    y = np.array([[0.5, 0.2, 0.3], [0.1, 0.7995, 0.1]])  # the second sums to 1 within what targets may
    assert_gradients_are_derivatives(net, X, y)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gradient_is_the_derivative_with_sample_weights(reduction):
    net = cmlp.MLP([4, 5, 3], activation="tanh", loss="cross_entropy", dtype="float64", seed=5)
    X, y = samples_for("cross_entropy", np.random.default_rng(0), 4, 4, 3, "float64")
    assert_gradients_are_derivatives(net, X, y, sample_weight=[0.5, 2.0, 0.0, 1.0], reduction=reduction)


# ------------------------------------------------------------------------------------------- the reference


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("composition", COMPOSITIONS)
def test_gradient_equals_the_reference(simd_level, composition, dtype, layout, monkeypatch):
    use_layout(monkeypatch, layout)
    tolerance = 2e-5 if dtype == "float32" else 5e-13
    rng = np.random.default_rng(2)
    for activation in BOUNDED_GROWTH:  # exp of exp of ... overflows
        layers = COMPOSITIONS[composition](activation)
        net = cmlp.Network(layers, 5, dtype=dtype, seed=3)
        X, y = samples_for("squared_error", rng, 3, 5, net.n_outputs, dtype)
        weights, biases = parameters_of(net)
        losses, dW, db = reference.network_gradients(layers, weights, biases, "squared_error", X, y)
        got = net.gradients(X, y, reduction="sum")
        assert relative_error(got.weights, dW) < tolerance
        assert relative_error(got.biases, db) < tolerance
        assert got.loss == pytest.approx(losses.sum(), rel=tolerance)


def test_mean_is_the_sum_divided_by_the_number_of_samples():
    net = cmlp.MLP([3, 4, 2], seed=0, dtype="float64")
    X, y = samples_for("squared_error", np.random.default_rng(0), 5, 3, 2, "float64")
    mean, total = net.gradients(X, y), net.gradients(X, y, reduction="sum")
    assert mean.loss == pytest.approx(total.loss / 5, rel=1e-15)
    np.testing.assert_allclose(flat(mean.weights), flat(total.weights) / 5, rtol=1e-12)


def test_a_sample_weight_of_two_equals_the_sample_twice():
    net = cmlp.MLP([3, 4, 2], seed=0, dtype="float64")
    X, y = samples_for("squared_error", np.random.default_rng(0), 3, 3, 2, "float64")
    weighted = net.gradients(X, y, sample_weight=[1, 2, 0], reduction="sum")
    doubled = net.gradients(X[[0, 1, 1]], y[[0, 1, 1]], reduction="sum")
    np.testing.assert_allclose(flat(weighted.weights), flat(doubled.weights), rtol=1e-13)
    assert weighted.loss == pytest.approx(doubled.loss)


def test_gradients_show_what_they_are_made_of():
    net = cmlp.MLP([3, 4, 2], activation="tanh", seed=0, dtype="float64")
    X, y = samples_for("squared_error", np.random.default_rng(0), 5, 3, 2, "float64")
    g = net.gradients(X, y, reduction="sum")
    weights, biases = parameters_of(net)
    zs, as_ = reference.forward(weights, biases, ["tanh", "identity"], X)
    deltas = reference.backward(weights, zs, as_, ["tanh", "identity"], "squared_error", y)
    assert relative_error(g.net_inputs, zs) < 1e-14
    assert relative_error(g.activations, as_[1:]) < 1e-14
    assert relative_error(g.deltas, deltas) < 1e-13
    for k in range(2):  # ∂ℓ/∂W_k = Σ a_{k-1} δ_kᵀ, ∂ℓ/∂b_k = Σ δ_k
        np.testing.assert_allclose(g.weights[k], as_[k].T @ g.deltas[k], rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(g.biases[k], g.deltas[k].sum(0), rtol=1e-12, atol=1e-14)


def test_gradients_change_neither_parameters_nor_later_training():
    X, y = samples_for("squared_error", np.random.default_rng(0), 5, 3, 2, "float64")
    nets = [cmlp.MLP([3, 4, 2], seed=0, dtype="float64", optimizer=cmlp.SGD(0.1, momentum=0.9)) for _ in "ab"]
    nets[0].partial_fit(X, y).gradients(X, y)
    nets[1].partial_fit(X, y)
    for net in nets:
        net.partial_fit(X, y)
    np.testing.assert_array_equal(flat(nets[0].weights), flat(nets[1].weights))


# ------------------------------------------------------------------------------------------- clipping of δ


def two_neurons():
    """x -> 3x -> 2(3x), all linear: ŷ = 6x, δ_2 = 6x - y and δ_1 = 2 δ_2 by hand."""
    return cmlp.MLP(
        [1, 1, 1], activation="identity", init=[[[3.0]], [[2.0]]], bias_init=[[0.0], [0.0]], dtype="float64"
    )


def test_the_propagated_delta_is_unclipped_and_the_update_is_clipped():
    net = two_neurons()
    net.weights[1][...] = 0.1  # x = 1, y = -2: ŷ = 0.3, δ_2 = 2.3, δ_1 = 0.1 δ_2 = 0.23; clipped to ψ = 1: δ_2 only
    history = net.fit([[1.0]], [[-2.0]], epochs=1, optimizer=cmlp.SGD(1.0), clip_delta=1.0)
    assert history.clipped == [1]
    assert net.weights[1].item() == pytest.approx(0.1 - 3 * 1.0)  # a_1 = 3 times the clipped δ_2
    assert net.weights[0].item() == pytest.approx(3 - 0.23)  # from the unclipped δ_2; from the clipped one 3 - 0.1


def test_every_layer_is_clipped():
    net = two_neurons()  # x = 1, y = 5: ŷ = 6, δ_2 = 1, δ_1 = 2
    history = net.fit([[1.0]], [[5.0]], epochs=1, optimizer=cmlp.SGD(0.1), clip_delta=0.75)
    assert history.clipped == [2]
    assert net.weights[1].item() == pytest.approx(2 - 0.1 * 3 * 0.75)
    assert net.weights[0].item() == pytest.approx(3 - 0.1 * 1 * 0.75)
    assert (net.biases[0].item(), net.biases[1].item()) == pytest.approx((-0.075, -0.075))


def test_the_propagated_delta_uses_the_weights_before_the_update():
    net = two_neurons()  # δ_1 = W_2 δ_2 with W_2 = 2, although W_2 becomes 2 - 0.1 · 3 in the same step
    net.learn_one([1.0], [5.0])
    assert net.weights[0].item() == pytest.approx(3 - 0.01 * 2)


def test_negative_deltas_are_clipped_from_below():
    net = cmlp.MLP([1, 1], init="zeros", bias_init="zeros", dtype="float64")
    history = net.fit([[2.0]], [[9.0]], epochs=1, optimizer=cmlp.SGD(1.0), clip_delta=0.5)
    assert (net.weights[0].item(), net.biases[0].item(), history.clipped) == (1.0, 0.5, [1])


def test_a_delta_at_the_threshold_is_not_counted():
    net = cmlp.MLP([1, 1], init="zeros", bias_init="zeros", dtype="float64")
    assert net.fit([[2.0]], [[9.0]], epochs=1, clip_delta=9.0).clipped == [0]


def test_the_sample_weight_acts_before_delta_is_clipped():
    net = cmlp.MLP([1, 1], init="zeros", bias_init="zeros", dtype="float64")
    net.fit([[1.0]], [[1.0]], epochs=1, optimizer=cmlp.SGD(1.0), clip_delta=2.0, sample_weight=[3.0])
    assert net.weights[0].item() == 2.0  # s δ = -3, clipped to -2


def test_the_deltas_of_a_batch_are_clipped_sample_by_sample():
    net = cmlp.MLP([1, 1], init="zeros", bias_init="zeros", dtype="float64")  # δ = -y
    X, y = [[1.0], [1.0]], [[10.0], [-1.0]]
    history = net.fit(X, y, epochs=1, batch_size=2, optimizer=cmlp.SGD(1.0), clip_delta=2.0, reduction="sum")
    assert net.weights[0].item() == 2.0 - 1.0
    assert history.clipped == [1]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("composition", COMPOSITIONS)
def test_clipped_gradient_equals_the_reference(composition, dtype, layout, monkeypatch):
    use_layout(monkeypatch, layout)
    rng = np.random.default_rng(2)
    layers = COMPOSITIONS[composition]("tanh")
    net = cmlp.Network(layers, 5, dtype=dtype, seed=3)
    X, y = samples_for("squared_error", rng, 3, 5, net.n_outputs, dtype)
    weights, biases = parameters_of(net)
    expected_W, expected_b = [0.0] * len(weights), [0.0] * len(weights)
    for x_c, y_c in zip(X, y, strict=True):  # γ = 1, one batch: w - Σ of the samples' clipped gradients
        _, dW, db = reference.network_gradients(layers, weights, biases, "squared_error", x_c, y_c, clip_delta=0.1)
        expected_W = [a + b for a, b in zip(expected_W, dW, strict=True)]
        expected_b = [None if b is None else a + b for a, b in zip(expected_b, db, strict=True)]
    history = net.fit(
        X, y, epochs=1, order="given", batch_size=None, reduction="sum", optimizer=cmlp.SGD(1.0), clip_delta=0.1
    )
    assert history.clipped[0] > 0
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    assert relative_error([a - b for a, b in zip(weights, net.weights, strict=True)], expected_W) < tolerance
    steps = [None if a is None else a - b for a, b in zip(biases, net.biases, strict=True)]
    assert relative_error(steps, expected_b) < tolerance


def test_one_sample_by_the_gradient_equals_the_direct_update():
    dense = Dense(3, "tanh")  # used twice: two layers, with weights of their own
    for layers in (chain(dense, dense, Dense(2)), COMPOSITIONS["residual"]("tanh")):
        net = cmlp.Network(layers, 5, dtype="float64", seed=0)
        X, y = samples_for("squared_error", np.random.default_rng(0), 1, 5, net.n_outputs, "float64")
        gradients = net.gradients(X, y)
        before = flat(net.weights)
        net.fit(X, y, epochs=1, optimizer=cmlp.SGD(0.5))
        np.testing.assert_allclose(flat(net.weights), before - 0.5 * flat(gradients.weights), rtol=1e-12)
