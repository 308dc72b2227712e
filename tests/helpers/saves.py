"""Savers that are killed, and disks that are full: what tools/kill_saves.py and the tests share."""

from __future__ import annotations

import io
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import cmlp

SIZES = {"small": [4, 3], "large": [1000, 700]}

SAVER = """
import itertools, os, sys
import numpy as np, cmlp

folder, start, unnamed, names = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:]
if unnamed == "False":
    del os.O_TMPFILE
nets = {"small": cmlp.MLP([4, 3]), "large": cmlp.MLP([1000, 700])}
print("ready", flush=True)
for i in itertools.count(start):
    for name in names:
        net = nets[name.rstrip("0123456789")]
        net.metadata = {"number": i}
        net.weights = [np.full(net.weights[0].shape, i % 1000)]
        net.save(f"{folder}/{name}")
    print(i, flush=True)
"""


def saver(folder: str, start: int, *names: str, unnamed: bool = True) -> subprocess.Popen[str]:
    """Start a process that saves networks until it is killed; return it when it begins.

    unnamed: whether it may use files without names, where the system has them.
    """
    command = [sys.executable, "-P", "-c", SAVER, folder, str(start), str(unnamed), *names]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def number_of(path: str) -> int:
    """Return which one of the saver's networks lies at a path; it must be whole."""
    net = cmlp.load(path)
    number = int(net.metadata["number"])
    assert np.array_equal(net.weights[0], np.full(net.weights[0].shape, number % 1000)), "a mixture of two networks"
    return number


@contextmanager
def unnamed_files(wanted: bool) -> Iterator[None]:
    """As on a system with or without O_TMPFILE."""
    flag = os.O_TMPFILE
    if not wanted:
        del os.O_TMPFILE
    try:
        yield
    finally:
        os.O_TMPFILE = flag


@dataclass
class Kills:
    """What killing savers came to."""

    kills: int = 0
    saved: int = 0
    replaced: int = 0
    litter: int = 0
    litter_after: int = 0
    findings: list[str] = field(default_factory=list)


def kill_savers(folder: str, kills: int, seed: int = 0, *, unnamed: bool = True) -> Kills:
    """Kill a saving process at random moments, again and again."""
    rng, result, last = random.Random(seed), Kills(), {}
    names = ["small", "small1", "large"]
    for k in range(kills):
        start = k * 100_000
        child = saver(folder, start, *names, unnamed=unnamed)
        time.sleep(rng.random() * 0.2)  # any moment will do
        child.kill()
        out, _ = child.communicate()
        done = max([start - 1, *map(int, out.split())])  # a killed process may have saved one more than it says
        result.kills += 1
        for name in names:
            path = os.path.join(folder, name)
            if not os.path.exists(path):
                if done >= start:
                    result.findings.append(f"kill {k}: {name} is not there")
                continue
            result.saved += 1
            try:
                number = number_of(path)
            except (ValueError, AssertionError) as error:
                result.findings.append(f"kill {k}: {name}: {error}")
                continue
            result.replaced += number != last.get(name)
            if not (done <= number <= done + 1 or (done < start and number == last.get(name, number))):
                result.findings.append(f"kill {k}: {name} is number {number}, after {done} and {last.get(name)}")
            last[name] = number
        result.litter += bool(set(os.listdir(folder)) - set(names))
        cmlp.MLP([4, 3]).save(os.path.join(folder, "after"))
        os.unlink(os.path.join(folder, "after"))
        left = set(os.listdir(folder)) - set(names)
        result.litter_after += bool(left)
        if left:
            result.findings.append(f"kill {k}: left over: {sorted(left)}")
    return result


# ------------------------------------------------------------------------------------------------------------ troubles


def _expect(path: Any, kind: type[BaseException], net: cmlp.Network | None = None) -> str:
    """Return the one clear error that saving gives; the file and the folder are as before."""
    folder = os.path.dirname(os.fspath(path))
    before = {name: _bytes(os.path.join(folder, name)) for name in _listed(folder)}
    raised: BaseException | None = None
    try:
        (net or cmlp.MLP([40, 30])).save(path)
    except BaseException as error:
        raised = error
    shown = f"{type(raised).__name__}: {raised}"
    assert isinstance(raised, kind), f"{shown} in place of {kind.__name__}"
    if isinstance(raised, OSError):
        assert str(path) in str(raised), f"the error does not name the path: {shown}"
        assert raised.__cause__ is None, f"more than one error: {shown}"
        assert raised.__suppress_context__ or raised.__context__ is None, f"more than one error: {shown}"
    after = {name: _bytes(os.path.join(folder, name)) for name in _listed(folder)}
    assert after == before, f"the folder was {sorted(before)} and is {sorted(after)}"
    return shown


def _listed(folder: str) -> list[str]:
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def _bytes(path: str) -> bytes | None:
    return Path(path).read_bytes() if os.path.isfile(path) else None


@contextmanager
def mounted(folder: str, options: str) -> Iterator[bool]:
    """A small file system in a folder, if this process may mount one; yields whether it did."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
    try:
        done = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        done = False
    try:
        yield done
    finally:
        if done:
            subprocess.run(["umount", folder], check=True)


def full_disk(folder: str) -> str:
    """A disk with room for less than the network."""
    with mounted(folder, "size=1m") as done:
        if not done:
            return "no right to mount one"
        path = os.path.join(folder, "net")
        cmlp.MLP([4, 3]).save(path)
        shown = _expect(path, OSError, cmlp.MLP([1000, 700]))
        assert cmlp.load(path).n_inputs == 4
        small = _fill(folder)
        shown_full = _expect(os.path.join(folder, "other"), OSError)
        os.unlink(small)
        return f"{shown}; quite full: {shown_full}"


def _fill(folder: str) -> str:
    path = os.path.join(folder, "filler")
    with open(path, "wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 1024)
    return path


def file_size_limit(folder: str) -> str:
    """A limit for the size of files, which fails like a full disk."""
    path = os.path.join(folder, "net")
    cmlp.MLP([4, 3]).save(path)
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        return _expect(path, OSError, cmlp.MLP([1000, 700]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def full_file_object(folder: str) -> str:
    """A file object on a full device."""
    with open("/dev/full", "wb", buffering=0) as file:
        try:
            cmlp.MLP([4, 3]).save(file)
        except OSError as error:
            return f"{type(error).__name__}: {error}"
    raise AssertionError("it was saved")


def read_only(folder: str) -> str:
    """A file system that is read-only; root does not care for modes."""
    with mounted(folder, "size=1m") as done:
        if not done:
            if os.geteuid() == 0:
                return "no right to mount one"
            os.chmod(folder, 0o555)
            return _expect(os.path.join(folder, "net"), PermissionError)
        path = os.path.join(folder, "net")
        cmlp.MLP([4, 3]).save(path)
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        return f"{_expect(path, OSError)}; {_expect(os.path.join(folder, 'other'), OSError)}"


def without_rights(folder: str) -> str:
    """A folder that belongs to somebody else, for a process without root's rights."""
    if os.geteuid() != 0:
        return "only root can become somebody else"
    os.chmod(folder, 0o755)
    os.seteuid(65534)
    try:
        return _expect(os.path.join(folder, "net"), PermissionError)
    finally:
        os.seteuid(0)


def missing_folder(folder: str) -> str:
    """No such folder."""
    return _expect(os.path.join(folder, "nowhere", "net"), FileNotFoundError)


def vanishing_folder(folder: str) -> str:
    """A folder that is removed while the network is saved."""
    inside = os.path.join(folder, "inside")
    os.mkdir(inside)
    fsync = os.fsync

    def remove(descriptor: int) -> None:
        fsync(descriptor)
        for name in os.listdir(inside):
            os.unlink(os.path.join(inside, name))
        os.rmdir(inside)

    os.fsync = remove
    try:
        return _expect(os.path.join(inside, "net"), FileNotFoundError)
    finally:
        os.fsync = fsync


def symbolic_links(folder: str) -> str:
    """Links to a file, to nothing yet, to themselves."""
    real, link = os.path.join(folder, "real"), os.path.join(folder, "link")
    os.symlink("real", link)
    cmlp.MLP([4, 3]).save(link)
    cmlp.MLP([5, 3]).save(link)
    assert os.path.islink(link)
    assert cmlp.load(real).n_inputs == 5
    assert sorted(os.listdir(folder)) == ["link", "real"]
    os.symlink("self", os.path.join(folder, "self"))
    return f"followed; a circle: {_expect(os.path.join(folder, 'self'), OSError)}"


def long_names(folder: str) -> str:
    """A name as long as can be, and one that is longer."""
    cmlp.MLP([4, 3]).save(os.path.join(folder, "n" * 255))
    assert os.listdir(folder) == ["n" * 255]
    return _expect(os.path.join(folder, "n" * 256), OSError)[:40]


def interrupted(folder: str) -> str:
    """Ctrl-C while an array is written."""
    return _failing(folder, lambda: signal.raise_signal(signal.SIGINT), KeyboardInterrupt)


def memory_error(folder: str) -> str:
    """No memory while an array is written."""

    def fail() -> None:
        raise MemoryError

    return _failing(folder, fail, MemoryError)


def _failing(folder: str, act: Callable[[], None], kind: type[BaseException]) -> str:
    path = os.path.join(folder, "net")
    cmlp.MLP([4, 3]).save(path)
    write_array = np.lib.format.write_array

    def write(*arguments: Any, **keywords: Any) -> None:
        act()
        write_array(*arguments, **keywords)

    np.lib.format.write_array = write
    try:
        shown = _expect(path, kind)
    finally:
        np.lib.format.write_array = write_array
    file = io.BytesIO()
    cmlp.MLP([4, 3]).save(file)
    return shown


def two_savers(folder: str, seconds: float = 1.0) -> str:
    """Two processes that save to one path."""
    children = [saver(folder, start, "small") for start in (0, 1_000_000)]
    end, seen = time.monotonic() + seconds, set()
    while time.monotonic() < end or len(seen) < 2:
        path = os.path.join(folder, "small")
        if os.path.exists(path):
            seen.add(number_of(path) >= 1_000_000)
    for child in children:
        child.kill()
        child.communicate()
    number_of(os.path.join(folder, "small"))
    cmlp.MLP([4, 3]).save(os.path.join(folder, "after"))
    left = set(os.listdir(folder)) - {"small", "after"}
    # who is killed while the other one has the folder's lock may leave a file of a random name
    strange = sorted(name for name in left if not name.startswith(".cmlp-"))
    assert len(left) <= 2, f"left over: {sorted(left)}"
    assert not strange, f"left over: {strange}"
    return "always a whole file, of one or the other"


def durable(folder: str) -> str:
    """The file is brought to the disk before it gets its name, and its name after that."""
    order: list[str] = []
    fsync, replace = os.fsync, os.replace

    def sync(descriptor: int) -> None:
        order.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        fsync(descriptor)

    def put(*names: str) -> None:
        order.append("name")
        replace(*names)

    os.fsync, os.replace = sync, put
    try:
        cmlp.MLP([4, 3]).save(os.path.join(folder, "net"))
    finally:
        os.fsync, os.replace = fsync, replace
    assert order == ["file", "name", "folder"], order
    return " → ".join(order)


TROUBLES: dict[str, Callable[[str], str]] = {
    "full disk": full_disk,
    "limit for files": file_size_limit,
    "full file object": full_file_object,
    "read-only": read_only,
    "without rights": without_rights,
    "missing folder": missing_folder,
    "vanishing folder": vanishing_folder,
    "symbolic links": symbolic_links,
    "long names": long_names,
    "Ctrl-C": interrupted,
    "MemoryError": memory_error,
    "two processes": two_savers,
    "order on the disk": durable,
}
