"""One training call: its samples, its buffers, and the core's passes over them, chunk by chunk.

`loop` decides what happens between two epochs; this module is what happens within one.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cmlp._core import first_nonfinite, is_plain
from cmlp._engine.threads import Crossover
from cmlp.averaging import EMA, SWA
from cmlp.optimizers import SteppingOptimizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cmlp._engine.model import Model, Snapshot
    from cmlp.data.samples import Samples

CHUNK_NANOSECONDS = 5e7  # aim of one call of the core: short enough for Ctrl-C, long enough to cost nothing


@dataclass
class Pass:
    """What one pass over the samples did, complete or not."""

    loss_sum: float = 0.0  # Σ s_c ℓ_c
    correct: float = 0.0  # Σ s_c of those whose class was right, if they are counted
    weight: float = 0.0  # Σ s_c
    clipped: int = 0
    learning_rate: float = math.nan  # of the last step
    objective: float = math.nan  # E at the end of the iteration, of L-BFGS
    bad: int | None = None  # row of X whose loss was not finite
    out_of_time: bool = False

    @property
    def loss(self) -> float:
        """The mean loss; 0 if all weights were 0."""
        return self.loss_sum / self.weight if self.weight else 0.0


class Failure(NamedTuple):
    """Where numbers stopped being finite; see `DivergenceError`."""

    reason: str
    sample: int | None
    layer: int | None


class Buffers(NamedTuple):
    """What a pass of the core writes to, beside the parameters."""

    workspace: NDArray[Any]
    gradient: NDArray[Any] | None  # None: plain per-sample SGD needs none
    average: NDArray[Any] | None  # follows the parameters over the steps
    slots: dict[str, NDArray[Any]]  # what the optimiser keeps, by names of the core's SLOTS
    last_loss: NDArray[np.float64]  # (1,): Σ s_c ℓ_c of the last batch


class Run:
    """The memory of one training call: scratch, a gradient if one is needed, and a copy of the last good state."""

    def __init__(self, model: Model, samples: Samples, update: NDArray[np.void], n_threads: int | None = 1) -> None:
        self.model, self.samples, self.update = model, samples, update
        batch_size = int(update["batch_size"])
        self.batch_size = batch_size
        self._threads = Crossover(n_threads, batch_size)
        averaging = model.optimizer.averaging
        self._buffers = Buffers(
            workspace=model.workspace(batch_size, self._threads.most),
            gradient=None if is_plain(update) else model.new_vector(),
            average=model.parameters if isinstance(averaging, EMA) else None,
            slots={name: model.slots[name] for name in model.optimizer.state_names},
            last_loss=np.zeros(1),
        )
        # a chunk holds whole batches; a sample costs about 1 ns per parameter and 100 ns besides
        self._chunk = max(1, int(CHUNK_NANOSECONDS / (model.parameters.size + 100)) // batch_size) * batch_size
        self._snapshot: Snapshot | None = None
        if update["dropout"]:
            update["seed"] = model.draw_dropout_seed()

    def learn(self, order: NDArray[np.int64] | None = None, deadline: float = math.inf) -> Pass:
        """Visit the samples once, in `order` or as they are, until the deadline (time.perf_counter)."""
        model = self.model
        if model.optimizer.averaging is not None and model.n_steps == 0:
            model.trained[...] = model.parameters
        result, done = Pass(), 0
        for part, visits in self.samples.parts(order, self.batch_size):
            at = self._learn_part(part, visits, deadline, result)
            if at is not None:
                result.bad = done + at if order is None else int(order[done + at])
            if result.bad is not None or result.out_of_time:
                break
            done += len(part)
        return result

    def _learn_part(
        self, samples: Samples, order: NDArray[np.int64] | None, deadline: float, result: Pass
    ) -> int | None:
        """Learn from samples in memory, chunk by chunk; return at which visit the loss was not finite."""
        model, batch, memory = self.model, self.batch_size, self.model.memory
        if not isinstance(model.optimizer, SteppingOptimizer):
            raise TypeError(f"{type(model.optimizer).__name__} takes all samples and searches: use fit")
        n_visits = len(samples) if order is None else len(order)
        schedule = model.optimizer.schedule
        rates, scale = schedule.rates(model.n_steps, -(-n_visits // batch), model.n_epochs), schedule.scale(memory)
        rates = rates if scale == 1.0 else rates * scale
        for start in range(0, n_visits, self._chunk):
            stop = min(start + self._chunk, n_visits)
            part = samples if stop - start == n_visits or order is not None else samples.rows(slice(start, stop))
            visits = None if order is None else order[start:stop]
            first, last = start // batch, -(-stop // batch)  # steps
            loss, correct, clipped, bad = self._call(
                part, visits, rates if len(rates) == 1 else rates[first:last], last - first
            )
            result.loss_sum += loss
            result.correct += correct
            result.weight += part.total_weight(visits)
            result.clipped += clipped
            result.learning_rate = float(rates[0 if len(rates) == 1 else last - 1])
            if bad >= 0:
                return start + bad
            if time.perf_counter() >= deadline:
                result.out_of_time = True
                break
        return None

    def _call(
        self, samples: Samples, visits: NDArray[np.int64] | None, rates: NDArray[np.float64], n_steps: int
    ) -> tuple[float, float, int, int]:
        """Call the core for one chunk."""
        model, buffers, averaging = self.model, self._buffers, self.model.optimizer.averaging
        buffers.last_loss[0] = model.memory.get("last_loss", 0.0)
        first_step = model.n_steps
        model.n_steps += n_steps  # before the call: Ctrl-C during it is raised right after it
        n_threads, began = self._threads.next(), time.perf_counter()
        try:
            found = model.program.train(
                model.trained, buffers, samples, visits, self.update, rates, first_step, n_threads
            )
        finally:
            if isinstance(averaging, SWA) and model.n_epochs <= averaging.start:  # there is no average yet
                model.parameters[...] = model.trained
        n_visits = len(samples) if visits is None else len(visits)
        self._threads.took(n_threads, (time.perf_counter() - began) / n_visits)
        if "last_loss" in model.memory:
            model.memory["last_loss"] = buffers.last_loss.item()
        return found

    def average_epoch(self) -> None:
        """Count the weights at the end of this epoch in, if the mean over the epochs is asked for."""
        model, averaging = self.model, self.model.optimizer.averaging
        if isinstance(averaging, SWA) and model.n_epochs > averaging.start:
            m = model.n_epochs - averaging.start + 1
            model.parameters += (model.trained - model.parameters) / m

    def learn_scale(self) -> None:
        """Let the model's scale of the inputs learn from the samples, and put them on it."""
        if self.model.scaling.needed:
            self.model.scaling.learn(self.samples.X)
            self.samples = self.model.scaled(self.samples)

    def gradient_norm(self, kept: NDArray[np.int64] | None) -> float:
        """‖∇E‖₂ over the samples, or over those kept for training; weight decay's λW and λ₁ sign(W) included."""
        part = self.samples if kept is None else self.samples.rows(kept)
        gradient, _ = self.model.gradient(part, 1 / len(part) if self.update["mean"] else 1.0)
        decay, l1 = float(self.update["weight_decay"]), float(self.update["l1"])
        for dW, W in zip(self.model.views(gradient)[0], self.model.weights, strict=True):
            dW += decay * W + l1 * np.sign(W)
        return float(np.linalg.norm(gradient))

    def save_state(self) -> None:
        """Copy what training changes, for `restore_state`."""
        self._snapshot = self.model.snapshot(self._snapshot)

    def restore_state(self) -> None:
        """Take the model back to what `save_state` saw."""
        assert self._snapshot is not None
        self.model.restore(self._snapshot)

    def failure(self, result: Pass) -> Failure | None:
        """Say where numbers stopped being finite in a pass, or None if none did."""
        model, row = self.model, result.bad
        if row is None and first_nonfinite(self.model.trained) < 0:
            return None
        for k, arrays in enumerate(zip(*model.views(self.model.trained), strict=True)):
            if not all(array is None or np.isfinite(array).all() for array in arrays):
                return Failure(f"the parameters of layer {k} are not finite", row, k)
        assert row is not None
        before = model.parameters.copy()
        model.parameters[...] = self.model.trained
        inside = model.gradients(self.samples.rows(slice(row, row + 1)).dense(), 1.0)
        model.parameters[...] = before
        for k, values in enumerate(zip(inside.net_inputs, inside.activations, strict=True)):
            if not all(np.isfinite(value).all() for value in values):
                return Failure(f"the net input of layer {k} is not finite at row {row} of X", row, k)
        if math.isfinite(inside.loss):  # which is without dropout
            return Failure(f"the loss is not finite at row {row} of X, with dropout", row, None)
        undefined = f"{model.loss_name} is not defined for this output"
        return Failure(f"the loss is {inside.loss} at row {row} of X: {undefined}", row, None)
