"""scikit-learn's rules of training for its estimators: order of the draws, record, stopping, and L-BFGS.

The objective is scikit-learn's, for a batch B (the whole set in L-BFGS) with weights s_c

    E_B = (Σ_B s_c ℓ_c + ½ α Σ_k ‖W_k‖²) / Σ_B s_c

The functions here read the parameters of an estimator and write its fitted attributes.
"""

from __future__ import annotations

import math
import sys
import warnings
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from cmlp._base.fields import declared
from cmlp._core import Allowed, first_nonfinite, see_interrupt
from cmlp._engine.failures import Failure
from cmlp._engine.loop import run_epochs
from cmlp._engine.passes import Pass, Run
from cmlp._engine.search import Objective, minimize_lbfgs
from cmlp._engine.threads import check_threads
from cmlp._engine.update import make_update
from cmlp.optimizers import LBFGS, SGD, Adam, Optimizer, SteppingOptimizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cmlp._engine.model import Model
    from cmlp.data.samples import Samples

SMALLEST_RATE = 1e-6  # learning_rate="adaptive" gives up below it

NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)


class NotFiniteError(ValueError):
    """Training has left the finite numbers."""


@declared
class AdamHat(Adam):
    """Adam with ε added to √v, as scikit-learn has it, and not to √v̂ (Kingma and Ba, end of section 2).

    It is saved as Adam: a network from a file goes on with ε as everywhere else.
    """

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of `cmlp._core.UPDATE` that the optimiser decides."""
        return {**super().settings, "eps_hat": True}


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


def learning_rate(model: Model) -> float:
    """Return the learning rate that `set_rate` or the start has set."""
    assert isinstance(model.optimizer, SteppingOptimizer)
    return float(model.optimizer.schedule.rates(0, 1, 0)[0])


def set_rate(model: Model, rate: float) -> None:
    """Go on at another constant learning rate, with scikit-learn's momentum v' = μ v' - γ g.

    The core keeps v = μ v + g and steps by -γ v, so that v' = -γ v: v' stays as it is if v shrinks as γ grows.
    """
    before = learning_rate(model)
    model.set_learning_rate(rate)
    if "velocity" in model.slots:
        model.slots["velocity"] *= before / rate


class HeldOut:
    """Validation samples: their mean loss, and the score that scikit-learn takes (accuracy or R²)."""

    def __init__(self, estimator: Any, model: Model, samples: Samples) -> None:
        self._estimator, self._model, self._samples = estimator, model, samples
        if samples.total_weight() == 0:
            raise ValueError("the validation samples all have weight 0: give validation_data, or other sample weights.")
        self._constant = mean_of_batches(loss_constants(model, samples), samples.weights, None) / len(samples)

    def scores(self) -> tuple[float, float]:
        """Return the loss (without the penalty) and the score at the model's present parameters."""
        loss, outputs = 0.0, []
        for part, _ in self._samples.parts():
            if part.total_weight() > 0:
                loss += part.total_weight() * self._model.evaluate(part).loss
            outputs.append(self._model.predict(part.X))
        if not math.isfinite(loss):
            return math.nan, math.nan
        mean = self._estimator._loss_scale() * loss / self._samples.total_weight() + self._constant
        return mean, self._estimator._validation_score(self._samples, np.concatenate(outputs))


def loss_constants(model: Model, samples: Samples) -> NDArray[np.float64] | None:
    """Return y log y - y (M,): poisson's half deviance, which scikit-learn reports, less the core's loss. Else None."""
    if model.loss_name != "poisson" or samples.Y is None:
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


@np.errstate(all="ignore")  # NaN where the squares overflow
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
    model: Model,
    samples: Samples,
    kept: NDArray[np.int64] | None,
    held_out: HeldOut | None,
    rng: np.random.RandomState,
    *,
    incremental: bool,
) -> None:
    """Train by "sgd", "adam" or an optimiser on the rows `kept` (None: all), for one epoch if `incremental`."""
    n_samples = len(samples) if kept is None else len(kept)
    update = make_update(
        model.optimizer,
        n_samples,
        model.dtype,
        batch_size=_batch_size(estimator, n_samples),
        clip_delta=estimator.clip_delta,
        clip_value=estimator.clip_value,
        clip_norm=estimator.clip_norm,
        drops_out=model.drops_out,
        weighted_mean=True,
        alpha=float(estimator.alpha),
        loss_scale=estimator._loss_scale(),
    )
    run = Run(model, samples, update, check_threads(estimator.n_threads))
    rules = _Epochs(estimator, run, kept, held_out, rng, incremental=incremental)
    estimator.n_iter_ = 0
    try:
        with model.training():
            run_epochs(run, rules, estimator.max_iter)
            see_interrupt()
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=2)
    if estimator.early_stopping:
        model.parameters[...] = estimator._best_parameters
    if rules.problem:
        model.set_optimizer(model.optimizer)  # what it keeps is worth nothing after a divergence
    if first_nonfinite(model.parameters) >= 0:
        raise NotFiniteError(NOT_FINITE)


def _batch_size(estimator: Any, n_samples: int) -> int:
    if estimator.batch_size == "auto":
        return min(200, n_samples)
    if estimator.batch_size > n_samples:
        warnings.warn(
            "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=3
        )
    return int(min(estimator.batch_size, n_samples))


class _Epochs:
    """The rules of the stochastic solvers."""

    restores: ClassVar[bool] = False

    def __init__(
        self,
        estimator: Any,
        run: Run,
        kept: NDArray[np.int64] | None,
        held_out: HeldOut | None,
        rng: np.random.RandomState,
        *,
        incremental: bool,
    ) -> None:
        self.estimator, self.run, self.kept, self.held_out, self.rng = estimator, run, kept, held_out, rng
        self.incremental = incremental
        self.order = np.arange(len(run.samples) if kept is None else len(kept))
        self.order_of_rows: NDArray[np.int64] | None = None
        self.constants = loss_constants(run.model, run.samples)
        self.problem = ""

    def visits(self) -> NDArray[np.int64] | None:
        """Return the order of the next epoch: each permutation is of the one before, as in scikit-learn."""
        if self.estimator.shuffle:
            permutation = np.arange(len(self.order))
            self.rng.shuffle(permutation)
            self.order = self.order[permutation]
        shuffled = self.order if self.estimator.shuffle else None
        self.order_of_rows = shuffled if self.kept is None else self.kept[self.order]
        return self.order_of_rows

    def diverged(self, failure: Failure) -> None:
        """Raise an error, but where the best parameters are kept, and come back."""
        self.problem = failure.reason
        if not self.estimator.early_stopping:
            raise NotFiniteError(f"{NOT_FINITE} In epoch {len(self.estimator.loss_curve_) + 1}, {self.problem}.")

    def end_epoch(self, result: Pass) -> bool:
        """Record an epoch in the fitted attributes; return whether training has converged or has to stop."""
        estimator, n_samples = self.estimator, len(self.order)
        weights, batch_size = self.run.samples.weights, self.run.batch_size
        constant = mean_of_batches(self.constants, weights, self.order_of_rows, batch_size)
        estimator.n_iter_ += 1
        estimator.t_ += n_samples
        self._record(math.nan if self.problem else (result.loss_sum + constant) / n_samples)
        if self.problem:
            message = f"Training diverged: in epoch {estimator.n_iter_}, {self.problem}."
            warnings.warn(message, ConvergenceWarning, stacklevel=4)
            return True
        if asked_to_stop(estimator) | self._converged() or self.incremental:
            return True
        if estimator.n_iter_ == estimator.max_iter:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({estimator.max_iter}) reached and the optimization "
                "hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=4,
            )
        return False

    def _record(self, loss: float) -> None:
        """Enter the loss, and count how many epochs have passed since the last real improvement."""
        estimator, model = self.estimator, self.run.model
        estimator.loss_ = loss
        estimator.loss_curve_.append(loss)
        if estimator.verbose:
            print(f"Iteration {estimator.n_iter_}, loss = {loss:.8f}")
        score = record_validation(estimator, self.held_out)
        monitored = loss if self.held_out is None else estimator.validation_loss_curve_[-1]
        model.optimizer.observe(model.memory, monitored)
        if not estimator.early_stopping:
            better = not loss > estimator.best_loss_ - estimator.tol
            if loss < estimator.best_loss_:
                estimator.best_loss_ = loss
        else:
            better = not score < estimator.best_validation_score_ + estimator.tol
            if score > estimator.best_validation_score_:
                estimator.best_validation_score_ = score
                estimator._best_parameters[...] = model.parameters
        estimator._no_improvement_count = 0 if better else estimator._no_improvement_count + 1

    def _converged(self) -> bool:
        """Change the learning rate as the rule says; tell whether training has converged."""
        estimator, model = self.estimator, self.run.model
        rule = estimator.learning_rate if estimator.optimizer is None and estimator.solver == "sgd" else "constant"
        if rule == "invscaling":
            set_rate(model, float(estimator.learning_rate_init) / (estimator.t_ + 1) ** estimator.power_t)
        if estimator._no_improvement_count <= estimator.n_iter_no_change:
            return False
        monitored = "Validation score did" if estimator.early_stopping else "Training loss did"
        text = (
            f"{monitored} not improve more than tol={estimator.tol:f} for {estimator.n_iter_no_change} consecutive "
            "epochs."
        )
        goes_on = rule == "adaptive" and learning_rate(model) > SMALLEST_RATE
        if goes_on:
            rate = learning_rate(model) / 5
            set_rate(model, rate)
            estimator._no_improvement_count = 0
            text += f" Setting learning rate to {rate:f}"
        else:
            text += " Learning rate too small. Stopping." if rule == "adaptive" else " Stopping."
        if estimator.verbose:
            print(text)
        return not goes_on


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
    with Allowed():
        answers = [callback(estimator) for callback in estimator.callbacks]
    return any(answer is True for answer in answers)


# ----------------------------------------------------------------------------------------------------------- L-BFGS


def fit_lbfgs(estimator: Any, model: Model, samples: Samples, held_out: HeldOut | None) -> None:
    """Train with solver="lbfgs"; where E is not finite, it counts as infinite with slope 0."""
    weight = samples.total_weight()
    optimizer = LBFGS(gtol=float(estimator.tol), max_fun=int(estimator.max_fun))
    update = make_update(optimizer, len(samples), model.dtype, reduction="sum")
    if estimator.clip_delta is not None:  # which E and ∇E then disagree about; scikit-learn has no such thing
        update["clip_delta"] = estimator.clip_delta
    objective = Objective(
        model,
        samples,
        update,
        check_threads(estimator.n_threads),
        scale=estimator._loss_scale() / weight,
        gradient_scale=1 / weight,
        decay=float(estimator.alpha) / weight,
        constant=mean_of_batches(loss_constants(model, samples), samples.weights, None) / len(samples),
    )

    def evaluate(w: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        value, gradient = objective.gradient(w)
        return value, gradient if value < math.inf else np.zeros_like(gradient)

    def end_epoch(result: Pass) -> bool:
        estimator.n_iter_ += 1
        estimator.loss_ = result.objective
        estimator.loss_curve_.append(estimator.loss_)
        if estimator.verbose:
            print(f"Iteration {estimator.n_iter_}, loss = {estimator.loss_:.8f}")
        record_validation(estimator, held_out)
        return asked_to_stop(estimator)

    estimator.n_iter_ = 0
    with model.training():
        found = minimize_lbfgs(objective, evaluate, optimizer, estimator.max_iter, end_epoch)
        if found is not None:
            model.parameters[objective.real] = found.x
    if found is None:  # a callback stopped it
        return
    estimator.n_iter_, estimator.loss_ = min(found.nit, estimator.max_iter), float(found.fun)
    if not np.isfinite(found.x).all():
        raise NotFiniteError(NOT_FINITE)
    if found.status != 0:
        advice = "Increase the number of iterations (max_iter) or scale the data."
        message = f"lbfgs failed to converge after {found.nit} iteration(s) (status={found.status}): {found.message}. "
        warnings.warn(message + advice, ConvergenceWarning, stacklevel=2)
