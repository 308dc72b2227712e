"""Whether any model file or CSV file makes cmlp do what it must not.

    python tools/fuzz.py models                        100 000 mutated model files
    python tools/fuzz.py tables --count 20000          so many CSV files, with the command on every 50th
    python tools/fuzz.py models --seed 7 --seconds 600 other files, for at most so long
    python tools/fuzz.py models --guided               coverage decides what is changed next (`pip install atheris`)
    python tools/fuzz.py models FILE ...               these files alone, such as those of a finding

Files start from sound ones, made here, and from tests/corpus; `tests/helpers/hostile_models.py` and `hostile_tables.py`
change them and say what must hold: a clear error, or a model that predicts, learns, is saved and loaded again to the
same bits, or a table with the numbers that another reader finds; no other exception, no warning, little time and
memory. Without `--guided` a file that comes to something new is changed further. Same seed, same files (but with
`--seconds`). What breaks a rule is written to build/fuzz; exit 1 then. For sanitizers: see tools/sanitize.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import re
import struct
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FINDINGS = ROOT / "build" / "fuzz"
CORPUS = ROOT / "tests" / "corpus"
MOST_KEPT = 2000  # files that came to something new
READ = ("loaded", "read")  # how the outcomes of those begin that were not refused
sys.path[0] = str(ROOT / "tests")  # not tools/, which has a module of the name of a test

GUIDED = "--guided" in sys.argv
if GUIDED:
    import atheris

    with atheris.instrument_imports(include=["cmlp", "zipfile", "json", "csv"]):
        from helpers import hostile_models, hostile_tables

        import cmlp  # noqa: F401
else:
    from helpers import hostile_models, hostile_tables


class Models:
    """Model files: mutated as archives."""

    def __init__(self) -> None:
        self.donors = [hostile_models.Archive.parse(data) for data in hostile_models.seeds().values()]
        self._seen: set[str] = set()
        others = (as_archive(path.read_bytes()) for path in corpus("models"))
        self.seeds = [*self.donors, *(archive for archive in others if archive is not None)]

    def mutated(self, seed: hostile_models.Archive, rng: random.Random) -> bytes:
        """Return a changed file."""
        return hostile_models.mutated(seed, rng, self.donors)

    def seed_of(self, data: bytes) -> hostile_models.Archive | None:
        """Return the seed that a file makes; None if it cannot be taken apart, or is too large to go on with."""
        return as_archive(data) if len(data) < 6000 else None

    def check(self, data: bytes, n: int, rng: random.Random) -> str:
        """Return what a file comes to; every 8th that is read, and every new one, is also saved and loaded again."""
        outcome = hostile_models.check(data, watched=False, thorough=n % 8 == 0)
        if outcome not in self._seen and outcome.startswith(READ):
            self._seen.add(outcome)
            hostile_models.check(data, watched=False)
        return outcome


class Tables:
    """CSV files: mutated as text."""

    def __init__(self) -> None:
        self.seeds = [*hostile_tables.SEEDS, *(path.read_bytes() for path in corpus("tables"))]
        self._folder = tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)

    def mutated(self, seed: bytes, rng: random.Random) -> bytes:
        """Return a changed file."""
        return hostile_tables.mutated(seed, rng, hostile_tables.SEEDS)

    def seed_of(self, data: bytes) -> bytes | None:
        """Return the seed that a file makes."""
        return data if len(data) < 20_000 else None

    def check(self, data: bytes, n: int, rng: random.Random) -> str:
        """Return what a file comes to; of every 50th with the command."""
        return hostile_tables.check(data, Path(self._folder.name), rng, command=n % 50 == 0)


def corpus(kind: str) -> list[Path]:
    """Return the files of the corpus, in one order."""
    return sorted((CORPUS / kind).iterdir())


def as_archive(data: bytes) -> hostile_models.Archive | None:
    """Take a file apart, if it is an archive."""
    try:
        return hostile_models.Archive.parse(data)
    except (
        zipfile.BadZipFile,
        ValueError,
        OSError,
        NotImplementedError,
        RuntimeError,
        EOFError,
        struct.error,
        UnicodeDecodeError,
    ):
        return None


def skeleton(outcome: str) -> str:
    """Return an outcome without names and numbers."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|[-+.\d]+", "", outcome)[:300]


def report(error: hostile_models.Finding, data: bytes, kind: str) -> None:
    """Write down a finding."""
    FINDINGS.mkdir(parents=True, exist_ok=True)
    path = FINDINGS / f"{kind}-{len(list(FINDINGS.iterdir()))}"
    path.write_bytes(data)
    traceback.print_exception(error.__cause__ or error, limit=-6)
    print(f"FINDING {path}: {str(error)[:500]}", flush=True)


def campaign(target: Models | Tables, arguments: argparse.Namespace) -> int:
    """Check mutated files; return the exit code."""
    rng, began = random.Random(arguments.seed), time.monotonic()
    new: list[Any] = []  # what was read and came to something new; to change a refused file further is in vain
    outcomes: Counter[str] = Counter()
    findings: set[str] = set()
    n = 0
    gc.freeze()
    gc.set_threshold(20_000)  # networks refer to themselves, but need not be found at once
    while n < arguments.count and (arguments.seconds is None or time.monotonic() - began < arguments.seconds):
        data = target.mutated(rng.choice(new if new and rng.random() < 0.4 else target.seeds), rng)
        n += 1
        try:
            outcome = skeleton(target.check(data, n, rng))
        except hostile_models.Finding as error:
            outcome = skeleton(f"finding {error}")
            if outcome not in findings:
                findings.add(outcome)
                report(error, data, arguments.kind)
        outcomes[outcome] += 1
        is_new = outcomes[outcome] == 1 and outcome.startswith(READ)
        if is_new and len(new) < MOST_KEPT and (seed := target.seed_of(data)) is not None:
            new.append(seed)
    read = {outcome: many for outcome, many in outcomes.items() if outcome.startswith(READ)}
    print(
        f"fuzz {arguments.kind}: {n:,} files of seed {arguments.seed} in {time.monotonic() - began:.0f} s: "
        f"{sum(read.values()):,} were read, of {len(read)} kinds, the others refused in {len(outcomes) - len(read)} "
        f"ways; {len(findings)} findings"
    )
    return 1 if findings else 0


def guided(target: Models | Tables, arguments: argparse.Namespace) -> None:
    """Let libFuzzer choose by coverage; it ends the process."""
    count = iter(range(sys.maxsize))

    def one(data: bytes) -> None:
        try:
            target.check(data, next(count), random.Random(0))
        except hostile_models.Finding as error:
            report(error, data, arguments.kind)
            raise

    def mutator(data: bytes, max_size: int, seed: int) -> bytes:
        rng = random.Random(seed)
        start = target.seed_of(data) if rng.random() < 0.9 else rng.choice(target.seeds)
        if start is None:
            start = rng.choice(target.seeds)
        return target.mutated(start, rng)[:max_size]

    folder = tempfile.mkdtemp()
    for i, seed in enumerate(target.seeds):
        Path(folder, str(i)).write_bytes(seed if isinstance(seed, bytes) else seed.build())
    options = [f"-runs={arguments.count}", f"-seed={arguments.seed + 1}", "-max_len=50000", "-print_final_stats=1"]
    if arguments.seconds is not None:
        options.append(f"-max_total_time={arguments.seconds}")
    atheris.Setup([sys.argv[0], *options, folder], one, custom_mutator=mutator)
    atheris.Fuzz()


def main() -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(description="Fuzz the readers of files.")
    parser.add_argument("kind", choices=["models", "tables"])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=int)
    parser.add_argument("--guided", action="store_true")
    arguments = parser.parse_args()
    targets: dict[str, Callable[[], Models | Tables]] = {"models": Models, "tables": Tables}
    target = targets[arguments.kind]()
    if arguments.files:
        for path in arguments.files:
            print(f"{path}: {target.check(path.read_bytes(), 0, random.Random(0))}")
        return 0
    if "libasan" not in os.environ.get("LD_PRELOAD", ""):  # which reserves terabytes
        hostile_models.limit_memory()
    if arguments.guided:
        guided(target, arguments)
        return 0
    return campaign(target, arguments)


if __name__ == "__main__":
    sys.exit(main())
