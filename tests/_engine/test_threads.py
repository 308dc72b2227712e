"""Which number of threads a call gets."""

from itertools import pairwise

import pytest

import cmlp
from cmlp._engine import threads
from cmlp._engine.threads import Crossover


@pytest.fixture(autouse=True)
def four_processors(monkeypatch):
    monkeypatch.setattr(threads, "available_processors", lambda: 4)


def choices(crossover, calls, seconds):
    """Let calls with 1000 samples take seconds[n_threads] each; return how many threads they got."""
    found = []
    for _ in range(calls):
        found.append(crossover.next(1000))
        crossover.took(found[-1], 1000, seconds[found[-1]])
    return found


@pytest.mark.parametrize(("seconds", "best", "other"), [({1: 2.0, 4: 1.0}, 4, 1), ({1: 1.0, 4: 1.5}, 1, 4)])
def test_auto_tries_both_and_the_slower_ever_less_often(seconds, best, other):
    found = choices(Crossover(None, 100, 10), 1000, seconds)
    assert found[:2] == [4, 1]
    trials = [i for i, n in enumerate(found) if n == other][1:]
    gaps = [later - earlier for earlier, later in pairwise(trials)]
    assert gaps == sorted(gaps)
    assert gaps[-1] == 65
    assert found.count(best) > 980


def test_auto_goes_back_to_one_thread_as_soon_as_several_get_slower_and_on_when_they_are_faster():
    crossover = Crossover(None, 100, 10)
    choices(crossover, 100, {1: 2.0, 4: 1.0})
    assert choices(crossover, 5, {1: 2.0, 4: 3.0}) == [4, 1, 1, 1, 1]
    found = choices(crossover, 200, {1: 2.0, 4: 1.0})
    assert 4 in found[:70]
    assert found[-1] == 4


def test_auto_tries_again_when_the_machine_gets_slower_as_a_whole():
    crossover = Crossover(None, 100, 10)
    choices(crossover, 100, {1: 2.0, 4: 1.0})
    assert choices(crossover, 50, {1: 20.0, 4: 10.0}).count(1) < 8


def test_a_given_number_is_kept_whatever_it_takes():
    assert choices(Crossover(2, 100, 10), 5, {1: 1.0, 2: 9.0}) == [2] * 5


@pytest.mark.parametrize(("batch_size", "most"), [(1, 1), (4, 1), (5, 2), (9, 3), (100, 3)])
def test_rows_are_divided_by_fours(batch_size, most):
    assert Crossover(3, batch_size, 10).most == most


def test_little_work_is_not_divided(monkeypatch):
    monkeypatch.setattr(threads, "LEAST_AT_ONCE", 1000)
    monkeypatch.setattr(threads, "LEAST_PER_CALL", 5000)
    assert Crossover(2, 99, 10).next(10_000) == 1  # rows at once
    assert Crossover(2, 100, 10).next(499) == 1  # rows of a call
    assert Crossover(2, 100, 10).next(500) == 2
    assert Crossover(2, 10_000, 1).next(10_000) == 1  # no more than 128 rows go at once


def test_a_network_trains_the_same_bits_while_auto_changes_its_mind(monkeypatch):
    X, y = cmlp.datasets.load_digits()
    expected = None
    for seconds in ({1: 1.0, 2: 2.0}, {1: 2.0, 2: 1.0}):
        took = Crossover.took
        monkeypatch.setattr(threads, "available_processors", lambda: 2)
        monkeypatch.setattr(Crossover, "took", lambda c, n, m, _, s=seconds, took=took: took(c, n, m, s[n] * m))
        monkeypatch.setattr("cmlp._engine.passes.CHUNK_NANOSECONDS", 1)
        net = cmlp.MLP([64, 20, 10], loss="cross_entropy", seed=0)
        history = net.fit(X / 16, y, epochs=2, batch_size=32, n_threads="auto")
        expected = expected or (history.loss, net.weights[0].tolist())
        assert (history.loss, net.weights[0].tolist()) == expected
