# Prediction and learning of one sample a call, from Python.


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
    cdef object program, parameters, workspace, scaling  # what the pointers below point into
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
        self.scaling = scaling
        self.before = None if scaling is None else [array.copy() for array in scaling]
        self.mean = self.scale = NULL
        if scaling is not None:
            self.count, self.means, self.squares = (
                <double *> cnp.PyArray_DATA(scaling[0]), <double *> cnp.PyArray_DATA(scaling[1]),
                <double *> cnp.PyArray_DATA(scaling[2]))
            self.mean, self.scale = cnp.PyArray_DATA(scaling[3]), cnp.PyArray_DATA(scaling[4])
        self.program = program
        self.parameters = params
        self.workspace = workspace
        self.params = cnp.PyArray_DATA(params)
        self.type_number = cnp.PyArray_TYPE(params)
        self.is_double = self.type_number == <int> cnp.NPY_DOUBLE
        self.code = program.at_work(sizeof(double) if self.is_double else sizeof(float))
        self.w = workspace_for_one(&self.code, params, workspace)
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
        return data if self.code.k.first_nonfinite(n, data) < 0 else NULL

    cdef const void *standardized(self, const void *x) noexcept:
        """x (n_inputs,) as the layers want it."""
        if self.mean == NULL:
            return x
        self.code.k.standardize(self.code.net.n_inputs, x, self.mean, self.scale, self.w.x)
        return self.w.x

    cdef void copy_scaling(self, object source, object target):
        for from_array, to_array in zip(source, target):
            memcpy(cnp.PyArray_DATA(to_array), cnp.PyArray_DATA(from_array), cnp.PyArray_NBYTES(to_array))

    def predict(self, x):
        """ŷ (n_outputs,) of x (n_inputs,), or None."""
        self.code.k = cmlp_table(_level, self.is_double)
        cdef const void *data = self.data_of(x, self.code.net.n_inputs)
        if data == NULL:
            return None
        data = self.standardized(data)
        cdef cnp.npy_intp shape = self.code.net.n_outputs
        out = cnp.PyArray_EMPTY(1, &shape, self.type_number, 0)
        run_forward(&self.code, self.params, data, self.w.activations, 0)
        memcpy(cnp.PyArray_DATA(out), self.w.activations + self.code.net.output * self.code.size, shape * self.code.size)
        return out

    def learn(self, x, y, clip_delta):
        """ℓ before the plain SGD step on x (n_inputs,) and its target, or None; clip_delta: ψ as a float, or None."""
        self.code.k = cmlp_table(_level, self.is_double)
        cdef const void *data = self.data_of(x, self.code.net.n_inputs)
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
        if self.code.net.loss == CMLP_CROSS_ENTROPY or (self.code.net.loss == CMLP_HINGE and self.code.net.n_outputs > 1):
            if type(y) is not int or not 0 <= y < self.code.net.n_outputs:
                return None
            label = y
            s.labels = &label
        elif self.code.net.loss in (CMLP_BINARY_CROSS_ENTROPY, CMLP_POISSON, CMLP_HINGE):
            if self.code.net.n_outputs != 1 or type(y) not in (int, float) or not is_target(self.code.net.loss, y):
                return None
        if s.labels == NULL:
            if self.code.net.n_outputs == 1 and type(y) in (int, float) and -1e30 < y < 1e30:
                as_double = y
                as_float = <float> as_double
                s.Y = <const char *> &as_double if self.is_double else <const char *> &as_float
            else:
                s.Y = <const char *> self.data_of(y, self.code.net.n_outputs)
            if s.Y == NULL:
                return None
        if self.mean != NULL:
            self.copy_scaling(self.scaling, self.before)
            finite = self.code.k.learn_scale(self.code.net.n_inputs, data, self.count, self.means, self.squares, self.mean,
                                            self.scale)
        s.X = <const char *> self.standardized(data)
        if finite:
            loss = learn(&self.code, self.params, self.params, -self.rate, psi, &s, 0, &self.w, &n_clipped)
            if isfinite(loss):
                self.n_steps += 1
                return loss
        if self.mean != NULL:  # no parameter has changed
            self.copy_scaling(self.before, self.scaling)
        return None


cdef bint is_target(int loss, object y):
    """Whether a number is in the range of the targets of binary_cross_entropy, poisson or hinge."""
    if loss == CMLP_BINARY_CROSS_ENTROPY:
        return 0 <= y <= 1
    return y >= 0 if loss == CMLP_POISSON else y in (-1, 0, 1)
