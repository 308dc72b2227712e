"""Networks for other compiled code: cmlp.h, the capsule, and examples/stream.c."""

from __future__ import annotations

import ctypes
import gc
import os
import shlex
import subprocess
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import cmlp

EXAMPLE = Path(__file__).parents[2] / "examples" / "stream.c"


class NetworkInC(ctypes.Structure):
    """The struct cmlp_network of cmlp.h."""


NetworkInC._fields_ = [
    ("n_inputs", ctypes.c_int64),
    ("n_outputs", ctypes.c_int64),
    ("is_double", ctypes.c_int32),
    ("predict", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)),
    (
        "learn",
        ctypes.CFUNCTYPE(
            ctypes.c_double,
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_int64,
            ctypes.c_double,
            ctypes.c_double,
        ),
    ),
]


def address(capsule):
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return get(capsule, b"cmlp.network")


def in_c(capsule):
    return ctypes.cast(address(capsule), ctypes.POINTER(NetworkInC)).contents


def predict_in_c(capsule, network, x):
    y = np.empty(network.n_outputs, network.dtype)
    in_c(capsule).predict(address(capsule), x.ctypes.data, y.ctypes.data)
    return y


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_predict_gives_what_predict_one_gives(dtype):
    network = cmlp.MLP([5, 8, 3], loss="cross_entropy", dtype=dtype, seed=0)
    capsule = network.capsule()
    struct = in_c(capsule)
    assert (struct.n_inputs, struct.n_outputs, struct.is_double) == (5, 3, dtype == "float64")
    x = np.random.default_rng(0).standard_normal(5).astype(dtype)
    np.testing.assert_array_equal(predict_in_c(capsule, network, x), network.predict_one(x))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_learn_does_what_learn_one_does(dtype):
    network, other = (cmlp.MLP([5, 8, 3], dtype=dtype, seed=0, optimizer=cmlp.SGD(0.1)) for _ in range(2))
    capsule = network.capsule()
    rng = np.random.default_rng(0)
    for _ in range(20):
        x, y = rng.standard_normal(5).astype(dtype), rng.standard_normal(3).astype(dtype)
        loss = in_c(capsule).learn(address(capsule), x.ctypes.data, y.ctypes.data, -1, 0.1, 0.5)
        assert loss == other.learn_one(x, y, clip_delta=0.5)
    for mine, theirs in zip(network.weights, other.weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("loss", "y"),
    [
        ("hinge", 2),
        ("hinge", [-1, 1, 1]),
        ("poisson", [0, 3, 1]),
        ("absolute_error", [0, 3, -1]),
        (cmlp.losses.Huber(0.25), [0, 3, -1]),
        (cmlp.losses.Quantile(0.75), [0, 3, -1]),
        (cmlp.losses.CrossEntropy(0.125), 2),
        (cmlp.losses.CrossEntropy(0.125), [0.5, 0, 0.5]),
    ],
    ids=str,
)
def test_learn_knows_every_loss_and_its_parameter(loss, y, dtype):
    options = {"activation": "silu", "loss": loss, "dtype": dtype, "seed": 0, "optimizer": cmlp.SGD(0.1)}
    network, other = (cmlp.MLP([5, 8, 3], **options) for _ in range(2))
    capsule = network.capsule()
    x = np.random.default_rng(0).standard_normal(5).astype(dtype)
    row, label = (None, y) if isinstance(y, int) else (np.array(y, dtype), -1)
    for _ in range(3):
        address_of_y = None if row is None else row.ctypes.data
        loss_in_c = in_c(capsule).learn(address(capsule), x.ctypes.data, address_of_y, label, 0.1, np.inf)
        assert loss_in_c == other.learn_one(x, y)
    for mine, theirs in zip(network.weights, other.weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_the_capsule_keeps_what_it_needs_alive():
    network = cmlp.MLP([5, 8, 3], seed=0)
    x = np.ones(5, "float32")
    expected, capsule, shape = network.predict_one(x), network.capsule(), network
    twin = cmlp.MLP([5, 8, 3], seed=0)
    del network, shape
    gc.collect()
    np.testing.assert_array_equal(predict_in_c(capsule, twin, x), expected)


def test_one_capsule_per_thread():
    network = cmlp.MLP([5, 64, 3], seed=0)
    X = np.random.default_rng(0).standard_normal((400, 5)).astype("float32")
    expected = [network.predict_one(x) for x in X]

    def work(_):
        capsule = network.capsule()
        return [predict_in_c(capsule, network, x) for x in X]

    with ThreadPoolExecutor(4) as pool:
        for results in pool.map(work, range(8)):
            np.testing.assert_array_equal(results, expected)


def test_the_example_learns_the_digits_as_a_stream(tmp_path):
    library = tmp_path / "stream.so"
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    options = ["-O2", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", f"-I{cmlp.get_include()}"]
    subprocess.run([*compiler, *options, str(EXAMPLE), "-o", str(library), "-lm"], check=True)
    count_errors = ctypes.CDLL(str(library)).count_errors
    count_errors.restype = ctypes.c_int64
    count_errors.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_double]
    X, y = cmlp.datasets.load_digits()
    X = X / np.float32(16)
    network, twin = (cmlp.MLP([64, 32, 10], loss="cross_entropy", seed=0, optimizer=cmlp.SGD(0.1)) for _ in range(2))
    capsule = network.capsule()
    errors = count_errors(address(capsule), X.ctypes.data, y.ctypes.data, len(X), 0.1)
    by_python = 0
    for x, label in zip(X, y.tolist(), strict=True):
        by_python += int(twin.predict_one(x).argmax() != label)
        twin.learn_one(x, label)
    assert errors == by_python < 400
    np.testing.assert_array_equal(network.weights[0], twin.weights[0])
