"""Optimisers: how a gradient g changes the parameters w.

In the conventions of PyTorch's `torch.optim`, with γ_t the learning rate at step t; moments start at 0.

    g ← g + λ w                              weight decay, on weights only, not on biases
    g ← g + λ₁ sign(w)                       l1, the same

    w_j ← w_j min(1, c / ‖w_j‖₂)             max_norm, after the step, for the incoming weights w_j of every unit j

    SGD      v ← μ v + g                     momentum
             w ← w - γ_t v                   or, with nesterov, w ← w - γ_t (g + μ v)

    Adam     m ← β₁ m + (1 - β₁) g           Kingma and Ba, Adam: a method for stochastic optimization (2015)
             v ← β₂ v + (1 - β₂) g²
             w ← w - γ_t m̂ / (√v̂ + ε)        m̂ = m / (1 - β₁ᵗ⁺¹), v̂ = v / (1 - β₂ᵗ⁺¹)
             v ← max over all steps of v     in v̂, with amsgrad: Reddi, Kale and Kumar, On the convergence of Adam
                                             and beyond (2018)
    AdamW    w ← (1 - γ_t λ) w               in place of g + λ w: Loshchilov and Hutter, Decoupled weight decay
                                             regularization (2019)

    RMSprop  v ← β v + (1 - β) g²            Tieleman and Hinton (2012)
             w ← w - γ_t g / (√v + ε)        with centered: √(v - ḡ²), ḡ ← β ḡ + (1 - β) g (Graves, 2013)

    Adagrad  v ← v + g²                      Duchi, Hazan and Singer, Adaptive subgradient methods for online
             w ← w - γ_t g / (√v + ε)        learning and stochastic optimization (2011)

    Rprop    iRPROP+: Igel and Hüsken, Improving the Rprop learning algorithm (2000); by the sign of g alone

These take all samples at once:

    GradientDescent   w ← w - α ∇E(w)        α = γ_t, or argmin over α > 0 of E(w - α ∇E(w))
    LBFGS             SciPy's L-BFGS-B: Liu and Nocedal, On the limited memory BFGS method (1989)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, ClassVar, Final, TypeAlias

from cmlp import _core
from cmlp._base.checks import check_count, check_name, check_number, shown
from cmlp.averaging import EMA, SWA, averaging_from_config, averaging_to_config
from cmlp.schedules import Constant, Schedule, as_schedule, schedule_from_config

#: The id of every rule in the compiled core.
RULES: Final = _core.RULES

Rate: TypeAlias = float | Sequence[float] | Callable[[int], float] | Schedule


@dataclass(frozen=True)
class Optimizer:
    """Base class of the optimisers.

    Attributes
    ----------
    full_batch : bool
        Whether every step takes all samples.

    Examples
    --------
    >>> isinstance(SGD(0.1), Optimizer), SGD.full_batch, LBFGS.full_batch
    (True, False, True)
    """

    full_batch: ClassVar[bool] = False

    @property
    def averaging(self) -> EMA | SWA | None:
        """What the network's weights are: the average of those that the steps have gone through, or None."""
        return None

    def _store(self, **checked: object) -> None:
        """Set checked fields: the way past frozen=True, for __post_init__ only."""
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def searches(self) -> bool:
        """Whether it looks for a step by values of the objective, which must then be the gradient's own.

        Examples
        --------
        >>> SGD().searches, LBFGS().searches, GradientDescent().searches, GradientDescent(line_search="exact").searches
        (False, True, False, True)
        """
        return False

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the arrays that the optimiser keeps, each like the parameters: slots of the core.

        Examples
        --------
        >>> SGD().state_names, SGD(momentum=0.9).state_names, Adam().state_names
        ((), ('velocity',), ('velocity', 'squares'))
        """
        return ()

    @property
    def state_start(self) -> dict[str, float]:
        """What fills these arrays at first, if it is not 0.

        Examples
        --------
        >>> Rprop(0.1).state_start
        {'step_sizes': 0.1}
        """
        return {}

    @property
    def memory(self) -> dict[str, float]:
        """The single numbers that it keeps from step to step or epoch to epoch, and what they are at first.

        Examples
        --------
        >>> SGD().memory, Rprop().memory
        ({}, {'last_loss': 0.0})
        """
        return {}

    def observe(self, memory: dict[str, float], loss: float) -> None:
        """Take note, in `memory`, of the monitored loss of an epoch.

        Examples
        --------
        >>> SGD().observe({}, 0.5)
        """

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of `cmlp._core.UPDATE` that the optimiser decides."""
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
        >>> LBFGS().to_config()["name"]
        'lbfgs'
        """
        names = {kind: name for name, kind in _BY_NAME.items()}
        config = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"name": next(names[kind] for kind in type(self).__mro__ if kind in names), **config}


@dataclass(frozen=True, repr=False)
class SteppingOptimizer(Optimizer):
    """Base class of the optimisers that make one step for each gradient, at a learning rate.

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
    >>> isinstance(SGD(0.1), SteppingOptimizer), isinstance(LBFGS(), SteppingOptimizer)
    (True, False)
    """

    learning_rate: Rate = 0.01
    l1: float = field(default=0.0, kw_only=True)
    max_norm: float | None = field(default=None, kw_only=True)
    averaging: EMA | SWA | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Check what all of them have."""
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
    def memory(self) -> dict[str, float]:
        """The single numbers that its schedule keeps."""
        return self.schedule.memory

    def observe(self, memory: dict[str, float], loss: float) -> None:
        """Let the schedule take note of the monitored loss of an epoch."""
        self.schedule.observe(memory, loss)

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of `cmlp._core.UPDATE` that all of them decide."""
        return {
            "l1": self.l1,
            "max_norm": math.inf if self.max_norm is None else self.max_norm,
            "average_decay": self.averaging.decay if isinstance(self.averaging, EMA) else None,
        }

    def to_config(self) -> dict[str, Any]:
        """Return the optimiser as a dict of JSON values, its learning rate as that of a schedule."""
        averaging = averaging_to_config(self.averaging)
        return {**super().to_config(), "averaging": averaging, "learning_rate": self.schedule.to_config()}


@dataclass(frozen=True, repr=False)
class SGD(SteppingOptimizer):
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
        As for `SteppingOptimizer`.

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
        _check_bool(self.nesterov, "nesterov")
        if self.nesterov and self.momentum == 0.0:
            raise ValueError("nesterov=True needs momentum > 0, such as momentum=0.9")

    @property
    def state_names(self) -> tuple[str, ...]:
        """v, if there is momentum."""
        return ("velocity",) if self.momentum else ()

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of `cmlp._core.UPDATE` that the optimiser decides."""
        momentum = {"momentum": self.momentum, "nesterov": self.nesterov}
        return {**super().settings, "rule": RULES["sgd"], **momentum, "weight_decay": self.weight_decay}


@dataclass(frozen=True, repr=False)
class Adam(SteppingOptimizer):
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
        λ >= 0; the gradient of the penalty ½ λ Σ‖W‖², which then goes through the moments. `AdamW` keeps it apart.
    amsgrad : bool, default False
        Divide by the largest v of all steps, so that the steps never grow again.
    l1, max_norm, averaging
        As for `SteppingOptimizer`.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong kind or out of its range.

    Examples
    --------
    >>> Adam(0.01).beta2
    0.999
    """

    learning_rate: Rate = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    amsgrad: bool = False

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        self._store(
            beta1=check_number(self.beta1, "beta1", minimum=0, below=1),
            beta2=check_number(self.beta2, "beta2", minimum=0, below=1),
            eps=check_number(self.eps, "eps", above=0),
            weight_decay=check_number(self.weight_decay, "weight_decay", minimum=0),
        )
        _check_bool(self.amsgrad, "amsgrad")

    @property
    def state_names(self) -> tuple[str, ...]:
        """M, v and, with amsgrad, the largest v."""
        return ("velocity", "squares", "largest_squares") if self.amsgrad else ("velocity", "squares")

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of `cmlp._core.UPDATE` that the optimiser decides."""
        moments = {"beta1": self.beta1, "beta2": self.beta2, "eps": self.eps, "amsgrad": self.amsgrad}
        return {**super().settings, "rule": RULES["adam"], **moments, "weight_decay": self.weight_decay}


@dataclass(frozen=True, repr=False)
class AdamW(Adam):
    """Adam with decoupled weight decay: the weights shrink by γ_t λ of themselves, whatever the gradient's scale.

    Parameters
    ----------
    learning_rate : float, sequence of float, callable or Schedule, default 0.001
        As for `SGD`.
    beta1, beta2, eps, amsgrad
        As for `Adam`.
    weight_decay : float, default 0.01
        λ >= 0: W ← (1 - γ_t λ) W before the step; not for biases.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong kind or out of its range.

    Examples
    --------
    >>> AdamW(0.01).weight_decay
    0.01
    """

    weight_decay: float = 0.01

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of `cmlp._core.UPDATE` that the optimiser decides."""
        return {**super().settings, "decoupled": True}


@dataclass(frozen=True, repr=False)
class RMSprop(SteppingOptimizer):
    """RMSprop: the gradient divided by the root of a running mean of its square.

    Parameters
    ----------
    learning_rate : float, sequence of float, callable or Schedule, default 0.01
        As for `SGD`.
    beta : float, default 0.99
        Decay rate of the mean of g², 0 <= β < 1 (PyTorch's alpha, Keras's rho).
    eps : float, default 1e-8
        ε > 0.
    momentum : float, default 0.0
        μ, 0 <= μ < 1: the share of the previous step that is kept.
    centered : bool, default False
        Divide by the standard deviation of g instead: √(v - ḡ²).
    weight_decay : float, default 0.0
        λ >= 0; the gradient of the penalty ½ λ Σ‖W‖².

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong kind or out of its range.

    Examples
    --------
    >>> RMSprop().state_names, RMSprop(momentum=0.9, centered=True).state_names
    (('squares',), ('squares', 'velocity', 'means'))
    """

    beta: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.0
    centered: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        self._store(
            beta=check_number(self.beta, "beta", minimum=0, below=1),
            eps=check_number(self.eps, "eps", above=0),
            momentum=check_number(self.momentum, "momentum", minimum=0, below=1),
            weight_decay=check_number(self.weight_decay, "weight_decay", minimum=0),
        )
        _check_bool(self.centered, "centered")

    @property
    def state_names(self) -> tuple[str, ...]:
        """The mean of g², the velocity if there is momentum, the mean of g if it is centred."""
        return ("squares", *["velocity"] * (self.momentum > 0), *["means"] * self.centered)

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of `cmlp._core.UPDATE` that the optimiser decides."""
        moments = {"beta2": self.beta, "eps": self.eps, "momentum": self.momentum, "centered": self.centered}
        return {**super().settings, "rule": RULES["rmsprop"], **moments, "weight_decay": self.weight_decay}


@dataclass(frozen=True, repr=False)
class Adagrad(SteppingOptimizer):
    """Adagrad: the gradient divided by the root of the sum of its squares over all steps.

    Parameters
    ----------
    learning_rate : float, sequence of float, callable or Schedule, default 0.01
        As for `SGD`.
    eps : float, default 1e-10
        ε > 0.
    weight_decay : float, default 0.0
        λ >= 0; the gradient of the penalty ½ λ Σ‖W‖².

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong kind or out of its range.

    Examples
    --------
    >>> Adagrad(0.1)
    Adagrad(learning_rate=0.1, eps=1e-10, weight_decay=0.0)
    """

    eps: float = 1e-10
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        self._store(
            eps=check_number(self.eps, "eps", above=0),
            weight_decay=check_number(self.weight_decay, "weight_decay", minimum=0),
        )

    @property
    def state_names(self) -> tuple[str, ...]:
        """The sum of g²."""
        return ("squares",)

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of `cmlp._core.UPDATE` that the optimiser decides."""
        own = {"rule": RULES["adagrad"], "eps": self.eps, "weight_decay": self.weight_decay}
        return {**super().settings, **own}


@dataclass(frozen=True, repr=False)
class Rprop(SteppingOptimizer):
    """iRPROP+: resilient backpropagation, with a step size Δ of its own for every parameter; full batch.

    Only the sign of each gradient entry counts. With g' the gradient and E' the loss of the step before:

    - g and g' of one sign: Δ ← min(η⁺ Δ, Δ_max) and w ← w - sign(g) Δ;
    - of different signs: Δ ← max(η⁻ Δ, Δ_min); if E > E', w goes back to where it was before the last step;
      otherwise it stays; and g counts as 0 for the next step;
    - one of them 0: w ← w - sign(g) Δ.

    (PyTorch's Rprop is Rprop-: it never goes back.)

    Parameters
    ----------
    learning_rate : float, default 0.01
        Δ of every parameter at first, Δ_min <= Δ <= Δ_max. No schedule: the signs do the rest.
    increase, decrease : float, default 1.2 and 0.5
        η⁺ > 1 and 0 < η⁻ < 1.
    min_step, max_step : float, default 1e-6 and 50
        Δ_min > 0 and Δ_max.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong kind or out of its range.

    Examples
    --------
    >>> Rprop()
    Rprop(learning_rate=0.01, increase=1.2, decrease=0.5, min_step=1e-06, max_step=50.0)
    """

    full_batch: ClassVar[bool] = True

    increase: float = 1.2
    decrease: float = 0.5
    min_step: float = 1e-6
    max_step: float = 50.0

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        if not isinstance(self.learning_rate, float):
            given = shown(self.learning_rate)
            raise TypeError(f"learning_rate of Rprop must be a number, the first step size, not {given}")
        self._store(
            increase=check_number(self.increase, "increase", above=1),
            decrease=check_number(self.decrease, "decrease", above=0, below=1),
            min_step=check_number(self.min_step, "min_step", above=0),
            max_step=check_number(self.max_step, "max_step", above=0),
        )
        if not self.min_step <= self.learning_rate <= self.max_step:
            bounds = f"min_step={self.min_step} <= learning_rate <= max_step={self.max_step}"
            raise ValueError(f"learning_rate of Rprop is the first step size, {bounds}, not {self.learning_rate}")

    @property
    def state_names(self) -> tuple[str, ...]:
        """The sign of the last gradient, and Δ."""
        return ("last_signs", "step_sizes")

    @property
    def state_start(self) -> dict[str, float]:
        """Δ at first."""
        return {"step_sizes": self.schedule.rates(0, 1, 0).item()}

    @property
    def memory(self) -> dict[str, float]:
        """E of the last step. Before the first it does not matter: no sign has changed yet."""
        return {"last_loss": 0.0}

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of `cmlp._core.UPDATE` that the optimiser decides."""
        own = {"increase": self.increase, "decrease": self.decrease, "least": self.min_step, "most": self.max_step}
        return {**super().settings, "rule": RULES["rprop"], **own}


LINE_SEARCHES = ("exact",)


@dataclass(frozen=True, repr=False)
class GradientDescent(SteppingOptimizer):
    """Gradient descent on all samples at once, with a given step or an exact line search: one step an epoch.

    Parameters
    ----------
    learning_rate : float, sequence of float, callable or Schedule, default 0.01
        α_t as for `SGD`; with a line search the first α that is tried.
    line_search : {None, "exact"}, default None
        "exact": α_t = argmin of E(w - α ∇E(w)) over α > 0, found by SciPy's bounded scalar minimiser (the extra
        `scipy`) between 0 and a step that is too long; E is the objective, weight decay included.
    weight_decay : float, default 0.0
        λ >= 0; the gradient of the penalty ½ λ Σ‖W‖².

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong kind or out of its range.

    Examples
    --------
    >>> import cmlp
    >>> net = cmlp.MLP([1, 1], init="zeros", bias_init="zeros")
    >>> history = net.fit([[1], [-1]], [2, 0], epochs=1, optimizer=GradientDescent(line_search="exact"))
    >>> round(history.learning_rate[0], 3), net.weights[0].round(3).item(), net.biases[0].round(3).item()
    (1.0, 1.0, 1.0)
    """

    full_batch: ClassVar[bool] = True

    line_search: str | None = None
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        if self.line_search is not None:
            check_name(self.line_search, LINE_SEARCHES, "line_search")
            if self.l1 or self.max_norm is not None or self.averaging is not None:
                raise ValueError("l1, max_norm and averaging do not go with a line search: it follows E's gradient")
        self._store(weight_decay=check_number(self.weight_decay, "weight_decay", minimum=0))

    @property
    def searches(self) -> bool:
        """Whether there is a line search."""
        return self.line_search is not None

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of `cmlp._core.UPDATE` that the optimiser decides."""
        rule = RULES["none" if self.searches else "sgd"]
        return {**super().settings, "rule": rule, "weight_decay": self.weight_decay}


@dataclass(frozen=True)
class LBFGS(Optimizer):
    """L-BFGS on all samples at once, by SciPy (the extra `scipy`): for small data sets, deterministic.

    It minimises E = the mean (or sum) of s_c ℓ_c + ½ λ Σ‖W‖². The epochs of `fit` are its iterations, at most; every
    `fit` starts with a new memory. Computed in float64 between the evaluations, whatever the network's dtype.

    Parameters
    ----------
    weight_decay : float, default 0.0
        λ >= 0; scikit-learn's alpha is M λ.
    gtol : float, default 1e-5
        Stop when max |∂E/∂w| is at most this (scikit-learn's tol).
    ftol : float, default 2.2e-9
        Stop when an iteration lowers E by no more than this, relative to max(|E|, 1).
    max_fun : int, default 15000
        Stop after so many evaluations of E and its gradient.
    history_size : int, default 10
        How many steps the approximation of the Hessian is made of.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong kind or out of its range.

    Examples
    --------
    >>> import cmlp
    >>> X, y = cmlp.datasets.logic_gate("xor")
    >>> net = cmlp.MLP([2, 8, 1], activation="tanh", loss="binary_cross_entropy", seed=0)
    >>> history = net.fit(X, y, epochs=100, optimizer=LBFGS(weight_decay=1e-4))
    >>> net.predict_class(X)
    array([0, 1, 1, 0])
    """

    full_batch: ClassVar[bool] = True

    weight_decay: float = 0.0
    gtol: float = 1e-5
    ftol: float = 2.220446049250313e-09
    max_fun: int = 15000
    history_size: int = 10

    def __post_init__(self) -> None:
        """Check the parameters."""
        self._store(
            weight_decay=check_number(self.weight_decay, "weight_decay", minimum=0),
            gtol=check_number(self.gtol, "gtol", minimum=0),
            ftol=check_number(self.ftol, "ftol", minimum=0),
            max_fun=check_count(self.max_fun, "max_fun"),
            history_size=check_count(self.history_size, "history_size"),
        )

    @property
    def searches(self) -> bool:
        """True: it has a line search."""
        return True

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of `cmlp._core.UPDATE` that the optimiser decides."""
        return {"rule": RULES["none"], "weight_decay": self.weight_decay}


_BY_NAME: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
    "adagrad": Adagrad,
    "rprop": Rprop,
    "gradient_descent": GradientDescent,
    "lbfgs": LBFGS,
}


def _check_bool(value: object, what: str) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{what} must be True or False, not {shown(value)}")


def as_optimizer(value: Optimizer | str | None) -> Optimizer:
    """Return the optimiser that a user asked for.

    Parameters
    ----------
    value : Optimizer, str or None
        None stands for `SGD()`, a name for the optimiser with its defaults: "sgd", "adam", "adamw", "rmsprop",
        "adagrad", "rprop", "gradient_descent" or "lbfgs".

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
        if issubclass(kind, SteppingOptimizer):
            settings["averaging"] = averaging_from_config(settings.get("averaging"))
            return kind(schedule_from_config(settings.pop("learning_rate", None)), **settings)
        return kind(**settings)
    except TypeError as error:
        raise ValueError(f"malformed saved optimiser {shown(config)}: {error}") from error
