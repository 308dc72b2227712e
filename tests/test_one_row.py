"""learn_one and predict_one: the compiled path does to the bit what the slow one does, and refuses what it refuses."""

from __future__ import annotations

import array
import copy
import datetime
import decimal
import fractions
import pickle
import threading
import weakref

import numpy as np
import pandas
import pytest
from helpers.cases import COMPOSITIONS, FLOATS, flat
from helpers.threads import run_program

import cmlp
from cmlp import SGD, schedules
from cmlp.training import _learn_checked

OPTIMIZERS = {
    "sgd": SGD(0.05),
    "momentum": SGD(0.05, momentum=0.9),
    "nesterov": SGD(0.05, momentum=0.9, nesterov=True),
    "weight decay": SGD(0.05, weight_decay=0.1),
    "l1": SGD(0.05, l1=0.01),
    "max_norm": SGD(0.05, max_norm=0.5),
    "ema": SGD(0.05, averaging=cmlp.EMA(0.9)),
    "everything": cmlp.AdamW(0.01, amsgrad=True, l1=0.01, max_norm=0.9, averaging=cmlp.EMA(0.5)),
    "adam": cmlp.Adam(0.01),
    "rmsprop": cmlp.RMSprop(0.01, momentum=0.5, centered=True),
    "adagrad": cmlp.Adagrad(0.1),
    "schedule": SGD(schedules.InverseScaling(0.1)),
    "function": cmlp.Adam(lambda t: 0.1 / (t + 1)),
    "list": SGD([0.1, 0.01]),
}
NETWORKS = {
    "chain": {},
    "dropout": {"dropout": 0.3},
    "standardize": {"standardize": True},
    "missing": {"missing": "mean"},
    "all": {"dropout": 0.3, "standardize": True, "missing": "mean"},
}


def network(loss="squared_error", n_outputs=1, dtype="float32", **settings):
    settings = {"optimizer": SGD(0.05), "activation": "tanh", "seed": 0, **settings}
    return cmlp.MLP([5, 9, 4, n_outputs], loss=loss, dtype=dtype, **settings)


def slowly(net, x, y, clip_delta=None):
    return _learn_checked(net._model, x, y, clip_delta)


def predict_slowly(net, x):
    return net._model.predict(net._model.row(x))[0]


def state(net):
    """All that learning changes."""
    model = net._model
    arrays = [model.parameters, *model.slots.values(), *model.scaling.buffers]
    return flat(arrays), model.memory, net.n_steps, str(model.rng.bit_generator.state)


def assert_same(a, b):
    (arrays, *rest), (other_arrays, *other_rest) = state(a), state(b)
    np.testing.assert_array_equal(arrays, other_arrays)
    assert rest == other_rest


def outcome(call, *arguments):
    """Return what a call returns, or its error."""
    try:
        return call(*arguments)
    except Exception as error:
        return type(error), str(error)


def stream(net, n, gaps=0.1, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5)) * [1, 10, 0.1, 1, 1] + [0, 5, -1, 0, 3]
    if net.missing == "mean":
        X[rng.random(X.shape) < gaps] = np.nan
    return X.astype(net.dtype), rng.normal(size=n).astype(net.dtype)


def compiled(net, x, y, clip_delta=None):
    """Learn by the compiled path, which must take the sample."""
    net._model.plan_one_row()
    loss = net._one_row.learn(x, y, clip_delta)
    assert loss is not None, (x, y)
    return loss


# ------------------------------------------------------------------------------------------------- the same numbers


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("settings", NETWORKS)
def test_the_compiled_path_learns_what_the_slow_one_learns(simd_level, settings, optimizer, dtype):
    fast, slow = (network(dtype=dtype, optimizer=OPTIMIZERS[optimizer], **NETWORKS[settings]) for _ in range(2))
    for i, (x, y) in enumerate(zip(*stream(fast, 20), strict=True)):
        clip_delta = 0.1 if i % 3 == 0 else None
        assert compiled(fast, x, y, clip_delta) == slowly(slow, x, y, clip_delta)
        assert_same(fast, slow)
        np.testing.assert_array_equal(fast.predict_one(x), predict_slowly(slow, x))


SCHEDULES = [
    schedules.InverseTime(0.5),
    schedules.InverseScaling(0.5, power=0.3),
    schedules.StepDecay(0.5, every=7, factor=0.9),
    schedules.Exponential(0.5, factor=0.99),
    schedules.CosineRestarts(0.1, period=5, growth=2, minimum=0.01),
    schedules.LinearWarmup(schedules.InverseScaling(0.1), steps=300),
    schedules.LinearWarmup([0.1, 0.2], steps=10),
    schedules.OneCycle(0.1, steps=500),
    schedules.Plateau(schedules.InverseTime(0.5), patience=1),
    schedules.PerEpoch([0.1, 0.2]),
    schedules.FromCallable(lambda t: 1 / (t + 2)),
    schedules.Plateau(lambda t: 1 / (t + 2)),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: type(schedule).__name__)
def test_a_schedule_gives_one_row_the_rates_of_its_steps(schedule):
    nets = [network(optimizer=SGD(schedule), dtype="float64") for _ in range(2)]
    X, y = stream(nets[0], 30)
    for i in range(700):
        fast, slow = (learn(net, X[i % 30], y[i % 30]) for learn, net in zip((one, slowly), nets, strict=True))
        assert fast == slow
        if i in (100, 300, 301):  # other ways to train in between
            for net in nets:
                net.fit(X, y * 1e-3, epochs=4, order="given")
        if i in (200, 302):
            for net in nets:
                net.partial_fit(X[:7], y[:7], batch_size=2)
    assert_same(*nets)


def one(net, x, y):
    return net.learn_one(x, y)


def test_a_schedule_of_users_is_asked_for_one_rate_a_step_and_by_no_refused_call():
    asked = []

    class Own(schedules.Exponential):
        def rates(self, first_step, n_steps, epoch):
            asked.append((first_step, n_steps, epoch))
            return super().rates(first_step, n_steps, epoch)

    def rate(t):
        asked.append((t, 1, 0))
        return 0.1

    for given in (Own(0.1, 0.9), rate, schedules.LinearWarmup(rate, 1), schedules.Plateau(Own(0.1, 0.9))):
        net, x = network(optimizer=SGD(given)), np.zeros(5, "float32")
        net.learn_one(x, 1.0)
        asked.clear()
        for y in (1, 0.5, None, [1, 2], np.nan, True):
            outcome(net.learn_one, x, y)
            outcome(net.learn_one, [1, 2], y)
        shift = 1 if isinstance(given, schedules.LinearWarmup) else 0
        assert asked == [(t - shift, 1, 0) for t in (1, 2, 3)]


def test_a_schedule_may_do_what_it_likes():
    def mischief(t):
        net.predict_one(np.full(5, 7.0))  # uses the memory that one row is computed in
        other.resize(5, refcheck=False)
        x.resize(5000, refcheck=False)
        x.resize(5, refcheck=False)
        return 0.1

    x, other = np.arange(5.0), np.arange(5.0)
    net = network(optimizer=SGD(mischief))
    for given in (x, other.tolist(), other.astype("i8")):
        twin = copy.deepcopy(net)
        twin.optimizer = SGD(0.1)
        assert net.learn_one(given, [1.0]) == slowly(twin, np.arange(5.0), 1.0)
        assert_same_parameters(net, twin)

    net = network(optimizer=SGD(lambda t: setattr(net, "optimizer", SGD(0.5)) or 0.1))
    net.learn_one(x, 1.0)
    assert net.optimizer == SGD(0.5)
    net.learn_one(x, 1.0)


@pytest.mark.parametrize("rates", [np.zeros(3) + 0.1, np.zeros(1, "float32"), [0.1], np.zeros((1, 1)), 0.1], ids=repr)
def test_odd_rates_of_users_end_as_on_the_slow_path(rates):
    class Odd(schedules.Schedule):
        def rates(self, first_step, n_steps, epoch):
            return rates

    fast, slow = network(optimizer=SGD(Odd())), network(optimizer=SGD(Odd()))
    found, expected = outcome(fast.learn_one, np.ones(5), 1), outcome(slowly, slow, np.ones(5), 1)
    assert found == expected
    assert_same(fast, slow)


def test_a_schedule_of_users_may_give_the_same_memory_again_and_again():
    memory = np.zeros(1)

    class Own(schedules.Schedule):
        def rates(self, first_step, n_steps, epoch):
            memory.resize(1, refcheck=False)
            memory[0] = 0.1 / (first_step + 1)
            return memory

    fast, slow = network(optimizer=SGD(Own())), network(optimizer=SGD(schedules.InverseTime(0.1)))
    for x, y in zip(*stream(fast, 9), strict=True):
        assert fast.learn_one(x, y) == slowly(slow, x, y)
        memory.resize(9999, refcheck=False)
        memory[:] = 7


def assert_same_parameters(a, b):
    np.testing.assert_array_equal(a._model.parameters, b._model.parameters)


def test_a_schedule_that_fails_is_an_error_and_changes_nothing():
    def rate(t):
        return 0.1 if t < 2 else {2: "a", 3: -1}[t]

    net = network(optimizer=SGD(rate), standardize=True)
    x = np.arange(5.0)
    for _ in range(2):
        net.learn_one(x, 1.0)
    before = state(net)
    with pytest.raises(TypeError, match="the learning rate at step 2 must be a finite number"):
        net.learn_one(x, 1.0)
    net._model.n_steps = 3
    with pytest.raises(ValueError, match="the learning rate at step 3 must be a finite number"):
        net.learn_one(x, 1.0)
    net._model.n_steps = 2
    np.testing.assert_array_equal(state(net)[0], before[0])


# ---------------------------------------------------------------------------------------------- every kind of argument


def wide(x, dtype):
    """A row between others, not aligned."""
    memory = np.zeros(x.size * np.dtype(dtype).itemsize * 2 + 1, np.uint8)[1:].view(dtype)[::2]
    memory[...] = x
    return memory


ROWS = {
    "float32": lambda x: x.astype("float32"),
    "float64": lambda x: x.astype("float64"),
    "big-endian float32": lambda x: x.astype(">f4"),
    "big-endian float64": lambda x: x.astype(">f8"),
    "big-endian int16": lambda x: x.astype(">i2"),
    "unaligned float32": lambda x: wide(x, "float32"),
    "unaligned float64": lambda x: wide(x, "float64"),
    "reversed": lambda x: x[::-1].copy()[::-1],
    "column": lambda x: np.repeat(x[:, None], 3, axis=1)[:, 1],
    "broadcast": lambda x: np.broadcast_to(x[0], 5),
    "bool": lambda x: x > 0,
    "list": lambda x: x.tolist(),
    "tuple": lambda x: tuple(x.tolist()),
    "list of ints": lambda x: [int(value) for value in x],
    "list of bools": lambda x: [bool(value > 0) for value in x],
    "list of np.float32": lambda x: list(x.astype("float32")),
    "mixed list": lambda x: [1, True, 0.1, np.float32(0.1), np.int8(3)],
    **{f"int {letter}": lambda x, letter=letter: x.astype(letter) for letter in "bhilq"},
    **{f"unsigned {letter}": lambda x, letter=letter: abs(x).astype(letter) for letter in "BHILQ"},
}


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("settings", ["chain", "all"])
@pytest.mark.parametrize("kind", [*ROWS, "read-only"])
def test_rows_of_every_kind_are_learnt_without_python(kind, settings, dtype):
    fast, slow = (network(dtype=dtype, **NETWORKS[settings]) for _ in range(2))
    row = {**ROWS, "read-only": read_only}[kind]
    for seed in range(3):
        x = np.random.default_rng(seed).normal(size=5) * 10
        given = row(x)
        np.testing.assert_array_equal(fast.predict_one(given), predict_slowly(slow, row(x)))
        assert fast._one_row.predict(given) is not None
        assert compiled(fast, given, 0.5) == slowly(slow, row(x), 0.5)
        assert_same(fast, slow)


NUMBERS = (0, 1, True, False, 1.0, np.True_, np.float32(1), np.float64(0), *(np.dtype(c).type(1) for c in "bBhHiIlLqQ"))
NUMBER_FORMS = (lambda y: y, np.asarray, lambda y: np.asarray([y]), lambda y: [y], lambda y: (y,))
CLASS_ROWS = ([0, 1, 0], (0.0, 1.0, 0.0), [False, True, False], np.array([0, 0, 1], ">f4"), np.array([0, 1, 0], "u1"))
TARGETS = {
    ("squared_error", 1): (*NUMBERS, -1.5, np.float32(0.1), 0.1, 2**40 + 1),
    ("squared_error", 3): ([1, 2.5, True], np.array([0.1, 0.2, 0.3]), np.arange(6)[::-2]),
    ("absolute_error", 1): NUMBERS,
    ("binary_cross_entropy", 1): (*NUMBERS, 0.25),
    ("binary_cross_entropy", 3): (*CLASS_ROWS, [0.1, 0.2, 1]),
    ("poisson", 1): (*NUMBERS, 7, 2.5),
    ("hinge", 1): (*NUMBERS, -1, np.int8(-1)),
    ("hinge", 3): (*NUMBERS, *CLASS_ROWS, [1, -1, 1], [-1, -1, -1], 2, np.uint8(2)),
    ("cross_entropy", 3): (*NUMBERS, *CLASS_ROWS, [0.25, 0.5, 0.25], np.array([0.1, 0.2, 0.7], "float32"), 2.0),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("case", TARGETS, ids=lambda case: f"{case[0]}-{case[1]}")
def test_targets_of_every_kind_are_learnt_without_python(case, dtype):
    fast, slow = (network(*case, dtype=dtype) for _ in range(2))
    x = np.linspace(-1, 1, 5).astype(dtype)
    for target in TARGETS[case]:
        for form in NUMBER_FORMS if np.ndim(target) == 0 else (lambda y: y, np.asarray, tuple):
            assert compiled(fast, x, form(target)) == slowly(slow, x, form(target))
            assert_same(fast, slow)


@pytest.mark.parametrize("clip_delta", [1, 0.1, np.float32(0.1), np.float64(0.1), np.int64(2)])
def test_clip_delta_of_every_kind_is_taken_without_python(clip_delta):
    fast, slow = network(optimizer=cmlp.Adam(0.1)), network(optimizer=cmlp.Adam(0.1))
    x = np.ones(5, "float32")
    assert compiled(fast, x, 3, clip_delta) == slowly(slow, x, 3, clip_delta)
    assert_same(fast, slow)


class Number(float):
    pass


class Row(np.ndarray):
    pass


TOO_WIDE = (2**53 + 1, 2**63, 2**64, 10**400, np.int64(2**53 + 1), np.uint64(2**63))


def odd_rows():
    x = np.arange(5.0)
    yield from (None, 1, "12345", b"12345", {1, 2, 3, 4, 5}, dict.fromkeys(range(5)), range(5), iter([1, 2, 3, 4, 5]))
    yield from ([], [1, 2], [1] * 6, [[1, 2, 3, 4, 5]], [[1]] * 5, x[None], x[:, None], x[:4], x[:0], np.float64(1))
    for entry in (None, "5", [5], np.array(5), 5j, np.nan, np.inf, 1e39, 1e300, -1e-300, Number(5), *TOO_WIDE):
        yield [1, 2, 3, 4, entry]
    for entry in (fractions.Fraction(1, 2), decimal.Decimal(1), np.float16(0.1), np.longdouble(0.1), 2**53 - 1):
        yield from ((1, 2.5, 3, 4, entry), [entry] * 5)
    for entry in (*TOO_WIDE, 2**62 + 2**30, -(2**63), datetime.date(2020, 1, 1)):
        yield [entry] * 5
    yield from (x.astype(kind) for kind in ("float16", "longdouble", "complex64", "object", "U3", "M8[s]", "m8[s]"))
    yield from (x.view(Row), np.ma.masked_array(x, x > 3), np.rec.array(x), pandas.Series(x), memoryview(x))
    yield from (pandas.Series([1, 2, 3, None, 5], dtype="Int64"), np.zeros(5, "i4,i4"), array.array("f", x))
    for entry in (np.nan, np.inf, -np.inf, 3.4028235677973366e38, 2**128.0, 1e300):
        yield from (np.array([0, 2, 3, 4, entry]), np.array([0, 2, 3, 4, entry], ">f8"))
    yield np.array([2**63, 1, 2**53 + 1, 3, 2**64 - 1], "u8")
    yield np.array([2**53 + 1, -(2**63), 1, 2**62 + 2**38 + 1, 5])
    yield np.array([1, 2, 3, 4, np.nan], ">f4")


def odd_targets():
    yield from (None, "1", b"1", {}, set(), {1}, 1j, range(3), object(), Number(1), fractions.Fraction(1, 2))
    yield from ([], [None], ["1"], [[1]], [[1, 2, 3]], (), np.array([[1]]), np.zeros((1, 3)), np.zeros((3, 1)))
    yield from (-1, 2, 3, -0.5, 0.5, 1.5, 1e39, 1e300, -1e300, np.nan, np.inf, 2**62 + 2**30, *TOO_WIDE)
    yield from (np.nextafter(1, 2), np.nextafter(0, -1), 1 + 1e-9, -1e-60, np.float16(0.5), np.longdouble(0.5))
    yield from ([1, 2], [1, 2, 3], [0, 0, 0], [1, 1, 0], [1, -1, 0], [0, 1, 2], [2, 1, 1], [True, 0, 0.0])
    yield from ([0.5, 0.5, 0.0], [0.5, 0.4, 0.0999], [np.nan] * 3, [0.5, 0.6, -0.1], [0.33, 0.33, 0.339])
    yield from ([1.0005, 0, 0], [0.9995, 0, 0], [0.9985, 0, 0], [1e300, 0, 0])
    for kind in ("f2", "longdouble", "complex64", "object", "U1", "M8[s]", ">i2", "?", "u8", ">f8"):
        yield from (np.array([1, 0, 0], kind), np.array([1], kind), np.array(1, kind))
    yield from (np.array([entry]) for entry in (2**53 + 1, 2**63, np.nan, 1e300))
    yield from (np.array([1.0]).view(Row), np.ma.masked_array([1.0], [True]), pandas.Series([1.0]))
    yield from (pandas.Series([0, 1, 0]), 0.1, 1)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("settings", ["chain", "missing", "all"])
def test_odd_rows_end_as_on_the_slow_path(settings, dtype):
    for given in odd_rows():
        fast, slow = (network(dtype=dtype, **NETWORKS[settings]) for _ in range(2))
        assert outcome(fast.learn_one, given, 0.5) == outcome(slowly, slow, given, 0.5)
        assert_same(fast, slow)
    for given in odd_rows():
        found, expected = outcome(fast.predict_one, given), outcome(predict_slowly, slow, given)
        np.testing.assert_array_equal(np.asarray(found, object), np.asarray(expected, object))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("case", TARGETS, ids=lambda case: f"{case[0]}-{case[1]}")
def test_odd_targets_end_as_on_the_slow_path(case, dtype):
    x = np.linspace(-1, 1, 5)
    for given in odd_targets():
        fast, slow = (network(*case, dtype=dtype) for _ in range(2))
        assert outcome(fast.learn_one, x, given) == outcome(slowly, slow, x, given)
        assert_same(fast, slow)


ODD_LIMITS = [0, -1, np.nan, np.inf, True, np.True_, "1", 10**400, np.array(0.1), np.array([1.0])]


@pytest.mark.parametrize("clip_delta", ODD_LIMITS, ids=repr)
def test_odd_limits_end_as_on_the_slow_path(clip_delta):
    fast, slow = network(), network()
    found = outcome(lambda: fast.learn_one(np.ones(5), 1, clip_delta=clip_delta))
    assert found == outcome(slowly, slow, np.ones(5), 1, clip_delta)
    assert_same(fast, slow)


@pytest.mark.parametrize("settings", NETWORKS)
@pytest.mark.parametrize("optimizer", ["sgd", "everything"])
def test_a_sample_whose_loss_is_not_finite_changes_nothing_but_the_generator(optimizer, settings):
    fast, slow = (network("poisson", optimizer=OPTIMIZERS[optimizer], **NETWORKS[settings]) for _ in range(2))
    x = np.ones(5, "float32")
    for net in (fast, slow):
        net.biases[-1][...] = 100  # e¹⁰⁰ is beyond float32
    for _ in range(2):
        found, expected = outcome(fast.learn_one, x, 1), outcome(slowly, slow, x, 1)
        assert found[0] is cmlp.DivergenceError
        assert found == expected
        assert_same(fast, slow)
    for net in (fast, slow):
        net.biases[-1][...] = 1
    assert fast.learn_one(x, 1) == slowly(slow, x, 1)
    assert_same(fast, slow)


# --------------------------------------------------------------------------------------------- what happens in between


def relearn(net):
    net.learn_one(np.ones(5), 1.0)


CHANGES = {
    "rate": lambda net: setattr(net, "learning_rate", 0.2),
    "schedule": lambda net: setattr(net, "learning_rate", schedules.InverseTime(0.5)),
    "optimizer": lambda net: setattr(net, "optimizer", cmlp.Adagrad(0.1)),
    "weights": lambda net: setattr(net, "weights", [W * 2 for W in net.weights]),
    "views": lambda net: net.weights[0].fill(0.125),
    "fit": lambda net: net.fit(np.eye(5), np.ones(5), epochs=2, order="given"),
    "fit with another optimizer": lambda net: net.fit(np.eye(5), np.ones(5), epochs=1, optimizer=SGD([0.1, 0.3])),
    "refused fit": lambda net: outcome(lambda: net.fit(np.eye(5), np.ones(5), optimizer="adam", batch_size=0)),
    "refused partial_fit": lambda net: outcome(lambda: net.partial_fit(np.eye(5), np.ones(5), clip_norm=-1)),
    "diverged fit": lambda net: outcome(net.fit, np.eye(5) * 1e30, np.ones(5)),
    "callback": lambda net: net.fit(np.eye(5), np.ones(5), epochs=3, callbacks=[lambda net, _: relearn(net)]),
    "evaluate": lambda net: net.evaluate(np.eye(5), np.ones(5)),
    "predict": lambda net: net.predict(np.eye(5)),
}


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "everything", "schedule"])
@pytest.mark.parametrize("change", CHANGES)
def test_one_row_follows_every_change(change, optimizer):
    fast, slow = (network(dtype="float64", optimizer=OPTIMIZERS[optimizer], standardize=True) for _ in range(2))
    X, y = stream(fast, 9)
    for i in range(9):
        if i in (3, 4, 7):
            for net in (fast, slow):
                CHANGES[change](net)
        assert fast.learn_one(X[i], y[i]) == slowly(slow, X[i], y[i])
        assert_same(fast, slow)


@pytest.mark.parametrize("settings", ["chain", "all"])
@pytest.mark.parametrize("optimizer", ["sgd", "everything", "schedule"])
def test_copies_and_files_go_on_alike(optimizer, settings, tmp_path):
    net = network(optimizer=OPTIMIZERS[optimizer], **NETWORKS[settings])
    X, y = stream(net, 20)
    for i in range(10):
        net.learn_one(X[i], y[i])
    net.save(tmp_path / "net")
    others = [copy.deepcopy(net), copy.copy(net), pickle.loads(pickle.dumps(net)), cmlp.load(tmp_path / "net")]
    for i in range(10, 20):
        loss = net.learn_one(X[i], y[i])
        assert [other.learn_one(X[i], y[i]) for other in others] == [loss] * 4
    for other in others:
        assert_same(net, other)


@pytest.mark.parametrize("optimizer", [cmlp.Rprop(), cmlp.LBFGS(), SGD(averaging=cmlp.SWA())], ids=lambda o: o.name)
def test_an_optimiser_that_does_not_suit_a_stream_is_refused_before_the_sample(optimizer):
    net = network()
    net.learn_one(np.ones(5), 1)
    net.optimizer = optimizer
    for sample in ((np.ones(5), 1), ("nonsense", None)):
        with pytest.raises(ValueError, match=r"needs all: use fit|a stream has none"):
            net.learn_one(*sample)


@pytest.mark.parametrize("bits", [np.random.MT19937, np.random.Philox, np.random.SFC64, np.random.PCG64DXSM])
def test_seeds_of_dropout_come_from_any_generator(bits):
    fast, slow = (network(dropout=0.5, seed=np.random.Generator(bits(1))) for _ in range(2))
    for x, y in zip(*stream(fast, 9), strict=True):
        assert fast.learn_one(x, y) == slowly(slow, x, y)
        assert_same_parameters(fast, slow)
    assert fast._model.rng.random() == slow._model.rng.random()


def test_a_generator_in_use_elsewhere_is_waited_for():
    net, twin = network(dropout=0.5), network(dropout=0.5)
    net.learn_one(np.ones(5), 1)
    slowly(twin, np.ones(5), 1)
    lock, held, done = net._model.rng.bit_generator.lock, threading.Event(), threading.Event()

    def hold():
        with lock:
            held.set()
            done.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    assert net._one_row.learn(np.ones(5), 1, None) is None  # and nothing has changed
    done.set()
    thread.join()
    assert net.learn_one(np.ones(5), 1) == slowly(twin, np.ones(5), 1)
    assert_same(net, twin)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
def test_a_row_of_the_weights_themselves_is_learnt_as_it_was(optimizer):
    fast, slow = (cmlp.MLP([4, 4, 3, 1], dtype="float64", seed=0, optimizer=OPTIMIZERS[optimizer]) for _ in range(2))
    for row in (lambda net: net.weights[0][1], lambda net: net.weights[0][:, 1], lambda net: net.biases[0]):
        assert fast.learn_one(row(fast), 1.0) == slowly(slow, row(slow).copy(), 1.0)
        assert_same(fast, slow)


def test_a_target_among_the_parameters_is_taken_as_it_was():
    fast, slow = (network(n_outputs=3, optimizer=cmlp.Adam(0.1)) for _ in range(2))
    for _ in range(3):
        assert fast.learn_one(np.ones(5), fast.biases[-1]) == slowly(slow, np.ones(5), slow.biases[-1].copy())
        assert_same(fast, slow)


def test_one_row_keeps_no_network_alive():
    net = network(optimizer=cmlp.Adam())
    net.learn_one(np.ones(5), 1)
    gone = weakref.ref(net._model)
    del net
    assert gone() is None


def test_threads_may_share_a_network():
    net = network(n_outputs=3, dtype="float64")
    X = np.random.default_rng(0).normal(size=(200, 5))
    expected = net.predict(X)
    wrong = []

    def work():
        for i in range(200):
            rows = X[i : i + 1 + i % 70]
            found = [*net.predict(rows), net.predict_one(rows[0].tolist())]
            wrong.extend([i] if not np.allclose(found, [*expected[i : i + len(rows)], expected[i]]) else [])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_numbers_that_were_not_finite_leave_no_trace_in_the_next_call(simd_level, name):
    net = cmlp.Network(COMPOSITIONS[name]("relu"), 5, seed=0)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(7, 5)).astype("float32"), rng.normal(size=(7, 3)).astype("float32")
    expected, scores, one_by_one = net.predict(X), net.evaluate(X, y), [net.predict_one(x) for x in X]
    for value in (3e38, -3e38):
        far = np.full((7, 5), value, "float32") * np.where(rng.random((7, 5)) < 0.5, 1, -1).astype("float32")
        net.predict(far)
        net.evaluate(far, y)
        net.predict_one(far[0])
        np.testing.assert_array_equal(net.predict(X), expected)
        assert net.evaluate(X, y) == scores
        np.testing.assert_array_equal([net.predict_one(x) for x in X], one_by_one)


def test_rates_whose_memory_changes_the_network_when_it_is_freed():
    """The owner of an array of rates is freed when they have been read: then the plan may be another one."""
    program = """
import numpy as np, cmlp
from cmlp import schedules

class Memory:
    def __init__(self):
        self.rates = np.full(1, 0.01)
        self.__array_interface__ = self.rates.__array_interface__

    def __del__(self):
        if type(net.optimizer) is cmlp.Adam:
            net.optimizer = cmlp.SGD(0.01, momentum=0.5)
            junk.extend(np.full(net._model.program.n_parameters, 1e30, "float32") for _ in range(20))

class Own(schedules.Schedule):
    def rates(self, first, n, epoch):
        return np.asarray(Memory())

junk, kinds = [], set()
net, x = cmlp.MLP([200, 50, 1], seed=0), np.ones(200, "float32")
for _ in range(20):
    net.optimizer = cmlp.Adam(Own())
    net.learn_one(x, 1.0)
    kinds.add((type(net.optimizer).__name__, net.n_steps))
print(kinds, np.isfinite(net.predict_one(x)).all())
"""
    assert run_program(program) == "{('SGD', 1)} True\n"
