"""Arguments, errors and exit codes."""

import os
import subprocess
import sys

import pytest
from helpers.command import error_of, output_of, process, run_process, write_plants, write_table

import cmlp
from cmlp.cli import bench
from cmlp.cli.main import main


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["learn"], "invalid choice: 'learn'; choose from train, predict, bench (see cmlp --help)"),
        (["train"], "required: DATA (see cmlp train --help)"),
        (["train", "digits", "--target", "y"], "./digits"),
        (["train", "digits", "--epochs", "0"], '"0" is not an integer of at least 1 (see cmlp train --help)'),
        (["train", "digits", "--epochs", "many"], '"many" is not an integer'),
        (["train", "digits", "--hidden", "64,-2"], '"-2" is not an integer'),
        (["train", "digits", "--hidden", "2000000000,2000000000"], "does not fit into memory"),
        (["train", "digits", "--learning-rate", "nan"], '"nan" is not a number above 0'),
        (["train", "digits", "--seed", "-1"], '"-1" is not an integer of at least 0'),
        (["train", "digits", "--task", "clustering"], "invalid choice: 'clustering'"),
        (["train", "digits", "--surplus"], "unrecognized arguments: --surplus (see cmlp train --help)"),
        (["train", "digits", "surplus"], "unrecognized arguments: surplus (see cmlp train --help)"),
        (["predict", "model"], "required: FILE.csv (see cmlp predict --help)"),
        (["--surplus"], "unrecognized arguments: --surplus (see cmlp --help)"),
    ],
)
def test_unsound_arguments_give_one_line(arguments, fragment, capsys):
    assert fragment in error_of(capsys, *arguments)
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("arguments", "meant", "help_of"),
    [
        (["trainn", "digits"], "train", "cmlp"),
        (["Predict"], "predict", "cmlp"),
        (["--versio_n"], "--version", "cmlp"),
        (["train", "digits", "--lr", "0.1"], "--learning-rate", "cmlp train"),
        (["train", "digits", "--learning_rate=0.1"], "--learning-rate", "cmlp train"),
        (["train", "digits", "--learnin-rate", "0.1"], "--learning-rate", "cmlp train"),
        (["train", "digits", "--random_state", "3"], "--seed", "cmlp train"),
        (["train", "digits", "--epochss", "3"], "--epochs", "cmlp train"),
        (["predict", "model", "new.csv", "--probas"], "--proba", "cmlp predict"),
        (["bench", "--quik"], "--quick", "cmlp bench"),
    ],
)
def test_what_is_mistyped_is_guessed_and_the_right_help_named(arguments, meant, help_of, capsys):
    assert error_of(capsys, *arguments).endswith(f"; did you mean {meant}? (see {help_of} --help)")


def test_an_option_of_another_subcommand_is_not_suggested(capsys):
    assert "did you mean" not in error_of(capsys, "predict", "model", "new.csv", "--lr", "0.1")


def test_options_can_be_abbreviated(capsys):
    out, err = output_of(capsys, "train", "digits", "--epoch", "2", "--qui")
    assert out.endswith("saved digits.cmlp\n")
    assert err == ""


@pytest.mark.parametrize("command", ["train", "predict"])
@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("plnts.csv", "; did you mean plants.csv?"),
        (os.path.join("tables", "Hoses.csv"), "; did you mean houses.csv?"),
        ("no.csv", ""),
        (os.path.join("nowhere", "plants.csv"), ""),
    ],
)
def test_a_mistyped_file_is_guessed(command, name, guess, capsys):
    write_plants(20)
    os.mkdir("tables")
    write_table(os.path.join("tables", "houses.csv"), ["a"], [])
    cmlp.MLP([1, 1]).save("net")
    arguments = ["train", name, "--target", "y"] if command == "train" else ["predict", "net", name]
    assert error_of(capsys, *arguments) == f"cmlp: error: {name}: No such file or directory{guess}"


def test_a_mistyped_data_set_or_model_is_guessed(capsys):
    no_such_file = "No such file or directory; did you mean"
    for name in ("digts", "Digits", "digit"):
        assert error_of(capsys, "train", name) == f"cmlp: error: {name}: {no_such_file} digits?"
    cmlp.MLP([1, 1]).save("plants.cmlp")
    line = error_of(capsys, "predict", "plant.cmlp", "new.csv")
    assert line == f"cmlp: error: plant.cmlp: {no_such_file} plants.cmlp?"


def test_the_command_alone_prints_its_help(capsys):
    assert main(["--help"]) == 0
    asked_for = capsys.readouterr()
    assert asked_for.err == ""
    assert main([]) == 2
    not_asked_for = capsys.readouterr()
    assert (not_asked_for.out, not_asked_for.err) == ("", asked_for.out)


def test_help_and_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"cmlp {cmlp.__version__}\n"
    for command in ("", "train", "predict", "bench"):
        assert main([command, "--help"] if command else ["--help"]) == 0
        assert capsys.readouterr().out.startswith(f"usage: cmlp {command}")


def test_a_full_disk_is_one_line(capsys, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cmlp.MLP, "save", fail)
    assert error_of(capsys, "train", "digits", "--epochs", "1", "--quiet").endswith("No space left on device")


def test_too_little_memory_is_one_line(capsys, monkeypatch):
    def fail(arguments):
        raise MemoryError

    monkeypatch.setattr(bench, "run", fail)
    assert error_of(capsys, "bench") == "cmlp: error: this does not fit into memory"


def test_a_bug_is_not_hidden(monkeypatch):
    monkeypatch.setattr(bench, "run", lambda arguments: int("not a number"))
    with pytest.raises(ValueError, match="invalid literal"):
        main(["bench"])


def test_as_a_process():
    done = run_process("train", "digits", "--epochs", "2")
    assert done.returncode == 0
    assert [line[:9] for line in done.stderr.splitlines()] == ["epoch 1/2", "epoch 2/2"]
    assert done.stdout.splitlines()[-1] == "saved digits.cmlp"
    failed = run_process("train", "absent.csv", "--target", "y")
    assert failed.returncode == 2
    assert failed.stderr == "cmlp: error: absent.csv: No such file or directory\n"
    assert run_process().returncode == 2


def test_a_reader_that_stops_reading():
    cmlp.MLP([1, 1], seed=0).save("net")
    write_table("t.csv", ["a"], [(i,) for i in range(100_000)])
    with subprocess.Popen(
        process("predict", "net", "t.csv"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(timeout=120) == 141


def test_standard_output_that_takes_no_more():
    cmlp.MLP([1, 1], seed=0).save("net")
    write_table("t.csv", ["a"], [(1,)])
    script = 'ulimit -f 0; exec "$0" -m cmlp predict net t.csv >out'  # no file may grow, as on a full disk
    done = subprocess.run(
        ["sh", "-c", script, sys.executable], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "cmlp: error: File too large\n"
