"""Layers as values. What they compute and how they are lowered: tests/_engine/test_program.py."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.cases import COMPOSITIONS

import cmlp
from cmlp.layers import Activation, Add, Chain, Concatenate, Dense, Dropout, Identity, add, chain, concatenate

NAMES = {name: getattr(cmlp, name) for name in cmlp.__all__}


def test_a_short_composition_is_shown_as_the_call_that_makes_it():
    assert repr(chain(Dense(8, "relu"), add(Identity(), Dense(8)))) == (
        "chain(Dense(n_outputs=8, activation='relu'), add(Identity(), Dense(n_outputs=8)))"
    )
    assert repr(concatenate(Dropout(0.5), Activation("elu", 0.1))) == (
        "concatenate(Dropout(rate=0.5), Activation(name='elu', alpha=0.1))"
    )


def test_a_long_one_has_a_line_for_each_part():
    residual = add(Identity(), chain(Dense(64, "relu"), Dense(32)))
    assert repr(chain(Dense(32, "relu"), residual, Dense(1))) == (
        "chain(\n"
        "    Dense(n_outputs=32, activation='relu'),\n"
        "    add(Identity(), chain(Dense(n_outputs=64, activation='relu'), Dense(n_outputs=32))),\n"
        "    Dense(n_outputs=1),\n"
        ")"
    )
    deep = repr(chain(*[add(Identity(), chain(*[Dense(8, "tanh")] * 3))] * 2))
    assert deep.splitlines()[:4] == ["chain(", "    add(", "        Identity(),", "        chain("]
    assert max(map(len, deep.splitlines())) < 100


@pytest.mark.parametrize("composition", COMPOSITIONS)
def test_what_is_shown_makes_the_same_layers(composition):
    for activation in ("relu", "leaky_relu"):
        layers = COMPOSITIONS[composition](activation)
        again = eval(repr(layers), NAMES)
        assert repr(again) == repr(layers)
        widths = [[W.shape for W in cmlp.Network(each, 5).weights] for each in (again, layers)]
        assert widths[0] == widths[1]
        if activation == "relu":  # the default alpha of the other is shown, and then given
            assert again == layers


@pytest.mark.parametrize("kind", [Chain, Concatenate, Add])
def test_a_composition_is_called_by_its_function(kind):
    name = kind.__name__.lower()
    with pytest.raises(ValueError, match=rf"^{name}\(\) needs at least one layer$"):
        kind(())
    with pytest.raises(TypeError, match=rf"^{name}\(\) takes layers such as cmlp.Dense\(8, 'relu'\), not 3 \(int\)$"):
        kind((3,))


def test_initial_arrays_do_not_count_in_comparisons():
    assert Dense(2, init=np.ones((3, 2))) == Dense(2)
    assert hash(Dense(2, init=np.ones((3, 2)))) == hash(Dense(2))
