"""Functions in which Ctrl-C waits: see `cmlp._core.Postponed`, `Allowed` and `see_interrupt`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from cmlp._core import Postponed

P = ParamSpec("P")
R = TypeVar("R")


def uninterrupted(function: Callable[P, R]) -> Callable[P, R]:
    """Let Ctrl-C wait in a function that changes a model, until what it changes fits together.

    >>> import signal
    >>> @uninterrupted
    ... def change(seen):
    ...     signal.raise_signal(signal.SIGINT)
    ...     seen.append("changed")
    >>> seen = []
    >>> try:
    ...     change(seen)
    ... except KeyboardInterrupt:
    ...     print(seen)
    ['changed']
    """

    @wraps(function)
    def waiting(*args: P.args, **kwargs: P.kwargs) -> R:
        with Postponed():
            return function(*args, **kwargs)

    return waiting
