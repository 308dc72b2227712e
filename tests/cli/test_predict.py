import csv
import io
import os

import numpy as np
import pytest
from helpers.command import error_of, output_of, read_rows, write_houses, write_plants, write_table

import cmlp
from cmlp.cli.main import main


def test_classes_of_rows_whose_columns_come_in_another_order(capsys):
    write_plants()
    output_of(capsys, "train", "plants.csv", "--target", "kind", "--ignore", "noise", "--epochs", 30)
    # the column without influence is another constant
    rows = read_rows("plants.csv")
    write_table("new.csv", ["width", "x", "mass", "legs"], [(r["width"], "?", r["mass"], 1e9) for r in rows])
    out, err = output_of(capsys, "predict", "plants.cmlp", "new.csv")
    answers = list(csv.reader(io.StringIO(out)))
    assert answers[0] == ["kind"]
    assert np.mean([answer == [row["kind"]] for answer, row in zip(answers[1:], rows, strict=True)]) > 0.9
    assert err == ""

    # the target column may be there; probabilities belong to the classes
    silent = output_of(capsys, "predict", "plants.cmlp", "plants.csv", "--proba", "--output", "out.csv")
    assert silent == ("", "")
    again = read_rows("out.csv")
    assert list(again[0]) == ["kind", "P(fir)", "P(oak)"]
    assert [[row["kind"]] for row in again] == answers[1:]
    for row in again:
        assert abs(float(row["P(fir)"]) + float(row["P(oak)"]) - 1) < 1e-12
        assert (float(row["P(oak)"]) > 0.5) == (row["kind"] == "oak")


def test_numbers(capsys):
    X, price = write_houses()
    output_of(capsys, "train", "houses.csv", "--target", "price", "--output", "h", "--epochs", 60)
    answers = output_of(capsys, "predict", "h", "houses.csv").out.splitlines()
    assert answers[0] == "price"
    predicted = np.array([float(answer) for answer in answers[1:]])
    assert np.corrcoef(predicted, price)[0, 1] > 0.97
    np.testing.assert_allclose(predicted, cmlp.load("h").predict(X)[:, 0], rtol=1e-15)
    assert "h predicts values, not classes" in error_of(capsys, "predict", "h", "houses.csv", "--proba")


@pytest.fixture
def plants_model(capsys):
    write_plants(20)
    output_of(capsys, "train", "plants.csv", "--target", "kind", "--quiet")


def test_models_that_cannot_be_used(plants_model, capsys):
    assert error_of(capsys, "predict", "no.x", "plants.csv").endswith("no.x: No such file or directory")
    assert "no sound cmlp model" in error_of(capsys, "predict", "plants.csv", "plants.csv")
    net = cmlp.load("plants.cmlp")
    for key, value in {"features": ["a"], "classes": "xy", "target": 3}.items():
        net.metadata = {**cmlp.load("plants.cmlp").metadata, key: value}
        net.save("odd.cmlp")
        assert "metadata" in error_of(capsys, "predict", "odd.cmlp", "plants.csv")


def test_tables_that_cannot_be_used(plants_model, capsys):
    write_table("new.csv", ["mass", "wdth", "legs"], [(1, 2, 3)])
    line = error_of(capsys, "predict", "plants.cmlp", "new.csv")
    assert "new.csv: 2 of the 4 columns needed are missing" in line
    assert 'did you mean "wdth"?' in line
    write_table("new.csv", ["mass", "width", "legs", "noise"], [(1, 2, 3, "?")])
    line = error_of(capsys, "predict", "plants.cmlp", "new.csv", "--output", "out.csv")
    assert "new.csv, row 2, column" in line
    assert not os.path.exists("out.csv")


def test_models_made_in_python_take_the_columns_as_they_come(capsys):
    net = cmlp.MLP([2, 2], dtype="float64", seed=0)
    net.save("net")
    write_table("t.csv", ["a", "b"], [(1, 2), (3, 4)])
    rows = list(csv.reader(io.StringIO(output_of(capsys, "predict", "net", "t.csv").out)))
    assert rows[0] == ["prediction_0", "prediction_1"]
    np.testing.assert_array_equal(np.array(rows[1:], float), net.predict([[1, 2], [3, 4]]))
    cmlp.MLP([3, 2], loss="cross_entropy", seed=0).save("net")
    assert "t.csv has 2 columns, and net takes 3" in error_of(capsys, "predict", "net", "t.csv")
    write_table("t.csv", ["a", "b", "c"], [])
    assert output_of(capsys, "predict", "net", "t.csv").out == "prediction\n"


def test_a_model_of_hinge_predicts_classes_but_no_probabilities(capsys):
    net = cmlp.MLP([2, 3], loss="hinge", dtype="float64", seed=0)
    net.save("net")
    write_table("t.csv", ["a", "b"], [(1, 2), (3, -4)])
    rows = output_of(capsys, "predict", "net", "t.csv").out.split()
    assert rows == ["prediction", *map(str, net.predict_class([[1, 2], [3, -4]]))]
    assert "predicts scores, not probabilities" in error_of(capsys, "predict", "net", "t.csv", "--proba")


def test_ctrl_c_leaves_the_output_as_it_was(plants_model, monkeypatch, capsys):
    def interrupt(self, X):
        raise KeyboardInterrupt

    with open("out.csv", "w", encoding="utf-8") as file:
        file.write("before")
    monkeypatch.setattr(cmlp.MLP, "predict", interrupt)
    assert main(["predict", "plants.cmlp", "plants.csv", "--output", "out.csv"]) == 130
    assert capsys.readouterr() == ("", "cmlp: interrupted\n")
    with open("out.csv", encoding="utf-8") as file:
        assert file.read() == "before"
    assert sorted(os.listdir()) == ["out.csv", "plants.cmlp", "plants.csv"]
