"""The plain multilayer perceptron: sizes and names to a chain of dense layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from cmlp._base.checks import check_count, check_number, shown
from cmlp._base.hints import named_arguments
from cmlp.layers import Dense, Dropout, Layer, chain, dense_layers
from cmlp.losses import NATURAL_OUTPUT, Loss, loss_name
from cmlp.network import Network

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, DTypeLike

    from cmlp.optimizers import Optimizer


class MLP(Network):
    """A multilayer perceptron: a chain of dense layers.

    Parameters
    ----------
    sizes : sequence of int
        n_0 = n inputs, the widths of the hidden layers, n_N outputs.
    activation : str or sequence of str, default "relu"
        Of all hidden layers; or one name per hidden layer; or one per layer, the output's included.
    output_activation : str, optional
        Default: the natural one of the loss (softmax for cross_entropy, sigmoid for binary_cross_entropy, exp for
        poisson, identity for the others).
    loss : str or Loss, default "squared_error"
        ℓ, a name of `cmlp.losses` or, with a parameter, such as `cmlp.losses.Huber(2.0)`; class targets of
        cross_entropy and hinge are indices or one-hot rows.
    bias : bool, default True
        Whether the layers have biases.
    init, bias_init : str or sequence of arrays, default "he_normal"
        How weights and biases start: a name of `cmlp.initializers`, or one array (or name) per layer. "he_normal"
        draws W_k and b_k from N(0, √(2/n_{k-1})); "zeros" is the other usual choice for biases.
    alpha : float, optional
        α of leaky_relu (default 0.01) and elu (default 1).
    dropout : float or sequence of float, default 0.0
        Rate of the dropout behind every hidden layer, or one rate per hidden layer; see `cmlp.Dropout`, with which a
        `Network` can drop inputs as well.
    optimizer, dtype, seed, standardize, missing
        As for `Network`.

    Examples
    --------
    XOR, learnt:

    >>> from cmlp.datasets import logic_gate
    >>> X, y = logic_gate("xor")
    >>> import cmlp
    >>> net = cmlp.MLP([2, 8, 1], activation="tanh", loss="binary_cross_entropy", seed=0)
    >>> history = net.fit(X, y, epochs=500, optimizer=cmlp.SGD(0.1))
    >>> net.predict_class(X)
    array([0, 1, 1, 0])
    """

    @named_arguments
    def __init__(
        self,
        sizes: Sequence[int],
        *,
        activation: str | Sequence[str] = "relu",
        output_activation: str | None = None,
        loss: str | Loss = "squared_error",
        bias: bool = True,
        init: str | Sequence[str | ArrayLike] = "he_normal",
        bias_init: str | Sequence[str | ArrayLike] = "he_normal",
        alpha: float | None = None,
        dropout: float | Sequence[float] = 0.0,
        optimizer: Optimizer | str | None = None,
        dtype: DTypeLike = "float32",
        seed: int | np.random.Generator | None = None,
        standardize: bool = False,
        missing: str = "error",
    ) -> None:
        if isinstance(sizes, (str, bytes)) or not hasattr(sizes, "__len__") or len(sizes) < 2:
            raise ValueError(
                f"sizes must list at least the numbers of inputs and outputs, [n, ..., n_N], not {shown(sizes)}"
            )
        natural = NATURAL_OUTPUT[loss_name(loss)]
        n_layers = len(sizes) - 1
        layers = [
            Dense(n_outputs, f, bias, W, b, alpha)
            for n_outputs, f, W, b in zip(
                (check_count(n, f"sizes[{k}]") for k, n in enumerate(sizes[1:], 1)),
                _activations(activation, output_activation, natural, n_layers),
                _per_layer(init, n_layers, "init"),
                _per_layer(bias_init, n_layers, "bias_init"),
                strict=True,
            )
        ]
        n_inputs = check_count(sizes[0], "sizes[0]")
        super().__init__(
            chain(*_with_dropout(layers, dropout)),
            n_inputs,
            loss=loss,
            optimizer=optimizer,
            dtype=dtype,
            seed=seed,
            standardize=standardize,
            missing=missing,
        )

    @property
    def sizes(self) -> list[int]:
        """n_0, ..., n_N.

        Examples
        --------
        >>> MLP([64, 32, 10]).sizes
        [64, 32, 10]
        """
        return [self.n_inputs, *(layer.n_outputs for layer in dense_layers(self.layers))]

    def __repr__(self) -> str:
        """Show the sizes and what is not the default."""
        *hidden, last = [layer.activation for layer in dense_layers(self.layers)]
        shown_fields = [str(self.sizes)]
        if hidden:
            shown_fields.append(f"activation={(hidden[0] if len(set(hidden)) == 1 else hidden)!r}")
        if last != NATURAL_OUTPUT[self._model.loss_name]:
            shown_fields.append(f"output_activation={last!r}")
        rates = [layer.rate for layer in getattr(self.layers, "layers", ()) if isinstance(layer, Dropout)]
        if rates:
            shown_fields.append(f"dropout={rates[0] if len(set(rates)) == 1 and len(rates) == len(hidden) else rates}")
        return f"MLP({', '.join(shown_fields)}, loss={self.loss!r})"


def _activations(
    activation: str | Sequence[str], output_activation: str | None, natural: str, n_layers: int
) -> list[str]:
    """Return one activation per layer."""
    if not hasattr(activation, "__len__"):
        raise TypeError(f"activation must be a name or a list of names, one per layer, not {shown(activation)}")
    if not isinstance(activation, str) and len(activation) == n_layers:
        if output_activation is not None:
            raise ValueError(
                f"activation names all {n_layers} layers, the output's too: leave output_activation out, "
                f"or name the {n_layers - 1} hidden layers only"
            )
        return list(activation)
    if not isinstance(activation, str) and len(activation) != n_layers - 1:
        raise ValueError(
            f"activation must be one name, {n_layers - 1} names (hidden layers) or {n_layers} names (all layers), "
            f"not {shown(activation)}"
        )
    hidden = [activation] * (n_layers - 1) if isinstance(activation, str) else list(activation)
    return [*hidden, natural if output_activation is None else output_activation]


def _with_dropout(layers: Sequence[Dense], dropout: float | Sequence[float]) -> list[Layer]:
    """Return the layers with dropout behind each hidden one whose rate is not 0."""
    *hidden, last = layers
    rates = list(dropout) if isinstance(dropout, Iterable) and not isinstance(dropout, str) else [dropout] * len(hidden)
    if len(rates) != len(hidden):
        raise ValueError(f"dropout must be one rate, or one per hidden layer ({len(hidden)}), not {shown(dropout)}")
    rates = [check_number(rate, "dropout", minimum=0, below=1) for rate in rates]
    pairs = ([layer, Dropout(rate)] if rate else [layer] for layer, rate in zip(hidden, rates, strict=True))
    return [*(part for pair in pairs for part in pair), last]


def _per_layer(init: str | Sequence[str | ArrayLike], n_layers: int, what: str) -> list[str | ArrayLike]:
    if isinstance(init, str):
        return [init] * n_layers
    if not hasattr(init, "__len__") or len(init) != n_layers:
        raise ValueError(f"{what} must be a name or one entry per layer ({n_layers}), not {shown(init)}")
    return list(init)
