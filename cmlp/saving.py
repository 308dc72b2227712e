"""Saving networks to one file, and loading them again without trusting the file.

A model file is a zip archive, as NumPy's npz files are, with no pickle inside (`cmlp._base.archive`):

    network.json              the header (`cmlp._engine.stored`)
    weights.0.npy             W_1 (n_in, n_out), and so on for every dense layer
    biases.0.npy              b_1 (n_out,), if the layer has a bias
    velocity.weights.0.npy    whatever arrays the optimiser keeps
    scaling.mean.npy          (n,) in float64, and .count and .squares: the inputs' scale, if the network learns one
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cmlp._base.archive import Reader, reading
from cmlp._engine.stored import check_header, check_memory, check_slots, generator_from, parameters_of
from cmlp.mlp import MLP  # noqa: F401  # a file may hold one
from cmlp.network import Network, model_of
from cmlp.optimizers import optimizer_from_config

if TYPE_CHECKING:
    from os import PathLike
    from typing import BinaryIO

__all__ = ["load"]


def load(path: str | PathLike[str] | BinaryIO, *, seed: int | np.random.Generator | None = None) -> Network:
    """Load a network that `Network.save` wrote.

    Nothing in the file is executed, and nothing is believed before it has been checked: a file that is truncated,
    damaged or made to do harm gives a ValueError, without large allocations.

    Parameters
    ----------
    path : path-like or binary file object
        The file.
    seed : int, numpy.random.Generator or None, default None
        For the order of samples and dropout from now on; None: the saved generator goes on where it was (a fresh one,
        if it was neither PCG64, which `default_rng` makes, nor PCG64DXSM).

    Returns
    -------
    Network
        An `MLP` if an MLP was saved. Training goes on identically.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a model file, or not one that this version can read; the message names the file.

    Examples
    --------
    >>> import cmlp, os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "net.cmlp")
    ...     cmlp.MLP([2, 3, 1]).save(path)
    ...     cmlp.load(path)
    MLP([2, 3, 1], activation='relu', loss='squared_error')
    """
    given = None if seed is None else np.random.default_rng(seed)
    with reading(path) as reader:
        return _read(reader, given)


def _read(reader: Reader, rng: np.random.Generator | None) -> Network:
    """Read a network; any exception means that the file is unsound."""
    header = check_header(reader.header)
    optimizer = optimizer_from_config(header["optimizer"])
    # All sizes are compared before anything is read or allocated: the parameters, and as many numbers again for each
    # array of the optimiser, which are therefore in the file.
    reader.require(parameters_of(header["network"]))
    network = Network.from_config(header["network"])
    network.metadata = header["metadata"]
    model = model_of(network)
    model.set_optimizer(optimizer)
    reader.fill(model.arrays())
    check_slots(model.slots)
    model.take_counters(check_memory(header["memory"], optimizer.memory), header["n_steps"], header["n_epochs"])
    saved = generator_from(header["generator"])  # checked even where another one is given
    model.rng = rng or saved or model.rng
    return network
