"""Ctrl-C wherever it comes leaves a network that fits together; tools/interrupt.py goes through all points."""

import io
import signal
import threading

import pytest
from helpers.interrupts import (
    SCENARIOS,
    Given,
    X,
    Y,
    check_consistent,
    check_works,
    count_points,
    network,
    run_point,
    state,
    states_seen,
)

import cmlp
from cmlp._core import Allowed, Postponed, see_interrupt


def press():
    signal.raise_signal(signal.SIGINT)


# ------------------------------------------------------------------------------------------------------------- injected


def _points_of(name, n):
    make = SCENARIOS[name]
    last = count_points(make)
    start = sum(map(ord, name)) % 89  # others in each scenario
    return sorted({1 + (start + k * last // n) % last for k in range(n)})


@pytest.mark.parametrize("name", SCENARIOS)
def test_ctrl_c_in_the_middle_of(name):
    seen = None if name.startswith("estimator") else states_seen(SCENARIOS[name])
    found = {point: run_point(SCENARIOS[name], (point,), seen) for point in _points_of(name, 4)}
    assert set(found.values()) == {None}


@pytest.mark.parametrize("name", ["fit_batches_adam", "fit_diverges_adam", "partial_fit_standardize", "save_over"])
def test_ctrl_c_in_the_middle_of_and_once_more(name):
    seen = states_seen(SCENARIOS[name])
    found = {point: run_point(SCENARIOS[name], (point, point + 7), seen) for point in _points_of(name, 12)}
    assert set(found.values()) == {None}


@pytest.mark.parametrize("name", ["set_optimizer", "set_optimizer_average", "set_learning_rate", "set_weights_average"])
def test_ctrl_c_in_the_middle_of_a_change(name):
    seen = states_seen(SCENARIOS[name])
    assert len(seen) == 2  # before and after
    points = range(1, count_points(SCENARIOS[name]) + 1, 13)
    assert {run_point(SCENARIOS[name], (point,), seen) for point in points} == {None}


# ------------------------------------------------------------------------------------------------ raised by users' code


@pytest.mark.parametrize("call", range(1, 19, 3))
def test_ctrl_c_in_a_schedule(call):
    calls = []

    def rate(t):
        calls.append(t)
        if len(calls) == call:
            press()
        return 0.01

    net, twin = (network() for _ in range(2))
    with pytest.raises(cmlp.TrainingInterrupted) as caught:
        net.fit(X, Y, epochs=4, order="given", optimizer=cmlp.SGD(rate))
    assert len(calls) == call
    done = (call - 1) // len(X)  # rates of an epoch are asked for before it
    assert len(caught.value.history) == done
    twin.optimizer = net.optimizer
    if done:
        twin.fit(X, Y, epochs=done, order="given")
    assert state(net) == state(twin)
    check_works(net)


@pytest.mark.parametrize("where", ["X", "y", "sample_weight", "validation"])
@pytest.mark.parametrize("how", ["fit", "partial_fit"])
def test_ctrl_c_while_samples_are_made(how, where):
    class Pressing(Given):
        def __array__(self, dtype=None, copy=None):
            press()
            raise AssertionError("Ctrl-C came too late")

    given = {"X": X, "y": Y}
    given[where] = (Pressing(X), Y) if where == "validation" else Pressing(X)
    if how == "partial_fit" and where == "validation":
        where, given = "X", {"X": Pressing(X), "y": Y}
    net, twin = (network(cmlp.Adam(0.01), standardize=True) for _ in range(2))
    with pytest.raises(KeyboardInterrupt):
        getattr(net, how)(**given)
    assert state(net) == state(twin)
    check_works(net)


def test_ctrl_c_in_a_callback_raises_there_and_then():
    after = []

    def callback(net, history):
        press()
        after.append("too late")

    with pytest.raises(cmlp.TrainingInterrupted):
        network().fit(X, Y, callbacks=[callback])
    assert after == []


def test_a_fit_within_a_callback_can_be_interrupted_too():
    seen = []

    def inner(net, history):
        press()

    def outer(net, history):
        try:
            network().fit(X, Y, epochs=3, callbacks=[inner])
        except cmlp.TrainingInterrupted as interrupted:
            seen.append(len(interrupted.history))
            raise

    with pytest.raises(cmlp.TrainingInterrupted) as caught:
        network().fit(X, Y, epochs=3, callbacks=[outer])
    assert (seen, len(caught.value.history)) == ([1], 1)


def test_a_second_ctrl_c_while_the_first_is_handled_adds_nothing():
    def callback(net, history):
        try:
            press()
        finally:
            presses.append(1)

    presses = []
    net = network(cmlp.Adam(0.01))
    with pytest.raises(cmlp.TrainingInterrupted):
        net.fit(X, Y, callbacks=[callback, callback])
    assert presses == [1]
    check_consistent(net)
    check_works(net)


def test_ctrl_c_while_a_file_object_is_written():
    class Pressing(io.BytesIO):
        def write(self, data):
            press()
            return super().write(data)

    net, file = network(), Pressing()
    with pytest.raises(KeyboardInterrupt):
        net.save(file)
    assert file.getvalue() == b""
    check_works(net)


# ---------------------------------------------------------------------------------------------------- how it is put off


def interrupted(act):
    """The KeyboardInterrupt that a function raises."""
    with pytest.raises(KeyboardInterrupt) as caught:
        act()
    return caught.value


def test_postponed_ctrl_c_raises_at_the_end_once():
    def act():
        with Postponed():
            press()
            press()
            done.append(1)

    done = []
    interrupted(act)
    assert done == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_postponed_ctrl_c_raises_where_it_is_looked_for():
    with Postponed():
        see_interrupt()
        press()
        interrupted(see_interrupt)
        see_interrupt()
    see_interrupt()


def test_postponed_within_postponed_waits_for_the_outer_one():
    def act():
        with Postponed():
            with Postponed():
                press()
            done.append(1)

    done = []
    interrupted(act)
    assert done == [1]


def test_allowed_ctrl_c_raises_at_once_and_so_does_what_has_waited():
    def users_code():
        with Allowed():
            press()
            done.append("too late")

    def act():
        with Postponed():
            interrupted(users_code)
            press()
            done.append(1)
            with Allowed():
                done.append("too late")

    done = []
    interrupted(act)
    assert done == [1]
    with Allowed():  # without a Postponed it is nothing
        pass


def test_an_error_on_the_way_is_the_context_of_ctrl_c():
    def act():
        with Postponed():
            press()
            raise ValueError("first")

    assert str(interrupted(act).__context__) == "first"


def test_ctrl_c_that_raises_already_is_not_replaced():
    def act():
        with Postponed():
            press()
            raise cmlp.TrainingInterrupted(cmlp.History())

    assert isinstance(interrupted(act), cmlp.TrainingInterrupted)


@pytest.fixture
def handler_of_ones_own():
    """A handler of SIGINT that only notes the signal."""
    noted = []
    before = signal.signal(signal.SIGINT, lambda number, frame: noted.append(number))
    yield noted
    signal.signal(signal.SIGINT, before)


def test_a_handler_of_ones_own_is_called_afterwards(handler_of_ones_own):
    mine = signal.getsignal(signal.SIGINT)
    with Postponed():
        press()
        assert handler_of_ones_own == []
    assert handler_of_ones_own == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is mine
    assert len(network().fit(X, Y, epochs=2, callbacks=[lambda net, history: press()])) == 2
    assert len(handler_of_ones_own) == 3


@pytest.mark.parametrize("action", [signal.SIG_IGN, signal.SIG_DFL])
def test_a_callback_may_change_what_ctrl_c_does(action):
    def ignore(net, history):
        signal.signal(signal.SIGINT, action)

    try:
        network().fit(X, Y, epochs=2, callbacks=[ignore])
        assert signal.getsignal(signal.SIGINT) is action
        network().fit(X, Y, epochs=2)
        assert signal.getsignal(signal.SIGINT) is action
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_other_threads_neither_wait_nor_raise():
    def fit():
        handler = signal.getsignal(signal.SIGINT)
        with Postponed():
            see_interrupt()
            histories.append(network().fit(X, Y, epochs=2))
            assert signal.getsignal(signal.SIGINT) is handler

    def fit_in_a_thread():
        thread = threading.Thread(target=fit)
        thread.start()
        thread.join()

    def act():
        with Postponed():
            press()
            fit_in_a_thread()

    histories = []
    fit_in_a_thread()
    interrupted(act)
    assert [len(history) for history in histories] == [2, 2]


def test_a_history_stays_rectangular_when_validation_fails(monkeypatch):
    evaluate = cmlp._engine.model.Model.evaluate

    def evaluate_once(self, samples):
        if histories:
            raise MemoryError
        return evaluate(self, samples)

    histories = []
    monkeypatch.setattr("cmlp._engine.model.Model.evaluate", evaluate_once)
    with pytest.raises(MemoryError):
        network().fit(X, Y, validation=(X, Y), callbacks=[lambda net, history: histories.append(history)])
    assert len(histories[0].loss) == len(histories[0].validation_loss) == 1
