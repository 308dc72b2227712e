"""The mathematics of cmlp in plain NumPy, written for reading.

It is the oracle of the compiled core's tests, and the pure-NumPy side of the benchmarks: each formula in the
shortest form that wastes no time. Symbols, for the layers k = 1..N of a chain:

========================  =======================================================  =========================
W_k, b_k                  weights and bias                                         (n_{k-1}, n_k) and (n_k,)
z_k = W_kᵀ a_{k-1} + b_k  net input                                                (n_k,)
a_k = f_k(z_k)            activation; a_0 = x is the sample, a_N = ŷ the output    (n_k,)
ℓ, δ_k = ∂ℓ/∂z_k          loss of a sample, and the error terms                    scalar and (n_k,)
γ_t, ψ                    learning rate at step t, clipping threshold on δ         scalars
========================  =======================================================  =========================

A sample is (n,), a block of B samples (B, n), and the functions take either: Wᵀa reads ``a.dot(W)`` and Wδ
reads ``delta.dot(W.T)``. Lists start at 0: ``weights[k - 1]`` is W_k, ``zs[k - 1]`` is z_k, but ``as_[k]`` is
a_k. Everything is computed in the dtype of the arrays passed in.

Examples
--------
The logical AND as one sigmoid neuron, σ(−30 + 20 x₁ + 20 x₂):

>>> W, b = np.array([[20.0], [20.0]]), np.array([-30.0])
>>> predict([W], [b], ["sigmoid"], [[0, 0], [0, 1], [1, 0], [1, 1]]).round(4).ravel().tolist()
[0.0, 0.0, 0.0, 1.0]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import reduce
from itertools import count
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cmlp.activations import alpha_of
from cmlp.layers import Activation, Add, Chain, Concatenate, Dense, Dropout, Identity, Layer
from cmlp.losses import Loss, loss_name, loss_parameter
from cmlp.optimizers import Adagrad, Adam, AdamW, Optimizer, RMSprop, Rprop

Array: TypeAlias = NDArray[Any]
Arrays: TypeAlias = Sequence[Array]
Biases: TypeAlias = Sequence[Array | None]
Backward: TypeAlias = Callable[[Array], Array]  # ∂ℓ/∂output -> ∂ℓ/∂input

# ------------------------------------------------------------------------------------- activations and losses


SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805  # Klambauer et al., 2017
_erfc = np.vectorize(math.erfc, otypes=[float])


def _normal_cdf(z: Array) -> Array:
    """Φ(z) = ½ erfc(−z / √2), the distribution function of N(0, 1)."""
    phi: Array = 0.5 * _erfc(-z * math.sqrt(0.5))
    return phi.astype(z.dtype)


def _sigmoid(z: Array) -> Array:
    """1 / (1 + e^−z) = e^min(z, 0) / (1 + e^−|z|), where no exponent is positive."""
    s: Array = np.exp(np.minimum(z, 0)) / (1 + np.exp(-np.abs(z)))
    return s


def activate(name: str, z: Array, alpha: float | None = None) -> Array:
    """Return the activation a = f(z): elementwise, except for softmax, which runs along the last axis.

    Parameters
    ----------
    name : str
        The function f, one of `cmlp.activations.ACTIVATIONS`.
    z : array of shape (..., n)
        Net input.
    alpha : float, optional
        α of leaky_relu (default 0.01) and elu (default 1).

    Returns
    -------
    array of shape (..., n)
        In the dtype of z; for identity, z itself.

    Examples
    --------
    >>> activate("relu", np.array([-2.0, 3.0])).tolist()
    [0.0, 3.0]
    """
    a: Array
    if name == "relu":
        a = np.maximum(z, 0)
    elif name == "identity":
        a = z
    elif name == "sigmoid":
        a = _sigmoid(z)
    elif name == "tanh":
        a = np.tanh(z)
    elif name == "softmax":  # e^z / Σ e^z stays the same when max z is subtracted from z
        a = np.exp(z - z.max(-1, keepdims=True))
        a /= a.sum(-1, keepdims=True)
    elif name == "leaky_relu":
        a = np.where(z > 0, z, float(alpha_of(name, alpha)) * z)
    elif name == "elu":
        a = np.where(z > 0, z, float(alpha_of(name, alpha)) * np.expm1(np.minimum(z, 0)))
    elif name == "selu":
        a = SELU_SCALE * activate("elu", z, SELU_ALPHA)
    elif name == "gelu":
        a = z * _normal_cdf(z)
    elif name == "silu":
        a = z * _sigmoid(z)
    elif name == "softplus":  # log(1 + e^z) = max(z, 0) + log(1 + e^−|z|)
        a = np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))
    elif name == "hard_sigmoid":
        a = np.clip(z + 3, 0, 6) / 6
    elif name == "softsign":
        a = z / (1 + np.abs(z))
    elif name == "exp":
        a = np.exp(z)
    else:
        raise ValueError(f"unknown activation {name!r}")
    return a


def activation_vjp(name: str, z: Array, a: Array, da: Array, alpha: float | None = None) -> Array:
    """Return ∂ℓ/∂z = J_fᵀ ∂ℓ/∂a, an activation's vector-Jacobian product, from z, a = f(z) and da = ∂ℓ/∂a.

    The Jacobian of an elementwise f is diagonal and leaves f'(z) ⊙ ∂ℓ/∂a; that of softmax is diag(a) − a aᵀ.

    Examples
    --------
    >>> z = np.array([-2.0, 3.0])
    >>> activation_vjp("relu", z, activate("relu", z), np.array([5.0, 7.0])).tolist()
    [0.0, 7.0]
    """
    dz: Array
    if name == "relu":
        dz = da * np.sign(a)  # a = max(z, 0) is never negative, so its sign is the step function f'
    elif name == "identity":
        dz = da
    elif name == "sigmoid":
        dz = da * (a * (1 - a))
    elif name == "tanh":
        dz = da * (1 - a * a)
    elif name == "softmax":
        dz = a * (da - (a * da).sum(-1, keepdims=True))
    elif name == "leaky_relu":
        dz = np.where(z > 0, da, float(alpha_of(name, alpha)) * da)
    elif name == "elu":
        dz = np.where(z > 0, da, da * float(alpha_of(name, alpha)) * np.exp(np.minimum(z, 0)))
    elif name == "selu":
        dz = SELU_SCALE * activation_vjp("elu", z, a, da, SELU_ALPHA)
    elif name == "gelu":  # (z Φ(z))' = Φ(z) + z e^(−z²/2) / √(2π)
        dz = da * (_normal_cdf(z) + z * np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi))
    elif name == "silu":  # (z σ(z))' = σ(z) + z σ(z) (1 − σ(z)) = σ(z) (1 + z σ(−z))
        dz = da * _sigmoid(z) * (1 + z * _sigmoid(-z))
    elif name == "softplus":
        dz = da * _sigmoid(z)
    elif name == "hard_sigmoid":
        dz = np.where(np.abs(z) < 3, da / 6, 0)
    elif name == "softsign":
        dz = da / (1 + np.abs(z)) ** 2
    elif name == "exp":
        dz = da * a
    else:
        raise ValueError(f"unknown activation {name!r}")
    return dz


def loss_and_delta(
    loss: str | Loss, output_activation: str, z: Array, a: Array, y: Array, alpha: float | None = None
) -> tuple[Array, Array]:
    """Return the loss ℓ of every sample and the error term of the output layer, δ_N = J_fᵀ ∂ℓ/∂ŷ.

    ====================  =========================================  =======================
    loss                  ℓ                                          ∂ℓ/∂ŷ
    ====================  =========================================  =======================
    squared_error         ½ Σ (ŷ − y)²                               ŷ − y
    absolute_error        Σ |r|, r = ŷ − y                           sign r
    huber                 Σ ½ r² if |r| <= δ, else δ (|r| − ½ δ)     min(max(r, −δ), δ)
    quantile              Σ −q r if r < 0, else (1 − q) r            −q or 1 − q; 0 at 0
    poisson               Σ ŷ − y log ŷ                              1 − y / ŷ
    cross_entropy         −Σ y log ŷ                                 −y / ŷ
    binary_cross_entropy  −Σ [y log ŷ + (1 − y) log(1 − ŷ)]          (ŷ − y) / (ŷ (1 − ŷ))
    hinge                 Σ max(0, 1 − s ŷ), s = 1 if y > 0 else −1  −s if s ŷ < 1, else 0
    ====================  =========================================  =======================

    Where softmax meets cross_entropy, sigmoid binary_cross_entropy, or exp poisson, the product J_fᵀ ∂ℓ/∂ŷ is
    ŷ − y, and ℓ comes from z, so that both are right even where ŷ rounds to 0 or 1. In other pairs, an output at
    the edge of the domain of the logarithm is moved inside by the machine epsilon; beyond it ℓ is NaN. 0 · log ŷ
    is 0. Label smoothing ε takes (1 − ε) y + ε/n_N for the y of cross_entropy.

    Parameters
    ----------
    loss, output_activation : str or Loss, and str
        As in the table, and as in `activate`.
    z, a, y : arrays of shape (..., n_N)
        z_N, ŷ = a_N = f_N(z_N) and the target (for cross_entropy one-hot, or probabilities).
    alpha : float, optional
        As in `activate`.

    Returns
    -------
    ell, delta : arrays of shape (...) and (..., n_N)
        ℓ and δ_N.

    Examples
    --------
    >>> z, y = np.array([0.0]), np.array([1.0])
    >>> ell, delta = loss_and_delta("binary_cross_entropy", "sigmoid", z, activate("sigmoid", z), y)
    >>> round(float(ell), 6), delta.tolist()
    (0.693147, [-0.5])
    """
    if loss == "squared_error":
        r = a - y
        return 0.5 * (r * r).sum(-1), activation_vjp(output_activation, z, a, r, alpha)
    name, parameter = loss_name(loss), loss_parameter(loss)
    if name == "cross_entropy" and parameter:
        y = (1 - parameter) * y + parameter / y.shape[-1]
    if name == "cross_entropy" and output_activation == "softmax":
        # −Σ y log softmax(z) = Σ y · log Σ e^z − Σ y z, which stays the same when max z is subtracted from z
        z = z - z.max(-1, keepdims=True)
        total = y.sum(-1, keepdims=True)  # 1, but for rounding
        return total[..., 0] * np.log(np.exp(z).sum(-1)) - (y * z).sum(-1), total * a - y
    if name == "binary_cross_entropy" and output_activation == "sigmoid":
        # −y log σ(z) − (1 − y) log(1 − σ(z)) = log(1 + e^z) − y z, without overflow
        return (np.maximum(z, 0) - y * z + np.log1p(np.exp(-np.abs(z)))).sum(-1), a - y
    if name == "poisson" and output_activation == "exp":
        return (a - y * z).sum(-1), a - y
    terms, da = _loss_terms(name, parameter, a, y)
    return terms.sum(-1), activation_vjp(output_activation, z, a, da, alpha)


def _loss_terms(name: str, parameter: float, a: Array, y: Array) -> tuple[Array, Array]:
    """Return the terms of ℓ = Σ_i ℓ_i and ∂ℓ/∂ŷ, as in the table of `loss_and_delta`."""
    eps, r = np.finfo(a.dtype).eps, a - y
    if name == "absolute_error":
        return np.abs(r), np.sign(r)
    if name == "huber":
        size = np.abs(r)
        terms = np.where(size <= parameter, 0.5 * r * r, parameter * (size - 0.5 * parameter))
        return terms, np.clip(r, -parameter, parameter)
    if name == "quantile":
        slopes = ((1 - parameter) * (r > 0) - parameter * (r < 0)).astype(a.dtype)
        return slopes * r, slopes
    if name == "hinge":
        s = np.where(y > 0, 1, -1).astype(a.dtype)
        return np.maximum(0, 1 - s * a), np.where(s * a < 1, -s, 0)
    if name == "binary_cross_entropy":
        p = np.where((a >= 0) & (a <= 1), np.minimum(np.maximum(a, eps), 1 - eps), np.nan)
        return -(y * np.log(p) + (1 - y) * np.log1p(-p)), (p - y) / (p * (1 - p))
    p = np.where(a >= 0, np.maximum(a, eps), np.nan)
    if name == "poisson":
        return a - y * np.log(p), 1 - y / p
    return np.where(y == 0, 0, -y * np.log(p)), np.where(y == 0, 0, -y / p)  # cross_entropy


def _target_rows(loss: str | Loss, y: ArrayLike, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return targets in the shape (..., n_N) of the outputs; class indices become one-hot rows."""
    rows: Array = np.asarray(y)
    if loss_name(loss) in ("cross_entropy", "hinge") and rows.size < np.prod(shape):
        rows = np.eye(shape[-1])[rows.reshape(shape[:-1]).astype(int)]
    return rows.astype(dtype, copy=False).reshape(shape)


# ---------------------------------------------------------------------------------------------- plain chains


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
    zs, as_ = [], [x]
    for W, b, name in zip(weights, biases, activations, strict=True):
        z = as_[-1].dot(W)  # a @ W is the same, but takes twice as long to start
        if b is not None:
            z += b
        zs.append(z)
        as_.append(activate(name, z, alpha))
    return zs, as_


def _propagate(
    weights: Arrays, zs: Arrays, as_: Arrays, activations: Sequence[str], delta: Array, alpha: float | None
) -> list[Array]:
    """Return all error terms, given the last: δ_k = (W_{k+1} δ_{k+1}) ⊙ f'_k(z_k), k = N−1 .. 1."""
    deltas = [delta]
    for k in range(len(zs) - 2, -1, -1):
        delta = activation_vjp(activations[k], zs[k], as_[k + 1], delta.dot(weights[k + 1].T), alpha)
        deltas.append(delta)
    deltas.reverse()
    return deltas


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
    y = _target_rows(loss, y, zs[-1].shape, zs[-1].dtype)
    _, delta = loss_and_delta(loss, activations[-1], zs[-1], as_[-1], y, alpha)
    return _propagate(weights, zs, as_, activations, delta, alpha)


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


def _sgd_step(weights: Arrays, biases: Biases, as_: Arrays, deltas: Arrays, gamma: float, buffers: Arrays) -> None:
    """Update after one sample: W_k ← W_k − γ a_{k-1} δ_kᵀ and b_k ← b_k − γ δ_k."""
    for W, b, a, delta, step in zip(weights, biases, as_, deltas, buffers, strict=False):
        delta = gamma * delta  # n_k products; γ (a δᵀ) would take n_{k-1} n_k
        np.dot(delta[:, None], a[None], out=step)  # the transpose, δ aᵀ; BLAS is faster than np.outer here
        W -= step.T
        if b is not None:
            b -= delta


def _gradients(as_: Arrays, deltas: Arrays, factor: float = 1.0) -> tuple[list[Array], list[Array]]:
    """Return Σ_c a_{k-1} δ_kᵀ and Σ_c δ_k over the samples c of a block, or of one sample, times a factor."""
    rows = [factor * np.atleast_2d(delta) for delta in deltas]
    dW = [delta.T.dot(np.atleast_2d(a)).T for a, delta in zip(as_, rows, strict=False)]
    return dW, [delta.sum(0) for delta in rows]


def _clip_gradient(gradient: Arrays, clip_value: float | None, clip_norm: float | None) -> None:
    """Clip g elementwise; then g ← g clip_norm / ‖g‖ if the norm over all parameters is above clip_norm."""
    if clip_value is not None:
        for g in gradient:
            np.clip(g, -clip_value, clip_value, out=g)
    if clip_norm is not None:
        norm = float(np.sqrt(sum(np.square(g, dtype=np.float64).sum() for g in gradient)))
        if norm > clip_norm:
            for g in gradient:
                g *= clip_norm / norm


def _adam_step(
    w: Array, g: Array, m: Array, v: Array, gamma: float, t: int, beta1: float, beta2: float, eps: float
) -> None:
    """Step t = 0, 1, 2, ... of Adam (Kingma and Ba, 2015), in place; m and v start at 0."""
    m *= beta1
    m += (1 - beta1) * g  # the mean of g, and below of g², both biased towards 0 at first
    v *= beta2
    v += (1 - beta2) * g**2
    w -= gamma * (m / (1 - beta1 ** (t + 1))) / (np.sqrt(v / (1 - beta2 ** (t + 1))) + eps)


def _optimizer_step(
    optimizer: Optimizer, w: Array, g: Array, state: Arrays, gamma: float, t: int, loss_rose: bool
) -> None:
    """Step t = 0, 1, 2, ... of an optimiser on one array, in place; `cmlp.optimizers` has formulas and sources.

    state: what the optimiser keeps for this array, three arrays that start at 0; loss_rose: since the last step.
    """
    o, (m, v, u) = optimizer, state
    if isinstance(o, Adam):
        m[...] = o.beta1 * m + (1 - o.beta1) * g
        v[...] = o.beta2 * v + (1 - o.beta2) * g**2
        u[...] = np.maximum(u, v) if o.amsgrad else v
        w -= gamma * (m / (1 - o.beta1 ** (t + 1))) / (np.sqrt(u / (1 - o.beta2 ** (t + 1))) + o.eps)
    elif isinstance(o, RMSprop):
        m[...] = o.beta * m + (1 - o.beta) * g
        v[...] = o.beta * v + (1 - o.beta) * g**2
        u[...] = o.momentum * u + g / (np.sqrt(np.maximum(v - m**2, 0) if o.centered else v) + o.eps)
        w -= gamma * u
    elif isinstance(o, Adagrad):
        v += g**2
        w -= gamma * g / (np.sqrt(v) + o.eps)
    elif isinstance(o, Rprop):
        last, size = m, v
        if t == 0:
            size[...] = o.learning_rate
        agree = np.sign(g) * np.sign(last)
        if loss_rose:  # where the sign changed, take the last step back
            w[agree < 0] += (np.sign(last) * size)[agree < 0]
        size[agree > 0] = np.minimum(o.increase * size[agree > 0], o.max_step)
        size[agree < 0] = np.maximum(o.decrease * size[agree < 0], o.min_step)
        last[...] = np.where(agree < 0, 0, g)
        w -= np.sign(last) * size
    else:
        raise TypeError(f"no step of {optimizer!r} is written here: give momentum, nesterov and weight_decay")


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
    optimizer: Optimizer | None = None,
    sample_weight: ArrayLike | None = None,
    alpha: float | None = None,
) -> list[float]:
    """Train a chain by stochastic gradient descent; `weights` and `biases` are updated in place.

    Every step takes one sample, or a block of them, and

    1. finds all δ_k with the old weights, then clips them to [−ψ, ψ] (what is propagated is not clipped);
    2. sums or averages a_{k-1} δ_kᵀ and δ_k over the block: the gradient g;
    3. clips g by value, then by its norm over all parameters;
    4. adds the weight decay g ← g + λ W (not for biases), then the momentum v ← μ v + g, and updates
       W ← W − γ_t v, or W ← W − γ_t (g + μ v) in Nesterov's form;
    5. scales the columns of W that are longer than max_norm down to it.

    With `l1`, λ₁ sign(W) is added to g along with the weight decay.

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
        μ, which form of it, λ, λ₁, and the longest ‖w‖₂ of a unit's incoming weights.
    adam : tuple of three floats, optional
        β₁, β₂ and ε of Adam, which then takes the place of momentum.
    optimizer : Adam, AdamW, RMSprop, Adagrad or Rprop, optional
        Takes the place of momentum, weight_decay and adam. Its learning rate is not read, but for Rprop.

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
    dtype = weights[0].dtype
    samples: Array = np.asarray(X, dtype)
    targets = _target_rows(loss, y, (len(samples), weights[-1].shape[1]), dtype)
    s = None if sample_weight is None else np.asarray(sample_weight, dtype).reshape(-1, 1)
    visits: Array = np.arange(len(samples)) if order is None else np.asarray(order)
    m = visits.shape[-1]
    size = batch_size or m
    gammas = iter(np.broadcast_to(np.asarray(learning_rate, float), epochs * -(-m // size)).tolist())
    psi = np.array(clip_delta or 0, dtype)  # as an array: a Python float would be converted at every use
    low = np.array(-psi)
    general = momentum or weight_decay or clip_value or clip_norm or adam or l1 or max_norm or optimizer
    plain = size == 1 and not general
    decay = getattr(optimizer, "weight_decay", 0.0) if optimizer else weight_decay

    # With contiguous columns of W, a wide layer into few units is several times faster, and no layer slower.
    Ws = [np.asfortranarray(W) for W in weights]
    buffers = [np.empty_like(W.T) for W in Ws]
    parameters = [*Ws, *(b for b in biases if b is not None)]
    velocities, squares = [np.zeros_like(w) for w in parameters], [np.zeros_like(w) for w in parameters]
    states = [[np.zeros_like(w) for _ in range(3)] for w in parameters] if optimizer else []
    last_loss = np.inf
    clock = count()
    means = []
    for indices in np.broadcast_to(visits, (epochs, m)):
        blocks: list[Any] = indices.tolist()
        if size > 1:
            blocks = [slice(i, i + size) for i in range(0, m, size)]
            if order is not None:  # a slice of the samples would do without a copy
                blocks = [indices[block] for block in blocks]
        losses: list[Any] = []
        for block, gamma in zip(blocks, gammas, strict=False):
            zs, as_ = forward(Ws, biases, activations, samples[block], alpha)
            ell, delta = loss_and_delta(loss, activations[-1], zs[-1], as_[-1], targets[block], alpha)
            losses.append(ell)
            if s is not None:
                delta = delta * s[block]
            deltas = _propagate(Ws, zs, as_, activations, delta, alpha)
            if clip_delta is not None:
                deltas = [np.minimum(np.maximum(delta, low), psi) for delta in deltas]
            if plain:
                _sgd_step(Ws, biases, as_, deltas, gamma, buffers)
                continue
            dW, db = _gradients(as_, deltas, 1 / ell.size if reduction == "mean" else 1.0)
            gradient = dW + [g for g, b in zip(db, biases, strict=True) if b is not None]
            _clip_gradient(gradient, clip_value, clip_norm)
            t = next(clock)
            E = float((ell if s is None else s[block].ravel() * ell).sum()) if optimizer else 0.0
            for k, (w, g, v) in enumerate(zip(parameters, gradient, velocities, strict=True)):
                if decay and k < len(Ws):
                    if isinstance(optimizer, AdamW):
                        w *= 1 - gamma * decay
                    else:
                        g += decay * w
                if l1 and k < len(Ws):
                    g += l1 * np.sign(w)
                if optimizer is not None:
                    _optimizer_step(optimizer, w, g, states[k], gamma, t, last_loss < E)
                    continue
                if adam is not None:
                    _adam_step(w, g, v, squares[k], gamma, t, *adam)
                    continue
                if momentum:
                    v *= momentum
                    v += g
                    g = g + momentum * v if nesterov else v
                w -= gamma * g
            if max_norm is not None:
                for W in Ws:
                    W *= np.minimum(1, max_norm / np.maximum(np.linalg.norm(W, axis=0), 1e-30))
            last_loss = E
        ells = np.array(losses, float) if size == 1 else np.concatenate(losses, dtype=float)
        means.append(float(np.average(ells, weights=None if s is None else s[indices, 0])))
    for W, trained in zip(weights, Ws, strict=True):
        W[...] = trained
    return means


# -------------------------------------------------------------------------------------------- any composition


def dropout_mask(seed: int, step: int, position: int, operation: int, n: int, rate: float) -> Array:
    """Return what dropout multiplies n values with: 0 with probability `rate`, else 1 / (1 - rate).

    It depends on the seed, on the step, on the sample's position in its batch and on the operation of the network's
    program, by SplitMix64 (Steele, Lea and Flood, 2014; constants of Vigna's splitmix64.c). Each output of the
    generator decides about two values.

    Examples
    --------
    >>> dropout_mask(1, 0, 0, 0, 6, 0.5).tolist()
    [2.0, 2.0, 2.0, 0.0, 2.0, 2.0]
    """
    gamma = 0x9E3779B97F4A7C15

    def mix(z: int) -> int:
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)

    key = seed
    for counter in (step, position, operation):
        key = mix((key + gamma * (counter + 1)) % 2**64)
    outputs = (mix((key + gamma * i) % 2**64) for i in range(1, n // 2 + 2))
    halves = np.array([half for z in outputs for half in (z % 2**32, z >> 32)][:n])
    return np.asarray((halves >= int(rate * 2**32)) / (1 - rate))


def _apply(
    layer: Layer,
    x: Array,
    parameters: Iterator[tuple[Array, Array | None, Array, Array]],
    psi: float | None,
    masks: Iterator[Array] | None,
) -> tuple[Array, Backward]:
    """Return a layer's output, and the function that takes ∂ℓ/∂output to ∂ℓ/∂input.

    `parameters` yields W and b of the Dense layers, depth first and left to right, and two arrays that the
    backward functions fill with ∂ℓ/∂W and ∂ℓ/∂b; `masks` the factors of the Dropout layers, None: there is no dropout.
    """
    if isinstance(layer, Dense):
        W, b, dW, db = next(parameters)
        z = x.dot(W) if b is None else x.dot(W) + b
        a = activate(layer.activation, z, layer.alpha)

        def backward_dense(da: Array) -> Array:
            delta = activation_vjp(layer.activation, z, a, da, layer.alpha)
            clipped = delta if psi is None else np.clip(delta, -psi, psi)
            [dW[...]], [db[...]] = _gradients([x], [clipped])
            dx: Array = delta.dot(W.T)
            return dx

        return a, backward_dense

    if isinstance(layer, Activation):
        a = activate(layer.name, x, layer.alpha)
        return a, lambda da: activation_vjp(layer.name, x, a, da, layer.alpha)

    if isinstance(layer, Identity) or (isinstance(layer, Dropout) and masks is None):
        return x, lambda dy: dy

    if isinstance(layer, Dropout) and masks is not None:
        mask = next(masks)
        return x * mask, lambda dy: dy * mask

    if isinstance(layer, Chain):  # y = f_m(… f_1(x)): the factors' backward functions in reverse order
        backwards = []
        for factor in layer.layers:
            x, backward_factor = _apply(factor, x, parameters, psi, masks)
            backwards.append(backward_factor)
        return x, lambda dy: reduce(lambda d, back: back(d), reversed(backwards), dy)

    if not isinstance(layer, Add | Concatenate):
        raise TypeError(f"unknown layer {layer!r}")
    branches = [_apply(branch, x, parameters, psi, masks) for branch in layer.layers]
    outputs = [output for output, _ in branches]
    # All branches read x, so ∂ℓ/∂x is the sum of what they give back.
    if isinstance(layer, Add):  # y = f(x) + g(x): each branch gets all of ∂ℓ/∂y
        return reduce(np.add, outputs), lambda dy: reduce(np.add, [back(dy) for _, back in branches])
    # y = f(x) ⊕ g(x): each branch gets its own part of ∂ℓ/∂y
    ends = np.cumsum([output.shape[-1] for output in outputs])[:-1]

    def backward_concatenate(dy: Array) -> Array:
        parts = np.split(dy, ends, axis=-1)
        return reduce(np.add, [back(part) for (_, back), part in zip(branches, parts, strict=True)])

    return np.concatenate(outputs, axis=-1), backward_concatenate


def _split_output(layer: Layer) -> tuple[Layer, str, float | None]:
    """Return the composition up to z_N, the name of its last activation f_N, and α."""
    if isinstance(layer, Chain):
        *head, last = layer.layers
        if isinstance(last, Identity) and head:
            return _split_output(Chain(tuple(head)))
        last, name, alpha = _split_output(last)
        return Chain((*head, last)), name, alpha
    if isinstance(layer, Dense):
        return replace(layer, activation="identity"), layer.activation, layer.alpha
    if isinstance(layer, Activation):
        return Identity(), layer.name, layer.alpha
    return layer, "identity", None


def network_forward(layer: Layer, weights: Arrays, biases: Biases, x: ArrayLike) -> Array:
    """Return the output of any composition of layers for a sample (n,) or samples (M, n).

    `weights` and `biases` (None without a bias) are those of the Dense layers, depth first and left to right.

    Examples
    --------
    A skip connection, x + Wᵀx:

    >>> network_forward(Add((Identity(), Dense(2, bias=False))), [np.eye(2) * 3], [None], [1.0, 2.0]).tolist()
    [4.0, 8.0]
    """
    parameters = iter(zip(weights, biases, weights, weights, strict=True))  # no gradients will be filled in
    return _apply(layer, np.asarray(x, weights[0].dtype), parameters, None, None)[0]


def network_gradients(
    layer: Layer,
    weights: Arrays,
    biases: Biases,
    loss: str | Loss,
    x: ArrayLike,
    y: ArrayLike,
    clip_delta: float | None = None,
    masks: Arrays | None = None,
) -> tuple[Array, list[Array], list[Array | None]]:
    """Return ℓ, all ∂ℓ/∂W and all ∂ℓ/∂b (None without a bias) of any composition of layers.

    The arguments are those of `network_forward`, `clip_delta` is ψ, and `masks` are the factors of the Dropout layers,
    depth first and left to right (None: there is no dropout). For samples (M, n), ℓ is (M,) and the
    gradients are sums over the samples.

    Examples
    --------
    >>> layer = Add((Identity(), Dense(2, bias=False)))
    >>> x, y = [1.0, 2.0], [4.0, 7.0]
    >>> ell, dW, db = network_gradients(layer, [np.eye(2) * 3], [None], "squared_error", x, y)
    >>> float(ell), dW[0].tolist(), db
    (0.5, [[0.0, 1.0], [0.0, 2.0]], [None])
    """
    inner, name, alpha = _split_output(layer)
    dW, db = [np.empty_like(W) for W in weights], [np.empty_like(W[0]) for W in weights]
    parameters = iter(zip(weights, biases, dW, db, strict=True))
    dropout = None if masks is None else iter(masks)
    z, back = _apply(inner, np.asarray(x, weights[0].dtype), parameters, clip_delta, dropout)
    rows = _target_rows(loss, y, z.shape, z.dtype)
    ell, delta = loss_and_delta(loss, name, z, activate(name, z, alpha), rows, alpha)
    back(delta)
    return ell, dW, [None if b is None else g for b, g in zip(biases, db, strict=True)]
