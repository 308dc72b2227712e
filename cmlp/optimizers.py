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

from collections.abc import Mapping
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Final

from cmlp import _core
from cmlp._base.checks import check_name, shown
from cmlp._base.fields import (
    Declared,
    checked,
    choice,
    count,
    declared,
    flag,
    from_config,
    members,
    number,
    settings_of,
)
from cmlp.averaging import EMA, SWA, Averaging
from cmlp.schedules import Rate, Schedule, as_rate, as_schedule

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: The id of every rule in the compiled core.
RULES: Final = _core.RULES


@declared
class Optimizer(Declared):
    """Base class of the optimisers.

    Attributes
    ----------
    name : str
        How it is asked for and saved.
    rule : str
        What the core makes of a gradient: one of `RULES`.
    full_batch : bool
        Whether every step takes all samples.
    slots : mapping of str to str
        The arrays that it keeps, each like the parameters, in the order of the core; and the field that must be set
        for an array to be there, "" for one that always is.

    Examples
    --------
    >>> isinstance(SGD(0.1), Optimizer), SGD.full_batch, LBFGS.full_batch
    (True, False, True)
    """

    noun: ClassVar[str] = "optimiser"
    name: ClassVar[str] = ""
    rule: ClassVar[str] = "none"
    full_batch: ClassVar[bool] = False
    slots: ClassVar[Mapping[str, str]] = {}

    @property
    def averaging(self) -> EMA | SWA | None:
        """What the network's weights are: the average of those that the steps have gone through, or None."""
        return None

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
        return tuple(slot for slot, switch in self.slots.items() if not switch or getattr(self, switch))

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
        """The settings of `cmlp._core.UPDATE` that the optimiser decides; those left out stay off.

        Examples
        --------
        >>> LBFGS(weight_decay=0.1).settings == {"rule": RULES["none"], "weight_decay": 0.1}
        True
        """
        return {"rule": RULES[self.rule], **settings_of(self)}

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
        return super().to_config()


def _averaging(value: object, what: str) -> object:
    """Return an average of the weights."""
    if not isinstance(value, Averaging):
        raise TypeError(f"{what} must be cmlp.EMA(...) or cmlp.SWA(...), not {shown(value)}")
    return value


@declared
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

    rule: ClassVar[str] = "sgd"

    learning_rate: Rate = checked(as_rate, default=0.01, family=Schedule)
    l1: float = number(default=0.0, minimum=0, kw_only=True, setting="l1")
    max_norm: float | None = number(default=None, above=0, kw_only=True, setting="max_norm")
    averaging: EMA | SWA | None = checked(_averaging, default=None, kw_only=True, family=Averaging)

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
        """The settings of `cmlp._core.UPDATE` that the optimiser and its average decide."""
        average = {"average_decay": self.averaging.decay} if isinstance(self.averaging, EMA) else {}
        return {**super().settings, **average}

    def _saved(self) -> dict[str, Any]:
        """Return the fields that a configuration has, a constant learning rate as a schedule too."""
        return {**super()._saved(), "learning_rate": self.schedule}


@declared
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

    name: ClassVar[str] = "sgd"
    slots: ClassVar[Mapping[str, str]] = {"velocity": "momentum"}

    momentum: float = number(default=0.0, minimum=0, below=1, setting="momentum")
    nesterov: bool = flag(default=False, setting="nesterov")
    weight_decay: float = number(default=0.0, minimum=0, setting="weight_decay")

    def _check(self) -> None:
        if self.nesterov and self.momentum == 0.0:
            raise ValueError("nesterov=True needs momentum > 0, such as momentum=0.9")


@declared
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

    name: ClassVar[str] = "adam"
    rule: ClassVar[str] = "adam"
    slots: ClassVar[Mapping[str, str]] = {"velocity": "", "squares": "", "largest_squares": "amsgrad"}

    learning_rate: Rate = checked(as_rate, default=0.001, family=Schedule)
    beta1: float = number(default=0.9, minimum=0, below=1, setting="beta1")
    beta2: float = number(default=0.999, minimum=0, below=1, setting="beta2")
    eps: float = number(default=1e-8, above=0, setting="eps")
    weight_decay: float = number(default=0.0, minimum=0, setting="weight_decay")
    amsgrad: bool = flag(default=False, setting="amsgrad")


@declared
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

    name: ClassVar[str] = "adamw"

    weight_decay: float = number(default=0.01, minimum=0, setting="weight_decay")

    @property
    def settings(self) -> dict[str, Any]:
        """Adam's, with the decay kept apart from the gradient."""
        return {**super().settings, "decoupled": True}


@declared
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

    name: ClassVar[str] = "rmsprop"
    rule: ClassVar[str] = "rmsprop"
    slots: ClassVar[Mapping[str, str]] = {"squares": "", "velocity": "momentum", "means": "centered"}

    beta: float = number(default=0.99, minimum=0, below=1, setting="beta2")
    eps: float = number(default=1e-8, above=0, setting="eps")
    momentum: float = number(default=0.0, minimum=0, below=1, setting="momentum")
    centered: bool = flag(default=False, setting="centered")
    weight_decay: float = number(default=0.0, minimum=0, setting="weight_decay")


@declared
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

    name: ClassVar[str] = "adagrad"
    rule: ClassVar[str] = "adagrad"
    slots: ClassVar[Mapping[str, str]] = {"squares": ""}

    eps: float = number(default=1e-10, above=0, setting="eps")
    weight_decay: float = number(default=0.0, minimum=0, setting="weight_decay")


@declared
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

    name: ClassVar[str] = "rprop"
    rule: ClassVar[str] = "rprop"
    full_batch: ClassVar[bool] = True
    slots: ClassVar[Mapping[str, str]] = {"last_signs": "", "step_sizes": ""}

    increase: float = number(default=1.2, above=1, setting="increase")
    decrease: float = number(default=0.5, above=0, below=1, setting="decrease")
    min_step: float = number(default=1e-6, above=0, setting="least")
    max_step: float = number(default=50.0, above=0, setting="most")

    def _check(self) -> None:
        if not isinstance(self.learning_rate, float):
            given = shown(self.learning_rate)
            raise TypeError(f"learning_rate of Rprop must be a number, the first step size, not {given}")
        if not self.min_step <= self.learning_rate <= self.max_step:
            bounds = f"min_step={self.min_step} <= learning_rate <= max_step={self.max_step}"
            raise ValueError(f"learning_rate of Rprop is the first step size, {bounds}, not {self.learning_rate}")

    @property
    def state_start(self) -> dict[str, float]:
        """Δ at first."""
        return {"step_sizes": self.schedule.rates(0, 1, 0).item()}

    @property
    def memory(self) -> dict[str, float]:
        """E of the last step. Before the first it does not matter: no sign has changed yet."""
        return {"last_loss": 0.0}


LINE_SEARCHES = ("exact",)


@declared
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

    name: ClassVar[str] = "gradient_descent"
    full_batch: ClassVar[bool] = True

    line_search: str | None = choice(LINE_SEARCHES, default=None)
    weight_decay: float = number(default=0.0, minimum=0, setting="weight_decay")

    def _check(self) -> None:
        if self.line_search is not None and (self.l1 or self.max_norm is not None or self.averaging is not None):
            raise ValueError("l1, max_norm and averaging do not go with a line search: it follows E's gradient")

    @property
    def searches(self) -> bool:
        """Whether there is a line search."""
        return self.line_search is not None

    @property
    def settings(self) -> dict[str, Any]:
        """Those of SGD; a search makes its steps itself."""
        return {**super().settings, "rule": RULES["none"]} if self.searches else super().settings


@declared
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
        Stop when an iteration lowers E by no more than this, relative to max(|E|, 1); < 1.
    max_fun : int, default 15000
        Stop after so many evaluations of E and its gradient.
    history_size : int, default 10
        How many steps the approximation of the Hessian is made of, at most 1000.

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

    name: ClassVar[str] = "lbfgs"
    full_batch: ClassVar[bool] = True

    weight_decay: float = number(default=0.0, minimum=0, setting="weight_decay")
    gtol: float = number(default=1e-5, minimum=0)
    ftol: float = number(default=2.220446049250313e-09, minimum=0, below=1)
    max_fun: int = count(default=15000)
    history_size: int = count(default=10)

    def _check(self) -> None:
        if self.history_size > 1000:  # SciPy takes memory for their products too, and could not count them
            raise ValueError(f"history_size of LBFGS must be at most 1000, not {shown(self.history_size)}")

    @property
    def searches(self) -> bool:
        """True: it has a line search."""
        return True


@cache
def _slots_of_rules() -> dict[int, dict[str, str]]:
    """Return the slots that each rule of the core works on, with the setting that must not be 0 for each, or ""."""
    found: dict[int, dict[str, str]] = {rule: {} for rule in RULES.values()}
    for kind in members(Optimizer).values():
        found[RULES[kind.rule]] |= kind.slots
    return found


def needed_slots(update: NDArray[np.void]) -> list[str]:
    """Return the slots that steps by a record of `cmlp._core.UPDATE` need, whatever class has made it.

    Raises
    ------
    ValueError
        If the core has no such rule.

    Examples
    --------
    >>> from cmlp._core import UPDATE, record
    >>> needed_slots(record(UPDATE, rule=RULES["adam"]))
    ['velocity', 'squares']
    """
    slots = _slots_of_rules().get(int(update["rule"]))
    if slots is None:
        raise ValueError(f"unknown rule {update['rule']}: an optimiser has one of RULES, {', '.join(RULES)}")
    return [slot for slot, setting in slots.items() if not setting or update[setting]]


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
        known = members(Optimizer)
        return known[check_name(value, known, "optimizer")]()
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
    optimizer = from_config(Optimizer, config)
    if isinstance(optimizer, SteppingOptimizer) and not isinstance(config.get("learning_rate"), dict):
        raise ValueError(f"malformed optimiser {shown(config)}: expected a schedule as its learning_rate")
    return optimizer
