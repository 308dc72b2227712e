"""`--against REV`: is this tree slower than another revision? Both are built, and measured in turn by two processes.

In a sitting each version has a fresh process; they take turns, run by run, at the same contestant, and the ratio of
their best runs is one figure. Sittings differ, by where memory and code come to lie, so the median of their ratios is
the answer and their range the noise. A question is slower if any of its contestants is: by more than the limit, and in
all sittings but (of more than seven) the lowest. Who seems slower is measured again, in as many more sittings.
Times are of the CPU, but on two threads.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import ROOT
from benchmarks.harness import aligned

sys.path.append(str(ROOT / "tools"))
from revision import build_wheel, install, unpack

QUESTIONS = (  # but roofline, whose contestants are those of per_sample and mini_batch
    "headline",
    "per_sample",
    "mini_batch",
    "one_row",
    "predict",
    "calls",
    "threads",
    "estimators",
    "growth",
    "memory",
    "importing",
)
ON_ALL_PROCESSORS = ("threads",)
BUDGET: dict[str, Any] = {"sittings": 6, "runs": 10, "aim": 0.03}
BUDGET_QUICK: dict[str, Any] = {"sittings": 3, "runs": 4, "aim": 0.01}
OF_MEMORY: dict[str, Any] = {"sittings": 2, "runs": 1, "aim": 0.0}  # which hardly varies


@dataclass
class Comparison:
    """One contestant: the best runs of every sitting, then and now."""

    name: str
    then: list[float] = field(default_factory=list)
    now: list[float] = field(default_factory=list)
    size: int = 0

    @property
    def ratios(self) -> list[float]:
        """Now / then, of every sitting, the lowest first; above 1: slower."""
        return sorted(now / then for then, now in zip(self.then, self.now, strict=True))

    @property
    def ratio(self) -> float:
        """The median of the ratios."""
        return statistics.median(self.ratios)

    @property
    def range(self) -> tuple[float, float]:
        """The noise: lowest and highest ratio, of more than seven the second ones. Holds the median 49 times of 50."""
        ratios = self.ratios
        cut = 1 if len(ratios) > 7 else 0
        return ratios[cut], ratios[-1 - cut]

    def verdict(self, limit: float) -> str:
        """Tell whether the ratio differs from 1 by more than the limit and the noise."""
        lowest, highest = self.range
        if self.ratio > 1 + limit and lowest > 1:
            return "slower"
        return "faster" if self.ratio < 1 - limit and highest < 1 else "same"


class Version:
    """An installed cmlp, and a process that measures it."""

    def __init__(self, wheel: Path, folder: Path) -> None:
        self.wheel = wheel
        self.site = install(wheel, folder)

    def start(self, cpus: Iterable[int]) -> None:
        """Start a new process on these processors."""
        path = os.pathsep.join([str(self.site), str(ROOT)])
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
        command = [sys.executable, "-m", "benchmarks.worker", ",".join(map(str, cpus))]
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        found = self._answer()
        if Path(found).resolve() != self.site.resolve():
            raise RuntimeError(f"the process measures cmlp of {found}, not of {self.site}")

    def ask(self, request: dict[str, Any]) -> Any:
        """Send a request and return the answer."""
        assert self._process.stdin is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return self._answer()

    def stop(self) -> None:
        """End the process."""
        self._process.communicate()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of {self.site} ended with {self._process.wait()}: see above")
        return json.loads(line)


def compare(revision: str, questions: Iterable[str], *, quick: bool, limit: float) -> bool:
    """Measure and print; tell whether any question is slower."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(
            f"building {revision} and this tree; figures are µs per sample, call or fit, unless said otherwise",
            flush=True,
        )
        then = Version(build_wheel(unpack(revision, folder / "then"), folder / "then-wheel"), folder / "then-site")
        now = Version(build_wheel(unpack("", folder / "now"), folder / "now-wheel"), folder / "now-site")
        verdicts = {}
        for question in questions:
            verdicts[question] = answer(question, then, now, quick, limit)
    rows = [[question, ratio, verdict] for question, (ratio, verdict) in verdicts.items()]
    print(f"\n**Against {revision}, limit {limit:.1%}**\n")
    print(*aligned([["question", "now / then", "verdict"], *rows]), sep="\n")
    return any(verdict == "slower" for _, verdict in verdicts.values())


def answer(question: str, then: Version, now: Version, quick: bool, limit: float) -> tuple[float, str]:
    """Measure the contestants of a question; print a row for each, and return mean ratio and verdict."""
    names = list(importlib.import_module(f"benchmarks.{question}").ours(quick))
    found = [Comparison(name) for name in names]
    sit(question, found, then, now, quick)
    slower = [c for c in found if c.verdict(limit) == "slower"]
    sit(question, slower, then, now, quick)
    if question == "importing":
        sizes = [float(version.wheel.stat().st_size) for version in (then, now)]
        found.append(Comparison("wheel, bytes", sizes[:1], sizes[1:]))
    rows = [
        [c.name, min(c.then), min(c.now), c.ratio, f"{c.range[0]:.3f} to {c.range[1]:.3f}", c.verdict(limit)]
        for c in found
    ]
    print(f"\n**{question}**\n")
    print(*aligned([["", "then, best", "now, best", "now / then", "range", "verdict"], *rows]), sep="\n", flush=True)
    mean = math.exp(statistics.fmean(math.log(c.ratio) for c in found))
    verdicts = [c.verdict(limit) for c in found]
    return mean, next((verdict for verdict in ("slower", "same") if verdict in verdicts), "faster")


def sit(question: str, comparisons: list[Comparison], then: Version, now: Version, quick: bool) -> None:
    """Measure every contestant in some sittings."""
    budget = OF_MEMORY if question == "memory" else BUDGET_QUICK if quick else BUDGET
    every = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    cpus = every if question in ON_ALL_PROCESSORS else every[-1:]
    for sitting in range(budget["sittings"] if comparisons else 0):
        versions = [then, now][:: -1 if sitting % 2 else 1]
        for version in versions:
            version.start(cpus)
        for comparison in comparisons:
            request = {"question": question, "name": comparison.name, "quick": quick, "aim": budget["aim"]}
            for version in versions:
                comparison.size = version.ask({**request, "size": comparison.size})
            runs: dict[Version, list[float]] = {version: [] for version in versions}
            for _ in range(budget["runs"]):
                for version in versions:
                    runs[version].append(version.ask({}))
            comparison.then.append(min(runs[then]))
            comparison.now.append(min(runs[now]))
        for version in versions:
            version.stop()
