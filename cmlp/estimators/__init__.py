"""Estimators for scikit-learn: `MLPClassifier` and `MLPRegressor`, in place of those in `sklearn.neural_network`.

They take the same parameters, draw the same random numbers and follow the same rules, on top of `cmlp.MLP`. What they
share is in `base`, how they train in `rules`.
"""

try:
    import sklearn  # noqa: F401
except ModuleNotFoundError as error:
    if error.name is None or error.name.split(".")[0] != "sklearn":
        raise
    raise ImportError("the estimators need scikit-learn: `pip install cmlp[sklearn]`") from error

from cmlp.estimators.classifier import MLPClassifier
from cmlp.estimators.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
