"""Predictions, and the kinds of X."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from helpers.estimators import (
    DATA,
    KINDS,
    X_iris,
    fitted,
    some_weights,
    y_iris,
)
from scipy import sparse
from sklearn.exceptions import NotFittedError

import cmlp
import cmlp.data.samples
from cmlp.estimators import MLPClassifier


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
