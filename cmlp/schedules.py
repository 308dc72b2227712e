"""Learning-rate schedules: γ_t, the learning rate of update step t = 0, 1, 2, ... since the model was made.

Wherever a learning rate is asked for, a number, a list (one rate per epoch) or a function of t will do.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cmlp._checks import check_name, check_number, shown

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Schedule(ABC):
    """A rule for the learning rate; the base class of all schedules.

    Examples
    --------
    >>> isinstance(Constant(0.1), Schedule)
    True
    """

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

    @property
    def memory(self) -> dict[str, float]:
        """The numbers that the schedule keeps from epoch to epoch, and what they are at first. Mostly none.

        Examples
        --------
        >>> Constant(0.5).memory
        {}
        """
        return {}

    def observe(self, memory: dict[str, float], loss: float) -> None:  # noqa: B027  # most schedules are deaf
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
        for name, kind in _SAVABLE.items():
            if type(self) is kind:
                fields = asdict(self).items()  # type: ignore[call-overload]  # all savable ones are dataclasses
                return {"name": name, **{key: list(v) if isinstance(v, tuple) else v for key, v in fields}}
        raise TypeError(
            f"a {type(self).__name__} schedule cannot be saved: code is not data; "
            "give the model a number, a list or one of the named schedules as its learning rate first"
        )

    def _store(self, **fields: object) -> None:
        """Set checked fields: the way past frozen=True, for __post_init__ only."""
        for name, value in fields.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
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

    learning_rate: float

    def __post_init__(self) -> None:
        """Check the parameters."""
        self._store(learning_rate=check_number(self.learning_rate, "learning_rate", above=0))

    def rates(self, first_step: int, n_steps: int, epoch: int) -> NDArray[np.float64]:
        """Return η, once."""
        return np.array([self.learning_rate])


@dataclass(frozen=True)
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

    learning_rate: float

    def __post_init__(self) -> None:
        """Check the parameters."""
        self._store(learning_rate=check_number(self.learning_rate, "learning_rate", above=0))

    def rates(self, first_step: int, n_steps: int, epoch: int) -> NDArray[np.float64]:
        """Return η / (t + 1) for every step."""
        return self.learning_rate / np.arange(first_step + 1, first_step + n_steps + 1)


@dataclass(frozen=True)
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

    learning_rate: float
    power: float = 0.5

    def __post_init__(self) -> None:
        """Check the parameters."""
        self._store(learning_rate=check_number(self.learning_rate, "learning_rate", above=0))
        self._store(power=check_number(self.power, "power", minimum=0))

    def rates(self, first_step: int, n_steps: int, epoch: int) -> NDArray[np.float64]:
        """Return η / (t + 1)^power for every step."""
        # A negative power of t + 1 >= 1 cannot overflow, whatever the power.
        return self.learning_rate * np.arange(first_step + 1.0, first_step + n_steps + 1.0) ** -self.power


@dataclass(frozen=True)
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

    learning_rates: Sequence[float]

    def __post_init__(self) -> None:
        """Check the parameters."""
        if not _is_listed(self.learning_rates):
            raise TypeError(f"learning_rates must be a list of numbers, not {shown(self.learning_rates)}")
        listed = enumerate(self.learning_rates)
        rates = tuple(check_number(rate, f"learning_rates[{epoch}]", above=0) for epoch, rate in listed)
        if not rates:
            raise ValueError("learning_rates is empty: give at least one number > 0, one per epoch")
        self._store(learning_rates=rates)

    def rates(self, first_step: int, n_steps: int, epoch: int) -> NDArray[np.float64]:
        """Return the rate of the epoch, once."""
        return np.array([self.learning_rates[min(epoch, len(self.learning_rates) - 1)]])


@dataclass(frozen=True)
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

    function: Callable[[int], float]

    def __post_init__(self) -> None:
        """Check the parameters."""
        if not callable(self.function) or isinstance(self.function, type):
            raise TypeError(f"a schedule needs a function of the step t, not {shown(self.function)}")

    def rates(self, first_step: int, n_steps: int, epoch: int) -> NDArray[np.float64]:
        """Return function(t) for every step."""
        rates = np.empty(n_steps)
        for i, t in enumerate(range(first_step, first_step + n_steps)):
            rate = self.function(t)
            if type(rate) is not float or not 0.0 < rate < math.inf:  # skips the slow check where it can
                rate = check_number(rate, f"the learning rate at step {t}", above=0)
            rates[i] = rate
        return rates


_SAVABLE: dict[str, type[Schedule]] = {
    "constant": Constant,
    "inverse_time": InverseTime,
    "inverse_scaling": InverseScaling,
    "per_epoch": PerEpoch,
}


def as_schedule(value: float | Sequence[float] | Callable[[int], float] | Schedule) -> Schedule:
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
    if not isinstance(config, dict):
        raise ValueError(f"a saved schedule must be a dict, not {shown(config)}")
    fields = dict(config)
    try:
        return _SAVABLE[check_name(fields.pop("name", None), _SAVABLE, "schedule")](**fields)
    except TypeError as error:
        raise ValueError(f"malformed saved schedule {shown(config)}: {error}") from error


def _is_listed(value: object) -> bool:
    """Tell whether a value lists numbers: a list, tuple, array, Series; no string, set or dict."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    if isinstance(value, Sequence):
        return not isinstance(value, (str, bytes))
    return hasattr(value, "__array__") and hasattr(value, "__len__")
