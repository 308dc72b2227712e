"""Do cmlp's estimators score like scikit-learn's, how much faster are they, and do two threads help a grid search?"""

from __future__ import annotations

import os
import statistics
import time
import warnings
from functools import partial
from typing import Any

import numpy as np

import cmlp
from benchmarks import aims
from benchmarks.harness import Aim, Contestant, Limit, Ours, Plot, Report, Table
from benchmarks.limits import Limits, limit_of

SEEDS, FOLDS = range(5), 5
GRID = {"mlp__alpha": [1e-4, 1e-2], "mlp__learning_rate_init": [0.001, 0.003, 0.01, 0.03]}


def ours(quick: bool) -> Ours:
    """Make cmlp's contestants: short fits."""

    def make(name: str) -> Contestant:
        kind, X, y, max_iter = datasets(quick=True)[name]
        X = (X - X.mean(0)) / (X.std(0) + 1e-9)

        def fit(n: int) -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # none converges
                for seed in range(n):
                    getattr(cmlp, kind)(max_iter=max_iter, random_state=seed).fit(X, y)

        return Contestant(name, fit, 1000)

    names = ("wine", "breast_cancer", "diabetes", "digits", "like_mnist", "like_california")
    return {name: partial(make, name) for name in names[: 2 if quick else None]}


def run(quick: bool) -> Report:
    """Cross-validate both libraries' estimators with the same seeds, then search a grid on one core and on two."""
    report = Report("estimators", "do the estimators score like scikit-learn's, and how much faster are they?")
    try:
        import sklearn
    except ImportError:
        for text in ("scores differ, standard errors", "seconds, scikit-learn / cmlp"):
            report.aims.append(Aim(text, None, at_least=0, why="scikit-learn is not installed"))
        return report
    report.notes.append(
        f"scikit-learn {sklearn.__version__}, float64, one thread each, the CPU's seconds; defaults but for max_iter."
    )
    rows, bars = [], {}
    for name, (kind, X, y, max_iter) in datasets(quick).items():
        seeds, folds = (SEEDS[:1], 2) if quick else (SEEDS, FOLDS)
        scores, seconds, flops = cross_validated(kind, X, y, max_iter, seeds, folds)
        limit = limit_of(partial(multiply_adds, flops), np.float64)
        error = standard_error(scores["scikit-learn"])
        difference = abs(np.mean(scores["cmlp"]) - np.mean(scores["scikit-learn"]))
        ratio = seconds["scikit-learn"] / seconds["cmlp"]
        means = [float(np.mean(scores[library])) for library in ("scikit-learn", "cmlp")]
        rows.append([name, f"{len(X)} x {X.shape[1]}", *means, error, seconds["scikit-learn"], seconds["cmlp"], ratio])
        bars[name] = seconds
        if not quick:
            text = f"{name}: difference of the mean scores / standard error"
            report.aims.append(Aim(text, float(difference / error), at_most=aims.SCORES_APART))
        if name in aims.ESTIMATORS:
            text = f"{name}: seconds, scikit-learn / cmlp"
            aim = Aim(text, ratio, at_least=aims.ESTIMATORS[name])
            if limit is not None:
                aim.limit, aim.resource = seconds["scikit-learn"] / limit.seconds, limit.resource
            report.aims.append(aim)
    columns = ["", "samples", "score, scikit-learn", "cmlp", "standard error", "s, scikit-learn", "s, cmlp", "ratio"]
    how = "1 seed, 2 folds" if quick else f"{len(SEEDS)} seeds, {FOLDS} folds each"
    report.tables.append(Table(f"Cross-validation: {how}; accuracy or R²; all fits and scores together", columns, rows))
    report.plots.append(Plot("seconds", "bars", "Cross-validation", "", "seconds", bars))
    search_grid(report, quick)
    return report


def datasets(quick: bool) -> dict[str, tuple[str, np.ndarray, np.ndarray, int]]:
    """Return {name: (estimator, X, y, max_iter)}; targets of regressions are standardised."""
    from sklearn import datasets as sets

    found: dict[str, Any] = {}
    for name, kind in (("wine", "Classifier"), ("breast_cancer", "Classifier"), ("diabetes", "Regressor")):
        found[name] = (f"MLP{kind}", *getattr(sets, f"load_{name}")(return_X_y=True), 200)
    found["digits"] = ("MLPClassifier", *sets.load_digits(return_X_y=True), 60)
    found["like_mnist"] = ("MLPClassifier", *like_mnist(500 if quick else 5_000), 10)
    found["like_california"] = ("MLPRegressor", *like_california(1_000 if quick else 10_000), 40)
    for name, (kind, X, y, max_iter) in found.items():
        targets = (y - y.mean()) / y.std() if kind == "MLPRegressor" else y
        found[name] = (kind, X, targets, 10 if quick else max_iter)
    return found


def like_mnist(n_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Return 28 x 28 images as those of MNIST, which is not there without a network: digits enlarged, and shifted."""
    rng = np.random.default_rng(0)
    images, labels = cmlp.datasets.load_digits()
    chosen = rng.permutation(np.arange(n_samples) % len(images))
    at = np.linspace(0, 7, 20)  # 8 pixels make 20
    below = np.minimum(at.astype(int), 6)
    spread = np.zeros((20, 8))
    spread[np.arange(20), below] = 1 - (at - below)
    spread[np.arange(20), below + 1] = at - below
    X = np.zeros((n_samples, 28, 28))
    large = spread @ images[chosen].reshape(-1, 8, 8) @ spread.T
    for image, digit, (row, column) in zip(X, large, rng.integers(2, 7, (n_samples, 2)), strict=True):
        image[row : row + 20, column : column + 20] = digit
    return X.reshape(n_samples, -1), labels[chosen]


def like_california(n_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Return synthetic districts with the 8 features and the kind of target that the California housing set has."""
    rng = np.random.default_rng(0)
    income = rng.gamma(4.0, 1.0, n_samples)
    age = rng.uniform(1, 52, n_samples)
    rooms = rng.lognormal(1.6, 0.3, n_samples)
    bedrooms = rooms * rng.normal(0.2, 0.02, n_samples)
    population = rng.lognormal(7.0, 0.7, n_samples)
    occupancy = rng.lognormal(1.05, 0.25, n_samples)
    latitude, longitude = rng.uniform(32.5, 42, n_samples), rng.uniform(-124.3, -114.3, n_samples)
    coast = np.exp(-((longitude + 124.3 - 0.9 * (42 - latitude)) ** 2) / 4)
    price = 0.4 * income * (0.5 + coast) + 0.01 * age * coast - 0.2 * occupancy + 0.1 * rooms
    y = np.minimum(np.exp(0.3 * rng.normal(size=n_samples)) * np.maximum(price, 0.15), 5.0)
    return np.column_stack([income, age, rooms, bedrooms, population, occupancy, latitude, longitude]), y


def cross_validated(
    kind: str, X: np.ndarray, y: np.ndarray, max_iter: int, seeds: Any, folds: int
) -> tuple[dict[str, list[float]], dict[str, float], float]:
    """Return every seed's mean score, the CPU's seconds of all, both libraries taking turns, and cmlp's flops."""
    import sklearn.neural_network
    from sklearn.model_selection import KFold, StratifiedKFold, cross_validate

    split = StratifiedKFold if kind == "MLPClassifier" else KFold
    scores: dict[str, list[float]] = {"scikit-learn": [], "cmlp": []}
    seconds, flops = dict.fromkeys(scores, 0.0), 0.0
    for seed in seeds:
        for library, module in (("scikit-learn", sklearn.neural_network), ("cmlp", cmlp)):
            model = scaled(getattr(module, kind)(max_iter=max_iter, random_state=seed))
            start = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # not all converge
                cv = split(folds, shuffle=True, random_state=seed)
                found = cross_validate(model, X, y, cv=cv, return_estimator=True)
            seconds[library] += time.process_time() - start
            scores[library].append(float(np.mean(found["test_score"])))
            if library == "cmlp":
                flops += sum(flops_of(fitted["mlp"]) for fitted in found["estimator"]) * len(X) * (1 - 1 / folds)
    return scores, seconds, flops


def flops_of(fitted: Any) -> float:
    """Return those of all epochs for one sample: forward, error terms (but for the inputs) and gradient."""
    first, *others = (W.size for W in fitted.coefs_)
    return float(fitted.n_iter_ * (4 * first + 6 * sum(others)))


def multiply_adds(flops: float, limits: Limits) -> Limit:
    return Limit(flops / limits.flops, "multiply-adds")


def scaled(model: Any) -> Any:
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    return Pipeline([("scaler", StandardScaler()), ("mlp", model)])


def standard_error(scores: list[float]) -> float:
    """Return that of the mean over the seeds."""
    return statistics.stdev(scores) / len(scores) ** 0.5 if len(scores) > 1 else float("nan")


def search_grid(report: Report, quick: bool) -> None:
    """Time GridSearchCV with joblib's threads: the core lets go of the GIL."""
    from joblib import parallel_config
    from sklearn.model_selection import GridSearchCV

    if len(os.sched_getaffinity(0)) < 2:
        report.notes.append("No grid search with two threads: this process has one core.")
        return
    X, y = cmlp.datasets.load_digits()
    if quick:
        X, y = X[:300], y[:300]
    best = {1: float("inf"), 2: float("inf")}
    found = {}
    for _ in range(1 if quick else 5):
        for n_jobs in best:
            model = scaled(cmlp.MLPClassifier(max_iter=3 if quick else 60, random_state=0))
            search = GridSearchCV(model, GRID, cv=3, n_jobs=n_jobs)
            start = time.perf_counter()
            with warnings.catch_warnings(), parallel_config("threading"):
                warnings.simplefilter("ignore")
                search.fit(X, y)
            best[n_jobs] = min(best[n_jobs], time.perf_counter() - start)
            found[n_jobs] = search.cv_results_["mean_test_score"]
    if not np.array_equal(found[1], found[2]):
        raise AssertionError("the scores of the grid search depend on the number of threads")
    report.checks.append("the grid search finds the same scores with one thread and two")
    rows = [[n_jobs, seconds, best[1] / seconds] for n_jobs, seconds in best.items()]
    columns = ["threads", "seconds", "speed over one"]
    report.tables.append(Table("GridSearchCV on digits, 8 candidates, 3 folds", columns, rows))
