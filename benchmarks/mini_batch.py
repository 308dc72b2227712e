"""How long does a mini-batch step take, with momentum and with Adam?"""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

from benchmarks import aims
from benchmarks.harness import Contestant, Ours, Plot, Report, available, comparison, measure, speedup_aims
from benchmarks.limits import limit_of
from benchmarks.mini_batch_rivals import MAKERS, CmlpBatches
from benchmarks.problem import Problem, compare, make_problem

BATCHES = (8, 32, 128, 512)
WORKLOADS = ((10, 32, 32, 1), (784, 128, 10), (784, 512, 512, 10))
OPTIMIZERS = ("momentum", "adam")
M, M_QUICK = 16_384, 4_096
STEPS_CHECKED = 4
# A net input that is 0 but for rounding turns a unit on for some; scikit-learn's Adam adds ε where it weighs more.
TOLERANCE = {"momentum": 5e-3, "adam": 0.05}


def ours(quick: bool) -> Ours:
    """Make cmlp's contestants."""

    def make(sizes: tuple[int, ...], optimizer: str, batch: int) -> Contestant:
        problem = make_problem(sizes, M_QUICK, learning_rate=0.001, optimizer=optimizer, batch=batch)
        return CmlpBatches(problem).contestant()

    cases = itertools.product(WORKLOADS[: 1 if quick else None], OPTIMIZERS, BATCHES[:: 2 if quick else 1])
    return {f"{'-'.join(map(str, case[0]))}, {case[1]}, batch {case[2]}": partial(make, *case) for case in cases}


def run(quick: bool) -> Report:
    """Race everyone for every network, optimiser and batch size."""
    report = Report("mini_batch", "how long does a mini-batch step take, with momentum and with Adam?")
    for sizes in WORKLOADS[: 2 if quick else None]:
        problem = make_problem(sizes, M_QUICK if quick else M, learning_rate=0.001)
        for optimizer in OPTIMIZERS[1:] if quick else OPTIMIZERS:
            problem.optimizer = optimizer
            lines: dict[str, list[list[float]]] = {}
            for batch in BATCHES[:: 2 if quick else 1]:
                problem.batch = batch
                race(problem, report, lines, quick)
            if lines:
                title, name = f"A step: {problem.name}, {optimizer}", f"{problem.name}-{optimizer}"
                report.plots.append(Plot(name, "lines", title, "batch size", "µs per step", lines))
    report.notes += [
        "Adam is that of PyTorch: β = (0.9, 0.999), ε = 1e-8. Momentum is 0.9. PyTorch runs its fused optimisers.",
        "The aims are for Adam. With --quick: Adam, two networks, two batch sizes.",
    ]
    return report


def race(problem: Problem, report: Report, lines: dict[str, Any], quick: bool) -> None:
    """Check and time everyone for one batch size."""
    workload = f"{problem.name}, {problem.optimizer}, batch {problem.batch}"
    rivals, skipped = available(MAKERS, problem)
    same = compare(problem, rivals, STEPS_CHECKED * problem.batch, TOLERANCE[problem.optimizer])
    report.checks.append(f"{workload}: {same}")
    m = len(problem.X) // problem.batch * problem.batch
    contestants = [Contestant(name, r.learn, m, r.reset, problem.batch) for name, r in rivals.items()]
    budget = {"rounds": 2, "seconds": 0.3, "aim": 0.01} if quick else {"rounds": 15, "seconds": 10.0, "aim": 0.1}
    timings = measure(contestants, **budget)
    for timing in timings.values():  # seconds per step
        timing.best *= problem.batch
        timing.median *= problem.batch
        timing.size //= problem.batch
    report.add_timings(workload, timings)
    limit = limit_of(lambda limits: limits.training(problem))
    report.tables.append(comparison(workload, timings, skipped, "µs per step", limit))
    for name, timing in timings.items():
        lines.setdefault(name, []).append([problem.batch, timing.best * 1e6])
    if problem.optimizer == "adam":
        at_least = {"PyTorch": aims.MINI_BATCH[problem.name][problem.batch]}
        report.aims += speedup_aims(workload, timings, at_least, skipped, limit)
