"""Training: the epoch loop, its stopping rules and its record. The functions here are methods of `Network`.

Python decides here which samples come in which order, at which learning rates, and when to stop; the compiled core
learns a chunk of samples per call. Between two chunks Ctrl-C and `max_seconds` are seen.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cmlp._base.checks import check_count, check_name, check_number, finite_array, numeric_array, shown
from cmlp._core import first_nonfinite
from cmlp._engine.passes import Pass, Run, check_threads, make_update
from cmlp._engine.search import Objective, import_optimize, search
from cmlp.averaging import SWA
from cmlp.data.arrays import check_row, check_targets
from cmlp.data.samples import ORDERS, Samples, sample_order, split_validation
from cmlp.optimizers import Optimizer, as_optimizer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from cmlp.network import Network

_LONG_ROW = 256  # inputs; shorter rows are checked faster all at once


class DivergenceError(ArithmeticError):
    """Training left the finite numbers. The network has the parameters of the last good epoch.

    Attributes
    ----------
    epoch : int
        The epoch that failed, counted from 0 in this call.
    sample : int or None
        Row of X at which the loss was not finite; None if only parameters overflowed.
    layer : int or None
        The dense layer, as in `weights[layer]`, whose numbers were not finite first; None if all were finite and
        the loss is not defined at the output.
    history : History or None
        The epochs before.

    Examples
    --------
    >>> import cmlp
    >>> net = cmlp.MLP([1, 1], init=[[[1]]], bias_init="zeros", optimizer=cmlp.SGD(1e30))
    >>> try:
    ...     net.fit([[1e5], [1e5]], [0, 0])
    ... except cmlp.DivergenceError as error:
    ...     print(error.epoch, error.layer, net.weights[0].item())
    0 0 1.0
    """

    def __init__(
        self, message: str, epoch: int, sample: int | None, layer: int | None, history: History | None = None
    ) -> None:
        super().__init__(message)
        self.epoch = epoch
        self.sample = sample
        self.layer = layer
        self.history = history


@dataclass
class History:
    """The record of a training run: one entry per epoch in each list.

    Attributes
    ----------
    loss : list of float
        Mean of ℓ, each sample's taken when it was visited, with dropout if there is any; of LBFGS, at the end of the
        iteration.
    objective : list of float
        Of LBFGS: what it minimises, weight decay included, at the end of the iteration; else empty.
    validation_loss, validation_accuracy : list of float
        After the epoch; empty without validation (and accuracy for classifiers only).
    seconds : list of float
        Wall time, validation included.
    learning_rate : list of float
        Of the epoch's last step; α of a line search (0 if no step lowers the objective), NaN for LBFGS.
    clipped : list of int
        Elements of δ that `clip_delta` clipped.
    stopped : str
        Why training ended: "epochs", "patience", "grad_tol", "max_seconds", "callback" or "interrupted" (Ctrl-C);
        a line search also: "converged" (no step lowers the objective); LBFGS also: "converged" (gtol or ftol),
        "max_fun" or "line_search" (no lower point found: rounding).
    best_epoch : int or None
        Epoch with the lowest monitored loss (validation if there is one, else training).

    Examples
    --------
    >>> import cmlp
    >>> net = cmlp.MLP([1, 1], init="zeros", bias_init="zeros")
    >>> history = net.fit([[1], [2]], [1, 2], epochs=3, order="given")
    >>> len(history.loss), history.stopped, history.best_epoch
    (3, 'epochs', 2)
    """

    loss: list[float] = field(default_factory=list)
    objective: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    clipped: list[int] = field(default_factory=list)
    stopped: str = "epochs"
    best_epoch: int | None = None


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
        Also after Ctrl-C, which keeps what was learnt.

    Raises
    ------
    TypeError, ValueError
        If the samples or a parameter are not as described; nothing is changed then.
    DivergenceError
        If a loss or a parameter is not finite any more; the network keeps the last good epoch.
    ImportError
        If the optimiser needs SciPy and it is not there.

    Examples
    --------
    >>> import cmlp
    >>> X, y = cmlp.datasets.load_digits()
    >>> net = cmlp.MLP([64, 32, 10], loss="cross_entropy", seed=0)
    >>> history = net.fit(X / 16, y, epochs=5, optimizer=cmlp.SGD(0.02), validation=0.2)
    >>> history.validation_accuracy[-1] > 0.9
    True
    """
    epochs = check_count(epochs, "epochs")
    check_name(order, ORDERS, "order")
    # Long rows cost as much to look through as to learn from: where the first epoch sees all of them, it checks them.
    sees_all = order != "replacement" and not self._scaling.needed and not isinstance(validation, (int, float))
    check_later = sees_all and self.n_inputs >= _LONG_ROW
    samples = self._check_samples(X, y, sample_weight, X_later=check_later)
    monitor = _Monitor(tol, patience, restore_best)
    grad_tol = None if grad_tol is None else check_number(grad_tol, "grad_tol", minimum=0)
    deadline = math.inf if max_seconds is None else check_number(max_seconds, "max_seconds", above=0)
    callbacks = _check_callbacks(callbacks)
    new_optimizer = self.optimizer if optimizer is None else as_optimizer(optimizer)
    kept, held_out = _split(self, samples, validation)
    n_kept = len(samples.X) if kept is None else len(kept)
    threads = check_threads(n_threads)
    clipping = (clip_delta, clip_value, clip_norm)
    update = make_update(new_optimizer, n_kept, batch_size, reduction, *clipping, self._dropout_seed())
    if new_optimizer.full_batch and order == "replacement":
        raise ValueError(f"{type(new_optimizer).__name__} takes all samples: order='replacement' does not go with it")
    if new_optimizer.searches:
        import_optimize()  # SciPy is missed before anything has changed
    if self._scaling.needed:
        if not self._scaling.count.any():  # the first samples of all decide about the scale
            self._scaling.learn(samples.X if kept is None else samples.X[kept], need_all=True)
        samples, held_out = self._scaled(samples), None if held_out is None else self._scaled(held_out)
    check_x = check_later and update.is_plain
    if check_later and not check_x:
        finite_array(samples.X, self.dtype, "X")
    if optimizer is not None:
        self._set_optimizer(new_optimizer)

    run = Run(self, samples, update, threads)
    history = History()
    began = time.perf_counter()
    deadline += began

    def end_epoch(result: Pass) -> bool:
        """Record an epoch; tell whether it was the last one."""
        nonlocal began
        self.n_epochs += 1
        monitored = _record(self, history, result, held_out, began)
        monitor.see(self, history, monitored)
        self._optimizer.observe(self._memory, monitored)
        if progress:
            print(_progress_line(history, epochs), file=sys.stderr, flush=True)
        # a list: all callbacks are called, even after one that returns True
        asked_to_stop = [callback(self, history) is True for callback in callbacks]
        began = time.perf_counter()
        if result.out_of_time or began >= deadline:
            history.stopped = "max_seconds"
        elif any(asked_to_stop):
            history.stopped = "callback"
        elif monitor.lost_patience(history):
            history.stopped = "patience"
        elif grad_tol is not None and run.gradient_norm(kept) <= grad_tol:
            history.stopped = "grad_tol"
        else:
            return False
        return True

    try:
        if new_optimizer.searches:
            search(Objective(self, samples, kept, update, threads), epochs, end_epoch, history)
        for epoch in range(0 if new_optimizer.searches else epochs):
            run.save_state()
            visits = None if new_optimizer.full_batch else sample_order(order, n_kept, self._rng)
            if kept is not None:
                visits = kept if visits is None else kept[visits]
            result = run.learn(visits, deadline, check_x=check_x and not history.loss)
            if result.bad is not None and check_x and first_nonfinite(samples.X) >= 0:
                run.restore_state()
                finite_array(samples.X, self.dtype, "X")
            _raise_if_diverged(run, result, epoch, history)
            run.average_epoch()
            if end_epoch(result):
                break
    except KeyboardInterrupt:  # Ctrl-C between two chunks, or in a callback
        history.stopped = "interrupted"
    monitor.restore(self)
    return history


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
        If a loss or a parameter is not finite any more; the parameters are those before the call.

    Examples
    --------
    >>> import cmlp
    >>> net = cmlp.MLP([1, 1], init="zeros", bias_init="zeros", optimizer=cmlp.SGD(0.5))
    >>> net.partial_fit([[1], [1]], [2, 2]).weights[0].item()
    1.0
    """
    samples = self._check_samples(X, y, sample_weight)
    _check_stream(self)
    _refuse_full_batch(self.optimizer, "partial_fit")
    clipping = (clip_delta, clip_value, clip_norm)
    update = make_update(self.optimizer, len(samples.X), batch_size, reduction, *clipping, self._dropout_seed())
    run = Run(self, samples, update)
    run.save_state()
    run.learn_scale()
    _raise_if_diverged(run, run.learn(), 0, None)
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
        If ℓ is not finite; the parameters stay as they were then.

    Examples
    --------
    >>> import cmlp
    >>> net = cmlp.MLP([1, 1], init="zeros", bias_init="zeros", optimizer=cmlp.SGD(0.5))
    >>> net.learn_one([1], 2), net.learn_one([1], 2)
    (2.0, 0.0)
    """
    loss = self._one_row.learn(x, y, clip_delta)
    if loss is not None:
        self.n_steps += 1
        return loss
    _check_stream(self)
    _refuse_full_batch(self.optimizer, "learn_one")
    row = check_row(x, self.n_inputs, self.dtype, allow_nan=self.missing == "mean")[None]
    target = check_targets(numeric_array(y, "y")[None], 1, self.n_outputs, self.loss, self.dtype)
    samples = Samples(row, labels=target) if target.dtype.kind == "i" else Samples(row, target)
    update = make_update(self.optimizer, 1, clip_delta=clip_delta, dropout_seed=self._dropout_seed())
    run = Run(self, samples, update)
    scale = [buffer.copy() for buffer in self._scaling.buffers]
    run.learn_scale()
    result = run.learn()
    if result.bad is not None:  # found before any parameter was updated
        self.n_steps -= 1
        for buffer, before in zip(self._scaling.buffers, scale, strict=True):
            buffer[...] = before
        reason, sample, layer = run.failure(result) or ("the loss is not finite", 0, None)
        raise DivergenceError(f"learn_one: {reason}; the parameters are unchanged", 0, sample, layer)
    return result.loss_sum


def _refuse_full_batch(optimizer: Optimizer, what: str) -> None:
    if optimizer.full_batch:
        kind = type(optimizer).__name__
        raise ValueError(f"{what} sees few samples, but {kind} needs all: use fit, or another optimizer as cmlp.SGD()")


class _Monitor:
    """Watches the monitored loss: which epoch was best, and whether patience has run out."""

    def __init__(self, tol: float, patience: int | None, restore_best: bool) -> None:
        self.tol = check_number(tol, "tol", minimum=0)
        self.patience = None if patience is None else check_count(patience, "patience")
        self.keeps_best = restore_best and patience is not None
        self.best_loss = math.inf
        self.best_parameters: NDArray[Any] | None = None

    def see(self, network: Network, history: History, loss: float) -> None:
        """Take note of the last epoch's loss."""
        better = loss < self.best_loss - self.tol or math.isnan(self.best_loss)  # a validation loss may be NaN
        if history.best_epoch is not None and not better:
            return
        self.best_loss, history.best_epoch = loss, len(history.loss) - 1
        if self.keeps_best and self.best_parameters is None:
            self.best_parameters = network._parameters.copy()
        elif self.best_parameters is not None:
            self.best_parameters[...] = network._parameters

    def lost_patience(self, history: History) -> bool:
        """Whether too many epochs have passed since the best."""
        if self.patience is None or history.best_epoch is None:
            return False
        return len(history.loss) - 1 - history.best_epoch >= self.patience

    def restore(self, network: Network) -> None:
        """Take the best parameters back, if they were to be kept."""
        if self.best_parameters is not None:
            network._parameters[...] = self.best_parameters
            if "iterate" in network._state:  # training goes on from there, as without an average
                network._state["iterate"][...] = self.best_parameters


def _check_stream(network: Network) -> None:
    if isinstance(network.optimizer.averaging, SWA):
        raise ValueError("averaging=SWA(...) is over the epochs of fit, but a stream has none: use cmlp.EMA(...)")


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


def _split(
    network: Network, samples: Samples, validation: float | tuple[ArrayLike, ArrayLike] | None
) -> tuple[NDArray[np.int64] | None, Samples | None]:
    """Return the rows to train on (None: all) and the held-out samples (None: none)."""
    if validation is None:
        return None, None
    if isinstance(validation, tuple):
        if len(validation) != 2:
            raise ValueError(f"validation must be a fraction or (X, y), not a tuple of {len(validation)}")
        return None, network._check_samples(*validation)
    fraction = check_number(validation, "validation", above=0, below=1)
    kept, held_out = split_validation(len(samples.X), fraction, network._rng)
    return kept, samples.rows(held_out)


def _record(network: Network, history: History, result: Pass, held_out: Samples | None, start: float) -> float:
    """Enter an epoch into the history; return the monitored loss."""
    scores = None if held_out is None else network._evaluate(held_out)
    history.loss.append(result.loss)
    history.clipped.append(result.clipped)
    history.learning_rate.append(result.learning_rate)
    monitored = result.loss
    if scores is not None:
        monitored = scores.loss
        history.validation_loss.append(scores.loss)
        if scores.accuracy is not None:
            history.validation_accuracy.append(scores.accuracy)
    history.seconds.append(time.perf_counter() - start)
    return monitored


def _raise_if_diverged(run: Run, result: Pass, epoch: int, history: History | None) -> None:
    """Raise a DivergenceError and restore the state before the pass, if its numbers were not all finite."""
    failure = run.failure(result)
    if failure is None:
        return
    run.restore_state()
    where = f"epoch {epoch}" if history is not None else "partial_fit"
    advice = "Try a smaller learning rate, clip_delta=1.0, or inputs scaled to about unit size"
    raise DivergenceError(
        f"training diverged in {where}: {failure.reason}. The network has the parameters from before. {advice}",
        epoch,
        failure.sample,
        failure.layer,
        history,
    )


def _progress_line(history: History, epochs: int) -> str:
    """One line about the last epoch, aligned with the others and not wider than a terminal."""
    n = len(history.loss)
    parts = [f"epoch {n:>{len(str(epochs))}}/{epochs}", f"loss {history.loss[-1]:<9.4g}"]
    if history.validation_loss:
        parts.append(f"validation loss {history.validation_loss[-1]:<9.4g}")
    if history.validation_accuracy:
        parts.append(f"accuracy {history.validation_accuracy[-1]:.4f}")
    return "  ".join([*parts, f"{history.seconds[-1]:.3f} s"])
