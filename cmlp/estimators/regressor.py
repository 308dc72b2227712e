"""`MLPRegressor`, in place of the one in `sklearn.neural_network`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if

from cmlp.estimators.base import Estimator
from cmlp.estimators.parameters import documented
from cmlp.estimators.rules import r2
from cmlp.losses import Huber, Loss, Quantile

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from cmlp.data.samples import Samples
    from cmlp.network import Network
    from cmlp.optimizers import Optimizer


@documented
class MLPRegressor(RegressorMixin, Estimator):  # type: ignore[misc]
    """A multilayer perceptron for regression: `sklearn.neural_network.MLPRegressor`, faster and with more to choose.

    Parameters, attributes, warnings and random numbers are those of scikit-learn's class: with the same data,
    parameters and `random_state`, weights and loss curves are the same but for rounding. Those behind
    `max_fun` are cmlp's own.

    Parameters
    ----------
    loss : str, cmlp.losses.Huber or cmlp.losses.Quantile, default "squared_error"
        scikit-learn's "squared_error" and "poisson" (with the exponential as output activation, y >= 0), and
        "absolute_error", "huber", "quantile". As in scikit-learn, `loss_` is the mean over several outputs for
        squared_error, and the sum for the others; gradients are those of the sum.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.linspace(-1, 1, 100)[:, None]
    >>> model = MLPRegressor(hidden_layer_sizes=[30], activation="tanh", solver="lbfgs", random_state=0)
    >>> model = model.fit(X, X[:, 0] ** 2)
    >>> bool(model.score(X, X[:, 0] ** 2) > 0.99)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **Estimator._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson", "absolute_error", "huber", "quantile"}), Huber, Quantile],
    }

    def __init__(
        self,
        loss: str | Huber | Quantile = "squared_error",
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str | Sequence[str] = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool | str = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        optimizer: Optimizer | None = None,
        dropout: float | Sequence[float] = 0.0,
        l1: float = 0.0,
        max_norm: float | None = None,
        clip_delta: float | None = None,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        callbacks: Iterable[Callable[[Any], object]] = (),
        n_threads: int | str = 1,
        dtype: Any = None,
        init: str | None = None,
        standardize: bool = False,
        missing: str = "error",
    ) -> None:
        self.__dict__.update({name: value for name, value in locals().items() if name not in ("self", "__class__")})

    def _loss_scale(self) -> float:
        return 1 / self.n_outputs_ if self.loss == "squared_error" else 1.0  # a mean over the outputs, in the record

    def _out_activation(self) -> str:
        return "exp" if self.loss == "poisson" else "identity"

    def _core_loss(self) -> str | Loss:
        return self.loss  # type: ignore[no-any-return]

    def _core_targets(self, y: NDArray[Any], network: Network) -> NDArray[Any]:
        if self.loss == "poisson" and (y < 0).any():
            raise ValueError(f"loss='poisson' needs y >= 0, got {y.min()}.")
        return y.astype(network.dtype)

    def _validation_score(self, samples: Samples, outputs: NDArray[Any]) -> float:
        assert samples.Y is not None
        return r2(samples.Y, outputs, samples.weights)

    def _checks(self) -> dict[str, Any]:
        return {**super()._checks(), "y_numeric": True}

    def _targets(self, y: NDArray[Any], incremental: bool, first: bool) -> NDArray[Any]:
        return self._encoded(y)

    def _encoded(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return y as (M, n_outputs)."""
        return y.reshape(-1, 1) if y.ndim == 1 else y

    def _weighted(self, y: NDArray[Any], weights: Any, incremental: bool) -> NDArray[np.float64] | None:
        return weights  # type: ignore[no-any-return]

    @available_if(lambda self: self._check_solver())  # type: ignore[untyped-decorator]
    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Train for one epoch on X, y, going on from where it is.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        self

        Examples
        --------
        >>> MLPRegressor(random_state=0).partial_fit([[0.0], [1.0]], [0.0, 1.0]).n_iter_
        1
        """
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the value of every row.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)

        Examples
        --------
        >>> model = MLPRegressor(solver="lbfgs", random_state=0).fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
        >>> model.predict([[1.0]]).round(1)
        array([3.])
        """
        outputs: NDArray[Any] = self._outputs(X)
        return outputs.ravel() if self.n_outputs_ == 1 else outputs

    def predict_one(self, x: ArrayLike) -> Any:
        """Return the value of one sample, in a few microseconds.

        Parameters
        ----------
        x : array-like of shape (n_features,)

        Returns
        -------
        float or, for several outputs, ndarray of shape (n_outputs,)

        Examples
        --------
        >>> model = MLPRegressor(solver="lbfgs", random_state=0).fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
        >>> round(model.predict_one([1.0]), 1)
        3.0
        """
        output = self._one_output(x)
        return float(output[0]) if self.n_outputs_ == 1 else output
