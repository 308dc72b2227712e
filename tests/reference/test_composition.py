"""Compositions of the NumPy twin, checked against central differences and the plain chain."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.differences import central_differences, close, random_chain, random_targets

from cmlp import reference
from cmlp.activations import ACTIVATIONS
from cmlp.layers import Activation, Dense, Identity, add, chain, concatenate, dense_layers
from cmlp.losses import LOSSES

ALPHA = 0.3

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
