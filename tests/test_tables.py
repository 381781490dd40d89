import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tools.tables import BENCHMARKS, PAGES, dashboard_table, fresh_pages, fresh_tables, growth_table, speed_table
from transfer_utils.errors import UserError
from transfer_utils.records.folder import load_runs
from transfer_utils.report.readme import results_table


def test_the_tables_of_all_pages_are_fresh():
    for name, text in fresh_pages(ROOT, load_runs(ROOT / "runs").runs).items():
        assert (ROOT / name).read_text("utf-8") == text, f"{name} is stale: run `make tables`"


@pytest.fixture
def pages(tmp_path):
    """Write pages that have the markers of their tables and other text."""
    (tmp_path / "docs").mkdir()
    for page, names in PAGES.items():
        text = "# A page\n" + "".join(f"<!-- {name} -->\nold\n<!-- /{name} -->\nbetween\n" for name in names)
        (tmp_path / page).write_text(text, "utf-8")
    return tmp_path


def test_make_tables_replaces_only_the_text_between_the_markers_and_names_what_it_cannot_read(small_record, pages):
    small_record.save(pages / "runs" / "0001" / "run.json")
    (pages / "runs" / "damaged.json").write_text("{")
    before = {page: (pages / page).read_text("utf-8") for page in PAGES}
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tools.tables", ".", "runs"]
    done = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True)
    assert done.stdout.startswith("runs/damaged.json cannot be read (not JSON")
    tables = fresh_tables(load_runs(pages / "runs").runs)
    for page, names in PAGES.items():
        for name in names:
            before[page] = before[page].replace(f"<!-- {name} -->\nold\n", f"<!-- {name} -->\n{tables.pop(name)}")
        assert (pages / page).read_text("utf-8") == before[page]
        assert "digits on photographs" in before[page] or "results" not in names
    assert not tables, "every table has a page"


def test_what_the_page_on_not_sure_says_of_its_table_is_true():
    text = " ".join((ROOT / "docs" / "not-sure.md").read_text("utf-8").split())
    for sentence in (
        "In these two runs the energy has a higher AUROC than the largest probability in every row, by 0.7 to 6.4",
        "of the letters and digits each score stops 23 to 38 %, and the energy at most 5 points more",
        "slightly more of the remaining answers are right (86.4 against 86.0 % on CIFAR-10)",
    ):
        assert sentence in text
    gains, stopped = [], []
    for row in json.loads((BENCHMARKS / "not_sure.json").read_text("utf-8"))["rows"]:
        right = {score: own["right"] for score, own in row["test"].items()}
        assert max(right, key=right.get) == "largest probability"
        for kind, scores in row["foreign"].items():
            ours, energy = scores["largest probability"], scores["energy"]
            gains.append(round(100 * (energy["auroc"][0] - ours["auroc"][0]), 1))
            if kind.startswith(("letters", "digits")):
                stopped += [score["share"] for score in scores.values()]
                assert energy["share"] - ours["share"] < 0.055
    assert (min(gains), max(gains)) == (0.7, 6.4)
    assert (round(100 * min(stopped)), round(100 * max(stopped))) == (23, 38)


def result_rows(folder) -> list[str]:
    return results_table(load_runs(folder).runs).splitlines()[2:]


def test_a_preset_has_one_row_with_its_newest_completed_run(small_record, tmp_path):
    for number, (minutes, status) in enumerate([(9, "completed"), (6, "completed"), (3, "failed")]):
        small_record.timing_sec["total"], small_record.status = 60.0 * minutes, status
        small_record.save(tmp_path / f"{number:04d}" / "run.json")
    [row] = result_rows(tmp_path)
    assert "| 6.0 |" in row


def test_the_seeds_of_a_preset_share_a_row_with_their_mean_and_its_interval(small_record, tmp_path):
    for number, (seed, accuracy) in enumerate([(1, 0.80), (0, 0.30), (0, 0.82), (2, 0.84)]):
        small_record.config["seed"], small_record.command = seed, f"train --seed {seed}"
        small_record.metrics["test_end2end"], small_record.timing_sec["total"] = accuracy, 60.0 * (1 + number)
        small_record.save(tmp_path / f"{number:04d}" / "run.json")
    [row] = result_rows(tmp_path)
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    # Student's t with 2 degrees of freedom, 4.303 times 2 points over the root of 3, and half of Wilson's 63 to 90 %.
    assert cells[2] == "3" and cells[4] == "82.0 % (67.6–96.4)" and cells[6] == "3.0"
    assert cells[7] == "`transfer-utils train --preset offline`", "the first seed's command, without a machine's paths"
    small_record.metrics["test_end2end"] = None
    small_record.save(tmp_path / "0003" / "run.json")
    assert result_rows(tmp_path)[0].split("|")[5].strip() == "–", "a mean over two of three seeds would mislead"


def test_a_diverged_seed_counts_as_guessing_unless_all_have_diverged(small_record, tmp_path):
    small_record.metrics["test_end2end"] = 0.8
    small_record.dataset |= {"class_names": list("abcde"), "images": {"test": 100, "validation": 100}}
    small_record.save(tmp_path / "0000" / "run.json")
    small_record.config["seed"], small_record.status, small_record.metrics = 1, "diverged", {}
    small_record.save(tmp_path / "0001" / "run.json")
    [row] = result_rows(tmp_path)
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    assert cells[2] == "2" and cells[4].startswith("50.0 % (")
    (tmp_path / "0000" / "run.json").unlink()
    assert result_rows(tmp_path) == []


def test_a_record_of_other_options_has_no_row(small_record, tmp_path):
    small_record.config = {"batch_size": 32}
    small_record.save(tmp_path / "0001" / "run.json")
    assert result_rows(tmp_path) == []


@pytest.mark.parametrize(("model", "rows"), [("transfer", 1), ("baseline", 0)])
def test_epochs_baseline_matters_only_for_the_baseline(small_record, tmp_path, model, rows):
    small_record.config |= {"model": model, "epochs_baseline": 7}
    small_record.save(tmp_path / "0001" / "run.json")
    assert len(result_rows(tmp_path)) == rows


@pytest.mark.parametrize("missing", ["<!-- presets -->", "<!-- /options -->"])
def test_a_page_without_a_marker_is_an_error(pages, missing):
    page = pages / "docs" / "options.md"
    page.write_text(page.read_text("utf-8").replace(missing, ""), "utf-8")
    with pytest.raises(UserError, match=missing.strip("<!-/ >")):
        fresh_pages(pages, [])


def test_the_dashboard_table_has_measured_times_and_targets():
    spread = {"median": 1.234, "slowest": 2, "n": 5}
    measured = {"runs": 1004, "cores": 2, "targets": {"first paint": 3.0}, "first paint": spread}
    measured |= {"load average before": 0.1, "memory of the server in MB": {"measured": 251, "target": 300}}
    assert dashboard_table(measured).splitlines() == [
        "| over 1,004 runs, on 2 cores with a load average of 0.1 | median | slowest | aim |",
        "|---|---|---|---|",
        "| first paint | 1.23 s | 2.00 s | 3 s |",
        "| memory of the server | 251 MB |  | 300 MB |",
    ]


def test_the_speed_table_has_ratios_targets_and_accuracies():
    row = {"what": "head", "against": "AdamW", "unit": "images/s", "plain": 1234.4, "ours": 9876.0, "target": 6}
    row |= {"ratio": {"median": 8.04, "low": 7.5, "high": 9}, "val_accuracy": {"plain": [0.5, 0.7], "ours": [0.65]}}
    row["load"] = [0.04, 0.12]
    run = row | {"what": "run", "unit": "runs/s", "plain": 1 / 600, "ours": 1 / 60, "target": None}
    del run["val_accuracy"]
    assert speed_table([{"rows": [row]}, {"rows": [run]}]).splitlines()[2:] == [
        "| head | AdamW | 1,234 images/s | 9,876 images/s | 8.0 (7.5–9.0) | 6 | 60.0 %, 65.0 % | 0.1 |",
        "| run | AdamW | 600 s | 60 s | 8.0 (7.5–9.0) | – | – | 0.1 |",
    ]


def test_the_growth_table_sums_the_phases():
    row = {"images": 4000, "seconds": {"boundary": 3.25, "stage2": 20.5}, "peak_memory_mb": 1265}
    row |= {"peak_own_memory_mb": 620, "peak_memory_mb_until": {"boundary": 800, "stage2": 1200}}
    assert growth_table({"rows": [row]}).splitlines() == [
        "| training images | boundary | stage2 | together | peak memory | peak own memory |",
        "|---|---|---|---|---|---|",
        "| 4,000 | 3.2 s, 800 MiB | 20.5 s, 1,200 MiB | 24 s | 1,265 MiB | 620 MiB |",
    ]
