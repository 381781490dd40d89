"""Both inference engines give the same results, and the choice between them is explained."""

import keras
import numpy as np
import pytest

from tests import tiny
from transfer_utils.data.splits import load_dataset
from transfer_utils.errors import UserError
from transfer_utils.models import engine
from transfer_utils.models.engine import LITERT_BATCH, Engine, choose_engine
from transfer_utils.models.networks import build_backbone, build_feature_extractor


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.mark.slow
def test_litert_and_keras_give_the_same_features_and_print_nothing(capfd):
    config = tiny.config(dataset="photo-digits", data_dir="", weights="letters", image_size=48)
    images = load_dataset(config).test.take(np.arange(17))
    extractor = build_feature_extractor(config, build_backbone(config)[0])
    capfd.readouterr()
    fast = Engine(extractor, "litert")
    features = fast(images)
    assert capfd.readouterr().err == ""
    expected = Engine(extractor, "keras")(images)
    assert features.shape == expected.shape == (17, 1280) and features.dtype == np.float32
    assert cosine(features, expected).min() > 0.9999
    assert cosine(features, np.roll(expected, 1, axis=0)).max() < 0.9999, "all images have the same features"
    assert (fast.kind, fast.shape) == ("litert", (1280,))


@pytest.mark.parametrize("kind", ["litert", "keras"])
def test_the_result_of_an_image_does_not_depend_on_its_batch(kind):
    extractor = build_feature_extractor(tiny.config(), tiny.backbone())
    images = np.random.default_rng(0).integers(0, 256, (2 * LITERT_BATCH + 1, 32, 32, 3), dtype=np.uint8)
    run = Engine(extractor, kind)
    whole = run(images)
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


@pytest.mark.parametrize(("gpu", "sizes"), [(False, [64, 36]), (True, [100])])
def test_a_gpu_gets_more_images_at_a_time(here, gpu, sizes, monkeypatch):
    here(gpu=gpu)
    model, seen = build_feature_extractor(tiny.config(), tiny.backbone()), []
    predict = model.predict_on_batch
    monkeypatch.setattr(model, "predict_on_batch", lambda images: seen.append(len(images)) or predict(images))
    assert Engine(model, "keras")(np.zeros((100, 32, 32, 3), "uint8")).shape == (100, 16)
    assert seen == sizes
