"""Learning-rate schedules."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmlp.schedules import (
    Constant,
    FromCallable,
    InverseScaling,
    InverseTime,
    PerEpoch,
    Schedule,
    as_schedule,
    schedule_from_config,
)

RATES = st.floats(1e-6, 10.0)
SCHEDULES = st.one_of(
    st.builds(Constant, RATES),
    st.builds(InverseTime, RATES),
    st.builds(InverseScaling, RATES, st.floats(0.0, 3.0)),
    st.builds(PerEpoch, st.lists(RATES, min_size=1, max_size=5)),
)


def full(schedule, first_step, n_steps, epoch=0):
    """Return the rates, one per step also where they are constant."""
    rates = schedule.rates(first_step, n_steps, epoch)
    assert rates.dtype == np.float64
    assert rates.shape in [(n_steps,), (1,)]
    return np.broadcast_to(rates, n_steps)


def test_the_formulas():
    t = np.arange(5, 12)
    np.testing.assert_array_equal(full(Constant(0.3), 5, 7), np.full(7, 0.3))
    np.testing.assert_allclose(full(InverseTime(0.3), 5, 7), 0.3 / (t + 1), rtol=1e-15)
    np.testing.assert_allclose(full(InverseScaling(0.3), 5, 7), 0.3 / np.sqrt(t + 1), rtol=1e-15)
    np.testing.assert_allclose(full(InverseScaling(0.3, 2), 5, 7), 0.3 / (t + 1) ** 2, rtol=1e-15)
    np.testing.assert_array_equal(full(InverseScaling(0.3, 0), 5, 7), np.full(7, 0.3))
    np.testing.assert_array_equal(full(FromCallable(lambda t: 1 / (t + 2)), 5, 7), 1 / (t + 2))


def test_per_epoch_goes_on_with_the_last_rate():
    schedule = PerEpoch([0.3, 0.2, 0.1])
    assert [full(schedule, 100, 4, epoch).tolist() for epoch in (0, 2, 3, 99)] == [
        [0.3] * 4,
        [0.1] * 4,
        [0.1] * 4,
        [0.1] * 4,
    ]


@given(schedule=SCHEDULES, first=st.integers(0, 10**6), n=st.integers(1, 50), cut=st.integers(0, 50))
def test_rates_do_not_depend_on_how_the_steps_are_cut(schedule, first, n, cut):
    cut = min(cut, n)
    whole = full(schedule, first, n)
    np.testing.assert_array_equal(whole[:cut], full(schedule, first, cut))
    np.testing.assert_array_equal(whole[cut:], full(schedule, first + cut, n - cut))
    assert (whole > 0).all()
    assert (np.diff(whole) <= 0).all()


@given(schedule=SCHEDULES)
def test_configurations_survive_json(schedule):
    config = json.loads(json.dumps(schedule.to_config()))
    assert schedule_from_config(config) == schedule
    assert schedule_from_config(config).to_config() == schedule.to_config()


def test_a_function_cannot_be_saved():
    with pytest.raises(TypeError, match="FromCallable schedule cannot be saved"):
        FromCallable(lambda t: 0.1).to_config()


def test_a_user_schedule_works_but_cannot_be_saved():
    class Mine(Constant):
        pass

    assert as_schedule(Mine(0.1)).rates(0, 3, 0).tolist() == [0.1]
    with pytest.raises(TypeError, match="Mine schedule cannot be saved"):
        Mine(0.1).to_config()


def test_schedule_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Schedule()


@pytest.mark.parametrize(
    "config",
    [
        None,
        [],
        "constant",
        {},
        {"learning_rate": 0.1},
        {"name": "constnat", "learning_rate": 0.1},
        {"name": 3, "learning_rate": 0.1},
        {"name": "constant"},
        {"name": "constant", "learning_rate": "0.1"},
        {"name": "constant", "learning_rate": -0.1},
        {"name": "constant", "learning_rate": 0.1, "extra": 1},
        {"name": "per_epoch", "learning_rates": []},
        {"name": "per_epoch", "learning_rates": 0.1},
        {"name": "per_epoch", "learning_rates": [0.1, None]},
    ],
)
def test_malformed_configurations(config):
    with pytest.raises(ValueError, match=r"schedule|learning_rate"):
        schedule_from_config(config)


def test_reading_a_configuration_leaves_it_alone():
    config = {"name": "constant", "learning_rate": 0.1}
    schedule_from_config(config)
    assert config == {"name": "constant", "learning_rate": 0.1}


class SeriesLike:
    """What cmlp sees of a pandas Series."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype=dtype)

    def __len__(self):
        return len(self.values)

    def __iter__(self):
        return iter(self.values)


@pytest.mark.parametrize(
    ("value", "schedule"),
    [
        (0.5, Constant(0.5)),
        (1, Constant(1.0)),
        (np.float32(0.5), Constant(0.5)),
        (np.int64(2), Constant(2.0)),
        (np.array(0.5), Constant(0.5)),
        (Fraction(1, 2), Constant(0.5)),
        ([0.5, 0.25], PerEpoch((0.5, 0.25))),
        ((0.5, 0.25), PerEpoch((0.5, 0.25))),
        (range(3, 0, -1), PerEpoch((3.0, 2.0, 1.0))),
        (np.array([0.5, 0.25], dtype=np.float32), PerEpoch((0.5, 0.25))),
        (SeriesLike([0.5, 0.25]), PerEpoch((0.5, 0.25))),
        (abs, FromCallable(abs)),
        (InverseTime(0.5), InverseTime(0.5)),
    ],
)
def test_as_schedule(value, schedule):
    assert as_schedule(value) == schedule


def test_as_schedule_keeps_a_schedule():
    schedule = InverseTime(0.1)
    assert as_schedule(schedule) is schedule


def test_a_list_is_kept_apart_from_the_caller():
    listed = [0.1, 0.2]
    schedule = as_schedule(listed)
    listed[0] = 9.0
    assert schedule == PerEpoch((0.1, 0.2))
    assert isinstance(hash(schedule), int)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "0.1",
        b"0.1",
        "constant",
        True,
        1j,
        {0.1, 0.2},
        {0: 0.1},
        (r for r in [0.1]),
        object(),
        Decimal("0.1"),
    ],
)
def test_what_is_no_learning_rate(value):
    with pytest.raises(TypeError, match=r"learning_rate must be a finite number .*, not "):
        as_schedule(value)


def test_a_class_is_no_schedule():
    with pytest.raises(TypeError, match=r"a schedule needs a function of the step t, not .*Constant"):
        as_schedule(Constant)


@pytest.mark.parametrize("rate", [0, 0.0, -0.0, -1, np.nan, np.inf, -np.inf, 10**400, np.float32("nan")])
@pytest.mark.parametrize("make", [Constant, InverseTime, InverseScaling, as_schedule])
def test_a_rate_must_be_finite_and_positive(make, rate):
    with pytest.raises(ValueError, match="learning_rate must be a finite number with 0 < learning_rate, not "):
        make(rate)


@pytest.mark.parametrize(
    ("rates", "error", "message"),
    [
        ([], ValueError, "learning_rates is empty"),
        (np.array([]), ValueError, "learning_rates is empty"),
        ([0.1, -0.1], ValueError, r"learning_rates\[1\] must be .*not -0.1"),
        ([0.1, np.nan], ValueError, r"learning_rates\[1\] must be .*not nan"),
        ([0.1, "0.2"], TypeError, r"learning_rates\[1\] must be .*not '0.2'"),
        ([[0.1, 0.2]], TypeError, r"learning_rates\[0\]"),
        (np.ones((2, 2)), TypeError, r"learning_rates\[0\]"),
        ([True], TypeError, r"learning_rates\[0\] must be .*not True"),
        ("0.1", TypeError, "learning_rates must be a list of numbers, not '0.1'"),
        (0.1, TypeError, "learning_rates must be a list of numbers, not 0.1"),
        (np.array(0.1), TypeError, "learning_rates must be a list of numbers"),
    ],
)
def test_bad_rates_per_epoch(rates, error, message):
    with pytest.raises(error, match=message):
        PerEpoch(rates)


@pytest.mark.parametrize("power", [-0.5, np.nan, np.inf])
def test_power_must_not_be_negative(power):
    with pytest.raises(ValueError, match="power must be a finite number with 0 <= power, not "):
        InverseScaling(0.1, power)


@pytest.mark.parametrize(
    ("bad", "error"),
    [(0.0, ValueError), (np.nan, ValueError), (np.inf, ValueError), ("1", TypeError), (None, TypeError)],
)
def test_what_a_function_returns_is_checked_with_its_step(bad, error):
    schedule = FromCallable(lambda t: bad if t == 12 else 0.1)
    np.testing.assert_array_equal(schedule.rates(10, 2, 0), [0.1, 0.1])
    with pytest.raises(error, match="the learning rate at step 12 must be a finite number"):
        schedule.rates(10, 5, 0)


def test_a_function_sees_python_ints_in_order_and_may_return_any_number():
    seen = []

    def function(t):
        seen.append(t)
        return [1, np.float32(0.5), np.int8(2), np.array(0.25)][t - 3]

    np.testing.assert_array_equal(FromCallable(function).rates(3, 4, 0), [1, 0.5, 2, 0.25])
    assert seen == [3, 4, 5, 6]
    assert all(type(t) is int for t in seen)


def test_an_error_in_the_function_comes_through():
    with pytest.raises(ZeroDivisionError):
        FromCallable(lambda t: 1 / t).rates(0, 3, 0)


def test_schedules_are_frozen():
    with pytest.raises(AttributeError):
        Constant(0.1).learning_rate = 0.2
