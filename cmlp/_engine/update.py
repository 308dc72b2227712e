"""How gradients become steps: the settings of one training call, checked and packed for the core."""

from __future__ import annotations

from operator import is_
from typing import TYPE_CHECKING, Any

from cmlp._base.checks import check_count, check_name, check_number
from cmlp._core import UPDATE, record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cmlp.optimizers import Optimizer

REDUCTIONS = ("mean", "sum")
_PLAIN = (int, float, str, bool, type(None))


class Updates:
    """`make_update` for one model: calls that ask for the same again get the same record, made once."""

    def __init__(self) -> None:
        self._asked: tuple[Any, ...] = ()
        self._n_samples = 0
        self._update: NDArray[np.void] | None = None

    def get(self, optimizer: Optimizer, n_samples: int, **settings: Any) -> NDArray[np.void]:
        """Return a record that its users leave as it is, but for the seed of dropout."""
        asked = (optimizer, *settings, *settings.values())
        same = n_samples == self._n_samples and len(asked) == len(self._asked) and all(map(is_, asked, self._asked))
        if same and self._update is not None:
            return self._update
        update = make_update(optimizer, n_samples, **settings)
        if all(type(value) in _PLAIN for value in settings.values()):  # nothing that could change inside
            self._asked, self._n_samples, self._update = asked, n_samples, update
        return update


def make_update(
    optimizer: Optimizer,
    n_samples: int,
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

    settings: further fields of the record. The seed of the dropout masks is left for `Run` to draw.
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
    return record(
        UPDATE,
        batch_size=min(batch, n_samples),
        mean=check_name(reduction, REDUCTIONS, "reduction") == "mean",
        dropout=drops_out,
        **{**limits, **optimizer.settings, **settings},
    )
