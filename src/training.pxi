# A training call. What stays the same from chunk to chunk is checked and unpacked once.


@cython.final
cdef class Training:
    """Samples, buffers and settings of a training call; `learn` makes a chunk of an epoch.

    Parameters are those of `Program.train`.

    Attributes
    ----------
    loss, correct, n_clipped
        What `Program.train` returns, of the chunks since the epoch began.
    """
    cdef object keeps  # what the pointers below point into
    cdef Program program
    cdef Code code
    cdef Samples samples
    cdef cmlp_update update
    cdef bint plain
    cdef char *workspace
    cdef ptrdiff_t workspace_size
    cdef double *last_loss
    cdef cnp.ndarray losses  # of the rows at work
    cdef Job job
    cdef Result epoch

    def __init__(self, Program program, params, buffers, samples, update):
        self.program, self.update = program, update_of(update)
        self.plain = updates_plainly(&self.update)
        if params.dtype == np.float64:
            unpack[double](self, params, buffers, samples)
        else:
            unpack[float](self, params, buffers, samples)
        expect_slots(&self.job.vectors, &self.update)
        self.job.p, self.job.u = &self.code, &self.update

    cdef double *losses_of(self, ptrdiff_t rows) except NULL:
        """Memory for the losses of so many rows: too much for a small stack."""
        if self.losses is None or cnp.PyArray_DIM(self.losses, 0) < rows:
            self.losses = np.empty(rows)
        return <double *> cnp.PyArray_DATA(self.losses)

    @property
    def loss(self):
        return self.epoch.loss

    @property
    def correct(self):
        return self.epoch.correct

    @property
    def n_clipped(self):
        return self.epoch.n_clipped

    def finite(self):
        """Whether all parameters are, their average, and what the optimiser keeps."""
        cdef const cmlp_vectors *v = &self.job.vectors
        cdef int i
        for i in range(CMLP_N_SLOTS):
            if not self.is_finite(v.slots[i]):
                return False
        return self.is_finite(v.params) and self.is_finite(v.average)

    cdef bint is_finite(self, const char *vector) noexcept:
        """Whether a vector like the parameters is, if it is there."""
        return vector == NULL or self.code.k.first_nonfinite(self.code.net.n_parameters, vector) < 0

    def learn(self, order, ptrdiff_t start, ptrdiff_t stop, rates, ptrdiff_t first_step, int n_threads=1,
              bint checked=False):
        """The visits start..stop-1 of an epoch in this order (None: 0..M-1), which begins with 0.

        start is a multiple of the batch size; rates: one for each of the steps, or a single one; checked: whether X is
        known to be finite by now. Returns at which visit the loss was not finite, where it stops, or -1.
        """
        cdef Samples s = self.samples
        cdef cnp.ndarray given_rates = vector(rates, cnp.NPY_DOUBLE, "rates")
        cdef cnp.ndarray visits = None if order is None else vector(order, cnp.NPY_INT64, "order")
        cdef Rates gammas = Rates(<const double *> cnp.PyArray_DATA(given_rates), cnp.PyArray_DIM(given_rates, 0),
                                  first_step)
        cdef Workspace w
        cdef Job *job = &self.job
        cdef ptrdiff_t rows = min(self.update.batch_size, n_threads * <ptrdiff_t> CMLP_ROWS_AT_ONCE)
        cdef ptrdiff_t n = s.n if order is None else cnp.PyArray_DIM(visits, 0)
        if not 0 <= start <= stop <= n:
            raise ValueError(f"start and stop must be in the {n} visits, not {start}, {stop}")
        expect_threads(n_threads)
        expect_room(&self.code, self.workspace_size, rows, n_threads)
        if gammas.n != 1:
            expect("rates", gammas.n, (stop - start + self.update.batch_size - 1) // self.update.batch_size)
        s.n = stop - start
        s.checked = s.checked or checked
        if order is not None:
            s.order = <const int64_t *> cnp.PyArray_DATA(visits) + start
            expect_visits(s.order, s.n, s.n_rows)
        else:
            skip_rows(&self.code, &s, start)
        w = split(&self.code, self.workspace, rows, n_threads)
        job.n_parts, job.rows_at_once = n_threads, rows
        job.s, job.rates, job.w, job.losses = &s, &gammas, &w, NULL if self.plain else self.losses_of(rows)
        job.t, job.scale, job.last_loss = 0, 1.0, self.last_loss[0]
        memset(job.n_clipped, 0, sizeof(job.n_clipped))
        if start == 0:
            memset(&self.epoch, 0, sizeof(Result))
        job.result = self.epoch
        job.result.bad = -1
        with nogil:
            learn_visits(job, self.plain, n_threads)
        self.last_loss[0] = job.last_loss
        self.epoch = job.result
        return start + job.result.bad if job.result.bad >= 0 else -1


cdef void learn_visits(Job *job, bint plain, int n_threads) noexcept nogil:
    if plain:
        train_per_sample(job.p, job.vectors.params, job.s, job.rates, job.u, job.w, &job.result)
    else:
        cmlp_start_team(&job.team, n_threads)
        train_in_batches(job)
        cmlp_end_team(&job.team)


cdef int unpack(Training training, floating[::1] params, object buffers, object samples) except -1:
    """Checks the arrays, and says where they lie."""
    cdef floating[::1] workspace = buffers.workspace
    cdef double[::1] last_loss = buffers.last_loss
    training.code = training.program.at_work(sizeof(floating), training.update.batch_size)
    kept = set_samples[floating](&training.samples, &training.code.net, samples.X, 0, samples)
    vectors = set_vectors(&training.job.vectors, &training.code.net, params, buffers)
    expect("buffers.last_loss", 0 if last_loss is None else last_loss.shape[0], 1)
    training.workspace, training.workspace_size = <char *> &workspace[0], workspace.shape[0]
    training.last_loss = &last_loss[0]
    training.keeps = params, workspace, last_loss, kept, vectors
    return 0


cdef void skip_rows(const Code *p, Samples *s, ptrdiff_t n) noexcept nogil:
    s.n_rows -= n
    s.X += n * p.net.n_inputs * p.size
    if s.Y != NULL:
        s.Y += n * p.net.n_outputs * p.size
    if s.labels != NULL:
        s.labels += n
    if s.weights != NULL:
        s.weights += n
