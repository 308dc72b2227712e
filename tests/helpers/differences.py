"""Central differences, and random chains to hold against them."""

from __future__ import annotations

import itertools

import numpy as np


def central_differences(function, array, step=1e-6):
    """∂ function / ∂ array, one element at a time: (E(w + h) − E(w − h)) / 2h, with an error of O(h²)."""
    gradient = np.empty_like(array)
    for index in np.ndindex(array.shape):
        value = array[index]
        array[index] = value + step
        above = function()
        array[index] = value - step
        below = function()
        array[index] = value
        gradient[index] = (above - below) / (2 * step)
    return gradient


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-8)


def random_chain(rng, sizes, bias=True, low=-1.0, high=1.0, dtype=np.float64):
    weights = [rng.uniform(low, high, shape).astype(dtype) for shape in itertools.pairwise(sizes)]
    biases = [rng.uniform(low, high, n).astype(dtype) if bias else None for n in sizes[1:]]
    return weights, biases


def copies(arrays):
    return [None if array is None else array.copy() for array in arrays]


def random_targets(rng, loss, shape):
    y = rng.uniform(0.05, 0.95, shape)
    if loss == "hinge":
        return np.sign(y - 0.5)
    return y / y.sum(-1, keepdims=True) if loss == "cross_entropy" else y
