# Prediction and learning of one sample a call, from Python.


# A target that `learn` was given: where it lies, or a class.
cdef struct Target:
    const char *y  # NULL: the class `label`
    int64_t label
    double as_double
    float as_float


@cython.final
cdef class OneRow:
    """Predicts and learns one sample per call, with the least that a call from Python can cost.

    Both methods return None, and do nothing, for whatever is not the plain case: the slow path checks and explains.
    The GIL is held, so one workspace serves all threads, and nothing but the result is allocated.

    Attributes
    ----------
    rate : float
        γ of plain SGD, if it is constant; NaN otherwise: then `learn` always returns None.
    n_steps : int
        Steps made with the present optimiser, here and elsewhere: `learn` counts its own.
    """
    cdef object keeps  # what the pointers below point into
    cdef object scaling
    cdef object before  # the scaling before a step that may fail
    cdef Code code
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
    cdef public int64_t n_steps

    def __init__(self, Program program, cnp.ndarray params, cnp.ndarray workspace, scaling=None):
        """scaling: the live arrays of a cmlp._engine.scaling.Scaling that standardises, or None."""
        self.type_number = cnp.PyArray_TYPE(params)
        self.is_double = self.type_number == <int> cnp.NPY_DOUBLE
        self.code = program.at_work(sizeof(double) if self.is_double else sizeof(float))
        self.w = workspace_for_one(&self.code, params, workspace)
        self.keeps, self.scaling = (program, params, workspace), scaling
        self.params = cnp.PyArray_DATA(params)
        self.rate = float("nan")
        self.mean = self.scale = NULL
        if scaling is not None:
            self.before = [array.copy() for array in scaling]
            self.count, self.means, self.squares = (
                <double *> cnp.PyArray_DATA(scaling[0]), <double *> cnp.PyArray_DATA(scaling[1]),
                <double *> cnp.PyArray_DATA(scaling[2]))
            self.mean, self.scale = cnp.PyArray_DATA(scaling[3]), cnp.PyArray_DATA(scaling[4])

    cdef const void *data_of(self, object values, ptrdiff_t n):
        """Where the values lie if they are a fitting, finite array (n,); else NULL."""
        if type(values) is not cnp.ndarray:
            return NULL
        cdef cnp.ndarray array = values
        if (cnp.PyArray_TYPE(array) != self.type_number or cnp.PyArray_NDIM(array) != 1
                or cnp.PyArray_DIM(array, 0) != n or not cnp.PyArray_ISCARRAY_RO(array)):
            return NULL
        cdef const void *data = cnp.PyArray_DATA(array)
        return data if self.code.k.first_nonfinite(n, data) < 0 else NULL

    cdef const void *standardized(self, const void *x) noexcept:
        """x (n_inputs,) as the layers want it."""
        if self.mean == NULL:
            return x
        self.code.k.standardize(self.code.net.n_inputs, x, self.mean, self.scale, self.w.x)
        return self.w.x

    def predict(self, x):
        """ŷ (n_outputs,) of x (n_inputs,), or None."""
        self.code.k = cmlp_table(_level, self.is_double)
        cdef const void *data = self.data_of(x, self.code.net.n_inputs)
        if data == NULL:
            return None
        data = self.standardized(data)
        cdef cnp.npy_intp shape = self.code.net.n_outputs
        cdef ptrdiff_t size = self.code.size
        out = cnp.PyArray_EMPTY(1, &shape, self.type_number, 0)
        run_forward(&self.code, self.params, data, self.w.activations, 0)
        memcpy(cnp.PyArray_DATA(out), self.w.activations + self.code.net.output * size, shape * size)
        return out

    cdef bint take_target(self, object y, Target *target):
        """Whether y is a target of the plain case: a class, a number, or a fitting array."""
        cdef int loss = self.code.net.loss
        cdef ptrdiff_t n = self.code.net.n_outputs
        cdef bint is_number = type(y) is int or type(y) is float
        target.y = NULL
        if loss == CMLP_CROSS_ENTROPY or (loss == CMLP_HINGE and n > 1):
            if type(y) is not int or not 0 <= y < n:
                return False
            target.label = y
            return True
        if loss in (CMLP_BINARY_CROSS_ENTROPY, CMLP_POISSON, CMLP_HINGE):
            if n > 1 or not is_number or not is_in_range(loss, y):
                return False
        if n == 1 and is_number and -1e30 < y < 1e30:
            target.as_double = y
            target.as_float = <float> target.as_double
            target.y = <const char *> &target.as_double if self.is_double else <const char *> &target.as_float
        else:
            target.y = <const char *> self.data_of(y, n)
        return target.y != NULL

    def learn(self, x, y, clip_delta):
        """ℓ before the plain SGD step on x (n_inputs,) and its target, or None; clip_delta: ψ as a float, or None."""
        self.code.k = cmlp_table(_level, self.is_double)
        cdef const void *data = self.data_of(x, self.code.net.n_inputs)
        cdef double psi = INFINITY, loss
        cdef ptrdiff_t n_clipped = 0
        cdef Target target
        cdef cmlp_target to
        cdef Samples s
        cdef bint finite = True
        if data == NULL or not self.rate > 0.0:
            return None
        if clip_delta is not None:
            if type(clip_delta) is not float or not 0.0 < clip_delta < INFINITY:
                return None
            psi = clip_delta
        if not self.take_target(y, &target):
            return None
        if self.mean != NULL:
            copy_arrays(self.scaling, self.before)
            finite = self.code.k.learn_scale(
                self.code.net.n_inputs, data, self.count, self.means, self.squares, self.mean, self.scale)
        if finite:
            to.values, to.scale, to.clip_delta = self.params, -self.rate, psi
            s = sample_of(self.standardized(data), target.y, &target.label)
            loss = learn(&self.code, self.params, &to, &s, 0, &self.w, &n_clipped)
            if isfinite(loss):
                self.n_steps += 1
                return loss
        if self.mean != NULL:  # no parameter has changed
            copy_arrays(self.before, self.scaling)
        return None


cdef bint is_in_range(int loss, object y):
    """Whether a number is in the range of the targets of binary_cross_entropy, poisson or hinge."""
    if loss == CMLP_BINARY_CROSS_ENTROPY:
        return 0 <= y <= 1
    return y >= 0 if loss == CMLP_POISSON else y in (-1, 0, 1)


cdef void copy_arrays(object source, object target):
    for from_array, to_array in zip(source, target):
        memcpy(cnp.PyArray_DATA(to_array), cnp.PyArray_DATA(from_array), cnp.PyArray_NBYTES(to_array))
