"""Steps of the optimisers, of L1 and of max-norm, against PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.cases import activations_of, relative_error, samples_for
from torch.nn import functional

import cmlp
from cmlp import SGD, Adagrad, Adam, AdamW, RMSprop, Rprop

TORCH = {
    "sgd": (SGD(0.1), torch.optim.SGD, {"lr": 0.1}),
    "momentum": (SGD(0.02, momentum=0.9), torch.optim.SGD, {"lr": 0.02, "momentum": 0.9}),
    "nesterov": (
        SGD(0.02, momentum=0.9, nesterov=True, weight_decay=0.01),
        torch.optim.SGD,
        {"lr": 0.02, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    ),
    "adam": (Adam(0.01), torch.optim.Adam, {"lr": 0.01}),
    "adam_decay": (Adam(0.01, weight_decay=0.1), torch.optim.Adam, {"lr": 0.01, "weight_decay": 0.1}),
    "amsgrad": (
        Adam(0.01, beta2=0.9, amsgrad=True),
        torch.optim.Adam,
        {"lr": 0.01, "betas": (0.9, 0.9), "amsgrad": True},
    ),
    "adamw": (AdamW(0.01, weight_decay=0.1), torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1}),
    "adamw_amsgrad": (
        AdamW(0.01, beta2=0.9, amsgrad=True),
        torch.optim.AdamW,
        {"lr": 0.01, "betas": (0.9, 0.9), "amsgrad": True, "weight_decay": 0.01},
    ),
    "rmsprop": (RMSprop(0.002), torch.optim.RMSprop, {"lr": 0.002}),
    "rmsprop_momentum": (
        RMSprop(0.001, beta=0.9, momentum=0.9, weight_decay=0.1),
        torch.optim.RMSprop,
        {"lr": 0.001, "alpha": 0.9, "momentum": 0.9, "weight_decay": 0.1},
    ),
    "rmsprop_centered": (RMSprop(0.002, centered=True), torch.optim.RMSprop, {"lr": 0.002, "centered": True}),
    "rmsprop_all": (
        RMSprop(0.001, momentum=0.5, centered=True),
        torch.optim.RMSprop,
        {"lr": 0.001, "momentum": 0.5, "centered": True},
    ),
    "adagrad": (Adagrad(0.05, weight_decay=0.01), torch.optim.Adagrad, {"lr": 0.05, "weight_decay": 0.01}),
}


class Twin:
    """The problem's network in PyTorch."""

    def __init__(self, net, kind, settings):
        self.weights = [torch.tensor(W.copy(), requires_grad=True) for W in net.weights]
        self.biases = [torch.tensor(b.copy(), requires_grad=True) for b in net.biases]
        decay = {"weight_decay": settings.pop("weight_decay")} if "weight_decay" in settings else {}
        no_decay = {"weight_decay": 0.0} if decay else {}
        groups = [{"params": self.weights, **decay}, {"params": self.biases, **no_decay}]
        self.optimizer = kind(groups, **settings)

    def step(self, X, y):
        """Take a step on a batch; return the loss before it."""
        a = torch.from_numpy(X)
        last = len(self.weights) - 1
        for k, (W, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            z = a @ W + b
            a = torch.tanh(z) if k == 0 else torch.sigmoid(z) if k < last else z
        self.optimizer.zero_grad()
        loss = functional.mse_loss(a, torch.from_numpy(y), reduction="sum") / (2 * len(X))
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def difference(self, net):
        expected = [p.detach().numpy() for p in (*self.weights, *self.biases)]
        return relative_error((*net.weights, *net.biases), expected)


@pytest.mark.parametrize("rule", TORCH)
def test_200_steps_follow_pytorch(rule):
    optimizer, kind, settings = TORCH[rule]
    net = cmlp.MLP([5, 19, 7, 3], activation=["tanh", "sigmoid", "identity"], dtype="float64", seed=1)
    assert activations_of(net) == ["tanh", "sigmoid", "identity"]
    X, y = samples_for("squared_error", np.random.default_rng(2), 80, 5, 3, "float64")
    net.optimizer = optimizer
    twin = Twin(net, kind, dict(settings))
    for t in range(200):
        rows = slice(t * 8 % 80, t * 8 % 80 + 8)
        net.partial_fit(X[rows], y[rows], batch_size=8)
        twin.step(X[rows], y[rows])
        assert twin.difference(net) < 1e-9, t
    assert net.n_steps == 200


@pytest.mark.parametrize("first", [1e-4, 0.3])
def test_rprop_follows_pytorch_until_the_loss_rises(first):
    """PyTorch's is Rprop-, which never takes a step back."""
    net = cmlp.MLP([5, 19, 7, 3], activation=["tanh", "sigmoid", "identity"], dtype="float64", seed=1)
    X, y = samples_for("squared_error", np.random.default_rng(2), 80, 5, 3, "float64")
    net.optimizer = Rprop(first)
    twin = Twin(net, torch.optim.Rprop, {"lr": first})
    losses = [np.inf]
    for t in range(200):
        net.fit(X, y, epochs=1)
        losses.append(twin.step(X, y))
        if losses[-1] > losses[-2]:
            break
        assert twin.difference(net) < 1e-9, t
    assert (t == 199) == (first == 1e-4)
    assert (twin.difference(net) > 0.01) == (first == 0.3)  # iRPROP+ went back


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_adam_follows_pytorch(dtype):
    X, y = samples_for("squared_error", np.random.default_rng(0), 200, 10, 1, dtype)
    network = cmlp.MLP([10, 32, 32, 1], activation="tanh", dtype=dtype, seed=0)
    layers = [torch.nn.Linear(*W.shape, dtype=getattr(torch, dtype)) for W in network.weights]
    for layer, W, b in zip(layers, network.weights, network.biases, strict=True):
        layer.weight.data, layer.bias.data = torch.from_numpy(W.T.copy()), torch.from_numpy(b.copy())
    model = torch.nn.Sequential(layers[0], torch.nn.Tanh(), layers[1], torch.nn.Tanh(), layers[2])
    adam = torch.optim.Adam(model.parameters(), lr=0.003)
    for i in range(0, 200, 20):
        adam.zero_grad()
        error = model(torch.from_numpy(X[i : i + 20])) - torch.from_numpy(y[i : i + 20])
        (0.5 * error.square().sum() / 20).backward()
        adam.step()
    network.fit(X, y, epochs=1, batch_size=20, order="given", optimizer=cmlp.Adam(0.003))
    tolerance = 1e-9 if dtype == "float64" else 1e-4
    for layer, W in zip(layers, network.weights, strict=True):
        expected = layer.weight.detach().numpy().T
        assert np.abs(W - expected).max() < tolerance * np.abs(expected).max()


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_l1_and_max_norm_equal_pytorch(kind):
    l1, c, rate = 0.003, 1.1, 0.01
    net = cmlp.MLP([6, 17, 3], activation="tanh", dtype="float64", seed=0)
    X, y = samples_for("squared_error", np.random.default_rng(2), 200, 6, 3, "float64")
    weights = [torch.tensor(W.copy(), requires_grad=True) for W in net.weights]
    biases = [torch.tensor(b.copy(), requires_grad=True) for b in net.biases]
    ours = SGD(rate, momentum=0.9, l1=l1, max_norm=c) if kind == "sgd" else Adam(rate, l1=l1, max_norm=c)
    theirs = torch.optim.SGD if kind == "sgd" else torch.optim.Adam
    optimizer = theirs(weights + biases, lr=rate, **({"momentum": 0.9} if kind == "sgd" else {}))
    limited = 0
    for start in range(0, 200, 5):
        x, target = torch.tensor(X[start : start + 5]), torch.tensor(y[start : start + 5])
        out = torch.tanh(x @ weights[0] + biases[0]) @ weights[1] + biases[1]
        loss = 0.5 * ((out - target) ** 2).sum(-1).mean() + l1 * sum(W.abs().sum() for W in weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for W in weights:
                limited += int((W.norm(dim=0) > c).sum())
                W.copy_(W * torch.clamp(c / W.norm(dim=0), max=1))
    net.fit(X, y, epochs=1, batch_size=5, order="given", optimizer=ours)
    assert limited > 20
    got = [p.detach().numpy() for p in weights + biases]
    assert relative_error(net.weights + net.biases, got) < 1e-10
