"""Estimators for scikit-learn: `MLPClassifier` and `MLPRegressor`, in place of those in `sklearn.neural_network`.

They take the same parameters, draw the same random numbers and follow the same rules, on top of `cmlp.MLP`. What they
share is in `base`, how they train in `rules`.
"""

from cmlp._base.extras import import_extra

import_extra("sklearn", "the estimators")

from cmlp.estimators.classifier import MLPClassifier  # noqa: E402  # scikit-learn is missed first
from cmlp.estimators.regressor import MLPRegressor  # noqa: E402

__all__ = ["MLPClassifier", "MLPRegressor"]
