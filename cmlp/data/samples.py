"""Checked samples, the one form of data from the check to the kernel; their order; and their split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cmlp._base.checks import check_count, check_name, check_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

ORDERS = ("given", "shuffle", "replacement")


_DENSE_BYTES = 1 << 26  # sparse rows become dense so many bytes at a time


@dataclass(slots=True)
class Samples:
    """Checked samples, as the core takes them.

    Attributes
    ----------
    X : ndarray or SciPy's CSR matrix, shape (M, n)
        Sparse rows become dense in `parts`.
    Y : ndarray, shape (M, n_N), or None
    labels : ndarray of int64, shape (M,), or None
        Class indices in place of Y.
    weights : ndarray of float64, shape (M,), or None
        s_c; None: all 1.
    checked : bool
        Whether X has been looked through for NaN and infinities. If not, plain per-sample SGD stops at the first.
    """

    X: Any
    Y: NDArray[Any] | None = None
    labels: NDArray[np.int64] | None = None
    weights: NDArray[np.float64] | None = None
    checked: bool = True

    def __len__(self) -> int:
        """Return M."""
        n: int = self.X.shape[0]
        return n

    def rows(self, index: slice | NDArray[np.int64]) -> Samples:
        """Select rows by a slice (views) or an index array (copies)."""
        return Samples(
            self.X[index],
            None if self.Y is None else self.Y[index],
            None if self.labels is None else self.labels[index],
            None if self.weights is None else self.weights[index],
            self.checked,
        )

    def dense(self) -> Samples:
        """Return the samples with X as an array."""
        return self if isinstance(self.X, np.ndarray) else replace(self, X=self.X.toarray())

    def parts(
        self, order: NDArray[np.int64] | None = None, batch_size: int = 1
    ) -> Iterable[tuple[Samples, NDArray[np.int64] | None]]:
        """Return the samples and the visits to them: in one piece, or sparse rows, some whole batches at a time."""
        return ((self, order),) if isinstance(self.X, np.ndarray) else self._dense_parts(order, batch_size)

    def _dense_parts(self, order: NDArray[np.int64] | None, batch_size: int) -> Iterator[tuple[Samples, None]]:
        row_bytes = self.X.shape[1] * self.X.dtype.itemsize
        step = max(1, _DENSE_BYTES // row_bytes // batch_size) * batch_size
        for start in range(0, len(self) if order is None else len(order), step):
            rows = slice(start, start + step)
            yield self.rows(rows if order is None else order[rows]).dense(), None

    def total_weight(self, visits: NDArray[np.int64] | None = None, n: int | None = None) -> float:
        """Return Σ s_c over the samples, or over those visited: the first n of them."""
        if self.weights is None:
            return (len(self) if visits is None else len(visits)) if n is None else n
        return float((self.weights if visits is None else self.weights[visits])[:n].sum())


def as_rows(X: Any) -> Any:
    """Return a SciPy matrix by rows: as an array if that is small, else as CSR."""
    X = X.tocsr()
    return X.toarray() if X.shape[0] * X.shape[1] * X.dtype.itemsize <= _DENSE_BYTES else X


def sample_order(order: str, n_samples: int, rng: np.random.Generator) -> NDArray[np.int64] | None:
    """Return the order in which an epoch visits the samples.

    Parameters
    ----------
    order : {"given", "shuffle", "replacement"}
        As they are, in a fresh permutation, or drawn with replacement.
    n_samples : int
        M, >= 1.
    rng : numpy.random.Generator
        Where the order comes from; left untouched by "given".

    Returns
    -------
    ndarray of int64, shape (n_samples,), or None for "given"

    Raises
    ------
    TypeError, ValueError
        If the order is unknown or there are no samples.

    Examples
    --------
    >>> sorted(sample_order("shuffle", 4, np.random.default_rng(0)).tolist())
    [0, 1, 2, 3]
    """
    check_name(order, ORDERS, "order")
    n_samples = check_count(n_samples, "n_samples")
    return None if order == "given" else draw_order(order, n_samples, rng)


def draw_order(order: str, n_samples: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return an order that is not given; see `sample_order`."""
    drawn = rng.permutation(n_samples) if order == "shuffle" else rng.integers(n_samples, size=n_samples)
    return drawn if drawn.dtype == np.int64 else drawn.astype(np.int64)


def split_validation(
    n_samples: int, fraction: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split samples at random into those to train on and those to validate on.

    Parameters
    ----------
    n_samples : int
        M, >= 2.
    fraction : float
        Share of the samples to validate on, between 0 and 1.
    rng : numpy.random.Generator
        Where the choice comes from.

    Returns
    -------
    train, validation : ndarray of int64
        Sorted indices; together 0 ... n_samples - 1, round(fraction * n_samples) of them for validation.

    Raises
    ------
    TypeError, ValueError
        If the fraction is out of range, or leaves either side empty.

    Examples
    --------
    >>> train, validation = split_validation(10, 0.2, np.random.default_rng(0))
    >>> len(train), len(validation)
    (8, 2)
    """
    fraction = check_number(fraction, "validation", above=0, below=1)
    n_validation = round(fraction * check_count(n_samples, "n_samples"))
    if not 0 < n_validation < n_samples:
        raise ValueError(
            f"validation={fraction} of {n_samples} samples leaves {n_validation} to validate on and "
            f"{n_samples - n_validation} to train on, expected at least one each: change it, or give (X, y)"
        )
    shuffled = rng.permutation(n_samples).astype(np.int64, copy=False)
    return np.sort(shuffled[n_validation:]), np.sort(shuffled[:n_validation])
