"""Reading tables of numbers from CSV files, for the command line.

A file is read once, row by row, into compact arrays (8 bytes a cell); no list of Python numbers is ever held.
Whatever is wrong with it becomes a one-line `TableError` that names the file and, where there is one, the row
(the header is row 1) and the column.
"""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain
from operator import itemgetter
from typing import Any, TextIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

# A line longer than this is not a row of a table but a file of another kind. It bounds what readline takes.
_LONGEST_LINE = 1 << 24
# Cells that read_blocks puts into one block: 8 MB of numbers.
_BLOCK_CELLS = 1 << 20


class TableError(ValueError):
    """Something is wrong with a CSV file; the message names the file, and the row and column if there is one."""


@dataclass(frozen=True)
class Table:
    """A table of numbers with one target column.

    Parameters
    ----------
    path : str
        Where it was read from, for messages.
    features : list of str
        Names of the feature columns, n of them.
    X : ndarray of float64, shape (M, n)
        Their values, finite.
    target : str
        Name of the target column.
    labels : list of str
        The different texts of the target column, in order of appearance.
    codes : ndarray of int64, shape (M,)
        For every row the index of its target in `labels`.
    rows : ndarray of int64, shape (M,)
        For every row its number in the file; the header is row 1.
    """

    path: str
    features: list[str]
    X: NDArray[np.float64]
    target: str
    labels: list[str]
    codes: NDArray[np.int64]
    rows: NDArray[np.int64]


def quote(text: str) -> str:
    r"""Show a name or a cell in a message: quoted, on one line, and short.

    Examples
    --------
    >>> print(quote("two\nlines"), quote("x" * 100))
    "two\nlines" "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx..."
    """
    short = text[:40] + "..." if len(text) > 43 else text
    return '"' + "".join(c if c.isprintable() else repr(c)[1:-1] for c in short) + '"'


def quote_some(names: Sequence[str], most: int = 8) -> str:
    """Show a list of names in a message, cut to a readable length.

    Examples
    --------
    >>> quote_some(["a", "b"])
    '"a", "b"'
    >>> quote_some(["x", "y", "z"], most=2)
    '"x", "y", ... (3 in all)'
    """
    listed = ", ".join(map(quote, names[:most]))
    return listed if len(names) <= most else f"{listed}, ... ({len(names)} in all)"


def closest(name: str, known: Sequence[str]) -> str | None:
    """Return the known name that a mistyped one probably means, or None; capitals do not matter.

    Examples
    --------
    >>> closest("Prise", ["price", "rooms"])
    'price'
    """
    # Comparing with more, or longer ones, would take seconds.
    by_lower = {entry[:100].lower(): entry for entry in known[:10_000]}
    close = get_close_matches(name[:100].lower(), by_lower, n=1)
    return by_lower[close[0]] if close else None


def read_header(path: str) -> list[str]:
    """Return the column names of a CSV file.

    Raises
    ------
    TableError
        If its first row is not a header.
    OSError
        If the file cannot be read.
    """
    with _open(path) as (header, _):
        return header


def read_table(path: str, target: str, ignore: Sequence[str] = ()) -> Table:
    r"""Read a CSV file with a header: one target column, all others numbers.

    Parameters
    ----------
    path : str
        The file: UTF-8 (with or without a byte order mark), separated by commas, semicolons or tabs.
    target : str
        Name of the target column; its cells may be any text.
    ignore : sequence of str
        Names of columns to leave out.

    Returns
    -------
    Table

    Raises
    ------
    TableError
        If the file is not such a table; the message names the row and the column.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "plants.csv")
    ...     with open(path, "w") as file:
    ...         _ = file.write("height,kind,width\n1.5,oak,2\n0.5,fir,3\n")
    ...     table = read_table(path, "kind")
    >>> table.features, table.X.tolist(), table.labels
    (['height', 'width'], [[1.5, 2.0], [0.5, 3.0]], ['oak', 'fir'])
    """
    with _open(path) as (header, rows):
        for name in (target, *ignore):
            _require(path, header, [name])
        if target in ignore:
            raise TableError(f"{path}: the target {quote(target)} cannot be ignored")
        features = [name for name in header if name != target and name not in set(ignore)]
        if not features:
            raise TableError(f"{path}: there is no column beside the target {quote(target)} to learn from")
        numbers = _Numbers(path, header, features, np.float64)
        labels: dict[str, int] = {}
        codes = array("q")
        column = header.index(target)
        for row, cells in rows:
            numbers.add(row, cells)
            text = cells[column].strip()
            if not text:
                raise TableError(f"{path}, row {row}, column {quote(target)}: the cell is empty")
            codes.append(labels.setdefault(text, len(labels)))
    X, numbered = numbers.take()
    if not codes:
        raise TableError(f"{path}: the header is there, but no rows follow it")
    return Table(path, features, X, target, list(labels), np.frombuffer(codes, dtype=np.int64), numbered)


def read_blocks(path: str, features: Sequence[str], dtype: DTypeLike) -> Iterator[NDArray[Any]]:
    r"""Read some columns of a CSV file, found by name, in blocks of rows of a bounded size.

    Parameters
    ----------
    path : str
        The file, as for :func:`read_table`.
    features : sequence of str
        Names of the columns, in the order wanted. If it is empty, all columns are taken as they come.
    dtype : dtype
        float32 or float64.

    Yields
    ------
    ndarray of `dtype`, shape (rows of the block, columns)
        Finite values. The first block comes as soon as the header has been checked and may have no rows.

    Raises
    ------
    TableError
        If a column is missing or a cell is not a number.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "plants.csv")
    ...     with open(path, "w") as file:
    ...         _ = file.write("height,kind,width\n1.5,oak,2\n0.5,fir,3\n")
    ...     blocks = list(read_blocks(path, ["width", "height"], "float32"))
    >>> np.concatenate(blocks).tolist()
    [[2.0, 1.5], [3.0, 0.5]]
    """
    with _open(path) as (header, rows):
        names = list(features) or header
        _require(path, header, names)
        numbers = _Numbers(path, header, names, dtype)
        yield numbers.take()[0]
        block_rows = max(1, _BLOCK_CELLS // len(names))
        for row, cells in rows:
            numbers.add(row, cells)
            if len(numbers.rows) == block_rows:
                yield numbers.take()[0]
        if numbers.rows:
            yield numbers.take()[0]


def label_values(table: Table, task: str) -> tuple[str, list[Any]]:
    """Decide what the target column holds: numbers to predict, or classes.

    Parameters
    ----------
    table : Table
    task : {"auto", "classification", "regression"}
        "auto" takes text as classes, and integers too if there are few different ones (at most 20, each of
        them twice or more on average); all other numbers are a regression.

    Returns
    -------
    task : {"classification", "regression"}
    values : list
        The meaning of each entry of ``table.labels``: an int or a str (classes), or a float (regression).

    Raises
    ------
    TableError
        If the target does not suit the task.
    """
    numbers = [_number(text) for text in table.labels]
    texts = [i for i, number in enumerate(numbers) if number is None]
    for i, number in enumerate(numbers):
        if number is not None and not math.isfinite(number):
            raise _target_error(table, i, f"{table.labels[i]} is not a finite number")
    whole = not texts and all(number.is_integer() for number in numbers if number is not None)
    if task == "auto":
        if texts and len(texts) < len(numbers) / 2:
            problem = f"{quote(table.labels[texts[0]])} is not a number, unlike most of the column"
            raise _target_error(table, texts[0], f"{problem} (for classes: --task classification)")
        few = len(set(numbers)) <= min(20, len(table.codes) // 2)
        task = "classification" if texts or (whole and few) else "regression"
    if task == "regression":
        if texts:
            raise _target_error(table, texts[0], f"{quote(table.labels[texts[0]])} is not a number")
        return task, [number for number in numbers if number is not None]
    for i, number in enumerate(numbers):
        if not texts and number is not None and not number.is_integer():
            raise _target_error(table, i, f"{table.labels[i]} is neither text nor an integer, so not a class")
    if whole and max(abs(number) for number in numbers if number is not None) < 2**53:
        return task, [int(number) for number in numbers if number is not None]
    return task, table.labels  # text, or integers that are no longer exact as floats


def _target_error(table: Table, label: int, problem: str) -> TableError:
    """Return the error for the first row whose target is that label."""
    row = table.rows[int(np.argmax(table.codes == label))]
    return TableError(f"{table.path}, row {row}, column {quote(table.target)}: {problem}")


def _number(text: str) -> float | None:
    """Return the number that a cell holds, or None; 1_000 is Python's spelling, not a table's."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _require(path: str, header: Sequence[str], names: Sequence[str]) -> None:
    """Raise if the header lacks one of the names, with the closest name that it has."""
    known = set(header)
    missing = [name for name in names if name not in known]
    if not missing:
        return
    what = f"no column {quote(missing[0])}"
    if len(missing) > 1:
        what = f"{len(missing)} of the {len(names)} columns needed are missing: {quote_some(missing, 4)}"
    meant = closest(missing[0], header)
    guess = "" if meant is None else f" (did you mean {quote(meant)}?)"
    headless = " Is the first line a header?" if all(_number(name) is not None for name in header) else ""
    raise TableError(f"{path}: {what}{guess}; the columns are {quote_some(header)}.{headless}")


class _Numbers:
    """Collects the numeric columns of rows in one array of doubles."""

    def __init__(self, path: str, header: Sequence[str], features: Sequence[str], dtype: DTypeLike) -> None:
        position = {name: i for i, name in enumerate(header)}
        columns = [position[name] for name in features]
        self.path, self.features, self.dtype = path, features, np.dtype(dtype)
        self.values, self.rows = array("d"), array("q")
        # itemgetter gives a tuple, but a bare cell for one column.
        pick = itemgetter(*columns)
        self.pick: Callable[[list[str]], Iterable[str]] = pick if len(columns) > 1 else lambda r: (pick(r),)

    def add(self, row: int, cells: list[str]) -> None:
        """Append the numbers of a row."""
        picked = self.pick(cells)
        try:
            self.values.extend(map(float, picked))
        except ValueError:
            raise self._error(row, picked) from None
        self.rows.append(row)
        if "_" in "".join(picked):
            raise self._error(row, picked)

    def _error(self, row: int, picked: Iterable[str]) -> TableError:
        for name, text in zip(self.features, picked, strict=True):
            if _number(text) is None:
                problem = f"{quote(text)} is not a number" if text.strip() else "the cell is empty"
                return TableError(f"{self.path}, row {row}, column {quote(name)}: {problem}")
        raise AssertionError("every cell is a number")

    def take(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return the rows collected so far, with their numbers in the file, and begin anew."""
        raw = np.frombuffer(self.values, dtype=np.float64).reshape(-1, len(self.features))
        rows = np.frombuffer(self.rows, dtype=np.int64)
        with np.errstate(over="ignore"):
            X = raw.astype(self.dtype, copy=False)
        for start in range(0, len(X), 1024):  # in steps, so that the mask of booleans stays small
            bad = np.argwhere(~np.isfinite(X[start : start + 1024]))
            if len(bad):
                i, j = bad[0] + (start, 0)
                size = f"too large for {self.dtype}" if math.isfinite(raw[i, j]) else "not a finite number"
                where = f"{self.path}, row {rows[i]}, column {quote(self.features[j])}"
                raise TableError(f"{where}: {raw[i, j]} is {size}")
        self.values, self.rows = array("d"), array("q")
        return X, rows


@contextmanager
def _open(path: str) -> Iterator[tuple[list[str], Iterator[tuple[int, list[str]]]]]:
    """Open a CSV file: its header, and an iterator over (row number, cells) in which every row is as wide."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = _lines(path, file)
            first = next(lines, "")
            if "\0" in first:
                raise TableError(f"{path}: this is a binary file, not a CSV table")
            if not first.strip():
                raise TableError(f"{path}: row 1 must be a header" if first else f"{path}: the file is empty")
            # The separator is the one that gives most columns. (A first line alone may end inside quotes.)
            separator = max(",;\t", key=lambda s: len(next(csv.reader([first], delimiter=s))))
            reader = csv.reader(chain([first], lines), delimiter=separator, strict=True)
            header = _header(path, reader)
            yield header, _rows(path, reader, len(header))
    except csv.Error as error:
        # strict=True: quotes that do not close would otherwise swallow the rest of the file.
        raise TableError(f"{path}, row 1: {error}") from None
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        problem = f"this is not UTF-8 text (byte 0x{byte:02x}); save it as CSV in UTF-8"
        raise TableError(f"{path}: {problem}") from None


def _lines(path: str, file: TextIO) -> Iterator[str]:
    """Yield the lines of a file; unlike its own iterator, stop at a line without an end."""
    while line := file.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            problem = f"a line is longer than {_LONGEST_LINE} characters; this is not a CSV table"
            raise TableError(f"{path}: {problem}")
        yield line


def _header(path: str, reader: Iterator[list[str]]) -> list[str]:
    """Read the column names; each must be there and be different."""
    header = [name.strip() for name in next(reader)]
    seen: dict[str, int] = {}
    for number, name in enumerate(header, start=1):
        if not name:
            raise TableError(f"{path}, row 1: column {number} of the header has no name")
        if name in seen:
            where = f"columns {seen[name]} and {number}"
            raise TableError(f"{path}, row 1: the header has two columns named {quote(name)} ({where})")
        seen[name] = number
    return header


def _rows(path: str, reader: Iterator[list[str]], width: int) -> Iterator[tuple[int, list[str]]]:
    """Yield every row that is not blank with its number, the header being row 1."""
    row = 1
    try:
        for row, cells in enumerate(reader, start=2):
            if len(cells) == width:
                yield row, cells
            elif any(cell.strip() for cell in cells):
                has = "1 cell" if len(cells) == 1 else f"{len(cells)} cells"
                raise TableError(f"{path}, row {row}: {has}, but the header has {width} columns")
    except csv.Error as error:
        raise TableError(f"{path}, row {row + 1}: {error} (quotes that do not close?)") from None
