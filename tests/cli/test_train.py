import argparse
import os
import re
import signal
import subprocess

import numpy as np
import pytest
from helpers.command import error_of, output_of, process, read_rows, write_houses, write_plants, write_table

import cmlp
from cmlp.cli import train
from cmlp.cli.main import main
from cmlp.data.samples import split_validation


def number_after(text, words):
    """The number that follows the words, its thousands separated by commas."""
    return float(re.search(rf"{words} (-?[\d,.]+\d)", text)[1].replace(",", ""))


# ------------------------------------------------------------------------------------------------- what is learnt


def test_digits(capsys):
    out = output_of(capsys, "train", "digits").out
    assert out.splitlines()[:2] == ["digits: 1,797 rows, 64 features", 'target "digit", 10 classes']
    assert number_after(out, "held-out accuracy") >= 0.975
    # the model takes raw pixels; its accuracy over all digits is at least that of the rows held out
    X, y = cmlp.datasets.load_digits()
    net = cmlp.load("digits.cmlp")
    assert net.evaluate(X, y).accuracy > 0.98
    assert net.metadata["classes"] == list(range(10))
    assert net.metadata["features"][9] == "pixel_1_1"


def test_training_is_reproducible(capsys):
    for name in "ab":
        output_of(capsys, "train", "digits", "--epochs", 2, "--seed", 5, "--quiet", "--output", name)
    with open("a", "rb") as a, open("b", "rb") as b:
        assert a.read() == b.read()


def test_classes(capsys):
    write_plants()
    out = output_of(capsys, "train", "plants.csv", "--target", "kind", "--ignore", "noise", "--epochs", 30).out
    assert 'target "kind" taken as 2 classes: "fir", "oak"' in out
    assert number_after(out, "held-out accuracy") >= 0.9
    net = cmlp.load("plants.cmlp")
    assert net.standardize  # the model brings its scale along, and takes raw values
    np.testing.assert_allclose(net.input_mean, [1e6, 7, 0], rtol=1e-3, atol=1e-4)


def test_numbers(capsys):
    X, price = write_houses()
    out = output_of(capsys, "train", "houses.csv", "--target", "price", "--epochs", 60).out
    assert 'target "price" taken as a number (regression)' in out
    assert number_after(out, "R²") > 0.95
    # what is printed is what the saved model does with the raw rows held out
    _, held_out = split_validation(len(X), 0.2, np.random.default_rng(0))
    errors = cmlp.load("houses.cmlp").predict(X[held_out])[:, 0] - price[held_out]
    assert number_after(out, "held-out RMSE") == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-3)
    assert number_after(out, "R²") == pytest.approx(1 - np.mean(errors**2) / price[held_out].var(), abs=1e-4)


def test_the_task_can_be_said(capsys):
    write_table("t.csv", ["a", "y"], [(i, i % 3) for i in range(60)])
    out = output_of(capsys, "train", "t.csv", "--target", "y", "--epochs", 1).out
    assert 'target "y" taken as 3 classes: "0", "1", "2"' in out
    assert cmlp.load("t.cmlp").metadata["classes"] == [0, 1, 2]
    out = output_of(capsys, "train", "t.csv", "--target", "y", "--epochs", 1, "--task", "regression").out
    assert 'target "y" a number (regression)' in out
    assert cmlp.load("t.cmlp").metadata["classes"] is None


def test_a_linear_model_and_other_options(capsys):
    write_houses()
    options = ["--hidden", "none", "--learning-rate", "0.05", "--batch-size", "8", "--epochs", "3"]
    _, err = output_of(capsys, "train", "houses.csv", "--target", "price", *options)
    assert cmlp.load("houses.cmlp").sizes == [2, 1]
    assert err.splitlines()[-1].startswith("epoch 3/3")


@pytest.mark.parametrize("sizes", [[5, 7, 3, 2], [5, 2]])
def test_scales_are_taken_in_exactly(sizes):
    rng = np.random.default_rng(0)
    net = cmlp.MLP(sizes, dtype="float64", seed=0)
    X, y = rng.standard_normal((50, 5)), np.zeros((50, 2))
    wanted = net.predict(X / 16) * 20 + 300
    problem = train.Problem("t", "y", list("abcde"), X, y, None, "", unit=16.0)
    train._take_in_scales(net, problem, train.Rows(X, y, X, y, y_mean=300.0, y_scale=20.0))
    np.testing.assert_allclose(net.predict(X), wanted, rtol=1e-12)


def test_a_column_constant_in_the_training_rows_has_no_influence(capsys):
    """Neither on the rows held out nor on new ones."""
    write_plants()
    rows = [list(row.values()) for row in read_rows("plants.csv")]
    plain = output_of(capsys, "train", "plants.csv", "--target", "kind").out
    assert 'constant in the training rows, so of no influence: "legs"' in plain
    accuracy = number_after(plain, "held-out accuracy")
    rows[split_validation(len(rows), 0.2, np.random.default_rng(0))[1][0]][1] = 1e9
    write_table("plants.csv", ["mass", "legs", "width", "kind", "noise"], rows)
    out = output_of(capsys, "train", "plants.csv", "--target", "kind").out
    assert 'constant in the training rows, so of no influence: "legs"' in out
    assert number_after(out, "held-out accuracy") == accuracy
    net = cmlp.load("plants.cmlp")
    X = np.array([[float(cell) for cell in row[:3] + row[4:]] for row in rows])
    wanted = net.predict(X)
    X[:, 1] = -1e12
    np.testing.assert_array_equal(net.predict(X), wanted)


def test_few_rows_wide_tables_and_tiny_numbers(capsys):
    write_table("two.csv", ["a", "y"], [(1, "x"), (2, "z")])
    output_of(capsys, "train", "two.csv", "--target", "y")
    X = np.random.default_rng(0).standard_normal((60, 2000))
    write_table("wide.csv", [*(f"x{i}" for i in range(2000)), "y"], np.c_[X, X[:, 0]])
    output_of(capsys, "train", "wide.csv", "--target", "y", "--epochs", 3)
    write_table("tiny.csv", ["a", "y"], [(5e-324 * i, i) for i in range(20)])
    assert 'of no influence: "a"' in output_of(capsys, "train", "tiny.csv", "--target", "y").out


def test_large_numbers(capsys):
    write_table("large.csv", ["a", "y"], [(1e150 * i, 1e150 * i) for i in range(20)])
    output_of(capsys, "train", "large.csv", "--target", "y", "--quiet")
    output_of(capsys, "predict", "large.cmlp", "large.csv")
    for exponent in range(152, 309):  # all that cannot be standardised is named, wherever the border is
        write_table("huge.csv", ["b", "a", "y"], [(i % 3, f"{(-1) ** i}e{exponent}", i % 2) for i in range(20)])
        if main(["train", "huge.csv", "--target", "y", "--epochs", "1", "--quiet"]):
            break
    assert 'huge.csv, column "a": its numbers are too large to be standardised' in capsys.readouterr().err
    assert 150 < exponent < 160
    for column in "ya":
        rows = [(i, f"{(-1) ** i * i / 20}e308") for i in range(20)]
        write_table("huge.csv", ["ay".replace(column, ""), column], rows)
        assert f'column "{column}": its numbers are too large' in error_of(capsys, "train", "huge.csv", "--target", "y")


# ------------------------------------------------------------------------------------------------ what is printed


def test_results_go_to_standard_output_and_progress_to_standard_error(capsys):
    out, err = output_of(capsys, "train", "digits", "--epochs", 12)
    lines = err.splitlines()
    assert [line[:11] for line in lines] == [f"epoch {epoch:2}/12" for epoch in range(1, 13)]
    assert all("loss" in line and "accuracy" in line for line in lines)
    assert re.fullmatch(
        r"digits: .*\n.*\n.* held out for validation\nnetwork 64-64-32-10, 6,570 parameters\n"
        r"[\d.,]+ s of training, [\d,]+ samples per second\nheld-out accuracy 0\.\d{4}\nsaved digits.cmlp\n",
        out,
    )
    quiet = output_of(capsys, "train", "digits", "--epochs", 12, "--quiet")
    times = r"[\d.,]+ s of .* second"
    assert re.sub(times, "", quiet.out) == re.sub(times, "", out)
    assert quiet.err == ""


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"),
        (1.0000000000000002e-05, "0.00001"),
        (0.000123456, "0.0001235"),
        (0.98, "0.98"),
        (0.99996, "1"),
        (-0.00004321, "-0.00004321"),
        (12.3449, "12.34"),
        (1000.0, "1,000"),
        (49291.7, "49,290"),
        (999999.0, "1,000,000"),
        (-1.8231955585261163e25, "-1.823e+25"),
        (3e-9, "3e-09"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
    ],
)
def test_readable_numbers(number, text):
    assert train.readable(number) == text


def test_large_results_are_readable(capsys):
    write_houses(price_of_one=1000)
    out = output_of(capsys, "train", "houses.csv", "--target", "price").out
    assert re.search(r"held-out RMSE \d,\d{3},\d{3}, R² 0\.\d+\n", out)


def test_what_is_printed_fits_80_columns(capsys):
    names = [f"a column of which the name is rather long, number {i}" for i in range(30)]
    rows = [(*([i] * 30), f"a class with a rather long name as well, {i % 6}") for i in range(60)]
    path = "a-table-whose-name-alone-would-not-fit-into-eighty-columns-" + "x" * 40 + ".csv"
    write_table(path, [*names, "y" * 100], rows)
    write_table("constant.csv", [*names, "y" * 100], [(*([1] * 29), i, i % 2) for i in range(60)])
    for name in (path, "constant.csv"):
        hidden = ",".join(["10"] * 40)
        out = output_of(capsys, "train", name, "--target", "y" * 100, "--hidden", hidden, "--output", "m").out
        assert max(map(len, out.splitlines())) <= 80
        assert len(out.splitlines()) > 8


# ------------------------------------------------------------------------------------------ what comes to nothing


def diverging(name):
    if name == "digits":
        return ["train", "digits"]
    write_houses()
    return ["train", "houses.csv", "--target", "price"]


@pytest.mark.parametrize(
    ("name", "rate"),
    [("digits", 1e30), ("digits", 1000), ("digits", 0.3), ("houses", 0.3), ("houses", 10), ("houses", 100)],
)
def test_a_diverging_run_leaves_a_good_model_alone_and_says_what_to_try(name, rate, capsys):
    """Also one whose numbers stay finite, with a network that answers the same to everything."""
    command = [*diverging(name), "--output", "m"]
    output_of(capsys, *command)
    with open("m", "rb") as file:
        good = file.read()
    line = error_of(capsys, *command, "--learning-rate", rate, "--quiet", code=1)
    assert line.startswith("cmlp: error: training diverged")
    assert "; nothing was saved: try --learning-rate 0.01" in line
    with open("m", "rb") as file:
        assert file.read() == good
    assert not [entry for entry in os.listdir() if entry.endswith(".tmp")]
    tried = re.search(r"--learning-rate [\d.]+", line)[0].split()
    output_of(capsys, *command, *tried)


def test_where_it_diverged_is_counted_from_1(capsys):
    line = error_of(capsys, "train", "digits", "--learning-rate", 1e30, "--epochs", 3, "--quiet", code=1)
    assert "training diverged in epoch 1 of 3; nothing was saved" in line
    assert os.listdir() == []


def test_a_smaller_rate_than_the_default_is_advised_if_that_diverged(capsys):
    write_table("t.csv", [*(f"x{i}" for i in range(100)), "y"], np.random.default_rng(0).standard_normal((50, 101)))
    line = error_of(capsys, "train", "t.csv", "--target", "y", "--learning-rate", 10, "--quiet", code=1)
    assert line.endswith("try --learning-rate 0.0064")
    assert train._failure("", *advice_inputs(rate=0.001)).args[0].endswith("try --learning-rate 0.0001")


def advice_inputs(rate=None, outlier=1.0):
    X, y = np.random.default_rng(0).standard_normal((1000, 2)), np.zeros((1000, 1))
    X[7, 1] = outlier
    problem = train.Problem("t", "y", ["mass", "width"], X, y, None, "")
    return problem, train.Rows(X, y, X, y), argparse.Namespace(learning_rate=rate)


def test_an_outlier_is_pointed_at():
    message = train._failure("", *advice_inputs(outlier=1e9)).args[0]
    assert 'try --learning-rate 0.001, and look at column "width": a number in it is 32 deviations' in message
    assert "column" not in train._failure("", *advice_inputs()).args[0]


def test_what_has_not_learnt_much_yet_is_saved(capsys):
    """A loss above that of a constant answer alone is no divergence, and noise is no reason not to save."""
    write_table("t.csv", ["a", "y"], [(i, i % 3) for i in range(60)])
    output_of(capsys, "train", "t.csv", "--target", "y", "--epochs", 1)
    X, y = np.arange(60.0)[:, np.newaxis], np.arange(60) % 3
    assert cmlp.load("t.cmlp").evaluate(X, y).loss > np.log(3)
    write_table("noise.csv", ["a", "b", "y"], np.random.default_rng(0).standard_normal((200, 3)))
    output_of(capsys, "train", "noise.csv", "--target", "y")


# ---------------------------------------------------------------------------------------------------------- Ctrl-C


def test_ctrl_c_keeps_what_was_learnt(monkeypatch, capsys):
    fit = cmlp.MLP.fit

    def fit_until_ctrl_c(self, *arguments, **settings):
        def press(network, history):
            if len(history) == 3:
                signal.raise_signal(signal.SIGINT)

        return fit(self, *arguments, **settings, callbacks=[press])

    monkeypatch.setattr(cmlp.MLP, "fit", fit_until_ctrl_c)
    out, err = output_of(capsys, "train", "digits", code=130)
    assert out.splitlines()[-2:] == ["interrupted after 3 of 20 epochs: what was learnt is kept", "saved digits.cmlp"]
    assert [line[:5] for line in err.splitlines()] == ["epoch"] * 3
    X, y = cmlp.datasets.load_digits()
    assert cmlp.load("digits.cmlp").evaluate(X, y).accuracy > 0.9


def test_ctrl_c_in_a_process():
    command = process("train", "digits", "--epochs", "20000", "--output", "m")
    with (
        open("out", "w", encoding="utf-8") as out,
        subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, text=True) as running,
    ):
        next(line for line in running.stderr if line.startswith("epoch     5/20000"))
        running.send_signal(signal.SIGINT)
        assert all(line.startswith("epoch ") for line in running.stderr)
        assert running.wait(timeout=120) == 130
    with open("out", encoding="utf-8") as out:
        assert re.search(r"interrupted after \d+ of 20000 epochs: what was learnt is kept\nsaved m\n$", out.read())
    X, y = cmlp.datasets.load_digits()
    assert cmlp.load("m").evaluate(X, y).accuracy > 0.9


def test_an_interrupted_run_that_was_diverging_is_not_saved(monkeypatch, capsys):
    def fit(self, *arguments, **settings):
        self.weights[1][0, 0] = np.nan
        raise cmlp.TrainingInterrupted(cmlp.History(stopped="interrupted"))

    monkeypatch.setattr(cmlp.MLP, "fit", fit)
    assert "training diverged" in error_of(capsys, "train", "digits", code=1)
    assert os.listdir() == []


def test_numbers_that_overflow_at_last_are_not_saved(monkeypatch, capsys):
    def fail(self, path):
        raise ValueError("the network's weights.2 is not finite at flat index 0: not saved")

    monkeypatch.setattr(cmlp.MLP, "save", fail)
    assert "weights.2 is not finite" in error_of(capsys, "train", "digits", "--epochs", 1, "--quiet", code=1)


@pytest.mark.parametrize("where", ["reading", "fit before its first epoch"])
def test_ctrl_c_before_training(where, monkeypatch, capsys):
    def interrupt(*arguments, **settings):
        raise KeyboardInterrupt

    write_plants(20)
    if where == "reading":
        monkeypatch.setattr(train, "read_table", interrupt)
    else:
        monkeypatch.setattr(cmlp.MLP, "fit", interrupt)
    assert output_of(capsys, "train", "plants.csv", "--target", "kind", code=130).err == "cmlp: interrupted\n"
    assert os.listdir() == ["plants.csv"]


# ------------------------------------------------------------------------------------------------ tables and paths


@pytest.mark.parametrize(
    ("content", "fragments"),
    [
        ("a,prize\n1,2\n3,4\n", ['no column "price"', 'did you mean "prize"?']),
        ("a,price\n1,2\nred,4\n", ["row 3", 'column "a"', '"red"']),
        ("a,price\n1,2\nnan,4\n", ["row 3", 'column "a"', "nan"]),
        ("a,price\n1,2\n3,nan\n", ["row 3", 'column "price"', "nan"]),
        ("a,price\n1,2\n", ["row 2 is the only one"]),
        ("a,price\n", ["no rows"]),
        ("", ["empty"]),
        ("a,a,price\n1,2,3\n", ['"a"', "columns 1 and 2"]),
        (",".join(map("c{}".format, range(9_999))) + ",price\n1,2\n", ["row 2", "10000 columns"]),
        ("a,price\n1,7\n2,7\n3,7\n", ['column "price"', 'all rows have "7"']),
        ("a,price\n1,x\n2,x\n", ['column "price"', 'all rows have "x"']),
        ("price\n1\n2\n", ["no column beside the target"]),
    ],
)
def test_unsound_tables_give_one_line(content, fragments, capsys):
    with open("houses.csv", "w", encoding="utf-8") as file:
        file.write(content)
    line = error_of(capsys, "train", "houses.csv", "--target", "price")
    assert "houses.csv" in line
    assert len(line) < 300
    for fragment in fragments:
        assert fragment in line
    assert os.listdir() == ["houses.csv"]


def test_paths_that_cannot_be_used(capsys, monkeypatch):
    write_plants(20)
    os.mkdir("folder")
    command = ("train", "plants.csv", "--target", "kind")
    assert error_of(capsys, "train", "no.csv", "--target", "y").endswith("no.csv: No such file or directory")
    assert error_of(capsys, "train", "folder", "--target", "y").endswith("folder: Is a directory")
    assert '--target; plants.csv has "mass"' in error_of(capsys, "train", "plants.csv")
    # the output is checked before anything is read or learnt
    monkeypatch.setattr(train, "read_table", None)
    assert error_of(capsys, *command, "--output", "folder").endswith("folder: Is a directory")
    assert error_of(capsys, *command, "--output", "x/y.cmlp").endswith("x/y.cmlp: No such file or directory")
    assert error_of(capsys, *command, "--output", "/dev/null").endswith("/dev/null: Not a regular file")
