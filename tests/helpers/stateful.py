"""Random programs of calls on one network, right ones and wrong ones in any order, for tests and `tools/stateful.py`.

Whatever a call was given is named, so that a failing program can be read. A call with nothing wrong in it has to go
through, one with something wrong has to be refused, and then everything is what it was before, to the bit.
"""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from inspect import signature
from typing import ClassVar

import hypothesis
import hypothesis.strategies as st
import numpy as np
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from numpy.lib.stride_tricks import as_strided
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import cmlp
from cmlp import reference
from cmlp.layers import Activation, Dense, Dropout, Identity, add, chain, concatenate
from cmlp.losses import FACTS, CrossEntropy, Huber, Quantile, loss_name
from cmlp.optimizers import Optimizer


class Own(Exception):
    """What users' code raises in the middle of a call."""


# ------------------------------------------------------------------------------------------- arrays, right and wrong


class Arraylike:
    """What turns into an array when it is asked to."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array if dtype is None else self.array.astype(dtype)

    def __len__(self):
        return len(self.array)


class Raising:
    """What cannot."""

    shape, dtype, ndim = (2, 2), np.dtype(float), 2

    def __array__(self, dtype=None, copy=None):
        raise Own("no array today")


def unaligned(array):
    memory = np.zeros(array.nbytes + 1, np.uint8)
    out = memory[1:].view(array.dtype)[: array.size].reshape(array.shape)
    out[...] = array
    return out


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


FORMS = {
    "float64": lambda a: a.astype("float64"),
    "float32": lambda a: a.astype("float32"),
    "float16": lambda a: a.astype("float16"),
    "longdouble": lambda a: a.astype(np.longdouble),
    "big-endian": lambda a: a.astype(">f8"),
    "list": lambda a: a.tolist(),
    "tuple of rows": tuple,
    "Fortran order": np.asfortranarray,
    "every other": lambda a: np.repeat(a, 2, axis=0)[::2],
    "backward": lambda a: a[::-1],
    "read-only": read_only,
    "unaligned": unaligned,
    "memoryview": lambda a: memoryview(np.ascontiguousarray(a)),
    "recarray": lambda a: a.view(np.recarray),
    "arraylike": Arraylike,
    "broadcast": lambda a: np.broadcast_to(a[:1], a.shape).copy(),
    "without strides": lambda a: as_strided(a[:1], a.shape, (0, *a.strides[1:])),
}

WRONG = {
    "infinity": lambda a: with_entry(a, np.inf),
    "minus infinity at the end": lambda a: with_entry(a, -np.inf, -1),
    "too short": lambda a: a[:-1],
    "too long": lambda a: np.concatenate([a, a[:1]]),
    "empty": lambda a: a[:0],
    "three axes": lambda a: a.reshape(*a.shape, *[1] * (4 - a.ndim)),
    "ragged": lambda a: [[1.0], [1.0, 2.0]] * len(a),
    "texts": lambda a: np.full(a.shape, "one"),
    "objects": lambda a: np.full(a.shape, None),
    "complex": lambda a: a + 1j,
    "masked": lambda a: np.ma.masked_array(a),
    "dates": lambda a: np.full(a.shape, np.datetime64("2020-01-01")),
    "numbers beyond all types": lambda a: np.full(a.shape, 10**400, object).tolist(),
    "a number beyond the type": lambda a: with_entry(a.astype(np.longdouble), np.longdouble("1e400")),
    "None": lambda a: None,
    "a text": lambda a: "X",
    "bytes": lambda a: b"X",
    "a dict": lambda a: {"X": 1},
    "a set": lambda a: {1.0, 2.0},
    "a generator": lambda a: (row for row in a),
    "a class": lambda a: np.ndarray,
    "raises": lambda a: Raising(),
}
NOT_NUMBERS = {"NaN": lambda a: with_entry(a, np.nan), "NaN at the end": lambda a: with_entry(a, np.nan, -1)}
WRONG_X = {
    **{name: make for name, make in WRONG.items() if name not in ("too short", "too long")},
    "a column more": lambda a: np.c_[a, a[:, :1]],
    "no columns": lambda a: a[:, :0],
    "one row": lambda a: a[0],
    "one number": lambda a: 0.5,
}
WRONG_ROW = {**{name: make for name, make in WRONG.items() if name not in ("a set",)}, "a matrix": lambda a: a[None]}


def with_entry(a, value, at=0):
    a = np.array(a, dtype=np.longdouble if isinstance(value, np.longdouble) else float)
    a.flat[at] = value
    return a


# ------------------------------------------------------------------------------------------------------- networks

COMPOSITIONS = {  # of k inputs and m outputs; f: an activation
    "dense": lambda m, f: Dense(m),
    "chain": lambda m, f: chain(Dense(3, f), Dense(m)),
    "without biases": lambda m, f: chain(Dense(3, f, bias=False), Dense(m, bias=False)),
    "concatenation": lambda m, f: chain(concatenate(Dense(3, f), Identity()), Dense(m)),
    "residual": lambda m, f: chain(Dense(4, f), add(Identity(), chain(Dense(2, f), Dense(4))), Dense(m)),
    "dropout": lambda m, f: chain(Dropout(0.2), Dense(4, f), Dropout(0.5), Dense(m)),
    "sum": lambda m, f: chain(add(Dense(3, f), Dense(3)), Activation(f), Dense(m)),
}
LOSSES = {
    **{name: name for name in FACTS},
    "Huber": Huber(0.5),
    "Quantile": Quantile(0.9),
    "CrossEntropy": CrossEntropy(0.1),
}
OUTPUTS = {"cross_entropy": "softmax", "binary_cross_entropy": "sigmoid", "poisson": "softplus"}

OPTIMIZERS = {
    "sgd": cmlp.SGD(0.05),
    "momentum": cmlp.SGD(0.05, momentum=0.9, nesterov=True),
    "decay and averages": cmlp.SGD(0.05, weight_decay=0.01, averaging=cmlp.EMA(0.9)),
    "momentum and averages": cmlp.SGD(0.05, 0.5, averaging=cmlp.EMA(0.5), max_norm=2.0),
    "averages of epochs": cmlp.SGD(0.05, averaging=cmlp.SWA(1)),
    "list": cmlp.SGD([0.1, 0.01]),
    "function": cmlp.SGD(lambda t: 0.1 / (t + 1)),
    "plateau": cmlp.SGD(cmlp.schedules.Plateau(0.05, patience=1), momentum=0.5),
    "warmup": cmlp.Adam(cmlp.schedules.LinearWarmup(cmlp.schedules.Plateau(lambda t: 0.01), 3)),
    "adam": cmlp.Adam(0.01),
    "adamw": cmlp.AdamW(0.01, amsgrad=True, l1=0.001, averaging=cmlp.EMA(0.9)),
    "adam of epochs": cmlp.Adam(0.01, averaging=cmlp.SWA()),
    "rmsprop": cmlp.RMSprop(0.01, momentum=0.5, centered=True),
    "adagrad": cmlp.Adagrad(0.1),
    "rprop": cmlp.Rprop(),
    "descent": cmlp.GradientDescent(0.05),
    "line search": cmlp.GradientDescent(line_search="exact"),
    "lbfgs": cmlp.LBFGS(),
    "a name": "adam",
}


class Rates(cmlp.schedules.Schedule):
    """A schedule of a user's that gives whatever a function makes of the number of rates."""

    def __init__(self, give):
        self.give = give

    def rates(self, first_step, n_steps, epoch):
        return self.give(n_steps)


def failing(error, at):
    """Return a rate that is right until a step."""

    def rate(t):
        if t < at:
            return 0.05
        if isinstance(error, Exception):
            raise error
        return error

    return rate


FAILING = {  # optimisers that training finds out about
    "a negative rate": cmlp.SGD(failing(-1.0, 0)),
    "NaN from step 5 on": cmlp.Adam(failing(np.nan, 5), averaging=cmlp.EMA(0.9)),
    "a text from step 9 on": cmlp.SGD(failing("fast", 9), momentum=0.9),
    "raises": cmlp.SGD(failing(Own("no rate today"), 0), averaging=cmlp.SWA()),
    "raises from step 7 on": cmlp.RMSprop(failing(Own("no rate today"), 7)),
    "divides by zero": cmlp.SGD(lambda t: 1 / (t - 3)),
    "rates missing": cmlp.SGD(Rates(lambda n: np.full(n // 2 + 2, 0.05)[: n - 1] if n > 1 else np.zeros(0))),
    "too many rates": cmlp.SGD(Rates(lambda n: np.full(n + 1, 0.05))),
    "a list of texts": cmlp.Adam(Rates(lambda n: ["fast"] * n)),
    "rates with NaN": cmlp.SGD(Rates(lambda n: np.full(n, np.nan))),
    "rates below zero": cmlp.SGD(Rates(lambda n: np.full(n, -0.05))),
    "a matrix of rates": cmlp.SGD(Rates(lambda n: np.full((n, 1), 0.05))),
    "no rates": cmlp.SGD(Rates(lambda n: None), momentum=0.5),
}

WRONG_SETTINGS = {
    "seed": [-1, 1.5, "seed"],
    "loss": ["mean_squared_error", None, 3, Huber],
    "optimizer": ["stochastic", 3, cmlp.SGD, {"name": "sgd"}],
    "dtype": ["float16", int, "half", None, 64],
    "standardize": [1, None, "yes"],
    "missing": ["median", None, 3, True],
    "n_inputs": [0, -1, 2.0, "3", None, True],
}


@st.composite
def networks(draw):
    """Return what makes a network: keywords, and the name of a composition."""
    loss = draw(st.sampled_from(list(LOSSES)))
    m = draw(st.integers(1, 3))
    return {
        "composition": draw(st.sampled_from(list(COMPOSITIONS))),
        "n_inputs": draw(st.integers(1, 3)),
        "n_outputs": max(m, 2) if loss_name(LOSSES[loss]) == "cross_entropy" else m,
        "activation": draw(st.sampled_from(["relu", "tanh", "gelu"])),
        "loss": loss,
        "optimizer": draw(st.sampled_from(list(OPTIMIZERS))),
        "dtype": draw(st.sampled_from(["float32", "float64"])),
        "standardize": draw(st.booleans()),
        "missing": draw(st.sampled_from(["error", "mean"])),
        "seed": draw(st.integers(0, 99)),
        "mlp": draw(st.booleans()),
    }


def make(composition, n_inputs, n_outputs, activation, loss, optimizer, mlp, **settings):
    """Return the network that these keywords mean."""
    output = OUTPUTS.get(loss_name(LOSSES[loss]), "identity")
    settings = {**settings, "loss": LOSSES[loss], "optimizer": OPTIMIZERS[optimizer]}
    if mlp:
        dropout = 0.3 if composition == "dropout" else 0.0
        sizes = [n_inputs, *([] if composition == "dense" else [4]), n_outputs]
        return cmlp.MLP(sizes, activation=activation, output_activation=output, dropout=dropout, **settings)
    layers = chain(COMPOSITIONS[composition](n_outputs, activation), Activation(output))
    return cmlp.Network(layers, n_inputs, **settings)


def state_of(net):
    """Everything that a call can change, as bytes and numbers."""
    model = net._model
    return {
        "parameters": model.parameters.tobytes(),
        **{f"slot {name}": slot.tobytes() for name, slot in model.slots.items()},
        "memory": repr(model.memory),
        "counters": (net.n_steps, net.n_epochs),
        "scale": [array.tobytes() for array in model.scaling.buffers],
        "generator": repr(model.rng.bit_generator.state),
        "optimizer": repr(net.optimizer),
        "metadata": repr(net.metadata),
        "in training": model.in_training,
    }


def changed(before, after):
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))


# ------------------------------------------------------------------------------------------------- settings of fit

SETTINGS = {
    "epochs": [1, 2, 3, np.int64(2)],
    "batch_size": ["auto", 1, 2, None, 1000, np.int32(3), 10**30],
    "order": ["shuffle", "given", "replacement"],
    "reduction": ["mean", "sum"],
    "clip_delta": [None, None, 1.0, np.float32(0.5)],
    "clip_value": [None, None, 1],
    "clip_norm": [None, None, 1.0],
    "sample_weight": ["none", "none", "random", "some zero", "list"],
    "validation": ["none", "a share", "a pair", "a list"],
    "tol": [0, 0.1],
    "patience": [None, None, 1, 2],
    "restore_best": [True, False],
    "grad_tol": [None, None, 0.0, 1e-3, 1e9],
    "max_seconds": [None, None, 60.0, 1e-9],
    "n_threads": [1, 2, "auto"],
}
WRONG_FIT = {
    "epochs": [0, -1, 1.5, "3", None, True, np.nan, [2]],
    "batch_size": [0, -1, 2.0, "all", True, np.nan, [1]],
    "order": ["sorted", None, 3, "Shuffle"],
    "reduction": ["max", None, 0],
    "clip_delta": [0, -1.0, np.nan, np.inf, "1", True, 10**400, [1.0]],
    "clip_value": [0.0, -np.inf, "1", np.array([1.0])],
    "clip_norm": [0, "none", 1j],
    "sample_weight": ["negative", "NaN", "all zero", "too short", "a matrix", "overflowing", "a text", "raises"],
    "validation": ["no share", "all", "NaN", "a text", "one of two", "three", "other widths", "raises", "too small"],
    "tol": [-1, np.nan, None, "0"],
    "patience": [0, 1.5, "2", True],
    "grad_tol": [-1.0, np.inf, "0"],
    "max_seconds": [0, -1, np.nan, "1", np.inf],
    "n_threads": [0, -1, "many", 1.5, None, True],
    "callbacks": [3, [3], None, "f"],
    "optimizer": ["stochastic", 3, cmlp.SGD, {"name": "sgd"}],
    "learning_rate": [0.1],  # no setting of fit
}
STREAM = ("batch_size", "reduction", "clip_delta", "clip_value", "clip_norm", "sample_weight")


def weights_of_samples(how, X):
    M = len(X)
    rng = np.random.default_rng(M)
    return {
        "none": lambda: None,
        "random": lambda: rng.random(M) + 0.1,
        "some zero": lambda: np.arange(M) % 2 if M > 1 else np.ones(1),
        "list": lambda: [2] * M,
        "negative": lambda: np.r_[np.ones(M - 1), -1],
        "NaN": lambda: np.r_[np.nan, np.ones(M - 1)],
        "all zero": lambda: np.zeros(M),
        "too short": lambda: np.ones(M + 1),
        "a matrix": lambda: np.ones((M, 1)),
        "overflowing": lambda: np.full(max(M, 2), 1e308),
        "a text": lambda: "balanced",
        "raises": Raising,
    }[how]()


def validation_of(how, X, y):
    return {
        "none": lambda: None,
        "a share": lambda: 0.3,
        "a pair": lambda: (X, y),
        "a list": lambda: [X.tolist(), y],
        "no share": lambda: 0.0,
        "all": lambda: 1.0,
        "NaN": lambda: np.nan,
        "a text": lambda: "0.2",
        "one of two": lambda: (X,),
        "three": lambda: (X, y, y),
        "other widths": lambda: (np.c_[X, X[:, :1]], y),
        "raises": lambda: (X, Raising()),
        "too small": lambda: 1e-9,
    }[how]()


def try_to_set_an_optimizer(net, history):
    for optimizer in ("adam", cmlp.SGD(0.1, momentum=0.5, averaging=cmlp.EMA(0.5))):
        error = outcome(lambda optimizer=optimizer: setattr(net, "optimizer", optimizer), RuntimeError)
        assert "in the middle of fit" in str(error)


def outcome(call, *errors):
    """Return what a call returns, or its error if it is one of these."""
    try:
        return call()
    except errors as error:
        return error


def set_weights(net, history):
    net.weights = [W / 2 for W in net.weights]


def save_it(net, history):
    try:
        net.save(io.BytesIO())
    except TypeError:
        assert not can_be_saved(net)


def change_rate(net, history):
    try:
        net.learning_rate = 0.01
    except AttributeError:
        assert net.optimizer.full_batch


def raise_it(error):
    def callback(net, history):
        raise error

    return callback


CALLBACKS = {  # and what they do to the expectations: "steps": the counters are not the plain ones; an error
    "stops": (lambda net, history: True, "steps"),
    "says 1": (lambda net, history: 1, ""),
    "predicts": (lambda net, history: str(net.predict(np.zeros((2, net.n_inputs)))), ""),
    "sets an optimiser": (try_to_set_an_optimizer, ""),
    "sets weights": (set_weights, ""),
    "changes the rate": (change_rate, ""),
    "saves": (save_it, ""),
    "copies": (lambda net, history: copy.copy(net) and None, ""),
    "raises ValueError": (raise_it(ValueError("an error of my own")), ValueError),
    "raises": (raise_it(Own("of my own")), Own),
    "interrupts": (raise_it(KeyboardInterrupt()), cmlp.TrainingInterrupted),
    "clears the history": (lambda net, history: history.loss.clear(), "steps"),
}


def can_be_saved(net):
    """Whether the optimiser is data, not code."""
    rate = getattr(net.optimizer, "learning_rate", 0.1)
    while isinstance(rate, cmlp.schedules.Schedule) and hasattr(rate, "learning_rate"):
        rate = rate.learning_rate
    return not isinstance(rate, (cmlp.schedules.FromCallable, Rates))


# --------------------------------------------------------------------------------------------------- the machine

UNHELPFUL = ("NoneType", "object has no attribute", "argument 2 is", "not subscriptable", "broadcast", "unpack")
MISTAKES = (TypeError, ValueError, AttributeError, Own, ZeroDivisionError)
RATES = [0.01, np.float32(0.1), [0.1, 0.01], lambda t: 0.02, cmlp.schedules.Plateau(0.05), 0, -1, np.nan, "x", [], True]
FORBIDDEN = (
    *("loss", "layers", "n_inputs", "n_outputs", "dtype", "sizes", "n_steps", "n_epochs", "standardize", "missing"),
    *("input_mean", "input_scale", "n_parameters", "optimiser", "fit", "predict", "lr", "metadata"),
)


class Networks(RuleBasedStateMachine):
    """One network, and what may be done to it."""

    counts: ClassVar[dict[str, int]] = {"programs": 0, "calls": 0, "refused": 0, "diverged": 0}

    # -------------------------------------------------------------------------------------------- helpers

    @initialize(settings=networks())
    def build(self, settings):
        self.settings = settings
        self.net = make(**settings)
        self.net.metadata = {"made": "here"}
        self.wrote_too_large = self.failing = False  # failing: whether the optimiser is one of FAILING
        self.remember_views()
        type(self).counts["programs"] += 1

    def remember_views(self):
        self.views = [*self.net.weights, *self.net.biases]

    def samples(self, M, seed):
        """Return right X (M, n) in float64 and right targets."""
        rng, net = np.random.default_rng(seed), self.net
        X = rng.normal(size=(M, net.n_inputs)).round(2)
        kind, m = FACTS[net._model.loss_name].targets, net.n_outputs
        if kind == "numbers":
            return X, rng.normal(size=(M, m)).round(2)
        if kind == "counts":
            return X, rng.poisson(1, (M, m)).astype(float)
        if kind == "probabilities":
            return X, rng.integers(0, 2, (M, m)).astype(float)
        if kind == "classes" or (m > 1 and seed % 2):
            return X, rng.integers(0, m, M).astype(float)
        return X, rng.choice([-1.0, 1.0], (M, m))

    def attempt(self, call, wrong, *, may_diverge=False, may_fail=False, first_epoch=None):
        """Make a call; check what it did if it was refused. Return what it returned, or its exception.

        wrong: whether it has to be refused; may_fail: whether it may be, as where the optimiser is one of FAILING,
        which may fail after whole epochs, counted from `first_epoch`.
        """
        counts = type(self).counts
        counts["calls"] += 1
        before = state_of(self.net)
        result = outcome(call, cmlp.DivergenceError, *MISTAKES)
        if isinstance(result, cmlp.DivergenceError):
            counts["diverged"] += 1
            if not may_diverge:
                raise result
            self.check_finite()
        elif isinstance(result, MISTAKES):
            counts["refused"] += 1
            if not wrong and not may_fail:
                raise result
            after = state_of(self.net)
            if first_epoch is None or self.net.n_epochs <= first_epoch:
                assert after == before, (changed(before, after), repr(result))
            if not isinstance(result, (Own, ZeroDivisionError)):
                self.check_message(result)
        else:
            assert not wrong, f"this has to be refused, but returned {result!r}"
        return result

    def check_message(self, error):
        text = str(error)
        assert len(text) > 15, text
        assert not any(part in text for part in UNHELPFUL), text

    def check_finite(self):
        if not self.wrote_too_large:
            assert np.isfinite(self.net._model.parameters).all()
            assert all(np.isfinite(slot).all() for slot in self.net._model.slots.values())

    def given(self, data, forms, wrong_forms, array, what):
        """Return an array in a right or wrong form, and whether that is wrong."""
        name = data.draw(st.sampled_from([*forms, *([] if wrong_forms is None else wrong_forms)]), label=what)
        return (forms[name](array), False) if name in forms else (wrong_forms[name](array), True)

    def draw_samples(self, data, M, all_right=False):
        """Return X, y, which one is wrong, "" if none is, and right ones."""
        X, y = self.samples(M, data.draw(st.integers(0, 9), label="samples"))
        wrongs = data.draw(st.sampled_from(["", "", "", "X", "y"]), label="wrong") if not all_right else ""
        gaps = self.net.missing == "mean"
        wrong_x = WRONG_X if gaps else {**WRONG_X, **NOT_NUMBERS}
        right_x = {**FORMS, **NOT_NUMBERS} if gaps and M > 1 else FORMS
        wrong_y = {**WRONG, **NOT_NUMBERS, **self.wrong_targets(y)}
        given_x = self.given(data, {} if wrongs == "X" else right_x, wrong_x if wrongs == "X" else None, X, "X")[0]
        given_y = self.given(data, {} if wrongs == "y" else FORMS, wrong_y if wrongs == "y" else None, y, "y")[0]
        return given_x, given_y, wrongs, (X, y)

    def wrong_targets(self, y):
        """Return targets out of the range of the loss."""
        kind, m = FACTS[self.net._model.loss_name].targets, self.net.n_outputs
        outside = {"numbers": [], "counts": [-1.0], "probabilities": [-0.1, 1.5], "signs": [2.0, -0.5], "classes": []}
        found = {f"{value} in it": lambda a, v=value: with_entry(a, v) for value in outside[kind]}
        if kind == "classes":
            for value in (-1, m, 0.5, 1e300):
                found[f"class {value}"] = lambda a, v=value: with_entry(a, v)
            found["rows that sum to more"] = lambda a: np.full((len(a), m), 0.9)
        if m > 1 and kind in ("numbers", "counts", "probabilities"):
            found["a vector"] = lambda a: a[:, 0]
        found["a column more"] = lambda a: np.ones((len(a), m + 1))
        return found

    def draw_settings(self, data, names, X, y):
        """Return right settings, and perhaps a wrong one, as keywords and by name."""
        chosen = {}
        for name in data.draw(st.lists(st.sampled_from(names), max_size=4, unique=True), label="settings"):
            chosen[name] = data.draw(st.sampled_from(SETTINGS[name]), label=name)
        wrong = ""
        if data.draw(st.sampled_from([False, False, True]), label="a wrong setting"):
            known = [name for name in WRONG_FIT if name in names or len(names) > len(STREAM)]
            wrong = data.draw(st.sampled_from(known), label="which")
            chosen[wrong] = data.draw(st.sampled_from(WRONG_FIT[wrong]), label=wrong)
        keywords = dict(chosen)
        if "sample_weight" in keywords:
            keywords["sample_weight"] = weights_of_samples(keywords["sample_weight"], X)
        if "validation" in keywords:
            keywords["validation"] = validation_of(keywords["validation"], X, y)
        return chosen, keywords, bool(wrong)

    # ---------------------------------------------------------------------------------------------- training

    @rule(data=st.data(), M=st.integers(1, 9))
    def fit(self, data, M):
        X, y, wrong, right = self.draw_samples(data, M)
        chosen, keywords, wrong_setting = self.draw_settings(data, list(SETTINGS), *right)
        if "optimizer" not in chosen:
            name = data.draw(st.sampled_from(["", "", "", *OPTIMIZERS, *FAILING]), label="optimizer")
            if name:
                keywords["optimizer"] = {**OPTIMIZERS, **FAILING}[name]
        effect = ""
        if "callbacks" not in keywords and data.draw(st.booleans(), label="calls back"):
            name = data.draw(st.sampled_from(list(CALLBACKS)), label="callback")
            keywords["callbacks"], effect = [CALLBACKS[name][0]], CALLBACKS[name][1]
        optimizer = keywords.get("optimizer", self.net.optimizer)
        wrong = wrong or wrong_setting or self.do_not_suit(optimizer, chosen, M)
        net, before, given = self.net, state_of(self.net), keywords.get("optimizer") is not None
        failing_rate = any(optimizer is known for known in FAILING.values()) if given else self.failing
        start = (0, 0) if given else (net.n_steps, net.n_epochs)
        # a share may have no row with a weight
        unlucky = chosen.get("validation") == "a share" and chosen.get("sample_weight") == "some zero"
        if (failing_rate or unlucky) and effect:  # one of them is enough
            del keywords["callbacks"]
            effect = ""
        if effect and not isinstance(effect, str) and not wrong:
            self.interrupted_fit(X, y, keywords, effect)
            self.failing = self.failing and not given
            return
        history = self.attempt(
            lambda: net.fit(X, y, **keywords),
            wrong,
            may_diverge=True,
            may_fail=failing_rate or bool(effect) or unlucky,
            first_epoch=start[1] if failing_rate or effect else None,
        )
        if given and state_of(net) != before:
            self.failing = failing_rate
        if isinstance(history, Exception):
            return
        assert net.n_epochs - start[1] == len(history.seconds) or net.optimizer.searches
        if not net.optimizer.searches and effect != "steps" and "max_seconds" not in chosen:
            kept = M - (round(0.3 * M) if chosen.get("validation") == "a share" else 0)
            batch = chosen.get("batch_size", "auto")
            batch = (M if net.optimizer.full_batch else 1) if batch == "auto" else batch
            assert net.n_steps - start[0] == len(history) * -(-kept // min(batch or kept, kept))

    def interrupted_fit(self, X, y, keywords, error):
        """A callback that raises ends training; what was learnt stays."""
        found = outcome(lambda: self.net.fit(X, y, **keywords), error, cmlp.DivergenceError)
        assert "of my own" in str(found) or isinstance(found, (cmlp.TrainingInterrupted, cmlp.DivergenceError))
        self.check_finite()

    def do_not_suit(self, optimizer, chosen, M):
        """Whether settings that are right by themselves are not so together."""
        known = optimizer if isinstance(optimizer, Optimizer) else cmlp.SGD()
        batch = chosen.get("batch_size", "auto")
        held_out = round(0.3 * M)
        if chosen.get("validation") == "a share" and not 0 < held_out < M:
            return True
        kept = M - held_out if chosen.get("validation") == "a share" else M
        if known.full_batch and (
            chosen.get("order") == "replacement" or (batch not in ("auto", None) and batch < kept)
        ):
            return True
        limits = any(chosen.get(name) is not None for name in ("clip_delta", "clip_value", "clip_norm"))
        return known.searches and (limits or self.net._model.drops_out)

    def streams(self):
        """Whether the optimiser suits a stream."""
        optimizer = self.net.optimizer
        return not optimizer.full_batch and not isinstance(optimizer.averaging, cmlp.SWA)

    @rule(data=st.data(), M=st.integers(1, 9))
    def partial_fit(self, data, M):
        X, y, wrong, right = self.draw_samples(data, M)
        chosen, keywords, wrong_setting = self.draw_settings(data, list(STREAM), *right)
        net, before = self.net, state_of(self.net)
        found = self.attempt(
            lambda: net.partial_fit(X, y, **keywords),
            wrong or wrong_setting or not self.streams(),
            may_diverge=True,
            may_fail=self.failing,
        )
        if isinstance(found, Exception):
            assert state_of(net) == before, changed(before, state_of(net))
            return
        batch = chosen.get("batch_size", 1)
        batch = 1 if batch == "auto" else min(batch or M, M)
        steps, epochs = before["counters"]
        assert (net.n_steps, net.n_epochs) == (steps + -(-M // batch), epochs)

    @rule(data=st.data(), n=st.integers(1, 4))
    def learn_one(self, data, n):
        X, y = self.samples(n, data.draw(st.integers(0, 9)))
        wrongs = data.draw(st.sampled_from(["", "", "", "", "x", "y", "clip_delta"]), label="wrong")
        gaps = {} if self.net.missing == "mean" else NOT_NUMBERS
        clip = data.draw(st.sampled_from([None, 1.0] if wrongs != "clip_delta" else WRONG_FIT["clip_delta"]))
        x_form = data.draw(st.sampled_from(list({**WRONG_ROW, **gaps} if wrongs == "x" else FORMS)), label="x")
        y_form = data.draw(st.sampled_from(list(self.wrong_target(y[0]) if wrongs == "y" else FORMS)), label="y")
        net, forms = self.net, {**FORMS, **WRONG_ROW, **NOT_NUMBERS}
        for x, target in zip(X, y, strict=True):
            target = np.asarray(target)
            x = forms[x_form](x)
            if wrongs == "y":
                target = self.wrong_target(target)[y_form](target)
            elif target.ndim:
                target = FORMS[y_form](target)
            before = state_of(net)
            loss = self.attempt(
                lambda x=x, y=target: net.learn_one(x, y, clip_delta=clip),
                bool(wrongs) or not self.streams(),
                may_diverge=True,
                may_fail=self.failing,
            )
            after = state_of(net)
            if isinstance(loss, Exception):
                assert {*changed(before, after)} <= {"generator"}, changed(before, after)
                return
            assert isinstance(loss, float)
            assert net.n_steps == before["counters"][0] + 1

    def wrong_target(self, y):
        if np.ndim(y) == 1:
            kinds = {**WRONG, **NOT_NUMBERS, **self.wrong_targets(y[None])}
            kinds = {name: make for name, make in kinds.items() if name not in ("a vector", "too short", "empty")}
            kinds["too short"] = kinds["empty"] = lambda a: []
            kinds["a column more"] = lambda a: np.ones(self.net.n_outputs + 1)
            return kinds
        return {
            "NaN": lambda a: np.nan,
            "None": lambda a: None,
            "a text": lambda a: "one",
            "a class beyond": lambda a: self.net.n_outputs,
            "a class below": lambda a: -1,
            "half a class": lambda a: 0.5,
            "infinity": lambda a: np.inf,
            "complex": lambda a: 1j,
            "raises": lambda a: Raising(),
        }

    # -------------------------------------------------------------------------------------------- predicting

    @rule(data=st.data(), M=st.integers(1, 9), threads=st.sampled_from([1, 1, 2, "auto", 0, "many", None]))
    def predict(self, data, M, threads):
        X, _, wrong, (plain, _) = self.draw_samples(data, M)
        net, before = self.net, state_of(self.net)
        bad_threads = threads in (0, "many", None)
        found = self.attempt(lambda: net.predict(X, n_threads=threads), wrong == "X" or bad_threads)
        assert state_of(net) == before
        if isinstance(found, np.ndarray):
            assert (found.shape, found.dtype) == ((M, net.n_outputs), net.dtype)
            self.compare_with_reference(plain)

    def compare_with_reference(self, X):
        """A small network in float64 predicts what the twin in NumPy does."""
        net = self.net
        if net.dtype != np.float64 or self.wrote_too_large:
            return
        seen = X if not net.standardize else (X - net.input_mean) / net.input_scale
        expected = reference.network_forward(net.layers, list(net.weights), list(net.biases), seen)
        if np.abs(expected).max() < 1e6:
            np.testing.assert_allclose(net.predict(X), expected, rtol=1e-9, atol=1e-9)
            for x, y in zip(X, expected, strict=True):
                np.testing.assert_allclose(net.predict_one(x), y, rtol=1e-9, atol=1e-9)

    @rule(
        data=st.data(), M=st.integers(1, 5), how=st.sampled_from(["evaluate", "gradients", "forward", "class", "one"])
    )
    def ask(self, data, M, how):
        X, y, wrong, (plain, _) = self.draw_samples(data, M)
        net, before = self.net, state_of(self.net)
        if how in ("evaluate", "gradients"):
            weights = data.draw(st.sampled_from(["none", "random", "negative", "too short", "raises"]), label="weights")
            wrong = wrong or weights in ("negative", "too short", "raises")
            given = weights_of_samples(weights, plain)
            self.attempt(lambda: getattr(net, how)(X, y, sample_weight=given), wrong)
        elif how == "forward":
            self.attempt(lambda: net.forward(X), False, may_fail=wrong)
        elif how == "class":
            values = FACTS[net._model.loss_name].border is None
            self.attempt(lambda: net.predict_class(X), values or wrong == "X")
        else:
            gaps = {} if net.missing == "mean" else NOT_NUMBERS
            forms = data.draw(st.sampled_from([{**WRONG_ROW, **gaps}, FORMS]))
            x = self.given(data, forms, None, plain[0], "x")[0]
            self.attempt(lambda: net.predict_one(x), forms is not FORMS)
        assert state_of(net) == before

    # --------------------------------------------------------------------------------------- saving and copying

    @rule(how=st.sampled_from(["file", "pickle", "copy", "deepcopy"]), stays=st.booleans())
    def go_on_elsewhere(self, how, stays):
        net, before = self.net, state_of(self.net)
        if how == "file":
            file = io.BytesIO()
            if not self.can_be_written():
                self.attempt(lambda: net.save(file), True)
                return
            net.save(file)
            other = cmlp.load(file)
        elif how == "pickle":
            other = outcome(lambda: pickle.loads(pickle.dumps(net)), AttributeError, pickle.PicklingError, TypeError)
            if isinstance(other, Exception):  # of a function
                assert not can_be_saved(net)
                return
        else:
            other = copy.copy(net) if how == "copy" else copy.deepcopy(net)
        assert type(other) is type(net)
        after = state_of(other)
        if not can_be_saved(net):
            before.pop("optimizer")
            after.pop("optimizer")
        assert after == before, changed(before, after)
        if can_be_saved(net):
            self.both_go_on(net, other)
        if not stays:
            self.net = other
            self.remember_views()

    def can_be_written(self):
        model = self.net._model
        finite = all(np.isfinite(array).all() for array in model.arrays().values())
        return can_be_saved(self.net) and finite and self.net.metadata != {"set": {1}}

    def both_go_on(self, a, b):
        """What a copy learns is what the network itself learns, to the bit."""
        X, y = self.samples(6, 1)
        found = []
        for net in (a, b):
            calls = [lambda net=net: net.fit(X, y, epochs=2, validation=0.3).loss]
            if self.streams():
                calls += [lambda net=net: net.partial_fit(X, y, batch_size=2) and None]
                calls += [lambda net=net: net.learn_one(X[0], y[0])]
            results = [repr(outcome(call, cmlp.DivergenceError, ValueError)) for call in calls]
            found.append((state_of(net), net.predict(X).tobytes(), results))
        assert found[0] == found[1], changed(found[0][0], found[1][0])

    # ----------------------------------------------------------------------------------------------- attributes

    @rule(name=st.sampled_from(["weights", "biases"]), data=st.data())
    def set_parameters(self, name, data):
        net, k = self.net, data.draw(st.integers(0, 9))
        arrays = [None if a is None else np.full(a.shape, 0.1 * (k + 1)) for a in getattr(net, name)]
        at = next((i for i, a in enumerate(arrays) if a is not None), None)
        wrong = at is not None and data.draw(st.booleans(), label="wrong")
        if wrong:
            forms = {**WRONG, **NOT_NUMBERS}
            kind = data.draw(st.sampled_from([*forms, "one less", "transposed", "a number", "a dict of them"]))
            if kind == "one less":
                arrays = arrays[:-1]
            elif kind == "transposed":
                arrays[at] = np.zeros((*arrays[at].shape[::-1], 1))
            elif kind in ("a number", "a dict of them"):
                arrays = 0.5 if kind == "a number" else dict(enumerate(arrays))
            else:
                arrays[at] = forms[kind](arrays[at])
        else:
            form = data.draw(
                st.sampled_from(["float64", "float32", "list", "Fortran order", "big-endian", "arraylike"])
            )
            arrays = [None if a is None else FORMS[form](a) for a in arrays]
        if self.attempt(lambda: setattr(net, name, arrays), wrong) is None and name == "weights":
            self.wrote_too_large = self.wrote_too_large and not all(
                np.isfinite(v).all() for v in self.views if v is not None
            )

    @rule(factor=st.sampled_from([0.5, 0.0, -1.0, 2.0, 1e18]), k=st.integers(0, 3))
    def write_into_views(self, factor, k):
        with np.errstate(all="ignore"):
            self.net.weights[k % len(self.net.weights)][...] *= factor
        self.wrote_too_large = self.wrote_too_large or abs(factor) > 1.5

    @rule(name=st.sampled_from([*OPTIMIZERS, *FAILING, "wrong"]), k=st.integers(0, 3))
    def set_optimizer(self, name, k):
        net = self.net
        if name == "wrong":
            wrong = [None, *WRONG_SETTINGS["optimizer"]][k]
            self.attempt(lambda: setattr(net, "optimizer", wrong), True)
            return
        self.attempt(lambda: setattr(net, "optimizer", {**OPTIMIZERS, **FAILING}[name]), False)
        self.failing = name in FAILING
        assert (net.n_steps, net.n_epochs) == (0, 0)
        assert {name for name in net._model.slots if name != "iterate"} == {*net.optimizer.state_names}

    @rule(rate=st.sampled_from(RATES))
    def set_rate(self, rate):
        optimizer = self.net.optimizer
        has_one = hasattr(optimizer, "learning_rate") and not isinstance(optimizer, cmlp.Rprop)
        wrong = not has_one or rate is True or (isinstance(rate, (str, int, float, list)) and rate in (0, -1, "x", []))
        before, net = state_of(self.net), self.net
        wrong = wrong or rate != rate
        self.attempt(lambda: setattr(net, "learning_rate", rate), wrong)
        self.failing = self.failing and wrong
        assert {*changed(before, state_of(net))} <= {"optimizer", "memory"}

    @rule(metadata=st.sampled_from([{"a": [1, 2]}, {}, {"set": {1}}, None, 3]))
    def set_metadata(self, metadata):
        self.net.metadata = metadata
        if not isinstance(metadata, dict) or "set" in metadata:
            net = self.net
            self.attempt(lambda: net.save(io.BytesIO()), True)
            net.metadata = {}

    @rule(name=st.sampled_from(FORBIDDEN), delete=st.booleans())
    def forbidden(self, name, delete):
        net = self.net
        if delete:
            self.attempt(lambda: delattr(net, name), True)
        elif name != "metadata":
            self.attempt(lambda: setattr(net, name, 1), True)

    @rule(name=st.sampled_from(list(WRONG_SETTINGS)), k=st.integers(0, 4), seed=st.integers(0, 9))
    def build_wrongly(self, name, k, seed):
        """A network that is not made has drawn nothing."""
        rng = np.random.default_rng(seed)
        before = repr(rng.bit_generator.state)
        values = WRONG_SETTINGS[name]
        settings = {"n_inputs": 2, "seed": rng, name: values[k % len(values)]}
        inits = [["he_normal", np.full((4, 1), np.nan)], ["he_normal", np.zeros((1, 4))], "he"]
        init = inits[k % 3]
        for make_it in (lambda: cmlp.Network(Dense(2), **settings), lambda: cmlp.MLP([2, 4, 1], init=init, seed=rng)):
            error = outcome(make_it, TypeError, ValueError)
            assert isinstance(error, Exception), f"made of {settings}, {init}"
            self.check_message(error)
            assert repr(rng.bit_generator.state) == before

    # ---------------------------------------------------------------------------------------------- invariants

    @invariant()
    def views_are_live(self):
        if not hasattr(self, "net"):
            return
        for view, now in zip(self.views, [*self.net.weights, *self.net.biases], strict=True):
            assert view is now
            assert view is None or np.shares_memory(view, self.net._model.parameters)

    @invariant()
    def it_is_sound(self):
        if not hasattr(self, "net"):
            return
        model = self.net._model
        assert not model.in_training
        assert {*model.slots} - {"iterate"} == {*model.optimizer.state_names}
        assert ("iterate" in model.slots) == (model.optimizer.averaging is not None)
        self.check_finite()


# ------------------------------------------------------------------------------------------------ the estimators

WRONG_DATA = {
    "X with NaN": lambda X, y: ((with_entry(X, np.nan), y), {}),
    "X with infinity": lambda X, y: ((with_entry(X, np.inf), y), {}),
    "X of texts": lambda X, y: ((np.full(X.shape, "one"), y), {}),
    "X empty": lambda X, y: ((X[:0], y[:0]), {}),
    "X of one axis": lambda X, y: ((X[0], y[:3]), {}),
    "X None": lambda X, y: ((None, y), {}),
    "X complex": lambda X, y: ((X + 1j, y), {}),
    "y too short": lambda X, y: ((X, y[:-1]), {}),
    "y None": lambda X, y: ((X, None), {}),
    "y with three axes": lambda X, y: ((X, np.ones((len(X), 1, 1))), {}),
    "weights too short": lambda X, y: ((X, y), {"sample_weight": np.ones(len(X) + 1)}),
    "weights with NaN": lambda X, y: ((X, y), {"sample_weight": np.full(len(X), np.nan)}),
    "weights of a text": lambda X, y: ((X, y), {"sample_weight": "balanced"}),
}
WRONG_PARAMS = {
    "hidden_layer_sizes": [(0,), (-1,)],
    "activation": ["nothing", 3],
    "solver": ["newton", None],
    "alpha": [-1.0, "0"],
    "batch_size": [0, "all"],
    "learning_rate_init": [0.0, -1],
    "max_iter": [0, 1.5],
    "validation_fraction": [1.0, -0.1],
    "beta_1": [1.0],
    "tol": [-1.0],
}
OWN_WRONG = {  # what scikit-learn does not have
    "dropout": [1.0, [0.1, 0.2, 0.3]],
    "max_norm": [0.0],
    "missing": ["median"],
    "dtype": ["int8"],
    "callbacks": [3, [3]],
    "n_threads": [0],
    "optimizer": [cmlp.LBFGS(), "sgd", FAILING["a negative rate"], FAILING["raises"], FAILING["rates with NaN"]],
    "clip_norm": [-1.0],
    "validation_data": [3],
}
EXTRAS = [
    {"dropout": 0.2},
    {"standardize": True, "missing": "mean"},
    {"optimizer": cmlp.SGD(0.05, momentum=0.5, averaging=cmlp.EMA(0.5))},
    {"l1": 1e-3, "max_norm": 2.0},
    {"dtype": "float32"},
]


def state_of_estimator(model):
    """Everything that a call can change."""
    aside = ("_network", "_label_binarizer", "_claim")
    state = {name: repr(value) for name, value in vars(model).items() if name not in aside}
    for name in ("coefs_", "intercepts_"):
        if name in vars(model):
            state[name] = [np.asarray(array).tobytes() for array in vars(model)[name]]
    if "_network" in vars(model):
        state |= {f"network {name}": value for name, value in state_of(vars(model)["_network"]).items()}
    state["random_state"] = repr(model.random_state.get_state(legacy=False))
    return state


class Estimators(RuleBasedStateMachine):
    """One estimator, and scikit-learn's beside it where it has the same parameters."""

    counts: ClassVar[dict[str, int]] = {"programs": 0, "calls": 0, "refused": 0}

    @initialize(
        kind=st.sampled_from(["MLPClassifier", "MLPRegressor"]),
        solver=st.sampled_from(["adam", "sgd", "lbfgs"]),
        extra=st.sampled_from([None, None, *range(len(EXTRAS))]),
        classes=st.sampled_from([2, 3]),
        seed=st.integers(0, 9),
        early_stopping=st.booleans(),
        warm_start=st.booleans(),
        hidden=st.sampled_from([(4,), (3, 2)]),
    )
    def build(self, kind, solver, extra, classes, seed, early_stopping, warm_start, hidden):
        from sklearn import neural_network

        self.classes, self.classifies = classes, kind == "MLPClassifier"
        params = {"hidden_layer_sizes": hidden, "max_iter": 3, "solver": solver, "warm_start": warm_start}
        params |= {"early_stopping": early_stopping, "validation_fraction": 0.3}
        extras = {} if extra is None or solver == "lbfgs" else EXTRAS[extra]
        self.model = getattr(cmlp, kind)(**params, **extras, random_state=np.random.RandomState(seed))
        self.twin = None
        if not extras and (self.classifies or solver != "lbfgs"):  # its regressor has a partial_fit with lbfgs
            self.twin = getattr(neural_network, kind)(**params, random_state=np.random.RandomState(seed))
        self.fitted = False
        type(self).counts["programs"] += 1

    def samples(self, seed, M=12):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(M, 3)).round(2)
        return X, (np.arange(M) % self.classes if self.classifies else rng.normal(size=M).round(2))

    def attempt(self, call, wrong=None):
        """Make a call with both; check that a refused one has changed nothing. Return the result or the error.

        wrong: whether it has to be refused; None: as scikit-learn does.
        """
        type(self).counts["calls"] += 1
        before = state_of_estimator(self.model)
        found, expected = self.outcome(call, self.model), None
        assert not isinstance(found, KeyError), found
        if self.twin is not None:
            expected = self.outcome(call, self.twin)
            kinds = [type(r) if isinstance(r, Exception) else object for r in (found, expected)]
            if kinds[1] is KeyError:  # a refused partial_fit has left it half fitted, and so unchecked
                assert wrong is not False, found
                self.twin = None
            else:
                assert issubclass(kinds[0], kinds[1]), (found, expected)
        elif wrong is not None:
            assert isinstance(found, Exception) == wrong, found
        if isinstance(found, Exception):
            type(self).counts["refused"] += 1
            after = state_of_estimator(self.model)
            assert after == before, (changed(before, after), repr(found))
            if self.twin is not None and repr(self.twin.random_state.get_state()) != repr(
                self.model.random_state.get_state()
            ):
                self.twin = None  # scikit-learn's own has drawn, or lost what it knew
        return found

    def outcome(self, call, model):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            if model is self.twin:  # whose partial_fit divides by 1 - β₁ = 0
                warnings.simplefilter("ignore", RuntimeWarning)
            return outcome(lambda: call(model), TypeError, ValueError, AttributeError, KeyError, Own)

    def gaps(self):
        return getattr(self.model, "missing", "error") == "mean"

    def draw_data(self, data, seed):
        X, y = self.samples(seed)
        wrong = data.draw(st.sampled_from(["", "", *WRONG_DATA]), label="wrong")
        if wrong == "X with NaN" and self.gaps():
            wrong = ""
        args, options = WRONG_DATA[wrong](X, y) if wrong else ((X, y), {})
        return args, options, bool(wrong)

    @rule(data=st.data(), seed=st.integers(0, 9))
    def fit(self, data, seed):
        args, options, wrong = self.draw_data(data, seed)
        if options and self.twin is not None and not hasattr(self.twin, "fit_with_weights"):
            self.twin = self.twin if "sample_weight" in signature(self.twin.fit).parameters else None
        found = self.attempt(lambda model: model.fit(*args, **options), wrong)
        if not isinstance(found, Exception):
            self.fitted = True
            self.same_as_twin()

    @rule(data=st.data(), seed=st.integers(0, 9), with_classes=st.booleans())
    def partial_fit(self, data, seed, with_classes):
        args, options, wrong = self.draw_data(data, seed)
        if options and self.twin is not None:
            self.twin = self.twin if "sample_weight" in signature(self.twin.fit).parameters else None
        if self.classifies and (with_classes or not self.fitted):
            options = {**options, "classes": np.arange(self.classes)}
        wrong = wrong or self.model.early_stopping or self.model.solver == "lbfgs"
        found = self.attempt(lambda model: model.partial_fit(*args, **options), wrong)
        if not isinstance(found, Exception):
            self.fitted = True
            self.same_as_twin()

    @rule(name=st.sampled_from(list(WRONG_PARAMS)), k=st.integers(0, 1), method=st.sampled_from(["fit", "partial_fit"]))
    def wrong_parameter(self, name, k, method):
        X, y = self.samples(0)
        values = WRONG_PARAMS[name]
        before = {name: getattr(self.model, name)}

        def call(model):
            model.set_params(**{name: values[k % len(values)]})
            try:
                return getattr(model, method)(X, y)
            finally:
                model.set_params(**before)

        unchecked = method == "partial_fit" and self.fitted  # in scikit-learn that is for the first call alone
        if unchecked:
            self.twin = None
        self.attempt(call, None if unchecked else True)

    @rule(name=st.sampled_from(list(OWN_WRONG)), k=st.integers(0, 4))
    def own_wrong_parameter(self, name, k):
        X, y = self.samples(0)
        value = OWN_WRONG[name][k % len(OWN_WRONG[name])]
        if name == "optimizer" and self.model.solver == "lbfgs" and self.model.early_stopping:
            return
        before, twin, self.twin = getattr(self.model, name, None), self.twin, None

        def call(model):
            if name == "validation_data":
                return model.fit(X, y, validation_data=value)
            model.set_params(**{name: value})
            try:
                return model.fit(X, y)
            finally:
                model.set_params(**{name: before})

        self.attempt(call, True)
        self.twin = twin

    @rule(name=st.sampled_from(["nothing", "optimizer__learning_rate", "solver__x", "loss__delta"]))
    def wrong_name(self, name):
        if name == "optimizer__learning_rate" and self.model.optimizer is not None:
            return
        twin, self.twin = self.twin, None
        self.attempt(lambda model: model.set_params(**{name: 1}), True)
        self.twin = twin

    @rule(
        alpha=st.sampled_from([1e-4, 0.1]), max_iter=st.sampled_from([1, 2, 4]), warm=st.booleans(), stop=st.booleans()
    )
    def set_params(self, alpha, max_iter, warm, stop):
        params = {"alpha": alpha, "max_iter": max_iter, "warm_start": warm, "early_stopping": stop}
        self.attempt(lambda model: model.set_params(**params) and None)

    @rule(data=st.data(), how=st.sampled_from(["predict", "predict_proba", "score", "predict_one"]))
    def predict(self, data, how):
        X, y = self.samples(3)
        wrong = data.draw(st.sampled_from(["", "", "X of texts", "X of one axis", "X None", "X with infinity"]))
        wrong = "" if how == "predict_one" else wrong
        (X, y), _ = WRONG_DATA[wrong](X, y) if wrong else ((X, y), None)
        if how == "predict_one":
            twin, self.twin = self.twin, None
            found = self.attempt(lambda model: model.predict_one(X[0]), not self.fitted)
            self.twin = twin
            return
        wrong = bool(wrong) or not self.fitted or (how == "predict_proba" and not self.classifies)
        before = state_of_estimator(self.model)
        found = self.attempt(lambda model: getattr(model, how)(*((X, y) if how == "score" else (X,))), wrong)
        assert state_of_estimator(self.model) == before
        assert isinstance(found, Exception) == wrong

    def same_as_twin(self):
        if self.twin is None:
            return
        for mine, theirs in zip(self.model.coefs_, self.twin.coefs_, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-7)

    @rule(how=st.sampled_from(["pickle", "deepcopy", "clone"]))
    def go_on_elsewhere(self, how):
        before = state_of_estimator(self.model)
        other = pickle.loads(pickle.dumps(self.model)) if how == "pickle" else copy.deepcopy(self.model)
        if how == "clone":
            other = clone(self.model)
            assert not hasattr(other, "coefs_")
            return
        after = state_of_estimator(other)
        assert after == before, changed(before, after)
        self.model = other

    @rule(how=st.sampled_from(["write", "replace", "wrong shape", "one less", "not finite"]), k=st.integers(0, 2))
    def change_coefs(self, how, k):
        if not self.fitted:
            return
        X, _ = self.samples(3)
        models = [self.model, *([self.twin] if self.twin is not None else [])]
        if how in ("write", "replace"):
            for model in models:
                W = model.coefs_[k % len(model.coefs_)]
                if how == "write":
                    W[...] *= 0.5
                else:
                    model.coefs_[k % len(model.coefs_)] = np.full_like(W, 0.25)
            found = self.outcome(lambda model: model.predict(X), self.model)
            assert not isinstance(found, Exception), found
            return
        kept = list(self.model.intercepts_)
        if how == "wrong shape":
            self.model.intercepts_[0] = np.zeros((2, 2))
        elif how == "one less":
            self.model.intercepts_.pop()
        else:
            return
        found = self.outcome(lambda model: model.predict(X), self.model)
        assert isinstance(found, ValueError), found
        self.model.intercepts_ = kept
        found = self.outcome(lambda model: model.predict(X), self.model)
        assert not isinstance(found, Exception), found

    @invariant()
    def is_sound(self):
        if getattr(self, "fitted", False):
            assert all(np.isfinite(W).all() for W in self.model.coefs_)
            assert not vars(self.model)["_network"]._model.in_training if "_network" in vars(self.model) else True


MACHINES = {"Networks": Networks, "Estimators": Estimators}
SETTINGS_OF_RUNS = hypothesis.settings(
    max_examples=150,
    stateful_step_count=15,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
