"""Lowering compositions to the flat program: places, layouts, live views, what is copied and what is not."""

from __future__ import annotations

import sys
import tracemalloc

import numpy as np
import pytest
from helpers.cases import BOUNDED_GROWTH, COMPOSITIONS, FLOATS, LAYOUTS, parameters_of, relative_error, use_layout

import cmlp
from cmlp import reference
from cmlp._core import INPUT_GRADIENTS
from cmlp._engine.program import ADD, COLUMNS, DENSE, ROWS, Lowering
from cmlp.activations import ACTIVATIONS
from cmlp.layers import (
    Activation,
    Chain,
    Dense,
    Identity,
    Layer,
    add,
    chain,
    concatenate,
    dense_layers,
    layer_from_config,
    layer_to_config,
)
from cmlp.losses import LOSSES

F32, F64 = np.dtype("float32"), np.dtype("float64")


def lower(layers, n_inputs=5, loss="squared_error", dtype=F32):
    return Lowering(layers, n_inputs, loss, dtype)


def kinds(layers):
    return [op["kind"] for op in lower(layers).operations]


# ------------------------------------------------------------------------------------------------- places


def test_branches_of_a_concatenation_write_to_adjacent_slices():
    first, second, third, last = lower(chain(concatenate(Dense(3), Dense(2), Dense(4)), Dense(1))).operations
    assert (second["out"], third["out"]) == (first["out"] + 3, first["out"] + 5)
    assert (last["source"], last["n_in"]) == (first["out"], 9)


def test_concatenation_with_the_layer_before_copies_nothing():
    assert kinds(chain(Dense(6), concatenate(Dense(4), Identity()), Dense(1))) == [DENSE] * 3
    before, branch, after = lower(chain(Dense(6), concatenate(Dense(4), Identity()), Dense(1))).operations
    assert branch["source"] == before["out"] == after["source"] + 4


def test_concatenation_with_the_input_copies_it_once():
    assert kinds(chain(concatenate(Dense(4), Identity()), Dense(1))) == [DENSE, ADD, DENSE]


def test_a_skip_is_one_addition_and_linear_branches_none():
    assert kinds(chain(Dense(6), add(Identity(), Dense(6)), Dense(1))) == [DENSE, DENSE, ADD, DENSE]
    first, second, _ = lower(chain(add(Dense(6), Dense(6)), Dense(1))).operations
    assert first["out"] == second["out"]
    assert (first["accumulate"], second["accumulate"]) == (False, True)


def test_an_identity_in_a_chain_costs_nothing():
    assert kinds(chain(Identity(), Dense(4), Identity(), Dense(1), Identity())) == [DENSE, DENSE]


def test_the_first_layers_input_gradient_is_not_computed():
    operations = lower(chain(Dense(4), Dense(4), Dense(1))).operations
    assert [op["input_gradient"] == INPUT_GRADIENTS["not_wanted"] for op in operations] == [True, False, False]


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("composition", COMPOSITIONS)
def test_parameters_start_on_cache_lines_and_slices_stay_inside_the_buffer(composition, dtype):
    lowering = lower(COMPOSITIONS[composition]("tanh"), dtype=dtype)
    program = lowering.program()
    for op in lowering.operations:
        if op["kind"] == DENSE:
            assert op["weights"] * dtype.itemsize % 64 == op["ld"] * dtype.itemsize % 64 == 0
        assert op["out"] >= 0
        assert max(op["out"], op["z"]) + op["n_out"] <= program.n_activations - 64 // dtype.itemsize
        assert op["n_out"] <= program.network["width"]
    assert program.workspace_size(2) > program.workspace_size(1) > 2 * program.n_activations


def test_natural_pairs_are_fused_and_no_others():
    for loss in LOSSES:
        for activation in ACTIVATIONS:
            fused = lower(Dense(3, activation), loss=loss).operations[-1]["fused"]
            natural = [("cross_entropy", "softmax"), ("binary_cross_entropy", "sigmoid"), ("poisson", "exp")]
            assert fused == ((loss, activation) in natural)


def test_a_pair_is_fused_behind_an_identity_and_after_a_sum_but_not_as_a_part():
    def fused(layers):
        return lower(layers, loss="binary_cross_entropy").operations[-1]["fused"]

    assert fused(chain(Dense(3, "sigmoid"), Identity()))
    assert fused(chain(Dense(5), add(Dense(5), Identity()), Activation("sigmoid")))
    assert not fused(concatenate(Dense(1, "sigmoid"), Dense(1, "sigmoid")))
    assert not fused(add(Dense(3, "sigmoid"), Dense(3, "sigmoid")))


# ---------------------------------------------------------------------------------------------- parameters


def test_many_inputs_into_few_units_are_laid_out_by_columns_and_wide_layers_by_rows():
    wide_to_few, few_to_wide = lower(chain(Dense(5), Dense(6000)), n_inputs=6000).operations
    assert (wide_to_few["layout"], wide_to_few["ld"]) == (COLUMNS, 6000)
    assert (few_to_wide["layout"], few_to_wide["ld"]) == (ROWS, 6000)


def test_weights_are_numbered_depth_first_and_left_to_right():
    layers = chain(add(Identity(), chain(Dense(2), Dense(5))), concatenate(Dense(3), chain(Dense(4), Dense(1))))
    assert [dense.n_outputs for dense in dense_layers(layers)] == [2, 5, 3, 4, 1]
    assert [W.shape for W in cmlp.Network(layers, 5).weights] == [(5, 2), (2, 5), (5, 3), (5, 4), (4, 1)]


def test_a_layer_object_used_twice_is_two_layers():
    dense = Dense(5)
    net = cmlp.Network(chain(dense, dense), 5, seed=0)
    assert not np.array_equal(*net.weights)
    assert not np.shares_memory(*net.weights)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_views_are_live_in_both_layouts(layout, dtype, monkeypatch):
    use_layout(monkeypatch, layout)
    net = cmlp.MLP([3, 4, 2], activation="identity", bias_init="zeros", dtype=dtype, seed=0)
    W_1, W_2 = np.arange(12.0).reshape(3, 4), np.arange(8.0).reshape(4, 2) - 3
    net.weights[0][...] = W_1
    for i, j in np.ndindex(4, 2):
        net.weights[1][i, j] = W_2[i, j]
    net.biases[1][1] = 100
    np.testing.assert_array_equal(net.predict([[1, 2, 3]]), [[1, 2, 3]] @ W_1 @ W_2 + [0, 100])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_views_do_not_overlap_and_hold_all_parameters(layout, monkeypatch):
    use_layout(monkeypatch, layout)
    net = cmlp.Network(COMPOSITIONS["concatenate_nested"]("relu"), 5)
    arrays = [a for a in (*net.weights, *net.biases) if a is not None]
    for k, array in enumerate(arrays):
        array[...] = k + 1
    for k, array in enumerate(arrays):
        assert (array == k + 1).all()
    assert net.n_parameters == sum(a.size for a in arrays) == np.count_nonzero(net._model.parameters)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("composition", COMPOSITIONS)
def test_every_composition_predicts_what_the_reference_does(simd_level, composition, dtype, layout, monkeypatch):
    use_layout(monkeypatch, layout)
    X = np.random.default_rng(0).normal(size=(4, 5)).astype(dtype)
    for activation in BOUNDED_GROWTH:  # exp of exp of ... overflows
        layers = COMPOSITIONS[composition](activation)
        net = cmlp.Network(layers, 5, dtype=dtype, seed=2)
        expected = reference.network_forward(layers, *parameters_of(net), X)
        assert relative_error([net.predict(X)], [expected]) < (3e-6 if dtype == "float32" else 1e-14)


# -------------------------------------------------------------------------------------- what does not compose


def test_nothing_to_learn_is_an_error():
    with pytest.raises(ValueError, match=r"nothing to learn.*cmlp\.Dense"):
        cmlp.Network(chain(Identity(), Activation("relu")), 3)


def test_sums_of_different_widths_are_an_error_that_names_them():
    with pytest.raises(ValueError, match=r"not 3 and 5 \(for 5 inputs\)"):
        cmlp.Network(add(Dense(3), Identity()), 5)


@pytest.mark.parametrize("compose", [chain, concatenate, add])
def test_compositions_need_layers(compose):
    with pytest.raises(ValueError, match="at least one layer"):
        compose()
    for wrong in ("relu", 3, None, Dense, [Dense(2)]):
        with pytest.raises(TypeError, match=r"takes layers such as cmlp\.Dense"):
            compose(Dense(2), wrong)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_outputs": 0}, ValueError, "n_outputs must be an integer >= 1, not 0"),
        ({"n_outputs": 2.0}, TypeError, "n_outputs must be an integer"),
        ({"n_outputs": True}, TypeError, "n_outputs must be an integer"),
        ({"n_outputs": 2, "activation": "rely"}, ValueError, "did you mean 'relu'"),
        ({"n_outputs": 2, "activation": None}, TypeError, "must be a name"),
        ({"n_outputs": 2, "bias": "no"}, TypeError, "bias must be True or False"),
        ({"n_outputs": 2, "alpha": -0.1}, ValueError, "0 <= alpha"),
        ({"n_outputs": 2, "alpha": float("nan")}, ValueError, "alpha must be a finite number"),
        ({"n_outputs": 2, "init": "he"}, ValueError, "unknown init"),
        ({"n_outputs": 2, "bias_init": "he"}, ValueError, "unknown bias_init"),
    ],
)
def test_dense_says_what_is_wrong_with_a_parameter(options, error, message):
    with pytest.raises(error, match=message):
        Dense(**options)


def test_a_layer_of_ones_own_is_an_error_that_says_what_to_use():
    class Mine(Layer):
        def output_size(self, n_inputs):
            return n_inputs

    with pytest.raises(TypeError, match=r"unknown layer.*compose cmlp\.Dense"):
        cmlp.Network(chain(Mine(), Dense(1)), 2)
    with pytest.raises(TypeError, match="not a layer of its own"):
        cmlp.Network(Layer(), 2)


def test_a_network_that_no_machine_can_hold_is_an_error():
    with pytest.raises(ValueError, match="do not fit this machine's memory"):
        cmlp.MLP([10**10, 10**10, 1])


@pytest.mark.parametrize(
    ("layers", "n_inputs", "match"),
    [
        (lambda: chain(Dense(2**31), Dense(2**31), Dense(1)), 1, r"parameters .*: they take 18,446,7\S+ bytes"),
        (lambda: chain(Dense(2**48), Dense(2**48)), 2**48, "activations do not fit"),
        (lambda: Dense(2**40), 2**24, "parameters do not fit"),
        (lambda: Dense(2**32), 2**32, "parameters do not fit"),
        (
            lambda: chain(Dense(2**24), *[concatenate(Identity(), Identity())] * 24, *[Activation("relu")] * 3),
            1,
            "activations do not fit",
        ),
        (lambda: chain(Dense(1), *[concatenate(Identity(), Identity())] * 49), 1, "width must be at most|do not fit"),
        (lambda: Dense(2**48 + 1), 1, r"n_outputs must be at most 2\*\*48, not 281474976710657"),
        (lambda: Dense(1), 10**400, r"n_inputs must be at most 2\*\*48"),
    ],
)
def test_sizes_that_no_machine_has_are_refused_before_anything_is_allocated(layers, n_inputs, match):
    cmlp.MLP([1, 1])  # what is imported on first use is
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=match):
            cmlp.Network(layers(), n_inputs)
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


def test_a_network_that_this_machine_cannot_hold_says_how_much_it_takes():
    with pytest.raises(MemoryError, match=r"16\.0 TiB .*float32"):  # NumPy's
        cmlp.MLP([2**21, 2**21])


@pytest.mark.parametrize(
    "compose",
    [
        lambda n: chain(*[Dense(2, "tanh")] * n),
        lambda n: chain(*[add(Identity(), Dense(2, "tanh"))] * n),
        lambda n: chain(concatenate(*[Dense(1), Activation("tanh")] * n), Dense(1)),
        lambda n: chain(add(*[Dense(2, "tanh")] * n), Dense(1)),
        lambda n: chain(Dense(2), *[concatenate(Identity(), Dense(1)), Dense(2)] * n),
    ],
)
def test_lowering_takes_steps_in_proportion_to_the_layers(compose):
    def steps(n):
        layers, lines = compose(n), 0

        def count(frame, event, argument):
            nonlocal lines
            lines += event == "line"
            return count

        before = sys.gettrace()
        sys.settrace(count)
        try:
            lower(layers, n_inputs=2)
        finally:
            sys.settrace(before)
        return lines

    assert steps(400) < 2.2 * steps(200)


def test_deep_nesting_is_an_error_and_a_long_chain_is_not():
    layers = Dense(1)
    for _ in range(50):
        layers = Chain((layers,))
    with pytest.raises(ValueError, match="nested more than 50 deep"):
        Chain((layers,))
    rate = 0.1
    for _ in range(50):
        rate = cmlp.schedules.LinearWarmup(rate, 2)
    with pytest.raises(ValueError, match="schedules are nested more than 50 deep"):
        cmlp.schedules.LinearWarmup(rate, 2)
    net = cmlp.Network(chain(*[Dense(2, "tanh")] * 200), 2, seed=0)
    assert np.isfinite(net.predict([[1, 2]])).all()


# -------------------------------------------------------------------------------------------- configuration


@pytest.mark.parametrize("composition", COMPOSITIONS)
def test_layers_come_back_from_their_configuration(composition):
    layers = COMPOSITIONS[composition]("leaky_relu")
    assert layer_from_config(layer_to_config(layers)) == layers


@pytest.mark.parametrize(
    "config",
    [
        None, 3, "dense", [], {}, {"kind": "dense"}, {"kind": "conv"}, {"kind": ["dense"]}, {"kind": "chain"},
        {"kind": "chain", "layers": []}, {"kind": "chain", "layers": "ab"}, {"kind": "chain", "layers": [3]},
        {"kind": "dense", "n_outputs": "3"}, {"kind": "dense", "n_outputs": -1}, {"kind": "identity", "x": 1},
        {"kind": "dense", "n_outputs": 3, "activation": "x"}, {"kind": "activation", "name": None},
        {"kind": "dense", "n_outputs": 2, "alpha": "1"}, {"kind": "add", "layers": {"kind": "identity"}},
    ],
)  # fmt: skip
def test_a_malformed_layer_is_a_value_error(config):
    with pytest.raises(ValueError, match=r"."):
        layer_from_config(config)


def test_a_hostile_depth_of_layers_is_a_value_error():
    config = {"kind": "dense", "n_outputs": 1}
    for _ in range(5000):
        config = {"kind": "chain", "layers": [config]}
    with pytest.raises(ValueError, match="malformed layer"):
        layer_from_config(config)
