# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled core: runs a program forward, backward and through the update, without the GIL.

It trusts its inputs (shapes, dtypes, finite values, sizes of buffers): the Python side checks them.
"""
import os

cimport numpy as cnp
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from cython cimport floating
from libc.math cimport INFINITY, isfinite, sqrt
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from kernels cimport (
    CMLP_ADAM, CMLP_ALIGN, CMLP_BINARY_CROSS_ENTROPY, CMLP_BLOCK, CMLP_CAPSULE, CMLP_CROSS_ENTROPY, CMLP_DENSE,
    CMLP_HINGE, CMLP_MOST_STATES, CMLP_MOST_THREADS, CMLP_NO_STEP, CMLP_POISSON, CMLP_ROWS, CMLP_ROWS_AT_ONCE, CMLP_SGD,
    cmlp_barrier, cmlp_highest_level, cmlp_kernels, cmlp_mask_key, cmlp_network, cmlp_op, cmlp_run_team, cmlp_step,
    cmlp_table, cmlp_wait_for_team,
)

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


def standardize(const floating[:, ::1] X, const floating[::1] mean, const floating[::1] scale, floating[:, ::1] out):
    """out (M, n) = (X - mean) ⊙ scale."""
    cdef const cmlp_kernels *k = cmlp_table(_level, floating is double)
    cdef ptrdiff_t r
    with nogil:
        for r in range(X.shape[0]):
            k.standardize(X.shape[1], &X[r, 0], &mean[0], &scale[0], &out[r, 0])


include "loops.pxi"


cdef class Update:
    """How gradients become steps: the settings of one training run.

    Infinite thresholds switch a clipping off. `clip_delta` is ψ, applied to every δ of every sample. `rule` is a value
    of `cmlp.optimizers.RULES`; what follows it are settings of `cmlp_step` (kernels.h), of which a rule reads its own.
    `max_norm` limits the norm of every unit's incoming weights; `average_decay` is d of the average over the steps, if
    one is kept; `dropout_seed` is for the masks of the operations with dropout, None switches dropout off.

    With `weighted_mean`, a batch's objective is that of scikit-learn, (Σ s_c ℓ_c + ½ α Σ‖W‖²) / Σ s_c; `train` then
    returns the sum over the batches of number of samples · objective, in it loss_scale · ℓ_c for ℓ_c. With `eps_hat`,
    Adam's ε is added to √v as it is, not to √v̂ (Kingma and Ba, end of section 2).
    """
    cdef Settings settings

    def __init__(self, *, ptrdiff_t batch_size=1, bint mean=True, double clip_delta=INFINITY,
                 double clip_value=INFINITY, double clip_norm=INFINITY, double weight_decay=0.0, bint decoupled=False,
                 int rule=CMLP_SGD, bint nesterov=False, bint amsgrad=False, bint centered=False, double momentum=0.0,
                 double beta1=0.0, double beta2=0.0, double eps=0.0, double increase=0.0, double decrease=0.0,
                 double least=0.0, double most=0.0, double l1=0.0, double max_norm=INFINITY, average_decay=None,
                 dropout_seed=None, bint weighted_mean=False, double alpha=0.0, double loss_scale=1.0,
                 bint eps_hat=False):
        cdef Settings *u = &self.settings
        cdef cmlp_step *s = &u.step  # zeroed, as all of a new object
        u.batch_size, u.mean, u.weight_decay, u.decoupled = batch_size, mean, weight_decay, decoupled
        u.clip_delta, u.clip_value, u.clip_norm = clip_delta, clip_value, clip_norm
        s.rule, s.nesterov, s.amsgrad, s.centered = rule, nesterov, amsgrad, centered
        s.momentum, s.beta1, s.beta2, s.eps = momentum, beta1, beta2, eps
        s.increase, s.decrease, s.least, s.most = increase, decrease, least, most
        u.l1, u.max_norm = l1, max_norm
        u.average_decay = -1.0 if average_decay is None else average_decay
        u.dropout, u.seed = dropout_seed is not None, 0 if dropout_seed is None else dropout_seed
        u.weighted_mean, u.alpha, u.loss_scale, u.eps_hat = weighted_mean, alpha, loss_scale, eps_hat

    @property
    def batch_size(self):
        """Samples per step."""
        return self.settings.batch_size

    @property
    def mean(self):
        """Whether a batch's gradient is the mean over its samples, not the sum."""
        return self.settings.mean

    @property
    def weight_decay(self):
        """λ."""
        return self.settings.weight_decay

    @property
    def l1(self):
        """λ₁."""
        return self.settings.l1

    @property
    def is_plain(self):
        """Whether one sample's δ can go straight into the weights, without a gradient buffer."""
        cdef Settings *u = &self.settings
        return (u.batch_size == 1 and u.step.rule == CMLP_SGD and u.step.momentum == 0.0 and u.weight_decay == 0.0
                and u.clip_value == INFINITY and u.clip_norm == INFINITY and u.l1 == 0.0 and u.max_norm == INFINITY
                and u.average_decay < 0.0 and not u.dropout and u.alpha == 0.0 and not u.weighted_mean)


cdef class Program:
    """A network lowered to operations over one parameter vector and one activation buffer.

    Parameters
    ----------
    ops : sequence of objects with the attributes of `cmlp_op` (kernels.h)
    n_inputs, n_outputs, n_activations, n_parameters, n_deltas, width, x_stride : int
        Elements of x, of ŷ, of the activation buffer, of the parameter vector, of the δ of all dense layers, of the
        widest layer and of an own copy of x; the buffers' sizes include their padding.
    output : int
        Where ŷ lies in the activation buffer.
    loss : int
    loss_parameter : float
        δ of huber, q of quantile, the label smoothing of cross_entropy.
    fused : bool
        The last operation's activation and the loss are a natural pair: the loss gives δ itself.
    in_blocks : bool
        Whether plain per-sample SGD takes the first operation's samples in blocks (block.h), which gives the same
        numbers but for rounding; only if no other operation reads x.
    """
    cdef Net net

    def __cinit__(self, ops, *, ptrdiff_t n_inputs, ptrdiff_t n_outputs, ptrdiff_t n_activations,
                  ptrdiff_t n_parameters, ptrdiff_t n_deltas, ptrdiff_t width, ptrdiff_t x_stride, ptrdiff_t output,
                  int loss, double loss_parameter, bint fused, bint in_blocks):
        self.net = Net(
            ops=<cmlp_op *> calloc(len(ops), sizeof(cmlp_op)), n_ops=len(ops), loss=loss,
            loss_parameter=loss_parameter, fused=fused, in_blocks=in_blocks, n_inputs=n_inputs, n_outputs=n_outputs,
            n_activations=n_activations, n_parameters=n_parameters, n_deltas=n_deltas, width=width, x_stride=x_stride,
            output=output, k=NULL, size=0)
        if self.net.ops == NULL:
            raise MemoryError("no memory for the program's operations")
        for i, op in enumerate(ops):
            self.net.ops[i] = cmlp_op(
                kind=op.kind, activation=op.activation, layout=op.layout, accumulate=op.accumulate,
                input_gradient=op.input_gradient, fused=op.fused, n_in=op.n_in, n_out=op.n_out, in_=op.source,
                z=op.z, out=op.out, nonzero_in=op.nonzero_in, nonzero_out=op.nonzero_out, weights=op.weights, ld=op.ld,
                biases=op.biases, delta=op.delta, alpha=op.alpha, dropout=op.dropout)

    def __dealloc__(self):
        free(self.net.ops)

    @property
    def n_outputs(self):
        """Elements of ŷ."""
        return self.net.n_outputs

    @property
    def n_activations(self):
        """Elements of the activation buffer, padding included."""
        return self.net.n_activations

    @property
    def n_parameters(self):
        """Elements of the parameter vector, padding included."""
        return self.net.n_parameters

    @property
    def width(self):
        """Elements of the widest layer, padding included."""
        return self.net.width

    @property
    def in_blocks(self):
        """Whether plain per-sample SGD takes the samples in blocks; tests set it."""
        return self.net.in_blocks

    @in_blocks.setter
    def in_blocks(self, bint in_blocks):
        self.net.in_blocks = in_blocks

    def workspace_size(self, ptrdiff_t rows, int n_threads=1):
        """Elements of a workspace for `rows` samples at a time (at most ROWS_AT_ONCE per thread)."""
        return (rows * (2 * self.net.n_activations + self.net.x_stride + self.net.n_deltas)
                + (2 * n_threads + 3 * CMLP_BLOCK) * self.net.width + CMLP_BLOCK * CMLP_BLOCK)

    cdef Net at_work(self, ptrdiff_t size) noexcept:
        """The network with the kernels for elements of this size."""
        cdef Net net = self.net
        net.k = cmlp_table(_level, size == sizeof(double))
        net.size = size
        return net

    def train(self, floating[::1] params, const floating[:, ::1] X, const floating[:, ::1] Y,
              const int64_t[::1] labels, const int64_t[::1] order, const double[::1] weights,
              const double[::1] rates, ptrdiff_t first_step, Update update, tuple state, double[::1] last_loss,
              floating[::1] gradient, floating[::1] workspace, int n_threads=1, floating[::1] average=None,
              bint check_x=False):
        """One epoch, or one chunk of it, in place.

        Y (M, n_outputs) or labels (M,), the other None; order: indices to visit, or None for 0..M-1; weights
        (M,) or None; rates: one learning rate per step, or a single one; first_step: steps made before; state: the
        optimiser's arrays, each like params; last_loss (1,): Σ s_c ℓ_c of the last batch, read and written; gradient:
        None if `update.is_plain`; workspace: for min(batch_size, n_threads · ROWS_AT_ONCE) rows. Only batches are
        divided among threads. average: follows the parameters, if not None. check_x: if `update.is_plain`, stop at an x
        with NaN or infinity before learning from it. With the rule CMLP_NO_STEP nothing is learnt: `gradient` is that
        of the last batch.

        Returns
        -------
        loss : float
            Σ s_c ℓ_c over the samples learnt.
        n_clipped : int
            How many elements of δ were clipped.
        bad : int
            Position (in `order`) of the sample whose loss was not finite, where the pass stopped, or -1.
        """
        cdef Net net = self.at_work(sizeof(floating))
        cdef Samples s
        cdef Settings u = update.settings
        cdef Rates gammas = Rates(&rates[0], rates.shape[0], first_step)
        cdef ptrdiff_t rows = min(u.batch_size, n_threads * <ptrdiff_t> CMLP_ROWS_AT_ONCE)
        cdef Workspace w = split(&net, <char *> &workspace[0], rows, n_threads)
        cdef double losses[CMLP_MOST_THREADS * CMLP_ROWS_AT_ONCE]
        cdef Job job
        cdef bint plain = update.is_plain
        memset(&job, 0, sizeof(Job))
        job.p, job.s, job.u, job.rates, job.w = &net, &s, &u, &gammas, &w
        job.rows_at_once, job.losses, job.scale = rows, losses, 1.0
        job.state.params = <char *> &params[0]
        job.state.gradient = NULL if gradient is None else <char *> &gradient[0]
        job.state.average = NULL if average is None else <char *> &average[0]
        job.state.last_loss = last_loss[0]
        for i, vector in enumerate(state):
            job.state.vectors[i] = <char *> cnp.PyArray_DATA(vector)
        job.result.bad = -1
        set_samples(&s, X, Y, labels, weights)
        s.check_x = check_x
        if order is not None:
            s.order = &order[0]
            s.n = order.shape[0]
        with nogil:
            if plain and net.in_blocks:
                train_in_blocks(&net, job.state.params, &s, &gammas, &u, &w, &job.result)
            elif plain:
                train_plainly(&net, job.state.params, &s, &gammas, &u, &w, &job.result)
            else:
                cmlp_run_team(n_threads, train_in_batches, &job)
        last_loss[0] = job.state.last_loss
        return job.result.loss, job.result.n_clipped + sum(job.n_clipped), job.result.bad

    def gradients(self, floating[::1] params, const floating[:, ::1] X, const floating[:, ::1] Y,
                  const int64_t[::1] labels, const double[::1] weights, double scale, floating[::1] gradient,
                  floating[:, ::1] activations, floating[:, ::1] errors, floating[::1] workspace):
        """gradient += scale · Σ_c s_c ∂ℓ_c/∂parameters; returns Σ s_c ℓ_c.

        activations, errors (M, n_activations): row c receives the buffers of sample c; or both None.
        """
        cdef Net net = self.at_work(sizeof(floating))
        cdef ptrdiff_t c, n_clipped = 0
        cdef double loss = 0.0
        cdef Samples s
        cdef Workspace w = split(&net, <char *> &workspace[0], 1, 1)
        set_samples(&s, X, Y, labels, weights)
        with nogil:
            for c in range(s.n):
                if activations is not None:
                    w.activations = <char *> &activations[c, 0]
                    w.errors = <char *> &errors[c, 0]
                loss += weight_of(&s, c) * learn(&net, &params[0], &gradient[0], scale, INFINITY, &s, c, &w,
                                                 &n_clipped)
        return loss

    def predict(self, const floating[::1] params, const floating[:, ::1] X, floating[:, ::1] out,
                floating[::1] workspace, int n_threads=1):
        """out (M, n_outputs) = ŷ of every row of X; workspace: for min(M, n_threads · ROWS_AT_ONCE) rows."""
        cdef Net net = self.at_work(sizeof(floating))
        cdef Samples s
        cdef Workspace w
        cdef Job job
        memset(&s, 0, sizeof(Samples))  # no targets are read
        s.X = <const char *> &X[0, 0]
        s.n = X.shape[0]
        w = split(&net, <char *> &workspace[0], min(s.n, n_threads * <ptrdiff_t> CMLP_ROWS_AT_ONCE), n_threads)
        memset(&job, 0, sizeof(Job))
        job.p, job.s, job.w = &net, &s, &w
        job.state.params = <char *> &params[0]
        job.out = <char *> &out[0, 0]
        with nogil:
            cmlp_run_team(n_threads, predict_rows, &job)

    def forward(self, const floating[::1] params, const floating[:, ::1] X, floating[:, ::1] activations):
        """activations (M, n_activations): row c receives the activation buffer of sample c."""
        cdef Net net = self.at_work(sizeof(floating))
        cdef ptrdiff_t c
        with nogil:
            for c in range(X.shape[0]):
                run_forward(&net, &params[0], &X[c, 0], <char *> &activations[c, 0], 0)

    def evaluate(self, const floating[::1] params, const floating[:, ::1] X, const floating[:, ::1] Y,
                 const int64_t[::1] labels, const double[::1] weights, floating[::1] workspace):
        """Σ s_c ℓ_c and Σ s_c [decision of sample c is right].

        The decision is the arg max for classes, otherwise it is on which side of ½ (hinge: of 0) every ŷ_i is.
        """
        cdef Net net = self.at_work(sizeof(floating))
        cdef ptrdiff_t c, r, size = sizeof(floating), n = net.n_outputs
        cdef double loss = 0.0, correct = 0.0
        cdef Samples s
        cdef Workspace w
        cdef char *activations
        cdef const floating *y = NULL
        cdef const floating *a
        set_samples(&s, X, Y, labels, weights)
        w = split(&net, <char *> &workspace[0], min(s.n, <ptrdiff_t> CMLP_ROWS_AT_ONCE), 1)
        with nogil:
            for c in range(s.n):
                r = c % CMLP_ROWS_AT_ONCE
                if r == 0:
                    forward_rows(&net, &params[0], &s, c, 0, min(<ptrdiff_t> CMLP_ROWS_AT_ONCE, s.n - c), &w,
                                 NULL)
                activations = w.activations + r * net.n_activations * size
                loss += weight_of(&s, c) * run_loss(&net, &s, c, &X[c, 0], 1.0, activations,
                                                    w.errors + r * net.n_activations * size)
                a = <const floating *> activations + net.output
                if s.Y != NULL:
                    y = (<const floating *> s.Y) + c * n
                if s.labels != NULL:
                    correct += weight_of(&s, c) * (arg_max(a, n) == s.labels[c])
                elif net.loss == CMLP_CROSS_ENTROPY:
                    correct += weight_of(&s, c) * (arg_max(a, n) == arg_max(y, n))
                elif net.loss == CMLP_BINARY_CROSS_ENTROPY:
                    correct += weight_of(&s, c) * same_side(a, y, 0.5, n)
                elif net.loss == CMLP_HINGE:
                    correct += weight_of(&s, c) * same_side(a, y, 0.0, n)
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
    cdef object program, parameters, workspace, scaling  # what the pointers below point into
    cdef object before  # the scaling before a step that may fail
    cdef Net net
    cdef void *params
    cdef double *count  # of the scaling: N, μ, S, and μ and 1/σ as the network's type
    cdef double *means
    cdef double *squares
    cdef void *mean  # NULL: x is not standardised
    cdef void *scale
    cdef Workspace w
    cdef bint is_double
    cdef int type_number
    cdef public double rate

    def __init__(self, Program program, cnp.ndarray parameters, cnp.ndarray workspace, scaling=None):
        """scaling: the live arrays of a cmlp._engine.scaling.Scaling that standardises, or None."""
        self.scaling = scaling
        self.before = None if scaling is None else [array.copy() for array in scaling]
        self.mean = self.scale = NULL
        if scaling is not None:
            self.count, self.means, self.squares = (
                <double *> cnp.PyArray_DATA(scaling[0]), <double *> cnp.PyArray_DATA(scaling[1]),
                <double *> cnp.PyArray_DATA(scaling[2]))
            self.mean, self.scale = cnp.PyArray_DATA(scaling[3]), cnp.PyArray_DATA(scaling[4])
        self.program = program
        self.parameters = parameters
        self.workspace = workspace
        self.params = cnp.PyArray_DATA(parameters)
        self.type_number = cnp.PyArray_TYPE(parameters)
        self.is_double = self.type_number == <int> cnp.NPY_DOUBLE
        self.net = program.at_work(sizeof(double) if self.is_double else sizeof(float))
        self.w = split(&self.net, <char *> cnp.PyArray_DATA(workspace), 1, 1)
        self.rate = float("nan")

    cdef const void *data_of(self, object values, ptrdiff_t n):
        """Where the values lie if they are a fitting, finite array (n,); else NULL."""
        if type(values) is not cnp.ndarray:
            return NULL
        cdef cnp.ndarray array = values
        if (cnp.PyArray_TYPE(array) != self.type_number or cnp.PyArray_NDIM(array) != 1
                or cnp.PyArray_DIM(array, 0) != n or not cnp.PyArray_ISCARRAY_RO(array)):
            return NULL
        cdef const void *data = cnp.PyArray_DATA(array)
        return data if self.net.k.first_nonfinite(n, data) < 0 else NULL

    cdef const void *standardized(self, const void *x) noexcept:
        """x (n_inputs,) as the layers want it."""
        if self.mean == NULL:
            return x
        self.net.k.standardize(self.net.n_inputs, x, self.mean, self.scale, self.w.x)
        return self.w.x

    cdef void copy_scaling(self, object source, object target):
        for from_array, to_array in zip(source, target):
            memcpy(cnp.PyArray_DATA(to_array), cnp.PyArray_DATA(from_array), cnp.PyArray_NBYTES(to_array))

    def predict(self, x):
        """ŷ (n_outputs,) of x (n_inputs,), or None."""
        self.net.k = cmlp_table(_level, self.is_double)
        cdef const void *data = self.data_of(x, self.net.n_inputs)
        if data == NULL:
            return None
        data = self.standardized(data)
        cdef cnp.npy_intp shape = self.net.n_outputs
        out = cnp.PyArray_EMPTY(1, &shape, self.type_number, 0)
        run_forward(&self.net, self.params, data, self.w.activations, 0)
        memcpy(cnp.PyArray_DATA(out), self.w.activations + self.net.output * self.net.size, shape * self.net.size)
        return out

    def learn(self, x, y, clip_delta):
        """ℓ before the plain SGD step on x (n_inputs,) and its target, or None; clip_delta: ψ as a float, or None."""
        self.net.k = cmlp_table(_level, self.is_double)
        cdef const void *data = self.data_of(x, self.net.n_inputs)
        cdef double psi = INFINITY, as_double, loss
        cdef float as_float
        cdef int64_t label
        cdef ptrdiff_t n_clipped = 0
        cdef Samples s
        cdef bint finite = True
        if data == NULL or not self.rate > 0.0:
            return None
        if clip_delta is not None:
            if type(clip_delta) is not float or not 0.0 < clip_delta < INFINITY:
                return None
            psi = clip_delta
        memset(&s, 0, sizeof(Samples))
        s.n = 1
        if self.net.loss == CMLP_CROSS_ENTROPY or (self.net.loss == CMLP_HINGE and self.net.n_outputs > 1):
            if type(y) is not int or not 0 <= y < self.net.n_outputs:
                return None
            label = y
            s.labels = &label
        elif self.net.loss in (CMLP_BINARY_CROSS_ENTROPY, CMLP_POISSON, CMLP_HINGE):
            if self.net.n_outputs != 1 or type(y) not in (int, float) or not is_target(self.net.loss, y):
                return None
        if s.labels == NULL:
            if self.net.n_outputs == 1 and type(y) in (int, float) and -1e30 < y < 1e30:
                as_double = y
                as_float = <float> as_double
                s.Y = <const char *> &as_double if self.is_double else <const char *> &as_float
            else:
                s.Y = <const char *> self.data_of(y, self.net.n_outputs)
            if s.Y == NULL:
                return None
        if self.mean != NULL:
            self.copy_scaling(self.scaling, self.before)
            finite = self.net.k.learn_scale(self.net.n_inputs, data, self.count, self.means, self.squares, self.mean,
                                            self.scale)
        s.X = <const char *> self.standardized(data)
        if finite:
            loss = learn(&self.net, self.params, self.params, -self.rate, psi, &s, 0, &self.w, &n_clipped)
            if isfinite(loss):
                return loss
        if self.mean != NULL:  # no parameter has changed
            self.copy_scaling(self.before, self.scaling)
        return None


# What a capsule holds: the public part (cmlp.h) first, then what its functions need.
cdef struct Embedded:
    cmlp_network public_part
    Net net
    Workspace w
    void *params
    const void *mean  # NULL: x is not standardised
    const void *scale
    PyObject *keeps  # a tuple of what the pointers point into


cdef const void *embedded_input(const Embedded *e, const void *x) noexcept nogil:
    if e.mean == NULL:
        return x
    e.net.k.standardize(e.net.n_inputs, x, e.mean, e.scale, e.w.x)
    return e.w.x


cdef void embedded_predict(const cmlp_network *network, const void *x, void *y) noexcept nogil:
    cdef const Embedded *e = <const Embedded *> network
    run_forward(&e.net, e.params, embedded_input(e, x), e.w.activations, 0)
    memcpy(y, e.w.activations + e.net.output * e.net.size, e.net.n_outputs * e.net.size)


cdef double embedded_learn(const cmlp_network *network, const void *x, const void *y, int64_t label, double rate,
                           double clip_delta) noexcept nogil:
    cdef const Embedded *e = <const Embedded *> network
    cdef ptrdiff_t n_clipped = 0
    cdef Samples s
    memset(&s, 0, sizeof(Samples))
    s.X = <const char *> embedded_input(e, x)
    s.Y = <const char *> y
    s.n = 1
    if y == NULL:
        s.labels = &label
    return learn(&e.net, e.params, e.params, -rate, clip_delta, &s, 0, &e.w, &n_clipped)


cdef void free_embedded(object capsule) noexcept:
    cdef Embedded *e = <Embedded *> PyCapsule_GetPointer(capsule, CMLP_CAPSULE)
    Py_DECREF(<object> e.keeps)
    free(e)


def embed(Program program, cnp.ndarray parameters, cnp.ndarray workspace, scaling=None):
    """A capsule with a `cmlp_network *` (cmlp.h) over these parameters, computing in this workspace.

    scaling: live arrays (mean, scale), each (n_inputs,), with which x is standardised, or None.
    """
    cdef Embedded *e = <Embedded *> calloc(1, sizeof(Embedded))
    if e == NULL:
        raise MemoryError("no memory for a capsule")
    cdef bint is_double = cnp.PyArray_TYPE(parameters) == <int> cnp.NPY_DOUBLE
    e.net = program.at_work(sizeof(double) if is_double else sizeof(float))
    e.w = split(&e.net, <char *> cnp.PyArray_DATA(workspace), 1, 1)
    e.params = cnp.PyArray_DATA(parameters)
    if scaling is not None:
        e.mean, e.scale = cnp.PyArray_DATA(scaling[0]), cnp.PyArray_DATA(scaling[1])
    e.public_part.n_inputs = e.net.n_inputs
    e.public_part.n_outputs = e.net.n_outputs
    e.public_part.is_double = is_double
    e.public_part.predict = embedded_predict
    e.public_part.learn = embedded_learn
    keeps = (program, parameters, workspace, scaling)
    Py_INCREF(keeps)
    e.keeps = <PyObject *> keeps
    return PyCapsule_New(e, CMLP_CAPSULE, free_embedded)


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


cdef bint is_target(int loss, object y):
    """Whether a number is in the range of the targets of binary_cross_entropy, poisson or hinge."""
    if loss == CMLP_BINARY_CROSS_ENTROPY:
        return 0 <= y <= 1
    return y >= 0 if loss == CMLP_POISSON else y in (-1, 0, 1)


cdef bint same_side(const floating *a, const floating *y, floating border, ptrdiff_t n) noexcept nogil:
    cdef ptrdiff_t i
    for i in range(n):
        if (a[i] > border) != (y[i] > border):
            return False
    return True
