"""Runs the core on memory that ends, or starts, at a page that cannot be touched: a stray element is a crash.

Run as a program, `python guarded.py DTYPE LEVEL EDGE GROUP...`, in a process of its own (test_kernels.py does): a
crash is then the exit status of that process and not the end of the tests.
"""

from __future__ import annotations

import ctypes
import faulthandler
import itertools
import mmap
import os
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # for helpers.cases: pytest's pythonpath is not at work here

import cmlp.network
from cmlp import _core
from cmlp._engine.passes import Buffers
from cmlp.activations import ACTIVATIONS
from cmlp.data.samples import Samples
from cmlp.losses import LOSSES
from helpers.cases import BOUNDED_GROWTH, COMPOSITIONS, LAYOUTS, OUTPUTS, LayoutLowering, samples_for

libc = ctypes.CDLL(None, use_errno=True)
PROT_NONE = 0


class Guard:
    """Hands out arrays whose last byte (edge "end") or first byte (edge "start") touches a forbidden page."""

    def __init__(self, edge):
        self.edge = edge
        self.free = {}  # mapped blocks by size, used again after `release`
        self.used = []

    def _block(self, n_pages):
        if self.free.get(n_pages):
            return self.free[n_pages].pop()
        page = mmap.PAGESIZE
        memory = mmap.mmap(-1, (n_pages + 2) * page)
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        for offset in (0, (n_pages + 1) * page):
            if libc.mprotect(ctypes.c_void_p(address + offset), ctypes.c_size_t(page), PROT_NONE):
                raise OSError(ctypes.get_errno(), "mprotect failed")
        return memory

    def copy(self, array):
        """Return a copy of an array at the edge; None stays None."""
        if array is None:
            return None
        n_pages = -(-array.nbytes // mmap.PAGESIZE)
        memory = self._block(n_pages)
        self.used.append((n_pages, memory))
        start = mmap.PAGESIZE * (1 + n_pages) - array.nbytes if self.edge == "end" else mmap.PAGESIZE
        guarded = np.frombuffer(memory, array.dtype, array.size, start).reshape(array.shape)
        guarded[...] = array
        return guarded

    def zeros(self, shape, dtype):
        return self.copy(np.zeros(shape, dtype))

    def release(self):
        """Take back all blocks: the arrays handed out must not be used any more."""
        for n_pages, memory in self.used:
            self.free.setdefault(n_pages, []).append(memory)
        self.used.clear()


class Ahead:
    """What one row asks its model for."""

    rng = np.random.default_rng(0)

    @staticmethod
    def rates_ahead(first_step):
        return np.full(2, 0.01)


def one_row_everywhere(guard, one_row, x, y):
    """Predict, and learn if there is a plan, one row of every type and stride, and its target."""
    rows = [guard.copy(x.astype(kind)) for kind in ("f4", "f8", ">f4", ">f8")]
    rows += [guard.copy((x > 0).astype(kind)) for kind in ("i1", ">i2", "i8", "?")]
    rows += [guard.copy(np.repeat(x, 2))[i::2] for i in (0, 1)] + [rows[0][::-1], rows[1][::-1], x.tolist()]
    for row in rows:
        one_row.predict(row)
        one_row.learn(row, y, None)
        if isinstance(y, np.ndarray):
            for kind in ("f4", "f8", ">f4"):
                one_row.learn(row, guard.copy(y.astype(kind)), None)


def run_everything(guard, net, X, y, **settings):
    """Call every method of the program with all arrays at the edge, batches in every way."""
    program = net._model.program
    for way in program.batch_ways:
        program.batches = way
        run_in_one_way(guard, net, X, y, **settings)


def run_in_one_way(guard, net, X, y, batch_size=1, ordered=True, weighted=True, slots=(), **settings):
    program, dtype = net._model.program, net.dtype
    M = len(X)
    given, X, y = X, guard.copy(X), guard.copy(y)
    Y, labels = (None, y) if y.dtype.kind == "i" else (y, None)
    params = guard.copy(net._model.parameters)
    single, many = (guard.zeros(program.workspace_size(min(n, _core.ROWS_AT_ONCE)), dtype) for n in (1, M))
    n_threads = 2 + M % 2 if batch_size > 1 else 1
    order = guard.copy(np.arange(M)[::-1].copy()) if ordered else None
    weights = guard.copy(np.linspace(0.5, 1, M)) if weighted else None
    rates = guard.copy(np.full(-(-M // batch_size), 0.01))
    update = _core.record(_core.UPDATE, batch_size=batch_size, **settings)
    samples = Samples(X, Y, labels, weights)
    gradient = None if _core.is_plain(update) else guard.zeros(program.n_parameters, dtype)
    state = {name: guard.zeros(program.n_parameters, dtype) for name in slots}
    last_loss = guard.zeros(1, np.float64)
    average = guard.zeros(program.n_parameters, dtype) if "average_decay" in settings else None
    rows = min(batch_size, n_threads * _core.ROWS_AT_ONCE)
    workspace = guard.zeros(program.workspace_size(rows, n_threads), dtype)
    values, errors = (guard.zeros((M, program.n_activations), dtype) for _ in range(2))
    out = guard.zeros((M, program.n_outputs), dtype)

    program.predict(params, X, out, many)
    program.forward(params, X, values)
    expected = out.copy()
    total = guard.zeros(program.n_parameters, dtype)
    program.gradients(params, samples, 0.5, total, single, values, errors)
    program.gradients(params, samples, 0.5, total, single)
    program.evaluate(params, samples, many)
    target = int(labels[0]) if Y is None else guard.copy(Y[0])
    for changes in ({}, settings):
        one_row = _core.OneRow(program, params, single)
        alone = _core.record(_core.UPDATE, **changes)
        gradient_of_one = None if _core.is_plain(alone) else guard.zeros(program.n_parameters, dtype)
        one_row.plan(alone, params, Buffers(single, gradient_of_one, average, state, last_loss), lambda: Ahead)
        assert np.isfinite(one_row.learn(guard.copy(given[0]), target, 1.0))
        if not changes:
            one_row_everywhere(guard, one_row, given[0], target)
        params[...] = net._model.parameters
    chosen = program.per_sample
    buffers = Buffers(workspace, gradient, average, state, last_loss)
    for way in program.per_sample_ways if _core.is_plain(update) else [chosen]:
        program.per_sample = way
        *_, bad = program.train(params, buffers, samples, order, update, rates, 0, n_threads)
        assert bad == -1
    program.per_sample = chosen
    np.testing.assert_array_equal(expected, net.predict(given))  # the edge changes no number
    guard.release()


def sizes(guard, dtype):
    """Layer sizes 1..40 against 1..40 in both layouts: first layers, inner layers, outputs."""
    rng = np.random.default_rng(0)
    for layout in LAYOUTS.values():
        LayoutLowering.layout = layout
        for n_in, n_out in itertools.product(range(1, 41), repeat=2):
            if (n_in + n_out) % 3:  # a third of the pairs is enough: 3 divides no vector's length
                continue
            net = cmlp.MLP([n_in, n_out], activation=["tanh"], dtype=dtype, seed=0)
            run_everything(guard, net, *samples_for("squared_error", rng, 2, n_in, n_out, dtype))
        for n in range(1, 41):
            net = cmlp.MLP([3, n, 41 - n, 2], dtype=dtype, seed=0)
            run_everything(guard, net, *samples_for("squared_error", rng, 2, 3, 2, dtype), batch_size=2)


def functions(guard, dtype):
    """Every activation and loss, every way of giving targets, at many widths."""
    rng = np.random.default_rng(0)
    hidden_activations = itertools.cycle(BOUNDED_GROWTH)
    for loss, n in itertools.product(LOSSES, [2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33]):
        for output, one_hot in itertools.product(OUTPUTS[loss], [False, True]):
            hidden = next(hidden_activations)
            net = cmlp.MLP([5, n, n], activation=[hidden, output], loss=loss, dtype=dtype, seed=0)
            run_everything(guard, net, *samples_for(loss, rng, 2, 5, n, dtype, one_hot=one_hot))


def updates(guard, dtype):
    """Every setting of the update, in batches that divide the samples and batches that do not."""
    rng = np.random.default_rng(0)
    options = {
        "batch_size": [1, 2, 5, 7],
        "clip_delta": [np.inf, 0.01],
        "clip_value": [np.inf, 0.01],
        "clip_norm": [np.inf, 0.01],
        "momentum": [0.0, 0.9],
        "weight_decay": [0.0, 0.1],
        "nesterov": [False, True],
        "mean": [False, True],
    }
    nets = [cmlp.MLP([n, n + 1, 3], bias=n % 2 == 0, dtype=dtype, seed=0) for n in (3, 8)]
    optimizers = [
        cmlp.Adam(),
        cmlp.AdamW(amsgrad=True),
        cmlp.RMSprop(),
        cmlp.RMSprop(momentum=0.5),
        cmlp.RMSprop(centered=True),
        cmlp.RMSprop(momentum=0.5, centered=True, weight_decay=0.1),
        cmlp.Adagrad(),
        cmlp.Rprop(),
        cmlp.LBFGS(),
    ]
    for net, batch_size, optimizer in itertools.product(nets, options["batch_size"], optimizers):
        samples = samples_for("squared_error", rng, 7, net.n_inputs, 3, dtype)
        slots = optimizer.state_names
        run_everything(guard, net, *samples, batch_size=batch_size, slots=slots, **optimizer.settings)
    for values in itertools.product(*options.values()):
        for i, net in enumerate(nets):
            X, y = samples_for("squared_error", rng, 7, net.n_inputs, 3, dtype)
            settings = dict(zip(options, values, strict=True))
            slots = ["velocity"] if settings["momentum"] else []
            run_everything(guard, net, X, y, ordered=i == 0, weighted=i == 1, slots=slots, **settings)


def compositions(guard, dtype):
    """Every composition, in both layouts: concatenations lie at offsets of all alignments."""
    rng = np.random.default_rng(0)
    for layout, name, f in itertools.product(LAYOUTS.values(), COMPOSITIONS, ["tanh", "softmax", "relu", "gelu"]):
        LayoutLowering.layout = layout
        net = cmlp.Network(COMPOSITIONS[name](f), 5, dtype=dtype, seed=0)
        run_everything(guard, net, *samples_for("squared_error", rng, 3, 5, net.n_outputs, dtype), batch_size=2)
    for first in range(1, 20):
        layers = cmlp.chain(
            cmlp.concatenate(cmlp.Dense(first, "tanh"), cmlp.Dense(9, "relu"), cmlp.Identity()), cmlp.Dense(2)
        )
        net = cmlp.Network(layers, 3, dtype=dtype, seed=0)
        run_everything(guard, net, *samples_for("squared_error", rng, 2, 3, 2, dtype))


def regularisers(guard, dtype):
    """Dropout everywhere, l1, max_norm and an average, in both layouts; inputs that are standardised."""
    rng = np.random.default_rng(0)
    everything = {"l1": 0.01, "max_norm": 0.5, "average_decay": 0.9, "dropout": True, "seed": 1}
    for layout, n in itertools.product(LAYOUTS.values(), range(1, 41)):
        LayoutLowering.layout = layout
        drop = cmlp.Dropout(0.3)
        layers = cmlp.chain(drop, cmlp.Dense(n, "tanh"), drop, cmlp.concatenate(drop, cmlp.Dense(3)), cmlp.Dense(2))
        net = cmlp.Network(layers, 41 - n, dtype=dtype, seed=0)
        X, y = samples_for("squared_error", rng, 5, 41 - n, 2, dtype)
        run_everything(guard, net, X, y, batch_size=1 + n % 3, **everything)
        x, mean, scale, out = (guard.copy(rng.normal(size=n).astype(dtype)) for _ in range(4))
        _core.standardize(x[None], mean, scale, out[None])
        scaling = [guard.zeros(41 - n, d) for d in ("float64", "float64", "float64", dtype, dtype)]
        for scale, gaps in ((scaling, False), (scaling, True), (scaling[:3], True)):
            one_row = _core.OneRow(net._model.program, net._model.parameters, net._model.workspace(1), scale, gaps)
            buffers = Buffers(net._model.workspace(1), None, None, {}, np.zeros(1))
            one_row.plan(_core.record(_core.UPDATE), net._model.parameters, buffers, lambda: Ahead)
            assert np.isfinite(one_row.learn(guard.copy(X[0]), guard.copy(y[0]), 1.0))
            if gaps:
                X[1, 0] = np.nan
            one_row_everywhere(guard, one_row, X[1], y[0])
        guard.release()


def slices(guard, dtype):
    """first_nonfinite on exactly its elements; activate with its padding behind."""
    for n in (*range(1, 80), 4095, 4096, 4097):
        assert _core.first_nonfinite(guard.zeros(n, dtype)) == -1
        padding = _core.ALIGN // np.dtype(dtype).itemsize
        for activation in ACTIVATIONS.values():
            z, a = guard.zeros(n + padding, dtype), guard.zeros(n + padding, dtype)
            _core.activate(activation, 0.01, z, a[:n])
        guard.release()


def overread(guard, dtype):
    """Touch one element too many: to show that the guard works."""
    edge = guard.zeros(8, dtype)
    outside = edge.ctypes.data + (edge.nbytes if guard.edge == "end" else -edge.itemsize)
    print((ctypes.c_char * edge.itemsize).from_address(outside).raw)


GROUPS = {f.__name__: f for f in (slices, functions, updates, compositions, regularisers, sizes)}

if __name__ == "__main__":
    faulthandler.enable()  # a crash says in which function
    dtype, level, edge, *names = sys.argv[1:]
    _core.set_simd_level(level)
    cmlp.network.Lowering = LayoutLowering
    guard = Guard(edge)
    for name in names:
        print(name, flush=True)
        {**GROUPS, "overread": overread}[name](guard, dtype)
    os._exit(0)  # mappings that arrays still look into cannot be closed in order
