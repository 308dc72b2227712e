"""Random compositions of every shape; each must be what `cmlp.reference` says, and survive a file."""

from __future__ import annotations

import io

import numpy as np

import cmlp
from cmlp import reference
from cmlp.layers import Activation, Chain, Dense, Dropout, Identity, Layer, add, chain, concatenate
from helpers.cases import parameters_of, relative_error
from helpers.hostile_models import saved, state

SMOOTH = ["identity", "tanh", "sigmoid", "softplus", "silu", "softsign"]  # no kink between two right roundings
SHAPES = ["tree", "tall", "residual", "dense_net", "wide", "many_branches", "many_terms", "classes", "flat_output"]


def random_layer(rng: np.random.Generator, n: int, depth: int, width: int) -> Layer:
    """Return a random composition for n inputs, at most `depth` deep."""
    kind = rng.integers(9 if depth else 4)
    f = str(rng.choice(SMOOTH))
    if kind < 3:
        return Dense(int(rng.integers(1, width + 1)), f, bias=bool(rng.random() < 0.8), init="glorot_uniform")
    if kind == 3:
        return [Activation(f), Identity(), Dropout(0.3), Activation("softmax")][int(rng.integers(4))]
    if kind < 6:
        parts: list[Layer] = []
        for _ in range(int(rng.integers(1, 4))):
            parts.append(random_layer(rng, n, depth - 1, width))
            n = parts[-1].output_size(n)
        return Chain(tuple(parts))
    branches = [random_layer(rng, n, depth - 1, width) for _ in range(int(rng.integers(1, 4)))]
    if kind < 8 and sum(branch.output_size(n) for branch in branches) < 4 * width:
        return concatenate(*branches)
    out = int(rng.integers(1, width + 1))  # whatever a branch ends with, one dense layer more brings it to the width
    return add(*(chain(branch, Dense(out, bias=False, init="glorot_uniform")) for branch in branches))


def program(shape: str, rng: np.random.Generator, size: int) -> tuple[Layer, int, str]:
    """Return layers, number of inputs and loss of a network of some shape, `size` layers deep or units wide."""
    n, f = int(rng.integers(1, 6)), str(rng.choice(SMOOTH[1:]))
    few = int(rng.integers(1, 5))
    glorot = {"init": "glorot_uniform", "bias_init": "zeros"}
    if shape == "tree":
        return chain(random_layer(rng, n, 5, max(2, size // 10)), Dense(few, **glorot)), n, "squared_error"
    if shape == "tall":
        return chain(*[Dense(few, f, **glorot)] * size, Dense(2, **glorot)), n, "huber"
    if shape == "residual":
        block = add(Identity(), chain(Dense(2, f, init="zeros"), Dense(n, **glorot)))
        return chain(*[block] * (size // 2), Dense(1, "sigmoid")), n, "binary_cross_entropy"
    if shape == "dense_net":  # every layer reads all before it
        blocks = [concatenate(Identity(), Dense(1, f, **glorot)) for _ in range(min(size, 200))]
        return chain(*blocks, Dense(few, **glorot)), n, "absolute_error"
    if shape == "wide":
        return chain(Dense(size, f, **glorot), Dense(few, **glorot)), n, "squared_error"
    if shape == "many_branches":
        return chain(Dense(few), concatenate(*[Dense(1, f), Identity()] * (size // 2)), Dense(1)), n, "squared_error"
    if shape == "many_terms":
        return chain(add(*[Dense(few, f, **glorot)] * size), Dense(2, **glorot)), n, "quantile"
    if shape == "classes":
        loss = str(rng.choice(["cross_entropy", "hinge"]))
        return chain(Dense(few, f), Dense(size, "softmax" if loss == "cross_entropy" else "identity")), n, loss
    return concatenate(Dense(size), Dense(few, f)), n, "poisson" if rng.random() < 0.1 else "squared_error"


def check_program(shape: str, seed: int, size: int, *, compared: bool = True) -> cmlp.Network:
    """Make a network, predict, differentiate, learn, save and load; `compared`: with the reference, in float64."""
    rng = np.random.default_rng(seed)
    layers, n, loss = program(shape, rng, size)
    net = cmlp.Network(layers, n, loss=loss, dtype="float64" if compared else "float32", seed=seed)
    X = rng.uniform(-1, 1, (3, n))
    y = rng.integers(0, 2, (3, net.n_outputs)).astype(float) if loss != "squared_error" else rng.normal(
        size=(3, net.n_outputs)
    )  # fmt: skip
    if shape == "classes":
        y = rng.integers(0, net.n_outputs, 3)
    got = net.predict(X)
    assert got.shape == (3, net.n_outputs)
    assert np.isfinite(got).all()
    if compared and loss != "poisson":
        weights, biases = parameters_of(net)
        assert relative_error([got], [reference.network_forward(layers, weights, biases, X)]) < 1e-9
        expected = reference.network_gradients(layers, weights, biases, loss, X, y)
        gradients = net.gradients(X, y, reduction="sum")
        assert relative_error(gradients.weights, expected[1]) < 1e-7
        assert relative_error(gradients.biases, expected[2]) < 1e-7
        assert np.isclose(gradients.loss, expected[0].sum(), rtol=1e-9)
        if not net._model.drops_out:
            _learns_as_the_reference(net, layers, X[0], y[0])
    if loss != "poisson":
        net.fit(X, y, epochs=1, batch_size=2, optimizer=cmlp.SGD(1e-3, momentum=0.5))
    again = cmlp.load(io.BytesIO(saved(net)))
    assert state(again) == state(net)
    assert again.predict(X).tobytes() == net.predict(X).tobytes()
    return net


def _learns_as_the_reference(net: cmlp.Network, layers: Layer, x: np.ndarray, y: object) -> None:
    weights, biases = parameters_of(net)
    _, dW, db = reference.network_gradients(layers, weights, biases, net.loss, x, y)
    net.optimizer = cmlp.SGD(1e-3)
    net.learn_one(x, y)
    assert relative_error(net.weights, [W - 1e-3 * g for W, g in zip(weights, dW, strict=True)]) < 1e-9
    stepped = [None if b is None else b - 1e-3 * g for b, g in zip(biases, db, strict=True)]
    assert relative_error(net.biases, stepped) < 1e-9
