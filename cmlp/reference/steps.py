"""What a gradient does to the parameters, in the forms of `cmlp.optimizers`, which names the sources."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from functools import partial, singledispatch
from typing import NamedTuple, TypeAlias

import numpy as np

from cmlp.optimizers import SGD, Adagrad, Adam, GradientDescent, Optimizer, RMSprop, Rprop, SteppingOptimizer
from cmlp.reference.functions import Array

Arrays: TypeAlias = Sequence[Array]
Biases: TypeAlias = Sequence[Array | None]
Slots: TypeAlias = dict[str, Array]


def gradients(as_: Arrays, deltas: Arrays, biases: Biases, factor: float = 1.0) -> list[Array]:
    """Return all ∂E/∂W_k = Σ_c a_{k-1} δ_kᵀ, then all ∂E/∂b_k = Σ_c δ_k, over the samples c of a block, or of one.

    The error terms come first times the factor. Where b_k is None there is no ∂E/∂b_k.

    Examples
    --------
    >>> gradients([np.array([[1.0, 2.0], [3.0, 4.0]])], [np.array([[1.0], [2.0]])], [np.zeros(1)])
    [array([[ 7.],
           [10.]]), array([3.])]
    """
    rows = [factor * np.atleast_2d(delta) for delta in deltas]
    dW = [delta.T.dot(np.atleast_2d(a)).T for a, delta in zip(as_, rows, strict=False)]
    return dW + [delta.sum(0) for delta, b in zip(rows, biases, strict=True) if b is not None]


def clip_gradient(gradient: Arrays, clip_value: float | None, clip_norm: float | None) -> None:
    """Clip g elementwise; then g ← g clip_norm / ‖g‖ if the norm over all parameters is above clip_norm.

    Examples
    --------
    >>> g = [np.array([3.0, -9.0])]
    >>> clip_gradient(g, clip_value=4.0, clip_norm=2.5)
    >>> g
    [array([ 1.5, -2. ])]
    """
    if clip_value is not None:
        for g in gradient:
            np.clip(g, -clip_value, clip_value, out=g)
    if clip_norm is not None:
        norm = float(np.sqrt(sum(np.square(g, dtype=np.float64).sum() for g in gradient)))
        if norm > clip_norm:
            for g in gradient:
                g *= clip_norm / norm


# ------------------------------------------------------------------------------------------------ optimisers


class Now(NamedTuple):
    """The learning rate γ_t of a step, its number t = 0, 1, 2, ..., and whether ℓ has risen since the last one."""

    gamma: float
    t: int
    loss_rose: bool


@singledispatch
def change(o: Optimizer, g: Array, kept: Slots, now: Now) -> Array:
    """Return what a step of an optimiser takes away from parameters w, given their gradient g: w ← w − change.

    `kept` is what the optimiser keeps for w from step to step, by name: arrays like w, 0 at first.

    Examples
    --------
    >>> change(SGD(), np.array([1.0, -2.0]), {}, Now(0.1, 0, False)).tolist()
    [0.1, -0.2]
    """
    raise TypeError(f"no step of {o!r} is written here")


@change.register
def _(o: GradientDescent, g: Array, kept: Slots, now: Now) -> Array:
    return now.gamma * g


@change.register
def _(o: SGD, g: Array, kept: Slots, now: Now) -> Array:
    if not o.momentum:
        return now.gamma * g
    v = kept["velocity"] = o.momentum * kept["velocity"] + g
    return now.gamma * (g + o.momentum * v if o.nesterov else v)


@change.register  # of AdamW too, whose weights shrink in `Steps.take`
def _(o: Adam, g: Array, kept: Slots, now: Now) -> Array:
    m = kept["velocity"] = o.beta1 * kept["velocity"] + (1 - o.beta1) * g
    v = kept["squares"] = o.beta2 * kept["squares"] + (1 - o.beta2) * g**2
    if o.amsgrad:
        v = kept["largest_squares"] = np.maximum(kept["largest_squares"], v)
    m_hat, v_hat = m / (1 - o.beta1 ** (now.t + 1)), v / (1 - o.beta2 ** (now.t + 1))
    return now.gamma * m_hat / (np.sqrt(v_hat) + o.eps)


@change.register
def _(o: RMSprop, g: Array, kept: Slots, now: Now) -> Array:
    v = kept["squares"] = o.beta * kept["squares"] + (1 - o.beta) * g**2
    if o.centered:
        mean = kept["means"] = o.beta * kept["means"] + (1 - o.beta) * g
        v = np.maximum(v - mean**2, 0)
    u = kept["velocity"] = o.momentum * kept["velocity"] + g / (np.sqrt(v) + o.eps)
    return now.gamma * u


@change.register
def _(o: Adagrad, g: Array, kept: Slots, now: Now) -> Array:
    v = kept["squares"] = kept["squares"] + g**2
    step: Array = now.gamma * g / (np.sqrt(v) + o.eps)
    return step


@change.register
def _(o: Rprop, g: Array, kept: Slots, now: Now) -> Array:
    last = kept["last_signs"]
    size = kept["step_sizes"] if now.t > 0 else np.full_like(g, o.learning_rate)
    same, changed = np.sign(g) * last > 0, np.sign(g) * last < 0
    back = np.where(changed & now.loss_rose, last * size, 0)  # where the sign changed, the last step is taken back
    size = np.where(same, np.minimum(o.increase * size, o.max_step), size)
    size = np.where(changed, np.maximum(o.decrease * size, o.min_step), size)
    last = np.where(changed, 0, np.sign(g))
    kept["last_signs"], kept["step_sizes"] = last, size
    return last * size - back


class Steps:
    """The steps of an optimiser on the weights and biases of a chain, in place, each with a clipped gradient.

    Examples
    --------
    >>> W = np.array([[2.0]])
    >>> steps = Steps(SGD(momentum=0.5), [W], [None])
    >>> for _ in range(2):
    ...     steps.take([np.array([[1.0]])], 0.1, 0.0)
    >>> W.round(2).item()  # 2 − 0.1 − 0.15
    1.75
    """

    def __init__(
        self,
        optimizer: SteppingOptimizer,
        weights: Arrays,
        biases: Biases,
        clip_value: float | None = None,
        clip_norm: float | None = None,
    ) -> None:
        if optimizer.searches or optimizer.averaging is not None:
            raise TypeError(f"no step of {optimizer!r} is written here: it needs a search or averages")
        self.optimizer, self.weights, self.biases = optimizer, weights, biases
        self.clip_value, self.clip_norm = clip_value, clip_norm
        self.parameters = [*weights, *(b for b in biases if b is not None)]
        self.kept: list[Slots] = [defaultdict(partial(np.zeros_like, w)) for w in self.parameters]
        self.t, self.last_loss = 0, math.inf
        unclipped = clip_value is None and clip_norm is None
        self.is_plain = unclipped and isinstance(optimizer, SGD) and optimizer == SGD(optimizer.learning_rate)
        self.buffers = [np.empty_like(W.T) for W in weights] if self.is_plain else []

    def take_plain(self, as_: Arrays, deltas: Arrays, gamma: float) -> None:
        """Take a plain step on one sample: W_k ← W_k − γ a_{k-1} δ_kᵀ and b_k ← b_k − γ δ_k."""
        rate = np.array(gamma, as_[0].dtype)  # a Python float would be converted at every use
        for W, b, a, delta, step in zip(self.weights, self.biases, as_, deltas, self.buffers, strict=False):
            delta = rate * delta  # n_k products; γ (a δᵀ) would take n_{k-1} n_k
            np.dot(delta[:, None], a[None], out=step)  # the transpose, δ aᵀ; BLAS is faster than np.outer here
            W -= step.T
            if b is not None:
                b -= delta

    def take(self, gradient: Arrays, gamma: float, loss: float) -> None:
        """Take a step, given the gradient of E, as `gradients` returns it and to be clipped in place, and E itself."""
        clip_gradient(gradient, self.clip_value, self.clip_norm)
        o, now = self.optimizer, Now(gamma, self.t, loss > self.last_loss)
        decay = getattr(o, "weight_decay", 0.0)
        for k, (w, g, kept) in enumerate(zip(self.parameters, gradient, self.kept, strict=True)):
            is_weight = k < len(self.weights)
            if decay and is_weight:
                if o.settings.get("decoupled"):
                    w *= 1 - gamma * decay
                else:
                    g = g + decay * w
            if o.l1 and is_weight:
                g = g + o.l1 * np.sign(w)
            w -= change(o, g, kept, now)
        if o.max_norm is not None:
            for W in self.weights:
                W *= np.minimum(1, o.max_norm / np.maximum(np.linalg.norm(W, axis=0), 1e-30))
        self.t, self.last_loss = self.t + 1, loss
