"""Prints the oldest versions that pyproject.toml promises, as constraints for pip.

python tools/oldest.py > oldest.txt && pip install -c oldest.txt ".[test]"
pip install $(python tools/oldest.py build)
"""

import re
import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
TESTED = ("scipy", "sklearn", "test-without-torch")  # the extras that the tests install


def oldest(requirements: list[str]) -> list[str]:
    """Return `name==X` for every `name>=X`."""
    found = [re.match(r"([A-Za-z0-9_.-]+)\s*>=\s*([0-9.]+)", requirement) for requirement in requirements]
    return [f"{match[1]}=={match[2]}" for match in found if match]


def constraints(what: str = "run") -> list[str]:
    """Return the constraints of what cmlp and its tests run with ("run") or of what builds it ("build")."""
    pyproject = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))
    if what == "build":
        return oldest(pyproject["build-system"]["requires"])
    project = pyproject["project"]
    extras = [line for name in TESTED for line in project["optional-dependencies"][name]]
    return oldest(project["dependencies"] + extras)


if __name__ == "__main__":
    print(*constraints(*sys.argv[1:]), sep="\n")
