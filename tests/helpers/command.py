"""Running the command `cmlp`, and tables for it."""

from __future__ import annotations

import csv
import subprocess
import sys

import numpy as np

from cmlp.cli.main import main


def write_table(name, header, rows):
    with open(name, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def read_rows(name):
    with open(name, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_plants(n=200):
    """Two kinds, told apart by the ratio of two columns with far-off means; and a column that says nothing."""
    rng = np.random.default_rng(0)
    u, noise = rng.standard_normal((n, 2)), rng.standard_normal(n)
    rows = [(1e6 + 50 * a, 7, 1e-4 * b, "oak" if a > b else "fir", c) for (a, b), c in zip(u, noise, strict=True)]
    write_table("plants.csv", ["mass", "legs", "width", "kind", "noise"], rows)


def write_houses(n=300, price_of_one=1):
    """A price of around 200 000, linear in the rooms and curved in the age."""
    rng = np.random.default_rng(1)
    rooms, age = rng.integers(1, 9, n), rng.uniform(0, 100, n)
    price = price_of_one * (150_000 + 20_000 * rooms + 10 * (age - 50) ** 2)
    write_table("houses.csv", ["rooms", "price", "age"], zip(rooms, price, age, strict=True))
    return np.stack([rooms, age], axis=1), price


def output_of(capsys, *arguments, code=0):
    """Run a command, and return what it wrote to standard output and to standard error."""
    assert main([str(argument) for argument in arguments]) == code
    return capsys.readouterr()


def error_of(capsys, *arguments, code=2):
    """Run a command that must fail, and return its one line."""
    lines = output_of(capsys, *arguments, code=code).err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("cmlp: error: ")
    return lines[0]


def process(*arguments):
    """The command line of the command as a process of its own."""
    return [sys.executable, "-m", "cmlp", *arguments]


def run_process(*arguments):
    return subprocess.run(process(*arguments), capture_output=True, text=True, timeout=120, check=False)
