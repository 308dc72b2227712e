"""Initial weights and biases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmlp.initializers import INITIALIZERS, check_init, initial_biases, initial_weights

N_IN, N_OUT = 300, 200
STD = {
    "he_normal": np.sqrt(2 / N_IN),
    "glorot_normal": np.sqrt(2 / (N_IN + N_OUT)),
    "lecun_normal": np.sqrt(1 / N_IN),
}
LIMIT = {
    "he_uniform": np.sqrt(6 / N_IN),
    "glorot_uniform": np.sqrt(6 / (N_IN + N_OUT)),
    "lecun_uniform": np.sqrt(3 / N_IN),
    "uniform": 1 / np.sqrt(N_IN),
}


def rng():
    return np.random.default_rng(7)


def test_every_name_is_tested_below():
    assert set(INITIALIZERS) == {*STD, *LIMIT, "zeros"}


@pytest.mark.parametrize("name", STD)
def test_normal_weights_have_their_standard_deviation(name):
    weights = initial_weights(name, rng(), N_IN, N_OUT)
    n = weights.size
    # The sample std has standard error σ / √(2n), the mean σ / √n: five of them either way.
    assert abs(weights.std() / STD[name] - 1) < 5 / np.sqrt(2 * n)
    assert abs(weights.mean()) < 5 * STD[name] / np.sqrt(n)
    assert (abs(weights) > 3 * STD[name]).any()  # a uniform distribution has no such tail


@pytest.mark.parametrize("name", LIMIT)
def test_uniform_weights_fill_their_limits(name):
    weights = initial_weights(name, rng(), N_IN, N_OUT)
    assert 0.999 * LIMIT[name] < weights.max() <= LIMIT[name]
    assert -LIMIT[name] <= weights.min() < -0.999 * LIMIT[name]
    # U(-l, l) has variance l²/3; its square has standard error (l²/3) √(4/5) / √n.
    assert abs(weights.var() / (LIMIT[name] ** 2 / 3) - 1) < 5 * np.sqrt(0.8 / weights.size)


@pytest.mark.parametrize("name", [*STD, *LIMIT])
def test_biases_come_from_the_distribution_of_the_weights(name):
    biases = initial_biases(name, rng(), N_IN, N_OUT)
    assert biases.shape == (N_OUT,)
    np.testing.assert_array_equal(biases, initial_weights(name, rng(), N_IN, N_OUT).ravel()[:N_OUT])


def test_zeros_draw_nothing():
    generator = rng()
    assert not initial_weights("zeros", generator, 3, 4).any()
    assert not initial_biases("zeros", generator, 3, 4).any()
    assert generator.random() == rng().random()


@given(name=st.sampled_from(list(INITIALIZERS)), n_in=st.integers(1, 40), n_out=st.integers(1, 40))
def test_shape_type_and_repeatability(name, n_in, n_out):
    weights, biases = initial_weights(name, rng(), n_in, n_out), initial_biases(name, rng(), n_in, n_out)
    assert weights.shape == (n_in, n_out)
    assert biases.shape == (n_out,)
    assert weights.dtype == biases.dtype == np.float64
    assert weights.flags.c_contiguous
    assert np.isfinite(weights).all()
    np.testing.assert_array_equal(weights, initial_weights(name, rng(), n_in, n_out))


def test_given_arrays_are_not_copied():
    weights = np.arange(6.0).reshape(2, 3)
    assert initial_weights(weights, rng(), 2, 3) is weights
    biases = np.arange(3.0)
    assert initial_biases(biases, rng(), 2, 3) is biases


@pytest.mark.parametrize(
    "array",
    [
        [[1, 2, 3], [4, 5, 6]],
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.arange(6.0).reshape(3, 2).T,
        np.arange(12.0).reshape(2, 6)[:, ::2],
    ],
    ids=["list", "float32", "Fortran order", "strided"],
)
def test_given_arrays_of_any_layout(array):
    weights = initial_weights(array, rng(), 2, 3)
    np.testing.assert_array_equal(weights, np.asarray(array))
    assert weights.flags.c_contiguous
    assert weights.dtype == np.float64


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        (np.zeros((3, 2)), ValueError, r"init has shape \(3, 2\), expected \(n_in, n_out\) = \(2, 3\)"),
        (np.zeros(6), ValueError, r"shape \(6,\)"),
        (np.array(1.0), ValueError, r"shape \(\)"),
        ([], ValueError, r"shape \(0,\)"),
        ([[0, np.nan, 0]] * 2, ValueError, "init is nan at row 0, column 1"),
        ([[0, 0, np.inf]] * 2, ValueError, "init is inf at row 0, column 2"),
        ([[1j] * 3] * 2, TypeError, "complex"),
        ([["a", "b", "c"]] * 2, TypeError, "holds text, 'a'"),
        ([[1, 2], [3]], ValueError, "ragged"),
        (None, TypeError, "init must be a name or an array of values, not None; names: 'he_normal'"),
        (0.5, TypeError, "init must be a name or an array of values, not 0.5"),
        (True, TypeError, "init must be a name or an array"),
        ("he", ValueError, "unknown init 'he'"),
        ("He-Normal", ValueError, "did you mean 'he_normal'"),
        (lambda shape: np.zeros(shape), TypeError, "expected an array of real numbers"),
    ],
)
def test_bad_initialisers(array, error, message):
    with pytest.raises(error, match=message) as caught:
        initial_weights(array, rng(), 2, 3)
    assert "\n" not in str(caught.value)


def test_bad_biases_are_called_bias_init():
    with pytest.raises(ValueError, match=r"bias_init has shape \(1, 3\), expected \(n_out,\) = \(3,\)"):
        initial_biases(np.zeros((1, 3)), rng(), 2, 3)
    with pytest.raises(ValueError, match=r"unknown bias_init 'zero' .*did you mean 'zeros'"):
        initial_biases("zero", rng(), 2, 3)


@pytest.mark.parametrize("sizes", [(0, 3), (3, 0), (-1, 3), (3, -2)])
def test_sizes_must_be_positive(sizes):
    with pytest.raises(ValueError, match="must be an integer >= 1, not"):
        initial_weights("he_normal", rng(), *sizes)


@pytest.mark.parametrize("size", [2.0, "2", None, True])
def test_sizes_must_be_integers(size):
    with pytest.raises(TypeError, match="n_in must be an integer >= 1, not"):
        initial_weights("he_normal", rng(), size, 3)


def test_check_init_needs_no_shape():
    for init in [*INITIALIZERS, [[1.0, 2.0]], np.float64([1, 2]), np.ones((2, 3), dtype=int)]:
        assert check_init(init) is None
    with pytest.raises(ValueError, match="unknown bias_init 'normal'"):
        check_init("normal", "bias_init")
    with pytest.raises(ValueError, match="bias_init is nan at index 1"):
        check_init([0.0, np.nan], "bias_init")
