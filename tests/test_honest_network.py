"""A network does not lie: what can be set takes effect, everything else is refused and says what to do."""

from __future__ import annotations

import copy
import io
import json
import pickle
import zipfile

import numpy as np
import pytest

import cmlp

X = np.random.default_rng(0).normal(size=(40, 3))
Y = np.sin(X[:, :1])


def network(**settings):
    return cmlp.MLP([3, 4, 1], activation="tanh", seed=0, **settings)


def state_of(net):
    """Everything that a call could change, as bytes and numbers."""
    model = net._model
    arrays = {name: array.tobytes() for name, array in model.arrays().items()}
    return arrays, net.optimizer, dict(model.memory), net.n_steps, net.n_epochs, model.rng.bit_generator.state


# --------------------------------------------------------------------------------------------------- attributes


def test_weights_and_biases_are_copied_in():
    net, views = network(), network().weights
    arrays = [np.full(W.shape, k + 1.0) for k, W in enumerate(net.weights)]
    views = net.weights
    net.weights = arrays
    assert all(W is view and (k + 1 == W).all() for k, (W, view) in enumerate(zip(net.weights, views, strict=True)))
    arrays[0][...] = 9
    assert (net.weights[0] == 1).all()  # a copy
    net.biases = [[1, 2, 3, 4], [5]]
    assert [b.tolist() for b in net.biases] == [[1, 2, 3, 4], [5]]
    zeros = network(bias=False)
    zeros.biases = [None, None]


@pytest.mark.parametrize(
    ("name", "arrays", "match"),
    [
        ("weights", [np.zeros((3, 4))], r"weights must be 2 arrays, one per dense layer"),
        ("weights", [np.zeros((4, 3)), np.zeros((4, 1))], r"weights\[0\] has shape \(4, 3\), expected \(3, 4\)"),
        ("weights", [np.zeros((3, 4)), np.full((4, 1), np.nan)], r"weights\[1\] is nan at row 0, column 0"),
        ("weights", [np.zeros((3, 4)), np.full((4, 1), 1e300)], r"weights\[1\] is 1e\+300 .* beyond float32"),
        ("weights", [np.zeros((3, 4)), None], r"weights\[1\] must be an array"),
        ("biases", "zeros", "biases must be 2 arrays"),
        ("biases", 0, "biases must be 2 arrays"),
    ],
)
def test_arrays_that_do_not_fit_change_nothing(name, arrays, match):
    net = network()
    before = state_of(net)
    with pytest.raises(ValueError, match=match):
        setattr(net, name, arrays)
    assert state_of(net) == before


def test_a_tuple_of_views_says_how_to_write():
    net = network()
    with pytest.raises(TypeError, match=r"net.weights\[0\]\[...\] = values"):
        net.weights[0] = np.zeros((3, 4))
    before = net.weights[0].copy()
    net.weights[0] *= 2
    np.testing.assert_array_equal(net.weights[0], 2 * before)
    for name in ("weights", "metadata", "_model"):
        with pytest.raises(AttributeError, match=f"{name} of a network cannot be deleted"):
            delattr(net, name)
    assert isinstance(net.weights, tuple)


def test_the_learning_rate_changes_and_nothing_else():
    net, twin = (network(optimizer=cmlp.Adam(0.1)) for _ in "ab")
    for each in (net, twin):
        each.fit(X, Y, epochs=2, batch_size=8, order="given")
    net.learning_rate = 0.01
    twin._model.optimizer = cmlp.Adam(0.01)
    assert (net.learning_rate, net.n_steps, net.n_epochs) == (0.01, 10, 2)
    for each in (net, twin):
        each.fit(X, Y, epochs=1, batch_size=8, order="given")
    np.testing.assert_array_equal(net.weights[0], twin.weights[0])


def test_the_learning_rate_counts_at_once_for_a_stream():
    net, twin = network(), network(optimizer=cmlp.SGD(0.5))
    net.learning_rate = 0.5
    for each in (net, twin):
        each.learn_one(X[0].astype("float32"), 1.0)
    np.testing.assert_array_equal(net.weights[0], twin.weights[0])


def test_a_new_plateau_has_seen_nothing():
    net = network(optimizer=cmlp.SGD(cmlp.schedules.Plateau(0.1)))
    net.fit(X, Y, epochs=3)
    net.learning_rate = cmlp.schedules.Plateau(0.05)
    assert net._model.memory == cmlp.schedules.Plateau(0.05).memory
    net.learning_rate = 0.1
    assert net._model.memory == {}


@pytest.mark.parametrize("optimizer", [cmlp.LBFGS(), cmlp.Rprop()], ids=["lbfgs", "rprop"])
def test_optimisers_without_a_rate_that_could_change(optimizer):
    net = network(optimizer=optimizer)
    with pytest.raises(AttributeError, match=f"{type(optimizer).__name__} has no learning rate"):
        net.learning_rate = 0.1


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("loss", r"new.weights = net.weights"),
        ("dtype", r"new.weights = net.weights"),
        ("layers", "make a new network"),
        ("n_inputs", "make a new network"),
        ("n_outputs", "make a new network"),
        ("n_steps", r"net.optimizer = ... starts anew"),
        ("standardize", "make a new network"),
    ],
)
def test_what_cannot_be_set_says_what_to_do(name, advice):
    net = network()
    before = state_of(net)
    with pytest.raises(AttributeError, match=rf"{name} of a network cannot be set: .*{advice}"):
        setattr(net, name, getattr(net, name))
    assert state_of(net) == before


def test_unknown_attributes_name_the_nearest():
    net = network()
    with pytest.raises(AttributeError, match=r"a network has no optimiser to be set.*optimizer"):
        net.optimiser = cmlp.Adam()
    with pytest.raises(AttributeError, match="learning_rate"):
        net.lr = 0.1
    net.metadata = {"a": 1}

    class Own(cmlp.MLP):
        pass

    own = Own([2, 1])
    own.name = "mine"  # a class of the user's may have more
    assert pickle.loads(pickle.dumps(net)).metadata == copy.copy(net).metadata == {"a": 1}
    with pytest.raises(AttributeError, match="cannot be set"):
        own.loss = "huber"


def test_copies_share_nothing():
    net = network(optimizer=cmlp.Adam())
    twin = copy.copy(net)
    before = state_of(twin)
    net.fit(X, Y, epochs=1)
    assert state_of(twin) == before


# ------------------------------------------------------------------------------------------------ refused calls

REFUSED = {
    "an unknown order": {"order": "sorted"},
    "a bad batch size": {"batch_size": 0},
    "a bad fraction": {"validation": 1.5},
    "a fraction that leaves nothing": {"validation": 1e-9},
    "a bad limit": {"clip_norm": -1.0},
    "a bad patience": {"patience": 0},
    "a bad callback": {"callbacks": [3]},
    "too many threads": {"n_threads": "many"},
    "an optimiser without replacement": {"optimizer": cmlp.Rprop(), "order": "replacement"},
    "a search with clipping": {"optimizer": cmlp.LBFGS(), "clip_value": 1.0},
    "a batch for the full batch": {"optimizer": cmlp.Rprop(), "batch_size": 3},
    "a schedule that gives no rate": {"optimizer": cmlp.SGD(lambda t: -1.0), "validation": 0.2},
    "a schedule that gives no rate for rows as they are": {"optimizer": cmlp.SGD(lambda t: -1.0), "order": "given"},
    "the same after the split": {"optimizer": cmlp.SGD(lambda t: -1.0), "order": "given", "validation": 0.2},
    "a schedule that takes no step": {"optimizer": cmlp.Adam(lambda: 0.1)},
    "validation of another width": {"validation": (X[:, :2], Y)},
    "a bad reduction after the split": {"validation": 0.2, "optimizer": cmlp.Adam(), "reduction": "max"},
}


@pytest.mark.parametrize("how", REFUSED)
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_refused_fit_has_changed_nothing(how, dropout):
    net = network(optimizer=cmlp.SGD(0.01, momentum=0.9), dropout=dropout)
    net.fit(X, Y, epochs=1)
    before = state_of(net)
    with pytest.raises((TypeError, ValueError)):
        net.fit(X, Y, **REFUSED[how])
    assert state_of(net) == before


def test_a_refused_scale_has_changed_nothing():
    net = network(standardize=True, missing="mean", dtype="float64")
    gaps = X.copy()
    gaps[:, 1] = np.nan
    before = state_of(net)
    with pytest.raises(ValueError, match="column 1 of X is NaN in every row"):
        net.fit(gaps, Y, validation=0.25, optimizer=cmlp.Adam())
    assert state_of(net) == before


def test_nan_found_while_learning_has_changed_nothing():
    net = cmlp.MLP([300, 4, 1], seed=0, optimizer=cmlp.SGD(1e-5, momentum=0.9))
    long_rows = np.random.default_rng(0).normal(size=(30, 300)).astype("float32")
    net.fit(long_rows, np.zeros(30), epochs=1)
    before = state_of(net)
    long_rows[20, 7] = np.nan
    with pytest.raises(ValueError, match="X is nan at row 20, column 7"):
        net.fit(long_rows, np.zeros(30), optimizer=cmlp.SGD(1e-5))
    assert state_of(net) == before


# ------------------------------------------------------------------------------------------------- going on


@pytest.mark.parametrize("how", ["file", "file object", "pickle", "copy"])
def test_a_saved_network_goes_on_identically(how, tmp_path):
    settings = {"optimizer": cmlp.Adam(0.01), "dropout": 0.3, "standardize": True}
    net, whole = network(**settings), network(**settings)
    for each in (net, whole):
        each.fit(X, Y, epochs=2, batch_size=8, validation=0.2)
    if how == "file":
        net.save(tmp_path / "net.cmlp")
        net = cmlp.load(tmp_path / "net.cmlp")
    elif how == "file object":
        file = io.BytesIO()
        net.save(file)
        net = cmlp.load(file)
    else:
        net = pickle.loads(pickle.dumps(net)) if how == "pickle" else copy.deepcopy(net)
    for each in (net, whole):
        each.fit(X, Y, epochs=3, batch_size=8, validation=0.2)
    assert state_of(net) == state_of(whole)


def test_load_takes_another_seed(tmp_path):
    path = tmp_path / "net.cmlp"
    network().save(path)
    same, other, again = cmlp.load(path), cmlp.load(path, seed=1), cmlp.load(path, seed=np.random.default_rng(1))
    for each in (same, other, again):
        each.fit(X, Y, epochs=1)
    assert not np.array_equal(same.weights[0], other.weights[0])
    np.testing.assert_array_equal(other.weights[0], again.weights[0])


def test_a_generator_of_another_kind_is_not_saved(tmp_path):
    net = cmlp.MLP([3, 1], seed=np.random.Generator(np.random.MT19937(0)))
    net.save(tmp_path / "net.cmlp")
    assert cmlp.load(tmp_path / "net.cmlp")._model.rng.bit_generator.state["bit_generator"] == "PCG64"


def test_a_rate_that_cannot_be_saved_is_replaced_without_losing_state(tmp_path):
    net = network(optimizer=cmlp.Adam(lambda t: 0.01))
    net.fit(X, Y, epochs=1)
    before = state_of(net)
    with pytest.raises(TypeError, match=r"cannot be saved.*net\.learning_rate"):
        net.save(tmp_path / "net.cmlp")
    assert not list(tmp_path.iterdir())
    net.learning_rate = 0.01
    assert state_of(net)[0] == before[0]
    net.save(tmp_path / "net.cmlp")
    assert cmlp.load(tmp_path / "net.cmlp").optimizer == cmlp.Adam(0.01)


# -------------------------------------------------------------------------------------------------- small things


def test_validation_as_a_list():
    listed = network().fit(X, Y, epochs=2, validation=[X, Y])
    assert listed.validation_loss == network().fit(X, Y, epochs=2, validation=(X, Y)).validation_loss
    with pytest.raises(ValueError, match=r"a fraction or \(X, y\), not a list of 3"):
        network().fit(X, Y, validation=[X, Y, Y])


def test_gradients_of_one_sample():
    net = cmlp.MLP([3, 4, 2], loss="cross_entropy", seed=0, dtype="float64")
    many, one = net.gradients(X[:1], [1]), net.gradients(X[0], 1)
    assert one.loss == many.loss
    for name in ("deltas", "net_inputs", "activations"):
        for a, b in zip(getattr(one, name), getattr(many, name), strict=True):
            np.testing.assert_array_equal(a, b[0])
    np.testing.assert_array_equal(one.weights[0], many.weights[0])
    weighted = net.gradients(X[0], 1, sample_weight=2.0)
    np.testing.assert_allclose(weighted.weights[0], 2 * one.weights[0])
    with pytest.raises(ValueError, match=r"x has shape \(2,\), expected \(3,\)"):
        net.gradients(X[0, :2], 1)


def test_learn_one_advises_as_fit_does():
    net = cmlp.MLP([1, 1], init="zeros", bias_init="zeros", optimizer=cmlp.SGD(1e30))
    net.learn_one([1e5], 1)
    with pytest.raises(cmlp.DivergenceError, match=r"parameters are unchanged\. Try a smaller learning rate"):
        net.learn_one([1e5], 1)


@pytest.mark.parametrize("name", ["reference", "activations", "initializers", "losses", "schedules", "datasets"])
def test_documented_submodules_are_reachable(name):
    assert getattr(cmlp, name).__name__ == f"cmlp.{name}"
    assert name in dir(cmlp)


# ------------------------------------------------------------------------------------------- found by a review


def test_a_hostile_generator_is_refused(tmp_path):
    """With an even increment PCG64 can repeat one number for ever, and a shuffle would never end."""
    path = tmp_path / "net.cmlp"
    network().save(path)
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    header = json.loads(members["network.json"])
    good = header["generator"]
    c, m = 2**64 - 1, 0x2360ED051FC65DA44385DF649FCCF645
    fixed_point = {"state": c, "inc": c * (1 - m) % 2**128}
    for bad in (
        {**good, "state": fixed_point},
        {**good, "state": {"state": -1, "inc": 1}},
        {**good, "state": {"state": 1.5, "inc": 3}},
        {**good, "uinteger": True},
        {**good, "bit_generator": "MT19937"},
        {**good, "more": 1},
        [],
    ):
        members["network.json"] = json.dumps({**header, "generator": bad}).encode()
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        for seed in (None, 0):
            with pytest.raises(ValueError, match="malformed generator"):
                cmlp.load(path, seed=seed)


@pytest.mark.parametrize("n", [10, 300])
def test_divergence_in_the_first_epoch_is_the_same_for_every_width(n):
    net = cmlp.MLP([n, 4, 1], seed=0, optimizer="lbfgs")
    rows = np.random.default_rng(0).normal(size=(30, n)).astype("float32")
    with pytest.raises(cmlp.DivergenceError, match=r"diverged in epoch 1: .* Try a smaller learning rate"):
        net.fit(rows, np.ones(30), optimizer=cmlp.SGD(1e20))
    assert net.optimizer == cmlp.SGD(1e20)


@pytest.mark.parametrize("averaging", [cmlp.EMA(0.5), cmlp.SWA()])
def test_weights_that_are_set_stay_with_averages(averaging):
    net = network(optimizer=cmlp.SGD(1e-9, averaging=averaging))
    net.fit(X, Y, epochs=2)
    net.weights = [np.full(W.shape, 100.0) for W in net.weights]
    net.optimizer = cmlp.SGD(1e-9, averaging=averaging)
    net.weights = [np.full(W.shape, 50.0) for W in net.weights]
    net.fit(X, Y, epochs=1)
    np.testing.assert_allclose(net.weights[0], 50, rtol=1e-3)


def test_another_optimiser_in_the_middle_of_fit_is_refused_and_another_rate_is_not():
    def change_optimizer(net, history):
        net.optimizer = "adam"

    def change_rate(net, history):
        net.learning_rate = 0.001

    net = network()
    with pytest.raises(RuntimeError, match="in the middle of fit"):
        net.fit(X, Y, callbacks=[change_optimizer])
    history = net.fit(X, Y, epochs=2, callbacks=[change_rate])
    assert history.learning_rate == [0.01, 0.001]
    net.optimizer = "adam"


def test_exceptions_travel_between_processes():
    history = cmlp.History(loss=[0.5])
    error = pickle.loads(pickle.dumps(cmlp.DivergenceError("it diverged", 1, 2, None, history)))
    assert (str(error), error.epoch, error.sample, error.history) == ("it diverged", 1, 2, history)
    stopped = pickle.loads(pickle.dumps(cmlp.TrainingInterrupted(history)))
    assert (str(stopped), stopped.history) == (str(cmlp.TrainingInterrupted(history)), history)


def test_a_small_file_cannot_ask_for_large_scratch(tmp_path):
    twice = cmlp.concatenate(cmlp.Identity(), cmlp.Identity())
    net = cmlp.Network(cmlp.chain(cmlp.Dense(1), *[twice] * 4), n_inputs=1)
    net.save(tmp_path / "net.cmlp")
    cmlp.load(tmp_path / "net.cmlp")
    with zipfile.ZipFile(tmp_path / "net.cmlp") as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    header = json.loads(members["network.json"])
    parts = header["network"]["layers"]["layers"]
    header["network"]["layers"]["layers"] = [parts[0], *[parts[1]] * 28]
    members["network.json"] = json.dumps(header).encode()
    with zipfile.ZipFile(tmp_path / "large.cmlp", "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(ValueError, match="for the activations of one sample"):
        cmlp.load(tmp_path / "large.cmlp")


def test_nothing_but_an_optimiser_replaces_one():
    net = network(optimizer="adam")
    with pytest.raises(TypeError, match="not None"):
        net.optimizer = None
    with pytest.raises(AttributeError, match="sizes of a network cannot be set"):
        net.sizes = [3, 1]
    with pytest.raises(TypeError, match=r"net.biases\[0\]\[...\] = values"):
        net.biases[0] = 1
