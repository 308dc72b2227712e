"""One training call: its samples, its buffers, and the core's passes over them, chunk by chunk.

`cmlp.training` decides what happens between two epochs; this module is what happens within one.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cmlp._base.checks import check_count, check_name, check_number
from cmlp._core import MOST_THREADS, UPDATE, first_nonfinite, is_plain, record
from cmlp.averaging import EMA, SWA
from cmlp.data.samples import Samples
from cmlp.losses import loss_name
from cmlp.optimizers import SteppingOptimizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cmlp.network import Network
    from cmlp.optimizers import Optimizer

REDUCTIONS = ("mean", "sum")
CHUNK_NANOSECONDS = 5e7  # aim of one call of the core: short enough for Ctrl-C, long enough to cost nothing


@dataclass
class Pass:
    """What one pass over the samples did, complete or not."""

    loss_sum: float = 0.0  # Σ s_c ℓ_c
    weight: float = 0.0  # Σ s_c
    clipped: int = 0
    learning_rate: float = math.nan  # of the last step
    bad: int | None = None  # row of X whose loss was not finite
    out_of_time: bool = False

    @property
    def loss(self) -> float:
        """The mean loss; 0 if all weights were 0."""
        return self.loss_sum / self.weight if self.weight else 0.0


class Buffers(NamedTuple):
    """What `Program.train` computes in and changes besides the parameters; vectors are like the parameters."""

    workspace: NDArray[Any]
    gradient: NDArray[Any] | None
    average: NDArray[Any] | None
    slots: Mapping[str, NDArray[Any]]  # what the optimiser keeps, by names of the core's SLOTS
    last_loss: NDArray[np.float64]  # (1,): Σ s_c ℓ_c of the last batch


class Failure(NamedTuple):
    """Where numbers stopped being finite; see `DivergenceError`."""

    reason: str
    sample: int | None
    layer: int | None


def make_update(
    optimizer: Optimizer,
    n_samples: int,
    batch_size: int | str | None = "auto",
    reduction: str = "mean",
    clip_delta: float | None = None,
    clip_value: float | None = None,
    clip_norm: float | None = None,
    dropout_seed: int | None = None,
    **settings: Any,
) -> NDArray[Any]:
    """Check the settings of an update and return its record for the core; `settings`: further fields."""
    kind = type(optimizer).__name__
    if isinstance(batch_size, str) and batch_size == "auto":
        batch_size = None if optimizer.full_batch else 1
    batch = n_samples if batch_size is None else check_count(batch_size, "batch_size")
    if optimizer.full_batch and batch < n_samples:
        raise ValueError(f"{kind} takes all samples at once: leave batch_size out or give None, not {batch_size}")
    given = {"clip_delta": clip_delta, "clip_value": clip_value, "clip_norm": clip_norm}
    limits = {name: check_number(value, name, above=0) for name, value in given.items() if value is not None}
    for name in limits:
        if optimizer.searches:
            raise ValueError(f"{name} does not go with {kind}: its search needs the objective's own gradient")
    if optimizer.searches and dropout_seed is not None:
        raise ValueError(f"dropout does not go with {kind}: its search needs an objective that stays the same")
    return record(
        UPDATE,
        batch_size=min(batch, n_samples),
        mean=check_name(reduction, REDUCTIONS, "reduction") == "mean",
        dropout=dropout_seed is not None,
        seed=dropout_seed,
        **{**limits, **optimizer.settings, **settings},
    )


def check_threads(n_threads: int | str) -> int | None:
    """Return the number of threads, or None for "auto"."""
    if isinstance(n_threads, str):
        check_name(n_threads, ["auto"], "n_threads")
        return None
    return min(check_count(n_threads, "n_threads"), MOST_THREADS)


def available_processors() -> int:
    """Return how many processors this process may use."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, MOST_THREADS)


class Crossover:
    """Finds out whether all processors are faster than one, for "auto": the numbers are the same either way."""

    def __init__(self, n_threads: int | None, batch_size: int) -> None:
        most = available_processors() if n_threads is None else n_threads
        self.most = min(most, -(-batch_size // 4))  # rows go to threads by fours
        self._best = {self.most: math.inf} if n_threads is not None else {1: math.inf, self.most: math.inf}
        self._trials = [] if len(self._best) == 1 else [1, self.most] * 3

    def next(self) -> int:
        """Return how many threads the next chunk gets: each choice in turn at first, then the faster."""
        return self._trials[0] if self._trials else min(self._best, key=lambda n: self._best[n])

    def took(self, n_threads: int, seconds_per_sample: float) -> None:
        """Take note of how long a chunk took."""
        if self._trials:
            self._trials.pop(0)
            self._best[n_threads] = min(self._best[n_threads], seconds_per_sample)


class Run:
    """The memory of one training call: scratch, a gradient if one is needed, and a copy of the last good state."""

    def __init__(self, network: Network, samples: Samples, update: NDArray[Any], n_threads: int | None = 1) -> None:
        self.network = network
        self.samples = samples
        self.update = update
        self._batch_size = int(update["batch_size"])
        # with averaging the network's parameters are the average, and these are what the steps change
        self._trained = network._state.get("iterate", network._parameters)
        self._threads = Crossover(n_threads, self._batch_size)
        self._workspace = network._new_workspace(self._batch_size, self._threads.most)
        self._gradient = None if is_plain(update) else network._new_parameters()
        self._saved: list[NDArray[Any]] = []
        self._saved_steps, self._saved_memory = 0, dict(network._memory)

    def learn(self, order: NDArray[np.int64] | None = None, deadline: float = math.inf) -> Pass:
        """Visit the samples once, in `order` or as they are, until the deadline (time.perf_counter)."""
        network, batch = self.network, self._batch_size
        averaging = network.optimizer.averaging
        if averaging is not None and network.n_steps == 0:
            self._trained[...] = network._parameters
        n_visits = len(self.samples.X) if order is None else len(order)
        n_steps = -(-n_visits // batch)
        optimizer, memory = network.optimizer, network._memory
        assert isinstance(optimizer, SteppingOptimizer)  # the others do not learn by passes
        schedule = optimizer.schedule
        rates = schedule.rates(network.n_steps, n_steps, network.n_epochs) * schedule.scale(memory)
        last_loss = np.array([memory.get("last_loss", 0.0)])
        buffers = Buffers(
            self._workspace,
            self._gradient,
            network._parameters if isinstance(averaging, EMA) else None,
            {name: network._state[name] for name in optimizer.state_names},
            last_loss,
        )
        # a chunk holds whole batches; a sample costs about 1 ns per parameter and 100 ns besides
        chunk = max(1, int(CHUNK_NANOSECONDS / (network._parameters.size + 100)) // batch) * batch
        result = Pass()
        for start in range(0, n_visits, chunk):
            stop = min(start + chunk, n_visits)
            part = self.samples.rows(slice(start, stop)) if order is None else self.samples
            visits = None if order is None else order[start:stop]
            first, last = start // batch, -(-stop // batch)  # steps
            step_rates = rates if len(rates) == 1 else rates[first:last]
            network.n_steps += last - first  # before the call: Ctrl-C during it is raised right after it
            n_threads, began = self._threads.next(), time.perf_counter()
            try:
                loss, clipped, bad = network._program.train(
                    self._trained,
                    buffers,
                    part,
                    visits,
                    self.update,
                    step_rates,
                    network.n_steps - (last - first),
                    n_threads,
                )
            finally:
                if isinstance(averaging, SWA) and network.n_epochs <= averaging.start:  # there is no average yet
                    network._parameters[...] = self._trained
            self._threads.took(n_threads, (time.perf_counter() - began) / (stop - start))
            result.loss_sum += loss
            result.weight += part.total_weight(visits)
            result.clipped += clipped
            result.learning_rate = float(rates[0 if len(rates) == 1 else last - 1])
            if "last_loss" in memory:
                memory["last_loss"] = last_loss.item()
            if bad >= 0:
                result.bad = start + bad if visits is None else int(visits[bad])
                break
            if time.perf_counter() >= deadline:
                result.out_of_time = True
                break
        return result

    def average_epoch(self) -> None:
        """Count the weights at the end of this epoch in, if the mean over the epochs is asked for."""
        averaging = self.network.optimizer.averaging
        if isinstance(averaging, SWA) and self.network.n_epochs > averaging.start:
            m = self.network.n_epochs - averaging.start + 1
            self.network._parameters += (self._trained - self.network._parameters) / m

    def learn_scale(self) -> None:
        """Let the network's scale of the inputs learn from the samples, and put them on it."""
        if self.network._scaling.needed:
            self.network._scaling.learn(self.samples.X)
            self.samples = self.network._scaled(self.samples)

    def gradient_norm(self, kept: NDArray[np.int64] | None) -> float:
        """‖∇E‖₂ over the samples, or over those kept for training; weight decay's λW and λ₁ sign(W) included."""
        part = self.samples if kept is None else self.samples.rows(kept)
        gradient = self.network._gradient(part, 1 / len(part.X) if self.update["mean"] else 1.0)[0]
        for dW, W in zip(self.network._views(gradient)[0], self.network.weights, strict=True):
            dW += float(self.update["weight_decay"]) * W + float(self.update["l1"]) * np.sign(W)
        return float(np.linalg.norm(gradient))

    def save_state(self) -> None:
        """Copy parameters and the optimiser's arrays, for `restore_state`."""
        state = self._state()
        if not self._saved:
            self._saved = [array.copy() for array in state]
        else:
            for saved, array in zip(self._saved, state, strict=True):
                saved[...] = array
        self._saved_steps, self._saved_memory = self.network.n_steps, dict(self.network._memory)

    def restore_state(self) -> None:
        """Take the network back to what `save_state` saw."""
        for array, saved in zip(self._state(), self._saved, strict=True):
            array[...] = saved
        self.network.n_steps = self._saved_steps
        self.network._memory = dict(self._saved_memory)

    def _state(self) -> list[NDArray[Any]]:
        return [self.network._parameters, *self.network._state.values(), *self.network._scaling.buffers]

    def failure(self, result: Pass) -> Failure | None:
        """Say where numbers stopped being finite in a pass, or None if none did."""
        network, row = self.network, result.bad
        if row is None and first_nonfinite(self._trained) < 0:
            return None
        for k, arrays in enumerate(zip(*network._views(self._trained), strict=True)):
            if not all(array is None or np.isfinite(array).all() for array in arrays):
                return Failure(f"the parameters of layer {k} are not finite", row, k)
        assert row is not None
        before = network._parameters.copy()
        network._parameters[...] = self._trained
        inside = network._gradients(self.samples.rows(slice(row, row + 1)), 1.0)
        network._parameters[...] = before
        for k, values in enumerate(zip(inside.net_inputs, inside.activations, strict=True)):
            if not all(np.isfinite(value).all() for value in values):
                return Failure(f"the net input of layer {k} is not finite at row {row} of X", row, k)
        if math.isfinite(inside.loss):  # which is without dropout
            return Failure(f"the loss is not finite at row {row} of X, with dropout", row, None)
        undefined = f"{loss_name(network.loss)} is not defined for this output"
        return Failure(f"the loss is {inside.loss} at row {row} of X: {undefined}", row, None)
