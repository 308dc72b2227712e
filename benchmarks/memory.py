"""How much memory does training add to X and y?

Every figure is from a process of its own: the peak of the resident memory during training, less what was resident
before it, with everything imported, the samples there and the network made.
"""

from __future__ import annotations

import ctypes
import gc
import itertools
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

from benchmarks import ROOT, aims
from benchmarks.harness import Aim, Ours, Plot, Report, Table
from benchmarks.problem import Problem, make_problem

# Name: sizes, M, batch, optimiser, number of its states a parameter.
CASES: dict[str, tuple[tuple[int, ...], int, int, str, int]] = {
    "headline, per sample": ((6528, 5, 5, 1), 15_000, 1, "sgd", 0),
    "784-1024-1024-10, per sample": ((784, 1024, 1024, 10), 1_000, 1, "sgd", 0),
    "784-512-512-10, batch 128, momentum": ((784, 512, 512, 10), 10_000, 128, "momentum", 1),
    "784-512-512-10, batch 128, Adam": ((784, 512, 512, 10), 10_000, 128, "adam", 2),
}
RIVALS = ("cmlp", "NumPy", "scikit-learn", "PyTorch", "JAX")
RIVAL_SAMPLES = 256  # of the slow ones: what they add does not depend on how many samples they learn from


def ours(quick: bool) -> Ours:
    """Make functions that give the MB that cmlp adds; less than 1 counts as 1, which pages of the system may take."""
    cases = list(CASES)[1:2] if quick else CASES
    return {f"{case}, MB": partial(partial, _added, case) for case in cases}


def _added(case: str) -> float:
    return max(1.0, _in_subprocess(case, "cmlp")[0] or 0.0)


def run(quick: bool) -> Report:
    """Train in subprocesses and compare what they say."""
    report = Report("memory", "how much memory does training add to X and y?")
    rows, bars = [], {}
    rivals = RIVALS[:1] if quick else RIVALS
    for case, (sizes, _, _, _, states) in CASES.items():
        parameters = 4 * sum((n + 1) * m for n, m in itertools.pairwise(sizes)) / 1e6
        found = {rival: _in_subprocess(case, rival) for rival in rivals}
        allowed = parameters * (2 + states) + aims.MEMORY_MARGIN
        ours, why = found["cmlp"]
        report.aims.append(Aim(f"{case}: MB added", ours, at_most=allowed, why=why))
        rows.append([case, parameters, allowed, *(mb if mb is not None else why for mb, why in found.values())])
        if ours:
            bars[case] = {rival: mb for rival, (mb, _) in found.items() if mb}
    report.tables.append(Table("MB that training adds", ["", "parameters", "allowed", *rivals], rows))
    report.notes += [
        f"Allowed: the parameters x (2 + the optimiser's states) + {aims.MEMORY_MARGIN} MB.",
        f"Rivals learn from {RIVAL_SAMPLES} samples. They make no copy of X, but for JAX (made before the count).",
    ]
    report.plots.append(Plot("added", "bars", "Memory that training adds", "", "MB; shorter is better", bars))
    return report


def _in_subprocess(case: str, rival: str) -> tuple[float | None, str]:
    """Return the MB added, or None and why not."""
    command = [sys.executable, "-m", "benchmarks.memory", case, rival]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} failed:\n{done.stderr}")
    answer = json.loads(done.stdout.splitlines()[-1])
    return answer["mb"], answer["why"]


def main(case: str, rival: str) -> None:
    """Train in this process and print what it added."""
    from benchmarks import mini_batch_rivals, per_sample_rivals
    from benchmarks.harness import available

    sizes, n_samples, batch, optimizer, _ = CASES[case]
    problem = make_problem(sizes, n_samples, batch=batch, optimizer=optimizer)
    module = per_sample_rivals if batch == 1 else mini_batch_rivals
    made, skipped = available({rival: module.MAKERS[rival]}, problem)
    if skipped:
        print(json.dumps({"mb": None, "why": skipped[rival]}))
        return
    _warm_up(made[rival], problem)
    before = _reset_peak()
    made[rival].learn(n_samples if rival == "cmlp" else RIVAL_SAMPLES)
    print(json.dumps({"mb": (_status("VmHWM") - before) / 1e6, "why": ""}))


def _warm_up(rival: object, problem: Problem) -> None:
    """Load what loads lazily, on a small network of the same kind; JAX compiles for the very shapes."""
    if type(rival).__name__.startswith("Jax"):
        rival.learn(RIVAL_SAMPLES)  # type: ignore[attr-defined]
        return
    small = make_problem((8, 4, problem.sizes[-1]), 16, batch=min(problem.batch, 8), optimizer=problem.optimizer)
    type(rival)(small).learn(16)  # type: ignore[call-arg, attr-defined]


def _reset_peak() -> int:
    """Give freed memory back, so that nothing hides in it, and forget the peak so far; return the resident bytes."""
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(ctypes.c_size_t(0))
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _status("VmRSS")


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {field} in /proc/self/status: this measurement needs Linux")


if __name__ == "__main__":
    main(*sys.argv[1:])
