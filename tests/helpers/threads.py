"""Functions at work in several threads, and programs in a process of their own."""

from __future__ import annotations

import subprocess
import sys
import threading


def in_threads(functions, *, stack=None):
    """Call all functions at once, each in a thread of its own; return what they returned, or raise what one raised."""
    found, raised, ready = [None] * len(functions), [], threading.Barrier(len(functions))

    def work(i):
        ready.wait()
        try:
            found[i] = functions[i]()
        except BaseException as error:
            raised.append(error)

    before = threading.stack_size(stack or 0)
    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(functions))]
    for thread in threads:
        thread.start()
    threading.stack_size(before)
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]
    return found


def in_another_thread(function):
    """Call a function in another thread; return what it returned, or raise what it raised."""
    return in_threads([function])[0]


def run_program(text, **environment):
    """Run a Python program in a process of its own; return what it printed. Whatever it writes to stderr fails."""
    import os

    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", text],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        env={**os.environ, **environment},
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout
