"""The installed package: its examples, its metadata, what importing it costs."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

import cmlp

MODULES = [
    "cmlp",
    *(info.name for info in pkgutil.walk_packages(cmlp.__path__, "cmlp.") if info.name != "cmlp.__main__"),
]


def run_isolated(code, folder):
    """What a fresh interpreter prints; -I keeps the current folder and the environment out of it."""
    command = [sys.executable, "-I", "-c", code]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_the_docstrings(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # examples that save write there
    module, names = importlib.import_module(name), {"cmlp": cmlp, "np": np}
    names |= {name: getattr(cmlp, name) for name in cmlp.__all__}
    assert doctest.testmod(module, extraglobs=names, optionflags=doctest.ELLIPSIS).failed == 0


def public_callables():
    return [name for name in cmlp.__all__ if callable(getattr(cmlp, name))]


@pytest.mark.parametrize("name", public_callables())
def test_every_public_name_has_an_example(name):
    assert ">>> " in (getattr(cmlp, name).__doc__ or "")


def test_every_public_name_exists():
    assert not [name for name in cmlp.__all__ if not hasattr(cmlp, name)]


def test_version():
    assert cmlp.__version__ == metadata.version("cmlp")


def test_numpy_is_the_only_requirement():
    required = [line for line in metadata.requires("cmlp") if "extra ==" not in line]
    assert [line.split(">=")[0] for line in required] == ["numpy"]


def test_files_of_the_installed_package():
    folder = Path(cmlp.__file__).parent
    assert {"py.typed", "_core.pyi", "cmlp.h"} <= {path.name for path in folder.iterdir()}
    assert {"digits.npz", "digits.txt"} <= {path.name for path in (folder / "datasets").iterdir()}
    assert not list(folder.glob("*.pyx")) + list(folder.glob("*.c"))


def test_importing_loads_numpy_and_the_standard_library_alone(tmp_path):
    code = "import sys, numpy; before = set(sys.modules); import cmlp; print(*(set(sys.modules) - before))"
    roots = {name.split(".")[0] for name in run_isolated(code, tmp_path).split()}
    others = roots - set(sys.stdlib_module_names) - {"cmlp", "numpy", "cython_runtime"}
    assert not [name for name in others if not name.startswith("_cython_")]


def test_importing_leaves_subnormal_numbers_alone(tmp_path):
    """A shared object linked under -ffast-math makes them 0 in the whole process."""
    code = "import sys, cmlp._core; print(sys.float_info.min / 2 > 0)"
    assert run_isolated(code, tmp_path).strip() == "True"


def test_the_uncompiled_tree_says_what_to_do(tmp_path):
    package = tmp_path / "cmlp"
    package.mkdir()
    source = Path(cmlp.__file__).read_text(encoding="utf-8")
    (package / "__init__.py").write_text(source, encoding="utf-8")
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import cmlp"]
    result = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert result.returncode == 1
    assert "has no compiled core" in result.stderr.splitlines()[-1]
