#!/usr/bin/env python3
"""Attack every call with numbers at the edge, in every combination; one line at the end, exit code 1 on a finding.

    python tools/extremes.py [--share 0.05] [--seed 0] [--show 40]

`--share` takes a part of the whole product of tests/helpers/extremes.py at random (1: all of it). The suite runs a
fixed choice of it (tests/test_numbers.py).
"""

from __future__ import annotations

import argparse
import collections
import pathlib
import sys
import time
import traceback

import numpy as np

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])
from tests.helpers import extremes  # noqa: E402


def main() -> int:
    """Run the cases; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=40, help="how many findings are shown")
    parser.add_argument("--endings", action="store_true", help="show how the cases ended")
    arguments = parser.parse_args()
    rng, began = np.random.default_rng(arguments.seed), time.perf_counter()
    n, findings, endings = 0, collections.defaultdict(list), collections.Counter()
    for case in extremes.all_cases():
        if rng.random() >= arguments.share:
            continue
        n += 1
        try:
            endings[f"{case.call}: {extremes.ending(extremes.check(case))}"] += 1
        except Exception as error:  # a finding, whatever it is
            where = traceback.extract_tb(error.__traceback__)[-1]
            findings[f"{type(error).__name__}: {str(error)[:150]} ({where.name}:{where.lineno})"].append(case)
    for what, cases in sorted(findings.items(), key=lambda item: -len(item[1]))[: arguments.show]:
        print(f"{len(cases)} x {what}\n    {cases[0]}")
    if arguments.endings:
        for ending, count in sorted(endings.items()):
            print(f"{count:6} {ending}")
    found = sum(map(len, findings.values()))
    print(f"extremes: {n} cases, {found} findings, {time.perf_counter() - began:.0f} s")
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
