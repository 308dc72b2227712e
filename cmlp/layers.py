"""Layers: what a network is composed of. They only describe; `cmlp._engine.program` lowers them to operations.

A model is a composition f_m ∘ … ∘ f_1 (`chain`), a concatenation f ⊕ g (`concatenate`: same input, outputs side by
side) or a sum f + g (`add`: same input, outputs added; with `Identity` a skip connection), nested at will. The
weights of a network are numbered by its `Dense` layers, depth first and left to right.
"""

from __future__ import annotations

from textwrap import indent
from typing import TYPE_CHECKING, Any, ClassVar

from cmlp._base.checks import check_count, shown
from cmlp._base.fields import Declared, checked, declared, flag, from_config, number
from cmlp.activations import ALPHAS, activation_name, alpha_of
from cmlp.initializers import check_init

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike

_LINE = 88  # characters: a longer composition is shown with a line for each part
_MOST_UNITS = 2**48  # numbers side by side: no machine has memory for more, and products of such stay short


class Layer(Declared):
    """Base class of everything a network can be composed of.

    Examples
    --------
    >>> isinstance(Dense(3), Layer)
    True
    """

    noun: ClassVar[str] = "layer"
    config_key: ClassVar[str] = "kind"
    kind: ClassVar[str] = ""

    def _saved(self) -> dict[str, Any]:
        """Return the fields that a configuration has: no initial values given as arrays, the weights say more."""
        return {name: value for name, value in super()._saved().items() if isinstance(value, (str, int, float, tuple))}

    def output_size(self, n_inputs: int) -> int:
        """Return how many outputs the layer has for `n_inputs` inputs; ValueError if it does not fit them."""
        raise TypeError(f"{type(self).__name__} is not a layer of its own: use cmlp.Dense, cmlp.chain, ...")


def _activation(name: str, what: str) -> str:
    """Return the name of an activation, whatever the field is called."""
    return activation_name(name)


def _init(init: str | ArrayLike, what: str) -> str | ArrayLike:
    """Return an initialiser that has been checked."""
    check_init(init, what)
    return init


def check_width(n: object, what: str) -> int:
    """Return how many numbers lie side by side; an error if there are none, or more than any machine can hold.

    >>> check_width(10**30, "n_inputs")
    Traceback (most recent call last):
    ValueError: n_inputs must be at most 2**48, not 1000000000000...0000000000000 (int)
    """
    width = check_count(n, what)
    if width > _MOST_UNITS:
        raise ValueError(f"{what} must be at most 2**48, not {shown(width)}")
    return width


@declared
class Dense(Layer):
    """A fully connected layer, a = f(Wᵀ a_in + b).

    Parameters
    ----------
    n_outputs : int
        n_k >= 1, the layer's width.
    activation : str, default "identity"
        f, a name of `cmlp.activations`.
    bias : bool, default True
        Whether there is a b.
    init, bias_init : str or array, default "he_normal"
        How W (n_in, n_outputs) and b (n_outputs,) start: a name of `cmlp.initializers`, or given values.
    alpha : float, optional
        α >= 0 of leaky_relu (default 0.01) and elu (default 1).

    Examples
    --------
    >>> Dense(32, "relu")
    Dense(n_outputs=32, activation='relu')
    """

    kind: ClassVar[str] = "dense"

    n_outputs: int = checked(check_width)
    activation: str = checked(_activation, default="identity")
    bias: bool = flag(default=True)
    init: str | ArrayLike = checked(_init, default="he_normal", compare=False)
    bias_init: str | ArrayLike = checked(_init, default="he_normal", compare=False)
    alpha: float | None = number(default=None, minimum=0)

    @classmethod
    def _check_config(cls, given: dict[str, Any]) -> None:
        for name in ("init", "bias_init"):
            if not isinstance(given.get(name, ""), str):
                raise TypeError(f"{name} must be a name in a configuration, not {shown(given[name])}")

    def __repr__(self) -> str:
        """Show the width, and what differs from the defaults."""
        shown_fields = [f"n_outputs={self.n_outputs}"]
        if self.activation != "identity":
            shown_fields.append(f"activation={self.activation!r}")
        if self.activation in ALPHAS:
            shown_fields.append(f"alpha={alpha_of(self.activation, self.alpha)}")
        if not self.bias:
            shown_fields.append("bias=False")
        return f"Dense({', '.join(shown_fields)})"

    def output_size(self, n_inputs: int) -> int:
        """Return `n_outputs`: a dense layer takes any number of inputs."""
        return self.n_outputs


@declared
class Activation(Layer):
    """An activation of its own, a = f(a_in), for use after `add` or `concatenate`.

    Examples
    --------
    >>> Activation("tanh").output_size(5)
    5
    """

    kind: ClassVar[str] = "activation"

    name: str = checked(_activation)
    alpha: float | None = number(default=None, minimum=0)

    def output_size(self, n_inputs: int) -> int:
        """Return `n_inputs`."""
        return n_inputs


@declared
class Identity(Layer):
    """The input itself: the other branch of a skip connection, or a part of a concatenation.

    Examples
    --------
    >>> add(Identity(), Dense(8)).output_size(8)
    8
    """

    kind: ClassVar[str] = "identity"

    def output_size(self, n_inputs: int) -> int:
        """Return `n_inputs`."""
        return n_inputs


@declared
class Dropout(Layer):
    """Sets a random part of its inputs to 0 in training, and passes them on as they are otherwise.

    In every training step each input of each sample is kept with probability 1 - p, and then divided by 1 - p, so that
    its mean stays what it was (inverted dropout). Which are kept is a function of a seed that each call of `fit`,
    `partial_fit` or `learn_one` draws from the network's generator, of the step, of the sample's place in the batch and
    of the layer: the same for every number of threads and on every processor. Predictions, `evaluate` and `gradients`
    do without dropout.

    Parameters
    ----------
    rate : float
        p, 0 <= p < 1; 0 is the identity.

    References
    ----------
    Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, Dropout: a simple way to prevent neural networks from
    overfitting, JMLR 15 (2014).

    Examples
    --------
    >>> chain(Dropout(0.2), Dense(32, "relu"), Dropout(0.5), Dense(1)).output_size(10)
    1
    """

    kind: ClassVar[str] = "dropout"

    rate: float = number(minimum=0, below=1)

    def output_size(self, n_inputs: int) -> int:
        """Return `n_inputs`."""
        return n_inputs


@declared
class _Composite(Layer):
    """Several layers as one."""

    layers: tuple[Layer, ...] = checked(family=Layer)

    def _check(self) -> None:
        if not self.layers:
            raise ValueError(f"{self.kind}() needs at least one layer")
        for part in self.layers:
            if not isinstance(part, Layer):
                raise TypeError(f"{self.kind}() takes layers such as cmlp.Dense(8, 'relu'), not {shown(part)}")

    def __repr__(self) -> str:
        """Show the call that makes it, on several lines if it is long."""
        parts = [repr(part) for part in self.layers]
        line = f"{self.kind}({', '.join(parts)})"
        if len(line) <= _LINE and "\n" not in line:
            return line
        lines = indent(",\n".join(parts), "    ")
        return f"{self.kind}(\n{lines},\n)"


@declared
class Chain(_Composite):
    """The composition f_m ∘ … ∘ f_1; see `chain`."""

    kind: ClassVar[str] = "chain"

    def output_size(self, n_inputs: int) -> int:
        """Return the last layer's number of outputs."""
        for layer in self.layers:
            n_inputs = layer.output_size(n_inputs)
        return n_inputs


@declared
class Concatenate(_Composite):
    """The concatenation f ⊕ g; see `concatenate`."""

    kind: ClassVar[str] = "concatenate"

    def output_size(self, n_inputs: int) -> int:
        """Return the sum of the branches' numbers of outputs."""
        return check_width(sum(branch.output_size(n_inputs) for branch in self.layers), "a concatenation's width")


@declared
class Add(_Composite):
    """The sum f + g; see `add`."""

    kind: ClassVar[str] = "add"

    def output_size(self, n_inputs: int) -> int:
        """Return the branches' common number of outputs; ValueError if they differ."""
        sizes = [branch.output_size(n_inputs) for branch in self.layers]
        if len(set(sizes)) > 1:
            raise ValueError(
                f"add() needs branches with equally many outputs, not {' and '.join(map(str, sizes))} "
                f"(for {n_inputs} inputs): give the branches one width"
            )
        return sizes[0]


def chain(*layers: Layer) -> Chain:
    """Compose layers: the output of each is the input of the next.

    Parameters
    ----------
    *layers : Layer
        At least one.

    Returns
    -------
    Chain

    Examples
    --------
    >>> chain(Dense(32, "relu"), Dense(1)).output_size(10)
    1
    """
    return Chain(layers)


def concatenate(*branches: Layer) -> Concatenate:
    """Give the same input to every branch and put their outputs side by side (f ⊕ g).

    Parameters
    ----------
    *branches : Layer
        At least one.

    Returns
    -------
    Concatenate

    Examples
    --------
    >>> concatenate(Dense(3, "relu"), Dense(2, "tanh"), Identity()).output_size(10)
    15
    """
    return Concatenate(branches)


def add(*branches: Layer) -> Add:
    """Give the same input to every branch and add their outputs: with `Identity`, a skip connection.

    Parameters
    ----------
    *branches : Layer
        At least one; all with equally many outputs.

    Returns
    -------
    Add

    Examples
    --------
    >>> residual = add(Identity(), chain(Dense(16, "relu"), Dense(8)))
    >>> residual.output_size(8)
    8
    """
    return Add(branches)


def dense_layers(layer: Layer) -> Iterator[Dense]:
    """Yield the dense layers in the order in which a network numbers its weights.

    Examples
    --------
    >>> [dense.n_outputs for dense in dense_layers(chain(concatenate(Dense(3), Dense(2)), Dense(1)))]
    [3, 2, 1]
    """
    if isinstance(layer, Dense):
        yield layer
    elif isinstance(layer, _Composite):
        for part in layer.layers:
            yield from dense_layers(part)


def layer_to_config(layer: Layer) -> dict[str, Any]:
    """Return a layer as a dict of JSON values. Initial values given as arrays are left out: the weights say more.

    Examples
    --------
    >>> layer_to_config(Dense(2, bias=False))["bias"]
    False
    """
    return layer.to_config()


def layer_from_config(config: Any) -> Layer:
    """Make the layer that `layer_to_config` described; ValueError on anything malformed.

    Examples
    --------
    >>> layer_from_config({"kind": "dense", "n_outputs": 2})
    Dense(n_outputs=2)
    """
    return from_config(Layer, config)
