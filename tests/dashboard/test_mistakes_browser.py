"""The page of mistakes in a real browser: a cell of the matrix and a picture are clicked, and the way back works."""

import re
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="Playwright is not installed")
from playwright.sync_api import expect

from tests.dashboard.server import CENTRE, NEEDS_CHROMIUM, open_page
from tests.samples import TESTED_CLASSES, predictions, write_tested

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tested")


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
