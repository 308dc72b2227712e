"""C through ctypes, compiled when it is asked for: the rival of plain loops, plain.c; and the rival FANN, of Debian."""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import itertools
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.problem import Array, Problem

FLAGS = ("-std=gnu17", "-O3", "-march=native", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math")
_Floats = ctypes.POINTER(ctypes.c_float)


def floats(array: Array) -> Any:
    return array.ctypes.data_as(_Floats)


@functools.cache
def compiled(name: str, *flags: str) -> ctypes.CDLL:
    """Compile a C file of this folder for this processor; OSError if there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise OSError("no C compiler")
    source = Path(__file__).with_name(name)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "library.so"
        subprocess.run([compiler, *FLAGS, *flags, "-shared", "-fPIC", "-o", str(target), str(source)], check=True)
        return ctypes.CDLL(str(target))


class PlainC:
    """Plain C loops."""

    note = "gcc or clang -O3 -march=native, omp simd"
    clips = True

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._train = compiled("plain.c").train
        self._train.restype = None
        self.parameters = [w.T.copy() for w in (*problem.weights, *problem.biases)]  # W (n_out, n_in)
        N = problem.n_layers
        self._buffers = [np.zeros(m, np.float32) for m in (*problem.sizes[1:], *problem.sizes[1:])]
        pointers = _Floats * N
        self._fixed = (
            ctypes.c_int(N),
            (ctypes.c_int * (N + 1))(*problem.sizes),
            *(
                pointers(*map(floats, arrays))
                for arrays in (
                    self.parameters[:N],
                    self.parameters[N:],
                    self._buffers[:N],
                    self._buffers[N:],
                )
            ),
            floats(problem.X),
            floats(problem.Y),
        )

    def reset(self) -> None:
        for w, w0 in zip(self.parameters, (*self.problem.weights, *self.problem.biases), strict=True):
            w[...] = w0.T

    def learn(self, n_samples: int) -> None:
        clip = ctypes.c_float(np.inf if self.problem.clip is None else self.problem.clip)
        rate = ctypes.c_float(self.problem.learning_rate)
        for _ in range(self.problem.epochs):
            self._train(*self._fixed, ctypes.c_long(n_samples), rate, clip)

    def trained(self) -> list[Array]:
        return [W.T for W in self.parameters[: self.problem.n_layers]]


class _TrainData(ctypes.Structure):
    """`struct fann_train_data` of FANN 2.2."""

    _fields_ = (
        ("errno_f", ctypes.c_int),
        ("error_log", ctypes.c_void_p),
        ("errstr", ctypes.c_char_p),
        ("num_data", ctypes.c_uint),
        ("num_input", ctypes.c_uint),
        ("num_output", ctypes.c_uint),
        ("input", ctypes.POINTER(_Floats)),
        ("output", ctypes.POINTER(_Floats)),
    )


class _Network(ctypes.Structure):
    """The head of `struct fann` of FANN 2.2; fann_set_weight_array takes minutes where writing `weights` takes none."""

    _fields_ = (
        ("errno_f", ctypes.c_int),
        ("error_log", ctypes.c_void_p),
        ("errstr", ctypes.c_char_p),
        ("learning_rate", ctypes.c_float),
        ("learning_momentum", ctypes.c_float),
        ("connection_rate", ctypes.c_float),
        ("network_type", ctypes.c_int),
        ("first_layer", ctypes.c_void_p),
        ("last_layer", ctypes.c_void_p),
        ("total_neurons", ctypes.c_uint),
        ("num_input", ctypes.c_uint),
        ("num_output", ctypes.c_uint),
        ("weights", _Floats),
    )


@functools.cache
def _fann() -> ctypes.CDLL:
    name = ctypes.util.find_library("floatfann")
    if name is None:
        raise OSError("libfloatfann is not installed")
    library = ctypes.CDLL(name)
    library.fann_create_standard_array.restype = ctypes.c_void_p
    library.fann_run.restype = _Floats
    library.fann_train_epoch.restype = ctypes.c_float
    return library


class Fann:
    """FANN's incremental training. It knows no relu and cannot clip δ.

    Its hidden units are "linear pieces" (z limited to 0..1), the nearest that it has, unless `hidden="linear"`,
    with which it computes what cmlp does with identity: the check of its numbers.
    """

    note = "hidden units are linear pieces 0..1: FANN has no relu; no δ clip"
    clips = False
    _LINEAR, _LINEAR_PIECE = 0, 12
    _INCREMENTAL, _ERROR_LINEAR = 0, 0

    def __init__(self, problem: Problem, hidden: str = "piece") -> None:
        self.problem = problem
        self._library = library = _fann()
        sizes = (ctypes.c_uint * len(problem.sizes))(*problem.sizes)
        self._network = ctypes.c_void_p(library.fann_create_standard_array(len(problem.sizes), sizes))
        function = self._LINEAR if hidden == "linear" else self._LINEAR_PIECE
        library.fann_set_activation_function_hidden(self._network, function)
        library.fann_set_activation_function_output(self._network, self._LINEAR)
        library.fann_set_activation_steepness_hidden(self._network, ctypes.c_float(1))
        library.fann_set_activation_steepness_output(self._network, ctypes.c_float(1))
        library.fann_set_training_algorithm(self._network, self._INCREMENTAL)
        library.fann_set_train_error_function(self._network, self._ERROR_LINEAR)
        library.fann_set_learning_rate(self._network, ctypes.c_float(problem.learning_rate))
        library.fann_set_learning_momentum(self._network, ctypes.c_float(0))
        self._rows = [self._row_pointers(problem.X), self._row_pointers(problem.Y)]
        # FANN's order: unit by unit, the weights of its inputs and then its bias
        pairs = zip(problem.weights, problem.biases, strict=True)
        self._start = np.concatenate([np.column_stack([W.T, b]).ravel() for W, b in pairs])
        head = ctypes.cast(self._network, ctypes.POINTER(_Network)).contents
        self._weights = np.ctypeslib.as_array(head.weights, self._start.shape)

    @staticmethod
    def _row_pointers(array: Array) -> Any:
        address, step = array.ctypes.data, array.strides[0]
        pointers = (np.arange(len(array), dtype=np.uint64) * np.uint64(step) + np.uint64(address)).copy()
        return pointers, pointers.ctypes.data_as(ctypes.POINTER(_Floats))

    def reset(self) -> None:
        self._weights[...] = self._start

    def learn(self, n_samples: int) -> None:
        data = _TrainData(
            num_data=n_samples,
            num_input=self.problem.sizes[0],
            num_output=self.problem.sizes[-1],
            input=self._rows[0][1],
            output=self._rows[1][1],
        )
        for _ in range(self.problem.epochs):
            self._library.fann_train_epoch(self._network, ctypes.byref(data))

    def trained(self) -> list[Array]:
        found, at = [], 0
        for n, m in itertools.pairwise(self.problem.sizes):
            found.append(self._weights[at : at + (n + 1) * m].reshape(m, n + 1)[:, :n].T)
            at += (n + 1) * m
        return found

    def __del__(self) -> None:
        if hasattr(self, "_network"):
            self._library.fann_destroy(self._network)
