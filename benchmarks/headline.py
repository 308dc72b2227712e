"""How long does the headline workload take: 6528-5-5-1, M = 15 000 samples, K = 3 epochs, δ clipped?"""

from __future__ import annotations

from dataclasses import replace

from benchmarks import aims
from benchmarks.harness import Aim, Contestant, Ours, Plot, Report, Table, available, speedup_aims
from benchmarks.limits import streamer
from benchmarks.per_sample import race
from benchmarks.per_sample_rivals import MAKERS, Cmlp
from benchmarks.problem import make_problem

SIZES = (6528, 5, 5, 1)
M, M_QUICK, K = 15_000, 3_000, 3
STREAM = "plain loop that reads X"
QUICK = {"rounds": 2, "seconds": 1.0, "aim": 0.03}
FULL = {"rounds": 15, "seconds": 150.0, "aim": 1.0}
# X is larger than the caches, so all of it must be seen; scikit-learn and PyTorch are too slow for that to matter.
WHOLE_QUICK = ("cmlp", "Numba", "plain C")
WHOLE = (*WHOLE_QUICK, "NumPy", "JAX", "FANN", "mlpfile")


def ours(quick: bool) -> Ours:
    """Make cmlp's contestant."""

    def make() -> Contestant:
        m = M_QUICK if quick else M
        return replace(Cmlp(make_problem(SIZES, m, clip=1.0, epochs=K)).contestant(), size=m)

    return {"fit": make}


def run(quick: bool) -> Report:
    """Race everyone, with the time that streaming X once takes among them."""
    report = Report("headline", f"how long does {'-'.join(map(str, SIZES))} take, M = {M:,}, K = {K}, δ clipped to ±1?")
    problem = make_problem(SIZES, M_QUICK if quick else M, clip=1.0, epochs=K)
    m = len(problem.X)
    made, no_compiler = available({STREAM: streamer}, problem.X)
    streams = [Contestant(name, read, m, size=m) for name, read in made.items()]
    timings, skipped, limit = race(problem, report, QUICK if quick else FULL, streams, WHOLE_QUICK if quick else WHOLE)

    unit = (len(SIZES) - 1) * SIZES[0] * SIZES[1]  # (L + 1) n h
    rows = [
        [name, timing.best * m, timing.best * m * K, timing.best * 1e9 / unit]
        for name, timing in sorted(timings.items(), key=lambda item: item[1].best)
        if name != STREAM
    ]
    columns = ["", "s per epoch", f"s for K = {K}", "C, ns per unit"]
    report.tables.append(Table(f"M = {m:,}; C = time / (K M (L+1) n h)", columns, rows))
    over_stream = timings["cmlp"].best / timings[STREAM].best if made else None
    text, bound = "epoch / a plain loop that reads X once", aims.HEADLINE_OVER_STREAM
    report.aims.append(
        Aim(text, over_stream, at_most=bound, why=no_compiler.get(STREAM, ""), limit=1, resource="reading X")
    )
    report.aims += speedup_aims(problem.name, timings, aims.HEADLINE, skipped, limit)
    report.notes += [
        "A plain implementation was once recorded at 189 s and 199 s, C = 129 and 136 ns.",
        "cmlp's time is that of the whole fit, with its check that X is finite, made as the first epoch reads it.",
        "Slow rivals learn from fewer samples (units a run), which the caches may then hold: to their advantage.",
    ]
    report.notes += [f"{name}: {maker.note}" for name, maker in MAKERS.items() if maker.note]
    bars = {problem.name: {name: timing.best * 1e6 for name, timing in timings.items()}}
    report.plots.append(Plot("time", "bars", "The headline workload", "", "µs per sample; shorter is better", bars))
    return report
