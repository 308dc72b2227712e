"""The cases of `same_bits.py`: networks, optimisers, strategies with fixed seeds. Each yields all that it computed."""

import ctypes
import importlib
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import cmlp
from cmlp import EMA, SGD, SWA, Activation, Dense, Dropout, Identity, add, chain, concatenate, schedules
from cmlp.losses import CrossEntropy, Huber, Quantile

Case = Callable[[str], Iterator[Any]]


def divide_small_work() -> None:
    """Let teams of threads take the small networks of the cases; older revisions keep no work on one thread."""
    try:
        threads = importlib.import_module("cmlp._engine.threads")
    except ModuleNotFoundError:  # up to revision 245eee5
        return
    for name in ("LEAST_AT_ONCE", "LEAST_PER_CALL"):
        if hasattr(threads, name):
            setattr(threads, name, 0)


divide_small_work()

ACTIVATIONS = [
    "identity",
    "relu",
    "leaky_relu",
    "sigmoid",
    "tanh",
    "softmax",
    "elu",
    "selu",
    "gelu",
    "silu",
    "softplus",
    "hard_sigmoid",
    "softsign",
    "exp",
]
HIDDEN = [name for name in ACTIVATIONS if name != "exp"]  # those that grow no faster than their inputs
OUTPUTS = {  # by loss: output activations that stay in its domain
    "squared_error": HIDDEN,
    "cross_entropy": ["softmax", "sigmoid", "softplus"],
    "binary_cross_entropy": ["sigmoid", "softmax"],
    "absolute_error": HIDDEN,
    "huber": HIDDEN,
    "quantile": HIDDEN,
    "poisson": ["exp", "softplus", "sigmoid", "softmax"],
    "hinge": HIDDEN,
}
WITH_PARAMETER = {"huber": Huber(0.3), "quantile": Quantile(0.8), "cross_entropy": CrossEntropy(0.1)}
HISTORY = [
    "loss",
    "objective",
    "validation_loss",
    "validation_accuracy",
    "learning_rate",
    "clipped",
    "stopped",
    "best_epoch",
]

COMPOSITIONS = {  # of 5 inputs
    "dense": lambda: Dense(3),
    "chain": lambda: chain(Dense(7, "tanh"), Dense(4, "relu"), Dense(3)),
    "no_bias": lambda: chain(Dense(7, "gelu", bias=False), Dense(4, "elu", alpha=0.5), Dense(3, bias=False)),
    "concatenate": lambda: chain(concatenate(Dense(3, "tanh"), Dense(4, "sigmoid"), Dense(1)), Dense(3)),
    "concatenate_input": lambda: chain(concatenate(Dense(4, "silu"), Identity()), Dense(3)),
    "concatenate_nested": lambda: chain(
        concatenate(Dense(3, "selu"), concatenate(chain(Dense(2, "tanh"), Dense(4)), Identity())), Dense(3)
    ),
    "concatenate_output": lambda: chain(Dense(5, "softplus"), concatenate(Dense(2), Dense(1))),
    "concatenate_activations": lambda: chain(
        Dense(4), concatenate(Activation("relu"), Identity(), Activation("leaky_relu", alpha=0.2)), Dense(3)
    ),
    "every_layer_sees_all": lambda: chain(
        concatenate(Identity(), Dense(2, "tanh")), concatenate(Identity(), Dense(3, "relu")), Dense(3)
    ),
    "residual": lambda: chain(
        Dense(6, "relu"), add(Identity(), chain(Dense(4, "tanh"), Dense(6))), add(Dense(6), Identity()), Dense(3)
    ),
    "add_input": lambda: chain(add(Identity(), Dense(5, "softsign")), Dense(3)),
    "add_nested": lambda: chain(
        Dense(4, "tanh"), add(add(Identity(), Dense(4)), add(Dense(4, "relu"), Identity())), Dense(3)
    ),
    "add_of_concatenations": lambda: chain(
        add(concatenate(Dense(2, "gelu"), Dense(4)), concatenate(Dense(3), Dense(3, "tanh"))), Dense(3)
    ),
    "activation_after_add": lambda: chain(Dense(6, "elu"), add(Identity(), Dense(6)), Activation("tanh"), Dense(3)),
    "softmax_inside": lambda: chain(Dense(6, "softmax"), Dense(4, "tanh"), Activation("softmax"), Dense(3)),
    "dropout": lambda: chain(
        Dropout(0.2), Dense(9, "relu"), Dropout(0.5), concatenate(Dense(4), Dropout(0.1)), Dense(3)
    ),
}

STEPPING: dict[str, Callable[[], Any]] = {
    "sgd": lambda: SGD(0.05),
    "sgd_decay": lambda: SGD(0.05, weight_decay=1e-2),
    "momentum": lambda: SGD(0.05, momentum=0.9),
    "nesterov": lambda: SGD(0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "sgd_l1": lambda: SGD(0.05, l1=1e-2),
    "sgd_max_norm": lambda: SGD(0.05, max_norm=0.8),
    "sgd_ema": lambda: SGD(0.05, averaging=EMA(0.9)),
    "sgd_swa": lambda: SGD(0.05, momentum=0.5, averaging=SWA(1)),
    "adam": lambda: cmlp.Adam(0.01),
    "amsgrad": lambda: cmlp.Adam(0.01, amsgrad=True, weight_decay=1e-2, eps=1e-3),
    "adamw": lambda: cmlp.AdamW(0.01, weight_decay=0.1),
    "adam_all": lambda: cmlp.Adam(0.01, beta1=0.8, beta2=0.95, l1=1e-3, max_norm=1.5, averaging=EMA(0.7)),
    "rmsprop": lambda: cmlp.RMSprop(0.01),
    "rmsprop_all": lambda: cmlp.RMSprop(0.01, beta=0.9, momentum=0.5, centered=True, weight_decay=1e-2, l1=1e-3),
    "adagrad": lambda: cmlp.Adagrad(0.05, weight_decay=1e-3),
    "adagrad_swa": lambda: cmlp.Adagrad(0.05, averaging=SWA()),
}
FULL_BATCH: dict[str, Callable[[], Any]] = {
    "rprop": lambda: cmlp.Rprop(),
    "rprop_steps": lambda: cmlp.Rprop(0.02, increase=1.5, decrease=0.3, min_step=1e-4, max_step=0.1, l1=1e-3),
    "gradient_descent": lambda: cmlp.GradientDescent(0.1, weight_decay=1e-3, averaging=EMA(0.5)),
    "exact_line_search": lambda: cmlp.GradientDescent(0.1, line_search="exact", weight_decay=1e-2),
    "lbfgs": lambda: cmlp.LBFGS(weight_decay=1e-3),
    "lbfgs_short": lambda: cmlp.LBFGS(history_size=3, max_fun=9),
}
OPTIMIZERS = {**STEPPING, **FULL_BATCH}
ONE_THREAD = ("rprop", "rprop_steps")  # of two, one could compare the loss before it was summed, up to revision 245eee5

SCHEDULES: dict[str, Callable[[], Any]] = {
    "per_epoch": lambda: [0.1, 0.02],
    "callable": lambda: lambda t: 0.05 / (1 + t % 5),
    "inverse_time": lambda: schedules.InverseTime(0.1),
    "inverse_scaling": lambda: schedules.InverseScaling(0.1, 0.7),
    "step_decay": lambda: schedules.StepDecay(0.1, every=7, factor=0.5),
    "exponential": lambda: schedules.Exponential(0.05, 0.9, every=3),
    "cosine_restarts": lambda: schedules.CosineRestarts(0.05, period=5, growth=2, minimum=0.01),
    "warmup": lambda: schedules.LinearWarmup(schedules.InverseTime(0.2), steps=11),
    "one_cycle": lambda: schedules.OneCycle(0.1, steps=40),
    "plateau": lambda: schedules.Plateau(0.1, factor=0.5, patience=1, tol=0.5),
    "warmup_plateau": lambda: schedules.LinearWarmup(schedules.Plateau(0.1, patience=1, tol=0.5), steps=5),
}

STRATEGIES: dict[str, dict[str, Any]] = {
    "per_sample": {},
    "batches": {"batch_size": 5},
    "full_batch": {"batch_size": None},
    "sum": {"batch_size": 4, "reduction": "sum"},
    "given": {"order": "given"},
    "replacement": {"order": "replacement", "batch_size": 3},
    "clip_delta": {"clip_delta": 0.05},
    "clip_delta_batches": {"clip_delta": 0.05, "batch_size": 5},
    "clip_value": {"clip_value": 0.02, "batch_size": 5},
    "clip_norm": {"clip_norm": 0.1, "batch_size": 5},
    "clip_all": {"clip_delta": 0.1, "clip_value": 0.05, "clip_norm": 0.1},
    "validation_share": {"validation": 0.25},
    "patience": {"validation": 0.25, "patience": 1, "tol": 0.5, "batch_size": 4},
    "patience_last": {"patience": 1, "tol": 0.5, "restore_best": False},
    "grad_tol": {"grad_tol": 100.0},
    "callback": {"callbacks": [lambda network, history: len(history.loss) == 2]},
    "threads": {"batch_size": 32, "n_threads": 2},
}


def draw_samples(
    rng: np.random.Generator, loss: Any, n_samples: int, n_inputs: int, n_outputs: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return X and targets in the domain of the loss, in float64."""
    name = loss if isinstance(loss, str) else loss.name
    X = rng.normal(size=(n_samples, n_inputs))
    if name == "poisson":  # small inputs: e^z must not overflow
        return X / 4, rng.poisson(2, (n_samples, n_outputs)).astype(float)
    if name == "binary_cross_entropy":
        return X, rng.integers(0, 2, (n_samples, n_outputs)).astype(float)
    if name == "cross_entropy" or (name == "hinge" and n_outputs > 1):
        return X, rng.integers(0, n_outputs, n_samples)
    if name == "hinge":
        return X, rng.choice([-1.0, 1.0], (n_samples, n_outputs))
    return X, rng.normal(size=(n_samples, n_outputs))


def parameters(network: Any) -> list[Any]:
    """Return copies of all weights and biases."""
    return [None if p is None else p.copy() for p in (*network.weights, *network.biases)]


def observe(network: Any, X: np.ndarray, y: np.ndarray) -> Iterator[Any]:
    """Yield all that a network says of itself and of samples."""
    yield parameters(network)
    yield network.n_steps, network.n_epochs, network.input_mean, network.input_scale
    yield network.predict(X), network.predict(X, n_threads=2), [network.predict_one(x) for x in X[:3]]
    yield network.forward(X[:9]), network.forward(X[0])
    weights = np.linspace(0, 2, len(X))
    yield tuple(network.evaluate(X, y)), tuple(network.evaluate(X, y, sample_weight=weights))
    for gradients in (network.gradients(X, y), network.gradients(X, y, sample_weight=weights, reduction="sum")):
        yield gradients.weights, gradients.biases, gradients.deltas
        yield gradients.net_inputs, gradients.activations, gradients.loss


def trained(network: Any, X: np.ndarray, y: np.ndarray, **options: Any) -> Iterator[Any]:
    """Train, and yield the record and all about the network after it."""
    try:
        history = network.fit(X, y, **{"epochs": 3, **options})
    except cmlp.DivergenceError as error:
        yield "diverged", error.sample, error.layer
        history = error.history
    yield [getattr(history, name) for name in HISTORY]
    yield from observe(network, X, y)


def streamed(network: Any, X: np.ndarray, y: np.ndarray) -> Iterator[Any]:
    """Go on as in a stream, which shows the optimiser's state."""
    network.partial_fit(X[:7], y[:7], batch_size=3)
    yield parameters(network)
    yield [network.learn_one(x, target) for x, target in zip(X[:5], y[:5], strict=True)]
    yield network.learn_one(X[0], y[0], clip_delta=0.01)
    yield parameters(network)


def programs(network: Any) -> list[Any]:
    """Return the compiled program, which can be told whether to learn in blocks; wherever the network keeps it."""
    parts = list(vars(network).values())
    parts += [inner for part in parts if hasattr(part, "__dict__") for inner in vars(part).values()]
    found = [part for part in parts if hasattr(part, "per_sample") or hasattr(part, "in_blocks")]
    if not found:
        raise AttributeError("found no compiled program in the network: tell `programs` in bit_cases.py where it is")
    return found


def take_way(network: Any, in_blocks: bool) -> None:
    """Let the network learn from single samples in blocks or by operation, in revisions that knew no other way too."""
    for program in programs(network):
        if hasattr(program, "per_sample"):
            program.per_sample = "in_blocks" if in_blocks else "by_operation"
        else:
            program.in_blocks = in_blocks


# ------------------------------------------------------------------------------------------------------------- cases


def activation_case(activation: str, dtype: str) -> Iterator[Any]:
    """Every loss behind one hidden activation, and the activation at the output where the loss allows it."""
    for seed, (loss, outputs) in enumerate(OUTPUTS.items()):
        rng = np.random.default_rng(seed)
        for output in [outputs[0]] if activation not in outputs[1:] else [outputs[0], activation]:
            hidden = "tanh" if activation == "exp" else activation
            network = cmlp.MLP([5, 9, 3], activation=[hidden, output], loss=loss, dtype=dtype, seed=seed)
            yield from trained(network, *draw_samples(rng, loss, 21, 5, 3), optimizer=SGD(0.02), batch_size=4)


def pair_case(loss: str, output: str, dtype: str) -> Iterator[Any]:
    """One loss over one output activation, per sample, in blocks or not, and by batches."""
    for batch_size in (1, 6):
        for in_blocks in (False, True) if batch_size == 1 else (False,):
            rng = np.random.default_rng(3)
            chosen = WITH_PARAMETER.get(loss, loss) if batch_size == 6 else loss
            options = {"activation": ["tanh", output], "loss": chosen, "dtype": dtype, "seed": 4}
            network = cmlp.MLP([6, 40, 4], bias_init="zeros", init="glorot_uniform", **options)
            take_way(network, in_blocks)
            yield from trained(network, *draw_samples(rng, loss, 50, 6, 4), optimizer=SGD(0.02), batch_size=batch_size)


def composition_case(name: str, dtype: str) -> Iterator[Any]:
    """One composition of layers, by plain SGD, Adam and L-BFGS."""
    for optimizer, batch_size in (("sgd", 1), ("adam", 8), ("sgd_all", 33), ("lbfgs", None)):
        if (name, optimizer) == ("dropout", "lbfgs"):
            continue  # refused
        chosen = SGD(0.01, 0.5, l1=1e-3, max_norm=2.0) if optimizer == "sgd_all" else OPTIMIZERS[optimizer]()
        network = cmlp.Network(COMPOSITIONS[name](), 5, loss="huber", optimizer=chosen, dtype=dtype, seed=7)
        X, y = draw_samples(np.random.default_rng(8), "huber", 33, 5, 3)
        yield from trained(network, X, y, batch_size=batch_size)
        if not chosen.full_batch:
            yield from streamed(network, X, y)


def optimizer_case(name: str, dtype: str) -> Iterator[Any]:
    """One optimiser: a run, one that goes on with it, threads, sample weights and clipping."""
    batch_sizes = (None,) if name in FULL_BATCH else (1, 7)
    searches = name in ("exact_line_search", "lbfgs", "lbfgs_short")
    for batch_size in batch_sizes:
        network = cmlp.MLP([6, 12, 70, 3], activation="tanh", loss="cross_entropy", dtype=dtype, seed=1)
        X, y = draw_samples(np.random.default_rng(2), "cross_entropy", 40, 6, 3)
        yield from trained(network, X, y, optimizer=OPTIMIZERS[name](), batch_size=batch_size)
        clipping = {} if searches else {"clip_norm": 0.5, "clip_delta": 0.3}
        weights = np.linspace(0, 1.5, len(X))
        threads = 1 if name in ONE_THREAD else 2
        yield from trained(network, X, y, batch_size=batch_size, n_threads=threads, sample_weight=weights, **clipping)
        if name not in FULL_BATCH and "swa" not in name:
            yield from streamed(network, X, y)


def schedule_case(name: str, dtype: str) -> Iterator[Any]:
    """One schedule, per sample and by batches, with a second run that goes on with it."""
    X, y = draw_samples(np.random.default_rng(5), "squared_error", 20, 4, 1)
    for batch_size, kind in ((1, SGD), (6, cmlp.Adam)):
        network = cmlp.MLP([4, 10, 1], dtype=dtype, seed=3, optimizer=kind(SCHEDULES[name]()))
        yield from trained(network, X, y, batch_size=batch_size, epochs=4)
        yield from trained(network, X, y, batch_size=batch_size, validation=(X[:6], y[:6]))
        yield from streamed(network, X, y)


def strategy_case(name: str, dtype: str) -> Iterator[Any]:
    """One way to call fit: a plain chain in blocks or not, Adam, dropout, and a wide input."""
    X, y = draw_samples(np.random.default_rng(6), "squared_error", 40, 6, 2)
    for in_blocks in (False, True):
        network = cmlp.MLP([6, 16, 2], dtype=dtype, seed=2, optimizer=SGD(0.02))
        take_way(network, in_blocks)
        yield from trained(network, X, y, **STRATEGIES[name])
    for options in ({"optimizer": cmlp.Adam(0.01)}, {"optimizer": SGD(0.02), "dropout": 0.3}):
        network = cmlp.MLP([6, 16, 8, 2], activation=["elu", "softsign"], dtype=dtype, seed=2, **options)
        yield from trained(network, X, y, **STRATEGIES[name], sample_weight=np.linspace(0.5, 1.5, 40), epochs=2)
    wide, targets = draw_samples(np.random.default_rng(7), "hinge", 30, 300, 1)
    network = cmlp.MLP([300, 40, 1], loss="hinge", dtype=dtype, seed=2)
    yield from trained(network, wide, targets, **STRATEGIES[name])


def input_case(standardize: bool, missing: str, dtype: str) -> Iterator[Any]:
    """Scale inputs, and fill gaps: in fit, with validation, and in a stream."""
    X, y = draw_samples(np.random.default_rng(9), "squared_error", 30, 6, 1)
    X = X * 3 + 5
    if missing == "mean":
        X[::4, 1] = X[2, ::3] = np.nan
    for optimizer, batch_size in ((SGD(0.02), 1), (cmlp.Adam(0.01), 8), (cmlp.LBFGS(), None)):
        options = {"standardize": standardize, "missing": missing, "dtype": dtype, "seed": 5}
        network = cmlp.MLP([6, 10, 1], optimizer=optimizer, **options)
        if not optimizer.full_batch:
            yield from streamed(network, X, y)
        yield from trained(network, X.astype(dtype), y, batch_size=batch_size, validation=0.2)
        yield from trained(network, np.asfortranarray(X), y.ravel(), batch_size=batch_size, validation=(X[:9], y[:9]))


def init_case(name: str, dtype: str) -> Iterator[Any]:
    """One initialiser, of weights and of biases."""
    network = cmlp.MLP([5, 30, 70, 3], init=name, bias_init=name, dtype=dtype, seed=12)
    yield parameters(network)
    yield parameters(cmlp.MLP([5, 3], init=name, bias_init="zeros", dtype=dtype, seed=np.random.default_rng(1)))


def random_case(seed: int, dtype: str) -> Iterator[Any]:
    """Draw a network, an optimiser and a strategy at random; a run, one more by another optimiser, a stream."""
    rng = np.random.default_rng([seed, 2024])
    loss = str(rng.choice(list(OUTPUTS)))
    n_hidden = int(rng.integers(1, 4))
    sizes = [int(n) for n in np.exp(rng.uniform(0.7, np.log(80), n_hidden + 2))]
    names = [str(rng.choice(HIDDEN)) for _ in range(n_hidden)] + [str(rng.choice(OUTPUTS[loss]))]
    X, y = draw_samples(rng, loss, int(rng.integers(20, 60)), sizes[0], sizes[-1])
    optimizers = [str(rng.choice(list(OPTIMIZERS))) for _ in range(2)]
    drops_out = rng.random() < 0.25 and not {"exact_line_search", "lbfgs", "lbfgs_short"} & {*optimizers}
    network = cmlp.MLP(
        sizes,
        activation=names,
        loss=WITH_PARAMETER.get(loss, loss) if rng.random() < 0.5 else loss,
        bias=bool(rng.random() < 0.8),
        dropout=0.2 if drops_out else 0.0,
        standardize=bool(rng.random() < 0.2),
        dtype=dtype,
        seed=seed,
    )
    for optimizer in optimizers:
        strategy = STRATEGIES[str(rng.choice(list(STRATEGIES)))]
        if optimizer in FULL_BATCH:
            strategy = {"n_threads": 1 if optimizer in ONE_THREAD else 2, "validation": strategy.get("validation")}
        weights = rng.uniform(0, 2, len(X)) if rng.random() < 0.3 else None
        yield from trained(network, X, y, optimizer=OPTIMIZERS[optimizer](), sample_weight=weights, **strategy)
        if optimizer not in FULL_BATCH and "swa" not in optimizer:
            yield from streamed(network, X, y)


def divergence_case(dtype: str) -> Iterator[Any]:
    """Leave the finite numbers: where runs stop and what they keep."""
    X, y = draw_samples(np.random.default_rng(0), "squared_error", 30, 4, 1)
    for batch_size in (1, 8):
        for optimizer in (SGD(1e18), SGD(1e18, momentum=0.9), SGD([0.01, 1e30])):
            network = cmlp.MLP([4, 8, 8, 1], dtype=dtype, seed=1)
            yield from trained(network, X, y, optimizer=optimizer, batch_size=batch_size)


def saved_case(dtype: str) -> Iterator[Any]:
    """Networks that come back from a file: what they compute, and how they go on."""
    X, y = draw_samples(np.random.default_rng(1), "cross_entropy", 30, 4, 3)
    for optimizer in STEPPING:
        network = cmlp.MLP([4, 9, 3], loss="cross_entropy", dtype=dtype, seed=1, standardize=True)
        network.fit(X, y, optimizer=STEPPING[optimizer](), epochs=2, batch_size=4)
        with tempfile.TemporaryDirectory() as folder:
            network.save(Path(folder, "net.cmlp"))
            again = cmlp.load(Path(folder, "net.cmlp"))
        yield from observe(again, X, y)
        yield from trained(again, X, y, order="given", batch_size=4)


def capsule_case(dtype: str) -> Iterator[Any]:
    """Predict and learn through the function pointers of the C interface."""
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    predict_type = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    learn_type = ctypes.CFUNCTYPE(
        ctypes.c_double, *[ctypes.c_void_p] * 3, ctypes.c_int64, ctypes.c_double, ctypes.c_double
    )
    for standardize in (False, True):
        network = cmlp.MLP([5, 8, 3], loss="cross_entropy", dtype=dtype, seed=1, standardize=standardize)
        X, y = draw_samples(np.random.default_rng(1), "cross_entropy", 20, 5, 3)
        network.partial_fit(X, y)
        X, out, capsule = X.astype(dtype), np.empty(3, dtype), network.capsule()
        pointer = get_pointer(capsule, b"cmlp.network")
        entries = (ctypes.c_void_p * 2).from_address(pointer + 24)  # behind n_inputs, n_outputs, is_double
        predict, learn = predict_type(entries[0]), learn_type(entries[1])
        for x, label in zip(X, y, strict=True):
            predict(pointer, x.ctypes.data, out.ctypes.data)
            yield out.copy(), learn(pointer, x.ctypes.data, None, int(label), 0.01, 0.2)
        yield from observe(network, X, y)


# -------------------------------------------------------------------------------------------------------- estimators

ESTIMATORS: dict[str, dict[str, Any]] = {
    "adam": {"solver": "adam"},
    "sgd": {"solver": "sgd"},
    "lbfgs": {"solver": "lbfgs"},
    "early_stopping": {"solver": "adam", "early_stopping": True, "n_iter_no_change": 2},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "momentum": 0.5, "nesterovs_momentum": False},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.5, "n_iter_no_change": 1},
    "batches": {"solver": "adam", "batch_size": 7, "alpha": 0.1, "shuffle": False},
    "threads": {"solver": "sgd", "batch_size": 50, "n_threads": 2, "activation": "logistic"},
    "optimizer": {"optimizer": cmlp.RMSprop(0.01), "l1": 0.0, "dropout": 0.2},
    "options": {"solver": "adam", "l1": 1e-3, "max_norm": 1.0, "clip_norm": 0.5, "dropout": [0.1]},
}
LEARNT = [
    "loss_curve_",
    "validation_scores_",
    "validation_loss_curve_",
    "best_loss_",
    "best_validation_score_",
    "n_iter_",
    "t_",
]


def estimated(estimator: Any, X: np.ndarray) -> Iterator[Any]:
    """Yield all that a fitted estimator shows."""
    yield [getattr(estimator, name, None) for name in LEARNT], estimator.coefs_, estimator.intercepts_
    yield estimator.predict(X), estimator.predict_one(X[0])
    for outputs in ("predict_proba", "decision_function"):
        if hasattr(estimator, outputs):
            yield getattr(estimator, outputs)(X)


def estimator_case(name: str, dtype: str) -> Iterator[Any]:
    """Classifier and regressor with one solver: fit, warm start, partial_fit, sample weights, several outputs."""
    rng = np.random.default_rng(11)
    X = rng.normal(size=(60, 5)).astype(dtype)
    classes, values = rng.integers(0, 3, 60), rng.normal(size=(60, 2))
    weights = rng.uniform(0.1, 2, 60)
    shared = {"hidden_layer_sizes": (8,), "max_iter": 6, "random_state": 1, **ESTIMATORS[name]}
    tasks: list[tuple[Any, dict[str, Any], np.ndarray]] = [
        (cmlp.MLPClassifier, {}, classes),
        (cmlp.MLPClassifier, {}, classes > 0),
        (cmlp.MLPClassifier, {"class_weight": {0: 0.5, 1: 2.0, 2: 1.0}, "loss": "hinge"}, classes),
        (cmlp.MLPRegressor, {}, values),
        (cmlp.MLPRegressor, {"loss": Huber(0.5)}, values[:, 0]),
        (cmlp.MLPRegressor, {"loss": "poisson"}, np.abs(values[:, 0])),
    ]
    for kind, options, y in tasks:
        estimator = kind(**shared, **options).fit(X, y, sample_weight=weights)
        yield from estimated(estimator, X)
        yield from estimated(estimator.set_params(warm_start=True).fit(X, y), X)
        if not shared.get("early_stopping") and name != "lbfgs":
            yield from estimated(estimator.partial_fit(X[:9], y[:9]), X)


def all_cases() -> Iterator[tuple[str, Case]]:
    """Yield every case under its name."""
    for name in ACTIVATIONS:
        yield f"activation/{name}", partial(activation_case, name)
    for loss, outputs in OUTPUTS.items():
        for output in outputs:
            yield f"loss/{loss}/{output}", partial(pair_case, loss, output)
    families = {
        "composition": (composition_case, COMPOSITIONS),
        "optimizer": (optimizer_case, OPTIMIZERS),
        "schedule": (schedule_case, SCHEDULES),
        "strategy": (strategy_case, STRATEGIES),
        "estimator": (estimator_case, ESTIMATORS),
    }
    for family, (case, names) in families.items():
        for name in names:
            yield f"{family}/{name}", partial(case, name)
    for standardize, missing in ((True, "error"), (False, "mean"), (True, "mean")):
        yield f"inputs/standardize={standardize}/missing={missing}", partial(input_case, standardize, missing)
    for name in [
        "he_normal",
        "he_uniform",
        "glorot_normal",
        "glorot_uniform",
        "lecun_normal",
        "lecun_uniform",
        "uniform",
        "zeros",
    ]:
        yield f"init/{name}", partial(init_case, name)
    for seed in range(60):
        yield f"random/{seed}", partial(random_case, seed)
    yield from {"divergence": divergence_case, "saved": saved_case, "capsule": capsule_case}.items()


CASES: dict[str, Case] = dict(all_cases())
