"""`cmlp predict`: a saved model over a table, block by block, so that a table of any length needs little memory."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from contextlib import ExitStack
from typing import Any, TextIO

import cmlp
from cmlp._base.archive import atomic_file
from cmlp.cli.errors import UsageError
from cmlp.data.csv import read_blocks
from cmlp.losses import loss_name


def run(arguments: argparse.Namespace) -> int:
    """Carry out `cmlp predict`; return the exit code."""
    network = _load(arguments.model)
    features, classes, names = _described(network, arguments.model)
    if arguments.proba and (classes is None or loss_name(network.loss) == "hinge"):
        kind = "values, not classes" if classes is None else "scores, not probabilities"
        raise UsageError(f"{arguments.model} predicts {kind}: --proba has nothing to show")
    header = names if classes is None else names[:1]
    if arguments.proba and classes is not None:
        header = [*header, *(f"P({label})" for label in classes)]

    with ExitStack() as stack:
        blocks = read_blocks(arguments.data, features, network.dtype)
        first = next(blocks)  # checks the header before anything is written
        if first.shape[1] != network.n_inputs:
            columns = f"{arguments.data} has {first.shape[1]} columns, and {arguments.model} takes {network.n_inputs}"
            raise UsageError(f"{columns}; it does not know their names, as `cmlp train` did not make it")
        out: TextIO = sys.stdout
        if arguments.output is not None:
            raw = stack.enter_context(atomic_file(arguments.output))
            out = stack.enter_context(_Text(raw, encoding="utf-8", newline=""))
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(header)
        for X in blocks:
            outputs = network.predict(X)
            if classes is None:
                writer.writerows(map(str, row) for row in outputs)  # NumPy's str is the shortest exact text
            else:
                labels = [classes[i] for i in outputs.argmax(axis=1)]
                probabilities = outputs if arguments.proba else outputs[:, :0]
                writer.writerows([label, *map(str, row)] for label, row in zip(labels, probabilities, strict=True))
    return 0


class _Text(io.TextIOWrapper):
    """Text over a binary file that somebody else closes."""

    def __exit__(self, *exception: object) -> None:
        self.flush()
        self.detach()


def _load(path: str) -> cmlp.Network:
    """Load a model file; whatever is wrong with its contents becomes a UsageError."""
    try:
        return cmlp.load(path)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _described(network: cmlp.Network, path: str) -> tuple[list[str], list[Any] | None, list[str]]:
    """Return what a model's metadata says: columns to read, classes (or None), names of the columns to write.

    A model that `cmlp train` did not make says nothing: all columns are read, as they come.
    """
    metadata = network.metadata
    features, target = metadata.get("features", []), metadata.get("target", "prediction")
    classes = metadata.get("classes")
    if classes is None and network.n_outputs > 1 and loss_name(network.loss) in ("cross_entropy", "hinge"):
        classes = list(range(network.n_outputs))
    if (
        not isinstance(features, list)
        or not all(isinstance(name, str) for name in features)
        or len(features) not in (0, network.n_inputs)
        or not isinstance(target, str)
        or not (classes is None or (isinstance(classes, list) and len(classes) == network.n_outputs))
    ):
        raise UsageError(f"{path}: the model's metadata (features, target, classes) does not fit its network")
    columns = [target] if network.n_outputs == 1 or classes else [f"{target}_{i}" for i in range(network.n_outputs)]
    return features, classes, columns
