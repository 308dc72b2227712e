"""A network without its face: what is computed, with which numbers, and the memory of its training."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from operator import methodcaller
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cmlp._base.checks import finite_array, numeric_array, shown
from cmlp._core import KINDS, RATES_AHEAD, ROWS_AT_ONCE, Copies, OneRow, aligned_zeros, is_plain
from cmlp._engine.failures import in_state
from cmlp._engine.program import Lowering, biases_view, fields_of, weights_view
from cmlp._engine.scaling import Scaling
from cmlp._engine.threads import available_processors, check_threads
from cmlp._engine.update import Updates, make_update, step_rates
from cmlp.averaging import EMA
from cmlp.data.arrays import check_inputs, check_row, check_targets, check_weights
from cmlp.data.samples import Samples
from cmlp.initializers import initial_biases, initial_weights
from cmlp.layers import Layer, check_width, dense_layers, layer_from_config, layer_to_config
from cmlp.losses import CLASSIFYING, LOSSES, Loss, loss_name
from cmlp.optimizers import Optimizer, Rprop, SteppingOptimizer, as_optimizer, needed_slots

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

_FLOATS = np.dtype("float32"), np.dtype("float64")
_LEAST_FOR_THREADS = 20_000_000  # multiply-adds of a prediction, about 1 ms: less is not worth starting a thread
MOST_SPARE = 1 << 20  # bytes of memory that is kept for the next call


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
        δ_k = ∂ℓ/∂z_k of every sample (times its sample weight); (n_out,) for one sample (n,), so for the next two.
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


class Snapshot:
    """What training changes, copied, so that a model can go back; its optimiser stays the same meanwhile."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._arrays = Copies([model.parameters, *model.slots.values(), *model.scaling.buffers])
        self._memory, self._n_steps = dict(model.memory), model.n_steps

    def take(self) -> None:
        """Copy what is there now."""
        model = self._model
        self._arrays.take()
        self._memory, self._n_steps = dict(model.memory), model.one_row.n_steps

    def restore(self) -> None:
        """Go back."""
        self._arrays.put_back()
        self._model.memory, self._model.n_steps = dict(self._memory), self._n_steps


class Standing(NamedTuple):
    """What a training call changes before its first step; see `Model.standing`."""

    optimizer: Optimizer
    slots: dict[str, NDArray[Any]]
    memory: dict[str, float]
    counters: tuple[int, int]
    generator: Any  # None: nothing draws from it
    scale: list[NDArray[Any]]


class OneRowBuffers(NamedTuple):
    """What `one_row` learns with, beside the parameters; see `passes.Buffers`."""

    gradient: NDArray[Any] | None
    average: NDArray[Any] | None
    slots: dict[str, NDArray[Any]]


class Unchanged:
    """A context whose errors find the model as it was; see `Model.unchanged_if_refused`."""

    def __init__(self, model: Model, draws: bool) -> None:
        self._model, self._draws = model, draws

    def __enter__(self) -> Standing:
        """Return what the model is now."""
        self._standing = self._model.standing(self._draws)
        return self._standing

    def __exit__(self, kind: object, *_: object) -> None:
        """Put it back if there was an error."""
        if kind is not None:
            self._model.put_back(self._standing)


class Fixed:
    """A context in which a model keeps its optimiser: the present one, or one that it takes first."""

    def __init__(self, model: Model, optimizer: Optimizer | None = None) -> None:
        self._model, self._before, self._optimizer = model, model.in_training, optimizer

    def __enter__(self) -> Optimizer:
        """Begin; return the optimiser."""
        if self._optimizer is not None:
            self._model.set_optimizer(self._optimizer)
        self._model.in_training = True
        return self._model.optimizer

    def __exit__(self, *_: object) -> None:
        """Let it change as before."""
        self._model.in_training = self._before


class Model:
    """Program, parameters, optimiser with its state, scale of the inputs, counters and random generator of a network.

    Whoever computes takes a Model; `cmlp.Network` is the face over it and documents its parameters.

    Attributes
    ----------
    layers, n_inputs, n_outputs, loss, loss_name, dtype
        What it was made from.
    program : Program
        The compiled program; `operations` are its operations, an array of `cmlp._core.OPERATION`.
    parameters : ndarray, shape (program.n_parameters,)
        All weights and biases, padding included.
    optimizer : Optimizer
        Set by `set_optimizer`, which starts it anew.
    slots : dict of ndarray
        The arrays that the optimiser keeps, each like `parameters`, and "iterate": the weights that the steps change,
        where the parameters are their average.
    memory : dict of float
        The single numbers that the optimiser keeps.
    n_steps, n_epochs : int
        Made with the present optimiser.
    scaling : Scaling
        Of the inputs.
    rng : numpy.random.Generator
        For initial weights, the order of samples, splits and dropout.
    one_row : OneRow
        The shortest way to predict and learn one sample.
    claim : Claim
        Who trains or changes it: one thread at a time.
    """

    optimizer: Optimizer
    slots: dict[str, NDArray[Any]]
    memory: dict[str, float]
    n_epochs: int
    in_training = False  # whether `fit` is at work, whose plan is fixed

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
        self.layers, self.loss, self.loss_name = layers, loss, loss_name(loss)
        self.n_inputs = check_width(n_inputs, "n_inputs")
        self.n_outputs = layers.output_size(self.n_inputs)
        if self.loss_name == "cross_entropy" and self.n_outputs == 1:
            raise ValueError(
                "cross_entropy needs one output per class, and at least 2: for one output use binary_cross_entropy"
            )
        self.dtype = _float_type(dtype)
        self.rng = np.random.default_rng(seed)
        self.scaling = Scaling(self.n_inputs, self.dtype, standardize, missing)
        self.program = Lowering(layers, self.n_inputs, loss, self.dtype).program()
        self.n_outputs, self.operations = self.program.n_outputs, self.program.operations
        self.loss_name = list(LOSSES)[self.program.network["loss"]]
        self._dense = [op for op in fields_of(self.operations) if op["kind"] == KINDS["dense"]]
        self.drops_out = bool(self.operations["dropout"].any())
        self.parameters = self.new_vector()
        gaps = missing == "mean"
        self.one_row = OneRow(self.program, self.parameters, self.workspace(1), self.scaling.buffers, gaps)
        self.claim = self.one_row.claim
        self._gradient: NDArray[Any] | None = None  # of one_row
        self._spare: dict[str, Any] = {}
        self.weights, self.biases = self.views(self.parameters)
        self.slots = {}
        self.updates = Updates(self.dtype)
        self.set_optimizer(as_optimizer(optimizer))

    def initialise(self) -> None:
        """Draw initial weights and biases as the layers say; a generator of the user's has not moved if they err."""
        with self.unchanged_if_refused(draws=True):
            for layer, W, b in zip(dense_layers(self.layers), self.weights, self.biases, strict=True):
                W[...] = finite_array(initial_weights(layer.init, self.rng, *W.shape), self.dtype, "init")
                if b is not None:
                    b[...] = finite_array(initial_biases(layer.bias_init, self.rng, *W.shape), self.dtype, "bias_init")

    # ------------------------------------------------------------------------------------------------ memory

    def new_vector(self) -> NDArray[Any]:
        """Return a zeroed vector of the parameters' layout."""
        return aligned_zeros(self.program.n_parameters, self.dtype)

    def workspace(self, rows: int, n_threads: int = 1) -> NDArray[Any]:
        """Return the scratch that one call of the core computes in, for so many samples or as many as go at once."""
        size = self.program.workspace_size(min(rows, n_threads * ROWS_AT_ONCE), n_threads)
        return aligned_zeros(size, self.dtype)

    def take_spare(self, name: str) -> Any:
        """Return what the last call left under this name, or None: `pop` gives it to one thread alone."""
        return self._spare.pop(name, None)

    def leave_spare(self, name: str, memory: Any, n_bytes: int) -> None:
        """Leave memory of so many bytes to the next call, if it is not much."""
        if n_bytes <= MOST_SPARE:
            self._spare[name] = memory

    def _borrow_workspace(self, rows: int, n_threads: int = 1) -> NDArray[Any]:
        """Return the workspace that the last call left, if it was for the same, or a new one."""
        size = self.program.workspace_size(min(rows, n_threads * ROWS_AT_ONCE), n_threads)
        plan_and_workspace = self.take_spare("workspace")
        if plan_and_workspace is None or plan_and_workspace[0] != (rows, n_threads, size):
            return aligned_zeros(size, self.dtype)
        workspace: NDArray[Any] = plan_and_workspace[1]
        return workspace

    def _give_back(self, workspace: NDArray[Any], rows: int, n_threads: int = 1) -> None:
        self.leave_spare("workspace", ((rows, n_threads, workspace.size), workspace), workspace.nbytes)

    def views(self, vector: NDArray[Any]) -> tuple[tuple[NDArray[Any], ...], tuple[NDArray[Any] | None, ...]]:
        """Return the weights and biases in a vector of the parameters' layout, live."""
        return (
            tuple(weights_view(op, vector) for op in self._dense),
            tuple(biases_view(op, vector) for op in self._dense),
        )

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases."""
        return sum(p.size for p in (*self.weights, *self.biases) if p is not None)

    @property
    def trained(self) -> NDArray[Any]:
        """The vector that the steps change: the parameters, unless they are its average."""
        return self.slots.get("iterate", self.parameters)

    @property
    def n_steps(self) -> int:
        """Update steps made with the present optimiser."""
        return self.one_row.n_steps

    @n_steps.setter
    def n_steps(self, n_steps: int) -> None:
        self.one_row.n_steps = n_steps

    def standing(self, draws: bool) -> Standing:
        """Return what a training call changes before its first step, for `put_back`; draws: whether also `rng`."""
        counters = self.n_steps, self.n_epochs
        generator = self.rng.bit_generator.state if draws else None
        scale = [array.copy() for array in self.scaling.buffers]
        return Standing(self.optimizer, self.slots, dict(self.memory), counters, generator, scale)

    def put_back(self, standing: Standing) -> None:
        """Be what the model was, after a Snapshot has taken back the steps made since, if there were any."""
        self.slots, self.memory = standing.slots, standing.memory
        self.n_steps, self.n_epochs = standing.counters
        if standing.generator is not None:
            self.rng.bit_generator.state = standing.generator
        for array, before in zip(self.scaling.buffers, standing.scale, strict=True):
            array[...] = before
        self._take(standing.optimizer)

    def unchanged_if_refused(self, *, draws: bool) -> Unchanged:
        """Put everything back if the block, which prepares a training call, raises an error."""
        return Unchanged(self, draws)

    def training(self, optimizer: Optimizer | None = None) -> Fixed:
        """Take an optimiser, if one is given, and keep it for the block: plans are made for it."""
        return Fixed(self, optimizer)

    def orphaned(self) -> None:
        """Go on in a process that was forked while another thread, which is not there any more, trained the model."""
        self.in_training = False
        free = methodcaller("_at_fork_reinit")  # as Python frees its own locks
        free(self.rng.bit_generator.lock)  # which that thread may have had

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return every array of its state by name, live, in the shapes of the mathematics: what is saved."""
        vectors = {"": self.parameters, **{f"{name}.": vector for name, vector in self.slots.items()}}
        named: dict[str, NDArray[Any]] = {}
        for prefix, vector in vectors.items():
            weights, biases = self.views(vector)
            named |= {f"{prefix}weights.{k}": W for k, W in enumerate(weights)}
            named |= {f"{prefix}biases.{k}": b for k, b in enumerate(biases) if b is not None}
        if self.scaling.needed:
            named |= {f"scaling.{name}": array for name, array in self.scaling.state().items()}
        return named

    def copies(self) -> dict[str, NDArray[Any]]:
        """Return a copy of every array of its state by name."""
        return {name: array.copy() for name, array in self.arrays().items()}

    def __getstate__(self) -> dict[str, Any]:
        """Return everything but the compiled program and the views, for pickle and copy."""
        state: dict[str, Any] = self.claim.read(self, self._state)
        return state

    def _state(self) -> dict[str, Any]:
        return {
            "made_from": {
                "layers": layer_to_config(self.layers),
                "n_inputs": self.n_inputs,
                "loss": self.loss,
                "optimizer": self.optimizer,
                "dtype": self.dtype.name,
                "seed": deepcopy(self.rng),
                "standardize": self.scaling.standardize,
                "missing": self.scaling.missing,
            },
            "memory": dict(self.memory),
            "n_steps": self.n_steps,
            "n_epochs": self.n_epochs,
            "arrays": self.copies(),
        }

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Make the model anew from what `__getstate__` returned."""
        made_from = dict(state["made_from"])
        self.__init__(layer_from_config(made_from.pop("layers")), **made_from)  # type: ignore[misc]
        for name, array in self.arrays().items():
            array[...] = state["arrays"][name]
        self.take_counters(state["memory"], state["n_steps"], state["n_epochs"])

    def take_counters(self, memory: Mapping[str, float], n_steps: int, n_epochs: int) -> None:
        """Go on from saved counters, after the arrays have been filled in."""
        self.memory, self.n_steps, self.n_epochs = dict(memory), n_steps, n_epochs
        self.scaling.set_state(self.scaling.state())  # checks it, and brings what follows from it up to date

    # --------------------------------------------------------------------------------------------- optimiser

    def set_optimizer(self, optimizer: Optimizer) -> None:
        """Take an optimiser and start it from the beginning: t = 0, moments 0."""
        if self.in_training:
            raise RuntimeError(
                "another optimizer cannot take over in the middle of fit: let the callback return True, which stops "
                "training, and set it then (net.learning_rate can be set at any time)"
            )
        names = (*optimizer.state_names, *(["iterate"] if optimizer.averaging is not None else []))
        slots = {name: self.new_vector() for name in names}
        for name, value in optimizer.state_start.items():
            slots[name][...] = value
        memory = optimizer.memory
        if slots or self.slots:  # where there are none, the spare run goes on with the same
            self.slots = slots
        self.memory = memory
        self.n_steps = self.n_epochs = 0
        self._take(optimizer)

    def set_learning_rate(self, rate: Any) -> None:
        """Go on with the same optimiser at another learning rate: moments and counters stay.

        Raises
        ------
        AttributeError
            If the optimiser has no learning rate that could change.
        """
        if not isinstance(self.optimizer, SteppingOptimizer) or isinstance(self.optimizer, Rprop):
            kind = type(self.optimizer).__name__
            raise AttributeError(f"{kind} has no learning rate that could change: set net.optimizer, which starts anew")
        before = self.optimizer
        optimizer = replace(before, learning_rate=rate)
        memory = optimizer.memory  # what a Plateau has seen belongs to it
        only_rates = optimizer.settings == before.settings
        if self.optimizer is not before:
            raise RuntimeError("another optimizer was set while its learning rate was: set the rate once more")
        self.memory = memory
        if only_rates:
            self.optimizer = optimizer
            self.n_steps = self.n_steps  # one_row keeps its plan, but asks for the rates anew
        else:
            self._take(optimizer)

    def slots_for(self, update: NDArray[np.void]) -> dict[str, NDArray[Any]]:
        """Return the arrays that steps by this update work on.

        Raises
        ------
        ValueError
            If they are not there: a user's class says one thing and does another, or a frozen value was changed.
        """
        optimizer, slots = self.optimizer, self.slots
        needed = set(needed_slots(update)) | set(optimizer.state_names)
        averages = optimizer.averaging is not None
        if needed <= set(slots) and averages == ("iterate" in slots) and (averages or update["average_decay"] < 0):
            return {name: slots[name] for name in slots if name != "iterate"}
        raise ValueError(
            f"{optimizer!r} is not what it was when the network took it, or its slots are not those of its rule: "
            "set net.optimizer, which starts anew"
        )

    def _take(self, optimizer: Optimizer) -> None:
        """Let steps be made by an optimiser whose state is in place."""
        self.optimizer = optimizer
        self.one_row.drop_plan()

    def plan_one_row(self) -> bool:
        """Let `one_row` learn with the present optimiser, which suits a stream; return whether that was new to it."""
        if self.one_row.planned or not isinstance(self.optimizer, SteppingOptimizer):
            return False
        update = make_update(self.optimizer, 1, self.dtype, drops_out=self.drops_out)
        if self._gradient is None and not is_plain(update):
            self._gradient = self.new_vector()
        buffers = OneRowBuffers(
            gradient=self._gradient,
            average=self.parameters if isinstance(self.optimizer.averaging, EMA) else None,
            slots=self.slots_for(update),
        )
        self.one_row.plan(update, self.trained, buffers, weakref.ref(self))
        return True

    def rates_ahead(self, first_step: int) -> NDArray[np.float64] | None:
        """Return the rates from `first_step` on, as many as may be asked for by now; None if something is wrong.

        A look at the state after every step would cost as much as the step: there is one after 1, 2, 4, ... 256 steps,
        then after as many again.
        """
        assert isinstance(self.optimizer, SteppingOptimizer)
        schedule = self.optimizer.schedule
        n = min(max(first_step, 1), RATES_AHEAD) if schedule.known_ahead else 1
        looks = n > 1 or first_step < 2 or first_step.bit_count() == 1 or first_step % RATES_AHEAD == 0
        if looks and self.slots and in_state(self) is not None:
            return None
        rates = step_rates(schedule, self.memory, first_step, n, self.n_epochs, self.dtype)
        return rates if len(rates) == n else np.full(n, rates[0])

    def draw_dropout_seed(self) -> int | None:
        """Return a seed for the masks of one training call, or None if no layer drops anything out."""
        if not self.drops_out:
            return None
        left = self.one_row.take_seed()
        return int(self.rng.integers(2**64, dtype=np.uint64)) if left is None else left

    # ---------------------------------------------------------------------------------------------- what comes in

    def check_samples(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, *, X_later: bool = False
    ) -> Samples:
        """Return checked samples, without a copy of what fits; not yet on the scale that the layers want.

        With `X_later`, an X that fits is not looked through: the samples are not `checked`.
        """
        allow_nan = self.scaling.missing == "mean"
        X = check_inputs(X, self.n_inputs, self.dtype, allow_nan=allow_nan, checked_later=X_later)
        y = check_targets(y, len(X), self.n_outputs, self.loss_name, self.dtype)
        weights = check_weights(sample_weight, len(X))
        labels, Y = (y, None) if y.dtype.kind == "i" else (None, y)
        return Samples(X, Y, labels, weights, checked=not X_later)

    def check_sample(self, x: ArrayLike, y: ArrayLike) -> Samples:
        """Return one checked sample (n,) and its target; not yet on the scale that the layers want."""
        row = check_row(x, self.n_inputs, self.dtype, allow_nan=self.scaling.missing == "mean")[None]
        target = check_targets(numeric_array(y, "y")[None], 1, self.n_outputs, self.loss_name, self.dtype)
        return Samples(row, labels=target) if target.dtype.kind == "i" else Samples(row, target)

    def inputs(self, X: ArrayLike, name: str = "X") -> NDArray[Any]:
        """Return checked inputs (M, n) as the layers want them."""
        allow_nan = self.scaling.missing == "mean"
        return self.scaling.apply(check_inputs(X, self.n_inputs, self.dtype, name, allow_nan=allow_nan))

    def row(self, x: ArrayLike) -> NDArray[Any]:
        """Return one checked input as the layers want it, (1, n)."""
        allow_nan = self.scaling.missing == "mean"
        return self.scaling.apply(check_row(x, self.n_inputs, self.dtype, allow_nan=allow_nan)[None])

    def scaled(self, samples: Samples) -> Samples:
        """Return checked samples as the layers want them."""
        return replace(samples, X=self.scaling.apply(samples.X)) if self.scaling.needed else samples

    # ---------------------------------------------------------------------------------------------- computations

    def predict(self, X: NDArray[Any], n_threads: int | str = 1) -> NDArray[Any]:
        """Return ŷ (M, n_outputs) of inputs as the layers want them."""
        wanted = check_threads(n_threads)
        if wanted is None:
            wanted = available_processors() if len(X) * self.n_parameters > _LEAST_FOR_THREADS else 1
        threads = min(wanted, -(-len(X) // ROWS_AT_ONCE))
        out = np.empty((len(X), self.n_outputs), self.dtype)
        rows = len(X) if threads == 1 else threads * ROWS_AT_ONCE
        workspace = self._borrow_workspace(rows, threads)
        self.program.predict(self.parameters, X, out, workspace, threads)
        self._give_back(workspace, rows, threads)
        return out

    def evaluate(self, samples: Samples) -> Scores:
        """Return the mean loss and, of a classifier, the accuracy."""
        workspace = self._borrow_workspace(len(samples.X))
        loss, correct = self.program.evaluate(self.parameters, samples, workspace)
        self._give_back(workspace, len(samples.X))
        total = samples.total_weight()
        return Scores(loss / total, correct / total if self.loss_name in CLASSIFYING else None)

    def forward(self, X: NDArray[Any]) -> list[NDArray[Any]]:
        """Return X and what every operation makes of it, but for dropout."""
        buffer = np.zeros((len(X), self.program.n_activations), self.dtype)
        self.program.forward(self.parameters, X, buffer)
        operations = self.operations[self.operations["dropout"] == 0]
        slices = dict.fromkeys(zip(operations["out"], operations["n_out"], strict=True))  # once: sums add in place
        return [X, *(buffer[:, at : at + n].copy() for at, n in slices)]

    def gradient(
        self,
        samples: Samples,
        scale: float,
        values: NDArray[Any] | None = None,
        errors: NDArray[Any] | None = None,
    ) -> tuple[NDArray[Any], float]:
        """Return the flat gradient of scale · Σ s_c ℓ_c and its value; fill values and errors if they are given."""
        gradient, workspace = self.new_vector(), self.workspace(1)
        loss = self.program.gradients(self.parameters, samples, scale, gradient, workspace, values, errors)
        return gradient, scale * loss

    def gradients(self, samples: Samples, scale: float, *, single: bool = False) -> Gradients:
        """Return all about the gradient of scale · Σ s_c ℓ_c; of a single sample without the axis of samples."""
        shape = (len(samples.X), self.program.n_activations)
        values, errors = np.zeros(shape, self.dtype), np.zeros(shape, self.dtype)
        gradient, loss = self.gradient(samples, scale, values, errors)
        dW, db = self.views(gradient)

        def slices(buffer: NDArray[Any], offset: str) -> list[NDArray[Any]]:
            rows: Any = 0 if single else slice(None)
            return [buffer[rows, op[offset] : op[offset] + op["n_out"]].copy() for op in self._dense]

        return Gradients(
            weights=[W.copy() for W in dW],
            biases=[None if b is None else b.copy() for b in db],
            deltas=slices(errors, "z"),
            net_inputs=slices(values, "z"),
            activations=slices(values, "out"),
            loss=loss,
        )


def _float_type(dtype: DTypeLike) -> np.dtype[Any]:
    for known in _FLOATS:
        if dtype is known or dtype is known.type:
            return known
    for known in _FLOATS:
        if dtype is not None and dtype in (known, known.name, known.type):  # np.dtype(None) is float64
            return known
    raise ValueError(f"dtype must be 'float32' or 'float64', not {shown(dtype)}")
