"""Data and small steps that the tests of the estimators share."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.datasets import load_diabetes, load_iris, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

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


def fitted(estimator, X, y, **arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(X, y, **arguments)


def parameters_of(estimator):
    return [*estimator.coefs_, *estimator.intercepts_]
