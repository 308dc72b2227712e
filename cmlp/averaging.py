"""Averages of the weights over the course of training, which often predict better than the last weights.

    EMA    w̄ ← d w̄ + (1 - d) w               after every step; the first step starts it, w̄ = w
    SWA    w̄ ← w̄ + (w - w̄) / m               after every epoch from `start` on, the m-th of them

With `averaging=` in the optimiser the network's parameters are w̄: what predicts, is validated and is saved. Training
goes on from the w of the last step, which is kept, and saved, with the optimiser's state; so what is written to
`net.weights` by hand changes w̄ alone, unless no step has been made yet with the optimiser.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cmlp._base.checks import check_count, check_name, check_number, shown


@dataclass(frozen=True)
class EMA:
    """Exponential moving average over the steps (Polyak and Juditsky, 1992, with forgetting).

    Parameters
    ----------
    decay : float, default 0.999
        d, 0 <= d < 1: the average looks back about 1 / (1 - d) steps.

    Examples
    --------
    >>> import cmlp
    >>> net = cmlp.MLP([1, 1], init="zeros", bias=False, optimizer=cmlp.SGD(0.5, averaging=cmlp.EMA(0.5)))
    >>> net.partial_fit([[1], [1]], [2, 2]).weights[0].item()  # w is 1, then 1.5
    1.25
    """

    decay: float = 0.999

    def __post_init__(self) -> None:
        """Check the decay."""
        object.__setattr__(self, "decay", check_number(self.decay, "decay", minimum=0, below=1))


@dataclass(frozen=True)
class SWA:
    """Stochastic weight averaging: the mean of the weights at the end of each epoch from `start` on.

    Epochs are those of `fit`, counted from 0 since the optimiser was set. Before `start` the parameters are those of
    the last step. A stream has no epochs, so `partial_fit` and `learn_one` refuse it.

    Parameters
    ----------
    start : int, default 0
        The first epoch that counts.

    References
    ----------
    Izmailov, Podoprikhin, Garipov, Vetrov and Wilson, Averaging weights leads to wider optima and better
    generalization, UAI (2018).

    Examples
    --------
    >>> import cmlp
    >>> net = cmlp.MLP([1, 1], init="zeros", bias=False)
    >>> history = net.fit([[1]], [2], epochs=2, optimizer=cmlp.SGD(0.5, averaging=cmlp.SWA()))
    >>> net.weights[0].item()  # the mean of 1 and 1.5
    1.25
    """

    start: int = 0

    def __post_init__(self) -> None:
        """Check the epoch."""
        object.__setattr__(self, "start", check_count(self.start, "start", minimum=0))


def averaging_to_config(averaging: EMA | SWA | None) -> dict[str, Any] | None:
    """Return an averaging as a dict of JSON values, None as None.

    Examples
    --------
    >>> averaging_to_config(EMA(0.9))
    {'name': 'ema', 'decay': 0.9}
    """
    return None if averaging is None else {"name": type(averaging).__name__.lower(), **vars(averaging)}


def averaging_from_config(config: Any) -> EMA | SWA | None:
    """Make what `averaging_to_config` described; TypeError or ValueError on anything malformed.

    Examples
    --------
    >>> averaging_from_config({"name": "swa", "start": 3})
    SWA(start=3)
    """
    if config is None:
        return None
    if not isinstance(config, dict):
        raise ValueError(f"a saved averaging must be a dict, not {shown(config)}")
    fields = dict(config)
    kinds: dict[str, type[EMA | SWA]] = {"ema": EMA, "swa": SWA}
    return kinds[check_name(fields.pop("name", None), kinds, "averaging")](**fields)
