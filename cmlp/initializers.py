"""Initial weights and biases: drawn from a named distribution, or given as arrays.

With n_in and n_out the widths before and after the layer:

he_normal        N(0, std √(2 / n_in))              he_uniform       U(±√(6 / n_in))
glorot_normal    N(0, std √(2 / (n_in + n_out)))    glorot_uniform   U(±√(6 / (n_in + n_out)))
lecun_normal     N(0, std √(1 / n_in))              lecun_uniform    U(±√(3 / n_in))
uniform          U(±1 / √n_in)                      zeros            0

Biases are drawn from the distribution of their layer's weights. Sources: He et al. 2015 (arXiv 1502.01852),
Glorot & Bengio 2010, LeCun et al. 1998, "Efficient BackProp".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from cmlp._base.checks import check_count, check_name, finite_array, numeric_array, shown

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

#: Name -> (distribution, c, whether n_out counts): the variance is c / n_in or c / (n_in + n_out).
INITIALIZERS: Final[dict[str, tuple[str, float, bool]]] = {
    "he_normal": ("normal", 2.0, False),
    "he_uniform": ("uniform", 2.0, False),
    "glorot_normal": ("normal", 2.0, True),
    "glorot_uniform": ("uniform", 2.0, True),
    "lecun_normal": ("normal", 1.0, False),
    "lecun_uniform": ("uniform", 1.0, False),
    "uniform": ("uniform", 1.0 / 3.0, False),
    "zeros": ("normal", 0.0, False),
}


def check_init(init: str | ArrayLike, what: str = "init") -> None:
    """Check an initialiser as far as that is possible before the shape is known.

    Parameters
    ----------
    init : str or array_like
        A name of `INITIALIZERS`, or the initial values themselves: numbers, all finite.
    what : str, default "init"
        What it is called, for the message.

    Raises
    ------
    TypeError, ValueError
        If it is neither.

    Examples
    --------
    >>> check_init("he_normal")
    >>> check_init("he", "bias_init")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: unknown bias_init 'he' (str): ...
    """
    if isinstance(init, str):
        check_name(init, INITIALIZERS, what)
    elif init is None or np.isscalar(init):
        names = ", ".join(map(repr, INITIALIZERS))
        raise TypeError(f"{what} must be a name or an array of values, not {shown(init)}; names: {names}")
    else:
        finite_array(numeric_array(init, what), np.dtype(np.float64), what)


def initial_weights(init: str | ArrayLike, rng: np.random.Generator, n_in: int, n_out: int) -> NDArray[np.float64]:
    """Return the initial weights of a layer.

    Parameters
    ----------
    init : str or array_like, shape (n_in, n_out)
        A name of `INITIALIZERS`, or the weights themselves.
    rng : numpy.random.Generator
        Where the numbers come from; left untouched by "zeros" and by an array.
    n_in, n_out : int
        Widths before and after the layer, >= 1.

    Returns
    -------
    ndarray of float64, shape (n_in, n_out)
        C-contiguous; the given array itself where it fits.

    Raises
    ------
    TypeError, ValueError
        If the name is unknown, or the array not of numbers, not finite or of another shape.

    Examples
    --------
    >>> initial_weights("zeros", np.random.default_rng(0), 2, 3)
    array([[0., 0., 0.],
           [0., 0., 0.]])
    >>> round(float(initial_weights("he_normal", np.random.default_rng(0), 200, 300).std()), 3)  # √(2 / 200)
    0.1
    """
    return _initial(init, rng, n_in, n_out, biases=False)


def initial_biases(init: str | ArrayLike, rng: np.random.Generator, n_in: int, n_out: int) -> NDArray[np.float64]:
    """Return the initial biases of a layer, drawn like its weights.

    Parameters
    ----------
    init : str or array_like, shape (n_out,)
        A name of `INITIALIZERS`, or the biases themselves.
    rng : numpy.random.Generator
        Where the numbers come from; left untouched by "zeros" and by an array.
    n_in, n_out : int
        Widths before and after the layer, >= 1.

    Returns
    -------
    ndarray of float64, shape (n_out,)
        C-contiguous; the given array itself where it fits.

    Raises
    ------
    TypeError, ValueError
        If the name is unknown, or the array not of numbers, not finite or of another shape.

    Examples
    --------
    >>> initial_biases([0.5, -0.5], np.random.default_rng(0), 3, 2)
    array([ 0.5, -0.5])
    """
    return _initial(init, rng, n_in, n_out, biases=True)


def _initial(
    init: str | ArrayLike, rng: np.random.Generator, n_in: int, n_out: int, *, biases: bool
) -> NDArray[np.float64]:
    what = "bias_init" if biases else "init"
    check_init(init, what)
    n_in, n_out = check_count(n_in, "n_in"), check_count(n_out, "n_out")
    shape = (n_out,) if biases else (n_in, n_out)
    if not isinstance(init, str):
        array = numeric_array(init, what)
        if array.shape != shape:
            wanted = "(n_out,)" if biases else "(n_in, n_out)"
            raise ValueError(f"{what} has shape {array.shape}, expected {wanted} = {shape}")
        return finite_array(array, np.dtype(np.float64), what)
    kind, c, counts_outputs = INITIALIZERS[init]
    variance = c / (n_in + n_out if counts_outputs else n_in)
    if variance == 0.0:
        return np.zeros(shape)
    if kind == "normal":
        return rng.normal(0.0, np.sqrt(variance), shape)
    limit = np.sqrt(3.0 * variance)  # U(-l, l) has variance l² / 3
    return rng.uniform(-limit, limit, shape)
