"""Feature caches are computed once, verified when they are read, and not used for another network or other images."""

import functools
import shutil
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tests import tiny
from tests.faults import limited
from tests.tiny import split
from transfer_utils import features
from transfer_utils.data.augment import training_view
from transfer_utils.data.dataset import Split
from transfer_utils.errors import UserError
from transfer_utils.features import BoundaryCache, extract_features
from transfer_utils.models.networks import (
    build_feature_extractor,
    build_tail_extractor,
    build_trunk,
    split_at_freeze_boundary,
    unfreeze_model_tail,
)

N = 40


class MeanColour:
    """An engine whose features are the mean colour, and that counts its images."""

    kind, shape = "litert", (3,)

    count = 0

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self.count += len(images)
        return mean_colour(images)


def mean_colour(images: np.ndarray) -> np.ndarray:
    return images.mean(axis=(1, 2), dtype="float64").astype("float32")


def never():
    raise AssertionError("the engine was built although the cache is complete")


def extractor(**options) -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_feature_extractor(tiny.config(**options), tiny.backbone())


network = functools.cache(extractor)


@pytest.fixture
def cache(tmp_path):
    """Return the folder of an empty cache, and a function that extracts into it."""
    folder = tmp_path / "cache"

    def extract(engine=never, model=None, images=None, **options):
        config = tiny.config(cache_dir=str(folder), **options)
        return extract_features(model or network(), images or split(), config, engine=engine)

    return SimpleNamespace(extract=extract, folder=folder / "features")


def test_features_are_computed_once(cache):
    engine, steps = MeanColour(), []
    first = cache.extract(lambda: engine)
    again = cache.extract()
    assert engine.count == N
    assert first.dtype == np.float16 and (first == mean_colour(split().take()).astype("float16")).all()
    assert np.array_equal(first, again)
    config = tiny.config(cache_dir=str(cache.folder.parent))
    extract_features(network(), split(1), config, engine=lambda: engine, progress=lambda *step: steps.append(step))
    assert steps == [("features", N, N)]


class BeyondFloat16(MeanColour):
    def __call__(self, images: np.ndarray) -> np.ndarray:
        return np.tile(np.float32([1e6, -1e6, 0.5]), (len(images), 1))


def test_outputs_beyond_float16_are_cut_off(cache):
    assert cache.extract(BeyondFloat16)[0].tolist() == [65504, -65504, 0.5]


@pytest.mark.parametrize("suffix", [".npy", ".json"])
@pytest.mark.fault(14)
def test_a_damaged_cache_is_detected_and_computed_again(cache, suffix):
    first = np.array(cache.extract(MeanColour))
    path = next(cache.folder.glob(f"*{suffix}"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    engine = MeanColour()
    assert (cache.extract(lambda: engine) == first).all()
    assert engine.count == N
    cache.extract()


def other_weights() -> keras.Model:
    model = extractor()
    model.weights[0].assign(model.weights[0] + 1e-6)
    return model


def another_relu() -> keras.Model:
    model = extractor()
    model.get_layer("tiny").get_layer("relu_3").max_value = 5
    return model


def larger_images() -> keras.Model:
    larger = build_feature_extractor(tiny.config(image_size=48), tiny.backbone((48, 48, 3)))
    larger.set_weights(network().get_weights())
    return larger


@pytest.mark.parametrize(
    "other",
    [
        {"model": other_weights},
        {"model": lambda: extractor(backbone="EfficientNetB0")},  # the same weights after another preprocessing
        {"model": another_relu},
        {"model": larger_images},
        {"images": lambda: split(1)},
        {"images": lambda: split().part(np.arange(N - 1))},
        {"images": lambda: split().part(np.arange(N)[::-1])},
        {"engine": "keras"},
        {"layout": 2},
        {"backend": "jax", "engine": "keras"},
    ],
    ids=["weights", "preprocessing", "structure", "size", "images", "fewer", "order", "engine", "layout", "backend"],
)
@pytest.mark.fault(15)
def test_a_cache_of_anything_else_is_not_used(monkeypatch, other):
    def key(**options) -> str:
        model, images = options.get("model", network), options.get("images", split)
        return features._key(model(), images(), tiny.config(engine=options.get("engine", "litert")))

    first = key(engine=other.get("engine", "litert")) if "backend" in other else key()
    if "layout" in other:
        monkeypatch.setattr(features, "LAYOUT", other["layout"])
    if "backend" in other:
        monkeypatch.setattr(keras.backend, "backend", lambda: other["backend"])
    assert key(**other) != first


def test_labels_and_options_that_do_not_affect_the_features_are_not_part_of_the_key(cache):
    cache.extract(MeanColour)
    labels = Split(split().store, 1 - split().labels, split().index)
    cache.extract(model=extractor())  # the same network with other layer names
    cache.extract(images=labels, seed=3, epochs_stage1=9, batch_size=7, dropout=0.1, learning_rate_stage1=1.0)


@pytest.fixture
def free(monkeypatch):
    """Return a function that sets how many bytes are free on the disk, besides those that are kept in reserve."""

    def free(size: float) -> None:
        usage = SimpleNamespace(free=int(features.DISK_RESERVE + size))
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)

    return free


@pytest.fixture
def trunk():
    config, base = tiny.config(engine="keras"), tiny.backbone()
    unfreeze_model_tail(base, 3)
    return build_trunk(split_at_freeze_boundary(base)[0], config)


def test_a_view_contains_the_outputs_of_the_trunk_for_the_augmented_images(trunk, tmp_path):
    config = tiny.config(engine="keras", use_mixup=True, cache_dir=str(tmp_path))
    cache = BoundaryCache(trunk, split(), 2, config)
    for number in (0, 1):
        images, labels = training_view(split(), np.arange(N), config, number, 2)
        activations, cached_labels = cache.view(number)
        assert np.array_equal(cached_labels, labels)
        expected = trunk(images).numpy()
        assert activations.dtype == np.float16 and np.abs(activations - expected).max() < 1e-3 * np.abs(expected).max()
    assert np.array_equal(cache.plain(split()), trunk(split().take()).numpy().astype("float16"))
    assert cache.bytes_per_view == activations.nbytes


DRAW = {"rotation": 14.0, "zoom": 0.2, "width_shift": 0.2, "height_shift": 0.2, "horizontal_flip": False}
DRAW |= {"seed": 1, "use_mixup": True, "augment": False, "view": 1}


@pytest.mark.fault(15)
def test_a_view_of_another_draw_is_not_used(trunk, tmp_path, monkeypatch):
    engine = MeanColour()
    monkeypatch.setattr(features, "Engine", lambda *args: engine)

    def computed(view: int = 0, **options) -> int:
        engine.count = 0
        config = tiny.config(engine="litert", cache_dir=str(tmp_path), **options)
        BoundaryCache(trunk, split(), 2, config).view(view)
        return engine.count

    assert (computed(), computed(), computed(learning_rate_stage2=1.0)) == (N, 0, 0)
    for name, value in DRAW.items():
        assert computed(**{name: value}) == N, name
    assert [computed(use_mixup=True, mixup_alpha=alpha) for alpha in (0.3, 0.4, 0.3)] == [N, N, 0]


@pytest.mark.parametrize(
    ("options", "views"),
    [
        ({"views": 8, "epochs_stage2": 3}, 3),
        ({"views": 2, "epochs_stage2": 3}, 2),
        ({"views": 8, "augment": False}, 1),
        ({"views": 8, "augment": False, "use_mixup": True, "epochs_stage2": 5}, 5),
    ],
)
def test_there_are_no_more_views_than_epochs(options, views):
    assert tiny.config(**options).cached_views == views


@pytest.mark.fault(5)
def test_features_that_do_not_fit_on_the_disk_are_refused_before_they_are_computed(cache, free):
    free(2 * N * 3 - 1)
    with pytest.raises(UserError, match=r"needs [\d.]+ \w+ more, but only 1.1 GB are free, .* --views .* --cache_dir"):
        cache.extract(MeanColour)
    assert not list(cache.folder.glob("*.npy"))
    free(2 * N * 3)
    cache.extract(MeanColour)


@pytest.mark.fault(5)
def test_views_that_do_not_fit_on_the_disk_are_refused_with_the_number_that_fits(trunk, tmp_path, free):
    cache = BoundaryCache(trunk, split(), 2, tiny.config(cache_dir=str(tmp_path), epochs_stage2=4, views=8))
    held_out = split(1).part(np.arange(N // 2))  # takes half of a view, and comes first
    on_pixels = "use --views 0, which trains on pixels, lower"
    for fitting, advice in ((4, "use --views 3, lower"), (3.5, "use --views 3, lower"), (0, on_pixels)):
        free(fitting * cache.bytes_per_view)
        with pytest.raises(UserError, match=rf"4 cached views would take .* more .*: {advice} --image_size"):
            cache.bytes_needed(held_out)
    # What is cached already needs no more space.
    for views, build in ((4.5, lambda: cache.view(0)), (3.5, lambda: cache.plain(held_out)), (3, lambda: None)):
        free(views * cache.bytes_per_view)
        assert cache.bytes_needed(held_out) == views * cache.bytes_per_view
        build()


@pytest.mark.fault(5)
def test_a_disk_that_fills_up_is_an_error_and_leaves_the_cache_as_it_was(cache, monkeypatch):
    monkeypatch.setattr(features, "CHUNK", 7)
    before = cache.extract(MeanColour, images=split(1))
    kept = sorted(path.name for path in cache.folder.iterdir() if path.suffix != ".lock")
    for limit in (0, 10, 130, 200, 300):
        with limited(limit), pytest.raises(OSError):
            cache.extract(MeanColour)
        assert sorted(path.name for path in cache.folder.iterdir() if path.suffix != ".lock") == kept
    assert np.array_equal(cache.extract(images=split(1)), before)
    cache.extract(MeanColour)


@pytest.mark.parametrize("engine", ["litert", "keras"])
def test_features_from_boundary_activations_equal_those_of_the_network_and_need_only_the_tail(engine, monkeypatch):
    config = tiny.config(engine=engine, cache_dir="cache", augment=False)
    keras.utils.set_random_seed(0)
    base = tiny.backbone()
    whole = extract_features(build_feature_extractor(config, base), split(), config)
    unfreeze_model_tail(base, config.n_unfreeze)
    trunk, tail = split_at_freeze_boundary(base)
    cache = BoundaryCache(build_trunk(trunk, config), split(), 2, config)
    assert cache.plain_views
    cache.view(0)
    monkeypatch.setattr(cache, "engine", never)  # of the trunk
    every, some = np.arange(N), np.array([3, 1, 7])
    built, build = [], features.Engine
    monkeypatch.setattr(features, "Engine", lambda *args, **options: built.append(args) or build(*args, **options))
    computed, of_some = cache.features(build_tail_extractor(tail), [(split(), every), (split(), some)])
    assert len(built) == 1, "building it takes as long as running it on thousands of images"
    assert computed.dtype == np.float16 and computed.shape == whole.shape
    assert np.allclose(computed, whole, rtol=2e-3, atol=2e-3)
    assert np.allclose(of_some, whole[some], rtol=2e-3, atol=2e-3)
    other = tiny.backbone()
    unfreeze_model_tail(other, config.n_unfreeze)
    another = build_tail_extractor(split_at_freeze_boundary(other)[1])
    assert not np.allclose(cache.features(another, [(split(), every)])[0], computed)
