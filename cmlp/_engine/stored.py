"""A model as it lies in a file: what the header says beside the arrays of `Model.arrays`.

format, version           "cmlp network", 2 (version 1 had no generator)
network                   `Network.config()`
optimizer, memory         the optimiser, and the single numbers that it keeps
n_steps, n_epochs         counters
generator                 state of the random generator, or null
metadata                  the user's
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cmlp._base.archive import Expected
from cmlp._base.checks import check_count, check_number, shown
from cmlp._core import KINDS
from cmlp._engine.program import Lowering
from cmlp.layers import check_width, layer_from_config
from cmlp.losses import loss_from_config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from cmlp._engine.model import Model

_FORMAT = "cmlp network"
_VERSION = 2
_KEYS = {"format", "version", "network", "optimizer", "memory", "n_steps", "n_epochs", "generator", "metadata"}
_MOST_SCRATCH = 1 << 24  # bytes, beside what the weights justify: layers that copy can ask for any amount
_GENERATORS = ("PCG64", "PCG64DXSM")  # those whose state is a few integers that can be checked


def header_of(model: Model, network: dict[str, Any], metadata: Any) -> dict[str, Any]:
    """Return the header of a model's file.

    Raises
    ------
    TypeError
        If the learning rate is a function, or the metadata is no dict.
    ValueError
        If `parameters_of` would take the file for a hostile one.
    """
    if not isinstance(metadata, dict):
        raise TypeError(f"metadata must be a dict of JSON values, not {shown(metadata)}")
    _check_scratch(model.program.n_activations * model.dtype.itemsize, sum(W.nbytes for W in model.weights))
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "network": network,
        "optimizer": model.optimizer.to_config(),
        "memory": model.memory,
        "n_steps": model.n_steps,
        "n_epochs": model.n_epochs,
        "generator": _generator_state(model.rng),
        "metadata": metadata,
    }


def check_header(header: Any) -> dict[str, Any]:
    """Check everything in a header but the descriptions of network, optimiser and generator; return it."""
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise ValueError("it has not the header of a cmlp model")
    version = header.get("version")
    if type(version) is not int or not 1 <= version <= _VERSION:
        raise ValueError(
            f"it has format version {shown(version)}, but this cmlp reads versions 1 to {_VERSION}; "
            "load it with the cmlp that saved it, or a newer one"
        )
    if version == 1:
        header = {**header, "generator": None}
    if set(header) != _KEYS:
        raise ValueError(f"its header must have the keys {sorted(_KEYS)}, not {shown(sorted(header))}")
    for key in ("n_steps", "n_epochs"):
        if check_count(header[key], key, minimum=0) >= 2**53:  # 28 years at 10⁷ steps a second
            raise ValueError(f"{key} is out of range")
    if not isinstance(header["metadata"], dict):
        raise ValueError(f"metadata must be a dict, not {shown(header['metadata'])}")
    return dict(header)


def check_memory(memory: Any, expected: dict[str, float]) -> dict[str, float]:
    """Return the numbers that the optimiser keeps, if they are those that it needs."""
    if not isinstance(memory, dict) or set(memory) != set(expected):
        raise ValueError(f"memory must be a dict of {sorted(expected)}, not {shown(memory)}")
    numbers = {name: check_number(value, f"memory[{name!r}]") for name, value in memory.items()}
    if not 0 <= numbers.get("scale", 0) <= 1 or numbers.get("bad_epochs", 0) < 0:
        raise ValueError(f"a Plateau has cut the rate by a scale in [0, 1] and counts epochs, not {shown(memory)}")
    return numbers


def parameters_of(config: Any) -> dict[str, Expected]:
    """Return the arrays that a network's description requires, without making the network."""
    if not isinstance(config, dict) or config.get("dtype") not in ("float32", "float64"):
        raise ValueError(f"malformed network {shown(config)}")
    dtype = np.dtype(config["dtype"])
    n_inputs = check_width(config.get("n_inputs"), "n_inputs")
    layers, loss = layer_from_config(config.get("layers")), loss_from_config(config.get("loss"))
    lowering = Lowering(layers, n_inputs, loss, dtype)
    dense = [op for op in lowering.operations if op["kind"] == KINDS["dense"]]
    arrays = {f"weights.{k}": Expected((int(op["n_in"]), int(op["n_out"])), dtype) for k, op in enumerate(dense)}
    with_biases = [(k, op) for k, op in enumerate(dense) if op["biases"] >= 0]
    _check_scratch(lowering.n_activations * dtype.itemsize, sum(expected.n_bytes for expected in arrays.values()))
    return arrays | {f"biases.{k}": Expected((int(op["n_out"]),), dtype) for k, op in with_biases}


def _check_scratch(scratch: int, weights: int) -> None:
    """Refuse a network whose activations of one sample need far more bytes than its weights justify."""
    most = _MOST_SCRATCH + 64 * weights
    if scratch > most:
        raise ValueError(
            f"its layers need {scratch:,} bytes for the activations of one sample, but with {weights:,} bytes of "
            f"weights a model file may ask for {most:,} at most: a small file must not take much memory"
        )


def check_slots(slots: Mapping[str, NDArray[Any]]) -> None:
    """Check that what an optimiser takes the root of, or steps by, is not negative."""
    for name in ("squares", "largest_squares", "step_sizes"):
        if name in slots and (slots[name] < 0).any():
            raise ValueError(f"the optimiser's {name} must be >= 0, not {slots[name].min():g}")


def _generator_state(rng: np.random.Generator) -> dict[str, Any] | None:
    state = dict(rng.bit_generator.state)
    return state if state["bit_generator"] in _GENERATORS else None


def generator_from(state: Any) -> np.random.Generator | None:
    """Return the generator that a header describes, None for none; ValueError on anything malformed."""
    if state is None:
        return None
    if not _is_sound(state):
        raise ValueError(f"malformed generator {shown(state)}: expected the state of one of {', '.join(_GENERATORS)}")
    bits = getattr(np.random, state["bit_generator"])(0)
    bits.state = state
    return np.random.Generator(bits)


def _is_sound(state: Any) -> bool:
    """Whether a generator can reach this state: with an increment that is even it may repeat one number for ever."""

    def whole(number: Any, bits: int) -> bool:
        return type(number) is int and 0 <= number < 2**bits

    if not isinstance(state, dict) or set(state) != {"bit_generator", "state", "has_uint32", "uinteger"}:
        return False
    inner = state["state"]
    return (
        state["bit_generator"] in _GENERATORS
        and isinstance(inner, dict)
        and set(inner) == {"state", "inc"}
        and all(whole(number, 128) for number in inner.values())
        and inner["inc"] % 2 == 1
        and whole(state["has_uint32"], 1)
        and whole(state["uinteger"], 32)
    )
