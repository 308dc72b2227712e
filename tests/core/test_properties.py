"""Properties of random networks of any shape, type and composition (hypothesis)."""

from __future__ import annotations

from unittest import mock

import numpy as np
from helpers.cases import (
    BOUNDED_GROWTH,
    FLOATS,
    OUTPUTS,
    activations_of,
    parameters_of,
    reference_train,
    relative_error,
    samples_for,
)
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import cmlp
from cmlp import SGD, _core, reference, schedules
from cmlp._engine import passes
from cmlp.layers import Activation, Dense, Dropout, Identity, add, chain, concatenate
from cmlp.losses import LOSSES

# Not as steady as it looks: hypothesis also draws from the constants of all modules that happen to be loaded. The blob
# that a failure prints brings its example back.
STEADY = settings(
    deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck), print_blob=True
)

TOLERANCE = {"float32": 2e-5, "float64": 1e-12}
RATE = 2e-4  # so small that no random network diverges, whatever its update
SMOOTH = [
    "identity",
    "sigmoid",
    "tanh",
    "softmax",
    "elu",
    "gelu",
    "silu",
    "softplus",
    "softsign",
]  # without a kink that rounding could land on either side of

names = st.sampled_from(BOUNDED_GROWTH)
seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from(FLOATS)
levels = st.sampled_from(_core.simd_levels())


@st.composite
def layers(draw, n_inputs, depth=3, activations=names, dropout=False):
    """A random composition for so many inputs."""
    kinds = ["dense", "activation", "identity"] + ["chain", "concatenate", "add"] * (depth > 0)
    kind = draw(st.sampled_from(kinds + ["dropout"] * dropout))
    if kind == "dropout":
        return Dropout(draw(st.sampled_from([0.0, 0.2, 0.7])))
    if kind == "activation":
        return Activation(draw(activations))
    if kind == "identity":
        return Identity()
    if kind == "chain":
        parts = []
        width = n_inputs
        for _ in range(draw(st.integers(1, 3))):
            parts.append(draw(layers(width, depth - 1, activations, dropout)))
            width = parts[-1].output_size(width)
        return chain(*parts)
    if kind == "concatenate":
        branches = draw(st.lists(layers(n_inputs, depth - 1, activations, dropout), min_size=1, max_size=3))
        return concatenate(*branches)
    if kind == "add":
        branches = draw(st.lists(layers(n_inputs, depth - 1, activations, dropout), min_size=1, max_size=3))
        width = draw(st.sampled_from([branch.output_size(n_inputs) for branch in branches]))
        fitted = [
            branch if branch.output_size(n_inputs) == width else chain(branch, Dense(width)) for branch in branches
        ]
        return add(*fitted)
    return Dense(draw(st.integers(1, 20)), draw(activations), bias=draw(st.booleans()))


@st.composite
def networks(draw, activations=names, dtype=dtypes):
    """A random composition with at least one dense layer, any loss it is defined for, and samples."""
    n_inputs = draw(st.integers(1, 20))
    body = draw(layers(n_inputs, activations=activations))
    loss = draw(st.sampled_from(list(LOSSES)))
    output = draw(st.sampled_from([f for f in OUTPUTS[loss] if f in SMOOTH]))
    n_outputs = draw(st.integers(2, 9))
    net = cmlp.Network(
        chain(body, Dense(n_outputs), Activation(output)), n_inputs, loss=loss, dtype=draw(dtype), seed=draw(seeds)
    )
    rng = np.random.default_rng(draw(seeds))
    X, y = samples_for(loss, rng, draw(st.integers(1, 6)), n_inputs, n_outputs, net.dtype)
    if (loss, output) == ("binary_cross_entropy", "softmax"):
        assume(net.predict(X).max() < 0.99)  # near 1, ∂ℓ/∂ŷ = 1 / (1 - ŷ) loses its digits, in any program
    return net, X, y


@st.composite
def mlps(draw, activations=names, max_samples=25):
    """A random MLP and samples for it."""
    loss = draw(st.sampled_from(list(LOSSES)))
    sizes = draw(st.lists(st.integers(1, 40), min_size=2, max_size=5))
    sizes[-1] = max(2, sizes[-1])
    chosen = [draw(activations) for _ in sizes[2:]] + [draw(st.sampled_from(OUTPUTS[loss]).filter(SMOOTH.count))]
    net = cmlp.MLP(sizes, activation=chosen, loss=loss, bias=draw(st.booleans()), dtype=draw(dtypes), seed=draw(seeds))
    rng = np.random.default_rng(draw(seeds))
    n_samples = draw(st.integers(1, max_samples))
    return net, *samples_for(loss, rng, n_samples, sizes[0], sizes[-1], net.dtype, one_hot=draw(st.booleans()))


@st.composite
def updates(draw):
    """Random settings of fit, and of its optimiser."""
    momentum = draw(st.sampled_from([0.0, 0.9]))
    return (
        {
            "batch_size": draw(st.sampled_from([None, 1, 2, 5])),
            "reduction": draw(st.sampled_from(["mean", "sum"])),
            "clip_delta": draw(st.sampled_from([None, 0.1])),
            "clip_value": draw(st.sampled_from([None, 0.05])),
            "clip_norm": draw(st.sampled_from([None, 0.1])),
        },
        {
            "momentum": momentum,
            "nesterov": momentum > 0 and draw(st.booleans()),
            "weight_decay": draw(st.sampled_from([0.0, 0.01])),
        },
    )


class use_level:
    """Compute at an instruction-set level inside a with statement."""

    def __init__(self, level):
        self.level = level

    def __enter__(self):
        self.before = _core.simd_level()
        _core.set_simd_level(self.level)

    def __exit__(self, *error):
        _core.set_simd_level(self.before)


def twins(net):
    """Return a function that makes copies of a network with its present parameters."""
    parameters, config = net._model.parameters.copy(), net.config()

    def twin():
        copy = cmlp.Network.from_config(config)
        copy._model.parameters[...] = parameters
        copy._model.rng = np.random.default_rng(0)
        return copy

    return twin


@settings(STEADY, max_examples=150)
@given(networks(), levels)
def test_predictions_equal_the_reference(case, level):
    net, X, _ = case
    with use_level(level):
        got = net.predict(X)
    expected = reference.network_forward(net.layers, *parameters_of(net), X)
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    assert relative_error([got], [expected]) < TOLERANCE[net.dtype.name]


@settings(STEADY, max_examples=200)
@given(networks(st.sampled_from(SMOOTH)), levels)
def test_gradients_equal_the_reference(case, level):
    net, X, y = case
    with use_level(level):
        got = net.gradients(X, y, reduction="sum")
    losses, dW, db = reference.network_gradients(net.layers, *parameters_of(net), net.loss, X, y)
    tolerance = 10 * TOLERANCE[net.dtype.name]
    assert relative_error([[got.loss]], [[losses.sum(dtype=float)]]) < tolerance
    # ŷ - y may cancel: its rounding is relative to ŷ and y, which are around 1, and not to a gradient that is small.
    largest = max(0.1, *(np.abs(g).max() for g in dW))
    for a, b in zip(got.weights + got.biases, dW + db, strict=True):
        assert (a is None) == (b is None)
        assert a is None or np.abs(a - b).max() < tolerance * largest


@settings(STEADY, max_examples=120)
@given(mlps(st.sampled_from(SMOOTH)), updates(), levels, seeds)
def test_training_equals_the_reference(case, update, level, seed):
    net, X, y = case
    fit, sgd = update
    s = np.random.default_rng(seed).uniform(0.1, 2, len(X)) if seed % 2 else None
    weights, biases, losses = reference_train(net, X, y, learning_rate=RATE, epochs=2, sample_weight=s, **fit, **sgd)
    with use_level(level):
        history = net.fit(X, y, epochs=2, order="given", optimizer=SGD(RATE, **sgd), sample_weight=s, **fit)
    tolerance = TOLERANCE[net.dtype.name]
    assert relative_error(net.weights + net.biases, weights + biases) < tolerance, activations_of(net)
    np.testing.assert_allclose(history.loss, losses, rtol=tolerance, atol=tolerance)


@settings(STEADY, max_examples=60)
@given(mlps(), updates(), st.sampled_from(["given", "shuffle", "replacement"]), st.integers(1, 40))
def test_chunks_change_nothing_bit_for_bit(case, update, order, nanoseconds):
    net, X, y = case
    fit, sgd = update
    twin = twins(net)
    results = []
    for aim in (passes.CHUNK_NANOSECONDS, nanoseconds * net._model.parameters.size):
        copy = twin()
        with mock.patch.object(passes, "CHUNK_NANOSECONDS", aim):
            history = copy.fit(X, y, epochs=2, order=order, optimizer=SGD(schedules.InverseTime(RATE), **sgd), **fit)
        results.append((copy, history))
    (whole, one), (parts, other) = results
    np.testing.assert_array_equal(parts._model.parameters, whole._model.parameters)
    assert (parts.n_steps, other.clipped, other.learning_rate) == (whole.n_steps, one.clipped, one.learning_rate)
    np.testing.assert_allclose(other.loss, one.loss, rtol=1e-12)


@settings(STEADY, max_examples=60)
@given(mlps(), updates(), seeds)
def test_permuted_rows_in_given_order_equal_rows_in_that_order(case, update, seed):
    net, X, y = case
    fit, sgd = update
    twin = twins(net)
    shuffled, given_rows = twin(), twin()
    permutation = np.random.default_rng(0).permutation(len(X))  # the one that `shuffle` will draw
    s = np.random.default_rng(seed).uniform(0.1, 2, len(X))
    shuffled.fit(X, y, epochs=1, order="shuffle", optimizer=SGD(RATE, **sgd), sample_weight=s, **fit)
    given_rows.fit(
        X[permutation], y[permutation], epochs=1, order="given", optimizer=SGD(RATE, **sgd),
        sample_weight=s[permutation], **fit
    )  # fmt: skip
    np.testing.assert_array_equal(shuffled._model.parameters, given_rows._model.parameters)


@settings(STEADY, max_examples=60)
@given(mlps(), st.sampled_from([{"clip_norm": 1e30}, {"clip_value": 1e30}]), st.sampled_from([None, 0.1]))
def test_one_sample_by_the_gradient_equals_the_direct_update(case, by_gradient, clip_delta):
    net, X, y = case
    twin = twins(net)
    direct, indirect = twin(), twin()
    one = direct.fit(X, y, epochs=2, optimizer=SGD(RATE), clip_delta=clip_delta)
    other = indirect.fit(X, y, epochs=2, optimizer=SGD(RATE), clip_delta=clip_delta, **by_gradient)
    assert (
        relative_error(indirect.weights + indirect.biases, direct.weights + direct.biases) < (TOLERANCE[net.dtype.name])
    )
    np.testing.assert_allclose(other.loss, one.loss, rtol=1e-4 if net.dtype == "float32" else 1e-10, atol=1e-6)


@settings(STEADY, max_examples=60)
@given(mlps(st.sampled_from(SMOOTH)), updates())
def test_levels_agree_within_rounding(case, update):
    net, X, y = case
    fit, sgd = update
    twin = twins(net)
    results = []
    for level in _core.simd_levels():
        copy = twin()
        with use_level(level):
            copy.fit(X, y, epochs=2, optimizer=SGD(RATE, **sgd), **fit)
        results.append(copy)
    for copy in results[1:]:
        arrays = results[0].weights + results[0].biases
        assert relative_error(copy.weights + copy.biases, arrays) < TOLERANCE[net.dtype.name]


@settings(STEADY, max_examples=60)
@given(networks())
def test_one_sample_alone_gives_what_it_gives_among_others(case):
    net, X, _ = case
    alone, among = [net.predict_one(x) for x in X], net.predict(X)
    assert relative_error([np.array(alone)], [among]) < TOLERANCE[net.dtype.name]  # summed in another order
    np.testing.assert_array_equal(net.forward(X)[0], X)


@settings(STEADY, max_examples=60)
@given(networks())
def test_training_leaves_samples_alone_and_padding_at_zero(case):
    net, X, y = case
    kept = X.copy(), y.copy()
    net.fit(X, y, epochs=1, optimizer=SGD(1e-4, momentum=0.9), clip_norm=0.1)
    np.testing.assert_array_equal(X, kept[0])
    np.testing.assert_array_equal(y, kept[1])
    for vector in (net._model.parameters, net._model.slots["velocity"]):
        views, others = net._model.views(vector)
        shown = sum(np.count_nonzero(a) for a in views + others if a is not None)
        assert np.count_nonzero(vector) == shown


@settings(STEADY, max_examples=60)
@given(networks())
def test_networks_come_back_from_their_configuration(case):
    net, X, _ = case
    twin = cmlp.Network.from_config(net.config())
    assert twin.layers == net.layers
    assert twin.config() == net.config()
    twin._model.parameters[...] = net._model.parameters
    np.testing.assert_array_equal(twin.predict(X), net.predict(X))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(STEADY, max_examples=200)
@given(st.data(), json_values)
def test_a_damaged_configuration_is_a_value_error_or_a_network(data, value):
    config = cmlp.Network(chain(concatenate(Dense(2, "relu"), Identity()), Dense(1)), 2).config()
    place = config
    while True:  # walk down at random and put `value` there
        key = data.draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place))))
        if not (isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans())):
            break
        place = place[key]
    place[key] = value
    try:
        net = cmlp.Network.from_config(config)
    except ValueError:
        return
    assert np.isfinite(net.predict(np.ones((1, net.n_inputs)))).all()


@given(data=st.data(), level=levels, seed=seeds)
def test_dropout_anywhere_trains_as_the_reference_with_the_same_masks(data, level, seed):
    n = data.draw(st.integers(1, 10))
    body = data.draw(layers(n, activations=st.sampled_from(SMOOTH), dropout=True))
    net = cmlp.Network(chain(body, Dense(3)), n, dtype="float64", seed=seed, optimizer=cmlp.SGD(1.0))
    net._model.draw_dropout_seed = lambda: seed
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(5, n)), rng.normal(size=(5, 3))
    masks = iter(
        np.array([reference.dropout_mask(seed, 0, c, i, op["n_out"], op["dropout"]) for c in range(5)])
        for i, op in enumerate(net._model.operations)
        if op["dropout"]
    )
    weights, biases = [W.copy() for W in net.weights], [None if b is None else b.copy() for b in net.biases]
    factors = [next(masks) if layer.rate else np.ones((5, 1)) for layer in drop_layers(net.layers)]
    _, dW, db = reference.network_gradients(net.layers, weights, biases, "squared_error", X, y, masks=factors)
    before = _core.simd_level()
    _core.set_simd_level(level)
    try:
        net.fit(X, y, epochs=1, batch_size=None, order="given", reduction="sum")
    finally:
        _core.set_simd_level(before)
    expected = [None if w is None else w - g for w, g in zip(weights + biases, dW + db, strict=True)]
    assert relative_error(net.weights + net.biases, expected) < 1e-9


def drop_layers(layer):
    """Return the dropout layers of a composition, depth first and left to right."""
    if isinstance(layer, Dropout):
        return [layer]
    return [part for inner in getattr(layer, "layers", ()) for part in drop_layers(inner)]
