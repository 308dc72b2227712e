"""The epoch loop. What happens between two epochs is decided by rules: those of `fit`, of scikit-learn, ..."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Protocol

from cmlp._core import see_interrupt

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cmlp._engine.failures import Failure
    from cmlp._engine.passes import Pass, Run


class Rules(Protocol):
    """What decides about the order of the samples, the record and the end.

    Attributes
    ----------
    restores : bool
        Whether an epoch that fails is taken back.
    """

    restores: ClassVar[bool]

    def visits(self) -> NDArray[np.int64] | None:
        """Return the order of the next epoch; None: as the samples are."""

    def diverged(self, failure: Failure) -> None:
        """Raise an error, or let the epoch stand, as the last one; in a search, which has no epoch to stand, raise."""

    def end_epoch(self, result: Pass) -> bool:
        """Record an epoch; return whether it was the last one."""


def run_epochs(run: Run, rules: Rules, epochs: int, deadline: float = math.inf) -> None:
    """Train epoch by epoch, until the rules say stop or the deadline (time.perf_counter) has passed.

    Ctrl-C has to be put off (`cmlp._core.Postponed`): it is seen where an epoch begins, and between chunks.
    """
    for _ in range(epochs):
        see_interrupt()
        if rules.restores:
            run.save_state()
        result = run.learn(rules.visits(), deadline)
        if result.bad is None:
            run.average_epoch()
        failure = run.failure(result)
        if failure is not None:
            if rules.restores:
                run.restore_state()
            rules.diverged(failure)
        run.model.n_epochs += 1
        if rules.end_epoch(result) or failure is not None:
            return
