"""The losses by name: ℓ(y, ŷ) of one sample, y the target and ŷ the output.

squared_error          ½ Σ (y - ŷ)²
cross_entropy          -Σ y_i log ŷ_i, for one class out of several
binary_cross_entropy   -Σ [y log ŷ + (1 - y) log(1 - ŷ)], for independent yes/no outputs

The compiled core computes them; `cmlp.reference` spells them out in NumPy.
"""

from __future__ import annotations

from typing import Final

from cmlp._checks import check_name
from cmlp.activations import activation_id

#: The id of every loss; the kernels of the compiled core use the same numbers.
LOSSES: Final[dict[str, int]] = {"squared_error": 0, "cross_entropy": 1, "binary_cross_entropy": 2}

#: The output activation that a loss gets when the user names none.
NATURAL_OUTPUT: Final[dict[str, str]] = {
    "squared_error": "identity",
    "cross_entropy": "softmax",
    "binary_cross_entropy": "sigmoid",
}

_FUSED = frozenset({("cross_entropy", "softmax"), ("binary_cross_entropy", "sigmoid")})


def loss_id(name: str) -> int:
    """Return the id by which the compiled core knows a loss.

    Parameters
    ----------
    name : str
        One of `LOSSES`.

    Returns
    -------
    int

    Raises
    ------
    TypeError
        If `name` is not a string.
    ValueError
        If there is no such loss.

    Examples
    --------
    >>> loss_id("cross_entropy")
    1
    """
    return LOSSES[check_name(name, LOSSES, "loss")]


def is_fused(loss: str, activation: str) -> bool:
    """Tell whether a loss and an output activation have the stable, fused error term δ_N = ŷ - y.

    Every other pair goes through the general form δ_N = J_fᵀ ∂ℓ/∂ŷ.

    Parameters
    ----------
    loss : str
        One of `LOSSES`.
    activation : str
        One of `cmlp.activations.ACTIVATIONS`, the activation of the output layer.

    Returns
    -------
    bool

    Raises
    ------
    TypeError, ValueError
        If either is not a known name: a misspelt pair must not pass for an unfused one.

    Examples
    --------
    >>> is_fused("cross_entropy", "softmax"), is_fused("squared_error", "softmax")
    (True, False)
    """
    loss_id(loss)
    activation_id(activation)
    return (loss, activation) in _FUSED
