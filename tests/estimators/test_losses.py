"""Losses of the estimators that scikit-learn's have not."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.estimators import (
    DATA,
    X_iris,
    fitted,
    y_iris,
)
from sklearn.base import clone
from sklearn.metrics import accuracy_score

import cmlp
from cmlp.estimators import MLPClassifier, MLPRegressor


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
