"""The phases of a run: what is trained and evaluated, and that the test split is read last."""

import shutil
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests import tiny
from tests.conftest import ROOT
from tests.experiment.test_run import interrupt
from tests.tiny import quiet
from transfer_utils.config.options import preset
from transfer_utils.data.dataset import Dataset, Split
from transfer_utils.data.splits import load_dataset
from transfer_utils.errors import UserError
from transfer_utils.experiment import phases, train
from transfer_utils.experiment.run import run_experiment
from transfer_utils.models import engine
from transfer_utils.models.fast_layers import FoldedConvolution
from transfer_utils.models.networks import build_top_classifier
from transfer_utils.records.record import read_record
from transfer_utils.studies.spec import load_study
from transfer_utils.training import loop
from transfer_utils.training.stages import run_stage2_finetuning

pytestmark = pytest.mark.usefixtures("small_backbone")
OPPONENTS = ROOT / "studies" / "opponents.yaml"
CURVES = {name: [0.5] for name in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds")}


class Guarded(Split):
    """A test split that cannot be read before the evaluation has begun."""

    begun = False

    def take(self, positions=slice(None)):
        assert Guarded.begun, "the test images were read before the evaluation"
        return super().take(positions)

    def part(self, positions):
        assert Guarded.begun, "test images were selected before the evaluation"
        return super().part(positions)


@pytest.fixture
def guarded(monkeypatch):
    evaluate = phases.evaluate_model

    def load(config, progress) -> Dataset:
        Guarded.begun = False
        dataset = load_dataset(config, progress)
        test = dataset.test
        object.__setattr__(dataset, "test", Guarded(test.store, test.labels, test.index, test.store_sha256))
        return dataset

    def on_begin(*args):
        Guarded.begun = True
        return evaluate(*args)

    monkeypatch.setattr(phases, "load_dataset", load)
    monkeypatch.setattr(phases, "evaluate_model", on_begin)


def test_the_notes_on_a_dataset_are_logged_and_recorded_once_with_the_number_of_files_skipped(tmp_path, monkeypatch):
    monkeypatch.setattr(phases, "train_model", tiny.raise_interrupt)
    damaged = shutil.copytree(tiny.image_folder(), tmp_path / "images") / "train" / "rings" / "7.png"
    damaged.write_bytes(damaged.read_bytes()[:200])
    for _ in range(2):  # the second run resumes the first
        lines = []
        with pytest.raises(KeyboardInterrupt):
            run_experiment(tiny.config(data_dir=str(tmp_path / "images")), log=lines.append)
        record = read_record("runs/0001-images-transfer/run.json")
        [note] = record.notes
        assert note in lines and note.startswith("Skipped 1 file of the train split") and "rings/7.png" in note
        assert record.dataset["skipped"] == 1 and record.dataset["images"]["train"] == 39


@pytest.mark.slow
def test_the_test_split_is_read_last_and_without_cached_views_stage_2_trains_on_pixels(guarded, monkeypatch):
    def follow(model, *rest, **hooks):
        assert any(isinstance(layer, FoldedConvolution) for layer in model._flatten_layers())
        return run_stage2_finetuning(model, *rest, **hooks)

    monkeypatch.setattr(train, "run_stage2_finetuning", follow)
    record = run_experiment(tiny.config(epochs_stage1=1, views=0, tta=True, head="plain"), log=quiet).record
    assert "boundary" not in record.network and "boundary" not in record.timing_sec
    assert len(record.curves["stage2"]["loss"]) == 2
    averaged = {f"{split}_tta{end}" for split in ("val", "test") for end in ("", "_low", "_high")}
    assert Guarded.begun and averaged <= set(record.metrics)


@pytest.mark.slow
def test_a_network_of_random_weights_is_trained_from_pixels_in_all_layers_and_batch_norms(guarded):
    [options] = [group.options for group in load_study(OPPONENTS).groups if group.name == "random_tuned"]
    config = tiny.config(**{**options, "epochs_stage1": 0, "epochs_stage2": 1, "schedule": "cosine", "views": 2})
    record = run_experiment(config, log=quiet).record
    base, head = tiny.backbone(), build_top_classifier(16, 2, config)
    every = sum(int(np.prod(weight.shape)) for model in (base, head) for weight in model.trainable_weights)
    assert record.network["trainable_stage2"] == every and "val_convex" not in record.metrics
    assert not {"boundary", "features"} & set(record.timing_sec)


@pytest.mark.slow
def test_the_baseline_is_trained_on_pixels_for_its_own_epochs(guarded):
    record = run_experiment(tiny.config(model="baseline", epochs_stage1=0, epochs_baseline=1), log=quiet).record
    assert len(record.curves["baseline"]["loss"]) == 1
    assert record.files["exported"] == "shapes_baseline.h5" and record.status == "completed"


@pytest.mark.slow
def test_layers_without_weights_cannot_be_fine_tuned(guarded):
    with pytest.raises(UserError, match="None of the last 2 layers of MobileNetV2 has weights: unfreeze more"):
        run_experiment(tiny.config(n_unfreeze=2, epochs_stage1=0), log=quiet)


@pytest.mark.slow
def test_a_linear_head_starts_from_the_solved_regression_unless_a_checkpoint_is_left(guarded, monkeypatch):
    solved = []
    monkeypatch.setattr(train, "start_head", lambda head, solution: solved.append(head))
    config = tiny.config(n_unfreeze=0, epochs_stage1=2)
    for _ in range(2):
        interrupt(config, "stage1, epoch 2 of 2")
    assert len(solved) == 1, "it was solved again after the first epoch"
    (checkpoint,) = Path("runs/0001-shapes-transfer").glob("checkpoint*")
    checkpoint.write_bytes(b"")
    record = run_experiment(config, log=quiet).record
    assert len(solved) == 2 and {"val_convex", "val_convex_loss"} <= record.metrics.keys()


@pytest.mark.slow
def test_only_a_stage_1_that_is_no_better_than_the_solved_head_says_that_this_is_kept(monkeypatch):
    monkeypatch.setattr(phases, "evaluate_model", tiny.raise_interrupt)
    for loss in (9.0, 0.0):

        def trained(head, *rest, on_begin, on_epoch_end, loss=loss, **hooks):
            on_begin()
            on_epoch_end(0, CURVES | {"val_loss": [loss]})

        monkeypatch.setattr(train, "run_stage1_training", trained)
        lines = []
        with pytest.raises(KeyboardInterrupt):
            run_experiment(tiny.config(n_unfreeze=0, output_dir=f"runs-{loss}"), log=lines.append)
        kept = "No epoch of stage 1 had a lower validation loss than the solved head, which is kept."
        assert (kept in lines) == (loss > 1)


@pytest.mark.slow
def test_without_epochs_of_stage_1_fine_tuning_starts_from_the_solved_head_and_resumes(monkeypatch):
    starts, known, options = [], [], {"epochs_stage1": 0, "augment": False}

    def follow(model, inputs, validation, config, **hooks):
        known.append(hooks["start"])
        hooks["on_begin"] = lambda: starts.append(model.predict(np.asarray(validation[0], "float32"), verbose=0))
        return run_stage2_finetuning(model, inputs, validation, config, **hooks)

    monkeypatch.setattr(train, "run_stage2_finetuning", follow)
    interrupt(tiny.config(**options), "stage2, epoch 2 of 2")
    run = run_experiment(tiny.config(**options), log=quiet)
    (start,), labels = starts, load_dataset(tiny.config()).validation.labels
    smooth = 0.9 * np.eye(start.shape[1])[labels] + 0.1 / start.shape[1]
    quality = -np.mean(np.sum(smooth * np.log(start), axis=1)), np.mean(start.argmax(axis=1) == labels)
    assert known == 2 * [known[0]] and known[0] == pytest.approx(quality, abs=2e-3)
    assert known[0][1] == quality[1] == run.record.metrics["val_convex"]
    assert list(run.record.curves) == ["stage2"] and run.name.startswith("0001")
    uninterrupted = run_experiment(tiny.config(**options, output_dir="others"), log=quiet).record
    for name in ("loss", "val_loss"):
        assert run.record.curves["stage2"][name] == uninterrupted.curves["stage2"][name]


@pytest.mark.slow
def test_a_run_whose_stage_2_is_no_better_says_and_records_it(guarded, monkeypatch):
    lines = []

    def worse(model, *rest, on_epoch_end, on_fallback, **hooks):
        on_epoch_end(0, CURVES)
        on_fallback(loop.Quality(0.25, 0.998), loop.Quality(0.2394, 0.996))

    monkeypatch.setattr(train, "run_stage2_finetuning", worse)
    record = run_experiment(tiny.config(epochs_stage1=0, epochs_stage2=1), log=lines.append).record
    assert record.network["weights_from"] == "stage1" and len(record.notes) == 1 and record.notes[0] in lines
    assert record.notes[0] == (
        "Stage 2 is kept only if it lowers the validation loss without lowering the accuracy. It did not (99.8 % "
        "and a loss of 0.250 before, 99.6 % and 0.239 in its best epoch), so the weights from before are kept. A lower "
        "learning_rate_stage2 may help."
    )


@pytest.mark.slow
@pytest.mark.parametrize("head_start", ["convex", "random"])
def test_a_head_that_was_to_be_solved_but_starts_stage_2_with_random_weights_is_noted(head_start):
    options = {"head_start": head_start, "hidden_units": 4, "epochs_stage1": 0, "epochs_stage2": 1, "n_unfreeze": 3}
    notes = run_experiment(tiny.config(**options), log=quiet).record.notes
    assert any("starts with random weights in the head" in note for note in notes) == (head_start == "convex")


def test_an_engine_that_is_missing_here_is_refused_before_the_images_are_read(monkeypatch):
    monkeypatch.setattr(engine, "litert_missing", lambda: "no wheel")
    monkeypatch.setattr(phases, "load_dataset", None)
    with pytest.raises(UserError, match=r"engine must be 'keras' or 'auto' here, got 'litert': no wheel"):
        run_experiment(tiny.config(model="baseline", engine="litert"), log=quiet)


def test_options_without_effect_are_named(monkeypatch):
    class Logged(Exception):
        pass

    def build(dataset, session):
        raise Logged

    monkeypatch.setattr(train, "_build_transfer", build)
    monkeypatch.setattr(train, "_train_baseline", build)
    frozen, tuned = "n_unfreeze is 0, so there is no stage 2, and", {"epochs_stage2": 30, "n_unfreeze": 3}
    scratch = {"model": "baseline", "epochs_baseline": 3}
    for options, *expected in (
        ({"augment": True, "epochs_stage2": 30}, f"{frozen} epochs_stage2 and augment have"),
        (
            {"epochs_stage2": 0, "n_unfreeze": 3, "views": 2},
            "epochs_stage2 is 0, so there is no stage 2, and n_unfreeze and views have",
        ),
        (
            {"views": 2, "tta": False, "tta_shift": 4},
            f"{frozen} views has",
            "With these options, tta_shift has",
        ),
        (tuned | {"rotation": 0.2, "zoom": 0.2}, "With these options, rotation and zoom have"),
        (scratch | {"use_mixup": False, "mixup_alpha": 0.7}, "With these options, mixup_alpha has"),
        ({},),
        ({"tta": False, "horizontal_flip": False},),  # off, and without effect if it were on
        (tuned | {"baseline": "compact"},),  # as compare gives it to both
        (scratch | {"n_unfreeze": 3, "views": 2, "epochs_stage1": 20, "augment": True, "augment_baseline": True},),
        (tuned | {"data_dir": "copy"},),  # of CIFAR-10
    ):
        lines = []
        session = SimpleNamespace(config=preset("none", **options), log=lines.append, phase=lambda name: nullcontext())
        with pytest.raises(Logged):
            train.train_model(None, session)
        model = "the baseline" if "model" in options else "the transfer model"
        assert lines == [f"{line} no effect on {model}." for line in expected]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "options"), [("train_baseline", {"model": "baseline"}), ("run_stage2_finetuning", {})]
)
def test_what_is_trained_on_pixels_is_validated_on_a_split_which_need_not_fit_into_memory(monkeypatch, stage, options):
    given = []

    def end(model, images, validation, config, **hooks):
        given.append(validation[0])
        raise KeyboardInterrupt

    monkeypatch.setattr(train, stage, end)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(tiny.config(epochs_stage1=0, epochs_stage2=1, views=0, **options), log=quiet)
    assert isinstance(given[0], Split)


@pytest.mark.slow
def test_a_baseline_that_only_gets_worse_says_and_records_it(guarded, monkeypatch):
    losses = iter((1.0, 2.0, 3.0))
    monkeypatch.setattr(loop, "_validate", lambda *_: {"val_loss": next(losses), "val_accuracy": 0.25})
    record = run_experiment(tiny.config(model="baseline", epochs_stage1=0, epochs_baseline=2), log=quiet).record
    assert record.notes == [
        "No epoch of the baseline had a lower validation loss than the random weights it began with, which are kept "
        "(25.0 % on validation). A lower learning_rate_baseline may help."
    ]


@pytest.mark.slow
@pytest.mark.parametrize("selection", ["validation", "none"])
def test_stage_2_starts_from_a_head_of_images_from_all_over_the_split_and_selects_only_where_asked(
    guarded, monkeypatch, selection
):
    def solve(training, validation, label_smoothing, select):
        assert training[1].argmax(axis=1).tolist() == load_dataset(config).train.labels[::3].tolist()
        assert (len(training[0]), label_smoothing, select) == (14, 0.1, selection == "validation")
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "START_IMAGES", 14)  # of 40
    monkeypatch.setattr(train, "solve_head", solve)
    config = tiny.config(epochs_stage1=0, schedule="cosine", selection=selection)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(config, log=quiet)


@pytest.mark.slow
def test_images_that_are_not_augmented_pass_the_trunk_once(monkeypatch):
    passed = []

    class Counting(train.Engine):
        def __call__(self, images):
            if images.shape[1:] == (32, 32, 3):
                passed.append(len(images))
            return super().__call__(images)

    monkeypatch.setattr("transfer_utils.features.Engine", Counting)
    monkeypatch.setattr(train, "Engine", Counting)
    for name in ("evaluate_model", "_log_results", "keep_thumbnails", "name_mistakes"):
        monkeypatch.setattr(phases, name, lambda *args: None)
    config = tiny.config(epochs_stage1=0, augment=False, cache_dir="cache")
    sizes = run_experiment(config, log=quiet).record.dataset["images"]
    assert sum(passed) == sizes["train"] + sizes["validation"]
