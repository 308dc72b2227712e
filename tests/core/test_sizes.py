"""More than 2³¹ elements, which an int does not count; more than memory holds. Zeros that are only read take none."""

import resource
import sys

import numpy as np
import pytest

import cmlp
from cmlp._core import MOST_ELEMENTS
from cmlp._engine.program import Lowering

N = 1 << 16 if sys.platform == "linux" else 1 << 8  # elsewhere zeros that are read take memory
ROWS = (1 << 15) + 1  # ROWS · N > 2³¹


@pytest.fixture
def little_memory():
    """Assert that the test has taken less than 1 GiB of memory, beside what the process had before."""
    unit = 1024 if sys.platform == "linux" else 1
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit < 1 << 30


def test_samples_of_more_than_2_31_elements(little_memory):
    X = np.zeros((ROWS, N), "float32")
    X[-1, -1] = 3
    net = cmlp.MLP([N, 1], init="zeros", bias=False)
    y = np.zeros((ROWS, 1))
    y[-1] = 3
    net.fit(X, y, epochs=1, order="given", optimizer=cmlp.SGD(0.125))
    assert net.weights[0][-1, 0] == 1.125  # one step, from the last row: 0.125 · 3 · 3
    out = net.predict(X)
    assert np.flatnonzero(out).tolist() == [ROWS - 1]
    assert out[-1, 0] == 3.375


def test_a_layer_of_more_than_2_31_weights(little_memory):
    program = Lowering(cmlp.Dense(ROWS, bias=False), N, "squared_error", np.dtype("float32")).program()
    params, X = np.zeros(program.n_parameters, "float32"), np.ones((1, N), "float32")
    assert program.n_parameters >= ROWS * N
    op = program.operations[0]
    params[op["weights"] + (N - 1) * op["ld"] + ROWS - 1] = 2  # the last weight
    out = np.zeros((1, ROWS), "float32")
    program.predict(params, X, out, np.zeros(program.workspace_size(1), "float32"))
    assert np.flatnonzero(out).tolist() == [ROWS - 1]
    assert out[0, -1] == 2


@pytest.mark.parametrize("sizes", [[1 << 23, 1 << 23], [2**40, 2**40, 1], [3, 1 << 45], [3, 2**62, 2**62], [2**62, 1]])
def test_a_network_that_no_memory_holds_is_refused(little_memory, sizes):
    with pytest.raises((ValueError, MemoryError)):
        cmlp.MLP(sizes)


def test_all_sizes_of_the_largest_network_are_numbers_of_64_bits():
    """5 buffers a row, 4096 rows, 8 bytes, and what the threads have."""
    assert 4096 * 5 * MOST_ELEMENTS * 8 + 64 * 2 * MOST_ELEMENTS * 8 < 1 << 63
    layers = cmlp.chain(cmlp.Activation("tanh"), cmlp.Dense(1))
    largest = MOST_ELEMENTS // 4
    program = Lowering(layers, largest, "squared_error", np.dtype("float64")).program()
    assert program.workspace_size(4096, 64) > 4096 * 2 * largest
