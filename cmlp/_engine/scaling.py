"""The scale of the inputs, learnt from what a network is trained on: mean and variance of every column of X.

They are brought up to date block by block, of n rows with mean m and sum of squared deviations S (Chan, Golub and
LeVeque, Updating formulae and a pairwise algorithm for computing sample variances, 1979; with n = 1 this is Welford's
method, 1962), here with x counted from the old mean μ, so that equal numbers have no deviation at all:

    N' = N + n        μ' = μ + m n / N'        S' = S + S_block + m² N n / N'

Missing entries (NaN) do not count. Then x' = (x - μ) / σ with σ² = S / N, and σ = 1 for a constant column.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cmlp._base.checks import check_name, shown
from cmlp._core import standardize as _standardize

if TYPE_CHECKING:
    from numpy.typing import NDArray

MISSING = ("error", "mean")
_BLOCK = 1 << 18  # entries whose deviations are held in float64 at a time


class Scaling:
    """Means and deviations of the columns seen so far, and what they do to new rows.

    Parameters
    ----------
    n : int
        Columns.
    dtype : numpy.dtype
        Of the rows, and of the network.
    standardize : bool
        Whether rows become (x - μ) / σ; else they stay as they are, but for missing entries.
    missing : {"error", "mean"}
        Whether NaN is replaced by μ.

    Attributes
    ----------
    count, mean, squares : ndarray of float64, shape (n,)
        N, μ and S of every column; empty if nothing is to be learnt.
    arrays : tuple of ndarray of `dtype`, shape (n,), or None
        μ and 1/σ, live, if rows are standardised.

    Examples
    --------
    >>> scaling = Scaling(1, np.dtype("float64"), True, "error")
    >>> scaling.learn(np.array([[1.0], [3.0]]))
    >>> scaling.apply(np.array([[2.0], [3.0]])).ravel()
    array([0., 1.])
    """

    def __init__(self, n: int, dtype: np.dtype[Any], standardize: bool, missing: str) -> None:
        if not isinstance(standardize, bool):
            raise TypeError(f"standardize must be True or False, not {shown(standardize)}")
        self.standardize = standardize
        self.dtype = dtype
        self.missing = check_name(missing, MISSING, "missing")
        size = n if self.needed else 0
        self.count, self.mean, self.squares = np.zeros(size), np.zeros(size), np.zeros(size)
        self.arrays = (np.zeros(n, dtype), np.ones(n, dtype)) if standardize else None

    @property
    def needed(self) -> bool:
        """Whether it does anything."""
        return self.standardize or self.missing == "mean"

    @property
    def buffers(self) -> list[NDArray[Any]]:
        """Everything that learning changes, live."""
        return [*self.state().values(), *(self.arrays or ())] if self.needed else []

    def deviation(self) -> NDArray[np.float64]:
        """Return σ, 1 for constant columns and those whose 1/σ is beyond the numbers of `dtype`."""
        deviation: NDArray[np.float64] = np.sqrt(self.squares / np.maximum(self.count, 1))
        with np.errstate(all="ignore"):
            inverse = (1 / deviation).astype(self.dtype)
        return np.where(np.isfinite(inverse) & (inverse > 0), deviation, 1.0)

    def learn(self, X: NDArray[Any], *, need_all: bool = False) -> None:
        """Take the rows of X into account.

        Parameters
        ----------
        X : ndarray, shape (M, n)
        need_all : bool
            Whether every column has to have an entry by then.

        Raises
        ------
        ValueError
            If a column has none, or numbers whose squares overflow; nothing is learnt then.

        Examples
        --------
        >>> scaling = Scaling(2, np.dtype("float64"), True, "mean")
        >>> scaling.learn(np.array([[1.0, np.nan], [3.0, 5.0]]))
        >>> scaling.mean, scaling.squares
        (array([2., 5.]), array([2., 0.]))
        """
        count, mean, squares = self.count.copy(), self.mean.copy(), self.squares.copy()
        step = max(1, _BLOCK // X.shape[1])
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, len(X), step):
                _merge(count, mean, squares, X[start : start + step])
        if not np.isfinite(squares).all():
            column = int(np.argmin(np.isfinite(squares)))
            raise ValueError(f"the numbers in column {column} of X are too large to be standardised: scale them")
        if need_all and not count.all():
            raise ValueError(f"column {int(np.argmin(count))} of X is NaN in every row, so it has no mean: drop it")
        self.set_state({"count": count, "mean": mean, "squares": squares})

    def apply(self, X: NDArray[Any]) -> NDArray[Any]:
        """Return rows as the network takes them: X itself if there is nothing to change, else a copy.

        Examples
        --------
        >>> scaling = Scaling(1, np.dtype("float64"), False, "mean")
        >>> scaling.learn(np.array([[1.0], [3.0]]))
        >>> scaling.apply(np.array([[np.nan], [3.0]])).ravel()
        array([2., 3.])
        """
        if self.missing == "mean":
            gaps = np.isnan(X)
            if gaps.any():
                X = np.where(gaps, self.mean.astype(X.dtype), X)
        if self.arrays is None:
            return X
        out = np.empty_like(X, order="C")
        _standardize(X, *self.arrays, out)
        return out

    def state(self) -> dict[str, NDArray[np.float64]]:
        """Return the live arrays, by name.

        Examples
        --------
        >>> sorted(Scaling(1, np.dtype("float64"), True, "error").state())
        ['count', 'mean', 'squares']
        """
        return {"count": self.count, "mean": self.mean, "squares": self.squares}

    def set_state(self, state: dict[str, NDArray[np.float64]]) -> None:
        """Take over what `state` returned; ValueError if it is no such thing.

        Examples
        --------
        >>> scaling = Scaling(1, np.dtype("float64"), True, "error")
        >>> scaling.set_state({"count": np.full(1, 4.0), "mean": np.zeros(1), "squares": np.full(1, 16.0)})
        >>> scaling.apply(np.array([[6.0]])).item()
        3.0
        """
        beyond = np.abs(state["mean"]) > np.finfo(self.dtype).max
        if (state["count"] < 0).any() or (state["squares"] < 0).any() or beyond.any():
            raise ValueError(f"a scaling has counts and sums of squares >= 0, and means that {self.dtype} can hold")
        for name, array in self.state().items():
            array[...] = state[name]
        if self.arrays is not None:
            self.arrays[0][...] = self.mean
            self.arrays[1][...] = 1 / self.deviation()


def _merge(
    count: NDArray[np.float64], mean: NDArray[np.float64], squares: NDArray[np.float64], X: NDArray[Any]
) -> None:
    """Take a block of rows into account, in place."""
    known = ~np.isnan(X)
    n = known.sum(axis=0)
    new = (count == 0) & (n > 0)
    mean[new] = X[known.argmax(axis=0), np.arange(X.shape[1])][new]  # the first entry: x is counted from it
    deviations = np.where(known, X - mean, 0.0)
    m = deviations.sum(axis=0) / np.maximum(n, 1)
    squares += np.where(known, (deviations - m) ** 2, 0.0).sum(axis=0)
    total = np.maximum(count + n, 1)
    squares += m**2 * count * n / total
    mean += m / (total / np.maximum(n, 1))  # with n = 1 to the bit what the core's learn_scale does
    count += n
