"""`cmlp train`: from a table to a saved model that takes raw values.

Features x (and the target y of a regression) are standardised for training, x' = (x - m) / s with mean m and standard
deviation s of the training rows. Afterwards the scaling is folded into the first and the last layer, so that the model
takes and gives raw values:

    W_1ᵀ (x - m) / s + b_1 = (W_1 / s)ᵀ x + (b_1 - (W_1 / s)ᵀ m)        s_y ŷ' + m_y = (W_N s_y)ᵀ a + (b_N s_y + m_y)
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import cmlp
from cmlp.cli.main import UsageError
from cmlp.data.csv import TableError, label_values, quote, quote_some, read_header, read_table
from cmlp.data.samples import split_validation
from cmlp.saving import check_writable

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
    mean, scale : ndarray, shape (n,), or None
        A given m and s; None is computed.
    """

    name: str
    target: str
    features: list[str]
    X: NDArray[Any]
    y: NDArray[Any]
    classes: list[Any] | None
    note: str
    mean: NDArray[Any] | None = None
    scale: NDArray[Any] | None = None


@dataclass
class Progress:
    """The callback of fit: prints a line per epoch."""

    epochs: int
    quiet: bool
    y_scale: float

    def __call__(self, network: cmlp.Network, history: cmlp.History) -> None:
        """Print the last epoch's line."""
        if self.quiet:
            return
        epoch = len(history.loss)
        held_out = history.validation_loss[-1]
        line = f"epoch {epoch:>{len(str(self.epochs))}}/{self.epochs}  loss {history.loss[-1]:.4f}"
        if network.loss == "squared_error":  # ℓ = ½ (ŷ' - y')², y' = y / s_y + ...: the error is s_y √(2ℓ)
            line += f"  held-out loss {held_out:.4f}  RMSE {self.y_scale * (2 * held_out) ** 0.5:.4g}"
        else:
            line += f"  held-out loss {held_out:.4f}  accuracy {history.validation_accuracy[-1]:.4f}"
        print(line, flush=True)


def train(arguments: argparse.Namespace) -> int:
    """Carry out `cmlp train`; return the exit code."""
    output = arguments.output or os.path.splitext(os.path.basename(arguments.data))[0] + ".cmlp"
    check_writable(output)  # before any work that could be lost
    problem = _digits(arguments) if arguments.data == "digits" else _table(arguments)
    n_rows, n_features = problem.X.shape
    share = max(_HELD_OUT, 1 / n_rows)
    kept, held_out = split_validation(n_rows, share, np.random.default_rng(_SPLIT_SEED))
    print(f"{problem.name}: {n_rows} rows, {n_features} features, {problem.note}")
    X, y = problem.X[kept], problem.y[kept]
    X_raw, y_raw = problem.X[held_out], problem.y[held_out]
    problem.X = np.empty((0, n_features), X.dtype)  # the whole table's memory is needed no more

    scaling = _scaling(problem, X, y)
    if scaling.constant.any():
        names = [name for name, is_constant in zip(problem.features, scaling.constant, strict=True) if is_constant]
        print(f"constant in the training rows, so of no influence: {quote_some(names)}")
    X -= scaling.mean
    X /= scaling.scale
    y, y_held_out = ((v - scaling.y_mean) / scaling.y_scale if problem.classes is None else v for v in (y, y_raw))
    network = _network(problem, arguments, n_features)
    print(f"{network!r}, {network.n_parameters} parameters; {len(kept)} rows to learn from, {len(held_out)} held out")

    progress = Progress(arguments.epochs, arguments.quiet, scaling.y_scale)
    try:
        history = network.fit(
            X,
            y,
            epochs=arguments.epochs,
            batch_size=arguments.batch_size,
            # A limit on the error of a sample, in standard deviations of y, keeps outliers from taking over.
            clip_delta=1.0 if problem.classes is None else None,
            validation=((X_raw - scaling.mean) / scaling.scale, y_held_out),
            callbacks=[progress],
        )
    except cmlp.DivergenceError as error:
        rate = _first_rate(arguments, n_features)
        raise UsageError(
            f"training diverged in epoch {error.epoch + 1}: try a --learning-rate below {rate:.3g}"
        ) from error
    _fold(network, scaling)
    network.metadata = {"features": problem.features, "target": problem.target, "classes": problem.classes}
    try:
        network.save(output)
    except ValueError as error:  # numbers beyond the largest float
        raise UsageError(str(error)) from error

    _report(network, problem, history, len(kept), X_raw, y_raw)
    interrupted = history.stopped == "interrupted"
    if interrupted:
        print(f"interrupted after {len(history.loss)} of {arguments.epochs} epochs: what was learnt is kept")
    print(f"saved {output}", flush=True)
    return 130 if interrupted else 0


def _digits(arguments: argparse.Namespace) -> Problem:
    """Return the digits that come with the package; their pixels share one scale, 0 to 16."""
    if arguments.target is not None or arguments.ignore or arguments.task == "regression":
        raise UsageError("--target, --ignore and --task are for CSV files; for a file of this name say ./digits")
    X, y = cmlp.datasets.load_digits()
    features = [f"pixel_{row}_{column}" for row in range(8) for column in range(8)]
    mean, scale = np.zeros(64, X.dtype), np.full(64, 16, X.dtype)
    return Problem("digits", "digit", features, X, y, list(range(10)), "10 classes", mean, scale)


def _table(arguments: argparse.Namespace) -> Problem:
    """Read the user's table and decide what its target is."""
    path, target = arguments.data, arguments.target
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


@dataclass
class Scaling:
    """Means and standard deviations; for a classification those of y are 0 and 1."""

    mean: NDArray[Any]
    scale: NDArray[Any]
    constant: NDArray[np.bool_]
    y_mean: float = 0.0
    y_scale: float = 1.0


def _scaling(problem: Problem, X: NDArray[Any], y: NDArray[Any]) -> Scaling:
    """Return the scaling of the training rows. A constant column has scale 1: it becomes 0 everywhere."""
    if problem.mean is not None and problem.scale is not None:
        return Scaling(problem.mean, problem.scale, np.zeros(len(problem.features), np.bool_))
    with np.errstate(over="ignore", invalid="ignore"):
        mean, scale = X.mean(axis=0), X.std(axis=0)
        y_mean, y_scale = (float(y.mean()), float(y.std())) if problem.classes is None else (0.0, 1.0)
    for name, s in (*zip(problem.features, scale, strict=True), (problem.target, y_scale)):
        if not np.isfinite(s):
            raise TableError(f"{problem.name}, column {quote(name)}: its numbers are too large to be standardised")
    # Rounding can leave equal numbers a tiny deviation, and tiny numbers none: both tests are needed.
    constant = (X.max(axis=0) == X.min(axis=0)) | (scale == 0)
    mean[constant], scale[constant] = X[0, constant], 1.0
    return Scaling(mean, scale, constant, y_mean, y_scale if y_scale > 0 else 1.0)


def _first_rate(arguments: argparse.Namespace, n_features: int) -> float:
    """Return the learning rate of the first epoch."""
    # ‖x‖² ≈ n for standardised x, and a step of per-sample SGD on the first layer changes z by γ δ ‖x‖²: with many
    # features the rate must be smaller.
    return float(arguments.learning_rate or 0.01 * min(1.0, 64 / n_features))


def _network(problem: Problem, arguments: argparse.Namespace, n_features: int) -> cmlp.MLP:
    """Return the network to train. The learning rate falls linearly to a tenth over the epochs."""
    first = _first_rate(arguments, n_features)
    rates = np.linspace(first, first / 10, arguments.epochs).tolist()
    sizes = [n_features, *arguments.hidden, 1 if problem.classes is None else len(problem.classes)]
    try:
        return cmlp.MLP(
            sizes,
            loss="squared_error" if problem.classes is None else "cross_entropy",
            optimizer=cmlp.SGD(rates),
            dtype=problem.X.dtype,
            seed=arguments.seed,
        )
    except (ValueError, MemoryError) as error:
        raise UsageError(f"a network with {' x '.join(map(str, sizes))} units does not fit into memory") from error


def _fold(network: cmlp.Network, scaling: Scaling) -> None:
    """Fold the scaling into the first and the last layer, so that the network takes and gives raw values."""
    W, b = network.weights[0], network.biases[0]
    assert b is not None
    W /= scaling.scale[:, np.newaxis]
    W[scaling.constant] = 0
    b -= scaling.mean @ W
    W, b = network.weights[-1], network.biases[-1]
    assert b is not None
    W *= scaling.y_scale
    b *= scaling.y_scale
    b += scaling.y_mean


def _report(
    network: cmlp.Network, problem: Problem, history: cmlp.History, n_kept: int, X: NDArray[Any], y: NDArray[Any]
) -> None:
    """Print time, speed and how the final network does on the held-out rows, all in raw values."""
    seconds = sum(history.seconds)
    speed = f", {n_kept * len(history.loss) / seconds:,.0f} samples per second" if seconds else ""
    if problem.classes is None:
        error = np.sqrt(np.mean((network.predict(X) - y) ** 2))
        r2 = f", R² {1 - (error / y.std()) ** 2:.4f}" if y.std() > 0 else ""
        result = f"held-out RMSE {error:.4g}{r2}"
    else:
        result = f"held-out accuracy {network.evaluate(X, y).accuracy:.4f}"
    print(f"{seconds:.2f} s of training{speed}; {result}")
