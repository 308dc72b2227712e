"""`cmlp train`: from a table to a saved model that takes and gives raw values.

The network standardises the features x itself. The target y of a regression is standardised for training,
y' = (y - m) / s with mean m and standard deviation s of the training rows; afterwards the last layer takes m and s in:

    s ŷ' + m = (s W_N)ᵀ a + (s b_N + m)
"""

from __future__ import annotations

import argparse
import math
import os
import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import cmlp
from cmlp._base.archive import check_writable
from cmlp.cli.errors import FailedRun, UsageError, no_such_file
from cmlp.data.csv import TableError, label_values, quote, quote_some, read_header, read_table
from cmlp.data.samples import split_validation

_DATA_SETS = ("digits",)
_HELD_OUT = 0.2  # share of the rows
_SPLIT_SEED = 0  # always the same rows, so that runs with other settings can be compared


@dataclass
class Problem:
    """What is to be learnt.

    Attributes
    ----------
    name, target : str
        Of the data and of the column to predict.
    features : list of str
        Names of the columns of X.
    X : ndarray, shape (M, n)
    y : ndarray, shape (M, 1) or, for classes, int64 (M,)
    classes : list of int or str, or None
        What the class indices in y stand for; None is a regression.
    note : str
        How the task was chosen, for the user.
    unit : float, optional
        What all features are divided by for training, a power of 2; None: each is standardised.
    """

    name: str
    target: str
    features: list[str]
    X: NDArray[Any]
    y: NDArray[Any]
    classes: list[Any] | None
    note: str
    unit: float | None = None


@dataclass
class Rows:
    """Rows to learn from and rows held out, as the network is trained: x in its unit and y' in place of y."""

    X: NDArray[Any]
    y: NDArray[Any]
    X_held_out: NDArray[Any]
    y_held_out: NDArray[Any]
    y_mean: float = 0.0
    y_scale: float = 1.0


def run(arguments: argparse.Namespace) -> int:
    """Carry out `cmlp train`; return the exit code."""
    output = arguments.output or os.path.splitext(os.path.basename(arguments.data))[0] + ".cmlp"
    check_writable(output)  # before any work that could be lost
    problem = _digits(arguments) if arguments.data == "digits" else _table(arguments)
    _say(f"{os.path.basename(problem.name)}: {len(problem.X):,} rows, {len(problem.features):,} features")
    _say(problem.note)
    rows = _hold_out(problem)
    network = _network(problem, arguments)
    _say(f"{len(rows.X):,} rows to learn from, {len(rows.X_held_out):,} held out for validation")
    if problem.unit is None:
        _silence_constants(network, problem, rows.X)
    _say(f"network {'-'.join(map(str, network.sizes))}, {network.n_parameters:,} parameters")

    try:
        history, interrupted = _fit(network, rows, arguments)
    except cmlp.DivergenceError as error:
        epoch = len(error.history.loss if error.history else []) + 1
        raise _failure(f" in epoch {epoch} of {arguments.epochs}", problem, rows, arguments) from error
    worthless = _worthless(network, rows)
    if worthless:
        raise _failure(f": {worthless}", problem, rows, arguments)
    scores = network.evaluate(rows.X_held_out, rows.y_held_out)
    _take_in_scales(network, problem, rows)
    network.metadata = {"features": problem.features, "target": problem.target, "classes": problem.classes}
    try:
        network.save(output)
    except ValueError as error:  # numbers beyond the largest float
        raise FailedRun(str(error)) from error
    _report(history, scores, rows)
    if interrupted:
        _say(f"interrupted after {len(history.loss)} of {arguments.epochs} epochs: what was learnt is kept")
    print(f"saved {output}", flush=True)
    return 130 if interrupted else 0


def readable(number: float, digits: int = 4) -> str:
    """Return a number as people write it, rounded to so many digits.

    Examples
    --------
    >>> readable(1234567.8), readable(0.5), readable(1.0000000000000002e-05), readable(1e25)
    ('1,235,000', '0.5', '0.00001', '1e+25')
    """
    rounded = float(f"{number:.{digits - 1}e}")
    if rounded and not 1e-6 <= abs(rounded) < 1e12:
        return f"{rounded:.{digits}g}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded)))) if rounded else 1
    return f"{rounded:,.{decimals}f}".rstrip("0").rstrip(".") if decimals else f"{rounded:,.0f}"


def _say(text: str) -> None:
    """Print to standard output, in lines of at most 80 columns, before what standard error shows next."""
    print(textwrap.fill(text, 80, subsequent_indent="    ", break_on_hyphens=False), flush=True)


def _digits(arguments: argparse.Namespace) -> Problem:
    """Return the digits that come with the package; their pixels share one scale, 0 to 16."""
    if arguments.target is not None or arguments.ignore or arguments.task == "regression":
        raise UsageError("--target, --ignore and --task are for CSV files; for a file of this name say ./digits")
    X, y = cmlp.datasets.load_digits()
    features = [f"pixel_{row}_{column}" for row in range(8) for column in range(8)]
    # Standardised, pixels that are hardly ever inked would count as much as the others: 0.3 to 1 % less accurate.
    return Problem("digits", "digit", features, X, y, list(range(10)), 'target "digit", 10 classes', unit=16.0)


def _table(arguments: argparse.Namespace) -> Problem:
    """Read the user's table and decide what its target is."""
    path, target = arguments.data, arguments.target
    if not os.path.exists(path):
        raise no_such_file(path, _DATA_SETS)
    if target is None:
        raise UsageError(f"name the column to predict with --target; {path} has {quote_some(read_header(path))}")
    table = read_table(path, target, arguments.ignore)
    n_rows = len(table.X)
    if n_rows == 1:
        raise TableError(f"{path}: row {table.rows[0]} is the only one; training needs at least 2, to hold some out")
    task, values = label_values(table, arguments.task)
    different = sorted(set(values))
    if len(different) == 1:
        same = f"all rows have {quote(table.labels[0])}, so there is nothing to learn"
        raise TableError(f"{path}, column {quote(target)}: {same}")
    how = "" if arguments.task != "auto" else "taken as "
    if task == "regression":
        y = np.array(values)[table.codes].reshape(-1, 1)
        note = f"target {quote(target)} {how}a number (regression)"
        return Problem(path, target, table.features, table.X, y, None, note)
    # Several texts may be one class: 1 and 1.0.
    index = {value: i for i, value in enumerate(different)}
    y = np.array([index[value] for value in values])[table.codes]
    note = f"target {quote(target)} {how}{len(different)} classes: {quote_some([str(c) for c in different], 5)}"
    return Problem(path, target, table.features, table.X, y, different, note)


def _hold_out(problem: Problem) -> Rows:
    """Split the rows, and bring them to the scale of the training."""
    n_rows = len(problem.X)
    kept, held_out = split_validation(n_rows, max(_HELD_OUT, 1 / n_rows), np.random.default_rng(_SPLIT_SEED))
    rows = Rows(problem.X[kept], problem.y[kept], problem.X[held_out], problem.y[held_out])
    problem.X = rows.X[:0]  # the whole table's memory is needed no more
    if problem.unit is not None:
        rows.X /= problem.unit
        rows.X_held_out /= problem.unit
    if problem.classes is None:
        with np.errstate(over="ignore", invalid="ignore"):
            rows.y_mean, y_scale = float(rows.y.mean()), float(rows.y.std())
        if not np.isfinite(y_scale):
            raise _too_large(problem, problem.target)
        rows.y_scale = y_scale or 1.0
        rows.y, rows.y_held_out = ((y - rows.y_mean) / rows.y_scale for y in (rows.y, rows.y_held_out))
    return rows


def _too_large(problem: Problem, column: str) -> TableError:
    return TableError(f"{problem.name}, column {quote(column)}: its numbers are too large to be standardised")


def _silence_constants(network: cmlp.MLP, problem: Problem, X: NDArray[Any]) -> None:
    """Let columns that are constant in the training rows have no influence, whatever they are in other rows."""
    with np.errstate(over="ignore"):
        squares = ((X.max(axis=0) - X.min(axis=0)) * len(X)) ** 2  # no less than the sum that the deviation is made of
    for name, square in zip(problem.features, squares, strict=True):
        if not np.isfinite(square):
            raise _too_large(problem, name)
    constant = squares == 0
    if constant.any():
        network.weights[0][constant] = 0  # for good: standardised, such a column is 0 in every training row
        names = [name for name, is_constant in zip(problem.features, constant, strict=True) if is_constant]
        _say(f"constant in the training rows, so of no influence: {quote_some(names)}")


def _first_rate(arguments: argparse.Namespace, n_features: int) -> float:
    """Return the learning rate of the first epoch."""
    return float(arguments.learning_rate or _default_rate(n_features))


def _default_rate(n_features: int) -> float:
    # ‖x‖² ≈ n for standardised x, and a step of per-sample SGD on the first layer changes z by γ δ ‖x‖²: with many
    # features the rate must be smaller.
    return 0.01 * min(1.0, 64 / n_features)


def _network(problem: Problem, arguments: argparse.Namespace) -> cmlp.MLP:
    """Return the network to train. The learning rate falls linearly to a tenth over the epochs."""
    first = _first_rate(arguments, len(problem.features))
    sizes = [len(problem.features), *arguments.hidden, 1 if problem.classes is None else len(problem.classes)]
    try:
        return cmlp.MLP(
            sizes,
            loss="squared_error" if problem.classes is None else "cross_entropy",
            optimizer=cmlp.SGD(np.linspace(first, first / 10, arguments.epochs).tolist()),
            dtype=problem.X.dtype,
            seed=arguments.seed,
            standardize=problem.unit is None,
        )
    except (ValueError, MemoryError) as error:
        raise UsageError(f"a network with {' x '.join(map(str, sizes))} units does not fit into memory") from error


def _fit(network: cmlp.MLP, rows: Rows, arguments: argparse.Namespace) -> tuple[cmlp.History, bool]:
    """Train; tell also whether Ctrl-C ended it."""
    try:
        history = network.fit(
            rows.X,
            rows.y,
            epochs=arguments.epochs,
            batch_size=arguments.batch_size,
            # A limit on the error of a sample, in standard deviations of y, keeps outliers from taking over.
            clip_delta=None if rows.y.dtype.kind == "i" else 1.0,
            validation=(rows.X_held_out, rows.y_held_out),
            progress=not arguments.quiet,
        )
    except cmlp.TrainingInterrupted as interrupted:
        return interrupted.history, True
    return history, False


def _worthless(network: cmlp.MLP, rows: Rows) -> str | None:
    """Say what is wrong if the numbers stayed finite, but training left nothing of the network."""
    if rows.y.dtype.kind == "i":
        shares = np.unique(rows.y, return_counts=True)[1] / len(rows.y)
        constant = float(-(shares * np.log(shares)).sum())
    else:
        constant = float(rows.y.var()) / 2
    loss = network.evaluate(rows.X, rows.y).loss
    if constant == 0 or loss < constant or not network.weights[0].any():  # the last: if all columns are constant
        return None
    # A short training may not have come so far yet, but steps that are too long leave huge weights, or dead units.
    if loss <= 10 * constant:
        answers = network.predict(rows.X)
        if (answers == np.median(answers, axis=0)).all(axis=1).mean() <= 0.5:
            return None
    return f"the loss is {readable(loss)} in the end, that of one constant answer {readable(constant)}"


def _failure(what: str, problem: Problem, rows: Rows, arguments: argparse.Namespace) -> FailedRun:
    """Return the error of a training that diverged, with what to try."""
    n_features = len(problem.features)
    rate = min(_default_rate(n_features), _first_rate(arguments, n_features) / 10)
    advice = f"try --learning-rate {readable(rate, 2)}"
    if problem.unit is None:
        with np.errstate(all="ignore"):
            deviations = np.abs(rows.X - rows.X.mean(axis=0)).max(axis=0) / rows.X.std(axis=0)
        far = np.nan_to_num(deviations, posinf=0.0)  # of constant columns
        j = int(np.argmax(far))
        if far[j] > 20:
            advice += (
                f", and look at column {quote(problem.features[j])}: a number in it is {far[j]:,.0f} deviations from "
                "the mean (correct it, or --ignore the column)"
            )
    return FailedRun(f"training diverged{what}; nothing was saved: {advice}")


def _take_in_scales(network: cmlp.MLP, problem: Problem, rows: Rows) -> None:
    """Let the network take raw x where it does not standardise, and give raw y."""
    W, b = network.weights[-1], network.biases[-1]
    assert b is not None
    W *= rows.y_scale
    b *= rows.y_scale
    b += rows.y_mean
    if problem.unit is not None:
        W = network.weights[0]
        W /= problem.unit


def _report(history: cmlp.History, scores: cmlp.Scores, rows: Rows) -> None:
    """Print time, speed and how the network does on the held-out rows, in raw values."""
    seconds = sum(history.seconds)
    if seconds:
        speed = len(rows.X) * len(history.loss) / seconds
        _say(f"{readable(seconds, 3)} s of training, {readable(speed)} samples per second")
    if scores.accuracy is not None:
        _say(f"held-out accuracy {scores.accuracy:.4f}")
        return
    spread = float(rows.y_held_out.var())  # ℓ = ½ (ŷ' - y')²: the mean of (ŷ - y)² is s² 2ℓ
    r2 = f", R² {readable(1 - 2 * scores.loss / spread)}" if spread > 0 else ""
    _say(f"held-out RMSE {readable(rows.y_scale * math.sqrt(2 * scores.loss))}{r2}")
