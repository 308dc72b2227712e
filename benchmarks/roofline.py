"""Which share of the machine's limits do the kernels reach: of multiply-adds, at once or in turn, or of reading?"""

from __future__ import annotations

from typing import Any

from benchmarks.harness import Contestant, Plot, Report, Table, measure
from benchmarks.limits import REAL, Limits, bandwidths
from benchmarks.mini_batch_rivals import CmlpBatches
from benchmarks.per_sample_rivals import Cmlp
from benchmarks.problem import Problem, make_problem

PER_SAMPLE = (
    ((2, 4, 1), 50_000),
    ((10, 32, 32, 1), 20_000),
    ((64, 64, 64, 10), 10_000),
    ((784, 128, 10), 4_000),
    ((784, 1024, 1024, 10), 400),
    ((6528, 5, 5, 1), 8_000),
)
MINI_BATCH = (((10, 32, 32, 1), 128), ((784, 128, 10), 128), ((784, 512, 512, 10), 128))


def run(quick: bool) -> Report:
    """Measure the limits, then how near to them training comes."""
    report = Report("roofline", "which share of the machine's limits do the kernels reach?")
    try:
        limits = {dtype: Limits(dtype) for dtype in REAL}
    except OSError as error:
        report.notes.append(f"The limits were not measured: {error}.")
        return report
    rows: list[list[Any]] = [[f"multiply-adds, {d}", f"{limit.flops / 1e9:.0f} GFLOP/s"] for d, limit in limits.items()]
    rows += [[f"a multiply-add that waits, {d}", f"{limit.latency * 1e9:.2f} ns"] for d, limit in limits.items()]
    rows += [[f"reading from {name}", f"{rate / 1e9:.0f} GB/s"] for name, rate in bandwidths().items()]
    report.tables.append(Table("limits of one core, measured now", ["", ""], rows))

    rows, bars = [], {}
    for problem, learner in _workloads(quick):
        contestant = Contestant("cmlp", learner.learn, len(problem.X), learner.reset, problem.batch)
        timing = measure([contestant], rounds=3 if quick else 20, seconds=0.2 if quick else 5.0, aim=0.05)["cmlp"]
        step = limits[problem.X.dtype].training(problem)
        limit = step.seconds / problem.batch
        name = problem.name + (f", batch {problem.batch}" if problem.batch > 1 else "")
        gflops, share = problem.flops / timing.best / 1e9, limit / timing.best
        rows.append([name, timing.best * 1e6, limit * 1e6, step.resource, gflops, f"{share:.0%}"])
        bars[name] = share * 100
        report.timings[name] = {"cmlp": vars(timing)}
    columns = ["", "µs per sample", "limit", "set by", "GFLOP/s", "share of the limit"]
    report.tables.append(Table("training, one thread, float32", columns, rows))
    report.notes += [
        "Flops per sample: 6U, less the 2 n h of the error terms for the inputs, which nobody needs.",
        "Operations in turn: those of a step that must wait for each other, a product of n as 1 + log2 n.",
        "X counts as read once, from where it lies. Weights: per sample those behind the first layer, twice; of a batch"
        " all, forward, backward (but the first layer), and for the step, with the optimiser's state.",
    ]
    title = "Share of the machine's limit that training reaches"
    report.plots.append(Plot("share", "bars", title, "", "% of the limit; longer is better", {"cmlp": bars}))
    return report


def _workloads(quick: bool) -> list[tuple[Problem, Any]]:
    found: list[tuple[Problem, Any]] = []
    for sizes, n_samples in PER_SAMPLE:
        m = n_samples // 10 if quick and sizes[0] < 6000 else n_samples // 2 if quick else n_samples
        problem = make_problem(sizes, m)
        found.append((problem, Cmlp(problem)))
    for sizes, batch in MINI_BATCH:
        problem = make_problem(sizes, 2_048, batch=batch, optimizer="momentum", learning_rate=0.001)
        found.append((problem, CmlpBatches(problem)))
    return found
