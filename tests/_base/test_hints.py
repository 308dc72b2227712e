"""Other libraries' words: every entry leads somewhere, and errors say where."""

from __future__ import annotations

import inspect
import traceback

import pytest

import cmlp
from cmlp import SGD, Adam, Dense, Dropout, RMSprop, schedules
from cmlp._base.fields import members
from cmlp._base.hints import NAMES, PARAMETERS, PLACES, named_arguments, nearest
from cmlp.activations import ACTIVATIONS, SYNONYMS
from cmlp.averaging import Averaging
from cmlp.data.samples import ORDERS
from cmlp.initializers import INITIALIZERS
from cmlp.layers import Layer
from cmlp.losses import LOSSES, Loss
from cmlp.optimizers import Optimizer, SteppingOptimizer
from cmlp.schedules import Schedule

KNOWN = {
    "loss": LOSSES,
    "activation": ACTIVATIONS,
    "init": INITIALIZERS,
    "bias_init": INITIALIZERS,
    "optimizer": members(Optimizer),
    "order": ORDERS,
}
FIT = set(inspect.signature(cmlp.Network.fit).parameters)
NETWORK = {*inspect.signature(cmlp.MLP).parameters, *inspect.signature(cmlp.Network).parameters}


def parameters_of(family):
    return {name for kind in members(family).values() for name in inspect.signature(kind).parameters}


@pytest.mark.parametrize("what", NAMES)
def test_every_name_leads_to_one_of_ours_and_is_none(what):
    assert {ours.split()[0] for ours in NAMES[what]} <= set(KNOWN[what])
    for word in " ".join(NAMES[what].values()).split():
        assert word not in KNOWN[what]
        assert word == word.lower().replace("-", "_")


def test_every_parameter_leads_to_one_of_ours():
    ours = FIT | NETWORK
    for family in (Optimizer, Schedule, Loss, Layer, Averaging):
        ours |= parameters_of(family)
    assert {text.split()[0] for text in PARAMETERS} <= ours
    words = " ".join(PARAMETERS.values())
    assert words == words.lower()


def test_every_place_has_the_parameters_that_are_said_to_be_there():
    fit, optimizer, network = PLACES.values()
    assert set(fit) == FIT - {"self", "X", "y", "optimizer"}
    assert set(optimizer) <= parameters_of(Optimizer)
    assert set(inspect.signature(SteppingOptimizer).parameters) <= set(optimizer)
    assert set(network) == set(inspect.signature(cmlp.MLP).parameters)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"loss": "mse"},
            r"^unknown loss 'mse' \(str\): cmlp calls it 'squared_error' \(½ Σ \(ŷ - y\)², half .*\)\. ",
        ),
        ({"loss": "MAE"}, r"'MAE' \(str\): cmlp calls it 'absolute_error'\. Known: 'squared_error', 'cross_ent"),
        ({"loss": "log_loss"}, r"calls it 'cross_entropy' \(several classes\) or 'binary_cross_entropy' \(one output"),
        ({"loss": "sparse-categorical crossentropy"}, r"calls it 'cross_entropy' \(targets: class indices\)\."),
        ({"loss": "bce"}, r"calls it 'binary_cross_entropy' \(one output, or several labels\)\."),
        ({"loss": "crossentropy"}, r"did you mean 'cross_entropy'\? Known"),
        ({"activation": "swish"}, r"calls it 'silu'\."),
        ({"output_activation": "linear"}, r"calls it 'identity'\."),
        ({"init": "xavier"}, r"unknown init 'xavier' .*calls it 'glorot_normal' or 'glorot_uniform'\."),
        ({"bias_init": "kaiming_uniform"}, r"unknown bias_init 'kaiming_uniform' .*calls it 'he_uniform'\."),
        ({"optimizer": "L-BFGS"}, r"calls it 'lbfgs'\."),
    ],
)
def test_names_of_other_libraries(given, message):
    with pytest.raises(ValueError, match=message):
        cmlp.MLP([2, 3, 1], **given)


def test_orders_of_other_libraries():
    with pytest.raises(ValueError, match="calls it 'shuffle' or 'replacement'"):
        cmlp.MLP([1, 1]).fit([[1]], [1], order="random")


def test_scikit_learns_logistic_is_the_sigmoid():
    assert SYNONYMS == {"logistic": "sigmoid"}
    assert Dense(3, "logistic") == Dense(3, "sigmoid")
    assert cmlp.Activation("logistic").name == "sigmoid"
    net = cmlp.MLP([2, 3, 1], activation="logistic", output_activation="logistic", loss="binary_cross_entropy", seed=0)
    assert repr(net) == "MLP([2, 3, 1], activation='sigmoid', loss='binary_cross_entropy')"
    assert "logistic" not in str(net.config())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(lr=0.1), "^SGD() got an unexpected keyword argument 'lr': cmlp calls it 'learning_rate'$"),
        (
            lambda: Adam(alpha=0.1),
            "Adam() got an unexpected keyword argument 'alpha': cmlp calls it 'learning_rate' (the step size) or "
            "'weight_decay' (scikit-learn's alpha)$",
        ),
        (lambda: RMSprop(alpha=0.9), "or 'beta' (PyTorch's alpha)$"),
        (lambda: Adam(betas=(0.9, 0.999)), "cmlp calls it 'beta1' (and beta2)$"),
        (lambda: Adam(beta_1=0.9), "cmlp calls it 'beta1'$"),
        (lambda: SGD(momentun=0.9), "did you mean 'momentum'?$"),
        (lambda: SGD(epochs=3), "'epochs' belongs to fit(X, y, ...)$"),
        (lambda: SGD(max_iter=3), "'epochs' belongs to fit(X, y, ...)$"),
        (lambda: SGD(0.1, seed=3), "'seed' belongs to the network, such as cmlp.MLP([2, 8, 1], loss=..., seed=...)$"),
        (lambda: SGD(qqqq=3), "its parameters are learning_rate, momentum, nesterov, weight_decay, l1, max_norm, aver"),
        (lambda: schedules.StepDecay(0.1, step_size=3), "StepDecay() got .*'step_size': cmlp calls it 'every'$"),
        (lambda: schedules.OneCycle(max_lr=0.1), "cmlp calls it 'learning_rate'$"),
        (lambda: cmlp.losses.Huber(epsilon=1), "cmlp calls it 'delta'$"),
        (lambda: Dense(units=3), "Dense() got .*'units': cmlp calls it 'n_outputs'$"),
        (lambda: Dense(3, kernel_initializer="zeros"), "cmlp calls it 'init'$"),
        (lambda: Dropout(p=0.5), "cmlp calls it 'rate'$"),
        (lambda: cmlp.EMA(dekay=0.5), "did you mean 'decay'?$"),
    ],
)
def test_parameters_of_other_libraries(make, message):
    plain = message.translate(str.maketrans({c: f"\\{c}" for c in "()?[]"}))
    with pytest.raises(TypeError, match=plain):
        make()


# -------------------------------------------------------------------------------------------- the decorator


@named_arguments
def train(X, y, *, epochs=10, validation=None, optimizer=None):
    """Train."""
    if epochs == "inside":
        raise TypeError("from inside")
    return X, y, epochs, validation


class Net:
    @named_arguments
    def __init__(self, sizes, *, seed=None):
        self.sizes = sizes


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("validation_data", r"train\(\) got .*'validation_data': cmlp calls it 'validation' \(a pair X, y\)$"),
        ("validation_split", r"cmlp calls it 'validation' \(a share of the samples\)$"),
        ("max_iter", "cmlp calls it 'epochs'$"),
        ("epoch", r"did you mean 'epochs'\?$"),
        ("lr", r"'learning_rate' belongs to the optimizer, such as optimizer=cmlp.SGD\(learning_rate=0.1, momentum"),
        ("random_state", "'seed' belongs to the network"),
        ("verbose", r"'progress' belongs to fit\(X, y, \.\.\.\)$"),
    ],
)
def test_a_function_says_what_is_meant(word, message):
    with pytest.raises(TypeError, match=message) as caught:
        train([], [], **{word: 1})
    assert caught.value.__context__ is None  # one error is shown, not two


def test_a_method_is_called_by_its_class():
    with pytest.raises(TypeError, match=r"^Net\(\) got an unexpected keyword argument 'random_state': .* 'seed'$"):
        Net([1, 2], random_state=0)
    with pytest.raises(TypeError, match=r"^Net\(\) got .*'hidden_layer_sizes': cmlp calls it 'sizes' \(inputs and out"):
        Net(hidden_layer_sizes=[3])
    assert Net([1, 2], seed=0).sizes == [1, 2]


def test_all_else_goes_through():
    assert train(1, 2, epochs=3) == (1, 2, 3, None)
    assert str(inspect.signature(train)) == "(X, y, *, epochs=10, validation=None, optimizer=None)"
    assert (train.__name__, train.__doc__) == ("train", "Train.")
    with pytest.raises(TypeError, match=r"^from inside$") as caught:
        train(1, 2, epochs="inside")
    assert "in train" in "".join(traceback.format_tb(caught.tb))
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'y'"):
        train(1)


def test_nearest():
    assert nearest("optimiser", ["optimizer", "weights"]) == " (did you mean 'optimizer'?)"
    assert nearest("n_hidden", ["optimizer", "weights"]) == ""
