"""tools/check_house.py finds what is planted in a small tree, and nothing in a clean one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "check_house.py"

CLEAN = {
    "cmlp/__init__.py": "from cmlp.mlp import MLP\n",
    "cmlp/_base/__init__.py": "",
    "cmlp/_base/checks.py": "def _plain(x):\n    return x\n\n\ndef check(x):\n    return _plain(x)\n",
    "cmlp/_core.pyi": "class Program:\n    def train(self, a, b, c, d, e, f, g, h) -> None: ...\n",
    "cmlp/losses.py": "from cmlp import _core\nfrom cmlp._base.checks import check\n",
    "cmlp/network.py": (
        "from typing import TYPE_CHECKING\n\nfrom cmlp._base import checks\n\nif TYPE_CHECKING:\n"
        "    from cmlp.mlp import MLP\n\n\nclass Network:\n    def __init__(self, other: 'MLP') -> None:\n"
        "        self._x = other._x\n"
    ),
    "cmlp/mlp.py": "from cmlp.network import Network\n\n\nclass MLP(Network):\n    pass\n",
    "cmlp/estimators/__init__.py": (
        "from sklearn.base import BaseEstimator, _fit_context\n\nfrom cmlp.mlp import MLP\n\n\n"
        "class Kind(BaseEstimator):\n    def fit(self):\n        return self._validate_params()\n\n\n"
        "class Own(MLP):\n    def look(self):\n        return self._x\n"
    ),
    "cmlp/cli/__init__.py": "from cmlp import __version__\n",
    "src/_core.pyx": "cdef class Program:\n    def train(self):\n        pass\n",
    "src/kernels/kernels.h": "typedef struct {\n    void (*forward)(int a, const char *b);\n} table;\n",
}
LONG = "".join(f"    x = {i}\n" for i in range(60))  # 61 lines of code with a signature
LONG_C = "".join(f"    x = {i}; /* one */\n" for i in range(58))  # and 3 more lines


def run(folder, files, *options):
    """Write a tree and check it; return the exit code and what was printed."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    environment = {**os.environ, "PYTHONSAFEPATH": ""}  # it imports its neighbours
    command = [sys.executable, TOOL, folder, *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_a_clean_tree_passes(tmp_path):
    code, printed = run(tmp_path, CLEAN)
    assert (code, printed.count("\n")) == (0, 1), printed
    assert "8 modules, 5 imports" in printed
    assert "parameter list of the core: train, 8; violations: 0" in printed


PLANTED = {
    "upward": ("cmlp/losses.py", "import cmlp.network\n", "cmlp/losses.py:1: level 1 imports cmlp.network of level 4"),
    "upward inside a function": (
        "cmlp/_base/checks.py",
        "def f():\n    from cmlp.saving import save\n",
        "cmlp/_base/checks.py:2: level 0 imports cmlp.saving of level 5",
    ),
    "upward, a module by its package": ("cmlp/losses.py", "from cmlp import cli\n", "level 1 imports cmlp.cli"),
    "upward, relative": ("cmlp/_base/checks.py", "from ..saving import x\n", "level 0 imports cmlp.saving"),
    "circle": (
        "cmlp/network.py",
        "def f():\n    import cmlp.mlp\n\n\nclass Network:\n    _x = 1\n",
        "circle: cmlp.",
    ),
    "from the root": ("cmlp/losses.py", "from cmlp import MLP\n", "imports MLP from cmlp: name the module"),
    "no level": ("cmlp/stray.py", "", "cmlp.stray has no level"),
    "private import": (
        "cmlp/losses.py",
        "from cmlp._base.checks import _plain\n",
        "cmlp/losses.py:1: imports the private _plain of cmlp._base.checks",
    ),
    "private use": (
        "cmlp/estimators/__init__.py",
        "def f(network):\n    network._x = 2\n    return network\n",
        "cmlp/estimators/__init__.py:2: uses the private network._x of another folder",
    ),
    "private use of an annotated object, by a folder with a name of its own": (
        "cmlp/estimators/__init__.py",
        "from cmlp.network import Network\n\n_x = 1\n\n\ndef f(network: Network):\n    return network._x\n",
        "uses the private network._x",
    ),
    "private use of self": (
        "cmlp/estimators/__init__.py",
        "class Kind:\n    def f(self):\n        return self._x\n",
        "uses the private self._x",
    ),
    "long Python": ("cmlp/losses.py", f'def long():\n    """Doc."""\n\n    # why\n{LONG}', "1: long has 61 lines"),
    "long method": (
        "cmlp/losses.py",
        f"class A:\n    def long(\n        self\n    ):\n{LONG.replace('    ', ' ' * 8)}",
        "63",
    ),
    "long Cython": (
        "src/loops.pxi",
        f'cdef int long(int a,\n         int b) nogil:\n    """A\n    b."""\n    cdef int x = f(1)  # one\n{LONG}',
        "src/loops.pxi:1: long has 63 lines",
    ),
    "long C": (
        "src/kernels/body.h",
        f"/* why */\nstatic int NAME(long)(int x) {{\n{LONG_C}{LONG_C}}}\n",
        "2: NAME(long) has 118",
    ),
    "parameters of a method": (
        "cmlp/_core.pyi",
        "class Program:\n    def train(self, a, b, c, d, e, f, g, h, *, i=1) -> None: ...\n",
        "cmlp/_core.pyi:2: train takes 9 parameters, over 8",
    ),
    "parameters of a function": ("cmlp/_core.pyi", "def f(a, b, c, d, e, f, g, h, i): ...\n", "f takes 9 parameters"),
    "parameters of a kernel": (
        "src/kernels/kernels.h",
        "struct t {\n    void (*loss)(int a, int b, int c, int d, /* , */\n  int e, int f, int g, int h, int i);\n};\n",
        "src/kernels/kernels.h:2: loss takes 9 parameters",
    ),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_it_finds_what_is_planted(tmp_path, planted):
    name, text, message = PLANTED[planted]
    code, printed = run(tmp_path, {**CLEAN, name: text})
    assert code == 1
    assert message in printed
    assert printed.count("\n") == 2, printed  # nothing else


def test_sixty_lines_are_not_too_many(tmp_path):
    body = LONG.removesuffix("    x = 59\n")
    files = {"cmlp/losses.py": f'def f():\n    """Two\n    lines."""\n{body}', "src/a.pxi": f"def g():\n{body}"}
    code, printed = run(tmp_path, {**CLEAN, **files})
    assert code == 0
    assert "longest function: f, 60 lines" in printed


def test_it_counts_lines_of_code(tmp_path):
    files = {
        "cmlp/a.py": '"""D"""\n\nx = """a\nb"""  # why\n\n\ndef f():\n    """Doc.\n\n    A.\n    """\n    return x\n',
        "src/b.pyx": '"""Doc\nof two lines"""\ncdef int x  # why\n# why\n\nname = "# not a comment"\n',
        "src/kernels/c.h": '/* a\n * b */\nint x; // why\n\nchar *s = "/* not a comment";\n#define A 1\n',
    }
    code, printed = run(tmp_path, files, "--count")
    assert code == 0
    assert printed == "cmlp: 4 lines of code (.py 4)\nsrc: 5 lines of code (.h 3, .pyx 2)\ntotal: 9\n"


def test_this_tree_is_in_order():
    environment = {**os.environ, "PYTHONSAFEPATH": ""}
    done = subprocess.run([sys.executable, TOOL], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
