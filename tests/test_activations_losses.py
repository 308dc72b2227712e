"""Names of activations and losses."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import cmlp
from cmlp.activations import ACTIVATIONS, activation_id
from cmlp.losses import (
    LOSSES,
    NATURAL_OUTPUT,
    CrossEntropy,
    Huber,
    Loss,
    Quantile,
    is_fused,
    loss_from_config,
    loss_id,
    loss_name,
    loss_parameter,
    loss_to_config,
)


@pytest.mark.parametrize(
    ("lookup", "given", "meant"),
    [
        (activation_id, "sigmod", "sigmoid"),
        (activation_id, "ReLU", "relu"),
        (activation_id, "leaky-relu", "leaky_relu"),
        (activation_id, "Leaky ReLU", "leaky_relu"),
        (loss_id, "crossentropy", "cross_entropy"),
        (loss_id, "Squared-Error", "squared_error"),
    ],
)
def test_a_misspelt_name_is_guessed(lookup, given, meant):
    with pytest.raises(ValueError, match=f"unknown .*'{given}' .*did you mean '{meant}'"):
        lookup(given)


@pytest.mark.parametrize("lookup", [activation_id, loss_id])
def test_a_far_off_name_lists_the_known_ones(lookup):
    with pytest.raises(ValueError, match="'qqqq'") as caught:
        lookup("qqqq")
    known = ACTIVATIONS if lookup is activation_id else LOSSES
    assert all(repr(name) in str(caught.value) for name in known)
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize("lookup", [activation_id, loss_id])
@pytest.mark.parametrize("given", [None, 0, 1.5, ["relu"], {"relu"}, b"relu", activation_id])
def test_a_name_must_be_a_str(lookup, given):
    with pytest.raises(TypeError, match="must be a name, not"):
        lookup(given)


def test_an_enormous_name_makes_a_short_message():
    with pytest.raises(ValueError, match="unknown activation") as caught:
        activation_id("x\n" * 10**5)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def test_natural_outputs_cover_every_loss():
    assert set(NATURAL_OUTPUT) == set(LOSSES)
    assert set(NATURAL_OUTPUT.values()) <= set(ACTIVATIONS)


def test_exactly_three_pairs_are_fused():
    fused = {(loss, activation) for loss in LOSSES for activation in ACTIVATIONS if is_fused(loss, activation)}
    assert fused == {("cross_entropy", "softmax"), ("binary_cross_entropy", "sigmoid"), ("poisson", "exp")}


@pytest.mark.parametrize("pair", [("cross_entropy", "sofmax"), ("crossentropy", "softmax")])
def test_a_misspelt_pair_is_not_taken_for_an_unfused_one(pair):
    with pytest.raises(ValueError, match="did you mean"):
        is_fused(*pair)


# ------------------------------------------------------------------------------------ losses with a parameter

PARAMETRISED = [Huber(0.25), Quantile(0.9), CrossEntropy(0.1)]


@pytest.mark.parametrize("loss", PARAMETRISED, ids=repr)
def test_a_loss_with_a_parameter_is_the_loss_of_its_name(loss):
    assert loss_id(loss) == loss_id(loss.name)
    assert loss_name(loss) == loss.name == loss_name(loss.name)
    assert is_fused(loss, NATURAL_OUTPUT[loss.name]) == is_fused(loss.name, NATURAL_OUTPUT[loss.name])
    assert loss_parameter(loss) == loss.parameter != loss_parameter(loss.name) == type(loss)().parameter


def test_losses_are_values():
    assert Huber(2) == Huber(delta=2.0) != Huber(3)
    assert Huber(0.5) != Quantile(0.5)
    assert len({Huber(), Huber(1.0), Quantile(), CrossEntropy(), CrossEntropy(0)}) == 3
    assert repr(CrossEntropy(0.1)) == "CrossEntropy(label_smoothing=0.1)"
    assert type(Huber(np.float32(0.5)).delta) is float
    with pytest.raises(AttributeError):
        Huber().delta = 2


@pytest.mark.parametrize("kind", [Huber, Quantile, CrossEntropy])
@pytest.mark.parametrize("value", [-1, np.inf, np.nan, 10**400])
def test_a_parameter_out_of_range_is_a_value_error_that_names_it(kind, value):
    with pytest.raises(ValueError, match=r"(delta|q|label_smoothing) must be a finite number with .*, not"):
        kind(value)


def test_parameters_at_the_edge_of_their_range():
    assert CrossEntropy(0).label_smoothing == 0
    for kind, value in [(Huber, 0), (Quantile, 0), (Quantile, 1), (CrossEntropy, 1)]:
        with pytest.raises(ValueError, match="must be a finite number with"):
            kind(value)
    for kind in (Huber, Quantile, CrossEntropy):
        for value in ("1", None, True, [0.5]):
            with pytest.raises(TypeError, match="must be a finite number"):
                kind(value)


@pytest.mark.parametrize("loss", [*LOSSES, *PARAMETRISED], ids=str)
def test_networks_keep_their_loss(loss, tmp_path):
    net = cmlp.MLP([3, 2], loss=loss, seed=0)
    net.save(tmp_path / "net")
    for other in (net, cmlp.load(tmp_path / "net"), pickle.loads(pickle.dumps(net))):
        assert other.loss == loss
        assert type(other.loss) is type(loss)
        assert repr(other) == f"MLP([3, 2], loss={loss!r})"
    assert loss_from_config(loss_to_config(loss)) == loss


def test_a_loaded_network_goes_on_with_the_same_parameter(tmp_path):
    net = cmlp.MLP([3, 2], loss=Huber(0.01), seed=0)
    net.save(tmp_path / "net")
    x, y = [1, 2, 3], [5, -5]
    assert cmlp.load(tmp_path / "net").learn_one(x, y) == net.learn_one(x, y) < 1


@pytest.mark.parametrize(
    "config",
    [
        None,
        3,
        [],
        {},
        "hubris",
        {"name": "squared_error"},
        {"name": ["huber"]},
        {"name": "huber", "delta": 0},
        {"name": "huber", "delta": True},
        {"name": "huber", "delta": "1"},
        {"name": "huber", "q": 0.5},
        {"name": "huber", "__class__": 1},
        {"name": "quantile", "q": 2},
    ],
    ids=str,
)
def test_a_malformed_loss_is_a_value_error(config):
    with pytest.raises(ValueError, match=r"malformed loss|unknown loss|must be a finite number"):
        loss_from_config(config)
    with pytest.raises(ValueError, match=r"malformed loss|unknown loss|must be a finite number"):
        cmlp.Network.from_config({**cmlp.MLP([3, 2]).config(), "loss": config})


def test_the_base_class_is_no_loss():
    with pytest.raises(ValueError, match="unknown loss ''"):
        cmlp.MLP([2, 1], loss=Loss())


# --------------------------------------------------------------------------------------------- alpha of layers


def test_alpha_has_a_default_for_each_activation_and_is_kept_where_it_is_given(tmp_path):
    assert repr(cmlp.Dense(2, "elu")) == "Dense(n_outputs=2, activation='elu', alpha=1.0)"
    assert repr(cmlp.Dense(2, "leaky_relu")) == "Dense(n_outputs=2, activation='leaky_relu', alpha=0.01)"
    for alpha, slope in [(None, np.expm1(-1)), (0.5, 0.5 * np.expm1(-1))]:
        layers = cmlp.chain(cmlp.Dense(1, "elu", alpha=alpha), cmlp.Activation("elu", alpha))
        net = cmlp.Network(layers, 1, dtype="float64")
        net.weights[0][...], net.biases[0][...] = 1, 0
        net.save(tmp_path / "net")
        for other in (net, cmlp.load(tmp_path / "net")):
            assert other.layers == net.layers
            expected = np.expm1(slope) * (alpha or 1)
            np.testing.assert_allclose(other.predict([[-1.0]]), [[expected]], rtol=1e-15)
