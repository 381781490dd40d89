"""Folders with damaged or malicious files: every page can be drawn and shows the good run."""

import builtins
import io
import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.memory import memory_below
from tests.samples import OLD_LOG, write_run
from tests.utils.test_text import JSON
from transfer_utils.dashboard import curve_charts, option_charts, result_charts, store
from transfer_utils.dashboard.pages import study
from transfer_utils.dashboard.pages.one_run import list_files
from transfer_utils.dashboard.pages.runs import frame
from transfer_utils.dashboard.pages.try_it import model_file
from transfer_utils.dashboard.run_tables import as_csv, as_latex, group_frame
from transfer_utils.records.folder import Run
from transfer_utils.records.record import RunRecord, read_record
from transfer_utils.results.groups import RunGroup, best_configurations, group_by, group_by_configuration
from transfer_utils.results.table import Row, differing

SCRIPT = "<script>document.title='taken'</script>"
MARKUP = "**bold** [link](http://example.org) :red[red] $x^2$ # head `code` ![](http://example.org/x.png)"

# What makes a record unreadable is tested in tests/records/test_folder.py; these have a reason of each kind.
UNREADABLE = {"empty": b"", "status": {"status": "excellent"}}
# Read without their damaged part; tests/records/test_salvage.py has more of them.
DAMAGED = {
    "curves-null": {**OLD_LOG, "curves": {"...": None}},
    "curves-word": {"curves": {"stage1": {"loss": ["a"]}}},
    "curves-1e308": {"curves": {"stage1": {"val_accuracy": [1e308, -1e308, 0.5], "loss": [1e308, 1.0, 0.5]}}},
    "percent": {"metrics": {"val_end2end": 92.28}},
}
READABLE = {
    "nothing": {},
    "old": OLD_LOG,
    "flat-curves": {"curves": {"accuracy": [0.1, None], "val_accuracy": []}},
    "odd-curves": {"curves": {"stage2": {"seconds": [1.0]}, SCRIPT: {"loss": [1.0, None, -5.0]}, "stage1": {}}},
    "wild-curves": {"curves": {"stage1": {"loss": [1e308, -1e308], "accuracy": [5.0], "seconds": [-1.0, 1e308]}}},
    "long-curves": {"curves": {"stage1": {"loss": [0.5] * 20_000}}},
    "wild-metrics": {"metrics": {"val_end2end": 1e308, "test_end2end": -3, "val_low": "x", "test_tta": True}},
    "hundreds": {"metrics": {"val_end2end": 92.28, "val_low": 91, "val_high": 93}},
    "odd-times": {"timing_sec": {"total": -1e300, "other": "x"}},
    "matrix-empty-rows": {"confusion_matrix": [[], []]},
    "matrix-wide": {"confusion_matrix": [[1, 2, 3]]},
    "matrix-huge": {"confusion_matrix": [[0] * 300] * 300},
    "matrix-zero": {"confusion_matrix": [[0, 0], [0, 0]]},
    "per-class-odd": {"per_class": [{}, {"name": SCRIPT, "precision": "?", "recall": 7}, {"name": None}]},
    "calibration-odd": {"calibration": {"edges": [0, 1], "accuracy": ["x"], "confidence": [None], "count": [1]}},
    "calibration-words": {"calibration": {"edges": "x", "ece": "?"}},
    "classes-odd": {"dataset": {"class_names": [SCRIPT, 1, None], "name": ["x"]}, "confusion_matrix": [[1] * 3] * 3},
    "config-odd": {"config": {"n_unfreeze": [1], "model": {"a": 1}, "": None, "augment": 3, "seed": "x" * 5000}},
    "config-many": {"config": {f"option {i}": i for i in range(3000)}},
    "config-long-number": {"config": {"a": 10**4000}},
    "network-odd": {"network": {"parameters": "many"}},
    "files-out": {"files": {"model": "../../outside.keras"}},
    "files-nul": {"files": {"model": "a\x00.keras"}},
    "script": {"run_id": SCRIPT, "command": SCRIPT, "config": {SCRIPT: SCRIPT, "dataset": SCRIPT, "backbone": SCRIPT}},
    "markup": {"error": MARKUP, "command": MARKUP, "notes": [MARKUP], "config": {MARKUP: MARKUP}, "created": MARKUP},
    "controls": {"error": "a\x00\x1b[31m\u202eb", "created": "\x07" * 16, "config": {"backbone": "\r\n\x08"}},
}
NAMES = {
    "script": SCRIPT.replace("/", "|"),
    "markup": MARKUP.replace("/", "|"),
    "newline": "two\nlines",
    "control": "a\x1b[31mb\x7f",
    "direction": "a\u202eb",
    "not-utf-8": os.fsdecode(b"a\xff\xfeb"),
    "long": "n" * 240,
    "blank": " ",
    "star": "*?[a]",
}


def as_bytes(value):
    return value if isinstance(value, bytes) else json.dumps(value).encode()


@pytest.fixture
def folder(tmp_path):
    """Return a folder with one good run."""
    write_run(tmp_path / "runs" / "good", {}, "completed", 0)
    return tmp_path / "runs"


def checked(app):
    """Check that a page was drawn without an error and contains no markup from a file; return the page."""
    assert [error.message for error in app.exception] == []
    assert [error.value for error in app.error] == []
    with_markup = [*app.markdown, *app.caption, *app.subheader, *app.info, *app.warning]
    parts = [*(element.value for element in with_markup), *(button.label for button in app.button)]
    text = " ".join(parts + [button.help for button in app.button])
    assert "script>" not in text and "**bold" not in text
    return app


def table(app):
    return app.dataframe[0].value


def write(folder, cases):
    for case, value in cases.items():
        (folder / case).mkdir()
        (folder / case / "run.json").write_bytes(as_bytes(value))
        os.utime(folder / case / "run.json", (0, 0))  # a recent file would be read again, as it may be incomplete


@pytest.mark.fault(23)
def test_unreadable_records_are_listed_with_the_reason_and_a_gigabyte_is_not_read(folder, draw):
    write(folder, UNREADABLE | {"large": b""})
    os.truncate(folder / "large" / "run.json", 1 << 30)
    with memory_below(1e6):
        store.read(folder)
    app = checked(draw(folder))
    assert list(table(app)["Run"]) == ["good"]
    reasons = app.dataframe[1].value.set_index("File")["Reason"]
    assert set(reasons.index) == {f"{case}/run.json" for case in (*UNREADABLE, "large")}
    assert reasons.str.len().min() > 3 and "bytes" in reasons["large/run.json"]


@pytest.mark.fault(23)
def test_any_valid_record_is_shown_compared_and_studied(folder, draw):
    write(folder, READABLE)
    names = ["good", *READABLE]
    assert sorted(table(checked(draw(folder)))["Run"]) == sorted(names)
    for case, value in READABLE.items():
        checked(draw(folder, "One run", run=case, part="Options" if "config" in value else "Test split"))
    for start in range(0, len(names), 12):
        checked(draw(folder, "Compare", chosen=[*names[start : start + 12], "no such run"]))
    checked(draw(folder, "Compare", chosen=names, group="configuration (mean over seeds)", against="time"))
    checked(draw(folder, "Study"))
    checked(draw(folder, "Try it"))
    for case, value in READABLE.items():
        if value.keys() & {"confusion_matrix", "dataset", "files", "run_id"}:
            checked(draw(folder, "Mistakes", run=case))


@pytest.mark.fault(36)
def test_a_record_that_is_damaged_in_part_is_shown_without_it_and_the_part_is_named(folder, draw):
    write(folder, DAMAGED)
    (folder / "bom.json").write_bytes(json.dumps(OLD_LOG).encode("utf-16"))
    app = checked(draw(folder))
    shown = table(app).set_index("Run")
    assert set(shown.index) == {"good", "bom", *DAMAGED}
    assert shown.loc["bom", "Validation"].strip() == shown.loc["curves-null", "Validation"].strip() == "92.3 %"
    assert shown.loc["curves-1e308", "Curve"] == [0.5] and shown.loc["percent", "Validation"] == ""
    assert not any(expander.label.endswith("could not be read") for expander in app.expander)
    reasons = app.dataframe[1].value.set_index("File")["Reason"]
    assert set(reasons.index) == {f"{case}/run.json" for case in DAMAGED}
    assert "not a fraction" in reasons["percent/run.json"] and "curves.stage1.loss" in reasons["curves-word/run.json"]
    assert not any(str(folder.parent) in text.value for text in (*app.text, *app.caption, *app.warning))
    for case in ("curves-null", "curves-1e308"):
        app = checked(draw(folder, "One run", run=case))
        assert [warning.value for warning in app.warning] == ["Parts of this record are damaged and left out:"]
    checked(draw(folder, "Compare", chosen=["good", *DAMAGED]))
    checked(draw(folder, "Study"))


@pytest.mark.fault(24)
def test_runs_of_any_name_can_be_shown_and_compared(folder, draw):
    for place, name in enumerate(NAMES.values()):
        write_run(folder / name, {"n_unfreeze": place}, "completed", place)
    names = list(table(checked(draw(folder)))["Run"])
    assert len(set(names)) == len(NAMES) + 1 and all(name.isprintable() for name in names)
    for name in names:
        assert checked(draw(folder, "One run", run=name)).selectbox(key="run").value == name
    app = checked(draw(folder, "Compare", chosen=names))
    assert set(app.dataframe[0].value.columns) == {"Option", *names}


@pytest.mark.fault(24)
def test_markup_in_a_name_or_a_record_is_shown_as_plain_text(folder, draw):
    write_run(folder / NAMES["markup"], {"n_unfreeze": 3}, "completed", 1)
    write(folder, {"markup": READABLE["markup"]})
    assert NAMES["markup"] in set(table(draw(folder))["Run"])
    app = checked(draw(folder, "One run", run="markup", part="Options"))
    assert [block.value for block in app.code] == [MARKUP, MARKUP]
    assert MARKUP in [text.value for text in app.text]


def test_markup_in_an_option_in_which_runs_differ_in_a_hint_or_in_a_search_is_shown_as_plain_text(tmp_path, draw):
    only = tmp_path / "one"
    write_run(only / NAMES["markup"], {}, "completed", 0)
    assert "Open it" in [button.help for button in checked(draw(only)).button]
    for place, (depth, value) in enumerate(((10, "a"), (30, "a"), (30, "b"))):
        path = write_run(tmp_path / "study" / f"run{place}", {"n_unfreeze": depth, "seed": place}, "completed", place)
        record = read_record(path)
        record.config[MARKUP] = value
        record.save(path)
    texts = [text.value for text in checked(draw(tmp_path / "study", "Study")).text]
    assert any(text.startswith("Held fixed: **bold**") for text in texts)
    texts = [text.value for text in checked(draw(only, search="seed>**bold**")).text]
    assert any(text.startswith("'**bold**' is not a number") for text in texts)


@pytest.mark.fault(25, 30)
def test_a_model_outside_the_folder_of_its_run_is_not_used(tmp_path):
    (tmp_path / "outside.keras").write_bytes(b"")
    own = tmp_path / "run"
    own.mkdir()
    (own / "model.keras").write_bytes(b"")
    (own / "link.keras").symlink_to(tmp_path / "outside.keras")
    (own / "model.txt").write_bytes(b"")

    def model(name):
        return model_file(Row("run", Run(RunRecord(files={"model": name}), own / "run.json")))

    assert model("model.keras") == own / "model.keras"
    refused = ["../outside.keras", str(tmp_path / "outside.keras"), "link.keras", "model.txt", "no.keras", "", "a\0.h5"]
    refused += [f"{'a' * 300}.keras", f"../{'a' * 300}.keras"]  # too long for a file system
    assert [name for name in refused if model(name)] == []


@pytest.mark.fault(25)
def test_files_are_listed_without_being_opened(tmp_path, monkeypatch):
    path = write_run(tmp_path / "run", {}, "completed", 0)
    (path.parent / "secret").symlink_to("/etc/passwd")
    os.mkfifo(path.parent / "pipe")
    (path.parent / "inner").mkdir()
    with monkeypatch.context() as patch:
        for module, name in ((builtins, "open"), (io, "open"), (os, "open")):
            patch.setattr(module, name, lambda path, *_, **__: pytest.fail(f"{path} was opened"))
        listed = {file["File"]: file["Size"] for file in list_files(Row("run", Run(RunRecord(), path)))}
    assert listed["secret"] == "link" and listed["inner"] == "folder" and listed["run.json"].endswith("kB")


RECORDS = st.fixed_dictionaries(
    {},
    optional={
        "config": st.dictionaries(st.sampled_from(["n_unfreeze", "augment", "model", "seed", "x"]) | st.text(), JSON),
        "metrics": st.dictionaries(st.sampled_from(["val_end2end", "test_end2end", "val_low", "test_tta"]), JSON),
        "timing_sec": st.dictionaries(st.sampled_from(["total", "x"]), JSON),
        "curves": st.dictionaries(
            st.sampled_from(["stage1", "stage2", "baseline"]) | st.text(),
            st.dictionaries(
                st.sampled_from(["loss", "accuracy", "val_accuracy", "seconds", "learning_rate"]) | st.text(),
                st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), max_size=5),
            ),
        ),
        "confusion_matrix": st.integers(0, 4).flatmap(
            lambda n: st.lists(st.lists(st.integers(0, 10**6), min_size=n, max_size=n), max_size=4)
        ),
        "per_class": st.lists(st.dictionaries(st.sampled_from(["name", "precision", "recall"]), JSON), max_size=4),
        "calibration": st.dictionaries(
            st.sampled_from(["edges", "confidence", "accuracy", "count", "ece"]), JSON | st.lists(st.floats(0, 1))
        ),
        "dataset": st.dictionaries(st.sampled_from(["name", "class_names"]), JSON),
        "status": st.sampled_from(["running", "completed", "failed", "diverged", "interrupted"]),
        "created": st.text(),
    },
)


@settings(max_examples=settings().max_examples // 5)  # one example draws about twenty charts
@given(st.lists(RECORDS, min_size=1, max_size=3))
@pytest.mark.fault(23)
def test_tables_and_charts_can_be_made_from_any_record(tmp_path_factory, values):
    rows = []
    for place, value in enumerate(values):
        try:
            record = RunRecord.model_validate(value)
        except ValueError:
            continue
        rows.append(Row(f"run {place}", Run(record, tmp_path_factory.getbasetemp() / "run.json")))
    best_configurations(rows)
    frame(rows)
    as_csv(rows)
    as_latex(frame(rows).drop(columns="Curve"))
    as_latex(group_frame(group_by_configuration(rows)))
    groups = group_by_configuration(rows) + [RunGroup(row.name, [row]) for row in rows]
    figures = [option_charts.results(groups), option_charts.against_time(groups), option_charts.parallel(rows)]
    for option in differing(rows):
        group_by(rows, option)
    for question in study.QUESTIONS:
        finding = question.answer(rows, "val")
        figures.append(finding and finding.figure)
    for row in rows:
        line = curve_charts.Line(row.name, row.history)
        figures += [curve_charts.curves([line], "time"), curve_charts.learning_rate(line)]
        figures += [result_charts.by_class(row.record), result_charts.reliability(row.record.calibration)]
        counts = result_charts.confusion_counts(row.record)
        if counts is not None:
            labels = result_charts.class_labels(row.record, len(counts))
            figures.append(result_charts.confusion(counts, labels, normalised=True))
    for figure in figures:
        if figure is not None:
            json.loads(figure.to_json())
