"""What must not crash, whatever Python code does: damaged records, missing buffers, memory that is taken away."""

import gc
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest
from helpers import hostile

import cmlp
from cmlp import _core
from cmlp._core import SLOTS, UPDATE, Program, record
from cmlp._engine.passes import Buffers
from cmlp._engine.program import Lowering
from cmlp.data.samples import Samples

X, Y = np.ones((6, 3), "float32"), np.ones((6, 2), "float32")


def program_of(layers=None, n_inputs=3, dtype="float32"):
    layers = layers or cmlp.chain(cmlp.Dense(4, "tanh"), cmlp.Dense(2))
    return Lowering(layers, n_inputs, "squared_error", np.dtype(dtype)).program()


def train(program, update, slots=(), samples=None, order=None, rates=(0.1,)):
    buffers = Buffers(
        np.zeros(program.workspace_size(64), "float32"),
        np.zeros(program.n_parameters, "float32"),
        None,
        {name: np.zeros(program.n_parameters, "float32") for name in slots},
        np.zeros(1),
    )
    params = np.zeros(program.n_parameters, "float32")
    return program.train(
        params, buffers, Samples(X, Y) if samples is None else samples, order, update, np.array(rates), 0
    )


# ------------------------------------------------------------------------------------------------------- buffers

OPTIMIZERS = [
    cmlp.SGD(momentum=0.9),
    cmlp.Adam(),
    cmlp.Adam(amsgrad=True),
    cmlp.RMSprop(),
    cmlp.RMSprop(momentum=0.5, centered=True),
    cmlp.Adagrad(),
    cmlp.Rprop(),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_a_slot_that_the_rule_needs_must_be_there(optimizer):
    program = program_of()
    update = record(UPDATE, batch_size=6, **optimizer.settings)
    train(program, update, optimizer.state_names)
    alone = record(UPDATE, **optimizer.settings)
    for missing in optimizer.state_names:
        left = [name for name in optimizer.state_names if name != missing]
        for given in (left, [name for name in SLOTS if name != missing]):
            with pytest.raises(ValueError, match=f"buffers.slots has no '{missing}', which this update needs"):
                train(program, update, given)
        params = np.zeros(program.n_parameters, "float32")
        one_row = _core.OneRow(program, params, np.zeros(program.workspace_size(1), "float32"))
        slots = {name: np.zeros_like(params) for name in left}
        with pytest.raises(ValueError, match=f"buffers.slots has no '{missing}'"):
            one_row.plan(alone, params, Buffers(None, np.zeros_like(params), None, slots, None), lambda: None)
        assert one_row.learn(X[0], Y[0], None) is None


@pytest.mark.parametrize("order", [[0, 6], [-1, 0], [2**62, 0], [0, -(2**63)], [2**63 - 1]])
def test_an_order_visits_rows_that_there_are(order):
    for batch_size in (1, 2):
        with pytest.raises(ValueError, match=r"order visits row -?\d+: expected rows 0 to 5"):
            train(program_of(), record(UPDATE, batch_size=batch_size), order=np.array(order))


@pytest.mark.parametrize(
    "order", [np.zeros(3, "int32"), np.zeros((3, 1), np.int64), np.zeros(6, np.int64)[::2], [0, 1]]
)
def test_an_order_is_a_vector_of_int64(order):
    with pytest.raises(TypeError, match="order must be a contiguous vector of int64"):
        train(program_of(), record(UPDATE), order=order)


def test_a_generator_of_ones_own_that_gives_no_order_is_refused():
    class Lying(np.random.Generator):
        def permutation(self, n):
            return np.arange(n) + 10**12

        def integers(self, *args, **kwargs):
            return super().integers(*args, **kwargs) * 0 + 10**12

    for order in ("shuffle", "replacement"):
        net = cmlp.MLP([3, 2], seed=Lying(np.random.PCG64(0)))
        for batch_size in (1, 4):
            with pytest.raises(ValueError, match="order visits row"):
                net.fit(X, Y, order=order, batch_size=batch_size)


def test_labels_out_of_range_are_no_classes():
    """Targets may be changed while `fit` goes on: they are compared, and never used as places."""
    labels = np.array([0, 1, 2, 0, 1, 2])
    for sizes in ([3, 3], [3, 8, 3], [3, 200, 3]):
        for batch_size in (1, 2, 6):

            def change(*_):
                labels[:] = [2**62, -(2**63), 3, -1, 2**31, 10**12]

            labels[:] = [0, 1, 2, 0, 1, 2]
            net = cmlp.MLP(sizes, loss="cross_entropy", seed=0)
            net.fit(X, labels, epochs=3, batch_size=batch_size, callbacks=[change])
            assert np.isfinite(net.predict(X)).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rule": 6}, "rule=6: expected an id of RULES"),
        ({"rule": -1}, "rule=-1: expected an id of RULES"),
        ({"batch_size": 0}, "batch_size must be 1 or more"),
        ({"batch_size": -(2**63)}, "batch_size must be 1 or more"),
        ({"batch_size": 2**63 - 1}, "at most 2\\*\\*60"),
    ],
)
def test_an_update_with_unknown_ids_or_sizes_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        train(program_of(), record(UPDATE, **fields))


def test_a_huge_batch_is_the_whole_epoch():
    assert train(program_of(), record(UPDATE, batch_size=2**60))[3] == -1


def test_a_workspace_has_a_size_that_64_bits_hold():
    program = program_of()
    for rows, threads in ((-1, 1), (65, 1), (2**62, 1), (129, 2)):
        with pytest.raises(ValueError, match=r"rows must be 0 to \d+, not"):
            program.workspace_size(rows, threads)
    with pytest.raises(ValueError, match="n_threads must be 1 to 64, not -1"):
        program.workspace_size(1, -1)


def test_a_program_for_float64_does_not_take_float32():
    program = program_of(cmlp.Dense(3), dtype="float64")  # rows of W are 8 elements apart
    params, out = np.zeros(program.n_parameters, "float32"), np.zeros((6, 3), "float32")
    with pytest.raises(TypeError, match="the program is for float64"):
        program.predict(params, X, out, np.zeros(10**6, "float32"))
    with pytest.raises(TypeError, match="the program is for float64"):
        _core.OneRow(program, params, np.zeros(10**6, "float32"))


@pytest.mark.parametrize(
    "scaling",
    [[np.zeros(3, "float32")], [np.zeros(6)[::2]], [np.zeros(2)], [np.zeros(3)] * 4, [np.zeros(3)] * 6, [None]],
)
def test_a_scale_of_other_arrays_is_refused(scaling):
    program = program_of()
    params = np.zeros(program.n_parameters, "float32")
    with pytest.raises((TypeError, ValueError), match="scaling"):
        _core.OneRow(program, params, np.zeros(program.workspace_size(1), "float32"), scaling)
    with pytest.raises((TypeError, ValueError), match=r"mean|scale"):
        _core.embed(program, params, np.zeros(program.workspace_size(1), "float32"), [np.zeros(3), np.zeros(3)])


def test_no_rows_are_no_samples():
    program = program_of()
    none = Samples(X[:0], Y[:0])
    params, workspace = np.zeros(program.n_parameters, "float32"), np.zeros(10**5, "float32")
    for call in (
        lambda: train(program, record(UPDATE), samples=none),
        lambda: program.evaluate(params, none, workspace),
        lambda: program.gradients(params, none, 1.0, np.zeros_like(params), workspace),
        lambda: program.predict(params, X[:0], Y[:0], workspace),
    ):
        with pytest.raises(ValueError, match="has no rows"):
            call()


# ------------------------------------------------------------------------------------------------ damaged records


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("kind", 3, "must be ids"),
        ("activation", -1, "must be ids"),
        ("layout", 2, "must be ids"),
        ("input_gradient", 7, "must be ids"),
        ("n_in", 0, "no sizes of a layer"),
        ("n_out", 2**40, "no sizes of a layer"),
        ("source", -2, "do not lie in the activations"),
        ("source", 2**62, "do not lie in the activations"),
        ("out", -1, "do not lie in the activations"),
        ("z", 2**63 - 1, "do not lie in the activations"),
        ("weights", -1, "do not lie in the parameters"),
        ("ld", 2**62, "do not lie in the parameters"),
        ("ld", 0, "do not lie in the parameters"),
        ("biases", -2, "do not lie in the parameters"),
        ("delta", 2**40, "does not lie in the deltas"),
        ("dropout", 1.0, "is no share"),
        ("dropout", np.nan, "is no share"),
        ("nonzero_in", 0, "is no list of the operation's inputs"),
        ("nonzero_out", 0, "nonzero_out is for a relu"),
    ],
)
def test_a_damaged_operation_is_refused(field, value, message):
    program = program_of()
    operations = program.operations.copy()
    operations[field][1] = value
    with pytest.raises(ValueError, match=f"this is no program: .*{message}"):
        Program(operations, program.network)


@pytest.mark.parametrize("field", ["n_inputs", "n_outputs", "n_activations", "n_parameters", "n_deltas", "width"])
@pytest.mark.parametrize("value", [-(2**63), -1, 0, 1, 2**50, 2**63 - 1])
def test_a_damaged_network_is_refused(field, value):
    program = program_of(cmlp.chain(cmlp.Dense(20, "tanh"), cmlp.Dense(2)))
    network = program.network.copy()
    network[field] = value
    with pytest.raises(ValueError, match=r"this is no program|this program can go"):
        Program(program.operations, network)


def test_a_list_of_dead_units_lies_apart():
    layers = cmlp.chain(cmlp.Dense(40, "relu"), cmlp.Dense(60, "relu"), cmlp.Dense(40), cmlp.Dense(2))
    program = program_of(layers)
    lists = program.operations["nonzero_out"].tolist()
    assert lists[0] > 0
    assert lists[1] > lists[0]
    for changed in (lists[0] + 25, lists[1], 0):
        operations = program.operations.copy()
        operations["nonzero_out"][0], operations["nonzero_in"][1] = changed, changed
        with pytest.raises(ValueError, match="do not lie behind all values and lists"):
            Program(operations, program.network)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_taken_of_damaged_records_does_not_touch_other_memory(dtype, simd_level):
    """Some thousand programs with random damage, run on memory between guard pages."""
    arguments = [sys.executable, str(Path(hostile.__file__)), dtype, simd_level, "400"]
    result = subprocess.run(arguments, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stderr
    taken, refused = map(int, result.stdout.split())
    assert taken > 50
    assert refused > 50


# ---------------------------------------------------------------------------------------- memory that is taken away


def resized(array):
    """Try to take an array's memory away, whatever refers to it."""
    base = array
    while isinstance(base, np.ndarray):
        owner, base = base, base.base
    with pytest.raises(ValueError, match="cannot resize"):
        owner.resize(1 << 22, refcheck=False)


def test_parameters_cannot_be_resized():
    net = cmlp.MLP([3, 8, 2], optimizer=cmlp.Adam(), seed=0)
    for when in range(3):
        for array in (*net.weights, *net.biases):
            resized(array)
        if when == 0:
            net.fit(X, Y, epochs=2, callbacks=[lambda net, _: resized(net.weights[0])])
        net.learn_one(X[0], Y[0])
    assert np.isfinite(net.predict(X)).all()


@pytest.mark.parametrize("batch_size", [1, 2, 6])
def test_samples_cannot_be_resized_while_fit_learns_from_them(batch_size):
    samples = np.ones((6, 3), "float32"), np.arange(6) % 2, np.ones(6)

    def try_it(*_):
        for array in (samples[0], samples[2]):
            resized(array)
        samples[1].resize(2, refcheck=False)  # class indices were copied

    net = cmlp.MLP([3, 2], loss="cross_entropy", seed=0)
    net.fit(samples[0], samples[1], sample_weight=samples[2], epochs=3, batch_size=batch_size, callbacks=[try_it])
    X.setflags(write=True)
    for array in samples:  # afterwards they are the user's alone
        array.resize(1 << 16, refcheck=False)
    assert np.isfinite(net.predict(X)).all()


def test_views_of_what_is_resized_are_held_too():
    memory = np.ones((8, 3), "float32")
    view = memory[1:7]
    net = cmlp.MLP([3, 2], seed=0)
    net.fit(view, Y, epochs=2, callbacks=[lambda *_: resized(memory)])
    assert np.isfinite(net.predict(view)).all()


def test_samples_cannot_be_resized_in_another_thread():
    big = np.ones((200_000, 3), "float32")
    net, stop, sizes = cmlp.MLP([3, 64, 2], seed=0), threading.Event(), []

    def take_away():
        while not stop.is_set():
            try:
                big.resize((3, 3), refcheck=False)
                big.resize((200_000, 3), refcheck=False)
            except ValueError:
                sizes.append(len(big))

    thread = threading.Thread(target=take_away)
    thread.start()
    try:
        for _ in range(20):
            if len(big) == 200_000:
                net.predict(big)
    finally:
        stop.set()
        thread.join()
    assert all(size in (3, 200_000) for size in sizes)


def test_nothing_is_held_after_a_call():
    array = np.ones((6, 3), "float32")
    net = cmlp.MLP([3, 2], seed=0)
    net.fit(array, Y)
    net.predict(array)
    net.partial_fit(array, Y)
    net.evaluate(array, Y)
    assert weakref.getweakrefcount(array) == 0
    gone = weakref.ref(array)
    del array
    gc.collect()
    assert gone() is None
