"""The optimisers that search for their steps: exact line search and L-BFGS, with SciPy's minimisers over the core.

E(w), the objective, is the mean or sum of s_c ℓ_c over the samples, plus ½ λ Σ‖W‖².
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from cmlp._base.extras import import_extra
from cmlp._core import Update, first_nonfinite
from cmlp._engine.passes import Crossover, Pass
from cmlp.data.samples import Samples
from cmlp.optimizers import LBFGS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cmlp.network import Network
    from cmlp.training import DivergenceError, History

    Evaluate: TypeAlias = Callable[[NDArray[Any]], tuple[float, NDArray[Any]]]

_MOST_TRIALS = 200  # of a step, in search of one that is too long or one that is short enough
_STEP_TOLERANCE = 1e-8  # of a line search, relative to the longest step


def import_optimize() -> Any:
    """Return scipy.optimize, or say how to get it."""
    return import_extra("scipy.optimize", "LBFGS and exact line searches")


class Objective:
    """E and ∇E at any vector of the parameters' layout, by the kernels for batches.

    E is taken over the samples, or over those kept for training.

    Attributes
    ----------
    real : ndarray of int64
        Where the parameter vector has weights and biases, not padding.
    bad : int or None
        Row of X whose loss was not finite at the last point.
    data_loss : float
        Σ s_c ℓ_c at the last point of `gradient`.
    """

    def __init__(
        self,
        network: Network,
        samples: Samples,
        kept: NDArray[np.int64] | None,
        update: Update,
        n_threads: int | None,
    ) -> None:
        self.network, self.update, self._kept = network, update, kept
        self.samples = samples if kept is None else samples.rows(kept)
        self.scale = 1 / len(self.samples.X) if update.mean else 1.0
        self._threads = Crossover(n_threads, update.batch_size)
        self._gradient = network._new_parameters()
        self._workspace = network._new_workspace(update.batch_size, self._threads.most)
        mask = network._new_parameters()
        for array in (*network._views(mask)[0], *network._views(mask)[1]):
            if array is not None:
                array[...] = 1
        self.real = np.flatnonzero(mask)
        self.bad: int | None = None
        self.data_loss = 0.0

    def value(self, w: NDArray[Any]) -> float:
        """Return E(w); infinite where it is not a finite number."""
        s = self.samples
        loss, _ = self.network._program.evaluate(w, s.X, s.Y, s.labels, s.weights, self._workspace)
        value: float = self.scale * loss + self._penalty(w)
        return value if math.isfinite(value) else math.inf

    def gradient(self, w: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        """Return E(w) and ∇E(w), which the next call overwrites; E is infinite if a loss was not finite."""
        network, s = self.network, self.samples
        no_rates, no_loss = np.zeros(1), np.zeros(1)
        n_threads, began = self._threads.next(), time.perf_counter()
        self.data_loss, _, bad = network._program.train(
            w,
            s.X,
            s.Y,
            s.labels,
            None,
            s.weights,
            no_rates,
            0,
            self.update,
            (),
            no_loss,
            self._gradient,
            self._workspace,
            n_threads,
        )
        self._threads.took(n_threads, time.perf_counter() - began)
        self.bad = None if bad < 0 else bad if self._kept is None else int(self._kept[bad])
        for dW, W in zip(network._views(self._gradient)[0], network._views(w)[0], strict=True):
            dW += self.update.weight_decay * W
        value = self.scale * self.data_loss + self._penalty(w)
        return value if bad < 0 and first_nonfinite(self._gradient) < 0 else math.inf, self._gradient

    def _penalty(self, w: NDArray[Any]) -> float:
        """Return ½ λ Σ‖W‖²."""
        if not self.update.weight_decay:
            return 0.0
        squares = sum(float(np.square(W, dtype=np.float64).sum()) for W in self.network._views(w)[0])
        return 0.5 * self.update.weight_decay * squares

    def passed(self, learning_rate: float = math.nan) -> Pass:
        """Return what an iteration reports: the data term at the last point of `gradient`."""
        return Pass(self.data_loss, self.samples.total_weight(), 0, learning_rate)

    def divergence(self, history: History) -> DivergenceError:
        """Return the error that says where the last point's numbers were not finite."""
        from cmlp.training import DivergenceError  # which imports this module

        iteration = len(history.loss)
        what = "its gradient" if self.bad is None else f"the loss at row {self.bad} of X"
        return DivergenceError(
            f"training diverged in iteration {iteration}: {what} is not finite at a point that was tried. The network "
            "has the parameters from before. Try weight_decay, or inputs scaled to about unit size",
            iteration,
            self.bad,
            None,
            history,
        )


class _Stop(Exception):
    """Ends SciPy's minimisation from within."""


def search(objective: Objective, epochs: int, end_epoch: Callable[[Pass], bool], history: History) -> None:
    """Train with an optimiser that searches for its steps, from the network's parameters on.

    Parameters
    ----------
    objective : Objective
    epochs : int
        Iterations at most.
    end_epoch : callable
        Called after every iteration, with the network's parameters where it ended; True stops.
    history : History
        `objective` and `stopped` are entered here.

    Raises
    ------
    DivergenceError
        If the objective or its gradient is not finite; the network keeps the parameters of the last iteration.
    """

    def evaluate(w: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        value, gradient = objective.gradient(w)
        if value == math.inf:
            raise objective.divergence(history)
        return value, gradient

    optimizer = objective.network.optimizer
    if isinstance(optimizer, LBFGS):
        _minimize_lbfgs(objective, evaluate, optimizer, epochs, end_epoch, history)
        return
    for _ in range(epochs):
        result = _line_search_step(objective, evaluate)
        if end_epoch(result):
            break
        if result.learning_rate == 0.0:
            history.stopped = "converged"
            break


def _line_search_step(objective: Objective, evaluate: Evaluate) -> Pass:
    """Make one step of gradient descent: w ← w - α ∇E(w), α = argmin of E over α > 0.

    The first α that is tried is the learning rate. It is doubled until E rises again, or halved until E falls; SciPy's
    bounded minimiser then searches below the α that was too long. If none lowers E, w stays: it is stationary, but for
    rounding.
    """
    network = objective.network
    w, schedule = network._parameters, network.optimizer.schedule  # type: ignore[attr-defined]
    start, g = evaluate(w)
    result = objective.passed(0.0)
    trial = np.empty_like(w)

    def along(alpha: float) -> float:
        np.multiply(g, -alpha, out=trial)
        np.add(w, trial, out=trial)
        return objective.value(trial)

    best, lowest = 0.0, start
    alpha = schedule.rates(network.n_steps, 1, network.n_epochs).item() * schedule.scale(network._memory)
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
        found = import_optimize().minimize_scalar(along, bounds=(0.0, longest), method="bounded", options=options)
        result.learning_rate = float(found.x) if found.fun < lowest else best
        along(result.learning_rate)
        w[...] = trial
    network.n_steps += 1
    return result


def _minimize_lbfgs(
    objective: Objective,
    evaluate: Evaluate,
    optimizer: LBFGS,
    epochs: int,
    end_epoch: Callable[[Pass], bool],
    history: History,
) -> None:
    """Minimise E by SciPy's L-BFGS-B, which sees the parameters without their padding, in float64."""
    network, real = objective.network, objective.real
    trial = network._new_parameters()

    def value_and_gradient(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        trial[real] = x
        value, gradient = evaluate(trial)
        return value, gradient[real].astype(np.float64)

    def end_iteration(intermediate_result: Any) -> None:  # SciPy asks for this name
        network._parameters[real] = intermediate_result.x
        network.n_steps += 1
        history.objective.append(float(intermediate_result.fun))
        if end_epoch(objective.passed()):
            raise _Stop

    options = {
        "maxiter": epochs,
        "maxfun": optimizer.max_fun,
        "maxcor": optimizer.history_size,
        "gtol": optimizer.gtol,
        "ftol": optimizer.ftol,
    }
    x = network._parameters[real].astype(np.float64)
    minimize = import_optimize().minimize
    try:
        found = minimize(value_and_gradient, x, jac=True, method="L-BFGS-B", options=options, callback=end_iteration)
    except _Stop:
        return
    if found.status == 0:
        history.stopped = "converged"
    elif found.nit < epochs:
        history.stopped = "max_fun" if found.nfev >= optimizer.max_fun else "line_search"
