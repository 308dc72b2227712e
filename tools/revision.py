"""Another revision of this repository, built and installed beside the one in use."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def unpack(revision: str, folder: Path) -> Path:
    """Write the files of a revision, "" the tree as it is, into `folder`, which may not exist yet; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    if revision:
        archive = _git("archive", revision)
    else:
        listed = _git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split(b"\0")
        there = [name for name in listed if name and (ROOT / name.decode()).exists()]
        command = ["tar", "-c", "--null", "-T", "-"]
        archive = subprocess.run(command, cwd=ROOT, input=b"\0".join(there), capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    return folder


def _git(*arguments: str) -> bytes:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"git {' '.join(arguments)} in {ROOT}: {done.stderr.decode().strip()}")
    return done.stdout


def build_wheel(source: Path, folder: Path) -> Path:
    """Build the wheel of a source tree into `folder`; return its path."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    here = find_spec("Cython") and find_spec("setuptools")  # else pip fetches the tools of the build
    isolation = ["--no-build-isolation"] if here else []
    subprocess.run([*pip, "wheel", "--no-deps", *isolation, "--wheel-dir", folder, source], check=True)
    (wheel,) = folder.glob("cmlp-*.whl")
    return wheel


def install(wheel: Path, folder: Path) -> Path:
    """Install a wheel into `folder`: PYTHONPATH=folder puts it before any other cmlp and shares the dependencies."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--no-deps", "--target", folder, wheel], check=True)
    return folder
