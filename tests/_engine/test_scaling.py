"""Standardised inputs and missing values: the same numbers as scaling by hand, in fit, streams and predictions."""

from __future__ import annotations

import copy
import json
import zipfile

import numpy as np
import pytest
from core.test_c_interface import predict_in_c
from helpers.cases import FLOATS, flat, relative_error, samples_for
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

import cmlp
from cmlp import SGD, Adam, Dense, Identity, add, chain, concatenate
from cmlp.data.samples import split_validation
from cmlp.training import _learn_checked

TOLERANCE = {"float32": 1e-4, "float64": 1e-10}


def everything(net):
    return flat((*net.weights, *net.biases))


def raw_samples(n=60, dtype="float64", seed=0):
    """Columns of very different scales, the fourth constant."""
    rng = np.random.default_rng(seed)
    X, y = samples_for("squared_error", rng, n, 5, 2, "float64")
    X = X * [1, 100, 0.01, 0, 3] + [0, 500, -1, 0.125, -7]
    return X.astype(dtype), y.astype(dtype)


def pair(dtype="float64", optimizer=None, **settings):
    """A network that standardises, and the same without."""
    options = {"activation": "tanh", "dtype": dtype, "seed": 0, "optimizer": optimizer, **settings}
    return cmlp.MLP([5, 9, 2], standardize=True, **options), cmlp.MLP([5, 9, 2], **options)


def close(net, plain, dtype="float64"):
    return relative_error(net.weights + net.biases, plain.weights + plain.biases) < TOLERANCE[dtype]


# ------------------------------------------------------------------------------------------------- standardize


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("settings", [{}, {"batch_size": 7}, {"validation": 0.3}, {"optimizer": Adam(0.01)}])
def test_fit_equals_scaling_by_hand(simd_level, settings, dtype):
    X, y = raw_samples(dtype=dtype)
    net, plain = pair(dtype)
    net.fit(X, y, epochs=3, **settings)
    if "validation" in settings:  # the scale is that of the rows to train on
        kept, _ = split_validation(60, 0.3, copy.deepcopy(plain._model.rng))
        scaler = StandardScaler().fit(X[kept])
    else:
        scaler = StandardScaler().fit(X)
    history = plain.fit(scaler.transform(X), y, epochs=3, **settings)
    assert close(net, plain, dtype)
    assert np.isfinite(history.loss).all()
    np.testing.assert_allclose(net.input_mean, scaler.mean_, rtol=1e-6)
    np.testing.assert_allclose(net.input_scale, scaler.scale_, rtol=1e-6)
    new = raw_samples(9, dtype, seed=1)[0]
    expected = plain.predict(scaler.transform(new))
    tolerance = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    np.testing.assert_allclose(net.predict(new), expected, **tolerance)
    for x, out in zip(new, expected, strict=True):
        np.testing.assert_allclose(net.predict_one(x), out, **tolerance)
        np.testing.assert_allclose(net.predict_one(x.tolist()), out, **tolerance)
        np.testing.assert_allclose(predict_in_c(net.capsule(), net, x), out, **tolerance)
    assert net.evaluate(X, y).loss == pytest.approx(plain.evaluate(scaler.transform(X), y).loss, rel=1e-4)


def test_one_row_and_many_give_the_same_bits(simd_level):
    X, y = raw_samples(dtype="float32")
    net, _ = pair("float32")
    net.fit(X, y, epochs=1)
    np.testing.assert_array_equal(net.predict(X[:1])[0], net.predict_one(X[0]))
    np.testing.assert_array_equal(net.predict_one(X[0]), net.predict_one(X[0].astype(float)))


def test_the_first_fit_decides_about_the_scale():
    X, y = raw_samples()
    net, plain = pair()
    net.fit(X[:30], y[:30], epochs=1)
    mean, scale = net.input_mean, net.input_scale
    net.fit(X[30:], y[30:], epochs=1)
    np.testing.assert_array_equal([net.input_mean, net.input_scale], [mean, scale])
    for rows in (slice(30), slice(30, 60)):
        plain.fit(StandardScaler().fit(X[:30]).transform(X[rows]), y[rows], epochs=1)
    assert close(net, plain)


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_stream_brings_the_scale_up_to_date_first(simd_level, dtype):
    X, y = raw_samples(dtype=dtype)
    net, plain = pair(dtype)
    scaler = StandardScaler()
    for rows in (slice(0, 20), slice(20, 21), slice(21, 40)):
        net.partial_fit(X[rows], y[rows], batch_size=4)
        plain.partial_fit(scaler.partial_fit(X[rows]).transform(X[rows]), y[rows], batch_size=4)
    for x, target in zip(X[40:], y[40:], strict=True):
        a = net.learn_one(x, target)
        b = plain.learn_one(scaler.partial_fit(x[None]).transform(x[None])[0], target)
        assert a == pytest.approx(b, rel=1e-3 if dtype == "float32" else 1e-9)
    assert close(net, plain, dtype)
    np.testing.assert_allclose(net.input_mean, X.mean(axis=0, dtype=float), rtol=1e-6)
    expected = np.where(X.std(axis=0, dtype=float) > 1e-6, X.std(axis=0, dtype=float), 1)
    np.testing.assert_allclose(net.input_scale, expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_fast_and_the_slow_learn_one_learn_the_same(simd_level, dtype):
    X, y = raw_samples(dtype=dtype)
    fast, slow = (cmlp.MLP([5, 9, 2], standardize=True, dtype=dtype, seed=0, optimizer=SGD(0.01)) for _ in range(2))
    for x, target in zip(X, y, strict=True):
        assert fast.learn_one(x, target) == _learn_checked(slow._model, x, target, None)
    np.testing.assert_array_equal(everything(fast), everything(slow))
    for a, b in zip(fast._model.scaling.buffers, slow._model.scaling.buffers, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_stream_of_single_samples_starts_at_scale_one():
    net, _ = pair()
    X, y = raw_samples()
    net.learn_one(X[0], y[0])
    np.testing.assert_array_equal(net.input_mean, X[0])
    np.testing.assert_array_equal(net.input_scale, np.ones(5))


@given(st.lists(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9), min_size=1, max_size=6), st.floats(-1e9, 1e9))
def test_the_scale_of_a_stream_is_that_of_all_samples(blocks, offset):
    net = cmlp.MLP([1, 1], standardize=True, dtype="float64", init="zeros", bias_init="zeros")
    for block in blocks:
        net._model.scaling.learn(np.array(block)[:, None] + offset)
    everything = np.concatenate([np.array(block) + offset for block in blocks])
    magnitude = np.abs(everything).max() + 1e-300
    assert abs(net.input_mean[0] - everything.mean()) <= 1e-12 * magnitude
    if np.ptp(everything) == 0:
        assert net.input_scale[0] == 1
        assert net._model.scaling.squares[0] == 0  # to the last bit
    elif everything.std() > 1e-6 * magnitude:
        assert net.input_scale[0] == pytest.approx(everything.std(), rel=1e-6)


def test_a_constant_column_has_no_influence_at_its_value():
    X, y = raw_samples()
    net, _ = pair()
    net.fit(X, y, epochs=1)
    assert net.forward(X)[0][:, 3].tolist() == [0] * 60
    assert net.input_scale[3] == 1


COMPOSITIONS = {
    "skip": lambda: chain(add(Identity(), Dense(5, "tanh")), Dense(2)),
    "concatenation": lambda: chain(concatenate(Dense(4, "tanh"), Identity(), Dense(2)), Dense(2)),
    "no bias": lambda: chain(Dense(6, "tanh", bias=False), Dense(2, bias=False)),
    "activation first": lambda: chain(cmlp.Activation("tanh"), Dense(2)),
}


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_every_reader_of_x_sees_it_standardised(name):
    X, y = raw_samples()
    scaler = StandardScaler().fit(X)
    net, plain = (
        cmlp.Network(COMPOSITIONS[name](), 5, dtype="float64", seed=0, standardize=on) for on in (True, False)
    )
    net.fit(X, y, epochs=2)
    plain.fit(scaler.transform(X), y, epochs=2)
    np.testing.assert_allclose(net.predict(X), plain.predict(scaler.transform(X)), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(net.predict_one(X[0]), plain.predict(scaler.transform(X[:1]))[0], rtol=1e-9, atol=1e-12)
    a, b = net.gradients(X, y), plain.gradients(scaler.transform(X), y)
    assert relative_error(a.weights + a.deltas, b.weights + b.deltas) < 1e-10


def test_writing_to_the_weights_is_seen_at_once():
    X, y = raw_samples()
    net, _ = pair()
    net.fit(X, y, epochs=1)
    net.weights[1][...] = 0
    np.testing.assert_array_equal(net.predict_one(X[0]), net.biases[1])


def test_before_any_training_inputs_are_as_they_are():
    X, _ = raw_samples()
    net, plain = pair()
    np.testing.assert_array_equal(net.predict(X), plain.predict(X))


def test_samples_are_not_changed_and_their_scale_survives_overflow_of_a_square():
    X, y = raw_samples(dtype="float32")
    before = X.copy()
    net, _ = pair("float32")
    net.fit(X, y, epochs=1)
    np.testing.assert_array_equal(X, before)
    net, _ = pair("float32")
    net.fit(X * np.float32(1e25), y, epochs=1)  # the squares are beyond float32
    assert np.isfinite(net.predict(X)).all()
    net, _ = pair()
    weights = everything(net)
    with pytest.raises(ValueError, match="the numbers in column 1 of X are too large to be standardised"):
        net.fit(X.astype(float) * [1, 1e200, 1, 1, 1], y, epochs=1)
    assert not net._model.scaling.count.any()
    np.testing.assert_array_equal(everything(net), weights)


def test_what_fails_leaves_the_scale_as_it_was():
    X, y = raw_samples()
    net, _ = pair()
    net.partial_fit(X, y)
    before = [array.copy() for array in net._model.scaling.buffers]
    for learn in (lambda: net.partial_fit(X * 2, y * 1e200), lambda: net.learn_one(X[0] * 2, y[0] * 1e200)):
        with pytest.raises(cmlp.DivergenceError):
            learn()
        for array, expected in zip(net._model.scaling.buffers, before, strict=True):
            np.testing.assert_array_equal(array, expected)
    with pytest.raises(TypeError, match="batch_size"):
        net.partial_fit(X, y, batch_size="1")
    np.testing.assert_array_equal(net._model.scaling.count, before[0])


# ------------------------------------------------------------------------------------------------------ missing


def with_gaps(X, seed=3):
    X = X.copy()
    X[np.random.default_rng(seed).random(X.shape) < 0.2] = np.nan
    return X


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("standardize", [False, True])
def test_missing_values_stand_for_the_mean(standardize, dtype):
    X, y = raw_samples(dtype=dtype)
    X[:, 1] -= 500  # not standardised, large numbers make training diverge
    X[:, 1] /= 100
    X = with_gaps(X)
    mean = np.nanmean(X.astype(float), axis=0)
    scale = np.nanstd(X.astype(float), axis=0) if standardize else np.ones(5)
    scale[3] = 1  # constant
    by_hand = (np.where(np.isnan(X), mean, X) - (mean if standardize else 0)) / scale
    options = {"dtype": dtype, "activation": "tanh", "seed": 0}
    net = cmlp.MLP([5, 9, 2], standardize=standardize, missing="mean", **options)
    plain = cmlp.MLP([5, 9, 2], **options)
    net.fit(X, y, epochs=2)
    plain.fit(by_hand, y, epochs=2)
    assert close(net, plain, dtype)
    tolerance = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    np.testing.assert_allclose(net.predict(X), plain.predict(by_hand), **tolerance)
    for x, row in zip(X[:9], by_hand[:9], strict=True):
        np.testing.assert_allclose(net.predict_one(x), plain.predict(row[None])[0], **tolerance)
    assert net.evaluate(X, y).loss == pytest.approx(plain.evaluate(by_hand, y).loss, rel=1e-4)


def test_missing_values_in_a_stream():
    X, y = raw_samples()
    X = with_gaps(X)
    net = cmlp.MLP([5, 9, 2], standardize=True, missing="mean", dtype="float64", seed=0)
    net.partial_fit(X[:30], y[:30])
    for x, target in zip(X[30:], y[30:], strict=True):
        net.learn_one(x, target)
    np.testing.assert_allclose(net.input_mean, np.nanmean(X, axis=0), rtol=1e-12)
    expected = np.nanstd(X, axis=0)
    expected[3] = 1
    np.testing.assert_allclose(net.input_scale, expected, rtol=1e-10)


def test_an_input_without_any_number():
    X, y = raw_samples()
    X[:, 2] = np.nan
    net = cmlp.MLP([5, 2], missing="mean", dtype="float64", seed=0)
    with pytest.raises(ValueError, match="column 2 of X is NaN in every row, so it has no mean: drop it"):
        net.fit(X, y, epochs=1)
    assert not net._model.scaling.count.any()
    net.partial_fit(X / 500, y)  # a stream may bring numbers later
    assert net.input_mean[2] == 0
    net.partial_fit(np.ones((1, 5)), y[:1])
    assert net.input_mean[2] == 1


def test_nan_is_an_error_unless_asked_for_and_infinity_always():
    X, y = raw_samples()
    net, _ = pair()
    X[3, 1] = np.nan
    for use in (net.predict, lambda X: net.fit(X, y), lambda X: net.partial_fit(X, y), lambda X: net.evaluate(X, y)):
        with pytest.raises(ValueError, match="X is nan at row 3, column 1"):
            use(X)
    net = cmlp.MLP([5, 2], missing="mean")
    X[5, 2] = -np.inf
    for use in (net.predict, lambda X: net.fit(X, y), lambda X: net.partial_fit(X, y), lambda X: net.evaluate(X, y)):
        with pytest.raises(ValueError, match="X is -inf at row 5, column 2"):
            use(X)
    with pytest.raises(ValueError, match="x is inf at index 0"):
        net.predict_one([np.inf, np.nan, 0, 0, 0])
    with pytest.raises(ValueError, match=r"beyond float32"):
        net.predict_one([1e300, np.nan, 0, 0, 0])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"standardize": 1}, TypeError, "standardize must be True or False, not 1"),
        ({"missing": "median"}, ValueError, "unknown missing 'median'"),
        ({"missing": None}, TypeError, "missing must be a name"),
    ],
)
def test_impossible_options_are_errors(options, error, message):
    with pytest.raises(error, match=message):
        cmlp.MLP([2, 1], **options)


# ------------------------------------------------------------------------------------------- saving and copying


@pytest.mark.parametrize("missing", ["error", "mean"])
@pytest.mark.parametrize("standardize", [False, True])
def test_the_scale_is_saved_and_copied(standardize, missing, tmp_path):
    X, y = raw_samples()
    X /= 500
    net = cmlp.MLP([5, 9, 2], standardize=standardize, missing=missing, seed=0, optimizer=SGD(0.01, momentum=0.5))
    net.fit(X, y, epochs=1)
    net.save(tmp_path / "net")
    gaps = with_gaps(X) if missing == "mean" else X
    for other in (cmlp.load(tmp_path / "net"), copy.deepcopy(net)):
        assert other.config() == net.config()
        assert (other.standardize, other.missing) == (standardize, missing)
        np.testing.assert_array_equal(other.predict(gaps), net.predict(gaps))
        np.testing.assert_array_equal(other.predict_one(X[0]), net.predict_one(X[0]))
        twin = copy.deepcopy(net)
        np.testing.assert_array_equal(
            everything(other.partial_fit(gaps * 2, y)), everything(twin.partial_fit(gaps * 2, y))
        )
        np.testing.assert_array_equal(other.predict(X), twin.predict(X))


def test_networks_without_a_scale_are_saved_as_before(tmp_path):
    net = cmlp.MLP([2, 1])
    assert set(net.config()) == {"kind", "layers", "n_inputs", "loss", "dtype"}
    net.save(tmp_path / "net")
    with zipfile.ZipFile(tmp_path / "net") as archive:
        assert sorted(archive.namelist()) == ["biases.0.npy", "network.json", "weights.0.npy"]
    assert net.input_mean is None
    assert net.input_scale is None


@pytest.mark.parametrize(
    ("member", "value", "message"),
    [
        ("scaling.squares", [-1.0, 1.0], ">= 0"),
        ("scaling.count", [1.0, -1.0], ">= 0"),
        ("scaling.mean", [1e300, 1.0], "float32 can hold"),
        ("scaling.mean", [np.nan, 1.0], "NaN or infinite"),
        ("scaling.mean", [1.0], "shape"),
        ("scaling.mean", None, "missing"),
    ],
)
def test_a_hostile_scale_is_an_error(member, value, message, tmp_path):
    net = cmlp.MLP([2, 1], standardize=True).partial_fit([[1, 2], [3, 5]], [0, 1])
    net.save(tmp_path / "good")
    with zipfile.ZipFile(tmp_path / "good") as good, zipfile.ZipFile(tmp_path / "bad", "w") as bad:
        for name in good.namelist():
            if name != f"{member}.npy":
                bad.writestr(zipfile.ZipInfo(name), good.read(name))
            elif value is not None:
                with bad.open(name, "w") as file:
                    np.lib.format.write_array(file, np.array(value), version=(1, 0))
    with pytest.raises(ValueError, match=message):
        cmlp.load(tmp_path / "bad")


@pytest.mark.parametrize("change", [{"standardize": 1}, {"missing": "median"}, {"standardize": False}, {"scale": True}])
def test_a_hostile_description_is_an_error(change, tmp_path):
    net = cmlp.MLP([2, 1], standardize=True)
    net.save(tmp_path / "good")
    with zipfile.ZipFile(tmp_path / "good") as good, zipfile.ZipFile(tmp_path / "bad", "w") as bad:
        for name in good.namelist():
            data = good.read(name)
            if name == "network.json":
                header = json.loads(data)
                header["network"].update(change)
                data = json.dumps(header).encode()
            bad.writestr(zipfile.ZipInfo(name), data)
    with pytest.raises(ValueError, match="cannot load"):
        cmlp.load(tmp_path / "bad")
