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

from typing import TYPE_CHECKING, Any

from cmlp import datasets, losses, schedules
from cmlp.averaging import EMA, SWA
from cmlp.layers import Activation, Dense, Dropout, Identity, Layer, add, chain, concatenate
from cmlp.mlp import MLP
from cmlp.network import Gradients, Network, Scores
from cmlp.optimizers import LBFGS, SGD, Adagrad, Adam, AdamW, GradientDescent, RMSprop, Rprop
from cmlp.persistence import load
from cmlp.training import DivergenceError, History

if TYPE_CHECKING:
    from cmlp.estimators import MLPClassifier as MLPClassifier
    from cmlp.estimators import MLPRegressor as MLPRegressor

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


_NEED_SKLEARN = ("MLPClassifier", "MLPRegressor")  # not in __all__: `import *` must do without scikit-learn


def __getattr__(name: str) -> Any:
    if name not in _NEED_SKLEARN:
        raise AttributeError(f"module 'cmlp' has no attribute {name!r}")
    from cmlp import estimators

    return getattr(estimators, name)


def __dir__() -> list[str]:
    return [*globals(), *_NEED_SKLEARN]


__all__ = [
    "EMA",
    "LBFGS",
    "MLP",
    "SGD",
    "SWA",
    "Activation",
    "Adagrad",
    "Adam",
    "AdamW",
    "Dense",
    "DivergenceError",
    "Dropout",
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
    "losses",
    "schedules",
]
