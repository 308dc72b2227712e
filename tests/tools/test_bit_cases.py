"""The cases of tools/same_bits.py compare what they are meant to compare."""

import subprocess
import sys
from pathlib import Path

TOOLS = Path(__file__).parents[2] / "tools"

PROGRAM = """
import sys

sys.path.insert(0, sys.argv[1])
import bit_cases

from cmlp._engine import passes, threads

seen = set()


class Watched(threads.Crossover):
    def next(self, n_samples):
        n_threads = super().next(n_samples)
        seen.add(n_threads)
        return n_threads


passes.Crossover = Watched
list(bit_cases.strategy_case("threads", "float32"))
assert 2 in seen, seen
"""


def test_the_cases_with_threads_divide_their_work():
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(TOOLS)], capture_output=True, text=True, cwd=TOOLS)
    assert done.returncode == 0, done.stderr
