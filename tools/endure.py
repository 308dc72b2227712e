"""Whether memory stays the same over very many calls of everything: training, predictions, files, copies, refusals.

    python tools/endure.py [--calls FACTOR] [CASE ...]

Every case is called some times to warm up, then so often as its count says, in parts. After each part all garbage is
collected and three things are looked at: the bytes that Python and NumPy have allocated (tracemalloc), the resident
size of the process, which also sees memory of C and of threads, and the reference counts of what the calls are given.
A case has a finding if one of them keeps growing. The last line sums up, and a finding makes the exit code 1. FACTOR,
default 1, multiplies the counts; the full run takes some minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import gc
import io
import os
import pickle
import sys
import threading
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import cmlp

PARTS = 6  # in which the calls are made
WARM_UP = 50  # calls at least: NumPy keeps some freed blocks of each size
MOST_TRACED = 16 << 10  # bytes by which the last half of the calls may grow: those blocks go on coming for a while
MOST_RESIDENT = 1 << 20  # bytes, in the last half: the allocator's own ways

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 4)).astype("float32")
Y = RNG.normal(size=(300, 2)).astype("float32")
CLASSES = RNG.integers(0, 2, 300)
ROW, TARGET = X[0], Y[0]
GIVEN = {"X": X, "Y": Y, "CLASSES": CLASSES, "ROW": ROW, "TARGET": TARGET}  # whose reference counts stay the same


class Result(NamedTuple):
    """What became of a case."""

    calls: int
    seconds: float
    resident: int  # bytes by which the process grew in the last half of the calls
    traced: int  # bytes that were allocated there and not freed
    findings: list[str]


def network(**settings: Any) -> cmlp.MLP:
    """Return a network of 4 inputs and 2 outputs."""
    return cmlp.MLP([4, 6, 2], **{"seed": 0, "optimizer": cmlp.SGD(1e-4), **settings})


def interrupt(*_: Any) -> None:
    """Do what Ctrl-C does."""
    raise KeyboardInterrupt


def refuse_all(net: cmlp.MLP) -> Callable[[], None]:
    """Return a function that makes calls which are refused, of every kind in turn."""
    bad = X.copy()
    bad[7, 2] = np.nan
    far = cmlp.SGD(1e30)
    calls: list[Callable[[], Any]] = [
        lambda: net.fit(bad, Y),
        lambda: net.fit(X, Y[1:]),
        lambda: net.fit(X, Y, epochs=0),
        lambda: net.fit(X, Y, batchsize=3),
        lambda: net.fit(X, Y, optimizer="adams"),
        lambda: net.fit(X, Y, optimizer=far),
        lambda: net.fit(X, Y, callbacks=[interrupt]),
        lambda: net.partial_fit(X, Y, sample_weight=-np.ones(300)),
        lambda: net.partial_fit(bad, Y),
        lambda: net.learn_one(bad[7], TARGET),
        lambda: net.learn_one(X[0, :3], Y[0]),
        lambda: net.learn_one(ROW, "no number"),
        lambda: net.learn_one(["x"] * 4, TARGET),
        lambda: net.learn_one(ROW, TARGET, clip_delta=-1),
        lambda: net.predict(bad),
        lambda: net.predict(X[:, :2]),
        lambda: net.predict_one(bad[7]),
        lambda: net.predict_one([object()] * 4),
        lambda: net.predict(X, n_threads=0),
        lambda: net.evaluate(X, Y[:4]),
        lambda: net.gradients(X, Y, reduction="product"),
        lambda: net.forward(X[0, :2]),
        lambda: net.predict_class(X),
        lambda: setattr(net, "weights", [1, 2]),
        lambda: setattr(net, "optimizer", 3),
        lambda: setattr(net, "sizes", 3),
        lambda: cmlp.load(io.BytesIO(b"PK no model")),
        lambda: net.save(Path("/no/such/folder/net.cmlp")),
        lambda: cmlp.MLP([4, "x"]),
        lambda: net._model.program.predict(net._model.parameters, X, Y, np.zeros(3, "float32")),
        lambda: net._model.program.evaluate(np.zeros(3, "float32"), None, None),
    ]
    turn = [0]

    def refused() -> None:
        turn[0] = (turn[0] + 1) % len(calls)
        try:
            calls[turn[0]]()
        except (ValueError, TypeError, AttributeError, OSError, KeyboardInterrupt, ArithmeticError):
            return
        raise AssertionError(f"call {turn[0]} was not refused")

    return refused


def through_a_file(net: cmlp.MLP) -> None:
    """Save a network and load it."""
    file = io.BytesIO()
    net.save(file)
    cmlp.load(io.BytesIO(file.getvalue()))


def refused_in_a_thread(net: cmlp.MLP) -> None:
    """Let another thread try to train a network that is being trained."""

    def learn() -> None:
        with contextlib.suppress(RuntimeError):
            net.partial_fit(X, Y)

    def in_a_thread(*_: Any) -> None:
        thread = threading.Thread(target=learn)
        thread.start()
        thread.join()

    net.fit(X, Y, epochs=1, callbacks=[in_a_thread])


def fit_estimators() -> None:
    """Fit an estimator of each kind, and go on with it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged
        classifier = cmlp.MLPClassifier(hidden_layer_sizes=(6,), max_iter=3, random_state=0).fit(X, CLASSES)
        classifier.partial_fit(X, CLASSES)
        classifier.predict_proba(X)
        copy.deepcopy(
            cmlp.MLPRegressor(hidden_layer_sizes=(6,), solver="lbfgs", max_iter=3, random_state=0).fit(X, Y)
        ).predict(X)


def make_cases() -> dict[str, tuple[int, Callable[[], Any]]]:
    """Return how often each case is called, and its call."""
    sgd, adam, scaled = network(), network(optimizer=cmlp.Adam(1e-5), dropout=0.1), network(standardize=True)
    own_rate, team = network(optimizer=cmlp.SGD(lambda t: 1e-4)), network()
    x, y, row = ROW, TARGET, ROW.tolist()
    rows = [X[: 1 + 37 * i % 300] for i in range(30)]
    turn = [0]

    def predict() -> None:
        turn[0] = (turn[0] + 1) % len(rows)
        sgd.predict(rows[turn[0]])

    def fit_in_a_team() -> None:
        team.fit(X, Y, epochs=1, batch_size=150, n_threads=3)
        team.predict(X, n_threads=4)

    return {
        "learn_one": (1_000_000, lambda: sgd.learn_one(x, y)),
        "learn_one of lists, with Adam and dropout": (200_000, lambda: adam.learn_one(row, y)),
        "learn_one, standardised": (200_000, lambda: scaled.learn_one(x, y)),
        "learn_one with a rate of one's own": (200_000, lambda: own_rate.learn_one(x, y)),
        "predict_one": (1_000_000, lambda: sgd.predict_one(x)),
        "predict": (100_000, predict),
        "evaluate, gradients, forward": (
            10_000,
            lambda: (sgd.evaluate(X, Y), sgd.gradients(X, Y), sgd.forward(X), sgd.gradients(x, y)),
        ),
        "fit": (10_000, lambda: sgd.fit(X[:20], Y[:20], epochs=2, validation=0.2)),
        "every optimiser's fit": (
            2_000,
            lambda: [
                sgd.fit(X[:20], Y[:20], epochs=1, optimizer=name)
                for name in ("adam", "rprop", "lbfgs", "gradient_descent")
            ],
        ),
        "partial_fit": (10_000, lambda: adam.partial_fit(X[:20], Y[:20], batch_size=5)),
        "estimators": (1_000, fit_estimators),
        "save and load": (1_000, lambda: through_a_file(adam)),
        "pickle": (1_000, lambda: pickle.loads(pickle.dumps(adam))),
        "copy": (1_000, lambda: copy.deepcopy(adam)),
        "networks made and forgotten": (5_000, lambda: network().learn_one(x, y)),
        "capsules": (20_000, sgd.capsule),
        "refused calls": (10_000, refuse_all(network(standardize=True))),
        "refused in another thread": (1_000, lambda: refused_in_a_thread(sgd)),
        "teams of threads": (1_000, fit_in_a_team),
    }


def resident() -> int:
    """Return the resident size of this process in bytes, 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def repeat(call: Callable[[], Any], n: int) -> None:
    """Call n times, and collect the garbage."""
    for _ in range(n):
        call()
    gc.collect()


def reference_counts() -> list[int]:
    """Return the reference counts of what is given to the calls."""
    return [sys.getrefcount(GIVEN[name]) for name in GIVEN]


def endure(call: Callable[[], Any], calls: int) -> Result:
    """Make so many calls, and say what grew."""
    began, per_part = time.perf_counter(), -(-calls // PARTS)
    repeat(call, max(WARM_UP, per_part))
    counts = reference_counts()
    sizes = []
    for _ in range(PARTS):
        repeat(call, per_part)
        sizes.append((resident(), tracemalloc.get_traced_memory()[0]))
    in_c, traced = (last - middle for last, middle in zip(sizes[-1], sizes[PARTS // 2 - 1], strict=True))
    findings = []
    if in_c > MOST_RESIDENT:
        findings.append(f"the process keeps growing, by {in_c} bytes")
    if traced > MOST_TRACED:
        findings.append(f"traced memory keeps growing, by {traced} bytes")
    for name, before, after in zip(GIVEN, counts, reference_counts(), strict=True):
        if before != after:
            findings.append(f"{name} has {after - before} references more")
    return Result(per_part * PARTS, time.perf_counter() - began, in_c, traced, findings)


def main(arguments: list[str] | None = None) -> int:
    """Run the cases; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help="beginnings of the names of cases; default: all")
    parser.add_argument("--calls", type=float, default=1.0, metavar="FACTOR", help="multiplies the counts")
    chosen = parser.parse_args(arguments)
    cases = make_cases()
    names = [name for name in cases if not chosen.cases or name.startswith(tuple(chosen.cases))]
    if not names:
        parser.error(f"unknown case: expected one of {', '.join(cases)}")
    findings = calls = 0
    print(f"{'case':<42} {'calls':>9} {'seconds':>8} {'resident':>9} {'traced':>7}  (bytes, in the last half)")
    for name in names:
        count, call = cases[name]
        result = endure(call, int(count * chosen.calls))
        calls, findings = calls + result.calls, findings + len(result.findings)
        print(
            f"{name:<42} {result.calls:>9} {result.seconds:>8.1f} {result.resident:>9} {result.traced:>7}", flush=True
        )
        for finding in result.findings:
            print(f"    FOUND: {finding}", flush=True)
    print(f"endure: {findings} findings in {len(names)} cases, {calls:,} calls")
    return 1 if findings else 0


if __name__ == "__main__":
    if not tracemalloc.is_tracing():  # from the first import on, so that nothing is freed that was not seen
        os.execv(sys.executable, [sys.executable, "-X", "tracemalloc", *sys.argv])
    sys.exit(main())
