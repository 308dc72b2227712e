"""Which share of the machine's limits do the kernels reach: of the FMA peak, or of the memory stream?"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.harness import Contestant, Plot, Report, Table, measure
from benchmarks.mini_batch_rivals import CmlpBatches
from benchmarks.native import floats, plain_c
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
    peak, how = _peak()
    streams = _streams()
    memory = streams["memory"]
    rows: list[list[Any]] = [[f"multiply-adds, {how}", f"{peak / 1e9:.0f} GFLOP/s"]]
    rows += [[f"read from {name}", f"{rate / 1e9:.0f} GB/s"] for name, rate in streams.items()]
    report.tables.append(Table("limits of one core, measured now", ["", ""], rows))

    rows, bars = [], {}
    for problem, learner in _workloads(quick):
        contestant = Contestant("cmlp", learner.learn, len(problem.X), learner.reset, problem.batch)
        timing = measure([contestant], rounds=3 if quick else 20, seconds=0.2 if quick else 5.0, aim=0.05)["cmlp"]
        compute, stream = problem.flops / peak, 4 * problem.sizes[0] / memory
        in_cache = problem.X.nbytes <= machine.caches().get("L3", 0)
        limit = compute if in_cache else max(compute, stream)
        kind = "multiply-adds" if limit == compute else "stream of X"
        name = problem.name + (f", batch {problem.batch}" if problem.batch > 1 else "")
        gflops, share = problem.flops / timing.best / 1e9, limit / timing.best
        rows.append([name, timing.best * 1e6, limit * 1e6, kind, gflops, f"{share:.0%}"])
        bars[name] = share * 100
        report.timings[name] = {"cmlp": vars(timing)}
    columns = ["", "µs per sample", "limit", "set by", "GFLOP/s", "share of the limit"]
    report.tables.append(Table("training, one thread, float32", columns, rows))
    report.notes += [
        "Flops per sample: 6U, less the 2 n h of the error terms for the inputs, which nobody needs.",
        "The stream counts X, read once; it limits only where X does not fit into the last cache.",
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


def _peak() -> tuple[float, str]:
    """Return the flops a second of one core, by a C kernel of 12 chains, or by NumPy's sgemm, whichever is higher."""
    a = np.ones((512, 512), np.float32)
    found = {"by NumPy's sgemm of 512 x 512": 2 * 512**3 / _best(lambda: a @ a)}
    try:
        kernel = plain_c().multiply_adds
    except OSError:
        pass
    else:
        result, repeats = np.zeros(1, np.float32), 2_000_000
        flops = kernel(1, 1.0, floats(result))
        found["by a C kernel of 12 chains"] = flops * repeats / _best(lambda: kernel(repeats, 0.999, floats(result)))
    how = max(found, key=lambda name: found[name])
    return found[how], how


def _streams() -> dict[str, float]:
    """Return the bytes a second that one core reads: half of each cache, and memory."""
    sizes = {name: size // 2 for name, size in machine.caches().items()} | {"memory": 2**27}
    return {name: size / _best_read(size) for name, size in sizes.items()}


def _best_read(size: int) -> float:
    """Return the seconds of reading so many bytes once, after the first time."""
    x = np.ones(size // 512 * 128, np.float32)
    repeats = max(1, 2**26 // size)
    try:
        kernel = plain_c().stream
    except OSError:
        return _best(lambda: [x.sum() for _ in range(repeats)]) / repeats
    return _best(lambda: kernel(floats(x), len(x), repeats)) / repeats


def _best(function: Any) -> float:
    times = []
    for _ in range(7):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)
