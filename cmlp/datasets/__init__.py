"""Small data sets that come with the package, and the generator of the headline workload.

Everything is made or read locally, with NumPy alone. Targets are in the shape that `fit` takes and `predict`
or `predict_class` gives: one column (M, 1) for one output, class indices (M,) for several classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from cmlp._base.checks import check_count, check_name

__all__ = ["four_points", "headline", "load_digits", "logic_gate"]

# Truth tables over the inputs (0, 0), (0, 1), (1, 0), (1, 1), in this order.
_GATES = {"and": (0, 0, 0, 1), "or": (0, 1, 1, 1), "xor": (0, 1, 1, 0)}


def load_digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Load the UCI handwritten digits: 1797 images of 8 x 8 pixels, 10 classes.

    The test set of "Optical Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak (1998). A bitmap
    of 32 x 32 points is cut into blocks of 4 x 4; a pixel is the number of ink points in its block.

    Returns
    -------
    X : ndarray of float32, shape (1797, 64)
        One image a row, pixels row by row, each 0 to 16. The values are not scaled.
    y : ndarray of int64, shape (1797,)
        The digit, 0 to 9.

    Notes
    -----
    Source: UCI Machine Learning Repository, https://archive.ics.uci.edu/dataset/80.
    Licence: Creative Commons Attribution 4.0 International (CC BY 4.0).

    Examples
    --------
    >>> from cmlp.datasets import load_digits
    >>> X, y = load_digits()
    >>> X.shape, y.shape
    ((1797, 64), (1797,))
    >>> print(y[:10])
    [0 1 2 3 4 5 6 7 8 9]
    """
    from importlib import resources  # only here: keeps `import cmlp` light

    with (
        resources.files("cmlp.datasets").joinpath("digits.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        return arrays["X"].astype(np.float32), arrays["y"].astype(np.int64)


def logic_gate(name: str, dtype: DTypeLike = np.float32) -> tuple[NDArray[Any], NDArray[Any]]:
    """Give the truth table of a logic gate.

    Parameters
    ----------
    name : {"and", "or", "xor"}
        The gate; capitals do not matter.
    dtype : dtype, default float32
        Type of both arrays.

    Returns
    -------
    X : ndarray, shape (4, 2)
        The inputs (0, 0), (0, 1), (1, 0), (1, 1).
    y : ndarray, shape (4, 1)
        What the gate answers, 0 or 1.

    Raises
    ------
    TypeError, ValueError
        If `name` is not a string, or there is no gate of that name.

    Examples
    --------
    >>> from cmlp.datasets import logic_gate
    >>> X, y = logic_gate("xor")
    >>> print(y.ravel())
    [0. 1. 1. 0.]
    """
    name = check_name(name.lower() if isinstance(name, str) else name, _GATES, "gate")
    X = np.array([(0, 0), (0, 1), (1, 0), (1, 1)], dtype=dtype)
    return X, np.array(_GATES[name], dtype=dtype).reshape(4, 1)


def four_points(dtype: DTypeLike = np.float32) -> tuple[NDArray[Any], NDArray[Any]]:
    """Give the four-sample set D = {((-3, -3), 1), ((-2, -2), 1), ((4, 4), 0), ((2, -5), 0)}.

    With one sigmoid neuron without bias and E = Σ (y - ŷ)² it gives a loss surface over two weights that can
    be drawn, on which gradient descent and stochastic gradient descent can be watched.

    Parameters
    ----------
    dtype : dtype, default float32
        Type of both arrays.

    Returns
    -------
    X : ndarray, shape (4, 2)
        The points.
    y : ndarray, shape (4, 1)
        Their targets, 0 or 1.

    Examples
    --------
    >>> from cmlp.datasets import four_points
    >>> X, y = four_points()
    >>> print(X.astype(int).tolist(), y.ravel())
    [[-3, -3], [-2, -2], [4, 4], [2, -5]] [1. 1. 0. 0.]
    """
    X = np.array([(-3, -3), (-2, -2), (4, 4), (2, -5)], dtype=dtype)
    return X, np.array([(1,), (1,), (0,), (0,)], dtype=dtype)


def headline(
    n_samples: int = 15_000, n_features: int = 6_528, seed: int = 0, dtype: DTypeLike = np.float32
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Generate the headline workload of the benchmarks: a wide regression table of any size.

    X is standard normal and y = tanh(X u) + 0.1 e, with a fixed direction u of length about 1 and standard
    normal noise e, all drawn from `seed`. X is generated in its own dtype, without a temporary array.

    Parameters
    ----------
    n_samples : int, default 15000
        Number of rows M.
    n_features : int, default 6528
        Number of columns n.
    seed : int, default 0
        Seed of the generator. All else equal, the rows of a smaller table are the first rows of a larger one.
    dtype : {float32, float64}, default float32
        Type of both arrays. The default size takes 392 MB in float32.

    Returns
    -------
    X : ndarray, shape (n_samples, n_features)
    y : ndarray, shape (n_samples, 1)

    Raises
    ------
    TypeError, ValueError
        If a size is not an integer >= 1, or `dtype` is neither float32 nor float64.

    Examples
    --------
    >>> from cmlp.datasets import headline
    >>> X, y = headline(n_samples=100, n_features=20)
    >>> X.shape, y.shape, X.dtype.name
    ((100, 20), (100, 1), 'float32')
    """
    n_samples, n_features = check_count(n_samples, "n_samples"), check_count(n_features, "n_features")
    kind = np.dtype(dtype)
    name: Any = check_name(kind.name, ("float32", "float64"), "dtype")  # Any: mypy wants a literal
    # Three independent streams, so that neither u nor X depends on how many samples are asked for.
    direction_rng, sample_rng, noise_rng = np.random.default_rng(seed).spawn(3)
    direction = direction_rng.standard_normal((n_features, 1), dtype=name)
    direction /= n_features**0.5
    X = sample_rng.standard_normal((n_samples, n_features), dtype=name)
    y = np.tanh(X @ direction)
    y += 0.1 * noise_rng.standard_normal((n_samples, 1), dtype=name)
    return X, y
