# Who trains a network: one thread at a time.

cdef extern from "Python.h":
    ctypedef struct PyThreadState
    PyThreadState *PyThreadState_Get() noexcept
    uint64_t PyThreadState_GetID(PyThreadState *state) noexcept  # from 1 on, and never the same again

cdef int _forks = 0  # between the first process and this one


def _count_fork():
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)

_TAKEN = (
    "another thread is training or changing this network: give each thread a network of its own (copy.deepcopy(net)), "
    "or hold one threading.Lock around all that trains, changes, saves or copies it (predictions need none)"
)


@cython.final
cdef class Claim:
    """Lets one thread at a time train or change a network, and says so to others: RuntimeError.

    The thread that has it may take it again, in callbacks and signal handlers. In a process that was forked meanwhile
    the thread that had it is not there any more: whoever comes next takes it.
    """
    cdef uint64_t owner  # 0: nobody
    cdef uint64_t changes  # taken, or learnt from one row, so often
    cdef int depth, forks

    cdef bint is_others(self) noexcept:
        return (self.owner != 0 and self.owner != PyThreadState_GetID(PyThreadState_Get())
                and self.forks == _forks)

    cdef bint take(self) except -1:
        """Whether it was taken from a thread that a fork has left behind. The GIL is held throughout."""
        cdef uint64_t me = PyThreadState_GetID(PyThreadState_Get())
        cdef bint orphaned = False
        if self.is_others():
            raise RuntimeError(_TAKEN)
        if self.owner != me:
            orphaned = self.owner != 0
            self.owner, self.depth = me, 0
        self.forks = _forks
        self.depth += 1
        self.changes += 1
        return orphaned

    cdef void leave(self) noexcept:
        self.depth -= 1
        if self.depth == 0:
            self.owner = 0

    def run(self, model, function, face, tuple args, dict kwargs):
        """function(face, *args, **kwargs) with the claim.

        If a fork has left it taken, model.orphaned() comes first, unless model is None.
        """
        orphaned = self.take()
        try:
            if orphaned and model is not None:
                model.orphaned()
            return function(face, *args, **kwargs)
        finally:  # in C: no Ctrl-C comes between
            self.leave()

    def read(self, function):
        """function(), if no other thread has the claim before, and nothing has changed when it returns."""
        cdef uint64_t seen = self.changes
        if self.is_others():
            raise RuntimeError(_TAKEN)
        found = function()
        if self.changes != seen:
            raise RuntimeError(_TAKEN)
        return found
