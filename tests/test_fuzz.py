"""Model files and tables that are made to do harm: the whole corpus, and some thousand files more of a fixed seed.

`tools/fuzz.py` is the long version.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from helpers import hostile_models, hostile_tables
from helpers.hostile_models import Finding

CORPUS = Path(__file__).parent / "corpus"
MODELS = sorted((CORPUS / "models").iterdir())
TABLES = sorted((CORPUS / "tables").iterdir())


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.name)
def test_model_files_of_the_corpus(path):
    hostile_models.check(path.read_bytes())


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_tables_of_the_corpus(path, tmp_path):
    for seed in range(6):  # of the columns asked for
        hostile_tables.check(path.read_bytes(), tmp_path, random.Random(seed), command=seed == 0)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_model_files_are_refused_or_work(seed):
    rng = random.Random(seed)
    seeds = [hostile_models.Archive.parse(data) for data in hostile_models.seeds().values()]
    outcomes = [hostile_models.check(hostile_models.mutated(rng.choice(seeds), rng, seeds)) for _ in range(600)]
    assert sum(outcome.startswith("loaded") for outcome in outcomes) > 60  # the others are refused in many ways:
    assert len({outcome[:120] for outcome in outcomes}) > 100


@pytest.mark.parametrize("seed", range(2))
def test_mutated_tables_are_refused_or_read_right(seed, tmp_path):
    rng = random.Random(seed)
    outcomes = [
        hostile_tables.check(
            hostile_tables.mutated(rng.choice(hostile_tables.SEEDS), rng, hostile_tables.SEEDS),
            tmp_path,
            rng,
            command=n % 50 == 0,
        )
        for n in range(1000)
    ]
    assert sum(outcome.startswith("read") for outcome in outcomes) > 100


def test_sound_archives_are_taken_apart_and_put_together():
    for data in hostile_models.seeds().values():
        archive = hostile_models.Archive.parse(data)
        assert hostile_models.check(archive.build()).startswith("loaded")


def test_a_reader_that_believes_too_much_is_found(monkeypatch):
    monkeypatch.setattr("cmlp._base.archive._finite", float)
    with pytest.raises(Finding, match="JSON"):
        hostile_models.check((CORPUS / "models" / "infinite-metadata").read_bytes())


def test_a_network_that_is_not_saved_whole_is_found(monkeypatch):
    monkeypatch.setattr("cmlp._engine.model.Model.take_counters", lambda self, memory, n_steps, n_epochs: None)
    with pytest.raises(Finding, match=r"not loaded as it was saved|learns something else"):
        hostile_models.check(hostile_models.seeds()["plateau"])


def test_time_and_memory_are_watched(monkeypatch):
    sound = hostile_models.seeds()["mlp"]
    with monkeypatch.context() as patch:
        patch.setattr(hostile_models, "MOST_SECONDS", 0.0)
        with pytest.raises(Finding, match="s of processor time"):
            hostile_models.check(sound)
    peaks = iter([0, 10**12, 10**12])
    monkeypatch.setattr(hostile_models, "peak", lambda: next(peaks))
    with pytest.raises(Finding, match="bytes of memory"):
        hostile_models.check(sound)


def test_a_table_that_is_read_wrong_is_found(monkeypatch, tmp_path):
    data = b"a;y\n1;2\n3;4\n"
    assert hostile_tables.table_in(data) == (["a", "y"], [["1", "2"], ["3", "4"]])
    monkeypatch.setattr(hostile_tables, "number_in", lambda cell: 7.0)
    monkeypatch.setattr(random.Random, "choice", lambda self, options: options[0])  # the last column is the target
    with pytest.raises(Finding, match="numbers are"):
        hostile_tables.check(data, tmp_path, random.Random(1))
