"""What one core can do at most, measured by loops in C that do nothing else (limits.c), in the run that it is for."""

from __future__ import annotations

import ctypes
import functools
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from benchmarks import machine
from benchmarks.harness import Limit
from benchmarks.native import compiled
from benchmarks.problem import Problem

REAL: dict[np.dtype[Any], str] = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
STATES = {"sgd": 0, "momentum": 1, "adam": 2}
AT_ONCE = 512  # bytes that `stream` reads in a turn, at most
PAGE = 4096
RUNS = 15  # the best counts


class Limits:
    """What one core can do a second, and the limits that follow for training and for predicting.

    A unit of work cannot take less than its multiply-adds do, or than reading X once, or than reading the weights as
    often as the mathematics asks for: whichever is longest. It may write them in the same pass. Per-sample steps wait
    for each other besides.

    Attributes
    ----------
    flops : float
        Floating-point operations a second, of multiply-adds.
    latency : float
        Seconds from a multiply-add to the next that needs it.
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        """Measure; OSError if there is no C compiler."""
        self.flops, self.latency = _multiply_adds(dtype)

    def training(self, problem: Problem) -> Limit:
        """Return the limit of a step from problem.batch samples.

        Per sample, the first layer's weights need not be read each time: several samples, known beforehand, may share
        a pass. Those of other layers are read forward and backward. A batch reads all forward, all but the first
        layer's backward, and for the step all, with the optimiser's states.
        """
        weights, states = 4 * problem.cost, STATES[problem.optimizer]
        behind = weights - 4 * problem.sizes[0] * problem.sizes[1]  # the first layer
        if problem.batch > 1:
            flops, kept = problem.batch * problem.flops, weights * (1 + states)
            return self._slowest(flops, problem, problem.batch, weights + behind + kept, kept)
        in_turn = Limit(_in_turn(problem.sizes) * self.latency, "operations in turn")
        return max(in_turn, self._slowest(problem.flops, problem, 1, 2 * behind, behind))

    def predicting(self, problem: Problem, rows: int = 1) -> Limit:
        """Return the limit of one call for so many rows."""
        return self._slowest(rows * 2 * problem.cost, problem, rows, 4 * problem.cost, 4 * problem.cost)

    def learning_one(self, problem: Problem) -> Limit:
        """Return the limit of learning from one row a call: nothing is known of the next one."""
        return self._slowest(problem.flops, problem, 1, 8 * problem.cost, 4 * problem.cost)

    def _slowest(self, flops: float, problem: Problem, rows: int, read: int, kept: int) -> Limit:
        """Return the longest of all; `read` bytes of weights, which lie where `kept` bytes do."""
        seconds, where = _read_again(kept)
        return max(
            Limit(flops / self.flops, "multiply-adds"),
            Limit(rows * seconds_to_read(problem.X) / len(problem.X), "reading X"),
            Limit(read / kept * seconds, f"reading weights from {where}"),
        )


def limit_of(ask: Callable[[Limits], Limit], dtype: DTypeLike = np.float32) -> Limit | None:
    """Return what the limits of this machine say, measured now; None if there is no C compiler."""
    try:
        return ask(Limits(np.dtype(dtype)))
    except OSError:
        return None


def seconds_to_read(x: NDArray[Any]) -> float:
    """Return the time of a plain loop that reads a contiguous array once, where it lies by now."""
    run, n = streamer(x), len(x)
    repeats = max(1, 2**24 // x.nbytes)
    return _best(lambda: run(n, repeats)) / repeats


def streamer(x: NDArray[Any]) -> Callable[..., None]:
    """Return a function (n, repeats=1) that reads the first n rows of a contiguous array."""
    stream = compiled("limits.c", f"-DREAL={REAL[x.dtype]}").stream
    stream.restype = None
    sums = np.zeros(1, x.dtype)
    row = x[0].nbytes

    def run(n: int, repeats: int = 1) -> None:
        values = n * row // AT_ONCE * AT_ONCE // x.itemsize  # never past the end
        stream(_pointer(x), ctypes.c_long(values), ctypes.c_long(repeats), _pointer(sums))

    return run


def memory_like(size: int) -> NDArray[np.float32]:
    """Return about `size` bytes that begin with a page."""
    size = -(-size // AT_ONCE) * AT_ONCE
    found = np.zeros(size + PAGE, np.uint8)
    start = -found.ctypes.data % PAGE
    found = found[start : start + size]
    found[:] = 0  # the system gives pages when they are written
    return found.view(np.float32)


@functools.cache
def bandwidths() -> dict[str, float]:
    """Return the bytes a second read from half of each cache, of the last one at most 16 MiB, and from memory.

    A virtual machine may name the last cache of a whole processor, which it shares.
    """
    sizes = {name: min(size // 2, 2**24) for name, size in machine.caches().items()} | {"memory": 2**28}
    return {name: size / seconds_to_read(memory_like(size)) for name, size in sizes.items()}


def _read_again(size: int) -> tuple[float, str]:
    """Return the time of reading so many bytes again, each from the first cache that has room for it, and the last."""
    rates, seconds, inside = bandwidths(), 0.0, 0
    for name, room in [*machine.caches().items(), ("memory", size)]:
        seconds += (min(size, room) - inside) / rates[name]
        inside = min(size, room)
        if inside == size:
            break
    return seconds, name


def _in_turn(sizes: tuple[int, ...]) -> int:
    """Return how many operations of one per-sample step must wait for each other, until the next sample's z_1 is known.

    A product of n terms is a multiplication and log2 n additions in turn. The first layer's product is known but for
    the last update, (x_t · x_{t+1} + 1) u.
    """

    def product(n: int) -> int:
        return 1 + math.ceil(math.log2(n))

    forward = 1 + sum(1 + product(n) for n in sizes[1:-1])  # z_1, then f and z of the next layer
    backward = sum(product(m) + 1 for m in sizes[2:])  # error terms and f' of the layer below
    return forward + 1 + backward + 1  # the error, and u = η δ_1


def _multiply_adds(dtype: np.dtype[Any]) -> tuple[float, float]:
    """Return the operations a second of many multiply-adds, and the seconds of one when they wait for each other."""
    library = compiled("limits.c", f"-DREAL={REAL[dtype]}")
    library.multiply_adds.restype = ctypes.c_double
    repeats, result = 500_000, np.zeros(1, dtype)
    arguments = ctypes.c_long(repeats), ctypes.c_double(0.999), _pointer(result)
    flops = float(library.multiply_adds(*arguments))
    return flops / _best(lambda: library.multiply_adds(*arguments)), _best(
        lambda: library.in_turn(*arguments)
    ) / repeats


def _pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _best(function: Callable[[], object]) -> float:
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)
