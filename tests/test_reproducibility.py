"""Same seed, same data: the same bits, whoever computes them and wherever; and how far instruction sets differ."""

import copy
import io
import json
import multiprocessing
import pickle
import random

import numpy as np
import pytest
from helpers import repeatable
from helpers.threads import run_program

import cmlp
from cmlp import _core
from cmlp._engine.threads import Crossover

PAIRS = [(name, optimizer) for name in repeatable.NETWORKS for optimizer in repeatable.OPTIMIZERS]
PROGRAM = "import json, sys; sys.path.insert(0, {tests!r}); from helpers import repeatable; print(json.dumps({call}))"


def in_a_process(call, **environment):
    """What a call gives in a process of its own, with these environment variables."""
    tests = repeatable.__file__.rsplit("/helpers/", 1)[0]
    return json.loads(run_program(PROGRAM.format(tests=tests, call=call), **environment))


@pytest.fixture(scope="module")
def expected():
    return repeatable.digests()


# ---------------------------------------------------------------------------------------------------------- threads


@pytest.mark.parametrize("n_threads", [2, 3, 5, 8, 64, "auto"])
def test_every_number_of_threads_trains_the_same_bits(n_threads, simd_level):
    del simd_level
    assert repeatable.digests(n_threads=n_threads) == repeatable.digests()


@pytest.mark.parametrize("n_threads", [2, 3, 5, 8, 64, "auto"])
def test_every_number_of_threads_predicts_the_same_bits(n_threads, simd_level):
    del simd_level
    X, _ = repeatable.samples(n=700)
    for pair in PAIRS[::5]:
        net = repeatable.network(*pair)
        np.testing.assert_array_equal(net.predict(X, n_threads=n_threads), net.predict(X))


@pytest.mark.parametrize("seed", range(5))
def test_whatever_auto_decides_the_bits_are_the_same(seed, expected, monkeypatch):
    """And however long its chunks are: both follow the clock."""
    draw = random.Random(seed)
    monkeypatch.setattr(Crossover, "next", lambda self, _: draw.randint(1, self.most))
    monkeypatch.setattr("cmlp._engine.threads.available_processors", lambda: 5)
    monkeypatch.setattr("cmlp._engine.passes.Run._visits_in", lambda self, _: self.batch_size * draw.randint(1, 3))
    assert repeatable.digests(n_threads="auto") == expected


# -------------------------------------------------------------------------------------------------------- processes


@pytest.mark.parametrize("seed", ["0", "1", "random"])
def test_a_process_of_its_own_trains_the_same_bits_whatever_its_hashes(seed, expected):
    assert in_a_process("repeatable.digests()", PYTHONHASHSEED=seed) == expected


@pytest.mark.parametrize("how", multiprocessing.get_all_start_methods())
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of fork, in a process with threads
def test_a_network_trains_on_in_another_process_the_same_bits_as_here(how):
    context = multiprocessing.get_context(how)
    X, y = repeatable.samples()
    net = repeatable.train(repeatable.network("wide", "adam"), X, y)
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=repeatable.send_digest, args=(there, net, X, y))
    process.start()
    assert here.poll(300)
    found = here.recv()
    process.join()
    assert found == repeatable.digest(repeatable.train(net, X, y), X, y)


# ------------------------------------------------------------------------------------------------- copies and files


def through_a_file(net):
    file = io.BytesIO()
    net.save(file)
    return cmlp.load(io.BytesIO(file.getvalue()))


WAYS = {
    "file": through_a_file,
    "pickle": lambda net: pickle.loads(pickle.dumps(net)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "file of a pickle of a copy": lambda net: through_a_file(pickle.loads(pickle.dumps(copy.copy(net)))),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_copies_and_files_train_on_the_same_bits(pair, way):
    X, y = repeatable.samples()
    net = repeatable.train(repeatable.network(*pair), X, y)
    other = WAYS[way](net)
    assert repeatable.digest(other, X, y) == repeatable.digest(net, X, y)
    assert repeatable.digest(repeatable.train(other, X, y), X, y) == repeatable.digest(
        repeatable.train(net, X, y), X, y
    )


# ----------------------------------------------------------------------------------------------------------- memory


def at_offset(array, offset):
    """The same numbers, beginning so many bytes behind a cache line."""
    memory = np.zeros(array.nbytes + 128, np.uint8)
    start = -memory.ctypes.data % 64 + offset
    moved = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    moved[...] = array
    return moved


def strided(array):
    wide = np.full((2 * len(array), 2 * array.shape[1] + 1), np.nan, array.dtype)
    wide[::2, 1::2] = array
    return wide[::2, 1::2]


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


LAYOUTS = {
    **{f"offset {n}": lambda X, n=n: at_offset(X, n) for n in (0, 1, 4, 8, 12, 20, 36, 63)},
    "strided": strided,
    "columns": np.asfortranarray,
    "backwards": lambda X: X[::-1].copy()[::-1],
    "big endian": lambda X: X.astype(">f4"),
    "wider": lambda X: X.astype("float64"),
    "list": np.ndarray.tolist,
    "read only": read_only,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_does_not_matter_how_samples_lie_in_memory(layout, expected, simd_level):
    del simd_level
    X, y = repeatable.samples()
    for pair in PAIRS[:: 1 if layout in ("offset 4", "strided") else 4]:
        moved = LAYOUTS[layout](X)
        net, other = repeatable.network(*pair), repeatable.network(*pair)
        assert repeatable.digest(repeatable.train(other, moved, y), X, y) == repeatable.digest(
            repeatable.train(net, X, y), X, y
        )
        np.testing.assert_array_equal(net.predict(moved), net.predict(X))
        np.testing.assert_array_equal(net.predict_one(moved[0]), net.predict_one(X[0]))


# --------------------------------------------------------------------------------------------- instruction-set levels

# docs/decisions/same-bits.md states these bounds, and what was measured.
MOST_ULPS = 8  # between two values of an activation, each within 4 ULP of the true one
MOST_OF_A_PASS = 16  # units of rounding: predictions and gradients of these networks, relative to the largest
MOST_OF_A_TRAINING = 128  # and the weights of these short trainings


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_level_alone_decides_about_the_bits(dtype, simd_level):
    """Capped by the environment, a machine with more computes what one does that has no more."""
    capped = in_a_process(f"repeatable.digests({dtype!r})", CMLP_SIMD=simd_level)
    assert capped == repeatable.digests(dtype)


@pytest.fixture(params=_core.simd_levels()[1:])
def higher_level(request):
    return request.param


def at_level(level, function):
    before = _core.simd_level()
    _core.set_simd_level(level)
    try:
        return function()
    finally:
        _core.set_simd_level(before)


def relative(a, b):
    """How far a is from b, in units of rounding of b's largest entry."""
    return np.abs(a.astype(float) - b).max() / np.abs(b).max() / np.finfo(b.dtype).eps


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [name for name in _core.ACTIVATIONS if name != "softmax"])
def test_activations_of_two_levels_are_some_ulps_apart(name, dtype, higher_level):
    rng = np.random.default_rng(0)
    z = np.concatenate([rng.normal(scale=scale, size=20_000) for scale in (0.01, 1, 10, 60)]).astype(dtype)

    def activated():
        a = np.empty_like(z)
        _core.activate(_core.ACTIVATIONS[name], 1.0, np.concatenate([z, np.zeros(64, dtype)]), a)
        return a

    low, high = at_level("baseline", activated), at_level(higher_level, activated)
    finite = np.isfinite(low)
    np.testing.assert_array_equal(low[~finite], high[~finite])
    low, high = low[finite], high[finite]
    assert (np.abs(low - high) <= MOST_ULPS * np.spacing(np.minimum(np.abs(low), np.abs(high)))).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", repeatable.NETWORKS)
def test_passes_and_trainings_of_two_levels_stay_within_the_stated_bound(name, dtype, higher_level):
    X, y = repeatable.samples(dtype)
    net = repeatable.network(name, "sgd", dtype)

    def computed():
        return [net.predict(X), *net.gradients(X, y).weights, np.array([net.evaluate(X, y).loss], dtype)]

    for low, high in zip(at_level("baseline", computed), at_level(higher_level, computed), strict=True):
        assert relative(low, high) <= MOST_OF_A_PASS
    for optimizer in repeatable.OPTIMIZERS:

        def trained(optimizer=optimizer):
            return repeatable.train(repeatable.network(name, optimizer, dtype), X, y).weights

        for low, high in zip(at_level("baseline", trained), at_level(higher_level, trained), strict=True):
            assert relative(low, high) <= MOST_OF_A_TRAINING
