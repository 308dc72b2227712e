"""Names of activations and losses."""

from __future__ import annotations

import pytest

from cmlp.activations import ACTIVATIONS, activation_id
from cmlp.losses import LOSSES, NATURAL_OUTPUT, is_fused, loss_id


def test_ids_are_those_of_the_kernels():
    names = ["identity", "relu", "leaky_relu", "sigmoid", "tanh", "softmax"]
    assert [activation_id(name) for name in names] == list(range(6))
    names = ["squared_error", "cross_entropy", "binary_cross_entropy"]
    assert [loss_id(name) for name in names] == list(range(3))


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
    assert len(str(caught.value)) < 200
    assert "\n" not in str(caught.value)


def test_natural_outputs_cover_every_loss():
    assert set(NATURAL_OUTPUT) == set(LOSSES)
    assert set(NATURAL_OUTPUT.values()) <= set(ACTIVATIONS)


def test_exactly_two_pairs_are_fused():
    fused = {(loss, activation) for loss in LOSSES for activation in ACTIVATIONS if is_fused(loss, activation)}
    assert fused == {("cross_entropy", "softmax"), ("binary_cross_entropy", "sigmoid")}


@pytest.mark.parametrize("pair", [("cross_entropy", "sofmax"), ("crossentropy", "softmax")])
def test_a_misspelt_pair_is_not_taken_for_an_unfused_one(pair):
    with pytest.raises(ValueError, match="did you mean"):
        is_fused(*pair)
