"""The loops of the Numba rival: per-sample SGD, one step for one row, and the prediction of one row."""

from typing import Any

import numpy as np
from numba import njit


@njit(fastmath=True, cache=True)
def forward(weights: Any, biases: Any, values: Any) -> None:
    """Run from values[0] = x; W is (n_out, n_in)."""
    N = len(weights)
    for k in range(N):
        W, b, a, z = weights[k], biases[k], values[k], values[k + 1]
        for j in range(W.shape[0]):
            s = b[j]
            for i in range(W.shape[1]):
                s += W[j, i] * a[i]
            z[j] = max(s, np.float32(0)) if k < N - 1 else s


@njit(fastmath=True, cache=True)
def learn(weights: Any, biases: Any, values: Any, deltas: Any, x: Any, y: Any, rate: Any, clip: Any) -> None:
    """Learn from one sample."""
    N = len(weights)
    values[0][:] = x
    forward(weights, biases, values)
    for j in range(len(y)):
        deltas[N][j] = values[N][j] - y[j]
    for k in range(N - 1, -1, -1):
        W, b, a, delta, below = weights[k], biases[k], values[k], deltas[k + 1], deltas[k]
        if k > 0:
            below[:] = 0
            for j in range(W.shape[0]):
                for i in range(W.shape[1]):
                    below[i] += W[j, i] * delta[j]
            for i in range(W.shape[1]):
                if a[i] <= 0:
                    below[i] = 0
        for j in range(W.shape[0]):
            step = rate * min(max(delta[j], -clip), clip)
            b[j] -= step
            for i in range(W.shape[1]):
                W[j, i] -= step * a[i]


@njit(fastmath=True, cache=True)
def train(weights: Any, biases: Any, values: Any, deltas: Any, X: Any, Y: Any, rate: Any, clip: Any) -> None:
    """Learn from all samples, in their order."""
    for t in range(len(X)):
        learn(weights, biases, values, deltas, X[t], Y[t], rate, clip)


@njit(fastmath=True, cache=True)
def predict(weights: Any, biases: Any, values: Any, x: Any) -> Any:
    """Return the output for one row."""
    values[0][:] = x
    forward(weights, biases, values)
    return values[-1].copy()
