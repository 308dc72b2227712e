"""Whether two versions of cmlp compute the same bits.

    python tools/same_bits.py                  a line a case: its name, and the SHA-256 of all that it computed
    python tools/same_bits.py --only random    the cases whose names contain that
    python tools/same_bits.py --against REV    builds revision REV, and compares the installed cmlp with it by cases

The cases (`bit_cases.py`) run at every instruction-set level and in both dtypes. Exit 1 if any differ.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from revision import build_wheel, install, unpack


def digest(values: Iterable[Any]) -> str:
    """Return the SHA-256 of arrays, numbers, names and lists of them; shapes and dtypes count."""
    sha = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, (list, tuple)):
            sha.update(f"[{len(value)}]".encode())
            for part in value:
                add(part)
        elif value is None or isinstance(value, str):
            sha.update(repr(value).encode())
        else:
            array = np.asarray(value)
            if array.dtype == object:
                raise TypeError(f"cannot hash {value!r}")
            sha.update(f"{array.dtype.str}{array.shape}".encode() + array.tobytes())

    for value in values:
        add(value)
    return sha.hexdigest()


def hashes(only: str) -> Iterable[tuple[str, str]]:
    """Yield name and hash of every case of the cmlp that is imported."""
    import warnings

    from bit_cases import CASES

    from cmlp import _core

    print(f"cmlp of {Path(_core.__file__).parent}", file=sys.stderr)
    warnings.simplefilter("ignore")  # estimators say that few epochs are few
    for level in _core.simd_levels():
        _core.set_simd_level(level)
        for name, case in CASES.items():
            for dtype in ("float32", "float64"):
                full_name = f"{name} {dtype} {level}"
                if only in full_name:
                    yield full_name, digest(case(dtype))


def hashes_of(python_path: Path | None, only: str) -> dict[str, str]:
    """Return the hashes that a new process computes, with cmlp from `python_path` or the installed one."""
    environment = {**os.environ, **({"PYTHONPATH": str(python_path)} if python_path else {})}
    command = [sys.executable, __file__, "--only", only]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"the cases do not run with cmlp of {python_path or 'this environment'}")
    return dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())


def compare(revision: str, only: str) -> bool:
    """Print the cases that differ from a revision; tell whether there are any."""
    with tempfile.TemporaryDirectory() as folder:
        source = unpack(revision, Path(folder, "source"))
        then = hashes_of(install(build_wheel(source, Path(folder, "dist")), Path(folder, "site")), only)
    now = hashes_of(None, only)
    differing = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    for name in differing:
        print(f"{name}: {then.get(name, 'missing')[:16]} at {revision}, {now.get(name, 'missing')[:16]} now")
    print(f"{len(differing)} of {len({**then, **now})} cases differ from {revision}")
    return bool(differing)


def main() -> None:
    """Print hashes, or what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", metavar="REV", help="a revision of this repository to compare with")
    parser.add_argument("--only", default="", metavar="TEXT", help="run only the cases whose names contain this")
    options = parser.parse_args()
    if options.against:
        sys.exit(compare(options.against, options.only))
    for name, value in hashes(options.only):
        print(name, value, flush=True)


if __name__ == "__main__":
    main()
