"""The estimators side by side with scikit-learn's own; its checks and tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sklearn
import sklearn.neural_network
from helpers.estimators import (
    CURVE,
    DATA,
    KINDS,
    X_diabetes,
    X_iris,
    Y_diabetes,
    fitted,
    parameters_of,
    some_weights,
    y_diabetes,
    y_iris,
)
from sklearn.metrics import mean_poisson_deviance, r2_score
from sklearn.utils.estimator_checks import parametrize_with_checks

import cmlp
from cmlp.estimators import MLPClassifier, MLPRegressor, rules

SETTINGS = {
    "defaults": {},
    "uneven_batches": {"batch_size": 32, "hidden_layer_sizes": (20, 10), "alpha": 1.0},
    "single_samples": {"batch_size": 1, "max_iter": 3, "alpha": 0.0},
    "given_order": {"shuffle": False, "activation": "tanh"},
    "logistic": {"activation": "logistic", "solver": "sgd", "learning_rate_init": 0.1},
    "no_hidden_layer": {"hidden_layer_sizes": (), "solver": "sgd"},
    "identity": {"activation": "identity", "hidden_layer_sizes": 7, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False, "momentum": 0.8, "learning_rate_init": 0.02},
    "no_momentum": {"solver": "sgd", "momentum": 0, "batch_size": 16},
    "all_momentum": {"solver": "sgd", "momentum": 1.0, "max_iter": 4},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1, "power_t": 0.25},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.05, "tol": 0.01, "max_iter": 90},
    "early_stopping": {"early_stopping": True, "n_iter_no_change": 3, "learning_rate_init": 0.02},
    "stops": {"tol": 0.1, "n_iter_no_change": 2},
}


def both(kind, **parameters):
    parameters = {"random_state": 1, "max_iter": 25, **parameters}
    return getattr(sklearn.neural_network, kind)(**parameters), getattr(cmlp, kind)(**parameters)


def assert_same(theirs, ours, X, tolerance=CURVE):
    for a, b in zip(parameters_of(theirs), parameters_of(ours), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(b, a, **tolerance)
    np.testing.assert_allclose(ours.loss_, theirs.loss_, **tolerance)
    assert (ours.n_iter_, ours.t_) == (theirs.n_iter_, theirs.t_)
    predict = "predict_proba" if hasattr(ours, "predict_proba") else "predict"
    np.testing.assert_allclose(getattr(ours, predict)(X), getattr(theirs, predict)(X), **tolerance)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("weighted", [False, True])
def test_training_is_that_of_scikit_learn(data, settings, weighted):
    kind, X, y = DATA[data]
    theirs, ours = both(kind, **SETTINGS[settings])
    weights = some_weights[: len(X)] if weighted else None
    for estimator in (theirs, ours):
        fitted(estimator, X, y, sample_weight=weights)
    assert_same(theirs, ours, X)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, **CURVE)
    for name in ("best_loss_", "best_validation_score_", "validation_scores_"):
        expected = getattr(theirs, name)
        assert (getattr(ours, name) is None) == (expected is None)
        if expected is not None:
            np.testing.assert_allclose(getattr(ours, name), expected, **CURVE)
    public = {name for name in vars(theirs) if name.endswith("_")}
    assert public <= set(vars(ours))
    for name in ("n_layers_", "n_outputs_", "n_features_in_", "out_activation_"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert np.array_equal(ours.predict(X), theirs.predict(X)) or kind == "MLPRegressor"


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_simd_level_trains_as_scikit_learn_does(solver, dtype, simd_level):
    theirs, ours = both(
        "MLPClassifier", solver=solver, batch_size=33, alpha=2.0, max_iter=4, hidden_layer_sizes=(37, 5)
    )
    for estimator in (theirs, ours):
        fitted(estimator, X_iris, y_iris, sample_weight=some_weights)
    if dtype == "float32":
        fitted(ours.set_params(dtype="float32"), X_iris, y_iris, sample_weight=some_weights)
    assert_same(
        theirs, ours, X_iris, {"rtol": 5e-4, "atol": 1e-5} if dtype == "float32" else {"rtol": 1e-7, "atol": 1e-9}
    )


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("weighted", [False, True])
def test_lbfgs_is_that_of_scikit_learn(data, weighted):
    kind, X, y = DATA[data]
    theirs, ours = both(kind, solver="lbfgs", alpha=1.0, max_iter=8)
    weights = some_weights[: len(X)] if weighted else None
    for estimator in (theirs, ours):
        fitted(estimator, X, y, sample_weight=weights)
    np.testing.assert_allclose(ours.loss_, theirs.loss_, rtol=1e-6)
    assert ours.n_iter_ == theirs.n_iter_ == len(ours.loss_curve_)
    assert_same(theirs, ours, X, {"rtol": 1e-4, "atol": 1e-5})


@pytest.mark.parametrize("y", [y_diabetes**2 * (y_diabetes > 0), np.abs(Y_diabetes)], ids=["counts", "three_outputs"])
@pytest.mark.parametrize("settings", [{}, {"batch_size": 40}, {"early_stopping": True}, {"solver": "lbfgs"}])
@pytest.mark.parametrize("weighted", [False, True])
def test_poisson_is_that_of_scikit_learn(y, settings, weighted):
    theirs, ours = both("MLPRegressor", loss="poisson", **{"alpha": 1.0, "max_iter": 8, **settings})
    weights = (
        np.r_[some_weights[:110], np.zeros(40)] if weighted and not settings else some_weights if weighted else None
    )
    for estimator in (theirs, ours):
        fitted(estimator, X_diabetes, y, sample_weight=weights)
    assert_same(theirs, ours, X_diabetes, {"rtol": 1e-4, "atol": 1e-5} if settings.get("solver") else CURVE)
    assert ours.out_activation_ == theirs.out_activation_ == "exp"
    fitted(ours, X_diabetes, y, validation_data=(X_diabetes, y))
    score = half_poisson_deviance(y, ours.predict(X_diabetes))
    np.testing.assert_allclose(ours.validation_loss_curve_[-1], score)


def half_poisson_deviance(y, predicted):
    """Half of it, summed over the outputs."""
    y, predicted = y.reshape(len(y), -1), predicted.reshape(len(y), -1)
    return 0.5 * sum(mean_poisson_deviance(y[:, k], predicted[:, k]) for k in range(y.shape[1]))


@pytest.mark.parametrize("data", ["three_classes", "regression"])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_partial_fit_and_warm_start_are_those_of_scikit_learn(data, solver):
    kind, X, y = DATA[data]
    theirs, ours = both(kind, solver=solver, warm_start=True, max_iter=3, batch_size=40)
    for estimator in (theirs, ours):
        classes = {"classes": np.unique(y)} if kind == "MLPClassifier" else {}
        estimator.partial_fit(X, y, **classes).partial_fit(X[:50], y[:50], some_weights[:50]) if not classes else (
            estimator.partial_fit(X, y, **classes).partial_fit(X, y, some_weights)
        )
        fitted(estimator, X, y)
        estimator.partial_fit(X, y)
        fitted(estimator, X, y)
    assert_same(theirs, ours, X)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, **CURVE)


@pytest.mark.parametrize("kind", KINDS)
def test_float32_stays(kind):
    theirs, ours = both(kind, max_iter=5)
    X, y = X_iris.astype(np.float32), y_iris
    for estimator in (theirs, ours):
        fitted(estimator, X, y)
    assert {array.dtype for array in parameters_of(ours)} == {np.dtype("float32")}
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-4)
    method = "predict_proba" if kind == "MLPClassifier" else "predict"
    assert getattr(ours, method)(X).dtype == np.float32


@pytest.mark.parametrize("weights", [None, some_weights])
def test_r2_is_scikit_learns(weights):
    rng = np.random.default_rng(0)
    y, predicted = rng.normal(size=(150, 3)), rng.normal(size=(150, 3))
    y[:, 2] = 1.0
    for last in (rng.normal(size=150), y[:, 2]):
        predicted[:, 2] = last
        assert rules.r2(y, predicted, weights) == pytest.approx(r2_score(y, predicted, sample_weight=weights))


@parametrize_with_checks([MLPClassifier(max_iter=100), MLPRegressor(max_iter=100)])
@pytest.mark.filterwarnings("ignore")  # the checks fit many models that have not converged
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def test_scikit_learns_own_tests():
    script = Path(__file__).with_name("run_sklearn_own_tests.py")
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    command = [sys.executable, str(script), "-q"]
    result = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stdout
    assert "passed" in result.stdout.splitlines()[-1]
