"""How the estimators train, beyond what scikit-learn's do; and how training goes wrong."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from helpers.estimators import (
    CURVE,
    KINDS,
    X_diabetes,
    X_iris,
    Y_diabetes,
    fitted,
    parameters_of,
    some_weights,
    y_diabetes,
    y_iris,
)
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, log_loss, r2_score
from sklearn.utils.class_weight import compute_sample_weight

import cmlp
from cmlp.estimators import MLPClassifier, MLPRegressor


@pytest.mark.parametrize("weights", ["balanced", {0: 1.0, 1: 5.0, 2: 0.5}])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_class_weight_multiplies_the_sample_weight(weights, solver):
    X, y = X_iris[:120], y_iris[:120]
    sample_weight = some_weights[:120]
    a = MLPClassifier(class_weight=weights, solver=solver, max_iter=5, random_state=0)
    b = MLPClassifier(solver=solver, max_iter=5, random_state=0)
    fitted(a, X, y, sample_weight=sample_weight)
    fitted(b, X, y, sample_weight=sample_weight * compute_sample_weight(weights, y))
    assert all(np.array_equal(p, q) for p, q in zip(parameters_of(a), parameters_of(b), strict=True))
    assert not np.array_equal(fitted(clone(b), X, y).coefs_[0], a.coefs_[0])


def test_balanced_classes_need_all_targets():
    model = MLPClassifier(class_weight="balanced")
    with pytest.raises(ValueError, match="partial_fit"):
        model.partial_fit(X_iris, y_iris, classes=[0, 1, 2])
    MLPClassifier(class_weight={0: 2.0}).partial_fit(X_iris, y_iris, classes=[0, 1, 2])


def test_activations_by_name_and_by_layer():
    model = MLPRegressor(hidden_layer_sizes=(4, 3), activation=["logistic", "leaky_relu"], max_iter=2, random_state=0)
    fitted(model, X_diabetes, y_diabetes)
    first, second, last = [layer.activation for layer in model.network_.layers.layers]
    assert (first, second, last) == ("sigmoid", "leaky_relu", "identity")
    same = [
        MLPRegressor(hidden_layer_sizes=(4, 3), activation=f, max_iter=2, random_state=0)
        for f in ("tanh", ("tanh",) * 2)
    ]
    a, b = (fitted(model, X_diabetes, y_diabetes) for model in same)
    assert np.array_equal(a.coefs_[0], b.coefs_[0])
    with pytest.raises(ValueError, match="one per hidden layer"):
        MLPRegressor(hidden_layer_sizes=(4, 3), activation=["relu"]).fit(X_diabetes, y_diabetes)


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_is_of_training_only_and_seeded(kind):
    def learnt(**parameters):
        model = getattr(cmlp, kind)(hidden_layer_sizes=(30, 20), max_iter=5, random_state=0).set_params(**parameters)
        return fitted(model, X_iris, y_iris)

    model = learnt(dropout=0.5)
    assert np.array_equal(model.coefs_[0], learnt(dropout=[0.5, 0.5], n_threads=2).coefs_[0])
    assert not np.allclose(model.coefs_[0], learnt().coefs_[0])
    assert not np.allclose(model.coefs_[0], learnt(dropout=[0.5, 0]).coefs_[0])
    other = learnt(dropout=0.5, random_state=1)
    assert not np.allclose(model.coefs_[1], other.coefs_[1])
    assert np.array_equal(model.predict(X_iris), model.predict(X_iris))
    again = copy.deepcopy(model)
    for one in (model, again):
        one.partial_fit(X_iris, y_iris)
    assert np.array_equal(model.coefs_[0], again.coefs_[0])


def test_l1_and_max_norm_are_those_of_the_optimizer():
    for solver, kind in (("sgd", cmlp.SGD), ("adam", cmlp.Adam)):
        settings = {"solver": solver, "momentum": 0, "epsilon": 1e-3, "max_iter": 30, "random_state": 0}
        model = MLPRegressor(l1=0.05, learning_rate_init=0.01, **settings)
        fitted(model, X_diabetes, y_diabetes)
        free = fitted(clone(model).set_params(l1=0), X_diabetes, y_diabetes)
        assert np.abs(model.coefs_[0]).sum() < 0.9 * np.abs(free.coefs_[0]).sum()
        if solver == "sgd":
            same = fitted(MLPRegressor(optimizer=kind(0.01, l1=0.05), **settings), X_diabetes, y_diabetes)
            assert np.array_equal(same.coefs_[0], model.coefs_[0])
        short = fitted(MLPRegressor(max_norm=0.3, learning_rate_init=0.01, **settings), X_diabetes, y_diabetes)
        for W in short.coefs_:
            assert np.linalg.norm(W, axis=0).max() <= 0.3 * (1 + 1e-12)
    with pytest.raises(ValueError, match="its own"):
        MLPRegressor(l1=0.1, optimizer=cmlp.SGD()).fit(X_diabetes, y_diabetes)


@pytest.mark.parametrize("parameter", [{"l1": 0.1}, {"max_norm": 1.0}, {"dropout": 0.5}, {"clip_norm": 1.0}])
def test_what_lbfgs_cannot_do_is_refused(parameter):
    with pytest.raises(ValueError, match=f"{next(iter(parameter))} needs a stochastic solver"):
        MLPRegressor(solver="lbfgs", **parameter).fit(X_diabetes, y_diabetes)


@pytest.mark.parametrize("averaging", [cmlp.EMA(0.9), cmlp.SWA(2)])
def test_averages_are_those_of_the_network(averaging):
    optimizer = cmlp.SGD(0.05, averaging=averaging)
    model = MLPRegressor(optimizer=optimizer, alpha=0, shuffle=False, random_state=0)
    start = copy.deepcopy(
        fitted(clone(model).set_params(optimizer=cmlp.SGD(1e-300), max_iter=1), X_diabetes, y_diabetes)
    )
    fitted(model.set_params(max_iter=6), X_diabetes, y_diabetes)
    net = start.network_
    net.fit(X_diabetes, y_diabetes, epochs=6, batch_size=None, order="given", optimizer=optimizer)
    np.testing.assert_allclose(model.coefs_[0], net.weights[0], **CURVE)


def test_an_optimizer_takes_the_place_of_the_solver():
    chosen = MLPRegressor(optimizer=cmlp.SGD(0.01, momentum=0.9, nesterov=True), max_iter=4, random_state=0)
    usual = MLPRegressor(solver="sgd", learning_rate_init=0.01, max_iter=4, random_state=0)
    for model in (chosen, usual):
        fitted(model, X_diabetes, y_diabetes)
    assert np.array_equal(chosen.coefs_[0], usual.coefs_[0])
    decaying = cmlp.SGD(cmlp.schedules.InverseTime(0.1))
    model = fitted(MLPRegressor(optimizer=decaying, batch_size=50, max_iter=4, random_state=0), X_diabetes, y_diabetes)
    assert model.network_.n_steps == 12
    assert model._optimizer is decaying


def test_an_optimizer_that_wants_all_samples_is_refused():
    class FullBatch(cmlp.SGD):
        full_batch = True

    with pytest.raises(ValueError, match="FullBatch takes all samples at once"):
        MLPRegressor(optimizer=FullBatch()).fit(X_diabetes, y_diabetes)


def test_weight_decay_of_the_optimizer_adds_to_alpha():
    model = MLPRegressor(
        optimizer=cmlp.SGD(0.1, weight_decay=0.5), alpha=10.0, max_iter=1, random_state=0, shuffle=False
    )
    fitted(model, X_diabetes, y_diabetes)
    start = fitted(clone(model).set_params(optimizer=cmlp.SGD(1e-12)), X_diabetes, y_diabetes)  # 1e-12 · g is nothing
    gradient = start.network_.gradients(X_diabetes, y_diabetes).weights[1]
    W = start.coefs_[1]
    np.testing.assert_allclose(model.coefs_[1], W - 0.1 * (gradient + (0.5 + 10.0 / 150) * W), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("clip", ["clip_delta", "clip_value", "clip_norm"])
def test_clipping_is_that_of_the_network(clip):
    limit = {clip: 0.01}
    model = MLPRegressor(solver="sgd", momentum=0, alpha=0, learning_rate_init=0.1, max_iter=1, shuffle=False, **limit)
    free = fitted(clone(model).set_params(learning_rate_init=1e-300, random_state=0), X_diabetes, y_diabetes)
    net = copy.deepcopy(free.network_)
    net.fit(X_diabetes, y_diabetes, epochs=1, batch_size=None, order="given", optimizer=cmlp.SGD(0.1), **limit)
    model.set_params(random_state=0)
    fitted(model, X_diabetes, y_diabetes)
    for ours, theirs in zip(model.coefs_, net.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, **CURVE)
    unclipped = fitted(clone(model).set_params(**{clip: None}), X_diabetes, y_diabetes)
    assert not np.allclose(unclipped.coefs_[0], model.coefs_[0])


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_callbacks_see_every_epoch_and_can_stop(solver):
    seen = []
    callbacks = [lambda model: model.n_iter_ == 3, lambda model: seen.append((model.n_iter_, model.loss_))]
    model = MLPRegressor(solver=solver, callbacks=callbacks, random_state=0)
    model.fit(X_diabetes, y_diabetes)
    assert [n for n, _ in seen] == [1, 2, 3]
    assert [loss for _, loss in seen] == model.loss_curve_
    assert model.n_iter_ == 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_threads_change_nothing(kind, solver):
    models = [getattr(cmlp, kind)(solver=solver, max_iter=4, random_state=0, n_threads=n) for n in (1, 2, 3)]
    fits = [parameters_of(fitted(model, X_iris, y_iris)) for model in models]
    for others in fits[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(fits[0], others, strict=True))


@pytest.mark.parametrize("dtype", ["float32", np.float64])
def test_dtype_is_that_of_the_parameters(dtype):
    for solver in ("adam", "lbfgs"):
        model = fitted(MLPRegressor(dtype=dtype, solver=solver, max_iter=3), X_diabetes.astype(np.float32), y_diabetes)
        assert {array.dtype for array in parameters_of(model)} == {np.dtype(dtype)}
        assert model.predict(X_diabetes).dtype == np.dtype(dtype)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_warm_start_can_keep_the_optimizer(solver):
    parameters = {"solver": solver, "shuffle": False, "random_state": 0, "learning_rate": "invscaling"}
    long = fitted(MLPRegressor(max_iter=6, **parameters), X_diabetes, y_diabetes)
    short = MLPRegressor(max_iter=3, warm_start="optimizer", **parameters)
    fitted(fitted(short, X_diabetes, y_diabetes), X_diabetes, y_diabetes)
    assert np.array_equal(short.coefs_[0], long.coefs_[0])
    reset = MLPRegressor(max_iter=3, warm_start=True, **parameters)
    fitted(fitted(reset, X_diabetes, y_diabetes), X_diabetes, y_diabetes)
    assert not np.array_equal(reset.coefs_[0], long.coefs_[0])


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_validation_data_gives_curves(solver):
    model = MLPClassifier(solver=solver, max_iter=5, random_state=0, alpha=0.1)
    fitted(model, X_iris[::2], y_iris[::2], validation_data=(X_iris[1::2], y_iris[1::2]))
    assert len(model.validation_loss_curve_) == len(model.validation_scores_) == model.n_iter_
    expected = log_loss(y_iris[1::2], model.predict_proba(X_iris[1::2]))
    np.testing.assert_allclose(model.validation_loss_curve_[-1], expected)
    expected = accuracy_score(y_iris[1::2], model.predict(X_iris[1::2]))
    assert model.validation_scores_[-1] == pytest.approx(expected)
    assert fitted(model, X_iris, y_iris).validation_loss_curve_ is None


def test_validation_data_need_not_have_all_classes():
    model = MLPClassifier(max_iter=2, warm_start=True)
    for _ in range(2):
        fitted(model, X_iris, y_iris, validation_data=(X_iris[:40], y_iris[:40, None].ravel()))
    with pytest.raises(ValueError, match="classes not in"):
        fitted(model, X_iris, y_iris, validation_data=(X_iris[:40], y_iris[:40] + 3))


def test_early_stopping_with_an_optimizer_does_not_ask_for_the_solver():
    model = MLPRegressor(solver="lbfgs", optimizer=cmlp.Adam(), early_stopping=True, max_iter=4)
    fitted(model, X_diabetes, y_diabetes)
    assert len(model.validation_scores_) == 4
    model.set_params(early_stopping=False).partial_fit(X_diabetes, y_diabetes)


def test_early_stopping_with_validation_data_learns_from_all_rows():
    model = MLPRegressor(early_stopping=True, max_iter=300, learning_rate_init=0.01, random_state=0)
    fitted(model, X_diabetes, Y_diabetes, validation_data=(X_diabetes[:40], Y_diabetes[:40]))
    assert model.t_ == 150 * model.n_iter_
    score = r2_score(Y_diabetes[:40], model.predict(X_diabetes[:40]))
    assert model.best_validation_score_ == pytest.approx(score) == pytest.approx(max(model.validation_scores_))
    with pytest.raises(ValueError, match=r"pair \(X, y\)"):
        model.fit(X_diabetes, Y_diabetes, validation_data=X_diabetes)


# ------------------------------------------------------------------------------------------ when things go wrong


def test_divergence_says_where():
    model = MLPRegressor(solver="sgd", learning_rate_init=1e30, random_state=0)
    where = r"In epoch \d+, the (net input|parameters|loss) .* (layer \d|at row \d)"
    with pytest.raises(ValueError, match=rf"non-finite parameter weights\..* {where}"):
        model.fit(X_diabetes, y_diabetes)


def test_divergence_under_early_stopping_keeps_the_best():
    model = MLPRegressor(solver="sgd", learning_rate_init=1e30, early_stopping=True, random_state=0)
    with pytest.warns(ConvergenceWarning, match="diverged"):
        model.fit(X_diabetes, y_diabetes)
    assert np.isfinite(model.predict(X_diabetes)).all()
    assert np.isnan(model.validation_scores_[-1])


def test_ctrl_c_keeps_what_was_learnt():
    def interrupt(model):
        if model.n_iter_ == 2:
            raise KeyboardInterrupt

    model = MLPRegressor(callbacks=[interrupt], random_state=0)
    with pytest.warns(UserWarning, match="interrupted by user"):
        model.fit(X_diabetes, y_diabetes)
    assert model.n_iter_ == 2
    model.predict(X_diabetes)


def test_weights_that_sum_to_zero_are_refused():
    with pytest.raises(ValueError, match=r"at least one non-zero|must be > 0"):
        MLPRegressor().fit(X_diabetes, y_diabetes, sample_weight=np.zeros(150))


def test_a_batch_without_weight_changes_nothing_but_momentum():
    weights = np.r_[np.ones(50), np.zeros(100)]
    settings = {"solver": "sgd", "momentum": 0, "batch_size": 50, "max_iter": 1, "shuffle": False, "random_state": 0}
    a = fitted(MLPRegressor(**settings), X_diabetes, y_diabetes, sample_weight=weights)
    b = fitted(MLPRegressor(**settings), X_diabetes[:50], y_diabetes[:50])
    assert np.array_equal(a.coefs_[0], b.coefs_[0])
