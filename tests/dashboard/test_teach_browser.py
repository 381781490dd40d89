"""The page "Teach" in a real browser: from the empty page to a downloaded model, by upload and by camera."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("playwright", reason="Playwright is not installed")
from PIL import Image
from playwright.sync_api import Page, expect

from tests.dashboard.server import BROWSER_FLAGS, CHROMIUM, NEEDS_CHROMIUM, camera, open_page, served, wait_until_drawn
from tests.pictures import bomb, new_collection, picture, zipped
from transfer_utils.records.record import read_record
from transfer_utils.teach.collection import Collection

pytestmark = NEEDS_CHROMIUM
TRAINING_MS = 300_000  # of a busy machine; a quiet one takes a tenth


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def send(shown: Page, place: int, files: dict[str, bytes]) -> None:
    """Upload files for the class at ``place``, once the field of the last upload has been replaced by an empty one."""
    wait_until_drawn(shown)
    chooser = shown.locator(f".st-key-class-{place} input[type=file]")
    chooser.set_input_files([{"name": name, "mimeType": "image/png", "buffer": files[name]} for name in files])


@pytest.mark.fault(39)
def test_from_the_empty_page_to_a_downloaded_model(page, folder):
    open_page(page, "page=Teach")
    page.get_by_role("textbox", name="Name of the classifier").fill("kitchen")
    page.get_by_role("textbox", name="Its classes").fill("cup, plate")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_disabled()

    cups = {f"{i}.png": picture("cup", i) for i in range(8)}
    send(
        page,
        0,
        cups | {"bomb.png": bomb(), "a" * 290 + ".png": picture(), "out.zip": zipped({"../../evil.png": picture()})},
    )
    expect(page.locator(".st-key-class-0").get_by_text("8 pictures")).to_be_visible()
    expect(page.get_by_text("bomb.png: 60000 x 60000 pixels; the limit is 64 million")).to_be_visible()
    expect(page.get_by_text("a name of 294 characters; the limit is 200")).to_be_visible()
    expect(page.get_by_text("out.zip holds a path that leads out of it")).to_be_visible()
    send(page, 0, {"wrong.png": picture("plate", 99)})
    expect(page.locator(".st-key-class-0").get_by_text("9 pictures")).to_be_visible()
    wait_until_drawn(page)
    page.locator(".st-key-class-0").get_by_role("button", name="See all 9").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="wrong.png").click()
    expect(dialog.get_by_role("button", name="wrong.png")).to_have_attribute("aria-pressed", "true")
    dialog.get_by_role("button", name="Remove 1 picture").click()
    expect(dialog.get_by_text("cup: 8 pictures")).to_be_visible()
    dialog.get_by_role("button", name="Close").click()
    expect(page.locator(".st-key-class-0").get_by_text("8 pictures")).to_be_visible()
    send(page, 1, {"plates.zip": zipped({f"plates/{i}.png": picture("plate", i) for i in range(8)})})
    expect(page.locator(".st-key-class-1").get_by_text("8 pictures")).to_be_visible()

    page.get_by_role("radio", name="letters").click()
    expect(page.get_by_text("knows no animals, faces or things").first).to_be_visible()
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_enabled()
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.get_by_text("by cross-validation, 3 × 5-fold")).to_be_visible(timeout=TRAINING_MS)
    expect(page.get_by_role("heading", name="Use it")).to_be_visible(timeout=TRAINING_MS)
    wait_until_drawn(page)

    run = folder / "0001-kitchen-transfer"
    record = read_record(run / "run.json")
    assert record.status == "completed" and record.dataset["images"] == {"train": 9, "validation": 3, "test": 4}
    accuracy = f"{100 * record.metrics['test_end2end']:.1f} %"
    expect(page.get_by_role("combobox", name="Classifier of the run")).to_have_value(re.compile(re.escape(accuracy)))
    for label, file in (("Model", "model.keras"), ("LiteRT", "model-float32.tflite"), ("Record", "run.json")):
        with page.expect_download() as download:
            page.get_by_role("button", name=label, exact=True).click()
        assert Path(download.value.path()).read_bytes() == (run / file).read_bytes(), label
    for label, suffix, kind in (("Model", ".keras", "threshold"), ("LiteRT", ".tflite", "threshold_float32")):
        with page.expect_download() as download:
            page.get_by_role("button", name=f"Class names ({label})").click()
        assert download.value.suggested_filename == f"0001-kitchen-transfer{suffix}.classes.json"
        notes = {"class_names": ["cup", "plate"], "not_sure_below": record.not_sure[kind]}
        assert json.loads(Path(download.value.path()).read_text("utf-8")) == notes

    kept = [path for path in folder.rglob("*") if path.suffix == ".png"]
    assert len(kept) == 16 and {path.parents[1].name for path in kept} == {"kitchen"}
    open_page(page, "page=Runs")
    expect(page.get_by_text("1 of 1 run", exact=False).first).to_be_visible()


@pytest.mark.torture
def test_pictures_are_taken_with_the_camera(tmp_path, browser):
    noise = np.random.default_rng(0).integers(0, 256, (30, 30, 40, 3), np.uint8)  # no two pictures are the same
    film = (Image.fromarray(each).resize((320, 240), Image.Resampling.NEAREST) for each in noise)
    collection = new_collection(tmp_path)
    flags = [*BROWSER_FLAGS, *camera(tmp_path / "camera.y4m", film)]
    with served(tmp_path) as (address, _):
        chromium = browser.browser_type.launch(executable_path=CHROMIUM, args=flags)
        shown = chromium.new_page(viewport={"width": 1440, "height": 1000})
        shown.goto(f"{address}/?page=Teach")
        card = shown.locator(".st-key-class-0")
        card.get_by_role("button", name="Use the camera").click()
        card.get_by_role("button", name="Take Photo").click()
        expect(card.get_by_text("1 picture", exact=True)).to_be_visible()
        # The camera is ready for the next picture. The video starts again with it, so that would be the same one.
        expect(card.get_by_role("button", name="Take Photo")).to_be_visible()
        chromium.close()
    [name] = Collection(collection.folder).classes()["cup"]
    with Image.open(collection.folder / "cup" / name) as taken:
        assert min(taken.size) >= 240


@pytest.mark.torture
def test_fine_tuning_shows_its_progress_and_can_be_stopped_and_resumed(page, folder):
    new_collection(folder, n=6, name="garden")
    open_page(page, "page=Teach&classifier=garden&network=letters")
    page.get_by_role("button", name="Fine-tune").click()
    epoch = page.get_by_text(re.compile(r"epoch [1-9]\d* of 20 \(stage 2\) · about .* left"))
    expect(epoch).to_be_visible(timeout=TRAINING_MS)
    expect(page.locator(".st-key-class-0 input[type=file]")).to_have_count(0)
    page.get_by_role("button", name="Stop").click()
    stopped = page.get_by_text("Stopped. Fine-tune again to resume from the last epoch.")
    expect(stopped).to_be_visible(timeout=TRAINING_MS)
    [path] = folder.glob("*-garden-transfer/run.json")
    record = read_record(path)
    assert record.status == "interrupted" and 1 <= len(record.curves["stage2"]["loss"]) < 20
    wait_until_drawn(page)
    page.get_by_role("button", name="Fine-tune").click()
    expect(page.get_by_role("heading", name="Use it")).to_be_visible(timeout=TRAINING_MS)
    record = read_record(path)
    assert record.status == "completed" and len(record.curves["stage2"]["loss"]) == 20
