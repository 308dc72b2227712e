"""What the scikit-learn estimators share: from parameters and data to a network, its training and its outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from itertools import pairwise
from operator import attrgetter, is_
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
from sklearn.base import _fit_context, is_classifier
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from cmlp._core import Allowed, Claim
from cmlp.data.arrays import warn_of_scale
from cmlp.data.samples import Samples, as_rows
from cmlp.estimators.parameters import Parametrized, as_in_cmlp
from cmlp.estimators.rules import HeldOut, NotFiniteError, fit_lbfgs, fit_stochastic, optimizer_of
from cmlp.initializers import initial_biases, initial_weights
from cmlp.mlp import MLP
from cmlp.network import model_of
from cmlp.optimizers import SGD

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from cmlp._engine.model import Model
    from cmlp._engine.scaling import Scaling

Fit = TypeVar("Fit", bound=Callable[..., Any])

_FLOATS = (np.float64, np.float32)
_MADE_FROM = attrgetter("activation", "out_activation_", "loss", "dropout", "standardize", "missing")  # a network


class _Standing:
    """What a call of fit can change, so that one that is refused has changed nothing."""

    def __init__(self, estimator: Estimator) -> None:
        self._estimator, self._attributes = estimator, dict(vars(estimator))
        self._rng = check_random_state(estimator.random_state)
        self._draws = self._rng.get_state(legacy=False)
        network = self._attributes.get("_network")
        self._model = None if network is None else model_of(network)
        if self._model is not None:
            self._parameters = self._model.parameters.copy()
            self._generator, self._standing = self._model.rng, self._model.standing(draws=False)

    def put_back(self) -> None:
        """Be what it was."""
        now = self._estimator.__dict__
        now.clear()
        now.update(self._attributes)
        self._rng.set_state(self._draws)
        if self._model is not None:
            self._model.parameters[...], self._model.rng = self._parameters, self._generator
            self._model.put_back(self._standing)


def unchanged_if_refused(fit: Fit) -> Fit:
    """Let an estimator be what it was if `fit` fails before the first epoch is over, but where numbers overflow."""

    @wraps(fit)
    def careful(self: Estimator, /, *args: Any, **options: Any) -> Any:
        standing = _Standing(self)
        self.n_iter_ = 0
        try:
            return fit(self, *args, **options)
        except NotFiniteError:
            raise
        except BaseException:
            if self.n_iter_ == 0:
                standing.put_back()
            raise

    return careful  # type: ignore[return-value]


class Estimator(Parametrized):
    """What classifier and regressor share.

    Attributes
    ----------
    coefs_ : list of ndarray of shape (n_in, n_out)
        W_k of every layer: live views of the network's weights. Writing to them changes it, and arrays put into the
        list are copied to it before it is used the next time.
    intercepts_ : list of ndarray of shape (n_out,)
        b_k of every layer, likewise.
    loss_ : float
        Mean loss of the last epoch, with the penalty.
    loss_curve_ : list of float
        That of every epoch, or iteration of lbfgs.
    best_loss_ : float or None
        The least of them; None with early stopping.
    validation_scores_ : list of float or None
        Accuracy or R² of the validation samples after every epoch; None without any.
    validation_loss_curve_ : list of float or None
        Their mean loss, without the penalty; None without any.
    best_validation_score_ : float or None
        The best score of early stopping; None without it.
    t_ : int
        Samples learnt from by a stochastic solver.
    n_iter_ : int
        Epochs of the last call, or iterations of lbfgs.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if X is a frame whose columns are all named by strings.
    n_layers_ : int
        Layers, those of the inputs and outputs included.
    n_outputs_ : int
        Outputs of the network.
    out_activation_ : str
        Their activation.
    network_ : cmlp.MLP
        What does the work, for all that it can do: `save`, `gradients`, `forward`, `capsule`, ...
    """

    coefs_: list[Any]
    intercepts_: list[Any]
    loss_curve_: list[float]
    validation_scores_: list[float] | None
    validation_loss_curve_: list[float] | None
    best_loss_: float | None
    best_validation_score_: float | None
    _plan: tuple[Any, ...]  # what the network was made from

    # ---------------------------------------------------------------------------------------------- the network

    def _synced(self) -> MLP:
        """Return the network with the parameters that `coefs_` and `intercepts_` hold."""
        shapes = [np.shape(W) for W in self.coefs_]
        dtype = np.float32 if getattr(self.coefs_[0], "dtype", None) == np.float32 else np.float64
        plan = (shapes, dtype, _MADE_FROM(self))
        network: MLP | None = self.__dict__.get("_network")
        if network is None or plan != self._plan:
            network = self._new_network([shapes[0][0], *(shape[1] for shape in shapes)], dtype, network)
            self._network, self._plan = network, plan
            self.__dict__.pop("_optimizer", None)
        both: tuple[tuple[str, Any], ...] = (("coefs_", network.weights), ("intercepts_", network.biases))
        for name, views in both:
            arrays = getattr(self, name)
            if len(arrays) != len(views):
                raise ValueError(f"{name} must hold {len(views)} arrays, one per layer of weights, got {len(arrays)}.")
            if not all(map(is_, arrays, views)):
                for array, view in zip(arrays, views, strict=True):
                    view[...] = array
                setattr(self, name, list(views))
        return network

    def _new_network(self, sizes: list[int], dtype: Any, before: MLP | None) -> MLP:
        """Return a network without weights, on the scale of the one before if that has as many inputs."""
        network = MLP(
            sizes,
            activation=self._hidden_activations(len(sizes) - 2),
            output_activation=as_in_cmlp(self.out_activation_),
            loss=self._core_loss(),
            init="zeros",
            bias_init="zeros",
            dropout=self.dropout,
            dtype=dtype,
            standardize=bool(self.standardize),
            missing=self.missing,
        )
        if before is not None:
            scaling, learnt = model_of(network).scaling, model_of(before).scaling
            if scaling.mean.shape == learnt.mean.shape:
                scaling.set_state(learnt.state())
        return network

    @property
    def network_(self) -> MLP:
        """The fitted network."""
        check_is_fitted(self)
        return self._synced()

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for pickle and copy, the parameters once."""
        if hasattr(self, "_network"):
            self._synced()
        state: dict[str, Any] = super().__getstate__()
        if "_network" in state:
            state = {name: value for name, value in state.items() if name not in ("coefs_", "intercepts_")}
        return {name: value for name, value in state.items() if name != "_claim"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what `__getstate__` returned."""
        super().__setstate__(state)
        if hasattr(self, "_network"):
            self.coefs_, self.intercepts_ = list(self._network.weights), list(self._network.biases)
            if hasattr(self, "_optimizer"):
                self._optimizer = self._network.optimizer

    def _initialize(self, layer_sizes: list[int], dtype: Any, rng: np.random.RandomState) -> None:
        """Draw the parameters, and forget an earlier fit."""
        self.n_iter_ = self.t_ = 0
        self.n_layers_ = len(layer_sizes)
        self.out_activation_ = self._out_activation()
        drawn = list(self._draw(layer_sizes, rng))
        self.coefs_, self.intercepts_ = [W.astype(dtype) for W, _ in drawn], [b.astype(dtype) for _, b in drawn]
        for name in ("_optimizer", "_best_parameters", "best_loss_", "validation_scores_"):
            self.__dict__.pop(name, None)
        self._no_improvement_count = 0
        self.loss_curve_ = []

    def _draw(
        self, layer_sizes: list[int], rng: np.random.RandomState
    ) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Yield W_k and b_k: as `init` says, or of Glorot's uniform distribution, drawn as scikit-learn does."""
        if self.init is not None:
            generator = generator_from(rng)
            for shape in pairwise(layer_sizes):
                yield initial_weights(self.init, generator, *shape), initial_biases(self.init, generator, *shape)
            return
        names = self._hidden_activations(self.n_layers_ - 2) or [self.activation]
        for k, (n_in, n_out) in enumerate(pairwise(layer_sizes)):
            factor = 2 if names[min(k, len(names) - 1)] in ("sigmoid", "logistic") else 6
            bound = np.sqrt(factor / (n_in + n_out))
            yield rng.uniform(-bound, bound, (n_in, n_out)), rng.uniform(-bound, bound, n_out)

    def _begin_validation(self, held_out: HeldOut | None) -> None:
        """Start a record of the validation, if there is to be one and is none yet (or the other way round)."""
        if not hasattr(self, "validation_scores_") or (self.validation_scores_ is None) == (held_out is not None):
            self.validation_scores_ = None if held_out is None else []
            self.validation_loss_curve_ = None if held_out is None else []
        if not hasattr(self, "best_loss_") or (self.best_loss_ is None) != self.early_stopping:
            self.best_loss_ = None if self.early_stopping else np.inf
            self.best_validation_score_ = -np.inf if self.early_stopping else None

    # ------------------------------------------------------------------------------------------------- training

    def _fit(self, *args: Any, **options: Any) -> Self:
        """Fit in one thread at a time, others get a RuntimeError; Ctrl-C waits until what is fitted fits together."""
        claim: Claim = self.__dict__.setdefault("_claim", Claim())
        fitted: Self = claim.run(None, type(self)._fit_alone, self, args, options)
        return fitted

    @unchanged_if_refused
    def _fit_alone(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        validation_data: Any = None,
        *,
        incremental: bool = False,
        prepare: Callable[[], None] | None = None,
    ) -> Self:
        """Check everything, in which Ctrl-C need not wait, and train."""
        self._check_solver_suits()
        hidden = self._hidden_sizes()
        first = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        with Allowed():
            if prepare is not None:
                prepare()
            X, y, weights = self._validate_input(X, y, sample_weight, incremental, first)
        self._fit_checked(X, y, weights, hidden, validation_data, first=first, incremental=incremental)
        return self

    def _fit_checked(
        self,
        X: Any,
        y: NDArray[Any],
        weights: NDArray[np.float64] | None,
        hidden: list[int],
        validation_data: Any,
        *,
        first: bool,
        incremental: bool,
    ) -> None:
        layer_sizes = [X.shape[1], *hidden, y.shape[1]]
        self.n_outputs_ = y.shape[1]
        rng = check_random_state(self.random_state)
        if first:
            self._initialize(layer_sizes, X.dtype, rng)
        network = self._synced()
        model = model_of(network)
        if model.drops_out:
            model.rng = generator_from(rng)
        if network.sizes != layer_sizes:
            raise ValueError(f"the layers have the sizes {network.sizes}, but these parameters and data {layer_sizes}.")
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        samples, kept, rest = self._samples(X, y, weights, network), None, None
        if not (self.standardize or incremental):
            warn_of_scale(samples.X, getattr(self, "feature_names_in_", None))
        if validation_data is not None:
            rest = self._validation_samples(validation_data, network)
        elif self.early_stopping and self._stochastic:
            kept, rows = self._split(y, rng)
            rest = samples.rows(rows)
        learn_scale(model.scaling, samples.X, kept, first=first, incremental=incremental)
        held_out = None if rest is None else HeldOut(self, model, model.scaled(rest))
        self._begin_validation(held_out)
        training = (model, model.scaled(samples), kept, held_out, rng, incremental)
        model.claim.run(model, type(self)._train, self, training, {})

    def _train(
        self,
        model: Model,
        samples: Samples,
        kept: NDArray[np.int64] | None,
        held_out: HeldOut | None,
        rng: np.random.RandomState,
        incremental: bool,
    ) -> None:
        """Train by the solver on the rows `kept` (None: all), by a new optimiser unless the present one goes on."""
        if not self._stochastic:
            model.set_optimizer(SGD())
            self._optimizer = model.optimizer
            fit_lbfgs(self, model, samples, held_out)
            return
        if not hasattr(self, "_optimizer") or not (incremental or self.warm_start == "optimizer"):
            model.set_optimizer(optimizer_of(self))
        if self.early_stopping and not hasattr(self, "_best_parameters"):
            self._best_parameters = model.parameters.copy()
        try:
            fit_stochastic(self, model, samples, kept, held_out, rng, incremental=incremental)
        finally:
            self._optimizer = model.optimizer

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
        X, y = self._validated(*data, reset=False, **self._checks())
        return self._samples(X, self._encoded(_one_dimensional(y)), None, network)

    def _checks(self) -> dict[str, Any]:
        """Return how `_validated` checks training data."""
        return {"multi_output": True, "dtype": _FLOATS if self.dtype is None else np.dtype(self.dtype)}

    def _validated(self, X: Any, *y: Any, **options: Any) -> Any:
        """Return X, or X and y, as scikit-learn checks them; X may have NaN or be sparse if that suits `missing`."""
        finite = "allow-nan" if self.missing == "mean" else True
        with np.errstate(all="ignore"):  # the check adds up X, which may overflow
            found = validate_data(self, X, *y, accept_sparse=["csr", "csc"], ensure_all_finite=finite, **options)
        if self._needs_scale and not isinstance(found[0] if y else found, np.ndarray):
            raise ValueError(
                f"{self._needs_scale} does not go with a sparse X, whose zeros it would fill: give X.toarray(), or "
                "leave it out and scale X by sklearn.preprocessing.MaxAbsScaler()."
            )
        return found

    def _validate_input(
        self, X: Any, y: Any, sample_weight: Any, incremental: bool, first: bool
    ) -> tuple[Any, NDArray[Any], NDArray[np.float64] | None]:
        """Return X, the targets (M, n_outputs) and the weights, if there are any."""
        X, y = self._validated(X, y, reset=first, **self._checks())
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

    # ----------------------------------------------------------------------------------------------- prediction

    def _outputs(self, X: Any) -> NDArray[Any]:
        """Return ŷ, (n_samples, n_outputs)."""
        check_is_fitted(self)
        network = self._synced()
        X = self._validated(X, dtype=network.dtype, order="C", reset=False)
        samples = Samples(X if isinstance(X, np.ndarray) else X.tocsr())
        found = [network.predict(part.X, n_threads=self.n_threads) for part, _ in samples.parts()]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _one_output(self, x: ArrayLike) -> NDArray[Any]:
        if not hasattr(self, "coefs_"):
            check_is_fitted(self)
        return self._synced().predict_one(x)


def _one_dimensional(y: NDArray[Any]) -> NDArray[Any]:
    """Return a column (n_samples, 1) as (n_samples,), with scikit-learn's warning, and everything else as it is."""
    return column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y


def generator_from(rng: np.random.RandomState) -> np.random.Generator:
    """Return a generator of the newer kind, seeded by one of scikit-learn's."""
    return np.random.default_rng(rng.randint(np.iinfo(np.int32).max))


def learn_scale(scaling: Scaling, X: Any, kept: NDArray[np.int64] | None, *, first: bool, incremental: bool) -> None:
    """Learn the scale from the rows `kept` (None: all): anew if it is the first call of fit, or on in a stream."""
    if not scaling.needed:
        return
    if first:
        scaling.set_state({name: np.zeros_like(array) for name, array in scaling.state().items()})
    if incremental or not scaling.count.any():
        scaling.learn(X if kept is None else X[kept], need_all=not incremental)
