"""The activation functions by name: a = f(z).

identity       z
relu           max(z, 0), derivative 0 at z <= 0
leaky_relu     z where z > 0, alpha z elsewhere
sigmoid        1 / (1 + exp(-z))
tanh           tanh z
softmax        exp(z_i - max z) / Σ_j exp(z_j - max z)

The compiled core computes them; `cmlp.reference` spells them out in NumPy.
"""

from __future__ import annotations

from typing import Final

from cmlp._checks import check_name

#: The id of every activation; the kernels of the compiled core use the same numbers.
ACTIVATIONS: Final[dict[str, int]] = {
    "identity": 0,
    "relu": 1,
    "leaky_relu": 2,
    "sigmoid": 3,
    "tanh": 4,
    "softmax": 5,
}


def activation_id(name: str) -> int:
    """Return the id by which the compiled core knows an activation.

    Parameters
    ----------
    name : str
        One of `ACTIVATIONS`.

    Returns
    -------
    int

    Raises
    ------
    TypeError
        If `name` is not a string.
    ValueError
        If there is no such activation.

    Examples
    --------
    >>> activation_id("tanh")
    4
    >>> activation_id("sigmod")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: unknown activation 'sigmod' (str): did you mean 'sigmoid'? Known: 'identity', ...
    """
    return ACTIVATIONS[check_name(name, ACTIVATIONS, "activation")]
