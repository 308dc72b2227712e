"""The C kernels at every instruction-set level: elementwise functions in ULP, dense layers against the reference, and
memory that ends at guard pages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mpmath
import numpy as np
import pytest
import scipy.special
from helpers import guarded
from helpers.cases import (
    FLOATS,
    LAYOUTS,
    activations_of,
    needs_one_hot,
    parameters_of,
    random_mlp,
    reference_train,
    relative_error,
    samples_for,
    ulps,
    use_layout,
)

import cmlp
from cmlp import _core, reference
from cmlp.activations import ACTIVATIONS, alpha_of
from cmlp.losses import LOSSES, CrossEntropy, Huber, Quantile, loss_name

TOLERANCE = {"float32": 2e-6, "float64": 4e-15}  # of one dense layer, relative to the largest entry


def activate(name, z, alpha=None):
    """Return f(z) by the compiled kernel, which wants padding behind its slices."""
    alpha = alpha_of(name, alpha)
    padding = np.zeros(_core.ALIGN // z.itemsize, z.dtype)
    a = np.zeros(z.size + padding.size, z.dtype)
    _core.activate(ACTIVATIONS[name], alpha, np.concatenate([z, padding]), a[: z.size])
    return a[: z.size]


def arguments(dtype):
    """Dense in the range where the functions change, log-spaced over all magnitudes, and a stride of bit patterns."""
    rng = np.random.default_rng(0)
    info = np.finfo(dtype)
    magnitudes = np.exp2(np.linspace(np.log2(float(info.smallest_subnormal)), info.maxexp, 50_000, endpoint=False))
    uniform = [rng.uniform(-r, r, 60_000) for r in (1, 20, 110, 800)]
    z = np.concatenate([*uniform, magnitudes, -magnitudes]).astype(dtype)
    bits = np.linspace(0, 2.0 ** (8 * z.itemsize), 200_000, endpoint=False).astype(f"u{z.itemsize}").view(dtype)
    return np.concatenate([z, bits[np.isfinite(bits)]])


# ---------------------------------------------------------------------------------- exponentials, in ULP


@pytest.mark.parametrize("dtype", FLOATS)
def test_sigmoid_is_within_4_ulp_of_the_exact_value(simd_level, dtype):
    z = arguments(dtype)
    e = np.exp(-np.abs(z.astype(np.longdouble)))
    assert ulps(activate("sigmoid", z), np.where(z < 0, e, 1) / (1 + e)).max() <= 4


@pytest.mark.parametrize("dtype", FLOATS)
def test_tanh_is_within_4_ulp_of_the_exact_value(simd_level, dtype):
    z = arguments(dtype)
    assert ulps(activate("tanh", z), np.tanh(z.astype(np.longdouble))).max() <= 4


@pytest.mark.parametrize("dtype", FLOATS)
def test_softmax_is_within_6_ulp_of_the_exact_value(simd_level, dtype):  # an exponential, a sum and a quotient
    rng = np.random.default_rng(0)
    for n in [*range(1, 41), 63, 64, 65]:
        for scale in (1e-3, 1, 10, 80):
            z = rng.normal(size=n).astype(dtype) * z_type(dtype)(scale)
            e = np.exp((z - z.max()).astype(np.longdouble))  # the difference is rounded by definition
            assert ulps(activate("softmax", z), e / e.sum()).max() <= 6


ELEMENTWISE = [name for name in ACTIVATIONS if name != "softmax"]


def exactly(name, z):
    """Return f(z) in a wider type than that of z."""
    if name == "gelu" and z.dtype == np.float32:
        return z * scipy.special.ndtr(z.astype(float))
    if name == "gelu":
        with mpmath.workprec(100):
            return np.array([np.longdouble(mpmath.nstr(x * mpmath.ncdf(x), 25)) for x in map(mpmath.mpf, z.tolist())])
    z = z.astype(np.longdouble)
    e, selu_alpha = np.exp(-np.abs(z)), np.longdouble("1.6732632423543772848170429916717")
    return {
        "elu": lambda: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
        "selu": lambda: (
            np.longdouble("1.0507009873554804934193349852946")
            * np.where(z > 0, z, selu_alpha * np.expm1(np.minimum(z, 0)))
        ),
        "silu": lambda: np.where(z < 0, z * e, z) / (1 + e),
        "softplus": lambda: np.maximum(z, 0) + np.log1p(e),
        "hard_sigmoid": lambda: np.clip(z + 3, 0, 6) / 6,
        "softsign": lambda: z / (1 + np.abs(z)),
        "exp": lambda: np.exp(z),
    }[name]()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "name", ["elu", "selu", "gelu", "silu", "softplus", "softsign", "exp"]
)  # measured: at most 3.6
def test_the_other_smooth_activations_are_within_4_ulp_of_the_exact_value(simd_level, name, dtype):
    z = arguments(dtype)
    if name == "gelu":
        z = z[np.abs(z) < 45]
        z = z if dtype == "float32" else z[::97]  # mpmath is slow
    elif name == "exp":
        z = z[z < np.log(np.finfo(dtype).max)]
    elif name == "selu":
        z = z[z < np.finfo(dtype).max / 2]
    with np.errstate(under="ignore"):
        assert ulps(activate(name, z), exactly(name, z)).max() <= 4


@pytest.mark.parametrize("dtype", FLOATS)
def test_hard_sigmoid_is_rounded_as_its_definition(simd_level, dtype):
    z = arguments(dtype)
    np.testing.assert_array_equal(activate("hard_sigmoid", z), np.clip(z + 3, 0, 6) / z_type(dtype)(6))


def z_type(dtype):
    return np.dtype(dtype).type


# --------------------------------------------------------------------------------------- special arguments


def extremes(dtype):
    info = np.finfo(dtype)
    tiny, huge = info.smallest_subnormal, info.max
    return np.array([-np.inf, -huge, -1e4, -tiny, -0.0, 0.0, tiny, 1e4, huge, np.inf, np.nan], dtype)


@pytest.mark.parametrize("dtype", FLOATS)
def test_sigmoid_saturates_without_overflow(simd_level, dtype):
    a = activate("sigmoid", extremes(dtype))
    np.testing.assert_array_equal(a, [0, 0, 0, 0.5, 0.5, 0.5, 0.5, 1, 1, 1, np.nan])


@pytest.mark.parametrize("dtype", FLOATS)
def test_sigmoid_of_a_very_negative_number_is_subnormal_and_not_zero(simd_level, dtype):
    z = z_type(dtype)(np.log(np.finfo(dtype).smallest_subnormal)) + z_type(dtype)(2)
    a = activate("sigmoid", np.array([z]))
    assert 0 < a[0] < np.finfo(dtype).smallest_normal


@pytest.mark.parametrize("dtype", FLOATS)
def test_tanh_keeps_the_sign_of_zero_and_subnormals(simd_level, dtype):
    z = extremes(dtype)
    a = activate("tanh", z)
    tiny = np.finfo(dtype).smallest_subnormal
    np.testing.assert_array_equal(a, [-1, -1, -1, -tiny, -0.0, 0.0, tiny, 1, 1, 1, np.nan])
    np.testing.assert_array_equal(np.signbit(a[:-1]), np.signbit(z[:-1]))


@pytest.mark.parametrize("dtype", FLOATS)
def test_tanh_is_odd_and_never_beyond_one(simd_level, dtype):
    z = arguments(dtype)
    a = activate("tanh", z)
    np.testing.assert_array_equal(activate("tanh", -z), -a)
    assert np.abs(a).max() == 1


@pytest.mark.parametrize("dtype", FLOATS)
def test_relu_is_zero_below_zero_and_passes_nan_on(simd_level, dtype):
    z = extremes(dtype)
    a = activate("relu", z)
    np.testing.assert_array_equal(a, [0, 0, 0, 0, 0, 0, *z[6:]])
    assert not np.signbit(a[:-1]).any()


@pytest.mark.parametrize("alpha", [0.01, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("dtype", FLOATS)
def test_leaky_relu_has_slope_alpha_below_zero_and_passes_nan_on(simd_level, dtype, alpha):
    z = extremes(dtype)
    with np.errstate(over="ignore", under="ignore"):
        expected = np.where(z <= 0, z * z_type(dtype)(alpha), z)
    np.testing.assert_array_equal(activate("leaky_relu", z, alpha), expected)


LIMITS = {  # at -inf, the lowest number, -1e4, -tiny, -0, 0, tiny, 1e4, the largest number, inf
    "elu": [-1, -1, -1, "-tiny", 0, 0, "tiny", 1e4, "huge", np.inf],
    "gelu": [0, 0, 0, 0, 0, 0, 0, 1e4, "huge", np.inf],
    "silu": [0, 0, 0, 0, 0, 0, 0, 1e4, "huge", np.inf],
    "softplus": [0, 0, 0, "log 2", "log 2", "log 2", "log 2", 1e4, "huge", np.inf],
    "hard_sigmoid": [0, 0, 0, 0.5, 0.5, 0.5, 0.5, 1, 1, 1],
    "softsign": [-1, -1, -1e4 / 10001, "-tiny", 0, 0, "tiny", 1e4 / 10001, 1, 1],
    "exp": [0, 0, 0, 1, 1, 1, 1, np.inf, np.inf, np.inf],
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", LIMITS)
def test_activations_of_extreme_arguments(simd_level, name, dtype):
    info = np.finfo(dtype)
    tiny = info.smallest_subnormal
    words = {"tiny": tiny, "-tiny": -tiny, "huge": info.max, "log 2": np.log(2)}
    expected = np.array([words.get(value, value) for value in LIMITS[name]] + [np.nan], dtype)
    got = activate(name, extremes(dtype))
    np.testing.assert_allclose(got, expected, rtol=4 * info.eps, atol=tiny)


@pytest.mark.parametrize("dtype", FLOATS)
def test_selu_is_its_scale_times_elu_at_extreme_arguments(simd_level, dtype):
    z = extremes(dtype)
    with np.errstate(over="ignore"):
        expected = z_type(dtype)(reference.SELU_SCALE) * activate("elu", z, reference.SELU_ALPHA)
    np.testing.assert_array_equal(activate("selu", z), expected)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 3.0])
@pytest.mark.parametrize("dtype", FLOATS)
def test_elu_saturates_at_minus_alpha(simd_level, dtype, alpha):
    np.testing.assert_array_equal(activate("elu", extremes(dtype), alpha)[:3], [-alpha] * 3)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ["gelu", "silu"])
def test_tails_fade_into_subnormals(simd_level, name, dtype):
    z = -np.geomspace(1, 1000, 5000).astype(dtype)
    a = activate(name, z)
    subnormal = (a < 0) & (a > -np.finfo(dtype).smallest_normal)
    assert subnormal.any()
    assert (a[np.argmax(a == 0) :] == 0).all()
    assert (np.diff(a[z < -3]) >= 0).all()


@pytest.mark.parametrize("dtype", FLOATS)
def test_identity_returns_the_same_bits(simd_level, dtype):
    z = extremes(dtype)
    assert activate("identity", z).tobytes() == z.tobytes()


@pytest.mark.parametrize("dtype", FLOATS)
def test_softmax_of_huge_logits_does_not_overflow(simd_level, dtype):
    huge = np.finfo(dtype).max
    np.testing.assert_array_equal(activate("softmax", np.array([huge, -huge, huge], dtype)), [0.5, 0, 0.5])
    np.testing.assert_array_equal(activate("softmax", np.array([-np.inf, 3, -np.inf], dtype)), [0, 1, 0])
    np.testing.assert_array_equal(activate("softmax", np.array([-1e4, -1e4], dtype)), [0.5, 0.5])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nan_stays_nan_at_every_position(simd_level, name, dtype):
    for n in range(1, 36):
        for at in range(n):
            z = np.ones(n, dtype)
            z[at] = np.nan
            a = activate(name, z)
            assert np.isnan(a[at])
            assert np.isnan(a).sum() == (n if name == "softmax" else 1)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_writes_its_slice_and_nothing_else(simd_level, name, dtype):
    rng = np.random.default_rng(0)
    for n in range(1, 40):
        z, a = rng.normal(size=80).astype(dtype), np.full(80, 7, dtype)
        start = n % 5  # slices of a concatenation start anywhere
        _core.activate(ACTIVATIONS[name], alpha_of(name, None), z[start:], a[start : start + n])
        np.testing.assert_array_equal(a[:start], 7)
        np.testing.assert_array_equal(a[start + n :], 7)
        expected = reference.activate(name, z[start : start + n].astype(float))
        np.testing.assert_allclose(a[start : start + n], expected, rtol=1e-5 if dtype == "float32" else 1e-14)


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_result_does_not_depend_on_the_place_in_the_vector(simd_level, dtype):
    z = np.random.default_rng(0).normal(size=64).astype(dtype)
    for name in ELEMENTWISE:
        whole = activate(name, z)
        np.testing.assert_array_equal([activate(name, z[i : i + 1])[0] for i in range(64)], whole)


# ---------------------------------------------------------------------------------------- first_nonfinite


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", FLOATS)
def test_first_nonfinite_finds_every_position_at_every_length(simd_level, dtype, bad):
    for n in range(1, 70):
        values = np.full(n, np.finfo(dtype).max, dtype)
        assert _core.first_nonfinite(values) == -1
        for at in range(n):
            values[at] = bad
            assert _core.first_nonfinite(values) == at
            values[at] = -1


@pytest.mark.parametrize("dtype", FLOATS)
def test_first_nonfinite_returns_the_first_of_several_across_blocks(simd_level, dtype):
    for n in (4095, 4096, 4097, 10_000):
        for at in {0, 1, 4094, 4095, n // 2, n - 1} - {n}:
            values = np.zeros(n, dtype)
            values[at:] = np.nan
            assert _core.first_nonfinite(values) == at


@pytest.mark.parametrize("dtype", FLOATS)
def test_first_nonfinite_takes_any_contiguous_array(dtype):
    values = np.zeros((3, 4, 5), dtype)
    values[1, 2, 3] = np.nan
    values.flags.writeable = False
    assert _core.first_nonfinite(values) == 33
    assert _core.first_nonfinite(np.zeros((0, 3), dtype)) == -1
    assert _core.first_nonfinite(np.array(np.inf, dtype)) == 0


# -------------------------------------------------------------------------- dense layers of all sizes


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_forward_of_every_size_equals_the_product(simd_level, dtype, layout, monkeypatch):
    use_layout(monkeypatch, layout)
    x = np.random.default_rng(0).normal(size=(1, 40)).astype(dtype)
    for n_in in range(1, 41):
        for n_out in range(1, 41):
            net = cmlp.MLP([n_in, n_out], dtype=dtype, seed=0, init="uniform")
            W, b = net.weights[0].astype(float), net.biases[0].astype(float)
            expected = x[:, :n_in].astype(float) @ W + b
            assert relative_error([net.predict(x[:, :n_in])], [expected]) < TOLERANCE[dtype], (n_in, n_out)


@pytest.mark.parametrize("n_out", [64, 65, 127, 128, 129, 200])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_wide_layers_equal_the_product(simd_level, dtype, layout, n_out, monkeypatch):
    use_layout(monkeypatch, layout)
    for n_in in (1, 7, 64, 1001):
        net = cmlp.MLP([n_in, n_out], dtype=dtype, seed=0, bias=n_in != 7)
        X = np.random.default_rng(0).normal(size=(2, n_in)).astype(dtype)
        weights, biases = parameters_of(net)
        expected = X.astype(float) @ weights[0].astype(float) + (0 if biases[0] is None else biases[0])
        assert relative_error([net.predict(X)], [expected]) < 4 * TOLERANCE[dtype]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_backward_of_every_size_equals_the_reference(simd_level, dtype, layout, monkeypatch):
    use_layout(monkeypatch, layout)
    rng = np.random.default_rng(0)
    for n in range(1, 41):
        for m in (1, 2, 3, 4, 5, 8, 9, 16, 17, 33):
            net = cmlp.MLP([n, m, 41 - n], activation="tanh", dtype=dtype, seed=n)
            X, y = samples_for("squared_error", rng, 1, n, 41 - n, dtype)
            y += 5  # far from ŷ: a difference near 0 would have lost its digits
            weights, biases = parameters_of(net)
            wide = [W.astype(float) for W in weights], [b.astype(float) for b in biases]
            _, dW, db = reference.network_gradients(net.layers, *wide, "squared_error", X, y)
            got = net.gradients(X, y, reduction="sum")
            assert relative_error(got.weights + got.biases, dW + db) < 20 * TOLERANCE[dtype], (n, m)
            net.fit(X, y, epochs=1, optimizer=cmlp.SGD(0.125))  # in place, in one pass over W
            expected = [w - 0.125 * g for w, g in zip(wide[0] + wide[1], dW + db, strict=True)]
            assert relative_error(net.weights + net.biases, expected) < 20 * TOLERANCE[dtype], (n, m)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_padding_stays_zero_in_training(simd_level, dtype, layout, monkeypatch):
    use_layout(monkeypatch, layout)
    for n in range(1, 20):
        net = cmlp.MLP([n, 20 - n, n], activation="sigmoid", dtype=dtype, seed=0)
        X, y = samples_for("squared_error", np.random.default_rng(0), 4, n, n, dtype)
        net.fit(X, y, epochs=1)
        net.fit(X, y, epochs=1, batch_size=2, optimizer=cmlp.SGD(0.1, momentum=0.9, weight_decay=0.1))
        for vector in (net._model.parameters, net._model.slots["velocity"]):
            views, others = net._model.views(vector)
            assert np.count_nonzero(vector) == sum(np.count_nonzero(view) for view in views + others)


# -------------------------------------------------------------------------------- training, all settings

UPDATES = {
    "plain": {},
    "clip_delta": {"clip_delta": 0.05},
    "batch_mean": {"batch_size": 4},
    "batch_sum": {"batch_size": 4, "reduction": "sum", "clip_delta": 0.05},
    "full_batch": {"batch_size": None},
    "clip_value": {"batch_size": 3, "clip_value": 0.01},
    "clip_norm": {"clip_norm": 0.05},
    "clip_all": {"batch_size": 3, "clip_delta": 0.1, "clip_value": 0.03, "clip_norm": 0.05},
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9, "nesterov": True, "batch_size": 2},
    "weight_decay": {"weight_decay": 0.1},
    "l1": {"l1": 0.05},
    "l1_clipped": {"l1": 0.05, "clip_norm": 0.05, "batch_size": 4},
    "max_norm": {"max_norm": 0.8},
    "everything": {
        "batch_size": 4,
        "clip_delta": 0.1,
        "clip_norm": 0.1,
        "momentum": 0.5,
        "nesterov": True,
        "weight_decay": 0.01,
        "l1": 0.01,
        "max_norm": 1.0,
    },
}


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("loss", LOSSES)
def test_training_equals_the_reference(simd_level, loss, dtype, update):
    rng = np.random.default_rng(list(UPDATES).index(update))
    settings = {"epochs": 2, **UPDATES[update]}
    optimizer = {k: settings[k] for k in ("momentum", "nesterov", "weight_decay", "l1", "max_norm") if k in settings}
    for trial in range(6):
        net = random_mlp(rng, dtype, loss=loss, max_width=20, bias=trial % 2 == 0)
        one_hot = trial % 3 == 0 or needs_one_hot(net)
        X, y = samples_for(loss, rng, 11, net.n_inputs, net.n_outputs, dtype, one_hot=one_hot)
        rates = 0.02 / np.arange(1, 100)
        weights_of_samples = rng.uniform(0.1, 2, 11) if trial > 2 else None
        n_steps = 2 * -(-11 // (settings.get("batch_size", 1) or 11))
        weights, biases, losses = reference_train(
            net, X, y, learning_rate=rates[:n_steps], sample_weight=weights_of_samples, **settings
        )
        fit_settings = {k: v for k, v in settings.items() if k not in optimizer}
        history = net.fit(
            X,
            y,
            order="given",
            optimizer=cmlp.SGD(cmlp.schedules.InverseTime(0.02), **optimizer),
            sample_weight=weights_of_samples,
            **fit_settings,
        )
        tolerance = 1e-4 if dtype == "float32" else 1e-11
        assert relative_error(net.weights + net.biases, weights + biases) < tolerance, activations_of(net)
        np.testing.assert_allclose(history.loss, losses, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_global_norm_counts_biases_and_does_not_overflow(simd_level, dtype):
    net = cmlp.MLP([1, 1], init="zeros", bias_init="zeros", dtype=dtype)  # g = (x δ, δ), δ = -y
    net.fit([[3.0]], [[4.0]], epochs=1, clip_norm=1.0, optimizer=cmlp.SGD(1.0))
    np.testing.assert_allclose(flat_of(net), np.array([3, 1]) / np.sqrt(10), rtol=1e-6)
    huge = 1e30 if dtype == "float32" else 1e150  # its square overflows float32
    net = cmlp.MLP([1, 1], init="zeros", bias=False, dtype=dtype)
    net.fit([[1.0]], [[-huge if dtype == "float64" else -1e18]], epochs=1, clip_norm=1.0, optimizer=cmlp.SGD(1.0))
    np.testing.assert_allclose(net.weights[0], [[-1]], rtol=1e-6)


def flat_of(net):
    return np.concatenate([net.weights[0].ravel(), net.biases[0]])


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_stable_losses_are_right_where_the_output_rounds_to_zero(simd_level, dtype):
    net = cmlp.MLP([1, 2], loss="cross_entropy", init=[[[1.0, -1.0]]], bias=False, dtype=dtype)
    assert net.evaluate([[1000.0]], [1]).loss == pytest.approx(2000, rel=1e-6)
    net = cmlp.MLP([1, 1], loss="binary_cross_entropy", init=[[[1.0]]], bias=False, dtype=dtype)
    assert net.evaluate([[1000.0]], [0]).loss == pytest.approx(1000, rel=1e-6)
    assert net.evaluate([[-1000.0]], [0]).loss == 0
    assert net.gradients([[1000.0]], [0]).deltas[0].item() == 1


@pytest.mark.parametrize("dtype", FLOATS)
def test_losses_far_out_are_right_and_finite(simd_level, dtype):
    x, tiny = 1e4, float(np.finfo(dtype).smallest_subnormal)

    def both(loss, z, y, **options):
        net = cmlp.MLP([1, 1], loss=loss, init=[[[z]]], bias=False, dtype=dtype, **options)
        g = net.gradients([[1.0]], [y])
        return g.loss, g.deltas[0].item()

    assert both("absolute_error", -x, x) == (2 * x, -1)
    assert both("absolute_error", tiny, 0) == (tiny, 1)
    assert both(Huber(0.5), -x, x) == (0.5 * (2 * x - 0.25), -0.5)
    assert both(Huber(x), 3.0, 1.0) == (2, 2)
    assert both(Quantile(0.25), x, -x) == (1.5 * x, 0.75)
    assert both(Quantile(0.25), -x, x) == (0.5 * x, -0.25)
    assert both(Quantile(0.25), 7.0, 7.0) == (0, 0)
    assert both("poisson", -x, 3.0) == (3 * x, -3)  # exp(z) is 0, log ŷ = z is still known
    assert both("poisson", -x, 0.0) == (0, 0)
    assert both("poisson", 0.0, 0.0, output_activation="relu") == (0, 0)
    assert both("hinge", x, -1.0) == (1 + x, 1)
    assert both("hinge", -x, 0.0) == (0, 0)
    assert both("hinge", 1.0, 1.0) == (0, 0)
    largest = float(np.finfo(dtype).max)
    assert both("absolute_error", largest, 0) == (largest, 1)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("output", ["identity", "softmax", "sigmoid", "exp"])
@pytest.mark.parametrize("loss", [*LOSSES, CrossEntropy(0.1)], ids=str)
def test_a_loss_of_nan_is_nan(simd_level, loss, output, dtype):
    net = cmlp.MLP([1, 3], loss=loss, output_activation=output, dtype=dtype, seed=0)
    net.weights[0][...] = np.nan
    y = [1] if loss_name(loss) in ("cross_entropy", "hinge") else [[0, 0, 1]]
    assert np.isnan(net.evaluate([[1.0]], y).loss)


@pytest.mark.parametrize("dtype", FLOATS)
def test_poisson_of_a_negative_output_is_not_defined(simd_level, dtype):
    net = cmlp.MLP([1, 1], loss="poisson", output_activation="identity", init=[[[-1.0]]], bias=False, dtype=dtype)
    assert np.isnan(net.evaluate([[1.0]], [0]).loss)
    with pytest.raises(cmlp.DivergenceError, match="poisson is not defined for this output"):
        net.fit([[1.0]], [2.0], epochs=1)


# ------------------------------------------------------------------------------------ levels, and guard pages


def test_levels_are_ordered_and_can_be_set(simd_level):
    assert _core.simd_levels()[0] == "baseline"
    assert _core.simd_level() == simd_level


def test_an_unknown_level_is_an_error_that_names_the_levels():
    with pytest.raises(ValueError, match=r"SIMD level 'mmx'.*baseline"):
        _core.set_simd_level("mmx")


@pytest.mark.parametrize("level", _core.simd_levels())
def test_environment_variable_caps_the_level(level, monkeypatch):
    monkeypatch.setenv("CMLP_SIMD", level)
    command = [sys.executable, "-c", "from cmlp import _core; print(_core.simd_level())"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == level


def test_an_unknown_level_in_the_environment_is_an_import_error(monkeypatch):
    monkeypatch.setenv("CMLP_SIMD", "fastest")
    command = [sys.executable, "-c", "import cmlp"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "CMLP_SIMD='fastest': expected one of baseline, avx2, avx512" in result.stderr


def run_guarded(*arguments):
    script = Path(guarded.__file__)
    return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("edge", ["end", "start"])
def test_a_guard_page_turns_one_element_too_many_into_a_crash(edge):
    result = run_guarded("float32", "baseline", edge, "overread")
    assert result.returncode != 0
    assert result.stdout == "overread\n"  # it got there
    assert "Traceback" not in result.stderr  # and ended by a signal, not by an exception


@pytest.mark.parametrize("edge", ["end", "start"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_no_kernel_touches_an_element_outside_its_buffers(simd_level, dtype, edge):
    result = run_guarded(dtype, simd_level, edge, *guarded.GROUPS)
    assert result.returncode == 0, f"exit status {result.returncode} in {result.stdout}\n{result.stderr}"
    assert result.stdout.split() == [*guarded.GROUPS]
