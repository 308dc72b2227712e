from importlib import resources

import numpy as np
import pytest

import cmlp
from cmlp.datasets import four_points, headline, load_digits, logic_gate


def test_digits_are_the_uci_test_set():
    X, y = load_digits()
    assert X.shape == (1797, 64)
    assert X.dtype == np.float32
    assert y.shape == (1797,)
    assert y.dtype == np.int64
    assert X.min() == 0
    assert X.max() == 16
    assert (np.round(X) == X).all()
    # the class sizes that the source states for optdigits.tes
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    # the first image, a 0
    assert X[0].reshape(8, 8)[0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]


def test_digits_can_be_changed_without_changing_the_next_load():
    X, _ = load_digits()
    X += 1
    assert load_digits()[0].min() == 0


def test_digits_name_their_source_and_licence():
    text = resources.files("cmlp.datasets").joinpath("digits.txt").read_text(encoding="utf-8")
    for words in (text, load_digits.__doc__):
        assert "https://archive.ics.uci.edu/dataset/80" in words
        assert "CC BY 4.0" in words
        assert "Alpaydin" in words


@pytest.mark.parametrize(("name", "answers"), [("and", [0, 0, 0, 1]), ("OR", [0, 1, 1, 1]), ("Xor", [0, 1, 1, 0])])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logic_gates(name, answers, dtype):
    X, y = logic_gate(name, dtype)
    assert X.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert y.shape == (4, 1)
    assert y.ravel().tolist() == answers
    assert X.dtype == y.dtype == dtype


def test_unknown_gates():
    with pytest.raises(ValueError, match="did you mean 'xor'"):
        logic_gate("xorr")
    with pytest.raises(TypeError, match="gate must be a name"):
        logic_gate(3)


def test_and_as_one_neuron():
    X, y = logic_gate("and", "float64")
    net = cmlp.MLP([2, 1], loss="binary_cross_entropy", dtype="float64", init=[[[20], [20]]], bias_init=[[-30]])
    assert np.abs(net.predict(X) - y).max() < 1e-4


def test_four_points():
    X, y = four_points("float64")
    samples = [(tuple(x), int(t)) for x, t in zip(X.tolist(), y.ravel(), strict=True)]
    assert samples == [((-3, -3), 1), ((-2, -2), 1), ((4, 4), 0), ((2, -5), 0)]
    assert X.dtype == y.dtype == np.float64
    assert y.shape == (4, 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_headline_is_reproducible_and_as_described(dtype):
    X, y = headline(2000, 50, seed=3, dtype=dtype)
    assert X.shape == (2000, 50)
    assert y.shape == (2000, 1)
    assert X.dtype == y.dtype == dtype
    assert X.flags.c_contiguous
    assert abs(X.mean()) < 0.02
    assert abs(X.std() - 1) < 0.02
    again = headline(2000, 50, seed=3, dtype=dtype)
    np.testing.assert_array_equal(X, again[0])
    np.testing.assert_array_equal(y, again[1])
    assert not np.array_equal(X, headline(2000, 50, seed=4, dtype=dtype)[0])
    # a linear fit finds most of tanh(Xu), and far more than chance
    u = np.linalg.lstsq(X, y, rcond=None)[0]
    assert ((y - X @ u) ** 2).mean() < 0.2 * y.var()


def test_a_smaller_headline_is_the_beginning_of_a_larger():
    small, large = headline(10, 7), headline(1000, 7)
    np.testing.assert_array_equal(small[0], large[0][:10])
    np.testing.assert_allclose(small[1], large[1][:10], rtol=1e-5, atol=1e-6)  # BLAS may round otherwise


@pytest.mark.parametrize("sizes", [(0, 5), (5, 0), (-1, 5)])
def test_headline_needs_positive_sizes(sizes):
    with pytest.raises(ValueError, match="must be an integer >= 1"):
        headline(*sizes)


@pytest.mark.parametrize("dtype", ["float16", "int32", "complex64"])
def test_headline_knows_two_dtypes(dtype):
    with pytest.raises(ValueError, match="unknown dtype"):
        headline(5, 5, dtype=dtype)
