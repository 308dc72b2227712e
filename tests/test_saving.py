import io
import json
import os
import pathlib
import pickle
import stat
import struct
import subprocess
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest

import cmlp
from cmlp._base.archive import atomic_file, check_writable
from cmlp._engine.stored import parameters_of


def small_net(**settings):
    return cmlp.MLP([3, 4, 2], seed=0, **settings)


NETWORKS = {
    "mlp": lambda: cmlp.MLP([3, 4, 2], seed=0),
    "float64, no bias": lambda: cmlp.MLP([3, 4, 2], bias=False, dtype="float64", seed=0),
    "stored by columns": lambda: cmlp.MLP([300, 1], seed=0),
    "classes": lambda: cmlp.MLP(
        [3, 4, 4, 3], activation=["tanh", "leaky_relu"], alpha=0.2, loss="cross_entropy", seed=0
    ),
    "composition": lambda: cmlp.Network(
        cmlp.chain(
            cmlp.concatenate(cmlp.Dense(3, "relu"), cmlp.Dense(2, "tanh", bias=False), cmlp.Identity()),
            cmlp.add(cmlp.Identity(), cmlp.chain(cmlp.Dense(5, "sigmoid"), cmlp.Dense(8))),
            cmlp.Activation("leaky_relu", 0.3),
            cmlp.Dense(2, "sigmoid"),
        ),
        n_inputs=3,
        loss="binary_cross_entropy",
        dtype="float64",
        seed=0,
    ),
}


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def same(a, b):
    return all(
        (x is None and y is None) or np.array_equal(x, y)
        for x, y in zip((*a.weights, *a.biases), (*b.weights, *b.biases), strict=True)
    )


# ---------------------------------------------------------------------------------------------- round trips


@pytest.mark.parametrize("name", NETWORKS)
def test_a_loaded_network_is_the_saved_one(name, tmp_path):
    net = NETWORKS[name]()
    net.metadata = {"features": ["ä", "b"], "nested": {"x": [1, 2.5, None, True]}}
    net.save(tmp_path / "net.cmlp")
    loaded = cmlp.load(tmp_path / "net.cmlp")
    assert type(loaded) is type(net)
    assert same(net, loaded)
    assert loaded.config() == net.config()
    assert loaded.metadata == net.metadata
    assert loaded.optimizer == net.optimizer
    X = np.random.default_rng(1).standard_normal((20, net.n_inputs))
    np.testing.assert_array_equal(net.predict(X), loaded.predict(X))


@pytest.mark.parametrize(
    "optimizer",
    [
        cmlp.SGD(0.05),
        cmlp.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
        cmlp.SGD(cmlp.schedules.InverseScaling(0.5, 0.7), momentum=0.5),
    ],
)
@pytest.mark.parametrize("name", NETWORKS)
def test_training_goes_on_where_it_was(name, optimizer, tmp_path):
    net = NETWORKS[name]()
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((30, net.n_inputs)), rng.random((30, net.n_outputs))
    if net.loss == "cross_entropy":
        y = y.argmax(axis=1)
    net.fit(X, y, epochs=2, optimizer=optimizer, clip_delta=1.0)
    net.save(tmp_path / "net")
    loaded = cmlp.load(tmp_path / "net")
    assert loaded.n_steps == net.n_steps == 60
    net.partial_fit(X, y)
    loaded.partial_fit(X, y)
    assert same(net, loaded)


@pytest.mark.parametrize("kind", [str, pathlib.Path, os.fsencode])
def test_kinds_of_paths_and_no_suffix_is_added(kind, tmp_path):
    path = kind(tmp_path / "a model")
    small_net().save(path)
    assert os.listdir(tmp_path) == ["a model"]
    assert same(cmlp.load(path), small_net())


def test_the_same_model_gives_the_same_bytes_and_numpy_reads_them(tmp_path):
    for name in "ab":
        small_net().save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with np.load(tmp_path / "a", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["weights.0"], small_net().weights[0])
        np.testing.assert_array_equal(arrays["biases.1"], small_net().biases[1])


# ------------------------------------------------------------------------------------------------- writing


def test_saving_replaces_a_file_and_follows_links(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    small_net().save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert same(cmlp.load(tmp_path / "real"), small_net())
    assert sorted(os.listdir(tmp_path)) == ["link", "real"]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_the_mode_respects_the_umask(umask, tmp_path):
    before = os.umask(umask)
    try:
        small_net().save(tmp_path / "net")
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(tmp_path / "net").st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_save_keeps_the_old_file_and_leaves_nothing(failure, tmp_path, monkeypatch):
    def fail(*arguments, **keywords):
        raise failure

    small_net().save(tmp_path / "net")
    monkeypatch.setattr(np.lib.format, "write_array", fail)
    with pytest.raises(type(failure)):
        cmlp.MLP([3, 4, 2], seed=1).save(tmp_path / "net")
    assert os.listdir(tmp_path) == ["net"]
    assert same(cmlp.load(tmp_path / "net"), small_net())


def test_what_cannot_be_written(tmp_path):
    for attempt in (small_net().save, check_writable):
        with pytest.raises(IsADirectoryError, match=str(tmp_path)):
            attempt(tmp_path)
        with pytest.raises(FileNotFoundError, match="nowhere"):
            attempt(tmp_path / "nowhere" / "net")
        with pytest.raises(OSError, match="Not a regular file"):
            attempt("/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    check_writable(tmp_path / "net")
    assert os.listdir(tmp_path) == []


def test_atomic_file_needs_no_short_names(tmp_path):
    name = "x" * 255  # as long as file names may be
    with atomic_file(tmp_path / name) as file:
        file.write(b"1")
    assert os.listdir(tmp_path) == [name]


def test_what_cannot_be_saved(tmp_path):
    net = small_net()
    net.metadata = {"array": np.zeros(3)}
    with pytest.raises(TypeError, match="JSON"):
        net.save(tmp_path / "net")
    net.metadata = {"x": float("nan")}
    with pytest.raises(TypeError, match="JSON"):
        net.save(tmp_path / "net")
    net.metadata = [1]
    with pytest.raises(TypeError, match="dict"):
        net.save(tmp_path / "net")
    net = small_net(optimizer=cmlp.SGD(lambda t: 0.1))
    with pytest.raises(TypeError, match="cannot be saved"):
        net.save(tmp_path / "net")
    net = small_net()
    net.biases[1][1] = np.inf
    with pytest.raises(ValueError, match=r"biases\.1 is not finite at flat index 1"):
        net.save(tmp_path / "net")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("metadata", "match"),
    [
        ({1: "a", "1": "b"}, "two values for '1'"),  # JSON has text for keys: one would be lost
        ({"deep": nested(200)}, "nested more than 128 deep"),
        ({"deep": nested(5000)}, "recursion depth"),
        ({"long": 10**5000}, "4300 digits"),
    ],
)
def test_metadata_that_could_not_be_loaded_is_not_saved(metadata, match, tmp_path):
    net = small_net()
    net.metadata = metadata
    with pytest.raises(TypeError, match=rf"^metadata must hold JSON values only: .*{match}"):
        net.save(tmp_path / "net")
    assert os.listdir(tmp_path) == []


def test_a_network_whose_file_would_look_like_an_attack_is_not_saved(tmp_path):
    """So nobody finds out when it is loaded."""
    doubled = [cmlp.concatenate(cmlp.Identity(), cmlp.Identity())] * 22
    net = cmlp.Network(cmlp.chain(cmlp.Dense(1), *doubled), 1, seed=0)
    with pytest.raises(ValueError, match=r"need 33,554,\d+ bytes for the activations of one sample"):
        net.save(tmp_path / "net")
    assert os.listdir(tmp_path) == []


def test_long_chains_are_saved_and_loaded():
    net = cmlp.Network(cmlp.chain(*[cmlp.Dense(1, "tanh")] * 3000), 1, seed=0)
    file = io.BytesIO()
    net.save(file)
    file.seek(0)
    assert same(cmlp.load(file), net)


# ------------------------------------------------------------------------------------------- hostile files


def rewrite(path, change=None, **members):
    """Write the archive anew with changed members; None leaves one out. `change` edits the header."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    if change is not None:
        header = json.loads(contents["network.json"])
        changed = change(header)
        contents["network.json"] = json.dumps(header if changed is None else changed).encode()
    contents.update({f"{name}.npy": data for name, data in members.items()})
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in contents.items():
            if data is not None:
                archive.writestr(name, data)


def npy(array, **options):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, **options)
    return stream.getvalue()


def refuse(path, match):
    """Loading must fail with a ValueError that names the file, in little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=match) as caught:
            cmlp.load(path)
        assert tracemalloc.get_traced_memory()[1] < 8e6
    finally:
        tracemalloc.stop()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def saved(tmp_path):
    small_net(optimizer=cmlp.SGD(0.1, momentum=0.9)).save(tmp_path / "net.cmlp")
    return tmp_path / "net.cmlp"


def test_missing_and_other_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.cmlp"):
        cmlp.load(tmp_path / "absent.cmlp")
    with pytest.raises(IsADirectoryError):
        cmlp.load(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    refuse(tmp_path / "pipe", "not a regular file")  # opening it would wait for ever
    for name, data in {"empty": b"", "text": b"1,2,3\n" * 100, "pickle": pickle.dumps([1, 2, 3])}.items():
        (tmp_path / name).write_bytes(data)
        refuse(tmp_path / name, "not a zip file")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    refuse(tmp_path / "other.npz", r"no network\.json")


def test_every_truncation_is_refused(saved):
    data = saved.read_bytes()
    for length in range(0, len(data), 7):
        saved.write_bytes(data[:length])
        with pytest.raises(ValueError, match="cannot load"):
            cmlp.load(saved)


def test_no_damaged_byte_crashes_or_changes_a_number(saved):
    data = saved.read_bytes()
    original = cmlp.load(saved)
    rng = np.random.default_rng(0)
    for position in range(0, len(data), 3):
        damaged = bytearray(data)
        damaged[position] ^= int(rng.integers(1, 256))
        saved.write_bytes(damaged)
        try:
            loaded = cmlp.load(saved)
        except ValueError as error:
            assert "cannot load" in str(error)  # noqa: PT017
        else:  # a byte that says nothing, such as a date in the zip directory
            assert same(loaded, original)
            assert loaded.config() == original.config()


def change(key, value):
    def edit(header):
        header[key] = value

    return edit


def edit_network(key, value):
    def edit(header):
        header["network"][key] = value

    return edit


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda header: [], "not the header"),
        (change("format", "other"), "not the header"),
        (change("version", 3), "format version 3 .* reads versions 1 to 2"),
        (change("version", "1"), "format version '1'"),
        (lambda header: {k: v for k, v in header.items() if k != "metadata"}, "must have the keys"),
        (change("surplus", 1), "must have the keys"),
        (change("n_steps", -1), "n_steps must be an integer >= 0"),
        (change("n_steps", 1.5), "n_steps must be an integer"),
        (change("n_epochs", 10**30), "n_epochs is out of range"),
        (change("n_steps", 2**62 - 1), "n_steps is out of range"),  # one step more could not be loaded
        (change("metadata", []), "metadata must be a dict"),
        (change("memory", {"last_loss": 1.0}), r"memory must be a dict of \[\], not \{'last_loss': 1.0\}"),
        (change("memory", None), "memory must be a dict of"),
        (change("optimizer", None), "optimiser"),
        (
            change("optimizer", {"name": "sgd", "learning_rate": {"name": "constant", "learning_rate": -1}}),
            "learning_rate",
        ),
        (change("network", 3), "malformed network"),
        (edit_network("dtype", "float16"), "malformed network"),
        (edit_network("dtype", ["float32"]), "malformed network"),
        (edit_network("dtype", "float64"), "holds .*<f4.*, expected .*<f8"),
        (edit_network("kind", "os.system"), "malformed network"),
        (edit_network("loss", "mse"), "unknown loss"),
        (edit_network("loss", None), "malformed loss"),
        (edit_network("loss", {"name": "huber", "delta": -1}), "delta must be"),
        (edit_network("loss", {"name": "huber", "size": 1}), "malformed loss"),
        (edit_network("n_inputs", 4), r"holds .*\(3, 4\), .*expected .*\(4, 4\)"),
        (edit_network("n_inputs", 10**9), r"weights\.0 has 176 bytes, but .* needs 16000000000 bytes"),
        (edit_network("n_inputs", 10**15), r"n_inputs must be at most 2\*\*48, not 1000000000000000"),
        (edit_network("n_inputs", 10**400), r"n_inputs must be at most 2\*\*48"),
        (edit_network("n_inputs", "3"), "n_inputs must be an integer"),
        (edit_network("layers", None), "malformed layer"),
        (edit_network("layers", {"kind": "identity"}), "nothing to learn"),
        (edit_network("layers", {"kind": "dense", "n_outputs": 10**12}), r"weights\.0 has 176 bytes|do not fit"),
        (edit_network("layers", {"kind": "dense", "n_outputs": 2, "init": "x"}), "init"),
        (edit_network("layers", {"kind": "dense", "n_outputs": 2, "hook": "x"}), "malformed layer"),
        (edit_network("layers", {"kind": "dense", "n_outputs": 2, "init": [[1, 2]]}), "init must be a name in a conf"),
        (edit_network("layers", {"kind": "chain", "layers": 7}), "cannot load"),
        # doubles its width 60 times
        (
            edit_network(
                "layers",
                {
                    "kind": "chain",
                    "layers": [{"kind": "concatenate", "layers": [{"kind": "identity"}] * 2}] * 60
                    + [{"kind": "dense", "n_outputs": 1}],
                },
            ),
            "the network's activations do not fit this machine's memory",
        ),
    ],
)
def test_headers_that_are_refused(saved, edit, match):
    rewrite(saved, edit)
    refuse(saved, match)


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (change("memory", {}), "memory must be a dict of .*bad_epochs"),
        (change("memory", {"best_loss": "1", "bad_epochs": 0, "scale": 1}), r"memory\['best_loss'\] must be"),
        (change("memory", {"best_loss": 1, "bad_epochs": 0, "scale": 10**400}), r"memory\['scale'\] must be"),
        (change("memory", {"best_loss": 1, "bad_epochs": [0], "scale": 1}), r"memory\['bad_epochs'\] must be"),
        (change("memory", {"best_loss": 1, "bad_epochs": 0, "scale": -1}), r"scale in \[0, 1\]"),
        (change("memory", {"best_loss": 1, "bad_epochs": -1, "scale": 1}), "counts epochs"),
    ],
)
def test_memories_that_are_refused(saved, edit, match):
    small_net(optimizer=cmlp.SGD(cmlp.schedules.Plateau(0.1))).save(saved)
    rewrite(saved, edit)
    refuse(saved, match)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, '{"format": NaN}', "{", "\xff", '{"a": Infinity}'])
def test_headers_that_are_no_json(saved, text):
    with zipfile.ZipFile(saved, "w") as archive:
        archive.writestr("network.json", text.encode("latin-1"))
    refuse(saved, "cannot load")


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ("1e999", "contains '1e999'"),
        ("-1e999", "contains '-1e999'"),
        ('{"a": 1, "a": 2}', "two values for 'a'"),
        ("[" * 150 + "]" * 150, "nested more than 128 deep"),
        ("9" * 5000, "4300"),
    ],
)
def test_metadata_in_files_is_json_that_can_be_saved_again(saved, value, match):
    with zipfile.ZipFile(saved) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    contents["network.json"] = contents["network.json"].replace(
        b'"metadata": {}', f'"metadata": {{"x": {value}}}'.encode()
    )
    with zipfile.ZipFile(saved, "w") as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    refuse(saved, match)


@pytest.mark.parametrize("name", ["squares", "largest_squares", "step_sizes"])
def test_what_an_optimiser_takes_roots_of_is_not_negative(name, saved):
    """Its root would make the weights NaN, and no loss would tell."""
    small_net(optimizer=cmlp.Rprop() if name == "step_sizes" else cmlp.Adam(amsgrad=True)).save(saved)
    rewrite(saved, **{f"{name}.biases.1": npy(np.array([0, -1], "<f4"))})
    refuse(saved, f"optimiser's {name} must be >= 0, not -1")


def test_messages_stay_short(saved):
    rewrite(saved)
    data = saved.read_bytes()
    with zipfile.ZipFile(saved) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(saved, "w") as archive:
        for name, content in contents.items():
            archive.writestr("x" * 30_000 if name == "weights.0.npy" else name, content)
    refuse(saved, r"weights\.0 is missing")
    local = data.index(b"weights.0.npy")  # the name before the member, not that in the directory
    saved.write_bytes(data[:local] + b"x" * len("weights.0.npy") + data[local + len("weights.0.npy") :])
    refuse(saved, "differ")
    with zipfile.ZipFile(saved, "w") as archive:
        archive.writestr("y" * 60_000, b"")
    data = saved.read_bytes()
    local = data.index(b"yyy")
    saved.write_bytes(data[:local] + b"z" + data[local + 1 :])
    with pytest.raises(ValueError, match="cannot load") as caught:
        cmlp.load(saved)
    assert len(str(caught.value)) < len(str(saved)) + 600


def test_a_disk_that_fails_is_no_unsound_file(saved):
    class Failing(io.BytesIO):
        def read(self, n=-1):
            if self.tell() == 0:  # the first member; what follows has been read
                raise OSError(5, "Input/output error")
            return super().read(n)

    with pytest.raises(OSError, match="Input/output error"):
        cmlp.load(Failing(saved.read_bytes()))


def test_a_file_that_shrinks_while_it_is_read_is_refused(saved, monkeypatch):
    cmlp.MLP([200, 300, 1], seed=0).save(saved)

    def shrink(config):
        os.truncate(saved, 10_000)  # behind the header, before the last numbers
        return parameters_of(config)

    monkeypatch.setattr("cmlp.saving.parameters_of", shrink)
    refuse(saved, "cannot load")


def test_small_files_do_not_describe_large_networks(saved):
    def doubled(times):
        def edit(header):
            more = [{"kind": "concatenate", "layers": [{"kind": "identity"}] * 2}] * times
            header["network"].update(kind="Network", layers={"kind": "chain", "layers": [dense, *more]}, n_inputs=1)

        return edit

    dense = {"kind": "dense", "n_outputs": 1}
    for times in (22, 30, 40, 47):
        rewrite(saved, doubled(times))
        refuse(saved, r"[\d,]+ bytes for the activations of one sample, but with 4 bytes|activations do not fit")
    rewrite(saved, doubled(48))
    refuse(saved, "activations do not fit this machine's memory: they take [0-9,]+ bytes")
    rewrite(saved, doubled(100))
    refuse(saved, "do not fit|at most")


@pytest.mark.parametrize(
    ("field", "value", "match"),
    [
        ("history_size", 2**15, "history_size of LBFGS must be at most 1000, not 32768"),  # SciPy: 88 GiB
        ("ftol", 1e308, "ftol must be a finite number with 0 <= ftol < 1"),
    ],
)
def test_lbfgs_from_a_file_asks_scipy_for_nothing_that_it_cannot_do(field, value, match, saved):
    small_net(optimizer=cmlp.LBFGS()).save(saved)

    def edit(header):
        header["optimizer"][field] = value

    rewrite(saved, edit)
    refuse(saved, match)


W0 = np.ones((3, 4), "<f4")


@pytest.mark.parametrize(
    ("members", "match"),
    [
        ({"weights.0": None}, r"weights\.0 is missing"),
        ({"velocity.weights.1": None}, r"velocity\.weights\.1 is missing"),
        ({"weights.9": npy(W0)}, "do not belong"),
        ({"weights.0": npy(W0.T.copy())}, r"holds .*\(4, 3\), .*expected .*\(3, 4\)"),
        ({"weights.0": npy(np.asfortranarray(W0))}, "holds .*True.*, expected .*False"),
        ({"weights.0": npy(W0.astype(">f4"))}, "holds .*>f4"),
        ({"weights.0": npy(W0.astype("<i4"))}, "holds .*<i4"),
        ({"weights.0": npy(W0, version=(2, 0))}, "version 1.0"),
        ({"weights.0": npy(W0)[:-4]}, "bytes of numbers, not 48"),
        ({"weights.0": npy(W0) + b"\0" * 4}, "bytes of numbers, not 48"),
        ({"weights.0": npy(W0) + b"\0" * 10_000}, r"weights\.0 has 10176 bytes"),
        ({"weights.0": npy(np.where(W0 * np.arange(4) == 2, np.nan, W0).astype("<f4"))}, "NaN .* index 2"),
        ({"velocity.biases.0": npy(np.full(4, np.inf, "<f4"))}, "infinite number at flat index 0"),
        ({"weights.0": npy(np.array([{"a": 1}] * 6, dtype=object), allow_pickle=True)}, "cannot load"),
        ({"weights.0": b"not an array at all" * 9}, "cannot load"),
        ({"weights.0": npy(W0).replace(b"(3, 4)", b"(9**9,")}, "cannot load"),
        ({"weights.0": npy(W0).replace(b"(3, 4), }", b"((((((((( ")}, "cannot load"),
        ({"weights.0": npy(W0).replace(b"(3, 4), }  ", b"(3L, 4L), }")}, r"holds .*\(3L, 4L\)"),  # NumPy would warn
    ],
)
def test_arrays_that_are_refused(saved, members, match):
    rewrite(saved, **members)
    refuse(saved, match)


def test_a_huge_announced_shape_allocates_nothing(saved):
    def widen(header):
        header["network"]["n_inputs"] = 10**9

    huge = npy(W0).replace(b"(3, 4), }    ", b"(1000000000, ")
    rewrite(saved, widen, **{"weights.0": huge})
    refuse(saved, r"weights\.0 has")


def test_zip_bombs_are_refused(saved):
    with zipfile.ZipFile(saved) as archive:
        header = archive.read("network.json")
    with zipfile.ZipFile(saved, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("network.json", header + b" " * 50_000_000)
    refuse(saved, "compressed")


def test_members_that_claim_more_than_the_file_has(saved):
    data = bytearray(saved.read_bytes())
    at = data.rindex(b"PK\x01\x02", 0, data.rindex(b"weights.0.npy"))  # its entry in the zip directory
    data[at + 20 : at + 28] = struct.pack("<II", 0xFFFFFF00, 0xFFFFFF00)
    saved.write_bytes(data)
    refuse(saved, "more bytes than the file has")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name(saved):
    with zipfile.ZipFile(saved, "a") as archive:
        archive.writestr("weights.0.npy", npy(W0))
    refuse(saved, "same name")


def test_a_new_process_loads_an_mlp_before_it_has_used_anything_else(tmp_path):
    cmlp.MLP([2, 3, 1], seed=0).save(tmp_path / "net")
    script = "import cmlp, sys; print(cmlp.load(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "net"], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "MLP([2, 3, 1], activation='relu', loss='squared_error')\n"


def test_files_of_version_1_are_read(tmp_path):
    """They had no generator: the network gets a fresh one."""
    path = tmp_path / "net.cmlp"
    net = small_net(optimizer=cmlp.Adam(0.01))
    net.partial_fit([[1, 2, 3]], [[0, 1]])
    net.save(path)

    def to_version_1(header):
        del header["generator"]
        header["version"] = 1

    rewrite(path, to_version_1)
    loaded = cmlp.load(path)
    assert same(loaded, net)
    assert (loaded.n_steps, loaded.optimizer) == (1, net.optimizer)
