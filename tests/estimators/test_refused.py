"""A fit that is refused leaves an estimator, its network and its random state as they were."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.estimators import X_iris, fitted, y_iris
from helpers.stateful import state_of_estimator

import cmlp

REFUSED = {
    "validation data that are no pair": ({}, {"validation_data": 3}),
    "validation data with unknown classes": ({}, {"validation_data": (X_iris, y_iris + 1)}),
    "weights that are all zero": ({}, {"sample_weight": np.zeros(150)}),
    "no callback": ({"callbacks": [3]}, {}),
    "a schedule that gives no rate": ({"optimizer": cmlp.SGD(lambda t: -1.0)}, {}),
    "a schedule that fails": ({"optimizer": cmlp.Adam(lambda t: 1 / t)}, {}),
    "an optimiser for all samples": ({"optimizer": cmlp.LBFGS()}, {}),
    "a dropout for other layers": ({"dropout": [0.1, 0.2, 0.3]}, {}),
    "a share that holds too few": ({"early_stopping": True, "validation_fraction": 0.001}, {}),
    "other layers in a warm start": ({"warm_start": True, "hidden_layer_sizes": (5,)}, {}),
}


CASES = [(how, once) for how in REFUSED for once in (True, False) if once or "warm" not in how]


@pytest.mark.parametrize(("how", "once"), CASES)
def test_a_refused_fit_has_changed_nothing(how, once):
    params, options = REFUSED[how]
    settings = {"hidden_layer_sizes": (4,), "max_iter": 2, "standardize": True}
    model = cmlp.MLPClassifier(**settings, random_state=np.random.RandomState(0))
    if once:
        fitted(model, X_iris, y_iris)
    model.set_params(**params)
    before = state_of_estimator(model)
    with pytest.raises((TypeError, ValueError, ZeroDivisionError)):
        fitted(model, X_iris, y_iris, **options)
    assert state_of_estimator(model) == before
    assert hasattr(model, "coefs_") == once


def test_a_refused_first_partial_fit_leaves_the_classes_open():
    model = cmlp.MLPClassifier((4,), random_state=0)
    with pytest.raises(ValueError, match="NaN"):
        model.partial_fit(X_iris * np.nan, y_iris, classes=[0, 1, 2])
    assert not hasattr(model, "classes_")
    model.partial_fit(X_iris[y_iris < 2], y_iris[y_iris < 2], classes=[0, 1])
    with pytest.raises(ValueError, match="NaN"):
        model.partial_fit(X_iris * np.nan, y_iris)
    assert model.classes_.tolist() == [0, 1]


def test_what_fails_after_an_epoch_keeps_it():
    calls = []

    def callback(model):
        calls.append(model.n_iter_)
        if len(calls) == 2:
            raise ValueError("enough")

    model = cmlp.MLPClassifier((4,), max_iter=5, random_state=0, callbacks=[callback])
    with pytest.raises(ValueError, match="enough"):
        model.fit(X_iris, y_iris)
    assert (model.n_iter_, len(model.loss_curve_)) == (2, 2)
    assert model.predict(X_iris).shape == (150,)
