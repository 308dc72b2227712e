"""How long does one step of per-sample SGD take on small networks?"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from benchmarks import aims
from benchmarks.harness import (
    Contestant,
    Limit,
    Ours,
    Plot,
    Report,
    Timing,
    available,
    comparison,
    measure,
    speedup_aims,
)
from benchmarks.limits import limit_of
from benchmarks.native import Fann
from benchmarks.per_sample_rivals import MAKERS, Cmlp
from benchmarks.problem import Problem, compare, make_problem

# Sizes and M.
WORKLOADS: tuple[tuple[tuple[int, ...], int], ...] = (
    ((2, 4, 1), 200_000),
    ((10, 32, 32, 1), 100_000),
    ((13, 50, 3), 100_000),
    ((64, 64, 64, 10), 50_000),
    ((784, 128, 10), 10_000),
    ((784, 1024, 1024, 10), 1_000),
)
QUICK = {"rounds": 2, "seconds": 0.5, "aim": 0.015}
FULL = {"rounds": 15, "seconds": 60.0, "aim": 0.2}
CHECKED, TOLERANCE = 30, 1e-3


def ours(quick: bool) -> Ours:
    """Make cmlp's contestants."""
    workloads = WORKLOADS[:2] if quick else WORKLOADS
    return {
        "-".join(map(str, sizes)): partial(lambda sizes, m: Cmlp(make_problem(sizes, m)).contestant(), sizes, m)
        for sizes, m in workloads
    }


def run(quick: bool) -> Report:
    """Race everyone on every workload."""
    report = Report("per_sample", "how long does one step of per-sample SGD take on small networks?")
    bars: dict[str, dict[str, float]] = {}
    for sizes, n_samples in WORKLOADS[:: 2 if quick else 1]:
        problem = make_problem(sizes, n_samples // 10 if quick else n_samples)
        timings, skipped, limit = race(problem, report, QUICK if quick else FULL)
        report.aims += speedup_aims(problem.name, timings, aims.PER_SAMPLE[problem.name], skipped, limit)
        bars[problem.name] = {name: timing.best * 1e6 for name, timing in timings.items()}
    report.notes += [f"{name}: {maker.note}" for name, maker in MAKERS.items() if maker.note]
    report.plots.append(
        Plot("time", "bars", "One step of per-sample SGD", "", "µs per sample; shorter is better", bars)
    )
    return report


def race(
    problem: Problem,
    report: Report,
    budget: dict[str, float],
    streams: Sequence[Contestant] = (),
    whole: Container[str] = (),
) -> tuple[dict[str, Timing], dict[str, str], Limit | None]:
    """Check everyone's numbers, time everyone within the budget of `measure`, and add the table to the report.

    Those named in `whole` learn from all samples in every run, the others from as many as fit into the budget's `aim`.
    Return the times, who was skipped and why, and what limits a step, if that can be measured.
    """
    rivals, skipped = available(MAKERS, problem)
    report.checks += check(problem, rivals)
    m = len(problem.X)
    contestants = list(streams)
    for name, rival in rivals.items():
        size = m if name in whole else 0
        contestants.append(Contestant(name, rival.learn, m, rival.reset, unit=2, size=size))
    timings = measure(contestants, **budget)
    if problem.epochs > 1:
        for name in rivals:
            timings[name].best /= problem.epochs
            timings[name].median /= problem.epochs
    report.add_timings(problem.name, timings)
    limit = limit_of(lambda limits: limits.training(problem))
    table = comparison(f"{problem.name}, float32, {problem.cost:,} weights", timings, skipped, limit=limit)
    report.tables.append(table)
    return timings, skipped, limit


def check(problem: Problem, rivals: dict[str, Any]) -> list[str]:
    """Hold everyone's numbers against cmlp's: who clips δ, as timed; the others without; FANN with linear units."""
    able = {name: rival for name, rival in rivals.items() if problem.clip is None or rival.clips}
    able.pop("FANN", None)
    found = [("as timed", compare(problem, able, CHECKED, TOLERANCE))]
    plain = replace(problem, clip=None, epochs=1)
    unable = [name for name in rivals if name not in able and name != "FANN"]
    if unable:
        others, _ = available({name: MAKERS[name] for name in ("cmlp", *unable)}, plain)
        found.append(("not clipped", compare(plain, others, CHECKED, TOLERANCE)))
    if "FANN" in rivals:
        linear = {"cmlp": Cmlp(plain, hidden="identity"), "FANN": Fann(plain, hidden="linear")}
        found.append(("hidden units linear", compare(plain, linear, CHECKED, TOLERANCE)))
    return [f"{problem.name}, {how}: {text}" for how, text in found]
