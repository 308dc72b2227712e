"""Checks of names, numbers and arrays that several modules share: one wording for one mistake.

Every message says what was found and where, what was expected and what to do. Rows and columns count from 0.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Collection
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np

from cmlp._base.hints import name_advice
from cmlp._core import Allowed, first_nonfinite

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray


def shown(value: object) -> str:
    """Return a short one-line picture of a value with its type, for messages.

    >>> shown("a"), shown(None), shown([1, 2])
    ("'a' (str)", 'None', '[1, 2] (list)')
    """
    if value is None:
        return "None"
    if isinstance(value, np.character):
        value = value.item()  # np.str_('a') shows as 'a'
    return f"{' '.join(reprlib.repr(value).split())} ({type(value).__name__})"


def place(index: tuple[Any, ...]) -> str:
    """Return the index of an array's entry in words.

    >>> place((3,)), place((3, 2))
    ('index 3', 'row 3, column 2')
    """
    if len(index) == 2:
        return f"row {index[0]}, column {index[1]}"
    return "index " + ", ".join(map(str, index))


def check_name(name: object, known: Collection[str], what: str) -> str:
    """Return a name if it is one of the known ones; `what` says what is named.

    >>> check_name("Relu", ["relu", "tanh"], "activation")
    Traceback (most recent call last):
    ValueError: unknown activation 'Relu' (str): did you mean 'relu'? Known: 'relu', 'tanh'
    """
    if isinstance(name, str) and name in known:
        return name
    listed = ", ".join(map(repr, known))
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a name, not {shown(name)}; known: {listed}")
    advice = " ".join(filter(None, [name_advice(name, known, what), f"Known: {listed}"]))
    raise ValueError(f"unknown {what} {shown(name)}: {advice}")


def check_flag(value: object, what: str) -> bool:
    """Return True or False.

    >>> check_flag(1, "bias")
    Traceback (most recent call last):
    TypeError: bias must be True or False, not 1 (int)
    """
    if not isinstance(value, bool):
        raise TypeError(f"{what} must be True or False, not {shown(value)}")
    return value


def check_number(
    value: object,
    what: str,
    *,
    minimum: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> float:
    """Return a finite real number (Python's or NumPy's, no bool) within bounds as a float.

    The bounds are minimum <= value and above < value < below, where given.

    >>> check_number(-1, "learning_rate", above=0)
    Traceback (most recent call last):
    ValueError: learning_rate must be a finite number with 0 < learning_rate, not -1 (int)
    """
    given = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
    is_number = type(given) is float or (isinstance(given, Real) and not isinstance(given, bool))
    try:
        number = float(given) if is_number else math.nan  # type: ignore[arg-type]
    except OverflowError:  # an int beyond the largest float
        number = math.inf
    if (
        math.isfinite(number)
        and (minimum is None or number >= minimum)
        and (above is None or number > above)
        and (below is None or number < below)
    ):
        return number
    lower = f"{minimum} <= " if minimum is not None else f"{above} < " if above is not None else ""
    upper = f" < {below}" if below is not None else ""
    bounds = f" with {lower}{what}{upper}" if lower or upper else ""
    error = ValueError if is_number else TypeError
    raise error(f"{what} must be a finite number{bounds}, not {shown(value)}")


def check_in_dtype(
    value: float, dtype: np.dtype[Any], what: str, *, above: float | None = None, below: float | None = None
) -> float:
    """Return a number that was checked as a double if it keeps its sense in the network's dtype.

    There it must be finite and within the bounds, above < value < below, where given.

    >>> check_in_dtype(1e-50, np.dtype("float32"), "eps", above=0)
    Traceback (most recent call last):
    ValueError: eps=1e-50 is 0.0 in float32, but must be finite with 0 < eps: take another value, or dtype="float64"
    """
    with np.errstate(all="ignore"):
        rounded = float(dtype.type(value))
    if math.isfinite(rounded) and (above is None or rounded > above) and (below is None or rounded < below):
        return value
    bounds = [str(above), "<", what] if above is not None else [what]
    bounds += ["<", str(below)] if below is not None else []
    limits = f" with {' '.join(bounds)}" if len(bounds) > 1 else ""
    todo = "take another value" + ("" if dtype == np.float64 else ', or dtype="float64"')
    raise ValueError(f"{what}={value!r} is {rounded} in {dtype}, but must be finite{limits}: {todo}")


def check_count(value: object, what: str, minimum: int = 1) -> int:
    """Return a whole number (Python's or NumPy's, no bool) as an int, if it is at least the minimum.

    >>> check_count(-3, "n_in")
    Traceback (most recent call last):
    ValueError: n_in must be an integer >= 1, not -3 (int)
    """
    is_whole = type(value) is int or (isinstance(value, Integral) and not isinstance(value, bool))
    if is_whole and value >= minimum:  # type: ignore[operator]
        return int(value)  # type: ignore[call-overload,no-any-return]
    error = ValueError if is_whole else TypeError
    raise error(f"{what} must be an integer >= {minimum}, not {shown(value)}")


def numeric_array(value: ArrayLike, name: str) -> NDArray[Any]:
    """Return anything that np.asarray takes as an array of bool, int or float; without a copy if it is one.

    NA in a column of one of pandas' nullable types of numbers becomes NaN.

    >>> numeric_array([[1, "two"]], "X")
    Traceback (most recent call last):
    TypeError: X holds text, 'two' (str) at row 0, column 1; expected real numbers
    """
    if type(value) is not np.ndarray:
        if hasattr(value, "toarray"):
            kind = type(value).__name__
            raise TypeError(f"{name} is a sparse {kind}, expected a dense array: {name}.toarray()")
        if isinstance(value, np.ma.MaskedArray):
            raise TypeError(f"{name} is a masked array, expected a plain one such as {name}.filled(0)")
    try:
        if type(value) is np.ndarray:
            array = value
        else:
            with Allowed():  # which may run users' code
                array = np.asarray(value)
    except ValueError as error:
        if "inhomogeneous" in str(error):
            raise ValueError(f"{name} is ragged, expected rows of one length and one nesting") from error
        raise
    if array.dtype.kind in "biuf":
        return array
    nullable = _nullable_numbers(value)
    if nullable is not None:
        return nullable
    if array.dtype.kind == "c":
        raise TypeError(f"{name} holds complex numbers, expected real ones: take {name}.real or abs({name})")
    if array.ndim == 0:
        raise TypeError(f"{name} is {shown(value)}, expected an array of real numbers")
    kinds = {"O": "objects", "U": "text", "S": "text", "T": "text", "M": "dates", "m": "time spans"}
    found = f"{name} holds {kinds.get(array.dtype.kind, array.dtype)}"
    for index, entry in np.ndenumerate(array):
        if not _means_number(entry):
            raise TypeError(f"{found}, {shown(entry)} at {place(index)}; expected real numbers")
    raise TypeError(f"{found} (dtype {array.dtype}), expected real numbers: np.asarray({name}, dtype=float)")


def _nullable_numbers(value: Any) -> NDArray[Any] | None:
    """Return a Series or DataFrame of numbers that has columns of pandas' nullable types (Int64, ...), else None."""
    found: Any = getattr(value, "dtypes", getattr(value, "dtype", None))
    dtypes = list(found) if hasattr(found, "__iter__") else [found]  # of a Series there is one
    plain = [getattr(dtype, "numpy_dtype", dtype) for dtype in dtypes]
    if not plain or not hasattr(value, "isna") or any(getattr(dtype, "kind", "O") not in "biuf" for dtype in plain):
        return None
    common = np.result_type(*plain)
    if not np.any(value.isna()):
        numbers: NDArray[Any] = value.to_numpy(dtype=common)
        return numbers
    numbers = value.to_numpy(dtype=np.result_type(common, np.float32), na_value=np.nan)
    return numbers


def _means_number(entry: object) -> bool:
    """Tell whether an entry of an object or text array is a number, or the text of one."""
    if not isinstance(entry, (str, bytes)):
        return isinstance(entry, Real)
    try:
        float(entry)
    except ValueError:
        return False
    return True


def fitted(array: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    """Return an array in a type, C-contiguous and aligned: itself where it is that, or else a copy.

    >>> fitted(np.array([1, 2]), np.float32)
    array([1., 2.], dtype=float32)
    """
    flags = array.flags
    if array.dtype == dtype and flags.c_contiguous and flags.aligned:
        return array
    with np.errstate(all="ignore"):  # whoever cares for what overflows looks at the result
        return np.require(array, dtype, ["C", "A"])


def finite_array(array: NDArray[Any], dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    """Return a numeric array in a float type, C-contiguous, aligned and all finite; itself where it is that.

    >>> finite_array(np.array([[1.0, 1e300]]), np.dtype("float32"), "X")
    Traceback (most recent call last):
    ValueError: X is 1e+300 at row 0, column 1, beyond float32 (up to 3.4e+38): scale it or use a wider dtype
    """
    fitting = fitted(array, dtype)
    first = first_nonfinite(fitting)
    if first < 0:
        return fitting
    index = np.unravel_index(first, array.shape)
    entry = array[index]
    found = f"{name} is {entry!s} at {place(index)}"
    if not np.isfinite(entry):
        raise ValueError(f"{found}, expected finite numbers: drop or fill in such entries first")
    limit = f"{dtype} (up to {np.finfo(dtype).max:.2g})"
    raise ValueError(f"{found}, beyond {limit}: scale it or use a wider dtype")
