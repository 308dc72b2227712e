# What the loops over samples and operations work on, without Python. One definition serves float and double: buffers
# are bytes plus the element size, and only the kernels know the type.

# A program at work: its operations, what else the network is, and the kernels for the type of its numbers.
cdef struct Code:
    const cmlp_op *ops
    int n_ops
    cmlp_net net
    const cmlp_kernels *k
    ptrdiff_t size  # bytes per element


# What kernels that learn from many samples read as well (kernels.h).
ctypedef cmlp_samples Samples
ctypedef cmlp_rates Rates
ctypedef cmlp_result Result


# Where one call computes: `rows` samples at a time. Units first they lie in blocks of `columns` rows: as many as that
# of activations (n_activations, columns), and so on.
cdef struct Workspace:
    ptrdiff_t columns
    char *activations  # (rows, n_activations)
    char *errors  # (rows, n_activations)
    char *x  # (rows, x_stride) own copies of the samples of a batch
    char *deltas  # (rows, n_deltas)
    char *scratch  # (threads, 2 width)
    char *updates  # of per-sample SGD in blocks: U (CMLP_BLOCK, width),
    char *products  # Z (the same)
    char *gram  # and G
    char *packs  # (threads, CMLP_PACK), where there are LEAST_ROWS_PACKED rows


# A step, as weights and as biases make it.
cdef struct Steps:
    cmlp_step weights, biases


# One pass, or one prediction, as all threads of a team see it.
cdef struct Job:
    cmlp_team team
    int n_parts  # of the work that is shared
    const Code *p
    const Samples *s
    const cmlp_update *u
    const Rates *rates
    const Workspace *w
    cmlp_vectors vectors
    double last_loss  # E of the step before (iRPROP+)
    ptrdiff_t rows_at_once
    double *losses  # (rows_at_once,)
    double scale  # of the gradient, from clip_norm
    double penalty  # ½ α Σ‖W‖² before the present batch
    double batch_loss  # Σ s_c ℓ_c of the present batch
    ptrdiff_t start, rows  # of the present batch: so many at this position are at work
    double mean_scale  # what their ∂ℓ/∂ŷ is multiplied with
    bint first_rows  # whether they are the batch's first, whose gradient replaces that of the batch before
    bint at_once  # whether parameters step as soon as their gradient is summed
    ptrdiff_t t  # the present step of this call,
    Steps steps  # and how it is made
    char *out  # predictions (M, n_outputs)
    ptrdiff_t n_clipped[CMLP_MOST_THREADS]  # in the present batch, by each thread
    Result result


# Units first, rows go to threads by so many: the most elements of a vector. Fewer than so many rows leave vectors along
# them too empty (measured: from 16 on they gain in both types).
cdef enum:
    MOST_LANES = 16
    LEAST_UNITS_FIRST = 16
    LEAST_ROWS_PACKED = 16


cdef ptrdiff_t whole_vectors(const cmlp_net *net, ptrdiff_t rows) noexcept nogil:
    """The rows that there must be room for: units first, whole vectors of them, and whole blocks if there are more."""
    cdef ptrdiff_t granule = MOST_LANES if rows <= CMLP_ROWS_AT_ONCE else CMLP_ROWS_AT_ONCE
    return (rows + granule - 1) // granule * granule if net.batches == CMLP_UNITS_FIRST else rows


cdef ptrdiff_t workspace_elements(const cmlp_net *net, ptrdiff_t rows, ptrdiff_t n_threads) noexcept nogil:
    rows = whole_vectors(net, rows)
    return (rows * (2 * net.n_activations + net.x_stride + net.n_deltas)
            + (2 * n_threads + 3 * CMLP_BLOCK) * net.width + CMLP_BLOCK * CMLP_BLOCK
            + (n_threads * CMLP_PACK if rows >= LEAST_ROWS_PACKED else 0))


cdef Workspace split(const Code *p, char *workspace, ptrdiff_t rows, ptrdiff_t n_threads) noexcept nogil:
    cdef Workspace w
    rows = whole_vectors(&p.net, rows)
    w.columns = min(rows, <ptrdiff_t> CMLP_ROWS_AT_ONCE)
    w.activations = workspace
    w.errors = w.activations + rows * p.net.n_activations * p.size
    w.x = w.errors + rows * p.net.n_activations * p.size
    w.deltas = w.x + rows * p.net.x_stride * p.size
    w.scratch = w.deltas + rows * p.net.n_deltas * p.size
    w.updates = w.scratch + n_threads * 2 * p.net.width * p.size
    w.products = w.updates + CMLP_BLOCK * p.net.width * p.size
    w.gram = w.products + CMLP_BLOCK * p.net.width * p.size
    w.packs = w.gram + CMLP_BLOCK * (CMLP_BLOCK + p.net.width) * p.size  # Zᵀ of block.h lies behind G
    return w


cdef cmlp_rows rows_of(const Code *p, const Workspace *w, ptrdiff_t first, ptrdiff_t stop,
                       int thread) noexcept nogil:
    """Rows of the workspace from `first` on: up to `stop`, or units first, as many of them as lie in one block."""
    cdef cmlp_rows r
    cdef ptrdiff_t row = first
    r.units_first = p.net.batches == CMLP_UNITS_FIRST
    r.x_stride, r.stride, r.deltas_stride = p.net.x_stride, p.net.n_activations, p.net.n_deltas
    r.n, r.first = stop - first, 0
    if r.units_first:
        r.x_stride = r.stride = w.columns
        r.first = first % w.columns
        r.n, row = min(r.n, w.columns - r.first), first - r.first
    r.x = w.x + (row * p.net.x_stride + r.first) * p.size
    r.activations = w.activations + (row * p.net.n_activations + r.first) * p.size
    r.errors = w.errors + (row * p.net.n_activations + r.first) * p.size
    r.deltas = w.deltas + row * p.net.n_deltas * p.size
    r.pack = w.packs + thread * CMLP_PACK * p.size
    return r


cdef ptrdiff_t row_step(const cmlp_rows *rows) noexcept nogil:
    """From a value of one row to that of the next, in the activations and errors."""
    return 1 if rows.units_first else rows.stride


cdef ptrdiff_t unit_step(const cmlp_rows *rows) noexcept nogil:
    """From one value of a row to the next."""
    return rows.stride if rows.units_first else 1


cdef ptrdiff_t share(ptrdiff_t n, ptrdiff_t granule, ptrdiff_t part, int n_parts) noexcept nogil:
    """Where a part begins, if n elements are divided in whole granules; part n_parts: n."""
    return min(n, ((n + granule - 1) // granule * part // n_parts) * granule)


cdef Samples sample_of(const void *x, const void *y, const int64_t *label) noexcept nogil:
    """One sample; y NULL: its target is the class."""
    cdef Samples s
    memset(&s, 0, sizeof(Samples))
    s.X, s.Y, s.n, s.n_rows = <const char *> x, <const char *> y, 1, 1
    if y == NULL:
        s.labels = label
    return s


cdef const char *x_of(const Code *p, const Samples *s, ptrdiff_t c) noexcept nogil:
    return s.X + c * p.net.n_inputs * p.size


cdef ptrdiff_t sample_at(const Samples *s, ptrdiff_t position) noexcept nogil:
    return s.order[position] if s.order != NULL else position


cdef double weight_of(const Samples *s, ptrdiff_t c) noexcept nogil:
    return s.weights[c] if s.weights != NULL else 1.0


cdef double rate_at(const Rates *rates, ptrdiff_t t) noexcept nogil:
    return rates.values[t if rates.n > 1 else 0]


cdef void run_forward(const Code *p, const void *params, const void *x, char *activations, int first) noexcept nogil:
    """a_k = f_k(W_kᵀ a_{k-1} + b_k) for k = 1..N, whatever the composition, from operation `first` on."""
    cdef int i
    for i in range(first, p.n_ops):
        p.k.forward(&p.ops[i], params, x, activations)


cdef ptrdiff_t output_z(const Code *p) noexcept nogil:
    """Where the net input of the output is, which natural pairs read; -1: it is x."""
    cdef const cmlp_op *last = &p.ops[p.n_ops - 1]
    if not p.net.fused:
        return p.net.output
    return last.z if last.kind == CMLP_DENSE else last.source


cdef double run_loss(const Code *p, const Samples *s, ptrdiff_t c, const void *x, double weight, char *activations,
                     char *errors) noexcept nogil:
    """ℓ of sample c, and weight · ∂ℓ/∂ŷ (or δ_N of a natural pair) in the error buffer."""
    cdef ptrdiff_t z_at = output_z(p)
    cdef const void *z = activations + z_at * p.size
    cdef const void *y = NULL
    if z_at < 0:
        z = x
    if s.Y != NULL:
        y = s.Y + c * p.net.n_outputs * p.size
    return p.k.loss(&p.net, z, activations + p.net.output * p.size, y, s.labels[c] if s.labels != NULL else -1, weight,
                    errors + p.net.output * p.size)


cdef void count_right(const Code *p, const Samples *s, ptrdiff_t c, const char *activations, ptrdiff_t stride,
                      double *correct) noexcept nogil:
    """correct += s_c if the outputs, `stride` apart, decide as the target of sample c does."""
    cdef const char *a = activations + p.net.output * stride * p.size
    if (is_right(p, s, c, <const double *> a, stride) if p.size == sizeof(double)
            else is_right(p, s, c, <const float *> a, stride)):
        correct[0] += weight_of(s, c)


cdef bint is_right(const Code *p, const Samples *s, ptrdiff_t c, const floating *a, ptrdiff_t stride) noexcept nogil:
    """Whether the outputs a decide for sample c as its target does; never for a loss of values."""
    cdef ptrdiff_t n = p.net.n_outputs
    cdef const floating *y = (<const floating *> s.Y) + c * n
    if s.labels != NULL:
        return arg_max(a, n, stride) == s.labels[c]
    if p.net.loss == CMLP_CROSS_ENTROPY:
        return arg_max(a, n, stride) == arg_max(y, n, 1)
    if p.net.loss == CMLP_BINARY_CROSS_ENTROPY:
        return same_side(a, stride, y, 0.5, n)
    return p.net.loss == CMLP_HINGE and same_side(a, stride, y, 0.0, n)


cdef ptrdiff_t arg_max(const floating *values, ptrdiff_t n, ptrdiff_t stride) noexcept nogil:
    cdef ptrdiff_t i, best = 0
    for i in range(1, n):
        if values[i * stride] > values[best * stride]:
            best = i
    return best


cdef bint same_side(const floating *a, ptrdiff_t stride, const floating *y, floating border,
                    ptrdiff_t n) noexcept nogil:
    cdef ptrdiff_t i
    for i in range(n):
        if (a[i * stride] > border) != (y[i] > border):
            return False
    return True
