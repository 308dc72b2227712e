"""Checks of inputs, targets and weights; orders of samples."""

from __future__ import annotations

import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse

from cmlp._base.checks import numeric_array
from cmlp.data.arrays import check_inputs, check_row, check_targets, check_weights
from cmlp.data.samples import sample_order, split_validation
from cmlp.losses import CrossEntropy, Huber

F32, F64 = np.dtype("float32"), np.dtype("float64")
FLOATS = [F32, F64]


class FrameLike:
    """What cmlp sees of a pandas frame or series: __array__, and an iteration over column names."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype=dtype) if copy else np.asarray(self.values, dtype=dtype)

    def __len__(self):
        return len(self.values)

    def __iter__(self):
        return iter(["a", "b", "c"])


def grid(dtype=np.float64, rows=4, columns=3):
    return np.arange(rows * columns, dtype=dtype).reshape(rows, columns)


def unaligned(array):
    """Return a copy of an array that starts one byte off its natural boundary."""
    buffer = np.zeros(array.nbytes + 1, dtype=np.uint8)
    copy = buffer[1:].view(array.dtype).reshape(array.shape)
    copy[...] = array
    assert not copy.flags.aligned
    return copy


# Inputs that fit, and inputs that can be made to fit


@pytest.mark.parametrize("dtype", FLOATS)
def test_what_fits_is_the_same_object(dtype):
    X = grid(dtype)
    assert check_inputs(X, 3, dtype) is X
    x = X[1]
    assert check_row(x, 3, dtype) is x
    X.flags.writeable = False
    assert check_inputs(X, 3, dtype) is X


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("rows", [slice(1, 3), slice(2, 3), slice(0, 4, 4)])
def test_rows_of_a_larger_array_are_not_copied(dtype, rows):
    X = grid(dtype)
    assert np.shares_memory(check_inputs(X[rows], 3, dtype), X)


def test_views_and_subclasses_share_memory():
    X = grid(np.float32)
    assert np.shares_memory(check_inputs(FrameLike(X), 3, F32), X)
    assert np.shares_memory(check_inputs(memoryview(X), 3, F32), X)
    assert np.shares_memory(check_inputs(X.view(np.recarray), 3, F32), X)


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_a_matrix_becomes_an_array_without_a_copy():
    X = grid(np.float32)
    result = check_inputs(np.asmatrix(X), 3, F32)
    assert type(result) is np.ndarray
    assert np.shares_memory(result, X)


def test_a_memory_map_is_not_read_into_memory(tmp_path):
    np.save(tmp_path / "X.npy", grid(np.float32))
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert np.shares_memory(check_inputs(X, 3, F32), X)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "given",
    [
        grid().tolist(),
        tuple(map(tuple, grid().tolist())),
        FrameLike(grid()),
        list(grid()),
        np.asfortranarray(grid()),
        grid().T.copy().T,
        grid(columns=6)[:, :3],
        grid(rows=8)[::2],
        grid()[::-1],
        np.broadcast_to(grid()[1], (4, 3)),
        unaligned(grid(np.float32)),
        unaligned(grid(np.float64)),
        grid(">f4"),
        grid(">f8"),
        grid("<i2"),
        grid(np.uint8),
        grid(np.int64),
        grid(np.float16),
        grid(np.longdouble),
        grid() > 4,
    ],
)
def test_whatever_holds_numbers_is_made_to_fit(dtype, given):
    before = np.array(given)
    result = check_inputs(given, 3, dtype)
    assert result.dtype == dtype
    assert result.flags.c_contiguous
    assert result.flags.aligned
    np.testing.assert_array_equal(result, before.astype(dtype))
    np.testing.assert_array_equal(np.array(given), before)


@pytest.mark.parametrize("given", [grid(np.float32)[:, 1:2], grid(np.float32)[::2, :1], grid(np.float32).T[:1].T])
def test_a_single_column_of_a_larger_array_becomes_contiguous(given):
    result = check_inputs(given, 1, F32)
    assert result.flags.c_contiguous
    np.testing.assert_array_equal(result, given)
    assert memoryview(result).c_contiguous


@given(
    X=hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.int32, np.uint8, np.bool_, np.float16]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
        elements={"allow_nan": False, "allow_infinity": False, "min_value": 0, "max_value": 1},
    ),
    dtype=st.sampled_from(FLOATS),
    transpose=st.booleans(),
    step=st.sampled_from([1, 2, -1]),
)
def test_any_numbers_in_any_layout_come_out_right(X, dtype, transpose, step):
    X = (X.T if transpose else X)[::step]
    result = check_inputs(X, X.shape[1], dtype)
    np.testing.assert_array_equal(result, X.astype(dtype))
    assert result.dtype == dtype
    assert result.flags.c_contiguous
    fits = X.dtype == dtype and X.flags.c_contiguous
    assert np.shares_memory(result, X) == fits


# Inputs that cannot be made to fit


class Sparse:
    """What cmlp sees of a sparse matrix."""

    shape = (4, 3)

    def toarray(self):
        raise AssertionError("densified behind the user's back")


def a_nan(row, column, value=np.nan, dtype=np.float64):
    X = grid(dtype)
    X[row, column] = value
    return X


BAD_INPUTS = {
    "None": (None, TypeError, "X is None, expected an array of real numbers"),
    "number": (3.0, ValueError, r"X has shape \(\), expected \(M, 3\)"),
    "text": ("X.csv", TypeError, r"X is 'X.csv' \(str\), expected an array"),
    "bytes": (b"12", TypeError, "X is b'12'"),
    "dict": ({"a": [1, 2]}, TypeError, r"X is .*\(dict\), expected an array"),
    "set": ({1, 2, 3}, TypeError, r"X is .*\(set\)"),
    "generator": ((row for row in [[1, 2, 3]]), TypeError, r"X is .*\(generator\)"),
    "function": (len, TypeError, "X is .*builtin_function"),
    "object": (object(), TypeError, "X is .*object"),
    "texts": ([["1", "2", "3"]], TypeError, r"X holds text .*np.asarray\(X, dtype=float\)"),
    "mixed": ([[1, 2, 3], [4, "?", 6]], TypeError, r"X holds text, '\?' \(str\) at row 1, column 1"),
    "byte strings": (np.array([[b"1", b"b", b"3"]]), TypeError, "X holds text, b'b' .* at row 0, column 1"),
    "missing": ([[1, 2, 3], [4, 5, None]], TypeError, "X holds objects, None at row 1, column 2"),
    "objects": (grid().astype(object), TypeError, r"X holds objects .*np.asarray\(X, dtype=float\)"),
    "text in objects": (np.array([[1, "two", 3]], dtype=object), TypeError, "'two' .*row 0, column 1"),
    "huge ints": ([[10**30, 1, 2]], TypeError, "X holds objects"),
    "sets": ([[{1}, 2, 3]], TypeError, r"X holds objects, \{1\} \(set\) at row 0, column 0"),
    "complex": (grid(np.complex64), TypeError, "X holds complex numbers, expected real"),
    "dates": (grid(np.int64).astype("M8[D]"), TypeError, "X holds dates, .*row 0, column 0"),
    "datetimes": ([[datetime.date(2020, 1, 1)] * 3], TypeError, "X holds objects, datetime.date"),
    "time spans": (grid(np.int64).astype("m8[s]"), TypeError, "X holds time spans"),
    "records": (np.zeros((4, 3), dtype=[("a", float)]), TypeError, r"X holds \[\('a'"),
    "masked": (np.ma.masked_greater(grid(), 4), TypeError, r"X is a masked array, .*X.filled"),
    "unmasked masked": (np.ma.masked_array(grid()), TypeError, "X is a masked array"),
    "sparse-like": (Sparse(), TypeError, r"X is a sparse Sparse, expected a dense array: X.toarray\(\)"),
    "ragged": ([[1, 2, 3], [4, 5]], ValueError, "X is ragged, expected rows of one length"),
    "ragged nesting": ([[1, 2, 3], 4], ValueError, "X is ragged"),
    "empty list": ([], ValueError, r"X is empty, shape \(0,\); expected \(M, 3\)"),
    "no rows": (np.zeros((0, 3)), ValueError, r"X is empty, shape \(0, 3\)"),
    "no columns": (np.zeros((4, 0)), ValueError, r"X is empty, shape \(4, 0\)"),
    "1-D": (
        [1.0, 2.0, 3.0],
        ValueError,
        r"X has shape \(3,\), expected \(M, 3\): np.reshape\(X, \(1, -1\)\)",
    ),
    "3-D": (np.zeros((4, 3, 1)), ValueError, r"X has shape \(4, 3, 1\), .*np.reshape\(X, \(len\(X\), -1\)\)"),
    "transposed": (np.zeros((3, 4)), ValueError, "X has 4 columns, expected 3, one per input: .*X.T"),
    "wide": (np.zeros((2, 4)), ValueError, "X has 4 columns, expected 3, one per input$"),
    "nan": (a_nan(2, 1), ValueError, "X is nan at row 2, column 1, expected finite"),
    "nan last": (a_nan(3, 2, dtype=np.float32), ValueError, "X is nan at row 3, column 2"),
    "nan in Fortran order": (np.asfortranarray(a_nan(2, 1)), ValueError, "X is nan at row 2, column 1"),
    "nan in float16": (a_nan(0, 2, dtype=np.float16), ValueError, "X is nan at row 0, column 2"),
    "inf": (a_nan(0, 0, np.inf), ValueError, "X is inf at row 0, column 0"),
    "-inf": (a_nan(1, 2, -np.inf), ValueError, "X is -inf at row 1, column 2"),
    "first of two": (np.where(grid() > 6, np.nan, grid()), ValueError, "row 2, column 1"),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("given", "error", "message"), BAD_INPUTS.values(), ids=BAD_INPUTS)
def test_bad_inputs(given, error, message, dtype):
    with pytest.raises(error, match=message) as caught:
        check_inputs(given, 3, dtype)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("kind", ["csr_matrix", "csc_array", "coo_matrix", "dia_array", "lil_matrix"])
def test_sparse_matrices_of_scipy(kind):
    with pytest.raises(TypeError, match=rf"X is a sparse {kind}, expected a dense array: X.toarray\(\)"):
        check_inputs(getattr(sparse, kind)(grid()), 3, F32)


def test_overflow_in_float32_names_the_entry():
    X = a_nan(1, 2, -1e39)
    assert check_inputs(X, 3, F64) is X
    with (
        np.errstate(all="raise"),
        pytest.raises(ValueError, match=r"X is -1e\+39 at row 1, column 2, beyond float32 \(up to 3.4e\+38\): scale"),
    ):
        check_inputs(X, 3, F32)


def test_overflow_of_long_doubles():
    X = a_nan(1, 2, np.longdouble("1e400"), np.longdouble)
    # Where a long double is no wider than a double, 1e400 is infinity already.
    expected = "beyond float64" if np.isfinite(X).all() else "X is inf"
    with pytest.raises(ValueError, match=expected):
        check_inputs(X, 3, F64)


def test_underflow_in_float32_is_no_error():
    with np.errstate(all="raise"):
        assert check_inputs([[1e-300, 1.0]], 2, F32).tolist() == [[0.0, 1.0]]


def test_the_largest_numbers_pass():
    for dtype in FLOATS:
        limit = np.finfo(dtype)
        X = np.array([[limit.max, limit.min, limit.tiny, limit.smallest_subnormal, -0.0]], dtype=dtype)
        assert check_inputs(X, 5, dtype) is X


@given(
    shape=hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
    dtype=st.sampled_from(FLOATS),
    bad=st.sampled_from([np.nan, np.inf, -np.inf]),
    fortran=st.booleans(),
    data=st.data(),
)
def test_the_first_bad_entry_is_found_wherever_it_is(shape, dtype, bad, fortran, data):
    row, column = data.draw(st.integers(0, shape[0] - 1)), data.draw(st.integers(0, shape[1] - 1))
    X = np.zeros(shape, dtype=dtype, order="F" if fortran else "C")
    X[row, column] = bad
    with pytest.raises(ValueError, match=f"X is {bad} at row {row}, column {column}, "):
        check_inputs(X, shape[1], dtype)


def test_an_error_of_the_object_itself_comes_through():
    class Broken:
        def __array__(self, dtype=None, copy=None):
            raise ValueError("no such table")

    with pytest.raises(ValueError, match="no such table"):
        numeric_array(Broken(), "X")


# One row


def test_rows():
    x = np.arange(3, dtype=np.float32)
    assert check_row(x, 3, F32) is x
    row = check_row(np.arange(6.0)[::2], 3, F64)
    assert row.flags.c_contiguous
    np.testing.assert_array_equal(row, [0, 2, 4])
    np.testing.assert_array_equal(check_row((True, 2, 3.5), 3, F32), [1, 2, 3.5])
    np.testing.assert_array_equal(check_row(FrameLike([1, 2, 3]), 3, F32), [1, 2, 3])


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ([[1, 2, 3]], ValueError, r"x has shape \(1, 3\), expected \(3,\), one sample: np.ravel\(x\)"),
        ([1, 2], ValueError, r"x has shape \(2,\), expected \(3,\), one sample$"),
        ([], ValueError, r"x has shape \(0,\)"),
        (5.0, ValueError, r"x has shape \(\)"),
        ([1, np.nan, 3], ValueError, "x is nan at index 1"),
        ([1, 2, 1e39], ValueError, r"x is 1e\+39 at index 2, beyond float32"),
        (["a", "b", "c"], TypeError, "x holds text, 'a'"),
        ([1, 2, None], TypeError, "x holds objects, None .*index 2"),
        ([1, 2, 3j], TypeError, "complex"),
    ],
)
def test_bad_rows(given, error, message):
    with pytest.raises(error, match=message):
        check_row(given, 3, F32)


# Targets


@pytest.mark.parametrize("loss", ["squared_error", "binary_cross_entropy"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_one_output_takes_a_vector_or_a_column_without_a_copy(loss, dtype):
    y = np.array([0, 1, 1, 0.5], dtype=dtype)
    for given_y in (y, y[:, None]):
        targets = check_targets(given_y, 4, 1, loss, dtype)
        assert targets.shape == (4, 1)
        assert targets.dtype == dtype
        assert targets.flags.c_contiguous
        assert np.shares_memory(targets, y)


@pytest.mark.parametrize("loss", ["squared_error", "binary_cross_entropy", "cross_entropy"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_rows_of_targets(loss, dtype):
    y = np.eye(3, dtype=dtype)[[0, 2, 1, 1]]
    y.flags.writeable = False
    assert np.shares_memory(check_targets(y, 4, 3, loss, dtype), y)
    for other in (
        y.tolist(),
        y.astype(int),
        y.astype(bool),
        y.astype(np.float16),
        np.asfortranarray(y),
        FrameLike(y),
    ):
        targets = check_targets(other, 4, 3, loss, dtype)
        assert targets.dtype == dtype
        assert targets.flags.c_contiguous
        np.testing.assert_array_equal(targets, y)


def test_strided_vectors_become_contiguous():
    y = np.arange(8.0)[::2]
    targets = check_targets(y, 4, 1, "squared_error", F64)
    assert targets.flags.c_contiguous
    np.testing.assert_array_equal(targets, [[0], [2], [4], [6]])


@pytest.mark.parametrize(
    "given",
    [
        [0, 2, 1, 1],
        [[0], [2], [1], [1]],
        np.array([0, 2, 1, 1], dtype=np.uint8),
        np.array([0, 2, 1, 1], dtype=np.uint64),
        np.array([0, 2, 1, 1], dtype=">i4"),
        np.array([0.0, 2.0, 1.0, 1.0]),
        np.array([0.0, 2.0, 1.0, 1.0], dtype=np.float16),
        np.array([-0.0, 2.0, 1.0, 1.0], dtype=np.float32),
        np.array([0, 9, 2, 9, 1, 9, 1, 9])[::2],
        unaligned(np.array([0, 2, 1, 1])),
        FrameLike([0, 2, 1, 1]),
    ],
)
def test_class_indices(given):
    targets = check_targets(given, 4, 3, "cross_entropy", F32)
    assert targets.dtype == np.int64
    assert targets.shape == (4,)
    assert targets.flags.c_contiguous
    assert targets.flags.aligned
    np.testing.assert_array_equal(targets, [0, 2, 1, 1])


def test_class_indices_are_copied():
    """So that nobody makes them too large for the core after the check."""
    y = np.array([0, 2, 1, 1])
    for indices in (y, y[:, None]):
        labels = check_targets(indices, 4, 3, "cross_entropy", F32)
        assert labels.tolist() == [0, 2, 1, 1]
        assert not np.shares_memory(labels, y)


def test_bools_are_two_classes():
    targets = check_targets([True, False], 2, 2, "cross_entropy", F32)
    assert targets.dtype == np.int64
    assert targets.tolist() == [1, 0]


def test_probabilities_may_be_rounded():
    rng = np.random.default_rng(3)
    rows = rng.dirichlet(np.ones(10), size=50)
    for dtype in (np.float16, np.float32, np.float64):
        np.testing.assert_allclose(
            check_targets(rows.astype(dtype), 50, 10, "cross_entropy", F64), rows, rtol=1e-3, atol=1e-6
        )


BAD_TARGETS = {
    "text": (["a", "b"], 1, "squared_error", TypeError, "y holds text, 'a'"),
    "none": (None, 1, "squared_error", TypeError, "y is None"),
    "complex": ([1j, 0], 1, "squared_error", TypeError, "y holds complex"),
    "masked": (np.ma.masked_array([1.0, 2.0]), 1, "squared_error", TypeError, "y is a masked array"),
    "sparse": (Sparse(), 1, "squared_error", TypeError, "y is a sparse"),
    "number": (
        1.0,
        1,
        "squared_error",
        ValueError,
        r"y has shape \(\), expected \(2,\) or \(2, 1\), one target per row",
    ),
    "too many": (
        [1, 2, 3],
        1,
        "squared_error",
        ValueError,
        r"y has shape \(3,\), expected \(2,\) or \(2, 1\)",
    ),
    "none at all": ([], 1, "squared_error", ValueError, r"y has shape \(0,\), expected"),
    "row": ([[1, 2]], 1, "squared_error", ValueError, r"y has shape \(1, 2\), expected"),
    "vector": (
        [1, 2],
        3,
        "squared_error",
        ValueError,
        r'\(2,\), expected \(2, 3\).*class indices need loss="cross',
    ),
    "bce vector": ([1, 0], 3, "binary_cross_entropy", ValueError, 'class indices need loss="cross_entropy"'),
    "3-D": (
        np.zeros((2, 3, 1)),
        3,
        "squared_error",
        ValueError,
        r"y has shape \(2, 3, 1\), expected \(2, 3\)",
    ),
    "columns": (np.zeros((2, 2)), 3, "cross_entropy", ValueError, r"expected \(2,\) or \(2, 3\)"),
    "nan": ([0, np.nan], 1, "squared_error", ValueError, "y is nan at row 1, column 0"),
    "inf": ([[0, 0, 0], [0, np.inf, 0]], 3, "squared_error", ValueError, "y is inf at row 1, column 1"),
    "overflow": (
        [0, 1e300],
        1,
        "squared_error",
        ValueError,
        r"y is 1e\+300 at row 1, column 0, beyond float32",
    ),
    "-1 labels": (
        [-1, 1],
        1,
        "binary_cross_entropy",
        ValueError,
        r"y is -1.0 at row 0, column 0, .*\(y \+ 1\) / 2",
    ),
    "bce above": (
        [0, 1.01],
        1,
        "binary_cross_entropy",
        ValueError,
        "y is 1.01 at row 1, column 0, .*from 0 to 1",
    ),
    "bce nan": ([0, np.nan], 1, "binary_cross_entropy", ValueError, "y is nan"),
    "one class": (
        [0, 0],
        1,
        "cross_entropy",
        ValueError,
        'two outputs or more: use loss="binary_cross_entropy"',
    ),
    "class above": (
        [0, 3],
        3,
        "cross_entropy",
        ValueError,
        r"y is 3 at index 1, expected class indices 0 ... 2; np.uni",
    ),
    "class below": ([0, -1], 3, "cross_entropy", ValueError, "y is -1 at index 1"),
    "class half": ([0.5, 1], 3, "cross_entropy", ValueError, "y is 0.5 at index 0"),
    "class nan": ([0, np.nan], 3, "cross_entropy", ValueError, "y is nan at index 1"),
    "class inf": ([np.inf, 0], 3, "cross_entropy", ValueError, "y is inf at index 0"),
    "class uint64": (
        np.array([0, 2**64 - 1], dtype=np.uint64),
        3,
        "cross_entropy",
        ValueError,
        "y is 18446744073709551615",
    ),
    "class names": (["cat", "dog"], 3, "cross_entropy", TypeError, "y holds text, 'cat'"),
    "negative": ([[1, 0, 0], [2, -1, 0]], 3, "cross_entropy", ValueError, "y is 2.0 at row 1, column 0"),
    "below zero": (
        [[1, 0, 0], [1, -0.1, 0.1]],
        3,
        "cross_entropy",
        ValueError,
        "y is -0.1 at row 1, column 1",
    ),
    "row sum": (
        [[1, 0, 0], [1, 1, 0]],
        3,
        "cross_entropy",
        ValueError,
        "y sums to 2 in row 1, expected 1 in every row",
    ),
    "row of zeros": ([[0, 0, 0], [1, 0, 0]], 3, "cross_entropy", ValueError, "y sums to 0 in row 0"),
    "huge rows": (np.full((2, 3), 1e38), 3, "cross_entropy", ValueError, r"y is 1e\+38 at row 0, column 0"),
    "loss": ([0, 1], 1, "mse", ValueError, "unknown loss 'mse'"),
    "negative count": (
        [[1, 0], [2, -3]],
        2,
        "poisson",
        ValueError,
        r"y is -3.0 at row 1, column 1, expected numbers >= 0",
    ),
    "half a sign": ([1, 0.5], 1, "hinge", ValueError, r"y is 0.5 at row 1, column 0, expected -1 or 1"),
    "0 and -1": ([0, -1], 1, "hinge", ValueError, r"y holds 0 and is -1 at row 1, column 0: write no as 0 or as -1"),
    "two of two": ([[1, 0], [1, 1]], 2, "hinge", ValueError, r"y has 2 ones in row 1, expected one-hot.* 2 \* y - 1"),
    "none of two": ([[1, 0], [0, 0]], 2, "hinge", ValueError, "y has 0 ones in row 1, expected one-hot"),
    "sign for index": ([1, -1], 2, "hinge", ValueError, "y is -1 at index 1, expected class indices 0 ... 1"),
    "column for rows": ([1, 2], 2, "huber", ValueError, r"y has shape \(2,\), expected \(2, 2\)"),
}


@pytest.mark.parametrize(
    ("given", "n_outputs", "expected"),
    [
        ([1, -1], 1, [[1], [-1]]),
        ([True, False], 1, [[1], [0]]),
        ([[1, -1, -1], [1, 1, -1]], 3, [[1, -1, -1], [1, 1, -1]]),
        ([2, 0], 3, [2, 0]),
        ([[0, 0, 1], [1, 0, 0]], 3, [2, 0]),
        ([[1, 1], [1, 1]], 2, [[1, 1], [1, 1]]),
    ],
    ids=str,
)
def test_targets_of_hinge(given, n_outputs, expected):
    targets = check_targets(given, 2, n_outputs, "hinge", F32)
    assert targets.dtype == (F32 if np.ndim(expected) == 2 else np.int64)
    np.testing.assert_array_equal(targets, expected)


def test_targets_of_a_loss_with_a_parameter_are_those_of_its_name():
    np.testing.assert_array_equal(check_targets([1, 0], 2, 2, CrossEntropy(0.1), F32), [1, 0])
    np.testing.assert_array_equal(check_targets([1, -7], 2, 1, Huber(2), F32), [[1], [-7]])


@pytest.mark.parametrize(("given", "n_outputs", "loss", "error", "message"), BAD_TARGETS.values(), ids=BAD_TARGETS)
def test_bad_targets(given, n_outputs, loss, error, message):
    with pytest.raises(error, match=message) as caught:
        check_targets(given, 2, n_outputs, loss, F32)
    assert "\n" not in str(caught.value)


@given(y=st.lists(st.integers(0, 6), min_size=1, max_size=20), dtype=st.sampled_from(FLOATS))
def test_indices_and_one_hot_rows_agree(y, dtype):
    indices = check_targets(y, len(y), 7, "cross_entropy", dtype)
    rows = check_targets(np.eye(7)[y], len(y), 7, "cross_entropy", dtype)
    np.testing.assert_array_equal(rows.argmax(axis=1), indices)


# Weights of samples


def test_weights():
    assert check_weights(None, 3) is None
    weights = np.array([1.0, 0.0, 2.0])
    assert check_weights(weights, 3) is weights
    for given_weights in ([1, 0, 2], np.array([1, 0, 2], dtype=np.float32), FrameLike([1, 0, 2])):
        result = check_weights(given_weights, 3)
        assert result.dtype == np.float64
        np.testing.assert_array_equal(result, weights)
    assert check_weights(np.arange(6.0)[::2], 3).flags.c_contiguous


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ([1, 2], ValueError, r"sample_weight has shape \(2,\), expected \(3,\), one per row of X"),
        ([[1], [2], [3]], ValueError, r"sample_weight has shape \(3, 1\)"),
        (1.0, ValueError, r"sample_weight has shape \(\)"),
        ([1, -0.5, 2], ValueError, "sample_weight is -0.5 at index 1, expected numbers >= 0"),
        ([0, 0, 0], ValueError, "sample_weight sums to 0.0, expected a finite sum > 0"),
        ([1e308] * 3, ValueError, "sample_weight sums to inf"),
        ([1, np.nan, 2], ValueError, "sample_weight is nan at index 1"),
        ([1, 2, np.inf], ValueError, "sample_weight is inf at index 2"),
        (["1", "2", "3"], TypeError, "sample_weight holds text"),
        ("balanced", TypeError, "sample_weight is 'balanced'"),
        ([1, 2, None], TypeError, "sample_weight holds objects, None"),
    ],
)
def test_bad_weights(given, error, message):
    with pytest.raises(error, match=message):
        check_weights(given, 3)


# Orders of samples


@given(n=st.integers(1, 200), seed=st.integers(0, 2**32))
def test_orders(n, seed):
    assert sample_order("given", n, np.random.default_rng(seed)) is None
    shuffled = sample_order("shuffle", n, np.random.default_rng(seed))
    drawn = sample_order("replacement", n, np.random.default_rng(seed))
    assert shuffled.dtype == drawn.dtype == np.int64
    np.testing.assert_array_equal(np.sort(shuffled), np.arange(n))
    assert drawn.shape == (n,)
    assert drawn.min() >= 0
    assert drawn.max() < n
    np.testing.assert_array_equal(shuffled, sample_order("shuffle", n, np.random.default_rng(seed)))


def test_orders_are_fresh_each_time_and_differ():
    rng = np.random.default_rng(0)
    first, second = sample_order("shuffle", 100, rng), sample_order("shuffle", 100, rng)
    assert (first != second).any()
    assert len(set(sample_order("replacement", 100, rng).tolist())) < 100


def test_given_order_leaves_the_generator_alone():
    rng = np.random.default_rng(0)
    sample_order("given", 100, rng)
    assert rng.random() == np.random.default_rng(0).random()


@pytest.mark.parametrize(
    ("order", "n", "error", "message"),
    [
        ("SHUFFLE", 3, ValueError, "unknown order 'SHUFFLE' .*did you mean 'shuffle'"),
        (True, 3, TypeError, "order must be a name, not True"),
        ("shuffle", 0, ValueError, "n_samples must be an integer >= 1, not 0"),
        ("given", -3, ValueError, "n_samples must be an integer >= 1, not -3"),
        ("shuffle", 3.0, TypeError, "n_samples must be an integer"),
    ],
)
def test_bad_orders(order, n, error, message):
    with pytest.raises(error, match=message):
        sample_order(order, n, np.random.default_rng(0))


@given(n=st.integers(2, 300), fraction=st.floats(0.01, 0.99), seed=st.integers(0, 2**32))
def test_splits_partition_the_samples(n, fraction, seed):
    expected = round(fraction * n)
    if not 0 < expected < n:
        with pytest.raises(ValueError, match="expected at least one each"):
            split_validation(n, fraction, np.random.default_rng(seed))
        return
    train, validation = split_validation(n, fraction, np.random.default_rng(seed))
    assert train.dtype == validation.dtype == np.int64
    assert len(validation) == expected
    np.testing.assert_array_equal(np.sort(np.concatenate([train, validation])), np.arange(n))
    assert (np.diff(train) > 0).all()
    assert (np.diff(validation) > 0).all()


def test_splits_are_random():
    rng = np.random.default_rng(0)
    assert split_validation(100, 0.5, rng)[1].tolist() != split_validation(100, 0.5, rng)[1].tolist()


@pytest.mark.parametrize(
    ("n", "fraction", "error", "message"),
    [
        (10, 0, ValueError, "validation must be a finite number with 0 < validation < 1, not 0 "),
        (10, 1.0, ValueError, "not 1.0"),
        (10, -0.1, ValueError, "not -0.1"),
        (10, np.nan, ValueError, "not nan"),
        (10, "0.1", TypeError, "validation must be .*not '0.1'"),
        (10, True, TypeError, "validation must be .*not True"),
        (3, 0.1, ValueError, r"validation=0.1 of 3 samples leaves 0 to validate on and 3 to train on"),
        (3, 0.9, ValueError, "leaves 3 to validate on and 0 to train on"),
        (1, 0.5, ValueError, "validation=0.5 of 1 samples"),
        (0, 0.5, ValueError, "n_samples must be an integer >= 1"),
    ],
)
def test_bad_splits(n, fraction, error, message):
    with pytest.raises(error, match=message):
        split_validation(n, fraction, np.random.default_rng(0))
