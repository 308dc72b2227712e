"""Activations and losses of the NumPy twin, checked against their definitions and central differences."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers.differences import central_differences, close, random_targets

from cmlp import reference
from cmlp.activations import ACTIVATIONS
from cmlp.losses import LOSSES, NATURAL_OUTPUT, CrossEntropy, Huber, Quantile

ALPHA = 0.3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations_are_free_of_overflow_and_keep_the_dtype(dtype):
    z = np.array([-np.inf, -1e4, -30, 0, 30, 1e4, np.inf], dtype)
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_allclose(
            reference.activate("sigmoid", z), [0, 0, 9.357622968840175e-14, 0.5, 1, 1, 1], rtol=1e-6
        )
        assert reference.activate("tanh", z)[[0, 3, 6]].tolist() == [-1, 0, 1]
        assert reference.activate("softmax", z[1:6]).tolist() == [0, 0, 0, 0, 1]
        assert reference.activate("softmax", z[1:6] * 0 + 1e4).tolist() == pytest.approx([0.2] * 5)
    assert reference.activate("leaky_relu", np.array([-2, 0, 3], dtype), 0.5).tolist() == [-1, 0, 3]
    assert reference.activate("leaky_relu", np.array([-1, 2], dtype), 3.0).tolist() == [-3, 2]
    for name in ACTIVATIONS:
        finite = z[1:5] if name == "exp" else z[1:6]
        with np.errstate(all="raise", under="ignore"):
            a = reference.activate(name, finite, np.float64(ALPHA))
            assert a.dtype == dtype
            assert reference.activation_vjp(name, finite, a, a, np.float64(ALPHA)).dtype == dtype
        assert np.isnan(reference.activate(name, np.array([np.nan, 1], dtype))[0])


@pytest.mark.parametrize(("name", "at_zero"), [("relu", 0.0), ("leaky_relu", ALPHA), ("elu", ALPHA)])
def test_the_derivative_at_the_kink_is_the_one_from_below(name, at_zero):
    z = np.zeros(1)
    assert reference.activation_vjp(name, z, reference.activate(name, z, ALPHA), np.ones(1), ALPHA) == at_zero


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_vjp_is_the_derivative(name):
    rng = np.random.default_rng(1)
    z, da = rng.normal(size=(2, 3, 5))
    dz = reference.activation_vjp(name, z, reference.activate(name, z, ALPHA), da, ALPHA)
    close(dz, central_differences(lambda: (da * reference.activate(name, z, ALPHA)).sum(), z))


def test_unknown_names_are_errors():
    z = np.ones(2)
    with pytest.raises(ValueError, match="'swish'"):
        reference.activate("swish", z)
    with pytest.raises(ValueError, match="'swish'"):
        reference.activation_vjp("swish", z, z, z)
    with pytest.raises(ValueError, match="'log_cosh'"):
        reference.loss_and_delta("log_cosh", "relu", z, z, z)
    with pytest.raises(TypeError, match="unknown layer"):
        reference.network_forward("dense", [np.ones((1, 1))], [None], [1.0])


@pytest.mark.parametrize(("loss", "activation"), list(itertools.product(LOSSES, ACTIVATIONS)))
def test_delta_is_the_derivative_of_the_loss(loss, activation):
    rng = np.random.default_rng(2)
    z = rng.uniform(0.1, 0.9, (4, 3))  # where every output is in (0, 1), so that every loss is defined
    if activation in ("exp", "softplus"):
        z -= 1.5
    y = random_targets(rng, loss, z.shape)

    def both():
        return reference.loss_and_delta(loss, activation, z, reference.activate(activation, z, ALPHA), y, ALPHA)

    ell, delta = both()
    assert ell.shape == (4,)
    close(delta, central_differences(lambda: both()[0].sum(), z))
    for c in range(4):  # a block of samples is nothing but its samples
        a = reference.activate(activation, z[c], ALPHA)
        one, delta_one = reference.loss_and_delta(loss, activation, z[c], a, y[c], ALPHA)
        close(one, ell[c])
        close(delta_one, delta[c])


def test_losses_are_their_definitions():
    y, a = np.array([1.0, 0.0, 0.25]), np.array([0.5, 0.7, 0.1])
    expected = {
        "squared_error": (0.25 + 0.49 + 0.0225) / 2,
        "cross_entropy": -(np.log(0.5) + 0.25 * np.log(0.1)),
        "binary_cross_entropy": -(np.log(0.5) + np.log(0.3) + 0.25 * np.log(0.1) + 0.75 * np.log(0.9)),
        "absolute_error": 0.5 + 0.7 + 0.15,
        "huber": (0.25 + 0.49 + 0.0225) / 2,
        Huber(0.5): 0.125 + 0.5 * (0.7 - 0.25) + 0.0225 / 2,
        "quantile": (0.5 + 0.7 + 0.15) / 2,
        Quantile(0.9): 0.9 * 0.5 + 0.1 * 0.7 + 0.9 * 0.15,
        "poisson": 0.5 - np.log(0.5) + 0.7 + 0.1 - 0.25 * np.log(0.1),
        CrossEntropy(0.3): -(0.8 * np.log(0.5) + 0.1 * np.log(0.7) + 0.275 * np.log(0.1)),
        "hinge": 0.5 + 1.7 + 0.9,
    }
    for loss, value in expected.items():
        assert reference.loss_and_delta(loss, "identity", a, a, y)[0] == pytest.approx(value)


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy"])
def test_the_fused_pairs_are_the_general_form_and_stay_exact_far_out(loss):
    rng = np.random.default_rng(3)
    name = NATURAL_OUTPUT[loss]
    z = rng.normal(size=(6, 4))
    a, y = reference.activate(name, z), random_targets(rng, loss, z.shape)
    ell, delta = reference.loss_and_delta(loss, name, z, a, y)
    general, da = reference.loss_and_delta(loss, "identity", a, a, y)
    np.testing.assert_allclose(ell, general, rtol=1e-13)
    np.testing.assert_allclose(delta, reference.activation_vjp(name, z, a, da), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(delta, a - y, rtol=1e-12, atol=1e-15)
    for dtype in (np.float32, np.float64):
        z = np.array([1e4, 0], dtype)
        with np.errstate(all="raise", under="ignore"):
            ell, delta = reference.loss_and_delta(loss, name, z, reference.activate(name, z), np.array([0, 1], dtype))
        assert ell == pytest.approx(1e4 + np.log(2) * (loss == "binary_cross_entropy"), rel=1e-6)
        assert delta.tolist() == [1, -0.5 if loss == "binary_cross_entropy" else -1]


def test_delta_of_cross_entropy_for_targets_that_do_not_sum_to_one():
    rng = np.random.default_rng(15)
    z, y = rng.normal(size=4), rng.uniform(size=4)

    def both():
        return reference.loss_and_delta("cross_entropy", "softmax", z, reference.activate("softmax", z), y)

    close(both()[1], central_differences(lambda: both()[0], z))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_outputs_at_and_beyond_the_edge_of_the_domain(dtype):
    eps = np.finfo(dtype).eps

    def both(loss, a, y):
        a, y = np.array([a], dtype), np.array([y], dtype)
        ell, delta = reference.loss_and_delta(loss, "identity", a, a, y)
        assert ell.dtype == delta.dtype == dtype
        return ell, delta[0]

    assert both("cross_entropy", 0, 1) == pytest.approx((-np.log(eps), -1 / eps))
    assert both("binary_cross_entropy", 0, 1) == pytest.approx((-np.log(eps), -1 / eps), rel=1e-5)
    assert both("binary_cross_entropy", 1, 0) == pytest.approx((-np.log(eps), 1 / eps), rel=1e-5)
    assert both("cross_entropy", 2, 1) == pytest.approx((-np.log(2), -0.5))
    assert both("cross_entropy", -1, 0) == (0, 0)
    assert both("cross_entropy", 0, 0) == (0, 0)
    for loss, a in [("cross_entropy", -0.1), ("binary_cross_entropy", -0.1), ("binary_cross_entropy", 1.1)]:
        assert np.isnan(both(loss, a, 1)[0])
