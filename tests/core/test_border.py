"""What crosses the border between Python and the core: ids, records, arrays that must fit."""

from __future__ import annotations

import ctypes
import io
import math
import re
from pathlib import Path

import numpy as np
import pytest

import cmlp
from cmlp import _core
from cmlp._core import NETWORK, OPERATION, PER_SAMPLE_WAYS, UPDATE, Program, is_plain, record
from cmlp._engine.passes import Buffers
from cmlp._engine.program import Lowering, biases_view, fields_of, weights_view
from cmlp.data.samples import Samples

KERNELS = Path(__file__).parents[2] / "src" / "kernels"
DTYPES = {"OP": OPERATION, "NET": NETWORK, "UPDATE": UPDATE}
C_TYPES = {"int": ctypes.c_int, "ptrdiff_t": ctypes.c_ssize_t, "uint64_t": ctypes.c_uint64, "double": ctypes.c_double}


def program_of(layers, n_inputs=3, loss="squared_error", dtype="float32"):
    return Lowering(layers, n_inputs, loss, np.dtype(dtype)).program()


# ------------------------------------------------------------------------------------------------ ids and dtypes


@pytest.mark.parametrize("name", ["ACTIVATIONS", "LOSSES", "RULES", "SLOTS", "KINDS", "LAYOUTS", "INPUT_GRADIENTS"])
def test_ids_count_the_lines_of_the_header(name):
    body = re.search(rf"#define CMLP_{name}\(X\)((?:.*\\\n)*.*)", (KERNELS / "ids.h").read_text())[1]
    names = re.findall(r"X\(\w+, (\w+)\)", body)
    assert getattr(_core, name) == {name: i for i, name in enumerate(names)}
    assert len(names) >= 2


@pytest.mark.parametrize("name", DTYPES)
def test_dtypes_have_the_layout_of_the_c_structs(name):
    text = (KERNELS / "structs.h").read_text()
    body = text[text.index(f"#define CMLP_{name}_FIELDS") :].split("\n\n")[0]
    fields = [(field, C_TYPES[kind]) for kind, field in re.findall(r"X\((\w+), (\w+), ", body)]
    struct = type("Struct", (ctypes.Structure,), {"_fields_": fields})  # laid out by ctypes, as C does
    dtype = DTYPES[name]
    assert dtype.names == tuple(field for field, _ in fields)
    assert dtype.itemsize == ctypes.sizeof(struct)
    assert dtype.isalignedstruct
    for field, kind in fields:
        assert dtype.fields[field] == (np.dtype(kind), getattr(struct, field).offset)


# ------------------------------------------------------------------------------------------------------ records


def test_a_record_has_the_defaults_of_nothing_and_what_is_given():
    update = record(UPDATE)
    assert (update.shape, update.dtype) == ((), UPDATE)
    expected = {"batch_size": 1, "mean": 1, "loss_scale": 1, "average_decay": -1}
    expected |= dict.fromkeys(["clip_delta", "clip_value", "clip_norm", "max_norm"], math.inf)
    assert dict(zip(UPDATE.names, update.item(), strict=True)) == dict.fromkeys(UPDATE.names, 0) | expected
    places = dict.fromkeys(["weights", "biases", "nonzero_in", "nonzero_out"], -1)
    operation = dict(zip(OPERATION.names, record(OPERATION).item(), strict=True))
    assert operation == dict.fromkeys(OPERATION.names, 0) | places
    given = record(UPDATE, seed=2**64 - 1, rule=3, beta1=0.25, batch_size=np.int64(7), clip_norm=None)
    assert [given[name].item() for name in ("seed", "rule", "beta1", "batch_size")] == [2**64 - 1, 3, 0.25, 7]
    assert given["clip_norm"] == math.inf
    assert record(UPDATE)["rule"] == 0  # the defaults are not touched


@pytest.mark.parametrize(
    ("arguments", "fields", "error", "message"),
    [
        ((UPDATE,), {"momentun": 0.9}, TypeError, "unknown field 'momentun': expected one of batch_size, seed"),
        ((UPDATE,), {"rule": "adam"}, TypeError, "an integer is required|expected"),
        ((NETWORK,), {"n_inputs": 2**64}, OverflowError, "too large|too big"),
        ((np.dtype("float64"),), {}, TypeError, "expected OPERATION, NETWORK or UPDATE, not float64"),
    ],
)
def test_a_record_refuses_what_it_cannot_hold(arguments, fields, error, message):
    with pytest.raises(error, match=message):
        record(*arguments, **fields)


def test_plain_is_what_needs_no_gradient_buffer():
    assert is_plain(record(UPDATE))
    assert is_plain(record(UPDATE, clip_delta=1.0, nesterov=True)[()])
    settings = {
        "batch_size": 2, "rule": 1, "momentum": 0.9, "weight_decay": 0.1, "clip_value": 1.0, "clip_norm": 1.0,
        "l1": 0.1, "max_norm": 1.0, "average_decay": 0.9, "dropout": True, "alpha": 0.1, "weighted_mean": True,
    }  # fmt: skip
    assert not any(is_plain(record(UPDATE, **{name: value})) for name, value in settings.items())
    for wrong in (None, {"batch_size": 1}, np.zeros(1, UPDATE), np.zeros((), OPERATION)):
        with pytest.raises(TypeError, match="expected one record with the fields batch_size, seed, clip_delta"):
            is_plain(wrong)


# ---------------------------------------------------------------------------------------- a model is a flat array


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_program_saved_by_numpy_is_the_same_program(dtype):
    branches = cmlp.concatenate(cmlp.Dense(40, "relu"), cmlp.Identity())
    layers = cmlp.chain(branches, cmlp.Dense(64, "elu", bias=False), cmlp.Dropout(0.5), cmlp.Dense(2, "softmax"))
    program = program_of(layers, 5, "cross_entropy", dtype)
    file = io.BytesIO()
    np.savez(file, operations=program.operations, network=program.network)
    file.seek(0)
    with np.load(file) as saved:
        again = Program(saved["operations"], saved["network"])
    assert (again.operations == program.operations).all()
    assert again.network == program.network  # field by field: the bytes between fields may be anything
    rng = np.random.default_rng(0)
    params = rng.normal(size=program.n_parameters).astype(dtype)
    X, out = rng.normal(size=(7, 5)).astype(dtype), np.zeros((2, 7, 2), dtype)
    for k, p in enumerate((program, again)):
        p.predict(params, X, out[k], np.zeros(p.workspace_size(7), dtype))
    assert np.array_equal(*out)
    assert np.allclose(out.sum(axis=2), 1)


def test_a_program_is_a_copy_that_cannot_be_changed():
    given = program_of(cmlp.Dense(2)).operations.copy()
    program = Program(given, program_of(cmlp.Dense(2)).network)
    given["n_out"] = 99
    assert program.operations["n_out"] == program.network["n_outputs"] == 2
    for array in (program.operations, program.network):
        with pytest.raises(ValueError, match="read-only"):
            array["n_in" if array.ndim else "n_inputs"] = 1
    program.per_sample = "in_blocks"
    assert program.network["per_sample"] == PER_SAMPLE_WAYS["in_blocks"]
    assert program.per_sample == "in_blocks"


def test_views_of_parameters_are_live_in_both_layouts():
    network = cmlp.MLP([300, 2, 300], seed=0)
    program = program_of(network.layers, 300)
    params = np.zeros(program.n_parameters, "float32")
    for op, shape in zip(fields_of(program.operations), [(300, 2), (2, 300)], strict=True):
        W, b = weights_view(op, params), biases_view(op, params)
        assert (W.shape, b.shape) == (shape, shape[1:])
        W[-1, -1], b[-1] = 2, 3
        before = params[op["weights"] : op["biases"]]
        assert (np.count_nonzero(before), before.sum(), params[op["biases"] + shape[1] - 1]) == (1, 2, 3)
    no_bias = program_of(cmlp.Dense(2, bias=False))
    assert biases_view(fields_of(no_bias.operations)[0], params) is None


@pytest.mark.parametrize(
    ("operations", "network", "message"),
    [
        (np.zeros(0, OPERATION), np.zeros((), NETWORK), "at least one operation"),
        (np.zeros((), OPERATION), np.zeros((), NETWORK), "an array of records with the fields kind, .* 0 dimensions"),
        (np.zeros((1, 64)), np.zeros((), NETWORK), "an array of records with the fields kind, .* float64"),
        (np.zeros(1, OPERATION), np.zeros(1, NETWORK), "one record with the fields n_inputs, .* 1 dimensions"),
    ],
)
def test_a_program_refuses_other_arrays(operations, network, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Program(operations, network)


# -------------------------------------------------------------------------------------------- arrays that must fit


class Call:
    """The arguments of all methods of a program of 3 inputs and 2 outputs, each of which a test may replace."""

    def __init__(self, **changes):
        self.program = program_of(cmlp.chain(cmlp.Dense(4, "tanh"), cmlp.Dense(2)))
        n = self.program.n_parameters
        given = {
            "X": np.ones((5, 3), "float32"),
            "Y": np.ones((5, 2), "float32"),
            "labels": None,
            "weights": np.ones(5),
            "params": np.ones(n, "float32"),
            "gradient": np.zeros(n, "float32"),
            "average": None,
            "slots": {"velocity": np.zeros(n, "float32")},
            "last_loss": np.zeros(1),
            "workspace": np.zeros(self.program.workspace_size(5), "float32"),
            "update": record(UPDATE, batch_size=2, momentum=0.9),
            "rates": np.full(3, 0.01),
            "n_threads": 1,
        }
        assert changes.keys() <= given.keys()
        self.__dict__.update(given | changes)
        self.samples = Samples(self.X, self.Y, self.labels, self.weights)

    def train(self):
        buffers = Buffers(self.workspace, self.gradient, self.average, self.slots, self.last_loss)
        arguments = (self.params, buffers, self.samples, None, self.update, self.rates, 0, self.n_threads)
        return self.program.train(*arguments)

    def gradients(self):
        return self.program.gradients(self.params, self.samples, 1.0, self.gradient, self.workspace)

    def evaluate(self):
        return self.program.evaluate(self.params, self.samples, self.workspace)

    def predict(self):
        out = np.zeros((5, 2), "float32")
        return self.program.predict(self.params, self.X, out, self.workspace)

    def forward(self):
        values = np.zeros((5, self.program.n_activations), "float32")
        return self.program.forward(self.params, self.X, values)

    def one_row(self):
        return _core.OneRow(self.program, self.params, self.workspace)

    def embed(self):
        return _core.embed(self.program, self.params, self.workspace)


METHODS = ("train", "gradients", "evaluate", "predict", "forward", "one_row", "embed")


@pytest.mark.parametrize("method", METHODS)
def test_what_fits_is_taken(method):
    getattr(Call(), method)()


SHORT = np.zeros(3, "float32")


@pytest.mark.parametrize(
    ("methods", "changes", "message"),
    [
        (METHODS, {"params": SHORT}, r"params must have \d+ elements, not 3"),
        (METHODS[:4] + METHODS[5:], {"workspace": SHORT}, r"workspace must have \d+ elements .*, not 3"),
        (METHODS[:3], {"X": np.ones((5, 4), "float32")}, r"samples.X must have the shape \(5, 3\), not \(5, 4\)"),
        (METHODS[3:5], {"X": np.ones((5, 4), "float32")}, r"X must have the shape \(5, 3\), not \(5, 4\)"),
        (METHODS[:3], {"Y": np.ones((5, 1), "float32")}, r"samples.Y must have the shape \(5, 2\), not \(5, 1\)"),
        (METHODS[:3], {"Y": np.ones((4, 2), "float32")}, r"samples.Y must have the shape \(5, 2\), not \(4, 2\)"),
        (METHODS[:3], {"Y": None}, "samples need targets, Y or labels: both are None"),
        (METHODS[:3], {"Y": None, "labels": np.zeros(4, np.int64)}, "samples.labels must have 5 elements, not 4"),
        (METHODS[:3], {"weights": np.ones(6)}, "samples.weights must have 5 elements, not 6"),
        (METHODS[:2], {"gradient": SHORT}, r"gradient must have \d+ elements, not 3"),
        (["train"], {"gradient": None}, "buffers.gradient is None, but this update needs one"),
        (["train"], {"average": SHORT}, r"buffers.average must have \d+ elements, not 3"),
        (["train"], {"slots": {"velocity": SHORT}}, r"velocity must have \d+ elements, not 3"),
        (["train"], {"slots": {"momentum": SHORT}}, "unknown slot 'momentum': expected one of velocity, squares"),
        (["train"], {"rates": np.ones(2)}, "rates must have 3 elements, not 2"),
        (["train"], {"rates": np.ones(0)}, "rates must have 3 elements, not 0"),
        (["train"], {"n_threads": 0}, "n_threads must be 1 to 64, not 0"),
        (["train"], {"n_threads": 65}, "n_threads must be 1 to 64, not 65"),
        (["train"], {"update": record(UPDATE, batch_size=0)}, "batch_size must be 1 or more"),
        (METHODS[:5], {"X": np.ones((5, 3))}, "Buffer dtype mismatch|No matching signature"),
        (METHODS[:5], {"params": np.ones(3, np.int64)}, "No matching signature|Buffer dtype mismatch"),
        (METHODS[5:], {"params": np.ones(3, np.int64)}, "must both be float32 or float64, not int64, float32"),
        (METHODS[:2], {"gradient": np.ones(3)}, "Buffer dtype mismatch"),
    ],
)
def test_what_does_not_fit_is_said(methods, changes, message):
    for method in methods:
        with pytest.raises((ValueError, TypeError), match=message):
            getattr(Call(**changes), method)()


def test_any_object_with_the_attributes_is_taken_for_samples_and_buffers():
    call = Call()
    expected = Call().train()

    class Anything:
        pass

    samples, buffers = Anything(), Anything()
    for name in ("X", "Y", "labels", "weights"):
        setattr(samples, name, getattr(call, name))
    samples.checked = True
    for name in ("gradient", "average", "slots", "last_loss", "workspace"):
        setattr(buffers, name, getattr(call, name))
    got = call.program.train(call.params, buffers, samples, None, call.update, call.rates, 0)
    assert got == expected
    assert call.last_loss > 0


def test_arrays_of_both_types_are_taken_from_numpy_views():
    for dtype in ("float32", "float64"):
        program = program_of(cmlp.Dense(2), dtype=dtype)
        memory = np.zeros(program.n_parameters + 3, dtype)
        out = np.zeros((4, 2), dtype)
        memory[3:][: program.n_parameters] = 1
        workspace = np.zeros(program.workspace_size(4), dtype)
        program.predict(memory[3:], np.ones((4, 3), dtype), out, workspace)
        assert (out == 4).all()
