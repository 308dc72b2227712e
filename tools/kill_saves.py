"""Kill processes that save networks, and fill disks under them: at every path is the old file or the new one.

    python tools/kill_saves.py                200 kills, then everything that can be wrong with a disk
    python tools/kill_saves.py --kills 20     fewer

A child saves networks over and over, small and large ones, to the same paths, and is killed (SIGKILL) at a random
moment; every file must load then, and be one that was saved. Then: a full disk (a small file system of its own where
it may be mounted, else a limit for the size of files), read-only and missing folders, one that vanishes meanwhile,
symbolic links, names that are too long, Ctrl-C, MemoryError, and two processes that save to one path. After each, one
clear error, the old file, and nothing left over. All of it also as on a system where every file has a name.
Linux; as root also what needs a mount. Exit 1 on a finding.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from helpers.saves import TROUBLES, kill_savers, unnamed_files


def main() -> int:
    """Run everything; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--in", dest="parent", help="the folder to work in, which decides the file system")
    arguments = parser.parse_args()
    began, findings = time.perf_counter(), 0
    for unnamed, kills in ((True, arguments.kills), (False, arguments.kills // 4)):
        with tempfile.TemporaryDirectory(dir=arguments.parent) as folder:
            result = kill_savers(folder, kills, arguments.seed, unnamed=unnamed)
        how = "without" if unnamed else "with"
        print(f"{kills} kills, files {how} names meanwhile: {result.saved} files looked at,")
        print(f"    {result.replaced} new since the kill before; a file left over {result.litter} times, ", end="")
        print(f"after the next save {result.litter_after} times", flush=True)
        for finding in result.findings:
            print(f"    {finding}")
        findings += len(result.findings)
    for name, trouble in TROUBLES.items():
        for unnamed in (True, False):
            with tempfile.TemporaryDirectory(dir=arguments.parent) as folder, unnamed_files(unnamed):
                try:
                    print(f"{name}: {trouble(folder)}", flush=True)
                except AssertionError as error:
                    findings += 1
                    print(f"{name}: FINDING {error}", flush=True)
    kills, seconds = arguments.kills + arguments.kills // 4, time.perf_counter() - began
    print(f"{kills} kills, {2 * len(TROUBLES)} troubles, {findings} findings, {seconds:.0f} s")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
