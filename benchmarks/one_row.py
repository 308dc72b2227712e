"""How long does predicting, or learning from, one row take through Python: typically, at worst, and of any kind?"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks import aims
from benchmarks import one_row_kinds as kinds
from benchmarks.harness import Contestant, Limit, Ours, Plot, Report, Table, available, measure, speedup_aims
from benchmarks.limits import Limits, limit_of
from benchmarks.one_row_rivals import MAKERS, cmlp
from benchmarks.problem import Problem, make_problem

SIZES = ((10, 32, 32, 1), (784, 128, 10))
ACTIONS = ("predict", "learn")
LIMITS: dict[str, Callable[[Limits, Problem], Limit]] = {"predict": Limits.predicting, "learn": Limits.learning_one}
ROWS = 1000
PERCENTILES = (50, 99, 99.9)


def ours(quick: bool) -> Ours:
    """Make cmlp's contestants."""

    def make(sizes: tuple[int, ...], action: str) -> Contestant:
        problem = make_problem(sizes, ROWS)
        call = cmlp(problem)[ACTIONS.index(action)]
        return Contestant(action, loop(call, arguments_of(problem, action) * 100), 100 * ROWS)

    found: Ours = {f"{'-'.join(map(str, sizes))}, {a}": partial(make, sizes, a) for sizes in SIZES for a in ACTIONS}
    return found | kinds.ours(quick)


def run(quick: bool) -> Report:
    """Time everyone's calls, in loops (the ratios) and one by one (the percentiles)."""
    report = Report("one_row", "how long does predicting, or learning from, one row take through Python?")
    bars: dict[str, dict[str, float]] = {}
    for sizes in SIZES[: 1 if quick else None]:
        problem = make_problem(sizes, ROWS)
        rivals, skipped = available(MAKERS, problem)
        report.checks.append(f"{problem.name}: {check(problem, rivals)}")
        for index, action in enumerate(ACTIONS):
            calls = {name: pair[index] for name, pair in rivals.items() if pair[index] is not None}
            workload, microseconds = _race(problem, action, calls, skipped, report, quick)
            bars[workload] = microseconds
    kinds.compare(report, quick)
    report.plots.append(Plot("time", "bars", "One row through Python", "", "µs per call; shorter is better", bars))
    report.notes += [
        "Percentiles are of single calls, less the median cost of reading the clock twice; each call has another row.",
        "NumPy is the bare formulas. PyTorch, TorchScript and JAX take and give NumPy rows, as everyone does.",
        "FANN is called through ctypes, a good part of its time; its hidden units are linear pieces.",
    ]
    return report


def _race(
    problem: Problem, action: str, calls: dict[str, Any], skipped: dict[str, str], report: Report, quick: bool
) -> tuple[str, dict[str, float]]:
    """Add the table of one action; return its name and everyone's µs."""
    arguments = arguments_of(problem, action)
    contestants = [Contestant(name, loop(call, arguments), ROWS) for name, call in calls.items()]
    budget = {"rounds": 5, "seconds": 0.3, "aim": 0.01} if quick else {"rounds": 200, "seconds": 20.0, "aim": 0.05}
    timings = measure(contestants, **budget)
    workload = f"{problem.name}, {action} one row"
    report.add_timings(workload, timings)
    gc.collect()
    gc.disable()
    singles = {
        name: percentiles(call, arguments[:200] if quick else arguments, 0.0 if quick else 3.0)
        for name, call in calls.items()
    }
    gc.enable()
    rows = [
        [name, t.best * 1e6, *singles[name], t.best / timings["cmlp"].best]
        for name, t in sorted(timings.items(), key=lambda item: item[1].best)
    ]
    rows += [[name, f"skipped: {why}", *[None] * 4] for name, why in skipped.items()]
    limit = limit_of(lambda limits: LIMITS[action](limits, problem))
    if limit is not None:
        ratio = limit.seconds / timings["cmlp"].best
        rows.insert(0, [f"limit: {limit.resource}", limit.seconds * 1e6, None, None, None, ratio])
    columns = ["", "µs per call, best", *(f"p{p:g}" for p in PERCENTILES), "best / cmlp's"]
    report.tables.append(Table(workload, columns, rows))
    report.aims += speedup_aims(workload, timings, aims.ONE_ROW[problem.name][action], skipped, limit)
    return workload, {name: timing.best * 1e6 for name, timing in timings.items()}


def arguments_of(problem: Problem, action: str) -> list[Any]:
    """Return what each call is given."""
    return list(zip(problem.X, problem.Y, strict=True)) if action == "learn" else [(x,) for x in problem.X]


def loop(call: Any, arguments: list[Any]) -> Any:
    """Return a function that makes n calls."""

    def run(n: int) -> None:
        for one in arguments[:n]:
            call(*one)

    return run


def percentiles(call: Any, arguments: list[Any], seconds: float) -> list[float]:
    """Return the percentiles of single calls in µs, less the median time of no call."""
    clock = time.perf_counter_ns
    none = []
    for _ in range(1000):
        start = clock()
        none.append(clock() - start)
    times: list[int] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        for one in arguments:
            start = clock()
            call(*one)
            times.append(clock() - start)
    return [float(value) / 1e3 for value in np.percentile(times, PERCENTILES) - np.median(none)]


def check(problem: Problem, rivals: dict[str, Any]) -> str:
    """Compare everyone's ŷ, but FANN's, which has other hidden units."""
    rows = [np.ascontiguousarray(x) for x in problem.X[:20]]
    found = {name: [np.ravel(pair[0](x)) for x in rows] for name, pair in rivals.items() if name != "FANN"}
    apart = {name: float(np.abs(np.subtract(values, found["cmlp"])).max()) for name, values in found.items()}
    if any(not value < 1e-4 for value in apart.values()):
        raise AssertionError(f"{problem.name}: not everyone predicts what cmlp does: {apart}")
    return f"the predictions of {', '.join(apart)} agree within {max(apart.values()):.0e}"
