"""Random damage to records: python hostile.py DTYPE LEVEL N, in a process of its own.

What the core takes runs on memory between guard pages, in every way. Prints how many programs were taken and refused.
"""

from __future__ import annotations

import faulthandler
import os
import random
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import cmlp
from cmlp import _core
from cmlp._core import UPDATE, Program, record
from cmlp._engine.passes import Buffers
from cmlp._engine.program import Lowering
from cmlp.data.samples import Samples
from helpers.guarded import Guard

ROWS = 70
LAYERS = [
    cmlp.chain(cmlp.Dense(4, "tanh"), cmlp.Dense(1)),
    cmlp.chain(cmlp.Dense(20, "relu"), cmlp.Dense(70, "relu"), cmlp.Dense(3, "softmax")),
    cmlp.chain(cmlp.concatenate(cmlp.Dense(9, "elu"), cmlp.Identity()), cmlp.Dropout(0.5), cmlp.Dense(2, bias=False)),
    cmlp.chain(cmlp.add(cmlp.Dense(5, "sigmoid"), cmlp.Identity()), cmlp.Dense(40, "relu"), cmlp.Dense(40)),
]
INTERESTING = [-(2**63), -(2**31) - 1, -17, -2, -1, 0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 64, 100, 2**16, 2**31, 2**62]
IDS = {"kind", "activation", "layout", "accumulate", "input_gradient", "fused", "loss", "per_sample", "batches"}


def damaged(rng, program):
    """Change one to three fields of the records: a little, to another field's value, or to an interesting number."""
    operations, network = program.operations.copy(), program.network.copy()
    for _ in range(rng.randint(1, 3)):
        record_ = network if rng.random() < 0.3 else operations[rng.randrange(len(operations)) :][:1]
        names = [name for name in record_.dtype.names if name not in ("alpha", "loss_parameter")]
        name = rng.choice(names)
        old = record_[name].item()
        if name == "dropout":
            value = rng.choice([-1.0, 0.0, 0.5, 1.0, np.nan, np.inf])
        elif name in IDS:
            value = rng.choice([-1, 0, 1, 2, 3, 5, 13, 14, 100])
        else:
            others = [int(record_[n].item()) for n in names if n not in IDS and n != "dropout"]
            value = rng.choice([old + rng.choice([-16, -8, -1, 1, 8, 16]), rng.choice(INTERESTING), rng.choice(others)])
        record_[name] = max(-(2**63), min(value, 2**63 - 1)) if isinstance(value, int) else value
    return operations, network


def run(guard, program, dtype):
    """Every method of the program, on arrays at the edge of forbidden pages."""
    network, rng = program.network, np.random.default_rng(0)
    n_in, n_out = int(network["n_inputs"]), int(network["n_outputs"])
    sizes = (network[name] for name in ("n_activations", "n_parameters", "width", "n_deltas", "x_stride"))
    if max(n_in, *sizes) > 1 << 12:
        return
    X = guard.copy(rng.normal(size=(ROWS, n_in)).astype(dtype))
    Y = guard.copy(rng.uniform(0, 1, (ROWS, n_out)).astype(dtype))
    params = guard.copy(rng.normal(size=program.n_parameters).astype(dtype) / 10)
    labels = guard.copy(rng.integers(-1, n_out + 1, ROWS))
    classes = network["loss"] in (_core.LOSSES["cross_entropy"], _core.LOSSES["hinge"])
    for samples in (Samples(X, Y), *([Samples(X, labels=labels)] if classes else [])):
        for way in program.batch_ways:
            program.batches = way
            workspace = guard.zeros(program.workspace_size(64), dtype)
            values, errors = (guard.zeros((ROWS, program.n_activations), dtype) for _ in range(2))
            gradient, average = (guard.zeros(program.n_parameters, dtype) for _ in range(2))
            program.predict(params, X, guard.zeros((ROWS, n_out), dtype), workspace)
            program.forward(params, X, values)
            program.evaluate(params, samples, workspace)
            program.gradients(params, samples, 1.0, gradient, workspace, values, errors)
            buffers = Buffers(workspace, gradient, average, {}, guard.zeros(1, np.float64))
            for settings in ({}, {"batch_size": 1, "l1": 0.1}, {"batch_size": 33, "dropout": 1, "max_norm": 1.0}):
                update = record(UPDATE, **settings)
                for way_of_one in program.per_sample_ways:
                    program.per_sample = way_of_one
                    order = guard.copy(rng.integers(0, ROWS, ROWS))
                    program.train(params, buffers, samples, order, update, guard.copy(np.full(1, 1e-3)), 0)
            one_row = _core.OneRow(program, params, guard.zeros(program.workspace_size(1), dtype))
            one_row.predict(X[0])


def main(dtype, level, n):
    """Damage n programs of each shape."""
    _core.set_simd_level(level)
    rng, guard, counts = random.Random(f"{dtype} {level}"), Guard("end"), [0, 0]
    for layers in LAYERS:
        for k in range(n):
            good = Lowering(layers, 5, "cross_entropy" if k % 2 else "squared_error", np.dtype(dtype)).program()
            try:
                program = Program(*damaged(rng, good))
                run(guard, program, dtype)
            except (ValueError, TypeError):
                counts[1] += 1
            else:
                counts[0] += 1
            guard.release()
    print(*counts, flush=True)


if __name__ == "__main__":
    faulthandler.enable()
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    os._exit(0)  # mappings that arrays still look into cannot be closed in order
