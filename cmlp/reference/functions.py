"""Activations and losses, each beside its derivative. A new one is one entry in its table."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NoReturn, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cmlp.activations import alpha_of
from cmlp.losses import Loss, loss_name, loss_parameter

Array: TypeAlias = NDArray[Any]
F: TypeAlias = Callable[[Array, float | None], Array]
VJP: TypeAlias = Callable[[Array, Array, Array, float | None], Array]
LossFunction: TypeAlias = Callable[[Array, Array, float], tuple[Array, Array]]
OutputError: TypeAlias = Callable[[Array, Array, Array, float | None], tuple[Array, Array]]
NaturalPair: TypeAlias = Callable[[Array, Array, Array, float], tuple[Array, Array]]

# ----------------------------------------------------------------------------------------------- activations

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805  # Klambauer et al., 2017
_erfc = np.vectorize(math.erfc, otypes=[float])


def _normal_cdf(z: Array) -> Array:
    """Φ(z) = ½ erfc(−z / √2), the distribution function of N(0, 1)."""
    phi: Array = 0.5 * _erfc(-z * math.sqrt(0.5))
    return phi.astype(z.dtype)


def _sigmoid(z: Array) -> Array:
    """σ(z) = 1 / (1 + e^−z) = e^min(z, 0) / (1 + e^−|z|), where no exponent is positive."""
    s: Array = np.exp(np.minimum(z, 0)) / (1 + np.exp(-np.abs(z)))
    return s


def _softmax(z: Array) -> Array:
    """e^z / Σ e^z, which stays the same when max z is subtracted from z."""
    a: Array = np.exp(z - z.max(-1, keepdims=True))
    a /= a.sum(-1, keepdims=True)
    return a


def _leaky(name: str, alpha: float | None) -> float:
    """α as a Python float, which leaves arrays their dtype."""
    return float(alpha_of(name, alpha))


def _elu(z: Array, alpha: float | None) -> Array:
    """α (e^z − 1) where z <= 0, z elsewhere."""
    return np.where(z > 0, z, _leaky("elu", alpha) * np.expm1(np.minimum(z, 0)))


def _elu_vjp(z: Array, a: Array, da: Array, alpha: float | None) -> Array:
    """α e^z ∂ℓ/∂a where z <= 0, ∂ℓ/∂a elsewhere."""
    return np.where(z > 0, da, da * _leaky("elu", alpha) * np.exp(np.minimum(z, 0)))


class _Activations(dict[str, tuple[F, VJP]]):
    """Pairs of functions by name, and an error that lists the names."""

    def __missing__(self, name: object) -> NoReturn:
        raise ValueError(f"unknown activation {name!r}; known: {', '.join(map(repr, self))}")


#: By name, a = f(z) given z and α, and ∂ℓ/∂z = J_fᵀ ∂ℓ/∂a, its vector-Jacobian product, given z, a, ∂ℓ/∂a and α.
#: The Jacobian of an elementwise f is diagonal and leaves f'(z) ⊙ ∂ℓ/∂a; that of softmax is diag(a) − a aᵀ.
ACTIVATIONS = _Activations({
    "identity": (lambda z, _: z, lambda z, a, da, _: da),
    "relu": (
        lambda z, _: np.maximum(z, 0),
        lambda z, a, da, _: da * np.sign(a),  # a = max(z, 0) is never negative, so its sign is the step function f'
    ),
    "leaky_relu": (
        lambda z, alpha: np.where(z > 0, z, _leaky("leaky_relu", alpha) * z),
        lambda z, a, da, alpha: np.where(z > 0, da, _leaky("leaky_relu", alpha) * da),
    ),
    "sigmoid": (lambda z, _: _sigmoid(z), lambda z, a, da, _: da * (a * (1 - a))),
    "tanh": (lambda z, _: np.tanh(z), lambda z, a, da, _: da * (1 - a * a)),
    "softmax": (lambda z, _: _softmax(z), lambda z, a, da, _: a * (da - (a * da).sum(-1, keepdims=True))),
    "elu": (_elu, _elu_vjp),
    "selu": (
        lambda z, _: SELU_SCALE * _elu(z, SELU_ALPHA),
        lambda z, a, da, _: SELU_SCALE * _elu_vjp(z, a, da, SELU_ALPHA),
    ),
    "gelu": (
        lambda z, _: z * _normal_cdf(z),
        # (z Φ(z))' = Φ(z) + z e^(−z²/2) / √(2π)
        lambda z, a, da, _: da * (_normal_cdf(z) + z * np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)),
    ),
    "silu": (
        lambda z, _: z * _sigmoid(z),
        # (z σ(z))' = σ(z) + z σ(z) (1 − σ(z)) = σ(z) (1 + z σ(−z))
        lambda z, a, da, _: da * _sigmoid(z) * (1 + z * _sigmoid(-z)),
    ),
    "softplus": (
        lambda z, _: np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z))),  # log(1 + e^z), without overflow
        lambda z, a, da, _: da * _sigmoid(z),
    ),
    "hard_sigmoid": (lambda z, _: np.clip(z + 3, 0, 6) / 6, lambda z, a, da, _: np.where(np.abs(z) < 3, da / 6, 0)),
    "softsign": (lambda z, _: z / (1 + np.abs(z)), lambda z, a, da, _: da / (1 + np.abs(z)) ** 2),
    "exp": (lambda z, _: np.exp(z), lambda z, a, da, _: da * a),
})  # fmt: skip


@np.errstate(all="ignore")
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
    f, _ = ACTIVATIONS[name]
    return f(z, alpha)


@np.errstate(all="ignore")
def activation_vjp(name: str, z: Array, a: Array, da: Array, alpha: float | None = None) -> Array:
    """Return ∂ℓ/∂z = J_fᵀ ∂ℓ/∂a, an activation's vector-Jacobian product, from z, a = f(z) and da = ∂ℓ/∂a.

    Examples
    --------
    >>> z = np.array([-2.0, 3.0])
    >>> activation_vjp("relu", z, activate("relu", z), np.array([5.0, 7.0])).tolist()
    [0.0, 7.0]
    """
    _, vjp = ACTIVATIONS[name]
    return vjp(z, a, da, alpha)


# ---------------------------------------------------------------------------------------------------- losses


def _above_0(a: Array) -> Array:
    """ŷ where its logarithm exists: the machine epsilon for 0, NaN below."""
    return np.where(a >= 0, np.maximum(a, np.finfo(a.dtype).eps), np.nan)


def _smoothed(y: Array, smoothing: float) -> Array:
    """(1 − ε) y + ε/n_N."""
    return (1 - smoothing) * y + smoothing / y.shape[-1] if smoothing else y


def _squared_error(a: Array, y: Array, _: float) -> tuple[Array, Array]:
    r = a - y
    return 0.5 * (r * r).sum(-1), r


def _absolute_error(a: Array, y: Array, _: float) -> tuple[Array, Array]:
    r = a - y
    return np.abs(r).sum(-1), np.sign(r)


def _huber(a: Array, y: Array, delta: float) -> tuple[Array, Array]:
    r = a - y
    size = np.abs(r)
    terms = np.where(size <= delta, 0.5 * r * r, delta * (size - 0.5 * delta))
    return terms.sum(-1), np.clip(r, -delta, delta)


def _quantile(a: Array, y: Array, q: float) -> tuple[Array, Array]:
    r = a - y
    slopes = ((1 - q) * (r > 0) - q * (r < 0)).astype(a.dtype)
    return (slopes * r).sum(-1), slopes


def _poisson(a: Array, y: Array, _: float) -> tuple[Array, Array]:
    p = _above_0(a)
    return (a - y * np.log(p)).sum(-1), 1 - y / p


def _poisson_of_exp(z: Array, a: Array, y: Array, _: float) -> tuple[Array, Array]:
    return (a - y * z).sum(-1), a - y


def _cross_entropy(a: Array, y: Array, smoothing: float) -> tuple[Array, Array]:
    p, y = _above_0(a), _smoothed(y, smoothing)
    return np.where(y == 0, 0, -y * np.log(p)).sum(-1), np.where(y == 0, 0, -y / p)


def _cross_entropy_of_softmax(z: Array, a: Array, y: Array, smoothing: float) -> tuple[Array, Array]:
    """−Σ y log softmax(z) = Σ y · log Σ e^z − Σ y z, which stays the same when max z is subtracted from z."""
    y = _smoothed(y, smoothing)
    z = z - z.max(-1, keepdims=True)
    total = y.sum(-1, keepdims=True)  # 1, but for rounding
    return total[..., 0] * np.log(np.exp(z).sum(-1)) - (y * z).sum(-1), total * a - y


def _binary_cross_entropy(a: Array, y: Array, _: float) -> tuple[Array, Array]:
    p = np.where(a <= 1, np.minimum(_above_0(a), 1 - np.finfo(a.dtype).eps), np.nan)
    return -(y * np.log(p) + (1 - y) * np.log1p(-p)).sum(-1), (p - y) / (p * (1 - p))


def _binary_cross_entropy_of_sigmoid(z: Array, a: Array, y: Array, _: float) -> tuple[Array, Array]:
    """−y log σ(z) − (1 − y) log(1 − σ(z)) = log(1 + e^z) − y z, without overflow."""
    return (np.maximum(z, 0) - y * z + np.log1p(np.exp(-np.abs(z)))).sum(-1), a - y


def _hinge(a: Array, y: Array, _: float) -> tuple[Array, Array]:
    s = np.where(y > 0, 1, -1).astype(a.dtype)
    return np.maximum(0, 1 - s * a).sum(-1), np.where(s * a < 1, -s, 0)


#: By name, ℓ and ∂ℓ/∂ŷ given ŷ, y and the loss's parameter.
LOSSES: dict[str, LossFunction] = {
    "squared_error": _squared_error,
    "absolute_error": _absolute_error,
    "huber": _huber,
    "quantile": _quantile,
    "poisson": _poisson,
    "cross_entropy": _cross_entropy,
    "binary_cross_entropy": _binary_cross_entropy,
    "hinge": _hinge,
}
#: By loss and output activation, ℓ and δ_N given z_N, ŷ, y and the loss's parameter.
NATURAL_PAIRS: dict[tuple[str, str], NaturalPair] = {
    ("poisson", "exp"): _poisson_of_exp,
    ("cross_entropy", "softmax"): _cross_entropy_of_softmax,
    ("binary_cross_entropy", "sigmoid"): _binary_cross_entropy_of_sigmoid,
}


def output_error(loss: str | Loss, output_activation: str) -> OutputError:
    """Return the function that takes z_N, ŷ, y and α to ℓ and δ_N: `loss_and_delta` with the names looked up.

    Examples
    --------
    >>> z = np.array([0.5, 2.0])
    >>> ell, delta = output_error("squared_error", "identity")(z, z, np.array([0.5, 1.0]), None)
    >>> float(ell), delta.tolist()
    (0.5, [0.0, 1.0])
    """
    name, parameter = loss_name(loss), loss_parameter(loss)
    (_, vjp), of_outputs = ACTIVATIONS[output_activation], LOSSES[name]
    natural = NATURAL_PAIRS.get((name, output_activation))
    if natural is not None:
        return lambda z, a, y, alpha: natural(z, a, y, parameter)

    def general(z: Array, a: Array, y: Array, alpha: float | None) -> tuple[Array, Array]:
        ell, da = of_outputs(a, y, parameter)
        return ell, vjp(z, a, da, alpha)

    return general


@np.errstate(all="ignore")
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
    return output_error(loss, output_activation)(z, a, y, alpha)


def target_rows(loss: str | Loss, y: ArrayLike, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return targets in the shape (..., n_N) of the outputs; class indices become one-hot rows.

    Examples
    --------
    >>> target_rows("cross_entropy", [2, 0], (2, 3), np.dtype(float)).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    rows: Array = np.asarray(y)
    if loss_name(loss) in ("cross_entropy", "hinge") and rows.size < np.prod(shape):
        rows = 1.0 * (np.arange(shape[-1]) == rows.reshape(shape[:-1]).astype(int)[..., None])
    return rows.astype(dtype, copy=False).reshape(shape)
