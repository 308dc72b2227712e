# The steps of an optimiser, from a gradient that is there. A team's parts are parts of the parameters of every layer.


cdef Steps steps_of(const Job *job, double weight) noexcept nogil:
    """The present step; λ and α, divided by the batch's weight, act on weights alone."""
    cdef const cmlp_update *u = job.u
    cdef double decay = u.weight_decay + (u.alpha / weight if weight > 0.0 else 0.0)
    cdef Steps steps
    cdef cmlp_step *s = &steps.weights
    s.update, s.scale, s.rate, s.eps = u, job.scale, rate_at(job.rates, job.t), u.eps
    s.decay, s.shrink = 0.0, 0.0
    s.loss_rose = job.batch_loss > job.last_loss
    if u.decoupled:
        s.shrink = s.rate * decay
    else:
        s.decay = decay
    job.p.k.prepare_step(s, job.rates.first_step + job.t)
    steps.biases = steps.weights
    steps.biases.decay = steps.biases.shrink = 0.0
    return steps


cdef void step_share(Job *job, const cmlp_step *s, ptrdiff_t at, ptrdiff_t n, ptrdiff_t part) noexcept nogil:
    """One step of a part of n parameters from `at` on."""
    cdef ptrdiff_t first = share(n, 64, part, job.n_parts)
    job.p.k.step(s, &job.vectors, at + first, share(n, 64, part + 1, job.n_parts) - first)


cdef void step_inputs(Job *job, const cmlp_op *op, const Steps *steps, ptrdiff_t first, ptrdiff_t stop) noexcept nogil:
    """One step of a layer's weights from inputs first..stop-1, and with input 0 of its biases."""
    cdef ptrdiff_t j
    if op.layout == CMLP_ROWS:
        job.p.k.step(&steps.weights, &job.vectors, op.weights + first * op.ld, (stop - first) * op.ld)
    else:
        for j in range(op.n_out):
            job.p.k.step(&steps.weights, &job.vectors, op.weights + j * op.ld + first, stop - first)
    if first == 0 and op.biases >= 0:
        job.p.k.step(&steps.biases, &job.vectors, op.biases, op.n_out)


cdef ptrdiff_t n_weights(const cmlp_op *op) noexcept nogil:
    """Elements of a dense operation's W, its padding included."""
    return op.ld * (op.n_in if op.layout == CMLP_ROWS else op.n_out)


cdef void add_l1(Job *job, ptrdiff_t at, ptrdiff_t n, ptrdiff_t part) noexcept nogil:
    """g ← g + λ₁ sign(w) for a part of n weights from `at` on; the optimiser multiplies g by job.scale."""
    cdef ptrdiff_t first = share(n, 64, part, job.n_parts)
    cdef ptrdiff_t offset = (at + first) * job.p.size
    job.p.k.add_signs(share(n, 64, part + 1, job.n_parts) - first, job.vectors.gradient + offset,
                      job.vectors.params + offset, job.u.l1 / job.scale)


cdef void limit_norms(void *context, ptrdiff_t part, int thread) noexcept nogil:
    """Scales the incoming weights of a part of every layer's units down to the norm that they may have."""
    cdef Job *job = <Job *> context
    cdef const cmlp_op *op
    cdef int i
    for i in range(job.p.n_ops):
        op = &job.p.ops[i]
        if op.kind == CMLP_DENSE:
            job.p.k.limit_norms(op, job.vectors.params, job.u.max_norm, share(op.n_out, 16, part, job.n_parts),
                                share(op.n_out, 16, part + 1, job.n_parts))


cdef void average_part(void *context, ptrdiff_t part, int thread) noexcept nogil:
    """Brings a part of the average up to date after the step; the first step of all starts it."""
    cdef Job *job = <Job *> context
    cdef ptrdiff_t first = share(job.p.net.n_parameters, 64, part, job.n_parts)
    cdef ptrdiff_t count = share(job.p.net.n_parameters, 64, part + 1, job.n_parts) - first
    cdef double decay = job.u.average_decay if job.rates.first_step + job.t > 0 else 0.0
    job.p.k.average(count, job.vectors.average + first * job.p.size, job.vectors.params + first * job.p.size, decay)


cdef bint steps_at_once(const cmlp_update *u) noexcept nogil:
    """Whether every parameter may make its step as soon as its own gradient is known."""
    return (u.clip_value == INFINITY and u.clip_norm == INFINITY and u.l1 == 0.0 and u.rule != CMLP_NO_STEP
            and (u.batch_size > 1 or u.dropout))


cdef void step(Job *job, double weight) noexcept nogil:
    """Clips the gradient by value, then by global norm, and takes the step; weight: the batch's."""
    cdef const Code *p = job.p
    cdef const cmlp_update *u = job.u
    cdef double norm
    if u.rule == CMLP_NO_STEP:
        return
    if u.clip_value != INFINITY:
        p.k.clip(p.net.n_parameters, job.vectors.gradient, u.clip_value)
    if u.clip_norm != INFINITY:
        norm = sqrt(p.k.sum_of_squares(p.net.n_parameters, job.vectors.gradient))
        job.scale = u.clip_norm / norm if norm > u.clip_norm else 1.0
    job.steps = steps_of(job, weight)
    cmlp_share_work(&job.team, job.n_parts, step_part, job)


cdef void step_part(void *context, ptrdiff_t part, int thread) noexcept nogil:
    """The step for a part of every layer's parameters."""
    cdef Job *job = <Job *> context
    cdef const cmlp_op *op
    cdef int i
    for i in range(job.p.n_ops):
        op = &job.p.ops[i]
        if op.kind == CMLP_DENSE:
            if job.u.l1 != 0.0:
                add_l1(job, op.weights, n_weights(op), part)
            step_share(job, &job.steps.weights, op.weights, n_weights(op), part)
            if op.biases >= 0:
                step_share(job, &job.steps.biases, op.biases, op.n_out, part)
