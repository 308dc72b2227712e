"""The optimisers that search for their steps: exact line search and L-BFGS, with SciPy's minimisers over the core."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from cmlp._base.extras import import_extra
from cmlp._core import first_nonfinite, see_interrupt
from cmlp._engine.failures import Failure, at_sample
from cmlp._engine.passes import Buffers, Pass
from cmlp._engine.threads import Crossover
from cmlp._engine.update import step_rates
from cmlp.optimizers import LBFGS, SteppingOptimizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cmlp._engine.loop import Rules
    from cmlp._engine.model import Model
    from cmlp.data.samples import Samples

    Evaluate: TypeAlias = Callable[[NDArray[Any]], tuple[float, NDArray[Any]]]

_MOST_TRIALS = 200  # of a step, in search of one that is too long or one that is short enough
_STEP_TOLERANCE = 1e-8  # of a line search, relative to the longest step


def import_optimize() -> Any:
    """Return scipy.optimize, or say how to get it."""
    return import_extra("scipy.optimize", "LBFGS and exact line searches")


class Objective:
    """E and ∇E at any vector of the parameters' layout, by the kernels for batches.

        E(w) = scale · Σ s_c ℓ_c + ½ λ Σ‖W‖² + constant        ∇E = gradient_scale · g + λ W

    with g what the core returns: Σ s_c ∂ℓ_c/∂w, or its mean if the update says so.

    Attributes
    ----------
    real : ndarray of int64
        Where the parameter vector has weights and biases, not padding.
    bad : int or None
        Which of the samples had a loss that was not finite at the last point.
    data_loss : float
        Σ s_c ℓ_c at the last point of `gradient`.
    """

    def __init__(
        self,
        model: Model,
        samples: Samples,
        update: NDArray[np.void],
        n_threads: int | None,
        *,
        scale: float,
        decay: float,
        gradient_scale: float = 1.0,
        constant: float = 0.0,
        rows: NDArray[np.int64] | None = None,
    ) -> None:
        self.model, self.samples, self._update, self._rows = model, samples, update, rows
        self._scale, self._decay, self._gradient_scale, self._constant = scale, decay, gradient_scale, constant
        self._threads = Crossover(n_threads, int(update["batch_size"]), model.parameters.size)
        workspace = model.workspace(int(update["batch_size"]), self._threads.most)
        self._buffers = Buffers(workspace, model.new_vector(), None, {}, np.zeros(1))
        mask = model.new_vector()
        for array in (*model.views(mask)[0], *model.views(mask)[1]):
            if array is not None:
                array[...] = 1
        self.real = np.flatnonzero(mask)
        self.bad: int | None = None
        self.data_loss = 0.0

    def value(self, w: NDArray[Any]) -> float:
        """Return E(w); infinite where it is not a finite number."""
        see_interrupt()
        program, workspace = self.model.program, self._buffers.workspace
        loss = sum(program.evaluate(w, part, workspace)[0] for part, _ in self.samples.parts())
        value = self._scale * loss + self._penalty(w) + self._constant
        return value if math.isfinite(value) else math.inf

    @np.errstate(all="ignore")  # E is infinite where anything overflows
    def gradient(self, w: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        """Return E(w) and ∇E(w), which the next call overwrites; E is infinite if a loss was not finite."""
        see_interrupt()
        gradient, done = self._buffers.gradient, 0
        assert gradient is not None
        self.data_loss, self.bad, total = 0.0, None, None
        for part, _ in self.samples.parts():
            n_threads, began = self._threads.next(len(part)), time.perf_counter()
            loss, _, _, bad = self.model.program.train(
                w, self._buffers, part, None, self._update, np.zeros(1), 0, n_threads
            )
            self._threads.took(n_threads, len(part), time.perf_counter() - began)
            if bad >= 0:
                self.bad = done + bad
                return math.inf, gradient
            self.data_loss += loss
            done += len(part)
            if done < len(self.samples) or total is not None:  # sparse rows come in several parts
                total = gradient.copy() if total is None else total + gradient
        if total is not None:
            gradient[...] = total
        if self._gradient_scale != 1.0:
            gradient *= self._gradient_scale
        for dW, W in zip(self.model.views(gradient)[0], self.model.views(w)[0], strict=True):
            dW += self._decay * W
        value = self._scale * self.data_loss + self._penalty(w) + self._constant
        return value if first_nonfinite(gradient) < 0 else math.inf, gradient

    @np.errstate(all="ignore")
    def _penalty(self, w: NDArray[Any]) -> float:
        """Return ½ λ Σ‖W‖²."""
        if not self._decay:
            return 0.0
        squares = sum(float(np.square(W, dtype=np.float64).sum()) for W in self.model.views(w)[0])
        return 0.5 * self._decay * squares

    def passed(self, learning_rate: float = math.nan, value: float = math.nan) -> Pass:
        """Return what an iteration reports: the data term at the last point of `gradient`, and E."""
        weight = self.samples.total_weight()
        return Pass(self.data_loss, weight=weight, learning_rate=learning_rate, objective=value)

    def failure(self, w: NDArray[Any]) -> Failure:
        """Say what was not finite at the last point, w."""
        if self.bad is None:
            return Failure("the objective or its gradient is not finite at a point that was tried", None, None)
        row = self.bad if self._rows is None else int(self._rows[self.bad])
        reason, _, layer = at_sample(self.model, self.samples.rows(slice(self.bad, self.bad + 1)), row, w)
        return Failure(f"{reason}, at a point that was tried", row, layer)


class _Stop(Exception):
    """Ends SciPy's minimisation from within."""


def search(objective: Objective, rules: Rules, epochs: int) -> str | None:
    """Train with an optimiser that searches for its steps, from the model's parameters on.

    Parameters
    ----------
    objective : Objective
    rules : Rules
        `end_epoch` is called after every iteration, with the model's parameters where it ended; `diverged` if the
        objective or its gradient is not finite: the model keeps the parameters of the last iteration.
    epochs : int
        Iterations at most.

    Returns
    -------
    str or None
        Why it ended: "converged", "max_fun" or "line_search"; None: the rules or the number of epochs ended it.
    """
    optimizer = objective.model.optimizer

    def evaluate(w: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        value, gradient = objective.gradient(w)
        if value == math.inf:
            rules.diverged(objective.failure(w))
        return value, gradient

    if isinstance(optimizer, LBFGS):
        found = minimize_lbfgs(objective, evaluate, optimizer, epochs, rules.end_epoch)
        if found is None:
            return None
        if found.status == 0:
            return "converged"
        if found.nit == epochs:
            return None
        return "max_fun" if found.nfev >= optimizer.max_fun else "line_search"
    for _ in range(epochs):
        result = _line_search_step(objective, evaluate)
        objective.model.n_epochs += 1
        if rules.end_epoch(result):
            return None
        if result.learning_rate == 0.0:
            return "converged"
    return None


def _line_search_step(objective: Objective, evaluate: Evaluate) -> Pass:
    """Make one step of gradient descent: w ← w - α ∇E(w), α = argmin of E over α > 0.

    The first α that is tried is the learning rate. It is doubled until E rises again, or halved until E falls; SciPy's
    bounded minimiser then searches below the α that was too long. If none lowers E, w stays: it is stationary, but for
    rounding.
    """
    model = objective.model
    assert isinstance(model.optimizer, SteppingOptimizer)
    w, schedule = model.parameters, model.optimizer.schedule
    start, g = evaluate(w)
    result = objective.passed(0.0)
    trial = np.empty_like(w)

    @np.errstate(all="ignore")
    def along(alpha: float) -> float:
        np.multiply(g, -alpha, out=trial)
        np.add(w, trial, out=trial)
        return objective.value(trial)

    best, lowest = 0.0, start
    alpha = step_rates(schedule, model.memory, model.n_steps, 1, model.n_epochs, model.dtype).item()
    value = along(alpha)
    growing = value < start
    for _ in range(_MOST_TRIALS):
        if value < lowest:
            best, lowest = alpha, value
            if not growing:
                break
        elif growing:
            break
        alpha *= 2 if growing else 0.5
        value = along(alpha)
    if best > 0.0:
        longest = alpha if growing else 2 * best
        options = {"xatol": _STEP_TOLERANCE * longest, "maxiter": 500}
        with np.errstate(all="ignore"):  # infinite values are among those that SciPy compares
            found = import_optimize().minimize_scalar(along, bounds=(0.0, longest), method="bounded", options=options)
        result.learning_rate = float(found.x) if found.fun < lowest else best
        along(result.learning_rate)
        w[...] = trial
    model.n_steps += 1
    return result


def minimize_lbfgs(
    objective: Objective, evaluate: Evaluate, optimizer: LBFGS, epochs: int, end_epoch: Callable[[Pass], bool]
) -> Any:
    """Minimise E by SciPy's L-BFGS-B, which sees the parameters without their padding, in float64.

    Returns
    -------
    scipy.optimize.OptimizeResult or None
        None: `end_epoch` asked to stop.
    """
    model, real = objective.model, objective.real
    trial = model.new_vector()

    def value_and_gradient(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        trial[real] = x
        value, gradient = evaluate(trial)
        return value, gradient[real].astype(np.float64)

    def end_iteration(intermediate_result: Any) -> None:  # SciPy asks for this name
        model.parameters[real] = intermediate_result.x
        model.n_steps += 1
        model.n_epochs += 1
        if end_epoch(objective.passed(value=float(intermediate_result.fun))):
            raise _Stop

    options = {
        "maxiter": epochs,
        "maxfun": optimizer.max_fun,
        "maxcor": optimizer.history_size,
        "gtol": optimizer.gtol,
        "ftol": optimizer.ftol,
    }
    x = model.parameters[real].astype(np.float64)
    minimize = import_optimize().minimize
    try:
        return minimize(value_and_gradient, x, jac=True, method="L-BFGS-B", options=options, callback=end_iteration)
    except _Stop:
        return None
