"""Declared values: what every family of them can do. What the bounds are: the tests of each family."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

import cmlp
from cmlp._base.fields import (
    Declared,
    checked,
    choice,
    count,
    declared,
    flag,
    from_config,
    members,
    number,
    settings_of,
)
from cmlp.averaging import EMA, SWA, Averaging
from cmlp.layers import Activation, Dense, Dropout, Identity, Layer, add, chain, concatenate
from cmlp.losses import CrossEntropy, Huber, Loss, Quantile
from cmlp.optimizers import LBFGS, SGD, Adagrad, Adam, AdamW, GradientDescent, Optimizer, RMSprop, Rprop
from cmlp.schedules import (
    Constant,
    CosineRestarts,
    Exponential,
    InverseScaling,
    InverseTime,
    LinearWarmup,
    OneCycle,
    PerEpoch,
    Plateau,
    Schedule,
    StepDecay,
)

# A value of every class, no field of it at its default where that is possible.
EXAMPLES = {
    Averaging: [EMA(0.9), SWA(3)],
    Layer: [
        Dense(3, "elu", False, "zeros", "he_uniform", 0.5),
        Activation("leaky_relu", 0.1),
        Identity(),
        Dropout(0.5),
        chain(Dense(2), Identity()),
        concatenate(Dense(2), chain(Dense(1))),
        add(Dense(2), Dense(2)),
    ],
    Loss: [Huber(0.5), Quantile(0.9), CrossEntropy(0.1)],
    Optimizer: [
        SGD(0.1, 0.9, True, 0.01, l1=0.1, max_norm=3, averaging=SWA(2)),
        Adam(PerEpoch([0.1, 0.2]), 0.8, 0.9, 1e-5, 0.1, True, averaging=EMA(0.9)),
        AdamW(LinearWarmup(Plateau(0.1), 5)),
        RMSprop(InverseTime(0.5), 0.9, 1e-3, 0.5, True, 0.1),
        Adagrad(0.2, 1e-3, 0.1),
        Rprop(0.1, 1.5, 0.3, 1e-3, 10),
        GradientDescent(0.1, "exact", 0.2),
        LBFGS(0.1, 1e-3, 0, 500, 20),
    ],
    Schedule: [
        Constant(0.1),
        InverseTime(0.1),
        InverseScaling(0.1, 0.25),
        PerEpoch([0.1, 0.2]),
        StepDecay(0.1, 5, 0.5),
        Exponential(0.1, 0.5, 7),
        CosineRestarts(0.1, 5, 2, 0.01),
        LinearWarmup(Exponential(0.1, 0.5), 3),
        OneCycle(0.1, 9, 0.5, 10, 100),
        Plateau([0.1, 0.2], 0.5, 3, 0.01),
    ],
}
VALUES = [value for values in EXAMPLES.values() for value in values]


@declared
class Shape(Declared):
    pass


@declared
class Ring(Shape):
    name: ClassVar[str] = "ring"

    radius: float = number(above=0, setting="r")
    n_links: int = count(default=2)
    closed: bool = flag(default=True, setting="closed")
    metal: str | None = choice(["gold", "iron"], default=None)
    gap: float | None = number(default=None, minimum=0, below=1, kw_only=True, setting="gap")

    def _check(self):
        if self.closed and self.gap:
            raise ValueError("a closed ring has no gap")


# ------------------------------------------------------------------------------------------------- one value


def test_values_are_kept_as_the_checks_return_them():
    ring = Ring(np.float32(2), np.int64(3), gap=np.array(0.0))
    assert (ring.radius, ring.n_links, ring.gap) == (2.0, 3, 0.0)
    assert [type(value) for value in vars(ring).values()] == [float, int, bool, type(None), float]
    assert ring == Ring(2, 3, gap=0)
    assert len({ring, Ring(2, 3, gap=0), Ring(2)}) == 2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"radius": 0}, ValueError, r"^radius must be a finite number with 0 < radius, not 0 \(int\)$"),
        ({"radius": None}, TypeError, "radius must be a finite number with 0 < radius, not None$"),
        ({"radius": 1, "n_links": 0}, ValueError, "n_links must be an integer >= 1, not 0"),
        ({"radius": 1, "n_links": None}, TypeError, "n_links must be an integer >= 1, not None"),
        ({"radius": 1, "closed": 1}, TypeError, "closed must be True or False, not 1 "),
        ({"radius": 1, "metal": "Gold"}, ValueError, "unknown metal 'Gold' .*did you mean 'gold'"),
        ({"radius": 1, "gap": 1}, ValueError, "gap must be a finite number with 0 <= gap < 1, not 1 "),
        ({"radius": 1, "gap": 0.5}, ValueError, "^a closed ring has no gap$"),
        ({}, TypeError, "missing 1 required positional argument: 'radius'"),
        ({"radius": 1, "gab": 0}, TypeError, r"^Ring\(\) got an unexpected .* 'gab': did you mean 'gap'\?$"),
    ],
)
def test_what_the_declarations_refuse(arguments, error, message):
    with pytest.raises(error, match=message):
        Ring(**arguments)


def test_a_default_of_none_may_be_given_and_what_is_only_a_keyword_is_shown_where_it_is_set():
    assert Ring(1, metal=None, gap=None) == Ring(1)
    assert repr(Ring(1)) == "Ring(radius=1.0, n_links=2, closed=True, metal=None)"
    assert repr(Ring(1, closed=False, gap=0.5)) == "Ring(radius=1.0, n_links=2, closed=False, metal=None, gap=0.5)"
    with pytest.raises(TypeError, match="positional argument"):
        Ring(1, 2, True, None, 0.5)


def test_settings_are_what_the_fields_say_and_none_decides_nothing():
    assert settings_of(Ring(1)) == {"r": 1.0, "closed": True}
    assert settings_of(Ring(1, closed=False, gap=0.5)) == {"r": 1.0, "closed": False, "gap": 0.5}


def test_the_signature_is_that_of_the_fields():
    assert list(inspect.signature(Ring).parameters) == ["radius", "n_links", "closed", "metal", "gap"]
    assert inspect.signature(SGD).parameters["momentum"].default == 0.0


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_are_frozen_copied_and_pickled(value):
    for twin in (copy.deepcopy(value), pickle.loads(pickle.dumps(value)), replace(value)):
        assert twin == value
        assert hash(twin) == hash(value)
        assert repr(twin) == repr(value)
    for name in vars(value):
        with pytest.raises(AttributeError):
            setattr(value, name, 1)


# --------------------------------------------------------------------------------------------- configuration


@pytest.mark.parametrize("family", EXAMPLES)
def test_every_member_of_a_family_is_found_by_its_name(family):
    named = {getattr(type(value), family.config_key): type(value) for value in EXAMPLES[family]}
    assert members(family) == named


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_configurations_survive_json(value):
    family = next(family for family in EXAMPLES if isinstance(value, family))
    config = value.to_config()
    assert json.loads(json.dumps(config, allow_nan=False)) == config
    before = json.dumps(config)
    assert from_config(family, config) == value
    assert json.dumps(config) == before
    with pytest.raises(ValueError, match=rf"malformed {family.noun} .*'extra'"):
        from_config(family, {**config, "extra": 1})


@pytest.mark.parametrize(
    ("value", "config"),
    [
        (
            SGD(0.1, averaging=EMA(0.9)),
            {
                "name": "sgd",
                "learning_rate": {"name": "constant", "learning_rate": 0.1},
                "l1": 0.0,
                "max_norm": None,
                "averaging": {"name": "ema", "decay": 0.9},
                "momentum": 0.0,
                "nesterov": False,
                "weight_decay": 0.0,
            },
        ),
        (
            LBFGS(),
            {
                "name": "lbfgs",
                "weight_decay": 0.0,
                "gtol": 1e-5,
                "ftol": 2.220446049250313e-09,
                "max_fun": 15000,
                "history_size": 10,
            },
        ),
        (LinearWarmup(0.1, 3), {"name": "linear_warmup", "learning_rate": 0.1, "steps": 3}),
        (PerEpoch([0.1, 0.2]), {"name": "per_epoch", "learning_rates": [0.1, 0.2]}),
        (Huber(0.5), {"name": "huber", "delta": 0.5}),
        (
            chain(Dense(2, init=np.ones((3, 2))), Activation("elu", 0.5)),
            {
                "kind": "chain",
                "layers": [
                    {
                        "kind": "dense",
                        "n_outputs": 2,
                        "activation": "identity",
                        "bias": True,
                        "bias_init": "he_normal",
                    },
                    {"kind": "activation", "name": "elu", "alpha": 0.5},
                ],
            },
        ),
    ],
    ids=repr,
)
def test_the_form_that_files_have(value, config):
    assert value.to_config() == config
    assert list(value.to_config()) == list(config)


def test_what_a_configuration_leaves_out_is_the_default():
    assert from_config(Schedule, {"name": "plateau", "learning_rate": 0.1}) == Plateau(0.1)
    with pytest.raises(ValueError, match=r"malformed schedule .*missing 1 required positional argument: 'every'"):
        from_config(Schedule, {"name": "step_decay", "learning_rate": 0.1})


@pytest.mark.parametrize(
    ("family", "config", "message"),
    [
        (Loss, None, "malformed loss None: expected a dict with its 'name', at most 50 deep"),
        (Layer, [], r"malformed layer \[\] \(list\): expected a dict with its 'kind'"),
        (Optimizer, {}, "malformed optimiser .*optimiser must be a name, not None; known: 'sgd', 'adam', 'adamw'"),
        (Schedule, {"name": "constnat"}, "unknown schedule 'constnat' .*did you mean 'constant'"),
        (Averaging, {"name": "EMA"}, "unknown averaging 'EMA' .*did you mean 'ema'"),
        (Averaging, {"name": "swa", "start": 0.5}, "malformed averaging .*start must be an integer >= 0"),
        (Averaging, {"name": "swa", "start": -1}, "^start must be an integer >= 0, not -1"),
        (Layer, {"kind": "chain", "layers": [3]}, r"malformed layer 3 \(int\)"),
        (Layer, {"kind": "chain", "layers": {"kind": "identity"}}, "layers|takes layers"),
        (Layer, {"kind": "_composite", "layers": []}, "unknown layer '_composite'"),
        (Schedule, {"name": "plateau", "learning_rate": {"name": "sgd"}}, "unknown schedule 'sgd'"),
        (Schedule, {"name": "from_callable", "function": "exit"}, "unknown schedule 'from_callable'"),
    ],
)
def test_malformed_configurations(family, config, message):
    with pytest.raises(ValueError, match=message):
        from_config(family, config)


def test_a_hostile_depth_is_a_value_error():
    config = 0.1
    for _ in range(900):
        config = {"name": "linear_warmup", "learning_rate": config, "steps": 3}
    with pytest.raises(ValueError, match=r"malformed schedule .*at most 50 deep"):
        from_config(Schedule, config)


# ------------------------------------------------------------------------------------ classes that users derive


def test_a_class_of_the_users_is_saved_as_its_base_and_never_found():
    class Mine(Adam):
        name = "mine"

    assert Mine(0.1).to_config() == Adam(0.1).to_config()
    assert "mine" not in members(Optimizer)
    with pytest.raises(ValueError, match="unknown optimizer 'mine'"):
        cmlp.MLP([1, 1], optimizer="mine")


def test_what_has_no_named_base_cannot_be_saved():
    class Mine(Layer):
        pass

    with pytest.raises(TypeError, match="a Mine cannot be saved: it is no layer of cmlp's"):
        chain(Dense(1), Mine()).to_config()


def test_plain_dataclasses_may_derive_from_declared_ones():
    @dataclass(frozen=True)
    class Mine(SGD):
        extra: float = 2.0

    assert Mine(1, extra=3).learning_rate == 1.0
    assert Mine(extra=3) == Mine(extra=3) != Mine(extra=4)
    with pytest.raises(ValueError, match="0 <= momentum"):
        Mine(momentum=-1)


def test_plain_classes_may_derive_from_a_family():
    class Mine(Schedule):
        def __init__(self, rate):
            self.rate = rate

        def rates(self, first_step, n_steps, epoch):
            return np.array([self.rate])

    schedule = Mine(0.5)
    schedule.rate = 0.25
    assert SGD(schedule).schedule.rates(0, 1, 0).tolist() == [0.25]
    assert repr(schedule).endswith(f"Mine object at {id(schedule):#x}>")
    assert schedule != Mine(0.25)
    with pytest.raises(TypeError, match="a Mine schedule cannot be saved"):
        SGD(schedule).to_config()


def test_a_subclass_of_constant_keeps_its_own_rates():
    class Half(Constant):
        def rates(self, first_step, n_steps, epoch):
            return super().rates(first_step, n_steps, epoch) / 2

    assert SGD(Half(0.5)).schedule.rates(0, 1, 0).tolist() == [0.25]


def test_a_field_without_a_check_takes_anything():
    @declared
    class Box(Declared):
        content: object = checked(default=None)

    assert Box([1]).content == [1]
