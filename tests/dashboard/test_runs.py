import csv
import io
import json

import pytest

from tests.dashboard.charts import button
from tests.memory import memory_below
from tests.samples import write_run
from transfer_utils.dashboard import store
from transfer_utils.dashboard.run_tables import as_csv
from transfer_utils.records.record import RunRecord
from transfer_utils.results.progress import describe_progress, epochs_text
from transfer_utils.utils.files import lock


def table(app):
    return app.dataframe[0].value.set_index("Run")


def names(app):
    return list(app.dataframe[0].value["Run"])


def test_the_table_has_one_row_per_run_and_the_best_configuration_is_named_with_the_reason(runs, draw):
    app = draw(runs)
    best = "cifar10: transfer learning · last 30 layers unfrozen · augmented"
    assert any(text.value.startswith(best) for text in app.text)
    assert any("3 seeds), 3.7 points ahead" in caption.value for caption in app.caption)
    assert [(metric.label, metric.value) for metric in app.metric[:2]] == [("Validation", "84.8 %"), ("Test", "84.1 %")]
    shown = table(app)
    assert len(shown) == 14
    best = shown.loc["depth-30-2"]
    assert best["Status"].endswith("completed")
    assert best["Validation"].strip() == "85.1 % (84.4–85.8)"
    assert best["Test"].strip().startswith("84.4 %")
    assert list(best[["Preset", "Network", "Unfrozen", "Augmented", "Labels", "Seed", "Date (UTC)", "Data"]]) == [
        "cifar10", "MobileNetV2", "30", "yes", "all", "2", "2026-03-01 06:10", "cifar10",
    ]  # fmt: skip
    assert best["Seconds"] == 225  # rounded, not truncated
    assert len(best["Curve"]) == 20
    signs = {status: sign for sign, status in map(str.split, shown["Status"])}
    assert set(signs) == {"running", "completed", "diverged", "failed", "interrupted"}
    assert len(set(signs.values())) == 5


@pytest.mark.fault(27)
def test_accuracies_sort_as_text_and_the_newest_run_has_the_highest_number_although_the_clock_ran_back(tmp_path, draw):
    for number, (name, accuracy) in enumerate((("low", 0.098), ("middle", 0.844), ("high", 1.0))):
        path = write_run(tmp_path / name, {}, "completed", 0)
        record = RunRecord(run_id=f"{number:04d}", created=f"2026-03-0{3 - number}T00:00:00Z")
        record.metrics = {"val_end2end": accuracy}
        record.save(path)
    app = draw(tmp_path, sort="newest")
    assert names(app) == ["high", "middle", "low"]
    assert list(app.dataframe[0].value.sort_values("Validation")["Run"]) == ["low", "middle", "high"]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ({"search": "depth-30 seed=1"}, ["depth-30-1"]),
        ({"status": ["diverged", "failed"]}, ["depth-30-hot-0", "depth-all-0"]),
        ({"data": "–"}, ["old-log", "old-log-with-curves"]),
        ({"search": "nothing like it"}, None),
    ],
)
def test_filters_are_read_from_the_address(runs, draw, address, expected):
    app = draw(runs, **address)
    assert not app.exception
    assert (sorted(names(app)) if app.dataframe else None) == expected


def test_the_table_is_sorted(runs, draw):
    assert names(draw(runs))[:2] == ["depth-60-0", "depth-30-2"]
    assert set(names(draw(runs))[-2:]) == {"old-log", "old-log-with-curves"}, "of another dataset"
    assert names(draw(runs, sort="name"))[:2] == ["baseline-0", "depth-10-0"]
    newest = names(draw(runs, sort="newest"))
    assert newest[0] == "depth-all-0" and set(newest[-2:]) == {"old-log", "old-log-with-curves"}
    assert names(draw(runs, sort="test accuracy"))[2] == "depth-30-2"
    assert names(draw(runs, sort="seconds"))[0] == "head-only-0"
    [alone, grouped] = (draw(runs, rows="n_unfreeze", search=text) for text in ("depth-30-0", "depth"))
    disabled = [app.selectbox(key="sort").disabled for app in (alone, grouped)]
    assert disabled == [False, True], "only groups have an order of their own"


def test_a_run_in_progress_shows_its_epoch_its_time_left_and_its_last_accuracy(runs, draw):
    app = draw(runs)
    [line] = [text.value for text in app.text if text.value.startswith("depth-60-0: ")]
    assert line.startswith("depth-60-0: epoch 16 of 20 (stage 2) · about 1 min 1") and "last written" in line
    shown = table(app)
    assert shown.loc["depth-60-0", "Epochs"] == "16 of 20" and shown.loc["depth-30-2", "Epochs"] == "20"
    assert shown.loc["depth-60-0", "Validation"].strip().endswith("% so far")
    assert line.split("validation ")[1].startswith(shown.loc["depth-60-0", "Validation"].split()[0])


@pytest.mark.fault(35)
def test_a_run_whose_process_has_ended_is_shown_as_stopped(tmp_path, draw):
    path = write_run(tmp_path / "run", {}, "running", 0)
    with lock(path):
        app = draw(tmp_path)
        assert table(app).loc["run", "Status"] == "◔ running" and "1 running" in app.text[0].value
    app.run()
    assert table(app).loc["run", "Status"] == "◌ stopped" and "running" not in app.text[0].value
    assert names(draw(tmp_path, status=["stopped"])) == ["run"]


def test_chosen_runs_are_hidden_and_shown_again(runs, draw):
    app = draw(runs, chosen=["depth-10-0", "depth-10-1"])
    assert "14 of 14 runs, 2 chosen" in [text.value for text in app.text]
    button(app, "Hide").click().run()
    assert app.query_params["hidden"] == ["depth-10-0", "depth-10-1"] and "chosen" not in app.query_params
    assert len(names(app)) == 12
    button(app, "Show 2 hidden").click().run()
    assert len(names(app)) == 14 and "hidden" not in app.query_params


def test_one_chosen_run_is_opened_and_several_are_compared(runs, draw):
    app = draw(runs, chosen=["depth-10-0"])
    button(app, "Open").click().run()
    assert app.segmented_control(key="page").value == "One run" and app.selectbox(key="run").value == "depth-10-0"
    assert app.query_params == {"page": "One run", "run": "depth-10-0", "chosen": "depth-10-0"}
    app = draw(runs, chosen=["depth-10-0", "baseline-0"])
    assert button(app, "Open").disabled
    button(app, "Compare").click().run()
    assert app.multiselect(key="chosen").value == ["depth-10-0", "baseline-0"]


def test_the_best_configuration_leads_to_its_runs(runs, draw):
    app = draw(runs)
    app.button(key="open best 0").click().run()
    assert sorted(app.multiselect(key="chosen").value) == ["depth-30-0", "depth-30-1", "depth-30-2"]
    app = draw(runs, hidden=["depth-30-1", "depth-30-2"])
    app.button(key="open best 0").click().run()
    assert app.segmented_control(key="page").value == "One run" and app.selectbox(key="run").value == "depth-30-0"


def test_csv_has_every_metric_and_option_and_no_formula(tmp_path):
    path = write_run(tmp_path / "one", {"n_unfreeze": -1}, "completed", 0)
    write_run(tmp_path / "=1+1", {}, "running", 1)
    record = RunRecord(metrics={"val_end2end": 0.5}, config={"a": "@SUM(1)", "b": -1, "c": True, "d": [1, 2]})
    record.save(path)
    content = as_csv(store.read(tmp_path).rows)
    assert content.startswith(b"\xef\xbb\xbf")
    lines = {line["run"]: line for line in csv.DictReader(io.StringIO(content.decode("utf-8-sig")))}
    assert set(lines) == {"one", "'=1+1"}
    one = lines["one"]
    assert (one["metrics.val_end2end"], one["config.a"], one["config.b"]) == ("0.5", "'@SUM(1)", "-1")
    assert (one["config.c"], one["config.d"]) == ("True", "[1, 2]")


@pytest.mark.parametrize("epochs", [1e29, 4e9, -1e29])
def test_impossible_numbers_of_epochs_take_no_page_and_no_memory(tmp_path, draw, epochs):
    write_run(tmp_path / "good", {}, "completed", 0)
    curves = {"stage1": {"val_accuracy": [0.5], "seconds": [1.0]}}
    (tmp_path / "odd").mkdir()
    for status in ("running", "completed"):
        odd = {"status": status, "config": {"epochs_stage1": epochs, "epochs_stage2": 3}, "curves": curves}
        (tmp_path / "odd" / "run.json").write_text(json.dumps(odd))
        with memory_below(5e7):
            for row in store.read(tmp_path).rows:
                epochs_text(row)
                describe_progress(row)
        app = draw(tmp_path)
        assert not app.exception and sorted(app.dataframe[0].value["Run"]) == ["good", "odd"]
