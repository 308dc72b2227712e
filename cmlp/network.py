"""Networks: the face over a model, with everything that users can ask of it."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np

from cmlp import training
from cmlp._base import archive
from cmlp._base.checks import check_name, finite_array, numeric_array, shown
from cmlp._base.hints import named_arguments, nearest
from cmlp._core import embed
from cmlp._engine.model import Gradients, Model, Scores
from cmlp._engine.stored import header_of
from cmlp._engine.update import REDUCTIONS
from cmlp.data.arrays import check_weights
from cmlp.layers import Chain, Dense, Dropout, Layer, layer_from_config, layer_to_config
from cmlp.losses import CLASSIFYING, Loss, loss_from_config, loss_to_config
from cmlp.optimizers import Optimizer, as_optimizer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike
    from typing import BinaryIO

    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from cmlp.schedules import Schedule

__all__ = ["Gradients", "Network", "Scores"]

_KINDS: dict[str, type[Network]] = {}  # Network and what the package derives from it, by the name in files

# What cannot be set, and what to do instead.
_FIXED = {
    "layers": "make a new network of other layers",
    "loss": "make a new network with loss=..., and copy what was learnt: new.weights = net.weights",
    "dtype": "make a new network with dtype=..., and copy what was learnt: new.weights = net.weights",
    "n_inputs": "make a new network",
    "sizes": "make a new network",
    "n_outputs": "make a new network",
    "n_parameters": "it follows from the layers",
    "standardize": "make a new network with standardize=...",
    "missing": "make a new network with missing=...",
    "input_mean": "it is learnt from the samples",
    "input_scale": "it is learnt from the samples",
    "n_steps": "training counts it; net.optimizer = ... starts anew",
    "n_epochs": "training counts it; net.optimizer = ... starts anew",
}


class Views(tuple[Any, ...]):
    """Live views of a network's parameters; the arrays can be written to, the tuple cannot."""

    def __setitem__(self, k: SupportsIndex, value: object) -> None:
        """Let `net.weights[0] *= 2` write to the array itself; say how to write anything else."""
        if value is self[k]:
            return
        name = "weights" if any(array is not None and array.ndim == 2 for array in self) else "biases"
        raise TypeError(f"write into the array, net.{name}[{k}][...] = values, or set all of them, net.{name} = arrays")


class Network:
    """A network of any composition of layers.

    Parameters
    ----------
    layers : Layer
        What it computes: `chain`, `concatenate`, `add`, `Dense`, ... (see `cmlp.layers`).
    n_inputs : int
        n, the number of input features.
    loss : str or Loss, default "squared_error"
        ℓ, a name of `cmlp.losses` or, with a parameter, such as `cmlp.losses.Huber(2.0)`; any loss may meet any output
        activation.
    optimizer : Optimizer or str, optional
        Default `SGD(0.01)`; a name stands for an optimiser with its defaults, see `cmlp.optimizers`.
    dtype : {"float32", "float64"}, default "float32"
        Of parameters and computation.
    seed : int, numpy.random.Generator or None, default None
        For the initial weights, the order of samples and dropout; None takes fresh entropy.
    standardize : bool, default False
        Whether the layers get (x - μ) / σ in place of x, with mean μ and standard deviation σ of every input (1 for
        a constant one) learnt from the training samples, weighted equally: the first call of `fit` takes those that it
        trains on, and later ones leave the scale as it is; `partial_fit` and `learn_one` first bring it up to date with
        every sample that they see. The weights stay as they are when the scale moves under them, by ever less.
    missing : {"error", "mean"}, default "error"
        Whether NaN in X is an error, or stands for μ. An input that `fit` finds without any number is an error; a
        stream takes 0 for its mean until there is one.

    Attributes
    ----------
    weights, biases : tuple of ndarray
        Live views of W_k (n_in, n_out) and b_k (n_out,), or None without bias, k from 0 in the order of the dense
        layers: writing to them changes the network. `net.weights = arrays` checks arrays and copies them in.
    optimizer : Optimizer
        What training goes on with. Setting it, or `fit(..., optimizer=...)`, starts a new one.
    learning_rate : float or Schedule
        Of the optimiser. Setting it keeps moments and counters.
    layers, n_inputs, n_outputs, loss, dtype, standardize, missing
        What the network was made from; they stay as they are.
    n_steps, n_epochs : int
        Update steps and epochs made with the present optimiser.
    metadata : dict
        Anything JSON can hold; saved with the network.

    Raises
    ------
    TypeError, ValueError
        If the layers do not fit each other or a parameter is out of its range.

    Examples
    --------
    >>> import cmlp
    >>> residual = cmlp.add(cmlp.Identity(), cmlp.chain(cmlp.Dense(8, "relu"), cmlp.Dense(4)))
    >>> net = cmlp.Network(cmlp.chain(residual, cmlp.Dense(1)), n_inputs=4, seed=0)
    >>> [W.shape for W in net.weights]
    [(4, 8), (8, 4), (4, 1)]
    """

    @named_arguments
    def __init__(
        self,
        layers: Layer,
        n_inputs: int,
        *,
        loss: str | Loss = "squared_error",
        optimizer: Optimizer | str | None = None,
        dtype: DTypeLike = "float32",
        seed: int | np.random.Generator | None = None,
        standardize: bool = False,
        missing: str = "error",
    ) -> None:
        model = Model(
            layers,
            n_inputs,
            loss=loss,
            optimizer=optimizer,
            dtype=dtype,
            seed=seed,
            standardize=standardize,
            missing=missing,
        )
        model.initialise()
        self._attach(model)
        self.metadata: dict[str, Any] = {}

    def __init_subclass__(cls) -> None:
        """Let files name the kinds of networks of this package; users' subclasses are saved as these."""
        if cls.__module__.startswith("cmlp."):
            _KINDS[cls.__name__] = cls

    def _attach(self, model: Model) -> None:
        """Become the face of a model."""
        self._model = model
        self._one_row = model.one_row  # for predict_one and learn_one, which count every nanosecond
        self._weights, self._biases = Views(model.weights), Views(model.biases)

    def __setattr__(self, name: str, value: object) -> None:
        """Set what can be set; a network takes no attribute that would have no effect."""
        described = getattr(type(self), name, None)
        if name in _FIXED:
            raise AttributeError(f"{name} of a network cannot be set: {_FIXED[name]}")
        own = name.startswith("_") or name == "metadata" or isinstance(described, property)
        if not own and type(self) in _KINDS.values():  # subclasses may have attributes of their own
            known = ["biases", "learning_rate", "metadata", "optimizer", "weights"]
            raise AttributeError(f"a network has no {name} to be set{nearest(name, known)}; known: {', '.join(known)}")
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        """Delete what a user's subclass has of its own, nothing else."""
        if name.startswith("_") or name == "metadata" or hasattr(type(self), name):
            raise AttributeError(f"{name} of a network cannot be deleted")
        if name not in vars(self):
            raise AttributeError(f"a network has no {name} to be deleted")
        super().__delattr__(name)

    # ------------------------------------------------------------------------------------------- parameters

    @property
    def weights(self) -> tuple[NDArray[Any], ...]:
        """Live views of W_k (n_in, n_out). Setting them copies arrays in."""
        return self._weights

    @weights.setter
    @training.alone
    def weights(self, arrays: Sequence[ArrayLike]) -> None:
        self._copy_in("weights", self._weights, arrays)

    @property
    def biases(self) -> tuple[NDArray[Any] | None, ...]:
        """Live views of b_k (n_out,), None for a layer without. Setting them copies arrays in."""
        return self._biases

    @biases.setter
    @training.alone
    def biases(self, arrays: Sequence[ArrayLike | None]) -> None:
        self._copy_in("biases", self._biases, arrays)

    def _copy_in(self, name: str, views: tuple[NDArray[Any] | None, ...], arrays: Sequence[ArrayLike | None]) -> None:
        """Check all arrays, then copy them to the views."""
        listed = isinstance(arrays, (list, tuple)) or (isinstance(arrays, np.ndarray) and arrays.ndim > 0)
        if not listed or len(arrays) != len(views):
            raise ValueError(f"{name} must be {len(views)} arrays, one per dense layer, not {shown(arrays)}")
        checked = []
        for k, (view, given) in enumerate(zip(views, arrays, strict=True)):
            if (view is None) != (given is None):
                raise ValueError(f"{name}[{k}] must be {'None: the layer has none' if view is None else 'an array'}")
            array = np.zeros(0) if view is None or given is None else numeric_array(given, f"{name}[{k}]")
            if view is not None and array.shape != view.shape:
                raise ValueError(f"{name}[{k}] has shape {array.shape}, expected {view.shape}")
            checked.append(finite_array(array, self.dtype, f"{name}[{k}]").copy())
        parts = self._model.views(self._model.trained)  # of an average, what the steps change: they go on from there
        for targets in (views, parts[0] if name == "weights" else parts[1]):
            for view, array in zip(targets, checked, strict=True):
                if view is not None:
                    view[...] = array

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases.

        Examples
        --------
        >>> import cmlp
        >>> cmlp.MLP([2, 3, 1]).n_parameters
        13
        """
        return self._model.n_parameters

    @property
    def layers(self) -> Layer:
        """What the network computes."""
        return self._model.layers

    @property
    def n_inputs(self) -> int:
        """Number of input features, n."""
        return self._model.n_inputs

    @property
    def n_outputs(self) -> int:
        """Number of outputs, n_N."""
        return self._model.n_outputs

    @property
    def loss(self) -> str | Loss:
        """ℓ, as it was given."""
        return self._model.loss

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of parameters and computation."""
        return self._model.dtype

    @property
    def n_steps(self) -> int:
        """Update steps made with the present optimiser."""
        return self._model.n_steps

    @property
    def n_epochs(self) -> int:
        """Epochs made with the present optimiser."""
        return self._model.n_epochs

    @property
    def standardize(self) -> bool:
        """Whether inputs are standardised."""
        return self._model.scaling.standardize

    @property
    def missing(self) -> str:
        """What becomes of NaN in X, "error" or "mean"."""
        return self._model.scaling.missing

    @property
    def input_mean(self) -> NDArray[np.float64] | None:
        """μ (n_inputs,), as far as it has been learnt; a copy. None without `standardize` and `missing="mean"`.

        Examples
        --------
        >>> import cmlp
        >>> net = cmlp.MLP([2, 1], standardize=True).partial_fit([[1, 5], [3, 5]], [0, 0])
        >>> net.input_mean, net.input_scale
        (array([2., 5.]), array([1., 1.]))
        """
        scaling = self._model.scaling
        return scaling.mean.copy() if scaling.needed else None

    @property
    def input_scale(self) -> NDArray[np.float64] | None:
        """σ (n_inputs,), as far as it has been learnt; 1 for a constant input. None without `standardize`."""
        return self._model.scaling.deviation() if self.standardize else None

    @property
    def optimizer(self) -> Optimizer:
        """The optimiser that training goes on with. Setting it, or `fit(..., optimizer=...)`, starts a new one."""
        return self._model.optimizer

    @optimizer.setter
    @training.alone
    def optimizer(self, optimizer: Optimizer | str) -> None:
        if optimizer is None:
            raise TypeError("optimizer must be an optimiser such as cmlp.SGD(0.01), or a name, not None")
        self._model.set_optimizer(as_optimizer(optimizer))

    @property
    def learning_rate(self) -> float | Schedule:
        """The optimiser's learning rate. Setting it keeps moments and counters.

        Examples
        --------
        >>> import cmlp
        >>> net = cmlp.MLP([1, 1], optimizer=cmlp.Adam(0.1), seed=0).partial_fit([[1]], [2])
        >>> net.learning_rate = 0.01
        >>> net.optimizer.learning_rate, net.n_steps
        (0.01, 1)
        """
        rate: float | Schedule | None = getattr(self.optimizer, "learning_rate", None)
        if rate is None:
            raise AttributeError(f"{type(self.optimizer).__name__} has no learning rate")
        return rate

    @learning_rate.setter
    @training.alone
    def learning_rate(self, rate: Any) -> None:
        self._model.set_learning_rate(rate)

    # --------------------------------------------------------------------------------------------- training

    fit = training.fit
    partial_fit = training.partial_fit
    learn_one = training.learn_one

    # ------------------------------------------------------------------------------------------- prediction

    def predict(self, X: ArrayLike, *, n_threads: int | str = 1) -> NDArray[Any]:
        """Return the outputs ŷ.

        Any number of threads may predict with one network, also while another thread trains it: then they see its
        weights on the move.

        Parameters
        ----------
        X : array-like, shape (M, n_inputs)
        n_threads : int or "auto", default 1
            Threads among which the rows are divided; "auto": all processors if there is enough to do. The numbers do
            not depend on it.

        Returns
        -------
        ndarray, shape (M, n_outputs)

        Examples
        --------
        >>> import cmlp
        >>> net = cmlp.MLP([2, 1], init=[[[20], [20]]], bias_init=[[-30]], loss="binary_cross_entropy")
        >>> net.predict([[0, 0], [0, 1], [1, 0], [1, 1]]).round(3).ravel()
        array([0., 0., 0., 1.], dtype=float32)
        """
        return self._model.predict(self._model.inputs(X), n_threads)

    def predict_one(self, x: ArrayLike) -> NDArray[Any]:
        """Return the outputs ŷ for one sample.

        Parameters
        ----------
        x : array-like, shape (n_inputs,)

        Returns
        -------
        ndarray, shape (n_outputs,)

        Examples
        --------
        >>> import cmlp
        >>> cmlp.MLP([2, 1], init="zeros", bias_init="zeros").predict_one([1, 2])
        array([0.], dtype=float32)
        """
        fast = self._one_row.predict(x)
        return fast if fast is not None else self._model.predict(self._model.row(x))[0]

    def predict_class(self, X: ArrayLike) -> NDArray[np.int64]:
        """Return class indices: arg max over the outputs, or ŷ > ½ (hinge: ŷ > 0) for a single output.

        Parameters
        ----------
        X : array-like, shape (M, n_inputs)

        Returns
        -------
        ndarray of int64, shape (M,)

        Raises
        ------
        ValueError
            If the network's loss is one of values, such as squared_error: its outputs are no classes.

        Examples
        --------
        >>> import cmlp
        >>> net = cmlp.MLP([2, 1], init=[[[20], [20]]], bias_init=[[-30]], loss="binary_cross_entropy")
        >>> net.predict_class([[0, 1], [1, 1]])
        array([0, 1])
        """
        if self._model.loss_name not in CLASSIFYING:
            raise ValueError(f"a network with loss={self.loss!r} predicts values, not classes: use predict(X)")
        outputs, border = self.predict(X), 0.0 if self._model.loss_name == "hinge" else 0.5
        return np.asarray(outputs[:, 0] > border if self.n_outputs == 1 else outputs.argmax(axis=1), np.int64)

    def evaluate(self, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Scores:
        """Return the mean loss, and the accuracy of a classifier.

        Parameters
        ----------
        X : array-like, shape (M, n_inputs)
        y : array-like
            Targets as in `fit`.
        sample_weight : array-like, shape (M,), optional
            Weights of the samples in both means.

        Returns
        -------
        Scores
            `.loss` and `.accuracy` (None for a loss of values, such as squared_error).

        Examples
        --------
        >>> import cmlp
        >>> cmlp.MLP([2, 1], init="zeros", bias_init="zeros").evaluate([[1, 2]], [3])
        Scores(loss=4.5, accuracy=None)
        """
        model = self._model
        return model.evaluate(model.scaled(model.check_samples(X, y, sample_weight)))

    # ------------------------------------------------------------------------------------------ inside views

    def forward(self, x: ArrayLike) -> list[NDArray[Any]]:
        """Return every activation on the way from x to ŷ.

        Parameters
        ----------
        x : array-like, shape (n_inputs,) or (M, n_inputs)

        Returns
        -------
        list of ndarray, shape (n_k,) or (M, n_k)
            a_0 = x (on the scale that the layers see), a_1, ..., a_N = ŷ. For compositions: the output of each
            operation, in the order in which they run, but for dropout, which does nothing here.

        Examples
        --------
        >>> import cmlp
        >>> net = cmlp.MLP([2, 2, 1], init=[[[1, 0], [0, 1]], [[1], [1]]], bias_init="zeros")
        >>> [a.tolist() for a in net.forward([3, -2])]
        [[3.0, -2.0], [3.0, 0.0], [3.0]]
        """
        single = numeric_array(x, "x").ndim == 1
        values = self._model.forward(self._model.row(x) if single else self._model.inputs(x, "x"))
        return [a[0] for a in values] if single else values

    def gradients(
        self, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None, reduction: str = "mean"
    ) -> Gradients:
        """Return the gradient of the loss, with every z, a and δ that it was made of.

        Nothing is clipped, and nothing is dropped out. With `standardize` it is the gradient for standardised inputs.

        Parameters
        ----------
        X : array-like, shape (M, n_inputs) or (n_inputs,)
        y : array-like
            Targets as in `fit`; of one sample (n_inputs,) as in `learn_one`.
        sample_weight : array-like, shape (M,), optional
            s_c, multiplies ℓ of sample c.
        reduction : {"mean", "sum"}, default "mean"
            E = (1/M) Σ s_c ℓ_c or E = Σ s_c ℓ_c.

        Returns
        -------
        Gradients

        Examples
        --------
        >>> import cmlp
        >>> net = cmlp.MLP([1, 1], init=[[[2]]], bias_init=[[0]])
        >>> g = net.gradients([[3]], [5])
        >>> g.loss, g.deltas[0].item(), g.weights[0].item()  # ŷ - y = 1; ∂ℓ/∂W = x δ
        (0.5, 1.0, 3.0)
        """
        model, single = self._model, numeric_array(X, "X").ndim == 1
        if single:
            samples = model.check_sample(X, y)
            samples.weights = None if sample_weight is None else check_weights(np.reshape(sample_weight, -1), 1)
        else:
            samples = model.check_samples(X, y, sample_weight)
        mean = check_name(reduction, REDUCTIONS, "reduction") == "mean"
        return model.gradients(model.scaled(samples), 1 / len(samples) if mean else 1.0, single=single)

    # ------------------------------------------------------------------------------------- saving and copying

    def save(self, path: str | PathLike[str] | BinaryIO) -> None:
        """Save the network to one file, atomically; `cmlp.load` reads it, and goes on identically.

        Parameters
        ----------
        path : path-like or binary file object
            A file object is written to as it is. The random generator is saved if it is PCG64, which a seed gives, or
            PCG64DXSM; a network with another one gets a fresh one when it is loaded.

        Raises
        ------
        RuntimeError
            If another thread trains or changes the network at that moment; so it is with pickles and copies.

        Examples
        --------
        >>> import pathlib, tempfile, cmlp
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "net.cmlp"
        ...     cmlp.MLP([2, 1], seed=0).save(path)
        ...     cmlp.load(path)
        MLP([2, 1], loss='squared_error')
        """
        archive.write(path, *self._model.claim.read(self._model, self._stored))

    def _stored(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return the header and copies of the arrays that make a file: of one moment, however long writing takes."""
        return header_of(self._model, self.config(), self.metadata), self._model.copies()

    def capsule(self) -> Any:
        """Return a capsule through which other compiled code predicts and learns with no Python in the call.

        It holds a `cmlp_network *`, declared in `cmlp.h` (in the folder `cmlp.get_include()`), which works on this
        network's live parameters, does plain SGD without dropout, and needs no GIL. One capsule is for one thread at a
        time. It takes finite x; with `standardize` it uses the live scale, but does not learn it.

        Returns
        -------
        capsule
            Named "cmlp.network"; the pointer in it is valid as long as the capsule lives.

        Examples
        --------
        >>> import cmlp
        >>> type(cmlp.MLP([2, 1]).capsule()).__name__
        'PyCapsule'
        """
        model = self._model
        return embed(model.program, model.parameters, model.workspace(1), model.scaling.arrays)

    def config(self) -> dict[str, Any]:
        """Return the architecture as a dict of JSON values.

        Examples
        --------
        >>> import cmlp
        >>> cmlp.MLP([2, 1]).config()["n_inputs"]
        2
        """
        return {
            "kind": next(kind.__name__ for kind in type(self).__mro__ if kind in _KINDS.values()),
            "layers": layer_to_config(self.layers),
            "n_inputs": self.n_inputs,
            "loss": loss_to_config(self.loss),
            "dtype": self.dtype.name,
            **({"standardize": True} if self.standardize else {}),
            **({"missing": self.missing} if self.missing != "error" else {}),
        }

    @staticmethod
    def from_config(config: dict[str, Any]) -> Network:
        """Make a network of the architecture that `config` described, with fresh weights.

        Raises
        ------
        ValueError
            If anything about `config` is malformed.

        Examples
        --------
        >>> import cmlp
        >>> cmlp.Network.from_config(cmlp.MLP([2, 1]).config())
        MLP([2, 1], loss='squared_error')
        """
        fields = dict(config) if isinstance(config, dict) else {}
        kind = _KINDS.get(str(fields.pop("kind", None)))
        wanted = {"layers", "n_inputs", "loss", "dtype"}
        if kind is None or not wanted <= set(fields) <= wanted | {"standardize", "missing"}:
            raise ValueError(f"malformed network {shown(config)}: expected what Network.config() returns")
        layers, fields["loss"] = layer_from_config(fields.pop("layers")), loss_from_config(fields["loss"])
        plain = isinstance(layers, Chain) and all(isinstance(layer, (Dense, Dropout)) for layer in layers.layers)
        if kind is not Network and not plain:
            raise ValueError(f"malformed network {shown(config)}: an MLP is a chain of dense layers")
        network = kind.__new__(kind)
        try:
            Network.__init__(network, layers, **fields)
        except TypeError as error:
            raise ValueError(f"malformed network {shown(config)}: {error}") from error
        return network

    def __copy__(self) -> Network:
        """Return a network of its own: copies never share parameters."""
        return deepcopy(self)

    def __getstate__(self) -> dict[str, Any]:
        """Return the model and whatever attributes there are besides, for pickle and copy."""
        made = {"_one_row", "_weights", "_biases"}
        return {name: value for name, value in vars(self).items() if name not in made}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what `__getstate__` returned."""
        self._attach(state["_model"])
        self.__dict__.update(state)

    def __repr__(self) -> str:
        """Show the composition."""
        return f"Network({self.layers!r}, n_inputs={self.n_inputs}, loss={self.loss!r})"


_KINDS["Network"] = Network


def model_of(network: Network) -> Model:
    """Return the model behind a network, for the package's own modules."""
    return network._model
