"""Saving networks to one file, and loading them again without trusting the file.

A model file is a zip archive, as NumPy's npz files are, with no pickle inside:

    network.json              format and version, `Network.config()`, optimiser and its memory, counters, metadata
    weights.0.npy             W_1 (n_in, n_out), and so on for every dense layer
    biases.0.npy              b_1 (n_out,), if the layer has a bias
    velocity.weights.0.npy    whatever arrays the optimiser keeps
    scaling.mean.npy          (n,) in float64, and .count and .squares: the inputs' scale, if the network learns one

Members are stored uncompressed (weights hardly compress), so that no member can be larger than the file, and a file
cannot make the reader allocate more than a small multiple of its own size. `numpy.load` opens it as well.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from cmlp._base.checks import check_count, check_number, shown
from cmlp._core import first_nonfinite
from cmlp._engine.program import DENSE, Lowering
from cmlp.layers import layer_from_config
from cmlp.losses import loss_from_config
from cmlp.optimizers import optimizer_from_config

if TYPE_CHECKING:
    import zipfile
    from os import PathLike

    from numpy.typing import NDArray

    from cmlp.network import Network

__all__ = ["load", "save"]

_FORMAT = "cmlp network"
_VERSION = 1
_HEADER = "network.json"
_HEADER_KEYS = {"format", "version", "network", "optimizer", "memory", "n_steps", "n_epochs", "metadata"}
_NPY_HEADER = 4096  # bytes that may precede the numbers of an .npy member; NumPy writes 128


class _Expected(NamedTuple):
    """What the header requires of an array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def n_bytes(self) -> int:
        n = self.dtype.itemsize
        for size in self.shape:  # Python's integers: no overflow, whatever the file says
            n *= size
        return n


def save(network: Network, path: str | PathLike[str]) -> None:
    """Save a network to one file.

    The file appears complete or not at all: it is written under a temporary name in the same folder, flushed to the
    disk and then renamed. An existing file of that name is replaced.

    Parameters
    ----------
    network : Network
    path : path-like
        Taken as it is; nothing is appended to the name. A symbolic link is followed.

    Raises
    ------
    TypeError
        If the learning rate is a function, or the metadata is not JSON.
    ValueError
        If a parameter is NaN or infinite.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import cmlp, os, tempfile
    >>> net = cmlp.MLP([2, 3, 1], seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "net.cmlp")
    ...     save(net, path)
    ...     bool((load(path).weights[0] == net.weights[0]).all())
    True
    """
    import json  # only here, as zipfile: keeps `import cmlp` light
    import zipfile

    header = {
        "format": _FORMAT,
        "version": _VERSION,
        "network": network.config(),
        "optimizer": network.optimizer.to_config(),
        "memory": network._memory,
        "n_steps": network.n_steps,
        "n_epochs": network.n_epochs,
        "metadata": network.metadata,
    }
    if not isinstance(network.metadata, dict):
        raise TypeError(f"metadata must be a dict of JSON values, not {shown(network.metadata)}")
    try:
        text = json.dumps(header, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"metadata must hold JSON values only: {error}") from error
    arrays = {name: np.ascontiguousarray(array) for name, array in _arrays(network).items()}
    for name, array in arrays.items():
        if first_nonfinite(array) >= 0:
            raise ValueError(f"the network's {name} is not finite at flat index {first_nonfinite(array)}: not saved")
    with atomic_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(_HEADER), text)  # a ZipInfo has a fixed date: same model, same bytes
        for name, array in arrays.items():
            little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, little_endian, version=(1, 0), allow_pickle=False)


def load(path: str | PathLike[str]) -> Network:
    """Load a network that `Network.save` wrote.

    Nothing in the file is executed, and nothing is believed before it has been checked: a file that is truncated,
    damaged or made to do harm gives a ValueError, without large allocations.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    Network
        An `MLP` if an MLP was saved. Training goes on where it was, with a fresh random generator.

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
    name = os.fsdecode(path)
    mode = os.stat(name).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # opening a pipe would wait for a writer
        raise ValueError(f"cannot load {name!r}: it is not a regular file")
    with open(name, "rb") as file:
        try:
            return _read(file)
        except MemoryError:
            raise
        except Exception as error:  # zipfile, json and NumPy raise a dozen kinds of errors for damaged input
            raise ValueError(f"cannot load {name!r}, it is no sound cmlp model: {error}") from error


def _read(file: BinaryIO) -> Network:
    """Read a network from an open file; any exception means that the file is unsound."""
    import json
    import zipfile

    from cmlp.network import Network  # which imports this module

    with zipfile.ZipFile(file) as archive:
        members = _members(archive, os.fstat(file.fileno()).st_size)
        if _HEADER not in members:
            raise ValueError(f"there is no {_HEADER} in it")
        header = json.loads(archive.read(members.pop(_HEADER)).decode(), parse_constant=_no_constant)
        _check_header(header)
        optimizer = optimizer_from_config(header["optimizer"])
        # All sizes are compared before anything is read or allocated: the parameters, and as many numbers again for
        # each array of the optimiser, which are therefore in the file.
        expected = _parameters_of(header["network"])
        for name, wanted in expected.items():
            _check_member(members, name, wanted)
        network = Network.from_config(header["network"])
        network._set_optimizer(optimizer)
        network._memory = _check_memory(header["memory"], optimizer.memory)
        network.n_steps, network.n_epochs = header["n_steps"], header["n_epochs"]
        network.metadata = header["metadata"]
        arrays = _arrays(network)
        for name, array in arrays.items():
            _check_member(members, name, _Expected(array.shape, array.dtype))
        unknown = sorted(set(members) - {f"{name}.npy" for name in arrays})
        if unknown:
            raise ValueError(f"it holds members that do not belong to its network: {shown(unknown)}")
        for name, array in arrays.items():
            array[...] = _read_array(archive, members[f"{name}.npy"], _Expected(array.shape, array.dtype))
        network._scaling.set_state(network._scaling.state())  # checks it
        return network


def _arrays(network: Network) -> dict[str, NDArray[Any]]:
    """Return every array of a network by the name it has in the file; the arrays are live views."""
    arrays = {f"weights.{k}": W for k, W in enumerate(network.weights)}
    arrays |= {f"biases.{k}": b for k, b in enumerate(network.biases) if b is not None}
    if network._scaling.needed:
        arrays |= {f"scaling.{name}": array for name, array in network._scaling.state().items()}
    return arrays | network._optimizer_state()


def _members(archive: zipfile.ZipFile, file_size: int) -> dict[str, zipfile.ZipInfo]:
    """Return the archive's members by name, none larger than the file nor all of them together."""
    from zipfile import ZIP_STORED

    members = {info.filename: info for info in archive.infolist()}
    if len(members) != len(archive.infolist()):
        raise ValueError("two of its members have the same name")
    for name, info in members.items():
        if info.compress_type != ZIP_STORED or info.compress_size != info.file_size:
            raise ValueError(f"its member {shown(name)} is compressed, which cmlp never does")
    if sum(info.file_size for info in members.values()) > file_size:
        raise ValueError("its members claim more bytes than the file has")
    return members


def _check_header(header: Any) -> None:
    """Check everything in network.json but the descriptions of network and optimiser."""
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise ValueError(f"{_HEADER} is not the header of a cmlp model")
    if header.get("version") != _VERSION:
        raise ValueError(
            f"it has format version {shown(header.get('version'))}, but this cmlp reads version {_VERSION}; "
            "load it with the cmlp that saved it, or a newer one"
        )
    if set(header) != _HEADER_KEYS:
        raise ValueError(f"{_HEADER} must have the keys {sorted(_HEADER_KEYS)}, not {shown(sorted(header))}")
    for key in ("n_steps", "n_epochs"):
        if check_count(header[key], key, minimum=0) >= 2**62:
            raise ValueError(f"{key} is out of range")
    if not isinstance(header["metadata"], dict):
        raise ValueError(f"metadata must be a dict, not {shown(header['metadata'])}")


def _check_memory(memory: Any, expected: dict[str, float]) -> dict[str, float]:
    """Return the numbers that the optimiser keeps, if they are those that it needs."""
    if not isinstance(memory, dict) or set(memory) != set(expected):
        raise ValueError(f"memory must be a dict of {sorted(expected)}, not {shown(memory)}")
    return {name: check_number(value, f"memory[{name!r}]") for name, value in memory.items()}


def _no_constant(name: str) -> None:
    raise ValueError(f"{_HEADER} contains {name}")


def _parameters_of(config: Any) -> dict[str, _Expected]:
    """Return the arrays that a network's description requires, without making the network."""
    if not isinstance(config, dict) or config.get("dtype") not in ("float32", "float64"):
        raise ValueError(f"malformed network {shown(config)}")
    dtype = np.dtype(config["dtype"])
    n_inputs = check_count(config.get("n_inputs"), "n_inputs")
    layers, loss = layer_from_config(config.get("layers")), loss_from_config(config.get("loss"))
    lowering = Lowering(layers, n_inputs, loss, dtype)
    dense = [op for op in lowering.operations if op["kind"] == DENSE]
    arrays = {f"weights.{k}": _Expected((op["n_in"], op["n_out"]), dtype) for k, op in enumerate(dense)}
    return arrays | {f"biases.{k}": _Expected((op["n_out"],), dtype) for k, op in enumerate(dense) if op["biases"] >= 0}


def _check_member(members: dict[str, zipfile.ZipInfo], name: str, expected: _Expected) -> None:
    """Check that an array is there, in about the size that it needs."""
    info = members.get(f"{name}.npy")
    if info is None:
        raise ValueError(f"the array {name} is missing")
    if not expected.n_bytes <= info.file_size <= expected.n_bytes + _NPY_HEADER:
        needs = f"{expected.n_bytes} bytes for {expected.dtype} of shape {expected.shape}"
        raise ValueError(f"the array {name} has {info.file_size} bytes, but the network needs {needs}")


def _read_array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, expected: _Expected) -> NDArray[Any]:
    """Read an array of known shape and dtype whose size has been checked; zipfile checks its CRC."""
    data = archive.read(info)
    stream = io.BytesIO(data)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError(f"{info.filename} is no .npy file of version 1.0")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    wanted = expected.dtype.newbyteorder("<")
    if shape != expected.shape or dtype != wanted or fortran_order:
        raise ValueError(f"{info.filename} holds {dtype} of shape {shape}, expected {wanted} of {expected.shape}")
    if len(data) - stream.tell() != expected.n_bytes:
        raise ValueError(f"{info.filename} has {len(data) - stream.tell()} bytes of numbers, not {expected.n_bytes}")
    array = np.frombuffer(data, wanted, offset=stream.tell()).reshape(shape).astype(expected.dtype)
    if first_nonfinite(array) >= 0:
        raise ValueError(f"{info.filename} holds a NaN or infinite number at flat index {first_nonfinite(array)}")
    return array


@contextmanager
def atomic_file(path: str | PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file for writing that takes the place of `path` only if the block succeeds.

    Parameters
    ----------
    path : path-like
        Where the file is to be. A symbolic link is followed. The file gets the usual mode, 0666 less the umask.

    Yields
    ------
    binary file
        A temporary file in the same folder; it is removed if the block raises anything, Ctrl-C included.

    Raises
    ------
    OSError
        If the file cannot be written, or there is something at `path` that is not a regular file.

    Examples
    --------
    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_file(os.path.join(folder, "a")) as file:
    ...         _ = file.write(b"all or nothing")
    ...     os.listdir(folder)
    ['a']
    """
    target, temporary, descriptor = _open_beside(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def check_writable(path: str | PathLike[str]) -> None:
    """Raise the error that `atomic_file` would raise for a path, before there is anything to write.

    Parameters
    ----------
    path : path-like

    Raises
    ------
    OSError
        If a file cannot be put there. Nothing is changed in either case.

    Examples
    --------
    >>> check_writable("no/such/folder/net.cmlp")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: 'no/such/folder/net.cmlp'
    """
    _, temporary, descriptor = _open_beside(path)
    os.close(descriptor)
    os.unlink(temporary)


def _open_beside(path: str | PathLike[str]) -> tuple[str, str, int]:
    """Open a temporary file in the folder of the path; return the final name, the temporary one and the descriptor."""
    name = os.fsdecode(path)
    target = os.path.realpath(name)
    if os.path.isdir(target):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    if os.path.exists(target) and not os.path.isfile(target):  # renaming would replace /dev/null itself
        raise OSError(errno.EINVAL, "Not a regular file", name)
    temporary = os.path.join(os.path.dirname(target), f".cmlp-{os.urandom(8).hex()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        # Not tempfile, whose files have mode 0600 whatever the umask.
        return target, temporary, os.open(temporary, flags, 0o666)
    except OSError as error:
        raise OSError(error.errno, error.strerror, name) from error  # name what the user gave
