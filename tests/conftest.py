"""Fixtures for all tests."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

import pytest
from hypothesis import settings

# The current folder, which `python -m` and `python -c` put on the path, holds a cmlp/ without its compiled core: it
# would hide the installed package, here and in the processes that tests start.
if os.getcwd() in sys.path:
    sys.path.remove(os.getcwd())
os.environ["PYTHONSAFEPATH"] = "1"

from cmlp import _core

settings.register_profile("untimed", deadline=None)  # whatever the machine does besides
settings.load_profile("untimed")

# PyTorch has no wheels for some systems that cmlp has wheels for; there the files that compare with it are left out.
HAS_TORCH = find_spec("torch") is not None
collect_ignore_glob = [] if HAS_TORCH else ["*test_torch_*.py"]


def pytest_report_header():
    """Say which of the tests are not here."""
    return [] if HAS_TORCH else ["PyTorch is not installed: the files test_torch_*.py are left out"]


@pytest.fixture(params=_core.simd_levels())
def simd_level(request):
    """Each instruction-set level of this machine in turn; the one before comes back afterwards."""
    before = _core.simd_level()
    _core.set_simd_level(request.param)
    yield request.param
    _core.set_simd_level(before)


@pytest.fixture(autouse=True)
def small_work_is_divided_too(monkeypatch):
    """Let teams of threads take the small networks of the tests."""
    monkeypatch.setattr("cmlp._engine.threads.LEAST_AT_ONCE", 0)
    monkeypatch.setattr("cmlp._engine.threads.LEAST_PER_CALL", 0)
