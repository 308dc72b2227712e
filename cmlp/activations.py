"""The activation functions by name: a = f(z).

identity       z
relu           max(z, 0), derivative 0 at z <= 0
leaky_relu     z where z > 0, alpha z elsewhere (alpha 0.01)
sigmoid        1 / (1 + exp(-z)); scikit-learn's name for it, logistic, will do as well
tanh           tanh z
softmax        exp(z_i - max z) / Σ_j exp(z_j - max z)
elu            z where z > 0, alpha (exp(z) - 1) elsewhere (alpha 1)
selu           1.0507 elu(z) with alpha 1.6733; goes with init="lecun_normal"
gelu           z Φ(z), Φ the normal distribution function: the exact form, not its approximation by tanh
silu           z sigmoid(z), also called swish
softplus       log(1 + exp(z))
hard_sigmoid   min(max(z + 3, 0), 6) / 6, as PyTorch defines it; derivative 0 at z = ±3
softsign       z / (1 + |z|)
exp            exp(z), the natural output of the poisson loss

The compiled core computes them; `cmlp.reference` spells them out in NumPy. Sources: Clevert et al. 2016 (elu, arXiv
1511.07289), Klambauer et al. 2017 (selu, arXiv 1706.02515), Hendrycks & Gimpel 2016 (gelu and silu, arXiv 1606.08415).
"""

from __future__ import annotations

from typing import Final

from cmlp import _core
from cmlp._base.checks import check_name

#: The id of every activation in the compiled core.
ACTIVATIONS: Final = _core.ACTIVATIONS

#: Names that mean exactly what ours mean; ours are kept.
SYNONYMS: Final[dict[str, str]] = {"logistic": "sigmoid"}

#: The activations with a parameter alpha, and its default.
ALPHAS: Final[dict[str, float]] = {"leaky_relu": 0.01, "elu": 1.0}


def activation_name(name: str) -> str:
    """Return the name of an activation as cmlp has it.

    Parameters
    ----------
    name : str
        One of `ACTIVATIONS` or `SYNONYMS`.

    Returns
    -------
    str

    Raises
    ------
    TypeError
        If `name` is not a string.
    ValueError
        If there is no such activation.

    Examples
    --------
    >>> activation_name("tanh"), activation_name("logistic")
    ('tanh', 'sigmoid')
    >>> activation_name("sigmod")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: unknown activation 'sigmod' (str): did you mean 'sigmoid'? Known: 'identity', ...
    """
    if isinstance(name, str):
        name = SYNONYMS.get(name, name)
    return check_name(name, ACTIVATIONS, "activation")


def activation_id(name: str) -> int:
    """Return the id by which the compiled core knows an activation.

    Parameters
    ----------
    name : str
        As for `activation_name`.

    Returns
    -------
    int

    Raises
    ------
    TypeError, ValueError
        As for `activation_name`.

    Examples
    --------
    >>> activation_id("tanh")
    4
    """
    return ACTIVATIONS[activation_name(name)]


def alpha_of(name: str, alpha: float | None) -> float:
    """Return an activation's alpha: the given one, or its default; 0 if it has none.

    Parameters
    ----------
    name : str
        One of `ACTIVATIONS`.
    alpha : float or None

    Returns
    -------
    float

    Examples
    --------
    >>> alpha_of("elu", None), alpha_of("elu", 0.5), alpha_of("relu", None)
    (1.0, 0.5, 0.0)
    """
    return ALPHAS.get(name, 0.0) if alpha is None else alpha
