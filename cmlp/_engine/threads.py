"""How many threads divide the work."""

from __future__ import annotations

import math
import os

from cmlp._base.checks import check_count, check_name
from cmlp._core import MOST_THREADS, ROWS_AT_ONCE

LEAST_AT_ONCE = 1_000_000  # multiply-adds of the rows that a team works on at once: some 20 µs
LEAST_PER_CALL = 10_000_000  # and of a call, which starts the team
_LONGEST_WAIT = 64  # calls between two trials


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
    """Decides how many threads each call of the core gets; the numbers are the same either way.

    Work that is too small to be divided gets one. With "auto" all processors are tried, then one, and the faster stays,
    until it gets slower than the other was. In any case the other is tried again after 4 calls, after 8 more, 16, ...,
    at last every 64: other programs may have come to use the processors, or have left them.
    """

    def __init__(self, n_threads: int | None, batch_size: int, n_parameters: int) -> None:
        most = available_processors() if n_threads is None else n_threads
        most = min(most, -(-batch_size // 4))  # rows go to threads by fours
        self.most = most if min(batch_size, most * ROWS_AT_ONCE) * n_parameters >= LEAST_AT_ONCE else 1
        self._least = LEAST_PER_CALL / n_parameters  # samples
        self._compares = n_threads is None and self.most > 1
        self._seconds = {self.most: math.inf, 1: math.inf}  # per sample, of the last call of each
        self._choice, self._wait, self._left = self.most, 2, 1  # how many calls until the next trial, of so many

    def next(self, n_samples: int) -> int:
        """Return how many threads the next call gets, which learns from so many samples."""
        if self.most == 1 or n_samples < self._least:
            return 1
        return self._choice if not self._compares or self._left > 0 else self._other

    def took(self, n_threads: int, n_samples: int, seconds: float) -> None:
        """Take note of how long a call took."""
        if not self._compares or n_samples < self._least:
            return
        now = self._seconds[n_threads] = seconds / n_samples
        if n_threads == self._choice:
            self._left = self._left - 1 if now <= self._seconds[self._other] else 0
            return
        if now < self._seconds[self._choice]:
            self._choice, self._wait = n_threads, 2
        self._wait = min(2 * self._wait, _LONGEST_WAIT)
        self._left = self._wait

    @property
    def settled(self) -> bool:
        """Whether every choice has been tried."""
        return not self._compares or max(self._seconds.values()) < math.inf

    @property
    def _other(self) -> int:
        return 1 if self._choice == self.most else self.most
