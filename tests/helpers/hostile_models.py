"""Model files made to do harm: mutations that know what such a file is made of, and what loading one may come to.

A file with a flipped byte is refused by its checksum and tests nothing else. So files are taken apart into their
header and members, changed there, and put together again by a writer that also lies where zip archives can lie.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import resource
import struct
import sys
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import cmlp
from cmlp.cli.errors import UsageError
from cmlp.cli.predict import _described
from cmlp.network import model_of

HEADER = "network.json"
# Of processor time, for everything that is done with one file: a million outputs take 0.2 s, sanitized ten times that.
MOST_SECONDS = 10.0 if "libasan" in os.environ.get("LD_PRELOAD", "") else 1.0
MOST_MEMORY = 512 << 20  # bytes; 16 MiB of activations a sample are allowed to any file, in four vectors


class Finding(AssertionError):
    """A file did what no file may do."""


@dataclass
class Member:
    """One member of an archive, and what its entries say where that is not the truth."""

    name: str
    data: bytes
    lies: dict[str, int] = field(default_factory=dict)  # name of a field of the two headers -> its value
    extra: bytes = b""
    before: bytes = b""


@dataclass
class Archive:
    """A zip archive that may lie."""

    members: list[Member]
    lies: dict[str, int] = field(default_factory=dict)
    comment: bytes = b""
    prefix: bytes = b""
    zip64: bool = False

    @classmethod
    def parse(cls, data: bytes) -> Archive:
        """Take a sound archive apart."""
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            return cls([Member(info.filename, file.read(info)) for info in file.infolist()])

    def copy(self) -> Archive:
        """Return a copy to be changed."""
        members = [Member(m.name, m.data, dict(m.lies), m.extra, m.before) for m in self.members]
        return Archive(members, dict(self.lies), self.comment, self.prefix, self.zip64)

    def build(self) -> bytes:
        """Put the file together, with right checksums wherever nothing else is asked for."""
        body, directory = bytearray(self.prefix), bytearray()
        for m in self.members:
            says = {
                "version": 20, "flags": 0, "method": 0, "time": 0, "date": 33,
                "crc": zlib.crc32(m.data), "compressed": len(m.data), "size": len(m.data), "offset": len(body),
            } | m.lies  # fmt: skip
            name = m.name.encode("utf-8", "surrogatepass")[:65535]
            common = struct.pack(
                "<HHHHHIIIHH", says["version"] & 0xFFFF, says["flags"] & 0xFFFF, says["method"] & 0xFFFF,
                says["time"], says["date"], says["crc"] & 0xFFFFFFFF, says["compressed"] & 0xFFFFFFFF,
                says["size"] & 0xFFFFFFFF, len(name), len(m.extra),
            )  # fmt: skip
            body += m.before + b"PK\x03\x04" + common + name + m.extra + m.data
            tail = struct.pack("<HHHII", 0, 0, 0, 0, says["offset"] & 0xFFFFFFFF)
            directory += b"PK\x01\x02" + struct.pack("<H", 20) + common + tail + name + m.extra
        n = self.lies.get("n", len(self.members))
        size, offset = self.lies.get("size", len(directory)), self.lies.get("offset", len(body))
        end = bytearray()
        if self.zip64:
            where = len(body) + len(directory)
            end += b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, n % 2**64, n % 2**64, size % 2**64,
                                               offset % 2**64)  # fmt: skip
            end += b"PK\x06\x07" + struct.pack("<IQI", 0, where, 1)
            n, size, offset = 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF
        end += b"PK\x05\x06" + struct.pack(
            "<HHHHIIH", 0, 0, n & 0xFFFF, n & 0xFFFF, size & 0xFFFFFFFF, offset & 0xFFFFFFFF, len(self.comment)
        )
        return bytes(body + directory + end + self.comment)


# ---------------------------------------------------------------------------------------------------- seeds


def seeds() -> dict[str, bytes]:
    """Return small sound files of every kind: compositions, optimisers with state, scales, generators, losses."""
    from cmlp.layers import Activation, Dense, Dropout, Identity, add, chain, concatenate

    deep = chain(Dense(2, "tanh"), add(Identity(), chain(Dense(3, "leaky_relu", alpha=0.2), Dense(2))))
    last = Dense(1, "sigmoid")
    nets = {
        "mlp": cmlp.MLP([2, 3, 1], seed=0),
        "momentum": cmlp.MLP([2, 2, 1], optimizer=cmlp.SGD(0.1, momentum=0.9), seed=1),
        "adam": cmlp.MLP([2, 2], loss="cross_entropy", optimizer=cmlp.Adam(0.01, amsgrad=True), seed=2),
        "rmsprop": cmlp.MLP([2, 1], optimizer=cmlp.RMSprop(momentum=0.5, centered=True), dtype="float64", seed=3),
        "ema": cmlp.MLP([2, 2, 1], optimizer=cmlp.SGD(0.1, averaging=cmlp.EMA(0.9)), seed=4),
        "rprop": cmlp.MLP([2, 1], optimizer=cmlp.Rprop(), seed=5),
        "plateau": cmlp.MLP([2, 1], optimizer=cmlp.SGD(cmlp.schedules.Plateau([0.1, 0.01])), seed=6),
        "warmup": cmlp.MLP(
            [2, 2], optimizer=cmlp.SGD(cmlp.schedules.LinearWarmup(cmlp.schedules.CosineRestarts(0.1, 3), 2)), seed=7
        ),
        "scaled": cmlp.MLP([3, 2, 1], standardize=True, missing="mean", seed=8),
        "dropout": cmlp.MLP([2, 3, 3, 1], dropout=0.5, loss="poisson", seed=9),
        "huber": cmlp.MLP([1, 1], loss=cmlp.losses.Huber(2.0), bias=False, optimizer=cmlp.Adagrad(0.1), seed=10),
        "composed": cmlp.Network(
            chain(concatenate(Dense(2, "relu"), Identity()), deep, Dropout(0.3), Activation("elu", 0.5), last), 2,
            loss="binary_cross_entropy", seed=11,
        ),
        "lbfgs": cmlp.MLP([2, 2, 1], optimizer=cmlp.LBFGS(), seed=12),
    }  # fmt: skip
    nets["mlp"].metadata = {"features": ["ä", "b"], "target": "y", "classes": None, "more": {"x": [1, 2.5, True]}}
    found = {}
    for name, net in nets.items():
        X, y = np.ones((2, net.n_inputs)), np.ones((2, net.n_outputs))
        if net.loss == "cross_entropy":
            y = np.array([0, 1])
        if name not in ("mlp", "dropout"):
            net.fit(X * [[1], [2]], y, epochs=1)
        file = io.BytesIO()
        net.save(file)
        found[name] = file.getvalue()
    return found


# ------------------------------------------------------------------------------------------------ mutations

WHOLE = [0, 1, 2, 3, -1, 7, 64, 1000, 2**15, 2**16, 2**20, 2**24, 2**31 - 1, 2**31, 2**32, 2**40, 2**48, 2**61 - 1,
         2**62 - 1, 2**62, 2**63, 2**64, 10**30, 10**400]  # fmt: skip
FLOATS = [0.0, -0.0, 0.5, 1.0, -1.0, 1e-8, 1e-50, 1e-320, 5e-324, 1e38, 3.5e38, 1e300, 1.7e308, 0.999999999999999, 2.5]
TEXTS = ["", "relu", "softmax", "identity", "exp", "sgd", "adam", "lbfgs", "Network", "MLP", "MLPClassifier", "float64",
         "float32", "mean", "error", "huber", "hinge", "cross_entropy", "constant", "plateau", "zeros", "he_normal",
         "\ud800", "\0", "é\n", "x" * 3000, "__class__", "PCG64DXSM", "exact"]  # fmt: skip
LAYERS = [
    {"kind": "identity"}, {"kind": "dropout", "rate": 0.5}, {"kind": "activation", "name": "softmax", "alpha": None},
    {"kind": "activation", "name": "exp"}, {"kind": "dense", "n_outputs": 2, "activation": "tanh"},
    {"kind": "concatenate", "layers": [{"kind": "identity"}, {"kind": "identity"}]},
    {"kind": "add", "layers": [{"kind": "identity"}, {"kind": "activation", "name": "relu"}]},
]  # fmt: skip
RAW = ["NaN", "1e999", "-1e999", "Infinity", "1e-999", "0x1", "01", "+1", "1.", "9" * 5000, "[" * 2000, "[" * 100000,
       '{"a":' * 500 + "1" + "}" * 500, "[" * 110 + "]" * 110, '"\\ud800"', '"\\u0000"', "truex", '"a" "b"', "",
       '{"a": 1, "a": 2}', "-0", "1E5"]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths to everything in a JSON value."""
    found = [path]
    if isinstance(value, dict):
        for key, part in value.items():
            found += places(part, (*path, key))
    elif isinstance(value, list):
        for i, part in enumerate(value):
            found += places(part, (*path, i))
    return found


def like(value: Any, rng: random.Random) -> Any:
    """Return another value, mostly of the same type."""
    if rng.random() < 0.1:
        return rng.choice([None, True, False, [], {}, "x", 1, 0.5, [1, 2], {"kind": "identity"}])
    if isinstance(value, bool) or value is None:
        return rng.choice([True, False, None, 0.1, "elu"])
    if isinstance(value, int):
        return rng.choice([*WHOLE, value + 1, value - 1, value * 2, -value, rng.getrandbits(rng.randint(1, 130))])
    if isinstance(value, float):
        return rng.choice([*FLOATS, value * 2, -value, value / 1e6, rng.random(), rng.expovariate(1)])
    if isinstance(value, str):
        return rng.choice(TEXTS)
    if isinstance(value, list):
        parts = list(value)
        rng.shuffle(parts)
        return rng.choice([parts, parts * 2, parts[1:], parts * rng.choice([2, 3, 20]), [parts], []])
    return rng.choice([{}, {**value, "x": 1}, {k: v for k, v in value.items() if rng.random() < 0.8}, [value]])


def layered(layer: Any, rng: random.Random) -> Any:
    """Return a composition around, beside or in place of a layer."""
    kind = rng.choice(["chain", "concatenate", "add", "deep", "wide", "doubled"])
    other = rng.choice(LAYERS)
    if kind == "deep":
        for _ in range(rng.choice([1, 2, 3, 3, 48, 51])):
            layer = {"kind": rng.choice(["chain", "add", "concatenate"]), "layers": [layer]}
        return layer
    if kind == "wide":
        return {"kind": rng.choice(["concatenate", "add"]), "layers": [other] * rng.choice([1, 2, 2, 3, 9, 40])}
    if kind == "doubled":
        return {"kind": "chain", "layers": [layer, *[LAYERS[5]] * rng.choice([1, 1, 2, 2, 3, 8, 17, 22, 60])]}
    return {"kind": kind, "layers": rng.sample([layer, other], 2)}


def change_header(archive: Archive, rng: random.Random, donors: list[Archive]) -> None:
    """Change a value of the header, its type mostly kept; or its text."""
    member = next((m for m in archive.members if m.name == HEADER), None)
    if member is None:
        return
    try:
        header = json.loads(member.data)
    except (ValueError, RecursionError):
        return
    *above, last = rng.choice(places(header)[1:] or [("x",)])
    holder = header
    for key in above:
        holder = holder[key]
    how = rng.random()
    if not isinstance(holder, (dict, list)) or (isinstance(holder, dict) and last not in holder):
        header = {} if how < 0.5 else []
    elif how < 0.55:
        holder[last] = like(holder[last], rng)
    elif how < 0.65:
        del holder[last]
    elif how < 0.75:  # the same place of another file
        other = json.loads(next(m.data for m in rng.choice(donors).members if m.name == HEADER))
        top = rng.choice([("network",), ("optimizer",), ("memory",), ("generator",), ("network", "loss")])
        node = header
        for key in top[:-1]:
            node, other = node.get(key) if isinstance(node, dict) else None, other[key]
        if isinstance(node, dict):
            node[top[-1]] = other[top[-1]]
    elif how < 0.9 and isinstance(header, dict) and isinstance(network := header.get("network"), dict):
        network["layers"] = layered(network.get("layers"), rng)
        network["kind"] = rng.choice(["Network", network.get("kind")])
    else:
        holder[last] = "@@"
        member.data = json.dumps(header).replace('"@@"', rng.choice(RAW), 1).encode("utf-8", "surrogatepass")
        return
    try:
        member.data = json.dumps(header).encode()
    except ValueError:  # an int too long for text
        member.data = b"{}"


def change_array(archive: Archive, rng: random.Random, donors: list[Archive]) -> None:
    """Change an array: numbers, shape, type, or length."""
    arrays = [m for m in archive.members if m.name.endswith(".npy") and len(m.data) > 128]
    if not arrays:
        return
    member = rng.choice(arrays)
    head, numbers = member.data[:128], bytearray(member.data[128:])
    how = rng.random()
    if how < 0.5:
        wide = b"<f8" in head
        value = rng.choice([*FLOATS, *(-x for x in FLOATS), np.nan, np.inf, 1e30, 1e-38, 1e-45])
        with np.errstate(all="ignore"):
            packed = np.array(value, "<f8" if wide else "<f4").tobytes()
        at = rng.randrange(0, max(1, len(numbers)), len(packed))
        numbers[at : at + len(packed)] = packed
        if rng.random() < 0.2:
            numbers[:] = packed * (len(numbers) // len(packed))
    elif how < 0.6:
        numbers[:] = rng.choice([numbers[:-1], numbers[:-4], numbers + b"\0" * 4, numbers * 2, b""])
    elif how < 0.8:
        old, new = rng.choice([
            (b"<f4", b"<f8"), (b"<f8", b"<f4"), (b"<f4", b">f4"), (b"<f4", b"|O "), (b"False", b"True "), (b"(", b"[ "),
            (b"False", b"1L   "), (b", }", b",)}"), (b"'shape'", b"'shape''"), (b"(", b"-" * 40), (b" ", b"("),
            (b" }", b"}\\"), (b"(", b"(0,"), (b"(", b"(4294967296, "), (b"descr", b"desc\\"), (b"\n", b" "),
        ])  # fmt: skip
        head = head.replace(old, new, rng.choice([1, 99]))
    elif how < 0.9:
        at = rng.randrange(10)
        head = head[:at] + bytes([rng.randrange(256)]) + head[at + 1 :]
    else:
        head, numbers = b"", bytearray(rng.choice(rng.choice(donors).members).data)
    member.data = head + bytes(numbers)


def change_members(archive: Archive, rng: random.Random, donors: list[Archive]) -> None:
    """Take members away, add, rename, reorder or swap them."""
    members, how = archive.members, rng.randrange(6)
    if not members:
        return
    one = rng.choice(members)
    if how == 0:
        members.remove(one)
    elif how == 1:
        members.insert(rng.randrange(len(members) + 1), Member(one.name, one.data))
    elif how == 2:
        one.name = rng.choice(
            [
                rng.choice(rng.choice(donors).members).name,
                "../x",
                "/etc/passwd",
                "a\0b",
                "",
                "x" * 9000,
                one.name + "/",
                one.name.upper(),
                "\ud800",
                "weights.00.npy",
                HEADER,
            ]
        )
    elif how == 3:
        rng.shuffle(members)
    elif how == 4:
        other = rng.choice(members)
        one.data, other.data = other.data, one.data
    else:
        members += [Member(m.name, m.data) for m in rng.choice(donors).members if rng.random() < 0.5]


def change_zip(archive: Archive, rng: random.Random, donors: list[Archive]) -> None:
    """Let the archive lie: sizes, offsets, methods, flags, extra fields, directory."""
    if not archive.members:
        return
    one, how = rng.choice(archive.members), rng.randrange(9)
    n = len(one.data)
    sizes = [0, 1, n - 1, n + 1, n * 2, 2**31, 2**32 - 1, 2**32 - 2, rng.getrandbits(32)]
    if how <= 2:
        name = rng.choice(["version", "flags", "method", "crc", "compressed", "size", "offset"])
        small = {"version": [10, 45, 63, 64, 65535], "flags": [1, 8, 32, 64, 2048, 65535], "method": [8, 9, 12, 14, 99]}
        one.lies[name] = rng.choice(small.get(name, sizes))
    elif how == 3:
        one.lies["compressed"] = one.lies["size"] = rng.choice(sizes)
    elif how == 4:  # of a zip64 entry
        values = [rng.choice([*sizes, 2**40, 2**63 - 1, 2**63, 2**64 - 1]) % 2**64 for _ in range(rng.randint(0, 4))]
        one.extra = struct.pack("<HH", 1, rng.choice([8 * len(values), 8, 24, 65535])) + b"".join(
            struct.pack("<Q", v) for v in values
        )
        one.lies |= {key: 2**32 - 1 for key in ("size", "compressed", "offset") if rng.random() < 0.6}
    elif how == 5:
        archive.lies[rng.choice(["n", "size", "offset"])] = rng.choice([*sizes, 2**40, 2**63, 2**64 - 1])
    elif how == 6:
        archive.zip64 = True
    elif how == 7:
        archive.prefix, archive.comment = rng.choice([b"", b"MZ" * 50]), rng.choice([b"", b"PK\x05\x06" * 9, b"c" * 70])
    else:  # one member inside another, or on top of it
        one.lies["offset"] = rng.randrange(400)
        if rng.random() < 0.5:
            one.data += Archive([Member("weights.0.npy", one.data)]).build()


def change_bytes(data: bytes, rng: random.Random, donors: list[Archive]) -> bytes:
    """Damage a file without understanding it."""
    how, at = rng.randrange(4), rng.randrange(len(data) + 1)
    if how == 0:
        return data[:at]
    if how == 1:
        return data[:at] + rng.choice(donors).build()[rng.randrange(200) :]
    if how == 2:
        return data[:at] + data[at + rng.choice([1, 2, 4, 64]) :]
    damaged = bytearray(data)
    for _ in range(rng.choice([1, 1, 4])):
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
    return bytes(damaged)


CHANGES = [change_header] * 6 + [change_array] * 3 + [change_members, change_zip, change_zip]


def mutated(archive: Archive, rng: random.Random, donors: list[Archive]) -> bytes:
    """Return the file of an archive after one to four changes."""
    archive = archive.copy()
    for _ in range(rng.choice([1, 1, 1, 2, 2, 4])):
        rng.choice(CHANGES)(archive, rng, donors)
    data = archive.build()
    return change_bytes(data, rng, donors) if rng.random() < 0.04 and data else data


# --------------------------------------------------------------------------------------------- what must hold


def check(data: bytes, *, watched: bool = True, thorough: bool = True) -> str:
    """Load a file, and use what comes; return what it came to, or raise a Finding.

    `watched`: whether to look at the memory taken; a campaign limits the process instead, which costs no system call.
    `thorough`: whether what was loaded is also saved and loaded again to the same bits, before it learns and after.
    """
    before = peak() if watched else 0
    outcome = examined(lambda: _outcome(data, thorough), len(data))
    if watched and peak() - before > MOST_MEMORY + 100 * len(data):
        raise Finding(f"{peak() - before:,} bytes of memory for {len(data)} bytes: {outcome}")
    return outcome


def examined(use: Callable[[], str], n_bytes: int) -> str:
    """Return what using a file came to; a Finding if it raises or warns, or takes longer than a file may."""
    start = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            outcome = use()
    except Finding:
        raise
    except Exception as error:
        raise Finding(f"{type(error).__name__}: {error}") from error
    if time.perf_counter() - start > MOST_SECONDS:  # on a busy machine that says little
        start = time.process_time()
        use()
        if time.process_time() - start > MOST_SECONDS:
            raise Finding(f"{time.process_time() - start:.1f} s of processor time for {n_bytes} bytes: {outcome}")
    return outcome


def peak() -> int:
    """Return the most memory that this process has had, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def limit_memory() -> None:
    """Let this process have no more than MOST_MEMORY beyond what it has."""
    with open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[0])
    most = pages * resource.getpagesize() + MOST_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _outcome(data: bytes, thorough: bool) -> str:
    try:
        net = cmlp.load(io.BytesIO(data))
    except ValueError as error:
        text = str(error)
        if not text.startswith("cannot load the file object, it is no sound cmlp model: ") or len(text) > 700:
            raise Finding(f"an unclear message: {text[:1000]}") from error
        if "\n" in text:
            raise Finding(f"a message on two lines: {text}") from error
        return text
    made_of = " ".join(sorted(set(re.findall(r"[A-Za-z_]{3,}", f"{net!r} {net.optimizer!r} {net.dtype}"))))
    X = np.linspace(-1, 1, 2 * net.n_inputs).reshape(2, -1)
    predicted = net.predict(X)
    if not thorough:
        return f"loaded, {_learnt(net, X)}: {made_of}"
    if net.n_outputs < 1000:
        with contextlib.suppress(UsageError):
            _described(net, "the model")
    again = cmlp.load(io.BytesIO(saved(net)))
    if state(again) != state(net) or type(again) is not type(net):
        raise Finding("what was saved again is not what was loaded")
    if predicted.tobytes() != again.predict(X).tobytes() or repr(net) != repr(again):
        raise Finding("what was saved again predicts something else")
    learnt, learnt_again = _learnt(net, X), _learnt(again, X)
    if learnt != learnt_again or state(net) != state(again):
        raise Finding("what was saved again learns something else")
    try:
        last = saved(net)
    except ValueError as error:
        if "not finite" not in str(error):
            raise
        return f"loaded, {learnt}: {made_of}, not finite"
    if state(cmlp.load(io.BytesIO(last))) != state(net):
        raise Finding("what has learnt is not loaded as it was saved")
    return f"loaded, {learnt}: {made_of}"


def _learnt(net: cmlp.Network, X: np.ndarray) -> str:
    """Let a network learn; return what that came to."""
    y = np.zeros((2, net.n_outputs))
    y[:, 0] = 1
    try:
        if net.optimizer.full_batch or isinstance(getattr(net.optimizer, "averaging", None), cmlp.SWA):
            with np.errstate(all="ignore" if net.optimizer.searches else None):  # a file may ask for λ = 1e38
                net.fit(X, y, epochs=1)
        else:
            net.learn_one(X[0], y[0])
    except cmlp.DivergenceError:  # the weights are those of a file
        return "diverged"
    except ValueError as error:
        # of LBFGS and dropout; of the file's means; of settings that the network's dtype does not hold
        promised = "does not go with", "too large to be standardised", "but must be finite", "that is finite in float"
        if not any(part in str(error) for part in promised):
            raise
        return "refused"
    return "learnt"


def state(net: cmlp.Network) -> tuple[Any, ...]:
    """Return all that a network is and knows, to the bit."""
    model = model_of(net)
    counters = model.n_steps, model.n_epochs, repr(model.memory), model.rng.bit_generator.state
    arrays = {name: array.tobytes() for name, array in model.arrays().items()}
    return repr(net.config()), model.optimizer, repr(net.metadata), counters, arrays


def saved(net: cmlp.Network) -> bytes:
    """Return the bytes of a network's file."""
    file = io.BytesIO()
    net.save(file)
    return file.getvalue()
