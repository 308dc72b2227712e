"""Lowers a composition of layers to the flat program that the compiled core runs.

A program is a list of operations over two buffers: one vector with all parameters and one with all activations.
Every value (a z or an a) has a slice of the activation buffer, so that

- two dense layers that write to adjacent slices *are* a concatenation,
- two that add into one slice are a skip connection,
- a layer whose output is one branch of a following concatenation writes straight into its place there,

and nothing is copied. The errors ∂ℓ/∂(value) have a buffer of the same shape. `src/kernels/structs.h` says what each
field of an operation (a record of `OPERATION`) means.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cmlp._base.checks import check_in_dtype
from cmlp._core import (
    ALIGN,
    BATCH_WAYS,
    INPUT_GRADIENTS,
    KINDS,
    LAYOUTS,
    MOST_ELEMENTS,
    NETWORK,
    OPERATION,
    Program,
    record,
)
from cmlp.activations import ACTIVATIONS, alpha_of
from cmlp.layers import Activation, Add, Chain, Concatenate, Dense, Dropout, Identity, Layer
from cmlp.losses import Loss, is_fused, loss_id, loss_name, loss_parameter

if TYPE_CHECKING:
    from numpy.typing import NDArray

DENSE, ACTIVATION, ADD = (KINDS[name] for name in ("dense", "activation", "add"))
ROWS, COLUMNS = (LAYOUTS[name] for name in ("rows", "columns"))
ROWS_FIRST, UNITS_FIRST = (BATCH_WAYS[name] for name in ("rows_first", "units_first"))
ASSIGN, ACCUMULATE = (INPUT_GRADIENTS[name] for name in ("assign", "accumulate"))
_DEFAULTS = dict(zip(OPERATION.names or (), record(OPERATION).item(), strict=True))

# Of a chain that is learnt in one function; measured. With more inputs blocks are faster; with more weights in all,
# what lies between the layers no longer counts, and skipping dead relus does.
_MOST_INPUTS_OF_CHAIN = 48
_MOST_WEIGHTS_OF_CHAIN = 1536

# Weights; measured. Below, a list of what is not 0, or a block's Gram matrix, costs more than it saves.
_LEAST_TO_SKIP_ZEROS = 1024
_LEAST_FOR_BLOCKS = 128
# Inputs or units of a layer; measured. Above, vectors along the units are as full, and X would be transposed in vain.
_MOST_UNITS_FIRST = 100


class Slice(NamedTuple):
    """A place in the activation buffer; offset -1 is the network's input x, which stays where the user has it."""

    offset: int
    size: int


def fields_of(operations: NDArray[np.void]) -> list[dict[str, Any]]:
    """Return the fields of every operation as plain numbers, which Python reads faster than records."""
    return [dict(zip(OPERATION.names or (), row, strict=True)) for row in operations.tolist()]


def weights_view(op: Mapping[str, Any], parameters: NDArray[Any]) -> NDArray[Any]:
    """Return W (n_in, n_out) of a dense operation as a live view of the parameter vector, whatever the layout."""
    start, ld, by_rows = op["weights"], op["ld"], op["layout"] == ROWS
    rows, width = (op["n_in"], op["n_out"]) if by_rows else (op["n_out"], op["n_in"])
    block = parameters[start : start + rows * ld].reshape(rows, ld)[:, :width]
    return block if by_rows else block.T


def biases_view(op: Mapping[str, Any], parameters: NDArray[Any]) -> NDArray[Any] | None:
    """Return b (n_out,) of a dense operation as a live view of the parameter vector, or None."""
    start = op["biases"]
    return None if start < 0 else parameters[start : start + op["n_out"]]


class Lowering:
    """The program of one network under construction.

    Attributes
    ----------
    operations : list of dict
        In the order in which they run forward, with the fields of OPERATION.
    n_activations, n_parameters, n_deltas : int
        Elements handed out so far, each slot padded to whole cache lines.
    """

    def __init__(self, layers: Layer, n_inputs: int, loss: str | Loss, dtype: np.dtype[Any]) -> None:
        self.lanes = ALIGN // dtype.itemsize  # elements per cache line
        self.operations: list[dict[str, Any]] = []
        self.n_activations = 0
        self.n_parameters = 0
        self.n_deltas = 0
        self.n_inputs = n_inputs
        self.output = self._lower(layers, Slice(-1, n_inputs), None)
        if DENSE not in {op["kind"] for op in self.operations}:
            raise ValueError("the network has nothing to learn: it needs at least one cmlp.Dense layer")
        self._check_places()
        self._find_readers()
        self._find_dead_units()
        last = self.operations[-1]
        gives_output = (last["out"], last["n_out"]) == self.output and not last["accumulate"]
        last["fused"] = gives_output and is_fused(loss, list(ACTIVATIONS)[last["activation"]])
        self.loss, self.loss_parameter = loss_id(loss), loss_parameter(loss)
        self._check_numbers(loss, dtype)

    def _check_numbers(self, loss: str | Loss, dtype: np.dtype[Any]) -> None:
        """Raise unless the loss's parameter and the activations' α keep their sense in the dtype."""
        bounds = {"huber": (0, None), "quantile": (0, 1)}.get(loss_name(loss), (None, None))
        check_in_dtype(self.loss_parameter, dtype, f"the parameter of {loss}", above=bounds[0], below=bounds[1])
        for alpha in {op["alpha"] for op in self.operations}:
            check_in_dtype(alpha, dtype, "alpha")

    def _check_places(self) -> None:
        """Raise unless all that operations read and write is there: a user's layer may have told another width."""
        for op in self.operations:
            read = op["source"] + op["n_in"] if op["source"] >= 0 else 0
            fits = op["source"] >= 0 or op["n_in"] == self.n_inputs
            fits = fits and max(read, max(op["z"], op["out"]) + op["n_out"]) <= self.n_activations
            if not fits or min(op["n_in"], op["n_out"]) < 1:
                raise ValueError(
                    "the layers do not fit each other: a layer's output_size is not how many outputs it has"
                )

    def program(self) -> Program:
        """Return the compiled program."""
        network = record(
            NETWORK,
            n_inputs=self.n_inputs,
            n_outputs=self.output.size,
            n_activations=self._padded(self.n_activations) + self.lanes,  # vector loads may run past a slice
            n_parameters=self.n_parameters,
            n_deltas=self.n_deltas,
            width=self._padded(max(op["n_out"] for op in self.operations)),
            x_stride=self._padded(self.n_inputs),
            output=self.output.offset,
            loss_parameter=self.loss_parameter,
            loss=self.loss,
            fused=self.operations[-1]["fused"],
            batches=UNITS_FIRST if self._is_narrow() else ROWS_FIRST,
        )
        program = Program(np.array([tuple(op.values()) for op in self.operations], OPERATION), network)
        program.per_sample = self._fastest(program.per_sample_ways)
        return program

    def _fastest(self, ways: tuple[str, ...]) -> str:
        """Choose among the possible ways of plain per-sample SGD (PER_SAMPLE_WAYS), by the shape alone."""
        sizes = [op["n_in"] * op["n_out"] for op in self.operations]
        small = self.n_inputs <= _MOST_INPUTS_OF_CHAIN and sum(sizes) <= _MOST_WEIGHTS_OF_CHAIN
        for way in ("ahead", "as_chain") if small else ():
            if way in ways:
                return way
        return "in_blocks" if "in_blocks" in ways and sizes[0] >= _LEAST_FOR_BLOCKS else "by_operation"

    def _is_narrow(self) -> bool:
        """Whether batches should have their vectors along the rows (src/kernels/units_first.h): if no layer is wide."""
        return all(max(op["n_in"], op["n_out"]) <= _MOST_UNITS_FIRST for op in self.operations)

    def _emit(self, kind: int, source: Slice, n_out: int, **fields: float) -> None:
        """Append an operation."""
        shape = {"kind": kind, "source": source.offset, "n_in": source.size, "n_out": n_out}
        self.operations.append({**_DEFAULTS, **shape, **fields})

    def _padded(self, n: int) -> int:
        return -(-n // self.lanes) * self.lanes

    def _new_slice(self, size: int) -> Slice:
        offset = self.n_activations
        self.n_activations += self._padded(size)
        self._check_size(self.n_activations, "activations")
        return Slice(offset, size)

    def _new_parameters(self, n: int) -> int:
        offset = self.n_parameters
        self.n_parameters += self._padded(n)
        self._check_size(self.n_parameters, "parameters")
        return offset

    def _check_size(self, n: int, what: str) -> None:
        """Refuse at once what would overflow the core's sizes."""
        if n > MOST_ELEMENTS:
            n_bytes = n * (ALIGN // self.lanes)
            raise ValueError(f"the network's {what} do not fit this machine's memory: they take {n_bytes:,} bytes")

    def _lower(self, layer: Layer, source: Slice, target: Slice | None, accumulate: bool = False) -> Slice:
        """Emit the operations of a layer that reads `source`; return where its output lies.

        With a target the output goes there; with `accumulate` it is added to what is there.
        """
        if accumulate and not _can_accumulate(layer):
            return self._copy(self._lower(layer, source, None), target, accumulate)
        match layer:
            case Dense():
                return self._dense(layer, source, target, accumulate)
            case Activation(name, alpha):
                out = target or self._new_slice(source.size)
                places = {"z": source.offset, "out": out.offset}
                f = {"activation": ACTIVATIONS[name], "alpha": alpha_of(name, alpha)}
                self._emit(ACTIVATION, source, source.size, **places, **f)
                return out
            case Identity() | Dropout(rate=0.0):
                return self._copy(source, target, accumulate)
            case Dropout(rate):  # a copy, whose place the core drops out of in training
                out = self._copy(source, target or self._new_slice(source.size), accumulate=False)
                self.operations[-1]["dropout"] = rate
                return out
            case Chain(layers):
                return self._chain(layers, source, target, accumulate)
            case Concatenate(layers):
                out = target or self._new_slice(layer.output_size(source.size))
                offset = out.offset
                for branch in layers:
                    place = Slice(offset, branch.output_size(source.size))
                    self._lower(branch, source, place, accumulate)
                    offset += place.size
                return out
            case Add(layers):
                out = target or self._new_slice(layer.output_size(source.size))
                # identities last: adding x to a sum that is there costs nothing more than the addition
                for i, branch in enumerate(sorted(layers, key=lambda branch: isinstance(branch, Identity))):
                    if i == 0 and not accumulate and len(layers) > 1 and not _can_accumulate(branch):
                        # f' is computed from a = f(z), which must not change: the sum needs a slice of its own
                        self._copy(self._lower(branch, source, None), out, accumulate=False)
                    else:
                        self._lower(branch, source, out, accumulate or i > 0)
                return out
        raise TypeError(f"unknown layer {layer!r}: compose cmlp.Dense, cmlp.chain, cmlp.concatenate and cmlp.add")

    def _copy(self, source: Slice, target: Slice | None, accumulate: bool) -> Slice:
        """Bring `source` to `target`, unless it is already there or may stay where it is."""
        if target is None:
            return source
        if accumulate or source != target:
            self._emit(ADD, source, source.size, z=source.offset, out=target.offset, accumulate=accumulate)
        return target

    def _chain(self, layers: tuple[Layer, ...], source: Slice, target: Slice | None, accumulate: bool) -> Slice:
        places: list[Slice | None] = [*(None for _ in layers[1:]), target]
        for i, layer in enumerate(layers):
            following = layers[i + 1] if i + 1 < len(layers) else None
            if isinstance(following, Concatenate) and Identity() in following.layers:
                # the layer's output is a part of the concatenation's: write it there
                size = layer.output_size(source.size)
                out = places[i + 1] = places[i + 1] or self._new_slice(following.output_size(size))
                before = following.layers[: following.layers.index(Identity())]
                places[i] = Slice(out.offset + sum(branch.output_size(size) for branch in before), size)
            source = self._lower(layer, source, places[i], accumulate and following is None)
        return source

    def _dense(self, layer: Dense, source: Slice, target: Slice | None, accumulate: bool) -> Slice:
        n_in, n_out = source.size, layer.n_outputs
        out = target or self._new_slice(n_out)
        z = out if layer.activation == "identity" else self._new_slice(n_out)
        layout = self._layout(n_in, n_out)
        ld = self._padded(n_out if layout == ROWS else n_in)
        weights = self._new_parameters((n_in if layout == ROWS else n_out) * ld)
        biases = self._new_parameters(n_out) if layer.bias else -1
        f = {"activation": ACTIVATIONS[layer.activation], "alpha": alpha_of(layer.activation, layer.alpha)}
        places = {"z": z.offset, "out": out.offset, "delta": self.n_deltas}
        W = {"layout": layout, "weights": weights, "ld": ld, "biases": biases}
        self._emit(DENSE, source, n_out, accumulate=accumulate, **f, **places, **W)
        self.n_deltas += self._padded(n_out)
        return out

    def _layout(self, n_in: int, n_out: int) -> int:
        """Choose the layout of W whose forward pass loads fewer vectors, counting AVX2's 32 bytes a vector.

        By rows every input costs ⌈n_out / lanes⌉ loads, padding included, and a broadcast, which counts if there is one
        load only; by columns every unit costs ⌈n_in / lanes⌉ and a horizontal sum. Rows win for wide layers, columns
        for many inputs into few units: 6528 into 8 take 3.1 µs a sample by columns, 4.8 by rows (AVX-512, float32).
        """
        lanes = self.lanes // 2
        by_rows = n_in * max(4 * -(-n_out // lanes), 5)  # in quarters of a load
        by_columns = 4 * n_out * (-(-n_in // lanes) + 3)
        return ROWS if by_rows <= by_columns else COLUMNS

    def _find_readers(self) -> None:
        """Decide for each operation, going backward, whether ∂ℓ/∂(its input) is assigned or added to.

        Later readers of a slice run first on the way back. A slice read inside a concatenation is always a part
        of the slice that the whole concatenation's readers have written before.
        """
        ends = {self.output.offset: self.output.offset + self.output.size}  # of the slices written, by their offsets
        ordered = [-self.output.offset]  # these do not overlap; the way back goes to lower offsets, so to the end
        for op in reversed(self.operations):
            start, stop = op["source"], op["source"] + op["n_in"]
            if start < 0:
                continue
            after = bisect_left(ordered, -start)
            before = -ordered[after] if after < len(ordered) else start  # of the slices that begin at start or before
            covered = before in ends and stop <= ends[before]
            overlaps = ends.get(before, 0) > start or (after > 0 and -ordered[after - 1] < stop)
            assert covered or not overlaps, "a slice is read in part after it was read as a whole"
            op["input_gradient"] = ACCUMULATE if covered else ASSIGN
            if not covered:
                ends[start] = stop
                ordered.insert(after, -start)

    def _find_dead_units(self) -> None:
        """Let wide layers that read a relu skip its zeros: about half of a relu's units, forward and backward.

        The relu's operation lists its other units behind its output, for every layer that reads them all.
        """
        relu = ACTIVATIONS["relu"]
        producers = {Slice(op["out"], op["n_out"]): op for op in self.operations if op["activation"] == relu}
        for op in self.operations:
            producer = producers.get(Slice(op["source"], op["n_in"]))
            wide = op["kind"] == DENSE and op["layout"] == ROWS and op["n_in"] * op["n_out"] >= _LEAST_TO_SKIP_ZEROS
            if producer and wide and op["n_in"] < 2**16:
                if producer["nonzero_out"] < 0:
                    size = -(-2 * (op["n_in"] + 4) * self.lanes // ALIGN)  # uint16s, in elements
                    producer["nonzero_out"] = self._new_slice(size).offset
                op["nonzero_in"] = producer["nonzero_out"]


def _can_accumulate(layer: Layer) -> bool:
    """Whether a layer can share its target with others that add to it: if nothing reads there what it wrote itself.

    So its last step has to be linear (f' is computed from a), and no earlier layer may have its output there.
    """
    match layer:
        case Dense(activation=activation):
            return activation == "identity"
        case Activation():
            return False
        case Dropout(rate):
            return rate == 0
        case Chain((*_, Layer(), Concatenate(layers))) if Identity() in layers:
            return False
        case Chain(layers):
            return _can_accumulate(layers[-1])
        case Concatenate(layers):
            return all(map(_can_accumulate, layers))
        case Add((branch,)):
            return _can_accumulate(branch)
        case Identity() | Add():
            return True
    return False  # a copy more, but never wrong
