"""The command `cmlp`: train on a table, predict with a saved model, compare with pure NumPy.

    cmlp train digits
    cmlp train FILE.csv --target COLUMN
    cmlp predict MODEL FILE.csv
    cmlp bench

This file holds the arguments, the errors (one line, exit code 2) and `predict`; training is in `cmlp.cli.train`, the
benchmark in `cmlp.cli.bench`.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, NoReturn, TextIO

import cmlp
from cmlp.data.csv import TableError, quote, read_blocks
from cmlp.losses import loss_name
from cmlp.saving import atomic_file


class UsageError(Exception):
    """The command cannot do what was asked; the message says why, in one line."""


class _Parser(argparse.ArgumentParser):
    """Reports errors as everything else here does, without the usage in front."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command `cmlp`.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; default: those of the process.

    Returns
    -------
    int
        The exit code: 0, 2 after an error (one line on standard error), 130 after Ctrl-C, 141 if standard output was
        closed by its reader.

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
        arguments = _parser().parse_args(argv)
        code: int = arguments.run(arguments)
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
        where = f"{os.fsdecode(error.filename)}: " if error.filename is not None else ""
        return _complain(f"{where}{error.strerror or error}")
    except MemoryError:
        return _complain("this does not fit into memory")
    except (UsageError, TableError) as error:
        return _complain(str(error))


def _forget_output() -> None:
    """Drop what standard output cannot take (closed pipe, full disk): Python would try again at exit, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(message: str, code: int = 2) -> int:
    """Write one line to standard error and return the exit code."""
    print(f"cmlp: error: {' '.join(message.split())}" if code == 2 else f"cmlp: {message}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="cmlp", description="Train multilayer perceptrons on tables of numbers, fast, on the CPU.")
    parser.add_argument("--version", action="version", version=f"cmlp {cmlp.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    train = commands.add_parser(
        "train",
        help="train a network on a table and save it",
        description="Train a network on four fifths of the rows, show after each epoch how it does on the fifth "
        "held out, and save it. Features are standardised for training; the saved model takes raw values.",
    )
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
    train.set_defaults(run=_train)

    predict = commands.add_parser(
        "predict",
        help="predict the rows of a table with a saved model",
        description="Predict the rows of a CSV file, whose columns are found by name, and write them as CSV.",
    )
    predict.add_argument("model", metavar="MODEL", help="a file that `cmlp train` or Network.save wrote")
    predict.add_argument("data", metavar="FILE.csv", help="the columns that the model was trained on, in any order")
    predict.add_argument("--output", metavar="OUT.csv", help="write there instead of standard output")
    predict.add_argument("--proba", action="store_true", help="add the probability of every class")
    predict.set_defaults(run=_predict)

    bench = commands.add_parser(
        "bench",
        help="compare cmlp with pure NumPy on this machine",
        description="Train the same networks with cmlp and with pure NumPy, one sample at a time, in one run.",
    )
    bench.add_argument("--quick", action="store_true", help="a smaller table and fewer repetitions: a few seconds")
    bench.set_defaults(run=_bench)
    return parser


def _train(arguments: argparse.Namespace) -> int:
    from cmlp.cli.train import train  # only now: predict needs none of it

    return train(arguments)


def _bench(arguments: argparse.Namespace) -> int:
    from cmlp.cli.bench import bench

    bench(quick=arguments.quick)
    return 0


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


def load_model(path: str) -> cmlp.Network:
    """Load a model file; whatever is wrong with its contents becomes a UsageError."""
    try:
        return cmlp.load(path)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _predict(arguments: argparse.Namespace) -> int:
    """Predict block by block, so that a table of any length needs little memory."""
    network = load_model(arguments.model)
    features, classes, names = _described(network, arguments.model)
    if arguments.proba and (classes is None or loss_name(network.loss) == "hinge"):
        kind = "values, not classes" if classes is None else "scores, not probabilities"
        raise UsageError(f"{arguments.model} predicts {kind}: --proba has nothing to show")
    header = names if classes is None else names[:1]
    if arguments.proba and classes is not None:
        header = [*header, *(f"P({label})" for label in classes)]

    with ExitStack() as stack:
        blocks = read_blocks(arguments.data, features, network.dtype)
        first = next(blocks)  # checks the header before anything is written
        if first.shape[1] != network.n_inputs:
            columns = f"{arguments.data} has {first.shape[1]} columns, and {arguments.model} takes {network.n_inputs}"
            raise UsageError(f"{columns}; it does not know their names, as `cmlp train` did not make it")
        out: TextIO = sys.stdout
        if arguments.output is not None:
            raw = stack.enter_context(atomic_file(arguments.output))
            out = stack.enter_context(_Text(raw, encoding="utf-8", newline=""))
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(header)
        for X in blocks:
            outputs = network.predict(X)
            if classes is None:
                writer.writerows(map(str, row) for row in outputs)  # NumPy's str is the shortest exact text
            else:
                labels = [classes[i] for i in outputs.argmax(axis=1)]
                probabilities = outputs if arguments.proba else outputs[:, :0]
                writer.writerows([label, *map(str, row)] for label, row in zip(labels, probabilities, strict=True))
    return 0


class _Text(io.TextIOWrapper):
    """Text over a binary file that somebody else closes."""

    def __exit__(self, *exception: object) -> None:
        self.flush()
        self.detach()


def _described(network: cmlp.Network, path: str) -> tuple[list[str], list[Any] | None, list[str]]:
    """Return what a model's metadata says: columns to read, classes (or None), names of the columns to write.

    A model that `cmlp train` did not make says nothing: all columns are read, as they come.
    """
    metadata = network.metadata
    features, target = metadata.get("features", []), metadata.get("target", "prediction")
    classes = metadata.get("classes")
    if classes is None and network.n_outputs > 1 and loss_name(network.loss) in ("cross_entropy", "hinge"):
        classes = list(range(network.n_outputs))
    if (
        not isinstance(features, list)
        or not all(isinstance(name, str) for name in features)
        or len(features) not in (0, network.n_inputs)
        or not isinstance(target, str)
        or not (classes is None or (isinstance(classes, list) and len(classes) == network.n_outputs))
    ):
        raise UsageError(f"{path}: the model's metadata (features, target, classes) does not fit its network")
    columns = [target] if network.n_outputs == 1 or classes else [f"{target}_{i}" for i in range(network.n_outputs)]
    return features, classes, columns
