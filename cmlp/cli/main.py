"""The command `cmlp`: train on a table, predict with a saved model, compare with pure NumPy.

    cmlp train digits
    cmlp train FILE.csv --target COLUMN
    cmlp predict MODEL FILE.csv
    cmlp bench

This file holds the arguments and the errors: one line and an exit code. A subcommand is a module of its name beside it,
whose `run` takes the arguments and returns the exit code.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import re
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NoReturn

import cmlp
from cmlp.cli.errors import FailedRun, UsageError, did_you_mean, no_such_file
from cmlp.data.csv import TableError, closest, quote

# What other tools call these options.
_OTHER_WORDS = {
    "lr": "--learning-rate",
    "eta": "--learning-rate",
    "bs": "--batch-size",
    "layers": "--hidden",
    "label": "--target",
    "exclude": "--ignore",
    "random-state": "--seed",
}


class _Parser(argparse.ArgumentParser):
    """Reports errors as everything else here does, without the usage in front."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")

    def refuse(self, unknown: list[str]) -> NoReturn:
        """Report arguments that are not taken, with the option that the first one probably means."""
        name = unknown[0].partition("=")[0].lstrip("-").replace("_", "-").lower()
        options = re.findall(r"--[a-z-]+", self.format_usage())
        meant = closest(_OTHER_WORDS.get(name, f"--{name}"), options) if unknown[0].startswith("-") else None
        self.error(f"unrecognized arguments: {' '.join(unknown)}{did_you_mean(meant)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command `cmlp`.

    Without any argument it prints its help, to standard error because it was not asked to.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; default: those of the process.

    Returns
    -------
    int
        The exit code: 0; 1 if a training came to nothing; 2 if the command cannot do what was asked, or was asked
        for nothing; 130 after Ctrl-C; 141 if standard output was closed by its reader. Errors are one line on
        standard error.

    Examples
    --------
    >>> main(["--version"])  # doctest: +ELLIPSIS
    cmlp ...
    0
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # no terminal is too old for a column's name
    try:
        code = _run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
        return code
    except SystemExit as end:  # argparse's --help and --version
        return int(end.code or 0)
    except KeyboardInterrupt:
        return _complain("interrupted", 130)
    except OSError as error:
        _forget_output()
        if isinstance(error, BrokenPipeError):  # the reader (head, less) has seen enough
            return 141
        path = "" if error.filename is None else os.fsdecode(error.filename)
        if path and isinstance(error, FileNotFoundError):
            return _complain(f"error: {no_such_file(path)}")
        return _complain(f"error: {path}{': ' if path else ''}{error.strerror or error}")
    except MemoryError:
        return _complain("error: this does not fit into memory")
    except (UsageError, TableError) as error:
        return _complain(f"error: {error}")
    except FailedRun as error:
        return _complain(f"error: {error}", 1)


def _run(argv: Sequence[str]) -> int:
    """Carry out the subcommand that the arguments name; return its exit code."""
    parser, commands = _parsers()
    if argv and not argv[0].startswith("-") and argv[0] not in commands:
        guess = did_you_mean(closest(argv[0], list(commands))) or f"; choose from {', '.join(commands)}"
        parser.error(f"invalid choice: {argv[0]!r}{guess}")
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        commands.get(arguments.command, parser).refuse(unknown)
    if arguments.command is None:
        parser.print_help(sys.stderr)
        return 2
    return int(import_module(f"cmlp.cli.{arguments.command}").run(arguments))


def _forget_output() -> None:
    """Drop what standard output cannot take (closed pipe, full disk): Python would try again at exit, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(message: str, code: int = 2) -> int:
    """Write one line to standard error and return the exit code."""
    print(f"cmlp: {' '.join(message.split())}", file=sys.stderr)
    return code


def _parsers() -> tuple[_Parser, dict[str, _Parser]]:
    """Return the parser of the command and, by name, those of its subcommands."""
    parser = _Parser(
        prog="cmlp",
        description="Train multilayer perceptrons on tables of numbers, fast, on the CPU.",
        epilog="Exit codes: 0 done, 1 a training came to nothing, 2 an error in what was asked, 130 Ctrl-C.",
    )
    parser.add_argument("--version", action="version", version=f"cmlp {cmlp.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    train = commands.add_parser(
        "train",
        help="train a network on a table and save it",
        description="Train a network on four fifths of the rows, show after each epoch how it does on the fifth "
        "held out, and save it. The saved model takes raw values: it standardises the features itself. (A regression's "
        "losses are those of the standardised target.)",
    )
    predict = commands.add_parser(
        "predict",
        help="predict the rows of a table with a saved model",
        description="Predict the rows of a CSV file, whose columns are found by name, and write them as CSV.",
    )
    bench = commands.add_parser(
        "bench",
        help="compare cmlp with pure NumPy on this machine",
        description="Train the same networks with cmlp and with pure NumPy, one sample at a time, in one run.",
    )
    _add_train(train)
    _add_predict(predict)
    bench.add_argument("--quick", action="store_true", help="a smaller table and fewer repetitions: a few seconds")
    return parser, {"train": train, "predict": predict, "bench": bench}


def _add_train(train: _Parser) -> None:
    """Add the arguments of `cmlp train`."""
    train.add_argument("data", metavar="DATA", help="a CSV file with a header, or `digits`, which comes with cmlp")
    train.add_argument("--target", metavar="COLUMN", help="the column of the CSV file to predict")
    train.add_argument("--ignore", metavar="COLUMN", action="append", default=[], help="leave out (may be repeated)")
    tasks = ("auto", "classification", "regression")
    train.add_argument("--task", choices=tasks, default="auto", help="auto: text, or few integers, are classes")
    train.add_argument("--hidden", metavar="N,N,...", type=_widths, default=(64, 32), help="widths; default 64,32")
    train.add_argument("--epochs", metavar="K", type=_count, default=20, help="passes over the rows; default 20")
    train.add_argument("--batch-size", metavar="B", type=_count, default=1, help="rows per update; default 1")
    rate_help = "at first, falling to a tenth; default 0.01 (less for many columns)"
    train.add_argument("--learning-rate", metavar="RATE", type=_positive, help=rate_help)
    train.add_argument("--seed", metavar="N", type=_seed, default=0, help="of initial weights and order; default 0")
    train.add_argument("--output", metavar="MODEL", help="the model's file; default: the data's name with .cmlp")
    train.add_argument("--quiet", action="store_true", help="no line per epoch, only the result")


def _add_predict(predict: _Parser) -> None:
    """Add the arguments of `cmlp predict`."""
    predict.add_argument("model", metavar="MODEL", help="a file that `cmlp train` or Network.save wrote")
    predict.add_argument("data", metavar="FILE.csv", help="the columns that the model was trained on, in any order")
    predict.add_argument("--output", metavar="OUT.csv", help="write there instead of standard output")
    predict.add_argument("--proba", action="store_true", help="add the probability of every class")


def _count(text: str) -> int:
    """Read an integer >= 1."""
    return int(_checked(text, int, lambda n: 1 <= n < 2**31, "an integer of at least 1"))


def _seed(text: str) -> int:
    """Read an integer >= 0."""
    return int(_checked(text, int, lambda n: n >= 0, "an integer of at least 0"))


def _positive(text: str) -> float:
    """Read a finite number > 0."""
    return float(_checked(text, float, lambda x: 0 < x < math.inf, "a number above 0"))


def _widths(text: str) -> tuple[int, ...]:
    """Read the widths of the hidden layers; nothing, or none, is a network without."""
    return () if text.strip() in ("", "none") else tuple(_count(width) for width in text.split(","))


def _checked(text: str, kind: Callable[[str], Any], is_good: Callable[[Any], bool], wanted: str) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not is_good(value):
        raise argparse.ArgumentTypeError(f"{quote(text)} is not {wanted}")
    return value
