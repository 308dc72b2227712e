"""The same training in cmlp and in PyTorch, from the same weights: the same weights come out.

The measure is the largest difference of any weight, relative to the largest weight of its array: single entries may
pass through 0, where a relative error of their own says nothing. Learning rates are small enough for training to be
stable, so that rounding errors are not amplified.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.cases import FLOATS, activations_of, needs_one_hot, random_mlp, relative_error, samples_for
from torch.nn import functional

import cmlp
from cmlp.losses import LOSSES

TOLERANCE = {"float32": 1e-4, "float64": 1e-10}

ACTIVATIONS = {
    "identity": lambda z: z,
    "relu": torch.relu,
    "leaky_relu": lambda z: functional.leaky_relu(z, 0.01),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softmax": lambda z: torch.softmax(z, -1),
}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Twin:
    """A copy of an MLP in PyTorch: loss by its functions, gradients by its autograd, steps by its optimiser."""

    def __init__(self, net, **sgd):
        self.loss = net.loss
        self.names = activations_of(net)
        self.weights = [torch.tensor(W.copy(), requires_grad=True) for W in net.weights]
        self.biases = [None if b is None else torch.tensor(b.copy(), requires_grad=True) for b in net.biases]
        decay = sgd.pop("weight_decay", 0.0)
        self.parameters = [*self.weights, *(b for b in self.biases if b is not None)]
        groups = [{"params": self.weights, "weight_decay": decay}, {"params": self.parameters[len(self.weights) :]}]
        self.optimizer = torch.optim.SGD(groups, **sgd)

    def losses(self, X, y):
        """Return ℓ of every row."""
        a = torch.as_tensor(X)
        for W, b, name in zip(self.weights, self.biases, self.names, strict=True):
            z = a @ W if b is None else a @ W + b
            a = ACTIVATIONS[name](z)
        y = torch.as_tensor(y)
        if self.loss == "squared_error":
            return 0.5 * ((a - y) ** 2).sum(-1)
        if self.loss == "cross_entropy":
            logs = torch.log_softmax(z, -1) if self.names[-1] == "softmax" else torch.log(a)
            return functional.nll_loss(logs, y, reduction="none")
        if self.names[-1] == "sigmoid":
            return functional.binary_cross_entropy_with_logits(z, y, reduction="none").sum(-1)
        return functional.binary_cross_entropy(a, y, reduction="none").sum(-1)

    def fit(self, X, y, *, batch_size=1, clip_value=None, clip_norm=None):
        for start in range(0, len(X), batch_size):
            rows = slice(start, start + batch_size)
            self.optimizer.zero_grad()
            self.losses(X[rows], y[rows]).mean().backward()
            if clip_value is not None:
                torch.nn.utils.clip_grad_value_(self.parameters, clip_value)
            if clip_norm is not None:
                norm = torch.nn.utils.clip_grad_norm_(self.parameters, clip_norm)
                if norm > clip_norm:  # torch scaled by clip / (norm + 1e-6), cmlp does by clip / norm
                    for p in self.parameters:
                        p.grad *= (norm + 1e-6) / norm
            self.optimizer.step()

    def difference(self, net):
        arrays = [None if p is None else p.detach().numpy() for p in self.weights + self.biases]
        return relative_error(net.weights + net.biases, arrays)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("architecture", range(20))
def test_500_steps_of_sgd_give_the_same_weights(architecture, dtype):
    rng = np.random.default_rng(architecture)
    loss = list(LOSSES)[architecture % 3]
    net = random_mlp(rng, dtype, loss=loss, hidden_layers=1 + architecture % 4)
    X, y = samples_for(loss, rng, 500, net.n_inputs, net.n_outputs, dtype, one_hot=needs_one_hot(net))
    twin = Twin(net, lr=0.005)
    before = net.weights[-1].copy()
    net.fit(X, y, epochs=1, order="given", optimizer=cmlp.SGD(0.005))
    twin.fit(X, y)
    assert net.n_steps == 500
    assert relative_error([net.weights[-1]], [before]) > 10 * TOLERANCE[dtype]  # there was something to differ in
    assert twin.difference(net) < TOLERANCE[dtype]


SETTINGS = {
    "momentum": ({"momentum": 0.9}, {}),
    "nesterov": ({"momentum": 0.8, "nesterov": True}, {}),
    "weight_decay": ({"weight_decay": 0.05}, {}),
    "all_of_sgd": ({"momentum": 0.5, "nesterov": True, "weight_decay": 0.01}, {"batch_size": 7}),
    "mini_batches": ({}, {"batch_size": 8}),
    "clip_value": ({}, {"clip_value": 0.02, "batch_size": 4}),
    "clip_norm": ({"momentum": 0.5}, {"clip_norm": 0.1}),
    "clip_both": ({}, {"clip_value": 0.05, "clip_norm": 0.2, "batch_size": 3}),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_of_the_update_gives_the_same_weights(setting, loss, dtype):
    sgd, fit = SETTINGS[setting]
    net = cmlp.MLP([6, 17, 9, 4], activation=["tanh", "sigmoid"], loss=loss, dtype=dtype, seed=1)
    X, y = samples_for(loss, np.random.default_rng(2), 100, 6, 4, dtype)
    twin = Twin(net, lr=0.02, **sgd)
    net.fit(X, y, epochs=1, order="given", optimizer=cmlp.SGD(0.02, **sgd), **fit)
    twin.fit(X, y, **fit)
    assert twin.difference(net) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", FLOATS)
def test_shuffled_training_visits_each_sample_once(dtype):
    net = random_mlp(np.random.default_rng(0), dtype, loss="squared_error")
    X, y = samples_for("squared_error", np.random.default_rng(1), 40, net.n_inputs, net.n_outputs, dtype)
    twin = Twin(net, lr=0.01)
    net.fit(X, y, epochs=1, batch_size=None, optimizer=cmlp.SGD(0.01))  # in one batch, order does not matter
    twin.fit(X, y, batch_size=40)
    assert twin.difference(net) < TOLERANCE[dtype] / 10
