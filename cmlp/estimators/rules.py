"""The solvers of the scikit-learn estimators (`cmlp.estimators`): stochastic training epoch by epoch, and L-BFGS.

The objective is scikit-learn's, for a batch B (the whole set in L-BFGS) with weights s_c

    E_B = (Σ_B s_c ℓ_c + ½ α Σ_k ‖W_k‖²) / Σ_B s_c

and so are the order of the random draws, the rules for stopping and the record. The functions here read the parameters
of an estimator and write its fitted attributes.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from cmlp._core import first_nonfinite
from cmlp._engine.passes import Pass, Run, check_threads, make_update
from cmlp.data.samples import Samples
from cmlp.optimizers import SGD, Adam, Optimizer, SteppingOptimizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cmlp.network import Network

DENSE_BYTES = 1 << 26  # sparse rows become dense so many bytes at a time
SMALLEST_RATE = 1e-6  # learning_rate="adaptive" gives up below it

NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)


@dataclass(frozen=True)
class AdamHat(Adam):
    """Adam with ε added to √v, as scikit-learn has it, and not to √v̂ (Kingma and Ba, end of section 2)."""

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of `cmlp._core.UPDATE` that the optimiser decides."""
        return {**super().settings, "eps_hat": True}

    def to_config(self) -> dict[str, Any]:
        """Return Adam's: a network that is saved goes on with ε as everywhere else."""
        return {**super().to_config(), "name": "adam"}


def optimizer_of(estimator: Any) -> Optimizer:
    """Return the optimiser that the parameters of an estimator ask for."""
    rate = float(estimator.learning_rate_init)
    if estimator.optimizer is not None:
        chosen: Optimizer = estimator.optimizer
        return chosen
    l1, max_norm = float(estimator.l1), estimator.max_norm
    if estimator.solver == "adam":
        betas = float(estimator.beta_1), float(estimator.beta_2)
        return AdamHat(rate, *betas, float(estimator.epsilon), l1=l1, max_norm=max_norm)
    momentum = min(float(estimator.momentum), math.nextafter(1, 0))  # scikit-learn allows 1
    nesterov = bool(estimator.nesterovs_momentum) and momentum > 0
    return SGD(rate, momentum, nesterov, l1=l1, max_norm=max_norm)


def learning_rate(network: Network) -> float:
    """Return the learning rate that `set_rate` or the start has set."""
    assert isinstance(network.optimizer, SteppingOptimizer)
    return float(network.optimizer.schedule.rates(0, 1, 0)[0])


def set_rate(network: Network, rate: float) -> None:
    """Go on at another constant learning rate, with scikit-learn's momentum v' = μ v' - γ g.

    The core keeps v = μ v + g and steps by -γ v, so that v' = -γ v: v' stays as it is if v shrinks as γ grows.
    """
    before = learning_rate(network)
    assert isinstance(network.optimizer, SteppingOptimizer)
    network._optimizer = replace(network.optimizer, learning_rate=rate)
    if "velocity" in network._state:
        network._state["velocity"] *= before / rate


def n_rows(samples: Samples) -> int:
    """Return the number of samples; X may be sparse."""
    return int(samples.X.shape[0])


def dense_chunks(
    samples: Samples, visits: NDArray[np.int64] | None, batch_size: int = 1
) -> Iterator[tuple[Samples, NDArray[np.int64] | None]]:
    """Yield the samples and the visits to them: in one piece, or sparse rows, some batches at a time made dense."""
    if isinstance(samples.X, np.ndarray):
        yield samples, visits
        return
    row_bytes = samples.X.shape[1] * samples.X.dtype.itemsize
    rows = max(1, DENSE_BYTES // row_bytes // batch_size) * batch_size
    for start in range(0, n_rows(samples) if visits is None else len(visits), rows):
        part = samples.rows(slice(start, start + rows) if visits is None else visits[start : start + rows])
        part.X = part.X.toarray()
        yield part, None


class HeldOut:
    """Validation samples: their mean loss, and the score that scikit-learn takes (accuracy or R²)."""

    def __init__(self, estimator: Any, network: Network, samples: Samples) -> None:
        self._estimator = estimator
        self._network = network
        self._samples = samples
        self._constant = mean_of_batches(loss_constants(network, samples), samples.weights, None) / n_rows(samples)

    def scores(self) -> tuple[float, float]:
        """Return the loss (without the penalty) and the score at the network's present parameters."""
        loss, outputs = 0.0, []
        for part, _ in dense_chunks(self._samples, None):
            if part.total_weight() > 0:
                loss += part.total_weight() * self._network._evaluate(part).loss
            outputs.append(self._network.predict(part.X))
        if not math.isfinite(loss):
            return math.nan, math.nan
        mean = self._estimator._loss_scale() * loss / _total_weight(self._samples) + self._constant
        return mean, self._estimator._validation_score(self._samples, np.concatenate(outputs))


def loss_constants(network: Network, samples: Samples) -> NDArray[np.float64] | None:
    """Return y log y - y (M,): poisson's half deviance, which scikit-learn reports, less the core's loss. Else None."""
    if network._loss_name != "poisson" or samples.Y is None:
        return None
    Y = samples.Y.astype(np.float64)
    constants: NDArray[np.float64] = (Y * np.log(np.where(Y > 0, Y, 1)) - Y).sum(1)
    return constants


def mean_of_batches(
    values: NDArray[np.float64] | None,
    weights: NDArray[np.float64] | None,
    visits: NDArray[np.int64] | None,
    batch_size: int = sys.maxsize,
) -> float:
    """Return Σ_B |B| (Σ_B s_c v_c / Σ_B s_c), as the loss of an epoch has it; 0 without values."""
    if values is None:
        return 0.0
    s = np.ones(len(values)) if weights is None else weights
    if visits is not None:
        values, s = values[visits], s[visits]
    starts = np.arange(0, len(values), batch_size)
    totals = np.add.reduceat(s, starts)
    sums = np.add.reduceat(s * values, starts)
    return float((np.diff(np.r_[starts, len(values)]) * sums / np.where(totals > 0, totals, 1)).sum())


def _total_weight(samples: Samples) -> float:
    return float(n_rows(samples) if samples.weights is None else samples.weights.sum())


def r2(y: NDArray[Any], predicted: NDArray[Any], weights: NDArray[np.float64] | None) -> float:
    """Return R² = 1 - Σ s (y - ŷ)² / Σ s (y - ȳ)², the mean over the outputs; of constant targets 1 if exact, else 0.

    >>> r2(np.array([[1.0], [2.0], [3.0]]), np.array([[1.0], [2.0], [4.0]]), None)
    0.5
    """
    s = np.ones((len(y), 1)) if weights is None else weights[:, None]
    y, predicted = y.astype(np.float64), predicted.astype(np.float64)
    wrong = (s * (y - predicted) ** 2).sum(0)
    around = (s * (y - (s * y).sum(0) / s.sum()) ** 2).sum(0)
    constant = around == 0
    return float(np.where(constant, wrong == 0, 1 - wrong / np.where(constant, 1, around)).mean())


# ------------------------------------------------------------------------------------------------------- stochastic


def fit_stochastic(
    estimator: Any,
    network: Network,
    samples: Samples,
    kept: NDArray[np.int64] | None,
    held_out: HeldOut | None,
    rng: np.random.RandomState,
    *,
    incremental: bool,
) -> None:
    """Train by "sgd", "adam" or an optimiser on the rows `kept` (None: all), for one epoch if `incremental`."""
    n_samples = n_rows(samples) if kept is None else len(kept)
    batch_size = _batch_size(estimator, n_samples)
    run = Run(network, samples, _update(estimator, network, n_samples, batch_size), check_threads(estimator.n_threads))
    constants = loss_constants(network, samples)
    order = np.arange(n_samples)
    estimator.n_iter_ = 0
    try:
        for _ in range(estimator.max_iter):
            if estimator.shuffle:  # each permutation is of the one before, as in scikit-learn
                permutation = np.arange(n_samples)
                rng.shuffle(permutation)
                order = order[permutation]
            visits = (order if estimator.shuffle else None) if kept is None else kept[order]
            loss_sum, problem = _learn(run, samples, visits, batch_size)
            if problem and not estimator.early_stopping:
                raise ValueError(f"{NOT_FINITE} In epoch {len(estimator.loss_curve_) + 1}, {problem}.")
            run.average_epoch()
            network.n_epochs += 1
            loss_sum += mean_of_batches(constants, samples.weights, visits, batch_size)
            _record(estimator, network, math.nan if problem else loss_sum / n_samples, n_samples, held_out)
            if problem:
                message = f"Training diverged: in epoch {estimator.n_iter_}, {problem}."
                warnings.warn(message, ConvergenceWarning, stacklevel=2)
                break
            if asked_to_stop(estimator) | _stops(estimator, network) or incremental:
                break
            if estimator.n_iter_ == estimator.max_iter:
                warnings.warn(
                    f"Stochastic Optimizer: Maximum iterations ({estimator.max_iter}) reached and the optimization "
                    "hasn't converged yet.",
                    ConvergenceWarning,
                    stacklevel=2,
                )
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=2)
    if estimator.early_stopping:
        network._parameters[...] = estimator._best_parameters
    if first_nonfinite(network._parameters) >= 0:
        raise ValueError(NOT_FINITE)


def _batch_size(estimator: Any, n_samples: int) -> int:
    if estimator.batch_size == "auto":
        return min(200, n_samples)
    if estimator.batch_size > n_samples:
        warnings.warn(
            "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=3
        )
    return int(min(estimator.batch_size, n_samples))


def _update(estimator: Any, network: Network, n_samples: int, batch_size: int) -> Any:
    return make_update(
        network.optimizer,
        n_samples,
        batch_size,
        clip_delta=estimator.clip_delta,
        clip_value=estimator.clip_value,
        clip_norm=estimator.clip_norm,
        dropout_seed=network._dropout_seed(),
        weighted_mean=True,
        alpha=float(estimator.alpha),
        loss_scale=estimator._loss_scale(),
    )


def _learn(run: Run, samples: Samples, visits: NDArray[np.int64] | None, batch_size: int) -> tuple[float, str | None]:
    """Visit the samples once; return Σ_B |B| E_B, and where numbers stopped being finite."""
    loss_sum, done = 0.0, 0
    for part, order in dense_chunks(samples, visits, batch_size):
        run.samples = part
        result = run.learn(order)
        loss_sum += result.loss_sum
        if result.bad is not None:
            row = result.bad if part is samples else done + result.bad if visits is None else visits[done + result.bad]
            return loss_sum, _problem(run, result, int(row))
        done += len(part.X)
    return loss_sum, None


def _problem(run: Run, result: Pass, row: int) -> str:
    failure = run.failure(result)
    where = "the loss" if failure is None or failure.layer is None else f"layer {failure.layer}"
    return f"{where} is not finite at row {row} of X"


def _record(estimator: Any, network: Network, loss: float, n_samples: int, held_out: HeldOut | None) -> None:
    """Enter an epoch into the fitted attributes, and count how many have passed since the last real improvement."""
    estimator.n_iter_ += 1
    estimator.t_ += n_samples
    estimator.loss_ = loss
    estimator.loss_curve_.append(loss)
    if estimator.verbose:
        print(f"Iteration {estimator.n_iter_}, loss = {loss:.8f}")
    score = record_validation(estimator, held_out)
    network.optimizer.observe(network._memory, loss if held_out is None else estimator.validation_loss_curve_[-1])
    if not estimator.early_stopping:
        better = not loss > estimator.best_loss_ - estimator.tol
        if loss < estimator.best_loss_:
            estimator.best_loss_ = loss
    else:
        better = not score < estimator.best_validation_score_ + estimator.tol
        if score > estimator.best_validation_score_:
            estimator.best_validation_score_ = score
            estimator._best_parameters[...] = network._parameters
    estimator._no_improvement_count = 0 if better else estimator._no_improvement_count + 1


def record_validation(estimator: Any, held_out: HeldOut | None) -> float:
    """Enter the validation loss and score of an epoch, if there are validation samples; return the score."""
    if held_out is None:
        return math.nan
    loss, score = held_out.scores()
    estimator.validation_loss_curve_.append(loss)
    estimator.validation_scores_.append(score)
    if estimator.verbose:
        print(f"Validation score: {score:f}")
    return score


def asked_to_stop(estimator: Any) -> bool:
    """Call all callbacks; tell whether one of them asks to stop."""
    answers = [callback(estimator) for callback in estimator.callbacks]
    return any(answer is True for answer in answers)


def _stops(estimator: Any, network: Network) -> bool:
    """Change the learning rate as the rule says; tell whether training has converged."""
    rule = estimator.learning_rate if estimator.optimizer is None and estimator.solver == "sgd" else "constant"
    if rule == "invscaling":
        set_rate(network, float(estimator.learning_rate_init) / (estimator.t_ + 1) ** estimator.power_t)
    if estimator._no_improvement_count <= estimator.n_iter_no_change:
        return False
    monitored = "Validation score did" if estimator.early_stopping else "Training loss did"
    text = (
        f"{monitored} not improve more than tol={estimator.tol:f} for {estimator.n_iter_no_change} consecutive epochs."
    )
    rate = learning_rate(network)
    goes_on = rule == "adaptive" and rate > SMALLEST_RATE
    if goes_on:
        set_rate(network, rate / 5)
        estimator._no_improvement_count = 0
        text += f" Setting learning rate to {rate / 5:f}"
    else:
        text += " Learning rate too small. Stopping." if rule == "adaptive" else " Stopping."
    if estimator.verbose:
        print(text)
    return not goes_on


# ----------------------------------------------------------------------------------------------------------- L-BFGS


def fit_lbfgs(estimator: Any, network: Network, samples: Samples, held_out: HeldOut | None) -> None:
    """Train with solver="lbfgs": SciPy's L-BFGS-B over E and ∇E of all samples."""
    from scipy.optimize import minimize

    problem = _Objective(estimator, network, samples)

    def after_iteration(intermediate_result: Any) -> None:
        problem.take(intermediate_result.x)
        estimator.n_iter_ += 1
        estimator.loss_ = float(intermediate_result.fun)
        estimator.loss_curve_.append(estimator.loss_)
        if estimator.verbose:
            print(f"Iteration {estimator.n_iter_}, loss = {estimator.loss_:.8f}")
        record_validation(estimator, held_out)
        if asked_to_stop(estimator):
            raise StopIteration

    estimator.n_iter_ = 0
    limits = {"maxfun": estimator.max_fun, "maxiter": estimator.max_iter, "gtol": estimator.tol}
    found = minimize(
        problem, problem.parameters(), method="L-BFGS-B", jac=True, options=limits, callback=after_iteration
    )
    problem.take(found.x)
    estimator.n_iter_, estimator.loss_ = min(found.nit, estimator.max_iter), float(found.fun)
    if not np.isfinite(found.x).all():
        raise ValueError(NOT_FINITE)
    if found.status not in (0, 99):  # 99: a callback stopped it
        advice = "Increase the number of iterations (max_iter) or scale the data."
        message = f"lbfgs failed to converge after {found.nit} iteration(s) (status={found.status}): {found.message}. "
        warnings.warn(message + advice, ConvergenceWarning, stacklevel=2)


class _Objective:
    """E and ∇E over all samples as a function of one vector: all W_k, then all b_k."""

    def __init__(self, estimator: Any, network: Network, samples: Samples) -> None:
        self._network = network
        self._samples = samples
        self._alpha = float(estimator.alpha)
        self._loss_scale = estimator._loss_scale()
        self._weight = _total_weight(samples)
        self._constant = mean_of_batches(loss_constants(network, samples), samples.weights, None) / n_rows(samples)
        # The core adds up a batch's gradient and then makes a step, whose parameters nobody looks at.
        update = make_update(SGD(), n_rows(samples), None, clip_delta=estimator.clip_delta, weighted_mean=True)
        self._run = Run(network, samples, update, check_threads(estimator.n_threads))

    def parameters(self) -> NDArray[np.float64]:
        """Return the present parameters as one vector."""
        return self._packed(self._network._parameters)

    def take(self, theta: NDArray[np.float64]) -> None:
        """Set the network's parameters."""
        for view, part in self._parts(self._network._parameters, theta):
            view[...] = part

    def __call__(self, theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return E and ∇E at theta; infinity and zeros where E is not finite."""
        n_W = sum(W.size for W in self._network.weights)
        loss = 0.5 * self._alpha * float(theta[:n_W] @ theta[:n_W]) / self._weight + self._constant
        slope = np.zeros_like(theta)
        slope[:n_W] = self._alpha / self._weight * theta[:n_W]
        for part, _ in dense_chunks(self._samples, None):
            self.take(theta)
            self._run.samples = part
            result = self._run.learn()
            if result.bad is not None:
                return math.inf, np.zeros_like(theta)
            share = float(part.total_weight()) / self._weight
            loss += share * self._loss_scale * result.loss_sum / len(part.X)
            assert self._run._gradient is not None
            slope += share * self._packed(self._run._gradient)
        return loss, slope

    def _packed(self, vector: NDArray[Any]) -> NDArray[np.float64]:
        packed = np.empty(self._network.n_parameters)
        for view, part in self._parts(vector, packed):
            part[...] = view
        return packed

    def _parts(
        self, vector: NDArray[Any], packed: NDArray[np.float64]
    ) -> Iterator[tuple[NDArray[Any], NDArray[np.float64]]]:
        """Yield every array in a vector of the network's layout, and its place in the packed one."""
        start = 0
        weights, biases = self._network._views(vector)
        for view in (*weights, *biases):
            assert view is not None
            yield view, packed[start : start + view.size].reshape(view.shape)
            start += view.size
