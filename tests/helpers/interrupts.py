"""Ctrl-C at every point of cmlp's own Python code: the scenarios, the injection, and what has to hold afterwards.

A point is a line or a bytecode of a file of the package. `run_scenario` presses Ctrl-C (SIGINT, really) at one point of
one call after the other; tools/interrupt.py goes through all of them.
"""

from __future__ import annotations

import io
import os
import pickle
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

import cmlp
from cmlp._core import Allowed, see_interrupt
from cmlp._engine import passes
from cmlp.network import model_of
from helpers.saves import unnamed_files

HOME = str(Path(cmlp.__file__).parent) + os.sep
RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 3)).astype(np.float32)
Y = X @ np.array([[1.0], [-2.0], [0.5]], np.float32)
HUGE = Y * np.float32(1e38)  # with these training diverges


class Injection:
    """Presses Ctrl-C at the points with these numbers, counted from 1, of what runs within."""

    def __init__(self, *at: int) -> None:
        self.at, self.n_points = frozenset(at), 0
        self.where = ""

    def __enter__(self) -> Injection:
        sys.settrace(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _called(self, frame: Any, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(HOME):
            return None
        frame.f_trace_opcodes = True
        return self._within(frame, event, argument)

    def _within(self, frame: Any, event: str, argument: Any) -> Any:
        self.n_points += 1
        if self.n_points in self.at:
            self.where = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} {frame.f_code.co_name} ({event})"
            signal.raise_signal(signal.SIGINT)
        return self._within


# ------------------------------------------------------------------------------------------------------ what is stated


def state(network: cmlp.Network) -> tuple[Any, ...]:
    """Return everything that training changes but the generator, as bytes and numbers that compare."""
    model = model_of(network)
    arrays = [model.parameters, *model.slots.values(), *model.scaling.buffers]
    numbers = model.n_steps, model.n_epochs, tuple(sorted(model.memory.items()))
    rate = getattr(model.optimizer, "learning_rate", None)
    return (*(array.tobytes() for array in arrays), type(model.optimizer), rate, *numbers)


def check_consistent(network: cmlp.Network) -> None:
    """Check that the numbers are finite, and that those which belong together do."""
    model = model_of(network)
    optimizer, scaling = model.optimizer, model.scaling
    for name, array in {"parameters": model.parameters, **model.slots}.items():
        assert np.isfinite(array).all(), f"{name} not finite"
    names = {*optimizer.state_names, *(["iterate"] if optimizer.averaging is not None else [])}
    assert set(model.slots) == names, f"{set(model.slots)} of {optimizer}"
    assert set(model.memory) == set(optimizer.memory), f"{set(model.memory)} of {optimizer}"
    assert not model.in_training
    if scaling.arrays is not None:
        mean, inverse = scaling.arrays
        assert np.array_equal(mean, scaling.mean.astype(model.dtype)), "μ"
        assert np.array_equal(inverse, (1 / scaling.deviation()).astype(model.dtype)), "σ"


def check_history(history: cmlp.History) -> None:
    """Check that all lists have as many entries as there were epochs, or none."""
    lists = {f.name: history[f.name] for f in fields(history) if isinstance(history[f.name], list)}
    lengths = {name: len(entries) for name, entries in lists.items() if entries}
    assert set(lengths.values()) <= {len(history)}, f"ragged History {lengths}"
    assert history.best_epoch is None or 0 <= history.best_epoch < max(1, len(history))


def check_works(network: cmlp.Network) -> None:
    """Check that a network trains, saves, loads and predicts."""
    optimizer = network.optimizer
    if hasattr(optimizer, "learning_rate") and not isinstance(optimizer, cmlp.Rprop):
        network.learning_rate = 0.01  # with the present one it may diverge, and a function cannot be saved
    if np.abs(model_of(network).trained).max() > 1e3:  # it was about to
        network.weights = [0.1 * np.ones(W.shape) for W in network.weights]
        network.biases = [np.zeros(b.shape) for b in network.biases]
    file = io.BytesIO()
    network.save(file)
    file.seek(0)
    twin = cmlp.load(file)
    assert state(twin) == state(network), "what was loaded is something else"
    y = Y * 0.1 if network.n_outputs == 1 else [0, 1, 2, 0, 1, 2]
    for net in (network, twin):
        net.fit(X, y, epochs=1, order="given")
        if not optimizer.full_batch and not isinstance(optimizer.averaging, cmlp.SWA):
            net.learn_one(X[0], y[0])
            net.learn_one(X[1], y[1])
            net.partial_fit(X, y)
    assert np.array_equal(network.predict(X), twin.predict(X)), "what was loaded learns something else"
    assert np.isfinite(network.predict(X)).all()


class Given:
    """An array that users' code makes."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array(self.array, dtype)


# ----------------------------------------------------------------------------------------------------------- scenarios


@dataclass
class Trial:
    """One call that is interrupted: the objects that it works on."""

    network: cmlp.Network | None
    call: Callable[[], Any]
    folder: str | None = None  # whose files are looked at afterwards
    histories: list[cmlp.History] = field(default_factory=list)
    estimator: Any = None
    expects: type[BaseException] | None = None  # what the call raises if nobody interrupts it
    states: bool = True  # whether it ends in a state that the call without Ctrl-C has at a moment when that is seen


SCENARIOS: dict[str, Callable[[str], Trial]] = {}


def scenario(make: Callable[[str], Trial]) -> Callable[[str], Trial]:
    """Enter a function of an empty folder that prepares a trial."""
    SCENARIOS[make.__name__] = make
    return make


def network(optimizer: Any = None, **settings: Any) -> cmlp.MLP:
    """Return a small network that has learnt something already."""
    settings = {"activation": "tanh", "seed": 0, "optimizer": optimizer or cmlp.SGD(0.01), **settings}
    net = cmlp.MLP([3, 4, 1], **settings)
    with quiet():
        net.fit(X, Y * 0.5, epochs=1)
    return net


def fitting(first: Any = None, y: Any = Y, made: dict[str, Any] | None = None, **settings: Any) -> Trial:
    """Return a trial of `fit`."""
    net = network(first, **(made or {}))
    trial = Trial(net, lambda: None)
    settings = {"epochs": 2, "order": "given", **settings}

    def look(network: cmlp.Network, history: cmlp.History) -> None:
        trial.histories.append(history)
        check_history(history)

    settings["callbacks"] = [look, *settings.get("callbacks", [])]
    trial.call = lambda: net.fit(X, y, **settings)
    trial.states = "patience" not in settings
    return trial


def _rising(t: int) -> float:
    """Rates with which training diverges in its second epoch."""
    return 0.01 if t < 9 else 3e38


def _fits() -> Iterator[tuple[str, Callable[[], Trial]]]:
    momentum, adam = cmlp.SGD(0.01, momentum=0.9), cmlp.Adam(0.01)
    function = cmlp.SGD(lambda t: 0.01)
    plateau = cmlp.SGD(cmlp.schedules.Plateau(0.01, patience=1))
    up = cmlp.SGD(_rising)
    adam_up = cmlp.Adam(_rising)
    yield "per_sample", lambda: fitting()
    yield "shuffled", lambda: fitting(order="shuffle")
    yield "batches_adam", lambda: fitting(adam, batch_size=2)
    yield "batches_threads", lambda: fitting(momentum, batch_size=4, n_threads=2)
    yield "full_batch_rprop", lambda: fitting(cmlp.Rprop())
    yield "gradient_descent", lambda: fitting(cmlp.GradientDescent(0.01), epochs=1)
    yield "line_search", lambda: fitting(cmlp.GradientDescent(0.01, line_search="exact"))
    yield "lbfgs", lambda: fitting(cmlp.LBFGS(), made={"dtype": "float64"})
    yield "new_optimizer", lambda: fitting(adam, optimizer=momentum)
    yield "validation", lambda: fitting(validation=0.4, patience=1, epochs=3)
    yield "validation_pair", lambda: fitting(validation=(X[:2], Y[:2]), progress=True)
    yield "grad_tol", lambda: fitting(grad_tol=1e-9, max_seconds=1e9)
    yield "ema", lambda: fitting(cmlp.SGD(0.01, averaging=cmlp.EMA(0.9)))
    yield "swa", lambda: fitting(cmlp.Adam(0.01, averaging=cmlp.SWA(0)), batch_size=3)
    yield "standardize", lambda: fitting(made={"standardize": True})
    yield "first_scale", lambda: first_scale()
    yield "missing", lambda: fitting(made={"missing": "mean", "standardize": True})
    yield "dropout", lambda: fitting(made={"dropout": 0.3})
    yield "plateau", lambda: fitting(plateau, epochs=3)
    yield "function", lambda: fitting(function)
    yield "classes", lambda: classes()
    for name, trial in (
        ("diverges", lambda: fitting(up)),
        ("diverges_adam", lambda: fitting(adam_up, batch_size=2)),
        ("diverges_at_once", lambda: fitting(cmlp.SGD(1e-3), y=HUGE, optimizer=cmlp.SGD(1e30))),
        ("diverges_patience", lambda: fitting(up, patience=3)),
        ("diverges_swa", lambda: fitting(cmlp.SGD(_rising, averaging=cmlp.SWA(0)))),
    ):
        yield name, lambda trial=trial: _expecting(trial(), cmlp.DivergenceError)


def overflowing(net: cmlp.MLP) -> Any:
    """Return an x whose z_1 is infinite."""
    W = net.weights[0]
    return 3e38 * np.sign(W[:, abs(W).sum(axis=0).argmax()])


def _expecting(trial: Trial, error: type[BaseException]) -> Trial:
    trial.expects = error
    return trial


def first_scale() -> Trial:
    """Return a trial of a first `fit`, which learns the scale of the inputs."""
    net = cmlp.MLP([3, 4, 1], seed=0, standardize=True)
    return Trial(net, lambda: net.fit(X * 100 + 7, Y, epochs=1))


def classes() -> Trial:
    """Return a trial of a classifier."""
    net = cmlp.MLP([3, 4, 3], loss="cross_entropy", seed=0)
    trial = Trial(net, lambda: net.fit(X, [0, 1, 2, 0, 1, 2], epochs=2, order="given", validation=0.4))
    return trial


for _name, _make in _fits():
    SCENARIOS[f"fit_{_name}"] = lambda folder, make=_make: make()


def _streams() -> Iterator[tuple[str, Callable[[], Trial]]]:
    def trial(
        optimizer: Any, act: Callable[[cmlp.MLP], Any], made: Any = None, error: Any = None, plan: bool = False
    ) -> Trial:
        net = network(optimizer, **(made or {}))
        if plan:  # for the fast path of learn_one
            net.learn_one(X[1], Y[1])
        return Trial(net, lambda: act(net), expects=error)

    adam, dropout, scale = cmlp.Adam(0.01), {"dropout": 0.3}, {"standardize": True}
    function = cmlp.SGD(lambda t: 0.01)
    for name, optimizer, made in (
        ("sgd", None, None),
        ("adam", adam, None),
        ("function", function, None),
        ("ema", cmlp.SGD(0.01, averaging=cmlp.EMA(0.9)), None),
        ("dropout", adam, dropout),
        ("standardize", adam, scale),
    ):

        def bound(
            act: Callable[[cmlp.MLP], Any], optimizer: Any = optimizer, made: Any = made, plan: bool = True
        ) -> Any:
            return lambda: trial(optimizer, act, made, plan=plan)

        yield f"partial_fit_{name}", bound(lambda net: net.partial_fit(X + 1, Y, batch_size=2))
        yield f"learn_one_{name}", bound(lambda net: net.learn_one(X[0], Y[0]))
        yield f"learn_one_first_{name}", bound(lambda net: net.learn_one(X[0], Y[0]), plan=False)
        yield f"learn_one_slow_{name}", bound(lambda net: net.learn_one(Given(X[0]), Given(Y[0])))
    diverges = cmlp.DivergenceError
    yield "partial_fit_diverges", lambda: trial(None, lambda net: net.partial_fit(X, HUGE), scale, diverges)
    relu = {"activation": "relu"}
    yield "learn_one_diverges", lambda: trial(adam, lambda net: net.learn_one(overflowing(net), Y[0]), relu, diverges)

    def setting(name: str, value: Any) -> Callable[[cmlp.MLP], None]:
        return lambda net: setattr(net, name, value)

    other = [np.ones((3, 4)), np.ones((4, 1))]
    momentum, averaged = cmlp.SGD(0.01, momentum=0.9), cmlp.SGD(0.01, averaging=cmlp.EMA(0.9))
    yield "set_optimizer", lambda: trial(adam, setting("optimizer", momentum))
    yield "set_optimizer_average", lambda: trial(momentum, setting("optimizer", averaged))
    yield "set_optimizer_name", lambda: trial(cmlp.Rprop(), setting("optimizer", "adam"))
    yield "set_learning_rate", lambda: trial(adam, setting("learning_rate", 0.5))
    yield (
        "set_learning_rate_plateau",
        lambda: trial(cmlp.SGD(cmlp.schedules.Plateau(0.01)), setting("learning_rate", 0.5)),
    )
    yield "set_weights", lambda: trial(None, setting("weights", other))
    yield "set_weights_average", lambda: trial(averaged, setting("weights", other))
    yield "predict", lambda: trial(None, lambda net: (net.predict(X), net.predict_one(X[0]), net.evaluate(X, Y)))
    yield "gradients", lambda: trial(None, lambda net: net.gradients(X, Y))


for _name, _make in _streams():
    SCENARIOS[_name] = lambda folder, make=_make: make()


@scenario
def save_new(folder: str) -> Trial:
    """A file where there was none."""
    net = network(cmlp.Adam(0.01))
    return Trial(net, lambda: net.save(os.path.join(folder, "net")), folder)


@scenario
def save_over(folder: str) -> Trial:
    """A file in place of another one."""
    net = network(cmlp.Adam(0.01))
    cmlp.MLP([3, 1]).save(os.path.join(folder, "net"))
    return Trial(net, lambda: net.save(os.path.join(folder, "net")), folder)


@scenario
def save_with_a_name(folder: str) -> Trial:
    """A file where the system has none without a name."""
    net = network(cmlp.Adam(0.01))

    def call() -> None:
        with unnamed_files(False):
            net.save(os.path.join(folder, "net"))

    return Trial(net, call, folder)


@scenario
def save_to_a_file_object(folder: str) -> Trial:
    """A file object of the user's."""
    net = network()
    return Trial(net, lambda: net.save(io.BytesIO()))


@scenario
def load(folder: str) -> Trial:
    """A network from a file."""
    net = network(cmlp.Adam(0.01))
    net.save(os.path.join(folder, "net"))
    return Trial(net, lambda: cmlp.load(os.path.join(folder, "net")), folder)


@scenario
def copying(folder: str) -> Trial:
    """Copies, by pickle."""
    net = network(cmlp.Adam(0.01))
    return Trial(net, lambda: pickle.loads(pickle.dumps(net)))


@scenario
def history_use(folder: str) -> Trial:
    """What a History shows."""
    net = network()
    history = net.fit(X, Y, epochs=2)
    return Trial(net, lambda: (repr(history), len(history), history["loss"], "loss" in history), histories=[history])


def estimating(kind: str, again: bool, call: str = "fit", **settings: Any) -> Trial:
    """Return a trial of an estimator."""
    estimator = getattr(cmlp, kind)(hidden_layer_sizes=(4,), random_state=0, max_iter=3, **settings)
    targets = Y.ravel() if kind == "MLPRegressor" else np.array([0, 1, 0, 1, 0, 1])
    extra = {"classes": [0, 1]} if call == "partial_fit" and kind == "MLPClassifier" else {}
    if again:
        with quiet():
            estimator.fit(X[:4] * 3, targets[:4])
    return Trial(None, lambda: getattr(estimator, call)(X, targets, **extra), estimator=estimator)


def _estimators() -> Iterator[tuple[str, Callable[[], Trial]]]:
    for again in (False, True):
        for solver in ("sgd", "adam", "lbfgs"):
            yield (
                f"{solver}_{'again' if again else 'first'}",
                lambda again=again, solver=solver: estimating("MLPRegressor", again, solver=solver),
            )
    yield "classifier", lambda: estimating("MLPClassifier", True, early_stopping=True, validation_fraction=0.4)
    yield "standardize", lambda: estimating("MLPRegressor", True, standardize=True)
    yield "warm_start", lambda: estimating("MLPRegressor", True, warm_start=True)
    yield "invscaling", lambda: estimating("MLPRegressor", False, solver="sgd", learning_rate="invscaling")
    yield "partial_fit", lambda: estimating("MLPRegressor", True, "partial_fit", standardize=True)
    yield "partial_fit_first", lambda: estimating("MLPClassifier", False, "partial_fit")


for _name, _make in _estimators():
    SCENARIOS[f"estimator_{_name}"] = lambda folder, make=_make: make()


# ----------------------------------------------------------------------------------------------------------- the trials


@contextmanager
def quiet() -> Iterator[None]:
    """Without warnings, and without the lines of progress."""
    with warnings.catch_warnings(), open(os.devnull, "w", encoding="utf-8") as nowhere:
        warnings.simplefilter("ignore")
        before, sys.stderr = sys.stderr, nowhere
        try:
            yield
        finally:
            sys.stderr = before


@contextmanager
def small_chunks() -> Iterator[None]:
    """Let a chunk be a batch, so that its end does not depend on time."""
    before, passes.CHUNK_NANOSECONDS = passes.CHUNK_NANOSECONDS, 0.0
    try:
        yield
    finally:
        passes.CHUNK_NANOSECONDS = before


def states_seen(make: Callable[[str], Trial]) -> set[Any]:
    """Return the states in which a call without Ctrl-C would see one, and those before and after it."""
    seen = set()

    class Watched:
        def __enter__(self) -> None:
            see()
            self.allowed = Allowed()
            self.allowed.__enter__()

        def __exit__(self, *raised: Any) -> None:
            self.allowed.__exit__(*raised)

    def see() -> None:
        seen.add(state(trial.network))
        see_interrupt()

    with tempfile.TemporaryDirectory() as folder, quiet(), small_chunks():
        trial = make(folder)
        seen.add(state(trial.network))
        modules = [module for name, module in sys.modules.items() if name.split(".")[0] == "cmlp"]
        changed = [(m, name) for m in modules for name in ("see_interrupt", "Allowed") if hasattr(m, name)]
        changed = [(m, name) for m, name in changed if m.__name__ != "cmlp._core"]
        for module, name in changed:
            setattr(module, name, see if name == "see_interrupt" else Watched)
        try:
            trial.call()
        except cmlp.DivergenceError:
            pass
        finally:
            for module, name in changed:
                setattr(module, name, see_interrupt if name == "see_interrupt" else Allowed)
        seen.add(state(trial.network))
    return seen


def count_points(make: Callable[[str], Trial]) -> int:
    """Return how many points a scenario has."""
    with tempfile.TemporaryDirectory() as folder, quiet(), small_chunks():
        trial, injection = make(folder), Injection()
        try:
            with injection:
                trial.call()
        except Exception as error:
            if trial.expects is None or not isinstance(error, trial.expects):
                raise
    return injection.n_points


def run_point(make: Callable[[str], Trial], at: tuple[int, ...], seen: set[Any] | None) -> str | None:
    """Press Ctrl-C at these points; return what is wrong afterwards, or None."""
    with tempfile.TemporaryDirectory() as folder, quiet(), small_chunks():
        trial, injection, raised = make(folder), Injection(*at), None
        files = sorted(os.listdir(folder))
        descriptors = len(os.listdir("/proc/self/fd"))
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                with injection:
                    trial.call()
            except BaseException as error:
                raised = error
        try:
            told = isinstance(raised, KeyboardInterrupt) or any("interrupted" in str(w.message) for w in warned)
            assert told or not injection.where, f"Ctrl-C was lost: {raised!r}"
            _check(trial, raised, seen, files)
            raised = None
            assert len(os.listdir("/proc/self/fd")) == descriptors, "an open descriptor is left"
        except Exception as error:
            return f"{injection.where}: {type(error).__name__}: {error}"
        return None


def _check(trial: Trial, raised: BaseException | None, seen: set[Any] | None, files: list[str]) -> None:
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, "the handler of SIGINT is another one"
    if isinstance(raised, cmlp.TrainingInterrupted):
        trial.histories.append(raised.history)
        assert raised.history.stopped == "interrupted"
    for history in trial.histories:
        check_history(history)
    if trial.network is not None:
        check_consistent(trial.network)
        if seen is not None and trial.states:
            assert state(trial.network) in seen, "a state between two steps"
    if trial.folder is not None:
        left = sorted(os.listdir(trial.folder))
        assert left in (files, ["net"]), f"litter: {left}"
        for name in left:
            cmlp.load(os.path.join(trial.folder, name)).predict(X)
    if trial.network is not None:
        check_works(trial.network)
    if trial.estimator is not None:
        check_estimator(trial.estimator)


def check_estimator(estimator: Any) -> None:
    """Check that an estimator is what it was, or not fitted, or fitted; and that it can be fitted."""
    from sklearn.exceptions import NotFittedError

    try:
        predicted = np.asarray(estimator.predict(X), np.float64)
        assert np.isfinite(predicted).all()
        check_consistent(estimator.network_)
        twin = pickle.loads(pickle.dumps(estimator))
        assert np.array_equal(twin.predict(X), estimator.predict(X))
        curve = estimator.loss_curve_
        assert np.isfinite(curve).all()
    except NotFittedError:
        pass
    targets = np.array([0, 1, 0, 1, 0, 1]) if hasattr(estimator, "predict_proba") else Y.ravel()
    estimator.set_params(warm_start=False)
    fresh = type(estimator)(**estimator.get_params())
    assert np.array_equal(estimator.fit(X, targets).predict(X), fresh.fit(X, targets).predict(X))
