"""How long does `import cmlp` take, and how big is the wheel?"""

from __future__ import annotations

import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import cmlp
from benchmarks import ROOT, aims
from benchmarks.harness import Aim, Ours, Plot, Report, Table

LIBRARIES = ("numpy", "cmlp", "sklearn.neural_network", "torch", "jax.numpy")
CHILD = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"
SOURCES = ("cmlp", "src", "pyproject.toml", "setup.py", "README.md", "LICENSE", "MANIFEST.in")


def ours(quick: bool) -> Ours:
    """Make a function that gives the milliseconds of one import."""
    return {"import cmlp, ms": lambda: lambda: 1e3 * (_import("cmlp") or math.nan)}


def run(quick: bool) -> Report:
    """Import in fresh processes, in turn, and weigh the wheel."""
    report = Report("importing", "how long does `import cmlp` take, and how big is the wheel?")
    rounds = 7 if quick else 51
    libraries = LIBRARIES[:2] if quick else LIBRARIES
    times: dict[str, list[float]] = {library: [] for library in libraries if _import(library) is not None}
    for _ in range(rounds):
        for library, found in times.items():
            if len(found) < 5 or library in LIBRARIES[:2]:  # five times is enough for the slow ones
                found.append(_import(library) or 0.0)
    median = {library: statistics.median(found) for library, found in times.items()}
    rows: list[list[Any]] = [
        [library, min(times[library]) * 1e3, median[library] * 1e3, median[library] / median["numpy"]]
        for library in median
    ]
    rows += [[library, "skipped: not installed", None, None] for library in libraries if library not in times]
    report.tables.append(Table("import, ms", ["", "best", "median", "median / numpy's"], rows))
    over_numpy = median["cmlp"] / median["numpy"]
    report.aims.append(Aim("import cmlp / import numpy, medians", over_numpy, at_most=aims.IMPORT_OVER_NUMPY))

    megabytes, how = _wheel_size(quick)
    report.tables.append(Table("wheel", ["", "MB"], [[how, megabytes]]))
    report.aims.append(Aim("wheel, MB", megabytes, at_most=aims.WHEEL_MEGABYTES))
    report.notes.append("cmlp imports NumPy, so its time contains NumPy's. Files are in the system's cache.")
    bars = {"import": {library: value * 1e3 for library, value in median.items()}}
    report.plots.append(Plot("time", "bars", "Import in a fresh process", "", "ms, median; shorter is better", bars))
    return report


def _import(library: str) -> float | None:
    """Return the seconds that an import takes in a fresh process, or None if there is no such library."""
    folder = Path(cmlp.__file__).parent.parent  # the cmlp that is benchmarked
    code = f"import sys; sys.path.append({str(folder)!r}); " + CHILD.format(library)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}  # compiled once, as by pip
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tempfile.gettempdir(), env=environment, capture_output=True, text=True
    )
    return float(done.stdout) if done.returncode == 0 else None


def _wheel_size(quick: bool) -> tuple[float, str]:
    """Weigh the wheel: one built now, or with --quick the installed package zipped as a wheel is."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not quick and (wheel := _build_wheel(folder)) is not None:
            return wheel.stat().st_size / 1e6, "built with pip wheel"
        archive = folder / "cmlp.zip"
        package = Path(cmlp.__file__).parent
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
            for path in package.rglob("*"):
                if path.is_file() and "__pycache__" not in path.parts:
                    zipped.write(path, path.relative_to(package.parent))
        return archive.stat().st_size / 1e6, "the installed package, zipped as a wheel is"


def _build_wheel(folder: Path) -> Path | None:
    """Build a wheel from a copy of the tree; None if this interpreter cannot (no Cython, no compiler)."""
    tree = folder / "tree"
    tree.mkdir()
    for source in SOURCES:
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, tree / source, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        else:
            shutil.copy(ROOT / source, tree)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    done = subprocess.run([*command, str(tree)], capture_output=True, check=False)
    return next(folder.glob("*.whl"), None) if done.returncode == 0 else None
