"""`cmlp bench`: cmlp beside pure NumPy (`cmlp.reference`), the same training in one run on one machine."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import cmlp
from cmlp import reference
from cmlp._core import simd_level


@dataclass(frozen=True)
class Workload:
    """A network and how many samples it learns from.

    Attributes
    ----------
    sizes : tuple of int
        n, the hidden widths and the number of outputs.
    n_samples, n_numpy : int
        M for cmlp; and for NumPy, whose time per sample is the same with fewer.
    epochs : int
        K, for both.
    """

    sizes: tuple[int, ...]
    n_samples: int
    n_numpy: int
    epochs: int = 3


HEADLINE = (6528, 5, 5, 1)
FULL = (
    Workload(HEADLINE, 15_000, 1_500),
    Workload((2, 4, 1), 200_000, 5_000),
    Workload((10, 32, 32, 1), 100_000, 5_000),
    Workload((784, 128, 10), 10_000, 1_000),
)
QUICK = (
    Workload(HEADLINE, 2_000, 300),
    Workload((2, 4, 1), 50_000, 1_000),
    Workload((10, 32, 32, 1), 20_000, 1_000),
    Workload((784, 128, 10), 2_000, 300),
)


def run(arguments: argparse.Namespace) -> int:
    """Carry out `cmlp bench`; return the exit code."""
    bench(quick=arguments.quick)
    return 0


def bench(*, quick: bool = False, workloads: tuple[Workload, ...] | None = None) -> None:
    """Print the table of `cmlp bench`.

    Parameters
    ----------
    quick : bool, default False
        Smaller workloads, each run once; otherwise the best of three runs counts.
    workloads : tuple of Workload, optional
        Other workloads.

    Examples
    --------
    >>> bench(workloads=(Workload((3, 2, 1), 10, 5),))  # doctest: +ELLIPSIS
    per-sample SGD, float32, relu, ...
    3-2-1 ...
    """
    print("per-sample SGD, float32, relu, δ clipped to ±1; µs per sample")
    print(f"cmlp {cmlp.__version__} with its {simd_level()} kernels; NumPy {np.__version__}")
    print("M samples, K epochs (fewer samples for NumPy, whose time for each is the same)\n")
    print(f"{'layers':<14}{'M x K':>13}{'cmlp':>10}{'NumPy, M x K':>17}{'NumPy':>10}{'ratio':>9}")
    cost = ""
    for workload in workloads or (QUICK if quick else FULL):
        fast, slow = _times(workload, repeats=1 if quick else 3)
        name, K = "-".join(map(str, workload.sizes)), workload.epochs
        ours, numpys = f"{workload.n_samples:,} x {K}", f"{workload.n_numpy:,} x {K}"
        print(f"{name:<14}{ours:>13}{fast * 1e6:>10.3f}{numpys:>17}{slow * 1e6:>10.2f}{slow / fast:>8.1f}x", flush=True)
        if workload.sizes == HEADLINE:
            unit = (len(workload.sizes) - 1) * workload.sizes[0] * workload.sizes[1] / 1e9  # (L + 1) n h, in ns
            cost = f"\n{name}: C = time / (K M (L+1) n h) = {fast / unit:.4f} ns, NumPy {slow / unit:.3f} ns"
    if cost:
        print(cost)


def _times(workload: Workload, repeats: int) -> tuple[float, float]:
    """Train with both; return the seconds per sample of cmlp and of NumPy."""
    sizes, K = workload.sizes, workload.epochs
    X, y = _samples(workload)
    loss = "cross_entropy" if sizes[-1] > 1 else "squared_error"
    rate = 0.1 / sizes[0]  # ‖x‖² ≈ n: a step that is stable for every n
    start = cmlp.MLP(sizes, loss=loss, seed=0)
    activations = ["relu"] * (len(sizes) - 2) + ["softmax" if sizes[-1] > 1 else "identity"]

    def with_cmlp() -> None:
        network = cmlp.MLP(sizes, loss=loss, optimizer=cmlp.SGD(rate), seed=0)
        network.fit(X, y, epochs=K, order="given", clip_delta=1.0)

    def with_numpy() -> None:
        weights = [W.copy() for W in start.weights]
        biases = [None if b is None else b.copy() for b in start.biases]
        m = workload.n_numpy
        reference.train(weights, biases, activations, loss, X[:m], y[:m], learning_rate=rate, epochs=K, clip_delta=1.0)

    fast = _best_time(with_cmlp, repeats) / (K * workload.n_samples)
    return fast, _best_time(with_numpy, repeats) / (K * workload.n_numpy)


def _samples(workload: Workload) -> tuple[NDArray[Any], NDArray[Any]]:
    """Generate standard normal samples, with targets that depend on them."""
    X, y = cmlp.datasets.headline(workload.n_samples, workload.sizes[0])
    n_classes = workload.sizes[-1]
    if n_classes == 1:
        return X, y
    # y as classes: its rank among all samples, cut into equal parts.
    ranks = y.ravel().argsort().argsort()
    return X, ranks * n_classes // len(y)


def _best_time(function: Callable[[], object], repeats: int) -> float:
    """Return the shortest of several run times, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)
