"""The dashboard in a real browser: every page, and the connections of its server."""

import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytest.importorskip("playwright", reason="Playwright is not installed")
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.dashboard.server import CENTRE, NEEDS_CHROMIUM, open_page, wait_until_drawn
from tests.samples import OLD_LOG, RUNNING, TESTED_CLASSES, predictions, write_run, write_samples, write_tested
from tests.utils.test_files import HOLD
from transfer_utils.dashboard.parts import REFRESH_SECONDS
from transfer_utils.records.record import read_record
from transfer_utils.utils.files import lock

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, model_run: Path) -> Iterator[Path]:
    folder = write_samples(tmp_path_factory.mktemp("browser"))
    shutil.copytree(model_run / "0001-colours", folder / "colours")
    with lock(folder / RUNNING / "run.json"):
        yield folder


def select(page: Page, row: int) -> None:
    """Select a row of the table, counted from 0. The table is one canvas with evenly spaced rows."""
    grid = page.get_by_test_id("stDataFrame").first
    rows = int(grid.locator("table").get_attribute("aria-rowcount"))
    box = grid.bounding_box()
    step = box["height"] / rows
    page.mouse.click(box["x"] + 16, box["y"] + step * (row + 1.5))


def rows(page: Page) -> Locator:
    """Return the rows of the first table, as a screen reader sees them. The page may still be at work on them."""
    return page.get_by_test_id("stDataFrame").first.locator("tr")


def cells(page: Page) -> list[list[str]]:
    """Return the cells of the first table as it stands."""
    return rows(page).evaluate_all("rows => rows.map(row => [...row.children].map(cell => cell.textContent))")


def test_two_runs_are_selected_and_compared(page):
    open_page(page, "search=depth-&sort=name")
    select(page, 0)
    expect(page.get_by_text("8 of 15 runs, 1 chosen")).to_be_visible()
    select(page, 2)
    expect(page.get_by_text("8 of 15 runs, 2 chosen")).to_be_visible()
    expect(page).to_have_url(re.compile("chosen=depth-10-0&chosen=depth-30-0"))

    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_text("Options that differ")).to_be_visible()
    expect(rows(page)).to_have_count(3)  # the header and the two options that differ
    differences = [row[-3:] for row in cells(page)]
    assert ["n_unfreeze", "10", "30"] in differences and ["augment", "no", "yes"] in differences


def test_an_image_is_uploaded(page, picture):
    open_page(page, "page=Try+it")
    page.locator('input[type="file"]').set_input_files({"name": "red.png", "mimeType": "image/png", "buffer": picture})
    expect(page.get_by_text("Grad-CAM")).to_be_visible()
    expect(page.get_by_text("The input of the network: 8 px, resized to 32 px")).to_be_visible()
    expect(page.get_by_test_id("stImage").locator("img")).to_have_count(3)
    expect(page.get_by_text("<b>red</b>", exact=True)).to_be_visible()


@pytest.mark.fault(35)
def test_a_new_run_appears_without_a_reload_and_is_shown_as_stopped_when_it_is_killed(page, folder):
    open_page(page, "page=Runs")
    expect(page.get_by_text("1 running")).to_be_visible()
    command = [sys.executable, "-c", HOLD, str(folder / "new" / "run.json")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        run.stdout.readline()  # as soon as it holds the lock
        write_run(folder / "written", {"n_unfreeze": 7}, "running", 20).rename(folder / "new" / "run.json")
        expect(page.get_by_text("2 running")).to_be_visible()
        expect(page.get_by_text("16 of 16 runs")).to_be_visible()
        expect(page.get_by_text("new: epoch 16 of 20 (stage 2)")).to_be_visible()
        run.kill()
    expect(page.get_by_text("1 running")).to_be_visible()
    expect(rows(page).filter(has_text="stopped")).to_have_count(1)
    for name in ("new", "written"):
        shutil.rmtree(folder / name)
    expect(page.get_by_text("15 of 15 runs")).to_be_visible()


# Streamlit sends a changed widget from a timer of 0 ms. Here that timer waits, so that others are due before it.
SLOW_TO_SEND = """
window.delay = 0;
const setTimer = window.setTimeout;
window.setTimeout = (call, delay, ...more) => setTimer(call, delay || window.delay, ...more);
"""


def test_a_click_is_not_lost_when_the_timer_of_the_page_is_due_before_its_message(page):
    page.add_init_script(SLOW_TO_SEND)
    open_page(page, "search=depth-&sort=name")
    page.evaluate(f"window.delay = {1_100 * REFRESH_SECONDS}")
    select(page, 0)
    expect(page.get_by_text("8 of 15 runs, 1 chosen")).to_be_visible()
    page.get_by_role("textbox", name="Search").fill("depth-3")
    page.get_by_role("textbox", name="Search").press("Enter")
    expect(page.get_by_text("4 of 15 runs, 1 chosen")).to_be_visible()
    page.get_by_test_id("stButtonGroup").get_by_role("radio", name="Compare", exact=True).click()
    expect(page.get_by_role("heading", name="Accuracy", exact=True)).to_be_visible()
    page.get_by_role("combobox", name="Runs").press("Backspace")
    expect(page.get_by_text("Choose runs here")).to_be_visible()


def test_the_back_button_leads_back_with_tab_filter_and_choice(page):
    open_page(page, "sort=name")
    page.get_by_role("textbox", name="Search").fill("depth-")
    page.get_by_role("textbox", name="Search").press("Enter")
    expect(page.get_by_text("8 of 15 runs", exact=True)).to_be_visible()
    expect(rows(page)).to_have_count(9)  # the table changes after the text beside it
    wait_until_drawn(page)
    select(page, 0)
    expect(page.get_by_text("8 of 15 runs, 1 chosen")).to_be_visible()
    page.get_by_test_id("stButton").get_by_role("button", name="Open", exact=True).click()
    expect(page).to_have_url(re.compile("run=depth-10-0"))
    page.get_by_role("tab", name="Files").click()
    expect(page).to_have_url(re.compile("part=Files"))
    page.get_by_test_id("stButtonGroup").get_by_role("radio", name="Try it", exact=True).click()
    expect(page).to_have_url(re.compile("page=Try"))
    expect(page.get_by_text("Upload an image")).to_be_visible()
    last = page.url

    page.go_back()
    expect(page.get_by_role("tab", name="Files")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_text("Links are not followed")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("tab", name="Curves")).to_have_attribute("aria-selected", "true")
    page.go_back()
    expect(page.get_by_text("8 of 15 runs, 1 chosen")).to_be_visible()
    expect(page.get_by_role("textbox", name="Search")).to_have_value("depth-")
    page.go_back()
    expect(page.get_by_text("8 of 15 runs", exact=True)).to_be_visible()
    wait_until_drawn(page)  # the address is written last; steps that do not wait for it follow below
    page.go_back()
    expect(page.get_by_text("15 of 15 runs", exact=True)).to_be_visible()
    expect(page.get_by_role("textbox", name="Search")).to_have_value("")
    first = page.url

    # Quick steps: each is sent with the widgets of a page that the browser still shows.
    for step, text, address in (("forward", "Upload an image", last), ("back", "15 of 15 runs", first)):
        for _ in range(5):
            page.evaluate(f"history.{step}()")
        expect(page.get_by_text(text).first).to_be_visible()
        wait_until_drawn(page)
        expect(page).to_have_url(address)


@pytest.mark.fault(36)
def test_damaged_records_do_not_take_a_page_down(page, folder):
    damaged = {"huge": [1e308, -1e308, 0.5], "null": None, "words": ["a"]}
    for name, curve in damaged.items():
        (folder / name).mkdir()
        (folder / name / "run.json").write_text(json.dumps({"curves": {"stage1": {"val_accuracy": curve}}}))
    (folder / "bom.json").write_text(json.dumps(OLD_LOG), "utf-16")
    open_page(page, "page=Runs")
    expect(page.get_by_text("19 of 19 runs")).to_be_visible()
    expect(page.get_by_text("3 files could be read only in part")).to_be_visible()
    open_page(page, "page=One+run&run=huge")
    expect(page.get_by_text("Parts of this record are damaged and left out")).to_be_visible()
    open_page(page, "page=Compare&chosen=huge&chosen=null&chosen=bom&chosen=depth-10-0")
    expect(page.get_by_text("Options that differ")).to_be_visible()
    expect(page.get_by_text("could not be drawn")).to_have_count(0)
    for name in damaged:
        shutil.rmtree(folder / name)
    (folder / "bom.json").unlink()


def save_first_chart(page: Page) -> tuple[str, bytes]:
    """Save the first chart of a page; return the name and the content of the file."""
    page.locator(".js-plotly-plot").first.hover()
    with page.expect_download() as download:
        page.locator('[data-title^="Download plot"]').first.click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


# For every text of a picture: how far it is beyond the edges, in pixels, and its contrast with the paper (WCAG 2.2).
TEXTS = """svg => {
    const luminance = colour => {
        const parts = colour.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255);
        const [r, g, b] = parts.map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const frame = svg.getBoundingClientRect(), paper = luminance(getComputedStyle(svg.querySelector("rect")).fill);
    return [...svg.querySelectorAll("text")].filter(text => text.textContent.trim()).map(text => {
        const box = text.getBoundingClientRect(), style = getComputedStyle(text);
        const across = Math.max(frame.left - box.left, box.right - frame.right);
        const beyond = Math.max(across, frame.top - box.top, box.bottom - frame.bottom);
        const [low, high] = [luminance(style.fill), paper].sort((a, b) => a - b);
        return {text: text.textContent, beyond, contrast: style.fillOpacity * (high + 0.05) / (low + 0.05), paper};
    });
}"""


def test_a_saved_chart_is_whole_and_has_its_font_and_the_chosen_format_and_colours(page):
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 390, "height": 1000})
    names = ["depth-30-0", "depth-10-0", "head-only-0", "baseline-0"]
    address = "page=Compare&group=configuration+(mean+over+seeds)&colours=light"
    address += "".join(f"&chosen={name}" for name in names)
    open_page(page, f"{address}&format=SVG")
    svg_name, content = save_first_chart(page)
    svg = content.decode()
    assert '@font-face{font-family:"Source Sans"' in svg and "url(data:font/woff2;base64," in svg
    open_page(page, f"{address}&format=PNG")
    png_name, content = save_first_chart(page)
    picture = Image.open(io.BytesIO(content))
    assert (svg_name, png_name, picture.format) == ("compare-curves.svg", "compare-curves.png", "PNG")
    assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255), "light, as chosen, on the dark page"

    page.goto("about:blank")
    page.set_content(svg)
    shown = page.locator("svg").first
    size = shown.bounding_box()
    assert picture.size == (2 * size["width"], 2 * size["height"])
    texts = shown.evaluate(TEXTS)
    assert {"validation", "training", "epoch"} <= {text["text"] for text in texts} and len(texts) > 15
    assert [text for text in texts if text["beyond"] > 1 or text["contrast"] < 4.5] == []
    assert texts[0]["paper"] == 1


def test_a_run_in_progress_keeps_the_zoom_and_the_hidden_line(page, folder):
    path = write_run(folder / "moving", {"n_unfreeze": 60}, "running", 22)
    open_page(page, "page=Compare&chosen=moving&chosen=depth-30-0")
    chart = page.locator(".chart").first
    hidden = "chart => chart._fullData.filter(line => line.visible === 'legendonly').map(line => line.uid)"
    zoom = "chart => [chart._fullLayout.xaxis.range, chart._fullLayout.yaxis.range].flat()"
    chart.locator(".legendtoggle").first.click()
    page.wait_for_function(f"() => ({hidden})(document.querySelector('.chart')).length")
    whole = chart.evaluate(zoom)
    plot = chart.locator(".nsewdrag").first.bounding_box()
    page.mouse.move(plot["x"] + 40, plot["y"] + 20)
    page.mouse.down()
    page.mouse.move(plot["x"] + 300, plot["y"] + 120, steps=5)
    page.mouse.up()
    page.wait_for_function(f"whole => ({zoom})(document.querySelector('.chart'))[1] < whole[1] / 2", arg=whole)
    before = chart.evaluate(zoom), chart.evaluate(hidden)

    record = read_record(path)
    epochs = len(record.curves["stage1"]["loss"]) + len(record.curves["stage2"]["loss"])
    record.curves["stage2"] = {name: [*values, values[-1]] for name, values in record.curves["stage2"].items()}
    record.save(path)
    page.wait_for_function("n => document.querySelector('.chart')._fullData[0].x.length === n", arg=epochs + 1)
    wait_until_drawn(page)
    assert (chart.evaluate(zoom), chart.evaluate(hidden)) == before and len(before[1]) >= 2
    shutil.rmtree(path.parent)


def test_a_part_of_an_axis_selects_runs_and_stays_selected_when_a_record_changes(page, folder):
    open_page(page, "page=Compare&chosen=depth-30-0&chosen=depth-10-0&chosen=baseline-0")
    chart = page.locator("[class*=st-key-chart-compare-options] .chart")
    page.wait_for_function(f"() => ({CHART})?._fullData")
    chart.scroll_into_view_if_needed()
    place = "({_fullLayout: {xaxis, yaxis}, _fullData: [worst]}) => [xaxis.d2p(worst.x.length - 1), yaxis.d2p(0)]"
    x, y = chart.evaluate(place)  # of the lowest accuracy, on the last axis
    plot = chart.locator(".nsewdrag").bounding_box()
    page.mouse.move(plot["x"] + x - 15, plot["y"] + y - 15)
    page.mouse.down()
    page.mouse.move(plot["x"] + x + 15, plot["y"] + y + 10, steps=5)
    page.mouse.up()
    strong = f"() => ({CHART})._fullData.filter(line => line.opacity === 1).map(line => line.name).join()"
    page.wait_for_function(f"() => ({strong})() === 'baseline-0'")

    record = read_record(folder / "depth-10-0" / "run.json")
    record.metrics["val_end2end"] += 1e-3
    record.save(folder / "depth-10-0" / "run.json")
    changed = f"{100 * record.metrics['val_end2end']:.1f}"
    page.wait_for_function(f"text => ({CHART})._fullData[1].text.at(-1).startsWith(text)", arg=changed)
    wait_until_drawn(page)
    assert page.evaluate(strong) == "baseline-0"
    chart.locator(".nsewdrag").dblclick(position={"x": x, "y": y - 60})
    page.wait_for_function(f"() => ({strong})().split(',').length === 3")
    record.metrics["val_end2end"] -= 1e-3
    record.save(folder / "depth-10-0" / "run.json")


CHART = "document.querySelector('[class*=st-key-chart-compare-options] .chart')"


def test_a_cell_and_a_picture_are_clicked_and_the_back_button_leads_back(page, folder):
    counts = write_tested(folder / "one", predictions(1)).confusion_matrix()
    true, predicted = 0, 2  # not the cell that is shown at first; the name of the true class holds markup
    open_page(page, "page=Mistakes&show=Least+sure")
    expect(page.get_by_text("All test images, the least confident prediction first")).to_be_visible()
    chart = page.locator(".chart.clickable")
    expect(chart.locator(".main-svg").first).to_be_visible()

    page.mouse.click(*chart.evaluate(CENTRE, [predicted, true]))
    title = f"{counts[true, predicted]} images of {TESTED_CLASSES[true]}, predicted {TESTED_CLASSES[predicted]}"
    expect(page.get_by_text(title)).to_be_visible()
    expect(page).to_have_url(re.compile("true="))
    tiles = page.locator("button.tile")
    expect(tiles).to_have_count(int(counts[true, predicted]))
    assert tiles.first.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 8

    tiles.first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("Grad-CAM would show")).to_be_visible()
    expect(page).to_have_url(re.compile(r"picture=\d+"))
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page).to_have_url(re.compile(r"^(?!.*picture=)"))
    expect(page.get_by_text(title)).to_be_visible()

    page.go_back()
    expect(dialog.get_by_text("Grad-CAM would show")).to_be_visible()
    page.go_back()
    expect(dialog).to_have_count(0)
    expect(page.get_by_text(title)).to_be_visible()
    page.go_back()
    expect(page.get_by_text("All test images, the least confident prediction first")).to_be_visible()
    shutil.rmtree(folder / "one")


def test_on_a_narrow_page_the_table_comes_first_and_no_chart_is_wider_than_the_page(page):
    page.set_viewport_size({"width": 390, "height": 844})
    open_page(page, "page=Runs")
    table, best = page.get_by_test_id("stDataFrame").first, page.locator(".st-key-best-configurations")
    expect(best).to_be_visible()
    assert table.bounding_box()["y"] < 700 and table.bounding_box()["y"] < best.bounding_box()["y"]
    open_page(page, "page=Compare&chosen=depth-30-0&chosen=baseline-0&chosen=depth-10-0")
    charts = page.locator(".js-plotly-plot")
    expect(charts).to_have_count(4)
    for chart in charts.all():
        column = chart.locator("xpath=..").bounding_box()
        assert column["x"] >= 0 and column["x"] + column["width"] <= 390
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 390


@pytest.mark.fault(30)
def test_the_server_accepts_only_local_connections_and_makes_none(server, page):
    open_page(page, "page=Study")
    processes = [server[1], *server[1].children(recursive=True)]
    connections = [connection for process in processes for connection in process.net_connections("inet")]
    assert {end.laddr.ip for end in connections if end.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
    assert {end.raddr.ip for end in connections if end.raddr} <= {"127.0.0.1"}
