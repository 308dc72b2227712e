"""A network does not lie: what can be set takes effect, everything else is refused and says what to do."""

from __future__ import annotations

import copy
import io
import json
import pickle
import zipfile
from types import MappingProxyType

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
    with pytest.raises(cmlp.DivergenceError, match=r"parameters from before\. Try a smaller learning rate"):
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


# -------------------------------------------------------------------------------- users' code in the middle of a call


class Entering:
    """What runs code of the user's while it becomes an array."""

    def __init__(self, array, code):
        self.array, self.code = array, code

    def __array__(self, dtype=None, copy=None):
        self.code()
        return self.array


OPTIMIZERS = {
    "plain": cmlp.SGD(0.1),
    "adam": cmlp.Adam(),
    "averages": cmlp.SGD(0.1, momentum=0.5, averaging=cmlp.EMA(0.5)),
    "averages of epochs": cmlp.SGD(averaging=cmlp.SWA()),
    "rprop": cmlp.Rprop(),
    "lbfgs": cmlp.LBFGS(),
}


@pytest.mark.parametrize("method", ["fit", "partial_fit", "learn_one"])
@pytest.mark.parametrize("entered", ["x", "y"])
@pytest.mark.parametrize("after", OPTIMIZERS)
@pytest.mark.parametrize("before", OPTIMIZERS)
def test_an_optimiser_that_is_set_while_data_become_arrays_is_the_one_that_learns(before, after, entered, method):
    net, twin = network(optimizer=OPTIMIZERS[before]), network(optimizer=OPTIMIZERS[after])
    x, y = (X, Y) if method != "learn_one" else (X[0], Y[0])

    def take():
        net.optimizer = OPTIMIZERS[after]

    def nothing():
        pass

    def given(code):
        return (Entering(x, code), y) if entered == "x" else (x, Entering(y, code))

    outcomes = []
    for each, arguments in ((net, given(take)), (twin, given(nothing))):
        try:
            getattr(each, method)(*arguments)
        except ValueError as error:
            outcomes.append(str(error))
        else:
            outcomes.append("learnt")
    suits_before = before in ("plain", "adam", "averages")
    if method != "learn_one" or suits_before:  # which looks at the optimiser first
        assert outcomes[0] == outcomes[1]
        assert state_of(net) == state_of(twin)
    net.fit(X, Y, epochs=1)


@pytest.mark.parametrize("method", ["fit", "partial_fit", "learn_one", "predict", "evaluate", "gradients", "forward"])
@pytest.mark.parametrize("inside", ["fit", "partial_fit", "learn_one", "weights", "rate", "init", "state"])
def test_calls_inside_of_calls(method, inside):
    """Data that use the network while they become arrays: first the inner call, then the outer one."""
    nets = [network(optimizer=cmlp.Adam(), dropout=0.2, standardize=True) for _ in "ab"]
    x, y = (X, Y) if method != "learn_one" else (X[0], Y[0])

    def use(net):
        if inside == "weights":
            net.weights = [np.ones(W.shape) for W in net.weights]
        elif inside == "rate":
            net.learning_rate = 0.1
        elif inside == "init":
            net.__init__([3, 2, 1], seed=5)
        elif inside == "state":
            net.__setstate__(copy.deepcopy(net).__getstate__())
        else:
            getattr(net, inside)(*((X, Y) if inside != "learn_one" else (X[1], Y[1])))

    def arguments(x):
        return (x,) if method in ("predict", "forward") else (x, y)

    getattr(nets[0], method)(*arguments(Entering(x, lambda: use(nets[0]))))
    use(nets[1])
    if method in ("gradients", "forward"):  # they look at the number of axes first
        use(nets[1])
    getattr(nets[1], method)(*arguments(x))
    if inside not in ("init", "state"):  # the outer call goes on with the network as it was
        assert state_of(nets[0]) == state_of(nets[1])
    nets[0].fit(X, Y, epochs=1)


def test_fit_inside_of_fit_trains_on_and_leaves_the_optimiser_in_place():
    net, told = network(optimizer=cmlp.Adam()), []

    def callback(net, history):
        told.append(net.n_steps)
        net.fit(X, Y, epochs=1)
        with pytest.raises(RuntimeError, match="in the middle of fit"):
            net.fit(X, Y, optimizer="sgd")
        net.partial_fit(X[:5], Y[:5])
        net.learn_one(X[0], Y[0])
        assert net.optimizer == cmlp.Adam()

    history = net.fit(X, Y, epochs=3, callbacks=[callback])
    assert len(history) == 3
    assert told == [40, 126, 212]
    assert (net.n_steps, net.n_epochs) == (258, 6)


def test_labels_that_change_in_the_middle_are_not_read():
    """They are indices in the compiled core: beyond the outputs there is other memory."""
    y = np.arange(40) % 2
    nets = [cmlp.MLP([3, 4, 2], loss="cross_entropy", seed=0) for _ in "ab"]
    nets[1].fit(X, y, epochs=3)
    nets[0].fit(X, y, epochs=3, callbacks=[lambda net, history: y.fill(1 << 60)])
    assert state_of(nets[0]) == state_of(nets[1])
    y = np.arange(40) % 2
    expected = nets[1].evaluate(X, y)
    assert nets[0].evaluate(X, y, sample_weight=Entering(np.ones(40), lambda: y.fill(1 << 60))) == expected


# --------------------------------------------------------------------------------------- classes and values of users


class AdamBySGD(cmlp.SGD):
    rule = "adam"


class NoSuchRule(cmlp.SGD):
    @property
    def settings(self):
        return {**super().settings, "rule": 77}


class AverageOfNothing(cmlp.SGD):
    @property
    def settings(self):
        return {**super().settings, "average_decay": 0.5}


class SlotsMissing(cmlp.Adam):
    slots = MappingProxyType({"velocity": ""})


class NamesThatChange(cmlp.Adam):
    @property
    def state_names(self):
        asked = vars(self).setdefault("asked", [])
        asked.append(None)
        return () if len(asked) == 1 else ("velocity", "squares")


def changed_inside(optimizer, **fields):
    for name, value in fields.items():
        object.__setattr__(optimizer, name, value)
    return optimizer


@pytest.mark.parametrize("kind", [AdamBySGD, NoSuchRule, AverageOfNothing, SlotsMissing, NamesThatChange])
def test_optimisers_that_do_not_do_what_they_say(kind):
    net = network()
    before = state_of(net)
    with pytest.raises(ValueError, match=r"slots are not those of its rule|rule=77: expected an id of RULES"):
        net.fit(X, Y, optimizer=kind(0.1))
    assert state_of(net) == before
    for method, arguments in (("partial_fit", (X, Y)), ("learn_one", (X[0], Y[0]))):
        net = network(optimizer=kind(0.1))
        before = state_of(net)
        with pytest.raises(ValueError, match=r"slots are not those of its rule|rule=77: expected an id of RULES"):
            getattr(net, method)(*arguments)
        assert state_of(net) == before


@pytest.mark.parametrize("fields", [{"momentum": 0.9}, {"averaging": cmlp.EMA(0.9)}, {"averaging": cmlp.SWA()}])
def test_frozen_optimisers_that_were_changed_by_force(fields):
    net = network(optimizer=cmlp.SGD(0.1))
    net.fit(X, Y)
    changed_inside(net.optimizer, **fields)
    before = state_of(net)
    with pytest.raises(ValueError, match=r"not what it was when the network took it.*set net\.optimizer"):
        net.fit(X, Y, batch_size=4)
    assert state_of(net) == before
    net.optimizer = net.optimizer
    net.fit(X, Y, batch_size=4)


class OtherWidth(cmlp.Dense):
    told = 1

    def output_size(self, n_inputs):
        return self.told


def test_layers_of_another_width_than_they_say():
    with pytest.raises(ValueError, match="output_size is not how many outputs it has"):
        cmlp.Network(cmlp.chain(cmlp.concatenate(OtherWidth(5000), cmlp.Dense(2)), cmlp.Dense(1)), 3)
    net = cmlp.Network(cmlp.chain(cmlp.Dense(3), OtherWidth(50)), 3)
    assert (net.n_outputs, net.predict(X).shape) == (50, (40, 50))


def test_classes_beyond_the_outputs_that_a_layer_tells_of():
    class Wide(OtherWidth):
        told = 5000

    net = cmlp.Network(Wide(3), 3, loss="cross_entropy")
    with pytest.raises(ValueError, match=r"class indices 0 \.\.\. 2"):
        net.fit(X, np.full(40, 4000))


def test_a_loss_whose_name_changes():
    class Changing(cmlp.losses.Huber):
        names = iter(["cross_entropy"])

        @property
        def name(self):
            return next(self.names, "huber")

    net = cmlp.MLP([3, 4, 2], output_activation="identity", loss=Changing())
    with pytest.raises(ValueError, match=r"y has shape \(40,\), expected \(40, 2\)"):
        net.fit(X, np.zeros(40, int))


def test_other_doors_to_attributes():
    net = network()
    for name in ("loss", "n_outputs", "n_inputs", "dtype"):
        with pytest.raises(AttributeError, match="no setter"):
            object.__setattr__(net, name, "poisson")
    vars(net).update(loss="poisson", n_outputs=1000, n_inputs=1, dtype="float64")
    twin = network()
    for each in (net, twin):
        each.fit(X, Y)
        each.learn_one(X[0], Y[0])
        each.evaluate(X, Y)
    assert (net.loss, net.n_outputs, net.predict(X).shape) == ("squared_error", 1, (40, 1))
    assert state_of(net) == state_of(twin)

    class Lying(cmlp.MLP):
        loss, n_outputs, n_inputs, dtype = "cross_entropy", 1000, 1, np.dtype("float64")

    net = Lying([3, 4, 1], activation="tanh", seed=0)
    net.fit(X, Y)
    net.learn_one(X[0], Y[0])
    net.evaluate(X, Y)
    assert net.predict(X).shape == (40, 1)


# ----------------------------------------------------------------------------------------------- refused in the middle


class Rates(cmlp.schedules.Schedule):
    def __init__(self, give):
        self.give = give

    def rates(self, first_step, n_steps, epoch):
        return self.give(n_steps)


BAD_RATES = {
    "too few": lambda n: np.full(n + 2, 0.1)[:2] if n > 2 else np.zeros(0),
    "too many": lambda n: np.full(n + 1, 0.1),
    "none": lambda n: None,
    "a matrix": lambda n: np.full((n, 1), 0.1),
    "NaN": lambda n: np.full(n, np.nan),
    "infinite": lambda n: np.full(n, np.inf),
    "negative": lambda n: np.full(n, -0.1),
    "an error": lambda n: 1 / 0,
}


@pytest.mark.parametrize("how", BAD_RATES)
@pytest.mark.parametrize("method", ["fit", "fit in batches", "partial_fit", "learn_one"])
@pytest.mark.parametrize("averaging", [None, cmlp.EMA(0.9)])
def test_rates_of_a_schedule_of_ones_own(how, method, averaging):
    net = network(dropout=0.3, standardize=True, optimizer=cmlp.SGD(Rates(BAD_RATES[how]), averaging=averaging))
    before = state_of(net)
    options = {"batch_size": 4} if method == "fit in batches" else {}
    x, y = (X, Y) if method != "learn_one" else (X[0], Y[0])
    with pytest.raises((TypeError, ValueError, ZeroDivisionError)) as caught:
        getattr(net, method.split()[0])(x, y, **options)
    assert how == "an error" or "rate" in str(caught.value)
    assert state_of(net) == before


def test_what_fails_after_an_epoch_keeps_it():
    net, twin = (network(optimizer=cmlp.SGD(lambda t: 0.1 if t < 80 else -1.0)) for _ in "ab")
    with pytest.raises(ValueError, match="learning rate at step 80"):
        net.fit(X, Y, epochs=5)
    twin.fit(X, Y, epochs=2)
    assert (net.n_steps, net.n_epochs) == (80, 2)
    np.testing.assert_array_equal(net.weights[0], twin.weights[0])


def test_a_network_that_is_not_made_has_drawn_nothing():
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    for init in (["he_normal", np.full((4, 1), np.nan)], ["he_normal", np.zeros((1, 4))], ["he_normal", "he"]):
        with pytest.raises(ValueError, match=r"init|shape"):
            cmlp.MLP([3, 4, 1], init=init, seed=rng)
        assert rng.bit_generator.state == before
    with pytest.raises(ValueError, match="bias_init"):
        cmlp.MLP([3, 4, 1], bias_init=np.full((2, 4), np.nan), seed=rng)
    assert rng.bit_generator.state == before


def test_deleting_says_what_cannot_be():
    with pytest.raises(AttributeError, match="a network has no lr to be deleted"):
        del network().lr
