"""What the figures were measured on: the processor, its caches, the compiler, the versions. No names or paths."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

PACKAGES = ("numpy", "scikit-learn", "torch", "jax", "jaxlib", "numba", "mlpfile", "onnxruntime", "matplotlib")


def describe() -> dict[str, str]:
    """Return what to print above a table of figures."""
    from cmlp import __version__
    from cmlp._core import simd_level

    found = {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "caches": ", ".join(f"{name} {size // 1024} KiB" for name, size in caches().items()) or "unknown",
        "memory": f"{_memory_bytes() / 2**30:.0f} GiB",
        "system": f"{platform.system()}, {platform.machine()}",
        "compiler": _compiler(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "cmlp": f"{__version__}, {simd_level()} kernels",
    }
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def caches() -> dict[str, int]:
    """Return the bytes of the first core's data caches, {"L1d": ..., "L2": ..., "L3": ...}; {} if unknown."""
    found = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind, level, size = ((index / name).read_text().strip() for name in ("type", "level", "size"))
        if kind != "Instruction":
            found["L1d" if level == "1" else f"L{level}"] = int(size.rstrip("K")) * 1024
    return found


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    model = re.search(r"model name\s*:\s*(.*)", text)
    flags = set(text.split())
    levels = [flag for flag in ("avx2", "fma", "avx512f") if flag in flags]
    return f"{model[1] if model else platform.machine()} ({', '.join(levels)})"


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _compiler() -> str:
    """Name the C compiler of this machine, the one of the "plain C" rival."""
    compiler = shutil.which("cc")
    if compiler is None:
        return "none"
    line = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    version = re.search(r"(\d+\.\d+(\.\d+)?)", line)
    name = "clang" if "clang" in line else "gcc"
    return f"{name} {version[1] if version else ''}".strip()
