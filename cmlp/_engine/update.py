"""How gradients become steps: the settings of one training call, checked and packed for the core."""

from __future__ import annotations

from operator import is_
from typing import TYPE_CHECKING, Any

import numpy as np

from cmlp._base.checks import check_count, check_in_dtype, check_name, check_number
from cmlp._base.fields import fields_by_setting
from cmlp._core import UPDATE, record
from cmlp.schedules import Constant, rates_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cmlp.optimizers import Optimizer
    from cmlp.schedules import Schedule

REDUCTIONS = ("mean", "sum")
_PLAIN = (int, float, str, bool, type(None))
_ABOVE_0 = frozenset(["clip_delta", "clip_value", "clip_norm", "max_norm", "eps", "decrease", "least", "most"])
_BELOW_1 = frozenset(["beta1", "beta2", "decrease"])


class Updates:
    """`make_update` for one model: calls that ask for the same again get the same record, made once."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._asked: tuple[Any, ...] = ()
        self._n_samples = 0
        self._update: NDArray[np.void] | None = None

    def get(self, optimizer: Optimizer, n_samples: int, **settings: Any) -> NDArray[np.void]:
        """Return a record that its users leave as it is, but for the seed of dropout."""
        asked = (optimizer, *settings, *settings.values())
        same = n_samples == self._n_samples and len(asked) == len(self._asked) and all(map(is_, asked, self._asked))
        if same and self._update is not None:
            return self._update
        update = make_update(optimizer, n_samples, self._dtype, **settings)
        if all(type(value) in _PLAIN for value in settings.values()):  # nothing that could change inside
            self._asked, self._n_samples, self._update = asked, n_samples, update
        return update


def make_update(
    optimizer: Optimizer,
    n_samples: int,
    dtype: np.dtype[Any],
    *,
    batch_size: int | str | None = "auto",
    reduction: str = "mean",
    clip_delta: float | None = None,
    clip_value: float | None = None,
    clip_norm: float | None = None,
    drops_out: bool = False,
    **settings: Any,
) -> NDArray[np.void]:
    """Check the settings of an update and return them as a record of `cmlp._core.UPDATE`.

    dtype: the network's, in which the settings must keep their sense. settings: further fields of the record. The seed
    of the dropout masks is left for `Run` to draw.
    """
    kind = type(optimizer).__name__
    if isinstance(batch_size, str) and batch_size == "auto":
        batch_size = None if optimizer.full_batch else 1
    batch = n_samples if batch_size is None else check_count(batch_size, "batch_size")
    if optimizer.full_batch and batch < n_samples:
        raise ValueError(f"{kind} takes all samples at once: leave batch_size out or give None, not {batch_size}")
    given = {"clip_delta": clip_delta, "clip_value": clip_value, "clip_norm": clip_norm}
    limits = {name: check_number(v, name, above=0) for name, v in given.items() if v is not None}
    if optimizer.searches and limits:
        raise ValueError(f"{next(iter(limits))} does not go with {kind}: its search needs the objective's own gradient")
    if optimizer.searches and drops_out:
        raise ValueError(f"dropout does not go with {kind}: its search needs an objective that stays the same")
    decided = {**limits, **optimizer.settings, **settings}
    _check_settings(decided, optimizer, dtype)
    return record(
        UPDATE,
        batch_size=min(batch, n_samples),
        mean=check_name(reduction, REDUCTIONS, "reduction") == "mean",
        dropout=drops_out,
        **decided,
    )


def _check_settings(settings: dict[str, Any], optimizer: Optimizer, dtype: np.dtype[Any]) -> None:
    """Raise unless all numbers keep their sense in the dtype: ε is not 0, no β is 1, nothing is infinite."""
    kind: Any = type(optimizer)
    fields = fields_by_setting(kind)
    for setting, value in settings.items():
        if isinstance(value, float):
            above, below = 0 if setting in _ABOVE_0 else None, 1 if setting in _BELOW_1 else None
            check_in_dtype(value, dtype, fields.get(setting, setting), above=above, below=below)
    if optimizer.rule == "adam" and {"eps", "beta2"} <= set(settings):  # the first step takes ε √(1 - β₂)
        eps = settings["eps"] * (1 - settings["beta2"]) ** 0.5
        check_in_dtype(eps, dtype, "eps", above=0)


def step_rates(
    schedule: Schedule, memory: dict[str, float], first_step: int, n_steps: int, epoch: int, dtype: np.dtype[Any]
) -> NDArray[np.float64]:
    """Return what a schedule gives for some steps, (n_steps,) or (1,), checked: it may be users' code."""
    if type(schedule) is Constant:
        rates = schedule.rates(first_step, n_steps, epoch)
        check_in_dtype(rates.item(), dtype, "learning_rate", above=0)
        return rates
    scale = check_number(schedule.scale(memory), f"{type(schedule).__name__}.scale", minimum=0)
    with np.errstate(over="ignore"):  # which the next check finds
        checked = rates_of(schedule, first_step, n_steps, epoch) * scale  # a copy, which nobody else can change
    if not (checked.min() >= 0 and checked.max() <= np.finfo(dtype).max):  # nor if there is NaN
        at = int(np.argmin((checked >= 0) & (checked <= np.finfo(dtype).max)))
        raise ValueError(
            f"{type(schedule).__name__} gave the rate {checked[at]} for step {first_step + at}: expected a number >= 0 "
            f"that is finite in {dtype}"
        )
    return checked
