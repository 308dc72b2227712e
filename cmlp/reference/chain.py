"""Plain chains of layers: forward, backward, prediction, and training by stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cmlp.losses import Loss
from cmlp.optimizers import SGD, Adam, SteppingOptimizer
from cmlp.reference.functions import ACTIVATIONS, Array, loss_and_delta, output_error, target_rows
from cmlp.reference.steps import Arrays, Biases, Steps, gradients


@np.errstate(all="ignore")
def forward(
    weights: Arrays, biases: Biases, activations: Sequence[str], x: Array, alpha: float | None = None
) -> tuple[list[Array], list[Array]]:
    """Run a chain forward: z_k = W_kᵀ a_{k-1} + b_k and a_k = f_k(z_k), k = 1..N, from a_0 = x.

    Parameters
    ----------
    weights, biases : sequences of N arrays, (n_{k-1}, n_k) and (n_k,)
        W_k and b_k; None in place of b_k for a layer without a bias.
    activations : sequence of N str
        The name of every f_k.
    x : array of shape (n,) or (B, n)
        A sample, or a block of them, in the dtype of the weights.
    alpha : float, optional
        As in `activate`.

    Returns
    -------
    zs, as_ : lists of arrays
        [z_1, ..., z_N] and [a_0, a_1, ..., a_N].

    Examples
    --------
    >>> weights, biases = [np.eye(2), np.ones((2, 1))], [None, np.ones(1)]
    >>> zs, as_ = forward(weights, biases, ["relu", "identity"], np.array([2.0, -3.0]))
    >>> [a.tolist() for a in as_]
    [[2.0, -3.0], [2.0, 0.0], [3.0]]
    """
    return run(weights, biases, activations, x, alpha)


def run(
    weights: Arrays, biases: Biases, activations: Sequence[str], x: Array, alpha: float | None = None
) -> tuple[list[Array], list[Array]]:
    """Do what `forward` does; NumPy may warn of what is not finite.

    Examples
    --------
    >>> run([np.eye(1)], [None], ["relu"], np.ones(1))
    ([array([1.])], [array([1.]), array([1.])])
    """
    zs, as_ = [], [x]
    for W, b, name in zip(weights, biases, activations, strict=True):
        z = as_[-1].dot(W)  # a @ W is the same, but takes twice as long to start
        if b is not None:
            z += b
        f, _ = ACTIVATIONS[name]
        zs.append(z)
        as_.append(f(z, alpha))
    return zs, as_


def propagate(
    weights: Arrays, zs: Arrays, as_: Arrays, activations: Sequence[str], delta: Array, alpha: float | None = None
) -> list[Array]:
    """Return all error terms, given the last: δ_k = (W_{k+1} δ_{k+1}) ⊙ f'_k(z_k), k = N−1 .. 1.

    Examples
    --------
    >>> propagate([np.eye(1), np.eye(1) * 2], [np.ones(1)] * 2, [np.ones(1)] * 3, ["identity"] * 2, np.ones(1))
    [array([2.]), array([1.])]
    """
    deltas = [delta]
    for k in range(len(zs) - 2, -1, -1):
        _, vjp = ACTIVATIONS[activations[k]]
        delta = vjp(zs[k], as_[k + 1], delta.dot(weights[k + 1].T), alpha)
        deltas.append(delta)
    deltas.reverse()
    return deltas


@np.errstate(all="ignore")
def backward(
    weights: Arrays,
    zs: Arrays,
    as_: Arrays,
    activations: Sequence[str],
    loss: str | Loss,
    y: ArrayLike,
    alpha: float | None = None,
) -> list[Array]:
    """Run a chain backward after `forward`: return the error terms [δ_1, ..., δ_N], not clipped.

    They give the gradients at once, ∂ℓ/∂W_k = a_{k-1} δ_kᵀ and ∂ℓ/∂b_k = δ_k. The target `y` has the shape of
    the output, or is one class index per sample.

    Examples
    --------
    >>> weights, activations = [np.eye(2), np.ones((2, 1))], ["relu", "identity"]
    >>> zs, as_ = forward(weights, [None, None], activations, np.array([2.0, -3.0]))
    >>> [delta.tolist() for delta in backward(weights, zs, as_, activations, "squared_error", [1.5])]
    [[0.5, 0.0], [0.5]]
    """
    y = target_rows(loss, y, zs[-1].shape, zs[-1].dtype)
    _, delta = loss_and_delta(loss, activations[-1], zs[-1], as_[-1], y, alpha)
    return propagate(weights, zs, as_, activations, delta, alpha)


@np.errstate(all="ignore")
def predict(
    weights: Arrays, biases: Biases, activations: Sequence[str], X: ArrayLike, alpha: float | None = None
) -> Array:
    """Return the output ŷ of a chain, (n_N,) or (M, n_N), for a sample (n,) or samples (M, n).

    Examples
    --------
    >>> predict([np.array([[2.0]])], [np.array([1.0])], ["identity"], [[3.0], [4.0]]).tolist()
    [[7.0], [9.0]]
    """
    return forward(weights, biases, activations, np.asarray(X, weights[0].dtype), alpha)[1][-1]


@np.errstate(all="ignore")
def train(
    weights: Arrays,
    biases: Biases,
    activations: Sequence[str],
    loss: str | Loss,
    X: ArrayLike,
    y: ArrayLike,
    *,
    learning_rate: float | Sequence[float] | Array,
    epochs: int = 1,
    batch_size: int | None = 1,
    order: ArrayLike | None = None,
    reduction: str = "mean",
    clip_delta: float | None = None,
    clip_value: float | None = None,
    clip_norm: float | None = None,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    l1: float = 0.0,
    max_norm: float | None = None,
    adam: tuple[float, float, float] | None = None,
    optimizer: SteppingOptimizer | None = None,
    sample_weight: ArrayLike | None = None,
    alpha: float | None = None,
) -> list[float]:
    """Train a chain by stochastic gradient descent; `weights` and `biases` are updated in place.

    Every step takes one sample, or a block of them, and

    1. finds all δ_k with the old weights, then clips them to [−ψ, ψ] (what is propagated is not clipped);
    2. sums or averages a_{k-1} δ_kᵀ and δ_k over the block: the gradient g;
    3. clips g by value, then by its norm over all parameters;
    4. lets the optimiser make its step with g: SGD, if no other is named, whose v ← μ v + g + λ W (no λ for biases)
       gives W ← W − γ_t v. `cmlp.optimizers` has the formulas of all.

    Parameters
    ----------
    weights, biases, activations, alpha
        As in `forward`.
    loss, X, y, epochs, batch_size, reduction, sample_weight
        As in `cmlp.Network.fit`.
    learning_rate : float or sequence of float
        γ, or γ_t for every step of all epochs together.
    order : array-like of int, (m,) or (epochs, m), optional
        Samples in the order of their visits, for every epoch or for each. Default: as given.
    clip_delta, clip_value, clip_norm : float, optional
        The thresholds of 1 and 3; clip_delta is ψ.
    momentum, nesterov, weight_decay, l1, max_norm
        Those of `cmlp.SGD`.
    adam : tuple of three floats, optional
        β₁, β₂ and ε of `cmlp.Adam`, which then takes the place of momentum.
    optimizer : SteppingOptimizer, optional
        Takes the place of all these. Its learning rate is not read, but for Rprop's. It must not search, nor average.

    Returns
    -------
    list of float
        For every epoch the mean (weighted by s_c) of ℓ over the samples, each at the time of its visit.

    Examples
    --------
    >>> W = np.zeros((1, 1))
    >>> X, y = [[1.0], [2.0]], [2.0, 4.0]
    >>> losses = train([W], [None], ["identity"], "squared_error", X, y, learning_rate=0.1, epochs=30)
    >>> W.round(4).tolist()
    [[2.0]]
    """
    samples: Array = np.asarray(X, weights[0].dtype)
    targets = target_rows(loss, y, (len(samples), weights[-1].shape[1]), samples.dtype)
    s = None if sample_weight is None else np.asarray(sample_weight, samples.dtype).reshape(-1, 1)
    visits: Array = np.arange(len(samples)) if order is None else np.asarray(order)
    m = visits.shape[-1]
    size = batch_size or m
    gammas = iter(np.broadcast_to(np.asarray(learning_rate, float), epochs * -(-m // size)).tolist())
    psi = np.array(clip_delta or 0, samples.dtype)  # as an array: a Python float would be converted at every use
    low = np.array(-psi)
    # With contiguous columns of W, a wide layer into few units is several times faster, and no layer slower.
    Ws = [np.asfortranarray(W) for W in weights]
    error = output_error(loss, activations[-1])
    optimizer = optimizer or _optimizer(momentum, nesterov, weight_decay, l1, max_norm, adam)
    steps = Steps(optimizer, Ws, biases, clip_value, clip_norm)

    means = []
    for indices in np.broadcast_to(visits, (epochs, m)):
        losses: list[Any] = []
        for block, gamma in zip(_blocks(indices, size, order is None), gammas, strict=False):
            zs, as_ = run(Ws, biases, activations, samples[block], alpha)
            ell, delta = error(zs[-1], as_[-1], targets[block], alpha)
            losses.append(ell)
            if s is not None:
                delta = delta * s[block]
            deltas = propagate(Ws, zs, as_, activations, delta, alpha)
            if clip_delta is not None:
                deltas = [np.minimum(np.maximum(delta, low), psi) for delta in deltas]
            if size == 1 and steps.is_plain:
                steps.take_plain(as_, deltas, gamma)
            else:
                gradient = gradients(as_, deltas, biases, 1 / ell.size if reduction == "mean" else 1.0)
                steps.take(gradient, gamma, float((ell if s is None else s[block].ravel() * ell).sum()))
        means.append(_mean(losses, size, None if s is None else s[indices, 0]))
    for W, trained in zip(weights, Ws, strict=True):
        W[...] = trained
    return means


def _optimizer(
    momentum: float,
    nesterov: bool,
    weight_decay: float,
    l1: float,
    max_norm: float | None,
    adam: tuple[float, float, float] | None,
) -> SGD | Adam:
    """Return the optimiser that the arguments of `train` describe."""
    if adam is None:
        return SGD(momentum=momentum, nesterov=nesterov, weight_decay=weight_decay, l1=l1, max_norm=max_norm)
    beta1, beta2, eps = adam
    return Adam(beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay, l1=l1, max_norm=max_norm)


def _blocks(visits: Array, size: int, as_given: bool) -> Sequence[Any]:
    """Return what picks the samples of each step: an index, a slice (which takes no copy), or indices."""
    if size == 1:
        return list(visits.tolist())
    slices = [slice(i, i + size) for i in range(0, len(visits), size)]
    return slices if as_given else [visits[block] for block in slices]


def _mean(losses: Sequence[Any], size: int, weights: Array | None) -> float:
    """Return the mean of ℓ over the samples of an epoch, given the ℓ of its steps."""
    ells = np.array(losses, float) if size == 1 else np.concatenate(losses, dtype=float)
    return float(np.average(ells, weights=weights))
