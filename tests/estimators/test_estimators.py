"""The scikit-learn estimators: side by side with scikit-learn's own, its checks and tests, and what is more."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
import sklearn.neural_network
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import accuracy_score, log_loss, mean_poisson_deviance, r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.estimator_checks import parametrize_with_checks

import cmlp
import cmlp.data.samples
from cmlp.estimators import MLPClassifier, MLPRegressor, rules

KINDS = ["MLPClassifier", "MLPRegressor"]
CURVE = {"rtol": 1e-9, "atol": 1e-12}  # the same numbers but for rounding

X_iris, y_iris = load_iris(return_X_y=True)
X_iris = StandardScaler().fit_transform(X_iris)
two = y_iris < 2
X_diabetes, y_diabetes = load_diabetes(return_X_y=True)
X_diabetes, y_diabetes = StandardScaler().fit_transform(X_diabetes[:150]), (y_diabetes[:150] - 150) / 80
Y_diabetes = np.column_stack([y_diabetes, y_diabetes**2, -y_diabetes])
X_labels, Y_labels = make_multilabel_classification(n_samples=120, random_state=0)
X_labels = StandardScaler().fit_transform(X_labels)
some_weights = np.random.RandomState(0).uniform(0, 2, 150)

DATA = {
    "three_classes": ("MLPClassifier", X_iris, y_iris),
    "two_classes": ("MLPClassifier", X_iris[two], np.array(["no", "yes"])[y_iris[two]]),
    "labels": ("MLPClassifier", X_labels, Y_labels),
    "regression": ("MLPRegressor", X_diabetes, y_diabetes),
    "three_outputs": ("MLPRegressor", X_diabetes, Y_diabetes),
}

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


def fitted(estimator, X, y, **arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(X, y, **arguments)


def both(kind, **parameters):
    parameters = {"random_state": 1, "max_iter": 25, **parameters}
    return getattr(sklearn.neural_network, kind)(**parameters), getattr(cmlp, kind)(**parameters)


def parameters_of(estimator):
    return [*estimator.coefs_, *estimator.intercepts_]


def assert_same(theirs, ours, X, tolerance=CURVE):
    for a, b in zip(parameters_of(theirs), parameters_of(ours), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(b, a, **tolerance)
    np.testing.assert_allclose(ours.loss_, theirs.loss_, **tolerance)
    assert (ours.n_iter_, ours.t_) == (theirs.n_iter_, theirs.t_)
    predict = "predict_proba" if hasattr(ours, "predict_proba") else "predict"
    np.testing.assert_allclose(getattr(ours, predict)(X), getattr(theirs, predict)(X), **tolerance)


# ------------------------------------------------------------------------------------- side by side with scikit-learn


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


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_are_those_of_scikit_learn_and_more(kind):
    theirs, ours = both(kind)
    for name, default in type(theirs)().get_params().items():
        assert type(ours)().get_params()[name] == default
    assert set(ours._parameter_constraints) == set(ours.get_params())


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


# ------------------------------------------------------------------------------------------------ what is more


@pytest.mark.parametrize("weights", ["balanced", {0: 1.0, 1: 5.0, 2: 0.5}])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_class_weight_multiplies_the_sample_weight(weights, solver):
    X, y = X_iris[:120], y_iris[:120]
    sample_weight = some_weights[:120]
    a = MLPClassifier(class_weight=weights, solver=solver, max_iter=5, random_state=0)
    b = MLPClassifier(solver=solver, max_iter=5, random_state=0)
    fitted(a, X, y, sample_weight=sample_weight)
    fitted(b, X, y, sample_weight=sample_weight * compute_sample_weight(weights, y))
    assert all(np.array_equal(p, q) for p, q in zip(parameters_of(a), parameters_of(b), strict=True))
    assert not np.array_equal(fitted(clone(b), X, y).coefs_[0], a.coefs_[0])


def test_balanced_classes_need_all_targets():
    model = MLPClassifier(class_weight="balanced")
    with pytest.raises(ValueError, match="partial_fit"):
        model.partial_fit(X_iris, y_iris, classes=[0, 1, 2])
    MLPClassifier(class_weight={0: 2.0}).partial_fit(X_iris, y_iris, classes=[0, 1, 2])


def test_activations_by_name_and_by_layer():
    model = MLPRegressor(hidden_layer_sizes=(4, 3), activation=["logistic", "leaky_relu"], max_iter=2, random_state=0)
    fitted(model, X_diabetes, y_diabetes)
    first, second, last = [layer.activation for layer in model.network_.layers.layers]
    assert (first, second, last) == ("sigmoid", "leaky_relu", "identity")
    same = [
        MLPRegressor(hidden_layer_sizes=(4, 3), activation=f, max_iter=2, random_state=0)
        for f in ("tanh", ("tanh",) * 2)
    ]
    a, b = (fitted(model, X_diabetes, y_diabetes) for model in same)
    assert np.array_equal(a.coefs_[0], b.coefs_[0])
    with pytest.raises(ValueError, match="one per hidden layer"):
        MLPRegressor(hidden_layer_sizes=(4, 3), activation=["relu"]).fit(X_diabetes, y_diabetes)


@pytest.mark.parametrize("y", [y_iris, np.minimum(y_iris, 1)])
def test_squared_error_of_a_classifier(y):
    model = MLPClassifier(loss="squared_error", alpha=0, learning_rate_init=0.01, random_state=0, max_iter=100)
    fitted(model, X_iris, y, validation_data=(X_iris, y))
    probabilities = model.predict_proba(X_iris)
    errors = (probabilities - np.eye(len(model.classes_))[y]) ** 2
    expected = 0.5 * (errors.sum(1) if len(model.classes_) > 2 else errors[:, 1]).mean()
    np.testing.assert_allclose(model.validation_loss_curve_[-1], expected)
    assert model.score(X_iris, y) > 0.9


@pytest.mark.parametrize("data", ["three_classes", "two_classes", "labels"])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_hinge_decides_by_the_sign(data, solver):
    _, X, y = DATA[data]
    model = MLPClassifier(loss="hinge", solver=solver, max_iter=30, learning_rate_init=0.01, random_state=0)
    fitted(model, X, y, validation_data=(X, y))
    outputs = model.decision_function(X)
    if data == "labels":
        expected = (outputs > 0).astype(int)
    else:
        expected = model.classes_[outputs.argmax(1) if outputs.ndim == 2 else (outputs > 0).astype(int)]
    assert np.array_equal(model.predict(X), expected)
    assert np.array_equal([model.predict_one(x) for x in X[:9]], expected[:9])
    assert model.validation_scores_[-1] == pytest.approx(accuracy_score(y, expected))
    signs = np.where(model._label_binarizer.transform(y), 1, -1)
    losses = np.maximum(0, 1 - signs * outputs.reshape(len(X), -1)).sum(1)
    np.testing.assert_allclose(model.validation_loss_curve_[-1], losses.mean())
    assert model.score(X, y) > (0.5 if data == "labels" else 0.9)
    assert not hasattr(model, "predict_proba")
    assert not hasattr(MLPClassifier(), "decision_function")


def test_label_smoothing_makes_cautious():
    settings = {"max_iter": 300, "learning_rate_init": 0.01, "alpha": 0, "random_state": 0}
    sharp, smooth = MLPClassifier(**settings), MLPClassifier(loss=cmlp.losses.CrossEntropy(0.3), **settings)
    most = [fitted(model, X_iris, y_iris).predict_proba(X_iris).max() for model in (sharp, smooth)]
    assert most[0] > 0.99
    assert most[1] < 0.9
    with pytest.raises(ValueError, match="three classes"):
        smooth.fit(X_iris, y_iris > 0)


def test_losses_of_a_regression():
    X, y = np.zeros((200, 1)), np.random.default_rng(0).exponential(size=200)
    settings = {"hidden_layer_sizes": (), "solver": "sgd", "learning_rate_init": 0.05, "alpha": 0, "random_state": 0}
    for loss, expected in (
        ("squared_error", y.mean()),
        ("absolute_error", np.median(y)),
        ("quantile", np.median(y)),
        (cmlp.losses.Quantile(0.9), np.quantile(y, 0.9)),
        (cmlp.losses.Huber(100.0), y.mean()),
        (cmlp.losses.Huber(0.01), np.median(y)),
        ("poisson", y.mean()),
    ):
        model = fitted(MLPRegressor(loss=loss, max_iter=2000, tol=0, n_iter_no_change=np.inf, **settings), X, y)
        assert model.predict(X[:1])[0] == pytest.approx(expected, abs=0.06)
        assert clone(model).get_params()["loss"] == loss
    with pytest.raises(ValueError, match="y >= 0"):
        MLPRegressor(loss="poisson").fit(X, -y)


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_is_of_training_only_and_seeded(kind):
    def learnt(**parameters):
        model = getattr(cmlp, kind)(hidden_layer_sizes=(30, 20), max_iter=5, random_state=0).set_params(**parameters)
        return fitted(model, X_iris, y_iris)

    model = learnt(dropout=0.5)
    assert np.array_equal(model.coefs_[0], learnt(dropout=[0.5, 0.5], n_threads=2).coefs_[0])
    assert not np.allclose(model.coefs_[0], learnt().coefs_[0])
    assert not np.allclose(model.coefs_[0], learnt(dropout=[0.5, 0]).coefs_[0])
    other = learnt(dropout=0.5, random_state=1)
    assert not np.allclose(model.coefs_[1], other.coefs_[1])
    assert np.array_equal(model.predict(X_iris), model.predict(X_iris))
    again = copy.deepcopy(model)
    for one in (model, again):
        one.partial_fit(X_iris, y_iris)
    assert np.array_equal(model.coefs_[0], again.coefs_[0])


def test_l1_and_max_norm_are_those_of_the_optimizer():
    for solver, kind in (("sgd", cmlp.SGD), ("adam", cmlp.Adam)):
        settings = {"solver": solver, "momentum": 0, "epsilon": 1e-3, "max_iter": 30, "random_state": 0}
        model = MLPRegressor(l1=0.05, learning_rate_init=0.01, **settings)
        fitted(model, X_diabetes, y_diabetes)
        free = fitted(clone(model).set_params(l1=0), X_diabetes, y_diabetes)
        assert np.abs(model.coefs_[0]).sum() < 0.9 * np.abs(free.coefs_[0]).sum()
        if solver == "sgd":
            same = fitted(MLPRegressor(optimizer=kind(0.01, l1=0.05), **settings), X_diabetes, y_diabetes)
            assert np.array_equal(same.coefs_[0], model.coefs_[0])
        short = fitted(MLPRegressor(max_norm=0.3, learning_rate_init=0.01, **settings), X_diabetes, y_diabetes)
        for W in short.coefs_:
            assert np.linalg.norm(W, axis=0).max() <= 0.3 * (1 + 1e-12)
    with pytest.raises(ValueError, match="its own"):
        MLPRegressor(l1=0.1, optimizer=cmlp.SGD()).fit(X_diabetes, y_diabetes)


@pytest.mark.parametrize("parameter", [{"l1": 0.1}, {"max_norm": 1.0}, {"dropout": 0.5}, {"clip_norm": 1.0}])
def test_what_lbfgs_cannot_do_is_refused(parameter):
    with pytest.raises(ValueError, match=f"{next(iter(parameter))} needs a stochastic solver"):
        MLPRegressor(solver="lbfgs", **parameter).fit(X_diabetes, y_diabetes)


@pytest.mark.parametrize("averaging", [cmlp.EMA(0.9), cmlp.SWA(2)])
def test_averages_are_those_of_the_network(averaging):
    optimizer = cmlp.SGD(0.05, averaging=averaging)
    model = MLPRegressor(optimizer=optimizer, alpha=0, shuffle=False, random_state=0)
    start = copy.deepcopy(
        fitted(clone(model).set_params(optimizer=cmlp.SGD(1e-300), max_iter=1), X_diabetes, y_diabetes)
    )
    fitted(model.set_params(max_iter=6), X_diabetes, y_diabetes)
    net = start.network_
    net.fit(X_diabetes, y_diabetes, epochs=6, batch_size=None, order="given", optimizer=optimizer)
    np.testing.assert_allclose(model.coefs_[0], net.weights[0], **CURVE)


def test_an_optimizer_takes_the_place_of_the_solver():
    chosen = MLPRegressor(optimizer=cmlp.SGD(0.01, momentum=0.9, nesterov=True), max_iter=4, random_state=0)
    usual = MLPRegressor(solver="sgd", learning_rate_init=0.01, max_iter=4, random_state=0)
    for model in (chosen, usual):
        fitted(model, X_diabetes, y_diabetes)
    assert np.array_equal(chosen.coefs_[0], usual.coefs_[0])
    decaying = cmlp.SGD(cmlp.schedules.InverseTime(0.1))
    model = fitted(MLPRegressor(optimizer=decaying, batch_size=50, max_iter=4, random_state=0), X_diabetes, y_diabetes)
    assert model.network_.n_steps == 12
    assert model._optimizer is decaying


def test_an_optimizer_that_wants_all_samples_is_refused():
    class FullBatch(cmlp.SGD):
        full_batch = True

    with pytest.raises(ValueError, match="FullBatch takes all samples at once"):
        MLPRegressor(optimizer=FullBatch()).fit(X_diabetes, y_diabetes)


def test_weight_decay_of_the_optimizer_adds_to_alpha():
    model = MLPRegressor(
        optimizer=cmlp.SGD(0.1, weight_decay=0.5), alpha=10.0, max_iter=1, random_state=0, shuffle=False
    )
    fitted(model, X_diabetes, y_diabetes)
    start = fitted(clone(model).set_params(optimizer=cmlp.SGD(1e-12)), X_diabetes, y_diabetes)  # 1e-12 · g is nothing
    gradient = start.network_.gradients(X_diabetes, y_diabetes).weights[1]
    W = start.coefs_[1]
    np.testing.assert_allclose(model.coefs_[1], W - 0.1 * (gradient + (0.5 + 10.0 / 150) * W), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("clip", ["clip_delta", "clip_value", "clip_norm"])
def test_clipping_is_that_of_the_network(clip):
    limit = {clip: 0.01}
    model = MLPRegressor(solver="sgd", momentum=0, alpha=0, learning_rate_init=0.1, max_iter=1, shuffle=False, **limit)
    free = fitted(clone(model).set_params(learning_rate_init=1e-300, random_state=0), X_diabetes, y_diabetes)
    net = copy.deepcopy(free.network_)
    net.fit(X_diabetes, y_diabetes, epochs=1, batch_size=None, order="given", optimizer=cmlp.SGD(0.1), **limit)
    model.set_params(random_state=0)
    fitted(model, X_diabetes, y_diabetes)
    for ours, theirs in zip(model.coefs_, net.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, **CURVE)
    unclipped = fitted(clone(model).set_params(**{clip: None}), X_diabetes, y_diabetes)
    assert not np.allclose(unclipped.coefs_[0], model.coefs_[0])


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_callbacks_see_every_epoch_and_can_stop(solver):
    seen = []
    callbacks = [lambda model: model.n_iter_ == 3, lambda model: seen.append((model.n_iter_, model.loss_))]
    model = MLPRegressor(solver=solver, callbacks=callbacks, random_state=0)
    model.fit(X_diabetes, y_diabetes)
    assert [n for n, _ in seen] == [1, 2, 3]
    assert [loss for _, loss in seen] == model.loss_curve_
    assert model.n_iter_ == 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_threads_change_nothing(kind, solver):
    models = [getattr(cmlp, kind)(solver=solver, max_iter=4, random_state=0, n_threads=n) for n in (1, 2, 3)]
    fits = [parameters_of(fitted(model, X_iris, y_iris)) for model in models]
    for others in fits[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(fits[0], others, strict=True))


@pytest.mark.parametrize("dtype", ["float32", np.float64])
def test_dtype_is_that_of_the_parameters(dtype):
    for solver in ("adam", "lbfgs"):
        model = fitted(MLPRegressor(dtype=dtype, solver=solver, max_iter=3), X_diabetes.astype(np.float32), y_diabetes)
        assert {array.dtype for array in parameters_of(model)} == {np.dtype(dtype)}
        assert model.predict(X_diabetes).dtype == np.dtype(dtype)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_warm_start_can_keep_the_optimizer(solver):
    parameters = {"solver": solver, "shuffle": False, "random_state": 0, "learning_rate": "invscaling"}
    long = fitted(MLPRegressor(max_iter=6, **parameters), X_diabetes, y_diabetes)
    short = MLPRegressor(max_iter=3, warm_start="optimizer", **parameters)
    fitted(fitted(short, X_diabetes, y_diabetes), X_diabetes, y_diabetes)
    assert np.array_equal(short.coefs_[0], long.coefs_[0])
    reset = MLPRegressor(max_iter=3, warm_start=True, **parameters)
    fitted(fitted(reset, X_diabetes, y_diabetes), X_diabetes, y_diabetes)
    assert not np.array_equal(reset.coefs_[0], long.coefs_[0])


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_validation_data_gives_curves(solver):
    model = MLPClassifier(solver=solver, max_iter=5, random_state=0, alpha=0.1)
    fitted(model, X_iris[::2], y_iris[::2], validation_data=(X_iris[1::2], y_iris[1::2]))
    assert len(model.validation_loss_curve_) == len(model.validation_scores_) == model.n_iter_
    expected = log_loss(y_iris[1::2], model.predict_proba(X_iris[1::2]))
    np.testing.assert_allclose(model.validation_loss_curve_[-1], expected)
    expected = accuracy_score(y_iris[1::2], model.predict(X_iris[1::2]))
    assert model.validation_scores_[-1] == pytest.approx(expected)
    assert fitted(model, X_iris, y_iris).validation_loss_curve_ is None


def test_validation_data_need_not_have_all_classes():
    model = MLPClassifier(max_iter=2, warm_start=True)
    for _ in range(2):
        fitted(model, X_iris, y_iris, validation_data=(X_iris[:40], y_iris[:40, None].ravel()))
    with pytest.raises(ValueError, match="classes not in"):
        fitted(model, X_iris, y_iris, validation_data=(X_iris[:40], y_iris[:40] + 3))


def test_early_stopping_with_an_optimizer_does_not_ask_for_the_solver():
    model = MLPRegressor(solver="lbfgs", optimizer=cmlp.Adam(), early_stopping=True, max_iter=4)
    fitted(model, X_diabetes, y_diabetes)
    assert len(model.validation_scores_) == 4
    model.set_params(early_stopping=False).partial_fit(X_diabetes, y_diabetes)


def test_early_stopping_with_validation_data_learns_from_all_rows():
    model = MLPRegressor(early_stopping=True, max_iter=300, learning_rate_init=0.01, random_state=0)
    fitted(model, X_diabetes, Y_diabetes, validation_data=(X_diabetes[:40], Y_diabetes[:40]))
    assert model.t_ == 150 * model.n_iter_
    score = r2_score(Y_diabetes[:40], model.predict(X_diabetes[:40]))
    assert model.best_validation_score_ == pytest.approx(score) == pytest.approx(max(model.validation_scores_))
    with pytest.raises(ValueError, match=r"pair \(X, y\)"):
        model.fit(X_diabetes, Y_diabetes, validation_data=X_diabetes)


@pytest.mark.parametrize("weights", [None, some_weights])
def test_r2_is_scikit_learns(weights):
    rng = np.random.default_rng(0)
    y, predicted = rng.normal(size=(150, 3)), rng.normal(size=(150, 3))
    y[:, 2] = 1.0
    for last in (rng.normal(size=150), y[:, 2]):
        predicted[:, 2] = last
        assert rules.r2(y, predicted, weights) == pytest.approx(r2_score(y, predicted, sample_weight=weights))


@pytest.mark.parametrize("data", DATA)
def test_predict_one_is_a_row_of_predict(data):
    kind, X, y = DATA[data]
    model = fitted(getattr(cmlp, kind)(max_iter=5), X, y)
    expected = model.predict(X[:7])
    found = np.array([model.predict_one(x) for x in X[:7]])
    assert found.shape == expected.shape
    np.testing.assert_allclose(
        found, expected, rtol=1e-12
    ) if kind == "MLPRegressor" else np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_predict_one_wants_a_fitted_model(kind):
    with pytest.raises(NotFittedError):
        getattr(cmlp, kind)().predict_one([1.0])


@pytest.mark.parametrize("container", [sparse.csr_array, sparse.csc_array, sparse.csr_matrix])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("stopping", [False, True])
def test_sparse_rows_in_pieces_give_the_same(container, solver, stopping, monkeypatch):
    X = np.where(X_iris > 0.5, X_iris, 0)
    settings = {"solver": solver, "max_iter": 4, "batch_size": 20, "early_stopping": stopping, "random_state": 0}
    dense = fitted(MLPClassifier(**settings), X, y_iris, sample_weight=some_weights)
    whole = fitted(MLPClassifier(**settings), container(X), y_iris, sample_weight=some_weights)
    assert np.array_equal(whole.coefs_[0], dense.coefs_[0])
    monkeypatch.setattr(cmlp.data.samples, "_DENSE_BYTES", 50 * X.shape[1] * 8)  # two batches of 20
    pieces = fitted(MLPClassifier(**settings), container(X), y_iris, sample_weight=some_weights)
    np.testing.assert_allclose(pieces.coefs_[0], dense.coefs_[0], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(pieces.predict_proba(container(X)), dense.predict_proba(X), rtol=1e-7)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize("kind", KINDS)
def test_frames_keep_the_names_of_their_columns(frame, kind):
    names = ["a", "b", "c", "d"]
    X = frame(dict(zip(names, X_iris.T, strict=True)))
    series = pd.Series if frame is pd.DataFrame else pl.Series
    model = fitted(getattr(cmlp, kind)(max_iter=3, random_state=0), X, series(y_iris))
    assert model.feature_names_in_.tolist() == names
    same = fitted(getattr(cmlp, kind)(max_iter=3, random_state=0), X_iris, y_iris)
    assert np.array_equal(model.predict(X), same.predict(X_iris))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(X[names[::-1]])


def test_frames_of_labels_come_out_as_labels():
    model = fitted(MLPClassifier(max_iter=3), pd.DataFrame(X_iris), pd.Series(["a", "b", "c"]).iloc[y_iris])
    assert set(model.predict(X_iris)) <= {"a", "b", "c"}


# ------------------------------------------------------------------------------------------- the state of a model


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_a_copy_goes_on_as_the_original_does(copied, solver):
    model = MLPRegressor(solver=solver, learning_rate="invscaling", random_state=0).partial_fit(X_diabetes, y_diabetes)
    other = copied(model)
    assert np.array_equal(other.predict(X_diabetes), model.predict(X_diabetes))
    for one in (model, other):
        one.partial_fit(X_diabetes, y_diabetes)
    assert np.array_equal(other.coefs_[0], model.coefs_[0])
    assert other.coefs_[0] is other.network_.weights[0]
    other.coefs_[0][...] = 0
    assert model.coefs_[0].any()


def test_coefs_are_live_and_can_be_replaced():
    model = fitted(MLPRegressor(hidden_layer_sizes=(3,), max_iter=2, random_state=0), X_diabetes, y_diabetes)
    before = model.predict(X_diabetes)
    model.intercepts_[1][...] += 1
    np.testing.assert_allclose(model.predict(X_diabetes), before + 1)
    model.coefs_[1] = np.zeros((3, 1))
    model.intercepts_ = [np.zeros(3), [5.0]]
    np.testing.assert_allclose(model.predict(X_diabetes), 5)
    assert model.predict_one(X_diabetes[0]) == 5
    kept = pickle.loads(pickle.dumps(model))
    np.testing.assert_allclose(kept.predict(X_diabetes), 5)
    model.coefs_ = [np.ones((10, 2)), np.ones((2, 1))]  # another architecture
    model.intercepts_ = [np.zeros(2), np.zeros(1)]
    np.testing.assert_allclose(model.predict(X_diabetes), 2 * np.maximum(X_diabetes.sum(1), 0))


def test_parameters_set_after_fitting_count():
    model = fitted(MLPRegressor(hidden_layer_sizes=(3,), max_iter=2, random_state=0), X_diabetes, y_diabetes)
    before = model.predict(X_diabetes)
    model.set_params(activation="tanh")
    z = X_diabetes @ model.coefs_[0] + model.intercepts_[0]
    np.testing.assert_allclose(model.predict(X_diabetes), np.tanh(z) @ model.coefs_[1][:, 0] + model.intercepts_[1])
    assert not np.allclose(model.predict(X_diabetes), before)


def test_a_warm_start_with_other_layers_is_refused():
    model = fitted(MLPRegressor(hidden_layer_sizes=(3,), warm_start=True, max_iter=2), X_diabetes, y_diabetes)
    with pytest.raises(ValueError, match=r"\[10, 3, 1\].*\[10, 4, 1\]"):
        model.set_params(hidden_layer_sizes=(4,)).fit(X_diabetes, y_diabetes)


def test_the_network_can_be_saved(tmp_path):
    model = fitted(MLPClassifier(max_iter=3), X_iris, y_iris)
    model.network_.save(tmp_path / "net.cmlp")
    loaded = cmlp.load(tmp_path / "net.cmlp")
    assert np.array_equal(loaded.predict(X_iris), model.predict_proba(X_iris))
    assert isinstance(loaded.optimizer, cmlp.Adam)


def test_a_second_fit_starts_anew():
    model = MLPClassifier(max_iter=5, random_state=0, early_stopping=True)
    first = [array.copy() for array in parameters_of(fitted(model, X_iris, y_iris))]
    assert all(np.array_equal(a, b) for a, b in zip(first, parameters_of(fitted(model, X_iris, y_iris)), strict=True))
    assert len(model.loss_curve_) == len(model.validation_scores_) == model.n_iter_
    fitted(model.set_params(early_stopping=False), X_iris, y_iris)
    assert model.validation_scores_ is None
    assert model.best_loss_ == min(model.loss_curve_)


# ---------------------------------------------------------------------------------------------- when things go wrong


def test_divergence_says_where():
    model = MLPRegressor(solver="sgd", learning_rate_init=1e30, random_state=0)
    where = r"In epoch \d+, (layer \d|the loss) is not finite at row \d+ of X"
    with pytest.raises(ValueError, match=rf"non-finite parameter weights\..* {where}"):
        model.fit(X_diabetes, y_diabetes)


def test_divergence_under_early_stopping_keeps_the_best():
    model = MLPRegressor(solver="sgd", learning_rate_init=1e30, early_stopping=True, random_state=0)
    with pytest.warns(ConvergenceWarning, match="diverged"):
        model.fit(X_diabetes, y_diabetes)
    assert np.isfinite(model.predict(X_diabetes)).all()
    assert np.isnan(model.validation_scores_[-1])


def test_ctrl_c_keeps_what_was_learnt():
    def interrupt(model):
        if model.n_iter_ == 2:
            raise KeyboardInterrupt

    model = MLPRegressor(callbacks=[interrupt], random_state=0)
    with pytest.warns(UserWarning, match="interrupted by user"):
        model.fit(X_diabetes, y_diabetes)
    assert model.n_iter_ == 2
    model.predict(X_diabetes)


def test_weights_that_sum_to_zero_are_refused():
    with pytest.raises(ValueError, match=r"at least one non-zero|must be > 0"):
        MLPRegressor().fit(X_diabetes, y_diabetes, sample_weight=np.zeros(150))


def test_a_batch_without_weight_changes_nothing_but_momentum():
    weights = np.r_[np.ones(50), np.zeros(100)]
    settings = {"solver": "sgd", "momentum": 0, "batch_size": 50, "max_iter": 1, "shuffle": False, "random_state": 0}
    a = fitted(MLPRegressor(**settings), X_diabetes, y_diabetes, sample_weight=weights)
    b = fitted(MLPRegressor(**settings), X_diabetes[:50], y_diabetes[:50])
    assert np.array_equal(a.coefs_[0], b.coefs_[0])


@pytest.mark.parametrize(
    "wrong",
    [
        {"optimizer": "adam"},
        {"clip_delta": 0.0},
        {"clip_norm": -1},
        {"callbacks": print},
        {"n_threads": 0},
        {"dtype": "float16"},
        {"warm_start": "yes"},
        {"activation": "swoosh"},
        {"loss": "squared"},
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_wrong_parameters_are_refused(kind, wrong):
    with pytest.raises(ValueError, match=f"The '{next(iter(wrong))}' parameter"):
        getattr(cmlp, kind)(**wrong).fit(X_iris, y_iris)


# ----------------------------------------------------------------------------------------- among scikit-learn's tools


def test_metadata_is_routed():
    with sklearn.config_context(enable_metadata_routing=True):
        model = MLPRegressor(max_iter=3, random_state=0).set_fit_request(sample_weight=True)
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), model)
        fitted(pipeline, X_diabetes, y_diabetes, sample_weight=some_weights)
    same = MLPRegressor(max_iter=3, random_state=0)
    fitted(same, StandardScaler().fit_transform(X_diabetes), y_diabetes, sample_weight=some_weights)
    assert np.array_equal(pipeline[-1].coefs_[0], same.coefs_[0])


def test_html_shows_the_parameters():
    assert "alpha" in MLPClassifier(alpha=0.5)._repr_html_()


def test_verbose_prints_a_line_per_epoch(capsys):
    for solver in ("sgd", "lbfgs"):
        fitted(MLPRegressor(solver=solver, verbose=True, max_iter=2), X_diabetes, y_diabetes)
        assert capsys.readouterr().out.count("Iteration") == 2


def test_names_are_there_on_demand():
    assert cmlp.MLPClassifier is MLPClassifier
    assert "MLPRegressor" in dir(cmlp)
    with pytest.raises(AttributeError, match="no attribute 'MLPCluster'"):
        _ = cmlp.MLPCluster


def test_without_scikit_learn_the_extra_is_named(tmp_path):
    code = "import sys; sys.modules['sklearn'] = None; import cmlp; cmlp.MLPClassifier"
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=False, capture_output=True, text=True, env=environment
    )
    assert "ImportError" in result.stderr
    assert "scikit-learn is needed for the estimators: pip install scikit-learn " in result.stderr
