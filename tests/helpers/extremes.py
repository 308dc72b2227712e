"""Every trouble with numbers × every way to train and ask: one case a combination, and what each has to keep.

A case ends in a finite result, in a refusal that has changed nothing, or in a DivergenceError that names what and where
and leaves the network as promised. NumPy's own warnings never reach users.
"""

from __future__ import annotations

import io
import itertools
import math
import pickle
import re
import warnings
from dataclasses import dataclass

import numpy as np

import cmlp
from cmlp.losses import FACTS, LOSSES
from cmlp.network import model_of

M = 24  # samples of a case
SHAPES = {"narrow": [3, 4], "chain": [3, 8, 8], "long rows": [300, 5], "wide": [20, 40]}  # inputs, hidden widths
BATCHES = (1, 5, None)
FLOATS = ("float32", "float64")

OPTIMIZERS = {
    "sgd": lambda rate: cmlp.SGD(rate or 0.01),
    "momentum": lambda rate: cmlp.SGD(rate or 0.01, momentum=0.9),
    "nesterov": lambda rate: cmlp.SGD(rate or 0.01, 0.9, True, weight_decay=0.01),
    "limits": lambda rate: cmlp.SGD(rate or 0.01, l1=0.01, max_norm=2.0),
    "ema": lambda rate: cmlp.SGD(rate or 0.01, averaging=cmlp.EMA(0.9)),
    "swa": lambda rate: cmlp.Adam(rate or 0.01, averaging=cmlp.SWA(1)),
    "plateau": lambda rate: cmlp.SGD(cmlp.schedules.Plateau(rate or 0.01, patience=1)),
    "adam": lambda rate: cmlp.Adam(rate or 0.01),
    "amsgrad": lambda rate: cmlp.Adam(rate or 0.01, amsgrad=True, eps=1e-30),
    "adamw": lambda rate: cmlp.AdamW(rate or 0.01, averaging=cmlp.EMA(0.5)),
    "rmsprop": lambda rate: cmlp.RMSprop(rate or 0.01),
    "centered": lambda rate: cmlp.RMSprop(rate or 0.01, momentum=0.9, centered=True),
    "adagrad": lambda rate: cmlp.Adagrad(rate or 0.01),
    "rprop": lambda rate: cmlp.Rprop(min(rate or 0.01, 50.0)),
    "descent": lambda rate: cmlp.GradientDescent(rate or 0.01),
    "search": lambda rate: cmlp.GradientDescent(rate or 0.01, line_search="exact"),
    "lbfgs": lambda rate: cmlp.LBFGS(),
}

NET_CALLS = ("fit", "fit clipped", "partial_fit", "learn_one", "evaluate", "gradients", "predict")
ESTIMATOR_CALLS = ("adam", "sgd", "lbfgs", "early stopping")
CALLS = (*NET_CALLS, *ESTIMATOR_CALLS)
SCALINGS = ("plain", "standardize", "missing")


@dataclass(frozen=True)
class Case:
    """One combination."""

    trouble: str
    call: str
    loss: str
    optimizer: str
    batch: int | None
    dtype: str
    shape: str
    scaling: str
    seed: int = 0


class Trouble:
    """Samples and a network with something wrong; each method of `TROUBLES` changes what it is about."""

    def __init__(self, case: Case) -> None:
        self.rng = np.random.default_rng(case.seed)
        self.dtype, self.loss = np.dtype(case.dtype), case.loss
        self.kind = FACTS[case.loss].targets
        self.sizes = [*SHAPES[case.shape], 3 if self.kind == "classes" else 1]
        self.X = self.rng.normal(size=(M, self.sizes[0])).astype(self.dtype)
        self.y = self.targets(M)
        self.sample_weight = None
        self.rate = None
        self.eps = None
        self.weights = None
        self.large = 1e38 if self.dtype == np.float32 else 1e300
        self.small = 1e-40 if self.dtype == np.float32 else 1e-310
        TROUBLES[case.trouble](self)

    def targets(self, n):
        """Targets in the domain of the loss."""
        if self.kind == "classes":
            return self.rng.integers(0, 3, n)
        if self.kind == "probabilities":
            return self.rng.integers(0, 2, n).astype(self.dtype)
        if self.kind == "signs":
            return self.rng.choice([-1.0, 1.0], n).astype(self.dtype)
        if self.kind == "counts":
            return self.rng.poisson(2, n).astype(self.dtype)
        return self.rng.normal(size=n).astype(self.dtype)

    def take(self, n):
        """Keep n samples."""
        self.X, self.y = self.X[:n].copy(), self.y[:n].copy()

    def entries(self, *values):
        """Put values at random places of X."""
        for value in values:
            self.X[self.rng.integers(len(self.X)), self.rng.integers(self.X.shape[1])] = value

    def scale(self, factor):
        self.X = (self.X * self.dtype.type(factor)).astype(self.dtype)

    def column(self, values):
        self.X[:, -1] = values

    def set_y(self, values):
        """Other targets, for a loss that takes them."""
        if self.kind in ("numbers", "counts"):
            self.y = np.broadcast_to(np.asarray(values, self.dtype), self.y.shape).copy()

    def weigh(self, values):
        self.sample_weight = np.ones(len(self.X))
        self.sample_weight[: len(values)] = values


def _timestamps(t):
    t.column(1.7e18 + 1e15 * np.arange(len(t.X)))


TROUBLES = {
    "none": lambda t: None,
    "nan": lambda t: t.entries(np.nan),
    "inf": lambda t: t.entries(np.inf),
    "-inf and nan": lambda t: t.entries(-np.inf, np.nan),
    "subnormal": lambda t: t.scale(t.small),
    "largest": lambda t: t.entries(t.large, -t.large),
    "all largest": lambda t: t.scale(t.large / 10),
    "1e10": lambda t: t.scale(1e10),
    "1e19": lambda t: t.scale(1e19 if t.dtype == np.float32 else 1e155),
    "column of 1e10": lambda t: t.column(1e10 * t.rng.normal(size=len(t.X))),
    "timestamps": _timestamps,
    "constant column": lambda t: t.column(3.5),
    "zero rows": lambda t: t.scale(0),
    "constant targets": lambda t: t.set_y(2),
    "one sample": lambda t: t.take(1),
    "two samples": lambda t: t.take(2),
    "rate 1e30": lambda t: setattr(t, "rate", 1e30),
    "rate 1e5": lambda t: setattr(t, "rate", 1e5),
    "weights 1e38": lambda t: setattr(t, "weights", t.large),
    "weights 1e19": lambda t: setattr(t, "weights", 1e19 if t.dtype == np.float32 else 1e155),
    "weights subnormal": lambda t: setattr(t, "weights", t.small),
    "targets 1e38": lambda t: t.set_y(t.large),
    "targets 1e12": lambda t: t.set_y(1e12 * abs(t.rng.normal(size=len(t.y)))),
    "targets -1e38": lambda t: t.set_y(-t.large),
    "targets subnormal": lambda t: t.set_y(t.small),
    "weight 0": lambda t: t.weigh([0] * (len(t.X) - 1)),
    "weight 1e38": lambda t: t.weigh([1e38, 1e38]),
    "weight 1e300": lambda t: t.weigh([1e300, 1e300]),
    "weight subnormal": lambda t: t.weigh([1e-320] * len(t.X)),
}

# What a message has to name: a place, in words.
_PLACE = re.compile(r"row \d|column \d|index \d|layer \d|epoch \d|iteration \d|sum|standardised")


def all_cases():
    """The whole product, without what cannot be combined."""
    product = itertools.product(TROUBLES, CALLS, LOSSES, OPTIMIZERS, BATCHES, FLOATS, SHAPES, SCALINGS)
    for values in product:
        case = Case(*values)
        if is_possible(case):
            yield case


def is_possible(case):
    """Whether a case says something that no other does."""
    full = case.optimizer in ("rprop", "descent", "search", "lbfgs")
    asks = case.call in ("evaluate", "gradients", "predict")
    if asks or case.call in ESTIMATOR_CALLS:
        return case.optimizer == "sgd" and case.batch == 1
    if full:
        return case.call == "fit" and case.batch is None
    if case.call == "learn_one":
        return case.batch == 1 and case.optimizer != "swa" and "weight " not in case.trouble
    return not (case.call == "partial_fit" and case.optimizer == "swa")


def some_cases(n, seed):
    """n cases at random, every call and trouble about as often."""
    rng = np.random.default_rng(seed)
    lists = [list(TROUBLES), CALLS, list(LOSSES), list(OPTIMIZERS), BATCHES, FLOATS, list(SHAPES), SCALINGS]
    found = []
    while len(found) < n:
        values = [values[rng.integers(len(values))] for values in lists]
        case = Case(*values, seed=int(rng.integers(1 << 30)))
        if is_possible(case):
            found.append(case)
    return found


def check(case):
    """Run a case; AssertionError if it keeps not what is promised. Returns how it ended."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", getattr(cmlp, "InputScaleWarning", UserWarning))
        return _check_estimator(case) if case.call in ESTIMATOR_CALLS else _check_network(case)


def network(case, t):
    """A network for the case."""
    options = {
        "standardize": case.scaling == "standardize",
        "missing": "mean" if case.scaling == "missing" else "error",
    }
    net = cmlp.MLP(
        t.sizes, loss=t.loss, dtype=case.dtype, seed=1, optimizer=OPTIMIZERS[case.optimizer](t.rate), **options
    )
    if t.weights is not None:
        net.weights[0][...] *= np.sign(net.weights[0])
        net.weights[0][...] = np.sign(net.weights[0] - 0.1) * t.weights
    return net


def state(net, counters=True):
    """Everything that a refused call must leave."""
    model = model_of(net)
    arrays = {name: array.tobytes() for name, array in model.arrays().items()}
    if model.n_steps == 0:  # what the steps change begins as a copy of the parameters, at the first of them
        arrays = {name: array for name, array in arrays.items() if not name.startswith("iterate")}
    numbers = (dict(model.memory), model.n_steps, model.n_epochs, model.rng.bit_generator.state) if counters else ()
    return arrays, numbers


def _expect(condition, what):
    if not condition:
        raise AssertionError(what)


def _check_network(case):
    t = Trouble(case)
    net = network(case, t)
    before = state(net)
    try:
        result = _call(case, net, t)
    except ValueError as error:
        _expect(_PLACE.search(str(error)), f"names no place: {error}")
        _expect(case.call == "learn_one" or state(net) == before, f"refused, but has changed: {type(error).__name__}")
        _check_usable(net, t, sane=case.trouble in ("nan", "inf"))
        return f"ValueError: {error}"
    except cmlp.DivergenceError as error:
        _check_diverged(case, net, t, before, error)
        return f"DivergenceError: {error}"
    if case.call in ("evaluate", "gradients", "predict"):
        _expect(state(net) == before, "a question has changed the network")
        ordinary = case.trouble in ("none", "subnormal", "zero rows", "constant targets", "1e10")
        if ordinary and (t.loss != "poisson" or case.trouble != "1e10"):  # e^1e10
            _expect(all(np.isfinite(a).all() for a in result), "the answer is not finite")
        return "answered"
    for name, values in result.items():
        _expect(all(map(math.isfinite, values)), f"{name} is not finite: {values}")
    if case.call == "learn_one" and not is_finite(net):
        _check_noticed(net, t)
        return "learnt, and soon said that it is not finite"
    _check_usable(net, t, sane=True)
    return "learnt"


def is_finite(net):
    """Whether all that is saved is finite."""
    model = model_of(net)
    return all(np.isfinite(array).all() for array in model.arrays().values())


def _check_noticed(net, t):
    """A stream says within 256 samples that numbers are not finite, and does not save them."""
    try:
        net.save(io.BytesIO())
    except ValueError as error:
        _expect("not finite" in str(error), f"says not why it is not saved: {error}")
    else:
        raise AssertionError("it saves what is not finite")
    for _ in range(256):
        try:
            net.learn_one(np.zeros(net.n_inputs), t.y[0])
        except cmlp.DivergenceError:
            return
    raise AssertionError("it goes on learning with what is not finite")


def _call(case, net, t):
    """Do what the case says."""
    if case.call in ("fit", "fit clipped"):
        clip = {"clip_delta": 1.0} if case.call == "fit clipped" and case.optimizer not in ("search", "lbfgs") else {}
        seen = {}
        history = net.fit(t.X, t.y, epochs=3, batch_size=case.batch, sample_weight=t.sample_weight, **clip)
        seen["loss"] = history.loss
        return seen
    if case.call == "partial_fit":
        for _ in range(2):
            net.partial_fit(t.X, t.y, batch_size=case.batch, sample_weight=t.sample_weight)
        return {}
    if case.call == "learn_one":
        return {"loss": [learn_one(net, x, y) for x, y in zip(t.X, t.y, strict=True)]}
    if case.call == "evaluate":
        scores = net.evaluate(t.X, t.y, sample_weight=t.sample_weight)
        return [np.asarray(scores.loss)]
    if case.call == "gradients":
        g = net.gradients(t.X, t.y, sample_weight=t.sample_weight)
        return [*g.weights, np.asarray(g.loss)]
    return [net.predict(t.X), net.predict_one(t.X[0]), *net.forward(t.X)]


def learn_one(net, x, y):
    """Learn one sample; an error must leave the network as it was before."""
    before = state(net)
    try:
        return net.learn_one(x, y)
    except (ValueError, cmlp.DivergenceError) as error:
        _expect(state(net) == before, f"learn_one has changed the network: {type(error).__name__}")
        raise


def _check_diverged(case, net, t, before, error):
    """The network is what it was before the epoch, or the call."""
    _expect(_PLACE.search(str(error)), f"names no place: {error}")
    _expect("dropout" not in str(error), f"there is no dropout: {error}")
    _expect("not finite" in str(error) or "is inf" in str(error) or "is nan" in str(error), f"says not what: {error}")
    if case.call == "learn_one":
        return  # learn_one itself has checked
    _expect(error.sample is None or 0 <= error.sample < len(t.X), f"no such sample: {error.sample}")
    if case.call == "partial_fit":
        first = network(case, t)
        if state(net) != before:  # it was the second call
            first.partial_fit(t.X, t.y, batch_size=case.batch, sample_weight=t.sample_weight)
            _expect(state(net) == state(first), "partial_fit diverged and has changed the network")
    else:
        _expect(len(error.history) == error.epoch, "the history has other epochs")
        _expect(all(map(math.isfinite, error.history.loss)), f"losses: {error.history.loss}")
        again = network(case, t)
        if error.epoch:
            clip = {"clip_delta": 1.0} if case.call == "fit clipped" else {}
            again.fit(t.X, t.y, epochs=error.epoch, batch_size=case.batch, sample_weight=t.sample_weight, **clip)
        same = state(net, counters=False)[0] == state(again, counters=False)[0]
        if case.scaling == "plain" or error.epoch:
            _expect(same, f"the network has not the parameters from before epoch {error.epoch}")
    _check_usable(net, t, sane=True)


def _check_usable(net, t, *, sane):
    """State finite; saves and loads; predicts finitely what can be predicted."""
    model = model_of(net)
    bad = [name for name, array in model.arrays().items() if not np.isfinite(array).all()]
    bad += [name for name, value in model.memory.items() if not math.isfinite(value)]
    if bad and sane:
        raise AssertionError(f"not finite: {bad}")
    file = io.BytesIO()
    net.save(file)
    file.seek(0)
    _expect(state(cmlp.load(file))[0] == state(net)[0], "the file holds something else")
    _expect(state(pickle.loads(pickle.dumps(net)))[0] == state(net)[0], "the pickle holds something else")
    biggest = max(np.abs(W).max() for W in net.weights)
    if t.loss != "poisson" and biggest < 1e6 and np.isfinite(t.X).all() and np.abs(t.X).max() < 1e6:
        _expect(np.isfinite(net.predict(t.X)).all(), "it predicts something that is not finite")


def _check_estimator(case):
    from sklearn.exceptions import ConvergenceWarning

    t = Trouble(case)
    regression = t.kind in ("numbers", "counts")
    kind = cmlp.MLPRegressor if regression else cmlp.MLPClassifier
    loss = {"cross_entropy": "log_loss", "binary_cross_entropy": "log_loss"}.get(t.loss, t.loss)
    options = {"loss": loss, "random_state": 0, "max_iter": 3, "standardize": case.scaling == "standardize"}
    options["missing"] = "mean" if case.scaling == "missing" else "error"
    if case.call == "early stopping":
        options |= {"early_stopping": True, "validation_fraction": 0.3}
    else:
        options["solver"] = case.call
    if t.rate:
        options["learning_rate_init"] = t.rate
    model = kind(hidden_layer_sizes=tuple(t.sizes[1:-1]), **options)
    y = t.y if regression else t.y.astype(int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", message="Got `batch_size`")
        try:
            model.fit(t.X, y, sample_weight=t.sample_weight)
        except ValueError as error:
            return f"ValueError: {error}"
    _expect(all(np.isfinite(a).all() for a in (*model.coefs_, *model.intercepts_)), "coefs_ are not finite")
    net = model.network_
    _check_usable(net, t, sane=True)
    return "learnt"


def ending(text):
    """How a case ended, without the numbers in it."""
    return re.sub(r"\d[\d.e+-]*|\binf\b|\bnan\b", "#", text)
