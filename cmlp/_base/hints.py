"""Other libraries' words for what cmlp has, and misspelt ones: errors name the right word.

The tables say what cmlp calls something, with a remark where that differs, and the words for it elsewhere, in lower
case. A word that is close to ours needs no entry: it is guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import wraps
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_INITIALIZERS = {
    "he_normal": "he kaiming kaiming_normal normal",
    "he_uniform": "he kaiming kaiming_uniform",
    "glorot_normal": "glorot xavier xavier_normal normal",
    "glorot_uniform": "glorot xavier xavier_uniform",
    "lecun_normal": "lecun normal",
    "lecun_uniform": "lecun",
    "uniform (within ±1 / √n_in)": "random_uniform",
}

#: What is named -> a name here -> names elsewhere: scikit-learn's, Keras's, PyTorch's and the literature's.
NAMES: Final[dict[str, dict[str, str]]] = {
    "loss": {
        "squared_error (½ Σ (ŷ - y)², half the squared error)": "mse mean_squared_error l2",
        "absolute_error": "mae mean_absolute_error l1",
        "huber": "smooth_l1",
        "quantile": "pinball",
        "poisson": "poisson_nll",
        "cross_entropy (several classes)": "log_loss logistic nll softmax",
        "cross_entropy (targets: rows of probabilities)": "categorical_crossentropy",
        "cross_entropy (targets: class indices)": "sparse_categorical_crossentropy",
        "binary_cross_entropy (one output, or several labels)": "log_loss logistic nll bce",
        "binary_cross_entropy (with the output activation sigmoid)": "bce_with_logits",
        "hinge": "svm",
    },
    "activation": {
        "identity": "linear none",
        "silu": "swish",
        "sigmoid": "expit",
        "relu": "rectifier",
        "leaky_relu": "lrelu",
    },
    "init": _INITIALIZERS,
    "bias_init": _INITIALIZERS,
    "optimizer": {
        "sgd (cmlp.SGD(momentum=0.9))": "momentum",
        "gradient_descent": "bgd batch_gradient_descent",
        "lbfgs": "l_bfgs bfgs",
        "rprop": "irprop resilient",
    },
    "order": {
        "shuffle": "random",
        "replacement": "random bootstrap",
        "given": "sequential fixed",
    },
}

#: A parameter here -> keyword arguments elsewhere. Those count that the function at hand has.
PARAMETERS: Final[dict[str, str]] = {
    # architecture
    "sizes (inputs and outputs included: [n_inputs, 32, 32, n_outputs])": (
        "hidden_layer_sizes hidden_sizes layer_sizes units in_features out_features input_dim input_shape"
    ),
    "n_inputs": "in_features input_dim input_shape",
    "n_outputs": "units out_features",
    "activation": "hidden_activation",
    "output_activation": "out_activation",
    "bias": "use_bias",
    "init": "weight_init initializer kernel_initializer",
    "bias_init": "bias_initializer",
    "alpha": "negative_slope",
    "dropout": "dropout_rate p",
    "rate": "dropout_rate p",
    "loss": "criterion loss_function",
    "seed": "random_state rng",
    "standardize": "normalize",
    # training
    "X": "x",
    "y": "targets labels",
    "optimizer": "solver",
    "epochs": "max_iter max_epochs n_iter n_epochs num_epochs",
    "order ('shuffle' or 'given')": "shuffle",
    "validation (a pair X, y)": "validation_data eval_set",
    "validation (a share of the samples)": "validation_split validation_fraction",
    "patience": "n_iter_no_change",
    "patience (with validation=0.1)": "early_stopping",
    "tol": "min_delta threshold",
    "restore_best": "restore_best_weights",
    "progress": "verbose",
    "n_threads": "n_jobs num_workers",
    "clip_norm": "clipnorm max_grad_norm",
    "clip_value": "clipvalue",
    "sample_weight": "sample_weights",
    "sample_weight (one weight a sample)": "class_weight",
    # optimisers and averages
    "learning_rate": "lr eta max_lr learning_rate_init initial_learning_rate",
    "learning_rate (the step size)": "alpha",
    "weight_decay": "l2 lambda",
    "weight_decay (scikit-learn's alpha)": "alpha",
    "beta": "rho",
    "beta (PyTorch's alpha)": "alpha",
    "beta1": "beta_1",
    "beta1 (and beta2)": "betas beta",
    "beta2": "beta_2",
    "eps": "epsilon",
    "nesterov": "nesterovs_momentum",
    "decrease (and increase)": "etas",
    "min_step (and max_step)": "step_sizes",
    "max_fun": "max_eval",
    "history_size": "maxcor",
    "line_search": "line_search_fn",
    "decay": "beta",
    # schedules and losses
    "power": "power_t",
    "factor": "gamma decay_rate",
    "every": "step_size decay_steps",
    "period": "t_0",
    "growth": "t_mult",
    "minimum": "eta_min",
    "steps": "warmup_steps total_steps",
    "rising": "pct_start",
    "start_divisor": "div_factor",
    "end_divisor": "final_div_factor",
    "delta": "epsilon beta",
    "q": "quantile",
    "label_smoothing": "smoothing",
}

#: Where a parameter belongs that the function at hand has not.
PLACES: Final[dict[str, tuple[str, ...]]] = {
    "fit(X, y, ...)": (
        *("epochs", "batch_size", "order", "reduction", "clip_delta", "clip_value", "clip_norm", "sample_weight"),
        *("validation", "tol", "patience", "restore_best", "grad_tol", "max_seconds", "callbacks", "progress"),
        "n_threads",
    ),
    "the optimizer, such as optimizer=cmlp.SGD(learning_rate=0.1, momentum=0.9)": (
        *("learning_rate", "momentum", "nesterov", "weight_decay", "l1", "max_norm", "averaging"),
        *("beta", "beta1", "beta2", "eps", "amsgrad"),
    ),
    "the network, such as cmlp.MLP([2, 8, 1], loss=..., seed=...)": (
        *("sizes", "activation", "output_activation", "loss", "bias", "init", "bias_init", "alpha", "dropout"),
        *("optimizer", "dtype", "seed", "standardize", "missing"),
    ),
}


def name_advice(name: str, known: Collection[str], what: str) -> str:
    """Return a sentence on which of the known names was meant, or "" if there is no telling.

    >>> name_advice("swish", ["relu", "silu"], "activation"), name_advice("Relu", ["relu", "silu"], "activation")
    ("cmlp calls it 'silu'.", "did you mean 'relu'?")
    """
    word = name.lower().replace("-", "_").replace(" ", "_")
    called = _called(_meant(word, NAMES.get(what, {})), known)
    return f"{called}." if called else _guess(word, known)


def parameter_advice(word: str, parameters: Collection[str]) -> str:
    """Return what to write in place of a keyword argument that a function does not have.

    >>> parameter_advice("lr", ["learning_rate", "momentum"])
    "cmlp calls it 'learning_rate'"
    >>> parameter_advice("lr", ["X", "y", "epochs"])
    "'learning_rate' belongs to the optimizer, such as optimizer=cmlp.SGD(learning_rate=0.1, momentum=0.9)"
    """
    ours = _meant(word.lower(), PARAMETERS)
    if called := _called(ours, parameters):
        return called
    for name in (word, *(text.split()[0] for text in ours)):
        for place, names in PLACES.items():
            if name in names:
                return f"{name!r} belongs to {place}"
    return _guess(word.lower(), parameters) or f"its parameters are {', '.join(parameters)}"


def named_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function say what is meant by a keyword argument that it does not have.

    >>> @named_arguments
    ... def train(epochs=10): ...
    >>> train(max_iter=5)
    Traceback (most recent call last):
    TypeError: train() got an unexpected keyword argument 'max_iter': cmlp calls it 'epochs'
    """

    @wraps(function)
    def explained(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except TypeError:
            from inspect import signature  # only needed here: keeps `import cmlp` light

            parameters = [name for name in signature(function).parameters if name != "self"]
            unknown = [name for name in kwargs if name not in parameters]
            if not unknown:
                raise
            called = function.__qualname__.removesuffix(".__init__").rpartition("<locals>.")[2]
            advice = parameter_advice(unknown[0], parameters)
            message = f"{called}() got an unexpected keyword argument {unknown[0]!r}: {advice}"
        raise TypeError(message)

    return explained


def nearest(word: str, known: Collection[str]) -> str:
    """Return a guess at a misspelt word in parentheses, to be put behind it; "" if there is none.

    >>> nearest("optimiser", ["optimizer", "weights"]), nearest("size", ["optimizer", "weights"])
    (" (did you mean 'optimizer'?)", '')
    """
    guess = _guess(word, known)
    return f" ({guess})" if guess else ""


def _meant(word: str, table: Mapping[str, str]) -> list[str]:
    """Return what cmlp calls a word from elsewhere, remarks included."""
    return [ours for ours, words in table.items() if word in words.split()]


def _called(ours: Collection[str], known: Collection[str]) -> str:
    """Say what cmlp calls something, of the names that fit here; "" if none does."""
    words = (text.partition(" ") for text in ours)
    fitting = [f"{word!r}{space}{remark}" for word, space, remark in words if word in known]
    return f"cmlp calls it {' or '.join(fitting)}" if fitting else ""


def _guess(word: str, known: Collection[str]) -> str:
    """Guess a misspelt word; "" if it is none."""
    from difflib import get_close_matches  # only needed here: keeps `import cmlp` light

    close = get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else ""
