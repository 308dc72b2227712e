"""Every block of code in the documentation runs as it stands."""

from __future__ import annotations

import csv
import importlib.util
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PATH = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])


def blocks(language):
    """The fenced blocks of a language on all pages, as test parameters that say where they are."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, match.start()) + 1
            found.append(pytest.param(match[1], id=f"{page.relative_to(ROOT)}:{line}"))
    return found


def run(command, folder):
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("code", blocks("python"))
def test_python_blocks_run_in_a_fresh_process(code, tmp_path):
    run(["-c", code], tmp_path)


def commands_of(script):
    """The simple commands of a shell script, without comments, as lists of words."""
    for line in script.splitlines():
        for command in re.split(r"&&|\|", line):
            words = shlex.split(command, comments=True)
            if words:
                yield words


def exists(words):
    """Tell whether there is such a command, module, script of this repository or target of its Makefile."""
    name, *rest = words
    if rest[:1] == ["-m"]:
        return rest[1] == "cmlp" or (ROOT / rest[1]).is_dir() or importlib.util.find_spec(rest[1]) is not None
    if name == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        return set(rest) <= set(targets)
    return name in (".", "cmlp") or (ROOT / name).is_file() or shutil.which(name, path=PATH) is not None


def write_tables(commands, folder):
    """Write all tables that the commands name: columns a and b, and each target, which follows from them."""
    words = [word for command in commands for word in command]
    targets = [target for flag, target in itertools.pairwise(words) if flag == "--target"]
    rows = [[a, b, *[3 * a - b] * len(targets)] for a in range(10) for b in range(10)]
    for name in words:
        if name.endswith(".csv"):
            with open(folder / name, "w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([["a", "b", *targets], *rows])


@pytest.mark.parametrize("script", blocks("sh"))
def test_shell_blocks_name_commands_that_exist(script):
    assert [words for words in commands_of(script) if not exists(words)] == []


@pytest.mark.parametrize("script", blocks("sh"))
def test_the_command_in_shell_blocks_runs(script, tmp_path):
    commands = [words[1:] for words in commands_of(script) if words[0] == "cmlp"]
    write_tables(commands, tmp_path)
    for words in commands:
        quick = ["--quick"] if words == ["bench"] else []  # seconds, not a minute
        assert run(["-m", "cmlp", *words, *quick], tmp_path)
