# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled core: runs a program forward, backward and through the update, without the GIL.

It checks dtypes and sizes, which costs nothing, and trusts the rest (finite values, orders, operations): the Python
side makes or checks them.
"""
import os

import numpy as np

cimport cython
cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from cpython.pythread cimport PyThread_get_thread_ident
from cpython.weakref cimport PyWeakref_NewRef
from cython cimport floating
from libc.math cimport INFINITY, isfinite, isinf, isnan, sqrt
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from numpy.random cimport bitgen_t

from kernels cimport (
    CMLP_ADAGRAD, CMLP_ADAM, CMLP_AHEAD, CMLP_ALIGN, CMLP_AS_CHAIN, CMLP_BINARY_CROSS_ENTROPY, CMLP_BLOCK,
    CMLP_BY_OPERATION, CMLP_CAPSULE, CMLP_CROSS_ENTROPY, CMLP_DENSE, CMLP_HINGE, CMLP_IN_BLOCKS, CMLP_MOST_AHEAD,
    CMLP_MOST_THREADS, CMLP_N_SLOTS, CMLP_NO_STEP, CMLP_PACK, CMLP_POISSON, CMLP_RMSPROP, CMLP_ROWS, CMLP_ROWS_AT_ONCE,
    CMLP_ROWS_FIRST, CMLP_RPROP, CMLP_SGD, CMLP_UNITS_FIRST,
    cmlp_activation_names, cmlp_batch_way_names, cmlp_end_team, cmlp_field, cmlp_highest_level,
    cmlp_input_gradient_names, cmlp_kernels, cmlp_kind_names, cmlp_layout_names, cmlp_loss_names, cmlp_mask_key,
    cmlp_name, cmlp_net, cmlp_net_defaults, cmlp_net_fields, cmlp_network, cmlp_op, cmlp_op_defaults,
    cmlp_op_fields, cmlp_per_sample_names, cmlp_rates, cmlp_result, cmlp_rows, cmlp_rule_names, cmlp_samples,
    cmlp_share_work, cmlp_slot_names, cmlp_start_team, cmlp_step, cmlp_table, cmlp_target, cmlp_targets, cmlp_team,
    cmlp_update, cmlp_update_defaults, cmlp_update_fields, cmlp_vectors,
)

cdef extern from "kernels/numbers.h":
    const double CMLP_EXACT
    int cmlp_is_bool(PyObject *o) noexcept
    int cmlp_number(PyObject *o, double *value) noexcept
    int cmlp_cast(cnp.ndarray array, ptrdiff_t n, ptrdiff_t stride, void *to, int to_double) noexcept

cdef extern from "Python.h":
    ptrdiff_t PySequence_Fast_GET_SIZE(object o) noexcept
    PyObject *PySequence_Fast_GET_ITEM(object o, ptrdiff_t i) noexcept  # borrowed

cnp.import_array()

LEVELS = ("baseline", "avx2", "avx512")
ALIGN = CMLP_ALIGN  # bytes
ROWS_AT_ONCE = CMLP_ROWS_AT_ONCE  # of a batch, per thread
MOST_THREADS = CMLP_MOST_THREADS

cdef int _level = cmlp_highest_level()


def simd_levels():
    """Names of the instruction-set levels that this processor can run, lowest first."""
    return LEVELS[: cmlp_highest_level() + 1]


def simd_level():
    """Name of the level in use."""
    return LEVELS[_level]


def set_simd_level(str name):
    """Use the named level from now on, in every thread."""
    global _level
    if name not in simd_levels():
        raise ValueError(f"SIMD level {name!r}: this processor has {', '.join(simd_levels())}")
    _level = LEVELS.index(name)


def _cap_level_from_environment():
    cap = os.environ.get("CMLP_SIMD")
    if cap is None:
        return
    if cap not in LEVELS:
        raise ImportError(f"environment variable CMLP_SIMD={cap!r}: expected one of {', '.join(LEVELS)}")
    set_simd_level(LEVELS[min(LEVELS.index(cap), cmlp_highest_level())])


_cap_level_from_environment()


def first_nonfinite(cnp.ndarray values):
    """Flat index of the first NaN or infinity in a float32 or float64 array, or -1."""
    cdef int type_number = cnp.PyArray_TYPE(values)
    cdef ptrdiff_t index
    if type_number not in (<int> cnp.NPY_FLOAT, <int> cnp.NPY_DOUBLE):
        raise ValueError(f"expected an array of float32 or float64, not of {values.dtype}")
    if not cnp.PyArray_ISCARRAY_RO(values):
        values = np.require(values, values.dtype.newbyteorder("="), ["C", "A"])
    cdef const cmlp_kernels *k = cmlp_table(_level, type_number == <int> cnp.NPY_DOUBLE)
    if cnp.PyArray_SIZE(values) < 4096:  # not worth letting go of the GIL
        return k.first_nonfinite(cnp.PyArray_SIZE(values), cnp.PyArray_DATA(values))
    _held = held((values,))
    with nogil:
        index = k.first_nonfinite(cnp.PyArray_SIZE(values), cnp.PyArray_DATA(values))
    return index


def aligned_zeros(ptrdiff_t n, dtype):
    """A vector of zeros that starts on a cache line, as vector loads like them."""
    cdef cnp.ndarray memory = np.zeros(n + CMLP_ALIGN // dtype.itemsize, dtype)
    cdef ptrdiff_t beyond = <size_t> cnp.PyArray_DATA(memory) % CMLP_ALIGN
    start = (CMLP_ALIGN - beyond) % CMLP_ALIGN // dtype.itemsize
    return memory[start : start + n]


@cython.final
cdef class Copies:
    """Copies of contiguous arrays, themselves the same throughout: `put_back` undoes what came after `take`."""
    cdef list arrays, copies

    def __init__(self, arrays):
        self.arrays, self.copies = list(arrays), []
        for array in self.arrays:
            if not cnp.PyArray_ISCARRAY(array):
                raise ValueError("expected contiguous arrays that can be written to")
            self.copies.append(np.empty_like(array))
        self.take()

    def take(self):
        """Copy what is there now."""
        copy_all(self.copies, self.arrays)

    def put_back(self):
        """Let there be what was there."""
        copy_all(self.arrays, self.copies)


cdef int copy_all(list to, list given) except -1:
    cdef cnp.ndarray there, here
    cdef size_t n
    for i in range(len(given)):
        there, here = to[i], given[i]
        n = cnp.PyArray_NBYTES(here)
        with nogil:
            memcpy(cnp.PyArray_DATA(there), cnp.PyArray_DATA(here), n)
    return 0


def activate(int activation, double alpha, const floating[::1] z, floating[::1] a):
    """a = f(z); both arrays must end with ALIGN bytes of padding behind the len(a) elements computed."""
    cdef const cmlp_kernels *k = cmlp_table(_level, floating is double)
    if z.shape[0] * sizeof(floating) < a.shape[0] * sizeof(floating) + CMLP_ALIGN:
        raise ValueError(f"z must have {CMLP_ALIGN} bytes of padding behind the {a.shape[0]} elements of a")
    with nogil:
        k.activate_slice(activation, a.shape[0], alpha, &z[0], &a[0])


def standardize(const floating[:, ::1] X, const floating[::1] mean, const floating[::1] scale, floating[:, ::1] out):
    """out (M, n) = (X - mean) ⊙ scale."""
    cdef const cmlp_kernels *k = cmlp_table(_level, floating is double)
    cdef ptrdiff_t r, n = X.shape[1]
    expect("mean", mean.shape[0], n)
    expect("scale", scale.shape[0], n)
    expect_rows("out", out.shape[0], out.shape[1], X.shape[0], n)
    _held = held((X.base,))
    with nogil:
        for r in range(X.shape[0]):
            k.standardize(X.shape[1], &X[r, 0], &mean[0], &scale[0], &out[r, 0])


include "structs.pxi"
include "per_sample.pxi"
include "steps.pxi"
include "batches.pxi"
include "border.pxi"
include "records.pxi"
include "interrupts.pxi"


cdef class Program:
    """A network lowered to operations over one parameter vector and one activation buffer.

    Parameters
    ----------
    operations : ndarray of OPERATION, shape (n,)
        In the order in which they run forward; src/kernels/structs.h says what the fields mean.
    network : record of NETWORK
        What it is besides them.
    """
    cdef readonly object operations  # a copy of those given, read-only
    cdef Code code
    cdef ptrdiff_t least_units_first  # rows of a batch
    cdef ptrdiff_t least_size  # bytes of an element, for which the padding is enough

    def __cinit__(self, operations, network):
        cdef cnp.ndarray given = records_of(operations, OPERATION, 1), record = records_of(network, NETWORK, 0)
        if not len(given):
            raise ValueError("a program needs at least one operation")
        self.least_units_first = LEAST_UNITS_FIRST
        self.operations = np.frombuffer(given.tobytes(), OPERATION)
        self.code.ops = <const cmlp_op *> cnp.PyArray_DATA(self.operations)
        self.code.n_ops = <int> len(given)
        self.code.net = (<cmlp_net *> cnp.PyArray_DATA(record))[0]
        self.least_size = sizeof(float)
        if wrong_program(&self.code, self.operations, CMLP_ALIGN // sizeof(float)) is not None:
            self.least_size = sizeof(double)
            wrong = wrong_program(&self.code, self.operations, CMLP_ALIGN // sizeof(double))
            if wrong is not None:
                raise ValueError(f"this is no program: {wrong}")
        if not may_go(&self.code, self.code.net.per_sample):
            raise ValueError(f"per_sample={self.code.net.per_sample}: this program can go "
                             f"{', '.join(self.per_sample_ways)} (PER_SAMPLE_WAYS)")

    @property
    def network(self):
        """The record of NETWORK, read-only."""
        return np.ndarray((), NETWORK, (<const char *> &self.code.net)[:sizeof(cmlp_net)])

    @property
    def n_outputs(self):
        """Elements of ŷ."""
        return self.code.net.n_outputs

    @property
    def n_activations(self):
        """Elements of the activation buffer, padding included."""
        return self.code.net.n_activations

    @property
    def n_parameters(self):
        """Elements of the parameter vector, padding included."""
        return self.code.net.n_parameters

    @property
    def per_sample_ways(self):
        """Names of the ways (PER_SAMPLE_WAYS) that plain per-sample SGD can take."""
        return tuple([name for name, way in PER_SAMPLE_WAYS.items() if may_go(&self.code, way)])

    @property
    def per_sample(self):
        """Name of the one that it takes; tests set it."""
        return list(PER_SAMPLE_WAYS)[self.code.net.per_sample]

    @per_sample.setter
    def per_sample(self, str name):
        if name not in self.per_sample_ways:
            raise ValueError(f"per_sample={name!r}: this program can go {', '.join(self.per_sample_ways)}")
        self.code.net.per_sample = PER_SAMPLE_WAYS[name]

    @property
    def batch_ways(self):
        """Names of the ways (BATCH_WAYS) that batches can take: all of them."""
        return tuple(BATCH_WAYS)

    @property
    def batches(self):
        """Name of the one that they take, but for small ones, which go rows first; tests set it for all sizes."""
        return list(BATCH_WAYS)[self.code.net.batches]

    @batches.setter
    def batches(self, str name):
        if name not in self.batch_ways:
            raise ValueError(f"batches={name!r}: this program can go {', '.join(self.batch_ways)}")
        self.code.net.batches, self.least_units_first = BATCH_WAYS[name], 1

    def workspace_size(self, ptrdiff_t rows, int n_threads=1):
        """Elements of a workspace for `rows` samples at a time (at most ROWS_AT_ONCE per thread)."""
        cdef Code code = self.at_work(sizeof(double), rows)
        expect_threads(n_threads)
        if not 0 <= rows <= n_threads * <ptrdiff_t> CMLP_ROWS_AT_ONCE:
            raise ValueError(f"rows must be 0 to {n_threads * CMLP_ROWS_AT_ONCE}, not {rows}")
        return workspace_elements(&code.net, rows, n_threads)

    cdef Code at_work(self, ptrdiff_t size, ptrdiff_t rows=1) except *:
        """The code with the kernels for elements of this size, for batches of so many rows."""
        cdef Code code = self.code
        if size < self.least_size:
            raise TypeError("the program is for float64: its padding is not enough for vectors of float32")
        code.k = cmlp_table(_level, size == sizeof(double))
        code.size = size
        if rows < self.least_units_first:
            code.net.batches = CMLP_ROWS_FIRST
        return code

    def train(self, params, buffers, samples, order, update, rates, ptrdiff_t first_step, int n_threads=1):
        """One epoch in place; `Training` does it chunk by chunk.

        Parameters
        ----------
        params : ndarray, shape (n_parameters,)
            In the layout of the operations.
        buffers : object
            `gradient` (n_parameters,), or None if `is_plain(update)`; `average` (n_parameters,), which follows the
            parameters, or None; `slots`, a dict from names of SLOTS to what the optimiser keeps, each (n_parameters,);
            `last_loss` (1,), Σ s_c ℓ_c of the last batch, read and written; `workspace`, for
            min(batch_size, n_threads · ROWS_AT_ONCE) rows.
        samples : object
            `X` (M, n_inputs); `Y` (M, n_outputs) or `labels` (M,), the other None; `weights` (M,) or None; `checked`:
            if not, an update that is plain stops at an x with NaN or infinity before learning from it.
        order : ndarray of int64 or None
            Indices to visit; None: 0..M-1.
        update : record of UPDATE
            With the rule "none" nothing is learnt: the gradient is that of the last batch.
        rates : ndarray of float64
            One learning rate per step, or a single one.
        first_step : int
            Steps made before.
        n_threads : int
            Only batches are divided among threads.

        Returns
        -------
        loss : float
            Σ s_c ℓ_c over the samples learnt.
        correct : float
            Σ s_c [decision of sample c is right], before it is learnt from, if `update` counts_right; see `evaluate`.
        n_clipped : int
            How many elements of δ were clipped.
        bad : int
            Position (in `order`) of the sample whose loss was not finite, where the pass stopped, or -1.
        """
        training = Training(self, params, buffers, samples, update)
        n = len(samples.X) if order is None else len(order)
        bad = training.learn(order, 0, n, rates, first_step, n_threads)
        return training.loss, training.correct, training.n_clipped, bad

    def gradients(self, floating[::1] params, samples, double scale, floating[::1] gradient,
                  floating[::1] workspace, floating[:, ::1] activations=None, floating[:, ::1] errors=None):
        """gradient += scale · Σ_c s_c ∂ℓ_c/∂parameters; returns Σ s_c ℓ_c.

        samples: as for `train`; workspace: for one row; activations, errors (M, n_activations): row c receives the
        buffers of sample c, or both None.
        """
        cdef Code code = self.at_work(sizeof(floating))
        cdef ptrdiff_t c, n_clipped = 0
        cdef double loss = 0.0
        cdef cmlp_target to = cmlp_target(NULL, scale, INFINITY)
        cdef Samples s
        cdef Workspace w
        _samples = set_samples[floating](&s, &code.net, samples.X, 0, samples)
        w = workspace_in(&code, workspace, 1, 1)
        expect("params", params.shape[0], code.net.n_parameters)
        expect("gradient", gradient.shape[0], code.net.n_parameters)
        if activations is not None:
            expect_rows("activations", activations.shape[0], activations.shape[1], s.n, code.net.n_activations)
            expect_rows("errors", errors.shape[0], errors.shape[1], s.n, code.net.n_activations)
        to.values = &gradient[0]
        with nogil:
            for c in range(s.n):
                if activations is not None:
                    w.activations, w.errors = <char *> &activations[c, 0], <char *> &errors[c, 0]
                loss += weight_of(&s, c) * learn(&code, &params[0], &to, &s, c, &w, &n_clipped)
        return loss

    def predict(self, const floating[::1] params, X, floating[:, ::1] out,
                floating[::1] workspace, int n_threads=1):
        """out (M, n_outputs) = ŷ of every row of X; workspace: for n_threads · ROWS_AT_ONCE rows, or M."""
        cdef const floating[:, ::1] x = X
        cdef Code code = self.at_work(sizeof(floating), x.shape[0])
        cdef Samples s
        cdef Workspace w
        cdef Job job
        _held = held((X,))
        if not x.shape[0]:
            raise ValueError("X has no rows")
        memset(&s, 0, sizeof(Samples))  # no targets are read
        s.X, s.n, s.n_rows = <const char *> &x[0, 0], x.shape[0], x.shape[0]
        expect("params", params.shape[0], code.net.n_parameters)
        expect_rows("X", s.n, x.shape[1], s.n, code.net.n_inputs)
        expect_rows("out", out.shape[0], out.shape[1], s.n, code.net.n_outputs)
        expect_threads(n_threads)
        n_threads = <int> min(<ptrdiff_t> n_threads, (s.n + CMLP_ROWS_AT_ONCE - 1) // CMLP_ROWS_AT_ONCE)
        w = workspace_in(&code, workspace, s.n if n_threads == 1 and s.n < CMLP_ROWS_AT_ONCE
                         else n_threads * <ptrdiff_t> CMLP_ROWS_AT_ONCE, n_threads)
        memset(&job, 0, sizeof(Job))
        job.p, job.s, job.w = &code, &s, &w
        job.vectors.params, job.out = <char *> &params[0], <char *> &out[0, 0]
        with nogil:
            cmlp_start_team(&job.team, n_threads)
            cmlp_share_work(&job.team, (s.n + CMLP_ROWS_AT_ONCE - 1) // CMLP_ROWS_AT_ONCE, predict_rows, &job)
            cmlp_end_team(&job.team)

    def forward(self, const floating[::1] params, const floating[:, ::1] X, floating[:, ::1] activations):
        """activations (M, n_activations): row c receives the activation buffer of sample c."""
        cdef Code code = self.at_work(sizeof(floating))
        cdef ptrdiff_t c
        expect("params", params.shape[0], code.net.n_parameters)
        expect_rows("X", X.shape[0], X.shape[1], X.shape[0], code.net.n_inputs)
        expect_rows("activations", activations.shape[0], activations.shape[1], X.shape[0], code.net.n_activations)
        _held = held((X.base,))
        with nogil:
            for c in range(X.shape[0]):
                run_forward(&code, &params[0], &X[c, 0], <char *> &activations[c, 0], 0)

    def evaluate(self, const floating[::1] params, samples, floating[::1] workspace):
        """Σ s_c ℓ_c and Σ s_c [decision of sample c is right]; workspace: for min(M, ROWS_AT_ONCE) rows.

        The decision is the arg max for classes, otherwise it is on which side of ½ (hinge: of 0) every ŷ_i is.
        """
        given = samples.X
        cdef Code code = self.at_work(sizeof(floating), len(given))
        cdef ptrdiff_t start = 0, r, at
        cdef double loss = 0.0, correct = 0.0
        cdef double losses[CMLP_ROWS_AT_ONCE]
        cdef Samples s
        cdef Workspace w
        cdef cmlp_rows rows
        _samples = set_samples[floating](&s, &code.net, given, 0, samples)
        expect("params", params.shape[0], code.net.n_parameters)
        w = workspace_in(&code, workspace, min(s.n, <ptrdiff_t> CMLP_ROWS_AT_ONCE), 1)
        with nogil:
            while start < s.n:
                rows = rows_of(&code, &w, 0, min(<ptrdiff_t> CMLP_ROWS_AT_ONCE, s.n - start), 0)
                leave_inputs(&code, &s, start, &rows)
                forward_rows(&code, &params[0], &s, start, &rows, NULL)
                lose_rows(&code, &s, start, &rows, losses)
                for r in range(rows.n):
                    at = r * row_step(&rows) * code.size
                    loss += weight_of(&s, start + r) * losses[r]
                    count_right(&code, &s, start + r, rows.activations + at, unit_step(&rows), &correct)
                start += rows.n
        return loss, correct


include "arguments.pxi"
include "training.pxi"
include "claim.pxi"
include "one_row.pxi"
include "embedded.pxi"
