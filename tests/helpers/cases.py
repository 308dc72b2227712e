"""Networks, samples and measures that the tests share."""

from __future__ import annotations

import numpy as np

import cmlp
from cmlp import reference
from cmlp._engine.program import COLUMNS, ROWS, Lowering
from cmlp.activations import ACTIVATIONS
from cmlp.layers import Activation, Dense, Identity, add, chain, concatenate
from cmlp.losses import LOSSES

FLOATS = ["float32", "float64"]
LAYOUTS = {"rows": ROWS, "columns": COLUMNS}

# Those that do not make a network of random weights overflow in training.
BOUNDED_GROWTH = [name for name in ACTIVATIONS if name != "exp"]

# Output activations whose range lies in the domain of the loss, so that ℓ is finite for any weights.
OUTPUTS = {
    "squared_error": BOUNDED_GROWTH,
    "cross_entropy": ["softmax", "sigmoid", "softplus"],
    "binary_cross_entropy": ["sigmoid", "softmax"],
    "absolute_error": BOUNDED_GROWTH,
    "huber": BOUNDED_GROWTH,
    "quantile": BOUNDED_GROWTH,
    "poisson": ["exp", "softplus", "sigmoid", "softmax"],
    "hinge": BOUNDED_GROWTH,
}

# Every way to compose layers that lowers differently, for 5 inputs and 3 outputs; f: a hidden activation.
COMPOSITIONS = {
    "dense": lambda f: Dense(3),
    "chain": lambda f: chain(Dense(7, f), Dense(4, f), Dense(3)),
    "without_bias": lambda f: chain(Dense(7, f, bias=False), Dense(4, f), Dense(3, bias=False)),
    "concatenate": lambda f: chain(concatenate(Dense(3, f), Dense(4, "sigmoid"), Dense(1)), Dense(3)),
    "concatenate_input": lambda f: chain(concatenate(Dense(4, f), Identity()), Dense(3)),
    "concatenate_identity_inside": lambda f: chain(
        Dense(6, f), concatenate(Dense(4, f), Identity(), Dense(2)), Dense(3)
    ),
    "concatenate_identity_twice": lambda f: chain(Dense(3, f), concatenate(Identity(), Identity()), Dense(3)),
    "concatenate_nested": lambda f: chain(
        concatenate(Dense(3, f), concatenate(chain(Dense(2, f), Dense(4)), Identity())), Dense(3)
    ),
    "concatenate_output": lambda f: chain(Dense(5, f), concatenate(Dense(2), Dense(1))),
    "concatenate_activations": lambda f: chain(
        Dense(4), concatenate(Activation(f), Identity(), Activation("tanh")), Dense(3)
    ),
    "dense_net": lambda f: chain(  # every layer sees all layers before it
        concatenate(Identity(), Dense(2, f)), concatenate(Identity(), Dense(3, f)), Dense(3)
    ),
    "add": lambda f: chain(add(Dense(6, f), Dense(6), Dense(6, "sigmoid")), Dense(3)),
    "add_input": lambda f: chain(add(Identity(), Dense(5, f)), Dense(3)),
    "residual": lambda f: chain(
        Dense(6, f), add(Identity(), chain(Dense(4, f), Dense(6))), add(Dense(6), Identity()), Dense(3)
    ),
    "activation_first": lambda f: chain(Activation(f), Dense(3)),
    "activation_after_add": lambda f: chain(Dense(6, f), add(Identity(), Dense(6)), Activation(f), Dense(3)),
    "add_activations": lambda f: chain(Dense(6), add(Activation(f), Activation("sigmoid")), Dense(3)),
    "add_of_concatenations": lambda f: chain(
        add(concatenate(Dense(2, f), Dense(4)), concatenate(Dense(3), Dense(3, f))), Dense(3)
    ),
    "concatenate_of_adds": lambda f: chain(
        Dense(4, f), concatenate(add(Identity(), Dense(4)), add(Dense(2, f), Dense(2)), Identity()), Dense(3)
    ),
    "add_of_concatenation_with_identity": lambda f: chain(
        Dense(4, f), add(chain(Dense(3, f), concatenate(Identity(), Dense(1))), Identity()), Dense(3)
    ),
    "add_nested": lambda f: chain(Dense(4, f), add(add(Identity(), Dense(4)), add(Dense(4, f), Identity())), Dense(3)),
    "add_of_one": lambda f: chain(Dense(4, f), add(add(Dense(4, f)), Identity()), Dense(3)),
    "add_output": lambda f: chain(Dense(4, f), add(Dense(3), Dense(3))),
    "softmax_inside": lambda f: chain(Dense(6, "softmax"), Dense(4, f), Activation("softmax"), Dense(3)),
    "identities": lambda f: chain(Identity(), Dense(4, f), Identity(), Dense(3), Identity()),
}


def samples_for(loss, rng, n_samples, n_inputs, n_outputs, dtype, *, one_hot=False):
    """Return X (M, n) and targets in the domain of the loss."""
    X = rng.normal(size=(n_samples, n_inputs)).astype(dtype)
    if loss in ("squared_error", "absolute_error", "huber", "quantile"):
        return X, rng.normal(size=(n_samples, n_outputs)).astype(dtype)
    if loss == "binary_cross_entropy" and not one_hot:
        return X, rng.integers(0, 2, (n_samples, n_outputs)).astype(dtype)
    if loss == "poisson":  # small inputs: e^z must not overflow
        return X / 4, rng.poisson(2, (n_samples, n_outputs)).astype(dtype)
    if loss == "hinge" and (n_outputs == 1 or n_samples % 2):
        return X, rng.choice([-1, 1], (n_samples, n_outputs)).astype(dtype)
    classes = rng.integers(0, n_outputs, n_samples)
    return X, np.eye(n_outputs, dtype=dtype)[classes] if one_hot else classes


def random_mlp(rng, dtype, *, max_width=67, loss=None, hidden=tuple(BOUNDED_GROWTH), hidden_layers=None, **options):
    """Return an MLP of a random shape: 1-4 hidden layers, widths 1-67, mixed activations, any loss."""
    loss = loss or str(rng.choice(list(LOSSES)))
    n_hidden = hidden_layers or int(rng.integers(1, 5))
    sizes = [int(n) for n in np.exp(rng.uniform(0, np.log(max_width + 1), n_hidden + 2))]  # narrow ones as well
    sizes[int(rng.integers(n_hidden + 2))] = max_width
    if loss == "cross_entropy":
        sizes[-1] = max(2, sizes[-1])
    names = [str(rng.choice(hidden)) for _ in range(n_hidden)] + [str(rng.choice(OUTPUTS[loss]))]
    return cmlp.MLP(sizes, activation=names, loss=loss, dtype=dtype, seed=int(rng.integers(1 << 30)), **options)


def needs_one_hot(net):
    """Tell whether targets should be one-hot: softmax cannot reach others under binary_cross_entropy.

    Where it puts ŷ near 1 and y = 0, ∂ℓ/∂ŷ = 1 / (1 - ŷ) loses most digits, and two right programs differ.
    """
    return net.loss == "binary_cross_entropy" and activations_of(net)[-1] == "softmax"


def activations_of(net):
    """Return the names of an MLP's activations, one per layer."""
    return [layer.activation for layer in net.layers.layers]


def parameters_of(net):
    """Return copies of weights and biases, for the reference."""
    return [W.copy() for W in net.weights], [None if b is None else b.copy() for b in net.biases]


def reference_train(net, X, y, **options):
    """Train a copy of an MLP's parameters with cmlp.reference; return (weights, biases, losses)."""
    weights, biases = parameters_of(net)
    losses = reference.train(weights, biases, activations_of(net), net.loss, X, y, **options)
    return weights, biases, losses


def relative_error(got, expected):
    """Return the largest error of any entry, relative to the largest entry of its array (or to 1e-3)."""
    worst = 0.0
    for a, b in zip(got, expected, strict=True):
        if a is not None or b is not None:
            error = np.abs(np.asarray(a, float) - np.asarray(b, float)).max()
            worst = max(worst, error / max(np.abs(b).max(), 1e-3)) if np.isfinite(error) else np.inf
    return worst


def flat(arrays):
    """Return all entries of weights or biases as one vector, without the missing ones."""
    return np.concatenate([a.ravel() for a in arrays if a is not None])


def ulps(got, exact):
    """Return |got - exact| in units in the last place of `got`'s type at `exact` (given in a wider type)."""
    rounded = np.abs(exact.astype(got.dtype))
    unit = np.spacing(np.minimum(rounded, np.finfo(got.dtype).max))
    return np.abs(got.astype(exact.dtype) - exact) / unit.astype(exact.dtype)


class LayoutLowering(Lowering):
    """A lowering that gives every dense layer one layout, `layout`."""

    layout = ROWS

    def _layout(self, n_in, n_out):
        return self.layout


def use_layout(monkeypatch, name):
    """Make networks built from now on lay out every weight matrix by rows or by columns."""
    import cmlp._engine.model

    monkeypatch.setattr(LayoutLowering, "layout", LAYOUTS[name])
    monkeypatch.setattr(cmlp._engine.model, "Lowering", LayoutLowering)
