"""Learning-rate schedules: γ_t, the learning rate of update step t = 0, 1, 2, ... since the model was made.

Wherever a learning rate is asked for, a number, a list (one rate per epoch) or a function of t will do. A step is one
update: an epoch over M samples has ⌈M / batch_size⌉ of them, M if every sample is learnt by itself.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

from cmlp._base.checks import check_count, check_number, numeric_array, shown
from cmlp._base.fields import Declared, checked, count, declared, from_config, number, own_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

Rate: TypeAlias = "float | Sequence[float] | Callable[[int], float] | Schedule"


class Schedule(Declared, ABC):
    """A rule for the learning rate; the base class of all schedules.

    Examples
    --------
    >>> isinstance(Constant(0.1), Schedule)
    True
    """

    noun: ClassVar[str] = "schedule"
    name: ClassVar[str] = ""

    @abstractmethod
    def rates(self, first_step: int, n_steps: int, epoch: int) -> NDArray[np.float64]:
        """Return γ_t for t = first_step, ..., first_step + n_steps - 1.

        Parameters
        ----------
        first_step : int
            Update steps made before, >= 0.
        n_steps : int
            How many rates are wanted, >= 0.
        epoch : int
            The epoch that these steps are part of, counted from 0.

        Returns
        -------
        ndarray of float64, shape (n_steps,), or (1,) when the rate is the same at all these steps

        Examples
        --------
        >>> Constant(0.5).rates(first_step=0, n_steps=3, epoch=0)
        array([0.5])
        >>> InverseTime(0.6).rates(first_step=1, n_steps=2, epoch=0)
        array([0.3, 0.2])
        """

    @cached_property
    def known_ahead(self) -> bool:
        """Whether rates may be asked for before their steps come: not where users' code gives them, which may notice.

        Examples
        --------
        >>> Exponential(0.1, factor=0.9).known_ahead, Plateau(lambda t: 0.1).known_ahead
        (True, False)
        """
        inner = getattr(self, "learning_rate", None)
        return own_name(type(self)) is not None and (not isinstance(inner, Schedule) or inner.known_ahead)

    @property
    def memory(self) -> dict[str, float]:
        """The numbers that the schedule keeps from epoch to epoch, and what they are at first. Mostly none.

        Examples
        --------
        >>> Constant(0.5).memory
        {}
        """
        return {}

    def observe(self, memory: dict[str, float], loss: float) -> None:  # most schedules are deaf
        """Take note, in `memory`, of the monitored loss of an epoch.

        Examples
        --------
        >>> Constant(0.5).observe({}, loss=0.1)
        """

    def scale(self, memory: dict[str, float]) -> float:
        """Return by what the rates are multiplied, from what was observed.

        Examples
        --------
        >>> Constant(0.5).scale({})
        1.0
        """
        return 1.0

    def to_config(self) -> dict[str, Any]:
        """Return the schedule as a dict of JSON values, which `schedule_from_config` reads.

        Raises
        ------
        TypeError
            If the schedule cannot be saved, as one made from a function.

        Examples
        --------
        >>> InverseTime(0.5).to_config()
        {'name': 'inverse_time', 'learning_rate': 0.5}
        """
        if not own_name(type(self)):
            raise TypeError(
                f"a {type(self).__name__} schedule cannot be saved: code is not data; "
                "give the network another one first, which keeps all else: net.learning_rate = 0.01"
            )
        return super().to_config()


def _check_steps(value: object, what: str, minimum: int = 1) -> int:
    """Return a number of steps that 64 bits have room for, beside the steps made before."""
    steps = check_count(value, what, minimum)
    if steps >= 2**62:
        raise ValueError(f"{what} must be below 2**62, not {shown(value)}")
    return steps


def _check_rates(value: Any, what: str) -> tuple[float, ...]:
    """Return a list of learning rates as a tuple."""
    if not _is_listed(value):
        raise TypeError(f"{what} must be a list of numbers, not {shown(value)}")
    rates = tuple(check_number(rate, f"{what}[{epoch}]", above=0) for epoch, rate in enumerate(value))
    if not rates:
        raise ValueError(f"{what} is empty: give at least one number > 0, one per epoch")
    return rates


def _is_listed(value: object) -> bool:
    """Tell whether a value lists numbers: a list, tuple, array, Series; no string, set or dict."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    if isinstance(value, Sequence):
        return not isinstance(value, (str, bytes))
    return hasattr(value, "__array__") and hasattr(value, "__len__")


def _check_function(value: object, what: str) -> object:
    """Return a function of the step."""
    if not callable(value) or isinstance(value, type):
        raise TypeError(f"a schedule needs a function of the step t, not {shown(value)}")
    return value


def rates_of(schedule: Schedule, first_step: int, n_steps: int, epoch: int) -> NDArray[np.float64]:
    """Return what a schedule gives for some steps, which may be users' code, as numbers of the right shape.

    Examples
    --------
    >>> rates_of(InverseTime(1.0), first_step=0, n_steps=2, epoch=0)
    array([1. , 0.5])
    """
    kind = type(schedule).__name__
    array = numeric_array(schedule.rates(first_step, n_steps, epoch), f"what {kind}.rates gives")
    if array.shape not in ((n_steps,), (1,)):
        raise ValueError(
            f"{kind}.rates gave an array of shape {array.shape} for {n_steps} steps: expected one rate a step, shape "
            f"({n_steps},), or a single one, (1,)"
        )
    return array.astype(np.float64, copy=False)


def as_rate(value: Rate, what: str = "learning_rate") -> float | Schedule:
    """Return a learning rate as it is kept: a constant as a float, everything else as a schedule.

    Examples
    --------
    >>> as_rate(Constant(1)), as_rate([0.1, 0.01])
    (1.0, PerEpoch(learning_rates=(0.1, 0.01)))
    """
    schedule = as_schedule(value)
    return schedule.learning_rate if type(schedule) is Constant else schedule


@declared
class Constant(Schedule):
    """The same learning rate at every step: γ_t = η.

    Parameters
    ----------
    learning_rate : float
        η > 0.

    Examples
    --------
    >>> Constant(0.01)
    Constant(learning_rate=0.01)
    """

    name: ClassVar[str] = "constant"

    learning_rate: float = number(above=0)

    def rates(self, first_step: int, n_steps: int, epoch: int) -> NDArray[np.float64]:
        """Return η, once."""
        return np.array([self.learning_rate])


@declared
class InverseTime(Schedule):
    """A learning rate that falls with time: γ_t = η / (t + 1).

    Parameters
    ----------
    learning_rate : float
        η > 0, the rate of the first step.

    Examples
    --------
    >>> InverseTime(1.0).rates(first_step=0, n_steps=4, epoch=0)
    array([1.        , 0.5       , 0.33333333, 0.25      ])
    """

    name: ClassVar[str] = "inverse_time"

    learning_rate: float = number(above=0)

    def rates(self, first_step: int, n_steps: int, epoch: int) -> NDArray[np.float64]:
        """Return η / (t + 1) for every step."""
        return self.learning_rate / np.arange(first_step + 1, first_step + n_steps + 1)


@declared
class InverseScaling(Schedule):
    """A learning rate that falls as a power of time: γ_t = η / (t + 1)^power.

    Parameters
    ----------
    learning_rate : float
        η > 0, the rate of the first step.
    power : float, default 0.5
        >= 0; how fast the rate falls.

    Examples
    --------
    >>> InverseScaling(1.0, power=0.5).rates(first_step=3, n_steps=1, epoch=0)
    array([0.5])
    """

    name: ClassVar[str] = "inverse_scaling"

    learning_rate: float = number(above=0)
    power: float = number(default=0.5, minimum=0)

    def rates(self, first_step: int, n_steps: int, epoch: int) -> NDArray[np.float64]:
        """Return η / (t + 1)^power for every step."""
        # A negative power of t + 1 >= 1 cannot overflow, whatever the power.
        return self.learning_rate * np.arange(first_step + 1.0, first_step + n_steps + 1.0) ** -self.power


@declared
class PerEpoch(Schedule):
    """One learning rate per epoch; the last one goes on.

    Parameters
    ----------
    learning_rates : sequence of float
        The rate of epoch 0, 1, ..., each > 0. Kept as a tuple.

    Examples
    --------
    >>> schedule = PerEpoch([0.1, 0.01])
    >>> [float(schedule.rates(0, 100, epoch)[0]) for epoch in range(4)]
    [0.1, 0.01, 0.01, 0.01]
    """

    name: ClassVar[str] = "per_epoch"

    learning_rates: Sequence[float] = checked(_check_rates)

    def rates(self, first_step: int, n_steps: int, epoch: int) -> NDArray[np.float64]:
        """Return the rate of the epoch, once."""
        return np.array([self.learning_rates[min(epoch, len(self.learning_rates) - 1)]])


@declared
class FromCallable(Schedule):
    """A learning rate that a function gives: γ_t = function(t).

    It is called once per update step. A model that has such a schedule cannot be saved.

    Parameters
    ----------
    function : callable
        From the step t (int, from 0) to a number > 0.

    Examples
    --------
    >>> FromCallable(lambda t: 0.1 * 0.5**t).rates(first_step=0, n_steps=3, epoch=0)
    array([0.1  , 0.05 , 0.025])
    """

    function: Callable[[int], float] = checked(_check_function)

    def rates(self, first_step: int, n_steps: int, epoch: int) -> NDArray[np.float64]:
        """Return function(t) for every step."""
        rates = np.empty(n_steps)
        for i, t in enumerate(range(first_step, first_step + n_steps)):
            rate = self.function(t)
            if type(rate) is not float or not 0.0 < rate < math.inf:  # skips the slow check where it can
                rate = check_number(rate, f"the learning rate at step {t}", above=0)
            rates[i] = rate
        return rates


@declared
class StepDecay(Schedule):
    """A learning rate that falls by a factor from time to time: γ_t = η factor^⌊t / every⌋.

    Parameters
    ----------
    learning_rate : float
        η > 0, the rate of the first steps.
    every : int
        >= 1; how many update steps one rate is kept. An epoch has ⌈M / batch_size⌉ of them.
    factor : float, default 0.1
        0 < factor < 1.

    Examples
    --------
    >>> StepDecay(0.5, every=2, factor=0.5).rates(first_step=0, n_steps=5, epoch=0)
    array([0.5  , 0.5  , 0.25 , 0.25 , 0.125])
    """

    name: ClassVar[str] = "step_decay"

    learning_rate: float = number(above=0)
    every: int = checked(_check_steps)
    factor: float = number(default=0.1, above=0, below=1)

    def rates(self, first_step: int, n_steps: int, epoch: int) -> NDArray[np.float64]:
        """Return η factor^⌊t / every⌋ for every step."""
        cuts: NDArray[np.float64] = self.factor ** (_steps(first_step, n_steps) // self.every).astype(np.float64)
        return self.learning_rate * cuts


@declared
class Exponential(Schedule):
    """A learning rate that falls exponentially: γ_t = η factor^(t / every).

    Parameters
    ----------
    learning_rate : float
        η > 0, the rate of the first step.
    factor : float
        0 < factor < 1; by what the rate falls ...
    every : int, default 1
        ... in so many update steps, >= 1.

    Examples
    --------
    >>> Exponential(0.8, factor=0.25, every=2).rates(first_step=0, n_steps=4, epoch=0)
    array([0.8, 0.4, 0.2, 0.1])
    """

    name: ClassVar[str] = "exponential"

    learning_rate: float = number(above=0)
    factor: float = number(above=0, below=1)
    every: int = checked(_check_steps, default=1)

    def rates(self, first_step: int, n_steps: int, epoch: int) -> NDArray[np.float64]:
        """Return η factor^(t / every) for every step."""
        return self.learning_rate * self.factor ** (_steps(first_step, n_steps) / self.every)


@declared
class CosineRestarts(Schedule):
    """Half a cosine from η down to a minimum, again and again: SGDR.

    γ_t = η_min + ½ (η - η_min) (1 + cos(π s / T_i)), where s steps have passed of cycle i, which has T_i = T_0 growthⁱ.

    Parameters
    ----------
    learning_rate : float
        η > 0, the rate at the start of every cycle.
    period : int
        T_0 >= 1, the update steps of the first cycle. As many as there are in all: no restart.
    growth : int, default 1
        >= 1; how many times as long as the one before every cycle is.
    minimum : float, default 0.0
        η_min, 0 <= η_min < η.

    References
    ----------
    Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts (2017), equation 5.

    Examples
    --------
    >>> CosineRestarts(1.0, period=2, growth=2).rates(first_step=0, n_steps=7, epoch=0).round(3)
    array([1.   , 0.5  , 1.   , 0.854, 0.5  , 0.146, 1.   ])
    """

    name: ClassVar[str] = "cosine_restarts"

    learning_rate: float = number(above=0)
    period: int = checked(_check_steps)
    growth: int = checked(_check_steps, default=1)
    minimum: float = number(default=0.0, minimum=0)

    def _check(self) -> None:
        if not self.minimum < self.learning_rate:
            raise ValueError(f"minimum must be below learning_rate={self.learning_rate}, not {self.minimum}")

    def rates(self, first_step: int, n_steps: int, epoch: int) -> NDArray[np.float64]:
        """Return the rate of every step, from its place in its cycle."""
        t = _steps(first_step, n_steps)
        if self.growth == 1:
            part = t % self.period / self.period
        else:
            lengths, starts = [self.period], [0]
            while starts[-1] + lengths[-1] < first_step + n_steps:
                starts.append(starts[-1] + lengths[-1])
                lengths.append(lengths[-1] * self.growth)
            cycle = np.searchsorted(np.array(starts, np.int64), t, side="right") - 1
            part = (t - np.array(starts, np.int64)[cycle]) / np.array(lengths, np.float64)[cycle]
        return self.minimum + 0.5 * (self.learning_rate - self.minimum) * (1 + np.cos(np.pi * part))


@declared
class LinearWarmup(Schedule):
    """A learning rate that first rises linearly, and then follows another schedule from its beginning.

    γ_t = (t + 1) / steps · γ'_0 for t < steps, then γ'_{t - steps}, with γ' the other schedule. One that goes by
    epochs, as a list, goes on counting them: γ_t = (t + 1) / steps · γ' of the epoch.

    Parameters
    ----------
    learning_rate : float, sequence of float, callable or Schedule
        γ', what is warmed up to.
    steps : int
        >= 1; update steps until the full rate.

    Examples
    --------
    >>> LinearWarmup(0.4, steps=4).rates(first_step=0, n_steps=6, epoch=0)
    array([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])
    """

    name: ClassVar[str] = "linear_warmup"

    learning_rate: Rate = checked(as_rate, family=Schedule)
    steps: int = checked(_check_steps)

    def rates(self, first_step: int, n_steps: int, epoch: int) -> NDArray[np.float64]:
        """Return the rising rates of the first steps, and those of the other schedule after them."""
        after = as_schedule(self.learning_rate)
        n_rising = min(max(self.steps - first_step, 0), n_steps)
        if n_rising == 0:
            return rates_of(after, first_step - self.steps, n_steps, epoch)
        rising = (_steps(first_step, n_rising) + 1) / self.steps * rates_of(after, 0, 1, epoch)
        if n_rising == n_steps:
            return rising
        later = rates_of(after, 0, n_steps - n_rising, epoch)
        return np.concatenate([rising, np.broadcast_to(later, n_steps - n_rising)])

    @property
    def memory(self) -> dict[str, float]:
        """What the other schedule keeps."""
        return as_schedule(self.learning_rate).memory

    def observe(self, memory: dict[str, float], loss: float) -> None:
        """Let the other schedule take note of an epoch's loss."""
        as_schedule(self.learning_rate).observe(memory, loss)

    def scale(self, memory: dict[str, float]) -> float:
        """Return the other schedule's."""
        return as_schedule(self.learning_rate).scale(memory)


@declared
class OneCycle(Schedule):
    """A learning rate that rises to its peak and falls to almost nothing, each by half a cosine.

    It starts at η / start_divisor, reaches η at step rising · steps - 1, and η / start_divisor / end_divisor at step
    steps - 1, where it stays.

    Parameters
    ----------
    learning_rate : float
        η > 0, the highest rate.
    steps : int
        >= 2; all update steps of the cycle.
    rising : float, default 0.3, or 2/3 of 2 or 3 steps
        The share of them that rises, 1 / steps < rising < 1: the first step is at the start, and another follows it.
    start_divisor, end_divisor : float, default 25 and 1e4
        >= 1.

    References
    ----------
    Smith and Topin, Super-convergence: very fast training of neural networks using large learning rates (2018), with
    the cosines of PyTorch's OneCycleLR.

    Examples
    --------
    >>> OneCycle(1.0, steps=5, rising=0.6, start_divisor=10, end_divisor=10).rates(0, 6, epoch=0).round(3)
    array([0.1  , 0.55 , 1.   , 0.505, 0.01 , 0.01 ])
    """

    name: ClassVar[str] = "one_cycle"

    learning_rate: float = number(above=0)
    steps: int = checked(partial(_check_steps, minimum=2))
    rising: float = checked(default=None)  # which `_check` makes a number, by the steps
    start_divisor: float = number(default=25.0, minimum=1)
    end_divisor: float = number(default=1e4, minimum=1)

    def _check(self) -> None:
        rising = (0.3 if self.steps > 3 else 2 / 3) if self.rising is None else self.rising
        self._store(rising=check_number(rising, "rising", above=1 / self.steps, below=1))

    def rates(self, first_step: int, n_steps: int, epoch: int) -> NDArray[np.float64]:
        """Return the rate of every step, from its place between start, peak and end."""
        start, last = self.learning_rate / self.start_divisor, self.steps - 1
        peak = self.rising * self.steps - 1
        t = np.minimum(_steps(first_step, n_steps), last)
        rising = self.learning_rate + (start - self.learning_rate) * 0.5 * (1 + np.cos(np.pi * (t / peak)))
        falling = (1 + np.cos(np.pi * ((t - peak) / (last - peak)))) * 0.5
        end = start / self.end_divisor
        return np.where(t <= peak, rising, end + (self.learning_rate - end) * falling)


_NOTHING_SEEN = float(np.finfo(np.float64).max)  # any loss is better; unlike infinity, it can be written as JSON


@declared
class Plateau(Schedule):
    """A learning rate that falls by a factor when the loss has stopped falling: γ_t = γ'_t factorᵏ after k cuts.

    After every epoch of `fit`, the monitored loss (validation if there is one, else training) is compared with the
    best so far: it has to be lower by at least tol. After `patience` epochs in a row without that, the rate is cut,
    and the counting begins again. What was seen is kept from fit to fit and saved with the model.

    Parameters
    ----------
    learning_rate : float, sequence of float, callable or Schedule
        γ', the rate before any cut.
    factor : float, default 0.2
        0 < factor < 1.
    patience : int, default 2
        >= 1; epochs in a row. scikit-learn's learning_rate="adaptive" is patience = n_iter_no_change + 1, PyTorch's
        ReduceLROnPlateau counts one less as well.
    tol : float, default 1e-4
        >= 0.

    Examples
    --------
    >>> schedule = Plateau(0.5, patience=2)
    >>> memory = schedule.memory
    >>> for loss in [0.9, 0.8, 0.8, 0.79999]:  # two epochs in a row without improvement
    ...     schedule.observe(memory, loss)
    >>> schedule.rates(0, 1, epoch=4) * schedule.scale(memory)
    array([0.1])
    """

    name: ClassVar[str] = "plateau"

    learning_rate: Rate = checked(as_rate, family=Schedule)
    factor: float = number(default=0.2, above=0, below=1)
    patience: int = count(default=2)
    tol: float = number(default=1e-4, minimum=0)

    def _check(self) -> None:
        if as_schedule(self.learning_rate).memory:
            raise ValueError(f"learning_rate of a Plateau must not watch the loss itself: {shown(self.learning_rate)}")

    def rates(self, first_step: int, n_steps: int, epoch: int) -> NDArray[np.float64]:
        """Return the rates before any cut; `scale` has the cuts."""
        return rates_of(as_schedule(self.learning_rate), first_step, n_steps, epoch)

    @property
    def memory(self) -> dict[str, float]:
        """The best loss, epochs without improvement since it or since the last cut, and factorᵏ."""
        return {"best_loss": _NOTHING_SEEN, "bad_epochs": 0.0, "scale": 1.0}

    def observe(self, memory: dict[str, float], loss: float) -> None:
        """Count an epoch without improvement, and cut the rate if there were enough."""
        improved = loss <= memory["best_loss"] - self.tol  # not if it is NaN
        memory["bad_epochs"] = 0.0 if improved else memory["bad_epochs"] + 1
        if loss < memory["best_loss"]:
            memory["best_loss"] = loss
        if memory["bad_epochs"] >= self.patience:
            memory["scale"] *= self.factor
            memory["bad_epochs"] = 0.0

    def scale(self, memory: dict[str, float]) -> float:
        """Return factorᵏ."""
        return memory["scale"]


def _steps(first_step: int, n_steps: int) -> NDArray[np.int64]:
    """Return t for every step."""
    return np.arange(first_step, first_step + n_steps, dtype=np.int64)


def as_schedule(value: Rate) -> Schedule:
    """Make a schedule of whatever describes a learning rate.

    Parameters
    ----------
    value : float, sequence of float, callable or Schedule
        A number makes a `Constant`, a sequence a `PerEpoch`, a function of the step a `FromCallable`;
        a schedule stays itself.

    Returns
    -------
    Schedule

    Raises
    ------
    TypeError
        If `value` is none of these.
    ValueError
        If a rate is not finite or not > 0.

    Examples
    --------
    >>> as_schedule(0.1)
    Constant(learning_rate=0.1)
    >>> as_schedule([0.1, 0.01])
    PerEpoch(learning_rates=(0.1, 0.01))
    """
    if isinstance(value, Schedule):
        return value
    if callable(value):
        return FromCallable(value)
    if _is_listed(value):
        return PerEpoch(value)  # type: ignore[arg-type]  # _is_listed has told
    return Constant(value)  # type: ignore[arg-type]  # which rejects all but a number


def schedule_from_config(config: dict[str, Any]) -> Schedule:
    """Make the schedule that `Schedule.to_config` described.

    Parameters
    ----------
    config : dict
        The name of the schedule under "name", and its fields.

    Returns
    -------
    Schedule

    Raises
    ------
    ValueError
        If anything about `config` is malformed.

    Examples
    --------
    >>> schedule_from_config({"name": "inverse_scaling", "learning_rate": 0.1, "power": 0.25})
    InverseScaling(learning_rate=0.1, power=0.25)
    """
    return from_config(Schedule, config)  # type: ignore[type-abstract]
