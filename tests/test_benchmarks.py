"""Pairs are fair: in turn, in an order that is reversed, and compared within their round."""

import json

import pytest
from click.testing import CliRunner

from benchmarks.pairs import Timed, alternate, ratio
from tests import tiny
from transfer_utils.data.splits import load_dataset
from transfer_utils.records import RunRecord


def test_sides_take_turns_and_none_is_always_first():
    order = []
    found = alternate({name: lambda name=name: order.append(name) for name in "abc"}, 3, log=lambda line: None)
    assert order == list("abccbaabc")
    assert {name: len(side["seconds"]) for name, side in found.items()} == dict.fromkeys("abc", 3)


def test_a_side_may_time_itself_and_the_ratio_is_taken_within_each_round():
    plain, ours = iter([(10.0, "x"), (40.0, "y"), (30.0, "z")]), iter([(1.0, 1), (2.0, 2), (10.0, 3)])
    found = alternate({"plain": lambda: Timed(*next(plain)), "ours": lambda: Timed(*next(ours))}, 3, lambda line: None)
    assert found["plain"]["median"] == 30 and found["plain"]["results"] == ["x", "y", "z"]
    assert ratio(found["plain"], found["ours"]) == {"median": 10, "low": 3, "high": 20}


def test_the_time_to_an_accuracy_ends_with_the_first_epoch_that_has_it():
    from benchmarks.speed import seconds_until

    run = RunRecord(curves={"stage2": {"val_accuracy": [0.70, 0.78, 0.75, 0.80], "seconds": [10.0, 20.0, 20.0, 20.0]}})
    assert seconds_until(0.6, run, 100) == 40, "what comes before the first epoch counts"
    assert seconds_until(0.78, run, 100) == 60
    assert seconds_until(0.79, run, 100) == 100
    assert seconds_until(0.81, run, 100) is None


@pytest.mark.slow
def test_both_sides_of_the_whole_recipe_run_and_are_judged(monkeypatch):
    from benchmarks import speed

    tiny.use_backbone(monkeypatch)
    config = tiny.config(model_path="none", schedule="cosine", epochs_stage1=1, epochs_stage2=2)
    monkeypatch.setattr(speed, "_cifar10", lambda data_dir, **options: (config, load_dataset(config)))
    rows = speed._both_stages("a few images", "", 2)
    assert [row["target"] for row in rows] == [None, 10][: len(rows)]
    for row in rows:
        assert row["what"] == "both stages, a few images" and row["plain"] > 0 and row["ours"] > 0
    plain, ours = (rows[0]["val_accuracy"][side] for side in ("plain", "ours"))
    assert all(0 <= accuracy <= 1 for accuracy in plain + ours) and len(plain) == len(ours) == 2
    assert len(rows) == 2 or any(b < a for a, b in zip(plain, ours, strict=True))


@pytest.mark.slow
def test_the_command_measures_and_writes(tmp_path, monkeypatch):
    from benchmarks import speed
    from benchmarks.__main__ import main

    monkeypatch.setattr(speed, "SINGLE_IMAGES", 2)
    done = CliRunner().invoke(main, ["single_image", "--rounds", "1", "--output", str(tmp_path)])
    assert done.exit_code == 0, done.output
    rows = json.loads((tmp_path / "single_image.json").read_text())["rows"]
    assert [row["against"] for row in rows] == ["`model.predict`", "`model(x)`"]
    assert all(row["ours"] > 0 and row["plain"] > 0 for row in rows)
    assert CliRunner().invoke(main, ["no_such"]).exit_code == 2
