"""Per-sample SGD as a chain and one sample ahead, against the reference and the way by operation, at every level."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.cases import (
    BOUNDED_GROWTH,
    FLOATS,
    OUTPUTS,
    needs_one_hot,
    reference_train,
    relative_error,
    samples_for,
    use_layout,
)

import cmlp
from cmlp import _core
from cmlp._core import PER_SAMPLE_WAYS, Program
from cmlp._engine.program import Lowering
from cmlp.losses import LOSSES, CrossEntropy, Huber, Quantile, loss_name

TOLERANCE = {"float32": 2e-4, "float64": 1e-11}

# Vectors of units from less than one to several chunks of four, and what is left over on either side.
CHAINS = [
    [1, 1],
    [3, 5, 2],
    [7, 16, 3],
    [10, 32, 32, 1],
    [13, 50, 3],
    [2, 9, 70, 4],
    [64, 65, 10],
    [5, 3, 1, 7],
    [40, 1],
]
TINY = [[1, 1, 1], [2, 4, 1], [3, 5, 1], [9, 8, 1], [2, 16, 1], [30, 12, 1], [4, 2, 1]]


def network_for(sizes, way, dtype, activation="tanh", output="identity", loss="squared_error", *, bias=True, seed=1):
    activations = [activation] * (len(sizes) - 2) + [output]
    net = cmlp.MLP(sizes, activation=activations, loss=loss, bias=bias, dtype=dtype, seed=seed)
    net._model.program.per_sample = way
    return net


def trained(way, sizes, dtype, *, n_samples=60, seed=1, settings=(), **options):
    """Return a network that went this way, its history and its samples."""
    net = network_for(sizes, way, dtype, seed=seed, **options)
    rng = np.random.default_rng(seed)
    X, y = samples_for(loss_name(net.loss), rng, n_samples, sizes[0], sizes[-1], dtype, one_hot=needs_one_hot(net))
    history = net.fit(X, y, **{"epochs": 1, "order": "given", "optimizer": cmlp.SGD(0.02), **dict(settings)})
    return net, history, X, y


def assert_same(way, sizes, dtype, **options):
    """Assert that a way learns what the way by operation learns."""
    plain, expected, *_ = trained("by_operation", sizes, dtype, **options)
    net, history, *_ = trained(way, sizes, dtype, **options)
    tolerance = TOLERANCE[dtype]
    assert relative_error(net.weights + net.biases, plain.weights + plain.biases) < tolerance
    np.testing.assert_allclose(history.loss, expected.loss, rtol=tolerance, atol=tolerance)
    assert history.clipped == expected.clipped
    assert history.accuracy == expected.accuracy
    parameters = net._model.parameters  # padding stays zero
    assert np.count_nonzero(parameters) == sum(np.count_nonzero(a) for a in net.weights + net.biases if a is not None)
    return net, history


def cases():
    return [("as_chain", sizes) for sizes in CHAINS + TINY] + [("ahead", sizes) for sizes in TINY]


@pytest.mark.parametrize(("way", "sizes"), cases(), ids=str)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("bias", [True, False])
def test_every_shape_equals_the_reference(simd_level, way, sizes, dtype, bias):
    for activation in ("relu", "tanh"):
        net = network_for(sizes, way, dtype, activation, bias=bias)
        X, y = samples_for("squared_error", np.random.default_rng(0), 25, sizes[0], sizes[-1], dtype)
        weights, biases, losses = reference_train(net, X, y, learning_rate=0.02, epochs=2)
        history = net.fit(X, y, epochs=2, order="given", optimizer=cmlp.SGD(0.02))
        assert relative_error(net.weights + net.biases, weights + biases) < TOLERANCE[dtype]
        np.testing.assert_allclose(history.loss, losses, rtol=TOLERANCE[dtype])


ALL_LOSSES = [*LOSSES, CrossEntropy(0.1), Huber(0.3), Quantile(0.2)]
PAIRS = [("as_chain", loss) for loss in ALL_LOSSES]
PAIRS += [("ahead", loss) for loss in ALL_LOSSES if loss_name(loss) != "cross_entropy"]  # which has two outputs or more


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("way", "loss"), PAIRS, ids=str)
def test_every_loss_behind_every_output(simd_level, way, dtype, loss):
    settings = {"sample_weight": np.linspace(0, 2, 60)}
    for output in OUTPUTS[loss_name(loss)]:
        for n in [1] if way == "ahead" else [2, 3, 17]:
            assert_same(way, [4, 6, n], dtype, output=output, loss=loss, settings=settings)


@pytest.mark.parametrize("way", ["as_chain", "ahead"])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("activation", BOUNDED_GROWTH)
def test_every_hidden_activation(simd_level, way, dtype, activation):
    for sizes in ([3, 5, 1], [3, 16, 1]) if way == "ahead" else ([3, 5, 2], [6, 40, 9, 3]):
        assert_same(way, sizes, dtype, activation=activation, settings={"clip_delta": 0.3, "epochs": 2})


@pytest.mark.parametrize(
    ("way", "sizes"), [("as_chain", [6, 19, 20, 3]), ("as_chain", [5, 3, 1]), ("ahead", [3, 5, 1])]
)
@pytest.mark.parametrize("layout", ["rows", "columns"])
@pytest.mark.parametrize("activation", ["relu", "softsign"])
def test_both_layouts(simd_level, way, sizes, layout, activation, monkeypatch):
    if way == "as_chain":  # ahead, the layout of W_1 is by rows
        use_layout(monkeypatch, layout)
    for dtype in FLOATS:
        assert_same(way, sizes, dtype, activation=activation, settings={"clip_delta": 0.2})


@pytest.mark.parametrize(
    ("way", "sizes"), [("as_chain", [6, 19, 20, 3]), ("as_chain", [5, 3, 1]), ("ahead", [3, 5, 1])]
)
@pytest.mark.parametrize("order", ["given", "shuffle", "replacement"])
@pytest.mark.parametrize("loss", ["squared_error", "binary_cross_entropy", "hinge"])
def test_clipping_weights_rates_and_orders(simd_level, way, sizes, order, loss):
    settings = {
        "epochs": 2,
        "order": order,
        "clip_delta": 0.2,
        "optimizer": cmlp.SGD(cmlp.schedules.InverseScaling(0.05, 0.25)),
        "sample_weight": np.linspace(0, 2, 60),
    }
    output = "sigmoid" if loss == "binary_cross_entropy" else "identity"
    for dtype in FLOATS:
        _, history = assert_same(way, sizes, dtype, loss=loss, output=output, settings=settings)
        assert sum(history.clipped) > 0


@pytest.mark.parametrize(("way", "sizes"), [("as_chain", [3, 20, 2]), ("ahead", [3, 5, 1])])
@pytest.mark.parametrize("n_samples", [1, 2, 3, 7])
def test_any_number_of_samples(simd_level, way, sizes, n_samples):
    assert_same(way, sizes, "float64", n_samples=n_samples, settings={"epochs": 3})


@pytest.mark.parametrize("way", ["as_chain", "ahead"])
def test_no_samples_are_no_steps(simd_level, way):
    net = network_for([3, 5, 1], way, "float32")
    before = net._model.parameters.copy()
    X, y = samples_for("squared_error", np.random.default_rng(0), 4, 3, 1, "float32")
    found = train(net, X, y, order=np.empty(0, "int64"))
    assert found == (0.0, 0.0, 0, -1)
    assert np.array_equal(net._model.parameters, before)


def train(net, X, y, order=None, *, checked=True, rate=0.02, weights=None, **update):
    """Call the core for one pass of plain SGD."""
    from cmlp._engine.passes import Buffers
    from cmlp.data.samples import Samples

    model = net._model
    buffers = Buffers(model.workspace(1), None, None, {}, np.zeros(1))
    settings = _core.record(_core.UPDATE, batch_size=1, **update)
    samples = Samples(X, y, None, weights, checked)
    return model.program.train(model.parameters, buffers, samples, order, settings, np.array([rate]), 0)


@pytest.mark.parametrize(("way", "sizes"), [("as_chain", [3, 20, 1]), ("as_chain", [60, 2]), ("ahead", [3, 5, 1])])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("row", [0, 1, 5, 8])
def test_learning_stops_before_an_input_that_is_not_finite(simd_level, way, sizes, value, dtype, row):
    X, y = samples_for("squared_error", np.random.default_rng(0), 9, sizes[0], sizes[-1], dtype)
    X[row, -1] = value
    net, other = (network_for(sizes, way, dtype, "relu") for _ in "ab")
    net.weights[0][:, 0] = -1e-3  # a relu would hide an infinity
    other.weights[0][:, 0] = -1e-3
    loss, *_, bad = train(net, X, y, checked=False)
    assert bad == row
    expected, *_ = train(other, X, y, np.arange(row))
    assert relative_error(net.weights + net.biases, other.weights + other.biases) < TOLERANCE[dtype] / 100
    assert loss == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("way", "sizes"), [("as_chain", [3, 20, 2]), ("as_chain", [3, 20, 1]), ("ahead", [3, 5, 1])])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("row", [0, 4])
def test_nothing_is_learnt_from_a_sample_without_finite_loss_or_after_it(simd_level, way, sizes, dtype, row):
    X, y = samples_for("squared_error", np.random.default_rng(0), 9, sizes[0], sizes[-1], dtype)
    y[row] = np.inf
    net, other = (network_for(sizes, way, dtype) for _ in "ab")
    *_, n_clipped, bad = train(net, X, y, clip_delta=0.1)
    assert bad == row
    *_, expected, _ = train(other, X, y, np.arange(row), clip_delta=0.1)
    assert relative_error(net.weights + net.biases, other.weights + other.biases) < TOLERANCE[dtype] / 100
    assert n_clipped == expected


@pytest.mark.parametrize("way", PER_SAMPLE_WAYS)
@pytest.mark.parametrize("sizes", [[5, 9, 1], [50, 30, 3], [201, 7, 2]], ids=str)
@pytest.mark.parametrize("activation", ["relu", "identity"])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("huge", ["rate", "weight"])
def test_weights_that_were_not_finite_leave_nothing_behind(simd_level, way, sizes, activation, dtype, huge):
    X, y = samples_for("squared_error", np.random.default_rng(0), 8, sizes[0], sizes[-1], dtype)
    net = cmlp.MLP(sizes, activation=activation, dtype=dtype, seed=0)
    if way not in net._model.program.per_sample_ways:
        return
    net._model.program.per_sample = way
    before, expected = net._model.parameters.copy(), net.predict(X)
    largest = float(np.finfo(dtype).max)
    if huge == "rate":
        train(net, X * 100, y, rate=largest)
    else:
        train(net, X, y + 10, weights=np.full(8, largest / 2))
    assert not np.isfinite(net._model.parameters).all()
    for arrays, old in zip((net.weights, net.biases), net._model.views(before), strict=True):
        for array, its_old in zip(arrays, old, strict=True):
            array[...] = its_old
    assert np.array_equal(net._model.parameters, before)  # the padding too
    assert np.array_equal(net.predict(X), expected)


def test_a_loss_that_only_doubles_hold_is_finite(simd_level):
    X, y = np.ones((2, 3), "float32"), np.full((2, 2), 1e25, "float32")  # (1e25)² overflows float32
    for way, sizes in (("by_operation", [3, 2]), ("as_chain", [3, 2]), ("ahead", [3, 4, 1])):
        loss, *_, bad = train(network_for(sizes, way, "float32"), X[:1], y[:1, : sizes[-1]].copy())
        assert (loss, bad) == (pytest.approx(0.5e50 * sizes[-1], rel=1e-5), -1)


def test_neighbours_whose_product_overflows_are_learnt_from(simd_level):
    X, y = np.full((3, 2), 1e20, "float32"), np.ones((3, 1), "float32")
    net = network_for([2, 3, 1], "ahead", "float32", "tanh")
    *_, bad = train(net, X, y, clip_delta=1e-30)
    assert bad == -1
    assert np.isfinite(net._model.parameters).all()


def test_two_runs_and_two_copies_of_the_data_are_the_same_bits(simd_level):
    for way, sizes in cases():
        fits = [trained(way, sizes, "float32", settings={"order": "shuffle"})[0] for _ in "ab"]
        assert np.array_equal(fits[0]._model.parameters, fits[1]._model.parameters)


def test_learn_one_learns_as_partial_fit_does(simd_level):
    for way, sizes in (("as_chain", [6, 19, 3]), ("ahead", [3, 5, 1])):
        nets = [network_for(sizes, way, "float64") for _ in "ab"]
        X, y = samples_for("squared_error", np.random.default_rng(0), 20, sizes[0], sizes[-1], "float64")
        for x, target in zip(X, y, strict=True):
            nets[0].learn_one(x, target)
        nets[1].partial_fit(X, y)
        assert relative_error(nets[0].weights, nets[1].weights) < 1e-13


# -------------------------------------------------------------------------------------------------------- choice


def program_of(layers, n_inputs=3, loss="squared_error", dtype="float32"):
    return Lowering(layers, n_inputs, loss, np.dtype(dtype)).program()


@pytest.mark.parametrize(
    ("sizes", "way"),
    [
        ([2, 4, 1], "ahead"),
        ([8, 16, 1], "ahead"),
        ([3, 17, 1], "as_chain"),
        ([10, 32, 32, 1], "as_chain"),
        ([13, 50, 3], "as_chain"),
        ([784, 128, 10], "in_blocks"),
        ([6528, 5, 5, 1], "in_blocks"),
        ([2, 200, 200, 1], "in_blocks"),
    ],
    ids=str,
)
def test_the_way_is_chosen_by_the_shape(sizes, way):
    assert cmlp.MLP(sizes)._model.program.per_sample == way


@pytest.mark.parametrize(
    ("layers", "ways"),
    [
        (cmlp.chain(cmlp.Dense(4, "relu"), cmlp.Dense(1)), ("by_operation", "in_blocks", "as_chain", "ahead")),
        (cmlp.chain(cmlp.Dense(17), cmlp.Dense(1)), ("by_operation", "in_blocks", "as_chain")),
        (cmlp.chain(cmlp.Dense(4), cmlp.Dense(2)), ("by_operation", "in_blocks", "as_chain")),
        (cmlp.chain(cmlp.Dense(4), cmlp.Dropout(0.5), cmlp.Dense(1)), ("by_operation", "in_blocks")),
        (cmlp.chain(cmlp.Activation("relu"), cmlp.Dense(1)), ("by_operation",)),
        (cmlp.chain(cmlp.add(cmlp.Dense(4), cmlp.Dense(4)), cmlp.Dense(1)), ("by_operation",)),
        (cmlp.chain(cmlp.Dense(4), cmlp.add(cmlp.Dense(2), cmlp.Dense(2))), ("by_operation", "in_blocks")),
        (cmlp.chain(cmlp.Dense(4), cmlp.concatenate(cmlp.Identity(), cmlp.Dense(2))), ("by_operation", "in_blocks")),
        (cmlp.concatenate(cmlp.Dense(50), cmlp.Dense(50)), ("by_operation",)),
    ],
    ids=str,
)
def test_a_program_knows_its_ways_and_refuses_others(layers, ways):
    program = program_of(layers)
    assert program.per_sample_ways == ways
    assert program.per_sample in ways
    for way in PER_SAMPLE_WAYS:
        if way in ways:
            program.per_sample = way
            assert program.per_sample == way
        else:
            with pytest.raises(ValueError, match=f"per_sample='{way}': this program can go by_operation"):
                program.per_sample = way


@pytest.mark.parametrize("way", [PER_SAMPLE_WAYS["ahead"], 99, -1])
def test_a_record_with_a_way_that_is_not_possible_is_refused(way):
    program = program_of(cmlp.Dense(2))
    network = program.network.copy()
    network["per_sample"] = way
    with pytest.raises(ValueError, match=f"per_sample={way}: this program can go by_operation, in_blocks, as_chain"):
        Program(program.operations, network)
