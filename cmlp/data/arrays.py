"""Inputs, targets and weights from users, checked and made to fit the core.

What fits already is never copied. See `cmlp._base.checks` for what every array is checked for.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cmlp._base.checks import finite_array, fitted, numeric_array, place
from cmlp.losses import FACTS, Loss, loss_name

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_LARGE_SQUARED = 1e12  # one column of such numbers, and no optimiser learns anything from the others
_LOOKED_AT = 4096  # entries of X
_LIBRARIES = ("cmlp", "sklearn")  # whose lines are not the user's


class InputScaleWarning(UserWarning):
    """Some inputs are so large that training cannot learn from the others, or leaves the finite numbers.

    `fit` warns of columns with numbers beyond 10⁶ in a network without `standardize`. It looks at some rows only, which
    costs nothing.

    Examples
    --------
    >>> import warnings, cmlp
    >>> net = cmlp.MLP([2, 1], seed=0, optimizer="adam")
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     history = net.fit([[0.5, 1.7e9], [0.1, 1.8e9]], [0, 1])
    >>> print(caught[0].message)
    X holds numbers up to 1.8e+09 in column 1: little can be learnt from them, or beside them. Make the network with \
standardize=True, or scale these columns to about unit size
    """


def warn_of_scale(X: Any, names: Sequence[object] | None) -> None:
    """Warn of columns of huge numbers, by a look at some rows.

    Parameters
    ----------
    X : ndarray, shape (M, n), or a sparse matrix, which is left alone
    names : sequence or None
        Of the columns.

    Examples
    --------
    >>> warn_of_scale(np.array([[2026.0, 1e5]]), None)
    """
    if not isinstance(X, np.ndarray):
        return
    first = X[: _LOOKED_AT // X.shape[1] or 1]
    if float(np.vdot(first, first)) <= _LARGE_SQUARED:  # of nearly all X; vdot tells nobody of an overflow
        return
    with np.errstate(all="ignore"):
        largest = np.fmax.reduce(np.abs(X[:: X.size // (16 * _LOOKED_AT) or 1]), axis=0)  # NaN stands back
    large = np.flatnonzero(largest > math.sqrt(_LARGE_SQUARED))
    if large.size == 0:
        return
    shown = ", ".join(str(j) if names is None else f"{j} ({str(names[j])!r})" for j in large[:5].tolist())
    more = f" and {large.size - 5} more" if large.size > 5 else ""
    warnings.warn(
        f"X holds numbers up to {largest[large].max():.2g} in column{'s' * (large.size > 1)} {shown}{more}: little can "
        "be learnt from them, or beside them. Make the network with standardize=True, or scale these columns to about "
        "unit size",
        InputScaleWarning,
        stacklevel=_levels_to_user(),
    )


def _levels_to_user() -> int:
    """Return the stacklevel by which the caller's warning names the line that called cmlp."""
    from inspect import currentframe  # only needed here: keeps `import cmlp` light

    frame, level = currentframe(), 0
    while frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in _LIBRARIES:
        frame, level = frame.f_back, level + 1
    return level


def check_inputs(
    X: ArrayLike,
    n_features: int,
    dtype: np.dtype[Any],
    name: str = "X",
    *,
    allow_nan: bool = False,
    checked_later: bool = False,
) -> NDArray[Any]:
    """Return inputs as the core wants them: one row per sample, finite, C-contiguous.

    Parameters
    ----------
    X : array_like, shape (M, n_features)
        Real numbers, M >= 1.
    n_features : int
        Inputs of the network.
    dtype : numpy.dtype
        float32 or float64, the type of the network.
    name : str, default "X"
        What it is called, for messages.
    allow_nan : bool, default False
        Whether NaN is let through.
    checked_later : bool, default False
        Whether an array that fits as it is may pass without a look at its entries.

    Returns
    -------
    ndarray of `dtype`, shape (M, n_features)
        The memory of `X` itself where it fits, also if it is read-only.

    Raises
    ------
    TypeError, ValueError
        If it is not numeric, not finite, empty or of another shape.

    Examples
    --------
    >>> check_inputs([[1, 2], [3, 4]], 2, np.dtype("float32"))
    array([[1., 2.],
           [3., 4.]], dtype=float32)
    """
    array = numeric_array(X, name)
    if array.ndim > 0 and array.size == 0:
        raise ValueError(f"{name} is empty, shape {array.shape}; expected (M, {n_features}), M >= 1 samples")
    if array.ndim != 2:
        todo = {
            0: "[[...]] is one sample of one input",
            1: f"np.reshape({name}, (1, -1)) is one sample, (-1, 1) one input per sample",
        }.get(array.ndim, f"np.reshape({name}, (len({name}), -1)) lays each sample out as a row")
        raise ValueError(f"{name} has shape {array.shape}, expected (M, {n_features}): {todo}")
    if array.shape[1] != n_features:
        todo = f": it looks transposed, try {name}.T" if array.shape[0] == n_features else ""
        raise ValueError(f"{name} has {array.shape[1]} columns, expected {n_features}, one per input{todo}")
    if checked_later and fitted(array, dtype) is array:
        return array
    return _without_infinities(array, dtype, name) if allow_nan else finite_array(array, dtype, name)


def check_row(
    x: ArrayLike, n_features: int, dtype: np.dtype[Any], name: str = "x", *, allow_nan: bool = False
) -> NDArray[Any]:
    """Return one sample as the core wants it; like `check_inputs`, for a single row.

    Parameters
    ----------
    x : array_like, shape (n_features,)
        Real numbers.
    n_features, dtype, name, allow_nan
        As for `check_inputs`.

    Returns
    -------
    ndarray of `dtype`, shape (n_features,)

    Raises
    ------
    TypeError, ValueError
        If it is not numeric, not finite or of another shape.

    Examples
    --------
    >>> check_row([1, 2, 3], 3, np.dtype("float64"))
    array([1., 2., 3.])
    """
    array = numeric_array(x, name)
    if array.shape != (n_features,):
        todo = f": np.ravel({name})" if array.size == n_features else ""
        raise ValueError(f"{name} has shape {array.shape}, expected ({n_features},), one sample{todo}")
    return _without_infinities(array, dtype, name) if allow_nan else finite_array(array, dtype, name)


def check_targets(
    y: ArrayLike, n_samples: int, n_outputs: int, loss: str | Loss, dtype: np.dtype[Any], name: str = "y"
) -> NDArray[Any]:
    """Return targets as the core wants them: a row of numbers, or a class index, per sample.

    Parameters
    ----------
    y : array_like, shape (n_samples, n_outputs), or (n_samples,) or (n_samples, 1) for one number per sample
        squared_error, absolute_error, huber, quantile: any numbers. poisson: numbers >= 0. binary_cross_entropy: in
        [0, 1]. cross_entropy: class indices 0 ... n_outputs - 1, one per sample, or rows of probabilities that sum to 1
        (one-hot among them). hinge: class indices, one-hot rows, or a -1 or 1 for every output; for a single output
        0 and 1, or -1 and 1.
    n_samples : int
        M, the rows of X.
    n_outputs : int
        Outputs of the network.
    loss : str or Loss
        A name of `cmlp.losses.LOSSES`, or a loss with its parameter.
    dtype : numpy.dtype
        float32 or float64, the type of the network.
    name : str, default "y"
        What it is called, for messages.

    Returns
    -------
    ndarray of `dtype`, shape (n_samples, n_outputs), or of int64, shape (n_samples,), for class indices
        C-contiguous; numbers are the memory of `y` itself where it fits, indices always a copy.

    Raises
    ------
    TypeError, ValueError
        If it is not numeric, not finite, of another shape or out of the range of the loss.

    Examples
    --------
    >>> check_targets([0, 2, 1], 3, 3, "cross_entropy", np.dtype("float32"))
    array([0, 2, 1])
    >>> check_targets([1.5, 2.5], 2, 1, "squared_error", np.dtype("float64"))
    array([[1.5],
           [2.5]])
    """
    loss = loss_name(loss)
    kind = FACTS[loss].targets
    classes = kind == "classes" or (kind == "signs" and n_outputs > 1)  # indices are welcome
    if classes and n_outputs == 1:
        raise ValueError(f'{loss} needs two outputs or more: use loss="binary_cross_entropy" for one')
    array = numeric_array(y, name)
    column = array.ndim == 1 or array.shape[1:] == (1,)  # one number per sample
    fits = (classes or n_outputs == 1) if column else array.shape[1:] == (n_outputs,)
    if not fits or array.shape[0] != n_samples:
        wide = f"({n_samples}, {n_outputs})"
        wanted = f"({n_samples},) or {wide}" if classes or n_outputs == 1 else wide
        todo = ': class indices need loss="cross_entropy"' if column and not fits else ""
        raise ValueError(f"{name} has shape {array.shape}, expected {wanted}, one target per row of X{todo}")
    if classes and column:
        return _class_indices(array.reshape(n_samples), n_outputs, name)
    targets = finite_array(array.reshape(n_samples, n_outputs), dtype, name)
    if kind == "signs":
        return _signs_or_classes(targets, name)
    if kind == "counts" and targets.min() < 0:
        index = np.unravel_index(int(targets.argmin()), targets.shape)
        raise ValueError(f"{name} is {targets[index]!s} at {place(index)}, expected numbers >= 0 for {loss}")
    if kind in ("classes", "probabilities"):
        _check_probabilities(targets, name, rows_sum_to_one=classes)
    return targets


def check_weights(sample_weight: ArrayLike | None, n_samples: int) -> NDArray[np.float64] | None:
    """Return the weights of the samples, or None if there are none.

    Parameters
    ----------
    sample_weight : array_like, shape (n_samples,), or None
        Numbers >= 0, not all zero.
    n_samples : int
        M, the rows of X.

    Returns
    -------
    ndarray of float64, shape (n_samples,), or None

    Raises
    ------
    TypeError, ValueError
        If they are not numeric, not finite, negative, all zero or of another shape.

    Examples
    --------
    >>> check_weights([1, 0, 2], 3)
    array([1., 0., 2.])
    """
    if sample_weight is None:
        return None
    array = numeric_array(sample_weight, "sample_weight")
    if array.shape != (n_samples,):
        raise ValueError(f"sample_weight has shape {array.shape}, expected ({n_samples},), one per row of X")
    weights = finite_array(array, np.dtype(np.float64), "sample_weight")
    if weights.min() < 0:
        at = int(weights.argmin())
        raise ValueError(f"sample_weight is {weights[at]!s} at {place((at,))}, expected numbers >= 0")
    with np.errstate(over="ignore"):
        total = weights.sum()
    if not 0 < total < np.inf:
        raise ValueError(f"sample_weight sums to {total}, expected a finite sum > 0")
    return weights


def _without_infinities(array: NDArray[Any], dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    """Return a fitting array whose entries are finite or NaN."""
    gaps = np.isnan(array)
    if gaps.any():
        finite_array(np.where(gaps, 0, array), dtype, name)  # raises for the others
        return fitted(array, dtype)
    return finite_array(array, dtype, name)


def _class_indices(y: NDArray[Any], n_classes: int, name: str) -> NDArray[np.int64]:
    """Return whole numbers 0 ... n_classes - 1 of any type as int64: a copy, which nobody changes behind the core."""
    y = y.copy()
    whole = y.dtype.kind != "f" or bool((y == np.floor(y)).all())  # which NaN is not
    if not whole or y.min() < 0 or y.max() >= n_classes:
        at = int(np.argmax((y < 0) | (y >= n_classes) | (y != np.floor(y))))
        raise ValueError(
            f"{name} is {y[at]!s} at {place((at,))}, expected class indices 0 ... {n_classes - 1}; "
            f"np.unique({name}, return_inverse=True)[1] numbers labels like that"
        )
    return fitted(y, np.int64)


def _signs_or_classes(y: NDArray[Any], name: str) -> NDArray[Any]:
    """Return targets of hinge: class indices of one-hot rows, or an array of -1 (for one output also 0) and 1."""
    zeros, ones = y == 0, y == 1
    known = zeros | ones | (y == -1)
    if not known.all():
        index = np.unravel_index(int(known.argmin()), y.shape)
        raise ValueError(f"{name} is {y[index]!s} at {place(index)}, expected -1 or 1 (or class indices) for hinge")
    if not zeros.any():
        return y
    if not (zeros | ones).all():
        index = np.unravel_index(int((zeros | ones).argmin()), y.shape)
        raise ValueError(f"{name} holds 0 and is -1 at {place(index)}: write no as 0 or as -1, not both")
    if y.shape[1] == 1:
        return y
    counts = ones.sum(axis=1)
    if (counts != 1).any():
        row = int(np.argmax(counts != 1))
        raise ValueError(
            f"{name} has {counts[row]} ones in row {row}, expected one-hot rows; several classes at once are written "
            f"as -1 and 1: 2 * {name} - 1"
        )
    labels: NDArray[np.int64] = ones.argmax(axis=1).astype(np.int64, copy=False)
    return labels


def _check_probabilities(y: NDArray[Any], name: str, *, rows_sum_to_one: bool) -> None:
    """Raise unless every entry is in [0, 1] and, where asked, every row sums to 1."""
    tolerance = 1e-3 if rows_sum_to_one else 0.0  # rows once rounded to float16 still sum to 1 ± 0.0005
    if y.min() < 0 or y.max() > 1 + tolerance:
        index = np.unravel_index(int(np.argmax((y < 0) | (y > 1 + tolerance))), y.shape)
        raise ValueError(
            f"{name} is {y[index]!s} at {place(index)}, expected probabilities, from 0 to 1; "
            f"labels -1 and 1 become 0 and 1 by ({name} + 1) / 2"
        )
    if rows_sum_to_one:
        sums = y.sum(axis=1, dtype=np.float64)
        row = int(np.argmax(np.abs(sums - 1)))
        if abs(sums[row] - 1) > tolerance:
            raise ValueError(
                f"{name} sums to {sums[row]:.6g} in row {row}, expected 1 in every row for cross_entropy; "
                'several classes at once need loss="binary_cross_entropy"'
            )
