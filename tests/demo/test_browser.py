"""The page in a real browser without a network: its answers are those of Python, and bad pictures get a sentence."""

import base64
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("playwright", reason="Playwright is not installed")
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.conftest import ROOT
from tests.dashboard.server import NEEDS_CHROMIUM, camera, chromium, quiet_page
from tests.pictures import encoded
from tools.site.look import NO_NETWORK, served
from transfer_utils.config.options import preset
from transfer_utils.data import load_dataset
from transfer_utils.data.images import decode_image
from transfer_utils.demo.page import write_demo
from transfer_utils.models.litert import load_exported

pytestmark = NEEDS_CHROMIUM
MODEL = ROOT / "docs" / "site" / "digits" / "model-float16.tflite"
SIDE = 32
# As a page decodes a picture of its own folder, and the probabilities of the classes in their order.
CLASSIFY = """async (names) => {
  const { decode, square } = await import(new URL("pixels.js", location));
  const { classify } = await (await import(new URL("classifier.js", location))).load();
  const answers = [];
  for (const name of names) {
    const pixels = square(await decode(await (await fetch(name)).blob(), name), 32);
    const { classes } = await classify(pixels);
    classes.sort((a, b) => a.name - b.name);
    answers.push([btoa(String.fromCharCode(...pixels)), classes.map(({ probability }) => probability)]);
  }
  return answers;
}"""


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return load_dataset(preset("offline")).test.take()


@pytest.fixture(scope="module")
def expected(images) -> np.ndarray:
    """Return Python's probabilities for all test images."""
    return load_exported(MODEL)(images)


@pytest.fixture(scope="module")
def folder(library_cache, images, tmp_path_factory) -> Path:
    """Return a folder with the page of the digits network, and with all test images as PNG files."""
    folder = tmp_path_factory.mktemp("demo")
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number}.png")
    write_demo(MODEL, folder, examples=[folder / "0.png", folder / "1.png"], cache_dir=library_cache)
    return folder


@pytest.fixture(scope="module")
def address(folder) -> Iterator[str]:
    with served(folder) as address:
        yield address


@pytest.fixture(scope="module")
def filmed(expected) -> int:
    """Return the number of the test image that the camera sees: one of which the network is sure."""
    return int(expected.max(axis=1).argmax())


@pytest.fixture(scope="module")
def browser(images, filmed, tmp_path_factory) -> Iterator[Browser]:
    """Yield a browser without a network, whose camera films a test image."""
    picture = Image.new("RGB", (320, 240))
    picture.paste(Image.fromarray(images[filmed]).resize((240, 240), Image.Resampling.NEAREST), (40, 0))
    film = tmp_path_factory.mktemp("film") / "digit.y4m"
    with chromium(NO_NETWORK, *camera(film, [picture] * 10)) as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """Yield the page; afterwards its console must be empty, and all it sent must be requests for its own files."""
    failed, methods = [], set()
    with (
        browser.new_context(viewport={"width": 390, "height": 844}) as context,
        quiet_page(context, f"{address}/") as page,
    ):
        page.on("requestfailed", lambda request: failed.append(f"{request.url}: {request.failure}"))
        page.on("request", lambda request: methods.add(request.method))
        page.goto(f"{address}/index.html")
        yield page
    assert failed == [] and methods == {"GET"}


def choose(page: Page, file: Path | dict) -> None:
    page.locator("input[type=file]").set_input_files(file)


def classes(page: Page) -> list[tuple[str, float]]:
    """Return the names and percentages of the bars, once they are there."""
    rows = page.locator(".demo-bars li")
    expect(rows).to_have_count(5)
    texts = [row.split() for row in rows.all_inner_texts()]
    return [(name, float(share)) for name, share, _ in texts]


def test_the_page_gives_the_pixels_and_probabilities_of_python_for_every_test_image(page, images, expected):
    answers = page.evaluate(CLASSIFY, [f"{number}.png" for number in range(len(images))])
    pixels = b"".join(base64.b64decode(text) for text, _ in answers)
    assert pixels == images.tobytes()
    probabilities = np.array([row for _, row in answers])
    assert len(images) == 540 and np.abs(probabilities - expected).max() < 1e-4
    assert (probabilities.argmax(axis=1) == expected.argmax(axis=1)).all()


def test_an_example_that_cannot_be_loaded_is_not_blamed_on_the_classifier(page):
    page.evaluate("() => { window.fetch = async () => ({ok: false, status: 404, statusText: 'Not Found'}) }")
    page.locator(".demo-examples button").first.click()
    expect(page.get_by_role("alert")).to_have_text("The picture cannot be loaded: 404 Not Found")


def differences(pixels: str, path: Path) -> int:
    """Return the largest difference, of 255, between the pixels of the page, in base64, and those of Python."""
    ours = np.frombuffer(base64.b64decode(pixels), np.uint8).astype(int)
    return int(np.abs(ours - decode_image(path, SIDE).ravel()).max())


SIZES = [(50, 40), (20, 17), (1, 1), (33, 32), (97, 64), (300, 211), (640, 481), (2101, 2063)]


def test_pictures_of_any_size_are_cropped_and_resized_to_the_same_bytes_as_in_python(page, folder):
    rng, names = np.random.default_rng(0), []
    for width, height in SIZES:
        colours = () if width > 2000 else (3,)
        noise = rng.integers(0, 256, (height, width, *colours), dtype=np.uint8)
        names.append(f"size-{width}.png")
        Image.fromarray(noise).save(folder / names[-1], compress_level=1)
    for name, (text, _) in zip(names, page.evaluate(CLASSIFY, names), strict=True):
        assert differences(text, folder / name) == 0, name


def test_transparent_and_turned_pictures_are_read_as_in_python(page, folder):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (40, 40, 4), dtype=np.uint8)).save(folder / "transparent.png")
    smooth = Image.fromarray(rng.integers(0, 256, (4, 6, 3), dtype=np.uint8)).resize((60, 40), Image.Resampling.BICUBIC)
    turn = Image.Exif()
    turn[0x0112] = 6  # a camera that was held upright
    smooth.save(folder / "turned.jpg", quality=95, subsampling=0, exif=turn)
    names = ["transparent.png", "turned.jpg"]
    for name, (text, _) in zip(names, page.evaluate(CLASSIFY, names), strict=True):
        assert differences(text, folder / name) <= 2, name


def test_a_chosen_picture_gets_its_classes_with_bars(page, folder, expected):
    choose(page, folder / "3.png")
    best = np.sort(expected[3])[::-1][:5]
    shown = classes(page)
    assert [share for _, share in shown] == pytest.approx([100 * value for value in best], abs=0.051)
    assert shown[0][0] == str(expected[3].argmax())
    expect(page.locator(".demo-answer")).to_have_text(shown[0][0])
    expect(page.locator(".demo-status")).to_be_empty()
    widths = page.locator(".demo-bar span").evaluate_all("bars => bars.map(bar => bar.style.width)")
    assert [float(width.rstrip("%")) for width in widths] == pytest.approx([share for _, share in shown], abs=0.051)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_an_example_and_a_dropped_picture_are_classified(page, expected):
    page.get_by_role("button", name="Example 2").click()
    expect(page.locator(".demo-answer")).to_have_text(str(expected[1].argmax()))
    page.evaluate("""async () => {
      const blob = await (await fetch("7.png")).blob();
      const dropped = new DataTransfer();
      dropped.items.add(new File([blob], "7.png"));
      document.querySelector(".demo-drop").dispatchEvent(new DragEvent("drop", {dataTransfer: dropped, bubbles: true}));
    }""")
    expect(page.locator(".demo-bars li").first).to_contain_text(f"{100 * expected[7].max():.1f} %")
    expect(page.locator(".demo-answer")).to_have_text(str(expected[7].argmax()))


def test_an_answer_below_the_threshold_is_not_sure(page, folder):
    about = {"class_names": list("abcdefghij"), "not_sure_below": 1.0}
    page.route("**/model.json", lambda route: route.fulfill(body=json.dumps(about)))
    choose(page, folder / "0.png")
    expect(page.locator(".demo-answer")).to_have_text("Not sure")
    expect(page.locator(".demo-doubt")).to_be_visible()
    assert len(classes(page)) == 5


def test_the_camera_takes_a_picture_and_is_switched_off(page, filmed, expected):
    page.get_by_role("button", name="Use the camera").click()
    page.get_by_role("button", name="Take the picture").click()
    expect(page.locator(".demo-answer")).to_have_text(str(expected[filmed].argmax()))
    page.get_by_role("button", name="Close the camera").click()
    expect(page.locator("video")).to_be_hidden()
    assert page.evaluate("document.querySelector('video').srcObject") is None


def test_a_second_click_leaves_one_camera_on(page):
    page.evaluate("""() => {
      const devices = navigator.mediaDevices, open = devices.getUserMedia.bind(devices);
      window.opened = [];
      devices.getUserMedia = async (wanted) => { opened.push(await open(wanted)); return opened.at(-1); };
    }""")
    for _ in range(2):
        page.get_by_role("button", name="Use the camera").click()
        expect(page.get_by_role("button", name="Take the picture")).to_be_enabled()
    assert page.evaluate("opened.map((stream) => stream.active)") == [False, True]


@pytest.mark.parametrize("error, words", [("NotAllowedError", "allow it"), ("NotFoundError", "There is no camera")])
def test_a_camera_that_is_not_there_or_not_allowed_gets_a_sentence(error, words, page):
    refuse = f"() => Promise.reject(new DOMException('', '{error}'))"
    page.evaluate(f"() => {{ navigator.mediaDevices.getUserMedia = {refuse}; }}")
    page.get_by_role("button", name="Use the camera").click()
    expect(page.get_by_role("alert")).to_contain_text(words)


def test_bad_pictures_get_a_sentence_and_the_next_good_one_an_answer(page, folder, expected, tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    script = b'<svg xmlns="http://www.w3.org/2000/svg"><script>document.title = "taken"</script><rect width="9"/></svg>'
    name = "<img src=x onerror=alert(1)>.png"
    bad = {
        "notes.png": (b"<html><script>alert(1)</script>", "is not a picture"),
        "empty.png": (b"", "is empty"),
        "cut.png": (encoded(noise)[:3000], "is damaged"),
        "script.svg": (script, "not a picture that this browser can read"),
        "huge.png": (encoded(Image.new("1", (9000, 9000))), "9,000 × 9,000 pixels; the limit is 64 million"),
        name: (b"x", re.escape(name)),
    }
    for file, (content, words) in bad.items():
        choose(page, {"name": file, "mimeType": "image/png", "buffer": content})
        expect(page.get_by_role("alert")).to_have_text(re.compile(words))
        expect(page.locator(".demo-result")).to_be_hidden()
    sparse = tmp_path / "heavy.png"
    sparse.touch()
    os.truncate(sparse, 257 << 20)
    choose(page, sparse)
    expect(page.get_by_role("alert")).to_have_text("heavy.png has 257 MiB; the limit is 256 MiB.")
    choose(page, folder / "3.png")
    expect(page.locator(".demo-answer")).to_have_text(str(expected[3].argmax()))
    expect(page.get_by_role("alert")).to_be_empty()
    assert page.title() == "What is in the picture?"
