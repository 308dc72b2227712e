# A network in a capsule (cmlp.h), for other compiled code.


# What a capsule holds: the public part (cmlp.h) first, then what its functions need.
cdef struct Embedded:
    cmlp_network public_part
    Code code
    Workspace w
    void *params
    const void *mean  # NULL: x is not standardised
    const void *scale
    PyObject *keeps  # a tuple of what the pointers point into


cdef const void *embedded_input(const Embedded *e, const void *x) noexcept nogil:
    if e.mean == NULL:
        return x
    e.code.k.standardize(e.code.net.n_inputs, x, e.mean, e.scale, e.w.x)
    return e.w.x


cdef void embedded_predict(const cmlp_network *network, const void *x, void *y) noexcept nogil:
    cdef const Embedded *e = <const Embedded *> network
    run_forward(&e.code, e.params, embedded_input(e, x), e.w.activations, 0)
    memcpy(y, e.w.activations + e.code.net.output * e.code.size, e.code.net.n_outputs * e.code.size)


cdef double embedded_learn(const cmlp_network *network, const void *x, const void *y, int64_t label, double rate,
                           double clip_delta) noexcept nogil:
    cdef const Embedded *e = <const Embedded *> network
    cdef cmlp_target to
    cdef ptrdiff_t n_clipped = 0
    cdef Samples s = sample_of(embedded_input(e, x), y, &label)
    to.values, to.scale, to.clip_delta = e.params, -rate, clip_delta
    return learn(&e.code, e.params, &to, &s, 0, &e.w, &n_clipped)


cdef void free_embedded(object capsule) noexcept:
    cdef Embedded *e = <Embedded *> PyCapsule_GetPointer(capsule, CMLP_CAPSULE)
    Py_DECREF(<object> e.keeps)
    free(e)


def embed(Program program, cnp.ndarray params, cnp.ndarray workspace, scaling=None):
    """A capsule with a `cmlp_network *` (cmlp.h) over these parameters, computing in this workspace.

    scaling: live arrays (mean, scale), each (n_inputs,), with which x is standardised, or None.
    """
    cdef bint is_double = cnp.PyArray_TYPE(params) == <int> cnp.NPY_DOUBLE
    cdef Code code = program.at_work(sizeof(double) if is_double else sizeof(float))
    cdef Workspace w = workspace_for_one(&code, params, workspace)
    cdef char *mean = NULL
    cdef char *scale = NULL
    if scaling is not None:
        mean, scale = (scale_of(scaling[0], code.net.n_inputs, cnp.PyArray_TYPE(params), "mean"),
                       scale_of(scaling[1], code.net.n_inputs, cnp.PyArray_TYPE(params), "scale"))
    cdef Embedded *e = <Embedded *> calloc(1, sizeof(Embedded))
    if e == NULL:
        raise MemoryError("no memory for a capsule")
    e.code, e.w, e.mean, e.scale = code, w, mean, scale
    e.params = cnp.PyArray_DATA(params)
    e.public_part.n_inputs = e.code.net.n_inputs
    e.public_part.n_outputs = e.code.net.n_outputs
    e.public_part.is_double = is_double
    e.public_part.predict = embedded_predict
    e.public_part.learn = embedded_learn
    keeps = (program, params, workspace, scaling, held((params, workspace, *(scaling or ()))))
    Py_INCREF(keeps)
    e.keeps = <PyObject *> keeps
    return PyCapsule_New(e, CMLP_CAPSULE, free_embedded)
