"""The project's aims, all in one place: a number is so many times as fast as a rival, unless its name says otherwise.

Where they depend on the instruction set, there is one for AVX2 and one for AVX-512; other kernels have none of their
own and are held against AVX2's.
"""

from __future__ import annotations

from cmlp._core import simd_level

LEVEL = "avx512" if simd_level() == "avx512" else "avx2"
WHOSE = f"of {LEVEL}" + ("" if simd_level() == LEVEL else f", for want of any of {simd_level()}")


def by_level(avx2: float, avx512: float) -> float:
    """Return the aim of the instruction set in use."""
    return avx512 if LEVEL == "avx512" else avx2


HEADLINE_OVER_STREAM = 2.0  # an epoch's time / that of a plain loop that reads X once
HEADLINE = {"Numba": 2.2, "NumPy": 20}

PER_SAMPLE: dict[str, dict[str, float]] = {
    "2-4-1": {"JAX": by_level(1.3, 1.8)},
    "10-32-32-1": {"JAX": by_level(5, 8), "Numba": 4, "PyTorch": 1500},
    "13-50-3": {"JAX": 8},
    "64-64-64-10": {"JAX": by_level(3.5, 4.5)},
    "784-128-10": {"JAX": by_level(2.2, 3)},
    "784-1024-1024-10": {"plain C": 2.5},
}

# With Adam, by batch size: times as fast as PyTorch.
MINI_BATCH: dict[str, dict[int, float]] = {
    "10-32-32-1": {8: 70, 32: 50, 128: 28, 512: 10},
    "784-128-10": {8: by_level(5.5, 6), 32: by_level(3.3, 3.7), 128: by_level(1.7, 2.5), 512: by_level(1.2, 2.1)},
    "784-512-512-10": {
        8: by_level(2.2, 2.6),
        32: by_level(1.6, 2.2),
        128: by_level(1.15, 2.1),
        512: by_level(1.02, 2.1),
    },
}

ONE_ROW: dict[str, dict[str, dict[str, float]]] = {
    "10-32-32-1": {"predict": {"ONNX Runtime": 20, "mlpfile": 4}, "learn": {"mlpfile": 5}},
    "784-128-10": {"predict": {"ONNX Runtime": 3.5, "mlpfile": 2.4}, "learn": {"mlpfile": 5}},
}

# Of one row: at most so many times the fast form, a contiguous float32 row with a Python number and plain SGD.
ANY_ARRAY, ANY_LIST, ANY_LIST_PREDICTED = 2.0, 4.0, 8.0
ANY_SETTING = {"momentum": 4, "Adam": 6, "schedule": 2.5, "standardize": 3.5, 'missing="mean"': 3.5}

PREDICT, PREDICT_MANY, MANY = 1, 2, 10_000  # ONNX Runtime; on 10-32-32-1 from so many rows

MICROSECONDS_PER_CALL, MICROSECONDS_PER_EPOCH = 10, 2  # of `fit` around the core, at most

# scikit-learn's seconds / cmlp's, with the same scores: means apart by at most so many standard errors.
ESTIMATORS = {"wine": 10, "diabetes": 10, "breast_cancer": 7, "digits": 4, "like_mnist": 3}
SCORES_APART = 1.0

FLAT = 1.5  # largest spread of C = time / (K M U) within one cache level
IMPORT_OVER_NUMPY, WHEEL_MEGABYTES = 1.3, 1.2  # at most
MEMORY_MARGIN = 16  # MB that training may add to the parameters x (2 + the optimiser's states)
