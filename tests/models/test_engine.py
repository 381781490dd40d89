"""Both inference engines give the same results, and the choice between them is explained."""

import keras
import numpy as np
import pytest

from tests import tiny
from transfer_utils.errors import UserError
from transfer_utils.models import engine
from transfer_utils.models.engine import LITERT_BATCH, Engine, choose_engine
from transfer_utils.models.networks import build_feature_extractor


@pytest.mark.parametrize("kind", ["litert", "keras"])
def test_the_result_of_an_image_does_not_depend_on_its_batch(capfd, kind):
    extractor = build_feature_extractor(tiny.config(), tiny.backbone())
    images = np.random.default_rng(0).integers(0, 256, (2 * LITERT_BATCH + 1, 32, 32, 3), dtype=np.uint8)
    capfd.readouterr()
    run = Engine(extractor, kind)
    whole = run(images)
    assert kind == "keras" or capfd.readouterr().err == ""
    assert (run.kind, run.shape) == (kind, (16,)) and whole.shape == (len(images), 16) and whole.dtype == np.float32
    for n in (1, LITERT_BATCH, LITERT_BATCH + 1):
        assert np.allclose(run(images[:n]), whole[:n], atol=1e-5)
        assert np.allclose(run(images[-n:]), whole[-n:], atol=1e-5), "a batch depends on the one before"
    assert np.allclose(whole, extractor(images), atol=1e-4)


@pytest.fixture
def here(monkeypatch):
    """Return a function that sets what this machine has."""

    def here(missing: str = "", gpu: bool = False) -> None:
        monkeypatch.setattr(engine, "litert_missing", lambda: missing)
        monkeypatch.setattr(keras.distribution, "list_devices", lambda kind: ["gpu:0"] if gpu else [])

    return here


def test_the_engine_is_the_requested_or_the_fastest_available_one(here):
    here()
    assert choose_engine("auto") == ("litert", "the fastest on a CPU")
    assert choose_engine("keras") == ("keras", "as requested")
    here(gpu=True)
    assert choose_engine("auto") == ("keras", "there is a GPU")
    assert choose_engine("litert") == ("litert", "as requested")
    here(missing="it has no wheel")
    assert choose_engine("auto") == ("keras", "it has no wheel")
    with pytest.raises(UserError, match=r"engine must be 'keras' or 'auto' here, got 'litert': it has no wheel\."):
        choose_engine("litert")


def test_litert_is_missing_without_its_package_or_with_another_backend(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    assert choose_engine("auto")[1] == "the converter needs the tensorflow backend of Keras, this is torch"
    monkeypatch.undo()
    monkeypatch.setattr(engine.importlib.util, "find_spec", lambda name: None)
    assert choose_engine("auto")[1] == "ai-edge-litert has no wheel for this machine"


@pytest.mark.parametrize(("gpu", "sizes"), [(False, [64, 64]), (True, [100])])
def test_a_gpu_gets_more_images_at_a_time(here, gpu, sizes, monkeypatch):
    here(gpu=gpu)
    model, seen = build_feature_extractor(tiny.config(), tiny.backbone()), []
    predict = model.predict_on_batch
    monkeypatch.setattr(model, "predict_on_batch", lambda images: seen.append(len(images)) or predict(images))
    images = np.random.default_rng(0).integers(0, 256, (100, 32, 32, 3), "uint8")
    outputs = Engine(model, "keras")(images)
    assert seen == sizes, "Keras would trace the model again for a smaller last batch"
    np.testing.assert_allclose(outputs, predict(images), atol=1e-5)
