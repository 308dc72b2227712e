"""Parameters: names, limits, how scikit-learn's tools see them."""

from __future__ import annotations

import ast
import html
import inspect
import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import sklearn
import sklearn.neural_network
from helpers.estimators import (
    KINDS,
    X_diabetes,
    X_iris,
    fitted,
    parameters_of,
    some_weights,
    y_diabetes,
    y_iris,
)
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import cmlp
from cmlp.estimators import MLPClassifier, MLPRegressor
from cmlp.initializers import INITIALIZERS


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
        {"init": "xavier"},
        {"standardize": "yes"},
        {"missing": "median"},
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_wrong_parameters_are_refused(kind, wrong):
    with pytest.raises(ValueError, match=f"The '{next(iter(wrong))}' parameter"):
        getattr(cmlp, kind)(**wrong).fit(X_iris, y_iris)


# ---------------------------------------------------------------------------------------------------- descriptions


def described(kind, title):
    """Name and type of everything that a section of the docstring describes."""
    section = re.search(rf"\n{title}\n-+\n(.*?)\n\n", inspect.getdoc(kind), re.DOTALL)[1]
    return dict(re.findall(r"^(\w+) : (.+)\n    \S", section, re.MULTILINE))


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_every_parameter_is_described_with_its_default(kind):
    parameters, found = inspect.signature(kind).parameters, described(kind, "Parameters")
    assert list(found) == list(parameters)
    assert set(found) == set(kind().get_params())
    for name, words in found.items():
        assert ast.literal_eval(words.rpartition(", default ")[2]) == parameters[name].default


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_every_attribute_is_described(kind):
    model = fitted(kind(max_iter=2), pd.DataFrame(X_iris, columns=list("abcd")), y_iris)
    assert set(described(kind, "Attributes")) == {name for name in vars(model) if name.endswith("_")} | {"network_"}


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_notebooks_show_the_descriptions(kind):
    shown = kind(alpha=0.5, optimizer=cmlp.SGD(0.1))._repr_html_()
    for name, words in described(kind, "Parameters").items():
        assert html.escape(f"{name}: {words}") in shown


def test_estimators_do_without_docstrings(tmp_path):
    code = "import cmlp; assert cmlp.MLPClassifier.__doc__ is None; print(cmlp.MLPRegressor(alpha=1))"
    command = [sys.executable, "-I", "-OO", "-c", code]
    shown = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert shown == "MLPRegressor(alpha=1)\n"


# --------------------------------------------------------------------------------------------------- initial weights


@pytest.mark.parametrize("init", INITIALIZERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_init_draws_as_the_network_does(init, dtype):
    settings = {"hidden_layer_sizes": (5, 4), "init": init, "dtype": dtype, "optimizer": cmlp.SGD(1e-40), "alpha": 0}
    model = MLPRegressor(max_iter=1, random_state=3, **settings)
    fitted(model, X_diabetes, y_diabetes)
    seed = np.random.RandomState(3).randint(np.iinfo(np.int32).max)
    network = cmlp.MLP([10, 5, 4, 1], init=init, bias_init=init, seed=seed, dtype=dtype)
    for ours, theirs in zip(parameters_of(model), (*network.weights, *network.biases), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-30)
    other = fitted(clone(model).set_params(random_state=4), X_diabetes, y_diabetes)
    assert np.array_equal(other.coefs_[0], model.coefs_[0]) == (init == "zeros")


# ----------------------------------------------------------------------------------------- fields of declared values


def test_parameters_reach_into_declared_values():
    schedule = cmlp.schedules.Exponential(0.1, factor=0.9)
    model = MLPRegressor(loss=cmlp.losses.Huber(2.0), optimizer=cmlp.SGD(schedule, averaging=cmlp.EMA(0.5)))
    params = model.get_params()
    assert params["optimizer__learning_rate"] is schedule
    assert (params["optimizer__momentum"], params["loss__delta"], params["optimizer__averaging__decay"]) == (0, 2, 0.5)
    assert not [name for name in model.get_params(deep=False) if "__" in name]
    before = model.optimizer
    model.set_params(optimizer__learning_rate__factor=0.8, optimizer__momentum=0.7, loss__delta=1, alpha=2)
    assert model.optimizer == cmlp.SGD(cmlp.schedules.Exponential(0.1, factor=0.8), 0.7, averaging=cmlp.EMA(0.5))
    assert (model.loss, model.alpha) == (cmlp.losses.Huber(1.0), 2)
    assert before.momentum == 0
    model.set_params(optimizer__learning_rate=0.5, optimizer=cmlp.Adam(eps=1e-3))
    assert model.optimizer == cmlp.Adam(0.5, eps=1e-3)
    model.set_params(optimizer__learning_rate__factor=0.5, optimizer__learning_rate=schedule)
    assert model.optimizer.learning_rate == cmlp.schedules.Exponential(0.1, factor=0.5)
    assert clone(model.set_params(optimizer__learning_rate=0.5)).optimizer == model.optimizer
    assert model.set_params(**model.get_params()).optimizer == cmlp.Adam(0.5, eps=1e-3)


def test_a_grid_reaches_into_the_optimizer():
    pipeline = make_pipeline(StandardScaler(), MLPRegressor(optimizer=cmlp.SGD(), max_iter=3, random_state=0))
    grid = {"mlpregressor__optimizer__learning_rate": [1e-9, 0.1], "mlpregressor__optimizer__momentum": [0.0, 0.9]}
    search = fitted(GridSearchCV(pipeline, grid, cv=2), X_diabetes, y_diabetes)
    assert search.best_params_["mlpregressor__optimizer__learning_rate"] == 0.1
    assert search.best_estimator_[-1].optimizer.learning_rate == 0.1
    assert len(set(search.cv_results_["mean_test_score"])) == 4
    assert pipeline.get_params()["mlpregressor__optimizer__learning_rate"] == 0.01


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alfa": 1}, r"Invalid parameter 'alfa' for estimator MLPRegressor\(.*Valid parameters are: \['activation', "),
        ({"optimiser__momentum": 1}, r"Invalid parameter 'optimiser' for estimator MLPRegressor\(.*Valid"),
        ({"optimizer__lr": 1}, r"Invalid parameter 'lr' for estimator optimizer=SGD\(.*Valid .*'learning_rate', "),
        ({"optimizer__learning_rate__factor": 1}, r"'factor' for estimator optimizer__learning_rate=0.01\. .*: \[\]"),
        ({"alpha__beta": 1}, r"Invalid parameter 'beta' for estimator alpha=0.0001\. Valid parameters are: \[\]"),
        ({"optimizer": None, "optimizer__l1": 1}, r"Invalid parameter 'l1' for estimator optimizer=None\. "),
        ({"optimizer__momentum": 2}, r"momentum must be a finite number with 0 <= momentum < 1, not 2"),
    ],
)
def test_what_is_no_parameter_is_refused(changes, message):
    model = MLPRegressor(optimizer=cmlp.SGD())
    with pytest.raises(ValueError, match=message):
        model.set_params(**changes)
    assert model.get_params()["alpha"] == 0.0001


# ------------------------------------------------------------------------------------------ among scikit-learn's tools


def test_metadata_is_routed():
    with sklearn.config_context(enable_metadata_routing=True):
        model = MLPRegressor(max_iter=3, random_state=0).set_fit_request(sample_weight=True)
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), model)
        fitted(pipeline, X_diabetes, y_diabetes, sample_weight=some_weights)
    same = MLPRegressor(max_iter=3, random_state=0)
    fitted(same, StandardScaler().fit_transform(X_diabetes), y_diabetes, sample_weight=some_weights)
    assert np.array_equal(pipeline[-1].coefs_[0], same.coefs_[0])


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
