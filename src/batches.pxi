# -------------------------------------------------------------------------------------------------- batch by batch
#
# A team of threads runs the same function; between two barriers each thread has its own rows, its own inputs of every
# layer, or its own slice of the parameters. No sum is divided among threads, so the numbers do not depend on how many
# there are.


# A step, as weights and as biases make it.
cdef struct Steps:
    cmlp_step weights, biases


# So many inputs of a layer make their step together: few enough that their gradient stays in the second-level cache.
cdef enum:
    INPUTS_AT_ONCE = 64


# One pass, or one prediction, as all threads of a team see it.
cdef struct Job:
    const Code *p
    const Samples *s
    const cmlp_update *u
    const Rates *rates
    const Workspace *w
    cmlp_vectors v
    double last_loss  # E of the step before (iRPROP+)
    ptrdiff_t rows_at_once
    double *losses  # (rows_at_once,)
    double scale  # of the gradient, from clip_norm
    double penalty  # ½ α Σ‖W‖² before the present batch
    double batch_loss  # Σ s_c ℓ_c of the present batch
    char *out  # predictions (M, n_outputs)
    ptrdiff_t n_clipped[CMLP_MOST_THREADS]
    Result result


cdef ptrdiff_t share(ptrdiff_t n, ptrdiff_t granule, int thread, int n_threads) noexcept nogil:
    """Where the part of a thread begins, if n elements are divided in whole granules; thread n_threads: n."""
    return min(n, ((n + granule - 1) // granule * thread // n_threads) * granule)


cdef void drop_rows(const Job *job, int i, ptrdiff_t start, ptrdiff_t from_row, ptrdiff_t to_row,
                    char *values) noexcept nogil:
    """Dropout of operation i in rows of the activations, or, the same elements, in their errors."""
    cdef const Code *p = job.p
    cdef ptrdiff_t r, t, position
    for r in range(from_row, to_row):
        t = job.rates.first_step + (start + r) // job.u.batch_size
        position = (start + r) % job.u.batch_size
        p.k.drop(p.ops[i].n_out, cmlp_mask_key(job.u.seed, t, position, i), p.ops[i].dropout,
                 values + (r * p.net.n_activations + p.ops[i].out) * p.size)


cdef void forward_rows(const Code *p, const void *params, const Samples *s, ptrdiff_t start, ptrdiff_t from_row,
                       ptrdiff_t to_row, const Workspace *w, const Job *dropout) noexcept nogil:
    """Copies rows from_row..to_row-1 of the samples at `start`, and runs them forward at once.

    With the job that they are learnt in as `dropout`, layers that drop out do so.
    """
    cdef ptrdiff_t r
    cdef int i
    for r in range(from_row, to_row):
        memcpy(w.x + r * p.net.x_stride * p.size, s.X + sample_at(s, start + r) * p.net.n_inputs * p.size,
               p.net.n_inputs * p.size)
    for i in range(p.n_ops):
        p.k.batch_forward(&p.ops[i], params, to_row - from_row, w.x + from_row * p.net.x_stride * p.size, p.net.x_stride,
                          w.activations + from_row * p.net.n_activations * p.size, p.net.n_activations)
        if dropout != NULL and p.ops[i].dropout > 0.0:
            drop_rows(dropout, i, start, from_row, to_row, w.activations)


cdef void learn_rows(Job *job, ptrdiff_t start, ptrdiff_t from_row, ptrdiff_t to_row, double scale,
                     int thread) noexcept nogil:
    """Forward and backward for some rows of a batch: losses, errors and deltas, but no gradient yet."""
    cdef const Code *p = job.p
    cdef const Workspace *w = job.w
    cdef ptrdiff_t r, c, at = from_row * p.net.n_activations * p.size
    cdef bint finite = True
    cdef int i
    if from_row >= to_row:
        return
    forward_rows(p, job.v.params, job.s, start, from_row, to_row, w, job if job.u.dropout else NULL)
    for r in range(from_row, to_row):
        c = sample_at(job.s, start + r)
        job.losses[r] = run_loss(p, job.s, c, w.x + r * p.net.x_stride * p.size, weight_of(job.s, c),
                                 w.activations + r * p.net.n_activations * p.size,
                                 w.errors + r * p.net.n_activations * p.size)
        finite = finite and isfinite(job.losses[r])
    if not finite:
        return
    for i in range(p.n_ops - 1, -1, -1):
        if job.u.dropout and p.ops[i].dropout > 0.0:
            drop_rows(job, i, start, from_row, to_row, w.errors)
        job.n_clipped[thread] += p.k.batch_errors(
            &p.ops[i], job.v.params, scale, job.u.clip_delta, to_row - from_row, w.activations + at,
            w.errors + at, p.net.n_activations, w.deltas + from_row * p.net.n_deltas * p.size, p.net.n_deltas,
            w.scratch + thread * 2 * p.net.width * p.size)


cdef void sum_gradient(Job *job, ptrdiff_t rows, bint first, const Steps *steps, int thread, int n) noexcept nogil:
    """The thread's inputs of every dense layer: gradient = or += inᵀ · deltas over all rows.

    Their parameters make their step at once, if there are `steps`, while gradient and parameters are in the caches.
    """
    cdef const Code *p = job.p
    cdef const Workspace *w = job.w
    cdef const cmlp_op *op
    cdef ptrdiff_t at, stop, end
    cdef int i
    for i in range(p.n_ops):
        op = &p.ops[i]
        if op.kind != CMLP_DENSE:
            continue
        at = share(op.n_in, 32, thread, n)
        end = share(op.n_in, 32, thread + 1, n)
        while at < end:
            stop = end if steps == NULL else min(at + INPUTS_AT_ONCE, end)
            p.k.batch_gradient(op, job.v.gradient, rows, w.x, p.net.x_stride, w.activations, p.net.n_activations, w.deltas,
                               p.net.n_deltas, at, stop, not first)
            if steps != NULL:
                step_inputs(job, op, steps, at, stop)
            at = stop


cdef bint count_losses(Job *job, ptrdiff_t start, ptrdiff_t rows, int thread) noexcept nogil:
    """Whether all losses of these rows are finite; thread 0 adds them up, in order."""
    cdef ptrdiff_t r
    for r in range(rows):
        if not isfinite(job.losses[r]):
            if thread == 0:
                job.result.bad = start + r
            return False
        if thread == 0:
            job.result.loss += job.losses[r] * weight_of(job.s, sample_at(job.s, start + r))
            job.batch_loss += job.losses[r] * weight_of(job.s, sample_at(job.s, start + r))
    return True


cdef cmlp_step step_settings(const Job *job, ptrdiff_t t, double decay) noexcept nogil:
    """What step t of this call needs besides the vectors."""
    cdef const cmlp_update *u = job.u
    cdef cmlp_step s
    s.update, s.scale, s.rate, s.eps = u, job.scale, rate_at(job.rates, t), u.eps
    s.decay = 0.0 if u.decoupled else decay
    s.shrink = s.rate * decay if u.decoupled else 0.0
    s.loss_rose = job.batch_loss > job.last_loss
    job.p.k.prepare_step(&s, job.rates.first_step + t)
    return s


cdef Steps steps_of(const Job *job, ptrdiff_t t, double weight) noexcept nogil:
    """Step t of weights and biases; λ and α, divided by the batch's weight, act on weights alone."""
    cdef Steps steps
    steps.weights = step_settings(job, t, job.u.weight_decay + (job.u.alpha / weight if weight > 0.0 else 0.0))
    steps.biases = step_settings(job, t, 0.0)
    return steps


cdef void step_share(Job *job, const cmlp_step *s, ptrdiff_t at, ptrdiff_t n, int thread, int n_threads) noexcept nogil:
    """One step of the thread's share of n parameters from `at` on."""
    cdef ptrdiff_t first = share(n, 64, thread, n_threads)
    job.p.k.step(s, &job.v, at + first, share(n, 64, thread + 1, n_threads) - first)


cdef void step_inputs(Job *job, const cmlp_op *op, const Steps *steps, ptrdiff_t first, ptrdiff_t stop) noexcept nogil:
    """One step of a layer's weights from inputs first..stop-1, and with input 0 of its biases."""
    cdef ptrdiff_t j
    if op.layout == CMLP_ROWS:
        job.p.k.step(&steps.weights, &job.v, op.weights + first * op.ld, (stop - first) * op.ld)
    else:
        for j in range(op.n_out):
            job.p.k.step(&steps.weights, &job.v, op.weights + j * op.ld + first, stop - first)
    if first == 0 and op.biases >= 0:
        job.p.k.step(&steps.biases, &job.v, op.biases, op.n_out)


cdef double batch_weight(const Job *job, ptrdiff_t start, ptrdiff_t stop) noexcept nogil:
    """What the sums over a batch are divided by: Σ s_c if `weighted_mean`, else the number of samples."""
    cdef double total = 0.0
    cdef ptrdiff_t i
    if not job.u.weighted_mean or job.s.weights == NULL:
        return stop - start
    for i in range(start, stop):
        total += job.s.weights[sample_at(job.s, i)]
    return total


cdef ptrdiff_t n_weights(const cmlp_op *op) noexcept nogil:
    """Elements of a dense operation's W, its padding included."""
    return op.ld * (op.n_in if op.layout == CMLP_ROWS else op.n_out)


cdef double penalty(const Code *p, const char *params, double alpha) noexcept nogil:
    """½ α Σ‖W‖²."""
    cdef double squares = 0.0
    cdef int i
    for i in range(p.n_ops):
        if p.ops[i].kind == CMLP_DENSE:
            squares += p.k.sum_of_squares(n_weights(&p.ops[i]), params + p.ops[i].weights * p.size)
    return 0.5 * alpha * squares


cdef void add_l1(Job *job, ptrdiff_t at, ptrdiff_t n, int thread, int n_threads) noexcept nogil:
    """g ← g + λ₁ sign(w) for the thread's share of n weights from `at` on; the optimiser multiplies g by job.scale."""
    cdef ptrdiff_t first = share(n, 64, thread, n_threads)
    cdef ptrdiff_t offset = (at + first) * job.p.size
    job.p.k.add_signs(share(n, 64, thread + 1, n_threads) - first, job.v.gradient + offset,
                      job.v.params + offset, job.u.l1 / job.scale)


cdef void limit_norms(Job *job, int thread, int n) noexcept nogil:
    """Scales the incoming weights of the thread's units down to the norm that they may have."""
    cdef const cmlp_op *op
    cdef int i
    for i in range(job.p.n_ops):
        op = &job.p.ops[i]
        if op.kind == CMLP_DENSE:
            job.p.k.limit_norms(op, job.v.params, job.u.max_norm, share(op.n_out, 16, thread, n),
                                share(op.n_out, 16, thread + 1, n))


cdef void average_slice(Job *job, ptrdiff_t t, int thread, int n) noexcept nogil:
    """Brings the thread's share of the average up to date after step t; the first step of all starts it."""
    cdef ptrdiff_t first = share(job.p.net.n_parameters, 64, thread, n)
    cdef ptrdiff_t count = share(job.p.net.n_parameters, 64, thread + 1, n) - first
    cdef double decay = job.u.average_decay if job.rates.first_step + t > 0 else 0.0
    job.p.k.average(count, job.v.average + first * job.p.size, job.v.params + first * job.p.size, decay)


cdef bint steps_at_once(const cmlp_update *u) noexcept nogil:
    """Whether every parameter may make its step as soon as its own gradient is known."""
    return (u.clip_value == INFINITY and u.clip_norm == INFINITY and u.l1 == 0.0 and u.rule != CMLP_NO_STEP
            and (u.batch_size > 1 or u.dropout))


cdef void step(Job *job, ptrdiff_t t, double weight, int thread, int n, cmlp_barrier *barrier) noexcept nogil:
    """Clips the gradient by value, then by global norm, and takes step t of this call; weight: the batch's."""
    cdef const Code *p = job.p
    cdef const cmlp_update *u = job.u
    cdef const cmlp_op *op
    cdef Steps steps
    cdef double norm
    cdef int i
    if u.rule == CMLP_NO_STEP:
        return
    if u.clip_value != INFINITY or u.clip_norm != INFINITY:
        if thread == 0:
            if u.clip_value != INFINITY:
                p.k.clip(p.net.n_parameters, job.v.gradient, u.clip_value)
            norm = sqrt(p.k.sum_of_squares(p.net.n_parameters, job.v.gradient))
            job.scale = u.clip_norm / norm if norm > u.clip_norm else 1.0
        cmlp_wait_for_team(barrier)
    steps = steps_of(job, t, weight)
    for i in range(p.n_ops):
        op = &p.ops[i]
        if op.kind == CMLP_DENSE:
            if u.l1 != 0.0:
                add_l1(job, op.weights, n_weights(op), thread, n)
            step_share(job, &steps.weights, op.weights, n_weights(op), thread, n)
            if op.biases >= 0:
                step_share(job, &steps.biases, op.biases, op.n_out, thread, n)


cdef bint learn_batch(Job *job, ptrdiff_t start, ptrdiff_t stop, ptrdiff_t t, double weight, int thread, int n,
                      cmlp_barrier *barrier) noexcept nogil:
    """The gradient of a batch, and step t if all `steps_at_once`; False if a loss is not finite.

    A single sample goes by the kernels for one.
    """
    cdef ptrdiff_t rows, first = start
    cdef double scale = 1.0
    cdef bint at_once
    cdef Steps steps
    if job.u.mean:
        scale = 1.0 / weight if weight > 0.0 else 0.0
    if thread == 0:
        job.batch_loss = 0.0
        if job.u.alpha > 0.0:
            job.penalty = penalty(job.p, job.v.params, job.u.alpha)
    if job.u.batch_size == 1 and not job.u.dropout:
        if thread == 0:
            memset(job.v.gradient, 0, job.p.net.n_parameters * job.p.size)
            job.losses[0] = learn(job.p, job.v.params, job.v.gradient, scale, job.u.clip_delta, job.s,
                                  sample_at(job.s, start), job.w, &job.n_clipped[0])
        return count_losses(job, start, 1, thread)
    while start < stop:
        rows = min(job.rows_at_once, stop - start)
        learn_rows(job, start, share(rows, 4, thread, n), share(rows, 4, thread + 1, n), scale, thread)
        cmlp_wait_for_team(barrier)
        if not count_losses(job, start, rows, thread):
            return False
        at_once = start + rows == stop and steps_at_once(job.u)
        if at_once:
            steps = steps_of(job, t, weight)
        sum_gradient(job, rows, start == first, &steps if at_once else NULL, thread, n)
        cmlp_wait_for_team(barrier)
        start += rows
    return True


cdef void train_in_batches(void *context, int thread, int n, cmlp_barrier *barrier) noexcept nogil:
    """Any optimiser, any batch size: the gradient of a batch, then a step."""
    cdef Job *job = <Job *> context
    cdef ptrdiff_t t = 0, start = 0, stop
    cdef double before, weight
    while start < job.s.n:
        stop = min(start + job.u.batch_size, job.s.n)
        weight = batch_weight(job, start, stop)
        before = job.result.loss if thread == 0 else 0.0
        if not learn_batch(job, start, stop, t, weight, thread, n, barrier):
            return
        if thread == 0 and job.u.weighted_mean and weight > 0.0:  # its mean loss, once for each of its samples
            job.result.loss = before + (
                (job.result.loss - before) * job.u.loss_scale + job.penalty) * (stop - start) / weight
        if not steps_at_once(job.u):
            step(job, t, weight, thread, n, barrier)
            cmlp_wait_for_team(barrier)
        if job.u.max_norm != INFINITY:
            limit_norms(job, thread, n)
            cmlp_wait_for_team(barrier)
        if job.v.average != NULL:
            average_slice(job, t, thread, n)
        if thread == 0:
            job.last_loss = job.batch_loss
        start = stop
        t += 1


cdef void predict_rows(void *context, int thread, int n, cmlp_barrier *barrier) noexcept nogil:
    """out (M, n_outputs) = ŷ of the thread's part of the samples."""
    cdef Job *job = <Job *> context
    cdef const Code *p = job.p
    cdef ptrdiff_t at = share(job.s.n, CMLP_ROWS_AT_ONCE, thread, n)
    cdef ptrdiff_t stop = share(job.s.n, CMLP_ROWS_AT_ONCE, thread + 1, n)
    cdef ptrdiff_t first = thread * CMLP_ROWS_AT_ONCE, rows, r  # the thread's rows of the workspace
    while at < stop:
        rows = min(<ptrdiff_t> CMLP_ROWS_AT_ONCE, stop - at)
        if rows == 1:
            run_forward(p, job.v.params, job.s.X + at * p.net.n_inputs * p.size,
                        job.w.activations + first * p.net.n_activations * p.size, 0)
        else:
            forward_rows(p, job.v.params, job.s, at - first, first, first + rows, job.w, NULL)
        for r in range(rows):
            memcpy(job.out + (at + r) * p.net.n_outputs * p.size,
                   job.w.activations + ((first + r) * p.net.n_activations + p.net.output) * p.size, p.net.n_outputs * p.size)
        at += rows
