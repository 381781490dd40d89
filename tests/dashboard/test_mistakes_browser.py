"""The page of mistakes in a real browser: a cell of the matrix and a picture are clicked, and the way back works."""

import re

import numpy as np
import pytest

from tests.dashboard.server import CENTRE, NEEDS_CHROMIUM, chromium, served
from tests.samples import TESTED_CLASSES, predictions, write_tested

pytestmark = NEEDS_CHROMIUM


def test_a_cell_and_a_picture_are_clicked_and_the_back_button_leads_back(tmp_path):
    expect = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed").expect
    test = write_tested(tmp_path / "one", predictions(1))
    counts = test.confusion_matrix()
    mistakes = np.where(np.eye(3, dtype=bool), counts.max(), counts)
    true, predicted = (
        int(place) for place in np.unravel_index(mistakes.argmin(), mistakes.shape)
    )  # not shown at first
    with served(tmp_path) as (address, _), chromium() as browser:
        page, messages = browser.new_page(viewport={"width": 1440, "height": 1000}), []
        page.set_default_timeout(60_000)
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.goto(f"{address}/?page=Mistakes&show=Least+sure")
        expect(page.get_by_text("All test images, the least confident prediction first")).to_be_visible()
        chart = page.locator(".chart.clickable")
        expect(chart.locator(".main-svg").first).to_be_visible()

        page.mouse.click(*chart.evaluate(CENTRE, [predicted, true]))
        title = f"{counts[true, predicted]} images of {TESTED_CLASSES[true]}, predicted {TESTED_CLASSES[predicted]}"
        expect(page.get_by_text(title)).to_be_visible()
        expect(page).to_have_url(re.compile("true="))
        tiles = page.locator("button.tile")
        expect(tiles).to_have_count(min(int(counts[true, predicted]), 48))
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
        assert page.get_by_test_id("stException").count() == 0 and messages == []
