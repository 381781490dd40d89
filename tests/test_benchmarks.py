"""Benchmarks are fair: in turn, in an order that is reversed, on a quiet machine, and compared within their round."""

import json

import numpy as np
import pytest
import scipy.special
from click.testing import CliRunner

from benchmarks.pairs import Timed, alternate, compare
from tests import tiny
from tests.tiny import quiet
from transfer_utils.data.splits import load_dataset
from transfer_utils.records.record import read_record
from transfer_utils.utils.revision import source_revision


def test_sides_take_turns_and_none_is_always_first():
    order = []
    measured = alternate({name: lambda name=name: order.append(name) for name in "abc"}, 3, log=quiet, load=float)
    assert order == list("abccbaabc")
    assert {name: len(side["seconds"]) for name, side in measured.items()} == dict.fromkeys("abc", 3)


def test_the_rates_are_those_of_the_round_whose_ratio_is_the_median():
    plain, ours = iter([(10.0, "x"), (40.0, "y"), (30.0, "z")]), iter([(1.0, 1), (2.0, 2), (10.0, 3)])
    sides = {"plain": lambda: Timed(*next(plain)), "ours": lambda: Timed(*next(ours))}
    measured = alternate(sides, 3, log=quiet, load=lambda: 0.25)
    assert measured["plain"]["results"] == ["x", "y", "z"]
    row = compare(measured["plain"], measured["ours"], 60)
    assert row["ratio"] == {"median": 10, "low": 3, "high": 20}
    assert (row["plain"], row["ours"]) == (6, 60) and row["load"] == [0.25] * 3


def test_a_round_that_begins_while_others_compute_is_repeated():
    calls, busy = [], {"max_wait": 1e-9, "log": quiet, "load": lambda: 0.1 if calls else 2.0}
    measured = alternate({"a": lambda: calls.append(1) or len(calls)}, 1, **busy)["a"]
    assert (measured["results"], measured["load"]) == ([2], [0.1]), "the repeated round replaces the first"


@pytest.mark.torture
def test_both_systems_run_both_recipes_and_are_judged(small_backbone, monkeypatch):
    from benchmarks import plain, speed

    monkeypatch.setattr(plain, "TRAIN_BATCHES", (10,))

    def small(data_dir, name):
        changes = {"augment": "classic" in name, "epochs_stage1": 1 if "classic" in name else 0}
        config = tiny.config(model_path="none", schedule="cosine", epochs_stage2=1, **changes)
        return config, load_dataset(config)

    monkeypatch.setattr(speed, "_cifar10", small)
    pairs = [("classic", "fast"), ("classic", "classic")]
    rows = speed._both_stages("a few images", "", lambda sides: alternate(sides, 1, log=quiet), pairs)
    assert ["both with" in row["against"] for row in rows] == [False, True]
    (plains,), (ours,) = rows[0]["val_accuracy"].values()
    assert rows[0]["target"] == (10 if ours >= plains else None) and rows[1]["target"] is None
    for row in rows:
        assert row["what"] == "both stages, a few images" and row["plain"] > 0 and row["ours"] > 0
        accuracies = [*row["val_accuracy"]["plain"], *row["val_accuracy"]["ours"]]
        assert len(accuracies) == 2 and all(0 <= accuracy <= 1 for accuracy in accuracies)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "n"), [("single_image", 4), pytest.param("batch_norm", 2, marks=pytest.mark.torture)])
def test_the_command_measures_and_writes(tmp_path, small_backbone, monkeypatch, name, n):
    from benchmarks import speed
    from benchmarks.__main__ import main

    monkeypatch.setattr("benchmarks.pairs.LOOK_SECONDS", 0.01)
    monkeypatch.setattr(speed, "SINGLE_IMAGES", 2)
    monkeypatch.setattr(speed, "STEPS", 1)
    words = [name, "--rounds", "1", "--max_wait", "0", "--output", str(tmp_path)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    measured = json.loads((tmp_path / f"{name}.json").read_text())
    rows = measured["rows"]
    assert measured["source"] == source_revision()
    assert len(rows) == n and all(row["ours"] > 0 and row["plain"] > 0 for row in rows)
    assert CliRunner().invoke(main, ["no_such"]).exit_code == 2


@pytest.mark.slow
def test_scores_are_measured_on_the_logits_of_a_run_which_is_used_again(small_backbone, monkeypatch, tmp_path):
    from benchmarks import not_sure as measured
    from tools.tables import not_sure_table
    from transfer_utils.models.saving import load_model

    monkeypatch.setattr(measured, "PRESETS", ("offline",))
    monkeypatch.setattr(measured, "FOREIGN", 20)
    monkeypatch.setattr(measured, "preset", lambda name, **paths: tiny.config(**paths, not_sure_rate=0.3))
    [row] = measured.not_sure("", str(tmp_path))
    assert [row] == measured.not_sure("", str(tmp_path)) and len(list(tmp_path.glob("*/run.json"))) == 1
    assert list(row["images"].values()) == [10, 20, 1797, 20, 20]
    found, own = read_record(next(tmp_path.glob("*/run.json"))).not_sure, row["test"]["largest probability"]
    assert own == pytest.approx({"share": found["test_share"], "right": found["test_accuracy"]})
    for scores in row["foreign"].values():
        assert all(0 <= low <= area <= high <= 1 for area, low, high in (score["auroc"] for score in scores.values()))
    assert not_sure_table({"rows": [row]}).count("\n") == 2 + 1 + len(row["foreign"])
    model, images = load_model(next(tmp_path.glob("*/model.keras"))), load_dataset(tiny.config()).test.take()
    probabilities = np.asarray(model(images))
    logits = np.asarray(measured.without_softmax(model)(images))
    assert np.abs(scipy.special.softmax(logits, axis=1) - probabilities).max() < 1e-5
    assert np.abs(logits - probabilities).max() > 0.1, "the softmax is still there"
