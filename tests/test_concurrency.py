"""One network in several threads, threads and processes that are forked, signals, interpreters, small stacks.

CMLP_ROUNDS=50 python -m pytest tests/test_concurrency.py  does what threads do at random so many times as often.
"""

import copy
import io
import os
import pickle
import signal
import sys

import numpy as np
import pytest
from helpers.threads import in_another_thread, in_threads, run_program

import cmlp

X = np.random.default_rng(0).normal(size=(150, 5)).astype("float32")
Y = np.random.default_rng(1).normal(size=(150, 2)).astype("float32")
ROUNDS = int(os.environ.get("CMLP_ROUNDS", "1"))
TAKEN = "another thread is training or changing this network"


def network(**settings):
    return cmlp.MLP([5, 9, 2], activation="tanh", **{"seed": 0, **settings})


READS = {
    "predict": lambda net, rows: net.predict(X[rows]),
    "predict_in_two_threads": lambda net, rows: net.predict(X[rows], n_threads=2),
    "predict_one": lambda net, rows: net.predict_one(X[rows][0].tolist()),
    "evaluate": lambda net, rows: np.array(net.evaluate(X[rows], Y[rows]).loss),
    "gradients": lambda net, rows: net.gradients(X[rows], Y[rows]).weights[0],
    "forward": lambda net, rows: net.forward(X[rows])[1],
}
CHANGES = {
    "fit": lambda net: net.fit(X, Y, epochs=1),
    "fit_with_another_optimizer": lambda net: net.fit(X, Y, optimizer="adam"),
    "partial_fit": lambda net: net.partial_fit(X, Y),
    "learn_one": lambda net: net.learn_one(X[0], Y[0]),
    "learn_one_slowly": lambda net: net.learn_one(X[0].astype("float16"), Y[0].astype("float16")),
    "optimizer": lambda net: setattr(net, "optimizer", cmlp.Adam()),
    "learning_rate": lambda net: setattr(net, "learning_rate", 0.005),
    "weights": lambda net: setattr(net, "weights", [W * 0 for W in net.weights]),
    "biases": lambda net: setattr(net, "biases", [b * 0 for b in net.biases]),
}
COPIES = {
    "save": lambda net: net.save(io.BytesIO()),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": pickle.dumps,
}


def state(net):
    return pickle.dumps(net)


@pytest.mark.parametrize("options", [{}, {"standardize": True, "missing": "mean"}], ids=["plain", "scaled"])
@pytest.mark.parametrize("what", READS)
def test_one_network_predicts_in_eight_threads_the_same_bits_as_in_one(what, options):
    net = network(**options)
    net.partial_fit(X, Y)
    slices = [slice(start, start + 1 + 17 * start % 140) for start in range(8)]
    expected = [READS[what](net, rows) for rows in slices]
    before = state(net)

    def work(thread):
        for i in range(thread, thread + 24 * ROUNDS):
            np.testing.assert_array_equal(READS[what](net, slices[i % 8]), expected[i % 8])

    in_threads([lambda thread=thread: work(thread) for thread in range(8)])
    assert state(net) == before


def test_networks_of_their_own_train_in_eight_threads_the_same_bits_as_alone():
    optimizers = [cmlp.SGD(0.01), cmlp.SGD(0.01, momentum=0.9), cmlp.Adam(), cmlp.Rprop()]

    def train(i):
        net = network(seed=i, optimizer=optimizers[i % 4], dropout=0.2 if i > 5 else 0.0)
        batch = "auto" if i % 4 == 3 else (1, 16)[i % 2]
        net.fit(X, Y, epochs=3, batch_size=batch, n_threads=1 + i % 2)
        if i % 4 != 3:
            net.partial_fit(X, Y)
            for x, y in zip(X, Y, strict=True):
                net.learn_one(x, y)
        return state(net)

    for _ in range(ROUNDS):
        assert in_threads([lambda i=i: train(i) for i in range(8)]) == [train(i) for i in range(8)]


@pytest.mark.parametrize("what", CHANGES | COPIES)
def test_while_one_thread_trains_another_is_refused_and_nothing_has_changed(what):
    seen = []

    def trial(net, _):
        before = state(net)
        with pytest.raises(RuntimeError, match=TAKEN):
            in_another_thread(lambda: (CHANGES | COPIES)[what](net))
        seen.append(state(net) == before)

    net, alone = network(), network()
    net.fit(X, Y, epochs=3, callbacks=[trial])
    alone.fit(X, Y, epochs=3)
    assert seen == [True] * 3
    assert state(net) == state(alone)
    in_another_thread(lambda: (CHANGES | COPIES)[what](net))  # afterwards it may


@pytest.mark.parametrize("what", READS)
def test_while_one_thread_trains_another_predicts(what):
    found = []

    def trial(net, _):
        found.append(in_another_thread(lambda: READS[what](net, slice(9))))
        np.testing.assert_array_equal(found[-1], READS[what](net, slice(9)))

    network().fit(X, Y, epochs=3, callbacks=[trial])
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    "what", [name for name in CHANGES | COPIES if name not in ("optimizer", "fit_with_another_optimizer")]
)
def test_the_thread_that_trains_goes_on_in_its_callbacks(what):
    net = network()
    net.fit(X, Y, epochs=3, callbacks=[lambda net, _: (CHANGES | COPIES)[what](net) and None])
    in_another_thread(lambda: net.fit(X, Y))


def test_partial_fit_and_estimators_refuse_too():
    refused = []

    def rate(_):
        with pytest.raises(RuntimeError, match=TAKEN):
            in_another_thread(lambda: net.partial_fit(X, Y))
        refused.append(True)
        return 0.01

    net = network(optimizer=cmlp.SGD(rate))
    net.partial_fit(X[:3], Y[:3])
    assert len(refused) == 3


def test_an_estimator_is_fitted_by_one_thread_at_a_time(monkeypatch):
    from cmlp.estimators import base

    model, train = cmlp.MLPRegressor(max_iter=2, tol=0.0, n_iter_no_change=9), base.fit_stochastic
    tried = []

    def trial(*args, **options):
        for call in (lambda: model.fit(X, Y), lambda: model.partial_fit(X, Y), lambda: model.network_.fit(X, Y)):
            with pytest.raises(RuntimeError, match=TAKEN):
                in_another_thread(call)
            tried.append(call)
        train(*args, **options)

    monkeypatch.setattr(base, "fit_stochastic", trial)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        model.fit(X, Y)
    assert len(tried) == 3
    monkeypatch.setattr(base, "fit_stochastic", train)
    in_another_thread(lambda: model.partial_fit(X, Y))
    assert copy.deepcopy(model).predict(X[:1]).tolist() == model.predict(X[:1]).tolist()


def raising(error):
    def callback(*_):
        raise error

    return callback


@pytest.mark.parametrize("how", ["refused", "diverged", "interrupted", "raised"])
def test_whatever_ends_a_call_the_network_is_free_for_another_thread(how):
    net = network()
    ends = {
        "refused": (ValueError, lambda: net.fit(X, Y[1:])),
        "diverged": (cmlp.DivergenceError, lambda: net.fit(X, Y, optimizer=cmlp.SGD(1e30))),
        "interrupted": (KeyboardInterrupt, lambda: net.fit(X, Y, callbacks=[raising(KeyboardInterrupt)])),
        "raised": (ZeroDivisionError, lambda: net.fit(X, Y, callbacks=[raising(ZeroDivisionError)])),
    }
    kind, call = ends[how]
    with pytest.raises(kind):
        call()
    in_another_thread(lambda: net.fit(X, Y, optimizer="sgd"))


def test_a_copy_that_learning_overtakes_is_refused_and_a_file_is_of_one_moment():
    net = network()
    net.learn_one(X[0], Y[0])
    with pytest.raises(RuntimeError, match=TAKEN):
        net._model.claim.read(net._model, lambda: net.learn_one(X[0], Y[0]))

    class Slow(io.BytesIO):
        def write(self, data):
            in_another_thread(lambda: net.partial_fit(X, Y))
            return super().write(data)

    before, file = net.predict(X), Slow()
    net.save(file)
    assert not np.array_equal(net.predict(X), before)
    np.testing.assert_array_equal(cmlp.load(io.BytesIO(file.getvalue())).predict(X), before)


def test_threads_that_all_do_everything_get_an_answer_or_the_error():
    """w is n_steps · 2^-10 exactly after every step: a copy made in between would show."""
    sgd = cmlp.SGD(2.0**-10)
    net = cmlp.MLP([1, 1], bias=False, init="zeros", loss="absolute_error", optimizer=sgd, dtype="float64")
    ones, far = np.ones((64, 1)), np.full((64, 1), 1e9)
    done, refusals = [], []
    calls = [
        lambda: net.fit(ones, far, epochs=2, order="given"),
        lambda: net.partial_fit(ones, far),
        lambda: [net.learn_one(ones[0], far[0]) for _ in range(50)],
        lambda: copy.deepcopy(net),
        lambda: pickle.loads(pickle.dumps(net)),
        lambda: net.predict(ones),
    ]

    def work(thread):
        for i in range(60 * ROUNDS):
            try:
                found = calls[(thread + i) % len(calls)]()
            except RuntimeError as error:
                refusals.append(str(error))
                continue
            done.append(found)
            if isinstance(found, cmlp.MLP):
                assert found.weights[0].item() == found.n_steps * 2.0**-10

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        in_threads([lambda thread=thread: work(thread) for thread in range(4)])
    finally:
        sys.setswitchinterval(interval)
    assert net.weights[0].item() == net.n_steps * 2.0**-10
    assert done
    assert all(TAKEN in refusal for refusal in refusals)


def test_threads_with_small_stacks():
    net, found = network(), []
    expected = [read(net, slice(9)) for read in READS.values()]

    def work():
        found.extend(read(net, slice(9)) for read in READS.values())
        net.learn_one(X[0], Y[0])
        net.partial_fit(X, Y)
        net.fit(X, Y, epochs=1)

    in_threads([work], stack=64 * 1024)
    for got, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


FORKS = """
import io, os, pickle, signal, threading
import numpy as np, cmlp
X, Y = np.random.default_rng(0).normal(size=(2000, 5)), np.random.default_rng(1).normal(size=(2000, 2))

def network(seed):
    return cmlp.MLP([5, 9, 2], seed=seed, optimizer=cmlp.Adam(), dtype="float64", dropout=0.1)

def train(net):
    net.fit(X, Y, epochs=2, batch_size=200, n_threads=2)
    return pickle.dumps(net)

def child(busy, in_callback=False):
    signal.alarm(300)  # a deadlock ends
    assert train(idle) == expected[0] and train(network(1)) == expected[1]
    before = busy.predict(X)
    assert np.isfinite(before).all()
    busy.save(io.BytesIO())
    for x, y in zip(X[:50], Y[:50]):
        busy.learn_one(x, y)
    train(busy)
    if not in_callback:  # which still has it, as in the parent
        busy.optimizer = cmlp.SGD(0.01)
        worker = threading.Thread(target=train, args=(busy,))
        worker.start()
        worker.join()
    assert np.isfinite(busy.predict(X)).all() and not np.array_equal(busy.predict(X), before)

def forked(*arguments):
    pid = os.fork()
    if pid == 0:
        try:
            child(*arguments)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

busy, idle, stop = network(0), network(0), threading.Event()
expected = [train(network(0)), train(network(1))]
began = threading.Event()

def go_on():
    while not stop.is_set():
        busy.fit(X, Y, epochs=1, batch_size=100, n_threads=2, callbacks=[lambda *_: began.set()])

worker = threading.Thread(target=go_on)
worker.start()
began.wait()
codes = [forked(busy) for _ in range({children})]
stop.set()
worker.join()
codes.append(forked(busy))

inside = []
network(3).fit(X, Y, epochs=1, callbacks=[lambda net, _: inside.append(forked(net, True))])
print(codes + inside)
"""


def test_a_child_that_is_forked_predicts_and_trains_whatever_its_parent_was_doing():
    children = 5 * ROUNDS
    assert run_program(FORKS.replace("{children}", str(children))) == f"{[0] * (children + 2)}\n"


def test_a_child_whose_parent_was_drawing_numbers_has_a_generator_of_its_own():
    """The lock of a NumPy generator that another thread held at a fork is never released in the child."""
    program = """
import copy, os, signal, threading
import numpy as np, cmlp
net = cmlp.MLP([1, 1], seed=0)
held, done = threading.Event(), threading.Event()
def hold(net, _):
    with net._model.rng.bit_generator.lock:
        held.set()
        done.wait()
worker = threading.Thread(target=lambda: net.fit([[1]], [1], epochs=1, callbacks=[hold]))
worker.start()
held.wait()
pid = os.fork()
if pid == 0:
    signal.alarm(300)
    copy.deepcopy(net)
    net.fit([[1], [2]], [1, 2], optimizer="adam")
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
done.set()
worker.join()
"""
    assert run_program(program) == "0\n"


def test_signal_handlers_may_do_what_callbacks_may():
    """The handler comes in the middle of an epoch, between two chunks."""
    net, found = network(optimizer=cmlp.SGD(lambda t: signal.raise_signal(signal.SIGUSR1) or 0.01)), []

    def handler(*_):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        found.extend(float(np.sum(read(net, slice(9)))) for read in READS.values())
        steps = net.n_steps
        net.learn_one(X[0], Y[0])
        net.partial_fit(X[:4], Y[:4])
        found.append(net.n_steps - steps)
        net.learning_rate = 0.01
        copy.deepcopy(net)
        with pytest.raises(RuntimeError, match="middle of fit"):
            net.optimizer = "adam"
        signal.signal(signal.SIGUSR1, handler)

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        net.fit(X, Y, epochs=2)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert np.isfinite(found).all()
    assert found[-1] == 5
    assert net.n_steps == 2 * 150 + 150 * 5  # the rate of every step of the first epoch, then a constant
    assert np.isfinite(net.predict(X)).all()


INTERPRETERS = """
import sys
import numpy, cmlp._core
if sys.version_info < (3, 13):
    import _xxsubinterpreters as interpreters
else:
    import _interpreters as interpreters
program = '''
try:
    import cmlp
    print("imported")
except ImportError as error:
    print(f"{type(error).__name__}: {error}")
'''
import warnings
failed = interpreters.run_string(interpreters.create(), "import warnings; warnings.simplefilter('ignore')\\n" + program)
print(failed)
"""


def test_a_second_interpreter_is_refused():
    found = run_program(INTERPRETERS)
    assert found.startswith("ImportError: ")
    assert "interpreter" in found
    assert found.endswith("None\n")
