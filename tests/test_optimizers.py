"""Optimisers: their parameters. What SGD computes is tested with the training loop."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmlp.optimizers import SGD, as_optimizer, optimizer_from_config
from cmlp.schedules import Constant, FromCallable, InverseScaling, InverseTime, PerEpoch


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
