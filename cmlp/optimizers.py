"""Optimisers: how a gradient g changes the parameters w.

Stochastic gradient descent in the convention of PyTorch's `torch.optim.SGD`, γ_t the rate at step t:

    g ← g + λ w            weight decay, on weights only, not on biases
    v ← μ v + g            momentum; v starts at 0
    w ← w - γ_t v          or, with nesterov, w ← w - γ_t (g + μ v)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cmlp._checks import check_name, check_number, shown
from cmlp.schedules import Constant, Schedule, as_schedule, schedule_from_config


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent.

    Parameters
    ----------
    learning_rate : float, sequence of float, callable or Schedule, default 0.01
        A number > 0, one rate per epoch, a function of the step t = 0, 1, 2, ..., or a schedule of
        `cmlp.schedules`. A constant is kept as a float, everything else as a schedule.
    momentum : float, default 0.0
        μ, 0 <= μ < 1: the share of the previous step that is kept.
    nesterov : bool, default False
        Look ahead along the momentum; needs momentum > 0.
    weight_decay : float, default 0.0
        λ >= 0; the gradient of the penalty ½ λ Σ‖W‖².

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong kind or out of its range.

    Examples
    --------
    >>> SGD(0.1, momentum=0.9)
    SGD(learning_rate=0.1, momentum=0.9, nesterov=False, weight_decay=0.0)
    >>> SGD([0.1, 0.01]).learning_rate
    PerEpoch(learning_rates=(0.1, 0.01))
    """

    learning_rate: float | Sequence[float] | Callable[[int], float] | Schedule = 0.01
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        """Check the parameters."""
        schedule = as_schedule(self.learning_rate)
        fields = {
            "learning_rate": schedule.learning_rate if isinstance(schedule, Constant) else schedule,
            "momentum": check_number(self.momentum, "momentum", minimum=0, below=1),
            "weight_decay": check_number(self.weight_decay, "weight_decay", minimum=0),
        }
        if not isinstance(self.nesterov, bool):
            raise TypeError(f"nesterov must be True or False, not {shown(self.nesterov)}")
        if self.nesterov and fields["momentum"] == 0.0:
            raise ValueError("nesterov=True needs momentum > 0, such as momentum=0.9")
        for name, value in fields.items():
            object.__setattr__(self, name, value)  # the way past frozen=True

    @property
    def schedule(self) -> Schedule:
        """The learning rate as a schedule.

        Examples
        --------
        >>> SGD(0.1).schedule
        Constant(learning_rate=0.1)
        """
        return as_schedule(self.learning_rate)

    def to_config(self) -> dict[str, Any]:
        """Return the optimiser as a dict of JSON values, which `optimizer_from_config` reads.

        Raises
        ------
        TypeError
            If its learning rate is a function, which cannot be saved.

        Examples
        --------
        >>> SGD(0.1).to_config()["learning_rate"]
        {'name': 'constant', 'learning_rate': 0.1}
        """
        return {
            "name": "sgd",
            "learning_rate": self.schedule.to_config(),
            "momentum": self.momentum,
            "nesterov": self.nesterov,
            "weight_decay": self.weight_decay,
        }


def as_optimizer(value: SGD | str | None) -> SGD:
    """Return the optimiser that a user asked for.

    Parameters
    ----------
    value : SGD, "sgd" or None
        None and "sgd" stand for `SGD()`.

    Returns
    -------
    SGD

    Raises
    ------
    TypeError
        If `value` is something else.
    ValueError
        If it is an unknown name.

    Examples
    --------
    >>> as_optimizer(None) == as_optimizer("sgd") == SGD()
    True
    """
    if value is None:
        return SGD()
    if isinstance(value, SGD):
        return value
    if isinstance(value, str):
        check_name(value, ["sgd"], "optimizer")
        return SGD()
    raise TypeError(f"optimizer must be an optimiser such as cmlp.SGD(0.01), or a name, not {shown(value)}")


def optimizer_from_config(config: dict[str, Any]) -> SGD:
    """Make the optimiser that `SGD.to_config` described.

    Parameters
    ----------
    config : dict
        The name of the optimiser under "name", its learning rate as a schedule's dict, and its other fields.

    Returns
    -------
    SGD

    Raises
    ------
    ValueError
        If anything about `config` is malformed.

    Examples
    --------
    >>> optimizer_from_config(SGD(0.1, momentum=0.9).to_config()).momentum
    0.9
    """
    if not isinstance(config, dict):
        raise ValueError(f"a saved optimiser must be a dict, not {shown(config)}")
    fields = dict(config)
    try:
        check_name(fields.pop("name", None), ["sgd"], "optimizer")
        return SGD(schedule_from_config(fields.pop("learning_rate", None)), **fields)
    except TypeError as error:
        raise ValueError(f"malformed saved optimiser {shown(config)}: {error}") from error
