"""`MLPClassifier`, in place of the one in `sklearn.neural_network`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import compute_sample_weight
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels

from cmlp.estimators.base import Estimator
from cmlp.estimators.parameters import documented
from cmlp.losses import CrossEntropy, Loss

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from cmlp.data.samples import Samples
    from cmlp.network import Network
    from cmlp.optimizers import Optimizer


@documented
class MLPClassifier(ClassifierMixin, Estimator):  # type: ignore[misc]
    """A multilayer perceptron that classifies: `sklearn.neural_network.MLPClassifier`, faster and with more to choose.

    Parameters, attributes, warnings and random numbers are those of scikit-learn's class: with the same data,
    parameters and `random_state`, weights and loss curves are the same but for rounding. Those behind
    `max_fun` are cmlp's own.

    Parameters
    ----------
    loss : {"log_loss", "squared_error", "hinge"} or cmlp.losses.CrossEntropy, default "log_loss"
        Cross-entropy, ½ Σ (y - ŷ)² of the probabilities (half the Brier score), or the hinge loss, whose outputs are no
        probabilities: `decision_function` gives them. `CrossEntropy(label_smoothing)` is log_loss with ε / n added to
        (1 - ε) times the indicator of each of n classes; for several labels, n is 2 for each.
    class_weight : dict, list of dict, "balanced" or None, default None
        Weights of the classes, multiplied with `sample_weight`; "balanced": n_samples / (n_classes · count).

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes, or the indices of the labels.

    Examples
    --------
    >>> import cmlp
    >>> X, y = cmlp.datasets.load_digits()
    >>> model = MLPClassifier([32], tol=0.01, random_state=0).fit(X / 16, y)
    >>> bool(model.score(X / 16, y) > 0.95)
    True
    >>> bool(model.predict_one(X[0] / 16) == model.predict(X[:1] / 16)[0])
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **Estimator._parameter_constraints,
        "loss": [StrOptions({"log_loss", "squared_error", "hinge"}), CrossEntropy],
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
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
        loss: str | CrossEntropy = "log_loss",
        class_weight: Mapping[Any, float] | list[Mapping[Any, float]] | str | None = None,
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
        return 1.0

    @property
    def _multiclass(self) -> bool:
        return bool(self._label_binarizer.y_type_ == "multiclass")

    @property
    def _threshold(self) -> float:
        return 0.0 if self.loss == "hinge" else 0.5

    def _out_activation(self) -> str:
        if self.loss == "hinge":
            return "identity"
        return "softmax" if self._multiclass else "logistic"

    def _core_loss(self) -> str | Loss:
        if not self._multiclass and isinstance(self.loss, CrossEntropy):
            return "binary_cross_entropy"  # `_core_targets` smooths
        if self.loss != "log_loss":
            return self.loss  # type: ignore[no-any-return]
        return "cross_entropy" if self._multiclass else "binary_cross_entropy"

    def _core_targets(self, y: NDArray[Any], network: Network) -> NDArray[Any]:
        """Return class indices, or numbers: -1 and 1 for hinge, else 0 and 1, or ε/2 and 1 - ε/2 with smoothing."""
        if self._multiclass and network.loss != "squared_error":
            return y.argmax(axis=1).astype(np.int64)  # type: ignore[no-any-return]
        if self.loss == "hinge":
            return np.where(y, 1.0, -1.0)
        rest = self.loss.label_smoothing / 2 if isinstance(self.loss, CrossEntropy) else 0.0
        return np.where(y, 1.0 - rest, rest)

    def _validation_score(self, samples: Samples, outputs: NDArray[Any]) -> float:
        """Return the accuracy; of several labels all must be right."""
        y: Any = samples.labels if samples.labels is not None else samples.Y
        if self._multiclass:
            right = outputs.argmax(axis=1) == (y if y.ndim == 1 else y.argmax(axis=1))
        else:
            right = ((outputs > self._threshold) == (y > self._threshold)).all(axis=1)
        return float(np.average(right, weights=samples.weights))

    def _targets(self, y: NDArray[Any], incremental: bool, first: bool) -> NDArray[Any]:
        """Return y of the training samples as booleans (M, n_outputs), and learn the classes if that is due."""
        if not hasattr(self, "classes_") or (first and not incremental):
            self._label_binarizer = fitted_binarizer(y)
            self.classes_ = self._label_binarizer.classes_
            return self._indicators(y)
        if self.warm_start and set(classes := unique_labels(y)) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. Previously "
                f"got {self.classes_}, `y` has {classes}"
            )
        return self._encoded(y)

    def _encoded(self, y: NDArray[Any]) -> NDArray[np.bool_]:
        """Return y as booleans (M, n_outputs), if it has none but known classes."""
        classes = unique_labels(y)
        if len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {classes}."
            )
        return self._indicators(y)

    def _indicators(self, y: NDArray[Any]) -> NDArray[np.bool_]:
        """Return one column per class or label, or one for two classes; faster than the binarizer's `transform`."""
        if y.ndim != 1 or self._label_binarizer.y_type_.startswith("multilabel"):
            return self._label_binarizer.transform(y).astype(bool)  # type: ignore[no-any-return]
        indices = np.searchsorted(self.classes_, y)[:, None]
        return indices == (np.arange(len(self.classes_)) if self._multiclass else 1)  # type: ignore[no-any-return]

    def _weighted(self, y: NDArray[Any], weights: Any, incremental: bool) -> NDArray[np.float64] | None:
        """Return sample weight times class weight."""
        if self.class_weight is None:
            return weights  # type: ignore[no-any-return]
        if incremental and isinstance(self.class_weight, str):
            raise ValueError(
                "class_weight='balanced' needs all of y, which partial_fit does not see: give it as a dict."
            )
        of_class = compute_sample_weight(self.class_weight, y)
        return of_class if weights is None else weights * of_class  # type: ignore[no-any-return]

    @available_if(lambda self: self._check_solver())  # type: ignore[untyped-decorator]
    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(
        self, X: Any, y: Any, sample_weight: ArrayLike | None = None, classes: ArrayLike | None = None
    ) -> Self:
        """Train for one epoch on X, y, going on from where it is.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
        sample_weight : array-like of shape (n_samples,), optional
        classes : array of shape (n_classes,), optional
            All classes that will come; needed at the first call.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `classes` is missing at the first call, or changes, or if y has others.

        Examples
        --------
        >>> model = MLPClassifier(random_state=0).partial_fit([[0.0], [1.0]], ["no", "yes"], classes=["no", "yes"])
        >>> model.n_iter_
        1
        """
        if not _check_partial_fit_first_call(self, classes):
            return self._fit(X, y, sample_weight, incremental=True)
        try:
            labels = y if type_of_target(y).startswith("multilabel") else classes
            self._label_binarizer = LabelBinarizer().fit(labels)
            return self._fit(X, y, sample_weight, incremental=True)
        except BaseException:
            if not hasattr(self, "coefs_"):  # refused: the next call is the first
                del self.classes_
                self.__dict__.pop("_label_binarizer", None)
            raise

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class of every row.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or, for several labels, (n_samples, n_labels)

        Examples
        --------
        >>> model = MLPClassifier(solver="lbfgs", random_state=0).fit([[0], [1], [2], [3]], ["no", "no", "yes", "yes"])
        >>> model.predict([[0], [3]]).tolist()
        ['no', 'yes']
        """
        outputs = self._outputs(X)
        outputs = outputs.ravel() if self.n_outputs_ == 1 else outputs
        return self._label_binarizer.inverse_transform(outputs, self._threshold)  # type: ignore[no-any-return]

    @available_if(lambda self: self.loss == "hinge")  # type: ignore[untyped-decorator]
    def decision_function(self, X: Any) -> NDArray[Any]:
        """Return the outputs of a network with the hinge loss.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) for two classes, else (n_samples, n_classes)

        Examples
        --------
        >>> model = MLPClassifier(loss="hinge", solver="lbfgs", random_state=0).fit([[0], [1], [2], [3]], [0, 0, 1, 1])
        >>> (model.decision_function([[0], [3]]) > 0).tolist()
        [False, True]
        """
        outputs: NDArray[Any] = self._outputs(X)
        return outputs.ravel() if self.n_outputs_ == 1 else outputs

    @available_if(lambda self: self.loss != "hinge")  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Return the probability of every class.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Columns in the order of `classes_`.

        Examples
        --------
        >>> model = MLPClassifier(solver="lbfgs", random_state=0).fit([[0], [1], [2], [3]], [0, 0, 1, 1])
        >>> model.predict_proba([[0], [3]]).round(1)
        array([[1., 0.],
               [0., 1.]])
        """
        outputs: NDArray[Any] = self._outputs(X)
        return outputs if self.n_outputs_ > 1 else np.hstack([1 - outputs, outputs])

    @available_if(lambda self: self.loss != "hinge")  # type: ignore[untyped-decorator]
    def predict_log_proba(self, X: Any) -> NDArray[Any]:
        """Return log(predict_proba(X)).

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)

        Examples
        --------
        >>> model = MLPClassifier(solver="lbfgs", random_state=0).fit([[0], [1], [2], [3]], [0, 0, 1, 1])
        >>> model.predict_log_proba([[0]]).shape
        (1, 2)
        """
        probabilities = self.predict_proba(X)
        return np.log(probabilities, out=probabilities)  # type: ignore[no-any-return]

    def predict_one(self, x: ArrayLike) -> Any:
        """Return the class of one sample, in a few microseconds.

        Parameters
        ----------
        x : array-like of shape (n_features,)

        Returns
        -------
        object
            One of `classes_`; for several labels an ndarray of shape (n_labels,).

        Examples
        --------
        >>> model = MLPClassifier(solver="lbfgs", random_state=0).fit([[0], [1], [2], [3]], ["no", "no", "yes", "yes"])
        >>> print(model.predict_one([3]))
        yes
        """
        output = self._one_output(x)
        if self._multiclass:
            return self.classes_[output.argmax()]
        if self._label_binarizer.y_type_.startswith("multilabel"):
            return (output > self._threshold).astype(int)
        return self.classes_[min(int(output[0] > self._threshold), len(self.classes_) - 1)]

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn wants to know about the estimator."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def fitted_binarizer(y: NDArray[Any]) -> LabelBinarizer:
    """Return LabelBinarizer().fit(y), at a fraction of its cost for a vector of integers.

    >>> fitted_binarizer(np.array([3, 1, 3, 2, 1, 2])).classes_
    array([1, 2, 3])
    """
    if y.ndim == 1 and y.dtype.kind in "biu" and y.dtype.isnative:
        classes = np.unique(y)
        if len(classes) <= len(y) / 2:  # else it warns
            binarizer = LabelBinarizer()
            binarizer.y_type_, binarizer.sparse_input_ = "multiclass" if len(classes) > 2 else "binary", False
            binarizer.classes_ = classes
            return binarizer
    return LabelBinarizer().fit(y)
