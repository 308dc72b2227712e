"""The record of a training run, and how a run can end before its time."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import cmlp
from cmlp._core import PER_SAMPLE_WAYS


def fitted(epochs=3, **settings):
    net = cmlp.MLP([3, 4, 1], seed=0)
    X = np.random.default_rng(0).normal(size=(20, 3))
    return net.fit(X, X[:, 0], epochs=epochs, **settings)


def test_its_length_is_the_number_of_epochs():
    assert len(fitted(4)) == 4
    assert len(cmlp.History()) == 0


def test_entries_by_name():
    history = fitted(validation=0.2)
    assert history["loss"] is history.loss
    assert history["stopped"] == "epochs"
    with pytest.raises(ValueError, match="did you mean 'validation_loss'"):
        history["val_loss"]


def test_the_repr_is_one_short_line():
    shown = repr(fitted(2, validation=0.2))
    assert shown.startswith("History(2 epochs, loss ")
    assert "validation_loss" in shown
    assert "stopped='epochs'" in shown
    assert len(shown) < 120
    assert repr(fitted(1)).startswith("History(1 epoch, ")


def test_to_frame_has_a_row_per_epoch_from_1():
    history = fitted(3, validation=0.2)
    frame = history.to_frame()
    assert frame.index.tolist() == [1, 2, 3]
    assert frame.index.name == "epoch"
    assert frame["validation_loss"].tolist() == history.validation_loss
    assert "objective" not in frame  # empty lists are left out
    assert len(cmlp.History().to_frame()) == 0


def test_to_frame_without_pandas_says_what_to_install(monkeypatch):
    history = fitted(1)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pandas is needed for History\.to_frame: pip install pandas"):
        history.to_frame()


def test_messages_count_epochs_from_1_as_progress_does(capsys):
    rates = [0.01, 1e30]
    net = cmlp.MLP([3, 4, 1], seed=0)
    X = np.random.default_rng(0).normal(size=(20, 3))
    with pytest.raises(cmlp.DivergenceError, match="diverged in epoch 2:") as caught:
        net.fit(X, X[:, 0], epochs=3, optimizer=cmlp.SGD(rates), progress=True)
    assert caught.value.epoch == 1  # as an index into the lists
    assert capsys.readouterr().err.startswith("epoch 1/3")


TARGETS = {  # loss: outputs, and targets of 90 samples
    "cross_entropy": (3, lambda rng: rng.integers(0, 3, 90)),
    "one-hot": (3, lambda rng: np.eye(3)[rng.integers(0, 3, 90)]),
    "binary_cross_entropy": (2, lambda rng: rng.integers(0, 2, (90, 2)).astype(float)),
    "hinge": (1, lambda rng: rng.choice([-1.0, 1.0], 90)),
}


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("way", ["by_operation", "in_blocks", "as_chain", "by batches", "one by the gradient"])
@pytest.mark.parametrize("weighted", [False, True])
def test_accuracy_is_that_of_every_sample_when_it_is_visited(kind, dtype, way, weighted):
    rng = np.random.default_rng(0)
    n_outputs, targets = TARGETS[kind]
    loss = "cross_entropy" if kind == "one-hot" else kind
    n = 60 if way == "in_blocks" else 3
    X, y = rng.normal(size=(90, n)).astype(dtype), targets(rng)
    weights = rng.uniform(0.5, 2, 90) if weighted else np.ones(90)
    net, twin = (cmlp.MLP([n, 5, n_outputs], loss=loss, dtype=dtype, seed=1, optimizer=cmlp.SGD(0.05)) for _ in "ab")
    if way in PER_SAMPLE_WAYS:
        net._model.program.per_sample = way
    batch = 32 if way == "by batches" else 1
    clip = {"clip_norm": 1e9} if way == "one by the gradient" else {}
    settings = {"batch_size": batch, "sample_weight": weights, **clip}
    history = net.fit(X, y, epochs=1, order="given", **settings)
    right = 0.0
    for start in range(0, 90, batch):
        rows = slice(start, start + batch)
        right += twin.evaluate(X[rows], y[rows], sample_weight=weights[rows]).accuracy * weights[rows].sum()
        twin.partial_fit(X[rows], y[rows], batch_size=batch, sample_weight=weights[rows], **clip)
    assert history.accuracy == [pytest.approx(right / weights.sum())]


def test_a_loss_of_values_has_no_accuracy():
    assert fitted(2).accuracy == []
