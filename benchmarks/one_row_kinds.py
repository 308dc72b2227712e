"""One row of any kind, with any optimiser: what `learn_one` and `predict_one` cost beside their fast form."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import cmlp
from benchmarks import aims
from benchmarks.harness import Aim, Contestant, Ours, Report, Table, measure
from benchmarks.problem import Array, make_problem

SIZES = (10, 32, 32, 1)
N_CLASSES = 3
ROWS, LARGEST = 1000, 50_000
RATE = 0.002

# What becomes of the rows of X, float32 (ROWS, n). The first is the fast form.
ROWS_OF: dict[str, Callable[[Array], Iterable[Any]]] = {
    "float32 row": list,
    "float64 row": lambda X: X.astype(np.float64),
    "strided row": lambda X: X.repeat(2, axis=1)[:, ::2],
    "reversed row": lambda X: X[:, ::-1].copy()[:, ::-1],
    "big-endian row": lambda X: X.astype(">f4"),
    "read-only row": lambda X: np.frombuffer(X.tobytes(), np.float32).reshape(X.shape),
    "int64 row": lambda X: np.rint(X).astype(np.int64),
    "list": lambda X: X.tolist(),
    "tuple": lambda X: map(tuple, X.tolist()),
    "list of np.float32": lambda X: map(list, X),
    "row with NaN": lambda X: np.where(np.arange(X.shape[1]) == 3, np.float32(np.nan), X),
}
# What becomes of a number y > 0.
TARGETS: dict[str, Callable[[float], Any]] = {
    "float": float,
    "int": lambda y: int(2 * y),
    "bool": lambda y: y > 0.5,
    "np.float32": np.float32,
    "np.float64": np.float64,
    "np.int64": lambda y: np.int64(2 * y),
    "np.bool_": lambda y: np.bool_(y > 0.5),
    "array (1,)": lambda y: np.array([y], np.float32),
    "float64 array (1,)": lambda y: np.array([y]),
    "[float]": lambda y: [y],
}
CLASSES: dict[str, Callable[[int], Any]] = {
    "int": int,
    "np.int64": np.int64,
    "np.int32": np.int32,
    "np.uint8": np.uint8,
    "array ()": np.array,
}
# The tables: the kinds of row, or of row and target, that each has.
TABLES: dict[str, list[tuple[str, str]]] = {
    "learn_one": [
        *itertools.product(ROWS_OF, ["float"]),
        *itertools.product(["float32 row"], list(TARGETS)[1:]),
        ("float64 row", "np.float64"),
        ("float64 row", "np.int64"),
        ("list", "[float]"),
    ],
    "learn_one of a class": [
        *itertools.product(["float32 row"], CLASSES),
        ("float64 row", "np.int64"),
        ("list", "int"),
    ],
    "predict_one": [(row, "") for row in ROWS_OF],
}
WITH_NAN = "row with NaN"
LISTS = ("list", "tuple", "list of np.float32", "[float]")


@dataclass(frozen=True)
class Setting:
    """An optimiser, and what else a network and its calls are given."""

    optimizer: Any
    network: tuple[tuple[str, Any], ...] = ()
    clip_delta: float | None = None


PLAIN = cmlp.SGD(RATE)
# The first is that of the fast form.
SETTINGS = {
    "SGD": Setting(PLAIN),
    "momentum": Setting(cmlp.SGD(RATE, momentum=0.9)),
    "Adam": Setting(cmlp.Adam(RATE)),
    "AdamW": Setting(cmlp.AdamW(RATE, weight_decay=0.01)),
    "RMSprop": Setting(cmlp.RMSprop(RATE)),
    "schedule": Setting(cmlp.SGD(cmlp.schedules.InverseScaling(RATE))),
    "l1, max_norm": Setting(cmlp.SGD(RATE, l1=1e-5, max_norm=3.0)),
    "EMA": Setting(cmlp.SGD(RATE, averaging=cmlp.EMA(0.99))),
    "dropout": Setting(PLAIN, (("dropout", 0.2),)),
    "clip_delta": Setting(PLAIN, clip_delta=1.0),
    "standardize": Setting(PLAIN, (("standardize", True),)),
    'missing="mean"': Setting(PLAIN, (("missing", "mean"),)),
}
# What `--against` looks at, with every setting: the fast form, what iterating over float64 arrays gives, and a list.
COMPARED = {
    "learn_one": [("float32 row", "float"), ("float64 row", "np.float64"), ("list", "[float]")],
    "learn_one of a class": [("float32 row", "np.int64")],
    "predict_one": [("float32 row", ""), ("float64 row", ""), ("list", "")],
}


class Calls:
    """Calls of one kind, of a network with one setting."""

    def __init__(self, table: str, kind: tuple[str, str], setting: str) -> None:
        row, target = kind
        problem = make_problem(SIZES, ROWS)
        self.setting, self.classifies, self.predicts = SETTINGS[setting], "class" in table, not target
        rows = ROWS_OF[row](problem.X)
        if self.predicts:
            self.arguments: list[tuple[Any, ...]] = [(x,) for x in rows]
        elif self.classifies:
            self.arguments = [(x, CLASSES[target](i % N_CLASSES)) for i, x in enumerate(rows)]
        else:
            self.arguments = [
                (x, TARGETS[target](y)) for x, y in zip(rows, np.abs(problem.Y[:, 0]).tolist(), strict=True)
            ]
        self.name = named(kind, setting)

    def reset(self) -> None:
        """Start anew, with the first sample learnt: the scale is known then, and everything is set up."""
        sizes, loss = (SIZES, "squared_error") if not self.classifies else ((*SIZES[:-1], N_CLASSES), "cross_entropy")
        options = dict(self.setting.network)
        network = cmlp.MLP(sizes, loss=loss, optimizer=self.setting.optimizer, seed=0, **options)
        network.learn_one(np.ones(SIZES[0], np.float32), 1)
        self._call: Callable[..., Any] = network.predict_one if self.predicts else network.learn_one
        if self.setting.clip_delta is not None and not self.predicts:
            self._call = partial(network.learn_one, clip_delta=self.setting.clip_delta)
        self._call(*self.arguments[0])

    def run(self, n: int) -> None:
        call = self._call
        for one in itertools.islice(itertools.cycle(self.arguments), n):
            call(*one)

    def contestant(self) -> Contestant:
        return Contestant(self.name, self.run, LARGEST, self.reset, unit=20)


def ours(quick: bool) -> Ours:
    """Make cmlp's contestants: some kinds with plain SGD, and the fast form with every other setting."""
    first = next(iter(SETTINGS))
    cases = [
        (table, kind, setting)
        for table, kinds in COMPARED.items()
        for kind, setting in [*((k, first) for k in kinds), *((kinds[0], s) for s in list(SETTINGS)[1:])]
        if table == "learn_one" or setting == first
    ]
    return {
        f"{table}: {named(kind, setting)}": partial(lambda *case: Calls(*case).contestant(), table, kind, setting)
        for table, kind, setting in cases[: 4 if quick else None]
    }


def named(kind: tuple[str, str], setting: str) -> str:
    return f"{', '.join(filter(None, kind))}; {setting}"


def compare(report: Report, quick: bool) -> None:
    """Add the tables, in µs and as multiples of the fast form, and the aims."""
    settings = list(SETTINGS)[:: 5 if quick else 1]
    budget = {"rounds": 2, "seconds": 0.3, "aim": 0.0005} if quick else {"rounds": 20, "seconds": 20.0, "aim": 0.003}
    for table, kinds in TABLES.items():
        cases = [
            Calls(table, kind, setting)
            for kind in kinds
            for setting in settings
            if kind[0] != WITH_NAN or "missing" in dict(SETTINGS[setting].network)
        ]
        timings = measure([case.contestant() for case in cases], **budget)
        workload = f"{'-'.join(map(str, SIZES))}, {table} of any kind"
        report.add_timings(workload, timings)
        best = {name: timing.best * 1e6 for name, timing in timings.items()}
        fast = best[named(kinds[0], settings[0])]
        for unit, by in (("µs per call", 1.0), (f"multiples of the fast form, {fast:.3f} µs", fast)):
            rows: list[list[Any]] = [
                [", ".join(filter(None, kind)), *(_over(best.get(named(kind, setting)), by) for setting in settings)]
                for kind in kinds
            ]
            report.tables.append(Table(f"{workload}: {unit}", ["", *settings], rows))
        report.aims += _aims(table, kinds, settings, {name: us / fast for name, us in best.items()})


def _over(value: float | None, by: float) -> float | None:
    return None if value is None else value / by


def _aims(table: str, kinds: list[tuple[str, str]], settings: list[str], ratios: dict[str, float]) -> list[Aim]:
    """Judge the kinds, with plain SGD, by the worst of arrays and of lists, and the settings by the fast form.

    Missing values are judged by rows that have one, too.
    """
    lists = aims.ANY_LIST_PREDICTED if table == "predict_one" else aims.ANY_LIST
    found = []
    for are_lists, text, at_most in ((False, "scalars and arrays", aims.ANY_ARRAY), (True, "lists", lists)):
        group = {
            kind: ratios[name]
            for kind in kinds[1:]
            if (name := named(kind, settings[0])) in ratios and are_lists == any(part in LISTS for part in kind)
        }
        if group:
            worst = max(group, key=lambda kind: group[kind])
            text = f"{table}, {text}, at worst ({', '.join(filter(None, worst))}): times the fast form"
            found.append(Aim(text, group[worst], at_most=at_most))
    for setting, at_most in aims.ANY_SETTING.items():
        if setting in settings and (table != "predict_one" or SETTINGS[setting].network):
            text = f"{table}, {setting}: times the fast form"
            judged = [kinds[0], *(kind for kind in kinds if kind[0] == WITH_NAN)]
            worst_of = [ratios[name] for kind in judged if (name := named(kind, setting)) in ratios]
            found.append(Aim(text, max(worst_of), at_most=at_most))
    return found
