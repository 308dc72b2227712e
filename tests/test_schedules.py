"""Learning-rate schedules."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cmlp
from cmlp.schedules import (
    Constant,
    CosineRestarts,
    Exponential,
    FromCallable,
    InverseScaling,
    InverseTime,
    LinearWarmup,
    OneCycle,
    PerEpoch,
    Plateau,
    Schedule,
    StepDecay,
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
FACTORS, COUNTS = st.floats(0.1, 0.9), st.integers(1, 10**5)
STEPWISE = st.one_of(
    SCHEDULES,
    st.builds(StepDecay, RATES, st.integers(10**4, 10**5), FACTORS),
    st.builds(Exponential, RATES, FACTORS, st.integers(10**4, 10**5)),
    st.builds(CosineRestarts, RATES, COUNTS, st.integers(1, 4)),
    st.builds(OneCycle, RATES, st.integers(20, 10**6), st.floats(0.1, 0.9)),
)
ALL = st.one_of(
    STEPWISE,
    st.builds(LinearWarmup, st.one_of(RATES, STEPWISE), COUNTS),
    st.builds(Plateau, st.one_of(RATES, STEPWISE), FACTORS, COUNTS, st.floats(0, 1)),
    st.builds(LinearWarmup, st.builds(Plateau, STEPWISE), COUNTS),
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


@given(schedule=ALL, first=st.integers(0, 10**6), n=st.integers(1, 50), cut=st.integers(0, 50))
def test_rates_of_all_schedules_do_not_depend_on_how_the_steps_are_cut(schedule, first, n, cut):
    cut = min(cut, n)
    whole = full(schedule, first, n)
    np.testing.assert_allclose(whole[:cut], full(schedule, first, cut), rtol=1e-15)
    np.testing.assert_allclose(whole[cut:], full(schedule, first + cut, n - cut), rtol=1e-15)
    assert (whole >= 0).all()


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (StepDecay(0.8, every=3, factor=0.5), [0.8, 0.8, 0.8, 0.4, 0.4, 0.4, 0.2, 0.2]),
        (StepDecay(1.0, every=1), [1, 0.1, 0.01, 1e-3, 1e-4]),
        (Exponential(0.8, factor=0.5), [0.8, 0.4, 0.2, 0.1]),
        (Exponential(0.8, factor=0.01, every=2), [0.8, 0.08, 0.008, 0.0008]),
        (CosineRestarts(1.0, period=2), [1, 0.5, 1, 0.5, 1, 0.5]),
        (CosineRestarts(1.0, period=3, minimum=0.2), [1, 0.8, 0.4, 1, 0.8, 0.4]),
        (CosineRestarts(1.0, period=1, growth=3), [1, 1, 0.75, 0.25, 1]),
        (CosineRestarts(2.0, period=2, growth=2), [2, 1, 2, 1 + 0.5**0.5, 1, 1 - 0.5**0.5, 2]),
        (LinearWarmup(0.4, steps=4), [0.1, 0.2, 0.3, 0.4, 0.4]),
        (LinearWarmup(InverseTime(1.0), steps=2), [0.5, 1, 1, 1 / 2, 1 / 3]),
        (LinearWarmup(PerEpoch([0.6, 0.1]), steps=3), [0.2, 0.4, 0.6, 0.6]),
        (LinearWarmup(Exponential(1.0, 0.5), steps=1), [1, 1, 0.5, 0.25]),
        (OneCycle(1.0, steps=5, rising=0.6, start_divisor=10, end_divisor=10), [0.1, 0.55, 1, 0.505, 0.01, 0.01]),
        (OneCycle(1.0, steps=4, rising=0.5, start_divisor=2, end_divisor=1), [0.5, 1, 0.75, 0.5, 0.5]),
        (OneCycle(1.0, steps=3), [0.04, 1, 4e-6, 4e-6]),
        (OneCycle(1.0, steps=2), [0.04, 4e-6, 4e-6]),
    ],
    ids=repr,
)
def test_against_values_by_hand(schedule, rates):
    np.testing.assert_allclose(full(schedule, 0, len(rates)), rates, rtol=1e-12)
    one_by_one = [full(schedule, t, 1).item() for t in range(len(rates))]
    np.testing.assert_allclose(one_by_one, rates, rtol=1e-12)


def test_one_cycle_rises_for_three_tenths_of_its_steps_unless_they_are_fewer_than_four():
    assert [OneCycle(0.1, steps).rising for steps in (2, 3, 4, 5, 1000)] == [2 / 3, 2 / 3, 0.3, 0.3, 0.3]
    assert OneCycle(0.1, 4) == OneCycle(0.1, 4, 0.3)
    assert repr(OneCycle(0.1, 4)) == (
        "OneCycle(learning_rate=0.1, steps=4, rising=0.3, start_divisor=25.0, end_divisor=10000.0)"
    )
    assert schedule_from_config(OneCycle(0.1, 3).to_config()) == OneCycle(0.1, 3)
    with pytest.raises(ValueError, match=r"0.333.* < rising < 1, not 0.3 "):
        OneCycle(0.1, 3, rising=0.3)


def test_plateau_cuts_after_two_epochs_in_a_row_without_improvement():
    schedule = Plateau(1.0, factor=0.2, patience=2, tol=0.1)
    memory = schedule.memory
    scales = []
    for loss in [1.0, 0.95, 0.85, 0.84, 0.83, 0.82, 0.81, np.nan, 0.5, 0.6, 0.3, 0.3, np.nan]:
        schedule.observe(memory, loss)
        scales.append(schedule.scale(memory))
    expected = [1, 1, 1, 1, 0.2, 0.2, 0.04, 0.04, 0.04, 0.04, 0.04, 0.04, 0.008]
    np.testing.assert_allclose(scales, expected)  # 0.95: not by 0.1; 0.85: by 0.1 from 0.95, the best
    assert memory["best_loss"] == 0.3
    np.testing.assert_array_equal(schedule.rates(5, 3, 0), [1.0])


def test_plateau_is_the_adaptive_rate_of_scikit_learn():
    """Of MLPClassifier: the rate is divided by 5 after n_iter_no_change + 1 epochs without improvement."""
    losses = np.random.default_rng(0).uniform(0, 1, 300).tolist()
    schedule, n_iter_no_change, tol = Plateau(0.1, 0.2, 4, 1e-2), 3, 1e-2
    memory, rate, best, count = schedule.memory, 0.1, np.inf, 0
    for loss in losses:  # BaseMultilayerPerceptron._update_no_improvement_count and _fit_stochastic
        count = count + 1 if loss > best - tol else 0
        best = min(best, loss)
        if count > n_iter_no_change:
            rate, count = rate / 5, 0
        schedule.observe(memory, loss)
        assert 0.1 * schedule.scale(memory) == pytest.approx(rate)
    assert rate < 1e-9


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: LinearWarmup(s, 5)], ids=["plateau", "warmup_of_plateau"])
@pytest.mark.parametrize("saved", [False, True])
def test_plateau_watches_training_over_fits_and_files(wrap, saved, tmp_path):
    schedule = wrap(Plateau(0.1, factor=0.5, patience=2, tol=0.05))
    X, y = np.linspace(-1, 1, 20)[:, None], np.linspace(-1, 1, 20)
    net = cmlp.MLP([1, 1], dtype="float64", seed=0, optimizer=cmlp.SGD(schedule))
    whole = cmlp.MLP([1, 1], dtype="float64", seed=0)
    once = whole.fit(X, y, epochs=9, order="given", optimizer=cmlp.SGD(schedule))
    rates = []
    for _ in range(3):
        rates += net.fit(X, y, epochs=3, order="given").learning_rate
        if saved:
            net.save(tmp_path / "net.cmlp")
            net = cmlp.load(tmp_path / "net.cmlp")
    assert rates == once.learning_rate
    np.testing.assert_array_equal(net.weights[0], whole.weights[0])
    assert net._model.memory == whole._model.memory
    assert rates[0] == 0.1
    assert rates[-1] <= 0.025
    net.optimizer = cmlp.SGD(schedule)
    assert net._model.memory == schedule.memory


def test_plateau_watches_the_validation_loss():
    net = cmlp.MLP([1, 1], dtype="float64", seed=0, optimizer=cmlp.SGD(Plateau(0.01, patience=1, tol=0)))
    X, y = np.linspace(-1, 1, 20)[:, None], np.linspace(-1, 1, 20)
    history = net.fit(X, y, epochs=6, validation=(X, y + 100))
    assert net._model.memory["best_loss"] == min(history.validation_loss)
    assert (np.array(history.learning_rate) == 0.01).any()


@given(schedule=ALL)
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


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: StepDecay(0.1, 0), ValueError, "every must be an integer >= 1, not 0"),
        (lambda: StepDecay(0.1, 5, 1), ValueError, "0 < factor < 1, not 1 "),
        (lambda: StepDecay(0.1, 2**62), ValueError, r"every must be below 2\*\*62"),
        (lambda: Exponential(0.1, 0), ValueError, "0 < factor < 1, not 0 "),
        (lambda: Exponential(-1, 0.5), ValueError, "0 < learning_rate, not -1 "),
        (lambda: CosineRestarts(0.1, 2.5), TypeError, "period must be an integer"),
        (lambda: CosineRestarts(0.1, 5, 0), ValueError, "growth must be an integer >= 1"),
        (lambda: CosineRestarts(0.1, 5, minimum=0.1), ValueError, "minimum must be below learning_rate=0.1, not 0.1"),
        (lambda: LinearWarmup(0.1, 0), ValueError, "steps must be an integer >= 1"),
        (lambda: LinearWarmup("0.1", 5), TypeError, "learning_rate must be a finite number"),
        (lambda: OneCycle(0.1, 1), ValueError, "steps must be an integer >= 2"),
        (lambda: OneCycle(0.1, 9, rising=1), ValueError, "< rising < 1"),
        (lambda: OneCycle(0.1, 5, rising=0.2), ValueError, "0.2 < rising < 1"),
        (lambda: OneCycle(0.1, 9, start_divisor=0.5), ValueError, "1 <= start_divisor"),
        (lambda: Plateau(0.1, factor=2), ValueError, "0 < factor < 1"),
        (lambda: Plateau(0.1, patience=0), ValueError, "patience must be an integer >= 1"),
        (lambda: Plateau(0.1, tol=-1), ValueError, "0 <= tol"),
        (lambda: Plateau(Plateau(0.1)), ValueError, "must not watch the loss itself"),
        (lambda: Plateau(LinearWarmup(Plateau(0.1), 3)), ValueError, "must not watch the loss itself"),
    ],
)
def test_bad_settings(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_wrapped_number_is_kept_as_one():
    assert LinearWarmup(Constant(0.1), 3) == LinearWarmup(0.1, 3)
    assert Plateau([0.1, 0.2]).learning_rate == PerEpoch((0.1, 0.2))
    with pytest.raises(TypeError, match="cannot be saved"):
        Plateau(lambda t: 0.1).to_config()


def test_rates_far_out_are_numbers():
    for schedule in (StepDecay(0.1, 5), Exponential(0.1, 0.5), CosineRestarts(0.1, 3, 2), OneCycle(0.1, 9)):
        assert np.isfinite(full(schedule, 2**61, 5)).all()


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
        {"name": "step_decay", "learning_rate": 0.1},
        {"name": "step_decay", "learning_rate": 0.1, "every": 10**30},
        {"name": "exponential", "learning_rate": 0.1, "factor": 1},
        {"name": "cosine_restarts", "learning_rate": 0.1, "period": 1.5},
        {"name": "linear_warmup", "learning_rate": {"name": "nonsense"}, "steps": 3},
        {"name": "linear_warmup", "learning_rate": {"name": "constant", "learning_rate": 0}, "steps": 3},
        {"name": "plateau", "learning_rate": {"name": "plateau", "learning_rate": 0.1}},
        {"name": "plateau", "learning_rate": 0.1, "tol": {"name": "constant", "learning_rate": 1}},
    ],
)
def test_malformed_configurations(config):
    with pytest.raises(ValueError, match=r"schedule|learning_rate|every|factor"):
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
