"""What the scikit-learn estimators share: from parameters and data to a network, its training and its outputs."""

from __future__ import annotations

from itertools import pairwise
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, _fit_context, is_classifier
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from cmlp.activations import ACTIVATIONS
from cmlp.data.samples import Samples, as_rows
from cmlp.estimators.rules import HeldOut, fit_lbfgs, fit_stochastic, optimizer_of
from cmlp.mlp import MLP
from cmlp.network import model_of
from cmlp.optimizers import SGD, Optimizer

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_AS_IN_CMLP = {"logistic": "sigmoid"}  # scikit-learn's names
_FLOATS = (np.float64, np.float32)


class Estimator(BaseEstimator):  # type: ignore[misc]
    """What classifier and regressor share.

    `coefs_` and `intercepts_` are lists of live views of the network's parameters; arrays that users put into the lists
    are copied to the network before it is used the next time.
    """

    coefs_: list[Any]
    intercepts_: list[Any]
    loss_curve_: list[float]
    validation_scores_: list[float] | None
    validation_loss_curve_: list[float] | None
    best_loss_: float | None
    best_validation_score_: float | None
    _plan: tuple[Any, ...]  # what the network was made from

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
    }

    # ---------------------------------------------------------------------------------------------- the network

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
        return [_AS_IN_CMLP.get(name, name) for name in names]

    def _synced(self) -> MLP:
        """Return the network with the parameters that `coefs_` and `intercepts_` hold."""
        shapes = [np.shape(W) for W in self.coefs_]
        dtype = np.float32 if getattr(self.coefs_[0], "dtype", None) == np.float32 else np.float64
        plan = (shapes, self.activation, self.out_activation_, self.loss, self.dropout, dtype)
        network: MLP | None = self.__dict__.get("_network")
        if network is None or plan != self._plan:
            network = self._network = MLP(
                [shapes[0][0], *(shape[1] for shape in shapes)],
                activation=self._hidden_activations(len(shapes) - 1),
                output_activation=_AS_IN_CMLP.get(self.out_activation_, self.out_activation_),
                loss=self._core_loss(),
                init="zeros",
                bias_init="zeros",
                dropout=self.dropout,
                dtype=dtype,
            )
            self._plan = plan
            self.__dict__.pop("_optimizer", None)
        both: tuple[tuple[str, Any], ...] = (("coefs_", network.weights), ("intercepts_", network.biases))
        for name, views in both:
            arrays = getattr(self, name)
            if any(array is not view for array, view in zip(arrays, views, strict=True)):
                for array, view in zip(arrays, views, strict=True):
                    view[...] = array
                setattr(self, name, list(views))
        return network

    @property
    def network_(self) -> MLP:
        """The fitted `cmlp.MLP`, for all that it can do: `save`, `gradients`, `forward`, `capsule`, ..."""
        check_is_fitted(self)
        return self._synced()

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for pickle and copy, the parameters once."""
        if hasattr(self, "_network"):
            self._synced()
        state: dict[str, Any] = super().__getstate__()
        if "_network" in state:
            state = {name: value for name, value in state.items() if name not in ("coefs_", "intercepts_")}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what `__getstate__` returned."""
        super().__setstate__(state)
        if hasattr(self, "_network"):
            self.coefs_, self.intercepts_ = list(self._network.weights), list(self._network.biases)
            if hasattr(self, "_optimizer"):
                self._optimizer = self._network.optimizer

    def _initialize(self, layer_sizes: list[int], dtype: Any, rng: np.random.RandomState) -> None:
        """Draw the parameters as scikit-learn does: Glorot's uniform distribution, layer by layer W_k, then b_k."""
        self.n_iter_ = self.t_ = 0
        self.n_layers_ = len(layer_sizes)
        self.out_activation_ = self._out_activation()
        names = self._hidden_activations(self.n_layers_ - 2) or [self.activation]
        self.coefs_, self.intercepts_ = [], []
        for k, (n_in, n_out) in enumerate(pairwise(layer_sizes)):
            factor = 2 if names[min(k, len(names) - 1)] in ("sigmoid", "logistic") else 6
            bound = np.sqrt(factor / (n_in + n_out))
            self.coefs_.append(rng.uniform(-bound, bound, (n_in, n_out)).astype(dtype))
            self.intercepts_.append(rng.uniform(-bound, bound, n_out).astype(dtype))
        for name in ("_optimizer", "_best_parameters", "best_loss_", "validation_scores_"):  # of an earlier fit
            self.__dict__.pop(name, None)
        self._no_improvement_count = 0
        self.loss_curve_ = []

    def _begin_validation(self, held_out: HeldOut | None) -> None:
        """Start a record of the validation, if there is to be one and is none yet (or the other way round)."""
        if not hasattr(self, "validation_scores_") or (self.validation_scores_ is None) == (held_out is not None):
            self.validation_scores_ = None if held_out is None else []
            self.validation_loss_curve_ = None if held_out is None else []
        if not hasattr(self, "best_loss_") or (self.best_loss_ is None) != self.early_stopping:
            self.best_loss_ = None if self.early_stopping else np.inf
            self.best_validation_score_ = -np.inf if self.early_stopping else None

    # ------------------------------------------------------------------------------------------------- training

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        validation_data: Any = None,
        *,
        incremental: bool = False,
    ) -> Self:
        self._check_solver_suits()
        hidden = self._hidden_sizes()
        first = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        X, y, weights = self._validate_input(X, y, sample_weight, incremental, first)
        layer_sizes = [X.shape[1], *hidden, y.shape[1]]
        self.n_outputs_ = y.shape[1]
        rng = check_random_state(self.random_state)
        if first:
            self._initialize(layer_sizes, X.dtype, rng)
        network = self._synced()
        model = model_of(network)
        if model.drops_out:
            model.rng = np.random.default_rng(rng.randint(np.iinfo(np.int32).max))
        if network.sizes != layer_sizes:
            raise ValueError(f"the layers have the sizes {network.sizes}, but these parameters and data {layer_sizes}.")
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        samples = self._samples(X, y, weights, network)
        held_out, kept = None, None
        if validation_data is not None:
            held_out = HeldOut(self, model, self._validation_samples(validation_data, network))
        elif self.early_stopping and self._stochastic:
            kept, rest = self._split(y, rng)
            held_out = HeldOut(self, model, samples.rows(rest))
        self._begin_validation(held_out)
        if not self._stochastic:
            model.set_optimizer(SGD())
            self._optimizer = network.optimizer
            fit_lbfgs(self, model, samples, held_out)
            return self
        if not hasattr(self, "_optimizer") or not (incremental or self.warm_start == "optimizer"):
            model.set_optimizer(optimizer_of(self))
        if self.early_stopping and not hasattr(self, "_best_parameters"):
            self._best_parameters = model.parameters.copy()
        try:
            fit_stochastic(self, model, samples, kept, held_out, rng, incremental=incremental)
        finally:
            self._optimizer = network.optimizer
        return self

    def _samples(self, X: Any, y: NDArray[Any], weights: Any, network: MLP) -> Samples:
        """Return checked samples as the core takes them, X still sparse if it is too large to be made dense at once."""
        X = (X if isinstance(X, np.ndarray) else as_rows(X)).astype(network.dtype, copy=False)
        if isinstance(X, np.ndarray):
            X = np.require(X, requirements=["C", "A"])
        if weights is not None:
            weights = np.ascontiguousarray(weights, np.float64)
            if not weights.sum() > 0:
                raise ValueError("the sum of the sample weights must be > 0.")
        targets = self._core_targets(y, network)
        if targets.dtype == np.int64:
            return Samples(X, labels=targets, weights=weights)
        return Samples(X, np.ascontiguousarray(targets, network.dtype), weights=weights)

    def _split(self, y: NDArray[Any], rng: np.random.RandomState) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows to train on and those to validate with, stratified for two classes, as scikit-learn does."""
        stratify = y if is_classifier(self) and self.n_outputs_ == 1 else None
        rows = np.arange(len(y))
        kept, rest = train_test_split(rows, random_state=rng, test_size=self.validation_fraction, stratify=stratify)
        if len(rest) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        return kept, rest

    def _validation_samples(self, data: Any, network: MLP) -> Samples:
        if not isinstance(data, (tuple, list)) or len(data) != 2:
            raise ValueError(f"validation_data must be a pair (X, y), got {type(data).__name__}.")
        X, y = validate_data(self, *data, reset=False, **self._checks())
        return self._samples(X, self._encoded(_one_dimensional(y)), None, network)

    def _checks(self) -> dict[str, Any]:
        """Return how `validate_data` checks training data."""
        dtype = _FLOATS if self.dtype is None else np.dtype(self.dtype)
        return {"accept_sparse": ["csr", "csc"], "multi_output": True, "dtype": dtype}

    def _validate_input(
        self, X: Any, y: Any, sample_weight: Any, incremental: bool, first: bool
    ) -> tuple[Any, NDArray[Any], NDArray[np.float64] | None]:
        """Return X, the targets (M, n_outputs) and the weights, if there are any."""
        X, y = validate_data(self, X, y, reset=first, **self._checks())
        y = _one_dimensional(y)
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, X)
        return X, self._targets(y, incremental, first), self._weighted(y, weights, incremental)

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: ArrayLike | None = None,
        *,
        validation_data: tuple[Any, Any] | None = None,
    ) -> Self:
        """Train on X, y.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
            Sparse rows are made dense some batches at a time.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels, or numbers for a regression.
        sample_weight : array-like of shape (n_samples,), optional
            s_c; a batch's loss is the mean with these weights.
        validation_data : tuple (X, y), optional
            Held-out samples: their loss and score after every epoch (or iteration of lbfgs) go to
            `validation_loss_curve_` and `validation_scores_`; with `early_stopping` they replace a share of X.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the data or a parameter is not as described, or if training leaves the finite numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from cmlp import MLPRegressor
        >>> X = np.linspace(-1, 1, 50)[:, None]
        >>> model = MLPRegressor(solver="lbfgs", random_state=0).fit(X, X[:, 0] ** 2, validation_data=(X, X[:, 0] ** 2))
        >>> len(model.validation_loss_curve_) == model.n_iter_
        True
        """
        return self._fit(X, y, sample_weight, validation_data)

    @property
    def _stochastic(self) -> bool:
        return self.optimizer is not None or self.solver != "lbfgs"

    def _check_solver_suits(self) -> None:
        """Raise an error for what goes with stochastic solvers only, or stands in the optimiser."""
        if not self._stochastic:
            given = [name for name in ("l1", "max_norm", "clip_value", "clip_norm", "dropout") if getattr(self, name)]
            if given:
                raise ValueError(f"{given[0]} needs a stochastic solver: solver='lbfgs' goes without.")
        if getattr(self.optimizer, "full_batch", False):
            raise ValueError(f"{type(self.optimizer).__name__} takes all samples at once: use solver='lbfgs'.")
        if self.optimizer is not None and (self.l1 or self.max_norm):
            raise ValueError("with an optimizer, l1 and max_norm are its own: cmlp.Adam(l1=..., max_norm=...).")

    def _check_solver(self) -> bool:
        if not self._stochastic:
            raise AttributeError("partial_fit is only available for stochastic optimizers. lbfgs is not stochastic.")
        return True

    # ----------------------------------------------------------------------------------------------- prediction

    def _outputs(self, X: Any) -> NDArray[Any]:
        """Return ŷ, (n_samples, n_outputs)."""
        check_is_fitted(self)
        network = self._synced()
        X = validate_data(self, X, accept_sparse=["csr", "csc"], dtype=network.dtype, order="C", reset=False)
        samples = Samples(X if isinstance(X, np.ndarray) else X.tocsr())
        found = [network.predict(part.X, n_threads=self.n_threads) for part, _ in samples.parts()]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _one_output(self, x: ArrayLike) -> NDArray[Any]:
        if not hasattr(self, "coefs_"):
            check_is_fitted(self)
        return self._synced().predict_one(x)

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn wants to know about the estimator."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _one_dimensional(y: NDArray[Any]) -> NDArray[Any]:
    """Return a column (n_samples, 1) as (n_samples,), with scikit-learn's warning, and everything else as it is."""
    return column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y
