"""Fixtures for all tests."""

from __future__ import annotations

import os
import sys

import pytest

# The current folder, which `python -m` and `python -c` put on the path, holds a cmlp/ without its compiled core: it
# would hide the installed package, here and in the processes that tests start.
if os.getcwd() in sys.path:
    sys.path.remove(os.getcwd())
os.environ["PYTHONSAFEPATH"] = "1"

from cmlp import _core


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
