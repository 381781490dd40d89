"""Groups of runs as table rows with their spread, and LaTeX in which nothing from a record is a command."""

import re
import statistics

import pandas as pd
import pytest

from tests.results.samples import made
from transfer_utils.dashboard.pages.runs import _latex
from transfer_utils.dashboard.run_tables import SEEDS, as_latex, group_frame, grouped


def test_a_group_has_the_mean_the_deviation_and_the_range_of_its_seeds(view):
    rows = [row for row in view.rows if row.name.startswith(("depth-10", "depth-30-0", "depth-30-1", "depth-30-2"))]
    table = group_frame(grouped(rows, [SEEDS])).set_index("Group")
    line = table.loc["last 30 layers unfrozen"]
    values = [100 * row.metric("val_end2end") for row in rows if row.name.startswith("depth-30")]
    assert line["Runs"] == "3 seeds"
    assert line["Validation"].lstrip() == f"{statistics.fmean(values):.1f} % ± {statistics.stdev(values):.1f}"
    assert line["Validation from–to"] == f"{min(values):.1f}–{max(values):.1f} %"
    alone = group_frame(grouped(rows[:1], [SEEDS])).iloc[0]
    assert "±" not in alone["Validation"] and alone["Validation from–to"] == "–"


def test_a_mean_over_a_part_of_the_runs_says_so_and_a_run_in_progress_has_no_time():
    rows = [made(f"seed{seed}", val=val, seed=seed) for seed, val in enumerate((0.8, 0.82, None))]
    for row, seconds in zip(rows, (100.0, 200.0, 5.0), strict=True):
        row.record.timing_sec = {"total": seconds}
    rows[2].record.status = "running"
    line = group_frame(grouped(rows, [SEEDS])).iloc[0]
    assert (line["Runs"], line["Time"]) == ("3 seeds", "2 min 30 s")
    assert (line["Validation"].lstrip(), line["Test"]) == ("81.0 % ± 1.4 (2 of 3)", "")
    rows[2].record.status, rows[2].record.machine = "completed", {"gpus": ["cuda:0"]}
    assert group_frame(grouped(rows, [SEEDS])).iloc[0]["Time"] == "2 min 30 s", "a GPU does not count beside others"
    assert group_frame(grouped(rows[2:], [SEEDS])).iloc[0]["Time"] == "5.0 s on a GPU"


def test_runs_are_grouped_by_several_options_at_once(study, draw):
    names = [f"rate-{rate}-s{seed}" for rate in ("1e-05", "0.01") for seed in range(3)]
    names += [f"depth-{n}-s0" for n in (10, 60)]
    options = ["n_unfreeze", "learning_rate_stage2"]
    app = draw(study, rows=options, search="optimizer_stage1=AdamW -s", chosen=names)
    table = app.dataframe[0].value.set_index("Group")
    assert table.index.is_unique
    assert table.loc[next(name for name in table.index if "last 30" in name and "1e-05" in name), "Runs"] == "6 runs"
    several = [name for name in table.index if "last 10 layers unfrozen" in name]
    assert len(several) == 1 and "learning rate 0.001" in several[0]
    app.multiselect(key="rows").set_value([]).run()
    assert "Run" in app.dataframe[0].value


def test_rows_for_several_options_stand_in_the_compared_lines_too(runs, draw):
    chosen = ["depth-30-0", "depth-30-1", "depth-10-0", "depth-10-1"]
    app = draw(runs, "Compare", chosen=chosen, group=["n_unfreeze", "augment"])
    assert not app.exception
    assert list(app.selectbox(key="first").options) == [
        "last 10 layers unfrozen · not augmented",
        "last 30 layers unfrozen · augmented",
    ]


@pytest.mark.fault(24)
def test_latex_has_booktabs_rules_and_escapes_everything_special():
    hostile = r"50 % & $x_1$ #1 {a} ~ ^ \input{/etc/passwd}"
    table = pd.DataFrame({"Run": [hostile, ""], "Test": ["  9.8 % ± 0.3", pd.NA]})
    lines = as_latex(table).decode("utf-8").splitlines()
    assert lines[0] == r"% needs \usepackage{booktabs}" and lines[1] == r"\begin{tabular}{lr}"
    assert [line for line in lines if line.endswith("rule")] == [r"\toprule", r"\midrule", r"\bottomrule"]
    [row] = [line for line in lines if line.startswith("50")]
    commands = set(re.findall(r"\\[A-Za-z]+", row))
    assert commands == {r"\textasciitilde", r"\textasciicircum", r"\textbackslash", r"\space"}
    assert row.endswith(r"9.8 \% ± 0.3 \\")
    assert not re.search(r"(?<!\\)[%#_$]", row) and row.count(" & ") == 1 and r"\&" in row
    assert lines[-3] == r"– & – \\"


def test_the_chosen_rows_are_downloaded_as_latex(view):
    rows = view.rows
    chosen = ["depth-30-0", "depth-30-1", "depth-30-2"]
    text = _latex(rows, chosen[:1], None).decode()
    assert text.count(r"\\") == 2 and "depth-30-0 &" in text
    [row] = view.named(chosen[:1])
    assert f"{100 * row.metric('val_end2end'):.1f} \\%" in text
    groups = grouped(rows, [SEEDS])
    assert _latex(rows, chosen, groups).decode().count(r"\\") == 2
    assert _latex(rows, [], groups).decode().count(r"\\") == 1 + len(groups)
