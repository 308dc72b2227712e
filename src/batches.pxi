# Batch by batch, for any optimiser. The caller's thread goes through them and shares work with its team: in parts of
# the rows, of the inputs of every layer, or of the parameters. No sum is divided among parts, so the numbers do not
# depend on how many there are, nor on who takes them.


# So many inputs of a layer make their step together: few enough that their gradient stays in the second-level cache.
cdef enum:
    INPUTS_AT_ONCE = 64


cdef void drop_rows(const Job *job, int i, ptrdiff_t start, const cmlp_rows *rows, char *values) noexcept nogil:
    """Dropout of operation i in the rows' activations, or, the same elements, in their errors; start: of row 0."""
    cdef const Code *p = job.p
    cdef ptrdiff_t r, t, position
    for r in range(rows.n):
        t = job.rates.first_step + (start + r) // job.u.batch_size
        position = (start + r) % job.u.batch_size
        p.k.drop(p.ops[i].n_out, unit_step(rows), cmlp_mask_key(job.u.seed, t, position, i), p.ops[i].dropout,
                 values + (r * row_step(rows) + p.ops[i].out * unit_step(rows)) * p.size)


cdef void leave_inputs(const Code *p, const Samples *s, ptrdiff_t start, cmlp_rows *rows) noexcept nogil:
    """Lets the rows' x be the samples from position `start` on, if they lie there row by row.

    Vector loads may run past a row, into the next: the last rows of X are copied.
    """
    cdef ptrdiff_t behind = (s.n_rows - start - rows.n) * p.net.n_inputs * p.size
    if not rows.units_first and s.order == NULL and behind >= CMLP_ALIGN:
        rows.x, rows.x_stride = <char *> x_of(p, s, start), p.net.n_inputs


cdef void bring_inputs(const Code *p, const Samples *s, ptrdiff_t start, const cmlp_rows *rows) noexcept nogil:
    """Copies the samples from position `start` on to the rows, unless they are there."""
    cdef const void *x[CMLP_ROWS_AT_ONCE]
    cdef ptrdiff_t r
    if rows.x == x_of(p, s, start):
        return
    for r in range(rows.n):
        if rows.units_first:
            x[r] = x_of(p, s, sample_at(s, start + r))
        else:
            memcpy(rows.x + r * rows.x_stride * p.size, x_of(p, s, sample_at(s, start + r)), p.net.n_inputs * p.size)
    if rows.units_first:
        p.k.units_first_inputs(rows, p.net.n_inputs, x, x_of(p, s, s.n_rows))


cdef void forward_rows(const Code *p, const void *params, const Samples *s, ptrdiff_t start, const cmlp_rows *rows,
                       const Job *dropout) noexcept nogil:
    """Runs the samples from position `start` on forward at once.

    With the job that they are learnt in as `dropout`, layers that drop out do so.
    """
    cdef int i
    bring_inputs(p, s, start, rows)
    for i in range(p.n_ops):
        p.k.batch_forward(&p.ops[i], params, rows)
        if dropout != NULL and p.ops[i].dropout > 0.0:
            drop_rows(dropout, i, start, rows, rows.activations)


cdef void lose_rows(const Code *p, const Samples *s, ptrdiff_t start, const cmlp_rows *rows,
                    double *losses) noexcept nogil:
    """ℓ of the samples from position `start` on, and s_c ∂ℓ/∂ŷ (or δ_N of a natural pair) in the error buffers."""
    cdef ptrdiff_t r, c, at
    cdef const void *y[CMLP_ROWS_AT_ONCE]
    cdef int64_t labels[CMLP_ROWS_AT_ONCE]
    cdef double weights[CMLP_ROWS_AT_ONCE]
    cdef cmlp_targets targets
    for r in range(rows.n):
        c, at = sample_at(s, start + r), r * rows.stride * p.size
        if not rows.units_first:
            losses[r] = run_loss(p, s, c, rows.x + r * rows.x_stride * p.size, weight_of(s, c), rows.activations + at,
                                 rows.errors + at)
            continue
        weights[r] = weight_of(s, c)
        if s.Y != NULL:
            y[r] = s.Y + c * p.net.n_outputs * p.size
        else:
            labels[r] = s.labels[c]
    if rows.units_first:
        targets.y, targets.labels, targets.weights = y if s.Y != NULL else NULL, labels, weights
        p.k.units_first_losses(&p.net, rows, output_z(p), &targets, losses)


cdef bint learn_rows(Job *job, ptrdiff_t start, const cmlp_rows *rows, double *losses, int thread) noexcept nogil:
    """Forward and backward for the rows: losses, errors and deltas, no gradient yet. False: a loss is not finite."""
    cdef const Code *p = job.p
    cdef cmlp_target to
    cdef char *scratch = job.w.scratch + thread * 2 * p.net.width * p.size
    cdef ptrdiff_t r
    cdef int i
    forward_rows(p, job.vectors.params, job.s, start, rows, job if job.u.dropout else NULL)
    lose_rows(p, job.s, start, rows, losses)
    for r in range(rows.n):
        if not isfinite(losses[r]):
            return False
    to.values, to.scale, to.clip_delta = NULL, job.mean_scale, job.u.clip_delta
    for i in range(p.n_ops - 1, -1, -1):
        if job.u.dropout and p.ops[i].dropout > 0.0:
            drop_rows(job, i, start, rows, rows.errors)
        job.n_clipped[thread] += p.k.batch_errors(&p.ops[i], job.vectors.params, &to, rows, scratch)
    return True


cdef cmlp_rows rows_for(const Job *job, ptrdiff_t first, ptrdiff_t stop, int thread) noexcept nogil:
    """Rows of the workspace from `first` on, as `rows_of` has them, for the rows at work.

    All of these lie in one place, be it X or the workspace.
    """
    cdef cmlp_rows all = rows_of(job.p, job.w, 0, job.rows, thread), rows = rows_of(job.p, job.w, first, stop, thread)
    cdef char *copies = all.x
    if not all.units_first:
        leave_inputs(job.p, job.s, job.start, &all)
        if all.x != copies:
            rows.x, rows.x_stride = all.x + first * all.x_stride * job.p.size, all.x_stride
    return rows


cdef void learn_part(void *context, ptrdiff_t part, int thread) noexcept nogil:
    """A part of the rows at work, up to a loss that is not finite."""
    cdef Job *job = <Job *> context
    cdef ptrdiff_t granule = MOST_LANES if job.p.net.batches == CMLP_UNITS_FIRST else 4
    cdef ptrdiff_t first = share(job.rows, granule, part, job.n_parts)
    cdef ptrdiff_t stop = share(job.rows, granule, part + 1, job.n_parts)
    cdef cmlp_rows rows
    while first < stop:
        rows = rows_for(job, first, stop, thread)
        if not learn_rows(job, job.start + first, &rows, job.losses + first, thread):
            return
        first += rows.n


cdef void sum_gradient(void *context, ptrdiff_t part, int thread) noexcept nogil:
    """A part of the inputs of every dense layer: gradient = or += inᵀ · deltas over the rows at work.

    Their parameters make their step `at_once`, if they may, while gradient and parameters are in the caches.
    """
    cdef Job *job = <Job *> context
    cdef const Code *p = job.p
    cdef cmlp_rows rows
    cdef const cmlp_op *op
    cdef ptrdiff_t at, stop, end, row
    cdef int i
    for i in range(p.n_ops):
        op = &p.ops[i]
        if op.kind != CMLP_DENSE:
            continue
        at = share(op.n_in, 16, part, job.n_parts)
        end = share(op.n_in, 16, part + 1, job.n_parts)
        while at < end:
            stop = min(at + INPUTS_AT_ONCE, end) if job.at_once else end
            row = 0
            while row < job.rows:
                rows = rows_for(job, row, job.rows, thread)
                p.k.batch_gradient(op, job.vectors.gradient, &rows, at, stop, row > 0 or not job.first_rows)
                row += rows.n
            if job.at_once:
                step_inputs(job, op, &job.steps, at, stop)
            at = stop


cdef bint count_losses(Job *job) noexcept nogil:
    """Whether all losses of the rows at work are finite; adds them up, in order."""
    cdef cmlp_rows at
    cdef ptrdiff_t r, c, n = job.rows
    cdef double weighted, loss = job.result.loss, batch_loss = job.batch_loss
    for r in range(job.rows):
        if not isfinite(job.losses[r]):
            n = r
            break
    for r in range(n):
        c = sample_at(job.s, job.start + r)
        weighted = job.losses[r] * weight_of(job.s, c)
        loss, batch_loss = loss + weighted, batch_loss + weighted
        if job.u.counts_right:
            at = rows_of(job.p, job.w, r, r + 1, 0)
            count_right(job.p, job.s, c, at.activations, unit_step(&at), &job.result.correct)
    job.result.loss, job.batch_loss = loss, batch_loss
    if n < job.rows:
        job.result.bad = job.start + n
    return n == job.rows


cdef double batch_weight(const Job *job, ptrdiff_t start, ptrdiff_t stop) noexcept nogil:
    """What the sums over a batch are divided by: Σ s_c if `weighted_mean`, else the number of samples."""
    cdef double total = 0.0
    cdef ptrdiff_t i
    if not job.u.weighted_mean or job.s.weights == NULL:
        return stop - start
    for i in range(start, stop):
        total += job.s.weights[sample_at(job.s, i)]
    return total


cdef double penalty(const Code *p, const char *params, double alpha) noexcept nogil:
    """½ α Σ‖W‖²."""
    cdef double squares = 0.0
    cdef int i
    for i in range(p.n_ops):
        if p.ops[i].kind == CMLP_DENSE:
            squares += p.k.sum_of_squares(n_weights(&p.ops[i]), params + p.ops[i].weights * p.size)
    return 0.5 * alpha * squares


cdef bint learn_batch(Job *job, ptrdiff_t stop, double weight) noexcept nogil:
    """The gradient of the batch from job.start to stop, and its step if all `steps_at_once`.

    False if a loss is not finite.
    """
    job.mean_scale = 1.0
    if job.u.mean:
        job.mean_scale = 1.0 / weight if weight > 0.0 else 0.0
    job.batch_loss, job.first_rows, job.rows = 0.0, True, 1
    if job.u.alpha > 0.0:
        job.penalty = penalty(job.p, job.vectors.params, job.u.alpha)
    if job.u.batch_size == 1 and not job.u.dropout:
        learn_alone(job, sample_at(job.s, job.start))
        return count_losses(job)
    while job.start < stop:
        job.rows = min(job.rows_at_once, stop - job.start)
        cmlp_share_work(&job.team, job.n_parts, learn_part, job)
        if not count_losses(job):
            return False
        job.at_once = job.start + job.rows == stop and steps_at_once(job.u)
        if job.at_once:
            job.steps = steps_of(job, weight)
        cmlp_share_work(&job.team, job.n_parts, sum_gradient, job)
        job.first_rows = False
        job.start += job.rows
    return True


cdef void learn_alone(Job *job, ptrdiff_t c) noexcept nogil:
    """The gradient of one sample, by the kernels for one."""
    cdef cmlp_target to
    to.values, to.scale, to.clip_delta = job.vectors.gradient, job.mean_scale, job.u.clip_delta
    memset(job.vectors.gradient, 0, job.p.net.n_parameters * job.p.size)
    job.losses[0] = learn(job.p, job.vectors.params, &to, job.s, c, job.w, &job.n_clipped[0])


cdef void count_clipped(Job *job) noexcept nogil:
    """Those of a batch that is learnt from: of one that is not, each thread saw as much as it came to."""
    cdef int thread
    for thread in range(job.n_parts):
        job.result.n_clipped += job.n_clipped[thread]
        job.n_clipped[thread] = 0


cdef void train_in_batches(Job *job) noexcept nogil:
    """Any optimiser, any batch size: the gradient of a batch, then a step."""
    cdef ptrdiff_t start = 0, stop
    cdef double before, weight
    while start < job.s.n:
        stop = min(start + job.u.batch_size, job.s.n)
        weight = batch_weight(job, start, stop)
        before, job.start = job.result.loss, start
        if not learn_batch(job, stop, weight):
            return
        count_clipped(job)
        if job.u.weighted_mean and weight > 0.0:  # its mean loss, once for each of its samples
            job.result.loss = before + (
                (job.result.loss - before) * job.u.loss_scale + job.penalty) * (stop - start) / weight
        if not steps_at_once(job.u):
            step(job, weight)
        if job.u.max_norm != INFINITY:
            cmlp_share_work(&job.team, job.n_parts, limit_norms, job)
        if job.vectors.average != NULL:
            cmlp_share_work(&job.team, job.n_parts, average_part, job)
        job.last_loss = job.batch_loss
        start = stop
        job.t += 1


cdef void predict_rows(void *context, ptrdiff_t part, int thread) noexcept nogil:
    """out (M, n_outputs) = ŷ of some samples."""
    cdef Job *job = <Job *> context
    cdef const Code *p = job.p
    cdef ptrdiff_t at = part * CMLP_ROWS_AT_ONCE, row = p.net.n_outputs * p.size, r, first = thread * CMLP_ROWS_AT_ONCE
    cdef cmlp_rows rows = rows_of(p, job.w, first, first + min(<ptrdiff_t> CMLP_ROWS_AT_ONCE, job.s.n - at), thread)
    leave_inputs(p, job.s, at, &rows)
    if rows.n == 1:
        run_forward(p, job.vectors.params, x_of(p, job.s, at), rows.activations, 0)
    else:
        forward_rows(p, job.vectors.params, job.s, at, &rows, NULL)
    if rows.n > 1 and rows.units_first:
        p.k.units_first_outputs(&rows, p.net.n_outputs, p.net.output, job.out + at * row)
    else:
        for r in range(rows.n):
            memcpy(job.out + (at + r) * row, rows.activations + (r * rows.stride + p.net.output) * p.size, row)
