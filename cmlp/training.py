"""Training: what users ask for is checked, made into a plan and handed to the epoch loop. Methods of `Network`.

Python decides here which samples come in which order, at which learning rates, and when to stop; the compiled core
learns a chunk of samples per call. Between two chunks Ctrl-C and `max_seconds` are seen; until then Ctrl-C waits.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, ParamSpec, TypeVar

from cmlp._base.checks import check_count, check_name, check_number, finite_array, shown
from cmlp._base.hints import named_arguments
from cmlp._core import Allowed, is_plain, see_interrupt
from cmlp._engine.failures import Failure, in_state
from cmlp._engine.history import DivergenceError, History, TrainingInterrupted
from cmlp._engine.loop import run_epochs
from cmlp._engine.passes import Pass, Run
from cmlp._engine.search import Objective, import_optimize, search
from cmlp._engine.threads import check_threads
from cmlp._engine.update import make_update
from cmlp.averaging import SWA
from cmlp.data.arrays import warn_of_scale
from cmlp.data.samples import ORDERS, Samples, draw_order, split_validation
from cmlp.losses import CLASSIFYING
from cmlp.optimizers import Optimizer, as_optimizer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from cmlp._engine.model import Model, Standing
    from cmlp.network import Network

P = ParamSpec("P")
R = TypeVar("R")

_LONG_ROW = 256  # inputs; shorter rows are checked faster all at once
_ADVICE = "Try a smaller learning rate, clip_delta=1.0, or inputs and targets scaled to about unit size"
_SEARCH_ADVICE = "Try weight_decay, or inputs and targets scaled to about unit size"


def alone(method: Callable[Concatenate[Network, P], R]) -> Callable[Concatenate[Network, P], R]:
    """Let one thread at a time call the methods of a network that train or change it; others get a RuntimeError.

    Ctrl-C waits in them, until what they change fits together (`cmlp._core.Postponed`).
    """

    @wraps(method)
    def claiming(self: Network, /, *args: P.args, **kwargs: P.kwargs) -> R:
        model = self._model
        return model.claim.run(model, method, self, args, kwargs)

    return claiming


@named_arguments
@alone
def fit(
    self: Network,
    X: ArrayLike,
    y: ArrayLike,
    *,
    epochs: int = 10,
    batch_size: int | str | None = "auto",
    optimizer: Optimizer | str | None = None,
    order: str = "shuffle",
    reduction: str = "mean",
    clip_delta: float | None = None,
    clip_value: float | None = None,
    clip_norm: float | None = None,
    sample_weight: ArrayLike | None = None,
    validation: float | tuple[ArrayLike, ArrayLike] | None = None,
    tol: float = 0.0,
    patience: int | None = None,
    restore_best: bool = True,
    grad_tol: float | None = None,
    max_seconds: float | None = None,
    callbacks: Iterable[Callable[[Network, History], object]] = (),
    progress: bool = False,
    n_threads: int | str = 1,
) -> History:
    """Train on X, y, going on from the present parameters.

    One thread at a time trains or changes a network; others may predict with it meanwhile, and see its weights on the
    move.

    Parameters
    ----------
    X : array-like, shape (M, n_inputs)
        Used as it is, without a copy, if it is C-contiguous and of the network's dtype.
    y : array-like
        Targets: (M, n_outputs), or (M,) for one output; for cross_entropy class indices (M,) or rows of
        probabilities (M, n_outputs).
    epochs : int, default 10
        K, passes over the samples.
    batch_size : int, None or "auto", default "auto"
        Samples per update: 1 is per-sample SGD, None the full batch. "auto" is 1, or the full batch for the optimisers
        that need it: Rprop, GradientDescent and LBFGS, which take nothing else.
    optimizer : Optimizer or str, optional
        Replaces the network's optimiser and starts it anew (t = 0); a name stands for one with its defaults.
    order : {"shuffle", "given", "replacement"}, default "shuffle"
        A fresh permutation each epoch, the rows as they are, or M draws with replacement. The optimisers that need
        the full batch take the rows as they are.
    reduction : {"mean", "sum"}, default "mean"
        How the gradients of a batch are reduced.
    clip_delta : float, optional
        ψ > 0: the δ that enters an update is limited elementwise to [-ψ, ψ]; the δ that is propagated is not.
    clip_value, clip_norm : float, optional
        Limits > 0 of the reduced gradient, elementwise and by its global norm, in this order. Line searches and LBFGS
        need the gradient as it is and take no limits.
    sample_weight : array-like, shape (M,), optional
        s_c >= 0, multiplies ℓ of sample c.
    validation : float or (X, y), optional
        A share of the samples to hold out (drawn once, at random), or held-out samples.
    tol : float, default 0.0
        By how much the monitored loss (validation if there is one, else training) has to fall to count as better.
    patience : int, optional
        Stop after so many epochs without a better loss.
    restore_best : bool, default True
        With `patience`: end with the parameters of the best epoch.
    grad_tol : float, optional
        Stop once ‖∇E‖₂ over the training samples is at most this (costs one more pass per epoch).
    max_seconds : float, optional
        Stop after this time, in the middle of an epoch if need be.
    callbacks : iterable of callable
        Each is called as f(network, history) after every epoch; training stops if one returns True.
    progress : bool, default False
        Write a line per epoch to standard error.
    n_threads : int or "auto", default 1
        Threads among which each batch is divided; "auto" measures whether all processors are faster than one.
        Per-sample training (batch_size=1) is sequential and uses one. The numbers do not depend on it.

    Returns
    -------
    History

    Raises
    ------
    TypeError, ValueError
        If the samples or a parameter are not as described; nothing is changed then.
    DivergenceError
        If a loss, a parameter or what the optimiser keeps is not finite any more; the network keeps the last good
        epoch.
    TrainingInterrupted
        After Ctrl-C, with the history until then; the network keeps what was learnt.
    ImportError
        If the optimiser needs SciPy and it is not there.
    RuntimeError
        If another thread trains or changes the network; nothing is changed then.

    Warns
    -----
    InputScaleWarning
        If a column of X holds numbers beyond 10⁶, which are not standardised.

    Examples
    --------
    >>> import cmlp
    >>> X, y = cmlp.datasets.load_digits()
    >>> net = cmlp.MLP([64, 32, 10], loss="cross_entropy", seed=0)
    >>> history = net.fit(X / 16, y, epochs=5, optimizer=cmlp.SGD(0.02), validation=0.2)
    >>> history.validation_accuracy[-1] > 0.9
    True
    """
    model = self._model
    epochs = check_count(epochs, "epochs")
    check_name(order, ORDERS, "order")
    stopping = _Stopping(model, tol, patience, restore_best, grad_tol, max_seconds)
    called = _check_callbacks(callbacks)
    threads = check_threads(n_threads)
    chosen = None if optimizer is None else as_optimizer(optimizer)
    samples, held_out = _check_data(model, X, y, sample_weight, validation, order)
    draws = order != "given" or validation is not None or model.drops_out
    with model.unchanged_if_refused(draws=draws) as standing, model.training(chosen) as chosen:
        if chosen.full_batch and order == "replacement":
            raise ValueError(f"{type(chosen).__name__} takes all samples: order='replacement' does not go with it")
        if chosen.searches:
            import_optimize()
        samples, kept, held_out = _divide(model, samples, held_out, validation)
        update = model.updates.get(
            chosen,
            len(samples) if kept is None else len(kept),
            batch_size=batch_size,
            reduction=reduction,
            clip_delta=clip_delta,
            clip_value=clip_value,
            clip_norm=clip_norm,
            drops_out=model.drops_out,
            counts_right=model.loss_name in CLASSIFYING and not chosen.searches,
        )
        if not (samples.checked or is_plain(update)):
            finite_array(samples.X, model.dtype, "X")
            samples.checked = True
        if not model.scaling.standardize:
            warn_of_scale(samples.X, getattr(X, "columns", None))
        samples, held_out = _on_scale(model, samples, kept, held_out)
        run = Run.of(model, samples, update, threads)
    rules = _FitRules(self, run, standing, kept, held_out, order, stopping, called, epochs if progress else None)
    return rules.carry_out(epochs, threads)


@named_arguments
@alone
def partial_fit(
    self: Network,
    X: ArrayLike,
    y: ArrayLike,
    *,
    batch_size: int | str | None = "auto",
    reduction: str = "mean",
    clip_delta: float | None = None,
    clip_value: float | None = None,
    clip_norm: float | None = None,
    sample_weight: ArrayLike | None = None,
) -> Network:
    """Learn from the rows of X in their order, once, going on with the optimiser where it is.

    Parameters
    ----------
    X : array-like, shape (M, n_inputs)
    y : array-like
        Targets as in `fit`.
    batch_size, reduction, clip_delta, clip_value, clip_norm, sample_weight
        As in `fit`.

    Returns
    -------
    Network
        Itself.

    Raises
    ------
    TypeError, ValueError
        If the samples or a parameter are not as described, or the optimiser needs the full batch.
    DivergenceError
        If a loss, a parameter or what the optimiser keeps is not finite any more; the network is what it was before
        the call.
    RuntimeError
        If another thread trains or changes the network; nothing is changed then.

    Examples
    --------
    >>> import cmlp
    >>> net = cmlp.MLP([1, 1], init="zeros", bias_init="zeros", optimizer=cmlp.SGD(0.5))
    >>> net.partial_fit([[1], [1]], [2, 2]).weights[0].item()
    1.0
    """
    model = self._model
    samples = model.check_samples(X, y, sample_weight)
    with model.unchanged_if_refused(draws=model.drops_out) as standing, model.training():
        _check_stream(model.optimizer, "partial_fit")
        update = model.updates.get(
            model.optimizer,
            len(samples),
            batch_size=batch_size,
            reduction=reduction,
            clip_delta=clip_delta,
            clip_value=clip_value,
            clip_norm=clip_norm,
            drops_out=model.drops_out,
        )
        run = Run.of(model, samples, update)
        run.save_state()
        run.learn_scale()
    first_step = model.n_steps
    try:
        with model.training():
            failure = run.failure(run.learn())
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):  # between two chunks: what was learnt until then stays
            run.keep_finite()
        else:
            run.restore_state()
        if model.n_steps == first_step:
            model.put_back(standing)
        raise
    if failure is not None:
        run.restore_state()
        model.put_back(standing)
        raise _divergence(model, "training diverged in partial_fit", failure)
    run.spare()
    return self


def learn_one(self: Network, x: ArrayLike, y: ArrayLike, *, clip_delta: float | None = None) -> float:
    """Learn from one sample, going on with the optimiser where it is.

    Parameters
    ----------
    x : array-like, shape (n_inputs,)
    y : float, int or array-like, shape (n_outputs,)
        Its target; for cross_entropy a class index or a row of probabilities.
    clip_delta : float, optional
        ψ, as in `fit`.

    Returns
    -------
    float
        ℓ before the update.

    Raises
    ------
    TypeError, ValueError
        If the sample is not as described, or the optimiser needs the full batch.
    DivergenceError
        If ℓ is not finite; the parameters stay as they were then. Also if an earlier sample has made what the
        optimiser keeps infinite: that is looked at after 1, 2, 4, ... 256 samples, then after as many again.
    RuntimeError
        If another thread trains or changes the network; nothing is changed then. (Calls of `learn_one` alone follow one
        another.)

    Examples
    --------
    >>> import cmlp
    >>> net = cmlp.MLP([1, 1], init="zeros", bias_init="zeros", optimizer=cmlp.SGD(0.5))
    >>> net.learn_one([1], 2), net.learn_one([1], 2)
    (2.0, 0.0)
    """
    loss = self._one_row.learn(x, y, clip_delta)
    return loss if loss is not None else _learn_otherwise(self, x, y, clip_delta)


@alone
def _learn_otherwise(self: Network, x: ArrayLike, y: ArrayLike, clip_delta: float | None) -> float:
    """Learn by a new plan, or what no plan takes."""
    _check_stream(self._model.optimizer, "learn_one")
    loss = self._one_row.learn(x, y, clip_delta) if self._model.plan_one_row() else None
    return loss if loss is not None else _learn_checked(self._model, x, y, clip_delta)


def _learn_checked(model: Model, x: ArrayLike, y: ArrayLike, clip_delta: float | None) -> float:
    """Learn from one sample of any form, or explain what is wrong with it."""
    samples = model.check_sample(x, y)
    broken = in_state(model)
    if broken is not None:  # by an earlier sample: a look after each would cost too much
        raise _divergence(model, "learn_one", broken)
    with model.unchanged_if_refused(draws=model.drops_out) as standing, model.training():
        _check_stream(model.optimizer, "learn_one")
        update = make_update(model.optimizer, 1, model.dtype, clip_delta=clip_delta, drops_out=model.drops_out)
        run = Run(model, samples, update)
        run.learn_scale()
        result = run.learn()
    if result.bad is None:
        return result.loss_sum
    failure = run.failure(result)
    assert failure is not None
    # it was found before any parameter was updated; the masks were drawn
    model.put_back(standing._replace(generator=None))
    raise _divergence(model, "learn_one", failure)


def _divergence(model: Model, what: str, failure: Failure, history: History | None = None) -> DivergenceError:
    """Return the error for a model that is back where it was before the failure."""
    reason, sample, layer = failure
    broken = in_state(model)
    if broken is None:
        advice = _SEARCH_ADVICE if model.optimizer.searches else _ADVICE
        scaled = "" if model.scaling.standardize else ", as a network with standardize=True scales its inputs"
        after = f"The network has the parameters from before. {advice}{scaled}"
    elif broken.reason.startswith("the parameters"):
        after = "They were not finite before this call: load the network from a file, or set net.weights and net.biases"
    else:
        after = (
            "They were not finite before this call: set net.optimizer, which starts anew, and scale inputs and targets "
            "to about unit size"
        )
    epoch = 0 if history is None else len(history)
    return DivergenceError(f"{what}: {reason}. {after}", epoch, sample, layer, history)


@dataclass(slots=True)
class _FitRules:
    """The rules of `fit`, with its record."""

    network: Network
    run: Run
    standing: Standing  # before the call
    kept: NDArray[np.int64] | None  # rows to train on; None: all
    held_out: Samples | None
    order: str
    stopping: _Stopping
    callbacks: list[Callable[[Network, History], object]]
    shown_epochs: int | None  # of how many epochs lines of progress speak; None: there are none
    history: History = field(default_factory=History)
    epoch_began: float = field(default_factory=time.perf_counter)
    n_done: int = 0  # epochs

    restores: ClassVar[bool] = True

    def carry_out(self, epochs: int, threads: int | None) -> History:
        """Train; whatever ends it, the network keeps the best or the last epoch."""
        model = self.run.model
        try:
            with model.training():
                if model.optimizer.searches:
                    self.history.stopped = search(self._objective(threads), self, epochs) or self.history.stopped
                else:
                    run_epochs(self.run, self, epochs, self.stopping.deadline)
                see_interrupt()
        except KeyboardInterrupt:  # Ctrl-C between two chunks, or in a callback
            self.history.stopped = "interrupted"
            self.run.keep_finite()
            self.stopping.restore()
            raise TrainingInterrupted(self.history) from None
        except Exception as error:
            if self.n_done == 0 and not isinstance(error, DivergenceError):  # refused: X, or what a schedule gives
                self.run.restore_state()
                model.put_back(self.standing)
            raise
        self.stopping.restore()
        self.run.spare()
        return self.history

    def _objective(self, threads: int | None) -> Objective:
        run, kept = self.run, self.kept
        samples = run.samples if kept is None else run.samples.rows(kept)
        scale = 1 / len(samples) if run.update["mean"] else 1.0
        decay = float(run.update["weight_decay"])
        return Objective(run.model, samples, run.update, threads, scale=scale, decay=decay, rows=kept)

    def visits(self) -> NDArray[np.int64] | None:
        """Return the rows of the next epoch, in their order."""
        model, kept = self.run.model, self.kept
        if self.order == "given" or model.optimizer.full_batch:
            return kept
        drawn = draw_order(self.order, len(self.run.samples if kept is None else kept), model.rng)
        return drawn if kept is None else kept[drawn]

    def diverged(self, failure: Failure) -> None:
        """Raise a DivergenceError, or say what is wrong with an X that had not been looked through."""
        run = self.run
        if not run.samples.checked:
            finite_array(run.samples.X, run.model.dtype, "X")  # its ValueError is a refusal
        where = f"{'iteration' if run.model.optimizer.searches else 'epoch'} {len(self.history) + 1}"
        raise _divergence(run.model, f"training diverged in {where}", failure, self.history)

    def end_epoch(self, result: Pass) -> bool:
        """Record an epoch; return whether it was the last one."""
        model, history = self.run.model, self.history
        self.n_done += 1
        self.run.samples.checked = True  # the first epoch has seen every row
        monitored = self._record(result)
        self.stopping.see(history, monitored)
        model.optimizer.observe(model.memory, monitored)
        if self.shown_epochs is not None:
            with Allowed():  # whoever reads it may be slow
                print(_progress_line(history, self.shown_epochs), file=sys.stderr, flush=True)
        called_off = self._call_back() if self.callbacks else False
        self.epoch_began = time.perf_counter()
        if result.out_of_time or self.epoch_began >= self.stopping.deadline:
            reason: str | None = "max_seconds"
        elif called_off:
            reason = "callback"
        else:
            reason = self.stopping.reason(self.run, self.kept, history)
        history.stopped = reason or history.stopped
        return reason is not None

    def _call_back(self) -> bool:
        """Call all callbacks, even after one that returns True; return whether one did."""
        with Allowed():
            answers = [callback(self.network, self.history) for callback in self.callbacks]
        return any(answer is True for answer in answers)

    def _record(self, result: Pass) -> float:
        """Enter an epoch into the history; return the monitored loss."""
        run, history, monitored = self.run, self.history, result.loss
        scores = None if self.held_out is None else run.model.evaluate(self.held_out)  # what may fail comes first
        history.loss.append(monitored)
        if run.counts_right:
            history.accuracy.append(result.correct / result.weight if result.weight else 0.0)
        history.clipped.append(result.clipped)
        history.learning_rate.append(result.learning_rate)
        if not math.isnan(result.objective):
            history.objective.append(result.objective)
        if scores is not None:
            monitored, accuracy = scores
            history.validation_loss.append(monitored)
            if accuracy is not None:
                history.validation_accuracy.append(accuracy)
        history.seconds.append(time.perf_counter() - self.epoch_began)
        return monitored


class _Stopping:
    """When `fit` stops, and which parameters it ends with."""

    def __init__(
        self,
        model: Model,
        tol: float,
        patience: int | None,
        restore_best: bool,
        grad_tol: float | None,
        max_seconds: float | None,
    ) -> None:
        self.model = model
        self.tol = check_number(tol, "tol", minimum=0)
        self.patience = None if patience is None else check_count(patience, "patience")
        self.grad_tol = None if grad_tol is None else check_number(grad_tol, "grad_tol", minimum=0)
        seconds = math.inf if max_seconds is None else check_number(max_seconds, "max_seconds", above=0)
        self.deadline = time.perf_counter() + seconds
        self.keeps_best = restore_best and patience is not None
        self.best_loss = math.inf
        self.best_parameters: NDArray[Any] | None = None

    def see(self, history: History, loss: float) -> None:
        """Take note of the last epoch's loss."""
        better = loss < self.best_loss - self.tol or math.isnan(self.best_loss)  # a validation loss may be NaN
        if history.best_epoch is not None and not better:
            return
        self.best_loss, history.best_epoch = loss, len(history) - 1
        if self.keeps_best and self.best_parameters is None:
            self.best_parameters = self.model.parameters.copy()
        elif self.best_parameters is not None:
            self.best_parameters[...] = self.model.parameters

    def reason(self, run: Run, kept: NDArray[np.int64] | None, history: History) -> str | None:
        """Return why training should stop here, or None."""
        best = history.best_epoch
        if self.patience is not None and best is not None and len(history) - 1 - best >= self.patience:
            return "patience"
        if self.grad_tol is not None and run.gradient_norm(kept) <= self.grad_tol:
            return "grad_tol"
        return None

    def restore(self) -> None:
        """Take the best parameters back, if they were to be kept."""
        if self.best_parameters is not None:
            self.model.parameters[...] = self.best_parameters
            self.model.trained[...] = self.best_parameters  # training goes on from there, as without an average


def _check_stream(optimizer: Optimizer, what: str) -> None:
    """Raise an error for an optimiser that a stream of samples does not suit."""
    if isinstance(optimizer.averaging, SWA):
        raise ValueError("averaging=SWA(...) is over the epochs of fit, but a stream has none: use cmlp.EMA(...)")
    if optimizer.full_batch:
        kind = type(optimizer).__name__
        raise ValueError(f"{what} sees few samples, but {kind} needs all: use fit, or another optimizer as cmlp.SGD()")


def _check_callbacks(
    callbacks: Iterable[Callable[[Network, History], object]],
) -> list[Callable[[Network, History], object]]:
    if not isinstance(callbacks, Iterable):
        raise TypeError(f"callbacks must be a list of functions of (network, history), not {shown(callbacks)}")
    found = list(callbacks)
    for callback in found:
        if not callable(callback):
            raise TypeError(f"callbacks must be functions of (network, history), not {shown(callback)}")
    return found


def _check_data(
    model: Model,
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None,
    validation: Any,
    order: str,
) -> tuple[Samples, Samples | None]:
    """Return checked samples, and the held-out ones if they were given.

    What becomes an array may run users' code, which may do anything: nothing of the model's state has been read yet.
    """
    pair = validation if isinstance(validation, (tuple, list)) else None
    # Long rows cost as much to look through as to learn from: where the first epoch sees all of them, it checks them.
    sees_all = order != "replacement" and not model.scaling.needed and (validation is None or pair is not None)
    samples = model.check_samples(X, y, sample_weight, X_later=sees_all and model.n_inputs >= _LONG_ROW)
    if pair is None:
        return samples, None
    if len(pair) != 2:
        raise ValueError(f"validation must be a fraction or (X, y), not a {type(pair).__name__} of {len(pair)}")
    return samples, model.check_samples(*pair)


def _divide(
    model: Model, samples: Samples, held_out: Samples | None, validation: Any
) -> tuple[Samples, NDArray[np.int64] | None, Samples | None]:
    """Return the samples, the rows of them to train on (None: all) and the held-out samples (None: none)."""
    if validation is None or held_out is not None:
        return samples, None, held_out
    kept, rest = split_validation(len(samples), validation, model.rng)
    held_out = samples.rows(rest)
    if held_out.total_weight() == 0:
        raise ValueError(f"validation={validation} holds out rows that all have sample_weight 0: give (X, y)")
    return samples, kept, held_out


def _on_scale(
    model: Model, samples: Samples, kept: NDArray[np.int64] | None, held_out: Samples | None
) -> tuple[Samples, Samples | None]:
    """Return the samples as the layers want them; the first ones of all decide about the scale."""
    if model.scaling.needed and not model.scaling.count.any():
        model.scaling.learn(samples.X if kept is None else samples.X[kept], need_all=True)
    return model.scaled(samples), None if held_out is None else model.scaled(held_out)


def _progress_line(history: History, epochs: int) -> str:
    """One line about the last epoch, aligned with the others and not wider than a terminal."""
    n = len(history.loss)
    parts = [f"epoch {n:>{len(str(epochs))}}/{epochs}", f"loss {history.loss[-1]:<9.4g}"]
    if history.validation_loss:
        parts.append(f"validation loss {history.validation_loss[-1]:<9.4g}")
    if history.validation_accuracy:
        parts.append(f"accuracy {history.validation_accuracy[-1]:.4f}")
    return "  ".join([*parts, f"{history.seconds[-1]:.3f} s"])
