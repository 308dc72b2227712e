"""The memory of a training call: spared for the next one where it is little, and never seen in the numbers."""

import copy
import pickle

import numpy as np
import pytest

import cmlp
from cmlp import _core
from cmlp._engine import model, passes
from cmlp._engine.update import Updates

X = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")
Y = np.random.default_rng(1).normal(size=(12, 1)).astype("float32")


def network(**settings):
    return cmlp.MLP([3, 4, 1], seed=0, **settings)


def spare_run(net):
    """What the last training call has left."""
    return net._model._spare.get("run")


@pytest.mark.parametrize("optimizer", [cmlp.SGD(0.01), cmlp.Adam(), cmlp.SGD(0.01, averaging=cmlp.EMA(0.9))])
@pytest.mark.parametrize("batch_size", [1, 5])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_calls_that_share_their_memory_learn_what_calls_with_their_own_do(optimizer, batch_size, dropout, monkeypatch):
    nets = []
    for spared in (model.MOST_SPARE, 0):
        monkeypatch.setattr(model, "MOST_SPARE", spared)
        net = network(optimizer=optimizer, dropout=dropout)
        for rows in (slice(None), slice(None), slice(3, 9)):
            net.fit(X[rows], Y[rows], epochs=2, batch_size=batch_size)
            net.partial_fit(X[rows], Y[rows], batch_size=batch_size)
        assert (spare_run(net) is None) == (not spared)
        nets.append(net)
    np.testing.assert_array_equal(nets[0]._model.parameters, nets[1]._model.parameters)


def test_a_call_with_the_same_plan_takes_the_memory_of_the_last_one():
    net = network()
    net.fit(X, Y)
    run = spare_run(net)
    net.fit(X, Y)
    assert spare_run(net) is run
    assert run.samples is None
    for changed in ({"clip_delta": 1.0}, {"batch_size": 2}, {"n_threads": 2}, {"optimizer": cmlp.SGD()}):
        net.fit(X, Y, **changed)
        assert spare_run(net) is not run
        run = spare_run(net)


def test_an_optimiser_that_keeps_no_arrays_starts_anew_in_the_memory_of_the_last_call():
    net, fresh, optimizer = network(), network(), cmlp.SGD(0.01)
    run = None
    for _ in range(2):
        net.fit(X, Y, optimizer=optimizer)
        fresh.fit(X, Y, optimizer=cmlp.SGD(0.01))
        assert run is None or spare_run(net) is run
        run = spare_run(net)
        np.testing.assert_array_equal(net._model.parameters, fresh._model.parameters)
    for _ in range(2):  # Adam's arrays are new ones
        net.fit(X, Y, optimizer=cmlp.Adam())
        assert spare_run(net) is not run
        run = spare_run(net)


def test_copies_and_files_do_not_hold_it():
    net = network()
    before = len(pickle.dumps(net))
    net.fit(X, Y)
    assert spare_run(copy.deepcopy(net)) is None
    assert len(pickle.dumps(net)) <= before + 200  # counters


def test_a_large_network_keeps_none():
    net = cmlp.MLP([600, 600, 1], seed=0)
    net.fit(np.ones((2, 600)), [1, 2], epochs=1)
    assert spare_run(net) is None


def test_a_call_within_a_call_has_its_own():
    def fit_too(net, history):
        if len(history) == 1:
            net.partial_fit(X, Y)

    one, other = network(), network()
    one.fit(X, Y, epochs=1, order="given")  # leaves its memory
    one.fit(X, Y, epochs=2, order="given", callbacks=[fit_too])
    for _ in range(2):
        other.fit(X, Y, epochs=1, order="given")
    other.partial_fit(X, Y)
    other.fit(X, Y, epochs=1, order="given")
    np.testing.assert_array_equal(one._model.parameters, other._model.parameters)


def test_a_prediction_within_training_leaves_it():
    net = network()
    net.fit(X, Y)
    run = spare_run(net)
    net.predict(X)
    net.evaluate(X, Y)
    assert spare_run(net) is run


def test_an_update_is_made_again_only_if_something_is_different():
    updates, optimizer = Updates(np.dtype("float32")), cmlp.SGD()
    first = updates.get(optimizer, 10, batch_size=2, clip_delta=None)
    assert updates.get(optimizer, 10, batch_size=2, clip_delta=None) is first
    for arguments, settings in (
        ((optimizer, 11), {"batch_size": 2, "clip_delta": None}),
        ((cmlp.SGD(0.5), 10), {"batch_size": 2, "clip_delta": None}),
        ((optimizer, 10), {"batch_size": 2, "clip_delta": 1.0}),
        ((optimizer, 10), {"batch_size": 2}),
    ):
        assert updates.get(*arguments, **settings) is not first
        updates.get(optimizer, 10, batch_size=2, clip_delta=None)
    limit = np.array(2.0)
    assert updates.get(optimizer, 10, clip_delta=limit)["clip_delta"] == 2
    limit[...] = 3
    assert updates.get(optimizer, 10, clip_delta=limit)["clip_delta"] == 3


# -------------------------------------------------------------------------------------------- the core's own door


def training(batch_size=1):
    net = network()._model
    update = _core.record(_core.UPDATE, batch_size=batch_size, rule=_core.RULES["sgd"])
    buffers = passes.Buffers(net.workspace(batch_size), net.new_vector(), None, {}, np.zeros(1))
    return net, _core.Training(net.program, net.parameters, buffers, net.check_samples(X, Y), update)


@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("order", [None, np.arange(12)[::-1].copy()])
def test_chunks_add_up_to_an_epoch(batch_size, order):
    whole, chunked = training(batch_size), training(batch_size)
    rates = np.full(1, 0.01)
    assert whole[1].learn(order, 0, 12, rates, 0) == -1
    for start in range(0, 12, 4):
        assert chunked[1].learn(order, start, start + 4, rates, start // batch_size) == -1
    np.testing.assert_array_equal(chunked[0].parameters, whole[0].parameters)
    assert chunked[1].loss == whole[1].loss > 0
    assert chunked[1].finite()


def test_copies_are_put_back():
    arrays = [np.arange(3.0), np.ones((2, 2), "float32")]
    copies = _core.Copies(arrays)
    arrays[0][1] = 7
    copies.take()
    arrays[0][...] = arrays[1][...] = -1
    copies.put_back()
    assert arrays[0].tolist() == [0, 7, 2]
    assert arrays[1].tolist() == [[1, 1], [1, 1]]
    for array in (np.arange(6)[::2], np.broadcast_to(1.0, 3)):
        with pytest.raises(ValueError, match="contiguous arrays that can be written to"):
            _core.Copies([array])
    with pytest.raises(TypeError):
        _core.Copies([[1.0]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 17, 100_000])
def test_zeros_start_on_a_cache_line(dtype, n):
    zeros = _core.aligned_zeros(n, np.dtype(dtype))
    assert zeros.shape == (n,)
    assert zeros.dtype == dtype
    assert zeros.ctypes.data % _core.ALIGN == 0
    assert not zeros.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, 0, 13, np.ones(1), 0), "start and stop must be in the 12 visits, not 0, 13"),
        ((None, 5, 4, np.ones(1), 0), "not 5, 4"),
        ((None, -1, 4, np.ones(1), 0), "not -1, 4"),
        ((np.arange(3), 0, 4, np.ones(1), 0), "in the 3 visits"),
        ((np.arange(3.0), 0, 3, np.ones(1), 0), "order must be a contiguous vector of int64"),
        ((np.arange(6)[::2], 0, 3, np.ones(1), 0), "order must be a contiguous vector"),
        (([0, 1], 0, 2, np.ones(1), 0), "order must be a contiguous vector"),
        ((None, 0, 2, np.ones(1, "float32"), 0), "rates must be a contiguous vector of float64"),
        ((None, 0, 2, np.ones(3), 0), "rates must have 2 elements, not 3"),
        ((None, 0, 2, np.ones(1), 0, 0), "n_threads must be 1 to 64, not 0"),
        ((None, 0, 2, np.ones(1), 0, 5), "the workspace must have"),
    ],
)
def test_what_does_not_fit_is_said(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        training()[1].learn(*arguments)
