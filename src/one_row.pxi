# Prediction and learning of one sample a call, from Python.


cdef enum:
    MOST_RATES = 256

RATES_AHEAD = MOST_RATES  # learning rates that are asked for at once


# A sample that was given, as the network's type: x, and where the target lies, or NULL and its class.
cdef struct Given:
    const void *x
    const void *y
    int64_t label
    double clip_delta
    bint gaps  # NaN in x


@cython.final
cdef class OneRow:
    """Predicts and learns one sample per call, with the least that a call from Python can cost.

    Both methods return None, and have done nothing, for whatever is not plainly right: the slow path checks and
    explains. The GIL is held, so one workspace serves all threads, and nothing but the result is allocated.

    Attributes
    ----------
    n_steps : int
        Steps made with the present optimiser, here and elsewhere: `learn` counts its own. To set it also says that the
        rates to come may have changed.
    planned : bool
        Whether `learn` knows how to make its steps: `plan` tells it, `drop_plan` makes it forget.
    claim : Claim
        Who trains the network; while another thread does, `learn` returns None.
    """
    cdef readonly Claim claim
    cdef object keeps  # what the pointers below point into
    cdef Code code
    cdef Workspace w
    cdef char *params
    cdef const char *params_end
    cdef int type_number
    cdef bint is_double
    # own rows, padded
    cdef char *x
    cdef char *scaled_x
    cdef char *y
    # the scale of the inputs
    cdef bint fills_gaps
    cdef ptrdiff_t n_scaled  # 0: there is none
    cdef char *scale[5]  # N, μ, S; μ and 1/σ as the network's type, NULL if x is not standardised
    cdef char *scale_before  # a step that may fail
    # the steps
    cdef object plan_keeps  # None: no plan
    cdef object model  # a weak reference
    cdef cmlp_update update
    cdef cmlp_vectors vectors
    cdef bint plain
    cdef int64_t steps
    cdef double rates[MOST_RATES]  # γ_t from step first_rate on
    cdef int64_t first_rate, n_rates
    # seeds of dropout
    cdef object generator
    cdef bitgen_t *bits
    cdef uint64_t seed
    cdef bint has_seed  # which was drawn, but not used

    def __init__(self, Program program, cnp.ndarray params, cnp.ndarray workspace, scaling=(), bint fills_gaps=False):
        """scaling: the live arrays of a cmlp._engine.scaling.Scaling; fills_gaps: its `missing` is "mean"."""
        self.type_number = cnp.PyArray_TYPE(params)
        self.is_double = self.type_number == <int> cnp.NPY_DOUBLE
        self.code = program.at_work(sizeof(double) if self.is_double else sizeof(float))
        self.w = workspace_for_one(&self.code, params, workspace)
        self.params = cnp.PyArray_BYTES(params)
        self.params_end = self.params + cnp.PyArray_NBYTES(params)
        cdef ptrdiff_t n = self.code.net.n_inputs, size = self.code.size
        cdef ptrdiff_t row = n * size + CMLP_ALIGN, before = 3 * n * sizeof(double) + 2 * n * size
        cdef cnp.ndarray rows = np.zeros(before + 2 * row + self.code.net.n_outputs * size + CMLP_ALIGN, np.uint8)
        self.scale_before = cnp.PyArray_BYTES(rows)
        self.x = self.scale_before + before
        self.scaled_x = self.x + row
        self.y = self.scaled_x + row
        self.fills_gaps, self.n_scaled = fills_gaps, len(scaling)
        self.claim = Claim()
        for i, array in enumerate(scaling):
            if i > 4:
                raise ValueError(f"scaling must have at most 5 arrays, not {len(scaling)}")
            self.scale[i] = scale_of(array, n, cnp.NPY_DOUBLE if i < 3 else self.type_number, f"scaling[{i}]")
        self.keeps = program, params, workspace, rows, scaling, held((params, workspace, *scaling))

    @property
    def n_steps(self):
        return self.steps

    @n_steps.setter
    def n_steps(self, int64_t n_steps):
        self.steps, self.n_rates = n_steps, 0

    @property
    def planned(self):
        return self.plan_keeps is not None

    def drop_plan(self):
        """Let `learn` return None until there is a new plan."""
        self.plan_keeps, self.n_rates = None, 0

    def plan(self, update, cnp.ndarray trained, buffers, model):
        """Let `learn` make its steps like this.

        Parameters
        ----------
        update : record of UPDATE
            With batches of one sample.
        trained : ndarray, shape (n_parameters,)
            What the steps change.
        buffers : object
            `gradient`, `average` and `slots` as for `Program.train`.
        model : callable
            A weak reference to an object with `rates_ahead(first_step)`, the learning rates of that step and of those
            after it, as many as it knows, and `rng`, which gives a seed for each sample if layers drop out.
        """
        self.drop_plan()
        self.update = update_of(update)
        self.plain = updates_plainly(&self.update)
        memset(&self.vectors, 0, sizeof(cmlp_vectors))
        if self.is_double:
            keeps = set_vectors[double](&self.vectors, &self.code.net, trained, buffers)
        else:
            keeps = set_vectors[float](&self.vectors, &self.code.net, trained, buffers)
        if self.update.batch_size != 1:
            raise ValueError(f"batch_size must be 1 for one row, not {self.update.batch_size}")
        expect_slots(&self.vectors, &self.update)
        self.model, self.plan_keeps = model, (trained, keeps)

    # ------------------------------------------------------------------------------------------------ what is given

    cdef const void *row_of(self, object given, ptrdiff_t n, char *own) noexcept:
        """Where n numbers of the network's type lie: those given if they fit as they are, else in `own`; or NULL."""
        cdef const char *data
        if (type(given) is cnp.ndarray and cnp.PyArray_TYPE(<cnp.ndarray> given) == self.type_number
                and cnp.PyArray_NDIM(<cnp.ndarray> given) == 1 and cnp.PyArray_DIM(<cnp.ndarray> given, 0) == n
                and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray> given)):
            data = cnp.PyArray_BYTES(<cnp.ndarray> given)
            # a row of the weights themselves must not change while it is learnt from
            if data + n * self.code.size <= self.params or data >= self.params_end:
                return data
        return own if convert_row(given, n, own, self.is_double) else NULL

    cdef bint take_x(self, object x, Given *given) noexcept:
        cdef ptrdiff_t n = self.code.net.n_inputs
        given.x = self.row_of(x, n, self.x)
        given.gaps = False
        if given.x == NULL:
            return False
        if self.code.k.first_nonfinite(n, given.x) < 0:
            return True
        given.gaps = self.fills_gaps and not (has_infinity(<const double *> given.x, n) if self.is_double
                                              else has_infinity(<const float *> given.x, n))
        return given.gaps

    cdef bint take_target(self, object y, Given *given) noexcept:
        cdef int loss = self.code.net.loss
        cdef ptrdiff_t n = self.code.net.n_outputs
        cdef bint classes = takes_classes(&self.code.net)
        cdef double number = 0.0
        if (classes or n == 1) and number_of(y, &number):
            if classes:
                given.y, given.label = NULL, <int64_t> number
                return 0 <= number < n and given.label == number
            given.y = self.y
            if self.is_double:
                (<double *> self.y)[0] = number
            else:
                (<float *> self.y)[0] = <float> number
        else:
            given.y = self.row_of(y, n, self.y)
            if given.y == NULL or self.code.k.first_nonfinite(n, given.y) >= 0:
                return False
            if loss == CMLP_HINGE and n > 1:
                given.label = (one_hot(<const double *> given.y, n) if self.is_double
                               else one_hot(<const float *> given.y, n))
                if given.label >= 0:
                    given.y = NULL
                    return True
        if self.is_double:
            return suits(loss, <const double *> given.y, n)
        return suits(loss, <const float *> given.y, n)

    cdef bint take_sample(self, object x, object y, object clip_delta, Given *given) noexcept:
        given.clip_delta = INFINITY
        if clip_delta is not None:
            if (cmlp_is_bool(<PyObject *> clip_delta) or not cmlp_number(<PyObject *> clip_delta, &given.clip_delta)
                    or not 0.0 < given.clip_delta < INFINITY):
                return False
        return self.take_x(x, given) and self.take_target(y, given)

    # ------------------------------------------------------------------------------------------- the scale of inputs

    cdef bint learn_scale(self, const Given *given) noexcept:
        """Whether the scale could take x into account."""
        if self.n_scaled == 0:
            return True
        self.copy_scale(True)
        return self.code.k.learn_scale(
            self.code.net.n_inputs, given.x, <double *> self.scale[0], <double *> self.scale[1],
            <double *> self.scale[2], self.scale[3], self.scale[4])

    cdef void copy_scale(self, bint save) noexcept:
        """Save the scale, or take the saved one back."""
        cdef char *saved = self.scale_before
        cdef ptrdiff_t i, n_bytes
        for i in range(self.n_scaled):
            n_bytes = self.code.net.n_inputs * (sizeof(double) if i < 3 else self.code.size)
            memcpy(saved if save else self.scale[i], self.scale[i] if save else saved, n_bytes)
            saved += n_bytes

    cdef const void *on_scale(self, const Given *given) noexcept:
        """x as the layers want it."""
        cdef ptrdiff_t n = self.code.net.n_inputs
        cdef const void *x = given.x
        if given.gaps:
            if self.is_double:
                fill_gaps(<const double *> x, <const double *> self.scale[1], <double *> self.x, n)
            else:
                fill_gaps(<const float *> x, <const double *> self.scale[1], <float *> self.x, n)
            x = self.x
        if self.scale[3] == NULL:
            return x
        self.code.k.standardize(n, x, self.scale[3], self.scale[4], self.scaled_x)
        return self.scaled_x

    # ---------------------------------------------------------------------------------------------------- one sample

    def predict(self, x):
        """ŷ (n_outputs,) of x (n_inputs,), or None."""
        self.code.k = cmlp_table(_level, self.is_double)
        cdef Given given
        if not self.take_x(x, &given):
            return None
        cdef cnp.npy_intp shape = self.code.net.n_outputs
        cdef ptrdiff_t size = self.code.size
        out = cnp.PyArray_EMPTY(1, &shape, self.type_number, 0)
        run_forward(&self.code, self.params, self.on_scale(&given), self.w.activations, 0)
        memcpy(cnp.PyArray_DATA(out), self.w.activations + self.code.net.output * size, shape * size)
        return out

    def learn(self, x, y, clip_delta):
        """ℓ before the step on x (n_inputs,) and its target, or None; clip_delta: ψ, or None."""
        self.code.k = cmlp_table(_level, self.is_double)
        cdef Given given
        cdef Samples s
        cdef double loss
        if not self.may_learn() or not self.take_sample(x, y, clip_delta, &given):
            return None
        # rates and seeds may come from users' code, which may do anything: x and y are taken anew
        if not self.has_rate():
            self.ask_for_rates()
            if not self.may_learn() or not self.has_rate() or not self.take_sample(x, y, clip_delta, &given):
                return None
        if self.learn_scale(&given) and (not self.update.dropout or (
                self.draw() and self.may_learn() and self.has_rate() and self.take_sample(x, y, clip_delta, &given))):
            s = sample_of(self.on_scale(&given), given.y, &given.label)
            loss = self.step(&s, given.clip_delta)
            if isfinite(loss):
                self.steps += 1
                self.claim.changes += 1
                self.has_seed = False
                return loss
        self.copy_scale(False)  # no parameter has changed
        return None

    cdef double step(self, const Samples *s, double clip_delta) noexcept:
        """One step; ℓ before it. Nothing but the workspace and the gradient has changed if that is not finite."""
        cdef ptrdiff_t n_clipped = 0
        cdef const double *rate = &self.rates[self.steps - self.first_rate]
        cdef Rates rates = Rates(rate, 1, self.steps)
        cdef cmlp_target to
        cdef double loss
        cdef Job job
        if self.plain:
            to.values, to.scale, to.clip_delta = self.params, -rates.values[0], clip_delta
            return learn(&self.code, self.params, &to, s, 0, &self.w, &n_clipped)
        if self.vectors.average != NULL and self.steps == 0:  # which the first step starts
            memcpy(self.vectors.params, self.params, self.code.net.n_parameters * self.code.size)
        self.update.clip_delta, self.update.seed = clip_delta, self.seed
        memset(&job, 0, sizeof(Job))
        job.p, job.s, job.u, job.rates, job.w, job.vectors = (
            &self.code, s, &self.update, &rates, &self.w, self.vectors)
        job.n_parts, job.rows_at_once, job.losses, job.scale, job.result.bad = 1, 1, &loss, 1.0, -1
        train_in_batches(&job)
        return loss

    cdef bint may_learn(self) noexcept:
        """Whether there is a plan, and no other thread trains the network."""
        return self.plan_keeps is not None and not self.claim.is_others()

    cdef bint has_rate(self) noexcept:
        return 0 <= self.steps - self.first_rate < self.n_rates

    cdef int ask_for_rates(self) except -1:
        """Let the model give the rates from the next step on; there are none if something is wrong."""
        cdef int64_t first = self.steps
        cdef ptrdiff_t n
        self.n_rates = 0
        model = self.model()
        if model is None:
            return 0
        rates = model.rates_ahead(first)
        if (type(rates) is not cnp.ndarray or cnp.PyArray_TYPE(rates) != <int> cnp.NPY_DOUBLE
                or cnp.PyArray_NDIM(rates) != 1 or not cnp.PyArray_ISCARRAY_RO(rates)):
            return 0
        n = min(cnp.PyArray_DIM(rates, 0), <ptrdiff_t> MOST_RATES)
        memcpy(self.rates, cnp.PyArray_DATA(rates), n * sizeof(double))
        self.first_rate, self.n_rates = first, n
        return 0

    # ---------------------------------------------------------------------------------------------- seeds of dropout

    cdef bint draw(self) except *:
        """Whether there is a seed: not if another thread draws from the same generator right now."""
        model = self.model()
        if self.has_seed or model is None:
            return self.has_seed
        generator = model.rng.bit_generator
        if generator is not self.generator:
            self.bits = <bitgen_t *> PyCapsule_GetPointer(generator.capsule, "BitGenerator")
            self.generator = generator
        if generator.lock.acquire(False):
            self.seed, self.has_seed = self.bits.next_uint64(self.bits.state), True
            generator.lock.release()
        return self.has_seed

    def take_seed(self):
        """The seed that was drawn for a sample whose loss was not finite, once; or None."""
        if not self.has_seed:
            return None
        self.has_seed = False
        return self.seed
