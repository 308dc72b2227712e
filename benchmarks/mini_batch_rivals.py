"""Mini-batch steps by everyone: SGD with momentum 0.9 (PyTorch's convention), and Adam with its usual constants.

A rival has `reset()`, `learn(n_samples)` (the first samples in batches of problem.batch, in their order, mean
gradient) and `trained()`, its weights (n_in, n_out).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.per_sample_rivals import Cmlp, Jax, NumPy, PyTorch, ScikitLearn
from benchmarks.problem import Array, Problem

MOMENTUM, BETA1, BETA2, EPSILON = 0.9, 0.9, 0.999, 1e-8


class CmlpBatches(Cmlp):
    """`cmlp.MLP.fit` with a batch size, checks of X and y included."""

    def __init__(self, problem: Problem, **options: Any) -> None:
        import cmlp

        super().__init__(problem)
        self._options = options  # such as n_threads
        if problem.optimizer == "adam":
            self._optimizer = cmlp.Adam(problem.learning_rate)
        else:
            self._optimizer = cmlp.SGD(problem.learning_rate, momentum=MOMENTUM)

    def learn(self, n_samples: int) -> None:
        p = self.problem
        self.network.fit(
            p.X[:n_samples],
            p.Y[:n_samples],
            epochs=1,
            batch_size=p.batch,
            order="given",
            optimizer=self._optimizer,
            **self._options,
        )


class NumPyBatches(NumPy):
    """Adam starts anew with each call, as it does in `CmlpBatches`."""

    def learn(self, n_samples: int) -> None:
        p = self.problem
        adam = (BETA1, BETA2, EPSILON) if p.optimizer == "adam" else None
        self._train(
            self._weights,
            self._biases,
            self._activations,
            "squared_error",
            p.X[:n_samples],
            p.Y[:n_samples],
            learning_rate=p.learning_rate,
            batch_size=p.batch,
            momentum=0.0 if adam else MOMENTUM,
            adam=adam,
        )


class ScikitLearnBatches(ScikitLearn):
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        adam = problem.optimizer == "adam"
        self._model.set_params(batch_size=problem.batch, solver="adam" if adam else "sgd", momentum=MOMENTUM)
        self._fresh()

    def _fresh(self) -> None:
        """Start the optimiser anew, as `_initialize` of scikit-learn does: its state has no public way in."""
        from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

        parameters = self._model.coefs_ + self._model.intercepts_
        if self.problem.optimizer == "adam":
            self._model._optimizer = AdamOptimizer(parameters, self.problem.learning_rate, BETA1, BETA2, EPSILON)
        else:
            self._model._optimizer = SGDOptimizer(
                parameters, self.problem.learning_rate, "constant", MOMENTUM, nesterov=False
            )

    def reset(self) -> None:
        super().reset()
        self._fresh()


class PyTorchBatches(PyTorch):
    """A Sequential, autograd, and the fused optimisers."""

    def reset(self) -> None:
        import torch

        super().reset()
        rate, parameters = self.problem.learning_rate, self._model.parameters()
        if self.problem.optimizer == "adam":
            self._optimizer: Any = torch.optim.Adam(parameters, rate, (BETA1, BETA2), EPSILON, fused=True)
        else:
            self._optimizer = torch.optim.SGD(parameters, rate, momentum=MOMENTUM, fused=True)

    def learn(self, n_samples: int) -> None:
        model, optimizer, batch = self._model, self._optimizer, self.problem.batch
        for i in range(0, n_samples, batch):
            optimizer.zero_grad()
            error = model(self._X[i : i + batch]) - self._Y[i : i + batch]
            loss = error.square().sum() / (2 * batch)
            loss.backward()
            optimizer.step()


class JaxBatches(Jax):
    """One jitted call a step (jax.grad, arguments donated), from a Python loop as is usual."""

    note = ""

    def __init__(self, problem: Problem) -> None:
        import jax as library
        import jax.numpy as jnp

        jax: Any = library  # not typed throughout
        jax.config.update("jax_cpu_enable_async_dispatch", False)  # no second thread
        rate, adam = problem.learning_rate, problem.optimizer == "adam"

        def loss(parameters: Any, x: Any, y: Any) -> Any:
            for W, b in parameters[:-1]:
                x = jnp.maximum(x @ W + b, 0)
            W, b = parameters[-1]
            return jnp.square(x @ W + b - y).sum() / (2 * problem.batch)

        def step(state: Any, x: Any, y: Any) -> Any:
            parameters, first, second, t = state
            gradient = jax.grad(loss)(parameters, x, y)
            if adam:
                t = t + 1
                first = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, first, gradient)
                second = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, second, gradient)
                c1, c2 = 1 - BETA1**t, 1 - BETA2**t
                parameters = jax.tree.map(
                    lambda w, m, v: w - rate * (m / c1) / (jnp.sqrt(v / c2) + EPSILON), parameters, first, second
                )
            else:
                first = jax.tree.map(lambda v, g: MOMENTUM * v + g, first, gradient)
                parameters = jax.tree.map(lambda w, v: w - rate * v, parameters, first)
            return parameters, first, second, t

        self.problem = problem
        self._jax, self._array = jax, jnp.array
        self._step = jax.jit(step, donate_argnums=0)
        self.reset()

    def reset(self) -> None:
        super().reset()

        def zeros() -> Any:
            return self._jax.tree.map(lambda w: self._array(np.zeros(w.shape, np.float32)), self._parameters)

        second = zeros() if self.problem.optimizer == "adam" else None
        self._state = self._jax.block_until_ready((self._parameters, zeros(), second, self._array(np.float32(0))))

    def learn(self, n_samples: int) -> None:
        p, step, state = self.problem, self._step, self._state
        for i in range(0, n_samples, p.batch):
            state = step(state, p.X[i : i + p.batch], p.Y[i : i + p.batch])
        self._state = self._jax.block_until_ready(state)

    def trained(self) -> list[Array]:
        return [np.asarray(W) for W, _ in self._state[0]]


MAKERS: dict[str, Any] = {
    "cmlp": CmlpBatches,
    "NumPy": NumPyBatches,
    "scikit-learn": ScikitLearnBatches,
    "PyTorch": PyTorchBatches,
    "JAX": JaxBatches,
}
