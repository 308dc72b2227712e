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
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeAlias

import numpy as np

from cmlp._base.checks import shown
from cmlp._core import Allowed, Postponed, first_nonfinite, see_interrupt

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
    with Postponed(), _writable(target) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(_HEADER), text)  # a ZipInfo has a fixed date: same model, same bytes
        for name, array in contiguous.items():
            see_interrupt()  # not in the middle of zipfile, which then cannot close the archive
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
        with Allowed():
            target.write(memory.getvalue())
        return
    with _naming(target), _replacing(target) as file:
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
        A file without a name, or with a hidden one in the same folder, where the system has no files without names.
        Nothing is left of it if the block raises anything, Ctrl-C included.

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
    with Postponed(), _replacing(path) as file, Allowed():
        yield file


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """`atomic_file`, for a block in which Ctrl-C is put off."""
    draft = _Draft(path)
    try:
        with os.fdopen(draft.descriptor, "wb") as file:
            yield file
            with _naming(path):
                file.flush()
                os.fsync(draft.descriptor)
                draft.put_in_place()
    finally:
        draft.discard()


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
    with Postponed():
        draft = _Draft(path)
        os.close(draft.descriptor)
        draft.discard()


class _Draft:
    """A file on its way to a path: without a name where the system has such files, else beside it with a hidden one.

    A file without a name vanishes by itself, whatever happens to the process.

    Attributes
    ----------
    descriptor : int
        Of the file; whoever makes a draft closes it.
    """

    def __init__(self, path: Path) -> None:
        self._lock: int | None = None
        self._temporary: str | None = None  # its name, if it has one
        with _naming(path):
            self._target = os.path.realpath(os.fsdecode(path))
            _check_place(self._target)
            self._folder = os.path.dirname(self._target)
            descriptor = _open_unnamed(self._folder)
            if descriptor is None:
                self._temporary = self._free_name()
                # Not tempfile, whose files have mode 0600 whatever the umask.
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
                try:
                    descriptor = os.open(self._temporary, flags, 0o666)
                except OSError:
                    self._temporary = None
                    self.discard()
                    raise
            self.descriptor = descriptor

    def put_in_place(self) -> None:
        """Let the path name the file, whose bytes are on the disk, and bring the name to the disk, too."""
        if self._temporary is None:
            name = self._free_name()  # only a file with a name can take the place of another one
            os.link(f"/proc/self/fd/{self.descriptor}", name, src_dir_fd=self.descriptor)  # which makes it follow links
            self._temporary = name
        os.replace(self._temporary, self._target)
        self._temporary = None
        folder = _open_folder(self._folder)
        if folder is not None:
            try:
                os.fsync(folder)
            except OSError as error:
                if error.errno != errno.EINVAL:  # some file systems have no such thing
                    raise
            finally:
                os.close(folder)

    def discard(self) -> None:
        """Leave nothing behind, unless it has been put in its place."""
        if self._temporary is not None:
            with suppress(FileNotFoundError):  # the folder may be gone
                os.unlink(self._temporary)
            self._temporary = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _free_name(self) -> str:
        """Return a hidden name in the folder: always the same one, so that what a killed process has left is removed.

        Who uses it has a lock on the folder, which ends with its process. Where that is not to be had, the name is a
        random one.
        """
        self._lock = _lock(self._folder)
        if self._lock is not None:
            name = os.path.join(self._folder, ".cmlp.tmp")
            with suppress(OSError):  # it is not there, or somebody else's
                os.unlink(name)
            if not os.path.lexists(name):
                return name
        return os.path.join(self._folder, f".cmlp-{os.urandom(8).hex()}.tmp")


def _check_place(target: str) -> None:
    """Raise an error if something lies there that is no regular file, or if nothing can."""
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):  # renaming would replace /dev/null itself
        raise OSError(errno.EINVAL, "Not a regular file")


def _open_unnamed(folder: str) -> int | None:
    """Return the descriptor of a file without a name, or None where there is no such thing, or no way to name it."""
    flag = getattr(os, "O_TMPFILE", None)
    if flag is None:
        return None
    try:
        descriptor = os.open(folder, flag | os.O_WRONLY, 0o666)
    except OSError:  # which opening one with a name explains better
        return None
    if os.path.exists(f"/proc/self/fd/{descriptor}"):
        return descriptor
    os.close(descriptor)
    return None


def _open_folder(folder: str) -> int | None:
    """Return a descriptor of a folder, or None where one cannot be had: on Windows, or without the right to list it."""
    if os.name == "nt":
        return None
    try:
        return os.open(folder, os.O_RDONLY)
    except PermissionError:
        return None


def _lock(folder: str) -> int | None:
    """Return a descriptor whose lock on the folder keeps other savers off, or None."""
    descriptor = _open_folder(folder)
    if descriptor is None:
        return None
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another one has it, or the file system knows no locks
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let errors of the system name what the user gave, once."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, os.fsdecode(path)) from None
