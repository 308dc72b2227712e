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
from cmlp.losses import LOSSES, CrossEntropy, Huber, Quantile, loss_name, loss_parameter

TOLERANCE = {"float32": 1e-4, "float64": 1e-10}

ACTIVATIONS = {
    "identity": lambda z: z,
    "relu": torch.relu,
    "leaky_relu": lambda z: functional.leaky_relu(z, 0.01),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softmax": lambda z: torch.softmax(z, -1),
    "elu": functional.elu,
    "selu": functional.selu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "softplus": lambda z: functional.softplus(z, threshold=100),  # from there on, PyTorch takes z itself
    "hard_sigmoid": lambda z: functional.relu6(z + 3) / 6,  # functional.hardsigmoid rounds its 1/6 to float32
    "softsign": functional.softsign,
    "exp": torch.exp,
}


def losses_by_torch(loss, output, z, a, y):
    """Return ℓ of every row by PyTorch's functions, from z where it has a stable form of that."""
    name, parameter = loss_name(loss), loss_parameter(loss)
    if name == "squared_error":
        return 0.5 * ((a - y) ** 2).sum(-1)
    if name == "absolute_error":
        return functional.l1_loss(a, y, reduction="none").sum(-1)
    if name == "huber":
        return functional.huber_loss(a, y, reduction="none", delta=parameter).sum(-1)
    if name == "quantile":
        return torch.maximum(parameter * (y - a), (parameter - 1) * (y - a)).sum(-1)
    if name == "poisson":
        from_z = output == "exp"
        ell = functional.poisson_nll_loss(z if from_z else a, y, log_input=from_z, eps=0, reduction="none")
        return ell.sum(-1)
    if name == "hinge":
        yes = functional.one_hot(y, a.shape[-1]) if y.ndim == 1 else y
        return torch.relu(1 - torch.where(yes > 0, 1, -1) * a).sum(-1)
    if name == "cross_entropy" and output == "softmax":
        return functional.cross_entropy(z, y, reduction="none", label_smoothing=parameter)
    if name == "cross_entropy":
        return functional.nll_loss(torch.log(a), y, reduction="none")
    if output == "sigmoid":
        return functional.binary_cross_entropy_with_logits(z, y, reduction="none").sum(-1)
    return functional.binary_cross_entropy(a, y, reduction="none").sum(-1)


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
        return losses_by_torch(self.loss, self.names[-1], z, a, torch.as_tensor(y))

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
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_and_its_derivative(name, dtype):
    z = np.linspace(-30, 30, 1001 if name != "softmax" else 7).astype(dtype)
    net = cmlp.MLP([1, len(z)], activation=[name], init=[z[None]], bias=False, dtype=dtype)
    y = np.full((1, len(z)), 0.25, dtype)
    at = torch.tensor(z[None], requires_grad=True)
    a = ACTIVATIONS[name](at)
    (0.5 * ((a - torch.as_tensor(y)) ** 2).sum()).backward()
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(net.predict([[1]]), a.detach().numpy(), rtol=20 * eps, atol=4 * eps)
    delta, theirs = net.gradients([[1]], y).deltas[0], at.grad.numpy()
    np.testing.assert_allclose(delta, theirs, rtol=100 * eps, atol=20 * eps)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("output", [None, "softplus", "sigmoid"])
@pytest.mark.parametrize("loss", [*LOSSES, Huber(0.3), Quantile(0.9), CrossEntropy(0.1), CrossEntropy(0.7)], ids=str)
def test_a_loss_and_its_derivative(loss, output, dtype):
    if output == "softplus" and loss == "binary_cross_entropy":
        output = None  # not defined beyond 1
    if isinstance(loss, CrossEntropy):
        output = None  # PyTorch has no label smoothing without softmax
    net = cmlp.MLP([4, 5], loss=loss, output_activation=output, dtype=dtype, seed=0)
    X, y = samples_for(loss_name(loss), np.random.default_rng(0), 30, 4, 5, dtype)
    z = torch.tensor(X @ net.weights[0] + net.biases[0], requires_grad=True)
    name = activations_of(net)[-1]
    ell = losses_by_torch(loss, name, z, ACTIVATIONS[name](z), torch.as_tensor(y)).sum()
    ell.backward()
    got = net.gradients(X, y, reduction="sum")
    rtol = TOLERANCE[dtype] / 10
    assert got.loss == pytest.approx(ell.item(), rel=rtol)
    np.testing.assert_allclose(got.deltas[0], z.grad.numpy(), rtol=rtol, atol=rtol)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("architecture", range(20))
def test_500_steps_of_sgd_give_the_same_weights(architecture, dtype):
    rng = np.random.default_rng(300 + architecture)
    loss = list(LOSSES)[architecture % len(LOSSES)]
    net = random_mlp(rng, dtype, loss=loss, hidden_layers=1 + architecture % 4)
    X, y = samples_for(loss, rng, 500, net.n_inputs, net.n_outputs, dtype, one_hot=needs_one_hot(net))
    if loss in ("absolute_error", "quantile"):
        y += 9  # out of reach: near ŷ = y, rounding decides about the sign of the derivative
    twin = Twin(net, lr=0.003)
    before = net.weights[-1].copy()
    net.fit(X, y, epochs=1, order="given", optimizer=cmlp.SGD(0.003))
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
