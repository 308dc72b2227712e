"""Steps of the NumPy twin; test_torch_steps.py holds them against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.differences import copies, random_chain

from cmlp import EMA, LBFGS, SGD, Adam, GradientDescent, Rprop, reference


def test_rprop_by_hand():
    """E = w² / 2 from w = 1: a step of Δ = 0.6; one of 3 Δ, over 0; E has risen: back; and on with half the step."""
    path = []
    for n_steps in (1, 2, 3, 4):
        W = np.array([[1.0]])
        settings = {"learning_rate": 0, "epochs": n_steps, "optimizer": Rprop(0.6, increase=3, decrease=0.5)}
        reference.train([W], [None], ["identity"], "squared_error", [[1.0]], [0.0], **settings)
        path.append(W.item())
    np.testing.assert_allclose(path, [1 - 0.6, 0.4 - 1.8, -1.4 + 1.8, 0.4 - 0.9])


@pytest.mark.parametrize(
    ("arguments", "optimizer"),
    [
        ({}, SGD()),
        ({}, GradientDescent()),
        ({"momentum": 0.9, "weight_decay": 0.1}, SGD(momentum=0.9, weight_decay=0.1)),
        ({"momentum": 0.9, "nesterov": True}, SGD(momentum=0.9, nesterov=True)),
        ({"l1": 0.1, "max_norm": 0.5}, SGD(l1=0.1, max_norm=0.5)),
        ({"adam": (0.8, 0.9, 1e-4), "weight_decay": 0.1}, Adam(beta1=0.8, beta2=0.9, eps=1e-4, weight_decay=0.1)),
    ],
    ids=str,
)
def test_arguments_are_optimisers(arguments, optimizer):
    rng = np.random.default_rng(17)
    weights, biases = random_chain(rng, [4, 3, 2])
    X, y = rng.normal(size=(9, 4)), rng.normal(size=(9, 2))
    results = []
    for chosen in (arguments, {"optimizer": optimizer}):
        W, b = copies(weights), copies(biases)
        settings = {"learning_rate": 0.1, "epochs": 2, "batch_size": 4, **chosen}
        reference.train(W, b, ["tanh", "identity"], "squared_error", X, y, **settings)
        results.append(b"".join(a.tobytes() for a in (*W, *b)))
    assert results[0] == results[1]


@pytest.mark.parametrize("optimizer", [LBFGS(), GradientDescent(line_search="exact"), SGD(averaging=EMA(0.9))], ids=str)
def test_optimisers_that_are_not_written_here_are_refused(optimizer):
    W = np.ones((1, 1))
    with pytest.raises(TypeError, match=r"no step of .* is written here"):
        reference.train([W], [None], ["tanh"], "squared_error", [[1.0]], [1.0], learning_rate=0.1, optimizer=optimizer)
    assert W == 1
