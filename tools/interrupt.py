"""Press Ctrl-C at every point of cmlp's own Python code, one run a point, and check what is left.

    python tools/interrupt.py                   all scenarios, all points
    python tools/interrupt.py fit save          those whose names contain one of these
    python tools/interrupt.py --every 7         every 7th point only
    python tools/interrupt.py --twice           a second Ctrl-C some points after each
    python tools/interrupt.py --part 1/2        one half of the scenarios

A point is a line or a bytecode; at it SIGINT is raised, really. Afterwards numbers are finite and fit each other, a
network is in a state that a run without Ctrl-C has between two steps, a History is rectangular, files are whole,
nothing is left over, and everything goes on working. Scenarios and checks are in tests/helpers/interrupts.py. Needs
CPython, and a system with /proc. Exit 1 on a finding.
"""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from helpers.interrupts import SCENARIOS, count_points, run_point, states_seen

SHOWN = 5  # findings of a scenario


def run(name: str, every: int, twice: bool) -> tuple[int, list[str]]:
    """Go through the points of a scenario; return how many there were, and what was found."""
    make = SCENARIOS[name]
    began, n_points = time.perf_counter(), count_points(make)
    seen = None if name.startswith("estimator") else states_seen(make)
    found = []
    points = range(1, n_points + 1, every)
    for point in points:
        at = (point, point + 1 + 7919 * point % 61) if twice else (point,)
        wrong = run_point(make, at, seen)
        if wrong is not None:
            found.append(f"{point}: {wrong}")
    print(f"{name:32} {len(points):6} points {len(found):5} findings {time.perf_counter() - began:7.1f} s", flush=True)
    kinds = Counter(finding.split(": ", 1)[1] for finding in found)
    for finding, n in kinds.most_common(SHOWN):
        print(f"    {n} x {finding}", flush=True)
    return len(points), found


def main() -> int:
    """Run the chosen scenarios; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--twice", action="store_true")
    parser.add_argument("--part", default="1/1")
    arguments = parser.parse_args()
    part, parts = map(int, arguments.part.split("/"))
    chosen = [name for name in SCENARIOS if not arguments.names or any(part in name for part in arguments.names)]
    results = [run(name, arguments.every, arguments.twice) for name in chosen[part - 1 :: parts]]
    n_points, n_found = sum(n for n, _ in results), sum(len(found) for _, found in results)
    print(f"{len(results)} scenarios, {n_points} points, {n_found} findings")
    return 1 if n_found or not n_points else 0


if __name__ == "__main__":
    sys.exit(main())
