"""Steps of the NumPy twin, checked against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.differences import copies, random_chain, random_targets

from cmlp import SGD, Adagrad, Adam, AdamW, RMSprop, reference

ALPHA = 0.3

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


OPTIMIZERS = {
    "nesterov": (SGD(momentum=0.9, nesterov=True, weight_decay=0.1), "SGD"),
    "adam": (Adam(weight_decay=0.1), "Adam"),
    "amsgrad": (Adam(beta1=0.8, beta2=0.9, eps=1e-6, amsgrad=True), "Adam"),
    "adamw": (AdamW(weight_decay=0.5, amsgrad=True, beta2=0.9), "AdamW"),
    "rmsprop": (RMSprop(beta=0.9, weight_decay=0.1), "RMSprop"),
    "rmsprop_centered": (RMSprop(beta=0.8, eps=1e-4, momentum=0.5, centered=True), "RMSprop"),
    "adagrad": (Adagrad(weight_decay=0.1), "Adagrad"),
}


def torch_steps(optimizer, kind, weights, biases, X, y, rate, size):
    """The weights and biases after training X W + b with PyTorch's optimiser of the same settings."""
    names = ("momentum", "nesterov", "eps", "amsgrad", "centered")
    same = {name: getattr(optimizer, name) for name in names if hasattr(optimizer, name)}
    if hasattr(optimizer, "beta1"):
        same["betas"] = (optimizer.beta1, optimizer.beta2)
    if hasattr(optimizer, "beta"):
        same["alpha"] = optimizer.beta
    W, b = (torch.tensor(a, requires_grad=True) for a in (weights[0], biases[0]))
    groups = [{"params": [W], "weight_decay": optimizer.weight_decay}, {"params": [b], "weight_decay": 0.0}]
    twin = getattr(torch.optim, kind)(groups, lr=rate, **same)
    X, y = torch.tensor(X), torch.tensor(y)
    for i in range(0, len(X), size):
        twin.zero_grad()
        (0.5 * ((X[i : i + size] @ W + b - y[i : i + size]) ** 2).sum(-1)).mean().backward()
        twin.step()
    return W.detach().numpy(), b.detach().numpy()


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimiser_steps_as_pytorchs(name, size):
    rng = np.random.default_rng(16)
    weights, biases = random_chain(rng, [5, 3])
    X, y = rng.normal(size=(80, 5)), rng.normal(size=(80, 3))
    optimizer, kind = OPTIMIZERS[name]
    W, b = torch_steps(optimizer, kind, weights, biases, X, y, 0.05, size)
    assert np.abs(W - weights[0]).max() > 0.1
    settings = {"learning_rate": 0.05, "batch_size": size, "optimizer": optimizer}
    reference.train(weights, biases, ["identity"], "squared_error", X, y, **settings)
    np.testing.assert_allclose(weights[0], W, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(biases[0], b, rtol=1e-10, atol=1e-12)
