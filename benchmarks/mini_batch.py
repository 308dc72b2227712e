"""How long does a mini-batch step take, with momentum and with Adam?"""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

from benchmarks.harness import Aim, Contestant, Ours, Plot, Report, available, comparison, measure, speedup_aim
from benchmarks.mini_batch_rivals import MAKERS, CmlpBatches
from benchmarks.problem import Problem, compare, make_problem

BATCHES = (8, 32, 128, 512)
# With Adam: times as fast as PyTorch, for each of BATCHES.
WORKLOADS = {
    (10, 32, 32, 1): (60, 40, 14, 5),
    (784, 128, 10): (4, 2.5, 1.5, 1.15),
    (784, 512, 512, 10): (1.5, 1.2, 1.1, 1.05),
}
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

    cases = itertools.product(list(WORKLOADS)[: 1 if quick else None], OPTIMIZERS, BATCHES[:: 2 if quick else 1])
    return {f"{'-'.join(map(str, case[0]))}, {case[1]}, batch {case[2]}": partial(make, *case) for case in cases}


def run(quick: bool) -> Report:
    """Race everyone for every network, optimiser and batch size."""
    report = Report("mini_batch", "how long does a mini-batch step take, with momentum and with Adam?")
    for sizes, at_least in list(WORKLOADS.items())[: 2 if quick else None]:
        problem = make_problem(sizes, M_QUICK if quick else M, learning_rate=0.001)
        for optimizer in OPTIMIZERS[1:] if quick else OPTIMIZERS:
            problem.optimizer = optimizer
            lines: dict[str, list[list[float]]] = {}
            for batch, bound in list(zip(BATCHES, at_least, strict=True))[:: 2 if quick else 1]:
                problem.batch = batch
                race(problem, bound, report, lines, quick)
            if lines:
                title, name = f"A step: {problem.name}, {optimizer}", f"{problem.name}-{optimizer}"
                report.plots.append(Plot(name, "lines", title, "batch size", "µs per step", lines))
    report.notes += [
        "Adam is that of PyTorch: β = (0.9, 0.999), ε = 1e-8. Momentum is 0.9. PyTorch runs its fused optimisers.",
        "The aims are for Adam. With --quick: Adam, two networks, two batch sizes.",
    ]
    return report


def race(problem: Problem, at_least: float, report: Report, lines: dict[str, Any], quick: bool) -> None:
    """Check and time everyone for one batch size."""
    workload = f"{problem.name}, {problem.optimizer}, batch {problem.batch}"
    rivals, skipped = available(MAKERS, problem)
    aim = f"{workload}: times as fast as"
    if "cmlp" not in rivals:  # nothing to compare with
        report.aims.append(Aim(f"{aim} PyTorch", None, at_least=at_least, why=skipped["cmlp"]))
        return
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
    report.tables.append(comparison(workload, timings, skipped, "µs per step"))
    for name, timing in timings.items():
        lines.setdefault(name, []).append([problem.batch, timing.best * 1e6])
    if problem.optimizer == "adam":
        report.aims.append(speedup_aim(aim, timings, "PyTorch", at_least, skipped))
