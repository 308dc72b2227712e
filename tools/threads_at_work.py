"""What tools/races watches: python tools/threads_at_work.py ROUNDS, with the installed cmlp.

Batches in both ways, divided among 2 and 4 threads, with every optimiser and every setting that makes a pass of its
own; predictions divided among threads; and Python's own threads that predict, evaluate and learn at the same time.
"""

import itertools
import sys
import threading

import numpy as np

import cmlp
import cmlp._engine.threads
from cmlp import _core

cmlp._engine.threads.LEAST_AT_ONCE = cmlp._engine.threads.LEAST_PER_CALL = 0  # little work is divided, too

OPTIMIZERS = [
    cmlp.SGD(1e-3),
    cmlp.SGD(1e-3, momentum=0.9, nesterov=True, weight_decay=1e-3, max_norm=2.0, averaging=cmlp.EMA(0.9)),
    cmlp.SGD(1e-3, l1=1e-4, averaging=cmlp.SWA()),
    cmlp.Adam(1e-3, amsgrad=True),
    cmlp.AdamW(1e-3),
    cmlp.RMSprop(1e-4, centered=True, momentum=0.5, eps=0.1),
    cmlp.Adagrad(1e-3),
    cmlp.Rprop(1e-4),
    cmlp.GradientDescent(1e-3),
    cmlp.LBFGS(max_fun=20),
]
CLIPS = [{}, {"clip_delta": 0.5}, {"clip_norm": 1.0}, {"clip_value": 0.5}]


def networks(dtype):
    """Narrow and wide ones, with relus that are skipped, concatenations and dropout."""
    yield cmlp.MLP([10, 32, 32, 1], dtype=dtype, seed=0)
    yield cmlp.MLP([150, 128, 10], loss="cross_entropy", dtype=dtype, seed=0)
    layers = cmlp.chain(cmlp.concatenate(cmlp.Dense(40, "relu"), cmlp.Identity()), cmlp.Dropout(0.2), cmlp.Dense(2))
    yield cmlp.Network(layers, 30, dtype=dtype, seed=0)


def samples_of(net, rng, n=500):
    """Draw inputs and targets."""
    X = rng.normal(size=(n, net.n_inputs)).astype(net.dtype)
    return X, rng.integers(0, net.n_outputs, n) if net.loss == "cross_entropy" else X[:, : net.n_outputs].copy()


def train(net, X, y):
    """Every optimiser, both ways of batches, two and four threads, clippings in turn."""
    program, clips = net._model.program, itertools.cycle(CLIPS)
    drops_out = bool(program.operations["dropout"].any())
    for way, optimizer, n_threads in itertools.product(program.batch_ways, OPTIMIZERS, (2, 4)):
        program.batches = way
        clip = {} if optimizer.searches else next(clips)
        if not (optimizer.searches and drops_out):
            size = None if optimizer.full_batch else 200
            net.fit(X, y, epochs=2, batch_size=size, optimizer=optimizer, n_threads=n_threads, **clip)


def together(net, X, y, n=8):
    """Python's threads: n predict on one network, in teams of their own, while others learn on other networks."""
    expected, others, wrong = net.predict(X), [cmlp.MLP([10, 32, 1], seed=k) for k in range(2)], []

    def predict(k):
        for _ in range(5):
            if not np.array_equal(net.predict(X, n_threads=1 + k % 3), expected):
                wrong.append(k)
            net.evaluate(X, y)
            net.predict_one(X[k])

    def learn(other):
        rng = np.random.default_rng(0)
        U = rng.normal(size=(300, 10))
        other.fit(U, U[:, 0], epochs=3, batch_size=100, n_threads=2)
        for u in U:
            other.learn_one(u, u[0])

    threads = [threading.Thread(target=predict, args=(k,)) for k in range(n)]
    threads += [threading.Thread(target=learn, args=(other,)) for other in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, f"threads {wrong} got other predictions"


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    for _, dtype in itertools.product(range(int(sys.argv[1])), ("float32", "float64")):
        for net in networks(dtype):
            X, y = samples_of(net, rng)
            train(net, X, y)
            together(net, X, y)
    print("level", _core.simd_level(), "done")
