"""Checks what is in the sdist and in the wheel of a folder: `python tools/check_dist.py dist`."""

import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

MAX_WHEEL_BYTES = 1_200_000
WHEEL_SUFFIXES = {".py", ".pyi", ".typed", ".so", ".npz", ".txt", ".h"}  # all of these and no other
SDIST_SUFFIXES = {".py", ".pyi", ".typed", ".npz", ".pyx", ".pxd", ".pxi", ".h", ".c", ".toml"}  # at least these
SDIST_FOLDERS = {"cmlp", "src", "tests", "benchmarks", "docs", "examples", "tools"}


def main(folder: Path) -> None:
    """Exit with what is missing, unwanted or too big."""
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        package = [PurePosixPath(name) for name in archive.namelist() if ".dist-info/" not in name]
    with tarfile.open(sdist) as archive:
        source = [PurePosixPath(name) for name in archive.getnames()]
    print(f"{wheel.name}: {wheel.stat().st_size} bytes, {len(package)} files; {sdist.name}: {len(source)} entries")

    unwanted = [path for path in package if path.parts[0] != "cmlp" or path.suffix not in WHEEL_SUFFIXES]
    problems = [f"unwanted in the wheel: {path}" for path in unwanted]
    problems += [f"no {suffix} file in the wheel" for suffix in WHEEL_SUFFIXES - {path.suffix for path in package}]
    problems += [f"no {suffix} file in the sdist" for suffix in SDIST_SUFFIXES - {path.suffix for path in source}]
    problems += [
        f"no {name}/ in the sdist" for name in SDIST_FOLDERS - {p.parts[1] for p in source if len(p.parts) > 1}
    ]
    if wheel.stat().st_size > MAX_WHEEL_BYTES:
        problems.append(f"the wheel is bigger than {MAX_WHEEL_BYTES} bytes")
    if problems:
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
