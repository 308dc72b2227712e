"""Whether networks of every shape and size are built, right and cheap.

    python tools/random_programs.py              2000 random compositions against cmlp.reference, in float64
    python tools/random_programs.py --large      10 000 units wide, 5000 layers deep, 100 000 classes, with seconds and
                                                 memory for one size and its double
    python tools/random_programs.py --count 10000 --seed 3

`tests/helpers/programs.py` makes them and says what must hold: outputs, gradients and a step of learning are the
reference's, and a saved network comes back to the bit. Exit 1 if one does not.
"""

from __future__ import annotations

import argparse
import copy
import io
import pickle
import random
import resource
import sys
import time
import traceback
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1] / "tests")

from helpers.hostile_models import saved  # noqa: E402
from helpers.programs import SHAPES, check_program  # noqa: E402

import cmlp  # noqa: E402

LARGE = {
    "tall": 5000, "residual": 5000, "dense_net": 200, "wide": 10_000, "many_branches": 5000, "many_terms": 5000,
    "classes": 100_000, "flat_output": 10_000,
}  # fmt: skip


def small(count: int, seed: int) -> int:
    """Check many; return how many failed."""
    rng, failed = random.Random(seed), 0
    for i in range(count):
        shape, size = rng.choice(["tree", *SHAPES]), rng.choice([1, 2, 3, 10, 17, 40, 100, 300])
        try:
            check_program(shape, seed * 1_000_003 + i, max(size, 2))
        except Exception:
            failed += 1
            traceback.print_exc(limit=-4)
            print(f"FAILED: check_program({shape!r}, {seed * 1_000_003 + i}, {max(size, 2)})", flush=True)
    return failed


def large() -> int:
    """Check large ones, and what they cost; return how many failed."""
    failed = 0
    print(f"{'shape':14} {'size':>7}  build  check   save   load   repr   copy pickle (s)  peak MiB")
    for shape, size in LARGE.items():
        for n in (size, 2 * size) if shape != "classes" else (size // 2, size):
            start = time.perf_counter()
            try:
                net = check_program(shape, 1, n, compared=n == size)
            except Exception:
                failed += 1
                traceback.print_exc(limit=-4)
                continue
            whole, seconds = time.perf_counter() - start, []
            data = saved(net)
            for what in (
                lambda net=net: cmlp.Network(net.layers, net.n_inputs),
                lambda net=net: saved(net),
                lambda data=data: cmlp.load(io.BytesIO(data)),
                lambda net=net: repr(net),
                lambda net=net: copy.deepcopy(net),
                lambda net=net: pickle.loads(pickle.dumps(net)),
            ):
                start = time.perf_counter()
                what()
                seconds.append(time.perf_counter() - start)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            seconds.insert(1, whole)
            print(f"{shape:14} {n:7}", *(f"{s:6.2f}" for s in seconds), f"     {peak:8}", flush=True)
    return failed


def main() -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(description="Random programs of layers.")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--large", action="store_true")
    arguments = parser.parse_args()
    start = time.perf_counter()
    failed = large() if arguments.large else small(arguments.count, arguments.seed)
    what = f"{2 * len(LARGE)} large networks" if arguments.large else f"{arguments.count:,} networks"
    print(f"programs: {what} of seed {arguments.seed} in {time.perf_counter() - start:.0f} s: {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
