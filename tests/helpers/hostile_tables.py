"""CSV files made to be misread: mutations of tables, and a reader of its own that says what each of them holds."""

from __future__ import annotations

import contextlib
import io
import math
import os
import random
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np

from cmlp.cli.main import main
from cmlp.data.csv import Table, TableError, label_values, read_blocks, read_header, read_table
from helpers.hostile_models import Finding, examined

SEEDS = [
    b"a,b,y\n1,2,3\n4,5,6\n",
    b"\xef\xbb\xbfname;size;kind\r\n1,5;2;x\r\n-3;.5;y\r\n",
    b"h\tw\tclass\n1e3\t-2.5E-1\toak\n0\t7\tfir\n2\t3\toak\n",
    b'"size, in m","id","kind ""k"""\n1e-3,007,"a\nb"\n\n-.5,1,b\n',
    b" a , b , y \n 1 , 2 , x \n3,4.0,y\n   \n",
    b"x,y\r1,2\r3,4\r5,6\r",
    b"u,v,w,y\n" + b"".join(b"%d,%d.5,-%d,%d\n" % (i, i, i * i, i % 3) for i in range(12)),
    "größe,höhe,art\n1,2,ä\n3,4,ß\n".encode(),
]
NUMBERS = [
    "0",
    "-0",
    "1",
    "1.5",
    ".5",
    "5.",
    "-.5e-3",
    "+7",
    "1e308",
    "1e309",
    "-1e999",
    "1e-400",
    "4.9e-324",
    "3.5e38",
    "nan",
    "NaN",
    "inf",
    "-Infinity",
    "1_000",
    "0x10",
    "1e",
    "--1",
    "1 2",
    "1,5",
    "½",
    "١٢",
    "1\u00a0",
    "\u20031",
    "9" * 400,
    "0" * 5000 + "1",
    "1e99999999999",
    "1d3",
    "True",
    "None",
    "9007199254740993",
    "",
    " ",
    "\x00",
    "'1'",
    "1;2",
    "=1+1",
    "1\x1c",
    "1\x0b2",
    "\x0c3",
    "1\u2028",
]
PIECES = [
    '"',
    '""',
    ",",
    ";",
    "\t",
    "\n",
    "\r",
    "\r\n",
    "\n\n",
    '"\n"',
    "\0",
    "\ufeff",
    "\u2028",
    "\x85",
    "\x0b",
    "\x1d",
    '",',
    ',"',
    "'",
    "\\",
    "#",
    '"a"b',
    " ",
    "   \n",
    ",,,\n",
    "=",
    "x" * 70000,
    "\x1a",
    "\x7f",
]


def mutated(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Return a table after one to four changes: of cells, of rows and columns, of text, of bytes."""
    for _ in range(rng.choice([1, 1, 1, 2, 2, 4])):
        data = rng.choice([_cell, _cell, _text, _text, _rows, _bytes, _encoded])(data, rng, others)
    return data[:300_000]


def _cell(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Put something in place of a cell."""
    at = [i for i, byte in enumerate(data) if byte in b",;\t\r\n"]
    if len(at) < 2:
        return data
    first = rng.randrange(len(at) - 1)
    new = rng.choice(NUMBERS) if rng.random() < 0.7 else rng.choice(PIECES)
    if rng.random() < 0.3:
        new = '"' + new.replace('"', '""') + '"'
    return data[: at[first] + 1] + new.encode() + data[at[first + 1] :]


def _text(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Insert something that means something to a reader of CSV, or take something away."""
    at = rng.randrange(len(data) + 1)
    if rng.random() < 0.3:
        return data[:at] + data[at + rng.choice([1, 1, 2, 8]) :]
    return data[:at] + rng.choice(PIECES).encode() + data[at:]


def _rows(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Repeat, drop, swap or join lines; change the separator or the ends of lines."""
    lines = data.split(b"\n")
    how, one = rng.randrange(6), rng.randrange(len(lines))
    if how == 0:
        lines.insert(rng.randrange(len(lines) + 1), lines[one])
    elif how == 1:
        lines[one] *= rng.choice([0, 2, 50])
    elif how == 2:
        rng.shuffle(lines)
    elif how == 3:
        lines += rng.choice(others).split(b"\n")
    elif how == 4:
        return data.replace(*rng.choice([(b",", b";"), (b";", b"\t"), (b"\n", b"\r\n"), (b"\n", b"\r"), (b",", b", ")]))
    else:
        lines[1:] = lines[1:] * rng.choice([2, 30])
    return b"\n".join(lines)


def _bytes(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Flip, cut or splice without understanding."""
    at, how = rng.randrange(len(data) + 1), rng.randrange(3)
    if how == 0:
        return data[:at]
    if how == 1:
        return data[:at] + rng.choice(others)[rng.randrange(9) :]
    return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]


def _encoded(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Save it in another encoding, now and then."""
    if rng.random() < 0.7:
        return _cell(data, rng, others)
    text = data.decode("utf-8", "replace")
    return text.encode(rng.choice(["utf-16", "latin-1", "cp1252", "utf-8-sig", "utf-7"]), "replace")


# ------------------------------------------------------------------------------------- what a file really holds


def records(text: str, separator: str, *, strict: bool = True) -> list[list[str]] | None:
    """Return the records of a CSV text, a character at a time; None if quotes do not close, or close inside a cell."""
    found: list[list[str]] = []
    row: list[str] = []
    cell: list[str] = []
    state, i = "start", 0  # of a cell; "plain", "quoted", "closed"
    while i < len(text):
        c = text[i]
        i += 1
        if state == "quoted":
            if c != '"':
                cell.append(c)
            elif text[i : i + 1] == '"':
                cell.append(c)
                i += 1
            else:
                state = "closed"
        elif c in "\r\n":
            if state != "start" or row:
                row.append("".join(cell))
            found.append(row)
            row, cell, state = [], [], "start"
            i += text[i - 1 : i + 1] == "\r\n"
        elif c == separator:
            row.append("".join(cell))
            cell, state = [], "start"
        elif c == '"' and state == "start":
            state = "quoted"
        elif state == "closed" and strict:
            return None
        else:
            cell.append(c)
            state = "plain"
    if state == "quoted" and strict:
        return None
    if state != "start" or row:
        found.append([*row, "".join(cell)])
    return None if any(len(c) > 131072 for r in found for c in r) else found


def table_in(data: bytes) -> tuple[list[str], list[list[str]]] | None:
    """Return header and rows that are not blank, or None if the file is no table of equally long rows."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    ends = [at for at in (text.find("\n"), text.find("\r")) if at >= 0]
    first = text[: min(ends)] if ends else text
    if not first.strip() or "\0" in first:
        return None
    columns = {s: records(first, s, strict=False) or [[]] for s in ",;\t"}
    rows = records(text, max(columns, key=lambda s: len(columns[s][0])))
    if not rows:
        return None
    header = [name.strip() for name in rows[0]]
    if "" in header or len(set(header)) < len(header):
        return None
    filled = [row for row in rows[1:] if len(row) == len(header) or any(cell.strip() for cell in row)]
    return (header, filled) if all(len(row) == len(header) for row in filled) else None


def number_in(cell: str) -> float | None:
    """Return the finite number that a cell holds, or None."""
    try:
        value = math.nan if any(c in "_\x1c\x1d\x1e\x1f" for c in cell) else float(Decimal(cell.strip()))
    except (InvalidOperation, ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


# --------------------------------------------------------------------------------------------- what must hold


def check(data: bytes, folder: Path, rng: random.Random, *, command: bool = False) -> str:
    """Read a table in every way that cmlp reads one; return what it came to, or raise a Finding."""
    path = folder / "t.csv"
    path.write_bytes(data)
    expected = table_in(data)

    def use() -> str:
        return _outcome(str(path), expected, rng) + (_commanded(path, expected) if command else "")

    return examined(use, len(data))


def _outcome(path: str, expected: tuple[list[str], list[list[str]]] | None, rng: random.Random) -> str:
    header, rows = expected or (["a", "b", "y"], [])
    target = rng.choice([header[-1], header[-1], header[-1], rng.choice(header), "y", "no such column"])
    ignored = [name for name in header if rng.random() < 0.05]
    columns = [i for i, name in enumerate(header) if name != target and name not in ignored]
    right = None
    if expected and rows and columns and target in header and target not in ignored:
        numbers = [[number_in(row[i]) for i in columns] for row in rows]
        labels = [row[header.index(target)].strip() for row in rows]
        if all(labels) and not any(x is None for row in numbers for x in row):
            right = np.array(numbers, float), labels
    try:
        table = read_table(path, target, ignored)
    except TableError as error:
        if right is not None:
            raise Finding(f"refused a table: {error}") from error
        return _clear(str(error), path)
    if right is None:
        raise Finding(f"read what is no table: {table.X.tolist()[:3]}, {table.labels[:3]}")
    named = [header[i] for i in columns]
    if table.features != named or [table.labels[code] for code in table.codes] != right[1]:
        raise Finding(f"columns or labels are {table.features}, {table.labels[:5]}, not {named}, {right[1][:5]}")
    if table.X.tobytes() != right[0].tobytes() or read_header(path) != header:
        raise Finding(f"numbers are {table.X.tolist()[:3]}, not {right[0].tolist()[:3]}")
    _read_in_blocks(path, named, right[0])
    return "read" + "".join(_meaning(table, task, right[1]) for task in ("auto", "classification", "regression"))


def _clear(message: str, path: str) -> str:
    if not message.startswith(path) or "\n" in message or len(message) > len(path) + 700:
        raise Finding(f"an unclear message: {message[:1000]}")
    return message.removeprefix(path)


def _read_in_blocks(path: str, features: list[str], X: np.ndarray) -> None:
    """Read the columns again in reversed order, as `cmlp predict` does."""
    with np.errstate(over="ignore"):
        narrow = X[:, ::-1].astype(np.float32)
    try:
        blocks = np.concatenate(list(read_blocks(path, features[::-1], "float32")))
    except TableError as error:
        if np.isfinite(narrow).all():
            raise Finding(f"refused a table of float32: {error}") from error
        return
    if blocks.tobytes() != narrow.tobytes():
        raise Finding("blocks hold other numbers")


def _meaning(table: Table, task: str, labels: list[str]) -> str:
    """Ask what the target means; numbers must be those of the cells."""
    try:
        decided, values = label_values(table, task)
    except TableError as error:
        _clear(str(error), table.path)
        return f", no {task}"
    exact = [number_in(text) for text in table.labels]
    right = exact if decided == "regression" or isinstance(values[0], int) else table.labels
    if values != right or decided not in ("regression", "classification"):
        raise Finding(f"{task}: the target {labels[:5]} became {decided} of {values[:5]}")
    return f", {decided}"


def _commanded(path: Path, expected: tuple[list[str], list[list[str]]] | None) -> str:
    """Train on the file and predict it with the command: an exit code, one line of error, and no other trace."""
    header = expected[0] if expected else ["a", "y"]
    model, out = path.with_name("net.cmlp"), path.with_name("out.csv")
    train = ["train", str(path), f"--target={header[-1]}", "--epochs=1", "--hidden=2", "--quiet", f"--output={model}"]
    code = _run(train)
    if code == 0:
        code = 10 * _run(["predict", str(model), str(path), f"--output={out}"])
        if code == 0 and len(list(out.read_text("utf-8").splitlines())) < 2:
            raise Finding("predicted nothing")
    for file in (model, out):
        file.unlink(missing_ok=True)
    if left := [name for name in os.listdir(path.parent) if name != path.name]:
        raise Finding(f"left {left}")
    return f", exit {code}"


def _run(arguments: list[str]) -> int:
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        code = main(arguments)
    complaint = stderr.getvalue()
    if code not in (0, 1, 2) or bool(code) != bool(complaint):
        raise Finding(f"exit {code}, {complaint!r}")
    if code and (not complaint.startswith("cmlp: error: ") or complaint.count("\n") != 1 or len(complaint) > 1200):
        raise Finding(f"an unclear complaint: {complaint[:1500]!r}")
    return code
