"""Do two threads help in mini-batches and in prediction, and never hurt, also on a busy machine?"""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

import cmlp
from benchmarks.harness import Aim, Contestant, Ours, Plot, Report, Table, available, measure
from benchmarks.mini_batch_rivals import CmlpBatches, PyTorchBatches
from benchmarks.problem import Problem, make_problem

WORKLOADS = ((784, 128, 10), (784, 512, 512, 10))
BATCHES = (8, 32, 128, 512)
M, M_QUICK = 16_384, 1_024
NEVER_SLOWER = 0.95  # two threads' speed over one's; 5 % is the noise of this measurement
SPEEDUP, FROM_BATCH = 1.8, 128  # with two free processors
BUSY_WORKLOADS = ((10, 32, 32, 1), *WORKLOADS)
AUTO_BUSY, TWO_BUSY = 1.1, 1.5  # times as long as one thread at most, with one of two processors busy


def ours(quick: bool) -> Ours:
    """Make cmlp's contestants on two threads."""

    def learning(sizes: tuple[int, ...], batch: int) -> Contestant:
        problem = make_problem(sizes, M_QUICK, optimizer="momentum", learning_rate=0.001, batch=batch)
        return CmlpBatches(problem, n_threads=2).contestant()

    def predicting(sizes: tuple[int, ...]) -> Contestant:
        rival = CmlpBatches(make_problem(sizes, M_QUICK))
        return Contestant("predict", _predictor(rival.network, rival.problem, 2), M_QUICK)

    found: Ours = {}
    for sizes in WORKLOADS[: 1 if quick else None]:
        name = "-".join(map(str, sizes))
        found |= {f"{name}, batch {batch}": partial(learning, sizes, batch) for batch in BATCHES[:: 3 if quick else 1]}
        found[f"{name}, predict"] = partial(predicting, sizes)
    return found


def run(quick: bool) -> Report:
    """Compare one thread, two, and "auto", with PyTorch's one and two beside them."""
    report = Report("threads", "do two threads help in mini-batches and in prediction, and never hurt?")
    why = ""
    if "n_threads" not in inspect.signature(cmlp.Network.fit).parameters:
        why = "fit of this version has no n_threads"
    elif (os.cpu_count() or 1) < 2:
        why = "this machine has one core"
    if why:
        report.notes.append(f"Skipped: {why}.")
        report.aims.append(Aim("two threads / one thread, speed", None, at_least=NEVER_SLOWER, why=why))
        report.aims.append(Aim("from 784-128-10, batch 128, speed", None, at_least=SPEEDUP, why=why))
        report.aims.append(Aim("one processor busy, time", None, at_most=TWO_BUSY, why=why))
        return report
    for sizes in WORKLOADS[1:] if quick else WORKLOADS:
        problem = make_problem(sizes, M_QUICK if quick else M, optimizer="momentum", learning_rate=0.001)
        report.checks.append(f"{problem.name}: {same_bits(problem)}")
        lines: dict[str, list[list[float]]] = {}
        rows = []
        for batch in BATCHES[1:3] if quick else BATCHES:
            problem.batch = batch
            speeds = _race(problem, report, lines, quick)
            rows.append([batch, *speeds.values()])
            columns = ["batch", *speeds]
        report.tables.append(Table(f"{problem.name}, momentum: µs per step", columns, rows))
        title = f"A step of {problem.name}"
        report.plots.append(Plot(problem.name, "lines", title, "batch size", "µs per step", lines))
        _predict(problem, report, quick)
    with _busy_processor():
        _race_busy(report, quick)
    return report


def _race(problem: Problem, report: Report, lines: dict[str, Any], quick: bool) -> dict[str, float]:
    """Time a step of every contestant, in µs, and judge cmlp's."""
    makers: dict[str, Any] = {f"cmlp, {n}": (lambda p, n=n: CmlpBatches(p, n_threads=n)) for n in (1, 2, "auto")} | {
        "PyTorch, 1": PyTorchBatches,
        "PyTorch, 2": PyTorchBatches,
    }
    made, _ = available(makers, problem)
    contestants = []
    for name, rival in made.items():
        m = len(problem.X) // problem.batch * problem.batch
        contestants.append(Contestant(name, _with_threads(name, rival.learn), m, _rested(rival), problem.batch))
    budget = {"rounds": 3, "seconds": 0.1, "aim": 0.01} if quick else {"rounds": 15, "seconds": 15.0, "aim": 0.1}
    timings = measure(contestants, **budget)
    workload = f"{problem.name}, batch {problem.batch}"
    report.timings[workload] = {name: vars(timing) for name, timing in timings.items()}
    steps = {name: timing.best * problem.batch * 1e6 for name, timing in timings.items()}
    for name, step in steps.items():
        lines.setdefault(name, []).append([problem.batch, step])
    ratios = {n: steps["cmlp, 1"] / steps[f"cmlp, {n}"] for n in ("2", "auto")}
    report.aims.append(Aim(f'{workload}: "auto" / one thread, speed', ratios["auto"], at_least=NEVER_SLOWER))
    if problem.batch >= FROM_BATCH:
        report.aims.append(Aim(f"{workload}: two threads / one, speed", ratios["2"], at_least=SPEEDUP))
    return steps


@contextmanager
def _busy_processor() -> Iterator[None]:
    """Let another process take one of this process's processors as far as it can."""
    spinning = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(spinning.pid, {max(os.sched_getaffinity(0))})
        time.sleep(0.2)
        yield
    finally:
        spinning.kill()
        spinning.wait()


def _race_busy(report: Report, quick: bool) -> None:
    """Time one thread, two and "auto" while another process has one of two processors."""
    rows = []
    for sizes in BUSY_WORKLOADS[:1] if quick else BUSY_WORKLOADS:
        problem = make_problem(sizes, M_QUICK if quick else M, optimizer="momentum", learning_rate=0.001)
        for batch in BATCHES[1:2] if quick else BATCHES:
            problem.batch = batch
            rivals = {f"cmlp, {n}": CmlpBatches(problem, n_threads=n) for n in (1, 2, "auto")}
            contestants = [
                Contestant(name, rival.learn, len(problem.X) // batch * batch, rival.reset, batch)
                for name, rival in rivals.items()
            ]
            timings = measure(contestants, rounds=3 if quick else 9, seconds=0.1 if quick else 8.0, aim=0.3)
            workload = f"{problem.name}, batch {batch}, one processor busy"
            report.timings[workload] = {name: vars(timing) for name, timing in timings.items()}
            steps = {name: timing.median * batch * 1e6 for name, timing in timings.items()}  # the best is without it
            rows.append([problem.name, batch, *steps.values()])
            for n, most in (("2", TWO_BUSY), ("auto", AUTO_BUSY)):
                ratio = steps[f"cmlp, {n}"] / steps["cmlp, 1"]
                report.aims.append(Aim(f"{workload}: n_threads={n} / one thread, time", ratio, at_most=most))
    columns = ["layers", "batch", *rivals]
    report.tables.append(Table("One of two processors busy, momentum: µs per step, median", columns, rows))


def _rested(rival: Any) -> Any:
    """Reset, and wait until the threads of the contestant before have stopped spinning."""

    def reset() -> None:
        rival.reset()
        time.sleep(0.02)

    return reset


def _with_threads(name: str, learn: Any) -> Any:
    """Set PyTorch's number of threads around a run; cmlp takes it as an argument."""
    if not name.startswith("PyTorch"):
        return learn
    import torch

    def run(n: int) -> None:
        torch.set_num_threads(int(name[-1]))
        learn(n)

    return run


def _predict(problem: Problem, report: Report, quick: bool) -> None:
    """Time predict(X) with one and two threads, where it takes the argument."""
    if "n_threads" not in inspect.signature(cmlp.Network.predict).parameters:
        report.notes.append("predict of this version has no n_threads")
        return
    network = CmlpBatches(problem).network
    contestants = [Contestant(f"cmlp, {n}", _predictor(network, problem, n), len(problem.X)) for n in (1, 2, "auto")]
    timings = measure(contestants, rounds=3 if quick else 15, seconds=0.3 if quick else 15.0, aim=0.05)
    workload = f"{problem.name}, predict"
    report.timings[workload] = {name: vars(timing) for name, timing in timings.items()}
    rows = [[name, timing.best * 1e6] for name, timing in timings.items()]
    report.tables.append(Table(workload, ["", "µs per row"], rows))
    ratio = timings["cmlp, 1"].best / timings["cmlp, auto"].best
    report.aims.append(Aim(f'{workload}: "auto" / one thread, speed', ratio, at_least=NEVER_SLOWER))


def _predictor(network: Any, problem: Problem, n_threads: Any) -> Any:
    return lambda m: network.predict(problem.X[:m], n_threads=n_threads)


def same_bits(problem: Problem) -> str:
    """Train with 1, 2, 3 and 4 threads: the weights must be the same to the last bit."""
    problem.batch = 128
    found = []
    for n in (1, 2, 3, 4):
        rival = CmlpBatches(problem, n_threads=n)
        rival.learn(8 * problem.batch)
        found.append([w.copy() for w in rival.trained()])
    for weights in found[1:]:
        if not all(np.array_equal(a, b) for a, b in zip(found[0], weights, strict=True)):
            raise AssertionError(f"{problem.name}: the weights depend on the number of threads")
    return "after 8 steps of 128 samples, n_threads = 1, 2, 3, 4 give the same bits"
