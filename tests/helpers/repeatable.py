"""Short trainings with fixed seeds and data, and the digest of all that came of them."""

from __future__ import annotations

import hashlib

import numpy as np

import cmlp

OPTIMIZERS = {
    "sgd": lambda: cmlp.SGD(0.01),
    "momentum": lambda: cmlp.SGD(0.01, momentum=0.9, weight_decay=1e-3),
    "adam": lambda: cmlp.Adam(0.01),
    "rprop": cmlp.Rprop,
    "rmsprop": lambda: cmlp.RMSprop(0.001, averaging=cmlp.EMA(0.9)),
}
NETWORKS = {
    "chain": lambda: cmlp.chain(cmlp.Dense(20, "tanh"), cmlp.Dense(9, "relu"), cmlp.Dense(3, "softmax")),
    "narrow": lambda: cmlp.chain(cmlp.Dense(4, "sigmoid"), cmlp.Dense(3, "softmax")),
    "wide": lambda: cmlp.chain(cmlp.Dense(70, "gelu"), cmlp.Dropout(0.2), cmlp.Dense(3, "softmax")),
    "skip": lambda: cmlp.chain(
        cmlp.Dense(8, "elu"), cmlp.add(cmlp.Identity(), cmlp.Dense(8, "silu")), cmlp.Dense(3, "softmax")
    ),
}


def samples(dtype="float32", n=120):
    """Return X (n, 12) and classes of three kinds."""
    rng = np.random.default_rng(7)
    return rng.normal(size=(n, 12)).astype(dtype), rng.integers(0, 3, n)


def network(name, optimizer, dtype="float32"):
    """Return a network with a fixed seed."""
    return cmlp.Network(
        NETWORKS[name](), 12, loss="cross_entropy", optimizer=OPTIMIZERS[optimizer](), dtype=dtype, seed=3
    )


def train(net, X, y, n_threads=1):
    """Train in all ways that suit the optimiser; return the network."""
    full = net.optimizer.full_batch
    for batch in ("auto",) if full else (1, 32, 7):
        net.fit(X, y, epochs=2, batch_size=batch, n_threads=n_threads, validation=0.2)
    if not full:
        net.partial_fit(X[:20], y[:20])
        for i in range(10):
            net.learn_one(X[i], y[i])
    return net


def digest(net, X, y):
    """Return a digest of a network, its optimiser's state and generator, and of what it computes, to the bit."""
    found = (net.predict(X), net.predict_one(X[0]), net.evaluate(X, y), net.gradients(X, y).weights)
    model = net._model
    state = ({name: array.copy() for name, array in model.arrays().items()}, model.memory, model.n_steps)
    everything = [*found, *state, model.rng.bit_generator.state]
    return hashlib.sha256(repr([as_bytes(part) for part in everything]).encode()).hexdigest()


def as_bytes(part):
    """Return arrays as their bytes, in lists and dicts too; a pickle would also tell which are the same object."""
    if isinstance(part, dict):
        return {name: as_bytes(value) for name, value in part.items()}
    if isinstance(part, (list, tuple)):
        return [as_bytes(value) for value in part]
    return part.tobytes() if isinstance(part, np.ndarray) else part


def digests(dtype="float32", n_threads=1):
    """Return the digests of all networks and optimisers."""
    X, y = samples(dtype)
    pairs = [(name, optimizer) for name in NETWORKS for optimizer in OPTIMIZERS]
    return [digest(train(network(*pair, dtype), X, y, n_threads), X, y) for pair in pairs]


def send_digest(connection, net, X, y):
    """Train a network in another process, and send the digest."""
    connection.send(digest(train(net, X, y), X, y))
    connection.close()
