"""Standardised inputs and missing entries."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from helpers.estimators import CURVE, KINDS, X_diabetes, X_iris, fitted, parameters_of, y_diabetes, y_iris
from scipy import sparse
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import cmlp
from cmlp.estimators import MLPClassifier, MLPRegressor

X_far = X_iris * [1, 10, 100, 0.1] + [5, 2, 1000, -3]  # one feature a scale
X_holes = np.where(np.random.default_rng(0).random(X_far.shape) < 0.2, np.nan, X_far)
X_filled = np.where(np.isnan(X_holes), np.nanmean(X_holes, axis=0), X_holes)
SETTINGS = {"max_iter": 4, "batch_size": 40, "random_state": 0}
NEEDY = [{"standardize": True}, {"missing": "mean"}, {"standardize": np.True_, "missing": "mean"}]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore")  # the checks fit many models that have not converged
def test_scikit_learns_checks(kind):
    model = getattr(cmlp, kind)(max_iter=100, standardize=True, missing="mean")
    equally = {"check_sample_weight_equivalence_on_dense_data": "in the scale, all rows weigh equally"}
    results = check_estimator(model, expected_failed_checks=equally)
    assert {result["check_name"] for result in results if result["status"] == "xfail"} == set(equally)
    assert sum(result["status"] == "passed" for result in results) > 40


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_standardize_is_a_scaler_before_the_network(kind, solver):
    model = fitted(getattr(cmlp, kind)(standardize=True, solver=solver, **SETTINGS), X_far, y_iris)
    pipeline = make_pipeline(StandardScaler(), getattr(cmlp, kind)(solver=solver, **SETTINGS))
    fitted(pipeline, X_far, y_iris)
    for ours, theirs in zip(parameters_of(model), parameters_of(pipeline[-1]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-8)
    method = "predict_proba" if kind == "MLPClassifier" else "predict"
    np.testing.assert_allclose(getattr(model, method)(X_far), getattr(pipeline, method)(X_far), rtol=1e-6)
    assert [model.predict_one(x) for x in X_far[:60:9]] == pytest.approx(model.predict(X_far[:60:9]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("standardize", [False, True])
def test_missing_entries_stand_for_the_mean(kind, solver, standardize):
    settings = {"standardize": standardize, "solver": solver, "alpha": 1.0, **SETTINGS}
    filled = fitted(getattr(cmlp, kind)(**settings), X_filled, y_iris)
    model = fitted(getattr(cmlp, kind)(missing="mean", **settings), X_holes, y_iris)
    if not standardize:
        for ours, theirs in zip(parameters_of(model), parameters_of(filled), strict=True):
            np.testing.assert_allclose(ours, theirs, **CURVE)
    np.testing.assert_allclose(model.network_.input_mean, np.nanmean(X_holes, axis=0))
    np.testing.assert_allclose(model.predict(X_holes), model.predict(X_filled), **CURVE)
    assert [model.predict_one(x) for x in X_holes[:60:9]] == pytest.approx(model.predict(X_filled[:60:9]))


def test_missing_entries_of_a_frame():
    frame = pd.DataFrame(X_holes, columns=list("abcd")).astype({"b": "Float64"})
    assert frame["b"].isna().any()
    model = fitted(MLPClassifier(missing="mean", **SETTINGS), frame, y_iris)
    same = fitted(MLPClassifier(missing="mean", **SETTINGS), X_holes, y_iris)
    assert np.array_equal(model.predict_proba(frame), same.predict_proba(X_holes))


def test_the_scale_is_learnt_from_what_is_trained_on():
    model = MLPClassifier(standardize=True, early_stopping=True, **SETTINGS)
    kept = fitted(model, X_far, y_iris).network_.input_mean
    assert not np.allclose(kept, X_far.mean(0), rtol=1e-6)
    X, y, X_new, y_new = X_far[::2], y_iris[::2], X_far[1::2], y_iris[1::2]
    fitted(model, X, y, validation_data=(X_new, y_new))
    np.testing.assert_allclose(model.network_.input_mean, X.mean(0))
    np.testing.assert_allclose(model.network_.input_scale, X.std(0))
    assert model.best_validation_score_ == model.score(X_new, y_new)
    fitted(model.set_params(early_stopping=False), X, y, validation_data=(X_new, y_new))
    assert model.validation_loss_curve_[-1] == pytest.approx(model.network_.evaluate(X_new, y_new).loss)


def test_early_stopping_scores_held_out_rows_on_the_scale():
    settings = {"early_stopping": True, "max_iter": 60, "learning_rate_init": 0.02, "random_state": 0}
    model = fitted(MLPClassifier(standardize=True, **settings), X_far, y_iris)
    assert model.best_validation_score_ > 0.9


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_warm_starts_keep_the_scale_and_fresh_ones_learn_it_anew(solver):
    model = fitted(MLPRegressor(standardize=True, solver=solver, warm_start=True, **SETTINGS), X_diabetes, y_diabetes)
    shifted = X_diabetes + 7
    fitted(model, shifted, y_diabetes)
    np.testing.assert_allclose(model.network_.input_mean, X_diabetes.mean(0), atol=1e-12)
    fitted(model.set_params(warm_start=False), shifted, y_diabetes)
    np.testing.assert_allclose(model.network_.input_mean, shifted.mean(0))
    fitted(model.set_params(standardize=False), X_diabetes, y_diabetes)
    assert model.network_.input_mean is None
    fitted(model.set_params(standardize=True, warm_start=True), shifted, y_diabetes)  # there was none to keep
    np.testing.assert_allclose(model.network_.input_mean, shifted.mean(0))


def test_partial_fit_brings_the_scale_up_to_date_as_the_network_does():
    X, y = X_far, y_iris.astype(float)
    model = MLPRegressor(
        standardize=True, optimizer=cmlp.SGD(0.01), alpha=0, shuffle=False, batch_size=25, random_state=0
    )
    model.partial_fit(X[:50], y[:50])
    network = copy.deepcopy(model.network_)
    model.partial_fit(X[50:], y[50:])
    network.partial_fit(X[50:], y[50:], batch_size=25)
    np.testing.assert_allclose(model.network_.input_mean, X.mean(0))
    np.testing.assert_allclose(model.network_.input_scale, X.std(0))
    np.testing.assert_allclose(model.coefs_[0], network.weights[0], **CURVE)


def test_a_feature_without_numbers_has_a_mean_only_in_a_stream():
    X = np.where([True, False, False, False], np.nan, X_far)
    with pytest.raises(ValueError, match="column 0 of X is NaN in every row"):
        MLPRegressor(missing="mean").fit(X, y_iris)
    model = MLPRegressor(missing="mean", random_state=0).partial_fit(X, y_iris).partial_fit(X_far, y_iris)
    np.testing.assert_allclose(model.network_.input_mean, X_far.mean(0))


@pytest.mark.parametrize("needy", NEEDY)
def test_a_sparse_X_is_not_centred(needy):
    model, X = MLPClassifier(**needy, **SETTINGS), sparse.csr_array(X_far)
    name = next(iter(needy))
    for sparse_X in (X, X.tocsc(), X.tocoo()):
        with pytest.raises(ValueError, match=rf"^{name}=.* sparse X, .*X\.toarray\(\)"):
            model.fit(sparse_X, y_iris)
    with pytest.raises(ValueError, match="sparse X"):
        model.partial_fit(X, y_iris, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="sparse X"):
        model.fit(X_far, y_iris, validation_data=(X, y_iris))
    fitted(model, X_far, y_iris)
    with pytest.raises(ValueError, match="sparse X"):
        model.predict(X)


@pytest.mark.parametrize("needy", [{}, *NEEDY])
def test_tags_and_checks_follow_the_parameters(needy):
    model = MLPRegressor(**needy, **SETTINGS)
    tags, allowed = model.__sklearn_tags__().input_tags, "missing" in needy
    assert (tags.allow_nan, tags.sparse) == (allowed, not needy)
    fitted(model, X_far, y_iris)
    for call in (lambda X: model.fit(X, y_iris), model.predict, lambda X: model.predict_one(X[0])):
        with pytest.raises(ValueError, match="inf"):
            call(np.where(X_far == X_far[0], np.inf, X_far))
        if not allowed:
            with pytest.raises(ValueError, match=r"NaN|nan"):
                call(np.where(X_far == X_far[0], np.nan, X_far))


def test_the_scale_stays_with_the_model(tmp_path):
    model = fitted(MLPRegressor(standardize=True, missing="mean", hidden_layer_sizes=[3], **SETTINGS), X_holes, y_iris)
    expected = model.predict(X_holes)
    for same in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert np.array_equal(same.predict(X_holes), expected)
    model.network_.save(tmp_path / "net.cmlp")
    assert np.array_equal(cmlp.load(tmp_path / "net.cmlp").predict(X_holes)[:, 0], expected)
    model.set_params(activation="tanh")
    mean, deviation = np.nanmean(X_holes, axis=0), np.nanstd(X_holes, axis=0)
    z = (X_filled - mean) / deviation @ model.coefs_[0] + model.intercepts_[0]
    np.testing.assert_allclose(model.predict(X_holes), (np.tanh(z) @ model.coefs_[1] + model.intercepts_[1])[:, 0])
    model.coefs_ = [np.ones((2, 1))]  # other inputs, which have no scale yet
    model.intercepts_ = [np.zeros(1)]
    assert model.network_.predict([[1.0, 2.0]]).item() == 3.0


def test_float32_is_scaled_in_float32():
    model = fitted(MLPRegressor(standardize=True, **SETTINGS), X_far.astype(np.float32), y_iris)
    assert model.predict(X_far).dtype == model.coefs_[0].dtype == np.float32
    assert np.isfinite(model.loss_)
