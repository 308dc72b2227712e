"""How long does `fit` take around the core: a call, and an epoch?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import cmlp
from benchmarks import aims
from benchmarks.harness import Aim, Contestant, Ours, Report, Table, measure

SIZES, M = (2, 1), 2  # 3 parameters and 2 samples: next to nothing for the core
EPOCHS = 101
LARGEST = 1_000  # calls a run
RATE = 1e-4

# Name: what `fit` is given. The first is judged.
SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    'order="given"': {"order": "given"},
    "batch_size=2": {"batch_size": 2},
    "momentum": {"optimizer": cmlp.SGD(RATE, momentum=0.9)},
    "Adam, batch_size=2": {"optimizer": cmlp.Adam(RATE), "batch_size": 2},
    "a schedule": {"optimizer": cmlp.SGD(cmlp.schedules.InverseScaling(RATE))},
    "clip_delta": {"clip_delta": 1.0},
    "sample_weight": {"sample_weight": np.ones(M)},
    "validation=0.5": {"validation": 0.5},
    "full batch": {"batch_size": None},
}
# What else is called: name and the method's arguments.
OTHERS = ("partial_fit", "predict", "evaluate")


def ours(quick: bool) -> Ours:
    """Make cmlp's contestants."""
    names = ("defaults", "Adam, batch_size=2")
    found: Ours = {f"fit, {name}, epochs={n}": partial(fitting, name, n) for name in names for n in (1, EPOCHS)}
    return found | {name: partial(calling, name) for name in OTHERS}


def run(quick: bool) -> Report:
    """Time calls with one epoch and with many."""
    report = Report("calls", "how long does `fit` take around the core: a call, and an epoch?")
    names = list(SETTINGS)[: 2 if quick else None]
    contestants = [fitting(name, n) for name in names for n in (1, EPOCHS)] + [calling(name) for name in OTHERS]
    budget = {"rounds": 5, "seconds": 0.3, "aim": 0.005} if quick else {"rounds": 50, "seconds": 20.0, "aim": 0.03}
    timings = measure(contestants, **budget)
    report.add_timings("3 parameters", timings)
    rows: list[list[Any]] = []
    for name in names:
        one, many = (timings[f"fit, {name}, epochs={n}"].best * 1e6 for n in (1, EPOCHS))
        epoch = (many - one) / (EPOCHS - 1)
        rows.append([f"fit, {name}", one - epoch, epoch])
    report.aims += [
        Aim("fit around the core: µs per call", rows[0][1], at_most=aims.MICROSECONDS_PER_CALL),
        Aim("fit around the core: µs per epoch", rows[0][2], at_most=aims.MICROSECONDS_PER_EPOCH),
    ]
    rows += [[name, timings[name].best * 1e6, None] for name in OTHERS]
    title = f"{'-'.join(map(str, SIZES))}, {M} samples"
    report.tables.append(Table(title, ["", "µs per call", "µs per epoch"], rows))
    report.notes.append(f"From the times of calls with 1 and with {EPOCHS} epochs; the core takes part of the latter.")
    return report


def fitting(name: str, epochs: int) -> Contestant:
    """Return calls of fit."""
    network, X, y = _problem()
    settings = {"epochs": epochs, "optimizer": cmlp.SGD(RATE), **SETTINGS[name]}
    return _contestant(f"fit, {name}, epochs={epochs}", lambda: network.fit(X, y, **settings))


def calling(name: str) -> Contestant:
    """Return calls of another method."""
    network, X, y = _problem()
    method = getattr(network, name)
    arguments = (X,) if name == "predict" else (X, y)
    return _contestant(name, lambda: method(*arguments))


def _problem() -> tuple[cmlp.MLP, Any, Any]:
    X = np.array([[1, 2], [3, -1]], np.float32)
    return cmlp.MLP(SIZES, seed=0), X, X.sum(1)


def _contestant(name: str, call: Callable[[], object]) -> Contestant:
    def run(n: int) -> None:
        for _ in range(n):
            call()

    return Contestant(name, run, LARGEST)
