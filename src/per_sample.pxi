# Plain per-sample SGD, and what one sample does.


cdef double learn(const Code *p, const void *params, void *target, double scale, double clip_delta, const Samples *s,
                  ptrdiff_t c, const Workspace *w, ptrdiff_t *n_clipped) noexcept nogil:
    """Forward and backward for sample c; target += scale · (gradient of its clipped δ), if ℓ is finite. Returns ℓ."""
    cdef const char *x = s.X + c * p.net.n_inputs * p.size
    cdef double loss
    cdef int i
    run_forward(p, params, x, w.activations, 0)
    loss = run_loss(p, s, c, x, weight_of(s, c), w.activations, w.errors)
    if isfinite(loss):
        for i in range(p.n_ops - 1, -1, -1):
            n_clipped[0] += p.k.backward(&p.ops[i], params, target, scale, clip_delta, x, w.activations, w.errors,
                                         w.scratch)
    return loss


cdef void train_plainly(const Code *p, char *params, const Samples *s, const Rates *rates, const cmlp_update *u,
                        const Workspace *w, Result *result) noexcept nogil:
    """Plain per-sample SGD: each sample's δ goes straight into the weights."""
    cdef ptrdiff_t t, c
    cdef double loss
    for t in range(s.n):
        c = sample_at(s, t)
        if not s.checked and p.k.first_nonfinite(p.net.n_inputs, s.X + c * p.net.n_inputs * p.size) >= 0:
            result.bad = t
            break
        loss = learn(p, params, params, -rate_at(rates, t), u.clip_delta, s, c, w, &result.n_clipped)
        if not isfinite(loss):
            result.bad = t
            break
        result.loss += loss * weight_of(s, c)


cdef void train_in_blocks(const Code *p, char *params, const Samples *s, const Rates *rates, const cmlp_update *u,
                          const Workspace *w, Result *result) noexcept nogil:
    """The same as `train_plainly`, with W_1 read and written once per block of samples; see block.h."""
    cdef const cmlp_op *op = &p.ops[0]
    cdef const void *before[CMLP_BLOCK]
    cdef const void *next[CMLP_BLOCK]
    cdef ptrdiff_t start = 0, c, t, count
    cdef double loss, rate
    cdef int i
    while start < s.n and result.bad < 0:
        count = min(<ptrdiff_t> CMLP_BLOCK, s.n - start)
        for t in range(CMLP_BLOCK):  # a short last block repeats its last sample, with updates of 0
            next[t] = s.X + sample_at(s, start + min(t, count - 1)) * p.net.n_inputs * p.size
            if not s.checked and p.k.first_nonfinite(p.net.n_inputs, next[t]) >= 0:
                result.bad = start + t
                return
        p.k.block_turn(op, params, before if start else NULL, w.updates, next, w.products, w.gram)
        memset(w.updates, 0, CMLP_BLOCK * p.net.width * p.size)
        for t in range(count):
            c = sample_at(s, start + t)
            rate = rate_at(rates, start + t)
            p.k.block_forward(op, t, w.products, w.gram, w.updates, w.activations)
            run_forward(p, params, next[t], w.activations, 1)
            loss = run_loss(p, s, c, next[t], weight_of(s, c), w.activations, w.errors)
            if not isfinite(loss):
                result.bad = start + t
                break
            result.loss += loss * weight_of(s, c)
            for i in range(p.n_ops - 1, 0, -1):
                result.n_clipped += p.k.backward(&p.ops[i], params, params, -rate, u.clip_delta, next[t],
                                                 w.activations, w.errors, w.scratch)
            result.n_clipped += p.k.block_backward(op, t, -rate, u.clip_delta, w.activations, w.errors, w.scratch,
                                                   w.updates)
        memcpy(before, next, sizeof(before))
        start += count
    p.k.block_turn(op, params, before, w.updates, NULL, w.products, w.gram)
