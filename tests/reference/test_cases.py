"""The cases that must come out, on the NumPy twin and on the compiled network alike."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers.differences import central_differences

import cmlp
from cmlp import reference

INPUTS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
XOR = np.array([0.0, 1.0, 1.0, 0.0])


class ReferenceNet:
    """A chain of cmlp.reference."""

    def __init__(self, weights, biases, activations, loss):
        self.weights = [np.array(W, float) for W in weights]
        self.biases = [None if b is None else np.array(b, float) for b in biases]
        self.activations, self.loss = activations, loss

    def predict(self, X):
        return reference.predict(self.weights, self.biases, self.activations, X)

    def forward(self, x):
        return reference.forward(self.weights, self.biases, self.activations, x)[1]

    def gradients(self, x, y):
        """∂ℓ/∂W_k, ∂ℓ/∂b_k and δ_k for one sample."""
        zs, as_ = reference.forward(self.weights, self.biases, self.activations, x)
        deltas = reference.backward(self.weights, zs, as_, self.activations, self.loss, y)
        return [np.outer(a, delta) for a, delta in zip(as_, deltas, strict=False)], deltas, deltas

    def train(self, X, y, *, rate, epochs, batch_size=1, reduction="mean"):
        """Train in the given order with γ_t = rate(t)."""
        steps = epochs * -(-len(X) // (batch_size or len(X)))
        return reference.train(
            self.weights, self.biases, self.activations, self.loss, X, y,
            learning_rate=[rate(t) for t in range(steps)], epochs=epochs, batch_size=batch_size, reduction=reduction,
        )  # fmt: skip


class CompiledNet:
    """The same chain as a cmlp.MLP in float64."""

    def __init__(self, weights, biases, activations, loss):
        sizes = [len(weights[0]), *(np.shape(W)[1] for W in weights)]
        bias = biases[0] is not None
        self.net = cmlp.MLP(
            sizes, activation=activations, loss=loss, bias=bias, init=weights,
            bias_init=biases if bias else "zeros", dtype="float64",
        )  # fmt: skip
        self.weights, self.biases = self.net.weights, self.net.biases

    def predict(self, X):
        return self.net.predict(X)

    def forward(self, x):
        return self.net.forward(x)

    def gradients(self, x, y):
        found = self.net.gradients(x[None], y[None])
        return found.weights, found.biases, [delta[0] for delta in found.deltas]

    def train(self, X, y, *, rate, epochs, batch_size=1, reduction="mean"):
        return self.net.fit(
            X, y, epochs=epochs, batch_size=batch_size, reduction=reduction, order="given", optimizer=cmlp.SGD(rate)
        ).loss


@pytest.fixture(params=[ReferenceNet, CompiledNet], ids=["reference", "compiled"])
def make_net(request):
    """Return the function that makes a network from weights, biases, activations and a loss."""
    return request.param


def sigma(z):
    return 1 / (1 + np.exp(-z))


# ------------------------------------------------------------------------------------------------ logic gates


def test_and_is_one_sigmoid_neuron(make_net):
    net = make_net([[[20.0], [20.0]]], [[-30.0]], ["sigmoid"], "binary_cross_entropy")
    expected = [9.357622968839299e-14, 4.5397868702434395e-05, 4.5397868702434395e-05, 0.9999546021312976]
    np.testing.assert_allclose(net.predict(INPUTS)[:, 0], expected, rtol=1e-12)  # σ(−30), σ(−10), σ(−10), σ(10)


@pytest.mark.parametrize(
    ("weights", "bias", "truth"),
    [
        ([20.0, 20.0], -10.0, [0, 1, 1, 1]),  # x₁ OR x₂
        ([-20.0, 0.0], 10.0, [1, 1, 0, 0]),  # NOT x₁
        ([-20.0, -20.0], 30.0, [1, 1, 1, 0]),  # NOT (x₁ AND x₂)
    ],
)
def test_gates_of_one_neuron(make_net, weights, bias, truth):
    net = make_net([np.array([weights]).T], [[bias]], ["sigmoid"], "binary_cross_entropy")
    np.testing.assert_allclose(net.predict(INPUTS)[:, 0], truth, atol=1e-4)


def test_xor_by_hand(make_net):
    """x₁ XOR x₂ = (x₁ OR x₂) AND NOT (x₁ AND x₂), a 2-2-1 network of such neurons."""
    weights = [[[20.0, -20.0], [20.0, -20.0]], [[20.0], [20.0]]]
    net = make_net(weights, [[-10.0, 30.0], [-30.0]], ["sigmoid", "sigmoid"], "squared_error")
    np.testing.assert_allclose(net.predict(INPUTS)[:, 0], XOR, atol=1e-4)
    _, hidden, _ = net.forward(INPUTS[3])
    np.testing.assert_allclose(hidden, [1, 0], atol=1e-4)


@pytest.mark.parametrize(
    ("output", "loss"),
    [("sigmoid", "binary_cross_entropy"), ("sigmoid", "squared_error"), ("identity", "squared_error")],
)
def test_xor_learnt(make_net, output, loss):
    rng = np.random.default_rng(2)
    weights, biases = [rng.normal(size=(2, 4)), rng.normal(size=(4, 1))], [np.zeros(4), np.zeros(1)]
    net = make_net(weights, biases, ["tanh", output], loss)
    assert ((net.predict(INPUTS)[:, 0] > 0.5) != XOR).any()
    losses = net.train(INPUTS, XOR, rate=lambda t: 0.3, epochs=3000)
    assert losses[-1] < 0.01 < losses[0]
    np.testing.assert_allclose(net.predict(INPUTS)[:, 0], XOR, atol=0.05)


def test_a_linear_network_cannot_learn_xor(make_net):
    """The best that a x₁ + b x₂ + c can do is ½ everywhere: the mean of ½ (y − ½)² is 1/8."""
    rng = np.random.default_rng(1)
    weights, biases = [rng.normal(size=(2, 3)), rng.normal(size=(3, 1))], [np.zeros(3), np.zeros(1)]
    net = make_net(weights, biases, ["identity", "identity"], "squared_error")
    losses = net.train(INPUTS, XOR, rate=lambda t: 0.2, epochs=2000, batch_size=None)
    assert losses[-1] == pytest.approx(0.125, abs=1e-6)
    np.testing.assert_allclose(net.predict(INPUTS), 0.5, atol=1e-3)


# --------------------------------------------------------------------------------- the four-sample set D

D_INPUTS = np.array([[-3.0, -3.0], [-2.0, -2.0], [4.0, 4.0], [2.0, -5.0]])
D_TARGETS = np.array([1.0, 1.0, 0.0, 0.0])


def error_on_D(w):
    """E = Σ (y − ŷ)², ŷ = σ(w₁₁ x₁ + w₁₂ x₂)."""
    return sum((y - sigma(w[0] * x1 + w[1] * x2)) ** 2 for (x1, x2), y in zip(D_INPUTS, D_TARGETS, strict=True))


def neuron_on_D(make_net, w):
    return make_net([np.array(w, float).reshape(2, 1)], [None], ["sigmoid"], "squared_error")


STARTS = [(0.0, 0.0), (0.5, 0.5), (-0.5, -0.8), (0.3, -0.6)]


@pytest.mark.parametrize("w", [*STARTS, (-1.0, 0.5), (2.0, -3.0)])
def test_loss_surface_and_its_gradient(make_net, w):
    net = neuron_on_D(make_net, w)
    assert ((D_TARGETS - net.predict(D_INPUTS)[:, 0]) ** 2).sum() == pytest.approx(error_on_D(w), rel=1e-12)
    # ∂E/∂w₁ᵢ = Σ 2 (ŷ − y) ŷ (1 − ŷ) xᵢ; squared_error is ½ (ŷ − y)², so its gradient is half of that.
    gradient = sum(2 * net.gradients(x, np.array([y]))[0][0] for x, y in zip(D_INPUTS, D_TARGETS, strict=True))
    w = np.array(w)
    np.testing.assert_allclose(gradient[:, 0], central_differences(lambda: error_on_D(w), w), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("start", STARTS)
def test_gradient_descent_descends_on_D_at_every_step(make_net, start):
    net = neuron_on_D(make_net, start)
    errors = [error_on_D(start)]
    for _ in range(200):
        net.train(D_INPUTS, D_TARGETS, rate=lambda t: 0.05, epochs=1, batch_size=None, reduction="sum")
        errors.append(error_on_D(net.weights[0][:, 0]))
    assert all(after < before for before, after in itertools.pairwise(errors))
    assert errors[-1] < 0.05 * errors[0]


@pytest.mark.parametrize("batch_size", [1, 2, 3])
@pytest.mark.parametrize("start", STARTS)
def test_sgd_with_decreasing_steps_descends_on_D(make_net, start, batch_size):
    """γ_t = 1/(t+1), over single samples and over blocks B_t."""
    errors = [error_on_D(start)]
    for epochs in (1, 10, 50):
        net = neuron_on_D(make_net, start)
        settings = {"epochs": epochs, "batch_size": batch_size, "reduction": "sum"}
        net.train(D_INPUTS, D_TARGETS, rate=lambda t: 1 / (t + 1), **settings)
        errors.append(error_on_D(net.weights[0][:, 0]))
    assert all(after < before for before, after in itertools.pairwise(errors))
    if start[0] == start[1]:  # the others set out on the plateau E ≈ 1, where ŷ ≈ 1 for x = (2, −5)
        assert errors[-1] < 0.1 * errors[0]


def test_inverse_time_schedule_is_one_over_t_plus_one():
    nets = [neuron_on_D(CompiledNet, (0.3, -0.6)) for _ in range(2)]
    nets[0].train(D_INPUTS, D_TARGETS, rate=lambda t: 1 / (t + 1), epochs=5)
    nets[1].train(D_INPUTS, D_TARGETS, rate=cmlp.schedules.InverseTime(1.0), epochs=5)
    np.testing.assert_array_equal(nets[0].weights[0], nets[1].weights[0])


# ------------------------------------------------------------------------------------- depth without activation


def test_a_linear_network_of_any_depth_is_a_linear_map(make_net):
    """f(x) = x W̃ with W̃ = W_1 W_2 … W_N."""
    rng = np.random.default_rng(2)
    sizes = [4, 5, 3, 6, 2]
    weights = [rng.normal(size=shape) for shape in itertools.pairwise(sizes)]
    net = make_net(weights, [None] * 4, ["identity"] * 4, "squared_error")
    X = rng.normal(size=(9, 4))
    np.testing.assert_allclose(net.predict(X), X @ np.linalg.multi_dot(weights), rtol=1e-11, atol=1e-13)


# ------------------------------------------------------------------- the 2-2-2-1 network, symbol by symbol


def test_gradients_of_the_2221_network_written_out(make_net):
    rng = np.random.default_rng(3)
    W1, W2, W3 = (rng.normal(size=shape) for shape in [(2, 2), (2, 2), (2, 1)])
    b1, b2, b3 = rng.normal(size=2), rng.normal(size=2), rng.normal(size=1)
    x1, x2, y = 0.7, -1.3, 0.25

    # w1_ij leads from unit i of layer 0 to unit j of layer 1, and so on.
    (w1_11, w1_12), (w1_21, w1_22) = W1
    (w2_11, w2_12), (w2_21, w2_22) = W2
    (w3_11,), (w3_21,) = W3
    # forward
    a1_1 = sigma(w1_11 * x1 + w1_21 * x2 + b1[0])
    a1_2 = sigma(w1_12 * x1 + w1_22 * x2 + b1[1])
    a2_1 = np.tanh(w2_11 * a1_1 + w2_21 * a1_2 + b2[0])
    a2_2 = np.tanh(w2_12 * a1_1 + w2_22 * a1_2 + b2[1])
    y_hat = sigma(w3_11 * a2_1 + w3_21 * a2_2 + b3[0])
    # backward, for ℓ = ½ (y − ŷ)²
    d3 = (y_hat - y) * y_hat * (1 - y_hat)
    d2_1 = w3_11 * d3 * (1 - a2_1**2)
    d2_2 = w3_21 * d3 * (1 - a2_2**2)
    d1_1 = (w2_11 * d2_1 + w2_12 * d2_2) * a1_1 * (1 - a1_1)
    d1_2 = (w2_21 * d2_1 + w2_22 * d2_2) * a1_2 * (1 - a1_2)

    net = make_net([W1, W2, W3], [b1, b2, b3], ["sigmoid", "tanh", "sigmoid"], "squared_error")
    x = np.array([x1, x2])
    dW, db, deltas = net.gradients(x, np.array([y]))
    by_hand = [
        (dW[0], [[x1 * d1_1, x1 * d1_2], [x2 * d1_1, x2 * d1_2]]),
        (dW[1], [[a1_1 * d2_1, a1_1 * d2_2], [a1_2 * d2_1, a1_2 * d2_2]]),
        (dW[2], [[a2_1 * d3], [a2_2 * d3]]),
        *[(gradients[k], d) for gradients in (db, deltas) for k, d in enumerate([[d1_1, d1_2], [d2_1, d2_2], [d3]])],
        *zip(net.forward(x), [[x1, x2], [a1_1, a1_2], [a2_1, a2_2], [y_hat]], strict=True),
    ]
    for actual, expected in by_hand:
        np.testing.assert_allclose(actual, expected, rtol=1e-12)


# ------------------------------------------------------------------------------------------------- Lagrangian


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activations", [["tanh", "sigmoid", "identity"], ["relu", "leaky_relu", "softmax"]])
def test_stationary_points_of_the_lagrangian(make_net, activations, bias):
    """L = ℓ(a_N) + Σ_k β_kᵀ (f_k(W_kᵀ a_{k-1} + b_k) − a_k): a, β, W and b are independent variables.

    Stationarity in β is the forward pass, in a the backward pass (β_k = ∂ℓ/∂a_k), and ∂L/∂W, ∂L/∂b are then the
    gradients of ℓ.
    """
    rng = np.random.default_rng(4)
    sizes = [3, 4, 5, 2]
    weights = [rng.normal(size=shape) for shape in itertools.pairwise(sizes)]
    biases = [rng.normal(size=n) if bias else None for n in sizes[1:]]
    x, y = rng.normal(size=3), rng.uniform(0.1, 0.9, 2)
    net = make_net(weights, biases, activations, "squared_error")
    a = [np.array(values) for values in net.forward(x)]
    dW, db, deltas = net.gradients(x, y)
    # δ_k = f'_k ⊙ β_k, so β_k = W_{k+1} δ_{k+1}; above the last layer β_N = ∂ℓ/∂ŷ = ŷ − y.
    beta = [*(W @ delta for W, delta in zip(weights[1:], deltas[1:], strict=True)), a[-1] - y]

    def f(name, z):
        if name == "softmax":
            return np.exp(z) / np.exp(z).sum()
        elementwise = {"tanh": np.tanh, "sigmoid": sigma, "identity": np.copy, "relu": lambda z: z * (z > 0)}
        return np.where(z > 0, z, 0.01 * z) if name == "leaky_relu" else elementwise[name](z)

    def lagrangian():
        total = 0.5 * ((a[-1] - y) ** 2).sum()
        for k, (W, name) in enumerate(zip(weights, activations, strict=True)):
            z = a[k] @ W if biases[k] is None else a[k] @ W + biases[k]
            total += beta[k] @ (f(name, z) - a[k + 1])
        return total

    for k in range(3):
        np.testing.assert_allclose(central_differences(lagrangian, beta[k]), 0, atol=1e-8)
        np.testing.assert_allclose(central_differences(lagrangian, a[k + 1]), 0, atol=1e-8)
        np.testing.assert_allclose(central_differences(lagrangian, weights[k]), dW[k], rtol=1e-6, atol=1e-8)
        if bias:
            np.testing.assert_allclose(central_differences(lagrangian, biases[k]), db[k], rtol=1e-6, atol=1e-8)
