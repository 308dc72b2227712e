# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled core: runs a program forward, backward and through the update, without the GIL.

It trusts its inputs (shapes, dtypes, finite values, sizes of buffers): the Python side checks them.
"""
import os

cimport numpy as cnp
from cython cimport floating
from libc.math cimport INFINITY, isfinite, sqrt
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from kernels cimport (
    CMLP_ALIGN, CMLP_BLOCK, CMLP_ROWS_AT_ONCE, CMLP_BINARY_CROSS_ENTROPY, CMLP_CROSS_ENTROPY, CMLP_DENSE, CMLP_ROWS, cmlp_highest_level, cmlp_kernels,
    cmlp_op, cmlp_table,
)

cnp.import_array()

LEVELS = ("baseline", "avx2", "avx512")
ALIGN = CMLP_ALIGN  # bytes
ROWS_AT_ONCE = CMLP_ROWS_AT_ONCE  # of a batch

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


def first_nonfinite(values):
    """Flat index of the first NaN or infinity in a C-contiguous float32 or float64 array, or -1."""
    return flat_first_nonfinite(values.reshape(-1))


def flat_first_nonfinite(const floating[::1] values):
    cdef const cmlp_kernels *k = cmlp_table(_level, floating is double)
    cdef ptrdiff_t index = -1
    if values.shape[0]:
        with nogil:
            index = k.first_nonfinite(values.shape[0], &values[0])
    return index


def activate(int activation, double alpha, const floating[::1] z, floating[::1] a):
    """a = f(z); both arrays must end with ALIGN bytes of padding behind the len(a) elements computed."""
    cdef const cmlp_kernels *k = cmlp_table(_level, floating is double)
    with nogil:
        k.activate(activation, a.shape[0], alpha, &z[0], &a[0])


cdef class Update:
    """How gradients become steps: the settings of one training run.

    Infinite thresholds switch a clipping off. `clip_delta` is ψ, applied to every δ of every sample. With `adam` the
    moments' decay rates are beta1 and beta2; else momentum and nesterov count.
    """
    cdef readonly ptrdiff_t batch_size
    cdef readonly bint mean, nesterov, adam
    cdef readonly double clip_delta, clip_value, clip_norm, momentum, weight_decay, beta1, beta2, eps

    def __init__(self, *, ptrdiff_t batch_size=1, bint mean=True, double clip_delta=INFINITY,
                 double clip_value=INFINITY, double clip_norm=INFINITY, double weight_decay=0.0, double momentum=0.0,
                 bint nesterov=False, bint adam=False, double beta1=0.0, double beta2=0.0, double eps=0.0):
        self.batch_size = batch_size
        self.mean = mean
        self.clip_delta = clip_delta
        self.clip_value = clip_value
        self.clip_norm = clip_norm
        self.weight_decay = weight_decay
        self.momentum = momentum
        self.nesterov = nesterov
        self.adam = adam
        self.beta1 = beta1
        self.beta2 = beta2
        self.eps = eps

    @property
    def is_plain(self):
        """Whether one sample's δ can go straight into the weights, without a gradient buffer."""
        return (self.batch_size == 1 and not self.adam and self.momentum == 0.0 and self.weight_decay == 0.0
                and self.clip_value == INFINITY and self.clip_norm == INFINITY)


# Where one worker computes: `rows` samples at a time.
cdef struct Workspace:
    char *activations  # (rows, n_activations)
    char *errors  # (rows, n_activations)
    char *x  # (rows, x_stride) own copies of the samples of a batch
    char *scratch  # (rows + 2, width)
    char *updates  # per-sample SGD in blocks: U (CMLP_BLOCK, width), Z (the same), G
    char *products
    char *gram


# The parameters and what a step changes with them; NULL: not needed.
cdef struct State:
    char *params
    char *velocity  # momentum, or Adam's first moment
    char *squares  # Adam's second moment
    char *gradient


# The samples of one call: row c of X (M, n) and of Y (M, n_N), or labels (M,); weights (M,) or NULL.
cdef struct Samples:
    const char *X
    const char *Y
    const int64_t *labels
    const int64_t *order
    const double *weights
    ptrdiff_t n


cdef class Program:
    """A network lowered to operations over one parameter vector and one activation buffer.

    Parameters
    ----------
    ops : sequence of objects with the attributes of `cmlp_op` (kernels.h)
    n_inputs, n_outputs, n_activations, n_parameters, width, x_stride : int
        Elements of x, of ŷ, of the activation buffer, of the parameter vector, of the widest layer and of an own copy
        of x; the buffers' sizes include their padding.
    output : int
        Where ŷ lies in the activation buffer.
    loss : int
    fused : bool
        The last operation's activation and the loss are a natural pair: the loss gives δ itself.
    in_blocks : bool
        Whether plain per-sample SGD takes the first operation's samples in blocks (block.h), which gives the same
        numbers but for rounding; only if no other operation reads x.
    """
    cdef cmlp_op *ops
    cdef int n_ops, loss
    cdef bint fused
    cdef public bint in_blocks  # per-sample SGD in blocks
    cdef ptrdiff_t output
    cdef readonly ptrdiff_t n_inputs, n_outputs, n_activations, n_parameters, width, x_stride

    def __cinit__(self, ops, *, ptrdiff_t n_inputs, ptrdiff_t n_outputs, ptrdiff_t n_activations,
                  ptrdiff_t n_parameters, ptrdiff_t width, ptrdiff_t x_stride, ptrdiff_t output, int loss,
                  bint fused, bint in_blocks):
        self.ops = <cmlp_op *> calloc(len(ops), sizeof(cmlp_op))
        if self.ops == NULL:
            raise MemoryError("no memory for the program's operations")
        self.n_ops = len(ops)
        for i, op in enumerate(ops):
            self.ops[i] = cmlp_op(
                kind=op.kind, activation=op.activation, layout=op.layout, accumulate=op.accumulate,
                input_gradient=op.input_gradient, fused=op.fused, n_in=op.n_in, n_out=op.n_out, in_=op.source,
                z=op.z, out=op.out, weights=op.weights, ld=op.ld, biases=op.biases, alpha=op.alpha)
        self.n_inputs = n_inputs
        self.n_outputs = n_outputs
        self.n_activations = n_activations
        self.n_parameters = n_parameters
        self.width = width
        self.x_stride = x_stride
        self.output = output
        self.loss = loss
        self.fused = fused
        self.in_blocks = in_blocks

    def __dealloc__(self):
        free(self.ops)

    def workspace_size(self, ptrdiff_t rows):
        """Elements of a workspace for calls that take `rows` samples at a time (at most ROWS_AT_ONCE)."""
        return (rows * (2 * self.n_activations + self.x_stride) + (rows + 2) * self.width
                + 3 * CMLP_BLOCK * self.width + CMLP_BLOCK * CMLP_BLOCK)

    cdef Workspace split(self, char *workspace, ptrdiff_t size, ptrdiff_t rows) noexcept nogil:
        cdef Workspace w
        w.activations = workspace
        w.errors = w.activations + rows * self.n_activations * size
        w.x = w.errors + rows * self.n_activations * size
        w.scratch = w.x + rows * self.x_stride * size
        w.updates = w.scratch + (rows + 2) * self.width * size
        w.products = w.updates + CMLP_BLOCK * self.width * size
        w.gram = w.products + CMLP_BLOCK * self.width * size
        return w

    cdef void run_forward(self, const cmlp_kernels *k, const void *params, const void *x,
                          char *activations, int first=0) noexcept nogil:
        """a_k = f_k(W_kᵀ a_{k-1} + b_k) for k = 1..N, whatever the composition."""
        cdef int i
        for i in range(first, self.n_ops):
            k.forward(&self.ops[i], params, x, activations)

    cdef double run_loss(self, const cmlp_kernels *k, ptrdiff_t size, const Samples *s, ptrdiff_t c,
                         const void *x, double weight, const Workspace *w) noexcept nogil:
        """ℓ of sample c, and weight · ∂ℓ/∂ŷ (or δ_N of a natural pair) in the error buffer."""
        cdef const cmlp_op *last = &self.ops[self.n_ops - 1]
        cdef ptrdiff_t z_at = last.z if last.kind == CMLP_DENSE else last.in_
        cdef const void *z = w.activations + z_at * size
        if z_at < 0:
            z = x
        cdef const void *y = NULL
        if s.Y != NULL:
            y = s.Y + c * self.n_outputs * size
        return k.loss(self.loss, self.fused, self.n_outputs, z, w.activations + self.output * size, y,
                      s.labels[c] if s.labels != NULL else -1, weight, w.errors + self.output * size)

    cdef double learn(self, const cmlp_kernels *k, ptrdiff_t size, const void *params, void *target, double scale,
                      double clip_delta, const Samples *s, ptrdiff_t c, const Workspace *w,
                      ptrdiff_t *n_clipped) noexcept nogil:
        """Forward and backward for sample c; target += scale · (gradient of its clipped δ). Returns ℓ."""
        cdef const char *x = s.X + c * self.n_inputs * size
        cdef double weight = s.weights[c] if s.weights != NULL else 1.0
        cdef int i
        self.run_forward(k, params, x, w.activations)
        cdef double loss = self.run_loss(k, size, s, c, x, weight, w)
        if isfinite(loss):
            for i in range(self.n_ops - 1, -1, -1):
                n_clipped[0] += k.backward(&self.ops[i], params, target, scale, clip_delta, x, w.activations,
                                           w.errors, w.scratch)
        return loss

    cdef double run_batch(self, const cmlp_kernels *k, ptrdiff_t size, const void *params, void *gradient,
                          double share, double clip_delta, const Samples *s, ptrdiff_t start, ptrdiff_t stop,
                          const Workspace *w, ptrdiff_t *n_clipped, ptrdiff_t *bad) noexcept nogil:
        """Forward and backward for positions start..stop-1; gradient += share · Σ (gradient of the clipped δ).

        Returns Σ s_c ℓ_c; stops before the gradient of rows among which a loss is not finite.
        """
        cdef ptrdiff_t rows, r, c
        cdef double total = 0.0, loss, weight
        cdef Workspace row
        cdef int i
        while start < stop:
            rows = min(<ptrdiff_t> CMLP_ROWS_AT_ONCE, stop - start)
            self.forward_rows(k, size, params, s, start, rows, w)
            for r in range(rows):
                c = sample_at(s, start + r)
                weight = s.weights[c] if s.weights != NULL else 1.0
                row.activations = w.activations + r * self.n_activations * size
                row.errors = w.errors + r * self.n_activations * size
                loss = self.run_loss(k, size, s, c, w.x + r * self.x_stride * size, weight, &row)
                if not isfinite(loss):
                    bad[0] = start + r
                    return total
                total += loss * weight
            for i in range(self.n_ops - 1, -1, -1):
                n_clipped[0] += k.batch_backward(&self.ops[i], params, gradient, share, clip_delta, rows, w.x,
                                                 self.x_stride, w.activations, w.errors, self.n_activations, w.scratch)
            start += rows
        return total

    cdef void forward_rows(self, const cmlp_kernels *k, ptrdiff_t size, const void *params, const Samples *s,
                           ptrdiff_t start, ptrdiff_t rows, const Workspace *w) noexcept nogil:
        """Copies positions start..start+rows-1 of X, and runs them forward at once."""
        cdef ptrdiff_t r
        cdef int i
        for r in range(rows):
            memcpy(w.x + r * self.x_stride * size, s.X + sample_at(s, start + r) * self.n_inputs * size,
                   self.n_inputs * size)
        for i in range(self.n_ops):
            k.batch_forward(&self.ops[i], params, rows, w.x, self.x_stride, w.activations, self.n_activations)

    cdef void step(self, const cmlp_kernels *k, ptrdiff_t size, State state, double rate, ptrdiff_t t,
                   Update u) noexcept nogil:
        """Clips the gradient by value, then by global norm, and takes step t (from 0) of the optimiser."""
        cdef double scale = 1.0, norm
        cdef const cmlp_op *op
        cdef int i
        if u.clip_value != INFINITY:
            k.clip(self.n_parameters, state.gradient, u.clip_value)
        if u.clip_norm != INFINITY:
            norm = sqrt(k.sum_of_squares(self.n_parameters, state.gradient))
            scale = u.clip_norm / norm if norm > u.clip_norm else 1.0
        if u.weight_decay == 0.0:
            step_slice(k, size, state, 0, self.n_parameters, scale, rate, t, u, 0.0)
            return
        for i in range(self.n_ops):  # λ acts on weights, not on biases
            op = &self.ops[i]
            if op.kind != CMLP_DENSE:
                continue
            step_slice(k, size, state, op.weights, op.ld * (op.n_in if op.layout == CMLP_ROWS else op.n_out), scale,
                       rate, t, u, u.weight_decay)
            if op.biases >= 0:
                step_slice(k, size, state, op.biases, op.n_out, scale, rate, t, u, 0.0)

    cdef double train_plainly(self, const cmlp_kernels *k, ptrdiff_t size, char *params, const Samples *s,
                              const double *rates, ptrdiff_t n_rates, Update u, const Workspace *w,
                              ptrdiff_t *n_clipped, ptrdiff_t *bad) noexcept nogil:
        """Plain per-sample SGD: each sample's δ goes straight into the weights. Returns Σ s_c ℓ_c."""
        cdef ptrdiff_t t, c
        cdef double total = 0.0, loss
        for t in range(s.n):
            c = sample_at(s, t)
            loss = self.learn(k, size, params, params, -rates[t if n_rates > 1 else 0], u.clip_delta, s, c, w,
                              n_clipped)
            if not isfinite(loss):
                bad[0] = t
                break
            total += loss * (s.weights[c] if s.weights != NULL else 1.0)
        return total

    cdef double train_in_batches(self, const cmlp_kernels *k, ptrdiff_t size, State state, const Samples *s,
                                 const double *rates, ptrdiff_t n_rates, ptrdiff_t first_step, Update u,
                                 const Workspace *w, ptrdiff_t *n_clipped, ptrdiff_t *bad) noexcept nogil:
        """Any optimiser, any batch size: the gradient of a batch, then a step. Returns Σ s_c ℓ_c."""
        cdef ptrdiff_t t = 0, start = 0, stop, c
        cdef double total = 0.0, loss
        while start < s.n:
            stop = min(start + u.batch_size, s.n)
            memset(state.gradient, 0, self.n_parameters * size)
            if u.batch_size == 1:
                c = sample_at(s, start)
                loss = self.learn(k, size, state.params, state.gradient, 1.0, u.clip_delta, s, c, w, n_clipped)
                if not isfinite(loss):
                    bad[0] = start
                loss *= s.weights[c] if s.weights != NULL else 1.0
            else:
                loss = self.run_batch(k, size, state.params, state.gradient, 1.0 / (stop - start) if u.mean else 1.0,
                                      u.clip_delta, s, start, stop, w, n_clipped, bad)
            if bad[0] >= 0:
                break
            total += loss
            self.step(k, size, state, rates[t if n_rates > 1 else 0], first_step + t, u)
            start = stop
            t += 1
        return total

    cdef double train_in_blocks(self, const cmlp_kernels *k, ptrdiff_t size, char *params, const Samples *s,
                                const double *rates, ptrdiff_t n_rates, Update u, const Workspace *w,
                                ptrdiff_t *n_clipped, ptrdiff_t *bad) noexcept nogil:
        """The same as `train_plainly`, with W_1 read and written once per block of samples; see block.h."""
        cdef const cmlp_op *op = &self.ops[0]
        cdef const void *before[CMLP_BLOCK]
        cdef const void *next[CMLP_BLOCK]
        cdef ptrdiff_t start = 0, c, t, count
        cdef double total = 0.0, loss, weight, rate
        cdef int i
        while start < s.n and bad[0] < 0:
            count = min(<ptrdiff_t> CMLP_BLOCK, s.n - start)
            for t in range(CMLP_BLOCK):  # a short last block repeats its last sample, with updates of 0
                next[t] = s.X + sample_at(s, start + min(t, count - 1)) * self.n_inputs * size
            k.block_turn(op, params, before if start else NULL, w.updates, next, w.products, w.gram)
            memset(w.updates, 0, CMLP_BLOCK * self.width * size)
            for t in range(count):
                c = sample_at(s, start + t)
                rate = rates[start + t if n_rates > 1 else 0]
                weight = s.weights[c] if s.weights != NULL else 1.0
                k.block_forward(op, t, w.products, w.gram, w.updates, w.activations)
                self.run_forward(k, params, next[t], w.activations, 1)
                loss = self.run_loss(k, size, s, c, next[t], weight, w)
                if not isfinite(loss):
                    bad[0] = start + t
                    break
                total += loss * weight
                for i in range(self.n_ops - 1, 0, -1):
                    n_clipped[0] += k.backward(&self.ops[i], params, params, -rate, u.clip_delta, next[t],
                                               w.activations, w.errors, w.scratch)
                n_clipped[0] += k.block_backward(op, t, -rate, u.clip_delta, w.activations, w.errors, w.scratch,
                                                 w.updates)
            memcpy(before, next, sizeof(before))
            start += count
        k.block_turn(op, params, before, w.updates, NULL, w.products, w.gram)
        return total

    def train(self, floating[::1] params, const floating[:, ::1] X, const floating[:, ::1] Y,
              const int64_t[::1] labels, const int64_t[::1] order, const double[::1] weights,
              const double[::1] rates, ptrdiff_t first_step, Update update, floating[::1] velocity,
              floating[::1] squares, floating[::1] gradient, floating[::1] workspace):
        """One epoch, or one chunk of it, in place.

        Y (M, n_outputs) or labels (M,), the other None; order: indices to visit, or None for 0..M-1; weights
        (M,) or None; rates: one learning rate per step, or a single one; first_step: steps made before; velocity,
        squares: the optimiser's state, None if it has none; gradient: None if `update.is_plain`; workspace: for
        min(batch_size, ROWS_AT_ONCE) rows.

        Returns
        -------
        loss : float
            Σ s_c ℓ_c over the samples learnt.
        n_clipped : int
            How many elements of δ were clipped.
        bad : int
            Position (in `order`) of the sample whose loss was not finite, where the pass stopped, or -1.
        """
        cdef const cmlp_kernels *k = cmlp_table(_level, floating is double)
        cdef ptrdiff_t n_clipped = 0, bad = -1, size = sizeof(floating)
        cdef double loss
        cdef bint plain = update.is_plain
        cdef Samples s
        cdef State state
        cdef ptrdiff_t rows = min(update.batch_size, <ptrdiff_t> CMLP_ROWS_AT_ONCE)
        cdef Workspace w = self.split(<char *> &workspace[0], size, rows)
        state.params = <char *> &params[0]
        state.velocity = NULL if velocity is None else <char *> &velocity[0]
        state.squares = NULL if squares is None else <char *> &squares[0]
        state.gradient = NULL if gradient is None else <char *> &gradient[0]
        set_samples(&s, X, Y, labels, weights)
        if order is not None:
            s.order = &order[0]
            s.n = order.shape[0]
        with nogil:
            if plain and self.in_blocks:
                loss = self.train_in_blocks(k, size, state.params, &s, &rates[0], rates.shape[0], update, &w,
                                            &n_clipped, &bad)
            elif plain:
                loss = self.train_plainly(k, size, state.params, &s, &rates[0], rates.shape[0], update, &w,
                                          &n_clipped, &bad)
            else:
                loss = self.train_in_batches(k, size, state, &s, &rates[0], rates.shape[0], first_step, update, &w,
                                             &n_clipped, &bad)
        return loss, n_clipped, bad

    def gradients(self, floating[::1] params, const floating[:, ::1] X, const floating[:, ::1] Y,
                  const int64_t[::1] labels, const double[::1] weights, double scale, floating[::1] gradient,
                  floating[:, ::1] activations, floating[:, ::1] errors, floating[::1] workspace):
        """gradient += scale · Σ_c s_c ∂ℓ_c/∂parameters; returns Σ s_c ℓ_c.

        activations, errors (M, n_activations): row c receives the buffers of sample c; or both None.
        """
        cdef const cmlp_kernels *k = cmlp_table(_level, floating is double)
        cdef ptrdiff_t c, n_clipped = 0
        cdef double loss = 0.0
        cdef Samples s
        cdef Workspace w
        set_samples(&s, X, Y, labels, weights)
        with nogil:
            w = self.split(<char *> &workspace[0], sizeof(floating), 1)
            for c in range(s.n):
                if activations is not None:
                    w.activations = <char *> &activations[c, 0]
                    w.errors = <char *> &errors[c, 0]
                loss += self.learn(k, sizeof(floating), &params[0], &gradient[0], scale, INFINITY, &s, c, &w,
                                   &n_clipped) * (s.weights[c] if s.weights != NULL else 1.0)
        return loss

    def predict(self, const floating[::1] params, const floating[:, ::1] X, floating[:, ::1] out,
                floating[::1] workspace):
        """out (M, n_outputs) = ŷ of every row of X; workspace: for min(M, ROWS_AT_ONCE) rows."""
        cdef const cmlp_kernels *k = cmlp_table(_level, floating is double)
        cdef ptrdiff_t start = 0, rows, r, size = sizeof(floating)
        cdef Samples s
        cdef Workspace w
        memset(&s, 0, sizeof(Samples))  # no targets are read
        s.X = <const char *> &X[0, 0]
        s.n = X.shape[0]
        with nogil:
            w = self.split(<char *> &workspace[0], size, min(s.n, <ptrdiff_t> CMLP_ROWS_AT_ONCE))
            while start < s.n:
                rows = min(<ptrdiff_t> CMLP_ROWS_AT_ONCE, s.n - start)
                if rows == 1:
                    self.run_forward(k, &params[0], &X[start, 0], w.activations)
                else:
                    self.forward_rows(k, size, &params[0], &s, start, rows, &w)
                for r in range(rows):
                    memcpy(&out[start + r, 0], w.activations + (r * self.n_activations + self.output) * size,
                           self.n_outputs * size)
                start += rows

    def forward(self, const floating[::1] params, const floating[:, ::1] X, floating[:, ::1] activations):
        """activations (M, n_activations): row c receives the activation buffer of sample c."""
        cdef const cmlp_kernels *k = cmlp_table(_level, floating is double)
        cdef ptrdiff_t c
        with nogil:
            for c in range(X.shape[0]):
                self.run_forward(k, &params[0], &X[c, 0], <char *> &activations[c, 0])

    def evaluate(self, const floating[::1] params, const floating[:, ::1] X, const floating[:, ::1] Y,
                 const int64_t[::1] labels, const double[::1] weights, floating[::1] workspace):
        """Σ s_c ℓ_c and Σ s_c [decision of sample c is right] (arg max, or every ŷ_i on y_i's side of ½)."""
        cdef const cmlp_kernels *k = cmlp_table(_level, floating is double)
        cdef ptrdiff_t c, r, size = sizeof(floating)
        cdef double loss = 0.0, correct = 0.0, weight
        cdef Samples s
        cdef Workspace w, row
        cdef const floating *y
        cdef const floating *a
        set_samples(&s, X, Y, labels, weights)
        with nogil:
            w = self.split(<char *> &workspace[0], size, min(s.n, <ptrdiff_t> CMLP_ROWS_AT_ONCE))
            for c in range(s.n):
                r = c % CMLP_ROWS_AT_ONCE
                if r == 0:
                    self.forward_rows(k, size, &params[0], &s, c, min(<ptrdiff_t> CMLP_ROWS_AT_ONCE, s.n - c), &w)
                weight = s.weights[c] if s.weights != NULL else 1.0
                row.activations = w.activations + r * self.n_activations * size
                row.errors = w.errors + r * self.n_activations * size
                loss += weight * self.run_loss(k, size, &s, c, &X[c, 0], 1.0, &row)
                a = <const floating *> row.activations + self.output
                y = NULL
                if s.Y != NULL:
                    y = (<const floating *> s.Y) + c * self.n_outputs
                if self.loss == CMLP_CROSS_ENTROPY:
                    correct += weight * (arg_max(a, self.n_outputs)
                                         == (s.labels[c] if y == NULL else arg_max(y, self.n_outputs)))
                elif self.loss == CMLP_BINARY_CROSS_ENTROPY:
                    correct += weight * same_side(a, y, self.n_outputs)
        return loss, correct


cdef class OneRow:
    """Predicts and learns one sample per call, with the least that a call from Python can cost.

    Both methods return None, and do nothing, for whatever is not the plain case: the slow path checks and explains.
    The GIL is held, so one workspace serves all threads, and nothing but the result is allocated.

    Attributes
    ----------
    rate : float
        γ of plain SGD, if it is constant; NaN otherwise: then `learn` always returns None.
    """
    cdef Program program
    cdef object parameters, workspace  # what the pointers below point into
    cdef void *params
    cdef Workspace w
    cdef ptrdiff_t size
    cdef bint is_double
    cdef int type_number
    cdef public double rate

    def __init__(self, Program program, cnp.ndarray parameters, cnp.ndarray workspace):
        self.program = program
        self.parameters = parameters
        self.workspace = workspace
        self.params = cnp.PyArray_DATA(parameters)
        self.type_number = cnp.PyArray_TYPE(parameters)
        self.is_double = self.type_number == <int> cnp.NPY_DOUBLE
        self.size = sizeof(double) if self.is_double else sizeof(float)
        self.w = program.split(<char *> cnp.PyArray_DATA(workspace), self.size, 1)
        self.rate = float("nan")

    cdef const void *data_of(self, const cmlp_kernels *k, object values, ptrdiff_t n):
        """Where the values lie if they are a fitting, finite array (n,); else NULL."""
        if type(values) is not cnp.ndarray:
            return NULL
        cdef cnp.ndarray array = values
        if (cnp.PyArray_TYPE(array) != self.type_number or cnp.PyArray_NDIM(array) != 1
                or cnp.PyArray_DIM(array, 0) != n or not cnp.PyArray_ISCARRAY_RO(array)):
            return NULL
        cdef const void *data = cnp.PyArray_DATA(array)
        return data if k.first_nonfinite(n, data) < 0 else NULL

    def predict(self, x):
        """ŷ (n_outputs,) of x (n_inputs,), or None."""
        cdef const cmlp_kernels *k = cmlp_table(_level, self.is_double)
        cdef const void *data = self.data_of(k, x, self.program.n_inputs)
        if data == NULL:
            return None
        cdef cnp.npy_intp shape = self.program.n_outputs
        out = cnp.PyArray_EMPTY(1, &shape, self.type_number, 0)
        self.program.run_forward(k, self.params, data, self.w.activations)
        memcpy(cnp.PyArray_DATA(out), self.w.activations + self.program.output * self.size, shape * self.size)
        return out

    def learn(self, x, y, clip_delta):
        """ℓ before the plain SGD step on x (n_inputs,) and its target, or None; clip_delta: ψ as a float, or None."""
        cdef const cmlp_kernels *k = cmlp_table(_level, self.is_double)
        cdef const void *data = self.data_of(k, x, self.program.n_inputs)
        cdef double psi = INFINITY, as_double, loss
        cdef float as_float
        cdef int64_t label
        cdef ptrdiff_t n_clipped = 0
        cdef Samples s
        if data == NULL or not self.rate > 0.0:
            return None
        if clip_delta is not None:
            if type(clip_delta) is not float or not 0.0 < clip_delta < INFINITY:
                return None
            psi = clip_delta
        memset(&s, 0, sizeof(Samples))
        s.X = <const char *> data
        s.n = 1
        if self.program.loss == CMLP_CROSS_ENTROPY:
            if type(y) is not int or not 0 <= y < self.program.n_outputs:
                return None
            label = y
            s.labels = &label
        elif self.program.loss == CMLP_BINARY_CROSS_ENTROPY:
            if self.program.n_outputs != 1 or type(y) not in (int, float) or not 0 <= y <= 1:
                return None
        if self.program.loss != CMLP_CROSS_ENTROPY:
            if self.program.n_outputs == 1 and type(y) in (int, float) and -1e30 < y < 1e30:
                as_double = y
                as_float = <float> as_double
                s.Y = <const char *> &as_double if self.is_double else <const char *> &as_float
            else:
                s.Y = <const char *> self.data_of(k, y, self.program.n_outputs)
            if s.Y == NULL:
                return None
        loss = self.program.learn(k, self.size, self.params, self.params, -self.rate, psi, &s, 0, &self.w, &n_clipped)
        return loss if isfinite(loss) else None  # nothing was learnt then


cdef void set_samples(Samples *s, const floating[:, ::1] X, const floating[:, ::1] Y, const int64_t[::1] labels,
                      const double[::1] weights) noexcept:
    memset(s, 0, sizeof(Samples))
    s.X = <const char *> &X[0, 0]
    s.n = X.shape[0]
    if Y is not None:
        s.Y = <const char *> &Y[0, 0]
    if labels is not None:
        s.labels = &labels[0]
    if weights is not None:
        s.weights = &weights[0]


cdef void step_slice(const cmlp_kernels *k, ptrdiff_t size, State state, ptrdiff_t at, ptrdiff_t n, double scale,
                     double rate, ptrdiff_t t, Update u, double decay) noexcept nogil:
    """Step t of the optimiser for n parameters from `at` on, with the gradient times `scale`."""
    cdef char *params = state.params + at * size
    cdef char *velocity = NULL if state.velocity == NULL else state.velocity + at * size
    cdef double c1, c2
    if u.adam:  # bias corrections: m / (1 - β₁ᵗ⁺¹) and √(v / (1 - β₂ᵗ⁺¹))
        c1 = 1.0 - u.beta1 ** (t + 1)
        c2 = sqrt(1.0 - u.beta2 ** (t + 1))
        k.adam_step(n, params, velocity, state.squares + at * size, state.gradient + at * size, scale, rate * c2 / c1,
                    u.beta1, u.beta2, u.eps * c2, decay)
    else:
        k.sgd_step(n, params, velocity, state.gradient + at * size, scale, rate, u.momentum, u.nesterov, decay)


cdef ptrdiff_t sample_at(const Samples *s, ptrdiff_t position) noexcept nogil:
    return s.order[position] if s.order != NULL else position


cdef ptrdiff_t arg_max(const floating *values, ptrdiff_t n) noexcept nogil:
    cdef ptrdiff_t i, best = 0
    for i in range(1, n):
        if values[i] > values[best]:
            best = i
    return best


cdef bint same_side(const floating *a, const floating *y, ptrdiff_t n) noexcept nogil:
    cdef ptrdiff_t i
    for i in range(n):
        if (a[i] > 0.5) != (y[i] > 0.5):
            return False
    return True
