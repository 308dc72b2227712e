"""How the command fails: with one line for people and an exit code."""

from __future__ import annotations

import os
from collections.abc import Sequence

from cmlp.data.csv import closest


class UsageError(Exception):
    """The command cannot do what was asked; the message says why, in one line."""


class FailedRun(Exception):
    """The training came to nothing, and nothing was saved; the message says what to try, in one line."""


def did_you_mean(meant: str | None) -> str:
    """Return the end of a message about an unknown name, if it is known what it probably means.

    Examples
    --------
    >>> did_you_mean("train"), did_you_mean(None)
    ('; did you mean train?', '')
    """
    return "" if meant is None else f"; did you mean {meant}?"


def no_such_file(path: str, others: Sequence[str] = ()) -> UsageError:
    """Return the error about a file that is not there, with the closest of the names in its folder and the others.

    Examples
    --------
    >>> print(no_such_file("digts", ["digits"]))
    digts: No such file or directory; did you mean digits?
    """
    folder, name = os.path.split(path)
    there = os.listdir(folder or ".") if os.path.isdir(folder or ".") else []
    stem, ending = os.path.splitext(name)  # two names are not alike because both end with .csv
    stems = {os.path.splitext(entry)[0]: entry for entry in sorted([*others, *there], key=lambda e: e.endswith(ending))}
    meant = closest(stem, list(stems))
    return UsageError(f"{path}: No such file or directory{did_you_mean(None if meant is None else stems[meant])}")
