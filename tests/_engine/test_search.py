"""The optimisers that search for their steps: exact line search and L-BFGS."""

from __future__ import annotations

import copy
import signal
import sys
import time

import numpy as np
import pytest
import scipy.optimize
from helpers.cases import COMPOSITIONS, FLOATS, flat, relative_error, samples_for

import cmlp
from cmlp import LBFGS, SGD, GradientDescent, reference
from cmlp.data.samples import split_validation
from cmlp.layers import dense_layers
from cmlp.losses import LOSSES, NATURAL_OUTPUT

EXACT = GradientDescent(line_search="exact")


class Reference:
    """E and ∇E by cmlp.reference, over the flat list of all weights and biases."""

    def __init__(self, net, X, y, weight_decay=0.0, sample_weight=None, scale=None):
        self.net, self.X, self.y, self.decay = net, X, y, weight_decay
        self.s = np.ones(len(X)) if sample_weight is None else sample_weight
        self.scale = 1 / len(X) if scale is None else scale
        self.shapes = [a.shape for a in (*net.weights, *net.biases) if a is not None]
        self.start = flat([*net.weights, *net.biases]).astype(float)

    def arrays(self, x):
        parts = np.split(x, np.cumsum([np.prod(shape) for shape in self.shapes])[:-1])
        arrays = [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)]
        n = len(self.net.weights)
        biases = iter(arrays[n:])
        return arrays[:n], [None if b is None else next(biases) for b in self.net.biases]

    def __call__(self, x):
        weights, biases = self.arrays(x)
        E = 0.5 * self.decay * sum((W**2).sum() for W in weights)
        gradient = [self.decay * W for W in weights] + [np.zeros_like(b) for b in biases if b is not None]
        for row, target, s in zip(self.X, self.y, self.s, strict=True):
            ell, dW, db = reference.network_gradients(
                self.net.layers, weights, biases, self.net.loss, row[None], np.asarray(target)[None]
            )
            E += self.scale * s * float(ell.item())
            for g, more in zip(gradient, [*dW, *(b for b in db if b is not None)], strict=True):
                g += self.scale * s * more
        return E, flat(gradient)


def lbfgs_problem(loss, dtype="float64", n=30):
    net = cmlp.MLP([5, 7, 3], activation=["tanh", NATURAL_OUTPUT[loss]], loss=loss, dtype=dtype, seed=0)
    return net, *samples_for(loss, np.random.default_rng(1), n, 5, 3, dtype)


# ----------------------------------------------------------------------------------------------------------- L-BFGS


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("loss", LOSSES)
def test_lbfgs_is_scipys_on_the_reference(loss, reduction):
    net, X, y = lbfgs_problem(loss)
    weights = np.random.default_rng(2).uniform(0.5, 2, len(X))
    E = Reference(net, X, y, 0.01, weights, 1 / len(X) if reduction == "mean" else 1.0)
    objectives = []

    def note(*, intermediate_result):
        objectives.append(intermediate_result.fun)

    options = {"maxiter": 15, "maxcor": 4, "gtol": 1e-7}
    found = scipy.optimize.minimize(E, E.start, jac=True, method="L-BFGS-B", callback=note, options=options)
    optimizer = LBFGS(weight_decay=0.01, gtol=1e-7, history_size=4)
    history = net.fit(X, y, epochs=15, optimizer=optimizer, sample_weight=weights, reduction=reduction)
    assert len(history.loss) == len(history.objective) == net.n_steps == net.n_epochs == found.nit == 15
    np.testing.assert_allclose(history.objective, objectives, rtol=1e-8)
    W, b = E.arrays(found.x)
    assert relative_error((*net.weights, *net.biases), (*W, *b)) < 1e-6
    data = net.evaluate(X, y, sample_weight=weights).loss
    assert history.loss[-1] == pytest.approx(data, rel=1e-12)
    penalty = 0.005 * sum((W**2).sum() for W in net.weights)
    scale = weights.sum() / len(X) if reduction == "mean" else weights.sum()
    assert history.objective[-1] == pytest.approx(scale * data + penalty, rel=1e-12)
    assert np.isnan(history.learning_rate).all()


@pytest.mark.parametrize("dtype", FLOATS)
def test_lbfgs_reaches_the_optimum_of_a_convex_problem(dtype):
    """Ridge regression: (XᵀX / M + λ I) W = Xᵀy / M for centred X and y; the bias takes no penalty."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 4)).astype(dtype)
    y = (X @ rng.normal(size=(4, 2)) + 3 + rng.normal(size=(50, 2))).astype(dtype)
    net = cmlp.MLP([4, 2], dtype=dtype, seed=0)
    history = net.fit(X, y, epochs=1000, optimizer=LBFGS(weight_decay=0.1, gtol=1e-9, ftol=0))
    assert history.stopped in (["converged"] if dtype == "float64" else ["converged", "line_search"])
    Xc, yc = X - X.mean(0), y - y.mean(0)
    W = np.linalg.solve(Xc.T @ Xc / 50 + 0.1 * np.eye(4), Xc.T @ yc / 50)
    tolerance = 1e-7 if dtype == "float64" else 1e-3
    np.testing.assert_allclose(net.weights[0], W, atol=tolerance)
    np.testing.assert_allclose(net.biases[0], y.mean(0) - X.mean(0) @ W, atol=tolerance)


def test_lbfgs_minimises_a_logistic_loss_to_its_tolerance():
    X, y = cmlp.datasets.load_digits()
    net = cmlp.MLP([64, 10], loss="cross_entropy", dtype="float64", seed=0)
    history = net.fit(X / 16, y, epochs=1000, optimizer=LBFGS(weight_decay=1e-3, gtol=1e-4, ftol=0))
    assert history.stopped == "converged"
    assert np.diff(history.objective).max() <= 0
    found = net.gradients(X / 16, y)
    dW = found.weights[0] + 1e-3 * net.weights[0]
    assert max(np.abs(dW).max(), np.abs(found.biases[0]).max()) <= 1e-4


@pytest.mark.parametrize("composition", ["residual", "dense_net", "without_bias", "add_output"])
def test_lbfgs_trains_any_composition(composition):
    net = cmlp.Network(COMPOSITIONS[composition]("tanh"), 5, dtype="float64", seed=0)
    X, y = samples_for("squared_error", np.random.default_rng(1), 20, 5, 3, "float64")
    E = Reference(net, X, y)
    assert len(net.weights) == len(list(dense_layers(net.layers)))
    found = scipy.optimize.minimize(E, E.start, jac=True, method="L-BFGS-B", options={"maxiter": 5})
    history = net.fit(X, y, epochs=5, optimizer="lbfgs")
    assert history.objective[-1] == pytest.approx(found.fun, rel=1e-8)
    assert history.objective == pytest.approx(history.loss, rel=1e-12)  # no penalty, mean over equal weights


def test_lbfgs_at_the_optimum_has_nothing_to_do():
    net = cmlp.MLP([1, 1], init=[[[2.0]]], bias_init=[[1.0]], dtype="float64")
    history = net.fit([[0.0], [1.0]], [1.0, 3.0], optimizer=LBFGS())
    assert (history.stopped, history.loss, history.best_epoch, net.n_steps) == ("converged", [], None, 0)
    assert net.weights[0].item() == 2.0


def test_lbfgs_says_why_it_stopped():
    net, X, y = lbfgs_problem("squared_error", n=60)

    def stopped(optimizer=LBFGS(gtol=0, ftol=0), **options):  # noqa: B008  # frozen
        return copy.deepcopy(net).fit(X, y, optimizer=optimizer, **{"epochs": 8, **options})

    assert (stopped().stopped, len(stopped().loss)) == ("epochs", 8)
    assert stopped(LBFGS(max_fun=5), epochs=100).stopped == "max_fun"
    assert stopped(LBFGS(gtol=10.0)).stopped == "converged"
    assert stopped(LBFGS(ftol=0.5)).stopped == "converged"
    assert len(stopped(callbacks=[lambda net, history: len(history.loss) == 3]).loss) == 3
    assert stopped(callbacks=[lambda net, history: True]).stopped == "callback"
    slow = stopped(callbacks=[lambda net, history: time.sleep(0.02)], max_seconds=0.01)
    assert (slow.stopped, len(slow.loss)) == ("max_seconds", 1)
    assert stopped(grad_tol=100.0).stopped == "grad_tol"
    history = stopped(epochs=500, validation=0.3, patience=5)
    assert history.stopped == "patience"
    assert len(history.validation_loss) == len(history.loss) == history.best_epoch + 6


def test_lbfgs_restores_the_best_iteration():
    net, X, y = lbfgs_problem("squared_error", n=60)
    rng = np.random.default_rng(9)
    held_out = (rng.normal(size=(30, 5)), rng.normal(size=(30, 3)))
    history = net.fit(X, y, epochs=500, validation=held_out, patience=5, optimizer=LBFGS(ftol=0, gtol=0))
    assert net.evaluate(*held_out).loss == min(history.validation_loss)


def test_lbfgs_trains_on_the_rows_that_are_kept():
    net, X, y = lbfgs_problem("squared_error", n=40)
    twin = copy.deepcopy(net)
    net.fit(X, y, epochs=4, validation=0.25, optimizer=LBFGS())
    kept = split_validation(40, 0.25, twin._model.rng)[0]
    twin.fit(X[kept], y[kept], epochs=4, optimizer=LBFGS())
    np.testing.assert_array_equal(net._model.parameters, twin._model.parameters)


@pytest.mark.parametrize("optimizer", [LBFGS(ftol=0, gtol=0), EXACT], ids=["lbfgs", "line_search"])
def test_ctrl_c_keeps_what_was_learnt(optimizer, monkeypatch):
    net, X, y = lbfgs_problem("squared_error")
    twin = copy.deepcopy(net)
    twin.fit(X, y, epochs=3, optimizer=optimizer)
    calls = 0

    def interrupted(self, w):
        nonlocal calls
        if net.n_epochs == 3:
            calls += 1
            signal.raise_signal(signal.SIGINT)
        return original(self, w)

    original = cmlp._engine.search.Objective.gradient
    monkeypatch.setattr(cmlp._engine.search.Objective, "gradient", interrupted)
    with pytest.raises(cmlp.TrainingInterrupted) as caught:
        net.fit(X, y, epochs=100, optimizer=optimizer)
    history = caught.value.history
    assert (history.stopped, len(history), calls) == ("interrupted", 3, 1)
    np.testing.assert_array_equal(net._model.parameters, twin._model.parameters)


@pytest.mark.parametrize("optimizer", [LBFGS(), EXACT], ids=["lbfgs", "line_search"])
@pytest.mark.parametrize("validation", [None, 0.3])
def test_an_objective_that_is_not_finite_is_an_error(optimizer, validation):
    net, X, y = lbfgs_problem("squared_error", n=10)
    before = net._model.parameters.copy()
    first = 3 if validation is None else split_validation(10, validation, copy.deepcopy(net._model.rng))[0][-1]
    y[first] = 1e200
    message = f"training diverged in iteration 1: the loss is inf at row {first} of X: squared_error overflows"
    with pytest.raises(cmlp.DivergenceError, match=message) as caught:
        net.fit(X, y, optimizer=optimizer, validation=validation)
    assert (caught.value.epoch, caught.value.layer, caught.value.history.loss) == (0, None, [])
    assert caught.value.sample == first
    np.testing.assert_array_equal(net._model.parameters, before)


def test_scipy_is_missed_before_anything_changes(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    net, X, y = lbfgs_problem("squared_error")
    for optimizer in (LBFGS(), EXACT):
        with pytest.raises(ImportError, match=r"SciPy is needed .* pip install scipy .*'cmlp\[scipy\]'.*'\.\[scipy\]'"):
            net.fit(X, y, optimizer=optimizer)
    assert net.optimizer == SGD()
    assert net.fit(X, y, epochs=1, optimizer=GradientDescent()).stopped == "epochs"  # needs none


# -------------------------------------------------------------------------------------------------- line search


def test_the_exact_step_of_a_quadratic():
    """E = ½ ‖Xw - y‖² / M: α = gᵀg / gᵀHg with H = XᵀX / M."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 6)), rng.normal(size=(40, 1))
    H = X.T @ X / 40
    for first in (1e-6, 0.01, 0.3, 1e6):
        net = cmlp.MLP([6, 1], bias=False, dtype="float64", seed=0)
        optimizer = GradientDescent(first, line_search="exact")
        for _ in range(5):
            w = net.weights[0].copy()
            g = X.T @ (X @ w - y) / 40
            history = net.fit(X, y, epochs=1, optimizer=optimizer)
            exact = (g * g).sum() / (g * (H @ g)).sum()
            assert history.learning_rate[0] == pytest.approx(exact, rel=1e-5)
            np.testing.assert_allclose(net.weights[0], w - exact * g, rtol=1e-4, atol=1e-5)


def test_successive_gradients_are_orthogonal():
    """∂E(w - α g)/∂α = 0 at the exact step: the next gradient is at right angles to this one; weight decay included."""
    net, X, y = lbfgs_problem("squared_error")
    net.optimizer = GradientDescent(line_search="exact", weight_decay=0.1)

    def gradient():
        found = net.gradients(X, y)
        return flat([g + 0.1 * W for g, W in zip(found.weights, net.weights, strict=True)] + found.biases)

    for _ in range(6):
        before = gradient()
        net.fit(X, y, epochs=1)
        after = gradient()
        assert abs(before @ after) < 1e-5 * (before @ before)


@pytest.mark.parametrize("start", [[1.0, 2.0], [-0.5, 0.3], [0.3, 1.0]])
def test_the_line_search_on_the_four_points_is_scipys(start):
    """The specification's data set D: one sigmoid neuron without bias, E = Σ (y - ŷ)², twice the squared error."""
    X, y = cmlp.datasets.four_points(np.float64)
    net = cmlp.MLP([2, 1], activation=["sigmoid"], bias=False, init=[np.reshape(start, (2, 1))], dtype="float64")
    E = Reference(net, X, y, scale=2.0)
    w, expected = E.start, []
    for _ in range(6):
        value, g = E(w)
        steps = np.geomspace(1e-3, 1e6, 3000)
        lowest = int(np.argmin([E(w - a * g)[0] for a in steps[::10]])) * 10
        bounds = (steps[max(lowest - 20, 0)], steps[min(lowest + 20, 2999)])
        found = scipy.optimize.minimize_scalar(
            lambda a, w=w, g=g: E(w - a * g)[0], bounds=bounds, method="bounded", options={"xatol": 1e-10 * bounds[0]}
        )
        expected.append((value, found.x))
        w = w - found.x * g
    history = net.fit(X, y, epochs=6, reduction="sum", optimizer=EXACT)
    losses, rates = np.array(history.loss) * 2 * len(X), np.array(history.learning_rate) / 2
    assert np.diff(losses).max() < 0
    # Six searches in a row amplify rounding, which differs among versions of NumPy.
    np.testing.assert_allclose(losses, [value for value, _ in expected], rtol=1e-2)
    np.testing.assert_allclose(rates, [alpha for _, alpha in expected], rtol=1e-2)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("loss", LOSSES)
def test_the_line_search_descends(loss, dtype):
    net, X, y = lbfgs_problem(loss, dtype)
    weights = np.random.default_rng(2).uniform(0.5, 2, len(X))
    history = net.fit(X, y, epochs=15, optimizer=EXACT, sample_weight=weights)
    assert history.stopped == "epochs"
    assert np.diff(history.loss).max() < 0
    assert min(history.learning_rate) > 0


def test_the_line_search_stops_where_no_step_lowers_the_objective():
    net = cmlp.MLP([1, 1], init=[[[2.0]]], bias_init=[[1.0]], dtype="float64")
    history = net.fit([[0.0], [1.0]], [1.0, 3.0], optimizer=EXACT)
    assert (history.stopped, history.learning_rate) == ("converged", [0.0])
    assert (net.weights[0].item(), net.biases[0].item()) == (2.0, 1.0)


def test_the_line_search_takes_the_schedule_as_first_guess():
    net, X, y = lbfgs_problem("squared_error")
    twin = copy.deepcopy(net)
    a = net.fit(X, y, epochs=5, optimizer=GradientDescent(1e-3, "exact"))
    b = twin.fit(X, y, epochs=5, optimizer=GradientDescent([10.0, 1e-4, 3.0], "exact"))
    np.testing.assert_allclose(a.loss, b.loss, rtol=1e-5)


def test_gradient_descent_is_the_full_batch():
    net, X, y = lbfgs_problem("squared_error")
    twin = copy.deepcopy(net)
    net.fit(X, y, epochs=5, optimizer=GradientDescent(0.1, weight_decay=0.01))
    twin.fit(X, y, epochs=5, batch_size=None, order="given", optimizer=SGD(0.1, weight_decay=0.01))
    np.testing.assert_array_equal(net._model.parameters, twin._model.parameters)
