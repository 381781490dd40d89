"""The static page of the runs: its content, what a hostile record can do to it, and its script in a real browser."""

import html
import json
import re
import shlex

import pytest

from tests.dashboard.server import CHROMIUM, quiet_page
from tests.dashboard.test_hostile import MARKUP, SCRIPT, UNREADABLE, as_bytes
from tests.samples import RUNNING, write_samples
from transfer_utils.cli.main import main
from transfer_utils.config.options import RunConfig, preset
from transfer_utils.dashboard.export import COLUMNS, export_page, fragment
from transfer_utils.records.record import RunRecord
from transfer_utils.utils.files import lock


def data_of(page: str) -> dict:
    """Return the data that the page's script reads, which ends where a browser would end its element."""
    return json.loads(page.split('class="runs-data">', 1)[1].split("</script", 1)[0])


def rows_of(page: str) -> list[list[str]]:
    """Return the text of all cells of the table's body."""
    rows = re.findall(r"<tr data-words.*?</tr>", page, re.DOTALL)
    cells = (re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL) for row in rows)
    return [[html.unescape(re.sub(r"<[^>]*>", "", cell)).strip() for cell in row] for row in cells]


def test_the_command_writes_every_run_with_its_results_options_and_curves(runs, tmp_path, capsys):
    assert main(["dashboard", "--runs", str(runs), "--export", str(tmp_path / "page")]) == 0
    path = tmp_path / "page" / "index.html"
    assert str(path) in capsys.readouterr().out
    page = path.read_text("utf-8")
    table, data = rows_of(page), data_of(page)
    assert len(table) == 14 and {len(row) for row in table} == {len(COLUMNS)}
    assert [row[0] for row in table] == [run["name"] for run in data["runs"]]
    record = RunRecord.model_validate_json((runs / "depth-30-0" / "run.json").read_bytes())
    row = next(dict(zip(COLUMNS, row, strict=True)) for row in table if row[0] == "depth-30-0")
    assert row["Validation"].startswith(f"{100 * record.metrics['val_end2end']:.1f} % (")
    assert (row["Status"], row["Unfrozen"], row["Augmented"], row["Labels"]) == ("completed", "30", "yes", "all")
    run = next(run for run in data["runs"] if run["name"] == "depth-30-0")
    recorded = [value for stage in record.curves.values() for value in stage["val_accuracy"]]
    assert run["curves"]["val_accuracy"] == pytest.approx(recorded, abs=1e-4)
    assert run["options"]["n_unfreeze"] == "30" and run["command"] == record.command


def test_the_command_is_whole_and_makes_the_run_again_whatever_its_preset_was_then(tmp_path):
    config = preset("none", epochs_stage2=7)
    record = RunRecord(config=config.model_dump(), fingerprint=config.fingerprint, command="transfer-utils train")
    record.save(tmp_path / "0001-run" / "run.json")
    long = RunRecord(command="transfer-utils train " + "--option value " * 200)
    long.save(tmp_path / "0002-run" / "run.json")
    assert {run["command"] for run in data_of(fragment(tmp_path))["runs"]} == {config.command(), long.command}


def test_a_run_that_no_process_works_on_is_stopped(tmp_path):
    runs = write_samples(tmp_path)

    def status():
        return next(row[1] for row in rows_of(fragment(runs)) if row[0] == RUNNING)

    with lock(runs / RUNNING / "run.json"):
        assert status() == "running"
    assert status() == "stopped"


def test_the_page_loads_nothing_from_anywhere(runs, tmp_path):
    page = export_page(runs, tmp_path / "page").read_text("utf-8")
    outside = re.sub(r"http://www\.w3\.org/2000/svg", "", page)  # a name, not an address
    assert not re.search(r"https?://|\bsrc=|@import|url\(", outside)
    assert re.findall(r'<link[^>]*href="([^"]*)"', page) == ["data:,"]


@pytest.mark.parametrize("text", [SCRIPT, MARKUP, '</script><script>alert("taken")</script>', "\"'><img>", "<!--"])
def test_text_from_a_record_stays_text(text, tmp_path):
    config = {"model": text, "backbone": text, "data_dir": text, text: text}
    record = RunRecord(config=config, dataset={"name": text}, command=text, run_id=text)
    record.curves = {text: {"accuracy": [0.5, 0.6], "val_accuracy": [0.5, 0.6]}}
    record.save(tmp_path / "runs" / "0001-run" / "run.json")
    harmless = tmp_path / "harmless" / "0001-run" / "run.json"
    RunRecord(config={"model": "x"}).save(harmless)
    page, other = fragment(tmp_path / "runs"), fragment(tmp_path / "harmless")
    for element in ("<script", "</script", "<img", "<!--"):
        assert page.lower().count(element) == other.lower().count(element)
    (run,) = data_of(page)["runs"]
    assert run["command"] == text
    (row,) = rows_of(page)
    assert dict(zip(COLUMNS, row, strict=True))["Network"] == text[:40] + ("…" if len(text) > 40 else "")


@pytest.mark.parametrize("fingerprint", ["f", ""], ids=["made anew", "as it was recorded"])
@pytest.mark.parametrize("name", ["my pets", "my pets' photos"])
def test_no_folder_of_the_machine_is_published(tmp_path, name, fingerprint):
    config = RunConfig(dataset="folder", data_dir=f"/home/anna/{name}", weights=r"C:\Users\anna\w.npz")
    record = RunRecord(config=config.model_dump(), fingerprint=fingerprint, command=config.command())
    record.save(tmp_path / "0001" / "run.json")
    page = fragment(tmp_path)
    (run,) = data_of(page)["runs"]
    assert "anna" not in page and run["options"]["data_dir"] == name
    assert f"--data_dir {shlex.quote(name)} --weights w.npz" in run["command"]


@pytest.mark.parametrize(("folder", "shown"), [("/home/anna", "anna"), ("/", "/")])
def test_a_folder_that_holds_the_weights_leaves_their_name_whole(tmp_path, folder, shown):
    weights = f"{folder}/w.npz".replace("//", "/")
    config = RunConfig(dataset="folder", data_dir=folder, weights=weights).model_dump()
    command = f"train --dataset folder --data_dir {folder} --weights {weights} --output_dir runs/all"
    RunRecord(config=config, command=command).save(tmp_path / "0001" / "run.json")  # shown as it was recorded
    (run,) = data_of(fragment(tmp_path))["runs"]
    assert run["command"].endswith(f" --data_dir {shown} --weights w.npz --output_dir runs/all")


def test_files_that_cannot_be_read_are_named_and_the_others_are_shown(tmp_path):
    write_samples(tmp_path)
    for name, content in UNREADABLE.items():
        (tmp_path / f"bad-{name}").mkdir()
        (tmp_path / f"bad-{name}" / "run.json").write_bytes(as_bytes(content))
    page = fragment(tmp_path)
    listed = re.findall(r"<li><code>(.*?)</code>: (.+?)</li>", page, re.DOTALL)
    assert {path for path, _ in listed} == {f"bad-{name}/run.json" for name in UNREADABLE}
    assert ">2 files could not be read<" in page and len(rows_of(page)) == 14


def test_extreme_and_missing_numbers_leave_the_data_valid(tmp_path):
    record = RunRecord(config={"seed": 10**30, "n_unfreeze": None})
    record.curves = {"stage1": {"loss": [2.5, None, -1e308], "val_loss": [None], "accuracy": []}}
    record.save(tmp_path / "0001" / "run.json")
    (run,) = data_of(fragment(tmp_path))["runs"]
    assert run["curves"] == {"loss": [2.5, None, None]} and run["epochs"] == [1, 2, 3]


def test_without_runs_or_without_a_folder_the_page_or_the_error_says_so(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert "0 runs" in export_page(tmp_path / "empty", tmp_path / "page").read_text("utf-8")
    assert main(["dashboard", "--runs", str(tmp_path / "none"), "--export", str(tmp_path / "other")]) == 2
    assert "runs must be a folder of run records" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
    (tmp_path / "file").touch()
    assert main(["dashboard", "--runs", str(tmp_path / "empty"), "--export", str(tmp_path / "file")]) == 2
    assert "is a file: name a folder for the page" in capsys.readouterr().err


@pytest.fixture
def page(browser):
    with quiet_page(browser, "file:") as page:
        yield page


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed (Debian: apt-get install chromium)")
def test_in_a_browser_the_table_sorts_filters_and_compares(tmp_path, page):
    from playwright.sync_api import expect

    runs = write_samples(tmp_path / "runs")
    curves = {SCRIPT: {"loss": [1e308, -1e308]}, "constructor": {"loss": [1.0]}}
    RunRecord(config={"model": SCRIPT}, curves=curves).save(runs / "hostile" / "run.json")
    path = export_page(runs, tmp_path / "page")
    page.goto(path.as_uri())
    visible = page.locator("tbody tr:visible")
    expect(visible).to_have_count(15)

    head = page.get_by_role("columnheader", name="Validation")
    for direction, reverse in (("ascending", False), ("descending", True)):
        head.get_by_role("button").click()
        expect(head).to_have_attribute("aria-sort", direction)
        keys = visible.locator("td:nth-child(3)").evaluate_all("cells => cells.map(cell => cell.dataset.key)")
        present = [key for key in keys if key]
        assert keys == sorted(present, key=float, reverse=reverse) + [""] * (len(keys) - len(present))

    page.get_by_label("Search").fill("n_unfreeze=30 completed")
    expect(visible).to_have_count(5)
    expect(page.get_by_role("status")).to_have_text("5 of 15 runs")
    page.get_by_label("Status").select_option("failed")
    expect(visible).to_have_count(0)
    page.get_by_role("button", name="Show all").click()
    page.get_by_label("Search").fill("n_unfreeze=3")  # not 30
    expect(visible).to_have_count(0)
    page.get_by_role("button", name="Show all").click()
    expect(visible).to_have_count(15)

    page.get_by_label("depth-10-0", exact=True).check()
    expect(page.locator(".runs-charts svg path")).to_have_count(4)
    page.get_by_label("depth-30-0", exact=True).check()
    expect(page.locator(".runs-charts svg path")).to_have_count(8)
    differing = page.locator(".runs-options tbody tr")
    expect(differing).to_have_text(["n_unfreeze1030", "augmentnoyes"])
    page.get_by_label("hostile", exact=True).check()
    expect(page.get_by_label("depth-10-0", exact=True)).not_to_be_checked()
    page.get_by_label("depth-30-0", exact=True).uncheck()
    expect(page.locator(".runs-legend strong")).to_have_text("hostile")

    page.goto(f"{path.as_uri()}#runs=head-only-0,head-only-1,baseline-0")
    expect(visible).to_have_count(3)
    assert page.title() == "Recorded runs"
