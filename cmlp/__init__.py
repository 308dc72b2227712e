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

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cmlp import activations, datasets, initializers, losses, reference, schedules
    from cmlp._engine.history import DivergenceError, History, TrainingInterrupted
    from cmlp.averaging import EMA, SWA
    from cmlp.data.arrays import InputScaleWarning
    from cmlp.estimators import MLPClassifier as MLPClassifier
    from cmlp.estimators import MLPRegressor as MLPRegressor
    from cmlp.layers import Activation, Dense, Dropout, Identity, Layer, add, chain, concatenate
    from cmlp.mlp import MLP
    from cmlp.network import Gradients, Network, Scores
    from cmlp.optimizers import LBFGS, SGD, Adagrad, Adam, AdamW, GradientDescent, RMSprop, Rprop
    from cmlp.saving import load

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


# Public names are imported when they are first used, which keeps `import cmlp` about as fast as `import numpy`
# (Scientific Python's SPEC 1). Names that are modules stand for themselves.
_MODULES = {
    "_engine.history": ("DivergenceError", "History", "TrainingInterrupted"),
    "data.arrays": ("InputScaleWarning",),
    "activations": (),
    "averaging": ("EMA", "SWA"),
    "datasets": (),
    "estimators": ("MLPClassifier", "MLPRegressor"),  # not in __all__: `import *` must do without scikit-learn
    "initializers": (),
    "layers": ("Activation", "Dense", "Dropout", "Identity", "Layer", "add", "chain", "concatenate"),
    "losses": (),
    "mlp": ("MLP", "Network"),  # with either of them, both kinds of networks are known
    "network": ("Gradients", "Scores"),
    "optimizers": ("LBFGS", "SGD", "Adagrad", "Adam", "AdamW", "GradientDescent", "RMSprop", "Rprop"),
    "reference": (),
    "saving": ("load",),
    "schedules": (),
    "training": (),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in (*names, module)}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'cmlp' has no attribute {name!r}")
    module = import_module(f"cmlp.{_MODULE_OF[name]}")
    found = module if name == _MODULE_OF[name] else getattr(module, name)
    globals()[name] = found  # the next time, no search
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})


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
    "InputScaleWarning",
    "Layer",
    "Network",
    "RMSprop",
    "Rprop",
    "Scores",
    "TrainingInterrupted",
    "activations",
    "add",
    "chain",
    "concatenate",
    "datasets",
    "get_include",
    "initializers",
    "load",
    "losses",
    "reference",
    "schedules",
]
