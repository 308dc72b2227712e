"""Builds what is released, with the same bytes whenever and wherever: `python tools/dist.py dist`.

The sdist comes from the files that git knows, the wheel from the sdist. Times are those of the last commit, or
SOURCE_DATE_EPOCH; modes, owners and order of files are fixed. `--twice` builds both again in another folder, at another
time, under another umask, locale, time zone and hash seed, compares the bytes and exits with what differs. Another
compiler gives other bytes. Needs `build`; with setuptools, Cython and NumPy installed it needs no network.
"""

import argparse
import gzip
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

from revision import ROOT, build_wheel, unpack

OTHER = {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "PYTHONHASHSEED": "1"}


def main() -> None:
    """Build once, or twice and compare."""
    parser = argparse.ArgumentParser(description="builds sdist and wheel with the same bytes every time")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sdist", action="store_true", help="the sdist alone")
    parser.add_argument("--twice", action="store_true", help="build again, otherwise, and compare")
    options = parser.parse_args()
    built = build(options.folder.resolve(), wheel_too=not options.sdist)
    if options.twice:
        with tempfile.TemporaryDirectory(prefix="a folder with another name ") as folder:
            os.environ.update(OTHER)
            other = build(Path(folder) / "dist", wheel_too=not options.sdist)
            problems = [line for one, two in zip(built, other, strict=True) for line in differences(one, two)]
        if problems:
            sys.exit("\n".join(["not reproducible:", *problems]))
    print(*(f"{path.name}: {path.stat().st_size} bytes" for path in built), sep="\n")
    print(f"built {'twice, the same bytes' if options.twice else 'once'}: {len(built)} files")


def build(folder: Path, *, wheel_too: bool) -> list[Path]:
    """Write the sdist, and the wheel, into `folder`; return their paths."""
    os.umask(0o022)
    epoch = os.environ.setdefault("SOURCE_DATE_EPOCH", last_commit())
    folder.mkdir(parents=True, exist_ok=True)
    isolation = ["--no-isolation"] if find_spec("Cython") and find_spec("setuptools") else []
    with tempfile.TemporaryDirectory() as work:
        tree = unpack("", Path(work) / "tree")
        command = [sys.executable, "-m", "build", "--sdist", *isolation, "--outdir", work, str(tree)]
        run(command, Path(work))
        (raw,) = Path(work).glob("*.tar.gz")
        sdist = settle(raw, folder / raw.name, int(epoch))
        if not wheel_too:
            return [sdist]
        with tarfile.open(sdist) as archive:
            archive.extractall(work, filter="data")
        for old in folder.glob("cmlp-*.whl"):
            old.unlink()
        return [sdist, build_wheel(Path(work) / sdist.name.removesuffix(".tar.gz"), folder)]


def last_commit() -> str:
    """Return the time of the last commit, in seconds since 1970."""
    return (
        subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, check=True)
        .stdout.decode()
        .strip()
    )


def run(command: list[str], folder: Path) -> None:
    """Run a command in a folder; its output is shown only if it fails."""
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}:\n{done.stdout.decode()}")


def settle(raw: Path, path: Path, epoch: int) -> Path:
    """Write an archive's files in order, with one time, one owner and the usual modes; return its path."""
    with tarfile.open(raw) as source, path.open("wb") as file:
        zipped = gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=epoch)
        with zipped, tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as target:
            for member in sorted(source.getmembers(), key=lambda member: member.name):
                member.mtime, member.uid, member.gid, member.uname, member.gname = epoch, 0, 0, "", ""
                member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
                member.pax_headers = {}
                target.addfile(member, source.extractfile(member) if member.isfile() else None)
    return path


def differences(one: Path, two: Path) -> list[str]:
    """Return what differs between two archives; nothing if their bytes are the same."""
    if one.name == two.name and one.read_bytes() == two.read_bytes():
        return []
    first, second = contents(one), contents(two)
    names = sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))
    return [f"{one.name}: {name}" for name in names] or [f"{one.name}: order, or the archive itself"]


def contents(path: Path) -> dict[str, tuple[object, ...]]:
    """Return time, mode and bytes of every file of a wheel or an sdist."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            return {i.filename: (i.date_time, i.external_attr, wheel.read(i)) for i in wheel.infolist()}
    with tarfile.open(path) as sdist:
        return {
            member.name: (member.mtime, member.mode, file.read() if (file := sdist.extractfile(member)) else b"")
            for member in sdist.getmembers()
        }


if __name__ == "__main__":
    main()
