"""The other end of `--against`: a process with one version of cmlp, which measures what it is asked for, line by line.

It reads JSON requests from standard input, {"question", "name", "quick", "size", "aim"} to make a contestant or {} to
run it once, and answers each on standard output with a number: the size of the runs, or the figure of one.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cmlp
from benchmarks.harness import Contestant, calibrate, timed

WALL, CPU = 0, 1  # of `timed`; one thread's CPU time does not count what else the machine does


def main(cpus: str) -> None:
    """Answer requests until standard input ends, on these processors."""
    processors = {*map(int, cpus.split(","))}
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, processors)
    clock = WALL if len(processors) > 1 else CPU
    answers, sys.stdout = sys.stdout, sys.stderr  # what contestants print is no answer
    print(json.dumps(str(Path(cmlp.__file__).parents[1])), file=answers, flush=True)
    run: Callable[[], float] | None = None
    for line in sys.stdin:
        request = json.loads(line)
        if request:
            run = None  # of the one before, which may hold much memory
            gc.enable()
            gc.collect()
            size, run = prepare(request, clock)
            gc.disable()
            print(size, file=answers, flush=True)
        else:
            assert run is not None
            print(repr(run()), file=answers, flush=True)


def prepare(request: dict[str, Any], clock: int) -> tuple[int, Callable[[], float]]:
    """Make a contestant, warm; return the size of its runs, and what runs it once and gives µs per unit."""
    module = importlib.import_module(f"benchmarks.{request['question']}")
    made = module.ours(request["quick"])[request["name"]]()
    if not isinstance(made, Contestant):
        return 1, made
    made.size = request["size"] or made.size
    calibrate(made, request["aim"])
    return made.size, lambda: timed(made)[clock] * 1e6 / made.size


if __name__ == "__main__":
    main(sys.argv[1])
