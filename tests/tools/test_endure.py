"""tools/endure.py: memory stays the same over many calls, some of them here, and what leaks is found."""

import subprocess
import sys
from pathlib import Path

TOOLS = Path(__file__).parents[2] / "tools"

LEAKS = """
import sys

sys.path.insert(0, sys.argv[1])
import endure

kept = []
for call in (lambda: kept.append(bytearray(64)), lambda: kept.append(endure.X), lambda: None):
    print(len(endure.endure(call, 3000).findings))
"""


def run(*arguments):
    command = [sys.executable, "-X", "tracemalloc", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_memory_stays_the_same():
    cases = ["learn_one", "predict", "fit", "partial_fit", "save", "copy", "capsules", "refused", "teams"]
    done = run(str(TOOLS / "endure.py"), "--calls", "0.004", *cases)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("endure: 0 findings in 14 cases")


def test_leaks_of_memory_and_of_references_are_found():
    done = run("-c", LEAKS, str(TOOLS))
    assert (done.stdout, done.stderr) == ("1\n1\n0\n", "")
