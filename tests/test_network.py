"""Networks as users meet them: construction, prediction, inside views, copies, bad input."""

from __future__ import annotations

import copy
import pickle
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers.cases import COMPOSITIONS, FLOATS, flat, parameters_of, samples_for

import cmlp
from cmlp import reference
from cmlp.layers import Dense, Identity, add, chain, concatenate

# -------------------------------------------------------------------------------------------- construction


def test_an_mlp_has_the_shapes_of_its_sizes():
    net = cmlp.MLP([6, 5, 4, 3], loss="cross_entropy")
    assert net.sizes == [6, 5, 4, 3]
    assert [W.shape for W in net.weights] == [(6, 5), (5, 4), (4, 3)]
    assert [b.shape for b in net.biases] == [(5,), (4,), (3,)]
    assert (net.n_inputs, net.n_outputs, net.n_parameters) == (6, 3, 6 * 5 + 5 * 4 + 4 * 3 + 12)
    assert (net.loss, net.dtype, net.n_steps, net.metadata) == ("cross_entropy", np.float32, 0, {})
    assert net.optimizer == cmlp.SGD(0.01)


def test_without_biases_there_are_none():
    net = cmlp.MLP([3, 4, 2], bias=False)
    assert net.biases == (None, None)
    np.testing.assert_array_equal(net.predict([[0, 0, 0]]), [[0, 0]])


@pytest.mark.parametrize(
    ("loss", "output"),
    [("squared_error", "identity"), ("cross_entropy", "softmax"), ("binary_cross_entropy", "sigmoid")],
)
def test_the_output_gets_the_natural_activation_of_the_loss(loss, output):
    net = cmlp.MLP([3, 4, 2], activation="tanh", loss=loss)
    assert [layer.activation for layer in net.layers.layers] == ["tanh", output]


def test_activations_may_be_one_name_or_one_per_hidden_layer_or_one_per_layer():
    def names(**options):
        return [layer.activation for layer in cmlp.MLP([2, 3, 3, 1], **options).layers.layers]

    assert names(activation="tanh", output_activation="relu") == ["tanh", "tanh", "relu"]
    assert names(activation=["tanh", "relu"]) == ["tanh", "relu", "identity"]
    assert names(activation=("tanh", "relu", "sigmoid")) == ["tanh", "relu", "sigmoid"]


def test_alpha_reaches_every_leaky_relu():
    net = cmlp.MLP(
        [1, 1, 1], activation="leaky_relu", output_activation="leaky_relu", alpha=0.5, init=[[[1]], [[1]]], bias=False
    )
    np.testing.assert_array_equal(net.predict([[-8], [8]]), [[-2], [8]])


def test_given_arrays_become_the_weights():
    W, b = [np.eye(2), [[1], [2]]], [[0.5, -0.5], [3]]
    net = cmlp.MLP([2, 2, 1], init=W, bias_init=b, dtype="float64")
    np.testing.assert_array_equal(flat(net.weights), [1, 0, 0, 1, 1, 2])
    np.testing.assert_array_equal(flat(net.biases), [0.5, -0.5, 3])


def test_init_may_differ_by_layer():
    net = cmlp.MLP([2, 2, 1], init=["zeros", "he_normal"], bias_init=["he_normal", "zeros"], seed=0)
    assert [W.any() for W in net.weights] == [False, True]
    assert [b.any() for b in net.biases] == [True, False]


def test_the_seed_decides_the_weights():
    same = [flat(cmlp.MLP([4, 5, 2], seed=seed).weights) for seed in (3, 3, np.random.default_rng(3))]
    np.testing.assert_array_equal(same[0], same[1])
    np.testing.assert_array_equal(same[0], same[2])
    assert not np.array_equal(same[0], flat(cmlp.MLP([4, 5, 2], seed=4).weights))
    assert not np.array_equal(flat(cmlp.MLP([4, 5, 2]).weights), flat(cmlp.MLP([4, 5, 2]).weights))


def test_he_initialisation_scales_weights_and_biases_with_the_number_of_inputs():
    net = cmlp.MLP([800, 400, 50], dtype="float64", seed=0)
    for k, n_in in enumerate((800, 400)):
        assert net.weights[k].std() == pytest.approx(np.sqrt(2 / n_in), rel=0.02)
    assert net.biases[0].std() == pytest.approx(np.sqrt(2 / 800), rel=0.1)


@pytest.mark.parametrize("dtype", [np.float64, "float64", "f8", float])
def test_dtype_may_be_given_in_any_form(dtype):
    assert cmlp.MLP([2, 1], dtype=dtype).dtype == np.dtype("float64")


def test_sizes_may_be_any_sequence_of_integers():
    assert cmlp.MLP(np.array([3, 2, 1])).sizes == cmlp.MLP((3, 2, 1)).sizes == [3, 2, 1]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sizes": [3]}, ValueError, "at least the numbers of inputs and outputs"),
        ({"sizes": 3}, ValueError, "at least the numbers of inputs and outputs"),
        ({"sizes": "32"}, ValueError, "at least the numbers of inputs and outputs"),
        ({"sizes": [3, 0, 1]}, ValueError, r"sizes\[1\] must be an integer >= 1, not 0"),
        ({"sizes": [0, 1]}, ValueError, r"sizes\[0\] must be an integer >= 1"),
        ({"sizes": [3, 2.5]}, TypeError, r"sizes\[1\] must be an integer"),
        ({"activation": "mish"}, ValueError, "unknown activation 'mish'"),
        ({"activation": None}, TypeError, "activation must be"),
        ({"activation": 3}, TypeError, "activation must be"),
        ({"activation": ["relu"] * 5}, ValueError, "1 names"),
        ({"activation": ["relu"] * 2, "output_activation": "relu"}, ValueError, "leave output_activation out"),
        ({"output_activation": "soft"}, ValueError, "unknown activation 'soft'"),
        ({"loss": "mse"}, ValueError, "unknown loss 'mse'"),
        ({"loss": None}, TypeError, "loss must be a name"),
        ({"loss": "cross_entropy", "sizes": [3, 1]}, ValueError, "use binary_cross_entropy"),
        ({"bias": 1}, TypeError, "bias must be True or False"),
        ({"init": "he"}, ValueError, "unknown init 'he'"),
        ({"init": ["zeros"]}, ValueError, r"one entry per layer \(2\)"),
        ({"init": [np.ones((3, 3)), "zeros"]}, ValueError, r"\(3, 4\)"),
        ({"init": [np.full((3, 4), np.nan), "zeros"]}, ValueError, "finite"),
        ({"init": [np.full((3, 4), 1e300), "zeros"]}, ValueError, "beyond float32"),
        ({"bias_init": [np.ones(3), "zeros"]}, ValueError, r"\(4,\)"),
        ({"alpha": -1}, ValueError, "0 <= alpha"),
        ({"optimizer": "adamx"}, ValueError, "unknown optimizer"),
        ({"optimizer": 0.01}, TypeError, "optimizer must be"),
        ({"dtype": "float16"}, ValueError, "dtype must be 'float32' or 'float64'"),
        ({"dtype": int}, ValueError, "dtype must be"),
        ({"dtype": None}, ValueError, "dtype must be"),
        ({"dtype": "real"}, ValueError, "dtype must be"),
    ],
)
def test_construction_says_what_is_wrong(options, error, message):
    with pytest.raises(error, match=message):
        cmlp.MLP(**{"sizes": [3, 4, 2], **options})


def test_a_network_needs_layers_and_inputs():
    with pytest.raises(TypeError, match="layers must be a layer"):
        cmlp.Network([Dense(2)], 3)
    with pytest.raises(ValueError, match="n_inputs must be an integer >= 1"):
        cmlp.Network(Dense(2), 0)
    with pytest.raises(ValueError, match="use binary_cross_entropy"):
        cmlp.Network(Dense(1), 2, loss="cross_entropy")


# ---------------------------------------------------------------------------------------------- prediction


@pytest.mark.parametrize("dtype", FLOATS)
def test_predictions_have_the_shape_and_type_of_the_network(dtype):
    net = cmlp.MLP([3, 4, 2], loss="cross_entropy", dtype=dtype, seed=0)
    X = np.random.default_rng(0).normal(size=(7, 3))
    assert (net.predict(X).shape, net.predict(X).dtype) == ((7, 2), dtype)
    assert (net.predict_one(X[0]).shape, net.predict_one(X[0]).dtype) == ((2,), dtype)
    assert (net.predict_class(X).shape, net.predict_class(X).dtype) == ((7,), np.int64)
    np.testing.assert_allclose([net.predict_one(x) for x in X], net.predict(X), rtol=1e-6)


def test_each_prediction_is_an_array_of_its_own():
    net = cmlp.MLP([3, 2], seed=0)
    first = net.predict([[1, 2, 3]])
    kept = first.copy()
    net.predict([[3, 2, 1]])
    first += 0
    np.testing.assert_array_equal(first, kept)


def test_predict_class_is_the_arg_max_or_the_side_of_one_half():
    net = cmlp.MLP([1, 3], loss="cross_entropy", init=[[[1, 0, -1]]], bias=False)
    np.testing.assert_array_equal(net.predict_class([[2], [-2]]), [0, 2])
    net = cmlp.MLP([1, 1], loss="binary_cross_entropy", init=[[[1]]], bias=False)
    np.testing.assert_array_equal(net.predict_class([[2], [0], [-2]]), [1, 0, 0])
    with pytest.raises(ValueError, match="predicts values, not classes"):
        cmlp.MLP([1, 1]).predict_class([[1]])


@pytest.mark.parametrize(
    "form",
    [
        lambda X: X.tolist(),
        lambda X: tuple(map(tuple, X)),
        np.asfortranarray,
        lambda X: np.repeat(X, 2, axis=1)[:, ::2],
        lambda X: X[::-1][::-1],
        lambda X: X.astype(">f8"),
        lambda X: X.astype(np.longdouble),
        lambda X: np.pad(X, 1)[1:-1, 1:-1],
        memoryview,
    ],
    ids=["list", "tuple", "fortran", "strided", "reversed", "big_endian", "longdouble", "inner", "memoryview"],
)
def test_input_may_have_any_form_that_numpy_reads(form):
    net = cmlp.MLP([3, 4, 2], dtype="float64", seed=0)
    X = np.random.default_rng(0).normal(size=(6, 3))
    np.testing.assert_array_equal(net.predict(form(X)), net.predict(X))


def test_integers_and_booleans_are_numbers():
    net = cmlp.MLP([2, 1], seed=0)
    expected = net.predict([[0.0, 1.0], [1.0, 1.0]])
    for dtype in (bool, np.int8, np.uint64, np.float16):
        np.testing.assert_array_equal(net.predict(np.array([[0, 1], [1, 1]], dtype)), expected)


def test_read_only_input_is_used_and_left_as_it_is():
    X = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    y = X[:, 0].copy()
    kept = X.copy()
    for array in (X, y):
        array.flags.writeable = False
    net = cmlp.MLP([3, 4, 1], seed=0)
    net.fit(X, y, epochs=2, sample_weight=np.ones(5))
    net.partial_fit(X, y)
    net.learn_one(X[0], y[0])
    net.evaluate(X, y)
    net.gradients(X, y)
    net.forward(X)
    net.predict(X)
    np.testing.assert_array_equal(X, kept)


def test_predictions_from_many_threads_equal_those_from_one():
    net = cmlp.MLP([20, 64, 64, 5], loss="cross_entropy", seed=0)
    blocks = np.random.default_rng(0).normal(size=(32, 200, 20)).astype("float32")
    serial = [net.predict(X) for X in blocks]
    with ThreadPoolExecutor(4) as pool:
        for expected, got in zip(serial, pool.map(net.predict, blocks), strict=True):
            np.testing.assert_array_equal(got, expected)


def test_networks_train_in_threads_as_they_do_alone():
    def trained(seed):
        net = cmlp.MLP([8, 32, 1], seed=seed)
        X, y = samples_for("squared_error", np.random.default_rng(seed), 500, 8, 1, "float32")
        net.fit(X, y, epochs=4, clip_norm=1.0)
        return flat(net.weights)

    with ThreadPoolExecutor(4) as pool:
        for seed, weights in enumerate(pool.map(trained, range(8))):
            np.testing.assert_array_equal(weights, trained(seed))


# --------------------------------------------------------------------------------- evaluate, forward


def test_evaluate_is_the_mean_loss_and_the_share_of_right_classes():
    X, y = np.array([[2.0], [1.0], [-1.0]]), [0, 2, 2]
    net = cmlp.MLP([1, 3], loss="cross_entropy", init=[[[1, 0, -1]]], bias=False, dtype="float64")
    expected = -np.log(reference.activate("softmax", X * [1, 0, -1])[range(3), y])
    scores = net.evaluate(X, y)
    assert scores.loss == pytest.approx(expected.mean())
    assert scores.accuracy == pytest.approx(2 / 3)
    one_hot = net.evaluate(X, np.eye(3)[y])
    assert one_hot == pytest.approx(scores)
    weighted = net.evaluate(X, y, sample_weight=[1, 3, 0])
    assert weighted.loss == pytest.approx((expected[0] + 3 * expected[1]) / 4)
    assert weighted.accuracy == pytest.approx(1 / 4)


def test_binary_accuracy_wants_every_output_on_the_right_side():
    net = cmlp.MLP([1, 2], loss="binary_cross_entropy", init=[[[1, -1]]], bias=False)
    assert net.evaluate([[3], [3], [-3]], [[1, 0], [1, 1], [0, 1]]).accuracy == pytest.approx(2 / 3)
    assert cmlp.MLP([1, 2]).evaluate([[1]], [[0, 0]]).accuracy is None


def test_decisions_of_hinge_are_by_arg_max_for_classes_and_by_sign_otherwise():
    X, y = np.array([[2.0], [1.0], [-1.0]]), [0, 2, 2]
    net = cmlp.MLP([1, 3], loss="hinge", init=[[[1, 0, -1]]], bias=False, dtype="float64")
    assert net.predict_class(X).tolist() == [0, 0, 2]
    scores = net.evaluate(X, y)
    assert scores.loss == pytest.approx((0 + 1 + 0 + 2 + 1 + 2 + 0 + 1 + 0) / 3)
    assert scores.accuracy == pytest.approx(2 / 3)
    assert net.evaluate(X, np.eye(3)[y]) == scores
    signs = [[1, -1, -1], [1, 1, -1], [-1, -1, 1]]
    assert net.evaluate(X, signs).accuracy == pytest.approx(2 / 3)  # the first and the last, as 0 counts as -1
    one = cmlp.MLP([1, 1], loss="hinge", init=[[[1]]], bias=False)
    assert one.predict_class([[2], [0.25], [0], [-2]]).tolist() == [1, 1, 0, 0]
    for no in (-1, 0):
        assert one.evaluate([[2], [0.25], [-2]], [1, no, no]) == (pytest.approx(1.25 / 3), pytest.approx(2 / 3))


@pytest.mark.parametrize("loss", ["absolute_error", "huber", "quantile", "poisson", cmlp.losses.Huber(2)], ids=str)
def test_losses_of_values_know_no_classes(loss):
    net = cmlp.MLP([1, 2], loss=loss, seed=0)
    assert net.evaluate([[1]], [[3, 0]]).accuracy is None
    with pytest.raises(ValueError, match=r"loss=.* predicts values, not classes: use predict"):
        net.predict_class([[1]])


def test_label_smoothing_is_scored_as_cross_entropy():
    net = cmlp.MLP([2, 3], loss=cmlp.losses.CrossEntropy(0.1), seed=0)
    X = np.random.default_rng(0).normal(size=(20, 2))
    assert net.evaluate(X, net.predict_class(X)).accuracy == 1
    with pytest.raises(ValueError, match="use binary_cross_entropy"):
        cmlp.MLP([2, 1], loss=cmlp.losses.CrossEntropy(0.1))


def test_forward_returns_every_activation():
    net = cmlp.MLP([3, 4, 5, 2], activation="tanh", dtype="float64", seed=0)
    X = np.random.default_rng(0).normal(size=(6, 3))
    _, expected = reference.forward(*parameters_of(net), ["tanh", "tanh", "identity"], X)
    got = net.forward(X)
    assert [a.shape for a in got] == [(6, 3), (6, 4), (6, 5), (6, 2)]
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)
    for a, b in zip(net.forward(X[2]), got, strict=True):
        np.testing.assert_array_equal(a, b[2])


def test_forward_of_a_composition_starts_with_the_input_and_ends_with_the_output():
    for compose in COMPOSITIONS.values():
        net = cmlp.Network(compose("tanh"), 5, seed=0)
        X = np.random.default_rng(0).normal(size=(2, 5)).astype("float32")
        values = net.forward(X)
        np.testing.assert_array_equal(values[0], X)
        last = np.concatenate(values, axis=1)[:, -net.n_outputs :]
        np.testing.assert_allclose(last, net.predict(X), rtol=1e-5, atol=1e-6)


# -------------------------------------------------------------------------------------- copies, configuration

COPIES = {"pickle": lambda net: pickle.loads(pickle.dumps(net)), "deepcopy": copy.deepcopy}


def used_network(**options):
    """A network in the middle of a training with momentum."""
    net = cmlp.MLP([3, 9, 2], seed=0, optimizer=cmlp.SGD([0.01, 0.005, 0.002], momentum=0.9), **options)
    X, y = samples_for("squared_error", np.random.default_rng(0), 20, 3, 2, net.dtype)
    net.fit(X, y, epochs=1)
    net.metadata["classes"] = ["a", "b"]
    return net, X, y


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_a_copy_predicts_and_goes_on_training_as_the_original_does(duplicate, dtype):
    net, X, y = used_network(dtype=dtype)
    twin = duplicate(net)
    assert type(twin) is cmlp.MLP
    assert (repr(twin), twin.n_steps, twin.n_epochs) == (repr(net), net.n_steps, net.n_epochs)
    assert (twin.metadata, twin.optimizer) == (net.metadata, net.optimizer)
    np.testing.assert_array_equal(twin.predict(X), net.predict(X))
    before = net.predict(X)
    twin.fit(X, y, epochs=2)  # velocity, steps, rates and the order of samples go on
    np.testing.assert_array_equal(net.predict(X), before)  # they share no memory
    net.fit(X, y, epochs=2)
    np.testing.assert_array_equal(twin.predict(X), net.predict(X))


def test_a_pickled_composition_comes_back_as_it_was():
    for compose in COMPOSITIONS.values():
        net = cmlp.Network(compose("leaky_relu"), 5, seed=0)
        twin = pickle.loads(pickle.dumps(net))
        assert type(twin) is cmlp.Network
        assert twin.layers == net.layers
        x = np.linspace(-1, 1, 5)
        np.testing.assert_array_equal(twin.predict_one(x), net.predict_one(x))


class Mine(cmlp.MLP):
    """A user's own kind of MLP."""


def test_a_subclass_is_saved_as_the_class_it_derives_from(tmp_path):
    class Mine(cmlp.MLP):
        pass

    net = Mine([2, 3, 1], seed=0)
    net.save(tmp_path / "net.cmlp")
    loaded = cmlp.load(tmp_path / "net.cmlp")
    assert type(loaded) is cmlp.MLP
    np.testing.assert_array_equal(loaded.predict([[1, 2]]), net.predict([[1, 2]]))


def test_a_subclass_can_be_copied():
    net = Mine([3, 2, 1], seed=0)
    twin = copy.deepcopy(net)
    assert type(twin) is Mine
    np.testing.assert_array_equal(twin.predict_one([1, 2, 3]), net.predict_one([1, 2, 3]))


def test_a_copys_views_are_live():
    net, X, _ = used_network()
    twin = pickle.loads(pickle.dumps(net))
    twin.weights[1][...] = 0
    twin.biases[1][...] = 4
    assert (twin.predict(X) == 4).all()


def test_an_mlp_comes_back_from_its_configuration_as_an_mlp():
    net = cmlp.MLP([3, 4, 2], activation="leaky_relu", alpha=0.2, loss="cross_entropy", dtype="float64")
    twin = cmlp.Network.from_config(net.config())
    assert type(twin) is cmlp.MLP
    assert (twin.config(), repr(twin)) == (net.config(), repr(net))


@pytest.mark.parametrize("composition", COMPOSITIONS)
def test_a_network_comes_back_from_its_configuration(composition):
    net = cmlp.Network(COMPOSITIONS[composition]("relu"), 5, dtype="float64")
    twin = cmlp.Network.from_config(net.config())
    assert (type(twin), twin.layers, twin.n_inputs, twin.dtype) == (cmlp.Network, net.layers, 5, np.float64)


def malformed():
    good = cmlp.MLP([2, 3, 1]).config()
    yield from (None, 3, "MLP", [], {}, {"kind": "MLP"}, {**good, "extra": 1})
    yield {name: value for name, value in good.items() if name != "loss"}
    for name, values in {
        "kind": ["mlp", None, 3, []],
        "layers": [None, [], {}, {"kind": "identity"}],
        "n_inputs": [0, -3, 2.5, "2", None, True],
        "loss": ["mse", None, 3],
        "dtype": ["float16", None, 3, "O"],
    }.items():
        for value in values:
            yield {**good, name: value}
    yield {**cmlp.Network(add(Identity(), Dense(2)), 2).config(), "kind": "MLP"}  # which is no MLP


@pytest.mark.parametrize("config", list(malformed()))
def test_a_malformed_configuration_is_a_value_error(config):
    with pytest.raises(ValueError, match=r"."):
        cmlp.Network.from_config(config)


def test_repr_shows_what_the_network_is():
    assert repr(cmlp.MLP([64, 32, 10], loss="cross_entropy")) == (
        "MLP([64, 32, 10], activation='relu', loss='cross_entropy')"
    )
    assert repr(cmlp.MLP([2, 3, 3, 1], activation=["relu", "tanh"], output_activation="relu")) == (
        "MLP([2, 3, 3, 1], activation=['relu', 'tanh'], output_activation='relu', loss='squared_error')"
    )
    network = cmlp.Network(chain(concatenate(Dense(3, "relu", bias=False), Identity()), Dense(1)), 2)
    assert "Dense(n_outputs=3, activation='relu', bias=False)" in repr(network)
    assert repr(network).startswith("Network(")


# ---------------------------------------------------------------------------------------------- bad input


class Sparse:
    def toarray(self):
        raise AssertionError("cmlp must not densify behind the user's back")


NAN = np.array([[1.0, 2.0], [3.0, np.nan], [0.0, 0.0]])

BAD_INPUTS = {
    "nan": (NAN, ValueError, "is nan at row 1, column 1"),
    "infinite": (np.where(np.isnan(NAN), -np.inf, NAN), ValueError, "is -inf at row 1, column 1"),
    "overflow": (np.where(np.isnan(NAN), 1e39, NAN), ValueError, r"1e\+39 at row 1, column 1, beyond float32"),
    "text": ([["1", "2"], ["a", "3"], ["1", "1"]], TypeError, r"holds text, 'a' \(str\) at row 1, column 0"),
    "objects": (np.array([[1, 2], [None, 3], [1, 1]]), TypeError, "None at row 1, column 0"),
    "complex": (np.ones((3, 2)) * 1j, TypeError, "complex"),
    "dates": (np.zeros((3, 2), "M8[s]"), TypeError, "dates"),
    "sparse": (Sparse(), TypeError, "sparse"),
    "masked": (np.ma.masked_invalid(NAN), TypeError, "masked array"),
    "ragged": ([[1, 2], [3]], ValueError, "ragged"),
    "empty": (np.zeros((0, 2)), ValueError, "empty"),
    "one_dimension": (np.zeros(6), ValueError, "expected"),
    "three_dimensions": (np.zeros((3, 2, 1)), ValueError, "expected"),
    "scalar": (3.0, ValueError, "expected"),
    "none": (None, TypeError, "None"),
    "too_wide": (np.zeros((3, 4)), ValueError, "4 columns, expected 2"),
    "transposed": (np.zeros((2, 3)), ValueError, "looks transposed"),
}

METHODS = {
    "fit": lambda net, X: net.fit(X, [0, 1, 0]),
    "partial_fit": lambda net, X: net.partial_fit(X, [0, 1, 0]),
    "evaluate": lambda net, X: net.evaluate(X, [0, 1, 0]),
    "gradients": lambda net, X: net.gradients(X, [0, 1, 0]),
    "predict": lambda net, X: net.predict(X),
    "predict_class": lambda net, X: net.predict_class(X),
    "forward": lambda net, X: net.forward(X),
    "validation": lambda net, X: net.fit(np.ones((3, 2)), [0, 1, 0], validation=(X, [0, 1, 0])),
}


def state(net):
    return net._model.parameters.tobytes(), net.n_steps, net.n_epochs, net.optimizer


def assert_rejects(net, call, error, message):
    before = state(net)
    with pytest.raises(error, match=message):
        call()
    assert state(net) == before


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bad", BAD_INPUTS)
def test_bad_inputs_are_named_and_change_nothing(bad, method):
    X, error, message = BAD_INPUTS[bad]
    net = cmlp.MLP([2, 3, 2], loss="cross_entropy", seed=0)
    assert_rejects(net, lambda: METHODS[method](net, X), error, message)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        ([1, np.nan], ValueError, "is nan at index 1"),
        ([1, "a"], TypeError, "holds text"),
        ([1, 2, 3], ValueError, r"expected \(2,\)"),
        ([[1, 2]], ValueError, r"expected \(2,\), one sample: np.ravel"),
        ([], ValueError, r"expected \(2,\)"),
        (1.0, ValueError, r"expected \(2,\)"),
        (None, TypeError, "None"),
        ([1j, 2], TypeError, "complex"),
    ],
)
def test_a_bad_sample_is_named_and_changes_nothing(x, error, message):
    net = cmlp.MLP([2, 3, 2], loss="cross_entropy", seed=0)
    assert_rejects(net, lambda: net.predict_one(x), error, message)
    assert_rejects(net, lambda: net.learn_one(x, 1), error, message)


BAD_TARGETS = {
    "cross_entropy": [
        ([0, 1, 3], ValueError, "y is 3 at index 2, expected class indices 0 ... 2"),
        ([0, -1, 2], ValueError, "y is -1 at index 1"),
        ([0, 0.5, 2], ValueError, "y is 0.5 at index 1"),
        ([0, np.nan, 2], ValueError, "y is nan at index 1"),
        (["a", "b", "c"], TypeError, "holds text"),
        ([0, 1], ValueError, r"shape \(2,\), expected \(3,\)"),
        (np.ones((3, 3)), ValueError, "sums to 3 in row 0"),
        (np.eye(3) * 2 - 1, ValueError, "expected probabilities"),
        (np.eye(4)[:3], ValueError, r"shape \(3, 4\)"),
        (None, TypeError, "None"),
    ],
    "binary_cross_entropy": [
        (np.full((3, 3), 2.0), ValueError, "y is 2.0 at row 0, column 0, expected probabilities"),
        (np.full((3, 3), -1.0), ValueError, r"labels -1 and 1 become 0 and 1"),
        ([0, 1, 1], ValueError, r"expected \(3, 3\)"),
        (np.full((3, 3), np.nan), ValueError, "is nan"),
    ],
    "squared_error": [
        ([1, 2, 3], ValueError, r"expected \(3, 3\)"),
        (np.ones((4, 3)), ValueError, r"shape \(4, 3\)"),
        (np.ones((3, 2)), ValueError, r"shape \(3, 2\)"),
        (np.full((3, 3), np.inf), ValueError, "is inf"),
        (np.full((3, 3), 1e300), ValueError, "beyond float32"),
        (np.full((3, 3), "x"), TypeError, "holds text"),
    ],
}


@pytest.mark.parametrize("method", ["fit", "partial_fit", "evaluate", "gradients"])
@pytest.mark.parametrize(
    ("loss", "y", "error", "message"), [(loss, *case) for loss, cases in BAD_TARGETS.items() for case in cases]
)
def test_bad_targets_are_named_and_change_nothing(loss, y, error, message, method):
    net = cmlp.MLP([2, 3, 3], loss=loss, seed=0)
    assert_rejects(net, lambda: getattr(net, method)(np.ones((3, 2)), y), error, message)


@pytest.mark.parametrize(
    ("loss", "y", "error", "message"),
    [
        ("cross_entropy", 3, ValueError, "expected class indices 0 ... 2"),
        ("cross_entropy", "a", TypeError, "y"),
        ("cross_entropy", None, TypeError, "None"),
        ("cross_entropy", [0.5, 0.6, 0.7], ValueError, "sums to"),
        ("squared_error", 1.0, ValueError, r"expected \(1, 3\)"),
        ("squared_error", [1, 2], ValueError, r"expected \(1, 3\)"),
        ("squared_error", [1, 2, np.nan], ValueError, "is nan"),
        ("binary_cross_entropy", [0, 1, 2], ValueError, "expected probabilities"),
    ],
)
def test_a_bad_target_of_one_sample_is_named_and_changes_nothing(loss, y, error, message):
    net = cmlp.MLP([2, 3, 3], loss=loss, seed=0)
    assert_rejects(net, lambda: net.learn_one([1, 2], y), error, message)


@pytest.mark.parametrize("method", ["fit", "partial_fit", "evaluate", "gradients"])
@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ([1, 2], ValueError, r"expected \(3,\)"),
        ([1, -1, 1], ValueError, "-1.0 at index 1, expected numbers >= 0"),
        ([0, 0, 0], ValueError, "sums to 0"),
        ([1, np.nan, 1], ValueError, "nan at index 1"),
        (["a", "b", "c"], TypeError, "holds text"),
        (1.0, ValueError, r"expected \(3,\)"),
    ],
)
def test_bad_sample_weights_are_named_and_change_nothing(weights, error, message, method):
    net = cmlp.MLP([2, 1], seed=0)
    call = getattr(net, method)
    assert_rejects(net, lambda: call(np.ones((3, 2)), [1, 2, 3], sample_weight=weights), error, message)


def test_an_error_message_says_what_was_given_what_is_expected_and_what_to_do():
    with pytest.raises(ValueError, match="expected") as caught:
        cmlp.MLP([2, 1]).predict([1.0, 2.0])
    assert re.search(r"X has shape \(2,\), expected \(M, 2\): np.reshape\(X, \(1, -1\)\)", str(caught.value))


def test_an_unknown_reduction_of_gradients_is_an_error():
    with pytest.raises(ValueError, match="unknown reduction 'average'"):
        cmlp.MLP([2, 1]).gradients([[1, 2]], [3], reduction="average")
