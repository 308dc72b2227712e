"""One row at a time, through Python, by everyone: `predict(x)` gives ŷ, `learn(x, y)` makes one step of SGD.

What each function returns is a closure over prepared arrays: what a careful user would call in a loop.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.native import Fann
from benchmarks.per_sample_rivals import Cmlp, Jax, Numba, PyTorch, ScikitLearn, load_mlpfile
from benchmarks.problem import Problem

Predict = Callable[[Any], Any]
Learn = Callable[[Any, Any], Any]
Pair = tuple[Predict | None, Learn | None]


def cmlp(problem: Problem) -> Pair:
    rival = Cmlp(problem)
    rival.learn(1)  # sets the optimiser that learn_one goes on with
    rival.reset()
    network = rival.network
    return network.predict_one, network.learn_one


def numpy(problem: Problem) -> Pair:
    """The formulas, without anything around them."""
    layers = [(W.copy(), b.copy()) for W, b in zip(problem.weights, problem.biases, strict=True)]
    hidden, (W_out, b_out), rate = layers[:-1], layers[-1], np.float32(problem.learning_rate)

    def predict(x: Any) -> Any:
        for W, b in hidden:
            x = np.maximum(x.dot(W) + b, 0)
        return x.dot(W_out) + b_out

    def learn(x: Any, y: Any) -> None:
        values = [x]
        for W, b in hidden:
            values.append(np.maximum(values[-1].dot(W) + b, 0))
        delta = values[-1].dot(W_out) + b_out - y
        for k in range(len(layers) - 1, -1, -1):
            W, b = layers[k]
            below = W.dot(delta) * (values[k] > 0) if k else None
            delta *= rate
            W -= values[k][:, None] * delta
            b -= delta
            delta = below

    return predict, learn


def scikit_learn(problem: Problem) -> Pair:
    model = ScikitLearn(problem)._model
    single = problem.sizes[-1] == 1
    return (
        lambda x: model.predict(x[None]),
        lambda x, y: model.partial_fit(x[None], y if single else y[None]),
    )


def pytorch(problem: Problem) -> Pair:
    """Rows come and go as NumPy arrays, as everyone's do."""
    import torch

    rival = PyTorch(problem)
    model, optimizer, from_numpy = rival._model, rival._optimizer, torch.from_numpy

    def predict(x: Any) -> Any:
        with torch.inference_mode():
            return model(from_numpy(x)).numpy()

    def learn(x: Any, y: Any) -> None:
        optimizer.zero_grad()
        (0.5 * (model(from_numpy(x)) - from_numpy(y)).square().sum()).backward()
        optimizer.step()

    return predict, learn


def torchscript(problem: Problem) -> Pair:
    import torch

    model = PyTorch(problem)._model.eval()
    jit: Any = torch.jit  # not typed throughout
    frozen = jit.freeze(jit.trace(model, torch.from_numpy(problem.X[0])))
    from_numpy = torch.from_numpy

    def predict(x: Any) -> Any:
        with torch.inference_mode():
            return frozen(from_numpy(x)).numpy()

    return predict, None


def jax(problem: Problem) -> Pair:
    import jax as library
    import jax.numpy as jnp

    rival = Jax(problem)

    def forward(parameters: Any, x: Any) -> Any:
        for W, b in parameters[:-1]:
            x = jnp.maximum(x @ W + b, 0)
        W, b = parameters[-1]
        return x @ W + b

    compiled, parameters = library.jit(forward), rival._parameters
    return lambda x: np.asarray(compiled(parameters, x)), None


def numba(problem: Problem) -> Pair:
    from benchmarks import numba_loops

    r = Numba(problem)
    weights, biases, values, deltas = r._weights, r._biases, r._values, r._deltas
    rate, clip = np.float32(problem.learning_rate), np.float32(np.inf)
    return (
        lambda x: numba_loops.predict(weights, biases, values, x),
        lambda x, y: numba_loops.learn(weights, biases, values, deltas, x, y, rate, clip),
    )


def mlpfile(problem: Problem) -> Pair:
    import mlpfile as library

    model, loss, rate = load_mlpfile(problem), library.squared_error, problem.learning_rate
    return model.forward, lambda x, y: model.grad_update(x, y, loss, rate)


def fann(problem: Problem) -> Pair:
    """Through ctypes. Its hidden units are linear pieces, so its ŷ is not compared."""
    rival = Fann(problem)
    rival.reset()
    run, train = rival._library.fann_run, rival._library.fann_train
    n_outputs, as_array, pointer = problem.sizes[-1], np.ctypeslib.as_array, ctypes.c_void_p

    def predict(x: Any) -> Any:
        return as_array(run(rival._network, pointer(x.ctypes.data)), (n_outputs,))

    def learn(x: Any, y: Any) -> None:
        train(rival._network, pointer(x.ctypes.data), pointer(y.ctypes.data))

    return predict, learn


def onnx_session(problem: Problem, rows: int | str) -> tuple[Any, str]:
    """Return a session with one thread over a graph of Gemm and Relu nodes, from x, and the name of its output.

    A name for `rows` leaves their number open.
    """
    import onnx
    import onnxruntime as library
    from onnx import helper, numpy_helper

    nodes, tensors, last = [], [], "x"
    for k, (W, b) in enumerate(zip(problem.weights, problem.biases, strict=True)):
        tensors += [numpy_helper.from_array(W, f"W{k}"), numpy_helper.from_array(b, f"b{k}")]
        nodes.append(helper.make_node("Gemm", [last, f"W{k}", f"b{k}"], [f"z{k}"]))
        last = f"z{k}"
        if k < problem.n_layers - 1:
            nodes.append(helper.make_node("Relu", [last], [f"a{k}"]))
            last = f"a{k}"
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [rows, n])
        for name, n in (("x", problem.sizes[0]), (last, problem.sizes[-1]))
    ]
    graph = helper.make_graph(nodes, "mlp", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    options = library.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = library.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session, last


def onnxruntime(problem: Problem) -> Pair:
    session, output = onnx_session(problem, 1)
    names, run = [output], session.run
    return lambda x: run(names, {"x": x[None]})[0], None


MAKERS: dict[str, Any] = {
    "cmlp": cmlp,
    "NumPy": numpy,
    "scikit-learn": scikit_learn,
    "PyTorch": pytorch,
    "TorchScript": torchscript,
    "JAX": jax,
    "Numba": numba,
    "mlpfile": mlpfile,
    "FANN": fann,
    "ONNX Runtime": onnxruntime,
}
