"""Averages of the weights over the course of training, which often predict better than the last weights.

    EMA    w̄ ← d w̄ + (1 - d) w               after every step; the first step starts it, w̄ = w
    SWA    w̄ ← w̄ + (w - w̄) / m               after every epoch from `start` on, the m-th of them

With `averaging=` in the optimiser the network's parameters are w̄: what predicts, is validated and is saved. Training
goes on from the w of the last step, which is kept, and saved, with the optimiser's state; so what is written to
`net.weights` by hand changes w̄ alone, unless no step has been made yet with the optimiser.
"""

from __future__ import annotations

from typing import ClassVar

from cmlp._base.fields import Declared, count, declared, number


class Averaging(Declared):
    """Base class of the averages.

    Examples
    --------
    >>> isinstance(EMA(), Averaging), isinstance(SWA(), Averaging)
    (True, True)
    """

    noun: ClassVar[str] = "averaging"
    name: ClassVar[str] = ""


@declared
class EMA(Averaging):
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

    name: ClassVar[str] = "ema"

    decay: float = number(default=0.999, minimum=0, below=1)


@declared
class SWA(Averaging):
    """Stochastic weight averaging: the mean of the weights at the end of each epoch from `start` on.

    Before `start` the parameters are those of the last step. A stream has no epochs, so `partial_fit` and `learn_one`
    refuse it.

    Parameters
    ----------
    start : int, default 0
        How many epochs of `fit` pass, since the optimiser was set, before the first that counts: 0 averages from the
        first epoch on, 10 from the eleventh ("epoch 11/" in what `progress` prints).

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

    name: ClassVar[str] = "swa"

    start: int = count(default=0, minimum=0)
