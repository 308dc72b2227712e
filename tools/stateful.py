"""Random programs of calls on networks and estimators: what the test-suite does a few hundred of, many thousand times.

    python tools/stateful.py [--examples 2000] [--steps 15] [--seed 0] [--machine Networks|Estimators] [--shrink]

Every program is built of the rules of tests/helpers/stateful.py: right calls have to go through, wrong ones have to be
refused and change nothing, to the bit. Ends with one line of counts, and with status 1 on a finding, which is shown as
the program that found it; --shrink makes that as short as possible, which can take minutes. Another seed makes other
programs. Needs hypothesis, nothing from the network.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
import warnings
from pathlib import Path

import hypothesis
from hypothesis import Phase
from hypothesis.stateful import run_state_machine_as_test

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from helpers import stateful


def main() -> int:
    """Run the programs; return the exit status."""
    parser = argparse.ArgumentParser(description="random programs of calls")
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--machine", choices=stateful.MACHINES, default="Networks")
    parser.add_argument("--shrink", action="store_true")
    args = parser.parse_args()
    machine = stateful.MACHINES[args.machine]
    phases = [Phase.generate, *([Phase.shrink] if args.shrink else [])]
    settings = hypothesis.settings(stateful.SETTINGS_OF_RUNS, max_examples=args.examples, phases=phases)
    settings = hypothesis.settings(settings, stateful_step_count=args.steps, derandomize=False)
    warnings.simplefilter("error")
    began, status = time.perf_counter(), 0
    try:
        run_state_machine_as_test(hypothesis.seed(args.seed)(machine), settings=settings)
    except BaseException as error:  # several findings come as a group
        status = 1
        for found in getattr(error, "exceptions", [error]):
            print("".join(traceback.format_exception(found)), f"{type(found).__name__}: {found}", "-" * 80, sep="\n")
    counts = ", ".join(f"{n} {what}" for what, n in machine.counts.items())
    print(f"stateful {args.machine}: {counts}, seed {args.seed}, {time.perf_counter() - began:.0f} s, status {status}")
    return status


if __name__ == "__main__":
    sys.exit(main())
