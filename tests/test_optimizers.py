"""Optimisers: their parameters. What they compute: test_optimizer_rules.py and test_full_batch.py."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmlp.optimizers import (
    LBFGS,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    GradientDescent,
    RMSprop,
    Rprop,
    as_optimizer,
    optimizer_from_config,
)
from cmlp.schedules import Constant, FromCallable, InverseScaling, InverseTime, LinearWarmup, PerEpoch, Plateau


def test_defaults():
    assert SGD() == SGD(learning_rate=0.01, momentum=0.0, nesterov=False, weight_decay=0.0)


@pytest.mark.parametrize(
    ("given", "kept", "schedule"),
    [
        (0.1, 0.1, Constant(0.1)),
        (1, 1.0, Constant(1.0)),
        (Constant(0.1), 0.1, Constant(0.1)),
        ([0.1, 0.2], PerEpoch((0.1, 0.2)), PerEpoch((0.1, 0.2))),
        (InverseTime(0.1), InverseTime(0.1), InverseTime(0.1)),
        (abs, FromCallable(abs), FromCallable(abs)),
    ],
)
def test_learning_rates(given, kept, schedule):
    optimizer = SGD(given)
    assert optimizer.learning_rate == kept
    assert type(optimizer.learning_rate) is type(kept)
    assert optimizer.schedule == schedule
    assert isinstance(hash(optimizer), int)


@given(
    learning_rate=st.one_of(
        st.floats(1e-6, 10.0),
        st.lists(st.floats(1e-6, 10.0), min_size=1, max_size=4),
        st.builds(InverseScaling, st.floats(1e-6, 10.0), st.floats(0, 2)),
    ),
    momentum=st.floats(0.0, 1.0, exclude_max=True),
    nesterov=st.booleans(),
    weight_decay=st.floats(0.0, 1.0),
)
def test_configurations_survive_json(learning_rate, momentum, nesterov, weight_decay):
    optimizer = SGD(learning_rate, momentum, nesterov and momentum > 0, weight_decay)
    assert optimizer_from_config(json.loads(json.dumps(optimizer.to_config()))) == optimizer


OTHERS = {
    "adam": Adam([0.1, 0.2], 0.8, 0.9, 1e-5, 0.1, amsgrad=True),
    "adamw": AdamW(Plateau(0.1)),
    "rmsprop": RMSprop(InverseTime(0.5), 0.9, 1e-3, 0.5, centered=True, weight_decay=0.1),
    "adagrad": Adagrad(LinearWarmup(Plateau(0.1), 5), 1e-3, 0.1),
    "rprop": Rprop(0.1, 1.5, 0.3, 1e-3, 10),
    "gradient_descent": GradientDescent(0.1, "exact", 0.2),
    "lbfgs": LBFGS(0.1, 1e-3, 0, 500, 20),
}


@pytest.mark.parametrize("name", OTHERS)
def test_every_optimiser_survives_json(name):
    optimizer = OTHERS[name]
    config = json.loads(json.dumps(optimizer.to_config()))
    assert config["name"] == name
    assert optimizer_from_config(config) == optimizer
    assert isinstance(hash(optimizer), int)
    assert as_optimizer(name) == type(optimizer)()
    for bad in ({**config, "extra": 1}, {**config, "weight_decay": -1}, {**config, "learning_rate": 0.1}):
        with pytest.raises(ValueError, match=r"malformed|weight_decay|schedule"):
            optimizer_from_config(bad)


def test_a_user_subclass_is_saved_as_what_it_derives_from():
    class Mine(AdamW):
        pass

    assert optimizer_from_config(Mine(0.1).to_config()) == AdamW(0.1)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Adam(amsgrad=1), TypeError, "amsgrad must be True or False, not 1 "),
        (lambda: AdamW(weight_decay=-1), ValueError, "0 <= weight_decay, not -1 "),
        (lambda: RMSprop(beta=1), ValueError, "0 <= beta < 1, not 1 "),
        (lambda: RMSprop(eps=0), ValueError, "0 < eps, not 0 "),
        (lambda: RMSprop(momentum=1), ValueError, "0 <= momentum < 1"),
        (lambda: RMSprop(centered="yes"), TypeError, "centered must be True or False"),
        (lambda: Adagrad(eps=-1), ValueError, "0 < eps"),
        (lambda: Adagrad(0), ValueError, "0 < learning_rate"),
        (lambda: Rprop(PerEpoch([0.1, 0.2])), TypeError, "learning_rate of Rprop must be a number"),
        (lambda: Rprop(lambda t: 0.1), TypeError, "learning_rate of Rprop must be a number"),
        (lambda: Rprop(100.0), ValueError, "min_step=1e-06 <= learning_rate <= max_step=50.0, not 100.0"),
        (lambda: Rprop(increase=1), ValueError, "1 < increase"),
        (lambda: Rprop(decrease=1), ValueError, "0 < decrease < 1"),
        (lambda: Rprop(min_step=0), ValueError, "0 < min_step"),
        (
            lambda: GradientDescent(line_search="Exact"),
            ValueError,
            "unknown line_search 'Exact'.* 'exact'",
        ),
        (lambda: GradientDescent(line_search=True), TypeError, "line_search must be a name"),
        (lambda: LBFGS(gtol=-1), ValueError, "0 <= gtol"),
        (lambda: LBFGS(ftol="0"), TypeError, "ftol must be"),
        (lambda: LBFGS(max_fun=0), ValueError, "max_fun must be an integer >= 1"),
        (lambda: LBFGS(history_size=1.5), TypeError, "history_size must be an integer"),
        (lambda: LBFGS(weight_decay=-1), ValueError, "0 <= weight_decay"),
    ],
)
def test_bad_parameters_of_the_others(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_function_cannot_be_saved():
    with pytest.raises(TypeError, match="cannot be saved"):
        SGD(lambda t: 0.1).to_config()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"learning_rate": 0}, ValueError, "0 < learning_rate, not 0 "),
        ({"learning_rate": np.nan}, ValueError, "learning_rate must be a finite number .*not nan"),
        ({"learning_rate": "0.1"}, TypeError, "learning_rate must be .*not '0.1'"),
        ({"learning_rate": None}, TypeError, "learning_rate must be .*not None"),
        ({"learning_rate": []}, ValueError, "learning_rates is empty"),
        ({"momentum": 1}, ValueError, "momentum must be a finite number with 0 <= momentum < 1, not 1 "),
        ({"momentum": -0.1}, ValueError, "0 <= momentum < 1, not -0.1"),
        ({"momentum": np.inf}, ValueError, "not inf"),
        ({"momentum": True}, TypeError, "momentum must be .*not True"),
        ({"momentum": [0.9]}, TypeError, "momentum must be"),
        ({"weight_decay": -1e-9}, ValueError, "0 <= weight_decay, not -1e-09"),
        ({"weight_decay": "l2"}, TypeError, "weight_decay must be .*not 'l2'"),
        ({"nesterov": True}, ValueError, "nesterov=True needs momentum > 0"),
        ({"nesterov": 1, "momentum": 0.9}, TypeError, "nesterov must be True or False, not 1 "),
        ({"nesterov": "yes", "momentum": 0.9}, TypeError, "nesterov must be True or False, not 'yes'"),
    ],
)
def test_bad_parameters(arguments, error, message):
    with pytest.raises(error, match=message) as caught:
        SGD(**arguments)
    assert "\n" not in str(caught.value)


def test_as_optimizer():
    optimizer = SGD(0.5)
    assert as_optimizer(optimizer) is optimizer
    assert as_optimizer(None) == as_optimizer("sgd") == SGD()


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ("SGD", ValueError, "unknown optimizer 'SGD' .*did you mean 'sgd'"),
        ("adadelta", ValueError, "unknown optimizer 'adadelta'"),
        (0.1, TypeError, r"optimizer must be .*cmlp.SGD\(0.01\).*not 0.1 "),
        (SGD, TypeError, "optimizer must be .*SGD"),
        ({"name": "sgd"}, TypeError, "optimizer must be"),
    ],
)
def test_what_is_no_optimizer(value, error, message):
    with pytest.raises(error, match=message):
        as_optimizer(value)


GOOD = SGD(0.1, momentum=0.9).to_config()


@pytest.mark.parametrize(
    "config",
    [
        None,
        "sgd",
        [],
        {},
        {**GOOD, "name": "sdg"},
        {**GOOD, "name": None},
        {**GOOD, "learning_rate": 0.1},
        {**GOOD, "learning_rate": None},
        {**GOOD, "momentum": 2},
        {**GOOD, "momentum": "0.9"},
        {**GOOD, "nesterov": 1},
        {**GOOD, "beta": 0.9},
        {key: value for key, value in GOOD.items() if key != "learning_rate"},
    ],
)
def test_malformed_configurations(config):
    with pytest.raises(ValueError, match=r"optimi[sz]er|schedule|momentum"):
        optimizer_from_config(config)


def test_the_good_configuration_is_good_and_left_alone():
    before = json.dumps(GOOD)
    assert optimizer_from_config(GOOD) == SGD(0.1, momentum=0.9)
    assert json.dumps(GOOD) == before


def test_optimizers_are_frozen():
    with pytest.raises(AttributeError):
        SGD().momentum = 0.5
