"""How long does predicting many rows take, in one call?"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks import aims
from benchmarks.harness import (
    Contestant,
    Limit,
    Ours,
    Plot,
    Report,
    Table,
    available,
    measure,
    speedup,
    speedup_aims,
)
from benchmarks.limits import limit_of
from benchmarks.one_row_rivals import onnx_session
from benchmarks.per_sample_rivals import Cmlp, PyTorch, ScikitLearn
from benchmarks.problem import Array, Problem, make_problem

SIZES = ((10, 32, 32, 1), (64, 64, 64, 10), (784, 128, 10))
ROWS = (10, 100, 1_000, 10_000, 100_000)
LARGEST = 200_000  # rows a run
TOLERANCE = 1e-4
RIVAL = "ONNX Runtime"


def cmlp(problem: Problem) -> Any:
    return Cmlp(problem).network.predict


def numpy(problem: Problem) -> Any:
    """The formulas, in place where that saves an array."""
    layers = list(zip(problem.weights, problem.biases, strict=True))

    def predict(X: Any) -> Any:
        for k, (W, b) in enumerate(layers):
            X = X @ W
            X += b
            if k < len(layers) - 1:
                np.maximum(X, 0, out=X)
        return X

    return predict


def scikit_learn(problem: Problem) -> Any:
    return ScikitLearn(problem)._model.predict


def pytorch(problem: Problem) -> Any:
    import torch

    model, from_numpy = PyTorch(problem)._model.eval(), torch.from_numpy

    def predict(X: Any) -> Any:
        with torch.inference_mode():
            return model(from_numpy(X)).numpy()

    return predict


def onnxruntime(problem: Problem) -> Any:
    session, output = onnx_session(problem, "rows")
    return lambda X: session.run([output], {"x": X})[0]


MAKERS: dict[str, Any] = {
    "cmlp": cmlp,
    "NumPy": numpy,
    "scikit-learn": scikit_learn,
    "PyTorch": pytorch,
    "ONNX Runtime": onnxruntime,
}


def ours(quick: bool) -> Ours:
    """Make cmlp's contestants."""

    def make(sizes: tuple[int, ...], rows: int) -> Contestant:
        problem = make_problem(sizes, rows)
        return contestant("cmlp", cmlp(problem), problem.X)

    cases = [(sizes, rows) for sizes in SIZES[: 1 if quick else None] for rows in ROWS[:3:2]]
    return {f"{'-'.join(map(str, sizes))}, {rows} rows": partial(make, sizes, rows) for sizes, rows in cases}


def run(quick: bool) -> Report:
    """Race everyone on every network, with more and more rows."""
    report = Report("predict", "how long does predicting many rows take, in one call?")
    counts = ROWS[: 3 if quick else None]
    for sizes in SIZES[: 2 if quick else None]:
        problem = make_problem(sizes, counts[-1])
        rivals, skipped = available(MAKERS, problem)
        report.checks.append(f"{problem.name}: {check(problem, rivals)}")
        report.notes += [f"{problem.name}: {name} skipped: {why}" for name, why in skipped.items()]
        lines: dict[str, list[list[float]]] = {name: [] for name in rivals}
        ends = [
            _race(replace(problem, X=problem.X[:n], Y=problem.Y[:n]), rivals, skipped, lines, report, quick)
            for n in counts
        ]
        rows = [[n, *(points[k][1] for points in lines.values()), *ends[k]] for k, n in enumerate(counts)]
        columns = ["rows", *lines, f"{RIVAL} / cmlp", "limit", "set by"]
        report.tables.append(Table(f"{problem.name}: ns per row", columns, rows))
        title = f"Prediction with {problem.name}"
        report.plots.append(Plot(problem.name, "lines", title, "rows of a call", "ns per row", lines))
    report.notes += [
        "Each call has the same rows: where they are few, they lie in the caches.",
        "ONNX Runtime: Gemm and Relu, any number of rows. PyTorch: a Sequential in inference_mode.",
    ]
    return report


def _race(
    problem: Problem,
    rivals: dict[str, Any],
    skipped: dict[str, str],
    lines: dict[str, list[list[float]]],
    report: Report,
    quick: bool,
) -> list[Any]:
    """Time everyone with all rows of the problem, in ns; return the end of the row of the table."""
    n = len(problem.X)
    contestants = [contestant(name, predict, problem.X) for name, predict in rivals.items()]
    budget = {"rounds": 3, "seconds": 0.3, "aim": 0.01} if quick else {"rounds": 40, "seconds": 5.0, "aim": 0.05}
    timings = measure(contestants, **budget)
    workload = f"{problem.name}, predict {n} rows"
    report.add_timings(workload, timings)
    call = limit_of(lambda limits: limits.predicting(problem, n))
    limit = Limit(call.seconds / n, call.resource) if call else None
    many = problem.sizes == SIZES[0] and n >= aims.MANY
    at_least = {RIVAL: aims.PREDICT_MANY if many else aims.PREDICT}
    report.aims += speedup_aims(workload, timings, at_least, skipped, limit)
    for name, timing in timings.items():
        lines[name].append([n, timing.best * 1e9])
    return [speedup(timings, RIVAL), *((limit.seconds * 1e9, limit.resource) if limit else (None, None))]


def contestant(name: str, predict: Any, X: Array) -> Contestant:
    """Return calls with all rows, timed per row."""
    n = len(X)

    def run(rows: int) -> None:
        for _ in range(rows // n):
            predict(X)

    return Contestant(name, run, max(n, LARGEST), unit=n)


def check(problem: Problem, rivals: dict[str, Any]) -> str:
    """Hold everyone's predictions against cmlp's."""
    X = problem.X[:1000]
    found = {name: np.reshape(predict(X), (len(X), -1)) for name, predict in rivals.items()}
    apart = {name: float(np.abs(values - found["cmlp"]).max()) for name, values in found.items() if name != "cmlp"}
    if any(not value <= TOLERANCE for value in apart.values()):
        raise AssertionError(f"{problem.name}: not everyone predicts what cmlp does: {apart}")
    listed = ", ".join(f"{name} {value:.0e}" for name, value in apart.items())
    return f"largest distance from cmlp's predictions: {listed or 'no others'}"
