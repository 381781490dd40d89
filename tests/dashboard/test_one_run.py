from tests.dashboard.charts import figures


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
    assert [metric.value for metric in app.metric[:2]] == ["–", "–"]
    app = draw(runs, "One run", run="old-log")
    assert [metric.value for metric in app.metric] == ["92.3 %", "91.6 %", "15 min 37 s", "–"]
    assert any(caption.value == "This run has no recorded curves." for caption in app.caption)
    app = draw(runs, "One run", run="old-log", part="Files")
    assert list(app.dataframe[0].value["File"]) == ["old-log.json"]
    app = draw(runs, "One run", run="old-log", part="Test split")
    assert len(figures(app)) == 1 and not app.exception


def test_an_unknown_run_in_the_address_opens_the_first_run_and_another_can_be_chosen(runs, draw):
    app = draw(runs, "One run", run="no such run")
    assert not app.exception and app.selectbox(key="run").value == "baseline-0"
    app.selectbox(key="run").set_value("depth-30-2").run()
    assert not app.exception and app.metric[1].value == "84.4 %"
