# Ctrl-C, put off while something must not be left half done. Python's handler of SIGINT may raise KeyboardInterrupt at
# every bytecode; here another handler stands in for it, which only takes note. C code sees no signal in its middle, so
# that entering and leaving are each one step.

import threading

import _signal  # the module signal wraps each call in a look-up of enums, which costs as much as half of a short fit

cdef int _SIGINT = _signal.SIGINT


cdef class Postponed:
    """A context in which Ctrl-C waits: it raises at its end, at `see_interrupt`, and in `Allowed`.

    However often it is pressed meanwhile, it is raised once. Nothing happens where Ctrl-C raises nothing: in other
    threads than the main one, within another Postponed, and where SIGINT is ignored or ends the process.
    """
    cdef object before  # the handler whose place it takes; None: it does not
    cdef unsigned long thread
    cdef bint came

    def __call__(self, number, frame):
        self.came = True

    def __enter__(self):
        handler = _signal.getsignal(_SIGINT)
        self.thread = PyThread_get_thread_ident()
        if callable(handler) and type(handler) is not Postponed and self.thread == threading.main_thread().ident:
            _signal.signal(_SIGINT, self)  # raises, and changes nothing, if Ctrl-C came just before
            self.before = handler

    def __exit__(self, kind, error, traceback):
        if self.before is None:
            return
        handler, self.before = self.before, None
        _signal.signal(_SIGINT, handler)
        # if it raises already, a second time adds nothing
        if self.came and not (kind is not None and issubclass(kind, KeyboardInterrupt)):
            handler(_SIGINT, None)


cdef Postponed _postponing():
    """Who puts off the Ctrl-C of this thread, or None."""
    handler = _signal.getsignal(_SIGINT)
    if type(handler) is Postponed and (<Postponed> handler).thread == PyThread_get_thread_ident():
        return <Postponed> handler
    return None


def see_interrupt():
    """Raise the Ctrl-C that has come meanwhile, if one has."""
    PyErr_CheckSignals()
    postponed = _postponing()
    if postponed is not None and postponed.came:
        postponed.came = False
        postponed.before(_SIGINT, None)


cdef class Allowed:
    """A context within Postponed, for users' code, in which Ctrl-C raises at once."""
    cdef Postponed postponed

    def __enter__(self):
        see_interrupt()
        postponed = _postponing()
        if postponed is None:
            return
        _signal.signal(_SIGINT, postponed.before)
        if postponed.came:  # at the last moment
            _stand_in(postponed)
            see_interrupt()
            _signal.signal(_SIGINT, postponed.before)
        self.postponed = postponed

    def __exit__(self, kind, error, traceback):
        if self.postponed is not None:
            _stand_in(self.postponed)


cdef _stand_in(Postponed postponed):
    """Let it put off Ctrl-C again; raise what came until then."""
    postponed.before = _signal.getsignal(_SIGINT)  # users' code may have set another one
    if not callable(postponed.before):
        postponed.before = None
        return
    raised = None
    while True:
        try:  # before anything else it handles what has come, which may raise
            _signal.signal(_SIGINT, postponed)
            break
        except BaseException as error:
            raised = error
    if raised is not None:
        raise raised
