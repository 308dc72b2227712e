"""The losses: ℓ(y, ŷ) of one sample, y the target and ŷ the output; sums run over the outputs.

squared_error          ½ Σ (ŷ - y)²
absolute_error         Σ |ŷ - y|
huber                  Σ ½ r² where |r| = |ŷ - y| <= δ, δ (|r| - ½ δ) elsewhere (δ = 1)
quantile               Σ q (y - ŷ) where ŷ < y, (1 - q) (ŷ - y) elsewhere: the pinball loss (q = ½)
poisson                Σ ŷ - y log ŷ, for counts y >= 0: the negative log-likelihood without its constant log y!
cross_entropy          -Σ y_i log ŷ_i, for one class out of several; label smoothing ε takes (1 - ε) y_i + ε/n for y_i
binary_cross_entropy   -Σ [y log ŷ + (1 - y) log(1 - ŷ)], for independent yes/no outputs
hinge                  Σ max(0, 1 - s ŷ), s = ±1: one class against the rest, for every output

A loss is given by its name, or, to set its parameter, as `Huber`, `Quantile` or `CrossEntropy`. The compiled core
computes them; `cmlp.reference` spells them out in NumPy. Half the Poisson deviance, which scikit-learn reports, is the
poisson loss plus the constant y log y - y. Sources: Huber 1964 (doi 10.1214/aoms/1177703732), Koenker & Bassett 1978
(quantile, doi 10.2307/1913643), Szegedy et al. 2016 (label smoothing, arXiv 1512.00567).
"""

from __future__ import annotations

from dataclasses import astuple
from typing import Any, ClassVar, Final, NamedTuple

from cmlp import _core
from cmlp._base.checks import check_name
from cmlp._base.fields import Declared, declared, from_config, members, number
from cmlp.activations import activation_name

#: The id of every loss in the compiled core.
LOSSES: Final = _core.LOSSES


class Facts(NamedTuple):
    """What there is to know about a loss beside its formula.

    Attributes
    ----------
    output : str
        Its natural output activation, which it gets when the user names none.
    fused : bool
        Whether loss and natural output have the stable, fused error term δ_N = ŷ - y.
    targets : {"numbers", "counts", "probabilities", "classes", "signs"}
        What y may be: any numbers, numbers >= 0, numbers in [0, 1], one class out of several, or -1 and 1; see
        `cmlp.data.arrays.check_targets`.
    border : float or None
        Above it an output says yes; None for a loss of values, whose outputs mean no classes.

    Examples
    --------
    >>> FACTS["poisson"].output, FACTS["poisson"].border
    ('exp', None)
    """

    output: str = "identity"
    fused: bool = False
    targets: str = "numbers"
    border: float | None = None


#: The facts about every loss.
FACTS: Final[dict[str, Facts]] = {
    "squared_error": Facts(),
    "cross_entropy": Facts("softmax", fused=True, targets="classes", border=0.5),
    "binary_cross_entropy": Facts("sigmoid", fused=True, targets="probabilities", border=0.5),
    "absolute_error": Facts(),
    "huber": Facts(),
    "quantile": Facts(),
    "poisson": Facts("exp", fused=True, targets="counts"),
    "hinge": Facts(targets="signs", border=0.0),
}

#: The output activation that a loss gets when the user names none.
NATURAL_OUTPUT: Final[dict[str, str]] = {name: facts.output for name, facts in FACTS.items()}

#: The losses whose outputs mean classes.
CLASSIFYING: Final = frozenset(name for name, facts in FACTS.items() if facts.border is not None)


@declared
class Loss(Declared):
    """Base class of the losses with a parameter, their one field.

    Examples
    --------
    >>> isinstance(Huber(2.0), Loss)
    True
    """

    noun: ClassVar[str] = "loss"
    name: ClassVar[str] = ""

    @property
    def parameter(self) -> float:
        """The one parameter, for the compiled core."""
        (value,) = astuple(self)
        return float(value)


@declared
class Huber(Loss):
    """The loss "huber": squared for small errors, absolute for large ones.

    Parameters
    ----------
    delta : float, default 1.0
        δ > 0, the size of error up to which it is squared.

    Raises
    ------
    TypeError, ValueError
        If the parameter is no number in its range; so for the classes below.

    Examples
    --------
    >>> import cmlp
    >>> cmlp.MLP([2, 1], loss=cmlp.losses.Huber(delta=0.5))
    MLP([2, 1], loss=Huber(delta=0.5))
    """

    name: ClassVar[str] = "huber"

    delta: float = number(default=1.0, above=0)


@declared
class Quantile(Loss):
    """The loss "quantile": least where ŷ is the q-quantile of y.

    Parameters
    ----------
    q : float, default 0.5
        0 < q < 1; ½ is half the absolute error.

    Examples
    --------
    The constant that suits 0, 1, ..., 10 best at q = 0.9 lies in [9, 10]:

    >>> import cmlp
    >>> net = cmlp.MLP([1, 1], loss=cmlp.losses.Quantile(0.9), init="zeros", bias_init="zeros", seed=0)
    >>> history = net.fit([[0]] * 11, range(11), epochs=200, optimizer=cmlp.SGD(0.1))
    >>> bool(8.5 < net.predict_one([0])[0] < 10.5)
    True
    """

    name: ClassVar[str] = "quantile"

    q: float = number(default=0.5, above=0, below=1)


@declared
class CrossEntropy(Loss):
    """The loss "cross_entropy" with label smoothing.

    Parameters
    ----------
    label_smoothing : float, default 0.0
        0 <= ε < 1: the share of every target that is spread evenly over all classes.

    Examples
    --------
    >>> import cmlp
    >>> net = cmlp.MLP([2, 4], loss=cmlp.losses.CrossEntropy(0.2), init="zeros", bias_init="zeros", dtype="float64")
    >>> net.gradients([[1, 2]], [0]).deltas[0].round(2).tolist()  # ŷ = ¼ everywhere, y = (0.85, 0.05, 0.05, 0.05)
    [[-0.6, 0.2, 0.2, 0.2]]
    """

    name: ClassVar[str] = "cross_entropy"

    label_smoothing: float = number(default=0.0, minimum=0, below=1)


def loss_name(loss: str | Loss) -> str:
    """Return the name of a loss, however it is given.

    Parameters
    ----------
    loss : str or Loss
        One of `LOSSES`, or a loss with its parameter.

    Returns
    -------
    str

    Raises
    ------
    TypeError
        If `loss` is neither a string nor a `Loss`.
    ValueError
        If there is no such loss.

    Examples
    --------
    >>> loss_name("huber"), loss_name(Huber(2.0))
    ('huber', 'huber')
    """
    return check_name(loss.name if isinstance(loss, Loss) else loss, LOSSES, "loss")


def loss_id(loss: str | Loss) -> int:
    """Return the id by which the compiled core knows a loss.

    Parameters
    ----------
    loss : str or Loss
        One of `LOSSES`, or a loss with its parameter.

    Returns
    -------
    int

    Raises
    ------
    TypeError, ValueError
        As for `loss_name`.

    Examples
    --------
    >>> loss_id("cross_entropy")
    1
    """
    return LOSSES[loss_name(loss)]


def loss_parameter(loss: str | Loss) -> float:
    """Return a loss's parameter: δ of huber, q of quantile, ε of cross_entropy; 0 for the others.

    Parameters
    ----------
    loss : str or Loss
        A name stands for the default.

    Returns
    -------
    float

    Examples
    --------
    >>> loss_parameter(Huber(2.0)), loss_parameter("huber"), loss_parameter("hinge")
    (2.0, 1.0, 0.0)
    """
    if isinstance(loss, Loss):
        return loss.parameter
    kind = members(Loss).get(loss)
    return 0.0 if kind is None else kind().parameter


def is_fused(loss: str | Loss, activation: str) -> bool:
    """Tell whether a loss and an output activation have the stable, fused error term δ_N = ŷ - y.

    Every other pair goes through the general form δ_N = J_fᵀ ∂ℓ/∂ŷ.

    Parameters
    ----------
    loss : str or Loss
        One of `LOSSES`, or a loss with its parameter.
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
    facts = FACTS[loss_name(loss)]
    return facts.output == activation_name(activation) and facts.fused


def loss_to_config(loss: str | Loss) -> str | dict[str, Any]:
    """Return a loss as JSON values.

    Examples
    --------
    >>> loss_to_config("huber"), loss_to_config(Huber(2.0))
    ('huber', {'name': 'huber', 'delta': 2.0})
    """
    return loss.to_config() if isinstance(loss, Loss) else loss


def loss_from_config(config: Any) -> str | Loss:
    """Return the loss that `loss_to_config` described; ValueError on anything malformed.

    Examples
    --------
    >>> loss_from_config({"name": "huber", "delta": 2.0})
    Huber(delta=2.0)
    """
    return loss_name(config) if isinstance(config, str) else from_config(Loss, config)
