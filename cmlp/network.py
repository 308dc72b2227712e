"""Networks: parameters in one vector, a compiled program over it, and what can be done with both."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cmlp import training
from cmlp._base.checks import check_count, check_name, finite_array, numeric_array, shown
from cmlp._core import ALIGN, ROWS_AT_ONCE, OneRow, embed
from cmlp._engine.passes import REDUCTIONS, available_processors, check_threads
from cmlp._engine.program import DENSE, Lowering, biases_view, fields_of, weights_view
from cmlp._engine.scaling import Scaling
from cmlp.data.arrays import check_inputs, check_row, check_targets, check_weights
from cmlp.data.samples import Samples
from cmlp.initializers import initial_biases, initial_weights
from cmlp.layers import Chain, Dense, Dropout, Layer, dense_layers, layer_from_config, layer_to_config
from cmlp.losses import CLASSIFYING, Loss, loss_from_config, loss_name, loss_to_config
from cmlp.optimizers import SGD, Optimizer, as_optimizer

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import ArrayLike, DTypeLike, NDArray

_LEAST_FOR_THREADS = 20_000_000  # multiply-adds of a prediction, about 1 ms: less is not worth starting a thread


class Scores(NamedTuple):
    """What `Network.evaluate` returns.

    Attributes
    ----------
    loss : float
        Mean of ℓ over the samples.
    accuracy : float or None
        Share of samples whose class is right; None for a loss of values. The class is the arg max for cross_entropy
        and for classes with hinge; else every output decides, by ŷ > ½ (binary_cross_entropy) or ŷ > 0 (hinge).

    Examples
    --------
    >>> Scores(loss=0.25, accuracy=None).loss
    0.25
    """

    loss: float
    accuracy: float | None


@dataclass(frozen=True)
class Gradients:
    """What `Network.gradients` returns; one entry a dense layer, k from 0.

    Attributes
    ----------
    weights, biases : list of ndarray
        ∂E/∂W_k (n_in, n_out) and ∂E/∂b_k (n_out,), None for a layer without bias.
    deltas : list of ndarray, shape (M, n_out)
        δ_k = ∂ℓ/∂z_k of every sample (times its sample weight).
    net_inputs, activations : list of ndarray, shape (M, n_out)
        z_k and a_k of every sample; for a linear layer that is a branch of `add`, the sum that it adds to.
    loss : float
        E, the mean or the sum of ℓ.

    Examples
    --------
    >>> import cmlp
    >>> net = cmlp.MLP([1, 2, 1], bias=False, init=[[[1, -1]], [[2], [3]]])
    >>> g = net.gradients([[1]], [1])  # z_1 = (1, -1), ŷ = 2, δ_2 = 1
    >>> [z.tolist() for z in g.net_inputs], [d.tolist() for d in g.deltas]
    ([[[1.0, -1.0]], [[2.0]]], [[[2.0, 0.0]], [[1.0]]])
    """

    weights: list[NDArray[Any]]
    biases: list[NDArray[Any] | None]
    deltas: list[NDArray[Any]]
    net_inputs: list[NDArray[Any]]
    activations: list[NDArray[Any]]
    loss: float


def _aligned_zeros(n: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros that start on a cache line, as vector loads like them."""
    memory = np.zeros(n * dtype.itemsize + ALIGN, np.uint8)
    start = -memory.ctypes.data % ALIGN
    return memory[start : start + n * dtype.itemsize].view(dtype)


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
        layers: writing to them changes the network.
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
        if not isinstance(layers, Layer):
            raise TypeError(f"layers must be a layer such as cmlp.chain(...), not {shown(layers)}")
        self._loss_name = loss_name(loss)
        self.layers = layers
        self.n_inputs = check_count(n_inputs, "n_inputs")
        self.n_outputs = layers.output_size(self.n_inputs)
        if self._loss_name == "cross_entropy" and self.n_outputs == 1:
            raise ValueError(
                "cross_entropy needs one output per class, and at least 2: for one output use binary_cross_entropy"
            )
        self.loss = loss
        self.dtype = _float_type(dtype)
        self.metadata: dict[str, Any] = {}
        self._rng = np.random.default_rng(seed)
        self._scaling = Scaling(self.n_inputs, self.dtype, standardize, missing)
        self._program = Lowering(layers, self.n_inputs, loss, self.dtype).program()
        self._operations = fields_of(self._program.operations)
        self._drops_out = any(op["dropout"] for op in self._operations)
        self._parameters = self._new_parameters()
        buffers = self._scaling.buffers if standardize else None
        self._one_row = OneRow(self._program, self._parameters, self._new_workspace(1), buffers)
        self.weights, self.biases = self._views(self._parameters)
        self._set_optimizer(as_optimizer(optimizer))
        self._initialise()

    # ------------------------------------------------------------------------------------------- parameters

    def _new_parameters(self) -> NDArray[Any]:
        """Return a zeroed vector of the parameters' layout."""
        return _aligned_zeros(self._program.n_parameters, self.dtype)

    def _new_workspace(self, rows: int, n_threads: int = 1) -> NDArray[Any]:
        """Return the scratch that one call of the core computes in, for so many samples or as many as go at once."""
        size = self._program.workspace_size(min(rows, n_threads * ROWS_AT_ONCE), n_threads)
        return _aligned_zeros(size, self.dtype)

    def _views(self, parameters: NDArray[Any]) -> tuple[tuple[NDArray[Any], ...], tuple[NDArray[Any] | None, ...]]:
        """Return the weights and biases in a vector of the parameters' layout."""
        dense = [op for op in self._operations if op["kind"] == DENSE]
        return tuple(weights_view(op, parameters) for op in dense), tuple(biases_view(op, parameters) for op in dense)

    def _initialise(self) -> None:
        for layer, W, b in zip(dense_layers(self.layers), self.weights, self.biases, strict=True):
            W[...] = finite_array(initial_weights(layer.init, self._rng, *W.shape), self.dtype, "init")
            if b is not None:
                b[...] = finite_array(initial_biases(layer.bias_init, self._rng, *W.shape), self.dtype, "bias_init")

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases.

        Examples
        --------
        >>> import cmlp
        >>> cmlp.MLP([2, 3, 1]).n_parameters
        13
        """
        return sum(p.size for p in (*self.weights, *self.biases) if p is not None)

    @property
    def standardize(self) -> bool:
        """Whether inputs are standardised."""
        return self._scaling.standardize

    @property
    def missing(self) -> str:
        """What becomes of NaN in X, "error" or "mean"."""
        return self._scaling.missing

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
        return self._scaling.mean.copy() if self._scaling.needed else None

    @property
    def input_scale(self) -> NDArray[np.float64] | None:
        """σ (n_inputs,), as far as it has been learnt; 1 for a constant input. None without `standardize`."""
        return self._scaling.deviation() if self.standardize else None

    @property
    def optimizer(self) -> Optimizer:
        """The optimiser that training goes on with. Setting it, or `fit(..., optimizer=...)`, starts a new one."""
        return self._optimizer

    @optimizer.setter
    def optimizer(self, optimizer: Optimizer | str) -> None:
        self._set_optimizer(as_optimizer(optimizer))

    def _set_optimizer(self, optimizer: Optimizer) -> None:
        """Take an optimiser and start it from the beginning: t = 0, moments 0."""
        self._optimizer = optimizer
        names = (*optimizer.state_names, *(["iterate"] if optimizer.averaging is not None else []))
        self._state = {name: self._new_parameters() for name in names}
        for name, value in optimizer.state_start.items():
            self._state[name][...] = value
        self._memory = optimizer.memory
        self.n_steps = self.n_epochs = 0
        rate = optimizer.learning_rate if isinstance(optimizer, SGD) else None
        plain = isinstance(rate, float) and optimizer == SGD(rate) and not self._drops_out and self.missing == "error"
        self._one_row.rate = rate if plain else math.nan  # type: ignore[assignment]

    def _dropout_seed(self) -> int | None:
        """Return a seed for the masks of one training call, or None if no layer drops anything out."""
        return int(self._rng.integers(2**64, dtype=np.uint64)) if self._drops_out else None

    # --------------------------------------------------------------------------------------------- training

    fit = training.fit
    partial_fit = training.partial_fit
    learn_one = training.learn_one

    # ------------------------------------------------------------------------------------------- prediction

    def predict(self, X: ArrayLike, *, n_threads: int | str = 1) -> NDArray[Any]:
        """Return the outputs ŷ.

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
        X = self._check_inputs(X)
        wanted = check_threads(n_threads)
        if wanted is None:
            wanted = available_processors() if len(X) * self.n_parameters > _LEAST_FOR_THREADS else 1
        threads = min(wanted, -(-len(X) // ROWS_AT_ONCE))
        out = np.empty((len(X), self.n_outputs), self.dtype)
        self._program.predict(self._parameters, X, out, self._new_workspace(len(X), threads), threads)
        return out

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
        if fast is not None:
            return fast
        row = self._check_row(x)
        out = np.empty(self.n_outputs, self.dtype)
        self._program.predict(self._parameters, row[None], out[None], self._new_workspace(1))
        return out

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
        if self._loss_name not in CLASSIFYING:
            raise ValueError(f"a network with loss={self.loss!r} predicts values, not classes: use predict(X)")
        outputs, border = self.predict(X), 0.0 if self._loss_name == "hinge" else 0.5
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
        return self._evaluate(self._scaled(self._check_samples(X, y, sample_weight)))

    def _evaluate(self, samples: Samples) -> Scores:
        loss, correct = self._program.evaluate(self._parameters, samples, self._new_workspace(len(samples.X)))
        total = samples.total_weight()
        return Scores(loss / total, correct / total if self._loss_name in CLASSIFYING else None)

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
        X = self._check_row(x)[None] if single else self._check_inputs(x, "x")
        buffer = np.zeros((len(X), self._program.n_activations), self.dtype)
        self._program.forward(self._parameters, X, buffer)
        shown_operations = (op for op in self._operations if not op["dropout"])
        slices = dict.fromkeys((op["out"], op["n_out"]) for op in shown_operations)  # each once: sums add in place
        values = [X, *(buffer[:, at : at + n].copy() for at, n in slices)]
        return [a[0] for a in values] if single else values

    def gradients(
        self, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None, reduction: str = "mean"
    ) -> Gradients:
        """Return the gradient of the loss, with every z, a and δ that it was made of.

        Nothing is clipped, and nothing is dropped out. With `standardize` it is the gradient for standardised inputs.

        Parameters
        ----------
        X : array-like, shape (M, n_inputs)
        y : array-like
            Targets as in `fit`.
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
        samples = self._scaled(self._check_samples(X, y, sample_weight))
        mean = check_name(reduction, REDUCTIONS, "reduction") == "mean"
        return self._gradients(samples, 1 / len(samples.X) if mean else 1.0)

    def _gradients(self, samples: Samples, scale: float) -> Gradients:
        """Return all about the gradient of scale · Σ s_c ℓ_c."""
        shape = (len(samples.X), self._program.n_activations)
        values, errors = np.zeros(shape, self.dtype), np.zeros(shape, self.dtype)
        gradient, loss = self._gradient(samples, scale, values, errors)
        dense = [op for op in self._operations if op["kind"] == DENSE]
        dW, db = self._views(gradient)
        return Gradients(
            weights=[W.copy() for W in dW],
            biases=[None if b is None else b.copy() for b in db],
            deltas=[errors[:, op["z"] : op["z"] + op["n_out"]].copy() for op in dense],
            net_inputs=[values[:, op["z"] : op["z"] + op["n_out"]].copy() for op in dense],
            activations=[values[:, op["out"] : op["out"] + op["n_out"]].copy() for op in dense],
            loss=loss,
        )

    def _gradient(
        self,
        samples: Samples,
        scale: float,
        values: NDArray[Any] | None = None,
        errors: NDArray[Any] | None = None,
    ) -> tuple[NDArray[Any], float]:
        """Return the flat gradient of scale · Σ s_c ℓ_c and its value; fill values and errors if they are given."""
        gradient = self._new_parameters()
        workspace = self._new_workspace(1)
        loss = self._program.gradients(self._parameters, samples, scale, gradient, workspace, values, errors)
        return gradient, scale * loss

    def _check_samples(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, *, X_later: bool = False
    ) -> Samples:
        """Return checked samples, without a copy of what fits; not yet on the scale that the layers want."""
        X = check_inputs(X, self.n_inputs, self.dtype, allow_nan=self.missing == "mean", checked_later=X_later)
        y = check_targets(y, len(X), self.n_outputs, self.loss, self.dtype)
        weights = check_weights(sample_weight, len(X))
        Y, labels = (None, y) if y.dtype.kind == "i" else (y, None)
        return Samples(X, Y, labels, weights, checked=not X_later)

    def _check_inputs(self, X: ArrayLike, name: str = "X") -> NDArray[Any]:
        """Return checked inputs (M, n) as the layers want them."""
        return self._scaling.apply(check_inputs(X, self.n_inputs, self.dtype, name, allow_nan=self.missing == "mean"))

    def _check_row(self, x: ArrayLike) -> NDArray[Any]:
        """Return one checked input (n,) as the layers want it."""
        row = check_row(x, self.n_inputs, self.dtype, allow_nan=self.missing == "mean")
        scaled: NDArray[Any] = self._scaling.apply(row[None])[0]
        return scaled

    def _scaled(self, samples: Samples) -> Samples:
        """Return checked samples as the layers want them."""
        return replace(samples, X=self._scaling.apply(samples.X))

    # ------------------------------------------------------------------------------------- saving and copying

    def save(self, path: str | PathLike[str]) -> None:
        """Save the network to one file, atomically; `cmlp.load` reads it.

        Parameters
        ----------
        path : path-like

        Examples
        --------
        >>> import pathlib, tempfile, cmlp
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "net.cmlp"
        ...     cmlp.MLP([2, 1], seed=0).save(path)
        ...     cmlp.load(path)
        MLP([2, 1], loss='squared_error')
        """
        from cmlp.saving import save  # which needs this module

        save(self, path)

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
        return embed(self._program, self._parameters, self._new_workspace(1), self._scaling.arrays)

    def config(self) -> dict[str, Any]:
        """Return the architecture as a dict of JSON values.

        Examples
        --------
        >>> import cmlp
        >>> cmlp.MLP([2, 1]).config()["n_inputs"]
        2
        """
        return {
            "kind": next(kind.__name__ for kind in type(self).__mro__ if kind in _known_kinds().values()),
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
        kind = _known_kinds().get(str(fields.pop("kind", None)))
        wanted = {"layers", "n_inputs", "loss", "dtype"}
        if kind is None or not wanted <= set(fields) <= wanted | {"standardize", "missing"}:
            raise ValueError(f"malformed network {shown(config)}: expected what Network.config() returns")
        layers, fields["loss"] = layer_from_config(fields.pop("layers")), loss_from_config(fields["loss"])
        plain = isinstance(layers, Chain) and all(isinstance(layer, (Dense, Dropout)) for layer in layers.layers)
        if kind.__name__ == "MLP" and not plain:
            raise ValueError(f"malformed network {shown(config)}: an MLP is a chain of dense layers")
        network = kind.__new__(kind)
        try:
            Network.__init__(network, layers, **fields)
        except TypeError as error:
            raise ValueError(f"malformed network {shown(config)}: {error}") from error
        return network

    def _optimizer_state(self) -> dict[str, NDArray[Any]]:
        """Return the optimiser's arrays in the shapes of weights and biases, by name."""
        state = {}
        for name, vector in self._state.items():
            weights, biases = self._views(vector)
            state.update({f"{name}.weights.{k}": W for k, W in enumerate(weights)})
            state.update({f"{name}.biases.{k}": b for k, b in enumerate(biases) if b is not None})
        return state

    def _load_optimizer_state(self, state: dict[str, NDArray[Any]]) -> None:
        own = self._optimizer_state()
        if set(own) != set(state) or any(own[name].shape != state[name].shape for name in own):
            raise ValueError("the saved optimiser state does not fit the network")
        for name, array in own.items():
            array[...] = state[name]

    def __getstate__(self) -> dict[str, Any]:
        """Return everything but the compiled program and the views, for pickle and copy."""
        return {
            "config": self.config(),
            "weights": [W.copy() for W in self.weights],
            "biases": [None if b is None else b.copy() for b in self.biases],
            "optimizer": self.optimizer,
            "optimizer_state": {name: array.copy() for name, array in self._optimizer_state().items()},
            "optimizer_memory": dict(self._memory),
            "n_steps": self.n_steps,
            "n_epochs": self.n_epochs,
            "scaling": {name: array.copy() for name, array in self._scaling.state().items()},
            "metadata": self.metadata,
            "rng": self._rng,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make the network anew from what `__getstate__` returned."""
        self.__dict__.update(vars(self.from_config({**state["config"], "kind": "Network"})))  # of any subclass
        for array, saved in zip((*self.weights, *self.biases), (*state["weights"], *state["biases"]), strict=True):
            if array is not None:
                array[...] = saved
        self._set_optimizer(state["optimizer"])
        self._load_optimizer_state(state["optimizer_state"])
        self._memory = dict(state["optimizer_memory"])
        self.n_steps, self.n_epochs = state["n_steps"], state["n_epochs"]
        self._scaling.set_state(state["scaling"])
        self.metadata = state["metadata"]
        self._rng = state["rng"]

    def __repr__(self) -> str:
        """Show the composition."""
        return f"Network({self.layers!r}, n_inputs={self.n_inputs}, loss={self.loss!r})"


def _known_kinds() -> dict[str, type[Network]]:
    """Network and the classes that the package derives from it, by name; users' subclasses are saved as these."""
    import cmlp.mlp  # noqa: F401  # MLP is always known, also to a process that has only loaded networks

    kinds: list[type[Network]] = [Network, *Network.__subclasses__()]
    return {kind.__name__: kind for kind in kinds if kind.__module__.startswith("cmlp.")}


def _float_type(dtype: DTypeLike) -> np.dtype[Any]:
    for known in (np.dtype("float32"), np.dtype("float64")):
        if dtype is not None and dtype in (known, known.name, known.type):  # np.dtype(None) is float64
            return known
    raise ValueError(f"dtype must be 'float32' or 'float64', not {shown(dtype)}")
