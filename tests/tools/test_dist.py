"""tools/dist.py settles the bytes of an sdist and names what differs; tools/oldest.py knows every floor."""

import io
import re
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tool(monkeypatch):
    """A function that imports a tool."""
    monkeypatch.syspath_prepend(ROOT / "tools")
    yield __import__
    for name in ("dist", "oldest", "revision"):
        sys.modules.pop(name, None)


def archive(path, members, *, mtime, mode, uid):
    """Write a .tar.gz of (name, bytes); a name that ends with .sh is a program."""
    with tarfile.open(path, "w:gz") as sdist:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.uid, info.uname = len(data), mtime, uid, f"user{uid}"
            info.mode = mode | 0o100 if name.endswith(".sh") else mode
            sdist.addfile(info, io.BytesIO(data))
    return path


def test_times_modes_owners_and_order_leave_no_trace(tmp_path, tool):
    settle, members = tool("dist").settle, [("a/one.py", b"1"), ("a/run.sh", b"2"), ("a/two.py", b"3" * 100_000)]
    one = archive(tmp_path / "one.tar.gz", members, mtime=1e9, mode=0o644, uid=0)
    two = archive(tmp_path / "two.tar.gz", members[::-1], mtime=1.5e9 + 0.25, mode=0o600, uid=1000)
    assert one.read_bytes() != two.read_bytes()
    (tmp_path / "other").mkdir()
    first = settle(one, tmp_path / "cmlp.tar.gz", 1_700_000_000)
    second = settle(two, tmp_path / "other" / "cmlp.tar.gz", 1_700_000_000)
    assert first.read_bytes() == second.read_bytes()
    assert tool("dist").differences(first, second) == []
    with tarfile.open(first) as sdist:
        assert [(m.name, m.mode, m.mtime) for m in sdist] == [
            ("a/one.py", 0o644, 1_700_000_000),
            ("a/run.sh", 0o755, 1_700_000_000),
            ("a/two.py", 0o644, 1_700_000_000),
        ]
        assert sdist.extractfile("a/two.py").read() == b"3" * 100_000


def test_what_differs_is_named(tmp_path, tool):
    (tmp_path / "other").mkdir()
    one = archive(tmp_path / "a.tar.gz", [("a/x", b"1"), ("a/y", b"1")], mtime=1, mode=0o644, uid=0)
    two = archive(tmp_path / "other" / "a.tar.gz", [("a/x", b"1"), ("a/y", b"2")], mtime=1, mode=0o644, uid=0)
    assert tool("dist").differences(one, two) == ["a.tar.gz: a/y"]


def test_every_requirement_of_the_tests_has_a_floor(tool):
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = pyproject["project"]["optional-dependencies"]
    required = [*pyproject["project"]["dependencies"], *extras["scipy"], *extras["sklearn"], *extras["test"]]
    required += [line for line in extras["test-without-torch"] if not line.startswith("cmlp[")]
    pinned = {line.split("==")[0] for line in tool("oldest").constraints()}
    assert {re.split("[<>=]", line)[0] for line in required if not line.startswith("cmlp[")} == pinned | {"torch"}
    assert "numpy==1.25" in tool("oldest").constraints()
    assert [line.split("==")[0] for line in tool("oldest").constraints("build")] == ["setuptools", "cython", "numpy"]
