"""Threads with 64 KiB of stack: half of what musl gives them."""

import subprocess
import sys
from pathlib import Path

import pytest
from helpers import small_stack


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_everything_runs_in_a_thread_with_a_small_stack(simd_level, dtype):
    arguments = [sys.executable, str(Path(small_stack.__file__)), dtype, simd_level]
    result = subprocess.run(arguments, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stderr
