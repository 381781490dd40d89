import pytest

from tests.dashboard.charts import figures
from tests.samples import write_run
from transfer_utils.config.recorded import recorded_config
from transfer_utils.records.record import read_record
from transfer_utils.utils.files import lock


def test_a_finished_run_shows_its_metrics_its_command_and_its_curves(runs, draw):
    app = draw(runs, "One run", run="depth-30-2")
    assert [metric.value for metric in app.metric] == ["85.1 %", "84.4 %", "3 min 45 s", "423,000"]
    assert app.metric[0].delta == "95 %: 84.4–85.8"
    assert app.code[0].value.startswith("transfer-utils train --preset cifar10")
    assert len(figures(app)) == 2  # the curves and the learning rate


def test_every_part_of_a_finished_run_can_be_opened(runs, draw):
    app = draw(runs, "One run", run="depth-30-2", part="Test split")
    assert [heading.value for heading in app.subheader] == ["Confusion matrix", "Precision and recall", "Reliability"]
    assert any(caption.value == "Expected calibration error 4.1 %" for caption in app.caption)
    app = draw(runs, "One run", run="depth-30-2", part="Options")
    options, metrics, phases, provenance = (table.value for table in app.dataframe)
    assert dict(options.to_numpy())["n_unfreeze"] == "30"
    assert dict(phases.to_numpy())["total"] == "3 min 45 s"
    assert "test_end2end" in set(metrics["metric"]) and "versions: keras" in set(provenance["part"])
    app = draw(runs, "One run", run="depth-30-2", part="Files")
    assert list(app.dataframe[0].value["File"]) == ["run.json"]


def test_a_run_shows_its_threshold_and_its_cross_validation(draw, tmp_path):
    path = write_run(tmp_path / "run", {"n_unfreeze": 30}, "completed", 0)
    record = read_record(path)
    record.not_sure, record.cross_validation = {"threshold": 0.4321}, {"images": 208, "accuracy": 0.734}
    record.save(path)
    tables = [table.value for table in draw(tmp_path, "One run", run="run", part="Options").dataframe]
    shown = {table.columns[0]: dict(table.to_numpy()) for table in tables}
    assert shown["not sure"] == {"threshold": "0.4321"}
    assert shown["cross-validation"] == {"images": "208", "accuracy": "0.734"}


def test_the_confusion_matrix_shows_counts_or_shares(runs, draw):
    def cells(address):
        app = draw(runs, "One run", run="depth-30-2", part="Test split", **address)
        charts = [figure["data"] for figure in figures(app)]
        return next(traces[2]["text"] for traces in charts if traces[0]["type"] == "heatmap")

    assert len(cells({})) == 100 and cells({})[0].isdecimal()
    assert cells({"cells": "share of the row"})[0].endswith("%")


def test_an_old_log_and_a_failed_run_show_what_they_have_recorded(runs, draw):
    app = draw(runs, "One run", run="depth-all-0")
    assert app.code[0].value.startswith("MemoryError: 12.4 GB")
    assert [metric.value for metric in app.metric[:2]] == ["76.4 %", "–"]
    assert app.metric[0].delta == "of the last epoch"
    app = draw(runs, "One run", run="old-log")
    assert [metric.value for metric in app.metric] == ["92.3 %", "91.6 %", "15 min 37 s", "–"]
    assert any(caption.value == "This run has no recorded curves." for caption in app.caption)
    app = draw(runs, "One run", run="old-log", part="Files")
    assert list(app.dataframe[0].value["File"]) == ["old-log.json"]
    app = draw(runs, "One run", run="old-log", part="Test split")
    assert len(figures(app)) == 1 and not app.exception


def test_an_unknown_run_in_the_address_is_named_and_another_can_be_chosen(runs, draw):
    app = draw(runs, "One run", run="no such run")
    assert not app.exception and app.selectbox(key="run").value is None and not app.metric
    assert "no such run" in [text.value for text in app.text] and len(app.warning) == 1
    assert app.query_params["run"] == "no such run"
    app.selectbox(key="run").set_value("depth-30-2").run()
    assert not app.warning and app.metric[1].value == "84.4 %" and app.query_params["run"] == "depth-30-2"


def test_the_run_that_is_shown_stands_in_the_address(runs, draw):
    assert draw(runs, "One run").query_params == {"page": "One run", "run": "baseline-0"}
    app = draw(runs, "One run", run="depth-30-2", part="Options")
    assert app.query_params == {"page": "One run", "run": "depth-30-2", "part": "Options"}


def unfinished(folder, status):
    path = write_run(folder / "runs" / "run", {"n_unfreeze": 30, "seed": 4}, status, 0)
    record = read_record(path)
    record.fingerprint = recorded_config(record.config).fingerprint
    record.save(path)
    return path


@pytest.mark.fault(35)
@pytest.mark.parametrize("status", ["running", "interrupted", "failed"])
def test_a_run_that_has_not_finished_shows_the_command_that_resumes_it(tmp_path, draw, status):
    unfinished(tmp_path, status)
    app = draw(tmp_path / "runs", "One run", run="run")
    words = app.code[-1].value.split()
    assert words[:2] == ["transfer-utils", "train"] and words[-2:] == ["--output_dir", "runs"] and "--seed" in words
    assert [caption.value for caption in app.caption if "resumes it" in caption.value]
    assert any("Stopped unexpectedly" in warning.value for warning in app.warning) == (status == "running")
    assert app.metric[0].value != "–" and app.metric[0].delta == "of the last epoch"


def test_a_run_in_progress_shows_how_far_it_is(tmp_path, draw):
    with lock(unfinished(tmp_path, "running")):
        app = draw(tmp_path / "runs", "One run", run="run")
    [line] = [text.value for text in app.text if text.value.startswith("epoch 16 of 20 (stage 2)")]
    assert "left" in line and "last written" in line and not app.warning
