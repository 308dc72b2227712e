"""What is learnt: the same samples and the same initial weights for every contestant, all float32."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass
class Problem:
    """A network of relu layers with a linear output, squared error, and samples for it.

    X is standard normal, without zeros, so that nobody gains from sparse inputs; y depends on it.
    """

    sizes: tuple[int, ...]
    X: Array  # (M, n)
    Y: Array  # (M, n_N)
    weights: list[Array]  # (n_in, n_out)
    biases: list[Array]
    learning_rate: float
    clip: float | None = None  # psi: limit of δ, for the rivals that can
    epochs: int = 1
    batch: int = 1
    optimizer: str = "sgd"  # "momentum" (0.9) and "adam" for mini-batches

    @property
    def name(self) -> str:
        return "-".join(map(str, self.sizes))

    @property
    def n_layers(self) -> int:
        return len(self.sizes) - 1

    @property
    def cost(self) -> int:
        """U, the number of weights."""
        return sum(n * m for n, m in itertools.pairwise(self.sizes))

    @property
    def flops(self) -> int:
        """Of learning from one sample: 6U, less the first layer's error terms for its input, which nobody needs."""
        return 6 * self.cost - 2 * self.sizes[0] * self.sizes[1]


def make_problem(sizes: tuple[int, ...], n_samples: int, **settings: Any) -> Problem:
    """Draw samples and He-normal weights, small biases, and a rate that is stable for every width."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_samples, sizes[0]), dtype=np.float32)
    teacher = rng.standard_normal((sizes[0], sizes[-1]), dtype=np.float32) / np.float32(sizes[0] ** 0.5)
    Y = np.tanh(X @ teacher)
    Y += 0.1 * rng.standard_normal(Y.shape, dtype=np.float32)
    shapes = list(itertools.pairwise(sizes))
    weights = [rng.standard_normal(shape, dtype=np.float32) * np.float32((2 / shape[0]) ** 0.5) for shape in shapes]
    biases = [0.1 * rng.standard_normal(m, dtype=np.float32) for _, m in shapes]
    for w in (*weights, *biases):
        w.flags.writeable = False  # a rival that trains them in place fails here, not silently
    settings.setdefault("learning_rate", 0.1 / (max(sizes) + 10))
    return Problem(sizes, X, Y, weights, biases, **settings)


def difference(ours: list[Any], theirs: list[Any], start: list[Array]) -> float:
    """Return how far two trained networks are apart, as a share of how far training moved them (root mean square)."""
    apart = sum(float(np.square(np.asarray(w) - np.asarray(v)).sum()) for w, v in zip(ours, theirs, strict=True))
    moved = sum(float(np.square(np.asarray(w) - w0).sum()) for w, w0 in zip(ours, start, strict=True))
    return float((apart / moved) ** 0.5)


def compare(problem: Problem, rivals: dict[str, Any], n_samples: int, tolerance: float) -> str:
    """Let everyone learn from the same few samples; say how far the results are apart, AssertionError if too far."""
    for rival in rivals.values():
        rival.reset()
        rival.learn(n_samples)
    first, *others = rivals
    ours = rivals[first].trained()
    apart = {name: difference(ours, rivals[name].trained(), problem.weights) for name in others}
    if any(not value <= tolerance for value in apart.values()):
        raise AssertionError(f"{problem.name}: not everyone computes what {first} does: {apart}")
    listed = ", ".join(f"{name} {value:.0e}" for name, value in apart.items())
    return f"after {n_samples} samples, distance from {first}'s weights over the way they went: {listed or 'no others'}"
