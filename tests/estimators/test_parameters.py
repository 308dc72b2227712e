"""Parameters: names, limits, how scikit-learn's tools see them."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import sklearn
import sklearn.neural_network
from helpers.estimators import (
    KINDS,
    X_diabetes,
    X_iris,
    fitted,
    some_weights,
    y_diabetes,
    y_iris,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import cmlp
from cmlp.estimators import MLPClassifier, MLPRegressor


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_are_those_of_scikit_learn_and_more(kind):
    theirs, ours = getattr(sklearn.neural_network, kind)(), getattr(cmlp, kind)()
    assert theirs.get_params().items() <= ours.get_params().items()
    assert set(ours._parameter_constraints) == set(ours.get_params())


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
