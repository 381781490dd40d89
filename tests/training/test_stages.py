"""The epoch loop learns, keeps the best epoch, stops early, reports divergence, and resumes to the bit."""

import functools
import io
import json
import math
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from tensorflow.python.eager.polymorphic_function import polymorphic_function

from tests import tiny
from transfer_utils.config.recorded import identity
from transfer_utils.data.dataset import Split
from transfer_utils.errors import Diverged
from transfer_utils.features import BoundaryCache
from transfer_utils.models.fast_layers import FusedBatchNorm, with_fast_layers
from transfer_utils.models.networks import (
    build_baseline_cnn,
    build_compact_cnn,
    build_full_model,
    build_tail,
    build_top_classifier,
    build_trunk,
    split_at_freeze_boundary,
    unfreeze_model_tail,
)
from transfer_utils.models.weights import sha256_of_weights
from transfer_utils.training import loop, stages
from transfer_utils.training.optimizers import build_optimizer, compile_model
from transfer_utils.training.stages import run_stage1_training, run_stage2_finetuning, train_baseline

CURVES = {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"}
N, WIDTH = 40, 8


def features(n: int = N, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return noisy features (n, 8) of two classes, and one-hot labels (n, 2)."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    x = rng.normal(0, 1, (n, WIDTH)) + 2 * labels[:, None]
    return x.astype("float16"), np.eye(2, dtype="float32")[labels]


def wrong_features() -> tuple[np.ndarray, np.ndarray]:
    """Return validation data with exchanged labels, so that training raises its loss."""
    x, y = features(10, 1)
    return x, y[:, ::-1]


def head(**options) -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_top_classifier(WIDTH, 2, tiny.config(**options))


def stage1(validation=None, model=None, hooks=None, train=None, **options):
    """Run stage 1 on made-up features and return the head and the curves."""
    config, model = tiny.config(**{"patience": 0, **options}), model or head(**options)
    data = train or features(), validation or features(10, 1)
    return model, run_stage1_training(model, *data, config, **(hooks or {}))


def feature_split() -> Split:
    """Return the features as a split, on which a stage 2 without augmentation can train."""
    return Split(features()[0], np.arange(N) % 2, np.arange(N))


def scratch(model=None, hooks=None, **options):
    """Train a baseline on the pictures; return it and its curves."""
    keras.utils.set_random_seed(0)
    model = model or build_baseline_cnn(2)
    return model, train_baseline(model, tiny.split(), validation_of(None), tiny.config(**options), **(hooks or {}))


def loss_of(model: keras.Model, data) -> float:
    """Return the cross-entropy with label smoothing 0.1, computed by NumPy."""
    y = 0.9 * data[1] + 0.05
    return float(-(y * np.log(model.predict_on_batch(data[0].astype("float32")))).sum(axis=1).mean())


def test_the_head_learns_and_every_curve_has_one_value_per_epoch():
    reports = []
    hooks = {"on_epoch_end": lambda epoch, curves: reports.append(epoch)}
    model, curves = stage1(epochs_stage1=8, learning_rate_stage1=0.02, hooks=hooks)
    assert set(curves) == CURVES and {len(values) for values in curves.values()} == {8}
    assert reports == list(range(8))
    assert curves["loss"][-1] < curves["loss"][0] and curves["val_accuracy"][-1] == 1
    assert all(type(value) is float and value >= 0 for values in curves.values() for value in values)
    assert math.isclose(loss_of(model, features(10, 1)), min(curves["val_loss"]), rel_tol=1e-4)
    validation = features(13, 1)  # the last batch is smaller
    model, curves = stage1(validation, epochs_stage1=1, train=features(23))
    assert math.isclose(loss_of(model, validation), curves["val_loss"][0], rel_tol=1e-4)


def test_tensorflow_traces_a_step_once_whatever_the_sizes_of_the_batches(monkeypatch):
    """Keras alone traces it again for the last batch, which takes seconds and ends in warnings on small folders."""
    traced = []
    for name in ("train_step", "test_step"):
        step = getattr(keras.Model, name)
        monkeypatch.setattr(
            keras.Model, name, lambda self, data, name=name, step=step: (traced.append(name), step(self, data))[1]
        )
    stage1(features(133, 1), epochs_stage1=2, train=features(23))  # batches of 10 and 3; 128 or more, and the rest
    assert sorted(traced) == ["test_step", "train_step"]


def test_tensorflow_does_not_warn_of_traces_where_several_networks_are_trained(caplog, monkeypatch):
    fresh = polymorphic_function._FrequentTracingDetectorManager()  # TensorFlow warns twice of a step, not again
    monkeypatch.setattr(polymorphic_function, "_frequent_tracing_detector_manager", fresh)
    for _ in range(polymorphic_function.FREQUENT_TRACING_WARNING_THRESHOLD):
        stage1(features(8, 1), epochs_stage1=1, train=features(8))
    assert "retracing" not in caplog.text


def test_a_stage_that_only_gets_worse_restores_its_initial_weights():
    model, before = head(), sha256_of_weights(head())
    _, curves = stage1(wrong_features(), model, epochs_stage1=3, learning_rate_stage1=0.1)
    assert curves["val_loss"][0] < curves["val_loss"][-1]
    assert sha256_of_weights(model) == before


def test_a_stage_without_improvement_halves_its_learning_rate_and_then_stops_unless_its_schedule_is_cosine():
    _, curves = stage1(wrong_features(), epochs_stage1=20, patience=4, learning_rate_stage1=0.1)
    assert np.allclose(curves["learning_rate"], [0.1, 0.1, 0.1, 0.05])
    _, endless = stage1(wrong_features(), epochs_stage1=9, patience=0, learning_rate_stage1=0.1)
    assert np.allclose(endless["learning_rate"], 0.1 / np.array([1, 1, 1, 2, 2, 4, 4, 8, 8]))
    options = {"epochs_stage2": 6, "learning_rate_stage2": 0.1, "patience": 2, "augment": False, "views": 0}
    for schedule, epochs in (("plateau", 2), ("cosine", 6)):
        config = tiny.config(schedule=schedule, **options)
        curves = run_stage2_finetuning(head(), feature_split(), wrong_features(), config)
        assert len(curves["val_loss"]) == epochs, schedule


def test_the_cosine_schedule_warms_up_and_decays_to_0():
    model, rates = head(), []
    config = tiny.config(schedule="cosine", epochs_stage2=5, learning_rate_stage2=0.1, patience=0, augment=False)

    def on_step_end(title, done, total):
        assert title.startswith("stage2, epoch ") and 1 <= done <= total == 4
        rates.append(float(model.optimizer.learning_rate.numpy()))

    curves = run_stage2_finetuning(model, feature_split(), features(10, 1), config, on_step_end=on_step_end)
    down = [0.05 * (1 + math.cos(math.pi * step / 18)) for step in range(18)]
    assert np.allclose(rates, [0.0, 0.05, *down], atol=1e-7)
    assert np.allclose(curves["learning_rate"], rates[3::4]), "the curve has the rate of the last step of each epoch"


@pytest.mark.parametrize("name", ["AdamW", "Adam", "SGD"])
def test_both_stages_use_their_optimizer_and_learning_rate(name):
    first, second = head(), head()
    config = tiny.config(optimizer_stage1=name, learning_rate_stage1=0.25, epochs_stage1=0)
    assert run_stage1_training(first, features(), features(10, 1), config) == {}
    config = tiny.config(optimizer_stage2=name, learning_rate_stage2=0.5, epochs_stage2=0)
    run_stage2_finetuning(second, feature_split(), features(10, 1), config)
    for model, rate in ((first, 0.25), (second, 0.5)):
        assert (type(model.optimizer).__name__, float(model.optimizer.learning_rate.numpy())) == (name, rate)
        assert model.loss.label_smoothing == 0.1
    assert build_optimizer(name, 0.1, 0.05).weight_decay == (0.05 if name == "AdamW" else None)


@pytest.mark.fault(16)
def test_a_loss_of_nan_or_infinity_ends_the_stage(monkeypatch):
    x, y = features()
    x[7] = np.nan
    with pytest.raises(Diverged, match="validation loss of stage1 became nan"):
        stage1((x[:10], y[:10]))
    monkeypatch.setattr(keras.Model, "train_on_batch", lambda *_, **__: {"loss": np.inf, "accuracy": 0.5})
    with pytest.raises(Diverged, match=r"The loss of stage1 became inf in epoch 1: lower its learning rate, 0\.1\."):
        stage1(learning_rate_stage1=0.1)


@pytest.mark.parametrize(("n", "sizes"), [(21, [7, 7, 7]), (23, [10, 10, 3]), (20, [10, 10]), (1, [1])])
def test_a_last_batch_of_a_few_images_is_spread_over_all(n, sizes):
    order = np.random.default_rng(0).permutation(n)
    batches = list(loop._batches(lambda positions: (positions, positions), order, 10))
    assert [len(positions) for positions, _ in batches] == sizes
    assert sorted(np.concatenate([positions for positions, _ in batches])) == list(range(n))


def test_every_epoch_trains_on_every_image_once_in_its_own_order(monkeypatch):
    batches: list[tuple[float, ...]] = []
    train_on_batch = keras.Model.train_on_batch

    def record(self, x, y, **options):
        batches.append(tuple(x[:, 0]))
        return train_on_batch(self, x, y, **options)

    monkeypatch.setattr(keras.Model, "train_on_batch", record)
    stage1(epochs_stage1=2)
    first, second = batches[:4], batches[4:]
    expected = sorted(features()[0][:, 0].astype("float32"))
    assert sorted(sum(first, ())) == sorted(sum(second, ())) == expected
    assert first != second


@pytest.mark.slow
def test_an_epoch_takes_the_next_cached_view_or_draws_its_own(monkeypatch):
    views = []

    def record(owner, name, at):
        original = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *args: views.append(args[at]) or original(*args))

    record(BoundaryCache, "view", 1)
    record(stages, "draw_view", 2)
    from_boundary()
    assert views == [0, 1, 0, 1]
    views.clear()
    from_scratch()
    assert views == [0, 1, 2, 3]


def test_the_baseline_is_augmented_by_its_own_option(monkeypatch):
    drawn, draw_view = [], stages.draw_view

    def record(*args):
        drawn.append(draw_view(*args))
        return drawn[-1]

    monkeypatch.setattr(stages, "draw_view", record)
    for augmented in (False, True):
        scratch(augment=False, augment_baseline=augmented, epochs_baseline=1)
    assert [sorted(draw) for draw in drawn] == [[], ["transforms"]]


def test_the_baseline_trains_for_all_its_epochs_with_a_learning_rate_that_decays_to_0():
    """A baseline that stopped early, or ended at a high rate, would make transfer learning look better."""
    model, curves = scratch(epochs_baseline=6, patience=1, optimizer_stage1="SGD", learning_rate_baseline=0.1)
    best = int(np.argmin(curves["val_loss"]))
    assert len(curves["val_loss"]) == 6 and best < 4, "it improved to the end: early stopping would change nothing"
    rates = curves["learning_rate"]
    assert rates == sorted(rates, reverse=True) and 0.09 < rates[0] <= 0.1 and rates[-1] < 0.001
    assert type(model.optimizer).__name__ == "SGD"


def test_the_baseline_has_its_own_rate_decay_and_warm_up():
    options = {"learning_rate_baseline": 0.1, "weight_decay_baseline": 0.03, "warm_up_baseline": 0.5}
    model, curves = scratch(epochs_baseline=8, batch_size=40, **options)
    down = [0.05 * (1 + math.cos(math.pi * step / 4)) for step in range(4)]
    assert np.allclose(curves["learning_rate"], [0, 0.025, 0.05, 0.075, *down], atol=1e-7)
    assert model.optimizer.weight_decay == 0.03


def test_the_validation_images_of_a_split_are_read_batch_by_batch():
    class Sliced(Split):
        def take(self, positions=slice(None)):
            assert len(self.index[positions]) <= loop.MIN_VALIDATION_BATCH + 10
            return super().take(positions)

    images, config = tiny.split(n=300), tiny.config(epochs_baseline=1)
    split = Sliced(images.store, images.labels, images.index)
    losses = []
    for inputs in (images.take(), split):
        keras.utils.set_random_seed(0)
        curves = train_baseline(build_baseline_cnn(2), tiny.split(), (inputs, images.one_hot(2)), config)
        losses.append(curves["val_loss"])
    assert losses[0] == losses[1]


def test_the_compact_cnn_is_trained_through_faster_layers(monkeypatch):
    fitted = []
    monkeypatch.setattr(stages, "fit", lambda model, *rest: fitted.append(model) or loop.fit(model, *rest))
    keras.utils.set_random_seed(0)
    model = build_compact_cnn(2)
    before = tiny.weights_of(model)
    _, curves = scratch(model, epochs_baseline=1)
    assert any(isinstance(layer, FusedBatchNorm) for layer in fitted[0].layers)
    after = tiny.weights_of(model)
    assert all(np.any(after[path] != before[path]) for path in before), "also the moving statistics"
    inputs, labels = validation_of(None)
    hits = np.array(model(inputs, training=False)).argmax(axis=1) == labels.argmax(axis=1)
    assert hits.mean() == pytest.approx(curves["val_accuracy"][-1])


def test_few_images_are_repeated_until_there_are_the_least_steps(monkeypatch):
    """Forty images in batches of ten are four steps an epoch; eighteen steps in three epochs are six each."""
    steps, seen, training_view = [], [], stages.training_view

    def note(split, positions, *rest):
        seen.extend(split.index[positions])
        return training_view(split, positions, *rest)

    monkeypatch.setattr(stages, "training_view", note)
    hooks = {"on_step_end": lambda title, done, total: steps.append(total)}
    options = {"epochs_baseline": 3, "epochs_stage2": 3, "min_steps": 18, "engine": "keras"}
    scratch(hooks=hooks, **options)
    assert steps == [6] * 18
    assert sorted(seen) == sorted(3 * [*range(40), *range(20)])
    steps.clear()
    fine_tune_tail(tiny.config(**options), **hooks)
    assert steps == [6] * 18


@pytest.mark.parametrize("selection", ["validation", "none"])
def test_without_selection_the_last_weights_are_kept(selection):
    options = {"epochs_stage1": 0, "schedule": "cosine", "optimizer_stage1": "SGD", "learning_rate_baseline": 0.1}
    model, curves = scratch(epochs_baseline=6, selection=selection, **options)
    losses = curves["val_loss"]
    assert losses[-1] > min(losses) + 1e-3, "the last epoch is the best one as well"
    kept = min(losses) if selection == "validation" else losses[-1]
    assert loss_of(model, validation_of(None)) == pytest.approx(kept, abs=1e-4)


def test_options_that_do_not_count_for_a_baseline_do_not_change_what_it_learns():
    other = {"backbone": "ResNet50", "alpha": 1.0, "weights": "imagenet", "image_size": 96, "input_range": "zero-one"}
    other |= {"head": "plain", "hidden_units": 8, "dropout": 0.5, "head_start": "random", "n_unfreeze": 5}
    other |= {"learning_rate_stage1": 0.5, "learning_rate_stage2": 0.5, "optimizer_stage2": "SGD", "weight_decay": 0.5}
    other |= {"schedule": "cosine", "patience": 1, "batch_norm": "trained", "views": 0, "epochs_stage1": 7}
    other |= {"image_size_start": 64}
    usual, changed = tiny.config(epochs_baseline=3), tiny.config(epochs_baseline=3, **other)
    assert all(getattr(usual, name) != value for name, value in other.items())
    of_usual, of_changed = (identity(config.model_copy(update={"model": "baseline"})) for config in (usual, changed))
    assert of_usual == of_changed
    one, two = (scratch(epochs_baseline=3, **options)[1] for options in ({}, other))
    assert all(one[name] == two[name] for name in one if name != "seconds")


START = {"val_loss": 1.0, "val_accuracy": 0.9}


def fine_tuned(monkeypatch, rows, hooks=None, **options):
    """Run a stage 2 whose validation results are these; return its model and the reports of a fallback."""
    results, reports = iter(rows), []
    monkeypatch.setattr(loop, "_validate", lambda *_: dict(next(results)))
    options = {"epochs_stage1": 0, "epochs_stage2": 2, "schedule": "cosine", "augment": False, **options}
    hooks, model = {"on_fallback": lambda *qualities: reports.append(qualities), **(hooks or {})}, head()
    run_stage2_finetuning(model, feature_split(), features(10, 1), tiny.config(**options), **hooks)
    assert next(results, None) is None
    return sha256_of_weights(model), reports


@pytest.mark.parametrize(
    ("best", "reports"),
    [
        ({"val_loss": 0.5, "val_accuracy": 0.9}, []),
        ({"val_loss": 0.5, "val_accuracy": float(np.float32(0.9))}, []),
        ({"val_loss": 0.5, "val_accuracy": 0.8}, [((1.0, 0.9), (0.5, 0.8))]),
        ({"val_loss": 1.0, "val_accuracy": 0.95}, [((1.0, 0.9), (1.0, 0.95))]),
    ],
)
def test_stage_2_keeps_the_weights_it_began_with_unless_it_is_better_on_validation(monkeypatch, best, reports):
    start, later = sha256_of_weights(head()), {"val_loss": 1.1, "val_accuracy": 1.0}
    weights, reported = fine_tuned(monkeypatch, [START, best, later])
    assert reported == reports and (weights == start) == bool(reports)


def test_only_stage_2_must_keep_the_accuracy(monkeypatch):
    results, reports = iter([START, {"val_loss": 0.5, "val_accuracy": 0.8}]), []
    monkeypatch.setattr(loop, "_validate", lambda *_: dict(next(results)))
    model, before = head(), sha256_of_weights(head())
    stage1(model=model, epochs_stage1=1, hooks={"on_fallback": lambda *qualities: reports.append(qualities)})
    assert reports == []
    assert sha256_of_weights(model) != before


def test_a_start_whose_quality_is_known_is_not_validated_again(monkeypatch):
    better, worse = ({"val_loss": loss, "val_accuracy": 0.95} for loss in (0.5, 1.1))
    known = {"start": loop.Quality(**START)}
    assert fine_tuned(monkeypatch, [better, worse], known)[1] == []
    assert fine_tuned(monkeypatch, [worse, worse], known)[1] == [((1.0, 0.9), (1.1, 0.95))]


def test_the_weights_of_stage_1_are_kept_by_a_resumed_stage_2_as_well_but_not_without_selection(monkeypatch, tmp_path):
    start, hooks = sha256_of_weights(head()), {"checkpoint": tmp_path / "checkpoint.npz"}
    best, later = {"val_loss": 0.5, "val_accuracy": 0.8}, {"val_loss": 1.1, "val_accuracy": 1.0}
    with pytest.raises(KeyboardInterrupt):
        fine_tuned(monkeypatch, [START, best], hooks | {"on_epoch_end": tiny.raise_interrupt})
    assert fine_tuned(monkeypatch, [START, later], hooks) == (start, [((1.0, 0.9), (0.5, 0.8))])
    assert fine_tuned(monkeypatch, [START], hooks) == (start, [((1.0, 0.9), (0.5, 0.8))]), "the stage was complete"
    last, reported = fine_tuned(monkeypatch, [START, best, later], selection="none")
    assert reported == [] and last != start, "without selection nothing depends on validation"


# Resuming. Each of these functions starts a training, as a new process would, and resumes from the checkpoint.

EPOCHS = 4


def from_features(**hooks):
    return (*stage1(epochs_stage1=EPOCHS, learning_rate_stage1=0.05, patience=2, hooks=hooks),)


def tiny_steps(**hooks):
    """Improve by less than the minimum that counts as an improvement in each epoch."""
    return (*stage1(epochs_stage1=EPOCHS, learning_rate_stage1=1e-7, patience=3, head="plain", hooks=hooks),)


def validation_of(model: keras.Model):
    images = tiny.split().take(np.arange(10))
    return (images if model is None else model(images).numpy()), np.eye(2, dtype="float32")[np.arange(10) % 2]


def from_boundary(**hooks):
    options = {"use_mixup": True, "schedule": "cosine", "engine": "keras", "batch_norm": "trained"}
    return fine_tune_tail(tiny.config(epochs_stage2=EPOCHS, **options), **hooks)


def fine_tune_tail(config, **hooks):
    keras.utils.set_random_seed(0)
    base, top = tiny.backbone(), build_top_classifier(16, 2, config)
    unfreeze_model_tail(base, 3, config.batch_norm)
    trunk, tail = split_at_freeze_boundary(base)
    cache = BoundaryCache(build_trunk(trunk, config), tiny.split(), 2, config)
    model = build_tail(tail, top)
    return model, run_stage2_finetuning(model, cache, validation_of(cache._trunk), config, **hooks)


def from_pixels(side: int = 64, start: int = 32, **hooks):
    """Fine-tune on pixels that the network resizes, from ``start`` on."""
    options = {"image_size": side, "image_size_start": start, "views": 0, "batch_norm": "trained"}
    options |= {"epochs_stage1": 0, "selection": "none"}  # the last weights are kept
    config = tiny.config(epochs_stage2=EPOCHS, schedule="cosine", **options)
    keras.utils.set_random_seed(0)
    base, top = tiny.backbone((side, side, 3)), build_top_classifier(16, 2, config)
    unfreeze_model_tail(base, 3, config.batch_norm)
    model = build_full_model(with_fast_layers(base), top, config)
    return model, run_stage2_finetuning(model, tiny.split(), validation_of(None), config, **hooks)


def from_scratch(**hooks):
    options = {"epochs_stage1": 1, "epochs_stage2": EPOCHS - 1, "use_mixup": True, "optimizer_stage1": "SGD"}
    return scratch(hooks=hooks, **options)


def test_stage_2_begins_at_the_smaller_side_and_is_validated_at_the_last_one():
    model, growing = from_pixels()
    _, small = from_pixels(side=32, start=0)
    assert growing["loss"][:2] == small["loss"][:2] and growing["loss"][2] != small["loss"][2]
    assert growing["val_loss"][0] != small["val_loss"][0]
    assert loss_of(model, validation_of(None)) == pytest.approx(growing["val_loss"][-1], rel=1e-4)


@functools.cache
def uninterrupted(train):
    return outcome(*train())


def outcome(model: keras.Model, curves) -> tuple:
    """Return what must be identical to the bit: the weights, and the curves except their seconds."""
    return sha256_of_weights(model), [(name, tuple(curves[name])) for name in sorted(curves) if name != "seconds"]


def interrupted_at(train, moments: list[tuple[str, int]], path) -> tuple:
    """Interrupt a training at each of ``moments``, the n-th call of a hook in one session; then train to the end."""
    for where, count in moments:
        left = [count]

        def stop(*args, left=left):
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(checkpoint=path, **{where: stop})
    return outcome(*train(checkpoint=path))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("train", "moments"),
    [
        (from_features, [("on_epoch_end", 1), ("on_step_end", 7), ("on_epoch_end", 1)]),
        (tiny_steps, [("on_epoch_end", 1)]),
        (from_boundary, [("on_step_end", 6)]),
        (from_pixels, [("on_epoch_end", 1), ("on_step_end", 6)]),
        (from_scratch, [("on_step_end", 6)]),
    ],
)
@pytest.mark.fault(4)
def test_an_interrupted_stage_gives_the_result_of_an_uninterrupted_one(tmp_path, train, moments):
    assert interrupted_at(train, moments, tmp_path / "checkpoint.npz") == uninterrupted(train)


def test_a_finished_stage_is_not_trained_again_and_returns_its_curves(tmp_path):
    path, reports = tmp_path / "checkpoint.npz", []
    hooks = {"on_step_end": lambda *_: pytest.fail("it was trained again")}
    first = from_features(checkpoint=path)
    again = from_features(checkpoint=path, on_epoch_end=lambda *args: reports.append(args), **hooks)
    assert outcome(*again) == outcome(*first)
    assert reports == [(EPOCHS - 1, again[1])]
    hooks["checkpoint"] = tmp_path / "early.npz"
    options = {"epochs_stage1": 20, "patience": 2, "learning_rate_stage1": 0.1}
    _, early = stage1(wrong_features(), hooks={"checkpoint": hooks["checkpoint"]}, **options)
    assert len(early["loss"]) < 20
    assert stage1(wrong_features(), hooks=hooks, **options)[1] == early, "a stage that stopped early was resumed"


@functools.cache
def checkpoint(train) -> bytes:
    """Return the checkpoint of a stage that was interrupted after its first epoch."""
    path = Path("first-epoch.npz")
    with pytest.raises(KeyboardInterrupt):
        train(checkpoint=path, on_epoch_end=tiny.raise_interrupt)
    return path.read_bytes()


def flipped(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:  # in an array, not between the members
        largest = max(archive.infolist(), key=lambda member: member.file_size)
        place = content.index(archive.read(largest)) + largest.file_size // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def by_hand(name: str, change):
    """Return what replaces one array, or the state, of a checkpoint by what ``change`` makes of it."""

    def damage(content: bytes) -> bytes:
        with np.load(io.BytesIO(content)) as saved:
            arrays = dict(saved)
        value = arrays.pop(name)
        changed = change(json.loads(value.tobytes()) if name == "state" else value)
        if changed is not None:
            arrays[name] = np.frombuffer(json.dumps(changed).encode(), np.uint8) if name == "state" else changed
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        return buffer.getvalue()

    return damage


def curve(name: str, values):
    return by_hand("state", lambda state: state["curves"].update({name: values}) or state)


def counter(place: int, name: str, value):
    return by_hand("state", lambda state: state["callbacks"][place].update({name: value}) or state)


DAMAGE = {
    "truncated": lambda content: content[:-200],
    "flipped": flipped,
    "a deep state": by_hand("state", lambda state: functools.reduce(lambda inner, _: [inner], range(500), 1)),
    "a curve of another length": curve("val_loss", [1.0, 2.0]),
    "a curve of text": curve("val_loss", ["low"]),
    "a curve of null": curve("seconds", [None]),
    "a curve too many": curve("val_lss", [1.0]),
    "a missing curve": by_hand("state", lambda state: state["curves"].pop("seconds") and state),
    "one callback": by_hand("state", lambda state: state | {"callbacks": state["callbacks"][:1]}),
    "a counter of text": counter(0, "wait", "long"),
    "a counter of null": counter(1, "wait", None),
    "a counter too many": counter(0, "weight", 1),
    "a missing counter": by_hand("state", lambda state: state | {"callbacks": [{"wait": 1}, {"wait": 1}]}),
    "other numbers for weights": by_hand("v0", lambda value: value.astype("float64")),
    "missing best weights": by_hand("b0", lambda value: None),
    "best weights of another shape": by_hand("b1", lambda value: value[:1]),
}


@pytest.mark.slow
@pytest.mark.fault(4, 14)
def test_every_damaged_checkpoint_is_refused_and_leaves_the_weights_alone(tmp_path, monkeypatch):
    """All in one training: where it would restore its checkpoint, it is given every damaged one first."""
    path, good = tmp_path / "checkpoint.npz", checkpoint(from_features)
    damaged = {name: damage(good) for name, damage in DAMAGE.items()}  # now: one of them trains, and would restore too
    path.write_bytes(good)
    restored = {}

    def restore(model, *rest):
        before = sha256_of_weights(model)
        for name, content in damaged.items():
            path.write_bytes(content)
            restored[name] = original(model, *rest), sha256_of_weights(model) == before
        path.write_bytes(good)
        return original(model, *rest)

    original = loop.restore_checkpoint
    monkeypatch.setattr(loop, "restore_checkpoint", restore)
    lines = []
    from_features(checkpoint=path, log=lines.append)
    assert restored == dict.fromkeys(DAMAGE, (0, True))
    assert not [line for line in lines if "starts again" in line], "the undamaged one is good"


@pytest.mark.slow
@pytest.mark.fault(4, 14)
def test_a_stage_with_a_damaged_checkpoint_starts_again(tmp_path):
    path, steps, lines = tmp_path / "checkpoint.npz", [], []
    path.write_bytes(DAMAGE["missing best weights"](checkpoint(from_features)))
    result = from_features(checkpoint=path, on_step_end=lambda *args: steps.append(args), log=lines.append)
    assert outcome(*result) == uninterrupted(from_features)
    assert len(steps) == EPOCHS * N // 10
    assert lines == ["The checkpoint of stage1 is damaged or from another version: stage1 starts again."]


@pytest.mark.parametrize(("backend", "compiled"), [("tensorflow", False), ("jax", "auto")])
def test_keras_chooses_how_to_compile_a_step_where_the_backend_would_else_run_each_operation_by_itself(
    monkeypatch, backend, compiled
):
    model, received = keras.Sequential([keras.Input((WIDTH,)), keras.layers.Dense(2)]), {}
    monkeypatch.setattr(model, "compile", lambda *options, **more: received.update(more))
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    compile_model(model, build_optimizer("AdamW", 1e-3, 0.0), label_smoothing=0.1)
    assert received["jit_compile"] == compiled
