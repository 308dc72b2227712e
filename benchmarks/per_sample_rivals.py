"""Per-sample SGD by everyone.

A rival has `reset()`, `learn(n_samples)` (problem.epochs passes over the first samples, in their order), `trained()`,
its weights (n_in, n_out), and says whether it clips δ. Its library is imported when it is made: ImportError skips it.
"""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Contestant
from benchmarks.native import Fann, PlainC
from benchmarks.problem import Array, Problem


class Cmlp:
    """`cmlp.MLP.fit`, checks of X and y included."""

    note = ""
    clips = True

    def __init__(self, problem: Problem, hidden: str = "relu") -> None:
        import cmlp

        self.problem = problem
        self.network = cmlp.MLP(problem.sizes, activation=hidden, seed=0)
        self._optimizer: Any = cmlp.SGD(problem.learning_rate)
        self.reset()

    def reset(self) -> None:
        parameters: Any = (*self.network.weights, *self.network.biases)
        for w, w0 in zip(parameters, (*self.problem.weights, *self.problem.biases), strict=True):
            w[...] = w0

    def learn(self, n_samples: int) -> None:
        p = self.problem
        self.network.fit(
            p.X[:n_samples],
            p.Y[:n_samples],
            epochs=p.epochs,
            order="given",
            clip_delta=p.clip,
            optimizer=self._optimizer,
        )

    def trained(self) -> list[Array]:
        return list(self.network.weights)

    def contestant(self) -> Contestant:
        """Return what `--against` times."""
        m = len(self.problem.X) // self.problem.batch * self.problem.batch
        return Contestant("cmlp", self.learn, m, self.reset, self.problem.batch)


class NumPy:
    """`cmlp.reference.train`: as fast as straightforward NumPy gets."""

    note = ""
    clips = True

    def __init__(self, problem: Problem) -> None:
        from cmlp import reference

        self.problem = problem
        self._train = reference.train
        self._activations = ["relu"] * (problem.n_layers - 1) + ["identity"]
        self.reset()

    def reset(self) -> None:
        self._weights = [w.copy() for w in self.problem.weights]
        self._biases = [b.copy() for b in self.problem.biases]

    def learn(self, n_samples: int) -> None:
        p = self.problem
        self._train(
            self._weights,
            self._biases,
            self._activations,
            "squared_error",
            p.X[:n_samples],
            p.Y[:n_samples],
            learning_rate=p.learning_rate,
            epochs=p.epochs,
            clip_delta=p.clip,
        )

    def trained(self) -> list[Array]:
        return self._weights


class ScikitLearn:
    """MLPRegressor with batches of one, no momentum, no penalty."""

    note = "no δ clip"
    clips = False

    def __init__(self, problem: Problem) -> None:
        from sklearn.neural_network import MLPRegressor

        self.problem = problem
        self._model = MLPRegressor(
            hidden_layer_sizes=problem.sizes[1:-1],
            solver="sgd",
            batch_size=1,
            learning_rate_init=problem.learning_rate,
            momentum=0,
            nesterovs_momentum=False,
            alpha=0,
            shuffle=False,
        )
        self._Y = problem.Y.ravel() if problem.sizes[-1] == 1 else problem.Y
        self._model.partial_fit(problem.X[:1], self._Y[:1])  # allocates the weights, in float32 as X is
        self.reset()

    def reset(self) -> None:
        for w, w0 in zip(
            (*self._model.coefs_, *self._model.intercepts_),
            (*self.problem.weights, *self.problem.biases),
            strict=True,
        ):
            w[...] = w0

    def learn(self, n_samples: int) -> None:
        for _ in range(self.problem.epochs):
            self._model.partial_fit(self.problem.X[:n_samples], self._Y[:n_samples])

    def trained(self) -> list[Array]:
        return list(self._model.coefs_)


class PyTorch:
    """A Sequential, autograd, and the fused SGD."""

    note = "no δ clip"
    clips = False

    def __init__(self, problem: Problem) -> None:
        import torch

        torch.set_num_threads(1)
        self.problem = problem
        layers: list[Any] = []
        for n, m in itertools.pairwise(problem.sizes):
            layers += [torch.nn.Linear(n, m), torch.nn.ReLU()]
        self._model = torch.nn.Sequential(*layers[:-1])
        self._linear = [layer for layer in self._model if isinstance(layer, torch.nn.Linear)]
        self._optimizer = torch.optim.SGD(self._model.parameters(), problem.learning_rate, fused=True)
        self._X, self._Y = torch.from_numpy(problem.X), torch.from_numpy(problem.Y)
        self._from_numpy, self._no_grad = torch.from_numpy, torch.no_grad
        self.reset()

    def reset(self) -> None:
        with self._no_grad():
            for layer, W, b in zip(self._linear, self.problem.weights, self.problem.biases, strict=True):
                layer.weight.copy_(self._from_numpy(W.T.copy()))
                layer.bias.copy_(self._from_numpy(b.copy()))

    def learn(self, n_samples: int) -> None:
        model, optimizer = self._model, self._optimizer
        for _ in range(self.problem.epochs):
            for x, y in zip(self._X[:n_samples], self._Y[:n_samples], strict=True):
                optimizer.zero_grad()
                loss = 0.5 * (model(x) - y).square().sum()
                loss.backward()
                optimizer.step()

    def trained(self) -> list[Array]:
        return [layer.weight.detach().numpy().T for layer in self._linear]


class Jax:
    """One jitted loop over the samples, two a pass, with the gradients written out: faster than jax.grad, and can clip.

    lax.fori_loop takes the time of lax.scan with unroll=2, and is compiled once for any number of samples.
    """

    note = "one jitted lax.fori_loop over the samples, as fast as lax.scan with unroll=2"
    clips = True

    def __init__(self, problem: Problem) -> None:
        import jax as library
        import jax.numpy as jnp

        jax: Any = library  # not typed throughout
        jax.config.update("jax_cpu_enable_async_dispatch", False)  # no second thread
        rate, clip, N = problem.learning_rate, problem.clip, problem.n_layers

        def step(parameters: Any, x: Any, y: Any) -> Any:
            values = [x]
            for k, (W, b) in enumerate(parameters):
                z = values[-1] @ W + b
                values.append(jnp.maximum(z, 0) if k < N - 1 else z)
            delta = values[-1] - y
            updated = list(parameters)
            for k in range(N - 1, -1, -1):
                W, b = parameters[k]
                d = rate * (delta if clip is None else jnp.clip(delta, -clip, clip))
                updated[k] = (W - jnp.outer(values[k], d), b - d)
                if k:
                    delta = (W @ delta) * (values[k] > 0)
            return updated

        def learn(parameters: Any, X: Any, Y: Any, n_pairs: Any) -> Any:
            def pair(i: Any, parameters: Any) -> Any:
                return step(step(parameters, X[2 * i], Y[2 * i]), X[2 * i + 1], Y[2 * i + 1])

            return jax.lax.fori_loop(0, n_pairs, pair, parameters)

        self.problem = problem
        self._jax, self._array = jax, jnp.array
        self._X, self._Y = jnp.asarray(problem.X), jnp.asarray(problem.Y)
        self._learn = jax.jit(learn, donate_argnums=0)
        self.reset()

    def reset(self) -> None:
        pairs = zip(self.problem.weights, self.problem.biases, strict=True)
        self._parameters = self._jax.block_until_ready([(self._array(W), self._array(b)) for W, b in pairs])

    def learn(self, n_samples: int) -> None:
        for _ in range(self.problem.epochs):
            self._parameters = self._learn(self._parameters, self._X, self._Y, n_samples // 2)
        self._jax.block_until_ready(self._parameters)

    def trained(self) -> list[Array]:
        return [np.asarray(W) for W, _ in self._parameters]


class Numba:
    """Plain loops, compiled with fastmath. W is (n_out, n_in): rows are long wherever a layer is wide."""

    note = "plain loops, fastmath"
    clips = True

    def __init__(self, problem: Problem) -> None:
        from benchmarks.numba_loops import train

        self.problem = problem
        self._train = train
        self._values = tuple(np.zeros(m, np.float32) for m in problem.sizes)
        self._deltas = tuple(np.zeros(m, np.float32) for m in problem.sizes)
        self.reset()

    def reset(self) -> None:
        self._weights = tuple(W.T.copy() for W in self.problem.weights)  # a copy is C-contiguous
        self._biases = tuple(b.copy() for b in self.problem.biases)

    def learn(self, n_samples: int) -> None:
        p = self.problem
        clip = np.float32(np.inf if p.clip is None else p.clip)
        X, Y = p.X[:n_samples], p.Y[:n_samples]
        for _ in range(p.epochs):
            self._train(
                self._weights, self._biases, self._values, self._deltas, X, Y, np.float32(p.learning_rate), clip
            )

    def trained(self) -> list[Array]:
        return [W.T for W in self._weights]


class MlpFile:
    """mlpfile's grad_update (C++, Eigen), called from Python once a sample: it has no call for many."""

    note = "one Python call a sample; no δ clip"
    clips = False

    def __init__(self, problem: Problem) -> None:
        import mlpfile

        self.problem = problem
        self._mlpfile = mlpfile
        self.reset()

    def reset(self) -> None:
        self.model = load_mlpfile(self.problem)

    def learn(self, n_samples: int) -> None:
        update, loss, rate = self.model.grad_update, self._mlpfile.squared_error, self.problem.learning_rate
        for _ in range(self.problem.epochs):
            for x, y in zip(self.problem.X[:n_samples], self.problem.Y[:n_samples], strict=True):
                update(x, y, loss, rate)

    def trained(self) -> list[Array]:
        return [layer.W.T for layer in self.model.layers if hasattr(layer, "W") and layer.W.size]


def load_mlpfile(problem: Problem) -> Any:
    """Write the initial network in mlpfile's format (little-endian counts, kinds, then W and b), and load it."""
    import mlpfile

    linear, relu, N = 2, 3, problem.n_layers
    head = [2 * N - 1, problem.sizes[0]]
    for k, m in enumerate(problem.sizes[1:]):
        head += [linear, m] + [relu] * (k < N - 1)
    body = [W.T.tobytes() + b.tobytes() for W, b in zip(problem.weights, problem.biases, strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "start.mlp"
        path.write_bytes(np.array(head, "<u4").tobytes() + b"".join(body))
        return mlpfile.Model.load(str(path))


MAKERS: dict[str, Any] = {
    "cmlp": Cmlp,
    "NumPy": NumPy,
    "scikit-learn": ScikitLearn,
    "PyTorch": PyTorch,
    "JAX": Jax,
    "Numba": Numba,
    "plain C": PlainC,
    "FANN": Fann,
    "mlpfile": MlpFile,
}
