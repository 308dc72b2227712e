"""Any composition of layers: its output, its gradients, and the masks of dropout.

Every layer returns its output and a function that takes ∂ℓ/∂output to ∂ℓ/∂input. A new one is one function here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import reduce, singledispatch
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from cmlp.layers import Activation, Add, Chain, Concatenate, Dense, Dropout, Identity, Layer
from cmlp.losses import Loss
from cmlp.reference.functions import Array, activate, activation_vjp, loss_and_delta, target_rows
from cmlp.reference.steps import Arrays, Biases, gradients

Backward: TypeAlias = Callable[[Array], Array]  # ∂ℓ/∂output -> ∂ℓ/∂input


class _Given:
    """What the layers of a composition take from outside, each in its turn: depth first and left to right.

    `parameters` has W and b of the Dense layers, and two arrays that their backward functions fill with ∂ℓ/∂W and
    ∂ℓ/∂b; `masks` the factors of the Dropout layers, None: there is no dropout.
    """

    def __init__(
        self,
        parameters: Iterable[tuple[Array, Array | None, Array, Array]],
        psi: float | None = None,
        masks: Arrays | None = None,
    ) -> None:
        self.parameters, self.psi = iter(parameters), psi
        self.masks = None if masks is None else iter(masks)


@singledispatch
def _apply(layer: Layer, x: Array, given: _Given) -> tuple[Array, Backward]:
    """Return a layer's output, and the function that takes ∂ℓ/∂output to ∂ℓ/∂input."""
    raise TypeError(f"unknown layer {layer!r}")


@_apply.register
def _(layer: Dense, x: Array, given: _Given) -> tuple[Array, Backward]:
    W, b, dW, db = next(given.parameters)
    z = x.dot(W) if b is None else x.dot(W) + b
    a = activate(layer.activation, z, layer.alpha)

    def backward(da: Array) -> Array:
        delta = activation_vjp(layer.activation, z, a, da, layer.alpha)
        clipped = delta if given.psi is None else np.clip(delta, -given.psi, given.psi)
        dW[...], db[...] = gradients([x], [clipped], [db])
        dx: Array = delta.dot(W.T)
        return dx

    return a, backward


@_apply.register
def _(layer: Activation, x: Array, given: _Given) -> tuple[Array, Backward]:
    a = activate(layer.name, x, layer.alpha)
    return a, lambda da: activation_vjp(layer.name, x, a, da, layer.alpha)


@_apply.register
def _(layer: Identity, x: Array, given: _Given) -> tuple[Array, Backward]:
    return x, lambda dy: dy


@_apply.register
def _(layer: Dropout, x: Array, given: _Given) -> tuple[Array, Backward]:
    if given.masks is None:
        return x, lambda dy: dy
    mask = next(given.masks)
    return x * mask, lambda dy: dy * mask


@_apply.register
def _(layer: Chain, x: Array, given: _Given) -> tuple[Array, Backward]:
    # y = f_m(… f_1(x)): the factors' backward functions in reverse order
    backwards = []
    for factor in layer.layers:
        x, backward = _apply(factor, x, given)
        backwards.append(backward)
    return x, lambda dy: reduce(lambda d, backward: backward(d), reversed(backwards), dy)


@_apply.register
def _(layer: Add, x: Array, given: _Given) -> tuple[Array, Backward]:
    # y = f(x) + g(x): each branch gets all of ∂ℓ/∂y, and ∂ℓ/∂x is the sum of what they give back
    outputs, backwards = zip(*(_apply(branch, x, given) for branch in layer.layers), strict=True)
    return reduce(np.add, outputs), lambda dy: reduce(np.add, [backward(dy) for backward in backwards])


@_apply.register
def _(layer: Concatenate, x: Array, given: _Given) -> tuple[Array, Backward]:
    # y = f(x) ⊕ g(x): each branch gets its own part of ∂ℓ/∂y, and ∂ℓ/∂x is the sum of what they give back
    outputs, backwards = zip(*(_apply(branch, x, given) for branch in layer.layers), strict=True)
    ends = np.cumsum([output.shape[-1] for output in outputs])[:-1]

    def backward(dy: Array) -> Array:
        parts = np.split(dy, ends, axis=-1)
        return reduce(np.add, [back(part) for back, part in zip(backwards, parts, strict=True)])

    return np.concatenate(outputs, axis=-1), backward


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


@np.errstate(all="ignore")
def network_forward(layer: Layer, weights: Arrays, biases: Biases, x: ArrayLike) -> Array:
    """Return the output of any composition of layers for a sample (n,) or samples (M, n).

    `weights` and `biases` (None without a bias) are those of the Dense layers, depth first and left to right.

    Examples
    --------
    A skip connection, x + Wᵀx:

    >>> network_forward(Add((Identity(), Dense(2, bias=False))), [np.eye(2) * 3], [None], [1.0, 2.0]).tolist()
    [4.0, 8.0]
    """
    given = _Given(zip(weights, biases, weights, weights, strict=True))  # no gradients will be filled in
    return _apply(layer, np.asarray(x, weights[0].dtype), given)[0]


@np.errstate(all="ignore")
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
    given = _Given(zip(weights, biases, dW, db, strict=True), clip_delta, masks)
    z, backward = _apply(inner, np.asarray(x, weights[0].dtype), given)
    rows = target_rows(loss, y, z.shape, z.dtype)
    ell, delta = loss_and_delta(loss, name, z, activate(name, z, alpha), rows, alpha)
    backward(delta)
    return ell, dW, [None if b is None else g for b, g in zip(biases, db, strict=True)]


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
