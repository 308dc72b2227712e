"""Settings that lose their sense in the network's dtype, and schedules of users' own."""

import math

import numpy as np
import pytest

import cmlp
from cmlp.losses import Huber, Quantile
from cmlp.schedules import Constant, LinearWarmup, Plateau, Schedule

X, Y = np.ones((6, 2)), np.ones((6, 1))


def train(net, how):
    if how == "fit":
        return net.fit(X, Y, epochs=2, batch_size=2)
    return net.partial_fit(X, Y) if how == "partial_fit" else net.learn_one(X[0], Y[0])


WAYS = ("fit", "partial_fit", "learn_one")

LOST = [
    (cmlp.Adam(eps=1e-50), "eps=1e-50 is 0.0 in float32"),
    (cmlp.Adam(eps=2e-45), "eps=6.3.*e-47 is 0.0 in float32"),  # the first step takes ε √(1 - β₂)
    (cmlp.Adam(beta1=1 - 1e-12), "beta1=0.999999999999 is 1.0 in float32"),
    (cmlp.AdamW(beta2=1 - 1e-12), "beta2=0.999999999999 is 1.0 in float32"),
    (cmlp.RMSprop(beta=1 - 1e-12), "^beta=0.999999999999 is 1.0 in float32"),
    (cmlp.RMSprop(eps=1e-50), "eps=1e-50 is 0.0 in float32"),
    (cmlp.Adagrad(eps=1e-50), "eps=1e-50 is 0.0 in float32"),
    (cmlp.SGD(1e-50), "learning_rate=1e-50 is 0.0 in float32"),
    (cmlp.SGD(1e50), "learning_rate=1e.50 is inf in float32"),
    (cmlp.SGD([1e50, 1]), "the rate 1e.50 for step 0: expected a number >= 0 that is finite in float32"),
    (cmlp.SGD(weight_decay=1e39), "weight_decay=1e.39 is inf in float32"),
    (cmlp.SGD(l1=1e39), "l1=1e.39 is inf in float32"),
    (cmlp.SGD(max_norm=1e-50), "max_norm=1e-50 is 0.0 in float32"),
]


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize(
    ("optimizer", "message"), LOST, ids=lambda value: None if isinstance(value, str) else repr(value)
)
def test_a_setting_that_float32_does_not_hold_is_refused(optimizer, message, how):
    net = cmlp.MLP([2, 3, 1], optimizer=optimizer, seed=0)
    before = [W.copy() for W in net.weights]
    with pytest.raises(ValueError, match=message):
        train(net, how)
    assert all(np.array_equal(W, V) for W, V in zip(net.weights, before, strict=True))
    double = cmlp.MLP([2, 3, 1], optimizer=optimizer, dtype="float64", seed=0)
    if not ("1e.39" in message or "1e.50" in message):  # which is large in float64, too
        train(double, how)
        assert all(np.isfinite(W).all() for W in double.weights)


@pytest.mark.parametrize(
    "optimizer", [cmlp.Rprop(min_step=1e-50, max_step=1e-50, learning_rate=1e-50), cmlp.Rprop(decrease=1e-50)]
)
def test_rprop_needs_steps_that_float32_holds(optimizer):
    with pytest.raises(ValueError, match=r"is 0\.0 in float32"):
        cmlp.MLP([2, 1], optimizer=optimizer).fit(X, Y)


@pytest.mark.parametrize("name", ["clip_delta", "clip_value", "clip_norm"])
def test_a_limit_that_is_0_in_float32_is_refused(name):
    with pytest.raises(ValueError, match=rf"{name}=1e-50 is 0.0 in float32.*0 < {name}"):
        cmlp.MLP([2, 1]).fit(X, Y, **{name: 1e-50})


@pytest.mark.parametrize("loss", [Huber(1e-50), Huber(1e50), Quantile(1e-50), Quantile(1 - 1e-12)])
def test_a_loss_whose_parameter_float32_does_not_hold_is_refused(loss):
    with pytest.raises(ValueError, match=r"the parameter of .* in float32"):
        cmlp.MLP([2, 1], loss=loss)
    cmlp.MLP([2, 1], loss=loss, dtype="float64")


def test_an_alpha_that_float32_does_not_hold_is_refused():
    with pytest.raises(ValueError, match=r"alpha=1e\+50 is inf in float32"):
        cmlp.Network(cmlp.chain(cmlp.Dense(3, "elu", alpha=1e50), cmlp.Dense(1)), 2)


def test_an_estimators_settings_are_checked_in_the_dtype_of_its_data():
    model = cmlp.MLPRegressor(solver="adam", epsilon=1e-50, max_iter=2)
    with pytest.raises(ValueError, match=r"eps=1e-50 is 0\.0 in float32"):
        model.fit(X.astype("float32"), Y.ravel().astype("float32"))


# ------------------------------------------------------------------------------------------- schedules of one's own


class Own(Schedule):
    """Gives whatever it is told to."""

    def __init__(self, give, factor=1.0):
        self.give, self.factor = give, factor

    def rates(self, first_step, n_steps, epoch):
        return self.give(n_steps)

    def scale(self, memory):
        return self.factor


WRONG = [
    (lambda n: np.full(n + 1, 0.1), "shape .* steps: expected one rate a step"),
    (lambda n: np.full(n + 2, 0.1), "shape .* steps: expected one rate a step"),
    (lambda n: np.zeros(0), r"an array of shape \(0,\)"),
    (lambda n: np.full((n, 2), 0.1), "expected one rate a step"),
    (lambda n: 0.1, r"an array of shape \(\)"),
    (lambda n: np.full(n, np.nan), "the rate nan for step 0"),
    (lambda n: np.full(n, np.inf), "the rate inf for step 0"),
    (lambda n: np.full(n, -0.1), "the rate -0.1 for step 0"),
    (lambda n: ["a"] * n, "what Own.rates gives holds text"),
    (lambda n: None, "what Own.rates gives"),
    (lambda n: np.full(n, 1j), "what Own.rates gives"),
]


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize(("give", "message"), WRONG)
@pytest.mark.parametrize("around", [lambda s: s, Plateau])
def test_wrong_rates_are_refused(give, message, how, around):
    net = cmlp.MLP([2, 3, 1], optimizer=cmlp.SGD(around(Own(give))), seed=0)
    before = [W.copy() for W in net.weights]
    with pytest.raises((ValueError, TypeError), match=message):
        train(net, how)
    assert all(np.array_equal(W, V) for W, V in zip(net.weights, before, strict=True))
    assert net.n_steps == 0


@pytest.mark.parametrize("give", [lambda n: np.full(n + 1, 0.1), lambda n: np.zeros(0), lambda n: np.zeros((n, 2))])
def test_a_warm_up_to_wrong_rates_is_refused(give):
    for how in WAYS:
        net = cmlp.MLP([2, 1], optimizer=cmlp.SGD(LinearWarmup(Own(give), 2)))
        with pytest.raises(ValueError, match=r"Own.rates gave an array of shape .* steps: expected one rate a step"):
            train(net, how)


def test_fewer_rates_than_steps_are_refused_wherever_a_chunk_ends(monkeypatch):
    monkeypatch.setattr("cmlp._engine.passes.CHUNK_NANOSECONDS", 1.0)  # one batch a chunk
    for n_given in (0, 2, 3, 5, 7):
        net = cmlp.MLP([2, 1], optimizer=cmlp.SGD(Own(lambda n, given=n_given: np.full(given, 0.1))))
        with pytest.raises(ValueError, match=rf"shape \({n_given},\) for 6 steps"):
            net.fit(X, Y)


@pytest.mark.parametrize("factor", [np.nan, np.inf, -1.0, 1e300])
def test_a_scale_that_makes_no_rate_is_refused(factor):
    message = "finite number with 0 <= Own.scale|expected a number >= 0 that is finite in float32"
    for how in WAYS:
        with pytest.raises(ValueError, match=message):
            train(cmlp.MLP([2, 1], optimizer=cmlp.SGD(Own(lambda n: np.ones(n), factor))), how)


@pytest.mark.parametrize(
    "give",
    [
        lambda n: np.full(2 * n, 0.1)[::2],
        lambda n: np.full(n, 0.1, "float32"),
        lambda n: [0.1] * n,
        lambda n: np.full(n, 0.1, ">f8"),
        lambda n: np.full(1, 0.1),
    ],
    ids=["strided", "float32", "list", "swapped", "one"],
)
def test_rates_of_any_type_and_stride_are_taken(give):
    for how in WAYS:
        expected, got = (cmlp.MLP([2, 3, 1], optimizer=cmlp.SGD(s), seed=0) for s in (Constant(0.1), Own(give)))
        train(expected, how)
        train(got, how)
        assert np.allclose(expected.predict(X), got.predict(X), 1e-5)


def test_rates_that_are_changed_afterwards_are_those_that_were_given():
    memory = np.full(6, 0.1)
    net = cmlp.MLP([2, 1], optimizer=cmlp.SGD(Own(lambda n: memory[:n])), seed=0)
    net.learn_one(X[0], Y[0])
    with pytest.raises(ValueError, match="the rate nan for step 7"):
        net.fit(X, Y, epochs=2, callbacks=[lambda *_: memory.fill(np.nan)])
    assert np.isfinite(net.predict(X)).all()


def test_a_function_that_gives_no_rate_is_refused():
    for rate in (0.0, -1.0, math.nan, math.inf, "a", None, [0.1]):
        for how in WAYS:
            with pytest.raises((ValueError, TypeError), match="the learning rate at step 0"):
                train(cmlp.MLP([2, 1], optimizer=cmlp.SGD(lambda t, rate=rate: rate)), how)


def test_an_estimator_refuses_wrong_rates():
    model = cmlp.MLPRegressor(optimizer=cmlp.SGD(Own(lambda n: np.full(n + 1, 0.1))), max_iter=2, batch_size=2)
    with pytest.raises(ValueError, match="expected one rate a step"):
        model.fit(X, Y.ravel())
