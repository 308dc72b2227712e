"""How does the cost of training grow with M, n, h, L and K, and is time / (K M U) a constant?"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks import aims, machine
from benchmarks.harness import Aim, Contestant, Ours, Plot, Report, Table, measure
from benchmarks.per_sample_rivals import Cmlp
from benchmarks.problem import make_problem


@dataclass(frozen=True)
class Point:
    """A uniform network and its training: L hidden layers of width h."""

    M: int = 1000
    n: int = 512
    h: int = 32
    L: int = 2
    K: int = 2

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.n, *[self.h] * self.L, 1)


SWEEPS: dict[str, tuple[int, ...]] = {
    "M": (250, 500, 1000, 2000, 4000, 8000),
    "n": (256, 512, 1024, 2048, 4096, 8192),
    "h": (8, 16, 32, 64, 128, 256),
    "L": (1, 2, 4, 8, 16),
    "K": (1, 2, 4, 8, 16),
}


def ours(quick: bool) -> Ours:
    """Make cmlp's contestants: the ends of every sweep."""
    ends = [(name, value) for name, values in SWEEPS.items() for value in (values[0], values[-1])]
    return {
        f"{name}={value}": partial(_contestant, name, Point(**{name: value}))
        for name, value in ends[: 2 if quick else None]
    }


def run(quick: bool) -> Report:
    """Vary one quantity at a time and fit C."""
    report = Report("growth", "how does the cost of training grow with M, n, h, L and K?")
    limits = list(machine.caches().items())
    summary: list[list[Any]] = []
    lines: dict[str, list[list[float]]] = {}
    for name, values in SWEEPS.items():
        if quick:
            values = values[1:-1:2]
        points = [Point(**{name: value}) for value in values]
        found = _measure(points, report, name, quick)
        constants = [seconds * 1e9 / _units(point) for point, seconds in zip(points, found, strict=True)]
        levels = [_level(point, limits) for point in points]
        report.tables.append(
            Table(
                f"{name}, else M = {Point.M}, n = {Point.n}, h = {Point.h}, L = {Point.L}, K = {Point.K}",
                [name, "ms", "C, ns per unit", "weights in"],
                [
                    [value, seconds * 1e3, c, level]
                    for value, seconds, c, level in zip(values, found, constants, levels, strict=True)
                ],
            )
        )
        # least squares through the origin in relative terms: the geometric mean
        fitted = math.exp(sum(map(math.log, constants)) / len(constants))
        spread = max(
            max(same) / min(same)
            for level in set(levels)
            if (same := [c for c, where in zip(constants, levels, strict=True) if where == level])
        )
        summary.append([name, fitted, max(constants) / min(constants), spread, _power(values, found)])
        report.aims.append(Aim(f"spread of C over {name}, same cache level", spread, at_most=aims.FLAT))
        lines[name] = [[float(value) / values[0], c] for value, c in zip(values, constants, strict=True)]
    columns = ["", "fitted C, ns", "spread", "spread, same cache level", "time grows with the power"]
    report.tables.append(Table("C = time / (K M U), U = the number of weights", columns, summary))
    report.notes.append("A power below 1 over h and L: n h weights of the first layer stay; C is the measure there.")
    title = "C over each quantity, the others fixed"
    report.plots.append(Plot("constant", "lines", title, "multiple of the smallest value", "C, ns per unit", lines))
    return report


def _measure(points: list[Point], report: Report, name: str, quick: bool) -> list[float]:
    """Return the seconds of a whole fit, for every point."""
    contestants = [_contestant(f"{name}={getattr(point, name)}", point) for point in points]
    timings = measure(contestants, rounds=3 if quick else 100, seconds=0.5 if quick else 8.0)
    report.add_timings(name, timings)
    return [timings[c.name].best * c.largest for c in contestants]


def _contestant(name: str, point: Point) -> Contestant:
    rival = Cmlp(make_problem(point.sizes, point.M, epochs=point.K))
    return Contestant(name, rival.learn, point.M, rival.reset, point.M)


def _units(point: Point) -> int:
    return point.K * point.M * sum(n * m for n, m in itertools.pairwise(point.sizes))


def _level(point: Point, limits: list[tuple[str, int]]) -> str:
    """Name the smallest cache that holds the weights."""
    size = 4 * sum(n * m for n, m in itertools.pairwise(point.sizes))
    return next((name for name, limit in limits if size <= limit), "memory")


def _power(values: tuple[int, ...], seconds: list[float]) -> float:
    """Return the slope of log time over log value, by least squares."""
    x, y = [math.log(v) for v in values], [math.log(s) for s in seconds]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)
