"""How many threads divide the work."""

from __future__ import annotations

import math
import os

from cmlp._base.checks import check_count, check_name
from cmlp._core import MOST_THREADS


def check_threads(n_threads: int | str) -> int | None:
    """Return the number of threads, or None for "auto"."""
    if isinstance(n_threads, str):
        check_name(n_threads, ["auto"], "n_threads")
        return None
    return min(check_count(n_threads, "n_threads"), MOST_THREADS)


def available_processors() -> int:
    """Return how many processors this process may use."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, MOST_THREADS)


class Crossover:
    """Finds out whether all processors are faster than one, for "auto": the numbers are the same either way."""

    def __init__(self, n_threads: int | None, batch_size: int) -> None:
        most = available_processors() if n_threads is None else n_threads
        self.most = min(most, -(-batch_size // 4))  # rows go to threads by fours
        self._best = {self.most: math.inf} if n_threads is not None else {1: math.inf, self.most: math.inf}
        self._trials = [] if len(self._best) == 1 else [1, self.most] * 3

    def next(self) -> int:
        """Return how many threads the next chunk gets: each choice in turn at first, then the faster."""
        if self._trials:
            return self._trials[0]
        return self.most if len(self._best) == 1 else min(self._best, key=lambda n: self._best[n])

    def took(self, n_threads: int, seconds_per_sample: float) -> None:
        """Take note of how long a chunk took."""
        if self._trials:
            self._trials.pop(0)
            self._best[n_threads] = min(self._best[n_threads], seconds_per_sample)
