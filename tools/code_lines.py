"""Lines of code and functions of Python, Cython and C: blank lines, comments and docstrings are not counted."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CYTHON = (".pyx", ".pxi", ".pxd")
SUFFIXES = (".py", ".pyi", *CYTHON, ".c", ".h")

_NO_CODE = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
_C_COMMENT_OR_TEXT = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)
_CYTHON_TEXT = re.compile(
    r'(?:"""|\'\'\').*?(?:"""|\'\'\')|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|#[^\n]*', re.DOTALL
)
_CYTHON_HEADER = re.compile(r"(?P<indent> *)(?:def|cdef|cpdef)\b(?P<before>[^(=:]*?)(?P<name>\w+)\s*\(")


class Function(NamedTuple):
    """A function in a file: its name, first line and lines of code."""

    name: str
    line: int
    n_lines: int


def code_lines(path: Path) -> set[int]:
    """Return the numbers of the lines that hold code."""
    text = path.read_text()
    if path.suffix in (".py", ".pyi"):
        return _python_lines(text)
    plain = _without_comments(text, path.suffix)
    return {number for number, line in enumerate(plain.split("\n"), 1) if line.strip()}


def functions(path: Path) -> Iterator[Function]:
    """Yield the functions of a file; one inside another is also a part of that."""
    text, code = path.read_text(), code_lines(path)
    if path.suffix in (".py", ".pyi"):
        found = _python_functions(text)
    elif path.suffix in CYTHON:
        found = _cython_functions(_without_comments(text, path.suffix))
    else:
        found = _c_functions(_without_comments(text, path.suffix))
    for name, first, last in found:
        yield Function(name, first, len(code & set(range(first, last + 1))))


def _python_lines(text: str) -> set[int]:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    lines = {n for t in tokens if t.type not in _NO_CODE for n in range(t.start[0], t.end[0] + 1)}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(
            node
        ):
            docstring = node.body[0]
            lines -= set(range(docstring.lineno, (docstring.end_lineno or docstring.lineno) + 1))
    return lines


def _python_functions(text: str) -> Iterator[tuple[str, int, int]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node.lineno, node.end_lineno or node.lineno


def _without_comments(text: str, suffix: str) -> str:
    """Blank out comments and docstrings, and what strings hold; lines stay where they are."""

    def blank(match: re.Match[str]) -> str:
        found = match.group()
        line_before = text[text.rfind("\n", 0, match.start()) + 1 : match.start()]
        docstring = suffix in CYTHON and found.startswith(('"""', "'''")) and not line_before.strip()
        kept = "" if docstring or found.startswith(("/", "#")) else '""'
        return kept + "\n" * found.count("\n")

    return (_CYTHON_TEXT if suffix in CYTHON else _C_COMMENT_OR_TEXT).sub(blank, text)


def _cython_functions(text: str) -> Iterator[tuple[str, int, int]]:
    """Find functions by their headers, which may take several lines, and their bodies by indentation."""
    lines = text.split("\n")
    for i, line in enumerate(lines):
        header = _CYTHON_HEADER.match(line)
        if header is None or re.match(r"\s*(struct|class|enum|union|extern|packed)\b", header["before"]):
            continue
        end, opened = i, line
        while opened.count("(") > opened.count(")") and end + 1 < len(lines):
            end += 1
            opened += lines[end]
        if not opened.rstrip().endswith(":"):
            continue  # a declaration
        last = end
        for n in range(end + 1, len(lines)):
            if lines[n].strip():
                if len(lines[n]) - len(lines[n].lstrip()) <= len(header["indent"]):
                    break
                last = n
        yield header["name"], i + 1, last + 1


def _c_functions(text: str) -> Iterator[tuple[str, int, int]]:
    """Find what has parameters and braces outside all other braces; macros are not followed."""
    text = re.sub(
        r"^[ \t]*#(?:[^\n\\]|\\.|\\\n)*", lambda match: "\n" * match.group().count("\n"), text, flags=re.MULTILINE
    )
    depth, start = 0, 0
    header, opened_at = "", 0
    for match in re.finditer(r"[{};]", text):
        if match.group() == "{":
            if depth == 0:
                header = text[start : match.start()]
                opened_at = start + len(header) - len(header.lstrip())
            depth += 1
        elif match.group() == "}":
            depth -= 1
            named = re.search(r"(\w+(?:\s*\(\s*\w+\s*\))?)\s*\([^{}=]*\)\s*$", header)
            if depth == 0 and named:
                yield named[1], text.count("\n", 0, opened_at) + 1, text.count("\n", 0, match.start()) + 1
        if depth == 0:
            start = match.end()
