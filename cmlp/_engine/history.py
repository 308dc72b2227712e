"""The record of a training run, and how a run can end before its time."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from cmlp._base.checks import check_name
from cmlp._base.extras import import_extra

if TYPE_CHECKING:
    import pandas


class DivergenceError(ArithmeticError):
    """Training left the finite numbers. The network has the parameters of the last good epoch.

    Attributes
    ----------
    epoch : int
        The epoch that failed, from 0 in this call, as in the lists of `History`; the message counts from 1.
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

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to make it anew: it may come from another process."""
        return type(self), (str(self), self.epoch, self.sample, self.layer, self.history)


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C came during `fit`. The network keeps what was learnt; a loop of fits ends too.

    Attributes
    ----------
    history : History
        The epochs until then, with `stopped == "interrupted"`.

    Examples
    --------
    >>> import cmlp
    >>> def press_ctrl_c(network, history):
    ...     raise KeyboardInterrupt
    >>> net = cmlp.MLP([1, 1], seed=0)
    >>> try:
    ...     net.fit([[1]], [2], epochs=10, callbacks=[press_ctrl_c])
    ... except cmlp.TrainingInterrupted as interrupted:
    ...     print(len(interrupted.history), interrupted.history.stopped)
    1 interrupted
    """

    def __init__(self, history: History) -> None:
        epochs = f"{len(history)} epoch{'' if len(history) == 1 else 's'}"
        super().__init__(f"training was interrupted after {epochs}; the network keeps what was learnt")
        self.history = history

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to make it anew: it may come from another process."""
        return type(self), (self.history,)


@dataclass(repr=False)
class History:
    """The record of a training run: one entry per epoch in each list.

    `len(history)` is the number of epochs, `history["loss"]` is `history.loss`, `history.to_frame()` a table.

    Attributes
    ----------
    loss : list of float
        Mean of ℓ, each sample's taken when it was visited, with dropout if there is any; of LBFGS, at the end of the
        iteration.
    accuracy : list of float
        Of a classifier: the share of samples whose class was right when they were visited, before they were learnt
        from; empty for a loss of values, and for line searches and LBFGS.
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
        Index of the epoch with the lowest monitored loss (validation if there is one, else training).

    Examples
    --------
    >>> import cmlp
    >>> net = cmlp.MLP([1, 1], init="zeros", bias_init="zeros")
    >>> history = net.fit([[1], [2]], [1, 2], epochs=3, order="given")
    >>> len(history), history.stopped, history.best_epoch
    (3, 'epochs', 2)
    >>> history["loss"] == history.loss
    True
    """

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    objective: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    clipped: list[int] = field(default_factory=list)
    stopped: str = "epochs"
    best_epoch: int | None = None

    def __len__(self) -> int:
        """Return the number of epochs."""
        return len(self.loss)

    def __getitem__(self, name: str) -> Any:
        """Return an attribute by its name."""
        return getattr(self, check_name(name, [field.name for field in fields(self)], "entry of a History"))

    __iter__ = None  # neither its epochs nor its names alone would be meant

    def __contains__(self, name: object) -> bool:
        """Return whether there is an entry of this name."""
        return any(field.name == name for field in fields(self))

    def __repr__(self) -> str:
        """Show the number of epochs, the last entries and why training ended."""
        parts = [f"{len(self)} epoch{'' if len(self) == 1 else 's'}"]
        for name in ("loss", "accuracy", "validation_loss", "validation_accuracy"):
            if self[name]:
                parts.append(f"{name} {self[name][-1]:.4g}")
        return f"History({', '.join([*parts, f'{sum(self.seconds):.3g} s', f'stopped={self.stopped!r}'])})"

    def to_frame(self) -> pandas.DataFrame:
        """Return the lists as a pandas DataFrame, one row per epoch, counted from 1.

        Raises
        ------
        ImportError
            If pandas is not installed.

        Examples
        --------
        >>> import cmlp
        >>> history = cmlp.MLP([1, 1], seed=0).fit([[1], [2]], [1, 2], epochs=2)
        >>> history.to_frame().index.tolist(), "loss" in history.to_frame()
        ([1, 2], True)
        """
        pandas = import_extra("pandas", "History.to_frame")
        lists = {field.name: self[field.name] for field in fields(self)}
        columns = {name: values for name, values in lists.items() if isinstance(values, list) and values}
        return pandas.DataFrame(columns, index=pandas.RangeIndex(1, len(self) + 1, name="epoch"))
