"""Optimisers: how a gradient g changes the parameters w.

In the conventions of PyTorch's `torch.optim`, with γ_t the learning rate at step t; moments start at 0.

    g ← g + λ w                              weight decay, on weights only, not on biases
    g ← g + λ₁ sign(w)                       l1, the same

    w_j ← w_j min(1, c / ‖w_j‖₂)             max_norm, after the step, for the incoming weights w_j of every unit j

    SGD    v ← μ v + g                       momentum
           w ← w - γ_t v                     or, with nesterov, w ← w - γ_t (g + μ v)

    Adam   m ← β₁ m + (1 - β₁) g             Kingma and Ba, Adam: a method for stochastic optimization (2015)
           v ← β₂ v + (1 - β₂) g²
           w ← w - γ_t m̂ / (√v̂ + ε)          m̂ = m / (1 - β₁ᵗ⁺¹), v̂ = v / (1 - β₂ᵗ⁺¹)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from cmlp._checks import check_name, check_number, shown
from cmlp.averaging import EMA, SWA, averaging_from_config, averaging_to_config
from cmlp.schedules import Constant, Schedule, as_schedule, schedule_from_config


@dataclass(frozen=True)
class Optimizer:
    """Base class of the optimisers: a learning rate.

    Parameters
    ----------
    learning_rate : float, sequence of float, callable or Schedule, default 0.01
        A number > 0, one rate per epoch, a function of the step t = 0, 1, 2, ..., or a schedule of
        `cmlp.schedules`. A constant is kept as a float, everything else as a schedule.
    l1 : float, default 0.0
        λ₁ >= 0: adds a subgradient of the penalty λ₁ Σ|W|, λ₁ sign(W), to the gradient of the weights, behind all
        clipping. (Weights come near 0, but not to it.)
    max_norm : float, optional
        c > 0: after each step the incoming weights of every unit are scaled down to ‖w‖₂ <= c (Srebro and Shraibman,
        2005; Hinton et al., Improving neural networks by preventing co-adaptation of feature detectors, 2012).
    averaging : EMA or SWA, optional
        What the network's weights are then: the average of the weights that the steps have gone through.

    Examples
    --------
    >>> isinstance(SGD(0.1, l1=1e-4, max_norm=3), Optimizer)
    True
    """

    learning_rate: float | Sequence[float] | Callable[[int], float] | Schedule = 0.01
    l1: float = field(default=0.0, kw_only=True)
    max_norm: float | None = field(default=None, kw_only=True)
    averaging: EMA | SWA | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Check the learning rate."""
        schedule = as_schedule(self.learning_rate)
        self._store(learning_rate=schedule.learning_rate if isinstance(schedule, Constant) else schedule)
        self._store(l1=check_number(self.l1, "l1", minimum=0))
        if self.max_norm is not None:
            self._store(max_norm=check_number(self.max_norm, "max_norm", above=0))
        if not (self.averaging is None or isinstance(self.averaging, (EMA, SWA))):
            raise TypeError(f"averaging must be cmlp.EMA(...) or cmlp.SWA(...), not {shown(self.averaging)}")

    def __repr__(self) -> str:
        """Show the optimiser's own parameters, and those that all have where they are not the default."""
        own = (f for f in fields(self) if not f.kw_only or getattr(self, f.name) != f.default)
        return f"{type(self).__name__}({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in own)})"

    def _store(self, **checked: object) -> None:
        """Set checked fields: the way past frozen=True, for __post_init__ only."""
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @cached_property
    def schedule(self) -> Schedule:
        """The learning rate as a schedule.

        Examples
        --------
        >>> SGD(0.1).schedule
        Constant(learning_rate=0.1)
        """
        return as_schedule(self.learning_rate)

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the arrays that the optimiser keeps, each like the parameters.

        Examples
        --------
        >>> SGD().state_names, SGD(momentum=0.9).state_names, Adam().state_names
        ((), ('velocity',), ('velocity', 'squares'))
        """
        return ()

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of `cmlp._core.Update` that the optimiser decides."""
        return {}

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
        config = {f.name: getattr(self, f.name) for f in fields(self)}
        config["averaging"] = averaging_to_config(self.averaging)
        return {"name": type(self).__name__.lower(), **config, "learning_rate": self.schedule.to_config()}


@dataclass(frozen=True, repr=False)
class SGD(Optimizer):
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
    l1, max_norm, averaging
        As for `Optimizer`.

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

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        self._store(momentum=check_number(self.momentum, "momentum", minimum=0, below=1))
        self._store(weight_decay=check_number(self.weight_decay, "weight_decay", minimum=0))
        if not isinstance(self.nesterov, bool):
            raise TypeError(f"nesterov must be True or False, not {shown(self.nesterov)}")
        if self.nesterov and self.momentum == 0.0:
            raise ValueError("nesterov=True needs momentum > 0, such as momentum=0.9")

    @property
    def state_names(self) -> tuple[str, ...]:
        """v, if there is momentum."""
        return ("velocity",) if self.momentum else ()

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of `cmlp._core.Update` that the optimiser decides."""
        return {"momentum": self.momentum, "nesterov": self.nesterov, "weight_decay": self.weight_decay}


@dataclass(frozen=True, repr=False)
class Adam(Optimizer):
    """Adam: steps of about the learning rate's size in every parameter, whatever the gradient's scale.

    Parameters
    ----------
    learning_rate : float, sequence of float, callable or Schedule, default 0.001
        As for `SGD`.
    beta1, beta2 : float, default 0.9 and 0.999
        Decay rates of the means of g and g², 0 <= β < 1.
    eps : float, default 1e-8
        ε > 0.
    weight_decay : float, default 0.0
        λ >= 0; the gradient of the penalty ½ λ Σ‖W‖², which then goes through the moments.
    l1, max_norm, averaging
        As for `Optimizer`.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong kind or out of its range.

    Examples
    --------
    >>> Adam(0.01).beta2
    0.999
    """

    learning_rate: float | Sequence[float] | Callable[[int], float] | Schedule = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        self._store(
            beta1=check_number(self.beta1, "beta1", minimum=0, below=1),
            beta2=check_number(self.beta2, "beta2", minimum=0, below=1),
            eps=check_number(self.eps, "eps", above=0),
            weight_decay=check_number(self.weight_decay, "weight_decay", minimum=0),
        )

    @property
    def state_names(self) -> tuple[str, ...]:
        """M and v."""
        return ("velocity", "squares")

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of `cmlp._core.Update` that the optimiser decides."""
        moments = {"beta1": self.beta1, "beta2": self.beta2, "eps": self.eps}
        return {"adam": True, **moments, "weight_decay": self.weight_decay}


_BY_NAME: dict[str, type[Optimizer]] = {"sgd": SGD, "adam": Adam}


def as_optimizer(value: Optimizer | str | None) -> Optimizer:
    """Return the optimiser that a user asked for.

    Parameters
    ----------
    value : Optimizer, "sgd", "adam" or None
        None stands for `SGD()`, a name for the optimiser with its defaults.

    Returns
    -------
    Optimizer

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
    if isinstance(value, Optimizer):
        return value
    if isinstance(value, str):
        return _BY_NAME[check_name(value, _BY_NAME, "optimizer")]()
    raise TypeError(f"optimizer must be an optimiser such as cmlp.SGD(0.01), or a name, not {shown(value)}")


def optimizer_from_config(config: dict[str, Any]) -> Optimizer:
    """Make the optimiser that `Optimizer.to_config` described.

    Parameters
    ----------
    config : dict
        The name of the optimiser under "name", its learning rate as a schedule's dict, and its other fields.

    Returns
    -------
    Optimizer

    Raises
    ------
    ValueError
        If anything about `config` is malformed.

    Examples
    --------
    >>> optimizer_from_config(SGD(0.1, momentum=0.9).to_config())
    SGD(learning_rate=0.1, momentum=0.9, nesterov=False, weight_decay=0.0)
    """
    if not isinstance(config, dict):
        raise ValueError(f"a saved optimiser must be a dict, not {shown(config)}")
    settings = dict(config)
    try:
        kind = _BY_NAME[check_name(settings.pop("name", None), _BY_NAME, "optimizer")]
        settings["averaging"] = averaging_from_config(settings.get("averaging"))
        return kind(schedule_from_config(settings.pop("learning_rate", None)), **settings)
    except TypeError as error:
        raise ValueError(f"malformed saved optimiser {shown(config)}: {error}") from error
