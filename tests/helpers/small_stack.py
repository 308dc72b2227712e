"""Everything that a network does, in a thread with 64 KiB of stack.

Run as a program, python small_stack.py DTYPE LEVEL: a frame that is too large ends the process with SIGSEGV.
"""

import faulthandler
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np

import cmlp
from cmlp import _core

RMSPROP = cmlp.RMSprop(1e-4, eps=1.0, centered=True, momentum=0.5)
OPTIMIZERS = (cmlp.SGD(1e-3), cmlp.Adam(), RMSPROP, cmlp.Rprop(1e-4))


def networks(dtype):
    """Small, narrow and wide ones: every way of batches and of single samples."""
    yield cmlp.MLP([5, 3, 1], dtype=dtype, seed=0)
    yield cmlp.MLP([40, 20, 10, 2], loss="cross_entropy", dtype=dtype, seed=0)
    yield cmlp.MLP([300, 128, 3], loss="cross_entropy", dtype=dtype, seed=0)
    layers = cmlp.chain(cmlp.concatenate(cmlp.Dense(70, "gelu"), cmlp.Identity()), cmlp.Dropout(0.2), cmlp.Dense(2))
    yield cmlp.Network(layers, 130, dtype=dtype, seed=0)


def everything(dtype, folder):
    """Train, predict, save and load, row by row and in batches."""
    rng = np.random.default_rng(0)
    for net in networks(dtype):
        X = rng.normal(size=(200, net.n_inputs)) / 20
        y = rng.integers(0, net.n_outputs, 200) if net.loss == "cross_entropy" else X[:, : net.n_outputs]
        program = net._model.program
        for way in program.per_sample_ways:
            program.per_sample = way
            net.fit(X, y, epochs=1, order="given")
        for way in program.batch_ways:
            program.batches = way
            for optimizer in OPTIMIZERS:
                full = optimizer.full_batch
                net.fit(X, y, epochs=2, batch_size=None if full else 64, optimizer=optimizer, n_threads=2)
            net.predict(X, n_threads=2)
            net.evaluate(X, y)
        net.optimizer = cmlp.Adam()
        net.partial_fit(X, y, batch_size=100)
        net.gradients(X[:5], y[:5])
        for x, target in zip(X[:5], y, strict=False):
            net.learn_one(x, target)
            net.predict_one(x)
        net.save(folder / "net.npz")
        assert np.allclose(cmlp.load(folder / "net.npz").predict(X), net.predict(X), 1e-4, 1e-4)


if __name__ == "__main__":
    faulthandler.enable()
    _core.set_simd_level(sys.argv[2])
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        cmlp.MLP([1, 1]).save(Path(folder) / "first.npz")
        cmlp.load(Path(folder) / "first.npz")
        threading.stack_size(65536)
        threading.excepthook = failed.append
        thread = threading.Thread(target=everything, args=(sys.argv[1], Path(folder)))
        thread.start()
        thread.join()
    if failed:
        raise failed[0].exc_value
