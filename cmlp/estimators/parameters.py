"""The parameters that the estimators share: what they mean, what they may be, and how tools reach them."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections import defaultdict
from functools import cache
from numbers import Integral, Real
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, Options, StrOptions

from cmlp._base.fields import Declared
from cmlp._engine.scaling import MISSING
from cmlp.activations import ACTIVATIONS
from cmlp.initializers import INITIALIZERS
from cmlp.optimizers import Optimizer

T = TypeVar("T")

_AS_IN_CMLP = {"logistic": "sigmoid"}  # scikit-learn's names of activations
_SECTION = r"\n\n{}\n-+\n(.+(?:\n.+)*)"  # of a docstring, up to the next blank line


class Parametrized(BaseEstimator):  # type: ignore[misc]
    """An estimator's parameters. Fields of the declared values among them are parameters too: optimizer__learning_rate.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default (100,)
        Widths of the hidden layers; an int stands for one layer.
    activation : str or sequence of str, default "relu"
        Of the hidden layers, or one name per hidden layer: scikit-learn's "identity", "logistic", "tanh" and "relu",
        and all others of `cmlp.activations`.
    solver : {"adam", "sgd", "lbfgs"}, default "adam"
        Adam or SGD, which are stochastic and learn batch by batch, or L-BFGS, which takes all samples at once.
    alpha : float, default 0.0001
        α of the penalty ½ α Σ‖W‖², which is divided by the sum of the sample weights in the batch.
    batch_size : int or "auto", default "auto"
        Samples per step of a stochastic solver; "auto": 200, or all if there are fewer.
    learning_rate : {"constant", "invscaling", "adaptive"}, default "constant"
        Of solver="sgd": "invscaling" divides learning_rate_init by (t + 1)^power_t after t samples, epoch by epoch;
        "adaptive" divides it by 5 whenever training would stop, until it is 1e-6.
    learning_rate_init : float, default 0.001
        Learning rate of a stochastic solver, at first.
    power_t : float, default 0.5
        Exponent of learning_rate="invscaling".
    max_iter : int, default 200
        The most epochs that `fit` makes, or iterations of lbfgs.
    shuffle : bool, default True
        Whether a stochastic solver takes the samples in a new order every epoch.
    random_state : int, RandomState or None, default None
        For the initial weights, the split of early stopping, the order of the samples and dropout; None: NumPy's global
        generator.
    tol : float, default 0.0001
        By how much the loss (with early stopping: the score) has to improve to count as better. For lbfgs: training
        stops when no entry of the gradient is larger.
    verbose : bool or int, default False
        Whether to print the loss after every epoch.
    warm_start : bool or "optimizer", default False
        Whether `fit` goes on with the present weights; "optimizer": and with the state of the optimiser (momentum,
        Adam's moments, learning rate).
    momentum : float, default 0.9
        μ of solver="sgd", 0 <= μ <= 1.
    nesterovs_momentum : bool, default True
        Whether solver="sgd" looks ahead along the momentum.
    early_stopping : bool, default False
        Whether a stochastic solver holds samples out, stops when their score gets no better, and ends with the weights
        of the best score.
    validation_fraction : float, default 0.1
        The share of the samples that early stopping holds out.
    beta_1 : float, default 0.9
        β₁ of solver="adam", the decay rate of the mean of g.
    beta_2 : float, default 0.999
        β₂ of solver="adam", the decay rate of the mean of g².
    epsilon : float, default 1e-08
        ε of solver="adam".
    n_iter_no_change : int or inf, default 10
        A stochastic solver stops after more epochs in a row than this that are no better.
    max_fun : int, default 15000
        The most evaluations of the objective by solver="lbfgs".
    optimizer : cmlp.SGD, cmlp.Adam, ... or None, default None
        Takes the place of `solver`, `learning_rate`, `learning_rate_init` and their like; alpha still counts.
        `set_params(optimizer__learning_rate=0.1)` and grids of parameters reach into it.
    dropout : float or sequence of float, default 0.0
        Rate of the dropout behind every hidden layer, or one rate per hidden layer; for stochastic solvers.
    l1 : float, default 0.0
        λ₁: adds λ₁ sign(W) to the gradient of the weights in every step; not part of `loss_`. For stochastic solvers.
    max_norm : float or None, default None
        After each step the incoming weights of every unit are scaled down to this norm; for stochastic solvers.
    clip_delta : float or None, default None
        ψ > 0: the δ of a sample that enters an update is limited elementwise to [-ψ, ψ]; for every solver.
    clip_value : float or None, default None
        Limit of the gradient of a batch, elementwise; for stochastic solvers.
    clip_norm : float or None, default None
        Limit of the global norm of the gradient of a batch; for stochastic solvers.
    callbacks : sequence of callable, default ()
        Each is called as f(estimator) after every epoch; training stops if one returns True.
    n_threads : int or "auto", default 1
        Among which batches and predictions are divided; the numbers do not depend on it.
    dtype : {"float32", "float64"} or None, default None
        Of parameters and computation; None: float32 if X is that, else float64.
    init : str or None, default None
        Distribution of the initial weights and biases, a name of `cmlp.initializers`; None: Glorot's uniform one with
        scikit-learn's draws.
    standardize : bool, default False
        Whether the network gets (x - μ) / σ for every feature in place of x. The first `fit` learns mean μ and
        deviation σ from the rows that it trains on, weighted equally; warm starts keep them, and `partial_fit` first
        brings them up to date. X must be dense.
    missing : {"error", "mean"}, default "error"
        Whether NaN in X is an error, or stands for μ, learnt as with `standardize`. With "mean", X must be dense.
    """

    # Without a link, scikit-learn's HTML shows no descriptions. Its own pages tell of the parameters that both have.
    _doc_link_module = "cmlp"
    _doc_link_template = (
        "https://scikit-learn.org/stable/modules/generated/sklearn.neural_network.{estimator_name}.html"
    )

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions({*ACTIVATIONS, *_AS_IN_CMLP}), list, tuple],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean", StrOptions({"optimizer"})],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "optimizer": [Optimizer, None],
        "dropout": [Interval(Real, 0, 1, closed="left"), list, tuple],
        "l1": [Interval(Real, 0, None, closed="left")],
        "max_norm": [Interval(Real, 0, None, closed="neither"), None],
        "clip_delta": [Interval(Real, 0, None, closed="neither"), None],
        "clip_value": [Interval(Real, 0, None, closed="neither"), None],
        "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
        "callbacks": [list, tuple],
        "n_threads": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "dtype": [Options(type, {np.float32, np.float64}), StrOptions({"float32", "float64"}), None],
        "init": [StrOptions(set(INITIALIZERS)), None],
        "standardize": ["boolean"],
        "missing": [StrOptions(set(MISSING))],
    }

    @classmethod
    @cache
    def _get_param_names(cls) -> list[str]:
        """Return the names of the parameters; to look them up takes half a millisecond."""
        return super()._get_param_names()  # type: ignore[no-any-return]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters; with `deep` also the fields of declared values, such as optimizer__learning_rate.

        Parameters
        ----------
        deep : bool, default True

        Returns
        -------
        dict of str to object

        Examples
        --------
        >>> import cmlp
        >>> model = cmlp.MLPRegressor(optimizer=cmlp.SGD(0.1, momentum=0.9))
        >>> model.get_params()["optimizer__momentum"]
        0.9
        """
        params: dict[str, Any] = super().get_params(deep=deep)
        return {**params, **_fields_inside(params)} if deep else params

    def set_params(self, **params: Any) -> Self:
        """Set parameters, or fields of declared values: these are replaced by changed ones.

        Parameters
        ----------
        **params : object
            Parameters by their names, as `get_params` returns them.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there is no such parameter, or a field may not have the value.

        Examples
        --------
        >>> import cmlp
        >>> model = cmlp.MLPRegressor(optimizer=cmlp.SGD(0.1, momentum=0.9))
        >>> model.set_params(optimizer__learning_rate=0.01).optimizer
        SGD(learning_rate=0.01, momentum=0.9, nesterov=False, weight_decay=0.0)
        """
        own, inside = _divided(params)
        known = self._get_param_names()
        super().set_params(**own | {name: None for name in inside if name not in known})  # which it refuses
        for name, changes in inside.items():
            setattr(self, name, _changed(name, getattr(self, name), changes))
        return self

    # ------------------------------------------------------------------------------------------ what they ask for

    def _hidden_sizes(self) -> list[int]:
        sizes = self.hidden_layer_sizes
        found = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
        if np.any(np.array(found) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {found}.")
        return [int(n) for n in found]

    def _hidden_activations(self, n_hidden: int) -> list[str]:
        names = [self.activation] * n_hidden if isinstance(self.activation, str) else list(self.activation)
        if len(names) != n_hidden:
            raise ValueError(
                f"activation must be one name or one per hidden layer ({n_hidden}), got {self.activation!r}."
            )
        return [as_in_cmlp(name) for name in names]

    @property
    def _stochastic(self) -> bool:
        return self.optimizer is not None or self.solver != "lbfgs"

    @property
    def _needs_scale(self) -> str:
        """What needs a scale of the inputs, and so a dense X: a parameter as it was given; "" if none does."""
        return "standardize=True" if self.standardize else "missing='mean'" if self.missing == "mean" else ""

    def _check_solver_suits(self) -> None:
        """Raise an error for what goes with stochastic solvers only, or stands in the optimiser, or is no callback."""
        for callback in self.callbacks:
            if not callable(callback):
                raise TypeError(f"callbacks must be functions of the estimator, got {callback!r}.")
        if not self._stochastic:
            given = [name for name in ("l1", "max_norm", "clip_value", "clip_norm", "dropout") if getattr(self, name)]
            if given:
                raise ValueError(f"{given[0]} needs a stochastic solver: solver='lbfgs' goes without.")
        if getattr(self.optimizer, "full_batch", False):
            raise ValueError(f"{type(self.optimizer).__name__} takes all samples at once: use solver='lbfgs'.")
        if self.optimizer is not None and (self.l1 or self.max_norm):
            raise ValueError("with an optimizer, l1 and max_norm are its own: cmlp.Adam(l1=..., max_norm=...).")

    def _check_solver(self) -> bool:
        if self.optimizer is None and self.solver not in ("adam", "sgd"):
            raise AttributeError("partial_fit is only available for stochastic optimizers. lbfgs is not stochastic.")
        return True

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn wants to know about the estimator."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = not self._needs_scale
        tags.input_tags.allow_nan = self.missing == "mean"
        return tags


def as_in_cmlp(activation: str) -> str:
    """Return the name of an activation here.

    >>> as_in_cmlp("logistic"), as_in_cmlp("relu")
    ('sigmoid', 'relu')
    """
    return _AS_IN_CMLP.get(activation, activation)


# -------------------------------------------------------------------------------------------------- fields inside


def _fields_inside(values: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of the declared values in a dict, and those inside of these.

    >>> import cmlp
    >>> _fields_inside({"optimizer": cmlp.LBFGS(max_fun=9), "alpha": 1})["optimizer__max_fun"]
    9
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Declared) and dataclasses.is_dataclass(value):
            fields = {f"{name}__{field.name}": getattr(value, field.name) for field in dataclasses.fields(value)}
            found |= fields | _fields_inside(fields)
    return found


def _divided(params: dict[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return what is to be set itself, and inside of what: {"a": 1, "b__c": 2} is {"a": 1} and {"b": {"c": 2}}."""
    own: dict[str, Any] = {}
    inside: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for key, value in params.items():
        name, nested, field = key.partition("__")
        if nested:
            inside[name][field] = value
        else:
            own[name] = value
    return own, inside


def _changed(name: str, value: Any, changes: dict[str, Any]) -> Any:
    """Return a declared value, the parameter `name`, with fields changed, and fields of fields."""
    known = [field.name for field in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else []
    own, inside = _divided(changes)
    for field in (*own, *inside):
        if field not in known:  # in scikit-learn's words
            raise ValueError(
                f"Invalid parameter {field!r} for estimator {name}={value!r}. Valid parameters are: {known!r}."
            )
    for field, deeper in inside.items():
        own[field] = _changed(f"{name}__{field}", own.get(field, getattr(value, field)), deeper)
    return dataclasses.replace(value, **own)


# ----------------------------------------------------------------------------------------------------- docstrings


def documented(cls: type[T]) -> type[T]:
    """Let the docstring of an estimator describe all parameters and attributes: its own, and those of its bases."""
    if not cls.__doc__:  # python -OO
        return cls
    sections = {}
    for title in ("Parameters", "Attributes"):
        bases = [kind for kind in reversed(cls.__mro__) if issubclass(kind, Parametrized)]
        sections[title] = {name: text for kind in bases for name, text in _entries(kind, title).items()}
    names = inspect.signature(cls).parameters
    sections["Parameters"] = {name: sections["Parameters"][name] for name in names}
    own = re.sub(_SECTION.format("(?:Parameters|Attributes)"), "", inspect.cleandoc(cls.__doc__))
    head, examples, text = own.partition("\n\nExamples\n")
    full = [f"\n\n{title}\n{'-' * len(title)}\n" + "\n".join(found.values()) for title, found in sections.items()]
    cls.__doc__ = "".join([head, *full, examples, text])
    return cls


def _entries(kind: type[Any], title: str) -> dict[str, str]:
    """Return what the docstring of a class says of each name in one of its sections."""
    section = re.search(_SECTION.format(title), inspect.cleandoc(kind.__doc__ or ""))
    texts = re.split(r"\n(?=\S)", section[1]) if section else []
    return {text.partition(" : ")[0]: text for text in texts}
