"""Numbers at the edge: what training and asking make of them is finite, or an error that says what and where."""

import contextlib
import copy
import io
import warnings

import numpy as np
import pytest

import cmlp
from cmlp import reference
from cmlp.data.samples import split_validation
from cmlp.network import model_of
from tests.helpers import extremes

X = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
Y = (X[:, :1] ** 2).astype("float32")
TIMESTAMPS = np.column_stack([X, 1.7e18 + 1e15 * np.arange(64)]).astype("float32")


@pytest.mark.parametrize("seed", range(30))
def test_any_trouble_with_any_call_ends_well(seed):
    for case in extremes.some_cases(50, seed):
        try:
            extremes.check(case)
        except Exception as error:
            raise AssertionError(f"{case}: {error!r}") from error


def test_every_trouble_and_every_call_is_among_the_cases():
    cases = [case for seed in range(30) for case in extremes.some_cases(50, seed)]
    for field, values in {
        "trouble": extremes.TROUBLES,
        "call": extremes.CALLS,
        "optimizer": extremes.OPTIMIZERS,
        "dtype": extremes.FLOATS,
        "shape": extremes.SHAPES,
        "scaling": extremes.SCALINGS,
    }.items():
        assert {getattr(case, field) for case in cases} == set(values)


# ------------------------------------------------------------------------------------ what optimisers keep overflows

KEEPING_SQUARES = {
    "adam": cmlp.Adam(),
    "amsgrad": cmlp.Adam(amsgrad=True),
    "adamw": cmlp.AdamW(),
    "rmsprop": cmlp.RMSprop(),
    "centered": cmlp.RMSprop(centered=True, momentum=0.9),
    "adagrad": cmlp.Adagrad(),
}


@pytest.mark.filterwarnings("ignore::cmlp.InputScaleWarning")
@pytest.mark.parametrize("batch_size", [1, 16, None])
@pytest.mark.parametrize("optimizer", KEEPING_SQUARES.values(), ids=KEEPING_SQUARES)
def test_squares_of_gradients_that_overflow_are_said(optimizer, batch_size):
    net = cmlp.MLP([4, 8, 1], seed=0, optimizer=optimizer)
    before = extremes.state(net)
    # centered: where the compiler makes no fused multiply-adds, ∞ - ∞ reaches the parameters
    reason = r"the (squares of gradients that the optimizer keeps for|parameters of) layer \d"
    with pytest.raises(cmlp.DivergenceError, match=reason) as caught:
        net.fit(TIMESTAMPS, Y, batch_size=batch_size, order="given")
    assert caught.value.epoch == 0
    assert caught.value.sample is None or "the parameters of" in str(caught.value)
    assert "standardize=True" in str(caught.value)
    assert extremes.state(net)[0] == before[0]
    net.save(io.BytesIO())
    with pytest.raises(cmlp.DivergenceError, match=f"in partial_fit: {reason}"):
        net.partial_fit(TIMESTAMPS, Y, batch_size=batch_size)
    assert extremes.state(net)[0] == before[0]


def learn_again(net, x, times):
    for _ in range(times):
        net.learn_one(x, 0.5)


@pytest.mark.parametrize("rate", [0.01, cmlp.schedules.InverseTime(0.01), cmlp.schedules.FromCallable(lambda t: 0.01)])
@pytest.mark.parametrize("first", [0, 1, 5, 300])
def test_a_stream_says_soon_that_its_squares_have_overflowed(rate, first):
    net = cmlp.MLP([4, 8, 1], seed=0, optimizer=cmlp.Adam(rate))
    ordinary = np.ones(4, "float32")
    learn_again(net, ordinary, first)
    net.learn_one(TIMESTAMPS[0], 0.5)
    assert not np.isfinite(model_of(net).slots["squares"]).all()
    with pytest.raises(cmlp.DivergenceError, match=r"squares of gradients .* layer \d") as caught:
        learn_again(net, ordinary, max(first, 1))
    assert "set net.optimizer, which starts anew" in str(caught.value)
    parameters = model_of(net).parameters.copy()
    assert np.isfinite(parameters).all()
    with pytest.raises(cmlp.DivergenceError):
        net.learn_one(ordinary, 0.5)
    np.testing.assert_array_equal(model_of(net).parameters, parameters)
    net.learning_rate = 0.01  # a function cannot be saved
    with pytest.raises(ValueError, match=r"squares\.weights\.\d is not finite"):
        net.save(io.BytesIO())
    for call in (net.fit, net.partial_fit):  # which cannot mend it either
        with pytest.raises(cmlp.DivergenceError, match=r"They were not finite before this call: set net\.opt"):
            call(X[:, [0, 1, 2, 0]], Y)
    net.optimizer = cmlp.Adam()
    net.learn_one(ordinary, 0.5)
    net.save(io.BytesIO())


def test_parameters_that_a_step_made_infinite_are_said_at_the_next_sample():
    net = cmlp.MLP([1, 1], init=[[[1]]], bias=False, optimizer=cmlp.SGD(1e30))
    net.learn_one([1e10], 0)
    with pytest.raises(cmlp.DivergenceError, match=r"of layer 0 are not finite\. They were not finite before"):
        net.learn_one([1], 0)


def test_an_average_that_overflows_is_said():
    rates = cmlp.schedules.PerEpoch([1e-30, 3.2e38])  # in the second epoch w goes from -3.2e38 to 3.2e38
    net = cmlp.MLP([1, 1], init=[[[-3.2e38]]], bias=False, loss="absolute_error")
    net.optimizer = cmlp.SGD(rates, averaging=cmlp.SWA(0))
    with pytest.raises(cmlp.DivergenceError, match="in epoch 2: the averaged parameters of layer 0 are not finite"):
        net.fit([[0.5]] * 4, [[1.7e38]] * 4, epochs=2)
    assert net.weights[0].item() == np.float32(-3.2e38)


def test_a_sum_of_losses_that_overflows_is_said():
    net = cmlp.MLP([1, 1], init=[[[1]]], bias=False, dtype="float64", optimizer=cmlp.SGD(1e-300))
    with pytest.raises(cmlp.DivergenceError, match="sum of all losses is not finite"):
        net.fit([[0.0]] * 3, [[1.2e154]] * 3, epochs=1, order="given")


def test_an_estimator_that_diverged_under_early_stopping_can_be_saved_and_goes_on():
    model = cmlp.MLPRegressor(early_stopping=True, random_state=0, dtype="float32")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, 1e30 * Y[:, 0])
    assert any("the squares of gradients that the optimizer keeps" in str(warning.message) for warning in caught)
    model.network_.save(io.BytesIO())


def test_held_out_rows_without_weight_are_refused():
    net, weights = cmlp.MLP([3, 1], seed=0), np.zeros(64)
    weights[split_validation(64, 0.1, copy.deepcopy(model_of(net).rng))[0][0]] = 1
    before = extremes.state(net)
    with pytest.raises(ValueError, match=r"validation=0\.1 holds out rows that all have sample_weight 0"):
        net.fit(X, Y, sample_weight=weights, validation=0.1)
    assert extremes.state(net) == before
    weights[:] = np.arange(64) == 5
    model = cmlp.MLPRegressor(early_stopping=True, random_state=0)
    with pytest.raises(ValueError, match="validation samples all have weight 0"):
        model.fit(X, Y[:, 0], sample_weight=weights)


@pytest.mark.filterwarnings("ignore::cmlp.InputScaleWarning", "ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("options", [{"early_stopping": True}, {"solver": "lbfgs"}], ids=str)
def test_estimators_do_not_leak_numpys_warnings(options):
    huge = np.array([[1e155], [-1e155], [3e155]] * 10)
    model = cmlp.MLPRegressor(max_iter=3, random_state=0, **options)
    with contextlib.suppress(ValueError):  # of which the test above is
        model.fit(huge, huge[:, 0])
    assert model.coefs_


# ------------------------------------------------------------------------------------------------------- the reasons


REASONS = {
    "overflow": ({"dtype": "float64"}, 1e200, "the loss is inf at row 2 of X: squared_error overflows"),
    "activation": ({"loss": "poisson"}, 1.0, "the activation of layer 0 is not finite at row 2 of X"),
    "undefined": ({"loss": "poisson", "output_activation": "identity"}, 1.0, "at row 2 of X: poisson is not defined"),
}


@pytest.mark.filterwarnings("ignore::cmlp.InputScaleWarning")
@pytest.mark.parametrize("batch_size", [1, 2, None])
@pytest.mark.parametrize("reason", REASONS)
def test_the_reason_is_the_true_one(reason, batch_size):
    options, y, message = REASONS[reason]
    net = cmlp.MLP([1, 1], init=[[[-1.0]]], bias=False, **options)
    rows = np.zeros((4, 1)) if reason != "undefined" else np.full((4, 1), -1.0)
    rows[2] = -100 if reason == "activation" else 1
    targets = np.ones(4)
    targets[2] = y
    with pytest.raises(cmlp.DivergenceError, match=message) as caught:
        net.fit(rows, targets, batch_size=batch_size, order="given", optimizer=cmlp.SGD(1e-6))
    assert caught.value.sample == 2
    assert "dropout" not in str(caught.value)


def test_a_search_says_what_was_not_finite_and_where():
    net = cmlp.MLP([1, 1], init=[[[1.0]]], bias=False, loss="poisson", dtype="float64")
    for optimizer in (cmlp.LBFGS(), cmlp.GradientDescent(line_search="exact")):
        message = "in iteration 1: the activation of layer 0 is not finite at row 1 of X, at a point that was tried"
        with pytest.raises(cmlp.DivergenceError, match=message) as caught:
            net.fit([[1.0], [800.0]], [1, 1], optimizer=optimizer)
        assert (caught.value.sample, caught.value.layer) == (1, 0)


# -------------------------------------------------------------------------------------------- inputs of another scale


def test_large_columns_are_warned_of_by_name():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(TIMESTAMPS, columns=["a", "b", "c", "time"])
    targets = Y[:, 0]
    for rows, name in ((TIMESTAMPS, "column 3: "), (frame, r"column 3 \('time'\): ")):
        with pytest.warns(cmlp.InputScaleWarning, match=f"{name}.*standardize=True") as caught:
            cmlp.MLP([4, 1], seed=0, optimizer=cmlp.SGD(1e-40)).fit(rows, Y, epochs=3)
        assert [warning.filename for warning in caught] == [__file__]
        with pytest.warns(cmlp.InputScaleWarning, match=name) as caught:
            cmlp.MLPRegressor(solver="lbfgs", max_iter=9, random_state=0, tol=1e30).fit(rows, targets)
        assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize("scale", [1, 255, 2026, 1e6])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ordinary_data_is_not_warned_of(scale, dtype):
    rows = np.clip(X, -1, 1).astype(dtype) * scale
    cmlp.MLP([3, 1], seed=0, optimizer=cmlp.SGD(1e-30)).fit(rows, Y, epochs=1)


def test_no_warning_where_rows_are_standardised():
    net = cmlp.MLP([4, 8, 1], seed=0, standardize=True, optimizer="adam")
    net.fit(TIMESTAMPS.astype("float64"), Y, epochs=2)
    cmlp.MLPRegressor(standardize=True, solver="lbfgs", max_iter=9, tol=1e30).fit(TIMESTAMPS, Y[:, 0])


def test_a_warning_that_is_an_error_changes_nothing():
    net = cmlp.MLP([4, 1], seed=0)
    before = extremes.state(net)
    with pytest.raises(cmlp.InputScaleWarning):
        net.fit(TIMESTAMPS, Y, optimizer="adam")
    assert extremes.state(net) == before


def test_gaps_and_many_large_columns():
    rows = np.full((10, 8), 1e7)
    rows[:, 0] = np.nan
    with pytest.warns(cmlp.InputScaleWarning, match=r"up to 1e\+07 in columns 1, 2, 3, 4, 5 and 2 more"):
        cmlp.MLP([8, 1], missing="mean", optimizer=cmlp.SGD(1e-30)).fit(
            np.vstack([rows, np.zeros(8)]), np.zeros(11), epochs=1
        )


# ------------------------------------------------------------------------------------------------ the readable twin


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_reference_gives_infinities_without_numpys_warnings(dtype):
    W = [np.full((2, 2), 1e30, dtype), np.full((2, 1), 1e30, dtype)]
    b = [np.zeros(2, dtype), np.zeros(1, dtype)]
    x, names = np.full((3, 2), 1e300 if dtype == "float64" else 1e30, dtype), ["relu", "exp"]
    zs, as_ = reference.forward(W, b, names, x)
    assert np.isinf(as_[-1]).all()
    assert np.isinf(reference.predict(W, b, names, x)).all()
    reference.backward(W, zs, as_, names, "poisson", np.ones((3, 1)))
    assert not np.isfinite(reference.train(W, b, names, "poisson", x, np.ones(3), learning_rate=0.1)[0])
    layers = cmlp.chain(cmlp.Dense(2, "exp"), cmlp.Dense(1, "exp"))
    reference.network_forward(layers, W, b, x)
    reference.network_gradients(layers, W, b, "poisson", x, np.ones((3, 1)))


# --------------------------------------------------------------------------------------------------- subnormal errors


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy"])
@pytest.mark.parametrize("batch_size", [1, 5, 32])
@pytest.mark.parametrize("sizes", [[3, 2], [3, 20, 2], [300, 5, 2], [3, 4, 1], [64, 100, 10]], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_error_of_an_excluded_class_is_0_not_subnormal(simd_level, loss, batch_size, sizes, dtype):
    if loss == "cross_entropy":
        sizes = [*sizes[:-1], max(sizes[-1], 2)]
    net = cmlp.MLP(sizes, loss=loss, dtype=dtype, init="zeros", seed=0)
    logit = 95 if dtype == "float32" else 730  # e^-95 = 6e-42
    net.biases[-1][...] = -logit
    net.biases[-1][0] = 0 if loss == "cross_entropy" else logit
    rows = np.ones((32, sizes[0]), dtype)
    y = np.zeros(32, int) if loss == "cross_entropy" else np.eye(sizes[-1], dtype=dtype)[np.zeros(32, int)]
    for b in net.biases[:-1]:
        b[...] = 1  # what the last layer sees
    a = net.predict(rows)[:, 1:]
    assert ((a > 0) & (a < np.finfo(dtype).tiny)).all()
    assert not net.gradients(rows, y).deltas[-1].any()
    net.fit(rows, y, epochs=1, batch_size=batch_size, optimizer=cmlp.SGD(1.0))
    assert not net.weights[-1].any()  # it was 0, and every step is δ times 1
