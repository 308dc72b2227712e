# Who trains a network: one thread at a time, which Ctrl-C does not stop in the middle of a change.

cdef extern from "Python.h":
    ctypedef struct PyThreadState
    PyThreadState *PyThreadState_Get() noexcept
    uint64_t PyThreadState_GetID(PyThreadState *state) noexcept  # from 1 on, and never the same again

cdef uint64_t _forks = 0  # between the first process and this one
cdef uint64_t _survivor = 0  # the thread that came through the last of them


cdef uint64_t this_thread() noexcept:
    return PyThreadState_GetID(PyThreadState_Get())


def _forked():
    global _forks, _survivor
    _forks += 1
    _survivor = this_thread()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)

_TAKEN = (
    "another thread is training or changing this network: give each thread a network of its own (copy.deepcopy(net)), "
    "or hold one threading.Lock around all that trains, changes, saves or copies it (predictions need none)"
)


@cython.final
cdef class Claim:
    """Lets one thread at a time train or change a network, and says so to others: RuntimeError.

    The thread that has it may take it again, in callbacks and signal handlers. In a process that was forked meanwhile
    that thread may not be there any more: then nobody has it, and `model.orphaned()` is called. The GIL is held
    throughout, so nothing comes between looking and taking.
    """
    cdef uint64_t owner  # 0: nobody
    cdef uint64_t forks  # when it was taken
    cdef uint64_t changes  # taken, or learnt from one row, so often
    cdef int depth

    cdef bint is_orphaned(self) noexcept:
        return self.owner != 0 and self.forks != _forks and self.owner != _survivor

    cdef bint is_others(self) noexcept:
        return self.owner != 0 and self.owner != this_thread() and not self.is_orphaned()

    cdef int expect_free(self, model) except -1:
        if self.is_others():
            raise RuntimeError(_TAKEN)
        if self.is_orphaned():
            self.owner = 0
            if model is not None:
                model.orphaned()
        return 0

    def run(self, model, function, face, tuple args, dict kwargs):
        """function(face, *args, **kwargs) with the claim; Ctrl-C waits until what it changes fits together."""
        with Postponed():
            self.expect_free(model)
            if self.owner == 0:
                self.owner, self.forks, self.depth = this_thread(), _forks, 0
            self.depth += 1
            self.changes += 1
            try:
                return function(face, *args, **kwargs)
            finally:
                self.depth -= 1
                if self.depth == 0:
                    self.owner = 0

    def read(self, model, function):
        """function(), if no other thread has the claim before, and nothing has changed when it returns."""
        self.expect_free(model)
        cdef uint64_t seen = self.changes
        found = function()
        if self.changes != seen:
            raise RuntimeError(_TAKEN)
        return found
