# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled core: runs a program forward, backward and through the update, without the GIL.

It trusts its inputs (shapes, dtypes, finite values, sizes of buffers): the Python side checks them.
"""
import os

from cython cimport floating
from libc.math cimport INFINITY, isfinite, sqrt
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from kernels cimport (
    CMLP_ALIGN, CMLP_BINARY_CROSS_ENTROPY, CMLP_CROSS_ENTROPY, CMLP_DENSE, CMLP_ROWS, cmlp_highest_level, cmlp_kernels,
    cmlp_op, cmlp_table,
)

LEVELS = ("baseline", "avx2", "avx512")
ALIGN = CMLP_ALIGN  # bytes

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

    Infinite thresholds switch a clipping off. `clip_delta` is ψ, applied to every δ of every sample.
    """
    cdef readonly ptrdiff_t batch_size
    cdef readonly bint mean, nesterov
    cdef readonly double clip_delta, clip_value, clip_norm, momentum, weight_decay

    def __init__(self, *, ptrdiff_t batch_size=1, bint mean=True, double clip_delta=INFINITY,
                 double clip_value=INFINITY, double clip_norm=INFINITY, double momentum=0.0,
                 bint nesterov=False, double weight_decay=0.0):
        self.batch_size = batch_size
        self.mean = mean
        self.clip_delta = clip_delta
        self.clip_value = clip_value
        self.clip_norm = clip_norm
        self.momentum = momentum
        self.nesterov = nesterov
        self.weight_decay = weight_decay

    @property
    def is_plain(self):
        """Whether one sample's δ can go straight into the weights, without a gradient buffer."""
        return (self.batch_size == 1 and self.momentum == 0.0 and self.weight_decay == 0.0
                and self.clip_value == INFINITY and self.clip_norm == INFINITY)


# Where one worker computes: activations and errors (n_activations,), scratch for two error terms.
cdef struct Workspace:
    char *activations
    char *errors
    char *scratch


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
    n_inputs, n_outputs, n_activations, n_parameters, width : int
        Elements of x, of ŷ, of the activation buffer, of the parameter vector, of the widest layer;
        the buffers' sizes include their padding.
    output : int
        Where ŷ lies in the activation buffer.
    loss : int
    fused : bool
        The last operation's activation and the loss are a natural pair: the loss gives δ itself.
    """
    cdef cmlp_op *ops
    cdef int n_ops, loss
    cdef bint fused
    cdef ptrdiff_t output
    cdef readonly ptrdiff_t n_inputs, n_outputs, n_activations, n_parameters, width

    def __cinit__(self, ops, *, ptrdiff_t n_inputs, ptrdiff_t n_outputs, ptrdiff_t n_activations,
                  ptrdiff_t n_parameters, ptrdiff_t width, ptrdiff_t output, int loss, bint fused):
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
        self.output = output
        self.loss = loss
        self.fused = fused

    def __dealloc__(self):
        free(self.ops)

    @property
    def workspace_size(self):
        """Elements of the workspace that the methods below ask for."""
        return 2 * self.n_activations + 2 * self.width

    cdef Workspace split(self, char *workspace, ptrdiff_t size) noexcept nogil:
        cdef Workspace w
        w.activations = workspace
        w.errors = workspace + self.n_activations * size
        w.scratch = workspace + 2 * self.n_activations * size
        return w

    cdef void run_forward(self, const cmlp_kernels *k, const void *params, const void *x,
                          char *activations) noexcept nogil:
        """a_k = f_k(W_kᵀ a_{k-1} + b_k) for k = 1..N, whatever the composition."""
        cdef int i
        for i in range(self.n_ops):
            k.forward(&self.ops[i], params, x, activations)

    cdef double run_loss(self, const cmlp_kernels *k, ptrdiff_t size, const Samples *s, ptrdiff_t c,
                         const void *x, double weight, Workspace w) noexcept nogil:
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
                      double clip_delta, const Samples *s, ptrdiff_t c, Workspace w,
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

    cdef void step(self, const cmlp_kernels *k, ptrdiff_t size, char *params, char *velocity, char *gradient,
                   double rate, Update u) noexcept nogil:
        """Clips the gradient by value, then by global norm, and takes one SGD step."""
        cdef double scale = 1.0, norm
        cdef ptrdiff_t n, at
        cdef int i
        if u.clip_value != INFINITY:
            k.clip(self.n_parameters, gradient, u.clip_value)
        if u.clip_norm != INFINITY:
            norm = sqrt(k.sum_of_squares(self.n_parameters, gradient))
            scale = u.clip_norm / norm if norm > u.clip_norm else 1.0
        if u.weight_decay == 0.0:
            k.sgd_step(self.n_parameters, params, velocity, gradient, scale, rate, u.momentum, u.nesterov, 0.0)
            return
        for i in range(self.n_ops):  # λ acts on weights, not on biases
            if self.ops[i].kind != CMLP_DENSE:
                continue
            at = self.ops[i].weights * size
            n = self.ops[i].ld * (self.ops[i].n_in if self.ops[i].layout == CMLP_ROWS else self.ops[i].n_out)
            k.sgd_step(n, params + at, NULL if velocity == NULL else velocity + at, gradient + at, scale, rate,
                       u.momentum, u.nesterov, u.weight_decay)
            if self.ops[i].biases >= 0:
                at = self.ops[i].biases * size
                k.sgd_step(self.ops[i].n_out, params + at, NULL if velocity == NULL else velocity + at,
                           gradient + at, scale, rate, u.momentum, u.nesterov, 0.0)

    cdef double train_batches(self, const cmlp_kernels *k, ptrdiff_t size, char *params, char *velocity,
                              char *gradient, const Samples *s, const double *rates, ptrdiff_t n_rates, Update u,
                              bint plain, Workspace w, ptrdiff_t *n_clipped,
                              ptrdiff_t *bad) noexcept nogil:
        """One pass over the samples in order. Returns Σ s_c ℓ_c; stops at the first loss that is not finite."""
        cdef ptrdiff_t t = 0, i, c, start = 0, stop
        cdef double total = 0.0, loss, rate, share
        while start < s.n:
            stop = min(start + u.batch_size, s.n)
            rate = rates[t if n_rates > 1 else 0]
            share = 1.0 / (stop - start) if u.mean else 1.0
            if not plain:
                memset(gradient, 0, self.n_parameters * size)
            for i in range(start, stop):
                c = s.order[i] if s.order != NULL else i
                loss = self.learn(k, size, params, params if plain else gradient, -rate if plain else share,
                                  u.clip_delta, s, c, w, n_clipped)
                if not isfinite(loss):
                    bad[0] = i
                    return total
                total += loss * (s.weights[c] if s.weights != NULL else 1.0)
            if not plain:
                self.step(k, size, params, velocity, gradient, rate, u)
            start = stop
            t += 1
        return total

    def train(self, floating[::1] params, const floating[:, ::1] X, const floating[:, ::1] Y,
              const int64_t[::1] labels, const int64_t[::1] order, const double[::1] weights,
              const double[::1] rates, Update update, floating[::1] velocity, floating[::1] gradient,
              floating[::1] workspace):
        """One epoch, or one chunk of it, of SGD in place.

        Y (M, n_outputs) or labels (M,), the other None; order: indices to visit, or None for 0..M-1; weights
        (M,) or None; rates: one learning rate per step, or a single one; velocity: None without momentum;
        gradient: None if `update.is_plain`.

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
        cdef ptrdiff_t n_clipped = 0, bad = -1
        cdef double loss
        cdef bint plain = update.is_plain
        cdef Samples s
        cdef char *v = NULL if velocity is None else <char *> &velocity[0]
        cdef char *g = NULL if gradient is None else <char *> &gradient[0]
        set_samples(&s, X, Y, labels, weights)
        if order is not None:
            s.order = &order[0]
            s.n = order.shape[0]
        with nogil:
            loss = self.train_batches(k, sizeof(floating), <char *> &params[0], v, g, &s, &rates[0],
                                      rates.shape[0], update, plain,
                                      self.split(<char *> &workspace[0], sizeof(floating)), &n_clipped, &bad)
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
            w = self.split(<char *> &workspace[0], sizeof(floating))
            for c in range(s.n):
                if activations is not None:
                    w.activations = <char *> &activations[c, 0]
                    w.errors = <char *> &errors[c, 0]
                loss += self.learn(k, sizeof(floating), &params[0], &gradient[0], scale, INFINITY, &s, c, w,
                                   &n_clipped) * (s.weights[c] if s.weights != NULL else 1.0)
        return loss

    def predict(self, const floating[::1] params, const floating[:, ::1] X, floating[:, ::1] out,
                floating[::1] workspace):
        """out (M, n_outputs) = ŷ of every row of X."""
        cdef const cmlp_kernels *k = cmlp_table(_level, floating is double)
        cdef ptrdiff_t c
        cdef floating *activations = &workspace[0]
        with nogil:
            for c in range(X.shape[0]):
                self.run_forward(k, &params[0], &X[c, 0], <char *> activations)
                memcpy(&out[c, 0], activations + self.output, self.n_outputs * sizeof(floating))

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
        cdef ptrdiff_t c
        cdef double loss = 0.0, correct = 0.0, weight
        cdef Samples s
        cdef Workspace w
        cdef const floating *y
        set_samples(&s, X, Y, labels, weights)
        with nogil:
            w = self.split(<char *> &workspace[0], sizeof(floating))
            for c in range(s.n):
                weight = s.weights[c] if s.weights != NULL else 1.0
                self.run_forward(k, &params[0], &X[c, 0], w.activations)
                loss += weight * self.run_loss(k, sizeof(floating), &s, c, &X[c, 0], 1.0, w)
                y = NULL
                if s.Y != NULL:
                    y = (<const floating *> s.Y) + c * self.n_outputs
                if self.loss == CMLP_CROSS_ENTROPY:
                    correct += weight * (arg_max(<const floating *> w.activations + self.output, self.n_outputs)
                                         == (s.labels[c] if y == NULL else arg_max(y, self.n_outputs)))
                elif self.loss == CMLP_BINARY_CROSS_ENTROPY:
                    correct += weight * same_side(<const floating *> w.activations + self.output, y, self.n_outputs)
        return loss, correct


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
