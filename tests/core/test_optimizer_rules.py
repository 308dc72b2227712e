"""What the optimisers compute: against cmlp.reference, on any number of threads, saved, and gone wrong."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
from helpers.cases import FLOATS, reference_train, relative_error, samples_for, use_layout

import cmlp
from cmlp import LBFGS, SGD, Adagrad, Adam, AdamW, GradientDescent, RMSprop, Rprop
from cmlp.schedules import InverseScaling

RULES = {
    "adam": Adam(0.01, weight_decay=0.02),
    "amsgrad": Adam(0.02, beta1=0.8, beta2=0.9, eps=1e-6, amsgrad=True, weight_decay=0.01),
    "adamw": AdamW(0.01, weight_decay=0.1),
    "adamw_amsgrad": AdamW(0.01, beta2=0.9, amsgrad=True, weight_decay=0.2),
    "rmsprop": RMSprop(0.005, beta=0.9, weight_decay=0.02),
    "rmsprop_momentum": RMSprop(0.002, momentum=0.8),
    "rmsprop_centered": RMSprop(0.002, beta=0.95, centered=True),
    "rmsprop_all": RMSprop(0.001, beta=0.9, eps=1e-4, momentum=0.5, centered=True, weight_decay=0.01),
    "adagrad": Adagrad(0.05, weight_decay=0.01),
    "rprop": Rprop(0.01),
    "rprop_others": Rprop(0.02, increase=1.5, decrease=0.3, min_step=1e-3, max_step=0.1),
}
STEPPING = {
    **RULES,
    "sgd": SGD(0.05),
    "momentum": SGD(0.02, momentum=0.9, weight_decay=0.01),
    "nesterov": SGD(0.02, momentum=0.9, nesterov=True),
    "gradient_descent": GradientDescent(0.1, weight_decay=0.01),
}
SEARCHING = {"line_search": GradientDescent(line_search="exact", weight_decay=0.01), "lbfgs": LBFGS(weight_decay=0.01)}


def problem(dtype, n_samples=60, loss="squared_error"):
    """Return a net with a bias, padding in every row, and samples."""
    net = cmlp.MLP([5, 19, 7, 3], activation=["tanh", "sigmoid"], loss=loss, dtype=dtype, seed=1)
    return net, *samples_for(loss, np.random.default_rng(2), n_samples, 5, 3, dtype)


def batches(optimizer, size):
    """Return the batch size, or None where the optimiser takes all samples only."""
    return None if optimizer.full_batch else size


def everything(net):
    """Return all that training changes, as bytes and numbers."""
    vectors = [net._model.parameters, *net._model.slots.values()]
    return [v.tobytes() for v in vectors], net._model.memory, net.n_steps, net.n_epochs


# ---------------------------------------------------------------------------------------------- against the reference


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("layout", ["rows", "columns"])
@pytest.mark.parametrize("batch_size", [1, 7, 64])
@pytest.mark.parametrize("rule", RULES)
def test_every_rule_equals_the_reference(simd_level, monkeypatch, rule, batch_size, layout, dtype):
    use_layout(monkeypatch, layout)
    optimizer = RULES[rule]
    net, X, y = problem(dtype)
    epochs = 12 if optimizer.full_batch else 1 + batch_size // 7
    options = {"epochs": epochs, "batch_size": batches(optimizer, batch_size), "order": "given"}
    options["sample_weight"] = np.linspace(0.5, 2, len(X))
    start = net._model.parameters.copy()
    expected = reference_train(
        net, X, y, optimizer=optimizer, learning_rate=optimizer.learning_rate, **{**options, "order": None}
    )
    history = net.fit(X, y, optimizer=optimizer, **options)
    assert not np.array_equal(start, net._model.parameters)
    tolerance = 1e-10 if dtype == "float64" else 2e-3
    assert relative_error((*net.weights, *net.biases), (*expected[0], *expected[1])) < tolerance
    np.testing.assert_allclose(history.loss, expected[2], rtol=tolerance)


@pytest.mark.parametrize("rule", ["adamw", "rmsprop_all", "adagrad"])
def test_rules_take_clipped_gradients(rule):
    net, X, y = problem("float64")
    clipping = {"clip_delta": 0.5, "clip_value": 0.05, "clip_norm": 0.1}
    optimizer = RULES[rule]
    options = {"epochs": 2, "batch_size": 8, **clipping}
    weights, biases, _ = reference_train(net, X, y, optimizer=optimizer, learning_rate=0.03, **options)
    net.fit(X, y, optimizer=replace(optimizer, learning_rate=0.03), order="given", **options)
    assert relative_error((*net.weights, *net.biases), (*weights, *biases)) < 1e-10


def test_the_reference_says_which_optimisers_it_has():
    net, X, y = problem("float64")
    with pytest.raises(TypeError, match=r"no step of LBFGS.* is written here"):
        reference_train(net, X, y, learning_rate=0.1, optimizer=LBFGS())


def rprop_of_the_paper(net, X, y, optimizer, steps):
    """iRPROP+ of Igel and Hüsken (2000), table 1, entry by entry, with the last change Δw kept."""
    net = copy.deepcopy(net)
    w = [*net.weights, *net.biases]
    last, change, size = ([np.zeros_like(a) for a in w] for _ in range(3))
    for s in size:
        s[...] = optimizer.learning_rate
    E_last = np.inf
    went_back = 0
    for _ in range(steps):
        found = net.gradients(X, y)
        for a, g, g_last, dw, d in zip(w, [*found.weights, *found.biases], last, change, size, strict=True):
            for i in np.ndindex(a.shape):
                if g[i] * g_last[i] > 0:
                    d[i] = min(d[i] * optimizer.increase, optimizer.max_step)
                    dw[i] = -np.sign(g[i]) * d[i]
                    a[i] += dw[i]
                elif g[i] * g_last[i] < 0:
                    d[i] = max(d[i] * optimizer.decrease, optimizer.min_step)
                    if found.loss > E_last:
                        a[i] -= dw[i]
                        went_back += 1
                    g[i] = 0
                else:
                    dw[i] = -np.sign(g[i]) * d[i]
                    a[i] += dw[i]
                g_last[i] = g[i]
        E_last = found.loss
    return w, went_back


def test_rprop_is_that_of_the_paper():
    net, X, y = problem("float64", 30)
    optimizer = Rprop(0.3)
    expected, went_back = rprop_of_the_paper(net, X, y, optimizer, 40)
    assert went_back > 50  # there was something to tell + from -
    net.fit(X, y, epochs=40, optimizer=optimizer)
    assert relative_error((*net.weights, *net.biases), expected) < 1e-9


# ------------------------------------------------------------------------------------ threads, padding, saving, errors


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("batch_size", [1, 50])
@pytest.mark.parametrize("rule", STEPPING)
def test_the_same_bits_for_every_number_of_threads(simd_level, rule, batch_size, dtype):
    optimizer = STEPPING[rule]
    results = []
    for n_threads in (1, 2, 3, 4):
        net, X, y = problem(dtype, 131)
        history = net.fit(
            X, y, epochs=4, batch_size=batches(optimizer, batch_size), optimizer=optimizer, n_threads=n_threads
        )
        results.append((*everything(net), history.loss))
    assert results[1:] == results[:1] * 3


@pytest.mark.parametrize("rule", SEARCHING)
def test_searches_find_the_same_bits_for_every_number_of_threads(rule):
    results = []
    for n_threads in (1, 2, 3, 4):
        net, X, y = problem("float32", 131)
        history = net.fit(X, y, epochs=4, optimizer=SEARCHING[rule], n_threads=n_threads)
        results.append((*everything(net), history.loss, str(history.learning_rate), history.objective))
    assert results[1:] == results[:1] * 3


@pytest.mark.parametrize("rule", [*STEPPING, *SEARCHING])
def test_padding_stays_zero(rule):
    net, X, y = problem("float32")
    optimizer = {**STEPPING, **SEARCHING}[rule]
    net.fit(X, y, epochs=3, batch_size=batches(optimizer, 7), optimizer=optimizer)
    mask = net._model.new_vector()
    for array in (*net._model.views(mask)[0], *net._model.views(mask)[1]):
        array[...] = 1
    assert np.count_nonzero(mask) == net.n_parameters < mask.size
    assert not net._model.parameters[mask == 0].any()


@pytest.mark.parametrize("how", ["save", "pickle", "copy"])
@pytest.mark.parametrize("rule", [*STEPPING, "line_search"])
def test_resumed_training_equals_uninterrupted(rule, how, tmp_path):
    optimizer = {**STEPPING, **SEARCHING}[rule]
    batch_size = batches(optimizer, 8)
    net, X, y = problem("float64")
    whole = copy.deepcopy(net)
    options = {"batch_size": batch_size, "order": "given"}
    whole.fit(X, y, epochs=14, optimizer=optimizer, **options)
    net.fit(X, y, epochs=6, optimizer=optimizer, **options)
    if how == "save":
        net.save(tmp_path / "net.cmlp")
        net = cmlp.load(tmp_path / "net.cmlp")
    else:
        net = pickle.loads(pickle.dumps(net)) if how == "pickle" else copy.copy(net)
    assert net.optimizer == optimizer
    net.fit(X, y, epochs=8, **options)
    assert everything(net)[1:] == everything(whole)[1:]
    for mine, theirs in zip((*net.weights, *net.biases), (*whole.weights, *whole.biases), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    ours, others = net._model.arrays(), whole._model.arrays()
    assert set(ours) == set(others)
    assert all(np.array_equal(ours[name], others[name]) for name in ours)


@pytest.mark.parametrize("rule", STEPPING)
def test_divergence_restores_what_the_optimiser_keeps(rule):
    optimizer = STEPPING[rule]
    net, X, y = problem("float64")
    net.fit(X, y, epochs=3, batch_size=batches(optimizer, 8), optimizer=optimizer)
    before = copy.deepcopy(everything(net))
    y = y.copy()
    y[40] = 1e200  # ½ (ŷ - y)² overflows
    with pytest.raises(cmlp.DivergenceError):
        net.fit(X, y, epochs=2, batch_size=batches(optimizer, 8), order="given")
    assert everything(net) == before


def test_a_new_optimiser_starts_anew():
    net, X, y = problem("float64")
    twin = copy.deepcopy(net)
    net.fit(X, y, epochs=5, optimizer=Rprop(0.01))
    for array, start in zip((*net.weights, *net.biases), (*twin.weights, *twin.biases), strict=True):
        array[...] = start
    net.fit(X, y, epochs=5, optimizer=Rprop(0.01))
    twin.fit(X, y, epochs=5, optimizer=Rprop(0.01))
    assert everything(net) == everything(twin)


@pytest.mark.parametrize("rule", ["adamw", "rmsprop", "adagrad"])
def test_schedules_drive_every_rule(rule):
    net, X, y = problem("float64")
    schedule = InverseScaling(0.02)
    optimizer = type(RULES[rule])(schedule)
    rates = schedule.rates(0, 24, 0)
    weights, biases, _ = reference_train(net, X, y, optimizer=optimizer, learning_rate=rates, epochs=3, batch_size=8)
    net.fit(X, y, epochs=3, batch_size=8, optimizer=optimizer, order="given")
    assert relative_error((*net.weights, *net.biases), (*weights, *biases)) < 1e-10


@pytest.mark.parametrize("rule", ["rprop", "gradient_descent", *SEARCHING])
def test_full_batch_optimisers_say_what_they_need(rule):
    optimizer = {**STEPPING, **SEARCHING}[rule]
    kind = type(optimizer).__name__
    net, X, y = problem("float32")
    for batch_size in (1, 7, 59):
        with pytest.raises(ValueError, match=f"{kind} takes all samples at once: .* not {batch_size}"):
            net.fit(X, y, batch_size=batch_size, optimizer=optimizer)
    with pytest.raises(ValueError, match="order='replacement' does not go with it"):
        net.fit(X, y, order="replacement", optimizer=optimizer)
    assert net.optimizer == SGD()
    net.optimizer = optimizer
    before = copy.deepcopy(everything(net))
    with pytest.raises(ValueError, match=f"partial_fit sees few samples, but {kind} needs all: use fit"):
        net.partial_fit(X, y)
    with pytest.raises(ValueError, match=f"learn_one sees few samples, but {kind} needs all: use fit"):
        net.learn_one(X[0], y[0])
    assert everything(net) == before
    for batch_size in (60, None, "auto"):
        assert len(net.fit(X, y, epochs=1, batch_size=batch_size).loss) == 1


@pytest.mark.parametrize("rule", SEARCHING)
@pytest.mark.parametrize("clip", ["clip_delta", "clip_value", "clip_norm"])
def test_searches_take_no_clipped_gradient(rule, clip):
    net, X, y = problem("float32")
    with pytest.raises(ValueError, match=f"{clip} does not go with "):
        net.fit(X, y, optimizer=SEARCHING[rule], **{clip: 1.0})


def test_batch_size_auto_is_one_sample_or_all():
    net, X, y = problem("float64")
    assert net.fit(X, y, epochs=1).stopped == "epochs"
    assert net.n_steps == 60
    net.fit(X, y, epochs=1, optimizer="rprop")
    assert net.n_steps == 1
    with pytest.raises(TypeError, match="batch_size must be an integer"):
        net.fit(X, y, batch_size="full")


def test_whether_the_loss_rose_is_known_to_every_thread():
    """iRPROP+ asks for it in every thread, so that thread 0 must have added the losses up before."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50, 6)), rng.normal(size=(50, 3))
    found = set()
    for _ in range(300):
        net = cmlp.MLP([6, 20, 3], activation="tanh", seed=1)
        net.fit(X, y, epochs=12, optimizer=Rprop(0.2), n_threads=2)
        found.add(net.weights[0].tobytes())
    assert len(found) == 1


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(0.1, momentum=0.9),
        Adam(0.01),
        RMSprop(0.01, momentum=0.9),
        RMSprop(0.01, centered=True, momentum=0.5),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_decays_ends_at_zero_and_never_among_the_subnormals(optimizer, dtype):
    net = cmlp.MLP([3, 20, 1], dtype=dtype, seed=0, optimizer=optimizer)
    tiny = np.finfo(dtype).tiny
    for name, slot in net._model.slots.items():
        for W in net._model.views(slot)[0]:
            W[...] = 0 if name == "squares" else 4 * tiny
    zeros = np.zeros(3, dtype)
    for _ in range(100):
        net.partial_fit([zeros], [net.predict_one(zeros)[0]])  # every gradient is 0
    for slot in net._model.slots.values():
        assert ((slot == 0) | (np.abs(slot) >= tiny)).all()
