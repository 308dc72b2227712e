"""Where numbers stopped being finite: the reasons that a DivergenceError gives."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cmlp._core import KINDS, first_nonfinite
from cmlp._engine.program import fields_of
from cmlp.losses import FACTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cmlp._engine.model import Model
    from cmlp.data.samples import Samples

# What optimisers keep, by the names of the core's SLOTS.
_KEPT = {
    "velocity": "momentum",
    "squares": "squares of gradients",
    "largest_squares": "largest squares of gradients",
    "means": "means of gradients",
    "last_signs": "signs of gradients",
    "step_sizes": "sizes of steps",
}


class Failure(NamedTuple):
    """Where numbers stopped being finite; see `DivergenceError`."""

    reason: str
    sample: int | None
    layer: int | None


def in_state(model: Model, sample: int | None = None) -> Failure | None:
    """Say of which layer the parameters, their average or what the optimiser keeps is not finite; None: all is."""
    kept = {name: model.slots[name] for name in model.optimizer.state_names}
    for name, vector in {"trained": model.trained, "average": model.parameters, **kept}.items():
        if first_nonfinite(vector) < 0:
            continue
        for k, arrays in enumerate(zip(*model.views(vector), strict=True)):
            if all(array is None or np.isfinite(array).all() for array in arrays):
                continue
            if name == "trained":
                return Failure(f"the parameters of layer {k} are not finite", sample, k)
            if name == "average":
                return Failure(f"the averaged parameters of layer {k} are not finite", sample, k)
            limit = f"beyond {model.dtype} (up to {np.finfo(model.dtype).max:.2g})"
            reason = f"the {_KEPT[name]} that the optimizer keeps for layer {k} are not finite: {limit}"
            return Failure(reason, sample, k)
    return None


def at_sample(model: Model, one: Samples, row: int, parameters: NDArray[Any]) -> Failure:
    """Say what is not finite on the way from one sample, this row of X, to its loss, at these parameters."""
    one = replace(one.dense(), weights=None)
    values = np.zeros((1, model.program.n_activations), model.dtype)
    model.program.forward(parameters, one.X, values)
    k, at = -1, f"at row {row} of X"
    for op in fields_of(model.operations):
        k += op["kind"] == KINDS["dense"]
        for offset, what in (("z", "net input"), ("out", "activation")):
            if not np.isfinite(values[0, op[offset] : op[offset] + op["n_out"]]).all():
                return Failure(f"the {what} of layer {k} is not finite {at}", row, max(k, 0))
    network = model.program.network
    loss = model.program.evaluate(parameters, one, model.workspace(1))[0]
    output = values[0, network["output"] : network["output"] + model.n_outputs]
    return Failure(_of_loss(model, loss, output, fused=bool(network["fused"]), at=at), row, None)


def _of_loss(model: Model, loss: float, output: NDArray[Any], *, fused: bool, at: str) -> str:
    """Say why a loss was not finite whose output is; loss: what it is without dropout."""
    if not math.isfinite(loss):
        targets = FACTS[model.loss_name].targets
        positive = targets in ("counts", "classes", "probabilities")  # their losses take logarithms
        if not fused and positive and (output.min() <= 0 or (targets == "probabilities" and output.max() >= 1)):
            return f"the loss is {loss} {at}: {model.loss_name} is not defined for this output"
        return f"the loss is {loss} {at}: {model.loss_name} overflows for this output and target"
    if model.drops_out:
        return f"the loss is not finite {at}, with dropout"
    return f"the loss is not finite {at}: a sum on the way to it is beyond {model.dtype}"
