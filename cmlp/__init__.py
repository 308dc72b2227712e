"""cmlp: exact, fast training and prediction of multilayer perceptrons on the CPU.

>>> import cmlp
>>> net = cmlp.MLP([2, 8, 1], activation="tanh", loss="binary_cross_entropy", seed=0)
>>> X, y = cmlp.datasets.logic_gate("xor")
>>> history = net.fit(X, y, epochs=500, optimizer=cmlp.SGD(0.1))
>>> net.predict_class(X)
array([0, 1, 1, 0])
"""

try:
    import cmlp._core  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "cmlp._core":
        raise
    raise ImportError(
        f"cmlp in {__path__[0]} has no compiled core: this is its source tree. Start Python in another folder to get "
        "the installed package, or compile the tree in place with `pip install -e .`"
    ) from error

from cmlp import datasets, schedules
from cmlp.layers import Activation, Dense, Identity, Layer, add, chain, concatenate
from cmlp.mlp import MLP
from cmlp.network import Gradients, Network, Scores
from cmlp.optimizers import LBFGS, SGD, Adagrad, Adam, AdamW, GradientDescent, RMSprop, Rprop
from cmlp.persistence import load
from cmlp.training import DivergenceError, History

__version__ = "0.1.0"


def get_include() -> str:
    """Return the folder of `cmlp.h`, for C code that uses `Network.capsule`.

    Examples
    --------
    >>> import os
    >>> os.path.exists(os.path.join(get_include(), "cmlp.h"))
    True
    """
    return __path__[0]


__all__ = [
    "LBFGS",
    "MLP",
    "SGD",
    "Activation",
    "Adagrad",
    "Adam",
    "AdamW",
    "Dense",
    "DivergenceError",
    "GradientDescent",
    "Gradients",
    "History",
    "Identity",
    "Layer",
    "Network",
    "RMSprop",
    "Rprop",
    "Scores",
    "add",
    "chain",
    "concatenate",
    "datasets",
    "get_include",
    "load",
    "schedules",
]
