"""Arrays from pandas' nullable types. What other arrays are checked for: tests/data/test_arrays.py."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import cmlp
from cmlp._base.checks import numeric_array


def frame(**columns):
    return pd.DataFrame({name: pd.array(values, dtype=dtype) for name, (dtype, values) in columns.items()})


@pytest.mark.parametrize(
    ("table", "dtype"),
    [
        (frame(a=("Int64", [1, 2]), b=("Float64", [0.5, 1.5]), c=("boolean", [True, False])), np.float64),
        (frame(a=("Int64", [1, 2]), b=("float64", [0.5, 1.5])), np.float64),
        (frame(a=("Int32", [1, 2]), b=("boolean", [True, False])), np.int32),
        (frame(a=("Float32", [1, 2]), b=("UInt8", [3, 4])), np.float32),
        (frame(a=("boolean", [True, False]), b=("boolean", [True, True])), np.bool_),
        (frame(a=("Int64", [2**62 + 1, 2])), np.int64),
    ],
)
def test_nullable_columns_are_numbers(table, dtype):
    array = numeric_array(table, "X")
    assert array.dtype == dtype
    assert array.tolist() == [[dtype(entry).item() for entry in row] for row in table.to_numpy(object).tolist()]


@pytest.mark.parametrize("dtype", ["Int64", "UInt8", "Float32", "Float64", "boolean"])
def test_nullable_series_and_arrays_are_numbers(dtype):
    column = pd.array([1, 0, 1], dtype=dtype)
    for values in (column, pd.Series(column), pd.Series(column, index=[3, 1, 2])):
        assert numeric_array(values, "y").tolist() == [1, 0, 1]
        assert numeric_array(values, "y").dtype.kind in "biuf"


@pytest.mark.parametrize("dtype", ["Int64", "Float32", "boolean"])
def test_na_is_nan(dtype):
    table = frame(a=(dtype, [1, None]), b=("Float64", [0.5, 1.5]))
    np.testing.assert_array_equal(numeric_array(table, "X"), [[1, 0.5], [np.nan, 1.5]])
    np.testing.assert_array_equal(numeric_array(table["a"], "y"), [1, np.nan])


def test_networks_learn_from_nullable_columns_what_they_learn_from_numbers():
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 5, (20, 2)), rng.integers(0, 3, 20)
    table = frame(a=("Int64", X[:, 0]), b=("Float64", X[:, 1]))
    nets = [cmlp.MLP([2, 3], loss="cross_entropy", seed=0) for _ in range(2)]
    nets[0].fit(X, y, epochs=2)
    nets[1].fit(table, pd.Series(y, dtype="Int64"), epochs=2)
    np.testing.assert_array_equal(nets[0].weights[0], nets[1].weights[0])
    np.testing.assert_array_equal(nets[0].predict(X), nets[1].predict(table))


def test_na_is_an_error_that_names_its_place_or_missing():
    table = frame(a=("Int64", [1, 2, None]), b=("boolean", [True, False, True]))
    net = cmlp.MLP([2, 1], seed=0)
    with pytest.raises(ValueError, match="X is nan at row 2, column 0, expected finite numbers: drop or fill in such"):
        net.fit(table, [1, 2, 3])
    with pytest.raises(ValueError, match="y is nan at row 1, column 0, expected finite numbers: drop or fill in"):
        net.fit([[1, 2]] * 2, pd.Series([1.5, None], dtype="Float64"))
    with pytest.raises(ValueError, match="y is nan at index 1, expected class indices"):
        cmlp.MLP([2, 2], loss="cross_entropy").fit([[1, 2]] * 2, pd.Series([1, None], dtype="Int64"))
    filled = cmlp.MLP([2, 1], seed=0, missing="mean")
    assert np.isfinite(filled.fit(table, [1, 2, 3], epochs=1).loss).all()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pd.DataFrame({"a": pd.array([1, 2], dtype="Int64"), "b": ["x", "y"]}), "'x' .*row 0, column 1"),
        (
            pd.DataFrame({"a": pd.array([1, 2], dtype="Int64"), "b": pd.to_datetime(["2020", "2021"])}),
            "row 0, column 1",
        ),
        (pd.Series(["x", "y"], dtype="category"), "'x' .*index 0"),
    ],
)
def test_other_columns_are_errors(table, message):
    with pytest.raises(TypeError, match=message):
        numeric_array(table, "X")
