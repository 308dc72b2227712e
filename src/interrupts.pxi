# Ctrl-C, put off while something must not be left half done. Python's handler of SIGINT may raise KeyboardInterrupt at
# every bytecode; here another handler stands in for it, which only takes note. C code sees no signal in its middle, so
# that entering and leaving are each one step.

import threading

import _signal  # the module signal looks up enums in each call, which takes as long as a part of a short fit

cdef int _SIGINT = _signal.SIGINT
cdef object _get_handler = _signal.getsignal, _set_handler = _signal.signal
cdef Postponed _active = None  # in the main thread, which alone sees signals
cdef unsigned long _main_thread = threading.main_thread().ident


def _after_fork():
    global _main_thread
    _main_thread = threading.main_thread().ident


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@cython.final
cdef class Postponed:
    """A context in which Ctrl-C waits: it raises at its end, at `see_interrupt`, and in `Allowed`.

    However often it is pressed meanwhile, it is raised once. Nothing happens where Ctrl-C raises nothing: in other
    threads than the main one, within another Postponed, and where SIGINT is ignored or ends the process.
    """
    cdef object before  # the handler whose place it takes; None: it does not
    cdef bint came

    def __call__(self, number, frame):
        self.came = True

    def __enter__(self):
        global _active
        if _active is not None or PyThread_get_thread_ident() != _main_thread:
            return
        handler = _get_handler(_SIGINT)
        if callable(handler):
            _set_handler(_SIGINT, self)  # raises, and changes nothing, if Ctrl-C came just before
            self.before, _active = handler, self

    def __exit__(self, kind, error, traceback):
        global _active
        if self.before is None:
            return
        handler, self.before, _active = self.before, None, None
        _set_handler(_SIGINT, handler)
        # if it raises already, a second time adds nothing
        if self.came and not (kind is not None and issubclass(kind, KeyboardInterrupt)):
            handler(_SIGINT, None)


def see_interrupt():
    """Raise the Ctrl-C that has come meanwhile, if one has."""
    if _active is None or PyThread_get_thread_ident() != _main_thread:
        return
    PyErr_CheckSignals()
    if _active.came:
        _active.came = False
        _active.before(_SIGINT, None)


@cython.final
cdef class Allowed:
    """A context within Postponed, for users' code, in which Ctrl-C raises at once."""
    cdef Postponed postponed

    def __enter__(self):
        global _active
        if _active is None or PyThread_get_thread_ident() != _main_thread:
            return
        see_interrupt()
        postponed = _active
        _set_handler(_SIGINT, postponed.before)
        if postponed.came:  # at the last moment
            _stand_in(postponed)
            see_interrupt()
            _set_handler(_SIGINT, postponed.before)
        self.postponed, _active = postponed, None

    def __exit__(self, kind, error, traceback):
        if self.postponed is not None:
            _stand_in(self.postponed)


cdef _stand_in(Postponed postponed):
    """Let it put off Ctrl-C again; raise what came until then."""
    global _active
    postponed.before = _get_handler(_SIGINT)  # users' code may have set another one
    if not callable(postponed.before):
        postponed.before = None
        return
    raised = None
    while True:
        try:  # before anything else it handles what has come, which may raise
            _set_handler(_SIGINT, postponed)
            break
        except BaseException as error:
            raised = error
    _active = postponed
    if raised is not None:
        raise raised
