"""Other libraries' words for what cmlp has, and misspelt ones: errors name the right word.

An entry is a word as it is written elsewhere, in lower case, and what cmlp calls it, with a remark in parentheses where
the two differ. A word that is close to ours needs none: it is guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import wraps
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_CROSS_ENTROPIES = ("cross_entropy (several classes)", "binary_cross_entropy (one output, or several labels)")

#: What is named -> a name elsewhere -> names here. scikit-learn's, Keras's and PyTorch's names, and the literature's.
NAMES: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "loss": {
        "mse": ("squared_error (½ Σ (ŷ - y)², half the squared error)",),
        "mean_squared_error": ("squared_error (½ Σ (ŷ - y)², half the squared error)",),
        "l2": ("squared_error (½ Σ (ŷ - y)², half the squared error)",),
        "mae": ("absolute_error",),
        "mean_absolute_error": ("absolute_error",),
        "l1": ("absolute_error",),
        "smooth_l1": ("huber",),
        "pinball": ("quantile",),
        "poisson_nll": ("poisson",),
        "log_loss": _CROSS_ENTROPIES,
        "nll": _CROSS_ENTROPIES,
        "logistic": _CROSS_ENTROPIES,
        "bce": ("binary_cross_entropy",),
        "bce_with_logits": ("binary_cross_entropy (with the output activation sigmoid)",),
        "categorical_crossentropy": ("cross_entropy (targets: rows of probabilities)",),
        "sparse_categorical_crossentropy": ("cross_entropy (targets: class indices)",),
        "softmax": ("cross_entropy",),
        "svm": ("hinge",),
    },
    "activation": {
        "linear": ("identity",),
        "none": ("identity",),
        "swish": ("silu",),
        "expit": ("sigmoid",),
        "rectifier": ("relu",),
        "lrelu": ("leaky_relu",),
    },
    "init": {
        "he": ("he_normal", "he_uniform"),
        "kaiming": ("he_normal", "he_uniform"),
        "kaiming_normal": ("he_normal",),
        "kaiming_uniform": ("he_uniform",),
        "glorot": ("glorot_normal", "glorot_uniform"),
        "xavier": ("glorot_normal", "glorot_uniform"),
        "xavier_normal": ("glorot_normal",),
        "xavier_uniform": ("glorot_uniform",),
        "lecun": ("lecun_normal", "lecun_uniform"),
        "normal": ("he_normal", "glorot_normal", "lecun_normal"),
        "random_uniform": ("uniform (within ±1 / √n_in)",),
    },
    "optimizer": {
        "momentum": ("sgd (cmlp.SGD(momentum=0.9))",),
        "bgd": ("gradient_descent",),
        "batch_gradient_descent": ("gradient_descent",),
        "l_bfgs": ("lbfgs",),
        "bfgs": ("lbfgs",),
        "irprop": ("rprop",),
        "resilient": ("rprop",),
    },
    "order": {
        "random": ("shuffle", "replacement"),
        "sequential": ("given",),
        "fixed": ("given",),
        "bootstrap": ("replacement",),
    },
}
NAMES["bias_init"] = NAMES["init"]

#: A keyword argument elsewhere -> parameters here; those count that the function at hand has.
PARAMETERS: Final[dict[str, tuple[str, ...]]] = {
    # architecture
    "hidden_layer_sizes": ("sizes (inputs and outputs included: [n_inputs, 32, 32, n_outputs])",),
    "hidden_sizes": ("sizes (inputs and outputs included: [n_inputs, 32, 32, n_outputs])",),
    "layer_sizes": ("sizes (inputs and outputs included: [n_inputs, 32, 32, n_outputs])",),
    "units": ("n_outputs", "sizes"),
    "out_features": ("n_outputs", "sizes"),
    "in_features": ("n_inputs", "sizes"),
    "input_dim": ("n_inputs", "sizes"),
    "input_shape": ("n_inputs", "sizes"),
    "hidden_activation": ("activation",),
    "out_activation": ("output_activation",),
    "use_bias": ("bias",),
    "weight_init": ("init",),
    "initializer": ("init",),
    "kernel_initializer": ("init",),
    "bias_initializer": ("bias_init",),
    "negative_slope": ("alpha",),
    "p": ("rate", "dropout"),
    "dropout_rate": ("dropout", "rate"),
    "criterion": ("loss",),
    "loss_function": ("loss",),
    "random_state": ("seed",),
    "rng": ("seed",),
    "normalize": ("standardize",),
    # training
    "x": ("X",),
    "targets": ("y",),
    "labels": ("y",),
    "solver": ("optimizer",),
    "max_iter": ("epochs",),
    "max_epochs": ("epochs",),
    "n_iter": ("epochs",),
    "n_epochs": ("epochs",),
    "num_epochs": ("epochs",),
    "shuffle": ("order ('shuffle' or 'given')",),
    "validation_data": ("validation (a pair X, y)",),
    "validation_split": ("validation (a share of the samples)",),
    "validation_fraction": ("validation (a share of the samples)",),
    "eval_set": ("validation (a pair X, y)",),
    "early_stopping": ("patience (with validation=0.1)",),
    "n_iter_no_change": ("patience",),
    "min_delta": ("tol",),
    "restore_best_weights": ("restore_best",),
    "verbose": ("progress",),
    "n_jobs": ("n_threads",),
    "num_workers": ("n_threads",),
    "clipnorm": ("clip_norm",),
    "max_grad_norm": ("clip_norm",),
    "clipvalue": ("clip_value",),
    "sample_weights": ("sample_weight",),
    "class_weight": ("sample_weight (one weight a sample)",),
    # optimisers, schedules, losses
    "lr": ("learning_rate",),
    "eta": ("learning_rate",),
    "max_lr": ("learning_rate",),
    "learning_rate_init": ("learning_rate",),
    "initial_learning_rate": ("learning_rate",),
    "alpha": ("learning_rate (the step size)", "weight_decay (scikit-learn's alpha)", "beta (PyTorch's alpha)"),
    "l2": ("weight_decay",),
    "lambda": ("weight_decay",),
    "betas": ("beta1 (and beta2)",),
    "beta_1": ("beta1",),
    "beta_2": ("beta2",),
    "rho": ("beta",),
    "epsilon": ("eps", "delta"),
    "beta": ("delta", "decay", "beta1 (and beta2)"),
    "nesterovs_momentum": ("nesterov",),
    "etas": ("decrease (and increase)",),
    "step_sizes": ("min_step (and max_step)",),
    "max_eval": ("max_fun",),
    "maxcor": ("history_size",),
    "line_search_fn": ("line_search",),
    "power_t": ("power",),
    "gamma": ("factor",),
    "decay_rate": ("factor",),
    "step_size": ("every",),
    "decay_steps": ("every",),
    "t_0": ("period",),
    "t_mult": ("growth",),
    "eta_min": ("minimum",),
    "warmup_steps": ("steps",),
    "total_steps": ("steps",),
    "pct_start": ("rising",),
    "div_factor": ("start_divisor",),
    "final_div_factor": ("end_divisor",),
    "threshold": ("tol",),
    "quantile": ("q",),
    "smoothing": ("label_smoothing",),
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
    called = _called(NAMES.get(what, {}).get(word, ()), known)
    return f"{called}." if called else _guess(word, known)


def parameter_advice(word: str, parameters: Collection[str]) -> str:
    """Return what to write in place of a keyword argument that a function does not have.

    >>> parameter_advice("lr", ["learning_rate", "momentum"])
    "cmlp calls it 'learning_rate'"
    >>> parameter_advice("lr", ["X", "y", "epochs"])
    "'learning_rate' belongs to the optimizer, such as optimizer=cmlp.SGD(learning_rate=0.1, momentum=0.9)"
    """
    ours = PARAMETERS.get(word.lower(), ())
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
