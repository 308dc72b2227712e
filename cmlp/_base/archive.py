"""The file of a saved network: a zip archive of a JSON header and .npy arrays, without pickle, written atomically.

Members are stored uncompressed (weights hardly compress), so that no member can be larger than the file, and a file
cannot make the reader allocate more than a small multiple of its own size. `numpy.load` opens it as well.
"""

from __future__ import annotations

import errno
import io
import math
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeAlias

import numpy as np

from cmlp._base.checks import shown
from cmlp._core import first_nonfinite

if TYPE_CHECKING:
    import zipfile
    from os import PathLike

    from numpy.typing import NDArray

    Path: TypeAlias = str | bytes | PathLike[str]
    Target: TypeAlias = Path | BinaryIO

_PATHS = (str, bytes, os.PathLike)
_HEADER = "network.json"
_NPY_HEADER = 4096  # bytes that may precede the numbers of an .npy member; NumPy writes 128
_NPY_MAGIC = b"\x93NUMPY\x01\x00"  # of version 1.0
_MAX_DEPTH = 128  # of lists and dicts in each other in the header; layers need two for each
_LONGEST_MESSAGE = 500


class Expected(NamedTuple):
    """What the header of a file requires of an array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def n_bytes(self) -> int:
        """Bytes of its numbers, in Python's integers: no overflow, whatever the file says."""
        n = self.dtype.itemsize
        for size in self.shape:
            n *= size
        return n


def write(target: Target, header: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a header of JSON values and finite arrays to a path, atomically, or to a binary file object.

    Raises
    ------
    TypeError
        If the header is not JSON.
    ValueError
        If an array holds NaN or an infinity.
    OSError
        If the file cannot be written.
    """
    import zipfile  # only here, as json: keeps `import cmlp` light

    text = _header_text(header)
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    for name, array in contiguous.items():
        if first_nonfinite(array) >= 0:
            raise ValueError(f"the network's {name} is not finite at flat index {first_nonfinite(array)}: not saved")
    with _writable(target) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(_HEADER), text)  # a ZipInfo has a fixed date: same model, same bytes
        for name, array in contiguous.items():
            little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, little_endian, version=(1, 0), allow_pickle=False)


@contextmanager
def reading(source: Target) -> Iterator[Reader]:
    """Open a file, or a binary file object, for reading; whatever is wrong with its contents becomes a ValueError."""
    name = repr(os.fsdecode(source)) if isinstance(source, _PATHS) else "the file object"
    with _readable(source, name) as file:
        try:
            yield Reader(file)
        except MemoryError:
            raise
        except Exception as error:  # zipfile and json raise a dozen kinds of errors for damaged input
            if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # of the disk, not of the file
                raise
            problem = " ".join(str(error).split())
            if len(problem) > _LONGEST_MESSAGE:
                problem = f"{problem[:_LONGEST_MESSAGE]}..."
            raise ValueError(f"cannot load {name}, it is no sound cmlp model: {problem}") from error


class Reader:
    """A file under suspicion: nothing is read before its size has been checked. Any exception means that it is unsound.

    Attributes
    ----------
    header : object
        What the JSON header says, unchecked.
    """

    def __init__(self, file: BinaryIO) -> None:
        import zipfile

        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        self._archive = zipfile.ZipFile(file)
        self._members = _members(self._archive, size)
        if _HEADER not in self._members:
            raise ValueError(f"there is no {_HEADER} in it")
        self.header: Any = _header_of(self._archive.read(self._members.pop(_HEADER)).decode())

    def require(self, expected: Mapping[str, Expected]) -> None:
        """Check that arrays are there, in about the sizes that they need."""
        for name, wanted in expected.items():
            info = self._members.get(f"{name}.npy")
            if info is None:
                raise ValueError(f"the array {name} is missing")
            if not wanted.n_bytes <= info.file_size <= wanted.n_bytes + _NPY_HEADER:
                needs = f"{wanted.n_bytes} bytes for {wanted.dtype} of shape {wanted.shape}"
                raise ValueError(f"the array {name} has {info.file_size} bytes, but the network needs {needs}")

    def fill(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Read these arrays, all that the file has, in place."""
        self.require({name: Expected(array.shape, array.dtype) for name, array in arrays.items()})
        unknown = sorted(set(self._members) - {f"{name}.npy" for name in arrays})
        if unknown:
            raise ValueError(f"it holds members that do not belong to its network: {shown(unknown)}")
        for name, array in arrays.items():
            array[...] = self._read(self._members[f"{name}.npy"], Expected(array.shape, array.dtype))

    def _read(self, info: zipfile.ZipInfo, expected: Expected) -> NDArray[Any]:
        """Read an array of known shape and dtype whose size has been checked; zipfile checks its CRC."""
        data = self._archive.read(info)
        if not data.startswith(_NPY_MAGIC):
            raise ValueError(f"{info.filename} is no .npy file of version 1.0")
        before = len(_NPY_MAGIC) + 2
        start = before + int.from_bytes(data[len(_NPY_MAGIC) : before], "little")
        # Nothing is parsed: numbers of one type and shape are described in one way, but for padding.
        wanted = expected.dtype.newbyteorder("<")
        description = f"{{'descr': {wanted.str!r}, 'fortran_order': False, 'shape': {expected.shape}, }}"
        given = data[before:start].rstrip(b" \n")
        if given != description.encode():
            raise ValueError(f"{info.filename} holds {given[:100].decode('latin-1')!r}, expected {description!r}")
        if len(data) - start != expected.n_bytes:
            raise ValueError(f"{info.filename} has {len(data) - start} bytes of numbers, not {expected.n_bytes}")
        array = np.frombuffer(data, wanted, offset=start).reshape(expected.shape).astype(expected.dtype, copy=False)
        if first_nonfinite(array) >= 0:
            raise ValueError(f"{info.filename} holds a NaN or infinite number at flat index {first_nonfinite(array)}")
        return array


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


def _header_text(header: dict[str, Any]) -> str:
    """Return a header as JSON; TypeError if it would not be read again."""
    import json

    try:
        text = json.dumps(header, allow_nan=False)
        _header_of(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"metadata must hold JSON values only: {error}") from error
    return text


def _header_of(text: str) -> Any:
    """Return what a header says, if it says it once, in finite numbers and without great depth."""
    import json

    header = json.loads(text, parse_constant=_finite, parse_float=_finite, object_pairs_hook=_unique)
    if text.count("[") + text.count("{") <= _MAX_DEPTH:
        return header
    level, depth = [header], 0
    while level := [part for value in level if isinstance(value, (dict, list)) for part in _parts(value)]:
        depth += 1
        if depth > _MAX_DEPTH:
            raise ValueError(f"{_HEADER} is nested more than {_MAX_DEPTH} deep")
    return header


def _parts(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{_HEADER} contains {shown(text)}, no finite number")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object as a dict; of two values for one key the second would hide the first."""
    found = dict(pairs)
    if len(found) < len(pairs):
        once = set(found)
        for key, _ in pairs:
            if key not in once:
                raise ValueError(f"{_HEADER} has two values for {shown(key)}")
            once.discard(key)
    return found


@contextmanager
def _writable(target: Target) -> Iterator[BinaryIO]:
    if not isinstance(target, _PATHS):
        if not hasattr(target, "write") or isinstance(target, io.TextIOBase):
            raise TypeError(f"save needs a path or a file object opened in binary mode, 'wb', not {shown(target)}")
        memory = io.BytesIO()  # zip archives go back and forth, and half of one is worth nothing
        yield memory
        target.write(memory.getvalue())
        return
    with atomic_file(target) as file:
        yield file


@contextmanager
def _readable(source: Target, name: str) -> Iterator[BinaryIO]:
    if not isinstance(source, _PATHS):
        if not hasattr(source, "read") or isinstance(source, io.TextIOBase):
            raise TypeError(f"load needs a path or a file object opened in binary mode, 'rb', not {shown(source)}")
        seekable = getattr(source, "seekable", None)
        yield source if seekable is not None and seekable() else io.BytesIO(source.read())
        return
    with open(source, "rb", opener=_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError(f"cannot load {name}: it is not a regular file")
        yield file


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for a writer


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
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


def check_writable(path: Path) -> None:
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


def _open_beside(path: Path) -> tuple[str, str, int]:
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
