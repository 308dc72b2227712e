"""Losses of the estimators that scikit-learn's have not."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.estimators import (
    DATA,
    X_iris,
    X_labels,
    Y_labels,
    fitted,
    parameters_of,
    some_weights,
    y_iris,
)
from sklearn.base import clone
from sklearn.metrics import accuracy_score

import cmlp
from cmlp.estimators import MLPClassifier, MLPRegressor
from cmlp.losses import CrossEntropy


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


@pytest.mark.parametrize("data", ["three_classes", "two_classes", "labels"])
def test_label_smoothing_makes_cautious(data):
    _, X, y = DATA[data]
    settings = {"max_iter": 300, "learning_rate_init": 0.01, "alpha": 0, "random_state": 0}
    sharp, smooth = MLPClassifier(**settings), MLPClassifier(loss=CrossEntropy(0.3), **settings)
    most = [fitted(model, X, y).predict_proba(X).max() for model in (sharp, smooth)]
    assert most[0] > 0.99
    assert most[1] < 0.95
    assert smooth.score(X, y) > 0.9


@pytest.mark.parametrize("data", ["two_classes", "labels"])
@pytest.mark.parametrize("weights", [None, some_weights])
def test_label_smoothing_by_hand(data, weights):
    """One step of gradient descent from known weights: ∂ℓ/∂z = σ(z) - t with t = y (1 - ε) + ε/2."""
    _, X, y = DATA[data]
    eps, rate, s = 0.2, 0.5, np.ones(len(X)) if weights is None else weights[: len(X)]
    settings = {"hidden_layer_sizes": (), "alpha": 0, "batch_size": len(X), "shuffle": False, "random_state": 0}
    model = MLPClassifier(loss=CrossEntropy(eps), optimizer=cmlp.SGD(1e-300), max_iter=1, **settings)
    W, b = (array.copy() for array in parameters_of(fitted(model, X, y)))  # the next fit writes into these
    p = 1 / (1 + np.exp(-(X @ W + b)))
    t = np.where(y[:, None] == "yes" if data == "two_classes" else y, 0.9, 0.1)
    losses = -(t * np.log(p) + (1 - t) * np.log(1 - p)).sum(1)
    fitted(model.set_params(optimizer__learning_rate=rate), X, y, sample_weight=s, validation_data=(X, y))
    assert model.loss_ == pytest.approx((s * losses).sum() / s.sum())
    delta = s[:, None] * (p - t) / s.sum()
    np.testing.assert_allclose(model.coefs_[0], W - rate * X.T @ delta)
    np.testing.assert_allclose(model.intercepts_[0], b - rate * delta.sum(0))
    p = model.predict_proba(X)[:, 1:] if data == "two_classes" else model.predict_proba(X)
    expected = -(t * np.log(p) + (1 - t) * np.log(1 - p)).sum(1).mean()
    assert model.validation_loss_curve_ == [pytest.approx(expected)]
    assert model.validation_scores_ == [pytest.approx(accuracy_score(y, model.predict(X)))]


def test_no_smoothing_is_log_loss():
    for X, y in ((X_iris, y_iris), (X_iris, y_iris > 0), (X_labels, Y_labels)):
        models = [MLPClassifier(loss=loss, random_state=0, max_iter=5) for loss in ("log_loss", CrossEntropy(0))]
        a, b = (fitted(model, X, y) for model in models)
        assert np.array_equal(a.coefs_[0], b.coefs_[0])


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
