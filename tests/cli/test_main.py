import csv
import io
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import cmlp
from cmlp.cli import bench, train
from cmlp.cli import main as cli
from cmlp.cli.main import main


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write_table(name, header, rows):
    with open(name, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def write_plants(n=200):
    """Two kinds, told apart by the ratio of two columns with far-off means; and a column that says nothing."""
    rng = np.random.default_rng(0)
    u, noise = rng.standard_normal((n, 2)), rng.standard_normal(n)
    rows = [(1e6 + 50 * a, 7, 1e-4 * b, "oak" if a > b else "fir", c) for (a, b), c in zip(u, noise, strict=True)]
    write_table("plants.csv", ["mass", "legs", "width", "kind", "noise"], rows)


def write_houses(n=300):
    """A price of around 200 000, linear in the rooms and curved in the age."""
    rng = np.random.default_rng(1)
    rooms, age = rng.integers(1, 9, n), rng.uniform(0, 100, n)
    price = 150_000 + 20_000 * rooms + 10 * (age - 50) ** 2
    write_table("houses.csv", ["rooms", "price", "age"], zip(rooms, price, age, strict=True))
    return np.stack([rooms, age], axis=1), price


def error_of(capsys, *arguments, code=2):
    """Run a command that must fail, and return its one line."""
    assert main([str(argument) for argument in arguments]) == code
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("cmlp: error: ")
    assert "Traceback" not in captured.err
    return lines[0]


# ----------------------------------------------------------------------------------------------------- training


def test_train_digits(capsys):
    assert main(["train", "digits"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "digits: 1797 rows, 64 features, 10 classes"
    epochs = [line for line in out if line.startswith("epoch")]
    assert len(epochs) == 20
    assert all("loss" in line and "accuracy" in line for line in epochs)
    assert "s of training, " in out[-2]
    assert "samples per second" in out[-2]
    assert float(out[-2].split()[-1]) >= 0.96
    assert out[-1] == "saved digits.cmlp"
    # the model takes raw pixels; its accuracy over all digits is at least that of the rows held out
    X, y = cmlp.datasets.load_digits()
    net = cmlp.load("digits.cmlp")
    assert net.evaluate(X, y).accuracy > 0.97
    assert net.metadata["classes"] == list(range(10))
    assert net.metadata["features"][9] == "pixel_1_1"


def test_training_is_reproducible(capsys):
    for name in "ab":
        assert main(["train", "digits", "--epochs", "2", "--seed", "5", "--quiet", "--output", name]) == 0
    with open("a", "rb") as a, open("b", "rb") as b:
        assert a.read() == b.read()
    assert "epoch " not in capsys.readouterr().out


def test_train_and_predict_classes(capsys):
    write_plants()
    assert main(["train", "plants.csv", "--target", "kind", "--ignore", "noise", "--epochs", "30"]) == 0
    out = capsys.readouterr().out
    assert 'target "kind" taken as 2 classes: "fir", "oak"' in out
    assert 'of no influence: "legs"' in out
    assert float(out.splitlines()[-2].split()[-1]) >= 0.9

    # columns in another order, and the column without influence is another constant
    with open("plants.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    write_table("new.csv", ["width", "x", "mass", "legs"], [(r["width"], "?", r["mass"], 1e9) for r in rows])
    assert main(["predict", "plants.cmlp", "new.csv"]) == 0
    answers = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert answers[0] == ["kind"]
    assert np.mean([answer == [row["kind"]] for answer, row in zip(answers[1:], rows, strict=True)]) > 0.9

    # the target column may be there; probabilities belong to the classes
    assert main(["predict", "plants.cmlp", "plants.csv", "--proba", "--output", "out.csv"]) == 0
    assert capsys.readouterr().out == ""
    with open("out.csv", newline="", encoding="utf-8") as file:
        again = list(csv.DictReader(file))
    assert list(again[0]) == ["kind", "P(fir)", "P(oak)"]
    assert [[row["kind"]] for row in again] == answers[1:]
    for row in again:
        assert abs(float(row["P(fir)"]) + float(row["P(oak)"]) - 1) < 1e-12
        assert (float(row["P(oak)"]) > 0.5) == (row["kind"] == "oak")


def test_train_and_predict_numbers(capsys):
    X, price = write_houses()
    assert main(["train", "houses.csv", "--target", "price", "--output", "h", "--epochs", "60"]) == 0
    out = capsys.readouterr().out
    assert 'target "price" taken as a number (regression)' in out
    assert float(out.splitlines()[-2].split()[-1]) > 0.95  # R²
    assert main(["predict", "h", "houses.csv"]) == 0
    answers = capsys.readouterr().out.splitlines()
    assert answers[0] == "price"
    predicted = np.array([float(answer) for answer in answers[1:]])
    assert np.corrcoef(predicted, price)[0, 1] > 0.97
    np.testing.assert_allclose(predicted, cmlp.load("h").predict(X)[:, 0], rtol=1e-15)
    assert "h predicts values, not classes" in error_of(capsys, "predict", "h", "houses.csv", "--proba")


def test_the_task_can_be_said(capsys):
    write_table("t.csv", ["a", "y"], [(i, i % 3) for i in range(60)])
    assert main(["train", "t.csv", "--target", "y", "--epochs", "1"]) == 0
    assert 'target "y" taken as 3 classes: "0", "1", "2"' in capsys.readouterr().out
    assert cmlp.load("t.cmlp").metadata["classes"] == [0, 1, 2]
    assert main(["train", "t.csv", "--target", "y", "--epochs", "1", "--task", "regression"]) == 0
    assert 'target "y" a number (regression)' in capsys.readouterr().out
    assert cmlp.load("t.cmlp").metadata["classes"] is None


def test_a_linear_model_and_other_options(capsys):
    write_houses()
    options = ["--hidden", "none", "--learning-rate", "0.05", "--batch-size", "8", "--epochs", "3"]
    assert main(["train", "houses.csv", "--target", "price", *options]) == 0
    assert cmlp.load("houses.cmlp").sizes == [2, 1]
    assert "epoch 3/3" in capsys.readouterr().out


@pytest.mark.parametrize("sizes", [[5, 7, 3, 2], [5, 2]])
def test_the_scaling_is_folded_exactly(sizes):
    rng = np.random.default_rng(0)
    net = cmlp.MLP(sizes, dtype="float64", seed=0)
    X = rng.standard_normal((50, 5)) * [1, 1e4, 1e-6, 1, 3] + [0, 1e6, 5, 2, -7]
    X[:, 3] = 2
    constant = np.array([False, False, False, True, False])
    scaling = train.Scaling(X.mean(axis=0), np.where(constant, 1, X.std(axis=0)), constant, 300.0, 20.0)
    wanted = net.predict((X - scaling.mean) / scaling.scale) * 20 + 300
    train._fold(net, scaling)
    np.testing.assert_allclose(net.predict(X), wanted, rtol=1e-9)
    X[:, 3] = 1e12  # what was constant in training has no influence
    np.testing.assert_allclose(net.predict(X), wanted, rtol=1e-9)


def test_few_rows_wide_tables_and_large_numbers(capsys):
    write_table("two.csv", ["a", "y"], [(1, "x"), (2, "z")])
    assert main(["train", "two.csv", "--target", "y"]) == 0
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 2000))
    write_table("wide.csv", [*(f"x{i}" for i in range(2000)), "y"], np.c_[X, X[:, 0]])
    assert main(["train", "wide.csv", "--target", "y", "--epochs", "3"]) == 0
    write_table("large.csv", ["a", "y"], [(1e150 * i, 1e150 * i) for i in range(20)])
    assert main(["train", "large.csv", "--target", "y"]) == 0
    assert main(["predict", "large.cmlp", "large.csv"]) == 0
    capsys.readouterr()
    write_table("huge.csv", ["a", "y"], [(1e308 * (-1) ** i, i) for i in range(20)])
    assert 'column "a": its numbers are too large' in error_of(capsys, "train", "huge.csv", "--target", "y")
    write_table("tiny.csv", ["a", "y"], [(5e-324 * i, i) for i in range(20)])
    assert main(["train", "tiny.csv", "--target", "y"]) == 0
    assert 'of no influence: "a"' in capsys.readouterr().out


@pytest.mark.parametrize("where", ["between epochs", "within an epoch"])
def test_ctrl_c_keeps_what_was_learnt(where, monkeypatch, capsys):
    if where == "between epochs":
        report = train.Progress.__call__

        def interrupt(self, network, history):
            report(self, network, history)
            if len(history.loss) == 3:
                signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr(train.Progress, "__call__", interrupt)
    else:
        fit = cmlp.MLP.fit

        def interrupted_fit(self, *arguments, **settings):
            history = fit(self, *arguments, **{**settings, "epochs": 3})
            history.stopped = "interrupted"  # what fit says when Ctrl-C came while the core was at work
            return history

        monkeypatch.setattr(cmlp.MLP, "fit", interrupted_fit)
    assert main(["train", "digits"]) == 130
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-2:] == [
        "interrupted after 3 of 20 epochs: what was learnt is kept",
        "saved digits.cmlp",
    ]
    assert captured.err == ""
    X, y = cmlp.datasets.load_digits()
    assert cmlp.load("digits.cmlp").evaluate(X, y).accuracy > 0.9


def test_an_interrupted_run_that_was_diverging_is_not_saved(monkeypatch, capsys):
    def fit(self, *arguments, **settings):
        self.weights[1][0, 0] = np.nan
        return cmlp.History(stopped="interrupted")

    monkeypatch.setattr(cmlp.MLP, "fit", fit)
    assert "weights.1 is not finite" in error_of(capsys, "train", "digits")
    assert os.listdir() == []


def test_ctrl_c_before_training(monkeypatch, capsys):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "read_table", interrupt)
    assert main(["train", "t.csv", "--target", "y"]) == 130
    assert capsys.readouterr().err == "cmlp: interrupted\n"
    assert os.listdir() == []


# ------------------------------------------------------------------------------------------------------- errors


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
    train = ("train", "plants.csv", "--target", "kind")
    assert error_of(capsys, "train", "no.csv", "--target", "y").endswith("no.csv: No such file or directory")
    assert error_of(capsys, "train", "folder", "--target", "y").endswith("folder: Is a directory")
    assert '--target; plants.csv has "mass"' in error_of(capsys, "train", "plants.csv")
    # the output is checked before anything is read or learnt
    monkeypatch.setattr(train, "read_table", None)
    assert error_of(capsys, *train, "--output", "folder").endswith("folder: Is a directory")
    assert error_of(capsys, *train, "--output", "x/y.cmlp").endswith("x/y.cmlp: No such file or directory")
    assert error_of(capsys, *train, "--output", "/dev/null").endswith("/dev/null: Not a regular file")


def test_models_that_cannot_be_used(capsys):
    write_plants(20)
    assert error_of(capsys, "predict", "no.cmlp", "plants.csv").endswith("no.cmlp: No such file or directory")
    assert "no sound cmlp model" in error_of(capsys, "predict", "plants.csv", "plants.csv")
    main(["train", "plants.csv", "--target", "kind", "--quiet"])
    capsys.readouterr()
    write_table("new.csv", ["mass", "wdth", "legs"], [(1, 2, 3)])
    line = error_of(capsys, "predict", "plants.cmlp", "new.csv")
    assert "new.csv: 2 of the 4 columns needed are missing" in line
    assert 'did you mean "wdth"?' in line
    assert "new.csv, row 2, column" in error_of(capsys, *bad_cell())
    assert not os.path.exists("out.csv")
    net = cmlp.load("plants.cmlp")
    for key, value in {"features": ["a"], "classes": "xy", "target": 3}.items():
        net.metadata = {**cmlp.load("plants.cmlp").metadata, key: value}
        net.save("odd.cmlp")
        assert "metadata" in error_of(capsys, "predict", "odd.cmlp", "plants.csv")


def bad_cell():
    write_table("new.csv", ["mass", "width", "legs", "noise"], [(1, 2, 3, "?")])
    return "predict", "plants.cmlp", "new.csv", "--output", "out.csv"


def test_models_made_in_python_take_the_columns_as_they_come(capsys):
    net = cmlp.MLP([2, 2], dtype="float64", seed=0)
    net.save("net")
    write_table("t.csv", ["a", "b"], [(1, 2), (3, 4)])
    assert main(["predict", "net", "t.csv"]) == 0
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert rows[0] == ["prediction_0", "prediction_1"]
    np.testing.assert_array_equal(np.array(rows[1:], float), net.predict([[1, 2], [3, 4]]))
    cmlp.MLP([3, 2], loss="cross_entropy", seed=0).save("net")
    assert "t.csv has 2 columns, and net takes 3" in error_of(capsys, "predict", "net", "t.csv")
    write_table("t.csv", ["a", "b", "c"], [])
    assert main(["predict", "net", "t.csv"]) == 0
    assert capsys.readouterr().out == "prediction\n"


def test_a_model_of_hinge_predicts_classes_but_no_probabilities(capsys):
    net = cmlp.MLP([2, 3], loss="hinge", dtype="float64", seed=0)
    net.save("net")
    write_table("t.csv", ["a", "b"], [(1, 2), (3, -4)])
    assert main(["predict", "net", "t.csv"]) == 0
    rows = capsys.readouterr().out.split()
    assert rows == ["prediction", *map(str, net.predict_class([[1, 2], [3, -4]]))]
    assert "predicts scores, not probabilities" in error_of(capsys, "predict", "net", "t.csv", "--proba")


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        ([], "required: COMMAND"),
        (["learn"], "invalid choice: 'learn'"),
        (["train"], "required: DATA"),
        (["train", "digits", "--target", "y"], "./digits"),
        (["train", "digits", "--epochs", "0"], '"0" is not an integer of at least 1'),
        (["train", "digits", "--epochs", "many"], '"many" is not an integer'),
        (["train", "digits", "--hidden", "64,-2"], '"-2" is not an integer'),
        (["train", "digits", "--hidden", "2000000000,2000000000"], "does not fit into memory"),
        (["train", "digits", "--learning-rate", "nan"], '"nan" is not a number above 0'),
        (["train", "digits", "--learning-rate", "1e30"], "diverged in epoch 1: try a --learning-rate below 1e+30"),
        (["train", "digits", "--seed", "-1"], '"-1" is not an integer of at least 0'),
        (["train", "digits", "--task", "clustering"], "invalid choice: 'clustering'"),
        (["train", "digits", "--surplus"], "unrecognized arguments: --surplus"),
    ],
)
def test_unsound_arguments_give_one_line(arguments, fragment, capsys):
    assert fragment in error_of(capsys, *arguments)
    assert os.listdir() == []


def test_help_and_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"cmlp {cmlp.__version__}\n"
    for command in ([], ["train"], ["predict"], ["bench"]):
        assert main([*command, "--help"]) == 0
        assert "usage: cmlp" in capsys.readouterr().out


def test_a_full_disk_is_one_line(capsys, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cmlp.MLP, "save", fail)
    assert error_of(capsys, "train", "digits", "--epochs", "1").endswith("No space left on device")
    monkeypatch.setattr(cli, "_bench", lambda arguments: int("not a number"))
    with pytest.raises(ValueError, match="invalid literal"):  # a bug is not hidden
        main(["bench"])


# ---------------------------------------------------------------------------------------------- bench, processes


def test_bench(capsys, monkeypatch):
    small = (bench.Workload(bench.HEADLINE, 3, 2, 1), bench.Workload((3, 4, 3), 20, 10))
    monkeypatch.setattr(bench, "QUICK", small)
    assert main(["bench", "--quick"]) == 0
    out = capsys.readouterr().out
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line}
    assert rows["3-4-3"][1:4] == ["20", "x", "3"]
    assert rows["3-4-3"][-1].endswith("x")
    assert "C = time / (K M (L+1) n h) = " in out


def test_what_the_bench_compares_learns_the_same(monkeypatch):
    """The networks that cmlp and NumPy train in the bench are the same, up to float32."""
    learnt = []
    fit, train_numpy = cmlp.MLP.fit, bench.reference.train

    def spy_fit(self, *arguments, **settings):
        fit(self, *arguments, **settings)
        learnt.append([W.copy() for W in self.weights])

    def spy_train(weights, *arguments, **settings):
        train_numpy(weights, *arguments, **settings)
        learnt.append(weights)

    monkeypatch.setattr(cmlp.MLP, "fit", spy_fit)
    monkeypatch.setattr(bench.reference, "train", spy_train)
    for sizes in ((30, 8, 8, 1), (20, 9, 4)):
        bench._times(bench.Workload(sizes, 100, 100), repeats=1)
        initial = cmlp.MLP(sizes, loss="squared_error" if sizes[-1] == 1 else "cross_entropy", seed=0).weights
        for ours, numpys, before in zip(*learnt[-2:], initial, strict=True):
            np.testing.assert_allclose(ours, numpys, rtol=1e-3, atol=1e-5)
            assert np.abs(ours - before).max() > 1e-3


def run(*arguments, **settings):
    return subprocess.run(
        [sys.executable, "-m", "cmlp", *arguments], capture_output=True, text=True, timeout=120, check=False, **settings
    )


def test_as_a_process():
    done = run("train", "digits", "--epochs", "2")
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "saved digits.cmlp"
    failed = run("train", "absent.csv", "--target", "y")
    assert failed.returncode == 2
    assert failed.stderr == "cmlp: error: absent.csv: No such file or directory\n"


def test_a_reader_that_stops_reading():
    cmlp.MLP([1, 1], seed=0).save("net")
    write_table("t.csv", ["a"], [(i,) for i in range(100_000)])
    with subprocess.Popen(
        [sys.executable, "-m", "cmlp", "predict", "net", "t.csv"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=120) == 141


def test_standard_output_that_takes_no_more():
    cmlp.MLP([1, 1], seed=0).save("net")
    write_table("t.csv", ["a"], [(1,)])
    script = 'ulimit -f 0; exec "$0" -m cmlp predict net t.csv >out'  # no file may grow, as on a full disk
    done = subprocess.run(
        ["sh", "-c", script, sys.executable], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "cmlp: error: File too large\n"
