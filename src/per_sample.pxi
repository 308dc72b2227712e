# Plain per-sample SGD: each sample's δ goes straight into the weights. Several ways lead to the same numbers, but for
# rounding; the network's shape decides which are possible, and program.py which one is taken.


cdef bint reads_x_once(const Code *p) noexcept:
    """Whether a dense layer is the only one that reads x."""
    cdef int i
    for i in range(1, p.n_ops):
        if p.ops[i].source < 0:
            return False
    return p.ops[0].kind == CMLP_DENSE and p.ops[0].source == -1


cdef bint is_chain(const Code *p) noexcept:
    """Whether dense layers follow one another, and nothing else does."""
    cdef int i
    cdef const cmlp_op *op
    for i in range(p.n_ops):
        op = &p.ops[i]
        if op.kind != CMLP_DENSE or op.accumulate or op.source != (p.ops[i - 1].out if i else -1):
            return False
        if i and op.n_in != p.ops[i - 1].n_out:
            return False
    return p.ops[p.n_ops - 1].out == p.net.output and p.ops[p.n_ops - 1].n_out == p.net.n_outputs


cdef bint may_go(const Code *p, int way) noexcept:
    """Whether a way of PER_SAMPLE_WAYS is possible for the network."""
    if way == CMLP_IN_BLOCKS:
        return reads_x_once(p)
    if way == CMLP_AS_CHAIN:
        return is_chain(p)
    if way == CMLP_AHEAD:
        return (is_chain(p) and p.n_ops == 2 and p.ops[0].layout == CMLP_ROWS and p.ops[0].n_out <= CMLP_MOST_AHEAD
                and p.ops[1].n_out == 1 and p.net.loss != CMLP_CROSS_ENTROPY)
    return way == CMLP_BY_OPERATION


cdef double learn(const Code *p, const void *params, const cmlp_target *to, const Samples *s, ptrdiff_t c,
                  const Workspace *w, ptrdiff_t *n_clipped) noexcept nogil:
    """Forward and backward for sample c, its gradient to the target if ℓ is finite. Returns ℓ."""
    cdef const char *x = x_of(p, s, c)
    cdef double loss
    cdef int i
    if p.net.per_sample >= CMLP_AS_CHAIN and params == to.values:
        return p.k.chain(p.ops, p.n_ops, &p.net, to, s, c, w.activations, w.errors, w.scratch, n_clipped)
    run_forward(p, params, x, w.activations, 0)
    loss = run_loss(p, s, c, x, weight_of(s, c), w.activations, w.errors)
    if isfinite(loss):
        for i in range(p.n_ops - 1, -1, -1):
            n_clipped[0] += p.k.backward(&p.ops[i], params, to, x, w.activations, w.errors, w.scratch)
    return loss


cdef void train_plainly(const Code *p, char *params, const Samples *s, const Rates *rates, const cmlp_update *u,
                        const Workspace *w, ptrdiff_t start, ptrdiff_t stop, Result *result) noexcept nogil:
    """The visits start..stop-1, one after the other."""
    cdef cmlp_target to
    cdef ptrdiff_t t, c
    cdef double loss
    cdef bint looks = not s.checked and p.net.per_sample == CMLP_BY_OPERATION  # a chain sees it in z
    to.values, to.clip_delta = params, u.clip_delta
    for t in range(start, stop):
        c = sample_at(s, t)
        if looks and p.k.first_nonfinite(p.net.n_inputs, x_of(p, s, c)) >= 0:
            result.bad = t
            break
        to.scale = -rate_at(rates, t)
        loss = learn(p, params, &to, s, c, w, &result.n_clipped)
        if not isfinite(loss):
            result.bad = t
            break
        result.loss += loss * weight_of(s, c)
        if u.counts_right:
            count_right(p, s, c, w.activations, 1, &result.correct)


cdef void train_in_blocks(const Code *p, char *params, const Samples *s, const Rates *rates, const cmlp_update *u,
                          const Workspace *w, Result *result) noexcept nogil:
    """The same, with W_1 read and written once per block of samples; see block.h."""
    cdef const cmlp_op *op = &p.ops[0]
    cdef const void *before[CMLP_BLOCK]
    cdef const void *next[CMLP_BLOCK]
    cdef cmlp_target to
    cdef ptrdiff_t start = 0, c, t, count, good
    cdef double loss
    cdef bint updates_left = False
    cdef int i
    to.values, to.clip_delta = params, u.clip_delta
    while start < s.n and result.bad < 0:
        count = min(<ptrdiff_t> CMLP_BLOCK, s.n - start)
        take_block(p, s, start, count, next)
        if not p.k.block_turn(op, params, before if updates_left else NULL, w.updates, next, w.products, w.gram):
            good = count if s.checked else n_finite(p, count, next)
            if good < count:  # the samples before it are learnt from: nothing of theirs depends on it
                result.bad, count = start + good, good
                take_block(p, s, start, count, next)
            if p.k.first_nonfinite(count * (count - 1) // 2, w.gram) >= 0:  # where W x need not overflow
                train_plainly(p, params, s, rates, u, w, start, start + count, result)
                updates_left, start = False, start + count
                continue
        memset(w.updates, 0, CMLP_BLOCK * p.net.width * p.size)
        for t in range(count):
            c = sample_at(s, start + t)
            p.k.block_forward(op, t, w.products, w.gram, w.updates, w.activations)
            run_forward(p, params, next[t], w.activations, 1)
            loss = run_loss(p, s, c, next[t], weight_of(s, c), w.activations, w.errors)
            if not isfinite(loss):
                result.bad = start + t
                break
            result.loss += loss * weight_of(s, c)
            if u.counts_right:
                count_right(p, s, c, w.activations, 1, &result.correct)
            to.scale = -rate_at(rates, start + t)
            for i in range(p.n_ops - 1, 0, -1):
                result.n_clipped += p.k.backward(&p.ops[i], params, &to, next[t], w.activations, w.errors, w.scratch)
            result.n_clipped += p.k.block_backward(op, t, &to, w.activations, w.errors, w.scratch, w.updates)
        if count:
            memcpy(before, next, sizeof(before))
            updates_left = True
        start += count
    if updates_left:
        p.k.block_turn(op, params, before, w.updates, NULL, w.products, w.gram)


cdef void take_block(const Code *p, const Samples *s, ptrdiff_t start, ptrdiff_t count,
                     const void **block) noexcept nogil:
    """The inputs of `count` samples; a short block repeats its last sample, with updates of 0."""
    cdef ptrdiff_t t
    for t in range(CMLP_BLOCK if count else 0):
        block[t] = x_of(p, s, sample_at(s, start + min(t, count - 1)))


cdef ptrdiff_t n_finite(const Code *p, ptrdiff_t count, const void *const *block) noexcept nogil:
    """How many inputs come before the first one with NaN or infinity."""
    cdef ptrdiff_t t
    for t in range(count):
        if p.k.first_nonfinite(p.net.n_inputs, block[t]) >= 0:
            return t
    return count


cdef void train_ahead(const Code *p, char *params, const Samples *s, const Rates *rates, const cmlp_update *u,
                      const Workspace *w, Result *result) noexcept nogil:
    """The same for few hidden units and one output; see ahead.h."""
    p.k.ahead(p.ops, &p.net, params, s, rates, u, w.activations, w.errors, w.scratch, result)


cdef void train_per_sample(const Code *p, char *params, const Samples *s, const Rates *rates, const cmlp_update *u,
                           const Workspace *w, Result *result) noexcept nogil:
    if p.net.per_sample == CMLP_IN_BLOCKS:
        train_in_blocks(p, params, s, rates, u, w, result)
    elif p.net.per_sample == CMLP_AHEAD:
        train_ahead(p, params, s, rates, u, w, result)
    else:
        train_plainly(p, params, s, rates, u, w, 0, s.n, result)
