"""What an estimator keeps: copies, its arrays, a second fit, files."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from helpers.estimators import (
    X_diabetes,
    X_iris,
    fitted,
    parameters_of,
    y_diabetes,
    y_iris,
)

import cmlp
from cmlp.estimators import MLPClassifier, MLPRegressor


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


@pytest.mark.parametrize("name", ["coefs_", "intercepts_"])
def test_lists_of_another_length_are_refused(name):
    model = fitted(MLPRegressor(hidden_layer_sizes=(3,), max_iter=2, random_state=0), X_diabetes, y_diabetes)
    setattr(model, name, getattr(model, name)[:1])
    with pytest.raises(ValueError, match=r"^intercepts_ must hold \d arrays, one per layer of weights, got \d"):
        model.predict(X_diabetes)


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
