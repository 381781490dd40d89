"""Pages of the dashboard for a folder of sample runs, drawn without a browser or in one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

pytest.importorskip("streamlit", reason="the extra 'dashboard' is not installed")
from streamlit.testing.v1 import AppTest

from tests.dashboard.server import chromium, quiet_page, served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

SCRIPT = Path(__file__).parents[2] / "dashboard.py"


@pytest.fixture
def draw(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """Return a function that draws a page for a folder; further arguments are parameters of the address.

    An exception of a page is not replaced by the box that readers see, so that ``app.exception`` holds it.
    """
    monkeypatch.setattr("transfer_utils.dashboard.app.show_failure", _raise_again)

    def draw(folder: Path, page: str = "Runs", **address: str | list[str]) -> AppTest:
        monkeypatch.setattr("sys.argv", [str(SCRIPT), "--runs", str(folder)])
        app = AppTest.from_file(str(SCRIPT), default_timeout=60)
        app.query_params.update({"page": page, **address})
        return app.run()

    return draw


@pytest.fixture(autouse=True)
def _keras_is_not_cleared(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep Streamlit from clearing Keras after each script: that takes 0.6 s, for pages that have no model."""
    if "model_run" not in request.fixturenames:
        monkeypatch.setattr("streamlit.runtime.scriptrunner.script_runner._clean_problem_modules", lambda: None)


def _raise_again(page: str) -> None:
    raise


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Yield the address and the process of a server for the fixture ``folder`` of a module."""
    with served(folder) as (address, process):
        yield address, psutil.Process(process.pid)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def context(browser: Browser, server: tuple[str, psutil.Process]) -> Iterator[BrowserContext]:
    """Yield a context whose pages share a cache, so that only the first of them loads all of Streamlit."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, base_url=server[0])
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, server: tuple[str, psutil.Process]) -> Iterator[Page]:
    """Yield a page; afterwards, its console must be empty and all requests must have gone to the server."""
    with quiet_page(context, f"{server[0]}/") as page:
        yield page
        assert page.get_by_test_id("stException").count() == 0


@pytest.fixture(scope="session")
def model_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one run and its saved model, which classifies images of 8 px by their mean colour."""
    import keras
    import numpy as np

    from transfer_utils.models.saving import save_model
    from transfer_utils.records.record import RunRecord

    folder = tmp_path_factory.mktemp("models") / "0001-colours"
    pixels = keras.Input((8, 8, 3))
    maps = keras.layers.Conv2D(3, 1, use_bias=False, name="maps")(keras.layers.Rescaling(1 / 255)(pixels))
    pooled = keras.layers.GlobalAveragePooling2D()(maps)
    model = keras.Model(pixels, keras.layers.Dense(3, activation="softmax")(pooled))
    model.set_weights([np.eye(3, dtype="float32")[None, None], 9 * np.eye(3, dtype="float32"), np.zeros(3, "float32")])
    folder.mkdir()
    save_model(model, folder / "model.keras")
    dataset = {"name": "colours", "class_names": ["<b>red</b>", "green", "blue"]}
    record = RunRecord(files={"model": "model.keras"}, dataset=dataset, config={"model": "transfer", "image_size": 32})
    record.save(folder / "run.json")
    return folder.parent


@pytest.fixture
def picture() -> bytes:
    """Return a PNG of 40 x 20 px whose right half is red, on blue."""
    from PIL import Image

    from tests.pictures import encoded

    image = Image.new("RGB", (40, 20), (0, 0, 255))
    image.paste((255, 0, 0), (18, 0, 40, 20))
    return encoded(image)
