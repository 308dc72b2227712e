"""One training call: its samples, its buffers, and the core's passes over them, chunk by chunk.

`loop` decides what happens between two epochs; this module is what happens within one. Who trains puts off Ctrl-C
(`cmlp._core.Postponed`): it is seen between two chunks, when all numbers belong to the same step.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cmlp._core import Allowed, Training, first_nonfinite, is_plain, see_interrupt
from cmlp._engine.failures import Failure, at_sample, in_state
from cmlp._engine.model import Snapshot
from cmlp._engine.threads import Crossover
from cmlp._engine.update import step_rates
from cmlp.averaging import EMA, SWA
from cmlp.optimizers import SteppingOptimizer
from cmlp.schedules import Constant

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cmlp._engine.model import Model
    from cmlp.data.samples import Samples

CHUNK_NANOSECONDS = 5e7  # aim of one call of the core: short enough for Ctrl-C, long enough to cost nothing


@dataclass(slots=True)
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
        self.model, self.update, self._n_threads = model, update, n_threads
        self.batch_size, plain = int(update["batch_size"]), is_plain(update)
        self.counts_right = bool(update["counts_right"])
        self._threads = Crossover(n_threads, self.batch_size, model.parameters.size)
        averaging = model.optimizer.averaging
        self._swa = averaging if isinstance(averaging, SWA) else None
        self._state = model.slots
        self._buffers = Buffers(
            workspace=model.workspace(self.batch_size, self._threads.most),
            gradient=None if plain else model.new_vector(),
            average=model.parameters if isinstance(averaging, EMA) else None,
            slots=model.slots_for(update),
            last_loss=np.zeros(1),
        )
        # a sample costs 100 ns and 1 ns per parameter, or less; in batches, which may end anywhere, it is measured
        self._chunk = self._visits_in(model.parameters.size / (1 if plain else 8) + 100)
        self._in_batches, self._averages = not plain, averaging is not None
        self._constant: tuple[Any, NDArray[np.float64]] = None, np.zeros(1)  # an optimiser and its constant rate
        self._snapshot: Snapshot | None = None
        self._begin(samples)

    @classmethod
    def of(cls, model: Model, samples: Samples, update: NDArray[np.void], n_threads: int | None = 1) -> Run:
        """Return the run of the model's last call, if it had the same plan and has been spared, or else a new one."""
        run = model.take_spare("run")
        if run is None or run.update is not update or run._state is not model.slots or run._n_threads != n_threads:
            return cls(model, samples, update, n_threads)
        run._begin(samples)
        return run  # type: ignore[no-any-return]

    def _begin(self, samples: Samples) -> None:
        self.samples, self._saved = samples, False
        self._training: Any = None  # the core's view of
        self._learnt_from: Samples | None = None  # these samples
        if self.model.drops_out:
            self.update["seed"] = self.model.draw_dropout_seed()

    def spare(self) -> None:
        """Leave the memory to the model's next call, if it is not much."""
        self.samples = self._training = self._learnt_from = None  # type: ignore[assignment]
        self.model.leave_spare("run", self, self.model.parameters.nbytes + self._buffers.workspace.nbytes)

    def _visits_in(self, nanoseconds: float) -> int:
        """Return how many visits a chunk has if one takes so long: whole batches."""
        return max(1, int(CHUNK_NANOSECONDS / nanoseconds) // self.batch_size) * self.batch_size

    def learn(self, order: NDArray[np.int64] | None = None, deadline: float = math.inf) -> Pass:
        """Visit the samples once, in `order` or as they are, until the deadline (time.perf_counter)."""
        result, done = Pass(), 0
        for part, visits in self.samples.parts(order, self.batch_size):
            if done:
                see_interrupt()
            at = self._learn_part(part, visits, deadline, result)
            if at >= 0:
                result.bad = done + at if order is None else int(order[done + at])
            if at >= 0 or result.out_of_time:
                break
            done += len(part)
        return result

    def _learn_part(self, samples: Samples, order: NDArray[np.int64] | None, deadline: float, result: Pass) -> int:
        """Learn from samples in memory, chunk by chunk; return at which visit the loss was not finite, or -1."""
        training = self._training if self._learnt_from is samples else self._training_on(samples)
        counter, batch = self.model.one_row, self.batch_size
        first_step, n_visits = counter.n_steps, len(samples if order is None else order)
        rates = self._rates(-(-n_visits // batch))
        constant = len(rates) == 1
        if self._averages and first_step == 0:
            self.model.trained[...] = self.model.parameters
        stop, bad = 0, -1
        while stop < n_visits and bad < 0:
            if stop:
                see_interrupt()
            start, stop = stop, min(stop + self._chunk, n_visits)
            first, last = start // batch, -(-stop // batch)  # steps
            some_rates = rates if constant else rates[first:last]
            if self._in_batches or self._swa is not None:
                bad = self._call(training, order, (start, stop), some_rates, first_step + first)
            else:
                bad = training.learn(order, start, stop, some_rates, first_step + first, 1, self.samples.checked)
            counter.n_steps += last - first
            if deadline < math.inf and time.perf_counter() >= deadline:
                result.out_of_time = True
                break
        result.loss_sum += training.loss
        result.correct += training.correct
        result.clipped += training.n_clipped
        result.weight += samples.total_weight(order, stop)
        result.learning_rate = rates.item(0 if constant else last - 1)
        return bad

    def _call(
        self,
        training: Training,
        order: NDArray[np.int64] | None,
        visits: tuple[int, int],
        rates: NDArray[np.float64],
        first_step: int,
    ) -> int:
        """Call the core for one chunk, with as many threads as are worth it."""
        model, (start, stop), checked = self.model, visits, self.samples.checked
        last_loss = self._buffers.last_loss
        last_loss[0] = model.memory.get("last_loss", 0.0)
        n_threads, began = self._threads.next(stop - start), time.perf_counter()
        bad = training.learn(order, start, stop, rates, first_step, n_threads, checked)
        if self._swa is not None and model.n_epochs <= self._swa.start:  # there is no average yet
            model.parameters[...] = model.trained
        seconds = time.perf_counter() - began
        self._threads.took(n_threads, stop - start, seconds)
        if self._in_batches and self._threads.settled:
            self._chunk = self._visits_in(1e9 * seconds / (stop - start))
        if "last_loss" in model.memory:
            model.memory["last_loss"] = last_loss.item()
        return bad

    def _training_on(self, samples: Samples) -> Training:
        """Return the core's view of samples in memory, and remember it."""
        model = self.model
        training = Training(model.program, model.trained, self._buffers, samples, self.update)
        self._training, self._learnt_from = training, samples
        return training

    def _rates(self, n_steps: int) -> NDArray[np.float64]:
        """Return the learning rates of the next steps, or a single one."""
        model, optimizer = self.model, self.model.optimizer
        if optimizer is self._constant[0]:
            return self._constant[1]
        if not isinstance(optimizer, SteppingOptimizer):
            raise TypeError(f"{type(optimizer).__name__} takes all samples and searches: use fit")
        schedule = optimizer.schedule
        asked = schedule, model.memory, model.n_steps, n_steps, model.n_epochs, model.dtype
        if type(schedule) is Constant:
            self._constant = optimizer, step_rates(*asked)
            return self._constant[1]
        with Allowed():  # it may be users' code
            return step_rates(*asked)

    def average_epoch(self) -> None:
        """Count the weights at the end of this epoch in, if the mean over the epochs is asked for."""
        model = self.model
        if self._swa is not None and model.n_epochs > self._swa.start:
            m = model.n_epochs - self._swa.start + 1
            with np.errstate(all="ignore"):  # `failure` sees what overflows
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
        with np.errstate(all="ignore"):  # a norm that overflows is infinite
            for dW, W in zip(self.model.views(gradient)[0], self.model.weights, strict=True):
                dW += decay * W + l1 * np.sign(W)
            return float(np.linalg.norm(gradient))

    def save_state(self) -> None:
        """Copy what training changes, for `restore_state`."""
        if self._snapshot is None:
            self._snapshot = Snapshot(self.model)
        else:
            self._snapshot.take()
        self._saved = True

    def restore_state(self) -> None:
        """Take the model back to what `save_state` saw; before its first call nothing has changed."""
        if self._saved and self._snapshot is not None:
            self._snapshot.restore()

    def keep_finite(self) -> None:
        """Take back what was learnt since `save_state` if it is not finite: Ctrl-C came before that was seen."""
        if self._training is not None and not self._training.finite():
            self.restore_state()

    def failure(self, result: Pass) -> Failure | None:
        """Say where numbers stopped being finite in a pass, or None if none did."""
        model, row = self.model, result.bad
        if row is None:
            finite = self._training is None or self._training.finite()
            if self._swa is not None and first_nonfinite(model.parameters) >= 0:
                finite = False
            if finite and math.isfinite(result.loss_sum):
                return None
        failure = in_state(model, row)
        if failure is not None:
            return failure
        if row is None:
            return Failure("the sum of all losses is not finite", None, None)
        return at_sample(model, self.samples.rows(slice(row, row + 1)), row, model.trained)
